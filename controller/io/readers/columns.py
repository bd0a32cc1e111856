"""Column names of the formats read, and the table built from named columns.

Battery Data Format labels and machine names: github.com/battery-data-alliance/battery-data-format,
ontology 1.3.0. Both spellings of a column are accepted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np

from controller.domain.cell import ZERO_CELSIUS_K
from controller.domain.errors import nearest, refuse
from controller.estimation.table import FloatArray, Table, TextArray

T: Final = "t_s"
CURRENT: Final = "current_A"
VOLTAGE: Final = "voltage_V"

# Every spelling -> the field of `Table`; the first that is present wins.
BDF_LABELS: Final[dict[str, str]] = {
    "Test Time / s": T,
    "Voltage / V": VOLTAGE,
    "Current / A": CURRENT,
    "Surface Temperature / degC": "temperature_C",
    "Temperature T1 / degC": "temperature_C",
    "Ambient Temperature / degC": "temperature_C",
    "Unix Time / s": "unix_s",
    "Cycle Count / 1": "cycle",
    "Step Count / 1": "step",
    "Step Type": "step_type",
    "Charging Capacity / Ah": "charging_Ah",
    "Discharging Capacity / Ah": "discharging_Ah",
    "Step Charging Capacity / Ah": "charging_Ah",
    "Step Discharging Capacity / Ah": "discharging_Ah",
    "Cycle Charging Capacity / Ah": "charging_Ah",
    "Cycle Discharging Capacity / Ah": "discharging_Ah",
}
BDF_MACHINE_NAMES: Final[dict[str, str]] = {
    "test_time_second": T,
    "voltage_volt": VOLTAGE,
    "current_ampere": CURRENT,
    "surface_temperature_celsius": "temperature_C",
    "temperature_t1_celsius": "temperature_C",
    "ambient_temperature_celsius": "temperature_C",
    "unix_time_second": "unix_s",
    "cycle_count": "cycle",
    "step_count": "step",
    "step_index": "step",
    "step_type": "step_type",
    "charging_capacity_ah": "charging_Ah",
    "discharging_capacity_ah": "discharging_Ah",
    "step_charging_capacity_ah": "charging_Ah",
    "step_discharging_capacity_ah": "discharging_Ah",
    "cycle_charging_capacity_ah": "charging_Ah",
    "cycle_discharging_capacity_ah": "discharging_Ah",
}
PLAIN_NAMES: Final[dict[str, str]] = {
    "time_s": T,
    "current_A": CURRENT,
    "voltage_V": VOLTAGE,
    "temperature_C": "temperature_C",
    "cycle": "cycle",
    "step": "step",
    "step_type": "step_type",
    "charging_Ah": "charging_Ah",
    "discharging_Ah": "discharging_Ah",
    "capacity_Ah": "step_capacity_Ah",
}
_LAYOUTS: Final = (  # the first stands where no column is known
    ("plain columns", PLAIN_NAMES),
    ("Battery Data Format, labels", BDF_LABELS),
    ("Battery Data Format, machine names", BDF_MACHINE_NAMES),
)
_REQUIRED: Final = (T, CURRENT, VOLTAGE)
_KNOWN: Final = (
    "known are Battery Data Format, Neware, Arbin and BioLogic exports, and plain columns "
    "time_s, current_A, voltage_V"
)
TEXT_FIELDS: Final = ("step_type",)
# With Arrow's own threads a process that was done was seen to end by an abort ("terminate called
# without an active exception"), in some of a hundred runs on a loaded machine.
CSV_THREADS: Final = False
# What a column in another unit is to be multiplied by.
_INTO: Final[Mapping[str, Mapping[str, str]]] = {
    "A": {"mA": "0.001", "uA": "1e-6", "µA": "1e-6"},
    "V": {"mV": "0.001"},
    "s": {"ms": "0.001", "min": "60", "h": "3600"},
    "Ah": {"mAh": "0.001"},
}
# Fields that one column alone can hold; a cell has several thermometers and counts several ways.
_ONE_ONLY: Final = (*_REQUIRED, "charging_Ah", "discharging_Ah", "step_capacity_Ah")


def recognise(source: str, names: list[str]) -> tuple[str, dict[str, str]]:
    """Return the layout in words and, per field of `Table`, the column that holds it.

    Raises
    ------
    ConfigurationError
        A required column is missing (names the nearest spelling), or one is there twice.
    """
    layout, spelling = max(_LAYOUTS, key=lambda item: sum(name in item[1] for name in names))
    fields: dict[str, str] = {}
    for column, field in spelling.items():
        if column in names and field not in fields:
            fields[field] = column
    for field in _REQUIRED:
        if field not in fields:
            wanted = next(column for column, f in spelling.items() if f == field)
            free = [name for name in names if name not in fields.values()]
            remedy = _in_another_unit(wanted, free) or (
                nearest(wanted, free)
                if free
                else "no column is left that may hold it: export it too"
            )
            raise refuse(
                source,
                f"column {wanted!r}",
                "missing; the file has " + (", ".join(repr(n) for n in names) or "no columns"),
                remedy if fields else _KNOWN,
            )
    for column in fields.values():
        refuse_twice(source, names, column)
    return layout, fields


class Beside(NamedTuple):
    """A column that holds a quantity once more, and what its numbers are to be multiplied by."""

    field: str
    column: str
    factor: float


def beside(names: list[str], fields: Mapping[str, str]) -> list[Beside]:
    """Return the columns that hold what those of `fields` hold.

    In another unit, or by the name that another layout has for it.
    """
    found = []
    for field in _ONE_ONLY:
        taken = fields.get(field, "")
        for name in names:
            elsewhere = field in _REQUIRED and any(
                spelling.get(name) == field for _, spelling in _LAYOUTS
            )
            factor = 1.0 if elsewhere else _factor(taken, name)
            if taken and name != taken and factor:
                found.append(Beside(field, name, factor))
    return found


def refuse_twice(source: str, names: list[str], column: str) -> None:
    """Refuse a file in which a column that is read stands more than once."""
    if names.count(column) > 1:
        problem = f"stands there {names.count(column)} times: which one is meant is not known"
        raise refuse(source, f"column {column!r}", problem, "name the others otherwise")


def _in_another_unit(wanted: str, names: list[str]) -> str:
    """Return what to do with a column that holds the quantity in another unit; empty for none."""
    between = _between(wanted)
    unit = wanted.rpartition(between)[2]
    for name in names:
        if _factor(wanted, name):
            given = name.rpartition(between)[2]
            factor = _INTO[unit][given]
            return f"{name!r} is in {given}: multiply it by {factor} and call it {wanted!r}"
    return ""


def _between(name: str) -> str:
    return " / " if " / " in name else "_"


def _factor(wanted: str, name: str) -> float:
    """Return what turns a column of the same quantity into the wanted unit; 0 for any other."""
    between = _between(wanted)
    quantity, _, unit = wanted.rpartition(between)
    other, _, given = name.rpartition(between)
    factor = _INTO.get(unit, {}).get(given)
    return float(factor) if other.casefold() == quantity.casefold() and factor else 0.0


def lines_of(lines: list[str], first_row: int, count: int) -> FloatArray | None:
    """Return the line in the file of each of `count` rows where empty lines lie between them.

    None where there are none, or where rows are not lines (a line break within quotes).

    Parameters
    ----------
    lines : list of str
        From the first row on.
    first_row : int
        Its line in the file.
    count : int
    """
    filled = np.array([bool(line) for line in lines], dtype=np.bool_)
    if filled[:count].all() or int(filled.sum()) != count:
        return None
    return (np.flatnonzero(filled) + first_row).astype(np.float64)


def build(
    source: str,
    layout: str,
    columns: Mapping[str, FloatArray],
    text: Mapping[str, TextArray],
    first_row: int,
) -> Table:
    """Return the table, refusing one in which nothing can be read.

    Raises
    ------
    ConfigurationError
        No rows, or a required column without a single number.
    """
    if columns[T].size == 0:
        raise refuse(source, f"row {first_row}", "no data rows: the file is empty or truncated")
    for field in _REQUIRED:
        if not np.any(np.isfinite(columns[field])):
            raise refuse(source, f"column {field}", "holds no number at all, only NaN")
    temperature_C = columns.get("temperature_C")
    return Table(
        source=source,
        layout=layout,
        t_s=columns[T],
        current_A=columns[CURRENT],
        voltage_V=columns[VOLTAGE],
        temperature_K=None if temperature_C is None else temperature_C + ZERO_CELSIUS_K,
        cycle=columns.get("cycle"),
        step=columns.get("step"),
        step_type=text.get("step_type"),
        charging_Ah=columns.get("charging_Ah"),
        discharging_Ah=columns.get("discharging_Ah"),
        step_capacity_Ah=columns.get("step_capacity_Ah"),
        unix_s=columns.get("unix_s"),
        first_row=first_row,
        line=columns.get("line"),
    )
