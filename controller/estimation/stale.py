"""Readings that a logger repeated while time went on."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from controller.estimation.defects import Series
from controller.estimation.intervals import BoolArray, Intervals
from controller.estimation.turns import rest_A

# So many equal readings with current ... Assumed, 8-20.
_FEWEST: Final = 10
# ... after readings of which at least this share differed. Assumed, 0.3-0.8.
_DIFFERED: Final = 0.5
# ... at a current within this share of theirs, logged finer than that: at a held voltage a current
# logged coarsely stands still by itself. Assumed, 1-5 %.
_SAME_CURRENT: Final = 0.02
# ... and after which the voltage jumps by so many of the steps before. Assumed, 3-10.
_JUMPS: Final = 5.0


class Stale(NamedTuple):
    """Intervals within stale readings, array of bool, shape (n - 1,), and findings."""

    intervals: BoolArray
    findings: tuple[str, ...]


def stale_readings(series: Series, intervals: Intervals) -> Stale:
    """Return where current and voltage stand still to the digit, then jump.

    What flowed meanwhile is not known: a charge may have ended and a discharge begun.
    """
    current_A, voltage_V = series.current_A, series.voltage_V
    least_A = rest_A(intervals.charge_As, intervals.dt_s)
    found = np.zeros(current_A.size - 1, dtype=np.bool_)
    same = (np.diff(current_A) == 0.0) & (np.diff(voltage_V) == 0.0)
    advanced = np.concatenate(([0], np.cumsum(intervals.dt_s > 0.0)))
    starts = np.flatnonzero(same & ~np.concatenate(([False], same[:-1])))
    stops = np.flatnonzero(same & ~np.concatenate((same[1:], [False]))) + 1
    long = advanced[stops] - advanced[starts] >= _FEWEST
    runs = 0
    for start, stop in zip(starts[long].tolist(), stops[long].tolist(), strict=True):
        before = slice(max(start - 2 * _FEWEST, 0), start + 1)
        held_A = float(current_A[start])
        if abs(held_A) <= least_A or stop + 1 >= current_A.size:
            continue
        if series.current_resolution_A > _SAME_CURRENT * abs(held_A):
            continue
        # A stale log goes on from the middle of a step, a steady one begins with it.
        if np.any(np.abs(current_A[before] - held_A) > _SAME_CURRENT * abs(held_A)):
            continue
        steps_V = np.abs(np.diff(voltage_V[before]))
        differed = steps_V > 0.0
        if steps_V.size < _FEWEST or np.count_nonzero(differed) < _DIFFERED * steps_V.size:
            continue
        jump_V = abs(float(voltage_V[stop + 1] - voltage_V[stop]))
        if jump_V > _JUMPS * float(np.median(steps_V[differed])):
            found[start : stop + 1] = True
            runs += 1
    if not runs:
        return Stale(found, ())
    first = int(np.flatnonzero(found)[0])
    words = (
        f"stale-readings: {runs} times the log repeats one current and voltage for "
        f"{_FEWEST} readings or more (first: from row {int(series.row[first])} on), then jumps: "
        "what flowed meanwhile is not known; these cycles are left out of averages"
    )
    return Stale(found, (words,))
