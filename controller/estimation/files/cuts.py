"""Half cycles that a file cuts off: its first or last row still carries current."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from controller.estimation.files.defects import Series
from controller.estimation.files.intervals import BoolArray, IntArray, Intervals
from controller.estimation.files.turns import Half, half_rows, large, rest_A
from controller.estimation.table import FloatArray, quantum

# A half cycle came to its limit where its last voltage lies this near the others' (V), and within
# three times their scatter more. Assumed, 2-10 mV: cyclers end a step to a few mV.
LIMIT_WITHIN_V: Final = 5e-3
# ... begins like the others within this (V): what they rested before moves that. Assumed, 10-40 mV.
BEGIN_WITHIN_V: Final = 0.02
# A hold whose last current is larger than the others' by this factor was not over. Assumed, 1.2-2.
HOLD_OVER_WITHIN: Final = 1.5
# Half cycles of the same charge within this share end by charge or time. Assumed, 5e-4 to 2e-3.
SAME_CHARGE_WITHIN: Final = 1e-3
# Begins are compared at currents within this factor. Assumed, 1.1-1.5.
SAME_CURRENT_FACTOR: Final = 1.2
# A begin is told by its leap: how much more the voltage moves in a first window, of so many of the
# longest intervals between its first rows, than in the next; where others leap by this and so many
# of the voltage's steps at least (V), by no less than this share. Assumed, 2-3; 6-20; 3-10 mV; 3-5;
# 0.3-0.5; 2-3 others, the next 3 to 10.
LEAP_V: Final = 5e-3
LEAP_SHARE: Final = 0.4
_LEAP_STEPS: Final = 4.0
_WINDOW_STEPS: Final = 2.0
_BEGIN_ROWS: Final = 8
_FEWEST_BEGINS: Final = 2
_FEW_BEGINS: Final = 5
# After a gap the voltage lies behind that before it by more than this (V). Assumed, 2-20 mV.
BEHIND_V: Final = 5e-3
# A rest in which nothing was logged for so long (s) and for so many times the intervals beside it,
# and after which the voltage stands elsewhere by this share of the file's span: a half cycle is
# missing. Assumed, 60-600 s; 5-20; 0.2-0.5.
REST_GAP_S: Final = 120.0
_REST_GAP_LONGER: Final = 10.0
_REST_GAP_SHARE: Final = 0.3
_SCATTERS: Final = 3.0
_MAD: Final = 1.4826


class Cut(NamedTuple):
    """Whether the half cycle in which a file begins or ends is cut off, and a finding.

    Attributes
    ----------
    first, last : bool
        Of the first and the last interval's cycle.
    findings : tuple of str
    """

    first: bool
    last: bool
    findings: tuple[str, ...]


def find_cut(series: Series, intervals: Intervals) -> Cut:
    """Return whether a file begins or ends in the middle of a half cycle.

    Many sound files end with the reading at which a discharge reached its cut-off. So the last
    voltage is held against those at which the half cycles before it ended, the first one against
    those at which the others begin. Where there are none it cannot be told.
    """
    least_A = rest_A(intervals.charge_As, intervals.dt_s)
    halves = half_rows(intervals.charge_As, series.current_A, least_A)
    findings = []
    first = last = False
    direction = _direction(series.current_A[0], least_A)
    if direction:
        late = _misses_charge(halves, direction) and _begins_late(
            series, large(halves), direction, least_A
        )
        leaps = late or _leaps(series, halves, direction, least_A)
        first = late or not leaps
        if first:
            why = (
                ", or the cell came partly charged: the first reading lies beyond the voltage at "
                "which the others begin"
                if late
                else ": the voltage does not leap and slow down as where the others begin"
            )
            findings.append(f"incomplete: the file begins within a {_name(direction)}{why}")
    direction = _direction(series.current_A[-1], least_A)
    if direction:
        before = [half for half in large(halves) if half.last < series.t_s.size - 1]
        before = [half for half in before if half.direction == direction]
        if before:
            last = _ends_early(series, before, halves[-1], least_A)
        elif any(half.direction != direction for half in halves):
            findings.append(
                f"the file ends while its only {_name(direction)} still carries current: whether "
                "that had come to its end cannot be told"
            )
        if last:
            findings.append(
                f"incomplete: the file ends within a {_name(direction)}: at "
                f"{abs(series.voltage_V[-1]):.4g} V and {abs(series.current_A[-1]):.3g} A it had "
                "not come to where those before it ended"
            )
    return Cut(first, last, tuple(findings))


class Hiding(NamedTuple):
    """Gaps of the log that may hide a half cycle: array of bool, shape (n - 1,), and findings."""

    gaps: BoolArray
    findings: tuple[str, ...]


def hiding_gaps(series: Series, intervals: Intervals) -> Hiding:
    """Return the gaps with the same direction on both sides in which another may have run.

    Where the voltage after it lies behind that before it, or where it lasts as long as a half cycle
    of the other direction, what flowed is not bounded by the currents on its sides.
    """
    least_A = rest_A(intervals.charge_As, intervals.dt_s)
    halves = large(half_rows(intervals.charge_As, series.current_A, least_A))
    gaps = np.zeros_like(series.gap)
    for k in np.flatnonzero(series.gap).tolist():
        direction = _direction(series.current_A[k], least_A)
        if direction == 0 or direction != _direction(series.current_A[k + 1], least_A):
            continue
        moved_V = direction * float(series.voltage_V[k + 1] - series.voltage_V[k])
        lasting_s = [
            float(series.t_s[half.last] - series.t_s[half.start])
            for half in halves
            if half.direction == -direction
        ]
        lasts = bool(lasting_s) and intervals.dt_s[k] >= float(np.median(lasting_s))
        gaps[k] = moved_V < -BEHIND_V or lasts
    resting = _resting_gaps(series, least_A)
    findings = []
    if gaps.any():
        findings.append(
            f"gap: {int(gaps.sum())} of them (first: after row {_row_of(series, gaps)}) may hide a "
            "whole half cycle of the other direction: the efficiency of its cycle is not stated"
        )
    if resting.any():
        findings.append(
            f"gap: {int(resting.sum())} of the log in a rest (first: after row "
            f"{_row_of(series, resting)}), after which the voltage stands elsewhere: a half cycle "
            "may be missing, the efficiency of its cycle is not stated"
        )
    return Hiding(gaps | resting, tuple(findings))


def _row_of(series: Series, gaps: BoolArray) -> int:
    """Return the row after which the first gap lies."""
    return int(series.row[int(np.flatnonzero(gaps)[0])])


def _resting_gaps(series: Series, least_A: float) -> BoolArray:
    """Return the gaps between two readings at rest over which the voltage moved too far."""
    dt_s = np.diff(series.t_s)
    rests = np.abs(series.current_A) <= least_A
    known = series.voltage_V[np.isfinite(series.voltage_V)]
    if dt_s.size < 2 or not known.size:
        return np.zeros(dt_s.size, dtype=np.bool_)
    moved_V = np.abs(np.diff(series.voltage_V))
    beside_s = np.maximum(np.append(0.0, dt_s[:-1]), np.append(dt_s[1:], 0.0))
    gaps: BoolArray = rests[1:] & rests[:-1] & ~series.broken
    gaps &= dt_s > np.maximum(REST_GAP_S, _REST_GAP_LONGER * beside_s)
    gaps &= moved_V > _REST_GAP_SHARE * float(np.ptp(known))
    return gaps


def _direction(current_A: float, least_A: float) -> int:
    return int(np.sign(current_A)) if abs(current_A) > least_A else 0


def _name(direction: int) -> str:
    return "charge" if direction > 0 else "discharge"


def _misses_charge(halves: list[Half], direction: int) -> bool:
    """Whether the first half cycle is smaller than the next like it, or a charge than what it gave.

    A new cell's first charge also begins at another voltage than those after a discharge, yet it
    takes the more.
    """
    if not halves or halves[0].direction != direction:
        return True  # too small to count as a half cycle
    first, others = halves[0], halves[1:]
    like = [half.charge_As for half in others if half.direction == direction]
    given = [half.charge_As for half in others[:1] if direction > 0]
    return any(first.charge_As < charge_As for charge_As in like[:1] + given)


def _begins_late(series: Series, halves: list[Half], direction: int, least_A: float) -> bool:
    """Whether the first reading lies beyond those with which the other half cycles begin."""
    first_A = abs(float(series.current_A[1]))
    begins_V = []
    for half in halves:
        rows = np.arange(half.start, half.last)
        rows = rows[direction * series.current_A[rows] > least_A]
        if half.direction != direction or half.start == 0 or rows.size < 2:
            continue
        ratio = abs(float(series.current_A[rows[1]])) / first_A if first_A > 0.0 else 0.0
        if 1.0 / SAME_CURRENT_FACTOR <= ratio <= SAME_CURRENT_FACTOR:
            begins_V.append(direction * float(series.voltage_V[rows[0]]))
    usual_V, scatter_V = _usual(np.array(begins_V))
    beyond_V = direction * float(series.voltage_V[0]) - usual_V
    return beyond_V > BEGIN_WITHIN_V + _SCATTERS * scatter_V


def _leaps(series: Series, halves: list[Half], direction: int, least_A: float) -> bool:
    """Whether the first half cycle's voltage leaps where its current begins, as others' does.

    A current that begins moves the voltage fast at first and then slower and slower, in every cell
    and at any charge; one that is logged from its midst on does not. True where nothing tells.
    """
    begins = [_carrying(series, half, least_A) for half in large(halves)]
    like = [
        rows for half, rows in zip(large(halves), begins, strict=True) if rows.size > _BEGIN_ROWS
    ]
    if not like or like[0][0] != 0 or direction * series.current_A[like[0][1]] <= least_A:
        return True
    first, others = like[0], [rows for rows in like[1:] if _alike(series, like[0], rows)]
    others = others[:_FEW_BEGINS]
    if len(others) < _FEWEST_BEGINS:
        return True
    steps_s = np.concatenate([np.diff(series.t_s[rows[:_BEGIN_ROWS]]) for rows in (first, *others)])
    window_s = _WINDOW_STEPS * float(np.max(steps_s))
    usual_V = min(direction * _leap_V(series, rows, window_s) for rows in others)
    least_V = LEAP_V + _LEAP_STEPS * quantum(series.voltage_V[np.isfinite(series.voltage_V)])
    if not usual_V >= least_V:
        return True
    return not direction * _leap_V(series, first, window_s) < LEAP_SHARE * usual_V


def _carrying(series: Series, half: Half, least_A: float) -> IntArray:
    """Return the rows of a half cycle that carry its current."""
    rows = np.arange(half.start, half.last + 1)
    carrying: IntArray = rows[half.direction * series.current_A[rows] > least_A]
    return carrying


def _alike(series: Series, first: IntArray, rows: IntArray) -> bool:
    """Whether two half cycles begin with currents of one direction and within a factor."""
    ratio = float(series.current_A[rows[1]] / series.current_A[first[1]])
    return 1.0 / SAME_CURRENT_FACTOR <= ratio <= SAME_CURRENT_FACTOR


def _leap_V(series: Series, rows: IntArray, window_s: float) -> float:
    """Return by how much more the voltage moves in a first window of time than in the next (V)."""
    since_s = series.t_s[rows] - series.t_s[rows[0]]
    at_V = np.interp([0.0, window_s, 2.0 * window_s], since_s, series.voltage_V[rows])
    return float(2.0 * at_V[1] - at_V[0] - at_V[2]) if since_s[-1] >= 2.0 * window_s else np.nan


def _ends_early(series: Series, before: list[Half], cut: Half, least_A: float) -> bool:
    """Whether the last reading lies short of where the half cycles before it ended."""
    direction = before[0].direction
    ends = [_end_row(series, half, least_A) for half in before]
    charges_As = np.array([half.charge_As for half in before])
    if cut.direction == direction and cut.last == series.t_s.size - 1:
        apart_As = np.abs(charges_As - cut.charge_As)
        if np.all(apart_As <= SAME_CHARGE_WITHIN * cut.charge_As):
            return False
    # The reading that came to the limit may already carry nothing; a rest's goes back from it.
    ends_V = direction * series.voltage_V[ends]
    ends_V = np.fmax(ends_V, direction * series.voltage_V[np.array(ends) + 1])
    usual_V, scatter_V = _usual(ends_V)
    short_V = min(usual_V, float(ends_V[-1])) - direction * float(series.voltage_V[-1])
    if short_V > LIMIT_WITHIN_V + _SCATTERS * scatter_V:
        return True
    ends_A = np.abs(series.current_A[ends])
    largest_A = max(float(np.median(ends_A)), float(ends_A[-1]))
    return bool(series.held[-1]) and abs(series.current_A[-1]) > HOLD_OVER_WITHIN * largest_A


def _end_row(series: Series, half: Half, least_A: float) -> int:
    """Return the last reading of a half cycle that carries its current."""
    rows = np.flatnonzero(
        half.direction * series.current_A[half.start + 1 : half.last + 1] > least_A
    )
    return half.start + 1 + int(rows[-1]) if rows.size else half.last


def _usual(values_V: FloatArray) -> tuple[float, float]:
    """Return the median and the scatter of what is a number; of nothing NaN, which compares no."""
    known_V = values_V[np.isfinite(values_V)]
    if not known_V.size:
        return np.nan, np.nan
    middle_V = float(np.median(known_V))
    return middle_V, _MAD * float(np.median(np.abs(known_V - middle_V)))
