"""The diagnosis on courses of cycles made by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controller.domain.cell import CellFormat
from controller.domain.figures import CycleFigures, CycleKind, DischargeEnd
from controller.estimation.diagnosis import (
    TABLE,
    Mode,
    Symptoms,
    shown_by,
    shown_in_run,
)
from controller.estimation.diagnosis import diagnose as diagnose_shown
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


def diagnose(cycles, cell_format, nominal_Ah):
    """Diagnose a watched series."""
    return diagnose_shown(shown_by(cycles, cell_format, nominal_Ah), cell_format, nominal_Ah)


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


def test_where_no_mode_is_named_it_is_said_which_are_nearest():
    """Not what decided for one of them: `cannot tell: loses 0 % of nominal capacity a cycle`."""
    unseen = [cycle(ohm=math.nan, slow=math.nan)] * 10
    found = diagnose(unseen, CellFormat.ANODE_FREE, NOMINAL_AH)
    assert found.mode is Mode.CANNOT_TELL
    assert found.evidence[0].startswith("none is probable enough: healthy 0.")
    assert ", contact 0." in found.evidence[0]
    (words,) = diagnose([cycle()], CellFormat.ANODE_FREE, NOMINAL_AH).evidence
    assert words == "1 cycle; a trend needs 6"


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


def of_a_run(number, capacity=0.95, *, kind=CycleKind.BASE, flags=(), current_A=1e-3):
    """Return a cycle of a run; capacity as a share of nominal."""
    return CycleFigures(
        cycle=number,
        kind=kind,
        charge_Ah=capacity * NOMINAL_AH / 0.98,
        u_charge_Ah=1e-6,
        discharge_Ah=capacity * NOMINAL_AH,
        u_discharge_Ah=1e-6,
        net_charge_Ah=0.0,
        u_net_charge_Ah=1e-6,
        base_charge_Ah=capacity * NOMINAL_AH / 0.98,
        base_discharge_Ah=capacity * NOMINAL_AH,
        treatment_net_charge_Ah=0.0,
        diagnostic_net_charge_Ah=0.0,
        coulombic_efficiency=0.98,
        u_coulombic_efficiency=1e-4,
        coulombic_efficiency_base=0.98,
        discharge_end=DischargeEnd.UNKNOWN,
        discharge_end_probability=0.0,
        discharge_A=current_A,
        first_second_Ohm=10.0,
        slow_Ohm=30.0,
        soft_short_probability=1e-3,
        flags=flags,
    )


def diagnose_run(cycles):
    return diagnose_shown(shown_in_run(cycles), CellFormat.ANODE_FREE, NOMINAL_AH)


def test_a_run_is_diagnosed_from_its_whole_base_cycles_at_one_rate():
    sound = [of_a_run(k) for k in range(12)]
    assert diagnose_run(sound).mode is Mode.HEALTHY
    odd = [
        of_a_run(12, 0.3, kind=CycleKind.REFERENCE),
        of_a_run(13, 0.02, flags=("gap",)),
        of_a_run(14, 40.0, flags=("units-implausible",)),
        of_a_run(15, 0.2, current_A=3e-3),
    ]
    found = diagnose_run([*odd, *sound, *odd, *sound[:3]])
    assert found.mode is Mode.HEALTHY
    assert found.symptoms == diagnose_run([*sound, *sound[:3]]).symptoms


def test_a_journal_of_before_these_figures_is_diagnosed_too():
    old = [replace(of_a_run(k), discharge_A=math.nan) for k in range(12)]
    assert diagnose_run(old).mode is Mode.HEALTHY
    # begun by an older version: the cycles that name their current count
    begun = diagnose_run([*old, *map(of_a_run, range(5))])
    assert "5 cycles at the last current; a trend needs 6" in begun.evidence[0]


def test_what_a_treatment_gives_back_in_every_other_cycle_does_not_pass_for_a_fall():
    """Twelve cycles end at the cathode, then 0.8 % is lost and half of the time given back."""
    level, cycles = 0.95, [of_a_run(k) for k in range(12)]
    for k in range(12, 40):
        level -= 0.008 if k % 2 else -0.004
        cycles.append(of_a_run(k, level))
        assert diagnose_run(cycles).mode in {Mode.HEALTHY, Mode.CANNOT_TELL, Mode.GRADUAL_DECAY}


def test_fast_decay_from_the_first_cycle_is_not_sudden():
    """A carbonate loses 10 % a cycle; a slow check in between gives some of it back."""
    carbonate = [of_a_run(k, 0.9 * 0.9**k) for k in range(6)]
    assert diagnose_run(carbonate).mode is Mode.GRADUAL_DECAY
    checked = [0.931, 0.887, 0.846, 0.897, 0.853, 0.813, 0.776, 0.741, 0.709, 0.682]
    found = diagnose_run([of_a_run(k, one) for k, one in enumerate(checked)])
    assert found.mode is Mode.GRADUAL_DECAY
    plateau = [of_a_run(k) for k in range(12)]
    fall = [of_a_run(12 + k, 0.9 - 0.06 * k) for k in range(5)]
    assert diagnose_run([*plateau, *fall]).mode is Mode.SUDDEN_DEATH


def test_no_short_is_named_where_none_was_looked_for():
    """The table alone would say so of a cell that gives up a little less than usual."""
    unseen = [
        replace(of_a_run(k, 0.95 - 0.0015 * max(k - 10, 0)), soft_short_probability=math.nan)
        for k in range(14)
    ]
    found = diagnose_run(unseen)
    assert found.mode not in {Mode.SOFT_SHORT, Mode.CONTACT, Mode.SALT_DEPLETION}
    assert not any("short" in words for words in found.evidence)


def test_anchors_strips_and_controls_change_no_capacity():
    """A hold below the cut-off gives 5 % on top, a strip 3 % of what every discharge gives."""
    plain = [of_a_run(k) for k in range(10)]
    anchored = [
        replace(one, discharge_Ah=1.05 * one.discharge_Ah, charge_Ah=1.05 * one.charge_Ah)
        for one in map(of_a_run, range(10, 20))
    ]
    treated = [
        replace(
            one,
            base_discharge_Ah=0.97 * one.base_discharge_Ah,
            treatment_net_charge_Ah=0.03 * one.base_discharge_Ah,
            first_second_Ohm=25.0,
        )
        if one.cycle % 2
        else one
        for one in anchored
    ]
    for cycles in ([*plain, *anchored], [*plain, *treated]):
        found = diagnose_run(cycles)
        assert found.mode is Mode.HEALTHY
        assert found.symptoms is not None
        assert found.symptoms.left == pytest.approx(1.0)
        assert found.symptoms.ohmic_step == 0.0
