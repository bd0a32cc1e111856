"""The impedance kernels give the same compiled as plain, whatever comes.

Logarithm and exponential may differ in the last bit between the two: numbers within 1e-12 of each
other (1e-9 where many readings add up), what was completed and said exactly.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.estimation.impedance import filter as circuit_filter
from controller.estimation.impedance import steps
from controller.estimation.impedance.filter import OnePair, TwoPairs
from controller.estimation.impedance.steps import Steps
from hil import records
from hil.compiled import Entry, build, record_of
from tests.numba_extra import CACHE, needs_numba

pytestmark = needs_numba

SPECIAL = [0.0, -0.0, 5e-324, -5e-324, 2.3e-308, 1.7e308, -1.7e308, math.inf, -math.inf, math.nan]
ANY = st.one_of(st.sampled_from(SPECIAL), st.floats())
DT_S = st.one_of(st.sampled_from([0.01, 0.1, 0.5, 1.0, 3.0]), st.floats(1e-3, 20.0), ANY)
CURRENT_A = st.one_of(st.sampled_from([0.0, 1e-3, -2e-3, 5e-3]), ANY)
VOLTAGE_V = st.one_of(st.floats(3.0, 4.2), ANY)
ROWS = st.lists(st.tuples(DT_S, CURRENT_A, VOLTAGE_V, st.integers(0, 7)), max_size=40)


def same(plain: object, row: np.void, rel: float) -> None:
    """Compare every field of the two records."""
    other = records.from_record(type(plain), row)
    for name in records.fields_of(type(plain)):
        expected = getattr(plain, name)
        found = getattr(other, name)
        assert found == pytest.approx(expected, rel=rel, abs=1e-300, nan_ok=True), name


@functools.cache
def compiled_steps() -> Callable[..., Any]:
    arguments = (record_of(Steps(min_step_A=1e-4)), float, float, float, float, int)
    return build([Entry(function=steps.observe, arguments=arguments)], compiled=True, cache=CACHE)[0]  # fmt: skip


@settings(max_examples=300)
@given(ROWS)
def test_the_step_resistances_are_the_same(rows: list[tuple[float, float, float, int]]) -> None:
    observe = compiled_steps()
    plain = Steps(min_step_A=1e-4)
    row = records.records(plain)[0]
    for index, (dt_s, current_A, voltage_V, flags) in enumerate(rows):
        given_ = (float(index), dt_s, current_A, voltage_V, flags)
        assert observe(row, *given_) == steps.observe(plain, *given_)
    same(plain, row, 1e-9)


MAKE: dict[str, tuple[Callable[[], OnePair | TwoPairs], Callable[..., int]]] = {
    "one": (
        lambda: OnePair(noise_V=1e-4, min_step_A=1e-4, nominal_capacity_Ah=3e-3),
        circuit_filter.observe_one,
    ),
    "two": (
        lambda: TwoPairs(noise_V=1e-4, min_step_A=1e-4, nominal_capacity_Ah=3e-3),
        circuit_filter.observe_two,
    ),
}


@functools.cache
def compiled_filter(pairs: str) -> Callable[..., Any]:
    make, observe = MAKE[pairs]
    arguments = (record_of(make()), float, float, float, int)
    return build([Entry(function=observe, arguments=arguments)], compiled=True, cache=CACHE)[0]


@pytest.mark.parametrize("pairs", list(MAKE))
def test_the_filter_is_the_same(pairs: str) -> None:
    fast = compiled_filter(pairs)
    make, slow = MAKE[pairs]

    @settings(max_examples=300)
    @given(ROWS)
    def check(rows: list[tuple[float, float, float, int]]) -> None:
        plain = make()
        row = records.records(plain)[0]
        for one in rows:
            assert fast(row, *one) == slow(plain, *one)
        same(plain, row, 1e-9)

    check()


@pytest.mark.parametrize("pairs", list(MAKE))
def test_the_filter_is_the_same_over_thousands_of_readings(pairs: str) -> None:
    fast = compiled_filter(pairs)
    make, slow = MAKE[pairs]
    plain = make()
    row = records.records(plain)[0]
    normal = np.random.default_rng(1).standard_normal(4000).tolist()
    for index, one in enumerate(normal):
        current_A = 1e-3 if (index // 40) % 2 else -1e-3
        reading = (1.0, current_A, 3.7 + 12.0 * current_A + 1e-4 * one, 0)
        assert fast(row, *reading) == slow(plain, *reading)
    same(plain, row, 1e-9)
