"""Populations of cells: each cell as if it were alone, compiled as plain, on any number of threads."""

from __future__ import annotations

import math
import threading

import numpy as np
import pytest

from benchmarks import two_rc
from controller.domain.errors import ConfigurationError, InvariantError
from hil import population, records
from hil.population import CHARGE_CC, SHARED_FROM, Cycling, Population, Turn, next_current
from tests.numba_extra import CACHE, needs_numba


def two_rc_values(s: two_rc.State) -> list[float]:
    return [s.soc, s.temperature_K, s.fast.V, s.slow.V]


BOTH = [pytest.param(False, id="plain"), pytest.param(True, id="compiled", marks=needs_numba)]
CYCLING = Cycling(
    charge_A=1e-3,
    discharge_A=1.5e-3,
    upper_V=4.3,
    lower_V=3.0,
    taper_A=1e-4,
    regulation_Ohm=30.0,
)


def cells(count: int, *, fast: bool, threads: int = 1) -> Population:
    return Population(
        two_rc.step,
        [two_rc.State(0.2 + 0.6 * index / count) for index in range(count)],
        [two_rc.Parameters(3e-3 + 1e-5 * index) for index in range(count)],
        [CYCLING] * count,
        compiled=fast,
        threads=threads,
        cache=CACHE,
    )


@pytest.mark.parametrize("fast", BOTH)
def test_each_cell_is_stepped_as_if_it_were_alone(fast: bool) -> None:
    many = cells(5, fast=fast)
    currents_A = np.linspace(-2e-3, 2e-3, 5)
    many.step(currents_A, 10.0, 300.0)
    found = many.step(currents_A, 10.0, 300.0)
    for index, current_A in enumerate(currents_A.tolist()):
        s = two_rc.State(0.2 + 0.6 * index / 5)
        p = two_rc.Parameters(3e-3 + 1e-5 * index)
        two_rc.step(s, p, current_A, 10.0, 300.0)
        assert found[index] == pytest.approx(two_rc.step(s, p, current_A, 10.0, 300.0), rel=1e-12)
        alone, among = two_rc_values(s), two_rc_values(many.state(index))
        assert among == pytest.approx(alone, rel=1e-12)
    alone = two_rc.step(s, p, 1e-3, 2.0, 300.0)
    assert many.step_cell(4, 1e-3, 2.0, 300.0) == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("fast", BOTH)
def test_cells_are_cycled_between_their_cut_offs(fast: bool) -> None:
    many = cells(2, fast=fast)
    seen_V = []
    for _ in range(60):
        many.cycle(20, 20.0, 298.15)
        seen_V.append(many.voltages_V.copy())
    assert many.turns["cycles"].tolist() == [1, 1]
    assert np.max(seen_V) < 4.31
    assert np.max(seen_V) > 4.29
    assert np.min(seen_V) > 2.9
    assert many.turns["last_charge_Ah"] == pytest.approx([1.1e-3, 1.1e-3], rel=0.9)


@needs_numba
def test_compiled_and_plain_populations_agree() -> None:
    both = cells(3, fast=False), cells(3, fast=True)
    for one in both:
        one.cycle(500, 10.0, 298.15)
    plain, fast = both
    assert fast.turns["phase"].tolist() == plain.turns["phase"].tolist()
    assert fast.voltages_V == pytest.approx(plain.voltages_V, rel=1e-12)
    assert fast.states["fast"]["V"] == pytest.approx(plain.states["fast"]["V"], rel=1e-12)


@needs_numba
def test_the_number_of_threads_changes_nothing() -> None:
    count = SHARED_FROM + 7
    alone, shared = cells(count, fast=True), cells(count, fast=True, threads=3)
    for one in (alone, shared):
        one.cycle(20, 10.0, 298.15)
        for _ in range(20):
            one.step(np.full(count, 1e-3), 1.0, 298.15)
        one.cycle(2, 10.0, 298.15)
    assert shared.states.tobytes() == alone.states.tobytes()
    assert shared.turns.tobytes() == alone.turns.tobytes()
    assert shared.voltages_V.tobytes() == alone.voltages_V.tobytes()


@needs_numba
def test_in_lockstep_the_last_bit_is_as_one_by_one() -> None:
    together, one_by_one = cells(5, fast=True), cells(5, fast=True)
    for current_A in (1e-3, -2e-3, 0.0):
        together.step(np.full(5, current_A), 10.0, 298.15)
        for index in range(5):
            one_by_one.step_cell(index, current_A, 10.0, 298.15)
    assert together.states.tobytes() == one_by_one.states.tobytes()


@needs_numba
def test_an_error_in_another_thread_is_not_lost() -> None:
    many = cells(SHARED_FROM, fast=True, threads=2)
    begun = threading.Event()

    def loop(*_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            assert begun.wait(10.0)
            return
        begun.set()
        raise InvariantError("elsewhere")

    many._loops = many._loops._replace(step_population=loop)
    with pytest.raises(InvariantError, match="elsewhere"):
        many.step(np.zeros(SHARED_FROM), 1.0, 298.15)


@pytest.mark.parametrize("fast", BOTH)
def test_one_cell_is_taken_through_a_profile(fast: bool) -> None:
    made = population.loops(
        two_rc.step, two_rc.State(), two_rc.Parameters(), compiled=fast, cache=CACHE
    )
    s, p = two_rc.State(), two_rc.Parameters()
    row, fixed = records.records(s)[0], records.records(p)[0]
    out_V = np.zeros(3)
    made.run_profile(row, fixed, np.array([1e-3, 0.0, -1e-3]), np.array([1.0, 2.0, 3.0]), np.full(3, 290.0), out_V)  # fmt: skip
    steps = zip([1e-3, 0.0, -1e-3], [1.0, 2.0, 3.0], strict=True)
    expected = [two_rc.step(s, p, current_A, dt_s, 290.0) for current_A, dt_s in steps]
    assert out_V == pytest.approx(expected, rel=1e-12)
    assert row["soc"] == pytest.approx(s.soc, rel=1e-12)


def test_a_voltage_that_is_no_number_ends_the_phase() -> None:
    turn = Turn()
    turn.phase = CHARGE_CC
    turn.current_A = 1e-3
    phases = []
    for _ in range(3):
        next_current(turn, CYCLING, math.nan, 1.0)
        phases.append(turn.phase)
    assert phases == [population.CHARGE_CV, population.REST_CHARGED, population.REST_CHARGED]


def test_a_population_needs_cells_and_their_step() -> None:
    with pytest.raises(ConfigurationError, match="needs a state"):
        Population(two_rc.step, [], [], compiled=False)
    with pytest.raises(InvariantError, match="step of its cells"):
        population.step(None, None, 0.0, 1.0, 298.15)
