"""Kernels of the intercalation cathode: open-circuit voltage, solid diffusion, kinetics, oxidation.

`s` is a `CellState`, `p` the parameters, `x` the filling with lithium, 0 to 1.
"""

from __future__ import annotations

import math

from controller.domain.total_math import safe_exp, safe_sqrt
from hil.cell.lithium import (
    HOURS_PER_S,
    MAH_PER_C,
    butler_volmer_V,
    kept,
    overpotential_V,
    relaxed,
)
from hil.cell.parameters import CellParameters
from hil.cell.state import CellState

EMPTY_X = 0.002  # below: charge oxidises the electrolyte
FULL_X = 0.9995  # above: charge reduces the electrolyte
OXIDATION_AT_V = 4.3
SELF_OXIDATION_MA_PER_CM2 = 0.1  # at most without a current, assumed
STEADY_X = 0.2  # this far from either end the exchange current hardly changes in a sub-step
# A sphere under uniform flux: squares of the roots of tan(r) = r, and a tail that closes the sums
# of 1/r2 (1/10) and 1/r4 (1/350).
ROOT_1, ROOT_2, ROOT_3, ROOT_TAIL = 20.190729, 59.679516, 118.899869, 481.0
WEIGHT = 2.0 / 3.0
WEIGHT_TAIL = 2.0 / 3.0 * (0.1 - 1.0 / 20.190729 - 1.0 / 59.679516 - 1.0 / 118.899869)


def cathode_ocv_V(x: float, p: CellParameters) -> float:
    """Return the open-circuit voltage vs Li (V) at lithium fraction `x`.

    NMC811: Chen et al. 2020 (doi 10.1149/1945-7111/ab9050) for 0.26 < x < 0.9. NMC532: Mohtat 2020
    as in PyBaMM's Xu2019. LFP: Afshar et al. 2017 (arXiv 1709.03970). The steep end above x = 0.85
    of NMC811 and LFP and the one below 0.2 of NMC811 are assumed.
    """
    if p.cathode_kind == 1.0:
        return nmc532_ocv_V(x)
    if p.cathode_kind == 2.0:
        return (
            3.4077
            - 0.020269 * x
            + 0.5 * safe_exp(-150.0 * x)
            - 0.9 * safe_exp(min(-30.0 * (1.0 - x), 3.0))
        )
    voltage_V = (
        4.4875
        - 0.8090 * x
        - 0.0428 * math.tanh(18.5138 * (x - 0.5542))
        - 17.7326 * math.tanh(15.789 * (x - 0.3117))
        + 17.5842 * math.tanh(15.9308 * (x - 0.312))
    )
    if x > 0.85:
        power = (x - p.ocv_end_x) / p.ocv_end_width
        return voltage_V - p.ocv_end_V * safe_exp(min(power, 4.0))
    if x < 0.2:
        return voltage_V + 0.05 * safe_exp(min((0.1 - x) / 0.02, 4.0))
    return voltage_V


def nmc532_ocv_V(x: float) -> float:
    """Return the open-circuit voltage of NMC532 (Mohtat 2020); steep ends bounded."""
    end = min(109.451 * x - 100.006, 12.0)
    return (
        4.3452
        + x * (-1.6518 + x * (1.6225 + x * (-2.0843 + x * (3.5146 - 2.2166 * x))))
        - 0.5623e-4 * safe_exp(end)
    )


def end_fall_V(x: float, p: CellParameters) -> float:
    """Return how far the cathode's open-circuit voltage has fallen into its steep end (V)."""
    if p.cathode_kind == 1.0:
        return 0.5623e-4 * safe_exp(min(109.451 * x - 100.006, 12.0))
    if p.cathode_kind == 2.0:
        return 0.9 * safe_exp(min(-30.0 * (1.0 - x), 3.0))
    return p.ocv_end_V * safe_exp(min((x - p.ocv_end_x) / p.ocv_end_width, 4.0))


def surface_x(s: CellState, p: CellParameters) -> float:
    """Return the filling at the surface of the particles."""
    return (
        s.cathode_mAh / p.cathode_host_mAh
        + s.diffusion_1
        + s.diffusion_2
        + s.diffusion_3
        + s.diffusion_4
    )


def cathode_exchange(s: CellState, p: CellParameters, x: float) -> float:
    """Return the exchange current density (mA/cm2 of geometric area)."""
    inside = min(max(x, 1e-4), 1.0 - 1e-4)
    return (
        2.0
        * p.cathode_exchange_mA_per_cm2
        * s.cathode_factor
        * safe_sqrt(inside * (1.0 - inside) * s.pos_salt)
    )


def cathode_advance(
    s: CellState, p: CellParameters, density: float, side_density: float, dt_s: float
) -> None:
    """Pass `density` (positive empties) for a time; `side_density` reduces solvent."""
    charge_mAh = density * p.area_cm2 * dt_s * HOURS_PER_S
    carried = density + side_density
    capacity_mAh_per_V = p.cathode_double_layer_uF_per_cm2 * 1e-6 * p.area_cm2 * MAH_PER_C
    before_V = s.cathode_overpotential_V
    first_V = interface_V(s, p, before_V, carried, dt_s)
    charge_mAh -= capacity_mAh_per_V * (first_V - before_V)
    if p.oxidation_mA_per_cm2 > 0.0:
        above = (s.ocv_V + before_V - OXIDATION_AT_V) / p.oxidation_slope_V
        per_density_mAh = p.area_cm2 * dt_s * HOURS_PER_S
        oxidised_mAh = p.oxidation_mA_per_cm2 * safe_exp(min(above, 20.0)) * per_density_mAh
        # It holds the potential: it takes the current that flows, and little beyond.
        most_mAh = max(charge_mAh, 0.0) + SELF_OXIDATION_MA_PER_CM2 * per_density_mAh
        oxidised_mAh = min(oxidised_mAh, most_mAh)
        s.oxidised_mAh += oxidised_mAh
        charge_mAh -= oxidised_mAh
    if side_density > 0.0:
        side_mAh = side_density * p.area_cm2 * dt_s * HOURS_PER_S
        s.cathode_reduced_mAh += side_mAh
        charge_mAh += side_mAh
    s.cathode_charge_mAh = within_host(s, p, charge_mAh)
    s.cathode_mAh -= s.cathode_charge_mAh
    s.electrolyte_mAh += s.cathode_charge_mAh
    diffuse(s, p, dt_s)
    s.cathode_overpotential_V = first_V
    x = surface_x(s, p)
    if STEADY_X < x < 1.0 - STEADY_X:
        return
    # Once more with the surface at the end: near either end its exchange current moves fast.
    s.cathode_overpotential_V = interface_V(s, p, before_V, carried, dt_s)
    late_mAh = capacity_mAh_per_V * (s.cathode_overpotential_V - first_V)
    s.cathode_charge_mAh -= late_mAh
    s.cathode_mAh += late_mAh
    s.electrolyte_mAh -= late_mAh


def interface_V(
    s: CellState, p: CellParameters, before_V: float, carried: float, dt_s: float
) -> float:
    """Return the overpotential after a time at `carried` (mA/cm2), the double layer in between."""
    exchange = cathode_exchange(s, p, surface_x(s, p))
    root = safe_sqrt(carried * carried + 4.0 * exchange * exchange)
    if p.cathode_marcus_eV > 0.0:
        steady_V = overpotential_V(0.5 * carried / exchange, s.thermal_V, p.cathode_marcus_eV)
    else:
        steady_V = butler_volmer_V(carried, exchange, root, s.thermal_V)
    slope = s.thermal_V / root  # kOhm cm2
    time_s = p.cathode_double_layer_uF_per_cm2 * 1e-3 * slope
    return relaxed(before_V, steady_V, dt_s / time_s)


def within_host(s: CellState, p: CellParameters, charge_mAh: float) -> float:
    """Return what of a charge the host sites can give or take; the rest moves no lithium."""
    if charge_mAh > 0.0:
        room_mAh = max(s.cathode_mAh - EMPTY_X * p.cathode_host_mAh, 0.0)
        if charge_mAh > room_mAh:
            s.oxidised_mAh += charge_mAh - room_mAh
            return room_mAh
        return charge_mAh
    room_mAh = max(FULL_X * p.cathode_host_mAh - s.cathode_mAh, 0.0)
    room_mAh = min(room_mAh, max(s.electrolyte_mAh, 0.0))
    if -charge_mAh > room_mAh:
        s.cathode_reduced_mAh += -charge_mAh - room_mAh
        return -room_mAh
    return charge_mAh


def filling_time_s(s: CellState, p: CellParameters) -> float:
    """Return the time of diffusion in the particles; it grows near the full end."""
    x = (s.cathode_mAh + 0.5 * s.cathode_charge_mAh) / p.cathode_host_mAh
    if p.diffusion_slow_ratio > 0.0 and x > 0.6:
        return p.diffusion_time_s * (
            1.0
            + p.diffusion_slow_ratio
            * safe_exp((min(x, 1.0) - p.diffusion_slow_x) / p.diffusion_slow_width)
        )
    return p.diffusion_time_s


def diffuse(s: CellState, p: CellParameters, dt_s: float) -> None:
    """Move the surface filling; near the full end diffusion slows down, which costs capacity."""
    rate_per_s = -s.cathode_charge_mAh / (p.cathode_host_mAh * dt_s)
    time_s = filling_time_s(s, p)
    steady = rate_per_s * time_s
    past = dt_s / time_s
    if past != s.diffusion_past:  # the same over most of the range, for steps of one length
        s.diffusion_past = past
        s.diffusion_keep_1 = kept(past * ROOT_1)
        s.diffusion_keep_2 = kept(past * ROOT_2)
        s.diffusion_keep_3 = kept(past * ROOT_3)
        s.diffusion_keep_4 = kept(past * ROOT_TAIL)
    end = steady * WEIGHT / ROOT_1
    s.diffusion_1 = end + (s.diffusion_1 - end) * s.diffusion_keep_1
    end = steady * WEIGHT / ROOT_2
    s.diffusion_2 = end + (s.diffusion_2 - end) * s.diffusion_keep_2
    end = steady * WEIGHT / ROOT_3
    s.diffusion_3 = end + (s.diffusion_3 - end) * s.diffusion_keep_3
    end = steady * WEIGHT_TAIL
    s.diffusion_4 = end + (s.diffusion_4 - end) * s.diffusion_keep_4
