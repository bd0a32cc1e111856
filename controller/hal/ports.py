"""What the rest may ask of an instrument, a byte transport and a clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from controller.domain.capabilities import CyclerCapabilities
from controller.domain.command import Command
from controller.domain.sample import Sample


class Clock(Protocol):
    """Monotonic time; virtual in simulation, `perf_counter` on a real instrument."""

    def now_s(self) -> float:
        """Return monotonic seconds."""
        ...

    def utc_s(self) -> float:
        """Return Unix seconds."""
        ...

    def sleep_until(self, t_s: float) -> None:
        """Return when `now_s()` has reached `t_s`."""
        ...


class Transport(Protocol):
    """Bytes to and from one instrument."""

    def write(self, data: bytes) -> None:
        """Send `data`; raise `CyclerConnectionError` when the line is gone."""
        ...

    def read_until(self, terminator: bytes, timeout_s: float) -> bytes:
        """Return bytes up to and including `terminator`.

        Raises
        ------
        CyclerTimeoutError
            Nothing complete within `timeout_s`.
        CyclerConnectionError
            The line is gone.
        """
        ...

    def close(self) -> None:
        """Close; never raises."""
        ...

    @property
    def address(self) -> str:
        """The physical address, for locks and messages."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a read-only look at the instrument shows.

    Attributes
    ----------
    manufacturer, model, serial_number, firmware : str
    language : str
        Command set in use, e.g. ``SCPI``.
    output_on : bool
    off_modes : dict of str to str
        Off mode per source function.
    pending_errors : tuple of str
        The error queue as found.
    """

    manufacturer: str
    model: str
    serial_number: str
    firmware: str
    language: str
    output_on: bool
    off_modes: dict[str, str]
    pending_errors: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLimits:
    """Limits programmed into the device itself at the start and compared on every read-back."""

    max_current_A: float
    min_voltage_V: float
    max_voltage_V: float


class Cycler(Protocol):
    """One channel of one instrument. Only `controller.hal.guard` holds one.

    Every method may raise a `CyclerError`. None decides anything.
    """

    @property
    def capabilities(self) -> CyclerCapabilities:
        """Facts about the instrument."""
        ...

    @property
    def connected(self) -> bool:
        """False once the line has been lost; it does not come back by itself."""
        ...

    def identify(self) -> Identity:
        """Look without writing any setting."""
        ...

    def open(self) -> None:
        """Output off, high impedance; confirmed by read-back. Idempotent."""
        ...

    def prepare(self, limits: DeviceLimits, valid_for_s: float) -> None:
        """With the output off: off mode, limits, ranges, dead-man; each read back and compared."""
        ...

    def limit_to(self, limits: DeviceLimits) -> None:
        """Replace the device limits (for a pulse envelope, and back); read back and compare."""
        ...

    def energise_at_0A(self) -> float:
        """Output on as a 0 A source; return the measured open-circuit voltage (V)."""
        ...

    def recheck(self) -> None:
        """Read limits and off mode back again and compare."""
        ...

    def take_over_from_ocv(self, ocv_voltage_V: float) -> None:
        """Change to the source function of cycling, starting from the measured OCV."""
        ...

    def program(self, command: Command, last_voltage_V: float) -> None:
        """Set a new set-point, valid for `command.valid_for_s`, and confirm that it stands."""
        ...

    def poll(self, sequence: int) -> Sample:
        """Renew the permission, read the cell, compare the device's settings.

        Never raises for a bad reply of the reading itself: the sample's quality says it.
        """
        ...

    def emergency_open(self) -> None:
        """Best effort, from any thread, without waiting for a lock held across I/O."""
        ...

    def close(self) -> None:
        """Close the transport; never raises."""
        ...


class Thermometer(Protocol):
    """An auxiliary thermometer."""

    def read_K(self) -> float:
        """Return the temperature (K); NaN when the reading failed."""
        ...

    def close(self) -> None:
        """Close the transport; never raises."""
        ...
