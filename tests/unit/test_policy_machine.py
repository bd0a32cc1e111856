"""The table of transitions: what leads where, what is refused, and the drawn page."""

import runpy
from pathlib import Path

import pytest

from controller.policy.machine import TRANSITIONS, State, StateMachine, Trigger

ROOT = Path(__file__).resolve().parents[2]
RUNNING = [
    State.FORMATION,
    State.CHARGE,
    State.REST,
    State.DISCHARGE,
    State.DIAGNOSING,
    State.ARM,
    State.EXECUTE,
    State.RECOVER,
    State.EVALUATE,
]


@pytest.fixture(scope="module")
def machine() -> StateMachine:
    return StateMachine()


def test_every_arrow_of_the_table_is_taken(machine: StateMachine) -> None:
    for arrow in TRANSITIONS:
        assert machine.advance(arrow.source, arrow.trigger) == (arrow.target, True)


def test_every_other_pair_changes_nothing_and_says_so(machine: StateMachine) -> None:
    known = {(arrow.source, arrow.trigger) for arrow in TRANSITIONS}
    others = [(s, t) for s in State for t in Trigger if (s, t) not in known]
    assert len(others) > 100
    for state, trigger in others:
        assert machine.advance(state, trigger) == (state, False)


@pytest.mark.parametrize("state", [*RUNNING, State.CHECKING, State.PAUSED, State.INTERRUPTED])
def test_a_trip_latches_from_everywhere_a_cell_can_be(machine: StateMachine, state: State) -> None:
    assert machine.advance(state, Trigger.TRIP) == (State.FAULT, True)


def test_only_an_acknowledgement_leaves_a_fault(machine: StateMachine) -> None:
    leaving = [t for t in Trigger if machine.advance(State.FAULT, t)[0] is not State.FAULT]
    assert leaving == [Trigger.ACKNOWLEDGE]
    assert machine.advance(State.FAULT, Trigger.ACKNOWLEDGE)[0] is State.INTERRUPTED


def test_a_treatment_is_armed_before_it_is_executed(machine: StateMachine) -> None:
    for state in RUNNING[:5]:
        assert not machine.advance(state, Trigger.EXECUTE)[1]
        assert machine.advance(state, Trigger.ARM) == (State.ARM, True)


def test_an_interrupted_run_is_checked_before_it_cycles(machine: StateMachine) -> None:
    assert machine.advance(State.INTERRUPTED, Trigger.RESUME) == (State.CHECKING, True)
    assert not machine.advance(State.INTERRUPTED, Trigger.CHARGE)[1]


def test_the_page_in_docs_is_current() -> None:
    page = runpy.run_path(str(ROOT / "scripts" / "state_diagram.py"))["page"]()
    assert (ROOT / "docs" / "state-machine.md").read_text("utf-8") == page
