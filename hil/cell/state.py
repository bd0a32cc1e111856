"""The state of a simulated cell: two plain records of floats, nothing else.

Inventories are in mAh of lithium (1 mAh = 37.31 umol), potentials in V vs Li. A record of the same
fields, as a NumPy structured scalar, is what the compiled kernels move.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Final, get_type_hints


class ElectrodeState:
    """A lithium-metal electrode: Cu with or without lithium, or a foil."""

    __slots__ = (
        "copper_dissolved_mAh",
        "copper_highest_V",
        "deposit_mAh",
        "factored_mismatch",
        "fineness",
        "foil_mAh",
        "formation_distance2",
        "formation_excess",
        "formation_mAh",
        "formation_mismatch",
        "fresh_mAh",
        "handled_mAh",
        "leaked_mAh",
        "lithium_taken_mAh",
        "old_mAh",
        "pit_uniformity",
        "plate_density_mA_per_cm2",
        "potential_V",
        "readiness",
        "reconnected_mAh",
        "reduced_mAh",
        "residual_sei_mAh",
        "rest_h",
        "reversible_mAh",
        "rough_density_mA_per_cm2",
        "rough_excess",
        "rough_scale_mAh",
        "roughness",
        "salt_used_mAh",
        "sei_electrons_mAh",
        "sei_mAh",
        "strip_density_mA_per_cm2",
        "strip_share",
        "wanted_fineness",
    )

    # Lithium
    foil_mAh: float  # compact metal as assembled
    deposit_mAh: float  # plated metal in contact
    fresh_mAh: float  # isolated metal, recent
    old_mAh: float  # isolated metal that nothing here brings back
    reversible_mAh: float  # isolated metal that the next plating reconnects
    sei_mAh: float  # bound for good
    residual_sei_mAh: float  # around isolated metal, soluble in a discharged rest
    # Interface
    potential_V: float  # of the double layer; positive strips
    copper_highest_V: float
    # Morphology
    roughness: float  # 1 is flat
    fineness: float  # log of plating density over its reference, averaged over recent charge
    pit_uniformity: float  # 0..1, from the first oxidation
    formation_mAh: float  # of the charge that counts as formation, plated so far
    formation_mismatch: float  # mean squared log distance from the best formation density
    # History
    handled_mAh: float  # plated and stripped
    rest_h: float
    readiness: float  # 0..1, of the fast strip after a charge
    # Counters
    sei_electrons_mAh: float  # charge that went into SEI
    reduced_mAh: float  # charge that reduced electrolyte and moved no lithium
    copper_dissolved_mAh: float
    leaked_mAh: float  # from the double layer of bare Cu into the electrolyte
    reconnected_mAh: float
    # Of the present sub-step: lithium and salt taken from the electrolyte
    lithium_taken_mAh: float
    salt_used_mAh: float
    # Cached for one stripping density
    strip_density_mA_per_cm2: float
    strip_share: float
    # Cached for one density of either sign
    rough_density_mA_per_cm2: float
    rough_excess: float
    rough_scale_mAh: float
    # Cached for one plating density, and for one history of formation
    plate_density_mA_per_cm2: float
    wanted_fineness: float
    formation_distance2: float  # squared log distance from the best formation density
    factored_mismatch: float
    formation_excess: float


class CellState:
    """All that changes in a cell."""

    __slots__ = (
        "aged_share",
        "anode_factor",
        "cathode_charge_mAh",
        "cathode_factor",
        "cathode_mAh",
        "cathode_overpotential_V",
        "cathode_path_um",
        "cathode_pores_um",
        "cathode_reduced_mAh",
        "cell_V",
        "charge_in_mAh",
        "charge_out_mAh",
        "chemical_J",
        "chord_V",
        "chord_slope_V",
        "chord_x",
        "concentration_J",
        "concentration_V",
        "depleted_s",
        "diffusion_1",
        "diffusion_2",
        "diffusion_3",
        "diffusion_4",
        "diffusion_J",
        "diffusion_keep_1",
        "diffusion_keep_2",
        "diffusion_keep_3",
        "diffusion_keep_4",
        "diffusion_past",
        "electrolyte_mAh",
        "fade",
        "film_Ohm",
        "film_V",
        "hazard",
        "hazard_density",
        "hazard_power",
        "hazard_threshold",
        "heat_J",
        "heat_W",
        "heat_keep",
        "kinetic_J",
        "last_current_A",
        "last_end",
        "layer_path",
        "leak_A",
        "leak_J",
        "leakage_mAh",
        "loss_factor",
        "lowest_mAh",
        "mediated_mAh",
        "neg",
        "neg_salt",
        "neg_side_mA_per_cm2",
        "ocv_V",
        "ohmic_J",
        "open_V",
        "oxidised_mAh",
        "parasitic_J",
        "pos",
        "pos_salt",
        "pos_side_mA_per_cm2",
        "pressure_factor",
        "random",
        "rates_at_K",
        "resistance_Ohm",
        "rest_factor",
        "salt_1",
        "salt_2",
        "salt_3",
        "salt_keep_1",
        "salt_keep_2",
        "salt_keep_3",
        "salt_mAh",
        "salt_neg_share",
        "salt_past",
        "salt_per_path",
        "salt_scale",
        "salt_time_s",
        "sei_factor",
        "separator_path_um",
        "separator_pores_um",
        "short_Ohm",
        "short_level",
        "short_on",
        "short_recovery_mAh",
        "short_switch_s",
        "shorts",
        "shuttled_mAh",
        "side_V",
        "substep_s",
        "temperature_K",
        "thermal_V",
        "time_s",
        "transport_factor",
        "transport_mAh",
        "work_J",
    )

    neg: ElectrodeState
    pos: ElectrodeState  # moves only where the positive electrode is lithium
    # Cathode
    cathode_mAh: float
    cathode_overpotential_V: float
    cathode_charge_mAh: float  # taken out by the last sub-step
    diffusion_1: float  # surface minus mean filling, by mode
    diffusion_2: float
    diffusion_3: float
    diffusion_4: float
    oxidised_mAh: float  # charge without lithium at the positive electrode, oxidation
    cathode_reduced_mAh: float  # the same, reduction
    # Electrolyte
    electrolyte_mAh: float  # dissolved lithium, all of it
    salt_mAh: float  # anions, in mAh
    salt_1: float  # half the difference of concentration between the electrodes, by mode, mol/m3
    salt_2: float
    salt_3: float
    neg_salt: float  # concentration at the electrode over the reference
    pos_salt: float
    neg_side_mA_per_cm2: float  # current that the salt cannot carry, at the negative electrode
    pos_side_mA_per_cm2: float
    side_V: float  # of what carries the current that the salt cannot
    depleted_s: float  # time with an electrode out of salt
    # Ohmic and film
    film_V: float
    # Thermal
    temperature_K: float
    # Shorts
    short_level: float  # 0 none, 1 soft, 2 hard
    short_on: float
    short_Ohm: float
    leak_A: float  # through the short in the last sub-step
    short_switch_s: float  # until the short switches
    short_recovery_mAh: float  # stripped charge until it burns out
    shorts: float  # how many there were
    hazard: float
    hazard_threshold: float
    random: float  # of a multiplicative generator, exact in a double
    # Charge and energy
    charge_in_mAh: float
    charge_out_mAh: float
    shuttled_mAh: float  # by the last sub-step
    mediated_mAh: float  # inactive lithium that a mediator took
    leakage_mAh: float  # through shorts, shuttles and mediators
    work_J: float  # done on the cell
    chemical_J: float  # stored as lithium moved out of the cathode
    diffusion_J: float
    concentration_J: float
    ohmic_J: float
    kinetic_J: float
    leak_J: float
    parasitic_J: float
    heat_J: float  # given to the can
    heat_W: float
    # Where it stands
    time_s: float
    last_current_A: float
    last_end: float  # what ended the last discharge
    lowest_mAh: float  # smallest inventory, checked by the caller
    # Derived from the parameters once
    separator_path_um: float  # thickness times what pores and windings add to the resistance
    layer_path: float  # the same per um of inactive layer
    cathode_path_um: float
    separator_pores_um: float  # of half the separator
    cathode_pores_um: float
    salt_per_path: float
    # Cached for one length of sub-step
    substep_s: float
    fade: float  # of the readiness for a fast strip
    aged_share: float  # of fresh inactive lithium
    heat_keep: float
    # Cached for one length of sub-step over the time of diffusion
    diffusion_past: float
    diffusion_keep_1: float
    diffusion_keep_2: float
    diffusion_keep_3: float
    diffusion_keep_4: float
    # Cached for one current density
    hazard_density: float
    hazard_power: float
    # Derived from the above
    rates_at_K: float
    thermal_V: float  # 2RT/F
    anode_factor: float
    cathode_factor: float
    transport_factor: float
    sei_factor: float
    loss_factor: float
    rest_factor: float
    pressure_factor: float
    salt_scale: float  # steady half difference of concentration per mA/cm2
    salt_time_s: float
    salt_past: float  # step over time constant, for which the next three hold
    salt_keep_1: float
    salt_keep_2: float
    salt_keep_3: float
    transport_mAh: float  # lithium lost when the transport was looked at last
    chord_x: float  # mean filling at which the open-circuit voltage was looked at last
    chord_V: float
    chord_slope_V: float
    salt_neg_share: float  # of the difference of concentration that falls on the negative side
    film_Ohm: float
    resistance_Ohm: float
    ocv_V: float
    concentration_V: float
    open_V: float  # all but the ohmic drop
    cell_V: float


def _paths(record: type, prefix: str = "") -> list[str]:
    found = []
    for name, kind in get_type_hints(record).items():
        found += _paths(kind, f"{prefix}{name}.") if kind is ElectrodeState else [prefix + name]
    return found


STATE_FIELDS: Final[tuple[str, ...]] = tuple(_paths(CellState))
"""Every number of a state, in the order of a snapshot; dots lead into an electrode."""

_ELECTRODE_FIELDS: Final = tuple(_paths(ElectrodeState))
_OWN_FIELDS: Final = tuple(name for name in STATE_FIELDS if "." not in name)
_WIDTH: Final = len(_ELECTRODE_FIELDS)
_take = attrgetter(*STATE_FIELDS)

Snapshot = tuple[float, ...]


def blank_state() -> CellState:
    """Return a state in which every number is 0."""
    s = CellState()
    s.neg, s.pos = ElectrodeState(), ElectrodeState()
    put(s, (0.0,) * len(STATE_FIELDS))
    return s


def take(s: CellState) -> Snapshot:
    """Return all numbers of a state, in the order of `STATE_FIELDS`."""
    numbers: Snapshot = _take(s)
    return numbers


def put(s: CellState, snapshot: Snapshot) -> None:
    """Set all numbers of a state."""
    for record, start in ((s.neg, 0), (s.pos, _WIDTH)):
        for name, value in zip(_ELECTRODE_FIELDS, snapshot[start : start + _WIDTH], strict=True):
            setattr(record, name, value)
    for name, value in zip(_OWN_FIELDS, snapshot[2 * _WIDTH :], strict=True):
        setattr(s, name, value)
