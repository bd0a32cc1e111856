"""A cell on an ideal cycler, many cycles at a time: plain Python, or compiled where numba is.

A protocol is a list of legs, run cycle after cycle; each leg leaves one row of figures. There is no
instrument and no controller in between: this is for effects and populations of the plant alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from controller.domain.errors import InvariantError
from controller.domain.units import SECONDS_PER_HOUR
from hil import records
from hil.cell import kernel
from hil.cell.cycler import constant_current, hold_voltage, rest
from hil.cell.lithium import inactive_mAh
from hil.cell.parameters import CellParameters
from hil.cell.state import CellState, blank_state
from hil.compiled import Array, Entry, Record, available, build

Numbers = NDArray[np.float64]

AMBIENT_K: Final = 298.15
NO_LIMIT_MAH: Final = 1e9
LONGEST_S: Final = 100.0 * SECONDS_PER_HOUR
# What a leg leaves behind, by column.
CHARGE, VOLTAGE, HOURS, ACTIVE, INACTIVE = 0, 1, 2, 3, 4
WIDTH = 5
LOST_V = 15.0  # a voltage beyond this is no cell any more


class Leg:
    """One step of a protocol.

    Attributes
    ----------
    current_A : float
        Positive charges; 0 rests.
    stop_V : float
        Where it ends, or where its voltage is held.
    hold_A : float
        The hold's end current; 0 holds nothing.
    max_mAh, max_s : float
        Charge (of the constant current) and time (of the whole leg) that end it.
    every, offset : int
        It is run in the cycles whose number, from 0, leaves `offset` over `every`.
    """

    __slots__ = ("current_A", "every", "hold_A", "max_mAh", "max_s", "offset", "stop_V")
    current_A: float
    stop_V: float
    hold_A: float
    max_mAh: float
    max_s: float
    every: int
    offset: int

    def __init__(
        self,
        current_A: float = 0.0,
        stop_V: float = 0.0,
        *,
        hold_A: float = 0.0,
        max_mAh: float = NO_LIMIT_MAH,
        max_s: float = LONGEST_S,
        every: int = 1,
        offset: int = 0,
    ) -> None:
        self.current_A = current_A
        self.stop_V = stop_V
        self.hold_A = hold_A
        self.max_mAh = max_mAh
        self.max_s = max_s
        self.every = every
        self.offset = offset


def run_leg(s: CellState, p: CellParameters, leg: Leg, ambient_K: float) -> float:
    """Run one leg; return its time (s)."""
    if leg.current_A == 0.0:
        return rest(s, p, leg.max_s, ambient_K)
    passed_s = constant_current(s, p, leg.current_A, leg.stop_V, leg.max_mAh, leg.max_s, ambient_K)
    if leg.hold_A > 0.0 and passed_s < leg.max_s:
        passed_s += hold_voltage(
            s, p, leg.current_A, leg.stop_V, leg.hold_A, leg.max_s - passed_s, ambient_K
        )
    return passed_s


def run_cycles(
    s: Any,
    p: Any,
    legs: Any,
    cycles: int,
    stop_share: float,
    ambient_K: float,
    out: Any,
) -> int:
    """Run the legs over and over; return how many cycles were done.

    It ends early in the cycle whose discharge is below `stop_share` of the first one's, or with a
    cell that has left physics.
    """
    count = len(legs)
    first_mAh = 0.0
    for cycle in range(cycles):
        out_mAh = s.charge_out_mAh
        for index in range(count):
            leg = legs[index]
            start_mAh = s.charge_in_mAh - s.charge_out_mAh
            passed_s = 0.0
            if cycle % leg.every == leg.offset:
                passed_s = run_leg(s, p, leg, ambient_K)
            at = (cycle * count + index) * WIDTH
            out[at + CHARGE] = s.charge_in_mAh - s.charge_out_mAh - start_mAh
            out[at + VOLTAGE] = s.cell_V
            out[at + HOURS] = passed_s / SECONDS_PER_HOUR
            out[at + ACTIVE] = s.neg.deposit_mAh + s.neg.foil_mAh
            out[at + INACTIVE] = inactive_mAh(s.neg)
        out_mAh = s.charge_out_mAh - out_mAh
        if cycle == 0:
            first_mAh = out_mAh
        if not (-LOST_V < s.cell_V < LOST_V) or out_mAh < stop_share * first_mAh:
            return cycle + 1
    return cycles


@functools.lru_cache(maxsize=2)
def _runner(*, compiled: bool) -> Callable[..., int]:
    entry = Entry(
        function=run_cycles,
        arguments=(
            Record(kind=CellState),
            Record(kind=CellParameters),
            Array(of=Record(kind=Leg)),
            int,
            float,
            float,
            Array(of=float),
        ),
    )
    return build([entry], compiled=compiled)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What came of a protocol.

    Attributes
    ----------
    legs : ndarray, shape (cycles, legs, `WIDTH`)
        Charge (mAh, signed), last voltage (V), time (h), active and inactive lithium at the
        negative electrode afterwards (mAh).
    charge_mAh, discharge_mAh : ndarray, shape (cycles,)
        Magnitudes, all legs together.
    """

    legs: Numbers
    charge_mAh: Numbers
    discharge_mAh: Numbers

    @property
    def cycles(self) -> int:
        """Number of cycles that were run."""
        return len(self.legs)

    @property
    def efficiency(self) -> Numbers:
        """Discharge over charge of each cycle."""
        return self.discharge_mAh / self.charge_mAh

    @property
    def net_mAh(self) -> Numbers:
        """Discharge less charge of each cycle."""
        return self.discharge_mAh - self.charge_mAh


class CycledCell:
    """A cell that is taken through protocols.

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
        self.parameters = parameters
        self._run = _runner(compiled=available() if compiled is None else compiled)
        s = blank_state()
        kernel.begin(s, parameters, AMBIENT_K, float(seed))
        self._state = records.records(s)
        self._fixed = records.records(parameters)

    def run(self, legs: Sequence[Leg], cycles: int = 1, *, stop_share: float = 0.0) -> Course:
        """Run the legs `cycles` times, or until a cycle gives less than a share of the first.

        Raises
        ------
        InvariantError
            The state left physics: a bug of the model.
        """
        out = np.zeros(cycles * len(legs) * WIDTH)
        rows = records.records(*legs)
        done = self._run(self._state[0], self._fixed[0], rows, cycles, stop_share, AMBIENT_K, out)
        if not abs(float(self._state["cell_V"][0])) < LOST_V:
            raise InvariantError(f"the cell's voltage is {self._state['cell_V'][0]!r}")
        table = out.reshape(cycles, len(legs), WIDTH)[:done]
        charges = table[:, :, CHARGE]
        return Course(
            legs=table,
            charge_mAh=np.where(charges > 0.0, charges, 0.0).sum(axis=1),
            discharge_mAh=-np.where(charges < 0.0, charges, 0.0).sum(axis=1),
        )

    def snapshot(self) -> bytes:
        """Return the whole state, to make a twin from."""
        return self._state.tobytes()

    def restore(self, snapshot: bytes) -> None:
        """Take the state back to a snapshot of the same parameters."""
        self._state[:] = np.frombuffer(snapshot, self._state.dtype)

    def state(self) -> CellState:
        """Return the state as an object."""
        return records.from_record(CellState, self._state[0])
