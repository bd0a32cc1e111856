"""The executor: each end of a step at and around its boundary; the reading plan."""

import math

import pytest

from controller.core.execute import (
    END_CHARGE,
    END_CURRENT,
    END_DEVICE_TIMED,
    END_DURATION,
    END_VOLTAGE,
    RUNNING,
    VALID_PERIODS,
    VOLTAGE_REACHED_V,
    Progress,
    advance,
    command_for,
    numbers_of,
    period_s,
)
from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, OPEN
from controller.domain.sample import (
    LIMIT_CURRENT,
    LIMIT_VOLTAGE,
    NAN,
    OUTPUT_OFF,
    OUTPUT_ON,
    Sample,
)
from controller.domain.step import Stage, Step

NOMINAL_AH = 3e-3


def reading(t_s: float, voltage_V: float = 3.8, current_A: float = 1e-3, **extra) -> Sample:
    values = {
        "sequence": int(t_s),
        "channel": 0,
        "t_host_s": t_s,
        "t_device_s": t_s,
        "utc_s": 1.7e9 + t_s,
        "voltage_V": voltage_V,
        "current_A": current_A,
        "temperature_K": 298.15,
        "output": OUTPUT_ON,
        "limit_status": LIMIT_CURRENT,
        "current_range_A": 1e-3,
        "averaging_s": 0.02,
        "quality": 0,
    }
    return Sample(**{**values, **extra})


def a_step(**extra) -> Step:
    values = {
        "name": "step",
        "stage": Stage.CHARGE,
        "kind": CHARGE,
        "current_A": 1e-3,
        "voltage_bound_V": 4.3,
        "max_duration_s": 100.0,
    }
    return Step(**{**values, **extra})


def play(step: Step, samples: list[Sample], in_force: int | None = None) -> tuple[int, Progress]:
    progress = Progress()
    numbers = numbers_of(step, NOMINAL_AH)
    end = RUNNING
    for sample in samples:
        end = advance(progress, numbers, sample, step.kind if in_force is None else in_force)
        if end != RUNNING:
            break
    return end, progress


def test_charge_ends_at_its_voltage_and_not_below() -> None:
    step = a_step(end_voltage_V=4.3)
    below = 4.3 - 1.01 * VOLTAGE_REACHED_V
    assert play(step, [reading(0), reading(1, below)])[0] == RUNNING
    assert play(step, [reading(0), reading(1, 4.3 - 0.99 * VOLTAGE_REACHED_V)])[0] == END_VOLTAGE


def test_discharge_ends_at_its_voltage_and_not_above() -> None:
    step = a_step(kind=DISCHARGE, current_A=-1e-3, voltage_bound_V=3.0, end_voltage_V=3.0)
    down = {"current_A": -1e-3}
    assert play(step, [reading(0, **down), reading(1, 3.001, **down)])[0] == RUNNING
    assert play(step, [reading(0, **down), reading(1, 3.0004, **down)])[0] == END_VOLTAGE


def test_a_step_ends_where_the_device_holds_its_voltage_whatever_the_meter_reads() -> None:
    """A meter 2 mV off never reads the cut-off that the same instrument regulates."""
    step = a_step(kind=DISCHARGE, current_A=-1e-3, voltage_bound_V=3.0, end_voltage_V=3.0)
    held = {"current_A": -0.9e-3, "limit_status": LIMIT_VOLTAGE}
    off_V = 3.002
    assert play(step, [reading(0), *(reading(t, off_V, **held) for t in (1, 2))])[0] == END_VOLTAGE
    # one reading, or two that do not follow each other, may be of the moment the current was set
    between = reading(2, 3.5, current_A=-1e-3)
    readings = [reading(0), reading(1, off_V, **held), between, reading(3, off_V, **held)]
    assert play(step, readings)[0] == RUNNING
    # nor do two count that a verdict's hold parts
    progress, numbers = Progress(), numbers_of(step, NOMINAL_AH)
    for sample, kind in (
        (reading(0), DISCHARGE),
        (reading(1, off_V, **held), DISCHARGE),
        (reading(2, 3.3, 0.0), HOLD_0A),
        (reading(3, off_V, **held), DISCHARGE),
    ):
        assert advance(progress, numbers, sample, kind) == RUNNING
    # where the voltage is a bound and not the end, holding it is what the step is for
    hold = a_step(kind=DISCHARGE, current_A=-1e-3, voltage_bound_V=3.0, end_current_A=1e-4)
    readings = [reading(0), *(reading(t, off_V, **held) for t in range(1, 9))]
    assert play(hold, readings)[0] == RUNNING


@pytest.mark.parametrize(
    ("current_A", "status", "end"),
    [
        (1.5e-4, LIMIT_VOLTAGE, END_CURRENT),
        (1.51e-4, LIMIT_VOLTAGE, RUNNING),
        (1.5e-4, LIMIT_CURRENT, RUNNING),  # a small current is no tail unless the voltage is held
        (NAN, LIMIT_VOLTAGE, RUNNING),
    ],
)
def test_a_hold_ends_on_its_tail_only(current_A: float, status: int, end: int) -> None:
    step = a_step(end_current_A=1.5e-4)
    last = reading(1, 4.3, current_A, limit_status=status)
    assert play(step, [reading(0, 4.3), last])[0] == end


def test_charge_counts_by_trapezoid_and_ends_the_step() -> None:
    step = a_step(end_charge_Ah=1e-5, max_duration_s=1e6)
    end, progress = play(step, [reading(float(t)) for t in range(60)])
    assert end == END_CHARGE
    assert progress.charge_Ah == pytest.approx(1e-5, rel=0.03)


def test_every_step_ends_by_its_time() -> None:
    assert play(a_step(), [reading(0), reading(99.9)])[0] == RUNNING
    assert play(a_step(), [reading(0), reading(100.0)])[0] == END_DURATION


def test_a_verdicts_hold_uses_up_neither_time_nor_charge() -> None:
    end, progress = play(a_step(), [reading(float(t)) for t in range(500)], in_force=HOLD_0A)
    assert end == RUNNING
    assert progress.elapsed_s == 0.0
    assert progress.charge_Ah == 0.0


def test_a_device_timed_pulse_ends_with_the_output_off() -> None:
    step = a_step(device_timed=True, max_duration_s=1.0)
    numbers, progress = numbers_of(step, NOMINAL_AH), Progress()
    assert advance(progress, numbers, reading(0), CHARGE) == RUNNING
    assert advance(progress, numbers, reading(0.5), CHARGE) == RUNNING
    off = reading(1.5, NAN, 0.0, output=OUTPUT_OFF)
    assert advance(progress, numbers, off, OPEN) == END_DEVICE_TIMED


@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
def test_nonsense_never_raises_and_never_ends_a_step_early(bad: float) -> None:
    step = a_step(end_voltage_V=4.3, end_charge_Ah=1e-3, end_current_A=1e-4)
    end, _ = play(step, [reading(0), reading(1, voltage_V=NAN, current_A=bad)])
    assert end in (RUNNING, END_CHARGE)
    end, _ = play(step, [reading(0), reading(0), reading(-5)])
    assert end == RUNNING


@pytest.mark.parametrize(
    ("step", "t_s", "current_A", "expected"),
    [
        (a_step(max_duration_s=1e5), 59.0, 1e-3, 1.0),
        (a_step(max_duration_s=1e5), 61.0, 1e-3, 5.0),
        (a_step(max_duration_s=1e5), 5000.0, 3.0e-4, 5.0),  # C/10 is still fast
        (a_step(max_duration_s=1e5), 5000.0, 2.9e-4, 30.0),
        (a_step(kind=HOLD_0A, current_A=0.0, max_duration_s=600.0), 61.0, 0.0, 5.0),
        (a_step(kind=HOLD_0A, current_A=0.0, max_duration_s=601.0), 61.0, 0.0, 30.0),
        (a_step(period_s=0.5), 5000.0, 1e-3, 0.5),
    ],
)
def test_reading_plan(step: Step, t_s: float, current_A: float, expected: float) -> None:
    progress = Progress()
    progress.edge_s = t_s
    period = period_s(progress, numbers_of(step, NOMINAL_AH), reading(t_s, 3.8, current_A))
    assert period == expected
    command = command_for(step, numbers_of(step, NOMINAL_AH), period, 0)
    assert command.valid_for_s == VALID_PERIODS * period


def test_slow_readings_stay_slow_within_a_step() -> None:
    progress = Progress()
    progress.edge_s = 100.0
    numbers = numbers_of(a_step(max_duration_s=1e5), NOMINAL_AH)
    assert period_s(progress, numbers, reading(100, 4.3, 2.8e-4)) == 30.0
    assert period_s(progress, numbers, reading(130, 4.3, 3.1e-4)) == 30.0
