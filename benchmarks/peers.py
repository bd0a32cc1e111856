"""Other people's cells (and our own in C), stepped with a current decided from the last voltage.

Each function returns a measurement in seconds a step, or why there is none: the peer is not
installed. What it does is the peer's ordinary way of stepping, with its own defaults.
"""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import two_rc
from benchmarks.timing import Measure, seconds

UPPER_V = 4.2
LOWER_V = 3.6
DT_S = 1.0


def is_there(package: str) -> bool:
    """Return whether a package is installed, without importing it."""
    return importlib.util.find_spec(package) is not None


def decided(current_A: float, voltage_V: float, magnitude_A: float) -> float:
    """Return the next current (A): reversed at the cut-offs."""
    if voltage_V >= UPPER_V:
        return -magnitude_A
    if voltage_V <= LOWER_V:
        return magnitude_A
    return current_A


def thevenin(steps: int = 500) -> Measure | str:
    """Step thevenin's two RC pairs with temperature by ``Prediction.take_step``."""
    if not is_there("thevenin"):
        return "thevenin is not installed"
    import thevenin as package

    p = two_rc.Parameters()
    activation_K, room_K = p.activation_K, two_rc.ROOM_K
    model = package.Prediction(
        {
            "num_RC_pairs": 2,
            "soc0": 0.5,
            "capacity": p.capacity_Ah,
            "ce": 1.0,
            "gamma": 0.0,
            "mass": 3e-3,
            "isothermal": False,
            "Cp": p.heat_J_per_K / 3e-3,
            "T_inf": room_K,
            "h_therm": 10.0,
            "A_therm": p.loss_W_per_K / 10.0,
            "ocv": two_rc.ocv_V,
            "M_hyst": lambda soc: 0.0 * soc,
            "R0": lambda _, T: p.r0_Ohm * np.exp(activation_K * (1.0 / T - 1.0 / room_K)),
            "R1": lambda *_: p.fast.r_Ohm,
            "C1": lambda *_: p.fast.tau_s / p.fast.r_Ohm,
            "R2": lambda *_: p.slow.r_Ohm,
            "C2": lambda *_: p.slow.tau_s / p.slow.r_Ohm,
        }
    )

    def measure() -> float:
        state = package.TransientState(soc=0.5, T_cell=room_K, hyst=0.0, eta_j=np.zeros(2))
        current_A, voltage_V = 1e-3, 3.9

        def work() -> None:
            nonlocal state, current_A, voltage_V
            for _ in range(steps):
                current_A = decided(current_A, voltage_V, 1e-3)
                state = model.take_step(state, -current_A, DT_S)  # its discharge is positive
                voltage_V = float(state.voltage)

        return seconds(work) / steps

    return measure


def pybamm(steps: int = 100) -> Measure | str:
    """Step PyBaMM's SPMe of a lithium-metal half cell (Xu 2019) by ``Simulation.step``."""
    if not is_there("pybamm"):
        return "pybamm is not installed"
    import pybamm as package

    package.telemetry.disable()
    model = package.lithium_ion.SPMe({"working electrode": "positive"})
    values = package.ParameterValues("Xu2019")
    values["Current function [A]"] = "[input]"
    magnitude_A = 0.1 * values["Nominal cell capacity [A.h]"]
    simulation = package.Simulation(model, parameter_values=values)

    def measure() -> float:
        current_A, voltage_V = -magnitude_A, 3.9

        def work() -> None:
            nonlocal current_A, voltage_V
            for _ in range(steps):
                current_A = decided(current_A, voltage_V, magnitude_A)
                # its discharge is positive; the next step goes on from this one
                given = {"Current function [A]": -current_A}
                solution = simulation.step(DT_S, save=False, inputs=given)
                voltage_V = float(solution["Voltage [V]"].entries[-1])

        return seconds(work) / steps

    return measure


def c_library(folder: Path) -> Any:
    """Return `two_rc.c`, compiled here and loaded, or why not."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return "no C compiler is installed"
    target = folder / "two_rc.so"
    source = Path(__file__).with_name("two_rc.c")
    command = [compiler, "-O3", "-ffp-contract=off", "-shared", "-fPIC", str(source), "-o"]
    subprocess.run([*command, str(target), "-lm"], check=True)
    library = ctypes.CDLL(str(target))
    number, pointer = ctypes.c_double, ctypes.c_void_p
    library.two_rc_step.restype = number
    library.two_rc_step.argtypes = [pointer, pointer, number, number, number]
    library.two_rc_cycle.restype = number
    library.two_rc_cycle.argtypes = [pointer, pointer, ctypes.c_long, *[number] * 5]
    return library


def c_numbers(s: two_rc.State, p: two_rc.Parameters) -> tuple[Any, Any]:
    """Return state and parameters in the order of the structs in C."""
    state = np.array([s.soc, s.temperature_K, s.fast.V, s.slow.V])
    head = [p.capacity_Ah, p.r0_Ohm, p.exchange_A, p.activation_K, p.heat_J_per_K, p.loss_W_per_K]
    pairs = [p.fast.r_Ohm, p.fast.tau_s, p.slow.r_Ohm, p.slow.tau_s]
    return state, np.array([*head, *pairs])


def c_two_rc(steps: int = 200_000) -> Measure | str:
    """Two RC pairs in C, the loop in C."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        library = c_library(Path(folder))
    if isinstance(library, str):
        return library

    def measure() -> float:
        state, fixed = c_numbers(two_rc.State(), two_rc.Parameters())
        return (
            seconds(
                lambda: library.two_rc_cycle(
                    state.ctypes.data,
                    fixed.ctypes.data,
                    steps,
                    1e-3,
                    LOWER_V,
                    UPPER_V,
                    DT_S,
                    two_rc.ROOM_K,
                )
            )
            / steps
        )

    return measure


def impedance_fit(
    circuit: str,
    starts: Sequence[list[float]],
    frequency_Hz: Any,
    impedance_Ohm: Any,
    expected: Any,
) -> Measure | str:
    """Fit with impedance.py, modulus weights, from each start; all must reach `expected`."""
    for package in ("impedance", "pandas"):  # it needs pandas and does not say so
        if not is_there(package):
            return f"{package} is not installed"
    from impedance.models.circuits import CustomCircuit

    def measure() -> float:
        took_s = 0.0
        for start in starts:
            fitted = CustomCircuit(circuit, initial_guess=start)
            work = partial(fitted.fit, frequency_Hz, impedance_Ohm, weight_by_modulus=True)
            took_s += seconds(work)
            # Like groups may have changed places.
            if not np.allclose(np.sort(fitted.parameters_), np.sort(expected), rtol=1e-3):
                raise RuntimeError(f"impedance.py ended elsewhere: {fitted.parameters_}")
        return took_s / len(starts)

    return measure
