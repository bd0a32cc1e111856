"""Which protocol, when and why: first rules, each stated in the decision's reason.

Rules look at net charge, never at a ratio that pulses pull towards 1. Nothing is decided on cycles
before the drift after formation has ended, nor on cycles after an interruption.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from controller.domain.decision import Decision
from controller.domain.events import JsonScalar
from controller.domain.figures import (
    EXCLUDED_AFTER_INTERRUPTION,
    SPOILS_EFFECT,
    CycleFigures,
    CycleKind,
    DischargeEnd,
)
from controller.policy.learning import Opportunity, effect_of, uniform

DRIFT_CYCLES: Final = 5
# A loss counts as seen when it exceeds the threshold by this many standard uncertainties.
SEEN_AT_U: Final = 2.0
# Success by shorting: a resistance that steps down this much, and this sure, is harm (assumed).
SHORT_STEP_FRACTION: Final = 0.15
SHORT_STEP_U: Final = 4.0
SHORT_COMPARISON_CYCLES: Final = 3
# So many cycles with a soft short bar high-current treatment for good.
SHORTS_LATCH: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleConfig:
    """The owner's wishes: which recipes, how often, at what price.

    `value_per_mAh` and `price_per_h` are in the same unit; their ratio is what decides.

    Attributes
    ----------
    loss_shows : bool
        Net charge shows lithium lost in this format. Where it does not (lithium in excess, two
        foils) an opportunity comes by cadence, after `spacing_cycles`.
    exploration_sd : float
        A recipe that has not been learnt yet is given its prior mean and this many prior standard
        deviations: what is believed to give nothing is tried only by an owner who wants to know.
    """

    protocols: tuple[str, ...]
    spacing_cycles: int
    budget_h: float
    treat_probability: float
    value_per_mAh: float
    price_per_h: float
    loss_threshold_Ah: float
    loss_shows: bool = True
    exploration_sd: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A recipe that may be run now, with what is expected of it.

    `prior_gain_Ah` and its standard deviation `prior_sd_Ah` are assumed (the recipe says so);
    `hours` is its cost in channel time. `not_credited` says why net charge does not measure its
    effect, so that nothing is learnt of it; empty where it does.
    """

    recipe: str
    prior_gain_Ah: float
    hours: float
    prior_sd_Ah: float = 0.0
    not_credited: str = ""


@dataclass(slots=True, kw_only=True)
class SchedulerState:
    """What the scheduler remembers; plain data, part of the run's checkpoint."""

    opportunities: list[Opportunity] = field(default_factory=list)
    hours_spent: float = 0.0
    excluded_until_cycle: int = 0
    shorts_seen: int = 0


def decide(
    state: SchedulerState,
    config: ScheduleConfig,
    history: Sequence[CycleFigures],
    candidates: Sequence[Candidate],
    refused: Mapping[str, str],
    *,
    cycle: int,
    seed: int,
) -> Decision:
    """Decide what the next cycle is to do.

    Parameters
    ----------
    history : sequence of CycleFigures
        All closed cycles, the present one last.
    candidates : sequence of Candidate
        Recipes that cell, limits, cycler and state allow now.
    refused : mapping
        The others, with the reason.
    cycle : int
        The cycle in which the decision is made.
    seed : int
        Decides, with the number of the opportunity, whether treatment is withheld.

    Returns
    -------
    Decision
    """
    inputs: dict[str, JsonScalar] = {"hours_spent": round(state.hours_spent, 3)}

    def nothing(reason: str) -> Decision:
        return Decision(
            cycle=cycle,
            protocol=None,
            candidate=None,
            opportunity=False,
            withheld=False,
            probability=math.nan,
            reason=reason,
            inputs=inputs,
            refused=dict(refused),
        )

    if not config.protocols:
        return nothing("no protocols are scheduled")
    waiting = _waiting(state, config, history, cycle, inputs)
    if waiting:
        return nothing(waiting)
    if not candidates:
        return nothing(
            "every scheduled protocol is refused: "
            + "; ".join(f"{name}: {reason}" for name, reason in refused.items())
        )
    best, utility = _best(state, config, candidates)
    inputs["expected_utility"] = round(utility, 6)
    if best.hours + state.hours_spent > config.budget_h:
        return nothing(
            f"{best.recipe} costs {best.hours:.1f} h, {config.budget_h - state.hours_spent:.1f} h "
            "of the budget are left"
        )
    if not utility > 0.0:
        return nothing(f"{best.recipe} is not worth its {best.hours:.1f} h")
    treated = uniform(seed, len(state.opportunities)) < config.treat_probability
    why = f"net charge shows no lithium lost here; every {config.spacing_cycles + 1} cycles"
    if config.loss_shows:
        why = f"{inputs['net_charge_lost_mAh']} mAh lost since the last opportunity"
    return Decision(
        cycle=cycle,
        protocol=best.recipe if treated else None,
        candidate=best.recipe,
        opportunity=True,
        withheld=not treated,
        probability=config.treat_probability,
        reason=f"{why}: {best.recipe}" + ("" if treated else ", withheld at random as its control"),
        inputs=inputs,
        refused=dict(refused),
    )


def _waiting(
    state: SchedulerState,
    config: ScheduleConfig,
    history: Sequence[CycleFigures],
    cycle: int,
    inputs: dict[str, JsonScalar],
) -> str:
    """Return why there is nothing to decide yet, or an empty string."""
    base = at_base_rate(history)
    if cycle < state.excluded_until_cycle:
        return f"the run was interrupted; cycles before {state.excluded_until_cycle} do not count"
    if not state.opportunities and not drift_over(base):  # else it was: they came after it
        shows = any(one.coulombic_efficiency is not None for one in base) or not base
        return f"{'efficiency' if shows else 'resistance'} still drifts after formation"
    last = state.opportunities[-1].cycle if state.opportunities else -config.spacing_cycles
    since = [one for one in base if one.cycle > last + 1 or not state.opportunities]
    if cycle - last <= config.spacing_cycles:
        return f"an opportunity every {config.spacing_cycles + 1} cycles at most"
    recent = since[-max(config.spacing_cycles, 1) * 3 :]
    if not recent:
        return "no cycle at base rate since the last opportunity or change of rate"
    if not config.loss_shows:
        return ""
    loss_Ah, u_Ah = _loss(recent)
    inputs["net_charge_lost_mAh"] = round(loss_Ah * 1e3, 4)
    inputs["u_net_charge_lost_mAh"] = round(u_Ah * 1e3, 4)
    inputs["cycles_summed"] = len(recent)
    inputs["discharge_end"] = history[-1].discharge_end.value
    if not loss_Ah > config.loss_threshold_Ah + SEEN_AT_U * u_Ah:
        text = f"net charge lost {loss_Ah * 1e3:.4f} +- {u_Ah * 1e3:.4f} mAh is below the threshold"
        if history[-1].discharge_end is DischargeEnd.CATHODE:
            text += "; the discharge ends at the cathode, so lithium loss cannot be seen"
        return text
    return ""


def at_base_rate(history: Sequence[CycleFigures]) -> list[CycleFigures]:
    """Return the base cycles that follow a base cycle.

    The first after formation or a reference test begins from the state another rate left (a slow
    discharge fills the cathode further): its net charge is that difference, not lithium lost.
    """
    return [
        one
        for before, one in pairwise(history)
        if one.kind is CycleKind.BASE and before.kind is CycleKind.BASE
    ]


def _loss(cycles: Sequence[CycleFigures]) -> tuple[float, float]:
    """Return net charge lost and its u. One current range: the gain error is common, so it adds."""
    loss = -sum(one.net_charge_Ah for one in cycles)
    return loss, sum(one.u_net_charge_Ah for one in cycles)


def _best(
    state: SchedulerState, config: ScheduleConfig, candidates: Sequence[Candidate]
) -> tuple[Candidate, float]:
    """Return the candidate of highest expected utility; learnt gains replace the prior."""

    def utility(one: Candidate) -> float:
        learnt = effect_of(one.recipe, state.opportunities, not_credited=one.not_credited)
        gain_Ah = one.prior_gain_Ah + config.exploration_sd * one.prior_sd_Ah
        if learnt.recovered_Ah is not None:
            gain_Ah = learnt.recovered_Ah
        return gain_Ah * 1e3 * config.value_per_mAh - one.hours * config.price_per_h

    best = max(candidates, key=lambda one: (utility(one), one.recipe))
    return best, utility(best)


def drift_over(base: Sequence[CycleFigures]) -> bool:
    """Return whether the slope of five efficiencies in a row was once within its uncertainty.

    Rules, section 3: drift after formation ends when the 5-cycle slope is within (twice) its
    standard uncertainty, from the readings' own uncertainty and the scatter about the line. Later
    slopes are ageing. A format without efficiency is judged by its resistance. A cycle that ended
    in an anchor and began from none, or the other way round, does not count: it moved charge
    between the two states.
    """
    followed = _followed(
        [one for before, one in pairwise([*base[:1], *base]) if one.anchored == before.anchored]
    )
    windows = range(DRIFT_CYCLES, len(followed) + 1)
    return any(_stands_still(followed[end - DRIFT_CYCLES : end]) for end in windows)


def _stands_still(recent: Sequence[tuple[float, float]]) -> bool:
    """Return whether the slope of values, each with its u, is within twice its uncertainty."""
    y = [value for value, _ in recent]
    u = [own for _, own in recent]
    x = [float(index) - (len(y) - 1) / 2 for index in range(len(y))]
    sxx = sum(value * value for value in x)
    mean = sum(y) / len(y)
    slope = sum(a * b for a, b in zip(x, y, strict=True)) / sxx
    residual = sum((b - mean - slope * a) ** 2 for a, b in zip(x, y, strict=True)) / (len(y) - 2)
    own = sum(value * value for value in u) / len(u)
    return abs(slope) <= 2.0 * math.sqrt(max(residual, own) / sxx)


def _followed(cycles: Sequence[CycleFigures]) -> list[tuple[float, float]]:
    """Return value and u of what shows the drift: efficiency, or resistance where none has any."""
    if all(one.coulombic_efficiency is None for one in cycles):
        return [
            (one.resistance_Ohm, one.u_resistance_Ohm)
            for one in cycles
            if math.isfinite(one.resistance_Ohm)
        ]
    return [
        (one.coulombic_efficiency, one.u_coulombic_efficiency or 0.0)
        for one in cycles
        if one.coulombic_efficiency is not None
    ]


def short_sign(state: SchedulerState, history: Sequence[CycleFigures]) -> bool:
    """Return whether a soft short is suspected now, or has been seen again: that latches."""
    return state.shorts_seen >= SHORTS_LATCH or soft_short_suspected(history)


def soft_short_suspected(history: Sequence[CycleFigures]) -> bool:
    """Return whether the last cycle shows a soft short, or its resistance has stepped down.

    A soft short lowers resistance and looks like success: it counts as harm and bars further
    high-current treatment.
    """
    if history and "soft-short" in history[-1].flags:
        return True
    values = [
        (one.resistance_Ohm, one.u_resistance_Ohm)
        for one in history
        if one.kind is CycleKind.BASE
        and math.isfinite(one.resistance_Ohm)
        and one.treatment_net_charge_Ah == 0.0  # a strip leaves another state behind
    ]
    if len(values) < SHORT_COMPARISON_CYCLES + 1:
        return False
    before = values[-SHORT_COMPARISON_CYCLES - 1 : -1]
    level = sorted(value for value, _ in before)[len(before) // 2]
    now, u_now = values[-1]
    u = math.hypot(u_now, max(u_before for _, u_before in before))
    return level - now > max(SHORT_STEP_FRACTION * level, SHORT_STEP_U * u)


def record_decision(
    state: SchedulerState, decision: Decision, history: Sequence[CycleFigures], hours: float
) -> None:
    """Remember an opportunity and what it will cost."""
    if not decision.opportunity or decision.candidate is None:
        return
    base = [one for one in history if one.kind is CycleKind.BASE]
    state.opportunities.append(
        Opportunity(
            cycle=decision.cycle,
            recipe=decision.candidate,
            treated=not decision.withheld,
            probability=decision.probability,
            net_before_Ah=base[-1].net_charge_Ah if base else 0.0,
            excluded=hidden_by_ends(base),
        )
    )
    state.hours_spent += hours


def hidden_by_ends(base: Sequence[CycleFigures]) -> str:
    """Return why an opportunity after these cycles does not count; empty where it does.

    What a discharge that ends at the cathode brings back stays on the anode. Where another
    electrode ends the discharge than ended the one before, net charge jumps by what either of them
    keeps: the cycle before tells nothing of it.
    """
    ends = {one.discharge_end for one in base[-2:]} - {DischargeEnd.UNKNOWN}
    if DischargeEnd.CATHODE in ends or len(ends) > 1:
        return f"the last two discharges ended {' and '.join(sorted(ends))}"
    return ""


def record_outcome(state: SchedulerState, figures: CycleFigures) -> None:
    """Close the opportunity whose block this cycle was (anchor to anchor); count a short."""
    state.shorts_seen += "soft-short" in figures.flags
    if not state.opportunities:
        return
    last = state.opportunities[-1]
    if last.net_charge_Ah is not None or last.excluded or figures.cycle != last.cycle + 1:
        return
    spoils = [flag for flag in figures.flags if flag in SPOILS_EFFECT]
    if spoils:
        last.excluded = ", ".join(spoils)
    elif not figures.anchored:
        moved = " (the temperature moved)" if "temperature-moved" in figures.flags else ""
        last.excluded = f"did not end in an anchor state{moved}"
    else:
        last.net_charge_Ah = figures.net_charge_Ah
        last.u_net_charge_Ah = figures.u_net_charge_Ah
        last.net_errors = figures.net_errors


def exclude_after_interruption(state: SchedulerState, cycle: int) -> None:
    """Bar decisions in the cycles after an unplanned pause, crash or safe rest."""
    state.excluded_until_cycle = max(
        state.excluded_until_cycle, cycle + EXCLUDED_AFTER_INTERRUPTION + 1
    )
