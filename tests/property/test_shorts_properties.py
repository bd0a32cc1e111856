"""Whatever cycles look like, the detector of shorts gives a number or says nothing."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.cell import CellFormat
from controller.estimation.short_watch import (
    FALLS,
    HALVES,
    LEVELS,
    MODES,
    SINGLES,
    Course,
    ShortFigures,
    ShortWatch,
    close_cycle,
)
from controller.estimation.shorts import ShortMemory, follow, memory_from

LENGTHS = {
    "size_V": LEVELS, "jumps": SINGLES, "returns": SINGLES, "jump_V": SINGLES,
    "fall_V": MODES * FALLS, "half_A": HALVES, "half_Ohm": HALVES, "half_K": HALVES,
    "half_moved_K": HALVES,
}  # fmt: skip
HOURS = (
    "hours",
    "rest_h",
    "charge_h",
    "charged_rest_h",
    "rest_before_h",
    "discharge_h",
    "steady_h",
)
BLANK = close_cycle(ShortWatch(), charge_Ah=0.0, discharge_Ah=0.0)


def number(name: str) -> st.SearchStrategy[float]:
    if name in {"jumps", "returns"}:
        return st.integers(0, 1000)
    if name.endswith("_Ah"):
        return st.one_of(st.just(0.0), st.floats(1e-6, 10.0))
    if name in HOURS:
        return st.one_of(st.just(0.0), st.floats(0.0, 100.0))
    if name in {"charge_A", "discharge_A"}:
        return st.one_of(st.just(0.0), st.floats(1e-6, 10.0))
    if name == "dense_share":
        return st.floats(0.0, 1.0)
    scale = st.floats(200.0, 400.0) if name.endswith("_K") else st.floats(-10.0, 10.0)
    if name in {"size_V", "half_A", "half_Ohm", "polarised_Ohm"}:
        scale = st.floats(1e-9, 1e9)
    return st.one_of(st.just(math.nan), scale)


def courses() -> st.SearchStrategy[tuple[Course, ...]]:
    parts = st.lists(st.floats(-10.0, 10.0), max_size=64).map(tuple)
    amount = st.one_of(st.just(0.0), st.floats(1e-9, 1e3))
    one = st.builds(
        Course,
        current_A=amount,
        from_Ah=amount,
        each_Ah=amount,
        each_s=st.floats(1.0, 1e4),
        moved_K=st.one_of(st.just(math.nan), st.floats(0.0, 1.0)),
        ln_Ohm=parts,
    )
    return st.one_of(st.just(()), st.tuples(*[one] * HALVES))


@st.composite
def cycles(draw: st.DrawFn) -> list[ShortFigures]:
    out, at = [], 0
    for _ in range(draw(st.integers(1, 9))):
        values = asdict(BLANK)
        for one in fields(ShortFigures):
            if one.name == "number" or not draw(st.booleans()):
                continue
            if one.name == "courses":
                values["courses"] = draw(courses())
                continue
            each = number(one.name)
            if one.name in LENGTHS:
                values[one.name] = tuple(draw(each) for _ in range(LENGTHS[one.name]))
            else:
                values[one.name] = draw(each)
        at += draw(st.sampled_from([1, 1, 1, 2]))
        out.append(ShortFigures(**{**values, "number": at}))
    return out


@pytest.mark.parametrize("cell_format", list(CellFormat))
@settings(max_examples=60)
@given(given_cycles=cycles())
def test_any_cycles_are_judged_without_a_crash_or_a_warning(cell_format, given_cycles) -> None:
    memory = ShortMemory()
    for figures in given_cycles:
        evidence = follow(memory, figures, cell_format, 1e-3)
        assert math.isnan(evidence.probability) or 0.0 <= evidence.probability <= 1.0
        assert evidence.words
        assert len(memory.recent) <= 2
    assert repr(memory_from(json.loads(json.dumps(asdict(memory))))) == repr(memory)
