"""Li||Cu and Li||Li of another structure than ours: lithium stands in columns side by side.

Each electrode is a row of columns in parallel, each with a resistance of its own, on a foil (or on
bare copper). Plating spreads over all columns by their conductance; stripping takes from those that
still hold lithium. A column that is emptied leaves its root behind, which has lost contact: that
is the inactive lithium. Overpotentials are linear in the current (linearised Tafel slopes), so the
voltage is piecewise linear. An electrode on which nothing is left charges a capacitor.

The voltage is that of the positive minus that of the negative foil, and positive current plates on
the negative: it is negative while the negative is stripped. All figures are invented (assumed).
Imports nothing of the project.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

COLUMNS = 24
SERIES_OHM = 9.0
COLUMN_OHM = 420.0  # median of one column; all of them in parallel: about 16 Ohm
NUCLEATION = 2.5  # times as much where a column has to begin on bare copper
BARE_F = 0.5e-3
LEAK_S = 900.0
FILM_SHARE = 0.004  # of what is plated
HEAT_J_PER_K, COOLING_W_PER_K = 2.7, 0.0083


class Electrode:
    """Columns on a foil; `foil_mAh` 0 is copper."""

    def __init__(self, random: np.random.Generator, foil_mAh: float) -> None:
        self.resistance_Ohm = COLUMN_OHM * np.exp(random.normal(0.0, 0.4, COLUMNS))
        self.root_share = random.uniform(0.001, 0.02, COLUMNS)
        self.foil_mAh = foil_mAh
        self.column_mAh = np.zeros(COLUMNS)
        self.tallest_mAh = np.zeros(COLUMNS)  # since last emptied
        self.inactive_mAh = 0.0
        self.film_mAh = 0.0
        self.bare_V = 0.0 if foil_mAh > 0.0 else 0.08  # above lithium

    def conductance(self, *, plating: bool) -> np.ndarray:
        """Return that of each column (S); the foil carries what stands on it."""
        if plating:
            hard = (self.column_mAh <= 0.0) & (self.foil_mAh <= 0.0)
            return 1.0 / (self.resistance_Ohm * np.where(hard, NUCLEATION, 1.0))
        live = (self.column_mAh > 0.0) | (self.foil_mAh > 0.0)
        return np.where(live, 1.0 / self.resistance_Ohm, 0.0)

    def overpotential_V(self, plated_A: float) -> float:
        """Return how far a current moves the electrode from its rest (V, negative on plating)."""
        if plated_A == 0.0:
            return 0.0
        total_S = float(self.conductance(plating=plated_A > 0.0).sum())
        if (
            total_S <= 0.0
        ):  # nothing left: the double layer passes it without a resistance of its own
            total_S = 1.0 / (NUCLEATION * COLUMN_OHM / COLUMNS)
        return -plated_A / total_S

    def plate(self, charge_mAh: float) -> None:
        per_V_mAh = BARE_F / 3.6
        stored_mAh = self.bare_V * per_V_mAh
        if charge_mAh <= stored_mAh:
            self.bare_V -= charge_mAh / per_V_mAh
            return
        charge_mAh -= stored_mAh
        self.bare_V = 0.0
        self.film_mAh += FILM_SHARE * charge_mAh
        share = self.conductance(plating=True)
        self.column_mAh += (1.0 - FILM_SHARE) * charge_mAh * share / share.sum()
        self.tallest_mAh = np.maximum(self.tallest_mAh, self.column_mAh)

    def strip(self, charge_mAh: float) -> None:
        """Take from the columns until one is down to its root, then from the others."""
        while charge_mAh > 0.0:
            standing = self.column_mAh > 0.0
            if not standing.any():
                break
            share = np.where(standing, 1.0 / self.resistance_Ohm, 0.0)
            share /= share.sum()
            room_mAh = np.where(
                standing, self.column_mAh - self.root_share * self.tallest_mAh, np.inf
            )
            lasts_mAh = np.where(
                standing, np.maximum(room_mAh, 0.0) / np.maximum(share, 1e-12), np.inf
            )
            first = int(np.argmin(lasts_mAh))
            taken_mAh = min(charge_mAh, float(lasts_mAh[first]))
            self.column_mAh = np.where(standing, self.column_mAh - taken_mAh * share, 0.0)
            charge_mAh -= taken_mAh
            if charge_mAh > 0.0 or taken_mAh == lasts_mAh[first]:
                self.inactive_mAh += float(max(self.column_mAh[first], 0.0))
                self.column_mAh[first] = self.tallest_mAh[first] = 0.0
        from_foil_mAh = min(charge_mAh, self.foil_mAh)
        self.foil_mAh -= from_foil_mAh
        self.bare_V += (charge_mAh - from_foil_mAh) / (BARE_F / 3.6)

    def rest(self, dt_s: float) -> None:
        self.bare_V *= math.exp(-dt_s / LEAK_S)

    @property
    def active_mAh(self) -> float:
        return float(self.column_mAh.sum()) + self.foil_mAh

    def state(self) -> list[Any]:
        return [
            self.foil_mAh,
            self.inactive_mAh,
            self.film_mAh,
            self.bare_V,
            self.column_mAh.tolist(),
            self.tallest_mAh.tolist(),
        ]

    def take_up(self, state: list[Any]) -> None:
        self.foil_mAh, self.inactive_mAh, self.film_mAh, self.bare_V, columns, tallest = state
        self.column_mAh, self.tallest_mAh = np.array(columns), np.array(tallest)


class TwoFoils:
    """The cell; see the module."""

    def __init__(self, *, seed: int, temperature_K: float, negative_mAh: float) -> None:
        random = np.random.default_rng([seed, 55])
        self._negative = Electrode(random, negative_mAh)
        self._positive = Electrode(random, 15.0)
        self.temperature_K = temperature_K
        self._in_mAh = self._out_mAh = 0.0

    def step(self, current_A: float, dt_s: float, ambient_K: float) -> tuple[float, float]:
        if not (math.isfinite(current_A) and 0.0 < dt_s < 1e6 and 200.0 < ambient_K < 450.0):
            raise ValueError(f"step({current_A!r}, {dt_s!r}, {ambient_K!r})")
        charge_mAh = current_A * dt_s / 3.6
        if charge_mAh > 0.0:
            self._in_mAh += charge_mAh
            self._positive.strip(charge_mAh)
            self._negative.plate(charge_mAh)
        elif charge_mAh < 0.0:
            self._out_mAh -= charge_mAh
            self._negative.strip(-charge_mAh)
            self._positive.plate(-charge_mAh)
        else:
            self._negative.rest(dt_s)
            self._positive.rest(dt_s)
        heated_K = ambient_K + current_A * current_A * 40.0 / COOLING_W_PER_K
        keep = math.exp(-dt_s * COOLING_W_PER_K / HEAT_J_PER_K)
        self.temperature_K = heated_K + (self.temperature_K - heated_K) * keep
        return self.terminal_voltage(current_A), self.temperature_K

    def terminal_voltage(self, current_A: float) -> float:
        positive_V = self._positive.bare_V + self._positive.overpotential_V(-current_A)
        negative_V = self._negative.bare_V + self._negative.overpotential_V(current_A)
        return positive_V - negative_V + current_A * SERIES_OHM

    def snapshot(self) -> list[Any]:
        return [
            self._negative.state(),
            self._positive.state(),
            self.temperature_K,
            self._in_mAh,
            self._out_mAh,
        ]

    def restore(self, snapshot: list[Any]) -> None:
        negative, positive, self.temperature_K, self._in_mAh, self._out_mAh = snapshot
        self._negative.take_up(negative)
        self._positive.take_up(positive)

    def truth(self) -> dict[str, float | str | bool]:
        lost_mAh = self._negative.inactive_mAh + self._negative.film_mAh
        return {
            "charge_in_mAh": self._in_mAh,
            "charge_out_mAh": self._out_mAh,
            "active_lithium_mAh": self._negative.active_mAh,
            "inactive_lithium_mAh": self._negative.inactive_mAh,
            "sei_lithium_mAh": self._negative.film_mAh,
            "lithium_lost_mAh": lost_mAh,
            "positive_lithium_mAh": self._positive.active_mAh,
            "positive_lithium_lost_mAh": self._positive.inactive_mAh + self._positive.film_mAh,
            "standing_columns": int((self._negative.column_mAh > 0.0).sum()),
            "negative_bare_V": self._negative.bare_V,
        }


def li_cu(*, seed: int, temperature_K: float) -> TwoFoils:
    """Return lithium against copper, the copper negative."""
    return TwoFoils(seed=seed, temperature_K=temperature_K, negative_mAh=0.0)


def li_li(*, seed: int, temperature_K: float) -> TwoFoils:
    """Return lithium against lithium."""
    return TwoFoils(seed=seed, temperature_K=temperature_K, negative_mAh=15.0)
