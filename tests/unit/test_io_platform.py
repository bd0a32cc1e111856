"""Synchronised folders are recognised, files are whole, sleep is kept away or said not to be."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from controller.io import platform as module
from controller.io.platform import atomic_write, inhibit_sleep, is_synchronised_folder


@pytest.mark.parametrize(
    ("folder", "program"),
    [
        ("OneDrive", "OneDrive"),
        ("OneDrive - Institute of Cells", "OneDrive"),
        ("Dropbox (Lab)", "Dropbox"),
        ("GoogleDrive-me@lab.org", "Google Drive"),
        ("My Drive", "Google Drive"),
        ("Mobile Documents", "iCloud Drive"),
        ("com~apple~CloudDocs", "iCloud Drive"),
        ("iCloudDrive", "iCloud Drive"),
        ("Nextcloud", "Nextcloud"),
        ("nextcloud2", None),
        ("onedriver", None),
        ("dropboxes", None),
        ("my drives", None),
        ("runs", None),
    ],
)
@pytest.mark.parametrize("below", ["", "cells/A-1"])
def test_by_the_name_of_a_folder(
    tmp_path: Path, folder: str, program: str | None, below: str
) -> None:
    assert is_synchronised_folder(tmp_path / folder / below, {}) == program


@pytest.mark.parametrize(
    ("marker", "program"), [(".dropbox", "Dropbox"), (".nextcloudsync.log", "Nextcloud")]
)
def test_by_a_marker_above(tmp_path: Path, marker: str, program: str) -> None:
    (tmp_path / marker).touch()
    assert is_synchronised_folder(tmp_path / "runs" / "A-1", {}) == program


def test_by_the_variable_that_windows_sets(tmp_path: Path) -> None:
    environment = {"OneDriveCommercial": str(tmp_path / "work")}
    assert is_synchronised_folder(tmp_path / "work" / "runs", environment) == "OneDrive"
    assert is_synchronised_folder(tmp_path / "work", environment) == "OneDrive"
    assert is_synchronised_folder(tmp_path / "works", environment) is None
    assert is_synchronised_folder(tmp_path, environment) is None
    assert is_synchronised_folder(tmp_path, {"OneDrive": ""}) is None


def test_a_link_into_a_synchronised_folder_counts(tmp_path: Path) -> None:
    (tmp_path / "Dropbox").mkdir()
    (tmp_path / "runs").symlink_to(tmp_path / "Dropbox", target_is_directory=True)
    assert is_synchronised_folder(tmp_path / "runs", {}) == "Dropbox"


def test_a_write_replaces_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    atomic_write(path, b"a" * 1000)
    atomic_write(path, b"b")
    assert path.read_bytes() == b"b"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.json"
    atomic_write(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module.os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic_write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


POSIX_ONLY = pytest.mark.skipif(sys.platform == "win32", reason="inhibitor processes are POSIX")


@POSIX_ONLY
def test_awake_while_the_inhibitor_lives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log"
    program = script(
        tmp_path / "inhibit",
        "import os, sys\n"
        f"open({str(log)!r}, 'w').write(' '.join(sys.argv[1:]))\n"
        "os.execvp(sys.argv[-1], sys.argv[-1:])\n",
    )
    monkeypatch.setattr(module.shutil, "which", lambda _: str(program))
    processes: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def started(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        processes.append(real(*arguments, **options))
        return processes[-1]

    monkeypatch.setattr(module.subprocess, "Popen", started)
    with inhibit_sleep("cycling A-1") as warning:
        assert warning is None
        assert processes[0].poll() is None
    assert processes[0].returncode == 0
    if sys.platform == "linux":
        assert "--why=cycling A-1" in log.read_text()


@POSIX_ONLY
@pytest.mark.parametrize(
    ("text", "message"), [("raise SystemExit(1)", "refused"), (None, "is not kept awake")]
)
def test_a_refusal_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None, message: str
) -> None:
    program = tmp_path / "inhibit"
    if text is not None:
        script(program, text)
    monkeypatch.setattr(module.shutil, "which", lambda _: str(program))
    with inhibit_sleep("cycling") as warning:
        assert warning is not None
        assert message in warning


@POSIX_ONLY
def test_without_any_means_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda _: None)
    with inhibit_sleep("cycling") as warning:
        assert warning == "no means found to keep the machine awake"


@POSIX_ONLY
def test_an_error_in_the_block_ends_the_inhibitor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.shutil, "which", lambda _: "/usr/bin/env")
    monkeypatch.setattr(module, "_INHIBITORS", {sys.platform: ("env",)})
    processes: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def started(*arguments: object, **options: object) -> subprocess.Popen[bytes]:
        processes.append(real(*arguments, **options))
        return processes[-1]

    monkeypatch.setattr(module.subprocess, "Popen", started)

    def fail() -> None:
        with inhibit_sleep("cycling") as warning:
            assert warning is None
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert processes[0].returncode == 0
