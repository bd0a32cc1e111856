"""Virtual time: moves only when somebody waits."""

from __future__ import annotations

from controller.domain.errors import refuse


class VirtualClock:
    """A clock that a wait moves at once (`controller.hal.ports.Clock`).

    Parameters
    ----------
    utc_epoch_s : float
        Unix seconds at `start_s`.
    start_s : float
        Monotonic seconds at the start.
    """

    __slots__ = ("_now_s", "_utc_offset_s")

    def __init__(self, utc_epoch_s: float, start_s: float = 0.0) -> None:
        self._now_s = float(start_s)
        self._utc_offset_s = float(utc_epoch_s) - float(start_s)

    def now_s(self) -> float:
        """Return monotonic seconds."""
        return self._now_s

    def utc_s(self) -> float:
        """Return Unix seconds."""
        return self._now_s + self._utc_offset_s

    def sleep_until(self, t_s: float) -> None:
        """Move to `t_s`; a time already past changes nothing, NaN neither."""
        self._now_s = max(self._now_s, t_s)

    def advance(self, dt_s: float) -> None:
        """Move on by `dt_s`.

        Raises
        ------
        ConfigurationError
            A step that is not a number or goes back.
        """
        if not dt_s >= 0.0:
            raise refuse("virtual clock", "dt_s", f"{dt_s!r} would run time backwards")
        self._now_s += dt_s

    def set(self, now_s: float, utc_s: float) -> None:
        """Take up a kept time, e.g. with a kept bench."""
        self._now_s = float(now_s)
        self._utc_offset_s = float(utc_s) - self._now_s
