"""Readings to spectra on a circuit whose impedance is known in closed form."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from controller.domain.errors import ConfigurationError
from controller.estimation.impedance.excitation import Wanted, multisine, stepped_sine
from controller.estimation.impedance.spectrum import Readings, joined, measure
from tests.plants.linear_circuit import SERIES_OHM, LinearCircuit
from tests.unit.fake_cycler import CAPABILITIES

WANTED = Wanted(lowest_Hz=0.02, highest_Hz=0.5, resistance_Ohm=60.0, max_current_A=1e-3)
CELL = LinearCircuit()
STAIRCASE = multisine(CAPABILITIES, WANTED)
SINES = multisine(replace(CAPABILITIES, eis=True), WANTED)
NOISE_V, NOISE_A = 2e-5, 2e-8


@cache
def simulated(
    excitation,
    *,
    per_step=4,
    averaging_s=0.05,
    jitter=0.0,
    gain=1.0,
    drift_V_per_s=0.0,
    aging_per_s=0.0,
    curvature_per_V=0.0,
):
    """Return rows of (t, I, V) without the meter's errors, and when set-points were in force."""
    chance = np.random.default_rng(1)
    cell = LinearCircuit()
    rows, edges_s = [], []
    for k in range((excitation.settling + excitation.periods) * excitation.levels_A.size):
        current_A = gain * excitation.levels_A[k % excitation.levels_A.size]
        edges_s.append(cell.t_s)
        hold_s = excitation.hold_s * (k + 1 + jitter * chance.uniform()) - cell.t_s
        cell.series_Ohm = SERIES_OHM * (1.0 + aging_per_s * cell.t_s)
        for _ in range(per_step):
            voltage_V = cell.hold(current_A, hold_s / per_step, averaging_s)
            answer_V = voltage_V - cell.open_V
            bent_V = voltage_V + curvature_per_V * answer_V**2 + drift_V_per_s * cell.t_s
            rows.append((cell.t_s, current_A, bent_V))
    return np.array(rows), np.array(edges_s)


def logged(excitation, seed=0, *, noise_V=NOISE_V, **how) -> Readings:
    """Run the staircase on the circuit behind a meter with offset and noise."""
    rows, edges_s = simulated(excitation, **how)
    chance = np.random.default_rng(seed)
    t_s, current_A, voltage_V = rows.T
    return Readings(
        t_s=t_s,
        current_A=current_A + 3e-7 + NOISE_A * chance.normal(size=t_s.size),
        voltage_V=voltage_V + 1e-4 + noise_V * chance.normal(size=t_s.size),
        started_s=0.0,
        averaging_s=how.get("averaging_s", 0.05),
        edges_s=edges_s if "jitter" in how else None,
    )


def normalised(found):
    """Return errors of real part, imaginary part, modulus and phase over their uncertainty."""
    z, truth = found.spectrum.impedance_Ohm, CELL.impedance(found.spectrum.frequency_Hz)
    u = found.spectrum.u_Ohm
    return np.array(
        [
            (z - truth).real / u,
            (z - truth).imag / u,
            (np.abs(z) - np.abs(truth)) / u,
            np.angle(z / truth) * np.abs(truth) / u,
        ]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [
        {},
        {"per_step": 1, "averaging_s": 0.18},
        {"per_step": 1, "averaging_s": 0.0},
        {"jitter": 0.1},
        {"gain": 1.02, "drift_V_per_s": 1e-6},
    ],
    ids=["four a step", "mean of the step", "end of the step", "late set-points", "gain and drift"],
)
def test_the_interval_covers_the_circuits_own_impedance(how):
    """12 seeds, all tones, four errors each; within a record they are not independent."""
    hits, errors = [], []
    for seed in range(12):
        found = measure(logged(STAIRCASE, seed, **how), STAIRCASE)
        assert found.left_out == ()
        assert not found.distorted
        hits.append(np.abs(normalised(found)) <= 1.96)
        truth = CELL.impedance(found.spectrum.frequency_Hz)
        errors.append(np.abs(found.spectrum.impedance_Ohm / truth - 1.0))
    assert np.mean(hits) >= 0.90
    assert np.median(errors) < 0.025
    # Single tones may be worse than the mean, but none is ever far off.
    assert np.min(np.mean(hits, axis=0)) >= 0.5


def test_sines_of_a_device_need_no_correction():
    """Readings at random times: no grid, no hold."""
    chance = np.random.default_rng(3)
    f_Hz = SINES.frequency_Hz
    t_s = np.sort(chance.uniform(0.0, SINES.duration_s + SINES.period_s, 6000))
    tones = SINES.amplitude_A * np.exp(1j * (2.0 * np.pi * np.outer(t_s, f_Hz) + SINES.phases))
    readings = Readings(
        t_s=t_s,
        current_A=np.sum(tones.real, axis=1) + NOISE_A * chance.normal(size=t_s.size),
        voltage_V=3.8
        + np.sum((tones * CELL.impedance(f_Hz)).real, axis=1)
        + 1e-6 * t_s
        + NOISE_V * chance.normal(size=t_s.size),
        started_s=0.0,
    )
    found = measure(readings, SINES)
    assert np.mean(np.abs(normalised(found)) <= 1.96) >= 0.85
    assert np.all(found.spectrum.u_Ohm < 0.01 * np.abs(found.spectrum.impedance_Ohm))
    assert found.halves_differ < 2.0
    assert found.drift_V == pytest.approx(1e-6 * 5 * SINES.period_s, rel=0.3)


def test_a_known_ohmic_part_takes_the_images_off():
    errors = []
    for ohmic_Ohm in (None, 12.3):
        readings = logged(STAIRCASE, per_step=1, averaging_s=0.0)
        found = measure(readings, STAIRCASE, ohmic_Ohm=ohmic_Ohm)
        truth = CELL.impedance(found.spectrum.frequency_Hz)
        errors.append(abs(found.spectrum.impedance_Ohm[0] / truth[0] - 1.0))
    assert errors[1] < 0.35 * errors[0]


def test_stepped_sine_gives_the_same_spectrum():
    tones = stepped_sine(CAPABILITIES, replace(WANTED, lowest_Hz=0.05), per_decade=3)
    spectrum = joined([measure(logged(tone), tone) for tone in tones])
    truth = CELL.impedance(spectrum.frequency_Hz)
    assert spectrum.frequency_Hz.size == 4
    assert np.max(np.abs(spectrum.impedance_Ohm / truth - 1.0)) < 0.005
    assert np.mean(np.abs(spectrum.impedance_Ohm - truth) <= 2.45 * spectrum.u_Ohm) >= 0.75


# -- indicators -----------------------------------------------------------------------------------


def test_a_bent_answer_is_called_distorted():
    found = measure(logged(STAIRCASE, curvature_per_V=8.0), STAIRCASE)
    assert found.distorted
    assert found.even_distortion > 0.02 > found.odd_distortion
    [said] = found.remarks()
    assert said.startswith("the cell did not answer linearly (")
    assert f"{found.even_distortion:.1%} of the answer at even harmonics" in said
    straight = measure(logged(STAIRCASE), STAIRCASE)
    assert not straight.distorted
    assert straight.remarks() == []
    assert straight.even_distortion < 0.005


def test_a_cell_that_changes_is_called_drifted():
    found = measure(logged(STAIRCASE, aging_per_s=4e-4), STAIRCASE)
    assert found.drifted
    [said] = found.remarks()
    assert f"differ by {found.halves_differ:.2g} times" in said
    still = [measure(logged(STAIRCASE, s), STAIRCASE) for s in range(10)]
    assert not any(one.drifted for one in still)
    assert np.median([one.halves_differ for one in still]) == pytest.approx(1.0, abs=0.25)


def test_three_periods_have_no_halves():
    short = multisine(CAPABILITIES, replace(WANTED, periods=3))
    found = measure(logged(short), short)
    assert math.isnan(found.halves_differ)
    assert not found.drifted


# -- refusals -------------------------------------------------------------------------------------


def cut(readings: Readings, keep) -> Readings:
    return replace(
        readings,
        t_s=readings.t_s[keep],
        current_A=readings.current_A[keep],
        voltage_V=readings.voltage_V[keep],
    )


def test_too_few_periods_are_refused_with_their_number():
    readings = logged(STAIRCASE)
    short = cut(readings, readings.t_s < 3.5 * STAIRCASE.period_s)
    with pytest.raises(ConfigurationError, match="2 whole periods: after the 1 in which"):
        measure(short, STAIRCASE)
    with pytest.raises(ConfigurationError, match="0 whole periods"):
        measure(cut(readings, readings.t_s < 0.0), STAIRCASE)


def test_too_few_readings_are_refused():
    readings = logged(STAIRCASE)
    with pytest.raises(ConfigurationError, match="readings: too few for"):
        measure(cut(readings, np.arange(readings.t_s.size) % 20 == 0), STAIRCASE)


def test_what_drowns_in_noise_is_left_out_or_refused():
    loud = measure(logged(STAIRCASE, noise_V=2.5e-2), STAIRCASE)
    assert loud.left_out
    assert "times its noise, 5 are needed" in loud.left_out[0]
    assert loud.spectrum.frequency_Hz.size + len(loud.left_out) == len(STAIRCASE.harmonics)
    spectrum = loud.spectrum
    assert np.all(np.abs(spectrum.impedance_Ohm) >= 5.0 * 0.5 * spectrum.u_Ohm)
    with pytest.raises(ConfigurationError, match="no tone stands above the noise"):
        measure(logged(STAIRCASE, noise_V=0.5), STAIRCASE)


@pytest.mark.parametrize("gain", [-1.0, 0.0, 1000.0])
def test_a_current_that_is_not_the_excitation_is_refused(gain):
    """Sign turned, output off, mA taken for A."""
    readings = logged(STAIRCASE)
    with pytest.raises(ConfigurationError, match="times what was set"):
        measure(replace(readings, current_A=gain * readings.current_A), STAIRCASE)


def test_bad_rows_are_left_out():
    readings = logged(STAIRCASE)
    whole = measure(readings, STAIRCASE).spectrum
    voltage_V = readings.voltage_V.copy()
    voltage_V[7::50] = np.nan
    t_s = readings.t_s.copy()
    t_s[11::60] = np.inf
    holes = measure(replace(readings, voltage_V=voltage_V, t_s=t_s), STAIRCASE).spectrum
    assert holes.impedance_Ohm == pytest.approx(whole.impedance_Ohm, rel=3e-3)
    mixed = np.random.default_rng(1).permutation(readings.t_s.size)
    again = measure(cut(readings, mixed), STAIRCASE).spectrum
    assert again.impedance_Ohm == pytest.approx(whole.impedance_Ohm, rel=1e-9)


def test_time_may_begin_anywhere():
    readings = logged(STAIRCASE)
    later = replace(readings, t_s=readings.t_s + 1e6, started_s=1e6)
    assert measure(later, STAIRCASE).spectrum.impedance_Ohm == pytest.approx(
        measure(readings, STAIRCASE).spectrum.impedance_Ohm, rel=1e-6
    )
