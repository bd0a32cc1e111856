"""Text exports of Arbin (CSV) and BioLogic (.mpt and other text), and what their columns mean.

What a column is called and in which unit it stands is taken from its name. Source of the names:
Arbin's MITS and BioLogic's EC-Lab and BT-Lab exports as other readers know them
(github.com/ImperialCollegeLondon/PyProBE, github.com/battery-data-alliance/battery-data-format).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from controller.domain.errors import refuse
from controller.estimation.table import FloatArray, Table
from controller.io.readers.columns import (
    CSV_THREADS,
    CURRENT,
    VOLTAGE,
    T,
    build,
    lines_of,
    refuse_twice,
)
from controller.io.readers.doubles import (
    Values,
    finer_of_same,
    said_of_alike,
    values_of,
    written_step,
)

ARBIN: Final = "Arbin"
BIOLOGIC: Final = "BioLogic"
BIOLOGIC_SIGN: Final = (
    "BioLogic gives current as of the working electrode: positive was taken as charge, which holds "
    "where the working electrode is the cathode (or, in Li||Cu, the voltage's sign decides)"
)

_SCALES: Final[dict[str, float]] = {
    "": 1.0,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "A": 1.0,
    "mA": 1e-3,
    "µA": 1e-6,
    "μA": 1e-6,
    "uA": 1e-6,
    "V": 1.0,
    "mV": 1e-3,
    "Ah": 1.0,
    "mAh": 1e-3,
    "A.h": 1.0,
    "mA.h": 1e-3,
    "C": 1.0,
    "°C": 1.0,
}
_THERMOMETER: Final = "temperature_C"  # a cell may have several
_UNIT: Final = r"(?P<unit>[^)\s]*)"
# Field of `Table` -> what its column is called; the first that is found wins.
_NAMES: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    ARBIN: (
        (T, rf"Test[ _]Time ?\({_UNIT}\)"),
        (CURRENT, rf"Current ?\({_UNIT}\)"),
        (VOLTAGE, rf"Voltage ?\({_UNIT}\)"),
        ("charging_Ah", rf"Charge[ _]Capacity ?\({_UNIT}\)"),
        ("discharging_Ah", rf"Discharge[ _]Capacity ?\({_UNIT}\)"),
        ("cycle", r"Cycle[ _]Index(?P<unit>)"),
        ("step", r"Step[ _]Index(?P<unit>)"),
        ("temperature_C", rf"Aux[ _]Temperature[ _]?\d* ?\({_UNIT}\)"),
    ),
    BIOLOGIC: (
        (T, r"time/(?P<unit>\S+)"),
        (CURRENT, r"<?I>?/(?P<unit>\S+)"),
        (VOLTAGE, r"<?E(?:we|cell)>?/(?P<unit>\S+)"),
        ("charging_Ah", r"Q charge/(?P<unit>m?A\.h)"),
        ("discharging_Ah", r"Q discharge/(?P<unit>m?A\.h)"),
        ("cycle", r"cycle number(?P<unit>)"),
        ("step", r"Ns(?P<unit>)"),
        ("temperature_C", r"Temperature/.*(?P<unit>)"),
    ),
}
_REQUIRED: Final = (T, CURRENT, VOLTAGE)
_HEADER_COUNT: Final = re.compile(r"^Nb header lines\s*:\s*(\d+)")
# Orders in which a date is written; of those that a file fits, the one with the plainest clock.
_DATES: Final[dict[str, str]] = {
    "month/day/year": "%m/%d/%Y",
    "day/month/year": "%d/%m/%Y",
    "day.month.year": "%d.%m.%Y",
    "year-month-day": "%Y-%m-%d",
}


class Column(NamedTuple):
    """Where a quantity stands in the file and what turns it into SI."""

    name: str
    scale: float


def columns_of(vendor: str, names: list[str]) -> dict[str, Column]:
    """Return, per field of `Table`, the column of a vendor's file that holds it."""
    return {field: columns[0] for field, columns in all_columns_of(vendor, names).items()}


def all_columns_of(vendor: str, names: list[str]) -> dict[str, list[Column]]:
    """Return, per field of `Table`, all columns of a vendor's file that may hold it.

    One that stands there twice by name is given once.
    """
    found: dict[str, list[Column]] = {}
    for field, pattern in _NAMES[vendor]:
        for name in dict.fromkeys(names):
            match = re.fullmatch(pattern, name)
            if match and match["unit"] in _SCALES:
                found.setdefault(field, []).append(Column(name, _SCALES[match["unit"]]))
    return found


def settled(
    source: str,
    columns: Mapping[str, list[Values]],
    row_of: Callable[[int], int],
) -> tuple[dict[str, FloatArray], list[str]]:
    """Return one column per field, and what is to be said of the others.

    The first counts; of the same in another unit that which is written finer.

    Raises
    ------
    ConfigurationError
        Two columns of one quantity differ.
    """
    out: dict[str, FloatArray] = {}
    findings: list[str] = []
    for field, (taken, *others) in columns.items():
        one = taken
        for other in others if field != _THERMOMETER else []:
            if _quantity(other.name) == _quantity(taken.name):
                one = finer_of_same(source, one, other, row_of)
            else:
                findings += said_of_alike(one, other)
        out[field] = one.values
    return out, findings


def _quantity(name: str) -> str:
    """Return a column's name without its unit, however it is spelled."""
    return re.sub(r"[ _]", "", re.split(r"[(/]", name)[0]).casefold()


def vendor_columns(names: list[str]) -> tuple[str, dict[str, Column]] | None:
    """Return the vendor and its columns; None for another's file."""
    for vendor in _NAMES:
        found = columns_of(vendor, names)
        if all(field in found for field in _REQUIRED):
            return vendor, found
    return None


class TextLayout(NamedTuple):
    """A vendor's text export: vendor, columns, lines before the names, separator, all names."""

    vendor: str
    fields: dict[str, Column]
    header_at: int
    separator: str
    names: list[str]


def text_layout(lines: list[str]) -> TextLayout | None:
    """Return how a vendor's text export is laid out; None where it is none."""
    header_at = 0
    for line in lines[:3]:
        counted = _HEADER_COUNT.match(line)
        if counted:
            header_at = int(counted[1]) - 1
    if not 0 <= header_at < len(lines):
        return None
    header = lines[header_at]
    separator = "\t" if "\t" in header else ","
    names = [name.strip().strip('"') for name in header.split(separator)]
    if names[-1] == "" and lines[header_at + 1 : header_at + 2]:
        # BioLogic ends the line of names with a separator, the rows in some versions only
        names = names[: len(lines[header_at + 1].split(separator))]
    found = vendor_columns(names)
    return None if found is None else TextLayout(*found, header_at, separator, names)


def read_vendor_text(source: str, lines: list[str], layout: TextLayout) -> Table:
    """Return an Arbin or BioLogic text export as a table.

    Raises
    ------
    ConfigurationError
        No rows, a row that is cut off, a cell that is not a number; names row and column.
    """
    first_row = layout.header_at + 2
    body = lines[layout.header_at + 1 :]
    if not any(body):
        raise refuse(source, f"row {first_row}", "no data rows: the file is empty or truncated")
    comma = layout.separator == "\t" and "," in body[0] and "." not in body[0].split("\t")[-2]
    table = _parsed(source, body, layout, "," if comma else ".", first_row)
    for columns_of_one in all_columns_of(layout.vendor, layout.names).values():
        for column in columns_of_one:
            refuse_twice(source, layout.names, column.name)
    findings: list[str] = []
    line = lines_of(body, first_row, table.num_rows)
    read_columns = {
        field: [
            values_of(
                one.name,
                _numbers(source, one.name, table[one.name], findings),
                one.scale,
                written_step(
                    body,
                    layout.names.index(one.name),
                    layout.separator,
                    "," if comma else ".",
                ),
            )
            for one in found
        ]
        for field, found in all_columns_of(layout.vendor, layout.names).items()
    }
    columns, words = settled(
        source, read_columns, lambda k: k + first_row if line is None else int(line[k])
    )
    findings += words
    read = vendor_table(source, layout.vendor, f"{layout.vendor} text export", columns, first_row)
    return replace(read, line=line, findings=(*read.findings, *findings))


def vendor_table(
    source: str, vendor: str, words: str, columns: Mapping[str, FloatArray], first_row: int
) -> Table:
    """Return the table, with what must be known of the vendor's signs."""
    table = build(source, words, columns, {}, first_row)
    return replace(table, findings=(BIOLOGIC_SIGN,)) if vendor == BIOLOGIC else table


def _parsed(
    source: str, body: list[str], layout: TextLayout, decimal_point: str, first_row: int
) -> Any:
    names = [name or f"unnamed {k}" for k, name in enumerate(layout.names)]
    found = all_columns_of(layout.vendor, layout.names).values()
    wanted = [column.name for columns in found for column in columns]
    try:
        return pa_csv.read_csv(
            pa.BufferReader("\n".join(body).encode()),
            read_options=pa_csv.ReadOptions(column_names=names, use_threads=CSV_THREADS),
            parse_options=pa_csv.ParseOptions(delimiter=layout.separator),
            convert_options=pa_csv.ConvertOptions(
                include_columns=wanted,
                decimal_point=decimal_point,
                null_values=["", "NaN", "nan", "XXX"],
                strings_can_be_null=True,
            ),
        )
    except pa.ArrowException as error:
        for row, line in enumerate(body, start=first_row):
            count = len(line.split(layout.separator))
            if line and count != len(layout.names):
                problem = f"{count} fields where {len(layout.names)} belong: truncated or damaged"
                raise refuse(source, f"row {row}", problem) from None
        raise refuse(source, "", str(error).splitlines()[0]) from None


def _numbers(source: str, name: str, values: Any, findings: list[str]) -> FloatArray:
    """Return a column's numbers; times that were written as dates become seconds."""
    if pa.types.is_string(values.type) or pa.types.is_timestamp(values.type):
        return _seconds(source, name, values.cast(pa.string()).to_pylist(), findings)
    try:
        return np.asarray(values.cast(pa.float64()).to_numpy(), dtype=np.float64)
    except pa.ArrowException:
        raise refuse(source, f"column {name!r}", "does not hold numbers") from None


def _seconds(source: str, name: str, cells: list[str | None], findings: list[str]) -> FloatArray:
    """Return dates as seconds from the first, NaN where none is written.

    Where the day may be the month and the other way round, the order is taken in which time falls
    least often and jumps least; `findings` says so.
    """
    read = {order: _dated_s(cells, style) for order, style in _DATES.items()}
    fits = {order: t_s for order, (t_s, wrong_at) in read.items() if wrong_at is None and t_s.size}
    if not fits:
        # the order that goes furthest is what was meant; in a column of numbers a number is right
        at = max(wrong_at for _, wrong_at in read.values() if wrong_at is not None)
        if _is_number(cells[at]):
            at = next((k for k, cell in enumerate(cells) if not _is_number(cell)), at)
        raise refuse(source, f"column {name!r}", f"{cells[at]!r} is neither a number nor a date")
    order = min(fits, key=lambda one: _jumps(fits[one]))
    others = [one for one in fits if _jumps(fits[one]) != _jumps(fits[order])]
    if others:
        taken_s, other_s = _jumps(fits[order])[1], _jumps(fits[others[0]])[1]
        findings.append(
            f"dates: {name!r} may be {order} or {others[0]}: {order} was taken, in which time "
            f"jumps by {taken_s:.6g} s at most, not by {other_s:.6g} s"
        )
    t_s = fits[order]
    return t_s - t_s[np.isfinite(t_s)][:1] if np.isfinite(t_s).any() else t_s


def _dated_s(cells: list[str | None], style: str) -> tuple[FloatArray, int | None]:
    """Return seconds from the first date's whole second, or which cell the style does not fit."""
    t_s = np.full(len(cells), np.nan)
    first: datetime | None = None
    for k, cell in enumerate(cells):
        if not cell or not cell.strip():
            continue
        date, _, time = cell.strip().replace("T", " ").partition(" ")
        clock, _, fraction = time.partition(".")
        try:
            # no zone is written, and only differences count: any one will do
            at = datetime.strptime(f"{date} {clock} +0000", f"{style} %H:%M:%S %z")
            part_s = float(f"0.{fraction}") if fraction else 0.0
        except ValueError:
            return t_s, k
        first = first or at
        t_s[k] = (at - first).total_seconds() + part_s
    return t_s, None


def _is_number(cell: str | None) -> bool:
    try:
        float(cell or "nan")
    except ValueError:
        return False
    return True


def _jumps(t_s: FloatArray) -> tuple[int, float]:
    """Return how often time falls and how far it goes at most from one date to the next (s)."""
    steps_s = np.diff(t_s[np.isfinite(t_s)])
    return int(np.sum(steps_s < 0.0)), float(np.max(np.abs(steps_s), initial=0.0))
