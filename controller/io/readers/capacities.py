"""Tables of capacity per cycle: CSV or Parquet with a cycle and a capacity, and no current."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet

from controller.domain.errors import refuse
from controller.estimation.files.capacities import CapacityTable
from controller.io.readers.columns import CSV_THREADS
from controller.io.readers.read import decoded

# Spelling of the capacity -> its unit.
CAPACITIES: Final[dict[str, str]] = {
    "discharge_capacity_Ah": "Ah",
    "discharge_capacity_mAh": "mAh",
    "discharge_capacity_mAh_per_g": "mAh/g",
    "norm_discharge_capacity": "",
    "relative_discharge_capacity": "",
}
_SERIES: Final = ("current_A", "time_s", "voltage_V")
_PARQUET_MAGIC: Final = b"PAR1"


def read_capacities(path: Path) -> CapacityTable | None:
    """Return the table of a file that holds capacities only; None for any other file.

    Raises
    ------
    ConfigurationError
        It is such a table, and it has no rows, or a column of it holds no numbers.
    """
    source = str(path)
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic == _PARQUET_MAGIC:
            names = list(pa_parquet.read_schema(path).names)
        else:
            with path.open(encoding="utf-8-sig", errors="replace") as text:
                names = [name.strip().strip('"') for name in text.readline().split(",")]
    except (OSError, pa.ArrowException):
        return None  # what is wrong with it, the reader of series says
    capacity = next((name for name in CAPACITIES if name in names), None)
    if capacity is None or "cycle" not in names or any(name in names for name in _SERIES):
        return None
    columns = [name for name in ("cell", "cycle", capacity) if name in names]
    try:
        if magic == _PARQUET_MAGIC:
            table = pa_parquet.read_table(path, columns=columns)
        else:
            body = decoded(source, path.read_bytes())
            options = pa_csv.ConvertOptions(
                include_columns=columns, column_types={"cell": pa.string()}
            )
            table = pa_csv.read_csv(
                pa.BufferReader(body.encode()),
                read_options=pa_csv.ReadOptions(use_threads=CSV_THREADS),
                convert_options=options,
            )
    except (OSError, pa.ArrowException) as error:
        raise refuse(source, "", f"cannot be read: {str(error).splitlines()[0]}") from None
    if not table.num_rows:
        raise refuse(source, "row 2", "no data rows: the file is empty or truncated")
    cells = table["cell"].to_pylist() if "cell" in columns else [path.stem] * table.num_rows
    return CapacityTable(
        source=source,
        cell=tuple(str(cell) for cell in cells),
        cycle=_numbers(source, table, "cycle"),
        capacity=_numbers(source, table, capacity),
        unit=CAPACITIES[capacity],
    )


def _numbers(source: str, table: Any, name: str) -> Any:
    try:
        return np.asarray(table[name].cast(pa.float64()).to_numpy(), dtype=np.float64)
    except pa.ArrowException:
        raise refuse(source, f"column {name!r}", "does not hold numbers") from None
