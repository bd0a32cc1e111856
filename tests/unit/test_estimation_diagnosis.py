"""The diagnosis on courses of cycles made by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controller.domain.cell import CellFormat
from controller.estimation.diagnosis import TABLE, Mode, Symptoms, diagnose
from controller.estimation.short_watch import (
    FALLS,
    HALVES,
    LEVELS,
    MODES,
    SINGLES,
    ShortFigures,
)

NOMINAL_AH = 3e-3


def cycle(capacity=0.95, *, ohm=10.0, slow=30.0, efficiency=0.98, noise=1.0, returns=0):
    """Return a cycle's figures; capacity as a share of nominal."""
    return ShortFigures(
        number=0,
        charge_Ah=capacity * NOMINAL_AH / efficiency,
        discharge_Ah=capacity * NOMINAL_AH,
        net_before_Ah=0.0,
        charge_A=1e-3,
        discharge_A=1e-3,
        hours=6.0,
        rest_h=0.33,
        charge_h=3.0,
        charged_rest_h=0.17,
        rest_before_h=0.16,
        discharge_h=2.67,
        steady_h=5.0,
        dense_share=1.0,
        temperature_K=298.15,
        size_V=tuple(noise * 3e-4 / 2.0 ** (k / 2) for k in range(LEVELS)),
        jumps=(returns,) * SINGLES,
        returns=(returns,) * SINGLES,
        jump_V=(1e-3,) * SINGLES,
        lowest_V=3.0,
        decay_charged_V_per_h=0.04,
        fall_V=(0.0,) * (MODES * FALLS),
        first_Ohm=ohm,
        step_Ohm=1.5 * ohm,
        late_Ohm=ohm + slow,
        polarised_Ohm=3.8e3,
        start_Ohm=3.5e3,
        half_A=(1e-3,) * HALVES,
        half_Ohm=(3.8e3,) * HALVES,
        half_K=(298.15,) * HALVES,
        half_moved_K=(0.0,) * HALVES,
        courses=(),
    )


COURSES = {
    Mode.HEALTHY: [cycle()] * 15,
    Mode.SOFT_SHORT: [cycle()] * 12 + [cycle(0.93, efficiency=0.93, noise=4.0, returns=40)] * 3,
    Mode.HARD_SHORT: [cycle()] * 13 + [cycle(0.002)] * 2,
    Mode.GRADUAL_DECAY: [cycle(0.95 - 0.016 * k, efficiency=0.95) for k in range(15)],
    Mode.SUDDEN_DEATH: [cycle()] * 11
    + [cycle(0.95 - 0.05 * k, efficiency=0.93) for k in range(1, 6)],
    Mode.CONTACT: [cycle()] * 10 + [cycle(ohm=16.0)] * 5,
    Mode.SALT_DEPLETION: [cycle(ohm=10.0 * 1.05**k) for k in range(13)]
    + [cycle(0.4, ohm=26.0), cycle(0.2, ohm=32.0)],
}


@pytest.mark.parametrize("mode", COURSES)
def test_each_mode_is_named_with_its_evidence(mode):
    found = diagnose(COURSES[mode], CellFormat.ANODE_FREE, NOMINAL_AH)
    assert found.mode is mode, (found.probabilities, found.symptoms)
    assert found.probabilities[mode] > 0.5
    assert sum(found.probabilities.values()) == pytest.approx(1.0)
    assert len(found.evidence) >= 3


def test_short_records_are_not_diagnosed():
    found = diagnose(COURSES[Mode.HARD_SHORT][-5:], CellFormat.ANODE_FREE, NOMINAL_AH)
    assert found.mode is Mode.CANNOT_TELL
    assert "5 cycles; a trend needs 6" in found.evidence[0]
    assert found.probabilities[Mode.CANNOT_TELL] == 1.0


def test_what_lies_far_from_every_mode_is_not_named():
    odd = [cycle()] * 8 + [cycle(2.5, efficiency=1.6, ohm=0.3, slow=900.0)] * 4
    found = diagnose(odd, CellFormat.ANODE_FREE, NOMINAL_AH)
    assert found.mode is Mode.CANNOT_TELL


def test_a_symmetric_cell_gives_no_capacity_to_judge_by():
    found = diagnose([cycle(0.9)] * 10, CellFormat.LI_LI, NOMINAL_AH)
    assert not any("capacity" in words for words in found.evidence)


def test_the_table_is_whole():
    assert set(TABLE) == set(Mode) - {Mode.CANNOT_TELL}
    for row in TABLE.values():
        assert tuple(row) == Symptoms._fields
        assert all(one.spread > 0.0 for one in row.values())


def test_a_step_at_another_rate_or_from_a_single_cycle_is_no_loss_of_contact():
    """A slow check in front answers otherwise, and so does whatever stood before the first pair."""
    slow = replace(cycle(ohm=6.0), discharge_A=1.5e-4)
    once = [replace(cycle(), first_Ohm=math.nan), cycle(ohm=7.0)]
    for before in ([slow] * 3, once):
        found = diagnose([*before, *[cycle()] * 10], CellFormat.ANODE_FREE, NOMINAL_AH)
        assert found.symptoms is not None
        assert found.symptoms.ohmic_step == 0.0
        assert found.mode is not Mode.CONTACT


def test_the_evidence_reads_alone_whatever_its_order():
    words = "; ".join(diagnose([cycle()] * 15, CellFormat.ANODE_FREE, NOMINAL_AH).evidence)
    assert "resistance of the first second, largest step up: +0 %" in words
    assert "resistance of the first second, without that step: +0 %" in words
    assert "fades 1 times as fast as before" in words
