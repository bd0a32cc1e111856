"""The closed loop in one process and in virtual time, without files.

Bench, driver, guard, core and supervisor in the same order as in a run of the program, minus
journal, operator and display. For what a run cannot do: look at hidden truth between two readings,
and live the same hours twice.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from controller.core.state import CoreState
from controller.core.step import Core, CoreConfig, Report
from controller.domain.command import OPEN
from controller.domain.sample import Sample
from controller.domain.step import Step
from controller.domain.verdict import ALLOW, Verdict
from controller.hal.drivers.keithley2450 import Keithley2450
from controller.hal.drivers.thermometer import DaqThermometer
from controller.hal.guard import Guard
from controller.hal.ports import DeviceLimits
from controller.policy.machine import State, Trigger
from controller.safety import supervisor
from hil.bench import Bench, build_bench
from hil.cell import CellParameters
from hil.instruments.faults import InstrumentFault

# As in a run: a fresh cell below this is taken for a missing or shorted one (assumed, -0.1 to 1 V).
_FRESH_CELL_LOWEST_V = 0.05
_START_PERIOD_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictChange:
    """A change of the supervisor's causes: at which reading, what it asks for, why."""

    sequence: int
    action: int
    causes: tuple[str, ...]


class Rig:
    """One cell in the closed loop.

    Parameters
    ----------
    config : CoreConfig
        What the run is decided from; ``controller.app.prepare`` makes it of a run file.
    limits : LimitsRecord
        What the supervisor holds it to.
    bench : Bench
        Fresh, or one that has lived already.

    Attributes
    ----------
    state : CoreState
    memory : Memory
        The supervisor's.
    bench : Bench
        `bench.truth()` is the hidden truth, valid up to the reading last taken.
    guard : Guard
    verdicts : list of VerdictChange
    sample : Sample or None
        The reading last decided upon.
    """

    def __init__(self, config: CoreConfig, limits: supervisor.LimitsRecord, bench: Bench) -> None:
        self._core = Core(config)
        self._limits = limits
        self.bench = bench
        thermometer = None
        if config.temperature_source != "none":
            thermometer = DaqThermometer(bench.thermometer_transport)
        self.guard = _guard(config, bench, thermometer)
        self.state: CoreState = self._core.new_state()
        self.memory = supervisor.new_memory(limits)
        self.verdicts: list[VerdictChange] = []
        self.sample: Sample | None = None
        self._verdict = Verdict(ALLOW, 0)
        self._sequence = 0
        self._while_read = self.guard.in_force
        self._due_s = math.nan
        self._waiting: Sample | None = None

    def start(self) -> float:
        """Make the start checks and energise; return the open-circuit voltage (V).

        Raises
        ------
        CyclerError
            A check failed; the output is off.
        """
        self._core.trigger(self.state, Trigger.CONNECT, None)
        ocv_V = self.guard.start()
        sample = self._poll()
        supervisor.start_again(self.memory)
        self._core.begin(self.state, sample)
        self._waiting = sample
        self._due_s = self.bench.clock.now_s()
        return ocv_V

    @property
    def running(self) -> bool:
        """Whether the run goes on."""
        return not self.state.stopped_because

    @property
    def current_step(self) -> Step:
        """The step that runs."""
        return self._core.current(self.state).step

    def step(self) -> Report | None:
        """Take one reading and put into force what follows from it.

        Returns
        -------
        Report or None
            Events, figures and decisions of this reading.
        """
        state = self.state
        sample = self._next_sample()
        command, report = self._core.step(state, sample, self._while_read, self._verdict)
        in_force = self.guard.in_force
        before = self._verdict.causes
        verdict = self._verdict = supervisor.review(self.memory, sample, command, self._limits)
        if verdict.causes != before:
            causes = tuple(supervisor.causes_words(verdict.causes))
            self.verdicts.append(
                VerdictChange(sequence=sample.sequence, action=verdict.action, causes=causes)
            )
        applied = self.guard.apply(command, verdict, sample)
        if in_force.kind == OPEN and applied.kind != OPEN:
            supervisor.start_again(self.memory)
        if self.guard.tripped and state.run_state is not State.FAULT:
            self._core.trip(state, sample)
            why = supervisor.causes_words(verdict.causes) or self.guard.reports[-1:]
            state.stopped_because = "fault: " + "; ".join(why)
        self.sample = sample
        self._due_s = max(self._due_s + command.period_s, self.bench.clock.now_s())
        return report

    def run(self, until: Callable[[Report], bool] | None = None) -> Report | None:
        """Step until the run stops or `until` says so of a report; return that report."""
        while self.running:
            report = self.step()
            if until is not None and report is not None and until(report):
                return report
        return None

    def close(self) -> list[str]:
        """Rest the cell, open the output; return what went wrong."""
        return self.guard.shutdown()

    def net_charge_mAh(self) -> float:
        """Return the hidden net charge so far, discharge minus charge (mAh)."""
        self.bench.smu.tick()
        truth = self.bench.truth()
        return float(truth["charge_out_mAh"]) - float(truth["charge_in_mAh"])

    def fork(self) -> Rig:
        """Return a twin: the same cell, instrument, noise to come, estimates and clock.

        From here on the two share nothing that changes.
        """
        shared = (self._core, self._limits)  # neither holds anything of this run
        return copy.deepcopy(self, {id(one): one for one in shared})

    def _next_sample(self) -> Sample:
        if self._waiting is not None:
            sample, self._waiting = self._waiting, None
            return sample
        self.bench.clock.sleep_until(self._due_s)
        self.guard.enforce_expiry()
        return self._poll()

    def _poll(self) -> Sample:
        self._while_read = self.guard.in_force
        sample = self.guard.poll(self._sequence)
        self._sequence += 1
        return sample


def build_rig(
    config: CoreConfig,
    limits: supervisor.LimitsRecord,
    *,
    preset: str,
    ambient_K: float = 298.15,
    faults: Iterable[InstrumentFault] = (),
    parameters: CellParameters | None = None,
) -> Rig:
    """Put a rig together on a fresh cell; ``config.seed`` is also the seed of cell and bench.

    `parameters` take the place of the preset's cell.
    """
    bench = build_bench(
        preset=preset,
        seed=config.seed,
        utc_epoch_s=0.0,
        ambient_K=ambient_K,
        faults=faults,
        parameters=parameters,
    )
    return Rig(config, limits, bench)


def _guard(config: CoreConfig, bench: Bench, thermometer: DaqThermometer | None) -> Guard:
    limits = config.limits.continuous
    return Guard(
        Keithley2450(bench.smu_transport, bench.clock, thermometer=thermometer),
        bench.clock,
        device_limits=DeviceLimits(
            max_current_A=max(
                limits.charge_current_max_A.operate, limits.discharge_current_max_A.operate
            ),
            min_voltage_V=limits.voltage_min_V.operate,
            max_voltage_V=limits.voltage_max_V.operate,
        ),
        envelope_limits=[
            DeviceLimits(
                max_current_A=pulse.max_current_A,
                min_voltage_V=pulse.min_voltage_V,
                max_voltage_V=pulse.max_voltage_V,
            )
            for pulse in config.limits.pulse_envelopes
        ],
        ocv_window_V=(
            min(limits.voltage_min_V.trip, _FRESH_CELL_LOWEST_V),
            limits.voltage_max_V.trip,
        ),
        period_s=_START_PERIOD_S,
        accept_unverified_driver=True,
    )
