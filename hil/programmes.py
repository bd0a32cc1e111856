"""Programmes of simulated lives: what the library's recipes order, in currents, bounds and times.

Restated here, not read from the recipes, because a life must not depend on the controller's code:
formation and base cycles, reference tests, anchors, treatments and their controls. Or drawn at
random, for what has to hold whatever a user orders.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np

from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, TAG_BASE, TAG_TREATMENT
from controller.domain.figures import CycleKind
from controller.domain.units import SECONDS_PER_HOUR
from hil.cell.parameters import CellParameters
from hil.cycling import LONGEST_S, NO_LIMIT_MAH


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a cycle as its recipe would order it.

    Attributes
    ----------
    current_A : float
        Positive charges; 0 rests.
    stop_V : float
        Ends the constant current.
    hold_A, hold_s : float
        The voltage is then held until the current is down to this, or for this long; 0 A holds
        nothing.
    max_mAh : float
        Charge of the constant current that ends it.
    max_s : float
        Time that ends it.
    tag : int
        ``TAG_BASE`` or ``TAG_TREATMENT``.
    ends_discharge : bool
        What ended the discharge is to be told after this step.
    """

    current_A: float = 0.0
    stop_V: float = 0.0
    hold_A: float = 0.0
    hold_s: float = 3600.0
    max_mAh: float = NO_LIMIT_MAH
    max_s: float = LONGEST_S
    tag: int = TAG_BASE
    ends_discharge: bool = False

    @property
    def kind(self) -> int:
        """The command's kind."""
        if self.current_A == 0.0:
            return HOLD_0A
        return CHARGE if self.current_A > 0.0 else DISCHARGE


@dataclass(frozen=True, slots=True, kw_only=True)
class CyclePlan:
    """What a cycle is for and its steps; `treatment` names what is in it, empty for none."""

    kind: CycleKind
    steps: tuple[Step, ...]
    anchored: bool = False
    treatment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How cells of a format are cycled: what the recipes of the library say of them.

    Attributes
    ----------
    upper_V, lower_V : float
    charge_share : float
        Charge that ends the plating, of nominal capacity; 0 where the upper cut-off ends it.
    holds : bool
        The upper cut-off is held, to C/20.
    """

    upper_V: float
    lower_V: float
    charge_share: float = 0.0
    holds: bool = True


FORMATS: Final[Mapping[str, Format]] = MappingProxyType(
    {
        "anode-free": Format(upper_V=4.3, lower_V=3.0),
        "anode-free-lfp": Format(upper_V=3.8, lower_V=2.5),
        "excess-lithium": Format(upper_V=4.3, lower_V=3.0),
        "li-cu": Format(upper_V=0.5, lower_V=-1.0, charge_share=1.0, holds=False),
    }
)
BASE_C, FORMATION_C, REFERENCE_C = 1.0 / 3.0, 0.1, 0.05
REST_S: Final = 600.0
LONGEST_SHARE: Final = 1.5  # of the time in which nominal capacity is passed: a step's longest
ANCHOR_C: Final = 0.02
DISCHARGED_REST_H: Final = 4.0
STRIP_MA_PER_CM2: Final = 3.0
STRIP_SHARE: Final = 0.03
DISCHARGED_REST, CHARGED_REST, SHORT_STRIP = "discharged-rest", "charged-rest", "short-strip"


def cycle_plan(
    cell: str,
    p: CellParameters,
    kind: CycleKind = CycleKind.BASE,
    *,
    anchored: bool = True,
    treatment: str = "",
) -> CyclePlan:
    """Return the plan of one cycle.

    Parameters
    ----------
    cell : str
        One of `FORMATS`.
    p : CellParameters
    kind : CycleKind
    anchored : bool
        The discharge ends in a hold to C/50, 2 h at most.
    treatment : str
        ``discharged-rest`` (4 h before the charge), ``charged-rest`` (its control: the same time
        at half charge), ``short-strip`` (3 % of nominal capacity at 3 mA/cm2 after the charge;
        its control is the cycle without) or empty.
    """
    how = FORMATS[cell]
    one_c_A = p.nominal_capacity_mAh * 1e-3
    rates = {CycleKind.BASE: BASE_C, CycleKind.FORMATION: FORMATION_C}
    current_A = rates.get(kind, REFERENCE_C) * one_c_A
    plated_mAh = how.charge_share * p.nominal_capacity_mAh or NO_LIMIT_MAH
    taper_A = 0.05 * one_c_A if how.holds and current_A > 0.05 * one_c_A else 0.0
    longest_s = LONGEST_SHARE * SECONDS_PER_HOUR * one_c_A / current_A
    pause = Step(max_s=REST_S)
    treating = Step(max_s=DISCHARGED_REST_H * SECONDS_PER_HOUR, tag=TAG_TREATMENT)
    charge = Step(
        current_A=current_A,
        stop_V=how.upper_V,
        hold_A=taper_A,
        max_mAh=plated_mAh,
        max_s=longest_s,
    )
    steps: list[Step] = []
    if treatment == DISCHARGED_REST:
        steps.append(treating)
    if treatment == CHARGED_REST:
        half_mAh = 0.5 * p.nominal_capacity_mAh
        steps += [replace(charge, hold_A=0.0, max_mAh=half_mAh), treating]
        charge = replace(charge, max_mAh=plated_mAh - half_mAh)
    steps += [charge, Step(max_s=10.0) if treatment == SHORT_STRIP else pause]
    if treatment == SHORT_STRIP:
        steps += [
            Step(
                current_A=-STRIP_MA_PER_CM2 * p.area_cm2 * 1e-3,
                stop_V=how.lower_V,
                max_mAh=STRIP_SHARE * p.nominal_capacity_mAh,
                tag=TAG_TREATMENT,
            ),
            pause,
        ]
    end_A = ANCHOR_C * one_c_A if anchored and how.charge_share == 0.0 else 0.0
    steps += [
        Step(
            current_A=-current_A,
            stop_V=how.lower_V,
            hold_A=end_A,
            hold_s=7200.0,
            max_s=longest_s + 7200.0,
            ends_discharge=True,
        ),
        pause,
    ]
    return CyclePlan(
        kind=kind,
        steps=tuple(steps),
        anchored=anchored or how.charge_share > 0.0,
        treatment=treatment,
    )


def programme(
    cell: str,
    p: CellParameters,
    cycles: int,
    treatments: Mapping[int, str] | None = None,
    *,
    reference_every: int = 0,
    anchor_every: int = 1,
) -> list[CyclePlan]:
    """Return formation (two cycles) and base cycles, with treatments by number of the cycle.

    Parameters
    ----------
    cell, p : see `cycle_plan`
    cycles : int
        All together; the first is number 1.
    treatments : mapping of int to str
    reference_every : int
        Base cycles between reference cycles (C/20); 0 for none.
    anchor_every : int
        Base cycles that end in an anchor: each, every second ... (a treated one and the one
        before it always do).
    """
    treatments = treatments or {}
    plans = []
    since = 0
    for number in range(1, cycles + 1):
        treatment = treatments.get(number, "")
        kind = CycleKind.FORMATION if number <= 2 else CycleKind.BASE
        if (
            kind is CycleKind.BASE
            and reference_every
            and not treatment
            and since >= reference_every
        ):
            kind = CycleKind.REFERENCE
            since = 0
        since += kind is CycleKind.BASE
        anchored = (
            number % anchor_every == 0
            or number == 2
            or kind is CycleKind.REFERENCE
            or bool(treatment)
            or number + 1 in treatments
        )
        plans.append(cycle_plan(cell, p, kind, anchored=anchored, treatment=treatment))
    return plans


TREATED_ONE_IN: Final = 6
REFERENCE_ONE_IN: Final = 20


def programme_of_a_run(cell: str, p: CellParameters, cycles: int) -> list[CyclePlan]:
    """Return a programme with what a run puts in: a reference test, treatments, a control.

    Every sixth cycle has a discharged rest, its control or a short strip, in turn; a reference
    test comes after 20 base cycles.
    """
    kinds = (DISCHARGED_REST, CHARGED_REST, SHORT_STRIP)
    treated = {
        number: kinds[k % len(kinds)]
        for k, number in enumerate(range(TREATED_ONE_IN, cycles, TREATED_ONE_IN))
    }
    return programme(cell, p, cycles, treated, reference_every=REFERENCE_ONE_IN)


# What a programme is drawn from. Assumed.
DRAWN_C: Final = (0.2, 1.0 / 3.0, 0.5)
DRAWN_TAPER_SHARE: Final = 1.0 / 6.0  # of the charging current
DRAWN_REST_H: Final = 12.0
ANCHOR_EVERY, TREATED_EVERY, REFERENCE_AT = (0, 5), (0, 0, 7), (0, 11)  # 0: none


def drawn_programme(
    random: np.random.Generator, how: Format, nominal_Ah: float, cycles: int
) -> list[CyclePlan]:
    """Return a programme drawn at random: rate, anchors, reference test, discharged rests or none.

    A reference test or a treatment may fall on a cycle that is to end in an anchor, and does then.
    """
    base_A = nominal_Ah * DRAWN_C[int(random.integers(len(DRAWN_C)))]
    anchor_every = int(random.choice(ANCHOR_EVERY))
    treat_every = int(random.choice(TREATED_EVERY))
    reference_at = int(random.choice(REFERENCE_AT))
    treating = Step(max_s=SECONDS_PER_HOUR * DRAWN_REST_H, tag=TAG_TREATMENT)
    plans = []
    for n in range(cycles):
        reference = reference_at > 0 and n == reference_at
        treated = treat_every > 0 and n > 0 and n % treat_every == 0 and not reference
        anchored = anchor_every > 0 and n % anchor_every == anchor_every - 1 and how.holds
        current_A = REFERENCE_C * nominal_Ah if reference else base_A
        steps = _charge_and_discharge(how, nominal_Ah, current_A, anchored=anchored)
        plans.append(
            CyclePlan(
                kind=CycleKind.REFERENCE if reference else CycleKind.BASE,
                steps=(treating, *steps) if treated else steps,
                anchored=anchored,
                treatment=DISCHARGED_REST if treated else "",
            )
        )
    return plans


def _charge_and_discharge(
    how: Format, nominal_Ah: float, current_A: float, *, anchored: bool
) -> tuple[Step, ...]:
    """Return the steps of a drawn cycle."""
    hours = nominal_Ah / current_A
    if how.charge_share > 0.0:
        plated_mAh = how.charge_share * 1e3 * nominal_Ah
        charge = Step(current_A=current_A, stop_V=how.upper_V, max_mAh=plated_mAh)
    else:
        longest_s = SECONDS_PER_HOUR * (2.0 + 1.3 * hours)
        charge = Step(
            current_A=current_A,
            stop_V=how.upper_V,
            hold_A=DRAWN_TAPER_SHARE * current_A,
            hold_s=longest_s,
            max_s=longest_s,
        )
    longest_s = SECONDS_PER_HOUR * (2.0 + hours)
    discharge = Step(
        current_A=-current_A,
        stop_V=how.lower_V,
        hold_A=ANCHOR_C * nominal_Ah if anchored else 0.0,
        hold_s=longest_s,
        max_s=longest_s,
        ends_discharge=True,
    )
    pause = Step(max_s=REST_S)
    return charge, pause, discharge, pause


def largest_A(plans: Sequence[CyclePlan]) -> float:
    """Return the largest current that a programme asks for (A)."""
    return max(abs(step.current_A) for plan in plans for step in plan.steps)
