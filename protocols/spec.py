"""Recipes as data: what a chemist reads aloud, validated, with every unit in its key.

A recipe is a TOML file. Quantities are numbers, or the name of one of the recipe's own parameters
with the same unit; C-rates may also be written ``"C/3"``, ``"2C"`` or ``"base"`` (the rate of base
cycling); voltages may be ``"cut-off"`` (the cell's own). A step without an end cannot be written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PlainValidator,
    model_validator,
)

from controller.domain.cell import CellFormat

SCHEMA: Final = 1
CUT_OFF: Final = "cut-off"
BASE: Final = "base"

# The length of an open-circuit check after a fast treatment (rules of the field; assumed).
OCV_CHECK_S: Final = 1800.0

MAX_REPEATS: Final = 1000  # assumed; keeps a resolved recipe small

_SECONDS_PER: Final = {"s": 1.0, "min": 60.0, "h": 3600.0}


class Kind(StrEnum):
    """What a recipe is for."""

    FORMATION = "formation"
    BASE = "base"
    ANCHOR = "anchor"
    REFERENCE_TEST = "reference-test"
    TREATMENT = "treatment"


class Placement(StrEnum):
    """Where in a cell's life a treatment goes."""

    AFTER_CHARGE = "after-charge"
    AFTER_DISCHARGE = "after-discharge"
    BEFORE_FIRST_CYCLE = "before-first-cycle"
    BETWEEN_CYCLES = "between-cycles"
    MID_CHARGE = "mid-charge"  # half the nominal capacity into the charge


class Allowed(StrEnum):
    """How well a recipe stands on a cell format."""

    EVIDENCE = "evidence"
    PRIOR_ONLY = "prior-only"
    REFUSED = "refused"


class Basis(StrEnum):
    """Where a statement or a number comes from."""

    PUBLISHED = "published"
    KNOWN = "known"
    ASSUMED = "assumed"


class Provenance(StrEnum):
    """How we know what the source says."""

    PAPER = "paper"  # read in the paper itself: abstract, first page or figure text
    PRESS = "press"  # press release or news
    CODE = "code"  # public source code
    REVIEW = "review"  # only a review says it
    DERIVED = "derived"  # own arithmetic
    OWN = "own"  # our assumption


class Benefit(StrEnum):
    """What a recipe may be credited with."""

    NONE = "none"
    RECOVERED = "recovered"  # lithium given back: counts towards recovered_mAh
    PREVENTION = "prevention"  # lower later loss; never recovered_mAh


class Control(StrEnum):
    """What a withheld opportunity gets instead."""

    NONE = "none"  # nothing: cycling goes on
    SHAM = "sham"  # the recipe's sham steps


class Phase(StrEnum):
    """The four parts of a treatment."""

    ARM = "arm"
    EXECUTE = "execute"
    RECOVER = "recover"
    EVALUATE = "evaluate"


def parse_c_rate(text: str) -> float | None:
    """Return the rate (1/h) of ``"C/3"``, ``"2C"`` or ``"C"``; None if `text` is none of these."""
    try:
        if text.startswith("C/"):
            rate = 1.0 / float(text[2:])
        elif text.endswith("C"):
            rate = float(text[:-1] or "1")
        else:
            return None
    except (ValueError, ZeroDivisionError):
        return None
    return rate if math.isfinite(rate) and rate > 0.0 else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _positive(value: object) -> float | str:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int | float) and _is_number(value) and value > 0:
        return float(value)
    raise ValueError("must be a number above 0, or the name of a parameter")


def _c_rate(value: object) -> float | str:
    if isinstance(value, str):
        rate = parse_c_rate(value)
        return value if rate is None else rate
    return _positive(value)


def _voltage(value: object) -> float | str:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int | float) and _is_number(value):
        return float(value)
    raise ValueError('must be a voltage in V, "cut-off", or the name of a parameter')


def _count(value: object) -> int | str:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MAX_REPEATS:
        return value
    raise ValueError(f"must be a whole number 1 ... {MAX_REPEATS}, or the name of a parameter")


def _parameter_value(value: object) -> float:
    if isinstance(value, str):
        rate = parse_c_rate(value)
        if rate is not None:
            return rate
    elif isinstance(value, int | float) and _is_number(value):
        return float(value)
    raise ValueError('must be a finite number, or a rate such as "C/3"')


Positive = Annotated[float | str, PlainValidator(_positive)]
CRate = Annotated[float | str, PlainValidator(_c_rate)]
Voltage = Annotated[float | str, PlainValidator(_voltage)]
Count = Annotated[int | str, PlainValidator(_count)]
ParameterValue = Annotated[float, PlainValidator(_parameter_value)]
Text = Annotated[str, Field(min_length=1)]
Fraction = Annotated[FiniteFloat, Field(ge=0.0, le=1.0)]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


def _exactly_one(model: BaseModel, *keys: str) -> None:
    given = [key for key in keys if getattr(model, key) is not None]
    if len(given) != 1:
        raise ValueError(f"give exactly one of {', '.join(keys)}; got {len(given)}")


def _at_most_one(model: BaseModel, *keys: str) -> None:
    given = [key for key in keys if getattr(model, key) is not None]
    if len(given) > 1:
        raise ValueError(f"give at most one of {', '.join(keys)}; got {', '.join(given)}")


class _StepBase(_Model):
    say: str = ""
    phase: Phase | None = None
    period_s: Annotated[FiniteFloat, Field(gt=0.0)] | None = None


class RestStep(_StepBase):
    """Zero current, voltage measured, for a given time.

    `ocv_check` marks the 30 min check that must come before charging after a fast treatment.
    `anchor` marks the rest in which a symmetric cell stands at equal net charge.
    `only_if_faster_than_mA_per_cm2` keeps the rest only where a step of the recipe is faster.
    """

    do: Literal["rest"]
    duration_s: Positive | None = None
    duration_min: Positive | None = None
    duration_h: Positive | None = None
    ocv_check: bool = False
    anchor: bool = False
    only_if_faster_than_mA_per_cm2: Annotated[FiniteFloat, Field(gt=0.0)] | None = None

    @model_validator(mode="after")
    def _check(self) -> RestStep:
        _exactly_one(self, "duration_s", "duration_min", "duration_h")
        return self


class _CurrentStep(_StepBase):
    current_density_mA_per_cm2: Positive | None = None
    c_rate: CRate | None = None
    in_envelope: bool = False

    @model_validator(mode="after")
    def _check_current(self) -> _CurrentStep:
        _exactly_one(self, "current_density_mA_per_cm2", "c_rate")
        return self


class _FlowStep(_CurrentStep):
    """Constant current until a voltage, a charge or a held voltage's falling current."""

    until_current_c_rate: CRate | None = None
    charge_fraction_of_nominal: Positive | None = None
    charge_mAh_per_cm2: Positive | None = None
    charge_as_in_step: Text | None = None
    max_duration_s: Positive | None = None
    max_duration_min: Positive | None = None
    max_duration_h: Positive | None = None

    @model_validator(mode="after")
    def _check_ends(self) -> _FlowStep:
        _at_most_one(self, "charge_fraction_of_nominal", "charge_mAh_per_cm2", "charge_as_in_step")
        _at_most_one(self, "max_duration_s", "max_duration_min", "max_duration_h")
        if self.until_current_c_rate is not None:
            # The tail of a held voltage has no length of its own: it has to be bounded.
            _exactly_one(self, "max_duration_s", "max_duration_min", "max_duration_h")
        return self


class ChargeStep(_FlowStep):
    """Charge at constant current; ends at the voltage, or the charge if that comes first."""

    do: Literal["charge"]
    up_to_voltage_V: Voltage = CUT_OFF


class DischargeStep(_FlowStep):
    """Discharge at constant current; ends at the voltage, or the charge if that comes first."""

    do: Literal["discharge"]
    down_to_voltage_V: Voltage = CUT_OFF
    closes_half_cycle: bool = False


class HoldStep(_CurrentStep):
    """Hold a cut-off until the current has fallen, at most for a given time."""

    do: Literal["hold"]
    at: Literal["upper-cut-off", "lower-cut-off"]
    until_current_c_rate: CRate
    max_duration_s: Positive | None = None
    max_duration_min: Positive | None = None
    max_duration_h: Positive | None = None
    anchor: bool = False

    @model_validator(mode="after")
    def _check_duration(self) -> HoldStep:
        _exactly_one(self, "max_duration_s", "max_duration_min", "max_duration_h")
        return self


class PulseStep(_CurrentStep):
    """Current in one direction for a fixed time; the voltage bound caps it, nothing else ends it.

    `device_timed`: the instrument itself ends the pulse, with its output off. `polarity_probe`: the
    voltage must move with the current, by more than noise; otherwise the treatment is abandoned.
    """

    do: Literal["pulse"]
    direction: Literal["charge", "discharge"]
    duration_s: Positive
    voltage_bound_V: Voltage = CUT_OFF
    device_timed: bool = False
    polarity_probe: bool = False

    @model_validator(mode="after")
    def _check_probe(self) -> PulseStep:
        if self.polarity_probe and self.device_timed:
            raise ValueError("a polarity_probe is read while it lasts; it cannot be device_timed")
        return self


SimpleStep = Annotated[
    RestStep | ChargeStep | DischargeStep | HoldStep | PulseStep, Field(discriminator="do")
]


class RepeatStep(_Model):
    """The same steps several times over."""

    do: Literal["repeat"]
    times: Count
    steps: Annotated[tuple[SimpleStep, ...], Field(min_length=1)]


PlainStep = RestStep | ChargeStep | DischargeStep | HoldStep | PulseStep
AnyStep = Annotated[
    RestStep | ChargeStep | DischargeStep | HoldStep | PulseStep | RepeatStep,
    Field(discriminator="do"),
]


class Evidence(_Model):
    """One statement and what it stands on.

    `doi_confirmed` is False where the DOI was not checked against the publisher.
    """

    statement: Text
    basis: Basis
    source: Text
    provenance: Provenance
    doi: str = ""
    doi_confirmed: bool = False


class Applicability(_Model):
    """Whether a recipe may be used on a cell format, and why.

    `prior_gain_mean_mAh_per_cm2` replaces the recipe's prior on this format.
    """

    allowed: Allowed
    reason: Text
    prior_gain_mean_mAh_per_cm2: FiniteFloat | None = None


class Parameter(_Model):
    """A free number of the recipe, with the range in which it may be set; unit in its name."""

    value: ParameterValue
    lowest: ParameterValue
    highest: ParameterValue
    basis: Basis
    source: Text

    @model_validator(mode="after")
    def _check(self) -> Parameter:
        if not self.lowest <= self.value <= self.highest:
            raise ValueError(
                f"value {self.value:g} is outside lowest {self.lowest:g} ... "
                f"highest {self.highest:g}"
            )
        return self


class Conditions(_Model):
    """What has to hold before the recipe may run. Recipes narrow the general rules, never widen.

    Attributes
    ----------
    anode_limited_end_before : bool
        The last discharge ended at the end-of-strip knee (formats that can reach it).
    device_enforced_lower_voltage_above_c_rate : float
        Faster discharge needs an instrument that keeps the lower voltage itself (1/h, <= 0.5).
    strip_at_most_fraction_of_active_lithium : float
        Of the lower 95 % bound, for discharge above that rate (<= 0.5).
    min_temperature_degC, max_temperature_degC : float or None
        A lower one makes a thermometer necessary; the upper one is enforced where there is one.
    temperature_within_K : float or None
        Anchors: two of them compare only when their temperatures differ by no more.
    min_state_of_charge, max_state_of_charge : float
        Window in which the executing steps may stand.
    max_since_charge_end_min : float or None
    mediator_declared, once_only, no_short_sign : bool
    oxidised_electrode_declared : bool
        Li||Li says which electrode is treated; Li||Cu must have the Li foil oxidised.
    """

    anode_limited_end_before: bool = False
    device_enforced_lower_voltage_above_c_rate: Annotated[FiniteFloat, Field(gt=0, le=0.5)] = 0.5
    strip_at_most_fraction_of_active_lithium: Annotated[FiniteFloat, Field(gt=0, le=0.5)] = 0.5
    min_temperature_degC: FiniteFloat | None = None
    max_temperature_degC: Annotated[FiniteFloat, Field(le=45.0)] | None = None
    temperature_within_K: Annotated[FiniteFloat, Field(gt=0)] | None = None
    min_state_of_charge: Fraction = 0.0
    max_state_of_charge: Fraction = 1.0
    max_since_charge_end_min: Annotated[FiniteFloat, Field(gt=0)] | None = None
    mediator_declared: bool = False
    once_only: bool = False
    no_short_sign: bool = False
    oxidised_electrode_declared: bool = False


class Dose(_Model):
    """Bounds of one application of a pulse treatment; its executing steps are summed.

    `max_energy_J_per_cm2` is compared with gross charge times the larger voltage bound.
    """

    max_gross_charge_mAh_per_cm2: Annotated[FiniteFloat, Field(gt=0)]
    max_net_fraction_of_gross: Annotated[FiniteFloat, Field(ge=0, le=1)]
    max_pulse_count: Annotated[int, Field(ge=1)]
    max_energy_J_per_cm2: Annotated[FiniteFloat, Field(gt=0)]
    basis: Basis


class PriorGain(_Model):
    """What one application is believed to give before the cell has said anything."""

    mean_mAh_per_cm2: FiniteFloat
    sd_mAh_per_cm2: Annotated[FiniteFloat, Field(gt=0)]
    basis: Basis
    source: Text


class Price(_Model):
    """What an application may cost besides hours: for whoever chooses it, no rule reads it."""

    risk_mAh_per_cm2: Annotated[FiniteFloat, Field(ge=0)]
    basis: Basis
    note: Text


class Recipe(_Model):
    """One recipe file.

    Attributes
    ----------
    schema_version : int
        Key ``schema`` in the file.
    name, title, summary : str
    kind : Kind
    placement : Placement or None
        Treatments only.
    benefit : Benefit
    controls : tuple of Control
        What a withheld opportunity may get instead.
    sham_placement : Placement or None
        Where the control goes; None is where the treatment goes.
    sham_reason : str
        Why these controls.
    needs_anchor : bool
        Treated and withheld arms both end at an anchor state (formats that have one). Said to
        the reader: a run anchors every opportunity.
    may_act_as_treatment : bool
        A diagnostic that may itself change the cell. Said to the reader.
    pulse_envelope : str
        Name of the pulse envelope it requests from the cell's owner; empty for none.
    evidence, applicability, conditions, dose, prior_gain, price, parameters
        See the classes of these names.
    steps, sham_steps : tuple of steps
    """

    schema_version: int = Field(alias="schema")
    name: Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$")]
    title: Text
    summary: Text
    kind: Kind
    placement: Placement | None = None
    benefit: Benefit = Benefit.NONE
    controls: tuple[Control, ...] = ()
    sham_placement: Placement | None = None
    sham_reason: str = ""
    needs_anchor: bool = False
    may_act_as_treatment: bool = False
    pulse_envelope: str = ""
    evidence: Annotated[tuple[Evidence, ...], Field(min_length=1)]
    applicability: Mapping[CellFormat, Applicability]
    conditions: Conditions = Conditions()
    dose: Dose | None = None
    prior_gain: PriorGain | None = None
    price: Price
    parameters: Mapping[str, Parameter] = Field(default_factory=dict)
    steps: Annotated[tuple[AnyStep, ...], Field(min_length=1)]
    sham_steps: tuple[AnyStep, ...] = ()


# Units a key or a parameter may end in, longest first so that "mAh_per_cm2" is not read as less.
UNITS: Final = (
    "fraction_of_nominal",
    "mAh_per_cm2",
    "mA_per_cm2",
    "c_rate",
    "count",
    "min",
    "V",
    "s",
    "h",
)


def unit_of(key: str) -> str:
    """Return the unit a key ends in (``"current_density_mA_per_cm2"`` -> ``"mA_per_cm2"``).

    Returns
    -------
    str
        Empty if the key ends in none of `UNITS`.
    """
    for unit in UNITS:
        if key == unit or key.endswith("_" + unit):
            return unit
    return "count" if key == "times" else ""


def plain_steps(steps: Sequence[PlainStep | RepeatStep]) -> Iterator[tuple[str, PlainStep]]:
    """Yield each written step once, with its place (``"0"``, ``"2.steps.1"``)."""
    for index, step in enumerate(steps):
        if isinstance(step, RepeatStep):
            for inner, nested in enumerate(step.steps):
                yield f"{index}.steps.{inner}", nested
        else:
            yield str(index), step


# Keys of steps that hold a quantity and so may name a parameter.
QUANTITY_KEYS: Final = (
    "current_density_mA_per_cm2",
    "c_rate",
    "until_current_c_rate",
    "charge_fraction_of_nominal",
    "charge_mAh_per_cm2",
    "duration_s",
    "duration_min",
    "duration_h",
    "max_duration_s",
    "max_duration_min",
    "max_duration_h",
    "up_to_voltage_V",
    "down_to_voltage_V",
    "voltage_bound_V",
)


def duration_s(step: PlainStep, recipe: Recipe, stem: str) -> float | None:
    """Return the time of keys ``<stem>_s``, ``<stem>_min`` or ``<stem>_h`` of a step (s)."""
    for unit, seconds in _SECONDS_PER.items():
        value = getattr(step, f"{stem}_{unit}", None)
        if value is not None:
            return number(value, recipe) * seconds
    return None


def number(value: float | str, recipe: Recipe) -> float:
    """Return a quantity's number, looking up parameters; `value` is not ``"base"`` or a cut-off."""
    return recipe.parameters[value].value if isinstance(value, str) else value
