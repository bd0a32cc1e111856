"""What treated opportunities gave beyond what they would have given untreated.

The withheld ones tell: a line through their net charge over that of the cycle before, in which the
cell's ageing and what earlier treatments still do show already. Once without a drift over the
cycles beside it, once with one; the middle of the two is taken. Withheld ones count by the odds of
their probability, so that together they stand for the treated ones. An effect that is not the same
each time, as it grows with what there is to bring back, leaves nothing uncertain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

# The lines need not be straight: a share of what they move the untreated by is uncertain. Assumed,
# 1-10 %.
BENT: Final = 0.02
STEPS: Final = (1, 2)  # columns of a line: what an anchor or a test gives, no slope that could bend
SAME: Final = 1e-6  # values within this share of each other have no line through them
_NORMAL_95: Final = 1.959964


class Outcome(NamedTuple):
    """One opportunity and what came of it.

    Attributes
    ----------
    cycle : int
    treated : bool
    probability : float
        Of being treated.
    before_Ah : float
        Net charge of the cycle before.
    net_Ah : float
        Net charge since.
    anchors : int
        1 where it ends in an anchor and began from none, -1 the other way round, else 0.
    tests : int
        Reference tests since: what they give is the same in both arms.
    """

    cycle: int
    treated: bool
    probability: float
    before_Ah: float
    net_Ah: float
    anchors: int = 0
    tests: int = 0


class Gained(NamedTuple):
    """Mean of what the treated opportunities gave beyond the untreated (Ah), and its standard u."""

    value_Ah: float
    u_Ah: float


def beyond_untreated(outcomes: Sequence[Outcome]) -> Gained | None:
    """Return what the treated opportunities gave on average beyond what they would have given.

    Parameters
    ----------
    outcomes : sequence of Outcome

    Returns
    -------
    Gained or None
        None where the withheld ones are too few for a line. The u holds their scatter about it, not
        what the readings have in common.
    """
    plain = _through(outcomes, drift=False)
    if plain is None:
        return None
    drifting = _through(outcomes, drift=True) or plain
    return Gained(
        0.5 * (plain.value_Ah + drifting.value_Ah),
        math.hypot(
            max(plain.u_Ah, drifting.u_Ah),
            0.5 * (plain.value_Ah - drifting.value_Ah),
            BENT * 0.5 * (plain.moved_Ah + drifting.moved_Ah),
        ),
    )


class _Line(NamedTuple):
    """What the treated gave beyond a line, its u by scatter, and what its slopes moved it by."""

    value_Ah: float
    u_Ah: float
    moved_Ah: float


def _through(outcomes: Sequence[Outcome], *, drift: bool) -> _Line | None:
    """Return what the treated gave beyond a line through the withheld; None if too few for it."""
    treated = [one for one in outcomes if one.treated]
    withheld = [one for one in outcomes if not one.treated]
    weights = np.array([one.probability / (1.0 - one.probability) for one in withheld])
    if not len(weights) or not treated:
        return None
    weights = weights / weights.sum()
    count = 1.0 / float(weights @ weights)  # as many of equal weight
    there = _columns(withheld, drift=drift)
    centre = weights @ there
    spread = np.sqrt(weights @ (there - centre) ** 2)
    kept = spread > SAME * np.abs(centre)
    freedom = count - 1.0 - int(kept.sum())
    if freedom < 1.0:
        return None
    scaled = (there - centre)[:, kept] / spread[kept]
    net = np.array([one.net_Ah for one in withheld])
    mean = float(weights @ net)
    inverse = np.linalg.pinv(scaled.T @ (weights[:, None] * scaled))
    slopes = inverse @ scaled.T @ (weights * (net - mean))
    left = net - mean - scaled @ slopes
    variance = float(weights @ left**2) * count / freedom
    away = (_columns(treated, drift=drift).mean(axis=0) - centre)[kept] / spread[kept]
    moved = slopes * away
    given = sum(one.net_Ah for one in treated) / len(treated)
    bends = ~np.isin(np.flatnonzero(kept), STEPS)
    reach = (1.0 + float(away @ inverse @ away)) / count + 1.0 / len(treated)
    u_Ah = student_factor(freedom) * math.sqrt(variance * reach)
    return _Line(given - mean - float(moved.sum()), u_Ah, float(moved[bends].sum()))


def _columns(outcomes: Sequence[Outcome], *, drift: bool) -> Numbers:
    rows = [
        [one.before_Ah, one.anchors, one.tests, *([one.cycle] if drift else [])] for one in outcomes
    ]
    return np.array(rows, dtype=float)


def student_factor(freedom: float) -> float:
    """Return how much wider than normal Student's 95 % interval is (Cornish-Fisher)."""
    z = _NORMAL_95
    first = (z**3 + z) / 4.0
    second = (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0
    third = (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / 384.0
    return (z + first / freedom + second / freedom**2 + third / freedom**3) / z
