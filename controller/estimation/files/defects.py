"""What is wrong with a logged series, found before any figure is taken from it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.files.clock import clock_slips
from controller.estimation.files.counters import counted
from controller.estimation.files.disorder import begun_again, order_findings, put_in_order
from controller.estimation.files.intervals import BoolArray, IntArray, Intervals
from controller.estimation.files.overlaps import overlap_findings, overlapping_rows
from controller.estimation.files.repeats import repeat_findings, repeated_rows
from controller.estimation.files.turns import (
    REVERSAL_OF_LARGEST,
    Half,
    end_V,
    half_rows,
    large,
    rest_A,
    turns,
)
from controller.estimation.table import FloatArray, Table

# A reversal counts from this share of the largest excursion on where a cycle column that never
# counts says there is one cycle. Assumed.
REVERSAL_AGAINST_COLUMN: Final = 0.2
# A half cycle longer than this cannot be meant (s): 400 h, C/400. Assumed, 300-2000 h.
LONGEST_HALF_CYCLE_S: Final = 400.0 * SECONDS_PER_HOUR
# ... nor half cycles both ways, shorter than this in the median (s), whose ends lie so far apart
# (V) that they charge and discharge a cell. Assumed, 60-180 s (20-60 C); 0.3-1 V.
SHORTEST_HALF_CYCLE_S: Final = 120.0
CHARGED_SWING_V: Final = 0.5
# Cell voltages beyond this are not in V. Assumed; stacks of more than 10 cells are not read.
LARGEST_VOLTAGE_V: Final = 50.0
# No cell gives readings beyond this; up to this share of them are spikes. Assumed, 60-200 V;
# 0.2-2 %.
NO_CELLS_VOLTAGE_V: Final = 100.0
SPIKES_SHARE: Final = 0.01
# A half cycle of at least this share of its cycle's largest is no test on the way. Assumed,
# 0.3-0.7.
WHOLE_HALF_SHARE: Final = 0.5
# A Li||Cu half cycle that ends farther from 0 V than this came to a cut-off. Assumed, 0.05-0.3 V.
CUT_OFF_SEEN_V: Final = 0.1
# Half cycles with this share of the charge must agree on which current plates. Assumed, 0.7-0.95.
AGREEING_SHARE: Final = 0.8
# A cycle number that changes under one current (within this share), each side of it more than that
# share of what flows, counts late or early. Assumed, 1-5 %; 1-5 %.
SAME_CURRENT: Final = 0.02
MIDST_SHARE: Final = 0.02
# Times that move in steps longer than this are said to (s). Assumed, 1-10 s.
COARSE_TIME_S: Final = 1.0
# Beyond these a number is no measurement: 30,000 years; a million ampere or volt.
LARGEST_TIME_S: Final = 1e12
LARGEST_VALUE: Final = 1e6
# Readings whose voltage moves by less than this while held (V). Assumed: 1-5 mV.
HELD_WITHIN_V: Final = 2e-3
# An interval with current is a gap in the log from this length on (s), and from so many times what
# nearly all of them have, and the three to either side. Assumed, 60-600 s; 3-10; 5-20.
GAP_S: Final = 120.0
GAP_LONGER: Final = 5.0
GAP_APART: Final = 10.0
_GAP_NEIGHBOURS: Final = 3
# Integral and counter further apart than this are said for the file as a whole. Assumed, 1-3 %.
COUNTER_APART: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Series:
    """Rows that can be used, time never falling; charging current positive.

    Attributes
    ----------
    row : array, shape (n,)
        Line in the file.
    element : array of int, shape (n,)
        Where in the table that was read.
    t_s, current_A, voltage_V : array, shape (n,)
    same_step, broken, held, slipped, gap : array of bool, shape (n - 1,)
        Interval within one step; across a time reset; at a held voltage; in which the clock
        moved, told from the regular readings and set right; in which nothing was logged.
    unobserved_As : array, shape (n - 1,)
        Half width of charge that flowed while time was not known (A s).
    cycle : array or None, shape (n,)
        As in the file.
    unix_s : array or None, shape (n,)
        Date beside the time.
    counted_charge_As, counted_discharge_As : array or None, shape (n - 1,)
        What the cycler's counters added, magnitudes; NaN where they tell nothing.
    counter_goes_on : array of bool, shape (n - 1,)
        Whether they go on over the interval from what they showed.
    counter_resolution_Ah, time_resolution_s, current_resolution_A : float
    findings : tuple of str
    """

    row: FloatArray
    element: IntArray
    t_s: FloatArray
    current_A: FloatArray
    voltage_V: FloatArray
    same_step: BoolArray
    broken: BoolArray
    held: BoolArray
    slipped: BoolArray
    gap: BoolArray
    unobserved_As: FloatArray
    cycle: FloatArray | None
    unix_s: FloatArray | None
    counted_charge_As: FloatArray | None
    counted_discharge_As: FloatArray | None
    counter_goes_on: BoolArray
    counter_resolution_Ah: float
    time_resolution_s: float
    current_resolution_A: float
    findings: tuple[str, ...]

    @property
    def has_counters(self) -> bool:
        """Whether the cycler's own counters are in the file and count anything."""
        return self.counted_charge_As is not None

    def counted_As(self, chosen: BoolArray) -> tuple[float, float]:
        """Return charge and discharge by the cycler's counters in `chosen` intervals (A s)."""
        if self.counted_charge_As is None or self.counted_discharge_As is None:
            return 0.0, 0.0
        return (
            float(np.nansum(self.counted_charge_As[chosen])),
            float(np.nansum(self.counted_discharge_As[chosen])),
        )


def prepare(table: Table) -> Series:
    """Drop rows that hold no number, mend the time, say what was found."""
    findings = list(table.findings)
    if table.time_quantum_s > COARSE_TIME_S:
        findings.append(
            f"time-quantum: time moves in steps of {table.time_quantum_s:g} s, so that edges are "
            "not known better; write it with more digits (float64), or from the start of the test"
        )
    read_V, words = _without_spikes(table)
    findings += words
    # Comparisons with NaN are false: neither a missing nor an absurd value is usable.
    usable = (np.abs(table.t_s) < LARGEST_TIME_S) & (np.abs(table.current_A) < LARGEST_VALUE)
    has_voltage = np.abs(table.voltage_V) < LARGEST_VALUE
    bad = ~(usable & has_voltage)
    if bad.any():
        first = table.row(int(np.flatnonzero(bad)[0]))
        findings.append(
            f"rows without a usable number for time, current or voltage: {int(bad.sum())} (first: "
            f"row {first}); those without time or current were left out"
        )
    usable_rows = np.flatnonzero(usable)
    twice, block = repeated_rows(
        table.t_s[usable], table.current_A[usable], table.voltage_V[usable]
    )
    findings += repeat_findings(twice, block, table.rows()[usable_rows])
    usable[usable_rows[twice | block]] = False
    ordered = put_in_order(table.t_s[usable], table.current_A[usable])
    rows_before = table.rows()[usable]
    again = overlapping_rows(
        ordered.t_s,
        table.current_A[usable],
        read_V[usable],
        None if table.cycle is None else table.cycle[usable],
    )
    findings += overlap_findings(again, rows_before)
    usable[np.flatnonzero(usable)[again]] = False
    t_s, broken = begun_again(ordered.t_s[~again])
    findings += order_findings(ordered, again, broken, rows_before)
    current_A, voltage_V = table.current_A[usable], read_V[usable]
    if table.step is not None:
        step = table.step[usable]
        same_step = (step[1:] == step[:-1]) & ~broken
    else:
        same_step = ~broken
    t_s, slipped, words = _unslipped(t_s, same_step, table, usable)
    findings += words
    dt_s = np.diff(t_s)
    typical_s = float(np.median(dt_s[dt_s > 0.0])) if np.any(dt_s > 0.0) else 0.0
    around_s = _usual_around(dt_s, broken, typical_s)
    unobserved_As = around_s * np.maximum(np.abs(current_A[1:]), np.abs(current_A[:-1]))
    unobserved_As += ordered.open_As[~again][1:]
    gap = _gaps(dt_s, current_A) & ~broken
    if gap.any():
        first = int(np.flatnonzero(gap)[0])
        row = table.row(int(np.flatnonzero(usable)[first]))
        findings.append(
            f"gap: {int(gap.sum())} of the log (first: {dt_s[first]:.6g} s after row {row}); what "
            "flowed meanwhile is taken for anything from nothing to the larger current"
        )
    counters = counted(table, usable)
    findings += counters.findings if counters is not None else ()
    if dt_s.size and typical_s == 0.0:
        findings.append("time never advances: nothing can be integrated")
    return Series(
        row=table.rows()[usable],
        element=np.flatnonzero(usable),
        t_s=t_s,
        current_A=current_A,
        voltage_V=voltage_V,
        same_step=same_step,
        broken=broken,
        held=_held(current_A, voltage_V, same_step),
        slipped=slipped,
        gap=gap,
        unobserved_As=unobserved_As,
        cycle=None if table.cycle is None else table.cycle[usable],
        unix_s=None if table.unix_s is None else table.unix_s[usable],
        counted_charge_As=None if counters is None else counters.charge_As,
        counted_discharge_As=None if counters is None else counters.discharge_As,
        counter_goes_on=np.zeros_like(broken) if counters is None else counters.goes_on,
        counter_resolution_Ah=0.0 if counters is None else counters.resolution_Ah,
        time_resolution_s=table.time_resolution_s,
        current_resolution_A=table.current_resolution_A,
        findings=tuple(findings),
    )


def _without_spikes(table: Table) -> tuple[FloatArray, list[str]]:
    """Return voltages, NaN where absurd or one of a few that no cell gives; and words of these."""
    usable_V = np.where(np.abs(table.voltage_V) < LARGEST_VALUE, table.voltage_V, np.nan)
    beyond = np.isfinite(table.voltage_V) & (np.abs(table.voltage_V) > NO_CELLS_VOLTAGE_V)
    if not beyond.any() or float(np.mean(beyond)) > SPIKES_SHARE:
        return usable_V, []
    first = int(np.flatnonzero(beyond)[0])
    words = (
        f"voltage-implausible: {int(beyond.sum())} readings beyond {NO_CELLS_VOLTAGE_V:g} V "
        f"(first: row {table.row(first)}, {table.voltage_V[first]:.6g} V): taken as missing"
    )
    return np.where(beyond, np.nan, usable_V), [words]


def _gaps(dt_s: FloatArray, current_A: FloatArray) -> BoolArray:
    """Return which intervals the log leaves out: far longer than it has them, with current."""
    larger_A = np.maximum(np.abs(current_A[1:]), np.abs(current_A[:-1]))
    flows = (dt_s > 0.0) & (larger_A > 0.0)
    if not flows.any():
        return flows
    padded_s = np.pad(dt_s, _GAP_NEIGHBOURS)
    around = np.lib.stride_tricks.sliding_window_view(padded_s, 2 * _GAP_NEIGHBOURS + 1).copy()
    around[:, _GAP_NEIGHBOURS] = 0.0
    usual_s = GAP_LONGER * float(np.percentile(dt_s[flows], 95.0))
    longest_s = np.maximum(GAP_APART * around.max(axis=1), max(GAP_S, usual_s))
    found: BoolArray = flows & (dt_s > longest_s)
    return found


def _usual_around(dt_s: FloatArray, broken: BoolArray, typical_s: float) -> FloatArray:
    """Return for each broken interval the median of those around it (s), 0 for all others.

    A log may be fast in one step and slow in the next: the file's own median says nothing of it.
    """
    out = np.zeros_like(dt_s)
    for k in np.flatnonzero(broken).tolist():
        near_s = dt_s[max(k - _GAP_NEIGHBOURS, 0) : k + _GAP_NEIGHBOURS + 1]
        near_s = near_s[near_s > 0.0]
        out[k] = float(np.median(near_s)) if near_s.size else typical_s
    return out


def _unslipped(
    t_s: FloatArray, same_step: BoolArray, table: Table, usable: BoolArray
) -> tuple[FloatArray, BoolArray, list[str]]:
    """Return times with the slips of the logged clock taken out, where they were, and words.

    Only with step numbers: without them a change of step looks like a slip.
    """
    slipped = np.zeros(same_step.size, dtype=np.bool_)
    if table.step is None:
        return t_s, slipped, []
    starts = [0, *(np.flatnonzero(~same_step) + 1).tolist(), t_s.size]
    slips = clock_slips(t_s, starts, table.time_resolution_s)
    if not slips:
        return t_s, slipped, []
    mended = t_s.copy()
    for row, gained_s in slips:
        mended[row:] -= gained_s
        slipped[row - 1] = True
    first = int(table.rows()[usable][slips[0].row])
    total_s = sum(slip.gained_s for slip in slips)
    words = (
        f"clock-slip: the logged clock moved {len(slips)} times against the regular period of the "
        f"readings (first: near row {first}; {total_s:+.6g} s in all): the period was taken for "
        "the time that passed"
    )
    return mended, slipped, [words]


def _held(current_A: FloatArray, voltage_V: FloatArray, same_step: BoolArray) -> BoolArray:
    """Whether the voltage was held while the current's magnitude fell."""
    steady = np.abs(np.diff(voltage_V)) <= HELD_WITHIN_V
    falling = np.abs(current_A[1:]) < 0.999 * np.abs(current_A[:-1])
    return same_step & steady & falling & (np.abs(current_A[1:]) > 0.0)


class _Vote(NamedTuple):
    """What most of the weight says: 1 or -1, and its share of all weight."""

    winner: float
    share: float


def _vote(cast: list[tuple[float, float]]) -> _Vote:
    """Count what was cast: what each says (its sign) and its weight."""
    in_favour = sum(weight for says, weight in cast if says > 0.0)
    against = sum(weight for says, weight in cast if says < 0.0)
    both = in_favour + against
    winner = 1.0 if in_favour >= against else -1.0
    return _Vote(winner, max(in_favour, against) / both if both > 0.0 else 0.0)


class Orientation(NamedTuple):
    """A Li||Cu series with plating as charge; how that was told, and whether it could be."""

    series: Series
    words: str
    told: bool


def orient_li_cu(series: Series, intervals: Intervals) -> Orientation:
    """Turn a Li||Cu series so that plating on Cu is charge; say how it was told.

    Stripping ends at its cut-off, far from 0 V; plating stays close to it. So of two half cycles
    that follow each other the one whose end lies farther from 0 V is stripping; each such pair has
    a vote of its charge. One pulse or reading decides nothing, nor does whether the limit that
    ended a strip still carried current.
    """
    least_A = rest_A(intervals.charge_As, intervals.dt_s)
    halves = large(half_rows(intervals.charge_As, series.current_A, least_A))
    ends_V = [end_V(half, intervals.charge_As, series.voltage_V) for half in halves]
    strips = list(pairwise(zip(halves, ends_V, strict=True)))
    votes = [_strip_of(before, after) for before, after in strips]
    cast = [vote for vote in votes if vote is not None]
    if cast:
        direction = _vote([(half.direction, weight_As) for half, _, weight_As in cast])
        side = _vote([(math.copysign(1.0, volts), weight_As) for _, volts, weight_As in cast])
        reaches_V = side.winner * float(np.median([abs(volts) for _, volts, _ in cast]))
        told = f"stripping is where the voltage reaches {reaches_V:.2f} V"
    else:
        # Positive voltage is stripping, then: the direction that flows there strips.
        medians_V = [_median_V(series, half) for half in halves]
        direction = _vote(
            [
                (half.direction * math.copysign(1.0, volts), half.charge_As)
                for half, volts in zip(halves, medians_V, strict=True)
                if volts != 0.0 and math.isfinite(volts)
            ]
        )
        side = _Vote(1.0, 1.0)
        told = "no cut-off to be seen: Cu against Li assumed, so plating is at V < 0"
    sign = -1.0 if direction.winner > 0.0 else 1.0
    turned = replace(
        series,
        current_A=sign * series.current_A,
        voltage_V=-series.voltage_V if side.winner > 0.0 else series.voltage_V,
        counted_charge_As=(series.counted_discharge_As if sign < 0.0 else series.counted_charge_As),
        counted_discharge_As=(
            series.counted_charge_As if sign < 0.0 else series.counted_discharge_As
        ),
    )
    plating = "negative" if sign < 0.0 else "positive"
    if min(direction.share, side.share) >= AGREEING_SHARE or not halves:
        return Orientation(
            turned, f"Li||Cu: plating is the {plating} current of the file ({told})", told=True
        )
    return Orientation(
        turned,
        "Li||Cu: which current plates could not be told: the ends of the half cycles contradict "
        f"each other ({direction.share:.0%} of their charge says the {plating} one); no Coulombic "
        "efficiency is stated",
        told=False,
    )


def _strip_of(
    before: tuple[Half, float], after: tuple[Half, float]
) -> tuple[Half, float, float] | None:
    """Return which of two half cycles strips, its end (V) and the charge of the smaller one.

    None where neither comes to a cut-off, or both do.
    """
    strip, plate = (before, after) if abs(before[1]) > abs(after[1]) else (after, before)
    if not (abs(strip[1]) > CUT_OFF_SEEN_V and abs(strip[1]) >= 2.0 * abs(plate[1])):
        return None
    return strip[0], strip[1], min(strip[0].charge_As, plate[0].charge_As)


def _median_V(series: Series, half: Half) -> float:
    """Return the median voltage while a half cycle's current flows; NaN where none was read."""
    values_V = series.voltage_V[half.start + 1 : half.last + 1]
    values_V = values_V[np.isfinite(values_V)]
    return float(np.median(values_V)) if values_V.size else math.nan


def cycle_numbers(series: Series, intervals: Intervals) -> tuple[FloatArray, list[str]]:
    """Return the cycle of each interval: the file's where plausible, else from the reversals."""
    cycle = series.cycle
    if cycle is None:
        return _cycles_from_current(series, intervals), []
    if not np.all(np.isfinite(cycle)):
        return _cycles_from_current(series, intervals), [
            "the cycle column has gaps: cycles were told from the sign of the current"
        ]
    if np.any(cycle != np.round(cycle)):
        value = float(cycle[cycle != np.round(cycle)][0])
        words = f"cycle-count-not-integer: the cycle column holds {value:.6g}"
        if abs(value / (2.0 * np.pi) - round(value / (2.0 * np.pi))) < 1e-9:
            words += f" ({round(value / (2.0 * np.pi))} x 2 pi)"
        return _cycles_from_current(series, intervals), [
            words + "; cycles were told from the sign of the current"
        ]
    if np.any((np.diff(cycle) < 0.0) & ~series.broken):
        return _cycles_from_current(series, intervals), [
            "the cycle column runs backwards: cycles were told from the sign of the current"
        ]
    falls = np.flatnonzero(np.diff(cycle) < 0.0) + 1
    # Without charge or without discharge the column counts something else, cells or levels.
    if falls.size and np.any(intervals.charge_As > 0.0) and np.any(intervals.charge_As < 0.0):
        words = (
            f"the cycle column begins again at {cycle[falls[0]]:g} after {cycle[falls[0] - 1]:g}, "
            f"where time begins again, too (first: row {int(series.row[falls[0]])}): its numbers "
            "were counted on from there"
        )
        return _counted_on(cycle, falls)[1:], [words]
    if cycle[0] == cycle[-1]:
        told = _cycles_from_current(series, intervals, REVERSAL_AGAINST_COLUMN)
        if told.size and told[-1] > 1.0:
            words = (
                f"the cycle column holds {cycle[0]:g} throughout while the current reverses: "
                "cycles were told from the sign of the current"
            )
            return told, [words]
    within = _changes_within(series, intervals, cycle)
    changes = int(np.count_nonzero(np.diff(cycle)))
    told = _cycles_from_current(series, intervals) if 2 * within.size > changes else cycle[:0]
    # A column with other numbers than cycles counts something else: hours, runs.
    if told.size and told[-1] > 1.0 and abs(told[-1] - 1.0 - changes) <= 1.0:
        words = (
            f"the cycle column counts in the midst of half cycles (first: row "
            f"{int(series.row[within[0]])}): cycles were told from the sign of the current"
        )
        return told, [words]
    return cycle[1:], []


def _changes_within(series: Series, intervals: Intervals, cycle: FloatArray) -> IntArray:
    """Return the rows at which the number changes under a current that goes on as it was."""
    before_A, after_A = series.current_A[:-1], series.current_A[1:]
    larger_A = np.maximum(np.abs(before_A), np.abs(after_A))
    goes_on = series.same_step & (np.abs(after_A - before_A) <= SAME_CURRENT * larger_A)
    goes_on &= larger_A > rest_A(intervals.charge_As, intervals.dt_s)
    rows = np.flatnonzero(goes_on & (np.diff(cycle) != 0.0)) + 1
    part = np.concatenate(([0], np.cumsum(~goes_on)))
    flowed_As = np.concatenate(([0.0], np.cumsum(np.abs(intervals.charge_As))))
    first = np.searchsorted(part, part[rows], side="left")
    last = np.searchsorted(part, part[rows], side="right") - 1
    least_As = MIDST_SHARE * (flowed_As[last] - flowed_As[first])
    amid = np.minimum(flowed_As[rows - 1] - flowed_As[first], flowed_As[last] - flowed_As[rows])
    found: IntArray = rows[amid > least_As].astype(np.int64)
    return found


def _counted_on(cycle: FloatArray, falls: IntArray) -> FloatArray:
    """Return cycle numbers that go on after each fall with the number after the last one."""
    out = cycle.copy()
    for row in falls.tolist():
        out[row:] += out[row - 1] + 1.0 - out[row]
    return out


def several_cycles(
    series: Series, intervals: Intervals, numbers: FloatArray
) -> tuple[frozenset[int], list[str]]:
    """Return the cycle numbers under which more than one charge and discharge stand, and words."""
    if numbers.size == 0 or numbers[0] == numbers[-1]:
        return frozenset(), []  # one number for the whole file: `cycle_numbers` has asked already
    halves = half_rows(
        intervals.charge_As, series.current_A, rest_A(intervals.charge_As, intervals.dt_s)
    )
    by_number: dict[int, list[Half]] = {}
    for half in halves:
        by_number.setdefault(int(numbers[half.last - 1]), []).append(half)
    found = []
    for number, inside in by_number.items():
        directions = [half.direction for half in large(inside, WHOLE_HALF_SHARE)]
        if min(directions.count(1), directions.count(-1)) > 1:
            found.append(number)
    if not found:
        return frozenset(), []
    named = ", ".join(str(number) for number in found[:8]) + (" ..." if len(found) > 8 else "")
    words = (
        f"several-cycles: more than one charge and discharge stand under one cycle number ({named})"
        ": the figures are of all of them together and are left out of averages"
    )
    return frozenset(found), [words]


def _cycles_from_current(
    series: Series, intervals: Intervals, of_largest: float = REVERSAL_OF_LARGEST
) -> FloatArray:
    """Return cycle numbers from the turning points of the charge: each begins with a charge.

    A reversal counts only once enough has flowed back, so that pulses make no cycles.
    """
    starts: list[int] = []
    discharged = False
    for turn in turns(intervals.charge_As, of_largest):
        if turn.direction > 0 and discharged:
            starts.append(turn.row)
        discharged = discharged or turn.direction < 0
    numbers = np.ones(max(series.t_s.size - 1, 0))
    for start in starts:
        numbers[start:] += 1.0
    return numbers


def unit_findings(series: Series, intervals: Intervals) -> list[str]:
    """Say where time, voltage or charge cannot be in the unit the file states."""
    findings = []
    finite_V = series.voltage_V[np.isfinite(series.voltage_V)]
    if finite_V.size and float(np.median(np.abs(finite_V))) > LARGEST_VOLTAGE_V:
        findings.append(
            f"units-implausible: the voltage is {float(np.median(finite_V)):.6g} V; mV taken for V?"
        )
    beyond = np.abs(finite_V) > NO_CELLS_VOLTAGE_V
    if not findings and finite_V.size and float(np.mean(beyond)) > SPIKES_SHARE:
        findings.append(
            f"units-implausible: {int(beyond.sum())} readings lie beyond {NO_CELLS_VOLTAGE_V:g} V; "
            "mV taken for V?"
        )
    shortest_s = usual_half_cycle_s(series, intervals)
    if shortest_s < SHORTEST_HALF_CYCLE_S:
        findings.append(
            f"units-implausible: charges and discharges of {shortest_s:.3g} s would take the cell "
            "from one end of its voltage to the other; the time is too small, minutes or hours "
            "taken for s?"
        )
    longest_s = _longest_half_cycle_s(intervals)
    if longest_s > LONGEST_HALF_CYCLE_S:
        typical_s = float(np.median(intervals.dt_s[intervals.dt_s > 0.0]))
        # Loggers read every whole number of seconds: hours as s, or s as ms.
        whole = [f for f in (3600.0, 1000.0) if abs(typical_s / f - round(typical_s / f)) < 1e-6]
        factor = whole[0] if whole else 3600.0
        charge_Ah = float(np.sum(np.abs(intervals.charge_As))) / SECONDS_PER_HOUR
        findings.append(
            "units-implausible: one half cycle would last "
            f"{longest_s / SECONDS_PER_HOUR:.0f} h and {charge_Ah:.3g} Ah would have flowed at "
            f"{float(np.max(np.abs(series.current_A))):.3g}"
            f" A; the time is too large, probably by {factor:g} (a reading every {typical_s:.0f} s "
            f"would be one every {typical_s / factor:.3g} s)"
        )
    return findings


def usual_half_cycle_s(
    series: Series, intervals: Intervals, share: float = WHOLE_HALF_SHARE
) -> float:
    """Median time (s) of half cycles that charge and discharge a cell; infinite without any.

    Of those of at least `share` of the largest one's charge.
    """
    least_A = rest_A(intervals.charge_As, intervals.dt_s)
    halves = large(half_rows(intervals.charge_As, series.current_A, least_A), share)
    ends_V = {
        direction: [series.voltage_V[half.last] for half in halves if half.direction == direction]
        for direction in (1, -1)
    }
    if not (ends_V[1] and ends_V[-1]):
        return math.inf
    swing_V = abs(float(np.median(ends_V[1]) - np.median(ends_V[-1])))
    if not swing_V >= CHARGED_SWING_V:
        return math.inf
    carries = np.abs(series.current_A[1:]) > least_A
    return float(
        np.median(
            [
                np.sum(intervals.dt_s[half.start : half.last][carries[half.start : half.last]])
                for half in halves
            ]
        )
    )


def _longest_half_cycle_s(intervals: Intervals) -> float:
    """Longest time with current in one direction (s)."""
    direction = np.sign(intervals.charge_As)
    if direction.size == 0:
        return 0.0
    run = np.concatenate(([0], np.cumsum(direction[1:] != direction[:-1])))
    lasting_s = np.bincount(run, weights=np.where(direction != 0.0, intervals.dt_s, 0.0))
    return float(np.max(lasting_s))


def counter_findings(series: Series, intervals: Intervals) -> list[str]:
    """Say when current times time is not what the cycler counted."""
    if not series.has_counters:
        return []
    everything = np.ones(intervals.charge_As.size, dtype=np.bool_)
    findings = []
    for name, counted_As, integral_As in zip(
        ("charge", "discharge"),
        series.counted_As(everything),
        (
            float(np.sum(intervals.charge_As[intervals.charge_As > 0.0])),
            -float(np.sum(intervals.charge_As[intervals.charge_As < 0.0])),
        ),
        strict=True,
    ):
        if counted_As > 0.0 and abs(integral_As / counted_As - 1.0) > COUNTER_APART:
            words = (
                f"counter-mismatch: current integrated over time gives "
                f"{integral_As / SECONDS_PER_HOUR:.6g} Ah of {name}, the file's counter "
                f"{counted_As / SECONDS_PER_HOUR:.6g} Ah ({integral_As / counted_As - 1.0:+.1%})"
            )
            largest_A = float(np.max(np.abs(series.current_A)))
            if series.current_resolution_A > 0.02 * largest_A:
                words += (
                    f"; the current is logged in steps of {series.current_resolution_A:g} A, too "
                    f"coarse for {largest_A:g} A"
                )
            findings.append(words)
    return findings
