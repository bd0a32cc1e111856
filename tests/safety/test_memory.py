"""A checkpoint that is not one is refused with what is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from controller.domain.errors import ConfigurationError
from controller.safety.memory import Memory, memory_from_dict, memory_to_dict, new_memory
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


@pytest.mark.parametrize("schema", [0, 2, None, "1"])
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
