"""Resistances from the changes of current in a logged series."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from controller.domain.figures import Resistance
from controller.estimation.files.defects import Series
from controller.estimation.impedance import steps
from controller.estimation.impedance.steps import Steps
from controller.estimation.impedance.words import completed
from controller.estimation.table import FloatArray, quantum

# A change of current counts from this share of the largest current on. Assumed, 2-20 %.
EDGE_SHARE: Final = 0.05
# A file whose currents stay below this has none (A). Assumed, 1e-18 to 1e-14: an electrometer's
# noise.
NO_CURRENT_A: Final = 1e-15
# Per cycle and kind more than this are summarised by their median.
MOST_SINGLE: Final = 4
# Relative standard uncertainty of V / I from the cycler's own gains. Assumed, 0.1-0.5 %.
_RATIO_U: Final = 2e-3
# Negative by more than so many u is no noise. Assumed, 2-4.
_NEGATIVE_BY_U: Final = 3.0
# Rounding, of the difference of two readings.
_OF_TWO_ROUNDED: Final = 0.4082482904638631


class _Found(NamedTuple):
    """A resistance, and what rounded voltages leave open of it (Ohm, standard uncertainty)."""

    resistance: Resistance
    rounded_u_Ohm: float


def step_resistances(
    series: Series, numbers: FloatArray
) -> tuple[list[Resistance], list[str], list[str]]:
    """Return resistances from changes of current, and what was refused.

    The same kernel as in a run (`controller.estimation.impedance.steps`), reading by reading.

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
    list of str
        What the readings around the changes of current could not give.
    """
    largest_A = float(np.max(np.abs(series.current_A), initial=0.0))
    if series.t_s.size < 3 or largest_A == 0.0:
        return [], [], []
    if largest_A < NO_CURRENT_A:
        words = f"the current never exceeds {largest_A:.3g} A: no resistance is told from that"
        return [], [words], []
    finite_V = series.voltage_V[np.isfinite(series.voltage_V)]
    s = Steps(
        min_step_A=EDGE_SHARE * largest_A,
        ratio_u=_RATIO_U,
        floor_u_V=quantum(finite_V) * _OF_TWO_ROUNDED,
    )
    statuses: dict[float, int] = {}
    found = list(_followed(s, series, numbers, statuses))
    single = [one.resistance for one in found]
    if s.out_of_step:
        return single[-1:], [_refusal(s)], []
    return _summarised(found), _negative(single), _missing(list(statuses.values()))


def _followed(
    s: Steps, series: Series, numbers: FloatArray, statuses: dict[float, int]
) -> Iterator[_Found]:
    """Yield what each reading completes; of series out of step only what a window gives.

    `statuses` takes the status of each edge by its time.
    """
    dt_s = np.diff(series.t_s, prepend=series.t_s[0] - 1.0).tolist()
    flags = np.zeros(series.t_s.size, dtype=np.int64)
    flags[1:][series.broken] |= steps.UNKNOWN_BETWEEN
    dt_s = [
        1.0 if flag & steps.UNKNOWN_BETWEEN else one
        for one, flag in zip(dt_s, flags.tolist(), strict=True)
    ]
    rows = zip(
        series.t_s.tolist(),
        dt_s,
        series.current_A.tolist(),
        series.voltage_V.tolist(),
        flags.tolist(),
        numbers[:1].tolist() + numbers.tolist(),
        strict=True,
    )
    cycle = 0
    for t_s, since_s, current_A, voltage_V, flag, number in rows:
        done = steps.observe(s, t_s, since_s, current_A, voltage_V, flag)
        if done:
            statuses[s.of_t_s] = s.status
            for resistance in completed(s, done, cycle, series.time_resolution_s):
                yield _Found(resistance, _rounded_u_Ohm(s))
        cycle = int(number)
    done = steps.finish_edge(s)
    if done and not s.out_of_step:
        for resistance in completed(s, done, cycle, series.time_resolution_s):
            yield _Found(resistance, _rounded_u_Ohm(s))


def _missing(statuses: list[int]) -> list[str]:
    """Say what the readings around the edges could not give, and of how many edges."""
    of_file = ~(steps.CUT_SHORT | steps.OUT_OF_STEP | steps.LAG_UNCHECKED)
    counts = Counter(word for one in statuses for word in steps.status_words(one & of_file))
    return [
        f"{word} ({count} of {len(statuses)} changes of current)"
        for word, count in counts.most_common()
    ]


def _negative(found: list[Resistance]) -> list[str]:
    """Say when resistances are negative by more than their uncertainty."""
    negative = [one for one in found if one.value_Ohm < -_NEGATIVE_BY_U * one.u_Ohm]
    if not negative:
        return []
    first = negative[0]
    words = (
        f"resistance-implausible: {len(negative)} of {len(found)} resistances are negative (first: "
        f"cycle {first.cycle}, {first.value_Ohm:.3g} Ohm): these are none; a sign, a time or a "
        "reading beside them is wrong, or the change was too small to be seen"
    )
    return [words]


def _refusal(s: Steps) -> str:
    window_ms = 1e3 * s.at_s[steps.I_WINDOW]
    one_mOhm = 1e3 * s.one_AV / s.energy_A2
    return (
        f"voltage and current were logged out of step: one reading gives {one_mOhm:.2g} "
        f"mOhm, {window_ms:.0f} ms together {1e3 * s.value_Ohm[steps.I_WINDOW]:.2g} mOhm; no "
        "one-reading resistance is stated"
    )


def _rounded_u_Ohm(s: Steps) -> float:
    """Return what the rounding of two voltages leaves open of the last edge's resistance."""
    return s.floor_u_V / max(abs(s.of_after_A - s.of_before_A), s.min_step_A)


def _summarised(found: list[_Found]) -> list[Resistance]:
    """Replace many resistances of one kind in one cycle by their median and scatter.

    Rounding is no scatter: the same step rounds the same way at every edge.
    """
    groups: dict[tuple[int, str], list[_Found]] = {}
    for one in found:
        groups.setdefault((one.resistance.cycle, one.resistance.kind), []).append(one)
    out: list[Resistance] = []
    for (cycle, kind), of_kind in groups.items():
        group = [one.resistance for one in of_kind]
        rounded_Ohm = float(np.median([one.rounded_u_Ohm for one in of_kind]))
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
                u_Ohm=math.hypot(scatter, _RATIO_U * median, rounded_Ohm),
            )
        )
    return sorted(out, key=lambda r: (r.cycle, r.t_s))
