"""Levenberg-Marquardt for many starting points at once, within bounds.

One call evaluates the model at all points that still move, so that twenty starts cost little more
than one. Damping as Nielsen (1999, IMM-REP-1999-05), scaled by the columns' norms as Marquardt's;
a parameter that would leave its bounds is held there while the slope pushes outward.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from controller.estimation.table import FloatArray

# At points of shape (s, p): derivatives of the residuals and, in the last row, the residuals,
# shape (s, p + 1, m).
Model = Callable[[FloatArray], FloatArray]

# A step changes no parameter by more than this (of a logarithm: a factor of 7).
_LARGEST_STEP: Final = 2.0
_MOST_STEPS: Final = 400
# Once a start has converged the others have so many steps left: some never leave a flat valley.
_PATIENCE: Final = 30
# Largest cosine of residuals with a column of the Jacobian at a minimum (as MINPACK's gtol). Its
# square is the largest relative fall of the cost that is expected of one parameter alone.
_COSINE: Final = 1e-6
_SMALLEST_ALONE: Final = _COSINE * _COSINE
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
    products = _products(model(points))
    searches = [_Search(cost=cost) for cost in products[:, -1, -1].tolist()]
    moving = [k for k, search in enumerate(searches) if math.isfinite(search.cost)]
    count, last = 0, _MOST_STEPS
    while moving and count < last:
        count += 1
        at, here = points, products
        if len(moving) < len(searches):
            at, here = points[moving], products[moving]
        damping = np.array([searches[k].damping for k in moving])
        moved, expected, alone = _step(at, here, damping, lowest, highest)
        trial = at + moved
        there = _products(model(trial))
        figures = zip(there[:, -1, -1].tolist(), expected.tolist(), alone.tolist(), strict=True)
        for row, (k, figure) in enumerate(zip(moving, figures, strict=True)):
            if searches[k].take(*figure):
                points[k], products[k] = trial[row], there[row]
            elif max(map(abs, moved[row].tolist())) < _SMALLEST_STEP:
                searches[k].converged = True
            if searches[k].converged:
                last = min(last, count + _PATIENCE)
        moving = [k for k in moving if not searches[k].ended]
    return Minima(
        points=points,
        costs=np.array([search.cost for search in searches]),
        converged=np.array([search.converged for search in searches], dtype=np.bool_),
        steps=count,
    )


@dataclass(slots=True, kw_only=True)
class _Search:
    """How far the search from one start has come."""

    cost: float
    damping: float = _FIRST_DAMPING
    growth: float = 2.0
    converged: bool = False

    @property
    def ended(self) -> bool:
        return self.converged or self.damping >= _MOST_DAMPING

    def take(self, cost: float, expected: float, alone: float) -> bool:
        """Return whether the point tried is better; damp accordingly, see whether it is the end."""
        fall = self.cost - cost
        still = _SMALLEST_FALL * self.cost
        self.converged = alone < _SMALLEST_ALONE * self.cost or (
            expected < still and abs(fall) < still and self.damping < _LIGHT_DAMPING
        )
        if not fall > 0.0:  # nor where it is no number
            self.damping *= self.growth
            self.growth *= 2.0
            return False
        ratio = min(fall / max(expected, _TINY), 1.0)
        ease = max(1.0 / 3.0, 1.0 - (2.0 * ratio - 1.0) ** 3)
        self.damping = max(self.damping * ease, _LEAST_DAMPING)
        self.growth = 2.0
        self.cost = cost
        return True


def _products(rows: FloatArray) -> FloatArray:
    """Return each point's normal matrix, bordered by half the gradient, the cost in the corner."""
    products: FloatArray = rows @ rows.transpose(0, 2, 1)
    return products


def _step(
    at: FloatArray,
    products: FloatArray,
    damping: FloatArray,
    lowest: FloatArray,
    highest: FloatArray,
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return each point's step within bounds and the expected falls of the cost.

    The step solves (A + damping diag(A)) step = -gradient. The first fall is that of the step, the
    second the largest that is expected of one parameter alone.
    """
    normal, gradient = products[:, :-1, :-1], products[:, :-1, -1]
    squares = normal.diagonal(axis1=1, axis2=2) + _TINY
    held = _held(at, gradient, lowest, highest)
    if held is not None:
        free = ~held
        gradient = gradient * free
        normal = normal * (free[:, :, np.newaxis] & free[:, np.newaxis, :])
    damped = normal.copy()
    np.einsum("sii->si", damped)[...] = squares * (1.0 + damping)[:, np.newaxis]
    solved = np.linalg.solve(damped, gradient[:, :, np.newaxis])[:, :, 0]
    bounded = np.minimum(np.maximum(solved, -_LARGEST_STEP), _LARGEST_STEP)
    moved = np.minimum(np.maximum(at - bounded, lowest), highest) - at
    slope = np.matvec(normal, moved)
    slope += gradient
    slope += gradient
    expected = -np.vecdot(moved, slope)
    return moved, expected, np.maximum.reduce(gradient * gradient / squares, axis=1)


def _held(
    points: FloatArray, gradient: FloatArray, lowest: FloatArray, highest: FloatArray
) -> NDArray[np.bool_] | None:
    """Return which parameters stand at a bound with the way down leading out; None if none does."""
    low, high = points <= lowest, points >= highest
    if not np.count_nonzero(low | high):
        return None
    return (low & (gradient > 0.0)) | (high & (gradient < 0.0))
