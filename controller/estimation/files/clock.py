"""Slips of a logged clock, told from readings that a step takes at a regular period.

A cycler takes its periodic readings by its own oscillator, while some files log the date of the
computer beside it, which is set right now and then. Where the readings of a step stand exactly one
period apart, and from one of them on all stand a second earlier than that, it is the clock that
moved: the period tells what time had really passed.
"""

from __future__ import annotations

import itertools
from typing import Final, NamedTuple

import numpy as np

from controller.estimation.table import FloatArray

# A period is told from a step of at least this many readings ...
_FEWEST_READINGS: Final = 12
# ... of which at least this many follow one another regularly for each slip. Both assumed.
_REGULAR_PER_SLIP: Final = 10
# Period in units of the time resolution, at least; a shorter one shows rounding, no slips. Assumed.
_LEAST_PERIOD: Final = 10
# Largest slip looked for, in units of the time resolution. Assumed: a clock that is set every few
# minutes to hours moves by seconds.
_LARGEST_SLIP: Final = 3


class Slip(NamedTuple):
    """Between `row` - 1 and `row` the clock gained `gained_s` (s) against the period."""

    row: int
    gained_s: float


def clock_slips(t_s: FloatArray, starts: list[int], resolution_s: float) -> list[Slip]:
    """Return where a clock moved against the regular period of the readings.

    Parameters
    ----------
    t_s : array, shape (n,)
        Times (s), not falling.
    starts : list of int
        First row of each step, and n.
    resolution_s : float
        Step to which the times were rounded (s); 0 where none shows: no slip is told then.
    """
    if not resolution_s > 0.0:
        return []
    ticks = np.round(t_s / resolution_s).astype(np.int64)
    slips: list[Slip] = []
    for start, stop in itertools.pairwise(starts):
        if stop - start >= _FEWEST_READINGS:
            slips += [
                Slip(start + row, gained * resolution_s)
                for row, gained in _slips_of_step(ticks[start:stop].tolist())
            ]
    return slips


def _slips_of_step(ticks: list[int]) -> list[tuple[int, int]]:
    """Follow the periodic readings of one step; rows and ticks gained where they shift for good.

    Readings taken between the periodic ones (a change of voltage or temperature) do not matter.
    """
    gaps, counts = np.unique(np.diff(ticks), return_counts=True)
    period = int(gaps[int(np.argmax(counts))])
    if period < _LEAST_PERIOD:
        return []
    row_of = {tick: row for row, tick in enumerate(ticks)}
    last = ticks[-1]
    at = ticks[0]
    regular = 0
    slips: list[tuple[int, int]] = []
    while at + period <= last:
        wanted = at + period
        if wanted in row_of:
            at = wanted
            regular += 1
            continue
        shifted = [
            wanted + gained
            for gained in range(-_LARGEST_SLIP, _LARGEST_SLIP + 1)
            if wanted + gained in row_of and _goes_on(wanted + gained, period, last, row_of)
        ]
        if len(shifted) != 1:
            if last - wanted < 2 * period:
                break  # too near the end of the step to tell
            return []
        slips.append((_widest_gap(ticks, row_of[at], row_of[shifted[0]]), shifted[0] - wanted))
        at = shifted[0]
    return slips if regular >= _REGULAR_PER_SLIP * len(slips) else []


def _goes_on(tick: int, period: int, last: int, row_of: dict[int, int]) -> bool:
    """Whether regular readings follow one at `tick`: two, or one where the step then ends."""
    second = tick + 2 * period
    return tick + period in row_of and (second in row_of or second > last)


def _widest_gap(ticks: list[int], start: int, stop: int) -> int:
    """Return the row after the longest gap: there a correction leaves the order of rows alone."""
    return max(range(start + 1, stop + 1), key=lambda row: ticks[row] - ticks[row - 1])
