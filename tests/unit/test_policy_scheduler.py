"""The scheduler's rules and what is learnt from withheld treatments."""

import math
from dataclasses import replace

import numpy as np
import pytest

from controller.domain.figures import CycleFigures, CycleKind, DischargeEnd, RangeErrors
from controller.policy.learning import (
    MINIMUM_PER_ARM,
    Opportunity,
    common_u_Ah,
    effect_of,
    uniform,
)
from controller.policy.scheduler import (
    Candidate,
    ScheduleConfig,
    SchedulerState,
    decide,
    drift_over,
    exclude_after_interruption,
    record_decision,
    record_outcome,
    short_sign,
    soft_short_suspected,
)

CONFIG = ScheduleConfig(
    protocols=("strip", "rest"),
    spacing_cycles=2,
    budget_h=50.0,
    treat_probability=0.5,
    value_per_mAh=1.0,
    price_per_h=0.0002,
    loss_threshold_Ah=9e-6,
)
STRIP = Candidate(recipe="strip", prior_gain_Ah=6e-6, hours=2.0)


def cycle(
    number: int,
    *,
    net_mAh: float = -0.012,
    ce: float = 0.996,
    u_ce: float = 5e-5,
    end: DischargeEnd = DischargeEnd.ANODE,
    resistance: float = 10.0,
    **extra,
) -> CycleFigures:
    values = {
        "cycle": number,
        "kind": CycleKind.BASE,
        "charge_Ah": 3e-3,
        "u_charge_Ah": 1e-7,
        "discharge_Ah": 3e-3 + net_mAh * 1e-3,
        "u_discharge_Ah": 1e-7,
        "net_charge_Ah": net_mAh * 1e-3,
        "u_net_charge_Ah": 2e-7,
        "base_charge_Ah": 3e-3,
        "base_discharge_Ah": 3e-3,
        "treatment_net_charge_Ah": 0.0,
        "diagnostic_net_charge_Ah": 0.0,
        "coulombic_efficiency": ce,
        "u_coulombic_efficiency": u_ce,
        "coulombic_efficiency_base": ce,
        "discharge_end": end,
        "discharge_end_probability": 0.99,
        "resistance_Ohm": resistance,
        "u_resistance_Ohm": 0.05,
    }
    return CycleFigures(**{**values, **extra})


def ask(history, state=None, candidates=(STRIP,), config=CONFIG, seed=1):
    return decide(
        state or SchedulerState(),
        config,
        history,
        list(candidates),
        {},
        cycle=history[-1].cycle,
        seed=seed,
    )


STEADY = [cycle(n) for n in range(1, 9)]


def test_a_seen_loss_makes_an_opportunity() -> None:
    decision = ask(STEADY)
    assert decision.opportunity
    assert decision.candidate == "strip"
    assert decision.protocol == ("strip" if not decision.withheld else None)
    assert decision.probability == 0.5


def test_no_loss_no_treatment_and_the_cathode_is_named() -> None:
    history = [cycle(n, net_mAh=0.0, end=DischargeEnd.CATHODE) for n in range(1, 8)]
    decision = ask(history)
    assert not decision.opportunity
    assert "cannot be seen" in decision.reason


def test_a_loss_within_its_uncertainty_is_no_loss() -> None:
    history = [cycle(n, u_net_charge_Ah=1.2e-5) for n in range(1, 8)]
    assert not ask(history).opportunity


def test_drift_after_formation_bars_decisions() -> None:
    drifting = [cycle(n, ce=0.95 + 0.008 * n) for n in range(1, 6)]
    assert not drift_over(drifting)
    assert "drifts" in ask(drifting).reason
    assert not drift_over(STEADY[:4])
    assert drift_over(STEADY)


def test_drift_is_over_once_it_was_and_not_by_waiting() -> None:
    rising = [cycle(n, ce=0.95 + 0.004 * n) for n in range(1, 21)]
    assert not drift_over(rising)
    ageing = [*STEADY[:5], *(cycle(n, ce=0.996 - 0.004 * (n - 5)) for n in range(6, 12))]
    assert drift_over(ageing)


def test_cycles_that_change_to_an_anchor_and_back_say_nothing_of_drift() -> None:
    """A slow hold at the end gives more, and the cycle after it gives as much less."""
    changing = [replace(one, anchored=one.cycle % 2 == 0) for one in STEADY]
    assert drift_over(STEADY)
    assert not drift_over(changing)


@pytest.mark.parametrize(("price", "treats"), [(0.0029, True), (0.0031, False)])
def test_what_is_not_worth_its_hours_is_not_done(price: float, treats: bool) -> None:
    config = ScheduleConfig(
        **{f: getattr(CONFIG, f) for f in CONFIG.__slots__} | {"price_per_h": price}
    )
    assert ask(STEADY, config=config).opportunity is treats


@pytest.mark.parametrize(("spent", "treats"), [(48.0, True), (48.01, False)])
def test_the_budget_binds(spent: float, treats: bool) -> None:
    assert ask(STEADY, SchedulerState(hours_spent=spent)).opportunity is treats


def test_the_cycle_after_another_rate_is_no_loss() -> None:
    quiet = [cycle(n, net_mAh=0.0) for n in range(1, 8)]
    after_slow = [
        *quiet,
        cycle(8, kind=CycleKind.REFERENCE),
        cycle(9, net_mAh=-0.13),
        cycle(10, net_mAh=0.0),
    ]
    assert not ask(after_slow).opportunity


def test_spacing_and_interruption_bar_decisions() -> None:
    state = SchedulerState()
    record_decision(state, ask(STEADY), STEADY, 2.0)
    later = [cycle(n) for n in range(1, 11)]
    assert "at most" in ask(later, state).reason
    assert ask([*later, cycle(11)], state).opportunity
    exclude_after_interruption(state, 11)
    assert "interrupted" in ask([*later, cycle(11)], state).reason


def test_refusals_are_given_with_the_decision() -> None:
    decision = decide(SchedulerState(), CONFIG, STEADY, [], {"strip": "too warm"}, cycle=7, seed=1)
    assert decision.protocol is None
    assert "too warm" in decision.reason
    assert decision.refused == {"strip": "too warm"}


def test_withholding_follows_the_probability_and_the_seed() -> None:
    draws = [uniform(seed, index) for seed in range(40) for index in range(50)]
    assert abs(float(np.mean(draws)) - 0.5) < 0.03
    assert uniform(3, 4) == uniform(3, 4) != uniform(3, 5)


def opportunities(gain_mAh: float, n: int, seed: int, p: float = 0.5) -> list[Opportunity]:
    rng = np.random.default_rng(seed)
    made = []
    for index in range(n):
        before = float(rng.normal(-0.012, 0.003))
        treated = bool(rng.random() < p)
        net = 0.5 * before + float(rng.normal(0.0, 0.002)) + gain_mAh * treated
        made.append(
            Opportunity(
                cycle=3 * index,
                recipe="strip",
                treated=treated,
                probability=p,
                net_before_Ah=before * 1e-3,
                net_charge_Ah=net * 1e-3,
                u_net_charge_Ah=2e-7,
            )
        )
    return made


def test_too_few_opportunities_give_null_with_the_reason() -> None:
    effect = effect_of("strip", opportunities(0.006, 2 * MINIMUM_PER_ARM - 1, 0))
    assert effect.recovered_Ah is None
    assert "needed" in effect.reason


@pytest.mark.parametrize("gain_mAh", [0.0, 0.006])
@pytest.mark.parametrize("p", [0.5, 0.8])
def test_the_contrast_covers_the_true_gain(gain_mAh: float, p: float) -> None:
    inside = total = 0
    for seed in range(200):
        effect = effect_of("strip", opportunities(gain_mAh, 40, seed, p))
        if effect.recovered_Ah is None or effect.u_recovered_Ah is None:
            continue
        total += 1
        inside += abs(effect.recovered_Ah - gain_mAh * 1e-3) <= 2.0 * effect.u_recovered_Ah
    assert total >= 150
    assert inside / total >= 0.90


def test_a_gain_difference_between_ranges_is_never_called_recovery() -> None:
    """A null cell whose treatment uses a range 0.1 % off: 100 treatments claim nothing."""
    moved_Ah, gain_difference, gain_u = 9e-5, 1e-3, 5e-4
    rng = np.random.default_rng(3)
    made = opportunities(0.0, 200, 5)
    for one in made:
        one.net_charge_Ah = float(rng.normal(-1.2e-5, 1e-8))
        one.u_net_charge_Ah = 1e-9
        one.net_before_Ah = -1.2e-5
        if one.treated:
            one.net_charge_Ah += gain_difference * moved_Ah
            one.u_net_charge_Ah = math.sqrt(2.0) * gain_u * moved_Ah  # one range against the other
    effect = effect_of("strip", made)
    assert effect.treated >= 90
    assert effect.recovered_Ah is not None
    assert effect.u_recovered_Ah is not None
    assert abs(effect.recovered_Ah) <= 2.0 * effect.u_recovered_Ah


def test_errors_of_a_range_cancel_but_for_what_one_arm_passes_more() -> None:
    made = opportunities(0.006, 40, 1)
    for one in made:
        one.u_net_charge_Ah = math.hypot(3e-6, 1e-6, 1e-7)
        one.net_errors = (RangeErrors(1e-3, 3e-6, -1e-6),)
    assert common_u_Ah(made) == pytest.approx(0.0, abs=1e-12)
    for one in made:
        if one.treated:  # a step in a range of its own, and an hour longer in the other
            one.net_errors = (RangeErrors(1e-3, 3e-6, -1.2e-6), RangeErrors(1e-2, -4e-7, 0.0))
            one.u_net_charge_Ah = math.hypot(3e-6, 1.2e-6, 4e-7, 4e-7)
    assert common_u_Ah(made) == pytest.approx(math.hypot(2e-7, 4e-7, 3e-7), rel=1e-6)
    for one in made:
        one.net_errors = ()  # ranges not known: nothing cancels
        one.u_net_charge_Ah = 3e-6
    assert common_u_Ah(made) == pytest.approx(math.sqrt(2.0) * 3e-6)


@pytest.mark.parametrize(
    ("ends", "counted"),
    [
        (("anode-limited", "anode-limited"), True),
        (("unknown", "anode-limited"), True),
        (("unknown", "unknown"), True),
        (("polarisation-limited", "polarisation-limited"), True),
        (("polarisation-limited", "anode-limited"), False),
        (("cathode-limited", "anode-limited"), False),
        (("cathode-limited", "cathode-limited"), False),
        (("unknown", "cathode-limited"), False),
    ],
)
def test_an_opportunity_whose_ends_hide_what_came_back_does_not_count(
    ends: tuple[str, str], counted: bool
) -> None:
    last = [
        replace(one, discharge_end=DischargeEnd(end))
        for one, end in zip(STEADY[-2:], ends, strict=True)
    ]
    history = [*STEADY[:-2], *last]
    state = SchedulerState()
    record_decision(state, ask(history), history, 2.0)
    record_outcome(state, cycle(9, net_mAh=-0.004, anchored=True))
    [one] = state.opportunities
    assert (one.net_charge_Ah is not None) is counted
    effect = effect_of(one.recipe, state.opportunities)
    assert effect.treated + effect.withheld == int(counted)
    assert ("1 do not count (last: the last two discharges ended " in effect.reason) is not counted


def test_an_outcome_counts_only_from_anchor_to_anchor() -> None:
    for extra, counted in (
        ({"anchored": True}, True),
        ({"anchored": False}, False),
        ({"anchored": True, "flags": ("unobserved-charge",)}, False),
        ({"anchored": True, "flags": ("treatment-abandoned",)}, False),
        ({"anchored": True, "flags": ("gap",)}, False),
        ({"anchored": True, "flags": ("sign-implausible",)}, False),
        ({"anchored": False, "flags": ("temperature-moved",)}, False),
    ):
        state = SchedulerState()
        record_decision(state, ask(STEADY), STEADY, 2.0)
        record_outcome(state, cycle(9, net_mAh=-0.004, **extra))
        [one] = state.opportunities
        assert (one.net_charge_Ah is not None) is counted
        assert bool(one.excluded) is not counted


def test_a_short_that_is_seen_again_bars_for_good() -> None:
    state = SchedulerState()
    history = []
    for number in range(1, 9):
        history.append(cycle(number, flags=("soft-short",) if number in (3, 6) else ()))
        record_outcome(state, history[-1])
        assert short_sign(state, history) is (number == 3 or number >= 6)


def test_a_resistance_that_steps_down_is_suspected() -> None:
    steady = [cycle(n, resistance=10.0 + 0.02 * n) for n in range(1, 6)]
    assert not soft_short_suspected(steady)
    assert soft_short_suspected([*steady, cycle(6, resistance=8.0)])
    assert not soft_short_suspected([*steady, cycle(6, resistance=9.2)])
    assert not soft_short_suspected([*steady, cycle(6, resistance=8.0, u_resistance_Ohm=1.0)])
    assert not soft_short_suspected([*steady, cycle(6, resistance=math.nan)])


# --- formats whose net charge shows no lithium lost -----------------------------------------------

BY_CADENCE = replace(CONFIG, loss_shows=False)
HEAT = Candidate(
    recipe="heat",
    prior_gain_Ah=0.0,
    prior_sd_Ah=3e-5,
    hours=4.0,
    not_credited="its benefit is lower later loss",
)
NO_LOSS = [cycle(n, net_mAh=0.0) for n in range(1, 9)]


def test_without_a_loss_that_shows_an_opportunity_comes_by_cadence() -> None:
    assert not ask(NO_LOSS).opportunity
    decision = ask(NO_LOSS, config=BY_CADENCE)
    assert decision.opportunity
    assert "shows no lithium lost" in decision.reason
    assert "every 3 cycles" in decision.reason
    assert "net_charge_lost_mAh" not in decision.inputs
    state = SchedulerState()
    record_decision(state, decision, NO_LOSS, 2.0)
    for number in range(9, 12):
        later = ask([*NO_LOSS, *(cycle(n) for n in range(9, number + 1))], state, config=BY_CADENCE)
        assert later.opportunity is (number == 11)


def test_what_is_believed_to_give_nothing_is_tried_only_by_who_wants_to_know() -> None:
    refused = ask(NO_LOSS, candidates=(HEAT,), config=BY_CADENCE)
    assert not refused.opportunity
    assert "not worth" in refused.reason
    curious = replace(BY_CADENCE, exploration_sd=1.0)
    assert ask(NO_LOSS, candidates=(HEAT,), config=curious).candidate == "heat"
    # 4 h cost 0.8 uAh here; a thousandth of the standard deviation does not pay for them
    hardly = replace(BY_CADENCE, exploration_sd=0.001)
    assert not ask(NO_LOSS, candidates=(HEAT,), config=hardly).opportunity


def test_what_net_charge_does_not_measure_is_never_learnt_from_it() -> None:
    made = opportunities(0.006, 40, 0)
    reason = "net charge is no measure"
    effect = effect_of("strip", made, not_credited=reason)
    assert (effect.recovered_Ah, effect.u_recovered_Ah, effect.reason) == (None, None, reason)
    known = effect_of("strip", made)
    assert (effect.treated, effect.withheld) == (known.treated, known.withheld)
    # nor does the scheduler: its belief stays the prior's
    state = SchedulerState(opportunities=made)
    state.opportunities[-1].cycle = 1
    curious = replace(BY_CADENCE, exploration_sd=1.0)
    believed = replace(STRIP, prior_gain_Ah=0.0, not_credited=reason)
    worth = ask(NO_LOSS, state, (believed,), curious).inputs["expected_utility"]
    assert worth == pytest.approx(-2.0 * CONFIG.price_per_h, abs=1e-6)


def resistances(values, u=0.05):
    return [
        cycle(n, ce=None, u_ce=None, resistance=value, u_resistance_Ohm=u)
        for n, value in enumerate(values, 1)
    ]


def test_drift_without_an_efficiency_is_the_resistances() -> None:
    assert drift_over(resistances([12.0, 12.01, 11.99, 12.0, 12.01]))
    assert not drift_over(resistances([14.0, 13.0, 12.5, 12.2, 12.0]))
    assert not drift_over(resistances([12.0, 12.0, 12.0, 12.0]))
    assert not drift_over(resistances([12.0, math.nan, 12.0, 12.0, 12.0]))
    falling = resistances([14.0, 13.0, 12.5, 12.2, 12.0])
    assert ask(falling, config=BY_CADENCE).reason == "resistance still drifts after formation"
    # a cycle that lost its efficiency does not turn the others into resistances
    mixed = [*STEADY[:4], *resistances([10.0])]
    assert not drift_over(mixed)
