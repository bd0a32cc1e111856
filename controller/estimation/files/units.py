"""Time in another unit than the file states, told from what the file itself holds.

A current that charges a cell in an hour moves its voltage, where it begins, by tens of millivolts
to a volt: resistance times capacity, of whatever cell, size and rate. Time in minutes makes of that
a sixtieth, time in ms a thousand times as much. Other clocks and the cycler's counters tell where
they are in the file.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from controller.estimation.files.defects import Series, unit_findings, usual_half_cycle_s
from controller.estimation.files.intervals import Intervals
from controller.estimation.files.turns import LARGE_SHARE, half_rows, large, rest_A
from controller.estimation.table import FloatArray, quantum

_SECONDS_PER_HOUR: Final = 3600.0
# What a current of 1 C moves the voltage by where it begins (V): cells of 25 mV to 0.9 V were
# measured; beyond these none is known. With times that are whole seconds only where they are
# minutes or hours, less is enough. Assumed, 1-5 mV; 15-40 mV; 5-20 V.
LEAST_AT_1C_V: Final = 2.5e-3
LEAST_AT_1C_WITH_FRACTIONS_V: Final = 0.025
MOST_AT_1C_V: Final = 10.0
# Time is looked at as too short or too long where half cycles last less or more than this (s).
# Assumed, 1-5 h; 5-24 h.
SHORT_S: Final = 2.0 * 3600.0
LONG_S: Final = 10.0 * 3600.0
# A cell that spends this share of its readings below this voltage (V) is a half or symmetric cell:
# how much is plated is anyone's choice. Assumed, 2-10 %; 0.3-1 V.
_LOW_SHARE_PERCENT: Final = 5.0
_LOW_V: Final = 0.5
# A step of the current of this share of what half cycles carry is one; the voltage answers within
# so many readings. Assumed, 0.3-0.7; 2-4.
_EDGE_SHARE: Final = 0.5
_FIRST_READINGS: Final = 3
_FEWEST_EDGES: Final = 2
# Factors between units, told apart within this. Assumed, 10-30 %.
FACTORS: Final = (1000.0, 3600.0, 60.0)
_WITHIN: Final = 0.2
# Two clocks are compared in so many parts of the file.
_PARTS: Final = 20
# Times are whole seconds in another unit where this share of so many are, and fewer than half of
# them are whole tenths. Assumed, 95-99.9 %; 10-50.
_WHOLE_SHARE: Final = 0.99
_VARIOUS: Final = 20


def implausible_units(series: Series, intervals: Intervals) -> list[str]:
    """Say where time, voltage or charge cannot be in the unit the file states."""
    by_limits = unit_findings(series, intervals) or time_findings(series, intervals)
    return [*by_limits, *factor_findings(series, intervals)]


def time_findings(series: Series, intervals: Intervals) -> list[str]:
    """Say when the time is in another unit than s.

    Not where nothing tells: a cell between two foils, or one whose half cycles do not take it
    across 0.5 V both ways, without a second clock.
    """
    words = _by_the_other_clock(series)
    if words:
        return [words]
    half_s = usual_half_cycle_s(series, intervals, LARGE_SHARE)
    if not np.isfinite(half_s):
        return []
    if np.nanpercentile(series.voltage_V, _LOW_SHARE_PERCENT) < _LOW_V:
        return []
    low_V, high_V = _at_1C_V(series, intervals)
    fraction = _whole_seconds_in(series.t_s)
    least_V = LEAST_AT_1C_WITH_FRACTIONS_V if fraction else LEAST_AT_1C_V
    if half_s < SHORT_S and high_V < least_V:
        unit = fraction or "minutes or hours"
        words = (
            f"units-implausible: with charges and discharges of {half_s:.3g} s, a current of 1 C "
            f"would move the voltage by {1e3 * high_V:.2g} mV where it begins, less than in any "
            f"cell; the time is too small, {unit} taken for s?"
        )
        return [words]
    if half_s > LONG_S and low_V > MOST_AT_1C_V:
        words = (
            f"units-implausible: with charges and discharges of {half_s / 3600.0:.3g} h, a current "
            f"of 1 C would move the voltage by {low_V:.2g} V where it begins, more than in any "
            "cell; the time is too large, ms taken for s?"
        )
        return [words]
    return []


def _at_1C_V(series: Series, intervals: Intervals) -> tuple[float, float]:
    """Return what a current of 1 C moves the voltage by where it begins (V), least and most.

    As far as the steps to which the voltage was rounded and the charges of the half cycles tell:
    by the median of these and by the largest. Nothing told: 0 and infinity.
    """
    least_A = rest_A(intervals.charge_As, intervals.dt_s)
    halves = large(half_rows(intervals.charge_As, series.current_A, least_A))
    current_A, voltage_V = series.current_A, series.voltage_V
    carried_A = float(
        np.median([np.max(np.abs(current_A[half.start + 1 : half.last + 1])) for half in halves])
    )
    changes_A = np.abs(np.diff(current_A))
    edges = np.flatnonzero(changes_A > _EDGE_SHARE * carried_A)
    rows = np.minimum(edges[:, None] + np.arange(1, _FIRST_READINGS + 1), voltage_V.size - 1)
    moved_V = np.fmax.reduce(np.abs(voltage_V[rows] - voltage_V[edges][:, None]), axis=1)
    known = np.isfinite(moved_V)
    if np.count_nonzero(known) < _FEWEST_EDGES:
        return 0.0, np.inf
    rounded_V = quantum(voltage_V[np.isfinite(voltage_V)])
    charges_As = [half.charge_As for half in halves]
    per_As = 1.0 / _SECONDS_PER_HOUR / changes_A[edges][known]
    low = float(np.median(np.maximum(moved_V[known] - rounded_V, 0.0) * per_As))
    high = float(np.median((moved_V[known] + rounded_V) * per_As))
    return low * float(np.median(charges_As)), high * max(charges_As)


def factor_of(ratio: float) -> float:
    """Return the factor between units that a ratio comes near to, 1 for none."""
    for factor in FACTORS:
        for one in (factor, 1.0 / factor):
            if abs(ratio / one - 1.0) < _WITHIN:
                return one
    return 1.0


def factor_findings(series: Series, intervals: Intervals) -> list[str]:
    """Say when current times time is what the cycler counted, but for a factor between units."""
    everything = np.ones(intervals.charge_As.size, dtype=np.bool_)
    counted_As = sum(series.counted_As(everything))
    known = np.isfinite(
        intervals.charge_As if series.counted_charge_As is None else series.counted_charge_As
    )
    integral_As = float(np.sum(np.abs(intervals.charge_As[known])))
    if not (counted_As > 0.0 and integral_As > 0.0):
        return []
    factor = factor_of(integral_As / counted_As)
    if factor == 1.0:
        return []
    larger = f"{factor:g} times" if factor > 1.0 else f"a {1.0 / factor:g}th of"
    words = (
        f"units-implausible: current times time is {larger} what the cycler counted: the time, the "
        "current or the counter is in another unit than the file says"
    )
    return [words]


def _by_the_other_clock(series: Series) -> str:
    """Say when the date that stands beside the time goes on at another unit's rate."""
    if series.unix_s is None:
        return ""
    bounds = np.unique(np.linspace(0, series.t_s.size - 1, _PARTS + 1).astype(np.int64))
    unix_s = np.where(np.isfinite(series.unix_s), series.unix_s, np.nan)
    passed_s, dated_s = np.diff(series.t_s[bounds]), np.diff(unix_s[bounds])
    both = (passed_s > 0.0) & (dated_s > 0.0)
    if np.count_nonzero(both) < _FEWEST_EDGES:
        return ""
    ratio = float(np.median(dated_s[both] / passed_s[both]))
    unit = {1e-3: "ms", 60.0: "minutes", 3600.0: "hours"}.get(factor_of(ratio), "another unit")
    if factor_of(ratio) == 1.0:
        return ""
    return (
        f"units-implausible: the file's own date goes on {ratio:.4g} s for each second of its "
        f"time: {unit} taken for s"
    )


def _whole_seconds_in(t_s: FloatArray) -> str:
    """Return the unit in which the times are whole seconds, though they are no whole tenths."""
    times = np.unique(np.abs(t_s - t_s[0]))
    times = times[(times > 0.0) & (times < 1e9)]
    if times.size < _VARIOUS or np.mean(np.abs(10.0 * times - np.round(10.0 * times)) < 1e-6) > 0.5:
        return ""
    for factor, unit, within in ((60.0, "minutes", 0.03), (3600.0, "hours", 0.02)):
        seconds = factor * times
        if np.mean(np.abs(seconds - np.round(seconds)) < within) >= _WHOLE_SHARE:
            return unit
    return ""
