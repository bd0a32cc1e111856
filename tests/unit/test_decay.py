"""The decay of a charged rest, on voltages written down as formulas."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, TAG_BASE
from controller.domain.sample import LIMIT_CURRENT, OUTPUT_ON, Sample
from controller.estimation import running
from controller.estimation.decay import (
    BLOCKS,
    DRIFT_V_PER_H,
    LEAST_H,
    LEAST_SLOPE_V,
    MOST_SLOPE_V,
    SLOPE_U,
    SLOPE_U_HELD,
    Rests,
    drop_kept,
    forget_rest,
    new_rests,
    observe_rests,
    self_discharge,
)

NOMINAL_AH = 3e-3
SLOPE_V = 0.9  # per nominal capacity
UPPER_V = 4.3
PERIOD_S = 60.0


def charge(
    s: Rests, *, slope_V: float = SLOPE_V, to_V: float = 3.8, sign: float = 1.0, held: int = 0
) -> None:
    """Pass half of nominal capacity at C/3 on a straight line that ends at `to_V`; then hold."""
    step_Ah = sign * NOMINAL_AH / 180.0
    for k in range(-90, 1):
        voltage_V = to_V + sign * slope_V * k / 180.0
        observe_rests(s, PERIOD_S, step_Ah, voltage_V, 0, 0)
    for k in range(20 * held):
        observe_rests(s, PERIOD_S, step_Ah * 0.8**k, to_V, 0, 1)


def rest(
    s: Rests,
    hours: float,
    voltage_V: Callable[[float], float],
    *,
    period_s: float = PERIOD_S,
    noise_V: float = 0.0,
) -> None:
    """Rest, and end the rest with a current."""
    noise = np.random.default_rng(1)
    readings = round(hours * 3600.0 / period_s)
    for k in range(1, readings + 1):
        added_V = noise_V * float(noise.standard_normal())
        observe_rests(s, period_s, 0.0, voltage_V(k * period_s / 3600.0) + added_V, 1, 0)
    observe_rests(s, period_s, 1e-5, 3.8, 0, 0)


def falling(rate_per_h: float) -> Callable[[float], float]:
    return lambda h: 3.75 - SLOPE_V * rate_per_h * h


@pytest.mark.parametrize("hours", [1.0, 1.7, 4.0, 30.0])
@pytest.mark.parametrize("period_s", [5.0, 60.0])
def test_a_straight_fall_is_the_current_times_the_slope(hours: float, period_s: float) -> None:
    s = new_rests(NOMINAL_AH)
    charge(s)
    rest(s, hours, falling(1e-3), period_s=period_s)
    found = self_discharge(s, UPPER_V)
    assert found is not None
    assert found.current_A == pytest.approx(1e-3 * NOMINAL_AH, rel=1e-6)
    assert found.u_A == pytest.approx(DRIFT_V_PER_H / SLOPE_V * NOMINAL_AH, rel=1e-6)
    assert found.slope_u == SLOPE_U
    below_V = UPPER_V - (3.75 - 0.5e-3 * SLOPE_V * hours)
    assert found.oxidation_most == pytest.approx(3.0 ** (-below_V / 0.1), rel=0.01)


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("law", [lambda h: math.exp(-h / 0.8), lambda h: -0.2 * math.log(h)])
def test_relaxation_is_in_the_uncertainty(sign: float, law: Callable[[float], float]) -> None:
    """After a charge the voltage relaxes downwards, after a discharge upwards."""
    s = new_rests(NOMINAL_AH)
    charge(s, sign=sign)
    rest(s, 4.0, lambda h: falling(1e-3)(h) + sign * 0.02 * law(h))
    found = self_discharge(s, UPPER_V)
    assert found is not None
    assert abs(found.current_A - 1e-3 * NOMINAL_AH) < 2.0 * found.u_A
    assert found.u_A > DRIFT_V_PER_H / SLOPE_V * NOMINAL_AH


def test_noise_is_in_the_uncertainty() -> None:
    s = new_rests(NOMINAL_AH)
    charge(s)
    rest(s, 1.0, falling(1e-3), noise_V=1e-3)
    found = self_discharge(s, UPPER_V)
    assert found is not None
    # 20 readings over a third of an hour
    u_slope = 1e-3 / math.sqrt(20.0) / (math.sqrt(1.0 / 12.0) / 3.0)
    assert found.u_A * SLOPE_V / NOMINAL_AH == pytest.approx(math.hypot(1.75, 0.75) * u_slope, rel=0.6)  # fmt: skip
    assert abs(found.current_A - 1e-3 * NOMINAL_AH) < 3.0 * found.u_A


def test_after_a_hold_the_slope_is_less_certain() -> None:
    s = new_rests(NOMINAL_AH)
    charge(s, held=1)
    rest(s, 2.0, falling(1e-3))
    found = self_discharge(s, UPPER_V)
    assert found is not None
    assert found.slope_u == SLOPE_U_HELD


@pytest.mark.parametrize(
    ("slope_V", "told"),
    [
        (0.98 * LEAST_SLOPE_V, False),
        (1.02 * LEAST_SLOPE_V, True),
        (0.98 * MOST_SLOPE_V, True),
        (1.02 * MOST_SLOPE_V, False),
        (-SLOPE_V, False),
    ],
)
def test_a_plateau_and_a_last_rise_tell_nothing(slope_V: float, told: bool) -> None:
    s = new_rests(NOMINAL_AH)
    charge(s, slope_V=slope_V)
    rest(s, 2.0, falling(1e-3))
    assert (self_discharge(s, UPPER_V) is not None) is told


@pytest.mark.parametrize(("hours", "told"), [(LEAST_H - 0.02, False), (LEAST_H + 0.02, True)])
def test_a_short_rest_tells_nothing(hours: float, told: bool) -> None:
    s = new_rests(NOMINAL_AH)
    charge(s)
    rest(s, hours, falling(1e-3))
    assert (self_discharge(s, UPPER_V) is not None) is told


def test_the_longest_rest_of_a_cycle_counts() -> None:
    s = new_rests(NOMINAL_AH)
    for hours, rate in ((1.5, 2e-3), (3.0, 1e-3), (1.2, 3e-3)):
        charge(s)
        rest(s, hours, falling(rate))
    found = self_discharge(s, UPPER_V)
    assert found is not None
    assert found.current_A == pytest.approx(1e-3 * NOMINAL_AH, rel=1e-6)
    drop_kept(s)
    assert self_discharge(s, UPPER_V) is None


def test_voltages_that_are_missing_tell_nothing() -> None:
    s = new_rests(NOMINAL_AH)
    charge(s)
    rest(s, 4.0, lambda h: falling(1e-3)(h) if h < 2.5 else math.nan)
    assert self_discharge(s, UPPER_V) is None
    charge(s)
    rest(s, 5.0, lambda h: falling(1e-3)(h) if h > 0.2 else math.nan)  # begins without
    found = self_discharge(s, UPPER_V)
    assert found is not None
    assert found.current_A == pytest.approx(1e-3 * NOMINAL_AH, rel=1e-6)


def test_a_rest_that_begins_anew_forgets_the_slope() -> None:
    """After a gap nobody knows what flowed."""
    s = new_rests(NOMINAL_AH)
    charge(s)
    rest(s, 0.5, falling(1e-3))
    charge(s)
    observe_rests(s, PERIOD_S, 0.0, 3.75, 1, 0)
    forget_rest(s)
    rest(s, 3.0, falling(1e-3))
    assert self_discharge(s, UPPER_V) is None


def test_blocks_hold_every_reading_however_long_the_rest() -> None:
    s = new_rests(NOMINAL_AH)
    charge(s)
    rest(s, 100.0, falling(1e-5))
    assert sum(s.kept_n) == 6000.0
    used = [n for n in s.kept_n if n > 0.0]
    assert BLOCKS / 2 <= len(used) <= BLOCKS


def test_a_rest_in_mid_discharge_has_the_slope_of_the_discharge_before_it() -> None:
    """As in a reference test, whose hour at open circuit comes after half of a discharge."""
    cell = running.CellNumbers(NOMINAL_AH, 3.0, 4.3)
    s = running.Running(cell)
    t_s, charge_Ah = 0.0, 0.0
    for kind, current_A, hours in (
        (CHARGE, 1e-3, 3.0),
        (DISCHARGE, -1e-3, 1.5),
        (HOLD_0A, 0.0, 1.5),
        (DISCHARGE, -1e-3, 0.1),
    ):
        for _ in range(int(hours * 3600.0 / PERIOD_S)):
            t_s += PERIOD_S
            charge_Ah += current_A * PERIOD_S / 3600.0
            voltage_V = 3.4 + 0.8 * charge_Ah / NOMINAL_AH
            sample = Sample(
                0, 0, t_s, t_s, 0.0, voltage_V, current_A, 298.15, OUTPUT_ON, LIMIT_CURRENT, 1e-2,
                0.02, 0,
            )  # fmt: skip
            running.observe(s, cell, sample, kind, TAG_BASE)
    assert s.rests.kept_elapsed_h == pytest.approx(1.5, abs=0.02)
    assert s.rests.kept_slope_V_per_Ah * NOMINAL_AH == pytest.approx(0.8, rel=0.02)
