"""Each fault does what its name says, when it is due, as often as it is given."""

from __future__ import annotations

import math

import pytest

from controller.domain.errors import CyclerTimeoutError
from hil.bench import Bench, build_bench
from hil.instruments.faults import FaultKind, FaultSchedule, InstrumentFault

POLL = '*TRG;:FETC? "defbuffer1",SOUR,READ,REL,SOURSTAT;:OUTP?'


def faulty(kind: FaultKind, **options: object) -> Bench:
    fault = InstrumentFault(kind=kind, **options)
    return build_bench(seed=0, utc_epoch_s=0.0, faults=[fault], ideal=True)


def ask(bench: Bench, text: str) -> str:
    bench.smu_transport.write(text.encode() + b"\n")
    return bench.smu_transport.read_until(b"\n", 1.0).decode(errors="replace").strip()


def send(bench: Bench, *lines: str) -> None:
    for line in lines:
        bench.smu_transport.write(line.encode() + b"\n")


def cycling(bench: Bench) -> None:
    send(
        bench,
        ":SOUR:FUNC VOLT;:SOUR:VOLT:RANG 20;:SOUR:VOLT 4.3;:SOUR:VOLT:ILIM 1e-3",
        ':SENS:FUNC "CURR";:SENS:CURR:RANG 0.01;:SENS:CURR:RSEN ON',
        ":OUTP ON",
        ':TRIG:LOAD "Empty";:TRIG:BLOC:MEAS 1,"defbuffer1",INF',
        ":TRIG:BLOC:DEL:CONS 2,20;:TRIG:BLOC:BRAN:EVEN 3,COMM,2;:TRIG:BLOC:SOUR:STAT 4,OFF",
        ":INIT",
    )


def poll(bench: Bench, dt_s: float = 5.0) -> list[str]:
    bench.clock.advance(dt_s)
    return ask(bench, POLL).replace(";", ",").split(",")


def test_the_schedule_counts_and_minds_the_time():
    schedule = FaultSchedule(
        [InstrumentFault(kind=FaultKind.NO_REPLY, start_s=10.0, end_s=20.0, count=2)]
    )
    assert schedule
    assert schedule.take(FaultKind.NO_REPLY, 9.999) is None
    assert schedule.take(FaultKind.LATE_REPLY, 15.0) is None
    assert schedule.take(FaultKind.NO_REPLY, 10.0) is not None
    assert schedule.take(FaultKind.NO_REPLY, 19.9) is not None
    assert schedule.take(FaultKind.NO_REPLY, 15.0) is None
    assert not FaultSchedule([])


def test_no_reply():
    bench = faulty(FaultKind.NO_REPLY, count=1)
    with pytest.raises(CyclerTimeoutError):
        ask(bench, "*IDN?")
    assert ask(bench, "*LANG?") == "SCPI"


def test_a_late_reply_arrives_in_front_of_the_next_one():
    bench = faulty(FaultKind.LATE_REPLY, count=1, value=3.0)
    with pytest.raises(CyclerTimeoutError):
        ask(bench, "*LANG?")
    bench.clock.advance(5.0)
    assert ask(bench, "OUTP?") == "SCPI"


def test_garbage():
    bench = faulty(FaultKind.GARBAGE_REPLY)
    with pytest.raises(ValueError, match="could not convert"):
        float(ask(bench, ":SOUR:VOLT?"))


def test_a_stuck_reading_repeats_value_and_time():
    bench = faulty(FaultKind.STUCK_READING, start_s=12.0)
    cycling(bench)
    moving = [poll(bench) for _ in range(2)]
    stuck = [poll(bench) for _ in range(3)]
    assert moving[0] != moving[1]
    assert stuck[0] == stuck[1] == stuck[2] == moving[1]


@pytest.mark.parametrize(
    ("kind", "value"),
    [(FaultKind.NAN_READING, 9.91e37), (FaultKind.OVERFLOW_READING, 9.9e37)],
)
def test_a_reading_that_is_no_number(kind, value):
    bench = faulty(kind, start_s=8.0, count=1)
    cycling(bench)
    assert float(poll(bench)[1]) == pytest.approx(1e-3, rel=1e-3)
    assert [float(x) for x in poll(bench)[:2]] == [value, value]
    assert float(poll(bench)[1]) == pytest.approx(1e-3, rel=1e-3)


def test_an_instrument_that_is_too_warm_says_so_in_the_status_of_its_readings():
    bench = faulty(FaultKind.OVER_TEMPERATURE, start_s=8.0, end_s=13.0)
    cycling(bench)
    assert [int(poll(bench)[3]) & 16 for _ in range(3)] == [0, 16, 0]


def test_a_limit_that_is_not_accepted_reads_back_the_old_one():
    bench = faulty(FaultKind.LIMIT_NOT_ACCEPTED)
    send(bench, ":SOUR:VOLT:ILIM 1e-3;:SOUR:CURR:VLIM 5")
    assert ask(bench, ":SOUR:VOLT:ILIM?;:SOUR:CURR:VLIM?") == "1.050000E-04;2.000000E+00"
    assert ask(bench, ":SYST:ERR?") == '0,"No error"'


def test_output_found_on():
    assert ask(faulty(FaultKind.OUTPUT_ON_AT_CONNECT), "OUTP?") == "1"


def test_off_mode_stays_normal():
    bench = faulty(FaultKind.OFF_MODE_NORMAL)
    send(bench, ":OUTP:CURR:SMOD HIMP;:OUTP:VOLT:SMOD HIMP")
    assert ask(bench, ":OUTP:CURR:SMOD?;:OUTP:VOLT:SMOD?") == "NORM;NORM"


def test_wrong_identity():
    assert "MODEL 2450" not in ask(faulty(FaultKind.WRONG_IDENTITY), "*IDN?")


def test_reversed_polarity_reads_negative_and_moves_the_cell_the_other_way():
    bench = faulty(FaultKind.REVERSED_POLARITY)
    send(
        bench,
        ":SOUR:FUNC CURR;:SOUR:CURR:RANG 0.01;:SOUR:CURR 0;:SOUR:CURR:VLIM 5",
        ':SENS:FUNC "VOLT";:SENS:VOLT:RANG 20;:SENS:VOLT:RSEN ON',
        ":OUTP ON",
    )
    assert float(ask(bench, ":READ?")) == pytest.approx(-bench.cell.terminal_voltage(0.0), abs=1e-4)
    send(bench, ":SOUR:CURR 1e-4")
    bench.clock.advance(10.0)
    bench.smu.tick()
    assert bench.smu.truth()["charge_out_mAh"] == pytest.approx(1e-4 * 10.0 / 3.6, rel=1e-2)


def test_an_entry_in_the_error_queue():
    bench = faulty(FaultKind.ERROR_QUEUE_ENTRY)
    assert ask(bench, ":SYST:ERR?") == '-200,"Execution error"'
    assert ask(bench, ":SYST:ERR?") == '0,"No error"'


def test_output_that_does_not_turn_on():
    bench = faulty(FaultKind.OUTPUT_WILL_NOT_TURN_ON)
    send(bench, ":OUTP ON")
    assert ask(bench, ":OUTP?;:SYST:ERR?") == '0;0,"No error"'


@pytest.mark.parametrize(("value", "limit_A"), [(math.nan, 5e-4), (2e-3, 2e-3)])
def test_another_client_changes_the_limit_and_the_current_follows(value, limit_A):
    bench = faulty(FaultKind.OTHER_CLIENT, start_s=12.0, value=value)
    cycling(bench)
    poll(bench)
    assert float(ask(bench, ":SOUR:VOLT:ILIM?")) == 1e-3
    poll(bench)
    poll(bench)
    assert float(ask(bench, ":SOUR:VOLT:ILIM?")) == limit_A
    assert float(poll(bench)[1]) == pytest.approx(limit_A, rel=1e-3)


@pytest.mark.parametrize(("value", "expected_V"), [(math.nan, 0.4), (4.9, 4.9)])
def test_open_circuit_voltage_out_of_its_window(value, expected_V):
    bench = faulty(FaultKind.OCV_OUT_OF_WINDOW, value=value)
    send(bench, ':SOUR:FUNC CURR;:SOUR:CURR:VLIM 5;:SENS:FUNC "VOLT";:OUTP ON')
    assert float(ask(bench, ":READ?")) == expected_V


def test_a_trigger_model_that_does_not_start_leaves_no_guard():
    bench = faulty(FaultKind.TRIGGER_MODEL_DOES_NOT_START)
    cycling(bench)
    assert ask(bench, ":SYST:ERR?;:TRIG:STAT?").startswith('0,"No error";IDLE')


# -- thermometer -------------------------------------------------------------------------------

SETUP = b':SENS:FUNC "TEMP";:SENS:TEMP:TRAN THER;:SENS:TEMP:THER 10000;:UNIT:TEMP CEL\n'


def temperature(bench: Bench) -> float:
    bench.thermometer_transport.write(b":READ?\n")
    return float(bench.thermometer_transport.read_until(b"\n", 1.0))


def test_thermometer_faults():
    kinds = FaultKind
    bench = build_bench(
        seed=0,
        utc_epoch_s=0.0,
        faults=[
            InstrumentFault(kind=kinds.THERMOMETER_NO_REPLY, start_s=10.0, end_s=20.0),
            InstrumentFault(kind=kinds.THERMOMETER_NAN, start_s=30.0, end_s=40.0),
            InstrumentFault(kind=kinds.THERMOMETER_OVER_TEMPERATURE, start_s=50.0, end_s=60.0),
        ],
    )
    bench.thermometer_transport.write(SETUP)
    assert temperature(bench) == pytest.approx(25.0, abs=0.1)
    bench.clock.advance(11.0)
    with pytest.raises(CyclerTimeoutError):
        temperature(bench)
    bench.clock.advance(20.0)
    assert temperature(bench) == 9.91e37
    bench.clock.advance(20.0)
    assert temperature(bench) == pytest.approx(75.0, abs=0.1)
    bench.clock.advance(20.0)
    assert temperature(bench) == pytest.approx(25.0, abs=0.1)


def test_a_stuck_thermometer_does_not_follow_the_cell():
    readings = {}
    for faults in ((), (InstrumentFault(kind=FaultKind.THERMOMETER_STUCK),)):
        bench = build_bench(seed=0, utc_epoch_s=0.0, ambient_K=298.15, faults=faults)
        bench.thermometer_transport.write(SETUP)
        first = temperature(bench)
        for _ in range(60):
            bench.cell.step(0.0, 60.0, 308.15)
        readings[bool(faults)] = temperature(bench) - first
    assert readings[False] == pytest.approx(10.0, abs=0.2)
    assert readings[True] == pytest.approx(0.0, abs=0.2)


def test_the_thermometer_says_who_it_is_and_needs_its_set_up():
    bench = build_bench(seed=0, utc_epoch_s=0.0)
    transport = bench.thermometer_transport
    transport.write(b"*IDN?\n")
    assert transport.read_until(b"\n", 1.0).startswith(b"KEITHLEY INSTRUMENTS,MODEL DAQ6510,EMUL")
    with pytest.raises(CyclerTimeoutError):
        temperature(bench)
    transport.write(b":SYST:ERR?\n")
    assert transport.read_until(b"\n", 1.0) == b'-221,"Settings conflict"\n'
    transport.write(b":SENS:TEMP:TRAN TC\n:SYST:ERR?\n")
    assert transport.read_until(b"\n", 1.0) == b'-224,"Illegal parameter value"\n'
    transport.write(SETUP + b":SYST:ERR?;:UNIT:TEMP?\n")
    assert transport.read_until(b"\n", 1.0) == b'0,"No error";CEL\n'


def test_temperature_noise_and_resolution():
    bench = build_bench(seed=1, utc_epoch_s=0.0)
    bench.thermometer_transport.write(SETUP)
    readings = [temperature(bench) for _ in range(400)]
    mean = sum(readings) / 400
    rms = math.sqrt(sum((x - mean) ** 2 for x in readings) / 399)
    assert mean == pytest.approx(25.0, abs=0.01)
    assert 0.016 < rms < 0.024
    assert all(x == round(x, 3) for x in readings)
