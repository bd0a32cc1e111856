"""The exchanges of a 2450, byte for byte: limits -0.02 to 0.02 A, 2.5 to 4.3 V, OCV 3.2 V."""

from __future__ import annotations

from controller.hal.ports import DeviceLimits

LIMITS = DeviceLimits(max_current_A=0.02, min_voltage_V=2.5, max_voltage_V=4.3)
VALID_FOR_S = 5.0
OCV_V = 3.2

IDENTIFY: list[tuple[bytes, bytes | None]] = [
    (b"*LANG?\n", b"SCPI\n"),
    (b"*IDN?\n", b"KEITHLEY INSTRUMENTS,MODEL 2450,04512345,1.7.12b\n"),
    (b"OUTP?\n", b"0\n"),
    (b"OUTP:CURR:SMOD?\n", b"NORM\n"),
    (b"OUTP:VOLT:SMOD?\n", b"NORM\n"),
    (b"SYST:ERR?\n", b'0,"No error"\n'),
]

PREPARE: list[tuple[bytes, bytes | None]] = [
    (b":OUTP:CURR:SMOD HIMP;:OUTP:VOLT:SMOD HIMP\n", None),
    (b":OUTP?;:OUTP:CURR:SMOD?;:OUTP:VOLT:SMOD?;:SYST:ERR?\n", b'0;HIMP;HIMP;0,"No error"\n'),
    (b":SOUR:VOLT:PROT PROT5\n", None),
    (b":SOUR:VOLT:PROT?;:SYST:ERR?\n", b'PROT5;0,"No error"\n'),
    (
        (
            b':TRIG:LOAD "Empty";:TRIG:BLOC:MEAS 1,"defbuffer1",INF;:TRIG:BLOC:DEL:CONS 2,2.5;'
            b":TRIG:BLOC:BRAN:EVEN 3,COMM,2;:TRIG:BLOC:SOUR:STAT 4,OFF\n"
        ),
        None,
    ),
    (b':TRAC:CLE "defbuffer1"\n', None),
    (b":OUTP?;:SYST:ERR?\n", b'0;0,"No error"\n'),
]

ZERO_SOURCE_QUERY = (
    b":OUTP?;:OUTP:CURR:SMOD?;:OUTP:VOLT:SMOD?;:SOUR:FUNC?;:SOUR:CURR?;:SOUR:CURR:VLIM?;"
    b":SOUR:VOLT:PROT?;:SENS:FUNC?;:SENS:VOLT:RSEN?;:SYST:ERR?\n"
)


def zero_source_reply(output: bytes) -> bytes:
    return output + (b';HIMP;HIMP;CURR;0.000000E+00;4.800000E+00;PROT5;"VOLT:DC";1;0,"No error"\n')


ENERGISE: list[tuple[bytes, bytes | None]] = [
    (b"SYST:ERR?\n", b'0,"No error"\n'),
    (b":SOUR:FUNC CURR;:SOUR:CURR:RANG 1e-06;:SOUR:CURR 0;:SOUR:CURR:VLIM 4.8\n", None),
    (b':SENS:FUNC "VOLT";:SENS:VOLT:RANG 20;:SENS:VOLT:RSEN ON;:SENS:VOLT:NPLC 1\n', None),
    (ZERO_SOURCE_QUERY, zero_source_reply(b"0")),
    (
        b':OUTP ON;:READ? "defbuffer1",SOUR,READ,REL,SOURSTAT;:INIT\n',
        b"0.000000E+00,3.200000E+00,0.000000E+00,200\n",
    ),
    (b":OUTP?;:SYST:ERR?;:TRIG:STAT?\n", b'1;0,"No error";RUNNING;RUNNING;2\n'),
]

RECHECK: list[tuple[bytes, bytes | None]] = [(ZERO_SOURCE_QUERY, zero_source_reply(b"1"))]

TAKE_OVER: list[tuple[bytes, bytes | None]] = [
    (b":ABOR;*WAI;:SOUR:CURR 0\n", None),
    (b":OUTP OFF\n", None),
    (
        (
            b":SOUR:FUNC VOLT;:SOUR:VOLT:RANG 20;:SOUR:VOLT 3.2;:SOUR:VOLT:ILIM 1e-09;"
            b":SOUR:VOLT:READ:BACK ON\n"
        ),
        None,
    ),
    (b':SENS:FUNC "CURR";:SENS:CURR:RANG 0.1;:SENS:CURR:RSEN ON;:SENS:CURR:NPLC 1\n', None),
    (b":OUTP:CURR:SMOD HIMP;:OUTP:VOLT:SMOD HIMP\n", None),
    (
        (
            b":OUTP?;:OUTP:CURR:SMOD?;:OUTP:VOLT:SMOD?;:SOUR:FUNC?;:SOUR:VOLT?;:SOUR:VOLT:ILIM?;"
            b":SOUR:VOLT:PROT?;:SENS:FUNC?;:SENS:CURR:RANG?;:SENS:CURR:RSEN?;:SYST:ERR?\n"
        ),
        b'0;HIMP;HIMP;VOLT;3.200000E+00;1.000000E-09;PROT5;"CURR:DC";1.000000E-01;1;0,"No error"\n',
    ),
    (b":OUTP ON;:INIT\n", None),
    (b":OUTP?;:SYST:ERR?;:TRIG:STAT?\n", b'1;0,"No error";RUNNING;RUNNING;2\n'),
]

START = IDENTIFY + PREPARE + ENERGISE + RECHECK + TAKE_OVER

OPEN: list[tuple[bytes, bytes | None]] = [(b":ABOR;:OUTP OFF\n", None), (b"OUTP?\n", b"0\n")]

CHARGE_LINE = (
    b":ABOR;*WAI;:SENS:CURR:RANG 0.001;:SOUR:VOLT 4.3;:SOUR:VOLT:ILIM 0.001;"
    b":TRIG:BLOC:DEL:CONS 2,2.5;:INIT\n"
)
CONFIRM_LINE = b":SYST:ERR?;:TRIG:STAT?\n"
CONFIRMED = b'0,"No error";RUNNING;RUNNING;2\n'

POLL_LINE = (
    b'*TRG;:FETC? "defbuffer1",SOUR,READ,REL,SOURSTAT;:OUTP?;:SOUR:VOLT?;:SOUR:VOLT:ILIM?;'
    b":TRIG:STAT?\n"
)
POLL_OPEN_LINE = b":OUTP?;:TRIG:STAT?\n"


def poll_reply(
    *,
    voltage: bytes = b"3.712345E+00",
    current: bytes = b"9.999800E-04",
    rel: bytes = b"1.000000E+00",
    status: bytes = b"232",
    settings: bytes = b"1;4.300000E+00;1.000000E-03;RUNNING;RUNNING;2",
) -> bytes:
    return b",".join((voltage, current, rel, status)) + b";" + settings + b"\n"
