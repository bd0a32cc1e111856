"""The 2450 driver against exact bytes: every write is expected, every reply is given."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, OPEN, Command
from controller.domain.errors import (
    CyclerConnectionError,
    CyclerError,
    CyclerProtocolError,
    CyclerRejectedError,
    CyclerTimeoutError,
)
from controller.domain.sample import (
    LIMIT_CURRENT,
    LIMIT_VOLTAGE,
    NAN,
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
from controller.hal.drivers.keithley2450 import Keithley2450
from controller.hal.ports import DeviceLimits
from tests.contract import golden2450 as golden
from tests.contract.scripted import Late, ManualClock, ScriptedTransport

CHARGE_1MA = Command(CHARGE, 1e-3, 4.3, 1.0, 5.0)


class Rig:
    """A driver on a scripted line, with what it reported."""

    def __init__(self, thermometer_K: list[float] | None = None) -> None:
        self.clock = ManualClock()
        self.line = ScriptedTransport(self.clock)
        self.exchanges: list[tuple[str, bytes, bytes]] = []
        self.driver = Keithley2450(
            self.line,
            self.clock,
            thermometer=None if thermometer_K is None else FixedThermometer(thermometer_K),
            on_exchange=lambda kind, sent, reply: self.exchanges.append((kind, sent, reply)),
        )

    def cycling(self) -> Rig:
        """Bring it to the voltage source at OCV."""
        self.line.expect(*golden.PREPARE, *golden.ENERGISE, *golden.RECHECK, *golden.TAKE_OVER)
        self.driver.prepare(golden.LIMITS, golden.VALID_FOR_S)
        assert self.driver.energise_at_0A() == golden.OCV_V
        self.driver.recheck()
        self.driver.take_over_from_ocv(golden.OCV_V)
        self.line.assert_finished()
        return self

    def charging(self) -> Rig:
        self.cycling()
        self.line.expect((golden.CHARGE_LINE, None), (golden.CONFIRM_LINE, golden.CONFIRMED))
        self.driver.program(CHARGE_1MA, golden.OCV_V)
        self.line.assert_finished()
        self.exchanges.clear()
        return self


class FixedThermometer:
    def __init__(self, readings_K: list[float]) -> None:
        self.readings_K = readings_K
        self.closed = False

    def read_K(self) -> float:
        return self.readings_K.pop(0)

    def close(self) -> None:
        self.closed = True


# Start order -----------------------------------------------------------------------------------


def test_the_whole_start_order_byte_for_byte() -> None:
    rig = Rig()
    rig.line.expect(*golden.IDENTIFY)
    identity = rig.driver.identify()
    assert (identity.model, identity.serial_number) == ("MODEL 2450", "04512345")
    assert identity.off_modes == {"current": "NORM", "voltage": "NORM"}
    assert not identity.output_on
    assert identity.pending_errors == ()
    rig.cycling()
    assert rig.line.written == [sent for sent, _ in golden.START]


def test_looking_writes_no_setting() -> None:
    rig = Rig()
    rig.line.expect(*golden.IDENTIFY)
    rig.driver.identify()
    assert all(b"?" in line and b" " not in line for line in rig.line.written)


@pytest.mark.parametrize(
    ("at", "reply", "words"),
    [
        (0, b"TSP\n", "speaks TSP"),
        (1, b"KEITHLEY INSTRUMENTS,MODEL 2461,04512345,1.7.12b\n", "expected a Keithley 2450"),
        (1, b"ACME,MODEL 2450,1,1\n", "expected a Keithley 2450"),
        (1, b"KEITHLEY\n", "expected a Keithley 2450"),
    ],
)
def test_another_instrument_is_refused_after_two_questions(
    at: int, reply: bytes, words: str
) -> None:
    rig = Rig()
    script = list(golden.IDENTIFY[:2])
    script[at] = (script[at][0], reply)
    rig.line.expect(*script)
    with pytest.raises(CyclerRejectedError, match=words):
        rig.driver.identify()
    rig.line.assert_finished()


def test_pending_errors_are_all_read() -> None:
    rig = Rig()
    rig.line.expect(
        *golden.IDENTIFY[:5],
        (b"SYST:ERR?\n", b'-113,"Undefined header"\n'),
        (b"SYST:ERR?\n", b'-222,"Parameter data out of range"\n'),
        (b"SYST:ERR?\n", b'0,"No error"\n'),
    )
    assert rig.driver.identify().pending_errors == (
        "-113, Undefined header",
        "-222, Parameter data out of range",
    )


def _altered(
    script: list[tuple[bytes, bytes | None]], at: int, old: bytes, new: bytes
) -> list[tuple[bytes, bytes | None]]:
    sent, reply = script[at]
    assert reply is not None
    assert old in reply
    return [*script[:at], (sent, reply.replace(old, new, 1))]


@pytest.mark.parametrize(
    ("script", "call", "words"),
    [
        (_altered(golden.PREPARE, 1, b";HIMP", b";NORM"), "prepare", "OUTP:CURR:SMOD.*HIMP.*NORM"),
        (_altered(golden.PREPARE, 1, b"HIMP;0", b"ZERO;0"), "prepare", "OUTP:VOLT:SMOD.*ZERO"),
        (_altered(golden.PREPARE, 1, b"0;H", b"1;H"), "prepare", "OUTP"),
        (_altered(golden.PREPARE, 3, b"PROT5", b"PROT40"), "prepare", "PROT5, found PROT40"),
        (_altered(golden.PREPARE, 6, b"0,", b"2727,"), "prepare", "2727"),
        (_altered(golden.ENERGISE, 3, b"4.8", b"2.1"), "energise", "VLIM.*4.8, found 2.1"),
        (_altered(golden.ENERGISE, 3, b"4.800000E+00", b"NAN"), "energise", "4.8, found NAN"),
        (_altered(golden.ENERGISE, 3, b"CURR;0", b"VOLT;0"), "energise", "SOUR:FUNC"),
        (_altered(golden.ENERGISE, 3, b"0.000000E+00", b"1.0E-03"), "energise", "SOUR:CURR"),
        (_altered(golden.ENERGISE, 3, b'C";1', b'C";0'), "energise", "RSEN"),
        (_altered(golden.ENERGISE, 3, b"0;HIMP", b"0;NORM"), "energise", "SMOD"),
        (_altered(golden.ENERGISE, 4, b"3.200000E+00", b"9.900000E+37"), "energise", "overflow"),
        (_altered(golden.ENERGISE, 4, b"3.200000E+00", b"NAN"), "energise", "open-circuit"),
    ],
)
def test_a_failing_check_stops_the_start(
    script: list[tuple[bytes, bytes | None]], call: str, words: str
) -> None:
    rig = Rig()
    if call == "energise":
        rig.line.expect(*golden.PREPARE)
        rig.driver.prepare(golden.LIMITS, golden.VALID_FOR_S)
    if len(script) == 5:
        script = [*script, golden.ENERGISE[5]]
    rig.line.expect(*script)
    calls: dict[str, Callable[[], object]] = {
        "prepare": lambda: rig.driver.prepare(golden.LIMITS, golden.VALID_FOR_S),
        "energise": rig.driver.energise_at_0A,
    }
    with pytest.raises(CyclerRejectedError, match=words):
        calls[call]()
    rig.line.assert_finished()
    if len(script) < 5:
        assert not any(b"OUTP ON" in line for line in rig.line.written)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"1;0", b"0;0", "found off"),
        (b"RUNNING", b"IDLE", "dead-man should be running, found IDLE"),
        (b'0,"No', b'-222,"No', "-222"),
    ],
)
def test_output_on_is_confirmed_with_its_dead_man(old: bytes, new: bytes, words: str) -> None:
    rig = Rig()
    rig.line.expect(*golden.PREPARE, *_altered(golden.ENERGISE, 5, old, new))
    rig.driver.prepare(golden.LIMITS, golden.VALID_FOR_S)
    with pytest.raises(CyclerRejectedError, match=words):
        rig.driver.energise_at_0A()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"4.8", b"20.0", "VLIM"),
        (b"PROT5", b"PROT20", "PROT"),
        (b"HIMP", b"NORM", "SMOD"),
        (b"1;HIMP", b"0;HIMP", "OUTP"),
    ],
)
def test_the_second_look_at_limits_counts(old: bytes, new: bytes, words: str) -> None:
    rig = Rig()
    rig.line.expect(*golden.PREPARE, *golden.ENERGISE, *_altered(golden.RECHECK, 0, old, new))
    rig.driver.prepare(golden.LIMITS, golden.VALID_FOR_S)
    rig.driver.energise_at_0A()
    with pytest.raises(CyclerRejectedError, match=words):
        rig.driver.recheck()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"3.200000E+00", b"4.300000E+00", "SOUR:VOLT.*3.2, found 4.3"),
        (b"1.000000E-09", b"1.000000E-03", "ILIM"),
        (b"VOLT;", b"CURR;", "SOUR:FUNC"),
        (b'C";1.000000E-01', b'C";1.000000E-03', "SENS:CURR:RANG"),
        (b"1;0,", b"0;0,", "RSEN"),
        (b"0;HIMP;HIMP", b"0;HIMP;NORM", "SMOD"),
    ],
)
def test_the_change_of_function_is_read_back_before_output_on(
    old: bytes, new: bytes, words: str
) -> None:
    rig = Rig()
    rig.line.expect(
        *golden.PREPARE, *golden.ENERGISE, *golden.RECHECK, *_altered(golden.TAKE_OVER, 5, old, new)
    )
    rig.driver.prepare(golden.LIMITS, golden.VALID_FOR_S)
    rig.driver.energise_at_0A()
    rig.driver.recheck()
    with pytest.raises(CyclerRejectedError, match=words):
        rig.driver.take_over_from_ocv(golden.OCV_V)
    assert sum(b"OUTP ON" in line for line in rig.line.written) == 1


@pytest.mark.parametrize(
    "limits",
    [
        DeviceLimits(max_current_A=0.0, min_voltage_V=2.5, max_voltage_V=4.3),
        DeviceLimits(max_current_A=1.0501, min_voltage_V=2.5, max_voltage_V=4.3),
        DeviceLimits(max_current_A=NAN, min_voltage_V=2.5, max_voltage_V=4.3),
        DeviceLimits(max_current_A=0.02, min_voltage_V=4.3, max_voltage_V=4.3),
        DeviceLimits(max_current_A=0.02, min_voltage_V=NAN, max_voltage_V=4.3),
        DeviceLimits(max_current_A=0.02, min_voltage_V=2.5, max_voltage_V=20.6),
    ],
)
def test_limits_the_instrument_cannot_hold_are_refused_before_a_byte(limits: DeviceLimits) -> None:
    rig = Rig()
    with pytest.raises(CyclerRejectedError, match="device limit"):
        rig.driver.prepare(limits, 5.0)
    assert not rig.line.written


def test_nothing_is_energised_without_preparation() -> None:
    rig = Rig()
    with pytest.raises(CyclerRejectedError, match="prepare"):
        rig.driver.energise_at_0A()
    with pytest.raises(CyclerRejectedError, match="energise it at 0 A first"):
        rig.driver.program(CHARGE_1MA, 3.2)
    assert not rig.line.written


# Set-points ------------------------------------------------------------------------------------


def test_a_charge_is_one_line_and_its_confirmation() -> None:
    Rig().charging()


@pytest.mark.parametrize(
    ("current_A", "range_text"),
    [
        (1.047e-3, b"0.001"),
        (1.049e-3, b"0.01"),  # 0.2 % more, which the output may give, would end the range
        (1e-4, b"0.0001"),
        (1.051e-2, b"0.1"),
        (0.5e-9, b"1e-08"),
    ],
)
def test_the_smallest_range_whose_105_percent_holds_the_current(
    current_A: float, range_text: bytes
) -> None:
    rig = Rig().cycling()
    limit = max(current_A, 1e-9)
    rig.line.expect(
        (
            b":ABOR;*WAI;:SENS:CURR:RANG %b;:SOUR:VOLT 2.5;:SOUR:VOLT:ILIM %b;"
            b":TRIG:BLOC:DEL:CONS 2,30;:INIT\n" % (range_text, f"{limit:.9g}".encode()),
            None,
        ),
        (golden.CONFIRM_LINE, golden.CONFIRMED),
    )
    rig.driver.program(Command(DISCHARGE, -current_A, 2.5, 15.0, 60.0), 3.2)
    rig.line.assert_finished()


def _set_to(rig: Rig, current_A: float, range_text: bytes) -> None:
    rig.line.expect(
        (
            b":ABOR;*WAI;:SENS:CURR:RANG %b;:SOUR:VOLT 2.5;:SOUR:VOLT:ILIM %b;"
            b":TRIG:BLOC:DEL:CONS 2,30;:INIT\n" % (range_text, f"{current_A:.9g}".encode()),
            None,
        ),
        (golden.CONFIRM_LINE, golden.CONFIRMED),
    )
    rig.driver.program(Command(DISCHARGE, -current_A, 2.5, 15.0, 60.0), 3.2)
    rig.line.assert_finished()


def test_set_points_in_quick_succession_do_not_switch_the_range() -> None:
    rig = Rig().cycling()
    _set_to(rig, 3e-4, b"0.001")
    rig.clock.t_s += 7.0
    _set_to(rig, 2e-5, b"0.001")
    _set_to(rig, 3e-3, b"0.01")  # never too small
    rig.clock.t_s += 7.0
    _set_to(rig, 2e-3, b"0.01")  # needed again: it counts from here
    rig.clock.t_s += 7.0
    _set_to(rig, 2e-5, b"0.01")
    rig.clock.t_s += 1.0
    _set_to(rig, 2e-5, b"0.0001")


def test_hold_keeps_the_range_and_takes_the_last_voltage() -> None:
    rig = Rig().charging()
    rig.line.expect(
        (
            (
                b":ABOR;*WAI;:SENS:CURR:RANG 0.001;:SOUR:VOLT 3.81234;:SOUR:VOLT:ILIM 1e-09;"
                b":TRIG:BLOC:DEL:CONS 2,2.5;:INIT\n"
            ),
            None,
        ),
        (golden.CONFIRM_LINE, golden.CONFIRMED),
    )
    rig.driver.program(Command(HOLD_0A), 3.81234)
    rig.line.assert_finished()


@pytest.mark.parametrize(
    ("command", "last_V"),
    [
        (Command(CHARGE, -1e-3, 4.3), 3.2),
        (Command(DISCHARGE, 1e-3, 2.5), 3.2),
        (Command(CHARGE, 0.0, 4.3), 3.2),
        (Command(CHARGE, NAN, 4.3), 3.2),
        (Command(CHARGE, 0.0201, 4.3), 3.2),
        (Command(CHARGE, math.inf, 4.3), 3.2),
        (Command(CHARGE, 1e-3, 4.3001), 3.2),
        (Command(DISCHARGE, -1e-3, 2.4999), 3.2),
        (Command(CHARGE, 1e-3, NAN), 3.2),
        (Command(7, 1e-3, 4.3), 3.2),
        (Command(HOLD_0A), NAN),
        (Command(HOLD_0A), 5.0),
        (Command(CHARGE, 1e-3, 4.3, valid_for_s=0.0), 3.2),
        (Command(CHARGE, 1e-3, 4.3, valid_for_s=NAN), 3.2),
        (Command(CHARGE, 1e-3, 4.3, valid_for_s=20_001.0), 3.2),
        (Command(CHARGE, 1e-3, 4.3, period_s=1.26, valid_for_s=5.0), 3.2),
        (Command(CHARGE, 1e-3, 4.3, device_timed_s=0.009), 3.2),
        (Command(CHARGE, 1e-3, 4.3, device_timed_s=math.inf), 3.2),
    ],
)
def test_an_impossible_set_point_is_refused_before_a_byte(command: Command, last_V: float) -> None:
    rig = Rig().cycling()
    before = len(rig.line.written)
    with pytest.raises(CyclerRejectedError):
        rig.driver.program(command, last_V)
    assert len(rig.line.written) == before


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (b'2727,"Command prohibited while trigger model is running";RUNNING;RUNNING;2\n', "2727"),
        (b'0,"No error";IDLE;IDLE;0\n', "found IDLE"),
        (b'0,"No error";RUNNING\n', "expected 4 replies"),
        (None, "no reply"),
    ],
)
def test_a_set_point_that_does_not_stand_is_an_error(reply: bytes | None, error: str) -> None:
    rig = Rig().cycling()
    rig.line.expect((golden.CHARGE_LINE, None), (golden.CONFIRM_LINE, reply))
    with pytest.raises(CyclerError, match=error):
        rig.driver.program(CHARGE_1MA, 3.2)


PULSE_LINE = (
    b":ABOR;*WAI;:SENS:CURR:RANG 0.01;:SOUR:VOLT 2.5;:SOUR:VOLT:ILIM 0.009;"
    b':TRIG:LOAD "Empty";:TRIG:BLOC:MEAS 1,"defbuffer1",INF;:TRIG:BLOC:DEL:CONS 2,1;'
    b":TRIG:BLOC:SOUR:STAT 3,OFF;:INIT\n"
)
PULSE = Command(DISCHARGE, -9e-3, 2.5, 0.2, 5.0, device_timed_s=1.0)
PULSE_ENDED = golden.poll_reply(settings=b"0;2.500000E+00;9.000000E-03;IDLE;IDLE;3")


def test_a_device_timed_pulse_ends_in_output_off_without_a_mismatch() -> None:
    rig = Rig().charging()
    rig.line.expect(
        (PULSE_LINE, None),
        (golden.CONFIRM_LINE, golden.CONFIRMED),
        (golden.POLL_LINE, PULSE_ENDED),
        (golden.POLL_OPEN_LINE, b"0;IDLE;IDLE;3\n"),
    )
    rig.driver.program(PULSE, 3.2)
    for sequence in range(2):
        sample = rig.driver.poll(sequence)
        assert sample.output == OUTPUT_OFF
        assert sample.quality == QUALITY_NO_CELL_VOLTAGE
        assert sample.current_A == 0.0
        assert math.isnan(sample.voltage_V)


def test_a_short_pulse_may_be_over_when_it_is_confirmed() -> None:
    rig = Rig().cycling()
    rig.line.expect((PULSE_LINE, None), (golden.CONFIRM_LINE, b'0,"No error";IDLE;IDLE;3\n'))
    rig.driver.program(PULSE, 3.2)
    rig.line.assert_finished()


def test_a_hold_that_cuts_a_pulse_short_loads_the_dead_man_in_the_same_line() -> None:
    rig = Rig().charging()
    rig.line.expect(
        (PULSE_LINE, None),
        (golden.CONFIRM_LINE, golden.CONFIRMED),
        (
            (
                b":ABOR;*WAI;:SENS:CURR:RANG 0.01;:SOUR:VOLT 3.2;:SOUR:VOLT:ILIM 1e-09;"
                b':TRIG:LOAD "Empty";:TRIG:BLOC:MEAS 1,"defbuffer1",INF;:TRIG:BLOC:DEL:CONS 2,2.5;'
                b":TRIG:BLOC:BRAN:EVEN 3,COMM,2;:TRIG:BLOC:SOUR:STAT 4,OFF;:INIT\n"
            ),
            None,
        ),
        (golden.CONFIRM_LINE, golden.CONFIRMED),
    )
    rig.driver.program(PULSE, 3.2)
    rig.driver.program(Command(HOLD_0A), 3.2)
    rig.line.assert_finished()


def test_raised_limits_are_read_back_with_the_next_set_point() -> None:
    rig = Rig().charging()
    wide = DeviceLimits(max_current_A=0.05, min_voltage_V=2.5, max_voltage_V=4.4)
    rig.line.expect(
        (
            (
                b":ABOR;*WAI;:SENS:CURR:RANG 0.1;:SOUR:VOLT 2.5;:SOUR:VOLT:ILIM 0.05;"
                b":TRIG:BLOC:DEL:CONS 2,2.5;:INIT\n"
            ),
            None,
        ),
        (golden.CONFIRM_LINE, golden.CONFIRMED),
        (
            b":SOUR:VOLT?;:SOUR:VOLT:ILIM?;:SYST:ERR?\n",
            b'2.500000E+00;5.000000E-02;0,"No error"\n',
        ),
        (golden.CHARGE_LINE, None),
        (golden.CONFIRM_LINE, golden.CONFIRMED),
        (
            b":SOUR:VOLT?;:SOUR:VOLT:ILIM?;:SYST:ERR?\n",
            b'4.300000E+00;5.000000E-02;0,"No error"\n',
        ),
    )
    rig.driver.limit_to(wide)
    rig.driver.program(Command(DISCHARGE, -0.05, 2.5), 3.2)
    rig.driver.limit_to(golden.LIMITS)
    with pytest.raises(CyclerRejectedError, match=r"ILIM.*0\.001, found"):
        rig.driver.program(CHARGE_1MA, 3.2)
    rig.line.assert_finished()


def test_protection_changed_with_the_output_off_starts_nothing() -> None:
    rig = Rig().charging()
    rig.line.expect(
        *golden.OPEN,
        (b":ABOR;*WAI;:SOUR:VOLT:PROT PROT10\n", None),
        (b":SOUR:VOLT:PROT?;:SYST:ERR?\n", b'PROT10;0,"No error"\n'),
    )
    rig.driver.open()
    rig.driver.limit_to(DeviceLimits(max_current_A=0.02, min_voltage_V=2.5, max_voltage_V=5.0))
    rig.line.assert_finished()


def test_a_higher_protection_step_is_written_and_read_back() -> None:
    rig = Rig().charging()
    rig.line.expect(
        (b":ABOR;*WAI;:SOUR:VOLT:PROT PROT10;:INIT\n", None),
        (b":SOUR:VOLT:PROT?;:SYST:ERR?\n", b'PROT5;0,"No error"\n'),
    )
    with pytest.raises(CyclerRejectedError, match="PROT10, found PROT5"):
        rig.driver.limit_to(DeviceLimits(max_current_A=0.02, min_voltage_V=2.5, max_voltage_V=5.0))


# Open ------------------------------------------------------------------------------------------


def test_open_is_confirmed_and_may_be_repeated() -> None:
    rig = Rig().charging()
    rig.line.expect(*golden.OPEN, *golden.OPEN, *golden.OPEN)
    rig.driver.open()
    rig.driver.open()
    rig.driver.program(Command(OPEN), NAN)
    rig.line.assert_finished()


def test_an_output_that_stays_on_is_an_error() -> None:
    rig = Rig().charging()
    rig.line.expect(golden.OPEN[0], (b"OUTP?\n", b"1\n"))
    with pytest.raises(CyclerRejectedError, match="should be off"):
        rig.driver.open()


def test_open_switches_off_before_it_sorts_out_late_replies() -> None:
    rig = Rig().charging()
    rig.line.expect((golden.POLL_LINE, Late(golden.poll_reply())))
    assert rig.driver.poll(0).quality == QUALITY_NO_REPLY
    rig.line.expect(golden.OPEN[0], golden.IDENTIFY[1], golden.OPEN[1])
    rig.driver.open()
    rig.line.assert_finished()


def test_open_survives_a_reply_to_an_earlier_question() -> None:
    rig = Rig().charging()
    rig.line.expect(
        golden.OPEN[0], (b"OUTP?\n", golden.poll_reply()), golden.IDENTIFY[1], golden.OPEN[1]
    )
    rig.driver.open()
    rig.line.assert_finished()


def test_emergency_open_is_one_write_and_is_reported_later() -> None:
    rig = Rig().charging()
    rig.line.expect(
        (b"\n:ABOR;:OUTP OFF\n", None), (golden.POLL_OPEN_LINE, b"0;ABORTED;ABORTED;2\n")
    )
    rig.driver.emergency_open()
    assert rig.exchanges == []
    sample = rig.driver.poll(5)
    assert sample.output == OUTPUT_OFF
    assert sample.quality == QUALITY_NO_CELL_VOLTAGE
    assert rig.exchanges[0] == ("emergency-open", b"\n:ABOR;:OUTP OFF\n", b"")


def test_an_output_found_on_after_open_is_another_client() -> None:
    rig = Rig().charging()
    rig.line.expect(*golden.OPEN, (golden.POLL_OPEN_LINE, b"1;IDLE;IDLE;0\n"))
    rig.driver.open()
    sample = rig.driver.poll(0)
    assert sample.output == OUTPUT_ON
    assert sample.quality == QUALITY_READBACK_MISMATCH
    assert math.isnan(sample.current_A)


# Polls -----------------------------------------------------------------------------------------


def test_a_good_poll() -> None:
    rig = Rig().charging()
    rig.line.expect((golden.POLL_LINE, golden.poll_reply()))
    sample = rig.driver.poll(7)
    assert sample == (
        7,
        0,
        100.0,
        1.0,
        1.7e9 + 100.0,
        3.712345,
        9.9998e-4,
        sample.temperature_K,
        OUTPUT_ON,
        LIMIT_CURRENT,
        1e-3,
        0.02,
        0,
    )
    assert math.isnan(sample.temperature_K)


def _poll_after_a_good_one(reply: bytes | Late | None, elapsed_s: float = 1.0) -> Rig:
    rig = Rig().charging()
    rig.line.expect((golden.POLL_LINE, golden.poll_reply()))
    assert rig.driver.poll(0).quality == 0
    rig.exchanges.clear()
    rig.clock.t_s += elapsed_s
    rig.line.expect((golden.POLL_LINE, reply))
    return rig


def _settings(text: bytes) -> Callable[[], bytes]:
    return lambda: golden.poll_reply(rel=b"2.000000E+00", settings=text)


@pytest.mark.parametrize(
    ("reply", "quality"),
    [
        (golden.poll_reply(rel=b"2.000000E+00"), 0),
        (golden.poll_reply(), QUALITY_DUPLICATE | QUALITY_STALE),
        (golden.poll_reply(rel=b"9.999000E-01"), QUALITY_OUT_OF_ORDER),
        (
            golden.poll_reply(rel=b"2", voltage=b"9.900000E+37"),
            QUALITY_VOLTAGE_INVALID | QUALITY_SATURATED,
        ),
        (golden.poll_reply(rel=b"2", voltage=b"9.910000E+37"), QUALITY_VOLTAGE_INVALID),
        (golden.poll_reply(rel=b"2", voltage=b"NAN"), QUALITY_VOLTAGE_INVALID),
        (golden.poll_reply(rel=b"2", current=b"nan"), QUALITY_CURRENT_INVALID),
        (
            golden.poll_reply(rel=b"2", current=b"-9.900000E+37"),
            QUALITY_CURRENT_INVALID | QUALITY_SATURATED,
        ),
        (golden.poll_reply(rel=b"2", current=b"1.050000E-03"), QUALITY_SATURATED),
        (golden.poll_reply(rel=b"2", current=b"-1.050000E-03"), QUALITY_SATURATED),
        (golden.poll_reply(rel=b"2", current=b"1.049000E-03"), 0),
        (golden.poll_reply(rel=b"2", status=b"248"), QUALITY_OVER_TEMPERATURE),
        (
            _settings(b"1;4.200000E+00;1.000000E-03;RUNNING;RUNNING;2")(),
            QUALITY_READBACK_MISMATCH,
        ),
        (
            _settings(b"1;4.300000E+00;1.000100E-03;RUNNING;RUNNING;2")(),
            QUALITY_READBACK_MISMATCH,
        ),
        (_settings(b"1;4.300000E+00;1.000000E-03;IDLE;IDLE;2")(), QUALITY_READBACK_MISMATCH),
        (_settings(b"1;4.300000E+00;1.000000E-03;WAITING;WAITING;1")(), 0),
        (_settings(b"1;4.300000E+00;1.000000E-03;RUNNING;RUNNING;3")(), 0),
    ],
)
def test_quality_of_a_poll(reply: bytes, quality: int) -> None:
    rig = _poll_after_a_good_one(reply)
    sample = rig.driver.poll(1)
    assert sample.quality == quality
    assert math.isnan(sample.voltage_V) == bool(quality & QUALITY_VOLTAGE_INVALID)
    assert math.isnan(sample.current_A) == bool(quality & QUALITY_CURRENT_INVALID)
    assert sample.output == OUTPUT_ON


def test_a_fast_second_look_is_a_duplicate_but_not_stale() -> None:
    rig = _poll_after_a_good_one(golden.poll_reply(), elapsed_s=0.05)
    assert rig.driver.poll(1).quality == QUALITY_DUPLICATE


def test_a_mismatch_lasts_as_long_as_the_settings_differ() -> None:
    other = b"1;4.200000E+00;1.000000E-03;RUNNING;RUNNING;2"
    rig = _poll_after_a_good_one(golden.poll_reply(rel=b"2", settings=other))
    rig.line.expect(
        (golden.POLL_LINE, golden.poll_reply(rel=b"3", settings=other)),
        (golden.POLL_LINE, golden.poll_reply(rel=b"4")),
    )
    assert [rig.driver.poll(n).quality for n in range(3)] == [
        QUALITY_READBACK_MISMATCH,
        QUALITY_READBACK_MISMATCH,
        0,
    ]
    # Stored when the settings differ from the last, and only then.
    assert [kind for kind, _, _ in rig.exchanges] == ["poll", "poll"]


def test_levels_the_device_never_took_are_a_mismatch_from_the_first_poll() -> None:
    rig = Rig().charging()
    rig.line.expect(
        (
            golden.POLL_LINE,
            golden.poll_reply(settings=b"1;3.200000E+00;1.000000E-09;RUNNING;RUNNING;2"),
        )
    )
    assert rig.driver.poll(0).quality == QUALITY_READBACK_MISMATCH


def test_the_constant_voltage_phase_is_read_from_the_status() -> None:
    rig = _poll_after_a_good_one(golden.poll_reply(rel=b"2", status=b"200"))
    assert rig.driver.poll(1).limit_status == LIMIT_VOLTAGE


@pytest.mark.parametrize(
    ("state", "elapsed_s", "quality"),
    [
        # The permission had run out: the dead-man did what it is for.
        (b"IDLE", 2.5, QUALITY_NO_CELL_VOLTAGE),
        # It had not: somebody else switched off.
        (b"IDLE", 2.4, QUALITY_NO_CELL_VOLTAGE | QUALITY_READBACK_MISMATCH),
        (b"RUNNING", 2.5, QUALITY_NO_CELL_VOLTAGE | QUALITY_READBACK_MISMATCH),
    ],
)
def test_an_output_found_off(state: bytes, elapsed_s: float, quality: int) -> None:
    settings = b"0;4.300000E+00;1.000000E-03;%b;%b;4" % (state, state)
    rig = _poll_after_a_good_one(golden.poll_reply(settings=settings), elapsed_s=elapsed_s)
    sample = rig.driver.poll(1)
    assert sample.output == OUTPUT_OFF
    assert sample.quality == quality
    assert sample.t_device_s == pytest.approx(1.0 + elapsed_s)


GARBAGE = [
    b"\n",
    b"garbage\n",
    b"1;2\n",
    b"3.7,1e-3,1.0,232\n",
    golden.poll_reply(voltage=b"3_7"),
    golden.poll_reply(voltage=b"x"),
    golden.poll_reply(rel=b"9.9E37"),
    golden.poll_reply(rel=b"NAN"),
    golden.poll_reply(status=b""),
    golden.poll_reply(status=b"inf"),
    golden.poll_reply(settings=b"2;4.300000E+00;1.000000E-03;RUNNING;RUNNING;2"),
    golden.poll_reply(settings=b"1;4.300000E+00;RUNNING;RUNNING;2"),
    golden.poll_reply(settings=b"1;x;1.000000E-03;RUNNING;RUNNING;2"),
    golden.poll_reply(settings=b"1;4.300000E+00;1.000000E-03;RUNNING;RUNNING;"),
    golden.IDENTIFY[1][1],
    b"\xff\xfe;;;\n",
]


@pytest.mark.parametrize("reply", [None, *GARBAGE])
def test_a_poll_that_fails_is_a_sample_and_the_next_one_is_good(reply: bytes | None) -> None:
    rig = _poll_after_a_good_one(reply)
    sample = rig.driver.poll(1)
    assert sample.quality == QUALITY_NO_REPLY
    assert sample.output == OUTPUT_UNKNOWN
    assert math.isnan(sample.voltage_V)
    assert math.isnan(sample.current_A)
    assert math.isnan(sample.t_device_s)
    kind, sent, stored = rig.exchanges[-1]
    assert (kind, sent, stored) == (
        "no-reply" if reply is None else "unparsable",
        golden.POLL_LINE,
        reply or b"",
    )
    rig.line.expect(golden.IDENTIFY[1], (golden.POLL_LINE, golden.poll_reply(rel=b"4.000000E+00")))
    good = rig.driver.poll(2)
    assert (good.quality, good.t_device_s) == (0, 4.0)
    rig.line.assert_finished()


def test_a_late_reply_never_answers_a_later_question() -> None:
    rig = _poll_after_a_good_one(Late(golden.poll_reply(voltage=b"1.111111E+00", rel=b"2")))
    assert rig.driver.poll(1).quality == QUALITY_NO_REPLY
    rig.line.expect(
        golden.IDENTIFY[1],
        (golden.POLL_LINE, golden.poll_reply(voltage=b"2.222222E+00", rel=b"3")),
        (golden.POLL_LINE, golden.poll_reply(voltage=b"3.333333E+00", rel=b"4")),
    )
    assert rig.driver.poll(2).voltage_V == 2.222222
    assert rig.driver.poll(3).voltage_V == 3.333333
    assert ("late-reply", b"", golden.poll_reply(voltage=b"1.111111E+00", rel=b"2")) in (
        rig.exchanges
    )


def test_late_answers_to_the_resynchronisation_itself_do_not_shift_replies() -> None:
    rig = _poll_after_a_good_one(Late(golden.poll_reply(voltage=b"1.111111E+00", rel=b"2")))
    identity = golden.IDENTIFY[1][1]
    assert identity is not None
    assert rig.driver.poll(1).quality == QUALITY_NO_REPLY
    rig.line.expect((b"*IDN?\n", Late(identity)))
    assert rig.driver.poll(2).quality == QUALITY_NO_REPLY
    # The answers to the lost question and to the new one arrive together.
    rig.line.expect(
        (b"*IDN?\n", identity),
        (golden.POLL_LINE, golden.poll_reply(voltage=b"2.222222E+00", rel=b"5")),
    )
    assert rig.driver.poll(3).quality == QUALITY_NO_REPLY
    rig.line.expect(
        (b"*IDN?\n", identity),
        (golden.POLL_LINE, golden.poll_reply(voltage=b"3.333333E+00", rel=b"6")),
    )
    fourth = rig.driver.poll(4)
    assert (fourth.quality, fourth.voltage_V) == (0, 3.333333)
    rig.line.assert_finished()


def test_an_interrupt_while_waiting_for_a_reply_does_not_shift_replies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = _poll_after_a_good_one(golden.poll_reply(voltage=b"1.111111E+00", rel=b"2"))

    def interrupted(terminator: bytes, timeout_s: float) -> bytes:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(rig.line, "read_until", interrupted)
        with pytest.raises(KeyboardInterrupt):
            rig.driver.poll(1)
    rig.line.expect(golden.OPEN[0], golden.IDENTIFY[1], golden.OPEN[1])
    rig.driver.open()
    rig.line.assert_finished()


@pytest.mark.parametrize("status", [b"nan", b"inf", b"1.5", b""])
def test_a_status_that_is_no_number_ends_the_start(status: bytes) -> None:
    rig = Rig()
    script = [*golden.ENERGISE]
    sent, reply = script[4]
    assert reply is not None
    script[4] = (sent, reply.replace(b",200", b"," + status))
    rig.line.expect(*golden.PREPARE, *script)
    rig.driver.prepare(golden.LIMITS, golden.VALID_FOR_S)
    with pytest.raises(CyclerProtocolError):
        rig.driver.energise_at_0A()


def test_an_instrument_that_is_too_warm_is_not_energised() -> None:
    rig = Rig()
    script = [*golden.ENERGISE]
    sent, reply = script[4]
    assert reply is not None
    script[4] = (sent, reply.replace(b",200", b",216"))
    rig.line.expect(*golden.PREPARE, *script)
    rig.driver.prepare(golden.LIMITS, golden.VALID_FOR_S)
    with pytest.raises(CyclerRejectedError, match="too warm"):
        rig.driver.energise_at_0A()


def test_a_lost_connection_is_a_sample_and_is_remembered() -> None:
    rig = _poll_after_a_good_one(None)
    rig.line.script.clear()
    rig.line.cut = True
    assert rig.driver.connected
    assert rig.driver.poll(1).quality == QUALITY_NO_REPLY
    assert not rig.driver.connected
    with pytest.raises(CyclerConnectionError):
        rig.driver.open()
    with pytest.raises(CyclerConnectionError):
        rig.driver.emergency_open()


def test_while_in_doubt_no_permission_is_renewed() -> None:
    rig = _poll_after_a_good_one(None)
    rig.driver.poll(1)
    rig.line.expect((b"*IDN?\n", None))
    rig.driver.poll(2)
    assert rig.line.written[-1] == b"*IDN?\n"


def test_device_time_runs_on_over_a_cleared_buffer() -> None:
    rig = _poll_after_a_good_one(golden.poll_reply(rel=b"2"))
    assert rig.driver.poll(1).t_device_s == 2.0
    rig.clock.t_s += 10.0
    rig.line.expect(*golden.OPEN)
    rig.driver.open()
    rig.cycling()
    rig.line.expect(
        (
            golden.POLL_LINE,
            golden.poll_reply(
                rel=b"5.000000E-01", settings=b"1;3.2;1.000000E-09;RUNNING;RUNNING;2"
            ),
        )
    )
    assert rig.driver.poll(2).t_device_s == pytest.approx(12.5)


@pytest.mark.parametrize(
    ("reading_K", "quality"),
    [(298.15, 0), (NAN, QUALITY_TEMPERATURE_INVALID), (0.0, QUALITY_TEMPERATURE_INVALID)],
)
def test_the_temperature_comes_with_each_poll(reading_K: float, quality: int) -> None:
    rig = Rig(thermometer_K=[reading_K]).charging()
    assert rig.driver.capabilities.temperature
    rig.line.expect((golden.POLL_LINE, golden.poll_reply()))
    sample = rig.driver.poll(0)
    assert sample.quality == quality
    assert sample.temperature_K == (reading_K if not quality else pytest.approx(NAN, nan_ok=True))


def test_closing_closes_both_lines() -> None:
    rig = Rig(thermometer_K=[])
    rig.driver.close()
    assert rig.line.closed
    assert rig.driver._thermometer is not None
    assert rig.driver._thermometer.closed


def test_the_error_queue_cannot_hang_the_driver() -> None:
    rig = Rig()
    rig.line.expect(*golden.IDENTIFY[:5], *[(b"SYST:ERR?\n", b'-350,"Queue overflow"\n')] * 64)
    with pytest.raises(CyclerProtocolError, match="more than 64"):
        rig.driver.identify()


def test_no_reply_to_a_question_is_a_timeout() -> None:
    rig = Rig()
    rig.line.expect((b"*LANG?\n", None))
    with pytest.raises(CyclerTimeoutError):
        rig.driver.identify()
    assert rig.exchanges == [("error", b"*LANG?\n", b"")]
