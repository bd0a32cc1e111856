"""Features on voltages made of the very thing that is looked for."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from controller.domain.cell import CellFormat
from controller.estimation.files.features import (
    HalfCycle,
    capacity_peaks,
    cycle_features,
    end_of_strip_knee,
    noise_V,
    nucleation_dip,
    plateau_length,
    relaxation,
    second_plateau,
    self_discharge,
)

NOISE_V = 2e-4


def half(voltage_V, *, current_A=1e-3, seconds=3600.0, seed=0, noise=NOISE_V):
    """Return a half cycle of 1 mAh whose voltage is a function of the share of its charge."""
    n = voltage_V.size
    t_s = np.linspace(seconds / n, seconds, n)
    random = np.random.default_rng(seed)
    return HalfCycle(
        t_s=t_s,
        current_A=np.full(n, current_A),
        voltage_V=voltage_V + noise * random.standard_normal(n),
        charge_Ah=np.abs(current_A) * t_s / 3600.0,
    )


def part(t_s, current_A, voltage_V, charge_Ah):
    return HalfCycle(t_s=t_s, current_A=current_A, voltage_V=voltage_V, charge_Ah=charge_Ah)


SHARE = np.linspace(0.001, 1.0, 2000)


def test_noise_is_that_of_a_reading_whatever_the_course():
    assert noise_V(half(3.5 + SHARE**2).voltage_V) == pytest.approx(NOISE_V, rel=0.1)


@pytest.mark.parametrize("depth_V", [0.003, 0.05])
def test_nucleation_dip(depth_V):
    voltage_V = 0.03 + depth_V * np.exp(-(((SHARE - 0.01) / 0.004) ** 2))
    depth, place = nucleation_dip(half(voltage_V))
    assert depth.value == pytest.approx(depth_V, abs=4.0 * NOISE_V)
    assert place.value == pytest.approx(1e-5, abs=3e-6)
    assert abs(depth.value - depth_V) < 4.0 * depth.u


def test_no_dip_is_said_where_there_is_none():
    depth, _ = nucleation_dip(half(0.03 + 0.2 * SHARE, noise=1e-3))
    assert not depth.known
    assert "no dip beyond" in depth.reason
    few = part(*(np.ones(3) for _ in range(4)))
    assert "fewer than four" in nucleation_dip(few)[0].reason


def test_the_dip_of_a_strip_is_looked_for_the_other_way():
    voltage_V = -(0.03 + 0.02 * np.exp(-(((SHARE - 0.01) / 0.004) ** 2)))
    assert nucleation_dip(half(voltage_V, current_A=-1e-3))[0].value == pytest.approx(
        0.02, abs=1e-3
    )


def test_plateau_length():
    voltage_V = np.where(SHARE < 0.2, 3.0 + 2.0 * SHARE, np.where(SHARE < 0.7, 3.4, 3.4 + 2.0 * (SHARE - 0.7)))  # fmt: skip
    assert plateau_length(half(voltage_V)).value == pytest.approx(0.51e-3, abs=0.03e-3)


def test_knee_at_the_end_of_a_strip_and_none_on_a_slope():
    fall = np.where(SHARE > 0.99, (SHARE - 0.99) * 60.0, 0.0)
    place, sharp = end_of_strip_knee(half(3.8 - 0.3 * SHARE - fall, current_A=-1e-3))
    assert place.value == pytest.approx(0.99e-3, abs=0.01e-3)
    assert sharp.value == pytest.approx(60.3 / 1e-3, rel=0.15)
    assert "no more than" in end_of_strip_knee(half(3.8 - 0.3 * SHARE, current_A=-1e-3))[0].reason


@pytest.mark.parametrize("noise", [5e-5, 1e-3])
def test_peaks_of_capacity_over_voltage_survive_noise(noise):
    # dQ/dV has a peak of width 20 mV at 3.7 V
    voltage_V = 3.4 + 0.6 * SHARE
    voltage_V -= 0.03 * np.tanh((voltage_V - 3.7) / 0.04)
    (place, height), *_ = capacity_peaks(half(voltage_V, noise=noise))
    assert place.value == pytest.approx(3.7, abs=0.02)
    assert height.value > 1e-3 / 0.54
    assert capacity_peaks(half(3.4 + 0.6 * SHARE, noise=noise)) == []


def test_relaxation_names_the_law_and_its_slope():
    t_s = np.arange(1.0, 3601.0)
    rest = HalfCycle(
        t_s=t_s,
        current_A=np.zeros(3600),
        voltage_V=4.0 - 0.02 * np.sqrt(t_s / 3600.0) + 1e-5 * np.random.default_rng(1).standard_normal(3600),
        charge_Ah=np.zeros(3600),
    )  # fmt: skip
    drop, slow, law = relaxation(rest, 4.05)
    assert law == "sqrt(t)"
    assert slow.value == pytest.approx(0.02, rel=0.01)
    assert drop.value == pytest.approx(0.05 + 0.02 * math.sqrt(10.0 / 3600.0), abs=1e-4)
    logarithmic = part(t_s, rest.current_A, 4.0 - 0.003 * np.log(t_s), rest.charge_Ah)
    assert relaxation(logarithmic, 4.05)[2] == "log(t)"


def test_self_discharge_in_volts_an_hour_with_its_uncertainty():
    t_s = np.arange(1.0, 3601.0)
    misses = 0
    for seed in range(40):
        noise = 2e-4 * np.random.default_rng(seed).standard_normal(3600)
        rest = part(t_s, np.zeros(3600), 4.0 - 0.01 * t_s / 3600.0 + noise, np.zeros(3600))
        found = self_discharge(rest)
        misses += abs(found.value - 0.01) > 2.0 * found.u
    assert misses <= 6  # 2 expected; more than 6 has 1 %


def test_second_plateau_where_moss_is_exhausted():
    voltage_V = -np.where(SHARE < 0.6, 0.030, 0.045)
    place, rise = second_plateau(half(voltage_V, current_A=-1e-3), CellFormat.LI_LI)
    assert place.value == pytest.approx(0.6e-3, abs=0.01e-3)
    assert rise.value == pytest.approx(0.015, abs=1e-3)
    ramp = half(-(0.030 + 0.015 * SHARE), current_A=-1e-3)
    assert "slope without a step" in second_plateau(ramp, CellFormat.LI_LI)[0].reason
    assert "polarisation alone" in second_plateau(ramp, CellFormat.ANODE_FREE)[0].reason
    nothing = replace(ramp, charge_Ah=0.0 * ramp.charge_Ah)  # under a clock that stood
    assert "readings with charge" in second_plateau(nothing, CellFormat.LI_LI)[0].reason


def test_what_a_cycle_lacks_is_said():
    features = cycle_features(
        None, half(3.8 - SHARE, current_A=-1e-3), None, None, CellFormat.LI_CU
    )
    assert features["nucleation_dip_V"].reason == "the cycle has no such part"
    assert features["charged_decay_V_per_h"].reason
    assert all(one.known != bool(one.reason) for one in features.values())
