"""A stranger's cell through the whole program, as a user runs it."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from controller.app.config import example_text
from controller.app.hardware import SIMULATED_BENCH
from controller.io.journal import JournalReader
from hil.bench import build_bench, load_bench
from hil.plant import load_plant
from tests.system.test_run import ROOT, last_object, reactivate, short_run_file

EQUIVALENT = "tests.plants.equivalent_circuit"


def header(run_dir: Path) -> dict[str, object]:
    with JournalReader(run_dir) as reader:
        return dict(reader.header())


def test_a_strangers_cell_is_cycled_judged_and_resumed(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    plant = f"{EQUIVALENT}:make"
    done = reactivate("run", "--plant", plant, "--cycles", "2", "--out", run_dir, "--json")
    assert done.returncode == 0, done.stderr
    result = last_object(done.stdout)
    assert (result["cycles"], result["stopped_because"]) == (2, "completed")
    assert header(run_dir)["plant"] == plant
    assert (run_dir / "report.html").exists()
    assert measured_net_mAh(run_dir) == pytest.approx(true_net_mAh(run_dir, plant), abs=3e-3)

    other = reactivate("run", "--plant", f"{EQUIVALENT}:make_blind", "--out", run_dir)
    assert other.returncode == 2
    assert f"holds a run on {plant}" in other.stderr
    more = reactivate("run", "--out", run_dir, "--cycles", "3", "--json")
    assert more.returncode == 0, more.stderr
    assert last_object(more.stdout)["cycles"] == 3


def measured_net_mAh(run_dir: Path) -> float:
    with JournalReader(run_dir) as reader:
        return sum(1e3 * one.net_charge_Ah for one in reader.cycles())


def true_net_mAh(run_dir: Path, plant: str) -> float:
    """Return what the cell itself has counted, discharge minus charge (mAh)."""
    port = load_plant(plant, seed=1, temperature_K=298.15)
    bench = build_bench(plant=port, seed=1, utc_epoch_s=0.0)
    load_bench(bench, run_dir / SIMULATED_BENCH)
    truth = bench.truth()
    assert truth["lithium_lost_mAh"] > 0.02
    return float(truth["charge_out_mAh"]) - float(truth["charge_in_mAh"])


def test_a_run_file_names_its_plant(tmp_path: Path) -> None:
    plant = f'plant = "{EQUIVALENT}:make"'
    path = short_run_file(tmp_path, **{'preset = "anode-free"': plant})
    out = tmp_path / "run"
    done = reactivate("run", path, "--cycles", "1", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "plant" not in header(out)  # the run file says it
    other = tmp_path / "other.toml"
    other.write_text(path.read_text().replace(":make", ":make_explicit"))
    refused = reactivate("run", other, "--out", out)
    assert refused.returncode == 2
    assert "another configuration" in refused.stderr


def test_a_plant_that_only_steps_is_run_with_its_error_told_and_never_resumed(
    tmp_path: Path,
) -> None:
    path, out = short_run_file(tmp_path), tmp_path / "run"
    plant = f"{EQUIVALENT}:make_blind"
    done = reactivate("run", path, "--plant", plant, "--cycles", "1", "--out", out)
    assert done.returncode == 0, done.stderr
    assert "note: this run cannot be resumed once interrupted" in done.stdout
    assert f"note: plant {plant}: constant voltage is from-slope, largest error" in done.stdout
    with sqlite3.connect(out / "run.sqlite") as database:
        (told,) = database.execute(
            "select count(*) from events where message like '%from-slope, largest error%'"
        ).fetchone()
    assert told == 1
    again = reactivate("run", "--out", out, "--cycles", "2")
    assert again.returncode == 2
    assert "no snapshot and restore" in again.stderr
    assert "Traceback" not in again.stderr


def write_run(folder: Path, old: str, new: str) -> Path:
    text = example_text()
    assert old in text
    path = folder / "RUN.toml"
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        ("coin", "MODULE:FACTORY"),
        (f"{EQUIVALENT}:mak", "did you mean 'make'"),
        ("math:sqrt", "math:sqrt"),
        ("collections:OrderedDict", "no step"),
    ],
)
@pytest.mark.parametrize("command", ["run", "dry-run", "doctor", "emulate"])
def test_a_plant_that_is_none_is_refused_and_nothing_is_left(
    tmp_path: Path, plant: str, words: str, command: str
) -> None:
    out = tmp_path / "run"
    if command == "emulate":
        done = reactivate("emulate", "keithley2450", "--tcp", "127.0.0.1:0", "--plant", plant)
    elif command == "doctor":
        path = write_run(tmp_path, 'preset = "anode-free"', f'plant = "{plant}"')
        done = reactivate("doctor", path)
    else:
        dry = ["--dry-run"] if command == "dry-run" else []
        done = reactivate("run", "--plant", plant, "--out", out, *dry)
    assert done.returncode == 2, done.stdout
    assert words in " ".join((done.stdout + done.stderr).split())
    assert "Traceback" not in done.stderr
    assert not out.exists()


def test_two_cells_for_one_run_are_refused(tmp_path: Path) -> None:
    plant = f"{EQUIVALENT}:make"
    both = 'preset = "anode-free"\nplant = "' + plant + '"'
    path = write_run(tmp_path, 'preset = "anode-free"', both)
    done = reactivate("run", path, "--dry-run")
    assert done.returncode == 2
    assert "simulation.plant" in done.stderr
    assert "one of them" in done.stderr
    path = write_run(tmp_path, 'preset = "anode-free"', f'plant = "{plant}"')
    done = reactivate("run", path, "--plant", f"{EQUIVALENT}:make_blind", "--dry-run")
    assert done.returncode == 2
    assert "--plant" in done.stderr
    done = reactivate("emulate", "keithley2450", "--preset", "anode-free", "--plant", plant)
    assert done.returncode == 2
    assert "beside --preset" in done.stderr


def test_a_plant_behind_a_physical_cycler_is_refused(tmp_path: Path) -> None:
    path = write_run(tmp_path, 'address = "simulated"', 'address = "socket://127.0.0.1:5025"')
    done = reactivate("run", path, "--plant", f"{EQUIVALENT}:make", "--dry-run")
    assert done.returncode == 2
    assert "cycler.address = 'simulated'" in done.stderr


BREAKING = """
from tests.plants.equivalent_circuit import EquivalentCircuit


class Breaking(EquivalentCircuit):
    def step(self, current_A, dt_s, ambient_K):
        voltage_V, temperature_K = super().step(current_A, dt_s, ambient_K)
        if self.truth()["charge_in_mAh"] > 0.1:
            voltage_V = float("nan")
        return voltage_V, temperature_K


def make(*, seed, temperature_K):
    return Breaking(seed=seed, temperature_K=temperature_K)
"""


def test_nan_in_mid_run_ends_it_with_the_plants_name(tmp_path: Path) -> None:
    (tmp_path / "breaking.py").write_text(BREAKING)
    path = short_run_file(tmp_path)
    out = tmp_path / "run"
    done = reactivate("run", path, "--plant", "breaking:make", "--out", out, cwd=tmp_path)
    assert done.returncode == 3, done.stdout
    assert "Traceback" not in done.stderr
    with JournalReader(out) as reader:
        stopped = reader.sessions()[-1].stopped_because
    assert "plant breaking:make: voltage nan V from step(" in stopped


def test_an_emulator_serves_a_strangers_cell_and_says_what_it_cannot_do(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    code = (
        "from hil.server import serve; from pathlib import Path; "
        f"serve('127.0.0.1', 0, speed=50, state_file=Path({str(state)!r}), "
        f"plant='{EQUIVALENT}:make_blind')"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        lines = [process.stdout.readline() for _ in range(3)]
    finally:
        process.kill()
        process.communicate()
    assert lines[0].startswith("listening on")
    assert "from-slope" in lines[1]
    assert "cannot go on from the state file" in lines[2]
    kept = json.loads(state.read_text())
    assert kept["plant"] == f"{EQUIVALENT}:make_blind"
    assert kept["cell"] is None
    assert kept["truth"]["constant_voltage"] == "from-slope"
    again = reactivate(
        *("emulate", "keithley2450", "--tcp", "127.0.0.1:0", "--state", state, "--seed", "0"),
        *("--plant", f"{EQUIVALENT}:make_blind"),
    )
    assert again.returncode == 2
    assert "no snapshot and restore" in again.stderr
