"""The program as a user runs it, on the built-in simulated cell."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path

import pytest

from controller.app.config import example_text
from controller.app.hardware import SIMULATED_BENCH
from controller.domain.errors import ReactivationError
from controller.io.journal import JournalReader
from hil.bench import build_bench, load_bench

ROOT = Path(__file__).resolve().parents[2]
REACTIVATE = (sys.executable, "-m", "controller.app")


def reactivate(*arguments: str | Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "120"}
    return subprocess.run(
        [*REACTIVATE, *map(str, arguments)],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
    )


def short_run_file(folder: Path, **replaced: str) -> Path:
    """Write the example without formation and reference tests: one cycle takes about a second."""
    text = example_text()
    changes = {
        "formation_cycles = 2": "formation_cycles = 0",
        "reference_every = 25": "reference_every = 0",
    }
    for old, new in {**changes, **replaced}.items():
        assert old in text, old
        text = text.replace(old, new, 1)
    path = folder / "RUN.toml"
    path.write_text(text)
    return path


def last_object(output: str) -> dict:
    return json.loads(output.strip().splitlines()[-1])


def test_the_same_seed_gives_the_same_decisions_and_all_files(tmp_path: Path) -> None:
    path = short_run_file(tmp_path, **{"spacing_cycles = 1": "spacing_cycles = 1"})
    results = []
    for name in ("a", "b"):
        done = reactivate(
            "run", path, "--cycles", "3", "--seed", "1", "--out", tmp_path / name, "--json"
        )
        assert done.returncode == 0, done.stderr
        result = last_object(done.stdout)
        assert set(result) >= {
            "schema",
            "run_dir",
            "cycles",
            "decisions",
            "treatments",
            "spectra",
            "lab_hours",
            "final_capacity_mAh",
            "stopped_because",
        }
        assert result.pop("run_dir") == str(tmp_path / name)
        results.append(result)
        assert (tmp_path / name / "report.html").stat().st_size > 10_000
        assert (tmp_path / name / "example-cu-nmc811.bdf.csv").exists()
    assert results[0] == results[1]
    assert results[0]["cycles"] == 3
    assert results[0]["stopped_because"] == "completed"


def test_ctrl_c_rests_the_cell_and_the_same_out_resumes(tmp_path: Path) -> None:
    path, run_dir = short_run_file(tmp_path), tmp_path / "run"
    process = subprocess.Popen(
        [*REACTIVATE, "run", str(path), "--cycles", "4", "--out", str(run_dir)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    wait_until_reading(run_dir, 300)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert "Ctrl-C" in output
    with JournalReader(run_dir) as reader:
        before = reader.sample_count()
        assert "Ctrl-C" in reader.sessions()[-1].stopped_because
        assert len(reader.cycles()) < 4
    done = reactivate("run", "--out", run_dir, "--json")
    assert done.returncode == 0, done.stderr
    assert last_object(done.stdout)["cycles"] == 4
    with JournalReader(run_dir) as reader:
        sequence = reader.samples(["sequence"])["sequence"]
        assert len(sequence) > before
        assert (sequence[1:] - sequence[:-1] == 1).all()
        assert [one.cycle for one in reader.cycles()] == [1, 2, 3, 4]
        assert all(one.unobserved_charge_Ah == 0.0 for one in reader.cycles())


def test_killed_in_process_the_cell_is_never_behind_its_journal(tmp_path: Path) -> None:
    path, run_dir = short_run_file(tmp_path), tmp_path / "run"
    for readings in (900, 3000):
        process = subprocess.Popen(
            [*REACTIVATE, "run", str(path), "--cycles", "2", "--out", str(run_dir)],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_until_reading(run_dir, readings)
        process.kill()
        process.wait(10)
    assert reactivate("run", path, "--out", run_dir).returncode == 0
    with JournalReader(run_dir) as reader:
        cycles = reader.cycles()
    bench = build_bench(seed=1, utc_epoch_s=0.0)
    load_bench(bench, run_dir / SIMULATED_BENCH)
    truth = bench.cell.truth()
    hidden_mAh = truth["charge_out_mAh"] - truth["charge_in_mAh"]
    journalled_mAh = 1e3 * sum(one.net_charge_Ah for one in cycles)
    u_mAh = 1e3 * sum(one.u_net_charge_Ah for one in cycles)
    assert abs(journalled_mAh - hidden_mAh) <= 2.0 * u_mAh
    assert sum(one.unobserved_charge_Ah for one in cycles) > 0.0


def wait_until_reading(run_dir: Path, number: int) -> None:
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        if (run_dir / "run.sqlite").exists():
            try:
                with JournalReader(run_dir) as reader:
                    if reader.sample_count() >= number:
                        return
            except (ReactivationError, sqlite3.Error) as error:  # still being created
                last = error
        time.sleep(0.05)
    raise AssertionError(f"no {number} readings within 60 s: {last}")


def test_pause_resume_stop_from_another_terminal(tmp_path: Path) -> None:
    path, run_dir = short_run_file(tmp_path), tmp_path / "run"
    process = subprocess.Popen(
        [*REACTIVATE, "run", str(path), "--cycles", "40", "--out", str(run_dir)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        wait_until_reading(run_dir, 200)
        in_use = reactivate("run", path, "--out", run_dir)
        assert in_use.returncode == 2
        assert "in use by" in in_use.stderr
        assert "paused" in reactivate("pause", run_dir).stdout
        again = reactivate("pause", run_dir).stdout
        assert "not possible in paused" in again
        assert "goes on" in reactivate("resume", run_dir).stdout
        assert "stops" in reactivate("stop", run_dir).stdout
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
    finally:
        process.kill()
        process.wait(10)
    with JournalReader(run_dir) as reader:
        assert "operator" in reader.sessions()[-1].stopped_because
    nobody = reactivate("pause", run_dir)
    assert nobody.returncode == 2
    assert "no run is going on" in nobody.stderr


def test_dry_run_prints_every_step_and_writes_nothing(tmp_path: Path) -> None:
    done = reactivate("run", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "nothing was energised" in done.stdout
    for words in ("fast strip", "hold 3 V to C/50", "reference test", "fast-strip", "-4.62"):
        assert words in done.stdout
    assert list(tmp_path.iterdir()) == []


BAD = {
    "unknown key": (
        "area_cm2 = 1.54",
        "aera_cm2 = 1.54",
        "cell.aera_cm2",
        "did you mean 'area_cm2'",
    ),
    "wrong unit": (
        "nominal_capacity_mAh = 3.0",
        "nominal_capacity_Ah = 0.003",
        "cell.nominal_capacity_Ah",
        "did you mean 'nominal_capacity_mAh'",
    ),
    "not a number": ("area_cm2 = 1.54", 'area_cm2 = "1.54 cm2"', "cell.area_cm2", "1.54 cm2"),
    "a slip of units": (
        "nominal_capacity_mAh = 3.0 ",
        "nominal_capacity_mAh = 0.003 ",
        "cell.nominal_capacity_mAh",
        "3 mAh",
    ),
    "a limit in the file's own words": (
        "charge_current_max_mA = { operate = 1.2,",
        "charge_current_max_mA = { operate = 0.9,",
        "cycling.base",
        "limits.charge_current_max_mA",
    ),
    "levels out of order, in mA": (
        "charge_current_max_mA = { operate = 1.2, warn = 1.3,",
        "charge_current_max_mA = { operate = 1.2, warn = 1.1,",
        "limits.charge_current_max_mA.warn: 1.1",
        "1.2 or more",
    ),
    "levels out of order, in degC": (
        "temperature_max_degC = { operate = 45.0, warn = 45.0,",
        "temperature_max_degC = { operate = 45.0, warn = 40.0,",
        "limits.temperature_max_degC.warn: 40",
        "45 or more",
    ),
    "impossible limit": (
        "voltage_max_V = { operate = 4.3, warn = 4.32, trip = 4.38 }",
        "voltage_max_V = { operate = 4.3, warn = 4.32, trip = 4.1 }",
        "voltage_max_V",
        "4.1",
    ),
    "above the electrolyte": (
        'electrolyte_family = "lhce"',
        'electrolyte_family = "dilute-ether"',
        "voltage_max_V",
        "3.9",
    ),
    "no such recipe": ('"short-strip"', '"short-stripp"', "schedule.protocols[0]", "short-strip"),
    "a recipe this cell cannot take": (
        '"short-strip"',
        '"pre-strip-4v"',
        "pre-strip-4v",
        "dissolves Cu",
    ),
    "missing port": (
        'address = "simulated"             # or',
        'address = "keithley" # or',
        "cycler.address",
        "socket://",
    ),
    "an envelope nobody wrote": (
        'name = "fast-strip"',
        'name = "other"',
        "short-strip",
        "fast-strip",
    ),
    "too small an envelope": ("max_current_mA = 6.0", "max_current_mA = 4.0", "short-strip", "4"),
    "not TOML": ("schema = 1", "schema = = 1", "RUN.toml", "not TOML"),
    "another schema": ("schema = 1", "schema = 7", "schema", "schema = 1"),
    "no schema": ("schema = 1", "", "schema: missing", "schema = 1"),
}


@pytest.mark.parametrize("case", BAD, ids=str)
def test_bad_run_files_are_refused_with_key_and_remedy(tmp_path: Path, case: str) -> None:
    old, new, key, remedy = BAD[case]
    path = short_run_file(tmp_path, **{old: new})
    done = reactivate("run", path, "--dry-run")
    assert done.returncode == 2, done.stdout
    assert "Traceback" not in done.stderr
    assert "RUN.toml" in done.stderr
    assert key in done.stderr
    assert remedy in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nowhere.toml"], ["nowhere.toml", "no such file"]),
        (["report", "nowhere"], ["nowhere"]),
        (["stop", "nowhere"], ["nowhere", "no run"]),
        (["emulate", "keithley2400"], ["keithley2400", "keithley2450"]),
        (["emulate", "keithley2450", "--tcp", "5025"], ["5025", "HOST:PORT"]),
        (
            ["emulate", "keithley2450", "--preset", "anode-fre"],
            ["command line: --preset", "'anode-fre'", "did you mean 'anode-free'"],
        ),
        (["run", "--out", "Dropbox/run"], ["Dropbox", "synchronised"]),
        (["protocols", "show", "short-strop"], ["short-strip"]),
    ],
    ids=lambda value: " ".join(value) if value and isinstance(value, list) else "",
)
def test_bad_commands_say_what_to_do(
    tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    done = reactivate(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for word in words:
        assert word in done.stderr + done.stdout


def test_another_configuration_is_not_resumed(tmp_path: Path) -> None:
    path, run_dir = short_run_file(tmp_path), tmp_path / "run"
    assert reactivate("run", path, "--cycles", "1", "--out", run_dir).returncode == 0
    path.write_text(path.read_text().replace("area_cm2 = 1.54", "area_cm2 = 1.55"))
    done = reactivate("run", path, "--out", run_dir)
    assert done.returncode == 2
    assert "another configuration" in done.stderr


def test_a_complete_run_is_left_alone_and_goes_on_when_given_more_cycles(tmp_path: Path) -> None:
    path, run_dir = short_run_file(tmp_path), tmp_path / "run"
    assert reactivate("run", path, "--cycles", "1", "--out", run_dir).returncode == 0
    again = reactivate("run", "--out", run_dir, "--json")
    assert again.returncode == 0, again.stderr
    assert "complete" in again.stderr
    assert last_object(again.stdout)["cycles"] == 1
    more = reactivate("run", "--out", run_dir, "--cycles", "2", "--json")
    assert more.returncode == 0, more.stderr
    assert last_object(more.stdout)["cycles"] == 2
    assert last_object(more.stdout)["stopped_because"] == "completed"


def test_nothing_answers_at_the_address(tmp_path: Path) -> None:
    path = short_run_file(
        tmp_path,
        **{
            'address = "simulated"             # or': 'address = "socket://127.0.0.1:9" #',
            'address = "simulated"             # the': 'address = "socket://127.0.0.1:10" #',
        },
    )
    done = reactivate("run", path, "--out", tmp_path / "run")
    assert done.returncode == 3
    assert "127.0.0.1:9" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_cell_file_of_ones_own_runs_and_resumes_from_its_copy(tmp_path: Path) -> None:
    text = example_text().replace('preset = "anode-free"', 'preset = "mine.toml"')
    (tmp_path / "RUN.toml").write_text(text, "utf-8")
    refused = reactivate("run", "RUN.toml", "--dry-run", cwd=tmp_path)
    assert refused.returncode == 2
    assert "mine.toml: cannot be read" in refused.stderr
    source = resources.files("hil.cell").joinpath("data", "cells", "anode-free.toml")
    own = tmp_path / "mine.toml"
    own.write_text(source.read_text("utf-8"), "utf-8")
    done = reactivate("run", "RUN.toml", "--cycles", "1", "--out", "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    own.unlink()
    (tmp_path / "RUN.toml").unlink()
    again = reactivate("run", "--cycles", "2", "--out", "out", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "base, 2/2" in again.stdout


def test_a_simulated_cell_of_another_format_is_refused(tmp_path: Path) -> None:
    text = example_text().replace('preset = "anode-free"', 'preset = "li-cu"')
    (tmp_path / "RUN.toml").write_text(text, "utf-8")
    refused = reactivate("run", "RUN.toml", "--dry-run", cwd=tmp_path)
    assert refused.returncode == 2
    assert "'li-cu' is li-cu, cell.format is 'anode-free'" in refused.stderr


@pytest.mark.slow
def test_replay_of_a_runs_file_says_what_ended_each_discharge_as_the_run_did(
    tmp_path: Path,
) -> None:
    """Anchors, the reference test and treatments included: the file knows nothing of them."""
    out = tmp_path / "run"
    done = reactivate("run", "--cycles", "14", "--seed", "1", "--out", out, "--json")
    assert done.returncode == 0, done.stderr
    said = {one.cycle: one for one in JournalReader(out).cycles()}
    kinds = {one.kind for one in said.values()}
    assert {"formation", "reference", "base"} <= kinds
    (file,) = out.glob("*.bdf.csv")
    replayed = reactivate("replay", file, "--format", "anode-free", "--json")
    assert replayed.returncode == 0, replayed.stderr
    cycles = last_object(replayed.stdout)["cycles"]
    assert [one["discharge_end"] for one in cycles] == [
        said[one["cycle"]].discharge_end for one in cycles
    ]
    ends = {one["discharge_end"] for one in cycles}
    assert {"anode-limited", "cathode-limited"} <= ends
