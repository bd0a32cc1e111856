"""The simulated cell with its kernel compiled: the same numbers, ten times as fast."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from controller.domain.errors import InvariantError
from hil import compiled, records
from hil.cell import kernel
from hil.cell.lithium_metal import (
    HIGHEST_V,
    REFERENCE_K,
    ROUNDING_MAH,
    LithiumMetalCell,
    check_snapshot,
    check_step,
)
from hil.cell.parameters import CellParameters
from hil.cell.state import STATE_FIELDS, CellState, Snapshot
from hil.compiled import Array, Entry, Record

# What `kernel.terminal_voltage` reads; it is quicker in Python than a compiled call is made.
_SEEN: Final = ("open_V", "resistance_Ohm", "short_level", "short_on", "short_Ohm")
_AT: Final = {name: STATE_FIELDS.index(name) for name in (*_SEEN, "temperature_K")}


def step_and_look(
    states: Any, parameters: Any, current_A: float, dt_s: float, ambient_K: float
) -> tuple[float, ...]:
    """Step the cell in the first row; return voltage, temperature, smallest inventory, `_SEEN`."""
    s = states[0]
    voltage_V = kernel.step(s, parameters[0], current_A, dt_s, ambient_K)
    return (
        voltage_V,
        s.temperature_K,
        s.lowest_mAh,
        s.open_V,
        s.resistance_Ohm,
        s.short_level,
        s.short_on,
        s.short_Ohm,
    )


@lru_cache(maxsize=4)
def _step_and_look(cache: Path | None) -> Any:
    state, fixed = Array(of=Record(kind=CellState)), Array(of=Record(kind=CellParameters))
    entry = Entry(function=step_and_look, arguments=(state, fixed, float, float, float))
    return compiled.build([entry], compiled=True, cache=cache)[0]


class CompiledCell(LithiumMetalCell):
    """A `LithiumMetalCell` for long runs; the first one of a process waits for the compiler.

    That takes half a second, or some four seconds where nothing is cached yet. Needs the extra
    ``[fast]`` (`hil.compiled.available`).

    Parameters
    ----------
    parameters, temperature_K, seed : see `LithiumMetalCell`
    cache : Path, optional
        See `hil.compiled.build`.
    """

    def __init__(
        self,
        parameters: CellParameters,
        *,
        temperature_K: float = REFERENCE_K,
        seed: int = 0,
        cache: Path | None = None,
    ) -> None:
        self._rows = np.zeros(1, records.record_dtype(CellState))
        self._numbers: NDArray[np.float64] = self._rows.view(np.float64)
        self._fixed = records.records(parameters)
        self._seen = CellState()  # only the fields of `_SEEN` are ever set
        self._move = _step_and_look(cache)
        super().__init__(parameters, temperature_K=temperature_K, seed=seed)

    @property
    def _s(self) -> CellState:
        return records.from_record(CellState, self._rows[0])

    @_s.setter
    def _s(self, state: CellState) -> None:
        records.to_record(state, self._rows[0])
        self._look()

    def step(self, current_A: float, dt_s: float, ambient_K: float) -> tuple[float, float]:
        """Pass a constant current for a time; see `LithiumMetalCell.step`."""
        check_step(current_A, dt_s, ambient_K)
        seen = self._seen
        (
            voltage_V,
            temperature_K,
            lowest_mAh,
            seen.open_V,
            seen.resistance_Ohm,
            seen.short_level,
            seen.short_on,
            seen.short_Ohm,
        ) = self._move(self._rows, self._fixed, current_A, dt_s, ambient_K)
        if not (-HIGHEST_V < seen.open_V < HIGHEST_V and lowest_mAh >= -ROUNDING_MAH):
            raise InvariantError(f"the cell's state left physics: {self._strangest()}")
        return voltage_V, temperature_K

    def terminal_voltage(self, current_A: float) -> float:
        """Return the voltage (V) at the instant a current begins, without moving the state."""
        return kernel.terminal_voltage(self._seen, self.parameters, current_A)

    @property
    def temperature_K(self) -> float:
        """Temperature of the cell (K)."""
        return self._numbers.item(_AT["temperature_K"])

    def snapshot(self) -> Snapshot:
        """Return the whole state as numbers, in the order of `STATE_FIELDS`."""
        return tuple(self._numbers.tolist())

    def restore(self, snapshot: Snapshot) -> None:
        """Take the state back to a snapshot of the same parameters."""
        check_snapshot(snapshot)
        self._numbers[:] = snapshot
        self._look()

    def _look(self) -> None:
        for name in _SEEN:
            setattr(self._seen, name, self._numbers.item(_AT[name]))
