"""Estimators on simulated lives: what the program would say of each cycle, beside what is hidden.

Composes `controller.estimation` with `hil.lives` the way `controller.core.step` does: every reading
through `online.observe`, the discharge classified where its step ends, the cycle closed at its end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from controller.domain.cell import CellFormat
from controller.domain.figures import CycleFigures
from controller.estimation import online
from hil.cell.library import load_cell
from hil.cell.parameters import CellParameters
from hil.lives import Life, LivedCycle, Truth
from hil.programmes import FORMATS, CyclePlan


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """One cycle: figures, resistances' last one within them, and the truth."""

    figures: CycleFigures
    truth: Truth
    plan: CyclePlan
    hours: float


def estimator_config(
    cell: str, p: CellParameters, *, gain_u: float, offset_u_of_range: float
) -> online.EstimatorConfig:
    """Return what the estimator is told of a cell of one of `hil.lives.FORMATS`."""
    return online.EstimatorConfig(
        cell_format=CellFormat(load_cell(cell).format),
        nominal_capacity_Ah=p.nominal_capacity_mAh * 1e-3,
        area_cm2=p.area_cm2,
        lower_cut_off_V=FORMATS[cell].lower_V,
        gain_u=gain_u,
        offset_u_A_of_range=offset_u_of_range,
    )


def estimated(
    config: online.EstimatorConfig, cycles: Iterable[LivedCycle]
) -> Iterator[CycleFigures]:
    """Return the program's figures of each cycle, reading by reading."""
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
        yield online.close_cycle(
            state, config, cycle=number, kind=lived.plan.kind, anchored=lived.plan.anchored
        )


def score_life(
    life: Life, config: online.EstimatorConfig, plans: Iterable[CyclePlan]
) -> list[Scored]:
    """Live a programme and return its figures beside the truth."""
    kept: list[LivedCycle] = []

    def lived() -> Iterator[LivedCycle]:
        for plan in plans:
            one = life.cycle(plan)
            kept.append(one)
            yield one

    return [
        Scored(figures=figures, truth=one.truth, plan=one.plan, hours=one.hours)
        for figures, one in zip(estimated(config, lived()), kept, strict=False)
    ]
