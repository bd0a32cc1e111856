"""Battery Data Format (BDF) out: one CSV per cell and a metadata file beside it.

Labels are the preferred ones of the Battery Data Alliance's format (ontology 1.3.0); current is
positive while charging there too. The file is made from the journal alone, so it can be made again
at any time. What the format cannot say stands in the metadata file (``<name>.metadata.json``).
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv

from controller.domain.cell import ZERO_CELSIUS_K
from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A
from controller.domain.errors import RunDirectoryError
from controller.domain.sample import (
    LIMIT_CURRENT,
    LIMIT_VOLTAGE,
    QUALITY_DUPLICATE,
    QUALITY_NO_CELL_VOLTAGE,
    QUALITY_OUT_OF_ORDER,
    QUALITY_STALE,
)
from controller.domain.units import SECONDS_PER_HOUR
from controller.io.journal import JournalReader, dump_json
from controller.io.platform import atomic_write

SCHEMA: Final = 1

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SCHEMA_OF_FILE: Final = pa.schema(
    [
        ("Test Time / s", pa.float64()),
        ("Voltage / V", pa.float64()),
        ("Current / A", pa.float64()),
        ("Unix Time / s", pa.float64()),
        ("Cycle Count / 1", pa.int64()),
        ("Step Count / 1", pa.int64()),
        ("Step Type", pa.string()),
        ("Surface Temperature / degC", pa.float64()),
        ("Cycle Charging Capacity / Ah", pa.float64()),
        ("Cycle Discharging Capacity / Ah", pa.float64()),
    ]
)

# Columns that are charge integrated here: no cycler's counter beside the current.
INTEGRATED: Final = ("Cycle Charging Capacity / Ah", "Cycle Discharging Capacity / Ah")

_OPTIONS: Final = csv.WriteOptions(include_header=False, quoting_style="none")

_SOURCE_COLUMNS: Final = (
    *("sequence", "t_host_s", "t_device_s", "utc_s", "voltage_V", "current_A", "temperature_K"),
    *("limit_status", "quality", "cycle", "step_index", "kind"),
)

_STEP_TYPES: Final = pa.array(
    ["OCV", "REST", "CC_CHG", "CV_CHG", "CCCV_CHG", "CC_DCH", "CV_DCH", "CCCV_DCH"]
)

# Why a reading is not in the file; the first that applies counts.
_NOT_A_NEW_READING: Final = QUALITY_STALE | QUALITY_DUPLICATE | QUALITY_OUT_OF_ORDER

_NOTES: Final = {
    "Test Time / s": (
        "The instrument's own time where it gives one, host time elsewhere, from the first reading"
        " of the run. Over a resume it goes on by Unix time; it never runs backwards."
    ),
    "Voltage / V": (
        "Positive less negative terminal. On Li||Cu the lithium foil is the positive one: stripping"
        " reads negative."
    ),
    "Current / A": (
        "Positive while charging: it plates lithium on the negative electrode, in every format."
    ),
    "Step Count / 1": "Counts up at every change of cycle, step or command; never resets.",
    "Step Type": (
        "From the command in force and what regulated: CV while the voltage was held. CCCV where"
        " the instrument did not say which. Not part of every version of the format."
    ),
    "Surface Temperature / degC": "Blank where no sensor is declared or its reading failed.",
    INTEGRATED[0]: (
        "Integrated here from current and test time: trapezoids within a step, the new step's"
        " current over the interval in which the step changed; nothing across an interruption or"
        " while the output was off. The controller's own figures, with uncertainty, are in"
        " run.sqlite."
    ),
    "rows left out": (
        "Voltage and current are required by the format and may not be blank: readings without"
        " them (output off, no reply) and repeated or out-of-order ones stand in run.sqlite only."
    ),
}


@dataclass(slots=True)
class BdfSummary:
    """What `write_bdf` wrote.

    Attributes
    ----------
    rows : int
        Readings in the file.
    left_out : dict of str to int
        Readings left out, by reason.
    metadata_path : Path
    """

    rows: int
    left_out: dict[str, int]
    metadata_path: Path


class _TestTime:
    """Seconds since the first reading of the run, never backwards, over all sessions."""

    __slots__ = (
        "_base_s",
        "_device_zero_s",
        "_first_sequences",
        "_host_zero_s",
        "_last_s",
        "_session",
        "_utc_zero_s",
    )

    def __init__(self, first_sequences: list[int]) -> None:
        self._first_sequences = np.array(first_sequences, dtype=np.int64)
        self._session = -1
        self._base_s = 0.0
        self._last_s = 0.0
        self._host_zero_s = 0.0
        self._device_zero_s = np.nan
        self._utc_zero_s = np.nan

    def sessions(self, sequence: Ints) -> Ints:
        """Return the number of the session each reading belongs to."""
        return np.searchsorted(self._first_sequences, sequence, side="right") - 1

    def of(self, session: Ints, host_s: Floats, device_s: Floats, utc_s: Floats) -> Floats:
        """Return the test time of readings, which must be given in order."""
        out = np.empty(len(session))
        edges = np.flatnonzero(np.diff(session)) + 1
        for rows in np.split(np.arange(len(session)), edges):
            if len(rows):
                out[rows] = self._of_one(
                    int(session[rows[0]]), host_s[rows], device_s[rows], utc_s[rows]
                )
        return out

    def _of_one(self, session: int, host_s: Floats, device_s: Floats, utc_s: Floats) -> Floats:
        if session != self._session:
            self._session = session
            self._host_zero_s = float(host_s[0])
            self._device_zero_s = np.nan
            if np.isnan(self._utc_zero_s):
                self._utc_zero_s = float(utc_s[0])
            since_start_s = float(utc_s[0]) - self._utc_zero_s
            self._base_s = max(self._last_s, since_start_s)
        elapsed_s = host_s - self._host_zero_s
        timed = np.isfinite(device_s)
        if np.isnan(self._device_zero_s) and timed.any():
            first = int(np.argmax(timed))
            self._device_zero_s = float(device_s[first] - elapsed_s[first])
        elapsed_s = np.where(timed, device_s - self._device_zero_s, elapsed_s)
        test_s = np.maximum.accumulate(np.append(self._last_s, self._base_s + elapsed_s))[1:]
        self._last_s = float(test_s[-1])
        return test_s


@dataclass(slots=True)
class _Kept:
    """Readings that go into the file."""

    test_s: Floats
    current_A: Floats
    cycle: Ints
    step: Ints
    breaks: Ints


@dataclass(slots=True)
class _Progress:
    """What carries over from one chunk of readings to the next."""

    times: _TestTime
    previous: _Kept | None = None
    step_count: int = 1
    breaks: int = 0
    last_session: int = 0
    charge_Ah: float = 0.0
    discharge_Ah: float = 0.0
    left_out: dict[str, int] = field(default_factory=dict)
    rows: int = 0


def written_here(path: Path, names: list[str]) -> bool:
    """Return whether `write_bdf` wrote a file: by its metadata beside it, or by its columns.

    Parameters
    ----------
    path : Path
        The file; its metadata may be elsewhere or not be there.
    names : list of str
        All its columns, in order.
    """
    if names == _SCHEMA_OF_FILE.names:
        return True
    try:
        document = json.loads(_metadata_path(path).read_bytes())
    except (OSError, ValueError):
        return False
    notes = document.get("notes") if isinstance(document, dict) else None
    return isinstance(notes, dict) and INTEGRATED[0] in notes


def _metadata_path(path: Path) -> Path:
    return path.with_name(path.name + ".metadata.json")


def write_bdf(run_dir: Path, path: Path) -> BdfSummary:
    """Write a run's readings as a BDF CSV file and its metadata beside it.

    Parameters
    ----------
    run_dir : Path
        Holds ``run.sqlite``; may be a run that is still going on.
    path : Path
        Usually ``<instrument>__<cell>__<date>.bdf.csv``. Replaced if it exists, once complete.

    Returns
    -------
    BdfSummary

    Raises
    ------
    RunDirectoryError
        No readable journal in `run_dir`, or `path` cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    metadata_path = _metadata_path(path)
    with JournalReader(run_dir) as reader:
        progress = _Progress(_TestTime([item.first_sequence for item in reader.sessions()]))
        try:
            with (
                part.open("wb") as file,
                csv.CSVWriter(file, _SCHEMA_OF_FILE, write_options=_OPTIONS) as writer,
            ):
                # pyarrow quotes the names in its header, which simple readers do not expect.
                file.write((",".join(_SCHEMA_OF_FILE.names) + "\n").encode("ascii"))
                for chunk in reader.sample_chunks(_SOURCE_COLUMNS):
                    batch = _batch(chunk, progress)
                    if batch is not None:
                        writer.write_batch(batch)
            part.replace(path)
            atomic_write(metadata_path, _metadata(reader, path, progress).encode("utf-8"))
        except OSError as error:
            with suppress(OSError):
                part.unlink()
            raise RunDirectoryError(f"{path}: cannot be written ({error})") from error
    return BdfSummary(rows=progress.rows, left_out=progress.left_out, metadata_path=metadata_path)


def _keep(chunk: dict[str, NDArray[Any]], left_out: dict[str, int]) -> NDArray[np.bool_]:
    """Return which readings go into the file; count the others by reason."""
    quality = chunk["quality"]
    keep = np.ones(len(quality), dtype=np.bool_)
    for reason, bad in (
        ("repeated or out of order", (quality & _NOT_A_NEW_READING) != 0),
        ("output off, no cell voltage", (quality & QUALITY_NO_CELL_VOLTAGE) != 0),
        (
            "voltage or current not measured",
            ~(np.isfinite(chunk["voltage_V"]) & np.isfinite(chunk["current_A"])),
        ),
    ):
        count = int(np.count_nonzero(keep & bad))
        if count:
            left_out[reason] = left_out.get(reason, 0) + count
            keep &= ~bad
    return keep


def _batch(chunk: dict[str, NDArray[Any]], progress: _Progress) -> pa.RecordBatch | None:
    """Return the rows to write for a chunk, None if there are none."""
    session = progress.times.sessions(chunk["sequence"])
    test_s = progress.times.of(session, chunk["t_host_s"], chunk["t_device_s"], chunk["utc_s"])
    # Charge is not integrated over a break: a new session, or the output off.
    new_session = np.diff(session, prepend=progress.last_session) != 0
    output_off = (chunk["quality"] & QUALITY_NO_CELL_VOLTAGE) != 0
    breaks = progress.breaks + np.cumsum(new_session | output_off)
    progress.breaks = int(breaks[-1])
    progress.last_session = int(session[-1])

    keep = _keep(chunk, progress.left_out)
    if not keep.any():
        return None
    rows = {name: values[keep] for name, values in chunk.items()}
    # One number per step and command within a cycle; distinct as kind stays below 16.
    step = rows["step_index"] * 16 + rows["kind"]
    kept = _Kept(test_s[keep], rows["current_A"], rows["cycle"], step, breaks[keep])
    step_count, charge_Ah, discharge_Ah = _accumulate(kept, progress)
    progress.rows += len(step)
    columns = (
        np.round(kept.test_s, 6),
        rows["voltage_V"],
        rows["current_A"],
        np.round(rows["utc_s"], 6),
        rows["cycle"],
        step_count,
        pa.DictionaryArray.from_arrays(
            pa.array(_step_type(rows["kind"], rows["limit_status"])), _STEP_TYPES
        ).cast(pa.string()),
        np.round(rows["temperature_K"] - ZERO_CELSIUS_K, 6),
        np.round(charge_Ah, 12),
        np.round(discharge_Ah, 12),
    )
    return pa.RecordBatch.from_arrays(
        # NaN becomes blank.
        [pa.array(values, from_pandas=True) for values in columns],
        schema=_SCHEMA_OF_FILE,
    )


def _accumulate(kept: _Kept, progress: _Progress) -> tuple[Ints, Floats, Floats]:
    """Return step count and the charge of each direction since the cycle's start (Ah)."""
    previous = progress.previous
    joined = kept if previous is None else _join(previous, kept)
    first = 0 if previous is None else 1

    new_cycle = np.diff(joined.cycle) != 0
    new_step = new_cycle | (np.diff(joined.step) != 0)
    # A new set-point follows a reading at once: where the step changed, the later reading's
    # current flowed all the interval.
    earlier_A, later_A = joined.current_A[:-1], joined.current_A[1:]
    mean_A = np.where(new_step, later_A, 0.5 * (earlier_A + later_A))
    moved_Ah = mean_A * np.diff(joined.test_s) / SECONDS_PER_HOUR
    moved_Ah[np.diff(joined.breaks) != 0] = 0.0

    step_count = progress.step_count + np.append(0, np.cumsum(new_step))
    charge_Ah = _since_reset(progress.charge_Ah, np.maximum(moved_Ah, 0.0), new_cycle)
    discharge_Ah = _since_reset(progress.discharge_Ah, np.maximum(-moved_Ah, 0.0), new_cycle)

    progress.step_count = int(step_count[-1])
    progress.charge_Ah = float(charge_Ah[-1])
    progress.discharge_Ah = float(discharge_Ah[-1])
    progress.previous = _Kept(
        kept.test_s[-1:], kept.current_A[-1:], kept.cycle[-1:], kept.step[-1:], kept.breaks[-1:]
    )
    return step_count[first:], charge_Ah[first:], discharge_Ah[first:]


def _join(a: _Kept, b: _Kept) -> _Kept:
    return _Kept(
        np.append(a.test_s, b.test_s),
        np.append(a.current_A, b.current_A),
        np.append(a.cycle, b.cycle),
        np.append(a.step, b.step),
        np.append(a.breaks, b.breaks),
    )


def _since_reset(start_Ah: float, added_Ah: Floats, reset: NDArray[np.bool_]) -> Floats:
    """Return the running sum, from `start_Ah`, that begins again at 0 before each reset."""
    total_Ah = np.append(0.0, np.cumsum(added_Ah)) + start_Ah
    base_Ah = np.zeros_like(total_Ah)
    base_Ah[1:][reset] = total_Ah[:-1][reset]
    # Totals only grow, so the newest base is the largest.
    return total_Ah - np.maximum.accumulate(base_Ah)


def _step_type(kind: Ints, limit_status: Ints) -> NDArray[np.int32]:
    """Return the index into `_STEP_TYPES` for each reading."""
    regulated = np.full(len(kind), 2, dtype=np.int32)
    regulated[limit_status == LIMIT_CURRENT] = 0
    regulated[limit_status == LIMIT_VOLTAGE] = 1
    word = np.zeros(len(kind), dtype=np.int32)
    word[kind == HOLD_0A] = 1
    word = np.where(kind == CHARGE, 2 + regulated, word)
    return np.where(kind == DISCHARGE, 5 + regulated, word).astype(np.int32)


def _metadata(reader: JournalReader, path: Path, progress: _Progress) -> str:
    header = reader.header()
    document = {
        "schema": SCHEMA,
        "file": path.name,
        "format": "Battery Data Format, labels of ontology 1.3.0",
        "rows": progress.rows,
        "rows_left_out": progress.left_out,
        "notes": _NOTES,
        "run": {name: value for name, value in header.items() if name != "configuration"},
        "configuration_toml": header["configuration"],
        "sessions": [asdict(session) for session in reader.sessions()],
    }
    return dump_json(document) + "\n"
