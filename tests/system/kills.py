"""A controller that is killed while it drives an emulated instrument in another process."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from controller.app.config import example_text
from controller.domain.cell import CellFormat
from controller.domain.command import CHARGE, DISCHARGE
from controller.io.journal import JournalReader

SPEED = 10.0
ROOT = Path(__file__).resolve().parents[2]
REACTIVATE = (sys.executable, "-m", "controller.app")

# Charge at C/3, then a pulse beyond the continuous limits: both worth being killed in.
RECIPE = """
schema = 1
name = "kill-cycle"
title = "Charge and a fast pulse"
kind = "base"
summary = "Short charge, fast pulse, slow rest of the discharge; for tests of the dead-man only."
pulse_envelope = "fast-strip"
[[evidence]]
statement = "Made to be killed in."
basis = "assumed"
source = "own"
provenance = "own"
{applicability}
[price]
risk_mAh_per_cm2 = 0.0
basis = "assumed"
note = "test"
[[steps]]
do = "charge"
c_rate = "C/3"
charge_fraction_of_nominal = 0.02
[[steps]]
do = "rest"
duration_s = 10
[[steps]]
do = "discharge"
say = "pulse"
current_density_mA_per_cm2 = 3.0
charge_fraction_of_nominal = 0.008
in_envelope = true
period_s = 1.0
[[steps]]
do = "rest"
duration_s = 20
[[steps]]
do = "discharge"
c_rate = "C/3"
charge_fraction_of_nominal = 0.003
closes_half_cycle = true
[[steps]]
do = "rest"
duration_s = 20
"""


@dataclass(frozen=True)
class Emulator:
    smu_port: int
    thermometer_port: int
    state_file: Path

    def state(self) -> dict:
        return json.loads(self.state_file.read_text())


@contextlib.contextmanager
def emulator(
    folder: Path, *, speed: float = SPEED, preset: str = "anode-free"
) -> Iterator[Emulator]:
    state_file = folder / "emulator-state.json"
    process = subprocess.Popen(
        [
            *REACTIVATE,
            "emulate",
            "keithley2450",
            "--tcp",
            "127.0.0.1:0",
            "--speed",
            f"{speed:g}",
            "--state",
            str(state_file),
            "--preset",
            preset,
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        ports = re.findall(r"127\.0\.0\.1:(\d+)", line)
        assert len(ports) == 2, line
        yield Emulator(int(ports[0]), int(ports[1]), state_file)
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()


def run_file(folder: Path, where: Emulator, *, cycles: int) -> Path:
    applicability = "\n".join(
        f'[applicability.{one.value}]\nallowed = "prior-only"\nreason = "test"'
        for one in CellFormat
    )
    (folder / "kill-cycle.toml").write_text(RECIPE.replace("{applicability}", applicability))
    text = example_text()
    smu, thermometer = (
        f'address = "socket://127.0.0.1:{port}" #'
        for port in (where.smu_port, where.thermometer_port)
    )
    for old, new in {
        'address = "simulated"             # or': smu,
        'address = "simulated"             # the': thermometer,
        "speed = 1.0 ": f"speed = {SPEED} ",
        "cycles = 50 ": f"cycles = {cycles} ",
        "formation_cycles = 2": "formation_cycles = 0",
        "reference_every = 25": "reference_every = 0",
        'base = "base-cycling"': 'base = "kill-cycle.toml"',
        'protocols = ["short-strip", "discharged-rest"]': "protocols = []",
        "min_off_s = 3600.0": "min_off_s = 30.0",
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "RUN.toml"
    path.write_text(text)
    return path


def start(path: Path, run_dir: Path) -> subprocess.Popen:
    with (run_dir.parent / "run.log").open("a") as log:
        return subprocess.Popen(
            [*REACTIVATE, "run", str(path), "--out", str(run_dir)],
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def last_reading(run_dir: Path) -> tuple[int, float, int] | None:
    """Return sequence, current (A) and kind of the last committed reading."""
    database = run_dir / "run.sqlite"
    if not database.exists():
        return None
    try:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as link:
            return link.execute(
                "SELECT sequence, current_A, kind FROM samples ORDER BY sequence DESC LIMIT 1"
            ).fetchone()
    except sqlite3.OperationalError:
        return None


def wait_for(process: subprocess.Popen, run_dir: Path, kind: int, above_A: float) -> int:
    """Wait until current flows in a reading newer than any there is; return its sequence."""
    first = last_reading(run_dir)
    newest = -1 if first is None else first[0]
    deadline = time.monotonic() + 90.0
    while time.monotonic() < deadline:
        now = last_reading(run_dir)
        if now and now[0] > newest and now[2] == kind and abs(now[1]) > above_A:
            return now[0]
        if process.poll() is not None:
            raise AssertionError((run_dir.parent / "run.log").read_text()[-2000:])
        time.sleep(0.02)
    raise AssertionError(f"no current of kind {kind} within 90 s: {last_reading(run_dir)}")


@dataclass(frozen=True)
class Kill:
    """What the plant saw of one kill; plant seconds."""

    what: str
    current_mA: float
    stopped_after_s: float
    permitted_s: float


def kill_in(process: subprocess.Popen, run_dir: Path, where: Emulator, *, pulse: bool) -> Kill:
    """Kill the controller while current flows; return when the plant's current stopped."""
    kind, above_A = (DISCHARGE, 3e-3) if pulse else (CHARGE, 5e-4)
    try:
        wait_for(process, run_dir, kind, above_A)
    except AssertionError:
        process.kill()
        process.wait(10)
        raise
    reading = last_reading(run_dir)
    current_mA = 1e3 * reading[1] if reading else 0.0
    process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
    killed_wall_s = time.time()
    process.wait(10)
    permitted_s = permitted(run_dir)
    deadline = time.monotonic() + permitted_s / SPEED + 10.0
    while time.monotonic() < deadline:
        state = where.state()
        if not state["output_on"]:
            break
        time.sleep(0.05)
    assert not state["output_on"], "the output is still on"
    # the state file says its plant time; its age in wall time gives the plant time of the kill
    age_s = where.state_file.stat().st_mtime - killed_wall_s
    killed_s = state["sim_time_s"] - age_s * SPEED
    off_s = state["output"][-1][0]
    return Kill("pulse" if pulse else "charge", current_mA, off_s - killed_s, permitted_s)


def permitted(run_dir: Path) -> float:
    with JournalReader(run_dir) as reader:
        return max(one.command.valid_for_s for one in reader.commands()[-2:])


@dataclass(frozen=True)
class Balance:
    """Journalled against hidden net charge (mAh); `u_mAh` is the stated standard uncertainty."""

    journalled_mAh: float
    hidden_mAh: float
    u_mAh: float
    unobserved_mAh: float


def balance(run_dir: Path, where: Emulator) -> Balance:
    with JournalReader(run_dir) as reader:
        cycles = reader.cycles()
    truth = where.state()["truth"]
    return Balance(
        journalled_mAh=1e3 * sum(one.net_charge_Ah for one in cycles),
        hidden_mAh=truth["charge_out_mAh"] - truth["charge_in_mAh"],
        u_mAh=1e3 * sum(one.u_net_charge_Ah for one in cycles),
        unobserved_mAh=1e3 * sum(one.unobserved_charge_Ah for one in cycles),
    )
