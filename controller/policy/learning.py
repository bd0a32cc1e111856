"""What a treatment gave back, from randomised contrasts only.

At every opportunity where the rule would treat, treatment is withheld at random with a journalled
probability. The effect is what treated opportunities gave beyond what the withheld ones say that
they would have given (`untreated`): a cell is treated when a cycle looks bad, and the next looks
better by itself.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from controller.domain.figures import RangeErrors, range_errors
from controller.policy.untreated import Outcome, beyond_untreated

MINIMUM_PER_ARM: Final = 5
TOO_FEW: Final = "withheld opportunities of so different probabilities are too few for a line"


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
    net_errors : tuple of RangeErrors
        What of that u is the same in every cycle, by current range.
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
    net_errors: tuple[RangeErrors, ...] = ()


def opportunity_from(plain: Mapping[str, Any]) -> Opportunity:
    """Return an opportunity from its plain form, as JSON has it."""
    known = {name: value for name, value in plain.items() if name in Opportunity.__slots__}
    return Opportunity(**{**known, "net_errors": range_errors(known.get("net_errors", ()))})


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
    excluded = [one.excluded for one in opportunities if one.recipe == recipe and one.excluded]
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
            f"{MINIMUM_PER_ARM} of each are needed"
            + (f"; {len(excluded)} do not count (last: {excluded[-1]})" if excluded else ""),
        )
    gained = beyond_untreated([_outcome(one) for one in mine])
    return Effect(
        recipe=recipe,
        treated=len(treated),
        withheld=len(withheld),
        recovered_Ah=gained.value_Ah if gained else None,
        u_recovered_Ah=math.hypot(gained.u_Ah, common_u_Ah(mine)) if gained else None,
        reason="randomised contrast, horizon 1 cycle, anchor to anchor" if gained else TOO_FEW,
    )


def _outcome(one: Opportunity) -> Outcome:
    """Return an opportunity and what came of it by its next anchor."""
    return Outcome(
        cycle=one.cycle,
        treated=one.treated,
        probability=one.probability,
        before_Ah=one.net_before_Ah,
        net_Ah=one.net_charge_Ah or 0.0,
    )


def common_u_Ah(opportunities: Sequence[Opportunity]) -> float:
    """Return what is the same in every cycle and does not cancel between the arms (Ah).

    Gain and offset of a current range do, but for what one arm passed more there, or for longer: a
    treatment that uses a range of its own carries that range's gain error into each of its
    opportunities. What else the readings leave open (how the current went between them) is taken
    for the same each time, too. Where the ranges are not known nothing cancels.
    """
    arms = tuple([one for one in opportunities if one.treated is given] for given in (True, False))
    if not all(one.net_errors for arm in arms for one in arm):
        return math.hypot(*(_mean([one.u_net_charge_Ah or 0.0 for one in arm]) for arm in arms))
    ranges = {error.range_A for arm in arms for one in arm for error in one.net_errors}
    apart = []
    for range_A in sorted(ranges):
        for part in ("gain_Ah", "offset_Ah"):
            of_treated, of_withheld = (
                sum(getattr(e, part) for one in arm for e in one.net_errors if e.range_A == range_A)
                / len(arm)
                for arm in arms
            )
            apart.append(of_treated - of_withheld)
    of_treated, of_withheld = (_mean([_else_u_Ah(one) for one in arm]) for arm in arms)
    return math.hypot(*apart, of_treated - of_withheld)


def _else_u_Ah(one: Opportunity) -> float:
    """Return what of an opportunity's u is neither gain nor offset."""
    known = math.hypot(*(part for error in one.net_errors for part in error[1:]))
    return math.sqrt(max((one.u_net_charge_Ah or 0.0) ** 2 - known**2, 0.0))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
