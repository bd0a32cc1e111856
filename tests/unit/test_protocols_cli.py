"""What the command line prints about recipes, and its exit codes."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from controller.app.protocols_cli import check_protocol, list_protocols, show
from controller.domain.cell import CellFormat
from protocols.check import CheckState
from protocols.registry import library
from protocols.spec import Allowed
from tests.unit.test_protocols_support import CAPABILITIES, cell, changed, limits

ANODE_FREE, LI_LI, LI_CU = CellFormat.ANODE_FREE, CellFormat.LI_LI, CellFormat.LI_CU


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=160, color_system=None)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_list_has_a_row_per_recipe_and_says_where_it_may_run(console):
    assert list_protocols(console=console) == 0
    text = printed(console)
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line.strip()}
    for name, recipe in library().items():
        allowed = [recipe.applicability[cell_format].allowed for cell_format in CellFormat]
        words = {Allowed.EVIDENCE: "yes", Allowed.PRIOR_ONLY: "prior"}
        assert rows[name][2:7] == [words.get(one, "-") for one in allowed]


@pytest.mark.parametrize("name", sorted(library()))
def test_show_gives_evidence_parameters_reasons_and_steps(console, name):
    assert show(name, console=console) == 0
    text, recipe = printed(console), library()[name]
    for evidence in recipe.evidence:
        assert f"[{evidence.basis}, {evidence.provenance}] {evidence.statement}" in text
        assert evidence.doi in text
    for parameter in recipe.parameters:
        assert f"{parameter} = " in text
    for use in recipe.applicability.values():
        assert use.reason in text
    assert f"risk: {recipe.price.risk_mAh_per_cm2:g} mAh/cm2 each time" in text
    assert ("both arms end at an anchor" in text) == recipe.needs_anchor
    assert ("may itself act as a treatment" in text) == recipe.may_act_as_treatment
    assert "Steps" in text
    assert ("Sham" in text) == bool(recipe.sham_steps)


def test_show_with_a_cell_gives_figures(console):
    assert show("short-strip", cell=cell(ANODE_FREE), console=console) == 0
    text = printed(console)
    assert "fast strip: discharge 4.62 mA (3 mA/cm2, 1.54C), bound 3 V, ends at 0.09 mAh" in text
    assert "pulse envelope 'fast-strip'" in text
    assert "3 mA/cm2 (1 mA/cm2 ... 10 mA/cm2; assumed" in text


def test_show_folds_a_train_and_keeps_its_count(console):
    assert show("self-heating", cell=cell(LI_LI), console=console) == 0
    text = printed(console)
    steps = text[text.index("Steps on") : text.index("Sham on")]
    assert "30 times:" in steps
    assert steps.count("strip pulse") == 1
    assert steps.count("plate pulse") == 1


def test_show_on_a_format_it_is_refused_on(console):
    assert show("self-heating", cell=cell(ANODE_FREE), console=console) == 0
    assert "Refused on c1 (anode-free): The thin deposit on Cu" in printed(console)


def test_unconfirmed_references_say_so(console):
    show("discharged-rest", console=console)
    assert "10.1038/s41586-023-06992-8 (DOI not confirmed)" in printed(console)


def test_unknown_recipe_is_bad_input(console):
    assert show("short-stip", console=console) == 2
    assert "did you mean 'short-strip'?" in printed(console)
    spec = cell(ANODE_FREE)
    code = check_protocol("ankor", spec, limits(ANODE_FREE), CAPABILITIES, "none", console=console)
    assert code == 2
    assert "did you mean 'anchor'?" in printed(console)


def test_a_broken_file_is_bad_input(console, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(changed("anchor", "anchor = true", "anchr = [1]"), encoding="utf-8")
    assert show(str(path), console=console) == 2
    assert "steps.0.anchr: unknown key (= [1])" in printed(console)


def test_a_file_whose_voltages_do_not_fit_the_cell_is_bad_input(console, tmp_path):
    path = tmp_path / "mine.toml"
    text = changed("base-cycling", 'down_to_voltage_V = "cut-off"', "down_to_voltage_V = 4.5")
    path.write_text(text, encoding="utf-8")
    assert show(str(path), cell=cell(ANODE_FREE), console=console) == 2
    assert "not below this cell's upper cut-off" in printed(console)


def test_check_accepts(console):
    code = check_protocol(
        "short-strip", cell(ANODE_FREE), limits(ANODE_FREE), CAPABILITIES, "none", console=console
    )
    text = printed(console)
    assert code == 0
    assert "short-strip: accepted on c1 with 2450" in text
    assert "prior only: Shown in NMC532-Li and Cu-Li cells" in text
    assert "limits are not enforced" in text


def test_check_refuses_with_reason_and_remedy(console):
    bare = replace(limits(ANODE_FREE), pulse_envelopes=())
    code = check_protocol(
        "short-strip", cell(ANODE_FREE), bare, CAPABILITIES, "none", console=console
    )
    text = printed(console)
    assert code == 1
    assert "step 2: fast strip: pulse envelope 'fast-strip' is not among" in text
    assert "add [[limits.pulse]] name = 'fast-strip'" in text


def test_check_says_each_reason_once_for_recipe_and_sham(console):
    code = check_protocol(
        "self-heating", cell(LI_CU), limits(LI_CU), CAPABILITIES, "auxiliary", console=console
    )
    assert code == 1
    assert printed(console).count("The thin deposit on Cu is all the lithium there") == 1


def test_check_judges_the_moment_where_it_is_given(console):
    code = check_protocol(
        "discharged-rest",
        cell(ANODE_FREE),
        limits(ANODE_FREE),
        CAPABILITIES,
        "none",
        state=CheckState(formation_over=True),
        console=console,
    )
    assert code == 1
    assert "did not reach the end-of-strip knee" in printed(console)


def test_the_sham_is_checked_as_well(console):
    # The strip itself has its envelope; its sham at base rate has none.
    whole = limits(ANODE_FREE)
    levels = replace(whole.continuous.discharge_current_max_A, operate=0.5e-3)
    slow = replace(whole, continuous=replace(whole.continuous, discharge_current_max_A=levels))
    code = check_protocol(
        "short-strip", cell(ANODE_FREE), slow, CAPABILITIES, "auxiliary", console=console
    )
    assert code == 1
    assert "same charge at base rate: 1 mA of discharge is above the continuous limit" in printed(
        console
    )
