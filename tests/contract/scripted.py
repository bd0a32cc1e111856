"""A transport that knows every byte beforehand, and a clock that a test moves."""

from __future__ import annotations

from collections import deque

from controller.domain.errors import CyclerConnectionError, CyclerTimeoutError


class ManualClock:
    """Moves when told, and by what a timeout costs."""

    def __init__(self) -> None:
        self.t_s = 100.0

    def now_s(self) -> float:
        return self.t_s

    def utc_s(self) -> float:
        return 1.7e9 + self.t_s

    def sleep_until(self, t_s: float) -> None:
        self.t_s = max(self.t_s, t_s)


class Late:
    """A reply that arrives only after the reader has given up, before the next one's answer."""

    def __init__(self, reply: bytes) -> None:
        self.reply = reply


Reply = bytes | Late | None | type[CyclerConnectionError]


class ScriptedTransport:
    """Expects exactly the given writes; answers each with its reply.

    None: nothing comes. `Late`: comes after the timeout. The connection error: the line is cut.
    """

    def __init__(self, clock: ManualClock, script: list[tuple[bytes, Reply]] | None = None) -> None:
        self.clock = clock
        self.script: deque[tuple[bytes, Reply]] = deque(script or [])
        self.written: list[bytes] = []
        self.closed = False
        self.cut = False
        self._arrived: deque[bytes] = deque()
        self._late: deque[bytes] = deque()

    @property
    def address(self) -> str:
        return "scripted"

    def expect(self, *exchanges: tuple[bytes, Reply]) -> None:
        self.script.extend(exchanges)

    def write(self, data: bytes) -> None:
        if self.cut:
            raise CyclerConnectionError("the line is cut")
        self.written.append(data)
        assert self.script, f"unexpected {data!r}"
        sent, reply = self.script.popleft()
        assert data == sent
        self._arrived.extend(self._late)
        self._late.clear()
        if isinstance(reply, Late):
            self._late.append(reply.reply)
        elif isinstance(reply, bytes):
            self._arrived.append(reply)
        elif reply is CyclerConnectionError:
            self.cut = True

    def read_until(self, terminator: bytes, timeout_s: float) -> bytes:
        assert terminator == b"\n"
        if self.cut:
            raise CyclerConnectionError("the line is cut")
        if self._arrived:
            return self._arrived.popleft()
        self.clock.t_s += timeout_s
        raise CyclerTimeoutError("no reply")

    def close(self) -> None:
        self.closed = True

    def assert_finished(self) -> None:
        assert not self.script, f"not sent: {list(self.script)}"
