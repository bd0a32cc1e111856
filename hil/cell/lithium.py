"""Kernels of a lithium-metal electrode: interface, what becomes of lithium, how its surface forms.

`e` is an `ElectrodeState`, `p` the parameters. Densities in mA/cm2, charge in mAh of the cell.
Which effects are from the literature and which are assumed stands in `docs/plant.md`.
"""

from __future__ import annotations

import math

from controller.domain.total_math import safe_exp, safe_expm1, safe_log, safe_sqrt
from controller.domain.units import SECONDS_PER_HOUR
from hil.cell.parameters import CellParameters
from hil.cell.state import ElectrodeState

HOURS_PER_S = 1.0 / SECONDS_PER_HOUR  # a product is quicker than a quotient
MAH_PER_C = 1.0 / 3.6
MAX_LOST_SHARE = 0.3
MAX_SEI_SHARE = 0.5
MAX_FINENESS = 3.0
VIRGIN_MAH_PER_CM2 = 0.2  # up to here an oxidation still counts as the first, assumed
READY_MAH_PER_CM2 = 0.03  # plated charge that readies the fast strip again, assumed
CLOSED_V = 0.05  # above the onset, Cu dissolution takes all the charge
BARE_SHARE = 1e-9
FORGOTTEN = 1e-15  # h or mAh: what is left of a decay and no longer followed


def overpotential_V(density_ratio: float, thermal_V: float, marcus_eV: float) -> float:
    """Return the overpotential (V) of a current density over twice the exchange current density.

    Butler-Volmer with both transfer coefficients 1/2: ``(2RT/F) asinh(J / 2 i0)``. With a
    reorganisation energy, the symmetric Marcus form ``J = 2 i0 sinh(u) exp(-u2 kT/lambda)``,
    ``u = F eta / 2RT`` (Boyle et al. 2020 found lithium to follow it); beyond its largest current
    Butler-Volmer's slope goes on.
    """
    if marcus_eV <= 0.0:
        return thermal_V * math.asinh(density_ratio)
    ratio = math.fabs(density_ratio)
    bend = 0.5 * thermal_V / marcus_eV  # kT / lambda
    top = 0.5 / bend
    log_ratio = safe_log(ratio + 1e-300)
    log_top = safe_log(0.5 * (safe_exp(top) - safe_exp(-top))) - bend * top * top
    if log_ratio >= log_top:
        u = top + log_ratio - log_top
    else:
        u = math.asinh(ratio)  # left of the root; the logarithm is concave, so Newton stays left
        for _ in range(12):
            sinh = 0.5 * (safe_exp(u) - safe_exp(-u)) + 1e-300
            slope = safe_sqrt(1.0 + sinh * sinh) / sinh - 2.0 * bend * u
            if slope > 1e-9:
                u = min(u + (log_ratio - safe_log(sinh) + bend * u * u) / slope, top)
    return thermal_V * u if density_ratio > 0.0 else -thermal_V * u


def butler_volmer_V(density: float, exchange: float, root: float, thermal_V: float) -> float:
    """Return ``(2RT/F) asinh(J / 2 i0)`` (V) where ``sqrt(J2 + 4 i02)`` is known already."""
    if density >= 0.0:
        return thermal_V * safe_log(0.5 * (density + root) / exchange)
    return -thermal_V * safe_log(0.5 * (root - density) / exchange)


def relaxed(value: float, steady: float, time_constants: float) -> float:
    """Return where a first-order relaxation has come after so many time constants."""
    if time_constants > 40.0:
        return steady
    if time_constants < 1e-3:  # the series, to 4e-14, is quicker
        part = time_constants * (1.0 - time_constants * (0.5 - time_constants / 6.0))
        return value + (steady - value) * part
    return steady + (value - steady) * safe_exp(-time_constants)


def kept(time_constants: float) -> float:
    """Return the share of a deviation that is left after so many time constants."""
    return 0.0 if time_constants > 40.0 else safe_exp(-time_constants)


def surface_share(
    e: ElectrodeState, p: CellParameters, deposit_mAh: float, plating: float
) -> float:
    """Return the exchange current's share of that on a flat, covered surface."""
    scale_mAh = p.coverage_mAh_per_cm2 * p.area_cm2
    covered = deposit_mAh / (deposit_mAh + scale_mAh)
    if e.foil_mAh > 0.0:
        under = p.foil_activity * e.foil_mAh / (e.foil_mAh + scale_mAh)
    elif plating > 0.0:
        under = p.nucleation_coverage
    else:
        under = 0.0
    return covered * e.roughness + (1.0 - covered) * under + BARE_SHARE


def lithium_advance(
    e: ElectrodeState,
    p: CellParameters,
    density: float,
    side_density: float,
    dt_s: float,
    exchange: float,
    thermal_V: float,
    sei_factor: float,
    loss_factor: float,
    dissolved_mAh: float,
) -> None:
    """Pass `density` (positive plates) for a time; `side_density` of it reduces electrolyte.

    `dissolved_mAh` is the lithium that the electrolyte holds: no more than that can be plated.
    """
    e.lithium_taken_mAh = 0.0
    e.salt_used_mAh = 0.0
    charge_mAh = density * p.area_cm2 * dt_s * HOURS_PER_S
    capacity_mAh_per_V = p.double_layer_uF_per_cm2 * 1e-6 * p.area_cm2 * MAH_PER_C
    if not e.deposit_mAh + e.foil_mAh > 0.0:
        if charge_mAh <= 0.0:
            stay_bare(e, p, -charge_mAh, dt_s, capacity_mAh_per_V)
            return
        if e.potential_V > 0.0:
            stored_mAh = e.potential_V * capacity_mAh_per_V
            if charge_mAh <= stored_mAh:
                e.potential_V -= charge_mAh / capacity_mAh_per_V
                return
            e.potential_V = 0.0
            dt_s *= 1.0 - stored_mAh / charge_mAh
            charge_mAh -= stored_mAh
    deposit_mAh = max(e.deposit_mAh + charge_mAh * deposit_part(e, p, charge_mAh), 0.0)
    exchange *= surface_share(e, p, deposit_mAh, charge_mAh)
    carried = density - side_density
    root = safe_sqrt(carried * carried + 4.0 * exchange * exchange)
    if p.marcus_eV > 0.0:
        steady_V = -overpotential_V(0.5 * carried / exchange, thermal_V, p.marcus_eV)
    else:
        steady_V = -butler_volmer_V(carried, exchange, root, thermal_V)
    slope = thermal_V / root  # kOhm cm2
    tau_s = p.double_layer_uF_per_cm2 * 1e-3 * slope
    before_V = e.potential_V
    e.potential_V = relaxed(before_V, steady_V, dt_s / tau_s)
    if charge_mAh < 0.0:
        # No further than this charge alone would lift it: a cell that strips does not plate.
        highest_V = max(before_V, 0.0) - charge_mAh / capacity_mAh_per_V
        e.potential_V = min(e.potential_V, highest_V)
    charge_mAh += capacity_mAh_per_V * (e.potential_V - before_V)
    if side_density > 0.0:
        side_mAh = side_density * p.area_cm2 * dt_s * HOURS_PER_S
        e.reduced_mAh += side_mAh
        charge_mAh -= side_mAh
    if charge_mAh > 0.0:
        most_mAh = max(0.9 * dissolved_mAh, 0.0) / (1.0 + p.salt_per_sei)
        if charge_mAh > most_mAh:
            e.reduced_mAh += charge_mAh - most_mAh
            charge_mAh = most_mAh
        plate(e, p, charge_mAh, max(math.fabs(carried), 1e-9), sei_factor)
    elif charge_mAh < 0.0:
        left_mAh = strip(e, p, -charge_mAh, max(math.fabs(carried), 1e-9), loss_factor)
        if left_mAh > 0.0:
            polarise_bare(e, p, left_mAh, capacity_mAh_per_V)


def stay_bare(
    e: ElectrodeState, p: CellParameters, charge_mAh: float, dt_s: float, capacity_mAh_per_V: float
) -> None:
    """Strip from bare Cu for a time: its double layer charges and leaks into the electrolyte."""
    limit_V = p.copper_dissolution_V + CLOSED_V
    before_V = e.potential_V
    steady_V = charge_mAh / dt_s * p.copper_leak_s / capacity_mAh_per_V
    potential_V = relaxed(before_V, steady_V, dt_s / p.copper_leak_s)
    if potential_V > limit_V:
        # Up to the limit, then along it: there the leak is steady and Cu takes the rest.
        ratio = (steady_V - limit_V) / (steady_V - before_V)
        held_s = dt_s + p.copper_leak_s * safe_log(max(ratio, 1e-300))
        risen_mAh = charge_mAh * (1.0 - held_s / dt_s) - capacity_mAh_per_V * (limit_V - before_V)
        leaked_mAh = risen_mAh + capacity_mAh_per_V * limit_V * held_s / p.copper_leak_s
        e.copper_dissolved_mAh += (
            charge_mAh - leaked_mAh - capacity_mAh_per_V * (limit_V - before_V)
        )
        potential_V = limit_V
    else:
        leaked_mAh = charge_mAh - capacity_mAh_per_V * (potential_V - before_V)
    e.leaked_mAh += leaked_mAh
    e.potential_V = potential_V
    e.copper_highest_V = max(e.copper_highest_V, potential_V)


def polarise_bare(
    e: ElectrodeState, p: CellParameters, charge_mAh: float, capacity_mAh_per_V: float
) -> None:
    """Charge the double layer of bare Cu; beyond the dissolution potential Cu dissolves."""
    limit_V = p.copper_dissolution_V + CLOSED_V
    potential_V = e.potential_V + charge_mAh / capacity_mAh_per_V
    if potential_V > limit_V:
        e.copper_dissolved_mAh += (potential_V - limit_V) * capacity_mAh_per_V
        potential_V = limit_V
    e.potential_V = potential_V
    e.copper_highest_V = max(e.copper_highest_V, potential_V)


def morphology_factor(e: ElectrodeState, p: CellParameters, per_fineness: float) -> float:
    """Return what the way of plating and of formation does to a loss."""
    factor = 1.0
    if per_fineness != 0.0:
        factor = safe_exp(per_fineness * e.fineness)
    if p.formation_gain > 0.0:
        if e.formation_mismatch != e.factored_mismatch:
            e.factored_mismatch = e.formation_mismatch
            e.formation_excess = p.formation_gain * safe_expm1(-e.formation_mismatch)
        factor *= 1.0 - e.formation_excess
    return factor


def plate(
    e: ElectrodeState, p: CellParameters, charge_mAh: float, density: float, sei_factor: float
) -> None:
    """Deposit lithium: some of it goes into SEI, isolated lithium that it touches comes back."""
    share = p.sei_per_plated * sei_factor * (1.0 + p.sei_per_roughness * (e.roughness - 1.0))
    share *= morphology_factor(e, p, p.sei_per_fineness)
    sei_mAh = min(share, MAX_SEI_SHARE) * charge_mAh
    salt_mAh = p.salt_per_sei * sei_mAh
    residual_mAh = p.dissolvable_share * (sei_mAh + salt_mAh)
    e.deposit_mAh += charge_mAh - sei_mAh
    e.sei_mAh += sei_mAh + salt_mAh - residual_mAh
    e.residual_sei_mAh += residual_mAh
    e.sei_electrons_mAh += sei_mAh
    e.lithium_taken_mAh += charge_mAh + salt_mAh
    e.salt_used_mAh += salt_mAh
    per_area = charge_mAh / p.area_cm2
    if e.reversible_mAh > FORGOTTEN:
        back_mAh = e.reversible_mAh * -safe_expm1(-per_area / p.reconnection_mAh_per_cm2)
        e.reversible_mAh -= back_mAh
        e.deposit_mAh += back_mAh
        e.reconnected_mAh += back_mAh
    if e.readiness < 1.0 or e.rest_h > 0.0:
        keep = safe_exp(-per_area / READY_MAH_PER_CM2)
        e.readiness = 1.0 - (1.0 - e.readiness) * keep
        e.rest_h = e.rest_h * keep if e.rest_h > FORGOTTEN else 0.0
    if density != e.plate_density_mA_per_cm2:
        note_plating_density(e, p, density)
    e.fineness = relaxed(e.fineness, e.wanted_fineness, per_area / p.fineness_mAh_per_cm2)
    room_mAh = p.formation_mAh_per_cm2 * p.area_cm2 - e.formation_mAh
    if room_mAh > 0.0:
        counted_mAh = min(charge_mAh, room_mAh)
        e.formation_mAh += counted_mAh
        e.formation_mismatch += (
            e.formation_distance2 * counted_mAh / (p.formation_mAh_per_cm2 * p.area_cm2)
        )
    roughen(e, p, charge_mAh, density)


def note_plating_density(e: ElectrodeState, p: CellParameters, density: float) -> None:
    """Work out what holds for as long as lithium is plated at this density."""
    e.plate_density_mA_per_cm2 = density
    fineness = safe_log(density / p.fineness_mA_per_cm2)
    e.wanted_fineness = min(max(fineness, -MAX_FINENESS), MAX_FINENESS)
    distance = safe_log(density / p.formation_optimum_mA_per_cm2)
    e.formation_distance2 = distance * distance


def strip_share(e: ElectrodeState, p: CellParameters, density: float) -> float:
    """Return ``f0 (1 + a ln2(J/Jopt))``: what is isolated per charge stripped, U-shaped in J."""
    if density != e.strip_density_mA_per_cm2:
        distance = safe_log(density / p.inactive_optimum_mA_per_cm2)
        e.strip_density_mA_per_cm2 = density
        e.strip_share = p.inactive_per_stripped * (1.0 + p.inactive_curvature * distance * distance)
    return e.strip_share


def strip(
    e: ElectrodeState, p: CellParameters, charge_mAh: float, density: float, loss_factor: float
) -> float:
    """Take lithium away, deposit before foil; return the charge for which there was none."""
    share = strip_share(e, p, density) * loss_factor * (1.0 - p.pit_gain * e.pit_uniformity)
    share *= 1.0 + p.inactive_per_roughness * (e.roughness - 1.0)
    share = min(share * morphology_factor(e, p, p.inactive_per_fineness), MAX_LOST_SHARE)
    metal_mAh = e.deposit_mAh + e.foil_mAh
    stripped_mAh = charge_mAh
    if charge_mAh * (1.0 + share) >= metal_mAh:
        stripped_mAh = metal_mAh / (1.0 + share)
        e.fresh_mAh += metal_mAh - stripped_mAh
        e.deposit_mAh = 0.0
        e.foil_mAh = 0.0
    else:
        taken_mAh = charge_mAh * (1.0 + share)
        from_foil_mAh = taken_mAh * foil_part(e, p)
        if taken_mAh - from_foil_mAh > e.deposit_mAh:
            from_foil_mAh = taken_mAh - e.deposit_mAh
        e.deposit_mAh = max(e.deposit_mAh - (taken_mAh - from_foil_mAh), 0.0)
        e.foil_mAh -= from_foil_mAh
        e.fresh_mAh += charge_mAh * share
    e.lithium_taken_mAh -= stripped_mAh
    if e.readiness > 1e-6:
        activate(e, p, stripped_mAh, density)
    pit(e, p, stripped_mAh, density)
    roughen(e, p, stripped_mAh, density)
    return charge_mAh - stripped_mAh


def deposit_part(e: ElectrodeState, p: CellParameters, charge_mAh: float) -> float:
    """Return the share of a charge that the deposit takes or gives: all of what is plated."""
    return 1.0 if charge_mAh > 0.0 else 1.0 - foil_part(e, p)


def foil_part(e: ElectrodeState, p: CellParameters) -> float:
    """Return the share of a strip that compact lithium gives; the deposit goes first."""
    if not e.foil_mAh > 0.0:
        return 0.0
    scale_mAh = p.coverage_mAh_per_cm2 * p.area_cm2
    covered = e.deposit_mAh / (e.deposit_mAh + scale_mAh)
    foil = (1.0 - covered) * p.foil_activity * e.foil_mAh / (e.foil_mAh + scale_mAh)
    return foil / (covered * e.roughness + foil)


def activate(e: ElectrodeState, p: CellParameters, stripped_mAh: float, density: float) -> None:
    """Reconnect fresh inactive lithium by a fast strip soon after a charge."""
    used = e.readiness * -safe_expm1(-stripped_mAh / (p.fast_strip_charge_mAh_per_cm2 * p.area_cm2))
    e.readiness -= used
    above = density - p.fast_strip_threshold_mA_per_cm2
    if above > 0.0:
        gain = p.fast_strip_gain * above / (above + p.fast_strip_half_mA_per_cm2)
        back_mAh = gain * used * e.fresh_mAh
        e.fresh_mAh -= back_mAh
        e.deposit_mAh += back_mAh
        e.reconnected_mAh += back_mAh


def steep(ratio: float) -> float:
    """Return ``r4 / (1 + r4)``: a threshold in current density."""
    power = ratio * ratio * ratio * ratio
    return power / (1.0 + power)


def pit(e: ElectrodeState, p: CellParameters, stripped_mAh: float, density: float) -> None:
    """Let the first oxidation, where it is fast, make many even pits."""
    if e.handled_mAh < VIRGIN_MAH_PER_CM2 * p.area_cm2:
        part = -safe_expm1(-stripped_mAh / (p.pit_mAh_per_cm2 * p.area_cm2))
        e.pit_uniformity += (1.0 - e.pit_uniformity) * part * steep(density / p.pit_mA_per_cm2)


def roughen(e: ElectrodeState, p: CellParameters, charge_mAh: float, density: float) -> None:
    """Move the roughness towards that of the local current density.

    It rises with the density up to the onset of healing, above which protrusions merge. Only the
    density enters: the can of a coin cell does not warm.
    """
    if density != e.rough_density_mA_per_cm2:
        e.rough_density_mA_per_cm2 = density
        healing = steep(density / p.healing_mA_per_cm2)
        share = density / (density + p.roughness_half_mA_per_cm2)
        e.rough_excess = p.roughness_highest * (1.0 - healing) * share
        per_area = p.roughness_mAh_per_cm2 * (1.0 - healing) + p.healing_mAh_per_cm2 * healing
        e.rough_scale_mAh = per_area * p.area_cm2
    target = 1.0 + e.rough_excess * (1.0 - p.pit_gain * e.pit_uniformity)
    e.roughness = relaxed(e.roughness, target, charge_mAh / e.rough_scale_mAh)
    e.handled_mAh += charge_mAh


def rest_lithium(e: ElectrodeState, p: CellParameters, hours: float, speed: float) -> None:
    """Let a rest act: corrosion of the deposit, dissolution of residual SEI where all is stripped.

    `speed` is the temperature's factor. The corrosion is the integral of ``1/sqrt(1 + t/slowing)``,
    so that the length of a step does not matter.
    """
    if e.deposit_mAh > 0.0 and p.corrosion_per_h > 0.0:
        slowing_h = p.corrosion_slowing_h
        start = safe_sqrt(1.0 + e.rest_h / slowing_h)
        end = safe_sqrt(1.0 + (e.rest_h + hours) / slowing_h)
        loss = speed * p.corrosion_per_h * 2.0 * slowing_h * (end - start)
        lost_mAh = e.deposit_mAh * -safe_expm1(-loss)
        reversible_mAh = p.corrosion_reversible_share * lost_mAh
        e.deposit_mAh -= lost_mAh
        e.reversible_mAh += reversible_mAh
        e.sei_mAh += lost_mAh - reversible_mAh
        e.sei_electrons_mAh += lost_mAh - reversible_mAh
    e.rest_h += hours
    if e.residual_sei_mAh > 0.0:
        gate_mAh = p.discharged_gate_mAh_per_cm2 * p.area_cm2
        gate = gate_mAh / (gate_mAh + e.deposit_mAh + e.foil_mAh)
        share = -safe_expm1(-speed * gate * hours / p.dissolution_h)
        dissolved_mAh = share * e.residual_sei_mAh
        freed_mAh = p.reachable_share * share * e.fresh_mAh
        e.residual_sei_mAh -= dissolved_mAh
        e.lithium_taken_mAh -= dissolved_mAh
        e.fresh_mAh -= freed_mAh
        e.reversible_mAh += freed_mAh


def age_lithium(e: ElectrodeState, aged_share: float) -> None:
    """Let fresh inactive lithium become old."""
    if e.fresh_mAh > 0.0:
        aged_mAh = e.fresh_mAh * aged_share
        e.fresh_mAh -= aged_mAh
        e.old_mAh += aged_mAh


def inactive_mAh(e: ElectrodeState) -> float:
    """Return all isolated metal (mAh)."""
    return e.fresh_mAh + e.old_mAh + e.reversible_mAh
