"""Tables of capacity per cycle and nothing else: how it fades, and what that cannot say."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from controller.estimation.files.intervals import BoolArray, IntArray
from controller.estimation.table import FloatArray

# The first ratio holds what formation takes. Assumed.
FIRST_CYCLE: Final = 2
# Below this share of the first capacity a value is no capacity any more. Assumed, 0-0.1.
SMALLEST: Final = 0.05
# A capacity beyond this is none, in any unit read here. Assumed, 1e6 to 1e12.
LARGEST: Final = 1e9
NOTHING_MORE: Final = (
    "capacities alone: no current, so no Coulombic efficiency and no net charge; a cell whose "
    "capacity fades has lost lithium, cathode or rate, and this table cannot say which"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CapacityTable:
    """Discharge capacity by cell and cycle.

    Attributes
    ----------
    source : str
    cell : tuple of str, length n
    cycle, capacity : array, shape (n,)
        Cycle number; capacity in the file's own unit, NaN where not logged.
    unit : str
        As the column's name says; empty for a share of something.
    """

    source: str
    cell: tuple[str, ...]
    cycle: FloatArray
    capacity: FloatArray
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fade:
    """How one cell's capacity went.

    Attributes
    ----------
    cell : str
    cycles : int
        With a capacity.
    first, last : float
    ratios : tuple of float
        Capacity over that of the cycle before, from `FIRST_CYCLE` on.
    """

    cell: str
    cycles: int
    first: float
    last: float
    ratios: tuple[float, ...]


def fades(table: CapacityTable) -> list[Fade]:
    """Return each cell's fade, in the order of the file; a 0 is no data, nor is what cannot be."""
    found = []
    usable = _usable(table)
    # A share of something below 1 at first is still one of what 1 stands for.
    at_least = 0.0 if table.unit else 1.0
    for rows in _rows_by_cell(table).values():
        chosen = rows[usable[rows] & np.isfinite(table.cycle[rows])]
        cycle, first = np.unique(table.cycle[chosen], return_index=True)
        capacity = table.capacity[chosen][first]
        if capacity.size == 0:
            continue
        pairs = pairwise(zip(cycle.tolist(), capacity.tolist(), strict=True))
        ratios = tuple(
            after / before
            for (number, before), (following, after) in pairs
            if following == number + 1.0
            and number >= FIRST_CYCLE
            and before > SMALLEST * max(at_least, capacity[0])
        )
        found.append(
            Fade(
                cell=table.cell[int(rows[0])],
                cycles=capacity.size,
                first=float(capacity[0]),
                last=float(capacity[-1]),
                ratios=ratios,
            )
        )
    return found


def capacity_findings(table: CapacityTable) -> list[str]:
    """Say which rows of a table cannot be what they say, and what was done with them."""
    findings = []
    impossible = ~_usable(table) & (table.capacity != 0.0)
    if impossible.any():
        at = int(np.flatnonzero(impossible)[0])
        findings.append(
            f"capacities that are missing, negative or absurd: {int(impossible.sum())} (first: "
            f"{_place(table, at)}, {table.capacity[at]:.6g}); left out"
        )
    unnumbered = ~np.isfinite(table.cycle)
    if unnumbered.any():
        findings.append(f"rows without a cycle number: {int(unnumbered.sum())}; left out")
    broken = ~unnumbered & (table.cycle != np.round(np.where(unnumbered, 0.0, table.cycle)))
    if broken.any():
        at = int(np.flatnonzero(broken)[0])
        findings.append(
            f"cycle numbers that are not whole: {int(broken.sum())} (first: {_place(table, at)}); "
            "they give no ratio of consecutive cycles"
        )
    again = 0
    for rows in _rows_by_cell(table).values():
        known = table.cycle[rows][_usable(table)[rows] & ~unnumbered[rows]]
        again += known.size - np.unique(known).size
    if again:
        findings.append(f"rows that repeat a cycle of their cell: {again}; the first was used")
    return findings


def _place(table: CapacityTable, at: int) -> str:
    return f"cell {table.cell[at]}, cycle {table.cycle[at]:.6g}"


def _usable(table: CapacityTable) -> BoolArray:
    usable: BoolArray = (table.capacity > 0.0) & (table.capacity < LARGEST)
    return usable


def _rows_by_cell(table: CapacityTable) -> dict[str, IntArray]:
    """Return each cell's rows, in the order of the file."""
    names = np.array(table.cell, dtype=object)
    return {name: np.flatnonzero(names == name) for name in dict.fromkeys(table.cell)}


def quartiles(ratios: list[float]) -> tuple[float, float, float] | None:
    """Return the quartiles of capacity ratios of consecutive cycles; None without any."""
    if not ratios:
        return None
    low, middle, high = np.percentile(ratios, [25.0, 50.0, 75.0]).tolist()
    return low, middle, high
