"""Asking for a row ahead: every line of it once, nothing changed, nothing harmed past the end."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from hil import records
from hil.compiled import Array, Entry, build, record_of
from hil.prefetch import LINE_BYTES, prefetch
from tests.numba_extra import CACHE, needs_numba


class Long:
    """Three lines and a half."""

    __slots__ = ("numbers",)
    numbers: list[float]

    def __init__(self) -> None:
        self.numbers = [float(index) for index in range(28)]


def ask(rows: Any, index: int) -> None:
    prefetch(rows, index)


ENTRY = Entry(function=ask, arguments=(Array(of=record_of(Long())), int))
BOTH = [pytest.param(False, id="plain"), pytest.param(True, id="compiled", marks=needs_numba)]


@pytest.mark.parametrize("fast", BOTH)
def test_nothing_changes_wherever_one_asks(fast: bool) -> None:
    (call,) = build([ENTRY], compiled=fast, cache=CACHE)
    rows = records.records(Long(), Long())
    before = rows.tobytes()
    for index in (0, 1, 2, 10**9, -(10**9)):
        call(rows, index)
    assert rows.tobytes() == before


@needs_numba
def test_every_line_of_a_row_is_asked_for(tmp_path: Path) -> None:
    """Four places in three lines and a half, and the last byte: a row may begin within a line."""
    blocked = tmp_path / "file"
    blocked.write_text("no directory")  # what comes from a cache cannot be looked into
    (call,) = build([ENTRY], compiled=True, cache=blocked / "kernels")
    (text,) = call.inspect_llvm().values()
    asked = re.findall(r"call void @llvm\.prefetch\S*\(ptr [^,]*(%[^,]+),", text)
    assert records.dtype_of(Long()).itemsize == 3.5 * LINE_BYTES
    assert len(set(asked)) == len(asked) == 5
