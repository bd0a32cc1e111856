"""Readings pinned at the end of a range, and what stands still by intention."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller.estimation.table import Table
from tests.unit.test_estimation_cycles import CYCLE, full, table


def words(series: Table) -> list[str]:
    return [w for w in full(series).findings if w.startswith("saturated")]


def cc_cv(*, limit_V: float = 4.0, rounded_A: float = 1e-7) -> Table:
    """Constant current to a limit, a hold at it, a rest and a discharge, three times."""
    series = table([(1e-3, 1600.0, 3.5, 4.3), *CYCLE[1:]] * 3, cycles=sorted([1, 2, 3] * 3))
    held = (series.current_A > 0.0) & (series.voltage_V > limit_V)
    over_V = np.where(held, series.voltage_V - limit_V, 0.0)
    current_A = np.where(held, series.current_A * np.exp(-over_V / 0.1), series.current_A)
    current_A = np.round(current_A / rounded_A) * rounded_A
    voltage_V = np.where(held, limit_V, np.round(series.voltage_V, 4))
    return replace(
        series,
        current_A=current_A,
        voltage_V=voltage_V,
        written_current_resolution_A=rounded_A,
    )


@pytest.mark.parametrize(("top_V", "bottom_V"), [(3.9, 0.0), (5.0, 3.2), (3.95, 3.1)])
def test_a_voltage_clipped_under_a_constant_current_is_named(top_V, bottom_V):
    series = table(CYCLE * 3)
    voltage_V = np.round(np.clip(series.voltage_V, bottom_V, top_V), 4)
    analysis = full(replace(series, voltage_V=voltage_V))
    assert any(w.startswith("saturated: ") and "of the voltage" in w for w in analysis.findings)
    assert all("saturated" in c.flags for c in analysis.cycles)
    assert analysis.averaged == ()


def test_only_the_cycle_that_is_clipped_is_left_out():
    series = table(CYCLE * 3)
    voltage_V = np.round(series.voltage_V, 4)
    voltage_V[212:] = np.where(voltage_V[212:] > 3.9, 3.9, voltage_V[212:])
    voltage_V[:212] = np.minimum(voltage_V[:212], 3.89)  # of another range before
    analysis = full(replace(series, voltage_V=voltage_V))
    assert [("saturated" in c.flags) for c in analysis.cycles] == [False, True, True]


@pytest.mark.parametrize("rounded_A", [1e-7, 1e-5, 1e-4])
@pytest.mark.parametrize("limit_V", [4.0, 4.29])
def test_constant_current_and_held_voltage_are_not(limit_V, rounded_A):
    assert words(cc_cv(limit_V=limit_V, rounded_A=rounded_A)) == []
    assert words(table(CYCLE * 3)) == []


def test_a_plateau_logged_in_steps_is_not():
    """A voltage that decays to where it stands still for hours, at the file's end of voltage."""
    series = table([(1e-3, 3600.0, 0.05, 0.05), (-1e-3, 3600.0, -0.05, -0.05)] * 3)
    begins_s = np.array([series.t_s[series.step == step][0] for step in range(6)])
    since_s = series.t_s - begins_s[series.step.astype(int)]
    for tau_s in (2.0, 10.0, 30.0, 300.0):
        moved_V = np.sign(series.current_A) * (0.05 - 0.04 * np.exp(-since_s / tau_s))
        for step_V in (1e-3, 1e-4):
            assert words(replace(series, voltage_V=np.round(moved_V / step_V) * step_V)) == []


def test_a_current_clipped_at_the_begin_of_a_hold_is_named():
    """A charge at 4.1 V from the start: the log stops at 1 mA where 3 mA flowed."""
    series = table([(1e-3, 1500.0, 4.1, 4.1), (0.0, 100.0, 4.0, 4.0), CYCLE[2]] * 3)
    begins_s = np.array([series.t_s[series.step == step][0] for step in range(9)])
    since_s = series.t_s - begins_s[series.step.astype(int)]
    decays_A = 3e-3 * np.exp(-since_s / 300.0)
    for most_A, clipped in ((1e-3, True), (9.0, False)):
        charging = series.current_A > 0.0
        current_A = np.where(charging, np.minimum(decays_A, most_A), series.current_A)
        series_like = replace(series, current_A=np.round(current_A, 7))
        assert bool(words(series_like)) is clipped
        assert any("saturated" in c.flags for c in full(series_like).cycles) is clipped


def test_a_current_clipped_within_a_hold_that_a_constant_current_led_to_is_named():
    series = cc_cv(limit_V=3.8)
    assert words(series) == []
    current_A = np.minimum(series.current_A, 0.2e-3)
    (found,) = words(replace(series, current_A=current_A))
    assert "of the current stand at 0.0002 A" in found


@pytest.mark.parametrize("commanded", [False, True])
def test_a_flat_top_of_a_wave_is_clipped_only_where_the_voltage_goes_on(commanded):
    t_s = np.arange(0.0, 7200.0, 5.0)
    wave_A = 2e-3 * np.sin(2.0 * np.pi * t_s / 600.0)
    logged_A = np.clip(wave_A, -1.5e-3, 1.5e-3)
    flows_A = logged_A if commanded else wave_A
    charge_As = np.concatenate(([0.0], np.cumsum(0.5 * (flows_A[1:] + flows_A[:-1]) * 5.0)))
    voltage_V = np.round(3.7 + 0.2 * charge_As + 60.0 * flows_A, 4)
    series = Table(
        source="made",
        layout="made",
        t_s=t_s,
        current_A=np.round(logged_A, 7),
        voltage_V=voltage_V,
        written_current_resolution_A=1e-7,
    )
    assert any("of the current stand at" in w for w in words(series)) is not commanded
