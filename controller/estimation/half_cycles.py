"""The resistance of one half of a cycle between two foils against that of the half before it.

A leak takes its share of the current past both electrodes: from when it begins, voltage over
current is lower by about that share, one to three per cent, less than the temperature of a room or
the cell's own drift moves it in a day. Between neighbouring halves both hardly count::

    ln R(charge) - ln R(discharge) of a cycle, and
    ln R(discharge) - ln R(charge) of the cycle after

are held against the same differences in the cycles before, as a line over the differences of
temperature and of the logarithm of current (at a higher current a resistance is smaller). They rise
when the later half has fallen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from controller.domain.sample import NAN
from controller.estimation.foretelling import UNKNOWN, Beyond, Prior, beyond
from controller.estimation.short_watch import HALVES, ShortFigures

LEAST_KNOWN: Final = 3
# Currents within this (logarithm) are the same. Assumed, 0.05-0.15.
SAME_CURRENT: Final = 0.1
MOST_RATES_APART: Final = 10.0  # of a cycle in which a half is not known
# Prior: the difference of a sound cell's halves; how much a resistance falls with each K, mean and
# standard deviation (activation of 15 to 50 kJ/mol). Assumed.
DIFFERENCE_SD: Final = 0.02
PER_K_MEAN: Final = 0.04
PER_K_SD: Final = 0.02
# ... and how much it falls with the logarithm of current.
PER_RATE_MEAN: Final = 0.2
PER_RATE_SD: Final = 0.2
# Scatter of a difference before the cell has shown its own. Assumed, 5e-4 to 2e-3.
SCATTER: Final = 1.3e-3
# What a line does not tell, as standard deviations: where the cycle before ran e times as fast or
# slow; where none is known before; each hour of rest between the halves; each K between them; each
# cycle since; each e times by which currents differ from those of the cycle looked at (the line
# bends). Assumed, within a factor of two.
DRIFT_PER_RATE: Final = 0.006
DRIFT_LEFT: Final = 0.5  # of it in the cycle after
DRIFT_AFTER_NOTHING: Final = 0.05
DRIFT_PER_REST_H: Final = 1.2e-3
DRIFT_PER_K: Final = 0.003
DRIFT_PER_CYCLE: Final = 7e-4
UNLIKE_PER_RATE: Final = 0.06
# Where the temperature moved by more within a half, its median is no half's; halves further apart
# are not compared. Assumed, 0.3-1 K and 1-3 K.
MOST_MOVED_K: Final = 0.5
MOST_APART_K: Final = 2.0
# A half against itself in cycles before: how its resistance drifts with each cycle, its scatter,
# and what a line does not tell for each cycle since, for each K. Assumed, within a factor of two.
PER_CYCLE_SD: Final = 0.01
LEVEL_SD: Final = 0.5
LEVEL_SCATTER: Final = 2e-3
LEVEL_DRIFT_PER_CYCLE: Final = 1.5e-3
LAST_LEVELS: Final = 8
# Without a thermometer the room may have moved by so much. Assumed, 0.5-2 K.
UNMEASURED_K: Final = 1.0
PRIOR: Final = Prior(
    np.array([0.0, PER_K_MEAN, PER_RATE_MEAN]),
    np.diag([DIFFERENCE_SD, PER_K_SD, PER_RATE_SD]) ** 2,
    SCATTER,
)
LEVEL_PRIOR: Final = Prior(
    np.array([0.0, 0.0, -PER_K_MEAN]),
    np.diag([LEVEL_SD, PER_CYCLE_SD, PER_K_SD]) ** 2,
    LEVEL_SCATTER,
)


class _Halves(NamedTuple):
    """Two halves that follow each other.

    Attributes
    ----------
    number : int
        Of the cycle that the later one is of.
    fallen : float
        Logarithm of the earlier one's resistance over the later one's.
    warmer_K : float
        By how much the later one was warmer.
    currents_A : tuple of float
        Of the earlier and of the later one.
    drift : float
        Standard deviation of what a line does not tell.
    """

    number: int
    fallen: float
    warmer_K: float
    currents_A: tuple[float, float]
    drift: float


def later_half(
    history: Sequence[ShortFigures], recent: Sequence[ShortFigures], figures: ShortFigures
) -> Beyond:
    """Return by how much more than usual a half cycle's resistance fell below that before it.

    The logarithm of their ratio; the more telling one of the two halves that end in the cycle.

    Parameters
    ----------
    history : sequence of ShortFigures
        Sound cycles before, oldest first.
    recent : sequence of ShortFigures
        The last two cycles, sound or not, oldest first.
    figures : ShortFigures
    """
    known = {one.number: one for one in (*history, *recent, figures)}
    drifts = _drifts([known[number] for number in sorted(known)])
    within = [_within(one, drifts) for one in history]
    across = [_across(a, b, drifts) for a, b in pairwise(history) if b.number == a.number + 1]
    newest = _within(figures, drifts)
    follows = bool(recent) and figures.number == recent[-1].number + 1
    found = [_beyond(within, newest, _within(recent[-1], drifts) if follows else None)]
    if follows:
        pair = _across(recent[-1], figures, drifts)
        last = None
        if len(recent) > 1 and recent[-1].number == recent[-2].number + 1:
            last = _across(recent[-2], recent[-1], drifts)
        found.append(_beyond(across, pair, last))
    return max(found, key=lambda one: one.more / one.u if one.more == one.more else -math.inf)


def both_halves(history: Sequence[ShortFigures], figures: ShortFigures) -> Beyond:
    """Return by how much both halves' resistances fell below those of the cell's own cycles.

    The logarithm of their ratio beyond what the drift of the cycles before foretells, of the half
    that tells less: a leak that is there all the time lowers both.

    Parameters
    ----------
    history : sequence of ShortFigures
        Sound cycles before, oldest first.
    figures : ShortFigures
    """
    found = [_below(history, figures, half) for half in range(HALVES)]
    if any(one.more != one.more for one in found):
        return UNKNOWN
    return min(found, key=lambda one: one.more / one.u)


def _below(history: Sequence[ShortFigures], figures: ShortFigures, half: int) -> Beyond:
    """Return how far a half's resistance lies below the line through those before it."""
    levels = [one for one in history if _level_known(one, half)]
    alike = [
        one
        for one in levels
        if abs(_between(one.half_A[half], figures.half_A[half])) < SAME_CURRENT
    ][-LAST_LEVELS:]
    if len(alike) < LEAST_KNOWN or not _level_known(figures, half):
        return UNKNOWN
    measured = all(one.half_K[half] == one.half_K[half] for one in (*alike, figures))
    per_K, rows, variances = DRIFT_PER_K if measured else PER_K_MEAN, [], []
    for one in (*alike, figures):
        cycles = one.number - figures.number
        warmer_K = one.half_K[half] - figures.half_K[half] if measured else 0.0
        moved_K = warmer_K if measured else UNMEASURED_K
        rows.append([1.0, cycles, warmer_K])
        variances.append((LEVEL_DRIFT_PER_CYCLE * cycles) ** 2 + (per_K * moved_K) ** 2)
    newest_Ohm = figures.half_Ohm[half]
    values = [math.log(one.half_Ohm[half] / newest_Ohm) for one in (*alike, figures)]
    found = beyond(np.array(rows), np.array(values), np.array(variances), LEVEL_PRIOR)
    # A line goes on after a rise that has come to its end: it must have fallen from the last, too.
    rested_h = figures.rest_before_h + (figures.charged_rest_h if half == 1 else 0.0)
    return Beyond(
        min(-found.more, values[-2] + PER_K_MEAN * rows[-2][2]),
        math.hypot(found.u, math.sqrt(variances[-2]), DRIFT_PER_REST_H * rested_h),
    )


def _level_known(one: ShortFigures, half: int) -> bool:
    return _measured(one, half) and not one.half_moved_K[half] > MOST_MOVED_K


def _measured(one: ShortFigures, half: int) -> bool:
    """Return whether a half has both a resistance and the current that it was measured at."""
    return one.half_Ohm[half] > 0.0 and one.half_A[half] > 0.0


def _drifts(chain: Sequence[ShortFigures]) -> dict[int, float]:
    """Return by number how far a cycle drifts after others of another rate, up to two before it."""
    out, since = {}, 0.0
    for before, one in pairwise([chain[0], *chain]):
        if one.number == before.number + 1:
            apart = min(_apart(before, one), MOST_RATES_APART)
            changed = DRIFT_PER_RATE * apart if apart > SAME_CURRENT else 0.0
            out[one.number] = math.hypot(changed, since)
            since = DRIFT_LEFT * changed
        else:
            out[one.number], since = DRIFT_AFTER_NOTHING, 0.0
    return out


def _apart(one: ShortFigures, other: ShortFigures) -> float:
    """Return by how much the currents of two cycles differ (logarithm)."""
    return max(abs(_between(a, b)) for a, b in zip(one.half_A, other.half_A, strict=True))


def _within(figures: ShortFigures, drifts: Mapping[int, float]) -> _Halves:
    rested = DRIFT_PER_REST_H * figures.charged_rest_h
    return _halves(figures, 0, figures, 1, math.hypot(drifts[figures.number], rested))


def _across(before: ShortFigures, after: ShortFigures, drifts: Mapping[int, float]) -> _Halves:
    rested = DRIFT_PER_REST_H * after.rest_before_h
    return _halves(before, 1, after, 0, math.hypot(drifts[after.number], rested))


def _halves(
    before: ShortFigures, before_half: int, after: ShortFigures, after_half: int, drift: float
) -> _Halves:
    """Return two halves.

    `fallen` is NaN where one was not measured or the temperature moved within or between them.
    """
    warmer_K = after.half_K[after_half] - before.half_K[before_half]
    steady = not (
        before.half_moved_K[before_half] > MOST_MOVED_K
        or after.half_moved_K[after_half] > MOST_MOVED_K
        or abs(warmer_K) > MOST_APART_K
    )
    before_Ohm, after_Ohm = before.half_Ohm[before_half], after.half_Ohm[after_half]
    known = steady and _measured(before, before_half) and _measured(after, after_half)
    return _Halves(
        after.number,
        math.log(before_Ohm / after_Ohm) if known else NAN,
        warmer_K,
        (before.half_A[before_half], after.half_A[after_half]),
        math.hypot(drift, _strip_drift(before, before_half), _strip_drift(after, after_half)),
    )


def _strip_drift(one: ShortFigures, half: int) -> float:
    """Return how far a half drifts of which a part ran at a higher current."""
    largest_A = one.charge_A if half == 0 else one.discharge_A
    apart = _between(one.half_A[half], largest_A)
    return DRIFT_PER_RATE * apart if apart > SAME_CURRENT else 0.0


def _between(a: float, b: float) -> float:
    """Return ln(b / a) of two currents, infinite where one of them did not flow."""
    return math.log(b / a) if a > 0.0 and b > 0.0 else math.inf


def _unlike(one: _Halves, other: _Halves) -> float:
    """Return by how much the currents of two pairs of halves differ (logarithm)."""
    return max(abs(_between(a, b)) for a, b in zip(one.currents_A, other.currents_A, strict=True))


def _beyond(known: Sequence[_Halves], newest: _Halves, last: _Halves | None) -> Beyond:
    """Return how far the newest difference lies from the line through the known ones.

    And from the `last` one, sound or not, if it was of the same currents: a leak that goes on
    lowers both halves, and a difference that stays is the cell's way by now.
    """
    usable = [one for one in known if one.fallen == one.fallen]
    if len(usable) < LEAST_KNOWN or newest.fallen != newest.fallen:
        return UNKNOWN
    halves = [*usable, newest]
    measured = all(one.warmer_K == one.warmer_K for one in halves)
    per_K = DRIFT_PER_K if measured else PER_K_MEAN
    rows, variances = [], []
    for one in halves:
        warmer_K = one.warmer_K if measured else 0.0
        moved_K = one.warmer_K if measured else UNMEASURED_K
        rows.append([1.0, warmer_K, _between(*one.currents_A)])
        variances.append(
            one.drift**2
            + (per_K * moved_K) ** 2
            + (DRIFT_PER_CYCLE * (newest.number - one.number)) ** 2
            + (UNLIKE_PER_RATE * _unlike(one, newest)) ** 2
        )
    found = beyond(
        np.array(rows), np.array([one.fallen for one in halves]), np.array(variances), PRIOR
    )
    if last is None or last.fallen != last.fallen or _unlike(last, newest) > SAME_CURRENT:
        return found
    warmer_K = newest.warmer_K - last.warmer_K if measured else 0.0
    return Beyond(min(found.more, newest.fallen - last.fallen - PER_K_MEAN * warmer_K), found.u)
