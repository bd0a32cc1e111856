"""What holds of the decay of a charged rest, through the live estimator."""

from __future__ import annotations

import math
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.cell import CellFormat
from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, TAG_BASE, TAG_TREATMENT
from controller.domain.figures import CycleFigures, CycleKind
from controller.domain.sample import LIMIT_CURRENT, LIMIT_VOLTAGE, Sample
from controller.estimation import online, running
from controller.estimation.online import EstimatorConfig

NOMINAL_AH = 3e-3
CONFIG = EstimatorConfig(
    cell_format=CellFormat.ANODE_FREE,
    nominal_capacity_Ah=NOMINAL_AH,
    area_cm2=1.54,
    lower_cut_off_V=3.0,
    upper_cut_off_V=4.3,
)
hours = st.floats(0.5, 6.0)
rates = st.floats(0.0, 1e-2)  # share of nominal capacity an hour
relaxed = st.floats(0.0, 0.1)


def closed(
    rest_h: float,
    rate: float,
    relaxes_V: float,
    *,
    shift_s: float = 0.0,
    twice: bool = False,
    spent: bool = False,
) -> CycleFigures:
    """Return the figures of half a charge, a rest and a discharge at C/3.

    `spent`: the discharge comes before the rest.
    """
    state = online.new_state(CONFIG)
    numbers = count()
    t_s = shift_s

    def take(current_A: float, voltage_V: float, kind: int, tag: int, status: int) -> None:
        nonlocal t_s
        t_s += 60.0
        one = Sample(next(numbers), 0, t_s, t_s, 0.0, voltage_V, current_A, 298.0, 1, status, 1e-2, 0.02, 0)  # fmt: skip
        online.observe(state, CONFIG, one, kind, tag)
        if twice:
            assert online.observe(state, CONFIG, one, kind, tag) == running.SKIPPED_DUPLICATE

    def discharge() -> None:
        for k in range(1, 91):
            voltage_V = 3.75 - 0.75 * k / 90
            status = LIMIT_VOLTAGE if k == 90 else LIMIT_CURRENT
            take(-NOMINAL_AH / 3.0, voltage_V, DISCHARGE, TAG_BASE, status)

    for k in range(91):
        take(NOMINAL_AH / 3.0, 3.4 + 0.4 * k / 90, CHARGE, TAG_BASE, LIMIT_CURRENT)
    if spent:
        discharge()
    for k in range(1, round(60 * rest_h) + 1):
        h = k / 60.0
        voltage_V = 3.75 - 0.8 * rate * h + relaxes_V * math.exp(-h / 0.3)
        take(0.0, voltage_V, HOLD_0A, TAG_TREATMENT, LIMIT_CURRENT)
    discharge()
    return online.close_cycle(state, CONFIG, cycle=1, kind=CycleKind.BASE, anchored=False)


@settings(max_examples=40)
@given(hours, rates, relaxed)
def test_only_long_rests_tell_and_tell_the_current(
    rest_h: float, rate: float, relaxes_V: float
) -> None:
    figures = closed(rest_h, rate, relaxes_V)
    assert math.isfinite(figures.self_discharge_A) is (round(60 * rest_h) >= 57)
    if math.isfinite(figures.self_discharge_A):
        error_A = figures.self_discharge_A - rate * NOMINAL_AH
        assert abs(error_A) <= 2.0 * figures.u_self_discharge_A


@settings(max_examples=20)
@given(hours, rates, relaxed, st.sampled_from([1.0, 4096.0, 1e7]))
def test_when_it_rests_does_not_matter(
    rest_h: float, rate: float, relaxes_V: float, shift_s: float
) -> None:
    here, there = (closed(rest_h, rate, relaxes_V, shift_s=s) for s in (0.0, shift_s))
    for name in ("self_discharge_A", "u_self_discharge_A"):
        expected = getattr(here, name)
        assert getattr(there, name) == pytest.approx(expected, rel=1e-6, abs=1e-12, nan_ok=True)


@settings(max_examples=20)
@given(hours, rates, relaxed)
def test_duplicates_change_nothing(rest_h: float, rate: float, relaxes_V: float) -> None:
    once, doubled = (closed(rest_h, rate, relaxes_V, twice=twice) for twice in (False, True))
    assert repr(once) == repr(doubled)  # NaN is NaN


@settings(max_examples=10)
@given(st.floats(1.0, 6.0), rates)
def test_a_rest_without_lithium_on_the_anode_tells_nothing(rest_h: float, rate: float) -> None:
    assert math.isnan(closed(rest_h, rate, 0.0, spent=True).self_discharge_A)
