"""Tables of capacity per cycle: what is read, what is said of them, what is not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from controller.app.replay import replay
from controller.domain.errors import ConfigurationError
from controller.estimation.capacities import NOTHING_MORE, fades, quartiles
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
