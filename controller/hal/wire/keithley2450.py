"""Lines of a Keithley 2450 in SCPI: what is sent, and how a poll's reply is read. No I/O.

Command words: vendor manuals 2450-901-01 Rev B and 2461-901-01 Rev A; what they are composed to is
in `docs/instruments/keithley2450.md`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from controller.hal.wire import scpi

# Full scales (A, V), vendor manual 2450-901-01 Rev B; each measures and sources to 105 %.
CURRENT_RANGES_A: Final = (10e-9, 100e-9, 1e-6, 10e-6, 100e-6, 1e-3, 10e-3, 100e-3, 1.0)
VOLTAGE_RANGES_V: Final = (0.02, 0.2, 2.0, 20.0, 200.0)
OVER_RANGE: Final = 1.05
# Over-voltage protection comes in steps (V).
PROTECTION_STEPS_V: Final = (2, 5, 10, 20, 40, 60, 80, 100, 120, 140, 160, 180)
# Smallest current limit of the voltage source; what "0 A" means with this source function.
MIN_LIMIT_A: Final = 1e-9
# Longest delay block (s).
MAX_DELAY_S: Final = 10_000.0

# SOURSTAT bits, as the manuals give them for a reading buffer's source status (2450 page 8-29, 2461
# page 8-31; the over-voltage bit in the latter only). To be checked on an instrument.
STATUS_PROTECTION: Final = 4
STATUS_OVER_TEMPERATURE: Final = 16
STATUS_LIMITED: Final = 32

# First state of the trigger model while the blocks run.
RUNNING: Final = (b"RUNNING", b"WAITING")

READING: Final = '"defbuffer1",SOUR,READ,REL,SOURSTAT'
ASK_LANGUAGE: Final = b"*LANG?\n"
ASK_IDENTITY: Final = b"*IDN?\n"
ASK_OUTPUT: Final = b"OUTP?\n"
ASK_ERROR: Final = b"SYST:ERR?\n"
ASK_OFF_MODES: Final = (b"OUTP:CURR:SMOD?\n", b"OUTP:VOLT:SMOD?\n")
POLL: Final = scpi.join(
    "*TRG", f":FETC? {READING}", ":OUTP?", ":SOUR:VOLT?", ":SOUR:VOLT:ILIM?", ":TRIG:STAT?"
)
# With the output off there is nothing to renew and nothing to read.
POLL_OPEN: Final = scpi.join(":OUTP?", ":TRIG:STAT?")
OPEN: Final = scpi.join(":ABOR", ":OUTP OFF")
# The newline in front ends a line that another thread may have written in part.
EMERGENCY_OPEN: Final = b"\n" + OPEN
CONFIRM_SET_POINT: Final = scpi.join(":SYST:ERR?", ":TRIG:STAT?")
CONFIRM_OUTPUT: Final = scpi.join(":OUTP?", ":SYST:ERR?", ":TRIG:STAT?")
# Output on, a reading and the dead-man in one line: no death of the host leaves the output on.
OUTPUT_ON_AND_READ: Final = (":OUTP ON", f":READ? {READING}", ":INIT")
OUTPUT_ON: Final = (":OUTP ON", ":INIT")

_MEASURE: Final = (':TRIG:LOAD "Empty"', ':TRIG:BLOC:MEAS 1,"defbuffer1",INF')


class PollReply(NamedTuple):
    """The answer to `POLL`, in the instrument's units; overflow and NaN are passed on.

    Attributes
    ----------
    source_V, reading_A : float
        Measured source level and current.
    rel_s : float
        Time since the buffer's first reading.
    status : int
        ``SOURSTAT`` bits.
    settings : bytes
        Output, level, limit and trigger states as sent, joined by ``;``.
    """

    source_V: float
    reading_A: float
    rel_s: float
    status: int
    settings: bytes


def parse_poll(reply: bytes) -> PollReply:
    """Return the answer to `POLL`.

    Raises
    ------
    ValueError, OverflowError
        It is something else: another question's answer, truncated, or garbage. (Plain errors:
        this runs for every reading, and the driver alone calls it.)
    """
    first = reply.index(b";")
    last = reply.rindex(b";")
    int(reply[last + 1 :])  # the block number ends a whole reply
    reading = reply[:first]
    if b"_" in reading:  # Python would take 1_0 for a number
        raise ValueError(reply)
    source, current, rel, status = reading.split(b",")
    rel_s = float(rel)
    if not 0.0 <= rel_s < scpi.OVERFLOW:
        raise ValueError(reply)
    return PollReply(
        float(source), float(current), rel_s, int(float(status)), reply[first + 1 : last]
    )


def split_settings(settings: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Return output, level, limit and first trigger state of a poll.

    Raises
    ------
    ValueError
        It has not the five fields.
    """
    output, level, limit, state, _ = settings.split(b";")
    return output, level, limit, state


def delay_block(delay_s: float) -> str:
    """Return the block that waits (s)."""
    return f":TRIG:BLOC:DEL:CONS 2,{scpi.amount(delay_s)}"


def dead_man_blocks(delay_s: float) -> tuple[str, ...]:
    """Return the blocks that switch the output off when no ``*TRG`` came during a delay (s)."""
    return (
        *_MEASURE,
        delay_block(delay_s),
        ":TRIG:BLOC:BRAN:EVEN 3,COMM,2",
        ":TRIG:BLOC:SOUR:STAT 4,OFF",
    )


def pulse_blocks(duration_s: float) -> tuple[str, ...]:
    """Return the blocks that end a pulse (s) on the device's own clock, with output off."""
    return (*_MEASURE, delay_block(duration_s), ":TRIG:BLOC:SOUR:STAT 3,OFF")


def set_point(
    level_V: float, limit_A: float, range_A: float, blocks: tuple[str, ...]
) -> tuple[str, ...]:
    """Return a change of set-point, from abort to start of the blocks, to be sent as one line."""
    return (
        ":ABOR",
        "*WAI",
        f":SENS:CURR:RANG {scpi.amount(range_A)}",
        f":SOUR:VOLT {scpi.amount(level_V)}",
        f":SOUR:VOLT:ILIM {scpi.amount(limit_A)}",
        *blocks,
        ":INIT",
    )


def range_holding(value: float, full_scales: tuple[float, ...]) -> float:
    """Return the smallest full scale whose 105 % holds `value`; NaN when none does."""
    magnitude = abs(value)
    for full_scale in full_scales:
        if OVER_RANGE * full_scale >= magnitude:
            return full_scale
    return float("nan")
