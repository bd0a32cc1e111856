"""Rows that stand in a file twice: overlapping exports, a file appended to itself."""

from __future__ import annotations

from typing import Final

import numpy as np

from controller.estimation.files.intervals import BoolArray
from controller.estimation.table import FloatArray

# A block is repeated from this many rows on that hold so many pairs of current and voltage; fewer
# may be alike by chance (a cell at rest after a clock began again). Assumed, 3-10.
_FEWEST_ROWS: Final = 5
_FEWEST_VALUES: Final = 3
# Single rows that repeat the one before are no logger's own from this share on: some write the
# reading that ends a step twice. Assumed, 10-40 %.
_WRITTEN_TWICE: Final = 0.2


def repeated_rows(
    t_s: FloatArray, current_A: FloatArray, voltage_V: FloatArray
) -> tuple[BoolArray, BoolArray]:
    """Return which rows repeat the one before exactly, and which belong to a repeated block.

    The former only where many do.

    Parameters
    ----------
    t_s, current_A, voltage_V : array, shape (n,)
    """
    if t_s.size == 0:
        return np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.bool_)
    rows = np.column_stack((t_s, current_A, voltage_V)) + 0.0  # one zero, not two
    twice = np.zeros(t_s.size, dtype=np.bool_)
    if not np.any(np.diff(t_s) > 0.0):
        return twice, twice.copy()  # a clock that stands is another defect
    twice[1:] = np.all(rows[1:] == rows[:-1], axis=1)
    block = np.zeros(t_s.size, dtype=np.bool_)
    if int(twice.sum()) < _WRITTEN_TWICE * twice.size:
        twice[:] = False
    if not np.any(np.diff(t_s) < 0.0):
        return twice, block
    kept = np.flatnonzero(~twice)
    keys = np.ascontiguousarray(rows[kept]).view(np.dtype((np.void, rows.itemsize * 3))).ravel()
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    earlier = first[inverse.ravel()]
    again = earlier < np.arange(kept.size)
    goes_on = again[1:] & again[:-1] & (np.diff(earlier) == 1)
    starts = np.flatnonzero(again & ~np.concatenate(([False], goes_on)))
    stops = np.flatnonzero(again & ~np.concatenate((goes_on, [False]))) + 1
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        values = np.unique(rows[kept[start:stop], 1:], axis=0)
        if stop - start >= _FEWEST_ROWS and values.shape[0] >= _FEWEST_VALUES:
            block[kept[start] : kept[stop - 1] + 1] = True
    return twice, block


def repeat_findings(twice: BoolArray, block: BoolArray, row: FloatArray) -> list[str]:
    """Say how many rows were left out because they stand in the file before; `row` in the file."""
    findings = []
    if block.any():
        first = int(row[block][0])
        findings.append(
            f"repeated-rows: {int(block.sum())} rows (first: row {first}) repeat time, current and "
            "voltage of a block before them exactly: they were left out"
        )
    single = twice & ~block
    if single.any():
        first = int(row[single][0])
        findings.append(
            f"repeated-rows: {int(single.sum())} rows (first: row {first}) repeat the row before "
            "them exactly: they were left out"
        )
    return findings
