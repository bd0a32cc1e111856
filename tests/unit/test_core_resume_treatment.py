"""A pause within a treatment: the state machine finds its way back into it."""

from pathlib import Path

from controller.app.config import load_run
from controller.app.prepare import prepare
from controller.core.plan import CycleKey
from controller.core.step import Core
from controller.domain.events import EventKind
from controller.domain.figures import CycleKind
from controller.domain.sample import Sample
from controller.domain.step import Stage
from controller.policy.machine import State, Trigger

SAMPLE = Sample(0, 0, 0.0, 0.0, 1.7e9, 3.5, 0.0, 298.15, 1, 1, 1e-3, 0.02, 0)


def test_resumed_in_a_discharged_rest_the_run_is_reactivating_again(tmp_path: Path) -> None:
    core = Core(prepare(load_run(None), 1).core)
    state = core.new_state()
    state.key = CycleKey(kind=CycleKind.BASE, recipe="discharged-rest", treated=True)
    state.step_index = next(
        i for i, one in enumerate(core.plan(state)) if one.step.stage is Stage.EXECUTE
    )
    state.run_state = State.EXECUTE
    core.trigger(state, Trigger.PAUSE, SAMPLE)
    core.trigger(state, Trigger.RESUME, SAMPLE)
    report = core.reenter(state, SAMPLE)
    assert state.run_state is State.EXECUTE
    assert not [one for one in report.events if one.kind is EventKind.INVALID_TRANSITION]
