"""Columns that hold one quantity more than once: in two units, under two names.

Which of them is right cannot be known where they differ, so a file that contradicts itself is
refused. Columns that are alike but not the same (a mean beside a reading, one electrode beside the
cell) may differ: of these it is said which one was taken.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np

from controller.domain.errors import refuse
from controller.domain.sample import NAN
from controller.estimation.table import FloatArray, resolution

# Beyond rounding, two columns are the same within this share of the largest value: what float32
# keeps. Assumed, 1e-7 to 1e-5.
_SAME_WITHIN: Final = 1e-6
# Columns that are alike differ where half the readings do by more than this share of the largest.
# Assumed, 0.2-2 %.
_ALIKE_WITHIN: Final = 0.01


# Fewer values than this say nothing about how they were rounded.
_VARIOUS: Final = 20
# Rows looked at for the number of decimals.
_ROWS_FOR_DECIMALS: Final = 500


class Values(NamedTuple):
    """A column.

    Attributes
    ----------
    name : str
        In the file.
    values : array
        In SI.
    step : float
        Step to which they were rounded (SI); 0 where none shows.
    """

    name: str
    values: FloatArray
    step: float


def values_of(name: str, read: FloatArray, scale: float, written: float = NAN) -> Values:
    """Return a column in SI with the step of what is `written`, or else of what the numbers show.

    A constant may be round by intention: few values show nothing.

    Parameters
    ----------
    name : str
    read : array
        As in the file.
    scale : float
    written : float
        Last decimal in the file; NaN where it does not show.
    """
    if math.isnan(written):
        written = resolution(read) if np.unique(read).size >= _VARIOUS else 0.0
    return Values(name, scale * read, scale * written)


def written_step(lines: list[str], at: int, separator: str = ",", point: str = ".") -> float:
    """Return the last decimal written in a column, from rows all over the file; NaN if scientific.

    Trailing zeros count: they are there because the writer kept a fixed number of decimals.
    """
    decimals = 0
    for line in lines[:: max(1, len(lines) // _ROWS_FOR_DECIMALS)]:
        cells = line.split(separator)
        cell = cells[at] if at < len(cells) else ""
        if "e" in cell or "E" in cell:
            return NAN
        decimals = max(decimals, len(cell.rpartition(point)[2]) if point in cell else 0)
    return 10.0**-decimals


def finer_of_same(
    source: str, taken: Values, other: Values, row_of: Callable[[int], int]
) -> Values:
    """Return that of two columns of one quantity which is written finer.

    Raises
    ------
    ConfigurationError
        They differ by more than rounding explains; names the first row.
    """
    largest = float(np.max(np.abs(taken.values), initial=0.0, where=np.isfinite(taken.values)))
    slack = 0.51 * (taken.step + other.step) + _SAME_WITHIN * largest
    # Comparisons with NaN are false: what is missing in one contradicts nothing.
    with np.errstate(invalid="ignore"):  # infinite in both
        differ = np.abs(taken.values - other.values) > slack
    if differ.any():
        first = int(np.flatnonzero(differ)[0])
        problem = (
            f"differs from {taken.name!r} in {int(differ.sum())} rows (first: row "
            f"{row_of(first)}: {other.values[first]:.6g} and {taken.values[first]:.6g} in SI)"
        )
        remedy = "both hold one quantity: leave out the one that is wrong"
        raise refuse(source, f"column {other.name!r}", problem, remedy)
    finer = 0.0 < other.step < taken.step or (taken.step > 0.0 and other.step == 0.0)
    complete = bool(np.isfinite(other.values[np.isfinite(taken.values)]).all())
    return other if finer and complete else taken


def said_of_alike(taken: Values, other: Values) -> list[str]:
    """Return what to say of a column that was not taken and is another than the one that was."""
    both = np.isfinite(taken.values) & np.isfinite(other.values)
    if not both.any():
        return []
    apart = np.abs(taken.values[both] - other.values[both])
    usual = float(np.median(apart))
    if not usual > _ALIKE_WITHIN * float(np.max(np.abs(taken.values[both]))):
        return []
    words = f"two columns: {taken.name!r} was taken, {other.name!r} was not; they differ by "
    return [f"{words}{usual:.3g} in the median"]
