"""Levenberg-Marquardt for many starting points at once, within bounds.

One call evaluates the model at all points that still move, so that twenty starts cost little more
than one. Damping as Nielsen (1999, IMM-REP-1999-05), scaled by the columns' norms as Marquardt's;
a parameter that would leave its bounds is held there while the slope pushes outward.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from controller.estimation.table import FloatArray

# residuals, shape (s, m), and their derivatives, shape (s, p, m), of points of shape (s, p)
Model = Callable[[FloatArray], tuple[FloatArray, FloatArray]]

# A step changes no parameter by more than this (of a logarithm: a factor of 7).
_LARGEST_STEP: Final = 2.0
_MOST_STEPS: Final = 400
# Once a start has converged the others have so many steps left: some never leave a flat valley.
_PATIENCE: Final = 30
# Largest cosine of residuals with a column of the Jacobian at a minimum (as MINPACK's gtol).
_COSINE: Final = 1e-8
# Relative fall of the cost, expected and found, below which a lightly damped step ends the search.
_SMALLEST_FALL: Final = 1e-12
_LIGHT_DAMPING: Final = 1e-2
_SMALLEST_STEP: Final = 1e-11
_MOST_DAMPING: Final = 1e12
_LEAST_DAMPING: Final = 1e-14
_FIRST_DAMPING: Final = 1e-3
_TINY: Final = 1e-300


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Minima:
    """Where each start ended.

    Attributes
    ----------
    points : array, shape (s, p)
    costs : array, shape (s,)
        Sum of squared residuals.
    converged : array of bool, shape (s,)
    steps : int
        Evaluations of the model, each at several points.
    """

    points: FloatArray
    costs: FloatArray
    converged: NDArray[np.bool_]
    steps: int


def minima(model: Model, start: FloatArray, lowest: FloatArray, highest: FloatArray) -> Minima:
    """Return the minima of the sum of squares that are reached from each start.

    Parameters
    ----------
    model : callable
    start : array, shape (s, p)
    lowest, highest : array, shape (p,)
        Bounds.
    """
    points = np.clip(start, lowest, highest)
    residuals, slopes = model(points)
    costs = _costs(residuals)
    damping = np.full(costs.size, _FIRST_DAMPING)
    growth = np.full(costs.size, 2.0)
    converged = np.zeros(costs.size, dtype=np.bool_)
    moving = np.flatnonzero(np.isfinite(costs))
    gradient = _gradient(slopes, residuals)
    normal = slopes @ slopes.transpose(0, 2, 1)
    count, last = 0, _MOST_STEPS
    while moving.size and count < last:
        count += 1
        at, g, a = points[moving], gradient[moving], normal[moving]
        norms = np.sqrt(np.maximum(np.einsum("spp->sp", a), _TINY))
        # Held: at a bound, with the way down leading out of it.
        held = ((at <= lowest) & (g > 0.0)) | ((at >= highest) & (g < 0.0))
        free_g = np.where(held, 0.0, g)
        cosine = np.max(np.abs(free_g) / norms, axis=1) / np.sqrt(np.maximum(costs[moving], _TINY))
        step = _step(a, free_g, norms, held, damping[moving])
        trial = np.clip(at + np.clip(step, -_LARGEST_STEP, _LARGEST_STEP), lowest, highest)
        moved = trial - at
        new_residuals, new_slopes = model(trial)
        new_costs = _costs(new_residuals)
        expected = -np.einsum("sp,sp->s", moved, 2.0 * g + np.einsum("spq,sq->sp", a, moved))
        ratio = (costs[moving] - new_costs) / np.maximum(expected, _TINY)
        still = _SMALLEST_FALL * costs[moving]
        flat = (expected < still) & (np.abs(costs[moving] - new_costs) < still)
        done = (cosine < _COSINE) | (flat & (damping[moving] < _LIGHT_DAMPING))
        better = new_costs < costs[moving]
        won, lost = moving[better], moving[~better]
        points[won], costs[won] = trial[better], new_costs[better]
        gradient[won] = _gradient(new_slopes[better], new_residuals[better])
        normal[won] = new_slopes[better] @ new_slopes[better].transpose(0, 2, 1)
        ease = np.maximum(1.0 / 3.0, 1.0 - (2.0 * np.clip(ratio[better], 0.0, 1.0) - 1.0) ** 3)
        damping[won] = np.maximum(damping[won] * ease, _LEAST_DAMPING)
        growth[won] = 2.0
        damping[lost] *= growth[lost]
        growth[lost] *= 2.0
        done |= np.max(np.abs(moved), axis=1) < _SMALLEST_STEP
        converged[moving[done]] = True
        if done.any():
            last = min(last, count + _PATIENCE)
        moving = moving[~done & (damping[moving] < _MOST_DAMPING)]
    return Minima(points=points, costs=costs, converged=converged, steps=count)


def _costs(residuals: FloatArray) -> FloatArray:
    """Return sums of squares; infinite where one is no number."""
    costs = np.einsum("sm,sm->s", residuals, residuals)
    return np.where(np.isfinite(costs), costs, np.inf).astype(np.float64)


def _gradient(slopes: FloatArray, residuals: FloatArray) -> FloatArray:
    found: FloatArray = (slopes @ residuals[:, :, np.newaxis])[:, :, 0]
    return found


def _step(
    normal: FloatArray,
    gradient: FloatArray,
    norms: FloatArray,
    held: NDArray[np.bool_],
    damping: FloatArray,
) -> FloatArray:
    """Return the damped step of each point, 0 for parameters that are held."""
    scaled: FloatArray = normal / (norms[:, :, np.newaxis] * norms[:, np.newaxis, :])
    free = ~held
    scaled *= free[:, :, np.newaxis] & free[:, np.newaxis, :]
    diagonal = np.arange(norms.shape[1])
    scaled[:, diagonal, diagonal] = 1.0 + damping[:, np.newaxis]
    solved = np.linalg.solve(scaled, (-gradient / norms)[:, :, np.newaxis])[:, :, 0]
    return np.asarray(solved / norms, dtype=np.float64)
