"""Ordinary cycling is never refused: what must pass."""

from __future__ import annotations

import random

import pytest

from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, Command
from controller.domain.sample import LIMIT_CURRENT, LIMIT_VOLTAGE, OUTPUT_OFF
from controller.domain.verdict import ALLOW
from controller.safety.supervisor import memory_from_dict, memory_to_dict
from tests.safety.build import OPEN_COMMAND, RECORD, Bench, pass_without_a_word

NOISE_V = 1e-4
GAIN_NOISE = 2e-4


class Cell:
    """A tank of charge with a straight OCV, bare Cu below 2 % and a resistance: enough to cycle."""

    def __init__(self, seed: int) -> None:
        self.charge_Ah = 0.0
        self.random = random.Random(seed)  # noqa: S311  (noise, no secret)

    def ocv_V(self) -> float:
        share = self.charge_Ah / 3e-3
        return 3.45 + 0.9 * share if share > 0.0 else 2.98

    def draw(self, command: Command, dt_s: float) -> tuple[float, float, int]:
        """Return (voltage, current, limit status) after `dt_s` of a device-regulated command."""
        resistance_Ohm = 20.0
        current_A = command.current_A if command.kind in (CHARGE, DISCHARGE) else 0.0
        voltage_V = self.ocv_V() + current_A * resistance_Ohm
        status = LIMIT_CURRENT
        if current_A > 0.0 and voltage_V > command.voltage_bound_V:
            voltage_V, status = command.voltage_bound_V, LIMIT_VOLTAGE
            current_A = max(0.0, (voltage_V - self.ocv_V()) / resistance_Ohm)
        if current_A < 0.0 and voltage_V < command.voltage_bound_V:
            voltage_V, status = command.voltage_bound_V, LIMIT_VOLTAGE
            current_A = min(0.0, (voltage_V - self.ocv_V()) / resistance_Ohm)
        self.charge_Ah = max(0.0, self.charge_Ah + current_A * dt_s / 3600.0)
        return (
            voltage_V + self.random.gauss(0.0, NOISE_V),
            current_A * (1.0 + self.random.gauss(0.0, GAIN_NOISE)) + self.random.gauss(0.0, 1e-7),
            status,
        )


@pytest.mark.parametrize("period_s", [1.0, 5.0, 30.0])
def test_cycles_between_the_cut_offs_without_one_refusal(period_s: float) -> None:
    cell, bench = Cell(seed=int(period_s)), Bench()
    rate_A = 1e-3
    cycles = {1.0: 1, 5.0: 2, 30.0: 12}[period_s]
    for _ in range(cycles):
        steps = (
            (CHARGE, rate_A, 4.3, 4.0 * 3600.0),
            (HOLD_0A, 0.0, float("nan"), 600.0),
            (DISCHARGE, -rate_A, 3.0, 5.0 * 3600.0),
            (HOLD_0A, 0.0, float("nan"), 600.0),
        )
        pass_without_a_word(bench, cell, steps, period_s)


def test_opening_and_coming_back_through_rest_is_allowed() -> None:
    bench = Bench().settle()
    assert bench.step(OPEN_COMMAND) == (ALLOW, 0)
    assert bench.step(OPEN_COMMAND, output=OUTPUT_OFF) == (ALLOW, 0)
    assert bench.step(Command(HOLD_0A), output=OUTPUT_OFF) == (ALLOW, 0)
    assert bench.step(Command(CHARGE, 1e-3, 4.3)) == (ALLOW, 0)


def test_a_checkpoint_brings_the_same_memory_back() -> None:
    bench = Bench().settle(Command(CHARGE, 1e-3, 4.3), samples=20)
    data = memory_to_dict(bench.m)
    assert memory_to_dict(memory_from_dict(data, RECORD)) == data
