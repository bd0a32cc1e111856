"""Tables of capacity per cycle and nothing else: how it fades, and what that cannot say."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np

from controller.estimation.table import FloatArray

# The first ratio holds what formation takes. Assumed.
FIRST_CYCLE: Final = 2
# Below this share of the first capacity a value is no capacity any more. Assumed, 0-0.1.
SMALLEST: Final = 0.05
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
    """Return each cell's fade, in the order of the file; a 0 is no data."""
    found = []
    names = np.array(table.cell, dtype=object)
    for name in dict.fromkeys(table.cell):
        chosen = (names == name) & (table.capacity > 0.0) & np.isfinite(table.cycle)
        order = np.argsort(table.cycle[chosen], kind="stable")
        cycle = table.cycle[chosen][order]
        capacity = table.capacity[chosen][order]
        if capacity.size == 0:
            continue
        rows = pairwise(zip(cycle.tolist(), capacity.tolist(), strict=True))
        ratios = tuple(
            after / before
            for (number, before), (following, after) in rows
            if following == number + 1.0
            and number >= FIRST_CYCLE
            and before > SMALLEST * max(1.0, capacity[0])
        )
        found.append(
            Fade(
                cell=name,
                cycles=capacity.size,
                first=float(capacity[0]),
                last=float(capacity[-1]),
                ratios=ratios,
            )
        )
    return found


def quartiles(ratios: list[float]) -> tuple[float, float, float] | None:
    """Return the quartiles of capacity ratios of consecutive cycles; None without any."""
    if not ratios:
        return None
    low, middle, high = np.percentile(ratios, [25.0, 50.0, 75.0]).tolist()
    return low, middle, high
