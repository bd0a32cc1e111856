"""Recipes and steps in words, for people."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from controller.domain.cell import CellSpec
from controller.domain.command import CHARGE, HOLD_0A
from controller.domain.step import Step
from protocols.resolve import rate_words, time_words
from protocols.spec import (
    BASE,
    CUT_OFF,
    ChargeStep,
    DischargeStep,
    HoldStep,
    Parameter,
    PlainStep,
    PulseStep,
    Recipe,
    RepeatStep,
    RestStep,
    duration_s,
    number,
    unit_of,
)


def value_words(name: str, value: float) -> str:
    """Return a parameter's value with the unit its name ends in."""
    unit = unit_of(name)
    if unit == "c_rate":
        return rate_words(value)
    units = {
        "mA_per_cm2": " mA/cm2",
        "mAh_per_cm2": " mAh/cm2",
        "fraction_of_nominal": " of nominal",
        "count": "",
    }
    if unit == "fraction_of_nominal":
        return f"{value * 100.0:g} %{units[unit]}"
    return f"{value:g}{units.get(unit, ' ' + unit)}"


def parameter_words(name: str, parameter: Parameter) -> str:
    """Return ``value (lowest ... highest, basis: source)`` of a parameter."""
    shown, low, high = (
        value_words(name, value) for value in (parameter.value, parameter.lowest, parameter.highest)
    )
    return f"{shown} ({low} ... {high}; {parameter.basis}: {parameter.source})"


def recipe_words(recipe: Recipe, *, sham: bool = False) -> list[str]:
    """Return the steps as written, one line each, for no particular cell."""
    return list(_lines(recipe, recipe.sham_steps if sham else recipe.steps, ""))


def _lines(recipe: Recipe, steps: Sequence[PlainStep | RepeatStep], indent: str) -> Iterator[str]:
    for step in steps:
        if isinstance(step, RepeatStep):
            yield f"{indent}{round(number(step.times, recipe))} times:"
            yield from _lines(recipe, step.steps, indent + "    ")
        else:
            yield indent + _plain_words(recipe, step)


def _plain_words(recipe: Recipe, step: PlainStep) -> str:
    said = f"{step.say}: " if step.say else ""
    match step:
        case RestStep():
            text = f"rest {time_words(duration_s(step, recipe, 'duration') or math.nan)}"
            if step.only_if_faster_than_mA_per_cm2 is not None:
                text += f", only after more than {step.only_if_faster_than_mA_per_cm2:g} mA/cm2"
        case HoldStep():
            longest = time_words(duration_s(step, recipe, "max_duration") or math.nan)
            text = (
                f"hold the {step.at.replace('-', ' ', 1)} (at most {_current(recipe, step)}) until "
                f"{_rate(recipe, step.until_current_c_rate)}, at most {longest}"
            )
        case PulseStep():
            text = (
                f"{step.direction} pulse at {_current(recipe, step)} for "
                f"{time_words(number(step.duration_s, recipe))}, not beyond "
                f"{_voltage(recipe, step.voltage_bound_V)}"
            )
            if step.device_timed:
                text += ", timed by the instrument"
            if step.polarity_probe:
                text += ", the voltage must move with it"
        case _:
            text = _flow(recipe, step)
    if getattr(step, "in_envelope", False):
        text += f", in pulse envelope {recipe.pulse_envelope!r}"
    return said + text


def _flow(recipe: Recipe, step: ChargeStep | DischargeStep) -> str:
    bound = step.up_to_voltage_V if isinstance(step, ChargeStep) else step.down_to_voltage_V
    text = f"{step.do} at {_current(recipe, step)} to {_voltage(recipe, bound)}"
    if step.charge_fraction_of_nominal is not None:
        share = number(step.charge_fraction_of_nominal, recipe)
        text += f", at most {share * 100.0:g} % of nominal capacity"
    if step.charge_mAh_per_cm2 is not None:
        text += f", at most {number(step.charge_mAh_per_cm2, recipe):g} mAh/cm2"
    if step.charge_as_in_step is not None:
        text += f", the charge of {step.charge_as_in_step!r}"
    if step.until_current_c_rate is not None:
        text += f", held until {_rate(recipe, step.until_current_c_rate)}"
    longest_s = duration_s(step, recipe, "max_duration")
    return text if longest_s is None else f"{text}, at most {time_words(longest_s)}"


def _current(recipe: Recipe, step: ChargeStep | DischargeStep | HoldStep | PulseStep) -> str:
    if step.current_density_mA_per_cm2 is not None:
        return f"{number(step.current_density_mA_per_cm2, recipe):g} mA/cm2"
    return _rate(recipe, step.c_rate if step.c_rate is not None else BASE)


def _rate(recipe: Recipe, value: float | str) -> str:
    if value != BASE:
        return rate_words(number(value, recipe))
    own = recipe.parameters.get("base_c_rate")
    return "base rate" if own is None else rate_words(own.value)


def _voltage(recipe: Recipe, value: float | str) -> str:
    return "the cut-off" if value == CUT_OFF else f"{number(value, recipe):g} V"


def step_words(step: Step, cell: CellSpec) -> str:
    """Return one resolved step with its figures on this cell."""
    longest = time_words(step.max_duration_s)
    if step.kind == HOLD_0A:
        return (
            f"{step.name}: rest at 0 A, {longest}" if step.name != f"rest {longest}" else step.name
        )
    magnitude_A = abs(step.current_A)
    verb = "charge" if step.kind == CHARGE else "discharge"
    density = cell.current_density_mA_per_cm2(magnitude_A)
    rates = f"{density:.3g} mA/cm2, {rate_words(cell.c_rate(magnitude_A))}"
    parts = [
        f"{step.name}: {verb} {magnitude_A * 1e3:.4g} mA ({rates})",
        f"bound {step.voltage_bound_V:g} V",
    ]
    if step.end_charge_Ah > 0.0:
        parts.append(f"ends at {step.end_charge_Ah * 1e3:.4g} mAh")
    if step.end_current_A > 0.0:
        parts.append(f"ends at {step.end_current_A * 1e3:.4g} mA")
    parts.append(f"at most {longest}")
    if step.envelope:
        parts.append(f"pulse envelope {step.envelope!r}")
    if step.device_timed:
        parts.append("timed by the instrument")
    if step.polarity_probe:
        parts.append("the voltage must move with it")
    return ", ".join(parts)


def resolved_words(steps: Sequence[Step], cell: CellSpec) -> list[str]:
    """Return resolved steps one line each; a train of the same two or more is said once."""
    lines: list[str] = []
    index = 0
    while index < len(steps):
        length, times = _train(steps, index)
        if times > 1:
            lines.append(f"{times} times:")
        indent = "    " if times > 1 else ""
        lines.extend(indent + step_words(step, cell) for step in steps[index : index + length])
        index += length * times
    return lines


# Longest pattern looked for when a train is folded into one line.
_LONGEST_PATTERN = 6


def _train(steps: Sequence[Step], index: int) -> tuple[int, int]:
    """Return (length, times) of the longest repetition that begins at `index`.

    NaN fields compare unequal to themselves, so steps are compared by what is printed of them.
    """
    best = (1, 1)
    for length in range(1, _LONGEST_PATTERN + 1):
        pattern = [_key(step) for step in steps[index : index + length]]
        times = 1
        while True:
            start = index + times * length
            following = [_key(step) for step in steps[start : start + length]]
            if following != pattern:
                break
            times += 1
        if times > 1 and length * times > best[0] * best[1]:
            best = (length, times)
    return best


def _key(step: Step) -> str:
    return repr(step)
