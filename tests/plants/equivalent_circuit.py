"""An anode-free full cell of another structure than ours: equivalent circuit and counted islands.

No electrode potentials and no Butler-Volmer: an open-circuit table over the charge the cathode has
given, a series resistance and two RC elements (5 ms and 120 s). Lithium is lost in single islands:
at random amounts of stripped charge a piece of the deposit of random size comes loose; some of them
are found again after a random amount of plated charge, the others never. All chance is drawn when
an island comes loose and laid over the charge, so that it does not matter how time is cut.

When the connected lithium is gone, a capacitor of the bare collector takes the current: some 2 V
in a second. All figures are invented (assumed); the cell fits the built-in example's limits.
Positive current charges. Imports nothing of the project.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

# Open-circuit voltage (V) over the charge that the cathode has given (mAh).
TABLE_MAH = (-0.30, -0.10, 0.0, 0.05, 0.15, 0.4, 0.8, 1.3, 1.8, 2.3, 2.8, 3.1, 3.3, 3.5)
TABLE_V = (2.0, 2.8, 3.25, 3.42, 3.52, 3.60, 3.67, 3.76, 3.88, 4.00, 4.12, 4.22, 4.30, 4.60)
SERIES_OHM = 14.0
FAST_OHM, FAST_S = 18.0, 5e-3
SLOW_OHM, SLOW_S = 9.0, 120.0
KNEE_MAH = 0.004  # connected lithium at which the last of it costs about 18 mV more
KNEE_V = 0.025
BARE_F = 0.5e-3
FILM_SHARE = 0.0015  # of the plated lithium
ISLANDS_PER_MAH = 6.0  # stripped
ISLAND_MAH = 0.0006  # mean size
FOUND_SHARE = 0.35
FOUND_AFTER_MAH = 5.0  # plated, mean
HEAT_J_PER_K, COOLING_W_PER_K = 2.7, 0.0083


class EquivalentCircuit:
    """The cell; see the module. `reserve_mAh`: lithium on the collector as assembled."""

    def __init__(self, *, seed: int, temperature_K: float, reserve_mAh: float = 0.0) -> None:
        self._random = np.random.default_rng([seed, 77])
        self._series_Ohm = SERIES_OHM * float(self._random.uniform(0.9, 1.1))
        self._given_mAh = 0.0  # by the cathode
        self._connected_mAh = reserve_mAh
        self._film_mAh = 0.0
        self._found_mAh = 0.0
        self._in_mAh = self._out_mAh = 0.0
        self._fast_V = self._slow_V = 0.0
        self._bare_V = 0.05
        self._temperature_K = temperature_K
        self._time_s = 0.0
        # [size, plated charge at which it is found (or -1: never)], mAh
        self._islands: list[list[float]] = []
        self._next_mAh = self._draw(1.0 / ISLANDS_PER_MAH)  # stripped charge of the next island

    # -- the port ---------------------------------------------------------------------------------

    def step(self, current_A: float, dt_s: float, ambient_K: float) -> tuple[float, float]:
        if not (math.isfinite(current_A) and 0.0 < dt_s < 1e6 and 200.0 < ambient_K < 450.0):
            raise ValueError(f"step({current_A!r}, {dt_s!r}, {ambient_K!r})")
        charge_mAh = current_A * dt_s / 3.6
        if charge_mAh > 0.0:
            self._charge(charge_mAh)
        elif charge_mAh < 0.0:
            self._discharge(-charge_mAh)
        self._fast_V = _relax(self._fast_V, current_A * FAST_OHM, dt_s / FAST_S)
        self._slow_V = _relax(self._slow_V, current_A * SLOW_OHM, dt_s / SLOW_S)
        heat_W = current_A * current_A * (self._series_Ohm + FAST_OHM + SLOW_OHM)
        self._temperature_K = _relax(
            self._temperature_K,
            ambient_K + heat_W / COOLING_W_PER_K,
            dt_s * COOLING_W_PER_K / HEAT_J_PER_K,
        )
        self._time_s += dt_s
        return self.terminal_voltage(current_A), self._temperature_K

    def terminal_voltage(self, current_A: float) -> float:
        knee_V = KNEE_V * math.log1p(KNEE_MAH / (self._connected_mAh + 1e-6))
        open_V = float(np.interp(self._given_mAh, TABLE_MAH, TABLE_V)) - knee_V - self._bare_V
        return open_V + self._fast_V + self._slow_V + current_A * self._series_Ohm

    def snapshot(self) -> dict[str, Any]:
        return {
            "numbers": [getattr(self, name) for name in _NUMBERS],
            "islands": [list(island) for island in self._islands],
            "random": self._random.bit_generator.state,
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        for name, value in zip(_NUMBERS, snapshot["numbers"], strict=True):
            setattr(self, name, value)
        self._islands = [list(island) for island in snapshot["islands"]]
        self._random.bit_generator.state = snapshot["random"]

    def truth(self) -> dict[str, float | str | bool]:
        loose_mAh = math.fsum(size for size, _ in self._islands)
        return {
            "charge_in_mAh": self._in_mAh,
            "charge_out_mAh": self._out_mAh,
            "active_lithium_mAh": self._connected_mAh,
            "inactive_lithium_mAh": loose_mAh,
            "sei_lithium_mAh": self._film_mAh,
            "lithium_lost_mAh": loose_mAh + self._film_mAh,
            "reconnected_mAh": self._found_mAh,
            "islands": len(self._islands),
            "time_s": self._time_s,
        }

    # -- lithium ----------------------------------------------------------------------------------

    def _charge(self, charge_mAh: float) -> None:
        self._in_mAh += charge_mAh
        self._given_mAh += charge_mAh
        plated_mAh = self._bare(charge_mAh)
        film_mAh = FILM_SHARE * plated_mAh
        self._film_mAh += film_mAh
        self._connected_mAh += plated_mAh - film_mAh
        kept = []
        for size_mAh, left_mAh in self._islands:
            if left_mAh < 0.0 or left_mAh > plated_mAh:
                kept.append([size_mAh, left_mAh - plated_mAh if left_mAh > 0.0 else -1.0])
            else:
                self._connected_mAh += size_mAh
                self._found_mAh += size_mAh
        self._islands = kept

    def _discharge(self, charge_mAh: float) -> None:
        self._out_mAh += charge_mAh
        self._given_mAh -= charge_mAh
        while charge_mAh > 0.0 and self._connected_mAh > 0.0:
            stripped_mAh = min(charge_mAh, self._connected_mAh, self._next_mAh)
            self._connected_mAh -= stripped_mAh
            self._next_mAh -= stripped_mAh
            charge_mAh -= stripped_mAh
            if self._next_mAh <= 0.0:
                self._come_loose()
        self._bare(-charge_mAh)

    def _come_loose(self) -> None:
        size_mAh = min(self._draw(ISLAND_MAH), self._connected_mAh)
        self._connected_mAh -= size_mAh
        found = bool(self._random.uniform() < FOUND_SHARE)
        self._islands.append([size_mAh, self._draw(FOUND_AFTER_MAH) if found else -1.0])
        self._next_mAh = self._draw(1.0 / ISLANDS_PER_MAH)

    def _bare(self, charge_mAh: float) -> float:
        """Charge the bare collector (negative: discharge the cell); return what is left to plate."""
        per_V_mAh = BARE_F / 3.6
        bare_V = self._bare_V - charge_mAh / per_V_mAh
        self._bare_V = max(0.0, bare_V)
        return max(0.0, -bare_V * per_V_mAh)

    def _draw(self, mean_mAh: float) -> float:
        return float(self._random.exponential(mean_mAh)) + 1e-9


_NUMBERS = (
    "_series_Ohm",
    "_given_mAh",
    "_connected_mAh",
    "_film_mAh",
    "_found_mAh",
    "_in_mAh",
    "_out_mAh",
    "_fast_V",
    "_slow_V",
    "_bare_V",
    "_temperature_K",
    "_time_s",
    "_next_mAh",
)


def _relax(value: float, target: float, times: float) -> float:
    return target + (value - target) * math.exp(-times)


class TellsAtOnce:
    """The same cell, of which only `step` and `terminal_voltage` are shown."""

    def __init__(self, *, seed: int, temperature_K: float) -> None:
        cell = EquivalentCircuit(seed=seed, temperature_K=temperature_K)
        self.step = cell.step
        self.terminal_voltage = cell.terminal_voltage
        self.truth = cell.truth


class StepsOnly:
    """The same cell, of which only `step` is shown (and the truth, to tests)."""

    def __init__(self, *, seed: int, temperature_K: float) -> None:
        cell = EquivalentCircuit(seed=seed, temperature_K=temperature_K)
        self.step = cell.step
        self.truth = cell.truth


def make(*, seed: int, temperature_K: float) -> EquivalentCircuit:
    """Return the cell with everything the port offers."""
    return EquivalentCircuit(seed=seed, temperature_K=temperature_K)


def make_explicit(*, seed: int, temperature_K: float) -> TellsAtOnce:
    """Return it without snapshot and restore."""
    return TellsAtOnce(seed=seed, temperature_K=temperature_K)


def make_blind(*, seed: int, temperature_K: float) -> StepsOnly:
    """Return it with `step` alone."""
    return StepsOnly(seed=seed, temperature_K=temperature_K)
