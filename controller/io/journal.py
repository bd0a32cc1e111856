"""The journal: one SQLite file per run that holds everything needed to follow and repeat it.

Write-ahead log with ``synchronous=FULL``: what was committed survives the death of the process and
of the machine. In real time every reading is committed before the command that follows it (`batch`
1); in virtual time readings may wait in memory up to `batch` of them, and the loop commits before
every decision and transition. The tables are described in ``docs/formats.md``.

NaN stands as NULL in columns, and as the string ``"NaN"`` in JSON (infinities likewise), because
neither SQL nor JSON knows it.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from controller.domain.command import Command
from controller.domain.decision import Decision
from controller.domain.errors import InvariantError, RunDirectoryError, nearest, refuse
from controller.domain.events import Event, EventKind, JsonScalar
from controller.domain.figures import (
    CycleFigures,
    CycleKind,
    DischargeEnd,
    Label,
    Resistance,
    range_errors,
)
from controller.domain.sample import NAN, Sample
from controller.domain.verdict import Verdict

Synchronous = Literal["FULL", "NORMAL"]

SCHEMA: Final = 1
JOURNAL_NAME: Final = "run.sqlite"
# Checkpoints kept; the older ones serve only if the newest cannot be used.
CHECKPOINTS_KEPT: Final = 3
BUSY_TIMEOUT_S: Final = 5.0
# Small enough to stay in the processor's cache while rows become columns.
READ_CHUNK_ROWS: Final = 4_000

SAMPLE_COLUMNS: Final[dict[str, str]] = {
    "sequence": "INTEGER",
    "channel": "INTEGER",
    "t_host_s": "REAL",
    "t_device_s": "REAL",
    "utc_s": "REAL",
    "voltage_V": "REAL",
    "current_A": "REAL",
    "temperature_K": "REAL",
    "output": "INTEGER",
    "limit_status": "INTEGER",
    "current_range_A": "REAL",
    "averaging_s": "REAL",
    "quality": "INTEGER",
    "cycle": "INTEGER",
    "step_index": "INTEGER",
    "kind": "INTEGER",
    "tag": "INTEGER",
}

_TABLES: Final[dict[str, tuple[str, ...]]] = {
    "run": (
        "schema INTEGER NOT NULL",
        "configuration TEXT NOT NULL",
        "configuration_sha256 TEXT NOT NULL",
        "program_version TEXT NOT NULL",
        "seed INTEGER",
        "utc_s REAL NOT NULL",
        "details TEXT NOT NULL",
    ),
    "samples": tuple(
        f"{name} {kind}" + (" PRIMARY KEY" if name == "sequence" else "")
        for name, kind in SAMPLE_COLUMNS.items()
    ),
    "commands": (
        "id INTEGER PRIMARY KEY",
        "t_s REAL",
        "sequence INTEGER NOT NULL",
        "kind INTEGER",
        "current_A REAL",
        "voltage_bound_V REAL",
        "period_s REAL",
        "valid_for_s REAL",
        "device_timed_s REAL",
        "envelope INTEGER",
        "tag INTEGER",
        "action INTEGER",
        "causes INTEGER",
        "in_force_kind INTEGER",
    ),
    "events": (
        "id INTEGER PRIMARY KEY",
        "t_s REAL",
        "sequence INTEGER NOT NULL",
        "kind TEXT NOT NULL",
        "message TEXT NOT NULL",
        "data TEXT NOT NULL",
    ),
    "decisions": (
        "id INTEGER PRIMARY KEY",
        "cycle INTEGER NOT NULL",
        "protocol TEXT",
        "withheld INTEGER NOT NULL",
        "probability REAL",
        "reason TEXT NOT NULL",
        "decision TEXT NOT NULL",
    ),
    "cycles": (
        "id INTEGER PRIMARY KEY",
        "cycle INTEGER NOT NULL",
        "kind TEXT NOT NULL",
        "charge_Ah REAL",
        "discharge_Ah REAL",
        "net_charge_Ah REAL",
        "u_net_charge_Ah REAL",
        "coulombic_efficiency REAL",
        "u_coulombic_efficiency REAL",
        "figures TEXT NOT NULL",
    ),
    "estimates": (
        "id INTEGER PRIMARY KEY",
        "sequence INTEGER NOT NULL",
        "cycle INTEGER NOT NULL",
        "figures TEXT NOT NULL",
    ),
    "resistances": (
        "id INTEGER PRIMARY KEY",
        "t_s REAL",
        "cycle INTEGER NOT NULL",
        "kind TEXT NOT NULL",
        "value_Ohm REAL",
        "u_Ohm REAL",
    ),
    "exchanges": (
        "id INTEGER PRIMARY KEY",
        "t_s REAL",
        "kind TEXT NOT NULL",
        "sent BLOB NOT NULL",
        "reply BLOB NOT NULL",
    ),
    # AUTOINCREMENT: a number freed by dropping an old checkpoint is never given again.
    "checkpoints": (
        "id INTEGER PRIMARY KEY AUTOINCREMENT",
        "sequence INTEGER NOT NULL",
        "state TEXT NOT NULL",
    ),
    "sessions": (
        "id INTEGER PRIMARY KEY",
        "started_utc_s REAL NOT NULL",
        "first_sequence INTEGER NOT NULL",
        "stopped_utc_s REAL",
        "stopped_because TEXT",
    ),
}


def _columns(table: str) -> tuple[str, ...]:
    """Return the names of a table's columns, without the row number SQLite gives itself."""
    return tuple(name for name in (column.split()[0] for column in _TABLES[table]) if name != "id")


def _insert(table: str) -> str:
    """Return an insert statement; the names are this module's own, never the user's."""
    columns = _columns(table)
    marks = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})"  # noqa: S608 - own names


# --- JSON -----------------------------------------------------------------------------------------

_NON_FINITE: Final = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _json_ready(value: object) -> object:
    """Return `value` with non-finite floats as the three reserved strings."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {key: _json_ready(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_ready(item) for item in value]
    return value


def dump_json(value: object) -> str:
    """Return `value` as JSON text in which NaN and infinities are strings.

    Parameters
    ----------
    value : mapping, sequence or scalar
        The strings ``"NaN"``, ``"Infinity"`` and ``"-Infinity"`` are reserved: they read back as
        floats.

    Returns
    -------
    str
        Valid JSON (RFC 8259), floats with all their digits.
    """
    return json.dumps(_json_ready(value), ensure_ascii=False, allow_nan=False)


def _revive(value: Any) -> Any:
    if isinstance(value, str):
        return _NON_FINITE.get(value, value)
    if isinstance(value, dict):
        return {key: _revive(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_revive(item) for item in value]
    return value


def load_json(text: str) -> Any:
    """Return what `dump_json` was given (tuples come back as lists)."""
    return _revive(json.loads(text))


_Record = TypeVar("_Record", CycleFigures, Decision)


def _record(
    kind: type[_Record], text: str, convert: Mapping[str, Callable[[Any], Any]], where: str
) -> _Record:
    """Rebuild a record; fields younger than the file take their defaults."""
    values: dict[str, Any] = load_json(text)
    known = {item.name: item for item in fields(kind)}
    for name in values:
        if name not in known:
            raise RunDirectoryError(
                f"{where}: {kind.__name__} holds the unknown field {name!r}; it was written by a"
                " newer version of this program: install that version to read it"
            )
    missing = [
        name
        for name, item in known.items()
        if name not in values and item.default is MISSING and item.default_factory is MISSING
    ]
    if missing:
        raise RunDirectoryError(f"{where}: {kind.__name__} lacks {', '.join(missing)}")
    for name, make in convert.items():
        if name in values:
            values[name] = make(values[name])
    return kind(**values)


_FIGURE_TYPES: Final[dict[str, Callable[[Any], Any]]] = {
    "kind": CycleKind,
    "discharge_end": DischargeEnd,
    "lithium_lost_label": Label,
    "flags": tuple,
    "net_errors": range_errors,
}


# --- files ----------------------------------------------------------------------------------------


def _connect(uri: str) -> sqlite3.Connection:
    return sqlite3.connect(
        uri,
        uri=True,
        timeout=BUSY_TIMEOUT_S,
        isolation_level=None,
        # The loop may hand the journal to the thread that owns the instrument's port; never two
        # threads at a time.
        check_same_thread=False,
    )


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[sqlite3.Connection]:
    """Open for writing; close again if anything in the body fails."""
    connection: sqlite3.Connection | None = None
    done = False
    try:
        connection = _connect(f"{path.resolve().as_uri()}?mode={mode}")
        yield connection
        done = True
    except sqlite3.Error as error:
        raise RunDirectoryError(f"{path}: cannot be written ({error})") from error
    finally:
        if connection is not None and not done:
            connection.close()


def _set_up(connection: sqlite3.Connection, path: Path, synchronous: Synchronous) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise RunDirectoryError(
            f"{path}: the file system allows no write-ahead log (mode {mode!r}); use a directory"
            " on a local disk"
        )
    connection.execute(f"PRAGMA synchronous = {synchronous}")


def _refuse_second_run(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'run'").fetchone():
        raise RunDirectoryError(
            f"{path}: this directory holds a run already; resume it or choose another"
        )


def _refuse_damaged(connection: sqlite3.Connection, path: Path) -> None:
    problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise RunDirectoryError(f"{path}: damaged ({problem})")


def _read_schema(connection: sqlite3.Connection, path: Path) -> None:
    """Raise `RunDirectoryError` unless the file is a journal this version reads."""
    try:
        row = connection.execute("SELECT schema FROM run").fetchone()
    except sqlite3.DatabaseError as error:
        raise RunDirectoryError(
            f"{path}: not a journal of this program ({error}); it has no first record. If the run"
            " was ended while it was being created, delete the file and start again"
        ) from error
    if row is None:
        raise RunDirectoryError(f"{path}: the journal has no first record")
    if row[0] != SCHEMA:
        raise RunDirectoryError(
            f"{path}: schema {row[0]!r} is unknown; this version reads schema {SCHEMA}."
            " Install the version of the program that wrote it"
        )


def _same(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    """Compare two tuples of numbers with NaN equal to NaN."""
    return a == b or all(
        x == y or (math.isnan(x) and math.isnan(y)) for x, y in zip(a, b, strict=True)
    )


_WRITTEN_TABLES: Final = (
    "samples",
    "commands",
    "events",
    "decisions",
    "cycles",
    "estimates",
    "resistances",
    "exchanges",
    "checkpoints",
)
_INSERTS: Final[dict[str, str]] = {table: _insert(table) for table in _WRITTEN_TABLES}


class _Rows:
    """Rows that are written in one transaction, by table."""

    __slots__ = (*_WRITTEN_TABLES, "begun")

    def __init__(self) -> None:
        self.samples: list[tuple[float, ...]] = []
        self.commands: list[tuple[Any, ...]] = []
        self.events: list[tuple[Any, ...]] = []
        self.decisions: list[tuple[Any, ...]] = []
        self.cycles: list[tuple[Any, ...]] = []
        self.estimates: list[tuple[Any, ...]] = []
        self.resistances: list[tuple[Any, ...]] = []
        self.exchanges: list[tuple[Any, ...]] = []
        self.checkpoints: list[tuple[Any, ...]] = []
        # The transaction that writes them was begun and not rolled back.
        self.begun = False

    def filled(self) -> list[tuple[str, list[tuple[Any, ...]]]]:
        """Return (insert statement, rows) of the tables that have rows."""
        tables = ((name, getattr(self, name)) for name in _WRITTEN_TABLES)
        return [(_INSERTS[name], rows) for name, rows in tables if rows]


class Journal:
    """The writer of a run's journal. One process, one thread at a time.

    Every method but `commit`, `close` and `checkpoint` only appends to lists in memory; `sample`
    commits after every `batch` readings.

    Raises
    ------
    RunDirectoryError
        From any method that commits: the file cannot be written (disk full, directory gone). The
        rows stay in memory and the next `commit` tries them again.
    InvariantError
        The same: a sequence number was used twice.
    """

    __slots__ = (
        "_batch",
        "_connection",
        "_fresh",
        "_last_command",
        "_last_verdict",
        "_pending",
        "_session",
        "next_sequence",
        "path",
    )

    def __init__(
        self, connection: sqlite3.Connection, path: Path, batch: int, utc_s: JsonScalar
    ) -> None:
        if batch < 1:
            raise refuse("journal", "batch", f"{batch} readings per commit", "1 or more")
        self.path = path
        self._connection = connection
        self._batch = batch
        self._fresh = _Rows()
        # What a commit is writing, or failed to write.
        self._pending: _Rows | None = None
        self._last_command: Command | None = None
        self._last_verdict = (-1, -1, -1)
        last = connection.execute("SELECT max(sequence) FROM samples").fetchone()[0]
        # Sequence number the next reading must carry: 0, or where the run was left.
        self.next_sequence: int = 0 if last is None else last + 1
        cursor = connection.execute(
            "INSERT INTO sessions (started_utc_s, first_sequence) VALUES (?, ?)",
            (utc_s, self.next_sequence),
        )
        self._session = cursor.lastrowid or 0

    @classmethod
    def create(
        cls,
        run_dir: Path,
        header: Mapping[str, JsonScalar],
        *,
        batch: int = 1,
        synchronous: Synchronous = "FULL",
    ) -> Self:
        """Start the journal of a new run.

        Parameters
        ----------
        run_dir : Path
            Must exist and hold no journal yet.
        header : mapping
            ``configuration`` (the run file's TOML text), ``program_version`` (str), ``seed`` (int
            or None) and ``utc_s`` (Unix s); anything else is kept as details. The configuration's
            SHA-256 is added here.
        batch : int
            Readings per commit: 1 in real time.
        synchronous : {"FULL", "NORMAL"}
            ``FULL`` wherever a cell is attached: a commit outlives a power cut. ``NORMAL`` is for
            simulated time: it outlives the death of the process, but the last commits before a
            power cut may be gone; it does not wait for the disk at each commit.

        Raises
        ------
        RunDirectoryError
            There is a journal already, or the directory cannot be written.
        """
        path = run_dir / JOURNAL_NAME
        details = dict(header)
        try:
            configuration = str(details.pop("configuration"))
            program_version = str(details.pop("program_version"))
            seed = details.pop("seed")
            utc_s = details.pop("utc_s")
        except KeyError as error:
            raise InvariantError(f"the journal's header lacks {error}") from error
        digest = hashlib.sha256(configuration.encode("utf-8")).hexdigest()
        first = (SCHEMA, configuration, digest, program_version, seed, utc_s, dump_json(details))
        with _opened(path, "rwc") as connection:
            _set_up(connection, path, synchronous)
            _refuse_second_run(connection, path)
            # One transaction: after a crash here the file is empty, never half a journal.
            connection.execute("BEGIN IMMEDIATE")
            for table, columns in _TABLES.items():
                connection.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
            connection.execute("INSERT INTO run VALUES (?, ?, ?, ?, ?, ?, ?)", first)
            connection.execute("COMMIT")
            return cls(connection, path, batch, utc_s)

    @classmethod
    def open(
        cls, run_dir: Path, *, utc_s: float, batch: int = 1, synchronous: Synchronous = "FULL"
    ) -> Self:
        """Go on with the journal of an interrupted or stopped run.

        Parameters
        ----------
        run_dir : Path
        utc_s : float
            Unix time now (s), for the record of sessions.
        batch : int
            Readings per commit.
        synchronous : {"FULL", "NORMAL"}
            As in `create`.

        Raises
        ------
        RunDirectoryError
            No journal there, damaged, or of an unknown schema.
        """
        path = run_dir / JOURNAL_NAME
        if not path.is_file():
            raise RunDirectoryError(f"{run_dir}: holds no {JOURNAL_NAME}, so no run to resume")
        with _opened(path, "rw") as connection:
            _read_schema(connection, path)
            _set_up(connection, path, synchronous)
            _refuse_damaged(connection, path)
            return cls(connection, path, batch, utc_s)

    # --- per reading ---

    def sample(self, sample: Sample, cycle: int, step_index: int, kind: int, tag: int) -> None:
        """Add a reading.

        Parameters
        ----------
        sample : Sample
        cycle : int
        step_index : int
            The step in force while the reading was taken.
        kind, tag : int
            Of the command in force while the reading was taken.
        """
        samples = self._fresh.samples
        samples.append((*sample, cycle, step_index, kind, tag))
        if len(samples) >= self._batch:
            self.commit()

    def command(
        self, t_s: float, sequence: int, command: Command, verdict: Verdict, in_force_kind: int
    ) -> None:
        """Add a command and the verdict on it, if either differs from the last.

        Parameters
        ----------
        t_s : float
            Host time (s).
        sequence : int
            The reading it answers.
        command : Command
            As the core asked for it.
        verdict : Verdict
        in_force_kind : int
            Kind of the command that the guard then gave to the driver.
        """
        answer = (verdict.action, verdict.causes, in_force_kind)
        last = self._last_command
        if answer == self._last_verdict and (
            command is last or (last is not None and _same(command, last))
        ):
            return
        self._last_command = command
        self._last_verdict = answer
        self._fresh.commands.append((t_s, sequence, *command, *answer))

    # --- per event ---

    def event(self, event: Event) -> None:
        """Add an event."""
        self._fresh.events.append(
            (event.t_s, event.sequence, str(event.kind), event.message, dump_json(event.data))
        )

    def decision(self, decision: Decision) -> None:
        """Add a decision with its inputs."""
        self._fresh.decisions.append(
            (
                decision.cycle,
                decision.protocol,
                int(decision.withheld),
                decision.probability,
                decision.reason,
                dump_json(asdict(decision)),
            )
        )

    def cycle(self, figures: CycleFigures) -> None:
        """Add a closed cycle's figures."""
        self._fresh.cycles.append(
            (
                figures.cycle,
                str(figures.kind),
                figures.charge_Ah,
                figures.discharge_Ah,
                figures.net_charge_Ah,
                figures.u_net_charge_Ah,
                figures.coulombic_efficiency,
                figures.u_coulombic_efficiency,
                dump_json(asdict(figures)),
            )
        )

    def estimate(self, sequence: int, cycle: int, figures: Mapping[str, object]) -> None:
        """Add an estimate as of reading `sequence`; keys of `figures` carry units."""
        self._fresh.estimates.append((sequence, cycle, dump_json(figures)))

    def resistance(self, resistance: Resistance) -> None:
        """Add a resistance."""
        self._fresh.resistances.append(
            (
                resistance.t_s,
                resistance.cycle,
                resistance.kind,
                resistance.value_Ohm,
                resistance.u_Ohm,
            )
        )

    def exchange(self, t_s: float, kind: str, sent: bytes, reply: bytes) -> None:
        """Add an exchange with the instrument, byte for byte.

        Parameters
        ----------
        t_s : float
            Host time (s).
        kind : str
            What it was for, e.g. ``program``, ``error``, ``unparsable``.
        sent, reply : bytes
            Empty where there was none.
        """
        self._fresh.exchanges.append((t_s, kind, bytes(sent), bytes(reply)))

    def checkpoint(self, sequence: int, state: str) -> None:
        """Keep the state as of reading `sequence` and commit; only the newest few are kept.

        Parameters
        ----------
        sequence : int
        state : str
            JSON text, from which a resumed run goes on.
        """
        self._fresh.checkpoints.append((sequence, state))
        self.commit()

    def commit(self) -> None:
        """Write everything added so far to the disk; free when there is nothing to write.

        May be broken off at any point (Ctrl-C raises wherever it likes) and called again: every
        row is then written exactly once.
        """
        while self._pending is not None or self._fresh.filled():
            pending = self._pending
            if pending is None:
                pending = self._pending = self._fresh
            if pending is self._fresh:
                self._fresh = _Rows()
            # Begun and no longer in a transaction: it was broken off after the commit.
            if not pending.begun or self._connection.in_transaction:
                self._write(pending)
            if pending.samples:
                self.next_sequence = int(pending.samples[-1][0]) + 1
            self._pending = None

    def _write(self, pending: _Rows) -> None:
        connection = self._connection
        try:
            self._roll_back(pending)  # of a commit that was broken off before its end
            connection.execute("BEGIN IMMEDIATE")
            pending.begun = True
            for statement, rows in pending.filled():
                connection.executemany(statement, rows)
            if pending.checkpoints:
                connection.execute(
                    "DELETE FROM checkpoints WHERE id <= (SELECT max(id) FROM checkpoints) - ?",
                    (CHECKPOINTS_KEPT,),
                )
            connection.execute("COMMIT")
        except sqlite3.IntegrityError as error:
            self._roll_back(pending)
            raise InvariantError(f"{self.path}: a record was written twice ({error})") from error
        except sqlite3.Error as error:
            self._roll_back(pending)
            raise RunDirectoryError(f"{self.path}: cannot be written ({error})") from error

    def _roll_back(self, pending: _Rows) -> None:
        pending.begun = False
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def close(self, stopped_because: str, *, utc_s: float) -> None:
        """Commit, note why this process stopped and when (Unix s), close. Idempotent."""
        if self._session == 0:
            return
        try:
            self.commit()
            self._connection.execute(
                "UPDATE sessions SET stopped_utc_s = ?, stopped_because = ? WHERE id = ?",
                (utc_s, stopped_because, self._session),
            )
        except sqlite3.Error as error:
            raise RunDirectoryError(f"{self.path}: cannot be written ({error})") from error
        finally:
            self._session = 0
            self._connection.close()


# --- reading --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRecord:
    """A row of `commands`: what the core asked, what the supervisor said, what was given."""

    t_s: float
    sequence: int
    command: Command
    verdict: Verdict
    in_force_kind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRecord:
    """A row of `exchanges`."""

    t_s: float
    kind: str
    sent: bytes
    reply: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRecord:
    """One process's time with the run; `stopped_because` is None if it was killed or still runs.

    `first_sequence` is the first reading it could have made. Host time does not carry over from
    one session to the next; Unix time does.
    """

    started_utc_s: float
    first_sequence: int
    stopped_utc_s: float | None
    stopped_because: str | None


def _float(value: float | None) -> float:
    return NAN if value is None else value


class JournalReader:
    """Reads a journal, also while it is being written; changes nothing.

    Parameters
    ----------
    run_dir : Path
        Directory that holds ``run.sqlite``.

    Raises
    ------
    RunDirectoryError
        No journal there, damaged, or of an unknown schema.
    """

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / JOURNAL_NAME
        if not self.path.is_file():
            raise RunDirectoryError(f"{run_dir}: holds no {JOURNAL_NAME}")
        uri = self.path.resolve().as_uri() + "?mode=ro"
        # Even a reader needs a file beside the journal (-shm), except when it is told that nobody
        # writes: so closed runs can be read from a read-only medium.
        log = self.path.with_name(JOURNAL_NAME + "-wal")
        if not log.exists() and not os.access(run_dir, os.W_OK):
            uri += "&immutable=1"
        try:
            self._connection = _connect(uri)
        except sqlite3.Error as error:
            raise RunDirectoryError(f"{self.path}: cannot be opened ({error})") from error
        try:
            _read_schema(self._connection, self.path)
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _rows(self, statement: str, parameters: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        try:
            with closing(self._connection.execute(statement, tuple(parameters))) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise RunDirectoryError(f"{self.path}: cannot be read ({error})") from error

    def header(self) -> dict[str, JsonScalar]:
        """Return the first record: schema, configuration, its hash, version, seed, time, details.

        Raises
        ------
        RunDirectoryError
            The configuration does not match its own SHA-256.
        """
        names = ("schema", "configuration", "configuration_sha256", "program_version", "seed")
        columns = (*names, "utc_s", "details")
        row = self._rows(f"SELECT {', '.join(columns)} FROM run")[0]  # noqa: S608 - own names
        header = dict(zip(columns, row, strict=True))
        digest = hashlib.sha256(header["configuration"].encode("utf-8")).hexdigest()
        if digest != header["configuration_sha256"]:
            raise RunDirectoryError(f"{self.path}: the configuration was changed after the start")
        details = load_json(header.pop("details"))
        return {**details, **header}

    def sample_count(self) -> int:
        """Return the number of readings."""
        return int(self._rows("SELECT count(*) FROM samples")[0][0])

    def samples(
        self,
        columns: Sequence[str],
        *,
        first_sequence: int = 0,
        last_sequence: int | None = None,
        cycle: int | None = None,
        stride: int = 1,
    ) -> dict[str, NDArray[Any]]:
        """Return columns of the readings.

        Parameters
        ----------
        columns : sequence of str
            Names in `SAMPLE_COLUMNS`.
        first_sequence, last_sequence : int or None
            Both included; None is the last there is.
        cycle : int or None
            Only this cycle.
        stride : int
            Only every n-th sequence number, counted from 0.

        Returns
        -------
        dict of str to ndarray
            float64 for floats (NaN where not measured), int64 for the rest; all of one length.

        Raises
        ------
        ConfigurationError
            A column that does not exist, or a stride below 1.
        """
        parts = list(self._chunks(columns, first_sequence, last_sequence, cycle, stride))
        return {
            name: np.concatenate([part[name] for part in parts])
            if parts
            else np.empty(0, dtype=_dtype(name))
            for name in columns
        }

    def sample_chunks(self, columns: Sequence[str]) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the readings in order, `READ_CHUNK_ROWS` at a time, as `samples` returns them."""
        return self._chunks(columns, 0, None, None, 1)

    def _chunks(
        self,
        columns: Sequence[str],
        first_sequence: int,
        last_sequence: int | None,
        cycle: int | None,
        stride: int,
    ) -> Iterator[dict[str, NDArray[Any]]]:
        for name in columns:
            if name not in SAMPLE_COLUMNS:
                choice = nearest(name, tuple(SAMPLE_COLUMNS))
                raise refuse(str(self.path), f"samples.{name}", "no such column", choice)
        if stride < 1:
            raise refuse(str(self.path), "stride", f"{stride} is not a step", "1 or more")
        wanted = f"SELECT {', '.join(columns)} FROM samples WHERE sequence >= ?"  # noqa: S608 - checked
        parameters: list[int] = [first_sequence]
        for clause, value in (
            (" AND sequence <= ?", last_sequence),
            (" AND cycle = ?", cycle),
            (" AND sequence % ? = 0", stride if stride > 1 else None),
        ):
            if value is not None:
                wanted += clause
                parameters.append(value)
        try:
            with closing(
                self._connection.execute(wanted + " ORDER BY sequence", parameters)
            ) as cursor:
                while rows := cursor.fetchmany(READ_CHUNK_ROWS):
                    by_column = zip(*rows, strict=True)
                    yield {
                        name: np.array(values, dtype=_dtype(name))
                        for name, values in zip(columns, by_column, strict=True)
                    }
        except sqlite3.Error as error:
            raise RunDirectoryError(f"{self.path}: cannot be read ({error})") from error

    def cycles(self) -> list[CycleFigures]:
        """Return the figures of the closed cycles, exactly as they were given."""
        rows = self._rows("SELECT figures FROM cycles ORDER BY id")
        return [_record(CycleFigures, row[0], _FIGURE_TYPES, str(self.path)) for row in rows]

    def decisions(self) -> list[Decision]:
        """Return the decisions with their inputs, exactly as they were given."""
        rows = self._rows("SELECT decision FROM decisions ORDER BY id")
        return [_record(Decision, row[0], {}, str(self.path)) for row in rows]

    def events(self, kind: EventKind | None = None) -> list[Event]:
        """Return the events, or those of one kind."""
        rows = self._rows(
            "SELECT kind, t_s, sequence, message, data FROM events"
            " WHERE ? IS NULL OR kind = ? ORDER BY id",
            (kind, kind),
        )
        return [
            Event(
                kind=EventKind(row[0]),
                t_s=_float(row[1]),
                sequence=row[2],
                message=row[3],
                data=load_json(row[4]),
            )
            for row in rows
        ]

    def commands(self) -> list[CommandRecord]:
        """Return the changes of command and verdict."""
        columns = ", ".join(_columns("commands"))
        rows = self._rows(f"SELECT {columns} FROM commands ORDER BY id")  # noqa: S608 - own names
        width = len(Command._fields)
        return [
            CommandRecord(
                t_s=_float(row[0]),
                sequence=row[1],
                command=Command(*map(_float, row[2 : 2 + width])),  # type: ignore[arg-type] # ints stay ints
                verdict=Verdict(*row[2 + width : 4 + width]),
                in_force_kind=row[4 + width],
            )
            for row in rows
        ]

    def resistances(self) -> list[Resistance]:
        """Return the resistances."""
        rows = self._rows("SELECT t_s, cycle, kind, value_Ohm, u_Ohm FROM resistances ORDER BY id")
        return [
            Resistance(
                t_s=_float(row[0]),
                cycle=row[1],
                kind=row[2],
                value_Ohm=_float(row[3]),
                u_Ohm=_float(row[4]),
            )
            for row in rows
        ]

    def estimates(self) -> list[tuple[int, int, dict[str, Any]]]:
        """Return (sequence, cycle, figures) of each estimate."""
        rows = self._rows("SELECT sequence, cycle, figures FROM estimates ORDER BY id")
        return [(row[0], row[1], load_json(row[2])) for row in rows]

    def exchanges(self) -> list[ExchangeRecord]:
        """Return the exchanges kept, byte for byte."""
        rows = self._rows("SELECT t_s, kind, sent, reply FROM exchanges ORDER BY id")
        return [
            ExchangeRecord(t_s=_float(row[0]), kind=row[1], sent=row[2], reply=row[3])
            for row in rows
        ]

    def sessions(self) -> list[SessionRecord]:
        """Return the processes that worked on this run."""
        rows = self._rows(
            "SELECT started_utc_s, first_sequence, stopped_utc_s, stopped_because"
            " FROM sessions ORDER BY id"
        )
        return [
            SessionRecord(
                started_utc_s=row[0],
                first_sequence=row[1],
                stopped_utc_s=row[2],
                stopped_because=row[3],
            )
            for row in rows
        ]

    def last_checkpoint(self) -> tuple[int, str] | None:
        """Return (sequence, JSON text) of the newest checkpoint, None before the first."""
        checkpoints = self.checkpoints()
        return checkpoints[0] if checkpoints else None

    def checkpoints(self) -> list[tuple[int, str]]:
        """Return the checkpoints kept, newest first."""
        rows = self._rows("SELECT sequence, state FROM checkpoints ORDER BY id DESC")
        return [(row[0], row[1]) for row in rows]


def _dtype(column: str) -> type[np.float64] | type[np.int64]:
    return np.float64 if SAMPLE_COLUMNS[column] == "REAL" else np.int64
