"""Which steps a cycle consists of: base cycling, a treatment or its sham, anchors, tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from controller.core.execute import StepNumbers, numbers_of
from controller.domain.cell import CellLimits
from controller.domain.command import CHARGE, DISCHARGE
from controller.domain.errors import ConfigurationError, Fault
from controller.domain.figures import CycleKind
from controller.domain.step import Step
from protocols.spec import Placement


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleKey:
    """Names a cycle's plan, so that a checkpoint need not hold its steps.

    Attributes
    ----------
    kind : CycleKind
    part : int
        Which cycle of a recipe of several (formation, reference test).
    recipe : str
        Treatment whose opportunity this cycle is; empty for none.
    treated : bool
        False: the treatment was withheld and its sham runs.
    """

    kind: CycleKind
    part: int = 0
    recipe: str = ""
    treated: bool = False


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step, its numbers, and the number of the envelope it asks for."""

    step: Step
    numbers: StepNumbers
    envelope: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanBook:
    """Every step of the run in absolute units, resolved once before anything is energised."""

    formation: tuple[tuple[Step, ...], ...]
    base: tuple[Step, ...]
    anchor: tuple[Step, ...]
    reference: tuple[tuple[Step, ...], ...]
    treatments: Mapping[str, tuple[Step, ...]]
    shams: Mapping[str, tuple[Step, ...]]
    placements: Mapping[str, Placement]
    envelopes: tuple[str, ...]
    nominal_capacity_Ah: float

    def steps(self, key: CycleKey) -> tuple[PlannedStep, ...]:
        """Return the steps of a cycle."""
        return tuple(self.planned(step) for step in self._steps(key))

    def anchor_steps(self) -> tuple[PlannedStep, ...]:
        """Return the steps that bring the cell to an anchor state."""
        return tuple(self.planned(step) for step in self.anchor)

    def planned(self, step: Step) -> PlannedStep:
        """Return a step with its numbers and envelope."""
        return PlannedStep(
            step=step,
            numbers=numbers_of(step, self.nominal_capacity_Ah),
            envelope=1 + self.envelopes.index(step.envelope) if step.envelope else 0,
        )

    def hours(self, recipe: str) -> float:
        """Return the longest the treatment and its two anchors can take beyond a base cycle (h)."""
        steps = (*self.treatments[recipe], *self.anchor, *self.anchor)
        return sum(step.max_duration_s for step in steps) / 3600.0

    def _steps(self, key: CycleKey) -> tuple[Step, ...]:
        if key.kind is CycleKind.FORMATION:
            return self.formation[key.part % len(self.formation)]
        if key.kind is CycleKind.REFERENCE:
            return self.reference[key.part]
        if not key.recipe:
            return self.base
        insert = self.treatments[key.recipe] if key.treated else self.shams[key.recipe]
        return (*insert_at(self.base, insert, self._place(key), 0.5 * self.nominal_capacity_Ah), *self.anchor)

    def _place(self, key: CycleKey) -> int | float:
        """Return the index in the base cycle before which the steps go; x.5 splits a charge."""
        placement = self.placements[key.recipe]
        last_charge = max(i for i, step in enumerate(self.base) if step.kind == CHARGE)
        if placement is Placement.AFTER_CHARGE:
            return last_charge + 1
        if placement is Placement.AFTER_DISCHARGE and not key.treated:
            return 0.5  # the sham of a discharged rest is the same rest at mid charge
        return 0


def insert_at(
    base: Sequence[Step], insert: tuple[Step, ...], place: int | float, half_charge_Ah: float
) -> tuple[Step, ...]:
    """Insert steps before index `place`; 0.5 splits the first charge after `half_charge_Ah`."""
    if not insert:
        return tuple(base)
    if isinstance(place, int):
        return (*base[:place], *insert, *base[place:])
    index = next(i for i, step in enumerate(base) if step.kind == CHARGE)
    whole = base[index]
    first = replace(whole, name=f"{whole.name}, first half", end_charge_Ah=half_charge_Ah)
    return (*base[:index], first, *insert, whole, *base[index + 1 :])


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


def unknown_envelopes(
    steps: Mapping[str, Sequence[Step]], limits: CellLimits, where: str
) -> ConfigurationError | None:
    """Return the refusal of steps that ask for an envelope the owner has not written."""
    known = [pulse.name for pulse in limits.pulse_envelopes]
    faults = [
        Fault(
            where=where,
            key=f"{recipe}: {step.name}",
            problem=f"asks for the pulse envelope {step.envelope!r}",
            remedy="write it under [[limits.pulse]]"
            + (f"; there are {', '.join(known)}" if known else ""),
        )
        for recipe, all_steps in steps.items()
        for step in all_steps
        if step.envelope and step.envelope not in known
    ]
    return ConfigurationError(faults) if faults else None
