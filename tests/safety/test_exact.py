"""One thing wrong gives exactly one cause, and the table's debouncing is what runs."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from controller.domain.command import HOLD_0A, OPEN
from controller.domain.sample import (
    OUTPUT_OFF,
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
)
from controller.domain.verdict import HOLD, REST, TRIP, WARN
from controller.safety import faults, supervisor
from controller.safety.memory import new_memory
from controller.safety.supervisor import acknowledge
from tests.safety.build import (
    CHARGE_COMMAND,
    DISCHARGE_COMMAND,
    OPEN_COMMAND,
    PULSE_COMMAND,
    RECORD,
    REST_COMMAND,
    Bench,
    names,
)


@pytest.mark.parametrize(
    ("quality", "expected"),
    [
        (0, []),
        (QUALITY_VOLTAGE_INVALID, ["voltage_invalid"]),
        (QUALITY_CURRENT_INVALID, ["current_invalid"]),
        (QUALITY_TEMPERATURE_INVALID, ["temperature_invalid"]),
        (QUALITY_STALE, ["stale"]),
        (QUALITY_DUPLICATE, ["duplicate"]),
        (QUALITY_OUT_OF_ORDER, ["out_of_order"]),
        (QUALITY_SATURATED, ["saturated"]),
        (QUALITY_NO_CELL_VOLTAGE, ["voltage_invalid"]),
        (QUALITY_READBACK_MISMATCH, ["readback_mismatch"]),
        (QUALITY_OVER_TEMPERATURE, ["instrument_too_warm"]),
        (QUALITY_NO_REPLY, ["no_reply", "voltage_invalid", "current_invalid"]),
        (
            QUALITY_STALE | QUALITY_SATURATED | QUALITY_READBACK_MISMATCH,
            ["stale", "readback_mismatch", "saturated"],
        ),
    ],
)
def test_each_quality_bit_is_its_own_row(quality: int, expected: list[str]) -> None:
    bench = Bench().settle()
    bench.step(REST_COMMAND, quality=quality)
    assert names(bench.step(REST_COMMAND, quality=quality)) == expected


@pytest.mark.parametrize(
    ("command", "values", "expected"),
    [
        (DISCHARGE_COMMAND, {"voltage_V": 4.321}, ["voltage_high_warn"]),
        (CHARGE_COMMAND, {"voltage_V": 2.949}, ["voltage_low_warn"]),
        (CHARGE_COMMAND, {"voltage_V": 4.321}, ["voltage_high_warn", "charge_above_warn"]),
        (PULSE_COMMAND, {"voltage_V": 2.94}, ["voltage_low_warn"]),
        (REST_COMMAND, {"voltage_V": 4.321}, ["voltage_high_warn"]),
        (DISCHARGE_COMMAND, {"temperature_K": 280.0}, []),
        (CHARGE_COMMAND, {"temperature_K": 280.0}, ["plating_too_cold"]),
        (REST_COMMAND, {"temperature_K": 250.0}, ["temperature_low_warn"]),
        (CHARGE_COMMAND._replace(tag=1), {"temperature_K": 319.0}, ["treatment_too_warm"]),
        (CHARGE_COMMAND._replace(envelope=3), {}, ["envelope_unknown"]),
        (
            CHARGE_COMMAND._replace(envelope=9),
            {"temperature_K": 280.0},
            ["plating_too_cold", "envelope_unknown"],
        ),
        (PULSE_COMMAND._replace(current_A=-0.011), {}, ["envelope_command"]),
        (PULSE_COMMAND, {"temperature_K": 314.0}, ["envelope_temperature"]),
        (REST_COMMAND._replace(envelope=1), {}, []),
        (CHARGE_COMMAND._replace(period_s=0.0), {}, ["permission_too_long"]),
        (
            CHARGE_COMMAND._replace(kind=7, period_s=0.0),
            {},
            ["command_invalid", "permission_too_long"],
        ),
        (
            REST_COMMAND._replace(current_A=1.0, period_s=0.0),
            {},
            ["command_invalid", "permission_too_long"],
        ),
        (CHARGE_COMMAND._replace(voltage_bound_V=2.0), {}, ["command_voltage", "command_copper"]),
        (CHARGE_COMMAND, {"output": OUTPUT_OFF}, ["output_unexpectedly_off"]),
    ],
)
def test_one_thing_wrong_gives_exactly_its_causes(
    command: Any, values: dict[str, Any], expected: list[str]
) -> None:
    assert names(Bench().settle().step(command, **values)) == expected


def test_the_masks_are_the_tables() -> None:
    for action, mask in (
        (HOLD, faults.HOLD_ROWS),
        (REST, faults.REST_ROWS),
        (TRIP, faults.TRIP_ROWS),
    ):
        assert faults._mask(action) == mask
        assert mask == sum(1 << n for n, row in enumerate(faults.FAULTS) if row.action == action)
    assert faults._mask(99) == 0
    assert faults._mask(WARN) & (faults.HOLD_ROWS | faults.REST_ROWS | faults.TRIP_ROWS) == 0


def test_a_row_with_a_delay_waits_for_count_and_time(monkeypatch: pytest.MonkeyPatch) -> None:
    row = faults.STALE.bit_length() - 1
    delays_s = list(faults.FAULT_DELAYS_S)
    delays_s[row] = 5.0
    monkeypatch.setattr(supervisor, "FAULT_DELAYS_S", tuple(delays_s))
    m = new_memory(RECORD)
    m.long_s = 2.5
    results = [supervisor.debounce(m, faults.STALE) for _ in range(4)]
    # Stands for 0, 2.5, 5 and 7.5 s.
    assert results == [0, 0, faults.STALE, faults.STALE]
    assert (m.fault_counts[row], m.fault_s[row]) == (4, 7.5)
    assert supervisor.debounce(m, 0) == 0
    assert (m.fault_counts[row], m.fault_s[row]) == (0, 0.0)


def test_acknowledgement_leaves_nothing_active() -> None:
    bench = Bench().settle()
    bench.step(REST_COMMAND, voltage_V=4.5)
    assert bench.m.active
    acknowledge(bench.m, RECORD, bench.sample())
    assert (bench.m.active, bench.m.latched, bench.m.pending) == (0, 0, 0)


def test_an_envelope_is_overrun_only_beyond_its_tolerance() -> None:
    pulse = RECORD.pulses[0]
    longest_s, most_Ah = 100.0 * 1.02 + 0.1, 2e-4 * 1.02
    assert supervisor._longest_s(pulse) == longest_s
    for open_s, charge_Ah, rows in (
        (longest_s, most_Ah, 0),
        (math.nextafter(longest_s, 1e9), most_Ah, faults.ENVELOPE_OVERRUN),
        (longest_s, math.nextafter(most_Ah, 1e9), faults.ENVELOPE_OVERRUN),
        (math.nan, most_Ah, faults.ENVELOPE_OVERRUN),
        (longest_s, math.nan, faults.ENVELOPE_OVERRUN),
    ):
        m = new_memory(RECORD)
        m.open_envelope, m.open_s, m.open_charge_Ah = 1, open_s, charge_Ah
        assert supervisor.count_envelope(m, 0.0, 0.0, RECORD) == rows
    m.open_charge_Ah = 1e-5
    supervisor.count_envelope(m, 1e-5, 0.0, RECORD)
    supervisor.count_envelope(m, -1e-5, 0.0, RECORD)
    assert m.open_charge_Ah == pytest.approx(3e-5)


def test_a_request_fits_exactly_up_to_the_tolerance() -> None:
    m = new_memory(RECORD)
    room = replace(RECORD, pulses=(RECORD.pulses[0]._replace(max_charge_Ah=1.0),))
    longest_s = supervisor._longest_s(room.pulses[0])
    for timed_s, rows in ((longest_s, 0), (math.nextafter(longest_s, 1e9), faults.ENVELOPE_TIME)):
        command = PULSE_COMMAND._replace(device_timed_s=timed_s)
        assert supervisor.envelope_conditions(m, command, room, 298.15) == rows
    # 7.2 mA for 102 s is 204 uAh, to the bit.
    command = PULSE_COMMAND._replace(current_A=-7.2e-3, device_timed_s=102.0)
    used_Ah = 7.2e-3 * 102.0 / 3600.0
    for most_Ah, rows in (
        (used_Ah / 1.02 * (1.0 + 1e-12), 0),
        (used_Ah / 1.02 * (1.0 - 1e-12), faults.ENVELOPE_CHARGE),
    ):
        tight = replace(RECORD, pulses=(RECORD.pulses[0]._replace(max_charge_Ah=most_Ah),))
        assert supervisor.envelope_conditions(m, command, tight, 298.15) == rows


def test_half_cycle_limits_are_inclusive() -> None:
    for sign in (1.0, -1.0):
        for before_Ah, before_s, rows in (
            (4e-3 - 1e-5, 35999.0, 0),
            (4e-3 - 0.99e-5, 35999.0, faults.HALF_CYCLE_CHARGE),
            (3e-3, 35999.1, faults.HALF_CYCLE_TIME),
            (math.nan, math.nan, faults.HALF_CYCLE_CHARGE | faults.HALF_CYCLE_TIME),
            (1.0, 1e6, faults.HALF_CYCLE_CHARGE | faults.HALF_CYCLE_TIME),
        ):
            m = new_memory(RECORD)
            m.climb_Ah = m.fall_Ah = before_Ah
            m.climb_s = m.fall_s = before_s
            got = supervisor.count_half_cycle(m, sign * 1e-5, sign * 1e-3, 1.0, RECORD)
            assert got == rows


def test_what_stands_exactly_at_a_limit_passes() -> None:
    m = new_memory(RECORD)
    m.unseen_s = 59.0
    m.long_s = 1.0
    assert supervisor.fresh_conditions(m, 0, RECORD) == 0
    m.unseen_s = math.nextafter(60.0, 1e9)
    m.long_s = 0.0
    assert supervisor.fresh_conditions(m, 0, RECORD) == faults.NO_FRESH_SAMPLE
    m.reference_valid, m.reference_V, m.long_s = 1, 3.7, 0.0
    m.unchanged_charge_Ah = RECORD.frozen_charge_Ah
    assert supervisor.watch_voltage(m, 3.7, 1e-3, 1, RECORD) == 0
    m.unchanged_charge_Ah = math.nextafter(RECORD.frozen_charge_Ah, 1.0)
    assert supervisor.watch_voltage(m, 3.7, 1e-3, 1, RECORD) == faults.VOLTAGE_FROZEN


def test_all_wrong_at_once_gives_all_rows() -> None:
    quality = 0
    for bit in (
        QUALITY_NO_REPLY,
        QUALITY_STALE,
        QUALITY_DUPLICATE,
        QUALITY_OUT_OF_ORDER,
        QUALITY_SATURATED,
        QUALITY_READBACK_MISMATCH,
        QUALITY_OVER_TEMPERATURE,
    ):
        before = supervisor.quality_conditions(quality)
        quality |= bit
        assert supervisor.quality_conditions(quality) & before == before
        assert supervisor.quality_conditions(quality).bit_count() == quality.bit_count()
    m = new_memory(RECORD)
    warm = DISCHARGE_COMMAND._replace(envelope=1)
    assert supervisor.warmth_conditions(m, 330.0, warm, RECORD) == (
        faults.TEMPERATURE_OUTSIDE_OPERATE | faults.TREATMENT_TOO_WARM
    )
    cold = CHARGE_COMMAND._replace(envelope=1)
    assert supervisor.warmth_conditions(m, math.nan, cold, RECORD) == (
        faults.TEMPERATURE_OUTSIDE_OPERATE | faults.PLATING_TOO_COLD | faults.TREATMENT_TOO_WARM
    )
    m.envelope_counts[0], m.envelope_closed_s[0] = 3, 0.0
    wrong = PULSE_COMMAND._replace(current_A=-1.0, device_timed_s=1000.0)
    assert supervisor.envelope_conditions(m, wrong, RECORD, math.nan) == (
        faults.ENVELOPE_COMMAND
        | faults.ENVELOPE_TEMPERATURE
        | faults.ENVELOPE_COUNT
        | faults.ENVELOPE_OFF_TIME
        | faults.ENVELOPE_TIME
        | faults.ENVELOPE_CHARGE
    )
    m = new_memory(RECORD)
    supervisor.advance_time(m, 0, 100.0, 50.0)
    assert supervisor.advance_time(m, -1, math.nan, 51.5) == (
        faults.OUT_OF_ORDER | faults.TIME_STOPPED | faults.CLOCKS_DISAGREE
    )
    assert (m.long_s, m.clock_s) == (1.5, 0.0)


def test_a_first_sample_needs_a_finite_time_only() -> None:
    for t_host_s, rows in ((7.0, 0), (0.0, 0), (math.inf, faults.TIME_STOPPED)):
        m = new_memory(RECORD)
        assert supervisor.advance_time(m, 0, t_host_s, math.nan) == rows
        assert m.started == 1


def test_the_cold_limit_meets_the_full_current() -> None:
    m = new_memory(RECORD)
    for envelope, full_A in ((0, 2e-3), (1, 1e-2), (2, 6e-3)):
        for temperature_K, share, rows in (
            (288.15, 2.0, 0),  # at 15 degC the operate limit alone says how much
            (300.0, 2.0, 0),
            (math.nextafter(288.15, 0.0), 1.01, faults.PLATING_TOO_COLD),
            (273.15, 0.0, 0),
            (280.65, 0.49, 0),
            (280.65, 0.51, faults.PLATING_TOO_COLD),
        ):
            command = CHARGE_COMMAND._replace(envelope=envelope, current_A=share * full_A)
            assert supervisor.warmth_conditions(m, temperature_K, command, RECORD) == rows


def test_a_pulse_in_progress_needs_only_what_is_left_of_it() -> None:
    command = PULSE_COMMAND._replace(device_timed_s=60.0)
    m = new_memory(RECORD)
    supervisor.put_in_force(m, command)
    m.open_s = m.force_s = 50.0
    assert supervisor.envelope_conditions(m, command, RECORD, 298.15) == 0
    other = command._replace(current_A=-7e-3)
    assert supervisor.envelope_conditions(m, other, RECORD, 298.15) == faults.ENVELOPE_TIME
    m.open_s, m.force_s = 102.0, 200.0  # over: nothing is left, nothing is given back
    assert supervisor.envelope_conditions(m, command, RECORD, 298.15) == 0
    m.open_s = 102.2
    assert supervisor.envelope_conditions(m, command, RECORD, 298.15) == faults.ENVELOPE_TIME
    brief = PULSE_COMMAND._replace(device_timed_s=0.5, period_s=60.0)
    assert supervisor.envelope_conditions(new_memory(RECORD), brief, SMALL, 298.15) == 0


SMALL = replace(RECORD, pulses=(RECORD.pulses[0]._replace(max_charge_Ah=1e-5),))


def test_each_opening_starts_from_nothing() -> None:
    bench = Bench().settle(PULSE_COMMAND, samples=5)
    bench.step(REST_COMMAND)
    m = bench.m
    assert (m.open_s, m.open_charge_Ah, m.open_envelope, m.force_changed) == (0.0, 0.0, 0, 1)
    bench.step(REST_COMMAND, voltage_V=math.nan)
    assert (m.force_changed, m.reference_valid, m.unchanged_charge_Ah) == (1, 0, 0.0)


def test_warn_and_trip_stand_together() -> None:
    m = new_memory(RECORD)
    high = faults.VOLTAGE_HIGH_WARN | faults.VOLTAGE_HIGH_TRIP
    assert supervisor.voltage_conditions(m, 4.5, RECORD) == high
    low = faults.VOLTAGE_LOW_WARN | faults.VOLTAGE_LOW_TRIP
    assert supervisor.voltage_conditions(m, 1.0, RECORD) == (
        low | faults.COPPER_WARN | faults.COPPER_TRIP
    )
    both = faults.CHARGE_CURRENT_WARN | faults.CHARGE_CURRENT_TRIP
    assert supervisor.current_conditions(m, 1.0, RECORD) == both
    both = faults.DISCHARGE_CURRENT_WARN | faults.DISCHARGE_CURRENT_TRIP
    assert supervisor.current_conditions(m, -1.0, RECORD) == both
    both = faults.TEMPERATURE_HIGH_WARN | faults.TEMPERATURE_HIGH_TRIP
    assert supervisor.temperature_conditions(m, 400.0, RECORD) == both
    m.force_current_A = 1e-3
    both = faults.CURRENT_WRONG_SIGN | faults.CURRENT_ABOVE_COMMAND
    assert supervisor.plausible_current(m, -1.0, RECORD) == both


def test_the_open_envelope_is_the_one_that_judges() -> None:
    pulses = (RECORD.pulses[0], RECORD.pulses[1]._replace(min_voltage_V=3.5, max_voltage_V=3.6))
    limits = replace(RECORD, pulses=pulses)
    m = new_memory(limits)
    for number, voltage_V, rows in (
        (1, 3.3, 0),
        (2, 3.3, faults.ENVELOPE_VOLTAGE),
        (2, 3.55, 0),
        (1, 4.5, faults.ENVELOPE_VOLTAGE),
    ):
        m.open_envelope = number
        assert supervisor.voltage_conditions(m, voltage_V, limits) == rows
    most_A = 1e-2 * 1.02 + RECORD.zero_current_A
    m.open_envelope = 1
    assert supervisor.current_conditions(m, most_A, limits) == 0
    assert supervisor.current_conditions(m, -most_A, limits) == 0


def test_charge_given_back_stops_at_nothing() -> None:
    for sign, there, other in ((1.0, "fall_Ah", "climb_Ah"), (-1.0, "climb_Ah", "fall_Ah")):
        for before_Ah, after_Ah in ((3e-5, 2e-5), (1e-5, 0.0), (0.5e-5, 0.0)):
            m = new_memory(RECORD)
            setattr(m, there, before_Ah)
            supervisor.count_half_cycle(m, sign * 1e-5, sign * 1e-3, 1.0, RECORD)
            assert getattr(m, there) == pytest.approx(after_Ah, abs=1e-18)
            assert getattr(m, there) >= 0.0
            assert getattr(m, other) == 1e-5


def test_time_counts_only_above_zero_current() -> None:
    zero_A = RECORD.zero_current_A
    for sign, name in ((1.0, "climb_s"), (-1.0, "fall_s")):
        for current_A, seconds in ((zero_A, 0.0), (math.nextafter(zero_A, 1.0), 7.0)):
            m = new_memory(RECORD)
            supervisor.count_half_cycle(m, sign * 1e-9, sign * current_A, 7.0, RECORD)
            assert getattr(m, name) == seconds
    m = new_memory(RECORD)
    m.climb_Ah = m.fall_Ah = 1.0
    assert supervisor.count_half_cycle(m, 0.0, 0.0, 60.0, RECORD) == 0
    assert (m.climb_Ah, m.fall_Ah, m.climb_s, m.fall_s) == (1.0, 1.0, 0.0, 0.0)


def test_a_half_cycle_closes_exactly_at_its_share_and_only_with_current() -> None:
    zero_A = RECORD.zero_current_A
    for sign, name in ((-1.0, "climb"), (1.0, "fall")):
        for share, current_A, closed in (
            (0.2, 1e-3, True),
            (math.nextafter(0.2, 1.0), 1e-3, False),
            (0.1, zero_A, False),
            (0.1, math.nextafter(zero_A, 1.0), True),
        ):
            m = new_memory(RECORD)
            setattr(m, f"{name}_Ah", share)
            setattr(m, f"{name}_peak_Ah", 1.0)
            supervisor.close_half_cycle(m, sign * current_A, 3.7, RECORD)
            assert (getattr(m, f"{name}_Ah") == 0.0) == closed


def test_a_pulse_that_the_device_ended_early_or_late() -> None:
    for timed_s, force_s, long_s, counted_s in (
        (10.0, 6.0, 6.0, 6.0),
        (10.0, 12.0, 6.0, 4.0),
        (10.0, 10.0, 4.0, 4.0),
        (10.0, 30.0, 6.0, 0.0),
        (0.5, 6.0, 6.0, 0.5),
    ):
        m = new_memory(RECORD)
        m.force_current_A, m.force_device_timed_s = -8e-3, timed_s
        m.force_s, m.long_s = force_s, long_s
        supervisor.count_charge(m, OUTPUT_OFF, 0.0, RECORD)
        assert m.fall_s == counted_s


def test_rows_of_a_command_add_up() -> None:
    m = new_memory(RECORD)
    limits = replace(RECORD, copper_floor_operate_V=3.1)
    wrong = DISCHARGE_COMMAND._replace(current_A=-1.0, voltage_bound_V=2.0, period_s=0.0)
    assert supervisor.command_conditions(m, wrong, limits, 298.15, math.nan, 0.0, 0) == (
        faults.PERMISSION_TOO_LONG
        | faults.COMMAND_COPPER
        | faults.COMMAND_VOLTAGE
        | faults.COMMAND_CURRENT
        | faults.COMMAND_BLIND
    )
    unknown = wrong._replace(envelope=9, voltage_bound_V=3.2)
    assert supervisor.command_conditions(m, unknown, limits, 298.15, 3.7, 0.0, 0) == (
        faults.PERMISSION_TOO_LONG | faults.ENVELOPE_UNKNOWN
    )


def test_the_same_command_is_the_same_in_every_field() -> None:
    nan = math.nan
    timed = PULSE_COMMAND._replace(device_timed_s=5.0)
    brief = PULSE_COMMAND._replace(device_timed_s=0.5)
    untimed = PULSE_COMMAND._replace(device_timed_s=0.0)
    for before, after, same in (
        (PULSE_COMMAND, PULSE_COMMAND, True),
        (PULSE_COMMAND, PULSE_COMMAND._replace(period_s=9.0, valid_for_s=9.0, tag=1), True),
        (PULSE_COMMAND, PULSE_COMMAND._replace(kind=CHARGE_COMMAND.kind), False),
        (PULSE_COMMAND, PULSE_COMMAND._replace(current_A=-7e-3), False),
        (PULSE_COMMAND, PULSE_COMMAND._replace(voltage_bound_V=3.1), False),
        (PULSE_COMMAND, PULSE_COMMAND._replace(voltage_bound_V=nan), False),
        (PULSE_COMMAND, timed, False),
        (PULSE_COMMAND, untimed, True),
        (untimed, PULSE_COMMAND, True),
        (untimed, timed, False),
        (timed, timed, True),
        (timed, PULSE_COMMAND, False),
        (timed, untimed, False),
        (brief, untimed, False),
        (untimed, brief, False),
        (timed, timed._replace(device_timed_s=6.0), False),
        (REST_COMMAND, REST_COMMAND, True),
        (REST_COMMAND, REST_COMMAND._replace(voltage_bound_V=3.0), True),
        (REST_COMMAND, PULSE_COMMAND, False),
    ):
        m = new_memory(RECORD)
        supervisor.put_in_force(m, before)
        assert supervisor.same_command(m, after) == same
        supervisor.put_in_force(m, after)
        assert m.force_changed == (0 if same and before.envelope == after.envelope else 1)


def test_a_short_pulse_timed_by_the_device_may_end_with_output_off() -> None:
    for timed_s, expected in ((0.5, -1), (1.0, -1), (0.0, 1), (math.nan, 1)):
        m = new_memory(RECORD)
        command = PULSE_COMMAND._replace(device_timed_s=timed_s)
        for _ in range(2):
            supervisor.put_in_force(m, command)
            assert m.output_expected == expected


def test_rest_is_in_force_after_a_refusal_and_open_after_a_trip() -> None:
    bench = Bench().settle(CHARGE_COMMAND)
    bench.step(CHARGE_COMMAND, voltage_V=math.nan)
    assert (bench.m.force_kind, bench.m.output_expected) == (HOLD_0A, -1)
    assert math.isnan(bench.m.force_bound_V)
    assert math.isnan(bench.m.force_device_timed_s)
    bench.step(CHARGE_COMMAND, voltage_V=4.5)
    assert (bench.m.force_kind, bench.m.output_expected) == (OPEN, 0)


def test_rows_of_one_function_do_not_hide_each_other() -> None:
    m = new_memory(RECORD)
    m.reference_valid, m.reference_at_rest, m.reference_V = 1, 1, 4.0
    assert supervisor.watch_voltage(m, 1.0, 1e-3, 1, RECORD) == (
        faults.VOLTAGE_AGAINST_CURRENT | faults.VOLTAGE_JUMP
    )
    m = new_memory(RECORD)
    m.open_envelope, m.open_charge_Ah, m.climb_Ah, m.long_s = 1, 1.0, 1.0, 1.0
    assert supervisor.count_charge(m, 1, 1e-3, RECORD) == (
        faults.HALF_CYCLE_CHARGE | faults.ENVELOPE_OVERRUN
    )
    command = PULSE_COMMAND._replace(device_timed_s=60.0)
    m = new_memory(RECORD)
    supervisor.put_in_force(m, command)
    m.open_s, m.force_s = 90.0, 20.0  # another 40 s would not fit
    assert supervisor.envelope_conditions(m, command, RECORD, 298.15) == faults.ENVELOPE_TIME
    m = new_memory(RECORD)
    supervisor.advance_time(m, 0, 100.0, 50.0)
    supervisor.advance_time(m, 1, 100.5, 49.0)
    assert (m.long_s, m.clock_s) == (0.5, 0.0)
    sample = Bench().sample(voltage_V=4.5, temperature_K=math.nan)
    got = supervisor.reading_conditions(m, sample, RECORD, 4.5, 0.0)
    assert got == faults.VOLTAGE_HIGH_WARN | faults.VOLTAGE_HIGH_TRIP | faults.TEMPERATURE_INVALID


def test_clocks_may_differ_by_exactly_their_tolerance() -> None:
    # 1 s and 5 % of 20 s is 2 s, to the bit.
    for device_s, rows in (
        (22.0, 0),
        (math.nextafter(22.0, 99.0), faults.CLOCKS_DISAGREE),
        (18.0, 0),
        (math.nextafter(18.0, 0.0), faults.CLOCKS_DISAGREE),
    ):
        m = new_memory(RECORD)
        supervisor.advance_time(m, 0, 0.0, 0.0)
        assert supervisor.advance_time(m, 1, 20.0, device_s) == rows
        assert (m.long_s, m.clock_s) == (max(20.0, device_s), min(20.0, device_s))


def test_a_step_against_the_current_needs_more_than_50_mV_and_a_current() -> None:
    zero_A = RECORD.zero_current_A
    some_A = math.nextafter(zero_A, 1.0)
    for sign in (1.0, -1.0):
        for current_A, step_V, rows in (
            (some_A, -0.05, 0),
            (some_A, math.nextafter(-0.05, -1.0), faults.VOLTAGE_AGAINST_CURRENT),
            (some_A, 0.06, 0),
            (zero_A, -0.06, 0),
            (zero_A, 0.06, 0),
        ):
            m = new_memory(RECORD)
            m.reference_valid, m.reference_at_rest, m.reference_V = 1, 1, 0.0
            got = supervisor.watch_voltage(m, sign * step_V, sign * current_A, 1, RECORD)
            assert got == rows
            assert m.reference_at_rest == (current_A == zero_A)


def test_a_pulse_of_no_duration_is_timed_by_the_host() -> None:
    m = new_memory(RECORD)
    command = PULSE_COMMAND._replace(device_timed_s=0.0, period_s=200.0, current_A=-1e-3)
    got = supervisor.envelope_conditions(m, command, RECORD, 298.15)
    assert got == faults.ENVELOPE_TIME
    m.force_device_timed_s, m.force_current_A, m.long_s, m.force_s = 0.0, -1e-3, 36.0, 36.0
    supervisor.count_charge(m, OUTPUT_OFF, -1e-3, RECORD)
    assert m.fall_Ah == pytest.approx(1e-5)


def test_a_request_may_take_exactly_the_charge_with_its_tolerance() -> None:
    pulse = RECORD.pulses[0]._replace(max_charge_Ah=1.0, max_current_A=2.0, max_on_s=3600.0)
    limits = replace(RECORD, pulses=(pulse,))
    for current_A, rows in ((-1.02, 0), (math.nextafter(-1.02, -2.0), faults.ENVELOPE_CHARGE)):
        command = PULSE_COMMAND._replace(current_A=current_A, device_timed_s=3600.0)
        got = supervisor.envelope_conditions(new_memory(limits), command, limits, 298.15)
        assert got == rows


def test_a_voltage_beyond_warn_bars_only_what_leads_further_out() -> None:
    m = new_memory(RECORD)
    high, low = faults.VOLTAGE_HIGH_WARN, faults.VOLTAGE_LOW_WARN
    for command, present, rows in (
        (CHARGE_COMMAND, high, faults.CHARGE_ABOVE_WARN),
        (CHARGE_COMMAND, low | faults.COPPER_WARN, 0),
        (DISCHARGE_COMMAND, high, 0),
        (DISCHARGE_COMMAND, low, faults.DISCHARGE_BELOW_WARN),
        (DISCHARGE_COMMAND, faults.COPPER_WARN, faults.DISCHARGE_BELOW_WARN),
        (DISCHARGE_COMMAND, 0, 0),
        (PULSE_COMMAND, low | faults.COPPER_WARN, 0),
    ):
        got = supervisor.command_conditions(m, command, RECORD, 298.15, 3.7, 0.0, present)
        assert got == rows
    wrong = CHARGE_COMMAND._replace(current_A=1.0)
    assert supervisor.command_conditions(m, wrong, RECORD, 298.15, 3.7, 0.0, high) == (
        faults.COMMAND_CURRENT | faults.CHARGE_ABOVE_WARN
    )
    wrong = DISCHARGE_COMMAND._replace(current_A=-1.0)
    assert supervisor.command_conditions(m, wrong, RECORD, 298.15, 3.7, 0.0, low) == (
        faults.COMMAND_CURRENT | faults.DISCHARGE_BELOW_WARN
    )


def test_what_is_in_force_after_an_open_command_is_open() -> None:
    bench = Bench().settle(CHARGE_COMMAND)
    bench.step(OPEN_COMMAND)
    assert (bench.m.force_kind, bench.m.force_current_A, bench.m.output_expected) == (OPEN, 0.0, 0)


def test_a_current_is_judged_against_its_own_direction() -> None:
    zero_A = RECORD.zero_current_A
    beyond_A = math.nextafter(zero_A, 1.0)
    for force_A, current_A, rows in (
        (0.0, zero_A, 0),
        (0.0, -zero_A, 0),
        (0.0, beyond_A, faults.CURRENT_WITHOUT_COMMAND),
        (0.0, -beyond_A, faults.CURRENT_WITHOUT_COMMAND),
        (math.nan, beyond_A, faults.CURRENT_WITHOUT_COMMAND),
        (1e-3, -zero_A, 0),
        (1e-3, -beyond_A, faults.CURRENT_WRONG_SIGN),
        (-1e-3, zero_A, 0),
        (-1e-3, beyond_A, faults.CURRENT_WRONG_SIGN),
        (5e-324, -beyond_A, faults.CURRENT_WRONG_SIGN | faults.CURRENT_ABOVE_COMMAND),
    ):
        m = new_memory(RECORD)
        m.force_current_A = force_A
        assert supervisor.plausible_current(m, current_A, RECORD) == rows


def test_nan_in_a_count_stays_until_its_half_cycle_ends() -> None:
    for name, current_A in (("climb_Ah", 1e-3), ("fall_Ah", -1e-3)):
        m = new_memory(RECORD)
        setattr(m, name, math.nan)
        for _ in range(2):
            assert supervisor.count_half_cycle(m, 0.0, 0.0, 1.0, RECORD) == 0
            assert supervisor.count_half_cycle(m, -current_A, -current_A, 1.0, RECORD) == 0
        got = supervisor.count_half_cycle(m, current_A, current_A, 1.0, RECORD)
        assert got == faults.HALF_CYCLE_CHARGE


def test_a_peak_is_the_highest_while_current_flows() -> None:
    for sign, name in ((1.0, "climb_peak_Ah"), (-1.0, "fall_peak_Ah")):
        m = new_memory(RECORD)
        for charge_Ah, current_A, peak_Ah in (
            (1e-5, 1e-3, 1e-5),
            (1e-5, 1e-6, 1e-5),
            (-1e-5, -1e-3, 1e-5),
            (1e-5, 1e-3, 2e-5),
        ):
            supervisor.count_half_cycle(m, sign * charge_Ah, sign * current_A, 1.0, RECORD)
            assert getattr(m, name) == pytest.approx(peak_Ah)


def test_what_the_driver_saw_stands_beside_the_state_of_the_output() -> None:
    sample = Bench().sample(output=7, quality=QUALITY_STALE | QUALITY_SATURATED)
    got = supervisor.reading_conditions(new_memory(RECORD), sample, RECORD, 3.7, 0.0)
    assert got == faults.OUTPUT_UNKNOWN_STATE | faults.STALE | faults.SATURATED


def test_two_rows_that_have_waited_are_active_together() -> None:
    m = new_memory(RECORD)
    both = faults.STALE | faults.DUPLICATE
    assert supervisor.debounce(m, both) == 0
    assert supervisor.debounce(m, both) == both


def test_an_absurd_device_interval_counts_as_none() -> None:
    longest_s = math.nextafter(1e7, 0.0)
    for device_s, long_s, short_s in (
        (longest_s, longest_s, 0.5),
        (1e7, 0.5, 0.0),
        (-1.0, 0.5, 0.0),
    ):
        m = new_memory(RECORD)
        supervisor.advance_time(m, 0, 0.0, 0.0)
        supervisor.advance_time(m, 1, 0.5, device_s)
        assert (m.long_s, m.clock_s) == (long_s, short_s)
