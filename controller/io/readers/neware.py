"""Neware BTSDA "regular" CSV export: three layers (cycle, step, record) in one file.

Three header lines, one per layer; a cycle line starts in the first field, a step line in the
second, a record line in the third. Times of a record are rounded down to the second.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from controller.domain.errors import nearest, refuse
from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.table import Table, TextArray
from controller.io.readers.columns import CURRENT, VOLTAGE, T, build

LAYOUT: Final = "Neware BTSDA three-layer CSV"
_HEADER_LINES: Final = 3
# Unit in the header -> factor to A, V, Ah.
_SCALES: Final[dict[str, float]] = {
    "A": 1.0,
    "mA": 1e-3,
    "uA": 1e-6,
    "V": 1.0,
    "mV": 1e-3,
    "Ah": 1.0,
    "mAh": 1e-3,
}


def is_neware(lines: list[str]) -> bool:
    """Return whether the first three lines are the headers of the three layers."""
    return (
        len(lines) >= _HEADER_LINES
        and lines[0].startswith("Cycle Index,")
        and lines[1].startswith(",Step")
        and lines[2].startswith(",,")
    )


def read_neware(source: str, lines: list[str]) -> Table:
    """Return the record layer of `lines` as a table.

    Raises
    ------
    ConfigurationError
        A column is missing, a row is cut off or a cell is not a number; names row and column.
    """
    record = lines[2].split(",")
    step = lines[1].split(",")
    total_at = _find(source, record, "Total Time")
    time_at = _find(source, record, "Time")
    current_at, current_scale = _find_scaled(source, record, "Current")
    voltage_at, voltage_scale = _find_scaled(source, record, "Voltage")
    capacity_at, capacity_scale = _find_scaled(source, record, "Capacity")
    temperature_at = next((k for k, name in enumerate(record) if name.startswith("T1(")), -1)
    type_at = _find(source, step, "Step Type")
    number_at = _find(source, step, "Step Number")
    widest = max(total_at, time_at, current_at, voltage_at, capacity_at, temperature_at)

    columns: dict[str, list[float]] = {
        key: [] for key in (T, CURRENT, VOLTAGE, "cycle", "step", "step_capacity_Ah", "line")
    }
    temperatures_C: list[float] = []
    types: list[str] = []
    cycle = float("nan")
    number = 0.0
    step_type = ""
    step_start_s = float("nan")
    for row, line in enumerate(lines[_HEADER_LINES:], start=_HEADER_LINES + 1):
        if not line:
            continue
        cells = line.split(",")
        if cells[0]:
            cycle = _number(source, row, "Cycle Index", cells[0])
            continue
        if len(cells) > 1 and cells[1]:
            if len(cells) <= max(type_at, number_at):
                raise refuse(source, f"row {row}", "the step line is cut off")
            step_type = cells[type_at]
            number = _number(source, row, "Step Number", cells[number_at])
            step_start_s = float("nan")
            continue
        if len(cells) <= widest:
            raise refuse(
                source,
                f"row {row}",
                f"the record has {len(cells)} fields, {len(record)} belong there: truncated",
            )
        step_s = _duration_s(source, row, "Time", cells[time_at])
        if math.isnan(step_start_s):  # first record of its step
            step_start_s = _duration_s(source, row, "Total Time", cells[total_at]) - step_s
        # Time within the step is rounded once per record; the step's start only once per step.
        columns[T].append(step_start_s + step_s)
        columns[CURRENT].append(
            current_scale * _number(source, row, record[current_at], cells[current_at])
        )
        columns[VOLTAGE].append(
            voltage_scale * _number(source, row, record[voltage_at], cells[voltage_at])
        )
        columns["step_capacity_Ah"].append(
            capacity_scale * _number(source, row, record[capacity_at], cells[capacity_at])
        )
        if temperature_at >= 0:
            temperatures_C.append(_number(source, row, "T1", cells[temperature_at]))
        # Lines of cycles and steps lie between the records: each keeps its own.
        for key, value in (("cycle", cycle), ("step", number), ("line", float(row))):
            columns[key].append(value)
        types.append(step_type)

    arrays = {key: np.array(values, dtype=np.float64) for key, values in columns.items()}
    if temperatures_C:
        arrays["temperature_C"] = np.array(temperatures_C, dtype=np.float64)
    text: dict[str, TextArray] = {"step_type": np.array(types, dtype=object)}
    return build(source, LAYOUT, arrays, text, _HEADER_LINES + 1)


def _find(source: str, header: list[str], name: str) -> int:
    if name in header:
        return header.index(name)
    raise refuse(source, f"column {name!r}", "missing", nearest(name, [h for h in header if h]))


def _find_scaled(source: str, header: list[str], quantity: str) -> tuple[int, float]:
    units = [name for name in header if name.startswith(quantity + "(") and name.endswith(")")]
    if len(units) > 1:
        problem = f"stands there {len(units)} times: {', '.join(units)}"
        raise refuse(source, f"column {quantity!r}", problem, "export it once")
    for k, name in enumerate(header):
        if name.startswith(quantity + "(") and name.endswith(")"):
            unit = name[len(quantity) + 1 : -1]
            if unit not in _SCALES:
                raise refuse(
                    source,
                    f"column {name!r}",
                    f"unknown unit {unit!r}",
                    nearest(unit, list(_SCALES)),
                )
            return k, _SCALES[unit]
    raise refuse(
        source, f"column {quantity!r}", "missing", nearest(quantity, [h for h in header if h])
    )


def _number(source: str, row: int, column: str, cell: str) -> float:
    return _converted(source, row, column, cell, float)


def _duration_s(source: str, row: int, column: str, cell: str) -> float:
    return _converted(source, row, column, cell, _hms_s)


def _hms_s(cell: str) -> float:
    hours, minutes, seconds = cell.split(":")
    return SECONDS_PER_HOUR * int(hours) + 60.0 * int(minutes) + float(seconds)


def _converted(
    source: str, row: int, column: str, cell: str, convert: Callable[[str], float]
) -> float:
    try:
        return convert(cell)
    except ValueError:
        raise refuse(source, f"row {row}, column {column!r}", f"{cell!r} cannot be read") from None
