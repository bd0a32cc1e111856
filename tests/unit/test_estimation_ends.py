"""What ended a discharge: features from readings, probabilities, memory."""

from __future__ import annotations

import math

import numpy as np
import pytest

from controller.domain.cell import CellFormat
from controller.domain.figures import DischargeEnd
from controller.domain.sample import NAN
from controller.estimation.ending import Ending, begin_ending, new_ending, observe_ending
from controller.estimation.ends import (
    HOLD_CERTAIN,
    RATES,
    EndMemory,
    EndProbabilities,
    EndShape,
    classify_end,
    end_probabilities,
    possible_ends,
    remember,
    shape_of,
)

NOMINAL_AH = 3e-3
SHARP = EndShape(1e-4, NAN, NAN, interval_share=5e-4, low_share=3e-5)
BLUNT = EndShape(6e-3, NAN, NAN, interval_share=5e-4, low_share=1.2e-3)


def falling(ending: Ending, last_V: list[float], step_Ah: float = 1e-6) -> None:
    """A plateau, then these voltages reading by reading."""
    begin_ending(ending)
    for voltage_V in [4.0] * 50 + last_V:
        observe_ending(ending, 5.0, step_Ah, -1e-3, voltage_V, 0)


def holding(ending: Ending, currents_A: list[float]) -> None:
    for current_A in currents_A:
        observe_ending(ending, 30.0, 30.0 * current_A / 3600.0, -current_A, 3.0, 1)


def test_the_knee_is_measured_between_readings():
    ending = new_ending(3.0, NOMINAL_AH)
    falling(ending, [3.5, 3.3, 3.1, 3.0])
    shape = shape_of(ending, EndMemory(), 1.0 / 3.0)
    # 3.2 V lies half way between the readings of 3.3 and 3.1 V, one and a half steps from the end
    assert shape.knee_share == pytest.approx(1.5e-6 / NOMINAL_AH)
    assert shape.interval_share == pytest.approx(1e-6 / NOMINAL_AH)
    assert math.isnan(shape.hold_share)
    assert math.isnan(shape.drop_share)
    assert shape.low_share == pytest.approx(0.5e-6 / NOMINAL_AH)
    assert ending.at_knee_Ah < ending.at_low_Ah < ending.charge_Ah


def test_the_last_fall_counts_where_the_voltage_comes_back():
    ending = new_ending(3.0, NOMINAL_AH)
    falling(ending, [3.1, 3.9, 3.4, 3.0])
    assert ending.charge_Ah - ending.at_knee_Ah == pytest.approx(0.5e-6)


@pytest.mark.parametrize("voltage_V", [math.nan, math.inf, 1e12])
def test_no_voltage_no_shape(voltage_V):
    ending = new_ending(3.0, NOMINAL_AH)
    for _ in range(5):
        observe_ending(ending, 5.0, 1e-6, -1e-3, voltage_V, 0)
    assert ending.charge_Ah == pytest.approx(5e-6)
    shape = shape_of(ending, EndMemory(), 0.3)
    assert end_probabilities(shape) is None
    assert classify_end(shape) == (DischargeEnd.UNKNOWN, 0.0)


@pytest.mark.parametrize(("share", "seen"), [(1.9e-3, False), (2.1e-3, True)])
def test_next_to_no_discharge_has_no_shape(share, seen):
    ending = new_ending(3.0, NOMINAL_AH)
    begin_ending(ending)
    for voltage_V in (3.3, 3.1, 3.0):
        observe_ending(ending, 5.0, share * NOMINAL_AH / 3.0, -1e-3, voltage_V, 0)
    assert (end_probabilities(shape_of(ending, EndMemory(), 0.3)) is not None) == seen


def test_a_smooth_hold_does_not_collapse_and_a_sudden_one_does():
    ending = new_ending(3.0, NOMINAL_AH)
    falling(ending, [3.3, 3.1, 3.0])
    smooth = [1e-3 * math.exp(-k / 20.0) for k in range(40)]
    holding(ending, smooth)
    assert ending.collapse == pytest.approx(0.0, abs=1e-9)
    assert ending.hold_s == pytest.approx(1200.0)
    quiet = end_probabilities(shape_of(ending, EndMemory(), 0.3))
    holding(ending, [smooth[-1] * 0.2])
    assert ending.collapse == pytest.approx(math.log(5.0) - 1.0 / 20.0)
    sudden = end_probabilities(shape_of(ending, EndMemory(), 0.3))
    assert quiet is not None
    assert sudden is not None
    assert quiet.anode < 0.1
    assert 0.6 < sudden.anode <= HOLD_CERTAIN


def test_a_hold_that_gave_nothing_leaves_it_to_the_fall():
    memory = EndMemory(anode=0.5)
    for shape in (SHARP, BLUNT):
        fell = end_probabilities(shape, memory)
        empty = end_probabilities(shape._replace(hold_share=2e-5, collapse=0.0), memory)
        gave = end_probabilities(shape._replace(hold_share=5e-2, collapse=0.0), memory)
        assert fell is not None
        assert empty is not None
        assert gave is not None
        assert empty.anode == fell.anode
        assert gave.anode < 0.2


def test_a_moment_at_the_cut_off_is_no_hold():
    ending = new_ending(3.0, NOMINAL_AH)
    falling(ending, [3.1, 3.0])
    holding(ending, [1e-3])
    assert math.isnan(shape_of(ending, EndMemory(), 0.3).hold_share)


def test_the_end_before_counts():
    between = EndShape(1.8e-3, NAN, NAN)
    anode = classify_end(between, memory=EndMemory(anode=0.98))
    cathode = classify_end(between, memory=EndMemory(anode=0.02))
    assert anode[0] is DischargeEnd.ANODE
    assert cathode[0] is DischargeEnd.CATHODE
    assert classify_end(between)[0] is DischargeEnd.UNKNOWN
    for shape, end in ((SHARP, DischargeEnd.ANODE), (BLUNT, DischargeEnd.CATHODE)):
        for before in (0.02, 0.98):
            assert classify_end(shape, memory=EndMemory(anode=before))[0] is end


def test_a_discharge_short_of_the_best_speaks_for_the_anode():
    between = EndShape(1.8e-3, NAN, NAN)
    full = end_probabilities(between._replace(drop_share=0.0))
    short = end_probabilities(between._replace(drop_share=0.02))
    unknown = end_probabilities(between)
    assert full is not None
    assert short is not None
    assert unknown is not None
    assert full.anode < unknown.anode < short.anode


def test_the_best_is_kept_by_rate_and_fades():
    memory = EndMemory()
    likely = EndProbabilities(0.9, 0.08, 0.02)
    for share in (0.95, 0.90):
        memory = remember(memory, likely, 1.0 / 3.0, share)
    memory = remember(memory, likely, 0.05, 0.99)
    assert memory.anode == 0.9
    ending = new_ending(3.0, NOMINAL_AH)
    falling(ending, [3.0])
    third = shape_of(ending, memory, 0.34).drop_share
    slow = shape_of(ending, memory, 0.05).drop_share
    share = ending.charge_Ah / NOMINAL_AH
    assert third == pytest.approx(0.95 - share, abs=1e-3)
    assert third < 0.95 - share
    assert slow == pytest.approx(0.99 - share)
    for k in range(40):
        memory = remember(memory, likely, 0.01 * 1.3**k, 0.9)
    assert len(memory.best) == RATES


@pytest.mark.parametrize(
    "shape", [SHARP, BLUNT, EndShape(0.03, 0.3, 0.6), EndShape(NAN, 0.02, NAN)]
)
def test_probabilities_sum_to_one_and_are_never_certain(shape):
    for before in (0.0, 0.3, 1.0):
        found = end_probabilities(shape, EndMemory(anode=before))
        assert found is not None
        assert sum(found) == pytest.approx(1.0)
        assert all(0.0 < one < 1.0 for one in found)
    assert classify_end(EndShape(0.03, 0.3, 0.6))[0] is DischargeEnd.POLARISATION


@pytest.mark.parametrize("cell_format", CellFormat)
def test_an_end_that_the_format_cannot_have_is_unknown(cell_format):
    possible = possible_ends(cell_format)
    for shape in (SHARP, BLUNT):
        end, _ = classify_end(shape, possible)
        assert end is DischargeEnd.UNKNOWN or end in possible


def test_where_both_give_out_the_last_fall_tells():
    slow = EndShape(3e-3, NAN, NAN, low_share=7e-4)
    sudden = EndShape(3e-3, NAN, NAN, low_share=5e-5)
    assert classify_end(slow)[0] is DischargeEnd.CATHODE
    assert classify_end(sudden)[0] is DischargeEnd.ANODE


def test_slow_readings_say_less():
    steps = [1e-4, 1e-2, 3e-2]
    odds = [end_probabilities(EndShape(1e-5, NAN, NAN, interval_share=one)) for one in steps]
    anode = [one.anode for one in odds if one is not None]
    assert np.all(np.diff(anode) <= 0.0)
    assert anode[0] > 0.95 > anode[-1]
