"""Whatever comes: an answer, never an exception, and nothing beyond the limits is let pass."""

from __future__ import annotations

import copy
import json
import math

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, OPEN, Command
from controller.domain.sample import Sample
from controller.domain.verdict import ALLOW, TRIP, WARN, Verdict
from controller.safety.faults import FAULTS
from controller.safety.limits import LimitsRecord
from controller.safety.memory import (
    Memory,
    memory_from_dict,
    memory_to_dict,
    new_memory,
    start_again,
)
from controller.safety.supervisor import acknowledge, review
from tests.safety.build import NO_THERMOMETER, RECORD

ANY = st.floats(allow_nan=True, allow_infinity=True)
BITS = st.integers(min_value=0, max_value=1023)


def near(*values: float) -> st.SearchStrategy[float]:
    """Values at and one ulp around the given ones, or anything at all."""
    around = [x for v in values for x in (v, math.nextafter(v, math.inf), math.nextafter(v, -9e9))]
    return st.one_of(st.sampled_from(around), ANY)


CURRENTS = near(0.0, 1e-3, 2e-3, 3e-3, 1e-2, -1e-3, -2e-3, -3e-3, -6e-3, -1e-2, 3e-5, -3e-5)
COMMANDS = st.builds(
    Command,
    kind=st.one_of(st.integers(OPEN, DISCHARGE), st.integers()),
    current_A=CURRENTS,
    voltage_bound_V=near(2.5, 2.85, 2.9, 2.95, 3.0, 4.3, 4.32, 4.4),
    period_s=near(1.0, 60.0, 0.0),
    valid_for_s=near(5.0, 120.0, 0.0),
    device_timed_s=st.one_of(st.just(math.nan), near(1.0, 10.0, 0.0)),
    envelope=st.one_of(st.integers(0, 3), st.integers()),
    tag=st.one_of(st.integers(0, 2), st.integers()),
)
SENSIBLE = st.sampled_from(
    [
        Command(HOLD_0A),
        Command(OPEN),
        Command(CHARGE, 1e-3, 4.3),
        Command(DISCHARGE, -1e-3, 3.0),
        Command(DISCHARGE, -8e-3, 3.0, envelope=1),
        Command(DISCHARGE, -6e-3, 3.0, envelope=2),
        Command(DISCHARGE, -8e-3, 3.0, envelope=1, device_timed_s=10.0),
    ]
)
SAMPLES = st.builds(
    Sample,
    sequence=st.integers(),
    channel=st.just(0),
    t_host_s=near(0.0, 1.0, 2.0, 100.0),
    t_device_s=near(0.0, 1.0, 2.0, 100.0),
    utc_s=ANY,
    voltage_V=near(1.85, 2.5, 2.95, 3.0, 3.7, 4.3, 4.32, 4.4),
    current_A=CURRENTS,
    temperature_K=near(273.15, 288.15, 298.15, 318.15, 321.15, 323.15, 333.15),
    output=st.sampled_from([-1, 0, 1, 7]),
    limit_status=st.integers(-1, 1),
    current_range_A=ANY,
    averaging_s=ANY,
    quality=st.one_of(st.just(0), BITS, st.integers()),
)
LIMITS = st.sampled_from([RECORD, NO_THERMOMETER])


def beyond_limits(command: Command, limits: LimitsRecord) -> bool:
    """Return whether no state of the cell could make this command allowable, said independently."""
    kind, current_A, bound_V, period_s, valid_for_s, timed_s, envelope, _ = command
    if kind in (OPEN, HOLD_0A):
        idle = kind == HOLD_0A
        return idle and (current_A != 0.0 or not (0 < period_s <= 60.0 and 0 < valid_for_s <= 120))
    wrong = [
        kind not in (CHARGE, DISCHARGE),
        envelope not in range(len(limits.pulses) + 1),
        not 0 < period_s <= 60.0,
        not 0 < valid_for_s <= 120.0,
        not math.isfinite(current_A) or not math.isfinite(bound_V),
        math.isinf(timed_s) or timed_s <= 0.0,
        (kind == CHARGE) != (current_A > 0.0) or current_A == 0.0,
        envelope == 0 and not (-3e-3 <= current_A <= 2e-3 and 3.0 <= bound_V <= 4.3),
        envelope == 1 and not (abs(current_A) <= 1e-2 and 2.9 <= bound_V <= 4.4),
        envelope == 2 and not (abs(current_A) <= 6e-3 and 2.9 <= bound_V <= 4.4),
        envelope == 2 and timed_s > 10.31,
    ]
    return any(wrong)


def blind_or_bad(sample: Sample, limits: LimitsRecord) -> bool:
    """Return whether no current may be allowed on this sample, said independently."""
    return (
        not math.isfinite(sample.voltage_V)
        or not math.isfinite(sample.current_A)
        or not 1.85 < sample.voltage_V <= 4.41
        or bool(sample.quality & (1 | 2 | 64 | 128 | 256 | 512))
        or (limits.temperature_declared and not 273.15 <= sample.temperature_K <= 321.15)
    )


def consistent(m: Memory, verdict: Verdict, command: Command) -> None:
    """Check what every verdict must be, and that memory stays sound."""
    assert verdict.action in range(5)
    assert 0 <= verdict.causes < 1 << len(FAULTS)
    assert (verdict.action == ALLOW) == (verdict.causes == 0)
    if verdict.action > WARN or command.kind == OPEN:
        assert m.force_current_A == 0.0
        assert m.open_envelope == 0
    assert (verdict.action == TRIP) == (m.latched != 0)
    # NaN may stand there after endless currents: it trips at the next current.
    assert not m.climb_Ah < 0.0
    assert not m.fall_Ah < 0.0


@settings(max_examples=120)
@given(st.lists(st.tuples(SAMPLES, st.one_of(COMMANDS, SENSIBLE)), max_size=6), LIMITS)
def test_anything_gets_an_answer_and_nothing_beyond_limits_passes(
    steps: list[tuple[Sample, Command]], limits: LimitsRecord
) -> None:
    m = new_memory(limits)
    latched = 0
    for sample, command in steps:
        verdict = review(m, sample, command, limits)
        consistent(m, verdict, command)
        if beyond_limits(command, limits):
            assert verdict.action > WARN
        if command.kind in (CHARGE, DISCHARGE) and blind_or_bad(sample, limits):
            assert verdict.action > WARN
        assert m.latched & latched == latched
        latched = m.latched


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            SENSIBLE,
            st.floats(0.05, 59.0),
            st.sampled_from(["good", "good", "good", "nan", "off"]),
        ),
        min_size=1,
        max_size=40,
    )
)
def test_envelopes_cannot_be_stretched(steps: list[tuple[Command, float, str]]) -> None:
    """An independent count of time, charge and openings stays within what the owner wrote."""
    m = new_memory(RECORD)
    t_s, on_s, charge_Ah, openings = 0.0, 0.0, 0.0, [0, 0]
    before = 0
    force_A = 0.0
    for index, (asked, dt_s, fate) in enumerate(steps):
        command = asked._replace(period_s=max(dt_s, 0.05), valid_for_s=120.0)
        # The interval that this command will stand for is its own period.
        sample = Sample(index, 0, t_s, t_s, 0.0, 3.7 + 1e-6 * index, force_A, 298.15, 1, 1, 1, 0, 0)
        if fate == "nan":
            sample = sample._replace(current_A=math.nan)
        if fate == "off":
            sample = sample._replace(output=0, voltage_V=math.nan, current_A=0.0)
        verdict = review(m, sample, command, RECORD)
        standing = command if verdict.action <= WARN else Command(HOLD_0A)
        if standing.envelope and standing.envelope != before:
            openings[standing.envelope - 1] += 1
            on_s, charge_Ah = 0.0, 0.0
        before = standing.envelope
        force_A = standing.current_A
        if standing.envelope:
            on_s += dt_s
            charge_Ah += abs(force_A) * dt_s / 3600.0
            pulse = RECORD.pulses[standing.envelope - 1]
            if not standing.device_timed_s > 0.0:
                assert on_s <= pulse.max_on_s * 1.02 + 0.1 + 1e-9
                assert charge_Ah <= pulse.max_charge_Ah * 1.02 + 1e-12
        t_s += dt_s
    assert openings[0] <= 3
    assert m.envelope_counts == openings


@settings(max_examples=60)
@given(st.lists(st.tuples(SAMPLES, SENSIBLE), max_size=6), LIMITS)
def test_a_checkpoint_decides_the_same(
    steps: list[tuple[Sample, Command]], limits: LimitsRecord
) -> None:
    m = new_memory(limits)
    for sample, command in steps:
        review(m, sample, command, limits)
    text = json.dumps(memory_to_dict(m), allow_nan=False)
    restored = memory_from_dict(json.loads(text), limits)
    numbers = [value for name in Memory.__slots__ if isinstance(value := getattr(m, name), float)]
    if any(math.isinf(value) for value in numbers):
        return  # infinity comes back as NaN; what read it was refused already
    for sample, command in steps:
        assert review(restored, sample, command, limits) == review(m, sample, command, limits)


@settings(max_examples=60)
@given(SAMPLES, SAMPLES, LIMITS)
def test_acknowledging_changes_nothing_unless_the_condition_is_gone(
    first: Sample, second: Sample, limits: LimitsRecord
) -> None:
    m = new_memory(limits)
    review(m, first._replace(voltage_V=9.0, quality=0), Command(HOLD_0A), limits)
    before = copy.copy(memory_to_dict(m))
    done, remaining = acknowledge(m, limits, second)
    assert done == (remaining == 0) == (m.latched == 0)
    if not done:
        assert str(memory_to_dict(m)) == str(before)
    if 4.4 < second.voltage_V < math.inf and not second.quality & (1 | 128 | 512):
        assert not done


def test_start_again_after_garbage_is_sound() -> None:
    m = new_memory(RECORD)
    bad = Sample(0, 0, math.inf, -math.inf, 0, math.inf, math.inf, math.nan, 7, 5, 1, 0, 1023)
    review(m, bad, Command(CHARGE, 1e-3, 4.3), RECORD)
    m.latched = 0
    start_again(m)
    good = Sample(1, 0, 1.0, 1.0, 0, 3.7, 0.0, 298.15, 1, 1, 1, 0, 0)
    assert review(m, good, Command(CHARGE, 1e-3, 4.3), RECORD) == (ALLOW, 0)
