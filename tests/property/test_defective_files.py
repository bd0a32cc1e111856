"""Whatever is wrong with a file, `replay` says so or leaves it out; it never stops."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from controller.domain.cell import CellFormat
from controller.estimation.files.cycles import analyse
from controller.estimation.table import Table
from tests.unit.test_estimation_cycles import CYCLE, LI_CU, RESTED, table

SOUND = (
    table(CYCLE * 4, cycles=sorted([1, 2, 3, 4] * 3)),
    table(RESTED * 3),
    table(LI_CU * 3),
    table(CYCLE * 3, dt_s=60.0),
)
FORMATS = (CellFormat.FULL_CELL, CellFormat.ANODE_FREE, CellFormat.LI_CU, CellFormat.LI_LI, None)


def spoiled(columns: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Do one wrong thing to some rows of one column, or write rows twice."""
    count = columns["t_s"].size
    first, rows = int(rng.integers(count)), int(rng.integers(1, 60))
    name = str(rng.choice(sorted(columns)))
    values = columns[name].copy()
    some = slice(first, first + rows)
    match int(rng.integers(8)):
        case 0:
            values[some] = np.nan
        case 1:
            values[some] = np.inf
        case 2:
            values[some] = values[first]
        case 3:
            values[some] *= -1.0
        case 4:
            values[first:] -= rng.uniform(0.0, 800.0)
        case 5:
            values[some] += rng.choice([-500.0, 500.0, 1e15])
        case 6:
            known = values[np.isfinite(values)]
            values = np.minimum(values, np.median(known) if known.size else 0.0)
        case _:
            twice = np.r_[np.arange(min(first + rows, count)), np.arange(first, count)]
            return {key: one[twice] for key, one in columns.items()}
    return {**columns, name: values}


@pytest.mark.parametrize("seed", range(80))
def test_no_defect_stops_the_analysis(seed):
    rng = np.random.default_rng(seed)
    sound: Table = SOUND[int(rng.integers(len(SOUND)))]
    columns = {name: getattr(sound, name) for name in ("t_s", "current_A", "voltage_V")}
    if sound.cycle is not None:
        columns["cycle"] = sound.cycle
    columns["unix_s"] = 1.7e9 + sound.t_s * float(rng.choice([1.0, 60.0, 1e-3]))
    for _ in range(int(rng.integers(1, 6))):
        columns = spoiled(columns, rng)
    cell_format = FORMATS[int(rng.integers(len(FORMATS)))]
    analysis = analyse(replace(sound, step=None, **columns), cell_format=cell_format)
    assert all(before.cycle < after.cycle for before, after in pairwise(analysis.cycles))
    for cycle in analysis.averaged:
        assert np.isfinite(cycle.coulombic_efficiency)
        assert cycle.u_coulombic_efficiency > 0.0
