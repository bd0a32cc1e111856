"""What `replay` prints, returns and refuses."""

from __future__ import annotations

import io
import json
import re
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from controller.app.replay import replay, write_example
from controller.app.replay_table import show
from controller.domain.cell import CellFormat
from controller.estimation.files.cycles import analyse
from controller.io.readers import read_table


@pytest.fixture
def example(tmp_path) -> Path:
    path = tmp_path / "example.csv"
    write_example(path)
    return path


def test_example_is_labelled_synthetic_and_reads_as_made(example, capsys):
    rows = example.read_text().splitlines()
    assert all(row.endswith(",synthetic") for row in rows[1:])
    assert replay([example], "anode-free", ignore_counters=False, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert [c["cycle"] for c in told["cycles"]] == [1, 2, 3, 4, 5]
    for cycle in told["cycles"]:
        error = abs(cycle["coulombic_efficiency"] - 0.994)
        assert error < 2.0 * cycle["u_coulombic_efficiency"]
        assert cycle["u_coulombic_efficiency"] < 2e-3
        assert cycle["net_charge_Ah"] == pytest.approx(-0.006 * cycle["charge_Ah"], rel=0.01)
        assert cycle["discharge_end"] == "anode-limited"
        assert cycle["resistance_Ohm"] == pytest.approx(40.0, rel=0.02)
        assert cycle["flags"] == []


def test_json_holds_the_promised_keys(example, capsys):
    assert replay([example, example], None, ignore_counters=True, as_json=True) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    told = json.loads(lines[0])
    assert {"schema", "file", "cycles", "resistances", "findings"} <= told.keys()
    assert told["file"] == str(example)
    assert {
        "cycle",
        "charge_Ah",
        "discharge_Ah",
        "net_charge_Ah",
        "coulombic_efficiency",
        "u_coulombic_efficiency",
        "source",
        "flags",
    } <= told["cycles"][0].keys()
    assert {"t_s", "cycle", "kind", "value_Ohm", "u_Ohm"} == told["resistances"][0].keys()
    assert told["cycles"][0]["coulombic_efficiency"] is None
    assert told["cycles"][0]["coulombic_efficiency_reason"] == "no cell format given"


def test_table_says_efficiency_with_uncertainty(example, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    assert replay([example], "anode-free", ignore_counters=False, as_json=False) == 0
    out = capsys.readouterr().out
    assert "99.40" in out
    assert "±" in out
    assert "anode (" in out
    assert re.search(r"Mean Coulombic efficiency over 5 cycles: \(99\.40\d* ± 0\.0\d+\) %", out)


def test_resistances_and_the_mean_have_their_uncertainty_in_text_as_in_json(
    example, capsys, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "160")
    assert replay([example], "anode-free", ignore_counters=False, as_json=False) == 0
    out = capsys.readouterr().out
    assert replay([example], "anode-free", ignore_counters=False, as_json=True) == 0
    told = json.loads(capsys.readouterr().out)
    for cycle in told["cycles"]:
        (row,) = [line for line in out.splitlines() if line.split()[:1] == [str(cycle["cycle"])]]
        value, u = re.findall(r"([\d.]+) ± ([\d.]+)", row)[2]
        assert float(value) == pytest.approx(cycle["resistance_Ohm"], abs=float(u))
        assert float(u) == pytest.approx(cycle["u_resistance_Ohm"], rel=0.05)
    mean = told["mean_coulombic_efficiency"]
    assert mean["cycles"] == 5
    us = [cycle["u_coulombic_efficiency"] for cycle in told["cycles"]]
    assert mean["u"] == pytest.approx(sum(us) / 5)
    value, u = re.findall(r"5 cycles: \(([\d.]+) ± ([\d.]+)\) %", out)[0]
    assert float(value) == pytest.approx(100 * mean["value"], abs=float(u))
    assert float(u) == pytest.approx(100 * mean["u"], rel=0.05)


def test_without_a_cycle_to_average_the_mean_is_null(example, capsys):
    assert replay([example], "li-li", ignore_counters=False, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["mean_coulombic_efficiency"] is None


def test_long_files_show_their_ends_only(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    rows = ["time_s,current_A,voltage_V,cycle"]
    for k in range(100):
        rows += [
            f"{20 * k + j},{0.001 if j < 10 else -0.001},{3.5 + 0.01 * j},{k + 1}"
            for j in range(20)
        ]
    path = tmp_path / "long.csv"
    path.write_text("\n".join(rows))
    assert replay([path], "full-cell", ignore_counters=False, as_json=False) == 0
    out = capsys.readouterr().out
    assert "76 more, --json for all" in out
    rows = {line.split()[0] for line in out.splitlines() if line.strip()}
    assert {"16", "93", "100", "…"} <= rows
    assert not {"17", "50", "92"} & rows


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("none.csv", None, "cannot be read"),
        ("empty.csv", "", "the file is empty"),
        ("wrong.csv", "time_s,current_A,volts_V\n0,0,0\n", "did you mean 'volts_V'?"),
    ],
)
def test_bad_input_is_one_message_and_code_2(tmp_path, capsys, name, text, words):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    assert replay([path], "anode-free", ignore_counters=False, as_json=False) == 2
    captured = capsys.readouterr()
    assert words in captured.err
    assert str(path) in captured.err
    assert len(captured.err.splitlines()) == 1
    assert captured.out == ""


def test_unknown_format_names_the_nearest(example, capsys):
    assert replay([example], "anode_free", ignore_counters=False, as_json=False) == 2
    assert "did you mean 'anode-free'?" in capsys.readouterr().err


def test_no_file_analyses_a_synthetic_example_and_says_so(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert replay([], None, ignore_counters=False, as_json=True) == 0
    captured = capsys.readouterr()
    assert "synthetic example" in captured.err
    assert "nothing measured" in captured.err
    told = json.loads(captured.out)
    assert told["format"] == "anode-free"
    assert len(told["cycles"]) == 5
    written = Path(told["file"])
    assert written.is_relative_to(tmp_path)
    assert str(written) in captured.err
    # A second one never overwrites the first.
    assert replay([], None, ignore_counters=False, as_json=True) == 0
    assert json.loads(capsys.readouterr().out)["file"] != told["file"]


def test_unknown_format_writes_no_example(capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert replay([], "anode_free", ignore_counters=False, as_json=False) == 2
    assert list(tmp_path.iterdir()) == []
    assert "did you mean 'anode-free'?" in capsys.readouterr().err


def flagged_file(tmp_path: Path) -> Path:
    """Start with a discharge that has no charge before it: flags for cycle 1 only."""
    rows = ["time_s,current_A,voltage_V,cycle"]
    t_s = 0
    for cycle in range(1, 6):
        for current_A in (0.001, -0.001) if cycle > 1 else (-0.001,):
            rows += [f"{t_s + j},{current_A},{3.5 + 0.01 * j},{cycle}" for j in range(40)]
            t_s += 40
    path = tmp_path / "flagged.csv"
    path.write_text("\n".join(rows))
    return path


@pytest.mark.parametrize("columns", [60, 80, 100, 140])
def test_no_line_is_wider_than_the_terminal_and_nothing_is_cut(
    tmp_path, capsys, monkeypatch, columns
):
    monkeypatch.setenv("COLUMNS", str(columns))
    assert replay([flagged_file(tmp_path)], "full-cell", ignore_counters=False, as_json=False) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title.endswith("flagged.csv")  # a path is never broken
    assert all(len(line.rstrip()) <= columns for line in lines)
    text = " ".join(" ".join(lines).split())
    assert "incomplete" in text
    assert "starts-charged" in text
    assert "…" not in text


def test_flags_stand_below_the_table_only_where_they_do_not_fit(tmp_path, capsys, monkeypatch):
    path = flagged_file(tmp_path)
    shown = {}
    for columns in (70, 140):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert replay([path], "full-cell", ignore_counters=False, as_json=False) == 0
        shown[columns] = capsys.readouterr().out
    assert re.search(r"^cycle 1: .*starts-charged", shown[70], re.MULTILINE)
    assert not re.search(r"^cycle 1: ", shown[140], re.MULTILINE)
    assert re.search(r"^ +1  .*starts-charged", shown[140], re.MULTILINE)


def test_many_cycles_with_one_flag_take_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    rows = ["time_s,current_A,voltage_V,cycle"]
    rows += [f"{k},0.001,3.5,{1 + k // 10}" for k in range(300) if k // 10 != 6]
    path = tmp_path / "charges_only.csv"
    path.write_text("\n".join(rows))
    assert replay([path], "anode-free", ignore_counters=False, as_json=False) == 0
    out = capsys.readouterr().out
    assert "5 more, --json for all" in out
    assert out.count("incomplete") == 24  # in the table: it fits
    monkeypatch.setenv("COLUMNS", "50")
    assert replay([path], "anode-free", ignore_counters=False, as_json=False) == 0
    assert "cycles 1-6, 8-30: incomplete" in capsys.readouterr().out


def test_a_bad_file_does_not_keep_the_others_from_being_read(example, tmp_path, capsys):
    missing = tmp_path / "none.csv"
    assert replay([missing, example], "anode-free", ignore_counters=False, as_json=True) == 2
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_no_polarisation_to_show_is_no_empty_line(example):
    analysis = analyse(read_table(example), cell_format=CellFormat.LI_LI)
    text = io.StringIO()
    unseen = replace(analysis.course, cycles=())
    show(Console(file=text, width=100), replace(analysis, course=unseen))
    assert "Diagnosis" in text.getvalue()
    assert "voltage over current by cycle" not in text.getvalue()
