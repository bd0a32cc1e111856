"""The start order of a driver, spoken in bytes to the bench in this process."""

from __future__ import annotations

import pytest

from controller.domain.errors import CyclerConnectionError, CyclerTimeoutError
from hil.bench import Bench, build_bench

POLL = (
    b'*TRG;:FETC? "defbuffer1",SOUR,READ,REL,SOURSTAT;:OUTP?;'
    b":SOUR:VOLT?;:SOUR:VOLT:ILIM?;:TRIG:STAT?\n"
)


def ask(bench: Bench, text: str) -> str:
    bench.smu_transport.write(text.encode() + b"\n")
    return bench.smu_transport.read_until(b"\n", 1.0).decode().strip()


def tell(bench: Bench, *lines: str) -> None:
    for line in lines:
        bench.smu_transport.write(line.encode() + b"\n")
    assert ask(bench, ":SYST:ERR?") == '0,"No error"'


def start_cycling(bench: Bench, ocv_V: float) -> None:
    tell(
        bench,
        ":SOUR:FUNC VOLT;:SOUR:VOLT:RANG 20;"
        f":SOUR:VOLT {ocv_V};:SOUR:VOLT:ILIM 1e-9;:SOUR:VOLT:READ:BACK ON",
        ':SENS:FUNC "CURR";:SENS:CURR:RANG 0.01;:SENS:CURR:RSEN ON;:SENS:CURR:NPLC 1',
        ":OUTP ON",
        ':TRIG:LOAD "Empty"',
        ':TRIG:BLOC:MEAS 1,"defbuffer1",INF',
        ":TRIG:BLOC:DEL:CONS 2,12",
        ":TRIG:BLOC:BRAN:EVEN 3,COMM,2",
        ":TRIG:BLOC:SOUR:STAT 4,OFF",
        ":TRAC:CLE",
        ":INIT",
    )


def test_identity_is_read_without_writing_a_setting():
    bench = build_bench(seed=3, utc_epoch_s=0.0)
    assert ask(bench, "*LANG?") == "SCPI"
    assert ask(bench, "*IDN?").startswith("KEITHLEY INSTRUMENTS,MODEL 2450,EMULATED000003,")
    assert ask(bench, "OUTP?") == "0"
    assert ask(bench, "OUTP:CURR:SMOD?;:OUTP:VOLT:SMOD?") == "HIMP;HIMP"
    assert ask(bench, "SYST:ERR?") == '0,"No error"'
    assert bench.smu.change_count == 0


def test_open_circuit_voltage_from_a_0_A_source():
    bench = build_bench(seed=0, utc_epoch_s=0.0)
    before = bench.cell.snapshot()
    tell(
        bench,
        ":SOUR:FUNC CURR;:SOUR:CURR:RANG 1e-2;:SOUR:CURR 0;:SOUR:CURR:VLIM 5",
        ':SENS:FUNC "VOLT";:SENS:VOLT:RSEN ON;:SENS:VOLT:NPLC 1;:SENS:VOLT:RANG 20',
        ":OUTP ON",
    )
    source_A, ocv_V, relative_s, status = ask(
        bench, ':READ? "defbuffer1",SOUR,READ,REL,SOURSTAT'
    ).split(",")
    assert float(ocv_V) == pytest.approx(bench.cell.terminal_voltage(0.0), abs=1.5e-3)
    assert abs(float(source_A)) < 1e-6
    assert float(relative_s) == 0.0
    assert int(status) == 200  # output on, 4-wire, source read back, nothing limits
    assert bench.smu.truth()["charge_in_mAh"] == 0.0
    assert bench.cell.snapshot()[0] == before[0]
    assert not bench.smu.truth()["instrument_damaged"]


def test_poll_reads_back_what_was_programmed_and_renews():
    bench = build_bench(seed=0, utc_epoch_s=0.0)
    start_cycling(bench, 3.2)
    tell(
        bench,
        ":ABOR;*WAI;:SENS:CURR:RANG 0.01;:SOUR:VOLT 4.3;:SOUR:VOLT:ILIM 1e-3;"
        ":TRIG:BLOC:DEL:CONS 2,12;:INIT",
    )
    assert ask(bench, ":SYST:ERR?;:TRIG:STAT?") == '0,"No error";RUNNING;RUNNING;2'
    for i in range(20):
        bench.clock.advance(5.0)
        bench.smu_transport.write(POLL)
        reply = bench.smu_transport.read_until(b"\n", 1.0).decode().strip()
        reading, output, level, limit, *state = reply.split(";")
        assert output == "1", i
        assert float(level) == 4.3
        assert float(limit) == 1e-3
        assert state[0] == "RUNNING"
        volts, amperes, _, status = reading.split(",")
        assert float(amperes) == pytest.approx(1e-3, rel=2e-3)
        assert 3.2 < float(volts) < 3.7
        assert int(status) & 32  # the limit regulates: constant current


def test_no_reply_moves_the_clock_to_the_deadline_and_no_further():
    bench = build_bench(seed=0, utc_epoch_s=100.0)
    with pytest.raises(CyclerTimeoutError):
        bench.smu_transport.read_until(b"\n", 2.5)
    assert bench.clock.now_s() == 2.5
    assert bench.clock.utc_s() == 102.5


def test_a_closed_transport_refuses():
    bench = build_bench(seed=0, utc_epoch_s=0.0)
    bench.smu_transport.close()
    with pytest.raises(CyclerConnectionError):
        bench.smu_transport.write(b"*IDN?\n")
    with pytest.raises(CyclerConnectionError):
        bench.smu_transport.read_until(b"\n", 1.0)
