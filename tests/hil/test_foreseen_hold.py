"""Constant voltage on plants that tell their voltage at once but cannot go back."""

from __future__ import annotations

import math
import random

import pytest

from hil.cell import PRESETS, LithiumMetalCell
from hil.instruments.foreseen import Foresight
from hil.instruments.source import CURRENT_SOURCE, VOLTAGE_SOURCE, OutputStage
from hil.plant import Regulation, port_of
from tests.plants import equivalent_circuit

AMBIENT_K = 298.15
A_MILLIVOLT = 1e-3
PLATED_MAH_PER_CM2 = 0.05


class Watched:
    """Shows only `step` and `terminal_voltage`; notes each step's voltages at begin and end."""

    def __init__(self, plant):
        self.plant = plant
        self.asked = 0
        self.steps = []  # time at the end, length, current, voltage at begin and end
        self.time_s = 0.0

    def step(self, current_A, dt_s, ambient_K):
        begin_V = self.plant.terminal_voltage(current_A)
        end_V, temperature_K = self.plant.step(current_A, dt_s, ambient_K)
        self.time_s += dt_s
        self.steps.append((self.time_s, dt_s, current_A, begin_V, end_V))
        return end_V, temperature_K

    def terminal_voltage(self, current_A):
        self.asked += 1
        return self.plant.terminal_voltage(current_A)


def stage_of(plant) -> tuple[OutputStage, Watched]:
    watched = Watched(plant)
    assert port_of(watched).regulation is Regulation.EXPLICIT
    return OutputStage(watched, AMBIENT_K), watched


def largest_off_V(watched, level_V, limit_A, since=0):
    """Return the largest distance from the level at begin or end of a step below the limit.

    From when the level was first reached on.
    """
    held = [
        max(abs(begin_V - level_V), abs(end_V - level_V))
        for _, _, current_A, begin_V, end_V in watched.steps[since:]
        if abs(current_A) < limit_A
    ]
    assert len(held) > 50
    return max(held)


def plated(preset, seed=1, mAh_per_cm2=PLATED_MAH_PER_CM2):
    """Return a cell of ours after a small charge at C/3 and a rest."""
    p = PRESETS[preset](seed)
    cell = LithiumMetalCell(p)
    rate_A = p.nominal_capacity_mAh * 1e-3 / 3.0
    for _ in range(math.ceil(mAh_per_cm2 * p.area_cm2 / (rate_A * 10.0 / 3.6))):
        cell.step(rate_A, 10.0, AMBIENT_K)
    cell.step(0.0, 600.0, AMBIENT_K)
    return cell


# -- where lithium ends --------------------------------------------------------------------------


@pytest.mark.parametrize("c_rate", [1.0 / 3.0, 1.0, 5.0])
@pytest.mark.parametrize(
    ("preset", "level_V"),
    [
        *[("anode-free", level_V) for level_V in (3.4, 3.2, 3.0, 2.5)],
        *[("anode-free-pouch", level_V) for level_V in (3.2, 2.5)],
        *[("anode-free-lfp", level_V) for level_V in (3.0, 2.5, 2.0)],
        *[("li-cu", level_V) for level_V in (-0.1, -0.5, -1.0)],
        *[("excess-lithium", level_V) for level_V in (3.2, 2.5)],
    ],
)
def test_constant_voltage_is_off_by_less_than_a_millivolt_where_terminal_voltage_exists(
    preset, level_V, c_rate
):
    """A strip down to a bound that the device must meet and then hold.

    At 5C the last lithium on bare Cu goes within some 6 us, and Cu moves by 0.5 V in 1 ms.
    """
    stage = stripped_to(preset, level_V, c_rate)
    assert stage.largest_overshoot_V < A_MILLIVOLT


def stripped_to(preset, level_V, c_rate) -> OutputStage:
    """Strip a cell down to a level and hold it for two minutes, off by less than 1 mV."""
    cell = plated(preset)
    p = cell.parameters
    limit_A = c_rate * p.nominal_capacity_mAh * 1e-3
    assert cell.terminal_voltage(-limit_A) > level_V + 0.01
    stage, watched = stage_of(cell)
    stage.set(VOLTAGE_SOURCE, level_V, limit_A)
    for _ in range(math.ceil(PLATED_MAH_PER_CM2 * p.area_cm2 * 3.6 / limit_A + 120.0)):
        stage.evolve(1.0)
    assert not stage.limited
    assert largest_off_V(watched, level_V, limit_A) < A_MILLIVOLT
    assert stage.largest_held_error_V < A_MILLIVOLT
    assert stage.charge_out_mAh == pytest.approx(cell.truth()["charge_out_mAh"], abs=1e-9)
    return stage


@pytest.mark.parametrize("poll_s", [(0.2,), (5.0,), (60.0,), (0.005, 0.02, 4.975), (0.3, 1e-4)])
def test_when_it_is_looked_at_does_not_matter(poll_s):
    cell = plated("anode-free")
    stage, watched = stage_of(cell)
    stage.set(VOLTAGE_SOURCE, 3.0, 9e-3)
    for turn in range(1000):
        stage.evolve(poll_s[turn % len(poll_s)])
        if watched.time_s > 150.0:
            break
    assert largest_off_V(watched, 3.0, 9e-3) < A_MILLIVOLT
    assert stage.largest_overshoot_V < A_MILLIVOLT


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_leads_and_a_reversed_cell_are_held_as_well(sign):
    stage, _ = stage_of(plated("li-cu"))
    stage.wire(lead_Ohm=2.0, polarity=sign)
    for level_V in (-0.5, 0.02, -0.02):
        stage.set(VOLTAGE_SOURCE, level_V * sign, 4.6e-3)
        for _ in range(200):
            stage.evolve(1.0)
            if not stage.limited:
                assert stage.voltage_V == pytest.approx(level_V * sign, abs=A_MILLIVOLT)
    assert stage.largest_held_error_V < A_MILLIVOLT
    assert stage.largest_overshoot_V < A_MILLIVOLT


def test_a_clamp_at_full_scale_is_held_through_the_inrush():
    stage, watched = stage_of(plated("excess-lithium"))
    stage.set(CURRENT_SOURCE, -3e-3, 3.0)  # far below the cell: the clamp takes 0.1 A at first
    stage.evolve(1.0)
    assert stage.limited
    assert min(current_A for _, _, current_A, _, _ in watched.steps) < -0.05
    assert largest_off_V(watched, 3.0, 1.05) < A_MILLIVOLT


# -- other plants --------------------------------------------------------------------------------


@pytest.mark.parametrize("limit_A", [1e-3, 3e-3, 9e-3])
def test_another_structure_is_held_through_a_cycle(limit_A):
    stage, watched = stage_of(equivalent_circuit.make(seed=2, temperature_K=AMBIENT_K))
    for level_V in (4.3, 3.0):
        since = len(watched.steps)
        stage.set(VOLTAGE_SOURCE, level_V, limit_A)
        for _ in range(2880):
            stage.evolve(5.0)
        assert largest_off_V(watched, level_V, limit_A, since) < A_MILLIVOLT
    assert stage.largest_overshoot_V < A_MILLIVOLT


class Kinetics:
    """A line behind Tafel kinetics without a double layer: bent at once; and a slow element."""

    def __init__(self):
        self.charge_mAh, self.slow_V = 1.0, 0.0

    def terminal_voltage(self, current_A):
        at_once_V = 5.0 * current_A + 0.0514 * math.asinh(current_A / 2e-4)
        return 3.1 + 0.4 * self.charge_mAh + self.slow_V + at_once_V

    def step(self, current_A, dt_s, ambient_K):
        self.charge_mAh += current_A * dt_s / 3.6
        steady_V = 8.0 * current_A
        self.slow_V = steady_V + (self.slow_V - steady_V) * math.exp(-dt_s / 30.0)
        return self.terminal_voltage(current_A), ambient_K


class Late(Kinetics):
    """Little of the answer shows at once: the rest builds up within 20 ms."""

    def __init__(self):
        super().__init__()
        self.fast_V = 0.0

    def terminal_voltage(self, current_A):
        return 3.1 + 0.4 * self.charge_mAh + self.slow_V + self.fast_V + 0.2 * current_A

    def step(self, current_A, dt_s, ambient_K):
        steady_V = 20.0 * current_A
        self.fast_V = steady_V + (self.fast_V - steady_V) * math.exp(-dt_s / 0.02)
        return super().step(current_A, dt_s, ambient_K)


@pytest.mark.parametrize("plant", [Kinetics, Late])
def test_what_answers_bent_or_late_is_held(plant):
    stage, watched = stage_of(plant())
    for level_V in (3.7, 3.4, 3.41):
        since = len(watched.steps)
        stage.set(VOLTAGE_SOURCE, level_V, 2e-3)
        for _ in range(3000):
            stage.evolve(1.0)
        assert largest_off_V(watched, level_V, 2e-3, since) < A_MILLIVOLT
    assert len(watched.steps) < 30_000


class Jumping(Kinetics):
    """Falls by 20 mV at a moment nobody can foresee."""

    def __init__(self, at_s):
        super().__init__()
        self.at_s, self.time_s = at_s, 0.0

    def terminal_voltage(self, current_A):
        return super().terminal_voltage(current_A) - (0.02 if self.time_s > self.at_s else 0.0)

    def step(self, current_A, dt_s, ambient_K):
        self.time_s += dt_s
        return super().step(current_A, dt_s, ambient_K)


def test_a_jump_is_told_and_taken_back_at_once():
    stage, watched = stage_of(Jumping(at_s=4000.0))
    stage.set(VOLTAGE_SOURCE, 3.7, 2e-3)
    for _ in range(5000):
        stage.evolve(1.0)
    assert stage.largest_held_error_V == pytest.approx(0.02, abs=A_MILLIVOLT)
    off = [one for one in watched.steps if one[2] < 2e-3 and abs(one[4] - 3.7) > A_MILLIVOLT]
    assert len(off) == 1  # the step in which it came; the next begins at the level again
    after = next(one for one in watched.steps if one[0] > off[0][0])
    assert abs(after[3] - 3.7) < 1e-6


# -- what it costs -------------------------------------------------------------------------------


@pytest.mark.parametrize(("poll_s", "steps_a_poll"), [(1.0, 1.1), (5.0, 1.2), (30.0, 8.0)])
def test_a_calm_hold_costs_one_step_and_one_question_where_five_seconds_will_do(
    poll_s, steps_a_poll
):
    stage, watched = stage_of(plated("anode-free", mAh_per_cm2=0.2))
    stage.set(VOLTAGE_SOURCE, 4.2, 1e-3)
    while True:
        stage.evolve(poll_s)
        if not stage.limited:
            break
    watched.steps.clear()
    watched.asked = 0
    polls = math.ceil(7200.0 / poll_s)
    for _ in range(polls):
        stage.evolve(poll_s)
    assert len(watched.steps) < steps_a_poll * polls
    assert watched.asked <= len(watched.steps) + 2


def test_where_lithium_ends_it_costs_a_thousand_steps():
    stage, watched = stage_of(plated("li-cu"))
    stage.set(VOLTAGE_SOURCE, -1.0, 1.54e-4)
    for _ in range(1920):
        stage.evolve(1.0)
    assert not stage.limited
    assert len(watched.steps) < 1920 + 1500


class Noisy:
    """A plant whose voltage is uneven by some microvolts, as that of a coarse solver is."""

    def __init__(self, plant, noise_V):
        self.plant, self.noise_V = plant, noise_V
        self.random = random.Random(1)  # noqa: S311  (noise, no secret)
        self.off_V = 0.0

    def step(self, current_A, dt_s, ambient_K):
        voltage_V, temperature_K = self.plant.step(current_A, dt_s, ambient_K)
        self.off_V = self.random.gauss(0.0, self.noise_V)
        return voltage_V + self.off_V, temperature_K

    def terminal_voltage(self, current_A):
        return self.plant.terminal_voltage(current_A) + self.off_V


def test_noise_of_twenty_microvolts_does_not_make_steps_short():
    cell = equivalent_circuit.make(seed=1, temperature_K=AMBIENT_K)
    stage, watched = stage_of(Noisy(cell, 2e-5))
    stage.set(VOLTAGE_SOURCE, 4.3, 1e-3)
    for _ in range(13_000):
        stage.evolve(1.0)
    assert not stage.limited
    assert largest_off_V(watched, 4.3, 1e-3) < A_MILLIVOLT
    assert len(watched.steps) < 30_000


# -- what is learnt ------------------------------------------------------------------------------


def taught(lag_Ohm, rise_Ohm, drift_V):
    """Return what is learnt of a cell of these slopes from steps of random changes."""
    foresight = Foresight()
    foresight.forget(5.0)
    changes = random.Random(3)  # noqa: S311 -- noise, no secret
    for _ in range(200):
        change_A = changes.uniform(-1e-5, 1e-5)
        drift_V += rise_Ohm * change_A
        foresight.learn(change_A, drift_V + lag_Ohm * change_A, 5.0)
    return foresight, drift_V


def test_fast_and_slow_answers_are_told_apart():
    foresight, drift_V = taught(lag_Ohm=30.0, rise_Ohm=0.0, drift_V=1e-5)
    assert foresight.lag_Ohm == pytest.approx(30.0, rel=0.05)
    assert foresight.rise_Ohm < 1.0
    assert foresight.drift_V == pytest.approx(drift_V, abs=1e-5)
    foresight, drift_V = taught(lag_Ohm=0.0, rise_Ohm=30.0, drift_V=1e-5)
    assert foresight.rise_Ohm == pytest.approx(30.0, rel=0.05)
    assert foresight.lag_Ohm < 1.0
    assert foresight.drift_V == pytest.approx(drift_V, abs=1e-5)


def test_what_was_learnt_holds_for_other_steps():
    foresight, drift_V = taught(lag_Ohm=10.0, rise_Ohm=20.0, drift_V=1e-5)
    lag_Ohm, rise_Ohm = foresight.lag_Ohm, foresight.rise_Ohm
    foresight.stretch(3.0)
    assert foresight.drift_V == pytest.approx(3.0 * drift_V, abs=1e-5)
    assert foresight.rise_Ohm == pytest.approx(3.0 * rise_Ohm)
    assert foresight.lag_Ohm == lag_Ohm
    before_V = foresight.drift_V
    foresight.pass_over(1e-6)
    assert foresight.drift_V == pytest.approx(before_V + 3.0 * rise_Ohm * 1e-6)
