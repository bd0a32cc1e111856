"""Readings that a logger repeated while time went on."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from controller.estimation.files.defects import Series
from controller.estimation.files.intervals import BoolArray, IntArray, Intervals
from controller.estimation.files.turns import rest_A
from controller.estimation.table import FloatArray, quantum

# So many equal readings ... Assumed, 8-20.
_FEWEST: Final = 10
# ... with current, after readings of which at least this share differed. Assumed, 0.3-0.8.
_DIFFERED: Final = 0.5
# ... at a current within this share of theirs, logged finer than that: at a held voltage a current
# logged coarsely stands still by itself. Assumed, 1-5 %.
_SAME_CURRENT: Final = 0.02
# ... and after which the voltage jumps by so many of the steps before. Assumed, 3-10.
_JUMPS: Final = 5.0
# At rest a voltage may stand still for hours. It does not jump by this while the rest goes on (V),
# ... Assumed, 5-20 mV.
_REST_JUMP_V: Final = 0.01
# ... nor, where a current begins, against it by this (V), or by this more than so many times what
# it jumps where others up to this factor larger begin, in proportion (what a rest
# came from matters as well); of these so many to either side, and so many at least. Assumed, 20-50
# mV; 1.3-2; 1.2-2; 2-4; 2-3.
_EDGE_JUMP_V: Final = 0.03
_EDGE_JUMP_TIMES: Final = 1.5
_LIKE_CURRENT: Final = 1.5
_BESIDE: Final = 3
# A reading with the moment of the beginning shows no jump yet: the largest of so many is taken.
# Assumed, 2-4.
_FIRST_READINGS: Final = 3
_FEWEST_EDGES: Final = 2


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
    long = (advanced[stops] - advanced[starts] >= _FEWEST) & (stops + 1 < current_A.size)
    edges = _beginnings(series, least_A)
    rounded_V = 2.0 * quantum(voltage_V[np.isfinite(voltage_V)])
    runs = 0
    for start, stop in zip(starts[long].tolist(), stops[long].tolist(), strict=True):
        rests = abs(float(current_A[start])) <= least_A
        if (
            _jumps_from_rest(series, stop, edges, least_A, rounded_V)
            if rests
            else _jumps(series, start, stop)
        ):
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


def _jumps(series: Series, start: int, stop: int) -> bool:
    """Whether a log with current froze in the midst of a step and then goes on elsewhere."""
    current_A, voltage_V = series.current_A, series.voltage_V
    before = slice(max(start - 2 * _FEWEST, 0), start + 1)
    held_A = float(current_A[start])
    if series.current_resolution_A > _SAME_CURRENT * abs(held_A):
        return False
    # A stale log goes on from the middle of a step, a steady one begins with it.
    if np.any(np.abs(current_A[before] - held_A) > _SAME_CURRENT * abs(held_A)):
        return False
    steps_V = np.abs(np.diff(voltage_V[before]))
    differed = steps_V > 0.0
    if steps_V.size < _FEWEST or np.count_nonzero(differed) < _DIFFERED * steps_V.size:
        return False
    jump_V = abs(float(voltage_V[stop + 1] - voltage_V[stop]))
    unlike_before = jump_V > _JUMPS * float(np.median(steps_V[differed]))
    return unlike_before and not _as_others_change(series, stop, jump_V)


def _as_others_change(series: Series, stop: int, jump_V: float) -> bool:
    """Whether a current changes with the jump, and others that change alike jump as far.

    A voltage may come to stand still before a step ends, on a plateau or between two foils.
    """
    current_A, voltage_V = series.current_A, series.voltage_V
    from_A, to_A = float(current_A[stop]), float(current_A[stop + 1])
    within_A = _SAME_CURRENT * max(abs(from_A), abs(to_A))
    if abs(to_A - from_A) <= within_A:
        return False
    alike = np.abs(current_A[:-1] - from_A) <= within_A
    alike &= np.abs(current_A[1:] - to_A) <= within_A
    alike[stop] = False
    jumps_V = _first_jumps_V(voltage_V, np.flatnonzero(alike))
    jumps_V = jumps_V[np.isfinite(jumps_V)]
    return jumps_V.size >= _FEWEST_EDGES and jump_V <= _EDGE_JUMP_TIMES * float(np.max(jumps_V))


def _beginnings(series: Series, least_A: float) -> IntArray:
    """Return the last reading at rest before each beginning of a current."""
    flows = np.abs(series.current_A) > least_A
    known = np.isfinite(series.voltage_V[:-1] + series.voltage_V[1:])
    return np.flatnonzero(~flows[:-1] & flows[1:] & known)


def _jumps_from_rest(
    series: Series, stop: int, edges: IntArray, least_A: float, rounded_V: float
) -> bool:
    """Whether what follows a rest that stood still is no beginning of a current like the others.

    A cell's first current may begin anywhere: nothing flowed before it. `rounded_V` is what
    rounding may add to a jump.
    """
    current_A, voltage_V = series.current_A, series.voltage_V
    jump_V = float(voltage_V[stop + 1] - voltage_V[stop])
    change_A = float(current_A[stop + 1] - current_A[stop])
    if not np.any(np.abs(current_A[:stop]) > least_A):
        return False
    if abs(float(current_A[stop + 1])) <= least_A:
        return abs(jump_V) > _REST_JUMP_V + rounded_V
    # At a larger current a resistance is smaller: smaller currents tell the most that one may jump.
    ratio = current_A[edges + 1] / change_A
    alike = edges[(ratio > 0.0) & (ratio < _LIKE_CURRENT) & (edges != stop)]
    at = int(np.searchsorted(alike, stop))
    alike = alike[max(at - _BESIDE, 0) : at + _BESIDE]
    if alike.size < _FEWEST_EDGES:
        return False
    times = np.maximum(change_A / (current_A[alike + 1] - current_A[alike]), 1.0)
    jumps_V = _first_jumps_V(voltage_V, alike) + rounded_V
    most_V = _EDGE_JUMP_TIMES * float(np.max(times * jumps_V))
    along_V = float(np.sign(change_A)) * jump_V
    return along_V < -_EDGE_JUMP_V - rounded_V or along_V > most_V + _EDGE_JUMP_V


def _first_jumps_V(voltage_V: FloatArray, edges: IntArray) -> FloatArray:
    """Return by how much the voltage moves within the first readings behind each edge (V)."""
    rows = edges[:, None] + np.arange(1, _FIRST_READINGS + 1)
    moved_V = np.abs(voltage_V[np.minimum(rows, voltage_V.size - 1)] - voltage_V[edges][:, None])
    largest_V: FloatArray = np.fmax.reduce(moved_V, axis=1)
    return largest_V
