"""A coin cell's limits and a hand-driven supervisor, for the tests of this folder."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any, Protocol

from controller.domain.cell import (
    CellFormat,
    CellLimits,
    CellSpec,
    ContinuousEnvelope,
    ElectrolyteFamily,
    Levels,
    PulseEnvelope,
)
from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, OPEN, Command
from controller.domain.sample import LIMIT_CURRENT, OUTPUT_OFF, OUTPUT_ON, Sample
from controller.domain.verdict import ALLOW, HOLD, REST, TRIP, Verdict
from controller.safety import faults
from controller.safety.limits import LimitsRecord, flatten
from controller.safety.memory import Memory, new_memory
from controller.safety.supervisor import review

ROOM_K = 298.15

CELL = CellSpec(
    name="coin",
    format=CellFormat.ANODE_FREE,
    area_cm2=1.54,
    nominal_capacity_Ah=3e-3,
    lower_cut_off_V=3.0,
    upper_cut_off_V=4.3,
    cathode="nmc811",
    electrolyte_family=ElectrolyteFamily.LHCE,
    electrolyte="LiFSI in DME and TTE",
)
PULSE = PulseEnvelope(
    name="strip",
    max_current_A=10e-3,
    min_voltage_V=2.9,
    max_voltage_V=4.4,
    max_on_s=100.0,
    min_off_s=60.0,
    max_charge_Ah=2e-4,
    max_count=3,
    max_temperature_K=313.15,
)
SHORT = dataclasses.replace(PULSE, name="short", max_current_A=6e-3, max_on_s=10.0, max_count=100)
CONTINUOUS = ContinuousEnvelope(
    voltage_min_V=Levels(operate=3.0, warn=2.95, trip=2.5),
    voltage_max_V=Levels(operate=4.3, warn=4.32, trip=4.4),
    charge_current_max_A=Levels(operate=2e-3, warn=2.5e-3, trip=4e-3),
    discharge_current_max_A=Levels(operate=3e-3, warn=3.5e-3, trip=5e-3),
    temperature_min_K=Levels(operate=273.15, warn=268.15, trip=263.15),
    temperature_max_K=Levels(operate=321.15, warn=323.15, trip=333.15),
)
LIMITS = CellLimits(
    continuous=CONTINUOUS,
    pulse_envelopes=(PULSE, SHORT),
    max_half_cycle_charge_Ah=4e-3,
    max_half_cycle_s=36000.0,
    max_unchanged_s=60.0,
    copper_potential_operate_V=1.5,
    copper_potential_trip_V=2.5,
    cathode_ocv_upper_V=4.35,
)
RECORD = flatten(LIMITS, CELL, temperature_declared=True)
NO_THERMOMETER = flatten(LIMITS, CELL, temperature_declared=False)

REST_COMMAND = Command(HOLD_0A)
OPEN_COMMAND = Command(OPEN)
CHARGE_COMMAND = Command(CHARGE, current_A=1e-3, voltage_bound_V=4.3)
DISCHARGE_COMMAND = Command(DISCHARGE, current_A=-1e-3, voltage_bound_V=3.0)
# Within the envelope "strip": 8 mA for 10 s is 22 uAh.
PULSE_COMMAND = Command(DISCHARGE, current_A=-8e-3, voltage_bound_V=3.0, envelope=1)
TIMED_COMMAND = PULSE_COMMAND._replace(device_timed_s=10.0)


def changed(cell: CellSpec = CELL, limits: CellLimits = LIMITS, **values: Any) -> LimitsRecord:
    """Return a record with some fields of the flat record replaced."""
    return dataclasses.replace(flatten(limits, cell, temperature_declared=True), **values)


def reading(**values: Any) -> Sample:
    """Return a good sample at rest, with `values` replaced."""
    sample = Sample(
        sequence=0,
        channel=0,
        t_host_s=100.0,
        t_device_s=50.0,
        utc_s=1.7e9,
        voltage_V=3.7,
        current_A=0.0,
        temperature_K=ROOM_K,
        output=OUTPUT_ON,
        limit_status=LIMIT_CURRENT,
        current_range_A=0.01,
        averaging_s=0.02,
        quality=0,
    )
    return sample._replace(**values)


class Bench:
    """A supervisor and the readings of a cell that does what the supervisor let pass."""

    def __init__(self, limits: LimitsRecord = RECORD, memory: Memory | None = None) -> None:
        self.limits = limits
        self.m = new_memory(limits) if memory is None else memory
        self.last = reading(t_host_s=99.0, t_device_s=49.0, sequence=-1)
        self.in_force = REST_COMMAND
        self.wiggle_V = 1e-5

    def sample(self, dt_s: float = 1.0, **values: Any) -> Sample:
        """Return the next reading after `dt_s`, as the command in force would give it."""
        self.wiggle_V = -self.wiggle_V
        off = self.in_force.kind == OPEN
        given: dict[str, Any] = {
            "sequence": self.last.sequence + 1,
            "t_host_s": self.last.t_host_s + dt_s,
            "t_device_s": self.last.t_device_s + dt_s,
            "voltage_V": math.nan if off else 3.7 + self.wiggle_V,
            "current_A": 0.0 if off else self.in_force.current_A,
            "output": OUTPUT_OFF if off else OUTPUT_ON,
        }
        given.update(values)
        return reading(**given)

    def step(self, command: Command, dt_s: float = 1.0, **values: Any) -> Verdict:
        """Take the next reading and review `command` on it."""
        return self.review(self.sample(dt_s, **values), command)

    def review(self, sample: Sample, command: Command) -> Verdict:
        """Review `command` on `sample` and put in force what is left of it."""
        self.last = sample
        verdict = review(self.m, sample, command, self.limits)
        if verdict.action == TRIP:
            self.in_force = OPEN_COMMAND
        elif verdict.action in (HOLD, REST):
            self.in_force = REST_COMMAND
        else:
            self.in_force = command
        return verdict

    def settle(self, command: Command = REST_COMMAND, samples: int = 2) -> Bench:
        """Bring `command` in force with good readings, which must all be allowed."""
        self.step(REST_COMMAND)
        for _ in range(samples):
            verdict = self.step(command)
            assert verdict == (0, 0), names(verdict)
        return self


def names(verdict: Verdict) -> list[str]:
    """Return the names of a verdict's causes."""
    return faults.causes_names(verdict.causes)


class Drawn(Protocol):
    """A cell that answers a command held for a time by (voltage, current, limit status)."""

    def draw(self, command: Command, dt_s: float) -> tuple[float, float, int]:
        """Let the cell live for `dt_s`."""
        ...


def pass_without_a_word(
    bench: Bench, cell: Drawn, steps: Iterable[tuple[int, float, float, float]], period_s: float
) -> None:
    """Run steps of (kind, current, voltage bound, seconds); every verdict must be to allow."""
    for kind, current_A, bound_V, seconds in steps:
        command = Command(
            kind, current_A, bound_V, period_s=period_s, valid_for_s=max(5.0, 2.0 * period_s)
        )
        for _ in range(int(seconds / period_s)):
            voltage_V, measured_A, status = cell.draw(bench.in_force, period_s)
            verdict = bench.step(
                command,
                period_s,
                voltage_V=voltage_V,
                current_A=measured_A,
                limit_status=status,
            )
            assert verdict == (ALLOW, 0), (names(verdict), voltage_V, measured_A)
