"""Fast simulated lives, as an instrument reads them, for scoring estimators by the thousand.

The plant is cycled by the ideal cycler's kernels (compiled where numba is there) with a logger in
place of their hooks; what it notes passes through a reading model: gain and offset per range drawn
once per life, resolution, noise, clock. Beside the readings stands what the cell hides.

Not in here, because lives need it by the thousand and not to the byte: the driver, the firmware,
lost replies. `hil.rig` has those. The sampling plan is a logger's: a reading 1, 2, 5 and 10 s after
each change of current, then one each `period_s`, one where voltage or current have moved, and the
last of each leg.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from controller.domain.command import DISCHARGE, HOLD_0A, TAG_BASE
from controller.domain.errors import InvariantError
from controller.domain.sample import LIMIT_CURRENT, LIMIT_VOLTAGE, NAN, OUTPUT_ON, Sample
from hil import records
from hil.cell import kernel
from hil.cell.cycler import constant_current, hold_voltage, rest
from hil.cell.parameters import CellParameters
from hil.cell.state import CellState, ElectrodeState, blank_state, put, take
from hil.compiled import Array, Entry, Record, available, build, record_of
from hil.cycling import AMBIENT_K, LOST_V
from hil.programmes import CyclePlan
from hil.readings import Reading, ideal_reading

Numbers = NDArray[np.float64]

LOG_ROWS: Final = 4096
# Readings after a change of current (s), before the plan's period takes over.
EARLY_S = (1.0, 2.0, 5.0, 10.0)
EARLY = 4
HELD_STEP_S = 10.0
DRIFT_OVER_S: Final = 30.0  # over which a rest's drift is taken
HELD_SHARE = 0.01  # of the time held so far, between two readings that a movement asks for
# What a reading is of, by column of the log.
TIME, CURRENT, VOLTAGE, TEMPERATURE, LEG, HELD = range(6)
LOG_WIDTH = 6


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
    """

    __slots__ = (
        "count",
        "due_s",
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
    edge_s: float
    due_s: float
    last_s: float
    last_V: float
    last_A: float
    period_s: float
    shortest_s: float  # between two readings that a movement asks for
    move_V: float
    move_A: float


class LoggedState(CellState):
    """A cell's state with its log: the cell's kernels see the state alone."""

    __slots__ = ("log",)
    log: Log


def due_in_s(s: LoggedState) -> float:
    """Return how long a step may be, so that it ends where a reading is due.

    A held voltage's current falls in steps, which have to be fine beside a reading's resolution.
    """
    if s.log.held > 0:
        return HELD_STEP_S
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
    """Note a reading at a time and when the next is due."""
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
    log.due_s = now_s + log.period_s
    for index in range(EARLY):
        at_s = log.edge_s + EARLY_S[index]
        if at_s > now_s + 1e-6 and at_s < log.due_s:
            log.due_s = at_s


class LoggedLeg:
    """One step of a programme in numbers: as `hil.cycling.Leg`, with its control's delay."""

    __slots__ = ("current_A", "delay_s", "hold_A", "hold_s", "max_mAh", "max_s", "stop_V")
    current_A: float
    stop_V: float
    hold_A: float
    hold_s: float
    max_mAh: float
    max_s: float
    delay_s: float


def run_logged(s: Any, p: Any, legs: Any, ambient_K: float) -> float:
    """Run the legs of one cycle and log it; return the time (s).

    After the reading that ends a leg its last current goes on for the control's delay.
    """
    log = s.log
    log.count = 0
    start_s: float = s.time_s
    for index in range(len(legs)):
        leg = legs[index]
        log.leg = index
        log.held = 0
        log.edge_s = s.time_s
        log.due_s = s.time_s + EARLY_S[0]
        log.last_s = s.time_s
        log.last_V = 1e9  # the first step of a leg is a movement
        log.last_A = 1e9
        passed_s = 0.0
        if leg.current_A == 0.0:
            rest(s, p, leg.max_s, ambient_K)
        else:
            passed_s = constant_current(
                s, p, leg.current_A, leg.stop_V, leg.max_mAh, leg.max_s, ambient_K
            )
            if leg.hold_A > 0.0 and passed_s < leg.max_s:
                if log.last_s < s.time_s:
                    write_down(s, s.time_s)
                log.held = 1
                log.edge_s = s.time_s
                log.due_s = s.time_s + EARLY_S[0]
                hold_voltage(
                    s,
                    p,
                    leg.current_A,
                    leg.stop_V,
                    leg.hold_A,
                    min(leg.hold_s, leg.max_s - passed_s),
                    ambient_K,
                )
        if log.last_s < s.time_s:
            write_down(s, s.time_s)
        if leg.delay_s > 0.0:
            kernel.step(s, p, s.last_current_A, leg.delay_s, ambient_K)
    end_s: float = s.time_s
    return end_s - start_s


def _blank_log() -> Log:
    log = Log()
    for name, kind in records.fields_of(Log).items():
        setattr(log, name, [0.0] * (LOG_ROWS * LOG_WIDTH) if name == "rows" else kind(0))
    return log


def _logged(s: CellState) -> LoggedState:
    """Return a copy of a state, with a log."""
    logged = LoggedState()
    logged.neg, logged.pos = ElectrodeState(), ElectrodeState()
    put(logged, take(s))
    logged.log = _blank_log()
    return logged


@functools.lru_cache(maxsize=1)
def _state_argument() -> Record:
    return record_of(_logged(blank_state()))


@functools.lru_cache(maxsize=2)
def _runner(*, compiled: bool) -> Callable[..., float]:
    entry = Entry(
        function=run_logged,
        arguments=(
            _state_argument(),
            Record(kind=CellParameters),
            Array(of=Record(kind=LoggedLeg)),
            float,
        ),
    )
    bind = {"hil.cell.cycler:longest_s": due_in_s, "hil.cell.cycler:note": take_note}
    return build([entry], bind=bind, compiled=compiled)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """When the logger reads. Assumed: what cycler software is set to, 10-120 s and 5-50 mV.

    Attributes
    ----------
    period_s : float
    move_V : float
        A reading when the voltage has moved by this.
    move_share : float
        A reading when the current has moved by this share of 1C.
    shortest_s : float
        Between two readings.
    """

    period_s: float = 60.0
    move_V: float = 0.02
    move_share: float = 0.005
    shortest_s: float = 0.1


_LITHIUM: Final = (
    "deposit_mAh",
    "foil_mAh",
    "fresh_mAh",
    "old_mAh",
    "reversible_mAh",
    "sei_mAh",
    "residual_sei_mAh",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the cell hides at the end of a cycle (mAh), cumulative unless said otherwise.

    Attributes
    ----------
    charge_mAh, discharge_mAh : float
        Of this cycle, true.
    active_mAh : float
        Left at the negative electrode in contact, without its foil.
    fresh_mAh, old_mAh, sei_mAh : float
        `fresh_mAh` with what the next plating reconnects, `sei_mAh` with residual SEI.
    dissolved_mAh : float
        SEI dissolved since assembly: its lithium is lost to the electrode as well.
    oxidised_mAh : float
        Charge that took no lithium out of the cathode.
    shuttled_mAh : float
        Active lithium carried to the cathode without external current, through shuttle or short.
    end : int
        What ended the discharge: 1 anode, 2 cathode, 3 polarisation, 0 nothing.
    resistance_Ohm : float
    """

    charge_mAh: float
    discharge_mAh: float
    active_mAh: float
    fresh_mAh: float
    old_mAh: float
    sei_mAh: float
    dissolved_mAh: float
    oxidised_mAh: float
    shuttled_mAh: float
    end: int
    resistance_Ohm: float

    @property
    def inactive_mAh(self) -> float:
        """Isolated metal."""
        return self.fresh_mAh + self.old_mAh

    @property
    def lost_mAh(self) -> float:
        """Lithium that the electrode has lost since assembly."""
        return self.inactive_mAh + self.sei_mAh + self.dissolved_mAh

    @property
    def net_mAh(self) -> float:
        """Discharge less charge of this cycle."""
        return self.discharge_mAh - self.charge_mAh


@dataclass(frozen=True, slots=True, kw_only=True)
class LivedCycle:
    """One cycle: its plan, what was read and what was hidden.

    Attributes
    ----------
    plan : CyclePlan
    truth : Truth
    samples : tuple of Sample
        Empty where only the truth was asked for.
    commands : tuple of (int, int)
        Kind and tag in force at each sample.
    end_at : int
        Position of the sample after which the discharge is to be classified; -1 for none.
    hours : float
    step_Ohm : float
        True resistance after 10 s of the base discharge, from the rest before it; NaN without one.
    """

    plan: CyclePlan
    truth: Truth
    samples: tuple[Sample, ...] = ()
    commands: tuple[tuple[int, int], ...] = ()
    end_at: int = -1
    hours: float = 0.0
    step_Ohm: float = NAN


class Reader:
    """Turns logged rows into readings of one instrument.

    Parameters
    ----------
    reading : Reading
    seed : int
        Of the noise; each cycle has its own stream, so that twins hear the same.
    """

    def __init__(self, reading: Reading, seed: int) -> None:
        self.reading = reading
        self._seed = seed
        self._range = 0
        self._sequence = 0

    def read(
        self, plan: CyclePlan, rows: Numbers, number: int
    ) -> tuple[tuple[Sample, ...], tuple[tuple[int, int], ...], int]:
        """Return readings, the command of each, and the position where the discharge ended."""
        reading = self.reading
        generator = np.random.default_rng([self._seed, number, 17])
        leg = rows[:, LEG].astype(int)
        count = len(rows)
        by_step: list[int] = []
        for step in plan.steps:
            if step.current_A != 0.0:
                self._range = reading.range_of(step.current_A)
            by_step.append(self._range)  # at rest the range before stays on
        chosen = np.array(by_step)[leg]
        normal = generator.standard_normal((3, count))
        current_A = (
            rows[:, CURRENT] * np.array(reading.gains)[chosen]
            + np.array(reading.offsets_A)[chosen]
            + np.array(reading.noises_A)[chosen] * normal[0]
        )
        counts_A = np.array(reading.resolutions_A)[chosen]
        current_A = np.round(current_A / counts_A) * counts_A
        voltage_V = rows[:, VOLTAGE] * reading.gain_V + reading.offset_V
        voltage_V = np.round((voltage_V + reading.noise_V * normal[1]) / reading.resolution_V)
        voltage_V *= reading.resolution_V
        temperature_K = rows[:, TEMPERATURE] + reading.noise_K * normal[2]
        t_s = rows[:, TIME] + reading.jitter_s * generator.uniform(-1.0, 1.0, count)
        t_s = np.round(t_s / reading.resolution_s) * reading.resolution_s
        full_A = np.array(reading.ranges_A)[chosen]
        status = np.where(rows[:, HELD] > 0.5, LIMIT_VOLTAGE, LIMIT_CURRENT)
        first = self._sequence
        self._sequence += count
        samples = tuple(
            Sample(n, 0, t, t, 0.0, v, a, k, OUTPUT_ON, lim, full, 0.02, 0)
            for n, t, v, a, k, lim, full in zip(
                range(first, first + count),
                t_s.tolist(),
                voltage_V.tolist(),
                current_A.tolist(),
                temperature_K.tolist(),
                status.tolist(),
                full_A.tolist(),
                strict=True,
            )
        )
        ordered = [(step.kind, step.tag) for step in plan.steps]
        closing = [index for index, step in enumerate(plan.steps) if step.ends_discharge]
        end_at = int(np.flatnonzero(np.isin(leg, closing))[-1]) if closing else -1
        return samples, tuple(ordered[index] for index in leg.tolist()), end_at


def step_resistance_Ohm(plan: CyclePlan, rows: Numbers) -> float:
    """Return the true resistance 10 s into the base discharge that follows a rest.

    What the voltage would have moved at rest is taken off: its slope over the rest's last minute.
    """
    legs = rows[:, LEG].astype(int)
    for index, step in enumerate(plan.steps):
        if not (index and step.kind == DISCHARGE and step.tag == TAG_BASE):
            continue
        before = np.flatnonzero(legs == index - 1)
        after = np.flatnonzero(legs == index)
        if not (before.size and after.size and plan.steps[index - 1].kind == HOLD_0A):
            return NAN
        edge = rows[before[-1]]
        since_s = rows[after, TIME] - edge[TIME]
        at = after[int(np.argmin(np.abs(since_s - 10.0)))]
        change_A = float(rows[at, CURRENT] - edge[CURRENT])
        if abs(float(rows[at, TIME] - edge[TIME]) - 10.0) > 1.0 or change_A == 0.0:
            return NAN
        resting = rows[before]
        earlier = resting[edge[TIME] - resting[:, TIME] >= DRIFT_OVER_S]
        if not earlier.size:
            return NAN
        slope = (edge[VOLTAGE] - earlier[-1, VOLTAGE]) / (edge[TIME] - earlier[-1, TIME])
        drift_V = float(slope * (rows[at, TIME] - edge[TIME]))
        return (float(rows[at, VOLTAGE] - edge[VOLTAGE]) - drift_V) / change_A
    return NAN


class Life:
    """One cell on one instrument.

    Parameters
    ----------
    parameters : CellParameters
    seed : int
        Of the cell's shorts and the readings' noise.
    reading : Reading, optional
        Default: `ideal_reading`.
    plan : Plan, optional
    ambient_K : float
    compiled : bool, optional
        Default: where numba is there.
    """

    def __init__(
        self,
        parameters: CellParameters,
        *,
        seed: int = 0,
        reading: Reading | None = None,
        plan: Plan | None = None,
        ambient_K: float = AMBIENT_K,
        compiled: bool | None = None,
    ) -> None:
        self.parameters = parameters
        self.reader = Reader(reading or ideal_reading(), seed)
        self.ambient_K = ambient_K
        self._run = _runner(compiled=available() if compiled is None else compiled)
        s = blank_state()
        kernel.begin(s, parameters, ambient_K, float(seed))
        plan = plan or Plan()
        self._state: Any = np.zeros(1, _state_argument().dtype)
        log = self._state["log"]
        small = records.records(s)
        for name in small.dtype.names or ():
            self._state[name] = small[name]
        log["period_s"] = plan.period_s
        log["move_V"] = plan.move_V
        log["move_A"] = plan.move_share * parameters.nominal_capacity_mAh * 1e-3
        log["shortest_s"] = plan.shortest_s
        self._fixed = records.records(parameters)
        self.number = 0
        self._electrolyte_mAh = float(s.electrolyte_mAh)

    def snapshot(self) -> tuple[bytes, int]:
        """Return cell and number of the cycle, to make a twin from. The log is not kept."""
        return self._state.tobytes(), self.number

    def restore(self, snapshot: tuple[bytes, int]) -> None:
        """Take the life back to a snapshot; noise to come is that of the cycle's number."""
        self._state[:] = np.frombuffer(snapshot[0], self._state.dtype)
        self.number = snapshot[1]

    def cycle(self, plan: CyclePlan, *, read: bool = True) -> LivedCycle:
        """Live one cycle.

        Parameters
        ----------
        plan : CyclePlan
        read : bool
            Without it only the truth is returned.

        Raises
        ------
        InvariantError
            The state left physics, or the log had no room: a bug.
        """
        self.number += 1
        state = self._state
        before_in, before_out = float(state["charge_in_mAh"][0]), float(state["charge_out_mAh"][0])
        legs = np.zeros(len(plan.steps), records.record_dtype(LoggedLeg))
        for row, step in zip(legs, plan.steps, strict=True):
            for name in ("current_A", "stop_V", "hold_A", "hold_s", "max_mAh", "max_s"):
                row[name] = getattr(step, name)
            row["delay_s"] = self.reader.reading.delay_s
        passed_s: float = self._run(state[0], self._fixed[0], legs, self.ambient_K)
        if not abs(float(state["cell_V"][0])) < LOST_V or int(state["log"]["lost"][0]):
            raise InvariantError(
                f"cycle {self.number}: {state['cell_V'][0]!r} V, "
                f"{int(state['log']['lost'][0])} readings without room"
            )
        truth = self._truth(before_in, before_out)
        if not read:
            return LivedCycle(plan=plan, truth=truth, hours=passed_s / 3600.0)
        count = int(state["log"]["count"][0])
        rows = state["log"]["rows"][0][: count * LOG_WIDTH].reshape(count, LOG_WIDTH).copy()
        samples, commands, end_at = self.reader.read(plan, rows, self.number)
        return LivedCycle(
            plan=plan,
            truth=truth,
            samples=samples,
            commands=commands,
            end_at=end_at,
            hours=passed_s / 3600.0,
            step_Ohm=step_resistance_Ohm(plan, rows),
        )

    def _truth(self, before_in: float, before_out: float) -> Truth:
        s: Any = self._state[0]
        neg = s["neg"]
        oxidised = float(s["oxidised_mAh"]) - float(s["cathode_reduced_mAh"])
        shuttled = float(s["leakage_mAh"]) - float(s["mediated_mAh"])
        reduced = float(neg["reduced_mAh"])
        dissolved = float(s["electrolyte_mAh"]) - self._electrolyte_mAh + oxidised - reduced
        if self.parameters.positive_is_lithium:
            # the other electrode takes salt and gives it back as well: by the charge instead
            stays = sum(float(neg[name]) for name in _LITHIUM) - self.parameters.negative_foil_mAh
            passed = float(s["charge_in_mAh"]) - float(s["charge_out_mAh"])
            dissolved = passed - shuttled - reduced - stays
        return Truth(
            charge_mAh=float(s["charge_in_mAh"]) - before_in,
            discharge_mAh=float(s["charge_out_mAh"]) - before_out,
            active_mAh=float(neg["deposit_mAh"]),
            fresh_mAh=float(neg["fresh_mAh"]) + float(neg["reversible_mAh"]),
            old_mAh=float(neg["old_mAh"]),
            sei_mAh=float(neg["sei_mAh"]) + float(neg["residual_sei_mAh"]),
            dissolved_mAh=dissolved,
            oxidised_mAh=oxidised,
            shuttled_mAh=shuttled,
            end=int(s["last_end"]),
            resistance_Ohm=float(s["resistance_Ohm"]),
        )

    def live(self, plans: Iterable[CyclePlan], *, read: bool = True) -> list[LivedCycle]:
        """Live the cycles of a programme."""
        return [self.cycle(plan, read=read) for plan in plans]
