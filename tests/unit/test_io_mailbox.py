"""Commands reach the run once, in order; anything else in the folder harms nothing."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from controller.domain.errors import ConfigurationError, RunDirectoryError
from controller.io import mailbox as module
from controller.io.mailbox import MAX_FILE_BYTES, Mailbox, OperatorWord, send, wait_for_answer


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "run.sqlite").touch()
    return tmp_path


def put(run_dir: Path, name: str, content: object) -> None:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    (run_dir / "commands" / name).write_bytes(data)


VALID = {"schema": 1, "word": "stop", "cause": "", "name": "", "utc_s": 1.0}


def test_commands_come_once_and_in_order(run_dir: Path) -> None:
    box = Mailbox(run_dir)
    assert box.take() == []
    for word in ("pause", "resume", "stop"):
        send(run_dir, word)
        time.sleep(0.002)
    send(run_dir, "acknowledge", cause=" fan failed, replaced ", name="N. Ohm")
    taken = box.take()
    assert [command.word for command in taken] == [
        OperatorWord.PAUSE,
        OperatorWord.RESUME,
        OperatorWord.STOP,
        OperatorWord.ACKNOWLEDGE,
    ]
    assert (taken[-1].cause, taken[-1].name) == ("fan failed, replaced", "N. Ohm")
    assert box.take() == []
    assert box.problems() == []
    assert not list((run_dir / "commands").glob("*.json"))


def test_a_command_sent_before_the_mailbox_was_made_waits(run_dir: Path) -> None:
    identifier = send(run_dir, "stop")
    box = Mailbox(run_dir)
    assert box.refuse_waiting("sent before this run began") == 1
    answer = wait_for_answer(run_dir, identifier, 0.0)
    assert answer is not None
    assert (answer.done, answer.message) == (False, "sent before this run began")
    assert box.refuse_waiting("again") == 0


def test_the_sender_hears_what_was_done(run_dir: Path) -> None:
    box = Mailbox(run_dir)
    identifier = send(run_dir, "pause")
    (command,) = box.take()
    assert command.identifier == identifier
    timer = threading.Timer(0.05, lambda: box.answer(identifier, "paused at 3.71 V", done=True))
    timer.start()
    answer = wait_for_answer(run_dir, identifier, 5.0)
    timer.join()
    assert answer is not None
    assert (answer.done, answer.message) == (True, "paused at 3.71 V")


def test_an_unanswered_command_is_taken_back(run_dir: Path) -> None:
    identifier = send(run_dir, "stop")
    assert wait_for_answer(run_dir, identifier, 0.02) is None
    assert Mailbox(run_dir).take() == []


@pytest.mark.parametrize(
    ("word", "cause", "name", "message"),
    [
        ("stopp", "", "", "did you mean 'stop'"),
        ("", "", "", "choose one of"),
        ("acknowledge", "", "A", "cause: missing"),
        ("acknowledge", "fan", "  ", "name: missing"),
    ],
)
def test_a_wrong_command_is_refused_before_it_is_sent(
    run_dir: Path, word: str, cause: str, name: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        send(run_dir, word, cause=cause, name=name)
    assert not (run_dir / "commands").exists()


def test_no_run_nobody_to_tell(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="no run to tell"):
        send(tmp_path, "stop")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "Expecting value"),
        (b"{", "Expecting"),
        (b"\xff\xfe\x00", "codec can't decode"),
        (b"[" * 50_000, "nested too deeply"),
        (b'"' + b"a" * MAX_FILE_BYTES, "longer than"),
        ([], "no JSON object"),
        ({}, "schema None is unknown"),
        ({**VALID, "schema": 2}, "schema 2 is unknown"),
        ({**VALID, "word": "stpo"}, "did you mean 'stop'"),
        ({**VALID, "word": ["stop"]}, "is unknown"),
        ({**VALID, "cause": 1}, "must be text"),
        ({**VALID, "utc_s": "now"}, "must be a number"),
        ({**VALID, "utc_s": True}, "must be a number"),
        ({**VALID, "word": "acknowledge", "cause": "x", "name": " "}, "needs cause and name"),
    ],
)
def test_a_malformed_file_is_moved_aside_and_told(
    run_dir: Path, content: object, problem: str
) -> None:
    box = Mailbox(run_dir)
    put(run_dir, "0001-x.json", content)
    put(run_dir, "0002-y.json", VALID)
    assert [command.identifier for command in box.take()] == ["0002-y"]
    (told,) = box.problems()
    assert "0001-x.json" in told
    assert problem in told
    assert box.problems() == []
    assert (run_dir / "commands" / "rejected" / "0001-x.json").exists()
    answer = wait_for_answer(run_dir, "0001-x", 0.0)
    assert answer is not None
    assert not answer.done
    assert problem in answer.message
    assert box.take() == []


def test_other_files_are_left_alone(run_dir: Path) -> None:
    box = Mailbox(run_dir)
    for name in ("notes.txt", ".0001.json.77.part", ".hidden.json"):
        put(run_dir, name, VALID)
    assert box.take() == []
    assert box.problems() == []
    assert (run_dir / "commands" / "notes.txt").exists()


def test_a_file_that_cannot_be_removed_acts_once(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Mailbox(run_dir)
    send(run_dir, "stop")
    with monkeypatch.context() as patch:  # as on Windows, while a scanner holds the file

        def held(*_: object) -> None:
            raise PermissionError

        patch.setattr(Path, "unlink", held)
        assert len(box.take()) == 1
        assert box.take() == []
    assert box.take() == []
    assert not list((run_dir / "commands").glob("*.json"))
    send(run_dir, "stop")
    assert len(box.take()) == 1


def test_a_folder_that_went_away_is_told_not_raised(run_dir: Path) -> None:
    box = Mailbox(run_dir)
    for folder in ("done", "rejected", ""):
        (run_dir / "commands" / folder).rmdir()
    assert box.take() == []
    box.answer("x", "y", done=True)
    first, second = box.problems()
    assert "cannot be read" in first
    assert "cannot be written" in second


def test_a_half_written_command_is_never_seen(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Mailbox(run_dir)
    seen: list[int] = []
    real = module.atomic_write

    def watched(path: Path, data: bytes) -> None:
        real(path.with_name("." + path.name + ".1.part"), data[:10])
        seen.append(len(box.take()))
        real(path, data)

    monkeypatch.setattr(module, "atomic_write", watched)
    send(run_dir, "stop")
    assert seen == [0]
    assert len(box.take()) == 1
