"""Which steps a cycle consists of: base cycling, a treatment or its sham, anchors, tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from controller.core.execute import StepNumbers, numbers_of
from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A
from controller.domain.figures import CycleKind
from controller.domain.step import Step
from protocols.spec import OCV_CHECK_S, Placement

# `CycleKey.part` of a base cycle that teaches the open-circuit check its baseline.
BASELINE_REST: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleKey:
    """Names a cycle's plan, so that a checkpoint need not hold its steps.

    Attributes
    ----------
    kind : CycleKind
    part : int
        Which cycle of a recipe of several (formation, reference test); `BASELINE_REST` in a base
        cycle whose rests are as long as an open-circuit check.
    recipe : str
        Treatment whose opportunity this cycle is; empty for none. In a formation cycle the one
        that comes before any cycling.
    treated : bool
        False: the treatment was withheld and its sham runs.
    """

    kind: CycleKind
    part: int = 0
    recipe: str = ""
    treated: bool = False

    @property
    def ends_in_anchor(self) -> bool:
        """Whether the plan itself ends in an anchor state."""
        return bool(self.recipe) and self.kind is CycleKind.BASE


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step, its numbers, and the number of the envelope it asks for."""

    step: Step
    numbers: StepNumbers
    envelope: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanBook:
    """Every step of the run in absolute units, resolved once before anything is energised.

    `opening` comes before everything else in each session: the probe of polarity on formats whose
    open-circuit voltage does not show it. Two anchors compare only where their temperatures differ
    by no more than `anchor_within_K`.
    """

    formation: tuple[tuple[Step, ...], ...]
    base: tuple[Step, ...]
    anchor: tuple[Step, ...]
    anchor_within_K: float
    reference: tuple[tuple[Step, ...], ...]
    treatments: Mapping[str, tuple[Step, ...]]
    shams: Mapping[str, tuple[Step, ...]]
    placements: Mapping[str, Placement]
    sham_placements: Mapping[str, Placement]
    hours: Mapping[str, float]
    envelopes: tuple[str, ...]
    nominal_capacity_Ah: float
    opening: tuple[Step, ...] = ()

    def steps(self, key: CycleKey) -> tuple[PlannedStep, ...]:
        """Return the steps of a cycle."""
        return tuple(self.planned(step) for step in self._steps(key))

    def anchor_steps(self) -> tuple[PlannedStep, ...]:
        """Return the steps that bring the cell to an anchor state."""
        return tuple(self.planned(step) for step in self.anchor)

    def opening_steps(self) -> tuple[PlannedStep, ...]:
        """Return the steps with which a session opens."""
        return tuple(self.planned(step) for step in self.opening)

    def planned(self, step: Step) -> PlannedStep:
        """Return a step with its numbers and envelope."""
        return PlannedStep(
            step=step,
            numbers=numbers_of(step, self.nominal_capacity_Ah),
            envelope=1 + self.envelopes.index(step.envelope) if step.envelope else 0,
        )

    def _steps(self, key: CycleKey) -> tuple[Step, ...]:
        if key.kind is CycleKind.FORMATION:
            before = self.treatments[key.recipe] if key.recipe else ()
            return (*before, *self.formation[key.part % len(self.formation)])
        if key.kind is CycleKind.REFERENCE:
            return self.reference[key.part]
        if not key.recipe:
            return self.with_long_rests() if key.part == BASELINE_REST else self.base
        insert = self.treatments[key.recipe] if key.treated else self.shams[key.recipe]
        places = self.placements if key.treated else self.sham_placements
        return (*self._with(insert, places[key.recipe]), *self.anchor)

    def with_long_rests(self) -> tuple[Step, ...]:
        """Return the base cycle with the rests before its discharge as long as a check.

        Nothing else teaches what this cell's own decay and noise are in time for a first fast
        treatment: reference tests are too rare.
        """
        steps: list[Step] = []
        emptied = False
        for step in self.base:
            emptied = emptied or step.closes_half_cycle
            short_rest = step.kind == HOLD_0A and step.max_duration_s < OCV_CHECK_S
            if short_rest and not emptied:
                name = f"{step.name}, as long as an open-circuit check"
                steps.append(replace(step, name=name, max_duration_s=OCV_CHECK_S))
            else:
                steps.append(step)
        return tuple(steps)

    def _with(self, insert: tuple[Step, ...], placement: Placement) -> tuple[Step, ...]:
        """Return the base cycle with a treatment, or its control, in its place."""
        if not insert:
            return self.base
        charges = [index for index, step in enumerate(self.base) if step.kind == CHARGE]
        if placement is Placement.AFTER_CHARGE:
            place = charges[-1] + 1
        elif placement is Placement.MID_CHARGE:
            return self._within_charge(insert, charges[0])
        else:
            place = 0
        return (*self.base[:place], *insert, *self.base[place:])

    def _within_charge(self, insert: tuple[Step, ...], place: int) -> tuple[Step, ...]:
        """Return the base cycle with steps put in half the nominal capacity into its charge."""
        whole = self.base[place]
        half_Ah = 0.5 * self.nominal_capacity_Ah
        first = replace(whole, name=f"{whole.name}, first half", end_charge_Ah=half_Ah)
        # where a charge ends the plating, the second half ends at what is left of it
        rest = whole
        if whole.end_charge_Ah > half_Ah:
            name = f"{whole.name}, second half"
            rest = replace(whole, name=name, end_charge_Ah=whole.end_charge_Ah - half_Ah)
        return (*self.base[:place], first, *insert, rest, *self.base[place + 1 :])


def split_cycles(steps: Sequence[Step]) -> tuple[tuple[Step, ...], ...]:
    """Split the steps of a recipe of several cycles: a charge after a base discharge begins one."""
    cycles: list[list[Step]] = [[]]
    closed = False
    for step in steps:
        if closed and step.kind == CHARGE:
            cycles.append([])
            closed = False
        cycles[-1].append(step)
        closed = closed or (step.kind == DISCHARGE and step.closes_half_cycle)
    return tuple(tuple(cycle) for cycle in cycles)
