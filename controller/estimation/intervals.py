"""Charge of every interval of a logged series, with what sampling and rounding leave open."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.estimation.charge import uniform_u
from controller.estimation.table import FloatArray

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


class Intervals(NamedTuple):
    """Between row k and row k + 1; arrays of shape (n - 1,).

    Attributes
    ----------
    dt_s : array
        Length (s), 0 where the time did not advance.
    charge_As : array
        Signed charge (A s).
    half_width_As : array
        How far off the charge can be (A s).
    run : array of int
        Number of the monotone run of the current: errors of one run have the same sign.
    """

    dt_s: FloatArray
    charge_As: FloatArray
    half_width_As: FloatArray
    run: IntArray


def integrate(t_s: FloatArray, current_A: FloatArray, same_step: BoolArray) -> Intervals:
    """Return the charge of each interval.

    Parameters
    ----------
    t_s, current_A : array, shape (n,)
        Times (s), not falling, and currents (A).
    same_step : array of bool, shape (n - 1,)
        Whether the interval lies within one step.

    Notes
    -----
    A current that decays convexly (a voltage hold) lies between the chord and the neighbouring
    chords, continued into the interval. Within these bounds stands the exponential through three
    readings, I = a + b exp(-t / tau), whose integral is a dt + (I0 - I1) tau. Where the decay is
    not convex, between the two values; across a step change the current changed somewhere.
    """
    dt_s = np.diff(t_s)
    sign = np.where(current_A[1:] + current_A[:-1] < 0.0, -1.0, 1.0)
    before_A = sign * current_A[:-1]
    after_A = sign * current_A[1:]
    chord_As = 0.5 * (before_A + after_A) * dt_s
    bracket_As = 0.5 * np.abs(after_A - before_A) * dt_s

    advances = dt_s > 0.0
    within = same_step & advances & (before_A >= 0.0) & (after_A >= 0.0)
    slope = np.divide(after_A - before_A, dt_s, out=np.zeros_like(dt_s), where=advances)
    has_left = np.zeros_like(within)
    has_right = np.zeros_like(within)
    has_left[1:] = within[1:] & within[:-1] & (sign[1:] == sign[:-1])
    has_right[:-1] = within[1:] & within[:-1] & (sign[1:] == sign[:-1])
    slope_left = np.concatenate(([0.0], slope[:-1]))
    slope_right = np.concatenate((slope[1:], [0.0]))
    convex = within & (slope < 0.0) & (slope_right <= 0.0) & (slope <= slope_right)
    convex &= ~has_left | (slope_left <= slope)

    # Lowest a convex current can have run: along the chord after it, or the one before it.
    lower_As = dt_s * (after_A - np.where(has_right, slope_right, 0.0) * dt_s / 2.0)
    lower_left_As = dt_s * (before_A + slope_left * dt_s / 2.0)
    lower_As = np.where(has_left, np.maximum(lower_As, lower_left_As), lower_As)
    lower_As = np.minimum(lower_As, chord_As)
    decay_As = _exponential(before_A, after_A, dt_s, slope, slope_right)
    decay_As = np.clip(np.where(has_right, decay_As, chord_As), lower_As, chord_As)

    charge_As = np.where(convex, decay_As, chord_As)
    half_As = np.where(convex, 0.5 * (chord_As - lower_As), bracket_As)
    direction = np.sign(np.diff(current_A))
    direction[~within] = 0.0
    run = np.concatenate(([0], np.cumsum(direction[1:] != direction[:-1])))
    return Intervals(dt_s, sign * charge_As, half_As, run.astype(np.int64))


def _exponential(
    before_A: FloatArray,
    after_A: FloatArray,
    dt_s: FloatArray,
    slope: FloatArray,
    slope_right: FloatArray,
) -> FloatArray:
    """Integral of the exponential through this interval's ends and the next chord's slope."""
    ratio = np.divide(slope_right, slope, out=np.zeros_like(slope), where=slope < 0.0)
    decaying = (ratio > 1e-6) & (ratio < 1.0 - 1e-6)
    safe = np.where(decaying, ratio, 0.5)
    # The ratio of the slopes of two successive equal chords is exp(-dt / tau).
    tau_s = dt_s / -np.log(safe)
    drop_A = before_A - after_A
    floor_A = before_A - drop_A / (1.0 - safe)
    exponential_As = floor_A * dt_s + drop_A * tau_s
    result: FloatArray = np.where(decaying, exponential_As, after_A * dt_s)
    return np.where(ratio >= 1.0 - 1e-6, 0.5 * (before_A + after_A) * dt_s, result)


def sampling_u_As(intervals: Intervals, chosen: BoolArray) -> float:
    """Return the standard uncertainty (A s) that sampling gives the charge of `chosen` intervals.

    Errors within one monotone run have one sign and add up; between runs they are independent.
    """
    half_As = np.where(chosen, intervals.half_width_As, 0.0)
    per_run = np.bincount(intervals.run - intervals.run[0], weights=half_As)
    return uniform_u(float(np.sqrt(np.sum(per_run**2))))


def rounding_u_As(intervals: Intervals, chosen: BoolArray, time_resolution_s: float) -> float:
    """Return the standard uncertainty (A s) from times rounded to `time_resolution_s`.

    Each time is off on its own, by up to half the resolution; what it shifts is the difference of
    the currents before and after it (summation by parts), so a long step suffers at its ends only.
    """
    advances = intervals.dt_s > 0.0
    mean_A = np.zeros_like(intervals.dt_s)
    np.divide(
        np.where(chosen, intervals.charge_As, 0.0), intervals.dt_s, out=mean_A, where=advances
    )
    steps_A = np.diff(np.concatenate(([0.0], mean_A[advances], [0.0])))
    return uniform_u(0.5 * time_resolution_s) * float(np.sqrt(np.sum(steps_A**2)))


def resolution_u_As(intervals: Intervals, chosen: BoolArray, current_resolution_A: float) -> float:
    """Return the standard uncertainty (A s) from currents rounded to `current_resolution_A`.

    A constant current is rounded the same way every time: the error does not average out.
    """
    time_s = float(np.sum(intervals.dt_s[chosen]))
    return uniform_u(0.5 * current_resolution_A) * time_s


def counter_increments(counter_Ah: FloatArray) -> FloatArray:
    """Return what a counter added in each interval (Ah), over its new beginnings.

    A counter that falls began again at 0; what it shows then has flowed since.
    """
    change = np.diff(counter_Ah)
    added: FloatArray = np.where(change < 0.0, counter_Ah[1:], change)
    return np.nan_to_num(added, nan=0.0)


def first_true(mask: NDArray[Any]) -> int:
    """Return the index of the first true element, -1 where there is none."""
    at = np.flatnonzero(mask)
    return int(at[0]) if at.size else -1
