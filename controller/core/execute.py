"""The executor: how far a step has come, when it ends, how soon the next reading is due."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, Command
from controller.domain.sample import LIMIT_VOLTAGE, NAN, OUTPUT_OFF, Sample
from controller.domain.step import (
    EDGE_DURATION_S,
    EDGE_PERIOD_S,
    FAST_PERIOD_S,
    SLOW_AFTER_S,
    SLOW_BELOW_C_RATE,
    SLOW_PERIOD_S,
    Step,
    StepEnd,
)
from controller.domain.units import SECONDS_PER_HOUR

# Why a step ended, as numbers for the kernel.
RUNNING: Final = 0
END_VOLTAGE: Final = 1
END_CURRENT: Final = 2
END_CHARGE: Final = 3
END_DURATION: Final = 4
END_DEVICE_TIMED: Final = 5

END_WORDS: Final[dict[int, StepEnd]] = {
    END_VOLTAGE: StepEnd.VOLTAGE,
    END_CURRENT: StepEnd.CURRENT,
    END_CHARGE: StepEnd.CHARGE,
    END_DURATION: StepEnd.DURATION,
    END_DEVICE_TIMED: StepEnd.DEVICE_TIMED,
}

# A voltage within this of the end counts as reached: the device regulates there, with noise.
VOLTAGE_REACHED_V: Final = 0.0005
# So many readings in a row in which the device itself regulates the voltage at the step's end: the
# cell is there, whatever the meter's offset makes of it (2.4 mV on the 2450's 20 V range). One
# reading may still show what was before the step. Assumed, 2-3.
AT_LIMIT_READINGS: Final = 2
# A permission lasts this many periods. The dead-man's delay is half of it (it ends the output
# between one and two delays after the last renewal); below two periods it would end good runs.
VALID_PERIODS: Final = 5.0


class StepNumbers(NamedTuple):
    """The numeric part of a `Step`."""

    kind: int
    current_A: float
    voltage_bound_V: float
    max_duration_s: float
    end_voltage_V: float
    end_current_A: float
    end_charge_Ah: float
    device_timed: bool
    period_s: float
    slow_current_A: float
    long_rest: bool


class Progress:
    """How far the running step has come; a record of numbers."""

    __slots__ = (
        "at_limit",
        "charge_Ah",
        "edge_s",
        "elapsed_s",
        "last_current_A",
        "last_t_s",
        "slow",
    )

    at_limit: int  # readings in a row
    charge_Ah: float
    edge_s: float
    elapsed_s: float
    last_current_A: float
    last_t_s: float
    slow: bool

    def __init__(self) -> None:
        self.at_limit = 0
        self.elapsed_s = 0.0
        self.edge_s = 0.0  # since the last change of current
        self.charge_Ah = 0.0
        self.last_t_s = NAN
        self.last_current_A = NAN
        self.slow = False


def numbers_of(step: Step, nominal_capacity_Ah: float) -> StepNumbers:
    """Return the numeric part of a step for a cell of this capacity."""
    return StepNumbers(
        kind=step.kind,
        current_A=step.current_A,
        voltage_bound_V=step.voltage_bound_V,
        max_duration_s=step.max_duration_s,
        end_voltage_V=step.end_voltage_V,
        end_current_A=step.end_current_A,
        end_charge_Ah=step.end_charge_Ah,
        device_timed=step.device_timed,
        period_s=step.period_s,
        # a C/10 step regulated a hair below C/10 is still "at C/10"
        slow_current_A=0.98 * SLOW_BELOW_C_RATE * nominal_capacity_Ah,
        long_rest=step.kind == HOLD_0A and step.max_duration_s > SLOW_AFTER_S,
    )


def advance(p: Progress, step: StepNumbers, sample: Sample, in_force_kind: int) -> int:
    """Take a sample into account; return why the step has ended, `RUNNING` if it has not.

    Kernel. Time and charge count only while the step's own command was in force (a verdict's hold
    does not use up a step) and only between good samples.
    """
    t_s = sample.t_host_s
    dt_s = t_s - p.last_t_s
    current_A = sample.current_A
    p.last_t_s = t_s
    if in_force_kind != step.kind:
        p.at_limit = 0
        p.last_current_A = NAN
        if step.device_timed and sample.output == OUTPUT_OFF and p.elapsed_s > 0.0:
            return END_DEVICE_TIMED
        return RUNNING
    if dt_s > 0.0:
        p.elapsed_s += dt_s
        p.edge_s += dt_s
        mean_A = 0.5 * (current_A + p.last_current_A)
        if mean_A == mean_A:
            p.charge_Ah += mean_A * dt_s / SECONDS_PER_HOUR
    p.last_current_A = current_A
    if step.device_timed:
        # the first poll may still see the output on; the sequence ends it
        if sample.output == OUTPUT_OFF and p.elapsed_s > 0.0:
            return END_DEVICE_TIMED
        if p.elapsed_s >= step.max_duration_s + 10.0:
            return END_DURATION
        return RUNNING
    if p.elapsed_s <= 0.0:
        return RUNNING
    voltage_V = sample.voltage_V
    if step.kind == CHARGE:
        reached = voltage_V >= step.end_voltage_V - VOLTAGE_REACHED_V
    elif step.kind == DISCHARGE:
        reached = voltage_V <= step.end_voltage_V + VOLTAGE_REACHED_V
    else:
        reached = False
    at_end = sample.limit_status == LIMIT_VOLTAGE and step.end_voltage_V == step.voltage_bound_V
    p.at_limit = p.at_limit + 1 if at_end else 0
    if reached or p.at_limit >= AT_LIMIT_READINGS:
        return END_VOLTAGE
    if sample.limit_status == LIMIT_VOLTAGE and abs(current_A) <= step.end_current_A:
        return END_CURRENT
    if abs(p.charge_Ah) >= step.end_charge_Ah:
        return END_CHARGE
    if p.elapsed_s >= step.max_duration_s:
        return END_DURATION
    return RUNNING


def period_s(p: Progress, step: StepNumbers, sample: Sample) -> float:
    """Return when the next reading is due (s). Kernel.

    1 s in the minute after a change of current; 5 s at C/10 and above and in short rests; 30 s
    below C/10 and in rests and holds longer than ten minutes; a pulse brings its own.
    """
    if step.period_s == step.period_s:
        return step.period_s
    if p.edge_s < EDGE_DURATION_S:
        return EDGE_PERIOD_S
    if p.slow:
        return SLOW_PERIOD_S
    if step.kind == HOLD_0A:
        p.slow = step.long_rest
    elif abs(sample.current_A) < step.slow_current_A:
        p.slow = True
    return SLOW_PERIOD_S if p.slow else FAST_PERIOD_S


def command_for(step: Step, numbers: StepNumbers, period: float, envelope: int) -> Command:
    """Return the command of a step with its next reading due after `period` (s)."""
    return Command(
        kind=numbers.kind,
        current_A=numbers.current_A,
        voltage_bound_V=numbers.voltage_bound_V,
        period_s=period,
        valid_for_s=VALID_PERIODS * period,
        device_timed_s=step.max_duration_s if step.device_timed else math.nan,
        envelope=envelope,
        tag=step.tag,
    )
