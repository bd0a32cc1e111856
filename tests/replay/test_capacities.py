"""Tables of capacity per cycle: what is read, what is said of them, what is not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from controller.app.capacity_table import capacities_json
from controller.app.replay import replay
from controller.domain.errors import ConfigurationError
from controller.estimation.files.capacities import NOTHING_MORE, fades, quartiles
from controller.io.readers.capacities import read_capacities

TABLE = (
    "cell,cycle,discharge_capacity_mAh\n"
    "a,1,2.0\na,2,1.6\na,3,1.44\na,4,1.296\n"
    "b,2,1.0\nb,1,1.5\nb,4,0.8\nb,3,0\n"
)


def test_ratios_are_of_consecutive_cycles_from_the_second_on(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(TABLE, encoding="utf-8")
    table = read_capacities(path)
    assert table is not None
    a, b = fades(table)
    assert (a.cell, a.cycles, a.first, a.last) == ("a", 4, 2.0, 1.296)
    assert a.ratios == pytest.approx((0.9, 0.9))
    assert (b.cycles, b.ratios) == (3, ())  # cycle 3 has no data: nothing to compare with
    assert quartiles(list(b.ratios)) is None


def test_replay_tells_and_says_what_it_cannot(tmp_path, capsys):
    path = tmp_path / "a.csv"
    path.write_text(TABLE, encoding="utf-8")
    assert replay([path], "anode-free", ignore_counters=False, as_json=False) == 0
    assert "no Coulombic efficiency" in " ".join(capsys.readouterr().out.split())
    assert replay([path], None, ignore_counters=False, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ratio_quartiles"] == pytest.approx([0.9, 0.9, 0.9])
    assert told["findings"] == [NOTHING_MORE]


def told_of(tmp_path, text, encoding="utf-8"):
    path = tmp_path / "a.csv"
    path.write_text(text, encoding=encoding)
    return capacities_json(read_capacities(path))


def test_a_coin_cell_in_ampere_hours_fades_like_one_in_milliampere_hours(tmp_path):
    rows = "".join(f"{n},{0.003 - 0.0001 * n}\n" for n in range(1, 6))
    told = told_of(tmp_path, "cycle,discharge_capacity_Ah\n" + rows)
    assert told["cells"][0]["ratios"] == pytest.approx([27 / 28, 26 / 27, 25 / 26])


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ("1,2.0\n2,inf\n3,1.5\n", "missing, negative or absurd: 1 (first: cell a, cycle 2, inf)"),
        ("1,2.0\n2,-1.9\n3,1.5\n", "missing, negative or absurd: 1"),
        ("1,2.0\n2,\n3,1.5\n", "missing, negative or absurd: 1"),
        ("1,2.0\n,1.9\n3,1.5\n", "rows without a cycle number: 1"),
        ("6.283,2.0\n12.566,1.9\n", "not whole: 2 (first: cell a, cycle 6.283)"),
        ("1,2.0\n2,1.9\n2,1.8\n3,1.7\n", "repeat a cycle of their cell: 1"),
    ],
)
def test_rows_that_are_left_out_are_named(tmp_path, rows, word):
    told = told_of(tmp_path, "cycle,discharge_capacity_mAh\n" + rows)
    json.dumps(told, allow_nan=False)
    (words,) = told["findings"][:-1]
    assert word in words


def test_a_repeated_cycle_counts_once(tmp_path):
    rows = "1,2.0\n2,1.9\n3,1.71\n" * 2
    (cell,) = told_of(tmp_path, "cycle,discharge_capacity_mAh\n" + rows)["cells"]
    assert cell["cycles"] == 3
    assert cell["ratios"] == pytest.approx([0.9])


def test_names_of_cells_are_text_in_any_encoding(tmp_path):
    text = "cell,cycle,discharge_capacity_mAh\nZelle ä,1,2.0\n007,1,2.0\n"
    cells = told_of(tmp_path, text, "latin-1")["cells"]
    assert [one["cell"] for one in cells] == ["Zelle ä", "007"]


def test_other_files_are_left_to_other_readers(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("time_s,current_A,voltage_V,cycle,discharge_capacity_Ah\n", encoding="utf-8")
    assert read_capacities(path) is None
    assert read_capacities(tmp_path / "none.csv") is None


def test_a_capacity_that_is_no_number_is_refused(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("cycle,discharge_capacity_Ah\n1,much\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="does not hold numbers"):
        read_capacities(path)


def test_published_cells_fade_as_published(measured):
    """Cu||LFP, Ma et al. 2025: quartiles 0.81 / 0.887 / 0.916."""
    table = read_capacities(measured("anode_free_cu_lfp_cycles/anode_free_cycles_long.parquet"))
    assert table is not None
    cells = fades(table)
    assert len(cells) >= 58
    of = quartiles([ratio for one in cells for ratio in one.ratios])
    assert of is not None
    assert np.abs(np.array(of) - [0.81, 0.887, 0.916]).max() < 0.03
