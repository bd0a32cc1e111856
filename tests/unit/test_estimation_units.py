"""Time in another unit: told by what the file holds, for fast and slow cells, big and small."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller.domain.cell import CellFormat
from controller.estimation.table import Table
from controller.io.readers import read_table
from tests.unit.test_estimation_cycles import CYCLE, H, full, table


def cell(*, half_s: float, at_1C_V: float, capacity_Ah: float, dt_s: float) -> Table:
    """Three cycles between 3.0 and 4.1 V at the rate that takes `half_s`, with rests between."""
    current_A = capacity_Ah * H / half_s
    leap_V = at_1C_V * H / half_s
    cycle = [
        (current_A, half_s, 3.2 + leap_V, 4.0 + leap_V),
        (0.0, 0.1 * half_s, 4.0, 4.0),
        (-current_A, 0.99 * half_s, 4.0 - leap_V, 3.2 - leap_V),
        (0.0, 0.1 * half_s, 3.2, 3.2),
    ]
    series = table(cycle * 3, dt_s=dt_s, cycles=sorted([1, 2, 3] * 4))
    return replace(series, voltage_V=np.round(series.voltage_V, 4))


def units_words(series: Table, cell_format: CellFormat = CellFormat.FULL_CELL) -> list[str]:
    return [w for w in full(series, cell_format).findings if w.startswith("units-implausible")]


SOUND = [
    # half cycle, voltage at 1 C, capacity, interval: coin, power and dying cells, slow and fast
    (36000.0, 0.1, 2e-3, 10.0),
    (36000.0, 0.1, 2e-3, 60.0),
    (600.0, 0.015, 3.0, 1.0),
    (150.0, 0.005, 3.0, 0.5),
    (1200.0, 0.06, 5.0, 1.0),
    (360000.0, 0.8, 2e-3, 600.0),
    (180000.0, 3.0, 1e-3, 60.0),
]


@pytest.mark.parametrize(("half_s", "at_1C_V", "capacity_Ah", "dt_s"), SOUND)
def test_sound_files_of_any_rate_size_and_interval_are_taken_as_they_are(
    half_s, at_1C_V, capacity_Ah, dt_s
):
    series = cell(half_s=half_s, at_1C_V=at_1C_V, capacity_Ah=capacity_Ah, dt_s=dt_s)
    assert units_words(series) == []
    assert len(full(series).averaged) == 3


@pytest.mark.parametrize(
    ("half_s", "factor", "words"),
    [
        (400.0, 1000.0, "too large, ms taken for s"),
        (900.0, 1000.0, "too large, ms taken for s"),
        (10000.0, 1.0 / 60.0, "too small, minutes"),
        (36000.0, 1.0 / 60.0, "too small, minutes"),
        (360000.0, 1.0 / 60.0, "too small, minutes"),
        (1e6, 1.0 / 3600.0, "too small, "),
    ],
)
@pytest.mark.parametrize("at_1C_V", [0.03, 0.12])
def test_a_factor_is_told_inside_the_range_of_possible_half_cycles(half_s, factor, words, at_1C_V):
    series = cell(half_s=half_s, at_1C_V=at_1C_V, capacity_Ah=2e-3, dt_s=half_s / 500.0)
    (found,) = units_words(replace(series, t_s=factor * series.t_s))
    assert words in found
    assert full(replace(series, t_s=factor * series.t_s)).averaged == ()


def test_times_that_are_whole_seconds_only_in_minutes_tell_a_resistive_cell_too():
    series = cell(half_s=36000.0, at_1C_V=0.6, capacity_Ah=2e-3, dt_s=10.0)
    (words,) = units_words(replace(series, t_s=np.round(series.t_s / 60.0, 5)))
    assert "too small, minutes taken for s" in words


def test_how_much_is_plated_between_two_foils_tells_nothing():
    plated = [(-1e-3, 600.0, -0.01, -0.01), (1e-3, 590.0, 0.01, 0.02), (1e-3, 10.0, 0.02, 1.0)]
    assert units_words(table(plated * 5), CellFormat.LI_CU) == []
    assert units_words(table(plated * 5), CellFormat.FULL_CELL) == []


@pytest.mark.parametrize(("factor", "said"), [(1e3, "1000 times"), (1 / 60, "a 60th of"), (1, "")])
def test_counters_tell_a_factor(factor, said):
    series = table(CYCLE * 2)
    flows_A = np.abs(series.current_A)
    added_As = 0.5 * (flows_A[1:] + flows_A[:-1]) * np.diff(series.t_s)
    charging = np.append(0.0, np.where(series.current_A[1:] > 0.0, added_As, 0.0))
    giving = np.append(0.0, np.where(series.current_A[1:] < 0.0, added_As, 0.0))
    counted = replace(
        series,
        t_s=factor * series.t_s,
        charging_Ah=np.cumsum(charging) / H,
        discharging_Ah=np.cumsum(giving) / H,
    )
    words = [w for w in full(counted).findings if "what the cycler counted" in w]
    assert [said in w for w in words] == [True] * (factor != 1)


@pytest.mark.parametrize(
    ("rate", "unit"), [(1e-3, "ms"), (60.0, "minutes"), (3600.0, "hours"), (1.0, ""), (1.05, "")]
)
def test_the_date_beside_the_time_tells_its_unit(tmp_path, rate, unit):
    """A test that was paused has a date that goes on a little further."""
    rows = [
        f"{k},{3.5 + 0.01 * min(k, 80 - k)},{0.1 if k < 40 else -0.1},{1.7e9 + rate * k:.4f}"
        for k in range(80)
    ]
    path = tmp_path / "a.bdf.csv"
    path.write_text("Test Time / s,Voltage / V,Current / A,Unix Time / s\n" + "\n".join(rows))
    words = units_words(read_table(path))
    assert [f"{unit} taken for s" in w for w in words] == [True] * bool(unit)
