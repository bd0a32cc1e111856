"""What makes one simulated cell: a flat record of numbers, each checked.

Values come from the files under `data/` (`hil.cell.library`), each with its source and the range
that is accepted as sensible. The bounds here are wider: beyond them the equations mean nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

from controller.domain.errors import ConfigurationError, Fault, FaultsIn

NMC811, NMC532, LFP = 0.0, 1.0, 2.0
PRESSURE_NONE, PRESSURE_MONOTONIC, PRESSURE_OPTIMUM = 0.0, 1.0, 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CellParameters:
    """Everything that makes one simulated cell. Charge in mAh, lithium in mAh (1 mAh = 37.31 umol).

    Raises
    ------
    ConfigurationError
        A value outside its allowed range, or values that contradict each other; all are named.
    """

    # Assembly
    area_cm2: float
    nominal_capacity_mAh: float
    positive_is_lithium: float  # 1: Li||Cu and Li||Li
    negative_foil_mAh: float  # compact lithium at the negative electrode
    positive_foil_mAh: float
    copper_initial_V: float  # bare Cu vs Li, once wetted
    electrolyte_mAh: float  # salt in the cell
    separator_um: float
    separator_porosity: float
    contact_Ohm_cm2: float  # of collectors and tabs
    heat_capacity_J_per_K: float
    heat_loss_W_per_K: float
    stack_pressure_kPa: float
    gap_kPa_per_um: float  # rise of pressure with thickness at constant gap; 0 constant pressure
    resistance_growth_Ohm_cm2_per_mAh: float  # contact, with charge passed: fade without lithium

    # Cathode (`cathode_host_mAh` 0 where there is none)
    cathode_kind: float  # 0 NMC811, 1 NMC532, 2 LFP
    cathode_host_mAh: float
    cathode_initial_x: float
    cathode_um: float
    cathode_porosity: float
    cathode_exchange_mA_per_cm2: float  # per geometric area at half filling
    cathode_activation_J_per_mol: float
    cathode_marcus_eV: float  # reorganisation energy; 0: Butler-Volmer
    cathode_double_layer_uF_per_cm2: float
    diffusion_time_s: float  # R2/D of the particles
    diffusion_slow_ratio: float  # how much slower at `diffusion_slow_x`
    diffusion_slow_x: float
    diffusion_slow_width: float
    ocv_end_V: float  # fall of the open-circuit voltage at `ocv_end_x`
    ocv_end_x: float
    ocv_end_width: float
    oxidation_mA_per_cm2: float  # of the electrolyte at 4.3 V
    oxidation_slope_V: float

    # Lithium interface
    anode_exchange_mA_per_cm2: float
    anode_activation_J_per_mol: float
    marcus_eV: float  # reorganisation energy; 0: Butler-Volmer
    double_layer_uF_per_cm2: float
    foil_activity: float  # share of the exchange current that compact lithium has
    coverage_mAh_per_cm2: float  # deposit that covers half the surface
    nucleation_coverage: float  # share of the surface on which bare Cu takes lithium
    copper_leak_s: float
    copper_dissolution_V: float
    side_mA_per_cm2: float  # exchange current of what reduces electrolyte where salt has run out

    # Films and salt
    film_Ohm_cm2: float
    film_growth_Ohm_cm4_per_mAh: float
    film_uF_per_cm2: float
    layer_um_cm2_per_mAh: float  # thickness of inactive lithium
    layer_porosity: float
    layer_tortuosity_factor: float  # beyond Bruggeman
    conductivity_S_per_m: float
    salt_diffusivity_um2_per_s: float
    salt_mol_per_m3: float
    transference: float
    thermodynamic_factor: float
    bruggeman: float
    ohmic_activation_J_per_mol: float
    salt_per_sei: float  # anions consumed per electron into SEI

    # Loss of lithium
    sei_per_plated: float
    sei_activation_J_per_mol: float
    sei_per_roughness: float
    sei_per_fineness: float
    dissolvable_share: float
    inactive_per_stripped: float  # f0 in f0 (1 + a ln2(J/Jopt))
    inactive_curvature: float
    inactive_optimum_mA_per_cm2: float
    inactive_activation_J_per_mol: float
    inactive_per_roughness: float
    inactive_per_fineness: float
    fineness_mA_per_cm2: float
    fineness_mAh_per_cm2: float
    additive_factor: float  # on `inactive_per_stripped`; 1 without additive
    corrosion_per_h: float
    corrosion_slowing_h: float
    corrosion_reversible_share: float
    corrosion_activation_J_per_mol: float
    ageing_h: float
    shuttle_mA_per_cm2: float

    # Morphology
    formation_gain: float  # how much more is lost after the worst formation
    formation_optimum_mA_per_cm2: float
    formation_mAh_per_cm2: float
    roughness_highest: float
    roughness_half_mA_per_cm2: float
    roughness_mAh_per_cm2: float  # charge over which it develops
    healing_mA_per_cm2: float
    healing_mAh_per_cm2: float
    pit_gain: float
    pit_mA_per_cm2: float
    pit_mAh_per_cm2: float
    pressure_mode: float  # 0 none, 1 monotonic, 2 optimum
    pressure_gain: float
    pressure_scale_kPa: float

    # Return of lithium: phenomenological, explicit, never derived from a drift formula
    dissolution_h: float
    discharged_gate_mAh_per_cm2: float
    reachable_share: float
    reconnection_mAh_per_cm2: float
    fast_strip_gain: float
    fast_strip_threshold_mA_per_cm2: float
    fast_strip_half_mA_per_cm2: float
    fast_strip_charge_mAh_per_cm2: float
    fast_strip_window_s: float
    mediator_potential_V: float
    mediator_per_h: float  # inactive lithium that it takes; 0 without mediator
    mediator_shuttle_mA_per_cm2: float

    # Shorts
    short_hazard_per_mAh_per_cm2: float  # at `short_mA_per_cm2`
    short_mA_per_cm2: float
    short_power: float
    short_hard_share: float
    short_soft_Ohm_cm2: float
    short_hard_Ohm_cm2: float
    short_on_s: float
    short_off_s: float
    short_recovery_mAh_per_cm2: float
    short_at_start: float  # 0 none, 1 soft, 2 hard

    def __post_init__(self) -> None:
        faults = [
            Fault(
                where="cell parameters",
                key=item.name,
                problem=f"{getattr(self, item.name)!r} is outside {low:g}..{high:g}",
            )
            for item in fields(self)
            for low, high in (BOUNDS.get(item.name, POSITIVE),)
            if not _inside(getattr(self, item.name), low, high)
        ]
        raise_faults(faults or self._contradictions())

    def _contradictions(self) -> list[Fault]:
        faults = FaultsIn("cell parameters")
        if self.positive_is_lithium:
            if not self.positive_foil_mAh > 0.0:
                faults.add("positive_foil_mAh", "a lithium electrode without lithium", "above 0")
        elif not self.cathode_host_mAh > 0.0:
            faults.add("cathode_host_mAh", "a cathode without host sites", "above 0")
        elif not 0.3 <= self.nominal_capacity_mAh / self.cathode_host_mAh <= 1.0:
            share = self.nominal_capacity_mAh / self.cathode_host_mAh
            faults.add(
                "nominal_capacity_mAh",
                f"{self.nominal_capacity_mAh:g} is {share:.2g} of the cathode's "
                f"{self.cathode_host_mAh:g} mAh of sites",
                "0.3 to 1 of them",
            )
        if self.ocv_end_x <= self.diffusion_slow_x:
            faults.add("ocv_end_x", f"{self.ocv_end_x:g} is below diffusion_slow_x", "above it")
        return faults


def _inside(value: object, low: float, high: float) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high


def raise_faults(faults: list[Fault]) -> None:
    """Raise a `ConfigurationError` if there is any fault."""
    if faults:
        raise ConfigurationError(faults)


POSITIVE: Final = (1e-12, 1e9)
NOT_NEGATIVE: Final = (0.0, 1e9)
SHARE: Final = (0.0, 1.0)
BOUNDS: Final[dict[str, tuple[float, float]]] = {
    "area_cm2": (1e-3, 1e5),
    "nominal_capacity_mAh": (1e-3, 1e6),
    "positive_is_lithium": SHARE,
    "negative_foil_mAh": NOT_NEGATIVE,
    "positive_foil_mAh": NOT_NEGATIVE,
    "copper_initial_V": (0.0, 3.0),
    "separator_porosity": (0.05, 0.95),
    "contact_Ohm_cm2": NOT_NEGATIVE,
    "stack_pressure_kPa": (0.0, 1e4),
    "gap_kPa_per_um": (0.0, 1e3),
    "resistance_growth_Ohm_cm2_per_mAh": NOT_NEGATIVE,
    "cathode_kind": (0.0, 2.0),
    "cathode_host_mAh": NOT_NEGATIVE,
    "cathode_initial_x": (0.02, 0.9995),
    "cathode_porosity": (0.05, 0.95),
    "cathode_activation_J_per_mol": (0.0, 2e5),
    "diffusion_slow_ratio": NOT_NEGATIVE,
    "diffusion_slow_x": (0.5, 0.999),
    "diffusion_slow_width": (1e-3, 0.5),
    "ocv_end_V": (0.0, 1.0),
    "ocv_end_x": (0.9, 0.9995),
    "ocv_end_width": (1e-3, 0.1),
    "oxidation_mA_per_cm2": NOT_NEGATIVE,
    "oxidation_slope_V": (0.01, 1.0),
    "anode_activation_J_per_mol": (0.0, 2e5),
    "marcus_eV": (0.0, 5.0),
    "cathode_marcus_eV": (0.0, 5.0),
    "double_layer_uF_per_cm2": (0.1, 1e5),
    "foil_activity": (1e-3, 10.0),
    "nucleation_coverage": (1e-6, 1.0),
    "copper_dissolution_V": (2.0, 5.0),
    "film_Ohm_cm2": NOT_NEGATIVE,
    "film_growth_Ohm_cm4_per_mAh": NOT_NEGATIVE,
    "layer_um_cm2_per_mAh": (4.85, 200.0),
    "layer_porosity": (0.05, 0.98),
    "layer_tortuosity_factor": (1.0, 100.0),
    "transference": (0.0, 0.99),
    "thermodynamic_factor": (0.1, 10.0),
    "bruggeman": (1.0, 5.0),
    "ohmic_activation_J_per_mol": (0.0, 2e5),
    "salt_per_sei": (0.0, 2.0),
    "sei_per_plated": (0.0, 0.5),
    "sei_activation_J_per_mol": (0.0, 2e5),
    "sei_per_roughness": NOT_NEGATIVE,
    "sei_per_fineness": (-5.0, 5.0),
    "dissolvable_share": SHARE,
    "inactive_per_stripped": (0.0, 0.3),
    "inactive_curvature": (0.0, 10.0),
    "inactive_activation_J_per_mol": (-2e5, 2e5),
    "inactive_per_roughness": NOT_NEGATIVE,
    "inactive_per_fineness": (-5.0, 5.0),
    "additive_factor": (0.0, 10.0),
    "corrosion_per_h": (0.0, 0.1),
    "corrosion_reversible_share": SHARE,
    "corrosion_activation_J_per_mol": (0.0, 2e5),
    "shuttle_mA_per_cm2": (0.0, 10.0),
    "formation_gain": (0.0, 20.0),
    "roughness_highest": (0.0, 100.0),
    "pit_gain": (0.0, 0.95),
    "pressure_mode": (0.0, 2.0),
    "pressure_gain": (0.0, 20.0),
    "reachable_share": SHARE,
    "fast_strip_gain": SHARE,
    "fast_strip_threshold_mA_per_cm2": NOT_NEGATIVE,
    "mediator_potential_V": (0.0, 6.0),
    "mediator_per_h": (0.0, 100.0),
    "mediator_shuttle_mA_per_cm2": (0.0, 10.0),
    "short_hazard_per_mAh_per_cm2": NOT_NEGATIVE,
    "short_power": (0.0, 10.0),
    "short_hard_share": SHARE,
    "short_at_start": (0.0, 2.0),
}

PARAMETER_NAMES: Final[tuple[str, ...]] = tuple(item.name for item in fields(CellParameters))
