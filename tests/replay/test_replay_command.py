"""What `replay` prints, returns and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from controller.app.replay import replay, write_example


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
    assert "anode-limited" in out
    assert "Mean Coulombic efficiency over 5 cycles: 99.40 %" in out


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
    assert "│   100 │" in out
    assert "│    50 │" not in out


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


def test_no_file_is_refused(capsys):
    assert replay([], "anode-free", ignore_counters=False, as_json=False) == 2
    assert "no file given" in capsys.readouterr().err


def test_a_bad_file_does_not_keep_the_others_from_being_read(example, tmp_path, capsys):
    missing = tmp_path / "none.csv"
    assert replay([missing, example], "anode-free", ignore_counters=False, as_json=True) == 2
    assert len(capsys.readouterr().out.splitlines()) == 1
