"""The core on a cell of a few lines: enough to let it run through whole cycles, fast."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace

from controller.app.config import example_text, parse_run
from controller.app.prepare import prepare
from controller.core.plan import CycleKey
from controller.core.state import CoreState, from_text, to_text
from controller.core.step import Core, CoreConfig, Report
from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, OPEN, Command
from controller.domain.events import Event, EventKind
from controller.domain.figures import CycleKind
from controller.domain.sample import LIMIT_CURRENT, LIMIT_VOLTAGE, OUTPUT_OFF, OUTPUT_ON, Sample
from controller.domain.step import Step
from controller.domain.verdict import ALLOW, Verdict
from controller.policy.machine import State, Trigger
from protocols.registry import library
from protocols.resolve import resolve
from protocols.spec import Placement

ALLOWED = Verdict(ALLOW, 0)
NOMINAL_AH = 3e-3
# What the quiet cell below shows in a rest, within the floors.
QUIET_RESTS = [(0.001, 5e-5), (0.0012, 4e-5), (0.0008, 6e-5)]


def with_recipe(
    name: str, steps: tuple[Step, ...], placement: Placement = Placement.BETWEEN_CYCLES
) -> CoreConfig:
    """The built-in example without formation and tests, and one treatment in its book."""
    text = example_text()
    for old, new in {
        "formation_cycles = 2": "formation_cycles = 0",
        "reference_every = 25": "reference_every = 0",
    }.items():
        assert old in text
        text = text.replace(old, new)
    config = prepare(parse_run(text, "RUN.toml"), 1).core
    book = config.book
    envelopes = tuple(dict.fromkeys((*book.envelopes, *(s.envelope for s in steps if s.envelope))))
    book = replace(
        book,
        treatments={**book.treatments, name: steps},
        shams={**book.shams, name: ()},
        placements={**book.placements, name: placement},
        sham_placements={**book.sham_placements, name: placement},
        hours={**book.hours, name: 3.0},
        envelopes=envelopes,
    )
    recipes = {**config.recipes, name: library().get(name, config.recipes["short-strip"])}
    return replace(config, book=book, recipes=recipes)


def library_steps(name: str, config: CoreConfig) -> tuple[Step, ...]:
    return resolve(library()[name], config.cell)


class Rig:
    """Obeys every command at once and keeps what was commanded and what happened.

    `shorted_A` begins to flow through the cell itself once a fast current has passed; `jumps_V`
    is the noise of a reading, `response` the sign of the voltage's answer to current.
    """

    temperature_K = 298.15

    def __init__(
        self,
        config: CoreConfig,
        *,
        shorted_A: float = 0.0,
        jumps_V: float = 3e-5,
        response: float = 1.0,
    ) -> None:
        self.config = config
        self.core = Core(config)
        self.state: CoreState = self.core.new_state()
        self.shorted_A, self.jumps_V, self.response = shorted_A, jumps_V, response
        self.short_now = False
        self.charge_Ah = 0.0
        self.t_s = 0.0
        self.sequence = 0
        self.in_force = Command(HOLD_0A)
        self.owed = False
        self.charged_too_early: list[str] = []
        self.fast_commands = self.charge_commands = 0
        self.events: list[Event] = []
        self.random = random.Random(7)  # noqa: S311  noise

    # --- the cell ---

    def sample(self) -> Sample:
        ocv_V = 3.0 + 1.25 * min(max(self.charge_Ah / NOMINAL_AH, 0.0), 1.1)
        command, current_A, status = self.in_force, 0.0, LIMIT_CURRENT
        if command.kind in (CHARGE, DISCHARGE):
            current_A = command.current_A
            limit_A = (command.voltage_bound_V - ocv_V) / 20.0
            if (command.kind == CHARGE and limit_A < current_A) or (
                command.kind == DISCHARGE and limit_A > current_A
            ):
                current_A, status = limit_A, LIMIT_VOLTAGE
        voltage_V = ocv_V + self.response * 20.0 * current_A + self.random.gauss(0.0, self.jumps_V)
        off = command.kind == OPEN or not math.isnan(command.device_timed_s)
        return self.reading(voltage_V, current_A, status, off=off)

    def reading(self, voltage_V: float, current_A: float, status: int, *, off: bool) -> Sample:
        """Return the next reading."""
        taken = Sample(
            sequence=self.sequence,
            channel=0,
            t_host_s=self.t_s,
            t_device_s=self.t_s,
            utc_s=1.7e9 + self.t_s,
            voltage_V=math.nan if off else voltage_V,
            current_A=0.0 if off else current_A,
            temperature_K=self.temperature_K,
            output=OUTPUT_OFF if off else OUTPUT_ON,
            limit_status=status,
            current_range_A=1e-3,
            averaging_s=0.02,
            quality=128 if off else 0,
        )
        self.sequence += 1
        return taken

    def wait(self, seconds: float, current_A: float) -> None:
        self.t_s += seconds
        leak_A = self.shorted_A if self.short_now else 0.0
        self.charge_Ah += (current_A - leak_A) * seconds / 3600.0

    # --- the run ---

    def start(self, recipe: str = "", *, treated: bool = True) -> None:
        if recipe:
            self.state.key = CycleKey(kind=CycleKind.BASE, recipe=recipe, treated=treated)
        self.core.trigger(self.state, Trigger.CONNECT, None)
        self._begin()

    def _begin(self) -> None:
        self.in_force = Command(HOLD_0A)
        self.take(self.core.begin(self.state, self.sample()))

    def crash_and_resume(self) -> None:
        """All memory is lost but the checkpoint, which is text; the clock begins anew."""
        self.state = from_text(to_text(self.state), "test")
        self.core = Core(self.config)
        self.t_s = 10.0
        self.state.progress.last_t_s = self.state.last_t_s = math.nan
        self.state.run_state = State.DISCONNECTED
        self.core.trigger(self.state, Trigger.FOUND_INTERRUPTED, None)
        self.core.trigger(self.state, Trigger.RESUME, None)
        self._begin()

    def pause(self) -> None:
        self.events.append(self.core.trigger(self.state, Trigger.PAUSE, self.sample()))

    def resume(self) -> None:
        self.events.append(self.core.trigger(self.state, Trigger.RESUME, self.sample()))
        assert self.events[-1].kind is EventKind.STATE
        self.take(self.core.reenter(self.state, self.sample()))

    def take(self, report: Report | None) -> None:
        if report is not None:
            self.events += report.events

    def once(self, verdict: Verdict = ALLOWED) -> None:
        sample = self.sample()
        command, report = self.core.step(self.state, sample, self.in_force, verdict)
        self.take(report)
        if self.state.run_state is State.COMPLETED:
            return
        running = self.core.current(self.state).step
        if report is not None and any(passed_a_check(event) for event in report.events):
            self.owed = False
        # the pulses of one opening of an envelope belong together
        if self.owed and command.kind == CHARGE and not running.envelope:
            self.charged_too_early.append(f"reading {sample.sequence}: {running.name}")
        if abs(command.current_A) * 1e3 / self.config.cell.area_cm2 > 4.0:
            self.owed = self.short_now = True
            self.fast_commands += 1
        self.charge_commands += command.kind == CHARGE
        self.in_force = command
        seconds = command.device_timed_s if command.device_timed_s > 0.0 else command.period_s
        self.wait(seconds, command.current_A if command.kind in (CHARGE, DISCHARGE) else 0.0)

    def until(self, done: Callable[[Rig], bool], most: int = 60_000) -> None:
        for _ in range(most):
            if done(self):
                return
            self.once()
        raise AssertionError(f"not within {most} readings: {self.state.run_state}")

    def said(self, kind: EventKind = EventKind.TREATMENT) -> list[str]:
        return [event.message for event in self.events if event.kind is kind]

    def running(self) -> str:
        return self.core.current(self.state).step.name


def passed_a_check(event: Event) -> bool:
    """Whether an event says that an open-circuit check was passed (not a polarity probe)."""
    return (
        event.kind is EventKind.TREATMENT
        and event.data.get("conclusive") is True
        and (event.data["passed"] is True)
    )
