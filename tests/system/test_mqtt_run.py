"""Telemetry beside a run: a broker that is absent, or there, changes nothing of the run."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from controller.app.config import example_text
from controller.domain.events import EventKind
from controller.io.journal import JournalReader

ROOT = Path(__file__).resolve().parents[2]
REACTIVATE = (sys.executable, "-m", "controller.app")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(folder: Path, mqtt: str) -> dict:
    text = example_text()
    for old, new in {
        "formation_cycles = 2": "formation_cycles = 0",
        "reference_every = 25": "reference_every = 0",
    }.items():
        assert old in text
        text = text.replace(old, new)
    folder.mkdir()
    (folder / "RUN.toml").write_text(text + mqtt)
    done = subprocess.run(
        [
            *REACTIVATE,
            "run",
            str(folder / "RUN.toml"),
            "--cycles",
            "2",
            "--out",
            str(folder / "run"),
            "--json",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.strip().splitlines()[-1])
    del result["run_dir"]
    return result


def test_an_absent_broker_changes_nothing(tmp_path: Path) -> None:
    absent = f'\n[mqtt]\nhost = "127.0.0.1"\nport = {free_port()}\n'
    assert run(tmp_path / "absent", absent) == run(tmp_path / "none", "")
    for folder, said in (("absent", 1), ("none", 0)):
        with JournalReader(tmp_path / folder / "run") as reader:
            messages = [one.message for one in reader.events(EventKind.RUN)]
        lost = [one for one in messages if "never reached 127.0.0.1" in one]
        assert len(lost) == said
        assert all("refused" in one.lower() for one in lost)


@pytest.mark.broker
def test_a_run_is_seen_by_mosquitto_sub(tmp_path: Path) -> None:
    if not (
        shutil.which("mosquitto_sub")
        and (shutil.which("mosquitto") or Path("/usr/sbin/mosquitto").exists())
    ):
        pytest.skip("mosquitto and mosquitto_sub are not installed")
    port = free_port()
    broker = subprocess.Popen(
        [
            sys.executable,
            str(ROOT / "scripts" / "start_mosquitto.py"),
            str(tmp_path),
            "--port",
            str(port),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    listener = None
    try:
        wait_for_port(port)
        listener = subprocess.Popen(
            ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-v", "-t", "reactivate/#"],
            stdout=subprocess.PIPE,
            text=True,
        )
        run(tmp_path / "with", f'\n[mqtt]\nhost = "127.0.0.1"\nport = {port}\n')
        listener.terminate()
        heard, _ = listener.communicate(timeout=10)
    finally:
        for process in (listener, broker):
            if process is not None:
                process.kill()
                process.wait(10)
    topics = {
        line.split(" ", 1)[0].removeprefix("reactivate/example-cu-nmc811/")
        for line in heard.splitlines()
        if line.startswith("reactivate/")
    }
    assert {"state", "sample", "cycle", "event", "availability"} <= topics
    cycles = [json.loads(line.split(" ", 1)[1]) for line in heard.splitlines() if "/cycle " in line]
    assert [one["cycle"] for one in cycles] == [1, 2]


def wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            probe.settimeout(0.2)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError("mosquitto did not start")
