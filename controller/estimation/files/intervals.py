"""Charge of every interval of a logged series, with what sampling and rounding leave open."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.estimation.charge import uniform_u
from controller.estimation.table import FloatArray

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

# A constant current is told from this many readings after the first of a step, which agree within
# this share of it. Assumed: 2-5 readings; 1e-4 to 1e-2, wider than a cycler's noise.
_SETTLED_READINGS: Final = 3
_SETTLED_WITHIN: Final = 1e-3
# A first reading further from it than this share belongs to something else. Assumed, 0.1-0.3.
_SETTLES_FROM: Final = 0.2
# A regulator has settled within this (s). Assumed, 1 ms to 1 s.
SETTLING_S: Final = 1.0


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

    The first reading of a constant-current step may still be settling, or be the set value: see
    `_settling`. The charge of the interval after it is then that of the constant current.
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
    settling = _settling(current_A, within)
    charge_As = np.where(settling, after_A * dt_s, charge_As)
    settling_s = np.minimum(dt_s, SETTLING_S)
    half_As = np.where(settling, np.abs(after_A - before_A) * settling_s, half_As)
    direction = np.sign(np.diff(current_A))
    direction[~within | settling] = 0.0
    run = np.concatenate(([0], np.cumsum(direction[1:] != direction[:-1])))
    return Intervals(dt_s, sign * charge_As, half_As, run.astype(np.int64))


def _settling(current_A: FloatArray, within: BoolArray) -> BoolArray:
    """Whether an interval begins a constant-current step with a reading off that constant.

    Where the readings after the first agree, the current is regulated, and a regulator settles
    within `SETTLING_S`, not over the logging interval: neither a chord nor a decay fitted to the
    noise of the readings that follow is what flowed. A chord from 0.500 A to 0.474 A over 30 s
    overstates a half cycle of 40 minutes by 0.03 %; and it is the same current whichever way the
    next reading's noise points, so charge and discharge are treated alike.
    """
    n = _SETTLED_READINGS
    settling = np.zeros(within.size, dtype=np.bool_)
    if within.size < n:
        return settling
    changed_A = np.abs(np.diff(current_A))
    begins = within.copy()
    # Without step numbers in the file, a step begins where the current jumped.
    begins[1:] &= ~within[:-1] | (changed_A[:-1] > 0.5 * np.abs(current_A[2:]))
    together = np.lib.stride_tricks.sliding_window_view(within, n).all(axis=1)
    after = np.lib.stride_tricks.sliding_window_view(current_A[1:], n)
    settled_A = np.abs(after[:, 0])
    spread_A = after.max(axis=1) - after.min(axis=1)
    off_A = np.abs(current_A[: after.shape[0]] - after[:, 0])
    settling[: after.shape[0]] = (
        begins[: after.shape[0]]
        & together
        & (spread_A <= _SETTLED_WITHIN * settled_A)
        & (off_A > spread_A)
        & (off_A <= _SETTLES_FROM * settled_A)
    )
    return settling


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


class Rounding(NamedTuple):
    """Variances of charge and discharge and their covariance (A s)^2, from rounded times."""

    charge: float
    discharge: float
    covariance: float


def rounding(
    intervals: Intervals, charging: BoolArray, discharging: BoolArray, time_resolution_s: float
) -> Rounding:
    """Return what times rounded to `time_resolution_s` leave open of charge and discharge.

    Each time is off by up to half the resolution, all values equally probable; what it shifts is
    the difference of the currents before and after it (summation by parts), so a long step suffers
    at its ends only, wherever within the resolution these lie.

    A rest is set to a whole number of seconds, so both its ends are rounded alike: a charge that
    seems too long makes the discharge after it seem too short. Rests are therefore left out, which
    makes one edge of two; should the ends be independent after all, this overstates.
    """
    flows = (intervals.dt_s > 0.0) & (charging | discharging)
    mean_A = np.abs(intervals.charge_As[flows]) / intervals.dt_s[flows]
    charge_steps_A = np.diff(np.concatenate(([0.0], np.where(charging[flows], mean_A, 0.0), [0.0])))
    discharge_steps_A = np.diff(
        np.concatenate(([0.0], np.where(discharging[flows], mean_A, 0.0), [0.0]))
    )
    variance_s2 = uniform_u(0.5 * time_resolution_s) ** 2
    return Rounding(
        charge=variance_s2 * float(np.sum(charge_steps_A**2)),
        discharge=variance_s2 * float(np.sum(discharge_steps_A**2)),
        covariance=variance_s2 * float(np.sum(charge_steps_A * discharge_steps_A)),
    )


def resolution_u_As(intervals: Intervals, chosen: BoolArray, current_resolution_A: float) -> float:
    """Return the standard uncertainty (A s) from currents rounded to `current_resolution_A`.

    A constant current is rounded the same way every time: the error does not average out.
    """
    time_s = float(np.sum(intervals.dt_s[chosen]))
    return uniform_u(0.5 * current_resolution_A) * time_s
