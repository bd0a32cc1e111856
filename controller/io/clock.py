"""Clocks of the real world. The virtual clock lives with the simulation."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from controller.domain.errors import refuse

# Longest single wait (s): Ctrl-C is noticed between two of them on every platform.
_LONGEST_WAIT_S: Final = 0.2


class RealClock:
    """Monotonic time from `perf_counter`, Unix time from the operating system.

    Physical instruments take this clock only.
    """

    __slots__ = ()

    def now_s(self) -> float:
        """Return monotonic seconds (arbitrary zero)."""
        return time.perf_counter()

    def utc_s(self) -> float:
        """Return Unix seconds; may jump when the operating system corrects it."""
        return time.time()  # noqa: TID251 - the one place that reads the wall clock

    def sleep_until(self, t_s: float) -> None:
        """Return when `now_s()` has reached `t_s`; at once if that is past or NaN."""
        _wait(lambda: t_s - time.perf_counter())


class ScaledClock:
    """Time that runs `speed` times as fast as the wall clock, from the moment it is made.

    For emulated instruments in a process of their own; both sides must use the same speed.
    Timeouts of input and output stay in wall time.

    Parameters
    ----------
    speed : float
        Seconds of this clock per second of the wall; finite and above 0.

    Raises
    ------
    ConfigurationError
        `speed` is not a finite number above 0.
    """

    __slots__ = ("_start_s", "_start_utc_s", "speed")

    def __init__(self, speed: float) -> None:
        if not 0.0 < speed < float("inf"):
            raise refuse("command line", "speed", f"{speed} is not a speed", "a number above 0")
        self.speed = speed
        self._start_s = time.perf_counter()
        self._start_utc_s = time.time()  # noqa: TID251 - the one place that reads the wall clock

    def now_s(self) -> float:
        """Return seconds of this clock, starting where `perf_counter` stood."""
        return self._start_s + (time.perf_counter() - self._start_s) * self.speed

    def utc_s(self) -> float:
        """Return Unix seconds of this clock: they run ahead at the same speed."""
        return self._start_utc_s + (self.now_s() - self._start_s)

    def sleep_until(self, t_s: float) -> None:
        """Return when `now_s()` has reached `t_s`; at once if that is past or NaN."""
        _wait(lambda: (t_s - self.now_s()) / self.speed)


def _wait(remaining_s: Callable[[], float]) -> None:
    """Sleep, in short pieces, until the remaining wall time is used up."""
    while True:
        left_s = remaining_s()
        if not left_s > 0.0:  # also NaN: a wait without an end is never what was meant
            return
        time.sleep(min(left_s, _LONGEST_WAIT_S))  # noqa: TID251 - the one place that waits
