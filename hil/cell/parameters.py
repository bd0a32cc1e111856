"""Parameters of the simulated cell, each with where its value comes from.

``DOI``/tag: taken from there. ``assumed (a..b)``: an engineering default of ours with the range
that is accepted as sensible. Nothing here was fitted to a measured cell: *never validated*.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

import numpy as np

from controller.domain.errors import ConfigurationError, Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class CellParameters:
    """Everything that makes one simulated cell. Charge in mAh, lithium in mAh (1 mAh = 37.31 umol).

    Raises
    ------
    ConfigurationError
        A value outside its allowed range; all of them are named.
    """

    # Geometry and nominal figures. 1.54 cm2, 3 mAh: the example coin cell (assumed).
    area_cm2: float = 1.54
    nominal_capacity_mAh: float = 3.0

    # Lithium at assembly, mAh.
    # Cathode host sites; x 0.985 -> 0.26 (4.29 V) is 3.4 mAh, less ~0.11 first-cycle loss: 3 mAh.
    cathode_host_mAh: float = 4.70
    cathode_initial_x: float = 0.985  # pristine, assumed 0.97..0.99
    active_lithium_initial_mAh: float = 0.0  # anode-free
    electrolyte_lithium_mAh: float = 3.0  # ~75 uL of 1.5 mol/L salt, assumed 1..6
    copper_initial_V: float = 0.10  # Cu as assembled vs Li once wetted, assumed 0..0.5

    # Cathode: OCV fit of Chen et al. 2020 (doi 10.1149/1945-7111/ab9050); above x ~ 0.9 our steep
    # end and slow filling, so that the first-cycle loss is kinetic (assumed, see docs/plant.md).
    ocv_end_V: float = 0.20  # fall of the OCV at `ocv_end_x`, assumed 0.1..0.4
    ocv_end_x: float = 0.985
    ocv_end_width: float = 0.007  # assumed 0.005..0.02
    # The surface fills this much faster than the mean beyond it (shell to whole), assumed 1..4.
    diffusion_gain: float = 2.0
    diffusion_time_s: float = 300.0  # surface relaxation in mid-range, assumed 100..1000
    diffusion_slow_s: float = 1000.0  # added at `diffusion_slow_x`, assumed 300..3000
    diffusion_slow_x: float = 0.895
    diffusion_slow_width: float = 0.018  # e-fold in x, assumed 0.01..0.03
    cathode_exchange_mA_per_cm2: float = 3.0  # per geometric area, assumed 1..10
    cathode_activation_J_per_mol: float = 17_800.0  # Chen 2020; O'Regan 2022: 24.0 kJ/mol

    # Anode kinetics. Linear-range i0 of fresh Li in carbonates 2..16 (Boyle 2020), Xu 2019: 7.06.
    anode_exchange_mA_per_cm2: float = 7.0
    anode_activation_J_per_mol: float = 50_000.0  # Abe 2009, RSC F19868200179: 32..56 kJ/mol
    # Active lithium at which half the surface is still covered; sets the knee, assumed 0.002..0.05.
    coverage_mAh: float = 0.010
    bare_coverage: float = 1e-6  # remaining share of i0 on bare Cu, assumed 1e-8..1e-4
    # Bare Cu: 0.3 mF/cm2 -> 2 V in 1 s at C/3, assumed 0.02..1 mF/cm2.
    copper_capacitance_F_per_cm2: float = 3.2e-4
    copper_leak_s: float = 600.0  # self-discharge of bare Cu by the electrolyte, assumed 60..6000
    copper_dissolution_V: float = 3.2  # vs Li; ~3.2 (rules of the field)

    # Series resistance and slow polarisation.
    ohmic_Ohm_cm2: float = 8.0  # cell 3..15 (literature range)
    film_Ohm_cm2: float = 10.0  # SEI at assembly, 2.6..26 (Hobold 2021, Hess 2018)
    film_growth_Ohm_cm4_per_mAh: float = 12.0  # per mAh/cm2 of SEI lithium, assumed 0..50
    # Inactive layer: 5 mAh/cm2 -> 1.4 Ohm cm2 times an assumed tortuosity factor of 5 (1..10).
    layer_Ohm_cm4_per_mAh: float = 1.4
    slow_Ohm_cm2: float = 6.0  # assumed 2..20
    slow_time_s: float = 300.0  # assumed 100..1000
    ohmic_activation_J_per_mol: float = 17_000.0  # 13..24 kJ/mol (Ecker 2015)

    # Loss of lithium.
    sei_per_plated: float = 0.0014  # lithium into SEI per lithium plated, assumed 0.001..0.02
    dissolvable_share: float = 0.30  # of that, residual SEI that can dissolve, guess 0..0.6
    inactive_per_stripped: float = 0.0018  # f0 in f0 (1 + a ln^2(J/Jopt)), HCE/LHCE 0.001..0.01
    inactive_curvature: float = 0.5  # a, assumed 0..2
    inactive_optimum_mA_per_cm2: float = 2.0  # Jopt, 1..5 (signs only in the literature)
    corrosion_per_h: float = 1.05e-3  # of active lithium at rest; 2-3 % in 24 h (Boyle 2021)
    corrosion_slowing_h: float = 24.0  # rate ~ 1/sqrt(1 + t/this), assumed 6..48
    corrosion_reversible_share: float = 0.70  # isolated, reconnects when plated; Bassett 2023 sign
    ageing_h: float = 60.0  # fresh inactive becomes old, assumed 10..300

    # Return of lithium: phenomenological, explicit, never derived from a drift formula.
    dissolution_h: float = 3.0  # residual SEI in a discharged rest, 0.5..24
    discharged_gate_mAh: float = 0.02  # active lithium that stops the dissolution, assumed
    reachable_share: float = 0.30  # of fresh inactive freed when all residual SEI is gone, 0..0.6
    reconnection_mAh: float = 0.30  # plated charge over which freed lithium reconnects, assumed
    fast_strip_gain: float = 0.40  # of fresh inactive per activation, 0.3..0.45 (from life x1.29)
    fast_strip_threshold_mA_per_cm2: float = 2.0  # assumed 1..5
    fast_strip_half_mA_per_cm2: float = 2.0  # above threshold at which half the gain acts, assumed
    fast_strip_charge_mAh_per_cm2: float = 0.03  # charge over which it acts, assumed 0.01..0.3
    fast_strip_window_s: float = 900.0  # readiness after the charge decays in this, assumed

    # Thermal: CR2032 2.7 J/K; h 10 W/m2/K (5..30) on 8.3 cm2.
    heat_capacity_J_per_K: float = 2.7
    heat_loss_W_per_K: float = 0.0083

    def __post_init__(self) -> None:
        faults = []
        for item in fields(self):
            value = getattr(self, item.name)
            low, high = RANGES.get(item.name, POSITIVE)
            if not (isinstance(value, (int, float)) and low <= value <= high):
                faults.append(
                    Fault(
                        where="cell parameters",
                        key=item.name,
                        problem=f"{value!r} is outside {low:g}..{high:g}",
                        remedy=f"default {item.default!r}",
                    )
                )
        if faults:
            raise ConfigurationError(faults)


POSITIVE: Final = (1e-12, 1e9)
_SHARE: Final = (0.0, 1.0)
_NOT_NEGATIVE: Final = (0.0, 1e9)
RANGES: Final[dict[str, tuple[float, float]]] = {
    "area_cm2": (1e-3, 1e5),
    "nominal_capacity_mAh": (1e-3, 1e6),
    "cathode_initial_x": (0.05, 0.995),
    "active_lithium_initial_mAh": _NOT_NEGATIVE,
    "copper_initial_V": (0.0, 3.0),
    "ocv_end_V": (0.0, 1.0),
    "ocv_end_x": (0.9, 0.999),
    "ocv_end_width": (1e-3, 0.1),
    "diffusion_slow_s": _NOT_NEGATIVE,
    "diffusion_slow_x": (0.5, 0.999),
    "diffusion_slow_width": (1e-3, 0.5),
    "cathode_activation_J_per_mol": (0.0, 2e5),
    "anode_activation_J_per_mol": (0.0, 2e5),
    "ohmic_activation_J_per_mol": (0.0, 2e5),
    "bare_coverage": (1e-12, 1e-2),
    "film_growth_Ohm_cm4_per_mAh": _NOT_NEGATIVE,
    "layer_Ohm_cm4_per_mAh": _NOT_NEGATIVE,
    "film_Ohm_cm2": _NOT_NEGATIVE,
    "slow_Ohm_cm2": _NOT_NEGATIVE,
    "copper_dissolution_V": (2.0, 5.0),
    "sei_per_plated": (0.0, 0.5),
    "dissolvable_share": _SHARE,
    "inactive_per_stripped": (0.0, 0.2),
    "inactive_curvature": (0.0, 10.0),
    "corrosion_per_h": (0.0, 0.1),
    "corrosion_reversible_share": _SHARE,
    "reachable_share": _SHARE,
    "fast_strip_gain": _SHARE,
    "fast_strip_threshold_mA_per_cm2": _NOT_NEGATIVE,
}


def anode_free_nmc811(seed: int = 0) -> CellParameters:
    """Return the default cell, Cu||NMC811 without lithium at the anode, scattered by seed.

    Native Coulombic efficiency at C/3 comes to 0.994-0.997 (assumed). Seed 0 is the nominal cell.

    Parameters
    ----------
    seed : int
        Cell-to-cell scatter of loss and resistance; the same seed is the same cell.
    """
    if seed == 0:
        return CellParameters()
    scatter = np.random.default_rng([seed, 811])
    nominal = CellParameters()
    return CellParameters(
        sei_per_plated=float(scatter.uniform(0.0010, 0.0018)),
        inactive_per_stripped=float(scatter.uniform(0.0013, 0.0023)),
        ohmic_Ohm_cm2=nominal.ohmic_Ohm_cm2 * float(scatter.uniform(0.85, 1.15)),
        film_Ohm_cm2=nominal.film_Ohm_cm2 * float(scatter.uniform(0.8, 1.2)),
        diffusion_slow_s=nominal.diffusion_slow_s * float(scatter.uniform(0.85, 1.15)),
        cathode_host_mAh=nominal.cathode_host_mAh * float(scatter.uniform(0.99, 1.01)),
        dissolution_h=nominal.dissolution_h * math.exp(float(scatter.uniform(-0.4, 0.4))),
        fast_strip_gain=float(scatter.uniform(0.30, 0.45)),
    )


def excess_lithium_nmc811(seed: int = 0) -> CellParameters:
    """Return Li||NMC811 with 50 um of lithium foil (10.3 mAh/cm2) on the negative side."""
    base = anode_free_nmc811(seed)
    values = {item.name: getattr(base, item.name) for item in fields(base)}
    values["active_lithium_initial_mAh"] = 50.0 / 4.85 * base.area_cm2  # 4.85 um per mAh/cm2
    values["copper_initial_V"] = 0.0
    return CellParameters(**values)


PRESETS: Final = {
    "anode-free": anode_free_nmc811,
    "excess-lithium": excess_lithium_nmc811,
}
