"""Where an interrupted run stands: last checkpoint, then every reading after it, stepped again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from controller.core.execute import VALID_PERIODS
from controller.core.state import CoreState, from_text
from controller.core.step import Core, Report
from controller.domain.command import Command
from controller.domain.errors import RunDirectoryError
from controller.domain.events import Event, EventKind
from controller.domain.figures import CycleFigures
from controller.domain.sample import Sample
from controller.domain.units import SECONDS_PER_HOUR
from controller.domain.verdict import ALLOW, Verdict
from controller.estimation import online
from controller.io.journal import JournalReader
from controller.safety import supervisor

# Delays of replies and of the computer on top (s; assumed, 0.2 to 2).
EXPIRY_MARGIN_S: Final = 1.0


@dataclass(slots=True, kw_only=True)
class Restored:
    """An interrupted run, ready to go on.

    Attributes
    ----------
    state, memory
        As after the last committed reading.
    sequence : int
        Number of the next reading.
    last_voltage_V : float or None
        Last good cell voltage, which the open-circuit voltage must agree with.
    cycles : list of CycleFigures
        All that are closed, `missing` ones included.
    missing : list of Report
        Figures and decisions whose reading was committed but they were not.
    clean : bool
        The run stopped in order; no charge flowed unobserved.
    current_A, valid_for_s : float
        Largest current that may have gone on flowing, and for how long it was permitted (s).
    last_utc_s : float
        Of the last reading.
    serial_number : str or None
        Of the instrument the run was begun on.
    """

    state: CoreState
    memory: supervisor.Memory
    sequence: int
    last_voltage_V: float | None
    cycles: list[CycleFigures]
    missing: list[Report]
    clean: bool
    current_A: float
    valid_for_s: float
    last_utc_s: float
    serial_number: str | None


def restore(run_dir: Path, core: Core, limits: supervisor.LimitsRecord) -> Restored:
    """Return the state of the run in `run_dir`.

    Raises
    ------
    RunDirectoryError
        No checkpoint, or one of another schema.
    """
    with JournalReader(run_dir) as reader:
        checkpoint = reader.last_checkpoint()
        if checkpoint is None:
            return _never_started(core, limits)
        sequence, text = checkpoint
        documents = json.loads(text)
        state = from_text(documents["core"], str(run_dir))
        memory = supervisor.memory_from_dict(documents["supervisor"], limits)
        columns = (*Sample._fields, "kind", "tag")
        rows = reader.samples(columns, first_sequence=max(sequence - 1, 0))
        cycles = reader.cycles()
        decided = {decision.cycle for decision in reader.decisions()}
        commands = reader.commands()
        sessions = reader.sessions()
        events = reader.events(EventKind.INSTRUMENT)
    clean = bool(sessions) and bool(sessions[-1].stopped_because)
    last_voltage_V: float | None = None
    last_utc_s = float("nan")
    closed = {figures.cycle for figures in cycles}
    command = Command(kind=0)
    missing: list[Report] = []
    verdict = Verdict(ALLOW, 0)
    for values in zip(*(rows[name].tolist() for name in columns), strict=True):
        sample = Sample(*values[: len(Sample._fields)])
        last_utc_s = sample.utc_s
        if sample.quality == 0:
            last_voltage_V = sample.voltage_V
        if sample.sequence < sequence:
            continue
        kind, tag = values[-2:]
        command, report = core.step(state, sample, Command(kind=kind, tag=tag), verdict)
        verdict = supervisor.review(memory, sample, command, limits)
        sequence = sample.sequence + 1
        if report is not None:
            report.figures = [one for one in report.figures if one.cycle not in closed]
            report.decisions = [one for one in report.decisions if one.cycle not in decided]
            report.events = [one for one in report.events if one.kind is EventKind.TREATMENT]
            cycles += report.figures
            if report.figures or report.decisions:
                missing.append(report)
    in_force = commands[-1].command if commands else command
    return Restored(
        state=state,
        memory=memory,
        sequence=sequence,
        last_voltage_V=last_voltage_V,
        cycles=cycles,
        missing=missing,
        clean=clean,
        current_A=max(abs(in_force.current_A), abs(command.current_A)),
        valid_for_s=max(in_force.valid_for_s, command.valid_for_s),
        last_utc_s=last_utc_s,
        serial_number=_serial_number(events),
    )


def _never_started(core: Core, limits: supervisor.LimitsRecord) -> Restored:
    """Return a run that was created and stopped before its first checkpoint."""
    return Restored(
        state=core.new_state(),
        memory=supervisor.new_memory(limits),
        sequence=0,
        last_voltage_V=None,
        cycles=[],
        missing=[],
        clean=True,
        current_A=0.0,
        valid_for_s=0.0,
        last_utc_s=float("nan"),
        serial_number=None,
    )


def _serial_number(events: list[Event]) -> str | None:
    for event in reversed(events):
        if "serial_number" in event.data:
            return str(event.data["serial_number"])
    return None


def unobserved_Ah(restored: Restored, batch_gap_s: float | None) -> float:
    """Return the largest charge that may have flowed since the last committed reading (Ah).

    The dead-man on the instrument opens the output within the permission's time of the last
    renewal, and that may have come one period after the last reading that was committed.

    Parameters
    ----------
    restored : Restored
    batch_gap_s : float or None
        Readings were committed in batches: those of the last one did happen, and the whole gap
        counts (s). None: every reading was committed.
    """
    if restored.clean:
        return 0.0
    longest_s = batch_gap_s
    if longest_s is None:
        longest_s = (1.0 + 1.0 / VALID_PERIODS) * restored.valid_for_s + EXPIRY_MARGIN_S
    return restored.current_A * max(longest_s, 0.0) / SECONDS_PER_HOUR


def take_gap_into_account(restored: Restored, charge_Ah: float) -> None:
    """Widen the running cycle by charge that flowed unobserved; the readings start anew."""
    online.begin_segment(restored.state.estimator)
    if charge_Ah > 0.0:
        online.add_unobserved(restored.state.estimator, charge_Ah)
    nan = float("nan")
    restored.state.progress.last_t_s = nan
    restored.state.last_t_s = nan


def configuration_of(run_dir: Path) -> dict[str, object]:
    """Return the first record of a run directory's journal."""
    with JournalReader(run_dir) as reader:
        header: dict[str, object] = dict(reader.header())
    if "configuration" not in header:
        raise RunDirectoryError(f"{run_dir}: the journal names no configuration")
    return header
