"""`reactivate replay` as a user runs it: in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

HEADER = "time_s,current_A,voltage_V"


def run(
    tmp_path: Path, *arguments: str, encoding: str = "utf-8"
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "controller.app", "replay", *arguments],
        capture_output=True,
        text=True,
        encoding=encoding,
        timeout=120.0,
        check=False,
        env={
            **os.environ,
            "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
            "PYTHONIOENCODING": encoding,
            "COLUMNS": "80",
            "TMPDIR": str(tmp_path),
            "TEMP": str(tmp_path),
        },
        cwd=tmp_path,
    )


def half_cycles() -> list[str]:
    """A charge and a discharge of 100 s at 1 mA."""
    return [
        f"{k},{0.001 if k < 100 else -0.001},{3.5 + 0.001 * min(k, 200 - k):.3f}"
        for k in range(200)
    ]


def test_refusals_are_one_message_each_and_code_2(tmp_path):
    """Missing, empty, truncated, wrong cell: all told in one call, none as a traceback."""
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "word.csv").write_text(f"{HEADER}\n0,0,3.5\n1,zero,3.5\n")
    whole = tmp_path / "whole.parquet"
    pa_parquet.write_table(pa.table({name: [0.0, 1.0, 2.0] for name in HEADER.split(",")}), whole)
    (tmp_path / "cut.parquet").write_bytes(whole.read_bytes()[:-40])
    done = run(
        tmp_path, "none.csv", "empty.csv", "word.csv", "cut.parquet", "--format", "full-cell"
    )
    assert done.returncode == 2
    assert done.stdout == ""
    messages = done.stderr.splitlines()
    assert len(messages) == 4
    for message, words in zip(
        messages,
        (
            ("none.csv", "cannot be read"),
            ("empty.csv", "the file is empty"),
            ("word.csv", "row 3, column 'current_A'", "'zero' is not a number"),
            ("cut.parquet", "damaged or truncated Parquet file"),
        ),
        strict=True,
    ):
        for word in words:
            assert word in message


def test_unknown_format_names_the_nearest_choice(tmp_path):
    done = run(tmp_path, "any.csv", "--format", "anode_free")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "command line: --format: unknown cell format 'anode_free' (did you mean 'anode-free'?)"
    ]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (["60,nan,3.5", "61,,3.5"], "rows without a usable number for time, current or voltage: 2"),
        (["3,-0.001,3.5"], "time-reset: time goes backwards 1 time (first: row 102)"),
    ],
)
def test_damaged_rows_are_findings(tmp_path, damage, words):
    rows = half_cycles()
    rows[100:100] = damage
    (tmp_path / "damaged.csv").write_text("\n".join([HEADER, *rows]))
    done = run(tmp_path, "damaged.csv", "--format", "full-cell", "--json")
    assert done.returncode == 0
    assert done.stderr == ""
    told = json.loads(done.stdout)
    assert any(words in finding for finding in told["findings"])
    (cycle,) = told["cycles"]
    assert cycle["charge_Ah"] == pytest.approx(0.1 / 3600.0, rel=0.02)


def test_without_a_file_an_example_is_written_and_analysed(tmp_path):
    done = run(tmp_path)
    assert done.returncode == 0
    (written,) = tmp_path.glob("reactivate-*/*.csv")
    assert str(written) in done.stderr
    assert "synthetic" in done.stderr
    assert "Mean Coulombic efficiency over 5 cycles: (99.40" in done.stdout


def test_a_pipe_that_cannot_write_every_sign_still_gets_the_table(tmp_path):
    done = run(tmp_path, encoding="ascii")
    assert done.returncode == 0
    assert "Traceback" not in done.stderr
    assert "99.400 ? 0.041" in done.stdout


def test_help_names_all_that_is_read(tmp_path):
    told = run(tmp_path, "--help").stdout
    for word in ("Battery Data Format", "CSV", "Parquet", "Neware", ".ndax", "Arbin", ".xlsx"):
        assert word in told
    for word in ("BioLogic", ".mpr", "spectra", "capacities", "[neware]", "[biologic]", "[arbin]"):
        assert word in told
