"""What the simulated cell costs: plain, compiled, one cell, ten thousand, and beside peers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from benchmarks import peers, two_rc
from benchmarks.timing import Measure, Result, compared, interleaved, seconds, without_peer
from hil import compiled
from hil.cell import anode_free_nmc811, kernel
from hil.cell.state import blank_state
from hil.population import Cycling, Population

NANO = 1e9
MICRO = 1e6
CELLS = 10_000
CELL_STEPS = 200  # of one cell before the next is taken up
LOCKSTEPS = 100  # of all cells
GOLDEN = 0.6180339887


def cycling(magnitude_A: float = 1e-3) -> Cycling:
    """Return how a cell is cycled: with this current both ways (A)."""
    return Cycling(
        charge_A=magnitude_A,
        discharge_A=magnitude_A,
        upper_V=peers.UPPER_V,
        lower_V=peers.LOWER_V,
        taper_A=0.5 * magnitude_A,
        regulation_Ohm=60.0,
        rest_s=60.0,
    )


def two_rc_cells(count: int) -> Population:
    """Return cells of two RC pairs."""
    return Population(
        two_rc.step,
        [two_rc.State(0.2 + 0.6 * index / count) for index in range(count)],
        [two_rc.Parameters() for _ in range(count)],
        [cycling()] * count,
    )


def plant_cells(count: int) -> Population:
    """Return anode-free cells, no two alike, each with a current of its own, as assembled."""
    states, parameters = [], []
    for seed in range(1, count + 1):
        p = anode_free_nmc811(seed)
        s = blank_state()
        kernel.begin(s, p, 298.15, float(seed))
        states.append(s)
        parameters.append(p)
    # 0.5-1.5 mA, evenly and never in order
    cyclings = [cycling(1e-3 * (0.5 + (0.5 + GOLDEN * index) % 1.0)) for index in range(count)]
    return Population(kernel.step, states, parameters, cyclings)


def spread(cells: Population) -> Population:
    """Cycle cells until they are all over their cycle: neighbours are not in the same phase."""
    cells.cycle(400, 60.0, 298.15)
    return cells


def cycled(cells: Population, steps: int) -> float:
    """Return the time of one step of one cell, cycled in compiled code (s)."""
    return seconds(lambda: cells.cycle(steps, peers.DT_S, 298.15)) / steps / len(cells)


def called(cells: Population, steps: int) -> float:
    """Return the time of one step, decided in Python and called from there (s)."""
    current_A, voltage_V = 1e-3, 3.9

    def work() -> None:
        nonlocal current_A, voltage_V
        for _ in range(steps):
            current_A = peers.decided(current_A, voltage_V, 1e-3)
            voltage_V = cells.step_cell(0, current_A, peers.DT_S, 298.15)

    return seconds(work) / steps


def beside(
    name: str, unit: str, scale: float, ours: Measure, others: Sequence[tuple[str, Measure | str]]
) -> list[Result]:
    """Measure `ours` in turns with every other that there is; one result for each of them."""
    there = [(what, one) for what, one in others if not isinstance(one, str)]
    mine, *theirs = interleaved(ours, *(one for _, one in there))
    found = [
        compared(name, unit, what, mine * scale, their * scale)
        for (what, _), their in zip(there, theirs, strict=True)
    ]
    missing = [
        without_peer(name, unit, f"{what}: {one}", mine * scale)
        for what, one in others
        if isinstance(one, str)
    ]
    return found + missing


def plain(step: Callable[..., float], s: object, p: object, steps: int) -> float:
    """Return the time of one step in plain Python (s)."""
    current_A, voltage_V = 1e-3, 3.9

    def work() -> None:
        nonlocal current_A, voltage_V
        for _ in range(steps):
            current_A = peers.decided(current_A, voltage_V, 1e-3)
            voltage_V = step(s, p, current_A, peers.DT_S, 298.15)

    return seconds(work) / steps


def plant_plain() -> list[Result]:
    """One second of one cell in plain Python, its current decided each step, against peers."""
    p = anode_free_nmc811(1)
    s = blank_state()
    kernel.begin(s, p, 298.15, 1.0)
    circuit = partial(plain, two_rc.step, two_rc.State(), two_rc.Parameters(), 5000)
    return beside(
        "plant-plain",
        "us",
        MICRO,
        partial(plain, kernel.step, s, p, 5000),
        [
            ("two RC pairs, in plain Python too", circuit),
            ("thevenin, two RC pairs", peers.thevenin()),
            ("PyBaMM, SPMe of a Li-metal half cell", peers.pybamm()),
        ],
    )


def plant_step() -> list[Result]:
    """One second of one cell in compiled code, its current decided each step, against peers."""
    if not compiled.available():
        return [without_peer("plant-step", "ns", compiled.why_not(), float("nan"))]
    return beside(
        "plant-step",
        "ns",
        NANO,
        partial(cycled, plant_cells(1), 200_000),
        [
            ("two RC pairs, compiled as we are", partial(cycled, two_rc_cells(1), 200_000)),
            ("two RC pairs in C", peers.c_two_rc()),
            ("thevenin, two RC pairs", peers.thevenin()),
            ("PyBaMM, SPMe of a Li-metal half cell", peers.pybamm()),
        ],
    )


def plant_call() -> list[Result]:
    """One compiled second of one cell, its current decided in Python, against peers."""
    return beside(
        "plant-call",
        "us",
        MICRO,
        partial(called, plant_cells(1), 20_000),
        [
            ("two RC pairs, compiled as we are", partial(called, two_rc_cells(1), 20_000)),
            ("thevenin, two RC pairs", peers.thevenin()),
        ],
    )


def in_lockstep(cells: Population) -> Measure:
    """Measure one step of one cell where all are stepped at once and decided on in between (s)."""
    magnitudes_A = cells.cyclings["charge_A"].copy()  # next to each other
    currents_A = magnitudes_A.copy()

    def work() -> None:
        for _ in range(LOCKSTEPS):
            voltages_V = cells.step(currents_A, peers.DT_S, 298.15)
            np.copyto(currents_A, -magnitudes_A, where=voltages_V >= peers.UPPER_V)
            np.copyto(currents_A, magnitudes_A, where=voltages_V <= peers.LOWER_V)

    return lambda: seconds(work) / LOCKSTEPS / len(cells)


def plant_population() -> list[Result]:
    """One second of 10,000 cells in one call, decided on between calls, against each by itself."""
    return beside(
        "plant-population",
        "ns",
        NANO,
        in_lockstep(spread(plant_cells(CELLS))),
        [
            ("each cell cycled by itself", partial(cycled, spread(plant_cells(CELLS)), CELL_STEPS)),
            ("one cell alone", partial(cycled, plant_cells(1), 200_000)),
        ],
    )


def plant_cycled() -> list[Result]:
    """One second of each of 10,000 cells, each cycled by itself for 200, against one cell alone."""
    return beside(
        "plant-cycled",
        "ns",
        NANO,
        partial(cycled, spread(plant_cells(CELLS)), CELL_STEPS),
        [("one cell alone", partial(cycled, plant_cells(1), 200_000))],
    )


def hil_import() -> list[Result]:
    """Start Python and import the rig, against importing peers."""

    def imported(name: str) -> float:
        command = [sys.executable, "-c", f"import {name}"]
        return seconds(lambda: subprocess.run(command, check=True))

    others = [(f"import {name}", partial(imported, name)) for name in ("sys", "numpy")]
    theirs = [
        (f"import {name}", partial(imported, name) if peers.is_there(name) else "not installed")
        for name in ("numba", "thevenin", "pybamm")
    ]
    return beside("hil-import", "s", 1.0, partial(imported, "hil.rig"), [*others, *theirs])
