"""Soft shorts, reading by reading: what the kernel remembers, and what a cycle showed.

`observe` is a kernel: constant memory, any sampling from below a millisecond to two minutes. A
reading counts for the time it stood (until the next one), so that a spike of 0.2 ms weighs 0.2 ms
in a second's mean however densely it was logged. Means of 1, 2, 4 ... 128 s then give jumps
J = (b2 - b1) - ((b1 - b0) + (b3 - b2)) / 2 of four neighbouring means, which neither a straight nor
a parabolic course of the voltage moves; their sizes are kept as a histogram for each length. The
same jump, taken at every eighth of its length, finds a fall that is sudden and lasts.

What the figures mean is judged in `controller.estimation.shorts`, which shows the usage.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any, Final

from controller.domain.sample import NAN
from controller.domain.total_math import safe_divide
from controller.domain.units import SECONDS_PER_HOUR

BLOCK_S: Final = 1.0
LEVELS: Final = 8  # means of 1, 2, 4 ... 128 s
BINS: Final = 32  # of the size of a jump, half an octave each, from `LEAST_JUMP_V` on
LEAST_JUMP_V: Final = 1e-6
# Single jumps are told between means of 4 s and of 16 s.
SINGLES: Final = 2
QUICK_LEVEL: Final = 2
SLOW_LEVEL: Final = 4

# A longer interval was not observed. Assumed, 60 to 300 s.
GAP_S: Final = 120.0
MOST_BLOCKS: Final = 121
# The current stands still while it stays within this share of where it began. Assumed, 0.3-3 %.
STEADY_SHARE: Final = 0.01
# ... or this share of the largest current seen; below it the cell rests. Assumed, 0.05-1 %.
REST_SHARE: Final = 0.003
# Below this share of the largest current voltage over current is no polarisation: what is left on
# bare Cu while its cut-off is held makes megohms of it. Assumed, 0.05-0.3.
POLARISED_SHARE: Final = 0.1
FOILS_V: Final = 2.0  # between two foils, at most. Assumed, 1.5-2.5 V
# A reading that stands longer than this (s) hides what a telegraph does in between, and a logger
# that writes when the voltage moved makes a noise of its own: jumps count where so much of a cycle
# was read more densely. Assumed, 1-2 s and 0.8-0.99.
DENSE_S: Final = 1.5
# After a change of current the voltage relaxes; it is looked at from here on (s). Assumed, 30-300.
SETTLE_S: Final = 60.0
# A voltage within this of where it was (V) for so long (s) is held, if the current moves; assumed.
HELD_WITHIN_V: Final = 1.5e-3
HELD_FROM_S: Final = 20.0
# A current that changes by more than this share of the largest is no hold's. Assumed, 0.05-0.3.
COURSE_SHARE: Final = 0.1
# A leak that begins moves the voltage at once and for good. It is looked for over these lengths
# (s), in eight means each (`FALL_MEANS`); assumed, 4 to 600 s.
FALL_S: Final = (16.0, 64.0, 256.0)
FALLS: Final = 3
MODES: Final = 3  # each has its own falls; a rest after discharge has them in any cell
CHARGED, CHARGED_REST, DISCHARGED = range(MODES)
FALL_MEANS: Final = 8
FALL_PARTS: Final = (2, 4, 4)  # of the means of the length before, or blocks, in one of them
# Sums over the last means, jumps between them, and what the jump of a quarter of the length left of
# those: rings. The jumps so many means before and after are the course of the voltage.
FALL_SUMS: Final = 33
FALL_BESIDE: Final = 18
FALL_JUMPS: Final = 37
# Of the jumps beside so much is taken off; a jump of a quarter of the length is as high as that of
# the whole where the voltage steps, and a quarter or less of it where it bends. Assumed, 1.5 to 4
# and 1.3 to 2; what is wanting to it counts fourfold.
FALL_COURSE: Final = 2.0
FALL_SHARP: Final = 1.6
FALL_BENT: Final = 4.0
# ... and so much of what the course is steeper before than after: a peak in a charge is no
# leak's fall. Assumed, 0.25-1.
FALL_KINK: Final = 0.5
# Means of voltage over current in each half of a cycle, of equal lengths; when all are taken, each
# two become one. What the first ones of a half show is its beginning. Assumed.
HALVES: Final = 2
HALF_MEANS: Final = 64
HALF_MEAN_S: Final = 16.0
HALF_BEGINS: Final = 8  # one part in so many is left out
LEAST_HALF_MEANS: Final = 12
# The course of a half: parts in which the current is within this share of the usual and the
# temperature within this of it, so many at least; how much ln R falls with each K (activation of
# about 30 kJ/mol). Assumed.
COURSE_STEADY: Final = 0.03
COURSE_STEADY_K: Final = 0.1
LEAST_COURSE: Final = 6
COURSE_PER_K: Final = 0.04
# Window of a rest in which its decay is taken (s since the current ended). Assumed.
REST_FROM_S: Final = 150.0
REST_TO_S: Final = 600.0
REST_LEAST_S: Final = 300.0  # of it must be there
# Window after a change of current in which its resistance is taken (s). Assumed, 5-30 s.
STEP_FROM_S: Final = 5.0
STEP_TO_S: Final = 20.0
# ... and its slow resistance: diffusion, and the fall of the open-circuit voltage with it.
LATE_FROM_S: Final = 240.0
LATE_TO_S: Final = 300.0
# Window of the first resistance of a cycle (s since it began): beside a spectrum taken before it.
START_FROM_S: Final = 2.0
START_TO_S: Final = 62.0
# Of a cycle's jumps this quantile is taken; so many of a length must be there. Assumed.
QUARTILE: Final = 0.75
LEAST_JUMPS: Final = 25
# A jump stands out from this many standard deviations of its own noise on. Assumed, 4-7.
JUMP_SIGMAS: Final = 5.0
QUARTILE_SIGMAS: Final = 1.150  # the upper quartile of |x| of a normal distribution


# Upper edges of the bins of jumps (V); the last bin takes what is beyond.
EDGES_V: Final = tuple(LEAST_JUMP_V * math.sqrt(2.0) ** (k + 1) for k in range(BINS))


@dataclass(slots=True, eq=False)
class ShortWatch:
    """What the kernel remembers; a record of numbers, of fixed size.

    Attributes
    ----------
    jump_V : list of float
        From this size on a jump between means of 4 s and of 16 s is counted by itself; NaN:
        none is. `close_cycle` sets it from the cell's own noise.
    temperature_K : float
        Of the cell, set by whoever calls `observe` where it is measured.
    """

    before_A: float = NAN
    before_V: float = NAN
    bins: list[int] = field(default_factory=lambda: [0] * (LEVELS * BINS))
    block_As: float = 0.0
    block_Vs: float = 0.0
    block_s: float = 0.0
    charge_A: float = 0.0
    charge_s: float = 0.0
    charged_rest_s: float = 0.0
    cycle_s: float = 0.0
    decay_charged_V_per_h: float = NAN
    discharge_A: float = 0.0
    discharge_s: float = 0.0
    fall_V: list[float] = field(default_factory=lambda: [NAN] * (MODES * FALLS))
    fall_base_V: float = NAN
    fall_jump_V: list[float] = field(default_factory=lambda: [0.0] * (FALLS * FALL_JUMPS))
    fall_left_V: list[float] = field(default_factory=lambda: [0.0] * (FALLS * FALL_JUMPS))
    fall_n: list[int] = field(default_factory=lambda: [0] * FALLS)
    fall_part_V: list[float] = field(default_factory=lambda: [0.0] * FALLS)
    fall_part_n: list[int] = field(default_factory=lambda: [0] * FALLS)
    fall_sum_V: list[float] = field(default_factory=lambda: [0.0] * (2 * FALLS * FALL_SUMS))
    first_Ohm: float = NAN
    first_V: float = NAN
    half_A: list[float] = field(default_factory=lambda: [0.0] * (HALVES * HALF_MEANS))
    half_As: list[float] = field(default_factory=lambda: [0.0] * HALVES)
    half_K: list[float] = field(default_factory=lambda: [0.0] * (HALVES * HALF_MEANS))
    half_Ks: list[float] = field(default_factory=lambda: [0.0] * HALVES)
    half_Ohm: list[float] = field(default_factory=lambda: [0.0] * (HALVES * HALF_MEANS))
    half_Vs: list[float] = field(default_factory=lambda: [0.0] * HALVES)
    half_each_s: list[float] = field(default_factory=lambda: [HALF_MEAN_S] * HALVES)
    half_n: list[int] = field(default_factory=lambda: [0] * HALVES)
    half_part_s: list[float] = field(default_factory=lambda: [0.0] * HALVES)
    has_last: int = 0
    held_V: float = NAN
    held_s: float = 0.0
    idle_s: float = 0.0
    jump_V: list[float] = field(default_factory=lambda: [NAN] * SINGLES)
    jump_before_V: list[float] = field(default_factory=lambda: [NAN] * SINGLES)
    jump_middle_V: list[float] = field(default_factory=lambda: [NAN] * SINGLES)
    jumps: list[int] = field(default_factory=lambda: [0] * SINGLES)
    jumps_V: list[float] = field(default_factory=lambda: [0.0] * SINGLES)
    known_Ohm: float = NAN
    largest_A: float = 0.0
    last_A: float = NAN
    last_V: float = NAN
    last_jump_V: list[float] = field(default_factory=lambda: [0.0] * SINGLES)
    last_t_s: float = NAN
    late_Ohm: float = NAN
    lowest_V: float = NAN
    middle_V: list[float] = field(default_factory=lambda: [NAN] * LEVELS)
    net_Ah: float = 0.0
    newest_V: list[float] = field(default_factory=lambda: [NAN] * LEVELS)
    number: int = 0
    oldest_V: list[float] = field(default_factory=lambda: [NAN] * LEVELS)
    pending_V: list[float] = field(default_factory=lambda: [NAN] * LEVELS)
    polarised_As: float = 0.0
    polarised_Vs: float = 0.0
    pyramid_holds: int = 0
    reference_A: float = NAN
    rest_after_A: float = 0.0
    rest_before_s: float = 0.0
    rest_first_V: float = NAN
    rest_s: float = 0.0
    rest_sum_t: float = 0.0
    rest_sum_t2: float = 0.0
    rest_sum_tV: float = 0.0
    rest_sum_v: float = 0.0
    returns: list[int] = field(default_factory=lambda: [0] * SINGLES)
    since_s: float = 0.0
    smooth_Ohm: float = NAN
    sparse_s: float = 0.0
    start_As: float = 0.0
    start_Vs: float = 0.0
    steady_s: float = 0.0
    step_A: float = NAN
    step_Ohm: float = NAN
    step_V: float = NAN
    step_Vs: float = 0.0
    step_from_rest: int = 0
    step_s: float = 0.0
    temperature_K: float = NAN


def observe(s: ShortWatch, t_s: float, current_A: float, voltage_V: float) -> None:
    """Take one reading into account. Kernel.

    Parameters
    ----------
    s : ShortWatch
    t_s : float
        Time (s). A reading that is not later than the one before is left out; one that lies more
        than a second before it begins anew.
    current_A, voltage_V : float
        Of the cell, charge positive. NaN and infinities are left out: the last values hold.
    """
    if not (current_A - current_A == 0.0 and voltage_V - voltage_V == 0.0 and t_s - t_s == 0.0):
        return
    dt_s = t_s - s.last_t_s
    if s.has_last == 0 or dt_s < -1.0 or dt_s > GAP_S:
        interrupt(s)
        s.has_last = 1
        s.reference_A = current_A
    elif dt_s > 0.0:
        spend(s, dt_s)
        moved_A = current_A - s.reference_A
        if moved_A < 0.0:
            moved_A = -moved_A
        if (
            moved_A > REST_SHARE * s.largest_A
            and moved_A > STEADY_SHARE * math.fabs(s.reference_A)
            and moved_A > STEADY_SHARE * math.fabs(current_A)
        ):
            change_current(s, current_A)
    else:
        return
    s.last_t_s = t_s
    s.last_A = current_A
    s.last_V = voltage_V


def interrupt(s: ShortWatch) -> None:
    """Forget what was running: nothing is known of the time up to the next reading. Kernel."""
    s.has_last = 0
    s.block_s = 0.0
    s.block_As = 0.0
    s.block_Vs = 0.0
    s.since_s = 0.0
    s.before_V = NAN
    s.before_A = NAN
    s.step_A = NAN
    s.rest_s = 0.0
    forget_means(s)
    forget_course(s)


def forget_means(s: ShortWatch) -> None:
    """Begin the means anew: those before belong to another current. Kernel."""
    if s.pyramid_holds == 0:
        return
    for k in range(LEVELS):
        s.oldest_V[k] = NAN
        s.middle_V[k] = NAN
        s.newest_V[k] = NAN
        s.pending_V[k] = NAN
    for i in range(SINGLES):
        s.jump_before_V[i] = NAN
        s.jump_middle_V[i] = NAN
    s.pyramid_holds = 0


def spend(s: ShortWatch, dt_s: float) -> None:
    """Let the last reading stand for a time, cut into blocks of a second. Kernel.

    One that stands too long for jumps is one block of its own length.
    """
    if dt_s > DENSE_S:
        s.sparse_s += dt_s
        forget_means(s)
        forget_hold(s)
        forget_course(s)
        s.block_s += dt_s
        s.block_As += s.last_A * dt_s
        s.block_Vs += s.last_V * dt_s
        s.since_s += dt_s
        s.cycle_s += dt_s
        close_block(s)
        return
    left_s = dt_s
    last_A = s.last_A
    last_V = s.last_V
    block_s = s.block_s
    for _ in range(MOST_BLOCKS):
        part_s = BLOCK_S - block_s
        if part_s > left_s:
            part_s = left_s
        block_s += part_s
        s.block_As += last_A * part_s
        s.block_Vs += last_V * part_s
        s.since_s += part_s
        s.cycle_s += part_s
        left_s -= part_s
        if block_s >= BLOCK_S - 1e-6:
            s.block_s = block_s
            close_block(s)
            block_s = 0.0
            mean_V = s.before_V
            observe_hold(s, mean_V)
            if s.since_s >= SETTLE_S:
                observe_mean(s, mean_V)
                observe_course(s, s.before_A, mean_V)
            elif s.held_s >= HELD_FROM_S:
                observe_course(s, s.before_A, mean_V)
            else:
                forget_course(s)
        if not left_s > 1e-9:
            break
    s.block_s = block_s


def close_block(s: ShortWatch) -> None:
    """Use the mean of the running block, which weighs by its length. Kernel."""
    length_s = s.block_s
    since_s = s.since_s
    current_A = s.block_As / length_s
    mean_V = s.block_Vs / length_s
    s.block_s = 0.0
    s.block_As = 0.0
    s.block_Vs = 0.0
    s.before_A = current_A
    s.before_V = mean_V
    if not s.lowest_V <= mean_V:
        s.lowest_V = mean_V
    size_A = current_A if current_A > 0.0 else -current_A
    if size_A > s.largest_A:
        s.largest_A = size_A
    if s.cycle_s <= START_TO_S and s.cycle_s >= START_FROM_S:
        s.start_As += size_A * length_s
        s.start_Vs += math.fabs(mean_V) * length_s
    if since_s <= LATE_TO_S:
        follow_step(s, mean_V, length_s)
    if since_s >= SETTLE_S:
        s.steady_s += length_s
    if size_A <= REST_SHARE * s.largest_A:
        rest_block(s, mean_V, length_s)
        return
    # Not in a block over an edge: there voltage and current may be of two pulses. Nor of a full
    # cell, whose voltage is no polarisation.
    if since_s >= SETTLE_S and mean_V < FOILS_V and mean_V > -FOILS_V:
        observe_foils(s, current_A, mean_V, length_s)
    if current_A > 0.0:
        if current_A > s.charge_A:
            s.charge_A = current_A
        s.charge_s += length_s
        s.rest_before_s += s.idle_s
        s.idle_s = 0.0
    else:
        if size_A > s.discharge_A:
            s.discharge_A = size_A
        s.discharge_s += length_s


def follow_step(s: ShortWatch, mean_V: float, length_s: float) -> None:
    """Note what a block after a change of current says of its resistance. Kernel."""
    if s.step_A == s.step_A and STEP_FROM_S <= s.since_s <= STEP_TO_S:
        s.step_Vs += mean_V * length_s
        s.step_s += length_s
    if s.since_s <= 1.5 * BLOCK_S:
        s.first_V = mean_V
    fresh = s.first_Ohm != s.first_Ohm and s.step_from_rest == 1 and s.step_A < 0.0
    if fresh and LATE_FROM_S <= s.since_s < LATE_TO_S:
        s.late_Ohm = safe_divide(mean_V - s.step_V, s.step_A)


def rest_block(s: ShortWatch, mean_V: float, length_s: float) -> None:
    """Use the mean of a block without current. Kernel."""
    if REST_FROM_S <= s.since_s <= REST_TO_S:
        observe_rest(s, mean_V, length_s)
    if s.rest_after_A > 0.0:
        s.charged_rest_s += length_s
    else:
        s.idle_s += length_s


def observe_rest(s: ShortWatch, mean_V: float, length_s: float) -> None:
    """Add a block to the line through a rest's voltage. Kernel."""
    if s.rest_s == 0.0:
        s.rest_first_V = mean_V
        s.rest_sum_t = 0.0
        s.rest_sum_t2 = 0.0
        s.rest_sum_tV = 0.0
        s.rest_sum_v = 0.0
    t_h = (s.since_s - REST_FROM_S) / SECONDS_PER_HOUR
    v = mean_V - s.rest_first_V
    s.rest_s += length_s
    s.rest_sum_t += t_h * length_s
    s.rest_sum_t2 += t_h * t_h * length_s
    s.rest_sum_tV += t_h * v * length_s
    s.rest_sum_v += v * length_s


def observe_foils(s: ShortWatch, current_A: float, mean_V: float, length_s: float) -> None:
    """Take in a block of a cell whose voltage is polarisation alone. Kernel."""
    observe_half(s, current_A, mean_V, length_s)
    if math.fabs(current_A) >= POLARISED_SHARE * s.largest_A:
        observe_polarisation(s, current_A, mean_V, length_s)


def observe_polarisation(s: ShortWatch, current_A: float, mean_V: float, length_s: float) -> None:
    """Add a block to voltage over current, no further from the last ones than by a half. Kernel.

    A spike of many seconds weighs as much as half its base; this is of use where the voltage is
    polarisation alone, in cells of two foils.
    """
    now_Ohm = math.fabs(mean_V / current_A)
    if s.smooth_Ohm != s.smooth_Ohm:
        s.smooth_Ohm = now_Ohm
    now_Ohm = min(max(now_Ohm, 0.5 * s.smooth_Ohm), 1.5 * s.smooth_Ohm)
    s.smooth_Ohm += (now_Ohm - s.smooth_Ohm) * min(length_s / 30.0, 1.0)
    s.polarised_As += math.fabs(current_A) * length_s
    s.polarised_Vs += now_Ohm * math.fabs(current_A) * length_s


def observe_half(s: ShortWatch, current_A: float, mean_V: float, length_s: float) -> None:
    """Add a block to the means of voltage over current of its half of the cycle. Kernel."""
    half = 0 if current_A > 0.0 else 1
    s.half_As[half] += math.fabs(current_A) * length_s
    s.half_Vs[half] += math.fabs(mean_V) * length_s
    s.half_Ks[half] += s.temperature_K * length_s
    s.half_part_s[half] += length_s
    if s.half_part_s[half] < s.half_each_s[half]:
        return
    at = half * HALF_MEANS
    n = s.half_n[half]
    s.half_A[at + n] = safe_divide(s.half_As[half], s.half_part_s[half])
    s.half_K[at + n] = safe_divide(s.half_Ks[half], s.half_part_s[half])
    s.half_Ohm[at + n] = safe_divide(s.half_Vs[half], s.half_As[half])
    s.half_As[half] = 0.0
    s.half_Ks[half] = 0.0
    s.half_Vs[half] = 0.0
    s.half_part_s[half] = 0.0
    n += 1
    if n == HALF_MEANS:
        n = HALF_MEANS // 2
        for i in range(n):
            s.half_A[at + i] = 0.5 * (s.half_A[at + 2 * i] + s.half_A[at + 2 * i + 1])
            s.half_Ohm[at + i] = 0.5 * (s.half_Ohm[at + 2 * i] + s.half_Ohm[at + 2 * i + 1])
            s.half_K[at + i] = 0.5 * (s.half_K[at + 2 * i] + s.half_K[at + 2 * i + 1])
        s.half_each_s[half] *= 2.0
    s.half_n[half] = n


def observe_hold(s: ShortWatch, mean_V: float) -> None:
    """Count for how long the voltage has been held: then a leak shows in the current. Kernel."""
    off_V = mean_V - s.held_V
    if not (off_V <= HELD_WITHIN_V and -off_V <= HELD_WITHIN_V):
        s.held_V = mean_V
        s.held_s = 0.0
    s.held_s += BLOCK_S


def forget_hold(s: ShortWatch) -> None:
    """Count the time of a held voltage anew. Kernel."""
    s.held_V = NAN
    s.held_s = 0.0


def observe_mean(s: ShortWatch, mean_V: float) -> None:
    """Take the mean of a second up into longer ones, and their jumps into the counts. Kernel."""
    s.pyramid_holds = 1
    oldest_V = s.oldest_V
    middle_V = s.middle_V
    newest_V = s.newest_V
    pending_V = s.pending_V
    mean = mean_V
    for k in range(LEVELS):
        oldest = oldest_V[k]
        middle = middle_V[k]
        newest = newest_V[k]
        if oldest == oldest:
            jump_V = newest - middle - 0.5 * (middle - oldest + mean - newest)
            count_jump(s, k, jump_V)
            if k == QUICK_LEVEL:
                single_jump(s, 0, jump_V)
            elif k == SLOW_LEVEL:
                single_jump(s, 1, jump_V)
        oldest_V[k] = middle
        middle_V[k] = newest
        newest_V[k] = mean
        pending = pending_V[k]
        if pending != pending:
            pending_V[k] = mean
            return
        pending_V[k] = NAN
        mean = 0.5 * (pending + mean)


def observe_course(s: ShortWatch, current_A: float, mean_V: float) -> None:
    """Take the mean of a second up into those between which a lasting fall is looked for. Kernel.

    At a held voltage it is the current that answers, as the voltage that it would be across the
    resistance of the last step.
    """
    known_Ohm = s.known_Ohm
    course_V = mean_V
    if known_Ohm == known_Ohm:
        course_V -= known_Ohm * current_A
    if s.fall_base_V != s.fall_base_V:
        s.fall_base_V = course_V
    above_V = course_V - s.fall_base_V
    sums_V = s.fall_part_V
    counts = s.fall_part_n
    for i in range(FALLS):
        n = counts[i] + 1
        sum_V = sums_V[i] + above_V
        if n < FALL_PARTS[i]:
            counts[i] = n
            sums_V[i] = sum_V
            return
        counts[i] = 0
        sums_V[i] = 0.0
        # Means of a length are those of which the next one's are made.
        above_V = sum_V / n
        observe_fall(s, i, current_A, above_V, mean_V)


def observe_fall(s: ShortWatch, i: int, current_A: float, above_V: float, mean_V: float) -> None:
    """Look for a fall of the voltage's magnitude that is sudden and lasts. Kernel.

    The jump between eight means and the next eight, blind to a straight and a parabolic course,
    less what the jumps before and after it say of the course, less what a jump of a quarter of its
    length falls short of it.
    """
    n = s.fall_n[i] + 1
    s.fall_n[i] = n
    sums_V = s.fall_sum_V
    # Each sum stands in its ring twice, so that those before it lie below it without a break.
    at = 2 * FALL_SUMS * i + FALL_SUMS + n % FALL_SUMS
    if n == 1:
        sums_V[at - 1] = 0.0
        sums_V[at - 1 - FALL_SUMS] = 0.0
    sum_V = sums_V[at - 1] + above_V
    sums_V[at] = sum_V
    sums_V[at - FALL_SUMS] = sum_V
    if n < 4 * FALL_MEANS:
        return
    first_V = sums_V[at - 32]
    before_V = sums_V[at - 24]
    middle_V = sums_V[at - 16]
    after_V = sums_V[at - 8]
    fell_V = middle_V - before_V
    goes_V = after_V - middle_V
    rise_V = fell_V - (before_V - first_V)
    goes_on_V = sum_V - after_V - goes_V
    jump_V = (1.5 * (goes_V - fell_V) + 0.5 * (before_V - first_V - (sum_V - after_V))) / 8.0
    # How much steeper the course is before than after: a peak falls, and goes on another way.
    kink_V = rise_V - goes_on_V
    quick_V = 0.5 * jump_between(
        sums_V[at - 20], sums_V[at - 18], middle_V, sums_V[at - 14], sums_V[at - 12]
    )
    if mean_V > 0.0:
        jump_V = -jump_V
        quick_V = -quick_V
    left_V = jump_V - FALL_KINK * math.fabs(kink_V) / 8.0
    if jump_V > FALL_SHARP * quick_V:
        left_V -= FALL_BENT * (jump_V - FALL_SHARP * quick_V)
    ring = i * FALL_JUMPS
    jumps_V = s.fall_jump_V
    lefts_V = s.fall_left_V
    jumps_V[ring + n % FALL_JUMPS] = jump_V
    lefts_V[ring + n % FALL_JUMPS] = left_V
    if n < 4 * FALL_MEANS + 2 * FALL_BESIDE:
        return
    beside_V = math.fabs(jumps_V[ring + (n - 2 * FALL_BESIDE) % FALL_JUMPS])
    if math.fabs(jump_V) > beside_V:
        beside_V = math.fabs(jump_V)
    fall_V = lefts_V[ring + (n - FALL_BESIDE) % FALL_JUMPS] - FALL_COURSE * beside_V
    mode = FALLS * CHARGED_REST if s.rest_after_A > 0.0 else -1
    if current_A > REST_SHARE * s.largest_A:
        mode = FALLS * CHARGED
    elif current_A < -REST_SHARE * s.largest_A:
        mode = FALLS * DISCHARGED
    if mode >= 0 and not fall_V <= s.fall_V[mode + i]:
        s.fall_V[mode + i] = fall_V


def jump_between(a: float, b: float, c: float, d: float, e: float) -> float:
    """Return the jump at `c` of sums at five times apart alike. Kernel."""
    return 1.5 * ((d - c) - (c - b)) + 0.5 * ((b - a) - (e - d))


def forget_course(s: ShortWatch) -> None:
    """Begin the means of the voltage's course anew. Kernel."""
    if s.fall_base_V != s.fall_base_V:
        return
    s.fall_base_V = NAN
    for i in range(FALLS):
        s.fall_n[i] = 0
        s.fall_part_V[i] = 0.0
        s.fall_part_n[i] = 0


def count_jump(s: ShortWatch, level: int, jump_V: float) -> None:
    """Add a jump to the histogram of its level. Kernel."""
    size_V = jump_V if jump_V > 0.0 else -jump_V
    # By halves: 32 bins, written out because this runs twice a second.
    low = 16 if size_V > EDGES_V[15] else 0
    if size_V > EDGES_V[low + 7]:
        low += 8
    if size_V > EDGES_V[low + 3]:
        low += 4
    if size_V > EDGES_V[low + 1]:
        low += 2
    if size_V > EDGES_V[low]:
        low += 1
    s.bins[level * BINS + low] += 1


def single_jump(s: ShortWatch, i: int, jump_V: float) -> None:
    """Count a jump that stands out and is larger than its neighbours, and whether it is a return.

    A jump casts half of itself, with the other sign, on both neighbours: those are not counted. A
    return has the sign opposite to the jump before it and its size within a factor of two: the
    voltage has two levels. Kernel.
    """
    middle_V = s.jump_middle_V[i]
    size_V = math.fabs(middle_V)
    if (
        size_V >= s.jump_V[i]
        and size_V > math.fabs(s.jump_before_V[i])
        and size_V >= math.fabs(jump_V)
    ):
        ratio = safe_divide(-middle_V, s.last_jump_V[i])
        if 0.5 <= ratio <= 2.0:
            s.returns[i] += 1
        s.jumps[i] += 1
        s.jumps_V[i] += size_V
        s.last_jump_V[i] = middle_V
    s.jump_before_V[i] = middle_V
    s.jump_middle_V[i] = jump_V


def change_current(s: ShortWatch, current_A: float) -> None:
    """Close what belongs to the current so far and begin with another. Kernel."""
    rest_A = REST_SHARE * s.largest_A
    was_resting = math.fabs(s.reference_A) <= rest_A
    if was_resting:
        close_rest(s)
    else:
        s.rest_after_A = s.reference_A
    close_step(s)
    s.step_A = current_A - s.before_A
    s.step_V = s.before_V
    s.step_Vs = 0.0
    s.step_s = 0.0
    s.step_from_rest = 1 if was_resting else 0
    s.before_V = NAN
    s.before_A = NAN
    s.block_s = 0.0
    s.block_As = 0.0
    s.block_Vs = 0.0
    s.rest_s = 0.0
    s.since_s = 0.0
    if math.fabs(current_A - s.reference_A) > COURSE_SHARE * s.largest_A:
        forget_course(s)
        forget_hold(s)
    s.reference_A = current_A
    forget_means(s)


def close_rest(s: ShortWatch) -> None:
    """Note how fast the voltage fell in the rest that ends. Kernel."""
    if s.rest_s < REST_LEAST_S:
        return
    n = s.rest_s
    slope = safe_divide(
        n * s.rest_sum_tV - s.rest_sum_t * s.rest_sum_v,
        n * s.rest_sum_t2 - s.rest_sum_t * s.rest_sum_t,
    )
    if s.rest_after_A > 0.0:
        s.decay_charged_V_per_h = -slope


def close_step(s: ShortWatch) -> None:
    """Note the resistance of the step from rest into discharge, when its window has passed. Kernel.

    Another step has another resistance, and would look like a change of the cell.
    """
    if s.step_from_rest == 1 and s.step_A < 0.0 and s.step_s >= 5.0:
        s.step_Ohm = safe_divide(s.step_Vs / s.step_s - s.step_V, s.step_A)
        s.known_Ohm = math.fabs(s.step_Ohm)
        if s.first_Ohm != s.first_Ohm:  # later ones begin at another state of charge
            s.first_Ohm = safe_divide(s.first_V - s.step_V, s.step_A)


# -- per cycle ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Voltage over current in a half cycle, part by part, at its usual current and temperature.

    Attributes
    ----------
    current_A : float
        Magnitude.
    from_Ah, each_Ah : float
        Charge that the half had passed before the first part; charge of a part.
    each_s : float
        Time of a part.
    moved_K : float
        Between its coldest and its warmest part; NaN where it is not measured.
    ln_Ohm : tuple of float
        Natural logarithm of the resistance of each part over that of the first, at its temperature.
    """

    current_A: float
    from_Ah: float
    each_Ah: float
    each_s: float
    moved_K: float
    ln_Ohm: tuple[float, ...]

    def places_Ah(self) -> list[float]:
        """Return the charge at the middle of each part."""
        return [self.from_Ah + (k + 0.5) * self.each_Ah for k in range(len(self.ln_Ohm))]


NO_COURSE: Final = Course(
    current_A=0.0, from_Ah=0.0, each_Ah=0.0, each_s=0.0, moved_K=NAN, ln_Ohm=()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortFigures:
    """What one cycle showed; NaN where it showed nothing.

    Attributes
    ----------
    number : int
        Of the cycle, counted from the watch's first.
    charge_Ah, discharge_Ah : float
        Magnitudes.
    net_before_Ah : float
        Charge less discharge of all cycles before.
    charge_A, discharge_A : float
        Largest means of a second; 0 where the cycle has no charge or no discharge.
    hours, rest_h : float
        Time of the cycle, and of it at rest.
    charge_h, charged_rest_h, discharge_h : float
        Time of its charge, of rests after charge, of its discharge.
    rest_before_h : float
        Of rests in the discharged state before its charge, whichever cycle they are of.
    steady_h : float
        Time in which the current stood still and the voltage was looked at.
    dense_share : float
        Of the time, read often enough to see jumps.
    temperature_K : float
        Mean; NaN where it is not measured.
    size_V : tuple of float
        Upper quartile of the jumps between means of 1, 2, 4 ... 128 s.
    jumps, returns : tuple of int
        Single jumps that stood out, between means of 4 s and of 16 s; how many of them undid the
        one before.
    jump_V : tuple of float
        Their mean size.
    fall_V : tuple of float
        Largest sudden fall of the voltage's magnitude that lasted, over 16, 64 and 256 s: in the
        charge, in rests after it, in the discharge.
    lowest_V : float
        Of the means of a second.
    decay_charged_V_per_h : float
        How fast the voltage fell at rest after charge.
    first_Ohm, late_Ohm : float
        Of the cycle's first step from rest into discharge: in its first second, after 5 min.
    step_Ohm : float
        Of the last such step, after 5 to 20 s.
    polarised_Ohm : float
        Voltage over current, weighted by time and shielded from spikes: a resistance where the
        voltage is polarisation alone.
    start_Ohm : float
        The same in the first minute of the cycle.
    half_A, half_Ohm : tuple of float
        Current and voltage over current in the charge and in the discharge: medians of their parts,
        so that neither a beginning, an end nor a strip of another current counts.
    half_K : tuple of float
        Median temperature of each half; NaN where it is not measured.
    half_moved_K : tuple of float
        Between its quartiles.
    courses : tuple of Course
        Of the charge and of the discharge; empty where neither has one.
    to_cut_off : bool
        The charge came to the upper cut-off, or is not known to have ended before.
    """

    number: int
    charge_Ah: float
    discharge_Ah: float
    net_before_Ah: float
    charge_A: float
    discharge_A: float
    hours: float
    rest_h: float
    charge_h: float
    charged_rest_h: float
    rest_before_h: float
    discharge_h: float
    steady_h: float
    dense_share: float
    temperature_K: float
    size_V: tuple[float, ...]
    jumps: tuple[int, ...]
    returns: tuple[int, ...]
    jump_V: tuple[float, ...]
    fall_V: tuple[float, ...]
    lowest_V: float
    decay_charged_V_per_h: float
    first_Ohm: float
    step_Ohm: float
    late_Ohm: float
    polarised_Ohm: float
    start_Ohm: float
    half_A: tuple[float, ...]
    half_Ohm: tuple[float, ...]
    half_K: tuple[float, ...]
    half_moved_K: tuple[float, ...]
    courses: tuple[Course, ...]
    to_cut_off: bool = True


def figures_from(data: Mapping[str, Any]) -> ShortFigures:
    """Return the figures that `dataclasses.asdict` gave, also after JSON."""
    values: dict[str, Any] = {
        name: tuple(one) if isinstance(one, list) else one for name, one in data.items()
    }
    values["courses"] = tuple(
        Course(**{**one, "ln_Ohm": tuple(one["ln_Ohm"])}) for one in data["courses"]
    )
    return ShortFigures(**values)


def close_cycle(
    s: ShortWatch,
    *,
    charge_Ah: float,
    discharge_Ah: float,
    temperature_K: float = NAN,
    to_cut_off: bool = True,
) -> ShortFigures:
    """Return the cycle's figures and begin the next; single jumps are then told by this noise."""
    sizes = tuple(_quantile_V(s.bins[k * BINS : (k + 1) * BINS], QUARTILE) for k in range(LEVELS))
    warmth = [_quartiles(_of_half(s, s.half_K, half)) for half in range(HALVES)]
    figures = ShortFigures(
        number=s.number,
        charge_Ah=charge_Ah,
        discharge_Ah=discharge_Ah,
        net_before_Ah=s.net_Ah,
        charge_A=s.charge_A,
        discharge_A=s.discharge_A,
        hours=s.cycle_s / SECONDS_PER_HOUR,
        rest_h=(s.cycle_s - s.charge_s - s.discharge_s) / SECONDS_PER_HOUR,
        charge_h=s.charge_s / SECONDS_PER_HOUR,
        charged_rest_h=s.charged_rest_s / SECONDS_PER_HOUR,
        rest_before_h=s.rest_before_s / SECONDS_PER_HOUR,
        discharge_h=s.discharge_s / SECONDS_PER_HOUR,
        steady_h=s.steady_s / SECONDS_PER_HOUR,
        dense_share=1.0 - s.sparse_s / s.cycle_s if s.cycle_s > 0.0 else 0.0,
        temperature_K=temperature_K,
        size_V=sizes,
        jumps=tuple(int(n) for n in s.jumps),
        returns=tuple(int(n) for n in s.returns),
        jump_V=tuple(t / n if n else NAN for t, n in zip(s.jumps_V, s.jumps, strict=True)),
        fall_V=tuple(s.fall_V),
        lowest_V=s.lowest_V,
        decay_charged_V_per_h=s.decay_charged_V_per_h,
        first_Ohm=s.first_Ohm,
        step_Ohm=s.step_Ohm,
        late_Ohm=s.late_Ohm,
        polarised_Ohm=s.polarised_Vs / s.polarised_As if s.polarised_As > 0.0 else NAN,
        start_Ohm=s.start_Vs / s.start_As if s.start_As > 0.0 else NAN,
        half_A=tuple(_quartiles(_of_half(s, s.half_A, half))[1] for half in range(HALVES)),
        half_Ohm=tuple(_quartiles(_of_half(s, s.half_Ohm, half))[1] for half in range(HALVES)),
        half_K=tuple(warm[1] for warm in warmth),
        half_moved_K=tuple(warm[2] - warm[0] for warm in warmth),
        courses=_courses(s),
        to_cut_off=to_cut_off,
    )
    for i, level in enumerate((QUICK_LEVEL, SLOW_LEVEL)):
        if math.isfinite(sizes[level]):
            # a noisy cycle raises it by a third at most: the noise of a short does not hide itself
            own_V = JUMP_SIGMAS * sizes[level] / QUARTILE_SIGMAS
            before_V = own_V if math.isnan(s.jump_V[i]) else s.jump_V[i]
            s.jump_V[i] = min(max(own_V, 0.75 * before_V), before_V / 0.75)
        s.jumps[i] = s.returns[i] = 0
        s.jumps_V[i] = s.last_jump_V[i] = 0.0
    for k in range(LEVELS * BINS):
        s.bins[k] = 0
    for i in range(MODES * FALLS):
        s.fall_V[i] = NAN
    for half in range(HALVES):
        s.half_As[half] = s.half_Vs[half] = s.half_Ks[half] = 0.0
        s.half_part_s[half] = 0.0
        s.half_n[half] = 0
        s.half_each_s[half] = HALF_MEAN_S
    s.charge_A = s.discharge_A = 0.0
    s.charge_s = s.charged_rest_s = s.rest_before_s = s.discharge_s = 0.0
    s.number += 1
    if math.isfinite(charge_Ah - discharge_Ah):
        s.net_Ah += charge_Ah - discharge_Ah
    s.steady_s = s.cycle_s = s.sparse_s = 0.0
    s.polarised_As = s.polarised_Vs = s.start_As = s.start_Vs = 0.0
    s.decay_charged_V_per_h = s.step_Ohm = s.lowest_V = NAN
    s.first_Ohm = s.late_Ohm = NAN
    return figures


def _courses(s: ShortWatch) -> tuple[Course, ...]:
    courses = tuple(_course(s, half) for half in range(HALVES))
    return courses if any(one.ln_Ohm for one in courses) else ()


def _course(s: ShortWatch, half: int) -> Course:
    """Return the longest part of a half at its usual current and temperature."""
    at, n = half * HALF_MEANS, s.half_n[half]
    sizes_A = [float(one) for one in s.half_A[at : at + n]]
    if n < LEAST_COURSE:
        return NO_COURSE
    usual_A = median(sizes_A)
    warmth_K = [float(one) for one in s.half_K[at : at + n]]
    usual_K = median(warmth_K)
    first, last = _longest(
        [
            abs(one_A / usual_A - 1.0) < COURSE_STEADY
            and not abs(one_K - usual_K) > COURSE_STEADY_K
            for one_A, one_K in zip(sizes_A, warmth_K, strict=True)
        ]
    )
    parts_Ohm = [float(one) for one in s.half_Ohm[at + first : at + last]]
    if len(parts_Ohm) < LEAST_COURSE or not min(parts_Ohm) > 0.0:
        return NO_COURSE
    each_s = float(s.half_each_s[half])
    parts_K = warmth_K[first:last]
    measured = all(one == one for one in parts_K)
    warmer_K = [one - parts_K[0] if measured else 0.0 for one in parts_K]
    return Course(
        current_A=usual_A,
        from_Ah=sum(sizes_A[:first]) * each_s / SECONDS_PER_HOUR,
        each_Ah=usual_A * each_s / SECONDS_PER_HOUR,
        each_s=each_s,
        moved_K=max(warmer_K) - min(warmer_K) if measured else NAN,
        ln_Ohm=tuple(
            round(math.log(one_Ohm / parts_Ohm[0]) + COURSE_PER_K * one_K, 5)
            for one_Ohm, one_K in zip(parts_Ohm, warmer_K, strict=True)
        ),
    )


def _longest(holds: Sequence[bool]) -> tuple[int, int]:
    """Return where the longest run of what holds begins and ends."""
    best, begun = (0, 0), 0
    for k, one in enumerate([*holds, False]):
        if not one:
            best = max(best, (begun, k), key=lambda run: run[1] - run[0])
            begun = k + 1
    return best


def _of_half(s: ShortWatch, means: Sequence[float], half: int) -> Sequence[float]:
    """Return the means of a half cycle, its first ones left out."""
    n = s.half_n[half]
    return means[half * HALF_MEANS + n // HALF_BEGINS : half * HALF_MEANS + n]


def _quartiles(values: Sequence[float]) -> list[float]:
    """Return the quartiles, NaN of too few."""
    return quantiles(values) if len(values) >= LEAST_HALF_MEANS else [NAN] * 3


def _quantile_V(counts: Sequence[int], share: float) -> float:
    """Return a quantile of a histogram of jumps, even in the logarithm within a bin."""
    total = sum(counts)
    if total < LEAST_JUMPS:
        return NAN
    wanted = share * total
    below = 0
    for edge_V, count in zip(EDGES_V, counts, strict=True):
        if count and below + count >= wanted:
            return float(edge_V) * math.pow(2.0, 0.5 * ((wanted - below) / count - 1.0))
        below += count
    return float(EDGES_V[-1])
