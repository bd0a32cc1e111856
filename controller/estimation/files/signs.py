"""Whether the current's sign can be right: the voltage rises with charge and answers each edge."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from controller.domain.cell import TWO_FOILS, CellFormat
from controller.estimation.files.defects import HELD_WITHIN_V, Series
from controller.estimation.files.intervals import BoolArray, Intervals
from controller.estimation.files.turns import rest_A, turns
from controller.estimation.table import FloatArray

# A cell that spends this share of its readings below this voltage (V) is a half or symmetric cell:
# its voltage's direction proves nothing. Assumed, 2-10 %; 0.3-1 V.
_LOW_SHARE_PERCENT: Final = 5.0
_LOW_V: Final = 0.5
# So many times the charge must have moved the voltage the wrong way. Assumed, 3-10.
_AGAINST: Final = 4.0
# Readings of the other sign in the midst of a half cycle, from so many on, that the voltage does
# not answer by so much (V). Assumed, 3-5; 1-3 mV.
_FEWEST_FLIPPED: Final = 3
_UNANSWERED_V: Final = 1e-3
# Of a current that never changes its sign so much charge flows while the voltage goes each way: it
# was written without sign. Assumed, 0.1-0.3; a swing counts from this share of the span on.
_EACH_WAY: Final = 0.2
_SWING_SHARE: Final = 0.3


class Signs(NamedTuple):
    """What is wrong with the sign of the current.

    Attributes
    ----------
    of_file : tuple of str
        Findings of the whole file.
    of_cycles : tuple of str
        Findings of single cycles.
    cycles : frozenset of int
        These cycles.
    """

    of_file: tuple[str, ...]
    of_cycles: tuple[str, ...]
    cycles: frozenset[int]


def sign_findings(
    series: Series,
    intervals: Intervals,
    numbers: FloatArray,
    cell_format: CellFormat | None,
) -> Signs:
    """Say when the voltage falls while the file says the cell is charged, or never discharges."""
    nothing = Signs((), (), frozenset())
    if intervals.charge_As.size == 0 or not np.any(np.isfinite(series.voltage_V)):
        return nothing
    two_foils = cell_format in TWO_FOILS
    if not two_foils:
        negative = _negative(series, intervals, numbers)
        if negative is not None:
            return negative
    unsigned = _unsigned(series, intervals, two_foils=two_foils)
    if unsigned:
        return Signs((unsigned,), (), frozenset())
    if two_foils or stands_low(series.voltage_V):
        return nothing
    moved = _moved(series, intervals, numbers)
    with_As = sum(one.along_As for one in moved.values())
    against_As = sum(one.against_As for one in moved.values())
    if against_As > _AGAINST * with_As:
        words = (
            "sign-implausible: the voltage falls while the current is positive (or rises while it "
            "is negative); positive current should be charge"
        )
        return Signs((words,), (), frozenset())
    turned = [
        number
        for number, one in moved.items()
        if one.against_As > _AGAINST * one.along_As and one.both_against
    ]
    flipped = _flipped(series, intervals)
    of_cycles = []
    if turned:
        of_cycles.append(
            f"sign-implausible: in cycles {_named(turned)} the voltage falls while the current is "
            "positive (or rises while it is negative); they are left out of averages"
        )
    if flipped:
        rows = sum(stop - start for start, stop in flipped)
        of_cycles.append(
            f"sign-implausible: the current changes its sign for {rows} readings (first: row "
            f"{int(series.row[flipped[0][0]])}) and the voltage does not answer"
        )
    # Where cycles are told from the current, what follows such readings counts as the next one.
    ends = [row for start, stop in flipped for row in (start, min(stop, numbers.size - 1))]
    cycles = {*turned, *(int(numbers[row]) for row in ends)}
    return Signs((), tuple(of_cycles), frozenset(cycles))


def stands_low(voltage_V: FloatArray) -> bool:
    """Whether a cell is a half or symmetric one, whose voltage's direction proves nothing."""
    return bool(np.nanpercentile(voltage_V, _LOW_SHARE_PERCENT) < _LOW_V)


def _negative(series: Series, intervals: Intervals, numbers: FloatArray) -> Signs | None:
    """Say when a cell's voltage is written with its sign turned, with the current's or without.

    With both turned the voltage still rises while the current is positive; yet no cell of one
    plating electrode stands below 0 V.
    """
    voltage_V = series.voltage_V
    if np.nanpercentile(voltage_V, 100.0 - _LOW_SHARE_PERCENT) < -_LOW_V:
        moved = _moved(series, intervals, numbers).values()
        with_As, against_As = sum(m.along_As for m in moved), sum(m.against_As for m in moved)
        both = " and the current's with it" if with_As > _AGAINST * against_As else ""
        words = (
            f"sign-implausible: the voltage is negative (median {np.nanmedian(voltage_V):.4g} V): "
            f"its sign is turned{both}"
        )
        return Signs((words,), (), frozenset())
    if np.nanmedian(voltage_V) < _LOW_V:
        return None
    rows = _turned_readings(voltage_V)
    if not rows.any():
        return None
    # Where cycles are told from the current, what follows such readings counts as the next one.
    touched = rows[1:] | rows[:-1]
    words = (
        f"sign-implausible: {int(rows.sum())} readings have the voltage of those beside them with "
        f"its sign turned (first: row {int(series.row[rows][0])}); the current's may be turned, too"
    )
    return Signs((), (words,), frozenset(int(number) for number in np.unique(numbers[touched])))


def _turned_readings(voltage_V: FloatArray) -> BoolArray:
    """Return readings below 0 V that lie nearer to their neighbours by magnitude than by value.

    A cell driven below 0 V comes there by and by, or is short of a volt when it jumps.
    """
    below = voltage_V < -_LOW_V
    edges = np.flatnonzero(below[1:] != below[:-1])
    turned = np.zeros_like(below)
    bounds = [0, *(edges + 1).tolist(), below.size]
    for start, stop in pairwise(bounds):
        beside = [(k, k + 1) for k in (start - 1, stop - 1) if 0 <= k < below.size - 1]
        turned[start:stop] = below[start] and any(
            abs(voltage_V[a] + voltage_V[b]) < 0.5 * abs(voltage_V[b] - voltage_V[a])
            for a, b in beside
        )
    return turned


def _named(numbers: list[int]) -> str:
    return ", ".join(str(one) for one in numbers[:8]) + (" ..." if len(numbers) > 8 else "")


@dataclass(slots=True)
class _Moved:
    """Charge of a cycle that moved the voltage its own way and against it.

    Attributes
    ----------
    along_As, against_As : float
    charge_against, discharge_against : bool
        Whether either moved it by more than a hold's noise.
    """

    along_As: float = 0.0
    against_As: float = 0.0
    charge_against: bool = False
    discharge_against: bool = False

    @property
    def both_against(self) -> bool:
        return self.charge_against and self.discharge_against


def _moved(series: Series, intervals: Intervals, numbers: FloatArray) -> dict[int, _Moved]:
    """Return by cycle how its charge moved the voltage."""
    direction = np.sign(intervals.charge_As)
    begins = np.concatenate(
        ([True], (direction[1:] != direction[:-1]) | (numbers[1:] != numbers[:-1]))
    )
    starts = np.flatnonzero(begins)
    out: dict[int, _Moved] = {}
    for start, stop in zip(starts, np.append(starts[1:], direction.size), strict=True):
        if direction[start] == 0.0:
            continue
        # From the second reading on: the first holds the step, not the charge.
        change_V = series.voltage_V[stop] - series.voltage_V[min(start + 1, stop)]
        moved_As = abs(float(np.sum(intervals.charge_As[start:stop])))
        one = out.setdefault(int(numbers[start]), _Moved())
        if change_V * direction[start] > 0.0:
            one.along_As += moved_As
        elif change_V * direction[start] < 0.0:
            one.against_As += moved_As
            one.charge_against |= bool(direction[start] > 0.0 and change_V < -HELD_WITHIN_V)
            one.discharge_against |= bool(direction[start] < 0.0 and change_V > HELD_WITHIN_V)
    return out


def _flipped(series: Series, intervals: Intervals) -> list[tuple[int, int]]:
    """Return first and last + 1 row of readings whose sign turned while the voltage went on."""
    least_A = rest_A(intervals.charge_As, intervals.dt_s)
    signs = np.where(np.abs(series.current_A) > least_A, np.sign(series.current_A), 0.0)
    edges = [0, *(np.flatnonzero(signs[1:] != signs[:-1]) + 1).tolist(), signs.size]
    runs = list(pairwise(edges))
    found = []
    for (start, stop), (after, _) in pairwise(runs[1:]):
        sign = signs[start]
        between = sign != 0.0 and signs[start - 1] == -sign and signs[after] == -sign
        if not between or stop - start < _FEWEST_FLIPPED:
            continue
        # Through the edge into it and on to its end a pulse moves the voltage its own way.
        edge_V = sign * (series.voltage_V[start] - series.voltage_V[start - 1])
        moved_V = sign * (series.voltage_V[stop - 1] - series.voltage_V[start - 1])
        if edge_V <= 0.0 and moved_V < -_UNANSWERED_V:
            found.append((start, stop))
    return found


def _unsigned(series: Series, intervals: Intervals, *, two_foils: bool) -> str:
    """Say when the current keeps one sign although the cell is charged and discharged."""
    size_As = np.abs(intervals.charge_As)
    total_As = float(np.sum(size_As))
    one_way = max(
        float(np.sum(size_As[intervals.charge_As > 0.0])),
        float(np.sum(size_As[intervals.charge_As < 0.0])),
    )
    # What noise around 0 A moves is no other direction.
    if total_As <= 0.0 or total_As - one_way > 1e-3 * total_As:
        return ""
    up = _goes_up(series, intervals, two_foils=two_foils)
    up_As = float(np.sum(size_As[up]))
    if min(up_As, total_As - up_As) < _EACH_WAY * total_As:
        return ""
    never = "negative" if np.sum(intervals.charge_As) > 0.0 else "positive"
    seen = "changes its sign" if two_foils else "rises and falls"
    return (
        f"sign-implausible: the current is never {never} although the voltage {seen} while it "
        "flows: written without its sign?"
    )


def _goes_up(series: Series, intervals: Intervals, *, two_foils: bool) -> BoolArray:
    """Whether the voltage is positive (two foils) or on its way up in each interval."""
    voltage_V = series.voltage_V[1:]
    if two_foils:
        positive: BoolArray = voltage_V > 0.0
        return positive
    flows = (intervals.charge_As != 0.0) & np.isfinite(voltage_V)
    rows = np.flatnonzero(flows)
    up = np.zeros(voltage_V.size, dtype=np.bool_)
    if rows.size < 2:
        return up
    # Swings of the voltage while current flows, found like half cycles of charge.
    found = turns(np.diff(voltage_V[rows]), _SWING_SHARE)
    for turn in found:
        up[rows[turn.row] :] = turn.direction > 0
    return up
