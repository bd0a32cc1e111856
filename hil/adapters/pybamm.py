"""Models of PyBaMM (https://pybamm.org) as a plant, by default the half cell of Xu et al. 2019.

In PyBaMM a discharging current is positive; here, as everywhere, a charging one. Every step starts
from the state vector alone, so the continuation after `restore` is bit-identical and the state can
be kept in a file. Voltage cut-offs are taken out of the model: they are the instrument's to keep.

``hil.adapters.pybamm:make`` is the SPMe of a Li||NMC532 coin cell (2.4 mAh; Xu et al., J.
Electrochem. Soc. 2019, 166, A3456, as PyBaMM's ``Xu2019``), isothermal at the ambient's
temperature. Its lithium is a reservoir without loss: what it tells is the cathode, not
reactivation. Another model is a factory of yours, which ends in
``return PybammPlant(model, parameters, temperature_K=temperature_K)``.
"""

from __future__ import annotations

import logging
import math
from typing import Any, Final

import numpy as np

from controller.domain.errors import InvariantError, refuse
from hil.adapters import needed

CURRENT: Final = "Current function [A]"
VOLTAGE: Final = "Voltage [V]"
AMBIENT: Final = "Ambient temperature [K]"
INITIAL_SOC: Final = 0.5


class PybammPlant:
    """A PyBaMM lithium-ion or half-cell model behind the port.

    Parameters
    ----------
    model : pybamm.BaseModel
        Isothermal, with the current as its input.
    parameters : pybamm.ParameterValues
    temperature_K : float
        Of ambient and cell.
    initial_soc : float
        State of charge at the start, 0..1.

    Raises
    ------
    ConfigurationError
        PyBaMM is not installed.
    """

    def __init__(
        self,
        model: Any,
        parameters: Any,
        *,
        temperature_K: float,
        initial_soc: float = INITIAL_SOC,
    ) -> None:
        library = self._library = needed("pybamm")
        model.events = [one for one in model.events if "voltage" not in one.name.lower()]
        values = parameters.copy()
        values.update({CURRENT: "[input]", AMBIENT: temperature_K})
        simulation = library.Simulation(model, parameter_values=values)
        # Its warning that a solution cannot be observed without inputs does not concern a step.
        logger = logging.getLogger(library.logger.name)
        level = logger.level
        logger.setLevel(logging.ERROR)
        try:
            simulation.build(initial_soc=initial_soc)
        finally:
            logger.setLevel(level)
        self._model = simulation.built_model
        self._solver = library.IDAKLUSolver(rtol=1e-8, atol=1e-10)
        self._voltage = self._model.get_processed_variable(VOLTAGE)
        self._y = np.asarray(
            self._model.concatenated_initial_conditions.evaluate(0.0, inputs={CURRENT: 0.0}),
            dtype=float,
        ).reshape(-1, 1)
        self._in_mAh = self._out_mAh = 0.0
        self._built_K = temperature_K

    def step(self, current_A: float, dt_s: float, ambient_K: float) -> tuple[float, float]:
        """Pass a constant current; see `hil.plant.Plant`.

        Raises
        ------
        ConfigurationError
            An argument that is no number, a time that is not positive, or another ambient than the
            model was built for.
        InvariantError
            The solver gave up, or the model came to an end (e.g. an electrode is empty).
        """
        self._check(current_A, dt_s, ambient_K)
        call = f"step({current_A!r}, {dt_s!r})"
        inputs = {CURRENT: -current_A}
        start = self._library.Solution(
            np.array([0.0]), self._y, self._model, inputs, check_solution=False
        )
        try:
            end = self._solver.step(start, self._model, dt_s, inputs=inputs, save=False)
        except self._library.SolverError as error:
            raise InvariantError(f"pybamm: {call}: {error}") from error
        if end.termination != "final time":
            raise InvariantError(f"pybamm: {call}: the model ended with {end.termination}")
        self._y = np.array(end.all_ys[-1][:, -1], dtype=float).reshape(-1, 1)
        charge_mAh = current_A * dt_s / 3.6
        self._in_mAh += max(0.0, charge_mAh)
        self._out_mAh += max(0.0, -charge_mAh)
        return self.terminal_voltage(current_A), ambient_K

    def terminal_voltage(self, current_A: float) -> float:
        """Return the voltage (V) at once: concentrations stay, overpotentials follow."""
        value = self._voltage.evaluate(0.0, self._y, inputs={CURRENT: -current_A})
        return float(np.asarray(value).reshape(-1)[-1])

    def snapshot(self) -> list[Any]:
        """Return the state vector and the passed charge."""
        return [self._y.reshape(-1).tolist(), self._in_mAh, self._out_mAh]

    def restore(self, snapshot: list[Any]) -> None:
        """Take the state back."""
        vector, self._in_mAh, self._out_mAh = snapshot
        self._y = np.array(vector, dtype=float).reshape(-1, 1)

    def truth(self) -> dict[str, float | str | bool]:
        """Return the passed charge (mAh)."""
        return {"charge_in_mAh": self._in_mAh, "charge_out_mAh": self._out_mAh}

    def _check(self, current_A: float, dt_s: float, ambient_K: float) -> None:
        if not math.isfinite(current_A):
            raise refuse("plant pybamm", "current_A", f"{current_A!r} is no current")
        if not 0.0 < dt_s < math.inf:
            raise refuse("plant pybamm", "dt_s", f"{dt_s!r} is no time to pass")
        if ambient_K != self._built_K:
            raise refuse(
                "plant pybamm",
                "ambient_K",
                f"{ambient_K!r} is not the temperature the model was built for",
                f"{self._built_K:g}",
            )


def make(*, seed: int, temperature_K: float) -> PybammPlant:  # noqa: ARG001 - one cell, no scatter
    """Return the half cell of Xu et al. 2019, half charged; the seed changes nothing."""
    library = needed("pybamm")
    return PybammPlant(
        library.lithium_ion.SPMe({"working electrode": "positive"}),
        library.ParameterValues("Xu2019"),
        temperature_K=temperature_K,
    )
