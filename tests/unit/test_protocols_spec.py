"""What a recipe file may say, and what a wrong one is told."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.cell import CellFormat
from controller.domain.errors import ConfigurationError
from protocols.parse import parse_recipe
from protocols.registry import library, load
from protocols.resolve import resolve
from protocols.spec import parse_c_rate, unit_of
from tests.unit.test_protocols_support import cell, changed, library_text, with_parameters


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        parse_recipe(text, "mine.toml")
    return [str(fault) for fault in caught.value.faults]


def only(found: list[str], *parts: str) -> None:
    assert len(found) == 1, found
    for part in ("mine.toml: ", *parts):
        assert part in found[0]


@pytest.mark.parametrize(
    ("text", "rate"),
    [("C/3", 1 / 3), ("C/20", 0.05), ("2C", 2.0), ("C", 1.0), ("0.5C", 0.5)],
)
def test_rates_as_people_write_them(text, rate):
    assert parse_c_rate(text) == rate


@pytest.mark.parametrize(
    "text", ["C/0", "C/-3", "C/", "-1C", "infC", "nanC", "3", "base", "", "C3"]
)
def test_what_is_no_rate(text):
    assert parse_c_rate(text) is None


@given(st.text(max_size=12))
def test_reading_a_rate_never_fails(text):
    rate = parse_c_rate(text)
    assert rate is None or (math.isfinite(rate) and rate > 0.0)


@pytest.mark.parametrize(
    ("key", "unit"),
    [
        ("strip_current_density_mA_per_cm2", "mA_per_cm2"),
        ("dose_mAh_per_cm2", "mAh_per_cm2"),
        ("until_current_c_rate", "c_rate"),
        ("c_rate", "c_rate"),
        ("rest_duration_min", "min"),
        ("rest_duration_h", "h"),
        ("pulse_duration_s", "s"),
        ("pulse_voltage_V", "V"),
        ("strip_charge_fraction_of_nominal", "fraction_of_nominal"),
        ("pulse_pair_count", "count"),
        ("times", "count"),
        ("steps", ""),
        ("speed", ""),
    ],
)
def test_units_stand_in_the_names(key, unit):
    assert unit_of(key) == unit


def test_unknown_key_names_the_nearest():
    found = faults(changed("anchor", "anchor = true", "anchr = true"))
    only(found, "steps.0.anchr: unknown key (= True)", "did you mean 'anchor'?")


def test_every_fault_is_listed_at_once():
    text = changed("base-cycling", 'kind = "base"', 'kind = "bass"\nflavour = 3')
    text = text.replace('allowed = "evidence"', 'allowed = "evidense"', 1)
    text = text.replace('do = "discharge"', 'do = "discharche"', 1)
    found = "\n".join(faults(text))
    for part in (
        "mine.toml: kind: 'bass' is not valid (did you mean 'base'?)",
        "mine.toml: flavour: unknown key (= 3)",
        "mine.toml: applicability.anode-free.allowed: 'evidense' is not valid",
        "did you mean 'evidence'?",
        "mine.toml: steps.3.do: 'discharche' is no step (did you mean 'discharge'?)",
    ):
        assert part in found
    assert len(found.splitlines()) == 4


@pytest.mark.parametrize(
    ("name", "old", "new", "parts"),
    [
        # No step without an end.
        (
            "base-cycling",
            'do = "rest"\nduration_min = "rest_duration_min"',
            'do = "rest"',
            ("steps.2", "exactly one of duration_s, duration_min, duration_h; got 0"),
        ),
        (
            "anchor",
            'max_duration_h = "hold_max_duration_h"',
            "",
            ("steps.0", "exactly one of max_duration_s, max_duration_min, max_duration_h; got 0"),
        ),
        (
            "anchor",
            'until_current_c_rate = "hold_until_c_rate"',
            "",
            ("steps.0.until_current_c_rate", "missing"),
        ),
        (
            "base-cycling",
            'do = "charge"\nc_rate = "base"',
            'do = "charge"\nc_rate = "base"\nuntil_current_c_rate = "C/20"',
            ("steps.0", "exactly one of max_duration_s"),
        ),
        (
            "reference-test",
            'duration_s = "pulse_duration_s"',
            "",
            ("steps.4.duration_s", "missing"),
        ),
        # One current, said once.
        (
            "base-cycling",
            'do = "charge"\nc_rate = "base"',
            'do = "charge"',
            ("steps.0", "exactly one of current_density_mA_per_cm2, c_rate; got 0"),
        ),
        (
            "base-cycling",
            'do = "charge"\nc_rate = "base"',
            'do = "charge"\nc_rate = "base"\ncurrent_density_mA_per_cm2 = 1',
            ("steps.0", "got 2"),
        ),
        (
            "base-cycling",
            'do = "charge"\nc_rate = "base"',
            (
                'do = "charge"\nc_rate = "base"\n'
                "charge_mAh_per_cm2 = 1\ncharge_fraction_of_nominal = 0.5"
            ),
            ("steps.0", "at most one of charge_fraction_of_nominal, charge_mAh_per_cm2"),
        ),
        # Values.
        (
            "anchor",
            "temperature_within_K = 1.0",
            "temperature_within_K = -1.0",
            ("greater than 0",),
        ),
        ("anchor", "temperature_within_K = 1.0", "temperature_within_K = true", ("a number",)),
        ("anchor", "temperature_within_K = 1.0", "temperature_within_K = nan", ("finite",)),
        ("anchor", "temperature_within_K = 1.0", 'temperature_within_K = "1 K"', ("'1 K'",)),
        (
            "short-strip",
            "above_c_rate = 0.5",
            "above_c_rate = 0.6",
            ("conditions.device_enforced_lower_voltage_above_c_rate", "0.6", "less than or equal"),
        ),
        (
            "short-strip",
            "max_temperature_degC = 45",
            "max_temperature_degC = 46",
            ("conditions.max_temperature_degC", "46"),
        ),
        (
            "short-strip",
            "fraction_of_active_lithium = 0.5",
            "fraction_of_active_lithium = 0.51",
            ("0.51",),
        ),
        ("discharged-rest", "duration_s = 60", "duration_s = 0", ("0: must be a number above 0",)),
        ("discharged-rest", "duration_s = 60", "duration_s = inf", ("must be a number above 0",)),
        ("formation", 'times = "cycle_count"', "times = 1001", ("steps.0.times", "1 ... 1000")),
        ("formation", 'times = "cycle_count"', "times = 2.5", ("steps.0.times", "whole number")),
        (
            "short-strip",
            "value = 3\n",
            "value = 11\n",
            (
                "parameters.strip_current_density_mA_per_cm2",
                "11 is outside lowest 1 ... highest 10",
            ),
        ),
        ("short-strip", 'name = "short-strip"', 'name = "Short strip"', ("name: 'Short strip'",)),
        (
            "anchor",
            'do = "hold"',
            'do_ = "hold"',
            ("steps.0.do: is missing", "one of rest, charge"),
        ),
        # Between keys.
        (
            "base-cycling",
            'at = "upper-cut-off"\nc_rate = "base"',
            'at = "upper-cut-off"\nc_rate = "rest_duration_min"',
            ("steps.1.c_rate", "'rest_duration_min' is not in c_rate"),
        ),
        (
            "base-cycling",
            'up_to_voltage_V = "cut-off"',
            'up_to_voltage_V = "cutoff"',
            ("steps.0.up_to_voltage_V", "did you mean 'cut-off'?"),
        ),
        (
            "formation",
            "[parameters.cycle_count]\nvalue = 2",
            "[parameters.cycle_count]\nvalue = 2.5",
            ("parameters.cycle_count", "whole number"),
        ),
        (
            "anchor",
            "[applicability.li-li]\nallowed",
            "[applicability.li-s]\nallowed",
            ("applicability.li-s",),
        ),
        ("discharged-rest", 'placement = "after-discharge"\n', "", ("placement", "missing")),
        ("discharged-rest", 'controls = ["none", "sham"]', 'controls = ["none"]', ("sham_steps",)),
        (
            "discharged-rest",
            'say = "discharged rest"\nphase = "execute"',
            'say = "discharged rest"',
            ("steps.1.phase", "missing in a treatment", "one of arm, execute"),
        ),
        (
            "anchor",
            'do = "hold"',
            'do = "hold"\nphase = "arm"',
            ("steps.0.phase", "only treatments"),
        ),
        ("short-strip", "in_envelope = true\n", "", ("pulse_envelope", "no step runs in it")),
        (
            "short-strip",
            'pulse_envelope = "fast-strip"\n',
            "",
            ("pulse_envelope", "an envelope that is not named"),
        ),
        (
            "short-strip",
            'charge_as_in_step = "fast strip"',
            'charge_as_in_step = "fast stripp"',
            ("sham_steps.1.charge_as_in_step", "did you mean 'fast strip'?"),
        ),
        (
            "short-strip",
            'say = "same charge at base rate"',
            'in_envelope = true\nsay = "same charge at base rate"',
            ("sham_steps.1.in_envelope", "continuous limits"),
        ),
        (
            "short-strip",
            'charge_fraction_of_nominal = "strip_charge_fraction_of_nominal"',
            'charge_as_in_step = "fast strip"',
            ("steps.1.charge_as_in_step", "only a sham copies"),
        ),
        (
            "short-strip",
            'charge_fraction_of_nominal = "strip_charge_fraction_of_nominal"\n',
            "",
            ("sham_steps.1.charge_as_in_step", "said by no step of a given charge"),
        ),
        ("anchor", "[parameters.hold_until_c_rate]", "[parameters.hold_until]", ("has no unit",)),
        ("base-cycling", "lowest = 0.1\n", "lowest = 0\n", ("lowest: is 0", "above 0")),
        ("anchor", 'kind = "anchor"', 'kind = "anchor"\nplacement = "after-charge"', ("kind",)),
        ("anchor", 'lowest = "C/200"', "lowest = [1]", ("lowest", "finite number")),
        ("anchor", 'c_rate = "base"', "c_rate = false", ("c_rate", "above 0")),
        ("base-cycling", 'up_to_voltage_V = "cut-off"', "up_to_voltage_V = []", ("voltage in V",)),
        ("self-heating", "min_state_of_charge = 0.1", "min_state_of_charge = 0.9", ("not below",)),
    ],
)
def test_what_a_recipe_may_not_say(name, old, new, parts):
    found = faults(changed(name, old, new))
    text = "\n".join(found)
    for part in ("mine.toml: ", *parts):
        assert part in text


def test_a_misspelt_parameter_is_met_twice_where_it_is_named_and_where_it_stands():
    found = faults(
        changed(
            "short-strip",
            '= "strip_current_density_mA_per_cm2"',
            '= "strip_curent_density_mA_per_cm2"',
        )
    )
    assert len(found) == 2
    assert "did you mean 'strip_current_density_mA_per_cm2'?" in found[0]
    assert "is used by no step" in found[1]


def test_phases_run_in_order_and_one_executes():
    text = changed(
        "discharged-rest",
        'say = "discharged rest"\nphase = "execute"',
        'say = "discharged rest"\nphase = "evaluate"',
    )
    found = "\n".join(faults(text))
    assert "steps.2.phase: recover comes after evaluate" in found
    assert "steps: no step has phase 'execute'" in found


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("schema = 1\n", "schema = 2\n", "schema: 2 is unknown (this version reads schema = 1)"),
        ("schema = 1\n", "schema = true\n", "schema: True is unknown"),
        ("schema = 1\n", 'schema = "1"\n', "schema: '1' is unknown"),
        ("schema = 1\n", "", "schema: missing"),
        ("schema = 1\n", "schema = \n", "not valid TOML"),
    ],
)
def test_schema(old, new, part):
    only(faults(changed("anchor", old, new)), part)


def test_a_date_is_no_number():
    found = faults(
        changed("anchor", "temperature_within_K = 1.0", "temperature_within_K = 2020-01-01")
    )
    only(found, "conditions.temperature_within_K", "'2020-01-01'")


@given(st.text(max_size=200))
def test_any_text_gives_a_recipe_or_a_configuration_error(text):
    with pytest.raises(ConfigurationError):
        parse_recipe(text, "mine.toml")


@given(st.data())
def test_a_damaged_recipe_never_gives_another_error(data):
    text = library_text(data.draw(st.sampled_from(sorted(library()))))
    start = data.draw(st.integers(0, len(text)))
    length = data.draw(st.integers(0, 40))
    insert = data.draw(st.text('"=[]#\nabc0.-', max_size=6))
    damaged = text[:start] + insert + text[start + length :]
    try:
        recipe = parse_recipe(damaged, "mine.toml")
    except ConfigurationError as error:
        assert error.faults  # noqa: PT017 - either outcome is right; anything else is not
    else:
        assert recipe.steps


def test_recipes_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        library()["anchor"].name = "other"


def test_the_fast_strips_check_comes_and_goes_with_its_speed():
    spec = cell(CellFormat.ANODE_FREE)
    for density, checks in ((4.0, 0), (4.01, 1)):
        recipe = with_parameters(
            library()["short-strip"], {"strip_current_density_mA_per_cm2": density}
        )
        for sham in (False, True):
            steps = resolve(recipe, spec, sham=sham)
            assert sum(step.ocv_check for step in steps) == checks


def test_a_voltage_out_of_order_is_refused_when_resolved():
    text = changed("base-cycling", 'down_to_voltage_V = "cut-off"', "down_to_voltage_V = 4.3")
    with pytest.raises(ConfigurationError, match="not below this cell's upper cut-off"):
        resolve(parse_recipe(text, "x.toml"), cell(CellFormat.ANODE_FREE))
    text = changed("base-cycling", 'up_to_voltage_V = "cut-off"', "up_to_voltage_V = 3.0")
    with pytest.raises(ConfigurationError, match="not above this cell's lower cut-off"):
        resolve(parse_recipe(text, "x.toml"), cell(CellFormat.ANODE_FREE))


def test_base_means_the_rate_of_base_cycling():
    spec = cell(CellFormat.ANODE_FREE)
    (anchor,) = resolve(library()["anchor"], spec, base_c_rate=0.5)
    assert anchor.current_A == pytest.approx(-1.5e-3)
    own = with_parameters(library()["base-cycling"], {"base_c_rate": 0.2})
    assert resolve(own, spec, base_c_rate=0.5)[0].current_A == pytest.approx(0.6e-3)


def test_load_by_name_and_by_path(tmp_path):
    assert load("anchor") is library()["anchor"]
    path = tmp_path / "mine.toml"
    path.write_text(library_text("anchor"), encoding="utf-8")
    assert load(path) == load(str(path)) == library()["anchor"]


def test_load_says_what_is_wrong(tmp_path):
    with pytest.raises(ConfigurationError, match="did you mean 'anchor'"):
        load("ankor")
    with pytest.raises(ConfigurationError, match=r"absent\.toml: cannot be read"):
        load(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b"title = '\xe9'")
    with pytest.raises(ConfigurationError, match="not UTF-8 text"):
        load(tmp_path / "latin.toml")
    (tmp_path / "empty.toml").write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"empty\.toml: schema: missing"):
        load(tmp_path / "empty.toml")


def test_the_library_handed_out_is_the_callers_own():
    library().clear()
    assert library()
