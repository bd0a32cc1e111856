"""How far charges scatter and drift, told by the charges themselves: a grid of hypotheses.

A charge to the same end, plus what was missing before it, is what the cathode held and what side
currents took since: it grows as evenly as their clocks run. Beside that it *scatters* (each charge
ends a little early or late) and *drifts* (polarisation walks from cycle to cycle). A drift taken
for scatter would pass for a side current, and scatter taken for drift would hide one. Each
hypothesis, a pair of both, follows level and growth with a Kalman filter of its own; how well it
foretells the next charge is its likelihood. State and time are constant.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

# Hypotheses: scatter as a share of nominal capacity, drift as a multiple of what is assumed (not
# below half of it: polarisation that grows evenly passes for growth). Prior of each: normal in the
# logarithm about a middle, with a factor for its standard deviation. Assumed: 1e-4 to 4e-4, 2-4;
# 0.5-1, 1.5-3.
SCATTERS: Final = (0.5e-4, 1e-4, 2e-4, 4e-4, 8e-4, 16e-4, 32e-4, 64e-4)
DRIFTS: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
SCATTER_MIDDLE: Final = 2e-4
SCATTER_FACTOR: Final = 2.5
DRIFT_MIDDLE: Final = 0.7
DRIFT_FACTOR: Final = 2.0
# What charges grow by from one to the next, share of nominal capacity: nothing known. Assumed.
GROWTH: Final = 0.1
_LEVEL, _GROWTH, _LL, _LG, _GG, _LOG_WEIGHT = range(6)
_COUNT: Final = len(SCATTERS) * len(DRIFTS)
_SCATTER: Final[Numbers] = np.repeat(SCATTERS, len(DRIFTS))
_DRIFT: Final[Numbers] = np.tile(DRIFTS, len(SCATTERS))


def new_scatter() -> Numbers:
    """Return the state before the first charge: (6, hypotheses)."""
    state = np.zeros((6, _COUNT))
    scatter = np.log(_SCATTER / SCATTER_MIDDLE) / math.log(SCATTER_FACTOR)
    drift = np.log(_DRIFT / DRIFT_MIDDLE) / math.log(DRIFT_FACTOR)
    state[_LOG_WEIGHT] = -0.5 * (scatter**2 + drift**2)
    return state


def begin(state: Numbers, sum_Ah: float, nominal_Ah: float) -> None:
    """Follow from this charge on; what is known of scatter and drift stays.

    Parameters
    ----------
    state : array
        Of `new_scatter`; written to.
    sum_Ah : float
        The charge plus what was missing before it.
    nominal_Ah : float
        Nominal capacity.
    """
    state[_LEVEL] = sum_Ah
    state[_GROWTH] = 0.0
    state[_LL] = (_SCATTER * nominal_Ah) ** 2
    state[_LG] = 0.0
    state[_GG] = (GROWTH * nominal_Ah) ** 2


def take(
    state: Numbers,
    sum_Ah: float,
    *,
    grown: float,
    drift_Ah: float,
    scatters: float,
    walks: float,
    nominal_Ah: float,
) -> None:
    """Judge the hypotheses by one charge more.

    Parameters
    ----------
    state : array
        Written to.
    sum_Ah : float
        The charge plus what was missing before it.
    grown : float
        By how much it grew since the last one, in units of what it grew by at first.
    drift_Ah : float
        Assumed standard deviation of the drift since.
    scatters, walks : float
        By what share that growth is not constant: by chance, and as a walk.
    nominal_Ah : float
    """
    level, growth, ll, lg, gg, log_weight = state
    by_Ah = growth * grown
    ll = ll + 2.0 * grown * lg + grown * grown * gg
    ll = ll + (_DRIFT * drift_Ah) ** 2 + (scatters * by_Ah) ** 2
    lg = lg + grown * gg
    gg = gg + (walks * growth) ** 2
    variance = ll + (_SCATTER * nominal_Ah) ** 2
    off_Ah = sum_Ah - (level + by_Ah)
    state[_LEVEL] = level + by_Ah + ll / variance * off_Ah
    state[_GROWTH] = growth + lg / variance * off_Ah
    state[_LL] = ll - ll * ll / variance
    state[_LG] = lg - lg * ll / variance
    state[_GG] = gg - lg * lg / variance
    log_weight = log_weight - 0.5 * (off_Ah * off_Ah / variance + np.log(variance))
    state[_LOG_WEIGHT] = log_weight - np.max(log_weight)


def take_apart(state: Numbers, apart_Ah: float, nominal_Ah: float) -> None:
    """Judge the hypotheses by how far two charges in a row are apart that nothing explains."""
    variance = 2.0 * (_SCATTER * nominal_Ah) ** 2
    log_weight = state[_LOG_WEIGHT] - 0.5 * (apart_Ah * apart_Ah / variance + np.log(variance))
    state[_LOG_WEIGHT] = log_weight - np.max(log_weight)


def scatter_and_drift(state: Numbers) -> tuple[float, float]:
    """Return the expected squares: scatter (share of nominal capacity) and drift (of assumed)."""
    weight = np.exp(state[_LOG_WEIGHT] - np.max(state[_LOG_WEIGHT]))
    weight = weight / weight.sum()
    return float(weight @ _SCATTER**2), float(weight @ _DRIFT**2)
