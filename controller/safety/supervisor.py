"""The last word on every command: a second reading of the sample, with a memory of its own.

`review` is a total function of numbers: whatever the sample and the command hold, it answers, and
it may only reduce. The faults it knows stand in `controller.safety.faults`; the reasoning, and how
limits relate to cut-offs, in ``docs/safety.md``.

A sample is judged against what was in force while it was taken (the command that the supervisor
let pass last, and its pulse envelope); the command is judged against what it asks for. Comparisons
are written so that NaN falls on the safe side.
"""

from __future__ import annotations

from math import fabs
from typing import Final

from controller.domain.cell import ZERO_CELSIUS_K
from controller.domain.command import (
    CHARGE,
    DISCHARGE,
    HOLD_0A,
    OPEN,
    TAG_DIAGNOSTIC,
    TAG_TREATMENT,
    Command,
)
from controller.domain.sample import (
    LIMIT_CURRENT,
    NAN,
    OUTPUT_OFF,
    OUTPUT_ON,
    QUALITY_CURRENT_INVALID,
    QUALITY_DUPLICATE,
    QUALITY_NO_CELL_VOLTAGE,
    QUALITY_NO_REPLY,
    QUALITY_OUT_OF_ORDER,
    QUALITY_OVER_TEMPERATURE,
    QUALITY_READBACK_MISMATCH,
    QUALITY_SATURATED,
    QUALITY_STALE,
    QUALITY_TEMPERATURE_INVALID,
    QUALITY_VOLTAGE_INVALID,
    Sample,
)
from controller.domain.units import SECONDS_PER_HOUR
from controller.domain.verdict import ALLOW, HOLD, REST, TRIP, WARN, Verdict
from controller.safety.faults import (
    CHARGE_ABOVE_WARN,
    CHARGE_CURRENT_TRIP,
    CHARGE_CURRENT_WARN,
    CLOCKS_DISAGREE,
    COMMAND_BLIND,
    COMMAND_COPPER,
    COMMAND_CURRENT,
    COMMAND_INVALID,
    COMMAND_VOLTAGE,
    COPPER_TRIP,
    COPPER_WARN,
    CURRENT_ABOVE_COMMAND,
    CURRENT_INVALID,
    CURRENT_WITHOUT_COMMAND,
    CURRENT_WRONG_SIGN,
    DEBOUNCED_ROWS,
    DISCHARGE_BELOW_WARN,
    DISCHARGE_CURRENT_TRIP,
    DISCHARGE_CURRENT_WARN,
    DUPLICATE,
    ENVELOPE_CHARGE,
    ENVELOPE_COMMAND,
    ENVELOPE_COUNT,
    ENVELOPE_CURRENT,
    ENVELOPE_OFF_TIME,
    ENVELOPE_OVERRUN,
    ENVELOPE_TEMPERATURE,
    ENVELOPE_TIME,
    ENVELOPE_UNKNOWN,
    ENVELOPE_VOLTAGE,
    FAULT_COUNTS,
    FAULT_DELAYS_S,
    HALF_CYCLE_CHARGE,
    HALF_CYCLE_TIME,
    HOLD_ROWS,
    INSTRUMENT_TOO_WARM,
    NO_FRESH_SAMPLE,
    NO_REPLY,
    OUT_OF_ORDER,
    OUTPUT_ON_THOUGH_OPEN,
    OUTPUT_UNEXPECTEDLY_OFF,
    OUTPUT_UNKNOWN_STATE,
    PERMISSION_TOO_LONG,
    PLATING_TOO_COLD,
    READBACK_MISMATCH,
    REST_ROWS,
    ROWS,
    SATURATED,
    STALE,
    TEMPERATURE_HIGH_TRIP,
    TEMPERATURE_HIGH_WARN,
    TEMPERATURE_INVALID,
    TEMPERATURE_LOW_TRIP,
    TEMPERATURE_LOW_WARN,
    TEMPERATURE_OUTSIDE_OPERATE,
    TIME_STOPPED,
    TREATMENT_TOO_WARM,
    TRIP_ROWS,
    VOLTAGE_AGAINST_CURRENT,
    VOLTAGE_FROZEN,
    VOLTAGE_HIGH_TRIP,
    VOLTAGE_HIGH_WARN,
    VOLTAGE_INVALID,
    VOLTAGE_JUMP,
    VOLTAGE_LOW_TRIP,
    VOLTAGE_LOW_WARN,
    causes_words,
)
from controller.safety.limits import LimitsRecord, PulseRecord, flatten
from controller.safety.memory import (
    EXPECT_EITHER,
    EXPECT_OFF,
    EXPECT_ON,
    Memory,
    memory_from_dict,
    memory_to_dict,
    new_memory,
    start_again,
)

# Hysteresis of the voltage warnings. Assumed, 1-20 mV.
VOLTAGE_HYSTERESIS_V: Final = 5e-3
# Hysteresis of everything that depends on temperature. Assumed, 0.5-2 K.
TEMPERATURE_HYSTERESIS_K: Final = 1.0
# Measuring tolerance on an open envelope's voltages. Assumed, 1-20 mV.
ENVELOPE_TOLERANCE_V: Final = 1e-2
# Measuring tolerance on an open envelope's current, charge and time. Assumed, 1-5 %.
ENVELOPE_TOLERANCE: Final = 0.02
# Jitter of the loop that an open envelope's time may show. Assumed, 0.05-0.2 s.
ENVELOPE_JITTER_S: Final = 0.1
# More than this share above the command is not the command's current. Assumed, 0.5-2 %.
CURRENT_TOLERANCE: Final = 0.01
# A half cycle is over when all but this share of its charge has come back. Assumed, 0.1-0.3.
REVERSAL_SHARE: Final = 0.2
# Voltage this close to a cut-off has reached it. Assumed, 1-10 mV.
CUT_OFF_TOLERANCE_V: Final = 5e-3
# A step of voltage against the current switched on must be larger than relaxation and noise.
# Assumed, 20-100 mV.
AGAINST_CURRENT_V: Final = 5e-2
# Device and host time may differ by this much over an interval. Assumed, 0.5-2 s and 1-10 %.
CLOCK_DIFFERENCE_S: Final = 1.0
CLOCK_DIFFERENCE: Final = 0.05
# An interval longer than this (115 days) is no interval but a broken clock.
INTERVAL_MAX_S: Final = 1e7
# A permission may last this many times max_unchanged_s. Assumed, 1-3.
PERMISSION_FACTOR: Final = 2.0
# Plating current rises from 0 at 0 degC over this many kelvin. Assumed, 10-20 K.
PLATING_SPAN_K: Final = 15.0
# The answer to almost every reading, made once.
ALL_GOOD: Final = Verdict(ALLOW, 0)

# Quality bits with which a value is not the cell's.
NO_VOLTAGE: Final = QUALITY_VOLTAGE_INVALID | QUALITY_NO_CELL_VOLTAGE | QUALITY_NO_REPLY
NO_CURRENT: Final = QUALITY_CURRENT_INVALID | QUALITY_NO_REPLY
# Rows with which a sample is not fresh and valid.
UNUSABLE_ROWS: Final = (
    NO_REPLY | VOLTAGE_INVALID | CURRENT_INVALID | STALE | DUPLICATE | OUT_OF_ORDER
)


def advance_time(m: Memory, sequence: int, t_host_s: float, t_device_s: float) -> int:
    """Take a sample's times into the memory; return the rows about time."""
    host_s = t_host_s - m.t_host_s
    device_s = t_device_s - m.t_device_s
    sequence_step = sequence - m.sequence
    m.sequence = sequence
    m.t_host_s = t_host_s
    m.t_device_s = t_device_s
    if m.started == 0:
        m.started = 1
        m.long_s = 0.0
        return 0 if t_host_s - t_host_s == 0.0 else TIME_STOPPED
    rows = 0
    if sequence_step <= 0 or device_s <= 0.0:
        rows = DUPLICATE
        if sequence_step < 0 or device_s < 0.0:
            rows = OUT_OF_ORDER
    if not 0.0 < host_s < INTERVAL_MAX_S:
        rows |= TIME_STOPPED
        host_s = 0.0
    long_s = host_s
    short_s = host_s
    if device_s - device_s == 0.0:
        if fabs(device_s - host_s) > CLOCK_DIFFERENCE_S + CLOCK_DIFFERENCE * host_s:
            rows |= CLOCKS_DISAGREE
        if not device_s < INTERVAL_MAX_S:
            device_s = 0.0
        long_s = max(host_s, device_s)
        short_s = max(min(host_s, device_s), 0.0)
    m.long_s = long_s
    m.clock_s += short_s
    m.force_s += long_s
    return rows


def quality_conditions(quality: int) -> int:
    """Return the rows that the driver itself has seen."""
    rows = 0
    if quality & QUALITY_NO_REPLY:
        rows = NO_REPLY
    if quality & QUALITY_STALE:
        rows |= STALE
    if quality & QUALITY_DUPLICATE:
        rows |= DUPLICATE
    if quality & QUALITY_OUT_OF_ORDER:
        rows |= OUT_OF_ORDER
    if quality & QUALITY_SATURATED:
        rows |= SATURATED
    if quality & QUALITY_READBACK_MISMATCH:
        rows |= READBACK_MISMATCH
    if quality & QUALITY_OVER_TEMPERATURE:
        rows |= INSTRUMENT_TOO_WARM
    return rows


def output_conditions(output: int, expected: int) -> int:
    """Return the rows about the output of the instrument."""
    if output == OUTPUT_ON:
        if expected == EXPECT_OFF:
            return OUTPUT_ON_THOUGH_OPEN
    elif output == OUTPUT_OFF:
        if expected == EXPECT_ON:
            return OUTPUT_UNEXPECTEDLY_OFF
    else:
        return OUTPUT_UNKNOWN_STATE
    return 0


def voltage_conditions(m: Memory, voltage_V: float, limits: LimitsRecord) -> int:
    """Return the rows about a valid cell voltage."""
    rows = 0
    active = m.active
    if m.open_envelope == 0:
        low_V = limits.voltage_min_warn_V
        high_V = limits.voltage_max_warn_V
        if active & VOLTAGE_LOW_WARN:
            low_V += VOLTAGE_HYSTERESIS_V
        if active & VOLTAGE_HIGH_WARN:
            high_V -= VOLTAGE_HYSTERESIS_V
        if voltage_V < low_V:
            rows = VOLTAGE_LOW_WARN
            if not voltage_V >= limits.voltage_min_trip_V:
                rows |= VOLTAGE_LOW_TRIP
        elif voltage_V > high_V:
            rows = VOLTAGE_HIGH_WARN
            if not voltage_V <= limits.voltage_max_trip_V:
                rows |= VOLTAGE_HIGH_TRIP
    else:
        pulse = limits.pulses[m.open_envelope - 1]
        if not (
            pulse.min_voltage_V - ENVELOPE_TOLERANCE_V
            <= voltage_V
            <= pulse.max_voltage_V + ENVELOPE_TOLERANCE_V
        ):
            rows = ENVELOPE_VOLTAGE
    copper_V = limits.copper_floor_operate_V
    if not active & COPPER_WARN:
        copper_V -= VOLTAGE_HYSTERESIS_V
    if voltage_V < copper_V:
        rows |= COPPER_WARN
    if not voltage_V > limits.copper_floor_trip_V:
        rows |= COPPER_TRIP
    return rows


def current_conditions(m: Memory, current_A: float, limits: LimitsRecord) -> int:
    """Return the rows about a valid current against the envelope in force."""
    if m.open_envelope != 0:
        pulse = limits.pulses[m.open_envelope - 1]
        most_A = pulse.max_current_A * (1.0 + ENVELOPE_TOLERANCE) + limits.zero_current_A
        return 0 if fabs(current_A) <= most_A else ENVELOPE_CURRENT
    if current_A > limits.charge_warn_A:
        if current_A <= limits.charge_trip_A:
            return CHARGE_CURRENT_WARN
        return CHARGE_CURRENT_WARN | CHARGE_CURRENT_TRIP
    if -current_A > limits.discharge_warn_A:
        if -current_A <= limits.discharge_trip_A:
            return DISCHARGE_CURRENT_WARN
        return DISCHARGE_CURRENT_WARN | DISCHARGE_CURRENT_TRIP
    return 0


def plausible_current(m: Memory, current_A: float, limits: LimitsRecord) -> int:
    """Return the rows about a valid current against the command in force."""
    zero_A = limits.zero_current_A
    force_A = m.force_current_A
    if force_A > 0.0:
        along_A = current_A
    elif force_A < 0.0:
        along_A = -current_A
    else:
        return 0 if fabs(current_A) <= zero_A else CURRENT_WITHOUT_COMMAND
    rows = 0
    if along_A < -zero_A:
        rows = CURRENT_WRONG_SIGN
    if fabs(current_A) > fabs(force_A) * (1.0 + CURRENT_TOLERANCE) + zero_A:
        rows |= CURRENT_ABOVE_COMMAND
    return rows


def temperature_conditions(m: Memory, temperature_K: float, limits: LimitsRecord) -> int:
    """Return the rows about a valid temperature."""
    rows = 0
    low_K = limits.temperature_min_warn_K
    high_K = limits.temperature_max_warn_K
    active = m.active
    if active & TEMPERATURE_LOW_WARN:
        low_K += TEMPERATURE_HYSTERESIS_K
    if active & TEMPERATURE_HIGH_WARN:
        high_K -= TEMPERATURE_HYSTERESIS_K
    if temperature_K < low_K:
        rows = TEMPERATURE_LOW_WARN
        if not temperature_K >= limits.temperature_min_trip_K:
            rows |= TEMPERATURE_LOW_TRIP
    elif temperature_K > high_K:
        rows = TEMPERATURE_HIGH_WARN
        if not temperature_K <= limits.temperature_max_trip_K:
            rows |= TEMPERATURE_HIGH_TRIP
    return rows


def cell_voltage_V(sample: Sample) -> float:
    """Return the cell's voltage (V), NaN where the sample does not carry it."""
    return NAN if sample.quality & NO_VOLTAGE else sample.voltage_V


def cell_current_A(sample: Sample) -> float:
    """Return the cell's current (A), NaN where the sample does not carry it."""
    return NAN if sample.quality & NO_CURRENT else sample.current_A


def reading_conditions(
    m: Memory, sample: Sample, limits: LimitsRecord, voltage_V: float, current_A: float
) -> int:
    """Return the rows that one sample shows by itself; changes nothing.

    `voltage_V` and `current_A` are the sample's where it carries the cell's, else NaN.
    """
    quality = sample.quality
    output = sample.output
    expected = m.output_expected
    rows = 0
    if output != OUTPUT_ON or expected != EXPECT_ON:
        rows = output_conditions(output, expected)
    if quality:
        rows |= quality_conditions(quality)
    # Output off where it may be off: there is nothing to see, and that is no fault.
    dark = output == OUTPUT_OFF and expected != EXPECT_ON
    if voltage_V - voltage_V == 0.0:
        rows |= voltage_conditions(m, voltage_V, limits)
    elif not dark:
        rows |= VOLTAGE_INVALID
    if current_A - current_A == 0.0:
        rows |= current_conditions(m, current_A, limits)
        rows |= plausible_current(m, current_A, limits)
    elif not dark:
        rows |= CURRENT_INVALID
    if limits.temperature_declared:
        temperature_K = sample.temperature_K
        if temperature_K - temperature_K == 0.0 and not quality & QUALITY_TEMPERATURE_INVALID:
            rows |= temperature_conditions(m, temperature_K, limits)
        else:
            rows |= TEMPERATURE_INVALID
    return rows


def watch_voltage(
    m: Memory, voltage_V: float, current_A: float, limit_status: int, limits: LimitsRecord
) -> int:
    """Compare a valid voltage with the one before; return rows, keep the reference."""
    zero_A = limits.zero_current_A
    rows = 0
    if m.reference_valid == 1:
        step_V = voltage_V - m.reference_V
        if step_V == 0.0:
            if limit_status == LIMIT_CURRENT:
                m.unchanged_charge_Ah += fabs(current_A) * m.long_s / SECONDS_PER_HOUR
                if not m.unchanged_charge_Ah <= limits.frozen_charge_Ah:
                    rows = VOLTAGE_FROZEN
        else:
            m.unchanged_charge_Ah = 0.0
            if m.reference_at_rest == 1 and (
                (current_A > zero_A and step_V < -AGAINST_CURRENT_V)
                or (current_A < -zero_A and step_V > AGAINST_CURRENT_V)
            ):
                rows = VOLTAGE_AGAINST_CURRENT
            if fabs(step_V) > limits.step_jump_V:
                rows |= VOLTAGE_JUMP
    m.reference_valid = 1
    m.reference_at_rest = 1 if fabs(current_A) <= zero_A else 0
    m.reference_V = voltage_V
    return rows


def forget_voltage(m: Memory) -> None:
    """Drop the reference: the next voltage has nothing to be compared with."""
    m.reference_valid = 0
    m.unchanged_charge_Ah = 0.0


def count_envelope(m: Memory, charge_Ah: float, interval_s: float, limits: LimitsRecord) -> int:
    """Count time and gross charge of the open envelope; return the row where it is overrun."""
    m.open_s += interval_s
    m.open_charge_Ah += fabs(charge_Ah)
    pulse = limits.pulses[m.open_envelope - 1]
    most_Ah = pulse.max_charge_Ah * (1.0 + ENVELOPE_TOLERANCE)
    if m.open_s <= _longest_s(pulse) and m.open_charge_Ah <= most_Ah:
        return 0
    return ENVELOPE_OVERRUN


def count_charge(m: Memory, output: int, measured_A: float, limits: LimitsRecord) -> int:
    """Count the last interval's charge and time; return rows of what became too much.

    The current counted is rather too much than too little: the commanded one without a valid
    reading (`measured_A` is NaN) and after a device-timed pulse that ended by itself, the new
    reading after a change of command, otherwise the mean of the last two.
    """
    interval_s = m.long_s
    current_A = m.force_current_A
    if output == OUTPUT_OFF and m.force_device_timed_s > 0.0:
        # The device ended the pulse: it has not lasted longer than the device was told.
        left_s = m.force_device_timed_s - (m.force_s - interval_s)
        interval_s = max(0.0, min(interval_s, left_s))
        m.last_current_A = 0.0
    elif measured_A - measured_A == 0.0:
        current_A = measured_A
        if m.force_changed == 0:
            current_A = 0.5 * (measured_A + m.last_current_A)
        m.last_current_A = measured_A
    else:
        m.last_current_A = current_A
    charge_Ah = current_A * interval_s / SECONDS_PER_HOUR
    rows = count_half_cycle(m, charge_Ah, current_A, interval_s, limits)
    if m.open_envelope != 0:
        rows |= count_envelope(m, charge_Ah, interval_s, limits)
    return rows


def count_half_cycle(
    m: Memory, charge_Ah: float, current_A: float, interval_s: float, limits: LimitsRecord
) -> int:
    """Add an interval to the half cycles; return rows where the running one is too long.

    Charge counts up while charging and down while discharging, so that short reversals give
    back only their own charge; likewise the other way round.
    """
    # NaN stays NaN: `max` keeps its first argument unless the second is larger.
    climb_Ah = max(m.climb_Ah + charge_Ah, 0.0)
    fall_Ah = max(m.fall_Ah - charge_Ah, 0.0)
    m.climb_Ah = climb_Ah
    m.fall_Ah = fall_Ah
    zero_A = limits.zero_current_A
    rows = 0
    if current_A > zero_A:
        m.climb_peak_Ah = max(m.climb_peak_Ah, climb_Ah)
        m.climb_s += interval_s
        if not climb_Ah <= limits.max_half_cycle_charge_Ah:
            rows = HALF_CYCLE_CHARGE
        if not m.climb_s <= limits.max_half_cycle_s:
            rows |= HALF_CYCLE_TIME
    elif current_A < -zero_A:
        m.fall_peak_Ah = max(m.fall_peak_Ah, fall_Ah)
        m.fall_s += interval_s
        if not fall_Ah <= limits.max_half_cycle_charge_Ah:
            rows = HALF_CYCLE_CHARGE
        if not m.fall_s <= limits.max_half_cycle_s:
            rows |= HALF_CYCLE_TIME
    return rows


def close_half_cycle(m: Memory, current_A: float, voltage_V: float, limits: LimitsRecord) -> None:
    """End the half cycle that a discharge (or a charge) has undone.

    It is undone when the cell has reached the cut-off at the other end, or when at least
    ``1 - REVERSAL_SHARE`` of its charge has come back.
    """
    if current_A < -limits.zero_current_A:
        if (
            voltage_V <= limits.lower_cut_off_V + CUT_OFF_TOLERANCE_V
            or m.climb_Ah <= REVERSAL_SHARE * m.climb_peak_Ah
        ):
            m.climb_Ah = 0.0
            m.climb_peak_Ah = 0.0
            m.climb_s = 0.0
    elif current_A > limits.zero_current_A and (
        voltage_V >= limits.upper_cut_off_V - CUT_OFF_TOLERANCE_V
        or m.fall_Ah <= REVERSAL_SHARE * m.fall_peak_Ah
    ):
        m.fall_Ah = 0.0
        m.fall_peak_Ah = 0.0
        m.fall_s = 0.0


def _longest_s(pulse: PulseRecord) -> float:
    """Return `max_on_s` with the tolerance for measuring and for the loop's jitter."""
    return pulse.max_on_s * (1.0 + ENVELOPE_TOLERANCE) + ENVELOPE_JITTER_S


def command_conditions(  # noqa: C901 -- one call a reading; split, it costs more
    m: Memory,
    command: Command,
    limits: LimitsRecord,
    temperature_K: float,
    voltage_V: float,
    measured_A: float,
    present: int,
) -> int:
    """Return the rows about a command other than `OPEN`; `present` are the sample's."""
    kind, current_A, bound_V, period_s, valid_for_s, device_timed_s, envelope, tag = command
    unchanged_s = limits.max_unchanged_s
    rows = 0
    if not (0.0 < period_s <= unchanged_s and 0.0 < valid_for_s <= PERMISSION_FACTOR * unchanged_s):
        rows = PERMISSION_TOO_LONG
    if envelope != 0:
        rows |= envelope_conditions(m, command, limits, temperature_K)
    if kind == HOLD_0A:
        return rows if current_A == 0.0 else rows | COMMAND_INVALID
    # Differences of a number with itself: NaN for NaN and for infinity.
    if (
        not ((kind == CHARGE and current_A > 0.0) or (kind == DISCHARGE and current_A < 0.0))
        or current_A - current_A != 0.0
        or bound_V - bound_V != 0.0
        or device_timed_s <= 0.0
        or device_timed_s >= INTERVAL_MAX_S
        or not 0 <= tag <= TAG_DIAGNOSTIC
    ):
        return rows | COMMAND_INVALID
    if not bound_V >= limits.copper_floor_operate_V:
        rows |= COMMAND_COPPER
    if envelope == 0:
        if not limits.bound_min_V <= bound_V <= limits.bound_max_V:
            rows |= COMMAND_VOLTAGE
        if not -limits.discharge_operate_A <= current_A <= limits.charge_operate_A:
            rows |= COMMAND_CURRENT
        # A current that would push a voltage beyond warn further out.
        if kind == CHARGE:
            if present & VOLTAGE_HIGH_WARN:
                rows |= CHARGE_ABOVE_WARN
        elif present & (VOLTAGE_LOW_WARN | COPPER_WARN):
            rows |= DISCHARGE_BELOW_WARN
    if voltage_V - voltage_V != 0.0 or measured_A - measured_A != 0.0:
        rows |= COMMAND_BLIND
    if limits.temperature_declared:
        rows |= warmth_conditions(m, temperature_K, command, limits)
    return rows


def warmth_conditions(
    m: Memory, temperature_K: float, command: Command, limits: LimitsRecord
) -> int:
    """Return the rows about a current at this temperature; NaN gives all that apply."""
    kind, current_A, _, _, _, _, envelope, tag = command
    rows = 0
    back_K = TEMPERATURE_HYSTERESIS_K if m.active & TEMPERATURE_OUTSIDE_OPERATE else 0.0
    if not (
        limits.temperature_min_operate_K + back_K
        <= temperature_K
        <= limits.temperature_max_operate_K - back_K
    ):
        rows = TEMPERATURE_OUTSIDE_OPERATE
    if kind == CHARGE:
        full_A = limits.charge_operate_A
        if 0 < envelope <= len(limits.pulses):
            full_A = limits.pulses[envelope - 1].max_current_A
        share = (temperature_K - ZERO_CELSIUS_K) / PLATING_SPAN_K
        if not (share >= 1.0 or current_A <= full_A * share):
            rows |= PLATING_TOO_COLD
    if envelope != 0 or tag == TAG_TREATMENT:
        back_K = TEMPERATURE_HYSTERESIS_K if m.active & TREATMENT_TOO_WARM else 0.0
        if not temperature_K <= limits.treatment_max_K - back_K:
            rows |= TREATMENT_TOO_WARM
    return rows


def same_command(m: Memory, command: Command) -> bool:
    """Return whether `command` is the one in force; a time that is none is none (NaN, 0)."""
    kind, current_A, bound_V, _, _, device_timed_s, _, _ = command
    return (
        kind == m.force_kind
        and current_A == m.force_current_A
        and (bound_V == m.force_bound_V or kind == HOLD_0A)
        and (
            device_timed_s == m.force_device_timed_s
            or not (device_timed_s > 0.0 or m.force_device_timed_s > 0.0)
        )
    )


def envelope_conditions(
    m: Memory, command: Command, limits: LimitsRecord, temperature_K: float
) -> int:
    """Return the rows about a requested envelope: is it there, free, and large enough."""
    number = command.envelope
    if not 1 <= number <= len(limits.pulses):
        return ENVELOPE_UNKNOWN
    pulse = limits.pulses[number - 1]
    rows = 0
    magnitude_A = fabs(command.current_A)
    if not magnitude_A <= pulse.max_current_A or (
        command.kind != HOLD_0A
        and not pulse.min_voltage_V <= command.voltage_bound_V <= pulse.max_voltage_V
    ):
        rows = ENVELOPE_COMMAND
    if limits.temperature_declared and not temperature_K <= pulse.max_temperature_K:
        rows |= ENVELOPE_TEMPERATURE
    ahead_s = command.period_s
    if command.device_timed_s > 0.0:
        ahead_s = command.device_timed_s
        if m.open_envelope == number and same_command(m, command):
            ahead_s = max(0.0, ahead_s - m.force_s)
    open_s = ahead_s
    charge_Ah = magnitude_A * ahead_s / SECONDS_PER_HOUR
    if m.open_envelope == number:
        open_s += m.open_s
        charge_Ah += m.open_charge_Ah
    else:
        opened = m.envelope_counts[number - 1]
        if opened >= pulse.max_count:
            rows |= ENVELOPE_COUNT
        if opened > 0 and not m.clock_s - m.envelope_closed_s[number - 1] >= pulse.min_off_s:
            rows |= ENVELOPE_OFF_TIME
    if not open_s <= _longest_s(pulse):
        rows |= ENVELOPE_TIME
    if not charge_Ah <= pulse.max_charge_Ah * (1.0 + ENVELOPE_TOLERANCE):
        rows |= ENVELOPE_CHARGE
    return rows


def fresh_conditions(m: Memory, present: int, limits: LimitsRecord) -> int:
    """Return the row about too long a time without a fresh valid sample."""
    m.unseen_s += m.long_s
    rows = 0
    if not m.unseen_s <= limits.max_unchanged_s:
        rows = NO_FRESH_SAMPLE
    if not present & UNUSABLE_ROWS:
        m.unseen_s = 0.0
    return rows


def debounce(m: Memory, waiting: int) -> int:
    """Return which of the debounced conditions present have stood for long enough."""
    active = 0
    for row in range(ROWS):
        if waiting >> row & 1:
            m.fault_counts[row] += 1
            if m.fault_counts[row] > 1:
                m.fault_s[row] += m.long_s
            if m.fault_counts[row] >= FAULT_COUNTS[row] and m.fault_s[row] >= FAULT_DELAYS_S[row]:
                active |= 1 << row
        else:
            m.fault_counts[row] = 0
            m.fault_s[row] = 0.0
    return active


def close_envelope(m: Memory) -> None:
    """Close the open envelope; its waiting time starts."""
    if m.open_envelope != 0:
        m.envelope_closed_s[m.open_envelope - 1] = m.clock_s
        m.open_envelope = 0
        m.open_s = 0.0
        m.open_charge_Ah = 0.0


def put_in_force(m: Memory, command: Command) -> None:
    """Remember a command that was let pass, and open or close its envelope."""
    kind, current_A, bound_V, _, _, device_timed_s, envelope, _ = command
    m.output_expected = EXPECT_EITHER if device_timed_s > 0.0 else EXPECT_ON
    if m.open_envelope == envelope and same_command(m, command):
        m.force_changed = 0
        return
    m.force_changed = 1
    m.force_s = 0.0
    m.force_kind = kind
    m.force_current_A = current_A
    m.force_bound_V = bound_V
    m.force_device_timed_s = device_timed_s
    if m.open_envelope != envelope:
        close_envelope(m)
        if envelope != 0:
            m.open_envelope = envelope
            m.envelope_counts[envelope - 1] += 1


def put_at_rest(m: Memory, kind: int, output_expected: int) -> None:
    """Remember that `kind` (`HOLD_0A` or `OPEN`) is in force, and close the envelope."""
    m.force_changed = 1
    m.force_kind = kind
    m.force_current_A = 0.0
    m.force_bound_V = NAN
    m.force_device_timed_s = NAN
    m.output_expected = output_expected
    close_envelope(m)


def review(m: Memory, sample: Sample, command: Command, limits: LimitsRecord) -> Verdict:
    """Return what may become of `command`, given this sample and all before it.

    Parameters
    ----------
    m : Memory
        Changed in place.
    sample : Sample
        The newest reading, taken while the command of the last verdict was in force.
    command : Command
        What the deciding side wants next.
    limits : LimitsRecord

    Returns
    -------
    Verdict
        `ALLOW` or `WARN`: the command stands. `HOLD`, `REST`: hold_0A instead. `TRIP`: open,
        until `acknowledge`. An `OPEN` command is never turned into anything that energises.
    """
    (
        sequence,
        _,
        t_host_s,
        t_device_s,
        _,
        voltage_V,
        current_A,
        temperature_K,
        output,
        limit_status,
        _,
        _,
        quality,
    ) = sample
    if quality:
        voltage_V = cell_voltage_V(sample)
        current_A = cell_current_A(sample)
    present = advance_time(m, sequence, t_host_s, t_device_s)
    present |= reading_conditions(m, sample, limits, voltage_V, current_A)
    present |= fresh_conditions(m, present, limits)
    present |= count_charge(m, output, current_A, limits)
    # A difference of a number with itself is 0 unless it is NaN or infinite.
    if voltage_V - voltage_V == 0.0 and current_A - current_A == 0.0 and m.open_envelope == 0:
        present |= watch_voltage(m, voltage_V, current_A, limit_status, limits)
        close_half_cycle(m, current_A, voltage_V, limits)
    else:
        forget_voltage(m)
    kind = command.kind
    if kind != OPEN:
        present |= command_conditions(
            m, command, limits, temperature_K, voltage_V, current_A, present
        )
    waiting = present & DEBOUNCED_ROWS
    active = present ^ waiting
    if waiting or m.pending:
        active |= debounce(m, waiting)
    m.pending = waiting
    m.active = active
    m.latched |= active & TRIP_ROWS
    if m.latched:
        put_at_rest(m, OPEN, EXPECT_OFF)
        return Verdict(TRIP, active | m.latched)
    if kind == OPEN:
        put_at_rest(m, OPEN, EXPECT_OFF)
        return Verdict(WARN, active) if active else ALL_GOOD
    if active & (HOLD_ROWS | REST_ROWS):
        # The guard may open instead of holding 0 A: either is rest.
        put_at_rest(m, HOLD_0A, EXPECT_EITHER)
        return Verdict(REST if active & REST_ROWS else HOLD, active)
    put_in_force(m, command)
    return Verdict(WARN, active) if active else ALL_GOOD


def acknowledge(m: Memory, limits: LimitsRecord, sample: Sample) -> tuple[bool, int]:
    """Clear what is latched if `sample` shows that its condition is gone.

    Parameters
    ----------
    m : Memory
    limits : LimitsRecord
    sample : Sample
        A reading taken now, with the output off.

    Returns
    -------
    acknowledged : bool
        True: nothing is latched any more, and the output may be brought up by the start order.
    remaining : int
        Causes that still stand, beyond warnings. With the output off there may be no cell
        voltage to judge; the start order measures it, and the first review after it trips again.
    """
    if m.latched == 0:
        return True, 0
    remaining = reading_conditions(
        m, sample, limits, cell_voltage_V(sample), cell_current_A(sample)
    )
    remaining &= HOLD_ROWS | REST_ROWS | TRIP_ROWS
    if remaining:
        return False, remaining
    m.latched = 0
    m.active = 0
    start_again(m)
    return True, 0


__all__ = [
    "LimitsRecord",
    "Memory",
    "PulseRecord",
    "acknowledge",
    "causes_words",
    "flatten",
    "memory_from_dict",
    "memory_to_dict",
    "new_memory",
    "review",
    "start_again",
]
