"""One holder per instrument and per run directory; the error names the holder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from controller.domain.errors import CyclerConnectionError, RunDirectoryError
from controller.hal.locks import hold_device, hold_run_directory, lock_folder


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


def test_a_second_holder_of_a_device_is_refused_and_told_who_has_it() -> None:
    with (
        hold_device("socket://127.0.0.1:5025", 0, "runs/cell-7"),
        pytest.raises(CyclerConnectionError, match=rf"runs/cell-7 \(process {os.getpid()}, since"),
        hold_device("socket://127.0.0.1:5025", 0, "runs/cell-8"),
    ):
        pytest.fail("two holders at once")


def test_a_lock_is_free_again_after_its_holder_and_leaves_no_name_behind() -> None:
    for holder in ("first", "second"):
        with hold_device("COM3", 0, holder):
            assert list(lock_folder().glob("*.json"))
        assert not list(lock_folder().glob("*.json"))


def test_a_lock_is_given_back_when_the_holder_fails() -> None:
    with pytest.raises(ZeroDivisionError), hold_device("COM3", 0, "first"):
        raise ZeroDivisionError
    with hold_device("COM3", 0, "second"):
        pass


@pytest.mark.parametrize(
    "other", ["SOCKET://LOCALHOST:5025", "socket://localhost:5025 ", "socket://[::1]:5025"]
)
def test_spellings_of_one_address_are_one_lock(other: str) -> None:
    with (
        hold_device("socket://127.0.0.1:5025", 0, "first"),
        pytest.raises(CyclerConnectionError, match="first"),
        hold_device(other, 0, "second"),
    ):
        pytest.fail("two holders at once")


def test_other_channels_and_addresses_are_free() -> None:
    with (
        hold_device("COM3", 0, "a"),
        hold_device("COM3", 1, "b"),
        hold_device("COM4", 0, "c"),
    ):
        assert len(list(lock_folder().glob("device-*.json"))) == 3


def test_a_run_directory_has_one_holder_by_any_path_to_it(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    with (
        hold_run_directory(run, "reactivate run"),
        pytest.raises(RunDirectoryError, match="in use by reactivate run"),
        hold_run_directory(run / ".." / "run", "reactivate run"),
    ):
        pytest.fail("two holders at once")
    assert not list(run.iterdir())


def test_a_lost_name_is_still_a_refusal() -> None:
    with hold_device("COM3", 0, "first"):
        for sidecar in lock_folder().glob("*.json"):
            sidecar.write_text("{")
        with (
            pytest.raises(CyclerConnectionError, match="another process"),
            hold_device("COM3", 0, "second"),
        ):
            pytest.fail("two holders at once")


def test_a_lock_excludes_another_process_and_ends_with_it() -> None:
    script = (
        "import sys\n"
        "from controller.hal.locks import hold_device\n"
        "with hold_device('COM3', 0, 'child'):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with (
            pytest.raises(CyclerConnectionError, match=rf"child \(process {child.pid}"),
            hold_device("COM3", 0, "parent"),
        ):
            pytest.fail("two holders at once")
        # Ended the hard way: nothing of its own runs any more.
        child.kill()
        child.wait()
    with hold_device("COM3", 0, "parent"):
        pass
