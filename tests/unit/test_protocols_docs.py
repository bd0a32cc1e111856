"""The page about recipes says what the library is, and its example is a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.domain.cell import CellFormat
from protocols.check import check
from protocols.parse import parse_recipe
from protocols.registry import library
from protocols.spec import Allowed, Phase
from tests.unit.test_protocols_support import CAPABILITIES, cell, limits

PAGE = Path(__file__).parents[2] / "docs" / "protocols.md"


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def table_rows(heading: str) -> list[list[str]]:
    lines = page().splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith(heading))
    rows = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        rows.append([part.strip() for part in line.strip("|").split("|")])
    return rows


def test_the_table_is_the_library():
    found = {
        name: (
            recipe.kind.value,
            *(recipe.applicability[item].allowed.value for item in CellFormat),
            recipe.pulse_envelope,
            ", ".join(recipe.controls),
        )
        for name, recipe in library().items()
    }
    assert {row[0]: tuple(row[1:]) for row in table_rows("| name | kind |")} == found


def test_the_table_has_the_formats_in_this_order():
    header = next(line for line in page().splitlines() if line.startswith("| name | kind |"))
    assert [part.strip() for part in header.split("|")][3:8] == list(CellFormat)


@pytest.mark.parametrize("cell_format", list(CellFormat))
def test_the_example_is_a_recipe_and_obeys_the_rules(cell_format):
    text = page()
    example = text[text.index("```toml\n") + 8 :]
    recipe = parse_recipe(example[: example.index("```")], "docs/protocols.md")
    assert recipe.steps[0].phase is Phase.EXECUTE
    refused = recipe.applicability[cell_format].allowed is Allowed.REFUSED
    for sham in (False, True):
        refusals = check(recipe, cell(cell_format), limits(cell_format), CAPABILITIES, sham=sham)
        assert bool(refusals) is refused


def test_the_unconfirmed_references_are_named():
    unconfirmed = sorted(
        evidence.source.rsplit("; ", 1)[-1].split()[0]
        for recipe in library().values()
        for evidence in recipe.evidence
        if evidence.doi and not evidence.doi_confirmed
    )
    assert unconfirmed == ["Huang", "Li", "Zhang"]
    for author in unconfirmed:
        assert f"{author} 20" in page()
