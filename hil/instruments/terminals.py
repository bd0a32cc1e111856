"""The wires between an output stage and a plant: polarity, leads, and what came back last."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from controller.domain.errors import InvariantError
from hil.plant import TEMPERATURE_RANGE_K, VOLTAGE_RANGE_V, PlantPort, checked

PROBE_S: Final = 1e-3  # a trial step that stands for "at once" where no terminal_voltage is
_LOWEST_V, _HIGHEST_V = VOLTAGE_RANGE_V
_COLDEST_K, _HOTTEST_K = TEMPERATURE_RANGE_K


class Terminals:
    """A plant as the instrument sees it. Currents and voltages are those at the instrument.

    Parameters
    ----------
    port : PlantPort
    ambient_K : float

    Attributes
    ----------
    temperature_K : float
        As the plant returned it last (the ambient's before that).
    knows_at_once : bool
        `at_once` can be asked.
    """

    __slots__ = (
        "_step",
        "ambient_K",
        "knows_at_once",
        "lead_Ohm",
        "polarity",
        "port",
        "restore",
        "snapshot",
        "temperature_K",
    )

    def __init__(self, port: PlantPort, ambient_K: float) -> None:
        self.port = port
        self.ambient_K = ambient_K
        self.temperature_K = port.temperature_K(ambient_K)
        self.lead_Ohm = 0.0
        self.polarity = 1.0
        self.knows_at_once = port.terminal_voltage is not None or port.snapshot is not None
        self.snapshot: Callable[[], Any] = port.snapshot or _cannot
        self.restore: Callable[[Any], None] = port.restore or _cannot
        self._step = port.plant.step

    def pass_current(self, current_A: float, dt_s: float) -> float:
        """Move the plant by a constant current (A) for a time (s); return the voltage (V) then.

        Raises
        ------
        InvariantError
            The plant returned what no cell can show; with its name and the value.
        """
        polarity = self.polarity
        voltage_V, temperature_K = self._step(polarity * current_A, dt_s, self.ambient_K)
        if not (_LOWEST_V < voltage_V < _HIGHEST_V and _COLDEST_K < temperature_K < _HOTTEST_K):
            call = f"step({polarity * current_A!r}, {dt_s!r}, {self.ambient_K!r})"
            checked(voltage_V, temperature_K, self.port.name, call)
        self.temperature_K = temperature_K
        return polarity * voltage_V + current_A * self.lead_Ohm

    def at_once(self, current_A: float) -> float:
        """Return the voltage (V) if this current flowed now; the plant is not moved.

        Without `terminal_voltage` a very short step is tried and taken back.

        Raises
        ------
        InvariantError
            As `pass_current`.
        """
        ask = self.port.terminal_voltage
        if ask is None:
            before, temperature_K = self.snapshot(), self.temperature_K
            voltage_V = self.pass_current(current_A, PROBE_S)
            self.restore(before)
            self.temperature_K = temperature_K
            return voltage_V
        voltage_V = ask(self.polarity * current_A)
        if not _LOWEST_V < voltage_V < _HIGHEST_V:
            call = f"terminal_voltage({self.polarity * current_A!r})"
            checked(voltage_V, self.temperature_K, self.port.name, call)
        return self.polarity * voltage_V + current_A * self.lead_Ohm


def _cannot(*_: Any) -> Any:
    raise InvariantError("a plant without snapshot and restore was asked to go back")
