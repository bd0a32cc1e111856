"""Traced discharges: readings carry the instrument's errors, ends are met, plans are drawn by seed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller.domain.figures import CycleKind
from hil.cell import load_cell
from hil.cell.library import anode_free_nmc811
from hil.cycling import CycledCell, Leg
from hil.draws import draw_cell
from hil.lives import Life
from hil.logger import fixed_sampling
from hil.port_lives import PortLife
from hil.programmes import FORMATS, CyclePlan, Step, drawn_programme
from hil.readings import keithley_reading
from hil.traces import draw_life, kind_of, trace
from scripts.ends_score import judge_life
from scripts.forecast_score import other_life, score_life, told_of_circuit
from tests.numba_extra import needs_numba
from tests.plants.equivalent_circuit import EquivalentCircuit

CURRENT_A = 1e-3
REST = Step(max_s=600.0)
CHARGE = Step(current_A=CURRENT_A, stop_V=4.3, hold_A=2e-4, hold_s=2e4, max_s=2e4)
DISCHARGE = Step(current_A=-CURRENT_A, stop_V=3.0, max_s=3e4, ends_discharge=True)
HELD = replace(DISCHARGE, hold_A=1e-4, hold_s=3e4)
CYCLE = CyclePlan(kind=CycleKind.BASE, steps=(CHARGE, REST, DISCHARGE, REST))
ANCHOR = CyclePlan(kind=CycleKind.BASE, steps=(CHARGE, REST, HELD, REST), anchored=True)
INTERVAL_S = 30.0


def ideal(parameters, plan=CYCLE, **options):
    life = Life(parameters, sampling=fixed_sampling(INTERVAL_S), **options)
    return trace(life, plan, INTERVAL_S)


def circuit():
    return PortLife(
        EquivalentCircuit(seed=3, temperature_K=298.15),
        told_of_circuit,
        nominal_mAh=3.0,
        sampling=fixed_sampling(INTERVAL_S),
    )


@needs_numba
def test_a_traced_discharge_is_the_unlogged_one():
    parameters = anode_free_nmc811()
    one = ideal(parameters)
    legs = [
        Leg(CURRENT_A, 4.3, hold_A=2e-4, max_s=2e4),
        Leg(max_s=600.0),
        Leg(-CURRENT_A, 3.0, max_s=3e4),
    ]
    course = CycledCell(parameters).run(legs)
    assert 1e3 * one.true_charge_Ah == pytest.approx(float(course.charge_mAh[0]), rel=1e-5)
    assert 1e3 * one.true_discharge_Ah == pytest.approx(float(course.discharge_mAh[0]), rel=1e-4)
    assert one.voltage_V[-1] == pytest.approx(3.0, abs=5e-3)
    assert one.discharge_Ah == pytest.approx(one.true_discharge_Ah, rel=1e-9)
    assert one.charge_Ah == pytest.approx(one.true_charge_Ah, rel=1e-9)
    assert one.true_end in {"anode-limited", "cathode-limited"}
    assert np.sum(np.abs(one.current_A) * np.diff(one.t_s, prepend=0.0)) / 3600.0 == (
        pytest.approx(one.true_discharge_Ah, rel=1e-6)
    )


@needs_numba
def test_readings_stand_at_the_interval_and_at_the_end():
    one = ideal(anode_free_nmc811(), ANCHOR)
    assert one.held.sum() > 20
    steps_s = np.diff(one.t_s, prepend=0.0)
    at_constant_current = steps_s[~one.held][:-1]  # the last is where the voltage is met
    assert at_constant_current == pytest.approx(INTERVAL_S, abs=1e-5)
    assert 0.0 < steps_s[~one.held][-1] <= INTERVAL_S
    held = steps_s[one.held][1:-1]
    assert np.all((held > 0.9 * INTERVAL_S) & (held < 1.2 * INTERVAL_S))
    assert not one.held[0]
    assert np.all(np.abs(one.current_A[one.held]) <= CURRENT_A)


@needs_numba
def test_readings_have_gain_and_offset_of_their_range():
    reading = keithley_reading(7, CURRENT_A, ranging=True)
    one = ideal(anode_free_nmc811(), reading=reading)
    index = reading.ranges_A.index(1e-3)
    gain, offset_A = reading.gains[index], reading.offsets_A[index]
    assert np.mean(one.current_A) == pytest.approx(-CURRENT_A * gain + offset_A, rel=1e-6)
    hours = one.true_discharge_Ah / CURRENT_A
    counted_Ah = one.true_discharge_Ah * gain - offset_A * hours
    assert one.discharge_Ah == pytest.approx(counted_Ah, rel=1e-7)
    assert one.discharge_Ah != pytest.approx(one.true_discharge_Ah, rel=1e-6)


def test_each_leg_is_read_in_its_own_range_or_all_in_one():
    assert len(keithley_reading(7, CURRENT_A).ranges_A) == 1
    reading = keithley_reading(7, CURRENT_A, ranging=True)
    assert reading.ranges_A[reading.range_of(CURRENT_A)] == 1e-3
    assert reading.ranges_A[reading.range_of(5e-5)] == 1e-4


def test_plain_and_compiled_trace_the_same():
    parameters = draw_cell(load_cell("li-cu"), 3)
    plate = Step(current_A=2e-3, stop_V=0.5, max_mAh=0.2)
    strip = Step(current_A=-2e-3, stop_V=-1.0, max_s=1e4, ends_discharge=True)
    plan = CyclePlan(kind=CycleKind.BASE, steps=(plate, strip, Step(max_s=10.0)))
    plain, fast = ideal(parameters, plan, compiled=False), ideal(parameters, plan)
    assert plain.true_charge_Ah == pytest.approx(2e-4)
    assert plain.true_discharge_Ah == pytest.approx(fast.true_discharge_Ah, rel=1e-9)
    assert plain.true_end == "anode-limited"


def test_another_plant_meets_its_bound_and_holds():
    life = circuit()
    base, anchor = (trace(life, plan, INTERVAL_S) for plan in (CYCLE, ANCHOR))
    assert base.voltage_V[-1] == pytest.approx(3.0, abs=1e-3)
    assert base.current_A[-1] == pytest.approx(-CURRENT_A)
    assert np.diff(base.t_s, prepend=0.0)[:-1] == pytest.approx(INTERVAL_S, abs=1e-5)
    assert not base.held.any()
    assert base.true_end == "anode-limited"
    assert base.discharge_Ah == pytest.approx(base.true_discharge_Ah, rel=1e-9)
    assert anchor.true_discharge_Ah < anchor.true_charge_Ah
    assert anchor.held.any()
    assert np.all(np.abs(anchor.current_A[anchor.held][1:]) < CURRENT_A)


def test_programmes_are_drawn_by_seed():
    def kinds(seed, cell="anode-free"):
        random = np.random.default_rng(seed)
        return [kind_of(plan) for plan in drawn_programme(random, FORMATS[cell], 3e-3, 20)]

    assert kinds(1) == kinds(1)
    assert len({tuple(kinds(seed)) for seed in range(12)}) > 3
    assert {kind for seed in range(12) for kind in kinds(seed)} == {
        "base",
        "anchor",
        "reference",
        "treatment",
    }
    assert not any("anchor" in kinds(seed, "li-cu") for seed in range(12))


@needs_numba
def test_forecasts_and_ends_of_a_few_lives():
    """A small version of the two scores; the figures of docs/estimation.md come from large ones."""
    lives = [draw_life(name, seed, 14) for name in FORMATS for seed in (9001, 9002)]
    lives.append(other_life("equivalent circuit", 9001, 14))
    scores = [one for life in lives for one in score_life(life, range(6, 14))]
    base = [one for one in scores if one.kind == "base"]
    for point in ("start", "50 %", "95 %"):
        mine = [one for one in base if one.point == point]
        assert len(mine) > 30
        assert np.mean([one.inside for one in mine]) > 0.8
        assert np.mean([o.crps for o in mine]) < np.mean([o.base_crps for o in mine])
    judged = [one for life in lives for one in judge_life(life)]
    sure = [one for one in judged if one.said == "anode-limited" and one.probability >= 0.8]
    assert len(sure) > 40
    assert all(one.truth == "anode-limited" for one in sure)
    cathode = [one for one in judged if one.said == "cathode-limited"]
    assert np.mean([one.truth == "cathode-limited" for one in cathode]) > 0.85
