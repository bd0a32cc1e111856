"""Rows whose time fell: single ones, blocks that ran ahead or back, and clocks that began again."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from controller.estimation.files.intervals import BoolArray
from controller.estimation.table import FloatArray

# A block that ran ahead or back has no more rows than this. Assumed, 10-50.
MOST_ROWS: Final = 20
# Rows looked at to either side of a block for the usual interval. Assumed, 3-10.
_NEIGHBOURS: Final = 5
# Moved to its place, a block leaves so many usual intervals at its two ends together; rows whose
# own times say nothing fill between these shares of what as many rows take. Assumed, 2-4; 0.3-0.7;
# 1.5-3.
_ENDS_AT_MOST: Final = 3.0
_ROOM_AT_LEAST: Final = 0.5
_ROOM_AT_MOST: Final = 2.0


class Ordered(NamedTuple):
    """Times with rows put back between their neighbours.

    Attributes
    ----------
    t_s : array, shape (n,)
        They may still fall: where the clock began again.
    open_As : array, shape (n,)
        Half width of the charge that the mending leaves open before each row (A s).
    single : tuple of int
        Rows that were out of time alone.
    blocks : tuple of (int, int)
        First and last + 1 row of blocks that were.
    """

    t_s: FloatArray
    open_As: FloatArray
    single: tuple[int, ...]
    blocks: tuple[tuple[int, int], ...]


def put_in_order(t_s: FloatArray, current_A: FloatArray) -> Ordered:
    """Return times in which rows that were out of time for a while stand between their neighbours.

    A single row whose time fell back while the next goes on from where it was is set to the time
    before it. So is one whose time ran ahead while the next goes on from before it. A block of rows
    between two jumps that cancel is moved as a whole.
    """
    mended = t_s.copy()
    open_As = np.zeros_like(t_s)
    single: list[int] = []
    blocks: list[tuple[int, int]] = []
    for k in (np.flatnonzero(np.diff(t_s) < 0.0) + 1).tolist():
        if mended[k] >= mended[k - 1]:
            continue  # mended together with the rows before it
        if k + 1 < t_s.size and mended[k + 1] >= mended[k - 1]:
            mended[k] = mended[k - 1]
            single.append(k)
        elif k > 1 and mended[k] >= mended[k - 2]:
            mended[k - 1] = mended[k - 2]
            single.append(k - 1)
        else:
            block = _block_at(mended, k)
            if block is not None:
                blocks.append(block)
                open_As[block[1]] = _moved(mended, block, current_A)
    return Ordered(mended, open_As, tuple(single), tuple(blocks))


def _block_at(t_s: FloatArray, k: int) -> tuple[int, int] | None:
    """Return the block of rows that ran ahead until the fall at row `k`, or fell back there."""
    since, until = max(k - 1 - MOST_ROWS, 0), min(k + MOST_ROWS + 1, t_s.size)
    steps_s = np.diff(t_s[since:k])
    found = [(since + int(np.argmax(steps_s)) + 1, k)] if steps_s.size else []
    steps_s = np.diff(t_s[k:until])
    if steps_s.size:
        found.append((k, k + int(np.argmax(steps_s)) + 1))
    for fits in (_fits_as_it_is, _fits_spread):
        for start, stop in found:
            if start > 0 and 1 < stop - start <= MOST_ROWS and fits(t_s, start, stop):
                return start, stop
    return None


def _usual_s(t_s: FloatArray, start: int, stop: int) -> float:
    """Return the usual interval around a block (s), 0 where there is none."""
    before_s = np.diff(t_s[max(start - _NEIGHBOURS, 0) : start])
    around_s = np.concatenate((before_s, np.diff(t_s[stop : stop + _NEIGHBOURS])))
    around_s = around_s[around_s > 0.0]
    return float(np.median(around_s)) if around_s.size else 0.0


def _fits_as_it_is(t_s: FloatArray, start: int, stop: int) -> bool:
    """Whether a block moved as a whole lies between its neighbours, and close to both."""
    goes_on = bool(np.all(np.diff(t_s[start:stop]) >= 0.0))
    return goes_on and 0.0 < _ends_s(t_s, start, stop) <= _ENDS_AT_MOST * _usual_s(t_s, start, stop)


def _fits_spread(t_s: FloatArray, start: int, stop: int) -> bool:
    """Whether its neighbours leave a block, none of whose times lies between, as long as it is."""
    before_s, after_s = float(t_s[start - 1]), float(t_s[stop])
    between = (t_s[start:stop] >= before_s) & (t_s[start:stop] <= after_s)
    takes_s = (stop - start + 1) * _usual_s(t_s, start, stop)
    least_s, most_s = _ROOM_AT_LEAST * takes_s, _ROOM_AT_MOST * takes_s
    return takes_s > 0.0 and not between.any() and least_s <= after_s - before_s <= most_s


def _ends_s(t_s: FloatArray, start: int, stop: int) -> float:
    """Return what a block, moved as a whole, leaves before and after it together (s)."""
    return float((t_s[stop] - t_s[start - 1]) - (t_s[stop - 1] - t_s[start]))


def _moved(t_s: FloatArray, block: tuple[int, int], current_A: FloatArray) -> float:
    """Move a block between its neighbours; return the charge that this leaves open (A s).

    The time that passed is known, where in it a current changed is not.
    """
    start, stop = block
    span_s = float(t_s[stop] - t_s[start - 1])
    open_s = _ends_s(t_s, start, stop)
    if open_s > 0.0:
        t_s[start:stop] += t_s[start - 1] + 0.5 * open_s - t_s[start]
        before_A = 0.5 * (current_A[start - 1] + current_A[start])
        after_A = 0.5 * (current_A[stop - 1] + current_A[stop])
        return 0.5 * open_s * abs(float(after_A - before_A))
    t_s[start:stop] = t_s[start - 1] + span_s * np.arange(1, stop - start + 1) / (stop - start + 1)
    return 0.5 * span_s * float(np.ptp(current_A[start - 1 : stop + 1]))


def begun_again(t_s: FloatArray) -> tuple[FloatArray, BoolArray]:
    """Return times that go on over each fall, and over which intervals: what passed is unknown."""
    broken = np.diff(t_s) < 0.0
    offsets_s = np.concatenate(([0.0], np.cumsum(np.where(broken, -np.diff(t_s), 0.0))))
    return t_s + offsets_s, broken


def order_findings(
    ordered: Ordered, left_out: BoolArray, broken: BoolArray, row: FloatArray
) -> list[str]:
    """Say where time went backwards and what was done.

    Parameters
    ----------
    ordered : Ordered
    left_out : array of bool, shape (n,)
        Rows that were left out after they had been ordered.
    broken : array of bool, shape (kept - 1,)
        Intervals between the kept ones in which the clock began again.
    row : array, shape (n,)
        Line in the file.
    """
    lasting = np.flatnonzero(~left_out)[1:][broken].tolist()
    blocks = ordered.blocks
    count = len(ordered.single) + len(blocks) + len(lasting)
    if not count:
        return []
    how = []
    if ordered.single:
        how.append(f"{len(ordered.single)} single rows, set between their neighbours")
    if blocks:
        how.append(
            f"{len(blocks)} blocks of rows that ran ahead or back for a while (first: rows "
            f"{int(row[blocks[0][0]])} to {int(row[blocks[0][1] - 1])}), moved between their "
            "neighbours"
        )
    if lasting:
        how.append(f"{len(lasting)} lasting, the time that passed is unknown")
    firsts = [*ordered.single[:1], *(start for start, _ in blocks[:1]), *lasting[:1]]
    times = "1 time" if count == 1 else f"{count} times"
    return [
        f"time-reset: time goes backwards {times} (first: row {int(row[min(firsts)])}): "
        + "; ".join(how)
    ]
