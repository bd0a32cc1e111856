"""`reactivate doctor`: look at everything a run depends on, write no setting, say what to do.

Only queries go to the instruments. One of them changes something all the same: reading the error
queue empties it, and the table says so.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from controller.app.config import RunConfig, load_run
from controller.app.hardware import check_speed, simulated_plant
from controller.app.prepare import CAPABILITIES, prepare
from controller.core.execute import VALID_PERIODS
from controller.domain.capabilities import CyclerCapabilities, Watchdog
from controller.domain.cell import ZERO_CELSIUS_K
from controller.domain.errors import (
    ConfigurationError,
    CyclerConnectionError,
    CyclerError,
)
from controller.domain.step import FAST_PERIOD_S, SLOW_PERIOD_S
from controller.hal.drivers.keithley2450 import Keithley2450
from controller.hal.drivers.thermometer import DaqThermometer
from controller.hal.locks import hold_device, run_directory_holder
from controller.hal.ports import Clock, Identity, Transport
from controller.hal.serial_transport import SerialTransport
from controller.io.clock import RealClock
from controller.io.platform import inhibit_sleep, is_synchronised_folder

SCHEMA: Final = 1
HIGH_IMPEDANCE: Final = "HIMP"
ERROR_QUEUE: Final = "error queue"
# A run writes about 0.1 MB an hour (0.09 measured on the built-in example). Assumed: refuse below
# 0.2 GB (0.1-0.5), warn below 2 GB (1-10).
DISK_REFUSED_GB: Final = 0.2
DISK_WARN_GB: Final = 2.0
BYTES_PER_GB: Final = 1e9


class Level(StrEnum):
    """How a finding stands; the worst one gives the exit code."""

    OK = "ok"
    WARN = "warn"
    REFUSED = "refused"


EXIT_CODES: Final = {Level.OK: 0, Level.WARN: 1, Level.REFUSED: 2}


@dataclass(frozen=True, slots=True)
class Finding:
    """One row: what was looked at, how it stands, what was found, what to do about it."""

    what: str
    level: Level
    found: str
    remedy: str = ""


def doctor(run_file: Path | None, out: Path | None, *, as_json: bool) -> int:
    """Print every finding; return 0 (all well), 1 (a run would start, read this) or 2 (refused).

    Parameters
    ----------
    run_file : Path or None
        None: the built-in example.
    out : Path or None
        Run directory that is meant; None: ``runs`` in the working directory.
    as_json : bool
    """
    findings = list(examine(run_file, out))
    level = max((one.level for one in findings), key=lambda one: EXIT_CODES[one])
    if as_json:
        checks = [asdict(one) for one in findings]
        print(json.dumps({"schema": SCHEMA, "level": level, "checks": checks}))
        return EXIT_CODES[level]
    console = Console(highlight=False)
    table = Table("what", "is", "found", "what to do", box=SIMPLE_HEAD)
    for one in findings:
        table.add_row(*(Text(text) for text in (one.what, one.level, one.found, one.remedy)))
    console.print(table)
    summary = {
        Level.OK: "All well.",
        Level.WARN: "A run would start; read the warnings first.",
        Level.REFUSED: "A run would be refused.",
    }[level]
    summary += " No setting was written"
    if any(one.what == ERROR_QUEUE for one in findings):
        summary += "; reading the error queue has emptied it"
    console.print(f"{summary}.", soft_wrap=True)
    return EXIT_CODES[level]


def examine(run_file: Path | None, out: Path | None) -> Iterator[Finding]:
    """Yield the findings: run file, computer, driver, instruments."""
    config = None
    try:
        config = load_run(run_file)
        prepare(config, seed=1)
        yield Finding(
            "run file", Level.OK, f"{config.where}: every protocol can run on {_cell(config)}"
        )
    except ConfigurationError as error:
        for fault in error.faults:
            found = str(replace(fault, remedy=""))
            yield Finding("run file", Level.REFUSED, found, fault.remedy)
    yield from _computer(out or Path("runs"))
    if config is not None:
        yield from _driver(config)
        yield from _instruments(config)
    else:
        found = "not looked at: the run file does not say which, as it is"
        yield Finding("instruments", Level.WARN, found, "mend the run file, then ask again")


def _cell(config: RunConfig) -> str:
    return f"{config.cell.name} ({config.cell.format.value})"


# --- the computer -------------------------------------------------------------------------------


def _computer(run_dir: Path) -> Iterator[Finding]:
    service = is_synchronised_folder(run_dir)
    if service:
        yield Finding(
            "run folder",
            Level.REFUSED,
            f"{run_dir} is synchronised by {service}, which can damage the journal",
            "take a local folder (--out) and copy it afterwards",
        )
    else:
        yield Finding("run folder", Level.OK, f"{run_dir}: no synchronising program known there")
    holder = run_directory_holder(run_dir)
    if holder is not None:
        found = f"{run_dir} is in use by {holder}"
        yield Finding("run folder", Level.REFUSED, found, "wait for it, or stop that run")
    yield _disk(run_dir)
    with inhibit_sleep("reactivate doctor") as warning:
        if warning is None:
            yield Finding("sleep", Level.OK, "this computer can be kept awake during a run")
        else:
            remedy = "switch sleep off by hand: a sleeping computer ends the run"
            yield Finding("sleep", Level.WARN, warning, remedy)


def _disk(run_dir: Path) -> Finding:
    folder = run_dir.resolve()
    while not folder.exists():
        folder = folder.parent
    free_GB = shutil.disk_usage(folder).free / BYTES_PER_GB
    found, remedy = f"{free_GB:.1f} GB free at {folder}", "make room, or take another disk (--out)"
    if free_GB < DISK_REFUSED_GB:
        return Finding("disk", Level.REFUSED, found, remedy)
    if free_GB < DISK_WARN_GB:
        return Finding("disk", Level.WARN, found, remedy)
    return Finding("disk", Level.OK, found)


# --- the driver ---------------------------------------------------------------------------------


def _driver(config: RunConfig) -> Iterator[Finding]:
    facts = CAPABILITIES[config.file.cycler.driver]
    yield watchdog_finding(facts, accepted=config.file.cycler.accept_no_watchdog)
    yield from ability_findings(facts)
    if facts.verified_on_instrument:
        yield Finding("driver", Level.OK, f"{facts.model}: verified on a physical instrument")
        return
    found = f"{facts.model}: never verified on a physical instrument"
    if config.file.cycler.accept_unverified_driver:
        remedy = "accepted (accept_unverified_driver); try it on a dummy cell first"
        yield Finding("driver", Level.WARN, found, remedy)
    else:
        remedy = "cycler.accept_unverified_driver = true runs it all the same"
        yield Finding("driver", Level.REFUSED, found, remedy)


def ability_findings(facts: CyclerCapabilities) -> Iterator[Finding]:
    """Yield what the instrument must be able to do: open the cell, show its limits, sense apart."""
    another = "another instrument"
    if facts.off_mode_high_impedance:
        yield Finding("output off", Level.OK, f"{facts.model}: can be high impedance")
    else:
        found = f"{facts.model}: no high impedance, nothing it can do leaves the cell alone"
        yield Finding("output off", Level.REFUSED, found, another)
    if facts.limits_read_back:
        yield Finding("limits", Level.OK, f"{facts.model}: can be read back")
    else:
        found = f"{facts.model}: cannot be read back, whether it took them stays unknown"
        yield Finding("limits", Level.REFUSED, found, another)
    if facts.four_wire:
        yield Finding("sense leads", Level.OK, f"{facts.model}: senses the voltage at the cell")
    else:
        found = f"{facts.model}: two wires, voltages and resistances include the leads"
        yield Finding("sense leads", Level.WARN, found, "thick, short leads; or another instrument")


def watchdog_finding(facts: CyclerCapabilities, *, accepted: bool) -> Finding:
    """Return what stops the current when this computer dies.

    Parameters
    ----------
    facts : CyclerCapabilities
    accepted : bool
        The run file accepts an instrument without a watchdog.
    """
    fast_s, slow_s = VALID_PERIODS * FAST_PERIOD_S, VALID_PERIODS * SLOW_PERIOD_S
    bound = (
        f"output off within {fast_s:g} s of the last renewal at readings every "
        f"{FAST_PERIOD_S:g} s, {slow_s:g} s at every {SLOW_PERIOD_S:g} s"
    )
    match facts.watchdog:
        case Watchdog.COMMUNICATION:
            return Finding("watchdog", Level.OK, f"the device's own: {bound}")
        case Watchdog.FINITE_SEQUENCE:
            return Finding("watchdog", Level.OK, f"dead-man sequence on the device: {bound}")
        case Watchdog.NONE:
            found = "none: this instrument keeps driving the cell if this PC dies"
            if accepted:
                remedy = "accepted (accept_no_watchdog); do not leave it alone"
                return Finding("watchdog", Level.WARN, found, remedy)
            remedy = "another instrument, or cycler.accept_no_watchdog = true"
            return Finding("watchdog", Level.REFUSED, found, remedy)


# --- the instruments ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Bench:
    """Lines to the instruments; the thermometer's is None where none is declared."""

    cycler: Transport
    thermometer: Transport | None
    clock: Clock


def _instruments(config: RunConfig) -> Iterator[Finding]:
    with ExitStack() as stack:
        try:
            bench = stack.enter_context(_lines(config))
        except CyclerConnectionError as error:
            # the message names the holder where another process has it
            yield Finding("cycler", Level.REFUSED, str(error), "free it, or correct cycler.address")
            return
        except ConfigurationError as error:
            yield Finding("simulated cell", Level.REFUSED, str(error), "correct [simulation]")
            return
        if not config.simulated:
            yield Finding("holder", Level.OK, f"nobody else holds {config.file.cycler.address}")
        try:
            identity = Keithley2450(bench.cycler, bench.clock).identify()
        except CyclerError as error:
            yield Finding("cycler", Level.REFUSED, str(error), "see to the instrument and its line")
        else:
            yield from _identity(identity, config)
        yield _thermometer(config, bench.thermometer)


@contextmanager
def _lines(config: RunConfig) -> Iterator[_Bench]:
    """Hold the device and open its lines; simulated ones are built afresh."""
    source = config.file.temperature.source
    if config.simulated:
        from hil.bench import build_bench

        bench = build_bench(
            plant=simulated_plant(config, 1),
            seed=1,
            utc_epoch_s=0.0,
            ambient_K=config.file.simulation.ambient_degC + ZERO_CELSIUS_K,
        )
        thermometer = bench.thermometer_transport if source == "auxiliary" else None
        yield _Bench(bench.smu_transport, thermometer, bench.clock)
        return
    with ExitStack() as stack:
        holder = f"reactivate doctor, process {os.getpid()}"
        stack.enter_context(hold_device(config.file.cycler.address, 0, holder))
        cycler = SerialTransport(config.file.cycler.address)
        stack.callback(cycler.close)
        auxiliary = None
        if source == "auxiliary":
            auxiliary = SerialTransport(config.file.temperature.address)
            stack.callback(auxiliary.close)
        yield _Bench(cycler, auxiliary, RealClock())


def _identity(identity: Identity, config: RunConfig) -> Iterator[Finding]:
    yield Finding(
        "cycler",
        Level.OK,
        f"{identity.manufacturer}, {identity.model}, serial number {identity.serial_number}, "
        f"firmware {identity.firmware}",
    )
    if not config.simulated:
        try:
            check_speed(identity.firmware, config.file.cycler.speed, config.where)
        except (ConfigurationError, CyclerError) as error:
            yield Finding("speed", Level.REFUSED, str(error), "correct cycler.speed")
    yield Finding("*LANG?", Level.OK, identity.language)
    if identity.output_on:
        yield Finding(
            "output",
            Level.REFUSED,
            "on: somebody drives the cell, or a run was interrupted",
            "resume that run (--out), or switch it off at the instrument if it may be",
        )
    else:
        yield Finding("output", Level.OK, "off")
    for function, mode in identity.off_modes.items():
        well = mode.upper().startswith(HIGH_IMPEDANCE)
        yield Finding(
            f"off mode, {function} source",
            Level.OK if well else Level.WARN,
            mode,
            "" if well else f"a run sets {HIGH_IMPEDANCE} at its start and reads it back",
        )
    if identity.pending_errors:
        yield Finding(
            ERROR_QUEUE,
            Level.WARN,
            "; ".join(identity.pending_errors),
            "find the cause; reading has cleared the queue, so a run would not see it any more",
        )
    else:
        yield Finding(ERROR_QUEUE, Level.OK, "empty")


def _thermometer(config: RunConfig, line: Transport | None) -> Finding:
    if line is None:
        if config.file.temperature.source == "none":
            found = "none is declared: temperature limits are not enforced"
            return Finding("thermometer", Level.WARN, found, 'temperature.source = "auxiliary"')
        return Finding("thermometer", Level.OK, "the cycler's own")
    try:
        thermometer = DaqThermometer(line, set_up=False)
    except CyclerError as error:
        return Finding("thermometer", Level.REFUSED, str(error), "see to temperature.address")
    reading_K = thermometer.read_K()
    if reading_K != reading_K:
        return Finding(
            "thermometer",
            Level.WARN,
            f"{thermometer.identity}: gives no temperature as it is set up now",
            "a run sets it up at its start; if it has been set up, look at the sensor",
        )
    found = f"{thermometer.identity}: {reading_K - ZERO_CELSIUS_K:.2f} degC"
    return Finding("thermometer", Level.OK, found)
