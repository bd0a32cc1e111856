"""Building compiled kernels: with and without numba, and what becomes of the cache."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from hil import compiled, records
from hil.compiled import Array, Entry, Record, build, cache_directory
from tests.numba_extra import CACHE, needs_numba

SCALE = 3.0


class Inner:
    __slots__ = ("x",)
    x: float


class State:
    __slots__ = ("count", "inner", "on", "sums")
    count: int
    on: bool
    inner: Inner
    sums: list[float]

    def __init__(self, x: float = 1.0) -> None:
        self.count = 0
        self.on = False
        self.inner = Inner()
        self.inner.x = x
        self.sums = [0.0, 0.0]


class Move(NamedTuple):
    by: float
    times: int


class Answer(NamedTuple):
    x: float
    y: float


def scaled(x: float) -> float:
    return SCALE * x


def step(s: State, move: Move, on: bool) -> Answer:
    s.count += move.times
    s.on = on
    s.inner.x += scaled(move.by)
    s.sums[1] += s.inner.x
    return Answer(s.inner.x, s.sums[1])


def step_all(states: list[State], by: list[float], out: list[float]) -> None:
    for index in range(len(states)):
        s = states[index]
        s.inner.x += scaled(by[index])
        out[index] = s.inner.x / (s.inner.x - s.inner.x)


def divide(x: float, y: float) -> float:
    return x / y


STATE = Record(kind=State, lengths={"sums": 2})
STEP = Entry(function=step, arguments=(STATE, Move, bool))
STEP_ALL = Entry(
    function=step_all,
    arguments=(Array(of=STATE), Array(of=float), Array(of=float)),
)
DIVIDE = Entry(function=divide, arguments=(float, float))
BOTH = [pytest.param(False, id="plain"), pytest.param(True, id="compiled", marks=needs_numba)]


@pytest.fixture(autouse=True)
def _forgetful() -> Iterator[None]:
    """Take away what this process has loaded, so that the next build asks the cache."""
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("reactivation_kernels"):
            del sys.modules[name]


@pytest.mark.parametrize("fast", BOTH)
def test_a_row_is_stepped_in_place(fast: bool) -> None:
    (call,) = build([STEP], compiled=fast, cache=CACHE)
    rows = records.records(State(1.0), State(2.0))
    answer = call(rows[1], Move(0.5, 2), True)
    assert answer == (3.5, 3.5)
    assert type(answer) is Answer
    assert rows["inner"]["x"].tolist() == [1.0, 3.5]
    assert rows[1]["on"]
    assert rows[1]["count"] == 2


def test_without_numba_arrays_are_stepped_too() -> None:
    (call,) = build([STEP_ALL], compiled=False)
    rows = records.records(State(0.0), State(2.0))
    out = np.zeros(2)
    with pytest.raises(ZeroDivisionError):
        call(rows, np.array([1.0, 2.0]), out)


@needs_numba
def test_where_python_would_raise_it_goes_by_ieee_754() -> None:
    divided, all_of_them = build([DIVIDE, STEP_ALL], compiled=True, cache=CACHE)
    assert divided(1.0, 0.0) == math.inf
    assert divided(-1.0, 0.0) == -math.inf
    assert math.isnan(divided(0.0, 0.0))
    rows = records.records(State(1.0), State(-2.0))
    out = np.zeros(2)
    all_of_them(rows, np.array([1.0, -2.0]), out)
    assert rows["inner"]["x"].tolist() == [4.0, -8.0]
    assert out.tolist() == [math.inf, -math.inf]


@needs_numba
def test_other_types_are_refused_not_compiled() -> None:
    (divided,) = build([DIVIDE], compiled=True, cache=CACHE)
    with pytest.raises(TypeError, match="No matching definition"):
        divided(1.0, np.zeros(2))


def test_without_numba_it_says_so_and_runs_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    compiled.why_not.cache_clear()
    try:
        assert not compiled.available()
        assert "[fast]" in compiled.why_not()
        (divided,) = build([DIVIDE])
        assert divided(1.0, 2.0) == 0.5
        with pytest.raises(ZeroDivisionError):
            divided(1.0, 0.0)
    finally:
        compiled.why_not.cache_clear()


def test_importing_hil_does_not_import_numba() -> None:
    code = (
        "import sys, hil.rig, hil.compiled, hil.population; "
        "sys.exit('numba' in sys.modules or 'llvmlite' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("system", "variable", "parts"),
    [
        ("linux", "XDG_CACHE_HOME", ()),
        ("win32", "LOCALAPPDATA", ()),
        ("linux", "", (".cache",)),
        ("win32", "", ("AppData", "Local")),
        ("darwin", "", ("Library", "Caches")),
    ],
)
def test_the_cache_lies_where_the_platform_has_it(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    system: str,
    variable: str,
    parts: tuple[str, ...],
) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path))
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    expected = tmp_path.joinpath(*parts, "lithium-reactivation", "kernels")
    assert cache_directory() == expected


def folders(cache: Path) -> list[Path]:
    return sorted(path for path in cache.iterdir() if path.is_dir())


def written(folder: Path) -> dict[str, int]:
    """Return when each file of a program was written."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


def forget() -> None:
    for name in [name for name in sys.modules if name.startswith("reactivation_kernels")]:
        del sys.modules[name]


@needs_numba
def test_the_second_build_takes_what_the_first_compiled(tmp_path: Path) -> None:
    build([DIVIDE], compiled=True, cache=tmp_path)
    (folder,) = folders(tmp_path)
    before = written(folder)
    forget()
    (divided,) = build([DIVIDE], compiled=True, cache=tmp_path)
    assert sum(divided.stats.cache_hits.values()) == 1
    assert folders(tmp_path) == [folder]
    assert written(folder) == before
    assert divided(1.0, 4.0) == 0.25


@needs_numba
def test_another_constant_in_a_callee_is_another_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (first,) = build([STEP], compiled=True, cache=tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "SCALE", 5.0)
    (second,) = build([STEP], compiled=True, cache=tmp_path)
    assert len(folders(tmp_path)) == 2
    rows = records.records(State(0.0), State(0.0))
    assert first(rows[0], Move(1.0, 0), False).x == 3.0
    assert second(rows[1], Move(1.0, 0), False).x == 5.0


@needs_numba
def test_another_way_of_asking_ahead_is_another_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build([DIVIDE], compiled=True, cache=tmp_path)
    monkeypatch.setattr(compiled.inspect, "getsource", lambda module: f"another {module}")
    build([DIVIDE], compiled=True, cache=tmp_path)
    assert len(folders(tmp_path)) == 2


@needs_numba
@pytest.mark.parametrize("suffix", [".py", ".nbi", ".nbc", ".json"])
@pytest.mark.parametrize(
    "content", [b"", b"\x80\x05garbage", None], ids=["empty", "garbage", "gone"]
)
def test_a_damaged_program_is_made_anew(tmp_path: Path, suffix: str, content: bytes | None) -> None:
    build([DIVIDE], compiled=True, cache=tmp_path)
    (folder,) = folders(tmp_path)
    (damaged,) = [path for path in folder.rglob("*") if path.suffix == suffix]
    if content is None:
        damaged.unlink()
    else:
        damaged.write_bytes(content)
    forget()
    (divided,) = build([DIVIDE], compiled=True, cache=tmp_path)
    assert divided(1.0, 4.0) == 0.25
    forget()
    (again,) = build([DIVIDE], compiled=True, cache=tmp_path)
    assert sum(again.stats.cache_hits.values()) == 1


@needs_numba
def test_where_nothing_can_be_written_it_works_without(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no directory")
    (divided,) = build([DIVIDE], compiled=True, cache=blocked / "kernels")
    assert divided(1.0, 4.0) == 0.25


@needs_numba
def test_two_processes_at_once_make_one_program(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.unit.test_compiled import DIVIDE\n"
        "from hil.compiled import build\n"
        "(divided,) = build([DIVIDE], compiled=True, cache=Path(sys.argv[1]))\n"
        "print(divided(1.0, 4.0), sum(divided.stats.cache_hits.values()))"
    )
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env=environment,
        )
        for _ in range(2)
    ]
    said = sorted(process.communicate(timeout=100)[0].split()[-1] for process in running)
    assert said == ["0", "1"]
    assert len(folders(tmp_path)) == 1


@needs_numba
def test_only_the_programs_used_last_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "KEPT", 2)
    found: list[Path] = []
    for value in (1.0, 2.0, 3.0):
        monkeypatch.setattr(sys.modules[__name__], "SCALE", value)
        build([Entry(function=scaled, arguments=(float,))], compiled=True, cache=tmp_path)
        (new,) = set(folders(tmp_path)) - set(found)
        os.utime(new, (value, value))
        found.append(new)
    assert folders(tmp_path) == sorted(found[1:])


@needs_numba
def test_the_users_numba_cache_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numba

    elsewhere = tmp_path / "elsewhere"
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(elsewhere))
    build([DIVIDE], compiled=True, cache=tmp_path / "ours")
    assert Path(numba.config.CACHE_DIR) == elsewhere
    assert not elsewhere.exists()
