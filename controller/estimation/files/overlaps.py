"""Rows of a second file that stand in a time which rows of the first one cover already."""

from __future__ import annotations

from typing import Final

import numpy as np

from controller.estimation.files.intervals import BoolArray, IntArray
from controller.estimation.table import FloatArray

# Two logs of one course are told from so many rows of the second ...
_FEWEST_ROWS: Final = 5
# ... of which this share lie between their neighbours in the first, within so much (V; share of the
# largest current). Assumed, 90-99 %; 2-5 mV; 0.5-2 %.
_AGREE: Final = 0.95
_WITHIN_V: Final = 3e-3
_WITHIN_OF_LARGEST: Final = 0.01
# ... where there is something to tell by: the voltage moves by this (V), or the current changes.
# Assumed, 10-50 mV.
_TELLING_V: Final = 0.02
# A clock that begins again does so within so many intervals of where it began. Assumed, 2-10.
_BEGINS_WITHIN: Final = 3.0
# Rows further apart than this many times what nearly all are tell nothing of what lies between.
# Assumed, 3-10.
_TOO_FAR: Final = 5.0
_NEARLY_ALL_PERCENT: Final = 95.0


def overlapping_rows(
    t_s: FloatArray, current_A: FloatArray, voltage_V: FloatArray, cycle: FloatArray | None
) -> BoolArray:
    """Return which rows say again, at other moments or rounded otherwise, what rows before them do.

    Where the time falls and what follows runs as it ran before at these times, a second file was
    put behind the first. A cell that goes on under a clock that was set back does not do the same
    again; one that does the same in each cycle, under a clock that begins again with it, does: so
    rows that begin where the first ones began need cycle numbers that are the same, too.

    Parameters
    ----------
    t_s, current_A, voltage_V : array, shape (n,)
    cycle : array or None, shape (n,)
    """
    again = np.zeros(t_s.size, dtype=np.bool_)
    falls = np.flatnonzero(np.diff(t_s) < 0.0) + 1
    if not falls.size:
        return again
    within_A = _WITHIN_OF_LARGEST * float(np.max(np.abs(current_A)))
    before = np.arange(int(falls[0]))
    for start, stop in zip(falls.tolist(), [*falls[1:].tolist(), t_s.size], strict=True):
        part = np.arange(start, stop)
        covered = part[(t_s[part] >= t_s[before[0]]) & (t_s[part] <= t_s[before[-1]])]
        first, last = _around(t_s[before], t_s[covered])
        neighbours = before[np.stack((first, np.minimum(first + 1, last), last))]
        alike = _between(voltage_V, covered, neighbours, _WITHIN_V)
        alike &= _between(current_A, covered, neighbours, within_A)
        alike &= _near(t_s[before], t_s[neighbours[0]], t_s[neighbours[-1]])
        if (
            covered.size >= _FEWEST_ROWS
            and float(np.mean(alike)) >= _AGREE
            and _telling(current_A[covered], voltage_V[covered], within_A)
            and (
                not _begins_again(t_s[before], t_s[start])
                or _same_cycles(cycle, covered, neighbours)
            )
        ):
            again[covered] = True
            kept = np.concatenate((before, np.setdiff1d(part, covered)))
            before = kept[np.argsort(t_s[kept], kind="stable")]
        else:
            before = part
    return again


def _around(before_s: FloatArray, t_s: FloatArray) -> tuple[IntArray, IntArray]:
    """Return the last row before and the first one after each time; at it, both around those."""
    first = np.maximum(np.searchsorted(before_s, t_s, side="left") - 1, 0)
    last = np.minimum(np.searchsorted(before_s, t_s, side="right"), before_s.size - 1)
    return first.astype(np.int64), last.astype(np.int64)


def _between(
    values: FloatArray, covered: IntArray, neighbours: IntArray, within: float
) -> BoolArray:
    """Whether values lie between those of their neighbours; a missing one is no contradiction."""
    low, high = values[neighbours].min(axis=0), values[neighbours].max(axis=0)
    outside = (values[covered] < low - within) | (values[covered] > high + within)
    inside: BoolArray = ~outside
    return inside


def _near(before_s: FloatArray, first_s: FloatArray, last_s: FloatArray) -> BoolArray:
    longest_s = _TOO_FAR * _interval_s(before_s, _NEARLY_ALL_PERCENT)
    near: BoolArray = last_s - first_s <= longest_s
    return near


def _interval_s(t_s: FloatArray, percent: float) -> float:
    steps_s = np.diff(t_s)
    steps_s = steps_s[steps_s > 0.0]
    return float(np.percentile(steps_s, percent)) if steps_s.size else 0.0


def _telling(current_A: FloatArray, voltage_V: FloatArray, within_A: float) -> bool:
    known_V = voltage_V[np.isfinite(voltage_V)]
    moved = known_V.size > 0 and float(np.ptp(known_V)) >= _TELLING_V
    return moved or float(np.ptp(current_A)) > within_A


def _begins_again(before_s: FloatArray, begins_s: float) -> bool:
    return abs(begins_s - float(before_s[0])) <= _BEGINS_WITHIN * _interval_s(before_s, 50.0)


def _same_cycles(cycle: FloatArray | None, covered: IntArray, neighbours: IntArray) -> bool:
    """Whether cycle numbers, more than one, are those of the rows around."""
    if cycle is None or not np.all(np.isfinite(cycle)) or not np.ptp(cycle[covered]) > 0.0:
        return False
    return float(np.mean(_between(cycle, covered, neighbours, 0.0))) >= _AGREE


def overlap_findings(again: BoolArray, row: FloatArray) -> list[str]:
    """Say how many rows were left out: rows before cover their time; `row` in the file."""
    if not again.any():
        return []
    words = (
        f"overlapping-rows: {int(again.sum())} rows (first: row {int(row[again][0])}) stand in a "
        "time that rows before them cover and run as those do, though they are not the same: a "
        "second log of one course; they were left out"
    )
    return [words]
