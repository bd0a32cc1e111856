"""What is wrong with a logged series, found before any figure is taken from it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from controller.domain.cell import CellFormat
from controller.estimation.clock import clock_slips
from controller.estimation.counters import counted
from controller.estimation.intervals import BoolArray, Intervals
from controller.estimation.table import FloatArray, Table

_SECONDS_PER_HOUR: Final = 3600.0
# Currents below this share of the largest count as rest. Assumed, 0.1-1 %.
REST_SHARE: Final = 2e-3
# A reversal counts as a new half cycle once this share of the half cycle before has flowed back.
REVERSAL_SHARE: Final = 0.05
# ... and this share of the largest excursion of charge in the file. Both assumed.
REVERSAL_OF_LARGEST: Final = 2e-4
# ... or this share, where a cycle column that never counts says there is one cycle. Assumed.
REVERSAL_AGAINST_COLUMN: Final = 0.2
# A half cycle longer than this cannot be meant (s): 2000 h, C/2000. Assumed.
LONGEST_HALF_CYCLE_S: Final = 2000.0 * 3600.0
# Cell voltages beyond this are not in V. Assumed; stacks of more than 10 cells are not read.
LARGEST_VOLTAGE_V: Final = 50.0
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
    row : array of int, shape (n,)
        Row in the file.
    t_s, current_A, voltage_V : array, shape (n,)
    same_step, broken, held, slipped, gap : array of bool, shape (n - 1,)
        Interval within one step; across a time reset; at a held voltage; in which the clock
        moved, told from the regular readings and set right; in which nothing was logged.
    unobserved_As : array, shape (n - 1,)
        Half width of charge that flowed while time was not known (A s).
    cycle : array or None, shape (n,)
        As in the file.
    counted_charge_As, counted_discharge_As : array or None, shape (n - 1,)
        What the cycler's counters added, magnitudes; NaN where they tell nothing.
    counter_resolution_Ah, time_resolution_s, current_resolution_A : float
    findings : tuple of str
    """

    row: FloatArray
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
    counted_charge_As: FloatArray | None
    counted_discharge_As: FloatArray | None
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
    t_s, broken, words = _mended_time(table.t_s[usable], table, usable)
    findings += words
    current_A = table.current_A[usable]
    voltage_V = np.where(has_voltage, table.voltage_V, np.nan)[usable]
    if table.step is not None:
        step = table.step[usable]
        same_step = (step[1:] == step[:-1]) & ~broken
    else:
        same_step = ~broken
    t_s, slipped, words = _unslipped(t_s, same_step, table)
    findings += words
    dt_s = np.diff(t_s)
    typical_s = float(np.median(dt_s[dt_s > 0.0])) if np.any(dt_s > 0.0) else 0.0
    unobserved_As = np.where(
        broken, typical_s * np.maximum(np.abs(current_A[1:]), np.abs(current_A[:-1])), 0.0
    )
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
        row=np.flatnonzero(usable).astype(np.float64) + table.first_row,
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
        counted_charge_As=None if counters is None else counters.charge_As,
        counted_discharge_As=None if counters is None else counters.discharge_As,
        counter_resolution_Ah=0.0 if counters is None else counters.resolution_Ah,
        time_resolution_s=table.time_resolution_s,
        current_resolution_A=table.current_resolution_A,
        findings=tuple(findings),
    )


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


def _mended_time(
    t_s: FloatArray, table: Table, usable: BoolArray
) -> tuple[FloatArray, BoolArray, list[str]]:
    """Return times that never fall, where the series is broken, and what was found.

    A single row whose time fell back while the next goes on from where it was is set to the time
    before it: it lies between its neighbours. After any other fall the series goes on from there
    with the time that passed unknown.
    """
    mended = t_s.copy()
    rows = np.flatnonzero(usable) + table.first_row
    falls = np.flatnonzero(np.diff(t_s) < 0.0) + 1
    single: list[int] = []
    lasting: list[int] = []
    for k in falls.tolist():
        if k + 1 < t_s.size and t_s[k + 1] >= t_s[k - 1]:
            mended[k] = t_s[k - 1]
            single.append(int(rows[k]))
        else:
            lasting.append(k)
    broken = np.zeros(max(t_s.size - 1, 0), dtype=np.bool_)
    for k in lasting:
        mended[k:] += mended[k - 1] - mended[k]
        broken[k - 1] = True
    words = []
    if falls.size:
        first = single[0] if single else int(rows[lasting[0]])
        how = []
        if single:
            how.append(f"{len(single)} single rows, set between their neighbours")
        if lasting:
            how.append(f"{len(lasting)} lasting, the time that passed is unknown")
        times = "1 time" if falls.size == 1 else f"{falls.size} times"
        words.append(
            f"time-reset: time goes backwards {times} (first: row {first}): " + "; ".join(how)
        )
    return mended, broken, words


def _unslipped(
    t_s: FloatArray, same_step: BoolArray, table: Table
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
    first = table.row(slips[0].row)
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


def orient_li_cu(series: Series) -> tuple[Series, str]:
    """Turn a Li||Cu series so that plating on Cu is charge; say how it was told.

    Stripping ends at its cut-off, far from 0 V; plating stays close to it. So the side of 0 V with
    the larger excursion is stripping, and the sign of the current there is that of stripping.
    """
    flows = np.abs(series.current_A) > REST_SHARE * float(np.max(np.abs(series.current_A)))
    voltage_V = np.where(flows & np.isfinite(series.voltage_V), series.voltage_V, 0.0)
    up_V, down_V = float(np.max(voltage_V)), -float(np.min(voltage_V))
    if max(up_V, down_V) >= 2.0 * min(up_V, down_V) and max(up_V, down_V) > 0.1:
        strips_up = up_V > down_V
        told = f"stripping is where the voltage reaches {up_V if strips_up else -down_V:.2f} V"
    else:
        strips_up = True
        told = "no cut-off to be seen: Cu against Li assumed, so plating is at V < 0"
    side = voltage_V > 0.0 if strips_up else voltage_V < 0.0
    strip_A = float(np.sum(np.where(side, series.current_A, 0.0)))
    sign = -1.0 if strip_A > 0.0 else 1.0
    turned = replace(
        series,
        current_A=sign * series.current_A,
        voltage_V=-series.voltage_V if strips_up else series.voltage_V,
        counted_charge_As=(series.counted_discharge_As if sign < 0.0 else series.counted_charge_As),
        counted_discharge_As=(
            series.counted_charge_As if sign < 0.0 else series.counted_discharge_As
        ),
    )
    direction = "negative" if sign < 0.0 else "positive"
    return turned, f"Li||Cu: plating is the {direction} current of the file ({told})"


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
    if cycle[0] == cycle[-1]:
        told = _cycles_from_current(series, intervals, REVERSAL_AGAINST_COLUMN)
        if told.size and told[-1] > 1.0:
            words = (
                f"the cycle column holds {cycle[0]:g} throughout while the current reverses: "
                "cycles were told from the sign of the current"
            )
            return told, [words]
    return cycle[1:], []


def _cycles_from_current(
    series: Series, intervals: Intervals, of_largest: float = REVERSAL_OF_LARGEST
) -> FloatArray:
    """Return cycle numbers from the turning points of the charge: each begins with a charge.

    A reversal counts only once enough has flowed back, so that pulses make no cycles.
    """
    total_As = np.concatenate(([0.0], np.cumsum(intervals.charge_As)))
    span_As = float(np.max(total_As) - np.min(total_As)) if total_As.size else 0.0
    least_As = of_largest * span_As
    starts: list[int] = []
    direction = 0
    discharged = False
    extreme_at = 0
    turned_As = 0.0
    for k, value_As in enumerate(total_As.tolist()):
        extreme_As = float(total_As[extreme_at])
        if direction * (value_As - extreme_As) > 0.0:
            extreme_at = k
            continue
        back_As = abs(value_As - extreme_As)
        half_As = abs(extreme_As - turned_As)
        if back_As > max(REVERSAL_SHARE * half_As, least_As):
            direction = 1 if value_As > extreme_As else -1
            turned_As = extreme_As
            if direction > 0 and discharged:
                starts.append(extreme_at)
            discharged = discharged or direction < 0
            extreme_at = k
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
    longest_s = _longest_half_cycle_s(intervals)
    if longest_s > LONGEST_HALF_CYCLE_S:
        typical_s = float(np.median(intervals.dt_s[intervals.dt_s > 0.0]))
        charge_Ah = float(np.sum(np.abs(intervals.charge_As))) / _SECONDS_PER_HOUR
        findings.append(
            f"units-implausible: one half cycle would last {longest_s / 3600.0:.0f} h and "
            f"{charge_Ah:.3g} Ah would have flowed at {float(np.max(np.abs(series.current_A))):.3g}"
            f" A; the time is too large, probably by 3600 (a reading every {typical_s:.0f} s would "
            f"be one every {typical_s / 3600.0:.3g} s)"
        )
    return findings


def _longest_half_cycle_s(intervals: Intervals) -> float:
    """Longest time with current in one direction (s)."""
    direction = np.sign(intervals.charge_As)
    if direction.size == 0:
        return 0.0
    run = np.concatenate(([0], np.cumsum(direction[1:] != direction[:-1])))
    lasting_s = np.bincount(run, weights=np.where(direction != 0.0, intervals.dt_s, 0.0))
    return float(np.max(lasting_s))


def sign_findings(
    series: Series,
    intervals: Intervals,
    numbers: FloatArray,
    cell_format: CellFormat | None,
) -> list[str]:
    """Say when the voltage falls while the file says the cell is charged."""
    if cell_format in {CellFormat.LI_LI, CellFormat.LI_CU} or intervals.charge_As.size == 0:
        return []
    if np.nanmin(series.voltage_V) < 0.5:
        return []  # a half or symmetric cell: the voltage's direction proves nothing
    direction = np.sign(intervals.charge_As)
    begins = np.concatenate(
        ([True], (direction[1:] != direction[:-1]) | (numbers[1:] != numbers[:-1]))
    )
    starts = np.flatnonzero(begins)
    with_As = against_As = 0.0
    for start, stop in zip(starts, np.append(starts[1:], direction.size), strict=True):
        if direction[start] == 0.0:
            continue
        # From the second reading on: the first holds the step, not the charge.
        change_V = series.voltage_V[stop] - series.voltage_V[min(start + 1, stop)]
        moved_As = abs(float(np.sum(intervals.charge_As[start:stop])))
        if change_V * direction[start] > 0.0:
            with_As += moved_As
        elif change_V * direction[start] < 0.0:
            against_As += moved_As
    if against_As > 4.0 * with_As:
        words = (
            "sign-implausible: the voltage falls while the current is positive (or rises while it "
            "is negative); positive current should be charge"
        )
        return [words]
    return []


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
                f"{integral_As / _SECONDS_PER_HOUR:.6g} Ah of {name}, the file's counter "
                f"{counted_As / _SECONDS_PER_HOUR:.6g} Ah ({integral_As / counted_As - 1.0:+.1%})"
            )
            largest_A = float(np.max(np.abs(series.current_A)))
            if series.current_resolution_A > 0.02 * largest_A:
                words += (
                    f"; the current is logged in steps of {series.current_resolution_A:g} A, too "
                    f"coarse for {largest_A:g} A"
                )
            findings.append(words)
    return findings
