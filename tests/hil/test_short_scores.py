"""Small versions of the scoring scripts: they run, and the targets' direction holds."""

from __future__ import annotations

import json

import pytest

from controller.estimation.diagnosis import Mode, diagnose, shown_by
from hil.failing import failing_life
from hil.shorted import Short, watched_life
from scripts.short_detection import main
from tests.numba_extra import needs_numba


@needs_numba
@pytest.mark.slow
def test_shorts_are_found_and_sound_cycles_left_alone(capsys):
    small = "--shorts 10 --sound-cycles 100 --steady 0 --faint 0 --seed 200 --json"
    assert main(small.split()) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["sound"]["cycles"] >= 100
    assert result["sound"]["false_alarms"] == 0
    # 10 of shorts that are found nine times in ten: 6 or fewer has a chance of 1 %
    assert result["telegraph"]["shorts"] == 10
    assert result["telegraph"]["found"] >= 7


@needs_numba
def test_a_short_leaks_about_what_was_asked_for_and_is_gone_afterwards():
    short = Short(leak=0.04, telegraph=True, lasts_s=3600.0)
    life = watched_life("anode-free", 3, 8, short, treated_share=0.0)
    assert [cycle.leak for cycle in life[:-2]] == [0.0] * 6
    assert 0.005 < life[-2].leak < 0.12
    assert life[-1].leak == pytest.approx(0.0, abs=1e-6)
    assert repr(watched_life("anode-free", 3, 8, short, treated_share=0.0)) == repr(life)


@needs_numba
def test_a_leak_that_grows_leaks_less_while_it_does():
    leaks = []
    for grows_s in (0.0, 3600.0):
        short = Short(leak=0.04, telegraph=False, lasts_s=3600.0, grows_s=grows_s)
        life = watched_life("anode-free", 3, 8, short, treated_share=0.0)
        leaks.append(sum(cycle.leak for cycle in life))
    assert leaks[1] == pytest.approx(0.5 * leaks[0], rel=0.05)


@needs_numba
@pytest.mark.slow
def test_a_cell_out_of_salt_says_for_how_long():
    life = watched_life("anode-free-lfp", 617242, 14)
    assert [cycle.depleted_s > 0.0 for cycle in life] == [False] * 11 + [True] * 3
    assert all(cycle.depleted_s < 3600.0 * cycle.figures.hours for cycle in life)


@needs_numba
@pytest.mark.parametrize("mode", [Mode.HEALTHY, Mode.SOFT_SHORT, Mode.HARD_SHORT, Mode.CONTACT])
def test_failures_put_in_are_named(mode):
    cell_format, nominal_Ah, cycles = failing_life(mode, 77_000)
    found = diagnose(shown_by(cycles, cell_format, nominal_Ah), cell_format, nominal_Ah)
    assert found.mode is mode, found.evidence
