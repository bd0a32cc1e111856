"""Keithley 2450 SourceMeter over SCPI (`docs/instruments/keithley2450.md`).

One source function for charge, discharge and `hold_0A`: a voltage source with a current limit, so
that no relay works in normal cycling and the device itself keeps the cell within the bound. A
finite sequence of trigger blocks on the device switches the output off when the host stops
renewing it. **Never run on a physical instrument.**
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from controller.domain.capabilities import ControlTier, CyclerCapabilities, Watchdog
from controller.domain.command import CHARGE, COMMAND_WORDS, DISCHARGE, HOLD_0A, OPEN, Command
from controller.domain.errors import (
    CyclerConnectionError,
    CyclerError,
    CyclerProtocolError,
    CyclerRejectedError,
    refuse,
)
from controller.domain.sample import (
    LIMIT_CURRENT,
    LIMIT_UNKNOWN,
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
    Sample,
)
from controller.hal.ports import Clock, DeviceLimits, Identity, Thermometer, Transport
from controller.hal.wire import keithley2450 as wire
from controller.hal.wire import scpi

# Range of the 0 A current source before cycling: offset below 1 nA, settles within one reading.
# Assumed (1e-8 to 1e-5).
_ZERO_SOURCE_RANGE_A: Final = 1e-6
# The voltage limit of the 0 A source must lie above every cell voltage (vendor caution). Assumed
# (0.2 to 1 V).
_VOLTAGE_LIMIT_MARGIN_V: Final = 0.5
# The device rounds set-points to its resolution: 500 uV in the 20 V range; limits within 0.2 %.
_LEVEL_TOLERANCE_V: Final = 1e-3
_RELATIVE_TOLERANCE: Final = 2e-3
_LIMIT_TOLERANCE_A: Final = 5e-10
# A host that renews every period never loses the output by jitter when the device waits at least
# two periods; the device may take two waits to notice, so a permission spans four periods.
_MIN_PERIODS_VALID: Final = 4.0
_MIN_PULSE_S: Final = 0.01
# An unchanged device time after this long is an old reading, not a fast poll: ten apertures.
_STALE_AFTER_S: Final = 0.2
# Just below the end of the range: there the reading no longer follows the current.
_SATURATION: Final = 0.9995 * wire.OVER_RANGE
# A range that a set-point needed so short a time ago is kept: those that follow each other quickly
# do not switch it each time. Shorter than a 10 s pulse, as the range then stays for the whole step
# after. Assumed, 3-10 s.
_RANGE_STAYS_S: Final = 8.0
_MAX_LATE_LINES: Final = 64
_MAX_QUEUED_ERRORS: Final = 64

# What the driver has the device doing.
_UNPREPARED: Final = 0
_OFF: Final = 1
_ZERO_SOURCE: Final = 2
_CYCLING: Final = 3

_BLOCKS_UNKNOWN: Final = 0
_BLOCKS_DEAD_MAN: Final = 1
_BLOCKS_PULSE: Final = 2

_Settings = dict[str, str | float | bool]
ExchangeListener = Callable[[str, bytes, bytes], None]


def _ignore_exchange(kind: str, sent: bytes, reply: bytes) -> None:
    """Take an exchange that nobody stores."""


def _same(found: float, wanted: float, absolute: float, relative: float = 0.0) -> bool:
    """Return whether a read-back agrees; NaN never does."""
    return abs(found - wanted) <= absolute + relative * abs(wanted)


def _beyond_range(value: float) -> int:
    return QUALITY_SATURATED if scpi.overflowed(value) else 0


def capabilities_of(
    current_ranges_A: Sequence[float] = wire.CURRENT_RANGES_A, *, temperature: bool = False
) -> CyclerCapabilities:
    """Return what a 2450 can do, with these current ranges (A) and with or without thermometer."""
    return CyclerCapabilities(
        model="Keithley 2450",
        tier=ControlTier.LIVE_SET_POINT,
        update_period_s=0.2,
        min_pulse_s=1.0,
        min_device_timed_pulse_s=_MIN_PULSE_S,
        max_current_A=wire.OVER_RANGE * current_ranges_A[-1],
        min_voltage_V=-wire.OVER_RANGE * wire.VOLTAGE_RANGES_V[-2],
        max_voltage_V=wire.OVER_RANGE * wire.VOLTAGE_RANGES_V[-2],
        current_ranges_A=tuple(current_ranges_A),
        device_enforced_lower_voltage=True,
        watchdog=Watchdog.FINITE_SEQUENCE,
        limits_read_back=True,
        off_mode_high_impedance=True,
        four_wire=True,
        temperature=temperature,
        eis=False,
        verified_on_instrument=False,
    )


class Keithley2450:
    """One 2450 on one transport; implements `controller.hal.ports.Cycler`.

    Parameters
    ----------
    transport : Transport
    clock : Clock
    channel : int
        Written into samples; the instrument has one.
    thermometer : Thermometer or None
        Read with each poll. None: temperature is declared ``none`` and stays NaN.
    on_exchange : callable(kind, sent, reply) or None
        Gets every state-changing exchange, error and unparsable reply as bytes, and a poll when
        the device's settings in it differ from the last.
    current_ranges_A : sequence of float
        Measuring ranges to use, ascending.
    reply_timeout_s : float
        Longest wait for one reply (s).
    power_line_Hz : float
        One power-line cycle is the aperture of a reading.

    Notes
    -----
    Command words: vendor manuals 2450-901-01 Rev B and 2461-901-01 Rev A; the trigger-block
    sequence is ours and unverified on an instrument.
    """

    def __init__(  # noqa: PLR0913 - wiring facts, each by keyword, all with defaults
        self,
        transport: Transport,
        clock: Clock,
        *,
        channel: int = 0,
        thermometer: Thermometer | None = None,
        on_exchange: ExchangeListener | None = None,
        current_ranges_A: Sequence[float] = wire.CURRENT_RANGES_A,
        reply_timeout_s: float = 1.0,
        power_line_Hz: float = 50.0,
    ) -> None:
        if not current_ranges_A or list(current_ranges_A) != sorted(set(current_ranges_A)):
            raise refuse(
                "driver",
                "current_ranges_A",
                f"{list(current_ranges_A)} is not a rising list of full scales",
                f"the instrument has {list(wire.CURRENT_RANGES_A)}",
            )
        self._transport = transport
        self._clock = clock
        self._channel = channel
        self._thermometer = thermometer
        self._on_exchange = on_exchange or _ignore_exchange
        self._ranges_A = tuple(current_ranges_A)
        self._timeout_s = reply_timeout_s
        self._averaging_s = 1.0 / power_line_Hz
        self._capabilities = capabilities_of(self._ranges_A, temperature=thermometer is not None)
        self._connected = True
        self._in_doubt = False
        self._mode = _UNPREPARED
        self._blocks = _BLOCKS_UNKNOWN
        self._limits: DeviceLimits | None = None
        self._confirm_levels = False
        self._unreported_emergency = False
        self._delay_s = NAN
        self._start_delay_s = NAN  # of the permission that an energised cell begins with
        self._range_A = self._ranges_A[-1]
        self._range_needed_s = NAN
        self._source_range_V = NAN
        self._cell_V = NAN  # last valid voltage while cycling
        self._level_V = NAN
        self._limit_A = NAN
        self._device_timed = False
        self._level_text = b""
        self._limit_text = b""
        self._settings = b""
        self._settings_quality = 0
        self._rel_s = NAN
        self._offset_s = NAN
        self._fresh_host_s = NAN
        self._renewed_host_s = NAN

    # Facts -------------------------------------------------------------------------------------

    @property
    def capabilities(self) -> CyclerCapabilities:
        """Facts about the instrument."""
        return self._capabilities

    @property
    def connected(self) -> bool:
        """False once the line has been lost; it does not come back by itself."""
        return self._connected

    @property
    def address(self) -> str:
        """The physical address, for locks and messages."""
        return self._transport.address

    # Exchanges ---------------------------------------------------------------------------------

    def _write(self, data: bytes) -> None:
        try:
            self._transport.write(data)
        except CyclerConnectionError:
            self._connected = False
            raise

    def _read_line(self) -> bytes:
        # Until the line is here, whatever ends the wait (Ctrl-C too) leaves an answer owing.
        self._in_doubt = True
        try:
            line = self._transport.read_until(scpi.TERMINATOR, self._timeout_s)
        except CyclerConnectionError:
            self._connected = False
            raise
        self._in_doubt = False
        return line

    def _resynchronise(self) -> None:
        """Discard late replies, so that no reply is ever taken for the answer to a later query.

        The device answers in order: everything before the answer to a question asked now is
        late. Polls look different from an identity, so a second late identity is recognised too.
        """
        self._write(wire.ASK_IDENTITY)
        for _ in range(_MAX_LATE_LINES):
            line = self._read_line()
            if line.count(b",") == 3 and b";" not in line and b"MODEL" in line.upper():
                return
            self._in_doubt = True
            self._on_exchange("late-reply", b"", line)
        raise CyclerProtocolError("the instrument sends lines that nobody asked for")

    def _query(self, sent: bytes, kind: str = "") -> bytes:
        """Return the reply to `sent`; report it as `kind` unless that is empty."""
        if self._in_doubt:
            self._resynchronise()
        self._write(sent)
        try:
            reply = self._read_line()
        except CyclerError:
            self._on_exchange("error", sent, b"")
            raise
        if kind:
            self._on_exchange(kind, sent, reply)
        return reply

    def _set(self, kind: str, *commands: str) -> None:
        """Send commands that have no reply."""
        line = scpi.join(*commands)
        self._write(line)
        self._on_exchange(kind, line, b"")

    def _compare(self, kind: str, expected: _Settings) -> None:
        """Read settings back on one line, and the error queue with them.

        Raises
        ------
        CyclerRejectedError
            A setting is not what was written, or an error was queued.
        """
        line = scpi.join(*expected, ":SYST:ERR?")
        reply = self._query(line, kind)
        *found, error = scpi.expect_fields(reply, len(expected) + 1)
        entry = scpi.error_entry(error)
        if entry.code != 0:
            self._on_exchange("error", line, reply)
            raise CyclerRejectedError(
                f"{self.address} refused a setting: {entry.code}, {entry.message}"
            )
        for (query, wanted), field in zip(expected.items(), found, strict=True):
            self._check_setting(query, wanted, field)

    def _check_setting(self, query: str, wanted: str | float | bool, field: bytes) -> None:  # noqa: FBT001 - a setting may be a switch
        match wanted:
            case bool():
                agrees = scpi.boolean(field) is wanted
            case str():
                # A function may be answered as VOLT or as VOLT:DC.
                agrees = scpi.text(field).upper().split(":")[0] == wanted
            case _:
                in_volt = query.endswith((":VOLT?", ":VLIM?"))
                tolerance = _LEVEL_TOLERANCE_V if in_volt else _LIMIT_TOLERANCE_A
                agrees = _same(scpi.number(field), wanted, tolerance, _RELATIVE_TOLERANCE)
        if not agrees:
            raise CyclerRejectedError(
                f"{self.address}: {query} should read back {wanted}, found {scpi.text(field)}"
            )

    def _drain_errors(self) -> tuple[str, ...]:
        """Return the error queue, emptied."""
        errors: list[str] = []
        reply = b""
        for _ in range(_MAX_QUEUED_ERRORS):
            reply = self._query(wire.ASK_ERROR)
            entry = scpi.error_entry(reply)
            if entry.code == 0:
                return tuple(errors)
            self._on_exchange("error", wire.ASK_ERROR, reply)
            errors.append(f"{entry.code}, {entry.message}")
        raise CyclerProtocolError(f"more than {_MAX_QUEUED_ERRORS} errors queued", reply)

    # Looking -----------------------------------------------------------------------------------

    def identify(self) -> Identity:
        """Look without writing any setting.

        Raises
        ------
        CyclerRejectedError
            Not a 2450, or not in its SCPI command set; nothing was written.
        """
        language = scpi.text(self._query(wire.ASK_LANGUAGE, "identify"))
        identity = scpi.text(self._query(wire.ASK_IDENTITY, "identify"))
        parts = [part.strip() for part in identity.split(",")]
        if len(parts) != 4 or "KEITHLEY" not in parts[0].upper() or "2450" not in parts[1]:
            raise CyclerRejectedError(
                f"expected a Keithley 2450 at {self.address}, found {identity!r}"
            )
        if language.upper() != "SCPI":
            raise CyclerRejectedError(
                f"{self.address} speaks {language}, expected SCPI (set *LANG SCPI at the "
                "instrument, with no cell attached, and restart it)"
            )
        return Identity(
            manufacturer=parts[0],
            model=parts[1],
            serial_number=parts[2],
            firmware=parts[3],
            language=language,
            output_on=scpi.boolean(self._query(wire.ASK_OUTPUT, "identify")),
            off_modes={
                "current": scpi.text(self._query(wire.ASK_OFF_MODES[0], "identify")),
                "voltage": scpi.text(self._query(wire.ASK_OFF_MODES[1], "identify")),
            },
            pending_errors=self._drain_errors(),
        )

    # Output off --------------------------------------------------------------------------------

    def open(self) -> None:
        """Output off, confirmed by read-back. Idempotent.

        Raises
        ------
        CyclerRejectedError
            The output stays on.
        CyclerError
            It could not be confirmed.
        """
        self._mode = _OFF
        self._report_emergency()
        # Off first; late replies are sorted out afterwards.
        self._write(wire.OPEN)
        self._on_exchange("open", wire.OPEN, b"")
        try:
            on = scpi.boolean(self._query(wire.ASK_OUTPUT, "open"))
        except CyclerProtocolError:
            # A reply to an earlier question: sort it out and ask once more.
            self._in_doubt = True
            on = scpi.boolean(self._query(wire.ASK_OUTPUT, "open"))
        if on:
            raise CyclerRejectedError(
                f"{self.address}: output should be off, the instrument says it is on"
            )

    def emergency_open(self) -> None:
        """Write output off, from any thread; takes no lock, waits for no reply.

        The listener hears of it from the loop's own thread, at the next poll or `open`.

        Raises
        ------
        CyclerConnectionError
            The line is gone; then the device's own dead-man ends the output.
        """
        self._mode = _OFF
        self._unreported_emergency = True
        self._transport.write(wire.EMERGENCY_OPEN)

    def _report_emergency(self) -> None:
        if self._unreported_emergency:
            self._unreported_emergency = False
            self._on_exchange("emergency-open", wire.EMERGENCY_OPEN, b"")

    def close(self) -> None:
        """Close the transports; never raises."""
        if self._thermometer is not None:
            self._thermometer.close()
        self._transport.close()

    # Start order -------------------------------------------------------------------------------

    def prepare(self, limits: DeviceLimits, valid_for_s: float) -> None:
        """With the output off: off mode, protection, dead-man; each read back and compared.

        Parameters
        ----------
        limits : DeviceLimits
            No set-point beyond them is ever sent.
        valid_for_s : float
            The device switches off this long after the last renewal at the latest (s).

        Raises
        ------
        CyclerRejectedError
            A limit the instrument cannot hold, or a read-back that differs.
        """
        self._accept_limits(limits)
        self._mode = _OFF
        self._set("prepare", ":OUTP:CURR:SMOD HIMP", ":OUTP:VOLT:SMOD HIMP")
        self._compare("prepare", self._off_modes(output_on=False))
        self._set("prepare", f":SOUR:VOLT:PROT {self._protection(limits)}")
        self._compare("prepare", {":SOUR:VOLT:PROT?": self._protection(limits)})
        self._start_delay_s = self._delay_for(valid_for_s)
        self._load_dead_man(self._start_delay_s)
        self._set("prepare", ':TRAC:CLE "defbuffer1"')
        self._compare("prepare", {":OUTP?": False})
        self._restart_device_time()
        self._range_A = self._range_for(limits.max_current_A)

    def limit_to(self, limits: DeviceLimits) -> None:
        """Replace the device limits, e.g. for a pulse envelope and back again after it.

        The limits the device itself enforces at any moment, source level and current limit, go
        with each set-point; the next one after this is read back before it counts as confirmed.
        Limits in another voltage range (a 4 V pulse on a cell that cycles within 1 V) change it
        with the output off, as a change of source function would.

        Raises
        ------
        CyclerRejectedError
            A limit the instrument cannot hold, or a read-back that differs.
        """
        former = self._limits
        self._accept_limits(limits)
        if former is None or self._protection(former) != self._protection(limits):
            # With the output on, the dead-man starts again in the same line; with it off the level
            # of a pulse that has ended may stand above the protection and goes first.
            line = [f":SOUR:VOLT:PROT {self._protection(limits)}"]
            if self._mode == _CYCLING:
                line.append(":INIT")
            elif abs(self._level_V) > self._voltage_limit_V(limits):
                line.insert(0, f":SOUR:VOLT {scpi.amount(self._level_at_rest_V(limits))}")
            self._set("limits", ":ABOR", "*WAI", *line)
            self._compare("limits", {":SOUR:VOLT:PROT?": self._protection(limits)})
        if self._mode == _CYCLING and self._range_of(limits) != self._source_range_V:
            self._change_voltage_range(limits)
        self._confirm_levels = True
        self._range_needed_s = NAN  # a pulse's range does not outlive its envelope

    def _level_at_rest_V(self, limits: DeviceLimits) -> float:
        """Return the cell's last voltage, 0 where it is not known, within `limits` (V)."""
        level_V = 0.0 if math.isnan(self._cell_V) else self._cell_V
        return min(max(level_V, limits.min_voltage_V), limits.max_voltage_V)

    def _change_voltage_range(self, limits: DeviceLimits) -> None:
        """Change the range of the voltage source: output off, read back, on at the cell's voltage.

        A range is changed by relays, and the level is undefined while they move.
        """
        level_V, range_V = self._cell_V, self._range_of(limits)
        if not abs(level_V) <= self._voltage_limit_V(limits):
            raise CyclerRejectedError(
                f"{self.address}: a change of voltage range needs the cell's voltage, found "
                f"{level_V} V"
            )
        self._set("range", ":ABOR", "*WAI", ":OUTP OFF")
        self._set(
            "range",
            f":SOUR:VOLT:RANG {scpi.amount(range_V)}",
            f":SOUR:VOLT {scpi.amount(level_V)}",
            f":SOUR:VOLT:ILIM {scpi.amount(wire.MIN_LIMIT_A)}",
            ":SENS:CURR:RSEN ON",
        )
        self._compare(
            "range",
            self._off_modes(output_on=False)
            | {
                ":SOUR:VOLT:RANG?": range_V,
                ":SOUR:VOLT?": level_V,
                ":SOUR:VOLT:ILIM?": wire.MIN_LIMIT_A,
                ":SOUR:VOLT:PROT?": self._protection(limits),
                ":SENS:CURR:RSEN?": True,
            },
        )
        self._source_range_V = range_V
        self._expect_levels(level_V, wire.MIN_LIMIT_A, device_timed=False)
        self._set("range", *wire.OUTPUT_ON)
        self._confirm_running()

    def energise_at_0A(self) -> float:
        """Output on as a 0 A current source; return the measured open-circuit voltage (V).

        Output on, the reading and the start of the dead-man are one line, so that no death of
        the host leaves the output on.

        Raises
        ------
        CyclerRejectedError
            A read-back differs, or the reading is not the cell's.
        """
        limits = self._required_limits()
        self._drain_errors()
        voltage_limit_V = self._voltage_limit_V(limits)
        self._set(
            "energise",
            ":SOUR:FUNC CURR",
            f":SOUR:CURR:RANG {scpi.amount(_ZERO_SOURCE_RANGE_A)}",
            ":SOUR:CURR 0",
            f":SOUR:CURR:VLIM {scpi.amount(voltage_limit_V)}",
        )
        self._set(
            "energise",
            ':SENS:FUNC "VOLT"',
            f":SENS:VOLT:RANG {scpi.amount(self._voltage_range_V(voltage_limit_V))}",
            ":SENS:VOLT:RSEN ON",
            ":SENS:VOLT:NPLC 1",
        )
        if self._blocks != _BLOCKS_DEAD_MAN or self._delay_s != self._start_delay_s:
            # not that of the set-point before, which may have been renewed more often
            self._load_dead_man(self._start_delay_s)
        self._compare("energise", self._zero_source_settings(limits, output_on=False))
        self._mode = _ZERO_SOURCE
        reply = self._query(scpi.join(*wire.OUTPUT_ON_AND_READ), "energise")
        self._confirm_running()
        return self._open_circuit_voltage_V(reply)

    def recheck(self) -> None:
        """Read limits and off mode back again, with the output on, and compare."""
        self._compare(
            "recheck", self._zero_source_settings(self._required_limits(), output_on=True)
        )

    def take_over_from_ocv(self, ocv_voltage_V: float) -> None:
        """Change to the voltage source of cycling, at the measured OCV and the smallest limit.

        0 A, output off, new function, everything read back, output on with the dead-man started
        in the same line.

        Raises
        ------
        CyclerRejectedError
            A read-back differs, or an error was queued.
        """
        limits = self._required_limits()
        range_V = self._range_of(limits)
        self._set("take-over", ":ABOR", "*WAI", ":SOUR:CURR 0")
        self._set("take-over", ":OUTP OFF")
        self._set(
            "take-over",
            ":SOUR:FUNC VOLT",
            f":SOUR:VOLT:RANG {scpi.amount(range_V)}",
            f":SOUR:VOLT {scpi.amount(ocv_voltage_V)}",
            f":SOUR:VOLT:ILIM {scpi.amount(wire.MIN_LIMIT_A)}",
            ":SOUR:VOLT:READ:BACK ON",
        )
        self._set(
            "take-over",
            ':SENS:FUNC "CURR"',
            f":SENS:CURR:RANG {scpi.amount(self._range_A)}",
            ":SENS:CURR:RSEN ON",
            ":SENS:CURR:NPLC 1",
        )
        self._set("take-over", ":OUTP:CURR:SMOD HIMP", ":OUTP:VOLT:SMOD HIMP")
        self._compare(
            "take-over",
            self._off_modes(output_on=False)
            | {
                ":SOUR:FUNC?": "VOLT",
                ":SOUR:VOLT?": ocv_voltage_V,
                ":SOUR:VOLT:ILIM?": wire.MIN_LIMIT_A,
                ":SOUR:VOLT:PROT?": self._protection(limits),
                ":SENS:FUNC?": "CURR",
                ":SENS:CURR:RANG?": self._range_A,
                ":SENS:CURR:RSEN?": True,
            },
        )
        self._expect_levels(ocv_voltage_V, wire.MIN_LIMIT_A, device_timed=False)
        self._source_range_V = range_V
        self._cell_V = ocv_voltage_V
        self._mode = _CYCLING
        self._set("take-over", *wire.OUTPUT_ON)
        self._confirm_running()

    def _off_modes(self, *, output_on: bool) -> _Settings:
        return {
            ":OUTP?": output_on,
            ":OUTP:CURR:SMOD?": "HIMP",
            ":OUTP:VOLT:SMOD?": "HIMP",
        }

    def _zero_source_settings(self, limits: DeviceLimits, *, output_on: bool) -> _Settings:
        return self._off_modes(output_on=output_on) | {
            ":SOUR:FUNC?": "CURR",
            ":SOUR:CURR?": 0.0,
            ":SOUR:CURR:VLIM?": self._voltage_limit_V(limits),
            ":SOUR:VOLT:PROT?": self._protection(limits),
            ":SENS:FUNC?": "VOLT",
            ":SENS:VOLT:RSEN?": True,
        }

    def _confirm_running(self) -> None:
        """Check that the output is on with the dead-man running and no error queued."""
        reply = self._query(wire.CONFIRM_OUTPUT, "confirm")
        output, error, state, *_ = scpi.expect_fields(reply, 5)
        entry = scpi.error_entry(error)
        if entry.code != 0:
            raise CyclerRejectedError(
                f"{self.address} refused to energise: {entry.code}, {entry.message}"
            )
        if not scpi.boolean(output):
            raise CyclerRejectedError(f"{self.address}: output should be on, found off")
        if state not in wire.RUNNING:
            raise CyclerRejectedError(
                f"{self.address}: the dead-man should be running, found {scpi.text(state)}"
            )
        self._renewed_host_s = self._clock.now_s()

    def _open_circuit_voltage_V(self, reply: bytes) -> float:
        try:
            _, voltage, rel, status = reply.split(b",")
        except ValueError:
            raise CyclerProtocolError("expected a reading of four values", reply) from None
        voltage_V = scpi.number(voltage)
        if not abs(voltage_V) < scpi.OVERFLOW:
            raise CyclerRejectedError(
                f"{self.address}: expected an open-circuit voltage, found {scpi.text(voltage)} "
                "(overflow; is a cell connected?)"
            )
        bits = scpi.integer(status)
        if bits & wire.STATUS_OVER_TEMPERATURE:
            raise CyclerRejectedError(
                f"{self.address}: the instrument says that it is too warm: let it cool, see to its "
                "fan and the air around it"
            )
        if bits & (wire.STATUS_LIMITED | wire.STATUS_PROTECTION):
            raise CyclerRejectedError(
                f"{self.address}: the voltage limit regulates at 0 A ({voltage_V:g} V): "
                "no cell connected, or its voltage is beyond the limit"
            )
        self._note_reading(scpi.number(rel), self._clock.now_s())
        return voltage_V

    def _load_dead_man(self, delay_s: float) -> None:
        self._set("dead-man", *wire.dead_man_blocks(delay_s))
        self._delay_s = delay_s
        self._blocks = _BLOCKS_DEAD_MAN

    # Limits and ranges -------------------------------------------------------------------------

    def _required_limits(self) -> DeviceLimits:
        if self._limits is None:
            raise CyclerRejectedError(f"{self.address}: prepare it before it is energised")
        return self._limits

    def _accept_limits(self, limits: DeviceLimits) -> None:
        facts = self._capabilities
        if not 0.0 < limits.max_current_A <= facts.max_current_A:
            raise CyclerRejectedError(
                f"device limit of {limits.max_current_A:g} A: the instrument takes more than 0 "
                f"and at most {facts.max_current_A:g} A"
            )
        low_V, high_V = limits.min_voltage_V, limits.max_voltage_V
        margin_V = _VOLTAGE_LIMIT_MARGIN_V
        if not facts.min_voltage_V + margin_V <= low_V < high_V <= facts.max_voltage_V - margin_V:
            raise CyclerRejectedError(
                f"device limits of {low_V:g} to {high_V:g} V: expected a rising pair between "
                f"{facts.min_voltage_V + margin_V:g} and {facts.max_voltage_V - margin_V:g} V"
            )
        self._limits = limits

    def _voltage_limit_V(self, limits: DeviceLimits) -> float:
        """Return the limit of the 0 A source: above every cell voltage, in either polarity."""
        return max(abs(limits.min_voltage_V), abs(limits.max_voltage_V)) + _VOLTAGE_LIMIT_MARGIN_V

    def _protection(self, limits: DeviceLimits) -> str:
        """Return the smallest step of over-voltage protection above the voltage limit."""
        limit_V = self._voltage_limit_V(limits)
        return next(f"PROT{step}" for step in wire.PROTECTION_STEPS_V if step >= limit_V)

    def _voltage_range_V(self, voltage_V: float) -> float:
        return wire.range_holding(voltage_V, wire.VOLTAGE_RANGES_V)

    def _range_of(self, limits: DeviceLimits) -> float:
        """Return the range of the voltage source that holds every level within `limits` (V)."""
        return self._voltage_range_V(self._voltage_limit_V(limits))

    def _range_now(self, current_A: float) -> float:
        """Return the measuring range of a set-point: the smallest, or one just now needed (A)."""
        smallest_A = self._range_for(current_A)
        now_s = self._clock.now_s()
        if smallest_A < self._range_A and now_s - self._range_needed_s < _RANGE_STAYS_S:
            return self._range_A
        self._range_needed_s = now_s
        return smallest_A

    def _range_for(self, current_A: float) -> float:
        """Return the smallest measuring range that holds `current_A` (A).

        Where the output may miss it by so much that the reading ends the range, the next one.
        """
        wider_A = wire.range_holding(current_A * (1.0 + _RELATIVE_TOLERANCE), self._ranges_A)
        full_scale_A = wire.range_holding(current_A, self._ranges_A)
        if not math.isnan(wider_A):
            full_scale_A = wider_A
        if math.isnan(full_scale_A):
            raise CyclerRejectedError(
                f"{current_A:g} A is beyond the largest measuring range ({self._ranges_A[-1]:g} A)"
            )
        return full_scale_A

    def _delay_for(self, valid_for_s: float) -> float:
        """Return the dead-man's delay: off between one and two delays after the last renewal."""
        delay_s = 0.5 * valid_for_s
        if not 0.0 < delay_s <= wire.MAX_DELAY_S:
            raise CyclerRejectedError(
                f"valid_for_s = {valid_for_s:g}: expected more than 0 and at most "
                f"{2.0 * wire.MAX_DELAY_S:g} s"
            )
        return delay_s

    # Set-points --------------------------------------------------------------------------------

    def program(self, command: Command, last_voltage_V: float) -> None:
        """Set a new set-point, valid for `command.valid_for_s`, and confirm that it stands.

        Parameters
        ----------
        command : Command
        last_voltage_V : float
            The cell's voltage now: the source level of `hold_0A`.

        Raises
        ------
        CyclerRejectedError
            Beyond the device limits, impossible, or not taken by the instrument.
        CyclerError
            It could not be confirmed.
        """
        if command.kind == OPEN:
            self.open()
            return
        if self._mode != _CYCLING:
            raise CyclerRejectedError(
                f"{self.address}: {COMMAND_WORDS.get(command.kind, command.kind)} needs the "
                "output on; energise it at 0 A first"
            )
        level_V, limit_A = self._levels(command, last_voltage_V)
        range_A = self._range_A if command.kind == HOLD_0A else self._range_now(limit_A)
        self._send_set_point(command, level_V, limit_A, range_A)
        self._confirm_set_point(device_timed=self._device_timed)

    def _levels(self, command: Command, last_voltage_V: float) -> tuple[float, float]:
        """Return source level (V) and current limit (A) of a command within the limits."""
        limits = self._required_limits()
        if command.kind == HOLD_0A:
            if not abs(last_voltage_V) <= self._voltage_limit_V(limits):
                raise CyclerRejectedError(
                    f"hold_0A needs the cell's voltage, found {last_voltage_V} V"
                )
            return last_voltage_V, wire.MIN_LIMIT_A
        current_A, bound_V = command.current_A, command.voltage_bound_V
        signed = {CHARGE: current_A > 0.0, DISCHARGE: current_A < 0.0}.get(command.kind, False)
        if not signed:
            raise CyclerRejectedError(
                f"{COMMAND_WORDS.get(command.kind, f'command {command.kind}')} at "
                f"{current_A} A: charge takes a positive, discharge a negative current"
            )
        if not abs(current_A) <= limits.max_current_A:
            raise CyclerRejectedError(
                f"{current_A:g} A is beyond the device limit of {limits.max_current_A:g} A"
            )
        if not limits.min_voltage_V <= bound_V <= limits.max_voltage_V:
            raise CyclerRejectedError(
                f"a bound of {bound_V} V is outside the device limits of "
                f"{limits.min_voltage_V:g} to {limits.max_voltage_V:g} V"
            )
        return bound_V, max(abs(current_A), wire.MIN_LIMIT_A)

    def _send_set_point(
        self, command: Command, level_V: float, limit_A: float, range_A: float
    ) -> None:
        device_timed = not math.isnan(command.device_timed_s)
        if device_timed:
            if not _MIN_PULSE_S <= command.device_timed_s <= wire.MAX_DELAY_S:
                raise CyclerRejectedError(
                    f"a device-timed pulse of {command.device_timed_s:g} s: expected "
                    f"{_MIN_PULSE_S:g} to {wire.MAX_DELAY_S:g} s"
                )
            blocks = wire.pulse_blocks(command.device_timed_s)
        else:
            delay_s = self._delay_for(command.valid_for_s)
            if not command.valid_for_s >= _MIN_PERIODS_VALID * command.period_s:
                raise CyclerRejectedError(
                    f"valid_for_s = {command.valid_for_s:g} with a reading every "
                    f"{command.period_s:g} s: expected at least {_MIN_PERIODS_VALID:g} periods, "
                    "or the dead-man switches off between two readings"
                )
            self._delay_s = delay_s
            blocks = (
                (wire.delay_block(delay_s),)
                if self._blocks == _BLOCKS_DEAD_MAN
                else wire.dead_man_blocks(delay_s)
            )
        self._blocks = _BLOCKS_UNKNOWN
        self._set("set-point", *wire.set_point(level_V, limit_A, range_A, blocks))
        self._blocks = _BLOCKS_PULSE if device_timed else _BLOCKS_DEAD_MAN
        self._range_A = range_A
        self._expect_levels(level_V, limit_A, device_timed=device_timed)

    def _confirm_set_point(self, *, device_timed: bool) -> None:
        reply = self._query(wire.CONFIRM_SET_POINT, "confirm")
        error, state, *_ = scpi.expect_fields(reply, 4)
        entry = scpi.error_entry(error)
        if entry.code != 0:
            self._on_exchange("error", wire.CONFIRM_SET_POINT, reply)
            raise CyclerRejectedError(
                f"{self.address} refused a set-point: {entry.code}, {entry.message}"
            )
        # A short pulse may be over before the question arrives.
        if state not in wire.RUNNING and not device_timed:
            raise CyclerRejectedError(
                f"{self.address}: the dead-man should be running, found {scpi.text(state)}"
            )
        self._renewed_host_s = self._clock.now_s()
        if self._confirm_levels:
            self._compare(
                "confirm",
                {":SOUR:VOLT?": self._level_V, ":SOUR:VOLT:ILIM?": self._limit_A},
            )
            self._confirm_levels = False

    def _expect_levels(self, level_V: float, limit_A: float, *, device_timed: bool) -> None:
        """Remember what the device should now show on every poll."""
        self._level_V = level_V
        self._limit_A = limit_A
        self._device_timed = device_timed
        self._level_text = b""
        self._limit_text = b""
        self._settings = b""

    # Reading -----------------------------------------------------------------------------------

    def poll(self, sequence: int) -> Sample:
        """Renew the permission, read the cell, compare the device's settings; one exchange.

        Parameters
        ----------
        sequence : int
            Written into the sample.

        Returns
        -------
        Sample
            A poll that failed in any way is a sample of NaNs with `QUALITY_NO_REPLY`.
        """
        cycling = self._mode == _CYCLING
        if not cycling:
            self._report_emergency()
        sent = wire.POLL if cycling else wire.POLL_OPEN
        reply = b""
        asked_s = self._clock.now_s()
        try:
            if self._in_doubt:
                self._resynchronise()
            self._in_doubt = True
            self._transport.write(sent)
            reply = self._transport.read_until(scpi.TERMINATOR, self._timeout_s)
            self._in_doubt = False
        except CyclerConnectionError:
            self._connected = False
        except CyclerError:
            # No answer yet: it may still come, and must not answer the next question.
            self._in_doubt = True
        now_s = self._clock.now_s()

        # Last, so that a slow thermometer does not hold up the renewal.
        temperature_K = NAN
        quality = 0
        if self._thermometer is not None:
            temperature_K = self._thermometer.read_K()
            if not temperature_K > 0.0:
                temperature_K = NAN
                quality = QUALITY_TEMPERATURE_INVALID

        if not reply:
            self._on_exchange("no-reply", sent, reply)
            return self._empty_sample(sequence, now_s, temperature_K, quality | QUALITY_NO_REPLY)
        try:
            if cycling:
                return self._judge_poll(sequence, asked_s, now_s, temperature_K, quality, reply)
            return self._judge_open(sequence, now_s, temperature_K, quality, reply)
        except (ValueError, OverflowError, CyclerProtocolError):
            # What came is not the answer to this poll: what comes next may not be either.
            self._in_doubt = True
            self._on_exchange("unparsable", sent, reply)
            return self._empty_sample(sequence, now_s, temperature_K, quality | QUALITY_NO_REPLY)

    def _judge_poll(
        self,
        sequence: int,
        asked_s: float,
        now_s: float,
        temperature_K: float,
        quality: int,
        reply: bytes,
    ) -> Sample:
        voltage_V, current_A, rel_s, status, settings = wire.parse_poll(reply)
        if settings != self._settings:
            fields = wire.split_settings(settings)
            if not scpi.boolean(fields[0]):
                quality |= self._judge_off(asked_s, fields[3])
                self._on_exchange("poll", wire.POLL, reply)
                return self._off_sample(sequence, now_s, temperature_K, quality)
            self._settings_quality = self._compare_settings(fields)
            self._settings = settings
            self._on_exchange("poll", wire.POLL, reply)
        quality |= self._settings_quality
        self._renewed_host_s = asked_s

        if not -scpi.OVERFLOW < voltage_V < scpi.OVERFLOW:
            quality |= QUALITY_VOLTAGE_INVALID | _beyond_range(voltage_V)
            voltage_V = NAN
        else:
            self._cell_V = voltage_V
        range_A = self._range_A
        if not -scpi.OVERFLOW < current_A < scpi.OVERFLOW:
            quality |= QUALITY_CURRENT_INVALID | _beyond_range(current_A)
            current_A = NAN
        elif not -_SATURATION * range_A < current_A < _SATURATION * range_A:
            quality |= QUALITY_SATURATED
        if status & wire.STATUS_OVER_TEMPERATURE:
            quality |= QUALITY_OVER_TEMPERATURE

        if rel_s > self._rel_s:
            self._rel_s = rel_s
            self._fresh_host_s = now_s
        else:
            quality |= self._age_quality(rel_s, now_s)
        return Sample(
            sequence,
            self._channel,
            now_s,
            rel_s + self._offset_s,
            self._clock.utc_s(),
            voltage_V,
            current_A,
            temperature_K,
            OUTPUT_ON,
            LIMIT_CURRENT if status & wire.STATUS_LIMITED else LIMIT_VOLTAGE,
            range_A,
            self._averaging_s,
            quality,
        )

    def _age_quality(self, rel_s: float, now_s: float) -> int:
        """Return the quality bits of a reading that is not newer than the last."""
        if rel_s < self._rel_s:
            return QUALITY_OUT_OF_ORDER
        if now_s - self._fresh_host_s > _STALE_AFTER_S:
            return QUALITY_DUPLICATE | QUALITY_STALE
        return QUALITY_DUPLICATE

    def _compare_settings(self, fields: tuple[bytes, bytes, bytes, bytes]) -> int:
        """Return the quality bit of the settings part of a poll with the output on."""
        _, level, limit, state = fields
        level_V, limit_A = scpi.number(level), scpi.number(limit)
        if (
            not self._level_text
            and _same(level_V, self._level_V, _LEVEL_TOLERANCE_V)
            and _same(limit_A, self._limit_A, _LIMIT_TOLERANCE_A, _RELATIVE_TOLERANCE)
        ):
            # From here on the device has to show exactly this text.
            self._level_text, self._limit_text = level, limit
        if state in wire.RUNNING and level == self._level_text and limit == self._limit_text:
            return 0
        return QUALITY_READBACK_MISMATCH

    def _judge_off(self, asked_s: float, state: bytes) -> int:
        """Return the quality of an output found off: by its own sequence, or by another hand."""
        expected = self._mode != _CYCLING or (
            state not in wire.RUNNING
            and (self._device_timed or asked_s - self._renewed_host_s >= self._delay_s)
        )
        self._mode = _OFF
        return 0 if expected else QUALITY_READBACK_MISMATCH

    def _judge_open(
        self, sequence: int, now_s: float, temperature_K: float, quality: int, reply: bytes
    ) -> Sample:
        output, *_ = scpi.expect_fields(reply, 4)
        on = scpi.boolean(output)
        if reply != self._settings:
            self._settings = reply
            self._on_exchange("poll", wire.POLL_OPEN, reply)
        if not on:
            return self._off_sample(sequence, now_s, temperature_K, quality)
        quality |= QUALITY_READBACK_MISMATCH
        return self._empty_sample(sequence, now_s, temperature_K, quality)._replace(
            output=OUTPUT_ON
        )

    def _off_sample(
        self, sequence: int, now_s: float, temperature_K: float, quality: int
    ) -> Sample:
        """Return a sample with the output off: no current, and no voltage of the cell's.

        The device takes no reading now; its time goes on with the host's.
        """
        return Sample(
            sequence,
            self._channel,
            now_s,
            self._rel_s + self._offset_s + (now_s - self._fresh_host_s),
            self._clock.utc_s(),
            NAN,
            0.0,
            temperature_K,
            OUTPUT_OFF,
            LIMIT_UNKNOWN,
            self._range_A,
            self._averaging_s,
            quality | QUALITY_NO_CELL_VOLTAGE,
        )

    def _empty_sample(
        self, sequence: int, now_s: float, temperature_K: float, quality: int
    ) -> Sample:
        return Sample(
            sequence,
            self._channel,
            now_s,
            NAN,
            self._clock.utc_s(),
            NAN,
            NAN,
            temperature_K,
            OUTPUT_UNKNOWN,
            LIMIT_UNKNOWN,
            self._range_A,
            self._averaging_s,
            quality,
        )

    # Device time -------------------------------------------------------------------------------

    def _restart_device_time(self) -> None:
        """Carry device time over a cleared buffer, whose own time restarts at 0."""
        now_s = self._clock.now_s()
        if math.isnan(self._rel_s):
            self._offset_s = 0.0
        else:
            self._offset_s += self._rel_s + (now_s - self._fresh_host_s)
        self._rel_s = -1.0
        self._fresh_host_s = now_s

    def _note_reading(self, rel_s: float, now_s: float) -> None:
        if rel_s > self._rel_s:
            self._rel_s = rel_s
            self._fresh_host_s = now_s
