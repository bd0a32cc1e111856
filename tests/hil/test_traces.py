"""Logged lives: readings carry the instrument's errors, ends are met, plans are drawn by seed."""

from __future__ import annotations

import numpy as np
import pytest

from hil.cell import load_cell
from hil.cell.library import anode_free_nmc811
from hil.cycling import CycledCell, Leg
from hil.draws import draw_cell
from hil.instruments.measurement import InstrumentErrors
from hil.traces import CUT_OFFS_V, CycleLegs, OtherCell, PlantCell, draw_life, log_life, plan_of
from scripts.ends_score import judge_life
from scripts.forecast_score import ends_of_circuit, other_life, score_life
from tests.numba_extra import needs_numba
from tests.plants.equivalent_circuit import EquivalentCircuit

CURRENT_A = 1e-3
CHARGE = (Leg(CURRENT_A, 4.3, hold_A=2e-4, max_s=2e4), Leg(max_s=600.0))
DISCHARGE = (Leg(-CURRENT_A, 3.0, max_s=3e4),)
CYCLE = CycleLegs(kind="base", charge=CHARGE, discharge=DISCHARGE)


def ideal(cell, plan, interval_s=30.0):
    errors = InstrumentErrors(1, ideal=True)
    random = np.random.default_rng(1)
    return log_life(cell, plan, interval_s=interval_s, errors=errors, random=random)


@needs_numba
def test_a_logged_discharge_is_the_unlogged_one():
    parameters = anode_free_nmc811()
    (logged,) = ideal(PlantCell(parameters), [CYCLE])
    course = CycledCell(parameters).run([*CHARGE, *DISCHARGE])
    assert 1e3 * logged.true_charge_Ah == pytest.approx(float(course.charge_mAh[0]), rel=1e-6)
    assert 1e3 * logged.true_discharge_Ah == pytest.approx(float(course.discharge_mAh[0]), rel=1e-4)
    assert logged.voltage_V[-1] == pytest.approx(3.0, abs=2e-3)
    assert np.all(np.diff(logged.t_s) > 0.0)
    assert np.max(np.diff(logged.t_s)) <= 30.0 + 1e-6
    assert logged.discharge_Ah == pytest.approx(logged.true_discharge_Ah, rel=1e-9)
    assert logged.true_end in {"anode-limited", "cathode-limited"}
    assert np.sum(np.abs(logged.current_A) * np.diff(logged.t_s, prepend=0.0)) / 3600.0 == (
        pytest.approx(logged.true_discharge_Ah, rel=1e-3)
    )


@needs_numba
def test_readings_have_gain_and_offset_of_their_range():
    parameters = anode_free_nmc811()
    errors = InstrumentErrors(7)
    (logged,) = log_life(
        PlantCell(parameters),
        [CYCLE],
        interval_s=30.0,
        errors=errors,
        random=np.random.default_rng(1),
    )
    channel = errors.current[5]  # 1 mA
    assert np.mean(logged.current_A) == pytest.approx(
        -CURRENT_A * channel.gain + channel.offset, rel=1e-6
    )
    assert logged.discharge_Ah != logged.true_discharge_Ah
    assert logged.discharge_Ah == pytest.approx(logged.true_discharge_Ah, rel=1e-3)


def test_plain_and_compiled_log_the_same():
    parameters = draw_cell(load_cell("li-cu"), 3)
    legs = CycleLegs(
        kind="base",
        charge=(Leg(2e-3, 0.5, max_mAh=0.2),),
        discharge=(Leg(-2e-3, -1.0, max_s=1e4),),
    )
    (plain,) = ideal(PlantCell(parameters, compiled=False), [legs])
    (fast,) = ideal(PlantCell(parameters), [legs])
    assert plain.true_charge_Ah == pytest.approx(2e-4)
    assert plain.true_discharge_Ah == pytest.approx(fast.true_discharge_Ah, rel=1e-9)
    assert plain.true_end == "anode-limited"


def test_another_plant_meets_its_bound_and_holds():
    cell = OtherCell(EquivalentCircuit(seed=3, temperature_K=298.15), ends_of_circuit)
    hold = Leg(-CURRENT_A, 3.0, hold_A=1e-4, max_s=3e4)
    plan = [CYCLE, CycleLegs(kind="anchor", charge=CHARGE, discharge=(hold,))]
    base, anchor = ideal(cell, plan)
    assert 2.4 < base.voltage_V[-1] <= 3.0
    assert not base.held.any()
    assert base.true_end == "anode-limited"
    assert anchor.true_discharge_Ah < anchor.true_charge_Ah
    assert np.all(np.abs(anchor.current_A[anchor.held]) < CURRENT_A)


def test_plans_are_drawn_by_seed():
    def kinds(seed):
        random = np.random.default_rng(seed)
        return [c.kind for c in plan_of(random, 20, 3e-3, (3.0, 4.3), by_charge=False)]

    assert kinds(1) == kinds(1)
    assert len({tuple(kinds(seed)) for seed in range(12)}) > 3
    assert {kind for seed in range(12) for kind in kinds(seed)} == {
        "base",
        "anchor",
        "reference",
        "treatment",
    }


@needs_numba
def test_forecasts_and_ends_of_a_few_lives():
    """A small version of the two scores; the figures of docs/estimation.md come from large ones."""
    lives = [draw_life(name, seed, 14) for name in CUT_OFFS_V for seed in (9001, 9002)]
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
