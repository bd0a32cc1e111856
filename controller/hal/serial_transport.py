"""Bytes over pyserial: serial adapters, ``socket://host:port``, ``loop://``. Wall-time timeouts."""

from __future__ import annotations

import socket
from contextlib import suppress
from time import monotonic
from typing import Final

import serial

from controller.domain.errors import CyclerConnectionError, CyclerTimeoutError

# A TCP port cannot say how much is waiting; one read takes up to this much.
_BULK_BYTES: Final = 4096
_WRITE_TIMEOUT_S: Final = 1.0
# Setting a real port's timeout reconfigures the port, so it is set once and reads wait in slices.
_SLICE_S: Final = 0.02
# A reply is at most a few hundred bytes; a line without an end is not one.
_MAX_LINE_BYTES: Final = 65536

_HINT: Final = "is the instrument on and connected? is the emulator running?"


class SerialTransport:
    """One byte stream to one instrument.

    Parameters
    ----------
    url : str
        Anything pyserial opens: ``socket://host:5025``, ``COM3``, ``/dev/ttyUSB0``, ``loop://``.
    baudrate : int
        Of a real serial line.

    Raises
    ------
    CyclerConnectionError
        The address cannot be opened.

    Notes
    -----
    `read_until` and `write` may run in two threads at once (the watchdog writes while the loop
    reads): they share nothing but the operating system's handle.
    """

    def __init__(self, url: str, *, baudrate: int = 115200) -> None:
        self._url = url
        self._buffer = bytearray()
        try:
            self._port = serial.serial_for_url(
                url, baudrate=baudrate, timeout=_SLICE_S, write_timeout=_WRITE_TIMEOUT_S
            )
        except (serial.SerialException, OSError, ValueError) as error:
            raise CyclerConnectionError(f"cannot open {url}: {error} ({_HINT})") from error
        # Of a socket:// port only. pyserial neither offers TCP_NODELAY nor closes a socket whose
        # peer has gone, so the socket itself is needed.
        self._socket: socket.socket | None = getattr(self._port, "_socket", None)
        if self._socket is not None:
            # Without it a small line may be held back for up to 40 ms.
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def address(self) -> str:
        """The URL it was opened with."""
        return self._url

    def write(self, data: bytes) -> None:
        """Send `data`.

        Raises
        ------
        CyclerConnectionError
            The line is gone, or takes no bytes any more.
        """
        try:
            self._port.write(data)
        except (serial.SerialException, OSError, TypeError) as error:
            raise self._lost(error) from error

    def read_until(self, terminator: bytes, timeout_s: float) -> bytes:
        """Return bytes up to and including `terminator`.

        Bytes of an unfinished reply stay for the next call.

        Raises
        ------
        CyclerTimeoutError
            Nothing complete within `timeout_s` of wall time.
        CyclerConnectionError
            The line is gone.
        """
        buffer = self._buffer
        deadline = monotonic() + timeout_s
        searched = 0
        while True:
            end = buffer.find(terminator, searched)
            if end >= 0:
                end += len(terminator)
                line = bytes(buffer[:end])
                del buffer[:end]
                return line
            if len(buffer) > _MAX_LINE_BYTES:
                buffer.clear()
                raise CyclerTimeoutError(f"{self._url} sends bytes without an end of line")
            searched = max(0, len(buffer) - len(terminator) + 1)
            remaining_s = deadline - monotonic()
            if remaining_s <= 0.0:
                raise CyclerTimeoutError(
                    f"no reply from {self._url} within {timeout_s:g} s ({_HINT})"
                )
            self._fill(remaining_s)

    def _fill(self, wait_s: float) -> None:
        """Take what has arrived in one go; wait at most `wait_s` for the first byte."""
        port = self._port
        try:
            if self._socket is not None:
                port.timeout = wait_s
                self._buffer += port.read(1)
                port.timeout = 0.0
                self._buffer += port.read(_BULK_BYTES)
            else:
                self._buffer += port.read(port.in_waiting or 1)
        except (serial.SerialException, OSError, TypeError) as error:
            raise self._lost(error) from error

    def _lost(self, error: Exception) -> CyclerConnectionError:
        return CyclerConnectionError(f"lost the connection to {self._url}: {error} ({_HINT})")

    def close(self) -> None:
        """Close; never raises."""
        with suppress(serial.SerialException, OSError):
            self._port.close()
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
