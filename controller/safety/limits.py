"""The limits as the supervisor's kernels read them, and the checks on them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, NamedTuple

from controller.domain.cell import (
    UPPER_VOLTAGE_BY_FAMILY_V,
    ZERO_CELSIUS_K,
    CellFormat,
    CellLimits,
    CellSpec,
    ElectrolyteFamily,
    Levels,
    PulseEnvelope,
)
from controller.domain.errors import ConfigurationError, Fault

# Warn must lie this far beyond operate: the device holds the voltage on its bound, with noise.
# Assumed, 1-10 mV.
WARN_MARGIN_V: Final = 2e-3
# Largest voltage change between two readings that a cell can show: bare Cu moves over the whole
# window of 1.3 V. Assumed, 1.5-2.5 V.
STEP_JUMP_V: Final = 2.0
# Below this, in C-rate, a measured current counts as none. Assumed, 0.005-0.02 1/h.
ZERO_CURRENT_C_RATE: Final = 0.01
# A voltage that reads the same to the last digit over this share of capacity is not measured.
# Assumed, 0.01-0.05.
FROZEN_SHARE: Final = 0.02
# Highest trip temperatures: dilute ethers, and all others. Assumed (rules of the field).
TRIP_DILUTE_ETHER_K: Final = ZERO_CELSIUS_K + 45.0
TRIP_OTHER_K: Final = ZERO_CELSIUS_K + 60.0
# No treatment above this. Assumed.
TREATMENT_MAX_K: Final = ZERO_CELSIUS_K + 45.0
# Upper bounds of the Cu potential vs Li. Assumed; Cu oxidises above about 3.2 V.
COPPER_OPERATE_MAX_V: Final = {CellFormat.ANODE_FREE: 1.5, CellFormat.LI_CU: 1.0}
COPPER_TRIP_MAX_V: Final = {CellFormat.ANODE_FREE: 2.5, CellFormat.LI_CU: 2.0}
# The positive electrode of Li||Cu (V vs Li): by definition.
LITHIUM_FOIL_V: Final = 0.0
# Formats whose terminal voltage carries a cathode's potential.
WITH_CATHODE: Final = (CellFormat.ANODE_FREE, CellFormat.EXCESS_LITHIUM, CellFormat.FULL_CELL)


class PulseRecord(NamedTuple):
    """One pulse envelope in numbers (`controller.domain.cell.PulseEnvelope`)."""

    max_current_A: float
    min_voltage_V: float
    max_voltage_V: float
    max_on_s: float
    min_off_s: float
    max_charge_Ah: float
    max_count: int
    max_temperature_K: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsRecord:
    """All limits in numbers.

    A record with slots and no named tuple: the supervisor reads some forty of these fields for
    every sample, and a slot is read in a fifth of the time.

    Attributes
    ----------
    bound_min_V, bound_max_V : float
        Operate limits of the cell voltage: what a command's bound may be.
    voltage_min_warn_V, voltage_max_warn_V, voltage_min_trip_V, voltage_max_trip_V : float
    charge_operate_A, charge_warn_A, charge_trip_A : float
    discharge_operate_A, discharge_warn_A, discharge_trip_A : float
        Magnitudes.
    temperature_min_operate_K, temperature_min_warn_K, temperature_min_trip_K : float
    temperature_max_operate_K, temperature_max_warn_K, temperature_max_trip_K : float
    treatment_max_K : float
    temperature_declared : bool
        False: there is no thermometer and none of the temperature limits is enforced.
    copper_floor_operate_V, copper_floor_trip_V : float
        Cell voltage at which the upper bound of the Cu potential reaches operate and trip;
        minus infinity where there is no Cu.
    lower_cut_off_V, upper_cut_off_V : float
        Reaching one shows that a half cycle was complete.
    max_half_cycle_charge_Ah, max_half_cycle_s, max_unchanged_s : float
    zero_current_A : float
        A measured magnitude up to this counts as no current.
    step_jump_V : float
    frozen_charge_Ah : float
        Infinity where a constant voltage is normal (Li||Li).
    pulses : tuple of PulseRecord
        In the order of `CellLimits.pulse_envelopes`.
    """

    bound_min_V: float
    bound_max_V: float
    voltage_min_warn_V: float
    voltage_max_warn_V: float
    voltage_min_trip_V: float
    voltage_max_trip_V: float
    charge_operate_A: float
    charge_warn_A: float
    charge_trip_A: float
    discharge_operate_A: float
    discharge_warn_A: float
    discharge_trip_A: float
    temperature_min_operate_K: float
    temperature_min_warn_K: float
    temperature_min_trip_K: float
    temperature_max_operate_K: float
    temperature_max_warn_K: float
    temperature_max_trip_K: float
    treatment_max_K: float
    temperature_declared: bool
    copper_floor_operate_V: float
    copper_floor_trip_V: float
    lower_cut_off_V: float
    upper_cut_off_V: float
    max_half_cycle_charge_Ah: float
    max_half_cycle_s: float
    max_unchanged_s: float
    zero_current_A: float
    step_jump_V: float
    frozen_charge_Ah: float
    pulses: tuple[PulseRecord, ...]


def flatten(
    limits: CellLimits,
    cell: CellSpec,
    *,
    temperature_declared: bool,
    step_jump_V: float = STEP_JUMP_V,
    where: str = "limits",
) -> LimitsRecord:
    """Return `limits` in numbers for the supervisor, the strictest of cell, family and rules.

    Parameters
    ----------
    limits : CellLimits
    cell : CellSpec
    temperature_declared : bool
        Whether a thermometer is declared for the run.
    step_jump_V : float
        Largest plausible change of voltage between two readings (V).
    where : str
        File named in errors.

    Raises
    ------
    ConfigurationError
        Limits that contradict each other, the cell or the electrolyte; lists every fault.
    """
    faults = [
        *_number_faults(limits, cell, step_jump_V, where),
        *_order_faults(limits, where),
        *_cell_faults(limits, cell, where),
        *_copper_faults(limits, cell, where),
    ]
    for envelope in limits.pulse_envelopes:
        faults.extend(_envelope_faults(envelope, limits, cell, where))
    faults.extend(_name_faults(limits.pulse_envelopes, where))
    if faults:
        raise ConfigurationError(faults)
    continuous = limits.continuous
    strict_K = (
        TRIP_DILUTE_ETHER_K
        if cell.electrolyte_family in (ElectrolyteFamily.DILUTE_ETHER, ElectrolyteFamily.UNKNOWN)
        else TRIP_OTHER_K
    )
    return LimitsRecord(
        bound_min_V=continuous.voltage_min_V.operate,
        bound_max_V=continuous.voltage_max_V.operate,
        voltage_min_warn_V=continuous.voltage_min_V.warn,
        voltage_max_warn_V=continuous.voltage_max_V.warn,
        voltage_min_trip_V=continuous.voltage_min_V.trip,
        voltage_max_trip_V=continuous.voltage_max_V.trip,
        charge_operate_A=continuous.charge_current_max_A.operate,
        charge_warn_A=continuous.charge_current_max_A.warn,
        charge_trip_A=continuous.charge_current_max_A.trip,
        discharge_operate_A=continuous.discharge_current_max_A.operate,
        discharge_warn_A=continuous.discharge_current_max_A.warn,
        discharge_trip_A=continuous.discharge_current_max_A.trip,
        temperature_min_operate_K=continuous.temperature_min_K.operate,
        temperature_min_warn_K=continuous.temperature_min_K.warn,
        temperature_min_trip_K=continuous.temperature_min_K.trip,
        temperature_max_operate_K=min(continuous.temperature_max_K.operate, strict_K),
        temperature_max_warn_K=min(continuous.temperature_max_K.warn, strict_K),
        temperature_max_trip_K=min(continuous.temperature_max_K.trip, strict_K),
        treatment_max_K=TREATMENT_MAX_K,
        temperature_declared=temperature_declared,
        copper_floor_operate_V=_floor(limits, limits.copper_potential_operate_V),
        copper_floor_trip_V=_floor(limits, limits.copper_potential_trip_V),
        lower_cut_off_V=cell.lower_cut_off_V,
        upper_cut_off_V=cell.upper_cut_off_V,
        max_half_cycle_charge_Ah=limits.max_half_cycle_charge_Ah,
        max_half_cycle_s=limits.max_half_cycle_s,
        max_unchanged_s=limits.max_unchanged_s,
        zero_current_A=ZERO_CURRENT_C_RATE * cell.nominal_capacity_Ah,
        step_jump_V=step_jump_V,
        frozen_charge_Ah=(
            math.inf if cell.format is CellFormat.LI_LI else FROZEN_SHARE * cell.nominal_capacity_Ah
        ),
        pulses=tuple(
            PulseRecord(
                max_current_A=envelope.max_current_A,
                min_voltage_V=envelope.min_voltage_V,
                max_voltage_V=envelope.max_voltage_V,
                max_on_s=envelope.max_on_s,
                min_off_s=envelope.min_off_s,
                max_charge_Ah=envelope.max_charge_Ah,
                max_count=envelope.max_count,
                max_temperature_K=envelope.max_temperature_K,
            )
            for envelope in limits.pulse_envelopes
        ),
    )


def _floor(limits: CellLimits, copper_potential_V: float) -> float:
    """Return the cell voltage at which the Cu potential's bound is `copper_potential_V`.

    Rounded to 1 nV, so that a cut-off written in decimals compares equal.
    """
    if math.isnan(copper_potential_V):
        return -math.inf
    return round(limits.cathode_ocv_upper_V - copper_potential_V, 9)


def _named_levels(limits: CellLimits) -> tuple[tuple[str, Levels, bool], ...]:
    """Return (key, levels, ascending) of the continuous envelope."""
    continuous = limits.continuous
    return (
        ("voltage_min_V", continuous.voltage_min_V, False),
        ("voltage_max_V", continuous.voltage_max_V, True),
        ("charge_current_max_A", continuous.charge_current_max_A, True),
        ("discharge_current_max_A", continuous.discharge_current_max_A, True),
        ("temperature_min_K", continuous.temperature_min_K, False),
        ("temperature_max_K", continuous.temperature_max_K, True),
    )


def _must_be(
    where: str, key: str, value: float, *, positive: bool = False, zero_allowed: bool = False
) -> list[Fault]:
    """Return a fault where `value` is not finite, or not positive though it must be."""
    if not math.isfinite(value):
        return [Fault(where=where, key=key, problem=f"{value!r} is not a finite number")]
    if positive and (value < 0.0 or (value == 0.0 and not zero_allowed)):
        remedy = "give a magnitude of 0 or more" if zero_allowed else "give a magnitude above 0"
        return [Fault(where=where, key=key, problem=f"{value!r} is no magnitude", remedy=remedy)]
    return []


def _number_faults(
    limits: CellLimits, cell: CellSpec, step_jump_V: float, where: str
) -> list[Fault]:
    """Return what is not finite or has the wrong sign outside the pulse envelopes."""
    faults: list[Fault] = []
    for key, levels, _ in _named_levels(limits):
        magnitude = key.endswith(("_A", "_K"))
        for level, value in (
            ("operate", levels.operate),
            ("warn", levels.warn),
            ("trip", levels.trip),
        ):
            faults.extend(_must_be(where, f"{key}.{level}", value, positive=magnitude))
    for key, value in (
        ("max_half_cycle_charge_Ah", limits.max_half_cycle_charge_Ah),
        ("max_half_cycle_s", limits.max_half_cycle_s),
        ("max_unchanged_s", limits.max_unchanged_s),
        ("nominal_capacity_Ah", cell.nominal_capacity_Ah),
        ("step_jump_V", step_jump_V),
    ):
        faults.extend(_must_be(where, key, value, positive=True))
    return faults


def _order_faults(limits: CellLimits, where: str) -> list[Fault]:
    """Return levels that do not go from operate over warn to trip, and crossed windows."""
    faults: list[Fault] = []
    for key, levels, ascending in _named_levels(limits):
        sign = 1.0 if ascending else -1.0
        margin = WARN_MARGIN_V if key.startswith("voltage") else 0.0
        if sign * (levels.warn - levels.operate) < margin - 1e-9:
            faults.append(
                Fault(
                    where=where,
                    key=f"{key}.warn",
                    problem=f"{levels.warn!r} is not beyond operate {levels.operate!r}"
                    + (" by 2 mV, as the noise on the device's bound needs" if margin else ""),
                    remedy=f"{levels.operate + sign * margin:g} or beyond",
                )
            )
        if sign * (levels.trip - levels.warn) < 0.0:
            faults.append(
                Fault(
                    where=where,
                    key=f"{key}.trip",
                    problem=f"{levels.trip!r} is not beyond warn {levels.warn!r}",
                    remedy=f"{levels.warn:g} or beyond",
                )
            )
    continuous = limits.continuous
    for quantity, low, high in (
        ("voltage_max_V", continuous.voltage_min_V, continuous.voltage_max_V),
        ("temperature_max_K", continuous.temperature_min_K, continuous.temperature_max_K),
    ):
        if low.operate >= high.operate:
            faults.append(
                Fault(
                    where=where,
                    key=f"{quantity}.operate",
                    problem=f"{high.operate!r} is not above the lower limit {low.operate!r}",
                    remedy="exchange the two or widen the window",
                )
            )
    return faults


def _cell_faults(limits: CellLimits, cell: CellSpec, where: str) -> list[Fault]:
    """Return cut-offs outside operate and voltages above the electrolyte family's."""
    low_V = limits.continuous.voltage_min_V.operate
    high_V = limits.continuous.voltage_max_V.operate
    faults: list[Fault] = []
    for key, value in (
        ("lower_cut_off_V", cell.lower_cut_off_V),
        ("upper_cut_off_V", cell.upper_cut_off_V),
    ):
        if not low_V <= value <= high_V:
            faults.append(
                Fault(
                    where=where,
                    key=key,
                    problem=f"cut-off {value!r} V is outside operate, {low_V!r} to {high_V!r} V",
                    remedy=f"{min(max(low_V, value), high_V):g} V, or widen operate",
                )
            )
    if not cell.lower_cut_off_V < cell.upper_cut_off_V:
        faults.append(
            Fault(
                where=where,
                key="upper_cut_off_V",
                problem=f"{cell.upper_cut_off_V!r} V is not above lower_cut_off_V "
                f"{cell.lower_cut_off_V!r} V",
            )
        )
    family_V = UPPER_VOLTAGE_BY_FAMILY_V[cell.electrolyte_family]
    if high_V > family_V:
        faults.append(
            Fault(
                where=where,
                key="voltage_max_V.operate",
                problem=f"{high_V!r} V is above what electrolyte family "
                f"{cell.electrolyte_family.value!r} allows",
                remedy=f"{family_V:g} V or less, or declare the family",
            )
        )
    return faults


def _copper_faults(limits: CellLimits, cell: CellSpec, where: str) -> list[Fault]:
    """Return missing or too wide Cu limits, and a lower cut-off below the Cu floor."""
    operate_V = limits.copper_potential_operate_V
    trip_V = limits.copper_potential_trip_V
    has_copper = cell.format in COPPER_OPERATE_MAX_V
    if not has_copper and math.isnan(operate_V) and math.isnan(trip_V):
        return []
    faults: list[Fault] = []
    for key, value, highest_V in (
        ("copper_potential_operate_V", operate_V, COPPER_OPERATE_MAX_V.get(cell.format, math.inf)),
        ("copper_potential_trip_V", trip_V, COPPER_TRIP_MAX_V.get(cell.format, math.inf)),
        ("cathode_ocv_upper_V", limits.cathode_ocv_upper_V, math.inf),
    ):
        if not math.isfinite(value):
            faults.append(
                Fault(
                    where=where,
                    key=key,
                    problem=f"{value!r}: format {cell.format.value!r} needs a finite value",
                    remedy=f"at most {highest_V:g} V" if math.isfinite(highest_V) else "",
                )
            )
        elif value > highest_V:
            faults.append(
                Fault(
                    where=where,
                    key=key,
                    problem=f"{value!r} V is too high for format {cell.format.value!r}",
                    remedy=f"{highest_V:g} V or less",
                )
            )
    if cell.format is CellFormat.LI_CU and limits.cathode_ocv_upper_V < LITHIUM_FOIL_V:
        # a lower one would let Cu be driven up by as much without the bound showing it
        faults.append(
            Fault(
                where=where,
                key="cathode_ocv_upper_V",
                problem=f"{limits.cathode_ocv_upper_V!r} V is below that of a lithium foil",
                remedy=f"{LITHIUM_FOIL_V:g}",
            )
        )
    if faults:
        return faults
    if not operate_V < trip_V:
        faults.append(
            Fault(
                where=where,
                key="copper_potential_trip_V",
                problem=f"{trip_V!r} V is not above operate {operate_V!r} V",
            )
        )
    floor_V = _floor(limits, operate_V)
    if cell.lower_cut_off_V < floor_V:
        faults.append(
            Fault(
                where=where,
                key="lower_cut_off_V",
                problem=f"{cell.lower_cut_off_V!r} V lets the Cu potential rise above "
                f"{operate_V!r} V",
                remedy=f"{floor_V:g} V or more",
            )
        )
    return faults


def _envelope_faults(
    envelope: PulseEnvelope, limits: CellLimits, cell: CellSpec, where: str
) -> list[Fault]:
    """Return what is wrong with one pulse envelope."""
    key = f"pulse_envelopes.{envelope.name}"
    faults: list[Fault] = []
    for name, value, zero_allowed in (
        ("max_current_A", envelope.max_current_A, False),
        ("max_on_s", envelope.max_on_s, False),
        ("min_off_s", envelope.min_off_s, True),
        ("max_charge_Ah", envelope.max_charge_Ah, False),
        ("max_count", envelope.max_count, False),
        ("max_temperature_K", envelope.max_temperature_K, False),
    ):
        faults.extend(
            _must_be(where, f"{key}.{name}", value, positive=True, zero_allowed=zero_allowed)
        )
    for name, value in (
        ("min_voltage_V", envelope.min_voltage_V),
        ("max_voltage_V", envelope.max_voltage_V),
    ):
        faults.extend(_must_be(where, f"{key}.{name}", value))
    if envelope.min_voltage_V >= envelope.max_voltage_V:
        faults.append(
            Fault(
                where=where,
                key=f"{key}.max_voltage_V",
                problem=f"{envelope.max_voltage_V!r} is not above min_voltage_V "
                f"{envelope.min_voltage_V!r}",
            )
        )
    family_V = UPPER_VOLTAGE_BY_FAMILY_V[cell.electrolyte_family]
    if cell.format in WITH_CATHODE and envelope.max_voltage_V > family_V:
        faults.append(
            Fault(
                where=where,
                key=f"{key}.max_voltage_V",
                problem=f"{envelope.max_voltage_V!r} V is above what electrolyte family "
                f"{cell.electrolyte_family.value!r} allows",
                remedy=f"{family_V:g} V or less",
            )
        )
    floor_V = _floor(limits, limits.copper_potential_operate_V)
    if envelope.min_voltage_V < floor_V:
        faults.append(
            Fault(
                where=where,
                key=f"{key}.min_voltage_V",
                problem=f"{envelope.min_voltage_V!r} V lets the Cu potential rise above operate",
                remedy=f"{floor_V:g} V or more",
            )
        )
    return faults


def _name_faults(envelopes: tuple[PulseEnvelope, ...], where: str) -> list[Fault]:
    """Return names that are empty or used twice."""
    faults: list[Fault] = []
    seen: set[str] = set()
    for envelope in envelopes:
        if not envelope.name or envelope.name in seen:
            faults.append(
                Fault(
                    where=where,
                    key="pulse_envelopes",
                    problem=f"the name {envelope.name!r} is empty or used twice",
                    remedy="give each envelope a name of its own",
                )
            )
        seen.add(envelope.name)
    return faults
