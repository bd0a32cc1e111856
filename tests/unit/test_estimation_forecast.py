"""The forecast of efficiency: its distributions, its models across cycles, its use of the curve."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.cell import CellFormat
from controller.estimation import forecast
from controller.estimation.curve import LEVELS, Curve, begin_curve, new_curve, observe_curve
from controller.estimation.forecast import (
    Forecast,
    ForecastState,
    ForecastStatus,
    at_start,
    close_forecast,
    in_discharge,
)
from controller.estimation.mixture import Mixture, blend, normal, student

NOMINAL_AH = 3e-3
FORMAT = CellFormat.ANODE_FREE
NORMAL_CRPS_AT_MEAN = (math.sqrt(2.0) - 1.0) / math.sqrt(math.pi)


# -- mixtures ---------------------------------------------------------------------------------


def crps_by_integral(mixture: Mixture, x: float) -> float:
    grid = np.linspace(x - 60.0, x + 60.0, 200_001)
    below = np.array([mixture.weights @ (0.5 * (1.0 + erf((g - mixture.means) / mixture.sds))) for g in grid])  # fmt: skip
    return float(np.sum((below - (grid >= x)) ** 2) * (grid[1] - grid[0]))


def erf(z: np.ndarray) -> np.ndarray:
    return np.array([math.erf(one / math.sqrt(2.0)) for one in z])


def test_crps_is_the_integral_it_stands_for():
    mixture = blend([(0.3, normal(-1.0, 0.5)), (0.7, normal(2.0, 1.5))])
    for x in (-3.0, 0.4, 2.5):
        assert mixture.crps(x) == pytest.approx(crps_by_integral(mixture, x), abs=2e-3)
    assert normal(5.0, 2.0).crps(5.0) == pytest.approx(2.0 * NORMAL_CRPS_AT_MEAN)


def test_moments_quantiles_and_intervals():
    mixture = blend([(1.0, normal(0.0, 1.0)), (1.0, normal(4.0, 1.0))])
    assert mixture.mean == pytest.approx(2.0)
    assert mixture.sd == pytest.approx(math.sqrt(5.0))
    assert mixture.quantile(0.5) == pytest.approx(2.0)
    assert normal(1.0, 2.0).interval() == pytest.approx((1.0 - 3.92, 1.0 + 3.92), abs=1e-3)
    assert mixture.cdf(mixture.quantile(0.1)) == pytest.approx(0.1)


@pytest.mark.parametrize(("freedom", "quantile"), [(3.0, 3.182), (5.0, 2.571), (30.0, 2.042)])
def test_a_student_t_is_near_enough(freedom, quantile):
    low, high = student(0.0, 1.0, freedom).interval()
    assert high == pytest.approx(quantile, rel=0.08)
    assert low == pytest.approx(-high)


def test_an_observation_moves_and_weighs_the_parts():
    two = blend([(0.9, normal(0.0, 0.1)), (0.1, normal(3.0, 1.0))])
    seen = two.given([(1.0, 3.0, 0.1)])
    assert seen.mean == pytest.approx(3.0, abs=0.02)
    one = normal(0.0, 1.0).given([(1.0, 1.0, 1.0)])
    assert (one.mean, one.sd) == (pytest.approx(0.5), pytest.approx(math.sqrt(0.5)))
    torn = normal(0.0, 0.01).given([(0.9, 5.0, 0.1), (0.1, 5.0, 10.0)])
    assert abs(torn.mean) < 0.01


def test_above_a_bound_and_where_it_had_been_ruled_out():
    cut = normal(0.0, 1.0).above(0.0)
    assert cut.mean == pytest.approx(math.sqrt(2.0 / math.pi))
    assert cut.sd == pytest.approx(math.sqrt(1.0 - 2.0 / math.pi))
    assert normal(0.0, 1e-3).above(1.0).mean >= 1.0
    assert normal(0.0, 1.0).above(-50.0).mean == pytest.approx(0.0)


def test_sums_and_ratios():
    total = normal(1.0, 3.0).plus(normal(2.0, 4.0))
    assert (total.mean, total.sd) == (pytest.approx(3.0), pytest.approx(5.0))
    ratio = normal(math.log(2.0), 0.01).exponential(4.0)
    assert (ratio.mean, ratio.sd) == (pytest.approx(0.5), pytest.approx(0.005))


# -- the curve ----------------------------------------------------------------------------------


def discharge(curve: Curve, ends_Ah: float, *, knee_Ah: float, rows: int = 400) -> None:
    """A line from 4.2 V down to 3.6 V and, over the last `knee_Ah`, to the cut-off."""
    begin_curve(curve)
    previous_Ah = 0.0
    for charge_Ah in np.linspace(0.0, ends_Ah, rows + 1)[1:]:
        voltage_V = 4.2 - 0.6 * charge_Ah / ends_Ah
        left_Ah = ends_Ah - charge_Ah
        if left_Ah < knee_Ah:
            voltage_V = 3.0 + 0.6 * left_Ah / knee_Ah
        observe_curve(curve, charge_Ah - previous_Ah, float(voltage_V))
        previous_Ah = float(charge_Ah)


def test_levels_are_passed_where_the_line_crosses_them():
    curve = new_curve(3.0, 4.3, NOMINAL_AH)
    discharge(curve, 2.7e-3, knee_Ah=1e-4)
    level_V = 3.0 + np.arange(LEVELS) * (4.3 - 3.0) / LEVELS
    at_Ah = np.array(curve.at_level_Ah)
    on_line = (level_V > 3.62) & (level_V < 4.19)
    assert at_Ah[on_line] == pytest.approx((4.2 - level_V[on_line]) / 0.6 * 2.7e-3, rel=1e-9)
    assert np.all(np.diff(at_Ah[level_V < 4.19]) < 0.0)
    assert curve.lowest == 0
    assert 2.6e-3 < curve.knee_Ah < 2.65e-3


@pytest.mark.parametrize("voltage_V", [math.nan, math.inf, -math.inf, 1e9])
def test_a_voltage_that_is_none_leaves_the_curve_but_counts_the_charge(voltage_V):
    curve = new_curve(3.0, 4.3, NOMINAL_AH)
    observe_curve(curve, 1e-5, 4.0)
    before = list(curve.at_level_Ah)
    observe_curve(curve, 1e-5, voltage_V)
    assert curve.charge_Ah == pytest.approx(2e-5)
    assert curve.at_level_Ah == before
    for charge_Ah in (math.nan, -1.0, math.inf, 1.0):
        observe_curve(curve, charge_Ah, 3.9)
    assert curve.charge_Ah == pytest.approx(2e-5)


def test_a_straight_line_has_no_knee():
    curve = new_curve(3.0, 4.3, NOMINAL_AH)
    begin_curve(curve)
    for k in range(500):
        observe_curve(curve, 5e-6, 4.2 - 0.0024 * k)
    assert curve.knee_Ah < 0.0


# -- across cycles --------------------------------------------------------------------------------


def lived(pairs: list[tuple[float, float]], state: ForecastState | None = None) -> ForecastState:
    state = state or ForecastState()
    for charge_Ah, discharge_Ah in pairs:
        state = close_forecast(state, charge_Ah, discharge_Ah)
    return state


def efficiency_at_start(state: ForecastState, charge_Ah: float, kind: str = "base") -> Mixture:
    found = at_start(state, FORMAT, charge_Ah, kind)
    assert found is not None
    assert found.efficiency is not None
    return found.efficiency


def fading(cycles: int, efficiency: float, noise: float = 0.0, seed: int = 1):
    """An anode-limited cell: each charge is what the last discharge left of it."""
    random = np.random.default_rng(seed)
    out, charge_Ah = [], 3e-3
    for _ in range(cycles):
        discharge_Ah = charge_Ah * (efficiency + noise * random.standard_normal())
        out.append((charge_Ah, discharge_Ah))
        charge_Ah = discharge_Ah
    return out


def test_before_three_cycles_it_cannot_tell_and_says_a_wide_prior():
    state = lived(fading(2, 0.98))
    found = at_start(state, FORMAT, 3e-3)
    assert found is not None
    assert found.status is ForecastStatus.CANNOT_TELL
    assert found.efficiency is not None
    low, high = found.efficiency.interval()
    assert low < 0.85
    assert high > 1.0
    told = at_start(lived(fading(3, 0.98)), FORMAT, 3e-3)
    assert told is not None
    assert told.status is ForecastStatus.NO_KNEE


def test_nothing_is_said_without_charge_before_any_cycle():
    assert at_start(ForecastState(), FORMAT, 0.0) is None
    assert close_forecast(ForecastState(), math.nan, 1.0) == ForecastState()
    assert close_forecast(ForecastState(), 1.0, 0.0) == ForecastState()


def test_no_efficiency_between_two_foils():
    found = at_start(lived(fading(5, 0.98)), CellFormat.LI_LI, 3e-3)
    assert found is not None
    assert found.efficiency is None
    assert found.discharge_Ah.mean > 0.0


def test_where_the_anode_ends_it_follows_the_charge_put_in():
    state = lived(fading(12, 0.985, 1e-4))
    less = efficiency_at_start(state, 2e-3)
    assert less.quantile(0.5) == pytest.approx(0.985, abs=5e-4)


def test_where_the_cathode_ends_it_follows_the_capacity():
    random = np.random.default_rng(3)
    noise = random.standard_normal((12, 2))
    pairs = [(2.8e-3 * (1.0 + 0.02 * a), 2.75e-3 * (1.0 + 1e-4 * b)) for a, b in noise.tolist()]
    found = efficiency_at_start(lived(pairs), 3e-3)
    assert found.quantile(0.5) == pytest.approx(2.75 / 3.0, abs=5e-4)
    low, high = found.interval()
    assert high - low < 0.01


def test_a_large_first_step_is_soon_forgotten():
    """As a cell's first cycle is often: 5 % off, and then 1e-4 from one to the next."""
    steady = fading(6, 0.985, 1e-4)
    odd_first = [(steady[0][0], 0.95 * steady[0][1]), *steady[1:]]
    mixture = efficiency_at_start(lived(odd_first), 3e-3)
    assert mixture.quantile(0.5) == pytest.approx(0.985, abs=5e-4)
    assert mixture.quantile(0.9) - mixture.quantile(0.1) < 3e-3


def test_a_trend_is_followed():
    pairs = [(3e-3, 3e-3 * (0.99 - 0.0005 * k)) for k in range(14)]
    assert efficiency_at_start(lived(pairs), 3e-3).quantile(0.5) == pytest.approx(0.983, abs=1e-4)


def test_after_a_jump_both_the_old_and_the_new_are_possible_then_the_new():
    state = lived(fading(12, 0.99, 1e-4))
    charge_Ah = 2.5e-3
    state = close_forecast(state, charge_Ah, 0.97 * charge_Ah)
    assert state.rivals
    low, high = efficiency_at_start(state, charge_Ah).interval()
    assert low < 0.97
    assert high > 0.99
    for _ in range(3):
        state = close_forecast(state, charge_Ah, 0.97 * charge_Ah)
    assert not state.rivals
    assert efficiency_at_start(state, charge_Ah).quantile(0.5) == pytest.approx(0.97, abs=1e-3)


def test_another_kind_teaches_its_own_effect_and_leaves_the_base_alone():
    state = lived(fading(10, 0.985, 1e-4))
    base = efficiency_at_start(state, 3e-3).quantile(0.5)
    for _ in range(3):
        unseen = efficiency_at_start(state, 3e-3, "treatment").interval()
        state = close_forecast(state, 3e-3, 3e-3 * (base + 0.02), kind="treatment")
        state = close_forecast(state, 3e-3, 3e-3 * base)
    assert efficiency_at_start(state, 3e-3).quantile(0.5) == pytest.approx(base, abs=5e-4)
    treated = efficiency_at_start(state, 3e-3, "treatment")
    assert treated.quantile(0.5) == pytest.approx(base + 0.02, abs=2e-3)
    assert unseen[0] < base + 0.02 < unseen[1]


def test_the_state_is_constant_in_size_and_goes_through_json():
    short, long = lived(fading(10, 0.985, 1e-4)), lived(fading(60, 0.995, 1e-4))
    curve = new_curve(3.0, 4.3, NOMINAL_AH)
    discharge(curve, 2.7e-3, knee_Ah=1e-4)
    short = close_forecast(short, 3e-3, 2.7e-3, curve)
    again = forecast.from_dict(json.loads(json.dumps(forecast.to_dict(short))))
    assert again == short
    sizes = [len(json.dumps(forecast.to_dict(one))) for one in (lived(fading(12, 0.98)), long)]
    assert max(sizes) < 64 * 1024
    assert len(long.models) == len(short.models) == len(forecast.WAYS)


# -- within a discharge -----------------------------------------------------------------------------


def with_curves(ends_mAh: list[float]) -> tuple[ForecastState, Curve]:
    state = ForecastState()
    curve = new_curve(3.0, 4.3, NOMINAL_AH)
    for ends in ends_mAh:
        discharge(curve, 1e-3 * ends, knee_Ah=1e-4)
        state = close_forecast(state, 3e-3, 1e-3 * ends, curve)
    return state, curve


def ran_to(curve: Curve, ends_Ah: float, share: float) -> None:
    begin_curve(curve)
    previous_Ah = 0.0
    for charge_Ah in np.linspace(0.0, ends_Ah, 2001)[1:]:
        if charge_Ah > share * ends_Ah:
            break
        voltage_V = 4.2 - 0.6 * charge_Ah / 2.7e-3
        left_Ah = ends_Ah - charge_Ah
        if left_Ah < 1e-4:
            voltage_V = 3.0 + (voltage_V - 3.0) * left_Ah / 1e-4
        observe_curve(curve, charge_Ah - previous_Ah, float(voltage_V))
        previous_Ah = float(charge_Ah)


def seen(state: ForecastState, curve: Curve) -> Forecast:
    found = in_discharge(state, FORMAT, 3e-3, curve)
    assert found is not None
    return found


def width(found: Forecast) -> float:
    low, high = found.discharge_Ah.interval()
    return high - low


def test_the_knee_collapses_the_interval_and_before_it_says_there_is_none():
    random = np.random.default_rng(5)
    state, curve = with_curves([2.7 + 0.05 * float(random.standard_normal()) for _ in range(12)])
    ends_Ah = 2.76e-3
    ran_to(curve, ends_Ah, 0.5)
    half = seen(state, curve)
    assert half.status is ForecastStatus.NO_KNEE
    ran_to(curve, ends_Ah, 0.985)
    knee = seen(state, curve)
    assert knee.status is ForecastStatus.KNEE
    assert width(knee) < 0.3 * width(half)
    low, high = knee.discharge_Ah.interval()
    assert low <= ends_Ah <= high


def test_what_has_flowed_cannot_be_taken_back():
    state, curve = with_curves([2.7] * 8)
    ran_to(curve, 2.9e-3, 0.97)
    found = seen(state, curve).discharge_Ah
    assert found.interval()[0] > 0.99 * curve.charge_Ah
    assert found.mean > curve.charge_Ah


def flat(curve: Curve, ends_Ah: float, plateau_V: float, share: float = 1.0) -> None:
    """A voltage that hardly falls, as of LFP, until the last 2 % of the discharge."""
    begin_curve(curve)
    previous_Ah = 0.0
    for charge_Ah in np.linspace(0.0, ends_Ah, 2001)[1:]:
        if charge_Ah > share * ends_Ah:
            break
        done = charge_Ah / ends_Ah
        voltage_V = plateau_V - 0.01 * done + 0.3 * math.exp(-done / 2e-3)
        if done > 0.98:
            voltage_V -= (done - 0.98) / 0.02 * (voltage_V - 3.0)
        observe_curve(curve, charge_Ah - previous_Ah, voltage_V)
        previous_Ah = float(charge_Ah)


def test_a_flat_curve_that_lies_lower_is_not_near_its_end():
    """80 mV more of polarisation: levels that were passed at the end last time are passed at once."""
    state = ForecastState()
    curve = new_curve(3.0, 4.3, NOMINAL_AH)
    random = np.random.default_rng(3)
    for _ in range(12):
        flat(curve, 2.7e-3 + 0.1e-3 * float(random.standard_normal()), 3.4)
        state = close_forecast(state, 3e-3, curve.charge_Ah, curve)
    for share in (0.05, 0.25, 0.75):
        flat(curve, 2.7e-3, 3.32, share)
        low, high = seen(state, curve).discharge_Ah.interval()
        assert low <= 2.7e-3 <= high
        assert high - low < 1.0e-3
    # and where the plateau was come through, the end is near
    flat(curve, 2.5e-3, 3.4, 0.99)
    assert seen(state, curve).discharge_Ah.quantile(0.5) == pytest.approx(2.5e-3, rel=0.01)


def test_another_rate_is_not_compared():
    state, curve = with_curves([2.7] * 8)
    ran_to(curve, 1.5e-3, 0.99)
    compared = in_discharge(state, FORMAT, 3e-3, curve)
    apart = in_discharge(state, FORMAT, 3e-3, curve, same_rate=False)
    assert compared is not None
    assert apart is not None
    assert apart.discharge_Ah.mean == pytest.approx(2.7e-3, rel=0.01)
    assert compared.discharge_Ah.mean < apart.discharge_Ah.mean


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.floats(1e-6, 1.0), st.floats(1e-6, 1.0), st.sampled_from(["base", "other"])),
        max_size=12,
    ),
    st.lists(st.tuples(st.floats(), st.floats()), max_size=20),
)
def test_whatever_comes_there_is_a_distribution(cycles, readings):
    state = ForecastState()
    curve = new_curve(3.0, 4.3, NOMINAL_AH)
    for charge_Ah, discharge_Ah, kind in cycles:
        for step_Ah, voltage_V in readings:
            observe_curve(curve, step_Ah, voltage_V)
        found = in_discharge(state, FORMAT, charge_Ah, curve, kind)
        assert found is not None
        low, high = found.discharge_Ah.interval()
        assert math.isfinite(low)
        assert low <= high
        state = close_forecast(state, charge_Ah, discharge_Ah, curve, kind)
        begin_curve(curve)
