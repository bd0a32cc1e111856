"""Lithium inventory from figures made by hand: what is measured, what is an interval, what is not."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from controller.domain.cell import CellFormat
from controller.domain.figures import CycleFigures, CycleKind, DischargeEnd, Label
from controller.estimation.copper import CopperCharge, copper_charge
from controller.estimation.decay import SelfDischarge
from controller.estimation.ending import new_ending, observe_ending
from controller.estimation.inventory import (
    Inventory,
    InventoryConfig,
    InventoryState,
    close_cycle,
    from_dict,
    new_inventory,
    prior_dominated,
    to_dict,
)

NOMINAL_AH = 3e-3
UAH = 1e-6
CONFIG = InventoryConfig(cell_format=CellFormat.ANODE_FREE, nominal_capacity_Ah=NOMINAL_AH)


def figures(cycle: int, charge_Ah: float, net_Ah: float, **changed: object) -> CycleFigures:
    values: dict[str, object] = {
        "cycle": cycle,
        "kind": CycleKind.BASE,
        "charge_Ah": charge_Ah,
        "u_charge_Ah": 1.5 * UAH,
        "discharge_Ah": charge_Ah + net_Ah,
        "u_discharge_Ah": 1.5 * UAH,
        "net_charge_Ah": net_Ah,
        "u_net_charge_Ah": 0.1 * UAH,
        "base_charge_Ah": charge_Ah,
        "base_discharge_Ah": charge_Ah + net_Ah,
        "treatment_net_charge_Ah": 0.0,
        "diagnostic_net_charge_Ah": 0.0,
        "coulombic_efficiency": 1.0 + net_Ah / charge_Ah,
        "u_coulombic_efficiency": 1e-5,
        "coulombic_efficiency_base": 1.0 + net_Ah / charge_Ah,
        "discharge_end": DischargeEnd.ANODE,
        "discharge_end_probability": 0.99,
        "duration_s": 6.5 * 3600.0,
        "anchored": True,
    }
    return CycleFigures(**{**values, **changed})  # type: ignore[arg-type]


def lived(
    cycles: int,
    *,
    lost: float = 0.0,
    shuttled: float = 0.0,
    config: InventoryConfig = CONFIG,
    **changed: object,
) -> list[Inventory]:
    """Return inventories of a cell that loses and shuttles so much a cycle (uAh)."""
    state = new_inventory(config)
    out = []
    for cycle in range(1, cycles + 1):
        charge_Ah = NOMINAL_AH - (cycle - 1) * lost * UAH
        net_Ah = -(lost + shuttled) * UAH
        out.append(close_cycle(state, config, figures(cycle, charge_Ah, net_Ah, **changed)))
    return out


def test_where_charge_fades_by_what_is_missing_lithium_lost_is_measured() -> None:
    inventories = lived(30, lost=25.0)
    last = inventories[-1]
    assert last.lost.label is Label.MEASURED
    assert last.lost.value_Ah == pytest.approx(750 * UAH, abs=4 * UAH)
    assert last.lost.low_Ah < 750 * UAH < last.lost.high_Ah
    assert last.lost.u_Ah < 5 * UAH
    assert last.side.high_Ah < 20 * UAH
    # before a second charge has been seen, it could as well have been a shuttle
    assert inventories[0].lost.label is Label.PRIOR_DOMINATED
    assert inventories[0].missing.label is Label.MEASURED


def test_a_shuttle_is_no_lithium_lost() -> None:
    last = lived(30, shuttled=25.0)[-1]
    assert last.missing.value_Ah == pytest.approx(750 * UAH)
    assert last.side.label is Label.MEASURED
    assert last.side.low_Ah < 750 * UAH < last.side.high_Ah
    # what was missing went into a shuttle, or into lithium lost while oxidation made up for it
    assert last.lost.label is Label.PRIOR_DOMINATED
    assert last.lost.low_Ah < 10 * UAH


def test_both_are_told_apart_as_an_interval() -> None:
    last = lived(40, lost=20.0, shuttled=10.0)[-1]
    assert last.lost.low_Ah <= 800 * UAH + 10 * UAH
    assert last.lost.high_Ah >= 800 * UAH
    assert last.lost.low_Ah > 700 * UAH  # the fade is lithium, whatever else there is
    assert last.side.value_Ah == pytest.approx(400 * UAH, rel=0.05)


def test_oxidation_alone_does_not_look_like_lithium_lost() -> None:
    """The cathode is full at each end; the charge it oxidises away piles up on the anode."""
    last = lived(30, shuttled=5.0, discharge_end=DischargeEnd.CATHODE)[-1]
    assert last.lost.label is Label.BOUND
    assert last.lost.low_Ah == 0.0
    assert last.side.label is Label.MEASURED
    assert last.side.value_Ah == pytest.approx(150 * UAH, rel=0.1)


def test_after_another_end_the_last_figure_is_the_lower_bound() -> None:
    state = new_inventory(CONFIG)
    for cycle in range(1, 11):
        before = close_cycle(
            state, CONFIG, figures(cycle, NOMINAL_AH - (cycle - 1) * 20 * UAH, -20 * UAH)
        )
    after = close_cycle(
        state,
        CONFIG,
        figures(11, NOMINAL_AH - 200 * UAH, -90 * UAH, discharge_end=DischargeEnd.UNKNOWN),
    )
    assert before.lost.label is Label.MEASURED
    assert after.lost.label is Label.BOUND
    assert after.lost.low_Ah == pytest.approx(200 * UAH, abs=8 * UAH)
    assert after.lost.high_Ah == pytest.approx(290 * UAH, abs=8 * UAH)


def test_an_uncertain_anode_end_measures_nothing() -> None:
    assert lived(12, lost=25.0, discharge_end_probability=0.79)[-1].lost.label is Label.BOUND


def test_the_split_is_the_priors_and_excludes_neither_extreme() -> None:
    last = lived(30, lost=25.0)[-1]
    for one in (last.inactive, last.sei, last.fresh, last.old):
        assert one.label is Label.PRIOR_DOMINATED
        assert one.low_Ah == 0.0  # none of it
        assert one.high_Ah >= 750 * UAH - 4 * UAH  # or all
    assert last.inactive.value_Ah == pytest.approx(0.6 * 750 * UAH, rel=0.05)
    assert last.inactive.value_Ah + last.sei.value_Ah == pytest.approx(last.lost.value_Ah)
    assert last.fresh.value_Ah + last.old.value_Ah == pytest.approx(last.inactive.value_Ah)


def with_return(returned_uAh: float, **changed: object) -> tuple[Inventory, Inventory]:
    state = new_inventory(CONFIG)
    for cycle in range(1, 21):
        before = close_cycle(
            state, CONFIG, figures(cycle, NOMINAL_AH - (cycle - 1) * 20 * UAH, -20 * UAH)
        )
    after = close_cycle(
        state, CONFIG, figures(21, NOMINAL_AH - 400 * UAH, returned_uAh * UAH, **changed)
    )
    return before, after


def test_net_charge_above_zero_is_revival_and_informs_the_split() -> None:
    before, after = with_return(350.0)
    assert before.revived.value_Ah == 0.0
    assert after.revived.value_Ah == pytest.approx(350 * UAH)
    assert after.revived.label is Label.BOUND
    assert after.lost.value_Ah == pytest.approx(50 * UAH, abs=5 * UAH)
    # 350 of 400 came back: nearly all of what was lost had been isolated metal
    assert after.inactive.label is Label.BOUND
    assert after.sei.high_Ah < before.sei.high_Ah
    assert after.inactive.value_Ah < before.inactive.value_Ah


def test_a_net_charge_within_its_uncertainty_or_from_another_end_is_no_revival() -> None:
    _, after = with_return(0.19)
    assert after.revived.value_Ah == 0.0
    _, after = with_return(350.0, discharge_end=DischargeEnd.CATHODE)
    assert after.revived.value_Ah == 0.0
    assert after.lost.low_Ah < 50 * UAH < after.lost.high_Ah  # though it may have come back
    assert after.revived.label is Label.BOUND


def test_a_small_return_leaves_the_split_to_the_prior() -> None:
    _, after = with_return(5.0)
    assert after.revived.value_Ah == pytest.approx(5 * UAH)
    assert after.inactive.label is Label.PRIOR_DOMINATED


def test_lithium_in_excess_is_the_priors() -> None:
    config = InventoryConfig(cell_format=CellFormat.EXCESS_LITHIUM, nominal_capacity_Ah=NOMINAL_AH)
    last = lived(30, lost=0.0, config=config, discharge_end=DischargeEnd.CATHODE)[-1]
    assert last.lost.label is Label.PRIOR_DOMINATED
    assert math.isnan(last.revived.value_Ah)


def test_two_foils_have_no_inventory() -> None:
    config = InventoryConfig(cell_format=CellFormat.LI_LI, nominal_capacity_Ah=NOMINAL_AH)
    last = lived(5, lost=1.0, config=config)[-1]
    assert last.lost.label is Label.UNKNOWN
    assert math.isnan(last.lost.value_Ah)
    assert math.isnan(last.inactive.value_Ah)


def test_li_cu_is_measured_from_its_first_strip() -> None:
    config = InventoryConfig(cell_format=CellFormat.LI_CU, nominal_capacity_Ah=NOMINAL_AH)
    first, *_, last = lived(10, lost=20.0, config=config)
    assert first.lost.label is Label.MEASURED
    assert last.lost.value_Ah == pytest.approx(200 * UAH, abs=1.5 * UAH)
    assert math.isnan(last.side.value_Ah)


def formed(
    cycles: int,
    *,
    shuttle_A: float,
    changed_Ah: float = 0.0,
    formation_charge_Ah: float = math.nan,
) -> tuple[InventoryState, Inventory, float]:
    """Return state and inventory of a cell with a shuttle alone, and what that took (Ah).

    Two formation cycles of 20 h, then base cycles of 6 h; `changed_Ah`: by how much more a base
    charge takes from the cathode.
    """
    state = new_inventory(CONFIG)
    took_Ah = 0.0
    for cycle in range(1, cycles + 1):
        forming = cycle <= 2
        hours, charging_h = (20.0, 10.0) if forming else (6.0, 3.0)
        charge_Ah = (
            NOMINAL_AH + shuttle_A * charging_h
        )  # what it takes in a charge the charge gives
        if not forming:
            charge_Ah += changed_Ah
        elif cycle == 2 and formation_charge_Ah == formation_charge_Ah:
            charge_Ah = formation_charge_Ah
        one = figures(
            cycle,
            charge_Ah,
            -shuttle_A * hours,
            kind=CycleKind.FORMATION if forming else CycleKind.BASE,
            duration_s=hours * 3600.0,
            charging_s=charging_h * 3600.0,
            spent_s=0.0,
            high_s=3600.0,
        )
        took_Ah += shuttle_A * hours
        last = close_cycle(state, CONFIG, one, oxidation_s=(3600.0, 5400.0))
    return state, last, took_Ah


def test_formation_charges_tell_what_side_currents_took_in_formation() -> None:
    shuttle_A = 5e-3 * NOMINAL_AH  # 20 % of nominal in formation, of which a tenth would be unknown
    state, last, took_Ah = formed(3, shuttle_A=shuttle_A)
    assert last.side.low_Ah < took_Ah < last.side.high_Ah
    assert last.side.high_Ah - last.side.low_Ah < 0.16 * took_Ah
    assert state.reference_shuttle_h == 0.0


@pytest.mark.parametrize("changed", [-0.04, 0.04])
def test_formation_that_ends_elsewhere_is_not_compared(changed: float) -> None:
    shuttle_A = 5e-3 * NOMINAL_AH
    state, last, took_Ah = formed(12, shuttle_A=shuttle_A, changed_Ah=changed * NOMINAL_AH)
    assert last.side.low_Ah < took_Ah < last.side.high_Ah
    assert state.odd_Ah == 0.0


def test_formation_charges_that_differ_begin_anew() -> None:
    state, last, _ = formed(12, shuttle_A=0.0, formation_charge_Ah=0.8 * NOMINAL_AH)
    assert state.reference_shuttle_h == pytest.approx(
        20.0
    )  # what was before is told by rates alone
    assert state.odd_Ah == 0.0
    assert last.side.high_Ah < 0.01 * NOMINAL_AH
    assert last.lost.label is Label.MEASURED


@pytest.mark.parametrize("clock", [0, 1])
def test_oxidation_is_found_by_whichever_clock_it_keeps(clock: int) -> None:
    """What one clock counts falls by a quarter over the life, the other's does not."""
    state = new_inventory(CONFIG)
    oxidised_Ah = 0.0
    for cycle in range(1, 41):
        clocks_h = (1.2 - 0.0075 * cycle, 1.8)
        side_Ah = 6e-3 * NOMINAL_AH * clocks_h[clock]
        one = figures(
            cycle,
            NOMINAL_AH - 20 * UAH * cycle + side_Ah,
            -20 * UAH,
            duration_s=(7.5 - 0.1 * cycle) * 3600.0,
            charging_s=3.0 * 3600.0,
            spent_s=600.0,
        )
        # oxidised charge plates lithium all the same: what is missing is lithium lost
        last = close_cycle(
            state, CONFIG, one, oxidation_s=(3600.0 * clocks_h[0], 3600.0 * clocks_h[1])
        )
        oxidised_Ah += side_Ah
    assert last.lost.low_Ah < 800 * UAH < last.lost.high_Ah


def test_more_lithium_lost_than_is_missing_is_not_said() -> None:
    """Nothing that is believed in explains such a cell: a bound is left, and it holds."""
    state = new_inventory(CONFIG)
    for cycle in range(1, 21):
        last = close_cycle(
            state, CONFIG, figures(cycle, NOMINAL_AH - (cycle - 1) * 20 * UAH, -20 * UAH)
        )
    assert last.lost.label is Label.MEASURED
    # what one charge that oxidises much leaves believed: a shuttle that has given charge
    state.mean[:, 4] -= 0.5 * NOMINAL_AH
    odd = close_cycle(state, CONFIG, figures(21, NOMINAL_AH - 20 * 20 * UAH, -20 * UAH))
    assert odd.lost.label is Label.BOUND
    assert odd.lost.low_Ah == pytest.approx(400 * UAH, rel=0.05)
    assert odd.lost.high_Ah == pytest.approx(odd.missing.high_Ah)


def rested(
    end: DischargeEnd, *, shuttle_A: float, runs: bool, after_rest: DischargeEnd
) -> tuple[InventoryState, Inventory]:
    """Live 25 cycles of 6 h with a shuttle and 20 uAh of lithium lost each; every fourth begins
    with 4 h at the discharged end, in which the shuttle runs or, on a bare anode, does not.
    """
    state = new_inventory(CONFIG)
    missing_Ah = took_Ah = 0.0
    for cycle in range(1, 26):
        rest_h = 4.0 if cycle % 4 == 0 else 0.0
        charging_h, high_s = 3.0 - 0.02 * cycle, 3600.0 * (1.0 + 0.5 * (cycle % 3))
        before_Ah = shuttle_A * rest_h * runs
        charge_Ah = NOMINAL_AH + took_Ah + before_Ah - missing_Ah + shuttle_A * charging_h
        side_Ah = before_Ah + 6.0 * shuttle_A
        one = figures(
            cycle,
            charge_Ah,
            -20 * UAH - side_Ah,
            duration_s=(rest_h + 6.0) * 3600.0,
            charging_s=charging_h * 3600.0,
            spent_before_s=rest_h * 3600.0,
            spent_s=rest_h * 3600.0,
            high_s=high_s,
            discharge_end=after_rest if rest_h else end,
        )
        inventory = close_cycle(state, CONFIG, one, oxidation_s=(high_s, high_s))
        took_Ah += side_Ah
        missing_Ah += 20 * UAH + side_Ah
    return state, inventory


def test_no_shuttle_runs_in_a_rest_on_a_bare_anode() -> None:
    """Its hours, counted in where lithium came back, would pass for oxidation and lithium lost."""
    state, last = rested(
        DischargeEnd.ANODE,
        shuttle_A=2e-3 * NOMINAL_AH,
        runs=False,
        after_rest=DischargeEnd.CATHODE,
    )
    assert state.shuttle_h == pytest.approx(25 * 6.0)
    assert last.lost.low_Ah < 500 * UAH < last.lost.high_Ah
    assert last.lost.high_Ah - last.lost.low_Ah < 120 * UAH


@pytest.mark.parametrize("runs", [False, True])
def test_a_long_rest_after_another_end_is_doubtful(runs: bool) -> None:
    shuttle_A = 2e-3 * NOMINAL_AH
    cathode = DischargeEnd.CATHODE
    state, last = rested(cathode, shuttle_A=shuttle_A, runs=runs, after_rest=cathode)
    took_Ah = shuttle_A * (25 * 6.0 + 6 * 4.0 * runs)
    assert 25 * 6.0 < state.shuttle_h < 25 * 6.0 + 6 * 4.0
    assert last.side.low_Ah < took_Ah < last.side.high_Ah


def strip_of_bare_copper(capacity_F: float, every_s: float) -> CopperCharge:
    """Return what is told of a strip at 1 mA: at 0.1 V, then copper goes to 1 V."""
    ending = new_ending(-1.0, NOMINAL_AH)
    fall_s = 0.9 * capacity_F / 1e-3
    steps = math.ceil((3630.0 + fall_s) / every_s)
    for n in range(steps + 1):  # the last reading is at the cut-off
        t_s = min(n * every_s, 3630.0 + fall_s)
        dt_s = t_s - max(min((n - 1) * every_s, 3630.0 + fall_s), 0.0)
        voltage_V = -0.1 - max(t_s - 3630.0, 0.0) * 1e-3 / capacity_F
        observe_ending(ending, dt_s, dt_s / 3600.0 * 1e-3, -1e-3, voltage_V, 0)
    return copper_charge(ending, area_cm2=2.0, lower_cut_off_V=-1.0)


@pytest.mark.parametrize("capacity_F", [1e-4, 4e-4])
def test_readings_that_follow_bare_copper_tell_what_it_takes(capacity_F: float) -> None:
    told = strip_of_bare_copper(capacity_F, 0.01)
    whole_Ah = capacity_F * 1.0 / 3600.0
    # as much as that leaks, or nothing: the middle of it
    assert told.value_Ah == pytest.approx(0.5 * whole_Ah, rel=0.01)
    assert told.u_Ah == pytest.approx(whole_Ah / math.sqrt(12.0), rel=0.01)


def test_readings_far_apart_leave_bare_copper_to_its_prior() -> None:
    told = strip_of_bare_copper(1e-4, 60.0)
    assert told == strip_of_bare_copper(4e-4, 60.0)
    most_Ah = 5e-4 * 2.0 / 3600.0
    assert 0.05 * most_Ah < told.value_Ah < 0.2 * most_Ah
    assert told.value_Ah < told.u_Ah < 0.3 * most_Ah


def test_what_bare_copper_gave_is_lithium_lost_and_not_come_back() -> None:
    config = InventoryConfig(cell_format=CellFormat.LI_CU, nominal_capacity_Ah=NOMINAL_AH)
    with_copper, without = new_inventory(config), new_inventory(config)
    copper = CopperCharge(2.0 * UAH, 0.5 * UAH)
    for cycle, net_Ah in ((1, -10.0 * UAH), (2, -10.0 * UAH), (3, 1.0 * UAH)):
        one = figures(cycle, NOMINAL_AH, net_Ah)
        more = close_cycle(with_copper, config, one, copper=copper)
        less = close_cycle(without, config, one)
    assert more.lost.value_Ah - less.lost.value_Ah == pytest.approx(6.0 * UAH, abs=0.01 * UAH)
    assert more.lost.u_Ah == pytest.approx(math.hypot(less.lost.u_Ah, 1.5 * UAH), rel=1e-3)
    assert less.revived.value_Ah == pytest.approx(1.0 * UAH)
    assert more.revived.value_Ah == 0.0


def test_copper_that_is_not_bare_gives_nothing() -> None:
    config = InventoryConfig(cell_format=CellFormat.LI_CU, nominal_capacity_Ah=NOMINAL_AH)
    state = new_inventory(config)
    one = figures(1, NOMINAL_AH, -20 * UAH, discharge_end=DischargeEnd.POLARISATION)
    close_cycle(state, config, one, copper=CopperCharge(2.0 * UAH, 0.5 * UAH))
    assert state.copper_Ah == state.copper_u_Ah == 0.0


@pytest.mark.parametrize(
    ("changed", "compared"),
    [
        ({}, True),
        ({"kind": CycleKind.REFERENCE}, False),
        ({"treatment_net_charge_Ah": 1e-5}, False),
        ({"flags": ("gap",)}, False),
    ],
)
def test_only_plain_base_charges_are_compared(changed: dict[str, object], compared: bool) -> None:
    state = new_inventory(CONFIG)
    for cycle in range(1, 10):
        close_cycle(
            state, CONFIG, figures(cycle, NOMINAL_AH - cycle * 20 * UAH, -20 * UAH, **changed)
        )
    prior = new_inventory(CONFIG)
    assert (state.log_weight.tolist() != prior.log_weight.tolist()) is compared


@pytest.mark.parametrize("jump_uAh", [-400.0, 400.0])
def test_one_charge_that_ended_elsewhere_changes_nothing(jump_uAh: float) -> None:
    state = new_inventory(CONFIG)
    for cycle in range(1, 30):
        charge_Ah = NOMINAL_AH - (cycle - 1) * 25 * UAH + (jump_uAh * UAH if cycle == 12 else 0.0)
        last = close_cycle(state, CONFIG, figures(cycle, charge_Ah, -25 * UAH))
        assert state.reference_charge_Ah == pytest.approx(NOMINAL_AH)
    assert last.lost.label is Label.MEASURED
    assert last.lost.value_Ah == pytest.approx(29 * 25 * UAH, abs=5 * UAH)


@pytest.mark.parametrize("jump_uAh", [-400.0, 400.0])
def test_where_charges_stay_elsewhere_the_side_currents_are_asked_anew(jump_uAh: float) -> None:
    state = new_inventory(CONFIG)
    labels = []
    for cycle in range(1, 40):
        charge_Ah = NOMINAL_AH - (cycle - 1) * 25 * UAH + (jump_uAh * UAH if cycle >= 12 else 0.0)
        last = close_cycle(state, CONFIG, figures(cycle, charge_Ah, -25 * UAH))
        labels.append(last.lost.label)
    assert labels[10] is Label.MEASURED
    assert labels[12] is Label.PRIOR_DOMINATED
    assert labels[-1] is Label.MEASURED
    assert last.lost.low_Ah < 39 * 25 * UAH < last.lost.high_Ah


@pytest.mark.parametrize("scatter_uAh", [1.0, 3.0, 9.0])
def test_charges_that_scatter_are_no_side_current(scatter_uAh: float) -> None:
    """The cell says itself how much its charges scatter; lithium lost stays what it is."""
    random = np.random.default_rng(5)
    outside, cells = 0, 20
    for _ in range(cells):
        state = new_inventory(CONFIG)
        for cycle in range(1, 31):
            scattered_Ah = scatter_uAh * UAH * float(random.standard_normal())
            charge_Ah = NOMINAL_AH - (cycle - 1) * 25 * UAH + scattered_Ah
            last = close_cycle(state, CONFIG, figures(cycle, charge_Ah, -25 * UAH))
        assert math.sqrt(state.noise_Ah2) == pytest.approx(scatter_uAh * UAH, rel=0.8)
        outside += not last.lost.low_Ah <= 750 * UAH <= last.lost.high_Ah
    assert outside <= 2  # of 20, by chance 1 at 95 %


@pytest.mark.parametrize("drift_uAh", [0.36, 1.44])
def test_charges_that_drift_are_no_side_current(drift_uAh: float) -> None:
    """What is assumed of drift, and four times that: the charges say which."""
    random = np.random.default_rng(6)
    outside, cells = 0, 40
    for _ in range(cells):
        state = new_inventory(CONFIG)
        drifted_Ah = 0.0
        for cycle in range(1, 41):
            charge_Ah = NOMINAL_AH - (cycle - 1) * 25 * UAH + drifted_Ah
            last = close_cycle(state, CONFIG, figures(cycle, charge_Ah, -25 * UAH))
            drifted_Ah += drift_uAh * UAH * float(random.standard_normal())
        outside += not last.lost.low_Ah <= 1000 * UAH <= last.lost.high_Ah
    assert outside <= 5  # of 40, by chance 5 or fewer at 95 % in 98 of 100


def test_charges_that_end_by_their_charge_are_not_compared() -> None:
    """Plated by charge the cathode is emptied further each time: no shuttle, and no oxidation."""
    config = replace(CONFIG, upper_cut_off_V=4.3)
    state = new_inventory(config)
    for cycle in range(1, 31):
        one = figures(
            cycle,
            0.7 * NOMINAL_AH,
            -25 * UAH,
            charging_s=3.0 * 3600.0,
            charge_end_A=0.7 * NOMINAL_AH / 3.0,
            charge_top_V=4.0 + 0.002 * cycle,
        )
        last = close_cycle(state, config, one)
    assert state.has_reference == 0
    assert last.lost.low_Ah < 750 * UAH < last.lost.high_Ah


@pytest.mark.parametrize(("end_share", "wider"), [(1.0, True), (0.15, False)])
def test_without_a_hold_charges_drift_more(end_share: float, wider: bool) -> None:
    widths = []
    for told in ({}, {"charging_s": 3.0 * 3600.0, "charge_end_A": end_share * NOMINAL_AH / 3.0}):
        state = new_inventory(CONFIG)
        for cycle in range(1, 31):
            charge_Ah = NOMINAL_AH - (cycle - 1) * 25 * UAH
            last = close_cycle(state, CONFIG, figures(cycle, charge_Ah, -25 * UAH, **told))
        widths.append(last.lost.high_Ah - last.lost.low_Ah)
    assert (widths[1] > 1.2 * widths[0]) is wider


def test_one_stray_charge_is_no_scatter() -> None:
    state = new_inventory(CONFIG)
    for cycle in range(1, 30):
        stray_Ah = 200 * UAH if cycle == 20 else 0.0
        charge_Ah = NOMINAL_AH - (cycle - 1) * 25 * UAH + stray_Ah
        close_cycle(state, CONFIG, figures(cycle, charge_Ah, -25 * UAH))
    assert math.sqrt(state.noise_Ah2) < 2e-4 * NOMINAL_AH


def test_a_charge_cut_short_by_polarisation_says_nothing_of_lithium() -> None:
    """Once its salt is spent a cell stops at both cut-offs at once, whatever lithium there is."""
    state = new_inventory(CONFIG)
    for cycle in range(1, 21):
        alive = close_cycle(
            state, CONFIG, figures(cycle, NOMINAL_AH - (cycle - 1) * 20 * UAH, -20 * UAH)
        )
    assert alive.lost.label is Label.MEASURED
    for cycle in range(21, 61):
        dead = close_cycle(state, CONFIG, figures(cycle, 1e-4 * UAH, -1e-5 * UAH))
        assert dead.lost.label is Label.BOUND
    assert dead.lost.low_Ah == pytest.approx(alive.lost.low_Ah, abs=8 * UAH)
    # all that is missing: what a shuttle may have taken is not subtracted from a bound
    assert dead.lost.high_Ah == pytest.approx(alive.lost.high_Ah, abs=12 * UAH)
    assert dead.lost.high_Ah >= alive.missing.value_Ah
    assert dead.side.high_Ah == pytest.approx(alive.side.high_Ah, abs=20 * UAH)
    # contact is made again, and the charges compare as before
    for cycle in range(61, 64):
        again = close_cycle(
            state, CONFIG, figures(cycle, NOMINAL_AH - (cycle - 41) * 20 * UAH, -20 * UAH)
        )
    assert again.lost.label is Label.MEASURED
    assert again.lost.value_Ah == pytest.approx(23 * 20 * UAH, abs=4 * UAH)


def test_a_small_charge_of_a_cell_that_lost_its_lithium_is_no_collapse() -> None:
    last = lived(95, lost=30.0)[-1]
    assert last.lost.label is Label.MEASURED
    assert last.lost.value_Ah == pytest.approx(95 * 30 * UAH, abs=8 * UAH)


def test_a_cycle_without_a_number_leaves_nothing_measured() -> None:
    state = new_inventory(CONFIG)
    close_cycle(state, CONFIG, figures(1, NOMINAL_AH, -20 * UAH))
    broken = close_cycle(state, CONFIG, figures(2, NOMINAL_AH, math.nan))
    assert broken.missing.label is Label.UNKNOWN
    after = close_cycle(state, CONFIG, figures(3, NOMINAL_AH - 40 * UAH, -20 * UAH))
    assert after.lost.label is Label.UNKNOWN
    assert math.isfinite(after.missing.value_Ah)


def test_the_state_is_small_constant_and_goes_to_json_and_back() -> None:
    state = new_inventory(CONFIG)
    sizes = []
    for cycle in range(1, 60):
        one = figures(cycle, NOMINAL_AH - cycle * 20 * UAH, -20 * UAH)
        text = json.dumps(to_dict(state))
        again = from_dict(json.loads(text))
        sizes.append(sum(getattr(state, name).size for name in ("mean", "cov", "log_weight")))
        assert close_cycle(again, CONFIG, one) == close_cycle(state, CONFIG, one)
        assert len(text) < 64 * 1024
    assert len(set(sizes)) == 1


# -- the decay of charged rests -------------------------------------------------------------------

SHUTTLE, OXIDATION = 1, 2  # of a component's numbers


def said(current_A: float, *, u_A: float = 0.6 * UAH, slope_u: float = 0.25, **of: float) -> SelfDischarge:  # fmt: skip
    return SelfDischarge(current_A, u_A, slope_u, of.get("oxidation_most", 0.0))


def test_of_one_component_a_rest_makes_the_mean_of_two_gaussians() -> None:
    state = new_inventory(CONFIG)
    k = 4 * 7  # a shuttle, no oxidation
    state.log_weight[:] = -700.0
    state.log_weight[k] = 0.0
    before_A, width_A2 = state.mean[k, SHUTTLE], state.cov[k, SHUTTLE, SHUTTLE]
    close_cycle(state, CONFIG, figures(1, NOMINAL_AH, -20 * UAH), said(2e-6, u_A=1e-6, slope_u=0.0))
    # the cycle's hours add what the current may have changed meanwhile, not its mean
    expected = (before_A / width_A2 + 2e-6 / 1e-12) / (1.0 / width_A2 + 1.0 / 1e-12)
    assert state.mean[k, SHUTTLE] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("oxidation_most", [0.0, 0.005])
def test_a_rest_parts_what_the_charge_cannot(oxidation_most: float) -> None:
    """25 uAh a cycle go missing and no charge fades: a shuttle, or oxidation and lithium lost."""
    rate_A = 25 * UAH / 6.5

    def after(rest: SelfDischarge | None) -> Inventory:
        state = new_inventory(CONFIG)
        for cycle in range(1, 7):
            one = figures(cycle, NOMINAL_AH, -25 * UAH, high_s=6.5 * 3600.0)  # the same hours
            last = close_cycle(state, CONFIG, one, rest if cycle == 4 else None)
        return last

    blind = after(None).lost
    shuttled = after(said(rate_A, oxidation_most=oxidation_most)).lost
    oxidised = after(said(0.0, oxidation_most=oxidation_most)).lost
    total_Ah = 6 * 25 * UAH
    assert blind.low_Ah < 0.1 * total_Ah
    assert blind.high_Ah > 0.9 * total_Ah
    assert shuttled.high_Ah < 0.7 * total_Ah
    assert oxidised.low_Ah > 0.5 * total_Ah
    assert oxidised.high_Ah > total_Ah


def test_near_the_upper_cut_off_a_rest_cannot_tell_a_shuttle_from_oxidation() -> None:
    rate_A = 25 * UAH / 6.5
    state = new_inventory(CONFIG)
    close_cycle(state, CONFIG, figures(1, NOMINAL_AH, -25 * UAH), said(rate_A, oxidation_most=1.0))
    weight = [math.exp(one) for one in state.log_weight]
    shuttles = sum(w for w, m in zip(weight, state.mean, strict=True) if m[SHUTTLE] > 0.4 * rate_A)
    oxidises = sum(w for w, m in zip(weight, state.mean, strict=True) if m[OXIDATION] > 0.4 * rate_A)  # fmt: skip
    assert shuttles > 0.2 * sum(weight)
    assert oxidises > 0.2 * sum(weight)


def test_many_rests_that_say_the_same_count_less_than_two() -> None:
    state = new_inventory(CONFIG)
    k = 4 * 7
    width_A2 = float(state.cov[k, SHUTTLE, SHUTTLE])
    current_A = float(state.mean[k, SHUTTLE])
    for cycle in range(1, 60):
        close_cycle(
            state,
            CONFIG,
            figures(cycle, NOMINAL_AH, -20 * UAH, duration_s=0.0, kind=CycleKind.REFERENCE),
            said(current_A, u_A=1e-6, slope_u=0.0),
        )
    assert state.cov[k, SHUTTLE, SHUTTLE] > 1.0 / (1.0 / width_A2 + 1.65 / 1e-12)
    assert state.cov[k, SHUTTLE, SHUTTLE] < 1.0 / (1.0 / width_A2 + 1.55 / 1e-12)
    assert state.rests == 59


def test_a_rest_that_nothing_explains_changes_nothing() -> None:
    seen, blind = new_inventory(CONFIG), new_inventory(CONFIG)
    one = figures(1, NOMINAL_AH, -20 * UAH)
    close_cycle(seen, CONFIG, one, said(-100.0 * UAH))  # a voltage that rises
    close_cycle(blind, CONFIG, one)
    assert to_dict(seen) == to_dict(blind)


def test_a_rest_that_misleads_is_outvoted_by_the_charges() -> None:
    """The voltage stood still for another reason; what is missing fades like lithium lost."""
    state = new_inventory(CONFIG)
    for cycle in range(1, 31):
        charge_Ah = NOMINAL_AH - (cycle - 1) * 25 * UAH
        rest = said(6.0 * UAH) if cycle == 2 else None  # it fell, though there is no shuttle
        last = close_cycle(state, CONFIG, figures(cycle, charge_Ah, -25 * UAH), rest)
    assert last.lost.low_Ah < 750 * UAH < last.lost.high_Ah
    assert last.lost.label is Label.MEASURED


@pytest.mark.parametrize("cell_format", [CellFormat.LI_CU, CellFormat.LI_LI])
def test_two_foils_have_no_decay(cell_format: CellFormat) -> None:
    config = InventoryConfig(cell_format=cell_format, nominal_capacity_Ah=NOMINAL_AH)
    seen, blind = new_inventory(config), new_inventory(config)
    one = figures(1, NOMINAL_AH, -20 * UAH)
    assert close_cycle(seen, config, one, said(UAH)) == close_cycle(blind, config, one)
    assert to_dict(seen) == to_dict(blind)


def test_the_rule_of_prior_domination_at_its_bounds() -> None:
    assert not prior_dominated(posterior_sd=0.7, prior_sd=1.0, moved_by=0.35)
    assert prior_dominated(posterior_sd=0.71, prior_sd=1.0, moved_by=0.0)
    assert prior_dominated(posterior_sd=0.5, prior_sd=1.0, moved_by=-0.26)
    assert not prior_dominated(posterior_sd=0.0, prior_sd=1.0, moved_by=0.0)
    assert prior_dominated(posterior_sd=0.5, prior_sd=math.nan, moved_by=0.0)
