"""A run that is killed while it measures a spectrum: the next one says so and goes on."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from controller.app.config import example_text
from controller.app.hardware import SIMULATED_BENCH
from controller.domain.events import EventKind
from controller.domain.figures import CycleKind
from controller.io.journal import JournalReader

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}


def run_file(folder: Path) -> Path:
    text = example_text("excess-lithium")
    for old, new in {
        "formation_cycles = 2": "formation_cycles = 1",
        "lowest_Hz = 0.01 ": "lowest_Hz = 0.001 ",  # long enough to be killed in
        "reference_every = 12": "reference_every = 1",
    }.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / "RUN.toml"
    path.write_text(re.sub(r"protocols = \[.*?\]", "protocols = []", text), encoding="utf-8")
    return path


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "controller.app", "run", *map(str, arguments)]


def messages(run_dir: Path, kind: EventKind) -> list[str]:
    with JournalReader(run_dir) as reader:
        return [one.message for one in reader.events(kind)]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_killed_in_mid_spectrum_it_is_given_up_and_the_next_is_measured(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    first = subprocess.Popen(
        command(run_file(tmp_path), "--cycles", "1", "--out", run_dir),
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until_s = time.monotonic() + 100.0
    begun = False
    while not begun and first.poll() is None and time.monotonic() < until_s:
        time.sleep(0.05)
        if (run_dir / SIMULATED_BENCH).exists():
            started = messages(run_dir, EventKind.STEP_STARTED)
            begun = any("impedance spectrum" in one for one in started)
    assert begun
    first.kill()  # at once: what is read of the journal is behind what the run has done
    first.wait(10)
    assert messages(run_dir, EventKind.SPECTRUM) == [], "killed too late"

    last = subprocess.run(
        command("--cycles", "1", "--out", run_dir, "--json"),
        cwd=ROOT,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert last.returncode == 0, last.stderr
    summary = json.loads(last.stdout.strip().splitlines()[-1])
    given_up, measured = summary["spectra"]
    assert given_up == {"cycle": 2, "reason": "interrupted"}
    assert len(measured["frequency_Hz"]) > 8
    assert summary["stopped_because"] == "completed"
    assert messages(run_dir, EventKind.VERDICT) == []
    with JournalReader(run_dir) as reader:
        cycles = reader.cycles()
    assert [one.kind for one in cycles] == [
        CycleKind.FORMATION,
        CycleKind.REFERENCE,
        CycleKind.BASE,
        CycleKind.REFERENCE,
    ]
    assert "interrupted" in cycles[1].flags
    assert "interrupted" not in cycles[3].flags
