"""What `reactivate replay` shows of a table of capacities, in a terminal and as JSON."""

from __future__ import annotations

from typing import Any, Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from controller.estimation.files.capacities import (
    NOTHING_MORE,
    CapacityTable,
    Fade,
    capacity_findings,
    fades,
    quartiles,
)

SCHEMA: Final = 1
_SHOWN: Final = 12


def capacities_shown(console: Console, table: CapacityTable) -> None:
    """Print how the cells of a file fade."""
    cells = fades(table)
    console.print(f"[bold]{escape(table.source)}[/bold]", soft_wrap=True)
    console.print(f"capacity per cycle of {len(cells)} cells", markup=False)
    unit = f", {table.unit}" if table.unit else ""
    shown = RichTable(box=box.SIMPLE_HEAD)
    shown.add_column("cell")
    for name in ("cycles", f"first{unit}", f"last{unit}", "Q(n+1)/Q(n), median"):
        shown.add_column(name, justify="right")
    for one in cells[:_SHOWN]:
        of = quartiles(list(one.ratios))
        middle = "-" if of is None else f"{of[1]:.3f}"
        shown.add_row(
            escape(one.cell), str(one.cycles), f"{one.first:.4g}", f"{one.last:.4g}", middle
        )
    console.print(shown)
    if len(cells) > _SHOWN:
        console.print(f"... and {len(cells) - _SHOWN} cells more (--json has all)", markup=False)
    of_all = quartiles(_ratios(cells))
    if of_all is not None:
        words = " / ".join(f"{one:.3f}" for one in of_all)
        console.print(f"Q(n+1)/Q(n) from cycle 2 on, quartiles: {words}", markup=False)
    for words in (*capacity_findings(table), NOTHING_MORE):
        console.print(f"Finding: {words}", markup=False)
    console.print()


def capacities_json(table: CapacityTable) -> dict[str, Any]:
    """Return what `--json` prints of a table of capacities."""
    cells = fades(table)
    of_all = quartiles(_ratios(cells))
    return {
        "schema": SCHEMA,
        "file": table.source,
        "layout": "capacity per cycle",
        "unit": table.unit,
        "cells": [
            {
                "cell": one.cell,
                "cycles": one.cycles,
                "first_capacity": one.first,
                "last_capacity": one.last,
                "ratios": list(one.ratios),
            }
            for one in cells
        ],
        "ratio_quartiles": None if of_all is None else list(of_all),
        "findings": [*capacity_findings(table), NOTHING_MORE],
    }


def _ratios(cells: list[Fade]) -> list[float]:
    return [ratio for one in cells for ratio in one.ratios]
