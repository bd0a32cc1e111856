"""Cycled cells whose discharges are logged as an instrument would read them, for scoring.

No driver and no bytes in between: an ideal cycler drives the cell, and a reading model of the
emulated source-measure unit (gain, offset, noise, resolution per range, `hil.instruments`) stands
for the instrument. Our own plant runs compiled where numba is there; any other cell that has a
``step`` runs through `OtherCell`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hil import records
from hil.cell import kernel, load_cell
from hil.cell.cycler import constant_current, hold_voltage, rest
from hil.cell.kernel import step as kernel_step
from hil.cell.parameters import CellParameters
from hil.cell.state import CellState, blank_state
from hil.compiled import Array, Entry, Record, available, build
from hil.cycling import AMBIENT_K, Leg
from hil.draws import draw_cell
from hil.instruments.measurement import CURRENT_ROWS, VOLTAGE_ROWS, InstrumentErrors, range_index

Numbers = NDArray[np.float64]

MOST_ROWS: Final = 40_000
TIME, CURRENT, VOLTAGE = 0, 1, 2
WIDTH: Final = 3
ENDS: Final = ("none", "anode-limited", "cathode-limited", "polarisation-limited")
DONE_S: Final = 1e-9
UNLOGGED_S: Final = 1e9  # interval of a leg of which nothing is logged
COARSE_S: Final = 60.0  # longest step of another cell
# Far from any end the cell's own step is taken: after this time, with this much lithium left, this
# far above the cut-off.
CALM_AFTER_S: Final = 60.0
CALM_SHARE: Final = 0.03
CALM_V: Final = 0.35
HALVINGS: Final = 8  # of an interval in which another cell meets its bound


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleLegs:
    """What is done in one cycle.

    Attributes
    ----------
    kind : str
        Free word that goes into the log: ``base``, ``anchor``, ``reference``, ``treatment``.
    charge, discharge, after : sequence of Leg
        `after` are rests or treatments that follow the logged rest.
    """

    kind: str
    charge: tuple[Leg, ...]
    discharge: tuple[Leg, ...]
    after: tuple[Leg, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedCycle:
    """One cycle as read and as it was; charge in Ah, magnitudes.

    Attributes
    ----------
    kind : str
    interval_s : float
        Between readings.
    charge_Ah, discharge_Ah : float
        As read: all of the half cycle.
    true_charge_Ah, true_discharge_Ah : float
    t_s, current_A, voltage_V : ndarray, shape (n,)
        Readings of the discharge (negative current), its hold included.
    held : ndarray of bool, shape (n,)
        Readings taken while the voltage was held.
    rest_t_s, rest_V : ndarray
        Readings of the rest after it.
    true_end : str
    """

    kind: str
    interval_s: float
    charge_Ah: float
    discharge_Ah: float
    true_charge_Ah: float
    true_discharge_Ah: float
    t_s: Numbers
    current_A: Numbers
    voltage_V: Numbers
    held: NDArray[np.bool_]
    rest_t_s: Numbers
    rest_V: Numbers
    true_end: str


class Cell(Protocol):
    """A cell on an ideal cycler, whatever model it is."""

    def run(self, leg: Leg, interval_s: float) -> tuple[Numbers, float]:
        """Run a leg; return rows of time (s), current (A), voltage (V), and the charge (Ah)."""
        ...

    def end(self) -> str:
        """Return what ended the last discharge, one of `ENDS`; asked when it has just ended."""
        ...


# -- our plant ---------------------------------------------------------------------------------


def is_calm(s: CellState, p: CellParameters, leg: Leg, left_mAh: float, part_s: float) -> bool:
    """Return whether no bound can be met within a step: then the cell's own step will do."""
    if leg.current_A > 0.0:
        return False
    calm_mAh = CALM_SHARE * p.nominal_capacity_mAh
    part_mAh = -leg.current_A * part_s / 3.6
    return (
        left_mAh > 2.0 * part_mAh
        and s.neg.deposit_mAh + s.neg.foil_mAh > calm_mAh + 2.0 * part_mAh
        and s.cell_V - leg.stop_V > CALM_V
    )


def log_leg(
    s: CellState, p: CellParameters, leg: Leg, interval_s: float, ambient_K: float, out: Any
) -> int:
    """Run one leg and write a row each `interval_s` and at its end; return the rows."""
    rows = 0
    passed_s = 0.0
    start_mAh = s.charge_in_mAh - s.charge_out_mAh
    holding = False
    for _ in range(len(out) // 3):
        part_s = min(interval_s, leg.max_s - passed_s)
        if not part_s > 0.0:
            break
        if leg.current_A == 0.0:
            took_s = rest(s, p, part_s, ambient_K)
        elif holding:
            took_s = hold_voltage(s, p, s.last_current_A, leg.stop_V, leg.hold_A, part_s, ambient_K)
        else:
            left_mAh = leg.max_mAh - abs(s.charge_in_mAh - s.charge_out_mAh - start_mAh)
            if not left_mAh > 1e-12 * leg.max_mAh:
                break
            if passed_s > CALM_AFTER_S and is_calm(s, p, leg, left_mAh, part_s):
                kernel_step(s, p, leg.current_A, part_s, ambient_K)
                took_s = part_s
            else:
                took_s = constant_current(
                    s, p, leg.current_A, leg.stop_V, left_mAh, part_s, ambient_K
                )
        passed_s += took_s
        if took_s > 0.0:
            out[3 * rows] = passed_s
            out[3 * rows + 1] = s.last_current_A
            out[3 * rows + 2] = s.cell_V
            rows += 1
        if took_s < part_s - DONE_S:
            if holding or not leg.hold_A > 0.0:
                break
            holding = True
    return rows


@functools.lru_cache(maxsize=2)
def _runner(*, compiled: bool) -> Callable[..., int]:
    entry = Entry(
        function=log_leg,
        arguments=(
            Record(kind=CellState),
            Record(kind=CellParameters),
            Record(kind=Leg),
            float,
            float,
            Array(of=float),
        ),
    )
    return build([entry], compiled=compiled)[0]


class PlantCell:
    """A cell of our plant.

    Parameters
    ----------
    parameters : CellParameters
    seed : int
        Of its shorts.
    compiled : bool, optional
        Default: where numba is there.
    """

    def __init__(
        self, parameters: CellParameters, *, seed: int = 0, compiled: bool | None = None
    ) -> None:
        self._run = _runner(compiled=available() if compiled is None else compiled)
        s = blank_state()
        kernel.begin(s, parameters, AMBIENT_K, float(seed))
        self._state = records.records(s)
        self._fixed = records.records(parameters)
        self._out = np.zeros(MOST_ROWS * WIDTH)

    def run(self, leg: Leg, interval_s: float) -> tuple[Numbers, float]:
        """Run a leg; see `Cell`."""
        before_mAh = self._net_mAh()
        row = records.records(leg)[0]
        rows = self._run(self._state[0], self._fixed[0], row, interval_s, AMBIENT_K, self._out)
        table = self._out[: rows * WIDTH].reshape(rows, WIDTH).copy()
        return table, 1e-3 * (self._net_mAh() - before_mAh)

    def end(self) -> str:
        """Return what ended the last discharge."""
        return ENDS[int(self._state["last_end"][0])]

    def _net_mAh(self) -> float:
        return float(self._state["charge_in_mAh"][0] - self._state["charge_out_mAh"][0])


# -- any other -----------------------------------------------------------------------------------


class OtherCell:
    """Any cell with `step`, `terminal_voltage`, `snapshot` and `restore`, on an ideal cycler.

    Parameters
    ----------
    plant : object
        See `hil.plant.Plant`.
    end_of : callable
        ``end_of(plant) -> str``: what ended the discharge that is just over, by its own truth.
    hold_Ohm : float
        The held current gives way by the voltage's miss over this, step by step.
    """

    def __init__(self, plant: Any, end_of: Callable[[Any], str], *, hold_Ohm: float = 60.0) -> None:
        self._plant = plant
        self._end_of = end_of
        self._hold_Ohm = hold_Ohm

    def run(self, leg: Leg, interval_s: float) -> tuple[Numbers, float]:
        """Run a leg; see `Cell`."""
        rows: list[tuple[float, float, float]] = []
        passed_s = charge_As = 0.0
        sign = 1.0 if leg.current_A > 0.0 else -1.0
        step_s = min(interval_s, COARSE_S)
        current_A = leg.current_A
        most_As = 3.6 * leg.max_mAh
        met = False
        while passed_s < leg.max_s - DONE_S and abs(charge_As) < most_As * (1.0 - 1e-12):
            part_s = min(step_s, leg.max_s - passed_s)
            if current_A != 0.0:
                part_s = min(part_s, (most_As - abs(charge_As)) / abs(current_A))
                part_s, met = self._to_bound(current_A, part_s, sign, leg.stop_V)
            voltage_V, _ = self._plant.step(current_A, part_s, AMBIENT_K)
            passed_s += part_s
            charge_As += current_A * part_s
            rows.append((passed_s, current_A, voltage_V))
            if met:
                break
        if met and leg.hold_A > 0.0:
            charge_As += self._hold(leg, sign, passed_s, rows, step_s)
        return np.array(rows).reshape(len(rows), WIDTH), charge_As / 3600.0

    def end(self) -> str:
        """Return what ended the last discharge."""
        return self._end_of(self._plant)

    def _to_bound(
        self, current_A: float, part_s: float, sign: float, stop_V: float
    ) -> tuple[float, bool]:
        """Return how long the current may flow, and whether the voltage bound is met then."""
        before = self._plant.snapshot()
        voltage_V, _ = self._plant.step(current_A, part_s, AMBIENT_K)
        self._plant.restore(before)
        if sign * (stop_V - voltage_V) > 0.0:
            return part_s, False
        low_s, high_s = 0.0, part_s
        for _ in range(HALVINGS):
            middle_s = 0.5 * (low_s + high_s)
            voltage_V, _ = self._plant.step(current_A, middle_s, AMBIENT_K)
            self._plant.restore(before)
            if sign * (stop_V - voltage_V) > 0.0:
                low_s = middle_s
            else:
                high_s = middle_s
        return high_s, True

    def _hold(
        self,
        leg: Leg,
        sign: float,
        passed_s: float,
        rows: list[tuple[float, float, float]],
        step_s: float,
    ) -> float:
        """Hold the voltage until the current is down; return the charge (A s)."""
        magnitude_A = abs(leg.current_A)
        charge_As = 0.0
        pace_s = 1.0
        logged_s = passed_s
        while passed_s < leg.max_s:
            voltage_V = self._plant.terminal_voltage(sign * magnitude_A)
            miss_V = sign * (voltage_V - leg.stop_V)
            magnitude_A = min(
                max(magnitude_A - miss_V / self._hold_Ohm, 0.5 * magnitude_A), abs(leg.current_A)
            )
            if magnitude_A <= leg.hold_A:
                break
            voltage_V, _ = self._plant.step(sign * magnitude_A, pace_s, AMBIENT_K)
            charge_As += sign * magnitude_A * pace_s
            passed_s += pace_s
            pace_s = min(1.3 * pace_s, step_s)
            if passed_s - logged_s >= step_s:
                rows.append((passed_s, sign * magnitude_A, leg.stop_V))
                logged_s = passed_s
        return charge_As


# -- readings -------------------------------------------------------------------------------------


def log_life(
    cell: Cell,
    plan: Sequence[CycleLegs],
    *,
    interval_s: float,
    errors: InstrumentErrors,
    random: np.random.Generator,
    least_Ah: float = 0.0,
) -> list[LoggedCycle]:
    """Take a cell through a plan; return its cycles as read.

    Parameters
    ----------
    cell : Cell
    plan : sequence of CycleLegs
    interval_s : float
        Between readings.
    errors : InstrumentErrors
        Of one instrument, for its life.
    random : numpy.random.Generator
        Of the readings' noise.
    least_Ah : float
        A cell whose discharge is below this is at its end: the life stops there.
    """
    cycles = []
    for legs in plan:
        reading = _Reading(errors, random)
        charged = [reading.half(*cell.run(leg, UNLOGGED_S), leg) for leg in legs.charge]
        true_charge_Ah = sum(one[1] for one in charged)
        tables, flows, held = [], [], []
        start_s = 0.0
        for leg in legs.discharge:
            table, flow_Ah = cell.run(leg, interval_s)
            read, true_Ah, read_Ah = reading.half(table, flow_Ah, leg)
            read = read.copy()
            read[:, TIME] += start_s
            start_s = float(read[-1, TIME]) if len(read) else start_s
            tables.append(read)
            flows.append((true_Ah, read_Ah))
            slack_A = 1e-6 * abs(leg.current_A)
            held.append(np.abs(table[:, CURRENT]) < abs(leg.current_A) - slack_A)
        rested, _ = cell.run(Leg(max_s=600.0), 30.0)
        true_end = cell.end()
        rest_read = reading.rows(rested)
        for leg in legs.after:
            cell.run(leg, UNLOGGED_S)
        rows = np.concatenate(tables)
        cycles.append(
            LoggedCycle(
                kind=legs.kind,
                interval_s=interval_s,
                charge_Ah=sum(one[2] for one in charged),
                discharge_Ah=-sum(one[1] for one in flows),
                true_charge_Ah=true_charge_Ah,
                true_discharge_Ah=-sum(one[0] for one in flows),
                t_s=rows[:, TIME],
                current_A=rows[:, CURRENT],
                voltage_V=rows[:, VOLTAGE],
                held=np.concatenate(held),
                rest_t_s=rest_read[:, TIME],
                rest_V=rest_read[:, VOLTAGE],
                true_end=true_end,
            )
        )
        if not cycles[-1].true_discharge_Ah > least_Ah:
            break
    return cycles


class _Reading:
    """What an instrument makes of true currents and voltages."""

    def __init__(self, errors: InstrumentErrors, random: np.random.Generator) -> None:
        self._errors = errors
        self._random = random

    def rows(self, table: Numbers) -> Numbers:
        """Return the rows as read, each current in the range that the largest one needs."""
        read = table.copy()
        if len(table):
            for column, rows, channels in (
                (CURRENT, CURRENT_ROWS, self._errors.current),
                (VOLTAGE, VOLTAGE_ROWS, self._errors.voltage),
            ):
                index = range_index(rows, float(np.max(np.abs(table[:, column])))) or 0
                channel = channels[index]
                raw = table[:, column] * channel.gain + channel.offset
                raw += channel.noise * self._random.standard_normal(len(table))
                read[:, column] = np.round(raw * channel.counts_per_unit) / channel.counts_per_unit
        return read

    def half(self, table: Numbers, flow_Ah: float, leg: Leg) -> tuple[Numbers, float, float]:
        """Return the rows as read, the true charge and the charge as read (Ah, signed).

        The counter of the instrument integrates finely: it has the gain and the offset of its
        range, and neither noise nor the logging interval.
        """
        index = range_index(CURRENT_ROWS, abs(leg.current_A)) or 0
        channel = self._errors.current[index]
        lasted_s = float(table[-1, TIME]) if len(table) else 0.0
        read_Ah = flow_Ah * channel.gain + channel.offset * lasted_s / 3600.0
        return self.rows(table), flow_Ah, read_Ah


# -- lives ---------------------------------------------------------------------------------------

# Cut-offs (V) of the built-in cells; a hold at the upper one where a cathode is charged.
CUT_OFFS_V: Final = {
    "anode-free": (3.0, 4.3),
    "anode-free-lfp": (2.5, 3.8),
    "excess-lithium": (3.0, 4.3),
    "li-cu": (-1.0, 0.5),
}
FAMILIES: Final = ("lhce", "hce", "dilute-ether", "carbonate")
C_RATES: Final = (0.2, 1.0 / 3.0, 0.5)
INTERVALS_S: Final = (5.0, 10.0, 30.0)
HOURS_S: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """A logged life and how it was lived.

    Attributes
    ----------
    cell : str
        Name of the cell's file or of the plant.
    seed : int
    nominal_Ah, lower_V, upper_V : float
    cycles : list of LoggedCycle
    """

    cell: str
    seed: int
    nominal_Ah: float
    lower_V: float
    upper_V: float
    cycles: list[LoggedCycle]


def plan_of(
    random: np.random.Generator,
    cycles: int,
    nominal_Ah: float,
    cut_offs_V: tuple[float, float],
    *,
    by_charge: bool,
) -> list[CycleLegs]:
    """Return a plan drawn at random: rate, anchors, reference tests, discharged rests or none.

    `by_charge` plates the nominal capacity (Li||Cu); else charge ends at the upper cut-off and is
    held there to a sixth of its current.
    """
    lower_V, upper_V = cut_offs_V
    current_A = nominal_Ah * C_RATES[int(random.integers(len(C_RATES)))]
    slow_A = 0.05 * nominal_Ah
    rest_leg = Leg(max_s=600.0)

    def charge(at_A: float) -> tuple[Leg, ...]:
        if by_charge:
            return (Leg(at_A, upper_V, max_mAh=1e3 * nominal_Ah), rest_leg)
        hours = 2.0 + 1.3 * nominal_Ah / at_A
        return (Leg(at_A, upper_V, hold_A=at_A / 6.0, max_s=hours * HOURS_S), rest_leg)

    anchor_every = int(random.choice([0, 5]))
    treat_every = int(random.choice([0, 0, 7]))
    reference_at = int(random.choice([0, 11]))
    out = []
    for n in range(cycles):
        kind, at_A, hold_A = "base", current_A, 0.0
        before: tuple[Leg, ...] = ()
        if reference_at and n == reference_at:
            kind, at_A = "reference", slow_A
        elif treat_every and n and n % treat_every == 0:
            kind, before = "treatment", (Leg(max_s=12.0 * HOURS_S),)
        if anchor_every and n % anchor_every == anchor_every - 1 and not by_charge:
            kind = "anchor" if kind == "base" else kind
            hold_A = 0.02 * nominal_Ah
        hours = 2.0 + nominal_Ah / at_A
        discharge = Leg(-at_A, lower_V, hold_A=hold_A, max_s=hours * HOURS_S)
        out.append(CycleLegs(kind=kind, charge=(*before, *charge(at_A)), discharge=(discharge,)))
    return out


def draw_life(cell_name: str, seed: int, cycles: int) -> Life:
    """Log a life of a cell drawn by seed, with an instrument and a plan drawn by it as well."""
    random = np.random.default_rng([seed, 4711])
    cell_file = load_cell(cell_name)
    family = FAMILIES[int(random.integers(len(FAMILIES)))]
    parameters = draw_cell(replace(cell_file, family=family), seed)
    nominal_Ah = 1e-3 * parameters.nominal_capacity_mAh
    cut_offs_V = CUT_OFFS_V[cell_name]
    plan = plan_of(random, cycles, nominal_Ah, cut_offs_V, by_charge=cell_name == "li-cu")
    logged = log_life(
        PlantCell(parameters, seed=seed),
        plan,
        interval_s=INTERVALS_S[int(random.integers(len(INTERVALS_S)))],
        errors=InstrumentErrors(seed),
        random=random,
        least_Ah=0.1 * nominal_Ah,
    )
    return Life(
        cell=cell_name,
        seed=seed,
        nominal_Ah=nominal_Ah,
        lower_V=cut_offs_V[0],
        upper_V=cut_offs_V[1],
        cycles=logged,
    )
