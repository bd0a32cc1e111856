"""A whole bench in one process and on one virtual clock: cell, source-measure unit, thermometer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from controller.domain.errors import nearest, refuse
from hil.cell import PRESETS, CellParameters, LithiumMetalCell
from hil.clock import VirtualClock
from hil.instruments.faults import InstrumentFault
from hil.instruments.keithley2450 import EmulatedKeithley2450
from hil.instruments.thermometer import EmulatedThermometer
from hil.transport import InProcessTransport

BENCH_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Everything that stands on the bench.

    Attributes
    ----------
    clock : VirtualClock
    smu_transport, thermometer_transport : InProcessTransport
        What drivers are given.
    cell : LithiumMetalCell
        Its truth is for tests and reports only.
    smu : EmulatedKeithley2450
    thermometer : EmulatedThermometer
    """

    clock: VirtualClock
    smu_transport: InProcessTransport
    thermometer_transport: InProcessTransport
    cell: LithiumMetalCell
    smu: EmulatedKeithley2450
    thermometer: EmulatedThermometer


def preset_parameters(preset: str, seed: int) -> CellParameters:
    """Return the parameters of a named cell.

    Raises
    ------
    ConfigurationError
        No such preset.
    """
    factory = PRESETS.get(preset)
    if factory is None:
        raise refuse("cell", "preset", f"unknown {preset!r}", nearest(preset, list(PRESETS)))
    return factory(seed)


def build_bench(
    *,
    preset: str = "anode-free",
    seed: int,
    utc_epoch_s: float,
    ambient_K: float = 298.15,
    faults: Iterable[InstrumentFault] = (),
    parameters: CellParameters | None = None,
    ideal: bool = False,
) -> Bench:
    """Put a bench together. The same arguments give the same bytes for ever.

    Parameters
    ----------
    preset : str
        ``anode-free`` or ``excess-lithium``.
    seed : int
        Scatter of the cell, errors and noise of the instruments.
    utc_epoch_s : float
        Unix seconds at the clock's zero.
    ambient_K : float
    faults : iterable of InstrumentFault
    parameters : CellParameters, optional
        Instead of a preset.
    ideal : bool
        Instruments without gain, offset and noise.
    """
    clock = VirtualClock(utc_epoch_s)
    chosen = preset_parameters(preset, seed) if parameters is None else parameters
    cell = LithiumMetalCell(chosen, temperature_K=ambient_K)
    all_faults = tuple(faults)
    smu = EmulatedKeithley2450(
        cell, clock, ambient_K=ambient_K, seed=seed, faults=all_faults, ideal=ideal, off_mode="HIMP"
    )
    thermometer = EmulatedThermometer(cell, clock, seed=seed, catch_up=smu.tick, faults=all_faults)
    return Bench(
        clock=clock,
        smu_transport=InProcessTransport(smu, clock, "emulated://keithley2450"),
        thermometer_transport=InProcessTransport(thermometer, clock, "emulated://thermometer"),
        cell=cell,
        smu=smu,
        thermometer=thermometer,
    )


def save_bench(bench: Bench, path: Path) -> None:
    """Keep cell, instrument settings and time in a file, replaced in one move."""
    document = {
        "schema": BENCH_SCHEMA,
        "clock_s": bench.clock.now_s(),
        "utc_s": bench.clock.utc_s(),
        "cell": list(bench.cell.snapshot()),
        "smu": bench.smu.saved_settings(),
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document), "utf-8")
    part.replace(path)


def load_bench(bench: Bench, path: Path) -> None:
    """Take up a kept bench: the same cell, the instrument switched on anew with its output off.

    Raises
    ------
    ConfigurationError
        The file is of another schema or damaged.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise refuse(str(path), "", f"cannot be read: {error}") from None
    if document.get("schema") != BENCH_SCHEMA:
        raise refuse(str(path), "schema", f"is {document.get('schema')!r}", f"{BENCH_SCHEMA}")
    bench.clock.set(document["clock_s"], document["utc_s"])
    bench.cell.restore(tuple(document["cell"]))
    bench.smu.power_cycle(document["smu"])
