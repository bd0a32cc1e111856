"""After a fast treatment nothing is charged until an open-circuit check has passed."""

from __future__ import annotations

import json
import math
import random
from dataclasses import replace

import pytest

from controller.core import short_check
from controller.core.plan import BASELINE_REST, CycleKey
from controller.core.state import from_text, to_text
from controller.core.step import CoreConfig
from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, TAG_TREATMENT
from controller.domain.errors import RunDirectoryError
from controller.domain.events import EventKind
from controller.domain.figures import CycleKind
from controller.domain.step import Stage, Step
from controller.domain.verdict import REST, Verdict
from controller.policy.machine import State
from protocols.registry import library
from protocols.resolve import resolve
from protocols.spec import OCV_CHECK_S, Placement
from tests.unit.core_rig import QUIET_RESTS, Rig, library_steps, with_recipe

RESTED = Verdict(REST, 1)
BARE = with_recipe("nothing", ())


def heating() -> CoreConfig:
    return with_recipe("self-heating", library_steps("self-heating", BARE))


def strip_without_check() -> CoreConfig:
    """A fast strip whose author forgot the check; the base cycle charges right after it."""
    strip = Step(
        name="fast strip",
        stage=Stage.EXECUTE,
        kind=DISCHARGE,
        current_A=-8e-3,
        voltage_bound_V=-1.0,
        max_duration_s=20.0,
        tag=TAG_TREATMENT,
        envelope="fast-strip",
    )
    return with_recipe("bare-strip", (strip,))


def started(config: CoreConfig, recipe: str, **cell: float) -> Rig:
    rig = Rig(config, **cell)
    rig.charge_Ah = 1e-3
    rig.state.short_check.rests = list(QUIET_RESTS)
    rig.start(recipe)
    return rig


def paused(rig: Rig) -> bool:
    return rig.state.run_state is State.PAUSED


def next_cycle(rig: Rig) -> bool:
    return rig.state.cycle > 1 or rig.state.run_state is State.COMPLETED


def checks(rig: Rig) -> list[str]:
    return [text for text in rig.said() if text.startswith("open-circuit check")]


def test_a_quiet_cell_passes_and_goes_on() -> None:
    rig = started(heating(), "self-heating")
    rig.until(next_cycle)
    (said,) = checks(rig)
    assert said.startswith("open-circuit check after self-heating passed: decay ")
    assert "mV/h is within" in said
    assert "uV is within" in said
    assert rig.fast_commands > 60
    assert rig.charged_too_early == []
    assert rig.state.short_check.due == ""
    assert rig.state.treatments_harmful == {}
    assert rig.state.envelope_openings == {"self-heating": 1}


@pytest.mark.parametrize("cell", [{"shorted_A": 6e-5}, {"jumps_V": 2e-3}], ids=["decay", "noise"])
def test_a_shorted_cell_is_paused_and_the_operator_told(cell: dict[str, float]) -> None:
    rig = started(heating(), "self-heating", **cell)
    rig.until(paused)
    (said,) = checks(rig)
    assert "failed" in said
    assert "is above the limit of" in said
    assert "`reactivate resume` repeats the check" in said
    assert rig.state.treatments_harmful == {"self-heating": 1}
    assert rig.state.short_check.short_sign
    assert rig.state.short_check.due == "self-heating"
    rig.until(lambda one: one.sequence % 500 == 0)
    assert paused(rig)
    assert rig.in_force.kind == HOLD_0A


def test_resume_repeats_the_check_and_charges_only_when_it_passes() -> None:
    rig = started(heating(), "self-heating", shorted_A=6e-5)
    rig.until(paused)
    rig.resume()
    assert rig.running() == "open-circuit check before charging"
    rig.until(paused)
    assert rig.state.treatments_harmful == {"self-heating": 2}
    assert [
        event.data["times_harmful"] for event in rig.events if "times_harmful" in event.data
    ] == [1, 2]
    rig.shorted_A = 0.0  # the filament fused
    rig.resume()
    rig.until(next_cycle)
    assert len(checks(rig)) == 3
    assert "passed" in checks(rig)[-1]
    assert rig.charged_too_early == []
    assert rig.state.short_check.short_sign, "one short is enough: barred for the rest of the run"


def test_the_bar_stands_in_the_candidates_and_stops_learning() -> None:
    config = with_recipe("self-heating", library_steps("self-heating", BARE))
    rig = Rig(config)
    state = rig.state
    names = config.schedule.protocols
    assert names == ("short-strip", "discharged-rest")
    now = replace(rig.core._preview(state), discharge_Ah=3e-3, u_discharge_Ah=0.0)
    sample = rig.sample()
    state.short_check.short_sign = True
    _, refused = rig.core._candidates(state, [now], sample)
    assert "soft short" in refused["short-strip"]
    assert "soft short" not in refused.get("discharged-rest", "")
    state.short_check.short_sign = False
    state.treatments_harmful = {"discharged-rest": 1}
    _, refused = rig.core._candidates(state, [now], sample)
    assert "a short showed after it" in refused["discharged-rest"]


def fast_strip_config() -> CoreConfig:
    """`short-strip` above 4 mA/cm2, so that its own check stays in it."""
    recipe = library()["short-strip"]
    parameter = recipe.parameters["strip_current_density_mA_per_cm2"]
    changed = recipe.model_copy(
        update={
            "parameters": {
                **recipe.parameters,
                "strip_current_density_mA_per_cm2": parameter.model_copy(update={"value": 4.1}),
            }
        }
    )
    config = with_recipe("short-strip", resolve(changed, BARE.cell))
    limits = config.limits
    wide = tuple(replace(one, max_current_A=7e-3) for one in limits.pulse_envelopes)
    return replace(
        config,
        recipes={**config.recipes, "short-strip": changed},
        limits=replace(limits, pulse_envelopes=wide),
    )


def test_without_three_rests_to_compare_with_the_recipe_is_refused() -> None:
    config = fast_strip_config()
    rig = Rig(config)
    figures = replace(rig.core._preview(rig.state), discharge_Ah=3e-3, u_discharge_Ah=0.0)
    for known, to_be_had in ((0, False), (2, False), (3, True)):
        rig.state.short_check.rests = QUIET_RESTS[:known]
        candidates, refused = rig.core._candidates(rig.state, [figures], rig.sample())
        assert ("short-strip" in [one.recipe for one in candidates]) is to_be_had, refused
        if not to_be_had:
            assert f"{known} are known" in refused["short-strip"]


def test_base_cycles_teach_the_baseline_with_long_rests_until_it_is_known() -> None:
    rig = Rig(replace(heating(), cycles=5))
    rig.start()
    rig.until(lambda one: one.state.run_state is State.COMPLETED)
    rests = rig.state.short_check.rests
    assert len(rests) == 3
    assert all(0.0 <= decay < 0.005 for decay, _ in rests)
    assert all(1e-5 < noise < 1e-4 for _, noise in rests)
    long_rests = [
        event
        for event in rig.events
        if event.kind is EventKind.STEP_STARTED and "as long as an open-circuit" in event.message
    ]
    assert [event.data["cycle"] for event in long_rests] == [2, 3, 4]


def test_no_base_rest_is_lengthened_where_no_recipe_needs_the_check() -> None:
    rig = Rig(replace(BARE, cycles=3))
    rig.start()
    rig.until(lambda one: one.state.run_state is State.COMPLETED)
    assert not [event for event in rig.events if "as long as" in event.message]
    assert rig.state.short_check.rests == []


def test_long_rests_change_nothing_but_rests_before_the_discharge() -> None:
    book = BARE.book
    long = book.steps(CycleKey(kind=CycleKind.BASE, part=BASELINE_REST))
    plain = book.steps(CycleKey(kind=CycleKind.BASE))
    assert [one.step.kind for one in long] == [one.step.kind for one in plain]
    changed = [
        a.step
        for a, b in zip(long, plain, strict=True)
        if a.step.max_duration_s != b.step.max_duration_s
    ]
    assert [one.max_duration_s for one in changed] == [OCV_CHECK_S]
    assert plain[-1].step.kind == HOLD_0A
    assert long[-1].step.max_duration_s == plain[-1].step.max_duration_s, "after the discharge"


def test_a_recipe_that_forgot_its_check_gets_one_inserted() -> None:
    rig = started(strip_without_check(), "bare-strip")
    rig.until(lambda one: one.running() == "open-circuit check before charging")
    assert rig.state.short_check.due == "bare-strip"
    before = rig.t_s
    rig.until(lambda one: one.state.short_check.due == "")
    assert rig.t_s - before >= OCV_CHECK_S
    rig.until(next_cycle)
    assert rig.charged_too_early == []


def test_the_inserted_check_comes_before_anything_else_not_only_before_a_charge() -> None:
    strip = strip_without_check().book.treatments["bare-strip"]
    config = with_recipe("bare-strip", strip, Placement.AFTER_CHARGE)
    rig = started(config, "bare-strip")
    rig.until(lambda one: one.state.short_check.due != "")
    names = []
    rig.until(lambda one: names.append(one.running()) or one.running() not in names[0:1])
    assert rig.running() == "open-circuit check before charging"
    rig.until(next_cycle)
    assert rig.charged_too_early == []


def test_the_check_of_a_withheld_control_teaches_and_is_not_judged() -> None:
    config = heating()
    sham = resolve(library()["self-heating"], BARE.cell, sham=True)
    book = replace(config.book, shams={**config.book.shams, "self-heating": sham})
    rig = Rig(replace(config, book=book))
    rig.charge_Ah = 1e-3
    rig.state.short_check.rests = list(QUIET_RESTS)
    rig.start("self-heating", treated=False)
    rig.until(next_cycle)
    assert len(rig.state.short_check.rests) == 4
    assert checks(rig) == []
    assert rig.state.short_check.due == ""


def test_a_check_that_is_too_short_settles_nothing() -> None:
    config = strip_without_check()
    strip = config.book.treatments["bare-strip"][0]
    short = Step(
        name="too short",
        stage=Stage.RECOVER,
        kind=HOLD_0A,
        current_A=0.0,
        voltage_bound_V=float("nan"),
        max_duration_s=OCV_CHECK_S - 1.0,
        tag=TAG_TREATMENT,
        ocv_check=True,
    )
    rig = started(with_recipe("bare-strip", (strip, short)), "bare-strip")
    rig.until(lambda one: one.running() == "open-circuit check before charging")
    rig.until(next_cycle)
    assert len(checks(rig)) == 1
    assert rig.charged_too_early == []


def test_a_base_rate_treatment_owes_nothing() -> None:
    rig = started(
        with_recipe("discharged-rest", library_steps("discharged-rest", BARE)), "discharged-rest"
    )
    rig.until(next_cycle)
    assert checks(rig) == []


def in_pulses(rig: Rig) -> bool:
    return rig.running() == "plate pulse" and rig.fast_commands > 11


def in_own_check(rig: Rig) -> bool:
    return rig.running() == "open-circuit check" and rig.state.progress.elapsed_s > 1000.0


@pytest.mark.parametrize("moment", [in_pulses, in_own_check])
@pytest.mark.parametrize("how", ["pause", "supervisor", "crash"])
def test_interrupted_fast_treatments_are_checked_before_charging(moment, how: str) -> None:
    rig = started(heating(), "self-heating")
    rig.until(moment)
    if how == "crash":
        rig.crash_and_resume()
    else:
        if how == "pause":
            rig.pause()
        else:
            rig.once(RESTED)
        assert paused(rig)
        for _ in range(20):
            rig.once()
        rig.resume()
    assert rig.running() == "open-circuit check before charging"
    assert rig.state.treatments_abandoned == {"self-heating": 1}
    fast = rig.fast_commands
    rig.until(next_cycle)
    assert rig.fast_commands == fast, "no pulse after an interruption"
    assert len(checks(rig)) == 1
    assert rig.charged_too_early == []


@pytest.mark.parametrize("how", ["pause", "crash"])
def test_an_interrupted_check_begins_anew(how: str) -> None:
    rig = started(strip_without_check(), "bare-strip")
    rig.until(lambda one: one.state.short_check.inserted and one.state.progress.elapsed_s > 1700.0)
    if how == "crash":
        rig.crash_and_resume()
    else:
        rig.pause()
        rig.once()
        rig.resume()
    assert rig.state.short_check.inserted
    before = rig.t_s
    rig.until(lambda one: one.state.short_check.due == "")
    assert rig.t_s - before >= OCV_CHECK_S
    assert rig.charged_too_early == []


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_nothing_is_charged_before_a_passed_check(seed: int) -> None:
    fate = random.Random(seed)  # noqa: S311  no secret
    rig = started(replace(heating(), cycles=3), "self-heating")
    for _ in range(40):
        if rig.state.run_state is State.COMPLETED:
            break
        if paused(rig):
            rig.shorted_A = fate.choice([0.0, 6e-5])
            rig.resume()
        for _ in range(fate.randrange(1, 400)):
            rig.once()
            if rig.state.run_state is State.COMPLETED:
                break
        match fate.randrange(4):
            case 0 if not paused(rig) and rig.state.run_state is not State.COMPLETED:
                rig.pause()
            case 1 if rig.state.run_state is not State.COMPLETED:
                rig.crash_and_resume()
            case 2:
                rig.once(RESTED)
            case _:
                rig.shorted_A = fate.choice([0.0, 6e-5])
    assert rig.fast_commands > 0
    assert rig.charged_too_early == []


def test_too_few_good_readings_are_no_pass_and_no_harm() -> None:
    rig = started(heating(), "self-heating")
    rig.until(in_own_check)
    rig.jumps_V = float("nan")
    rig.until(paused)
    assert "could not be judged" in checks(rig)[-1]
    assert rig.state.treatments_harmful == {}
    rig.jumps_V = 3e-5
    rig.resume()
    rig.until(next_cycle)
    assert "passed" in checks(rig)[-1]
    assert rig.charged_too_early == []


def test_what_is_owed_and_learnt_survives_the_checkpoint() -> None:
    rig = started(heating(), "self-heating")
    rig.until(in_own_check)
    again = from_text(to_text(rig.state), "test")
    assert json.dumps(short_check.to_dict(again.short_check)) == json.dumps(
        short_check.to_dict(rig.state.short_check)
    )
    assert again.short_check.due == "self-heating"
    assert again.short_check.rests == QUIET_RESTS
    assert again.short_check.relaxation.readings == rig.state.short_check.relaxation.readings


def test_a_checkpoint_of_another_program_is_refused_with_what_to_do() -> None:
    plain = json.loads(to_text(Rig(BARE).state))
    plain["schema"] -= 1
    with pytest.raises(
        RunDirectoryError, match=r"has schema \d+.*begin a new run with another --out"
    ):
        from_text(json.dumps(plain), "runs/old")


def test_a_damaged_checkpoint_is_named_and_so_is_what_stays_whole() -> None:
    text = to_text(Rig(BARE).state)
    for damaged in (
        text[:-10],
        "[]",
        json.dumps({**json.loads(text), "estimator": {}}),
        text.replace('"float64": "', '"float64": "A', 1),
    ):
        with pytest.raises(RunDirectoryError, match=r"damaged .*stays whole in run\.sqlite"):
            from_text(damaged, "runs/old")


def test_charging_is_not_forgotten_after_a_pass() -> None:
    rig = started(heating(), "self-heating")
    rig.until(next_cycle)
    before = rig.charge_commands
    rig.until(lambda one: one.charge_commands > before + 10)
    assert rig.in_force.kind == CHARGE


@pytest.mark.parametrize(
    ("moved_K", "anchored"), [(0.0, True), (0.9, True), (1.1, False), (-1.1, False)]
)
def test_an_anchor_compares_only_with_one_of_its_temperature(
    moved_K: float, anchored: bool
) -> None:
    rig = Rig(BARE)
    assert rig.config.book.anchor_within_K == 1.0
    figures = replace(rig.core._preview(rig.state), anchored=True)
    sample = rig.sample()
    assert rig.core._compared(rig.state, figures, sample).anchored, "the first has none before it"
    after = rig.core._compared(
        rig.state, figures, sample._replace(temperature_K=sample.temperature_K + moved_K)
    )
    assert after.anchored is anchored
    assert ("temperature-moved" in after.flags) is not anchored
    unknown = rig.core._compared(rig.state, figures, sample._replace(temperature_K=math.nan))
    assert unknown.anchored, "without a thermometer nobody knows"


def test_a_soft_short_in_a_treated_cycle_is_harm() -> None:
    rig = Rig(BARE)
    rig.start("short-strip")
    rig.core._harmed(rig.state)
    assert rig.state.treatments_harmful == {"short-strip": 1}
    assert rig.state.spoiled == ["treatment-harmful"]
