"""The journal keeps what it is given, exactly, and loses nothing committed when killed."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Literal

import numpy as np
import pytest

from controller.domain.command import CHARGE, HOLD_0A, TAG_BASE, Command
from controller.domain.decision import Decision
from controller.domain.errors import ConfigurationError, InvariantError, RunDirectoryError
from controller.domain.events import Event, EventKind
from controller.domain.figures import (
    CycleFigures,
    CycleKind,
    DischargeEnd,
    Label,
    RangeErrors,
    Resistance,
)
from controller.domain.sample import NAN, Sample
from controller.domain.verdict import ALLOW, TRIP, Verdict
from controller.io.journal import (
    CHECKPOINTS_KEPT,
    JOURNAL_NAME,
    SAMPLE_COLUMNS,
    Journal,
    JournalReader,
    dump_json,
    load_json,
)

HEADER = {
    "configuration": "cell = 'A-1'  # µ",
    "program_version": "0.1.0",
    "seed": 7,
    "utc_s": 1.7e9,
    "cell": "A-1",
}


def reading(sequence: int, **changes: float) -> Sample:
    sample = Sample(
        sequence=sequence,
        channel=0,
        t_host_s=sequence * 5.0,
        t_device_s=sequence * 5.0 + 0.1 / 3.0,
        utc_s=1.7e9 + sequence * 5.0,
        voltage_V=3.7 + 1e-6 * sequence,
        current_A=1e-3 / 3.0,
        temperature_K=298.15,
        output=1,
        limit_status=1,
        current_range_A=1e-3,
        averaging_s=0.02,
        quality=0,
    )
    return sample._replace(**changes)


FIGURES = CycleFigures(
    cycle=3,
    kind=CycleKind.BASE,
    charge_Ah=0.003,
    u_charge_Ah=1e-7,
    discharge_Ah=0.00299,
    u_discharge_Ah=1e-7,
    net_charge_Ah=-1e-5,
    u_net_charge_Ah=2e-7 / 3.0,
    base_charge_Ah=0.003,
    base_discharge_Ah=0.00299,
    treatment_net_charge_Ah=0.0,
    diagnostic_net_charge_Ah=-0.0,
    coulombic_efficiency=0.00299 / 0.003,
    u_coulombic_efficiency=None,
    coulombic_efficiency_base=None,
    discharge_end=DischargeEnd.ANODE,
    discharge_end_probability=0.9,
    lithium_lost_Ah=math.inf,
    lithium_lost_label=Label.BOUND,
    flags=("starts charged", "incomplete"),
    net_errors=(RangeErrors(1e-3, -5e-9, -1e-8), RangeErrors(0.0, 0.0, -2e-8)),
)


def same_figures(a: CycleFigures, b: CycleFigures) -> bool:
    """Equal field by field and type by type, NaN equal to NaN."""
    return repr(a) == repr(b)


def test_every_field_of_a_sample_comes_back_exactly(tmp_path: Path) -> None:
    samples = [
        reading(0),
        reading(1, voltage_V=NAN, t_device_s=NAN, temperature_K=NAN, quality=129),
        reading(2, current_A=-5e-324, output=-1),
    ]
    journal = Journal.create(tmp_path, HEADER, batch=200)
    for sample in samples:
        journal.sample(sample, 4, 2, CHARGE, TAG_BASE)
    journal.close("completed", utc_s=1.7e9 + 20)
    with JournalReader(tmp_path) as reader:
        columns = reader.samples(tuple(SAMPLE_COLUMNS))
    for name, values in columns.items():
        assert values.dtype == (np.float64 if SAMPLE_COLUMNS[name] == "REAL" else np.int64)
    for name in Sample._fields:
        np.testing.assert_array_equal(columns[name], [getattr(s, name) for s in samples])
    assert columns["cycle"].tolist() == [4, 4, 4]
    assert columns["step_index"].tolist() == [2, 2, 2]
    assert columns["kind"].tolist() == [CHARGE] * 3


@pytest.mark.parametrize(("batch", "seen"), [(1, 5), (2, 4), (3, 3), (5, 5), (6, 0)])
def test_a_batch_is_committed_when_it_is_full(tmp_path: Path, batch: int, seen: int) -> None:
    journal = Journal.create(tmp_path, HEADER, batch=batch)
    with JournalReader(tmp_path) as reader:  # a reader sees committed rows only
        for sequence in range(5):
            journal.sample(reading(sequence), 1, 0, CHARGE, TAG_BASE)
        assert reader.sample_count() == seen
        journal.commit()
        assert reader.sample_count() == 5
    journal.close("stopped", utc_s=0.0)


@pytest.mark.parametrize(("synchronous", "level"), [("FULL", 2), ("NORMAL", 1)])
def test_how_long_a_commit_waits_for_the_disk(
    tmp_path: Path, synchronous: Literal["FULL", "NORMAL"], level: int
) -> None:
    journal = Journal.create(tmp_path, HEADER, synchronous=synchronous)
    assert journal._connection.execute("PRAGMA synchronous").fetchone() == (level,)
    journal.close("stopped", utc_s=0.0)
    again = Journal.open(tmp_path, utc_s=0.0)
    assert again._connection.execute("PRAGMA synchronous").fetchone() == (2,)
    again.close("stopped", utc_s=0.0)


def test_a_batch_below_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="0 readings per commit"):
        Journal.create(tmp_path, HEADER, batch=0)


def test_samples_can_be_narrowed(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, HEADER, batch=200)
    for sequence in range(100):
        journal.sample(reading(sequence), sequence // 10, 0, CHARGE, TAG_BASE)
    journal.commit()
    with JournalReader(tmp_path) as reader:

        def sequences(**narrow: int) -> list[int]:
            return reader.samples(("sequence",), **narrow)["sequence"].tolist()

        assert sequences(cycle=3) == list(range(30, 40))
        assert sequences(first_sequence=98) == [98, 99]
        assert sequences(last_sequence=1) == [0, 1]
        assert sequences(stride=25) == [0, 25, 50, 75]
        assert sequences(first_sequence=20, last_sequence=60, cycle=5, stride=4) == [52, 56]
        assert sequences(first_sequence=100) == []
        with pytest.raises(ConfigurationError, match="did you mean 'voltage_V'"):
            reader.samples(("voltage",))
        with pytest.raises(ConfigurationError, match="0 is not a step"):
            reader.samples(("voltage_V",), stride=0)
    journal.close("stopped", utc_s=0.0)


def test_cycles_decisions_events_and_the_rest_come_back_exactly(tmp_path: Path) -> None:
    decision = Decision(
        cycle=3,
        protocol=None,
        candidate="discharged-rest",
        opportunity=True,
        withheld=True,
        probability=1.0 / 3.0,
        reason="net charge -0.01 mAh",
        inputs={"net_charge_Ah": -1e-5, "slope": NAN, "n": 3, "fresh": True, "why": None},
        refused={"self-heating": "anode-free"},
    )
    event = Event(kind=EventKind.STEP_ENDED, t_s=NAN, sequence=-1, message="é", data={"a": 1.5})
    resistance = Resistance(t_s=1.0, cycle=3, kind="step 1 s", value_Ohm=10.0 / 3.0, u_Ohm=NAN)
    journal = Journal.create(tmp_path, HEADER)
    journal.cycle(FIGURES)
    journal.cycle(replace(FIGURES, cycle=4, coulombic_efficiency=None, flags=()))
    journal.decision(decision)
    journal.event(event)
    journal.resistance(resistance)
    journal.estimate(12, 3, {"r0_Ohm": NAN, "labels": ["bound"]})
    journal.exchange(2.0, "unparsable", b"*TRG\n", b"\xff\x00;\n")
    journal.commit()
    with JournalReader(tmp_path) as reader:
        first, second = reader.cycles()
        assert same_figures(first, FIGURES)
        assert type(first.kind) is CycleKind
        assert type(first.lithium_lost_label) is Label
        assert second.coulombic_efficiency is None
        assert second.flags == ()
        (read,) = reader.decisions()
        assert repr(read) == repr(decision)
        (happened,) = reader.events()
        assert repr(happened) == repr(event)
        assert reader.events(EventKind.STATE) == []
        assert [item.message for item in reader.events(EventKind.STEP_ENDED)] == ["é"]
        assert repr(reader.resistances()) == repr([resistance])
        ((sequence, cycle, figures),) = reader.estimates()
        assert (sequence, cycle, repr(figures)) == (12, 3, "{'r0_Ohm': nan, 'labels': ['bound']}")
        (exchange,) = reader.exchanges()
        assert (exchange.sent, exchange.reply) == (b"*TRG\n", b"\xff\x00;\n")
    journal.close("stopped", utc_s=0.0)


def test_a_command_is_written_only_when_something_changed(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, HEADER)
    allow = Verdict(ALLOW, 0)
    journal.command(0.0, 0, Command(CHARGE, 1e-3, 4.3), allow, CHARGE)
    journal.command(1.0, 1, Command(CHARGE, 1e-3, 4.3, device_timed_s=float("nan")), allow, CHARGE)
    journal.command(2.0, 2, Command(CHARGE, 2e-3, 4.3), allow, CHARGE)
    journal.command(3.0, 3, Command(CHARGE, 2e-3, 4.3), Verdict(TRIP, 1 << 40), 0)
    journal.command(4.0, 4, Command(CHARGE, 2e-3, 4.3), Verdict(TRIP, 1 << 40), 0)
    journal.command(5.0, 5, Command(HOLD_0A), allow, HOLD_0A)
    journal.commit()
    with JournalReader(tmp_path) as reader:
        records = reader.commands()
    assert [record.sequence for record in records] == [0, 2, 3, 5]
    assert records[2].verdict == Verdict(TRIP, 1 << 40)
    assert records[2].in_force_kind == 0
    assert repr(records[0].command) == repr(Command(CHARGE, 1e-3, 4.3))
    assert repr(records[3].command) == repr(Command(HOLD_0A))
    journal.close("stopped", utc_s=0.0)


def test_checkpoints_are_bounded_and_the_newest_counts(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, HEADER)
    with JournalReader(tmp_path) as reader:
        assert reader.last_checkpoint() is None
        for number in range(10):
            journal.checkpoint(number, f'{{"n": {number}}}')
            assert reader.last_checkpoint() == (number, f'{{"n": {number}}}')
        kept = [sequence for sequence, _ in reader.checkpoints()]
    assert kept == [9, 8, 7]
    assert len(kept) == CHECKPOINTS_KEPT
    journal.close("stopped", utc_s=0.0)


def test_header_and_sessions_over_a_resume(tmp_path: Path) -> None:
    first = Journal.create(tmp_path, HEADER)
    assert first.next_sequence == 0
    first.sample(reading(0), 1, 0, CHARGE, TAG_BASE)
    first.sample(reading(1), 1, 0, CHARGE, TAG_BASE)
    first.close("operator", utc_s=1.7e9 + 10)
    first.close("twice", utc_s=0.0)  # says nothing, changes nothing
    second = Journal.open(tmp_path, utc_s=1.7e9 + 100)
    assert second.next_sequence == 2
    second.sample(reading(2), 1, 0, CHARGE, TAG_BASE)
    assert second.next_sequence == 3
    with JournalReader(tmp_path) as reader:
        header = reader.header()
        assert header["configuration"] == HEADER["configuration"]
        assert header["schema"] == 1
        assert header["seed"] == 7
        assert header["cell"] == "A-1"
        assert len(str(header["configuration_sha256"])) == 64
        done, running = reader.sessions()
    assert (done.first_sequence, done.stopped_because) == (0, "operator")
    assert done.stopped_utc_s == 1.7e9 + 10
    assert (running.first_sequence, running.stopped_because) == (2, None)
    second.close("completed", utc_s=1.7e9 + 200)


def test_a_sequence_number_used_twice_is_a_bug_and_keeps_what_was_there(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, HEADER)
    journal.sample(reading(0), 1, 0, CHARGE, TAG_BASE)
    with pytest.raises(InvariantError, match="written twice"):
        journal.sample(reading(0, voltage_V=1.0), 1, 0, CHARGE, TAG_BASE)
    with JournalReader(tmp_path) as reader:
        assert reader.samples(("voltage_V",))["voltage_V"].tolist() == [3.7]
    with pytest.raises(InvariantError):
        journal.close("bug", utc_s=0.0)


def test_a_failed_commit_keeps_its_rows_for_the_next(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, HEADER, batch=200)
    journal._connection.execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(tmp_path / JOURNAL_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    journal.sample(reading(0), 1, 0, CHARGE, TAG_BASE)
    with pytest.raises(RunDirectoryError, match="cannot be written"):
        journal.commit()
    other.execute("ROLLBACK")
    other.close()
    journal.commit()
    with JournalReader(tmp_path) as reader:
        assert reader.sample_count() == 1
    journal.close("stopped", utc_s=0.0)


class BrokenOff:
    """Raises KeyboardInterrupt before the n-th instruction of `commit` and what it calls."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, frame: FrameType, kind: str, _: object) -> object:
        if frame.f_code.co_name not in {"commit", "_write", "_roll_back", "filled", "__init__"}:
            return None
        frame.f_trace_opcodes = True
        if kind == "opcode":
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self


def test_a_commit_broken_off_anywhere_writes_every_row_once(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, HEADER, batch=200)
    expected: list[int] = []
    breaks = 0
    first = True
    reader = JournalReader(tmp_path)
    for after in range(1, 2000):
        sequence = 2 * (after - 1)
        journal.sample(reading(sequence), 1, 0, CHARGE, TAG_BASE)
        journal.event(Event(kind=EventKind.RUN, t_s=0.0, sequence=sequence, message=""))
        first = broken_off(journal, after)
        broken_off(journal, after % 97 + 1)  # and again while it mends that
        breaks += first
        # What comes between two attempts is not lost, nor written with the first.
        journal.sample(reading(sequence + 1), 1, 0, CHARGE, TAG_BASE)
        journal.commit()
        expected += [sequence, sequence + 1]
        assert journal.next_sequence == sequence + 2
        if not first:
            break
    assert reader.samples(("sequence",))["sequence"].tolist() == expected
    assert [event.sequence for event in reader.events()] == expected[::2]
    reader.close()
    assert breaks > 100  # it was broken off at that many places
    assert not first
    journal.close("stopped", utc_s=0.0)


def broken_off(journal: Journal, after: int) -> bool:
    before = sys.gettrace()
    sys.settrace(BrokenOff(after))
    try:
        journal.commit()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_a_second_run_in_the_same_directory_is_refused(tmp_path: Path) -> None:
    Journal.create(tmp_path, HEADER).close("stopped", utc_s=0.0)
    with pytest.raises(RunDirectoryError, match="holds a run already"):
        Journal.create(tmp_path, HEADER)


def test_a_header_without_its_keys_is_a_bug(tmp_path: Path) -> None:
    with pytest.raises(InvariantError, match="seed"):
        Journal.create(tmp_path, {k: v for k, v in HEADER.items() if k != "seed"})


def test_no_journal_no_run(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"holds no run\.sqlite"):
        Journal.open(tmp_path, utc_s=0.0)
    with pytest.raises(RunDirectoryError, match=r"holds no run\.sqlite"):
        JournalReader(tmp_path)
    with pytest.raises(RunDirectoryError, match="cannot be written"):
        Journal.create(tmp_path / "absent", HEADER)


def test_an_unknown_schema_is_named(tmp_path: Path) -> None:
    Journal.create(tmp_path, HEADER).close("stopped", utc_s=0.0)
    with sqlite3.connect(tmp_path / JOURNAL_NAME) as connection:
        connection.execute("UPDATE run SET schema = 2")
    connection.close()
    for use in (JournalReader, lambda path: Journal.open(path, utc_s=0.0)):
        with pytest.raises(RunDirectoryError, match="schema 2 is unknown"):
            use(tmp_path)


def test_what_is_not_a_journal_is_said_so(tmp_path: Path) -> None:
    (tmp_path / JOURNAL_NAME).write_bytes(b"not a database, but long enough to be read" * 100)
    with pytest.raises(RunDirectoryError, match="not a journal"):
        JournalReader(tmp_path)
    (tmp_path / JOURNAL_NAME).write_bytes(b"")
    with pytest.raises(RunDirectoryError, match="no first record"):
        Journal.open(tmp_path, utc_s=0.0)
    Journal.create(tmp_path, HEADER).close("stopped", utc_s=0.0)  # an empty file lost nothing


def test_a_changed_configuration_is_noticed(tmp_path: Path) -> None:
    Journal.create(tmp_path, HEADER).close("stopped", utc_s=0.0)
    with sqlite3.connect(tmp_path / JOURNAL_NAME) as connection:
        connection.execute("UPDATE run SET configuration = 'cell = 2'")
    connection.close()
    with JournalReader(tmp_path) as reader, pytest.raises(RunDirectoryError, match="was changed"):
        reader.header()


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("json_set(figures, '$.colour', 'red')", "unknown field 'colour'"),
        ("json_remove(figures, '$.charge_Ah')", "lacks charge_Ah"),
    ],
)
def test_figures_of_another_version(tmp_path: Path, edit: str, message: str) -> None:
    journal = Journal.create(tmp_path, HEADER)
    journal.cycle(FIGURES)
    journal.close("stopped", utc_s=0.0)
    with sqlite3.connect(tmp_path / JOURNAL_NAME) as connection:
        # A field younger than the file takes its default.
        connection.execute("UPDATE cycles SET figures = json_remove(figures, '$.anchored')")
        connection.commit()
        with JournalReader(tmp_path) as reader:
            assert same_figures(reader.cycles()[0], FIGURES)
        connection.execute("UPDATE cycles SET figures = " + edit)  # noqa: S608 - this test's own
    connection.close()
    with JournalReader(tmp_path) as reader, pytest.raises(RunDirectoryError, match=message):
        reader.cycles()


def test_json_keeps_what_json_cannot_say() -> None:
    value = {"a": [NAN, math.inf, -math.inf, 0.1], "b": {"c": None, "d": True}, "e": "Ω"}
    text = dump_json(value)
    assert "NaN," not in text.replace('"NaN"', "")
    assert repr(load_json(text)) == repr(value)


WRITER = """
    import sys
    from pathlib import Path
    from controller.domain.command import CHARGE, TAG_BASE
    from controller.domain.sample import Sample
    from controller.io.journal import Journal

    header = {"configuration": "", "program_version": "0", "seed": None, "utc_s": 0.0}
    journal = Journal.create(Path(sys.argv[1]), header, batch=int(sys.argv[2]))
    sequence = 0
    while True:
        sample = Sample(sequence, 0, 1.0, 1.0, 1.0, 3.7, 1e-3, 298.0, 1, 1, 1e-3, 0.02, 0)
        journal.sample(sample, 1, 0, CHARGE, TAG_BASE)
        sequence += 1
        if sequence == journal.next_sequence:
            print(sequence, flush=True)  # said only after the commit
"""


@pytest.mark.parametrize("batch", [1, 50])
def test_a_killed_writer_loses_nothing_it_committed(tmp_path: Path, batch: int) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(tmp_path), str(batch)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    process.stdout.readline()  # it is writing
    time.sleep(0.1)
    process.kill()
    said = process.stdout.read().splitlines()
    process.stdout.close()
    process.wait()
    committed = int(said[-1]) if said else batch
    with JournalReader(tmp_path) as reader:
        sequences = reader.samples(("sequence",))["sequence"]
        assert reader.sessions()[0].stopped_because is None
    assert committed <= len(sequences) <= committed + batch
    np.testing.assert_array_equal(sequences, np.arange(len(sequences)))
    journal = Journal.open(tmp_path, utc_s=1.0)
    assert journal._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert journal.next_sequence == len(sequences)
    journal.sample(reading(journal.next_sequence), 1, 0, CHARGE, TAG_BASE)
    journal.close("stopped", utc_s=2.0)


def test_a_run_of_schema_1_opens_for_ever(tmp_path: Path) -> None:
    """The file beside this one was written when schema 1 was new; it is never made again."""
    script = Path(__file__).with_name("test_journal_schema_1.sql").read_text(encoding="utf-8")
    connection = sqlite3.connect(tmp_path / JOURNAL_NAME)
    connection.executescript(script)
    connection.close()
    with JournalReader(tmp_path) as reader:
        header = reader.header()
        assert (header["seed"], header["format"]) == (7, "anode-free")
        voltage_V = reader.samples(("voltage_V", "t_device_s"))
        assert voltage_V["voltage_V"].tolist() == [3.7, 3.701, 3.702]
        assert math.isnan(voltage_V["t_device_s"][0])
        (figures,) = reader.cycles()
        assert figures.discharge_end is DischargeEnd.CATHODE
        assert figures.coulombic_efficiency == 0.0028 / 0.003
        assert math.isnan(figures.resistance_Ohm)
        (decision,) = reader.decisions()
        assert decision.refused == {"self-heating": "anode-free"}
        assert math.isnan(float(decision.inputs["slope"] or 0.0))
        (command,) = reader.commands()
        assert (command.command.current_A, command.verdict.causes) == (1e-3, 4)
        assert reader.events()[0].data == {"from": "checking", "to": "formation"}
        assert reader.estimates() == [(2, 1, {"r0_Ohm": 10.5, "label": "bound"})]
        assert reader.resistances()[0].value_Ohm == 10.5
        assert reader.exchanges()[0].reply == b"\x00\xff"
        assert reader.last_checkpoint() == (2, '{"cycle": 1}')
        assert reader.sessions()[0].stopped_because == "completed"
    journal = Journal.open(tmp_path, utc_s=1.7e9 + 30)
    assert journal.next_sequence == 3
    journal.close("stopped", utc_s=1.7e9 + 31)
