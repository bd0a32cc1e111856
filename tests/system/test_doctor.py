"""`reactivate doctor`: what it says, and that it writes no setting."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from controller.app.config import example_text
from controller.app.doctor import Finding, Level, ability_findings, examine, watchdog_finding
from controller.app.prepare import CAPABILITIES
from controller.domain.capabilities import Watchdog
from controller.hal.locks import hold_device, hold_run_directory
from tests.system.kills import Emulator, emulator

ROOT = Path(__file__).resolve().parents[2]
SPEED = 10.0


def doctor(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "controller.app", "doctor", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "300"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def run_file(folder: Path, **replaced: str) -> Path:
    text = example_text()
    for old, new in replaced.items():
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "RUN.toml"
    path.write_text(text)
    return path


def over_tcp(folder: Path, one: Emulator, **more: str) -> Path:
    text = example_text()
    for old, new in {
        'driver = "keithley2450"\naddress = "simulated" ': (
            f'driver = "keithley2450"\naddress = "socket://127.0.0.1:{one.smu_port}" '
        ),
        'source = "auxiliary"              # none | auxiliary | cycler\naddress = "simulated"': (
            'source = "auxiliary"\n' + f'address = "socket://127.0.0.1:{one.thermometer_port}"'
        ),
        "speed = 1.0 ": f"speed = {SPEED} ",
        **more,
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    path = folder / "RUN.toml"
    path.write_text(text)
    return path


def named(findings: list[Finding], what: str) -> Finding:
    (found,) = [one for one in findings if one.what == what]
    return found


def exchange(port: int, line: bytes) -> str:
    with socket.create_connection(("127.0.0.1", port), timeout=5) as line_to:
        line_to.sendall(line)
        return line_to.makefile("rb").readline().decode() if b"?" in line else ""


def test_the_built_in_example_would_start_with_warnings(tmp_path: Path) -> None:
    done = doctor("--out", tmp_path / "run")
    assert done.returncode == 1, done.stderr
    assert not (tmp_path / "run").exists(), "looking makes nothing"
    text = done.stdout
    for said in (
        "EMULATED000001",
        "*LANG?",
        "SCPI",
        "never verified on a physical instrument",
        "dead-man sequence on the device: output off within 25 s",
        "150 s at every 30 s",
        "HIMP",
        "no synchronising program",
        "GB free",
        "A run would start",
        "reading the error queue has emptied it",
    ):
        assert said in text, said


def test_json_is_one_object_with_a_schema(tmp_path: Path) -> None:
    done = doctor("--out", tmp_path / "run", "--json")
    told = json.loads(done.stdout)
    assert told["schema"] == 1
    assert told["level"] == "warn"
    assert {"what", "level", "found", "remedy"} == set(told["checks"][0])


def test_a_run_file_with_faults_is_refused_with_remedies(tmp_path: Path) -> None:
    path = run_file(tmp_path, **{"upper_cut_off_V = 4.3": "uper_cut_off_V = 4.3"})
    done = doctor(path, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "uper_cut_off_V" in done.stdout
    assert "did you mean 'upper_cut_off_V'?" in done.stdout
    assert "not looked at" in done.stdout
    assert "error queue" not in done.stdout, "no instrument was asked anything"
    assert "refused" in done.stdout
    assert "GB free" in done.stdout, "the computer is looked at all the same"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "found", "remedy"),
    [
        (
            'format = "anode-free"',
            'format = "anode-fre"',
            "cell.format: 'anode-fre' is not valid",
            "did you mean 'anode-free'?",
        ),
        ("cycles = 50", 'cycles = "many"', "cycling.cycles: 'many' is not valid", "a whole number"),
        (
            "cycles = 50",
            "cycles = 0",
            "cycling.cycles: 0 is not valid",
            "greater than or equal to 1",
        ),
        (
            'base = "base-cycling"',
            'base = "base-cylcing"',
            "cycling.base: no recipe 'base-cylcing'",
            "did you mean 'base-cycling'?",
        ),
        ("schema = 1", "schema = 7", "schema: is 7", "this program reads schema = 1"),
        ("schema = 1", "schema = [", "not TOML", ""),
    ],
)
def test_a_refusal_names_file_key_value_and_the_nearest_choice(
    tmp_path: Path, old: str, new: str, found: str, remedy: str
) -> None:
    path = run_file(tmp_path, **{old: new})
    refused = [one for one in examine(path, tmp_path / "run") if one.what == "run file"]
    (one,) = refused
    assert one.level is Level.REFUSED
    assert one.found.startswith(f"{path}: {found}")
    assert one.remedy == remedy


def test_a_run_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    (one,) = [
        one for one in examine(tmp_path / "no.toml", tmp_path / "run") if one.what == "run file"
    ]
    assert one.found == f"{tmp_path / 'no.toml'}: no such file"


def test_a_synchronised_folder_and_a_busy_one_are_refused(tmp_path: Path) -> None:
    synchronised = list(examine(None, tmp_path / "Dropbox" / "run"))
    found = named(synchronised, "run folder")
    assert found.level is Level.REFUSED
    assert "Dropbox" in found.found
    with hold_run_directory(tmp_path / "run", "somebody else"):
        busy = [one for one in examine(None, tmp_path / "run") if one.what == "run folder"]
    assert [one.level for one in busy] == [Level.OK, Level.REFUSED]
    assert "somebody else" in busy[1].found


def test_an_unaccepted_driver_is_refused(tmp_path: Path) -> None:
    path = run_file(
        tmp_path, **{"accept_unverified_driver = true": "accept_unverified_driver = false"}
    )
    assert named(list(examine(path, tmp_path / "run")), "driver").level is Level.REFUSED


def test_no_thermometer_is_told(tmp_path: Path) -> None:
    path = run_file(tmp_path, **{'source = "auxiliary"': 'source = "none"'})
    found = named(list(examine(path, tmp_path / "run")), "thermometer")
    assert found.level is Level.WARN
    assert "not enforced" in found.found


@pytest.mark.parametrize(
    ("watchdog", "accepted", "level", "words"),
    [
        (Watchdog.NONE, False, Level.REFUSED, "keeps driving the cell if this PC dies"),
        (Watchdog.NONE, True, Level.WARN, "keeps driving the cell if this PC dies"),
        (Watchdog.FINITE_SEQUENCE, False, Level.OK, "within 25 s"),
        (Watchdog.COMMUNICATION, False, Level.OK, "the device's own"),
    ],
)
def test_what_stops_the_current_when_this_computer_dies(watchdog, accepted, level, words) -> None:
    from dataclasses import replace

    facts = replace(CAPABILITIES["keithley2450"], watchdog=watchdog)
    found = watchdog_finding(facts, accepted=accepted)
    assert found.level is level
    assert words in found.found


@pytest.mark.parametrize(
    ("fact", "what", "level", "words"),
    [
        ("off_mode_high_impedance", "output off", Level.REFUSED, "no high impedance"),
        ("limits_read_back", "limits", Level.REFUSED, "cannot be read back"),
        ("four_wire", "sense leads", Level.WARN, "two wires"),
    ],
)
def test_what_the_instrument_cannot_do_is_told(fact, what, level, words) -> None:
    from dataclasses import replace

    able = CAPABILITIES["keithley2450"]
    assert named(list(ability_findings(able)), what).level is Level.OK
    found = named(list(ability_findings(replace(able, **{fact: False}))), what)
    assert found.level is level
    assert words in found.found


def test_over_tcp_it_finds_output_errors_and_modes_and_writes_nothing(tmp_path: Path) -> None:
    with emulator(tmp_path, speed=SPEED) as one:
        path = over_tcp(tmp_path, one)
        well = list(examine(path, tmp_path / "run"))
        assert named(well, "cycler").level is Level.OK
        assert f"speed={SPEED:g}" in named(well, "cycler").found
        assert named(well, "output").found == "off"
        assert named(well, "error queue").level is Level.OK
        before = exchange(one.smu_port, b":OUTP:CURR:SMOD?;:OUTP:VOLT:SMOD?;:SOUR:FUNC?;:OUTP?\n")
        exchange(one.smu_port, b":OUTP:CURR:SMOD NORM;:NONSENSE;:OUTP ON\n")
        ill = list(examine(path, tmp_path / "run"))
        assert named(ill, "output").level is Level.REFUSED
        assert named(ill, "error queue").level is Level.WARN
        assert "cleared" in named(ill, "error queue").remedy
        assert named(ill, "off mode, current source").level is Level.WARN
        after = exchange(one.smu_port, b":OUTP:CURR:SMOD?;:OUTP:VOLT:SMOD?;:SOUR:FUNC?;:OUTP?\n")
        assert after.strip().split(";")[-1] == "1", "the output stays as it was found"
        assert before.split(";")[1:3] == after.split(";")[1:3]
        exchange(one.smu_port, b":OUTP OFF\n")


def test_over_tcp_speed_thermometer_and_holder(tmp_path: Path) -> None:
    with emulator(tmp_path, speed=SPEED) as one:
        path = over_tcp(tmp_path, one)
        assert named(list(examine(path, tmp_path / "run")), "thermometer").level is Level.WARN
        exchange(
            one.thermometer_port,
            b':SENS:FUNC "TEMP";:SENS:TEMP:TRAN THER;:SENS:TEMP:THER 10000;:UNIT:TEMP CEL\n',
        )
        found = named(list(examine(path, tmp_path / "run")), "thermometer")
        assert found.level is Level.OK
        assert "degC" in found.found
        with hold_device(f"socket://127.0.0.1:{one.smu_port}", 0, "the other run"):
            held = named(list(examine(path, tmp_path / "run")), "cycler")
        assert held.level is Level.REFUSED
        assert "the other run" in held.found
        slow = over_tcp(tmp_path, one, **{f"speed = {SPEED} ": "speed = 2.0 "})
        assert named(list(examine(slow, tmp_path / "run")), "speed").level is Level.REFUSED


def test_nobody_at_the_address_is_refused_not_a_traceback(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = doctor(over_tcp(tmp_path, Emulator(port, port, tmp_path)), "--out", tmp_path / "run")
    assert done.returncode == 2
    assert str(port) in done.stdout
    assert "Traceback" not in done.stderr
