"""Mixtures of normals: moments, quantiles, survival, evidence, and their CRPS in closed form.

A Student t stands in here as a few normals of the same centre (`student`), so that everything a
forecast may be is one kind of thing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

# Probability of each of the normals that stand for a Student t, from the narrowest; small for the
# widest, which make the tail.
_T_WEIGHTS: Final = (0.30, 0.30, 0.22, 0.12, 0.05, 0.01)
_T_MIDDLES: Final = tuple(
    NormalDist().inv_cdf(1.0 - (sum(_T_WEIGHTS[:k]) + 0.5 * weight))
    for k, weight in enumerate(_T_WEIGHTS)
)
# erfc(x) = t exp(-x^2 + P(t)), t = 1 / (1 + x / 2), to 1.2e-7 of itself (Numerical Recipes, 6.2).
_ERFC: Final = (
    0.17087277,
    -0.82215223,
    1.48851587,
    -1.13520398,
    0.27886807,
    -0.18628806,
    0.09678418,
    0.37409196,
    1.00002368,
    -1.26551223,
)
_T_WIDEST: Final = 15.0  # times the scale: what a t of one degree of freedom has beyond is cut off
_HALVINGS: Final = 60
_FARTHEST: Final = 40.0  # standard deviations
_NEGLIGIBLE: Final = 1e-5  # of the weight


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """A weighted sum of normal distributions.

    Attributes
    ----------
    weights, means, sds : ndarray, shape (n,)
        Weights sum to 1; standard deviations are positive.
    """

    weights: Numbers
    means: Numbers
    sds: Numbers

    @property
    def mean(self) -> float:
        """Mean."""
        return float(self.weights @ self.means)

    @property
    def sd(self) -> float:
        """Standard deviation."""
        away = self.means - self.mean
        return math.sqrt(float(self.weights @ (self.sds**2 + away**2)))

    def cdf(self, x: float) -> float:
        """Return the probability of a value up to `x`."""
        return float(self.weights @ ndtr((x - self.means) / self.sds))

    def quantile(self, probability: float) -> float:
        """Return where `probability` (strictly between 0 and 1) is reached, by bisection."""
        low = float(np.min(self.means - _FARTHEST * self.sds))
        high = float(np.max(self.means + _FARTHEST * self.sds))
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            if self.cdf(middle) < probability:
                low = middle
            else:
                high = middle
        return 0.5 * (low + high)

    def interval(self, probability: float = 0.95) -> tuple[float, float]:
        """Return the central interval."""
        tail = 0.5 * (1.0 - probability)
        return self.quantile(tail), self.quantile(1.0 - tail)

    def crps(self, x: float) -> float:
        """Return the continuous ranked probability score of what came, in the unit of `x`.

        ``E|X - x| - E|X - X'| / 2``, each term closed for normals (Grimit et al. 2006,
        10.1256/qj.05.235).
        """
        own = float(self.weights @ _mean_magnitude(x - self.means, self.sds))
        between = _mean_magnitude(
            self.means[:, None] - self.means[None, :],
            np.hypot(self.sds[:, None], self.sds[None, :]),
        )
        return own - 0.5 * float(self.weights @ between @ self.weights)

    def density(self, x: float) -> float:
        """Return the probability density at `x`."""
        return float(self.weights @ (_bell((x - self.means) / self.sds) / self.sds))

    def moved(self, by: float, sd: float = 0.0) -> Mixture:
        """Return the distribution of the value plus an independent normal (`by`, `sd`)."""
        return Mixture(self.weights, self.means + by, np.hypot(self.sds, sd))

    def plus(self, other: Mixture) -> Mixture:
        """Return the distribution of the sum with an independent value."""
        return _tidy(
            np.outer(self.weights, other.weights).ravel(),
            np.add.outer(self.means, other.means).ravel(),
            np.hypot.outer(self.sds, other.sds).ravel(),
        )

    def exponential(self, divisor: float) -> Mixture:
        """Return the distribution of ``exp(value) / divisor``, linear around each centre."""
        centres = np.exp(self.means) / divisor
        return Mixture(self.weights, centres, centres * self.sds)

    def given(self, sightings: Iterable[tuple[float, float, float]]) -> Mixture:
        """Return the distribution after an independent observation (Bayes).

        Parameters
        ----------
        sightings : iterable of (weight, value, standard deviation)
            What the observation may mean: the value seen with a normal error, one of several ways.
        """
        logs, means, sds = [], [], []
        for weight, seen, sd in sightings:
            total = self.sds**2 + sd**2
            away = seen - self.means
            logs.append(
                math.log(weight)
                + np.log(self.weights)
                - 0.5 * np.log(total)
                - 0.5 * away**2 / total
            )
            gain = self.sds**2 / total
            means.append(self.means + gain * away)
            sds.append(sd * np.sqrt(gain))
        together = np.concatenate(logs)
        return _tidy(
            np.exp(together - np.max(together)), np.concatenate(means), np.concatenate(sds)
        )

    def above(self, bound: float) -> Mixture:
        """Return the distribution given that the value lies above `bound`.

        Each cut normal is replaced by the normal of the same mean and standard deviation. A
        distribution that had ruled this out is kept narrow just above the bound.
        """
        z = (bound - self.means) / self.sds
        left = ndtr(-z)
        if not float(self.weights @ left) > 1e-12:
            return Mixture(np.ones(1), np.array([bound + self.sd]), np.array([self.sd]))
        safe = np.maximum(left, 1e-300)
        ratio = np.where(left > 1e-12, _bell(z) / safe, np.maximum(z, 0.0))
        shrunk = np.clip(1.0 + z * ratio - ratio**2, 1e-4, 1.0)
        return _tidy(self.weights * left, self.means + self.sds * ratio, self.sds * np.sqrt(shrunk))


def student(mean: float, scale: float, freedom: float) -> Mixture:
    """Return a Student t (location, scale, degrees of freedom) as normals of one centre."""
    spread = 2.0 / (9.0 * freedom)  # Wilson and Hilferty: the cube root of chi square is normal
    root = np.maximum(1.0 - spread + np.array(_T_MIDDLES) * math.sqrt(spread), 0.0)
    precision = root * root * root
    sds = scale / np.sqrt(np.maximum(precision, _T_WIDEST**-2))
    return Mixture(np.array(_T_WEIGHTS), np.full(len(_T_WEIGHTS), mean), sds)


def normal(mean: float, sd: float) -> Mixture:
    """Return one normal."""
    return Mixture(np.ones(1), np.array([mean]), np.array([sd]))


def blend(parts: Iterable[tuple[float, Mixture]]) -> Mixture:
    """Return the mixture of mixtures by (weight, mixture); weights need not sum to 1."""
    kept = [(weight, part) for weight, part in parts if weight > 0.0]
    return _tidy(
        np.concatenate([weight * part.weights for weight, part in kept]),
        np.concatenate([part.means for _, part in kept]),
        np.concatenate([part.sds for _, part in kept]),
    )


def _tidy(weights: Numbers, means: Numbers, sds: Numbers) -> Mixture:
    """Leave out what hardly weighs and scale the rest to 1."""
    weights = weights / np.sum(weights)
    kept = weights > _NEGLIGIBLE
    return Mixture(weights[kept] / np.sum(weights[kept]), means[kept], sds[kept])


def ndtr(z: Numbers) -> Numbers:
    """Return the probability of a standard normal value up to each `z`, to 1e-7 of itself."""
    x = np.abs(z) / math.sqrt(2.0)
    t = 1.0 / (1.0 + 0.5 * x)
    tail = 0.5 * t * np.exp(np.polyval(_ERFC, t) - x * x)
    return np.asarray(np.where(z > 0.0, 1.0 - tail, tail))


def _bell(z: Numbers) -> Numbers:
    return np.asarray(np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi))


def _mean_magnitude(mean: Numbers, sd: Numbers) -> Numbers:
    """Return E|X| of normals."""
    z = mean / sd
    return np.asarray(2.0 * sd * _bell(z) + mean * (2.0 * ndtr(z) - 1.0))
