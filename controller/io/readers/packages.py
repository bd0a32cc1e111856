"""Binary files that packages of others open: Neware .ndax, BioLogic .mpr, Arbin .xlsx.

Each package is an extra of its own and imported only when its file is met; without it the error
says which extra to install. Names of columns: fastnda's and galvani's documentation.
"""

from __future__ import annotations

import importlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from controller.domain.errors import refuse
from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.table import FloatArray, Table, TextArray
from controller.io.readers.columns import CURRENT, VOLTAGE, T, build, refuse_twice
from controller.io.readers.doubles import values_of
from controller.io.readers.vendors import (
    ARBIN,
    BIOLOGIC,
    Column,
    all_columns_of,
    settled,
    vendor_table,
)

MPR_MAGIC: Final = b"BIO-LOGIC MODULAR FILE"
RES_MAGIC: Final = b"\x00\x01\x00\x00Standard Jet DB"
ZIP_MAGIC: Final = b"PK\x03\x04"
_MAH: Final = 1e-3


class _Package(NamedTuple):
    """A package, the extra that brings it, and what it opens."""

    module: str
    extra: str
    opens: str


_FASTNDA: Final = _Package("fastnda", "neware", "Neware .ndax")
_GALVANI: Final = _Package("galvani.BioLogic", "biologic", "BioLogic .mpr")
_CALAMINE: Final = _Package("python_calamine", "arbin", "Arbin .xlsx")


def read_binary(path: Path, data: bytes) -> Table | None:
    """Return the table of a file that another package opens; None for any other file.

    Raises
    ------
    ConfigurationError
        The package is not installed, cannot read the file, or finds a column missing; also for
        binary files that nobody reads here.
    """
    source = str(path)
    if data.startswith(MPR_MAGIC):
        return _read_mpr(path)
    if data.startswith(RES_MAGIC):
        remedy = "export it from MITS Pro as CSV or .xlsx"
        raise refuse(source, "", "Arbin .res is an Access database", remedy)
    if not data.startswith(ZIP_MAGIC):
        return None
    try:
        members = set(zipfile.ZipFile(io.BytesIO(data)).namelist())
    except zipfile.BadZipFile as error:
        raise refuse(source, "", f"damaged or truncated archive: {error}") from None
    if "xl/workbook.xml" in members:
        return _read_xlsx(source, data)
    if any(name.endswith(".ndc") for name in members):
        return _read_ndax(path)
    problem = "a zip archive that is neither Neware .ndax nor .xlsx"
    raise refuse(source, "", problem, "give the file inside it")


def _opened(package: _Package, source: str, read: Callable[[Any], Any]) -> Any:
    """Import a package and read with it; both may fail in ways that are its own."""
    try:
        module = importlib.import_module(package.module)
    except ImportError as error:
        remedy = f"pip install 'lithium-reactivation[{package.extra}]', or export the file as CSV"
        problem = f"{package.opens} is opened by a package that is not there ({error})"
        raise refuse(source, "", problem, remedy) from None
    try:
        return read(module)
    except Exception as error:  # noqa: BLE001 -- whatever the package raises of a damaged file
        name = package.module.split(".")[0]
        problem = f"{name} cannot read it: {type(error).__name__}: {error}"
        raise refuse(source, "", problem, "is it damaged or truncated?") from None


def _read_ndax(path: Path) -> Table:
    """Neware: charge positive; its capacity counts within a step, signed."""
    frame = _opened(_FASTNDA, str(path), lambda fastnda: fastnda.read(path))
    names = {
        T: ("total_time_s", 1.0),
        CURRENT: ("current_mA", 1e-3),
        VOLTAGE: ("voltage_V", 1.0),
        "cycle": ("cycle_count", 1.0),
        "step": ("step_count", 1.0),
        "step_capacity_Ah": ("capacity_mAh", _MAH),
    }
    missing = [name for name, _ in names.values() if name not in frame.columns]
    if missing:
        raise refuse(str(path), f"column {missing[0]!r}", "missing in what fastnda gives")
    columns = {
        field: scale * np.asarray(frame[name].to_numpy(), dtype=np.float64)
        for field, (name, scale) in names.items()
    }
    columns["step_capacity_Ah"] = np.abs(columns["step_capacity_Ah"])
    thermometers = sorted(
        name for name in frame.columns if name.startswith("aux") and "temp" in name
    )
    if thermometers:
        celsius = frame[thermometers[0]].to_numpy()
        columns["temperature_C"] = np.asarray(celsius, dtype=np.float64)
    types: TextArray = np.array(frame["step_type"].to_list(), dtype=object)
    return build(str(path), "Neware .ndax", columns, {"step_type": types}, 1)


def _read_mpr(path: Path) -> Table:
    """BioLogic: a technique that stores no current has the charge that each record added.

    The current is that charge over the time it took, and the counters are its sums.
    """
    source = str(path)
    with path.open("rb") as file:  # galvani would leave a file that it opened itself open
        data = _opened(_GALVANI, source, lambda galvani: galvani.MPRfile(file).data)
    names = list(data.dtype.names or ())
    if "freq/Hz" in names:
        remedy = "export it as text: freq/Hz, Re(Z)/Ohm, -Im(Z)/Ohm"
        raise refuse(source, "", "an impedance spectrum, no series in time", remedy)
    read = {
        field: [
            values_of(
                one.name, np.asarray(data[one.name], dtype=np.float64), one.scale, _shown(found)
            )
            for one in found
        ]
        for field, found in all_columns_of(BIOLOGIC, names).items()
    }
    columns, findings = settled(source, read, lambda k: k + 1)
    if "dq/mA.h" in names and T in columns:
        added_Ah = _MAH * np.asarray(data["dq/mA.h"], dtype=np.float64)
        columns.setdefault("charging_Ah", np.cumsum(np.maximum(added_Ah, 0.0)))
        columns.setdefault("discharging_Ah", np.cumsum(np.maximum(-added_Ah, 0.0)))
        if CURRENT not in columns:
            columns[CURRENT] = _mean_current_A(columns[T], added_Ah)
    for field, name in ((T, "time/s"), (VOLTAGE, "Ewe/V"), (CURRENT, "I/mA")):
        if field not in columns:
            problem = "missing in this technique; it has " + ", ".join(names)
            raise refuse(source, f"column {name!r}", problem)
    table = vendor_table(source, BIOLOGIC, "BioLogic .mpr", columns, 1)
    return replace(table, findings=(*table.findings, *findings))


def _mean_current_A(t_s: FloatArray, added_Ah: FloatArray) -> FloatArray:
    """Return the current at each record from the charge added since the one before.

    The first record of a step stands at the time of the one before it, with the current that is
    to come: that of the next record.
    """
    dt_s = np.diff(t_s, prepend=t_s[:1])
    quotient = np.zeros_like(added_Ah)
    np.divide(SECONDS_PER_HOUR * added_Ah, dt_s, out=quotient, where=dt_s > 0.0)
    begins = np.flatnonzero((dt_s[:-1] <= 0.0) & (dt_s[1:] > 0.0))
    quotient[begins] = quotient[begins + 1]
    return quotient


def _read_xlsx(source: str, data: bytes) -> Table:
    """Arbin: the sheets whose first row names time, current and voltage, one after the other."""
    sheets = _opened(_CALAMINE, source, lambda calamine: _sheets(calamine, data))
    parts: list[dict[str, FloatArray]] = []
    findings: list[str] = []
    for name, above, rows in sheets:
        if not rows:
            continue
        header = [str(cell).strip() for cell in rows[0]]
        found = all_columns_of(ARBIN, header)
        if {T, CURRENT, VOLTAGE} <= found.keys():
            where = f"{source}, sheet {name!r}"
            part, words = _sheet_columns(where, found, header, rows[1:], above + 2)
            parts.append(part)
            findings += words
    if not parts:
        have = ", ".join(repr(name) for name, _, _ in sheets) or "none"
        problem = f"no sheet has Arbin's Test Time, Current and Voltage; sheets: {have}"
        raise refuse(source, "", problem)
    fields = set.intersection(*(set(part) for part in parts))
    columns = {field: np.concatenate([part[field] for part in parts]) for field in fields}
    read = vendor_table(source, ARBIN, "Arbin .xlsx", columns, 2)
    if len(parts) > 1:
        sheets_said = f"the series stands in {len(parts)} sheets: rows are counted within each"
        findings.append(sheets_said)
    return replace(read, findings=(*read.findings, *findings))


def _shown(columns: list[Column]) -> float:
    """Return 0 where a column stands alone: how it was rounded matters beside another only."""
    return 0.0 if len(columns) == 1 else np.nan


def _sheet_columns(
    where: str,
    found: dict[str, list[Column]],
    header: list[str],
    body: list[list[Any]],
    first_row: int,
) -> tuple[dict[str, FloatArray], list[str]]:
    """Return a sheet's columns and lines, and what is to be said of columns not taken."""
    for column in (column for columns in found.values() for column in columns):
        refuse_twice(where, header, column.name)
    read = {
        field: [
            values_of(
                one.name,
                _cells(where, body, header.index(one.name), one.name, first_row),
                one.scale,
                _shown(columns),
            )
            for one in columns
        ]
        for field, columns in found.items()
    }
    part, findings = settled(where, read, lambda k: k + first_row)
    return {**part, "line": first_row + np.arange(len(body), dtype=np.float64)}, findings


def _sheets(calamine: Any, data: bytes) -> list[tuple[str, int, list[list[Any]]]]:
    """Return name, empty rows above and rows of each sheet."""
    book = calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
    sheets = [(name, book.get_sheet_by_name(name)) for name in book.sheet_names]
    return [
        (name, sheet.start[0] if sheet.start else 0, sheet.to_python()) for name, sheet in sheets
    ]


def _cells(where: str, rows: list[list[Any]], at: int, name: str, first_row: int) -> FloatArray:
    """Return the numbers of a column of a sheet; an empty cell is NaN."""
    out = np.full(len(rows), np.nan)
    for k, row in enumerate(rows):
        cell = row[at] if at < len(row) else ""
        if cell in ("", None):
            continue
        try:
            out[k] = float(cell)
        except (TypeError, ValueError):
            key = f"row {k + first_row}, column {name!r}"
            raise refuse(where, key, f"{cell!r} is not a number") from None
    return out
