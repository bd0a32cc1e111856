"""A journal is enough: stepping its readings again gives every decision, command and verdict."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import hil.bench
from controller.app import run as program
from controller.app.config import example_text, load_run
from controller.app.prepare import Prepared, prepare
from controller.core.state import CoreState, from_text, to_text
from controller.core.step import Core
from controller.domain.cell import CellFormat
from controller.domain.command import Command
from controller.domain.events import Event, EventKind
from controller.domain.sample import Sample
from controller.domain.verdict import ACTION_WORDS, ALLOW, Verdict
from controller.io.journal import JournalReader
from controller.policy.machine import Trigger
from controller.safety import supervisor
from hil.instruments.faults import FaultKind, InstrumentFault
from tests.system.kills import RECIPE

SEED = 4
# One reading lost in the first charge, so that there are verdicts to be found again.
LOST = InstrumentFault(kind=FaultKind.NO_REPLY, start_s=150.0, count=1)


@dataclass(frozen=True)
class Ran:
    """A run that was lived once, and what it needs to be lived again."""

    run_dir: Path
    prepared: Prepared


def live(folder: Path, name: str) -> Ran:
    """Run three short cycles with a lost reading, through the program."""
    applicability = "\n".join(
        f'[applicability.{one.value}]\nallowed = "prior-only"\nreason = "test"'
        for one in CellFormat
    )
    (folder / "kill-cycle.toml").write_text(RECIPE.replace("{applicability}", applicability))
    text = example_text()
    for old, new in {
        "cycles = 50 ": "cycles = 3 ",
        "formation_cycles = 2": "formation_cycles = 0",
        "reference_every = 25": "reference_every = 0",
        'base = "base-cycling"': 'base = "kill-cycle.toml"',
        "min_off_s = 3600.0": "min_off_s = 30.0",
    }.items():
        assert old in text, old
        text = text.replace(old, new, 1)
    path = folder / "RUN.toml"
    path.write_text(text)
    original = hil.bench.build_bench
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            hil.bench, "build_bench", lambda **options: original(**options, faults=[LOST])
        )
        patch.setattr(program, "write_report", lambda _: None)
        patch.setattr(program, "write_bdf", lambda _run_dir, _path: None)
        code = program.start(
            program.RunOptions(
                run_file=path, cycles=None, seed=SEED, out=folder / name, as_json=True
            )
        )
    assert code == 0
    return Ran(folder / name, prepare(load_run(path), SEED))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return live(tmp_path_factory.mktemp("journal"), "run")


@dataclass
class Again:
    """The run, stepped over its journalled readings."""

    core: Core
    state: CoreState
    memory: supervisor.Memory
    limits: supervisor.LimitsRecord
    verdict: Verdict = Verdict(ALLOW, 0)  # noqa: RUF009 - a tuple
    command: Command | None = None
    commands: list[tuple[int, str, Verdict]] = field(default_factory=list)
    verdicts: list[tuple[int, str]] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)

    def step(self, sample: Sample, kind: int, tag: int) -> None:
        before = self.verdict.causes
        command, report = self.core.step(
            self.state, sample, Command(kind=kind, tag=tag), self.verdict
        )
        self.verdict = supervisor.review(self.memory, sample, command, self.limits)
        if command is not self.command or self.verdict.causes != before:
            self.commands.append((sample.sequence, repr(command), self.verdict))
            self.command = command
        if self.verdict.causes != before:
            words = "; ".join(supervisor.causes_words(self.verdict.causes)) or "all clear"
            self.verdicts.append((sample.sequence, f"{ACTION_WORDS[self.verdict.action]}: {words}"))
        if report is not None:
            self.events += report.events
            self.figures += [repr(one) for one in report.figures]
            self.decisions += [repr(one) for one in report.decisions]

    def text(self) -> str:
        return to_text(self.state) + json.dumps(supervisor.memory_to_dict(self.memory))


def readings(run_dir: Path) -> Iterator[tuple[Sample, int, int]]:
    columns = (*Sample._fields, "kind", "tag")
    with JournalReader(run_dir) as reader:
        rows = reader.samples(columns)
    for values in zip(*(rows[name].tolist() for name in columns), strict=True):
        yield Sample(*values[:-2]), values[-2], values[-1]


def begin(ran: Ran, first: Sample) -> Again:
    core = Core(ran.prepared.core)
    again = Again(
        core, core.new_state(), supervisor.new_memory(ran.prepared.limits), ran.prepared.limits
    )
    core.trigger(again.state, Trigger.CONNECT, None)
    supervisor.start_again(again.memory)
    report = core.begin(again.state, first)
    again.events += report.events
    again.decisions += [repr(one) for one in report.decisions]
    return again


def stepped(ran: Ran) -> Again:
    rows = list(readings(ran.run_dir))
    again = begin(ran, rows[0][0])
    for row in rows:
        again.step(*row)
    return again


def test_every_decision_command_figure_and_verdict_comes_out_again(ran: Ran) -> None:
    again = stepped(ran)
    with JournalReader(ran.run_dir) as reader:
        decisions = [repr(one) for one in reader.decisions()]
        figures = [repr(one) for one in reader.cycles()]
        commands = reader.commands()
        verdicts = [(one.sequence, one.message) for one in reader.events(EventKind.VERDICT)]
        steps = [
            (one.sequence, one.message)
            for kind in (EventKind.STEP_STARTED, EventKind.STEP_ENDED)
            for one in reader.events(kind)
        ]
    assert len(decisions) == 2  # none follows the last cycle
    assert again.decisions == decisions
    assert len(figures) == 3
    assert again.figures == figures
    assert len(verdicts) == 2
    assert again.verdicts == verdicts
    made = {sequence: (command, verdict) for sequence, command, verdict in again.commands}
    assert len(commands) > 20
    for one in commands:
        assert made[one.sequence] == (repr(one.command), one.verdict)
    found = [
        (one.sequence, one.message)
        for kind in (EventKind.STEP_STARTED, EventKind.STEP_ENDED)
        for one in again.events
        if one.kind is kind
    ]
    assert found == steps
    assert again.state.stopped_because == "completed"


def test_another_seed_or_another_reading_would_be_noticed(ran: Ran) -> None:
    """The comparison above can fail: one current changed in the fifth digit changes a figure."""
    rows = list(readings(ran.run_dir))
    again = begin(ran, rows[0][0])
    for index, (sample, kind, tag) in enumerate(rows):
        changed = sample._replace(current_A=sample.current_A * 1.0001) if index == 100 else sample
        again.step(changed, kind, tag)
    with JournalReader(ran.run_dir) as reader:
        assert again.figures[0] != repr(reader.cycles()[0])


@pytest.mark.parametrize("share", [0.0, 0.13, 0.137, 0.25, 0.5, 0.77, 0.99])
def test_a_checkpoint_at_any_reading_goes_on_the_same(ran: Ran, share: float) -> None:
    rows = list(readings(ran.run_dir))
    at = int(share * len(rows))
    whole = stepped(ran)
    first = begin(ran, rows[0][0])
    for row in rows[:at]:
        first.step(*row)
    memory = json.loads(json.dumps(supervisor.memory_to_dict(first.memory)))
    second = Again(
        Core(ran.prepared.core),
        from_text(to_text(first.state), "test"),
        supervisor.memory_from_dict(memory, ran.prepared.limits),
        ran.prepared.limits,
        first.verdict,
    )
    for row in rows[at:]:
        second.step(*row)
    assert first.figures + second.figures == whole.figures
    assert first.decisions + second.decisions == whole.decisions
    assert first.verdicts + second.verdicts == whole.verdicts
    assert second.text() == whole.text()


def test_the_same_seed_gives_the_same_readings(ran: Ran, tmp_path: Path) -> None:
    other = live(tmp_path, "again")
    columns = [name for name in (*Sample._fields, "kind", "tag") if name != "utc_s"]
    with JournalReader(ran.run_dir) as one, JournalReader(other.run_dir) as two:
        first, second = one.samples(columns), two.samples(columns)
        assert [repr(x) for x in one.decisions()] == [repr(x) for x in two.decisions()]
    assert len(first["sequence"]) > 500
    for name in columns:
        assert np.array_equal(first[name], second[name], equal_nan=True), name


@pytest.mark.parametrize("example", ["li-cu", "li-li"])
def test_opening_pulse_and_first_cycle_of_two_foils_come_out_again(
    example: str, tmp_path: Path
) -> None:
    """Without formation the pulse before any cycling belongs to the first base cycle."""
    text = example_text(example)
    for old, new in {
        "formation_cycles = 2": "formation_cycles = 0",
        "reference_every = 12": "reference_every = 0",
    }.items():
        text = text.replace(old, new, 1)
    path = tmp_path / "RUN.toml"
    path.write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "write_report", lambda _: None)
        patch.setattr(program, "write_bdf", lambda _run_dir, _path: None)
        options = program.RunOptions(
            run_file=path, cycles=1, seed=SEED, out=tmp_path / "run", as_json=True
        )
        assert program.start(options) == 0
    ran = Ran(tmp_path / "run", prepare(load_run(path, cycles=1), SEED))
    again = stepped(ran)
    with JournalReader(ran.run_dir) as reader:
        decisions = [repr(one) for one in reader.decisions()]
        figures = reader.cycles()
        steps = [
            (one.sequence, one.message)
            for kind in (EventKind.STEP_STARTED, EventKind.STEP_ENDED)
            for one in reader.events(kind)
        ]
        assert reader.events(EventKind.VERDICT) == []
    assert again.decisions == decisions
    assert again.decisions[0].startswith("Decision(cycle=0, protocol='pre-strip-4v'")
    assert again.figures == [repr(one) for one in figures]
    # 77 mA for 1 s
    assert figures[0].treatment_net_charge_Ah == pytest.approx(-2.14e-5, rel=0.2)
    assert again.verdicts == []
    found = [
        (one.sequence, one.message)
        for kind in (EventKind.STEP_STARTED, EventKind.STEP_ENDED)
        for one in again.events
        if one.kind is kind
    ]
    assert found == steps
    assert sum("4 V pulse" in message for _, message in steps) == 2
