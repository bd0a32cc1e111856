"""The loop: read, journal, estimate and decide, review, act.

The only place (with replay and the rig) that joins core and safety. In real time every reading is
committed before the command that follows it; in virtual time readings are batched, and committed
before every decision and transition.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, assert_never

from controller.app.hardware import Hardware
from controller.core.state import CoreState, to_text
from controller.core.step import Core, Report
from controller.domain.cell import TWO_FOILS
from controller.domain.command import OPEN, Command
from controller.domain.errors import CyclerError, InvariantError, ReactivationError
from controller.domain.events import Event, EventKind
from controller.domain.sample import Sample
from controller.domain.units import SECONDS_PER_HOUR
from controller.domain.verdict import ACTION_WORDS, ALLOW, TRIP, Verdict
from controller.estimation import online
from controller.io.clock import RealClock
from controller.io.journal import Journal
from controller.io.mailbox import Mailbox, OperatorCommand, OperatorWord
from controller.policy.machine import State, Trigger
from controller.safety import supervisor

# How soon an operator's word, or Ctrl-C, is noticed (wall time).
OPERATOR_PERIOD_S: Final = 0.1
# A pause at high charge this long is told (assumed, 12-48 h).
CHARGED_PAUSE_S: Final = 24 * SECONDS_PER_HOUR
# In virtual time this many readings are committed at once.
BATCH_READINGS: Final = 200


class Listener(Protocol):
    """Reads what the loop does; must not block or raise."""

    def sample(self, state: CoreState, sample: Sample, in_force: Command) -> None:
        """Take a reading."""
        ...

    def report(self, state: CoreState, report: Report) -> None:
        """Take events, figures, decisions."""
        ...


@dataclass(slots=True)
class Interrupt:
    """Set by the signal handler; looked at between readings."""

    wanted: bool = False
    reason: str = "Ctrl-C"


class Runtime:
    """One run of one cell, from the start checks to the output open again."""

    def __init__(
        self,
        core: Core,
        limits: supervisor.LimitsRecord,
        hardware: Hardware,
        journal: Journal,
        mailbox: Mailbox,
        *,
        listeners: Sequence[Listener] = (),
        interrupt: Interrupt | None = None,
    ) -> None:
        self._core = core
        self._limits = limits
        self._hardware = hardware
        self._guard = hardware.guard
        self._clock = hardware.clock
        self._journal = journal
        self._mailbox = mailbox
        self._listeners = tuple(listeners)
        self._interrupt = interrupt or Interrupt()
        self._causes = 0
        self._last_look_s = -math.inf
        self._paused_s = math.nan
        self._reports_when_well = 0
        self._wall = RealClock()
        self._sequence = 0
        self._while_read = self._guard.in_force
        self.failed = False  # ended by an error, not by its end, an operator or a trip

    def run(
        self,
        state: CoreState,
        memory: supervisor.Memory,
        sequence: int,
        *,
        resumed: bool,
        acknowledged: OperatorCommand | None = None,
    ) -> CoreState:
        """Run until completed, stopped, or tripped; the output is open afterwards.

        Parameters
        ----------
        state, memory
            New, or as the last checkpoint and the readings after it left them.
        sequence : int
            Number of the next reading.
        resumed : bool
            The run was interrupted before.
        acknowledged : OperatorCommand or None
            Who says that the cause of a latched fault is gone; the first reading has to agree.
        """
        self._sequence = sequence
        try:
            self._run(state, memory, resumed=resumed, acknowledged=acknowledged)
        except ReactivationError as error:
            self._failed(state, str(error))
        except Exception as error:
            self._failed(state, f"internal error: {type(error).__name__}: {error}")
            raise
        finally:
            self._finish(state, memory)
        return state

    # --- life -----------------------------------------------------------------------------------

    def _run(
        self,
        state: CoreState,
        memory: supervisor.Memory,
        *,
        resumed: bool,
        acknowledged: OperatorCommand | None,
    ) -> None:
        connect = Trigger.FOUND_INTERRUPTED if resumed else Trigger.CONNECT
        state.run_state = State.DISCONNECTED
        self._journal.event(self._core.trigger(state, connect, None))
        if resumed:
            self._journal.event(self._core.trigger(state, Trigger.RESUME, None))
        ocv_V = self._guard.start()
        self._started(ocv_V)
        state.stopped_because = ""
        sample = self._read(state)
        supervisor.start_again(memory)  # the start order has brought the output up
        if acknowledged is not None and not self._acknowledge(state, memory, sample, acknowledged):
            return
        self._tell(state, self._core.begin(state, sample))
        if resumed:
            self._tell(state, self._core.interrupted(state, sample, "the run was interrupted"))
        self._checkpoint(state, memory, sample)
        self._loop(state, memory, sample)

    def _started(self, ocv_V: float) -> None:
        identity = self._guard.identity
        serial_number = None if identity is None else identity.serial_number
        self._journal.event(
            Event(
                kind=EventKind.INSTRUMENT,
                t_s=self._clock.now_s(),
                sequence=-1,
                message=f"start checks passed; open-circuit voltage {ocv_V:.4f} V",
                data={"serial_number": serial_number, "ocv_V": ocv_V},
            )
        )

    def _loop(self, state: CoreState, memory: supervisor.Memory, sample: Sample) -> None:
        verdict = Verdict(ALLOW, 0)
        due_s = self._clock.now_s()
        while True:
            # what the poll has found may be another thing than what was in force until then
            command, report = self._core.step(state, sample, self._while_read, verdict)
            in_force = self._guard.in_force
            verdict = supervisor.review(memory, sample, command, self._limits)
            if verdict.causes != self._causes:
                self._verdict_changed(state, verdict, sample)
            if report is not None:
                self._tell(state, report)
                self._hardware.save()  # first, as in `_read`
                self._journal.commit()
            applied = self._guard.apply(command, verdict, sample)
            if in_force.kind == OPEN and applied.kind != OPEN:
                supervisor.start_again(memory)  # the output was brought up by the start order
            if applied is not in_force:
                self._journal.command(
                    sample.t_host_s, sample.sequence, command, verdict, applied.kind
                )
            if report is not None:
                self._checkpoint(state, memory, sample)
            if verdict.action == ALLOW and applied.kind != OPEN:
                self._reports_when_well = len(self._guard.reports)
            if self._guard.tripped and state.run_state is not State.FAULT:
                self._latch(state, sample, verdict)
            if state.stopped_because:
                return
            self._watch_pause(state, sample)
            for listener in self._listeners:
                listener.sample(state, sample, applied)
            due_s = max(due_s + command.period_s, self._clock.now_s())
            if self._wait(state, memory, sample, due_s):
                return
            sample = self._read(state)

    def _watch_pause(self, state: CoreState, sample: Sample) -> None:
        """Ask for a discharge when a pause at high charge lasts: safe, not harmless."""
        if state.run_state is not State.PAUSED:
            self._paused_s = math.nan
            return
        if math.isnan(self._paused_s):
            self._paused_s = sample.t_host_s
            return
        cell = self._core.config.cell
        # two foils stand near 0 V whatever was plated: there is no high charge to see
        high = cell.format not in TWO_FOILS and sample.voltage_V > 0.5 * (
            cell.lower_cut_off_V + cell.upper_cut_off_V
        )
        if high and sample.t_host_s - self._paused_s >= CHARGED_PAUSE_S:
            self._paused_s = math.inf  # said once
            hours = CHARGED_PAUSE_S / SECONDS_PER_HOUR
            self._event(
                EventKind.EXPOSURE,
                f"paused for {hours:g} h at {sample.voltage_V:.3f} V: a rest at "
                "high charge costs lithium; resume or discharge the cell",
                sample,
            )

    def _latch(self, state: CoreState, sample: Sample, verdict: Verdict) -> None:
        """Tell the machine that the guard has opened for good, on a verdict or by itself."""
        words = supervisor.causes_words(verdict.causes) if verdict.action >= TRIP else []
        self._tell(state, self._core.trip(state, sample))
        # what the guard met since the last reading at which all was well is the nearer cause
        met = [
            one
            for one in self._guard.reports[self._reports_when_well :]
            if not one.startswith("trip at")
        ]
        state.stopped_because = "fault: " + "; ".join(dict.fromkeys([*met, *words]))
        self._event(EventKind.RUN, state.stopped_because, sample)

    def _read(self, state: CoreState) -> Sample:
        if not self._hardware.watched():
            raise InvariantError("the thread that watches the permission has ended")
        in_force = self._while_read = self._guard.in_force
        sample = self._guard.poll(self._sequence)
        self._sequence += 1
        self._journal.sample(sample, state.cycle, state.step_index, in_force.kind, in_force.tag)
        if self._hardware.virtual and self._sequence % BATCH_READINGS == 0:
            # the bench first: killed in between, the cell is ahead of its journal, as a real one is
            self._hardware.save()
            self._journal.commit()
        return sample

    def _wait(
        self, state: CoreState, memory: supervisor.Memory, sample: Sample, due_s: float
    ) -> bool:
        """Wait for the next reading; return True when the run is to stop."""
        if self._hardware.virtual:
            # virtual time stands still in a pause, or it would run on for years
            while _is_paused(state):
                if self._look(state, memory, sample):
                    return True
                self._wall.sleep_until(self._wall.now_s() + OPERATOR_PERIOD_S)
            now_s = time.perf_counter()
            if now_s - self._last_look_s >= OPERATOR_PERIOD_S:
                self._last_look_s = now_s
                if self._look(state, memory, sample):
                    return True
            self._clock.sleep_until(due_s)
            self._guard.enforce_expiry()
            return False
        while True:
            if self._look(state, memory, sample):
                return True
            now_s = self._clock.now_s()
            if now_s >= due_s:
                return False
            slice_s = OPERATOR_PERIOD_S * self._hardware.speed
            self._clock.sleep_until(min(due_s, now_s + slice_s))

    # --- operator -------------------------------------------------------------------------------

    def _look(self, state: CoreState, memory: supervisor.Memory, sample: Sample) -> bool:
        """Obey Ctrl-C and the commands left in the run directory."""
        if self._interrupt.wanted:
            self._stop(state, sample, f"stopped by {self._interrupt.reason}")
            return True
        stop = False
        for order in self._mailbox.take():
            answer, done = self._obey(state, sample, order)
            self._event(
                EventKind.OPERATOR,
                f"{order.word}{f' by {order.name}' if order.name else ''}: {answer}",
                sample,
            )
            self._mailbox.answer(order.identifier, answer, done=done)
            stop = stop or order.word is OperatorWord.STOP
            self._checkpoint(state, memory, sample)
        return stop

    def _obey(self, state: CoreState, sample: Sample, order: OperatorCommand) -> tuple[str, bool]:
        match order.word:
            case OperatorWord.STOP:
                self._stop(state, sample, "stopped by the operator")
                return "the cell is rested and the run stops; the same --out resumes it", True
            case OperatorWord.PAUSE:
                return self._move(state, sample, Trigger.PAUSE, "paused at hold_0A")
            case OperatorWord.RESUME:
                answer, done = self._move(state, sample, Trigger.RESUME, "goes on")
                if done:
                    self._tell(state, self._core.interrupted(state, sample, "paused"))
                    self._tell(state, self._core.reenter(state, sample))
                return answer, done
            case OperatorWord.ACKNOWLEDGE:
                return f"nothing to acknowledge: the run is in {state.run_state.value}", False
            case _:
                assert_never(order.word)

    def _acknowledge(
        self,
        state: CoreState,
        memory: supervisor.Memory,
        sample: Sample,
        order: OperatorCommand,
    ) -> bool:
        """Clear the latch if the first reading shows the condition gone."""
        gone, left = supervisor.acknowledge(memory, self._limits, sample)
        words = "; ".join(supervisor.causes_words(left))
        answer = "cleared" if gone else f"the condition still holds: {words}"
        self._event(
            EventKind.OPERATOR,
            f"acknowledged by {order.name} ({order.cause}): {answer}",
            sample,
        )
        self._mailbox.answer(order.identifier, answer, done=gone)
        if not gone:
            self._journal.event(self._core.trigger(state, Trigger.TRIP, sample))
            state.stopped_because = f"fault: {words}"
        return gone

    def _move(
        self, state: CoreState, sample: Sample, trigger: Trigger, done: str
    ) -> tuple[str, bool]:
        event = self._core.trigger(state, trigger, sample)
        self._journal.event(event)
        known = event.kind is EventKind.STATE
        return (done if known else event.message), known

    def _stop(self, state: CoreState, sample: Sample, why: str) -> None:
        self._journal.event(self._core.trigger(state, Trigger.STOP, sample))
        state.stopped_because = why

    # --- ends -----------------------------------------------------------------------------------

    def _failed(self, state: CoreState, why: str) -> None:
        self.failed = True
        state.stopped_because = why
        if state.run_state not in (State.FAULT, State.COMPLETED):
            state.run_state = State.INTERRUPTED
        self._event(EventKind.RUN, why)

    def _finish(self, state: CoreState, memory: supervisor.Memory) -> None:
        """Rest, confirm, disconnect, close: each step whether or not the one before worked."""
        steps: tuple[Callable[[], None], ...] = (
            lambda: self._after_shutdown(self._guard.shutdown()),
            lambda: self._journal.checkpoint(self._sequence, checkpoint_text(state, memory)),
            self._hardware.save,
            self._journal.commit,
        )
        problems: list[str] = []
        for step in steps:
            try:
                step()
            except (CyclerError, ReactivationError, OSError) as error:
                problems.append(str(error))
        for problem in problems:
            self._event(EventKind.RUN, f"while closing: {problem}")
        self._journal.commit()

    def _after_shutdown(self, problems: Sequence[str]) -> None:
        for problem in problems:
            self._event(EventKind.INSTRUMENT, problem)

    # --- journal --------------------------------------------------------------------------------

    def _tell(self, state: CoreState, report: Report) -> None:
        for event in report.events:
            self._journal.event(event)
        for resistance in report.resistances:
            self._journal.resistance(resistance)
        for decision in report.decisions:
            self._journal.decision(decision)
        for figures in report.figures:
            self._journal.cycle(figures)
            self._journal.estimate(
                self._sequence - 1,
                figures.cycle,
                online.live(state.estimator, self._core.config.estimator)._asdict(),
            )
        for listener in self._listeners:
            listener.report(state, report)

    def _checkpoint(self, state: CoreState, memory: supervisor.Memory, sample: Sample) -> None:
        self._hardware.save()
        self._journal.checkpoint(sample.sequence + 1, checkpoint_text(state, memory))
        self._journal.commit()

    def _verdict_changed(self, state: CoreState, verdict: Verdict, sample: Sample) -> None:
        self._causes = verdict.causes
        words = supervisor.causes_words(verdict.causes)
        event = Event(
            kind=EventKind.VERDICT,
            t_s=sample.t_host_s,
            sequence=sample.sequence,
            message=f"{ACTION_WORDS[verdict.action]}: " + ("; ".join(words) or "all clear"),
            data={"action": verdict.action, "causes": verdict.causes},
        )
        self._tell(state, Report(events=[event]))

    def _event(self, kind: EventKind, message: str, sample: Sample | None = None) -> None:
        self._journal.event(
            Event(
                kind=kind,
                t_s=self._clock.now_s() if sample is None else sample.t_host_s,
                sequence=-1 if sample is None else sample.sequence,
                message=message,
            )
        )


def _is_paused(state: CoreState) -> bool:
    return state.run_state is State.PAUSED


def checkpoint_text(state: CoreState, memory: supervisor.Memory) -> str:
    """Return core state and supervisor memory as one JSON text; they stay two documents."""
    return json.dumps({"core": to_text(state), "supervisor": supervisor.memory_to_dict(memory)})
