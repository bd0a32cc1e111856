"""A current that reads 0, or the wrong way, in a half cycle whose voltage says that it flowed."""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np

from controller.estimation.files.defects import Series
from controller.estimation.files.intervals import BoolArray, Intervals
from controller.estimation.files.signs import stands_low
from controller.estimation.files.turns import rest_A
from controller.estimation.table import FloatArray, quantum

# So many readings without current in the midst of a half cycle, over which the voltage goes on as
# under the current by so much (V), never back by more than the other. At rest it goes back.
# Assumed, 3-5; 5-20 mV; 1-3 mV.
_FEWEST: Final = 3
_GOES_ON_V: Final = 0.01
_NOT_BACK_V: Final = 1e-3
_SAME_CURRENT: Final = 0.1
# A current after a rest whose first so many readings move the voltage against it by so much (V), as
# does the whole of it by this share of the file's span. Assumed, 2-4; 5-10 mV; 0.2-0.5.
_FIRST_READINGS: Final = 3
_AGAINST_V: Final = 5e-3
_AGAINST_SHARE: Final = 0.3
# Voltages logged in coarse steps tell from so many of them on. Assumed, 2-4.
_ROUNDINGS: Final = 3.0


class Lost(NamedTuple):
    """Intervals whose current is not what flowed, array of bool, shape (n - 1,), and findings."""

    intervals: BoolArray
    findings: tuple[str, ...]


def lost_currents(series: Series, intervals: Intervals) -> Lost:
    """Return where the voltage says that another current flowed than was written.

    Not of a cell that stands low, whose voltage may go either way.
    """
    found = np.zeros(intervals.dt_s.size, dtype=np.bool_)
    if not found.size or not np.isfinite(series.voltage_V).any() or stands_low(series.voltage_V):
        return Lost(found, ())
    least_A = rest_A(intervals.charge_As, intervals.dt_s)
    signs = np.where(np.abs(series.current_A) > least_A, np.sign(series.current_A), 0.0)
    runs = list(pairwise([0, *(np.flatnonzero(np.diff(signs)) + 1).tolist(), signs.size]))
    rounded_V = _ROUNDINGS * quantum(series.voltage_V[np.isfinite(series.voltage_V)])
    turned = [run for run in runs if _goes_against(series.voltage_V, signs, run, rounded_V)]
    beside = {row for run in turned for row in run}  # rests, of another half cycle than it seems
    zero = [
        run
        for run in runs
        if not beside.intersection(run) and _reads_0(series, signs, run, rounded_V)
    ]
    findings = []
    for part, words in (
        (zero, "reads 0 while the voltage goes on as before and after"),
        (turned, "has the sign of one that the voltage goes against from its first reading on"),
    ):
        for start, stop in part:
            found[start - 1 : stop] = True
        if part:
            readings = sum(stop - start for start, stop in part)
            findings.append(
                f"current-implausible: for {readings} readings (first: from row "
                f"{int(series.row[part[0][0]])} on) the current {words}; these cycles are left out "
                "of averages"
            )
    return Lost(found, tuple(findings))


def _reads_0(series: Series, signs: FloatArray, run: tuple[int, int], rounded_V: float) -> bool:
    """Whether a current left out of a half cycle is no rest: the voltage does not let go."""
    start, stop = run
    if start == 0 or stop == signs.size or stop - start < _FEWEST or signs[start] != 0.0:
        return False
    before_A, after_A = series.current_A[start - 1], series.current_A[stop]
    if abs(after_A - before_A) > _SAME_CURRENT * max(abs(before_A), abs(after_A)):
        return False
    voltage_V = series.voltage_V
    moved_V = signs[stop] * (voltage_V[start:stop] - voltage_V[start - 1])
    goes_on = moved_V[-1] > max(_GOES_ON_V, rounded_V)
    return bool(goes_on and np.nanmin(np.diff(moved_V, prepend=0.0)) > -_NOT_BACK_V)


def _goes_against(
    voltage_V: FloatArray, signs: FloatArray, run: tuple[int, int], rounded_V: float
) -> bool:
    """Whether a current from a rest on moves the voltage against it, at once and in the end."""
    start, stop = run
    if start == 0 or signs[start] == 0.0 or signs[start - 1] != 0.0:
        return False
    moved_V = signs[start] * (voltage_V[start:stop] - voltage_V[start - 1])
    first_V = moved_V[:_FIRST_READINGS]
    if not np.all(first_V <= 0.0) or not np.min(first_V) < -max(_AGAINST_V, rounded_V):
        return False
    least_V = _AGAINST_SHARE * float(np.ptp(voltage_V[np.isfinite(voltage_V)]))
    return bool(moved_V[-1] - moved_V[0] < -least_V)
