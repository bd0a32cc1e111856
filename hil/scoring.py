"""Estimators on simulated lives: what the program would say of each cycle, beside what is hidden.

Composes `controller.estimation` with `hil.lives` the way `controller.core.step` does: every reading
through `online.observe`, the discharge classified where its step ends, the cycle closed at its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from controller.domain.cell import CellFormat
from controller.domain.command import CHARGE, DISCHARGE
from controller.domain.figures import CycleFigures
from controller.estimation import online
from controller.estimation.inventory import Inventory
from hil.cell.library import load_cell
from hil.cell.parameters import CellParameters
from hil.lives import LivedCycle, LoggedLife, Truth
from hil.programmes import FORMATS, CyclePlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One cycle: figures and inventory as the program has them, and what is true.

    `flowing_s` is how long a current was ordered, charge and discharge apart.
    """

    figures: CycleFigures
    inventory: Inventory
    truth: Truth
    plan: CyclePlan
    hours: float
    step_Ohm: float
    known_step_Ohm: float
    known_step_u_Ohm: float
    flowing_s: tuple[float, float]


def estimator_config(
    cell: str, p: CellParameters, *, gain_u: float, offset_u_of_range: float
) -> online.EstimatorConfig:
    """Return what the estimator is told of a cell of one of `hil.programmes.FORMATS`."""
    return online.EstimatorConfig(
        cell_format=CellFormat(load_cell(cell).format),
        nominal_capacity_Ah=p.nominal_capacity_mAh * 1e-3,
        area_cm2=p.area_cm2,
        lower_cut_off_V=FORMATS[cell].lower_V,
        upper_cut_off_V=FORMATS[cell].upper_V,
        gain_u=gain_u,
        offset_u_A_of_range=offset_u_of_range,
    )


def estimated(
    config: online.EstimatorConfig, cycles: Iterable[LivedCycle]
) -> Iterator[tuple[CycleFigures, Inventory]]:
    """Return the program's figures and inventory of each cycle, reading by reading."""
    state = online.new_state(config)
    observe = online.observe
    for number, lived in enumerate(cycles, 1):
        for index, (sample, (kind, tag)) in enumerate(
            zip(lived.samples, lived.commands, strict=True)
        ):
            observe(state, config, sample, kind, tag)
            if index == lived.end_at:
                online.end_of_discharge(state, config)
        online.take_resistances(state)
        figures = online.close_cycle(
            state, config, cycle=number, kind=lived.plan.kind, anchored=lived.plan.anchored
        )
        if state.lithium is not None:  # it is, after a cycle
            yield figures, state.lithium


def score_life(
    life: LoggedLife, config: online.EstimatorConfig, plans: Iterable[CyclePlan]
) -> list[Scored]:
    """Live a programme and return its figures beside the truth."""
    kept: list[LivedCycle] = []

    def lived() -> Iterator[LivedCycle]:
        for plan in plans:
            one = life.cycle(plan)
            kept.append(one)
            yield one

    return [
        Scored(
            figures=figures,
            inventory=lithium,
            truth=kept[-1].truth,
            plan=kept[-1].plan,
            hours=kept[-1].hours,
            step_Ohm=kept[-1].step_Ohm,
            known_step_Ohm=kept[-1].known_step_Ohm,
            known_step_u_Ohm=kept[-1].known_step_u_Ohm,
            flowing_s=flowing_s(kept[-1]),
        )
        for figures, lithium in estimated(config, lived())
    ]


def flowing_s(cycle: LivedCycle) -> tuple[float, float]:
    """Return how long charge and discharge were ordered (s)."""
    seconds = {CHARGE: 0.0, DISCHARGE: 0.0}
    for (before, now), (kind, _) in zip(pairwise(cycle.samples), cycle.commands[1:], strict=True):
        if kind in seconds:
            seconds[kind] += now.t_device_s - before.t_device_s
    return seconds[CHARGE], seconds[DISCHARGE]


# -- scores -------------------------------------------------------------------------------------


def interval_score(low: float, high: float, truth: float, level: float = 0.95) -> float:
    """Return width plus 2/alpha times what the truth lies outside by (Gneiting & Raftery 2007).

    DOI 10.1198/016214506000001437, equation 43.
    """
    outside = max(low - truth, 0.0) + max(truth - high, 0.0)
    return high - low + 2.0 / (1.0 - level) * outside
