"""Words from another terminal to a running (or latched) run."""

from __future__ import annotations

from pathlib import Path

from controller.domain.errors import RunDirectoryError
from controller.hal.locks import run_directory_holder
from controller.io.mailbox import send, wait_for_answer

ANSWER_TIMEOUT_S = 40.0


def give(run_dir: Path, word: str, *, cause: str = "", name: str = "") -> str:
    """Leave `word` for the run in `run_dir` and return its answer.

    Raises
    ------
    RunDirectoryError
        There is no run in the directory, or none is running that could obey.
    ConfigurationError
        An acknowledgement without cause or name.
    """
    if not (run_dir / "run.sqlite").exists():
        raise RunDirectoryError(f"{run_dir}: no run here (there is no run.sqlite)")
    running = run_directory_holder(run_dir)
    if running is None and word != "acknowledge":
        raise RunDirectoryError(f"{run_dir}: no run is going on here; nothing to {word}")
    ticket = send(run_dir, word, cause=cause, name=name)
    if running is None:
        return f"noted; it is examined when the run goes on: reactivate run --out {run_dir}"
    answer = wait_for_answer(run_dir, ticket, timeout_s=ANSWER_TIMEOUT_S)
    if answer is None:
        return f"left for the run, which has not answered within {ANSWER_TIMEOUT_S:g} s"
    return answer.message
