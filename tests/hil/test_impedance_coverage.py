"""Impedance beside the truth: a small version of scripts/impedance_coverage.py."""

from __future__ import annotations

import pytest

from scripts.impedance_coverage import SCENARIOS, Claim, Row, summed_up, table

SEEDS = range(1001, 1041)  # others than those that docs/estimation.md counts


@pytest.fixture(scope="module")
def in_class() -> dict[str, Row]:
    return {row.figure: row for row in table("one-pair", SEEDS)}


def test_in_class_intervals_cover(in_class: dict[str, Row]) -> None:
    """At 95 %, 33 of 40 or fewer inside has a chance of 1 in 500."""
    for figure in ("R0", "R1", "R0 + R1", "tau1", "R(1 s)", "R(10 s)"):
        assert in_class[figure].covered_percent > 100.0 * 33.0 / 40.0, figure


def test_in_class_the_filter_is_narrower_than_the_last_step_and_scores_better_for_r0(
    in_class: dict[str, Row],
) -> None:
    ours, last = in_class["R0"], in_class["R0, last step"]
    assert ours.score_percent < last.score_percent
    assert ours.error_percent < last.error_percent
    assert in_class["R(1 s)"].half_width_percent < in_class["R(1 s), last step"].half_width_percent


def test_what_the_last_step_says_of_its_own_time_is_covered(in_class: dict[str, Row]) -> None:
    for figure in ("R(1 s), last step", "R(10 s), last step"):
        assert in_class[figure].covered_percent > 100.0 * 33.0 / 40.0, figure


def test_what_is_not_told_is_not_scored(in_class: dict[str, Row]) -> None:
    assert 20 <= in_class["R0"].told < in_class["R0"].seeds == len(SEEDS)
    assert in_class["R(1 s)"].told == len(SEEDS)


@pytest.mark.parametrize("scenario", ["equivalent-circuit", "simulated-cell"])
def test_on_cells_of_another_structure_answers_are_covered(scenario: str) -> None:
    rows = {row.figure: row for row in table(scenario, range(1001, 1009))}
    for figure in ("R(1 s)", "R(10 s)", "R(1 s), last step", "R(10 s), last step"):
        assert rows[figure].covered_percent >= 100.0 * 6.0 / 8.0, figure
        assert rows[figure].error_percent < (0.5 if "step" in figure else 3.0), figure


def test_one_pair_on_a_cell_of_many_says_so() -> None:
    """R(10 s) is off by some 8 %; 62 % of the intervals held it before the filter ran ahead."""
    rows = {row.figure: row for row in table("simulated-cell-one-pair", range(1001, 1021))}
    assert rows["R(10 s)"].error_percent > 3.0
    assert rows["R(10 s)"].covered_percent >= 100.0 * 17.0 / 20.0


def test_the_same_seed_gives_the_same_claims() -> None:
    assert SCENARIOS["simulated-cell"](7) == SCENARIOS["simulated-cell"](7)


def test_the_row_adds_up() -> None:
    claims = [
        Claim("x", 11.0, 1.0, 10.0),  # inside
        Claim("x", 14.0, 1.0, 10.0),  # outside by 2.04
        Claim("x", 99.0, 1.0, 10.0, told=False),
    ]
    row = summed_up("s", claims)
    assert (row.told, row.seeds, row.covered_percent) == (2, 3, 50.0)
    assert row.error_percent == pytest.approx(25.0)
    assert row.half_width_percent == pytest.approx(19.6)
    assert row.score_percent == pytest.approx(100.0 * (0.392 + 40.0 * 0.204 / 2.0))
