"""The state of a run as plain data: all that a checkpoint holds and a resume needs."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from controller.core import short_check, spectrum
from controller.core.execute import Progress
from controller.core.plan import CycleKey
from controller.core.short_check import ShortCheck
from controller.core.spectrum import Staircase
from controller.domain.errors import RunDirectoryError
from controller.domain.figures import (
    CycleFigures,
    CycleKind,
    DischargeEnd,
    Label,
    range_errors,
)
from controller.estimation import online
from controller.policy.learning import opportunity_from
from controller.policy.machine import State
from controller.policy.scheduler import SchedulerState

CHECKPOINT_SCHEMA: Final = 11


@dataclass(slots=True, kw_only=True)
class CoreState:
    """Where the run stands.

    Attributes
    ----------
    run_state : State
    cycle : int
        The running cycle, counted from 1 over formation, base and reference cycles.
    key : CycleKey
        Names the plan of the running cycle.
    step_index : int
        Index into its steps, anchor steps included when `anchoring`.
    anchoring : bool
        Anchor steps have been appended to this cycle, because an opportunity follows it.
    formation_done, base_done, reference_done : int
        Closed cycles of each kind; `reference_done` counts whole tests.
    reference_part : int
        Cycle within the reference test.
    progress : Progress
    estimator : EstimatorState
    scheduler : SchedulerState
    history : list of CycleFigures
    next_key : CycleKey or None
        Decided for the next cycle.
    spoiled : list of str
        Flags for the running cycle (interrupted, unobserved charge, treatment abandoned).
    anchor_K : float
        Temperature at the last anchor; NaN before the first, or without a thermometer.
    treatments_run, treatments_abandoned, treatments_harmful : dict of str to int
        By recipe. Harmful: a short showed afterwards (the open-circuit check, or the cycle).
    short_check : ShortCheck
    opening : int
        Step of the session's opening that runs; -1 for none.
    opening_progress : Progress
        How far that step has come; `progress` waits meanwhile.
    first_decided : bool
        The treatment before the first cycle has been decided on.
    envelope_openings : dict of str to int
        By pulse envelope; the supervisor counts for itself.
    staircase : Staircase or None
        The impedance spectrum that is being measured.
    last_t_s : float
        Host time of the last reading (s); NaN at the start of a session.
    hours : float
        Hours the run has taken, over all its sessions.
    stopped_because : str
        Empty while the run goes on.
    """

    run_state: State
    cycle: int
    key: CycleKey
    estimator: online.EstimatorState
    step_index: int = 0
    anchoring: bool = False
    formation_done: int = 0
    base_done: int = 0
    reference_done: int = 0
    reference_part: int = 0
    progress: Progress = field(default_factory=Progress)
    scheduler: SchedulerState = field(default_factory=SchedulerState)
    history: list[CycleFigures] = field(default_factory=list)
    next_key: CycleKey | None = None
    spoiled: list[str] = field(default_factory=list)
    anchor_K: float = float("nan")
    treatments_run: dict[str, int] = field(default_factory=dict)
    treatments_abandoned: dict[str, int] = field(default_factory=dict)
    envelope_openings: dict[str, int] = field(default_factory=dict)
    treatments_harmful: dict[str, int] = field(default_factory=dict)
    short_check: ShortCheck = field(default_factory=ShortCheck)
    opening: int = -1
    opening_progress: Progress = field(default_factory=Progress)
    first_decided: bool = False
    staircase: Staircase | None = None
    last_t_s: float = float("nan")
    hours: float = 0.0
    stopped_because: str = ""


def to_text(state: CoreState) -> str:
    """Return the state as JSON (NaN written as NaN)."""
    plain = {name: getattr(state, name) for name in CoreState.__slots__ if name not in _OWN_CODING}
    plain["schema"] = CHECKPOINT_SCHEMA
    plain["key"] = asdict(state.key)
    plain["next_key"] = None if state.next_key is None else asdict(state.next_key)
    plain["progress"] = _progress_to_dict(state.progress)
    plain["opening_progress"] = _progress_to_dict(state.opening_progress)
    plain["estimator"] = online.to_dict(state.estimator)
    plain["scheduler"] = asdict(state.scheduler)
    plain["staircase"] = spectrum.to_dict(state.staircase)
    plain["short_check"] = short_check.to_dict(state.short_check)
    plain["history"] = [asdict(figures) for figures in state.history]
    return json.dumps(plain)


def from_text(text: str, where: str) -> CoreState:
    """Return the state from `to_text`'s JSON.

    Raises
    ------
    RunDirectoryError
        A checkpoint of another schema, or a damaged one.
    """
    try:
        plain: dict[str, Any] = json.loads(text)
        schema = plain.pop("schema", None)
        if schema == CHECKPOINT_SCHEMA:
            return _state_from(plain)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise RunDirectoryError(
            f"{where}: the last checkpoint is damaged ({type(error).__name__}: {error}): begin a "
            "new run with another --out; what was measured stays whole in run.sqlite"
        ) from error
    raise RunDirectoryError(
        f"{where}: checkpoint has schema {schema!r}; this program reads {CHECKPOINT_SCHEMA}: "
        "go on with the version that began the run (report.html names it), or begin a new run "
        "with another --out; what was measured stays whole in run.sqlite"
    )


def _state_from(plain: dict[str, Any]) -> CoreState:
    scheduler = plain.pop("scheduler")
    scheduler["opportunities"] = [opportunity_from(one) for one in scheduler["opportunities"]]
    next_key = plain.pop("next_key")
    return CoreState(
        run_state=State(plain.pop("run_state")),
        key=_key(plain.pop("key")),
        next_key=None if next_key is None else _key(next_key),
        progress=_progress_from(plain.pop("progress")),
        opening_progress=_progress_from(plain.pop("opening_progress")),
        estimator=online.from_dict(plain.pop("estimator")),
        scheduler=SchedulerState(**scheduler),
        short_check=short_check.from_dict(plain.pop("short_check")),
        staircase=spectrum.from_dict(plain.pop("staircase")),
        history=[figures_from(one) for one in plain.pop("history")],
        **plain,
    )


_OWN_CODING: Final = frozenset(
    {
        "key",
        "next_key",
        "progress",
        "opening_progress",
        "estimator",
        "scheduler",
        "history",
        "short_check",
        "staircase",
    }
)


def _progress_to_dict(progress: Progress) -> dict[str, Any]:
    return {name: getattr(progress, name) for name in Progress.__slots__}


def _progress_from(plain: dict[str, Any]) -> Progress:
    progress = Progress()
    for name, value in plain.items():
        setattr(progress, name, value)
    return progress


def _key(plain: dict[str, Any]) -> CycleKey:
    return CycleKey(**{**plain, "kind": CycleKind(plain["kind"])})


def figures_from(plain: dict[str, Any]) -> CycleFigures:
    """Return a cycle's figures from their plain form."""
    return CycleFigures(
        **{
            **plain,
            "kind": CycleKind(plain["kind"]),
            "discharge_end": DischargeEnd(plain["discharge_end"]),
            "lithium_lost_label": Label(plain["lithium_lost_label"]),
            "flags": tuple(plain["flags"]),
            "net_errors": range_errors(plain["net_errors"]),
        }
    )
