"""How far a figure lies from what the same cell's cycles before it foretell.

A line with a prior on each of its slopes (ridge regression), so that a dozen cycles suffice for as
many slopes: what the cell has not shown yet stays as uncertain as the prior, and the uncertainty of
what is foretold says so. Observations that stand out weigh less (Student's weights), and the
scatter is the cell's own, begun from the prior's.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.domain.sample import NAN

Vector = NDArray[np.floating]

SCATTER_COUNTS: Final = 4  # observations that the prior's scatter weighs as much as. Assumed, 3-6
STUDENT: Final = 2.0  # standard deviations at which an observation's weight is halved
ROUNDS: Final = 4
MAD_PER_SIGMA: Final = 0.6745


class Beyond(NamedTuple):
    """How far a figure lies from what was foretold of it.

    Attributes
    ----------
    more : float
        Than was foretold; NaN where there is too little to tell from.
    u : float
        Standard uncertainty of what was foretold.
    """

    more: float
    u: float


UNKNOWN: Final = Beyond(NAN, NAN)


class Prior(NamedTuple):
    """What is known before the cell has shown anything.

    Attributes
    ----------
    mean : array, shape (k,)
    covariance : array, shape (k, k)
        Of the slopes.
    scatter : float
        Standard deviation of an observation about the line.
    """

    mean: Vector
    covariance: Vector
    scatter: float


def beyond(rows: Vector, values: Vector, variances: Vector, prior: Prior) -> Beyond:
    """Return how far the last of some values lies from what those before it foretell.

    Parameters
    ----------
    rows : array, shape (n, k)
        What each value depends on.
    values : array, shape (n,)
    variances : array, shape (n,)
        Of each value, beyond the scatter that all have.
    prior : Prior
    """
    known, last = rows[:-1], rows[-1]
    above = values[:-1] - known @ prior.mean
    scatter = prior.scatter
    gain = _gain(known, prior, scatter**2 + variances[:-1])
    for _ in range(ROUNDS):
        left = above - known @ (gain @ above)
        sigma = np.sqrt(scatter**2 + variances[:-1])
        own = float(np.median(np.abs(left) / sigma)) * scatter / MAD_PER_SIGMA
        weights = 1.0 / (1.0 + (left / (STUDENT * sigma)) ** 2)
        n = len(known)
        scatter = math.sqrt((SCATTER_COUNTS * prior.scatter**2 + n * own**2) / (SCATTER_COUNTS + n))
        gain = _gain(known, prior, scatter**2 / weights + variances[:-1])
    covariance = prior.covariance - gain @ known @ prior.covariance
    u = math.sqrt(float(last @ covariance @ last) + scatter**2 + float(variances[-1]))
    return Beyond(float(values[-1] - last @ (prior.mean + gain @ above)), u)


def _gain(known: Vector, prior: Prior, variances: Vector) -> Vector:
    """Return how the slopes follow from what the observations lie above the prior's mean."""
    covariance = known @ prior.covariance @ known.T + np.diag(variances)
    gain: Vector = np.linalg.solve(covariance, known @ prior.covariance).T
    return gain
