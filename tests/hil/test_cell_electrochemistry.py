"""What the cell answers to pulses, steps, interrupts and sines, against closed forms."""

from __future__ import annotations

import cmath
import dataclasses
import itertools
import math

import pytest

from hil.cell import PRESETS, CellParameters, LithiumMetalCell, anode_free_nmc811
from hil.cell.lithium import overpotential_V

AMBIENT_K = 298.15
THERMAL_V = 2.0 * 8.314462618 * AMBIENT_K / 96485.33212
FARADAY = 96485.33212


def changed(name: str, **values: float) -> CellParameters:
    return dataclasses.replace(PRESETS[name](0), **values)


def half_charged(parameters: CellParameters) -> LithiumMetalCell:
    cell = LithiumMetalCell(parameters)
    for _ in range(1000):
        cell.step(1e-3, 5.0, AMBIENT_K)
    for _ in range(60):
        cell.step(0.0, 120.0, AMBIENT_K)
    return cell


def impedance_Ohm(cell: LithiumMetalCell, frequency_Hz: float, points: int = 64) -> complex:
    """Galvanostatic, 0.1 mA, six periods of which the last two count; the state is put back.

    A resistance answers half a step late: the phase is known to pi / `points`.
    """
    periods, amplitude_A = 6, 1e-4
    start = cell.snapshot()
    total = 0j
    for k in range(periods * points):
        # Constant over a step: the sine of its middle, and the voltage half a step later.
        current_A = amplitude_A * math.sin(2.0 * math.pi * (k + 0.5) / points)
        voltage_V, _ = cell.step(current_A, 1.0 / (frequency_Hz * points), AMBIENT_K)
        if k >= (periods - 2) * points:
            total += voltage_V * cmath.exp(-2j * math.pi * (k + 1.0) / points)
    cell.restore(start)
    return 1j * total / (points * amplitude_A)


# -- interfaces -----------------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [-50.0, -1.0, -1e-3, 0.0, 1e-3, 1.0, 50.0])
def test_butler_volmer_is_the_inverse_sinh(ratio):
    assert overpotential_V(ratio, THERMAL_V, 0.0) == pytest.approx(THERMAL_V * math.asinh(ratio))


@pytest.mark.parametrize("ratio", [-5.0, -1.0, -1e-3, 1e-3, 0.1, 1.0, 3.0, 5.0])
def test_marcus_overpotential_gives_its_current_back(ratio):
    reorganisation_eV = 0.25
    u = overpotential_V(ratio, THERMAL_V, reorganisation_eV) / THERMAL_V
    bend = 0.5 * THERMAL_V / reorganisation_eV  # kT / lambda
    assert math.sinh(u) * math.exp(-bend * u * u) == pytest.approx(ratio, rel=1e-6)
    assert abs(u) > abs(math.asinh(ratio))  # more overpotential than Butler-Volmer asks for


def test_marcus_goes_on_beyond_its_largest_current():
    values = [overpotential_V(ratio, THERMAL_V, 0.1) for ratio in (1.0, 1e2, 1e4, 1e6)]
    assert values == sorted(values)
    assert all(math.isfinite(value) for value in values)


def test_a_marcus_cell_polarises_more_at_high_current():
    voltages = []
    for marcus_eV in (0.0, 0.25):
        cell = LithiumMetalCell(changed("li-li", marcus_eV=marcus_eV, foil_activity=0.05))
        for _ in range(100):
            voltage_V, _ = cell.step(15e-3, 0.01, AMBIENT_K)
        voltages.append(voltage_V)
    assert voltages[1] > voltages[0] + 1e-3


def test_the_cathode_may_follow_marcus_too():
    voltages = []
    for marcus_eV in (0.0, 0.25):
        cell = half_charged(changed("excess-lithium", cathode_marcus_eV=marcus_eV))
        for _ in range(20):
            voltage_V, _ = cell.step(-15e-3, 0.1, AMBIENT_K)
        voltages.append(voltage_V)
    assert voltages[1] < voltages[0] - 1e-3


# -- pulses, interrupts, impedance ----------------------------------------------------------------


def test_an_interrupt_shows_the_ohmic_drop_first_and_the_rest_later():
    cell = half_charged(anode_free_nmc811(0))
    for _ in range(100):
        flowing_V, _ = cell.step(-3e-3, 1.0, AMBIENT_K)
    at_once_V = cell.terminal_voltage(0.0)
    assert at_once_V - flowing_V == pytest.approx(3e-3 * cell._s.resistance_Ohm, rel=1e-6)
    jumps = [at_once_V]
    lengths_s = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0)
    jumps += [cell.step(0.0, dt_s, AMBIENT_K)[0] for dt_s in lengths_s]
    assert jumps == sorted(jumps)
    assert jumps[-1] - jumps[0] > 3e-3 * cell._s.resistance_Ohm


def test_the_spectrum_goes_from_ohmic_to_diffusion():
    cell = half_charged(anode_free_nmc811(0))
    spectrum = {f: impedance_Ohm(cell, f) for f in (1e5, 1e3, 10.0, 0.1, 0.001)}
    parts = [z.real for z in spectrum.values()]
    assert parts == sorted(parts)
    ohmic = cell._s.resistance_Ohm
    assert spectrum[1e5].real == pytest.approx(ohmic, rel=0.15)
    assert spectrum[10.0].real > ohmic + 0.9 * cell._s.film_Ohm
    assert spectrum[0.001].imag < -10.0
    # Solid diffusion between 1 and 10 mHz: the phase of a Warburg and of finite diffusion.
    assert -0.5 * math.pi < cmath.phase(spectrum[0.001] - ohmic) < -0.1 * math.pi


def test_a_small_sine_sees_the_charge_transfer_resistance_of_the_lithium():
    """Li||Li with everything else switched off: R_ct = 2 RT/F/(2 i0) per electrode and its C."""
    p = changed(
        "li-li",
        film_Ohm_cm2=0.0,
        film_growth_Ohm_cm4_per_mAh=0.0,
        contact_Ohm_cm2=0.0,
        salt_diffusivity_um2_per_s=1e9,
        foil_activity=1.0,
    )
    cell = LithiumMetalCell(p)
    ohmic = cell._s.resistance_Ohm
    transfer = THERMAL_V / (2.0 * p.anode_exchange_mA_per_cm2 * 1e-3) / p.area_cm2
    capacity_F = p.double_layer_uF_per_cm2 * 1e-6 * p.area_cm2
    for frequency_Hz in (50.0, 500.0, 2000.0, 8000.0):
        measured = impedance_Ohm(cell, frequency_Hz, 512) - ohmic
        expected = 2.0 * transfer / (1.0 + 2j * math.pi * frequency_Hz * transfer * capacity_F)
        assert abs(measured - expected) < 0.02 * abs(expected)


def test_halving_the_step_changes_the_voltage_by_less_than_half_a_millivolt():
    for current_A, dt_s in ((1e-3, 60.0), (1e-3, 10.0), (3e-3, 10.0), (9e-3, 5.0)):
        traces = []
        for part in (1, 2):
            cell = LithiumMetalCell(anode_free_nmc811(0))
            trace = []
            for i in range(int(5.0 / (current_A * 1e3) * 1200.0 / dt_s) * part):
                voltage_V, _ = cell.step(current_A, dt_s / part, AMBIENT_K)
                if i % part == part - 1:
                    trace.append(voltage_V)
            traces.append(trace)
        worst = max(abs(a - b) for a, b in zip(*traces, strict=True))
        assert worst < 5e-4, (current_A, dt_s)


def test_halving_the_step_does_so_too_where_foil_takes_over_from_the_deposit():
    """There the overpotential follows what is left of the deposit, of which foil spares a part."""
    ends_V = []
    for parts in (1, 2):
        cell = LithiumMetalCell(PRESETS["li-nmc532"](0))
        p = cell.parameters
        current_A = 6e-3 * p.nominal_capacity_mAh
        for _ in range(16):
            cell.step(current_A / 18.0, 10.0, AMBIENT_K)
        cell.step(0.0, 600.0, AMBIENT_K)
        trace_V = []
        while (left_mAh := cell.truth()["deposit_mAh"]) > 1e-4 * p.area_cm2:
            step_s = 0.5 if left_mAh > 0.01 * p.area_cm2 else 0.2
            trace_V.append(
                [cell.step(-current_A, step_s / parts, AMBIENT_K)[0] for _ in range(parts)][-1]
            )
        ends_V.append(trace_V)
    once_V, twice_V = ends_V
    common = min(len(once_V), len(twice_V))
    assert common > 40
    worst_V = max(abs(a - b) for a, b in zip(once_V[:common], twice_V[:common], strict=True))
    assert worst_V < 5e-4


# -- nucleation, second plateau, end of strip -----------------------------------------------------


def test_the_first_plating_on_copper_dips_and_recovers():
    cell = LithiumMetalCell(PRESETS["li-cu"](0))
    voltages = [cell.step(1.54e-3, 1.0, AMBIENT_K)[0] for _ in range(200)]
    assert max(voltages[:5]) - voltages[-1] > 0.03
    assert voltages.index(max(voltages)) < 5
    for before, after in itertools.pairwise(voltages[10:]):
        assert after <= before + 1e-6


def test_a_strip_has_a_second_plateau_when_the_mossy_deposit_is_gone():
    cell = LithiumMetalCell(PRESETS["li-li"](0))
    for _ in range(180):
        cell.step(1.54e-3, 10.0, AMBIENT_K)
    deposit_mAh = float(cell.truth()["deposit_mAh"])
    voltages = [cell.step(-1.54e-3, 10.0, AMBIENT_K)[0] for _ in range(300)]
    gone = int(deposit_mAh / 1.54 * 360.0)
    early, late = voltages[gone // 2], voltages[gone + 40]
    assert late < early - 4e-3
    # Two plateaus: flat before, flat after, and the step lies between.
    assert abs(voltages[gone // 2 - 20] - early) < 1e-3
    assert abs(voltages[gone + 60] - late) < 1e-3


# -- salt -----------------------------------------------------------------------------------------


def salt_limited(name: str = "li-li", **values: float) -> LithiumMetalCell:
    return LithiumMetalCell(changed(name, layer_tortuosity_factor=1.0, **values))


def limiting_mA_per_cm2(cell: LithiumMetalCell) -> float:
    """Return ``J* = 2 F c0 D / ((1 - t+) L)`` of the separator, to the floor of 2 %."""
    p = cell.parameters
    diffusivity = p.salt_diffusivity_um2_per_s * 1e-12 * p.separator_porosity**p.bruggeman
    per_area = 2.0 * FARADAY * 0.98 * p.salt_mol_per_m3 * diffusivity
    return per_area / ((1.0 - p.transference) * p.separator_um * 1e-6) * 0.1


def time_to_depletion_s(cell: LithiumMetalCell, density: float, longest_s: float) -> float:
    current_A = density * 1e-3 * cell.parameters.area_cm2
    dt_s = longest_s / 2000.0
    for i in range(2000):
        cell.step(current_A, dt_s, AMBIENT_K)
        if cell.truth()["salt_depleted_s"]:
            return (i + 1) * dt_s
    return math.inf


def test_below_the_limiting_current_salt_never_runs_out():
    cell = salt_limited()
    limit = limiting_mA_per_cm2(cell)
    assert limit == pytest.approx(89.1, rel=0.01)
    assert time_to_depletion_s(cell, 0.95 * limit, 15.0) == math.inf
    assert time_to_depletion_s(salt_limited(), 1.05 * limit, 15.0) < 15.0


@pytest.mark.parametrize(("times", "tolerance"), [(3.0, 0.05), (6.0, 0.08)])
def test_far_above_it_salt_runs_out_at_sands_time(times, tolerance):
    cell = salt_limited()
    p = cell.parameters
    density = times * limiting_mA_per_cm2(cell)
    # Per area of separator: pores hold epsilon c0, and their diffusivity is D epsilon^(b - 1).
    diffusivity = p.salt_diffusivity_um2_per_s * 1e-12
    product = p.separator_porosity ** (1.0 + p.bruggeman) * diffusivity
    charge = FARADAY * 0.98 * p.salt_mol_per_m3 / (2.0 * 10.0 * density * (1.0 - p.transference))
    sand_s = math.pi * product * charge * charge
    measured_s = time_to_depletion_s(cell, density, 4.0 * sand_s)
    assert measured_s == pytest.approx(sand_s, rel=tolerance)


def test_on_discharge_the_cathode_side_is_depleted():
    cell = LithiumMetalCell(changed("anode-free", salt_diffusivity_um2_per_s=5.0))
    for _ in range(600):
        cell.step(1e-3, 10.0, AMBIENT_K)
    for _ in range(60):
        cell.step(-8e-3, 5.0, AMBIENT_K)
    assert cell._s.pos_salt < 0.05
    assert cell._s.neg_salt > 1.0
    assert cell.truth()["electrolyte_reduced_mAh"] > 0.0


def test_what_salt_cannot_carry_reduces_electrolyte_and_is_seen_in_the_voltage():
    cell = salt_limited(salt_diffusivity_um2_per_s=10.0)
    density = 2.0 * limiting_mA_per_cm2(cell)
    plain_V = LithiumMetalCell(PRESETS["li-li"](0)).step(density * 1.54e-3, 1.0, AMBIENT_K)[0]
    for _ in range(200):
        voltage_V, _ = cell.step(density * 1.54e-3, 1.0, AMBIENT_K)
    assert voltage_V > plain_V + 0.5
    assert cell.truth()["electrolyte_reduced_mAh"] > 0.1
    assert max(map(abs, cell.balances().values())) < 1e-9


def test_a_layer_of_inactive_lithium_lowers_the_limit_and_bends_the_voltage():
    cell = salt_limited()
    bare = (cell._s.salt_scale, cell._s.salt_time_s, cell._s.resistance_Ohm)
    cell._s.neg.old_mAh = 5.0 * 1.54
    cell.step(1e-6, 1.0, AMBIENT_K)
    thick = (cell._s.salt_scale, cell._s.salt_time_s, cell._s.resistance_Ohm)
    # 81 um of porosity 0.7 beside 25 um of porosity 0.39: 98 -> about 40 mA/cm2 (derived).
    assert bare[0] / thick[0] == pytest.approx(39.0 / 98.0, rel=0.08)
    assert thick[1] > 4.0 * bare[1]
    assert thick[2] > bare[2]


# -- side reactions -------------------------------------------------------------------------------


def test_oxidation_takes_charge_without_lithium_and_empties_a_resting_cathode_less():
    cell = LithiumMetalCell(changed("anode-free", oxidation_mA_per_cm2=0.02))
    while cell.step(1e-3, 10.0, AMBIENT_K)[0] < 4.3:
        pass
    x = float(cell.truth()["cathode_x"])
    oxidised_mAh = float(cell.truth()["electrolyte_oxidised_mAh"])
    assert oxidised_mAh > 0.0
    cell.step(0.0, 36_000.0, AMBIENT_K)
    assert cell.truth()["cathode_x"] > x
    assert cell.truth()["electrolyte_oxidised_mAh"] > oxidised_mAh
    assert max(map(abs, cell.balances().values())) < 1e-9


def test_a_shuttle_discharges_a_resting_cell():
    drops = []
    for shuttle in (0.0, 0.02):
        cell = LithiumMetalCell(changed("anode-free", shuttle_mA_per_cm2=shuttle))
        for _ in range(600):
            cell.step(1e-3, 10.0, AMBIENT_K)
        for _ in range(10):
            first_V, _ = cell.step(0.0, 360.0, AMBIENT_K)
        for _ in range(100):
            last_V, _ = cell.step(0.0, 360.0, AMBIENT_K)
        drops.append(first_V - last_V)
    assert drops[1] > drops[0] + 5e-3
