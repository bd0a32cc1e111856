"""Cells give the same compiled as plain, over whole trajectories of whatever is asked of them.

Every number of the state and every voltage, within 1e-12. Functions of `math` may differ in the last
digit between the two (numba takes its own for some), and cells forget such differences: they relax
towards where the current holds them.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import two_rc
from hil import population, records
from hil.cell import kernel
from hil.cell.library import cell_names, load_cell
from hil.cell.parameters import CellParameters
from hil.cell.state import CellState, blank_state
from hil.population import Population
from tests.numba_extra import CACHE, needs_numba

pytestmark = needs_numba

Cell = tuple[Callable[..., float], Any, Any]


def lithium(name: str, **changes: float) -> tuple[Callable[..., float], CellState, CellParameters]:
    """Return a built-in cell's step, state as assembled and parameters, some of them changed."""
    parameters = dataclasses.replace(load_cell(name).parameters(1), **changes)
    state = blank_state()
    kernel.begin(state, parameters, 298.15, 7.0)
    return kernel.step, state, parameters


SHORTING = {"short_hazard_per_mAh_per_cm2": 0.3, "short_hard_share": 0.3, "short_on_s": 3.0}
MARCUS = {"marcus_eV": 0.3, "pressure_mode": 2.0, "foil_activity": 0.3}
MEDIATED = {"mediator_per_h": 2.0, "shuttle_mA_per_cm2": 0.05, "mediator_shuttle_mA_per_cm2": 0.1}
# Each kind of cell: its step, a state, parameters.
CELLS = [
    pytest.param((two_rc.step, two_rc.State(), two_rc.Parameters()), id="two-rc"),
    *(pytest.param(lithium(name), id=name) for name in cell_names()),
    pytest.param(lithium("anode-free", **MARCUS), id="marcus"),
    pytest.param(lithium("excess-lithium", **MEDIATED), id="mediated"),
    pytest.param(lithium("anode-free", **SHORTING), id="shorting"),
    pytest.param(lithium("li-li", **SHORTING, short_at_start=1.0), id="shorted"),
    pytest.param(lithium("li-cu", pressure_mode=0.0, conductivity_S_per_m=0.1), id="starved"),
]


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


BEYOND_V = 30.0
SENSIBLE = st.lists(
    st.tuples(
        # in multiples of the current that fills the cell in an hour
        st.one_of(
            st.sampled_from([0.0, 0.1, -0.1, 1 / 3, -1 / 3, 3.0, -3.0]), st.floats(-8.0, 8.0)
        ),
        st.one_of(st.sampled_from([1.0, 5.0, 30.0]), st.floats(1e-3, 600.0)),
        st.one_of(st.just(298.15), st.floats(253.15, 333.15)),
        st.integers(1, 10),
    ),
    min_size=1,
    max_size=10,
)


def hourly_A(parameters: Any) -> float:
    if isinstance(parameters, CellParameters):
        return parameters.nominal_capacity_mAh * 1e-3
    return float(parameters.capacity_Ah)


@pytest.mark.parametrize("cell", CELLS)
def test_a_trajectory_is_the_same(cell: Cell) -> None:
    step, state, parameters = cell
    run = population.loops(step, state, parameters, compiled=True, cache=CACHE).run_profile
    fixed = records.records(parameters)[0]
    unit_A = hourly_A(parameters)

    @settings(max_examples=20)
    @given(SENSIBLE)
    def check(series: list[tuple[float, float, float, int]]) -> None:
        plain = copy.deepcopy(state)
        row = records.records(plain)[0]
        out_V = np.zeros(1)
        for rate, dt_s, ambient_K, count in series:
            asked = (rate * unit_A, dt_s, ambient_K)
            for _ in range(count):
                run(row, fixed, *(np.array([one]) for one in asked), out_V)
                voltage_V = step(plain, parameters, *asked)
                assert not differing({"V": voltage_V}, {"V": float(out_V[0])})
                if not abs(voltage_V) < BEYOND_V:
                    return  # emptied or overcharged beyond all physics: the cell would refuse
        assert differing(leaves(plain), leaves(records.from_record(type(state), row))) == {}

    check()


@pytest.mark.parametrize("cell", CELLS)
def test_in_lockstep_every_bit_is_as_one_by_one(cell: Cell) -> None:
    step, state, parameters = cell
    together, one_by_one = (
        Population(step, [state] * 3, [parameters] * 3, compiled=True, cache=CACHE)
        for _ in range(2)
    )
    unit_A = hourly_A(parameters)
    for rate in (0.5, 3.0, 0.0, -0.5, -0.1):
        for _ in range(50):
            currents_A = rate * unit_A * np.array([1.0, 0.3, 0.9])
            together.step(currents_A, 5.0, 298.15)
            for index, current_A in enumerate(currents_A.tolist()):
                one_by_one.step_cell(index, current_A, 5.0, 298.15)
    assert together.states.tobytes() == one_by_one.states.tobytes()


SPECIAL = [0.0, -0.0, 5e-324, -5e-324, 1e-300, 1.7e308, -1.7e308, math.inf, -math.inf, math.nan]
ANY = st.one_of(st.sampled_from(SPECIAL), st.floats())
# A long step at a current beyond all sense is cut into more parts than one waits for in Python.
ANY_TIME = ANY.filter(lambda dt_s: not dt_s > 0.1)


@pytest.mark.parametrize("cell", CELLS[:2] + CELLS[7:])
def test_whatever_is_asked_is_answered_the_same(cell: Cell) -> None:
    """Not a number, infinite, subnormal, overflowing; also from a state that holds such numbers.

    Around a cell stands a check of what is asked of it. Beyond that a division may raise in Python
    where compiled code gives an infinity; nothing is compared from there on.
    """
    step, state, parameters = cell
    run = population.loops(step, state, parameters, compiled=True, cache=CACHE).run_profile
    fixed = records.records(parameters)[0]
    names = sorted(leaves(state))

    @settings(max_examples=60)
    @given(
        st.dictionaries(st.sampled_from(names), ANY, max_size=2),
        st.lists(st.tuples(ANY, ANY_TIME, ANY), min_size=1, max_size=3),
    )
    def check(changes: dict[str, float], series: list[tuple[float, float, float]]) -> None:
        plain = copy.deepcopy(state)
        for name, value in changes.items():
            put(plain, name, value)
        row = records.records(plain)[0]
        for asked in series:
            out_V = np.zeros(1)
            run(row, fixed, *(np.array([one]) for one in asked), out_V)
            try:
                voltage_V = step(plain, parameters, *asked)
            except ZeroDivisionError:
                return
            assert not differing({"V": voltage_V}, {"V": float(out_V[0])})
        assert differing(leaves(plain), leaves(records.from_record(type(state), row))) == {}

    check()


def put(record: Any, name: str, value: float) -> None:
    """Set the number of a record that `leaves` calls `name`."""
    *path, last = name.split(".")
    for part in path:
        record = getattr(record, part)
    setattr(record, last, value)
