"""Step resistances against circuits whose answer is known in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from controller.estimation.impedance import steps
from controller.estimation.impedance.steps import Steps

R0_OHM, R1_OHM, TAU_S = 10.0, 5.0, 0.3
LOW_A, HIGH_A = 0.0, -2e-3
Reading = tuple[float, float, float]


def answer_Ohm(since_s: float) -> float:
    return R0_OHM + R1_OHM * (1.0 - math.exp(-since_s / TAU_S))


def cell(times_s, *, edge_s=5.0, drift_V_per_s=0.0, noise_V=0.0, seed=0) -> list[Reading]:
    """Rest, then a step of the current at `edge_s`, right after the reading at that time."""
    normal = np.random.default_rng(seed).standard_normal(len(times_s))
    found = []
    for t_s, one in zip(times_s, normal, strict=True):
        since_s = t_s - edge_s
        current_A = HIGH_A if since_s > 1e-9 else LOW_A
        answer_V = HIGH_A * answer_Ohm(since_s) if since_s > 1e-9 else 0.0
        found.append((t_s, current_A, 3.7 + drift_V_per_s * t_s + answer_V + noise_V * one))
    return found


def taken(
    s: Steps, readings: list[Reading], flags: Callable[[int], int] = lambda _: 0
) -> Iterator[tuple[int, dict[int, tuple[float, float]]]]:
    before_s = readings[0][0] - 1.0
    for index, (t_s, current_A, voltage_V) in enumerate(readings):
        done = steps.observe(s, t_s, t_s - before_s, current_A, voltage_V, flags(index))
        before_s = t_s
        if done:
            yield done, values(s, done)


def values(s: Steps, done: int) -> dict[int, tuple[float, float]]:
    return {k: (s.value_Ohm[k], s.u_Ohm[k]) for k in range(steps.VALUES) if done & (1 << k)}


def all_of(s: Steps, readings: list[Reading], **more) -> dict[int, tuple[float, float]]:
    found: dict[int, tuple[float, float]] = {}
    for _, some in taken(s, readings, **more):
        found.update(some)
    return found


def new(**changes: float) -> Steps:
    return Steps(**({"min_step_A": 1e-4, "ratio_u": 0.0, "floor_u_V": 1e-9} | changes))


@pytest.mark.parametrize("dt_s", [0.001, 0.01])
def test_every_time_that_sampling_allows_is_exact(dt_s: float) -> None:
    times_s = np.round(np.arange(0.0, 18.0, dt_s), 6).tolist()
    found = all_of(new(), cell(times_s))
    for index in (steps.I_10MS, steps.I_100MS, steps.I_1S, steps.I_10S):
        true_Ohm = answer_Ohm(steps.HORIZONS_S[index])
        assert found[index][0] == pytest.approx(true_Ohm, rel=2e-3)
    assert found[steps.I_FIRST][0] == pytest.approx(answer_Ohm(dt_s), rel=1e-9)
    assert found[steps.I_SUM][0] == pytest.approx(R0_OHM + R1_OHM, rel=2e-3)


def test_a_straight_drift_before_the_edge_is_taken_off() -> None:
    times_s = np.round(np.arange(0.0, 18.0, 0.1), 6).tolist()
    found = all_of(new(), cell(times_s, drift_V_per_s=3e-4))
    for index in (steps.I_1S, steps.I_10S):
        true_Ohm = answer_Ohm(steps.HORIZONS_S[index])
        value_Ohm, u_Ohm = found[index]
        assert value_Ohm == pytest.approx(true_Ohm, rel=3e-3)
        # a drift taken off is not known to go on: 3 mV in 10 s of 30 mV
        assert u_Ohm > 0.0
    assert found[steps.I_10S][1] > 0.1


def test_what_comes_too_late_is_said() -> None:
    s = new()
    times_s = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 5.35, 6.35, 7.35]
    found = all_of(s, cell(times_s))
    assert set(found) == {steps.I_FIRST, steps.I_1S}
    assert steps.status_words(s.status)[0] == "10 ms and 100 ms cannot be had: no reading then"
    assert found[steps.I_1S][0] == pytest.approx(answer_Ohm(1.0), rel=0.02)
    assert abs(found[steps.I_1S][0] - answer_Ohm(1.0)) <= 1.96 * found[steps.I_1S][1]
    assert s.status & steps.STILL_RISING


def test_a_voltage_that_answers_a_reading_late_gives_no_first_reading() -> None:
    s = new()
    readings = cell(np.round(np.arange(0.0, 18.0, 0.1), 6).tolist())
    late = [(t_s, current_A, readings[max(k - 1, 0)][2]) for k, (t_s, current_A, _) in enumerate(readings)]  # fmt: skip
    found = all_of(s, late)
    assert steps.I_FIRST not in found
    assert s.status & steps.LATE_VOLTAGE
    assert found[steps.I_10S][0] == pytest.approx(answer_Ohm(10.0), rel=1e-3)


def test_a_voltage_read_after_the_current_is_told_from_the_row_before() -> None:
    readings = cell(np.round(np.arange(0.0, 18.0, 0.1), 6).tolist())
    early = [(t_s, current_A, readings[min(k + 1, len(readings) - 1)][2]) for k, (t_s, current_A, _) in enumerate(readings)]  # fmt: skip
    found = all_of(new(), early)
    assert found[steps.I_FIRST][0] == pytest.approx(answer_Ohm(0.2), rel=1e-6)


def test_a_change_right_after_gives_the_first_reading_of_the_one_before() -> None:
    """Current and voltage of one reading each: as many cyclers log pulses of mobile phones."""
    s = new()
    rows = [(0.5 * k, -1.7 if k % 2 else -0.1, 4.0 - 0.036 * (1.7 if k % 2 else 0.1)) for k in range(9)]  # fmt: skip
    found = list(taken(s, rows))
    assert [done for done, _ in found] == [steps.FIRST] * 7
    for _, some in found:
        assert some[steps.I_FIRST][0] == pytest.approx(0.036, rel=1e-9)
    assert (s.of_before_A, s.of_after_A) == (-1.7, -0.1) or (s.of_before_A, s.of_after_A) == (-0.1, -1.7)  # fmt: skip


def test_a_step_logged_at_the_time_of_the_last_reading_counts() -> None:
    """Many cyclers log the end of a step and the start of the next with the same time."""
    s = new()
    rows = [(0.0, 0.0, 3.7), (10.0, 0.0, 3.7), (10.0, 1e-3, 3.74), (20.0, 1e-3, 3.75), (30.0, 1e-3, 3.75)]  # fmt: skip
    found = all_of(s, rows)
    assert found[steps.I_FIRST][0] == pytest.approx(40.0)
    assert s.at_s[steps.I_FIRST] == 0.0
    assert found[steps.I_10S][0] == pytest.approx(50.0)


def lagging(readings: int, lag: int, seed: int = 1) -> list[Reading]:
    """A drive profile at 100 Hz; the voltage is that of `lag` readings before."""
    random = np.random.default_rng(seed)
    current_A = np.cumsum(np.where(random.uniform(size=readings) < 0.3, 1.0, 0.0) * random.normal(0.0, 20.0, readings))  # fmt: skip
    voltage_V = 3.3 + 0.3e-3 * np.concatenate([np.full(lag, current_A[0]), current_A])[:readings]
    return list(zip((0.01 * np.arange(readings)).tolist(), current_A.tolist(), voltage_V.tolist(), strict=True))  # fmt: skip


@pytest.mark.parametrize("lag", [2, 5, 11])
def test_out_of_step_only_the_window_is_given(lag: int) -> None:
    s = new(min_step_A=2.0)
    found = list(taken(s, lagging(3000, lag)))
    assert s.out_of_step
    done, some = found[-1]
    assert done == steps.WINDOW
    assert some[steps.I_WINDOW][0] == pytest.approx(0.3e-3, rel=0.1)
    assert s.at_s[steps.I_WINDOW] == pytest.approx(0.12)
    assert "out of step" in steps.status_words(s.status)[0]


def test_in_step_it_is_not_refused() -> None:
    s = new(min_step_A=2.0)
    found = list(taken(s, lagging(3000, 0)))
    assert not s.out_of_step
    values_Ohm = [some[steps.I_FIRST][0] for _, some in found if steps.I_FIRST in some]
    assert len(values_Ohm) > 300
    assert np.median(values_Ohm) == pytest.approx(0.3e-3, rel=1e-6)


def test_a_gap_a_held_voltage_and_another_current_end_the_edge() -> None:
    times_s = np.round(np.arange(0.0, 18.0, 0.1), 6).tolist()
    readings = cell(times_s)
    gap = all_of(new(), readings, flags=lambda k: steps.UNKNOWN_BETWEEN if k == 60 else 0)
    assert steps.I_100MS in gap
    assert steps.I_1S not in gap  # the reading at 1 s is the one after the gap
    assert steps.I_10S not in gap
    held = all_of(new(), readings, flags=lambda k: steps.VOLTAGE_HELD if k > 50 else 0)
    assert held == {}
    s = new(min_step_A=5e-4)
    moved = [(t_s, a + (1e-4 if t_s > 7.0 else 0.0), v) for t_s, a, v in readings]
    found = all_of(s, moved)
    assert steps.I_1S in found
    assert steps.I_10S not in found
    assert s.status & steps.CUT_SHORT


def test_the_stated_uncertainty_covers() -> None:
    """Noise before and after the edge, in 400 cells; 95 % +- 3 binomial standard deviations."""
    times_s = np.round(np.arange(0.0, 18.0, 0.25), 6).tolist()
    inside = {steps.I_1S: 0, steps.I_10S: 0}
    for seed in range(400):
        s = new(min_step_A=5e-4)
        found = all_of(s, cell(times_s, noise_V=1e-4, seed=seed, edge_s=6.0), flags=lambda k: steps.NEW_SET_POINT if k == 25 else 0)  # fmt: skip
        for index in inside:
            value_Ohm, u_Ohm = found[index]
            inside[index] += abs(value_Ohm - answer_Ohm(steps.HORIZONS_S[index])) <= 1.96 * u_Ohm
    for count in inside.values():
        assert 0.917 <= count / 400 <= 0.993


@pytest.mark.parametrize("noise_V", [2e-5, 1e-4])
def test_a_relaxation_read_once_a_minute_does_not_pull_the_step(noise_V: float) -> None:
    """A line through its last readings lies below where it ends, by more than they scatter."""
    times_s = [*np.arange(0.0, 601.0, 60.0).tolist(), 601.0, 602.0, 605.0, 610.0, 660.0]

    def relaxed_V(t_s: float) -> float:
        return -0.02 * math.log1p(t_s / 20.0)

    inside, errors = 0, []
    for seed in range(200):
        readings = [
            (t_s, current_A, voltage_V + relaxed_V(t_s))
            for t_s, current_A, voltage_V in cell(times_s, edge_s=600.0, noise_V=noise_V, seed=seed)
        ]
        s = new()
        value_Ohm, u_Ohm = all_of(
            s, readings, flags=lambda k: steps.NEW_SET_POINT if k == 11 else 0
        )[steps.I_10S]
        errors.append(value_Ohm - answer_Ohm(10.0))
        inside += abs(errors[-1]) <= 1.96 * u_Ohm
    assert abs(float(np.mean(errors))) < 0.02 * answer_Ohm(10.0)
    assert inside >= 180


def slow_V(since_s: float) -> float:
    return -4e-3 * math.log(since_s)


def fast_V(since_s: float) -> float:
    return 0.03 * math.exp(-since_s / 4.0)


def rest_after_charge(
    relaxed_V: Callable[[float], float] = slow_V,
    *,
    noise_V: float,
    seed: int,
    last_s: tuple[float, ...] = (),
) -> list[Reading]:
    """Three hours of charge, a relaxation of 10 min, a discharge; read as in `hil.logger`."""
    early = [1.0, 2.0, 5.0, 10.0]
    charge = [*early, *np.arange(70.0, 10_800.0, 60.0), 10_800.0]
    rest = [*early, *np.arange(70.0, 600.0, 60.0), 600.0, *last_s]
    random = np.random.default_rng(seed)
    rows = [(t_s, -HIGH_A, 3.75 + 2e-6 * t_s) for t_s in charge]
    rows += [(10_800.0 + t_s, 0.0, 3.7 + relaxed_V(t_s)) for t_s in rest]
    end_s = rest[-1]
    for t_s in (*early, 70.0):
        resting_V = 3.7 + relaxed_V(end_s + t_s)
        rows.append((10_800.0 + end_s + t_s, HIGH_A, resting_V + HIGH_A * answer_Ohm(t_s)))
    return [(t_s, a, v + noise_V * float(random.standard_normal())) for t_s, a, v in rows]


@pytest.mark.parametrize("last_s", [(), (600.1,)])
def test_a_relaxation_is_not_taken_for_noise(last_s: tuple[float, ...]) -> None:
    """Also where the end of the rest is logged once more: the last two readings tell no drift."""
    noise_V = 1e-4
    errors, stated = [], []
    for seed in range(300):
        readings = rest_after_charge(noise_V=noise_V, seed=seed, last_s=last_s)
        edge = len(readings) - 5
        s = new(noise_V=noise_V)
        found = all_of(s, readings, flags=lambda k, at=edge: steps.NEW_SET_POINT if k == at else 0)
        value_Ohm, u_Ohm = found[steps.I_10S]
        errors.append((value_Ohm - answer_Ohm(10.0)) * abs(HIGH_A))
        stated.append(u_Ohm * abs(HIGH_A))
    inside = np.abs(errors) <= 1.96 * np.array(stated)
    assert 0.92 <= np.mean(inside) <= 0.99
    assert abs(np.mean(errors)) < 0.3 * noise_V
    # what noise there is at two readings, and at two more for the drift, carried over 10 s
    assert np.median(stated) < 1.25 * noise_V * math.sqrt(2.0 + 2.0 * 10.0 / 50.0)


def test_the_first_seconds_of_a_rest_do_not_stay_in_its_line() -> None:
    """Neighbours of then differ by millivolts as well: that is no sign that the line is right."""
    for seed in range(50):
        readings = rest_after_charge(fast_V, noise_V=1e-4, seed=seed)
        edge = len(readings) - 5
        s = new(noise_V=1e-4)
        found = all_of(s, readings, flags=lambda k, at=edge: steps.NEW_SET_POINT if k == at else 0)
        value_Ohm, u_Ohm = found[steps.I_10S]
        assert abs(value_Ohm - answer_Ohm(10.0)) <= 4.0 * u_Ohm < 0.03 * answer_Ohm(10.0)


@pytest.mark.parametrize("noise_V", [1e-5, 3e-4])
def test_noise_is_found_on_whatever_bends_evenly(noise_V: float) -> None:
    """Readings at uneven times on a parabola, which first and second differences would count."""
    random = np.random.default_rng(3)
    t_s, s = 0.0, new(noise_V=1e-4)
    for _ in range(2000):
        dt_s = float(random.choice([1.0, 5.0, 60.0]) * random.uniform(0.8, 1.2))
        t_s += dt_s
        voltage_V = 3.5 + 1e-9 * (t_s - 2e4) ** 2 + noise_V * float(random.standard_normal())
        steps.observe(s, t_s, dt_s, 0.0, voltage_V, 0)
    assert math.sqrt(s.noise_V2) == pytest.approx(noise_V, rel=0.3)


@pytest.mark.parametrize(("dt_s", "readings"), [(1.0, 60), (60.0, 200)])
def test_noise_that_grows_is_followed(dt_s: float, readings: int) -> None:
    """Within so many readings a tenfold noise is stated to more than half."""
    random = np.random.default_rng(4)
    s = new(noise_V=1e-4)
    for k in range(400 + readings):
        noise_V = 1e-4 if k < 400 else 1e-3
        steps.observe(s, 0.0, dt_s, 0.0, 3.7 + noise_V * float(random.standard_normal()), 0)
    for _ in range(12):
        steps.observe(s, 0.0, 1.0, HIGH_A, 3.67 + 1e-3 * float(random.standard_normal()), 0)
    assert s.u_Ohm[steps.I_10S] * abs(HIGH_A) > 0.5e-3


def test_readings_too_coarse_to_show_noise_do_not_deny_it() -> None:
    s = new(noise_V=3e-4)
    for _ in range(1000):
        steps.observe(s, 0.0, 1.0, 0.0, 3.7, 0)
    for _ in range(12):
        steps.observe(s, 0.0, 1.0, HIGH_A, 3.67, 0)
    assert s.u_Ohm[steps.I_10S] * abs(HIGH_A) >= 3e-4


def test_a_voltage_that_falls_faster_and_faster_is_followed() -> None:
    """As towards the end of a discharge: the line through its last tenth lags behind."""
    times_s = [*np.arange(0.0, 801.0, 5.0).tolist(), *np.arange(801.0, 815.0).tolist()]
    for seed in range(50):
        readings = [
            (t_s, current_A, voltage_V - 0.1 * math.exp((t_s - 900.0) / 200.0))
            for t_s, current_A, voltage_V in cell(times_s, edge_s=800.0, noise_V=1e-5, seed=seed)
        ]
        value_Ohm, u_Ohm = all_of(
            new(), readings, flags=lambda k: steps.NEW_SET_POINT if k == 161 else 0
        )[steps.I_10S]
        assert value_Ohm == pytest.approx(answer_Ohm(10.0), rel=0.015)
        assert abs(value_Ohm - answer_Ohm(10.0)) <= 1.96 * u_Ohm < 0.02 * answer_Ohm(10.0)


def test_a_voltage_that_scatters_alone_keeps_the_line(monkeypatch) -> None:
    """Noise that neighbours do not share: the line's level is better than the last reading."""
    times_s = np.round(np.arange(0.0, 72.0, 0.25), 6).tolist()
    errors = {}
    for wanders in (steps.WANDERS, 0.0):
        monkeypatch.setattr(steps, "WANDERS", wanders)
        errors[wanders] = [
            all_of(
                new(),
                cell(times_s, noise_V=1e-4, seed=seed, edge_s=60.0),
                flags=lambda k: steps.NEW_SET_POINT if k == 241 else 0,
            )[steps.I_10S][0]
            - answer_Ohm(10.0)
            for seed in range(100)
        ]
    assert np.std(errors[3.0]) < 0.85 * np.std(errors[0.0])


WILD = st.one_of(
    st.sampled_from([0.0, -0.0, math.nan, math.inf, -math.inf, 5e-324, 1e308, -1e308]), st.floats()
)
ROWS = st.lists(
    st.tuples(
        st.one_of(st.floats(0.001, 20.0), WILD),
        st.one_of(st.sampled_from([0.0, 1e-3, -2e-3]), WILD),
        st.one_of(st.floats(3.0, 4.2), WILD),
        st.integers(0, 7),
    ),
    max_size=40,
)


@given(ROWS)
# an edge at the time of the reading that began the series
@example([(1.0, 0.0, 3.0, 0)] * 5 + [(1.0, 0.0, 4.0, 4), (0.0, -2e-3, 3.0, 0), (1.0, 0.0, 3.0, 0)])
def test_whatever_comes_every_value_given_is_a_number(rows) -> None:
    s = Steps(min_step_A=1e-4)
    for dt_s, current_A, voltage_V, flags in rows:
        done = steps.observe(s, 0.0, dt_s, current_A, voltage_V, flags)
        for value_Ohm, u_Ohm in values(s, done).values():
            assert math.isfinite(value_Ohm)
            assert u_Ohm >= 0.0
            assert math.isfinite(u_Ohm)


@given(ROWS)
def test_a_duplicate_changes_nothing(rows) -> None:
    once, twice = Steps(min_step_A=1e-4), Steps(min_step_A=1e-4)
    for dt_s, current_A, voltage_V, flags in rows:
        done = steps.observe(once, 0.0, dt_s, current_A, voltage_V, flags)
        assert steps.observe(twice, 0.0, dt_s, current_A, voltage_V, flags) == done
        again = twice.current_A, twice.voltage_V
        assert steps.observe(twice, 0.0, 0.0, *again, flags) == 0
        for name in Steps.__slots__:
            assert str(getattr(once, name)) == str(getattr(twice, name))


def test_after_anything_wild_the_next_edge_is_as_good() -> None:
    s = new()
    for wild in (math.nan, math.inf, -math.inf, 1e300):
        for row in ((wild, 1e-3, 3.7), (1.0, wild, 3.7), (1.0, 1e-3, wild)):
            steps.observe(s, 0.0, *row, 0)
    times_s = np.round(np.arange(0.0, 18.0, 0.1), 6).tolist()
    found = all_of(s, cell(times_s), flags=lambda k: steps.UNKNOWN_BETWEEN if k == 0 else 0)
    assert found[steps.I_1S][0] == pytest.approx(answer_Ohm(1.0), rel=5e-3)


def test_a_reading_a_little_early_stands_for_its_time() -> None:
    """Where the next one comes a minute later; the time is not called missed, nor taken twice."""
    times_s = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 5.995, 7.0, 10.0, 14.999, 73.0, 133.0]
    s = new()
    found = [some for _, some in taken(s, cell(times_s)) if steps.I_10S in some]
    assert len(found) == 1
    assert found[0][steps.I_10S][0] == pytest.approx(answer_Ohm(10.0), rel=1e-6)
    assert not s.status & steps.NO_10S


def test_a_step_whose_square_is_nothing_raises_nothing() -> None:
    s = new(min_step_A=1e-301)
    for k in range(20):
        steps.observe(s, float(k), 1.0, 0.0 if k < 10 else 1e-300, 3.5 if k < 10 else 3.6, 0)
    assert s.value_Ohm[steps.I_FIRST] > 1e298
    assert math.isnan(s.u_Ohm[steps.I_FIRST])


def test_a_voltage_that_collapses_before_the_current_ends_is_no_early_answer() -> None:
    """C/20 to its end, read every 30 s: the last reading of the discharge lies far below its line."""
    s = Steps(min_step_A=5e-5)
    fall_V = [3.6 - 1e-4 * k for k in range(300)]
    fall_V += [3.57 - 0.47 * math.expm1(0.1 * k) / math.expm1(3.0) for k in range(31)]
    rows = [(30.0, -1.5e-4, voltage_V) for voltage_V in fall_V]
    rows.append((30.0, -1.06e-4, 3.05))  # the hold at the cut-off begins
    rows += [(1.0, 0.0, 3.06 + 4e-3 * k) for k in range(15)]
    done = 0
    for k, (dt_s, current_A, voltage_V) in enumerate(rows):
        done |= steps.observe(s, float(k), dt_s, current_A, voltage_V, 0)
    assert done & (1 << steps.I_10S)
    assert s.value_Ohm[steps.I_10S] > 0.0
