"""Designed currents: grid, amplitude, charge, and what a tier cannot do."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from controller.domain.capabilities import ControlTier
from controller.domain.errors import ConfigurationError
from controller.estimation.impedance.excitation import (
    Excitation,
    Wanted,
    highest_frequency_Hz,
    multisine,
    shortest_hold_s,
    stepped_sine,
)
from tests.unit.fake_cycler import CAPABILITIES

WANTED = Wanted(lowest_Hz=5e-3, highest_Hz=0.5, resistance_Ohm=50.0, max_current_A=1e-3)
MAKES_SINES = replace(CAPABILITIES, eis=True)


def crest_factor(e: Excitation) -> float:
    """Peak over root mean square; of one sine 1.414."""
    return e.peak_A / (e.amplitude_A * math.sqrt(0.5 * len(e.harmonics)))


def swing_Ah(e: Excitation) -> float:
    """Largest charge between two moments of a period."""
    charge_As = np.concatenate([[0.0], np.cumsum(e.levels_A) * e.period_s / e.levels_A.size])
    return float(charge_As.max() - charge_As.min()) / 3600.0


def test_a_staircase_reproduces_its_tones_and_nothing_between():
    e = multisine(CAPABILITIES, WANTED)
    assert e.hold_s == CAPABILITIES.update_period_s
    assert e.levels_A.size % 2 == 0
    assert e.fundamental_Hz == pytest.approx(1.0 / (e.levels_A.size * e.hold_s))
    assert e.fundamental_Hz == pytest.approx(5e-3, rel=0.01)
    assert all(h % 2 == 1 for h in e.harmonics)
    assert e.frequency_Hz[-1] <= 0.5 < e.frequency_Hz[-1] + 2 * e.fundamental_Hz
    amplitudes = 2.0 * np.abs(np.fft.rfft(e.levels_A)) / e.levels_A.size
    tones = np.zeros(amplitudes.size)
    tones[list(e.harmonics)] = e.amplitude_A
    assert amplitudes == pytest.approx(tones, abs=1e-9 * e.amplitude_A)
    gaps = np.diff(np.log10(e.frequency_Hz[2:]))
    assert np.all(gaps < 0.32)  # about five a decade, once there are odd harmonics enough


def test_no_net_charge_and_the_wanted_answer():
    e = multisine(CAPABILITIES, WANTED)
    assert abs(math.fsum(e.levels_A)) < 1e-12 * e.peak_A * e.levels_A.size
    assert e.response_V == pytest.approx(0.01)
    assert e.peak_A == pytest.approx(0.01 / 50.0)
    assert e.current_range_A == 1e-3
    assert e.duration_s == pytest.approx(5 * e.period_s)


def test_the_peak_is_far_below_tones_in_phase():
    e = multisine(CAPABILITIES, WANTED)
    in_phase = math.sqrt(2.0 * len(e.harmonics))
    assert 1.0 < crest_factor(e) < 0.55 * in_phase
    assert multisine(CAPABILITIES, WANTED).levels_A.tolist() == e.levels_A.tolist()


@pytest.mark.parametrize(
    ("changed", "peak_A"),
    [
        ({"max_current_A": 1e-4}, 1e-4),
        ({"max_charge_Ah": 1e-7}, None),
    ],
)
def test_limits_make_the_current_smaller(changed, peak_A):
    e = multisine(CAPABILITIES, replace(WANTED, **changed))
    assert e.response_V < 0.01
    assert e.response_V == pytest.approx(50.0 * e.peak_A)
    if peak_A is not None:
        assert e.peak_A == pytest.approx(peak_A)
    assert swing_Ah(e) <= 1.0001 * replace(WANTED, **changed).max_charge_Ah


def test_stepped_sine_takes_the_tones_one_by_one():
    tones = stepped_sine(CAPABILITIES, WANTED)
    f_Hz = [one.fundamental_Hz for one in tones]
    assert f_Hz == sorted(f_Hz, reverse=True)
    assert len(set(f_Hz)) == len(f_Hz) == 11
    assert f_Hz[0] == pytest.approx(0.5)
    assert f_Hz[-1] == pytest.approx(5e-3, rel=0.01)
    for one in tones:
        assert one.harmonics == (1,)
        assert crest_factor(one) <= math.sqrt(2.0) * (1 + 1e-9)
        assert abs(math.fsum(one.levels_A)) < 1e-12


@pytest.mark.parametrize(
    ("changed", "hold_s"),
    [
        ({}, 0.2),
        ({"tier": ControlTier.SCHEDULE_WITH_VARIABLES}, 0.2),
        ({"tier": ControlTier.COMPILED_SCHEDULE}, 0.01),
        ({"tier": ControlTier.ON_DEVICE_SCRIPT}, 0.01),
        ({"tier": ControlTier.ON_DEVICE_SCRIPT, "min_device_timed_pulse_s": math.nan}, 1.0),
        ({"eis": True}, 0.0),
    ],
)
def test_the_hold_of_each_tier(changed, hold_s):
    cycler = replace(CAPABILITIES, **changed)
    assert shortest_hold_s(cycler) == hold_s
    reachable_Hz = highest_frequency_Hz(cycler)
    assert reachable_Hz == (math.inf if hold_s == 0.0 else pytest.approx(0.1 / hold_s))


def test_a_device_that_makes_sines_has_no_hold():
    e = multisine(MAKES_SINES, replace(WANTED, lowest_Hz=1.0, highest_Hz=1000.0))
    assert e.hold_s == 0.0
    assert e.fundamental_Hz == 1.0
    assert 990 < e.harmonics[-1] <= 1000
    assert e.levels_A.size >= 16 * e.harmonics[-1]
    tones = stepped_sine(MAKES_SINES, replace(WANTED, lowest_Hz=1.0, highest_Hz=1000.0))
    assert [round(one.fundamental_Hz, 6) for one in tones][::5] == [1000.0, 100.0, 10.0, 1.0]


def test_polling_once_a_second_reaches_a_tenth_of_a_hertz():
    slow = replace(CAPABILITIES, update_period_s=1.0)
    assert multisine(slow, replace(WANTED, highest_Hz=0.1)).frequency_Hz[-1] <= 0.1
    with pytest.raises(ConfigurationError) as refused:
        multisine(slow, WANTED)
    (fault,) = refused.value.faults
    assert fault.key == "highest_Hz"
    assert "every 1 s" in fault.problem
    assert "nothing above 0.1 Hz" in fault.problem
    assert fault.remedy == "at most 0.1"
    with pytest.raises(ConfigurationError, match=r"nothing above 0\.1 Hz"):
        stepped_sine(slow, WANTED)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"lowest_Hz": 0.6}, "lowest_Hz: 0.6 is not below 0.5"),
        ({"lowest_Hz": 0.0}, "lowest_Hz: 0.0 is not a positive number"),
        ({"resistance_Ohm": math.nan}, "resistance_Ohm: nan is not a positive number"),
        ({"response_V": 0.02}, "response_V: 0.02 V: a cell is not linear"),
        ({"max_current_A": 1e-6}, "max_current_A: 1e-06 A at most gives 0.05 mV"),
        ({"max_charge_Ah": 1e-10}, "max_charge_Ah: at 0.005 Hz it leaves"),
        ({"periods": 2}, "periods: 2 leave no lines"),
        ({"lowest_Hz": 1e-6}, "lowest_Hz: .* set-points a period are more than"),
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(changed, said):
    with pytest.raises(ConfigurationError, match=said):
        multisine(CAPABILITIES, replace(WANTED, **changed))


def test_a_current_that_no_range_resolves_is_refused():
    coarse = replace(CAPABILITIES, current_ranges_A=(1.0, 10.0))
    with pytest.raises(ConfigurationError, match=r"below 0\.001 of the smallest range, 1 A"):
        multisine(coarse, WANTED)
    with pytest.raises(ConfigurationError) as refused:
        multisine(CAPABILITIES, replace(WANTED, periods=1, response_V=1.0, lowest_Hz=2.0))
    assert {fault.key for fault in refused.value.faults} == {"lowest_Hz", "periods", "response_V"}
