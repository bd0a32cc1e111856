"""The byte stream to an emulated instrument in this process: no thread, no sleep."""

from __future__ import annotations

from collections import deque
from typing import Protocol

from controller.domain.errors import CyclerConnectionError, CyclerTimeoutError
from hil.clock import VirtualClock


class EmulatedInstrument(Protocol):
    """What a transport and a server need of an emulated instrument."""

    replies: deque[tuple[float, bytes]]  # (time from which the bytes can be read, bytes)

    def receive(self, data: bytes) -> None:
        """Take bytes; replies are queued in `replies`."""
        ...


class InProcessTransport:
    """Joins a driver and an emulated instrument on one virtual clock.

    Reading moves the clock to the reply's time, or to the deadline when there is none.

    Parameters
    ----------
    instrument : EmulatedInstrument
    clock : VirtualClock
    address : str
        What locks and messages call it.
    """

    __slots__ = ("_address", "_buffer", "_clock", "_closed", "_instrument")

    def __init__(
        self, instrument: EmulatedInstrument, clock: VirtualClock, address: str = "emulated://0"
    ) -> None:
        self._instrument = instrument
        self._clock = clock
        self._address = address
        self._buffer = b""
        self._closed = False

    @property
    def address(self) -> str:
        """The address given."""
        return self._address

    def write(self, data: bytes) -> None:
        """Hand bytes to the instrument."""
        if self._closed:
            raise CyclerConnectionError(f"{self._address} is closed")
        self._instrument.receive(data)

    def read_until(self, terminator: bytes, timeout_s: float) -> bytes:
        """Return bytes up to and including `terminator`, in virtual time.

        Raises
        ------
        CyclerTimeoutError
            No complete reply within `timeout_s`; the clock then stands at the deadline.
        CyclerConnectionError
            The transport is closed.
        """
        if self._closed:
            raise CyclerConnectionError(f"{self._address} is closed")
        clock = self._clock
        deadline_s = clock.now_s() + timeout_s
        replies = self._instrument.replies
        while True:
            if self._buffer:
                found = self._buffer.find(terminator)
                if found >= 0:
                    end = found + len(terminator)
                    line, self._buffer = self._buffer[:end], self._buffer[end:]
                    return line
            if not replies or replies[0][0] > deadline_s:
                clock.sleep_until(deadline_s)
                raise CyclerTimeoutError(f"{self._address}: no reply within {timeout_s:g} s")
            ready_s, data = replies.popleft()
            clock.sleep_until(ready_s)
            self._buffer += data

    def close(self) -> None:
        """Close; the instrument keeps what it was doing, as a real one does."""
        self._closed = True
