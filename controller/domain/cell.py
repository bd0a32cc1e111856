"""The cell as its owner declares it, and the limits that bind everything done to it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

FARADAY_C_PER_MOL: Final = 96485.33212
GAS_CONSTANT_J_PER_MOL_K: Final = 8.314462618
ZERO_CELSIUS_K: Final = 273.15


class CellFormat(StrEnum):
    """Decides what Coulombic efficiency means and which treatments make sense."""

    ANODE_FREE = "anode-free"
    EXCESS_LITHIUM = "excess-lithium"
    LI_CU = "li-cu"
    LI_LI = "li-li"
    FULL_CELL = "full-cell"


# The negative electrode is bare copper as assembled: what it holds was charged into the cell.
ON_COPPER: Final = frozenset({CellFormat.ANODE_FREE, CellFormat.LI_CU})
# Lithium foil at the positive terminal: V = phi_positive - phi_negative stands near 0 V at rest,
# positive ("charging") current plates on the negative electrode (Cu in Li||Cu) and so raises V.
# Stated here once, with `controller.domain.command`; `docs/decisions/0013-two-foils.md` says why.
TWO_FOILS: Final = frozenset({CellFormat.LI_CU, CellFormat.LI_LI})


class ElectrolyteFamily(StrEnum):
    """Families by oxidation stability; an unknown one takes the strictest upper voltage."""

    DILUTE_ETHER = "dilute-ether"
    CARBONATE = "carbonate"
    HCE = "hce"
    LHCE = "lhce"
    UNKNOWN = "unknown"


# Upper voltage by electrolyte family, V. Assumed engineering defaults, not measured stability.
UPPER_VOLTAGE_BY_FAMILY_V: Final[dict[ElectrolyteFamily, float]] = {
    ElectrolyteFamily.DILUTE_ETHER: 3.9,
    ElectrolyteFamily.CARBONATE: 4.3,
    ElectrolyteFamily.HCE: 4.4,
    ElectrolyteFamily.LHCE: 4.4,
    ElectrolyteFamily.UNKNOWN: 3.9,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CellSpec:
    """One cell, as declared in the run file.

    Attributes
    ----------
    name : str
        Identifier in file names and reports.
    format : CellFormat
        Given or asked for, never guessed.
    area_cm2 : float
        Electrode area; every result is also given per area.
    nominal_capacity_Ah : float
        Fixed; the meaning of C-rate.
    lower_cut_off_V, upper_cut_off_V : float
        Cycling window at the cell's terminals. On two foils the lower one is negative; on Li||Cu
        it ends the strip (Cu at 1 V vs Li is -1 V), all others there only bound.
    cathode : str
        ``nmc811``, ``nmc532``, ``lfp``, ``li`` or ``none`` (no cathode, e.g. Li||Cu: ``li``).
    electrolyte_family : ElectrolyteFamily
    electrolyte : str
        Salt and solvents in words.
    negative_to_positive_ratio, lithium_thickness_um : float or None
        One of them for cells with lithium in excess.
    cathode_loading_mAh_per_cm2 : float or None
    stack_mode : str
        ``constant-gap``, ``constant-pressure`` or ``unknown``.
    stack_pressure_kPa : float or None
    formation : str
        The formation protocol in words or by name.
    mediator : str or None
        Redox mediator in the electrolyte, if any.
    oxidised_electrode : str or None
        Which electrode is oxidised at positive cell voltage: ``li`` on Li||Cu, ``positive`` on
        Li||Li.
    """

    name: str
    format: CellFormat
    area_cm2: float
    nominal_capacity_Ah: float
    lower_cut_off_V: float
    upper_cut_off_V: float
    cathode: str
    electrolyte_family: ElectrolyteFamily
    electrolyte: str
    negative_to_positive_ratio: float | None = None
    lithium_thickness_um: float | None = None
    cathode_loading_mAh_per_cm2: float | None = None
    stack_mode: str = "unknown"
    stack_pressure_kPa: float | None = None
    formation: str = "formation"
    mediator: str | None = None
    oxidised_electrode: str | None = None

    def current_A(self, current_density_mA_per_cm2: float) -> float:
        """Return the current in A of a density in mA/cm2."""
        return current_density_mA_per_cm2 * self.area_cm2 * 1e-3

    def current_density_mA_per_cm2(self, current_A: float) -> float:
        """Return the current density in mA/cm2 of a current in A."""
        return current_A / self.area_cm2 * 1e3

    def c_rate(self, current_A: float) -> float:
        """Return the C-rate (1/h) of a current in A, by nominal capacity."""
        return current_A / self.nominal_capacity_Ah

    def c_rate_current_A(self, c_rate: float) -> float:
        """Return the current in A of a C-rate in 1/h."""
        return c_rate * self.nominal_capacity_Ah


@dataclass(frozen=True, slots=True, kw_only=True)
class Levels:
    """One limit at three levels.

    `operate`: commands beyond it are refused. `warn`: told. `trip`: output off, latched.
    """

    operate: float
    warn: float
    trip: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinuousEnvelope:
    """Limits that hold at all times outside a pulse envelope; no field has a default.

    Currents are magnitudes (A). Temperatures in K.
    """

    voltage_min_V: Levels
    voltage_max_V: Levels
    charge_current_max_A: Levels
    discharge_current_max_A: Levels
    temperature_min_K: Levels
    temperature_max_K: Levels


@dataclass(frozen=True, slots=True, kw_only=True)
class PulseEnvelope:
    """A named exception to the continuous envelope, written by the cell's owner.

    Attributes
    ----------
    name : str
        What a protocol requests it by.
    max_current_A : float
        Magnitude, either direction.
    min_voltage_V, max_voltage_V : float
    max_on_s, min_off_s : float
        Longest time open, shortest time between two openings.
    max_charge_Ah : float
        Gross charge per opening.
    max_count : int
        Openings in the life of the run.
    max_temperature_K : float
    """

    name: str
    max_current_A: float
    min_voltage_V: float
    max_voltage_V: float
    max_on_s: float
    min_off_s: float
    max_charge_Ah: float
    max_count: int
    max_temperature_K: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CellLimits:
    """Everything the supervisor holds the run to.

    Attributes
    ----------
    continuous : ContinuousEnvelope
    pulse_envelopes : tuple of PulseEnvelope
    max_half_cycle_charge_Ah : float
        Charge in one direction without a reversal; more is a trip (overcharge, short).
    max_half_cycle_s : float
        Time with current in one direction without a reversal; more is a trip.
    max_unchanged_s : float
        Longest time without a fresh valid sample before the cell is rested (s).
    copper_potential_operate_V, copper_potential_trip_V : float
        Upper-bound Cu potential vs Li = cathode OCV - cell voltage; NaN where there is no Cu.
    cathode_ocv_upper_V : float
        The cathode's OCV bound used for it: the highest the cathode can have (V vs Li), 0 for a
        lithium foil; NaN where there is no Cu.
    """

    continuous: ContinuousEnvelope
    pulse_envelopes: tuple[PulseEnvelope, ...]
    max_half_cycle_charge_Ah: float
    max_half_cycle_s: float
    max_unchanged_s: float
    copper_potential_operate_V: float
    copper_potential_trip_V: float
    cathode_ocv_upper_V: float
