"""Whether a recipe may run on this cell, within these limits, with this instrument, now.

Every "no" comes with its reason and what would change it. What the general rules demand holds for
any recipe, whether or not its file says so; a recipe's own conditions can only narrow them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, NamedTuple

from controller.domain.capabilities import ControlTier, CyclerCapabilities
from controller.domain.cell import (
    ON_COPPER,
    UPPER_VOLTAGE_BY_FAMILY_V,
    ZERO_CELSIUS_K,
    CellFormat,
    CellLimits,
    CellSpec,
    PulseEnvelope,
)
from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A
from controller.domain.errors import ConfigurationError, nearest
from controller.domain.sample import NAN
from controller.domain.step import FAST_PERIOD_S, Stage, Step
from controller.domain.units import SECONDS_PER_HOUR
from protocols.resolve import BASE_C_RATE, Expected, expect, resolve, start_charge_Ah
from protocols.spec import (
    OCV_CHECK_S,
    Allowed,
    Kind,
    Placement,
    Recipe,
)

# Above it a treatment needs an open-circuit check, and a cell with a short sign gets none.
# Assumed, 2-6 mA/cm2.
FAST_TREATMENT_MA_PER_CM2: Final = 4.0
# Plating current falls linearly from here to 0 (degC); assumed.
FULL_PLATING_DEGC: Final = 15.0
NO_PLATING_DEGC: Final = 0.0
# No treatment above it (degC); assumed.
NO_TREATMENT_ABOVE_DEGC: Final = 45.0
# Plating above base rate that moves less than this part of nominal capacity is a probe, not a
# treatment; assumed, 0.0005-0.005.
PROBE_FRACTION: Final = 1e-3
# Strip cut-off of Li||Cu, as a cell voltage with the lithium foil at the positive terminal (V).
LI_CU_STRIP_CUT_OFF_V: Final = -1.0
# Relative room for rounding in comparisons of what the recipe asks and what the owner allows.
ROUNDING: Final = 1e-9

_CATHODE_FORMATS: Final = frozenset(
    {CellFormat.ANODE_FREE, CellFormat.EXCESS_LITHIUM, CellFormat.FULL_CELL}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One reason against a recipe.

    Attributes
    ----------
    recipe : str
    where : str
        Step (``"step 3: fast strip"``) or key the reason belongs to.
    reason : str
    remedy : str
        What would change it; empty where nothing does.
    """

    recipe: str
    where: str
    reason: str
    remedy: str = ""

    def __str__(self) -> str:
        text = f"{self.recipe}: {self.where}: {self.reason}"
        return f"{text} ({self.remedy})" if self.remedy else text


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckState:
    """What is known of the cell at the moment of an application. Unknown figures are NaN.

    Attributes
    ----------
    temperature_K : float
    active_lithium_lower_Ah : float
        Lower 95 % bound of active lithium on the negative electrode.
    anode_limited_end : bool
        The last discharge ended at the end-of-strip knee.
    short_sign : bool
        A soft short is suspected.
    cycles_done : int
    formation_over : bool
        Formation and the drift after it have ended.
    since_charge_end_s : float
    times_done : mapping of str to int
        Applications so far, by recipe.
    envelope_openings : mapping of str to int
        Openings so far, by pulse envelope.
    """

    temperature_K: float = NAN
    active_lithium_lower_Ah: float = NAN
    anode_limited_end: bool = False
    short_sign: bool = False
    cycles_done: int = 0
    formation_over: bool = False
    since_charge_end_s: float = NAN
    times_done: Mapping[str, int] = field(default_factory=dict)
    envelope_openings: Mapping[str, int] = field(default_factory=dict)


class _Question(NamedTuple):
    """Everything a rule may look at."""

    recipe: Recipe
    cell: CellSpec
    limits: CellLimits
    capabilities: CyclerCapabilities
    temperature_source: str
    state: CheckState | None
    steps: tuple[Step, ...]
    timeline: list[Expected]
    base_c_rate: float

    def refuse(self, where: str, reason: str, remedy: str = "") -> Refusal:
        return Refusal(recipe=self.recipe.name, where=where, reason=reason, remedy=remedy)

    def density(self, step: Step) -> float:
        """Return the magnitude of a step's current density (mA/cm2)."""
        return abs(self.cell.current_density_mA_per_cm2(step.current_A))


def check(  # noqa: PLR0913 - one question names everything its answer hangs on
    recipe: Recipe,
    cell: CellSpec,
    limits: CellLimits,
    capabilities: CyclerCapabilities,
    *,
    temperature_source: str = "none",
    state: CheckState | None = None,
    sham: bool = False,
    base_c_rate: float = BASE_C_RATE,
) -> list[Refusal]:
    """Return every reason against running a recipe; an empty list accepts it.

    Parameters
    ----------
    recipe : Recipe
    cell : CellSpec
    limits : CellLimits
        As written by the cell's owner.
    capabilities : CyclerCapabilities
    temperature_source : str
        ``"none"``, ``"auxiliary"`` or ``"cycler"``.
    state : CheckState or None
        With None only what does not depend on the moment is judged.
    sham : bool
        Judge the control steps instead.
    base_c_rate : float
        What ``"base"`` means (1/h).

    Returns
    -------
    list of Refusal
        Each reason once, with the first step it holds for.
    """
    use = recipe.applicability[cell.format]
    if use.allowed is Allowed.REFUSED:
        # Nothing else is worth saying, and its steps may make no sense on this format.
        where = f"applicability.{cell.format}"
        return [Refusal(recipe=recipe.name, where=where, reason=use.reason)]
    try:
        steps = resolve(recipe, cell, sham=sham, base_c_rate=base_c_rate)
    except ConfigurationError as error:
        return [
            Refusal(recipe=recipe.name, where=fault.key, reason=fault.problem, remedy=fault.remedy)
            for fault in error.faults
        ]
    own = recipe.parameters.get("base_c_rate")
    question = _Question(
        recipe,
        cell,
        limits,
        capabilities,
        temperature_source,
        state,
        steps,
        expect(steps, cell, start_charge_Ah(recipe, cell)),
        own.value if own is not None else base_c_rate,
    )
    found: dict[str, Refusal] = {}
    for rule in _RULES:
        for refusal in rule(question):
            found.setdefault(refusal.reason, refusal)
    return list(found.values())


def _at(index: int, step: Step) -> str:
    return f"step {index + 1}: {step.name}"


def _runs(steps: tuple[Step, ...]) -> Iterator[tuple[str, list[int]]]:
    """Yield (envelope, indices) of each opening: neighbouring steps in one envelope."""
    run: list[int] = []
    for index, step in enumerate(steps):
        if run and step.envelope != steps[run[-1]].envelope:
            yield steps[run[0]].envelope, run
            run = []
        if step.envelope:
            run.append(index)
    if run:
        yield steps[run[0]].envelope, run


def _worst_charge_Ah(step: Step) -> float:
    """Return the most a step can move (Ah, magnitude): one reading late, or to its last second."""
    magnitude_A = abs(step.current_A)
    longest_Ah = magnitude_A * step.max_duration_s / SECONDS_PER_HOUR
    if not step.end_charge_Ah > 0.0:
        return longest_Ah
    period_s = step.period_s if step.period_s > 0.0 else FAST_PERIOD_S
    return min(longest_Ah, step.end_charge_Ah + magnitude_A * period_s / SECONDS_PER_HOUR)


def _within(value: float, limit: float) -> bool:
    """Return whether `value` <= `limit` but for rounding; False where either is NaN."""
    return value <= limit + abs(limit) * ROUNDING


def is_fast(step: Step, cell: CellSpec, base_current_A: float) -> bool:
    """Return whether a step of a treatment may short a cell, so that a check has to follow it.

    Above 4 mA/cm2 either way; or plating above base rate, unless it is only a probe.

    Parameters
    ----------
    step : Step
    cell : CellSpec
    base_current_A : float
        Charging current of base cycling (A).
    """
    density = abs(cell.current_density_mA_per_cm2(step.current_A))
    plates_fast = (
        step.kind == CHARGE
        and not _within(step.current_A, base_current_A)
        and _worst_charge_Ah(step) > PROBE_FRACTION * cell.nominal_capacity_Ah
    )
    return not _within(density, FAST_TREATMENT_MA_PER_CM2) or plates_fast


# --- Rules: the cell and its format ---------------------------------------------------------


def _terminals(q: _Question) -> Iterator[Refusal]:
    electrode = (q.cell.oxidised_electrode or "").strip().lower()
    if q.cell.format is CellFormat.LI_CU and electrode and electrode != "li":
        yield q.refuse(
            "cell.oxidised_electrode",
            f"{q.cell.oxidised_electrode!r} would be oxidised at positive voltage: charging would "
            "strip Cu instead of plating on it",
            'connect the Li foil to the positive terminal and write "li"',
        )
    # "li" is true of both foils; what charging oxidises is said in the decision
    if q.cell.format is CellFormat.LI_LI and electrode not in {"", "positive", "li"}:
        yield q.refuse(
            "cell.oxidised_electrode",
            f"{q.cell.oxidised_electrode!r}: charging current oxidises the positive electrode of "
            "Li||Li",
            'write "positive"; for the other foil exchange the leads',
        )
    if q.recipe.conditions.oxidised_electrode_declared and not electrode:
        yield q.refuse(
            "cell.oxidised_electrode",
            "the recipe oxidises one electrode and the cell does not say which",
            'write oxidised_electrode: "li" on Li||Cu, "positive" on Li||Li',
        )
    if q.recipe.conditions.mediator_declared and not q.cell.mediator:
        yield q.refuse(
            "cell.mediator",
            "the recipe needs a redox mediator and the cell declares none",
            "write mediator if the electrolyte holds one",
        )


def _voltages(q: _Question) -> Iterator[Refusal]:
    family_V = UPPER_VOLTAGE_BY_FAMILY_V[q.cell.electrolyte_family]
    for index, step in enumerate(q.steps):
        if step.kind == HOLD_0A:
            continue
        bound_V, where = step.voltage_bound_V, _at(index, step)
        if step.kind == CHARGE and not _within(bound_V, family_V):
            yield q.refuse(
                where,
                f"{bound_V:g} V is above {family_V:g} V, the upper voltage of electrolyte "
                f"family {str(q.cell.electrolyte_family)!r}",
                f"at most {family_V:g} V",
            )
        if step.kind != DISCHARGE:
            continue
        if q.cell.format in _CATHODE_FORMATS and not bound_V > 0.0:
            yield q.refuse(
                where,
                f"{bound_V:g} V would let this cell stand in reversed polarity",
                "a lower voltage above 0 V",
            )
        if q.cell.format is CellFormat.LI_CU and not bound_V >= LI_CU_STRIP_CUT_OFF_V:
            yield q.refuse(
                where,
                f"{bound_V:g} V is beyond the strip cut-off of Li||Cu, 1 V",
                f"lower_cut_off_V = {LI_CU_STRIP_CUT_OFF_V:g}",
            )
        if q.cell.format in ON_COPPER:
            cathode_V = q.limits.cathode_ocv_upper_V
            copper_V = cathode_V - bound_V
            if not _within(copper_V, q.limits.copper_potential_operate_V):
                yield q.refuse(
                    where,
                    f"Cu could reach {copper_V:.3g} V vs Li; allowed to operate: "
                    f"{q.limits.copper_potential_operate_V:g} V",
                    f"a lower voltage of {cathode_V - q.limits.copper_potential_operate_V:.3g} V "
                    "or more",
                )


# --- Rules: the owner's limits ---------------------------------------------------------------


def _continuous(q: _Question) -> Iterator[Refusal]:
    envelope = q.limits.continuous
    for index, step in enumerate(q.steps):
        if step.envelope or step.kind == HOLD_0A:
            continue
        charging = step.kind == CHARGE
        levels = envelope.charge_current_max_A if charging else envelope.discharge_current_max_A
        verb, where = ("charge" if charging else "discharge"), _at(index, step)
        if not _within(abs(step.current_A), levels.operate):
            yield q.refuse(
                where,
                f"{abs(step.current_A) * 1e3:.4g} mA of {verb} is above the continuous limit of "
                f"{levels.operate * 1e3:.4g} mA",
                f"limits.{verb}_current_max_mA, or a slower recipe",
            )
        low_V, high_V = envelope.voltage_min_V.operate, envelope.voltage_max_V.operate
        if not low_V <= step.voltage_bound_V <= high_V:
            yield q.refuse(
                where,
                f"its bound of {step.voltage_bound_V:g} V is outside the continuous limits "
                f"{low_V:g} ... {high_V:g} V",
                "cut-offs within voltage_min_V.operate and voltage_max_V.operate of limits",
            )


def _envelopes(q: _Question) -> Iterator[Refusal]:
    known = {envelope.name: envelope for envelope in q.limits.pulse_envelopes}
    runs = list(_runs(q.steps))
    for name, run in runs:
        where = _at(run[0], q.steps[run[0]])
        envelope = known.get(name)
        if envelope is None:
            remedy = nearest(name, list(known)) if known else "the owner has written none"
            yield q.refuse(
                where,
                f"pulse envelope {name!r} is not among those the cell's owner wrote",
                f"{remedy}; add [[limits.pulse]] name = {name!r}",
            )
            continue
        yield from _opening(q, envelope, run, where)
    for name in sorted({name for name, _ in runs} & set(known)):
        opened = sum(1 for other, _ in runs if other == name)
        used = q.state.envelope_openings.get(name, 0) if q.state is not None else 0
        if opened + used > known[name].max_count:
            yield q.refuse(
                f"limits.pulse {name!r}: max_count",
                f"{opened} openings after {used} are more than the {known[name].max_count} "
                "of its owner",
                "a larger max_count, if the cell bears it",
            )
        yield from _pauses(q, known[name], [run for other, run in runs if other == name])


def _opening(
    q: _Question, envelope: PulseEnvelope, run: list[int], where: str
) -> Iterator[Refusal]:
    steps = [q.steps[index] for index in run]
    key = f"limits.pulse {envelope.name!r}:"
    figures = (
        (
            "max_current_mA",
            1e3 * max(abs(step.current_A) for step in steps),
            1e3 * envelope.max_current_A,
            "mA",
        ),
        ("max_on_s", sum(step.max_duration_s for step in steps), envelope.max_on_s, "s"),
        (
            "max_charge_mAh",
            1e3 * sum(map(_worst_charge_Ah, steps)),
            1e3 * envelope.max_charge_Ah,
            "mAh",
        ),
    )
    for name, asked, allowed, unit in figures:
        if not _within(asked, allowed):
            yield q.refuse(
                where,
                f"{asked:.4g} {unit} is more than pulse envelope {envelope.name!r} allows "
                f"({name} = {allowed:.4g})",
                f"{key} {name}, or a smaller dose",
            )
    for step in steps:
        if not envelope.min_voltage_V <= step.voltage_bound_V <= envelope.max_voltage_V:
            yield q.refuse(
                where,
                f"its bound of {step.voltage_bound_V:g} V is outside pulse envelope "
                f"{envelope.name!r}: {envelope.min_voltage_V:g} ... {envelope.max_voltage_V:g} V",
                f"{key} min_voltage_V, max_voltage_V",
            )
    if q.state is not None and q.temperature_source != "none":
        temperature_K = q.state.temperature_K
        if not temperature_K <= envelope.max_temperature_K:
            yield q.refuse(
                where,
                f"the cell is at {temperature_K:.4g} K, pulse envelope {envelope.name!r} ends at "
                f"{envelope.max_temperature_K:.4g} K",
                "wait until it is cooler",
            )


def _pauses(q: _Question, envelope: PulseEnvelope, runs: list[list[int]]) -> Iterator[Refusal]:
    for before, after in pairwise(runs):
        pause_s = sum(one.duration_s for one in q.timeline[before[-1] + 1 : after[0]])
        if not _within(envelope.min_off_s, pause_s):
            yield q.refuse(
                _at(after[0], q.steps[after[0]]),
                f"{pause_s:.4g} s after the opening before is less than min_off_s = "
                f"{envelope.min_off_s:.4g} of pulse envelope {envelope.name!r}",
                "longer rests between openings",
            )


def _half_cycles(q: _Question) -> Iterator[Refusal]:
    """Charge and time in one direction without a reversal, as the supervisor will count them."""
    direction, charge_Ah, time_s = 0, 0.0, 0.0
    for index, (step, expected) in enumerate(zip(q.steps, q.timeline, strict=True)):
        if step.kind == HOLD_0A:
            continue
        if step.kind != direction:
            direction, charge_Ah, time_s = step.kind, 0.0, 0.0
        charge_Ah += abs(expected.charge_Ah)
        time_s += expected.duration_s
        if not _within(charge_Ah, q.limits.max_half_cycle_charge_Ah):
            yield q.refuse(
                _at(index, step),
                "the charge in one direction would pass max_half_cycle_charge_mAh = "
                f"{1e3 * q.limits.max_half_cycle_charge_Ah:.4g}",
                f"limits.max_half_cycle_charge_mAh of {1e3 * charge_Ah:.4g} or more",
            )
        if not _within(time_s, q.limits.max_half_cycle_s):
            yield q.refuse(
                _at(index, step),
                "the time in one direction would pass max_half_cycle_h = "
                f"{q.limits.max_half_cycle_s / SECONDS_PER_HOUR:.4g}",
                f"limits.max_half_cycle_h of {time_s / SECONDS_PER_HOUR:.4g} or more, "
                "or a faster rate",
            )


# --- Rules: the instrument -------------------------------------------------------------------


def _instrument(q: _Question) -> Iterator[Refusal]:
    device = q.capabilities
    if q.recipe.kind is Kind.TREATMENT and device.tier is ControlTier.COMPILED_SCHEDULE:
        yield q.refuse(
            "cycler.tier",
            f"{device.model} runs a compiled schedule and takes no treatment while it runs",
            "an instrument with live set-points, or steps in the schedule itself",
        )
    for index, step in enumerate(q.steps):
        if step.kind == HOLD_0A:
            continue
        where = _at(index, step)
        if not _within(abs(step.current_A), device.max_current_A):
            yield q.refuse(
                where,
                f"{abs(step.current_A):.4g} A is more than {device.model} gives "
                f"({device.max_current_A:.4g} A)",
                "a lower current density or another instrument",
            )
        if not device.min_voltage_V <= step.voltage_bound_V <= device.max_voltage_V:
            yield q.refuse(
                where,
                f"{step.voltage_bound_V:g} V is outside what {device.model} gives "
                f"({device.min_voltage_V:g} ... {device.max_voltage_V:g} V)",
                "another instrument",
            )
        yield from _timing(q, step, where)


def _timing(q: _Question, step: Step, where: str) -> Iterator[Refusal]:
    device = q.capabilities
    if step.device_timed:
        if not _within(device.min_device_timed_pulse_s, step.max_duration_s):
            yield q.refuse(
                where,
                f"{device.model} cannot time a pulse of {step.max_duration_s:g} s itself"
                if device.min_device_timed_pulse_s >= 0.0
                else f"{device.model} cannot time a pulse itself",
                "an instrument with a finite sequence that ends in output off",
            )
    elif not _within(device.min_pulse_s, step.max_duration_s):
        yield q.refuse(
            where,
            f"{step.max_duration_s:g} s is shorter than the {device.min_pulse_s:g} s that a host "
            f"can time on {device.model}",
            "a longer pulse, or one timed by the device",
        )
    if step.period_s > 0.0 and not _within(device.update_period_s, step.period_s):
        yield q.refuse(
            where,
            f"readings every {step.period_s:g} s are faster than {device.model} takes set-points "
            f"({device.update_period_s:g} s)",
            "a longer period_s",
        )


def _fast_discharge(q: _Question) -> Iterator[Refusal]:
    """Above C/2: device-enforced lower voltage, and at most half the lithium surely there."""
    conditions = q.recipe.conditions
    threshold = conditions.device_enforced_lower_voltage_above_c_rate
    taken_Ah = 0.0
    for index, step in enumerate(q.steps):
        if step.kind == CHARGE:
            taken_Ah = 0.0
        if step.kind != DISCHARGE or _within(abs(q.cell.c_rate(step.current_A)), threshold):
            continue
        if not q.capabilities.device_enforced_lower_voltage:
            yield q.refuse(
                _at(index, step),
                f"discharge above C/{1.0 / threshold:g} needs an instrument that keeps the lower "
                f"voltage itself; {q.capabilities.model} does not",
                "a slower strip or another instrument",
            )
        taken_Ah += _worst_charge_Ah(step)
        # Both electrodes of Li||Li are foils: there is no bare Cu to run into.
        if q.state is None or q.cell.format is CellFormat.LI_LI:
            continue
        allowed_Ah = (
            conditions.strip_at_most_fraction_of_active_lithium * q.state.active_lithium_lower_Ah
        )
        if not taken_Ah <= allowed_Ah:
            yield q.refuse(
                _at(index, step),
                "the fast strip could take more than "
                f"{conditions.strip_at_most_fraction_of_active_lithium:.0%} of the active lithium "
                "that is surely there",
                f"takes {taken_Ah * 1e3:.3g} mAh, allowed {allowed_Ah * 1e3:.3g} mAh",
            )


# --- Rules: temperature and dose ----------------------------------------------------------------


def _temperature(q: _Question) -> Iterator[Refusal]:
    conditions = q.recipe.conditions
    measured = q.temperature_source != "none"
    if q.temperature_source == "cycler" and not q.capabilities.temperature:
        yield q.refuse(
            "temperature.source",
            f"{q.capabilities.model} has no thermometer",
            'source = "auxiliary" or "none"',
        )
    if conditions.min_temperature_degC is not None and not measured:
        # An upper limit alone is the general one: listed as not enforced, it refuses nothing.
        yield q.refuse(
            "temperature.source",
            "the recipe needs the cell's temperature and none is measured",
            'source = "auxiliary" with a thermometer',
        )
    if q.state is None or not measured:
        return
    temperature_degC = q.state.temperature_K - ZERO_CELSIUS_K
    low = conditions.min_temperature_degC
    if low is not None and not temperature_degC >= low:
        yield q.refuse("temperature", f"{temperature_degC:.1f} degC, needs {low:g} or more")
    if q.recipe.kind is not Kind.TREATMENT:
        yield from _cold_plating(q, temperature_degC)
        return
    high = conditions.max_temperature_degC
    high = NO_TREATMENT_ABOVE_DEGC if high is None else high
    if not temperature_degC <= high:
        yield q.refuse("temperature", f"{temperature_degC:.1f} degC, no treatment above {high:g}")
    yield from _cold_plating(q, temperature_degC)


def plating_fraction(temperature_degC: float) -> float:
    """Return the part of the plating limit left at a temperature (degC): 1 at 15, 0 at 0; NaN 0."""
    if temperature_degC >= FULL_PLATING_DEGC:
        return 1.0
    if not temperature_degC > NO_PLATING_DEGC:
        return 0.0
    return (temperature_degC - NO_PLATING_DEGC) / (FULL_PLATING_DEGC - NO_PLATING_DEGC)


def _cold_plating(q: _Question, temperature_degC: float) -> Iterator[Refusal]:
    fraction = plating_fraction(temperature_degC)
    if fraction == 1.0:
        return
    known = {envelope.name: envelope.max_current_A for envelope in q.limits.pulse_envelopes}
    for index, step in enumerate(q.steps):
        if step.kind != CHARGE:
            continue
        full_A = (
            known.get(step.envelope, NAN)
            if step.envelope
            else q.limits.continuous.charge_current_max_A.operate
        )
        if not step.current_A <= fraction * full_A:
            yield q.refuse(
                _at(index, step),
                f"at {temperature_degC:.1f} degC plating is limited to {fraction:.0%} of the "
                "current limit",
                f"warm the cell to {FULL_PLATING_DEGC:g} degC",
            )


def _dose(q: _Question) -> Iterator[Refusal]:
    dose = q.recipe.dose
    if dose is None:
        return
    pulses = [step for step in q.steps if step.stage is Stage.EXECUTE and step.current_A != 0.0]
    gross_Ah = net_Ah = energy_Wh = 0.0
    for step in pulses:
        moved_Ah = _worst_charge_Ah(step)
        gross_Ah += moved_Ah
        net_Ah += math.copysign(moved_Ah, step.current_A)
        # The voltage of a pulse lies between the two cut-offs or at its own bound.
        highest_V = max(
            abs(q.cell.lower_cut_off_V), abs(q.cell.upper_cut_off_V), abs(step.voltage_bound_V)
        )
        energy_Wh += moved_Ah * highest_V
    area = q.cell.area_cm2
    figures = (
        ("max_gross_charge_mAh_per_cm2", gross_Ah * 1e3 / area, dose.max_gross_charge_mAh_per_cm2),
        ("max_pulse_count", float(len(pulses)), float(dose.max_pulse_count)),
        ("max_energy_J_per_cm2", energy_Wh * SECONDS_PER_HOUR / area, dose.max_energy_J_per_cm2),
        (
            "max_net_fraction_of_gross",
            abs(net_Ah) / gross_Ah if gross_Ah > 0.0 else 0.0,
            dose.max_net_fraction_of_gross,
        ),
    )
    for name, asked, allowed in figures:
        if not _within(asked, allowed):
            yield q.refuse(
                f"dose.{name}",
                f"{asked:.4g} is more than the recipe's own {name} = {allowed:.4g}",
                "shorter, fewer, slower or better balanced pulses",
            )


def _charge_window(q: _Question) -> Iterator[Refusal]:
    low = q.recipe.conditions.min_state_of_charge
    high = q.recipe.conditions.max_state_of_charge
    charge_Ah = start_charge_Ah(q.recipe, q.cell)
    for index, (step, expected) in enumerate(zip(q.steps, q.timeline, strict=True)):
        before, charge_Ah = charge_Ah, charge_Ah + expected.charge_Ah
        if step.stage is not Stage.EXECUTE:
            continue
        ends = (before / q.cell.nominal_capacity_Ah, charge_Ah / q.cell.nominal_capacity_Ah)
        if not (_within(low, min(ends)) and _within(max(ends), high)):
            yield q.refuse(
                _at(index, step),
                f"runs outside {low:.0%} ... {high:.0%} of charge",
                f"would stand at {min(ends):.0%} ... {max(ends):.0%}",
            )


def _open_circuit_check(q: _Question) -> Iterator[Refusal]:
    """After anything fast, 30 min at open circuit before charging; pulses of one opening apart."""
    if q.recipe.kind is not Kind.TREATMENT:
        return
    base_current_A = q.cell.c_rate_current_A(q.base_c_rate)
    pending: int | None = None
    for index, step in enumerate(q.steps):
        if step.kind == HOLD_0A:
            if step.ocv_check and _within(OCV_CHECK_S, step.max_duration_s):
                pending = None
            continue
        follows_on = bool(step.envelope) and index > 0 and q.steps[index - 1].envelope != ""
        if pending is not None and step.kind == CHARGE and not follows_on:
            break
        if is_fast(step, q.cell, base_current_A):
            pending = index
    if pending is not None:
        yield q.refuse(
            _at(pending, q.steps[pending]),
            "no 30 min open-circuit check follows before the next charge",
            'add do = "rest", duration_min = 30, ocv_check = true after it',
        )


# --- Rules: the moment -----------------------------------------------------------------------


def _moment(q: _Question) -> Iterator[Refusal]:
    state, recipe = q.state, q.recipe
    if state is None or recipe.kind is not Kind.TREATMENT:
        return
    if recipe.placement is Placement.BEFORE_FIRST_CYCLE:
        if state.cycles_done > 0:
            yield q.refuse(
                "placement", f"only before any cycling; {state.cycles_done} cycles are done"
            )
    elif not state.formation_over:
        yield q.refuse(
            "placement", "formation and the drift after it are not over", "wait until they are"
        )
    if recipe.conditions.once_only and state.times_done.get(recipe.name, 0) > 0:
        yield q.refuse("conditions.once_only", "it has been given to this cell already")
    if (
        recipe.conditions.anode_limited_end_before
        and q.cell.format in ON_COPPER
        and not state.anode_limited_end
    ):
        yield q.refuse(
            "conditions.anode_limited_end_before",
            "the last discharge did not reach the end-of-strip knee: lithium is left",
            "an anchor hold first; early cycles are cathode-limited",
        )
    since_min = recipe.conditions.max_since_charge_end_min
    if since_min is not None and not state.since_charge_end_s <= since_min * 60.0:
        yield q.refuse(
            "conditions.max_since_charge_end_min",
            f"more than {since_min:g} min after charging ended, or not known",
            "right after the next charge",
        )
    fastest = max((q.density(step) for step in q.steps), default=0.0)
    if state.short_sign and (
        recipe.conditions.no_short_sign or fastest > FAST_TREATMENT_MA_PER_CM2
    ):
        yield q.refuse(
            "conditions.no_short_sign",
            "a soft short is suspected: no fast treatment of this cell",
            "rest and look at open-circuit decay and noise",
        )


_RULES: Final[tuple[Callable[[_Question], Iterator[Refusal]], ...]] = (
    _terminals,
    _voltages,
    _continuous,
    _envelopes,
    _half_cycles,
    _instrument,
    _fast_discharge,
    _temperature,
    _dose,
    _charge_window,
    _open_circuit_check,
    _moment,
)
