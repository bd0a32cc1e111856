"""Step resistances: what the voltage answers 10 ms, 100 ms, 1 s, 10 s after a change of current.

``R(t) = (V(t) - V_before(t)) / (I - I_before)``, where ``V_before(t)`` is the straight line that
the voltage followed before the edge, continued. A resistance at time t holds all that
answers within t: nothing here is called R0. What the readings cannot give is refused and the record
says why (`status_words`). Kernel; memory is constant. In use::

    from controller.estimation.impedance.steps import I_1S, NEW_SET_POINT, STEP_1S, Steps, observe

    s = Steps(min_step_A=1.5e-4)
    for second in range(120):
        current_A = 1e-3 if second >= 60 else 0.0
        flags = NEW_SET_POINT if second == 60 else 0
        done = observe(s, float(second), 1.0, current_A, 3.7 + 20.0 * current_A, flags)
        if done & STEP_1S:  # of the edge s.of_before_A -> s.of_after_A
            print(s.value_Ohm[I_1S], s.u_Ohm[I_1S])

Readings around an edge are looked at once more when the next one comes: a logger that reads the
voltage before or after the current shows only then.
"""

from __future__ import annotations

from typing import Final

from controller.domain.total_math import safe_divide, safe_log, safe_sqrt

# Values, by place in the record's lists, and their bits in what `observe` returns.
I_FIRST: Final = 0
I_10MS: Final = 1
I_100MS: Final = 2
I_1S: Final = 3
I_10S: Final = 4
I_SUM: Final = 5
I_WINDOW: Final = 6
VALUES: Final = 7
FIRST: Final = 1
STEP_10MS: Final = 2
STEP_100MS: Final = 4
STEP_1S: Final = 8
STEP_10S: Final = 16
SUM: Final = 32  # R0 + R1 without the slow drift; not to be split
WINDOW: Final = 64  # V and I out of step: what twelve readings give together
HORIZONS_S: Final = (0.0, 0.01, 0.1, 1.0, 10.0)

# What the caller knows of the interval that ends at a reading.
NEW_SET_POINT: Final = 1  # the command changed right after the reading before
VOLTAGE_HELD: Final = 2  # the voltage is regulated: the current answers, not the voltage
UNKNOWN_BETWEEN: Final = 4  # a gap, a reset of the clock: nothing reaches across

# Why something is missing or wide, bit by bit.
NO_10MS: Final = 1
NO_100MS: Final = 2
NO_1S: Final = 4
NO_10S: Final = 8
LATE_VOLTAGE: Final = 16
NO_DRIFT: Final = 32
STILL_RISING: Final = 64
CUT_SHORT: Final = 128
OUT_OF_STEP: Final = 256
LAG_UNCHECKED: Final = 512
STATUS_WORDS: Final[dict[int, str]] = {
    LATE_VOLTAGE: "the voltage answered a reading later than the current: the first is refused",
    NO_DRIFT: "fewer than three readings before the edge: drift not taken off",
    STILL_RISING: "still rising within one reading: R0 and R1 only as a sum",
    CUT_SHORT: "the current changed again",
    OUT_OF_STEP: "voltage and current are logged out of step: only their sum over a window",
    LAG_UNCHECKED: "too few edges yet to tell whether voltage and current are in step",
}

# Readings around an edge are close enough within this (s). Assumed, 1-2 s.
EDGE_WITHIN_S: Final = 1.5
# Current stays within this share of the step. Assumed, 1-5 %.
STEADY_WITHIN: Final = 0.02
# A reading stands for a time that it is at most this factor late for. Assumed, 1.2-2.
LATE_FACTOR: Final = 1.6
# ... and at most this one early for. Assumed, 1.001-1.02.
EARLY_FACTOR: Final = 1.002
# Rise of the answer per factor e of time, as a share, where no second reading tells it. Assumed,
# 2-10 %.
RISE_ASSUMED: Final = 0.05
# Between two readings further apart than this factor in time nothing is put. Assumed, 3-10.
WIDEST_FACTOR: Final = 5.0
# The line before the edge is fitted over this share of the time at that current, from three
# readings on: a relaxation bends over about the time it has lasted. Assumed, 5-20 %.
LINE_SHARE: Final = 0.1
LINE_READINGS: Final = 3.0
# A relaxation before the edge may end within this share of the time it lasted. Assumed, 10-50 %.
BENDS_AFTER: Final = 0.25
# The line reaches too far back where its readings are on average more than so many times
# `LINE_SHARE` old. Assumed, 1.2-2.
LINE_REACHES: Final = 1.5
# Where it does and the voltage wanders, and where that bends (scatter and neighbours as in
# `WANDERS`, assumed 6-20), the drift is what came since a reading at least so much older than the
# last, if since then no more passed than this share of the time at that current. Assumed, 15-50 %.
BENDS: Final = 10.0
OLDER_S: Final = 10.0
OLDER_WITHIN: Final = 0.25
# Such a drift is steeper than at its end by this part of that share: 0.5-0.65 where the voltage
# follows the logarithm of time.
SECANT_BENDS: Final = 0.6
# Share of a new residual in the mean square scatter about the line. Assumed, 3-20 %.
SCATTER_SHARE: Final = 0.06
# A residual counts as at most this many times that. Assumed, 4-10.
SCATTER_GROWS: Final = 7.0
# Share of a new third difference in the noise's running mean square. Assumed, 1-10 %.
NOISE_SHARE: Final = 0.03
# It counts as at most this many times the mean square (assumed, 1-4); what that leaves of a normal
# one's square on average, ``E[min(x^2, 1)]``.
NOISE_MOST: Final = 1.0
NOISE_PART: Final = 0.5161
# The first ones count in full; a noise that is given counts as so many. Assumed, 8-30.
NOISE_FIRST: Final = 16.0
# A reading before an edge that went against it by this many times the noise fell by itself, at the
# end of a discharge, and is no answer that came early. Assumed, 5-20.
COLLAPSES: Final = 10.0
# Where the voltage moves on by more than so many times the noise (squared) they count by less.
# Assumed, 100-1000 and 0.1-0.5.
STEEP: Final = 400.0
STEEP_SHARE: Final = 0.25
# Intervals that differ by more than this factor are not compared.
WIDEST_RATIO: Final = 1e6
_MOST2: Final = 1e18  # square of a current or voltage that is none (A2, V2)
_NOTHING_V2: Final = 1e-18  # square of a difference that is rounding alone
# Rise from the first to the second reading, as a share of the first, from which on the first is
# not called settled. Assumed, 2-10 %.
SETTLED_WITHIN: Final = 0.05
# Readings of which is told whether the voltage wanders; it does where they scatter about the line
# by so many times (squared) what neighbours differ in. Assumed, 1.4-3 and 2-5.
NEAR_READINGS: Final = 1.5
WANDERS: Final = 3.0
# The drift under a pulse is fitted in between; what is faster counts into the sum (s). Assumed.
DRIFT_FROM_S: Final = 2.0
DRIFT_UNTIL_S: Final = 12.0
DRIFT_READINGS: Final = 10.0
# Regular readings at least this fast are checked for a lag over so many of them and edges.
DYNAMIC_DT_S: Final = 0.05
WINDOW_READINGS: Final = 12
RING: Final = 14
LAG_EDGES: Final = 100.0
# One reading's share of what the window gives, below which V and I are out of step. Assumed.
OUT_OF_STEP_BELOW: Final = 0.5
# The second reading moves on by more than the first did: the voltage was a reading late; by this
# factor more where it comes later than so many first intervals. Assumed.
LATE_SOON: Final = 3.0
LATE_BEYOND: Final = 5.0
_LATER: Final = 1.0 / 3.4641016151377544  # standard deviation of even chances over 1


class Steps:
    """What is known of the edges; numbers only.

    Attributes
    ----------
    min_step_A : float
        Smallest change of current that is an edge.
    ratio_u : float
        Relative standard uncertainty of V / I from the instrument's gains.
    noise_V : float
        Of one reading (standard deviation) until readings show it; 0 where nothing is known.
    floor_u_V : float
        Standard uncertainty of a difference of two voltages that no scatter shows (resolution).
    delay_u_s : float
        Of the time between a reading and the edge commanded right after it.
    value_Ohm, u_Ohm, at_s : list of float, length `VALUES`
        Last completed; at which time after the edge.
    of_t_s, of_before_A, of_after_A : float
        The edge that they belong to.
    status : int
        Of the same edge; see `status_words`.
    """

    __slots__ = (
        "apart_V2",
        "at_s",
        "base_V",
        "base_bends",
        "base_noise_V2",
        "base_off_V2",
        "base_slope",
        "base_steady_s",
        "base_t0",
        "base_t1",
        "base_t2",
        "before_A",
        "bend_V",
        "current_A",
        "delay_u_s",
        "edge_t_s",
        "edge_u_s",
        "energy_A2",
        "far_A2",
        "far_AV",
        "first_A",
        "first_Ohm",
        "first_V",
        "first_s",
        "fit_n",
        "fit_x",
        "fit_xx",
        "fit_xy",
        "fit_y",
        "floor_u_V",
        "following",
        "gap_ratio",
        "gap_s",
        "has_last",
        "lag_edges",
        "last_Ohm",
        "last_predicted_V",
        "last_s",
        "last_scatter_V",
        "line_n",
        "line_q0",
        "line_q1",
        "line_q2",
        "line_s0",
        "line_s1",
        "line_s2",
        "line_y0",
        "line_y1",
        "mark_V",
        "mark_s",
        "min_step_A",
        "moved_V",
        "near_V2",
        "near_n",
        "noise_V2",
        "noise_n",
        "of_after_A",
        "of_before_A",
        "of_t_s",
        "older_V",
        "older_s",
        "one_AV",
        "origin_V",
        "out_of_step",
        "ratio_u",
        "ring_A",
        "ring_V",
        "ring_at",
        "ring_dt_s",
        "ring_n",
        "scatter_V2",
        "scatter_n",
        "skipped_s",
        "status",
        "steady_s",
        "t_s",
        "u_Ohm",
        "value_Ohm",
        "voltage_V",
        "window_AV",
    )
    apart_V2: float
    at_s: list[float]
    base_V: float
    base_bends: float
    base_noise_V2: float
    base_off_V2: float
    base_slope: float
    base_steady_s: float
    base_t0: float
    base_t1: float
    base_t2: float
    before_A: float
    bend_V: float
    current_A: float
    delay_u_s: float
    edge_t_s: float
    edge_u_s: float
    energy_A2: float
    far_A2: float
    far_AV: float
    first_A: float
    first_Ohm: float
    first_V: float
    first_s: float
    fit_n: float
    fit_x: float
    fit_xx: float
    fit_xy: float
    fit_y: float
    floor_u_V: float
    following: int
    gap_ratio: float
    gap_s: float
    has_last: int
    lag_edges: float
    last_Ohm: float
    last_predicted_V: float
    last_s: float
    last_scatter_V: float
    line_n: float
    line_q0: float
    line_q1: float
    line_q2: float
    line_s0: float
    line_s1: float
    line_s2: float
    line_y0: float
    line_y1: float
    mark_V: float
    mark_s: float
    min_step_A: float
    moved_V: float
    near_V2: float
    near_n: float
    noise_V2: float
    noise_n: float
    of_after_A: float
    of_before_A: float
    of_t_s: float
    older_V: float
    older_s: float
    one_AV: float
    origin_V: float
    out_of_step: int
    ratio_u: float
    ring_A: list[float]
    ring_V: list[float]
    ring_at: int
    ring_dt_s: float
    ring_n: int
    scatter_V2: float
    scatter_n: float
    skipped_s: float
    status: int
    steady_s: float
    t_s: float
    u_Ohm: list[float]
    value_Ohm: list[float]
    voltage_V: float
    window_AV: float

    def __init__(
        self,
        *,
        min_step_A: float,
        ratio_u: float = 2e-3,
        noise_V: float = 0.0,
        floor_u_V: float = 2e-4,
        delay_u_s: float = 0.005,
    ) -> None:
        for name in self.__slots__:
            setattr(self, name, 0.0)
        for name in ("following", "has_last", "out_of_step", "ring_at", "ring_n", "status"):
            setattr(self, name, 0)
        self.min_step_A = min_step_A
        self.ratio_u = ratio_u
        self.noise_V2 = noise_V * noise_V
        self.noise_n = NOISE_FIRST if noise_V > 0.0 else 0.0
        self.floor_u_V = floor_u_V
        self.delay_u_s = delay_u_s
        self.value_Ohm = [0.0] * VALUES
        self.u_Ohm = [0.0] * VALUES
        self.at_s = [0.0] * VALUES
        self.ring_A = [0.0] * RING
        self.ring_V = [0.0] * RING


def observe(
    s: Steps, t_s: float, dt_s: float, current_A: float, voltage_V: float, flags: int
) -> int:
    """Take in one reading; return the bits of the values that it completed.

    Parameters
    ----------
    s : Steps
        Written to.
    t_s : float
        Only carried to `Steps.of_t_s` (s).
    dt_s : float
        Since the reading before (s). One at the same time is passed over (a duplicate), unless its
        current is another: many cyclers log the end of a step and the start of the next so. One
        without a number is passed over, and its time counts to the next.
    current_A, voltage_V : float
        Charging current positive.
    flags : int
        ``NEW_SET_POINT``, ``VOLTAGE_HELD``, ``UNKNOWN_BETWEEN``.

    Returns
    -------
    int
        Bits of the values in `Steps.value_Ohm` that are complete now; 0 for none.
    """
    step_A = current_A - s.current_A
    least_A = s.min_step_A
    changed = step_A >= least_A or -step_A >= least_A
    if not dt_s >= 0.0 or (dt_s == 0.0 and not changed):
        return 0
    if not (dt_s < 1e9 and current_A * current_A < _MOST2 and voltage_V * voltage_V < _MOST2):
        s.skipped_s += dt_s
        return 0
    if s.skipped_s > 0.0:
        dt_s += s.skipped_s
        s.skipped_s = 0.0
    done = 0
    if not s.has_last or flags & UNKNOWN_BETWEEN:
        done = finish_edge(s)
        begin_line(s, voltage_V)
        s.ring_n = 0
        s.lag_edges = s.lag_edges if s.has_last else 0.0
        s.has_last = 1
    else:
        watch_lag(s, dt_s, current_A, voltage_V)
        if changed:
            done = finish_edge(s)
            if dt_s <= EDGE_WITHIN_S and not flags & VOLTAGE_HELD:
                begin_edge(s, dt_s, current_A, voltage_V, flags)
            begin_line(s, voltage_V)
        else:
            if s.following:
                done = follow_edge(s, dt_s, current_A, voltage_V, flags)
            follow_line(s, dt_s, voltage_V)
        if s.out_of_step:
            done = take_window(s, t_s) if changed else 0
    s.t_s = t_s
    s.current_A = current_A
    s.voltage_V = voltage_V
    return done


def begin_line(s: Steps, voltage_V: float) -> None:
    """Begin the line that the voltage follows at one current. Kernel."""
    s.origin_V = voltage_V
    s.steady_s = 0.0
    s.line_n = s.line_s0 = s.line_q0 = 1.0
    s.line_q1 = s.line_q2 = s.line_s1 = s.line_s2 = s.line_y0 = s.line_y1 = 0.0
    s.gap_ratio = 0.0
    s.mark_s = s.older_s = 0.0
    s.mark_V = s.older_V = voltage_V
    s.moved_V = 0.0
    s.last_scatter_V = 0.0
    s.near_n = s.near_V2 = s.apart_V2 = 0.0
    s.last_predicted_V = voltage_V


def follow_line(  # noqa: PLR0915 -- one reading, written out: 0.2 us less
    s: Steps, dt_s: float, voltage_V: float
) -> None:
    """Fit the line on: least squares, the past forgotten, time counted from now. Kernel."""
    steady_s = s.steady_s + dt_s
    memory_s = LINE_SHARE * steady_s
    reaches = 0
    if LINE_READINGS * dt_s > memory_s:
        memory_s = LINE_READINGS * dt_s
        reaches = 1
    keep = near = memory_s / (memory_s + dt_s)
    # the origin of time moves to this reading
    s0 = s.line_s0
    s1 = s.line_s1
    s2 = keep * (s.line_s2 - 2.0 * dt_s * s1 + dt_s * dt_s * s0)
    s1 = keep * (s1 - dt_s * s0)
    s0 *= keep
    y0 = s.line_y0
    y1 = keep * (s.line_y1 - dt_s * y0)
    y0 *= keep
    keep *= keep
    q0 = s.line_q0
    q1 = s.line_q1
    q2 = keep * (s.line_q2 - 2.0 * dt_s * q1 + dt_s * dt_s * q0)
    q1 = keep * (q1 - dt_s * q0)
    q0 *= keep
    moved_V = voltage_V - s.voltage_V
    count = s.line_n
    if count >= 2.0:
        follow_noise(s, dt_s, moved_V)
    y_V = voltage_V - s.origin_V
    predicted_V = y_V - moved_V
    spread = s0 * s2 - s1 * s1
    if count >= LINE_READINGS and spread > 0.0:
        predicted_V = (s2 * y0 - s1 * y1) / spread
        level = -1.0
        if reaches == 0:  # as `level_share` has it
            a = s2 / spread
            b = s1 / spread
            level = a * a * q0 - 2.0 * a * b * q1 + b * b * q2
        follow_scatter(s, y_V - predicted_V, level, near * near * near)
    if steady_s - s.mark_s >= OLDER_S:
        s.older_s = s.mark_s
        s.older_V = s.mark_V
        s.mark_s = steady_s
        s.mark_V = voltage_V
    s.steady_s = steady_s
    s.moved_V = moved_V
    s.gap_s = dt_s
    s.last_predicted_V = predicted_V + s.origin_V
    s.line_n = count + 1.0
    s.line_s0 = s0 + 1.0
    s.line_s1 = s1
    s.line_s2 = s2
    s.line_q0 = q0 + 1.0
    s.line_q1 = q1
    s.line_q2 = q2
    s.line_y0 = y0 + y_V
    s.line_y1 = y1


def follow_scatter(s: Steps, scatter_V: float, level: float, near: float) -> None:
    """Take in how far a reading lies from the line. Kernel.

    `level` is the variance of the line over that of a reading, negative where the line reaches too
    far back to judge by; `near` is what is kept of the nearest readings, fewer than the line's: a
    line of few readings still knows its beginning.
    """
    scatter_V2 = scatter_V * scatter_V
    if level >= 0.0:
        own_V2 = scatter_V2 / (1.0 + level)
        # a few wild readings, or the bend right after an edge, do not count in full
        s.scatter_n += 1.0
        share = 1.0 / s.scatter_n
        if share < SCATTER_SHARE:
            share = SCATTER_SHARE
            most_V2 = s.floor_u_V * s.floor_u_V
            if s.scatter_V2 > most_V2:
                most_V2 = s.scatter_V2
            most_V2 *= SCATTER_GROWS
            if own_V2 > most_V2:
                own_V2 = most_V2
        s.scatter_V2 += share * (own_V2 - s.scatter_V2)
    # Of late: what readings scatter by, and by how much two neighbours differ in that. A voltage
    # that bends or wanders leaves the line for several readings on one side.
    apart_V = scatter_V - s.last_scatter_V
    s.near_V2 = near * s.near_V2 + scatter_V2
    s.apart_V2 = near * s.apart_V2 + 0.5 * apart_V * apart_V
    s.near_n = near * s.near_n + 1.0
    s.last_scatter_V = scatter_V


def follow_noise(s: Steps, dt_s: float, moved_V: float) -> None:
    """Take the noise of one reading from the third difference of the last four. Kernel.

    What bends evenly has none. With intervals h1, h2, h3 and ``q = h2/h1``, ``g = h3/h2`` the
    weights of the four readings are ``q^2/(1+q)``, ``q + 1/(1+g)``, ``1/g + q/(1+q)``,
    ``1/(g(1+g))``, signs in turn; the difference squared over their squares' sum is the variance.
    A difference of nothing says that the readings are too coarse, not that none is noisy.
    """
    g = dt_s / s.gap_s
    if not (g <= WIDEST_RATIO and g * WIDEST_RATIO >= 1.0):
        s.gap_ratio = 0.0
        return
    q = s.gap_ratio
    odd_V2 = 0.0
    bend_V = moved_V - g * s.moved_V
    if g == 1.0 and q == 1.0:  # evenly read: all that follows in short
        bend_V *= 0.5
        odd_V = bend_V - s.bend_V
        odd_V2 = 0.2 * odd_V * odd_V
        s.bend_V = bend_V
    else:
        own = 1.0 / (1.0 + g)
        over = 1.0 / g
        if q > 0.0:
            last = own * over
            part = q / (1.0 + q)
            odd_V = bend_V * last - s.bend_V
            first = q * part
            second = q + own
            third = over + part
            weight = first * first + second * second + third * third + last * last
            odd_V2 = odd_V * odd_V / weight
        s.bend_V = bend_V * g * own
        s.gap_ratio = g
    if odd_V2 > _NOTHING_V2:
        noise_V2 = s.noise_V2
        count = s.noise_n + 1.0
        s.noise_n = count
        share = 1.0 / count
        if share < NOISE_SHARE:
            share = NOISE_SHARE
        if count > NOISE_FIRST:
            # A fast relaxation, a few wild readings do not become the noise.
            if moved_V * moved_V > STEEP * noise_V2:
                share *= STEEP_SHARE
            most_V2 = s.floor_u_V * s.floor_u_V
            if noise_V2 > most_V2:
                most_V2 = noise_V2
            most_V2 *= NOISE_MOST
            if odd_V2 > most_V2:
                odd_V2 = most_V2
            odd_V2 /= NOISE_PART
        s.noise_V2 = noise_V2 + share * (odd_V2 - noise_V2)


def level_share(s: Steps, b: float, a: float) -> float:
    """Return the variance of the line's level now over that of one reading. Kernel.

    `b` and `a` are the first and second moment of its times over the spread of its weights.
    """
    return a * a * s.line_q0 - 2.0 * a * b * s.line_q1 + b * b * s.line_q2


def begin_edge(s: Steps, dt_s: float, current_A: float, voltage_V: float, flags: int) -> None:
    """Fix what the voltage did before the edge; keep the first reading after it. Kernel."""
    s.status = 0
    s.following = 1
    s.edge_t_s = s.t_s
    s.before_A = s.current_A
    s.first_A = current_A
    s.first_V = voltage_V
    s.first_s = dt_s
    s.edge_u_s = dt_s * _LATER if dt_s > 0.0 and not flags & NEW_SET_POINT else s.delay_u_s
    s.fit_n = s.fit_x = s.fit_xx = s.fit_y = s.fit_xy = 0.0
    s.base_steady_s = s.steady_s
    s.base_noise_V2 = s.noise_V2
    s.base_off_V2 = 0.0
    s.base_bends = 0.0
    spread = s.line_s0 * s.line_s2 - s.line_s1 * s.line_s1
    against = s.moved_V * (current_A - s.current_A) < 0.0
    far_V2 = COLLAPSES * COLLAPSES * s.noise_V2
    collapsed = 1 if against and s.moved_V * s.moved_V > far_V2 else 0
    if abs(s.moved_V) > abs(voltage_V - s.voltage_V) and s.line_n > 1.0 and collapsed == 0:
        # The voltage was read after the current: the row before the edge has the new voltage.
        s.base_V = s.last_predicted_V
        s.base_slope = s.base_t1 = s.base_t2 = 0.0
        s.base_t0 = 1.0
        s.status |= NO_DRIFT
    elif s.line_n >= LINE_READINGS and spread > 0.0:
        s.base_V = s.origin_V + (s.line_s2 * s.line_y0 - s.line_s1 * s.line_y1) / spread
        s.base_slope = (s.line_s0 * s.line_y1 - s.line_s1 * s.line_y0) / spread
        # variance of level and slope over that of one reading, weights squared
        a = s.line_s2 / spread
        b = s.line_s1 / spread
        c = s.line_s0 / spread
        s.base_t0 = level_share(s, b, a)
        s.base_t1 = 2.0 * (s.line_q1 * (a * c + b * b) - b * (a * s.line_q0 + c * s.line_q2))
        s.base_t2 = b * b * s.line_q0 - 2.0 * b * c * s.line_q1 + c * c * s.line_q2
        s.base_off_V2 = max(s.near_V2 - s.apart_V2, 0.0) / max(s.near_n, 1.0)
        far = 1 if s.line_s1 + LINE_REACHES * LINE_SHARE * s.steady_s * s.line_s0 < 0.0 else 0
        # neighbours far apart differ in the bend itself: there the noise says what is much
        bent = far == 1 and s.near_V2 > BENDS * s.near_n * s.noise_V2
        if s.near_n >= NEAR_READINGS and (bent or s.near_V2 > WANDERS * s.apart_V2):
            leave_line(s, far)
        elif far == 0 and s.scatter_V2 > s.noise_V2:
            s.base_noise_V2 = s.scatter_V2
    else:
        s.base_V = s.voltage_V
        s.base_slope = s.base_t1 = s.base_t2 = 0.0
        s.base_t0 = 1.0
        s.status |= NO_DRIFT
    if s.ring_n > 0 and s.lag_edges < LAG_EDGES:
        s.status |= LAG_UNCHECKED


def leave_line(s: Steps, far: int) -> None:
    """Begin the edge at the last reading, where the voltage has left its line. Kernel.

    `far` is 1 where the line reaches too far back. Then, and where the voltage bends, the drift is
    not the line's either, but what came since a reading of some seconds before.
    """
    s.base_off_V2 = 0.0
    s.base_V = s.voltage_V
    s.base_t0 = 1.0
    s.base_t1 = 0.0
    over_s = s.steady_s - s.older_s
    bends = s.near_V2 > BENDS * s.apart_V2
    if (far == 1 or bends) and over_s <= OLDER_WITHIN * s.steady_s:
        s.base_slope = (s.voltage_V - s.older_V) / over_s
        s.base_t1 = 2.0 / over_s
        s.base_t2 = s.base_t1 / over_s
        s.base_bends = SECANT_BENDS * over_s / s.steady_s


def answer_Ohm(s: Steps, since_s: float, current_A: float, voltage_V: float) -> float:
    """Return what one reading says. Kernel."""
    step_A = current_A - s.before_A
    if step_A == 0.0:
        return 0.0
    return (voltage_V - s.base_V - s.base_slope * since_s) / step_A


def take(s: Steps, index: int, since_s: float, value_Ohm: float, rest_u_Ohm: float) -> None:
    """Write a value with its uncertainty; `rest_u_Ohm` is what its timing adds. Kernel."""
    step_A = s.first_A - s.before_A
    line_V2 = s.base_noise_V2 * (s.base_t0 + since_s * (s.base_t1 + since_s * s.base_t2))
    # a slope that is more than its noise may bend
    bend = max(s.base_slope * s.base_slope - 4.0 * s.base_noise_V2 * s.base_t2, 0.0)
    bend_s = 0.0
    if since_s > 0.0:
        bend_s = since_s * since_s / (since_s + BENDS_AFTER * s.base_steady_s)
        bend_s += since_s * s.base_bends
    bend *= bend_s * bend_s
    voltage_V2 = s.base_noise_V2 + line_V2 + s.floor_u_V * s.floor_u_V + bend + s.base_off_V2
    gain_Ohm = s.ratio_u * value_Ohm
    s.value_Ohm[index] = value_Ohm
    s.u_Ohm[index] = safe_sqrt(
        safe_divide(voltage_V2, step_A * step_A) + gain_Ohm * gain_Ohm + rest_u_Ohm * rest_u_Ohm
    )
    s.at_s[index] = since_s
    s.of_t_s = s.edge_t_s
    s.of_before_A = s.before_A
    s.of_after_A = s.first_A


def take_first(s: Steps, later_s: float, later_Ohm: float) -> int:
    """Take the first reading after the edge, where the voltage had answered. Kernel.

    For a time that it is a little late for, the answer is taken back along the logarithm of time by
    what the second reading (`later_s`, 0 without one) says it rose.
    """
    s.last_s = s.first_s
    s.last_Ohm = s.first_Ohm
    if not s.first_Ohm > 0.0:
        s.status |= LATE_VOLTAGE
    if s.status & LATE_VOLTAGE:
        return 0
    take(s, I_FIRST, s.first_s, s.first_Ohm, 0.0)
    per_log_Ohm = RISE_ASSUMED * s.first_Ohm
    known = later_s > s.first_s > 0.0
    if known:
        per_log_Ohm = (later_Ohm - s.first_Ohm) / safe_log(later_s / s.first_s)
    done = FIRST
    bit = FIRST
    for k in range(I_10MS, I_SUM):
        bit += bit
        wanted_s = HORIZONS_S[k]
        if wanted_s <= EARLY_FACTOR * s.first_s and s.first_s <= LATE_FACTOR * wanted_s:
            back_Ohm = per_log_Ohm * safe_log(s.first_s / wanted_s)
            value_Ohm = s.first_Ohm - back_Ohm if known else s.first_Ohm
            take(s, k, wanted_s, value_Ohm, abs(back_Ohm))
            done |= bit
    return done


def follow_edge(s: Steps, dt_s: float, current_A: float, voltage_V: float, flags: int) -> int:
    """Take what a later reading at the same current gives. Kernel."""
    step_A = s.first_A - s.before_A
    if flags & VOLTAGE_HELD or abs(current_A - s.first_A) > STEADY_WITHIN * abs(step_A):
        s.status |= CUT_SHORT
        return finish_edge(s)
    done = 0
    if s.following == 1:
        s.following = 2
        beyond = 1.0 if dt_s <= LATE_SOON * s.first_s else LATE_BEYOND
        if abs(voltage_V - s.first_V) > beyond * abs(s.first_V - s.base_V):
            s.status |= LATE_VOLTAGE
        s.first_Ohm = answer_Ohm(s, s.first_s, s.first_A, s.first_V)
        later_s = s.first_s + dt_s
        done = take_first(s, later_s, answer_Ohm(s, later_s, current_A, voltage_V))
        miss_early(s)
    since_s = s.last_s + dt_s
    now_Ohm = answer_Ohm(s, since_s, current_A, voltage_V)
    if s.last_s == s.first_s and now_Ohm - s.first_Ohm > SETTLED_WITHIN * s.first_Ohm:
        s.status |= STILL_RISING
    done |= take_between(s, since_s, now_Ohm)
    if DRIFT_FROM_S <= since_s <= DRIFT_UNTIL_S:
        s.fit_n += 1.0
        s.fit_x += since_s
        s.fit_xx += since_s * since_s
        s.fit_y += now_Ohm
        s.fit_xy += since_s * now_Ohm
    s.last_s = since_s
    s.last_Ohm = now_Ohm
    if since_s > DRIFT_UNTIL_S:
        done |= finish_edge(s)
    return done


def miss_early(s: Steps) -> None:
    """Say which times the first reading came too late for. Kernel."""
    bit = NO_10MS
    for k in range(I_10MS, I_SUM):
        if s.first_s > LATE_FACTOR * HORIZONS_S[k]:
            s.status |= bit
        bit += bit


def take_between(s: Steps, since_s: float, now_Ohm: float) -> int:
    """Take the values at the times between the reading before and this one. Kernel.

    Between the two the answer runs straight over the logarithm of time; straight over time is the
    other way, and how far the two are apart is the uncertainty. The voltage's lag counts as edge.
    """
    done = 0
    bit = FIRST
    for k in range(I_10MS, I_SUM):
        bit += bit
        wanted_s = HORIZONS_S[k]
        if EARLY_FACTOR * s.last_s < wanted_s <= EARLY_FACTOR * since_s:
            if since_s > WIDEST_FACTOR * s.last_s or (
                s.status & LATE_VOLTAGE and s.last_s == s.first_s
            ):
                if since_s <= LATE_FACTOR * wanted_s:
                    rise = (now_Ohm - s.last_Ohm) / (since_s - s.last_s)
                    if s.status & LATE_VOLTAGE and s.last_s == s.first_s:
                        rise = 0.0
                    take(s, k, since_s, now_Ohm, abs(rise) * (abs(since_s - wanted_s) + s.edge_u_s))
                    done |= bit
                else:
                    s.status |= NO_10MS << (k - I_10MS)
            else:
                rise_Ohm = now_Ohm - s.last_Ohm
                even = (wanted_s - s.last_s) / (since_s - s.last_s)
                share = safe_log(wanted_s / s.last_s) / safe_log(since_s / s.last_s)
                timing_Ohm = rise_Ohm / (since_s - s.last_s) * s.edge_u_s
                apart_Ohm = rise_Ohm * (share - even)
                take(
                    s,
                    k,
                    wanted_s,
                    s.last_Ohm + share * rise_Ohm,
                    abs(timing_Ohm) + abs(apart_Ohm),
                )
                done |= bit
    return done


def finish_edge(s: Steps) -> int:
    """End the running edge: its first reading if it had no second, its sum without drift. Kernel.

    The true drift is concave: at worst it already rose as fast before the fit as just within it.
    """
    done = 0
    if s.following == 1:
        s.first_Ohm = answer_Ohm(s, s.first_s, s.first_A, s.first_V)
        done = take_first(s, 0.0, 0.0)
        miss_early(s)
    step_A = s.first_A - s.before_A
    if (
        s.following == 2
        and s.fit_n >= DRIFT_READINGS
        and abs(s.before_A) <= STEADY_WITHIN * abs(step_A)
    ):
        spread = s.fit_n * s.fit_xx - s.fit_x * s.fit_x
        if spread > 0.0:
            slope = (s.fit_n * s.fit_xy - s.fit_x * s.fit_y) / spread
            sum_Ohm = (s.fit_y - slope * s.fit_x) / s.fit_n
            if sum_Ohm > 0.0:
                take(s, I_SUM, 0.0, sum_Ohm, abs(slope) * DRIFT_FROM_S)
                done |= SUM
    s.following = 0
    return done


def watch_lag(s: Steps, dt_s: float, current_A: float, voltage_V: float) -> None:
    """Compare what one reading answers with what the next twelve do. Kernel."""
    if not (dt_s <= DYNAMIC_DT_S and dt_s > 0.0):
        s.ring_n = 0
        return
    if s.ring_n == 0 or not abs(dt_s - s.ring_dt_s) <= 0.01 * s.ring_dt_s:
        s.ring_n = 1
        s.ring_dt_s = dt_s
        s.ring_at = 0
        s.ring_A[0] = s.current_A
        s.ring_V[0] = s.voltage_V
    at = s.ring_at + 1 if s.ring_at < RING - 1 else 0
    s.ring_at = at
    s.ring_A[at] = current_A
    s.ring_V[at] = voltage_V
    if s.ring_n < RING:
        s.ring_n += 1
    if s.ring_n < RING:
        return
    oldest = at + 1 if at < RING - 1 else 0
    after = oldest + 1 if oldest < RING - 1 else 0
    change_A = s.ring_A[after] - s.ring_A[oldest]
    s.energy_A2 += change_A * change_A
    s.one_AV += change_A * (s.ring_V[after] - s.ring_V[oldest])
    s.window_AV += change_A * (voltage_V - s.ring_V[oldest])
    far_A = current_A - s.ring_A[after]
    if abs(far_A) > s.min_step_A:
        s.far_A2 += far_A * far_A
        s.far_AV += far_A * (voltage_V - s.ring_V[after])
    if abs(change_A) >= s.min_step_A:
        s.lag_edges += 1.0
        lags = s.window_AV > 0.0 and s.one_AV < OUT_OF_STEP_BELOW * s.window_AV
        s.out_of_step = 1 if lags and s.lag_edges >= LAG_EDGES else 0


def take_window(s: Steps, t_s: float) -> int:
    """Take the sum over the window in place of single readings. Kernel."""
    if not (s.energy_A2 > 0.0 and s.far_A2 > 0.0):
        return 0
    sum_Ohm = s.window_AV / s.energy_A2
    other_Ohm = s.far_AV / s.far_A2
    s.value_Ohm[I_WINDOW] = sum_Ohm
    s.u_Ohm[I_WINDOW] = max(0.5 * abs(sum_Ohm - other_Ohm), s.ratio_u * sum_Ohm)
    s.at_s[I_WINDOW] = WINDOW_READINGS * s.ring_dt_s
    s.of_t_s = t_s
    s.status = OUT_OF_STEP
    return WINDOW


def status_words(status: int) -> list[str]:
    """Return in words what is missing or wide at an edge.

    Examples
    --------
    ``["10 ms and 100 ms cannot be had: no reading then"]``
    """
    times = ((NO_10MS, "10 ms"), (NO_100MS, "100 ms"), (NO_1S, "1 s"), (NO_10S, "10 s"))
    missing = [word for bit, word in times if status & bit]
    found = [f"{' and '.join(missing)} cannot be had: no reading then"] if missing else []
    return found + [word for bit, word in STATUS_WORDS.items() if status & bit]
