"""Published effects on the simulated cell: each is there, and goes with its mechanism."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from controller.domain.errors import ConfigurationError
from hil.cell.library import load_values
from hil.compiled import available
from hil.draws import drawn_values
from hil.effects.runner import Result, needed_of, reproduced, run_draws, run_effect
from hil.effects.table import BY_ID, EFFECTS, Effect, effect_of

ROOT = Path(__file__).resolve().parents[2]
KEYS = {"effect", "expected", "simulated", "passed", "changed", "basis", "provenance"}
COMPILED_ONLY = pytest.mark.skipif(not available(), reason="no numba: extra [fast]")
# Of 20 draws as many must hold as a true share of 90 % reaches with 99 % probability: 14. The 200
# that docs/effects.md gives take minutes.
DRAWS_IN_CI = 20

pytestmark = COMPILED_ONLY


@pytest.fixture(scope="module", params=[one.id for one in EFFECTS])
def result(request: pytest.FixtureRequest) -> Result:
    return run_effect(BY_ID[request.param])


def test_the_effect_is_there_and_goes_with_its_mechanism(result: Result) -> None:
    assert result.passed, result.simulated
    assert result.ablation_fails, result.ablated


def test_what_it_says_of_itself(result: Result) -> None:
    document = result.document()
    assert set(document) >= KEYS
    assert document["provenance"].startswith("calibrated on ")
    assert document["provenance"].endswith("not validated")
    assert document["changed"]
    assert set(document["basis"]) <= {"P", "Pr", "R", "D"}  # what is only remembered is no oracle
    json.dumps(document)


def test_all_of_section_three_and_the_negative_controls() -> None:
    assert [one.id for one in EFFECTS[:15]] == [f"E{n}" for n in range(1, 16)]
    assert {one.kind for one in EFFECTS[15:]} == {"N"}
    assert effect_of("e14").kind == "N"


def test_charged_rest_and_its_counterpart_are_different_families() -> None:
    assert BY_ID["E4"].family != BY_ID["E5"].family


@pytest.mark.parametrize("effect", EFFECTS[:15], ids=lambda one: one.id)
def test_an_experiment_keeps_to_the_ranges_of_its_familys_one_file(effect: Effect) -> None:
    stated = load_values("family", effect.family, "test")
    for name, value in effect.fixed.items():
        if name in stated:
            assert stated[name].low <= value <= stated[name].high, name


def test_running_out_of_salt_changes_nothing_of_the_family() -> None:
    assert not BY_ID["E14"].fixed


def test_a_lean_cell_that_still_has_salt_is_not_taken_for_a_starved_one() -> None:
    # Its salt lasts as long as its lithium: treatments return lithium, and none of it is the salt's.
    effect = BY_ID["E14"]
    figures = effect.run(effect.lab(factors={"salt_per_sei": 0.1}))
    assert figures["salt_left_percent"] > 50.0
    assert not reproduced(effect.sign, figures)


@pytest.mark.parametrize("name", [one.id for one in EFFECTS])
def test_the_sign_holds_on_drawn_cells(name: str) -> None:
    held = run_draws(BY_ID[name], DRAWS_IN_CI)
    assert held.passed, held


def test_how_many_draws_must_hold() -> None:
    assert needed_of(200) == 180
    assert needed_of(1000) == 900
    assert needed_of(40) == 31  # 99 % of samples of 40 with a true share of 0.9 hold so often
    assert needed_of(20) == 14
    assert needed_of(6) == 3


def test_a_draw_is_the_same_for_a_seed_and_stays_in_its_ranges() -> None:
    assert drawn_values("lhce", "nmc811", 3) == drawn_values("lhce", "nmc811", 3)
    assert drawn_values("lhce", "nmc811", 3) != drawn_values("lhce", "nmc811", 4)


def test_an_unknown_effect_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="did you mean 'E4'"):
        effect_of("E44")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "controller.app", "hil", "effects", *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_the_command_prints_one_list_as_json() -> None:
    done = run("--only", "E4", "--only", "n1", "--json")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    assert [one["effect"] for one in listed] == ["E4", "N1"]
    assert all(one["passed"] and one["ablation"]["fails"] for one in listed)


def test_the_command_says_what_was_changed_and_what_it_stands_on(tmp_path: Path) -> None:
    done = run("--only", "E2", "--draws", "2", "--plot", str(tmp_path))
    assert done.returncode == 0, done.stderr
    for word in ("changed", "mechanism off", "drawn cells", "calibrated on", "never validated"):
        assert word in done.stdout
    assert (tmp_path / "effects-gain.svg").stat().st_size > 1000


def test_the_command_refuses_what_is_not_there() -> None:
    done = run("--only", "E16")
    assert done.returncode == 2
    assert "did you mean" in done.stderr


def test_figures_that_could_not_be_written_are_refused_before_anything_runs(tmp_path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("", encoding="utf-8")
    done = run("--only", "E2", "--plot", str(taken))
    assert done.returncode == 2
    assert f"{taken} is a file" in done.stderr.replace("\n", " ").replace("  ", " ")
    done = run("--only", "E2", "--plot", str(taken / "below"))
    assert done.returncode == 2
    assert "cannot be written to" in done.stderr
    assert "expected" not in done.stdout
