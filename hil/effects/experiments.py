"""The experiments, one small function each: a lab in, figures out.

Formats, currents and cut-offs are those of the publication where it gives them; what it does not
give stands in the effect's `assumed` (`hil.effects.table`) and in the constants here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from hil.cell.parameters import CellParameters
from hil.cycling import ACTIVE, CHARGE, INACTIVE, Course, CycledCell, Leg, Numbers
from hil.effects.lab import Figures, Lab, half_cycle, life_cycles, pause

STRIP_V = -1.0  # of Cu against Li: the end of a strip in Li||Cu
STEP_V = -2.0  # of a fast step there
SYMMETRIC_V = 1.0  # of Li||Li: lithium is spent
NMC_HIGH_V, NMC_LOW_V = 4.2, 3.0
NMC811_HIGH_V = 4.3
LFP_HIGH_V, LFP_LOW_V = 3.8, 2.8
REST_H = 1.0 / 6.0
C_MA_PER_CM2 = 2.0  # 1C of the pouch cells

# E1, E2: the activation step, free (Liu 2021 gives it, but its text is not to hand)
STEP_MA_PER_CM2 = 10.0
STEP_MAH_PER_CM2 = 0.10
STEP_EVERY = 5
NMC532_MA_PER_CM2 = 0.78  # C/2


def li_cu_cycle(
    parameters: CellParameters,
    plate_density: float = 1.0,
    strip_density: float = 1.0,
    mAh_per_cm2: float = 1.0,
    *,
    between: Sequence[Leg] = (),
) -> list[Leg]:
    """Return plating on Cu, whatever comes between, and stripping to the cut-off."""
    return [
        half_cycle(parameters, plate_density, 5.0, mAh_per_cm2=mAh_per_cm2),
        *between,
        half_cycle(parameters, -strip_density, STRIP_V),
    ]


def fast_strip_prolongs_life(lab: Lab) -> Figures:
    """E1: a short fast discharge right after the charge, or none."""
    p = lab.parameters()
    charge = half_cycle(p, NMC532_MA_PER_CM2, NMC_HIGH_V, hold_share=0.1)
    discharge = half_cycle(p, -NMC532_MA_PER_CM2, NMC_LOW_V)
    step = half_cycle(
        p,
        -STEP_MA_PER_CM2,
        NMC_LOW_V - 0.5,
        mAh_per_cm2=STEP_MAH_PER_CM2,
        every=STEP_EVERY,
        offset=STEP_EVERY - 1,
    )
    control = lab.start(p).run([charge, discharge], 150, stop_share=0.8)
    treated = lab.start(p).run([charge, step, discharge], 250, stop_share=0.8)
    lives = life_cycles(treated.discharge_mAh), life_cycles(control.discharge_mAh)
    return {
        "life_ratio": lives[0] / lives[1],
        "treated_life_cycles": lives[0],
        "control_life_cycles": lives[1],
    }


def fast_strip_lifts_efficiency(lab: Lab) -> Figures:
    """E2: Li||Cu with inactive lithium from 20 cycles, then fast strips after plating, or none."""
    p = lab.parameters()
    cell = lab.start(p)
    cell.run(li_cu_cycle(p), 20)
    twin = cell.snapshot()
    control = cell.run(li_cu_cycle(p), 3)
    cell.restore(twin)
    step = half_cycle(p, -STEP_MA_PER_CM2, STEP_V, mAh_per_cm2=STEP_MAH_PER_CM2)
    treated = cell.run(li_cu_cycle(p, between=[step]), 3)
    return {
        "highest_ce_treated": float(treated.efficiency.max()),
        "highest_ce_control": float(control.efficiency.max()),
        "net_gain_share": float(
            (treated.net_mAh.sum() - control.net_mAh.sum()) / control.charge_mAh.sum()
        ),
    }


def discharged_rest_recovers(lab: Lab) -> Figures:
    """E3: fully stripped Li||Cu rested for 1 or 5 h, or not at all; next cycles' net charge."""
    p = lab.parameters()
    cell = lab.start(p)
    cell.run(li_cu_cycle(p), 20)
    twin = cell.snapshot()
    net = []
    for hours in (0.0, 1.0, 5.0):
        cell.restore(twin)
        if hours > 0.0:
            cell.run([pause(hours)])
        net.append(float(cell.run(li_cu_cycle(p)).net_mAh[0]))
    plated_mAh = p.area_cm2
    return {
        "gain_1h_percent": 100.0 * (net[1] - net[0]) / plated_mAh,
        "gain_5h_percent": 100.0 * (net[2] - net[0]) / plated_mAh,
        "longer_minus_shorter_percent": 100.0 * (net[2] - net[1]) / plated_mAh,
    }


def charged_rest_costs(lab: Lab) -> Figures:
    """E4: charged rest of 24 and 48 h in Li||Cu; 24 h in every cycle of a cell without excess."""
    p = lab.parameters()
    cell = lab.start(p)
    cell.run(li_cu_cycle(p), 3)
    twin = cell.snapshot()
    stripped = []
    for hours in (0.0, 24.0, 48.0):
        cell.restore(twin)
        between = [pause(hours)] if hours > 0.0 else []
        stripped.append(float(cell.run(li_cu_cycle(p, between=between)).discharge_mAh[0]))
    losses = [stripped[0] - one for one in stripped[1:]]
    full = lab.parameters(cell="anode-free-lfp")
    charge = half_cycle(full, 1.0, LFP_HIGH_V, hold_share=0.1)
    discharge = half_cycle(full, -1.0, LFP_LOW_V)
    plain = lab.start(full).run([charge, discharge], 400, stop_share=0.8)
    rested = lab.start(full).run([charge, pause(24.0), discharge], 400, stop_share=0.8)
    life = life_cycles(plain.discharge_mAh)
    return {
        "loss_24h_percent": 100.0 * losses[0] / stripped[0],
        "loss_48h_over_24h": losses[1] / losses[0],
        "life_ratio": life_cycles(rested.discharge_mAh) / life,
        "life_without_rests_cycles": life,
    }


def charged_rests_return(lab: Lab) -> Figures:
    """E5: 50 cycles, every fifth with 24 h of charged rest or not, at three stack pressures."""
    dips, differences = [], []
    for pressure_kPa in (10.0, 100.0, 1000.0):
        p = lab.parameters(stack_pressure_kPa=pressure_kPa)
        plain = lab.start(p).run(li_cu_cycle(p), 50)
        rest = pause(24.0, every=5, offset=3)
        rested = lab.start(p).run(li_cu_cycle(p, between=[rest]), 50)
        with_rest = rested.efficiency[3::5]
        dips.append(float(plain.efficiency[3::5].mean() - with_rest.mean()))
        differences.append(average_ce(rested) - average_ce(plain))
    return {
        "smallest_dip_percent": 100.0 * min(dips),
        "largest_difference_percent": 100.0 * max(abs(one) for one in differences),
    }


def average_ce(course: Course) -> float:
    """Return all discharge over all charge."""
    return float(course.discharge_mAh.sum() / course.charge_mAh.sum())


def slow_charge_fast_discharge(lab: Lab) -> Figures:
    """E6: 0.2C/3C against 1C/0.33C: efficiency in Li||Cu at the same densities; life in a pouch."""
    rates = ((0.2, 3.0), (1.0, 1.0 / 3.0))
    loss, reference = [ce_loss(lab, *one) for one in rates]
    figures = {
        "ce_loss_ratio": reference / loss,
        "ce_slow_charge_percent": 100.0 * (1.0 - loss),
        "ce_fast_charge_percent": 100.0 * (1.0 - reference),
    }
    if lab.draw:  # a thousand cycles each, of which the sign is not asked
        return figures
    life, reference = [pouch_life(lab, *one) for one in rates]
    return figures | {
        "life_ratio": life / reference,
        "life_slow_charge_cycles": life,
        "life_fast_charge_cycles": reference,
    }


def ce_loss(lab: Lab, charge_rate: float, discharge_rate: float) -> float:
    """Return 1 - CE of Li||Cu at 2 mAh/cm2, plated and stripped at C-rates."""
    p = lab.parameters(cell="li-cu")
    legs = li_cu_cycle(p, charge_rate * C_MA_PER_CM2, discharge_rate * C_MA_PER_CM2, C_MA_PER_CM2)
    return 1.0 - float(lab.start(p).run(legs, 12).efficiency[2:].mean())


def pouch_life(lab: Lab, charge_rate: float, discharge_rate: float) -> float:
    """Return the life of the effect's own cell, counted to 1000 cycles."""
    p = lab.parameters()
    legs = [
        half_cycle(p, charge_rate * C_MA_PER_CM2, NMC811_HIGH_V, hold_share=0.2),
        half_cycle(p, -discharge_rate * C_MA_PER_CM2, NMC_LOW_V - 0.5),
    ]
    return life_cycles(lab.start(p).run(legs, 1000, stop_share=0.8).discharge_mAh)


def lost_per_discharge(lab: Lab, p: CellParameters, density: float) -> float:
    """Return the lithium lost per charge discharged (percent), over ten cycles after two."""
    cell = lab.start(p)
    charge = half_cycle(p, 0.4, NMC811_HIGH_V, hold_share=0.2)
    legs = [charge, half_cycle(p, -density, NMC_LOW_V - 0.5)]
    cell.run(legs, 2)
    before_mAh = lost_mAh(cell)
    course = cell.run(legs, 10)
    return 100.0 * (lost_mAh(cell) - before_mAh) / float(course.discharge_mAh.sum())


def lost_mAh(cell: CycledCell) -> float:
    """Return all lithium that is metal without contact or bound in SEI (hidden truth)."""
    e = cell.state().neg
    return e.fresh_mAh + e.old_mAh + e.reversible_mAh + e.sei_mAh + e.residual_sei_mAh


def discharge_rate_has_an_optimum(lab: Lab) -> Figures:
    """E7: discharge at 0.4, 0.8 and 1.6 mA/cm2, and far above."""
    p = lab.parameters()
    densities = (0.4, 0.8, 1.6, 4.0, 10.0, 25.0)
    losses = [lost_per_discharge(lab, p, one) for one in densities]
    return {
        "loss_at_0.4_percent": losses[0],
        "loss_at_1.6_percent": losses[2],
        "least_improvement_percent_of_loss": 100.0
        * min(1.0 - losses[1] / losses[0], 1.0 - losses[2] / losses[1]),
        "turn_over_percent_of_loss": 100.0 * (losses[-1] / min(losses) - 1.0),
        "best_density_mA_per_cm2": densities[int(np.argmin(losses))],
    }


def roughness_after(lab: Lab, density: float, dose: float = 0.0) -> float:
    """Return the roughness after 50 cycles of Li||Li, with a dose of five cycles at the end."""
    p = lab.parameters()
    cell = lab.start(p)
    cell.run(li_li_cycle(p, density, 0.5), 50)
    if dose > 0.0:
        cell.run(li_li_cycle(p, dose, 0.5), 5)
    s = cell.state()
    return 0.5 * (s.neg.roughness + s.pos.roughness)


def li_li_cycle(p: CellParameters, density: float, mAh_per_cm2: float) -> list[Leg]:
    """Return a cycle of Li||Li, bounded by what its polarisation never reaches."""
    return [
        half_cycle(p, density, 5.0, mAh_per_cm2=mAh_per_cm2),
        half_cycle(p, -density, -5.0, mAh_per_cm2=mAh_per_cm2),
    ]


def fast_cycles_smooth(lab: Lab) -> Figures:
    """E8: roughness of Li||Li after 50 cycles at 0.75, 4.5, 9 and 15 mA/cm2, and after a dose."""
    rough = [roughness_after(lab, one) for one in (0.75, 4.5, 9.0, 15.0)]
    dosed = roughness_after(lab, 4.5, dose=15.0)
    return {
        "rise_0.75_to_4.5": rough[1] - rough[0],
        "fall_4.5_to_15": rough[1] - rough[3],
        "fall_by_dose": rough[1] - dosed,
        "roughness_0.75": rough[0],
        "roughness_4.5": rough[1],
        "roughness_9": rough[2],
        "roughness_15": rough[3],
    }


def pulse_at_first_strip(lab: Lab) -> Figures:
    """E9: Li||Li of thin foils; 4 V for 1 s at first oxidation, after 5 cycles, or never.

    Life ends where a foil has no lithium left for 80 % of the cycle's charge.
    """
    p = lab.parameters()
    legs = [
        half_cycle(p, 1.0, SYMMETRIC_V, mAh_per_cm2=1.0),
        half_cycle(p, -1.0, -SYMMETRIC_V, mAh_per_cm2=1.0),
    ]
    current_A = 0.4 * p.area_cm2
    pulses = [Leg(sign * current_A, sign * 4.0, hold_A=1e-9, max_s=1.0) for sign in (1.0, -1.0)]
    lives, pits = [], []
    for when in (0, 5, -1):
        cell = lab.start(p)
        if when > 0:
            cell.run(legs, when)
        if when >= 0:
            cell.run(pulses)
        course = cell.run(legs, 300, stop_share=0.5)
        passed_mAh = np.minimum(course.charge_mAh, course.discharge_mAh)
        lives.append(max(when, 0) + life_cycles(passed_mAh, of_mAh=p.area_cm2))
        s = cell.state()
        pits.append(min(s.neg.pit_uniformity, s.pos.pit_uniformity))
    first, late, never = lives
    return {
        "life_gain_percent": 100.0 * (first / never - 1.0),
        "life_gain_late_pulse_percent": 100.0 * (late / never - 1.0),
        "first_over_late_percent": 100.0 * (first - late) / never,
        "life_without_cycles": never,
        "pit_uniformity": pits[0],
        "pit_uniformity_without": pits[2],
    }


def formation_rate_has_an_optimum(lab: Lab) -> Figures:
    """E10: first charge at C/20, C/2 or 1C in three electrolytes; capacity left after 15 cycles."""
    slower, faster, left = [], [], []
    for family in ("lhce", "hce", "dilute-ether"):
        p = lab.parameters(family=family)
        kept = []
        for c_rate in (0.05, 0.5, 1.0):
            cell = lab.start(p)
            density = c_rate * p.nominal_capacity_mAh / p.area_cm2
            half = 0.5 * p.nominal_capacity_mAh / p.area_cm2
            cell.run([half_cycle(p, density, LFP_HIGH_V)])
            discharge = half_cycle(p, -half, LFP_LOW_V)
            cell.run([discharge])
            charge = half_cycle(p, half, LFP_HIGH_V, hold_share=0.1)
            course = cell.run([charge, discharge], 15)
            kept.append(100.0 * float(course.discharge_mAh[-1]) / p.nominal_capacity_mAh)
        slower.append(kept[1] - kept[0])
        faster.append(kept[1] - kept[2])
        left.append(kept[1])
    return {
        "best_over_slow_percent": min(slower),
        "best_over_fast_percent": min(faster),
        "capacity_left_at_best_percent": left[0],
    }


def additive_keeps_contact(lab: Lab) -> Figures:
    """E11: inactive metal after one plating and stripping, without and with 5 % FEC."""
    shares = []
    for factor in (1.0, FEC_FACTOR):
        p = lab.parameters(additive_factor=factor)
        legs = [half_cycle(p, 0.5, LFP_HIGH_V), half_cycle(p, -0.5, LFP_LOW_V)]
        cell = lab.start(p)
        course = cell.run(legs)
        inactive = float(course.legs[-1, -1, INACTIVE])
        shares.append(100.0 * inactive / float(course.charge_mAh[0]))
    return {
        "without_percent": shares[0],
        "with_fec_percent": shares[1],
        "fall_percent": shares[0] - shares[1],
    }


FEC_FACTOR = 0.351  # 3.3 / 9.4


def pressure_helps(lab: Lab) -> Figures:
    """E12: average efficiency of 50 cycles at 0, 10, 100 and 1000 kPa."""
    averages = []
    for pressure_kPa in (0.0, 10.0, 100.0, 1000.0):
        p = lab.parameters(stack_pressure_kPa=pressure_kPa)
        averages.append(average_ce(lab.start(p).run(li_cu_cycle(p), 50)))
    gains = [100.0 * (one - averages[0]) for one in averages[1:]]
    return {
        "least_gain_percent": min(gains),
        "gain_at_1000kPa_percent": gains[-1],
        "ce_at_0kPa_percent": 100.0 * averages[0],
    }


def inactive_layer_hides_capacity(lab: Lab) -> Figures:
    """E13: capacity at 2 mA/cm2 falls with the layer; slowly discharged, it is there."""
    p = lab.parameters()
    charge = half_cycle(p, NMC532_MA_PER_CM2, NMC_HIGH_V, hold_share=0.1)
    fast = half_cycle(p, -2.0, 3.5)
    slow = half_cycle(p, -0.08, 3.5)
    cell = lab.start(p)
    first = cell.run([charge, fast, slow], 2)
    course = cell.run([charge, fast], 96)
    last = cell.run([charge, fast, slow], 2)

    def both(one: Course) -> tuple[float, float]:
        charges = -one.legs[-1, 1:, 0]
        return float(charges[0]), float(charges.sum())

    (fast_0, all_0), (fast_1, all_1) = both(first), both(last)
    return {
        "kept_at_rate_percent": 100.0 * fast_1 / fast_0,
        "kept_slowly_percent": 100.0 * all_1 / all_0,
        "hidden_percent": 100.0 * (all_1 / all_0 - fast_1 / fast_0),
        "active_lithium_over_capacity": float(last.legs[-1, -1, ACTIVE]) / all_0,
        "inactive_mAh_per_cm2": float(last.legs[-1, -1, INACTIVE]) / p.area_cm2,
        "cycles": float(course.cycles + 4),
    }


# E14: mAh of salt per mAh of capacity; the published 2.1 g/Ah of 1.5 mol/L is about 0.06
LEAN_SALT = 0.01
E14_CHARGE_MA_PER_CM2, E14_DISCHARGE_MA_PER_CM2 = 0.2, 3.0  # C/10 and 1.5C
SLOW_MA_PER_CM2 = 0.4, 0.04  # C/5, then C/50: what little salt carries, to the last lithium


def salt_depletion_cannot_be_treated(lab: Lab) -> Figures:
    """E14: a lean cell runs out of salt in discharge; rests and fast strips give none of it back.

    What the salt took is what the twin with the file's electrolyte has more after as many cycles.
    """
    with_salt = lab.parameters()
    lean_mAh = LEAN_SALT * with_salt.nominal_capacity_mAh
    lean = lab.start(lab.parameters(electrolyte_mAh=lean_mAh))
    starved = worn_and_treated(lean, 150, stop_share=0.5)
    twin = worn_and_treated(lab.start(with_salt), starved.course.cycles)
    capacity_mAh, twin_mAh = starved.course.discharge_mAh, twin.course.discharge_mAh
    least_mAh = 1e-3 * with_salt.nominal_capacity_mAh
    lost_mAh = max(float(twin_mAh[-1] - capacity_mAh[-1]), least_mAh)
    twin_lost_mAh = max(float(twin_mAh[0] - twin_mAh[-1]), least_mAh)
    charged, left, _ = starved.course.legs[-1]
    charged_mAh = max(float(charged[ACTIVE]), least_mAh)
    return {
        "lost_to_salt_percent": 100.0 * lost_mAh / float(capacity_mAh[0]),
        "inactive_over_lost": float(left[INACTIVE]) / lost_mAh,
        "left_of_charged_percent": 100.0 * float(left[ACTIVE]) / charged_mAh,
        "best_treatment_percent_of_lost": 100.0 * starved.returned_mAh / lost_mAh,
        "twin_treatment_percent_of_its_loss": 100.0 * twin.returned_mAh / twin_lost_mAh,
        "slow_discharge_percent_of_charged": 100.0 * starved.slow_mAh / charged_mAh,
        "salt_left_percent": 100.0 * starved.salt_mAh / lean_mAh,
        "cycles": float(starved.course.cycles),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Worn:
    """A cell that was cycled and then treated.

    Attributes
    ----------
    course : Course
        Charge, discharge, rest; up to the treatments.
    salt_mAh : float
        Anions left by then.
    slow_mAh : float
        What a slow discharge still gave.
    returned_mAh : float
        The most that a treatment gave over its control, in five cycles: capacity a cycle at the
        rate, or net charge from anchor to anchor.
    """

    course: Course
    salt_mAh: float
    slow_mAh: float
    returned_mAh: float


def worn_and_treated(cell: CycledCell, cycles: int, *, stop_share: float = 0.0) -> Worn:
    """Cycle a cell, then treat it in each cycle: rest before the charge, fast strip after it.

    A slow discharge anchors every treated cycle: the rest finds all lithium stripped. The control
    of the rest is none; that of the fast strip passes its charge at the base rate and pauses too.
    """
    p = cell.parameters
    charge = half_cycle(p, E14_CHARGE_MA_PER_CM2, LFP_HIGH_V)
    discharge = half_cycle(p, -E14_DISCHARGE_MA_PER_CM2, LFP_LOW_V)
    rest = pause(REST_H)
    anchor = [*(half_cycle(p, -one, LFP_LOW_V) for one in SLOW_MA_PER_CM2), rest]
    course = cell.run([charge, discharge, rest], cycles, stop_share=stop_share)
    salt_mAh = float(cell.state().salt_mAh)
    slow_mAh = float(cell.run(anchor).discharge_mAh[0])
    twin = cell.snapshot()

    def given_mAh(*, before: Sequence[Leg] = (), after: Sequence[Leg] = ()) -> Numbers:
        cell.restore(twin)
        treated = cell.run([*before, charge, *after, discharge, *anchor], 5)
        at_rate_mAh = -treated.legs[:, len(before) + 1 : -len(anchor), CHARGE].sum(axis=1)
        return np.array([at_rate_mAh.mean(), treated.net_mAh.sum()])

    def strip(density: float) -> list[Leg]:
        step = half_cycle(p, -density, LFP_LOW_V - 0.5, mAh_per_cm2=STEP_MAH_PER_CM2)
        return [step, pause(1.0 / 60.0)]

    rested = given_mAh(before=[pause(6.0)]) - given_mAh()
    stripped = given_mAh(after=strip(2.0 * E14_DISCHARGE_MA_PER_CM2))
    stripped -= given_mAh(after=strip(E14_DISCHARGE_MA_PER_CM2))
    return Worn(
        course=course,
        salt_mAh=salt_mAh,
        slow_mAh=slow_mAh,
        returned_mAh=float(max(rested.max(), stripped.max())),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Benefits:
    """What treatments give over the untreated twin, in mAh of net charge a cycle."""

    rest_mAh: float
    fast_strip_mAh: float

    @property
    def best_mAh(self) -> float:
        """The better treatment's net charge."""
        return max(self.rest_mAh, self.fast_strip_mAh)


def treatment_benefits(
    cell: CycledCell,
    charge: Leg,
    discharge: Leg,
    low_V: float,
    *,
    fast_density: float = STEP_MA_PER_CM2,
) -> Benefits:
    """Return what rests and fast strips give over 5 cycles, against the twin.

    The measure is net charge from one anchor (discharge, hold at the cut-off) to another. A fast
    strip is followed by a pause, so that it takes the time of the same charge at the base rate.
    """
    p = cell.parameters
    current_A = abs(discharge.current_A)
    anchor = Leg(discharge.current_A, low_V, hold_A=0.05 * current_A, max_s=discharge.max_s)
    rest = pause(REST_H)
    step = half_cycle(p, -fast_density, low_V - 0.5, mAh_per_cm2=STEP_MAH_PER_CM2)
    base_h = STEP_MAH_PER_CM2 * p.area_cm2 * 1e-3 / current_A
    saved = pause(max(base_h - STEP_MAH_PER_CM2 / fast_density, 1e-6))
    cell.run([anchor, rest])
    twin = cell.snapshot()
    net = []
    for before, after in (([], []), ([pause(6.0)], []), ([], [step, saved])):
        cell.restore(twin)
        course = cell.run([*before, charge, *after, anchor, rest], 5)
        net.append(float(course.net_mAh.mean()))
    return Benefits(rest_mAh=net[1] - net[0], fast_strip_mAh=net[2] - net[0])


def mediator_discharges(lab: Lab) -> Figures:
    """E15: charged rest of 10 h of Cu||LFP: a mediator below the cathode, above it, and none."""
    kept = {}
    for name, changed in (
        ("none", {"mediator_per_h": 0.0, "mediator_shuttle_mA_per_cm2": 0.0}),
        ("below", {"mediator_potential_V": 3.25}),
        ("above", {"mediator_potential_V": 3.6}),
    ):
        p = lab.parameters(**changed)  # type: ignore[arg-type] # values only
        cell = lab.start(p)
        charge = half_cycle(p, 0.65, LFP_HIGH_V, hold_share=0.1)
        discharge = half_cycle(p, -0.65, LFP_LOW_V)
        cell.run([charge, discharge], 2)
        course = cell.run([charge, pause(10.0), discharge])
        kept[name] = 100.0 * float(course.efficiency[0])
    return {
        "below_cathode_lost_percent": kept["none"] - kept["below"],
        "above_cathode_lost_percent": kept["none"] - kept["above"],
        "below_minus_above_percent": kept["above"] - kept["below"],
    }


def control_without_lithium_to_return(lab: Lab) -> Figures:
    """N1, N2: an anode-limited cell, 12 cycles; then rests and fast strips."""
    p = lab.parameters()
    charge = half_cycle(p, 0.65, NMC811_HIGH_V, hold_share=0.3)
    discharge = half_cycle(p, -0.65, NMC_LOW_V)
    cell = lab.start(p)
    course = cell.run([charge, discharge], 12)
    benefits = treatment_benefits(cell, charge, discharge, NMC_LOW_V)
    per_cycle = 100.0 / float(course.discharge_mAh[-1])
    return {
        "rest_percent": benefits.rest_mAh * per_cycle,
        "fast_strip_percent": benefits.fast_strip_mAh * per_cycle,
        "best_percent": benefits.best_mAh * per_cycle,
    }


def control_resistance(lab: Lab) -> Figures:
    """N3: contact resistance grows until capacity is gone; nothing that is done brings it back."""
    p = lab.parameters()
    charge = half_cycle(p, 1.0, NMC811_HIGH_V)
    discharge = half_cycle(p, -2.0, NMC_LOW_V)
    cell = lab.start(p)
    course = cell.run([charge, discharge], 200, stop_share=0.8)
    capacity = course.discharge_mAh
    benefits = treatment_benefits(cell, charge, discharge, NMC_LOW_V, fast_density=6.0)
    return {
        "capacity_lost_percent": 100.0 * float(1.0 - capacity[-1] / capacity[0]),
        "best_percent": 100.0 * benefits.best_mAh / float(capacity[-1]),
    }


def control_short(lab: Lab) -> Figures:
    """N4: a hard short takes all that is charged."""
    p = lab.parameters()
    charge = half_cycle(p, 0.65, NMC811_HIGH_V, hold_share=0.3, hours=4.0)
    discharge = half_cycle(p, -0.65, NMC_LOW_V, hours=4.0)
    cell = lab.start(p)
    course = cell.run([charge, discharge], 3)
    benefits = treatment_benefits(cell, charge, discharge, NMC_LOW_V)
    return {
        "best_percent": 100.0 * benefits.best_mAh / p.nominal_capacity_mAh,
        "ce_percent": 100.0 * float(course.discharge_mAh[-1] / course.charge_mAh[-1]),
    }
