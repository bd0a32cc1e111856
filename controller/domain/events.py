"""Events: what happened, as data, for the journal, the progress line and MQTT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from controller.domain.sample import Sample

JsonScalar = str | int | float | bool | None
JsonValue = JsonScalar | list[float] | list[str]


class EventKind(StrEnum):
    """Every kind of event there is."""

    STATE = "state"  # the state machine moved
    INVALID_TRANSITION = "invalid-transition"
    STEP_STARTED = "step-started"
    STEP_ENDED = "step-ended"
    CYCLE_CLOSED = "cycle-closed"
    DECISION = "decision"
    TREATMENT = "treatment"
    VERDICT = "verdict"  # a cause became active or cleared
    BAD_SAMPLE = "bad-sample"
    UNOBSERVED = "unobserved-charge"
    EXPOSURE = "exposure"  # an unplanned pause, with its state of charge
    SPECTRUM = "spectrum"  # an impedance spectrum, or why there is none
    OPERATOR = "operator"  # stop, pause, resume, acknowledge
    INSTRUMENT = "instrument"
    RUN = "run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One event.

    Attributes
    ----------
    kind : EventKind
    t_s : float
        Host time of the sample it belongs to (s).
    sequence : int
        Sequence number of that sample; -1 before the first.
    message : str
        One line for a person.
    data : mapping of str to str, int, float, bool, None or a list of numbers or words
        Keys carry units.
    """

    kind: EventKind
    t_s: float
    sequence: int
    message: str
    data: Mapping[str, JsonValue] = field(default_factory=dict)


def event_at(
    sample: Sample,
    kind: EventKind,
    message: str,
    data: Mapping[str, JsonValue] | None = None,
) -> Event:
    """Return an event that belongs to a reading."""
    return Event(
        kind=kind,
        t_s=sample.t_host_s,
        sequence=sample.sequence,
        message=message,
        data=data or {},
    )
