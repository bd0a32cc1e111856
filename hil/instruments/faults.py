"""Faults of instruments as data: what goes wrong, from when, how often."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """What can go wrong; `value` of the fault in brackets."""

    NO_REPLY = "no-reply"
    LATE_REPLY = "late-reply"  # [s later, default 5]
    GARBAGE_REPLY = "garbage-reply"
    STUCK_READING = "stuck-reading"
    NAN_READING = "nan-reading"
    OVERFLOW_READING = "overflow-reading"  # 9.9E37
    LIMIT_NOT_ACCEPTED = "limit-not-accepted"  # ILIM and VLIM keep their old value
    OUTPUT_ON_AT_CONNECT = "output-on-at-connect"
    OFF_MODE_NORMAL = "off-mode-normal"  # HIMP is not taken, NORM is read back
    WRONG_IDENTITY = "wrong-identity"
    REVERSED_POLARITY = "reversed-polarity"
    OVER_TEMPERATURE = "over-temperature"  # readings say that the instrument is too warm
    ERROR_QUEUE_ENTRY = "error-queue-entry"
    OUTPUT_WILL_NOT_TURN_ON = "output-will-not-turn-on"
    OTHER_CLIENT = "other-client"  # halves the current limit once [new limit, A]
    OCV_OUT_OF_WINDOW = "ocv-out-of-window"  # voltages read as [V, default 0.4]
    TRIGGER_MODEL_DOES_NOT_START = "trigger-model-does-not-start"
    THERMOMETER_NO_REPLY = "thermometer-no-reply"
    THERMOMETER_NAN = "thermometer-nan"
    THERMOMETER_STUCK = "thermometer-stuck"
    THERMOMETER_OVER_TEMPERATURE = "thermometer-over-temperature"  # [degC, default 75]


@dataclass(frozen=True, slots=True, kw_only=True)
class InstrumentFault:
    """One fault.

    Attributes
    ----------
    kind : FaultKind
    start_s, end_s : float
        When it acts, on the instrument's clock.
    count : int or None
        How many times it acts; None: always while its time lasts (``other-client`` and
        ``error-queue-entry``: once).
    value : float
        NaN takes the kind's default.
    """

    kind: FaultKind
    start_s: float = 0.0
    end_s: float = math.inf
    count: int | None = None
    value: float = math.nan


_ONCE = frozenset({FaultKind.OTHER_CLIENT, FaultKind.ERROR_QUEUE_ENTRY})


class FaultSchedule:
    """Which faults act now, and how often they still may."""

    def __init__(self, faults: Iterable[InstrumentFault]) -> None:
        self._faults = tuple(faults)
        self._used = [0] * len(self._faults)

    def __bool__(self) -> bool:
        return bool(self._faults)

    def take(self, kind: FaultKind, now_s: float) -> InstrumentFault | None:
        """Return the fault of this kind that acts now, counting it as having acted."""
        for i, fault in enumerate(self._faults):
            if fault.kind is not kind or not fault.start_s <= now_s < fault.end_s:
                continue
            count = 1 if fault.count is None and kind in _ONCE else fault.count
            if count is not None and self._used[i] >= count:
                continue
            self._used[i] += 1
            return fault
        return None


def value_or(fault: InstrumentFault, default: float) -> float:
    """Return the fault's value, or the default where it has none."""
    return default if math.isnan(fault.value) else fault.value
