"""The course of resistance within a half cycle between two foils against that of the cell's own.

A leak that begins within a half, at once or over ten minutes, lowers voltage over current from
there on by its share of the current, while the same half of other cycles went on as it always does.
So the courses of the cycles before, by charge passed, are laid over that of the newest; what it
fell by beyond them within an hour is held against what they fall by beyond one another.

Where a cell spent its lithium otherwise (a treatment, another rate) what was deposited runs out at
another charge, and the course has a step elsewhere: only cycles count that passed the same charges,
and that follow others which did.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from controller.domain.sample import NAN
from controller.estimation.short_watch import HALVES, NO_COURSE, Course, ShortFigures

Vector = NDArray[np.floating]

# Courses to compare with, and how many at most. Assumed, 3 and 4 to 8.
LEAST_COURSES: Final = 3
MOST_COURSES: Final = 5
# Charges within this (logarithm) are the same. Assumed, 0.01-0.05.
SAME_CHARGE: Final = 0.02
# Currents within this (logarithm) are the same.
SAME_CURRENT: Final = 0.1
# A fall is looked for between means of so many seconds, up to so many apart: a leak may grow over
# some of them, and may be over soon. Assumed, 300-900 s and 1800-4800 s.
MEAN_S: Final = 600.0
WITHIN_S: Final = 3000.0
LEAST_PARTS: Final = 4
# Beyond so many times what courses before fell by it is no scatter of the cell's own. Assumed,
# 1.2-2.
FALL_RATIO: Final = 1.4
HEIGHT_PER_MEDIAN: Final = 1.4  # of a sine whose period is `WITHIN_S`
# What the temperature moves by may lower it (logarithm for each K): what is left when it has been
# allowed for. Assumed, 0.02-0.04. Without a thermometer the room may have moved by 1 K.
LEFT_PER_K: Final = 0.03
UNMEASURED: Final = 0.05


class Fallen(NamedTuple):
    """What a half fell by beyond the course of others (logarithm of resistance).

    Attributes
    ----------
    fall : float
        NaN where there is nothing to compare with.
    usual : float
        The largest by which one of those others does, and what the temperature may have done.
    """

    fall: float
    usual: float

    @property
    def more(self) -> float:
        """What the fall is beyond what is usual."""
        return self.fall - self.usual


def fall_within_half(
    history: Sequence[ShortFigures],
    recent: Sequence[ShortFigures],
    figures: ShortFigures,
    *,
    two_sided: bool,
) -> Fallen:
    """Return the fall of the half cycle that fell further beyond what is usual.

    Parameters
    ----------
    history : sequence of ShortFigures
        Sound cycles before, oldest first.
    recent : sequence of ShortFigures
        The last two cycles, sound or not, oldest first.
    figures : ShortFigures
    two_sided : bool
        Both electrodes hold lithium (Li||Li): then what was deposited on either depends on all
        charge that has passed since, and cycles are alike where that is the same.
    """
    known = {one.number: one for one in (*history, *recent, figures)}
    alike = [
        one
        for one in history
        if _lived_alike(one, figures, known) and (not two_sided or _stands_alike(one, figures))
    ]
    last = [one for one in recent[-1:] if _lived_alike(one, figures, known)]
    found = [_fallen(alike, last, figures, half) for half in range(HALVES)]
    return max(found, key=lambda one: one.more if one.more == one.more else -math.inf)


def same_within(a: float, b: float, within: float) -> bool:
    """Return whether two positive numbers are the same within a logarithm."""
    return a > 0.0 and b > 0.0 and abs(math.log(a / b)) < within


def _lived_alike(one: ShortFigures, other: ShortFigures, known: Mapping[int, ShortFigures]) -> bool:
    """Return whether two cycles charged the same, and those before them passed the same charges."""
    before, other_before = known.get(one.number - 1), known.get(other.number - 1)
    return (
        before is not None
        and other_before is not None
        and same_within(one.charge_Ah, other.charge_Ah, SAME_CHARGE)
        and same_within(before.charge_Ah, other_before.charge_Ah, SAME_CHARGE)
        and same_within(before.discharge_Ah, other_before.discharge_Ah, SAME_CHARGE)
    )


def _stands_alike(one: ShortFigures, other: ShortFigures) -> bool:
    """Return whether two cycles began after the same net charge."""
    return abs(one.net_before_Ah - other.net_before_Ah) < SAME_CHARGE * other.charge_Ah


def _fallen(
    alike: Sequence[ShortFigures],
    last: Sequence[ShortFigures],
    newest: ShortFigures,
    half: int,
) -> Fallen:
    """Return what a half falls by beyond others, and what those fall by beyond one another.

    `last` holds the cycle just before, sound or not, if it is alike: what fell there as well, at
    the same place, is the cell's way by now; a leak that goes on does not begin again.
    """
    course = _course(newest, half)
    usable = [one for one in alike if _comparable(_course(one, half), course)][-MOST_COURSES:]
    if len(usable) < LEAST_COURSES or not _long(course):
        return Fallen(NAN, NAN)
    own = max(
        _fall_beyond([other for other in usable if other is not one], one, half) for one in usable
    )
    moved = max(
        LEFT_PER_K * one.moved_K if one.moved_K == one.moved_K else UNMEASURED
        for one in (course, *(_course(one, half) for one in usable))
    )
    wave = median(_wave(_course(one, half)) for one in usable)
    usual = FALL_RATIO * max(own, wave, 0.0)
    fall = _fall_beyond(usable, newest, half)
    if any(_comparable(_course(one, half), course) for one in last):
        fall = min(fall, _fall_beyond(last, newest, half))
    return Fallen(fall, usual + moved)


def _course(one: ShortFigures, half: int) -> Course:
    return one.courses[half] if one.courses else NO_COURSE


def _long(one: Course) -> bool:
    return len(one.ln_Ohm) >= LEAST_PARTS


def _comparable(one: Course, newest: Course) -> bool:
    """Return whether a course is long enough and of the same current as another."""
    return _long(one) and same_within(one.current_A, newest.current_A, SAME_CURRENT)


def _fall_beyond(others: Sequence[ShortFigures], one: ShortFigures, half: int) -> float:
    """Return the largest fall of a course beyond the others' (logarithm); -inf where none shows.

    Beyond their median, and beyond where their drift over the cycles leads: the smaller of the two.
    """
    course = _course(one, half)
    at_Ah = course.places_Ah()
    ln_Ohm = np.array(course.ln_Ohm)
    above = np.array(
        [
            ln_Ohm - np.interp(at_Ah, other.places_Ah(), other.ln_Ohm, left=NAN, right=NAN)
            for other in (_course(each, half) for each in others)
        ]
    )
    known = np.isfinite(above).all(axis=0)
    if known.sum() < LEAST_PARTS:
        return -math.inf
    ln_Ohm, above = ln_Ohm[known], above[:, known]
    above -= np.median(above, axis=1, keepdims=True)
    middle = np.median(above, axis=0)
    steep = _steep(ln_Ohm, ln_Ohm - middle)
    led = _led_to([each.number - one.number for each in others], above)
    return min(_largest_fall(each, steep, course.each_s) for each in (middle, led))


def _steep(ln_Ohm: Vector, usual: Vector) -> Vector:
    """Return what each part may be off by where a course rises or falls at another charge.

    By as much as it rises, and the usual one rises or falls, within `SAME_CHARGE`.
    """
    parts = max(1, round(SAME_CHARGE * len(ln_Ohm)))
    moves = np.maximum(np.abs(usual[parts:] - usual[:-parts]), ln_Ohm[parts:] - ln_Ohm[:-parts])
    out: Vector = np.zeros(len(ln_Ohm))
    out[:-parts] = moves
    out[parts:] = np.maximum(out[parts:], moves)
    return out


def _wave(course: Course) -> float:
    """Return how high waves of the readings go, from top to bottom; 0 in a half that is too short.

    They may have stood alike in all cycles before, and otherwise in the newest. From what means of
    `MEAN_S` lie beside those half of `WITHIN_S` before and after them: the median, so that a step
    of the course does not count.
    """
    means = _means(np.array(course.ln_Ohm), course.each_s)
    apart = max(1, round(0.5 * WITHIN_S / course.each_s))
    if len(means) < 2 * apart + LEAST_PARTS:
        return 0.0
    beside = means[apart:-apart] - 0.5 * (means[: -2 * apart] + means[2 * apart :])
    return HEIGHT_PER_MEDIAN * float(np.median(np.abs(beside)))


def _means(values: Vector, each_s: float) -> Vector:
    """Return the running means over `MEAN_S` of parts that are each so long."""
    count = max(1, round(MEAN_S / each_s))
    if len(values) < count:
        return np.array([])
    means: Vector = np.convolve(values, np.full(count, 1.0 / count), "valid")
    return means


def _led_to(cycles: Sequence[int], values: Vector) -> Vector:
    """Return where lines through values over cycles lead at cycle 0."""
    apart = np.array(cycles, float) - np.mean(cycles)
    slopes = apart @ values / max(float(apart @ apart), 1.0)
    led: Vector = values.mean(axis=0) - np.mean(cycles) * slopes
    return led


def _largest_fall(values: Vector, steep: Vector, each_s: float) -> float:
    """Return the largest fall between means of `MEAN_S` that are no more than `WITHIN_S` apart."""
    means = _means(values, each_s)
    if not len(means):
        return -math.inf
    slack = sliding_window_view(steep, len(values) + 1 - len(means)).max(axis=1)
    places = np.arange(len(means))
    later = places[None, :] - places[:, None]
    near = (later > 0) & (later * each_s <= WITHIN_S)
    # From no higher than it was until then: what rose and came back has not fallen.
    until = np.array([np.median(means[: k + 1]) for k in places])
    falls = (np.minimum(means, until) - slack)[:, None] - (means + slack)[None, :]
    return float(falls[near].max()) if near.any() else -math.inf
