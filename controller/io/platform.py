"""Everything that depends on the operating system: staying awake, synchronised folders, files.

Written for Windows, macOS and Linux; executed on Linux only so far, type-checked for all three.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

# Time an inhibitor process gets to go away when it is told to (s).
_INHIBITOR_EXIT_S: Final = 5.0

# Folder name (lower case) or its beginning -> the program that synchronises it.
_SYNCHRONISED_NAMES: Final[dict[str, str]] = {
    "onedrive": "OneDrive",
    "dropbox": "Dropbox",
    "google drive": "Google Drive",
    "googledrive": "Google Drive",
    "my drive": "Google Drive",
    "iclouddrive": "iCloud Drive",
    "icloud drive": "iCloud Drive",
    "mobile documents": "iCloud Drive",
    "com~apple~clouddocs": "iCloud Drive",
    "nextcloud": "Nextcloud",
    "owncloud": "ownCloud",
}
# The same, where the name is followed by an account: "OneDrive - Institute", "Dropbox (Lab)".
_ACCOUNT_MARKS: Final = (" ", "-", "(")
# Files and folders that such a program leaves at the top of what it synchronises.
_MARKERS: Final[dict[str, str]] = {
    ".dropbox": "Dropbox",
    ".dropbox.cache": "Dropbox",
    ".nextcloudsync.log": "Nextcloud",
    ".owncloudsync.log": "ownCloud",
    ".tmp.drivedownload": "Google Drive",
    ".stfolder": "Syncthing",
}
# Environment variables in which Windows gives the folder.
_VARIABLES: Final[dict[str, str]] = {
    "OneDrive": "OneDrive",
    "OneDriveCommercial": "OneDrive",
    "OneDriveConsumer": "OneDrive",
}


def _by_name(part: str) -> str | None:
    name = part.lower()
    for known, program in _SYNCHRONISED_NAMES.items():
        if name == known:
            return program
        if name.startswith(known) and name[len(known) :].startswith(_ACCOUNT_MARKS):
            return program
    return None


def is_synchronised_folder(path: Path, environment: Mapping[str, str] | None = None) -> str | None:
    """Return the name of the program that synchronises `path`, None if none is known to.

    A journal in such a folder is copied while it is written: the copies are torn, and the program
    may lock or replace the file under the run.

    Parameters
    ----------
    path : Path
        Need not exist.
    environment : mapping or None
        Environment variables; None takes the process's own.

    Returns
    -------
    str or None
        E.g. ``"OneDrive"``. Judged by folder names, by marker files on the way up and by
        variables that Windows sets; a renamed folder without markers is not noticed.
    """
    variables = os.environ if environment is None else environment
    resolved = path.resolve()
    folders = (resolved, *resolved.parents)
    for variable, program in _VARIABLES.items():
        root = variables.get(variable)
        if root and Path(root).resolve() in folders:
            return program
    for folder in folders:
        program_or_none = _by_name(folder.name)
        if program_or_none is not None:
            return program_or_none
    for folder in folders:
        for marker, program in _MARKERS.items():
            with suppress(OSError):
                if (folder / marker).exists():
                    return program
    return None


def atomic_write(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old or the new content, never a part.

    Parameters
    ----------
    path : Path
        Its folder must exist.
    data : bytes

    Raises
    ------
    OSError
        The disk is full, the folder is gone, or (Windows) another program holds the file.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        with suppress(OSError):
            part.unlink()
        raise


if sys.platform == "win32":
    import ctypes

    # SetThreadExecutionState flags, from winbase.h.
    _ES_CONTINUOUS: Final = 0x80000000
    _ES_SYSTEM_REQUIRED: Final = 0x00000001

    @contextmanager
    def _inhibit(reason: str) -> Iterator[str | None]:
        """Ask Windows to stay awake; the request belongs to the calling thread."""
        del reason  # this call takes none
        set_state = ctypes.windll.kernel32.SetThreadExecutionState
        if set_state(_ES_CONTINUOUS | _ES_SYSTEM_REQUIRED) == 0:
            yield "Windows refused to be kept awake"
            return
        try:
            yield None
        finally:
            set_state(_ES_CONTINUOUS)

else:
    import select

    # Longest wait for the inhibitor to be in place (s).
    _INHIBITOR_START_S: Final = 5.0
    # Program and arguments that keep the machine awake while the command after them runs.
    _INHIBITORS: Final[dict[str, tuple[str, ...]]] = {
        "darwin": ("caffeinate", "-i", "-m"),
        "linux": ("systemd-inhibit", "--what=sleep:idle", "--mode=block", "--who=reactivate"),
    }

    def _inhibitor_command(reason: str) -> list[str] | None:
        """Return a command that keeps the machine awake while its standard input is open."""
        program, *arguments = _INHIBITORS.get(sys.platform, ("",))
        found = shutil.which(program) if program else None
        if found is None:
            return None
        if program == "systemd-inhibit":
            arguments.append(f"--why={reason}")
        return [found, *arguments, "cat"]

    @contextmanager
    def _inhibit(reason: str) -> Iterator[str | None]:
        """Hold an inhibitor process whose child ends with our end of its standard input.

        So it goes away with this process, however that dies.
        """
        command = _inhibitor_command(reason)
        if command is None:
            yield "no means found to keep the machine awake"
            return
        try:
            process = subprocess.Popen(  # noqa: S603 - a fixed command, found by its full path
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for us, not for it
            )
        except OSError as error:
            yield f"the machine is not kept awake: {command[0]} ({error})"
            return
        try:
            yield None if _echoes(process) else f"{command[0]} refused to keep the machine awake"
        finally:
            _end(process)

    def _echoes(process: subprocess.Popen[bytes]) -> bool:
        """Return True once the inhibited child answers: the inhibitor is in place by then."""
        if process.stdin is None or process.stdout is None:
            return False
        try:
            process.stdin.write(b"\n")
            process.stdin.flush()
        except OSError:
            return False
        ready, _, _ = select.select([process.stdout], [], [], _INHIBITOR_START_S)
        return bool(ready) and process.stdout.read(1) == b"\n"

    def _end(process: subprocess.Popen[bytes]) -> None:
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        try:
            process.wait(_INHIBITOR_EXIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def inhibit_sleep(reason: str) -> Iterator[str | None]:
    """Keep the machine awake within the block, as far as it lets us.

    Parameters
    ----------
    reason : str
        Shown by the operating system where it lists what keeps it awake.

    Yields
    ------
    str or None
        None, or one line saying why the machine may still go to sleep.
    """
    with _inhibit(reason) as warning:
        yield warning
