"""The benchmarks, by name."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import cast

from rich.console import Console

from benchmarks.circuit import filter_one, filter_two
from benchmarks.estimator import estimator
from benchmarks.plant import (
    hil_import,
    plant_call,
    plant_cycled,
    plant_plain,
    plant_population,
    plant_step,
)
from benchmarks.spectra import eis_fit
from benchmarks.timing import Result, compared, interleaved, seconds
from controller.app.config import load_run
from controller.app.display import LiveDisplay
from controller.app.hardware import Past, build
from controller.app.prepare import prepare
from controller.app.report import write_report
from controller.app.reporting.facts import facts_of, treatment_windows
from controller.app.run import RunOptions, start
from controller.app.runtime import Runtime
from controller.core.step import Core
from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, TAG_BASE, Command
from controller.domain.errors import InvariantError
from controller.domain.events import JsonScalar
from controller.domain.sample import LIMIT_CURRENT, OUTPUT_ON, Sample
from controller.estimation import online
from controller.hal.drivers.keithley2450 import Keithley2450
from controller.hal.ports import DeviceLimits
from controller.io.journal import Journal, JournalReader
from controller.io.mailbox import Mailbox
from controller.policy.machine import TRANSITIONS, StateMachine
from controller.safety import supervisor
from hil.bench import build_bench
from hil.cell import LithiumMetalCell, anode_free_nmc811

EPOCH_S = 1.7e9
MICRO = 1e6
HEADER: dict[str, JsonScalar] = {
    "configuration": "",
    "program_version": "0",
    "seed": 1,
    "utc_s": EPOCH_S,
}


def _readings(count: int, *, period_s: float = 5.0, current_A: float = -1e-3) -> list[Sample]:
    """Return readings of a steady discharge."""
    return [
        Sample(
            sequence=index,
            channel=0,
            t_host_s=index * period_s,
            t_device_s=index * period_s,
            utc_s=EPOCH_S + index * period_s,
            voltage_V=4.1 - 1e-4 * index,
            current_A=current_A,
            temperature_K=298.15,
            output=OUTPUT_ON,
            limit_status=LIMIT_CURRENT,
            current_range_A=1e-2,
            averaging_s=0.02,
            quality=0,
        )
        for index in range(count)
    ]


def journal() -> Result:
    """Rows a second into the journal, 200 to a commit, against a commit for each row."""

    def rate(batch: int, count: int) -> float:
        samples = _readings(count)
        folder = Path(tempfile.mkdtemp())
        try:
            writer = Journal.create(folder, HEADER, batch=batch)

            def work() -> None:
                for one in samples:
                    writer.sample(one, 1, 1, DISCHARGE, TAG_BASE)
                writer.commit()

            took_s = seconds(work)
            writer.close("completed", utc_s=EPOCH_S)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return count / took_s

    ours, theirs = interleaved(lambda: rate(200, 20_000), lambda: rate(1, 500))
    return compared("journal", "rows/s", "one-row commits", ours, theirs)


def transitions() -> Result:
    """One move of the state machine, against looking it up in the same table as a dict."""
    machine = StateMachine()
    table = {(one.source, one.trigger): one.target for one in TRANSITIONS}
    moves = [(one.source, one.trigger) for one in TRANSITIONS]

    def ours() -> float:
        return seconds(lambda: [machine.advance(*move) for move in moves]) / len(moves)

    def theirs() -> float:
        return seconds(lambda: [table[move] for move in moves]) / len(moves)

    mine, peer = interleaved(ours, theirs, repeats=25)
    return compared("transitions", "us", "a dict with the same table", mine * MICRO, peer * MICRO)


def observe() -> Result:
    """One reading into the live estimator, against a bare trapezoid sum."""
    config = load_run(None).estimator
    samples = _readings(10_000)

    def ours() -> float:
        state = online.new_state(config)

        def work() -> None:
            for one in samples:
                online.observe(state, config, one, DISCHARGE, TAG_BASE)

        return seconds(work) / len(samples)

    def bare() -> float:
        def work() -> float:
            charge_As = 0.0
            before = samples[0]
            for one in samples:
                mean_A = 0.5 * (one.current_A + before.current_A)
                charge_As += mean_A * (one.t_device_s - before.t_device_s)
                before = one
            return charge_As

        return seconds(work) / len(samples)

    mine, peer = interleaved(ours, bare)
    return compared("observe", "us", "bare trapezoid sum", mine * MICRO, peer * MICRO)


def review() -> Result:
    """Review one reading and command, against two bare comparisons."""
    limits = prepare(load_run(None), 1).limits
    samples = _readings(3_000)  # within one half cycle
    command = Command(
        kind=DISCHARGE, current_A=-1e-3, voltage_bound_V=3.0, period_s=5.0, valid_for_s=25.0
    )

    def ours() -> float:
        memory = supervisor.new_memory(limits)

        def work() -> None:
            for one in samples:
                supervisor.review(memory, one, command, limits)

        took_s = seconds(work)
        if memory.active:
            raise InvariantError("the ordinary case is to be timed, not a fault")
        return took_s / len(samples)

    def bare() -> float:
        def work() -> int:
            beyond = 0
            for one in samples:
                if not 2.5 <= one.voltage_V <= 4.38 or not abs(one.current_A) <= 1.6e-3:
                    beyond += 1
            return beyond

        return seconds(work) / len(samples)

    mine, peer = interleaved(ours, bare)
    return compared(
        "review", "us", "voltage and current compared, no memory", mine * MICRO, peer * MICRO
    )


def _poller(count: int) -> Callable[[], float]:
    """Return a measurement of one poll: driver, bytes, emulated instrument, simulated cell."""

    def measure() -> float:
        bench = build_bench(seed=1, utc_epoch_s=EPOCH_S)
        driver = Keithley2450(bench.smu_transport, bench.clock)
        limits = DeviceLimits(max_current_A=1.6e-3, min_voltage_V=-0.1, max_voltage_V=4.38)
        driver.identify()
        driver.open()
        driver.prepare(limits, 25.0)
        ocv_V = driver.energise_at_0A()
        driver.recheck()
        driver.take_over_from_ocv(ocv_V)
        charge = Command(
            kind=CHARGE, current_A=1e-3, voltage_bound_V=4.3, period_s=5.0, valid_for_s=25.0
        )
        driver.program(charge, ocv_V)

        def work() -> None:
            clock = bench.clock
            for sequence in range(count):
                clock.sleep_until(clock.now_s() + 5.0)
                if driver.poll(sequence).quality:
                    raise RuntimeError("the emulated instrument gave a bad reading")

        took_s = seconds(work)
        driver.open()
        return took_s / count

    return measure


def poll() -> Result:
    """One poll through the driver's bytes, against the same 5 s of the simulated cell alone."""

    def cell_alone() -> float:
        cell = LithiumMetalCell(anode_free_nmc811(1))

        def work() -> None:
            for _ in range(1000):
                cell.step(1e-3, 5.0, 298.15)

        return seconds(work) / 1000

    mine, peer = interleaved(_poller(1000), cell_alone)
    return compared("poll", "us", "the simulated cell alone", mine * MICRO, peer * MICRO)


def loop() -> Result:
    """Run the whole loop of the built-in example, for each reading, against the poll alone."""
    config = load_run(None, cycles=1)
    prepared = prepare(config, 1)

    def whole() -> float:
        folder = Path(tempfile.mkdtemp())
        try:
            core = Core(prepared.core)
            writer = Journal.create(folder, HEADER, batch=200)
            hardware = build(
                config,
                1,
                folder,
                Past(),
                utc_s=EPOCH_S,
                on_exchange=lambda kind, sent, reply: writer.exchange(0.0, kind, sent, reply),
                on_report=lambda _: None,
            )
            runtime = Runtime(core, prepared.limits, hardware, writer, Mailbox(folder))
            state, memory = core.new_state(), supervisor.new_memory(prepared.limits)
            took_s = seconds(lambda: runtime.run(state, memory, 0, resumed=False))
            if state.stopped_because != "completed":
                raise RuntimeError(f"the run ended early: {state.stopped_because}")
            count = writer.next_sequence
            hardware.close()
            writer.close("completed", utc_s=EPOCH_S)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        return took_s / count

    mine, peer = interleaved(whole, _poller(1000), repeats=3)
    return compared("loop", "us/reading", "poll alone", mine * MICRO, peer * MICRO)


def display() -> Result:
    """One reading shown to the live display on a terminal, against an empty method."""
    core = Core(prepare(load_run(None), 1).core)
    state, command, sample = core.new_state(), Command(kind=HOLD_0A), _readings(1)[0]
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    nothing = cast("LiveDisplay", SimpleNamespace(sample=lambda *_: None))
    count = 500_000

    def shown(target: LiveDisplay) -> float:
        def work() -> None:
            for _ in range(count):
                target.sample(state, sample, command)

        return seconds(work) / count

    with LiveDisplay(console, core, total_cycles=50) as live:
        mine, peer = interleaved(lambda: shown(live), lambda: shown(nothing))
    return compared("display", "us/reading", "an empty method", mine * MICRO, peer * MICRO)


def report() -> Result:
    """Write the report of a run of 20 cycles, against reading one column of all its readings."""
    folder = Path(tempfile.mkdtemp())
    try:
        run_dir = folder / "run"
        options = RunOptions(run_file=None, cycles=20, seed=1, out=run_dir, as_json=True)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            start(options)
        with JournalReader(run_dir) as reader:
            facts = facts_of(reader, run_dir)
            windows, _ = treatment_windows(reader, facts)
        if len(facts.base) < 20 or not any(one.t_s.size for one in windows):
            raise InvariantError("benchmark: this run has too few cycles or no treatment to show")

        def column() -> float:
            with JournalReader(run_dir) as reader:
                return seconds(lambda: reader.samples(("voltage_V",)))

        mine, peer = interleaved(lambda: seconds(lambda: write_report(run_dir)), column)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return compared("report", "s", f"one column of {facts.sample_count:,} readings", mine, peer)


CASES: dict[str, Callable[[], Result | list[Result]]] = {
    one.__name__.replace("_", "-"): one
    for one in (
        journal,
        transitions,
        observe,
        estimator,
        review,
        filter_one,
        filter_two,
        plant_plain,
        plant_step,
        plant_call,
        plant_population,
        plant_cycled,
        poll,
        loop,
        display,
        report,
        eis_fit,
        hil_import,
    )
}
