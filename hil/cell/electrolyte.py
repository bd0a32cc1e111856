"""Kernels of the electrolyte: salt between the electrodes, what the layers resist.

One antisymmetric profile across separator, inactive layers and cathode, in three modes of a slab
under equal and opposite flux; what falls on either side goes by the pore volume of that side.
"""

from __future__ import annotations

import math

from controller.domain.total_math import safe_exp, safe_log
from hil.cell.lithium import inactive_mAh, kept
from hil.cell.parameters import CellParameters
from hil.cell.state import CellState

FARADAY = 96485.33212
FLOOR = 0.02  # of the reference concentration: an electrode is out of salt
# 8/(pi2 n2) for n = 1, 3 and the rest of the odd numbers, with the rates n2 of each.
SHARE_1, SHARE_2, SHARE_TAIL = 0.810569469, 0.090063274, 0.099367257
RATE_2, RATE_TAIL = 9.0, 52.4
TRANSPORT_MAH_PER_CM2 = 5e-6  # of lithium lost: 80 pm of layer
DEPOSIT_WEIGHT = 0.01  # a deposit acts through the stack's pressure only
PORE_RESISTANCE_SHARE = 1.0 / 3.0  # of a porous electrode whose reaction is spread evenly


def prepare_transport(s: CellState, p: CellParameters) -> None:
    """Work out once what the parameters alone decide."""
    s.separator_path_um = p.separator_um * winding(p, p.separator_porosity)
    s.layer_path = p.layer_tortuosity_factor * winding(p, p.layer_porosity)
    s.cathode_path_um = 0.0
    s.cathode_pores_um = 0.0
    if p.positive_is_lithium < 0.5:
        s.cathode_path_um = PORE_RESISTANCE_SHARE * p.cathode_um * winding(p, p.cathode_porosity)
        s.cathode_pores_um = p.cathode_um * p.cathode_porosity
    s.separator_pores_um = 0.5 * p.separator_um * p.separator_porosity
    # mA/cm2 -> 10 A/m2; um / (um2/s) -> 1e6 s/m
    s.salt_per_path = 0.5 * (10.0 * (1.0 - p.transference) / FARADAY) * 1e6


def winding(p: CellParameters, porosity: float) -> float:
    """Return how much more than free electrolyte a layer resists (Bruggeman)."""
    return safe_exp(-p.bruggeman * safe_log(porosity))


def mean_salt(s: CellState, p: CellParameters) -> float:
    """Return the mean concentration of salt over the reference.

    Oxidised solvent leaves acid in the place of lithium ions: the scarcer of the two ions counts.
    """
    return min(s.salt_mAh, s.electrolyte_mAh) / p.electrolyte_mAh


def salt_advance(s: CellState, p: CellParameters, density: float, dt_s: float) -> None:
    """Move the salt; where it runs out, say how much of the current it cannot carry.

    Positive `density` takes salt at the negative electrode and gives it at the positive one.
    """
    steady = s.salt_scale * density
    past = dt_s / s.salt_time_s
    if past != s.salt_past:
        s.salt_past = past
        s.salt_keep_1 = kept(past)
        s.salt_keep_2 = kept(past * RATE_2)
        s.salt_keep_3 = kept(past * RATE_TAIL)
    s.salt_1 = steady * SHARE_1 + (s.salt_1 - steady * SHARE_1) * s.salt_keep_1
    s.salt_2 = steady * SHARE_2 + (s.salt_2 - steady * SHARE_2) * s.salt_keep_2
    s.salt_3 = steady * SHARE_TAIL + (s.salt_3 - steady * SHARE_TAIL) * s.salt_keep_3
    half = s.salt_1 + s.salt_2 + s.salt_3
    mean = mean_salt(s, p)
    s.neg_side_mA_per_cm2 = 0.0
    s.pos_side_mA_per_cm2 = 0.0
    s.side_V = 0.0
    room = max(mean - FLOOR, 1e-6) * p.salt_mol_per_m3
    side = 0.0
    lowest = room / (2.0 * s.salt_neg_share)
    if half > lowest:
        side = starve(s, half, lowest, steady, density)
        s.neg_side_mA_per_cm2 = side
        half = lowest
    lowest = -room / (2.0 * (1.0 - s.salt_neg_share))
    if half < lowest:
        side = starve(s, half, lowest, steady, density)
        s.pos_side_mA_per_cm2 = -side
        half = lowest
    if side != 0.0:
        s.depleted_s += dt_s
        s.side_V = s.thermal_V * math.asinh(0.5 * side / p.side_mA_per_cm2)
    per_reference = 2.0 * half / p.salt_mol_per_m3
    s.neg_salt = max(mean - s.salt_neg_share * per_reference, 0.5 * FLOOR)
    s.pos_salt = max(mean + (1.0 - s.salt_neg_share) * per_reference, 0.5 * FLOOR)


def starve(s: CellState, half: float, lowest: float, steady: float, density: float) -> float:
    """Hold the profile at its limit; return the current (mA/cm2) that the salt cannot carry."""
    keep = lowest / half
    s.salt_1 *= keep
    s.salt_2 *= keep
    s.salt_3 *= keep
    if steady * lowest <= 0.0:  # the current has turned already: the profile only relaxes
        return 0.0
    return density * (1.0 - min(lowest / steady, 1.0))


def transport_weight_mAh(s: CellState, p: CellParameters) -> float:
    """Return what the transport follows: films, layers and salt, and the deposit's thickness."""
    lost_mAh = inactive_mAh(s.neg) + s.neg.sei_mAh
    deposit_mAh = s.neg.deposit_mAh
    if p.positive_is_lithium > 0.5:
        lost_mAh += inactive_mAh(s.pos) + s.pos.sei_mAh
        deposit_mAh += s.pos.deposit_mAh
    return lost_mAh - s.salt_mAh - s.electrolyte_mAh + DEPOSIT_WEIGHT * deposit_mAh


def transport_holds(s: CellState, p: CellParameters) -> bool:
    """Return whether resistances and salt may stay as they are: a millionth or so has changed."""
    if p.resistance_growth_Ohm_cm2_per_mAh > 0.0:
        return False
    moved_mAh = transport_weight_mAh(s, p) - s.transport_mAh
    room_mAh = TRANSPORT_MAH_PER_CM2 * p.area_cm2
    return -room_mAh < moved_mAh < room_mAh


def refresh_transport(s: CellState, p: CellParameters) -> None:
    """Bring resistances and the salt's steady state up to layers, films, salt and temperature."""
    area_cm2 = p.area_cm2
    s.transport_mAh = transport_weight_mAh(s, p)
    neg_um = p.layer_um_cm2_per_mAh * inactive_mAh(s.neg) / area_cm2
    pos_um = p.layer_um_cm2_per_mAh * inactive_mAh(s.pos) / area_cm2
    path_um = s.separator_path_um + (neg_um + pos_um) * s.layer_path + s.cathode_path_um
    neg_pores_um = s.separator_pores_um + neg_um * p.layer_porosity
    pos_pores_um = s.separator_pores_um + pos_um * p.layer_porosity + s.cathode_pores_um
    s.salt_neg_share = pos_pores_um / (neg_pores_um + pos_pores_um)
    diffusivity = p.salt_diffusivity_um2_per_s * s.transport_factor
    s.salt_scale = s.salt_per_path * path_um / diffusivity
    s.salt_time_s = path_um * (neg_pores_um + pos_pores_um) / (9.8696044 * diffusivity)
    mean = mean_salt(s, p)
    conductivity = p.conductivity_S_per_m * s.transport_factor * 2.0 * mean / (1.0 + mean * mean)
    # um / (S/m) -> 1e-2 Ohm cm2
    electrolyte_Ohm_cm2 = 1e-2 * path_um / max(conductivity, 1e-6)
    # Residual SEI surrounds isolated metal: it does not lie in the way of the current.
    sei_mAh = s.neg.sei_mAh + s.pos.sei_mAh
    films = 1.0 + p.positive_is_lithium
    s.film_Ohm = (
        (films * p.film_Ohm_cm2 + p.film_growth_Ohm_cm4_per_mAh * sei_mAh / area_cm2)
        / area_cm2
        / s.transport_factor
    )
    grown = p.resistance_growth_Ohm_cm2_per_mAh * (s.charge_in_mAh + s.charge_out_mAh) / area_cm2
    s.resistance_Ohm = (p.contact_Ohm_cm2 + grown + electrolyte_Ohm_cm2) / area_cm2
    layer_um = neg_um + pos_um + 4.85 * (s.neg.deposit_mAh + s.pos.deposit_mAh) / area_cm2
    refresh_pressure(s, p, layer_um)


def refresh_pressure(s: CellState, p: CellParameters, layer_um: float) -> None:
    """Bring up what the stack pressure does to the loss of lithium."""
    pressure_kPa = p.stack_pressure_kPa + p.gap_kPa_per_um * layer_um
    if p.pressure_mode == 1.0:
        s.pressure_factor = 1.0 + p.pressure_gain * safe_exp(-pressure_kPa / p.pressure_scale_kPa)
    elif p.pressure_mode == 2.0:
        distance = safe_log((pressure_kPa + 1.0) / (p.pressure_scale_kPa + 1.0))
        s.pressure_factor = 1.0 + p.pressure_gain * distance * distance / 30.0
    else:
        s.pressure_factor = 1.0
