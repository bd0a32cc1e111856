"""Where the charge of a logged series turns: its half cycles, pulses and noise left out."""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from controller.domain.sample import NAN
from controller.estimation.files.intervals import IntArray
from controller.estimation.table import FloatArray

# A reversal counts as a new half cycle once this share of the half cycle before has flowed back.
REVERSAL_SHARE: Final = 0.05
# ... and this share of the largest excursion of charge in the file. Both assumed.
REVERSAL_OF_LARGEST: Final = 2e-4
# A half cycle of less than REVERSAL_SHARE of the largest is a pulse where each of its neighbours is
# so many times as large and all three together bring no more than so many times the largest: the
# steps of a pulse test, not cycles that give little back. Assumed, 2-5; 1.1-1.7.
_PULSE_BETWEEN: Final = 3.0
_STAIRS_AT_MOST: Final = 1.5
# A half cycle of less than this share of the largest says nothing of a file's directions and
# limits. Assumed, 5-30 %.
LARGE_SHARE: Final = 0.1
# What a half cycle comes to is read once this share of its charge has flowed. Assumed, 0.8-0.98.
END_SHARE: Final = 0.9


# Currents below this share of the largest, or of that which carries the charge, count as rest.
# Assumed, 0.1-1 %.
REST_SHARE: Final = 2e-3


class Turn(NamedTuple):
    """From `row` on the charge goes in `direction` (1 charge, -1 discharge)."""

    row: int
    direction: int


class Half(NamedTuple):
    """One half cycle.

    Attributes
    ----------
    start, last : int
        Row where it begins, and the last one that its current leads to.
    stop : int
        First row that carries current of the other direction, or the number of rows.
    direction : int
        1 charge, -1 discharge.
    charge_As : float
        Magnitude.
    """

    start: int
    last: int
    stop: int
    direction: int
    charge_As: float


def turns(charge_As: FloatArray, of_largest: float = REVERSAL_OF_LARGEST) -> list[Turn]:
    """Return where the charge turned for good.

    A reversal counts only once enough has flowed back, so that pulses make no half cycles.

    Parameters
    ----------
    charge_As : array, shape (n,)
        Of each interval.
    of_largest : float
        Share of the largest excursion that must have flowed back.
    """
    total_As = np.concatenate(([0.0], np.cumsum(charge_As)))
    least_As = of_largest * float(np.max(total_As) - np.min(total_As))
    out: list[Turn] = []
    direction = extreme_at = 0
    turned_As = 0.0
    for k in _candidates(charge_As).tolist():
        extreme_As = float(total_As[extreme_at])
        if direction * (total_As[k] - extreme_As) > 0.0:
            extreme_at = k
            continue
        back_As = abs(float(total_As[k]) - extreme_As)
        half_As = abs(extreme_As - turned_As)
        if back_As > max(REVERSAL_SHARE * half_As, least_As):
            direction = 1 if total_As[k] > extreme_As else -1
            turned_As = extreme_As
            out.append(Turn(extreme_at, direction))
            extreme_at = k
    return _without_pulses(out, total_As, extreme_at)


def _without_pulses(found: list[Turn], total_As: FloatArray, end: int) -> list[Turn]:
    """Return the turns without those of pulses on the way, down a staircase as at its first steps.

    While the first steps are found nobody knows how far it goes on: a pulse may be large beside
    them, and small beside the whole.
    """
    rows = np.array([*(turn.row for turn in found), end])
    size_As = np.abs(np.diff(total_As[rows]))
    if size_As.size < 3:
        return found
    largest_As = float(np.max(size_As))
    while size_As.size >= 3:
        before_As, here_As, after_As = size_As[:-2], size_As[1:-1], size_As[2:]
        pulse = here_As < REVERSAL_SHARE * largest_As
        pulse &= _PULSE_BETWEEN * here_As < np.minimum(before_As, after_As)
        pulse &= before_As - here_As + after_As <= _STAIRS_AT_MOST * largest_As
        at = np.flatnonzero(pulse) + 1
        if not at.size:
            break
        rows = np.delete(rows, np.concatenate((at, at + 1)))
        size_As = np.abs(np.diff(total_As[rows]))
    kept = set(rows.tolist())
    return [turn for turn in found if turn.row in kept]


def _candidates(charge_As: FloatArray) -> IntArray:
    """Return the rows where the flow changes its sign, and where it ends."""
    flowing = np.flatnonzero(charge_As)
    if not flowing.size:
        return flowing
    signs = np.sign(charge_As[flowing])
    ends: IntArray = flowing[np.append(signs[1:] != signs[:-1], True)] + 1
    return ends


def rest_A(charge_As: FloatArray, dt_s: FloatArray) -> float:
    """Return the current below which it is rest (A), of that which carries half of the charge.

    Not of the largest: a test's pulse may be far above all that cycles.
    """
    flowing = np.flatnonzero((charge_As != 0.0) & (dt_s > 0.0))
    if not flowing.size:
        return 0.0
    size_As = np.abs(charge_As[flowing])
    mean_A = size_As / dt_s[flowing]
    order = np.argsort(mean_A)
    summed_As = np.cumsum(size_As[order])
    return REST_SHARE * float(mean_A[order[np.searchsorted(summed_As, 0.5 * summed_As[-1])]])


def half_rows(charge_As: FloatArray, current_A: FloatArray, least_A: float) -> list[Half]:
    """Return the half cycles in order; currents below `least_A` are rest.

    Parameters
    ----------
    charge_As : array, shape (n - 1,)
    current_A : array, shape (n,)
    least_A : float
    """
    found = turns(charge_As)
    if not found:
        return []
    starts = [turn.row for turn in found]
    total_As = np.concatenate(([0.0], np.cumsum(charge_As)))
    directed_As = found[-1].direction * total_As[starts[-1] :]
    end = starts[-1] + int(np.argmax(directed_As))
    out = []
    for turn, (start, last) in zip(found, pairwise([*starts, end]), strict=True):
        against = np.flatnonzero(turn.direction * current_A[last:] < -least_A)
        stop = last + int(against[0]) if against.size else current_A.size
        charged_As = abs(float(total_As[last] - total_As[start]))
        out.append(Half(start, last, max(stop, last), turn.direction, charged_As))
    return out


def large(halves: list[Half], share: float = LARGE_SHARE) -> list[Half]:
    """Return the half cycles of at least `share` of the largest one's charge."""
    largest_As = max((half.charge_As for half in halves), default=0.0)
    return [half for half in halves if half.charge_As >= share * largest_As]


def end_V(half: Half, charge_As: FloatArray, voltage_V: FloatArray) -> float:
    """Return the voltage farthest from 0 at the end of a half cycle, its hold and rest included.

    Not that of the whole half cycle: a pulse on the way is no end.
    """
    flowed_As = half.direction * np.cumsum(charge_As[half.start : half.last])
    near = half.start + int(np.searchsorted(flowed_As, END_SHARE * half.charge_As)) + 1
    values_V = voltage_V[min(near, half.last) : max(half.stop, half.last + 1)]
    values_V = values_V[np.isfinite(values_V)]
    return float(values_V[np.argmax(np.abs(values_V))]) if values_V.size else NAN
