"""The logger of simulated lives: when a reading is due, what it holds, and legs run under it.

Kernels, which take the place of the ideal cycler's hooks (`hil.cell.cycler`); `hil.port_lives`
calls the same ones as plain Python. A sampling plan says when: at a period, where voltage or
current have moved, 1, 2, 5 and 10 s after each change of current. The last moment of a leg is
always read.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from controller.domain.errors import InvariantError
from hil import records
from hil.cell import kernel
from hil.cell.cycler import constant_current, hold_voltage, rest
from hil.cell.parameters import CellParameters
from hil.cell.state import CellState, ElectrodeState, blank_state, put, take
from hil.compiled import Array, Entry, Record, build, record_of
from hil.programmes import Step

Numbers = NDArray[np.float64]

LOG_ROWS: Final = 20_000  # a discharge at C/20 read every 5 s has 14,400
# Readings after a change of current (s), before the plan's period takes over.
EARLY_S = (1.0, 2.0, 5.0, 10.0)
HELD_SHARE = 0.01  # of the time held so far, between two readings that a movement asks for
HELD_STEP_SHARE = 1.0 / 6.0  # of the period: a held current's longest step
NEVER_S: Final = 1e12
# What a reading is of, by column of the log.
TIME, CURRENT, VOLTAGE, TEMPERATURE, LEG, HELD = range(6)
LOG_WIDTH = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """When the logger reads. Assumed: what cycler software is set to, 10-120 s and 5-50 mV.

    Attributes
    ----------
    period_s : float
    move_V : float
        A reading when the voltage has moved by this.
    move_share : float
        A reading when the current has moved by this share of 1C.
    shortest_s : float
        Between two readings that a movement asks for.
    early : bool
        Readings 1, 2, 5 and 10 s after each change of current.
    discharges_only : bool
        The period is for discharges; any other leg has its last reading alone.
    """

    period_s: float = 60.0
    move_V: float = 0.02
    move_share: float = 0.005
    shortest_s: float = 0.1
    early: bool = True
    discharges_only: bool = False

    def period_of(self, step: Step) -> float:
        """Return the time (s) between two readings of a step."""
        return NEVER_S if self.discharges_only and step.current_A >= 0.0 else self.period_s

    def new_log(self, nominal_mAh: float) -> Log:
        """Return an empty log for a cell of this capacity."""
        log = Log()
        for name, kind in records.fields_of(Log).items():
            setattr(log, name, [0.0] * (LOG_ROWS * LOG_WIDTH) if name == "rows" else kind(0))
        log.move_V = self.move_V
        log.move_A = self.move_share * nominal_mAh * 1e-3
        log.shortest_s = self.shortest_s
        log.early = len(EARLY_S) if self.early else 0
        return log


def fixed_sampling(period_s: float) -> Sampling:
    """Return a plan of readings of discharges alone, at a fixed interval and nothing between."""
    return Sampling(
        period_s=period_s,
        move_V=math.inf,
        move_share=math.inf,
        early=False,
        discharges_only=True,
    )


class Log:
    """What the logger has noted of a cycle, and when it is to look again.

    Attributes
    ----------
    rows : list of float
        `LOG_WIDTH` numbers a reading.
    count : int
        Readings noted.
    lost : int
        Readings for which there was no room.
    leg, held : int
        Which step runs, and whether its voltage is held (1) or not.
    edge_s, due_s : float
        When the current changed last, and when the next reading is due.
    last_s, last_V, last_A : float
        Of the last reading.
    early : int
        How many of `EARLY_S` are read.
    period_s, shortest_s, move_V, move_A : float
        See `Sampling`.
    """

    __slots__ = (
        "count",
        "due_s",
        "early",
        "edge_s",
        "held",
        "last_A",
        "last_V",
        "last_s",
        "leg",
        "lost",
        "move_A",
        "move_V",
        "period_s",
        "rows",
        "shortest_s",
    )
    rows: list[float]
    count: int
    lost: int
    leg: int
    held: int
    early: int
    edge_s: float
    due_s: float
    last_s: float
    last_V: float
    last_A: float
    period_s: float
    shortest_s: float
    move_V: float
    move_A: float


class LoggedState(CellState):
    """A cell's state with its log: the cell's kernels see the state alone."""

    __slots__ = ("log",)
    log: Log


def due_in_s(s: LoggedState) -> float:
    """Return how long a step may be, so that it ends where a reading is due.

    A held voltage's current falls in steps, which have to be fine beside the readings.
    """
    if s.log.held > 0:
        return HELD_STEP_SHARE * s.log.period_s
    left_s = s.log.due_s - s.time_s
    return max(left_s, 1e-3)


def take_note(s: LoggedState) -> None:
    """Note a reading where one is due, or where voltage or current have moved."""
    log = s.log
    now_s = s.time_s
    due = now_s >= log.due_s - 1e-6
    moved = (
        abs(s.cell_V - log.last_V) >= log.move_V or abs(s.last_current_A - log.last_A) >= log.move_A
    )
    shortest_s = log.shortest_s
    if log.held > 0:  # a hold on the last lithium can flutter for hours
        shortest_s = max(shortest_s, HELD_SHARE * (now_s - log.edge_s))
    if due or (moved and now_s - log.last_s >= shortest_s):
        # a held voltage's current falls in steps: each is the fall's value at its middle
        write_down(s, now_s - 0.5 * s.substep_s if log.held > 0 else now_s)


def write_down(s: LoggedState, now_s: float) -> None:
    """Note a reading as of a time, and when the next is due."""
    log = s.log
    if log.count >= LOG_ROWS:
        log.lost += 1
    else:
        at = log.count * LOG_WIDTH
        log.rows[at + TIME] = now_s
        log.rows[at + CURRENT] = s.last_current_A
        log.rows[at + VOLTAGE] = s.cell_V
        log.rows[at + TEMPERATURE] = s.temperature_K
        log.rows[at + LEG] = log.leg + 0.0
        log.rows[at + HELD] = log.held + 0.0
        log.count += 1
    log.last_s = now_s
    log.last_V = s.cell_V
    log.last_A = s.last_current_A
    set_due(s)


def set_due(s: LoggedState) -> None:
    """Say when the next reading is due."""
    log = s.log
    now_s = s.time_s
    log.due_s = now_s + log.period_s
    for index in range(log.early):
        at_s = log.edge_s + EARLY_S[index]
        if at_s > now_s + 1e-6 and at_s < log.due_s:
            log.due_s = at_s


def begin_leg(s: LoggedState, index: int, period_s: float) -> None:
    """Make the log ready for a leg."""
    log = s.log
    log.leg = index
    log.period_s = period_s
    log.last_s = s.time_s
    log.last_V = 1e9  # the first step of a leg is a movement
    log.last_A = 1e9
    begin_control(s, 0)


def begin_control(s: LoggedState, held: int) -> None:
    """Take note that a current is constant from now on (0), or a voltage (1)."""
    s.log.held = held
    s.log.edge_s = s.time_s
    set_due(s)


def end_leg(s: LoggedState) -> None:
    """Note the last moment of a leg, or of its constant current."""
    if s.log.last_s < s.time_s:
        write_down(s, s.time_s)


class LoggedLeg:
    """One step of a programme in numbers: as `hil.cycling.Leg`, with its control's delay.

    `period_s` is between readings; `took_s` and `passed_mAh` (net charge) come of it.
    """

    __slots__ = (
        "current_A",
        "delay_s",
        "hold_A",
        "hold_s",
        "max_mAh",
        "max_s",
        "passed_mAh",
        "period_s",
        "stop_V",
        "took_s",
    )
    current_A: float
    stop_V: float
    hold_A: float
    hold_s: float
    max_mAh: float
    max_s: float
    delay_s: float
    period_s: float
    took_s: float
    passed_mAh: float


def run_logged(s: Any, p: Any, legs: Any, ambient_K: float) -> float:
    """Run the legs of one cycle and log it; return the time (s).

    After the reading that ends a leg its last current goes on for the control's delay.
    """
    s.log.count = 0
    start_s: float = s.time_s
    for index in range(len(legs)):
        leg = legs[index]
        begin_s = s.time_s
        before_mAh = s.charge_in_mAh - s.charge_out_mAh
        begin_leg(s, index, leg.period_s)
        if leg.current_A == 0.0:
            rest(s, p, leg.max_s, ambient_K)
        else:
            passed_s = constant_current(
                s, p, leg.current_A, leg.stop_V, leg.max_mAh, leg.max_s, ambient_K
            )
            if leg.hold_A > 0.0 and passed_s < leg.max_s:
                end_leg(s)
                begin_control(s, 1)
                hold_voltage(
                    s,
                    p,
                    leg.current_A,
                    leg.stop_V,
                    leg.hold_A,
                    min(leg.hold_s, leg.max_s - passed_s),
                    ambient_K,
                )
        end_leg(s)
        if leg.delay_s > 0.0:
            kernel.step(s, p, s.last_current_A, leg.delay_s, ambient_K)
        leg.took_s = s.time_s - begin_s
        leg.passed_mAh = s.charge_in_mAh - s.charge_out_mAh - before_mAh
    end_s: float = s.time_s
    return end_s - start_s


@functools.lru_cache(maxsize=1)
def state_argument() -> Record:
    """Return the record of a cell with its log, as compiled code takes it."""
    logged = LoggedState()
    logged.neg, logged.pos = ElectrodeState(), ElectrodeState()
    put(logged, take(blank_state()))
    logged.log = Sampling().new_log(0.0)
    return record_of(logged)


@functools.lru_cache(maxsize=2)
def runner(*, compiled: bool) -> Callable[..., float]:
    """Return `run_logged` with the logger in place of the ideal cycler's hooks."""
    entry = Entry(
        function=run_logged,
        arguments=(
            state_argument(),
            Record(kind=CellParameters),
            Array(of=Record(kind=LoggedLeg)),
            float,
        ),
    )
    bind = {"hil.cell.cycler:longest_s": due_in_s, "hil.cell.cycler:note": take_note}
    return build([entry], bind=bind, compiled=compiled)[0]


def table(rows: Any, count: int, lost: int) -> Numbers:
    """Return the readings of a log, shape (count, `LOG_WIDTH`).

    Raises
    ------
    InvariantError
        The log had no room for some: a bug.
    """
    if lost:
        raise InvariantError(f"{lost} readings without room")
    return np.array(rows[: count * LOG_WIDTH], dtype=float).reshape(count, LOG_WIDTH)
