"""From TOML text to a recipe, with every fault found named at once."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Sequence
from typing import Final

from pydantic import BaseModel, ValidationError

from controller.domain.cell import CellFormat
from controller.domain.errors import ConfigurationError, Fault, FaultsIn, nearest, refuse
from protocols.refusals import in_words
from protocols.spec import (
    BASE,
    CUT_OFF,
    MAX_REPEATS,
    QUANTITY_KEYS,
    SCHEMA,
    UNITS,
    Allowed,
    Applicability,
    Benefit,
    ChargeStep,
    Conditions,
    Control,
    DischargeStep,
    Dose,
    Evidence,
    HoldStep,
    Kind,
    Parameter,
    Phase,
    PlainStep,
    Price,
    PriorGain,
    PulseStep,
    Recipe,
    RepeatStep,
    RestStep,
    plain_steps,
    unit_of,
)

_RESERVED_WORDS: Final = {"c_rate": BASE, "V": CUT_OFF}


def _references(steps: Sequence[PlainStep | RepeatStep], root: str) -> Iterator[tuple[str, str]]:
    """Yield (dotted key, text) of every quantity written as text."""
    for index, step in enumerate(steps):
        if isinstance(step, RepeatStep) and isinstance(step.times, str):
            yield f"{root}.{index}.times", step.times
    for place, plain in plain_steps(steps):
        for key in QUANTITY_KEYS:
            value = getattr(plain, key, None)
            if isinstance(value, str) and value != _RESERVED_WORDS.get(unit_of(key)):
                yield f"{root}.{place}.{key}", value


def _reference_faults(recipe: Recipe, where: str) -> Iterator[Fault]:
    used: set[str] = set()
    for root, steps in (("steps", recipe.steps), ("sham_steps", recipe.sham_steps)):
        for key, text in _references(steps, root):
            unit = unit_of(key.rsplit(".", 1)[-1])
            fitting = [name for name in recipe.parameters if unit_of(name) == unit]
            if text in fitting:
                used.add(text)
                continue
            words = [*fitting, *([_RESERVED_WORDS[unit]] if unit in _RESERVED_WORDS else [])]
            problem = (
                f"parameter {text!r} is not in {unit}"
                if text in recipe.parameters
                else f"{text!r} is neither a value nor a parameter of this recipe"
            )
            remedy = nearest(text, words) if words else f"add [parameters.name_{unit}]"
            yield Fault(where=where, key=key, problem=problem, remedy=remedy)
    # "base" in a step reads the recipe's own base rate where it has one.
    used.add("base_c_rate")
    for name, parameter in recipe.parameters.items():
        unit = unit_of(name)
        if not unit:
            yield Fault(
                where=where,
                key=f"parameters.{name}",
                problem="has no unit in its name",
                remedy="let it end in one of " + ", ".join(f"_{unit}" for unit in UNITS),
            )
        elif name not in used:
            yield Fault(where=where, key=f"parameters.{name}", problem="is used by no step")
        if unit not in {"", "V"} and not parameter.lowest > 0.0:
            yield Fault(
                where=where,
                key=f"parameters.{name}.lowest",
                problem=f"is {parameter.lowest:g}",
                remedy="must be above 0",
            )
        if unit == "count" and not (
            parameter.value.is_integer() and parameter.highest <= MAX_REPEATS
        ):
            yield Fault(
                where=where,
                key=f"parameters.{name}",
                problem=f"is {parameter.value:g} (highest {parameter.highest:g})",
                remedy=f"a count is a whole number up to {MAX_REPEATS}",
            )


def _phase_faults(recipe: Recipe, where: str) -> Iterator[Fault]:
    order = list(Phase)
    for root, steps in (("steps", recipe.steps), ("sham_steps", recipe.sham_steps)):
        latest = 0
        seen: set[Phase] = set()
        for place, step in plain_steps(steps):
            key = f"{root}.{place}.phase"
            if recipe.kind is not Kind.TREATMENT:
                if step.phase is not None:
                    yield Fault(where=where, key=key, problem="only treatments have phases")
                continue
            if step.phase is None:
                yield Fault(
                    where=where,
                    key=key,
                    problem="missing in a treatment",
                    remedy="one of " + ", ".join(order),
                )
                continue
            seen.add(step.phase)
            position = order.index(step.phase)
            if position < latest:
                yield Fault(
                    where=where,
                    key=key,
                    problem=f"{step.phase!s} comes after {order[latest]!s}",
                    remedy="phases run arm, execute, recover, evaluate",
                )
            latest = max(latest, position)
        if recipe.kind is Kind.TREATMENT and steps and Phase.EXECUTE not in seen:
            yield Fault(where=where, key=root, problem="no step has phase 'execute'")


def _whole_faults(recipe: Recipe, where: str) -> list[Fault]:
    found = FaultsIn(where)
    for missing in [item for item in CellFormat if item not in recipe.applicability]:
        found.add(
            f"applicability.{missing}",
            "missing: every cell format is allowed or refused with a reason",
            "add it with allowed = " + " | ".join(f'"{item}"' for item in Allowed),
        )
    if recipe.kind is Kind.TREATMENT:
        for key, absent in (
            ("placement", recipe.placement is None),
            ("controls", not recipe.controls),
            ("sham_reason", not recipe.sham_reason),
            ("prior_gain", recipe.prior_gain is None),
            ("benefit", recipe.benefit is Benefit.NONE),
        ):
            if absent:
                found.add(key, "missing in a treatment")
    elif recipe.placement is not None or recipe.controls or recipe.sham_steps:
        found.add("kind", "only treatments have a placement, controls or sham steps")
    if (Control.SHAM in recipe.controls) != bool(recipe.sham_steps):
        found.add("sham_steps", "controls and sham_steps disagree", 'controls = ["sham"]')
    if recipe.conditions.min_state_of_charge >= recipe.conditions.max_state_of_charge:
        found.add("conditions.min_state_of_charge", "not below max_state_of_charge")
    requests = [place for place, step in plain_steps(recipe.steps) if _in_envelope(step)]
    if bool(requests) != bool(recipe.pulse_envelope):
        found.add(
            "pulse_envelope",
            "a step runs in an envelope that is not named"
            if requests
            else f"{recipe.pulse_envelope!r} is named and no step runs in it",
            "in_envelope = true in the steps that need it",
        )
    for place, step in plain_steps(recipe.sham_steps):
        if _in_envelope(step):
            found.add(f"sham_steps.{place}.in_envelope", "a sham stays in the continuous limits")
    return [*found, *_as_in_step_faults(recipe, where)]


def _as_in_step_faults(recipe: Recipe, where: str) -> Iterator[Fault]:
    named = [step.say for _, step in plain_steps(recipe.steps) if step.say and _has_charge(step)]
    for root, steps in (("steps", recipe.steps), ("sham_steps", recipe.sham_steps)):
        for place, step in plain_steps(steps):
            said = getattr(step, "charge_as_in_step", None)
            if said is None:
                continue
            key = f"{root}.{place}.charge_as_in_step"
            if root == "steps":
                yield Fault(where=where, key=key, problem="only a sham copies a step's charge")
            elif said not in named:
                yield Fault(
                    where=where,
                    key=key,
                    problem=f"{said!r} is said by no step of a given charge",
                    remedy=nearest(said, named) if named else "",
                )


def _has_charge(step: PlainStep) -> bool:
    """Return whether the recipe itself says how much charge the step moves."""
    if isinstance(step, ChargeStep | DischargeStep):
        return step.charge_fraction_of_nominal is not None or step.charge_mAh_per_cm2 is not None
    return isinstance(step, PulseStep)


def _in_envelope(step: PlainStep) -> bool:
    return not isinstance(step, RestStep) and step.in_envelope


def recipe_faults(recipe: Recipe, where: str) -> list[Fault]:
    """Return everything wrong between the keys of a recipe whose keys are right one by one."""
    return [
        *_reference_faults(recipe, where),
        *_phase_faults(recipe, where),
        *_whole_faults(recipe, where),
    ]


_STEP_MODELS: Final[dict[str, type[BaseModel]]] = {
    "rest": RestStep,
    "charge": ChargeStep,
    "discharge": DischargeStep,
    "hold": HoldStep,
    "pulse": PulseStep,
    "repeat": RepeatStep,
}
_TABLE_MODELS: Final[dict[str, type[BaseModel]]] = {
    "evidence": Evidence,
    "applicability": Applicability,
    "conditions": Conditions,
    "dose": Dose,
    "prior_gain": PriorGain,
    "price": Price,
    "parameters": Parameter,
}


def _model_at(loc: Sequence[str | int]) -> type[BaseModel]:
    """Return the model that the last key of a pydantic location belongs to."""
    if len(loc) < 2:
        return Recipe
    if loc[0] in {"steps", "sham_steps"}:
        tags = [part for part in loc[:-1] if part in _STEP_MODELS]
        return _STEP_MODELS[str(tags[-1])] if tags else Recipe
    return _TABLE_MODELS.get(str(loc[0]), Recipe)


def _dotted(loc: Sequence[str | int]) -> str:
    """Return the key as it stands in the file: pydantic puts the step's word into its path."""
    parts = [
        str(part)
        for index, part in enumerate(loc)
        if not (
            index > 0
            and isinstance(loc[index - 1], int)
            and part in _STEP_MODELS
            and loc[0] in {"steps", "sham_steps"}
        )
        and part != "[key]"
    ]
    return ".".join(parts)


def _validation_faults(error: ValidationError, where: str) -> list[Fault]:
    faults = []
    for item in error.errors(include_url=False):
        loc, kind = item["loc"], item["type"]
        key = _dotted(loc)
        given = item["input"]
        if kind == "too_short" and given:
            continue  # it is short only because its items have the faults listed beside this
        if kind == "union_tag_invalid":
            tag = given.get("do") if isinstance(given, dict) else given
            key += ".do"
            problem, remedy = f"{tag!r} is no step", nearest(str(tag), list(_STEP_MODELS))
        elif kind == "union_tag_not_found":
            key += ".do"
            problem, remedy = "is missing", "one of " + ", ".join(_STEP_MODELS)
        else:
            problem, remedy = in_words(dict(item), _model_at(loc))
        faults.append(Fault(where=where, key=key, problem=problem, remedy=remedy))
    return faults


def parse_recipe(text: str, where: str) -> Recipe:
    """Return the recipe in the TOML `text`.

    Parameters
    ----------
    text : str
        Contents of a recipe file.
    where : str
        The file's name, for errors.

    Raises
    ------
    ConfigurationError
        Lists every fault with file, key, value and the nearest valid choice.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise refuse(where, "", f"not valid TOML: {error}") from error
    schema = table.get("schema")
    if type(schema) is not int or schema != SCHEMA:
        shown = "missing" if schema is None else f"{schema!r} is unknown"
        raise refuse(where, "schema", shown, f"this version reads schema = {SCHEMA}")
    try:
        # Through JSON, because strict validation takes words for enumerations only from there.
        recipe = Recipe.model_validate_json(json.dumps(table, default=str))
    except ValidationError as error:
        raise ConfigurationError(_validation_faults(error, where)) from error
    faults = recipe_faults(recipe, where)
    if faults:
        raise ConfigurationError(faults)
    return recipe
