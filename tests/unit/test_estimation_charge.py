"""Charge of an interval, propagation of uncertainty, classification of discharge ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from controller.domain.figures import DischargeEnd
from controller.domain.sample import NAN
from controller.estimation.charge import (
    GAIN_PER_K,
    RAMP,
    ROOM_MOVES_K,
    STEADY,
    STEP_AT_START,
    UNKNOWN_SHAPE,
    RangeCharge,
    gain_drift,
    interval_charge,
    propagate,
)
from controller.estimation.ends import EndShape, classify_end
from controller.estimation.files.clock import clock_slips
from controller.estimation.files.intervals import (
    integrate,
    rounding,
    sampling_u_As,
)
from controller.estimation.table import resolution


def test_step_takes_the_new_current_for_the_whole_interval():
    assert interval_charge(0.0, 2.0, 5.0, STEP_AT_START, NAN, NAN) == (10.0, 0.0)


def test_unknown_shape_is_bracketed_by_both_holds():
    charge_As, half_As = interval_charge(1.0, 3.0, 2.0, UNKNOWN_SHAPE, 0.0, 2.0)
    assert (charge_As - half_As, charge_As + half_As) == (2.0, 6.0)


def test_steady_current_has_no_sampling_uncertainty():
    assert interval_charge(1.0, 1.0, 3.0, STEADY, NAN, NAN) == (3.0, 0.0)


def test_ramp_is_better_than_the_chord_on_a_decay_and_says_enough():
    tau_s, dt_s = 20.0, 5.0
    for k in range(1, 10):
        before, now, last = (math.exp(-(k + j) * dt_s / tau_s) for j in (-1, 0, 1))
        exact_As = tau_s * (now - last)
        charge_As, half_As = interval_charge(now, last, dt_s, RAMP, (now - before) / dt_s, dt_s)
        chord_As = 0.5 * (now + last) * dt_s
        assert abs(charge_As - exact_As) < 0.4 * abs(chord_As - exact_As)
        assert abs(charge_As - exact_As) <= half_As


def test_ramp_correction_stays_inside_the_bracket():
    charge_As, half_As = interval_charge(1.0, 0.9, 1.0, RAMP, 100.0, 1.0)
    assert half_As == pytest.approx(0.05)
    assert 0.9 <= charge_As <= 1.0


def test_gain_cancels_from_efficiency_in_one_range_but_not_between_two():
    one = propagate({1.0: RangeCharge(3.0, 3.0, 0.0)}, 0.0, 0.0, 0.0, 1e-3)
    two = propagate(
        {1.0: RangeCharge(3.0, 0.0, 0.0), 2.0: RangeCharge(0.0, 3.0, 0.0)}, 0.0, 0.0, 0.0, 1e-3
    )
    assert one.efficiency == pytest.approx(0.0, abs=1e-15)
    assert one.net == pytest.approx(0.0, abs=1e-15)
    assert two.efficiency == pytest.approx(1e-3 * math.sqrt(2.0))
    assert two.net == pytest.approx(3e-3 * math.sqrt(2.0))
    assert one.charge == two.charge == pytest.approx(3e-3)


def test_a_gain_that_drifts_with_the_room_does_not_cancel_from_efficiency():
    ranges = {1.0: RangeCharge(3.0, 2.9, 0.0)}
    drift = gain_drift(-2.0)
    assert drift == gain_drift(2.0) == pytest.approx(2.0 * GAIN_PER_K)
    u = propagate(ranges, 0.0, 0.0, 0.0, 0.0, drift=drift)
    assert u.efficiency == pytest.approx(2.9 / 3.0 * drift)
    assert u.net == pytest.approx(3.0 * drift)
    assert gain_drift(math.nan) == pytest.approx(GAIN_PER_K * ROOM_MOVES_K)
    assert gain_drift(0.0) == 0.0


def test_no_charge_gives_no_efficiency():
    assert math.isnan(propagate({1.0: RangeCharge(0.0, 1.0, 0.0)}, 0.1, 0.1, 0.0, 0.0).efficiency)


def test_offset_and_unobserved_widen_the_net_charge():
    u = propagate({1.0: RangeCharge(1.0, 1.0, 3e-3)}, 0.0, 0.0, 4e-3, 0.0)
    assert u.net == pytest.approx(5e-3)


@pytest.mark.parametrize(
    ("shape", "end"),
    [
        (EndShape(0.001, 5e-4, 0.05), DischargeEnd.ANODE),
        (EndShape(0.0004, NAN, NAN), DischargeEnd.ANODE),
        (EndShape(0.02, 0.02, 0.05), DischargeEnd.CATHODE),
        (EndShape(0.03, 0.3, 0.6), DischargeEnd.POLARISATION),
        (EndShape(NAN, NAN, 0.6), DischargeEnd.UNKNOWN),
        (EndShape(NAN, NAN, NAN), DischargeEnd.UNKNOWN),
    ],
)
def test_end_of_discharge(shape, end):
    found, probability = classify_end(shape)
    assert found is end
    assert 0.0 <= probability <= 1.0
    assert (end is DischargeEnd.UNKNOWN) or probability >= 0.6


def test_between_two_classes_the_end_is_unknown():
    found, probability = classify_end(EndShape(0.0018, NAN, NAN))
    assert found is DischargeEnd.UNKNOWN
    assert 0.3 < probability < 0.6


@pytest.mark.parametrize("step", [1.0, 0.1, 1e-3])
def test_resolution_of_rounded_values(step):
    values = np.arange(1.0, 50.0) * 7.0 * step
    assert resolution(values) == pytest.approx(step)


def test_no_resolution_in_nothing():
    assert resolution(np.array([math.nan, 0.0])) == 0.0
    assert resolution(np.array([math.pi, math.e])) == 0.0


def test_coarsely_logged_hold_is_covered_on_both_sides():
    """Charge of sums of exponentials, sampled too rarely, lies within the stated half width."""
    t_s = np.arange(0.0, 200.0, 10.0)
    for taus_s, shares in (((8.0, 90.0), (0.6, 0.3)), ((3.0, 30.0), (0.5, 0.4)), ((60.0,), (0.9,))):
        current_A = 0.1 + sum(a * np.exp(-t_s / tau) for a, tau in zip(shares, taus_s, strict=True))
        exact_As = 0.1 * t_s[-1] + sum(
            a * tau * (1.0 - math.exp(-t_s[-1] / tau))
            for a, tau in zip(shares, taus_s, strict=True)
        )
        for sign in (1.0, -1.0):
            intervals = integrate(t_s, sign * current_A, np.ones(t_s.size - 1, dtype=np.bool_))
            total_As = sign * float(np.sum(intervals.charge_As))
            assert abs(total_As - exact_As) <= float(np.sum(intervals.half_width_As))
            chord_As = float(np.trapezoid(current_A, t_s))
            assert abs(total_As - exact_As) < abs(chord_As - exact_As)


def test_step_change_between_rows_is_bracketed():
    t_s, current_A = np.array([0.0, 10.0, 20.0]), np.array([0.0, 1.0, 1.0])
    intervals = integrate(t_s, current_A, np.array([False, True]))
    assert intervals.charge_As.tolist() == [5.0, 10.0]
    assert intervals.half_width_As.tolist() == [5.0, 0.0]


def test_time_rounding_of_a_long_step_acts_at_its_ends_only():
    current_A = np.full(101, 2.0)
    fine = integrate(np.linspace(0.0, 100.0, 101), current_A, np.ones(100, dtype=np.bool_))
    coarse = integrate(np.linspace(0.0, 100.0, 3), current_A[:3], np.ones(2, dtype=np.bool_))
    for intervals in (fine, coarse):
        chosen = intervals.charge_As > 0.0
        rounded = rounding(intervals, chosen, ~chosen, 1.0)
        assert math.sqrt(rounded.charge) == pytest.approx(2.0 * math.sqrt(2.0 / 12.0))
        assert (rounded.discharge, rounded.covariance) == (0.0, 0.0)
        assert sampling_u_As(intervals, chosen) == 0.0


def test_time_rounding_at_both_ends_of_a_rest_is_one_error():
    """Seen in simulated rounding: a rest of whole seconds, charge and discharge of any length."""
    draw = np.random.default_rng(5)
    charge_As, discharge_As = [], []
    for _ in range(4000):
        edges_s = draw.uniform(0.0, 1.0) + np.cumsum([0.0, draw.uniform(90, 110), 30.0, 0.0])
        edges_s[3] = edges_s[2] + draw.uniform(90, 110)
        true_s = np.diff(edges_s)
        error_s = np.diff(np.floor(edges_s)) - true_s
        charge_As.append(2.0 * error_s[0])
        discharge_As.append(2.0 * error_s[2])
    t_s = np.array([0.0, 0.0, 100.0, 100.0, 130.0, 130.0, 230.0, 230.0])
    current_A = np.array([0.0, 2.0, 2.0, 0.0, 0.0, -2.0, -2.0, 0.0])
    intervals = integrate(t_s, current_A, np.diff(t_s) > 0.0)
    told = rounding(intervals, intervals.charge_As > 0.0, intervals.charge_As < 0.0, 1.0)
    seen = np.cov(charge_As, discharge_As)
    assert told.charge == pytest.approx(seen[0, 0], rel=0.1)
    assert told.discharge == pytest.approx(seen[1, 1], rel=0.1)
    assert told.covariance == pytest.approx(seen[0, 1], rel=0.1)
    u = propagate(
        {1.0: RangeCharge(200.0, 200.0, 0.0)},
        math.sqrt(told.charge),
        math.sqrt(told.discharge),
        0.0,
        0.0,
        told.covariance,
    )
    net_As = np.array(discharge_As) - np.array(charge_As)
    assert u.net == pytest.approx(float(np.std(net_As)), rel=0.05)
    assert u.efficiency == pytest.approx(float(np.std(net_As)) / 200.0, rel=0.05)


@pytest.mark.parametrize("noise_A", [-1e-5, 0.0, 1e-5])
def test_first_reading_that_settles_is_not_ramped_over_the_interval(noise_A):
    t_s = np.arange(6) * 30.0
    current_A = np.array([0.5, 0.474, 0.474 + noise_A, 0.474, 0.474, 0.474])
    for sign in (1.0, -1.0):
        intervals = integrate(t_s, sign * current_A, np.ones(5, dtype=np.bool_))
        assert intervals.charge_As[0] == pytest.approx(sign * 0.474 * 30.0, rel=1e-12)
        # A regulator that took a whole second to settle is inside.
        assert intervals.half_width_As[0] == pytest.approx(0.026, rel=1e-9)


@pytest.mark.parametrize(
    "current_A",
    [
        [0.5, 0.474, 0.460, 0.450, 0.440],  # a decay: no regulated current follows
        [1.0, 0.474, 0.474, 0.474, 0.474],  # too far off: the end of another step
        [0.5, 0.474, 0.474],  # too few to call it constant
    ],
)
def test_first_reading_is_kept_where_nothing_shows_that_it_settles(current_A):
    current_A = np.array(current_A)
    t_s = np.arange(current_A.size) * 30.0
    intervals = integrate(t_s, current_A, np.ones(current_A.size - 1, dtype=np.bool_))
    # A settling regulator would leave one second of the difference open.
    assert intervals.half_width_As[0] > 2.0 * abs(current_A[0] - current_A[1])


def regular_step(*, slip_at: int, slip_s: float, extra: bool) -> np.ndarray:
    t_s = 7.0 + 30.0 * np.arange(40)
    if extra:  # readings between the periodic ones, one of them close to a periodic one
        t_s = np.sort(np.concatenate((t_s, t_s[:-1:3] + 11.0, t_s[1:-1:5] + 29.0)))
    t_s[t_s >= 7.0 + 30.0 * slip_at] += slip_s
    return t_s


@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("slip_s", [-2.0, -1.0, 1.0, 3.0])
def test_clock_slip_is_told_from_the_period(extra, slip_s):
    t_s = regular_step(slip_at=25, slip_s=slip_s, extra=extra)
    (slip,) = clock_slips(t_s, [0, t_s.size], 1.0)
    assert slip.gained_s == slip_s
    mended_s = t_s.copy()
    mended_s[slip.row :] -= slip.gained_s
    assert mended_s[-1] == 7.0 + 30.0 * 39
    assert np.all(np.diff(mended_s) >= 0.0)


@pytest.mark.parametrize("extra", [False, True])
def test_a_regular_clock_does_not_slip(extra):
    t_s = regular_step(slip_at=25, slip_s=0.0, extra=extra)
    assert clock_slips(t_s, [0, t_s.size], 1.0) == []
    assert clock_slips(np.append(t_s, t_s[-1] + 29.0), [0, t_s.size + 1], 1.0) == []  # cut-off


@pytest.mark.parametrize(
    "t_s",
    [
        np.cumsum(np.tile([30.0, 31.0], 30)),  # jitter of the logger, no slip
        np.cumsum(np.tile([2.0, 1.0, 3.0], 30)),  # too fast for its resolution
        np.array([0.0, 30.0, 60.0, 89.0, 119.0]),  # too short to tell
        np.concatenate((30.0 * np.arange(20), 570.0 + 40.0 * np.arange(1, 20))),  # other period
    ],
)
def test_irregular_logging_is_not_called_a_slip(t_s):
    assert clock_slips(t_s, [0, t_s.size], 1.0) == []


def test_times_that_are_not_rounded_show_no_slip():
    t_s = regular_step(slip_at=25, slip_s=-1.0, extra=False)
    assert clock_slips(t_s, [0, t_s.size], 0.0) == []
