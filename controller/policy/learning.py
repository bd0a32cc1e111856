"""What a treatment gave back, from randomised contrasts only.

At every opportunity where the rule would treat, treatment is withheld at random with a journalled
probability. The effect is the difference of net charge between treated and withheld opportunities,
each weighted by the inverse of its probability, with the loss before it as covariate (a cell is
treated when a cycle looks bad, and the next looks better by itself).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Final

MINIMUM_PER_ARM: Final = 5
_NORMAL_95: Final = 1.959964


@dataclass(slots=True, kw_only=True)
class Opportunity:
    """One opportunity of one recipe.

    Attributes
    ----------
    cycle : int
        Cycle in which it was decided; the block runs from its anchor to the next one.
    recipe : str
    treated : bool
    probability : float
        Of being treated.
    net_before_Ah : float
        Net charge of the last cycle before it (covariate).
    net_charge_Ah, u_net_charge_Ah : float or None
        Net charge from anchor to anchor; None while it runs or when it was excluded.
    excluded : str
        Why it does not count; empty where it does.
    """

    cycle: int
    recipe: str
    treated: bool
    probability: float
    net_before_Ah: float
    net_charge_Ah: float | None = None
    u_net_charge_Ah: float | None = None
    excluded: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """Effect of one recipe at a horizon of one cycle.

    `recovered_Ah` and `u_recovered_Ah` are None, with the reason, where it cannot be told.
    """

    recipe: str
    treated: int
    withheld: int
    recovered_Ah: float | None
    u_recovered_Ah: float | None
    reason: str


def uniform(seed: int, index: int) -> float:
    """Return a number in [0, 1) that depends on `seed` and `index` alone.

    A hash instead of a generator: a replay, or a run resumed after a crash, draws the same.
    """
    digest = hashlib.sha256(f"opportunity {seed} {index}".encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2.0**56


def effect_of(recipe: str, opportunities: list[Opportunity], *, not_credited: str = "") -> Effect:
    """Return the effect of `recipe` from its finished opportunities.

    Parameters
    ----------
    recipe : str
    opportunities : list of Opportunity
        Of all recipes.
    not_credited : str
        Why net charge does not measure this recipe's effect; empty where it does.
    """
    mine = [
        one
        for one in opportunities
        if one.recipe == recipe and one.net_charge_Ah is not None and not one.excluded
    ]
    treated = [one for one in mine if one.treated]
    withheld = [one for one in mine if not one.treated]
    if not_credited:
        return Effect(
            recipe=recipe,
            treated=len(treated),
            withheld=len(withheld),
            recovered_Ah=None,
            u_recovered_Ah=None,
            reason=not_credited,
        )
    if min(len(treated), len(withheld)) < MINIMUM_PER_ARM:
        return Effect(
            recipe=recipe,
            treated=len(treated),
            withheld=len(withheld),
            recovered_Ah=None,
            u_recovered_Ah=None,
            reason=f"{len(treated)} treated and {len(withheld)} withheld opportunities; "
            f"{MINIMUM_PER_ARM} of each are needed",
        )
    slope = _pooled_slope(treated, withheld)
    few = student_factor(2 * min(len(treated), len(withheld)) - 2)
    mean_treated, u_treated = _weighted_mean(treated, slope, few)
    mean_withheld, u_withheld = _weighted_mean(withheld, slope, few)
    return Effect(
        recipe=recipe,
        treated=len(treated),
        withheld=len(withheld),
        recovered_Ah=mean_treated - mean_withheld,
        u_recovered_Ah=math.hypot(u_treated, u_withheld),
        reason="randomised contrast, horizon 1 cycle, anchor to anchor",
    )


def student_factor(freedom: int) -> float:
    """Return how much wider than normal Student's 95 % interval is (Cornish-Fisher)."""
    z = _NORMAL_95
    first = (z**3 + z) / 4.0
    second = (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0
    return (z + first / freedom + second / freedom**2) / z


def _pooled_slope(treated: list[Opportunity], withheld: list[Opportunity]) -> float:
    """Return the common slope of net charge on the net charge before, within the arms."""
    numerator = denominator = 0.0
    for arm in (treated, withheld):
        mean_x = sum(one.net_before_Ah for one in arm) / len(arm)
        mean_y = sum(one.net_charge_Ah or 0.0 for one in arm) / len(arm)
        for one in arm:
            dx = one.net_before_Ah - mean_x
            numerator += dx * ((one.net_charge_Ah or 0.0) - mean_y)
            denominator += dx * dx
    return numerator / denominator if denominator > 0.0 else 0.0


def _weighted_mean(arm: list[Opportunity], slope: float, few: float) -> tuple[float, float]:
    """Return the inverse-probability weighted mean of the adjusted net charge, and its u.

    The spread between opportunities averages down, the readings' own uncertainty does not: gain and
    offset are the same in every cycle, and a treatment that uses another current range carries
    that range's gain error into each of its opportunities. `few` widens the spread, which is taken
    from few opportunities.
    """
    weights = [1.0 / (one.probability if one.treated else 1.0 - one.probability) for one in arm]
    adjusted = [(one.net_charge_Ah or 0.0) - slope * one.net_before_Ah for one in arm]
    total = sum(weights)
    mean = sum(w * y for w, y in zip(weights, adjusted, strict=True)) / total
    n_effective = total * total / sum(w * w for w in weights)
    variance = sum(w * (y - mean) ** 2 for w, y in zip(weights, adjusted, strict=True)) / total
    spread = variance / max(n_effective - 1.0, 1.0)
    own = sum(w * (one.u_net_charge_Ah or 0.0) for w, one in zip(weights, arm, strict=True)) / total
    return mean, math.hypot(few * math.sqrt(spread), own)
