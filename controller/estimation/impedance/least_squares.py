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
_COSINE: Final = 1e-6
# Relative fall of the cost, expected and found, below which a lightly damped step ends the search.
_SMALLEST_FALL: Final = 1e-10
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
    gradient, normal = _slope_and_bend(slopes, residuals)
    count, last = 0, _MOST_STEPS
    while moving.size and count < last:
        count += 1
        at, g, a, cost, damp = points, gradient, normal, costs, damping
        if moving.size < costs.size:
            at, g, a, cost, damp = at[moving], g[moving], a[moving], cost[moving], damp[moving]
        step, cosine = _step(a, g, cost, damp, _held(at, g, lowest, highest))
        trial = np.minimum(np.maximum(at + step, lowest), highest)
        moved = trial - at
        new_residuals, new_slopes = model(trial)
        new_costs = _costs(new_residuals)
        bent = (a @ moved[:, :, np.newaxis])[:, :, 0]
        expected = -np.einsum("sp,sp->s", moved, 2.0 * g + bent)
        fall = cost - new_costs
        better = fall > 0.0
        still = _SMALLEST_FALL * cost
        done = (
            (cosine < _COSINE)
            | ((expected < still) & (np.abs(fall) < still) & (damp < _LIGHT_DAMPING))
            | (np.abs(moved).max(axis=1) < _SMALLEST_STEP)
        )
        ratio = np.minimum(np.maximum(fall, 0.0) / np.maximum(expected, _TINY), 1.0)
        ease = np.maximum(1.0 / 3.0, 1.0 - (2.0 * ratio - 1.0) ** 3)
        lost = moving[~better]
        if moving.size == costs.size and lost.size == 0:  # all of them: nothing is picked apart
            points, costs = trial, new_costs
            gradient, normal = _slope_and_bend(new_slopes, new_residuals)
            damping = np.maximum(damping * ease, _LEAST_DAMPING)
            growth.fill(2.0)
        elif lost.size < moving.size:
            won = moving[better]
            points[won], costs[won] = trial[better], new_costs[better]
            gradient[won], normal[won] = _slope_and_bend(new_slopes[better], new_residuals[better])
            damping[won] = np.maximum(damping[won] * ease[better], _LEAST_DAMPING)
            growth[won] = 2.0
        if lost.size:
            damping[lost] *= growth[lost]
            growth[lost] *= 2.0
        if done.any():
            converged[moving[done]] = True
            last = min(last, count + _PATIENCE)
        ended = done | (damping[moving] >= _MOST_DAMPING)
        if ended.any():
            moving = moving[~ended]
    return Minima(points=points, costs=costs, converged=converged, steps=count)


def _costs(residuals: FloatArray) -> FloatArray:
    """Return sums of squares; infinite where one is no number."""
    costs = np.einsum("sm,sm->s", residuals, residuals)
    return np.where(np.isfinite(costs), costs, np.inf).astype(np.float64)


def _slope_and_bend(slopes: FloatArray, residuals: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return half the gradient of the cost and the normal matrix, of each point."""
    gradient: FloatArray = (slopes @ residuals[:, :, np.newaxis])[:, :, 0]
    normal: FloatArray = slopes @ slopes.transpose(0, 2, 1)
    return gradient, normal


def _held(
    points: FloatArray, gradient: FloatArray, lowest: FloatArray, highest: FloatArray
) -> NDArray[np.bool_] | None:
    """Return which parameters stand at a bound with the way down leading out; None if none does."""
    low, high = points <= lowest, points >= highest
    if not (low.any() or high.any()):
        return None
    return (low & (gradient > 0.0)) | (high & (gradient < 0.0))


def _step(
    normal: FloatArray,
    gradient: FloatArray,
    cost: FloatArray,
    damping: FloatArray,
    held: NDArray[np.bool_] | None,
) -> tuple[FloatArray, FloatArray]:
    """Return the damped step of each point, 0 for what is held, and the cosine at its begin."""
    norms = np.sqrt(np.maximum(normal.diagonal(axis1=1, axis2=2), _TINY))
    scaled = normal / (norms[:, :, np.newaxis] * norms[:, np.newaxis, :])
    slope = gradient / norms
    if held is not None:
        free = ~held
        slope = slope * free
        scaled *= free[:, :, np.newaxis] & free[:, np.newaxis, :]
    cosine = np.abs(slope).max(axis=1) / np.sqrt(np.maximum(cost, _TINY))
    np.einsum("sii->si", scaled)[...] = 1.0 + damping[:, np.newaxis]
    solved = np.linalg.solve(scaled, -slope[:, :, np.newaxis])[:, :, 0] / norms
    bounded = np.minimum(np.maximum(solved, -_LARGEST_STEP), _LARGEST_STEP)
    return np.asarray(bounded, dtype=np.float64), cosine
