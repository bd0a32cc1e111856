"""Checks of a recipe against cell, limits, instrument and moment, at and around each boundary."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.capabilities import ControlTier
from controller.domain.cell import CellFormat, CellLimits, ElectrolyteFamily, Levels
from protocols.check import CheckState, check, plating_fraction
from protocols.parse import parse_recipe
from protocols.registry import library
from protocols.spec import Recipe
from tests.unit.test_protocols_support import CAPABILITIES, cell, changed, limits, with_parameters

NAN = math.nan
ANODE_FREE, LI_LI, LI_CU = CellFormat.ANODE_FREE, CellFormat.LI_LI, CellFormat.LI_CU
EXCESS = CellFormat.EXCESS_LITHIUM

READY = CheckState(
    temperature_K=298.15,
    active_lithium_lower_Ah=2.5e-3,
    anode_limited_end=True,
    cycles_done=10,
    formation_over=True,
    since_charge_end_s=10.0,
)


def reasons(recipe: str | Recipe, cell_format: CellFormat, **given_: Any) -> list[str]:
    """The reasons against a recipe, everything else being as it should."""
    whole = library()[recipe] if isinstance(recipe, str) else recipe
    return [
        f"{refusal.where}: {refusal.reason}"
        for refusal in check(
            whole,
            given_.pop("cell", cell(cell_format)),
            given_.pop("limits", limits(cell_format)),
            given_.pop("capabilities", CAPABILITIES),
            temperature_source=given_.pop("temperature_source", "auxiliary"),
            state=given_.pop("state", None),
            **given_,
        )
    ]


def only(found: list[str], part: str) -> None:
    assert len(found) == 1, found
    assert part in found[0]


def with_envelope(cell_format: CellFormat, named: str, **changes: Any) -> CellLimits:
    whole = limits(cell_format)
    envelopes = tuple(
        replace(envelope, **changes) if envelope.name == named else envelope
        for envelope in whole.pulse_envelopes
    )
    return replace(whole, pulse_envelopes=envelopes)


def with_continuous(cell_format: CellFormat, **operate: float) -> CellLimits:
    whole = limits(cell_format)
    levels = {key: Levels(operate=value, warn=9.0, trip=9.0) for key, value in operate.items()}
    return replace(whole, continuous=replace(whole.continuous, **levels))


# --- The owner's limits ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "verb"),
    [("charge_current_max_A", "charge"), ("discharge_current_max_A", "discharge")],
)
def test_continuous_current_limit(key, verb):
    at = with_continuous(ANODE_FREE, **{key: 1.0e-3})
    assert reasons("base-cycling", ANODE_FREE, limits=at) == []
    below = with_continuous(ANODE_FREE, **{key: 0.999999e-3})
    only(reasons("base-cycling", ANODE_FREE, limits=below), f"mA of {verb} is above")


@pytest.mark.parametrize(
    ("key", "allowed", "refused"),
    [("voltage_max_V", 4.3, 4.2999), ("voltage_min_V", 3.0, 3.0001)],
)
def test_continuous_voltage_limits(key, allowed, refused):
    at = with_continuous(ANODE_FREE, **{key: allowed})
    assert reasons("base-cycling", ANODE_FREE, limits=at) == []
    beyond = with_continuous(ANODE_FREE, **{key: refused})
    only(reasons("base-cycling", ANODE_FREE, limits=beyond), "outside the continuous limits")


def test_an_envelope_the_owner_did_not_write_is_refused_with_the_nearest_name():
    near = with_envelope(ANODE_FREE, "fast-strip", name="faststrip")
    (refusal,) = check(library()["short-strip"], cell(ANODE_FREE), near, CAPABILITIES)
    assert "'fast-strip' is not among" in refusal.reason
    assert "did you mean 'faststrip'?" in refusal.remedy
    none = replace(limits(ANODE_FREE), pulse_envelopes=())
    (refusal,) = check(library()["short-strip"], cell(ANODE_FREE), none, CAPABILITIES)
    assert "has written none" in refusal.remedy


def in_the_file(key: str) -> str:
    """Return the key under which a run file has it: refusals speak of that."""
    return re.sub(r"_(A|Ah)$", r"_m\1", key)


# 4.62 mA for at most 1.1 * 70.13 s + 10 s; 0.09 mAh and one reading (1 s) late.
@pytest.mark.parametrize(
    ("key", "needed"),
    [
        ("max_current_A", 4.62e-3),
        ("max_on_s", 1.1 * 9.0e-5 / 4.62e-3 * 3600.0 + 10.0),
        ("max_charge_Ah", 9.0e-5 + 4.62e-3 / 3600.0),
    ],
)
def test_envelope_too_small(key, needed):
    fits = with_envelope(ANODE_FREE, "fast-strip", **{key: needed})
    assert reasons("short-strip", ANODE_FREE, limits=fits) == []
    for too_small in (needed * 0.999999, 0.0, NAN):
        small = with_envelope(ANODE_FREE, "fast-strip", **{key: too_small})
        only(reasons("short-strip", ANODE_FREE, limits=small), f"({in_the_file(key)} =")


def test_without_a_reading_period_of_its_own_a_step_may_end_five_seconds_late():
    recipe = parse_recipe(changed("short-strip", "period_s = 1.0\n", ""), "x.toml")
    for more, accepted in ((1.000001, True), (0.999999, False)):
        charge_Ah = (9.0e-5 + 5.0 * 4.62e-3 / 3600.0) * more
        bound = with_envelope(ANODE_FREE, "fast-strip", max_charge_Ah=charge_Ah)
        assert (reasons(recipe, ANODE_FREE, limits=bound) == []) is accepted


@pytest.mark.parametrize("changes", [{"min_voltage_V": 3.001}, {"max_voltage_V": 2.999}])
def test_envelope_voltages(changes):
    narrow = with_envelope(ANODE_FREE, "fast-strip", **changes)
    only(reasons("short-strip", ANODE_FREE, limits=narrow), "outside pulse envelope 'fast-strip'")


def test_envelope_count_is_over_the_run():
    few = with_envelope(ANODE_FREE, "fast-strip", max_count=3)
    used = {"fast-strip": 2}
    last = replace(READY, envelope_openings=used)
    assert reasons("short-strip", ANODE_FREE, limits=few, state=last) == []
    spent = replace(READY, envelope_openings={"fast-strip": 3})
    only(reasons("short-strip", ANODE_FREE, limits=few, state=spent), "1 openings after 3")


def test_a_train_is_one_opening_and_pauses_make_more():
    once = with_envelope(LI_LI, "self-heating", max_count=1)
    assert reasons("self-heating", LI_LI, limits=once) == []
    paused = changed(
        "self-heating",
        '[[steps.steps]]\ndo = "pulse"\nsay = "strip pulse"',
        '[[steps.steps]]\ndo = "rest"\nphase = "execute"\nduration_s = 60\n\n'
        '[[steps.steps]]\ndo = "pulse"\nsay = "strip pulse"',
    )
    recipe = parse_recipe(paused, "paused.toml")
    found = reasons(recipe, LI_LI, limits=once)
    assert any("30 openings after 0 are more than the 1" in text for text in found)
    at = with_envelope(LI_LI, "self-heating", min_off_s=60.0)
    assert reasons(recipe, LI_LI, limits=at) == []
    longer = with_envelope(LI_LI, "self-heating", min_off_s=60.001)
    only(reasons(recipe, LI_LI, limits=longer), "less than min_off_s")


def test_envelope_temperature_is_judged_where_it_is_measured():
    cool = with_envelope(ANODE_FREE, "fast-strip", max_temperature_K=298.15)
    assert reasons("short-strip", ANODE_FREE, limits=cool, state=READY) == []
    warm = replace(READY, temperature_K=298.2)
    only(reasons("short-strip", ANODE_FREE, limits=cool, state=warm), "pulse envelope 'fast-strip'")
    assert (
        reasons("short-strip", ANODE_FREE, limits=cool, state=warm, temperature_source="none") == []
    )


def test_half_cycle_charge():
    at = replace(limits(ANODE_FREE), max_half_cycle_charge_Ah=3.0e-3)
    assert reasons("base-cycling", ANODE_FREE, limits=at) == []
    below = replace(limits(ANODE_FREE), max_half_cycle_charge_Ah=2.99e-3)
    only(reasons("base-cycling", ANODE_FREE, limits=below), "max_half_cycle_charge_mAh")


def test_half_cycle_time_counts_the_hold_with_the_charge():
    at = replace(limits(ANODE_FREE), max_half_cycle_s=4 * 3600.0)
    assert reasons("base-cycling", ANODE_FREE, limits=at) == []
    below = replace(limits(ANODE_FREE), max_half_cycle_s=4 * 3600.0 - 1.0)
    only(reasons("base-cycling", ANODE_FREE, limits=below), "max_half_cycle_h")
    assert any(
        "max_half_cycle_h" in text for text in reasons("reference-test", ANODE_FREE, limits=at)
    )


# --- The cell -------------------------------------------------------------------------------


def test_upper_voltage_by_electrolyte_family():
    for family, allowed in (
        (ElectrolyteFamily.CARBONATE, True),
        (ElectrolyteFamily.HCE, True),
        (ElectrolyteFamily.DILUTE_ETHER, False),
        (ElectrolyteFamily.UNKNOWN, False),
    ):
        found = reasons(
            "base-cycling", ANODE_FREE, cell=replace(cell(ANODE_FREE), electrolyte_family=family)
        )
        assert (found == []) is allowed
    only(found, "above 3.9 V, the upper voltage of electrolyte family 'unknown'")


def test_the_4_v_pulse_keeps_to_the_electrolyte_too():
    dilute = replace(cell(LI_LI), electrolyte_family=ElectrolyteFamily.DILUTE_ETHER)
    only(reasons("pre-strip-4v", LI_LI, cell=dilute), "4 V is above 3.9 V")


def test_no_full_cell_is_taken_through_polarity_reversal():
    zero = replace(cell(EXCESS), lower_cut_off_V=0.0)
    low = with_continuous(EXCESS, voltage_min_V=-1.0)
    found = reasons("base-cycling", EXCESS, cell=zero, limits=low)
    only(found, "reversed polarity")
    above = replace(zero, lower_cut_off_V=0.01)
    assert reasons("base-cycling", EXCESS, cell=above, limits=low) == []


@pytest.mark.parametrize(
    ("cathode_V", "refused"), [(4.5, False), (4.501, True), (NAN, True), (math.inf, True)]
)
def test_copper_potential(cathode_V, refused):
    bound = replace(limits(ANODE_FREE), cathode_ocv_upper_V=cathode_V)
    found = reasons("base-cycling", ANODE_FREE, limits=bound)
    assert [text for text in found if "Cu could reach" in text] == found
    assert bool(found) is refused


def test_the_remedy_for_copper_is_the_lower_voltage_that_would_do():
    bound = replace(limits(ANODE_FREE), cathode_ocv_upper_V=4.8)
    (refusal,) = check(library()["anchor"], cell(ANODE_FREE), bound, CAPABILITIES)
    assert refusal.remedy == "a lower voltage of 3.3 V or more"


def test_strip_cut_off_of_li_cu():
    deep = replace(cell(LI_CU), lower_cut_off_V=-1.001)
    wide = with_continuous(LI_CU, voltage_min_V=-1.5)
    only(reasons("base-cycling", LI_CU, cell=deep, limits=wide), "strip cut-off of Li||Cu")
    assert reasons("base-cycling", LI_CU, limits=wide) == []


@pytest.mark.parametrize("name", ["base-cycling", "pre-strip-4v"])
def test_li_cu_is_wired_so_that_charging_plates_on_copper(name):
    wrong = replace(cell(LI_CU), oxidised_electrode="cu")
    only(reasons(name, LI_CU, cell=wrong), "would strip Cu")


@pytest.mark.parametrize("cell_format", [LI_LI, LI_CU])
def test_the_4_v_pulse_asks_which_electrode_it_treats(cell_format):
    unsaid = replace(cell(cell_format), oxidised_electrode=None)
    only(reasons("pre-strip-4v", cell_format, cell=unsaid), "does not say which")
    assert reasons("base-cycling", cell_format, cell=unsaid) == []


def test_a_mediator_has_to_be_declared():
    text = changed("anchor", "temperature_within_K = 1.0", "mediator_declared = true")
    recipe = parse_recipe(text, "mediator.toml")
    only(reasons(recipe, ANODE_FREE), "redox mediator")
    with_iodide = replace(cell(ANODE_FREE), mediator="LiI")
    assert reasons(recipe, ANODE_FREE, cell=with_iodide) == []


def test_a_voltage_that_does_not_fit_the_cell_is_a_refusal():
    text = changed("base-cycling", 'down_to_voltage_V = "cut-off"', "down_to_voltage_V = 4.4")
    only(reasons(parse_recipe(text, "x.toml"), ANODE_FREE), "upper cut-off")


# --- The instrument -------------------------------------------------------------------------


def test_a_compiled_schedule_takes_cycling_but_no_treatment():
    fixed = replace(CAPABILITIES, tier=ControlTier.COMPILED_SCHEDULE)
    assert reasons("base-cycling", ANODE_FREE, capabilities=fixed) == []
    only(reasons("short-strip", ANODE_FREE, capabilities=fixed), "compiled schedule")


@pytest.mark.parametrize(
    ("name", "cell_format", "key", "allowed", "refused", "part"),
    [
        ("base-cycling", ANODE_FREE, "max_current_A", 1.0e-3, 0.99e-3, "more than 2450 gives"),
        ("base-cycling", ANODE_FREE, "max_voltage_V", 4.3, 4.29, "outside what 2450 gives"),
        ("base-cycling", LI_LI, "min_voltage_V", -1.0, -0.99, "outside what 2450 gives"),
        ("self-heating", LI_LI, "min_pulse_s", 2.0, 2.001, "that a host can time"),
        ("self-heating", LI_LI, "update_period_s", 0.2, 0.201, "faster than 2450"),
        ("pre-strip-4v", LI_LI, "min_device_timed_pulse_s", 1.0, 1.001, "cannot time a pulse of"),
        ("pre-strip-4v", LI_LI, "min_device_timed_pulse_s", 0.01, NAN, "cannot time a pulse"),
    ],
)
def test_what_the_instrument_can_do(name, cell_format, key, allowed, refused, part):
    can = replace(CAPABILITIES, **{key: allowed})
    assert reasons(name, cell_format, capabilities=can) == []
    cannot = replace(CAPABILITIES, **{key: refused})
    only(reasons(name, cell_format, capabilities=cannot), part)


def test_above_half_a_capacity_an_hour_the_device_keeps_the_lower_voltage():
    unguarded = replace(CAPABILITIES, device_enforced_lower_voltage=False)
    slow = with_parameters(library()["short-strip"], {"strip_current_density_mA_per_cm2": 1.0})
    # 1 mA/cm2 on 1.54 cm2 is C/2 of 3.08 mAh and a little more of 3 mAh.
    larger = replace(cell(ANODE_FREE), nominal_capacity_Ah=3.08e-3)
    wide = with_envelope(ANODE_FREE, "fast-strip", max_on_s=300.0)
    given_ = {"limits": wide, "capabilities": unguarded}
    assert reasons(slow, ANODE_FREE, cell=larger, **given_) == []
    only(reasons(slow, ANODE_FREE, **given_), "discharge above C/2 needs")
    assert reasons("base-cycling", ANODE_FREE, capabilities=unguarded) == []


# --- Lithium, temperature, dose --------------------------------------------------------------


def test_a_fast_strip_takes_at_most_half_of_the_lithium_surely_there():
    takes_Ah = 9.0e-5 + 4.62e-3 / 3600.0
    enough = replace(READY, active_lithium_lower_Ah=2.0 * takes_Ah * 1.000001)
    assert reasons("short-strip", ANODE_FREE, state=enough) == []
    for lower_Ah in (2.0 * takes_Ah * 0.999999, 0.0, -1.0, NAN):
        short = replace(READY, active_lithium_lower_Ah=lower_Ah)
        only(reasons("short-strip", ANODE_FREE, state=short), "more than 50% of the active lithium")


def test_fast_strips_add_up_until_lithium_is_plated_again():
    strip = '[[steps]]\ndo = "discharge"\nsay = "fast strip"'
    again = (
        '[[steps]]\ndo = "discharge"\nsay = "first strip"\nphase = "execute"\n'
        "current_density_mA_per_cm2 = 3\ncharge_fraction_of_nominal = 0.03\nin_envelope = true\n"
        "period_s = 1.0\n\n"
    )
    plate = (
        '[[steps]]\ndo = "charge"\nphase = "execute"\nc_rate = "base"\n'
        "charge_fraction_of_nominal = 0.03\n\n"
    )
    wide = with_envelope(
        ANODE_FREE, "fast-strip", max_on_s=300.0, max_charge_Ah=1e-3, min_off_s=0.0
    )
    takes_Ah = 9.0e-5 + 4.62e-3 / 3600.0
    state = replace(READY, active_lithium_lower_Ah=3.0 * takes_Ah)
    given_ = {"limits": wide, "state": state}
    twice = parse_recipe(changed("short-strip", strip, again + strip), "x.toml")
    only(reasons(twice, ANODE_FREE, **given_), "more than 50% of the active lithium")
    refilled = parse_recipe(changed("short-strip", strip, again + plate + strip), "x.toml")
    assert reasons(refilled, ANODE_FREE, **given_) == []


def test_self_heating_needs_a_thermometer_and_others_do_not():
    only(reasons("self-heating", LI_LI, temperature_source="none"), "none is measured")
    assert reasons("short-strip", ANODE_FREE, temperature_source="none") == []
    only(reasons("base-cycling", ANODE_FREE, temperature_source="cycler"), "no thermometer")
    has = replace(CAPABILITIES, temperature=True)
    assert reasons("base-cycling", ANODE_FREE, temperature_source="cycler", capabilities=has) == []


@pytest.mark.parametrize(
    ("temperature_degC", "accepted"),
    [(15.0, True), (14.99, False), (45.0, True), (45.01, False), (NAN, False)],
)
def test_temperature_window_of_self_heating(temperature_degC, accepted):
    state = replace(READY, temperature_K=temperature_degC + 273.15 + 1e-9)
    if temperature_degC == 45.0:
        state = replace(state, temperature_K=318.15)
    assert (reasons("self-heating", LI_LI, state=state) == []) is accepted


@pytest.mark.parametrize(
    ("temperature_degC", "fraction"),
    [(25.0, 1.0), (15.0, 1.0), (7.5, 0.5), (0.0, 0.0), (-5.0, 0.0), (NAN, 0.0)],
)
def test_plating_limit_falls_from_15_to_0_degC(temperature_degC, fraction):
    assert plating_fraction(temperature_degC) == fraction


def test_cold_cells_are_charged_more_slowly_or_not_at_all():
    # 1 mA of at most 1.6 mA: allowed down to 15 * 1 / 1.6 = 9.375 degC.
    for temperature_degC, accepted in ((9.4, True), (9.3, False), (-1.0, False)):
        state = replace(READY, temperature_K=temperature_degC + 273.15)
        found = reasons("base-cycling", ANODE_FREE, state=state)
        assert (found == []) is accepted
    only(found, "plating is limited to 0%")
    # Taking lithium off needs no warmth.
    assert reasons("anchor", ANODE_FREE, state=state) == []


def test_dose_of_self_heating():
    wide = with_envelope(LI_LI, "self-heating", max_on_s=1e4, max_charge_Ah=1.0)
    # 2 * 30 pulses of 12 mA/cm2: 0.4 mAh/cm2 at 2 s, 0.5 at 2.5 s.
    for duration_s, part in ((2.49, None), (2.51, "max_gross_charge_mAh_per_cm2")):
        recipe = with_parameters(library()["self-heating"], {"pulse_duration_s": duration_s})
        found = reasons(recipe, LI_LI, limits=wide)
        if part is None:
            assert found == []
        else:
            only(found, part)
    more = with_parameters(
        library()["self-heating"], {"pulse_pair_count": 40.0, "pulse_duration_s": 1.0}
    )
    assert reasons(more, LI_LI, limits=wide) == []
    fewer = changed("self-heating", "max_pulse_count = 80", "max_pulse_count = 59")
    only(reasons(parse_recipe(fewer, "x.toml"), LI_LI, limits=wide), "max_pulse_count")
    weak = changed("self-heating", "max_energy_J_per_cm2 = 10.0", "max_energy_J_per_cm2 = 1.4")
    only(reasons(parse_recipe(weak, "x.toml"), LI_LI, limits=wide), "max_energy_J_per_cm2")


@pytest.mark.parametrize(("energy_J_per_cm2", "accepted"), [(6.2, True), (6.1, False)])
def test_energy_is_reckoned_at_the_highest_voltage(energy_J_per_cm2, accepted):
    # 60 pulses of 12 mA/cm2 for 2 s at no more than 4.3 V: 6.19 J/cm2.
    text = changed(
        "self-heating",
        "max_energy_J_per_cm2 = 10.0",
        f"max_energy_J_per_cm2 = {energy_J_per_cm2}",
    )
    found = reasons(parse_recipe(text, "x.toml"), EXCESS)
    assert (found == []) is accepted
    if not accepted:
        only(found, "6.192 is more than the recipe's own max_energy_J_per_cm2")


@pytest.mark.parametrize(("duration_s", "accepted"), [(2.02, True), (2.03, False)])
def test_pulses_are_balanced_within_half_a_percent(duration_s, accepted):
    plate = 'say = "plate pulse"\nphase = "execute"\ndirection = "charge"\n'
    density = 'current_density_mA_per_cm2 = "pulse_current_density_mA_per_cm2"\n'
    text = changed(
        "self-heating",
        plate + density + 'duration_s = "pulse_duration_s"',
        plate + density + f"duration_s = {duration_s}",
    )
    found = reasons(
        parse_recipe(text, "x.toml"),
        LI_LI,
        limits=with_envelope(LI_LI, "self-heating", max_on_s=200.0, max_charge_Ah=1.0),
    )
    # Net over gross: 0.02 / 4.02 = 0.498 %, 0.03 / 4.03 = 0.744 %.
    assert (found == []) is accepted
    if not accepted:
        only(found, "max_net_fraction_of_gross")


@pytest.mark.parametrize(
    ("fraction", "accepted"), [(0.05, False), (0.11, True), (0.9, True), (0.91, False)]
)
def test_self_heating_stays_away_from_both_ends_of_charge(fraction, accepted):
    text = changed(
        "self-heating",
        "charge_fraction_of_nominal = 0.5",
        f"charge_fraction_of_nominal = {fraction}",
    )
    found = reasons(parse_recipe(text, "x.toml"), LI_LI)
    assert (found == []) is accepted
    if not accepted:
        only(found, "outside 10% ... 90% of charge")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("duration_min = 30\nocv_check = true", "duration_min = 29\nocv_check = true"),
        ("duration_min = 30\nocv_check = true", "duration_min = 30"),
    ],
)
def test_fast_pulses_are_followed_by_30_minutes_at_open_circuit(old, new):
    recipe = parse_recipe(changed("self-heating", old, new), "x.toml")
    only(reasons(recipe, LI_LI), "no 30 min open-circuit check")


def test_no_charging_between_a_fast_strip_and_its_check():
    text = changed(
        "short-strip",
        '[[steps]]\ndo = "rest"\nsay = "recover"',
        '[[steps]]\ndo = "charge"\nphase = "recover"\nc_rate = "base"\n\n'
        '[[steps]]\ndo = "rest"\nsay = "recover"',
    )
    fast = {"strip_current_density_mA_per_cm2": 5.0}
    wide = with_envelope(ANODE_FREE, "fast-strip", max_current_A=8e-3)
    early = with_parameters(parse_recipe(text, "x.toml"), fast)
    only(reasons(early, ANODE_FREE, limits=wide), "no 30 min open-circuit check")
    whole = with_parameters(library()["short-strip"], fast)
    assert reasons(whole, ANODE_FREE, limits=wide) == []
    assert reasons(parse_recipe(text, "x.toml"), ANODE_FREE) == []


@pytest.mark.parametrize(("density", "accepted"), [(4.0, True), (4.01, False)])
def test_the_check_is_asked_for_above_4_mA_per_cm2(density, accepted):
    text = changed("short-strip", "only_if_faster_than_mA_per_cm2 = 4.0", "ocv_check = false")
    text = text.replace("ocv_check = true\n", "")
    recipe = with_parameters(
        parse_recipe(text, "x.toml"), {"strip_current_density_mA_per_cm2": density}
    )
    wide = with_envelope(ANODE_FREE, "fast-strip", max_current_A=8e-3)
    assert (reasons(recipe, ANODE_FREE, limits=wide) == []) is accepted


def test_plating_above_base_rate_is_a_fast_treatment_too():
    text = changed(
        "discharged-rest",
        '[[steps]]\ndo = "rest"\nphase = "recover"',
        '[[steps]]\ndo = "charge"\nphase = "recover"\nc_rate = "C/2.5"\n'
        'charge_fraction_of_nominal = 0.1\n\n[[steps]]\ndo = "rest"\nphase = "recover"',
    )
    recipe = parse_recipe(text, "x.toml")
    only(reasons(recipe, ANODE_FREE), "no 30 min open-circuit check")
    assert reasons(recipe, ANODE_FREE, base_c_rate=0.4) == []


# --- The moment -----------------------------------------------------------------------------


def test_everything_ready_is_accepted():
    assert reasons("short-strip", ANODE_FREE, state=READY) == []
    assert reasons("discharged-rest", ANODE_FREE, state=READY) == []
    assert reasons("self-heating", LI_LI, state=READY) == []
    assert reasons("pre-strip-4v", LI_LI, state=replace(READY, cycles_done=0)) == []


@pytest.mark.parametrize(
    ("name", "cell_format", "changes", "part"),
    [
        ("short-strip", ANODE_FREE, {"formation_over": False}, "formation"),
        ("discharged-rest", ANODE_FREE, {"anode_limited_end": False}, "knee"),
        ("discharged-rest", LI_CU, {"anode_limited_end": False}, "knee"),
        ("short-strip", ANODE_FREE, {"since_charge_end_s": 900.1}, "more than 15 min"),
        ("short-strip", ANODE_FREE, {"since_charge_end_s": NAN}, "more than 15 min"),
        ("short-strip", ANODE_FREE, {"short_sign": True}, "soft short"),
        ("self-heating", LI_LI, {"short_sign": True}, "soft short"),
        ("pre-strip-4v", LI_LI, {"cycles_done": 1}, "before any cycling"),
        ("short-strip", ANODE_FREE, {"temperature_K": 318.2}, "no treatment above 45"),
        ("discharged-rest", ANODE_FREE, {"temperature_K": NAN}, "no treatment above 45"),
    ],
)
def test_the_moment_is_wrong(name, cell_format, changes, part):
    found = reasons(name, cell_format, state=replace(READY, **changes))
    assert any(part in text for text in found), found
    # Without a moment to judge, only what never changes counts.
    assert reasons(name, cell_format) == []


def test_within_15_minutes_after_charging():
    assert reasons("short-strip", ANODE_FREE, state=replace(READY, since_charge_end_s=900.0)) == []


def test_excess_lithium_reaches_no_knee_and_is_not_asked_for_one():
    state = replace(READY, anode_limited_end=False)
    assert reasons("discharged-rest", EXCESS, state=state) == []


def test_a_slow_treatment_is_not_barred_by_a_short_sign():
    assert reasons("discharged-rest", ANODE_FREE, state=replace(READY, short_sign=True)) == []


def test_the_4_v_pulse_is_given_once():
    state = replace(READY, cycles_done=0, times_done={"pre-strip-4v": 1})
    only(reasons("pre-strip-4v", LI_LI, state=state), "given to this cell already")


def test_the_moment_does_not_bar_base_cycling():
    assert reasons("base-cycling", ANODE_FREE, state=CheckState(temperature_K=298.15)) == []


# --- Whatever is given ----------------------------------------------------------------------

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True)


@given(
    name=st.sampled_from(sorted(library())),
    cell_format=st.sampled_from(list(CellFormat)),
    figures=st.lists(ANY_FLOAT, min_size=5, max_size=5),
    sham=st.booleans(),
)
def test_a_check_answers_whatever_the_figures(name, cell_format, figures, sham):
    state = CheckState(
        temperature_K=figures[0],
        active_lithium_lower_Ah=figures[1],
        since_charge_end_s=figures[2],
        formation_over=True,
        anode_limited_end=True,
    )
    odd = replace(
        with_continuous(cell_format, charge_current_max_A=figures[3]),
        max_half_cycle_s=figures[4],
    )
    for refusal in check(
        library()[name],
        cell(cell_format),
        odd,
        CAPABILITIES,
        temperature_source="auxiliary",
        state=state,
        sham=sham,
    ):
        assert refusal.reason
        assert refusal.where
        assert str(refusal).startswith(f"{name}: ")


@pytest.mark.parametrize("key", ["max_half_cycle_charge_Ah", "max_half_cycle_s"])
def test_a_limit_that_is_no_number_refuses(key):
    broken = replace(limits(ANODE_FREE), **{key: NAN})
    assert reasons("base-cycling", ANODE_FREE, limits=broken) != []


@pytest.mark.parametrize(
    "key", ["charge_current_max_A", "discharge_current_max_A", "voltage_min_V", "voltage_max_V"]
)
def test_a_continuous_limit_that_is_no_number_refuses(key):
    assert reasons("base-cycling", ANODE_FREE, limits=with_continuous(ANODE_FREE, **{key: NAN}))
