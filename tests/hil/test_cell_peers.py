"""Independent checks at matched parameters: thevenin's circuit, PyBaMM's half cell."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from hil.cell import PRESETS, CellParameters, LithiumMetalCell, cathode_ocv_V

TEMPERATURE_K = 298.15
FARADAY = 96485.33212
THERMAL_V = 2.0 * 8.314462618 * TEMPERATURE_K / FARADAY
WITHOUT_LOSS = {
    "sei_per_plated": 0.0,
    "inactive_per_stripped": 0.0,
    "corrosion_per_h": 0.0,
    "oxidation_mA_per_cm2": 0.0,
    "film_growth_Ohm_cm4_per_mAh": 0.0,
    "roughness_highest": 0.0,
    "heat_capacity_J_per_K": 1e6,
}


# -- linear limit ---------------------------------------------------------------------------------


def linear_cell() -> CellParameters:
    """Return a cell that is a resistance and two RC pairs at small current.

    The double layers are small enough that their charge does not show in the filling, which a
    circuit's does not know.
    """
    return dataclasses.replace(
        PRESETS["excess-lithium"](0),
        **WITHOUT_LOSS,
        film_Ohm_cm2=0.0,
        diffusion_time_s=1e-3,
        diffusion_slow_ratio=0.0,
        salt_diffusivity_um2_per_s=1e9,
        foil_activity=1.0,
        anode_activation_J_per_mol=0.0,
        cathode_activation_J_per_mol=0.0,
        double_layer_uF_per_cm2=1e3,
        cathode_double_layer_uF_per_cm2=3e3,
        cathode_initial_x=0.5,
    )


@pytest.mark.filterwarnings("ignore")
def test_the_linear_limit_is_thevenins_circuit():
    thevenin = pytest.importorskip("thevenin")
    p = linear_cell()
    cell = LithiumMetalCell(p)
    cell.step(1e-9, 1e-6, TEMPERATURE_K)
    anode = THERMAL_V / (2e-3 * p.anode_exchange_mA_per_cm2) / p.area_cm2
    cathode = THERMAL_V / (2e-3 * p.cathode_exchange_mA_per_cm2) / p.area_cm2
    host_mAh = p.cathode_host_mAh
    peer = thevenin.Prediction(
        {
            "num_RC_pairs": 2,
            "soc0": 0.5,
            "capacity": host_mAh * 1e-3,
            "ce": 1.0,
            "gamma": 0.0,
            "mass": 1.0,
            "isothermal": True,
            "Cp": 1000.0,
            "T_inf": TEMPERATURE_K,
            "h_therm": 10.0,
            "A_therm": 1.0,
            "ocv": lambda soc: cathode_ocv_V(1.0 - float(soc), p),
            "M_hyst": lambda _soc: 0.0,
            "R0": lambda _soc, _T: cell._s.resistance_Ohm,
            "R1": lambda _soc, _T: anode,
            "C1": lambda _soc, _T: 1e-3 * p.area_cm2,
            "R2": lambda _soc, _T: cathode,
            "C2": lambda _soc, _T: 3e-3 * p.area_cm2,
        }
    )
    peer.set_options(rtol=1e-9, atol=1e-11)  # at its own it is 0.8 % from the closed form here
    state = thevenin.TransientState(soc=0.5, T_cell=TEMPERATURE_K, hyst=0.0, eta_j=[0.0, 0.0])
    current_A = 2e-4  # a millivolt at the interfaces: linear to 1e-4
    start_V = cell.terminal_voltage(0.0)
    moved, worst = [], 0.0
    for i in range(600):
        now_A = current_A if (i // 100) % 2 == 0 else -0.5 * current_A
        mine_V, _ = cell.step(now_A, 0.002, TEMPERATURE_K)
        state = peer.take_step(state, -now_A, 0.002)
        moved.append(abs(mine_V - start_V))
        worst = max(worst, abs(mine_V - state.voltage))
    assert max(moved) > 2e-3
    assert worst < 1e-3 * max(moved)


# -- PyBaMM's Li||NMC532 half cell ----------------------------------------------------------------


def conductivity_S_per_m(molar: float) -> float:
    """Valoen and Reimers 2005, equation 17."""
    t = TEMPERATURE_K
    inner = (-10.5 + 0.0740 * t - 6.96e-5 * t * t) + molar * (0.668 - 0.0178 * t + 2.80e-5 * t * t)
    return 0.1 * molar * (inner + molar * molar * (0.494 - 8.86e-4 * t)) ** 2


def diffusivity_um2_per_s(molar: float) -> float:
    """Valoen and Reimers 2005, equation 14."""
    exponent = -4.43 - 54.0 / (TEMPERATURE_K - 229.0 - 5.0 * molar) - 0.22 * molar
    return 10.0**exponent * 1e8


def xu2019() -> CellParameters:
    """Return the parameters of PyBaMM's Xu2019 in our terms."""
    particle_cm2 = 3.0 * 0.518 / 5.3e-6 * 42e-6  # of surface per cm2 of electrode
    exchange = 5.76e-11 * FARADAY * math.sqrt(1000.0) * 48_230.0 / 2.0  # A/m2 at half filling
    return dataclasses.replace(
        PRESETS["li-nmc532"](0),
        **WITHOUT_LOSS,
        cathode_host_mAh=48_230.0 * FARADAY / 3.6 * 42e-6 * 0.518 * 1.54e-4,
        cathode_initial_x=4631.0 / 48_230.0,
        negative_foil_mAh=700.0 / 4.85 * 1.54,
        anode_exchange_mA_per_cm2=0.1 * 3.5e-8 * FARADAY * 1.3e-5**-0.7 * 1000.0**0.3,
        foil_activity=1.0,
        cathode_exchange_mA_per_cm2=0.1 * exchange * particle_cm2,
        film_Ohm_cm2=0.0,
        contact_Ohm_cm2=0.0,
        conductivity_S_per_m=conductivity_S_per_m(1.0),
        salt_diffusivity_um2_per_s=diffusivity_um2_per_s(1.0),
        electrolyte_mAh=1e3,
    )


def pybamm_discharge(c_rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Return times and voltages of a discharge of PyBaMM's half cell to 3.5 V."""
    import pybamm

    model = pybamm.lithium_ion.SPMe({"working electrode": "positive"})
    solver = pybamm.IDAKLUSolver(rtol=1e-8, atol=1e-8)
    peer = pybamm.Simulation(
        model, parameter_values=pybamm.ParameterValues("Xu2019"), C_rate=c_rate, solver=solver
    )
    times_s = np.linspace(0.0, 7200.0 / c_rate, 400)
    solution = peer.solve(times_s)
    times_s = times_s[times_s < float(solution.t[-1])]
    return times_s, np.asarray(solution["Voltage [V]"](times_s))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("c_rate", [0.1, 1.0 / 3.0, 1.0])
def test_the_half_cell_is_pybamms_spme(c_rate, record_property):
    pytest.importorskip("pybamm")
    times_s, theirs_V = pybamm_discharge(c_rate)
    cell = LithiumMetalCell(xu2019())
    current_A = -2.4e-3 * c_rate
    mine_V = [cell.step(current_A, float(dt_s), TEMPERATURE_K)[0] for dt_s in np.diff(times_s)]
    error_V = np.array(mine_V) - theirs_V[1:]
    rms_mV = 1e3 * float(np.sqrt(np.mean(error_V**2)))
    record_property("rms_mV", rms_mV)
    assert len(error_V) > 300
    assert rms_mV < 1.0  # asked for: 10 mV
