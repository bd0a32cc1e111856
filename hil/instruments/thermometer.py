"""Emulated thermometer on its own byte stream: a DAQ6510-like scanner with a 10 kOhm thermistor."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import numpy as np

from controller.domain.cell import ZERO_CELSIUS_K
from hil.instruments.faults import FaultKind, FaultSchedule, InstrumentFault, value_or
from hil.instruments.keithley2450 import Clock
from hil.instruments.scpi import Vocabulary, unquote

LATENCY_S: Final = 0.020
NOISE_K: Final = 0.02  # rms, assumed 0.005..0.1
COUNTS_PER_K: Final = 1000.0
NOISE_BLOCK: Final = 1024
NAN_ON_THE_WIRE: Final = 9.91e37
ERROR_TEXTS: Final = {
    0: "No error",
    -102: "Syntax error",
    -113: "Undefined header",
    -114: "Header suffix out of range",
    -221: "Settings conflict",
    -224: "Illegal parameter value",
}
PATTERNS: Final = (
    "*IDN",
    "*CLS",
    "*OPC",
    "*WAI",
    "*LANG",
    "SYSTem:ERRor[:NEXT]",
    "SENSe:FUNCtion[:ON]",
    "SENSe:TEMPerature:TRANsducer",
    "SENSe:TEMPerature:THERmistor",
    "UNIT:TEMPerature",
    "READ",
)
_SETUP: Final[dict[str, tuple[str, ...]]] = {
    "SENS:FUNC": ("TEMP", "TEMPERATURE"),
    "SENS:TEMP:TRAN": ("THER", "THERMISTOR"),
    "SENS:TEMP:THER": ("10000",),
    "UNIT:TEMP": ("CEL", "CELSIUS"),
}


class TemperatureSource(Protocol):
    """What the sensor touches."""

    @property
    def temperature_K(self) -> float:
        """Temperature (K) now."""
        ...


class EmulatedThermometer:
    """Reads the cell's temperature.

    Parameters
    ----------
    source : TemperatureSource
        The instrument that moves the cell, or the cell itself.
    clock : Clock
    seed : int
        Noise.
    catch_up : callable, optional
        Moves the plant to the present before a reading; the source-measure unit's `tick`.
    faults : iterable of InstrumentFault, optional
        The ``thermometer-*`` kinds act.
    serial_number, firmware : str
    """

    def __init__(
        self,
        source: TemperatureSource,
        clock: Clock,
        *,
        seed: int = 0,
        catch_up: Callable[[], None] | None = None,
        faults: Iterable[InstrumentFault] | None = None,
        serial_number: str = "",
        firmware: str = "emulated speed=virtual",
    ) -> None:
        self.replies: deque[tuple[float, bytes]] = deque()
        self.change_count = 0
        self._source = source
        self._clock = clock
        self._catch_up = catch_up
        self._generator = np.random.default_rng([seed, 6510])
        self._noise: list[float] = []
        self._faults = FaultSchedule(faults or ())
        self._identity = (
            "KEITHLEY INSTRUMENTS,MODEL DAQ6510,"
            f"{serial_number or f'EMULATED{seed:06d}'},{firmware}"
        )
        self._vocabulary = Vocabulary(PATTERNS)
        self._setup: dict[str, str] = {}
        self._errors: deque[int] = deque(maxlen=32)
        self._partial = b""
        self._last_K: float | None = None

    def receive(self, data: bytes) -> None:
        """Take bytes; complete lines are executed, replies are queued."""
        if data == b":READ?\n" and not self._partial:
            reply = self._read()
            if reply is not None:
                self._reply(reply)
            return
        *lines, self._partial = (self._partial + data).split(b"\n")
        self._partial = self._partial[-4096:]
        for line in lines:
            self._execute(line.decode("ascii", errors="replace"))

    def tick(self) -> None:
        """Nothing runs by itself here."""

    def _execute(self, line: str) -> None:
        replies = []
        for command in self._vocabulary.parse(line):
            if command.error:
                self._errors.append(command.error)
            elif command.query:
                reply = self._query(command.header)
                if reply is not None:
                    replies.append(reply)
            elif command.header == "*CLS":
                self._errors.clear()
            elif command.header in _SETUP:
                self._set(command.header, command.arguments)
        if replies:
            self._reply(";".join(replies))

    def _set(self, header: str, arguments: tuple[str, ...]) -> None:
        word = unquote(arguments[0]) if len(arguments) == 1 else ""
        if word not in _SETUP[header]:
            self._errors.append(-224)
            return
        self._setup[header] = _SETUP[header][0]
        self.change_count += 1

    def _query(self, header: str) -> str | None:
        fixed = {"*IDN": self._identity, "*LANG": "SCPI", "*OPC": "1"}.get(header)
        if fixed is not None:
            return fixed
        if header == "SYST:ERR":
            code = self._errors.popleft() if self._errors else 0
            return f'{code},"{ERROR_TEXTS[code]}"'
        if header == "READ":
            return self._read()
        if header in self._setup:
            return self._setup[header]
        self._errors.append(-113)
        return None

    def _read(self) -> str | None:
        """Return the temperature in degC; nothing before the input has been set up."""
        if len(self._setup) < len(_SETUP):
            self._errors.append(-221)
            return None
        if self._catch_up is not None:
            self._catch_up()
        temperature_K = self._source.temperature_K
        if self._faults:
            spoiled = self._spoil(temperature_K)
            if spoiled is None:
                return None
            temperature_K = spoiled
        if math.isnan(temperature_K):
            return f"{NAN_ON_THE_WIRE:.6E}"
        if not self._noise:
            self._noise = self._generator.normal(0.0, NOISE_K, NOISE_BLOCK).tolist()
        degC = temperature_K - ZERO_CELSIUS_K + self._noise.pop()
        return f"{round(degC * COUNTS_PER_K) / COUNTS_PER_K:.6E}"

    def _spoil(self, temperature_K: float) -> float | None:
        faults, now_s = self._faults, self._clock.now_s()
        if faults.take(FaultKind.THERMOMETER_NO_REPLY, now_s):
            return None
        if faults.take(FaultKind.THERMOMETER_NAN, now_s):
            return float("nan")
        hot = faults.take(FaultKind.THERMOMETER_OVER_TEMPERATURE, now_s)
        if hot is not None:
            return value_or(hot, 75.0) + ZERO_CELSIUS_K
        if faults.take(FaultKind.THERMOMETER_STUCK, now_s):
            if self._last_K is None:
                self._last_K = temperature_K
            return self._last_K
        return temperature_K

    def _reply(self, text: str) -> None:
        self.replies.append((self._clock.now_s() + LATENCY_S, (text + "\n").encode("ascii")))
