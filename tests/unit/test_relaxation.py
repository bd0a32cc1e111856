"""Decay and noise of a rest, and the judgement, at and around their boundaries."""

from __future__ import annotations

import json
import math
import random

import pytest

from controller.core import short_check
from controller.core.short_check import POLARITY_FLOOR_V, Probe, polarity, probe_reading
from controller.estimation.relaxation import (
    BASELINE_LEAST_RESTS,
    BASELINE_MOST_RESTS,
    DECAY_FLOOR_V_PER_H,
    LEAST_READINGS,
    NOISE_FLOOR_V,
    Relaxation,
    RestFigures,
    figures_of,
    judge,
    learn,
    observe,
    thresholds,
)

CHECK_S = 1800.0
LATE_S = 1200.0
NAN = math.nan


def rest(
    voltages: dict[float, float], check_s: float = CHECK_S, offset_s: float = 0.0
) -> Relaxation:
    r = Relaxation(check_s)
    for elapsed_s, voltage_V in voltages.items():
        observe(r, elapsed_s, offset_s + elapsed_s, voltage_V)
    return r


def every(period_s: float, voltage, until_s: float = CHECK_S) -> dict[float, float]:
    return {
        index * period_s: voltage(index * period_s) for index in range(int(until_s / period_s) + 1)
    }


@pytest.mark.parametrize("decay_V_per_h", [0.0, 0.012, -0.3])
@pytest.mark.parametrize("offset_s", [0.0, 3.0e7])
def test_a_straight_fall_is_found_exactly_and_is_no_noise(decay_V_per_h, offset_s) -> None:
    line = every(30.0, lambda t: 3.8 - decay_V_per_h * t / 3600.0)
    figures = figures_of(rest(line, offset_s=offset_s))
    assert figures.decay_V_per_h == pytest.approx(decay_V_per_h, abs=1e-9)
    assert figures.noise_V == pytest.approx(0.0, abs=1e-9)
    assert figures.readings == 21
    assert figures.span_s == pytest.approx(600.0)


def test_white_noise_comes_back_whatever_the_trend() -> None:
    draw = random.Random(3)  # noqa: S311  noise
    noisy = every(0.5, lambda t: 3.8 - 0.5 * t / 3600.0 + draw.gauss(0.0, 2e-4))
    figures = figures_of(rest(noisy))
    assert figures.noise_V == pytest.approx(2e-4, rel=0.05)
    assert figures.decay_V_per_h == pytest.approx(0.5, abs=5e-4)


def test_only_the_last_third_counts() -> None:
    bent = every(30.0, lambda t: 3.8 if t >= LATE_S else 4.2 + 0.1 * math.sin(t))
    assert figures_of(rest(bent)).decay_V_per_h == pytest.approx(0.0, abs=1e-9)
    late = every(30.0, lambda t: 3.8 if t > LATE_S else 3.9)
    assert figures_of(rest(late)).decay_V_per_h > 0.05, "the window begins at two thirds"
    longer = every(30.0, lambda t: 3.8 if t <= CHECK_S else 3.0, until_s=3600.0)
    assert figures_of(rest(longer)).decay_V_per_h == pytest.approx(0.0, abs=1e-9)


def test_too_few_readings_or_too_short_a_span_give_no_figure() -> None:
    few = {LATE_S + 60.0 * index: 3.8 for index in range(LEAST_READINGS - 1)}
    assert math.isnan(figures_of(rest(few)).decay_V_per_h)
    enough = {LATE_S + 51.0 * index: 3.8 for index in range(LEAST_READINGS)}
    assert figures_of(rest(enough)).decay_V_per_h == 0.0
    bunched = {LATE_S + 449.0 * index / 40: 3.8 for index in range(41)}
    assert math.isnan(figures_of(rest(bunched)).noise_V)
    assert figures_of(rest({**bunched, LATE_S + 450.0: 3.8})).noise_V == 0.0
    assert math.isnan(figures_of(Relaxation(CHECK_S)).decay_V_per_h)


@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf])
def test_nonsense_is_left_out_and_time_that_stands_still_too(bad: float) -> None:
    line = every(30.0, lambda t: 3.8 - 0.01 * t / 3600.0)
    r = rest({**line, 1215.0: bad})
    readings = r.readings
    observe(r, 1790.0, r.last_t_s, 9.9)
    observe(r, 1790.0, r.last_t_s - 5.0, 9.9)
    observe(r, NAN, r.last_t_s + 1.0, 9.9)
    observe(r, 1790.0, NAN, 9.9)
    assert r.readings == readings
    assert figures_of(r).decay_V_per_h == pytest.approx(0.01)


def test_a_rest_that_is_not_looked_at_sums_nothing() -> None:
    r = Relaxation()
    observe(r, 1500.0, 1500.0, 3.8)
    assert r.readings == 0


def test_the_baseline_forgets_the_oldest_and_takes_no_rise_for_a_fall() -> None:
    rests: list[tuple[float, float]] = []
    assert not learn(rests, RestFigures(NAN, 1e-4, 3, 60.0))
    assert learn(rests, RestFigures(-0.2, 1e-4, 20, 600.0))
    assert rests == [(0.0, 1e-4)]
    for index in range(BASELINE_MOST_RESTS):
        learn(rests, RestFigures(0.001 * index, 1e-4, 20, 600.0))
    assert len(rests) == BASELINE_MOST_RESTS
    assert rests[0] == (0.0, 1e-4)
    assert rests[-1][0] == pytest.approx(0.008)


def test_thresholds_are_median_plus_three_sigma_plus_floor() -> None:
    limits = thresholds([(0.001, 1e-4), (0.002, 2e-4), (0.004, 2e-4)])
    assert limits.decay_V_per_h == pytest.approx(0.002 + 3 * 1.4826 * 0.001 + DECAY_FLOOR_V_PER_H)
    assert limits.noise_V == pytest.approx(2e-4 + NOISE_FLOOR_V)
    odd = thresholds([(0.001, 1e-4)] * 4 + [(9.0, 1.0)])
    assert odd.decay_V_per_h == pytest.approx(0.001 + DECAY_FLOOR_V_PER_H), "one odd rest"


BASELINE = [(0.001, 1e-4)] * 3


@pytest.mark.parametrize(
    ("decay", "noise", "passed"),
    [
        (0.0, 0.0, True),
        (-5.0, 0.0, True),  # rising
        (0.00599, 1e-4, True),
        (0.00601, 1e-4, False),
        (0.001, 2.99e-4, True),
        (0.001, 3.01e-4, False),
        (math.inf, 1e-4, False),
    ],
)
def test_judgement_at_its_boundaries(decay: float, noise: float, passed: bool) -> None:
    said = judge(RestFigures(decay, noise, 21, 600.0), BASELINE)
    assert said.passed is passed
    assert said.conclusive
    assert "mV/h is" in said.reason
    assert ("above" in said.reason) is not passed


@pytest.mark.parametrize(
    ("figures", "rests", "word"),
    [
        (RestFigures(NAN, NAN, 4, 60.0), BASELINE, "too few"),
        (RestFigures(0.0, NAN, 21, 600.0), BASELINE, "too few"),
        (RestFigures(0.0, 0.0, 21, 600.0), BASELINE[: BASELINE_LEAST_RESTS - 1], "untreated rests"),
        (RestFigures(0.0, 0.0, 21, 600.0), [], "untreated rests"),
    ],
)
def test_what_is_not_known_never_passes(figures, rests, word: str) -> None:
    said = judge(figures, rests)
    assert not said.passed
    assert not said.conclusive
    assert word in said.reason


def probed(moves: list[float], before_V: float = 1.0, current_A: float = 1e-3, flows=1.0) -> Probe:
    p = Probe(before_V)
    for move_V in moves:
        probe_reading(p, before_V + move_V, flows * current_A)
    return p


@pytest.mark.parametrize(
    ("moves", "asked_A", "proven"),
    [
        ([0.01] * 5, 1e-3, True),
        ([-0.01] * 5, 1e-3, False),  # reversed
        ([-0.01] * 5, -1e-3, True),
        ([0.01] * 5, -1e-3, False),
        ([1.01 * POLARITY_FLOOR_V] * 5, 1e-3, True),
        ([0.99 * POLARITY_FLOOR_V] * 5, 1e-3, False),
        ([0.01] * 2, 1e-3, False),  # too few
        ([0.01, 0.05, -0.03, 0.05, -0.03], 1e-3, False),  # within the noise
        ([0.01, NAN, 0.01, 0.01], 1e-3, False),
        ([], 1e-3, False),
    ],
)
def test_polarity_needs_a_response_of_the_right_sign_beyond_noise(moves, asked_A, proven) -> None:
    assert polarity(probed(moves, current_A=asked_A), asked_A)[0] is proven


def test_polarity_needs_the_current_that_was_asked_for() -> None:
    assert polarity(probed([0.01] * 5, flows=0.51), 1e-3)[0]
    assert not polarity(probed([0.01] * 5, flows=0.49), 1e-3)[0]
    assert not polarity(probed([0.01] * 5, flows=-1.0), 1e-3)[0]
    assert not polarity(probed([0.01] * 5, before_V=NAN), 1e-3)[0]


def test_the_record_survives_json_in_mid_rest() -> None:
    draw = random.Random(5)  # noqa: S311  noise
    line = every(30.0, lambda t: 3.8 - 0.01 * t / 3600.0 + draw.gauss(0.0, 1e-4))
    half = {t: v for t, v in line.items() if t <= 1500.0}
    check = short_check.ShortCheck(due="x", relaxation=rest(half), watching=True)
    again = short_check.from_dict(json.loads(json.dumps(short_check.to_dict(check))))
    for t, v in line.items():
        if t > 1500.0:
            observe(again.relaxation, t, t, v)
    assert figures_of(again.relaxation) == figures_of(rest(line))
    assert again.due == "x"
    assert again.watching
