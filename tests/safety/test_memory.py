"""A checkpoint that is not one is refused with what is wrong."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from controller.domain.command import HOLD_0A
from controller.domain.errors import ConfigurationError
from controller.safety.faults import COPPER_TRIP, NO_REPLY, ROWS
from controller.safety.memory import (
    Memory,
    memory_from_dict,
    memory_to_dict,
    new_memory,
    start_again,
)
from tests.safety.build import PULSE_COMMAND, RECORD, Bench

GOOD = memory_to_dict(Bench().settle(PULSE_COMMAND).m)


def refused(**values: Any) -> str:
    data: dict[str, object] = {**GOOD, **values}
    with pytest.raises(ConfigurationError) as caught:
        memory_from_dict(data, RECORD, where="run.sqlite")
    assert all(fault.where == "run.sqlite" for fault in caught.value.faults)
    return str(caught.value)


def test_round_trip_through_json() -> None:
    m = memory_from_dict(json.loads(json.dumps(GOOD, allow_nan=False)), RECORD)
    assert memory_to_dict(m) == GOOD
    assert m.envelope_counts == [1, 0]
    assert m.force_device_timed_s != m.force_device_timed_s


def test_causes_stand_by_name() -> None:
    bench = Bench().settle()
    bench.step(PULSE_COMMAND, voltage_V=4.5)
    data = memory_to_dict(bench.m)
    assert data["latched"] == ["voltage_high_trip"]
    assert memory_from_dict(data, RECORD).latched == bench.m.latched


def test_the_data_is_a_copy() -> None:
    m = new_memory(RECORD)
    data = memory_to_dict(m)
    m.envelope_counts[0] = 7
    assert data["envelope_counts"] == [0, 0]


@pytest.mark.parametrize("schema", [0, 1, 3, None, "2"])
def test_unknown_schema(schema: object) -> None:
    assert "schema" in refused(schema=schema)


def test_every_field_must_be_there() -> None:
    for name in Memory.__slots__:
        data = {key: value for key, value in GOOD.items() if key != name}
        with pytest.raises(ConfigurationError, match=f"checkpoint: {name}: missing"):
            memory_from_dict(data, RECORD)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("clock_s", "1", "'1' is not a number"),
        ("clock_s", True, "True is not a number"),
        ("clock_s", float("inf"), "inf is not a number"),
        ("open_envelope", 1.0, "1.0 is not a whole number"),
        ("open_envelope", True, "True is not a whole number"),
        ("open_envelope", 3, "3 does not exist"),
        ("open_envelope", -1, "-1 does not exist"),
        ("envelope_counts", [0], "must be a list of 2 numbers"),
        ("envelope_counts", 5, "must be a list of 2 numbers"),
        ("envelope_counts", [0, 1.5], "not a number"),
        ("envelope_closed_s", [0.0, "x"], "not a number"),
        ("latched", "no_reply", "must be a list of fault names"),
        ("latched", ["no_replay"], "did you mean 'no_reply'?"),
        ("climbed_Ah", 1.0, "did you mean 'climb_Ah'?"),
    ],
)
def test_wrong_values(name: str, value: object, message: str) -> None:
    text = refused(**{name: value})
    assert name in text
    assert message in text


def test_all_faults_at_once() -> None:
    assert len(refused(clock_s="a", open_s="b").splitlines()) == 2


def test_open_envelope_of_the_last_is_accepted() -> None:
    assert memory_from_dict({**GOOD, "open_envelope": 2}, RECORD).open_envelope == 2


def test_a_new_memory_has_seen_nothing() -> None:
    fresh: dict[str, Any] = dict.fromkeys(Memory.__slots__, 0)
    fresh.update(
        schema=2,
        sequence=-1,
        t_host_s=None,
        t_device_s=None,
        force_kind=HOLD_0A,
        force_bound_V=None,
        force_device_timed_s=None,
        force_changed=1,
        output_expected=-1,
        envelope_counts=[0, 0],
        envelope_closed_s=[0.0, 0.0],
        fault_counts=[0] * ROWS,
        fault_s=[0.0] * ROWS,
        active=[],
        latched=[],
        pending=[],
    )
    data = memory_to_dict(new_memory(RECORD))
    assert data == fresh
    assert list(data) == ["schema", *Memory.__slots__]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"schema": 7}, "run.sqlite: schema: 7 is not known (this version reads 2)"),
        ({"climbed_Ah": 1.0}, "run.sqlite: climbed_Ah: unknown key (did you mean 'climb_Ah'?)"),
        ({"open_envelope": 3}, "run.sqlite: open_envelope: 3 does not exist"),
        ({"clock_s": "1"}, "run.sqlite: clock_s: '1' is not a number"),
        ({"sequence": 1.5}, "run.sqlite: sequence: 1.5 is not a whole number"),
        ({"fault_s": [0.0]}, f"run.sqlite: fault_s: must be a list of {ROWS} numbers"),
        (
            {"envelope_closed_s": [0.0, None]},
            "run.sqlite: envelope_closed_s: holds something that is not a number",
        ),
        ({"latched": "stale"}, "run.sqlite: latched: must be a list of fault names"),
        (
            {"latched": ["stael"]},
            "run.sqlite: latched: unknown fault 'stael' (did you mean 'stale'?)",
        ),
    ],
)
def test_a_refusal_says_where_what_and_what_instead(values: dict[str, Any], text: str) -> None:
    assert refused(**values) == text


def test_every_missing_field_is_named() -> None:
    data = {name: GOOD[name] for name in GOOD if name not in {"active", "clock_s", "unseen_s"}}
    with pytest.raises(ConfigurationError) as caught:
        memory_from_dict(data, RECORD)
    assert [fault.key for fault in caught.value.faults] == ["active", "clock_s", "unseen_s"]


def test_lists_come_back_with_their_own_kind_of_number() -> None:
    whole = memory_from_dict({**GOOD, "envelope_closed_s": [1, 2], "fault_s": [0] * ROWS}, RECORD)
    assert [type(x) for x in whole.envelope_closed_s] == [float, float]
    assert {type(x) for x in whole.fault_s} == {float}
    assert {type(x) for x in whole.envelope_counts} == {int}
    assert {type(x) for x in whole.fault_counts} == {int}


def test_causes_come_back_all_of_them() -> None:
    m = memory_from_dict({**GOOD, "latched": ["copper_trip", "no_reply"]}, RECORD)
    assert m.latched == COPPER_TRIP | NO_REPLY


def test_started_again_nothing_is_bounded_or_timed() -> None:
    bench = Bench().settle(PULSE_COMMAND._replace(device_timed_s=10.0))
    start_again(bench.m)
    assert math.isnan(bench.m.force_bound_V)
    assert math.isnan(bench.m.force_device_timed_s)
