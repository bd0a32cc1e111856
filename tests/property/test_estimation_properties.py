"""What holds of the live estimator for every series."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.cell import CellFormat
from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, OPEN, TAG_BASE
from controller.domain.figures import CycleKind
from controller.domain.sample import Sample
from controller.estimation import online, running
from controller.estimation.online import EstimatorConfig

CONFIG = EstimatorConfig(
    cell_format=CellFormat.ANODE_FREE,
    nominal_capacity_Ah=3e-3,
    area_cm2=1.54,
    lower_cut_off_V=3.0,
    upper_cut_off_V=4.3,
)

any_current = st.floats(-1e-2, 1e-2)
gaps_s = st.floats(0.01, 200.0)
limits = st.sampled_from([-1, 0, 1])
kinds = st.sampled_from([OPEN, HOLD_0A, CHARGE, DISCHARGE])
tags = st.sampled_from([0, 1, 2])
any_range = st.sampled_from([1e-3, 1e-2, math.nan])
rows = st.lists(st.tuples(gaps_s, any_current, limits, kinds, tags, any_range), max_size=30)


def sample(t_s, current_A, limit_status=1, range_A=1e-2, **changes) -> Sample:
    made = Sample(0, 0, t_s, t_s, 0.0, 3.7, current_A, 298.0, 1, limit_status, range_A, 0.02, 0)
    return made._replace(**changes)


def run(series, shift_s=0.0, *, twice=False):
    state = online.new_state(CONFIG)
    t_s = shift_s
    for gap_s, current_A, limit_status, kind, tag, range_A in series:
        t_s += gap_s
        one = sample(t_s, current_A, limit_status, range_A)
        online.observe(state, CONFIG, one, kind, tag)
        if twice:
            assert online.observe(state, CONFIG, one, kind, tag) == running.SKIPPED_DUPLICATE
    return online.close_cycle(state, CONFIG, cycle=1, kind=CycleKind.BASE, anchored=False)


@given(rows)
def test_charge_balances(series):
    figures = run(series)
    net_Ah = figures.discharge_Ah - figures.charge_Ah
    assert figures.net_charge_Ah == pytest.approx(net_Ah, abs=1e-15)
    parts_Ah = (
        figures.base_discharge_Ah
        - figures.base_charge_Ah
        + figures.treatment_net_charge_Ah
        + figures.diagnostic_net_charge_Ah
    )
    assert parts_Ah == pytest.approx(net_Ah, abs=1e-12)
    assert figures.charge_Ah >= 0.0
    assert figures.discharge_Ah >= 0.0
    for u_Ah in (figures.u_charge_Ah, figures.u_discharge_Ah, figures.u_net_charge_Ah):
        assert u_Ah >= 0.0


@given(rows, st.sampled_from([0.0, 1.0, 4096.0]))
def test_when_it_is_measured_does_not_matter(series, shift_s):
    here, there = run(series), run(series, shift_s)
    assert there.charge_Ah == pytest.approx(here.charge_Ah, rel=1e-6, abs=1e-14)
    assert there.discharge_Ah == pytest.approx(here.discharge_Ah, rel=1e-6, abs=1e-14)
    assert there.u_net_charge_Ah == pytest.approx(here.u_net_charge_Ah, rel=1e-6, abs=1e-14)


@given(rows)
def test_a_reading_given_twice_counts_once(series):
    once, again = run(series), run(series, twice=True)
    assert again.charge_Ah == once.charge_Ah
    assert again.discharge_Ah == once.discharge_Ah
    assert again.u_net_charge_Ah == once.u_net_charge_Ah


@given(any_current, st.lists(st.floats(0.01, 100.0), min_size=1, max_size=30))
def test_how_often_a_constant_current_is_read_does_not_matter(current_A, steps_s):
    kind = CHARGE if current_A >= 0.0 else DISCHARGE
    total_s = sum(steps_s)
    state = online.new_state(CONFIG)
    online.observe(state, CONFIG, sample(0.0, current_A), kind, TAG_BASE)
    t_s = 0.0
    for step_s in steps_s:
        t_s += step_s
        online.observe(state, CONFIG, sample(t_s, current_A), kind, TAG_BASE)
    figures = online.close_cycle(state, CONFIG, cycle=1, kind=CycleKind.BASE, anchored=False)
    assert -figures.net_charge_Ah * 3600.0 == pytest.approx(
        current_A * total_s, rel=1e-9, abs=1e-15
    )


anything = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            anything,
            anything,
            anything,
            anything,
            st.integers(-1, 1),
            limits,
            st.integers(0, 1023),
            kinds,
            tags,
        ),
        max_size=20,
    )
)
def test_no_reading_raises_or_leaves_a_sum_that_is_no_number(series):
    state = online.new_state(CONFIG)
    for t_s, host_s, current_A, voltage_V, output, limit_status, quality, kind, tag in series:
        one = sample(
            t_s,
            current_A,
            limit_status,
            t_host_s=host_s,
            voltage_V=voltage_V,
            output=output,
            quality=quality,
        )
        if abs(current_A) < 1e3 and abs(t_s) < 1e12 and abs(host_s) < 1e12:
            online.observe(state, CONFIG, one, kind, tag)
        elif not (math.isfinite(current_A) and math.isfinite(t_s)) and output != 0:
            outcome = online.observe(state, CONFIG, one, kind, tag)
            assert outcome != running.USED or math.isnan(t_s)
    online.end_of_discharge(state, CONFIG)
    figures = online.close_cycle(state, CONFIG, cycle=1, kind=CycleKind.BASE, anchored=False)
    assert math.isfinite(figures.charge_Ah)
    assert math.isfinite(figures.discharge_Ah)
    assert math.isfinite(figures.u_net_charge_Ah)
