"""Lives of drawn cells that fail in a known way, for the diagnosis (`controller.estimation`).

What is done to a cell is the truth of its mode. Everything not said here is drawn over the ranges
of the cell's files; strengths are assumed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from controller.domain.cell import CellFormat
from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.diagnosis import Mode
from controller.estimation.short_watch import ShortFigures, close_cycle
from hil.cell.parameters import CellParameters
from hil.shorted import (
    COULOMB_PER_MAH,
    FORMATS,
    FULL_CELL_V,
    STEADY_ON_S,
    WatchedCell,
    base_plan,
    drawn_cell,
)

CELLS: Final = ("anode-free", "excess-lithium")
CYCLES: Final = 20
# A decaying cell loses so much a cycle, and is looked at so many cycles after it shows.
DECAY_PER_CYCLE: Final = (0.004, 0.1)
DECAY_CYCLES: Final = (4, 20)
SHOWS: Final = 0.995  # of the first capacity
WORN_OUT: Final = 0.15
DEATH_CYCLES: Final = 45
FALLEN: Final = 0.97  # of the first capacity: the foil is gone
AFTER_DEATH: Final = 4  # cycles


def _parameters(mode: Mode, name: str, seed: int, random: np.random.Generator) -> CellParameters:
    """Return a drawn cell that fails in this mode, or not."""
    p = drawn_cell(name, seed)
    if mode is Mode.GRADUAL_DECAY:
        # from a good electrolyte to a carbonate
        lost = float(np.exp(random.uniform(*np.log(DECAY_PER_CYCLE))))
        return replace(p, inactive_per_stripped=lost)
    if mode is Mode.SUDDEN_DEATH:
        # a thin foil and poor efficiency: nothing shows until it is gone
        lost = float(random.uniform(0.02, 0.05))
        plated_mAh = p.nominal_capacity_mAh * float(random.uniform(18.0, 36.0))
        return replace(p, inactive_per_stripped=lost, negative_foil_mAh=lost * plated_mAh)
    # the others lose little, so that it is their own failure that shows
    p = replace(p, inactive_per_stripped=0.0006, sei_per_plated=0.0006)
    if mode is Mode.SALT_DEPLETION:
        return replace(
            p,
            sei_per_plated=float(random.uniform(0.004, 0.008)),
            electrolyte_mAh=float(random.uniform(0.25, 0.5)),
            salt_per_sei=1.0,
        )
    return p


def failing_life(mode: Mode, seed: int) -> tuple[CellFormat, float, list[ShortFigures]]:
    """Cycle a cell that fails in a mode; return its format, nominal capacity (Ah) and cycles."""
    random = np.random.default_rng([seed, 23])
    name = CELLS[seed % len(CELLS)]
    if mode is Mode.SUDDEN_DEATH:
        name = "excess-lithium"
    if mode is Mode.GRADUAL_DECAY:
        name = "anode-free"
    p = _parameters(mode, name, seed, random)
    cell = WatchedCell(p, seed=seed)
    plan = base_plan(p, FORMATS[name], random)
    begins = int(random.integers(10, CYCLES - 4))
    out: list[ShortFigures] = []
    fallen = 0
    slow = mode in {Mode.SUDDEN_DEATH, Mode.GRADUAL_DECAY}
    below, enough = FALLEN, AFTER_DEATH
    if mode is Mode.GRADUAL_DECAY:
        below, enough = SHOWS, int(random.integers(*DECAY_CYCLES))
    for number in range(DEATH_CYCLES if slow else CYCLES):
        if number == begins:
            if mode is Mode.SOFT_SHORT:
                leak_mAh = float(random.uniform(0.02, 0.1)) * p.nominal_capacity_mAh
                time_s = out[-1].hours * SECONDS_PER_HOUR
                plan.short_Ohm = FULL_CELL_V * time_s / (leak_mAh * COULOMB_PER_MAH)
                plan.on_s, plan.off_s = (float(random.uniform(10.0, 200.0)) for _ in range(2))
                plan.short_Ohm *= plan.on_s / (plan.on_s + plan.off_s)
                plan.short_from_s = 0.0
            elif mode is Mode.HARD_SHORT:
                plan.short_Ohm = float(random.uniform(5.0, 60.0)) * p.short_hard_Ohm_cm2 / 20.0
                plan.on_s, plan.off_s = STEADY_ON_S, 1.0
                plan.short_from_s = 0.0
            elif mode is Mode.CONTACT:
                cell.change(contact_Ohm_cm2=p.contact_Ohm_cm2 + float(random.uniform(8.0, 60.0)))
        ended = cell.run(plan)
        watch = cell.watch()
        out.append(
            close_cycle(
                watch,
                charge_Ah=1e-3 * cell.charge_mAh,
                discharge_Ah=1e-3 * cell.discharge_mAh,
                temperature_K=cell.temperature_K,
            )
        )
        cell.put(watch)
        fallen += out[-1].discharge_Ah < below * out[min(1, number)].discharge_Ah
        if slow and fallen > enough:
            break
        if not ended or cell.discharge_mAh < WORN_OUT * p.nominal_capacity_mAh:
            break
    return FORMATS[name], 1e-3 * p.nominal_capacity_mAh, out
