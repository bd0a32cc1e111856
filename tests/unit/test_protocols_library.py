"""Every library recipe on every cell format: it runs where it may, and is refused with a reason."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.cell import CellFormat
from controller.domain.command import (
    CHARGE,
    DISCHARGE,
    HOLD_0A,
    TAG_BASE,
    TAG_DIAGNOSTIC,
    TAG_TREATMENT,
)
from controller.domain.step import Stage
from protocols.check import check
from protocols.parse import parse_recipe
from protocols.registry import library
from protocols.resolve import BASE_C_RATE, expect, expected_hours, resolve, start_charge_Ah
from protocols.spec import Allowed, Basis, Kind, Placement, Provenance
from tests.unit.test_protocols_support import CAPABILITIES, cell, changed, limits

CASES = [(name, cell_format) for name in library() for cell_format in CellFormat]

# What the rules of the field say; the files must agree with this table, not the other way round.
E, P, R = Allowed.EVIDENCE, Allowed.PRIOR_ONLY, Allowed.REFUSED
FORMATS = ("anode-free", "excess-lithium", "li-cu", "li-li", "full-cell")
RULES = {
    "formation": (E, E, E, E, E),
    "base-cycling": (E, E, E, E, E),
    "anchor": (E, E, E, R, E),
    "balanced-anchor": (R, R, R, E, R),
    "reference-test": (E, E, E, E, E),
    "short-strip": (P, E, E, R, R),
    "discharged-rest": (E, P, E, R, R),
    "self-heating": (R, P, R, E, R),
    "pre-strip-4v": (R, R, E, E, R),
}


def test_the_library_is_complete():
    assert set(library()) == set(RULES)


@pytest.mark.parametrize("name", RULES)
def test_applicability_is_what_the_rules_say(name):
    found = {str(key): use.allowed for key, use in library()[name].applicability.items()}
    assert found == dict(zip(FORMATS, RULES[name], strict=True))


@pytest.mark.parametrize(("name", "cell_format"), CASES)
def test_each_recipe_runs_where_it_may_and_is_refused_with_its_reason_elsewhere(name, cell_format):
    recipe = library()[name]
    use = recipe.applicability[cell_format]
    for sham in (False, True):
        refusals = check(
            recipe,
            cell(cell_format),
            limits(cell_format),
            CAPABILITIES,
            temperature_source="auxiliary",
            sham=sham,
        )
        if use.allowed is Allowed.REFUSED:
            assert [refusal.reason for refusal in refusals] == [use.reason]
        else:
            assert refusals == []


@pytest.mark.parametrize(
    ("name", "cell_format"),
    [
        (name, cell_format)
        for name, cell_format in CASES
        if library()[name].applicability[cell_format].allowed is not Allowed.REFUSED
    ],
)
@pytest.mark.parametrize("sham", [False, True])
def test_resolved_steps_are_whole(name, cell_format, sham):
    recipe, spec = library()[name], cell(cell_format)
    for step in resolve(recipe, spec, sham=sham):
        assert 0.0 < step.max_duration_s < math.inf
        if step.kind == HOLD_0A:
            assert step.current_A == 0.0
            assert math.isnan(step.voltage_bound_V)
        else:
            assert step.current_A * (1.0 if step.kind == CHARGE else -1.0) > 0.0
            assert math.isfinite(step.voltage_bound_V)
        # A half cycle of plating has an end that is not its longest time.
        if step.kind == CHARGE and step.stage is Stage.CHARGE:
            ends = (step.end_voltage_V, step.end_current_A, step.end_charge_Ah)
            assert any(math.isfinite(end) for end in ends)


def test_tags_and_stages_say_whose_charge_it_is():
    spec = cell(CellFormat.ANODE_FREE)
    expected = {
        Kind.FORMATION: (TAG_BASE, {Stage.FORMATION}),
        Kind.BASE: (TAG_BASE, {Stage.CHARGE, Stage.REST, Stage.DISCHARGE}),
        Kind.ANCHOR: (TAG_DIAGNOSTIC, {Stage.DIAGNOSING}),
        Kind.REFERENCE_TEST: (TAG_DIAGNOSTIC, {Stage.DIAGNOSING}),
        Kind.TREATMENT: (
            TAG_TREATMENT,
            {Stage.ARM, Stage.EXECUTE, Stage.RECOVER, Stage.EVALUATE},
        ),
    }
    for recipe in library().values():
        steps = resolve(recipe, spec)
        tag, stages = expected[recipe.kind]
        assert {step.tag for step in steps} == {tag}
        assert {step.stage for step in steps} == stages


def test_every_number_says_where_it_comes_from():
    for recipe in library().values():
        for name, parameter in recipe.parameters.items():
            assert parameter.basis in {Basis.ASSUMED, Basis.PUBLISHED}, name
            if parameter.basis is Basis.ASSUMED:
                assert parameter.source.startswith("own"), name
        for evidence in recipe.evidence:
            if evidence.provenance is Provenance.OWN:
                assert evidence.basis is not Basis.PUBLISHED
            if evidence.doi:
                assert evidence.doi.startswith("10.")


def test_base_cycling_gives_the_base_rate_the_others_mean():
    assert library()["base-cycling"].parameters["base_c_rate"].value == BASE_C_RATE


def test_base_cycling_of_the_example_cell():
    steps = resolve(library()["base-cycling"], cell(CellFormat.ANODE_FREE))
    charge, hold, rest, discharge, last = steps
    assert charge.name == "charge at C/3 to 4.3 V"
    assert (charge.current_A, charge.voltage_bound_V) == (pytest.approx(1.0e-3), 4.3)
    assert (charge.end_voltage_V, charge.stage) == (4.3, Stage.CHARGE)
    assert hold.end_current_A == pytest.approx(1.5e-4)
    assert (hold.max_duration_s, math.isnan(hold.end_voltage_V)) == (3600.0, True)
    assert (rest.max_duration_s, last.max_duration_s) == (600.0, 600.0)
    assert discharge.current_A == pytest.approx(-1.0e-3)
    assert [step.closes_half_cycle for step in steps] == [False, False, False, True, False]


def test_formation_is_two_cycles_at_a_tenth_of_nominal_capacity():
    steps = resolve(library()["formation"], cell(CellFormat.ANODE_FREE))
    assert sum(step.closes_half_cycle for step in steps) == 2
    assert {round(abs(step.current_A), 9) for step in steps} == {0.0, 3.0e-4}


def test_anchor_holds_the_lower_cut_off_to_a_fiftieth_or_two_hours():
    (step,) = resolve(library()["anchor"], cell(CellFormat.ANODE_FREE))
    assert step.anchor
    assert (step.kind, step.voltage_bound_V) == (DISCHARGE, 3.0)
    assert step.end_current_A == pytest.approx(6.0e-5)
    assert step.max_duration_s == 7200.0


def test_reference_test_pulses_both_ways_at_half_charge_and_takes_42_hours():
    recipe, spec = library()["reference-test"], cell(CellFormat.ANODE_FREE)
    steps = resolve(recipe, spec)
    charge_Ah, seen = 0.0, []
    for step, expected in zip(steps, expect(steps, spec), strict=True):
        if step.name.startswith("resistance pulse"):
            seen.append((math.copysign(1.0, step.current_A), step.max_duration_s))
            assert charge_Ah / spec.nominal_capacity_Ah == pytest.approx(0.5, abs=0.005)
        charge_Ah += expected.charge_Ah
    assert seen == [(-1.0, 10.0), (1.0, 10.0)]
    assert charge_Ah == pytest.approx(0.0, abs=1e-9)
    assert expected_hours(recipe, spec) == pytest.approx(42.2, abs=0.2)


def test_short_strip_in_absolute_units_and_its_sham():
    recipe, spec = library()["short-strip"], cell(CellFormat.ANODE_FREE)
    strip = resolve(recipe, spec)[1]
    sham = resolve(recipe, spec, sham=True)[1]
    assert strip.current_A == pytest.approx(-4.62e-3)
    assert strip.end_charge_Ah == pytest.approx(9.0e-5)
    assert (strip.envelope, sham.envelope) == ("fast-strip", "")
    assert sham.end_charge_Ah == strip.end_charge_Ah
    assert sham.current_A == pytest.approx(-1.0e-3)


def test_discharged_rest_and_its_sham_rest_equally_long_at_other_charge():
    recipe, spec = library()["discharged-rest"], cell(CellFormat.ANODE_FREE)
    rests = {
        sham: [
            s.max_duration_s for s in resolve(recipe, spec, sham=sham) if s.stage is Stage.EXECUTE
        ]
        for sham in (False, True)
    }
    assert rests == {False: [14400.0], True: [14400.0]}
    assert recipe.placement is Placement.AFTER_DISCHARGE
    assert recipe.sham_placement is Placement.MID_CHARGE
    # a control that moved charge of its own would lose lithium of its own
    assert all(step.current_A == 0.0 for step in resolve(recipe, spec, sham=True))


@pytest.mark.parametrize("sham", [False, True])
def test_self_heating_strips_first_and_is_balanced_and_so_is_its_sham(sham):
    recipe, spec = library()["self-heating"], cell(CellFormat.LI_LI)
    steps = resolve(recipe, spec, sham=sham)
    timeline = expect(steps, spec, start_charge_Ah(recipe, spec))
    moved = [
        expected.charge_Ah
        for step, expected in zip(steps, timeline, strict=True)
        if step.stage is Stage.EXECUTE
    ]
    assert len(moved) == 60
    assert moved[0] < 0.0
    assert sum(moved) == pytest.approx(0.0, abs=1e-12)
    # 60 pulses of 12 mA/cm2 for 2 s on 1.54 cm2.
    assert sum(map(abs, moved)) == pytest.approx(60 * 0.012 * 1.54 * 2 / 3600)


def test_the_4_v_pulse_is_once_device_timed_and_checked():
    steps = resolve(library()["pre-strip-4v"], cell(CellFormat.LI_CU))
    (pulse,) = [step for step in steps if step.device_timed]
    assert (pulse.voltage_bound_V, pulse.max_duration_s, pulse.kind) == (4.0, 1.0, CHARGE)
    after = steps[steps.index(pulse) + 1]
    assert (after.ocv_check, after.max_duration_s) == (True, 1800.0)
    probes = [step.current_A for step in steps if step.stage is Stage.ARM and step.current_A]
    assert probes == [pytest.approx(0.01 * pulse.current_A), pytest.approx(-0.01 * pulse.current_A)]


@pytest.mark.parametrize("name", ["base-cycling", "formation", "reference-test"])
def test_lithium_against_lithium_is_cycled_in_balance_by_charge(name):
    spec = cell(CellFormat.LI_LI)
    steps = resolve(library()[name], spec)
    charge_Ah = sum(one.charge_Ah for one in expect(steps, spec))
    assert charge_Ah == pytest.approx(0.0, abs=1e-9)
    assert not any(step.end_current_A > 0.0 for step in steps)


AREAS = st.floats(0.1, 500.0)
CAPACITIES = st.floats(1.0e-4, 10.0)


@given(
    name=st.sampled_from(sorted(library())),
    cell_format=st.sampled_from(list(CellFormat)),
    area_cm2=AREAS,
    nominal_capacity_Ah=CAPACITIES,
    sham=st.booleans(),
)
def test_any_cell_gets_steps_with_an_end_and_figures_of_its_own_size(
    name, cell_format, area_cm2, nominal_capacity_Ah, sham
):
    recipe = library()[name]
    if recipe.applicability[cell_format].allowed is Allowed.REFUSED:
        return
    small = replace(cell(cell_format), area_cm2=area_cm2, nominal_capacity_Ah=nominal_capacity_Ah)
    double = replace(small, area_cm2=2 * area_cm2, nominal_capacity_Ah=2 * nominal_capacity_Ah)
    steps, twice = resolve(recipe, small, sham=sham), resolve(recipe, double, sham=sham)
    assert len(steps) == len(twice)
    for one, two in zip(steps, twice, strict=True):
        assert 0.0 < one.max_duration_s < math.inf
        assert two.current_A == pytest.approx(2.0 * one.current_A)
        assert two.max_duration_s == pytest.approx(one.max_duration_s)
        assert two.voltage_bound_V == pytest.approx(one.voltage_bound_V, nan_ok=True)
        assert two.end_charge_Ah == pytest.approx(2.0 * one.end_charge_Ah, nan_ok=True)
        assert two.end_current_A == pytest.approx(2.0 * one.end_current_A, nan_ok=True)


def test_a_charge_per_area_and_a_pulse_in_base_cycling():
    text = changed(
        "base-cycling",
        '[[steps]]\ndo = "charge"\nc_rate = "base"',
        '[[steps]]\ndo = "pulse"\ndirection = "discharge"\nc_rate = "base"\nduration_s = 5\n\n'
        '[[steps]]\ndo = "pulse"\ndirection = "charge"\nc_rate = "base"\nduration_s = 5\n\n'
        '[[steps]]\ndo = "hold"\nat = "lower-cut-off"\nc_rate = "base"\n'
        'until_current_c_rate = "C/50"\nmax_duration_min = 30\n\n'
        '[[steps]]\ndo = "charge"\ncharge_mAh_per_cm2 = 0.5\nc_rate = "base"',
    )
    first, second, hold, charge, *_ = resolve(
        parse_recipe(text, "x.toml"), cell(CellFormat.ANODE_FREE)
    )
    assert [first.stage, second.stage, hold.stage] == [
        Stage.DISCHARGE,
        Stage.CHARGE,
        Stage.DISCHARGE,
    ]
    assert first.name == "discharge pulse 0.649351 mA/cm2, 5 s"
    assert math.isnan(first.end_voltage_V)
    assert (hold.max_duration_s, hold.name) == (1800.0, "hold 3 V to C/50")
    assert charge.end_charge_Ah == pytest.approx(0.77e-3)
    assert charge.name == "charge at C/3 to 4.3 V or 0.77 mAh"
    # 0.77 mAh at 1 mA, a tenth more, and 10 s.
    assert charge.max_duration_s == pytest.approx(0.77 * 3600 * 1.1 + 10.0)
