"""A switching conductance beside any plant: a soft short on a cell of somebody else's structure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from controller.domain.sample import NAN
from controller.estimation.short_watch import ShortFigures, ShortWatch, close_cycle, observe

_PROBE_A = 1e-4
COULOMB_PER_MAH = 3.6


class Plant(Protocol):
    """The two calls of the plant port that a shunt needs."""

    def step(self, current_A: float, dt_s: float, ambient_K: float) -> tuple[float, float]:
        """Pass a current for a time; return voltage and temperature."""

    def terminal_voltage(self, current_A: float) -> float:
        """Return the voltage at the instant a current begins."""


class Shunted:
    """A plant with a resistor across its terminals that is there or not, at random.

    Parameters
    ----------
    plant : Plant
        Its voltage is taken to be linear in the current at an instant.
    seed : int
        Of the switching.
    """

    def __init__(self, plant: Plant, *, seed: int) -> None:
        self._plant = plant
        self._random = np.random.default_rng([seed, 3])
        self._conducts = False
        self._switch_s = 0.0
        self.resistance_Ohm = NAN  # no shunt
        self.on_s = self.off_s = 60.0
        self.leaked_mAh = 0.0

    def step(self, current_A: float, dt_s: float, ambient_K: float) -> tuple[float, float]:
        """Pass a current for a time in which the shunt does not switch; return V and K."""
        leak_A = self._leak_A(current_A)
        self.leaked_mAh += abs(leak_A) * dt_s / COULOMB_PER_MAH
        voltage_V, temperature_K = self._plant.step(current_A - leak_A, dt_s, ambient_K)
        self._switch_s -= dt_s
        if self._switch_s <= 0.0:
            self._conducts = not self._conducts
            self._switch_s = float(
                self._random.exponential(self.on_s if self._conducts else self.off_s)
            )
        return voltage_V, temperature_K

    def _leak_A(self, current_A: float) -> float:
        if not self._conducts or self.resistance_Ohm != self.resistance_Ohm:
            return 0.0
        there_V = self._plant.terminal_voltage(current_A)
        inner_Ohm = (there_V - self._plant.terminal_voltage(current_A - _PROBE_A)) / _PROBE_A
        return there_V / (self.resistance_Ohm + inner_Ohm)


def cycled(  # noqa: PLR0913 -- how a cell is cycled takes so many words
    plant: Shunted,
    *,
    current_A: float,
    upper_V: float,
    lower_V: float,
    most_mAh: float,
    cycles: int,
    noise_V: float,
    seed: int,
    before: Callable[[int], Any],
    rest_s: float = 600.0,
) -> list[ShortFigures]:
    """Cycle a plant at constant current, read at 1 Hz with noise; return what the detector saw.

    Each half cycle ends at its voltage or after `most_mAh`, then it rests. `before` is called with
    the number of each cycle, e.g. to put the shunt in.
    """
    random = np.random.default_rng([seed, 4])
    watch = ShortWatch()
    out = []
    t_s = 0.0
    for number in range(cycles):
        before(number)
        moved_mAh = [0.0, 0.0]
        for way, sign in enumerate((1.0, -1.0)):
            voltage_V = 0.0
            for _ in range(200_000):
                voltage_V, _ = plant.step(sign * current_A, 1.0, 298.15)
                t_s += 1.0
                moved_mAh[way] += current_A / COULOMB_PER_MAH
                observe(
                    watch, t_s, sign * current_A, voltage_V + noise_V * random.standard_normal()
                )
                over = voltage_V >= upper_V if sign > 0.0 else voltage_V <= lower_V
                if over or moved_mAh[way] >= most_mAh:
                    break
            for _ in range(int(rest_s)):
                voltage_V, _ = plant.step(0.0, 1.0, 298.15)
                t_s += 1.0
                observe(watch, t_s, 0.0, voltage_V + noise_V * random.standard_normal())
        out.append(
            close_cycle(watch, charge_Ah=1e-3 * moved_mAh[0], discharge_Ah=1e-3 * moved_mAh[1])
        )
    return out
