"""How a resting cell's voltage falls and how noisy it is, and whether that is the cell's own way.

A soft short discharges the cell through itself: at open circuit the voltage falls faster, and it
jumps while filaments form and fuse. Both are compared with what the same cell showed in rests
before any fast treatment, so no figure of another cell is needed. A short so soft that its decay
hides below the thresholds is not seen; on Li||Li, whose voltage at rest is 0, only the noise can
show one.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

from controller.domain.sample import NAN
from controller.domain.total_math import safe_divide, safe_sqrt
from controller.domain.units import SECONDS_PER_HOUR

# Before the last third of the check the polarisation left by the current still relaxes. Assumed,
# 1/2 to 3/4 of the check.
LATE_FROM_FRACTION: Final = 2.0 / 3.0
# A window counts when it holds this many readings (assumed, 5 to 15) ...
LEAST_READINGS: Final = 10
# ... that span this part of it (assumed, 0.6 to 0.9): two readings every 30 s may be missing.
LEAST_SPAN_FRACTION: Final = 0.75

# Rests before a baseline says anything, and how many it remembers. Assumed, 3 to 5 and 5 to 20.
BASELINE_LEAST_RESTS: Final = 3
BASELINE_MOST_RESTS: Final = 9
# Median absolute deviation -> standard deviation of a normal distribution.
SIGMA_PER_MAD: Final = 1.4826
# How many of them a check may lie above the median; assumed, 2 to 5.
SIGMAS_ALLOWED: Final = 3.0
# Floors, so that a baseline of a few quiet rests does not call the instrument's own drift a short:
# 5 mV/h is about 15 uA through a 3 mAh cell whose voltage falls by 1 V; assumed, 1 to 20 mV/h.
DECAY_FLOOR_V_PER_H: Final = 0.005
# Reading noise of a source-measure unit in its 20 V range; assumed, 50 to 500 uV.
NOISE_FLOOR_V: Final = 2e-4


class Relaxation:
    """Sums over the readings of one rest's window; a record of numbers, of fixed size."""

    __slots__ = (
        "differences",
        "first_V",
        "first_t_s",
        "from_s",
        "last_V",
        "last_t_s",
        "readings",
        "sum_dV2",
        "sum_dt2",
        "sum_dt_dV",
        "sum_t",
        "sum_t2",
        "sum_tV",
        "sum_v",
        "to_s",
    )

    def __init__(self, check_s: float = NAN) -> None:
        self.from_s = LATE_FROM_FRACTION * check_s  # NaN: this rest is not looked at
        self.to_s = check_s
        self.readings = 0
        self.first_t_s = NAN
        self.first_V = NAN
        self.last_t_s = NAN
        self.last_V = NAN
        self.sum_t = 0.0  # t and V count from the window's first reading: no digits are lost
        self.sum_v = 0.0
        self.sum_t2 = 0.0
        self.sum_tV = 0.0
        self.differences = 0
        self.sum_dt2 = 0.0
        self.sum_dt_dV = 0.0
        self.sum_dV2 = 0.0


class RestFigures(NamedTuple):
    """What a rest showed in its window.

    Attributes
    ----------
    decay_V_per_h : float
        How fast the voltage fell (V/h): the least-squares slope, negative while it rises. NaN
        when the window holds too little.
    noise_V : float
        Noise of one reading (V): root mean square of successive differences less the trend,
        divided by the square root of 2. NaN like the decay.
    readings : int
    span_s : float
        From the first to the last reading of the window (s).
    """

    decay_V_per_h: float
    noise_V: float
    readings: int
    span_s: float


class Thresholds(NamedTuple):
    """Largest decay (V/h) and noise (V) that still are the cell's own; NaN without a baseline."""

    decay_V_per_h: float
    noise_V: float


class Judgement(NamedTuple):
    """What a check says.

    Attributes
    ----------
    passed : bool
    conclusive : bool
        False: too few readings, or no baseline. Never together with `passed`.
    reason : str
        One line with figures and units.
    limits : Thresholds
    """

    passed: bool
    conclusive: bool
    reason: str
    limits: Thresholds


def observe(r: Relaxation, elapsed_s: float, t_s: float, voltage_V: float) -> None:
    """Take one reading at zero current into account. Kernel.

    Parameters
    ----------
    r : Relaxation
    elapsed_s : float
        How long the rest has lasted (s); decides whether the reading lies in the window.
    t_s : float
        Time of the reading (s). A reading that is not later than the one before is left out.
    voltage_V : float
        NaN and infinities are left out.
    """
    if not (r.from_s <= elapsed_s <= r.to_s):
        return
    if voltage_V - voltage_V != 0.0:  # NaN or infinite
        return
    if r.readings == 0:
        r.first_t_s = t_s
        r.first_V = voltage_V
    else:
        dt_h = (t_s - r.last_t_s) / SECONDS_PER_HOUR
        if not dt_h > 0.0:
            return
        d_V = voltage_V - r.last_V
        r.differences += 1
        r.sum_dt2 += dt_h * dt_h
        r.sum_dt_dV += dt_h * d_V
        r.sum_dV2 += d_V * d_V
    t_h = (t_s - r.first_t_s) / SECONDS_PER_HOUR
    v = voltage_V - r.first_V
    r.readings += 1
    r.sum_t += t_h
    r.sum_v += v
    r.sum_t2 += t_h * t_h
    r.sum_tV += t_h * v
    r.last_t_s = t_s
    r.last_V = voltage_V


def figures_of(r: Relaxation) -> RestFigures:
    """Return decay and noise of a rest that has ended. Kernel."""
    span_s = r.last_t_s - r.first_t_s
    enough = r.readings >= LEAST_READINGS and span_s >= LEAST_SPAN_FRACTION * (r.to_s - r.from_s)
    if not enough:
        return RestFigures(NAN, NAN, r.readings, span_s)
    n = float(r.readings)
    slope = safe_divide(n * r.sum_tV - r.sum_t * r.sum_v, n * r.sum_t2 - r.sum_t * r.sum_t)
    residual = r.sum_dV2 - 2.0 * slope * r.sum_dt_dV + slope * slope * r.sum_dt2
    # rounding about a perfect line may leave it below 0
    noise_V = safe_sqrt(safe_divide(max(residual, 0.0), 2.0 * r.differences))
    return RestFigures(-slope, noise_V, r.readings, span_s)


def learn(rests: list[tuple[float, float]], figures: RestFigures) -> bool:
    """Add an untreated rest to the baseline, newest last; return whether it counted.

    A voltage that rises does not decay: it enters as 0, so that recovery after a discharge does
    not make a later fall look large.
    """
    if figures.decay_V_per_h != figures.decay_V_per_h or figures.noise_V != figures.noise_V:
        return False
    rests.append((max(figures.decay_V_per_h, 0.0), figures.noise_V))
    del rests[:-BASELINE_MOST_RESTS]
    return True


def thresholds(rests: Sequence[tuple[float, float]]) -> Thresholds:
    """Return what a check of this cell may show: median + 3 sigma + floor, for decay and noise.

    Sigma is 1.4826 times the median absolute deviation, so one odd rest moves nothing.
    """
    if len(rests) < BASELINE_LEAST_RESTS:
        return Thresholds(NAN, NAN)
    decays, noises = [one[0] for one in rests], [one[1] for one in rests]
    return Thresholds(
        _highest(decays) + DECAY_FLOOR_V_PER_H,
        _highest(noises) + NOISE_FLOOR_V,
    )


def _highest(values: Sequence[float]) -> float:
    middle = median(values)
    return middle + SIGMAS_ALLOWED * SIGMA_PER_MAD * median(abs(one - middle) for one in values)


def judge(figures: RestFigures, rests: Sequence[tuple[float, float]]) -> Judgement:
    """Return whether a check shows the cell as its baseline does; what is not known fails."""
    limits = thresholds(rests)
    decay, noise_V = figures.decay_V_per_h, figures.noise_V
    if len(rests) < BASELINE_LEAST_RESTS:
        reason = f"{len(rests)} untreated rests to compare with, {BASELINE_LEAST_RESTS} are needed"
        return Judgement(passed=False, conclusive=False, reason=reason, limits=limits)
    if decay != decay or noise_V != noise_V:
        reason = f"{figures.readings} good readings in the last third are too few to judge by"
        return Judgement(passed=False, conclusive=False, reason=reason, limits=limits)
    falls = _compared("decay", decay * 1e3, limits.decay_V_per_h * 1e3, "mV/h")
    jumps = _compared("noise", noise_V * 1e6, limits.noise_V * 1e6, "uV")
    passed = decay <= limits.decay_V_per_h and noise_V <= limits.noise_V
    return Judgement(passed=passed, conclusive=True, reason=f"{falls}, {jumps}", limits=limits)


def _compared(name: str, value: float, limit: float, unit: str) -> str:
    relation = "within" if value <= limit else "above"
    return f"{name} {value:.3g} {unit} is {relation} the limit of {limit:.3g}"
