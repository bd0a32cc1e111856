"""Effects at 1, 5 and 20 cycles: additive carry-over recovered, nulls said, forecasts censored."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller.domain.figures import CycleFigures, CycleKind, DischargeEnd
from controller.policy.horizons import (
    HORIZONS,
    Source,
    effects_of,
    forecast_effects_of,
)
from controller.policy.learning import MINIMUM_PER_ARM, Opportunity
from controller.policy.untreated import student_factor

UAH = 1e-6
# What one treatment does to each later cycle's net charge (uAh): 6 at once, then a little back.
BY_LAG = [0.0, 6.0, *[-0.5] * 4, *[0.1] * 15]
TRUE = {h: sum(BY_LAG[: h + 1]) for h in HORIZONS}


def cycle(number: int, net_uAh: float, **changed: object) -> CycleFigures:
    one = CycleFigures(
        cycle=number,
        kind=CycleKind.BASE,
        charge_Ah=3e-3,
        u_charge_Ah=0.0,
        discharge_Ah=3e-3 + net_uAh * UAH,
        u_discharge_Ah=0.0,
        net_charge_Ah=net_uAh * UAH,
        u_net_charge_Ah=0.05 * UAH,
        base_charge_Ah=3e-3,
        base_discharge_Ah=3e-3,
        treatment_net_charge_Ah=0.0,
        diagnostic_net_charge_Ah=0.0,
        coulombic_efficiency=0.99,
        u_coulombic_efficiency=1e-4,
        coulombic_efficiency_base=0.99,
        discharge_end=DischargeEnd.ANODE,
        discharge_end_probability=0.99,
        anchored=True,
    )
    return replace(one, **changed)  # type: ignore[arg-type]


def run(
    seed: int,
    *,
    cycles: int = 90,
    every: int = 3,
    p: float = 0.5,
    gain: float = 1.0,
    noise: float = 1.0,
    looks_better: float = 0.0,
) -> tuple[list[Opportunity], list[CycleFigures]]:
    """Return a run; `looks_better` is what the cycle after an opportunity has whatever is done."""
    rng = np.random.default_rng(seed)
    net = -20.0 + 0.05 * np.arange(cycles + 1) + rng.normal(0.0, noise, cycles + 1)
    made = []
    for number in range(8, cycles, every):
        treated = bool(rng.random() < p)
        made.append((number, treated))
        net[number + 1] += looks_better
        if treated:
            for lag in range(1, 21):
                if number + lag <= cycles:
                    net[number + lag] += gain * BY_LAG[lag]
    opportunities = [
        Opportunity(
            cycle=number,
            recipe="strip",
            treated=treated,
            probability=p,
            net_before_Ah=net[number] * UAH,
            net_charge_Ah=net[number + 1] * UAH,
            u_net_charge_Ah=0.05 * UAH,
        )
        for number, treated in made
    ]
    return opportunities, [cycle(number, float(net[number])) for number in range(1, cycles + 1)]


@pytest.mark.parametrize("p", [0.5, 0.75])
@pytest.mark.parametrize("looks_better", [0.0, 5.0])
@pytest.mark.parametrize("gain", [0.0, 1.0])
def test_contrasts_cover_what_a_treatment_does_though_others_follow(
    p: float, looks_better: float, gain: float
) -> None:
    inside = dict.fromkeys(HORIZONS, 0)
    errors: dict[int, list[float]] = {h: [] for h in HORIZONS}
    for seed in range(60):
        made, history = run(seed, p=p, looks_better=looks_better, gain=gain)
        for one in effects_of("strip", made, history):
            if one.recovered_Ah is None or one.u_recovered_Ah is None:
                assert min(one.treated, one.withheld) < MINIMUM_PER_ARM
                continue
            error = one.recovered_Ah - gain * TRUE[one.horizon] * UAH
            errors[one.horizon].append(error / UAH)
            inside[one.horizon] += abs(error) <= 1.96 * one.u_recovered_Ah
    for h in HORIZONS[1:]:
        count = len(errors[h])
        assert count >= 30
        assert inside[h] >= 0.88 * count
        spread = float(np.std(errors[h])) / np.sqrt(count)
        assert abs(float(np.mean(errors[h]))) <= 3.5 * spread


def test_the_window_has_to_be_whole_for_five_of_each() -> None:
    made, history = run(1, cycles=40)
    one, five, twenty = effects_of("strip", made, history)
    assert (one.horizon, five.horizon, twenty.horizon) == HORIZONS
    assert five.treated + five.withheld == sum(o.cycle + 5 <= 40 for o in made)
    assert twenty.recovered_Ah is None
    assert "20 whole cycles" in twenty.reason
    assert all(effect.source is Source.CONTRAST for effect in (one, five, twenty))


def test_an_interruption_takes_its_cycle_out() -> None:
    made, history = run(2)
    spoiled = [
        replace(one, net_charge_Ah=1.0, flags=("unobserved-charge",))
        if one.cycle in {21, 50}
        else one
        for one in history
    ]
    plain, without = (effects_of("strip", made, some)[1] for some in (history, spoiled))
    assert plain.recovered_Ah is not None
    assert without.recovered_Ah == pytest.approx(plain.recovered_Ah, abs=2 * UAH)


def test_what_an_anchor_takes_is_no_effect() -> None:
    """A cycle that ends in an anchor gives 100 uAh more, the next as much less."""
    made, history = run(3, noise=0.3)
    anchored = {o.cycle for o in made} | {o.cycle + 1 for o in made}
    changed = [
        replace(
            one,
            anchored=one.cycle in anchored,
            net_charge_Ah=one.net_charge_Ah
            + 100 * UAH * ((one.cycle in anchored) - (one.cycle - 1 in anchored)),
        )
        for one in history
    ]
    plain, with_anchors = (effects_of("strip", made, some)[1] for some in (history, changed))
    assert with_anchors.recovered_Ah == pytest.approx(plain.recovered_Ah, abs=0.5 * UAH)


def test_another_recipe_has_its_own_effect() -> None:
    made, history = run(4, gain=0.0, noise=0.3, cycles=120)
    rng = np.random.default_rng(40)
    net = {one.cycle: one.net_charge_Ah for one in history}
    drawn = {number: bool(rng.random() < 0.5) for number in range(9, 118, 3)}
    for number, treated in drawn.items():
        net[number + 1] += 10 * UAH * treated
    others = [
        replace(
            made[0],
            cycle=number,
            recipe="rest",
            treated=treated,
            net_before_Ah=net[number],
            net_charge_Ah=net[number + 1],
        )
        for number, treated in drawn.items()
    ]
    history = [replace(one, net_charge_Ah=net[one.cycle]) for one in history]
    strip = effects_of("strip", [*made, *others], history)[1]
    rest = effects_of("rest", [*made, *others], history)[1]
    assert strip.recovered_Ah == pytest.approx(0.0, abs=2.5 * (strip.u_recovered_Ah or 0.0))
    assert rest.recovered_Ah == pytest.approx(10 * UAH, abs=2.5 * (rest.u_recovered_Ah or 0.0))
    assert (rest.u_recovered_Ah or 1.0) < 2 * UAH


def test_what_net_charge_does_not_measure_has_no_effect_at_any_horizon() -> None:
    made, history = run(5)
    for found in (effects_of, forecast_effects_of):
        for one in found("strip", made, history, not_credited="lower later loss"):
            assert one.recovered_Ah is None
            assert one.reason == "lower later loss"


def test_a_forecast_is_censored_where_other_treatments_follow() -> None:
    made, history = run(6)
    one, five, twenty = forecast_effects_of("strip", made, history)
    assert one.recovered_Ah == pytest.approx(6 * UAH, abs=2.5 * (one.u_recovered_Ah or 0.0))
    assert one.source is Source.FORECAST
    assert "not randomised" in one.reason
    assert five.treated < one.treated
    assert (twenty.treated, twenty.recovered_Ah) == (0, None)
    assert "free of other treatments" in twenty.reason


def test_a_forecast_covers_single_treatments_far_apart() -> None:
    inside = total = 0
    for seed in range(40):
        made, history = run(seed, cycles=300, every=26, p=0.9)
        for one in forecast_effects_of("strip", made, history):
            if one.recovered_Ah is None or one.u_recovered_Ah is None:
                continue
            total += 1
            inside += abs(one.recovered_Ah - TRUE[one.horizon] * UAH) <= 1.96 * one.u_recovered_Ah
    assert total >= 100
    assert inside >= 0.9 * total


def test_students_factor() -> None:
    assert student_factor(10) == pytest.approx(2.228 / 1.960, rel=2e-3)
    assert student_factor(1000) == pytest.approx(1.962 / 1.960, rel=1e-3)


@pytest.mark.parametrize("flag", ["interrupted", "unobserved-charge"])
def test_a_window_with_an_interruption_does_not_count_nor_do_three_cycles_after(flag: str) -> None:
    opportunities, history = run(3)
    at = opportunities[4].cycle + 1
    broken = [replace(one, flags=(flag,)) if one.cycle == at else one for one in history]
    for horizon in HORIZONS[1:]:
        whole, left = (
            next(one for one in effects_of("strip", opportunities, some) if one.horizon == horizon)
            for some in (history, broken)
        )
        touched = sum(
            not set(range(one.cycle + 1, one.cycle + horizon + 1)).isdisjoint(range(at, at + 4))
            and one.cycle + horizon <= history[-1].cycle
            for one in opportunities
        )
        assert touched >= 2
        assert whole.treated + whole.withheld - left.treated - left.withheld == touched


def test_what_a_reference_test_gives_by_itself_is_taken_for_no_effect() -> None:
    """About every tenth cycle a test, which brings 10 uAh back two cycles after it, in either arm."""
    inside, errors = 0, []
    for seed in range(20):
        opportunities, history = run(seed, cycles=120, noise=0.2)
        tests = {one.cycle for one in history if one.cycle % 10 == 0}
        tests -= {one.cycle + k for one in opportunities for k in (0, 1)}
        told = [
            replace(
                one,
                kind=CycleKind.REFERENCE if one.cycle in tests else CycleKind.BASE,
                net_charge_Ah=one.net_charge_Ah + 10 * UAH * (one.cycle - 2 in tests),
            )
            for one in history
        ]
        [found] = [one for one in effects_of("strip", opportunities, told) if one.horizon == 5]
        assert found.recovered_Ah is not None
        assert found.u_recovered_Ah is not None
        errors.append(found.recovered_Ah / UAH - TRUE[5])
        inside += abs(errors[-1]) <= 1.96 * found.u_recovered_Ah / UAH
    assert inside >= 16  # at 95 %, 15 of 20 or fewer have a chance of 1 in 400
    assert np.median(np.abs(errors)) < 1.5  # of the 10
