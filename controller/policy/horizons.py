"""What a treatment gave back 1, 5 and 20 cycles on: from randomised contrasts, and by forecast.

`effect_of` (`controller.policy.learning`) compares the treated block with the withheld one. Further
on the next treatments come in between: at a usual cadence no window of 20 cycles is free of them.
So the horizon grows cycle by cycle, and what later treatments in a window gave by its end is taken
off: it was told at a shorter horizon. Assumed: what treatments do adds up, and the later ones of a
window do what they do on average. A reference test, which may act as a treatment itself, is a
column of its own. A window that is not complete, or in which the run was interrupted (or up to
three cycles before it), does not count towards the five treated and five withheld.

Only what was drawn by chance identifies the effect: an opportunity itself (the cell looked bad, the
next cycle looks better whatever is done) is compared with opportunities.

The forecast is the second, weaker estimate: net charge after a treatment less the trend before it.
It needs no withheld opportunities, and has no defence against regression to the mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from controller.domain.figures import (
    EXCLUDED_AFTER_INTERRUPTION,
    INTERRUPTED,
    SPOILS_EFFECT,
    CycleFigures,
    CycleKind,
)
from controller.policy.learning import (
    MINIMUM_PER_ARM,
    Opportunity,
    common_u_Ah,
    effect_of,
)
from controller.policy.untreated import Gained, Outcome, beyond_untreated, student_factor

HORIZONS: Final = (1, 5, 20)
# The forecast: base cycles before a treatment that its trend is drawn through, at least and at
# most, and cycles after another treatment that it leaves out, for what that does later would be
# taken for the trend. Assumed.
TREND_AT_LEAST: Final = 4
TREND_AT_MOST: Final = 12
SETTLED_AFTER: Final = 5


class Course(NamedTuple):
    """What a run's closed cycles hold for effects.

    Attributes
    ----------
    usable : dict
        By number the base cycles that follow a base cycle, whole, and whether that one ended in an
        anchor.
    tests : tuple of int
        Reference tests. What one gives by itself shows from the second cycle after it on: the first
        begins from the state of another rate, and is not used.
    interrupted : frozenset of int
        Cycles in which the run was interrupted, and those after that do not count either.
    """

    usable: dict[int, tuple[CycleFigures, bool]]
    tests: tuple[int, ...]
    interrupted: frozenset[int]


class Source(StrEnum):
    """Where an effect comes from."""

    CONTRAST = "randomised contrasts"
    FORECAST = "untreated forecast"


@dataclass(frozen=True, slots=True, kw_only=True)
class HorizonEffect:
    """Effect of one application of a recipe on cumulative net charge, so many cycles on.

    `recovered_Ah` and `u_recovered_Ah` are None, with the reason, where it cannot be told.
    `treated` and `withheld` count opportunities whose window is complete.
    """

    recipe: str
    horizon: int
    source: Source
    treated: int
    withheld: int
    recovered_Ah: float | None
    u_recovered_Ah: float | None
    reason: str


def effects_of(
    recipe: str,
    opportunities: Sequence[Opportunity],
    history: Sequence[CycleFigures],
    *,
    not_credited: str = "",
) -> tuple[HorizonEffect, ...]:
    """Return the effect of a recipe at each of `HORIZONS`, from randomised contrasts.

    Parameters
    ----------
    recipe : str
    opportunities : sequence of Opportunity
        Of all recipes.
    history : sequence of CycleFigures
        All closed cycles.
    not_credited : str
        Why net charge does not measure this recipe's effect; empty where it does.
    """
    near = effect_of(recipe, list(opportunities), not_credited=not_credited)
    effects = [
        HorizonEffect(
            recipe=recipe,
            horizon=1,
            source=Source.CONTRAST,
            treated=near.treated,
            withheld=near.withheld,
            recovered_Ah=near.recovered_Ah,
            u_recovered_Ah=near.u_recovered_Ah,
            reason=near.reason,
        )
    ]
    course = _course(history)
    told = {} if not_credited else _told(opportunities, course)
    for horizon in HORIZONS[1:]:
        mine = _complete(recipe, opportunities, course, horizon)
        treated = sum(one.treated for one in mine)
        withheld = len(mine) - treated
        gained = told.get(recipe, {}).get(horizon)
        recovered_Ah = u_Ah = None
        if not_credited:
            reason = not_credited
        elif min(treated, withheld) < MINIMUM_PER_ARM:
            reason = (
                f"{treated} treated and {withheld} withheld opportunities with {horizon} whole "
                f"cycles after them; {MINIMUM_PER_ARM} of each are needed"
            )
        elif gained is None:
            reason = (
                "too few windows whose later treatments have an effect that is known: "
                f"{MINIMUM_PER_ARM} treated and {MINIMUM_PER_ARM} withheld are needed"
            )
        else:
            # a range of its own is used once, whatever the horizon
            recovered_Ah, u_Ah = gained.value_Ah, math.hypot(gained.u_Ah, common_u_Ah(mine))
            reason = (
                f"randomised contrast, horizon {horizon} cycles; what later treatments gave is "
                "taken off"
            )
        effects.append(
            HorizonEffect(
                recipe=recipe,
                horizon=horizon,
                source=Source.CONTRAST,
                treated=treated,
                withheld=withheld,
                recovered_Ah=recovered_Ah,
                u_recovered_Ah=u_Ah,
                reason=reason,
            )
        )
    return tuple(effects)


def _told(opportunities: Sequence[Opportunity], course: Course) -> dict[str, dict[int, Gained]]:
    """Return what each recipe gave by each horizon, as far as it can be told."""
    told: dict[str, dict[int, Gained]] = {one.recipe: {} for one in opportunities}
    usable = course.usable
    numbers = sorted(usable)
    if not numbers:
        return told
    nets_Ah = [usable[number][0].net_charge_Ah for number in numbers]
    whole = range(numbers[0], numbers[-1] + 1)
    # a cycle that is left out counts as what lies between its neighbours
    since_Ah = np.concatenate([[0.0], np.cumsum(np.interp(whole, numbers, nets_Ah))])
    for horizon in range(1, max(HORIZONS) + 1):
        for recipe, by_horizon in told.items():
            outcomes = []
            for one in _complete(recipe, opportunities, course, horizon):
                later_Ah = _given_later_Ah(one, horizon, opportunities, told)
                if later_Ah is not None:
                    at = one.cycle + 1 - whole[0]
                    net_Ah = float(since_Ah[at + horizon] - since_Ah[at])
                    last = one.cycle + horizon
                    outcomes.append(
                        Outcome(
                            one.cycle, one.treated, one.probability, one.net_before_Ah,
                            net_Ah - later_Ah, _anchors(one.cycle, last, course),
                            sum(one.cycle < test + 2 <= last for test in course.tests),
                        )
                    )  # fmt: skip
            treated = sum(one.treated for one in outcomes)
            if min(treated, len(outcomes) - treated) >= MINIMUM_PER_ARM:
                gained = beyond_untreated(outcomes)
                if gained is not None:
                    by_horizon[horizon] = gained
    return told


def _given_later_Ah(
    one: Opportunity,
    horizon: int,
    opportunities: Sequence[Opportunity],
    told: Mapping[str, Mapping[int, Gained]],
) -> float | None:
    """Return what treatments after an opportunity gave by its horizon; None if not known."""
    given_Ah = 0.0
    for other in opportunities:
        left = one.cycle + horizon - other.cycle
        if other.treated and other.cycle > one.cycle and left > 0:
            gained = told[other.recipe].get(left)
            if gained is None:
                return None
            given_Ah += gained.value_Ah
    return given_Ah


def _anchors(first: int, last: int, course: Course) -> int:
    """Return whether a window ends in an anchor and began from none (1), or the reverse (-1)."""
    usable = course.usable
    began = usable[first + 1][1]
    ended = usable[last][0].anchored if last in usable else began
    return int(ended) - int(began)


def _course(history: Sequence[CycleFigures]) -> Course:
    """Return what these cycles hold for effects."""
    interrupted = frozenset(
        one.cycle + after
        for one in history
        if INTERRUPTED.intersection(one.flags)
        for after in range(EXCLUDED_AFTER_INTERRUPTION + 1)
    )
    usable = {
        one.cycle: (one, before.anchored)
        for before, one in pairwise(history)
        if one.kind is CycleKind.BASE
        and before.kind is CycleKind.BASE
        and one.cycle not in interrupted
        and not SPOILS_EFFECT.intersection(one.flags)
        and math.isfinite(one.net_charge_Ah)
    }
    tests = tuple(one.cycle for one in history if one.kind is CycleKind.REFERENCE)
    return Course(usable, tests, interrupted)


def _complete(
    recipe: str,
    opportunities: Sequence[Opportunity],
    course: Course,
    horizon: int,
) -> list[Opportunity]:
    """Return the recipe's opportunities that have their cycles: four of five, and the first.

    None with an interruption among them.
    """
    usable = course.usable
    found = []
    for one in opportunities:
        window = range(one.cycle + 1, one.cycle + 1 + horizon)
        there = sum(number in usable for number in window)
        # a reference test in between takes a cycle out; the run has to have gone on that far
        reached = max(usable, default=0) >= window[-1]
        if (
            one.recipe == recipe
            and not one.excluded
            and window[0] in usable
            and reached
            and there >= 0.8 * horizon
            and course.interrupted.isdisjoint(window)
        ):
            found.append(one)
    return found


# -- forecast -----------------------------------------------------------------------------------


def forecast_effects_of(
    recipe: str,
    opportunities: Sequence[Opportunity],
    history: Sequence[CycleFigures],
    *,
    not_credited: str = "",
) -> tuple[HorizonEffect, ...]:
    """Return net charge after a recipe less its untreated forecast, at each of `HORIZONS`.

    A window in which another treatment was given is censored; so is one without `TREND_AT_LEAST`
    untreated cycles before it. `withheld` counts windows of the same kind after withheld
    opportunities; what they deviate from their own forecast is taken off.
    """
    course = _course(history)
    given = sorted(one.cycle + 1 for one in opportunities if one.treated)
    effects = []
    for horizon in HORIZONS:
        arms: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        for one in _complete(recipe, opportunities, course, horizon):
            deviation = _deviation(one, given, course, horizon)
            if deviation is not None:
                arms[one.treated].append(deviation)
        treated, withheld = len(arms[True]), len(arms[False])
        cycles = "cycle" if horizon == 1 else "cycles"
        recovered_Ah = u_Ah = None
        if not_credited:
            reason = not_credited
        elif treated < MINIMUM_PER_ARM:
            reason = (
                f"{treated} treated opportunities with {horizon} {cycles} after and "
                f"{TREND_AT_LEAST} before them free of other treatments; "
                f"{MINIMUM_PER_ARM} are needed"
            )
        else:
            recovered_Ah, u_Ah = _mean(arms[True])
            reason = f"less the cell's own trend, horizon {horizon} cycles; not randomised"
            if withheld >= MINIMUM_PER_ARM:
                placebo_Ah, u_placebo_Ah = _mean(arms[False])
                recovered_Ah -= placebo_Ah
                u_Ah = math.hypot(u_Ah, u_placebo_Ah)
                reason += ", less what withheld opportunities deviate"
        effects.append(
            HorizonEffect(
                recipe=recipe,
                horizon=horizon,
                source=Source.FORECAST,
                treated=treated,
                withheld=withheld,
                recovered_Ah=recovered_Ah,
                u_recovered_Ah=u_Ah,
                reason=reason,
            )
        )
    return tuple(effects)


def _deviation(
    one: Opportunity,
    given: Sequence[int],
    course: Course,
    horizon: int,
) -> tuple[float, float] | None:
    """Return net charge less its forecast over the window, and its u; None if censored."""
    usable = course.usable
    window = [n for n in range(one.cycle + 1, one.cycle + 1 + horizon) if n in usable]
    if any(one.cycle + 1 < other <= window[-1] for other in given):
        return None
    before = [
        number
        for number in sorted(usable)
        if number <= one.cycle
        and not any(0 <= number - other <= SETTLED_AFTER for other in given)
        and usable[number][0].anchored == usable[number][1]
    ][-TREND_AT_MOST:]
    if len(before) < TREND_AT_LEAST:
        return None
    x = np.array(before, dtype=float)
    y = np.array([usable[number][0].net_charge_Ah for number in before])
    middle = x.mean()
    sxx = float(np.sum((x - middle) ** 2))
    slope = float((x - middle) @ y) / sxx
    residual = y - y.mean() - slope * (x - middle)
    freedom = len(before) - 2
    variance = float(residual @ residual) / freedom
    ahead = np.array(window, dtype=float) - middle
    forecast = len(window) * y.mean() + slope * float(np.sum(ahead))
    u = math.sqrt(
        variance * (len(window) + len(window) ** 2 / len(before) + float(np.sum(ahead)) ** 2 / sxx)
    ) * student_factor(freedom)
    own = max(usable[number][0].u_net_charge_Ah for number in window)
    net = sum(usable[number][0].net_charge_Ah for number in window)
    return net - float(forecast), math.hypot(u, own)


def _mean(arm: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the mean deviation and its u: the larger of stated and seen, not below one's own.

    Forecasts of one cell share cycles before them, so that they do not average down as n.
    """
    values = [value for value, _ in arm]
    mean = sum(values) / len(values)
    stated = math.sqrt(sum(u * u for _, u in arm)) / len(arm)
    seen = math.sqrt(sum((value - mean) ** 2 for value in values) / (len(arm) - 1) / len(arm))
    return mean, math.sqrt(2.0) * max(stated, seen * student_factor(len(arm) - 1))
