"""The text from which kernels are compiled holds all that their results depend on."""

from __future__ import annotations

import importlib
import itertools
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from controller.domain.errors import InvariantError
from hil.kernel_source import Source, mangled, name_of, resolve

CALLEE = """
from enum import IntEnum
from typing import Final, NamedTuple

GAIN: Final = -2.5
class Way(IntEnum):
    UP = 1
class Pair(NamedTuple):
    a: float
    b: float
def twice(x: float) -> float:
    '''Words.'''
    return 2.0 * x  # words
"""
TOP = """
import math
from math import fabs

from {callee} import GAIN, Pair, Way, twice
import {callee} as other

NOTHING = Pair(math.nan, -math.inf)
TABLE = (1, True, 2.0)
def top(x: float, count: int) -> Pair:
    total: float = 0.0
    if count < 0:
        return NOTHING
    for index in range(count):
        for _ in range(2):
            total += twice(fabs(x)) * GAIN ** 2 + TABLE[index] + Way.UP
    return Pair(total, max(math.exp(0.0), other.twice(other.GAIN), float(len(TABLE))))
"""

PRELUDE = "def kernel(function):\n    return function\n\nentry = kernel\n"
COUNT = itertools.count()


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """Write a callee and a module that uses it; return the second, imported under a new name."""
    monkeypatch.syspath_prepend(str(tmp_path))
    made: list[str] = []

    def make(top: str = TOP, callee: str = CALLEE, name: str = "") -> ModuleType:
        number = name or f"reactivation_made_{next(COUNT)}"
        (tmp_path / f"{number}_callee.py").write_text(callee)
        (tmp_path / f"{number}.py").write_text(top.format(callee=f"{number}_callee"))
        for module in (f"{number}_callee", number):
            sys.modules.pop(module, None)
            made.append(module)
        importlib.invalidate_caches()
        return importlib.import_module(number)

    yield make
    for module in made:
        sys.modules.pop(module, None)


def text(module: ModuleType) -> str:
    source = Source()
    return source.text(PRELUDE, [source.add(module.top)])


def run(written: str) -> dict[str, Any]:
    scope: dict[str, Any] = {}
    exec(written, scope)  # noqa: S102 -- what the test itself had written
    return scope


def test_the_text_is_the_same_program(modules: Callable[..., ModuleType]) -> None:
    module = modules()
    top = run(text(module))[mangled(module.__name__, "top")]
    assert top(1.5, 2) == module.top(1.5, 2)
    assert repr(top(1.5, -1)) == repr(module.top(1.5, -1))
    assert type(top(1.5, 2)) is type(module.top(1.5, 2))
    assert "ords" not in text(module).replace("what is written here", "")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("GAIN: Final = -2.5", "GAIN: Final = -2.25"),
        ("2.0 * x", "2.0 * x * 1.0"),
        ("UP = 1", "UP = 2"),
        ("b: float", "c: float"),
    ],
)
def test_an_edit_anywhere_below_is_another_text(
    modules: Callable[..., ModuleType], old: str, new: str
) -> None:
    module = modules()
    before = text(module)
    assert old in CALLEE
    assert text(modules(callee=CALLEE.replace(old, new), name=module.__name__)) != before


@pytest.mark.parametrize(
    ("old", "new"), [("Words.", "Other words."), ("# words", ""), ("x: float", "x: int")]
)
def test_words_are_not_part_of_it(modules: Callable[..., ModuleType], old: str, new: str) -> None:
    module = modules()
    before = text(module)
    assert text(modules(callee=CALLEE.replace(old, new), name=module.__name__)) == before


def halved(x: float) -> float:
    return 0.5 * x


def test_another_function_can_be_bound_to_a_name(modules: Callable[..., ModuleType]) -> None:
    module = modules()
    source = Source(bind={f"{module.__name__}:twice": halved})
    name = source.add(module.top)
    top = run(source.text(PRELUDE, [name]))[name]
    assert top(2.0, 1).a == 2.0 * (1.0 * 6.25 + 1.0 + 1.0)
    assert module.top(2.0, 1).a == 2.0 * (4.0 * 6.25 + 1.0 + 1.0)
    assert halved in source.functions


APART = "def top(s):\n    for _ in range(1):\n        a, (b) = s.places\n    c, d = s.places\n    return a - b + 2.0 * (c - d)\n"


def test_a_field_is_taken_apart_element_by_element(modules: Callable[..., ModuleType]) -> None:
    module = modules(top=APART)
    written = text(module)
    assert "s.places[1]" in written
    top = run(written)[mangled(module.__name__, "top")]
    state = SimpleNamespace(places=[5.0, 3.0])
    assert top(state) == module.top(state) == 6.0


def test_a_field_is_taken_apart_into_variables_only(modules: Callable[..., ModuleType]) -> None:
    """Element by element the second would read what the first has written."""
    with pytest.raises(InvariantError, match="no plain variables"):
        text(modules(top="def top(s):\n    s.places[1], s.places[0] = s.places\n"))


def test_what_the_prelude_gives_is_called_and_not_copied(
    modules: Callable[..., ModuleType],
) -> None:
    module = modules()
    twice = sys.modules[f"{module.__name__}_callee"].twice
    source = Source(given=[twice])
    name = source.add(module.top)
    given = f"def {mangled(twice.__module__, 'twice')}(x):\n    return 0.5 * x\n"
    top = run(source.text(PRELUDE + given, [name]))[name]
    assert top(2.0, 1).a == 2.0 * (1.0 * 6.25 + 1.0 + 1.0)


def test_only_what_python_calls_is_an_entry(modules: Callable[..., ModuleType]) -> None:
    module = modules()
    source = Source()
    name = source.add(module.top)
    written = source.text("", [name])
    assert written.count("@entry\n") == 1
    assert f"@entry\ndef {name}(" in written
    assert "__twice(" in written.partition("@kernel\ndef ")[2]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ("return print(x)", "print"),
        ("return unknown(x)", "not known"),
        ("return WORDS", "nothing that a kernel"),
        ("return List(x)", "no named tuple"),
        ("return top(x)", "calls itself"),
        ("return TABLE", "nothing that a kernel"),
    ],
)
def test_what_cannot_stand_in_the_text_is_refused(
    modules: Callable[..., ModuleType], body: str, word: str
) -> None:
    head = "WORDS = 'abc'\nTABLE = (1, 'a')\nclass List(list):\n    pass\n"
    module = modules(top=head + f"def top(x):\n    {body}\n")
    with pytest.raises(InvariantError, match=word):
        text(module)


def test_decorated_defaulted_and_inner_functions_are_refused(
    modules: Callable[..., ModuleType],
) -> None:
    with pytest.raises(InvariantError, match="decorators or defaults"):
        text(modules(top="def top(x=1):\n    return x\n"))
    with pytest.raises(InvariantError, match="no source of its own"):
        Source().add(lambda x: x)
    with pytest.raises(InvariantError, match="no plain function"):
        Source().add(math.exp)


def test_names_go_there_and_back() -> None:
    assert resolve(name_of(halved)) is halved


def test_what_is_bound_must_be_called_by_its_module(modules: Callable[..., ModuleType]) -> None:
    """A name of another module stays as it is."""
    module = modules()
    source = Source(bind={"elsewhere:twice": halved})
    source.add(module.top)
    assert halved not in source.functions
