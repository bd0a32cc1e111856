"""A logged series as the detector of shorts and the diagnosis see it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from controller.domain.cell import CellFormat
from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.diagnosis import Diagnosis, diagnose, shown_by
from controller.estimation.files.defects import Series
from controller.estimation.files.features import Feature, HalfCycle, cycle_features
from controller.estimation.files.intervals import BoolArray, Intervals
from controller.estimation.short_watch import ShortFigures, ShortWatch, close_cycle, observe
from controller.estimation.shorts import ShortEvidence, ShortMemory, follow
from controller.estimation.table import FloatArray

# Below this share of the largest current the cell rests. Assumed, 0.1-1 %.
_REST_SHARE: Final = 2e-3
# A half cycle or rest of fewer readings has no features.
_LEAST_READINGS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleCourse:
    """What one cycle showed.

    Attributes
    ----------
    cycle : int
    figures : ShortFigures
    evidence : ShortEvidence or None
        None without a cell format.
    features : mapping of str to Feature
    """

    cycle: int
    figures: ShortFigures
    evidence: ShortEvidence | None
    features: Mapping[str, Feature]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """Cycles of a file and the diagnosis; `reason` says why there is none."""

    cycles: tuple[CycleCourse, ...] = ()
    diagnosis: Diagnosis | None = None
    reason: str = ""

    @property
    def flagged(self) -> tuple[int, ...]:
        """Cycles in which a soft short is more likely than not."""
        return tuple(c.cycle for c in self.cycles if c.evidence is not None and c.evidence.flagged)


def course_of(
    series: Series,
    intervals: Intervals,
    numbers: FloatArray,
    cell_format: CellFormat | None,
    left_out: Set[int] = frozenset(),
) -> Course:
    """Run the detector over a series and diagnose the cell.

    Parameters
    ----------
    series : Series
    intervals : Intervals
    numbers : array, shape (n - 1,)
        Cycle of each interval.
    cell_format : CellFormat or None
    left_out : set of int
        Cycles that say nothing of how the cell fares: cut short, misread.
    """
    watched = _watched(series, intervals, numbers)
    nominal_Ah = max((max(f.charge_Ah, f.discharge_Ah) for _, f in watched), default=0.0)
    if not watched or nominal_Ah <= 0.0:
        return Course(reason="no charge flows")
    memory = ShortMemory()
    cycles = []
    for number, figures in watched:
        evidence = None
        if cell_format is not None:
            evidence = follow(memory, figures, cell_format, nominal_Ah)
        cycles.append(
            CycleCourse(
                cycle=number,
                figures=figures,
                evidence=evidence,
                features=_features(series, intervals, numbers == number, cell_format),
            )
        )
    if cell_format is None:
        return Course(cycles=tuple(cycles), reason="no cell format given")
    shown = shown_by([figures for _, figures in watched], cell_format, nominal_Ah)
    whole = [one for one, (number, _) in zip(shown, watched, strict=True) if number not in left_out]
    return Course(cycles=tuple(cycles), diagnosis=diagnose(whole, cell_format, nominal_Ah))


def _watched(
    series: Series, intervals: Intervals, numbers: FloatArray
) -> list[tuple[int, ShortFigures]]:
    """Return the detector's figures of each cycle that moved charge."""
    watch = ShortWatch()
    t_s, current_A = series.t_s.tolist(), series.current_A.tolist()
    voltage_V = series.voltage_V.tolist()
    observe(watch, t_s[0], current_A[0], voltage_V[0])
    out = []
    starts = np.flatnonzero(np.diff(numbers, prepend=math.nan) != 0.0).tolist()
    for first, last in zip(starts, [*starts[1:], numbers.size], strict=True):
        for k in range(first + 1, last + 1):
            observe(watch, t_s[k], current_A[k], voltage_V[k])
        charge_As = intervals.charge_As[first:last]
        figures = close_cycle(
            watch,
            charge_Ah=float(charge_As[charge_As > 0.0].sum()) / SECONDS_PER_HOUR,
            discharge_Ah=-float(charge_As[charge_As < 0.0].sum()) / SECONDS_PER_HOUR,
        )
        if figures.charge_Ah > 0.0 or figures.discharge_Ah > 0.0:
            out.append((int(numbers[first]), figures))
    return out


def _features(
    series: Series, intervals: Intervals, inside: BoolArray, cell_format: CellFormat | None
) -> Mapping[str, Feature]:
    """Cut one cycle into its charge, discharge and rests and take their features."""
    rows = np.flatnonzero(inside) + 1
    current_A = series.current_A[rows]
    rest_A = _REST_SHARE * float(np.max(np.abs(series.current_A)))
    kind = np.where(np.abs(current_A) <= rest_A, 0, np.sign(current_A)).astype(int)
    parts: dict[int, HalfCycle] = {}
    rests: dict[int, HalfCycle] = {}
    before = 0
    edges = np.flatnonzero(np.diff(kind, prepend=9)).tolist()
    for first, last in zip(edges, [*edges[1:], rows.size], strict=True):
        part = _half(series, intervals, rows[first:last])
        way = int(kind[first])
        if way == 0:
            if before and part.t_s.size >= _LEAST_READINGS:
                rests[before] = part
        else:
            # a cycle with pulses has several: the one that moves most charge counts
            if part.t_s.size >= _LEAST_READINGS and (
                way not in parts or part.charge_Ah[-1] > parts[way].charge_Ah[-1]
            ):
                parts[way] = part
            before = way
    return cycle_features(parts.get(1), parts.get(-1), rests.get(1), rests.get(-1), cell_format)


def _half(series: Series, intervals: Intervals, at: NDArray[np.intp]) -> HalfCycle:
    """Return one part of a cycle without readings that have no voltage."""
    charge_Ah = np.cumsum(np.abs(intervals.charge_As[at - 1])) / SECONDS_PER_HOUR
    known = np.isfinite(series.voltage_V[at])
    start_s = float(series.t_s[at[0] - 1])
    return HalfCycle(
        t_s=series.t_s[at][known] - start_s,
        current_A=series.current_A[at][known],
        voltage_V=series.voltage_V[at][known],
        charge_Ah=charge_Ah[known],
    )


def in_ranges(numbers: Sequence[int]) -> str:
    """Return cycle numbers in words: "24-28, 45"."""
    words = []
    start = end = None
    for number in [*numbers, None]:
        if end is not None and number == end + 1:
            end = number
            continue
        if start is not None:
            words.append(f"{start}" if start == end else f"{start}-{end}")
        start = end = number
    return ", ".join(words)
