"""Figures of a cycle, resistances, lithium lost: each a value, a standard uncertainty, a label."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from controller.domain.sample import NAN


class CycleKind(StrEnum):
    """What a cycle was for. Only `BASE` cycles enter trends and effects."""

    FORMATION = "formation"
    BASE = "base"
    REFERENCE = "reference"


class DischargeEnd(StrEnum):
    """Which electrode, or the polarisation, ended a discharge."""

    ANODE = "anode-limited"
    CATHODE = "cathode-limited"
    POLARISATION = "polarisation-limited"
    UNKNOWN = "unknown"


class Label(StrEnum):
    """How an estimate came about; no report calls prior-dominated figures measured."""

    MEASURED = "measured"
    BOUND = "bound"
    PRIOR_DOMINATED = "prior-dominated"
    UNKNOWN = "unknown"


# Flags of a cycle whose currents are not the cell's: in other units, or of the wrong sign.
UNITS_IMPLAUSIBLE: Final = "units-implausible"
SIGN_IMPLAUSIBLE: Final = "sign-implausible"
MISREAD: Final = frozenset({UNITS_IMPLAUSIBLE, SIGN_IMPLAUSIBLE})
# Flag of a cycle in which a regulated voltage moved: what flowed between two readings is not known.
NOT_HELD: Final = "voltage-not-held"
# Flags of a cycle in which the run was interrupted, and of one that says nothing of a treatment.
INTERRUPTED: Final = frozenset({"unobserved-charge", "interrupted"})
SPOILS_EFFECT: Final = (
    MISREAD | INTERRUPTED | {"treatment-abandoned", "gap", "time-reset", NOT_HELD}
)
# Cycles after an interruption that say nothing of a treatment either.
EXCLUDED_AFTER_INTERRUPTION: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Resistance:
    """A resistance from one change of current.

    `kind` says what it holds, e.g. ``"step 1 s"`` or ``"sum R0+R1, 120 ms"``.
    """

    t_s: float
    cycle: int
    kind: str
    value_Ohm: float
    u_Ohm: float


class RangeErrors(NamedTuple):
    """What the errors of one current range add to a cycle's net charge.

    Attributes
    ----------
    range_A : float
        Full scale; 0 where it is not known.
    gain_Ah, offset_Ah : float
        What one standard uncertainty of gain and of offset add, with their signs. Both errors are
        the same in every cycle.
    """

    range_A: float
    gain_Ah: float
    offset_Ah: float


def range_errors(plain: Iterable[Iterable[float]]) -> tuple[RangeErrors, ...]:
    """Return the errors from their plain form, as JSON has it."""
    return tuple(RangeErrors(*one) for one in plain)


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleFigures:
    """One cycle's figures; standard uncertainties; charge in Ah, magnitudes.

    Attributes
    ----------
    cycle : int
    kind : CycleKind
    charge_Ah, discharge_Ah, u_charge_Ah, u_discharge_Ah : float
        Gross: every charge that flowed, whatever its tag.
    net_charge_Ah, u_net_charge_Ah : float
        Discharge minus charge.
    net_errors : tuple of RangeErrors
        What of `u_net_charge_Ah` is the same in every cycle, by current range.
    base_charge_Ah, base_discharge_Ah : float
        Without what treatments and diagnostics moved.
    treatment_net_charge_Ah, diagnostic_net_charge_Ah : float
        Discharge minus charge within treatment and diagnostic steps.
    coulombic_efficiency, u_coulombic_efficiency : float or None
        Gross, by the cell's format; None where the format gives none.
    coulombic_efficiency_base : float or None
        The same from base charge alone.
    discharge_end : DischargeEnd
    discharge_end_probability : float
    resistance_Ohm, u_resistance_Ohm : float
        Last step resistance of the cycle; NaN where there was none.
    discharge_A : float
        Largest current of the discharge (mean of a second), a strip's included; 0 without one.
    first_second_Ohm, slow_Ohm : float
        Of the first step from rest into discharge: in its first second, and what 5 min add; NaN
        where readings or steps do not tell.
    lithium_lost_Ah, u_lithium_lost_Ah, lithium_lost_low_Ah, lithium_lost_high_Ah : float
        Cumulative since cycle 1, with its 95 % interval, by `lithium_lost_label`.
    lithium_lost_label : Label
    lithium_returned_Ah, u_lithium_returned_Ah : float
        What came back in this cycle at least; 0 where nothing is seen to.
    side_charge_low_Ah, side_charge_high_Ah : float
        95 % interval of the charge that shuttle, shorts and oxidation have taken since cycle 1.
    self_discharge_A, u_self_discharge_A : float
        Current that fills the cathode in a charged rest, from the decay of its voltage; NaN without
        such a rest of an hour.
    soft_short_probability : float
        That the cycle shows a soft short; NaN while there is nothing to compare it with.
    soft_short_evidence : str
        In words, what spoke for one.
    duration_s : float
    charging_s : float
        Time in which charge flowed in; NaN where not counted, as what follows.
    charge_end_A : float
        Current with which the last charge ended: small where a voltage was held.
    charge_top_V : float
        Highest voltage while charge flowed in.
    spent_before_s, spent_s : float
        Time after a discharge had come to its lower cut-off, until the next charge: before this
        cycle's first charge, and all in all.
    high_s : float
        Time near the upper cut-off.
    mean_temperature_K : float
    unobserved_charge_Ah : float
        Half width of the interval of charge that flowed unobserved (crash, lost link).
    anchored : bool
        The cycle ended in an anchor state.
    flags : tuple of str
    """

    cycle: int
    kind: CycleKind
    charge_Ah: float
    u_charge_Ah: float
    discharge_Ah: float
    u_discharge_Ah: float
    net_charge_Ah: float
    u_net_charge_Ah: float
    base_charge_Ah: float
    base_discharge_Ah: float
    treatment_net_charge_Ah: float
    diagnostic_net_charge_Ah: float
    coulombic_efficiency: float | None
    u_coulombic_efficiency: float | None
    coulombic_efficiency_base: float | None
    discharge_end: DischargeEnd
    discharge_end_probability: float
    resistance_Ohm: float = NAN
    u_resistance_Ohm: float = NAN
    discharge_A: float = NAN
    first_second_Ohm: float = NAN
    slow_Ohm: float = NAN
    lithium_lost_Ah: float = NAN
    u_lithium_lost_Ah: float = NAN
    lithium_lost_low_Ah: float = NAN
    lithium_lost_high_Ah: float = NAN
    lithium_lost_label: Label = Label.UNKNOWN
    lithium_returned_Ah: float = NAN
    u_lithium_returned_Ah: float = NAN
    side_charge_low_Ah: float = NAN
    side_charge_high_Ah: float = NAN
    self_discharge_A: float = NAN
    u_self_discharge_A: float = NAN
    soft_short_probability: float = NAN
    soft_short_evidence: str = ""
    duration_s: float = NAN
    charging_s: float = NAN
    charge_end_A: float = NAN
    charge_top_V: float = NAN
    spent_before_s: float = NAN
    spent_s: float = NAN
    high_s: float = NAN
    mean_temperature_K: float = NAN
    unobserved_charge_Ah: float = 0.0
    anchored: bool = False
    flags: tuple[str, ...] = ()
    net_errors: tuple[RangeErrors, ...] = ()
