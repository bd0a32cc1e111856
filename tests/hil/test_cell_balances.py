"""Balances of the simulated cell: lithium, charge at each electrode, energy; all formats."""

from __future__ import annotations

import dataclasses
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.cell import PRESETS, LithiumMetalCell, cathode_ocv_V

AMBIENT_K = 298.15
# Everything that can happen to lithium and charge, switched on at once.
EVENTFUL = {
    "oxidation_mA_per_cm2": 0.01,
    "shuttle_mA_per_cm2": 0.01,
    "mediator_per_h": 0.5,
    "mediator_shuttle_mA_per_cm2": 0.05,
    "short_hazard_per_mAh_per_cm2": 0.2,
    "salt_per_sei": 0.3,
}


def scale(cell: LithiumMetalCell) -> float:
    """Return what 1e-9 is relative to: the charge or lithium in play (mAh), or 1."""
    truth = cell.truth()
    passed = float(truth["charge_in_mAh"]) + float(truth["charge_out_mAh"])
    return max(1.0, passed, float(truth["total_lithium_mAh"]))


@settings(max_examples=60)
@given(
    st.sampled_from(sorted(PRESETS)),
    st.integers(0, 5),
    st.booleans(),
    st.lists(
        st.tuples(
            st.floats(-12.0, 12.0),  # mA/cm2
            st.sampled_from([1e-5, 0.001, 0.5, 5.0, 60.0, 900.0]),
            st.floats(273.15, 333.15),
        ),
        min_size=1,
        max_size=40,
    ),
)
def test_every_balance_closes_whatever_is_done(name, seed, eventful, protocol):
    parameters = PRESETS[name](seed)
    if eventful:
        parameters = dataclasses.replace(parameters, **EVENTFUL)
    cell = LithiumMetalCell(parameters, seed=seed)
    for density, dt_s, ambient_K in protocol:
        voltage_V, _ = cell.step(density * 1e-3 * parameters.area_cm2, dt_s, ambient_K)
        assert math.isfinite(voltage_V)
    size = scale(cell)
    for book, value in cell.balances().items():
        unit = max(size, abs(cell._s.work_J)) if book.endswith("_J") else size
        assert abs(value) <= 1e-9 * unit, book


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_balances_over_cycles_with_rests_and_pulses(name):
    parameters = dataclasses.replace(PRESETS[name](1), **EVENTFUL)
    cell = LithiumMetalCell(parameters, seed=1)
    current_A = parameters.nominal_capacity_mAh * 1e-3 / 2.0
    for _ in range(3):
        for current, seconds in ((1.0, 6000.0), (0.0, 1800.0), (-4.0, 60.0), (-1.0, 6000.0)):
            for _ in range(10):
                cell.step(current * current_A, seconds / 10.0, AMBIENT_K)
        for _ in range(4):
            cell.step(0.0, 3600.0, AMBIENT_K)
    for book, value in cell.balances().items():
        unit = max(scale(cell), abs(cell._s.work_J)) if book.endswith("_J") else scale(cell)
        assert abs(value) <= 1e-9 * unit, book


def test_a_wrong_inventory_is_seen_by_the_balances():
    cell = LithiumMetalCell(PRESETS["anode-free"](0))
    cell.step(1e-3, 600.0, AMBIENT_K)
    cell._s.neg.fresh_mAh += 1e-6
    books = cell.balances()
    assert books["lithium_mAh"] == pytest.approx(1e-6, rel=1e-3)
    assert books["negative_mAh"] == pytest.approx(-1e-6, rel=1e-3)
    cell._s.kinetic_J += 1e-6
    assert cell.balances()["energy_J"] == pytest.approx(-1e-6, rel=1e-3)


def test_work_on_the_cell_is_what_voltage_and_current_say():
    cell = LithiumMetalCell(PRESETS["anode-free"](0))
    work_J, last_V = 0.0, cell.terminal_voltage(1e-3)
    for _ in range(4000):
        voltage_V, _ = cell.step(1e-3, 1.0, AMBIENT_K)
        work_J += 0.5 * (voltage_V + last_V) * 1e-3
        last_V = voltage_V
    assert cell._s.work_J == pytest.approx(work_J, rel=1e-4)


def test_chemical_energy_is_a_function_of_the_filling_alone():
    cell = LithiumMetalCell(PRESETS["anode-free"](0))
    p = cell.parameters
    for current_A in (1e-3, 3e-3, -2e-3, 5e-4):
        for _ in range(120):
            cell.step(current_A, 10.0, AMBIENT_K)
    x = float(cell.truth()["cathode_x"])
    count = 20_000
    grid = [x + (p.cathode_initial_x - x) * (i + 0.5) / count for i in range(count)]
    stored_J = 3.6 * p.cathode_host_mAh * (p.cathode_initial_x - x)
    stored_J *= sum(cathode_ocv_V(one, p) for one in grid) / count
    assert cell._s.chemical_J == pytest.approx(stored_J, rel=1e-4)


def test_heat_is_made_and_not_taken_and_warms_the_can():
    cell = LithiumMetalCell(PRESETS["anode-free-pouch"](0))
    before_K = cell.temperature_K
    for _ in range(600):
        cell.step(0.2, 1.0, AMBIENT_K)  # 2C
    s, p = cell._s, cell.parameters
    for part in (s.ohmic_J, s.kinetic_J, s.diffusion_J, s.leak_J):
        assert part >= -1e-9
    assert s.heat_J > 0.0
    lost_J = s.heat_J - p.heat_capacity_J_per_K * (cell.temperature_K - before_K)
    assert 0.0 < lost_J < s.heat_J
    assert cell.temperature_K > before_K + 0.5
