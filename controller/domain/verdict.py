"""What the supervisor says of a sample and the command that is to follow it."""

from __future__ import annotations

from typing import Final, NamedTuple

# Actions, each stronger than the one before. The strongest that any cause asks for is taken.
ALLOW: Final = 0
WARN: Final = 1  # the command stands; somebody is told
HOLD: Final = 2  # the command is replaced by hold_0A until the cause has cleared
REST: Final = 3  # hold_0A, the running treatment is abandoned, the step does not go on by itself
TRIP: Final = 4  # open, latched until acknowledged with the condition gone

ACTION_WORDS: Final[dict[int, str]] = {
    ALLOW: "allow",
    WARN: "warn",
    HOLD: "hold",
    REST: "rest",
    TRIP: "trip",
}


class Verdict(NamedTuple):
    """The supervisor's answer.

    Attributes
    ----------
    action : int
        `ALLOW` ... `TRIP`.
    causes : int
        Sum of ``1 << row`` over the rows of the fault table that are active now
        (`controller.safety.faults.FAULTS`); 0 for `ALLOW`.
    """

    action: int
    causes: int
