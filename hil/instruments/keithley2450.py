"""Emulated Keithley 2450 at the byte stream, joined to a simulated cell.

The command set is that of `docs/instruments/keithley2450.md`. The plant moves lazily: whenever
bytes arrive, or `tick` is called, everything that happened since is caught up in order, split at
every edge (set-point, block of the trigger model, crossing between limit and source).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Final, NamedTuple, Protocol

from controller.domain.errors import refuse
from hil.instruments.faults import FaultKind, FaultSchedule, InstrumentFault, value_or
from hil.instruments.measurement import (
    CURRENT_ROWS,
    OVERFLOW,
    VOLTAGE_ROWS,
    InstrumentErrors,
    range_index,
)
from hil.instruments.scpi import ScpiCommand, Vocabulary, unquote
from hil.instruments.source import CURRENT_SOURCE, OPEN_CIRCUIT, VOLTAGE_SOURCE, OutputStage
from hil.instruments.trigger import Block, TriggerModel
from hil.plant import Plant, PlantPort

LINE_LATENCY_S: Final = 0.005  # time to read a line, act and answer, assumed 1..20 ms
LINE_FREQUENCY_HZ: Final = 50.0
LEAD_OHM: Final = 0.2  # what 4-wire sensing removes, assumed
NAN_ON_THE_WIRE: Final = 9.91e37  # SCPI's "not a number"
ERROR_QUEUE_LENGTH: Final = 32
LINE_CACHE_SIZE: Final = 4096
LONGEST_LINE: Final = 65536

MIN_CURRENT_LIMIT_A: Final = 1e-9
MAX_CURRENT_A: Final = 1.05
MAX_VOLTAGE_V: Final = 210.0
MIN_VOLTAGE_LIMIT_V: Final = 0.02
DELAY_RANGE_S: Final = (167e-9, 10e3)

STATUS_OVER_VOLTAGE: Final = 4
STATUS_READ_BACK: Final = 8
STATUS_OVER_TEMPERATURE: Final = 16
STATUS_LIMITED: Final = 32
STATUS_FOUR_WIRE: Final = 64
STATUS_OUTPUT_ON: Final = 128

NOT_WHILE_RUNNING: Final = 2727
ERROR_TEXTS: Final[dict[int, str]] = {
    -102: "Syntax error",
    -104: "Data type error",
    -108: "Parameter not allowed",
    -109: "Missing parameter",
    -113: "Undefined header",
    -114: "Header suffix out of range",
    -200: "Execution error",
    -213: "Init ignored",
    -221: "Settings conflict",
    -222: "Parameter data out of range",
    -224: "Illegal parameter value",
    -230: "Data corrupt or stale",
    -350: "Queue overflow",
    NOT_WHILE_RUNNING: "Command prohibited while trigger model is running",
}
OFF_MODES: Final = {
    "HIMP": "HIMP",
    "HIMPEDANCE": "HIMP",
    "NORM": "NORM",
    "NORMAL": "NORM",
    "ZERO": "ZERO",
    "GUAR": "GUAR",
    "GUARD": "GUAR",
}
FUNCTIONS: Final = {"VOLT": "VOLT", "VOLTAGE": "VOLT", "CURR": "CURR", "CURRENT": "CURR"}
SENSE_FUNCTIONS: Final = {**FUNCTIONS, "VOLT:DC": "VOLT", "CURR:DC": "CURR"}
PROTECTION_V: Final[dict[str, float]] = {
    **{f"PROT{v}": float(v) for v in (2, 5, 10, 20, 40, 60, 80, 100, 120, 140, 160, 180)},
    "NONE": math.inf,
}
FULL_ELEMENTS: Final = ('"defbuffer1"', "SOUR", "READ", "REL", "SOURSTAT")
ELEMENTS: Final = {
    "SOUR": "SOUR",
    "SOURCE": "SOUR",
    "READ": "READ",
    "READING": "READ",
    "REL": "REL",
    "RELATIVE": "REL",
    "SOURSTAT": "SOURSTAT",
    "SOURSTATUS": "SOURSTAT",
}
LIMIT_TYPES: Final = {
    "BEL": "BEL",
    "BELOW": "BEL",
    "ABOV": "ABOV",
    "ABOVE": "ABOV",
    "IN": "IN",
    "INSIDE": "IN",
    "OUT": "OUT",
    "OUTSIDE": "OUT",
}
BOOLEANS: Final = {"ON": True, "1": True, "OFF": False, "0": False}

Arguments = tuple[str, ...]
Handler = Callable[[Arguments], str | None]


class Clock(Protocol):
    """What an instrument asks of time."""

    def now_s(self) -> float:
        """Return monotonic seconds."""
        ...


class ScpiError(Exception):
    """A command the instrument refuses; `code` goes to its error queue."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(ERROR_TEXTS.get(code, ""))


class Reading(NamedTuple):
    """One reading as stored in the buffer."""

    source: float
    reading: float
    relative_s: float
    status: int


class _Compiled(NamedTuple):
    handler: Handler
    arguments: Arguments
    while_running: bool
    changes: bool


@dataclass(slots=True)
class Settings:
    """Everything that can be set, at its power-on value (volt, ampere)."""

    function: str = "VOLT"
    voltage_level_V: float = 0.0
    current_level_A: float = 0.0
    current_limit_A: float = 1.05e-4
    voltage_limit_V: float = 2.0
    source_voltage_range: int = 3
    source_current_range: int = 4
    source_voltage_auto: bool = True
    source_current_auto: bool = True
    protection: str = "NONE"
    read_back: dict[str, bool] = field(default_factory=lambda: {"VOLT": True, "CURR": True})
    sense: str = "CURR"
    sense_voltage_range: int = 3
    sense_current_range: int = 4
    sense_voltage_auto: bool = True
    sense_current_auto: bool = True
    nplc: dict[str, float] = field(default_factory=lambda: {"VOLT": 1.0, "CURR": 1.0})
    four_wire: dict[str, bool] = field(default_factory=lambda: {"VOLT": False, "CURR": False})
    off_mode: dict[str, str] = field(default_factory=lambda: {"VOLT": "NORM", "CURR": "NORM"})
    terminals: str = "FRON"


class OutputChange(NamedTuple):
    """When the output was switched, and by what."""

    t_s: float
    on: bool
    cause: str


class EmulatedKeithley2450:
    """The instrument and the cell on its terminals.

    Parameters
    ----------
    plant : Plant or PlantPort
    clock : Clock
        Only `now_s` is used.
    ambient_K : float
    seed : int
        Gain, offset and noise of this instrument.
    faults : iterable of InstrumentFault, optional
    ideal : bool
        No gain, offset or noise (resolution stays); for tests of the physics.
    off_mode : str
        Output-off mode at power-on for both functions. The factory's is ``NORM``, a 0 V source:
        it discharges the cell. ``HIMP`` is what a careful operator has stored.
    serial_number, firmware : str
        Said by ``*IDN?``.
    """

    def __init__(  # noqa: PLR0913 - wiring, plate and errors of one instrument, by keyword
        self,
        plant: Plant | PlantPort,
        clock: Clock,
        *,
        ambient_K: float = 298.15,
        seed: int = 0,
        faults: Iterable[InstrumentFault] | None = None,
        ideal: bool = False,
        off_mode: str = "NORM",
        serial_number: str = "",
        firmware: str = "emulated speed=virtual",
    ) -> None:
        if off_mode not in OFF_MODES.values():
            raise refuse("instrument", "off_mode", f"{off_mode!r} is none of HIMP NORM ZERO GUAR")
        self.settings = Settings()
        self.settings.off_mode = {"VOLT": off_mode, "CURR": off_mode}
        self.replies: deque[tuple[float, bytes]] = deque()
        self.output_on = False
        self.output_history: deque[OutputChange] = deque(maxlen=200)
        self.change_count = 0  # lines that may have changed something
        self.serial_number = serial_number or f"EMULATED{seed:06d}"
        self.firmware = firmware
        self._clock = clock
        self._t_s = clock.now_s()
        self._busy_s = self._t_s
        self._stage = OutputStage(plant, ambient_K)
        self._errors = InstrumentErrors(seed, ideal=ideal)
        self._faults = FaultSchedule(faults or ())
        self._queue: deque[int] = deque()
        self._event_status = 128  # power on
        self._model = TriggerModel(self._switch_by_block, self._measure, self._aperture)
        self._initiated_s = -math.inf
        self._buffer_start_s = math.nan
        self._last: Reading | None = None
        self._partial = b""
        self._commands = self._command_table()
        self._vocabulary = Vocabulary(PATTERNS)
        self._compiled: dict[bytes, tuple[_Compiled, ...]] = {}
        if self._faults.take(FaultKind.OUTPUT_ON_AT_CONNECT, self._t_s):
            self.settings.voltage_level_V = self._stage.open_voltage_V()
            self.settings.current_limit_A = 1e-4
            self.output_on = True
        self._apply()

    def __deepcopy__(self, memo: dict[int, Any]) -> EmulatedKeithley2450:
        """Copy the instrument with all it is doing; the table of commands is bound anew."""
        twin: EmulatedKeithley2450 = EmulatedKeithley2450.__new__(EmulatedKeithley2450)
        memo[id(self)] = twin
        bound = {"_commands", "_compiled", "_vocabulary"}  # hold this one's own methods, or nothing
        for name, value in self.__dict__.items():
            if name not in bound:
                setattr(twin, name, deepcopy(value, memo))
        twin._vocabulary = self._vocabulary
        twin._compiled = {}
        twin._commands = twin._command_table()
        return twin

    # -- bytes --------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Take bytes; complete lines are executed, replies are queued with the time they are due.

        Raises nothing, whatever the bytes.
        """
        if self._partial:
            data = self._partial + data
            self._partial = b""
        if data.endswith(b"\n") and data.find(b"\n") == len(data) - 1:
            self._execute(data)
            return
        *lines, self._partial = data.split(b"\n")
        for line in lines:
            self._execute(line)
        if len(self._partial) > LONGEST_LINE:
            self._partial = b""
            self._push_error(-102)

    def tick(self) -> None:
        """Catch up with the clock without a command; the server does this when no bytes come."""
        self._advance(self._clock.now_s())

    @property
    def time_s(self) -> float:
        """Time up to which the plant has been moved (s)."""
        return self._t_s

    @property
    def port(self) -> PlantPort:
        """The plant on the terminals."""
        return self._stage.port

    @property
    def temperature_K(self) -> float:
        """Temperature of the cell (K), as far as the plant has been moved."""
        return self._stage.temperature_K

    def know_temperature(self, temperature_K: float) -> None:
        """Take up a kept temperature (K), for plants that tell it only after a step."""
        self._stage.know_temperature(temperature_K)

    @property
    def plant_failure(self) -> str:
        """What the plant did that no cell does; empty as long as it is sound."""
        return self._stage.failure

    def notes(self) -> list[str]:
        """Return what a reader has to know of how the plant was regulated."""
        return self._stage.notes()

    def truth(self) -> dict[str, float | str | bool]:
        """Return the plant's truth, what passed the terminals, what happened to the instrument."""
        stage = self._stage
        told: dict[str, float | str | bool] = {
            "instrument_damaged": stage.damaged,
            "output_on": self.output_on,
            "terminal_current_A": stage.current_A,
            "terminal_charge_in_mAh": stage.charge_in_mAh,
            "terminal_charge_out_mAh": stage.charge_out_mAh,
            "model_running": self._model.running,
            "constant_voltage": stage.port.regulation.value,
            "constant_voltage_error_V": stage.held_error_V,
            "constant_voltage_largest_error_V": stage.largest_held_error_V,
            "bound_largest_overshoot_V": stage.largest_overshoot_V,
        }
        if stage.failure:  # what such a plant says of itself may be no number either
            return {**told, "plant_failure": stage.failure}
        if math.isfinite(stage.voltage_V):  # else nothing was asked of it yet
            told["terminal_voltage_V"] = stage.voltage_V
        return {**stage.port.truth(), **told}

    def saved_settings(self) -> dict[str, Any]:
        """Return the settings as plain data."""
        return asdict(self.settings)

    def power_cycle(self, saved: dict[str, Any] | None = None) -> None:
        """Start again with stored settings: output off, no trigger model, empty queues.

        Raises
        ------
        ConfigurationError
            A stored setting that does not exist.
        """
        settings = Settings()
        known = {item.name for item in fields(Settings)}
        for name, value in (saved or {}).items():
            if name not in known:
                raise refuse("instrument state", name, "is no setting of this instrument")
            setattr(settings, name, value)
        self.settings = settings
        self._t_s = self._clock.now_s()
        self._model.abort()
        self._model.load_empty()
        self._queue.clear()
        self._last = None
        self._buffer_start_s = math.nan
        self._switch(on=False, cause="power cycle")

    # -- time ---------------------------------------------------------------------------------

    def _advance(self, t_s: float) -> None:
        """Move plant and trigger model to `t_s`, in the order in which things happen."""
        model = self._model
        while model.next_s <= t_s:
            due_s = model.next_s
            if due_s > self._t_s:
                self._stage.evolve(due_s - self._t_s)
                self._t_s = due_s
            model.run_due(due_s)
        if t_s > self._t_s:
            self._stage.evolve(t_s - self._t_s)
            self._t_s = t_s

    def _execute(self, line: bytes) -> None:
        compiled = self._compiled.get(line)
        if compiled is None:
            compiled = self._compile(line)
        self._advance(max(self._clock.now_s(), self._busy_s))
        faulty = bool(self._faults)
        if faulty:
            self._act_on_faults()
        replies = []
        model = self._model
        changed = False
        for handler, arguments, while_running, changes in compiled:
            if not while_running and model.running:
                self._push_error(NOT_WHILE_RUNNING)
                continue
            try:
                reply = handler(arguments)
            except ScpiError as error:
                self._push_error(error.code)
                continue
            if reply is not None:
                replies.append(reply)
            elif changes:
                changed = True
        if changed:
            self.change_count += 1
        self._busy_s = self._t_s + LINE_LATENCY_S
        if replies:
            data = (";".join(replies) + "\n").encode("ascii")
            if faulty:
                self._reply_with_faults(data)
            else:
                self.replies.append((self._busy_s, data))

    def _compile(self, line: bytes) -> tuple[_Compiled, ...]:
        text = line.decode("ascii", errors="replace")
        compiled = tuple(self._compile_command(c) for c in self._vocabulary.parse(text))
        if len(self._compiled) >= LINE_CACHE_SIZE:
            self._compiled.clear()
        self._compiled[line] = compiled
        return compiled

    def _compile_command(self, command: ScpiCommand) -> _Compiled:
        if command.error:
            code = command.error
        else:
            entry = self._commands.get((command.header, command.query))
            if entry is not None:
                handler, while_running = entry
                changes = not command.query and command.header not in {"*TRG", "*WAI"}
                return _Compiled(handler, command.arguments, while_running, changes)
            code = -113
        return _Compiled(self._refuse, (str(code),), while_running=True, changes=False)

    def _refuse(self, arguments: Arguments) -> None:
        raise ScpiError(int(arguments[0]))

    def _push_error(self, code: int) -> None:
        self._event_status |= 32 if -200 < code < -99 else 16
        if len(self._queue) >= ERROR_QUEUE_LENGTH:
            self._queue[-1] = -350
        else:
            self._queue.append(code)

    # -- output -------------------------------------------------------------------------------

    def _apply(self) -> None:
        """Bring the output stage in line with the settings."""
        s = self.settings
        stage = self._stage
        four_wire = s.four_wire[s.sense]
        reversed_cell = bool(self._faults) and bool(
            self._faults.take(FaultKind.REVERSED_POLARITY, self._t_s)
        )
        stage.wire(lead_Ohm=0.0 if four_wire else LEAD_OHM, polarity=-1.0 if reversed_cell else 1.0)
        errors = self._errors
        if not self.output_on:
            self._apply_off(s.off_mode[s.function])
        elif s.function == "VOLT":
            bound_V = PROTECTION_V[s.protection]
            level_V = min(max(s.voltage_level_V, -bound_V), bound_V)
            stage.set(
                VOLTAGE_SOURCE,
                level_V * errors.source_voltage_gain + errors.source_voltage_offset_V,
                self._effective_limit_A() * errors.source_current_gain,
            )
        else:
            stage.set(
                CURRENT_SOURCE, s.current_level_A * errors.source_current_gain, s.voltage_limit_V
            )

    def _apply_off(self, mode: str) -> None:
        """Output off is not nothing: only HIMP opens the relay."""
        s = self.settings
        stage = self._stage
        if mode == "HIMP":
            stage.set(OPEN_CIRCUIT, 0.0, 0.0)
        elif mode == "ZERO":
            stage.set(VOLTAGE_SOURCE, 0.0, self._effective_limit_A())
        elif mode == "NORM":
            rows_index = s.sense_current_range if s.function == "VOLT" else s.source_current_range
            stage.set(VOLTAGE_SOURCE, 0.0, 0.1 * CURRENT_ROWS[rows_index][0])
        else:
            stage.set(CURRENT_SOURCE, 0.0, 0.1 * VOLTAGE_ROWS[s.source_voltage_range][0])

    def _effective_limit_A(self) -> float:
        """Return the current limit; a fixed measuring range below it limits first."""
        s = self.settings
        if s.sense == "CURR" and not s.sense_current_auto:
            return min(s.current_limit_A, 1.05 * CURRENT_ROWS[s.sense_current_range][0])
        return s.current_limit_A

    def _switch(self, *, on: bool, cause: str) -> None:
        if on and self._faults and self._faults.take(FaultKind.OUTPUT_WILL_NOT_TURN_ON, self._t_s):
            return
        if on != self.output_on:
            self.output_history.append(OutputChange(self._t_s, on, cause))
            if not on:
                # Switching off goes back to 2-wire.
                self.settings.four_wire = {"VOLT": False, "CURR": False}
        self.output_on = on
        self._apply()

    def _switch_by_block(self, on: bool) -> None:  # noqa: FBT001 - callback of the trigger model
        self._switch(on=on, cause="trigger block")

    # -- measuring ----------------------------------------------------------------------------

    def _aperture(self) -> float:
        return self.settings.nplc[self.settings.sense] / LINE_FREQUENCY_HZ

    def _measure(self) -> float:
        """Take a reading now; return the measured function's value."""
        return self._take_reading().reading

    def _take_reading(self) -> Reading:
        s = self.settings
        stage = self._stage
        stage.evolve(0.0)
        connected = self.output_on or s.off_mode[s.function] != "HIMP"
        volts = stage.voltage_V if connected else 0.0
        amperes = stage.current_A if connected else 0.0
        errors = self._errors
        measures_voltage = s.sense == "VOLT"
        if measures_voltage and s.sense_voltage_auto:
            volt_range = range_index(VOLTAGE_ROWS, volts)
        else:
            volt_range = s.sense_voltage_range if measures_voltage else s.source_voltage_range
        if not measures_voltage and s.sense_current_auto:
            current_range = range_index(CURRENT_ROWS, amperes)
        else:
            current_range = s.source_current_range if measures_voltage else s.sense_current_range
        read_V = (
            OVERFLOW
            if volt_range is None
            else errors.voltage[volt_range].reading(volts, errors.normal())
        )
        read_A = (
            OVERFLOW
            if current_range is None
            else errors.current[current_range].reading(amperes, errors.normal())
        )
        sources_voltage = s.function == "VOLT"
        if not s.read_back[s.function]:
            source = s.voltage_level_V if sources_voltage else s.current_level_A
        else:
            source = read_V if sources_voltage else read_A
        if self._buffer_start_s != self._buffer_start_s:  # NaN: the buffer is empty
            self._buffer_start_s = self._t_s
        reading = Reading(
            source,
            read_V if measures_voltage else read_A,
            self._t_s - self._buffer_start_s,
            self._status_bits(),
        )
        if self._faults:
            reading = self._spoil(reading)
        self._last = reading
        return reading

    def _status_bits(self) -> int:
        s = self.settings
        status = STATUS_LIMITED if self._stage.limited else 0
        if self.output_on:
            status |= STATUS_OUTPUT_ON
        if s.read_back[s.function]:
            status |= STATUS_READ_BACK
        if s.four_wire[s.sense]:
            status |= STATUS_FOUR_WIRE
        # a level left from another function drives nothing
        sourced_V = s.voltage_level_V if s.function == "VOLT" else 0.0
        if s.protection != "NONE" and abs(sourced_V) > PROTECTION_V[s.protection]:
            status |= STATUS_OVER_VOLTAGE
        return status

    # -- faults -------------------------------------------------------------------------------

    def _act_on_faults(self) -> None:
        faults, now_s = self._faults, self._t_s
        if faults.take(FaultKind.ERROR_QUEUE_ENTRY, now_s):
            self._push_error(-200)
        if self.output_on:
            other = faults.take(FaultKind.OTHER_CLIENT, now_s)
            if other is not None:
                half_A = 0.5 * self.settings.current_limit_A
                self.settings.current_limit_A = max(value_or(other, half_A), MIN_CURRENT_LIMIT_A)
                self._apply()

    def _reply_with_faults(self, data: bytes) -> None:
        faults, now_s = self._faults, self._t_s
        if faults.take(FaultKind.NO_REPLY, now_s):
            return
        ready_s = self._busy_s
        late = faults.take(FaultKind.LATE_REPLY, now_s)
        if late is not None:
            ready_s += value_or(late, 5.0)
        if faults.take(FaultKind.GARBAGE_REPLY, now_s):
            data = b"\xff\x00#?" + data[:3] + b"\n"
        self.replies.append((ready_s, data))

    def _spoil(self, reading: Reading) -> Reading:
        faults, now_s = self._faults, self._t_s
        volts_are_source = self.settings.function == "VOLT"
        if faults.take(FaultKind.OVER_TEMPERATURE, now_s):
            reading = reading._replace(status=reading.status | STATUS_OVER_TEMPERATURE)
        if faults.take(FaultKind.STUCK_READING, now_s) and self._last is not None:
            return self._last
        if faults.take(FaultKind.NAN_READING, now_s):
            return reading._replace(source=NAN_ON_THE_WIRE, reading=NAN_ON_THE_WIRE)
        if faults.take(FaultKind.OVERFLOW_READING, now_s):
            return reading._replace(source=OVERFLOW, reading=OVERFLOW)
        wrong = faults.take(FaultKind.OCV_OUT_OF_WINDOW, now_s)
        if wrong is not None:
            volts = value_or(wrong, 0.4)
            if volts_are_source:
                return reading._replace(source=volts)
            return reading._replace(reading=volts)
        return reading

    # -- commands: common ---------------------------------------------------------------------

    def _identity(self, _: Arguments) -> str:
        if self._faults and self._faults.take(FaultKind.WRONG_IDENTITY, self._t_s):
            return "KEITHLEY INSTRUMENTS,MODEL 2000,0000001,A01"
        return f"KEITHLEY INSTRUMENTS,MODEL 2450,{self.serial_number},{self.firmware}"

    def _reset(self, _: Arguments) -> None:
        """*RST: output off, NORMAL off mode. With a cell attached, a 0 V source across it."""
        self._model.abort()
        self._model.load_empty()
        self.settings = Settings()
        self._last = None
        self._buffer_start_s = math.nan
        self._switch(on=False, cause="*RST")

    def _clear_status(self, _: Arguments) -> None:
        self._queue.clear()
        self._event_status = 0

    def _event_status_query(self, _: Arguments) -> str:
        value, self._event_status = self._event_status, 0
        return str(value)

    def _status_byte(self, _: Arguments) -> str:
        return str((4 if self._queue else 0) | (32 if self._event_status else 0))

    def _trigger(self, _: Arguments) -> None:
        self._model.event = True

    def _next_error(self, _: Arguments) -> str:
        if not self._queue:
            return '0,"No error"'
        code = self._queue.popleft()
        return f'{code},"{ERROR_TEXTS.get(code, "Error")}"'

    # -- commands: output and source ----------------------------------------------------------

    def _output(self, arguments: Arguments) -> None:
        on = _boolean(_only(arguments))
        if on and self._model.running:
            raise ScpiError(NOT_WHILE_RUNNING)
        self._switch(on=on, cause="OUTP")

    def _set_off_mode(self, functions: tuple[str, ...], arguments: Arguments) -> None:
        mode = OFF_MODES.get(_only(arguments).upper())
        if mode is None:
            raise ScpiError(-224)
        if self._faults and self._faults.take(FaultKind.OFF_MODE_NORMAL, self._t_s):
            mode = "NORM"
        for function in functions:
            self.settings.off_mode[function] = mode
        self._apply()

    def _set_function(self, arguments: Arguments) -> None:
        function = FUNCTIONS.get(unquote(_only(arguments)))
        if function is None:
            raise ScpiError(-224)
        if function != self.settings.function:
            if self.output_on:
                self._switch(on=False, cause="source function")
            self.settings.function = function
            self._apply()

    def _set_voltage(self, arguments: Arguments) -> None:
        s = self.settings
        value = _number(_only(arguments), -MAX_VOLTAGE_V, MAX_VOLTAGE_V, 0.0)
        if s.source_voltage_auto:
            index = range_index(VOLTAGE_ROWS, value)
            s.source_voltage_range = len(VOLTAGE_ROWS) - 1 if index is None else index
        elif abs(value) > 1.05 * VOLTAGE_ROWS[s.source_voltage_range][0]:
            raise ScpiError(-222)
        s.voltage_level_V = value
        self._apply()

    def _set_current(self, arguments: Arguments) -> None:
        s = self.settings
        value = _number(_only(arguments), -MAX_CURRENT_A, MAX_CURRENT_A, 0.0)
        if s.source_current_auto:
            index = range_index(CURRENT_ROWS, value)
            s.source_current_range = len(CURRENT_ROWS) - 1 if index is None else index
        elif abs(value) > 1.05 * CURRENT_ROWS[s.source_current_range][0] * (1.0 + 1e-12):
            raise ScpiError(-222)
        s.current_level_A = value
        self._apply()

    def _set_current_limit(self, arguments: Arguments) -> None:
        value = _number(_only(arguments), MIN_CURRENT_LIMIT_A, MAX_CURRENT_A, 1.05e-4)
        if self._faults and self._faults.take(FaultKind.LIMIT_NOT_ACCEPTED, self._t_s):
            return
        self.settings.current_limit_A = value
        self._apply()

    def _set_voltage_limit(self, arguments: Arguments) -> None:
        value = _number(_only(arguments), MIN_VOLTAGE_LIMIT_V, MAX_VOLTAGE_V, 2.0)
        if self._faults and self._faults.take(FaultKind.LIMIT_NOT_ACCEPTED, self._t_s):
            return
        self.settings.voltage_limit_V = value
        self._apply()

    def _set_protection(self, arguments: Arguments) -> None:
        word = _only(arguments).upper()
        if word not in PROTECTION_V:
            raise ScpiError(-224)
        self.settings.protection = word
        self._apply()

    def _set_range(self, attribute: str, arguments: Arguments) -> None:
        voltage = attribute.endswith("voltage")
        rows = VOLTAGE_ROWS if voltage else CURRENT_ROWS
        top = MAX_VOLTAGE_V if voltage else MAX_CURRENT_A
        value = _number(_only(arguments), 0.0, top, top)
        index = range_index(rows, value)
        if index is None:
            raise ScpiError(-222)
        setattr(self.settings, attribute + "_range", index)
        setattr(self.settings, attribute + "_auto", False)
        self._apply()

    def _set_auto(self, attribute: str, arguments: Arguments) -> None:
        setattr(self.settings, attribute + "_auto", _boolean(_only(arguments)))
        self._apply()

    # -- commands: sense ----------------------------------------------------------------------

    def _set_sense(self, arguments: Arguments) -> None:
        function = SENSE_FUNCTIONS.get(unquote(_only(arguments)))
        if function is None:
            raise ScpiError(-224)
        self.settings.sense = function
        self._apply()

    def _set_nplc(self, function: str, arguments: Arguments) -> None:
        self.settings.nplc[function] = _number(_only(arguments), 0.01, 10.0, 1.0)

    def _set_four_wire(self, function: str, arguments: Arguments) -> None:
        self.settings.four_wire[function] = _boolean(_only(arguments))
        self._apply()

    def _set_read_back(self, function: str, arguments: Arguments) -> None:
        self.settings.read_back[function] = _boolean(_only(arguments))

    def _set_terminals(self, arguments: Arguments) -> None:
        word = _only(arguments).upper()[:4]
        if word not in {"FRON", "REAR"}:
            raise ScpiError(-224)
        self.settings.terminals = word

    # -- commands: reading --------------------------------------------------------------------

    def _read(self, arguments: Arguments) -> str:
        self._advance(self._t_s + self._aperture())
        return _format(self._take_reading(), arguments)

    def _fetch(self, arguments: Arguments) -> str:
        if self._model.background:
            first_s = self._initiated_s + self._aperture()
            if first_s > self._t_s:
                self._advance(first_s)
        reading = self._take_reading() if self._model.background else self._last
        if reading is None:
            raise ScpiError(-230)
        if arguments == FULL_ELEMENTS:
            source, value, relative_s, status = reading
            return f"{source:.6E},{value:.6E},{relative_s:.6f},{status}"
        return _format(reading, arguments)

    def _clear_buffer(self, _: Arguments) -> None:
        self._buffer_start_s = math.nan
        self._last = None

    # -- commands: trigger model --------------------------------------------------------------

    def _load(self, arguments: Arguments) -> None:
        if unquote(_only(arguments)) != "EMPTY":
            raise ScpiError(-224)
        self._model.load_empty()

    def _initiate(self, _: Arguments) -> None:
        if self._model.running:
            raise ScpiError(-213)
        if self._faults and self._faults.take(FaultKind.TRIGGER_MODEL_DOES_NOT_START, self._t_s):
            return
        if not self._model.initiate(self._t_s):
            raise ScpiError(-221)
        self._initiated_s = self._t_s

    def _abort(self, _: Arguments) -> None:
        self._model.abort()

    def _block_measure(self, arguments: Arguments) -> None:
        number = _block_number(arguments, 1, 3)
        count = 1.0
        if len(arguments) == 3:
            infinite = arguments[2].upper() in {"INF", "INFINITE"}
            count = math.inf if infinite else _number(arguments[2], 1.0, 1e9, 1.0)
        self._model.define(number, Block("MEAS", count=count))

    def _block_delay(self, arguments: Arguments) -> None:
        number = _block_number(arguments, 2, 2)
        low_s, high_s = DELAY_RANGE_S
        self._model.define(number, Block("DEL", seconds=_number(arguments[1], low_s, high_s, 1.0)))

    def _block_event(self, arguments: Arguments) -> None:
        number = _block_number(arguments, 3, 3)
        if arguments[1].upper() not in {"COMM", "COMMAND"}:
            raise ScpiError(-224)
        self._model.define(number, Block("EVEN", target=_block_target(arguments[2]), word="COMM"))

    def _block_always(self, arguments: Arguments) -> None:
        number = _block_number(arguments, 2, 2)
        self._model.define(number, Block("ALW", target=_block_target(arguments[1])))

    def _block_limit(self, arguments: Arguments) -> None:
        number = _block_number(arguments, 5, 6)
        word = LIMIT_TYPES.get(arguments[1].upper())
        if word is None:
            raise ScpiError(-224)
        low = _number(arguments[2], -1e9, 1e9, 0.0)
        high = _number(arguments[3], -1e9, 1e9, 0.0)
        target = _block_target(arguments[4])
        self._model.define(number, Block("LIM", target=target, low=low, high=high, word=word))

    def _block_source(self, arguments: Arguments) -> None:
        number = _block_number(arguments, 2, 2)
        word = "ON" if _boolean(arguments[1]) else "OFF"
        self._model.define(number, Block("SOUR", word=word))

    # -- table --------------------------------------------------------------------------------

    def _command_table(self) -> dict[tuple[str, bool], tuple[Handler, bool]]:
        table: dict[tuple[str, bool], tuple[Handler, bool]] = {}

        def setter(header: str, handler: Handler, *, while_running: bool = False) -> None:
            table[header, False] = (handler, while_running)

        def query(header: str, handler: Handler, *, while_running: bool = True) -> None:
            table[header, True] = (handler, while_running)

        self._common_commands(setter, query)
        self._source_commands(setter, query)
        self._sense_commands(setter, query)
        setter("TRIG:LOAD", self._load)
        setter("TRIG:BLOC:MEAS", self._block_measure)
        setter("TRIG:BLOC:DEL:CONS", self._block_delay)
        setter("TRIG:BLOC:BRAN:EVEN", self._block_event)
        setter("TRIG:BLOC:BRAN:ALW", self._block_always)
        setter("TRIG:BLOC:BRAN:LIM:CONS", self._block_limit)
        setter("TRIG:BLOC:SOUR:STAT", self._block_source)
        setter("INIT", self._initiate, while_running=True)
        setter("ABOR", self._abort, while_running=True)
        query("TRIG:STAT", lambda _: self._model.status())
        return table

    def _common_commands(self, setter: Callable[..., None], query: Callable[..., None]) -> None:
        query("*IDN", self._identity)
        query("*LANG", lambda _: "SCPI")
        query("*ESR", self._event_status_query)
        query("*STB", self._status_byte)
        query("*OPC", lambda _: "1")
        setter("*OPC", lambda _: None, while_running=True)
        setter("*CLS", self._clear_status, while_running=True)
        setter("*RST", self._reset, while_running=True)
        setter("*WAI", lambda _: None, while_running=True)
        setter("*TRG", self._trigger, while_running=True)
        query("SYST:ERR", self._next_error)
        query("SYST:ERR:COUN", lambda _: str(len(self._queue)))
        setter("SYST:CLE", self._clear_status, while_running=True)
        setter("ROUT:TERM", self._set_terminals)
        query("ROUT:TERM", lambda _: self.settings.terminals)
        query("READ", self._read, while_running=False)
        query("FETC", self._fetch)
        setter("TRAC:CLE", self._clear_buffer)

    def _source_commands(self, setter: Callable[..., None], query: Callable[..., None]) -> None:
        setter("OUTP", self._output, while_running=True)
        query("OUTP", lambda _: "1" if self.output_on else "0")
        query("OUTP:INT:TRIP", lambda _: "0")
        setter("OUTP:SMOD", lambda a: self._set_off_mode(("VOLT", "CURR"), a))
        for function in ("VOLT", "CURR"):
            name = "voltage" if function == "VOLT" else "current"
            rows = VOLTAGE_ROWS if function == "VOLT" else CURRENT_ROWS
            setter(f"OUTP:{function}:SMOD", lambda a, f=function: self._set_off_mode((f,), a))
            query(f"OUTP:{function}:SMOD", lambda _, f=function: self.settings.off_mode[f])
            setter(f"SOUR:{function}:RANG", lambda a, n=name: self._set_range("source_" + n, a))
            query(
                f"SOUR:{function}:RANG",
                lambda _, n=name, r=rows: _full_scale(r, self.settings, "source_" + n),
            )
            setter(f"SOUR:{function}:RANG:AUTO", lambda a, n=name: self._set_auto("source_" + n, a))
            query(
                f"SOUR:{function}:RANG:AUTO",
                lambda _, n=name: _flag(getattr(self.settings, f"source_{n}_auto")),
            )
            setter(f"SOUR:{function}:READ:BACK", lambda a, f=function: self._set_read_back(f, a))
            query(
                f"SOUR:{function}:READ:BACK",
                lambda _, f=function: _flag(self.settings.read_back[f]),
            )
        setter("SOUR:FUNC", self._set_function)
        query("SOUR:FUNC", lambda _: self.settings.function)
        setter("SOUR:VOLT", self._set_voltage)
        query("SOUR:VOLT", lambda _: _number_text(self.settings.voltage_level_V))
        setter("SOUR:CURR", self._set_current)
        query("SOUR:CURR", lambda _: _number_text(self.settings.current_level_A))
        setter("SOUR:VOLT:ILIM", self._set_current_limit)
        query("SOUR:VOLT:ILIM", lambda _: _number_text(self.settings.current_limit_A))
        setter("SOUR:CURR:VLIM", self._set_voltage_limit)
        query("SOUR:CURR:VLIM", lambda _: _number_text(self.settings.voltage_limit_V))
        query("SOUR:VOLT:ILIM:TRIP", lambda _: self._tripped("VOLT"))
        query("SOUR:CURR:VLIM:TRIP", lambda _: self._tripped("CURR"))
        setter("SOUR:VOLT:PROT", self._set_protection)
        query("SOUR:VOLT:PROT", lambda _: self.settings.protection)
        query(
            "SOUR:VOLT:PROT:TRIP",
            lambda _: "1" if self._status_bits() & STATUS_OVER_VOLTAGE else "0",
        )

    def _sense_commands(self, setter: Callable[..., None], query: Callable[..., None]) -> None:
        setter("SENS:FUNC", self._set_sense)
        query("SENS:FUNC", lambda _: f'"{self.settings.sense}:DC"')
        for function in ("VOLT", "CURR"):
            name = "voltage" if function == "VOLT" else "current"
            rows = VOLTAGE_ROWS if function == "VOLT" else CURRENT_ROWS
            setter(f"SENS:{function}:RANG", lambda a, n=name: self._set_range("sense_" + n, a))
            query(
                f"SENS:{function}:RANG",
                lambda _, n=name, r=rows: _full_scale(r, self.settings, "sense_" + n),
            )
            setter(f"SENS:{function}:RANG:AUTO", lambda a, n=name: self._set_auto("sense_" + n, a))
            query(
                f"SENS:{function}:RANG:AUTO",
                lambda _, n=name: _flag(getattr(self.settings, f"sense_{n}_auto")),
            )
            setter(f"SENS:{function}:NPLC", lambda a, f=function: self._set_nplc(f, a))
            query(
                f"SENS:{function}:NPLC", lambda _, f=function: _number_text(self.settings.nplc[f])
            )
            setter(f"SENS:{function}:RSEN", lambda a, f=function: self._set_four_wire(f, a))
            query(
                f"SENS:{function}:RSEN",
                lambda _, f=function: _flag(self.settings.four_wire[f]),
            )

    def _tripped(self, function: str) -> str:
        self._stage.evolve(0.0)
        limited = self.output_on and self.settings.function == function and self._stage.limited
        return "1" if limited else "0"


PATTERNS: Final = (
    "*IDN",
    "*LANG",
    "*ESR",
    "*STB",
    "*OPC",
    "*CLS",
    "*RST",
    "*WAI",
    "*TRG",
    "SYSTem:ERRor[:NEXT]",
    "SYSTem:ERRor:COUNt",
    "SYSTem:CLEar",
    "ROUTe:TERMinals",
    "READ",
    "FETCh",
    "TRACe:CLEar",
    "OUTPut[:STATe]",
    "OUTPut:INTerlock:TRIPped",
    "OUTPut:SMODe",
    "OUTPut:VOLTage:SMODe",
    "OUTPut:CURRent:SMODe",
    "SOURce:FUNCtion[:MODE]",
    *(
        f"SOURce:{function}{tail}"
        for function in ("VOLTage", "CURRent")
        for tail in ("[:LEVel][:IMMediate][:AMPLitude]", ":RANGe", ":RANGe:AUTO", ":READ:BACK")
    ),
    "SOURce:VOLTage:ILIMit[:LEVel]",
    "SOURce:VOLTage:ILIMit[:LEVel]:TRIPped",
    "SOURce:CURRent:VLIMit[:LEVel]",
    "SOURce:CURRent:VLIMit[:LEVel]:TRIPped",
    "SOURce:VOLTage:PROTection[:LEVel]",
    "SOURce:VOLTage:PROTection:TRIPped",
    "SENSe:FUNCtion[:ON]",
    *(
        f"SENSe:{function}{tail}"
        for function in ("VOLTage", "CURRent")
        for tail in (":RANGe[:UPPer]", ":RANGe:AUTO", ":NPLCycles", ":RSENse")
    ),
    "TRIGger:LOAD",
    "TRIGger:STATe",
    "TRIGger:BLOCk:MEASure",
    "TRIGger:BLOCk:DELay:CONStant",
    "TRIGger:BLOCk:BRANch:EVENt",
    "TRIGger:BLOCk:BRANch:ALWays",
    "TRIGger:BLOCk:BRANch:LIMit:CONStant",
    "TRIGger:BLOCk:SOURce:STATe",
    "INITiate[:IMMediate]",
    "ABORt",
)


def _only(arguments: Arguments) -> str:
    if not arguments:
        raise ScpiError(-109)
    if len(arguments) > 1:
        raise ScpiError(-108)
    return arguments[0]


def _number(text: str, low: float, high: float, default: float) -> float:
    word = text.upper()
    if word in {"MIN", "MINIMUM"}:
        return low
    if word in {"MAX", "MAXIMUM"}:
        return high
    if word in {"DEF", "DEFAULT"}:
        return default
    try:
        value = float(text)
    except ValueError as error:
        raise ScpiError(-104) from error
    if not low <= value <= high:
        raise ScpiError(-222)
    return value


def _boolean(text: str) -> bool:
    value = BOOLEANS.get(text.upper())
    if value is None:
        raise ScpiError(-224)
    return value


def _block_target(text: str) -> int:
    value = _number(text, 1.0, 255.0, 1.0)
    if value != int(value):
        raise ScpiError(-222)
    return int(value)


def _block_number(arguments: Arguments, fewest: int, most: int) -> int:
    if len(arguments) < fewest:
        raise ScpiError(-109)
    if len(arguments) > most:
        raise ScpiError(-108)
    return _block_target(arguments[0])


def _number_text(value: float) -> str:
    return f"{value:.6E}"


def _flag(value: object) -> str:
    return "1" if value else "0"


def _full_scale(rows: tuple[tuple[float, ...], ...], settings: Settings, attribute: str) -> str:
    return _number_text(rows[getattr(settings, attribute + "_range")][0])


def _format(reading: Reading, arguments: Arguments) -> str:
    """Return the elements asked for; the reading alone when none is named."""
    words = arguments
    if words and words[0][:1] in {'"', "'"}:
        if unquote(words[0]) not in {"DEFBUFFER1", "DEFBUFFER2"}:
            raise ScpiError(-224)
        words = words[1:]
    parts = []
    for word in words or ("READ",):
        element = ELEMENTS.get(word.upper())
        if element is None:
            raise ScpiError(-224)
        parts.append(_element(reading, element))
    return ",".join(parts)


def _element(reading: Reading, element: str) -> str:
    if element == "SOUR":
        return _number_text(reading.source)
    if element == "READ":
        return _number_text(reading.reading)
    if element == "REL":
        return f"{reading.relative_s:.6f}"
    return str(reading.status)
