"""Li||Cu and Li||Li within their limits and at each boundary: cell voltages around 0 V."""

from __future__ import annotations

import dataclasses
import math
import random

import pytest

from controller.app.config import load_run
from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, Command
from controller.domain.sample import LIMIT_CURRENT, LIMIT_VOLTAGE, OUTPUT_OFF
from controller.domain.verdict import ALLOW, HOLD, TRIP, Verdict
from controller.safety.limits import LimitsRecord, flatten
from tests.safety.build import Bench, names, pass_without_a_word


def record(example: str) -> LimitsRecord:
    config = load_run(None, example=example)
    return flatten(config.limits, config.cell, temperature_declared=True)


LI_CU, LI_LI = record("li-cu"), record("li-li")
NOMINAL_AH = 1.54e-3
RATE_A = NOMINAL_AH / 3.0
PLATE = Command(CHARGE, RATE_A, 0.5)
STRIP = Command(DISCHARGE, -RATE_A, -1.0)
# The first pulse envelope of both examples: 4 V, 1 s, timed by the device.
PULSE = Command(CHARGE, 0.077, 4.0, period_s=0.4, device_timed_s=1.0, envelope=1, tag=1)


def up(x: float) -> float:
    return math.nextafter(x, math.inf)


def down(x: float) -> float:
    return math.nextafter(x, -math.inf)


def asked(limits: LimitsRecord, command: Command, voltage_V: float = 0.0) -> Verdict:
    """Return what becomes of a command after a quiet rest at this voltage."""
    bench = Bench(limits)
    for _ in range(3):
        bench.step(bench.in_force, voltage_V=voltage_V + bench.wiggle_V)
    return bench.step(command, voltage_V=voltage_V + bench.wiggle_V)


def read(limits: LimitsRecord, voltage_V: float, command: Command | None = None) -> Verdict:
    """Return what a reading of this voltage at rest is answered with."""
    bench = Bench(limits)
    bench.step(bench.in_force, voltage_V=voltage_V)
    return bench.step(bench.in_force if command is None else command, voltage_V=voltage_V)


# --- commands -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "command", "causes"),
    [
        (LI_CU, PLATE, []),
        (LI_CU, PLATE._replace(voltage_bound_V=up(0.5)), ["command_voltage"]),
        (LI_CU, STRIP, []),
        (
            LI_CU,
            STRIP._replace(voltage_bound_V=down(-1.0)),
            ["command_voltage", "command_copper"],
        ),
        (LI_CU, STRIP._replace(current_A=-8e-4), []),
        (LI_CU, STRIP._replace(current_A=down(-8e-4)), ["command_current"]),
        (LI_CU, PLATE._replace(current_A=up(8e-4)), ["command_current"]),
        (LI_LI, PLATE._replace(voltage_bound_V=1.0), []),
        (LI_LI, PLATE._replace(voltage_bound_V=up(1.0)), ["command_voltage"]),
        (LI_LI, STRIP._replace(voltage_bound_V=-1.0), []),
        (LI_LI, STRIP._replace(voltage_bound_V=down(-1.0)), ["command_voltage"]),
        (LI_CU, PULSE, []),
        (LI_LI, PULSE, []),
        (LI_LI, PULSE._replace(voltage_bound_V=up(4.0)), ["envelope_command"]),
        (LI_LI, PULSE._replace(current_A=0.08), []),
        (LI_LI, PULSE._replace(current_A=up(0.08)), ["envelope_command"]),
        (LI_LI, PULSE._replace(device_timed_s=1.12), []),
        (LI_LI, PULSE._replace(device_timed_s=1.13), ["envelope_time"]),
        # 4 V the other way would oxidise the Cu, or the other foil
        (
            LI_CU,
            PULSE._replace(kind=DISCHARGE, current_A=-0.077, voltage_bound_V=-4.0),
            ["command_copper", "envelope_command"],
        ),
        (
            LI_LI,
            PULSE._replace(kind=DISCHARGE, current_A=-0.077, voltage_bound_V=-4.0),
            ["envelope_command"],
        ),
        # and outside its envelope it is nothing
        (LI_LI, PULSE._replace(envelope=0), ["command_current", "command_voltage"]),
    ],
)
def test_a_command_at_its_boundary(
    limits: LimitsRecord, command: Command, causes: list[str]
) -> None:
    verdict = asked(limits, command)
    assert verdict.action == (HOLD if causes else ALLOW)
    assert sorted(names(verdict)) == sorted(causes)


@pytest.mark.parametrize(
    ("limits", "voltage_V"), [(LI_CU, -1.0), (LI_CU, 0.0), (LI_CU, 0.05), (LI_LI, 0.0)]
)
def test_a_cell_near_0_V_is_charged_and_discharged(limits: LimitsRecord, voltage_V: float) -> None:
    assert asked(limits, PLATE, voltage_V) == (ALLOW, 0)
    assert asked(limits, STRIP, voltage_V) == (ALLOW, 0)


# --- readings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "voltage_V", "tripped", "causes"),
    [
        # Cu at 1 V vs Li, with the noise of the device on its bound
        (LI_CU, -1.0, False, []),
        (LI_CU, -1.005, False, []),
        (LI_CU, down(-1.005), False, ["copper_warn"]),
        (LI_CU, -1.05, False, ["copper_warn"]),
        (LI_CU, down(-1.05), False, ["voltage_low_warn", "copper_warn"]),
        # Cu at 2 V vs Li
        (LI_CU, up(-2.0), False, ["voltage_low_warn", "copper_warn"]),
        (LI_CU, -2.0, True, ["voltage_low_warn", "copper_warn", "copper_trip"]),
        (
            LI_CU,
            down(-2.0),
            True,
            ["voltage_low_warn", "voltage_low_trip", "copper_warn", "copper_trip"],
        ),
        (LI_CU, 0.55, False, []),
        (LI_CU, up(0.55), False, ["voltage_high_warn"]),
        (LI_CU, 0.8, False, ["voltage_high_warn"]),
        (LI_CU, up(0.8), True, ["voltage_high_warn", "voltage_high_trip"]),
        (LI_LI, -1.05, False, []),
        (LI_LI, down(-1.05), False, ["voltage_low_warn"]),
        (LI_LI, down(-1.3), True, ["voltage_low_warn", "voltage_low_trip"]),
        (LI_LI, 1.05, False, []),
        (LI_LI, up(1.3), True, ["voltage_high_warn", "voltage_high_trip"]),
    ],
)
def test_a_reading_at_its_boundary(
    limits: LimitsRecord, voltage_V: float, tripped: bool, causes: list[str]
) -> None:
    verdict = read(limits, voltage_V)
    assert names(verdict) == causes
    assert (verdict.action == TRIP) is tripped


def test_beyond_the_copper_floor_stripping_is_held_and_plating_leads_back() -> None:
    assert names(read(LI_CU, -1.02, STRIP)) == ["discharge_below_warn", "copper_warn"]
    assert read(LI_CU, -1.02, STRIP).action == HOLD
    assert names(read(LI_CU, -1.02, PLATE)) == ["copper_warn"]
    assert read(LI_CU, -1.02, PLATE).action < HOLD


def test_in_the_pulse_4_V_may_be_read_and_no_more() -> None:
    for volts, tripped in ((1.2, False), (4.01, False), (4.02, True), (-1.02, True)):
        bench = Bench(LI_LI)
        for _ in range(2):
            bench.step(bench.in_force, voltage_V=bench.wiggle_V)
        assert bench.step(PULSE, voltage_V=0.0) == (ALLOW, 0)
        verdict = bench.step(PULSE, 0.4, voltage_V=volts, current_A=0.077)
        assert (verdict.action == TRIP) is tripped, volts


def test_the_pulse_is_opened_once_in_the_life_of_a_run() -> None:
    bench = Bench(LI_LI)
    quiet = {"voltage_V": 0.0, "current_A": 0.0}
    for _ in range(2):
        bench.step(bench.in_force, **quiet)
    assert bench.step(PULSE, **quiet) == (ALLOW, 0)
    rest = Command(HOLD_0A)
    bench.step(rest, 1.0, output=OUTPUT_OFF, voltage_V=math.nan, current_A=0.0)
    for _ in range(3):
        bench.step(rest, **quiet)
    assert names(bench.step(PULSE, **quiet)) == ["envelope_count"]


# --- whole cycles ---------------------------------------------------------------------------------


class Foils:
    """Two electrodes near 0 V and a resistance; bare Cu follows the device to its bound."""

    def __init__(self, limits: LimitsRecord, seed: int) -> None:
        self.bare_is_possible = limits is LI_CU
        self.charge_Ah = 0.0
        self.random = random.Random(seed)  # noqa: S311  (noise, no secret)

    def draw(self, command: Command, dt_s: float) -> tuple[float, float, int]:
        current_A = command.current_A if command.kind in (CHARGE, DISCHARGE) else 0.0
        voltage_V, status = 60.0 * current_A, LIMIT_CURRENT
        bare = self.bare_is_possible and self.charge_Ah <= 0.0
        if bare and current_A <= 0.0:
            voltage_V = command.voltage_bound_V if current_A < 0.0 else -0.6
            current_A, status = 0.0, LIMIT_VOLTAGE
        self.charge_Ah = self.charge_Ah + current_A * dt_s / 3600.0
        return voltage_V + self.random.gauss(0.0, 1e-4), current_A, status


@pytest.mark.parametrize("limits", [LI_CU, LI_LI], ids=["li-cu", "li-li"])
@pytest.mark.parametrize("period_s", [1.0, 5.0, 30.0])
def test_many_cycles_without_one_refusal(limits: LimitsRecord, period_s: float) -> None:
    cell, bench = Foils(limits, seed=int(period_s)), Bench(limits)
    low_V, high_V = limits.bound_min_V, limits.bound_max_V
    rest = (HOLD_0A, 0.0, math.nan, 600.0)
    for _ in range({1.0: 1, 5.0: 3, 30.0: 15}[period_s]):
        steps = (
            (CHARGE, RATE_A, high_V, 3.0 * 3600.0),
            rest,
            (DISCHARGE, -RATE_A, low_V, 3.0 * 3600.0),
            rest,
        )
        pass_without_a_word(bench, cell, steps, period_s)


def test_a_li_li_half_cycle_that_does_not_end_trips() -> None:
    """Nothing but charge ends plating on a foil: the half cycle's charge is the last bound."""
    limits = dataclasses.replace(LI_LI, max_half_cycle_charge_Ah=1e-4)
    bench = Bench(limits)
    for _ in range(2):
        bench.step(bench.in_force, voltage_V=bench.wiggle_V)
    verdict = Verdict(ALLOW, 0)
    charge_Ah = 0.0
    while verdict.action != TRIP:
        assert charge_Ah < 1.2e-4
        verdict = bench.step(PLATE, 30.0, voltage_V=0.03 + bench.wiggle_V)
        charge_Ah += RATE_A * 30.0 / 3600.0
    assert names(verdict) == ["half_cycle_charge"]
    assert charge_Ah > 1e-4
