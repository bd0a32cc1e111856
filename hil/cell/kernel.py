"""The kernel of the simulated cell: `step` moves a state, `terminal_voltage` asks without moving.

Positive current charges: it plates lithium on the negative electrode and raises the voltage, which
is that of the positive electrode against the negative one. Plain functions over records of floats;
`controller.domain.kernels` says to which subset of Python they keep and why.
"""

from __future__ import annotations

import math

from controller.domain.cell import FARADAY_C_PER_MOL, GAS_CONSTANT_J_PER_MOL_K
from controller.domain.total_math import safe_exp, safe_expm1, safe_floor, safe_log, safe_sqrt
from controller.domain.units import SECONDS_PER_HOUR
from hil.cell.cathode import FULL_X, cathode_advance, cathode_ocv_V, end_fall_V, surface_x
from hil.cell.electrolyte import (
    prepare_transport,
    refresh_transport,
    salt_advance,
    transport_holds,
)
from hil.cell.lithium import (
    HOURS_PER_S,
    MAH_PER_C,
    age_lithium,
    kept,
    lithium_advance,
    relaxed,
    rest_lithium,
    surface_share,
)
from hil.cell.parameters import CellParameters
from hil.cell.state import CellState, ElectrodeState

REFERENCE_K = 298.15
REST_MA_PER_CM2 = 0.01  # below this the cell rests, chemically speaking
SLOWEST_SUBSTEP_S = 60.0
RESTING_SUBSTEP_S = 300.0
SHORTED_SUBSTEP_S = 0.5  # the shortest with a short, which no step resolves
SUBSTEP_CHARGE = 0.002  # of the nominal capacity
MAX_SUBSTEPS = 200_000
REFRESH_K = 0.02  # rate constants follow the temperature in steps this fine
COULOMB_PER_MAH = 3.6
CHORD_X = 2e-4  # of filling
MEDIATOR_WIDTH_V = 0.03  # over which a mediator is oxidised, about kT/e
RANDOM_FACTOR, RANDOM_MODULUS = 48271.0, 2147483647.0
KNEE_OVERPOTENTIAL_V = 0.15  # at the anode when a strip ends: anode-limited
GONE_COVERAGE = 0.1  # of the coverage scale: hardly any lithium is left to strip
KNEE_CATHODE_V = 0.10  # of the cathode's steep end when a strip ends: cathode-limited


def step(s: CellState, p: CellParameters, current_A: float, dt_s: float, ambient_K: float) -> float:
    """Pass a constant current for a time, in as many sub-steps as it needs; return the voltage."""
    note_end_of_discharge(s, p, current_A)
    left_s = dt_s
    for _ in range(MAX_SUBSTEPS):
        if not left_s > 0.0:
            break
        part_s = substep_s(s, p, current_A, left_s)
        advance(s, p, current_A, part_s, ambient_K)
        left_s -= part_s
    if left_s > 0.0:
        advance(s, p, current_A, left_s, ambient_K)
    s.last_current_A = current_A
    return s.cell_V


def terminal_voltage(s: CellState, p: CellParameters, current_A: float) -> float:  # noqa: ARG001 - as `step`
    """Return the voltage at the instant a current begins: only the ohmic drop follows at once."""
    voltage_V = s.open_V + current_A * s.resistance_Ohm
    if s.short_level > 0.0 and s.short_on > 0.0:
        return voltage_V / (1.0 + s.resistance_Ohm / s.short_Ohm)
    return voltage_V


def substep_s(s: CellState, p: CellParameters, current_A: float, left_s: float) -> float:
    """Return how long a current may be held before rates have to be looked at again."""
    resting = math.fabs(current_A) <= 1e-3 * REST_MA_PER_CM2 * p.area_cm2
    part_s = min(left_s, RESTING_SUBSTEP_S if resting else SLOWEST_SUBSTEP_S)
    if s.short_level > 0.0:
        part_s = min(part_s, SLOWEST_SUBSTEP_S)
        part_s = min(part_s, max(s.short_switch_s, 1e-3))
    if s.neg_side_mA_per_cm2 > 0.0 or s.pos_side_mA_per_cm2 > 0.0:
        part_s = min(part_s, 2.0)
    per_s_mAh = (current_A - leaking_A(s, p, current_A, 0.0)) * MAH_PER_C
    if not resting or s.short_level > 0.0:
        fastest = math.fabs(per_s_mAh) + 1e-12
        part_s = min(part_s, SUBSTEP_CHARGE * p.nominal_capacity_mAh / fastest)
    shortest_s = SHORTED_SUBSTEP_S if s.short_level > 0.0 else 0.0
    part_s = min(part_s, max(lithium_substep_s(s.neg, p, per_s_mAh), shortest_s))
    if p.positive_is_lithium > 0.5:
        part_s = min(part_s, max(lithium_substep_s(s.pos, p, -per_s_mAh), shortest_s))
    if part_s > 0.7 * left_s:  # no sliver is left over
        return left_s
    return part_s


def lithium_substep_s(e: ElectrodeState, p: CellParameters, per_s_mAh: float) -> float:
    """Return a fraction of the time in which the covered surface of an electrode changes."""
    scale_mAh = p.coverage_mAh_per_cm2 * p.area_cm2
    if per_s_mAh > 0.0:
        if e.deposit_mAh < 20.0 * scale_mAh:
            return 0.2 * (e.deposit_mAh + 0.03 * scale_mAh) / per_s_mAh
        return 1e9
    if per_s_mAh < 0.0 and e.deposit_mAh > 0.0:
        gone_s = -e.deposit_mAh / per_s_mAh
        shortest_s = 1.0 if e.foil_mAh > 0.0 else 1e-4  # the foil takes over without a cliff
        if e.deposit_mAh < 20.0 * scale_mAh:
            return max(0.2 * gone_s, shortest_s)
        return max(0.5 * gone_s, shortest_s)
    return 1e9


def advance(
    s: CellState, p: CellParameters, current_A: float, dt_s: float, ambient_K: float
) -> None:
    """Move everything by one sub-step."""
    leak_A = leaking_A(s, p, current_A, dt_s)
    density = (current_A - leak_A) * 1e3 / p.area_cm2
    charge_mAh = current_A * dt_s * MAH_PER_C
    if charge_mAh > 0.0:
        s.charge_in_mAh += charge_mAh
    else:
        s.charge_out_mAh -= charge_mAh
    s.leakage_mAh += leak_A * dt_s * MAH_PER_C
    salt_advance(s, p, density, dt_s)
    exchange = p.anode_exchange_mA_per_cm2 * s.anode_factor
    loss_factor = s.loss_factor * s.pressure_factor
    lithium_advance(
        s.neg,
        p,
        density,
        s.neg_side_mA_per_cm2,
        dt_s,
        exchange * safe_sqrt(s.neg_salt),
        s.thermal_V,
        s.sei_factor,
        loss_factor,
        s.electrolyte_mAh,
    )
    if p.positive_is_lithium > 0.5:
        lithium_advance(
            s.pos,
            p,
            -density,
            s.pos_side_mA_per_cm2,
            dt_s,
            exchange * safe_sqrt(s.pos_salt),
            s.thermal_V,
            s.sei_factor,
            loss_factor,
            s.electrolyte_mAh,
        )
    else:
        cathode_advance(s, p, density, s.pos_side_mA_per_cm2, dt_s)
        shuttle(s, p, dt_s * HOURS_PER_S)
    if dt_s != s.substep_s:
        note_substep(s, p, dt_s)
    live(s, p, density, dt_s * HOURS_PER_S)
    film_s = s.film_Ohm * p.film_uF_per_cm2 * 1e-6 * p.area_cm2
    s.film_V = relaxed(s.film_V, density * p.area_cm2 * 1e-3 * s.film_Ohm, dt_s / max(film_s, 1e-9))
    short_advance(s, p, density, dt_s)
    s.time_s += dt_s
    refresh(s, p)
    s.cell_V = terminal_voltage(s, p, current_A)
    account(s, p, current_A, leak_A, dt_s)
    s.leak_A = leak_A
    steady_K = ambient_K + s.heat_W / p.heat_loss_W_per_K
    s.temperature_K = steady_K + (s.temperature_K - steady_K) * s.heat_keep


def note_substep(s: CellState, p: CellParameters, dt_s: float) -> None:
    """Work out what depends on the length of a sub-step alone."""
    hours = dt_s * HOURS_PER_S
    s.substep_s = dt_s
    s.fade = safe_exp(-hours * SECONDS_PER_HOUR / p.fast_strip_window_s)
    s.aged_share = -safe_expm1(-hours / p.ageing_h)
    s.heat_keep = kept(dt_s * p.heat_loss_W_per_K / p.heat_capacity_J_per_K)


def leaking_A(s: CellState, p: CellParameters, current_A: float, dt_s: float) -> float:
    """Return the current through a short over the next sub-step.

    The voltage gives way to the leak by what interfaces and filling show in that time: a hard short
    is stiffer than any step.
    """
    if s.short_level <= 0.0 or s.short_on <= 0.0:
        return 0.0
    exchange = p.anode_exchange_mA_per_cm2 * s.anode_factor
    exchange *= surface_share(s.neg, p, s.neg.deposit_mAh, 0.0)
    density = (s.last_current_A - s.leak_A) * 1e3 / p.area_cm2
    slope = s.thermal_V / safe_sqrt(density * density + 4.0 * exchange * exchange)
    yielding_Ohm = s.resistance_Ohm + s.film_Ohm + 2e3 * slope / p.area_cm2
    if p.positive_is_lithium < 0.5:
        x = surface_x(s, p)
        fall_V = (cathode_ocv_V(x - 0.002, p) - cathode_ocv_V(x + 0.002, p)) / 0.004
        yielding_Ohm += fall_V * dt_s / (COULOMB_PER_MAH * p.cathode_host_mAh)
    at_once_A = (s.cell_V + yielding_Ohm * s.leak_A) / (s.short_Ohm + yielding_Ohm)
    if dt_s > 0.0 and s.neg.potential_V < p.copper_dissolution_V:
        # No more than the lithium there is, and what takes Cu up to the voltage of the short.
        capacity_F = p.double_layer_uF_per_cm2 * 1e-6 * p.area_cm2
        metal_C = COULOMB_PER_MAH * (s.neg.deposit_mAh + s.neg.foil_mAh)
        most_A = current_A + (metal_C + capacity_F * max(s.cell_V, 0.0)) / dt_s
        most_A += capacity_F * max(s.neg.potential_V, 0.0) / p.copper_leak_s
        return min(at_once_A, most_A)
    return at_once_A


def live(s: CellState, p: CellParameters, density: float, hours: float) -> None:
    """Let time act on the lithium, and settle with the electrolyte what the electrodes took."""
    resting = -REST_MA_PER_CM2 < density < REST_MA_PER_CM2
    if resting:
        rest_lithium(s.neg, p, hours, s.rest_factor)
    if density <= 0.0:
        s.neg.readiness *= s.fade
    age_lithium(s.neg, s.aged_share)
    if p.positive_is_lithium > 0.5:
        if resting:
            rest_lithium(s.pos, p, hours, s.rest_factor)
        if density >= 0.0:
            s.pos.readiness *= s.fade
        age_lithium(s.pos, s.aged_share)
    s.electrolyte_mAh -= s.neg.lithium_taken_mAh + s.pos.lithium_taken_mAh
    s.salt_mAh -= s.neg.salt_used_mAh + s.pos.salt_used_mAh
    lowest = min(s.cathode_mAh, s.electrolyte_mAh, s.salt_mAh)
    lowest = lowest_mAh(s.neg, lowest)
    s.lowest_mAh = lowest if p.positive_is_lithium < 0.5 else lowest_mAh(s.pos, lowest)


def lowest_mAh(e: ElectrodeState, lowest: float) -> float:
    """Return the smallest inventory of an electrode, or `lowest` where that is less."""
    return min(
        lowest,
        e.foil_mAh,
        e.deposit_mAh,
        e.fresh_mAh,
        e.old_mAh,
        e.reversible_mAh,
        e.sei_mAh,
        e.residual_sei_mAh,
    )


def shuttle(s: CellState, p: CellParameters, hours: float) -> None:
    """Carry lithium from the negative electrode into the cathode without external current.

    A redox shuttle takes active lithium. A mediator takes inactive lithium, and active lithium as
    well, once the cathode stands above the mediator's potential and oxidises it again.
    """
    e = s.neg
    s.shuttled_mAh = 0.0
    if p.shuttle_mA_per_cm2 <= 0.0 and p.mediator_per_h <= 0.0:
        return
    above = (s.ocv_V - p.mediator_potential_V) / MEDIATOR_WIDTH_V
    gate = 1.0 / (1.0 + safe_exp(-above))
    density = p.shuttle_mA_per_cm2
    inactive_share = 0.0
    if p.mediator_per_h > 0.0:
        density += p.mediator_shuttle_mA_per_cm2 * gate
        inactive_share = -safe_expm1(-p.mediator_per_h * gate * hours)
    active_mAh = e.deposit_mAh + e.foil_mAh
    wanted_mAh = min(density * p.area_cm2 * hours, active_mAh)
    dead_mAh = inactive_share * (e.fresh_mAh + e.old_mAh)
    room_mAh = max(FULL_X * p.cathode_host_mAh - s.cathode_mAh, 0.0)
    total_mAh = wanted_mAh + dead_mAh
    if total_mAh > room_mAh:
        wanted_mAh *= room_mAh / total_mAh
        inactive_share *= room_mAh / total_mAh
        dead_mAh *= room_mAh / total_mAh
    from_deposit_mAh = min(wanted_mAh, e.deposit_mAh)
    e.deposit_mAh -= from_deposit_mAh
    e.foil_mAh -= min(wanted_mAh - from_deposit_mAh, e.foil_mAh)
    e.fresh_mAh -= inactive_share * e.fresh_mAh
    e.old_mAh -= inactive_share * e.old_mAh
    s.shuttled_mAh = wanted_mAh + dead_mAh
    s.mediated_mAh += dead_mAh
    s.cathode_mAh += s.shuttled_mAh
    s.leakage_mAh += s.shuttled_mAh


def uniform(s: CellState) -> float:
    """Return the next random number in 0..1 (multiplicative generator of Park and Miller)."""
    product = s.random * RANDOM_FACTOR
    s.random = product - RANDOM_MODULUS * safe_floor(product / RANDOM_MODULUS)
    return s.random / RANDOM_MODULUS


def short_advance(s: CellState, p: CellParameters, density: float, dt_s: float) -> None:
    """Let shorts begin, switch and burn out, at random by the state's own generator."""
    charge_mAh = math.fabs(density) * p.area_cm2 * dt_s * HOURS_PER_S
    if s.short_level > 0.0:
        s.short_switch_s -= dt_s
        if s.short_switch_s <= 1e-9:
            s.short_on = 1.0 - s.short_on if s.short_level < 1.5 else 1.0
            mean_s = p.short_on_s if s.short_on > 0.5 else p.short_off_s
            s.short_switch_s = -mean_s * safe_log(uniform(s))
        if density < 0.0 and s.short_level < 1.5:
            s.short_recovery_mAh -= charge_mAh
            if s.short_recovery_mAh <= 0.0:
                s.short_level = 0.0
                s.hazard_threshold = s.hazard - safe_log(uniform(s))
        return
    if p.short_hazard_per_mAh_per_cm2 > 0.0 and charge_mAh > 0.0:
        e = s.neg if density > 0.0 else s.pos
        if density != s.hazard_density:
            ratio = math.fabs(density) / p.short_mA_per_cm2
            s.hazard_density = density
            s.hazard_power = safe_exp(p.short_power * safe_log(ratio + 1e-30))
        if density > 0.0 or p.positive_is_lithium > 0.5:
            s.hazard += (
                p.short_hazard_per_mAh_per_cm2
                * s.hazard_power
                * e.roughness
                * charge_mAh
                / p.area_cm2
            )
        if s.hazard >= s.hazard_threshold:
            begin_short(s, p, 2.0 if uniform(s) < p.short_hard_share else 1.0)


def begin_short(s: CellState, p: CellParameters, level: float) -> None:
    """Let a short begin: soft with a resistance of its own and telegraph noise, or hard."""
    s.short_level = level
    s.shorts += 1.0
    s.short_on = 1.0
    spread = safe_exp(2.0 * uniform(s) - 1.0)
    per_area = p.short_soft_Ohm_cm2 * spread if level < 1.5 else p.short_hard_Ohm_cm2
    s.short_Ohm = per_area / p.area_cm2
    s.short_switch_s = -p.short_on_s * safe_log(uniform(s)) if level < 1.5 else 1e9
    s.short_recovery_mAh = -p.short_recovery_mAh_per_cm2 * p.area_cm2 * safe_log(uniform(s))


def refresh_rates(s: CellState, p: CellParameters) -> None:
    """Bring the rate constants up to the temperature."""
    temperature_K = s.temperature_K
    s.rates_at_K = temperature_K
    inverse = (1.0 / REFERENCE_K - 1.0 / temperature_K) / GAS_CONSTANT_J_PER_MOL_K
    s.thermal_V = 2.0 * GAS_CONSTANT_J_PER_MOL_K * temperature_K / FARADAY_C_PER_MOL
    s.anode_factor = safe_exp(p.anode_activation_J_per_mol * inverse)
    s.cathode_factor = safe_exp(p.cathode_activation_J_per_mol * inverse)
    s.transport_factor = safe_exp(p.ohmic_activation_J_per_mol * inverse)
    s.sei_factor = safe_exp(p.sei_activation_J_per_mol * inverse)
    s.loss_factor = p.additive_factor * safe_exp(p.inactive_activation_J_per_mol * inverse)
    s.rest_factor = safe_exp(p.corrosion_activation_J_per_mol * inverse)


def refresh(s: CellState, p: CellParameters) -> None:
    """Bring all that a voltage needs up to the present state."""
    moved_K = s.temperature_K - s.rates_at_K
    if not -REFRESH_K < moved_K < REFRESH_K:
        refresh_rates(s, p)
        refresh_transport(s, p)
    elif not transport_holds(s, p):
        refresh_transport(s, p)
    s.concentration_V = (
        s.thermal_V
        * (1.0 - p.transference)
        * p.thermodynamic_factor
        * safe_log(s.pos_salt / s.neg_salt)
    )
    if p.positive_is_lithium > 0.5:
        s.ocv_V = 0.0
        positive_V = s.pos.potential_V
    else:
        s.ocv_V = cathode_ocv_V(surface_x(s, p), p)
        positive_V = s.ocv_V + s.cathode_overpotential_V
    s.open_V = positive_V - s.neg.potential_V + s.film_V + s.concentration_V + s.side_V


def mean_filling_V(s: CellState, p: CellParameters, x: float) -> float:
    """Return the open-circuit voltage at the mean filling: a chord, renewed every `CHORD_X`."""
    moved = x - s.chord_x
    if not -CHORD_X < moved < CHORD_X:
        ocv_V = cathode_ocv_V(x, p)
        s.chord_slope_V = (ocv_V - s.chord_V) / moved
        s.chord_x = x
        s.chord_V = ocv_V
        return ocv_V
    return s.chord_V + s.chord_slope_V * moved


def account(s: CellState, p: CellParameters, current_A: float, leak_A: float, dt_s: float) -> None:
    """Keep the books of energy: what was done on the cell, stored in it, and turned into heat."""
    charge_C = (current_A - leak_A) * dt_s
    s.work_J += s.cell_V * current_A * dt_s
    leak_J = s.cell_V * leak_A * dt_s
    end_A = current_A
    if s.short_level > 0.0 and s.short_on > 0.0:
        end_A -= s.cell_V / s.short_Ohm
    heat_J = end_A * s.resistance_Ohm * charge_C
    s.ohmic_J += heat_J
    interfaces_V = s.film_V - s.neg.potential_V
    if p.positive_is_lithium > 0.5:
        interfaces_V += s.pos.potential_V
    else:
        interfaces_V += s.cathode_overpotential_V
        moved_mAh = s.cathode_charge_mAh - s.shuttled_mAh
        middle_V = mean_filling_V(s, p, (s.cathode_mAh + 0.5 * moved_mAh) / p.cathode_host_mAh)
        moved_C = COULOMB_PER_MAH * s.cathode_charge_mAh
        s.chemical_J += COULOMB_PER_MAH * moved_mAh * middle_V
        leak_J += COULOMB_PER_MAH * s.shuttled_mAh * middle_V
        diffusion_J = moved_C * (s.ocv_V - middle_V)
        parasitic_J = (charge_C - moved_C) * s.ocv_V
        s.diffusion_J += diffusion_J
        s.parasitic_J += parasitic_J
        heat_J += diffusion_J + parasitic_J
    kinetic_J = interfaces_V * charge_C
    s.kinetic_J += kinetic_J
    s.concentration_J += s.concentration_V * charge_C
    s.parasitic_J += s.side_V * charge_C
    s.leak_J += leak_J
    heat_J += kinetic_J + leak_J + (s.concentration_V + s.side_V) * charge_C
    s.heat_J += heat_J
    s.heat_W = heat_J / dt_s


def note_end_of_discharge(s: CellState, p: CellParameters, current_A: float) -> None:
    """Note what limited the discharge that ends now: 1 anode, 2 cathode, 3 neither."""
    rest_A = REST_MA_PER_CM2 * p.area_cm2 * 1e-3
    if not s.last_current_A < -rest_A:
        return
    if not (current_A > 0.5 * s.last_current_A or current_A >= -rest_A):
        return
    end_V = 0.0
    if p.positive_is_lithium < 0.5:
        end_V = end_fall_V(surface_x(s, p), p)
    gone_mAh = GONE_COVERAGE * p.coverage_mAh_per_cm2 * p.area_cm2
    anode_V = s.neg.potential_V
    if s.neg.deposit_mAh + s.neg.foil_mAh < gone_mAh or (
        anode_V > KNEE_OVERPOTENTIAL_V and anode_V > end_V
    ):
        s.last_end = 1.0
    elif end_V > KNEE_CATHODE_V:
        s.last_end = 2.0
    else:
        s.last_end = 3.0


def begin(s: CellState, p: CellParameters, temperature_K: float, seed: float) -> None:
    """Set up a cell as assembled; everything not set here is 0."""
    s.neg.foil_mAh = p.negative_foil_mAh
    s.pos.foil_mAh = p.positive_foil_mAh
    s.neg.roughness = 1.0
    s.pos.roughness = 1.0
    if p.negative_foil_mAh <= 0.0:
        s.neg.potential_V = p.copper_initial_V
        s.neg.copper_highest_V = p.copper_initial_V
    s.cathode_mAh = p.cathode_initial_x * p.cathode_host_mAh
    s.electrolyte_mAh = p.electrolyte_mAh
    s.salt_mAh = p.electrolyte_mAh
    s.neg_salt = 1.0
    s.pos_salt = 1.0
    s.temperature_K = temperature_K
    s.random = 1.0 + seed - 2147483646.0 * safe_floor(seed / 2147483646.0)
    for _ in range(4):  # neighbouring seeds begin far apart
        uniform(s)
    s.hazard_threshold = -safe_log(uniform(s))
    prepare_transport(s, p)
    refresh_rates(s, p)
    refresh(s, p)
    s.cell_V = s.open_V
    if p.short_at_start > 0.5:
        begin_short(s, p, 2.0 if p.short_at_start > 1.5 else 1.0)
