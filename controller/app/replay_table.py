"""What `reactivate replay` shows in a terminal: a table that fits, and what it cannot hold below.

What is the same for every cycle is said once above or below the table, not in a column.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as RichTable

from controller.domain.cell import CellFormat
from controller.domain.figures import DischargeEnd
from controller.estimation.diagnosis import Mode
from controller.estimation.files.course import in_ranges
from controller.estimation.files.cycles import Analysis, CycleResult

# A table longer than this shows its first and last rows.
ROWS_SHOWN: Final = 24
ROWS_AT_END: Final = 8
_NO_VALUE: Final = "-"
_KINDS_SAID: Final = 2
_NOTES_SAID: Final = 2
_ANY_WIDTH: Final = 1000


class _Column(NamedTuple):
    """A column: two lines of heading, what stands in a cell, and where its text begins."""

    heading: str
    cell: Callable[[CycleResult], str]
    justify_left: bool = False


def show(console: Console, analysis: Analysis) -> None:
    """Print the analysis of one file, as wide as the console."""
    words = "no cell format given" if analysis.cell_format is None else analysis.cell_format.value
    console.print(f"[bold]{_plain(analysis.source)}[/bold]", soft_wrap=True)
    _say(console, f"{analysis.layout}; {words}{_source_words(analysis.cycles)}")
    if analysis.cycles:
        _show_cycles(console, analysis.cycles)
        for note in analysis.resistance_notes[:_NOTES_SAID]:
            _say(console, f"R: {note}")
    else:
        _say(console, "no cycle can be told: no charge flows in this file")
    _say(console, _average_words(analysis))
    _show_course(console, analysis)
    if analysis.findings:
        console.print("Findings")
        for finding in analysis.findings:
            _say(console, finding, mark="  - ")
    console.print()


def _show_course(console: Console, analysis: Analysis) -> None:
    """Say how the cell fails, what decided, and where a soft short shows."""
    course = analysis.course
    found = course.diagnosis
    if found is None:
        if course.reason:
            _say(console, f"No diagnosis: {course.reason}.")
        return
    console.print("Diagnosis")
    chance = "" if found.mode is Mode.CANNOT_TELL else f" ({found.probabilities[found.mode]:.0%})"
    _say(console, f"{found.mode.value}{chance}: {'; '.join(found.evidence)}", mark="  - ")
    if course.flagged:
        first = next(c for c in course.cycles if c.cycle == course.flagged[0])
        words = "; ".join(first.evidence.words if first.evidence else ())
        _say(
            console,
            f"soft short flagged in cycles {in_ranges(course.flagged)}; first: {words}",
            mark="  - ",
        )
    if analysis.cell_format is CellFormat.LI_LI:
        trend = [
            f"{c.figures.polarised_Ohm:.3g}"
            for c in course.cycles
            if math.isfinite(c.figures.polarised_Ohm)
        ]
        if trend:
            _say(console, f"voltage over current by cycle (Ohm): {', '.join(trend)}", mark="  - ")


def _show_cycles(console: Console, cycles: Sequence[CycleResult]) -> None:
    """Print the table with as much as fits the width, the rest as lines below it."""
    columns = _columns(cycles)
    ends = [_Column("discharge\nended by", _end_words, justify_left=True)]
    flags = [_Column("flags", lambda c: ", ".join(c.flags), justify_left=True)]
    ends = ends if any(_end_words(c) != _NO_VALUE for c in cycles) else []
    flags = flags if any(c.flags for c in cycles) else []
    below: list[_Column] = []
    table = _table([*columns, *ends, *flags], cycles)
    for beside, other in ((ends, flags), ([], [*ends, *flags])):
        if _width(console, table) <= console.width:
            break
        table, below = _table([*columns, *beside], cycles), other
    console.print(table)
    hidden = len(cycles) - sum(_rows_shown(len(cycles)))
    if hidden > 0:
        _say(console, f"… {hidden} more, --json for all")
    if below:
        for line in _lines_below(cycles, with_ends=ends[:1] == below[:1]):
            _say(console, line)
    kinds = sorted({c.resistance_kind.split(", median")[0] for c in cycles if c.resistance_kind})
    if kinds:
        _say(console, "R: " + "; ".join(kinds[:_KINDS_SAID]))


def _columns(cycles: Sequence[CycleResult]) -> list[_Column]:
    """Return the columns of figures that this file has."""
    columns = [
        _Column("\ncycle", lambda c: str(c.cycle)),
        _Column("charge\nmAh", lambda c: _to_u(1e3 * c.charge_Ah, 1e3 * c.u_charge_Ah)),
        _Column("discharge\nmAh", lambda c: _to_u(1e3 * c.discharge_Ah, 1e3 * c.u_discharge_Ah)),
        _Column("net ± u\nmAh", lambda c: _with_u(1e3 * c.net_charge_Ah, 1e3 * c.u_net_charge_Ah)),
    ]
    if any(c.coulombic_efficiency is not None for c in cycles):
        columns.append(_Column("CE ± u\n%", _efficiency_words))
    resistances = sorted(c.resistance_Ohm for c in cycles if math.isfinite(c.resistance_Ohm))
    if resistances:
        small = resistances[len(resistances) // 2] < 1.0
        unit, factor = ("mOhm", 1e3) if small else ("Ohm", 1.0)
        columns.append(_Column(f"R ± u\n{unit}", lambda c: _resistance_words(c, factor)))
    return columns


def _table(columns: Sequence[_Column], cycles: Sequence[CycleResult]) -> RichTable:
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    for column in columns:
        # A figure is never cut: in a narrow terminal it goes on in the next line.
        table.add_column(
            column.heading, justify="left" if column.justify_left else "right", overflow="fold"
        )
    head, tail = _rows_shown(len(cycles))
    for cycle in cycles[:head]:
        table.add_row(*(column.cell(cycle) for column in columns))
    if len(cycles) > head + tail:
        table.add_row("…")
    for cycle in cycles[len(cycles) - tail :]:
        table.add_row(*(column.cell(cycle) for column in columns))
    return table


def _width(console: Console, table: RichTable) -> int:
    """Width that a table takes when nothing in it is folded."""
    anything = console.options.update(max_width=_ANY_WIDTH)
    return Measurement.get(console, anything, table).maximum


def _rows_shown(count: int) -> tuple[int, int]:
    """Return how many rows stand at the head and at the tail of the table."""
    if count <= ROWS_SHOWN:
        return count, 0
    return ROWS_SHOWN - ROWS_AT_END, ROWS_AT_END


def _source_words(cycles: Sequence[CycleResult]) -> str:
    words = {"counter": "the cycler's counters", "integrated": "current integrated over time"}
    sources = sorted({words[c.source] for c in cycles})
    return f"; charge from {' and '.join(sources)}" if sources else ""


def _end_words(cycle: CycleResult) -> str:
    if cycle.discharge_end is DischargeEnd.UNKNOWN:
        return _NO_VALUE
    limited_by = cycle.discharge_end.value.removesuffix("-limited")
    return f"{limited_by} ({cycle.discharge_end_probability:.0%})"


def _efficiency_words(cycle: CycleResult) -> str:
    if cycle.coulombic_efficiency is None or cycle.u_coulombic_efficiency is None:
        return _NO_VALUE
    return _with_u(100 * cycle.coulombic_efficiency, 100 * cycle.u_coulombic_efficiency)


def _resistance_words(cycle: CycleResult, factor: float) -> str:
    if not math.isfinite(cycle.resistance_Ohm):
        return _NO_VALUE
    return _with_u(factor * cycle.resistance_Ohm, factor * cycle.u_resistance_Ohm)


def _lines_below(cycles: Sequence[CycleResult], *, with_ends: bool) -> list[str]:
    """Say flags, and what ended the discharges, with their cycles: "cycle 1: starts-charged"."""
    numbers: dict[str, list[int]] = {}
    if with_ends:
        for end in dict.fromkeys(c.discharge_end for c in cycles):
            found = [c for c in cycles if c.discharge_end is end]
            if end is not DischargeEnd.UNKNOWN:
                numbers[_ended_by_words(found)] = [c.cycle for c in found]
    for cycle in cycles:
        for flag in cycle.flags:
            numbers.setdefault(flag, []).append(cycle.cycle)
    words_of: dict[tuple[int, ...], list[str]] = {}
    for words, having in numbers.items():
        words_of.setdefault(tuple(having), []).append(words)
    return [
        f"{'cycle' if len(having) == 1 else 'cycles'} {_spans(having)}: {', '.join(words)}"
        for having, words in words_of.items()
    ]


def _ended_by_words(cycles: Sequence[CycleResult]) -> str:
    """Say what ended the discharge of these cycles, alike, and how probable that is."""
    least = min(c.discharge_end_probability for c in cycles)
    most = max(c.discharge_end_probability for c in cycles)
    limited_by = cycles[0].discharge_end.value.removesuffix("-limited")
    between = f"{most:.0%}" if f"{least:.0%}" == f"{most:.0%}" else f"{least:.0%} to {most:.0%}"
    return f"discharge ended by {limited_by} (probability {between})"


def _spans(numbers: Sequence[int]) -> str:
    """Write 1, 2, 3, 7 as "1-3, 7"."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in spans)


def _decimals(u: float) -> int | None:
    """Decimals that show two digits of a standard uncertainty; None where it is none."""
    if not (math.isfinite(u) and u > 0.0):
        return None
    return max(0, 1 - math.floor(math.log10(u)))


def _to_u(value: float, u: float) -> str:
    """Write a value to two digits of its standard uncertainty."""
    decimals = _decimals(u)
    return f"{value:.5g}" if decimals is None or value == 0.0 else f"{value:.{decimals}f}"


def _with_u(value: float, u: float) -> str:
    """Write a value and its standard uncertainty, both to two digits of the latter."""
    decimals = _decimals(u)
    if decimals is None:
        return f"{value:.5g}"
    return f"{value:.{decimals}f} ± {u:.{decimals}f}"


def _average_words(analysis: Analysis) -> str:
    """Say the mean efficiency over the cycles that may be averaged, and how many were left out."""
    mean = analysis.mean_efficiency
    if mean is None:
        reasons = {c.coulombic_efficiency_reason or "flagged" for c in analysis.cycles}
        return "No cycle has a Coulombic efficiency that may be averaged" + (
            f" ({'; '.join(sorted(reasons))})." if reasons else "."
        )
    left_out = len(analysis.cycles) - mean.cycles
    return (
        f"Mean Coulombic efficiency over {_count(mean.cycles, 'cycle')}: "
        f"({_with_u(100 * mean.value, 100 * mean.u)}) %"
        + (f" ({_count(left_out, 'flagged cycle')} left out)" if left_out else "")
        + "; u is one standard uncertainty, of the mean that of its cycles, whose errors are alike."
        + (
            " It is the cathode's, not lithium's."
            if analysis.cell_format is CellFormat.EXCESS_LITHIUM
            else ""
        )
    )


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _say(console: Console, words: str, mark: str = "") -> None:
    """Print words wrapped at the width, with a hanging indent under `mark`."""
    text = textwrap.fill(
        words,
        width=max(console.width, len(mark) + 20),
        initial_indent=mark,
        subsequent_indent=" " * len(mark),
        break_long_words=False,
        break_on_hyphens=False,
    )
    console.print(text, markup=False, soft_wrap=True)


def _plain(words: str) -> str:
    """Keep brackets in a file's name from being read as markup."""
    return words.replace("[", r"\[")
