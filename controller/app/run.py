"""`reactivate run`: checks, run directory, locks, the loop, and what is written afterwards."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from controller import __version__
from controller.app.config import RunConfig, load_run, parse_run
from controller.app.display import LiveDisplay
from controller.app.hardware import Hardware, Past, build, plant_notes
from controller.app.prepare import Prepared, describe_step, named_files, prepare
from controller.app.report import print_summary, summary, write_report
from controller.app.resume import (
    Restored,
    configuration_of,
    restore,
    take_gap_into_account,
    unobserved_Ah,
)
from controller.app.runtime import BATCH_READINGS, Interrupt, Listener, Runtime
from controller.app.telemetry import TelemetryListener
from controller.core.step import Core
from controller.domain.cell import ElectrolyteFamily
from controller.domain.errors import RunDirectoryError, refuse
from controller.domain.events import Event, EventKind
from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.relaxation import BASELINE_LEAST_RESTS
from controller.hal.locks import hold_device, hold_run_directory
from controller.io.bdf import write_bdf
from controller.io.clock import RealClock
from controller.io.journal import Journal, JournalReader
from controller.io.mailbox import Mailbox, OperatorCommand, OperatorWord
from controller.io.platform import inhibit_sleep, is_synchronised_folder
from controller.policy.machine import State
from controller.safety import supervisor
from protocols.spec import OCV_CHECK_S

EXIT_DONE, EXIT_FAULT = 0, 3
# Clocks of one computer may be set back by this much without anybody wondering (s).
CLOCK_TOLERANCE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The command line of `reactivate run`."""

    run_file: Path | None
    example: str | None = None
    cycles: int | None
    seed: int
    out: Path | None
    as_json: bool
    plant: str | None = None


# --- dry run ------------------------------------------------------------------------------------


def dry(options: RunOptions) -> int:
    """Make all checks and print every step with its limits; nothing is energised."""
    config = _given(options)
    prepared = prepare(config, options.seed)
    notes = not_enforced(config)
    if config.simulated:
        notes += plant_notes(config, options.seed)
    console = Console(highlight=False)
    cell = config.cell
    console.print(
        f"{cell.name}: {cell.format.value}, {cell.area_cm2:g} cm2, "
        f"{cell.nominal_capacity_Ah * 1e3:g} mAh, {cell.lower_cut_off_V:g}-"
        f"{cell.upper_cut_off_V:g} V, on {config.file.cycler.driver} at "
        f"{config.file.cycler.address}"
    )
    for line in notes:
        console.print(f"note: {line}", soft_wrap=True)
    needing = sorted(Core(prepared.core).needs_check)
    if needing:
        console.print(
            f"note: {', '.join(needing)}: base cycles rest {OCV_CHECK_S / 60.0:g} min after charge "
            f"until {BASELINE_LEAST_RESTS} such rests are known; an open-circuit check must pass "
            "before the next charge",
            soft_wrap=True,
        )
    book = prepared.core.book
    sections = {
        "formation cycle": list(book.formation[0]),
        "reference test": [step for cycle in book.reference for step in cycle],
        "base cycle": list(book.base),
        "anchor": list(book.anchor),
        **{f"treatment {name}": list(steps) for name, steps in book.treatments.items()},
        **{f"control of {name}": list(steps) for name, steps in book.shams.items() if steps},
    }
    for title, steps in sections.items():
        rows = [describe_step(step, config) for step in steps]
        table = Table(*rows[0], title=title, title_justify="left", box=SIMPLE_HEAD)
        for row in rows:
            table.add_row(*row.values())
        console.print(table)
    console.print(
        f"formation x {prepared.core.formation_cycles}, then {prepared.core.cycles} base cycles, "
        f"a reference test after formation and every {prepared.core.reference_every}. "
        "All checks passed; nothing was energised.",
        soft_wrap=True,
    )
    return EXIT_DONE


def not_enforced(config: RunConfig) -> list[str]:
    """Return what the run does without, in words."""
    lines = []
    if config.file.temperature.source == "none":
        lines.append("no thermometer: temperature limits are not enforced")
    if config.cell.electrolyte_family is ElectrolyteFamily.UNKNOWN:
        lines.append("electrolyte family unknown: the strictest upper voltage holds")
    if config.file.cycler.accept_no_watchdog:
        lines.append("this instrument keeps driving the cell if this PC dies (accept_no_watchdog)")
    if config.file.cycler.accept_unverified_driver:
        lines.append("the driver has never been run on a physical instrument")
    return lines


# --- run ----------------------------------------------------------------------------------------


def start(options: RunOptions) -> int:
    """Run, or resume the run in `--out`."""
    run_dir = options.out
    existing = run_dir is not None and (run_dir / "run.sqlite").exists()
    if existing and run_dir is not None:
        config, seed = _configuration_to_resume(options, run_dir)
    else:
        config = _given(options)
        seed = options.seed
    prepared = prepare(config, seed)
    # A plant that is none is refused before there is a run directory.
    notes = plant_notes(config, seed) if config.simulated else []
    if run_dir is None:
        run_dir = _new_run_dir(config)
    _refuse_bad_place(run_dir)
    console = Console(highlight=False, stderr=options.as_json)
    with ExitStack() as stack:
        run_dir.mkdir(parents=True, exist_ok=True)
        holder = f"reactivate run, process {os.getpid()}, run directory {run_dir}"
        stack.enter_context(hold_run_directory(run_dir, holder))
        if not config.simulated:
            stack.enter_context(hold_device(config.file.cycler.address, 0, holder))
            warning = stack.enter_context(inhibit_sleep(f"cycling {config.cell.name}"))
            if warning:
                console.print(f"warning: {warning}")
        for line in notes:
            console.print(f"note: {line}", soft_wrap=True)
        code = _run_held(config, prepared, seed, run_dir, console)
    write_bdf(run_dir, bdf_path(run_dir, config))
    write_report(run_dir)
    result = summary(run_dir)
    if options.as_json:
        print(json.dumps(result))
    else:
        print_summary(result, run_dir, console)
    return code


def _given(options: RunOptions) -> RunConfig:
    """Return the run that the command line names: a file, or a built-in example."""
    return load_run(
        options.run_file, cycles=options.cycles, plant=options.plant, example=options.example
    )


def _configuration_to_resume(options: RunOptions, run_dir: Path) -> tuple[RunConfig, int]:
    """Return the configuration in the journal; a run file that differs from it is refused."""
    header = configuration_of(run_dir)
    text, where = str(header["configuration"]), str(run_dir / "run.sqlite")
    plant = None if header.get("plant") is None else str(header["plant"])
    if options.plant is not None and options.plant != plant:
        raise RunDirectoryError(
            f"{run_dir} holds a run on {plant or 'the cell of its run file'}, not on "
            f"--plant {options.plant}: leave --plant out, or give another --out"
        )
    if options.run_file is not None or options.example is not None:
        given = load_run(options.run_file, plant=plant, example=options.example)
        if inputs_sha256(given) != header["inputs_sha256"]:
            raise RunDirectoryError(
                f"{run_dir} holds a run of another configuration than {given.where}: "
                "give what it was begun with, nothing at all, or another --out"
            )
    cycles = options.cycles
    if cycles is None and header.get("cycles") is not None:
        cycles = int(str(header["cycles"]))
    return parse_run(text, where, cycles=cycles, plant=plant), int(str(header["seed"]))


def inputs_sha256(config: RunConfig) -> str:
    """Return the hash of the run file, the recipe files that it names, and a given plant's name."""
    digest = hashlib.sha256(config.text.encode())
    if config.plant is not None:
        digest.update(b"\0plant " + config.plant.encode())
    for file in named_files(config):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _keep_files(config: RunConfig, run_dir: Path) -> None:
    """Copy the files that the run file names, so that a resume reads the same."""
    for file in named_files(config):
        if file.parent.resolve() != run_dir.resolve():
            shutil.copyfile(file, run_dir / file.name)


def _new_run_dir(config: RunConfig) -> Path:
    """Return a directory that does not exist yet."""
    index = 1
    while True:
        candidate = Path("runs") / f"{config.cell.name}-{index:03d}"
        if not candidate.exists():
            return candidate
        index += 1


def _refuse_bad_place(run_dir: Path) -> None:
    service = is_synchronised_folder(run_dir)
    if service:
        raise refuse(
            "command line",
            "--out",
            f"{run_dir} is synchronised by {service}, which can damage the journal",
            "take a local folder and copy it afterwards",
        )
    if run_dir.exists() and not run_dir.is_dir():
        raise refuse("command line", "--out", f"{run_dir} is a file", "name a folder")


def _run_held(
    config: RunConfig,
    prepared: Prepared,
    seed: int,
    run_dir: Path,
    console: Console,
) -> int:
    core = Core(prepared.core)
    mailbox = Mailbox(run_dir)
    wall = RealClock()
    resumed = (run_dir / "run.sqlite").exists()
    # in virtual time the loop commits; the journal's own limit must not come before it
    batch = 2 * BATCH_READINGS if config.simulated else 1
    restored: Restored | None = None
    acknowledged: OperatorCommand | None = None
    if resumed:
        restored = restore(run_dir, core, prepared.limits)
        if core.has_ended(restored.state) and not core.extend(restored.state):
            console.print(
                f"this run is complete: {restored.state.base_done} base cycles; "
                "--cycles N goes on to N. Nothing was energised."
            )
            return EXIT_DONE
        acknowledged = _acknowledgement(restored, mailbox, run_dir)
        journal = Journal.open(run_dir, utc_s=wall.utc_s(), batch=batch)
    else:
        _keep_files(config, run_dir)
        journal = Journal.create(run_dir, _header(config, seed, wall.utc_s()), batch=batch)
    hardware: Hardware | None = None
    stopped = "failed before the start"
    code = EXIT_FAULT
    try:
        utc_s = wall.utc_s()
        hardware = build(
            config,
            seed,
            run_dir,
            _past(restored),
            utc_s=utc_s,
            on_exchange=lambda kind, sent, reply: journal.exchange(
                _now_of(hardware), kind, sent, reply
            ),
            on_report=lambda text: journal.event(
                Event(
                    kind=EventKind.INSTRUMENT,
                    t_s=_now_of(hardware),
                    sequence=-1,
                    message=text,
                )
            ),
        )
        if restored is None:
            state, memory, sequence = (
                core.new_state(),
                supervisor.new_memory(prepared.limits),
                0,
            )
        else:
            _account_for_gap(restored, hardware, journal)
            state, memory, sequence = restored.state, restored.memory, restored.sequence
        for line in not_enforced(config):
            journal.event(
                Event(kind=EventKind.RUN, t_s=hardware.clock.now_s(), sequence=-1, message=line)
            )
        note = partial(_note, hardware, journal, console)
        interrupt = Interrupt()
        with _ctrl_c(interrupt), ExitStack() as listening:
            display = LiveDisplay(
                console,
                core,
                total_cycles=prepared.core.cycles,
                before=restored.cycles if restored else (),
            )
            listeners: list[Listener] = [listening.enter_context(display)]
            if config.mqtt is not None:
                telemetry = TelemetryListener(config.mqtt, config.cell.name, note)
                listeners.append(listening.enter_context(telemetry))
            runtime = Runtime(
                core,
                prepared.limits,
                hardware,
                journal,
                mailbox,
                listeners=listeners,
                interrupt=interrupt,
            )
            runtime.run(state, memory, sequence, resumed=resumed, acknowledged=acknowledged)
        for line in hardware.notes():
            note(line)
        stopped = state.stopped_because
        if state.run_state is not State.FAULT and not runtime.failed:
            code = EXIT_DONE
    finally:
        if hardware is not None:
            hardware.close()
        journal.close(stopped, utc_s=wall.utc_s())
    return code


def _note(hardware: Hardware, journal: Journal, console: Console, line: str) -> None:
    """Say something to whoever looks, and to the journal."""
    console.print(f"note: {line}", soft_wrap=True)
    journal.event(Event(kind=EventKind.RUN, t_s=hardware.clock.now_s(), sequence=-1, message=line))


def _past(restored: Restored | None) -> Past:
    if restored is None:
        return Past()
    return Past(
        expected_ocv_V=restored.last_voltage_V,
        allow_output_on=not restored.clean,
        serial_number=restored.serial_number,
    )


def _now_of(hardware: Hardware | None) -> float:
    return float("nan") if hardware is None else hardware.clock.now_s()


def _header(config: RunConfig, seed: int, utc_s: float) -> dict[str, str | int | float | bool]:
    return {
        "configuration": config.text,
        "inputs_sha256": inputs_sha256(config),
        "configuration_from": config.where,
        "cycles": config.file.cycling.cycles,
        "program_version": __version__,
        "python": sys.version.split()[0],
        "seed": seed,
        "simulated": config.simulated,
        **({} if config.plant is None else {"plant": config.plant}),
        "cell": config.cell.name,
        "format": config.cell.format.value,
        "area_cm2": config.cell.area_cm2,
        "nominal_capacity_Ah": config.cell.nominal_capacity_Ah,
        "utc_s": utc_s,
    }


def _account_for_gap(restored: Restored, hardware: Hardware, journal: Journal) -> None:
    """Journal how long nothing was read, and what may have flowed meanwhile.

    Raises
    ------
    RunDirectoryError
        The last reading lies in the future: this computer's clock, or another's run.
    """
    pause_s = hardware.clock.utc_s() - restored.last_utc_s
    # with an accelerated clock Unix time of the readings runs ahead of the wall's
    if hardware.speed == 1.0 and pause_s < -CLOCK_TOLERANCE_S:
        raise RunDirectoryError(
            f"the last reading is {-pause_s:.0f} s in the future: set this computer's clock, "
            "then resume"
        )
    if hardware.speed == 1.0 and pause_s > 0.0:
        journal.event(
            Event(
                kind=EventKind.EXPOSURE,
                t_s=hardware.clock.now_s(),
                sequence=restored.sequence,
                message=f"not watched for {pause_s / SECONDS_PER_HOUR:.3f} h, output open",
                data={"pause_h": pause_s / SECONDS_PER_HOUR, "voltage_V": restored.last_voltage_V},
            )
        )
    gap_s = pause_s if hardware.virtual else None
    charge_Ah = unobserved_Ah(restored, gap_s)
    take_gap_into_account(restored, charge_Ah)
    if charge_Ah > 0.0:
        journal.event(
            Event(
                kind=EventKind.UNOBSERVED,
                t_s=hardware.clock.now_s(),
                sequence=restored.sequence,
                message=f"up to {charge_Ah * 1e3:.5f} mAh flowed unobserved",
                data={
                    "charge_Ah": charge_Ah,
                    "current_A": restored.current_A,
                    "valid_for_s": restored.valid_for_s,
                },
            )
        )
    for report in restored.missing:
        for figures in report.figures:
            journal.cycle(figures)
        for decision in report.decisions:
            journal.decision(decision)


def _acknowledgement(restored: Restored, mailbox: Mailbox, run_dir: Path) -> OperatorCommand | None:
    """Return the acknowledgement of a latched fault; refuse to go on without one."""
    if restored.state.run_state is not State.FAULT:
        mailbox.refuse_waiting("the run had ended already")
        return None
    for order in mailbox.take():
        if order.word is OperatorWord.ACKNOWLEDGE:
            return order
    causes = "; ".join(supervisor.causes_words(restored.memory.latched)) or "see the event table"
    raise RunDirectoryError(
        f"{run_dir}: the run tripped and is latched ({causes}). When the cause is gone: "
        f'reactivate acknowledge {run_dir} --cause "..." --name "..."'
    )


@contextmanager
def _ctrl_c(interrupt: Interrupt) -> Iterator[None]:
    """Turn the first Ctrl-C into a request that the loop sees; a second one raises."""

    def handler(number: int, frame: FrameType | None) -> None:
        if interrupt.wanted:
            signal.default_int_handler(number, frame)
        interrupt.wanted = True

    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# --- afterwards ---------------------------------------------------------------------------------


def bdf_path(run_dir: Path, config: RunConfig) -> Path:
    """Return where the Battery Data Format file of a run stands."""
    return run_dir / f"{config.cell.name}.bdf.csv"


def rewrite_report(run_dir: Path) -> None:
    """Write report and Battery Data Format file again, from the journal alone."""
    header = configuration_of(run_dir)
    config = parse_run(str(header["configuration"]), str(run_dir / "run.sqlite"))
    bdf = bdf_path(run_dir, config)
    write_bdf(run_dir, bdf)
    report = write_report(run_dir)
    Console(highlight=False).print(f"{report}\n{bdf}")


__all__ = ["JournalReader", "RunOptions", "dry", "rewrite_report", "start"]
