"""One step of the run: estimate, decide, execute. No clock, no random, no input or output.

`step` mutates the state it is given and nothing else; the same state, configuration, samples and
verdicts give the same commands, events and decisions, which is what makes a journal replayable.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

from controller.core.execute import (
    END_WORDS,
    RUNNING,
    VALID_PERIODS,
    Progress,
    advance,
    command_for,
    period_s,
)
from controller.core.plan import BASELINE_REST, CycleKey, PlanBook, PlannedStep
from controller.core.short_check import (
    Probe,
    base_current_A,
    before_current,
    comes_too_early,
    inserted_check,
    is_check,
    owes_check,
    polarity,
    probe_reading,
    teaches,
)
from controller.core.spectrum import SpectrumPlan, Staircase, design, found
from controller.core.state import CoreState
from controller.domain.capabilities import CyclerCapabilities
from controller.domain.cell import CellFormat, CellLimits, CellSpec
from controller.domain.command import HOLD_0A, OPEN, TAG_TREATMENT, Command
from controller.domain.decision import Decision
from controller.domain.errors import ConfigurationError, refuse
from controller.domain.events import Event, EventKind, JsonScalar, event_at
from controller.domain.figures import CycleFigures, CycleKind, DischargeEnd, Resistance
from controller.domain.sample import OUTPUT_OFF, Sample, quality_words
from controller.domain.step import FAST_PERIOD_S, StepEnd
from controller.domain.units import SECONDS_PER_HOUR
from controller.domain.verdict import HOLD, REST, TRIP, Verdict
from controller.estimation import online, relaxation
from controller.policy import scheduler
from controller.policy.machine import State, StateMachine, Trigger
from protocols.check import CheckState, check
from protocols.credit import why_not_credited
from protocols.spec import OCV_CHECK_S, Recipe

# A cycle of a symmetric cell whose charge and discharge differ by more than this part of nominal
# capacity did not end in the state it began in. Assumed, 0.001-0.01.
BALANCED_FRACTION: Final = 0.005
_IDLE_VALID_S: Final = VALID_PERIODS * FAST_PERIOD_S
_HOLD_COMMAND: Final = Command(kind=HOLD_0A, period_s=FAST_PERIOD_S, valid_for_s=_IDLE_VALID_S)
_OPEN_COMMAND: Final = Command(kind=OPEN, period_s=FAST_PERIOD_S, valid_for_s=_IDLE_VALID_S)
_RUNNING_STATES: Final = frozenset(
    {
        State.FORMATION,
        State.CHARGE,
        State.REST,
        State.DISCHARGE,
        State.DIAGNOSING,
        State.ARM,
        State.EXECUTE,
        State.RECOVER,
        State.EVALUATE,
    }
)
_TREATING_STATES: Final = frozenset({State.ARM, State.EXECUTE, State.RECOVER, State.EVALUATE})
_WITHIN_TREATMENT: Final = frozenset({Trigger.EXECUTE, Trigger.RECOVER, Trigger.EVALUATE})


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreConfig:
    """Everything the run is decided from, besides its samples.

    `before_first` is the treatment to be given before any cycling; empty for none. It is not among
    the protocols of `schedule`, which come again. `spectrum` is what the steps marked so measure.
    """

    cell: CellSpec
    limits: CellLimits
    capabilities: CyclerCapabilities
    temperature_source: str
    estimator: online.EstimatorConfig
    schedule: scheduler.ScheduleConfig
    recipes: Mapping[str, Recipe]
    book: PlanBook
    cycles: int
    formation_cycles: int
    reference_every: int
    seed: int
    before_first: str = ""
    spectrum: SpectrumPlan | None = None


@dataclass(slots=True)
class Report:
    """What happened at a sample, besides the command."""

    events: list[Event] = field(default_factory=list)
    figures: list[CycleFigures] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    resistances: list[Resistance] = field(default_factory=list)


class Outcome(NamedTuple):
    """The next command, and a report when something happened."""

    command: Command
    report: Report | None


class Core:
    """The stateless part: configuration, resolved plans and the table of transitions.

    `current` caches the plan that `state.key` names; it is derived, never stored.

    Attributes
    ----------
    needs_check : frozenset of str
        Scheduled recipes after which an open-circuit check has to pass before charging; not the
        one before the first cycle, which brings its own baseline.
    """

    def __init__(self, config: CoreConfig) -> None:
        self.config = config
        self._machine = StateMachine()
        self._cached: tuple[CycleKey, bool, tuple[PlannedStep, ...]] | None = None
        self._command: Command = _HOLD_COMMAND
        self._command_of: tuple[PlannedStep, float] | None = None
        self._base_A = base_current_A(config.book.base)
        self._inserted_check = inserted_check(config.book.nominal_capacity_Ah)
        self._opening = config.book.opening_steps()
        self.needs_check: Final = frozenset(
            name
            for name, steps in config.book.treatments.items()
            if name != config.before_first
            and any(one.ocv_check or owes_check(one, config.cell, self._base_A) for one in steps)
        )

    def new_state(self) -> CoreState:
        """Return the state of a run before its first sample."""
        first = CycleKey(
            kind=CycleKind.FORMATION if self.config.formation_cycles else CycleKind.BASE
        )
        return CoreState(
            run_state=State.DISCONNECTED,
            cycle=1,
            key=first,
            estimator=online.new_state(self.config.estimator),
        )

    def plan(self, state: CoreState) -> tuple[PlannedStep, ...]:
        """Return the steps of the running cycle."""
        cached = self._cached
        if cached is None or cached[0] is not state.key or cached[1] != state.anchoring:
            steps = self.config.book.steps(state.key)
            if state.anchoring:
                steps = (*steps, *self.config.book.anchor_steps())
            self._cached = cached = (state.key, state.anchoring, steps)
        return cached[2]

    def current(self, state: CoreState) -> PlannedStep:
        """Return the running step: of the opening, the plan, or the check in front of it."""
        if state.opening >= 0:
            return self._opening[state.opening]
        if state.short_check.inserted:
            return self._inserted_check
        return self.plan(state)[state.step_index]

    def trigger(self, state: CoreState, trigger: Trigger, sample: Sample | None) -> Event:
        """Move the state machine; an unknown trigger is an event and changes nothing."""
        t_s, sequence = (math.nan, -1) if sample is None else (sample.t_host_s, sample.sequence)
        before = state.run_state
        after, known = self._machine.advance(before, trigger)
        state.run_state = after
        data: dict[str, JsonScalar] = {
            "from": before.value,
            "trigger": trigger.value,
            "to": after.value,
        }
        return Event(
            kind=EventKind.STATE if known else EventKind.INVALID_TRANSITION,
            t_s=t_s,
            sequence=sequence,
            message=f"{before.value} -> {after.value}"
            if known
            else f"{trigger.value} is not possible in {before.value}",
            data=data,
        )

    def begin(self, state: CoreState, sample: Sample) -> Report:
        """Enter the running step after the start checks have passed, or the session's opening."""
        report = Report()
        report.events.append(self.trigger(state, Trigger.CHECKED, sample))
        state.last_t_s = sample.t_host_s
        if self._decides_first(state, sample, report):
            self._open_or_go_on(state, sample, report)
        return report

    def step(
        self, state: CoreState, sample: Sample, in_force: Command, verdict: Verdict
    ) -> Outcome:
        """Take one sample into account and return the next command.

        Parameters
        ----------
        sample : Sample
        in_force : Command
            What the device was really doing while the sample was taken.
        verdict : Verdict
            The supervisor's answer to the command before.
        """
        report: Report | None = None
        skipped = online.observe(
            state.estimator, self.config.estimator, sample, in_force.kind, in_force.tag
        )
        dt_s = sample.t_host_s - state.last_t_s
        state.last_t_s = sample.t_host_s
        if dt_s > 0.0:
            state.hours += dt_s / SECONDS_PER_HOUR
        if skipped and sample.quality:
            report = Report()
            report.events.append(_bad_sample(sample))
        if verdict.action >= HOLD:
            report = self._heed(state, sample, verdict, report or Report())
        if state.run_state not in _RUNNING_STATES:
            return Outcome(self._idle_command(state), report)
        if state.staircase is not None:
            return self._measure(state, state.staircase, sample, in_force, report)
        planned = self.current(state)
        progress = state.progress if state.opening < 0 else state.opening_progress
        end = advance(progress, planned.numbers, sample, in_force.kind)
        resistances = online.take_resistances(state.estimator)
        if resistances:
            report = report or Report()
            report.resistances += [replace(one, cycle=state.cycle) for one in resistances]
        check = state.short_check
        if not sample.quality and in_force.kind == planned.numbers.kind:
            if check.watching and state.opening < 0:
                relaxation.observe(
                    check.relaxation,
                    state.progress.elapsed_s,
                    sample.t_host_s,
                    sample.voltage_V,
                )
            elif planned.step.polarity_probe:
                probe_reading(check.probe, sample.voltage_V, sample.current_A)
        if end != RUNNING:
            report = report or Report()
            self._end_step(state, sample, END_WORDS[end], report)
            if state.run_state not in _RUNNING_STATES:
                return Outcome(self._idle_command(state), report)
        return Outcome(self._next_command(state, sample, in_force), report)

    def reenter(self, state: CoreState, sample: Sample) -> Report:
        """Go on with the running step after a pause; what it has done so far counts."""
        report = Report()
        if state.opening >= 0:
            self._open_or_go_on(state, sample, report)
            return report
        before = state.progress
        self._take_up(state, sample, report)
        self._enter_step(state, sample, report, fresh=state.progress is not before)
        return report

    # --- before the plan ------------------------------------------------------------------------

    def _decides_first(self, state: CoreState, sample: Sample, report: Report) -> bool:
        """Decide on the treatment before any cycling; return whether the run goes on.

        It is given where it was scheduled: withholding it at random is for cells, not for cycles
        of one. Refused at this moment it stops the run, because cycling would end its only chance.
        """
        name = self.config.before_first
        if not name or state.first_decided:
            return True
        refused = self._refusal(state, sample, name)
        if refused:
            why = f"{name} comes before any cycling and is refused now: {refused}"
            report.events.append(event_at(sample, EventKind.TREATMENT, why, {"recipe": name}))
            report.events.append(self.trigger(state, Trigger.STOP, sample))
            state.stopped_because = f"{why}; nothing was cycled, the same --out tries again"
            return False
        state.first_decided = True
        state.key = replace(state.key, recipe=name, treated=True)
        state.treatments_run[name] = 1
        state.scheduler.hours_spent += self.config.book.hours[name]
        decision = Decision(
            cycle=state.cycle - 1,
            protocol=name,
            candidate=name,
            opportunity=False,
            withheld=False,
            probability=math.nan,
            reason="once, before any cycling, on the foil at the positive terminal; it is withheld "
            "at random between cells, not within a run, so no effect is claimed",
        )
        report.decisions.append(decision)
        report.events.append(_decided(decision, sample))
        return True

    def _refusal(self, state: CoreState, sample: Sample, name: str) -> str:
        """Return why the treatment before the first cycle may not be given now."""
        config = self.config
        facts = CheckState(
            temperature_K=sample.temperature_K,
            cycles_done=state.cycle - 1,
            times_done=dict(state.treatments_run),
            envelope_openings=dict(state.envelope_openings),
        )
        reasons = check(
            config.recipes[name],
            config.cell,
            config.limits,
            config.capabilities,
            temperature_source=config.temperature_source,
            state=facts,
        )
        return reasons[0].reason if reasons else ""

    def _open_or_go_on(self, state: CoreState, sample: Sample, report: Report) -> None:
        """Begin the session's opening, or go straight on where there is none.

        While a check after a fast treatment is owed nothing may be charged, not even a probe.
        """
        self._leave_staircase(state)  # it cannot go on; `_take_up` says so
        if self._opening and not state.short_check.due:
            state.opening = 0
            self._enter_opening(state, sample, report)
            return
        state.opening = -1
        self._go_on(state, sample, report)

    def _go_on(self, state: CoreState, sample: Sample, report: Report) -> None:
        self._take_up(state, sample, report)
        self._enter_step(state, sample, report, fresh=state.progress.elapsed_s == 0.0)

    def _enter_opening(self, state: CoreState, sample: Sample, report: Report) -> None:
        planned = self.current(state)
        state.opening_progress = Progress()
        state.opening_progress.last_t_s = sample.t_host_s
        if planned.step.polarity_probe:
            state.short_check.probe = Probe(sample.voltage_V)
        if state.run_state.value != planned.step.stage.value:
            report.events.append(self.trigger(state, Trigger(planned.step.stage.value), sample))
        report.events.append(_started(planned, sample, cycle=state.cycle, index=state.step_index))

    def _end_opening(self, state: CoreState, sample: Sample, report: Report) -> None:
        """Go on to the next step of the opening; without proof of polarity nothing is cycled."""
        if self.current(state).step.polarity_probe:
            proven, said = self._probed(state, sample, report)
            if not proven:
                report.events += self.trip(state, sample).events
                state.stopped_because = f"fault: polarity not proven: {said}"
                return
        state.opening += 1
        if state.opening < len(self._opening):
            self._enter_opening(state, sample, report)
        else:
            state.opening = -1
            self._go_on(state, sample, report)

    def _take_up(self, state: CoreState, sample: Sample, report: Report) -> None:
        """Settle what may not simply go on after a pause or a crash.

        A check counts only in one piece. A treatment that had begun to be fast is over: its next
        pulse would follow a pause that nobody planned. A polarity is proven anew.
        """
        check, step = state.short_check, self.current(state).step
        if step.spectrum and not check.inserted:
            self._no_spectrum(state, sample, "interrupted", report)
            state.step_index += 1
            state.progress = Progress()
            return
        if is_check(step):
            state.progress = Progress()
        if check.inserted or step.tag != TAG_TREATMENT:
            return
        if check.due:
            why = "interrupted before its open-circuit check was passed"
            self._abandon(state, sample, why, report)
            return
        for index, planned in enumerate(self.plan(state)[: state.step_index + 1]):
            if planned.step.polarity_probe:
                state.step_index = index
                state.progress = Progress()
                return

    # --- commands -------------------------------------------------------------------------------

    def _idle_command(self, state: CoreState) -> Command:
        return _HOLD_COMMAND if state.run_state is State.PAUSED else _OPEN_COMMAND

    def _next_command(self, state: CoreState, sample: Sample, in_force: Command) -> Command:
        if in_force.kind == OPEN or sample.output == OUTPUT_OFF:
            # brought up at 0 A first: no current is asked for before the voltage is seen
            return _HOLD_COMMAND
        if state.staircase is not None:
            return state.staircase.command(self.config.cell, sample.t_host_s)
        return self._command_of_step(state, self.current(state), sample)

    def _command_of_step(self, state: CoreState, planned: PlannedStep, sample: Sample) -> Command:
        progress = state.progress if state.opening < 0 else state.opening_progress
        period = period_s(progress, planned.numbers, sample)
        of = self._command_of
        if of is None or of[0] is not planned or of[1] != period:
            self._command_of = (planned, period)
            self._command = command_for(planned.step, planned.numbers, period, planned.envelope)
        return self._command

    # --- verdicts -------------------------------------------------------------------------------

    def _heed(
        self, state: CoreState, sample: Sample, verdict: Verdict, report: Report
    ) -> Report | None:
        """React to a verdict: a trip latches, a rest pauses, a hold only waits."""
        if verdict.action >= TRIP:
            if state.run_state is not State.FAULT:
                report.events += self.trip(state, sample).events
        elif verdict.action >= REST and state.run_state in _RUNNING_STATES:
            if state.run_state in _TREATING_STATES:
                self._abandon(state, sample, "the supervisor rested the cell", report)
            report.events.append(self.trigger(state, Trigger.PAUSE, sample))
            self._expose(state, sample, report, "rested by the supervisor")
        return report if report.events else None

    def trip(self, state: CoreState, sample: Sample) -> Report:
        """Latch: the output has been opened already, not by this."""
        self._spoil(state, "interrupted")
        return Report(events=[self.trigger(state, Trigger.TRIP, sample)])

    def _expose(self, state: CoreState, sample: Sample, report: Report, why: str) -> None:
        """Journal an unplanned pause; the cycles after it do not count."""
        self._spoil(state, "interrupted")
        scheduler.exclude_after_interruption(state.scheduler, state.cycle)
        report.events.append(
            event_at(
                sample,
                EventKind.EXPOSURE,
                f"{why} in cycle {state.cycle}, step {self.current(state).step.name}",
                data={"cycle": state.cycle, "voltage_V": sample.voltage_V},
            )
        )

    def interrupted(self, state: CoreState, sample: Sample, why: str) -> Report:
        """Take an interruption (crash, stop) into account when the run goes on."""
        report = Report()
        self._expose(state, sample, report, why)
        return report

    def _harmed(self, state: CoreState, recipe: str = "") -> None:
        """Count a treatment, the running cycle's unless named, as harm: a short showed after it."""
        recipe = recipe or state.key.recipe
        state.treatments_harmful[recipe] = state.treatments_harmful.get(recipe, 0) + 1
        self._spoil(state, "treatment-harmful")

    def _spoil(self, state: CoreState, flag: str) -> None:
        if flag not in state.spoiled:
            state.spoiled.append(flag)

    def _abandon(self, state: CoreState, sample: Sample, why: str, report: Report) -> None:
        """Break a treatment off, for a reason."""
        recipe = state.key.recipe
        state.treatments_abandoned[recipe] = state.treatments_abandoned.get(recipe, 0) + 1
        self._spoil(state, "treatment-abandoned")
        report.events.append(
            event_at(
                sample,
                EventKind.TREATMENT,
                f"{recipe} abandoned: {why}",
                data={"recipe": recipe, "cycle": state.cycle},
            )
        )
        self._skip_treatment(state, sample, report)

    def _skip_treatment(self, state: CoreState, sample: Sample, report: Report) -> None:
        """Skip the treatment's remaining steps."""
        steps = self.plan(state)
        index = state.step_index
        while index < len(steps) - 1 and steps[index].step.tag == TAG_TREATMENT:
            index += 1
        if state.run_state in _TREATING_STATES:
            report.events.append(self.trigger(state, Trigger.ABANDON, sample))
        state.step_index = index
        state.progress = Progress()

    # --- shorts and polarity --------------------------------------------------------------------

    def _judge(self, state: CoreState, sample: Sample, report: Report) -> bool:
        """Judge the open-circuit check that has just ended; a failed one pauses the run."""
        check = state.short_check
        recipe = check.due
        figures = relaxation.figures_of(check.relaxation)
        judgement = relaxation.judge(figures, check.rests)
        if judgement.passed:
            verdict = "passed"
            check.due = ""
        elif judgement.conclusive:
            verdict = "failed"
            check.short_sign = True
            self._harmed(state, recipe)
        else:
            verdict = "could not be judged"
        words = f"open-circuit check after {recipe} {verdict}: {judgement.reason}"
        if not judgement.passed:
            words += (
                "; paused at 0 A. Look at the cell, then `reactivate resume` repeats the check: "
                "nothing is charged before one has passed"
            )
        report.events.append(
            event_at(
                sample,
                EventKind.TREATMENT,
                words,
                data={
                    "recipe": recipe,
                    "cycle": state.cycle,
                    "passed": judgement.passed,
                    "conclusive": judgement.conclusive,
                    "decay_V_per_h": figures.decay_V_per_h,
                    "decay_limit_V_per_h": judgement.limits.decay_V_per_h,
                    "noise_V": figures.noise_V,
                    "noise_limit_V": judgement.limits.noise_V,
                    "readings": figures.readings,
                    "baseline_rests": len(check.rests),
                    "times_harmful": state.treatments_harmful.get(recipe, 0),
                },
            )
        )
        return judgement.passed

    def _pause_unpassed(self, state: CoreState, sample: Sample, report: Report) -> None:
        """Stop before anything else: the check stays owed, in front of the step that follows."""
        if not state.short_check.inserted:
            self._skip_treatment(state, sample, report)
        state.progress = Progress()
        state.short_check.watching = False
        report.events.append(self.trigger(state, Trigger.PAUSE, sample))

    def _probed(self, state: CoreState, sample: Sample, report: Report) -> tuple[bool, str]:
        """Compare the probe's response with its current; return the outcome, and it in words."""
        asked_A = self.current(state).step.current_A
        proven, moved_V, needed_V = polarity(state.short_check.probe, asked_A)
        said = f"the voltage moved {moved_V * 1e3:+.3g} mV with the current"
        report.events.append(
            event_at(
                sample,
                EventKind.TREATMENT if state.opening < 0 else EventKind.INSTRUMENT,
                f"polarity {'proven' if proven else 'not proven'}: {said}",
                data={
                    "recipe": state.key.recipe if state.opening < 0 else "",
                    "cycle": state.cycle,
                    "passed": proven,
                    "current_A": asked_A,
                    "response_V": moved_V,
                    "response_needed_V": needed_V,
                },
            )
        )
        return proven, f"{said}, more than {needed_V * 1e3:.3g} mV is proof"

    def _polarity_proven(self, state: CoreState, sample: Sample, report: Report) -> bool:
        """Return whether a treatment's probe has proven the polarity; without it the end."""
        proven, said = self._probed(state, sample, report)
        if not proven:
            self._abandon(state, sample, f"polarity not proven: {said}", report)
        return proven

    def _settle(self, state: CoreState, sample: Sample, report: Report) -> bool:
        """Draw the conclusions of the step that has ended; return whether the plan goes on."""
        check, step = state.short_check, self.current(state).step
        if check.due and is_check(step):
            if not self._judge(state, sample, report):
                self._pause_unpassed(state, sample, report)
                return False
        elif check.watching:
            relaxation.learn(check.rests, relaxation.figures_of(check.relaxation))
        check.watching = False
        if check.inserted:
            check.inserted = False
        elif not step.polarity_probe or self._polarity_proven(state, sample, report):
            return True
        self._enter_step(state, sample, report)
        return False

    def _watch(self, state: CoreState, sample: Sample) -> None:
        """Prepare the sums of the step that begins."""
        check, step = state.short_check, self.current(state).step
        untouched = not state.key.treated or before_current(self.plan(state), state.step_index)
        untreated = untouched and not check.short_sign
        if is_check(step) and (check.due or untreated):
            check.relaxation = relaxation.Relaxation(step.max_duration_s)
            check.watching = True
        elif untreated and not check.inserted and teaches(self.plan(state), state.step_index):
            check.relaxation = relaxation.Relaxation(OCV_CHECK_S)
            check.watching = True
        else:
            check.watching = False
        if step.polarity_probe:
            check.probe = Probe(sample.voltage_V)

    # --- steps ----------------------------------------------------------------------------------

    def _enter_step(
        self, state: CoreState, sample: Sample, report: Report, *, fresh: bool = True
    ) -> None:
        planned = self.current(state)
        check = state.short_check
        if not check.inserted and comes_too_early(check.due, self._before(state), planned):
            check.inserted = fresh = True
            planned = self.current(state)
        written_check = is_check(planned.step) and state.key.treated and not check.inserted
        if written_check or owes_check(planned.step, self.config.cell, self._base_A):
            check.due = state.key.recipe
        edge_s = state.progress.edge_s if _same_current(self._before(state), planned) else 0.0
        if fresh:
            state.progress = Progress()
            state.progress.edge_s = edge_s
        state.progress.last_t_s = sample.t_host_s
        self._watch(state, sample)
        stage = planned.step.stage
        trigger = Trigger(stage.value)
        if trigger in _WITHIN_TREATMENT and state.run_state not in _TREATING_STATES:
            # taken up again after a pause: the treatment is armed anew
            report.events.append(self.trigger(state, Trigger.ARM, sample))
        if trigger.value != state.run_state.value:
            report.events.append(self.trigger(state, trigger, sample))
        name = planned.step.envelope
        before = self._before(state)
        same_opening = before is not None and before.step.envelope == name
        if fresh and name and not same_opening:
            state.envelope_openings[name] = state.envelope_openings.get(name, 0) + 1
        if fresh:
            report.events.append(
                _started(planned, sample, cycle=state.cycle, index=state.step_index)
            )
        if planned.step.spectrum:
            self._begin_spectrum(state, sample, report)

    def _before(self, state: CoreState) -> PlannedStep | None:
        return self.plan(state)[state.step_index - 1] if state.step_index else None

    def _end_step(self, state: CoreState, sample: Sample, end: StepEnd, report: Report) -> None:
        planned = self.current(state)
        p = state.progress if state.opening < 0 else state.opening_progress
        report.events.append(
            event_at(
                sample,
                EventKind.STEP_ENDED,
                f"cycle {state.cycle}: {planned.step.name} ended by {end.value}",
                data={
                    "cycle": state.cycle,
                    "step_index": state.step_index,
                    "end": end.value,
                    "elapsed_s": p.elapsed_s,
                    "charge_Ah": p.charge_Ah,
                    "voltage_V": sample.voltage_V,
                },
            )
        )
        if state.opening >= 0:
            self._end_opening(state, sample, report)
            return
        if not self._settle(state, sample, report):
            return
        if planned.step.closes_half_cycle:
            online.end_of_discharge(state.estimator, self.config.estimator)
        state.step_index += 1
        if state.step_index >= len(self.plan(state)):
            self._end_cycle(state, sample, report)
            if state.run_state is State.COMPLETED:
                return
        self._enter_step(state, sample, report)

    # --- impedance spectra ----------------------------------------------------------------------

    def _begin_spectrum(self, state: CoreState, sample: Sample, report: Report) -> None:
        """Design the excitation for the cell as it is now; without one go on to the next step."""
        config = self.config
        resistance_Ohm = online.step_resistance_Ohm(state.estimator)
        try:
            if config.spectrum is None or not resistance_Ohm > 0.0:
                raise refuse("impedance measurement", "", "no step resistance is known to size it")
            excitations = design(
                config.spectrum,
                config.capabilities,
                config.cell,
                config.limits,
                resistance_Ohm,
                self._base_A,
            )
        except ConfigurationError as error:
            self._no_spectrum(state, sample, _reasons(error), report)
            self._end_step(state, sample, StepEnd.ABORTED, report)
            return
        state.staircase = Staircase(excitations, sample.t_host_s, online.gross_As(state.estimator))

    def _measure(
        self,
        state: CoreState,
        staircase: Staircase,
        sample: Sample,
        in_force: Command,
        report: Report | None,
    ) -> Outcome:
        """Take a reading under the excitation; work the spectrum out once it is over, at 0 A."""
        online.drop_resistances(state.estimator)  # edges of a staircase are no single steps
        was_over = staircase.over
        why_not = staircase.take(sample, in_force.kind)
        if why_not or was_over:
            report = report or Report()
            self._end_spectrum(state, staircase, sample, why_not, report)
            if state.run_state not in _RUNNING_STATES:
                return Outcome(self._idle_command(state), report)
        return Outcome(self._next_command(state, sample, in_force), report)

    def _end_spectrum(
        self, state: CoreState, staircase: Staircase, sample: Sample, why_not: str, report: Report
    ) -> None:
        end = StepEnd.ABORTED if why_not else StepEnd.DURATION
        if not why_not:
            try:
                message, data = found(staircase, state.cycle, self.config.estimator.gain_u)
                report.events.append(event_at(sample, EventKind.SPECTRUM, message, data))
            except ConfigurationError as error:
                why_not = _reasons(error)
        if why_not:
            self._no_spectrum(state, sample, why_not, report)
        state.progress.elapsed_s = sample.t_host_s - staircase.edges_s[0]
        state.progress.charge_Ah = staircase.charge_Ah
        self._leave_staircase(state)
        self._end_step(state, sample, end, report)

    def _leave_staircase(self, state: CoreState) -> None:
        """Forget the measurement; of what it moved only the net stays in the cycle's sums."""
        if state.staircase is not None:
            online.keep_net(state.estimator, state.staircase.before_As)
            state.staircase = None

    def _no_spectrum(self, state: CoreState, sample: Sample, why: str, report: Report) -> None:
        """Say why a spectrum is missing; the run goes on without it."""
        self._leave_staircase(state)
        report.events.append(
            event_at(
                sample,
                EventKind.SPECTRUM,
                f"cycle {state.cycle}: no impedance spectrum: {why}",
                data={"cycle": state.cycle, "reason": why},
            )
        )

    # --- cycles ---------------------------------------------------------------------------------

    def _end_cycle(self, state: CoreState, sample: Sample, report: Report) -> None:
        """Decide first (an opportunity asks for an anchor), then close the cycle.

        Deciding before closing lets the anchor's charge belong to the cycle it ends.
        """
        following = self._following(state, running_is_done=True)
        base_next = following is CycleKind.BASE
        anchored = state.anchoring or state.key.ends_in_anchor
        if state.key.kind is CycleKind.BASE and not state.anchoring and base_next:
            decision = self._decide(state, sample)
            report.decisions.append(decision)
            report.events.append(_decided(decision, sample))
            if decision.opportunity and decision.candidate is not None:
                state.next_key = CycleKey(
                    kind=CycleKind.BASE, recipe=decision.candidate, treated=not decision.withheld
                )
                if not anchored:
                    state.anchoring = True
                    return
        if following is not state.key.kind and not anchored:
            state.anchoring = True  # every change of rate ends at an anchor too
            return
        self._close_cycle(state, sample, report)

    def _close_cycle(self, state: CoreState, sample: Sample, report: Report) -> None:
        anchored = state.anchoring or state.key.ends_in_anchor
        figures = online.close_cycle(
            state.estimator,
            self.config.estimator,
            cycle=state.cycle,
            kind=state.key.kind,
            anchored=anchored,
        )
        if state.key.treated and "soft-short" in figures.flags:
            self._harmed(state)
        if state.spoiled:
            figures = replace(figures, flags=(*figures.flags, *state.spoiled))
        if self._unbalanced(figures):
            figures = replace(figures, anchored=False, flags=(*figures.flags, "unbalanced"))
        if anchored:
            figures = self._compared(state, figures, sample)
        state.history.append(figures)
        scheduler.record_outcome(state.scheduler, figures)
        report.figures.append(figures)
        report.events.append(_closed(figures, sample))
        self._count(state)
        following = self._following(state, running_is_done=False)
        if following is None:
            report.events.append(self.trigger(state, Trigger.COMPLETE, sample))
            state.stopped_because = "completed"
            return
        self._begin_cycle(state, following)

    def _compared(self, state: CoreState, figures: CycleFigures, sample: Sample) -> CycleFigures:
        """Return the figures, no anchor's where it is warmer or colder than the one before."""
        before_K, state.anchor_K = state.anchor_K, sample.temperature_K
        if abs(state.anchor_K - before_K) > self.config.book.anchor_within_K:
            figures = replace(figures, anchored=False, flags=(*figures.flags, "temperature-moved"))
        return figures

    def _unbalanced(self, figures: CycleFigures) -> bool:
        """Return whether a symmetric cell's cycle ended in another state than it began in."""
        cell = self.config.cell
        return cell.format is CellFormat.LI_LI and not (
            abs(figures.net_charge_Ah) <= BALANCED_FRACTION * cell.nominal_capacity_Ah
        )

    def has_ended(self, state: CoreState) -> bool:
        """Return whether the last cycle there was to be has been closed."""
        return state.step_index >= len(self.plan(state))

    def extend(self, state: CoreState) -> bool:
        """Begin the next cycle of a completed run that was given more cycles; False if none."""
        following = self._following(state, running_is_done=False)
        if following is None:
            return False
        self._begin_cycle(state, following)
        return True

    def _begin_cycle(self, state: CoreState, following: CycleKind) -> None:
        state.cycle += 1
        state.step_index = 0
        state.progress = Progress()
        state.anchoring = False
        state.spoiled = []
        state.key = self._next_key(state, following)
        state.next_key = None
        if state.key.recipe and state.key.treated:
            recipe = state.key.recipe
            state.treatments_run[recipe] = state.treatments_run.get(recipe, 0) + 1

    def _count(self, state: CoreState) -> None:
        match state.key.kind:
            case CycleKind.FORMATION:
                state.formation_done += 1
            case CycleKind.BASE:
                state.base_done += 1
            case CycleKind.REFERENCE:
                state.reference_part += 1
                if state.reference_part >= len(self.config.book.reference):
                    state.reference_part = 0
                    state.reference_done += 1

    def _next_key(self, state: CoreState, following: CycleKind) -> CycleKey:
        if following is CycleKind.FORMATION:
            return CycleKey(kind=following, part=state.formation_done)
        if following is CycleKind.REFERENCE:
            return CycleKey(kind=following, part=state.reference_part)
        return state.next_key or CycleKey(
            kind=following, part=BASELINE_REST if self._wants_baseline(state) else 0
        )

    def _wants_baseline(self, state: CoreState) -> bool:
        """Return whether a scheduled recipe waits for this cell's own rests."""
        return (
            bool(self.needs_check)
            and not state.short_check.short_sign
            and len(state.short_check.rests) < relaxation.BASELINE_LEAST_RESTS
        )

    def _following(self, state: CoreState, *, running_is_done: bool) -> CycleKind | None:
        """Return what follows: formation, a reference test, base cycles with a test every N.

        The run ends with its last base cycle, or with the reference test that is due then.
        `running_is_done` counts the running cycle, which has not been closed yet.
        """
        done = {
            CycleKind.FORMATION: state.formation_done,
            CycleKind.BASE: state.base_done,
            CycleKind.REFERENCE: state.reference_part,
        }
        if running_is_done:
            done[state.key.kind] += 1
        tests, part = divmod(done[CycleKind.REFERENCE], len(self.config.book.reference))
        if done[CycleKind.FORMATION] < self.config.formation_cycles:
            return CycleKind.FORMATION
        every = self.config.reference_every
        due = (self.config.formation_cycles > 0) + (done[CycleKind.BASE] // every if every else 0)
        if part or state.reference_done + tests < due:
            return CycleKind.REFERENCE
        return CycleKind.BASE if done[CycleKind.BASE] < self.config.cycles else None

    def _decide(self, state: CoreState, sample: Sample) -> Decision:
        config = self.config
        history = [*state.history, self._preview(state)]
        candidates, refused = self._candidates(state, history, sample)
        decision = scheduler.decide(
            state.scheduler,
            config.schedule,
            history,
            candidates,
            refused,
            cycle=state.cycle,
            seed=config.seed,
        )
        if decision.opportunity and decision.candidate is not None:
            hours = 0.0 if decision.withheld else config.book.hours[decision.candidate]
            scheduler.record_decision(state.scheduler, decision, history, hours)
        return decision

    def _preview(self, state: CoreState) -> CycleFigures:
        """Return the running cycle's figures as they stand, without closing it."""
        copy = online.from_dict(online.to_dict(state.estimator))
        return online.close_cycle(
            copy, self.config.estimator, cycle=state.cycle, kind=state.key.kind, anchored=False
        )

    def _candidates(
        self, state: CoreState, history: list[CycleFigures], sample: Sample
    ) -> tuple[list[scheduler.Candidate], dict[str, str]]:
        """Return the recipes that may run now and, for the others, why not."""
        config = self.config
        now = history[-1]
        facts = CheckState(
            temperature_K=sample.temperature_K,
            # what came off the negative electrode was there; more may be
            active_lithium_lower_Ah=max(now.discharge_Ah - 2.0 * now.u_discharge_Ah, 0.0),
            anode_limited_end=now.discharge_end is DischargeEnd.ANODE,
            short_sign=state.short_check.short_sign
            or scheduler.short_sign(state.scheduler, history),
            cycles_done=state.base_done,
            formation_over=True,  # the scheduler waits for the drift to end by itself
            since_charge_end_s=0.0,  # the plan puts an after-charge treatment right there
            times_done=dict(state.treatments_run),
            envelope_openings=dict(state.envelope_openings),
        )
        candidates: list[scheduler.Candidate] = []
        refused: dict[str, str] = {}
        for name in config.schedule.protocols:
            recipe = config.recipes[name]
            reasons = check(
                recipe,
                config.cell,
                config.limits,
                config.capabilities,
                temperature_source=config.temperature_source,
                state=facts,
            )
            reason = reasons[0].reason if reasons else self._unchecked(state, name)
            if state.treatments_harmful.get(name):
                reason = "a short showed after it: it is not given to this cell again"
            if reason:
                refused[name] = reason
            else:
                candidates.append(
                    scheduler.Candidate(
                        recipe=name,
                        prior_gain_Ah=_prior_gain_Ah(recipe, config.cell),
                        hours=config.book.hours[name],
                        prior_sd_Ah=_prior_sd_Ah(recipe, config.cell),
                        not_credited=why_not_credited(recipe, config.cell.format),
                    )
                )
        return candidates, refused

    def _unchecked(self, state: CoreState, name: str) -> str:
        """Return why the check after a recipe could not be judged yet; empty if it could."""
        known, needed = len(state.short_check.rests), relaxation.BASELINE_LEAST_RESTS
        if name not in self.needs_check or known >= needed:
            return ""
        return (
            f"the open-circuit check after it compares with {needed} untreated rests of this "
            f"cell; {known} are known"
        )


def _prior_gain_Ah(recipe: Recipe, cell: CellSpec) -> float:
    """Return what an application is believed to give before the cell has said anything (Ah)."""
    on_format = recipe.applicability[cell.format].prior_gain_mean_mAh_per_cm2
    general = 0.0 if recipe.prior_gain is None else recipe.prior_gain.mean_mAh_per_cm2
    return (general if on_format is None else on_format) * cell.area_cm2 * 1e-3


def _prior_sd_Ah(recipe: Recipe, cell: CellSpec) -> float:
    """Return how far off that belief may be, one standard deviation (Ah)."""
    sd = 0.0 if recipe.prior_gain is None else recipe.prior_gain.sd_mAh_per_cm2
    return sd * cell.area_cm2 * 1e-3


def _same_current(before: PlannedStep | None, now: PlannedStep) -> bool:
    return (
        before is not None
        and before.numbers.kind == now.numbers.kind
        and before.numbers.current_A == now.numbers.current_A
        and before.numbers.voltage_bound_V == now.numbers.voltage_bound_V
    )


def _reasons(error: ConfigurationError) -> str:
    return "; ".join(": ".join(filter(None, (one.key, one.problem))) for one in error.faults)


def _started(planned: PlannedStep, sample: Sample, *, cycle: int, index: int) -> Event:
    step = planned.step
    return event_at(
        sample,
        EventKind.STEP_STARTED,
        f"cycle {cycle}: {step.name}",
        data={
            "cycle": cycle,
            "step_index": index,
            "stage": step.stage.value,
            "current_A": step.current_A,
            "voltage_bound_V": step.voltage_bound_V,
            "envelope": step.envelope,
        },
    )


def _bad_sample(sample: Sample) -> Event:
    words = ", ".join(quality_words(sample.quality))
    return event_at(
        sample,
        EventKind.BAD_SAMPLE,
        f"reading {sample.sequence} not used: {words}",
        data={"quality": sample.quality},
    )


def _decided(decision: Decision, sample: Sample) -> Event:
    chosen = decision.protocol or ("withheld" if decision.withheld else "none")
    return event_at(
        sample,
        EventKind.DECISION,
        f"cycle {decision.cycle}: {chosen}: {decision.reason}",
        data={"cycle": decision.cycle, "protocol": decision.protocol},
    )


def _closed(figures: CycleFigures, sample: Sample) -> Event:
    ce = figures.coulombic_efficiency
    return event_at(
        sample,
        EventKind.CYCLE_CLOSED,
        f"cycle {figures.cycle} ({figures.kind.value}): CE "
        + ("-" if ce is None else f"{ce:.5f} +- {figures.u_coulombic_efficiency or 0.0:.5f}")
        + f", net charge {figures.net_charge_Ah * 1e3:+.4f} mAh, {figures.discharge_end.value}",
        data={"cycle": figures.cycle, "coulombic_efficiency": ce},
    )
