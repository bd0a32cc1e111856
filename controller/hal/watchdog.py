"""An operating-system thread that ends a permission when the loop is stuck.

In virtual time the loop calls `Guard.enforce_expiry` itself: expiry is the same function of the
clock in both.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Final, Self

from controller.hal.guard import Guard
from controller.hal.ports import Clock

_JOIN_S: Final = 2.0


class ExpiryThread:
    """Looks at the guard every `interval_s` of wall time and opens once it has expired.

    Parameters
    ----------
    guard : Guard
    clock : Clock
        The clock that the permissions are counted on.
    interval_s : float
        Time between two looks (s, wall time).

    Notes
    -----
    The thread holds no lock at all; its way to the device is one write.
    """

    def __init__(self, guard: Guard, clock: Clock, interval_s: float = 0.1) -> None:
        self._guard = guard
        self._clock = clock
        self._interval_s = interval_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="expiry", daemon=True)

    def _watch(self) -> None:
        while not self._end.wait(self._interval_s):
            if self._guard.expired(self._clock.now_s()):
                self._guard.emergency_open("the loop did not renew its permission")

    @property
    def alive(self) -> bool:
        """True while the thread looks."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking; returns when the thread has ended."""
        self._end.set()
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()
