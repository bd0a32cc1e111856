"""Fast simulated lives, as an instrument reads them, for scoring estimators by the thousand.

The plant is cycled by the ideal cycler's kernels (compiled where numba is there) with a logger in
place of their hooks (`hil.logger`); what it notes passes through a reading model (`hil.readings`):
gain and offset per range drawn once per life, resolution, noise, clock. Beside the readings stands
what the cell hides.

Not in here, because lives need it by the thousand and not to the byte: the driver, the firmware,
lost replies. `hil.rig` has those. Cells behind the plant port: `hil.port_lives`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from controller.domain.command import DISCHARGE, HOLD_0A, TAG_BASE
from controller.domain.errors import InvariantError
from controller.domain.sample import NAN, Sample
from controller.domain.units import SECONDS_PER_HOUR
from hil import records
from hil.cell import kernel
from hil.cell.parameters import CellParameters
from hil.cell.state import blank_state
from hil.compiled import available
from hil.cycling import AMBIENT_K, LOST_V
from hil.logger import (
    CURRENT,
    LEG,
    TIME,
    VOLTAGE,
    LoggedLeg,
    Numbers,
    Sampling,
    runner,
    state_argument,
    table,
)
from hil.programmes import CyclePlan
from hil.readings import Reader, Reading, Readings, ideal_reading

DRIFT_OVER_S: Final = 30.0  # over which a rest's drift is taken
# What ended a discharge, by `Truth.end`.
ENDS: Final = ("none", "anode-limited", "cathode-limited", "polarisation-limited")
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
        What ended the discharge, by position in `ENDS`.
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
    known_step_Ohm, known_step_u_Ohm : float
        The same by one who reads it, knows the noise and how the rest went, but not the realised
        gains: all readings of the rest give the voltage before; u without the gains' part.
    """

    plan: CyclePlan
    truth: Truth
    samples: tuple[Sample, ...] = ()
    commands: tuple[tuple[int, int], ...] = ()
    end_at: int = -1
    hours: float = 0.0
    step_Ohm: float = NAN
    known_step_Ohm: float = NAN
    known_step_u_Ohm: float = NAN


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """One cycle as it went, before any instrument.

    Attributes
    ----------
    rows : ndarray, shape (n, `hil.logger.LOG_WIDTH`)
    took_s, passed_mAh : ndarray, shape (steps,)
        Time and net charge of each step.
    truth : Truth
    """

    rows: Numbers
    took_s: Numbers
    passed_mAh: Numbers
    truth: Truth


def step_resistance_Ohm(
    plan: CyclePlan, rows: Numbers, readings: Readings, reading: Reading
) -> tuple[float, float, float]:
    """Return `step_Ohm`, `known_step_Ohm` and `known_step_u_Ohm` of `LivedCycle`.

    What the voltage would have moved at rest is taken off: its slope over the rest's last minute.
    """
    nothing = NAN, NAN, NAN
    legs = rows[:, LEG].astype(int)
    for index, step in enumerate(plan.steps):
        if not (index and step.kind == DISCHARGE and step.tag == TAG_BASE):
            continue
        before = np.flatnonzero(legs == index - 1)
        after = np.flatnonzero(legs == index)
        if not (before.size and after.size and plan.steps[index - 1].kind == HOLD_0A):
            return nothing
        edge = rows[before[-1]]
        since_s = rows[after, TIME] - edge[TIME]
        at = after[int(np.argmin(np.abs(since_s - 10.0)))]
        change_A = float(rows[at, CURRENT] - edge[CURRENT])
        if abs(float(rows[at, TIME] - edge[TIME]) - 10.0) > 1.0 or change_A == 0.0:
            return nothing
        resting = rows[before]
        earlier = resting[edge[TIME] - resting[:, TIME] >= DRIFT_OVER_S]
        if not earlier.size:
            return nothing
        slope = (edge[VOLTAGE] - earlier[-1, VOLTAGE]) / (edge[TIME] - earlier[-1, TIME])
        drift_V = float(slope * (rows[at, TIME] - edge[TIME]))
        moved_V = float(rows[at, VOLTAGE] - edge[VOLTAGE]) - drift_V
        off_V = readings.voltage_V - rows[:, VOLTAGE]
        read_V = moved_V + float(off_V[at] - np.mean(off_V[before]))
        read_A = float(readings.current_A[at] - np.mean(readings.current_A[before]))
        reads = 1.0 + 1.0 / before.size
        noise_V2 = reading.noise_V**2 + reading.resolution_V**2 / 12.0
        used = reading.range_of(change_A)
        noise_A2 = reading.noises_A[used] ** 2 + reading.resolutions_A[used] ** 2 / 12.0
        true_Ohm = moved_V / change_A
        u_V2 = reads * (noise_V2 + true_Ohm**2 * noise_A2)
        return true_Ohm, read_V / read_A, float(np.sqrt(u_V2)) / abs(change_A)
    return nothing


class LoggedLife(ABC):
    """A cell of any kind on one instrument.

    Parameters
    ----------
    reader : Reader

    Attributes
    ----------
    number : int
        Cycles lived.
    """

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.number = 0

    @abstractmethod
    def _run(self, plan: CyclePlan) -> Logged:
        """Take the cell through the steps of a cycle."""

    def run(self, plan: CyclePlan) -> Logged:
        """Live one cycle and return it as it went.

        Raises
        ------
        InvariantError
            The state left physics, or the log had no room: a bug.
        """
        self.number += 1
        return self._run(plan)

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
            As `run`.
        """
        logged = self.run(plan)
        hours = float(np.sum(logged.took_s)) / SECONDS_PER_HOUR
        if not read:
            return LivedCycle(plan=plan, truth=logged.truth, hours=hours)
        readings = self.reader.read(plan, logged.rows, self.number)
        ordered = [(step.kind, step.tag) for step in plan.steps]
        closing = [index for index, step in enumerate(plan.steps) if step.ends_discharge]
        ended = np.flatnonzero(np.isin(readings.leg, closing))
        step = step_resistance_Ohm(plan, logged.rows, readings, self.reader.reading)
        return LivedCycle(
            plan=plan,
            truth=logged.truth,
            samples=self.reader.samples(readings),
            commands=tuple(ordered[index] for index in readings.leg.tolist()),
            end_at=int(ended[-1]) if ended.size else -1,
            hours=hours,
            step_Ohm=step[0],
            known_step_Ohm=step[1],
            known_step_u_Ohm=step[2],
        )

    def live(self, plans: Iterable[CyclePlan], *, read: bool = True) -> list[LivedCycle]:
        """Live the cycles of a programme."""
        return [self.cycle(plan, read=read) for plan in plans]


class Life(LoggedLife):
    """One cell of our plant on one instrument.

    Parameters
    ----------
    parameters : CellParameters
    seed : int
        Of the cell's shorts and the readings' noise.
    reading : Reading, optional
        Default: `ideal_reading`.
    sampling : Sampling, optional
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
        sampling: Sampling | None = None,
        ambient_K: float = AMBIENT_K,
        compiled: bool | None = None,
    ) -> None:
        super().__init__(Reader(reading or ideal_reading(), seed))
        self.parameters = parameters
        self.ambient_K = ambient_K
        self._kernel = runner(compiled=available() if compiled is None else compiled)
        self._sampling = sampling or Sampling()
        s = blank_state()
        kernel.begin(s, parameters, ambient_K, float(seed))
        self._state: Any = np.zeros(1, state_argument().dtype)
        small = records.records(s)
        for name in small.dtype.names or ():
            self._state[name] = small[name]
        records.to_record(
            self._sampling.new_log(parameters.nominal_capacity_mAh), self._state["log"][0]
        )
        self._fixed = records.records(parameters)
        self._electrolyte_mAh = float(s.electrolyte_mAh)

    def snapshot(self) -> tuple[bytes, int]:
        """Return cell and number of the cycle, to make a twin from. The log is not kept."""
        return self._state.tobytes(), self.number

    def restore(self, snapshot: tuple[bytes, int]) -> None:
        """Take the life back to a snapshot; noise to come is that of the cycle's number."""
        self._state[:] = np.frombuffer(snapshot[0], self._state.dtype)
        self.number = snapshot[1]

    def _run(self, plan: CyclePlan) -> Logged:
        """Take the cell through the steps of a cycle."""
        state = self._state
        before_in, before_out = float(state["charge_in_mAh"][0]), float(state["charge_out_mAh"][0])
        legs = np.zeros(len(plan.steps), records.record_dtype(LoggedLeg))
        for row, step in zip(legs, plan.steps, strict=True):
            for name in ("current_A", "stop_V", "hold_A", "hold_s", "max_mAh", "max_s"):
                row[name] = getattr(step, name)
            row["delay_s"] = self.reader.reading.delay_s
            row["period_s"] = self._sampling.period_of(step)
        self._kernel(state[0], self._fixed[0], legs, self.ambient_K)
        if not abs(float(state["cell_V"][0])) < LOST_V:
            raise InvariantError(f"cycle {self.number}: {state['cell_V'][0]!r} V")
        log = state["log"][0]
        return Logged(
            rows=table(log["rows"], int(log["count"]), int(log["lost"])),
            took_s=legs["took_s"].copy(),
            passed_mAh=legs["passed_mAh"].copy(),
            truth=self._truth(before_in, before_out),
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
