"""What the supervisor remembers from sample to sample: latches, envelopes, half cycles."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from controller.domain.command import HOLD_0A, OPEN, Command
from controller.domain.sample import (
    OUTPUT_OFF,
    OUTPUT_ON,
    OUTPUT_UNKNOWN,
    QUALITY_NO_REPLY,
    QUALITY_OVER_TEMPERATURE,
    QUALITY_READBACK_MISMATCH,
)
from controller.domain.verdict import ALLOW, HOLD, REST, TRIP, WARN
from controller.safety import faults
from controller.safety.memory import memory_from_dict, memory_to_dict, new_memory, start_again
from controller.safety.supervisor import acknowledge, review
from tests.safety.build import (
    CHARGE_COMMAND,
    DISCHARGE_COMMAND,
    OPEN_COMMAND,
    PULSE_COMMAND,
    RECORD,
    REST_COMMAND,
    TIMED_COMMAND,
    Bench,
    names,
    reading,
)

SLOW_CHARGE = CHARGE_COMMAND._replace(period_s=60.0, valid_for_s=120.0)
SLOW_DISCHARGE = DISCHARGE_COMMAND._replace(period_s=60.0, valid_for_s=120.0)
NAN = math.nan


def run(bench: Bench, command: Command, hours: float, voltage_V: float = 3.7) -> int:
    """Run `command` in 60 s steps; return the number of allowed samples."""
    allowed = 0
    for index in range(round(hours * 60.0)):
        verdict = bench.step(command, 60.0, voltage_V=voltage_V + 1e-5 * (index % 2))
        if verdict.action > WARN:
            break
        allowed += 1
    return allowed


# Latch and acknowledgement.


def test_a_trip_stays_when_its_condition_is_gone() -> None:
    bench = Bench().settle(CHARGE_COMMAND)
    assert bench.step(CHARGE_COMMAND, voltage_V=4.5).action == TRIP
    for command in (CHARGE_COMMAND, REST_COMMAND, OPEN_COMMAND):
        verdict = bench.step(command)
        assert verdict.action == TRIP
        assert "voltage_high_trip" in names(verdict)


def test_acknowledged_with_the_condition_gone_the_cell_cycles_again() -> None:
    bench = Bench().settle(CHARGE_COMMAND)
    bench.step(CHARGE_COMMAND, voltage_V=4.5)
    sample = bench.sample()
    assert acknowledge(bench.m, RECORD, sample) == (True, 0)
    bench.last = sample
    bench.in_force = REST_COMMAND
    for command in (REST_COMMAND, CHARGE_COMMAND, CHARGE_COMMAND):
        assert bench.step(command) == (ALLOW, 0)


@pytest.mark.parametrize(
    ("values", "row"),
    [
        ({"output": OUTPUT_ON}, faults.OUTPUT_ON_THOUGH_OPEN),
        ({"output": OUTPUT_UNKNOWN}, faults.OUTPUT_UNKNOWN_STATE),
        ({"voltage_V": 4.41}, faults.VOLTAGE_HIGH_TRIP),
        ({"voltage_V": 1.8}, faults.COPPER_TRIP),
        ({"temperature_K": 334.0}, faults.TEMPERATURE_HIGH_TRIP),
        ({"temperature_K": NAN}, faults.TEMPERATURE_INVALID),
        ({"current_A": 1e-3}, faults.CURRENT_WITHOUT_COMMAND),
        ({"quality": QUALITY_READBACK_MISMATCH}, faults.READBACK_MISMATCH),
        ({"quality": QUALITY_OVER_TEMPERATURE}, faults.INSTRUMENT_TOO_WARM),
        ({"quality": QUALITY_NO_REPLY}, faults.NO_REPLY),
    ],
)
def test_not_acknowledged_while_the_condition_stands(values: dict[str, float], row: int) -> None:
    bench = Bench().settle()
    bench.step(REST_COMMAND, voltage_V=4.5)
    before = memory_to_dict(bench.m)
    done, remaining = acknowledge(bench.m, RECORD, bench.sample(**values))
    assert not done
    assert remaining & row
    assert memory_to_dict(bench.m) == before
    assert bench.step(REST_COMMAND).action == TRIP


def test_warnings_do_not_bar_acknowledgement() -> None:
    bench = Bench().settle()
    bench.step(REST_COMMAND, voltage_V=4.5)
    assert acknowledge(bench.m, RECORD, bench.sample(voltage_V=4.33)) == (True, 0)


def test_nothing_latched_nothing_is_reset() -> None:
    bench = Bench().settle(SLOW_CHARGE)
    run(bench, SLOW_CHARGE, 0.5)
    before = memory_to_dict(bench.m)
    assert acknowledge(bench.m, RECORD, bench.sample()) == (True, 0)
    assert memory_to_dict(bench.m) == before


def test_acknowledging_overcharge_lets_the_cell_only_discharge() -> None:
    limits = replace(RECORD, max_half_cycle_charge_Ah=0.5e-3)
    bench = Bench(limits).settle(SLOW_CHARGE)
    assert run(bench, SLOW_CHARGE, 1.0) < 35
    sample = bench.sample()
    assert acknowledge(bench.m, limits, sample) == (True, 0)
    bench.last, bench.in_force = sample, REST_COMMAND
    bench.step(REST_COMMAND)
    assert bench.step(SLOW_DISCHARGE) == (ALLOW, 0)
    assert run(bench, SLOW_DISCHARGE, 0.1) == 6
    bench.step(SLOW_CHARGE)
    assert run(bench, SLOW_CHARGE, 1.0) < 8
    assert bench.m.latched == faults.HALF_CYCLE_CHARGE


# What a verdict puts in force.


def test_after_a_hold_current_that_goes_on_is_a_trip() -> None:
    bench = Bench().settle(CHARGE_COMMAND)
    assert bench.step(CHARGE_COMMAND, voltage_V=NAN).action == HOLD
    bench.step(REST_COMMAND, current_A=1e-3)
    verdict = bench.step(REST_COMMAND, current_A=1e-3)
    assert verdict.action == TRIP
    assert names(verdict) == ["current_without_command"]


def test_after_a_hold_the_output_may_be_off() -> None:
    bench = Bench().settle(CHARGE_COMMAND)
    assert bench.step(CHARGE_COMMAND, voltage_V=NAN).action == HOLD
    assert bench.step(REST_COMMAND, output=OUTPUT_OFF, voltage_V=NAN).action == ALLOW


def test_one_bad_sample_holds_for_that_sample_only() -> None:
    bench = Bench().settle(CHARGE_COMMAND)
    assert bench.step(CHARGE_COMMAND, current_A=NAN).action == HOLD
    assert bench.step(CHARGE_COMMAND) == (ALLOW, 0)
    assert bench.step(CHARGE_COMMAND) == (ALLOW, 0)


def test_an_open_command_is_never_turned_into_hold() -> None:
    for values in ({"temperature_K": NAN}, {"quality": QUALITY_NO_REPLY}, {"voltage_V": NAN}):
        bench = Bench().settle()
        verdict = bench.step(OPEN_COMMAND, **values)
        assert verdict.action == WARN
        assert verdict.causes
    assert bench.step(OPEN_COMMAND, voltage_V=4.5).action == TRIP


def test_an_open_command_may_say_anything_else() -> None:
    bench = Bench().settle()
    garbage = Command(OPEN, NAN, NAN, NAN, NAN, NAN, 99, -5)
    assert bench.step(garbage) == (ALLOW, 0)


def test_output_expected_off_after_open_and_on_after_hold() -> None:
    bench = Bench().settle(OPEN_COMMAND)
    assert bench.step(REST_COMMAND) == (ALLOW, 0)
    assert bench.step(REST_COMMAND, output=OUTPUT_ON, voltage_V=3.7) == (ALLOW, 0)
    assert names(bench.step(REST_COMMAND, output=OUTPUT_OFF, voltage_V=NAN)) == [
        "voltage_invalid",
        "output_unexpectedly_off",
    ]


def test_rest_is_stronger_than_hold() -> None:
    bench = Bench().settle(CHARGE_COMMAND)
    bench.step(CHARGE_COMMAND, current_A=2e-3)
    verdict = bench.step(CHARGE_COMMAND._replace(kind=9), current_A=2e-3)
    assert verdict.action == REST
    assert set(names(verdict)) == {"command_invalid", "current_above_command"}


# Hysteresis.


def test_voltage_warnings_clear_5_mV_inside() -> None:
    bench = Bench().settle()
    for voltage_V, action in ((4.321, WARN), (4.3155, WARN), (4.3145, ALLOW), (4.3155, ALLOW)):
        assert bench.step(REST_COMMAND, voltage_V=voltage_V).action == action
    for voltage_V, action in ((2.949, WARN), (2.9545, WARN), (2.9555, ALLOW), (2.9545, ALLOW)):
        assert bench.step(REST_COMMAND, voltage_V=voltage_V).action == action


def test_copper_warning_clears_inside_operate() -> None:
    bench = Bench(replace(RECORD, voltage_min_warn_V=2.0)).settle()
    for voltage_V, action in ((2.846, ALLOW), (2.844, WARN), (2.849, WARN), (2.8501, ALLOW)):
        assert bench.step(REST_COMMAND, voltage_V=voltage_V).action == action


def test_temperature_warnings_clear_1_K_inside() -> None:
    bench = Bench().settle()
    for temperature_K, action in ((323.2, WARN), (322.2, WARN), (322.1, ALLOW), (322.2, ALLOW)):
        assert bench.step(REST_COMMAND, temperature_K=temperature_K).action == action
    for temperature_K, action in ((268.1, WARN), (269.1, WARN), (269.2, ALLOW), (269.1, ALLOW)):
        assert bench.step(REST_COMMAND, temperature_K=temperature_K).action == action


def test_current_comes_back_1_K_inside_operate() -> None:
    bench = Bench().settle()
    for temperature_K, action in ((321.2, HOLD), (320.2, HOLD), (320.1, ALLOW), (320.2, ALLOW)):
        verdict = bench.step(DISCHARGE_COMMAND, temperature_K=temperature_K)
        assert verdict.action == action
    bench.step(DISCHARGE_COMMAND, temperature_K=273.1)
    for temperature_K, action in ((274.1, HOLD), (274.2, ALLOW)):
        assert bench.step(DISCHARGE_COMMAND, temperature_K=temperature_K).action == action


def test_treatment_comes_back_1_K_below_45_degC() -> None:
    bench = Bench().settle()
    treatment = DISCHARGE_COMMAND._replace(tag=1)
    for temperature_K, action in ((318.2, HOLD), (317.2, HOLD), (317.1, ALLOW), (317.2, ALLOW)):
        assert bench.step(treatment, temperature_K=temperature_K).action == action


def test_consecutive_means_consecutive() -> None:
    bench = Bench().settle(CHARGE_COMMAND)
    for _ in range(4):
        assert bench.step(CHARGE_COMMAND, current_A=1.2e-3).action == ALLOW
        assert bench.step(CHARGE_COMMAND).action == ALLOW


# Pulse envelopes.


def test_the_envelope_replaces_the_continuous_levels_while_open() -> None:
    bench = Bench().settle(PULSE_COMMAND)
    # 8 mA and 2.92 V are beyond the continuous trip and warn.
    assert bench.step(PULSE_COMMAND, voltage_V=2.92) == (ALLOW, 0)
    bench.step(REST_COMMAND)
    assert bench.step(REST_COMMAND, voltage_V=2.92).action == WARN


def test_toggling_the_request_uses_up_openings_and_waits() -> None:
    bench = Bench().settle()
    openings, refused = 0, 0
    was_pulsing = False
    for index in range(2000):
        wanted = PULSE_COMMAND if index % 2 == 0 else REST_COMMAND
        verdict = bench.step(wanted)
        pulsing = bench.in_force.envelope == 1
        openings += pulsing and not was_pulsing
        was_pulsing = pulsing
        refused += verdict.action == HOLD
    assert openings == 3
    assert refused == 1000 - 3
    assert bench.m.envelope_counts == [3, 0]


def test_a_change_of_envelope_closes_one_and_opens_the_other() -> None:
    bench = Bench().settle(PULSE_COMMAND)
    other = PULSE_COMMAND._replace(envelope=2, current_A=-6e-3)
    assert bench.step(other) == (ALLOW, 0)
    assert bench.m.envelope_counts == [1, 1]
    assert names(bench.step(PULSE_COMMAND)) == ["envelope_off_time"]
    assert bench.m.open_envelope == 0


def test_a_refused_sample_in_mid_pulse_closes_the_envelope() -> None:
    bench = Bench().settle(PULSE_COMMAND)
    assert bench.step(PULSE_COMMAND, voltage_V=NAN).action == HOLD
    assert bench.m.open_envelope == 0
    assert names(bench.step(PULSE_COMMAND)) == ["envelope_off_time"]


def test_the_same_envelope_with_another_set_point_is_one_opening() -> None:
    bench = Bench().settle(PULSE_COMMAND)
    assert bench.step(PULSE_COMMAND._replace(current_A=-9e-3)) == (ALLOW, 0)
    assert bench.step(REST_COMMAND._replace(envelope=1)) == (ALLOW, 0)
    assert bench.m.envelope_counts == [1, 0]
    # 2 s at 8 mA, the edge to 9 mA counted with the new reading, and 1 s of it.
    assert bench.m.open_charge_Ah == pytest.approx((2 * 8e-3 + 9e-3) / 3600.0)
    assert bench.m.open_s == pytest.approx(3.0)


def test_waiting_starts_again_after_a_restart() -> None:
    bench = Bench().settle(PULSE_COMMAND)
    bench.step(REST_COMMAND)
    bench.step(REST_COMMAND, 50.0)
    start_again(bench.m)
    bench.step(REST_COMMAND, 50.0)
    assert names(bench.step(PULSE_COMMAND, 50.0)) == ["envelope_off_time"]
    bench.step(REST_COMMAND, 5.0)
    assert bench.step(PULSE_COMMAND, 5.0) == (ALLOW, 0)


def test_waiting_counts_the_slower_clock_and_pulses_the_faster() -> None:
    bench = Bench().settle(PULSE_COMMAND)
    last = bench.last
    bench.step(PULSE_COMMAND, t_device_s=last.t_device_s + 1.5, t_host_s=last.t_host_s + 1.0)
    assert bench.m.open_s == pytest.approx(2.5)
    last = bench.last
    bench.step(PULSE_COMMAND, t_device_s=last.t_device_s + 1.0, t_host_s=last.t_host_s + 1.5)
    assert bench.m.open_s == pytest.approx(4.0)
    assert bench.m.clock_s == pytest.approx(2.0 + 1.0 + 1.0)


def test_without_device_time_host_time_counts() -> None:
    bench = Bench().settle(PULSE_COMMAND)
    bench.step(PULSE_COMMAND, 2.0, t_device_s=NAN)
    bench.step(PULSE_COMMAND, 2.0)
    assert bench.m.open_s == pytest.approx(5.0)
    assert bench.m.clock_s == pytest.approx(6.0)


def test_a_pulse_timed_by_the_device_counts_no_longer_than_it_was_told() -> None:
    bench = Bench().settle(TIMED_COMMAND)
    bench.step(TIMED_COMMAND, 6.0)
    bench.step(REST_COMMAND, 6.0, output=OUTPUT_OFF, current_A=0.0, voltage_V=NAN)
    assert bench.m.fall_s == pytest.approx(10.0)
    assert bench.m.fall_Ah == pytest.approx(8e-3 * 10.0 / 3600.0)
    assert bench.m.last_current_A == 0.0


def test_a_late_reading_after_a_pulse_timed_by_the_device_is_no_overrun() -> None:
    short = TIMED_COMMAND._replace(envelope=2, current_A=-6e-3)
    bench = Bench().settle(short, samples=1)
    off = {"output": OUTPUT_OFF, "current_A": 0.0, "voltage_V": NAN}
    assert bench.step(REST_COMMAND, 30.0, **off) == (ALLOW, 0)
    assert bench.step(REST_COMMAND, 1.0, **off).action == TRIP  # hold_0A should be on by now


def test_a_pulse_timed_by_the_device_that_does_not_end_is_overrun() -> None:
    short = TIMED_COMMAND._replace(envelope=2, current_A=-6e-3)
    bench = Bench().settle(short, samples=1)
    verdict = bench.step(short, 10.4)
    assert verdict.action == REST
    assert "envelope_overrun" in names(verdict)


# Half cycles.


def test_short_reversals_do_not_hide_an_overcharge() -> None:
    bench = Bench().settle()
    charged_min = 0
    while bench.m.latched == 0 and charged_min < 2000:
        for command, minutes in ((SLOW_CHARGE, 5), (SLOW_DISCHARGE, 1)):
            for _ in range(minutes):
                bench.step(command, 60.0)
                charged_min += 1 if command is SLOW_CHARGE else -1
                if bench.m.latched:
                    break
    assert bench.m.latched == faults.HALF_CYCLE_CHARGE
    # 4 mAh at 1 mA are 240 min net.
    assert charged_min == pytest.approx(240, abs=3)


@pytest.mark.parametrize(
    ("charge", "discharge"), [(SLOW_CHARGE, SLOW_DISCHARGE), (SLOW_DISCHARGE, SLOW_CHARGE)]
)
def test_a_half_cycle_ends_when_four_fifths_have_come_back(
    charge: Command, discharge: Command
) -> None:
    bench = Bench().settle(charge, samples=1)
    assert run(bench, charge, 2.0) == 120
    bench.step(discharge, 1.0)
    there = "climb" if charge is SLOW_CHARGE else "fall"
    run(bench, discharge, 1.59)
    assert getattr(bench.m, f"{there}_Ah") == pytest.approx(0.41e-3, rel=0.05)
    assert getattr(bench.m, f"{there}_s") == pytest.approx(7200.0, rel=0.01)
    assert getattr(bench.m, f"{there}_peak_Ah") == pytest.approx(2e-3, rel=0.01)
    run(bench, discharge, 0.1)
    assert getattr(bench.m, f"{there}_Ah") == 0.0
    assert getattr(bench.m, f"{there}_s") == 0.0
    assert getattr(bench.m, f"{there}_peak_Ah") == 0.0


@pytest.mark.parametrize(
    ("there", "first", "back", "reached_V", "short_V"),
    [
        ("climb", SLOW_CHARGE, SLOW_DISCHARGE, 3.005, 3.0051),
        ("fall", SLOW_DISCHARGE, SLOW_CHARGE, 4.295, 4.2949),
    ],
)
def test_a_half_cycle_ends_at_the_other_cut_off(
    there: str, first: Command, back: Command, reached_V: float, short_V: float
) -> None:
    bench = Bench().settle(first)
    run(bench, first, 1.0)
    bench.step(back, 60.0)
    bench.step(back, 60.0, voltage_V=short_V)
    assert getattr(bench.m, f"{there}_Ah") > 0.9e-3
    bench.step(REST_COMMAND, 60.0, voltage_V=short_V)
    bench.step(REST_COMMAND, 60.0, voltage_V=reached_V)  # at rest it shows nothing
    assert getattr(bench.m, f"{there}_Ah") > 0.9e-3
    bench.step(back, 60.0, voltage_V=short_V)
    bench.step(back, 60.0, voltage_V=reached_V)
    assert getattr(bench.m, f"{there}_Ah") == 0.0
    assert getattr(bench.m, f"{there}_s") == 0.0


def test_unread_current_counts_as_commanded() -> None:
    bench = Bench().settle(SLOW_CHARGE)
    before_Ah = bench.m.climb_Ah
    bench.step(SLOW_CHARGE, 36.0, current_A=NAN)
    assert bench.m.climb_Ah - before_Ah == pytest.approx(1e-5)
    assert bench.m.last_current_A == 1e-3
    bench.step(REST_COMMAND, 36.0)
    assert bench.m.climb_Ah - before_Ah == pytest.approx(1e-5)


def test_charge_is_the_mean_of_readings_under_one_command() -> None:
    bench = Bench().settle(SLOW_CHARGE)
    before_Ah = bench.m.climb_Ah
    bench.step(SLOW_CHARGE, 36.0, current_A=0.5e-3)
    assert bench.m.climb_Ah - before_Ah == pytest.approx(0.75e-5)
    assert bench.m.climb_peak_Ah == bench.m.climb_Ah


def test_charge_given_back_never_goes_below_nothing() -> None:
    bench = Bench().settle(SLOW_CHARGE)
    bench.step(SLOW_DISCHARGE, 1.0)
    bench.step(SLOW_DISCHARGE, 36.0)
    assert bench.m.climb_Ah == 0.0
    assert bench.m.fall_Ah == pytest.approx(1e-5)
    bench.step(SLOW_CHARGE, 1.0)
    bench.step(SLOW_CHARGE, 18.0)
    assert bench.m.fall_Ah == pytest.approx(0.5e-5, rel=0.1)


# Voltage watch.


def test_a_changed_voltage_starts_the_frozen_count_again() -> None:
    bench = Bench().settle(CHARGE_COMMAND)
    for index in range(600):
        verdict = bench.step(CHARGE_COMMAND, voltage_V=3.8 + 1e-6 * (index // 150))
        assert verdict.action == ALLOW
    assert bench.m.unchanged_charge_Ah == pytest.approx(149 * 1e-3 / 3600.0)


def test_frozen_while_discharging_counts_too() -> None:
    bench = Bench().settle(DISCHARGE_COMMAND)
    verdicts = [bench.step(DISCHARGE_COMMAND, voltage_V=3.5).action for _ in range(230)]
    assert verdicts.index(HOLD) == pytest.approx(217, abs=2)


def test_no_voltage_in_between_nothing_to_compare_with() -> None:
    bench = Bench(replace(RECORD, step_jump_V=0.1)).settle()
    assert names(bench.step(REST_COMMAND, voltage_V=3.9)) == ["voltage_jump"]
    bench.step(REST_COMMAND, voltage_V=NAN)
    assert bench.step(REST_COMMAND, voltage_V=3.5) == (ALLOW, 0)


def test_voltage_in_a_pulse_is_not_compared() -> None:
    bench = Bench(replace(RECORD, step_jump_V=0.1)).settle(PULSE_COMMAND, samples=1)
    assert bench.step(PULSE_COMMAND, voltage_V=3.2) == (ALLOW, 0)
    assert bench.step(REST_COMMAND, voltage_V=3.2) == (ALLOW, 0)
    assert bench.step(REST_COMMAND, voltage_V=3.7) == (ALLOW, 0)
    assert bench.step(REST_COMMAND, voltage_V=3.9).action == HOLD


def test_a_voltage_falling_while_current_already_flows_is_no_wiring_fault() -> None:
    bench = Bench().settle(CHARGE_COMMAND)
    assert bench.step(CHARGE_COMMAND, voltage_V=3.9) == (ALLOW, 0)
    assert bench.step(CHARGE_COMMAND, voltage_V=3.8) == (ALLOW, 0)


# Time.


def test_the_first_sample_sets_the_time_and_shows_no_interval() -> None:
    m = new_memory(RECORD)
    assert review(m, reading(t_host_s=1e6, t_device_s=0.0), REST_COMMAND, RECORD) == (ALLOW, 0)
    assert (m.long_s, m.clock_s, m.unseen_s) == (0.0, 0.0, 0.0)


def test_a_first_sample_without_time_is_the_first_of_two() -> None:
    m = new_memory(RECORD)
    assert review(m, reading(t_host_s=NAN), REST_COMMAND, RECORD) == (ALLOW, 0)
    verdict = review(m, reading(t_host_s=1.0, sequence=1, t_device_s=51.0), REST_COMMAND, RECORD)
    assert names(verdict) == ["time_stopped"]


def test_a_gap_is_told_once_and_the_next_sample_is_fresh_again() -> None:
    bench = Bench().settle()
    assert bench.step(REST_COMMAND, 60.0) == (ALLOW, 0)
    assert names(bench.step(REST_COMMAND, 60.1)) == ["no_fresh_sample"]
    assert bench.step(REST_COMMAND, 1.0) == (ALLOW, 0)


def test_absurd_device_intervals_are_not_counted() -> None:
    bench = Bench().settle(CHARGE_COMMAND)
    verdict = bench.step(CHARGE_COMMAND, t_device_s=bench.last.t_device_s + 1e7)
    assert verdict.action == ALLOW
    assert bench.m.climb_s == pytest.approx(2.0)


# Checkpoint.


def test_a_latch_survives_the_checkpoint() -> None:
    bench = Bench().settle(PULSE_COMMAND)
    bench.step(PULSE_COMMAND, voltage_V=4.6)
    text = json.dumps(memory_to_dict(bench.m), allow_nan=False)
    m = memory_from_dict(json.loads(text), RECORD)
    assert memory_to_dict(m) == memory_to_dict(bench.m)
    start_again(m)
    assert Bench(memory=m).step(REST_COMMAND).action == TRIP
    assert m.envelope_counts == [1, 0]


def test_start_again_forgets_only_what_was_in_force() -> None:
    bench = Bench().settle(SLOW_CHARGE)
    run(bench, SLOW_CHARGE, 0.5)
    bench.step(SLOW_CHARGE, current_A=1.2e-3)
    kept_Ah, kept_s, clock_s = bench.m.climb_Ah, bench.m.climb_s, bench.m.clock_s
    start_again(bench.m)
    fresh = memory_to_dict(new_memory(RECORD))
    now = memory_to_dict(bench.m)
    different = {name for name in now if now[name] != fresh[name]}
    assert different == {
        "climb_Ah",
        "climb_peak_Ah",
        "climb_s",
        "clock_s",
        "envelope_closed_s",
        "reference_V",
        "sequence",
        "t_device_s",
        "t_host_s",
    }
    assert (bench.m.climb_Ah, bench.m.climb_s, bench.m.clock_s) == (kept_Ah, kept_s, clock_s)
    assert bench.m.force_kind == HOLD_0A
