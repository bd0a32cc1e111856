"""A run's report and summary, made again from its journal at any time, also while it runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from controller.app.reporting.facts import (
    diagnosis_words,
    efficiency_trend,
    facts_of,
    read_facts,
    summary_of,
    treatment_windows,
    trend_words,
)
from controller.app.reporting.page import page
from controller.app.reporting.words import MISSING, number, with_u
from controller.domain.cell import CellFormat
from controller.domain.errors import RunDirectoryError
from controller.io.journal import JournalReader

REPORT_NAME: Final = "report.html"


def write_report(run_dir: Path) -> Path:
    """Write ``report.html`` into a run directory and return its path.

    The file holds everything it needs; readings are read only around treatments and reduced to the
    lowest and highest of each bucket, so its size does not grow with the length of the run.

    Raises
    ------
    RunDirectoryError
        No journal there, damaged, of an unknown schema, or the report cannot be written.
    """
    with JournalReader(run_dir) as reader:
        facts = facts_of(reader, run_dir)
        windows, total = treatment_windows(reader, facts)
    path = run_dir / REPORT_NAME
    draft = run_dir / f".{REPORT_NAME}.{os.getpid()}"
    try:
        draft.write_text(page(facts, windows, total), encoding="utf-8")
        # whoever has the old report open keeps a whole one
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise RunDirectoryError(f"{path}: cannot be written ({error})") from error
    return path


def summary(run_dir: Path) -> dict[str, Any]:
    """Return the summary of a run: the last line of ``reactivate run --json``.

    ``cycles`` counts closed base cycles. Where the randomised contrasts do not tell what a protocol
    gave back, ``recovered_mAh`` and ``u_mAh`` (standard uncertainty) are None and ``reason`` says
    why. ``stopped_because`` is None while the run goes on or after its process was killed.

    Raises
    ------
    RunDirectoryError
        No journal there, damaged, or of an unknown schema.
    """
    return summary_of(read_facts(run_dir))


def print_summary(summary: dict[str, Any], run_dir: Path, console: Console) -> None:
    """Print what a person wants to know at the end of a run, and where its files are.

    Parameters
    ----------
    summary : dict
        As `summary` returns it.
    run_dir : Path
    console : rich.console.Console
    """
    facts = read_facts(run_dir)
    trend = efficiency_trend(facts)
    head = Table(show_header=False, box=None, pad_edge=False)
    head.add_column(style="dim", no_wrap=True)
    head.add_column()
    others = len(facts.cycles) - len(facts.base)
    head.add_row(
        "cycles",
        f"{summary['cycles']} base" + (f", {others} formation or reference" if others else ""),
    )
    capacity = summary["final_capacity_mAh"]
    symmetric = facts.cell_format is CellFormat.LI_LI
    head.add_row(
        "moved" if symmetric else "capacity",
        MISSING if capacity is None else f"{number(capacity)} mAh in the last",
    )
    mean = MISSING if trend is None else with_u(trend.mean * 100.0, trend.u_mean * 100.0, "%")
    if symmetric:
        head.add_row("CE", "none: two lithium foils")
    else:
        head.add_row("CE", mean if trend is None else f"{mean}, {trend_words(trend)}")
    if facts.diagnosis is not None:
        found = facts.diagnosis
        head.add_row("diagnosis", f"{diagnosis_words(found)}: {found.evidence[0]}")
    head.add_row("lab time", f"{summary['lab_hours']:.1f} h")
    head.add_row("stopped", summary["stopped_because"] or "not stopped")
    console.print(head)
    if summary["treatments"]:
        console.print(_treatments(summary["treatments"], facts.decisions))
    if facts.simulated:
        console.print("Simulated cell: its figures are assumed.", style="yellow")
    files = sorted(
        path for path in run_dir.glob("*") if path.suffix in (".sqlite", ".csv", ".html")
    )
    console.print(
        "files:", *(f"  {path}" for path in files), sep="\n", highlight=False, soft_wrap=True
    )


def _treatments(treatments: list[dict[str, Any]], decisions: Any) -> Table:
    table = Table(title="Treatments", title_justify="left")
    table.add_column("protocol", no_wrap=True)
    table.add_column("run", justify="right")
    table.add_column("withheld", justify="right")
    table.add_column("gave back per application, one cycle on (standard uncertainty)")
    for one in treatments:
        withheld = sum(d.withheld and d.candidate == one["protocol"] for d in decisions)
        back = with_u(one["recovered_mAh"], one["u_mAh"], "mAh")
        if one["recovered_mAh"] is None:
            back = f"not known: {one['reason']}"
        table.add_row(one["protocol"], str(one["count"]), str(withheld), back)
    return table
