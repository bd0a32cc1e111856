"""What a treatment gave back 1, 5 and 20 cycles on: from randomised contrasts, and by forecast.

`effect_of` (`controller.policy.learning`) compares the treated block with the withheld one. Further
on the next treatments come in between: at a usual cadence no window of 20 cycles is free of them.
So the net charge of every base cycle is laid out as the sum of a trend and of what each treatment
does 1, 2-5 and 6-20 cycles after it. Assumed: what treatments do adds up, and is over after 20
cycles. Later treatments are thus modelled, not censored; a window that is not complete, or in which
the run was interrupted, does not count towards the five treated and five withheld.

Only what was drawn by chance identifies the effect: an opportunity itself (the cell looked bad, the
next cycle looks better whatever is done) has columns of its own, weighted by its probability, and
treatment is instrumented by its difference from that probability.

The forecast is the second, weaker estimate: net charge after a treatment less the trend before it.
It needs no withheld opportunities, and has no defence against regression to the mean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from controller.domain.figures import CycleFigures, CycleKind
from controller.policy.learning import (
    MINIMUM_PER_ARM,
    Opportunity,
    effect_of,
    student_factor,
)

Numbers = NDArray[np.float64]

HORIZONS: Final = (1, 5, 20)
# Cycles after a treatment, by group of equal effect a cycle.
_GROUPS: Final = ((1, 1), (2, 5), (6, 20))
_ONES: Final = tuple(last - first + 1 for first, last in _GROUPS)
# Neighbouring cycles whose residuals may be correlated. Assumed, 1-4.
_CORRELATED: Final = 2
# The forecast: base cycles before a treatment that its trend is drawn through, at least and at
# most, and cycles after another treatment that it leaves out, for what that does later would be
# taken for the trend. Assumed.
TREND_AT_LEAST: Final = 4
TREND_AT_MOST: Final = 12
SETTLED_AFTER: Final = 5
SPOILS: Final = frozenset({"unobserved-charge", "interrupted", "treatment-abandoned"})


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
    usable = _usable(history)
    fitted = None
    for horizon in HORIZONS[1:]:
        mine = _complete(recipe, opportunities, usable, horizon)
        treated = sum(one.treated for one in mine)
        withheld = len(mine) - treated
        recovered_Ah = u_Ah = None
        if not_credited:
            reason = not_credited
        elif min(treated, withheld) < MINIMUM_PER_ARM:
            reason = (
                f"{treated} treated and {withheld} withheld opportunities with {horizon} whole "
                f"cycles after them; {MINIMUM_PER_ARM} of each are needed"
            )
        else:
            fitted = fitted or _fit(recipe, opportunities, usable)
            reason = "the cycles do not part the treatments from each other"
            if fitted is not None:
                recovered_Ah, u_Ah = fitted.effect(horizon, min(treated, withheld))
                u_Ah = math.hypot(u_Ah, _own_u_Ah(mine))
                reason = (
                    f"randomised contrast, horizon {horizon} cycles; later treatments are modelled "
                    "as adding up"
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


def _usable(history: Sequence[CycleFigures]) -> dict[int, tuple[CycleFigures, bool]]:
    """Return by number the base cycles that follow a base cycle, whole, and how that one ended."""
    return {
        one.cycle: (one, before.anchored)
        for before, one in pairwise(history)
        if one.kind is CycleKind.BASE
        and before.kind is CycleKind.BASE
        and not SPOILS.intersection(one.flags)
        and math.isfinite(one.net_charge_Ah)
    }


def _complete(
    recipe: str,
    opportunities: Sequence[Opportunity],
    usable: Mapping[int, tuple[CycleFigures, bool]],
    horizon: int,
) -> list[Opportunity]:
    """Return the recipe's opportunities that have their cycles: four of five, and the first."""
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
        ):
            found.append(one)
    return found


def _own_u_Ah(mine: Sequence[Opportunity]) -> float:
    """Return what the readings themselves leave open: the same in every cycle, not averaged down.

    Gain and offset are common to the arms except where a treatment uses a range of its own, which
    it does once, whatever the horizon.
    """
    arms = [
        [one.u_net_charge_Ah or 0.0 for one in mine if one.treated is treated]
        for treated in (True, False)
    ]
    return math.hypot(*(sum(arm) / len(arm) for arm in arms))


@dataclass(frozen=True, slots=True)
class _Fit:
    """Effect a cycle by group of lags, its covariances, and degrees of freedom.

    Covariances: with residuals correlated and uneven, and with even ones. The first is too small
    where an arm is small, so the larger counts.
    """

    effect_Ah: Numbers
    correlated: Numbers
    even: Numbers
    freedom: int

    def effect(self, horizon: int, smaller_arm: int) -> tuple[float, float]:
        """Return cumulative effect and standard uncertainty, widened for few opportunities."""
        counts = np.array(
            [
                float(min(count, max(horizon - first + 1, 0)))
                for (first, _), count in zip(_GROUPS, _ONES, strict=True)
            ]
        )
        variance = max(float(counts @ one @ counts) for one in (self.correlated, self.even))
        freedom = min(self.freedom, 2 * smaller_arm - 2)
        u_Ah = math.sqrt(max(variance, 0.0)) * student_factor(freedom)
        return float(counts @ self.effect_Ah), u_Ah


def _fit(
    recipe: str,
    opportunities: Sequence[Opportunity],
    usable: Mapping[int, tuple[CycleFigures, bool]],
) -> _Fit | None:
    """Lay out net charge as trend, opportunities and treatments; None where that cannot be."""
    numbers = np.array(sorted(usable))
    y = np.array([usable[number][0].net_charge_Ah for number in numbers])
    centred = (numbers - numbers.mean()) / max(len(numbers), 1)
    # An anchor takes what the discharge left; a cycle that begins from one finds less to take.
    anchored = np.array([float(usable[n][0].anchored) - float(usable[n][1]) for n in numbers])
    plain = [np.ones(len(numbers)), centred]
    if np.any(anchored):
        plain.append(anchored)
    names = [recipe, *sorted({one.recipe for one in opportunities} - {recipe})]
    treated, drawn = [], []
    for name in names:
        mine = [one for one in opportunities if one.recipe == name and not one.excluded]
        for first, last in _GROUPS:
            asked, given = np.zeros(len(numbers)), np.zeros(len(numbers))
            for one in mine:
                hit = (numbers > one.cycle + first - 1) & (numbers <= one.cycle + last)
                asked += hit * one.probability
                given += hit * float(one.treated)
            plain.append(asked)
            treated.append(given)
            drawn.append(given - asked)
    regressors = np.column_stack([*treated, *plain])
    instruments = np.column_stack([*drawn, *plain])
    kept = _independent(instruments)
    if not set(range(len(_GROUPS))) <= set(kept) or len(numbers) - len(kept) < MINIMUM_PER_ARM:
        return None
    return _solve(regressors[:, kept], instruments[:, kept], y)


def _independent(columns: Numbers) -> list[int]:
    """Return the positions of columns that are not made of those before them."""
    kept: list[int] = []
    basis: list[Numbers] = []
    for position in range(columns.shape[1]):
        rest = columns[:, position].astype(float)
        size = float(np.linalg.norm(rest))
        for one in basis:
            rest = rest - float(one @ rest) * one
        left = float(np.linalg.norm(rest))
        if size > 0.0 and left > 1e-6 * size:
            kept.append(position)
            basis.append(rest / left)
    return kept


def _solve(regressors: Numbers, instruments: Numbers, y: Numbers) -> _Fit | None:
    """Return the instrumented fit, its covariance by Newey and West (1987)."""
    crossed = instruments.T @ regressors
    try:
        inverse = np.linalg.inv(crossed)
    except np.linalg.LinAlgError:
        return None
    effect = inverse @ (instruments.T @ y)
    count, width = regressors.shape
    residual = y - regressors @ effect
    moments = instruments * residual[:, None]
    middle = moments.T @ moments
    for lag in range(1, _CORRELATED + 1):
        weight = 1.0 - lag / (_CORRELATED + 1.0)
        shifted = moments[lag:].T @ moments[:-lag]
        middle += weight * (shifted + shifted.T)
    freedom = count - width
    correlated = inverse @ middle @ inverse.T * (count / freedom)
    even = (
        inverse @ (instruments.T @ instruments) @ inverse.T * float(residual @ residual) / freedom
    )
    groups = slice(0, len(_GROUPS))
    return _Fit(effect[groups], correlated[groups, groups], even[groups, groups], freedom)


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
    usable = _usable(history)
    given = sorted(one.cycle + 1 for one in opportunities if one.treated)
    effects = []
    for horizon in HORIZONS:
        arms: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        for one in _complete(recipe, opportunities, usable, horizon):
            deviation = _deviation(one, given, usable, horizon)
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
    usable: Mapping[int, tuple[CycleFigures, bool]],
    horizon: int,
) -> tuple[float, float] | None:
    """Return net charge less its forecast over the window, and its u; None if censored."""
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
