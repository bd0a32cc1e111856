"""The contract on every plant here, and plants that break it, each in its own way."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from hil.cell import PRESETS, LithiumMetalCell
from hil.plant import find_factory
from hil.plant_contract import CHECKS, Result, checks, main

EQUIVALENT = "tests.plants.equivalent_circuit"
TWO_FOILS = "tests.plants.two_foils"


def preset(name):
    def make(*, seed, temperature_K):
        return LithiumMetalCell(PRESETS[name](seed), temperature_K=temperature_K)

    return make


OURS = {f"hil.cell {name}": preset(name) for name in sorted(PRESETS)}
STRANGERS = [
    f"{EQUIVALENT}:make",
    f"{EQUIVALENT}:make_explicit",
    f"{EQUIVALENT}:make_blind",
    f"{TWO_FOILS}:li_cu",
    f"{TWO_FOILS}:li_li",
]


def holds(factory):
    outcomes = {name: run() for name, run in checks(factory)}
    assert {name: one for name, one in outcomes.items() if one.result is Result.FAIL} == {}
    return outcomes


@pytest.mark.parametrize("factory", OURS.values(), ids=OURS)
def test_our_own_cells_keep_the_contract(factory):
    assert all(one.result is Result.PASS for one in holds(factory).values())


@pytest.mark.parametrize("spelling", STRANGERS)
def test_the_test_plants_keep_it(spelling):
    outcomes = holds(find_factory(spelling))
    skipped = {name for name, one in outcomes.items() if one.result is Result.SKIPPED}
    wanted = {"make_explicit": 2, "make_blind": 3}.get(spelling.partition(":")[2], 0)
    assert len(skipped) == wanted
    assert all(one.reason for one in outcomes.values() if one.result is Result.SKIPPED)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_runs_by_itself_under_pytest(check):
    outcome = check.of(find_factory(f"{EQUIVALENT}:make"))
    assert outcome.result is not Result.FAIL, outcome.reason


# -- what breaks it ----------------------------------------------------------------------------


class Sound:
    """A battery with a resistance and a capacitor; what is spoiled below."""

    def __init__(self, *, seed, temperature_K):
        self.filling_V = 0.0
        self.temperature_K = temperature_K

    def step(self, current_A, dt_s, ambient_K):
        if not (current_A == current_A and dt_s > 0.0):
            raise ValueError(dt_s)
        self.filling_V += current_A * dt_s / 1e4
        self.temperature_K = ambient_K
        return self.terminal_voltage(current_A), ambient_K

    def terminal_voltage(self, current_A):
        return 3.7 + self.filling_V + 10.0 * current_A

    def snapshot(self):
        return [self.filling_V, self.temperature_K]

    def restore(self, snapshot):
        self.filling_V, self.temperature_K = snapshot

    def truth(self):
        return {"filling_V": self.filling_V}


class Nan(Sound):
    def step(self, current_A, dt_s, ambient_K):
        voltage_V, cell_K = super().step(current_A, dt_s, ambient_K)
        return (voltage_V if current_A >= 0.0 else float("nan")), cell_K


class Discharging(Sound):
    def terminal_voltage(self, current_A):
        return 3.7 - 10.0 * current_A


class Forgetful(Sound):
    def restore(self, snapshot):
        self.temperature_K = snapshot[1]


class Moving(Sound):
    def terminal_voltage(self, current_A):
        self.filling_V += 1e-3 * current_A
        return super().terminal_voltage(current_A)


class AnotherEachTime(Sound):
    made = 0

    def __init__(self, **given):
        super().__init__(**given)
        AnotherEachTime.made += 1
        self.filling_V = 1e-3 * AnotherEachTime.made


class TakesAnything(Sound):
    def step(self, current_A, dt_s, ambient_K):
        self.filling_V += 0.0 if dt_s != dt_s else abs(current_A * dt_s) * 0.0
        return (3.7 if current_A != current_A else 3.7 + 10.0 * current_A), ambient_K


class Hot(Sound):
    def step(self, current_A, dt_s, ambient_K):
        return super().step(current_A, dt_s, ambient_K)[0], 330.0


class Mumbling(Sound):
    def truth(self):
        return {"lithium_lost_mAh": float("nan")}


class Bunching(Sound):
    def step(self, current_A, dt_s, ambient_K):
        voltage_V, cell_K = super().step(current_A, dt_s, ambient_K)
        self.filling_V += 0.02 * current_A**0  # per step, not per second
        return voltage_V, cell_K


def test_the_sound_one_keeps_it():
    holds(Sound)


@pytest.mark.parametrize(
    ("plant", "name"),
    [
        (Nan, "step returns two finite numbers"),
        (Discharging, "the voltage rises with the current"),
        (Forgetful, "restore continues bit-identically"),
        (Moving, "terminal_voltage agrees and moves nothing"),
        (AnotherEachTime, "the same seed gives the same numbers"),
        (TakesAnything, "a time of 0, below or NaN is refused"),
        (TakesAnything, "a current of NaN is refused"),
        (Hot, "at rest it comes to the ambient's temperature"),
        (Mumbling, "truth is plain data"),
        (Bunching, "a step in parts is the same step"),
    ],
)
def test_what_breaks_it_fails_by_name(plant, name):
    outcome = dict(checks(plant))[name]()
    assert outcome.result is Result.FAIL
    assert outcome.reason


def test_as_a_program_it_says_how_each_check_ended():
    done = subprocess.run(
        [sys.executable, "-m", "hil.plant_contract", f"{EQUIVALENT}:make_blind"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == len(CHECKS) + 1
    assert sum(line.startswith("skipped") for line in lines) == 3
    assert lines[-1] == f"0 of {len(CHECKS)} checks failed"


def test_its_exit_code_tells(capsys, monkeypatch):
    assert main([f"{EQUIVALENT}:mak"]) == 2
    assert "did you mean 'make'" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "hot_plant", SimpleNamespace(make=Hot))
    assert main(["hot_plant:make", "--current", "1e-3"]) == 1
    assert f"1 of {len(CHECKS)} checks failed" in capsys.readouterr().out
