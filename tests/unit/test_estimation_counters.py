"""Cycler counters with missing, absurd and reset readings: never taken at their word."""

from __future__ import annotations

import math

import numpy as np
import pytest

from controller.estimation.files.counters import counter_increments
from tests.unit.test_estimation_cycles import CYCLE, H, full, table

NAN = math.nan


def added(counter, together=None, most=0.0):
    n = len(counter) - 1
    together = np.ones(n, bool) if together is None else np.array(together)
    return counter_increments(np.array(counter), together, np.full(n, most)).tolist()


@pytest.mark.parametrize(
    ("counter", "together", "most", "expected"),
    [
        # over a new beginning with a new step, what it shows then has flowed since
        ([0.0, 1.0, 2.0, 0.05, 0.5], [True, True, False, True], 0.0, [1.0, 1.0, 0.05, 0.45]),
        # within a step, what flowed before it began again is not known
        ([0.0, 1.0, 2.0, 0.05, 0.5], None, 0.0, [1.0, 1.0, NAN, 0.45]),
        # the last value stands over missing ones
        ([0.0, NAN, 2.0, 3.0], None, 0.0, [0.0, 2.0, 1.0]),
        # ... but not over the end of a step, whose last reading is missing
        ([1.0, NAN, 0.0, 1.0], [True, False, True], 0.0, [NAN, 0.0, 1.0]),
        # nothing before the first and after the last
        ([NAN, 1.0, 2.0, NAN], None, 0.0, [NAN, 1.0, NAN]),
        ([NAN, NAN], None, 0.0, [NAN]),
        # single readings off their neighbours
        ([1.0, 2.0, 0.0, 4.0], None, 0.0, [1.0, 0.0, 2.0]),
        ([1.0, 2.0, 999.0, 4.0], None, 0.0, [1.0, 0.0, 2.0]),
        # a pulse's own step of one reading is not one
        ([0.0, 0.2, 0.0, 0.0], [False, False, True], 0.0, [0.2, 0.0, 0.0]),
        # two rows in each other's place; noise
        ([1.0, 3.0, 2.0, 4.0], None, 0.5, [0.0, 0.0, 3.0]),
        ([1.0, 2.0, 1.9999, 1.9999, 3.0], None, 1.0, [1.0, 0.0, 0.0, 1.0]),
        # a fall is a new beginning where the current could bring that much since
        ([1.0, 0.5, 0.6], [False, True], 0.5, [0.5, 0.1]),
        ([1.0, 0.5, 0.6, 1.2], [False, True, True], 0.1, [0.0, 0.0, 0.2]),
    ],
)
def test_increments(counter, together, most, expected):
    assert added(counter, together, most) == pytest.approx(expected, nan_ok=True)


def step_counter(series):
    """What a cycler counts within each step (Ah)."""
    counter_Ah = np.zeros(series.t_s.size)
    for step in np.unique(series.step):
        rows = np.flatnonzero(series.step == step)
        since_s = series.t_s[rows] - series.t_s[rows[0]]
        counter_Ah[rows] = np.abs(series.current_A[rows]) * since_s / H
    return counter_Ah


def spoiled(how):
    series = table(CYCLE)
    counter_Ah, current_A = step_counter(series), series.current_A.copy()
    last = int(np.flatnonzero(series.step == 0.0)[-1])
    match how:
        case "last of the charge missing":
            counter_Ah[last] = NAN
        case "one zero":
            counter_Ah[2] = 0.0
        case "one huge":
            counter_Ah[50] = 9.99
        case "one infinite":
            counter_Ah[50] = math.inf
        case "reset within the charge":
            counter_Ah[50 : last + 1] -= counter_Ah[50]
        case "no current at the end of the charge":
            current_A[last - 20 : last + 1] = NAN
        case "no reading from the middle on":
            counter_Ah[50:] = NAN
    return table(CYCLE, step_capacity_Ah=counter_Ah, current_A=current_A)


@pytest.mark.parametrize(
    "how",
    [
        "last of the charge missing",
        "one zero",
        "one huge",
        "one infinite",
        "reset within the charge",
        "no current at the end of the charge",
        "no reading from the middle on",
    ],
)
def test_a_spoiled_counter_gives_the_charge_within_its_uncertainty(how):
    analysis = full(spoiled(how))
    (cycle,) = analysis.cycles
    assert abs(cycle.charge_Ah * H - 1.0) < 2.0 * cycle.u_charge_Ah * H < 0.02
    assert abs(cycle.discharge_Ah * H - 0.99) < 2.0 * cycle.u_discharge_Ah * H < 0.02
    assert "counter-mismatch" not in cycle.flags
    if how.startswith("one"):
        assert any(words.startswith("counter-readings: ") for words in analysis.findings)


def test_a_cycle_whose_counter_is_mostly_missing_is_integrated():
    assert full(spoiled("no reading from the middle on")).cycles[0].source == "integrated"


@pytest.mark.parametrize("gap", [False, True])
def test_a_counter_that_is_off_gets_what_it_is_off_by_as_uncertainty(gap):
    """A gap in the log that leaves the integral open does not hide it."""
    series = table(CYCLE)
    kept = np.ones(series.t_s.size, bool)
    if gap:
        kept[60:90] = False
    counter_Ah = step_counter(series) * 1.1
    series = table(CYCLE, step_capacity_Ah=counter_Ah)
    columns = ("t_s", "current_A", "voltage_V", "step", "step_capacity_Ah")
    kept_only = {name: getattr(series, name)[kept] for name in columns}
    analysis = full(table(CYCLE, **kept_only))
    (cycle,) = analysis.cycles
    assert "counter-mismatch" in cycle.flags
    assert cycle.charge_Ah * H == pytest.approx(1.1)
    assert cycle.u_charge_Ah * H > 0.06
    assert analysis.averaged == ()


def with_resets(*rows: int, anew: bool):
    """Three cycles whose clock falls by 400 s at `rows`; counters over the whole test, or anew."""
    series = table(CYCLE * 3)
    t_s, totals = series.t_s.copy(), {}
    for name, sign in (("charging_Ah", 1.0), ("discharging_Ah", -1.0)):
        flows_A = np.maximum(sign * series.current_A, 0.0)
        flowed_As = 0.5 * (flows_A[1:] + flows_A[:-1]) * np.diff(series.t_s)
        flowed_As[np.diff(series.step) != 0.0] = 0.0
        totals[name] = np.concatenate(([0.0], np.cumsum(flowed_As))) / H
    for row in rows:
        t_s[row:] -= 400.0
        for total_Ah in totals.values():
            total_Ah[row:] -= anew * total_Ah[row]
    return table(CYCLE * 3, t_s=t_s, **totals)


def test_a_counter_that_goes_on_over_a_reset_of_the_clock_knows_the_charge():
    sound, reset = full(with_resets(anew=False)), full(with_resets(262, 300, 380, anew=False))
    assert any(words.startswith("time-reset: ") for words in reset.findings)
    assert [c.cycle for c in reset.averaged] == [1, 2, 3]
    for before, cycle in zip(sound.cycles, reset.cycles, strict=True):
        assert cycle.source == "counter"
        assert cycle.charge_Ah == pytest.approx(before.charge_Ah)
        assert cycle.u_charge_Ah == pytest.approx(before.u_charge_Ah, rel=0.01)
        assert cycle.u_coulombic_efficiency == pytest.approx(
            before.u_coulombic_efficiency, rel=0.01
        )


@pytest.mark.parametrize(("anew", "ignored"), [(True, False), (False, True)])
def test_a_counter_that_began_anew_with_the_clock_or_is_ignored_knows_nothing_of_it(anew, ignored):
    analysis = full(with_resets(262, anew=anew), ignore_counters=ignored)
    assert "time-reset" in analysis.cycles[1].flags
    assert analysis.cycles[1].u_charge_Ah >= 10e-3 / H / math.sqrt(3.0)
    assert [c.cycle for c in analysis.averaged] == [1, 3]
