"""The auxiliary thermometer: kelvin, or NaN."""

from __future__ import annotations

import math

import pytest

from controller.domain.errors import CyclerRejectedError, CyclerTimeoutError
from controller.hal.drivers.thermometer import DaqThermometer
from tests.contract.scripted import Late, ManualClock, ScriptedTransport

IDENTITY = b"KEITHLEY INSTRUMENTS,MODEL DAQ6510,04340543,1.7.12b\n"
SETUP = (
    b':SENS:FUNC "TEMP";:SENS:TEMP:TRAN THER;:SENS:TEMP:THER 10000;:UNIT:TEMP CEL\n',
    None,
)


def _thermometer() -> tuple[DaqThermometer, ScriptedTransport]:
    line = ScriptedTransport(ManualClock(), [(b"*IDN?\n", IDENTITY), SETUP])
    return DaqThermometer(line), line


@pytest.mark.parametrize(
    ("reply", "kelvin"),
    [
        (b"2.500000E+01\n", 298.15),
        (b"-8.000000E+01\n", 193.15),
        (b"1.500000E+02\n", 423.15),
        (b"-8.001000E+01\n", math.nan),
        (b"1.500100E+02\n", math.nan),
        (b"9.900000E+37\n", math.nan),
        (b"NAN\n", math.nan),
        (b"garbage\n", math.nan),
        (b"\n", math.nan),
        (None, math.nan),
    ],
)
def test_kelvin_or_nan(reply: bytes | None, kelvin: float) -> None:
    thermometer, line = _thermometer()
    line.expect((b":READ?\n", reply))
    assert thermometer.read_K() == pytest.approx(kelvin, nan_ok=True)
    line.assert_finished()


def test_a_late_temperature_never_answers_a_later_question() -> None:
    thermometer, line = _thermometer()
    line.expect((b":READ?\n", Late(b"1.000000E+01\n")))
    assert math.isnan(thermometer.read_K())
    line.expect((b"*IDN?\n", IDENTITY), (b":READ?\n", b"2.000000E+01\n"))
    assert thermometer.read_K() == pytest.approx(293.15)
    line.expect((b":READ?\n", b"3.000000E+01\n"))
    assert thermometer.read_K() == pytest.approx(303.15)


def test_a_lost_line_is_nan() -> None:
    thermometer, line = _thermometer()
    line.cut = True
    assert math.isnan(thermometer.read_K())
    assert math.isnan(thermometer.read_K())


def test_lines_that_nobody_asked_for_are_nan() -> None:
    thermometer, line = _thermometer()
    line.expect((b":READ?\n", None))
    thermometer.read_K()
    line._arrived.extend([b"x\n"] * 20)
    line.expect((b"*IDN?\n", None))
    assert math.isnan(thermometer.read_K())


def test_another_instrument_is_refused_and_not_set_up() -> None:
    line = ScriptedTransport(ManualClock(), [(b"*IDN?\n", b"KEITHLEY,MODEL 2450,1,1\n")])
    with pytest.raises(CyclerRejectedError, match="expected a DAQ thermometer at scripted"):
        DaqThermometer(line)
    line.assert_finished()


def test_no_answer_at_the_start_is_an_error() -> None:
    line = ScriptedTransport(ManualClock(), [(b"*IDN?\n", None)])
    with pytest.raises(CyclerTimeoutError):
        DaqThermometer(line)


def test_identity_and_close() -> None:
    thermometer, line = _thermometer()
    assert thermometer.identity.startswith("KEITHLEY INSTRUMENTS,MODEL DAQ6510")
    thermometer.close()
    assert line.closed
