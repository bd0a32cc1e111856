"""Readings pinned at the end of a range: the course goes beyond, the log does not.

A regulated current and a held voltage stand still by intention. So the other quantity must say that
this one moved: a voltage that stands still while the current is constant and was on its way, a
current that stands still while the voltage is held, or while the voltage goes on and comes back.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from controller.estimation.files.defects import HELD_WITHIN_V, Series
from controller.estimation.files.intervals import BoolArray, Intervals
from controller.estimation.files.turns import rest_A
from controller.estimation.table import FloatArray, quantum

# So many readings at exactly the largest or smallest value of the file are pinned there ...
# Assumed, 5-10.
_FEWEST: Final = 5
# ... where so many steps before (and, of a current, after) them moved by so many roundings each.
# Assumed, 2-4; 2-5.
_STEPS: Final = 2
_ROUNDINGS: Final = 2.0
# A voltage would have gone on by this at least (V), and so many roundings, under a current constant
# within this share. Assumed, 5-20 mV; 10-30; 0.1-0.5 %.
_BEYOND_V: Final = 0.01
_BEYOND_ROUNDINGS: Final = 10.0
_CONSTANT_WITHIN: Final = 2e-3
# A current logged in steps of more than this share of it may stand still in a hold. Assumed, 1-5 %.
_FINE_SHARE: Final = 0.02
# A current at a held voltage would have been larger by this share. Assumed, 0.3-1.
_BEYOND_SHARE: Final = 0.5
# One that is not regulated moves by this share in each step, and the voltage goes on by this (V)
# and by this share of what resistance and slope let expect. Assumed, 0.5-2 %; 3-10 mV; 0.2-0.5.
_MOVES_SHARE: Final = 0.01
_HUMP_V: Final = 5e-3
_HUMP_SHARE: Final = 0.25


class Saturated(NamedTuple):
    """Intervals within pinned readings, array of bool, shape (n - 1,), and findings."""

    intervals: BoolArray
    findings: tuple[str, ...]


def saturated_readings(series: Series, intervals: Intervals) -> Saturated:
    """Return where current or voltage is pinned at the end of a range."""
    least_A = rest_A(intervals.charge_As, intervals.dt_s)
    found = np.zeros(intervals.dt_s.size, dtype=np.bool_)
    findings = []
    for name, unit, values, pinned in (
        ("voltage", "V", series.voltage_V, _voltage_pinned),
        ("current", "A", series.current_A, _current_pinned),
    ):
        rounded = quantum(values[np.isfinite(values)])
        runs = [run for run in _runs_at_ends(values) if pinned(series, *run, least_A, rounded)]
        if not runs:
            continue
        for start, stop in runs:
            found[max(start - 1, 0) : stop + 1] = True
        readings = sum(stop - start + 1 for start, stop in runs)
        findings.append(
            f"saturated: {readings} readings of the {name} stand at {values[runs[0][0]]:.6g} "
            f"{unit} (first: from row {int(series.row[runs[0][0]])} on) where its course goes "
            "beyond: the end of a range? These cycles are left out of averages"
        )
    return Saturated(found, tuple(findings))


def _runs_at_ends(values: FloatArray) -> list[tuple[int, int]]:
    """Return first and last row of runs at exactly the largest or the smallest value."""
    known = values[np.isfinite(values)]
    if not known.size or float(np.ptp(known)) == 0.0:
        return []
    out = []
    for end in (float(known.max()), float(known.min())):
        at = np.concatenate(([False], values == end, [False]))
        starts = np.flatnonzero(at[1:] & ~at[:-1])
        stops = np.flatnonzero(at[:-1] & ~at[1:]) - 1
        long = stops - starts + 1 >= _FEWEST
        out += list(zip(starts[long].tolist(), stops[long].tolist(), strict=True))
    return sorted(out)


def _moves_towards(values: FloatArray, rows: slice, end: float, least: float) -> bool:
    """Whether the values move towards `end`, by more than `least` in each step."""
    chosen = values[rows]
    if chosen.size != _STEPS + 1:
        return False
    return bool(np.all(np.diff(chosen) * np.sign(end - chosen[0]) > least))


def _voltage_pinned(
    series: Series, start: int, stop: int, least_A: float, rounded_V: float
) -> bool:
    """Whether a voltage was on its way under a constant current, which then goes on."""
    t_s, current_A, voltage_V = series.t_s, series.current_A, series.voltage_V
    carried_A = abs(float(current_A[start]))
    if carried_A <= least_A or series.current_resolution_A > _FINE_SHARE * carried_A:
        return False
    within_A = _CONSTANT_WITHIN * carried_A + series.current_resolution_A
    changed = np.flatnonzero(np.abs(current_A[start : stop + 1] - current_A[start]) > within_A)
    # A rest or a hold may stand where the current has left off.
    stop = start + int(changed[0]) - 1 if changed.size else stop
    # The step to the first pinned reading may be cut short.
    before = slice(max(start - 1 - _STEPS, 0), start)
    constant = bool(np.all(np.abs(current_A[before] - current_A[start]) <= within_A))
    if stop - start + 1 < _FEWEST or not constant:
        return False
    if not _moves_towards(voltage_V, before, float(voltage_V[start]), _ROUNDINGS * rounded_V):
        return False
    took_s = float(t_s[start - 1] - t_s[before.start])
    if took_s <= 0.0:
        return False
    slope_V_per_s = abs(float(voltage_V[start - 1] - voltage_V[before.start])) / took_s
    beyond_V = slope_V_per_s * float(t_s[stop] - t_s[start])
    return beyond_V > max(_BEYOND_V, _BEYOND_ROUNDINGS * rounded_V)


def _current_pinned(
    series: Series, start: int, stop: int, least_A: float, rounded_A: float
) -> bool:
    """Whether a current stands still while the voltage says that it was larger."""
    if abs(float(series.current_A[start])) <= least_A or stop + _STEPS + 1 >= series.t_s.size:
        return False
    least_step_A = max(_ROUNDINGS * rounded_A, _MOVES_SHARE * abs(float(series.current_A[start])))
    # The step from the last pinned reading may be cut short.
    after = slice(stop + 1, stop + _STEPS + 2)
    leaves = _moves_towards(series.current_A, after, 0.0, least_step_A)
    return leaves and (
        _at_held_voltage(series, start, stop)
        or _goes_on_and_comes_back(series, start, stop, least_step_A)
    )


def _at_held_voltage(series: Series, start: int, stop: int) -> bool:
    """Whether the voltage was held for many of the readings, into the decay after them.

    Under a current that is regulated it comes to its limit at the last of them.
    """
    last = stop + 1 + _STEPS
    moved_V = np.abs(series.voltage_V[start + 1 : stop + 1] - series.voltage_V[stop])
    moving = np.flatnonzero(~(moved_V <= HELD_WITHIN_V))
    start = start + 1 + int(moving[-1]) + 1 if moving.size else start + 1
    if stop - start + 1 < _FEWEST:
        return False
    held_V = series.voltage_V[start : last + 1]
    took_s = float(series.t_s[last] - series.t_s[stop + 1])
    if not float(np.ptp(held_V)) <= HELD_WITHIN_V or took_s <= 0.0:
        return False
    fell_A = abs(float(series.current_A[stop + 1] - series.current_A[last]))
    beyond_A = fell_A / took_s * float(series.t_s[stop] - series.t_s[start])
    return beyond_A > _BEYOND_SHARE * abs(float(series.current_A[stop]))


def _goes_on_and_comes_back(series: Series, start: int, stop: int, least_step_A: float) -> bool:
    """Whether the voltage has a hump over a flat top of the current that comes and goes by slopes.

    A current that was commanded to be flat has none: its voltage goes one way.
    """
    t_s, current_A, voltage_V = series.t_s, series.current_A, series.voltage_V
    first, last = start - 1 - _STEPS, stop + 1 + _STEPS
    if first < 0 or last >= t_s.size:
        return False
    end_A = float(current_A[start])
    if not _moves_towards(current_A, slice(first, start), end_A, least_step_A):
        return False
    around = [*range(first, start), *range(stop + 1, last + 1)]
    if not np.all(np.isfinite(voltage_V[around])):
        return False
    slope_Ohm = float(np.polyfit(current_A[around], voltage_V[around], 1)[0])
    sides_V = 0.5 * float(voltage_V[start] + voltage_V[stop])
    hump_V = float(np.sign(end_A)) * (float(np.median(voltage_V[start + 1 : stop])) - sides_V)
    took_s = float(t_s[start - 1] - t_s[first])
    rate_A_per_s = abs(float(current_A[start - 1] - current_A[first])) / took_s if took_s else 0.0
    expected_V = slope_Ohm * rate_A_per_s * 0.25 * float(t_s[stop] - t_s[start])
    return hump_V > _HUMP_V and 0.0 < _HUMP_SHARE * expected_V < hump_V
