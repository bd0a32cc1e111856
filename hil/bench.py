"""A whole bench in one process and on one virtual clock: cell, source-measure unit, thermometer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from controller.domain.errors import ConfigurationError, refuse
from hil.cell import CellParameters, LithiumMetalCell, load_cell
from hil.clock import VirtualClock
from hil.instruments.faults import InstrumentFault
from hil.instruments.keithley2450 import EmulatedKeithley2450
from hil.instruments.thermometer import EmulatedThermometer
from hil.plant import PlantPort, port_of
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
    cell : object
        The plant itself, whatever it is. Its truth is for tests and reports only.
    smu : EmulatedKeithley2450
    thermometer : EmulatedThermometer
    """

    clock: VirtualClock
    smu_transport: InProcessTransport
    thermometer_transport: InProcessTransport
    cell: Any
    smu: EmulatedKeithley2450
    thermometer: EmulatedThermometer

    def truth(self) -> dict[str, float | str | bool]:
        """Return the plant's hidden truth, as far as it has been moved."""
        return self.smu.port.truth()


def preset_parameters(preset: str, seed: int) -> CellParameters:
    """Return the parameters of a built-in cell, or of a cell file by its path.

    Raises
    ------
    ConfigurationError
        No such cell, or one that is wrong.
    """
    return load_cell(preset).parameters(seed)


def preset_port(
    preset: str,
    seed: int,
    ambient_K: float,
    parameters: CellParameters | None = None,
    *,
    compiled: bool = False,
) -> PlantPort:
    """Return one of our own cells, by preset or by parameters, as a plant.

    Parameters
    ----------
    preset, seed, ambient_K, parameters : see `build_bench`
    compiled : bool
        The same cell to the last bit, for long runs (`hil.cell.compiled_cell`).

    Raises
    ------
    ConfigurationError
        No such preset.
    """
    chosen = preset_parameters(preset, seed) if parameters is None else parameters
    name = Path(preset).name  # a resumed run reads the same file from its own directory
    if compiled:
        from hil.cell.compiled_cell import CompiledCell  # noqa: PLC0415 -- brings the compiler

        return port_of(CompiledCell(chosen, temperature_K=ambient_K, seed=seed), name)
    return port_of(LithiumMetalCell(chosen, temperature_K=ambient_K, seed=seed), name)


def build_bench(  # noqa: PLR0913 - everything that stands on a bench, by keyword
    *,
    preset: str = "anode-free",
    seed: int,
    utc_epoch_s: float,
    ambient_K: float = 298.15,
    faults: Iterable[InstrumentFault] = (),
    parameters: CellParameters | None = None,
    plant: PlantPort | None = None,
    ideal: bool = False,
) -> Bench:
    """Put a bench together. The same arguments give the same bytes for ever.

    Parameters
    ----------
    preset : str
        A name in `hil.cell.PRESETS`, or the path of a cell file.
    seed : int
        Scatter of the cell, errors and noise of the instruments.
    utc_epoch_s : float
        Unix seconds at the clock's zero.
    ambient_K : float
    faults : iterable of InstrumentFault
    parameters : CellParameters, optional
        Instead of a preset.
    plant : PlantPort, optional
        Instead of our own cell; `hil.plant.load_plant` makes it.
    ideal : bool
        Instruments without gain, offset and noise.
    """
    clock = VirtualClock(utc_epoch_s)
    port = preset_port(preset, seed, ambient_K, parameters) if plant is None else plant
    all_faults = tuple(faults)
    smu = EmulatedKeithley2450(
        port, clock, ambient_K=ambient_K, seed=seed, faults=all_faults, ideal=ideal, off_mode="HIMP"
    )
    thermometer = EmulatedThermometer(smu, clock, seed=seed, catch_up=smu.tick, faults=all_faults)
    return Bench(
        clock=clock,
        smu_transport=InProcessTransport(smu, clock, "emulated://keithley2450"),
        thermometer_transport=InProcessTransport(thermometer, clock, "emulated://thermometer"),
        cell=port.plant,
        smu=smu,
        thermometer=thermometer,
    )


def kept_cell(port: PlantPort) -> dict[str, Any]:
    """Return a plant for a file: its name and state, or why there is no state."""
    try:
        return {"plant": port.name, "cell": port.stored()}
    except ConfigurationError as error:
        return {"plant": port.name, "cell": None, "cell_not_kept": error.faults[0].problem}


def take_up_cell(port: PlantPort, kept: dict[str, Any], where: str) -> None:
    """Restore a plant from what `kept_cell` gave.

    Raises
    ------
    ConfigurationError
        Another plant, or one whose state was not kept; with the reason.
    """
    name = kept.get("plant", port.name)  # files of the first version name none
    if name != port.name:
        raise refuse(where, "plant", f"holds {name!r}, not {port.name!r}", f"give {name!r} again")
    if kept.get("cell") is None:
        reason = kept.get("cell_not_kept", "its state was not kept")
        raise refuse(
            where,
            "cell",
            f"plant {name} cannot go on where it was: {reason}",
            "start anew, in another place",
        )
    port.take_up(kept["cell"], where)


def save_bench(bench: Bench, path: Path) -> None:
    """Keep cell, instrument settings and time in a file, replaced in one move.

    A plant whose state cannot be kept is told from one that can; `load_bench` will refuse it.
    """
    document = {
        "schema": BENCH_SCHEMA,
        "clock_s": bench.clock.now_s(),
        "utc_s": bench.clock.utc_s(),
        **kept_cell(bench.smu.port),
        "temperature_K": bench.smu.temperature_K,
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
        The file is of another schema, damaged, of another plant, or of one that cannot be taken up.
    """
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise refuse(str(path), "", f"cannot be read: {error}") from None
    if document.get("schema") != BENCH_SCHEMA:
        raise refuse(str(path), "schema", f"is {document.get('schema')!r}", f"{BENCH_SCHEMA}")
    take_up_cell(bench.smu.port, document, str(path))
    bench.clock.set(document["clock_s"], document["utc_s"])
    if "temperature_K" in document:
        bench.smu.know_temperature(document["temperature_K"])
    bench.smu.power_cycle(document["smu"])
