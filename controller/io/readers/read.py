"""Read one cycler file into a table."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from controller.domain.errors import ConfigurationError, refuse
from controller.estimation.table import FloatArray, Table, TextArray
from controller.io.bdf import INTEGRATED, written_here
from controller.io.readers.columns import (
    CSV_THREADS,
    CURRENT,
    TEXT_FIELDS,
    Beside,
    beside,
    build,
    lines_of,
    recognise,
)
from controller.io.readers.doubles import finer_of_same, values_of, written_step
from controller.io.readers.neware import is_neware, read_neware
from controller.io.readers.packages import read_binary
from controller.io.readers.vendors import read_vendor_text, text_layout

_PARQUET_MAGIC: Final = b"PAR1"
_UTF16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")
_DECIMAL_COMMA: Final = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
_DECIMAL_POINTS: Final = "write decimal points, and commas between columns"
_OWN_COUNTERS: Final = (
    "written by this program: its charge columns are the current integrated over time, no counter "
    "of a cycler's, and were not used"
)
_EMPTY_CELLS: Final = ("", "NaN", "nan", "NAN", "NA", "null")


def read_table(path: Path) -> Table:
    """Read a Battery Data Format, plain, Neware, Arbin or BioLogic file.

    Parameters
    ----------
    path : Path
        Text, Parquet or a vendor's binary file; which, and which columns, is found from the
        content.

    Raises
    ------
    ConfigurationError
        Missing, empty or truncated file, missing column, a cell that is not a number, a column of
        nothing but NaN. NaN rows and time going backwards are no error: the analysis reports them.
    """
    source = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise refuse(source, "", f"cannot be read: {error.strerror or error}") from None
    if not data.strip():
        raise refuse(source, "", "the file is empty")
    if data.startswith(_PARQUET_MAGIC):
        return _read_parquet(source, data)
    binary = read_binary(path, data)
    if binary is not None:
        return binary
    text = decoded(source, data)
    lines = text.splitlines()
    if is_neware(lines):
        return read_neware(source, lines)
    layout = text_layout(lines)
    if layout is not None:
        return read_vendor_text(source, lines, layout)
    return _read_csv(source, text, lines)


def decoded(source: str, data: bytes) -> str:
    """Return the text of a file, refusing what is none."""
    if data.startswith(_UTF16_MARKS) or (b"\0" in data[:2] and data[:64].count(b"\0") > 16):
        raise refuse(source, "", "the text is UTF-16", "save it as UTF-8")
    if b"\0" in data[:4096]:
        raise refuse(source, "", "neither text nor Parquet", "give a CSV or Parquet file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")  # older exports write the degree sign in one byte


def _read_parquet(source: str, data: bytes) -> Table:
    try:
        names = list(pa_parquet.read_schema(pa.BufferReader(data)).names)
    except (pa.ArrowException, OSError) as error:
        raise refuse(source, "", f"damaged or truncated Parquet file: {error}") from None
    layout, fields = recognise(source, names)
    fields, findings = _without_own_counters(source, names, fields)
    doubles = beside(names, fields)
    wanted = [*fields.values(), *(double.column for double in doubles)]
    try:
        table = pa_parquet.read_table(pa.BufferReader(data), columns=wanted)
    except (pa.ArrowException, OSError) as error:
        raise refuse(source, "", f"damaged or truncated Parquet file: {error}") from None
    read = _from_arrow(source, f"Parquet, {layout}", fields, table, first_row=1)
    _refuse_contradiction(read, fields, doubles, table, lambda _: math.nan)
    return replace(read, findings=(*read.findings, *findings))


def _read_csv(source: str, text: str, lines: list[str]) -> Table:
    _refuse_decimal_commas(source, lines)
    header = [name.strip().strip('"') for name in lines[0].split(",")]
    if all(_readable(name) and name for name in header):
        expected = "put a line above it that names its columns: time_s,current_A,voltage_V, ..."
        raise refuse(source, "row 1", "numbers where a header belongs: none is there", expected)
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in lines[0]:
            raise refuse(source, "row 1", f"columns are separated by {name}", "use commas")
    layout, fields = recognise(source, header)
    fields, findings = _without_own_counters(source, header, fields)
    if len(lines) < 2:
        raise refuse(source, "row 2", "no data rows: the file is empty or truncated")
    numeric = {column: pa.float64() for f, column in fields.items() if f not in TEXT_FIELDS}
    texts = {column: pa.string() for f, column in fields.items() if f in TEXT_FIELDS}
    doubles = beside(header, fields)
    try:
        table = pa_csv.read_csv(
            pa.BufferReader(text.encode()),
            read_options=pa_csv.ReadOptions(
                column_names=header, skip_rows=1, use_threads=CSV_THREADS
            ),
            convert_options=pa_csv.ConvertOptions(
                column_types={**numeric, **texts},
                include_columns=[*fields.values(), *(double.column for double in doubles)],
                null_values=list(_EMPTY_CELLS),
            ),
        )
    except pa.ArrowException as error:
        raise _located(source, lines, header, fields, error) from None
    read = _from_arrow(source, f"CSV, {layout}", fields, table, first_row=2)
    read = replace(read, line=lines_of(lines[1:], 2, read.t_s.size))
    _refuse_contradiction(
        read, fields, doubles, table, lambda name: written_step(lines[1:], header.index(name))
    )
    at = header.index(fields[CURRENT])
    return replace(
        read,
        written_current_resolution_A=written_step(lines[1:], at),
        findings=(*read.findings, *findings),
    )


def _without_own_counters(
    source: str, names: list[str], fields: dict[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the fields without charge that this program integrated, and what to say of it.

    Read back as an independent counter it would be given the small uncertainty of one.
    """
    own = {field: column for field, column in fields.items() if column in INTEGRATED}
    if not own or not written_here(Path(source), names):
        return fields, ()
    kept = {field: column for field, column in fields.items() if field not in own}
    return kept, (_OWN_COUNTERS,)


def _refuse_contradiction(
    read: Table,
    fields: dict[str, str],
    doubles: list[Beside],
    table: Any,
    written: Callable[[str], float],
) -> None:
    """Refuse a file in which a column contradicts the one that is read for its quantity."""
    for field, column, factor in doubles:
        try:
            other = np.asarray(table[column].cast(pa.float64()), dtype=np.float64)
        except pa.ArrowException:
            continue  # no numbers: it holds something else
        taken = np.asarray(table[fields[field]].cast(pa.float64()), dtype=np.float64)
        first = values_of(fields[field], taken, 1.0, written(fields[field]))
        second = values_of(column, other, factor, written(column))
        finer_of_same(read.source, first, second, read.row)


def _refuse_decimal_commas(source: str, lines: list[str]) -> None:
    """Refuse rows whose numbers have decimal commas, as in a German or French export."""
    for separator in (";", "\t"):
        for row, line in enumerate(lines[:2], start=1):
            cells = [cell.strip().strip('"') for cell in line.split(separator)]
            cell = next((one for one in cells if _DECIMAL_COMMA.fullmatch(one)), None)
            if len(cells) > 1 and cell is not None:
                problem = f"numbers have decimal commas ({cell!r})"
                raise refuse(source, f"row {row}", problem, _DECIMAL_POINTS)


def _located(
    source: str,
    lines: list[str],
    header: list[str],
    fields: dict[str, str],
    error: pa.ArrowException,
) -> ConfigurationError:
    """Return the error with the first row and column that cannot be read."""
    numeric_at = [header.index(c) for f, c in fields.items() if f not in TEXT_FIELDS]
    for row, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        cells = next(csv.reader([line]), [])
        if len(cells) != len(header):
            problem = f"{len(cells)} fields where {len(header)} belong: truncated or damaged"
            if len(cells) > len(header):
                problem += ", or numbers have decimal commas"
            return refuse(source, f"row {row}", problem)
        for at in numeric_at:
            if not _readable(cells[at]):
                where = f"row {row}, column {header[at]!r}"
                problem = f"{cells[at]!r} is not a number"
                if _DECIMAL_COMMA.fullmatch(cells[at].strip()):
                    return refuse(source, where, f"{problem}: a decimal comma", _DECIMAL_POINTS)
                return refuse(source, where, problem)
    return refuse(source, "", str(error).splitlines()[0])


def _readable(cell: str) -> bool:
    if cell.strip() in _EMPTY_CELLS:
        return True
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _from_arrow(
    source: str, layout: str, fields: dict[str, str], table: Any, first_row: int
) -> Table:
    columns: dict[str, FloatArray] = {}
    text: dict[str, TextArray] = {}
    for field, column in fields.items():
        if field in TEXT_FIELDS:
            text[field] = np.array(table[column].to_pylist(), dtype=object)
            continue
        try:
            values = table[column].cast(pa.float64()).to_numpy()
        except pa.ArrowException:
            problem = "does not hold numbers"
            first = str(next((one for one in table[column].to_pylist() if one is not None), ""))
            if _DECIMAL_COMMA.fullmatch(first):
                problem += f" but text with decimal commas ({first!r})"
            raise refuse(source, f"column {column!r}", problem) from None
        columns[field] = np.asarray(values, dtype=np.float64)
    return build(source, layout, columns, text, first_row)
