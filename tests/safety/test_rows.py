"""Each row of the fault table at its boundary: what must pass, and what must be blocked."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from controller.domain.command import HOLD_0A, Command
from controller.domain.sample import (
    LIMIT_VOLTAGE,
    OUTPUT_OFF,
    OUTPUT_ON,
    OUTPUT_UNKNOWN,
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
from controller.domain.verdict import TRIP, WARN, Verdict
from controller.safety import faults
from controller.safety.faults import FAULTS
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
)

NAN, INF = math.nan, math.inf
FULL_CHARGE = CHARGE_COMMAND._replace(current_A=2e-3)
FULL_DISCHARGE = DISCHARGE_COMMAND._replace(current_A=-3e-3)
ZERO_A = RECORD.zero_current_A


def up(x: float) -> float:
    return math.nextafter(x, INF)


def down(x: float) -> float:
    return math.nextafter(x, -INF)


Thunk = Callable[[], Verdict]


def rest(times: int = 1, **values: Any) -> Thunk:
    """At rest, hold_0A asked for, `times` samples with these values."""
    return during(REST_COMMAND, times, **values)


def during(command: Command, times: int = 1, limits: Any = RECORD, **values: Any) -> Thunk:
    """With `command` in force and asked for again."""

    def run() -> Verdict:
        bench = Bench(limits).settle(command)
        for _ in range(times):
            verdict = bench.step(command, **values)
        return verdict

    return run


def asked(command: Command, limits: Any = RECORD, **values: Any) -> Thunk:
    """From rest, `command` asked for on a sample with these values."""

    def run() -> Verdict:
        return Bench(limits).settle().step(command, **values)

    return run


def charge(**values: Any) -> Command:
    return CHARGE_COMMAND._replace(**values)


def discharge(**values: Any) -> Command:
    return DISCHARGE_COMMAND._replace(**values)


def pulse(**values: Any) -> Command:
    return PULSE_COMMAND._replace(**values)


def clock(device_s: float, host_s: float, times: int) -> Thunk:
    """At rest, with intervals of the two clocks."""

    def run() -> Verdict:
        bench = Bench().settle()
        for _ in range(times):
            last = bench.last
            verdict = bench.step(
                REST_COMMAND,
                t_device_s=last.t_device_s + device_s,
                t_host_s=last.t_host_s + host_s,
            )
        return verdict

    return run


def numbered(step: int, times: int = 1) -> Thunk:
    def run() -> Verdict:
        bench = Bench().settle()
        for _ in range(times):
            verdict = bench.step(REST_COMMAND, sequence=bench.last.sequence + step)
        return verdict

    return run


def blind_for(seconds: float, **values: Any) -> Thunk:
    """No usable sample for `seconds` in steps of 10 s, then a good one after another 10 s."""

    def run() -> Verdict:
        bench = Bench().settle()
        for _ in range(int(seconds / 10.0)):
            bench.step(REST_COMMAND, 10.0, **values)
        return bench.step(REST_COMMAND, 10.0)

    return run


def opened(times: int, **values: Any) -> Thunk:
    def run() -> Verdict:
        bench = Bench().settle(OPEN_COMMAND)
        for _ in range(times):
            verdict = bench.step(OPEN_COMMAND, **values)
        return verdict

    return run


def from_open(command: Command, **values: Any) -> Thunk:
    """From open, `command` asked for on a sample with these values."""

    def run() -> Verdict:
        return Bench().settle(OPEN_COMMAND).step(command, **values)

    return run


def moved(from_V: float, to_V: float, command: Command = REST_COMMAND, **values: Any) -> Thunk:
    """One voltage at rest, the next with `command` in force."""

    def run() -> Verdict:
        bench = Bench(WIDE).settle()
        assert bench.step(command, voltage_V=from_V).action <= WARN
        return bench.step(command, voltage_V=to_V, **values)

    return run


def frozen(seconds: float, **values: Any) -> Thunk:
    """Charge at 1 mA with the same voltage for `seconds`."""

    def run() -> Verdict:
        bench = Bench().settle(CHARGE_COMMAND)
        bench.step(CHARGE_COMMAND, voltage_V=3.8)
        for _ in range(int(seconds)):
            verdict = bench.step(CHARGE_COMMAND, voltage_V=3.8, **values)
        return verdict

    return run


def charged(command: Command, hours: float, limits: Any, voltage_V: float = 3.7) -> Thunk:
    """`command` for `hours`, in 60 s steps, with a voltage that moves a little."""

    def run() -> Verdict:
        bench = Bench(limits).settle()
        command_60 = command._replace(period_s=60.0, valid_for_s=120.0)
        bench.step(command_60, 1.0)
        for index in range(int(hours * 60.0)):
            verdict = bench.step(command_60, 60.0, voltage_V=voltage_V + 1e-5 * (index % 2))
            if verdict.action == TRIP:
                break
        return verdict

    return run


def pulsed(
    command: Command, times: int, dt_s: float = 1.0, limits: Any = RECORD, **values: Any
) -> Thunk:
    """`command` asked for again until it is refused or `times` samples have passed."""

    def run() -> Verdict:
        bench = Bench(limits).settle()
        verdict = bench.step(command, dt_s)
        for _ in range(times):
            verdict = bench.step(command, dt_s, **values)
            if verdict.action > WARN:
                break
        return verdict

    return run


def reopened(off_s: float, openings: int = 1) -> Thunk:
    """Open and close the envelope `openings` times with 100 s between; ask again after `off_s`."""

    def run() -> Verdict:
        bench = Bench().settle()
        for index in range(openings):
            if index:
                bench.step(REST_COMMAND, 50.0)
                bench.step(REST_COMMAND, 50.0)
            verdict = bench.step(PULSE_COMMAND)
            assert verdict == (0, 0), names(verdict)
            assert bench.step(REST_COMMAND) == (0, 0)
        half_s = off_s / 2.0
        bench.step(REST_COMMAND, half_s)
        return bench.step(PULSE_COMMAND, half_s)

    return run


class Case(NamedTuple):
    row: str
    passes: Thunk
    blocked: Thunk
    note: str = ""


HALF = replace(RECORD, max_half_cycle_charge_Ah=0.5e-3)
HOUR = replace(RECORD, max_half_cycle_s=1800.0)
WIDE = replace(
    RECORD,
    voltage_min_warn_V=1.0,
    voltage_min_trip_V=1.0,
    copper_floor_operate_V=-INF,
    copper_floor_trip_V=-INF,
)
SMALL_DOSE = replace(RECORD, pulses=(RECORD.pulses[0]._replace(max_charge_Ah=1.6e-4),))
SUB_ZERO = charge(current_A=0.5 * ZERO_A)
COLD_A = 1e-3  # half of operate: allowed from 7.5 degC
MID_K = 273.15 + 7.5

CASES = [
    Case("no_reply", rest(), rest(quality=QUALITY_NO_REPLY, voltage_V=NAN, current_A=NAN)),
    Case("voltage_invalid", rest(), rest(voltage_V=NAN)),
    Case("voltage_invalid", rest(), rest(voltage_V=INF), "inf"),
    Case("voltage_invalid", rest(), rest(quality=QUALITY_VOLTAGE_INVALID), "bit"),
    Case("voltage_invalid", rest(), rest(quality=QUALITY_NO_CELL_VOLTAGE), "output on"),
    Case("current_invalid", rest(), rest(current_A=NAN)),
    Case("current_invalid", rest(), rest(current_A=-INF), "inf"),
    Case("current_invalid", rest(), rest(quality=QUALITY_CURRENT_INVALID), "bit"),
    Case(
        "temperature_invalid",
        rest(limits=replace(RECORD, temperature_declared=False), temperature_K=NAN),
        rest(temperature_K=NAN),
    ),
    Case("temperature_invalid", rest(), rest(quality=QUALITY_TEMPERATURE_INVALID), "bit"),
    Case("stale", rest(1, quality=QUALITY_STALE), rest(2, quality=QUALITY_STALE)),
    Case("duplicate", rest(1, quality=QUALITY_DUPLICATE), rest(2, quality=QUALITY_DUPLICATE)),
    Case("duplicate", clock(0.0, 1.0, 1), clock(0.0, 1.0, 2), "device time"),
    Case("duplicate", numbered(0, 1), numbered(0, 2), "number"),
    Case("out_of_order", rest(), rest(quality=QUALITY_OUT_OF_ORDER)),
    Case("out_of_order", clock(1e-9, 1.0, 1), clock(-1e-9, 1.0, 1), "device time"),
    Case("out_of_order", numbered(1), numbered(-1), "number"),
    Case("time_stopped", clock(1.0, 0.0, 1), clock(1.0, 0.0, 2)),
    Case("time_stopped", clock(1.0, 1.0, 2), clock(1.0, NAN, 2), "NaN"),
    Case("time_stopped", clock(1.0, 1e-3, 3), clock(1.0, 1e7, 3), "absurd"),
    Case("clocks_disagree", clock(1.0, 3.0, 2), clock(1.0, 3.0, 3)),
    Case("clocks_disagree", clock(21.9, 20.0, 3), clock(22.1, 20.0, 3), "device ahead"),
    Case("clocks_disagree", clock(18.1, 20.0, 3), clock(17.9, 20.0, 3), "host ahead"),
    Case("no_fresh_sample", blind_for(50.0, voltage_V=NAN), blind_for(60.0, voltage_V=NAN)),
    Case(
        "no_fresh_sample",
        blind_for(50.0, quality=QUALITY_STALE),
        blind_for(60.0, quality=QUALITY_STALE),
        "stale",
    ),
    Case("readback_mismatch", rest(), rest(quality=QUALITY_READBACK_MISMATCH)),
    Case("instrument_too_warm", rest(), rest(quality=QUALITY_OVER_TEMPERATURE)),
    Case("saturated", rest(), rest(quality=QUALITY_SATURATED)),
    Case("output_unexpectedly_off", during(TIMED_COMMAND), rest(output=OUTPUT_OFF)),
    Case(
        "output_unexpectedly_off",
        during(TIMED_COMMAND, output=OUTPUT_OFF, current_A=0.0),
        during(PULSE_COMMAND, output=OUTPUT_OFF, current_A=0.0),
        "only a device-timed pulse ends by itself",
    ),
    Case("output_unknown_state", rest(1, output=OUTPUT_UNKNOWN), rest(2, output=OUTPUT_UNKNOWN)),
    Case("output_on_though_open", opened(1), opened(1, output=OUTPUT_ON)),
    Case("voltage_high_warn", rest(voltage_V=4.32), rest(voltage_V=up(4.32))),
    Case("voltage_low_warn", rest(voltage_V=2.95), rest(voltage_V=down(2.95))),
    Case("voltage_high_trip", rest(voltage_V=4.4), rest(voltage_V=up(4.4))),
    Case("voltage_low_trip", rest(voltage_V=2.5), rest(voltage_V=down(2.5))),
    Case("charge_above_warn", asked(charge(), voltage_V=4.32), asked(charge(), voltage_V=4.321)),
    Case("charge_above_warn", asked(discharge(), voltage_V=4.321), asked(charge(), voltage_V=4.33)),
    Case(
        "discharge_below_warn",
        asked(discharge(), voltage_V=2.95),
        asked(discharge(), voltage_V=2.949),
    ),
    Case(
        "discharge_below_warn",
        asked(charge(), voltage_V=2.949),
        asked(
            discharge(voltage_bound_V=3.1),
            limits=replace(RECORD, copper_floor_operate_V=3.0),
            voltage_V=2.96,
        ),
        "Cu",
    ),
    Case(
        "charge_current_warn",
        during(FULL_CHARGE, current_A=2.5e-3),
        during(FULL_CHARGE, current_A=up(2.5e-3)),
    ),
    Case(
        "charge_current_trip",
        during(FULL_CHARGE, current_A=4e-3),
        during(FULL_CHARGE, current_A=up(4e-3)),
    ),
    Case(
        "discharge_current_warn",
        during(FULL_DISCHARGE, current_A=-3.5e-3),
        during(FULL_DISCHARGE, current_A=down(-3.5e-3)),
    ),
    Case(
        "discharge_current_trip",
        during(FULL_DISCHARGE, current_A=-5e-3),
        during(FULL_DISCHARGE, current_A=down(-5e-3)),
    ),
    Case("temperature_high_warn", rest(temperature_K=323.15), rest(temperature_K=up(323.15))),
    Case("temperature_low_warn", rest(temperature_K=268.15), rest(temperature_K=down(268.15))),
    Case("temperature_high_trip", rest(2, temperature_K=333.15), rest(2, temperature_K=up(333.15))),
    Case("temperature_high_trip", rest(1, temperature_K=340.0), rest(2, temperature_K=340.0)),
    Case(
        "temperature_low_trip", rest(2, temperature_K=263.15), rest(2, temperature_K=down(263.15))
    ),
    Case("temperature_low_trip", rest(1, temperature_K=200.0), rest(2, temperature_K=200.0)),
    Case(
        "temperature_outside_operate",
        asked(discharge(), temperature_K=321.15),
        asked(discharge(), temperature_K=up(321.15)),
    ),
    Case(
        "temperature_outside_operate",
        asked(discharge(), temperature_K=273.15),
        asked(discharge(), temperature_K=down(273.15)),
        "low",
    ),
    Case(
        "temperature_outside_operate",
        rest(temperature_K=322.0),
        asked(charge(), temperature_K=322.0),
    ),
    Case(
        "plating_too_cold",
        asked(charge(current_A=COLD_A), temperature_K=MID_K + 1e-9),
        asked(charge(current_A=COLD_A), temperature_K=MID_K - 1e-9),
    ),
    Case(
        "plating_too_cold",
        asked(FULL_CHARGE, temperature_K=288.15),
        asked(FULL_CHARGE, temperature_K=288.15 - 1e-9),
        "full current from 15 degC",
    ),
    Case(
        "plating_too_cold",
        asked(discharge(), temperature_K=273.15),
        asked(charge(current_A=1e-9), temperature_K=273.15),
        "stripping is not plating",
    ),
    Case(
        "plating_too_cold",
        asked(charge(envelope=1, current_A=4.9e-3, voltage_bound_V=4.3), temperature_K=MID_K),
        asked(charge(envelope=1, current_A=5.1e-3, voltage_bound_V=4.3), temperature_K=MID_K),
        "a pulse's share of its own envelope",
    ),
    Case(
        "treatment_too_warm",
        asked(discharge(tag=1), temperature_K=318.15),
        asked(discharge(tag=1), temperature_K=up(318.15)),
    ),
    Case(
        "treatment_too_warm",
        asked(discharge(tag=2), temperature_K=318.2),
        asked(PULSE_COMMAND, temperature_K=318.2),
        "an envelope is a treatment, a diagnostic is not",
    ),
    Case("command_invalid", asked(charge()), asked(charge(kind=4))),
    Case("command_invalid", asked(charge()), asked(charge(kind=-1)), "kind"),
    Case("command_invalid", asked(charge()), asked(charge(current_A=NAN)), "NaN"),
    Case("command_invalid", asked(charge()), asked(charge(current_A=INF)), "inf"),
    Case("command_invalid", asked(charge(current_A=5e-324)), asked(charge(current_A=0.0)), "0 A"),
    Case("command_invalid", asked(discharge()), asked(discharge(current_A=1e-3)), "sign"),
    Case("command_invalid", asked(discharge(current_A=-5e-324)), asked(discharge(current_A=0.0))),
    Case("command_invalid", asked(charge()), asked(charge(current_A=-1e-3)), "sign"),
    Case("command_invalid", asked(charge()), asked(charge(voltage_bound_V=NAN)), "no bound"),
    Case("command_invalid", asked(charge()), asked(charge(voltage_bound_V=INF)), "inf bound"),
    Case("command_invalid", rest(), asked(Command(HOLD_0A, 1e-9)), "hold_0A with current"),
    Case("command_invalid", asked(charge(device_timed_s=1e-9)), asked(charge(device_timed_s=0.0))),
    Case(
        "command_invalid",
        asked(charge(device_timed_s=down(1e7))),
        asked(charge(device_timed_s=1e7)),
        "endless",
    ),
    Case("command_invalid", asked(charge(tag=0)), asked(charge(tag=-1)), "tag"),
    Case("command_invalid", asked(charge(tag=2)), asked(charge(tag=3)), "tag"),
    Case("permission_too_long", asked(charge(period_s=60.0)), asked(charge(period_s=up(60.0)))),
    Case("permission_too_long", asked(charge(period_s=1e-9)), asked(charge(period_s=0.0))),
    Case("permission_too_long", asked(charge()), asked(charge(period_s=NAN)), "NaN"),
    Case(
        "permission_too_long",
        asked(charge(valid_for_s=120.0)),
        asked(charge(valid_for_s=up(120.0))),
    ),
    Case("permission_too_long", asked(charge(valid_for_s=1e-9)), asked(charge(valid_for_s=0.0))),
    Case("permission_too_long", asked(charge()), asked(charge(valid_for_s=NAN)), "NaN"),
    Case("command_current", asked(FULL_CHARGE), asked(charge(current_A=up(2e-3)))),
    Case("command_current", asked(FULL_DISCHARGE), asked(discharge(current_A=down(-3e-3)))),
    Case("command_voltage", asked(charge()), asked(charge(voltage_bound_V=up(4.3)))),
    Case("command_voltage", asked(discharge()), asked(discharge(voltage_bound_V=down(3.0)))),
    Case("command_voltage", asked(charge()), asked(charge(voltage_bound_V=2.9)), "would discharge"),
    Case(
        "command_copper",
        asked(discharge(voltage_bound_V=3.1), limits=replace(RECORD, copper_floor_operate_V=3.1)),
        asked(
            discharge(voltage_bound_V=down(3.1)),
            limits=replace(RECORD, copper_floor_operate_V=3.1),
        ),
    ),
    Case("command_copper", asked(pulse()), asked(pulse(voltage_bound_V=2.849)), "also in a pulse"),
    Case("command_blind", rest(voltage_V=NAN), asked(charge(), voltage_V=NAN)),
    Case(
        "command_blind",
        asked(charge()),
        asked(charge(), quality=QUALITY_NO_CELL_VOLTAGE, output=OUTPUT_OFF),
        "output off",
    ),
    Case(
        "command_blind",
        from_open(charge(), voltage_V=3.7),
        from_open(charge(), voltage_V=3.7, quality=QUALITY_CURRENT_INVALID),
        "current not seen where the output may be off",
    ),
    Case(
        "current_above_command",
        during(CHARGE_COMMAND, 2, current_A=1e-3 * 1.01 + ZERO_A),
        during(CHARGE_COMMAND, 2, current_A=1e-3 * 1.01 + ZERO_A + 1e-15),
    ),
    Case(
        "current_above_command",
        during(DISCHARGE_COMMAND, 2, current_A=-1e-3 * 1.01 - ZERO_A),
        during(DISCHARGE_COMMAND, 2, current_A=-1e-3 * 1.01 - ZERO_A - 1e-15),
        "discharge",
    ),
    Case(
        "current_above_command",
        during(CHARGE_COMMAND, 1, current_A=1.2e-3),
        during(CHARGE_COMMAND, 2, current_A=1.2e-3),
        "twice",
    ),
    Case(
        "current_wrong_sign",
        during(CHARGE_COMMAND, 2, current_A=-ZERO_A),
        during(CHARGE_COMMAND, 2, current_A=down(-ZERO_A)),
    ),
    Case(
        "current_wrong_sign",
        during(DISCHARGE_COMMAND, 2, current_A=ZERO_A),
        during(DISCHARGE_COMMAND, 2, current_A=up(ZERO_A)),
        "discharge",
    ),
    Case(
        "current_wrong_sign",
        during(CHARGE_COMMAND, 1, current_A=-5e-4),
        during(CHARGE_COMMAND, 2, current_A=-5e-4),
        "twice",
    ),
    Case("current_without_command", rest(2, current_A=ZERO_A), rest(2, current_A=up(ZERO_A))),
    Case("current_without_command", rest(2, current_A=-ZERO_A), rest(2, current_A=down(-ZERO_A))),
    Case("current_without_command", rest(1, current_A=2e-3), rest(2, current_A=2e-3), "twice"),
    Case(
        "current_without_command",
        opened(2, current_A=ZERO_A),
        opened(2, current_A=1e-4),
        "though open",
    ),
    Case("voltage_jump", moved(2.0 + 0.25, 4.25), moved(2.0 + 0.25 - 1e-9, 4.25), "up"),
    Case("voltage_jump", moved(4.25, 2.25), moved(4.25, 2.25 - 1e-9), "down"),
    Case(
        "voltage_against_current",
        moved(3.75, 3.75 - 0.05 + 1e-9, CHARGE_COMMAND),
        moved(3.75, 3.75 - 0.05 - 1e-9, CHARGE_COMMAND),
    ),
    Case(
        "voltage_against_current",
        moved(3.75, 3.75 + 0.05 - 1e-9, DISCHARGE_COMMAND),
        moved(3.75, 3.75 + 0.05 + 1e-9, DISCHARGE_COMMAND),
        "discharge",
    ),
    # 1 mA for 216 s is 60 uAh, 2 % of 3 mAh.
    Case("voltage_frozen", frozen(215), frozen(217)),
    Case("voltage_frozen", frozen(300, limit_status=LIMIT_VOLTAGE), frozen(300), "held by device"),
    Case(
        "half_cycle_charge", charged(charge(), 0.499, HALF), charged(charge(), 0.55, HALF), "charge"
    ),
    Case(
        "half_cycle_charge",
        charged(discharge(), 0.499, HALF),
        charged(discharge(), 0.55, HALF),
        "discharge",
    ),
    Case("half_cycle_time", charged(charge(), 0.5, HOUR), charged(charge(), 0.52, HOUR)),
    Case("half_cycle_time", charged(discharge(), 0.5, HOUR), charged(discharge(), 0.52, HOUR)),
    Case("half_cycle_time", charged(SUB_ZERO, 0.6, HOUR), charged(charge(), 0.6, HOUR), "trickle"),
    Case("copper_warn", rest(voltage_V=2.845), rest(voltage_V=2.845 - 1e-9)),
    Case(
        "copper_trip",
        rest(voltage_V=up(1.85), limits=replace(RECORD, voltage_min_trip_V=1.0)),
        rest(voltage_V=1.85, limits=replace(RECORD, voltage_min_trip_V=1.0)),
    ),
    Case("envelope_unknown", asked(pulse(envelope=2, current_A=-6e-3)), asked(pulse(envelope=3))),
    Case("envelope_unknown", asked(pulse(envelope=1)), asked(pulse(envelope=-1))),
    Case("envelope_command", asked(pulse(current_A=-1e-2)), asked(pulse(current_A=down(-1e-2)))),
    Case(
        "envelope_command",
        asked(charge(envelope=1, current_A=1e-2)),
        asked(charge(envelope=1, current_A=up(1e-2))),
        "charge",
    ),
    Case(
        "envelope_command",
        asked(pulse(voltage_bound_V=2.9)),
        asked(pulse(voltage_bound_V=down(2.9))),
        "low bound",
    ),
    Case(
        "envelope_command",
        asked(charge(envelope=1, voltage_bound_V=4.4)),
        asked(charge(envelope=1, voltage_bound_V=up(4.4))),
        "high bound",
    ),
    # max_on_s 10 s with 2 % and 0.1 s: 10.3 s.
    Case(
        "envelope_time",
        asked(pulse(envelope=2, current_A=-6e-3, device_timed_s=10.2)),
        asked(pulse(envelope=2, current_A=-6e-3, device_timed_s=10.31)),
        "device-timed",
    ),
    Case(
        "envelope_time",
        pulsed(pulse(envelope=2, current_A=-6e-3), 9),
        pulsed(pulse(envelope=2, current_A=-6e-3), 10),
        "the next period must fit",
    ),
    Case(
        "envelope_time",
        pulsed(pulse(envelope=2, current_A=-6e-3, device_timed_s=10.0), 10),
        pulsed(pulse(envelope=2, current_A=-6e-3, device_timed_s=10.4), 1),
        "the same pulse asked for again is not a new one",
    ),
    # 8 mA for 91.8 s is 204 uAh, 2 % above 200.
    Case(
        "envelope_charge",
        asked(pulse(device_timed_s=91.7)),
        asked(pulse(device_timed_s=91.9)),
        "device-timed",
    ),
    Case("envelope_charge", pulsed(PULSE_COMMAND, 90), pulsed(PULSE_COMMAND, 91), "counted"),
    Case(
        "envelope_charge",
        asked(pulse(period_s=20.0)),
        asked(pulse(period_s=60.0, current_A=-1e-2), limits=SMALL_DOSE),
        "one period",
    ),
    Case("envelope_count", reopened(100.0, 2), reopened(100.0, 3)),
    Case("envelope_off_time", reopened(60.0), reopened(59.9)),
    Case(
        "envelope_temperature",
        asked(PULSE_COMMAND, temperature_K=313.15),
        asked(PULSE_COMMAND, temperature_K=up(313.15)),
    ),
    Case(
        "envelope_voltage",
        during(PULSE_COMMAND, voltage_V=2.9 - 0.01),
        during(PULSE_COMMAND, voltage_V=2.9 - 0.01 - 1e-9),
    ),
    Case(
        "envelope_voltage",
        during(PULSE_COMMAND, voltage_V=4.41),
        during(PULSE_COMMAND, voltage_V=4.41 + 1e-9),
        "high",
    ),
    Case(
        "envelope_current",
        during(PULSE_COMMAND, current_A=-1e-2 * 1.02 - ZERO_A + 1e-12),
        during(PULSE_COMMAND, current_A=-1e-2 * 1.02 - ZERO_A - 1e-12),
    ),
    Case(
        "envelope_current",
        during(PULSE_COMMAND, current_A=1e-2 * 1.02 + ZERO_A - 1e-12),
        during(PULSE_COMMAND, current_A=1e-2 * 1.02 + ZERO_A + 1e-12),
        "the other direction",
    ),
    Case(
        "envelope_overrun",
        pulsed(pulse(envelope=2, current_A=-6e-3), 1, 10.2),
        pulsed(pulse(envelope=2, current_A=-6e-3), 1, 10.31),
        "time",
    ),
    Case(
        "envelope_overrun",
        pulsed(pulse(current_A=-1e-2), 1, 58.7, SMALL_DOSE),
        pulsed(pulse(current_A=-1e-2), 1, 58.8, SMALL_DOSE),
        "charge",
    ),
]


def test_every_row_has_a_case() -> None:
    assert {case.row for case in CASES} == {row.name for row in FAULTS}


@pytest.mark.parametrize(
    "case", CASES, ids=[f"{case.row}-{case.note or index}" for index, case in enumerate(CASES)]
)
def test_boundary(case: Case) -> None:
    index = [row.name for row in FAULTS].index(case.row)
    row = FAULTS[index]
    passes, blocked = case.passes(), case.blocked()
    assert not passes.causes >> index & 1, names(passes)
    assert blocked.causes >> index & 1, names(blocked)
    assert blocked.action >= row.action
    # Whatever else is wrong is no stronger than its own row says.
    strongest = max(
        (FAULTS[n].action for n in range(len(FAULTS)) if blocked.causes >> n & 1), default=0
    )
    assert blocked.action == strongest


def test_a_row_stands_at_its_own_bit() -> None:
    for index, row in enumerate(FAULTS):
        assert getattr(faults, row.name.upper()) == 1 << index
    assert len(FAULTS) <= 63  # the sum of the bits fits 64-bit signed


def test_words_and_names_follow_the_table() -> None:
    both = faults.NO_REPLY | faults.INSTRUMENT_TOO_WARM
    assert faults.causes_words(both) == [FAULTS[0].cause, FAULTS[-1].cause]
    assert faults.causes_names(both) == ["no_reply", "instrument_too_warm"]
    assert faults.causes_words(0) == []
