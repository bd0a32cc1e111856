"""Resistances and time constants, reading by reading: an extended Kalman filter of RC pairs.

The voltage is ``u + v1 (+ v2) + R0 I + noise``. Each pair answers exactly for a constant current,
``v' = a v + (1 - a) R I`` with ``a = exp(-dt / tau)``. In place of an open-circuit table the slow
part ``u`` follows the charge with a slope of its own, ``u' = u + g I dt``, and wanders. Resistances
and the logarithms of time constants wander slowly. All are one joint state; the covariance is the
packed upper triangle `p`, written out so that plain Python does a reading in some microseconds
(`docs/estimation/impedance.md`). The voltage is linear in the resistances, so they are no
logarithms but kept above 0; what a straight line in the logarithm of tau leaves out counts as
noise.

- A reading further off than `GATE` allows is not believed; after `REOPEN_AFTER` in a row it is the
  filter that is not: it opens up again instead of locking out.
- Where the current has not changed for several time constants nothing speaks of the parameters:
  they stand still (Schmidt: their uncertainty still counts), and grow no surer.
- What the circuit cannot be (one pair on a cell of many) no innovation shows, for the filter
  follows each reading. So at each change of current a copy that learns nothing runs ahead for ten
  readings; what it is off by on average, beyond chance, widens what is said.
- Every variance stays above 0, and now and then the whole matrix is factored to see that it is
  positive definite; where it is not, it keeps its diagonal only.

Kernel. In use, after every reading (with the flags of `controller.estimation.impedance.steps`)::

    from controller.estimation.impedance.filter import SUM, OnePair, circuit, observe_one
    from controller.estimation.impedance.steps import NEW_SET_POINT

    s = OnePair(noise_V=1e-4, min_step_A=1.5e-4, nominal_capacity_Ah=3e-3)
    for second in range(600):
        current_A = 1e-3 if second // 60 % 2 else 0.0
        changed = second > 0 and second % 60 == 0
        observe_one(s, 1.0, current_A, 3.7 + 20.0 * current_A, NEW_SET_POINT if changed else 0)
    found = circuit(s)  # per event
    if found.identifiable & SUM:
        print(found.sum_Ohm, found.u_sum_Ohm)

Do not feed it what `steps` calls out of step.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

from controller.domain.sample import NAN
from controller.domain.total_math import safe_divide, safe_exp, safe_sqrt
from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.impedance.steps import NEW_SET_POINT, UNKNOWN_BETWEEN

# What `observe_one` and `observe_two` did with a reading.
USED: Final = 0
SKIPPED: Final = 1
ANCHORED: Final = 2
REJECTED: Final = 3
REOPENED: Final = 4

# Bits of `Circuit.identifiable`.
R0: Final = 1
R1: Final = 2
TAU1: Final = 4
SUM: Final = 8
R2: Final = 16
TAU2: Final = 32

# Innovation squared over its variance: 1 in 2000 good readings lies beyond (chi2, one degree).
GATE: Final = 12.1
REOPEN_AFTER: Final = 3
# A longer interval is a gap (s). Assumed, 60-600 s.
GAP_S: Final = 120.0
# A change of current whose answer is below this many noise variances says nothing, and what a
# change said is over after this many of the slowest time constants. Assumed.
SPEAKS_FROM: Final = 25.0
SPEAKS_FOR: Final = 5.0
_FADES: Final = 1.0 / SPEAKS_FOR
# The first change of current whose answer is above this many noise variances gives the scale.
CENTRED_FROM: Final = 400.0
# Nothing is answered for times before this share of the first interval after an edge.
BEFORE_FIRST: Final = 0.8
# Logarithms stay within this many prior standard deviations of where they began.
WITHIN_SD: Final = 5.0
# No resistance falls below this share of the first change's. Assumed.
LEAST_SHARE: Final = 1e-3
# What a straight line in the logarithm of tau leaves out of a decay, as variance per squared
# variance of the logarithm and squared way to go: 0.5 by the second derivative. Assumed 4, as its
# errors are not independent from reading to reading; 2-4.
BENDS: Final = 4.0
# Factored every so many readings.
CHECK_EVERY: Final = 256
# Posterior over prior standard deviation, above which nothing was learnt (the field's rule).
NOT_LEARNT_ABOVE: Final = 0.7
# Readings further apart than this share of the time constant cannot part R0 from R1.
SPLIT_WITHIN: Final = 0.5
# A pair is there from so many of its standard uncertainties on; the time constant of none is
# anything.
THERE_FROM: Final = 5.0
# Two pairs are told apart from this ratio of their time constants on; a pair from the slope of the
# slow voltage where the current was held for so many of its time constants (each new hold makes the
# longest before count for a little less), and held for so many it would show if it were there.
# Assumed, 3-10; 1-4; 0.5-2; 0.8-1.
APART_FROM: Final = 5.0
HELD_FOR: Final = 3.0
SHOWS_AFTER: Final = 1.0
HELD_KEPT: Final = 0.95
# Where the first pair is known to be below this share of the second, that one may stand for both.
# Assumed, 0.05-0.2.
NOTHING_BELOW: Final = 0.1
# So many readings after an edge are judged together by the mean of innovation squared over its
# variance: above, 1 in 1000 good edges lies (chi2, ten degrees). Share of an edge in the mean.
EDGE_READINGS: Final = 10
EXPLAINED_BELOW: Final = 2.96
MISFIT_MOST: Final = 1e4
FIT_SHARE: Final = 0.2
# A copy runs ahead after an edge and is held against its first readings and the last of these.
# Share of what was before in the mean over edges; so many edges are left out, in which all is
# learnt, and so many have to count. Assumed: 0.7-0.9; 1-5; 2-4.
AHEAD_READINGS: Final = 10
AHEAD_KEPT: Final = 0.8
AHEAD_FROM: Final = 3
AHEAD_LEAST: Final = 2.0
# The first readings say what R0 is worth. Share of what was before in their means over edges: more,
# as what they look for is smaller. Assumed, 0.8-0.95.
EARLY_READINGS: Final = 3
EARLY_KEPT: Final = 0.9
# A fast process that the pairs leave out makes R0 wrong by a multiple of what the first reading is
# lower than the second: by 4 or more where it is left out whole, by less where a pair follows a
# part of it. Assumed, 2-4.
BEND_WIDENS: Final = 3.0
# From so many standard errors on the first reading is lower. Where the second is lower than the
# third by less than this share of that, what is missing at the first is over by the second (a time
# constant of one interval or less): how much came before the first nobody knows. Assumed, 2.5-5;
# 0.2-0.5.
BENT_FROM: Final = 3.0
BENT_STILL: Final = 0.33
_EVEN: Final = 0.28867513459481287  # standard deviation of even chances over 1
_TINY: Final = 1e-300
_MOST2: Final = 1e18  # square of a current or voltage that is none (A2, V2)
_COUNTS: Final = ("ahead_edges", "ahead_n", "centred", "edge_n", "has_last", "readings", "rejected")
_ONE: Final = 6  # states
_TWO: Final = 9
# Places of the variances in the packed triangle.
_UU, _VV, _GG, _RR, _AA, _TT = 0, 6, 11, 15, 18, 20
_2UU, _2VV, _2WW, _2GG, _2RR, _2AA, _2TT, _2BB, _2ZZ = 0, 9, 17, 24, 30, 35, 39, 42, 44
# Places in `ahead_off`, each with weight, sum, sum of squares, sum of squared weights over edges of
# what a copy was off by: at its first and its last reading (Ohm), the product of the first two less
# what the filter knew of (Ohm2), first less second, second less third.
_FIRST, _LAST, _COMMON, _BEND, _NEXT = 0, 4, 8, 12, 16
_OFF_NUMBERS: Final = 20
# Places of the parameters after the states.
_G, _R0, _R1, _T1, _R2, _T2 = range(6)
# Relative standard uncertainty of V / I from the instrument's gains. Assumed, 2e-4 to 5e-3.
RATIO_U: Final = 5e-4


class Wander(NamedTuple):
    """Priors, and how far each part of the model may wander. All assumed.

    Attributes
    ----------
    r_share_sd, ln_tau_sd : float
        Prior standard deviation of the resistances as a share of the first answer, and of the
        logarithm of the time constants; 0.7-1.5.
    r_share_per_root_h, ln_tau_per_root_h : float
        Random walk, as a share, per square root of an hour; 0.01-0.1 (state of charge,
        temperature, age).
    u_V_per_root_s : float
        Random walk of the slow voltage; 3e-6 to 1e-4.
    slope : float
        Standard deviation of its slope, in volts per nominal capacity; 0.3-3.
    """

    r_share_sd: float = 1.0
    ln_tau_sd: float = 1.0
    r_share_per_root_h: float = 0.05
    ln_tau_per_root_h: float = 0.1
    u_V_per_root_s: float = 2e-5
    slope: float = 1.0


WANDER: Final = Wander()


class OnePair:
    """The filter with one RC pair; states ``u v1 g r0 r1 ln_tau1``.

    Parameters
    ----------
    noise_V : float
        Standard deviation of a voltage reading (V).
    min_step_A : float
        Smallest change of current that counts as an edge (A).
    nominal_capacity_Ah : float
        Gives the scale of the open-circuit slope (Ah).
    r0_Ohm : float
        Where resistances begin (Ohm); the first edge gives their scale.
    tau1_s : float
        Where its time constant begins (s).
    ratio_u : float
        Relative standard uncertainty of V / I from the instrument's gains.
    wander : Wander
        Priors and walks.
    """

    __slots__ = (
        "ahead_A",
        "ahead_V",
        "ahead_change_A",
        "ahead_edges",
        "ahead_first_Ohm",
        "ahead_known_Ohm2",
        "ahead_n",
        "ahead_off",
        "ahead_r0_Ohm",
        "ahead_r1_Ohm",
        "ahead_rate1_per_s",
        "ahead_s",
        "ahead_second_Ohm",
        "ahead_share",
        "ahead_slope",
        "ahead_v1_V",
        "centred",
        "current_A",
        "edge_dt_s",
        "edge_n",
        "edge_sum",
        "fit",
        "has_last",
        "held_s",
        "high_t1",
        "last_off_s",
        "least_Ohm",
        "ln_tau1",
        "low_t1",
        "middle_Ohm",
        "min_step_A",
        "misfit",
        "most_Ohm2",
        "most_r",
        "most_t",
        "off_V",
        "p",
        "q_g",
        "q_r",
        "q_t",
        "q_u_V2",
        "r0_Ohm",
        "r1_Ohm",
        "r_V2",
        "rate_per_s",
        "ratio_u",
        "readings",
        "rejected",
        "since_s",
        "skipped_s",
        "slope",
        "stir_V2",
        "u_V",
        "v1_V",
        "voltage_V",
        "work",
    )
    ahead_A: float
    ahead_V: float
    ahead_change_A: float
    ahead_edges: int
    ahead_first_Ohm: float
    ahead_known_Ohm2: float
    ahead_n: int
    ahead_off: list[float]
    ahead_r0_Ohm: float
    ahead_r1_Ohm: float
    ahead_rate1_per_s: float
    ahead_s: float
    ahead_second_Ohm: float
    ahead_share: float
    ahead_slope: float
    ahead_v1_V: float
    centred: int
    current_A: float
    edge_dt_s: float
    edge_n: int
    edge_sum: float
    fit: float
    has_last: int
    held_s: float
    high_t1: float
    last_off_s: float
    least_Ohm: float
    ln_tau1: float
    low_t1: float
    middle_Ohm: float
    misfit: float
    min_step_A: float
    most_Ohm2: float
    most_r: float
    most_t: float
    off_V: float
    p: list[float]
    q_g: float
    q_r: float
    q_t: float
    q_u_V2: float
    r0_Ohm: float
    r1_Ohm: float
    r_V2: float
    rate_per_s: float
    ratio_u: float
    readings: int
    rejected: int
    since_s: float
    skipped_s: float
    slope: float
    stir_V2: float
    u_V: float
    v1_V: float
    voltage_V: float
    work: list[float]

    def __init__(
        self,
        *,
        noise_V: float,
        min_step_A: float,
        nominal_capacity_Ah: float,
        r0_Ohm: float = 10.0,
        tau1_s: float = 5.0,
        ratio_u: float = RATIO_U,
        wander: Wander = WANDER,
    ) -> None:
        for name in self.__slots__:
            setattr(self, name, 0.0)
        for name in _COUNTS:
            setattr(self, name, 0)
        self.r_V2 = noise_V * noise_V
        self.min_step_A = min_step_A
        self.ratio_u = ratio_u
        self.most_r = wander.r_share_sd * wander.r_share_sd
        self.most_t = wander.ln_tau_sd * wander.ln_tau_sd
        self.q_r = wander.r_share_per_root_h * wander.r_share_per_root_h / SECONDS_PER_HOUR
        self.q_t = wander.ln_tau_per_root_h * wander.ln_tau_per_root_h / SECONDS_PER_HOUR
        self.q_u_V2 = wander.u_V_per_root_s * wander.u_V_per_root_s
        slope = wander.slope / (nominal_capacity_Ah * SECONDS_PER_HOUR)
        self.q_g = slope * slope / SECONDS_PER_HOUR
        self.fit = 1.0
        self.least_Ohm = LEAST_SHARE * r0_Ohm
        self.most_Ohm2 = self.most_r * r0_Ohm * r0_Ohm
        self.middle_Ohm = self.r0_Ohm = self.r1_Ohm = r0_Ohm
        self.ln_tau1 = math.log(tau1_s)
        self.low_t1 = self.ln_tau1 - WITHIN_SD * wander.ln_tau_sd
        self.high_t1 = self.ln_tau1 + WITHIN_SD * wander.ln_tau_sd
        self.p = [0.0] * 21
        self.work = [0.0] * 21
        self.ahead_off = [0.0] * _OFF_NUMBERS
        self.p[_UU] = self.p[_VV] = self.r_V2
        self.p[_GG] = slope * slope
        self.p[_RR] = self.most_Ohm2
        self.p[_AA] = self.most_Ohm2
        self.p[_TT] = self.most_t


class TwoPairs:
    """The filter with two RC pairs; states ``u v1 v2 g r0 r1 ln_tau1 r2 ln_tau2``.

    Parameters
    ----------
    tau2_s : float
        Where the second time constant begins (s). All others as of `OnePair`.
    """

    __slots__ = (
        "ahead_A",
        "ahead_V",
        "ahead_change_A",
        "ahead_edges",
        "ahead_first_Ohm",
        "ahead_known_Ohm2",
        "ahead_n",
        "ahead_off",
        "ahead_r0_Ohm",
        "ahead_r1_Ohm",
        "ahead_r2_Ohm",
        "ahead_rate1_per_s",
        "ahead_rate2_per_s",
        "ahead_s",
        "ahead_second_Ohm",
        "ahead_share",
        "ahead_slope",
        "ahead_v1_V",
        "ahead_v2_V",
        "centred",
        "current_A",
        "edge_dt_s",
        "edge_n",
        "edge_sum",
        "fit",
        "has_last",
        "held_s",
        "high_t1",
        "high_t2",
        "last_off_s",
        "least_Ohm",
        "ln_tau1",
        "ln_tau2",
        "low_t1",
        "low_t2",
        "middle_Ohm",
        "min_step_A",
        "misfit",
        "most_Ohm2",
        "most_r",
        "most_t",
        "off_V",
        "p",
        "q_g",
        "q_r",
        "q_t",
        "q_u_V2",
        "r0_Ohm",
        "r1_Ohm",
        "r2_Ohm",
        "r_V2",
        "rate_per_s",
        "ratio_u",
        "readings",
        "rejected",
        "since_s",
        "skipped_s",
        "slope",
        "stir_V2",
        "u_V",
        "v1_V",
        "v2_V",
        "voltage_V",
        "work",
    )
    ahead_A: float
    ahead_V: float
    ahead_change_A: float
    ahead_edges: int
    ahead_first_Ohm: float
    ahead_known_Ohm2: float
    ahead_n: int
    ahead_off: list[float]
    ahead_r0_Ohm: float
    ahead_r1_Ohm: float
    ahead_r2_Ohm: float
    ahead_rate1_per_s: float
    ahead_rate2_per_s: float
    ahead_s: float
    ahead_second_Ohm: float
    ahead_share: float
    ahead_slope: float
    ahead_v1_V: float
    ahead_v2_V: float
    centred: int
    current_A: float
    edge_dt_s: float
    edge_n: int
    edge_sum: float
    fit: float
    has_last: int
    held_s: float
    high_t1: float
    high_t2: float
    last_off_s: float
    least_Ohm: float
    ln_tau1: float
    ln_tau2: float
    low_t1: float
    low_t2: float
    middle_Ohm: float
    misfit: float
    min_step_A: float
    most_Ohm2: float
    most_r: float
    most_t: float
    off_V: float
    p: list[float]
    q_g: float
    q_r: float
    q_t: float
    q_u_V2: float
    r0_Ohm: float
    r1_Ohm: float
    r2_Ohm: float
    r_V2: float
    rate_per_s: float
    ratio_u: float
    readings: int
    rejected: int
    since_s: float
    skipped_s: float
    slope: float
    stir_V2: float
    u_V: float
    v1_V: float
    v2_V: float
    voltage_V: float
    work: list[float]

    def __init__(  # noqa: PLR0913 -- all by name
        self,
        *,
        noise_V: float,
        min_step_A: float,
        nominal_capacity_Ah: float,
        r0_Ohm: float = 10.0,
        tau1_s: float = 3.0,
        tau2_s: float = 100.0,
        ratio_u: float = RATIO_U,
        wander: Wander = WANDER,
    ) -> None:
        for name in self.__slots__:
            setattr(self, name, 0.0)
        for name in _COUNTS:
            setattr(self, name, 0)
        self.r_V2 = noise_V * noise_V
        self.min_step_A = min_step_A
        self.ratio_u = ratio_u
        self.most_r = wander.r_share_sd * wander.r_share_sd
        self.most_t = wander.ln_tau_sd * wander.ln_tau_sd
        self.q_r = wander.r_share_per_root_h * wander.r_share_per_root_h / SECONDS_PER_HOUR
        self.q_t = wander.ln_tau_per_root_h * wander.ln_tau_per_root_h / SECONDS_PER_HOUR
        self.q_u_V2 = wander.u_V_per_root_s * wander.u_V_per_root_s
        slope = wander.slope / (nominal_capacity_Ah * SECONDS_PER_HOUR)
        self.q_g = slope * slope / SECONDS_PER_HOUR
        self.fit = 1.0
        self.least_Ohm = LEAST_SHARE * r0_Ohm
        self.most_Ohm2 = self.most_r * r0_Ohm * r0_Ohm
        self.middle_Ohm = self.r0_Ohm = self.r1_Ohm = r0_Ohm
        self.ln_tau1 = math.log(tau1_s)
        self.low_t1 = self.ln_tau1 - WITHIN_SD * wander.ln_tau_sd
        self.high_t1 = self.ln_tau1 + WITHIN_SD * wander.ln_tau_sd
        self.r2_Ohm = r0_Ohm
        self.ln_tau2 = math.log(tau2_s)
        self.low_t2 = self.ln_tau2 - WITHIN_SD * wander.ln_tau_sd
        self.high_t2 = self.ln_tau2 + WITHIN_SD * wander.ln_tau_sd
        self.p = [0.0] * 45
        self.work = [0.0] * 45
        self.ahead_off = [0.0] * _OFF_NUMBERS
        self.p[_2UU] = self.p[_2VV] = self.p[_2WW] = self.r_V2
        self.p[_2GG] = slope * slope
        self.p[_2RR] = self.most_Ohm2
        self.p[_2AA] = self.most_Ohm2
        self.p[_2BB] = self.most_Ohm2
        self.p[_2TT] = self.most_t
        self.p[_2ZZ] = self.most_t


def observe_one(s: OnePair, dt_s: float, current_A: float, voltage_V: float, flags: int) -> int:
    """Take in one reading; return what was done with it. Kernel.

    Parameters
    ----------
    s : OnePair
        Written to.
    dt_s : float
        Since the reading before (s); not above 0 is a duplicate.
    current_A, voltage_V : float
        Charging current positive.
    flags : int
        ``NEW_SET_POINT``: the current changed right after the reading before; else somewhere in
        between. ``UNKNOWN_BETWEEN``: nothing reaches across.

    Returns
    -------
    int
        `USED`, `SKIPPED`, `ANCHORED` (the series begins at it), `REJECTED` or `REOPENED`.
    """
    if not dt_s > 0.0:
        return SKIPPED
    if not (dt_s < 1e9 and current_A * current_A < _MOST2 and voltage_V * voltage_V < _MOST2):
        s.skipped_s += dt_s
        return SKIPPED
    if s.skipped_s > 0.0:
        dt_s += s.skipped_s
        s.skipped_s = 0.0
    change_A = current_A - s.current_A
    if not s.has_last or flags & UNKNOWN_BETWEEN or not dt_s <= GAP_S:
        anchor_one(s, current_A, voltage_V)
        s.has_last = 1
        outcome = ANCHORED
    else:
        s.since_s += dt_s
        s.stir_V2 /= 1.0 + _FADES * dt_s * s.rate_per_s
        through_A = current_A
        loose_A = 0.0
        if change_A != 0.0:
            if not flags & NEW_SET_POINT:
                through_A = 0.5 * (current_A + s.current_A)
                loose_A = _EVEN * change_A
            if change_A >= s.min_step_A or -change_A >= s.min_step_A:
                begin_edge_one(s, dt_s, change_A, through_A, voltage_V)
        frozen = not s.centred or s.stir_V2 < SPEAKS_FROM * s.r_V2
        outcome = update_one(s, dt_s, current_A, voltage_V, through_A, loose_A, frozen)
        if s.edge_n > 0:
            after_edge_one(s, dt_s, through_A, current_A, voltage_V)
        if outcome == REJECTED:
            s.rejected += 1
            if s.rejected >= REOPEN_AFTER:
                reopen_one(s)
                outcome = REOPENED
        else:
            s.rejected = 0
        s.readings += 1
        if s.readings >= CHECK_EVERY:
            check_covariance(s, _ONE)
    s.current_A = current_A
    s.voltage_V = voltage_V
    return outcome


def begin_edge_one(
    s: OnePair, dt_s: float, change_A: float, through_A: float, voltage_V: float
) -> None:
    """Note a change of current, which speaks of the parameters. Kernel."""
    answer_V = change_A * (s.r0_Ohm + s.r1_Ohm)
    s.stir_V2 += answer_V * answer_V
    s.edge_dt_s = dt_s
    s.held_s = max(HELD_KEPT * s.held_s, s.since_s)
    s.since_s = 0.0
    s.edge_n = EDGE_READINGS
    s.edge_sum = 0.0
    if not s.centred:
        centre_one(s, change_A, voltage_V)
    else:
        start_ahead(s, change_A, through_A)


def anchor_one(s: OnePair, current_A: float, voltage_V: float) -> None:
    """Begin at this reading; what was learnt of the circuit stays. Kernel."""
    s.v1_V = s.r1_Ohm * current_A
    s.u_V = voltage_V - s.r0_Ohm * current_A - s.v1_V
    s.stir_V2 = 0.0
    s.rejected = 0
    s.ahead_n = 0
    part_states(s, _ONE, 2)
    # how far each pair had come is not known
    s.p[_VV] = s.r_V2 + s.v1_V * s.v1_V
    answer_V = s.r0_Ohm * current_A
    s.p[_UU] = s.r_V2 + s.p[_VV] + answer_V * answer_V * s.most_r


def centre_one(s: OnePair, change_A: float, voltage_V: float) -> None:
    """Take the scale of all resistances from the first change of current that shows one. Kernel.

    The prior is as wide as before; the reading is weighed in as any other.
    """
    moved_V = voltage_V - s.voltage_V
    ratio_Ohm = safe_divide(moved_V, change_A)
    if moved_V * moved_V > CENTRED_FROM * s.r_V2 and 0.0 < ratio_Ohm < 1e9:
        s.r0_Ohm = s.r1_Ohm = s.middle_Ohm = ratio_Ohm
        s.least_Ohm = LEAST_SHARE * ratio_Ohm
        s.most_Ohm2 = s.most_r * ratio_Ohm * ratio_Ohm
        s.p[_RR] = s.most_Ohm2
        s.p[_AA] = s.most_Ohm2
        s.centred = 1
        anchor_one(s, s.current_A, s.voltage_V)
        s.stir_V2 = moved_V * moved_V


def after_edge_one(
    s: OnePair, dt_s: float, through_A: float, current_A: float, voltage_V: float
) -> None:
    """Judge one of the readings after an edge, by the copy that ran ahead as well. Kernel."""
    if s.ahead_n > 0:
        s.ahead_n -= 1
        now_s = s.edge_dt_s + s.since_s
        if through_A != s.ahead_A:
            carry_ahead(s, now_s - dt_s)
            s.ahead_A = through_A
        if s.ahead_n == 0 or s.ahead_n >= AHEAD_READINGS - EARLY_READINGS:
            carry_ahead(s, now_s)
            compare_ahead(s, s.ahead_v1_V, current_A, voltage_V)
    judge_edge(s, _ONE)


def reopen_one(s: OnePair) -> None:
    """Believe the readings again: states by what they are off, parameters fourfold. Kernel."""
    keep_diagonal(s, _ONE)
    off_V2 = min(s.off_V * s.off_V, 100.0)
    s.p[_UU] += off_V2
    s.p[_VV] += off_V2
    most = s.most_Ohm2
    s.p[_RR] = min(4.0 * s.p[_RR] + 0.01 * most, most)
    s.p[_AA] = min(4.0 * s.p[_AA] + 0.01 * most, most)
    s.p[_TT] = min(4.0 * s.p[_TT] + 0.01, s.most_t)
    s.rejected = 0


def update_one(  # noqa: PLR0915 -- parts would hand some 30 numbers to one another
    s: OnePair,
    dt_s: float,
    current_A: float,
    voltage_V: float,
    through_A: float,
    loose_A: float,
    frozen: bool,  # noqa: FBT001 -- a kernel's flag
) -> int:
    """Carry the state forward by the interval's current and weigh the reading in. Kernel."""
    p = s.p
    (  # at once: one by one takes Python four times as long
        uu, uv, ug, ur, ua, ut,
            vv, vg, vr, va, vt,
                gg, gr, ga, gt,
                    rr, ra, rt,
                        aa, at,
                            tt,
    ) = s.p  # fmt: skip
    r0_Ohm = s.r0_Ohm
    r1_Ohm = s.r1_Ohm
    # forward: exact for a constant current
    rate_per_s = safe_exp(-s.ln_tau1)
    s.rate_per_s = rate_per_s
    times = dt_s * rate_per_s
    keep_v = safe_exp(-times)
    by_a = (1.0 - keep_v) * through_A
    end_V = r1_Ohm * through_A
    way_v_V = s.v1_V - end_V
    left_V = keep_v * way_v_V
    by_t = left_V * times
    v1_V = end_V + left_V
    by_g = through_A * dt_s
    u_V = s.u_V + by_g * s.slope
    ug_ = ug + by_g * gg
    ur_ = ur + by_g * gr
    ua_ = ua + by_g * ga
    ut_ = ut + by_g * gt
    vg_ = keep_v * vg + by_a * ga + by_t * gt
    vr_ = keep_v * vr + by_a * ra + by_t * rt
    va_ = keep_v * va + by_a * aa + by_t * at
    vt_ = keep_v * vt + by_a * at + by_t * tt
    uu += by_g * (ug + ug_) + s.q_u_V2 * dt_s
    uv = keep_v * (uv + by_g * vg) + by_a * ua_ + by_t * ut_
    vv = keep_v * (keep_v * vv + by_a * va + by_t * vt)
    vv += by_a * va_ + by_t * vt_
    # what a straight line in the logarithm of tau leaves out
    bent_V = way_v_V * tt
    vv += BENDS * (1.0 - keep_v * keep_v) * bent_V * bent_V
    if loose_A != 0.0:  # when within the interval the current changed is not known
        loose_V = (1.0 - keep_v) * r1_Ohm * loose_A
        vv += loose_V * loose_V
    gg += s.q_g * dt_s
    q_r = s.q_r * dt_s
    q_t = s.q_t * dt_s
    most_Ohm2 = s.most_Ohm2
    most_t = s.most_t
    if rr < most_Ohm2:
        rr += q_r * r0_Ohm * r0_Ohm
    if aa < most_Ohm2:
        aa += q_r * r1_Ohm * r1_Ohm
    if tt < most_t:
        tt += q_t
    # what the reading says
    cu = uu + uv + current_A * ur_
    cv = uv + vv + current_A * vr_
    cg = ug_ + vg_ + current_A * gr
    cr = ur_ + vr_ + current_A * rr
    ca = ua_ + va_ + current_A * ra
    ct = ut_ + vt_ + current_A * rt
    variance_V2 = s.r_V2 + cu + cv + current_A * cr
    off_V = voltage_V - (u_V + v1_V + r0_Ohm * current_A)
    inverse = 1.0 / variance_V2 if variance_V2 > 0.0 else NAN
    misfit = off_V * off_V * inverse
    s.off_V = off_V
    s.misfit = misfit
    outcome = USED
    if not misfit <= GATE:
        outcome = REJECTED
        off_V = inverse = 0.0
    # the gain
    ku = cu * inverse
    kv = cv * inverse
    kg = cg * inverse
    s.u_V = u_V + ku * off_V
    s.v1_V = v1_V + kv * off_V
    s.slope += kg * off_V
    uu -= ku * cu
    p[0] = uu
    p[1] = uv - ku * cv
    p[2] = ug_ - ku * cg
    p[3] = ur_ - ku * cr
    p[4] = ua_ - ku * ca
    p[5] = ut_ - ku * ct
    vv -= kv * cv
    p[6] = vv
    p[7] = vg_ - kv * cg
    p[8] = vr_ - kv * cr
    p[9] = va_ - kv * ca
    p[10] = vt_ - kv * ct
    gg -= kg * cg
    p[11] = gg
    p[12] = gr - kg * cr
    p[13] = ga - kg * ca
    p[14] = gt - kg * ct
    if inverse != 0.0 and not frozen:  # else nothing speaks of the parameters: they stand still
        least_Ohm = s.least_Ohm
        kr = cr * inverse
        ka = ca * inverse
        kt = ct * inverse
        r0_Ohm += kr * off_V
        s.r0_Ohm = least_Ohm if r0_Ohm < least_Ohm else r0_Ohm
        r1_Ohm += ka * off_V
        s.r1_Ohm = least_Ohm if r1_Ohm < least_Ohm else r1_Ohm
        ln_tau1 = s.ln_tau1 + kt * off_V
        if ln_tau1 < s.low_t1 or ln_tau1 > s.high_t1:
            ln_tau1 = min(max(ln_tau1, s.low_t1), s.high_t1)
        s.ln_tau1 = ln_tau1
        rr -= kr * cr
        p[16] = ra - kr * ca
        p[17] = rt - kr * ct
        aa -= ka * ca
        p[19] = at - ka * ct
        tt -= kt * ct
    p[15] = rr
    p[18] = aa
    p[20] = tt
    tiny = _TINY
    if not (uu > tiny and vv > tiny and gg > tiny and rr > tiny and aa > tiny and tt > tiny):
        keep_diagonal(s, _ONE)
    return outcome


def observe_two(s: TwoPairs, dt_s: float, current_A: float, voltage_V: float, flags: int) -> int:
    """Take in one reading; return what was done with it. Kernel.

    Parameters
    ----------
    s : TwoPairs
        Written to.
    dt_s : float
        Since the reading before (s); not above 0 is a duplicate.
    current_A, voltage_V : float
        Charging current positive.
    flags : int
        ``NEW_SET_POINT``: the current changed right after the reading before; else somewhere in
        between. ``UNKNOWN_BETWEEN``: nothing reaches across.

    Returns
    -------
    int
        `USED`, `SKIPPED`, `ANCHORED` (the series begins at it), `REJECTED` or `REOPENED`.
    """
    if not dt_s > 0.0:
        return SKIPPED
    if not (dt_s < 1e9 and current_A * current_A < _MOST2 and voltage_V * voltage_V < _MOST2):
        s.skipped_s += dt_s
        return SKIPPED
    if s.skipped_s > 0.0:
        dt_s += s.skipped_s
        s.skipped_s = 0.0
    change_A = current_A - s.current_A
    if not s.has_last or flags & UNKNOWN_BETWEEN or not dt_s <= GAP_S:
        anchor_two(s, current_A, voltage_V)
        s.has_last = 1
        outcome = ANCHORED
    else:
        s.since_s += dt_s
        s.stir_V2 /= 1.0 + _FADES * dt_s * s.rate_per_s
        through_A = current_A
        loose_A = 0.0
        if change_A != 0.0:
            if not flags & NEW_SET_POINT:
                through_A = 0.5 * (current_A + s.current_A)
                loose_A = _EVEN * change_A
            if change_A >= s.min_step_A or -change_A >= s.min_step_A:
                begin_edge_two(s, dt_s, change_A, through_A, voltage_V)
        frozen = not s.centred or s.stir_V2 < SPEAKS_FROM * s.r_V2
        outcome = update_two(s, dt_s, current_A, voltage_V, through_A, loose_A, frozen)
        if s.edge_n > 0:
            after_edge_two(s, dt_s, through_A, current_A, voltage_V)
        if outcome == REJECTED:
            s.rejected += 1
            if s.rejected >= REOPEN_AFTER:
                reopen_two(s)
                outcome = REOPENED
        else:
            s.rejected = 0
        s.readings += 1
        if s.readings >= CHECK_EVERY:
            check_covariance(s, _TWO)
    s.current_A = current_A
    s.voltage_V = voltage_V
    return outcome


def start_ahead_second(s: TwoPairs) -> None:
    """Copy the second pair as well. Kernel."""
    s.ahead_v2_V = s.v2_V
    s.ahead_r2_Ohm = s.r2_Ohm
    s.ahead_rate2_per_s = safe_exp(-s.ln_tau2)


def carry_second(s: TwoPairs, to_s: float) -> None:
    """Carry the copy's second pair to a time after the edge; before the rest of it. Kernel."""
    keep = safe_exp((s.ahead_s - to_s) * s.ahead_rate2_per_s)
    end_V = s.ahead_r2_Ohm * s.ahead_A
    s.ahead_v2_V = end_V + keep * (s.ahead_v2_V - end_V)


def begin_edge_two(
    s: TwoPairs, dt_s: float, change_A: float, through_A: float, voltage_V: float
) -> None:
    """Note a change of current, which speaks of the parameters. Kernel."""
    answer_V = change_A * (s.r0_Ohm + s.r1_Ohm + s.r2_Ohm)
    s.stir_V2 += answer_V * answer_V
    s.edge_dt_s = dt_s
    s.held_s = max(HELD_KEPT * s.held_s, s.since_s)
    s.since_s = 0.0
    s.edge_n = EDGE_READINGS
    s.edge_sum = 0.0
    if not s.centred:
        centre_two(s, change_A, voltage_V)
    else:
        start_ahead(s, change_A, through_A)
        start_ahead_second(s)


def anchor_two(s: TwoPairs, current_A: float, voltage_V: float) -> None:
    """Begin at this reading; what was learnt of the circuit stays. Kernel."""
    s.v1_V = s.r1_Ohm * current_A
    s.v2_V = s.r2_Ohm * current_A
    s.u_V = voltage_V - s.r0_Ohm * current_A - s.v1_V - s.v2_V
    s.stir_V2 = 0.0
    s.rejected = 0
    s.ahead_n = 0
    part_states(s, _TWO, 3)
    # how far each pair had come is not known
    s.p[_2VV] = s.r_V2 + s.v1_V * s.v1_V
    s.p[_2WW] = s.r_V2 + s.v2_V * s.v2_V
    answer_V = s.r0_Ohm * current_A
    s.p[_2UU] = s.r_V2 + s.p[_2VV] + s.p[_2WW] + answer_V * answer_V * s.most_r


def centre_two(s: TwoPairs, change_A: float, voltage_V: float) -> None:
    """Take the scale of all resistances from the first change of current that shows one. Kernel.

    The prior is as wide as before; the reading is weighed in as any other.
    """
    moved_V = voltage_V - s.voltage_V
    ratio_Ohm = safe_divide(moved_V, change_A)
    if moved_V * moved_V > CENTRED_FROM * s.r_V2 and 0.0 < ratio_Ohm < 1e9:
        s.r0_Ohm = s.r1_Ohm = s.middle_Ohm = ratio_Ohm
        s.r2_Ohm = ratio_Ohm
        s.least_Ohm = LEAST_SHARE * ratio_Ohm
        s.most_Ohm2 = s.most_r * ratio_Ohm * ratio_Ohm
        s.p[_2RR] = s.most_Ohm2
        s.p[_2AA] = s.most_Ohm2
        s.p[_2BB] = s.most_Ohm2
        s.centred = 1
        anchor_two(s, s.current_A, s.voltage_V)
        s.stir_V2 = moved_V * moved_V


def after_edge_two(
    s: TwoPairs, dt_s: float, through_A: float, current_A: float, voltage_V: float
) -> None:
    """Judge one of the readings after an edge, by the copy that ran ahead as well. Kernel."""
    if s.ahead_n > 0:
        s.ahead_n -= 1
        now_s = s.edge_dt_s + s.since_s
        if through_A != s.ahead_A:
            carry_second(s, now_s - dt_s)
            carry_ahead(s, now_s - dt_s)
            s.ahead_A = through_A
        if s.ahead_n == 0 or s.ahead_n >= AHEAD_READINGS - EARLY_READINGS:
            carry_second(s, now_s)
            carry_ahead(s, now_s)
            compare_ahead(s, s.ahead_v1_V + s.ahead_v2_V, current_A, voltage_V)
    judge_edge(s, _TWO)


def reopen_two(s: TwoPairs) -> None:
    """Believe the readings again: states by what they are off, parameters fourfold. Kernel."""
    keep_diagonal(s, _TWO)
    off_V2 = min(s.off_V * s.off_V, 100.0)
    s.p[_2UU] += off_V2
    s.p[_2VV] += off_V2
    s.p[_2WW] += off_V2
    most = s.most_Ohm2
    s.p[_2RR] = min(4.0 * s.p[_2RR] + 0.01 * most, most)
    s.p[_2AA] = min(4.0 * s.p[_2AA] + 0.01 * most, most)
    s.p[_2BB] = min(4.0 * s.p[_2BB] + 0.01 * most, most)
    s.p[_2TT] = min(4.0 * s.p[_2TT] + 0.01, s.most_t)
    s.p[_2ZZ] = min(4.0 * s.p[_2ZZ] + 0.01, s.most_t)
    s.rejected = 0


def update_two(  # noqa: PLR0915 -- parts would hand some 60 numbers to one another
    s: TwoPairs,
    dt_s: float,
    current_A: float,
    voltage_V: float,
    through_A: float,
    loose_A: float,
    frozen: bool,  # noqa: FBT001 -- a kernel's flag
) -> int:
    """Carry the state forward by the interval's current and weigh the reading in. Kernel."""
    p = s.p
    (  # at once: one by one takes Python four times as long
        uu, uv, uw, ug, ur, ua, ut, ub, uz,
            vv, vw, vg, vr, va, vt, vb, vz,
                ww, wg, wr, wa, wt, wb, wz,
                    gg, gr, ga, gt, gb, gz,
                        rr, ra, rt, rb, rz,
                            aa, at, ab, az,
                                tt, tb, tz,
                                    bb, bz,
                                        zz,
    ) = s.p  # fmt: skip
    r0_Ohm = s.r0_Ohm
    r1_Ohm = s.r1_Ohm
    r2_Ohm = s.r2_Ohm
    # forward: exact for a constant current
    times = dt_s * safe_exp(-s.ln_tau1)
    keep_v = safe_exp(-times)
    by_a = (1.0 - keep_v) * through_A
    end_V = r1_Ohm * through_A
    way_v_V = s.v1_V - end_V
    left_V = keep_v * way_v_V
    by_t = left_V * times
    v1_V = end_V + left_V
    rate_per_s = safe_exp(-s.ln_tau2)
    s.rate_per_s = rate_per_s
    times = dt_s * rate_per_s
    keep_w = safe_exp(-times)
    by_b = (1.0 - keep_w) * through_A
    end_V = r2_Ohm * through_A
    way_w_V = s.v2_V - end_V
    left_V = keep_w * way_w_V
    by_z = left_V * times
    v2_V = end_V + left_V
    by_g = through_A * dt_s
    u_V = s.u_V + by_g * s.slope
    ug_ = ug + by_g * gg
    ur_ = ur + by_g * gr
    ua_ = ua + by_g * ga
    ut_ = ut + by_g * gt
    ub_ = ub + by_g * gb
    uz_ = uz + by_g * gz
    vg_ = keep_v * vg + by_a * ga + by_t * gt
    vr_ = keep_v * vr + by_a * ra + by_t * rt
    va_ = keep_v * va + by_a * aa + by_t * at
    vt_ = keep_v * vt + by_a * at + by_t * tt
    vb_ = keep_v * vb + by_a * ab + by_t * tb
    vz_ = keep_v * vz + by_a * az + by_t * tz
    wg_ = keep_w * wg + by_b * gb + by_z * gz
    wr_ = keep_w * wr + by_b * rb + by_z * rz
    wa_ = keep_w * wa + by_b * ab + by_z * az
    wt_ = keep_w * wt + by_b * tb + by_z * tz
    wb_ = keep_w * wb + by_b * bb + by_z * bz
    wz_ = keep_w * wz + by_b * bz + by_z * zz
    uu += by_g * (ug + ug_) + s.q_u_V2 * dt_s
    uv = keep_v * (uv + by_g * vg) + by_a * ua_ + by_t * ut_
    uw = keep_w * (uw + by_g * wg) + by_b * ub_ + by_z * uz_
    vw = keep_w * (keep_v * vw + by_a * wa + by_t * wt) + by_b * vb_ + by_z * vz_
    vv = keep_v * (keep_v * vv + by_a * va + by_t * vt)
    vv += by_a * va_ + by_t * vt_
    ww = keep_w * (keep_w * ww + by_b * wb + by_z * wz)
    ww += by_b * wb_ + by_z * wz_
    # what a straight line in the logarithm of tau leaves out
    bent_V = way_v_V * tt
    vv += BENDS * (1.0 - keep_v * keep_v) * bent_V * bent_V
    bent_V = way_w_V * zz
    ww += BENDS * (1.0 - keep_w * keep_w) * bent_V * bent_V
    if loose_A != 0.0:  # when within the interval the current changed is not known
        loose_V = (1.0 - keep_v) * r1_Ohm * loose_A
        vv += loose_V * loose_V
        loose_V = (1.0 - keep_w) * r2_Ohm * loose_A
        ww += loose_V * loose_V
    gg += s.q_g * dt_s
    q_r = s.q_r * dt_s
    q_t = s.q_t * dt_s
    most_Ohm2 = s.most_Ohm2
    most_t = s.most_t
    if rr < most_Ohm2:
        rr += q_r * r0_Ohm * r0_Ohm
    if aa < most_Ohm2:
        aa += q_r * r1_Ohm * r1_Ohm
    if bb < most_Ohm2:
        bb += q_r * r2_Ohm * r2_Ohm
    if tt < most_t:
        tt += q_t
    if zz < most_t:
        zz += q_t
    # what the reading says
    cu = uu + uv + uw + current_A * ur_
    cv = uv + vv + vw + current_A * vr_
    cw = uw + vw + ww + current_A * wr_
    cg = ug_ + vg_ + wg_ + current_A * gr
    cr = ur_ + vr_ + wr_ + current_A * rr
    ca = ua_ + va_ + wa_ + current_A * ra
    ct = ut_ + vt_ + wt_ + current_A * rt
    cb = ub_ + vb_ + wb_ + current_A * rb
    cz = uz_ + vz_ + wz_ + current_A * rz
    variance_V2 = s.r_V2 + cu + cv + cw + current_A * cr
    off_V = voltage_V - (u_V + v1_V + v2_V + r0_Ohm * current_A)
    inverse = 1.0 / variance_V2 if variance_V2 > 0.0 else NAN
    misfit = off_V * off_V * inverse
    s.off_V = off_V
    s.misfit = misfit
    outcome = USED
    if not misfit <= GATE:
        outcome = REJECTED
        off_V = inverse = 0.0
    # the gain
    ku = cu * inverse
    kv = cv * inverse
    kw = cw * inverse
    kg = cg * inverse
    s.u_V = u_V + ku * off_V
    s.v1_V = v1_V + kv * off_V
    s.v2_V = v2_V + kw * off_V
    s.slope += kg * off_V
    uu -= ku * cu
    p[0] = uu
    p[1] = uv - ku * cv
    p[2] = uw - ku * cw
    p[3] = ug_ - ku * cg
    p[4] = ur_ - ku * cr
    p[5] = ua_ - ku * ca
    p[6] = ut_ - ku * ct
    p[7] = ub_ - ku * cb
    p[8] = uz_ - ku * cz
    vv -= kv * cv
    p[9] = vv
    p[10] = vw - kv * cw
    p[11] = vg_ - kv * cg
    p[12] = vr_ - kv * cr
    p[13] = va_ - kv * ca
    p[14] = vt_ - kv * ct
    p[15] = vb_ - kv * cb
    p[16] = vz_ - kv * cz
    ww -= kw * cw
    p[17] = ww
    p[18] = wg_ - kw * cg
    p[19] = wr_ - kw * cr
    p[20] = wa_ - kw * ca
    p[21] = wt_ - kw * ct
    p[22] = wb_ - kw * cb
    p[23] = wz_ - kw * cz
    gg -= kg * cg
    p[24] = gg
    p[25] = gr - kg * cr
    p[26] = ga - kg * ca
    p[27] = gt - kg * ct
    p[28] = gb - kg * cb
    p[29] = gz - kg * cz
    if inverse != 0.0 and not frozen:  # else nothing speaks of the parameters: they stand still
        least_Ohm = s.least_Ohm
        kr = cr * inverse
        ka = ca * inverse
        kt = ct * inverse
        kb = cb * inverse
        kz = cz * inverse
        r0_Ohm += kr * off_V
        s.r0_Ohm = least_Ohm if r0_Ohm < least_Ohm else r0_Ohm
        r1_Ohm += ka * off_V
        s.r1_Ohm = least_Ohm if r1_Ohm < least_Ohm else r1_Ohm
        ln_tau1 = s.ln_tau1 + kt * off_V
        if ln_tau1 < s.low_t1 or ln_tau1 > s.high_t1:
            ln_tau1 = min(max(ln_tau1, s.low_t1), s.high_t1)
        s.ln_tau1 = ln_tau1
        r2_Ohm += kb * off_V
        s.r2_Ohm = least_Ohm if r2_Ohm < least_Ohm else r2_Ohm
        ln_tau2 = s.ln_tau2 + kz * off_V
        if ln_tau2 < s.low_t2 or ln_tau2 > s.high_t2:
            ln_tau2 = min(max(ln_tau2, s.low_t2), s.high_t2)
        s.ln_tau2 = ln_tau2
        rr -= kr * cr
        p[31] = ra - kr * ca
        p[32] = rt - kr * ct
        p[33] = rb - kr * cb
        p[34] = rz - kr * cz
        aa -= ka * ca
        p[36] = at - ka * ct
        p[37] = ab - ka * cb
        p[38] = az - ka * cz
        tt -= kt * ct
        p[40] = tb - kt * cb
        p[41] = tz - kt * cz
        bb -= kb * cb
        p[43] = bz - kb * cz
        zz -= kz * cz
    p[30] = rr
    p[35] = aa
    p[39] = tt
    p[42] = bb
    p[44] = zz
    tiny = _TINY
    if not (
        uu > tiny
        and vv > tiny
        and ww > tiny
        and gg > tiny
        and rr > tiny
        and aa > tiny
        and tt > tiny
        and bb > tiny
        and zz > tiny
    ):
        keep_diagonal(s, _TWO)
    return outcome


def start_ahead(s: OnePair | TwoPairs, change_A: float, through_A: float) -> None:
    """Let a copy that learns nothing run ahead from this edge, its first pair here. Kernel."""
    if s.ahead_edges < AHEAD_FROM:
        s.ahead_edges += 1
        return
    s.ahead_n = AHEAD_READINGS
    s.ahead_change_A = change_A
    s.ahead_A = through_A
    s.ahead_s = 0.0
    s.ahead_V = s.u_V
    s.ahead_slope = s.slope
    s.ahead_r0_Ohm = s.r0_Ohm
    s.ahead_v1_V = s.v1_V
    s.ahead_r1_Ohm = s.r1_Ohm
    s.ahead_rate1_per_s = safe_exp(-s.ln_tau1)


def carry_ahead(s: OnePair | TwoPairs, to_s: float) -> None:
    """Carry the copy and its first pair to a time after the edge, at the current noted. Kernel.

    Called where that current ends, not at each reading: exact for a constant one.
    """
    dt_s = to_s - s.ahead_s
    s.ahead_s = to_s
    s.ahead_V += s.ahead_A * dt_s * s.ahead_slope
    end_V = s.ahead_r1_Ohm * s.ahead_A
    s.ahead_v1_V = end_V + safe_exp(-dt_s * s.ahead_rate1_per_s) * (s.ahead_v1_V - end_V)


def compare_ahead(
    s: OnePair | TwoPairs, pairs_V: float, current_A: float, voltage_V: float
) -> None:
    """Note what the copy is off by, at its first readings and at its last. Kernel."""
    foretold_V = s.ahead_V + pairs_V + s.ahead_r0_Ohm * current_A
    off_Ohm = safe_divide(voltage_V - foretold_V, s.ahead_change_A)
    off_Ohm = min(max(off_Ohm, -s.middle_Ohm), s.middle_Ohm)
    if s.ahead_n == AHEAD_READINGS - 1:
        note_off(s, _FIRST, off_Ohm, AHEAD_KEPT, 1.0)
        begin_early(s, off_Ohm)
    elif s.ahead_n == AHEAD_READINGS - 2:
        s.ahead_second_Ohm = off_Ohm
    elif s.ahead_n > 0:
        note_early(s, off_Ohm)
    else:
        note_off(s, _LAST, off_Ohm, AHEAD_KEPT, 1.0)
        s.last_off_s = s.ahead_s


def begin_early(s: OnePair | TwoPairs, off_Ohm: float) -> None:
    """Note the copy's first reading, and what of its variance was known and what is noise. Kernel.

    The copy has just left the filter: that variance is the filter's own of this reading.
    """
    s.ahead_first_Ohm = off_Ohm
    variance_V2 = safe_divide(s.off_V * s.off_V, s.misfit)
    if not variance_V2 > s.r_V2:
        variance_V2 = s.r_V2
    s.ahead_share = safe_divide(s.r_V2, variance_V2)
    most_Ohm2 = s.middle_Ohm * s.middle_Ohm
    known_Ohm2 = safe_divide(variance_V2 - s.r_V2, s.ahead_change_A * s.ahead_change_A)
    s.ahead_known_Ohm2 = known_Ohm2 if known_Ohm2 < most_Ohm2 else most_Ohm2


def note_early(s: OnePair | TwoPairs, third_Ohm: float) -> None:
    """Take the first three readings of an edge into the sums over edges. Kernel.

    The noise of two readings is not the same, so their product shows what they share. An edge at
    which the filter had just opened up says little: it counts by the share of noise, squared.
    """
    first_Ohm = s.ahead_first_Ohm
    second_Ohm = s.ahead_second_Ohm
    weight = s.ahead_share * s.ahead_share
    excess_Ohm2 = first_Ohm * second_Ohm - s.ahead_known_Ohm2
    note_off(s, _COMMON, excess_Ohm2, EARLY_KEPT, weight)
    note_off(s, _BEND, first_Ohm - second_Ohm, EARLY_KEPT, weight)
    note_off(s, _NEXT, second_Ohm - third_Ohm, EARLY_KEPT, weight)


def note_off(s: OnePair | TwoPairs, at: int, off: float, keep: float, weight: float) -> None:
    """Take one edge into the sums that begin there. Kernel."""
    s.ahead_off[at] = keep * s.ahead_off[at] + weight
    s.ahead_off[at + 1] = keep * s.ahead_off[at + 1] + weight * off
    s.ahead_off[at + 2] = keep * s.ahead_off[at + 2] + weight * off * off
    s.ahead_off[at + 3] = keep * keep * s.ahead_off[at + 3] + weight * weight


def judge_edge(s: OnePair | TwoPairs, size: int) -> None:
    """Take a reading after an edge into their mean misfit; see to it at the last. Kernel."""
    s.edge_sum += s.misfit if s.misfit < MISFIT_MOST else MISFIT_MOST
    s.edge_n -= 1
    if s.edge_n == 0:
        explain(s, size)


def check_covariance(s: OnePair | TwoPairs, size: int) -> None:
    """See that the covariance is positive definite; else keep its diagonal only. Kernel."""
    s.readings = 0
    if not positive(s, size):
        keep_diagonal(s, size)


def part_states(s: OnePair | TwoPairs, size: int, states: int) -> None:
    """Forget how the first states go with all others. Kernel."""
    place = 0
    for i in range(states):
        for _ in range(i, size):
            s.p[place] = 0.0
            place += 1


def widen(s: OnePair | TwoPairs, size: int, factor: float) -> None:
    """Multiply the parameters' variances, up to the prior's; correlations are kept. Kernel."""
    place = 0
    for i in range(size):
        for j in range(i, size):
            if i != j:
                s.p[place] *= widening(s, size, i, factor) * widening(s, size, j, factor)
            place += 1
    for i in range(size):
        by = widening(s, size, i, factor)
        s.p[i * size - (i * (i - 1)) // 2] *= by * by


def widening(s: OnePair | TwoPairs, size: int, i: int, factor: float) -> float:
    """Return what a parameter's deviation is multiplied by; 1 for the others. Kernel."""
    parameter = i - size + (_T1 if size == _ONE else _T2)
    if parameter < 0:
        return 1.0
    most = s.most_Ohm2
    if parameter == _T1 - 1 or parameter == _T2 - 1:
        most = s.most_t
    own = s.p[i * size - (i * (i - 1)) // 2]
    return safe_sqrt(max(min(factor, safe_divide(most, own)), 1.0))


def explain(s: OnePair | TwoPairs, size: int) -> None:
    """Widen the parameters where an edge's readings were further off than the filter says. Kernel.

    At a wrong optimum they are too sure of themselves to leave it.
    """
    mean = s.edge_sum / EDGE_READINGS
    s.fit += FIT_SHARE * (mean - s.fit)
    if mean > EXPLAINED_BELOW:
        widen(s, size, mean)


def keep_diagonal(s: OnePair | TwoPairs, size: int) -> None:
    """Forget all covariances; a variance that is none becomes the prior's. Kernel."""
    place = 0
    for i in range(size):
        for j in range(i, size):
            if i != j:
                s.p[place] = 0.0
            elif not s.p[place] > _TINY or not s.p[place] < 1e12:
                s.p[place] = 1.0
            place += 1


def positive(s: OnePair | TwoPairs, size: int) -> bool:
    """Return whether the covariance has a factor L D L' with D above 0. Kernel."""
    p = s.p
    work = s.work
    for place in range(len(work)):
        work[place] = p[place]
    for i in range(size):
        row = i * size - (i * (i - 1)) // 2 - i
        pivot = work[row + i]
        if not pivot > 0.0:
            return False
        for j in range(i + 1, size):
            share = work[row + j] / pivot
            other = j * size - (j * (j - 1)) // 2 - j
            for k in range(j, size):
                work[other + k] -= share * work[row + k]
    return True


class Circuit(NamedTuple):
    """What the filter says of the circuit; standard uncertainties, the gain ratio's included.

    ``u_ln_tau*`` are of the logarithm: an interval is best taken there. NaN for a pair that the
    filter does not have. `identifiable` has the bits ``R0`` ... ``TAU2`` of what the readings told:
    the rest is the prior's. Where readings around an edge are further apart than half of tau1, R0
    and R1 are not told apart, only their sum. What answers within one reading is in R0.
    """

    r0_Ohm: float
    u_r0_Ohm: float
    r1_Ohm: float
    u_r1_Ohm: float
    tau1_s: float
    u_ln_tau1: float
    sum_Ohm: float
    u_sum_Ohm: float
    r2_Ohm: float
    u_r2_Ohm: float
    tau2_s: float
    u_ln_tau2: float
    identifiable: int


class Answer(NamedTuple):
    """What the voltage answers some time after a step of the current."""

    value_Ohm: float
    u_Ohm: float


def circuit(s: OnePair | TwoPairs) -> Circuit:
    """Return resistances and time constants, and which of them the readings told. Per event."""
    off_Ohm = max(_unexplained_Ohm(s, _FIRST), _unexplained_Ohm(s, _LAST))
    r0 = math.hypot(_u(s, {_R0: 1.0}), _common_Ohm(s), BEND_WIDENS * _bend_Ohm(s))
    r1, tau1 = math.hypot(_u(s, {_R1: 1.0}), off_Ohm), _u(s, {_T1: 1.0})
    both = math.hypot(_u(s, {_R0: 1.0, _R1: 1.0}), off_Ohm)
    r2_Ohm = r2 = tau2_s = tau2 = math.nan
    if isinstance(s, TwoPairs):
        r2_Ohm, r2 = s.r2_Ohm, math.hypot(_u(s, {_R2: 1.0}), off_Ohm)
        tau2_s, tau2 = safe_exp(s.ln_tau2), _u(s, {_T2: 1.0})
    r_sd, tau_sd = math.sqrt(s.most_r) * s.middle_Ohm, math.sqrt(s.most_t)
    learnt = {
        R0: r0 / r_sd,
        R1: r1 / r_sd,
        TAU1: tau1 / tau_sd,
        SUM: both / (math.sqrt(2.0) * r_sd),
        R2: r2 / r_sd,
        TAU2: tau2 / tau_sd,
    }
    identifiable = sum(bit for bit, share in learnt.items() if share <= NOT_LEARNT_ABOVE)
    if not s.centred:
        identifiable = 0
    return Circuit(
        r0_Ohm=s.r0_Ohm,
        u_r0_Ohm=math.hypot(r0, s.ratio_u * s.r0_Ohm),
        r1_Ohm=s.r1_Ohm,
        u_r1_Ohm=math.hypot(r1, s.ratio_u * s.r1_Ohm),
        tau1_s=safe_exp(s.ln_tau1),
        u_ln_tau1=tau1,
        sum_Ohm=s.r0_Ohm + s.r1_Ohm,
        u_sum_Ohm=math.hypot(both, s.ratio_u * (s.r0_Ohm + s.r1_Ohm)),
        r2_Ohm=r2_Ohm,
        u_r2_Ohm=math.hypot(r2, s.ratio_u * r2_Ohm),
        tau2_s=tau2_s,
        u_ln_tau2=tau2,
        identifiable=identifiable & ~_not_told(s, r1, tau2_s, r2),
    )


def _not_told(s: OnePair | TwoPairs, u_r1_Ohm: float, tau2_s: float, u_r2_Ohm: float) -> int:
    """Return the bits of what these readings cannot tell, however sure the filter is of it."""
    tau1_s = safe_exp(s.ln_tau1)
    held_s = max(s.held_s, s.since_s)
    bits = 0
    if s.edge_dt_s > SPLIT_WITHIN * tau1_s or s.r1_Ohm < THERE_FROM * u_r1_Ohm:
        bits |= R0 | R1 | TAU1
    if _too_fast(s):
        bits |= R0
    if HELD_FOR * tau1_s > held_s:
        bits |= R1 | TAU1 | SUM
    if isinstance(s, TwoPairs):
        hidden = s.r2_Ohm < THERE_FROM * u_r2_Ohm
        if tau2_s < APART_FROM * tau1_s or (hidden and SHOWS_AFTER * tau2_s <= held_s):
            # One pair may stand for both, and R0 for what that leaves.
            bits |= R0 | R1 | TAU1 | SUM | R2 | TAU2
        if s.r1_Ohm + 2.0 * u_r1_Ohm < NOTHING_BELOW * s.r2_Ohm:
            bits |= SUM | R2 | TAU2
        if hidden or HELD_FOR * tau2_s > held_s:
            bits |= R2 | TAU2
    return bits


def answer_after(s: OnePair | TwoPairs, since_s: float) -> Answer:
    """Return what the voltage answers `since_s` after a step of the current. Per event.

    With the slow part's slope, as a step resistance has it. Well known also where the circuit's
    parts are not; NaN before the first reading after an edge.
    """
    if not s.centred or since_s < BEFORE_FIRST * s.edge_dt_s:
        return Answer(math.nan, math.nan)
    value_Ohm = s.r0_Ohm + s.slope * since_s
    by = {_R0: 1.0, _G: since_s}
    pairs = [(_R1, s.r1_Ohm, _T1, s.ln_tau1)]
    if isinstance(s, TwoPairs):
        pairs.append((_R2, s.r2_Ohm, _T2, s.ln_tau2))
    for r, r_Ohm, tau, ln_tau in pairs:
        times = since_s * safe_exp(-ln_tau)
        left = safe_exp(-times)
        value_Ohm += r_Ohm * (1.0 - left)
        by[r] = 1.0 - left
        by[tau] = -r_Ohm * times * left
    u_Ohm = math.hypot(_u(s, by), s.ratio_u * value_Ohm)
    return Answer(value_Ohm, math.hypot(u_Ohm, _off_after(s, since_s)))


def _mean(s: OnePair | TwoPairs, at: int) -> tuple[float, float]:
    """Return the mean over edges of what begins there, and its standard error; 0 while too few."""
    weight, total, squares, weights2 = s.ahead_off[at : at + 4]
    edges = safe_divide(weight * weight, weights2)
    if not edges >= AHEAD_LEAST:
        return 0.0, 0.0
    mean = total / weight
    return mean, math.sqrt(max(squares / weight - mean * mean, 0.0) / (edges - 1.0))


def _unexplained_Ohm(s: OnePair | TwoPairs, at: int) -> float:
    """Return what the copies were off by on average, less what chance may have made of it."""
    mean_Ohm, error_Ohm = _mean(s, at)
    return math.sqrt(max(mean_Ohm * mean_Ohm - error_Ohm * error_Ohm, 0.0))


def _common_Ohm(s: OnePair | TwoPairs) -> float:
    """Return what first and second reading were off by together, beyond knowledge and chance."""
    mean_Ohm2, error_Ohm2 = _mean(s, _COMMON)
    return math.sqrt(max(mean_Ohm2 - error_Ohm2, 0.0))


def _bend_Ohm(s: OnePair | TwoPairs) -> float:
    """Return by how much the first reading was lower than the second, beyond chance."""
    mean_Ohm, error_Ohm = _mean(s, _BEND)
    return max(-mean_Ohm - error_Ohm, 0.0)


def _too_fast(s: OnePair | TwoPairs) -> bool:
    """Return whether a process shows at the first reading that is over by the second."""
    mean_Ohm, error_Ohm = _mean(s, _BEND)
    next_Ohm, _ = _mean(s, _NEXT)
    return mean_Ohm < -BENT_FROM * error_Ohm and next_Ohm > BENT_STILL * mean_Ohm


def _off_after(s: OnePair | TwoPairs, since_s: float) -> float:
    """Return the same some time after an edge: between first and last reading along log t."""
    first_Ohm = max(_unexplained_Ohm(s, _FIRST), _common_Ohm(s))
    last_Ohm = _unexplained_Ohm(s, _LAST)
    if not 0.0 < s.edge_dt_s < s.last_off_s:
        return max(first_Ohm, last_Ohm)
    way = math.log(since_s / s.edge_dt_s) / math.log(s.last_off_s / s.edge_dt_s)
    return first_Ohm + min(max(way, 0.0), 1.0) * (last_Ohm - first_Ohm)


def _u(s: OnePair | TwoPairs, by: Mapping[int, float]) -> float:
    """Return the standard uncertainty of a sum of parameters, each times its factor.

    Where the readings fit worse than the filter thinks, it is widened.
    """
    states, size = (3, _TWO) if isinstance(s, TwoPairs) else (2, _ONE)
    variance = 0.0
    for a, factor_a in by.items():
        for b, factor_b in by.items():
            i, j = sorted((states + a, states + b))
            variance += factor_a * factor_b * s.p[i * size - (i * (i - 1)) // 2 + j - i]
    return math.sqrt(max(s.fit, 1.0) * max(variance, 0.0))
