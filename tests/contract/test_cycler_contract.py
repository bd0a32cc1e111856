"""What every driver owes the guard, on an emulated instrument with a simulated cell."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, OPEN, Command
from controller.domain.errors import CyclerError, CyclerRejectedError
from controller.domain.sample import (
    LIMIT_CURRENT,
    LIMIT_VOLTAGE,
    NAN,
    OUTPUT_OFF,
    OUTPUT_ON,
    QUALITY_CURRENT_INVALID,
    QUALITY_NO_CELL_VOLTAGE,
    QUALITY_NO_REPLY,
    QUALITY_OVER_TEMPERATURE,
    QUALITY_READBACK_MISMATCH,
    QUALITY_STALE,
    QUALITY_TEMPERATURE_INVALID,
    QUALITY_VOLTAGE_INVALID,
)
from controller.domain.verdict import TRIP, Verdict
from controller.hal.ports import DeviceLimits
from hil.instruments.faults import FaultKind, InstrumentFault
from tests.contract.benches import ALLOWED, DRIVERS, LIMITS, ContractBench

MakeBench = Callable[..., ContractBench]
CHARGE_1MA = Command(CHARGE, 1e-3, 4.3)
# In the start nothing but the leakage of a 1 nA limit may flow.
NOTHING_mAh = 1e-6


@pytest.fixture(params=sorted(DRIVERS))
def make(request: pytest.FixtureRequest) -> MakeBench:
    return DRIVERS[request.param]


# Start -----------------------------------------------------------------------------------------


def test_a_start_ends_in_hold_at_the_open_circuit_voltage(make: MakeBench) -> None:
    bench = make()
    true_ocv_V = bench.bench.cell.terminal_voltage(0.0)
    guard = bench.guard()
    assert guard.start() == pytest.approx(true_ocv_V, abs=2e-3)
    assert bench.output_on
    assert bench.passed_mAh < NOTHING_mAh
    bench.wait(1.0)
    sample = guard.poll(0)
    assert sample.quality == 0
    assert sample.output == OUTPUT_ON
    assert sample.voltage_V == pytest.approx(true_ocv_V, abs=2e-3)
    assert not bench.bench.smu.truth()["instrument_damaged"]


def test_looking_changes_nothing(make: MakeBench) -> None:
    bench = make()
    bench.cycler.identify()
    assert bench.bench.smu.change_count == 0


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (FaultKind.WRONG_IDENTITY, "expected a Keithley 2450"),
        (FaultKind.OUTPUT_ON_AT_CONNECT, "output off, found it on"),
        (FaultKind.ERROR_QUEUE_ENTRY, "error queue"),
    ],
)
def test_an_instrument_that_is_not_ours_is_not_written_to(
    make: MakeBench, kind: FaultKind, words: str
) -> None:
    bench = make([InstrumentFault(kind=kind, count=1)])
    before = bench.bench.smu.output_on
    with pytest.raises(CyclerRejectedError, match=words):
        bench.guard().start()
    assert bench.bench.smu.change_count == 0
    assert bench.bench.smu.output_on is before


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (FaultKind.OFF_MODE_NORMAL, "HIMP, found NORM"),
        (FaultKind.LIMIT_NOT_ACCEPTED, "VLIM"),
        (FaultKind.REVERSED_POLARITY, "wrong way round"),
        (FaultKind.OCV_OUT_OF_WINDOW, "found 0.4000"),
        (FaultKind.NAN_READING, "open-circuit voltage"),
        (FaultKind.OVERFLOW_READING, "overflow"),
        (FaultKind.OUTPUT_WILL_NOT_TURN_ON, "found off"),
        (FaultKind.TRIGGER_MODEL_DOES_NOT_START, "dead-man"),
    ],
)
def test_every_check_of_the_start_blocks_and_leaves_the_output_open(
    make: MakeBench, kind: FaultKind, words: str
) -> None:
    bench = make([InstrumentFault(kind=kind)])
    with pytest.raises(CyclerRejectedError, match=words):
        bench.guard().start()
    assert not bench.output_on
    assert bench.passed_mAh < NOTHING_mAh


@pytest.mark.parametrize("kind", [FaultKind.NO_REPLY, FaultKind.GARBAGE_REPLY])
@pytest.mark.parametrize("after_s", [0.0, 0.06, 0.1, 0.12, 0.135, 0.15])
def test_a_start_without_answers_ends_open(
    make: MakeBench, kind: FaultKind, after_s: float
) -> None:
    bench = make([InstrumentFault(kind=kind, start_s=after_s, end_s=after_s + 100.0)])
    with pytest.raises(CyclerError):
        bench.guard().start()
    assert not bench.output_on
    assert bench.passed_mAh < NOTHING_mAh


def test_our_own_interrupted_output_is_opened_and_taken_over(make: MakeBench) -> None:
    bench = make([InstrumentFault(kind=FaultKind.OUTPUT_ON_AT_CONNECT, count=1)])
    assert bench.bench.smu.output_on
    bench.guard(allow_output_on=True).start()
    assert not [change for change in bench.bench.smu.output_history if change.on][2:]
    assert bench.output_on


def test_a_host_that_dies_in_the_start_leaves_no_output_on(make: MakeBench) -> None:
    bench = make()
    bench.cycler.prepare(LIMITS, 5.0)
    bench.cycler.energise_at_0A()
    assert bench.output_on
    bench.wait(5.1)
    assert not bench.output_on

    taken = make()
    taken.cycler.prepare(LIMITS, 5.0)
    ocv_V = taken.cycler.energise_at_0A()
    taken.cycler.take_over_from_ocv(ocv_V)
    assert taken.output_on
    taken.wait(5.1)
    assert not taken.output_on


# Set-points and polls --------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "current_A"), [(CHARGE, 1e-3), (DISCHARGE, -1e-3)])
def test_a_set_point_flows_with_the_right_sign(
    make: MakeBench, kind: int, current_A: float
) -> None:
    bench = make()
    guard = bench.guard()
    guard.start()
    bench.run(guard, CHARGE_1MA, 20)
    before = bench.bench.cell.truth()
    bench.run(guard, Command(kind, current_A, 4.3 if current_A > 0 else 2.5), 10)
    bench.wait(1.0)
    sample = guard.poll(0)
    assert sample.quality == 0
    assert sample.current_A == pytest.approx(current_A, rel=2e-3)
    assert sample.limit_status == LIMIT_CURRENT
    truth = bench.bench.cell.truth()
    grown = "charge_in_mAh" if current_A > 0 else "charge_out_mAh"
    assert float(truth[grown]) - float(before[grown]) > 2e-3


def test_the_device_itself_holds_the_bound(make: MakeBench) -> None:
    bench = make()
    guard = bench.guard()
    guard.start()
    bound_V = bench.bench.cell.terminal_voltage(0.0) + 0.15  # plated Cu alone gains 0.1 V
    bench.run(guard, Command(CHARGE, 1e-3, bound_V), 5)
    bench.wait(1.0)
    sample = guard.poll(0)
    assert sample.limit_status == LIMIT_VOLTAGE
    assert sample.voltage_V == pytest.approx(bound_V, abs=2e-3)
    assert 0.0 < sample.current_A < 1e-3


def test_hold_measures_the_voltage_without_a_current(make: MakeBench) -> None:
    bench = make()
    guard = bench.guard()
    guard.start()
    bench.run(guard, CHARGE_1MA, 5)
    passed_mAh = bench.passed_mAh
    bench.run(guard, Command(HOLD_0A), 60)
    assert guard.in_force.kind == HOLD_0A
    # The first period still charges; after it a minute at 1 nA is nothing.
    assert bench.passed_mAh - passed_mAh < 1.1 * 1.0 / 3600.0
    bench.wait(1.0)
    sample = guard.poll(0)
    assert sample.quality == 0
    assert sample.voltage_V == pytest.approx(bench.bench.cell.terminal_voltage(0.0), abs=2e-3)


def test_device_time_never_jumps_over_set_points_and_openings(make: MakeBench) -> None:
    bench = make()
    guard = bench.guard()
    guard.start()
    offsets: list[float] = []
    for n, command in enumerate(
        [CHARGE_1MA, Command(HOLD_0A), Command(OPEN), CHARGE_1MA, Command(OPEN), CHARGE_1MA] * 2
    ):
        for _ in range(3):
            bench.wait(1.0)
            sample = guard.poll(n)
            offsets.append(sample.t_host_s - sample.t_device_s)
            guard.apply(command, ALLOWED, sample)
    assert max(offsets) - min(offsets) < 0.1


def test_a_device_timed_pulse_ends_on_time_without_the_host(make: MakeBench) -> None:
    bench = make()
    guard = bench.guard()
    guard.start()
    bench.run(guard, Command(HOLD_0A), 2)
    guard.apply(Command(CHARGE, 9e-3, 4.3, 1.0, 5.0, device_timed_s=0.5), ALLOWED, guard.poll(0))
    assert bench.output_on
    bench.wait(0.4)
    assert bench.output_on
    bench.wait(0.2)
    assert not bench.output_on
    assert bench.passed_mAh == pytest.approx(9.0 * 0.5 / 3600.0, rel=0.05)
    sample = guard.poll(1)
    assert sample.output == OUTPUT_OFF
    assert sample.quality == QUALITY_NO_CELL_VOLTAGE
    assert guard.in_force.kind == OPEN
    assert guard.reports == []
    bench.run(guard, Command(HOLD_0A), 3)
    assert guard.in_force.kind == HOLD_0A
    assert guard.poll(2).quality == 0


def test_no_renewal_means_off_between_one_half_and_the_whole_permission(make: MakeBench) -> None:
    bench = make()
    guard = bench.guard()
    guard.start()
    bench.run(guard, Command(CHARGE, 1e-3, 4.3, 1.0, 8.0), 3)
    bench.wait(3.9)
    assert bench.output_on
    bench.wait(4.2)
    assert not bench.output_on
    sample = guard.poll(9)
    assert sample.output == OUTPUT_OFF
    assert sample.quality == QUALITY_NO_CELL_VOLTAGE


@pytest.mark.parametrize("periods", [20])
@pytest.mark.parametrize("period_s", [0.2, 1.0, 5.0, 30.0])
def test_a_host_that_renews_each_period_is_never_cut_off(
    make: MakeBench, period_s: float, periods: int
) -> None:
    bench = make()
    guard = bench.guard(period_s=period_s)
    guard.start()
    # The shortest permission a driver takes: four periods.
    bench.run(guard, Command(CHARGE, 1e-4, 4.3, period_s, 4.0 * period_s), periods)
    assert bench.output_on
    assert guard.reports == []


def test_what_the_device_refuses_opens(make: MakeBench) -> None:
    bench = make([InstrumentFault(kind=FaultKind.TRIGGER_MODEL_DOES_NOT_START, start_s=3.0)])
    guard = bench.guard()
    guard.start()
    bench.run(guard, Command(HOLD_0A), 3)
    assert guard.apply(CHARGE_1MA, ALLOWED, guard.poll(0)).kind == OPEN
    assert not bench.output_on
    assert "dead-man should be running" in guard.reports[0]


@pytest.mark.parametrize(
    "command",
    [
        Command(CHARGE, LIMITS.max_current_A * 1.001, 4.3),
        Command(CHARGE, 1e-3, LIMITS.max_voltage_V + 0.001),
        Command(DISCHARGE, -1e-3, LIMITS.min_voltage_V - 0.001),
        Command(CHARGE, NAN, 4.3),
        Command(CHARGE, 1e-3, NAN),
    ],
)
def test_a_command_beyond_the_device_limits_never_reaches_the_device(
    make: MakeBench, command: Command
) -> None:
    bench = make()
    guard = bench.guard()
    guard.start()
    bench.run(guard, command, 1)
    assert guard.in_force.kind == OPEN
    assert not bench.output_on
    assert bench.passed_mAh < NOTHING_mAh


# Quality ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "quality"),
    [
        (FaultKind.NAN_READING, QUALITY_VOLTAGE_INVALID | QUALITY_CURRENT_INVALID),
        (FaultKind.OVERFLOW_READING, QUALITY_VOLTAGE_INVALID | QUALITY_CURRENT_INVALID),
        (FaultKind.STUCK_READING, QUALITY_STALE),
        (FaultKind.OTHER_CLIENT, QUALITY_READBACK_MISMATCH),
        (FaultKind.OVER_TEMPERATURE, QUALITY_OVER_TEMPERATURE),
        (FaultKind.NO_REPLY, QUALITY_NO_REPLY),
        (FaultKind.GARBAGE_REPLY, QUALITY_NO_REPLY),
        (FaultKind.LATE_REPLY, QUALITY_NO_REPLY),
        (FaultKind.THERMOMETER_NO_REPLY, QUALITY_TEMPERATURE_INVALID),
        (FaultKind.THERMOMETER_NAN, QUALITY_TEMPERATURE_INVALID),
    ],
)
def test_every_fault_of_a_reading_is_in_its_quality(
    make: MakeBench, kind: FaultKind, quality: int
) -> None:
    bench = make([InstrumentFault(kind=kind, start_s=10.0, end_s=11.9)])
    guard = bench.guard()
    guard.start()
    qualities: list[int] = []
    for sequence in range(14):
        bench.wait(1.0)
        sample = guard.poll(sequence)
        qualities.append(sample.quality)
        guard.apply(CHARGE_1MA, ALLOWED, sample)
    assert set(qualities[:8]) == {0}
    assert any(found & quality == quality for found in qualities)
    if kind is FaultKind.OTHER_CLIENT:
        # What another hand set stays wrong: the supervisor trips on it.
        assert qualities[-1] == QUALITY_READBACK_MISMATCH
    else:
        assert qualities[-1] == 0


@pytest.mark.parametrize("delay_s", [0.999, 1.001, 1.5, 2.5, 4.0])
def test_late_replies_never_shift(make: MakeBench, delay_s: float) -> None:
    bench = make([InstrumentFault(kind=FaultKind.LATE_REPLY, start_s=10.0, count=1, value=delay_s)])
    guard = bench.guard()
    guard.start()
    slow = Command(CHARGE, 1e-3, 4.3, 1.0, 60.0)
    lags: list[float] = []
    for sequence in range(25):
        bench.wait(1.0)
        sample = guard.poll(sequence)
        guard.apply(slow, ALLOWED, sample)
        if not sample.quality:
            lags.append(sample.t_host_s - sample.t_device_s)
    assert len(lags) >= 15
    # A reply that answers an earlier question would carry an earlier reading. The one that is
    # late by less than the timeout is as old as it is late.
    assert max(lags) - min(lags) < (1.1 if delay_s < 1.0 else 0.2)
    assert lags[-1] == pytest.approx(lags[0], abs=0.05)


def test_another_clients_output_off_is_told_apart(make: MakeBench) -> None:
    bench = make()
    guard = bench.guard()
    guard.start()
    bench.run(guard, CHARGE_1MA, 3)
    bench.bench.smu.receive(b":OUTP OFF\n")
    bench.wait(1.0)
    sample = guard.poll(3)
    assert sample.output == OUTPUT_OFF
    assert sample.quality & QUALITY_READBACK_MISMATCH
    assert guard.in_force.kind == OPEN


def test_another_clients_output_on_is_seen_while_open(make: MakeBench) -> None:
    bench = make()
    guard = bench.guard()
    guard.start()
    bench.run(guard, CHARGE_1MA, 3)
    guard.apply(CHARGE_1MA, Verdict(TRIP, 1), guard.poll(3))
    bench.bench.smu.receive(b":OUTP ON\n")
    bench.wait(1.0)
    sample = guard.poll(4)
    assert sample.quality & QUALITY_READBACK_MISMATCH
    guard.apply(CHARGE_1MA, Verdict(TRIP, 1), sample)
    assert not bench.output_on


# Open ------------------------------------------------------------------------------------------


def test_open_is_idempotent_and_draws_nothing(make: MakeBench) -> None:
    bench = make()
    guard = bench.guard()
    guard.start()
    bench.run(guard, CHARGE_1MA, 3)
    for _ in range(3):
        bench.cycler.open()
        assert not bench.output_on
    passed_mAh = bench.passed_mAh
    bench.wait(3600.0)
    # High impedance: an off mode of 0 V would have discharged the cell.
    assert bench.passed_mAh == passed_mAh


def test_emergency_open_works_in_the_midst_of_a_line(make: MakeBench) -> None:
    bench = make()
    guard = bench.guard()
    guard.start()
    bench.run(guard, CHARGE_1MA, 3)
    bench.bench.smu_transport.write(b":SOUR:VOLT 4.")  # the loop was stopped while writing
    guard.emergency_open("test")
    assert not bench.output_on
    # The loop goes on: it confirms, and comes back from 0 A.
    bench.run(guard, CHARGE_1MA, 2)
    assert guard.in_force == CHARGE_1MA
    assert bench.output_on


def test_a_lost_connection_is_a_sample_and_the_guard_opens(make: MakeBench) -> None:
    bench = make()
    guard = bench.guard()
    guard.start()
    bench.run(guard, CHARGE_1MA, 3)
    bench.cycler.close()
    sample = guard.poll(3)
    assert sample.quality & QUALITY_NO_REPLY
    assert math.isnan(sample.voltage_V)
    assert not bench.cycler.connected
    assert guard.in_force.kind == OPEN
    # The line is gone, so the device's own dead-man has to end the charge.
    bench.wait(CHARGE_1MA.valid_for_s)
    assert not bench.output_on


def test_shutdown_rests_and_opens(make: MakeBench) -> None:
    bench = make()
    guard = bench.guard()
    guard.start()
    bench.run(guard, CHARGE_1MA, 3)
    assert guard.shutdown() == []
    assert not bench.output_on
    with pytest.raises(CyclerError):
        bench.cycler.open()


def test_every_state_change_is_stored_as_bytes(make: MakeBench) -> None:
    bench = make()
    guard = bench.guard()
    guard.start()
    bench.exchanges.clear()
    bench.run(guard, CHARGE_1MA, 50)
    kinds = [kind for kind, _, _ in bench.exchanges]
    # Fifty readings, one set-point: the polls in between are not stored.
    assert kinds.count("set-point") == 1
    assert kinds.count("poll") <= 2
    assert all(sent.endswith(b"\n") for _, sent, _ in bench.exchanges)


# Limits ----------------------------------------------------------------------------------------


def test_an_envelope_raises_the_limits_and_they_come_back(make: MakeBench) -> None:
    envelope = DeviceLimits(max_current_A=0.03, min_voltage_V=2.5, max_voltage_V=4.3)
    bench = make()
    guard = bench.guard(envelope_limits=(envelope,))
    guard.start()
    bench.run(guard, CHARGE_1MA, 3)
    pulse = Command(CHARGE, 0.025, 4.3, 0.2, 5.0, envelope=1)
    bench.run(guard, pulse, 3)
    assert guard.in_force == pulse
    bench.run(guard, CHARGE_1MA, 1)
    bench.run(guard, pulse._replace(envelope=0), 1)
    assert guard.in_force.kind == OPEN
    assert "beyond the device limit" in guard.reports[-1]


def test_a_limit_that_is_not_restored_is_a_trip(make: MakeBench) -> None:
    envelope = DeviceLimits(max_current_A=0.03, min_voltage_V=2.5, max_voltage_V=4.3)
    bench = make([InstrumentFault(kind=FaultKind.LIMIT_NOT_ACCEPTED, start_s=20.0)])
    guard = bench.guard(envelope_limits=(envelope,))
    guard.start()
    bench.wait(19.0 - bench.bench.clock.now_s())
    guard.apply(Command(CHARGE, 0.025, 4.3, 0.2, 5.0, envelope=1), ALLOWED, guard.poll(0))
    bench.wait(20.0 - bench.bench.clock.now_s())
    assert guard.apply(CHARGE_1MA, ALLOWED, guard.poll(1)).kind == OPEN
    assert not bench.output_on
    assert guard.tripped
