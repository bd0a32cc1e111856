"""The equivalent-circuit models of `thevenin` (https://rovi-org.github.io/thevenin) as a plant.

There a discharging current is positive; here, as everywhere, a charging one. The state is state of
charge, temperature, hysteresis and the voltages of the RC elements, so everything the port offers
is there. ``hil.adapters.thevenin:make`` is a 3 mAh coin cell with figures of ours (assumed);
another cell is a factory of yours: ``return TheveninPlant(params, temperature_K=temperature_K)``.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np

from controller.domain.errors import InvariantError, refuse
from hil.adapters import needed

_OCV_SOC: Final = (-0.05, 0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.0, 1.05)
_OCV_V: Final = (2.0, 3.0, 3.45, 3.60, 3.71, 3.86, 4.05, 4.22, 4.30, 4.50)


class TheveninPlant:
    """A `thevenin.Prediction` behind the port.

    Parameters
    ----------
    params : dict or str
        As `thevenin` takes them: a dict, or the name of a YAML file. ``soc0`` is the start.
    temperature_K : float
        Of the cell at the start.

    Raises
    ------
    ConfigurationError
        `thevenin` is not installed.
    """

    def __init__(self, params: dict[str, Any] | str, *, temperature_K: float) -> None:
        library = needed("thevenin")
        self._model = library.Prediction(params)
        self._model.set_options(rtol=1e-8, atol=1e-10)
        self._new_state = library.TransientState
        rests_V = np.zeros(self._model.num_RC_pairs)
        self._state = self._new_state(float(self._model.soc0), temperature_K, 0.0, rests_V)
        self._in_mAh = self._out_mAh = 0.0

    def step(self, current_A: float, dt_s: float, ambient_K: float) -> tuple[float, float]:
        """Pass a constant current; see `hil.plant.Plant`.

        Raises
        ------
        ConfigurationError
            An argument that is no number, or a time that is not positive.
        InvariantError
            The solver gave up.
        """
        _check_step("thevenin", current_A, dt_s, ambient_K)
        self._model.T_inf = ambient_K
        try:
            self._state = self._model.take_step(self._state, -current_A, dt_s)
        except (ArithmeticError, RuntimeError, ValueError) as error:
            raise InvariantError(f"thevenin: step({current_A!r}, {dt_s!r}): {error}") from error
        charge_mAh = current_A * dt_s / 3.6
        self._in_mAh += max(0.0, charge_mAh)
        self._out_mAh += max(0.0, -charge_mAh)
        return self.terminal_voltage(current_A), float(self._state.T_cell)

    def terminal_voltage(self, current_A: float) -> float:
        """Return the voltage (V) at once: only the series resistance answers at once."""
        state, model = self._state, self._model
        open_V = float(model.ocv(state.soc)) + float(state.hyst) - float(np.sum(state.eta_j))
        return open_V + current_A * float(model.R0(state.soc, state.T_cell))

    def snapshot(self) -> list[Any]:
        """Return the state as numbers."""
        s = self._state
        return [
            float(s.soc),
            float(s.T_cell),
            float(s.hyst),
            [float(one) for one in s.eta_j],
            self._in_mAh,
            self._out_mAh,
        ]

    def restore(self, snapshot: list[Any]) -> None:
        """Take the state back."""
        soc, cell_K, hysteresis_V, rc_V, self._in_mAh, self._out_mAh = snapshot
        self._state = self._new_state(soc, cell_K, hysteresis_V, np.array(rc_V))

    @property
    def temperature_K(self) -> float:
        """Temperature of the cell (K)."""
        return float(self._state.T_cell)

    def truth(self) -> dict[str, float | str | bool]:
        """Return state of charge and passed charge (mAh)."""
        return {
            "soc": float(self._state.soc),
            "charge_in_mAh": self._in_mAh,
            "charge_out_mAh": self._out_mAh,
            "temperature_K": float(self._state.T_cell),
        }


def make(*, seed: int, temperature_K: float) -> TheveninPlant:
    """Return a 3 mAh coin cell, half charged; the seed scatters its resistance by 10 %."""
    scale = float(np.random.default_rng([seed, 12]).uniform(0.9, 1.1))
    params: dict[str, Any] = {
        "num_RC_pairs": 2,
        "soc0": 0.5,
        "capacity": 3e-3,  # Ah
        "gamma": 0.0,
        "ce": 1.0,
        "mass": 3e-3,
        "isothermal": False,
        "Cp": 900.0,
        "T_inf": temperature_K,
        "h_therm": 10.0,
        "A_therm": 8.3e-4,
        "ocv": lambda soc: np.interp(soc, _OCV_SOC, _OCV_V),
        "M_hyst": lambda soc: 0.0 * soc,
        "R0": lambda soc, T_cell: 12.0 * scale + 0.0 * (soc + T_cell),
        "R1": lambda soc, T_cell: 14.0 * scale + 0.0 * (soc + T_cell),
        "C1": lambda soc, T_cell: 5e-3 / 14.0 + 0.0 * (soc + T_cell),  # 5 ms
        "R2": lambda soc, T_cell: 8.0 * scale + 0.0 * (soc + T_cell),
        "C2": lambda soc, T_cell: 200.0 / 8.0 + 0.0 * (soc + T_cell),  # 200 s
    }
    return TheveninPlant(params, temperature_K=temperature_K)


def _check_step(name: str, current_A: float, dt_s: float, ambient_K: float) -> None:
    if not math.isfinite(current_A):
        raise refuse(f"plant {name}", "current_A", f"{current_A!r} is no current")
    if not 0.0 < dt_s < math.inf:
        raise refuse(f"plant {name}", "dt_s", f"{dt_s!r} is no time to pass")
    if not 0.0 < ambient_K < math.inf:
        raise refuse(f"plant {name}", "ambient_K", f"{ambient_K!r} is no temperature")
