"""What the instrument is asked to do next: a permission that expires.

Two words for "no current" (rules of energising): `HOLD_0A` keeps the output on at zero current, so
the voltage is measured; `OPEN` is output off at high impedance, with no cell voltage.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from controller.domain.sample import NAN

OPEN: Final = 0
HOLD_0A: Final = 1
CHARGE: Final = 2
DISCHARGE: Final = 3

COMMAND_WORDS: Final[dict[int, str]] = {
    OPEN: "open",
    HOLD_0A: "hold_0A",
    CHARGE: "charge",
    DISCHARGE: "discharge",
}

# Whose charge it is. Decisions use base and net charge, never a ratio that pulses pull towards 1.
TAG_BASE: Final = 0
TAG_TREATMENT: Final = 1
TAG_DIAGNOSTIC: Final = 2


class Command(NamedTuple):
    """A set-point and how long it may stand.

    Attributes
    ----------
    kind : int
        `OPEN`, `HOLD_0A`, `CHARGE` or `DISCHARGE`.
    current_A : float
        Signed (charge positive). The device regulates to it until `voltage_bound_V` is reached
        and holds that voltage from then on with the current free to fall. 0 for the other kinds.
    voltage_bound_V : float
        Upper bound in `CHARGE`, lower bound in `DISCHARGE`; enforced by the device itself.
        NaN for `OPEN` and `HOLD_0A`.
    period_s : float
        The next reading is due after this time (s).
    valid_for_s : float
        The permission ends this long after it was last given (s); then `OPEN`.
    device_timed_s : float
        Finite: the instrument ends the pulse by itself after this time, with output off (s).
        NaN: the host ends the step, the dead-man guards it.
    envelope : int
        0: within the continuous envelope. n > 0: requests pulse envelope number n - 1 of
        `CellLimits.pulse_envelopes`.
    tag : int
        ``TAG_BASE``, ``TAG_TREATMENT`` or ``TAG_DIAGNOSTIC``.
    """

    kind: int
    current_A: float = 0.0
    voltage_bound_V: float = NAN
    period_s: float = 1.0
    valid_for_s: float = 5.0
    device_timed_s: float = NAN
    envelope: int = 0
    tag: int = TAG_BASE
