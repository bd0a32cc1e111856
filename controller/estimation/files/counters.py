"""A cycler's own charge counters: what they added per interval, and where they tell nothing."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.files.intervals import BoolArray
from controller.estimation.table import FloatArray, Table, resolution

# Beyond this a counter shows no charge (Ah).
LARGEST_AH: Final = 1e6
# Without step numbers a current that moves by more than this share is another step. Assumed,
# 0.1-0.3.
_SAME_CURRENT: Final = 0.2
# A counter that falls began again where it shows no more than this share of what it showed ...
# Assumed, 0.01-0.1.
_BEGINS_BELOW: Final = 0.05
# ... or than the larger current could bring since, times this. Assumed, 1.1-2.
_BEGINS_WITHIN: Final = 1.5
# A reading is off its neighbours by more than this part of what the current brings from one to the
# next (assumed, 0.3-0.7), and than this share of it, which may be noise (assumed, 1e-5 to 1e-3).
_ODD_BY: Final = 0.5
_ODD_SHARE: Final = 1e-4


class Counted(NamedTuple):
    """What the counters added in each interval between usable rows.

    Attributes
    ----------
    charge_As, discharge_As : array, shape (n - 1,)
        Magnitudes (A s), NaN where the counter tells nothing of the interval.
    goes_on : array of bool, shape (n - 1,)
        Whether every counter goes on from what it showed: it was not begun anew, so that it knows
        what flowed whatever the clock did.
    resolution_Ah : float
    findings : tuple of str
    """

    charge_As: FloatArray
    discharge_As: FloatArray
    goes_on: BoolArray
    resolution_Ah: float
    findings: tuple[str, ...]


def counter_increments(
    counter_Ah: FloatArray, together: BoolArray, most_Ah: FloatArray
) -> FloatArray:
    """Return what a counter added in each interval (Ah), over its new beginnings; NaN: not known.

    Parameters
    ----------
    counter_Ah : array, shape (n,)
        Magnitudes, NaN where the counter shows nothing.
    together : array of bool, shape (n - 1,)
        Interval within one step.
    most_Ah : array, shape (n - 1,)
        What the larger current of its ends could bring in an interval.

    Notes
    -----
    Over missing readings the last one stands: the next holds what flowed meanwhile. A single
    reading off its neighbours within a step is none. A counter that falls close to 0 began again,
    at the change of step if there is one; what it shows then has flowed since, what flowed between
    its last reading and that change it never told. After any other fall it counts again from where
    it had been.
    """
    c_Ah = np.where(_odd(counter_Ah, together, most_Ah), np.nan, counter_Ah)
    added_Ah = np.zeros(max(c_Ah.size - 1, 0))
    known = np.flatnonzero(np.isfinite(c_Ah))
    if not known.size:
        return np.full_like(added_Ah, np.nan)
    added_Ah[: known[0]] = np.nan
    added_Ah[known[-1] :] = np.nan
    before, after = known[:-1], known[1:]
    brought_Ah = np.concatenate(([0.0], np.cumsum(most_Ah)))
    near_Ah = np.maximum(
        _BEGINS_BELOW * c_Ah[before], _BEGINS_WITHIN * (brought_Ah[after] - brought_Ah[before])
    )
    anew = (c_Ah[after] < c_Ah[before]) & (c_Ah[after] <= near_Ah)
    for part in np.split(known, np.flatnonzero(anew) + 1):
        added_Ah[part[1:] - 1] = np.diff(np.maximum.accumulate(c_Ah[part]))
    for i, j in zip(before[anew].tolist(), after[anew].tolist(), strict=True):
        steps = np.flatnonzero(~together[i:j])
        if steps.size:
            added_Ah[j - 1] = c_Ah[j]
            added_Ah[i : i + steps[0]] = np.nan
        else:
            added_Ah[i:j] = np.nan
    return added_Ah


def _odd(counter_Ah: FloatArray, together: BoolArray, most_Ah: FloatArray) -> BoolArray:
    """Return which readings lie far outside both their neighbours within one step."""
    odd = np.zeros(counter_Ah.size, dtype=np.bool_)
    if counter_Ah.size > 2:
        left, here, right = counter_Ah[:-2], counter_Ah[1:-1], counter_Ah[2:]
        far_Ah = np.maximum(_ODD_BY * most_Ah[1:], _ODD_SHARE * right)
        outside = (here < left - far_Ah) | (here > right + far_Ah)
        odd[1:-1] = together[:-1] & together[1:] & (left <= right) & outside
    return odd


def counted(table: Table, usable: BoolArray) -> Counted | None:
    """Return what the cycler's counters added between usable rows; None where there are none.

    Rows without a current are read too: the counter may go on where the current is missing.
    """
    current_A = _carried(np.where(usable, table.current_A, np.nan))
    dt_s = np.maximum(np.diff(_carried(np.where(usable, table.t_s, np.nan))), 0.0)
    larger_A = np.maximum(np.abs(current_A[1:]), np.abs(current_A[:-1]))
    most_Ah = larger_A * dt_s / SECONDS_PER_HOUR
    together = _together(current_A, table.step)
    if table.charging_Ah is not None and table.discharging_Ah is not None:
        names = ("charge", "discharge")
        counters = [_plausible(table.charging_Ah), _plausible(np.abs(table.discharging_Ah))]
        added = [counter_increments(c_Ah, together, most_Ah) for c_Ah in counters]
    elif table.step_capacity_Ah is not None:
        names = ("step", "")
        counters = [_plausible(np.abs(table.step_capacity_Ah))]
        both_Ah = counter_increments(counters[0], together, most_Ah)
        positive = current_A[1:] + current_A[:-1] >= 0.0
        unknown = np.isnan(both_Ah)
        added = [
            np.where(positive | unknown, both_Ah, 0.0),
            np.where(positive & ~unknown, 0.0, both_Ah),
        ]
    else:
        return None
    if sum(float(np.nansum(one)) for one in added) <= 0.0:
        return None
    findings = [
        words
        for name, c_Ah in zip(names, counters, strict=False)
        for words in _findings(name, c_Ah, together, most_Ah, table)
    ]
    between = [SECONDS_PER_HOUR * _between(one, usable) for one in added]
    resolution_Ah = max(resolution(c_Ah[usable]) for c_Ah in counters)
    goes_on = _goes_on([c_Ah[usable] for c_Ah in counters])
    return Counted(between[0], between[1], goes_on, resolution_Ah, tuple(findings))


def _goes_on(counters: list[FloatArray]) -> BoolArray:
    """Return where no counter falls and one of them shows charge: at 0 it may have begun anew."""
    shown: BoolArray = np.sum(counters, axis=0)[:-1] > 0.0
    for c_Ah in counters:
        shown &= np.diff(c_Ah) >= 0.0
    return shown


def _plausible(counter_Ah: FloatArray) -> FloatArray:
    return np.where(np.abs(counter_Ah) < LARGEST_AH, counter_Ah, np.nan)


def _carried(values: FloatArray) -> FloatArray:
    """Return `values` with the last known one in place of NaN; 0 before the first."""
    at = np.maximum.accumulate(np.where(np.isfinite(values), np.arange(values.size), -1))
    carried: FloatArray = np.where(at >= 0, values[np.maximum(at, 0)], 0.0)
    return carried


def _together(current_A: FloatArray, step: FloatArray | None) -> BoolArray:
    """Return which intervals lie within one step, by number or else by a current that stays."""
    before_A, after_A = current_A[:-1], current_A[1:]
    if step is None:
        larger_A = np.maximum(np.abs(before_A), np.abs(after_A))
        same = np.abs(after_A - before_A) <= _SAME_CURRENT * larger_A
    else:
        same = step[1:] == step[:-1]
    together: BoolArray = same & (np.sign(before_A) == np.sign(after_A))
    return together


def _between(added_Ah: FloatArray, usable: BoolArray) -> FloatArray:
    """Return the sums between usable rows, NaN where any part is."""
    if usable.all():
        return added_Ah
    rows = np.flatnonzero(usable)
    total = np.concatenate(([0.0], np.cumsum(np.nan_to_num(added_Ah))))[rows]
    unknown = np.concatenate(([0], np.cumsum(np.isnan(added_Ah))))[rows]
    return np.where(np.diff(unknown) > 0, np.nan, np.diff(total))


def _findings(
    name: str, counter_Ah: FloatArray, together: BoolArray, most_Ah: FloatArray, table: Table
) -> list[str]:
    odd = _odd(counter_Ah, together, most_Ah) | np.isnan(counter_Ah)
    if not odd.any():
        return []
    first = table.row(int(np.flatnonzero(odd)[0]))
    words = (
        f"counter-readings: {int(odd.sum())} of the file's {name} counter are missing, absurd or "
        f"far off both their neighbours (first: row {first}) and were not used"
    )
    return [words]
