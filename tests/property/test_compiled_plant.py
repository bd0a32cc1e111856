"""Cells give the same compiled as plain, over whole trajectories of whatever is asked of them.

Every number of the state and every voltage, within 1e-12. Functions of `math` may differ in the last
digit between the two (numba takes its own for some), and cells forget such differences: they relax
towards where the current holds them.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import two_rc
from hil import population, records
from tests.numba_extra import CACHE, needs_numba

pytestmark = needs_numba

Cell = tuple[Callable[..., float], Any, Any]


# Each kind of cell: its step, a state, parameters.
CELLS = [pytest.param((two_rc.step, two_rc.State(), two_rc.Parameters()), id="two-rc")]


def leaves(record: Any, prefix: str = "") -> dict[str, float]:
    """Return every number of a record by its dotted name."""
    found: dict[str, float] = {}
    for name in records.fields_of(type(record)):
        value = getattr(record, name)
        for index, one in enumerate(value if isinstance(value, list) else [value]):
            where = f"{prefix}{name}" + (f"[{index}]" if isinstance(value, list) else "")
            if isinstance(one, (bool, int, float)):
                found[where] = float(one)
            else:
                found |= leaves(one, where + ".")
    return found


def differing(plain: dict[str, float], fast: dict[str, float]) -> dict[str, tuple[float, float]]:
    """Return what is neither within 1e-12 nor the same special value."""
    return {
        name: (value, fast[name])
        for name, value in plain.items()
        if not (
            fast[name] == value
            or (value != value and fast[name] != fast[name])
            or abs(fast[name] - value) <= 1e-12 * abs(value)
        )
    }


SENSIBLE_A = st.one_of(st.sampled_from([0.0, 1e-3, -1e-3, 5e-3, -10e-3]), st.floats(-2e-2, 2e-2))
SENSIBLE = st.lists(
    st.tuples(
        SENSIBLE_A,
        st.one_of(st.sampled_from([1.0, 5.0, 30.0]), st.floats(1e-3, 3600.0)),
        st.floats(253.15, 333.15),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=25,
)


@pytest.mark.parametrize("cell", CELLS)
def test_a_trajectory_is_the_same(cell: Cell) -> None:
    step, state, parameters = cell
    run = population.profile(step, state, parameters, compiled=True, cache=CACHE)
    fixed = records.records(parameters)[0]

    @settings(max_examples=150, deadline=None)
    @given(SENSIBLE)
    def check(series: list[tuple[float, float, float, int]]) -> None:
        plain = copy.deepcopy(state)
        row = records.records(plain)[0]
        steps = [one[:3] for one in series for _ in range(one[3])]
        currents_A, dts_s, ambients_K = (np.array(column) for column in zip(*steps, strict=True))
        out_V = np.zeros(len(steps))
        run(row, fixed, currents_A, dts_s, ambients_K, out_V)
        for index, (current_A, dt_s, ambient_K) in enumerate(steps):
            voltage_V = step(plain, parameters, current_A, dt_s, ambient_K)
            assert not differing({"V": voltage_V}, {"V": float(out_V[index])}), index
        assert differing(leaves(plain), leaves(records.from_record(type(state), row))) == {}

    check()


SPECIAL = [0.0, -0.0, 5e-324, -5e-324, 1e-300, 1.7e308, -1.7e308, math.inf, -math.inf, math.nan]
ANY = st.one_of(st.sampled_from(SPECIAL), st.floats())


@pytest.mark.parametrize("cell", CELLS)
def test_whatever_is_asked_is_answered_the_same(cell: Cell) -> None:
    """Not a number, infinite, subnormal, overflowing; also from a state that holds such numbers."""
    step, state, parameters = cell
    run = population.profile(step, state, parameters, compiled=True, cache=CACHE)
    fixed = records.records(parameters)[0]
    names = sorted(leaves(state))

    @settings(max_examples=300, deadline=None)
    @given(
        st.dictionaries(st.sampled_from(names), ANY, max_size=2),
        st.lists(st.tuples(st.one_of(SENSIBLE_A, ANY), ANY, ANY), min_size=1, max_size=5),
    )
    def check(changes: dict[str, float], series: list[tuple[float, float, float]]) -> None:
        plain = copy.deepcopy(state)
        for name, value in changes.items():
            put(plain, name, value)
        row = records.records(plain)[0]
        currents_A, dts_s, ambients_K = (np.array(column) for column in zip(*series, strict=True))
        out_V = np.zeros(len(series))
        run(row, fixed, currents_A, dts_s, ambients_K, out_V)
        for index, (current_A, dt_s, ambient_K) in enumerate(series):
            voltage_V = step(plain, parameters, current_A, dt_s, ambient_K)
            assert not differing({"V": voltage_V}, {"V": float(out_V[index])}), index
        assert differing(leaves(plain), leaves(records.from_record(type(state), row))) == {}

    check()


def put(record: Any, name: str, value: float) -> None:
    """Set the number of a record that `leaves` calls `name`."""
    *path, last = name.split(".")
    for part in path:
        record = getattr(record, part)
    setattr(record, last, value)
