"""One holder per instrument and per run directory, by operating-system locks.

The lock lies in a folder of the user's own, beside a small JSON file that names the holder. The
operating system gives it back when the process ends, however it ends.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

from controller.domain.errors import CyclerConnectionError, RunDirectoryError

_FOLDER: Final = "reactivate"
# Different spellings of this machine are one address.
_LOOPBACK: Final = re.compile(r"//(localhost|\[::1\]|0\.0\.0\.0)(?=[:/]|$)")


def lock_folder() -> Path:
    """Return the user's own folder for locks, made if it is missing."""
    base = os.environ.get("XDG_RUNTIME_DIR") or os.environ.get("LOCALAPPDATA")
    if base and Path(base).is_dir():
        folder = Path(base) / _FOLDER / "locks"
    else:
        folder = Path(tempfile.gettempdir()) / f"{_FOLDER}-{getpass.getuser()}" / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def hold_device(address: str, channel: int, holder: str) -> Iterator[None]:
    """Hold one channel of one instrument for as long as the block runs.

    Parameters
    ----------
    address : str
        Physical address as in the run file, e.g. ``socket://192.168.1.5:5025``.
    channel : int
    holder : str
        Who holds it, in words: the run directory.

    Raises
    ------
    CyclerConnectionError
        Another process holds it; the message names it.
    """
    known_as = _LOOPBACK.sub("//127.0.0.1", address.strip().lower())
    name = _file_name("device", f"{known_as}#{channel}")
    with _hold(name, holder) as other:
        if other is not None:
            raise CyclerConnectionError(f"{address} channel {channel} is in use by {other}")
        yield


@contextmanager
def hold_run_directory(path: Path, holder: str) -> Iterator[None]:
    """Hold one run directory for as long as the block runs.

    Parameters
    ----------
    path : Path
    holder : str
        Who holds it, in words: the command.

    Raises
    ------
    RunDirectoryError
        Another process holds it; the message names it.
    """
    name = _file_name("run", os.path.normcase(path.resolve()))
    with _hold(name, holder) as other:
        if other is not None:
            raise RunDirectoryError(f"{path} is in use by {other}")
        yield


def run_directory_holder(path: Path) -> str | None:
    """Return who holds a run directory, in words; None when nobody does."""
    name = _file_name("run", os.path.normcase(path.resolve()))
    lock = FileLock(lock_folder() / f"{name}.lock", timeout=0)
    try:
        with lock:
            return None
    except Timeout:
        return _holder_words(lock_folder() / f"{name}.json")


def _file_name(kind: str, key: str) -> str:
    return f"{kind}-{sha256(key.encode()).hexdigest()[:24]}"


@contextmanager
def _hold(name: str, holder: str) -> Iterator[str | None]:
    """Yield None while the lock is held, or the other holder in words when it is not to be had."""
    folder = lock_folder()
    lock = FileLock(folder / f"{name}.lock", timeout=0)
    # Beside the lock, not in it: on Windows a locked file cannot be read by others.
    sidecar = folder / f"{name}.json"
    try:
        lock.acquire()
    except Timeout:
        yield _holder_words(sidecar)
        return
    try:
        sidecar.write_text(json.dumps({"pid": os.getpid(), "holder": holder}), encoding="utf-8")
        yield None
    finally:
        sidecar.unlink(missing_ok=True)
        lock.release()


def _holder_words(sidecar: Path) -> str:
    try:
        told = json.loads(sidecar.read_text(encoding="utf-8"))
        since = datetime.fromtimestamp(sidecar.stat().st_mtime, tz=UTC).isoformat(
            timespec="seconds"
        )
        return f"{told['holder']} (process {told['pid']}, since {since})"
    except (OSError, ValueError, KeyError, TypeError):
        # The holder is just starting or ending; the lock itself is what counts.
        return "another process"
