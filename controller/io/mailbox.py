"""Words from another terminal: ``stop``, ``pause``, ``resume``, ``acknowledge``.

A command is a small JSON file in ``<run directory>/commands``; the answer is one in
``commands/done``. Files, because they need no port, no rights and no clean-up, work the same on
Windows, and a half-written one is never seen (it is renamed into place).
"""

from __future__ import annotations

import json
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from controller.domain.errors import RunDirectoryError, nearest, refuse
from controller.io.clock import RealClock
from controller.io.journal import JOURNAL_NAME
from controller.io.platform import atomic_write

SCHEMA: Final = 1
COMMANDS_FOLDER: Final = "commands"
DONE_FOLDER: Final = "done"
REJECTED_FOLDER: Final = "rejected"
# No command is this long; a file that is was not written by us.
MAX_FILE_BYTES: Final = 65_536
# How often a waiting sender looks for its answer (s).
_ANSWER_PERIOD_S: Final = 0.05


class OperatorWord(StrEnum):
    """What an operator may ask of a run."""

    STOP = "stop"
    PAUSE = "pause"
    RESUME = "resume"
    ACKNOWLEDGE = "acknowledge"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCommand:
    """One word from an operator.

    Attributes
    ----------
    identifier : str
        Names the file of the command and of its answer.
    word : OperatorWord
    cause, name : str
        Who acknowledges and what was found; both given with `ACKNOWLEDGE`.
    utc_s : float
        When it was sent (Unix s).
    """

    identifier: str
    word: OperatorWord
    cause: str
    name: str
    utc_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What became of a command: whether it was done, and one line for a person."""

    done: bool
    message: str


def send(run_dir: Path, word: str, *, cause: str = "", name: str = "") -> str:
    """Put a command where the run will find it.

    Parameters
    ----------
    run_dir : Path
        Directory of the run.
    word : str
        ``stop``, ``pause``, ``resume`` or ``acknowledge``.
    cause, name : str
        What was found and who says so; ``acknowledge`` needs both.

    Returns
    -------
    str
        Identifier, for `wait_for_answer`.

    Raises
    ------
    ConfigurationError
        An unknown word, or ``acknowledge`` without cause or name.
    RunDirectoryError
        No run in `run_dir`, or the command cannot be written there.
    """
    words = [str(known) for known in OperatorWord]
    if word not in words:
        raise refuse("command line", "", f"{word!r} is not a command", nearest(word, words))
    cause, name = cause.strip(), name.strip()
    if word == OperatorWord.ACKNOWLEDGE:
        for key, value in (("cause", cause), ("name", name)):
            if not value:
                raise refuse("command line", key, "missing", "acknowledge needs cause and name")
    if not (run_dir / JOURNAL_NAME).is_file():
        raise RunDirectoryError(f"{run_dir}: holds no {JOURNAL_NAME}, so no run to tell")
    utc_s = RealClock().utc_s()
    # Names sort by time; the random part keeps two terminals apart.
    identifier = f"{int(utc_s * 1e6):017d}-{secrets.token_hex(4)}"
    document = {
        "schema": SCHEMA,
        "identifier": identifier,
        "word": word,
        "cause": cause,
        "name": name,
        "utc_s": utc_s,
    }
    inbox = run_dir / COMMANDS_FOLDER
    try:
        inbox.mkdir(exist_ok=True)
        _write(inbox / f"{identifier}.json", document)
    except OSError as error:
        raise RunDirectoryError(f"{inbox}: the command cannot be written ({error})") from error
    return identifier


def wait_for_answer(run_dir: Path, identifier: str, timeout_s: float) -> Answer | None:
    """Wait until the run has answered; take the command back if it does not.

    Parameters
    ----------
    run_dir : Path
    identifier : str
        As `send` returned it.
    timeout_s : float
        Wall time (s).

    Returns
    -------
    Answer or None
        None: the run did not answer, most likely because no process works on it. The command has
        been taken back, so that it does not act on a later resume.
    """
    clock = RealClock()
    deadline_s = clock.now_s() + timeout_s
    answer_path = run_dir / COMMANDS_FOLDER / DONE_FOLDER / f"{identifier}.json"
    while (answer := _read_answer(answer_path)) is None:
        now_s = clock.now_s()
        if not now_s < deadline_s:
            with suppress(OSError):
                (run_dir / COMMANDS_FOLDER / f"{identifier}.json").unlink()
            # It may have been taken and answered at the last moment.
            return _read_answer(answer_path)
        clock.sleep_until(min(now_s + _ANSWER_PERIOD_S, deadline_s))
    return answer


def _write(path: Path, document: dict[str, object]) -> None:
    atomic_write(path, (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode("utf-8"))


def _read_answer(path: Path) -> Answer | None:
    try:
        document = json.loads(path.read_bytes())
        return Answer(done=bool(document["done"]), message=str(document["message"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Mailbox:
    """The run's end: looks for commands, answers them.

    Parameters
    ----------
    run_dir : Path
        Directory of the run; the folders are made if they are missing.

    Raises
    ------
    RunDirectoryError
        The folders cannot be made.
    """

    __slots__ = ("_clock", "_done", "_inbox", "_problems", "_rejected", "_seen")

    def __init__(self, run_dir: Path) -> None:
        inbox = run_dir / COMMANDS_FOLDER
        self._inbox = str(inbox)
        self._done = inbox / DONE_FOLDER
        self._rejected = inbox / REJECTED_FOLDER
        self._clock = RealClock()
        # Files that were taken but could not be removed yet (Windows: somebody has them open).
        self._seen: set[str] = set()
        self._problems: list[str] = []
        try:
            self._done.mkdir(parents=True, exist_ok=True)
            self._rejected.mkdir(exist_ok=True)
        except OSError as error:
            raise RunDirectoryError(f"{inbox}: cannot be made ({error})") from error

    def take(self) -> list[OperatorCommand]:
        """Return the commands that came since the last call, oldest first; never raises.

        Each is returned once. A file that is no command is moved to ``commands/rejected``,
        answered as refused, and told by `problems`.
        """
        try:
            names = os.listdir(self._inbox)  # noqa: PTH208 - called often; pathlib is 3 times slower
        except OSError as error:
            self._problems.append(f"{self._inbox}: cannot be read ({error})")
            return []
        if len(names) == 2 and not self._seen:  # the two folders, nothing else
            return []
        files = sorted(name for name in names if name.endswith(".json") and name[0] != ".")
        self._seen.intersection_update(files)
        commands = []
        for name in files:
            if name not in self._seen:
                command = self._take_one(Path(self._inbox) / name)
                if command is not None:
                    commands.append(command)
            elif self._remove(Path(self._inbox) / name):
                self._seen.discard(name)
        return commands

    def problems(self) -> list[str]:
        """Return, once, what was wrong with files found so far; one line each."""
        problems, self._problems = self._problems, []
        return problems

    def answer(self, identifier: str, message: str, *, done: bool) -> None:
        """Tell the sender what became of its command; a failure goes to `problems`.

        Parameters
        ----------
        identifier : str
        message : str
            One line.
        done : bool
            Whether it was carried out.
        """
        document: dict[str, object] = {
            "schema": SCHEMA,
            "identifier": identifier,
            "done": done,
            "message": message,
            "utc_s": self._clock.utc_s(),
        }
        path = self._done / f"{identifier}.json"
        try:
            _write(path, document)
        except OSError as error:
            self._problems.append(f"{path}: the answer cannot be written ({error})")

    def refuse_waiting(self, message: str) -> int:
        """Answer everything that waits as not done, e.g. what was sent before this process began.

        Returns
        -------
        int
            How many commands were refused.
        """
        waiting = self.take()
        for command in waiting:
            self.answer(command.identifier, message, done=False)
        return len(waiting)

    def _take_one(self, path: Path) -> OperatorCommand | None:
        try:
            with path.open("rb") as file:
                data = file.read(MAX_FILE_BYTES + 1)
        except FileNotFoundError:  # the sender took it back
            return None
        except OSError:  # held by somebody (Windows); still there next time
            return None
        try:
            command = _parse(path.stem, data)
        except ValueError as error:
            self._set_aside(path, str(error))
            return None
        if not self._remove(path):
            self._seen.add(path.name)
        return command

    def _set_aside(self, path: Path, problem: str) -> None:
        self._problems.append(f"{path}: not a command: {problem}")
        try:
            path.replace(self._rejected / path.name)
        except OSError:
            self._seen.add(path.name)
        self.answer(path.stem, f"refused: {problem}", done=False)

    @staticmethod
    def _remove(path: Path) -> bool:
        try:
            path.unlink()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


def _parse(identifier: str, data: bytes) -> OperatorCommand:
    """Return the command in a file's content; ValueError says what is wrong with it."""
    if len(data) > MAX_FILE_BYTES:
        raise ValueError(f"longer than {MAX_FILE_BYTES} bytes")
    try:
        document: Any = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(document, dict):
        raise ValueError("no JSON object")  # noqa: TRY004 - one kind of error for a bad file
    if document.get("schema") != SCHEMA:
        raise ValueError(f"schema {document.get('schema')!r} is unknown, expected {SCHEMA}")
    words = [str(known) for known in OperatorWord]
    word = document.get("word")
    if word not in words:
        raise ValueError(f"word {word!r} is unknown, {nearest(str(word), words)}")
    cause, name, utc_s = (document.get(key) for key in ("cause", "name", "utc_s"))
    if not isinstance(cause, str) or not isinstance(name, str):
        raise ValueError("cause and name must be text")  # noqa: TRY004 - as above
    if word == OperatorWord.ACKNOWLEDGE and not (cause.strip() and name.strip()):
        raise ValueError("acknowledge needs cause and name")
    if not isinstance(utc_s, int | float) or isinstance(utc_s, bool):
        raise ValueError("utc_s must be a number")  # noqa: TRY004 - as above
    return OperatorCommand(
        identifier=identifier,
        word=OperatorWord(word),
        cause=cause,
        name=name,
        utc_s=float(utc_s),
    )
