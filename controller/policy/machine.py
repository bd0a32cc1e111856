"""The run's states and the only ways between them.

The table is the truth; the `transitions` Machine is a stateless wrapper over it: a state goes in, a
state comes out. The way from a verdict to output off never passes through here; the machine is
told afterwards. An event that the table does not know in a state is reported, never raised.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, NamedTuple

from transitions import Machine


class State(StrEnum):
    """States of a run. `FAULT` is latched: only an acknowledgement leaves it."""

    DISCONNECTED = "disconnected"
    CHECKING = "checking"
    FORMATION = "formation"
    CHARGE = "charge"
    REST = "rest"
    DISCHARGE = "discharge"
    DIAGNOSING = "diagnosing"
    ARM = "reactivating_arm"
    EXECUTE = "reactivating_execute"
    RECOVER = "reactivating_recover"
    EVALUATE = "reactivating_evaluate"
    PAUSED = "paused"
    COMPLETED = "completed"
    INTERRUPTED = "interrupted"
    FAULT = "fault"


class Trigger(StrEnum):
    """What can happen to a run. The first nine carry the name of the stage that begins."""

    FORMATION = "formation"
    CHARGE = "charge"
    REST = "rest"
    DISCHARGE = "discharge"
    DIAGNOSING = "diagnosing"
    ARM = "reactivating_arm"
    EXECUTE = "reactivating_execute"
    RECOVER = "reactivating_recover"
    EVALUATE = "reactivating_evaluate"
    CONNECT = "connect"
    FOUND_INTERRUPTED = "found_interrupted"
    CHECKED = "checked"
    PAUSE = "pause"
    RESUME = "resume"
    ABANDON = "abandon"
    COMPLETE = "complete"
    STOP = "stop"
    TRIP = "trip"
    ACKNOWLEDGE = "acknowledge"


class Transition(NamedTuple):
    """One arrow."""

    trigger: Trigger
    source: State
    target: State


_CYCLING: Final = (State.FORMATION, State.CHARGE, State.REST, State.DISCHARGE, State.DIAGNOSING)
_REACTIVATING: Final = (State.ARM, State.EXECUTE, State.RECOVER, State.EVALUATE)
_RUNNING: Final = (*_CYCLING, *_REACTIVATING)
_BEGIN_CYCLING: Final = (
    Trigger.FORMATION,
    Trigger.CHARGE,
    Trigger.REST,
    Trigger.DISCHARGE,
    Trigger.DIAGNOSING,
)


def _arrows() -> tuple[Transition, ...]:
    found = [
        Transition(Trigger.CONNECT, State.DISCONNECTED, State.CHECKING),
        Transition(Trigger.FOUND_INTERRUPTED, State.DISCONNECTED, State.INTERRUPTED),
        Transition(Trigger.RESUME, State.INTERRUPTED, State.CHECKING),
        Transition(Trigger.CHECKED, State.CHECKING, State.REST),
        Transition(Trigger.STOP, State.CHECKING, State.INTERRUPTED),
        Transition(Trigger.TRIP, State.CHECKING, State.FAULT),
        Transition(Trigger.RESUME, State.PAUSED, State.REST),
        Transition(Trigger.STOP, State.PAUSED, State.INTERRUPTED),
        Transition(Trigger.TRIP, State.PAUSED, State.FAULT),
        Transition(Trigger.STOP, State.FAULT, State.FAULT),
        Transition(Trigger.TRIP, State.FAULT, State.FAULT),
        Transition(Trigger.ACKNOWLEDGE, State.FAULT, State.INTERRUPTED),
        Transition(Trigger.TRIP, State.INTERRUPTED, State.FAULT),
    ]
    for source in _CYCLING:
        found += [Transition(begin, source, State(begin.value)) for begin in _BEGIN_CYCLING]
        found.append(Transition(Trigger.ARM, source, State.ARM))
    # A treatment runs arm, execute, recover, evaluate; each may repeat, none may be skipped
    # backwards, and only its end (or its abandonment) leads back to cycling.
    for index, source in enumerate(_REACTIVATING):
        found += [
            Transition(Trigger(target.value), source, target) for target in _REACTIVATING[index:]
        ]
        found.append(Transition(Trigger.ABANDON, source, State.REST))
    for source in (State.EXECUTE, State.RECOVER, State.EVALUATE):
        found += [Transition(begin, source, State(begin.value)) for begin in _BEGIN_CYCLING]
    for source in _RUNNING:
        found += [
            Transition(Trigger.PAUSE, source, State.PAUSED),
            Transition(Trigger.COMPLETE, source, State.COMPLETED),
            Transition(Trigger.STOP, source, State.INTERRUPTED),
            Transition(Trigger.TRIP, source, State.FAULT),
        ]
    return tuple(found)


TRANSITIONS: Final = _arrows()


class _Marker:
    """What `transitions` writes the state into; reset before every use."""

    state: str


class StateMachine:
    """(state, trigger) -> (state, known)."""

    def __init__(self) -> None:
        self._marker = _Marker()
        self._machine = Machine(
            model=self._marker,
            states=[state.value for state in State],
            transitions=[
                {
                    "trigger": f"on_{arrow.trigger.value}",
                    "source": arrow.source.value,
                    "dest": arrow.target.value,
                }
                for arrow in TRANSITIONS
            ],
            initial=State.DISCONNECTED.value,
            auto_transitions=False,
            ignore_invalid_triggers=True,
        )

    def advance(self, state: State, trigger: Trigger) -> tuple[State, bool]:
        """Return the next state and whether the table knows `trigger` in `state`."""
        self._machine.set_state(state.value, self._marker)
        known = bool(self._marker.trigger(f"on_{trigger.value}"))  # type: ignore[attr-defined]
        return State(self._marker.state), known


def diagram() -> str:
    """Return the table as a Mermaid state diagram, arrows with equal ends joined."""
    joined: dict[tuple[State, State], list[str]] = {}
    for arrow in TRANSITIONS:
        joined.setdefault((arrow.source, arrow.target), []).append(arrow.trigger.value)
    lines = ["stateDiagram-v2", f"    [*] --> {State.DISCONNECTED.value}"]
    lines += [
        f"    {source.value} --> {target.value}: {', '.join(words)}"
        for (source, target), words in joined.items()
    ]
    lines.append(f"    {State.COMPLETED.value} --> [*]")
    return "\n".join(lines) + "\n"
