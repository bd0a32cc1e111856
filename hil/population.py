"""Many simulated cells at once, and cells cycled without leaving compiled code.

Each cell is a row of two structured arrays, state and parameters (`hil.records`); the loops below
are kernels' callers, compiled together with the cell's own ``step`` (`hil.compiled`), and each core
takes its share of the cells. Without numba they run as Python, one cell after the other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from controller.domain.errors import InvariantError, refuse
from controller.domain.units import SECONDS_PER_HOUR
from hil import records
from hil.compiled import Array, Entry, Record, available, build, record_of
from hil.kernel_source import Kernel
from hil.prefetch import prefetch

Numbers = NDArray[np.float64]

# Phases of the built-in cycling.
CHARGE_CC: Final = 0
CHARGE_CV: Final = 1
REST_CHARGED: Final = 2
DISCHARGE: Final = 3
REST_DISCHARGED: Final = 4
# Cell-steps below which one thread is quicker than sharing them out: about 0.1 ms of work.
SHARED_FROM: Final = 2000
# Pieces for each thread: one that is late, or has the slower cells, leaves some to the others.
PIECES: Final = 4


class Cycling:
    """How a cell is cycled: constant current, constant voltage, rest, discharge, rest.

    Attributes
    ----------
    charge_A, discharge_A : float
        Magnitudes.
    upper_V, lower_V : float
        Cut-offs.
    taper_A : float
        The constant voltage ends at this current.
    regulation_Ohm : float
        The current gives way by the voltage's excess over `upper_V` divided by this.
    rest_s : float
        After each half cycle.
    """

    __slots__ = (
        "charge_A",
        "discharge_A",
        "lower_V",
        "regulation_Ohm",
        "rest_s",
        "taper_A",
        "upper_V",
    )
    charge_A: float
    discharge_A: float
    upper_V: float
    lower_V: float
    taper_A: float
    regulation_Ohm: float
    rest_s: float

    def __init__(
        self,
        *,
        charge_A: float,
        discharge_A: float,
        upper_V: float,
        lower_V: float,
        taper_A: float,
        regulation_Ohm: float,
        rest_s: float = 600.0,
    ) -> None:
        self.charge_A = charge_A
        self.discharge_A = discharge_A
        self.upper_V = upper_V
        self.lower_V = lower_V
        self.taper_A = taper_A
        self.regulation_Ohm = regulation_Ohm
        self.rest_s = rest_s


class Turn:
    """Where a cell is in its cycle.

    Attributes
    ----------
    phase : int
        ``CHARGE_CC`` ... ``REST_DISCHARGED``.
    phase_s : float
        Time in it (s).
    current_A : float
        Asked for last.
    cycles : int
        Completed.
    charge_Ah, discharge_Ah : float
        Of the running cycle, magnitudes.
    last_charge_Ah, last_discharge_Ah : float
        Of the cycle completed last.
    """

    __slots__ = (
        "charge_Ah",
        "current_A",
        "cycles",
        "discharge_Ah",
        "last_charge_Ah",
        "last_discharge_Ah",
        "phase",
        "phase_s",
    )
    phase: int
    phase_s: float
    current_A: float
    cycles: int
    charge_Ah: float
    discharge_Ah: float
    last_charge_Ah: float
    last_discharge_Ah: float

    def __init__(self) -> None:
        self.phase = REST_DISCHARGED
        self.phase_s = 0.0
        self.current_A = 0.0
        self.cycles = -1
        self.charge_Ah = 0.0
        self.discharge_Ah = 0.0
        self.last_charge_Ah = 0.0
        self.last_discharge_Ah = 0.0


def step(s: Any, p: Any, current_A: float, dt_s: float, ambient_K: float) -> float:
    """Stand for the cell's own step; `Population` puts that in its place."""
    del s, p, current_A, dt_s, ambient_K
    raise InvariantError("a population is built with the step of its cells")


def next_current(turn: Turn, cycling: Cycling, voltage_V: float, dt_s: float) -> float:
    """Return the current (A) for the next `dt_s`, decided from the last voltage.

    Written for speed, not for a device: a voltage that is not a number ends the running phase.
    """
    phase = turn.phase
    turn.phase_s += dt_s
    current_A = turn.current_A
    if phase == CHARGE_CC:
        turn.charge_Ah += current_A * dt_s / SECONDS_PER_HOUR
        if voltage_V < cycling.upper_V:
            return current_A
        turn.phase = CHARGE_CV
        turn.phase_s = 0.0
        return current_A
    if phase == CHARGE_CV:
        turn.charge_Ah += current_A * dt_s / SECONDS_PER_HOUR
        current_A -= (voltage_V - cycling.upper_V) / cycling.regulation_Ohm
        current_A = min(current_A, cycling.charge_A)
        if current_A > cycling.taper_A:
            turn.current_A = current_A
            return current_A
        turn.phase = REST_CHARGED
        turn.current_A = 0.0
    elif phase == DISCHARGE:
        turn.discharge_Ah -= current_A * dt_s / SECONDS_PER_HOUR
        if voltage_V > cycling.lower_V:
            return current_A
        turn.phase = REST_DISCHARGED
        turn.current_A = 0.0
    elif turn.phase_s < cycling.rest_s:
        return 0.0
    elif phase == REST_CHARGED:
        turn.phase = DISCHARGE
        turn.current_A = -cycling.discharge_A
    else:
        turn.phase = CHARGE_CC
        turn.current_A = cycling.charge_A
        turn.cycles += 1
        turn.last_charge_Ah = turn.charge_Ah
        turn.last_discharge_Ah = turn.discharge_Ah
        turn.charge_Ah = 0.0
        turn.discharge_Ah = 0.0
    turn.phase_s = 0.0
    return turn.current_A


def step_population(  # noqa: PLR0913, PLR0917 -- a loop's whole world; a record of it would hide arrays
    first: int,
    last: int,
    states: Any,
    parameters: Any,
    currents_A: Any,
    dt_s: float,
    ambient_K: float,
    out_V: Any,
) -> None:
    """Step each of the cells from `first` to before `last` once."""
    for index in range(first, last):
        prefetch(states, index + 1)
        prefetch(parameters, index + 1)
        out_V[index] = step(states[index], parameters[index], currents_A[index], dt_s, ambient_K)


def cycle_population(  # noqa: PLR0913, PLR0917 -- likewise
    first: int,
    last: int,
    states: Any,
    parameters: Any,
    turns: Any,
    cyclings: Any,
    steps: int,
    dt_s: float,
    ambient_K: float,
    out_V: Any,
) -> None:
    """Take each cell `steps` steps further, its current decided at each from the last voltage."""
    for index in range(first, last):
        prefetch(states, index + 1)
        prefetch(parameters, index + 1)
        s = states[index]
        p = parameters[index]
        turn = turns[index]
        cycling = cyclings[index]
        voltage_V = out_V[index]
        for _ in range(steps):
            current_A = next_current(turn, cycling, voltage_V, dt_s)
            voltage_V = step(s, p, current_A, dt_s, ambient_K)
        out_V[index] = voltage_V


def step_at(
    states: Any, parameters: Any, index: int, current_A: float, dt_s: float, ambient_K: float
) -> float:
    """Step one cell of many; return its voltage (V)."""
    return step(states[index], parameters[index], current_A, dt_s, ambient_K)


def run_profile(s: Any, p: Any, currents_A: Any, dts_s: Any, ambients_K: Any, out_V: Any) -> None:
    """Take one cell through a series of steps of given current, length and ambient."""
    for index in range(len(out_V)):
        out_V[index] = step(s, p, currents_A[index], dts_s[index], ambients_K[index])


class Loops(NamedTuple):
    """The loops above for one kind of cell, to be called from Python."""

    step_at: Callable[..., float]
    step_population: Callable[..., None]
    cycle_population: Callable[..., None]
    run_profile: Callable[..., None]


def loops(
    step_cell: Kernel,
    state: object,
    parameters: object,
    *,
    compiled: bool | None = None,
    cache: Path | None = None,
) -> Loops:
    """Build the loops for cells with this step, whose records look like these.

    All of them together, so that each kind of cell is compiled once.

    Parameters
    ----------
    step_cell : function
        The cell's kernel, ``step(s, p, current_A, dt_s, ambient_K) -> voltage_V``.
    state, parameters : records
        Examples; their values do not matter.
    compiled, cache : optional
        See `hil.compiled.build`.
    """
    one = (record_of(state), record_of(parameters))
    many = (Array(of=one[0]), Array(of=one[1]))
    turns = (Array(of=Record(kind=Turn)), Array(of=Record(kind=Cycling)))
    numbers = Array(of=float)
    entries = [
        Entry(function=step_at, arguments=(*many, int, float, float, float)),
        Entry(
            function=step_population,
            arguments=(int, int, *many, numbers, float, float, numbers),
        ),
        Entry(
            function=cycle_population,
            arguments=(int, int, *many, *turns, int, float, float, numbers),
        ),
        Entry(function=run_profile, arguments=(*one, numbers, numbers, numbers, numbers)),
    ]
    bind = {f"{__name__}:step": step_cell}
    return Loops(*build(entries, bind=bind, compiled=compiled, cache=cache))


class Population:
    """Cells of one kind, stepped together.

    Parameters
    ----------
    step_cell : function
        The cell's kernel, ``step(s, p, current_A, dt_s, ambient_K) -> voltage_V``.
    states, parameters : sequences of records
        One of each for each cell.
    cyclings : sequence of Cycling, optional
        How each cell is cycled by `cycle`.
    compiled, cache : optional
        See `hil.compiled.build`.
    threads : int, optional
        Default: one for each core. The result does not depend on it.

    Attributes
    ----------
    states, parameters, cyclings, turns : structured arrays
        One row for each cell; fields by name, nested ones too (``states["neg"]["film_mAh"]``).
    voltages_V : array of float, shape (cells,)
        At the end of the last step.
    """

    def __init__(
        self,
        step_cell: Kernel,
        states: Sequence[object],
        parameters: Sequence[object],
        cyclings: Sequence[Cycling] = (),
        *,
        compiled: bool | None = None,
        threads: int | None = None,
        cache: Path | None = None,
    ) -> None:
        if not states or len(states) != len(parameters):
            raise refuse("population", "", "needs a state and a set of parameters for each cell")
        self.compiled = available() if compiled is None else compiled
        self.states = records.records(*states)
        self.parameters = records.records(*parameters)
        self.cyclings = np.zeros(len(states), records.record_dtype(Cycling))
        for row, cycling in zip(self.cyclings, cyclings, strict=bool(cyclings)):
            records.to_record(cycling, row)
        self.turns = records.records(*(Turn() for _ in states))
        self.voltages_V: Numbers = np.zeros(len(states))
        self._kind = type(states[0])
        self._loops = loops(
            step_cell, states[0], parameters[0], compiled=self.compiled, cache=cache
        )
        self._threads = (threads or os.cpu_count() or 1) if self.compiled else 1
        self._pool: ThreadPoolExecutor | None = None

    def __len__(self) -> int:
        return len(self.voltages_V)

    def step(self, currents_A: Numbers, dt_s: float, ambient_K: float) -> Numbers:
        """Pass to each cell its own current (A) for `dt_s`; return the voltages (V)."""
        self._share(1, self._loops.step_population, currents_A, dt_s, ambient_K, self.voltages_V)
        return self.voltages_V

    def step_cell(self, index: int, current_A: float, dt_s: float, ambient_K: float) -> float:
        """Pass a current (A) to one cell for `dt_s`; return its voltage (V)."""
        voltage_V: float = self._loops.step_at(
            self.states, self.parameters, index, current_A, dt_s, ambient_K
        )
        return voltage_V

    def cycle(self, steps: int, dt_s: float, ambient_K: float) -> Numbers:
        """Go on cycling each cell for `steps` steps of `dt_s`; return the voltages (V)."""
        self._share(
            steps,
            self._loops.cycle_population,
            self.turns,
            self.cyclings,
            steps,
            dt_s,
            ambient_K,
            self.voltages_V,
        )
        return self.voltages_V

    def _share(self, steps: int, loop: Callable[..., None], *arguments: Any) -> None:
        """Run a loop over all cells; threads, this one among them, take piece after piece."""
        count = len(self)
        head = (self.states, self.parameters)
        threads = min(self._threads, count) if count * steps >= SHARED_FROM else 1
        if threads == 1:
            loop(0, count, *head, *arguments)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads - 1)
        pieces = min(PIECES * threads, count)
        edges = [count * piece // pieces for piece in range(pieces + 1)]
        left = iter(list(pairwise(edges)))  # of which each thread takes the next, under one lock

        def work() -> None:
            for first, last in left:
                loop(first, last, *head, *arguments)

        others = [self._pool.submit(work) for _ in range(threads - 1)]
        work()
        for one in others:
            if not one.cancel():  # one that has not begun has nothing left to do
                one.result()

    def state(self, index: int) -> Any:
        """Return one cell's state as an object."""
        return records.from_record(self._kind, self.states[index])
