"""Records as objects and as rows: the same values in both."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

import numpy as np
import pytest

from controller.domain.errors import InvariantError
from controller.safety.limits import LimitsRecord
from controller.safety.memory import Memory, new_memory
from hil import records
from tests.safety.build import RECORD


class Mode(enum.IntEnum):
    REST = 0
    RUN = 1


class Electrode:
    __slots__ = ("film_Ohm", "layers", "mode")
    film_Ohm: float
    layers: list[float]
    mode: Mode

    def __init__(self, film_Ohm: float) -> None:
        self.film_Ohm = film_Ohm
        self.layers = [1.0, 2.0]
        self.mode = Mode.RUN


class Cell:
    __slots__ = ("count", "neg", "on", "pos", "time_s")
    SIZE: ClassVar[int] = 3
    WORD: Final = "not a field"
    time_s: float
    count: int
    on: bool
    neg: Electrode
    pos: Electrode

    def __init__(self) -> None:
        self.time_s = 0.5
        self.count = 7
        self.on = True
        self.neg = Electrode(3.0)
        self.pos = Electrode(math.nan)


class Pair(NamedTuple):
    a: float
    b: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    area_cm2: float
    pair: Pair
    pairs: tuple[Pair, ...]
    three: tuple[float, float, float]
    declared: bool


PARAMETERS = Parameters(
    area_cm2=1.5,
    pair=Pair(1.0, 2),
    pairs=(Pair(3.0, 4), Pair(5.0, 6)),
    three=(1.0, 2.0, 3.0),
    declared=False,
)


def test_the_layout_follows_the_annotations() -> None:
    dtype = records.record_dtype(Cell, {"neg.layers": 2, "pos.layers": 0})
    assert dtype.names == ("time_s", "count", "on", "neg", "pos")
    assert [dtype[name] for name in dtype.names[:3]] == [np.float64, np.int64, np.bool_]
    assert dtype["neg"].names == ("film_Ohm", "layers", "mode")
    assert dtype["neg"]["layers"].shape == (2,)
    assert dtype["pos"]["layers"].shape == (0,)
    assert dtype["neg"]["mode"] == np.int64
    assert dtype.isalignedstruct


def test_equal_layouts_are_one_object() -> None:
    first = records.records(Cell())
    assert records.records(Cell()).dtype is first.dtype
    assert records.record_dtype(Cell, {"neg.layers": 3, "pos.layers": 0}) is not first.dtype


def test_a_slots_class_goes_there_and_back() -> None:
    cell = Cell()
    rows = records.records(cell, cell)
    assert rows.shape == (2,)
    cell.neg.film_Ohm = 4.0
    records.to_record(cell, rows[1])
    assert rows["neg"]["film_Ohm"].tolist() == [3.0, 4.0]
    back = records.from_record(Cell, rows[1])
    assert (back.time_s, back.count, back.on) == (0.5, 7, True)
    assert [type(back.time_s), type(back.count), type(back.on)] == [float, int, bool]
    assert back.neg.film_Ohm == 4.0
    assert back.neg.layers == [1.0, 2.0]
    assert back.neg.mode is Mode.RUN
    assert math.isnan(back.pos.film_Ohm)


def test_an_object_is_brought_up_to_its_row_in_place() -> None:
    cell = Cell()
    neg, layers = cell.neg, cell.neg.layers
    rows = records.records(cell)
    rows["time_s"] = 2.0
    rows["neg"]["layers"][0, 1] = 9.0
    records.update(cell, rows[0])
    assert cell.time_s == 2.0
    assert cell.neg is neg
    assert cell.neg.layers is layers
    assert layers == [1.0, 9.0]


def test_parameters_go_there_and_back() -> None:
    row = records.records(PARAMETERS)[0]
    assert records.from_record(Parameters, row) == PARAMETERS
    assert records.lengths_of(PARAMETERS) == {"pairs": 2, "three": 3}
    assert records.from_record(Pair, records.records(Pair(1.0, 2))[0]) == Pair(1.0, 2)


def test_the_supervisors_records_have_a_layout() -> None:
    m = new_memory(RECORD)
    row = records.records(m)[0]
    assert set(row.dtype.names) == set(Memory.__slots__)
    back = records.from_record(Memory, row)
    assert [repr(getattr(back, name)) for name in Memory.__slots__] == [
        repr(getattr(m, name)) for name in Memory.__slots__
    ]
    assert records.from_record(LimitsRecord, records.records(RECORD)[0]) == RECORD


class Bare:
    __slots__ = ("a",)


class Half:
    __slots__ = ("a", "b")
    a: float


class Word(NamedTuple):
    a: str


class Mixed(NamedTuple):
    a: tuple[int, float]


class Listed(NamedTuple):
    a: list[float]


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (Bare, "no record"),
        (Half, "annotation of b"),
        (Word, "neither a number nor a record"),
        (Mixed, "more than one type"),
        (Listed, "length is not given"),
    ],
)
def test_what_is_no_record_is_refused(kind: type, word: str) -> None:
    with pytest.raises(InvariantError, match=word):
        records.record_dtype(kind)
