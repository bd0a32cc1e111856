"""A simulated cell is never behind its journal: whenever the run is killed, it can be resumed."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from controller.app import run as program
from controller.app.hardware import SIMULATED_BENCH
from controller.io.journal import Journal


def test_no_reading_is_committed_before_the_cell_it_is_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a real cell, which goes on by itself; else the last reading would lie in the future."""
    run_dir = tmp_path / "run"
    ahead_s: list[float] = []
    commit = Journal.commit

    def committed(self: Journal) -> None:
        commit(self)
        with sqlite3.connect(f"file:{run_dir / 'run.sqlite'}?mode=ro", uri=True) as reader:
            found = reader.execute("SELECT max(utc_s) FROM samples").fetchone()
        reader.close()
        if found[0] is not None:
            kept = json.loads((run_dir / SIMULATED_BENCH).read_text("utf-8"))
            ahead_s.append(found[0] - kept["utc_s"])

    monkeypatch.setattr(Journal, "commit", committed)
    options = program.RunOptions(run_file=None, cycles=1, seed=3, out=run_dir, as_json=True)
    assert program.start(options) == 0
    assert len(ahead_s) > 20
    assert max(ahead_s) <= 0.0
