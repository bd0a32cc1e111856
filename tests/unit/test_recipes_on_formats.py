"""Which recipe runs on which built-in example, and what is said where it does not.

The table is that of the rules of the field, written down here independently of the recipe files.
"""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from controller.app.config import EXAMPLES, RunConfig, example_text, load_run, parse_run
from controller.app.hardware import own_cell
from controller.app.main import app
from controller.app.prepare import CAPABILITIES, prepare
from controller.domain.cell import CellFormat
from controller.domain.errors import ConfigurationError
from protocols.check import check
from protocols.registry import library
from protocols.spec import Allowed, Kind

EVIDENCE, PRIOR = Allowed.EVIDENCE, Allowed.PRIOR_ONLY

# Recipe -> format -> evidence, prior only, or a passage of the reason for which it is refused.
TABLE: dict[str, dict[str, Allowed | str]] = {
    "formation": dict.fromkeys(EXAMPLES, EVIDENCE),
    "base-cycling": dict.fromkeys(EXAMPLES, EVIDENCE),
    "reference-test": dict.fromkeys(EXAMPLES, EVIDENCE),
    "anchor": {**dict.fromkeys(EXAMPLES, EVIDENCE), "li-li": "use balanced-anchor"},
    "balanced-anchor": {**dict.fromkeys(EXAMPLES, "use anchor"), "li-li": EVIDENCE},
    "short-strip": {
        "anode-free": PRIOR,
        "excess-lithium": EVIDENCE,
        "li-cu": EVIDENCE,
        "li-li": "no charged state",
    },
    "discharged-rest": {
        "anode-free": EVIDENCE,
        "excess-lithium": PRIOR,
        "li-cu": EVIDENCE,
        "li-li": "no discharged state",
    },
    "self-heating": {
        "anode-free": "the cell's only lithium",
        "excess-lithium": PRIOR,
        "li-cu": "all the lithium there",
        "li-li": EVIDENCE,
    },
    "pre-strip-4v": {
        "anode-free": "+4 V on Cu dissolves Cu",
        "excess-lithium": "A full cell",
        "li-cu": EVIDENCE,
        "li-li": EVIDENCE,
    },
}
# What the owner of an example has not granted: the recipe may run there, its envelope is missing.
NOT_GRANTED = {("self-heating", "excess-lithium")}
CASES = [(recipe, example) for recipe in TABLE for example in EXAMPLES]
TREATMENTS = [name for name, recipe in library().items() if recipe.kind is Kind.TREATMENT]


def config(example: str) -> RunConfig:
    return load_run(None, example=example)


def reasons(recipe: str, given: RunConfig) -> list[str]:
    return [
        refusal.reason
        for sham in (False, True)
        for refusal in check(
            library()[recipe],
            given.cell,
            given.limits,
            CAPABILITIES[given.file.cycler.driver],
            temperature_source=given.file.temperature.source,
            sham=sham,
        )
    ]


def test_the_table_is_whole() -> None:
    assert set(TABLE) == set(library())
    assert set(EXAMPLES) == {item.value for item in CellFormat} - {"full-cell"}


@pytest.mark.parametrize(("recipe", "example"), CASES)
def test_the_library_says_what_the_rules_say(recipe: str, example: str) -> None:
    use = library()[recipe].applicability[CellFormat(example)]
    expected = TABLE[recipe][example]
    if isinstance(expected, Allowed):
        assert use.allowed is expected
    else:
        assert use.allowed is Allowed.REFUSED
        assert expected in use.reason


@pytest.mark.parametrize(("recipe", "example"), CASES)
def test_on_its_example_it_is_accepted_or_refused_with_the_reason(
    recipe: str, example: str
) -> None:
    expected = TABLE[recipe][example]
    found = reasons(recipe, config(example))
    if (recipe, example) in NOT_GRANTED:
        assert found
        assert all("not among those the cell's owner wrote" in reason for reason in found)
    elif isinstance(expected, Allowed):
        assert found == []
    else:
        assert found
        assert all(expected in reason for reason in found)


@pytest.mark.parametrize(("recipe", "example"), CASES)
def test_protocols_check_prints_it(recipe: str, example: str) -> None:
    done = CliRunner().invoke(app, ["protocols", "check", recipe, "--example", example])
    expected = TABLE[recipe][example]
    if isinstance(expected, Allowed) and (recipe, example) not in NOT_GRANTED:
        assert done.exit_code == 0, done.output
        assert "accepted" in done.output
        assert ("prior only" in done.output) is (expected is PRIOR)
    else:
        assert done.exit_code == 1
        passage = "not among those" if isinstance(expected, Allowed) else expected
        assert passage in done.output


@pytest.mark.parametrize(("recipe", "example"), [case for case in CASES if case[0] in TREATMENTS])
def test_a_run_that_schedules_it_starts_or_is_refused_with_the_reason(
    recipe: str, example: str
) -> None:
    text = example_text(example)
    line = next(one for one in text.splitlines() if one.startswith("protocols = ["))
    given = parse_run(text.replace(line, f'protocols = ["{recipe}"]'), "RUN.toml")
    expected = TABLE[recipe][example]
    if isinstance(expected, Allowed) and (recipe, example) not in NOT_GRANTED:
        core = prepare(given, 1).core
        comes_first = recipe == "pre-strip-4v"
        assert core.before_first == (recipe if comes_first else "")
        assert core.schedule.protocols == (() if comes_first else (recipe,))
        return
    with pytest.raises(ConfigurationError) as caught:
        prepare(given, 1)
    passage = "not among those" if isinstance(expected, Allowed) else expected
    assert passage in str(caught.value)
    assert f"schedule.protocols[0] = '{recipe}'" in str(caught.value)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_of_its_format_and_says_that_it_is_assumed(example: str) -> None:
    given = config(example)
    assert given.cell.format.value == example
    assert given.file.simulation.preset == example
    assert given.file.cycler.accept_unverified_driver
    assert not given.file.cycler.accept_no_watchdog
    assert "assumed, not measured" in given.text
    prepare(given, 1)


# --- what the run file may and may not say of two foils -------------------------------------------


def changed(example: str, old: str, new: str) -> str:
    text = example_text(example)
    assert old in text
    return text.replace(old, new)


REFUSED = {
    "no limit of the Cu potential": (
        "li-cu",
        "copper_potential_trip_V = 2.0\n",
        "",
        "limits.copper_potential_trip_V",
        "2.0",
    ),
    "no potential of the foil": (
        "li-cu",
        "cathode_ocv_upper_V = 0.0",
        "#",
        "limits.cathode_ocv_upper_V",
        "lithium foil",
    ),
    "a foil below lithium": (
        "li-cu",
        "cathode_ocv_upper_V = 0.0",
        "cathode_ocv_upper_V = -3.0",
        "cathode_ocv_upper_V",
        "lithium foil",
    ),
    "a strip beyond 1 V": (
        "li-cu",
        "lower_cut_off_V = -1.0",
        "lower_cut_off_V = -1.2",
        "lower_cut_off_V",
        "-1",
    ),
    "Cu oxidised at positive voltage": (
        "li-cu",
        'oxidised_electrode = "li"',
        'oxidised_electrode = "cu"',
        "pre-strip-4v",
        "charging would strip Cu",
    ),
    "the other foil": (
        "li-li",
        'oxidised_electrode = "positive"',
        'oxidised_electrode = "negative"',
        "pre-strip-4v",
        "oxidises the positive electrode",
    ),
    "the treated foil is not named": (
        "li-li",
        'oxidised_electrode = "positive"',
        "#",
        "pre-strip-4v",
        "does not say which",
    ),
    "an anchor at a cut-off that is not there": (
        "li-li",
        'anchor = "balanced-anchor"',
        'anchor = "anchor"',
        "cycling.anchor",
        "balanced-anchor",
    ),
    "a 4 V pulse in an ether": (
        "li-li",
        'electrolyte_family = "lhce"',
        'electrolyte_family = "dilute-ether"',
        "pre-strip-4v",
        "3.9 V",
    ),
    "self-heating without a thermometer": (
        "li-li",
        'source = "auxiliary" ',
        'source = "none" ',
        "self-heating",
        "none is measured",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_run_file_that_means_another_cell_is_refused(case: str) -> None:
    example, old, new, key, passage = REFUSED[case]
    with pytest.raises(ConfigurationError) as caught:
        prepare(parse_run(changed(example, old, new), "RUN.toml"), 1)
    assert key in str(caught.value)
    assert passage in str(caught.value)


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_simulated_cell_of_an_example_is_of_its_format(example: str) -> None:
    assert own_cell(config(example)) == example
    other = "li-li" if example != "li-li" else "li-cu"
    text = changed(example, f'preset = "{example}"', f'preset = "{other}"')
    with pytest.raises(ConfigurationError, match=r"simulation\.preset"):
        own_cell(parse_run(text, "RUN.toml"))


def test_a_lithium_foil_or_symmetric_cell_needs_no_limit_of_cu() -> None:
    for example in ("excess-lithium", "li-li"):
        limits = config(example).limits
        assert limits.cathode_ocv_upper_V != limits.cathode_ocv_upper_V
        assert limits.copper_potential_trip_V != limits.copper_potential_trip_V


# --- the command line -----------------------------------------------------------------------------


@pytest.mark.parametrize("example", EXAMPLES)
def test_config_prints_the_example(example: str) -> None:
    done = CliRunner().invoke(app, ["config", "--example", example])
    assert done.exit_code == 0
    assert done.output == example_text(example)


def test_config_without_a_name_prints_the_first() -> None:
    assert CliRunner().invoke(app, ["config"]).output == example_text("anode-free")


def test_an_unknown_example_names_the_nearest() -> None:
    for arguments in (["config"], ["run", "--dry-run"], ["protocols", "check", "anchor"]):
        done = CliRunner().invoke(app, [*arguments, "--example", "excess-lithum"])
        assert isinstance(done.exception, ConfigurationError)
        assert "did you mean 'excess-lithium'?" in str(done.exception)


def test_a_run_file_beside_an_example_is_refused(tmp_path) -> None:
    path = tmp_path / "RUN.toml"
    path.write_text(example_text())
    with pytest.raises(ConfigurationError, match="one of the two"):
        load_run(path, example="li-li")
