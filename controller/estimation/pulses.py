"""Resistances from the changes of current in a logged series."""

from __future__ import annotations

from typing import Final

import numpy as np

from controller.domain.figures import Resistance
from controller.estimation.defects import Series
from controller.estimation.intervals import IntArray
from controller.estimation.table import FloatArray

# A change of current counts from this share of the largest current on. Assumed, 2-20 %.
EDGE_SHARE: Final = 0.05
# Readings around an edge are close enough within this (s). Assumed, 1-2 s.
EDGE_WITHIN_S: Final = 1.5
# Current stays within this share during the step. Assumed.
STEADY_WITHIN: Final = 0.02
# Per cycle and kind more than this are summarised by their median.
MOST_SINGLE: Final = 4
# Regular logging at least this fast with at least so many edges is checked for a lag of V on I.
_DYNAMIC_DT_S: Final = 0.05
_DYNAMIC_EDGES: Final = 100
_LAG_WINDOW_S: Final = 0.12
# One-sample slope below this share of the slope summed over the window: V and I out of step.
_OUT_OF_STEP_BELOW: Final = 0.5
# The drift under a pulse is fitted from here on; what is faster counts into the sum (s). Assumed.
_DRIFT_FROM_S: Final = 2.0
_DRIFT_UNTIL_S: Final = 12.0
_DRIFT_READINGS: Final = 10
# Relative standard uncertainty of V / I from the cycler's own gains. Assumed, 0.1-0.5 %.
_RATIO_U: Final = 2e-3
# Times after the edge at which a resistance is taken (s) and how late the reading may be.
_STEPS: Final = ((1.0, 0.6, "step 1 s"), (10.0, 2.0, "step 10 s"))


def step_resistances(series: Series, numbers: FloatArray) -> tuple[list[Resistance], list[str]]:
    """Return resistances from changes of current, and what was refused.

    Parameters
    ----------
    series : Series
    numbers : array, shape (n - 1,)
        Cycle of each interval.

    Returns
    -------
    list of Resistance
        In order of time; many of one kind in a cycle are summarised by their median.
    list of str
        Findings.
    """
    if series.t_s.size < 3 or not np.any(series.current_A):
        return [], []
    edges = _edges(series)
    lagged = _out_of_step(series, edges, numbers)
    if lagged is not None:
        return [lagged[0]], [lagged[1]]
    single: list[Resistance] = []
    for at in edges.tolist():
        single += _of_edge(series, at, int(numbers[at]))
    return _summarised(single), []


def _edges(series: Series) -> IntArray:
    """Return the intervals in which the current stepped."""
    step_A = np.abs(np.diff(series.current_A))
    dt_s = np.diff(series.t_s)
    largest_A = float(np.max(np.abs(series.current_A)))
    chosen = (
        (step_A > EDGE_SHARE * largest_A)
        & (dt_s <= EDGE_WITHIN_S)
        & ~series.broken
        & np.isfinite(np.diff(series.voltage_V))
    )
    return np.flatnonzero(chosen).astype(np.int64)


def _of_edge(series: Series, at: int, cycle: int) -> list[Resistance]:
    """Return what one step of the current gives: first reading, 1 s, 10 s, sum without drift."""
    base = _baseline(series, at)
    before_A = float(series.current_A[at])
    before_V = float(series.voltage_V[base])
    step_A = float(series.current_A[at + 1]) - before_A
    edge_s = float(series.t_s[at])
    stop = _end_of_step(series, at)
    where = _where(before_A, float(series.current_A[at + 1]))
    first_s = float(series.t_s[at + 1]) - edge_s
    first_Ohm = (float(series.voltage_V[at + 1]) - before_V) / step_A
    if not first_Ohm > 0.0:
        return []
    found = [
        Resistance(
            t_s=float(series.t_s[at + 1]),
            cycle=cycle,
            kind=f"first reading, {_duration_words(first_s, series.time_resolution_s)}, {where}",
            value_Ohm=first_Ohm,
            u_Ohm=_RATIO_U * first_Ohm + _noise_V(series, at) / abs(step_A),
        )
    ]
    t_s = series.t_s[at + 1 : stop] - edge_s
    resistance_Ohm = (series.voltage_V[at + 1 : stop] - before_V) / step_A
    for wanted_s, late_s, kind in _STEPS:
        k = int(np.searchsorted(t_s, wanted_s))
        if 0 < k < t_s.size and t_s[k] <= wanted_s + late_s:
            found.append(
                Resistance(
                    t_s=edge_s + float(t_s[k]),
                    cycle=cycle,
                    kind=f"{kind}, {where}",
                    value_Ohm=float(resistance_Ohm[k]),
                    u_Ohm=_RATIO_U * abs(float(resistance_Ohm[k]))
                    + _noise_V(series, at) / abs(step_A),
                )
            )
    if abs(before_A) <= STEADY_WITHIN * abs(step_A):
        found += _without_drift(cycle, edge_s, t_s, resistance_Ohm)
    return found


def _where(before_A: float, after_A: float) -> str:
    """Say which change of current it is."""
    least_A = STEADY_WITHIN * abs(after_A - before_A)
    if abs(before_A) <= least_A:
        return "start of charge" if after_A > 0.0 else "start of discharge"
    if abs(after_A) <= least_A:
        return "end of charge" if before_A > 0.0 else "end of discharge"
    return "change of current"


def _baseline(series: Series, at: int) -> int:
    """Return the row whose voltage belongs to the current before the edge.

    Some cyclers read V after I: the row before the edge then shows the old current and the new
    voltage. When most of the voltage step is already there, the row before that one is taken.
    """
    if at == 0:
        return at
    moved_V = abs(series.voltage_V[at] - series.voltage_V[at - 1])
    still_V = abs(series.voltage_V[at + 1] - series.voltage_V[at])
    same_A = abs(series.current_A[at] - series.current_A[at - 1]) <= STEADY_WITHIN * abs(
        series.current_A[at + 1] - series.current_A[at]
    )
    close = series.t_s[at] - series.t_s[at - 1] <= EDGE_WITHIN_S
    return at - 1 if same_A and close and moved_V > still_V and not series.broken[at - 1] else at


def _end_of_step(series: Series, at: int) -> int:
    """Return the row after the last with the current of the step that begins at row at + 1."""
    step_A = series.current_A[at + 1]
    change_A = abs(step_A - series.current_A[at])
    stop = at + 2
    while (
        stop < series.t_s.size
        and not series.broken[stop - 1]
        and abs(series.current_A[stop] - step_A) <= STEADY_WITHIN * change_A
        and series.t_s[stop] - series.t_s[at] <= _DRIFT_UNTIL_S
    ):
        stop += 1
    return stop


def _without_drift(
    cycle: int, edge_s: float, t_s: FloatArray, resistance_Ohm: FloatArray
) -> list[Resistance]:
    """Return ohmic plus fast polarisation: the slow drift's straight line, taken back to the edge.

    The fast process' time constant is near the logging interval, so that its share and the ohmic
    one cannot be told apart: only their sum is given.
    """
    drift = t_s >= _DRIFT_FROM_S
    if int(np.sum(drift)) < _DRIFT_READINGS:
        return []
    x_s = t_s[drift]
    y_Ohm = resistance_Ohm[drift]
    x_mean, y_mean = float(np.mean(x_s)), float(np.mean(y_Ohm))
    spread = float(np.sum((x_s - x_mean) ** 2))
    slope = float(np.sum((x_s - x_mean) * (y_Ohm - y_mean))) / spread
    sum_Ohm = y_mean - slope * x_mean
    if not sum_Ohm > 0.0:
        return []
    # The true drift is concave: at worst it already rose as fast before the fit as just within it.
    return [
        Resistance(
            t_s=edge_s,
            cycle=cycle,
            kind="sum R0+R1 without drift, split not identifiable",
            value_Ohm=sum_Ohm,
            u_Ohm=_RATIO_U * sum_Ohm + abs(slope) * _DRIFT_FROM_S,
        )
    ]


def _noise_V(series: Series, at: int) -> float:
    """Scatter of the voltage before an edge (V), from up to five readings at one current."""
    start = max(at - 4, 0)
    current_A = series.current_A[start : at + 1]
    same = np.abs(current_A - current_A[-1]) <= STEADY_WITHIN * np.max(np.abs(series.current_A))
    change_V = np.abs(np.diff(series.voltage_V[start : at + 1][same]))
    return float(np.median(change_V)) if change_V.size else 0.0


def _duration_words(duration_s: float, time_resolution_s: float) -> str:
    if duration_s <= 0.0:
        return f"< {time_resolution_s:g} s" if time_resolution_s > 0.0 else "same time"
    if duration_s < 1.0:
        return f"{float(f'{duration_s * 1e3:.1g}'):g} ms"
    return f"{duration_s:.1f} s"


def _summarised(single: list[Resistance]) -> list[Resistance]:
    """Replace many resistances of one kind in one cycle by their median and scatter."""
    groups: dict[tuple[int, str], list[Resistance]] = {}
    for resistance in single:
        groups.setdefault((resistance.cycle, resistance.kind), []).append(resistance)
    out: list[Resistance] = []
    for (cycle, kind), group in groups.items():
        if len(group) <= MOST_SINGLE:
            out += group
            continue
        values = np.array([r.value_Ohm for r in group])
        median = float(np.median(values))
        scatter = 1.4826 * float(np.median(np.abs(values - median)))
        out.append(
            Resistance(
                t_s=float(np.median([r.t_s for r in group])),
                cycle=cycle,
                kind=f"{kind}, median of {len(group)}",
                value_Ohm=median,
                u_Ohm=float(np.hypot(scatter, _RATIO_U * median)),
            )
        )
    return sorted(out, key=lambda r: (r.cycle, r.t_s))


def _out_of_step(
    series: Series, edges: IntArray, numbers: FloatArray
) -> tuple[Resistance, str] | None:
    """Return the sum over a window, with the refusal, when V answers I only readings later.

    The slope of voltage changes k readings after a current change, summed over the window, is what
    the voltage does in all; one reading's share of it means nothing when V lags.
    """
    dt_s = np.diff(series.t_s)
    if edges.size < _DYNAMIC_EDGES:
        return None
    step_s = float(np.median(dt_s))
    regular = np.mean(np.abs(dt_s - step_s) <= 0.01 * step_s) > 0.95
    if not (0.0 < step_s <= _DYNAMIC_DT_S and regular):
        return None
    lags = round(_LAG_WINDOW_S / step_s)
    change_A = np.diff(series.current_A)
    change_V = np.nan_to_num(np.diff(series.voltage_V))
    last = change_A.size - lags
    energy_A2 = float(np.sum(change_A[:last] ** 2))
    slopes = [
        float(np.sum(change_A[:last] * change_V[k : last + k])) / energy_A2 for k in range(lags + 1)
    ]
    sum_Ohm = float(np.sum(slopes))
    if not (sum_Ohm > 0.0 and slopes[0] < _OUT_OF_STEP_BELOW * sum_Ohm):
        return None
    # A second way: the voltage against the current over whole windows, where it moved far.
    window_A = series.current_A[lags:] - series.current_A[:-lags]
    window_V = series.voltage_V[lags:] - series.voltage_V[:-lags]
    far = np.abs(window_A) > EDGE_SHARE * float(np.max(np.abs(series.current_A)))
    other_Ohm = float(np.nanmedian(window_V[far] / window_A[far])) if far.any() else 0.0
    window_ms = 1e3 * lags * step_s
    resistance = Resistance(
        t_s=float(series.t_s[int(edges[0])]),
        cycle=int(numbers[int(edges[0])]),
        kind=f"sum R0+R1, {window_ms:.0f} ms",
        value_Ohm=sum_Ohm,
        u_Ohm=max(abs(sum_Ohm - other_Ohm) / 2.0, _RATIO_U * sum_Ohm),
    )
    return resistance, (
        f"voltage and current were logged out of step: one reading gives {slopes[0] * 1e3:.2g} "
        f"mOhm, {window_ms:.0f} ms together {sum_Ohm * 1e3:.2g} mOhm; no one-reading resistance "
        "is stated"
    )
