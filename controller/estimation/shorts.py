"""Soft shorts: telegraph noise, leakage and falling resistance, reading by reading.

A soft short is a filament that conducts now and then. It shows in three ways, none of which is
enough alone: the voltage jumps between two levels while the current stands still (telegraph noise);
charge goes through the cell without moving lithium the way it should (leakage: the charge that a
full cell takes exceeds what it gave before, it falls faster at rest); the resistance falls against
the cell's own history while the trace turns rectangular.

`observe` is a kernel: constant memory, any sampling from below a millisecond to two minutes. A
reading counts for the time it stood (until the next one), so that a spike of 0.2 ms weighs 0.2 ms
in a second's mean however densely it was logged. Means of 1, 2, 4 ... 128 s then give jumps
J = (b2 - b1) - ((b1 - b0) + (b3 - b2)) / 2 of four neighbouring means, which neither a straight nor
a parabolic course of the voltage moves; their sizes are kept as a histogram for each length.

Usage, once per reading and once per cycle::

    watch = ShortWatch()
    history: list[ShortFigures] = []
    ...
    observe(watch, t_s, current_A, voltage_V)                    # plain floats, any rate
    ...
    figures = close_cycle(watch, charge_Ah=..., discharge_Ah=...)  # at the end of a cycle
    evidence = judge(history, figures, cell_format, nominal_capacity_Ah, last_new)
    learn(history, figures, evidence)
    last_new = evidence.new

After a resume call `interrupt(watch)`: what happened in between is not known.

What cannot be known: a leak that was there from the first cycle on is the cell's own way; one that
is steady and small looks like a shuttle, and in Li||Li like a better contact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from controller.domain.cell import CellFormat
from controller.domain.sample import NAN
from controller.domain.total_math import safe_divide

BLOCK_S: Final = 1.0
LEVELS: Final = 8  # means of 1, 2, 4 ... 128 s
BINS: Final = 32  # of the size of a jump, half an octave each, from `LEAST_JUMP_V` on
BISECTIONS: Final = 5
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
# A reading that stands longer than this (s) hides what a telegraph does in between, and a logger
# that writes when the voltage moved makes a noise of its own: jumps count where so much of a cycle
# was read more densely. Assumed, 1-2 s and 0.8-0.99.
DENSE_S: Final = 1.5
LEAST_DENSE_SHARE: Final = 0.9
# After a change of current the voltage relaxes; it is looked at from here on (s). Assumed, 30-300.
SETTLE_S: Final = 60.0
# A voltage within this of where it was (V) for so long (s) is held, if the current moves; assumed.
HELD_WITHIN_V: Final = 1.5e-3
HELD_FROM_S: Final = 20.0
# A current that changes by more than this share of the largest is no hold's. Assumed, 0.05-0.3.
COURSE_SHARE: Final = 0.1
# The cut-off of a strip of Li||Cu (V), unless the cell's own ended above.
STRIP_END_V: Final = -1.0
# Below this (V) the lithium on Cu has gone: a strip goes on to its cut-off unless the current has
# another way. Assumed, 0.05-0.3 V.
STRIPPED_V: Final = -0.1
# A leak that begins moves the voltage at once and for good. It is looked for over these lengths (s),
# in eight means each (`FALL_MEANS`); assumed, 4 to 600 s.
FALL_S: Final = (16.0, 64.0, 256.0)
FALLS: Final = 3
MODES: Final = 3  # each has its own falls; a rest after discharge has them in any cell
CHARGED, CHARGED_REST, DISCHARGED = range(MODES)
FALL_MEANS: Final = 8
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
# Cycles to compare with, and how many are remembered. Assumed, 3 to 5 and 8 to 20.
LEAST_CYCLES: Final = 3
MOST_CYCLES: Final = 12
LAST_CYCLES: Final = 5  # of them, for a resistance
# Currents within this (logarithm) are the same rate; rests within it and this time the same rest.
SAME_RATE: Final = 0.15
SAME_REST_H: Final = 0.1
# Cycles of about the same charge (logarithm). Assumed, 0.1-0.3.
SAME_CHARGE: Final = 0.2
# Resistances are compared at the same temperature (K): 1 K is worth about 7 %. Assumed, 1-3 K.
SAME_TEMPERATURE_K: Final = 1.5
# Lengths of means (powers of 2 s) whose jumps tell of noise, and by how much (logarithm) they may
# grow in a sound cell: the short ones with the instrument, the long ones with the course of the
# voltage, the more so where the rate is not the same. Assumed: about twice what 6,000 cycles of
# drawn cells scatter by.
NOISE_SCALES: Final = (0.035, 0.028, 0.028, 0.035, 0.05, 0.07, 0.12)
LONGEST_LEVEL: Final = 6
LONGEST_LEVEL_UNLIKE: Final = 4
SIGMA_PER_MAD: Final = 1.4826
# A quiet cell's scatter of the decay at rest is not taken for less (V/h). Assumed, 0.5-2 mV/h.
DECAY_FLOOR_V_PER_H: Final = 1e-3
# Falls faster by more than this (V/h) are rather the end of a charge that has become steep; they
# count as so many times the scatter at most. Assumed, 30-100 mV/h and 2-4.
DECAY_MOST_V_PER_H: Final = 0.05
DECAY_STEEP: Final = 2.8
DECAY_SHARE: Final = 0.04  # of the usual decay. Assumed, 2-10 %
# A jump stands out from this many standard deviations of its own noise on. Assumed, 4-7.
JUMP_SIGMAS: Final = 5.0
# A sudden fall counts from so many standard deviations on, and from so many times the largest
# before. Assumed, 4-6 and 1.2-2.
FALL_SIGMAS: Final = 5.5
FALL_RATIO: Final = 1.4
FALL_FULL_SIGMAS: Final = 6.0
FALL_UNLIKE: Final = 2.5
FALL_TWICE: Final = 2.5
FALL_WARMER: Final = 6.0
FALL_FREE_K: Final = 0.3
NEAR_RATE: Final = 1.0
QUARTILE_SIGMAS: Final = 1.150  # the upper quartile of |x| of a normal distribution
TWO_FOILS: Final = (CellFormat.LI_CU, CellFormat.LI_LI)


# Upper edges of the bins of jumps (V); the last bin takes what is beyond.
EDGES_V: Final = tuple(LEAST_JUMP_V * math.sqrt(2.0) ** (k + 1) for k in range(BINS))


class ShortWatch:
    """What the kernel remembers; a record of numbers, of fixed size.

    Attributes
    ----------
    jump_V : list of float
        From this size on a jump between means of 4 s and of 16 s is counted by itself; NaN:
        none is. `close_cycle` sets it from the cell's own noise.
    """

    __slots__ = (
        "active_s",
        "before_A",
        "before_V",
        "bins",
        "block_As",
        "block_Vs",
        "block_s",
        "charge_A",
        "cycle_s",
        "decay_charged_V_per_h",
        "discharge_A",
        "fall_V",
        "fall_base_V",
        "fall_jump_V",
        "fall_left_V",
        "fall_n",
        "fall_part_V",
        "fall_part_n",
        "fall_sum_V",
        "first_Ohm",
        "first_V",
        "has_last",
        "held_V",
        "held_s",
        "jump_V",
        "jump_before_V",
        "jump_middle_V",
        "jumps",
        "jumps_V",
        "known_Ohm",
        "largest_A",
        "last_A",
        "last_V",
        "last_jump_V",
        "last_t_s",
        "late_Ohm",
        "lowest_V",
        "middle_V",
        "newest_V",
        "number",
        "oldest_V",
        "pending_V",
        "polarised_As",
        "polarised_Vs",
        "pyramid_holds",
        "reference_A",
        "rest_after_A",
        "rest_first_V",
        "rest_s",
        "rest_sum_t",
        "rest_sum_t2",
        "rest_sum_tV",
        "rest_sum_v",
        "returns",
        "since_s",
        "smooth_Ohm",
        "sparse_s",
        "start_As",
        "start_Vs",
        "steady_s",
        "step_A",
        "step_Ohm",
        "step_V",
        "step_Vs",
        "step_from_rest",
        "step_s",
    )
    active_s: float
    before_A: float
    before_V: float
    bins: list[int]
    block_As: float
    block_Vs: float
    block_s: float
    charge_A: float
    cycle_s: float
    decay_charged_V_per_h: float
    discharge_A: float
    fall_V: list[float]
    fall_base_V: float
    fall_jump_V: list[float]
    fall_left_V: list[float]
    fall_n: list[int]
    fall_part_V: list[float]
    fall_part_n: list[int]
    fall_sum_V: list[float]
    first_Ohm: float
    first_V: float
    has_last: int
    held_V: float
    held_s: float
    jump_V: list[float]
    jump_before_V: list[float]
    jump_middle_V: list[float]
    jumps: list[int]
    jumps_V: list[float]
    known_Ohm: float
    largest_A: float
    last_A: float
    last_V: float
    last_jump_V: list[float]
    last_t_s: float
    late_Ohm: float
    lowest_V: float
    middle_V: list[float]
    newest_V: list[float]
    number: int
    oldest_V: list[float]
    pending_V: list[float]
    polarised_As: float
    polarised_Vs: float
    pyramid_holds: int
    reference_A: float
    rest_after_A: float
    rest_first_V: float
    rest_s: float
    rest_sum_t: float
    rest_sum_t2: float
    rest_sum_tV: float
    rest_sum_v: float
    returns: list[int]
    since_s: float
    smooth_Ohm: float
    sparse_s: float
    start_As: float
    start_Vs: float
    steady_s: float
    step_A: float
    step_Ohm: float
    step_V: float
    step_Vs: float
    step_from_rest: int
    step_s: float

    def __init__(self) -> None:  # noqa: PLR0915  one line a field
        self.active_s = 0.0
        self.before_A = NAN
        self.before_V = NAN
        self.bins = [0] * (LEVELS * BINS)
        self.block_As = 0.0
        self.block_Vs = 0.0
        self.block_s = 0.0
        self.charge_A = 0.0
        self.cycle_s = 0.0
        self.decay_charged_V_per_h = NAN
        self.discharge_A = 0.0
        self.fall_V = [NAN] * (MODES * FALLS)
        self.fall_base_V = NAN
        self.fall_jump_V = [0.0] * (FALLS * FALL_JUMPS)
        self.fall_left_V = [0.0] * (FALLS * FALL_JUMPS)
        self.fall_n = [0] * FALLS
        self.fall_part_V = [0.0] * FALLS
        self.fall_part_n = [0] * FALLS
        self.fall_sum_V = [0.0] * (FALLS * FALL_SUMS)
        self.first_Ohm = NAN
        self.first_V = NAN
        self.has_last = 0
        self.held_V = NAN
        self.held_s = 0.0
        self.jump_V = [NAN] * SINGLES
        self.jump_before_V = [NAN] * SINGLES
        self.jump_middle_V = [NAN] * SINGLES
        self.jumps = [0] * SINGLES
        self.jumps_V = [0.0] * SINGLES
        self.known_Ohm = NAN
        self.largest_A = 0.0
        self.last_A = NAN
        self.last_V = NAN
        self.last_jump_V = [0.0] * SINGLES
        self.last_t_s = NAN
        self.late_Ohm = NAN
        self.lowest_V = NAN
        self.middle_V = [NAN] * LEVELS
        self.newest_V = [NAN] * LEVELS
        self.number = 0
        self.oldest_V = [NAN] * LEVELS
        self.pending_V = [NAN] * LEVELS
        self.polarised_As = 0.0
        self.polarised_Vs = 0.0
        self.pyramid_holds = 0
        self.reference_A = NAN
        self.rest_after_A = 0.0
        self.rest_first_V = NAN
        self.rest_s = 0.0
        self.rest_sum_t = 0.0
        self.rest_sum_t2 = 0.0
        self.rest_sum_tV = 0.0
        self.rest_sum_v = 0.0
        self.returns = [0] * SINGLES
        self.since_s = 0.0
        self.smooth_Ohm = NAN
        self.sparse_s = 0.0
        self.start_As = 0.0
        self.start_Vs = 0.0
        self.steady_s = 0.0
        self.step_A = NAN
        self.step_Ohm = NAN
        self.step_V = NAN
        self.step_Vs = 0.0
        self.step_from_rest = 0
        self.step_s = 0.0


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
        share_A = STEADY_SHARE * max(math.fabs(s.reference_A), math.fabs(current_A))
        resting_A = REST_SHARE * s.largest_A
        if math.fabs(current_A - s.reference_A) > max(share_A, resting_A):
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
        stand(s, dt_s)
        close_block(s)
        return
    left_s = dt_s
    for _ in range(MOST_BLOCKS):
        part_s = min(left_s, BLOCK_S - s.block_s)
        stand(s, part_s)
        left_s -= part_s
        if s.block_s >= BLOCK_S - 1e-6:
            close_block(s)
            if s.since_s >= SETTLE_S:
                observe_mean(s, s.before_V)
            observe_hold(s, s.before_V)
            if s.since_s >= SETTLE_S or s.held_s >= HELD_FROM_S:
                observe_course(s, s.before_A, s.before_V)
            else:
                forget_course(s)
        if not left_s > 1e-9:
            return


def stand(s: ShortWatch, part_s: float) -> None:
    """Add the last reading to the running block. Kernel."""
    s.block_s += part_s
    s.block_As += s.last_A * part_s
    s.block_Vs += s.last_V * part_s
    s.since_s += part_s
    s.cycle_s += part_s


def close_block(s: ShortWatch) -> None:
    """Use the mean of the running block, which weighs by its length. Kernel."""
    length_s = s.block_s
    current_A = s.block_As / length_s
    mean_V = s.block_Vs / length_s
    s.block_s = 0.0
    s.block_As = 0.0
    s.block_Vs = 0.0
    s.before_A = current_A
    s.before_V = mean_V
    if not s.lowest_V <= mean_V:
        s.lowest_V = mean_V
    s.largest_A = max(s.largest_A, math.fabs(current_A))
    if START_FROM_S <= s.cycle_s <= START_TO_S:
        s.start_As += math.fabs(current_A) * length_s
        s.start_Vs += math.fabs(mean_V) * length_s
    if s.step_A == s.step_A and STEP_FROM_S <= s.since_s <= STEP_TO_S:
        s.step_Vs += mean_V * length_s
        s.step_s += length_s
    if s.since_s <= 1.5 * BLOCK_S:
        s.first_V = mean_V
    if s.step_from_rest == 1 and s.step_A < 0.0 and LATE_FROM_S <= s.since_s < LATE_TO_S:
        s.late_Ohm = safe_divide(mean_V - s.step_V, s.step_A)
    if s.since_s >= SETTLE_S:
        s.steady_s += length_s
    if math.fabs(current_A) <= REST_SHARE * s.largest_A:
        if REST_FROM_S <= s.since_s <= REST_TO_S:
            observe_rest(s, mean_V, length_s)
        return
    if math.fabs(current_A) >= POLARISED_SHARE * s.largest_A:
        observe_polarisation(s, current_A, mean_V, length_s)
    s.charge_A = max(s.charge_A, current_A)
    s.discharge_A = max(s.discharge_A, -current_A)
    s.active_s += length_s


def observe_rest(s: ShortWatch, mean_V: float, length_s: float) -> None:
    """Add a block to the line through a rest's voltage. Kernel."""
    if s.rest_s == 0.0:
        s.rest_first_V = mean_V
        s.rest_sum_t = 0.0
        s.rest_sum_t2 = 0.0
        s.rest_sum_tV = 0.0
        s.rest_sum_v = 0.0
    t_h = (s.since_s - REST_FROM_S) / 3600.0
    v = mean_V - s.rest_first_V
    s.rest_s += length_s
    s.rest_sum_t += t_h * length_s
    s.rest_sum_t2 += t_h * t_h * length_s
    s.rest_sum_tV += t_h * v * length_s
    s.rest_sum_v += v * length_s


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


def observe_hold(s: ShortWatch, mean_V: float) -> None:
    """Count for how long the voltage has been held: then a leak shows in the current. Kernel."""
    if not math.fabs(mean_V - s.held_V) <= HELD_WITHIN_V:
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
    mean = mean_V
    for k in range(LEVELS):
        oldest_V = s.oldest_V[k]
        middle_V = s.middle_V[k]
        newest_V = s.newest_V[k]
        if oldest_V == oldest_V:
            jump_V = newest_V - middle_V - 0.5 * (middle_V - oldest_V + mean - newest_V)
            count_jump(s, k, jump_V)
            if k == QUICK_LEVEL:
                single_jump(s, 0, jump_V)
            elif k == SLOW_LEVEL:
                single_jump(s, 1, jump_V)
        s.oldest_V[k] = middle_V
        s.middle_V[k] = newest_V
        s.newest_V[k] = mean
        pending_V = s.pending_V[k]
        if pending_V != pending_V:
            s.pending_V[k] = mean
            return
        s.pending_V[k] = NAN
        mean = 0.5 * (pending_V + mean)


def observe_course(s: ShortWatch, current_A: float, mean_V: float) -> None:
    """Take the mean of a second up into those between which a lasting fall is looked for. Kernel.

    At a held voltage it is the current that answers, as the voltage that it would be across the
    resistance of the last step.
    """
    course_V = mean_V
    if s.known_Ohm == s.known_Ohm:
        course_V -= s.known_Ohm * current_A
    if s.fall_base_V != s.fall_base_V:
        s.fall_base_V = course_V
    above_V = course_V - s.fall_base_V
    at = FALLS * CHARGED_REST if s.rest_after_A > 0.0 else -1
    if current_A > REST_SHARE * s.largest_A:
        at = FALLS * CHARGED
    elif current_A < -REST_SHARE * s.largest_A:
        at = FALLS * DISCHARGED
    for i in range(FALLS):
        s.fall_part_V[i] += above_V
        s.fall_part_n[i] += 1
        if s.fall_part_n[i] * FALL_MEANS * BLOCK_S >= FALL_S[i]:
            observe_fall(s, i, at, s.fall_part_V[i] / s.fall_part_n[i], mean_V)
            s.fall_part_V[i] = 0.0
            s.fall_part_n[i] = 0


def observe_fall(s: ShortWatch, i: int, mode: int, above_V: float, mean_V: float) -> None:
    """Look for a fall of the voltage's magnitude that is sudden and lasts. Kernel.

    The jump between eight means and the next eight, blind to a straight and a parabolic course, less
    what the jumps before and after it say of the course, less what a jump of a quarter of its length
    falls short of it.
    """
    n = s.fall_n[i] + 1
    s.fall_n[i] = n
    at = i * FALL_SUMS
    last_V = s.fall_sum_V[at + (n - 1) % FALL_SUMS] if n > 1 else 0.0
    sum_V = last_V + above_V
    s.fall_sum_V[at + n % FALL_SUMS] = sum_V
    if n == 1:
        s.fall_sum_V[at] = 0.0
    if n < 4 * FALL_MEANS:
        return
    middle_V = s.fall_sum_V[at + (n - 16) % FALL_SUMS]
    jump_V = jump_between(
        s.fall_sum_V[at + (n - 32) % FALL_SUMS],
        s.fall_sum_V[at + (n - 24) % FALL_SUMS],
        middle_V,
        s.fall_sum_V[at + (n - 8) % FALL_SUMS],
        sum_V,
    )
    quick_V = jump_between(
        s.fall_sum_V[at + (n - 20) % FALL_SUMS],
        s.fall_sum_V[at + (n - 18) % FALL_SUMS],
        middle_V,
        s.fall_sum_V[at + (n - 14) % FALL_SUMS],
        s.fall_sum_V[at + (n - 12) % FALL_SUMS],
    )
    jump_V /= 8.0
    quick_V /= 2.0
    if mean_V > 0.0:
        jump_V = -jump_V
        quick_V = -quick_V
    left_V = jump_V - FALL_BENT * max(jump_V - FALL_SHARP * quick_V, 0.0)
    at = i * FALL_JUMPS
    s.fall_jump_V[at + n % FALL_JUMPS] = jump_V
    s.fall_left_V[at + n % FALL_JUMPS] = left_V
    if n < 4 * FALL_MEANS + 2 * FALL_BESIDE:
        return
    beside_V = max(
        math.fabs(s.fall_jump_V[at + (n - 2 * FALL_BESIDE) % FALL_JUMPS]), math.fabs(jump_V)
    )
    fall_V = s.fall_left_V[at + (n - FALL_BESIDE) % FALL_JUMPS] - FALL_COURSE * beside_V
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
    size_V = math.fabs(jump_V)
    low = 0
    high = BINS - 1
    for _ in range(BISECTIONS):
        middle = (low + high) // 2
        if size_V > EDGES_V[middle]:
            low = min(middle + 1, high)
        else:
            high = middle
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
        s.first_Ohm = safe_divide(s.first_V - s.step_V, s.step_A)


# -- per cycle ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortFigures:
    """What one cycle showed; NaN where it showed nothing.

    Attributes
    ----------
    number : int
        Of the cycle, counted from the watch's first.
    charge_Ah, discharge_Ah : float
        Magnitudes.
    charge_A, discharge_A : float
        Largest means of a second; 0 where the cycle has no charge or no discharge.
    hours, rest_h : float
        Time of the cycle, and of it at rest.
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
    first_Ohm, step_Ohm, late_Ohm : float
        Of the step from rest into discharge: in the first second, after 5 to 20 s, after 5 min.
    polarised_Ohm : float
        Voltage over current, weighted by time and shielded from spikes: a resistance where the
        voltage is polarisation alone.
    start_Ohm : float
        The same in the first minute of the cycle.
    """

    number: int
    charge_Ah: float
    discharge_Ah: float
    charge_A: float
    discharge_A: float
    hours: float
    rest_h: float
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


def figures_from(data: Mapping[str, Any]) -> ShortFigures:
    """Return the figures that `dataclasses.asdict` gave, also after JSON."""
    values: dict[str, Any] = {
        name: tuple(one) if isinstance(one, list) else one for name, one in data.items()
    }
    return ShortFigures(**values)


def close_cycle(
    s: ShortWatch, *, charge_Ah: float, discharge_Ah: float, temperature_K: float = NAN
) -> ShortFigures:
    """Return the cycle's figures and begin the next; single jumps are then told by this noise."""
    sizes = tuple(_quantile_V(s.bins[k * BINS : (k + 1) * BINS], QUARTILE) for k in range(LEVELS))
    figures = ShortFigures(
        number=s.number,
        charge_Ah=charge_Ah,
        discharge_Ah=discharge_Ah,
        charge_A=s.charge_A,
        discharge_A=s.discharge_A,
        hours=s.cycle_s / 3600.0,
        rest_h=(s.cycle_s - s.active_s) / 3600.0,
        steady_h=s.steady_s / 3600.0,
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
    s.charge_A = s.discharge_A = s.active_s = 0.0
    s.number += 1
    s.steady_s = s.cycle_s = s.sparse_s = 0.0
    s.polarised_As = s.polarised_Vs = s.start_As = s.start_Vs = 0.0
    s.decay_charged_V_per_h = s.step_Ohm = s.lowest_V = NAN
    s.first_Ohm = s.late_Ohm = NAN
    return figures


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What a cycle shows beside the cell's own history; NaN where there is nothing to compare.

    Attributes
    ----------
    noise : float
        How much larger the jumps between means of 1 to 64 s have become, at the lengths where they
        grew most: logarithm, in units of what a sound cell's may grow.
    quick_returns, slow_returns : float
        How many more jumps were undone by the next than in any cycle before, between means of 4 s
        and of 16 s.
    slippage : float
        Charge taken beyond what was given before, more than usual, as a share of nominal capacity.
    depth : float
        By what share the lowest voltage fell short of any before, at the end of a strip (Li||Cu).
    imbalance : float
        Change of strip over plate, where the reservoir is on one side only (Li||Cu).
    decay_charged : float
        How much faster than usual the voltage falls at rest after charge, in units of its usual
        scatter.
    fall : float
        How far the largest sudden and lasting fall of the voltage stands beyond those of the cycles
        before, in units of what the readings' noise makes of it.
    resistance : float
        Logarithm of the usual resistance over this cycle's: positive when it fell.
    compared : int
        Cycles that it was compared with.
    """

    noise: float
    quick_returns: float
    slow_returns: float
    slippage: float
    depth: float
    imbalance: float
    decay_charged: float
    fall: float
    resistance: float
    compared: int


def signs(
    history: Sequence[ShortFigures],
    figures: ShortFigures,
    cell_format: CellFormat,
    nominal_capacity_Ah: float,
) -> Signs:
    """Compare a cycle with those before it that were run alike."""
    alike = [one for one in history if _alike(one, figures)]
    two_foils = cell_format in TWO_FOILS
    noise = quick_returns = slow_returns = slippage = imbalance = depth = NAN
    enough = len(alike) >= LEAST_CYCLES
    as_large = [one for one in alike if _dense(one) and _as_large(one, figures)]
    compared = [one for one in (alike if enough else history) if _dense(one)]
    if len(compared) >= LEAST_CYCLES and _dense(figures):
        if len(as_large) >= LEAST_CYCLES:
            noise = _noise(as_large, figures, LONGEST_LEVEL)
        else:
            noise = _noise(compared, figures, LONGEST_LEVEL_UNLIKE)
        quick_returns, slow_returns = (
            float(figures.returns[i] - max(one.returns[i] for one in compared))
            for i in range(SINGLES)
        )
    settled = len(history) > 1 and _undisturbed(history[-2], history[-1])
    if settled and not two_foils:
        slippage = _slippage(history, figures) / nominal_capacity_Ah
    if cell_format is CellFormat.LI_CU:
        imbalance = _imbalance(history, figures)
        depth = _depth(history, figures)
    return Signs(
        noise=noise,
        quick_returns=quick_returns,
        slow_returns=slow_returns,
        slippage=slippage,
        depth=depth,
        imbalance=imbalance,
        decay_charged=_above(
            [one.decay_charged_V_per_h for one in alike], figures.decay_charged_V_per_h
        ),
        fall=_sudden_fall(history, figures, two_foils=two_foils),
        resistance=_fallen(alike, figures) if two_foils else NAN,
        compared=len(alike),
    )


def _as_large(one: ShortFigures, other: ShortFigures) -> bool:
    """Return whether two cycles passed about the same charge and rested for the same share.

    A worn cell's voltage is steeper, a resting one's flatter.
    """
    return (
        one.hours > 0.0
        and other.hours > 0.0
        and abs(one.rest_h / one.hours - other.rest_h / other.hours) < SAME_RATE
        and one.charge_Ah > 0.0
        and other.charge_Ah > 0.0
        and abs(math.log(one.charge_Ah / other.charge_Ah)) < SAME_CHARGE
    )


def _dense(figures: ShortFigures) -> bool:
    return figures.dense_share >= LEAST_DENSE_SHARE


def _alike(one: ShortFigures, other: ShortFigures) -> bool:
    """Return whether two cycles ran at the same currents; a current that neither has is alike."""
    for a, b in ((one.charge_A, other.charge_A), (one.discharge_A, other.discharge_A)):
        if a == 0.0 == b:
            continue
        if not _same_rate(a, b, SAME_RATE):
            return False
    return True


def _noise(history: Sequence[ShortFigures], figures: ShortFigures, longest: int) -> float:
    grown = []
    for k in range(longest + 1):
        before = [one.size_V[k] for one in history if math.isfinite(one.size_V[k])]
        if len(before) >= LEAST_CYCLES and math.isfinite(figures.size_V[k]):
            grown.append(math.log(figures.size_V[k] / median(before)) / NOISE_SCALES[k])
    return max((sum(grown[k : k + 3]) / 3.0 for k in range(len(grown) - 2)), default=NAN)


def _slippage(history: Sequence[ShortFigures], figures: ShortFigures) -> float:
    """Return charge beyond the discharge before it, less what is usual (Ah)."""
    usual = [
        b.charge_Ah - a.discharge_Ah
        for a, b in pairwise(history)
        if _alike(a, figures) and _alike(b, figures) and _undisturbed(a, b)
    ]
    before = history[-1]
    if len(usual) < LEAST_CYCLES or not _undisturbed(before, figures):
        return NAN
    return figures.charge_Ah - before.discharge_Ah - median(usual)


def _imbalance(history: Sequence[ShortFigures], figures: ShortFigures) -> float:
    """Return how far discharge over charge lies from what is usual after an undisturbed cycle."""
    usual = [
        b.discharge_Ah / b.charge_Ah
        for a, b in pairwise(history)
        if _alike(b, figures) and _undisturbed(a, b) and b.charge_Ah > 0.0
    ]
    if (
        len(usual) < LEAST_CYCLES
        or not figures.charge_Ah > 0.0
        or not _undisturbed(history[-2], history[-1])
        or not _undisturbed(history[-1], figures)
    ):
        return NAN
    return figures.discharge_Ah / figures.charge_Ah - median(usual)


def _depth(history: Sequence[ShortFigures], figures: ShortFigures) -> float:
    """Return by what share a strip that had taken the lithium fell short of its cut-off.

    Less by what those before differ among themselves: where the last reading lies is chance.
    """
    if len(history) < LEAST_CYCLES or not figures.lowest_V < STRIPPED_V:
        return NAN
    ends_V = [max(one.lowest_V, STRIP_END_V) for one in history]
    return 1.0 - safe_divide(figures.lowest_V + min(ends_V) - max(ends_V), max(ends_V))


def _undisturbed(before: ShortFigures, after: ShortFigures) -> bool:
    """Return whether a cycle follows at once, with the same currents, rests and temperature."""
    return (
        after.number == before.number + 1
        and _alike(before, after)
        and abs(before.rest_h - after.rest_h) < SAME_REST_H + SAME_RATE * before.rest_h
        and not abs(before.temperature_K - after.temperature_K) > SAME_TEMPERATURE_K
    )


def _above(before: Sequence[float], now: float) -> float:
    """Return how far a decay lies above all before it, in units of their scatter."""
    known = [one for one in before if math.isfinite(one)]
    if len(known) < LEAST_CYCLES or not math.isfinite(now):
        return NAN
    usual = median(known)
    scatter = SIGMA_PER_MAD * median(abs(one - usual) for one in known)
    beyond = now - max(known)
    sigmas = beyond / (scatter + DECAY_FLOOR_V_PER_H + DECAY_SHARE * abs(usual))
    return min(sigmas, DECAY_STEEP) if beyond > DECAY_MOST_V_PER_H else sigmas


class _Beside(NamedTuple):
    """What a fall is held against: the readings' noise, and how the temperature moved.

    Attributes
    ----------
    sigma_V : float
        Of a jump between means of a second.
    bent : float
        How much more a fall must be, in standard deviations, where it is taken over a minute or
        more: a change of temperature bends the voltage.
    """

    sigma_V: float
    bent: float

    def beyond(
        self, alike: Sequence[ShortFigures], figures: ShortFigures, at: int, start: float
    ) -> float:
        """Return how far a fall stands beyond those of other cycles, in standard deviations."""
        now_V = figures.fall_V[at]
        if len(alike) < LEAST_CYCLES or not math.isfinite(now_V):
            return -math.inf
        per_V = math.sqrt(FALL_S[at % FALLS]) / self.sigma_V
        before_V = max((one.fall_V[at] for one in alike if one.fall_V[at] > 0.0), default=0.0)
        least = start if at % FALLS == 0 else start + self.bent
        return per_V * now_V - max(least, FALL_RATIO * per_V * before_V)


def _sudden_fall(
    history: Sequence[ShortFigures], figures: ShortFigures, *, two_foils: bool
) -> float:
    """Return how far a sudden fall stands beyond those before, in standard deviations of noise."""
    dense = [one for one in history if _dense(one) and math.isfinite(one.size_V[0])]
    if len(dense) < LEAST_CYCLES or not _dense(figures):
        return NAN
    warmer_K = abs(figures.temperature_K - dense[-1].temperature_K)
    beside = _Beside(
        sigma_V=median(one.size_V[0] for one in dense) / QUARTILE_SIGMAS,
        bent=FALL_WARMER * (warmer_K - FALL_FREE_K) if warmer_K > FALL_FREE_K else 0.0,
    )
    if two_foils:
        return max(_fall_of_foils(dense, figures, beside, mode) for mode in (CHARGED, DISCHARGED))
    return max(
        _fall_in_charge(dense, figures, beside),
        _fall_in_discharge(dense, figures, beside),
    )


def _fall_of_foils(
    history: Sequence[ShortFigures], figures: ShortFigures, beside: _Beside, mode: int
) -> float:
    """Return how far a fall stands out between two foils: at rest they have no voltage to fall."""
    alike = _at_rate(history, figures, mode, SAME_RATE)
    start = FALL_SIGMAS
    if len(alike) < LEAST_CYCLES:
        alike = list(history)
        start += FALL_UNLIKE
    return max(beside.beyond(alike, figures, FALLS * mode + k, start) for k in range(FALLS))


def _fall_in_charge(
    history: Sequence[ShortFigures], figures: ShortFigures, beside: _Beside
) -> float:
    """Return how far a fall stands out in a full cell's charge and in the rest after it.

    At a rate far from the usual a charge has falls of its own.
    """
    near = _at_rate(history, figures, CHARGED, SAME_RATE)
    start = FALL_FULL_SIGMAS
    charged_from = start
    if len(near) < LEAST_CYCLES:
        near = _at_rate(history, figures, CHARGED, NEAR_RATE)
        charged_from += FALL_UNLIKE
    at_rest = FALLS * CHARGED_REST
    return max(
        *(beside.beyond(near, figures, FALLS * CHARGED + k, charged_from) for k in range(FALLS)),
        *(beside.beyond(history, figures, at_rest + k, start) for k in range(FALLS)),
    )


def _fall_in_discharge(
    history: Sequence[ShortFigures], figures: ShortFigures, beside: _Beside
) -> float:
    """Return how far a fall stands out in a full cell's discharge.

    Its own lie near the end, where no long means fit: a long fall and a short one must tell.
    """
    alike = _at_rate(history, figures, DISCHARGED, SAME_RATE)
    start = FALL_FULL_SIGMAS
    at = FALLS * DISCHARGED
    out = -math.inf
    for k in range(1, FALLS):
        quick_V = figures.fall_V[at + k - 1]
        if math.isfinite(quick_V):
            quick = FALL_TWICE * quick_V * math.sqrt(FALL_S[k - 1]) / beside.sigma_V
            out = max(out, min(beside.beyond(alike, figures, at + k, start), quick - start))
    return out


def _at_rate(
    history: Sequence[ShortFigures], figures: ShortFigures, mode: int, within: float
) -> list[ShortFigures]:
    """Return the cycles whose current was the same, within a logarithm."""
    if mode == CHARGED:
        return [one for one in history if _same_rate(one.charge_A, figures.charge_A, within)]
    return [one for one in history if _same_rate(one.discharge_A, figures.discharge_A, within)]


def _same_rate(a: float, b: float, within: float) -> bool:
    """Return whether two currents are the same within a logarithm."""
    return a > 0.0 and b > 0.0 and abs(math.log(a / b)) < within


def _fallen(alike: Sequence[ShortFigures], figures: ShortFigures) -> float:
    known = [
        one.polarised_Ohm
        for one in alike
        # not measured: taken for the same
        if one.polarised_Ohm > 0.0
        and not abs(one.temperature_K - figures.temperature_K) > SAME_TEMPERATURE_K
    ]
    if len(known) < LEAST_CYCLES or not figures.polarised_Ohm > 0.0:
        return NAN
    return math.log(median(known[-LAST_CYCLES:]) / figures.polarised_Ohm)


class Weight(NamedTuple):
    """How a sign counts: `slope` times what it is beyond `start`, at most `most` (log-odds)."""

    start: float
    slope: float
    most: float

    def of(self, value: float) -> float:
        """Return the log-odds that a sign adds; 0 where it is NaN."""
        return (
            min(max(self.slope * (value - self.start), 0.0), self.most) if value == value else 0.0
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortEvidence:
    """Whether a cycle shows a soft short.

    Attributes
    ----------
    probability : float
        NaN when there was nothing to compare with.
    log_odds : float
        Natural logarithm; `new` is the part that this cycle's own signs gave.
    new : float
    signs : Signs
    words : tuple of str
        What decided, with figures.
    """

    probability: float
    log_odds: float
    new: float
    signs: Signs
    words: tuple[str, ...]

    @property
    def flagged(self) -> bool:
        """Whether a soft short is more likely than not."""
        return self.probability > 0.5


def judge(
    history: Sequence[ShortFigures],
    figures: ShortFigures,
    cell_format: CellFormat,
    nominal_capacity_Ah: float,
    last_new: float = 0.0,
) -> ShortEvidence:
    """Weigh a cycle's signs of a soft short.

    Parameters
    ----------
    history : sequence of ShortFigures
        Cycles before that showed no short, oldest first (`learn`).
    figures : ShortFigures
    cell_format : CellFormat
    nominal_capacity_Ah : float
    last_new : float
        The `new` of the cycle before: a leak that goes on shows twice.
    """
    found = signs(history, figures, cell_format, nominal_capacity_Ah)
    if math.isnan(found.noise) and math.isnan(found.resistance):
        words = (f"{found.compared} cycles alike to compare with, {LEAST_CYCLES} are needed",)
        return ShortEvidence(probability=NAN, log_odds=NAN, new=0.0, signs=found, words=words)
    parts = {name: weight.of(getattr(found, name)) for name, weight in WEIGHTS.items()}
    if found.slippage > SLIPPAGE_SOFT:
        parts["slippage"] = min(parts["slippage"], 6.5)
    telegraph = max(parts["noise"], parts["quick_returns"], parts["slow_returns"])
    new = telegraph + sum(part for name, part in parts.items() if name not in TELEGRAPH)
    log_odds = PRIOR_LOG_ODDS + new + min(CARRIED * last_new, MOST_CARRIED)
    return ShortEvidence(
        probability=1.0 / (1.0 + math.exp(-log_odds)),
        log_odds=log_odds,
        new=new,
        signs=found,
        words=_words(found, figures, parts),
    )


def learn(
    history: list[ShortFigures], figures: ShortFigures, evidence: ShortEvidence | None
) -> None:
    """Add a cycle to what others are compared with, unless it is suspect; newest last."""
    if evidence is None or not evidence.log_odds > SUSPECT_LOG_ODDS:
        history.append(figures)
        del history[:-MOST_CYCLES]


def _words(found: Signs, figures: ShortFigures, parts: Mapping[str, float]) -> tuple[str, ...]:
    """Say each sign that counted, heaviest first."""
    quick, slow = figures.returns
    texts = {
        "noise": f"voltage noise beyond the cell's own ({found.noise:.1f} times its scatter)",
        "quick_returns": f"{quick} times {1e3 * figures.jump_V[0]:.2g} mV and back between means "
        "of 4 s",
        "slow_returns": f"{slow} times {1e3 * figures.jump_V[1]:.2g} mV and back between means "
        "of 16 s",
        "slippage": f"charge exceeds the discharge before by {100 * found.slippage:.2g} % of "
        "nominal capacity more than usual",
        "depth": f"the strip ended at {figures.lowest_V:.2g} V, {100 * found.depth:.0f} % short of "
        "any before",
        "imbalance": f"strip over plate moved by {100 * found.imbalance:+.2g} pp",
        "decay_charged": f"falls {1e3 * figures.decay_charged_V_per_h:.3g} mV/h at charged rest, "
        f"{found.decay_charged:.1f} times its scatter beyond any before",
        "fall": f"the voltage fell at once and for good, {found.fall:.1f} sigma beyond any before",
        "resistance": f"resistance {100 * (1 - math.exp(-found.resistance)):.0f} % below the "
        "cell's own",
    }
    order = sorted(parts, key=lambda name: -parts[name])
    return tuple(texts[name] for name in order if parts[name] > 0.0) or ("no sign of a short",)


# Weights of the signs, in log-odds. Assumed, within a factor of two; set on 3,000 sound cycles and
# 400 shorts of drawn cells (seeds below 20,000), scored on others (scripts/short_detection.py).
WEIGHTS: Final[Mapping[str, Weight]] = MappingProxyType(
    {
        "fall": Weight(0.0, 4.0, 14.0),
        "noise": Weight(1.8, 3.0, 14.0),
        "quick_returns": Weight(1.2, 4.0, 14.0),
        "slow_returns": Weight(2.0, 2.5, 12.0),
        "slippage": Weight(0.003, 900.0, 9.0),
        "depth": Weight(0.003, 1000.0, 9.0),
        "imbalance": Weight(0.01, 200.0, 8.0),
        "decay_charged": Weight(1.0, 2.5, 9.0),
        "resistance": Weight(0.1, 30.0, 9.0),
    }
)
TELEGRAPH: Final = ("noise", "quick_returns", "slow_returns")  # the same thing seen thrice
PRIOR_LOG_ODDS: Final = -7.0  # about one cycle in a thousand. Assumed, 1e-4 to 1e-2
CARRIED: Final = 0.5  # of the cycle before
SLIPPAGE_SOFT: Final = 0.15
MOST_CARRIED: Final = 4.5
SUSPECT_LOG_ODDS: Final = -1.0  # a cycle this likely is not learnt from
