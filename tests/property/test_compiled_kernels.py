"""Kernels give the same compiled as plain: verdicts, ends and counts exactly, whatever comes.

The controller's kernels only add, multiply, divide and compare, which IEEE 754 rounds in one way;
so every number they leave behind is asked for exactly, with the sign of zero. Whole numbers are of
64 bits when compiled: sequences and envelopes beyond that are no readings of an instrument.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core import execute
from controller.domain import total_math
from controller.domain.command import DISCHARGE, OPEN, Command
from controller.domain.kernels import KERNELS
from controller.domain.sample import Sample
from controller.domain.total_math import safe_divide, safe_exp, safe_log, safe_sqrt
from controller.estimation import running, short_watch
from controller.estimation.charge import interval_charge
from controller.estimation.curve import Curve, begin_curve, new_curve, observe_curve
from controller.estimation.decay import Rests, new_rests, observe_rests
from controller.estimation.ending import Ending, begin_ending, new_ending, observe_ending
from controller.estimation.impedance import filter as circuit_filter
from controller.estimation.impedance import steps
from controller.safety import supervisor
from controller.safety.limits import LimitsRecord
from controller.safety.memory import Memory, new_memory
from hil import records
from hil.compiled import Entry, Record, build, record_of
from hil.kernel_source import Source, resolve
from tests.numba_extra import CACHE, needs_numba
from tests.property.test_compiled_impedance import same
from tests.safety.build import LIMITS, NO_THERMOMETER, RECORD, changed
from tests.safety.test_fuzz import CURRENTS, SENSIBLE, near

pytestmark = needs_numba

NO_PULSES = changed(pulses=())
INNER = ("steps", "circuit", "curve", "ending", "shorts", "rests")  # records within the record
CELL = running.CellNumbers(3e-3, 3.0, 4.3)
WHOLE = st.integers(-(2**40), 2**40)
SPECIAL = [0.0, -0.0, 5e-324, -5e-324, 2.3e-308, 1.7e308, -1.7e308, math.inf, -math.inf, math.nan]
ANY = st.one_of(st.sampled_from(SPECIAL), st.floats())
TIMES = st.one_of(near(0.0, 1.0, 2.0, 100.0), ANY)


def good(values: tuple[float, float, int]) -> Callable[[int], Sample]:
    voltage_V, current_A, status = values
    return lambda n: Sample(n, 0, n + 1.0, n + 1.0, 0.0, voltage_V, current_A, 298.15, 1, status, 1e-2, 0.02, 0)  # fmt: skip


GOOD = st.tuples(st.floats(2.4, 4.5), CURRENTS, st.integers(-1, 1)).map(good)
WILD = st.builds(
    Sample,
    sequence=WHOLE,
    channel=st.just(0),
    t_host_s=TIMES,
    t_device_s=TIMES,
    utc_s=ANY,
    voltage_V=st.one_of(near(1.85, 2.5, 2.95, 3.0, 3.7, 4.3, 4.32, 4.4), ANY),
    current_A=st.one_of(CURRENTS, ANY),
    temperature_K=st.one_of(near(273.15, 288.15, 298.15, 318.15, 321.15, 333.15), ANY),
    output=st.sampled_from([-1, 0, 1, 7]),
    limit_status=st.integers(-1, 1),
    current_range_A=ANY,
    averaging_s=ANY,
    quality=st.one_of(st.just(0), st.integers(0, 1023), WHOLE),
).map(lambda sample: lambda n: sample if sample.quality & 1 else sample._replace(sequence=n))
COMMANDS = st.one_of(
    SENSIBLE,
    st.builds(
        Command,
        kind=st.one_of(st.integers(OPEN, DISCHARGE), WHOLE),
        current_A=st.one_of(CURRENTS, ANY),
        voltage_bound_V=st.one_of(near(2.5, 2.85, 2.9, 2.95, 3.0, 4.3, 4.32, 4.4), ANY),
        period_s=st.one_of(near(1.0, 60.0, 0.0), ANY),
        valid_for_s=st.one_of(near(5.0, 120.0, 0.0), ANY),
        device_timed_s=st.one_of(st.just(math.nan), near(1.0, 10.0, 0.0), ANY),
        envelope=st.one_of(st.integers(0, 3), WHOLE),
        tag=st.one_of(st.integers(0, 2), WHOLE),
    ),
)


def exact(value: Any) -> Any:
    """Return what compares equal only to the same number, NaN and the sign of zero included."""
    if isinstance(value, float):
        return "nan" if value != value else value.hex()
    if isinstance(value, list | tuple):
        return [exact(one) for one in value]
    return value


def contents(record: object) -> dict[str, Any]:
    return {name: exact(getattr(record, name)) for name in records.fields_of(type(record))}


@functools.cache
def compiled_review(envelopes: int) -> Callable[..., Any]:
    limits = RECORD if envelopes else NO_PULSES
    entry = Entry(
        function=supervisor.review,
        arguments=(
            record_of(new_memory(limits)),
            Sample,
            Command,
            record_of(limits),
        ),
    )
    return build([entry], compiled=True, cache=CACHE)[0]


@pytest.mark.parametrize("limits", [RECORD, NO_THERMOMETER, NO_PULSES], ids=["all", "no thermometer", "no pulses"])  # fmt: skip
def test_the_supervisor_says_the_same(limits: LimitsRecord) -> None:
    review = compiled_review(len(limits.pulses))
    limits_row = records.records(limits)[0]

    @settings(max_examples=400)
    @given(st.lists(st.tuples(st.one_of(GOOD, WILD), COMMANDS), max_size=12))
    def check(series: list[tuple[Callable[[int], Sample], Command]]) -> None:
        m = new_memory(limits)
        row = records.records(m)[0]
        for index, (make, command) in enumerate(series):
            sample = make(index)
            said = supervisor.review(m, sample, command, limits)
            assert review(row, sample, command, limits_row) == said
            assert contents(records.from_record(Memory, row)) == contents(m)

    check()


STEPS = st.builds(
    execute.StepNumbers,
    kind=st.integers(OPEN, DISCHARGE),
    current_A=ANY,
    voltage_bound_V=ANY,
    max_duration_s=st.one_of(st.floats(0.0, 10.0), ANY),
    end_voltage_V=st.one_of(near(3.0, 4.3), ANY),
    end_current_A=st.one_of(CURRENTS, ANY),
    end_charge_Ah=st.one_of(st.floats(0.0, 1e-5), ANY),
    device_timed=st.booleans(),
    period_s=st.one_of(st.just(math.nan), ANY),
    slow_current_A=ANY,
    long_rest=st.booleans(),
)


@functools.cache
def compiled_executor() -> tuple[Callable[..., Any], ...]:
    progress = Record(kind=execute.Progress)
    return build(
        [
            Entry(
                function=execute.advance,
                arguments=(progress, execute.StepNumbers, Sample, int),
            ),
            Entry(function=execute.period_s, arguments=(progress, execute.StepNumbers, Sample)),
        ],
        compiled=True,
        cache=CACHE,
    )


@settings(max_examples=400)
@given(STEPS, st.lists(st.tuples(st.one_of(GOOD, WILD), st.integers(OPEN, DISCHARGE)), max_size=12))
def test_the_executor_does_the_same(step: execute.StepNumbers, series: list[Any]) -> None:
    advance, period_s = compiled_executor()
    plain = execute.Progress()
    row = records.records(plain)[0]
    for index, (make, in_force) in enumerate(series):
        sample = make(index)
        assert advance(row, step, sample, in_force) == execute.advance(plain, step, sample, in_force)  # fmt: skip
        assert exact(period_s(row, step, sample)) == exact(execute.period_s(plain, step, sample))
        assert contents(records.from_record(execute.Progress, row)) == contents(plain)


@functools.cache
def compiled_estimator() -> tuple[Callable[..., Any], ...]:
    state = record_of(running.Running(CELL))
    observing = Entry(
        function=running.observe, arguments=(state, running.CellNumbers, Sample, int, int)
    )
    others = [
        Entry(function=one, arguments=(state,))
        for one in (running.new_cycle, running.forget_reading)
    ]
    return build([observing, *others], compiled=True, cache=CACHE)


@settings(max_examples=400)
@given(
    st.lists(
        st.tuples(st.one_of(GOOD, WILD), st.integers(OPEN, DISCHARGE), st.integers(-1, 3)),
        max_size=25,
    ),
    st.integers(0, 25),
)
def test_the_estimator_sees_the_same(series: list[Any], closes_at: int) -> None:
    observe, new_cycle, forget_reading = compiled_estimator()
    cell = CELL
    plain = running.Running(CELL)
    row = records.records(plain)[0]
    for index, (make, kind, tag) in enumerate(series):
        sample = make(index)
        assert observe(row, cell, sample, kind, tag) == running.observe(
            plain, cell, sample, kind, tag
        )
        if index == closes_at:
            new_cycle(row)
            running.new_cycle(plain)
            forget_reading(row)
            running.forget_reading(plain)
    for name in INNER:
        same(getattr(plain, name), row[name], 1e-9)  # logarithms and exponentials among them
    taken = records.from_record(running.Running, row)
    for name in INNER:
        setattr(taken, name, getattr(plain, name))
    assert contents(taken) == contents(plain)


@settings(max_examples=1000)
@given(
    st.tuples(ANY, ANY, st.floats(min_value=0.0, exclude_min=True), st.integers(-1, 4), ANY, ANY)
)
def test_the_charge_of_an_interval_is_the_same(values: tuple[Any, ...]) -> None:
    assert exact(compiled_charge()(*values)) == exact(interval_charge(*values))


STEPS_S = st.one_of(st.sampled_from([0.0002, 0.5, 1.0, 1.0, 1.0, 10.0, 130.0, 0.0, -5.0]), ANY)
READINGS = st.lists(st.tuples(STEPS_S, st.one_of(CURRENTS, ANY), st.one_of(near(3.7), ANY)))


@settings(max_examples=200)
@given(READINGS, st.integers(0, 40))
def test_the_watch_for_shorts_sees_the_same(series: list[Any], repeats: int) -> None:
    observe = compiled_watch()
    plain = short_watch.ShortWatch()
    row = records.records(plain)[0]
    plain.jump_V = [1e-4] * short_watch.SINGLES
    records.to_record(plain, row)
    t_s = 0.0
    for dt_s, current_A, voltage_V in series * (1 + repeats):
        t_s = t_s + dt_s if math.isfinite(dt_s) and abs(dt_s) < 1e6 else dt_s
        short_watch.observe(plain, t_s, current_A, voltage_V)
        observe(row, t_s, current_A, voltage_V)
        t_s = t_s if math.isfinite(t_s) else 0.0
    assert contents(records.from_record(short_watch.ShortWatch, row)) == contents(plain)


@functools.cache
def compiled_watch() -> Callable[..., Any]:
    arguments = (record_of(short_watch.ShortWatch()), float, float, float)
    return build(
        [Entry(function=short_watch.observe, arguments=arguments)], compiled=True, cache=CACHE
    )[0]


@functools.cache
def compiled_charge() -> Callable[..., Any]:
    arguments = (float, float, float, int, float, float)
    return build(
        [Entry(function=interval_charge, arguments=arguments)], compiled=True, cache=CACHE
    )[0]


CURVES = new_curve(3.0, 4.3, 3e-3), new_curve(-1.0, 0.5, 1.54e-3)
STEPS_AH = st.one_of(st.floats(0.0, 2e-4), ANY)
VOLTAGES = st.one_of(st.floats(2.9, 4.3), near(3.0, 3.2, 3.4, 4.3, 0.0), ANY)


@functools.cache
def compiled_discharge() -> tuple[Callable[..., Any], ...]:
    curve, ending = record_of(CURVES[0]), Record(kind=Ending)
    return build(
        [
            Entry(function=begin_curve, arguments=(curve,)),
            Entry(function=observe_curve, arguments=(curve, float, float)),
            Entry(function=begin_ending, arguments=(ending,)),
            Entry(function=observe_ending, arguments=(ending, float, float, float, float, int)),
        ],
        compiled=True,
        cache=CACHE,
    )


@settings(max_examples=400)
@given(st.sampled_from(CURVES), st.lists(st.tuples(STEPS_AH, VOLTAGES), max_size=40))
def test_the_curve_of_a_discharge_is_the_same(fresh: Curve, series: list[Any]) -> None:
    begin, observe, _, _ = compiled_discharge()
    plain = copy.deepcopy(fresh)
    row = records.records(plain)[0]
    begin(row)
    for charge_Ah, voltage_V in series:
        observe(row, charge_Ah, voltage_V)
        observe_curve(plain, charge_Ah, voltage_V)
        assert contents(records.from_record(Curve, row)) == contents(plain)


@settings(max_examples=400)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(0.1, 30.0), ANY),
            STEPS_AH,
            st.one_of(st.floats(-2e-3, 0.0), ANY),
            VOLTAGES,
            st.integers(0, 1),
        ),
        max_size=40,
    )
)
def test_the_end_of_a_discharge_is_the_same(series: list[Any]) -> None:
    """But for the logarithm of the held current, whose last digit is the library's."""
    _, _, begin, observe = compiled_discharge()
    plain = new_ending(3.0, 3e-3)
    row = records.records(plain)[0]
    begin(row)
    for reading in series:
        observe(row, *reading)
        observe_ending(plain, *reading)
        fast = records.from_record(Ending, row)
        for name in records.fields_of(Ending):
            one, other = getattr(fast, name), getattr(plain, name)
            if name in {"hold_log", "hold_rate_per_s", "collapse"}:
                assert one == pytest.approx(other, rel=1e-9, abs=1e-6)
            else:
                assert exact(one) == exact(other)


@functools.cache
def compiled_rests() -> Callable[..., Any]:
    arguments = (record_of(new_rests(3e-3)), float, float, float, int, int)
    return build([Entry(function=observe_rests, arguments=arguments)], compiled=True, cache=CACHE)[0]  # fmt: skip


@settings(max_examples=400)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(0.1, 1e5), ANY),
            STEPS_AH,
            VOLTAGES,
            st.sampled_from([0, 1, 1, 1]),
            st.integers(0, 1),
        ),
        max_size=40,
    )
)
def test_the_decay_of_rests_is_the_same(series: list[Any]) -> None:
    observe = compiled_rests()
    plain = new_rests(3e-3)
    row = records.records(plain)[0]
    for reading in series:
        observe(row, *reading)
        observe_rests(plain, *reading)
    assert contents(records.from_record(Rests, row)) == contents(plain)


@functools.cache
def compiled_math() -> tuple[Callable[..., Any], ...]:
    single = [Entry(function=one, arguments=(float,)) for one in (safe_exp, safe_log, safe_sqrt)]
    return build(
        [*single, Entry(function=safe_divide, arguments=(float, float))], compiled=True, cache=CACHE
    )


@settings(max_examples=1000)
@given(ANY, ANY)
def test_the_functions_that_give_a_value_for_every_float_do(x: float, y: float) -> None:
    exp, log, sqrt, divide = compiled_math()
    for fast, plain in ((exp(x), safe_exp(x)), (log(x), safe_log(x)), (sqrt(x), safe_sqrt(x))):
        assert fast == pytest.approx(plain, rel=1e-12, abs=0.0, nan_ok=True)
    assert exact(divide(x, y)) == exact(safe_divide(x, y))


def test_no_registered_kernel_is_left_out() -> None:
    """What is compiled above reaches every function in the registry."""
    source = Source()
    tops = (
        supervisor.review,
        execute.advance,
        execute.period_s,
        interval_charge,
        running.observe,
        running.new_cycle,
        running.forget_reading,
        steps.observe,
        circuit_filter.observe_one,
        circuit_filter.observe_two,
        begin_curve,
        observe_curve,
        begin_ending,
        observe_ending,
        short_watch.observe,
    )
    for top in tops:
        source.add(top)
    reached = {one for one in source.functions if one.__module__ != total_math.__name__}
    assert reached == {resolve(name) for name in KERNELS}
    assert len(reached) > len(tops)


def test_the_example_limits_have_pulses() -> None:
    assert len(RECORD.pulses) == len(LIMITS.pulse_envelopes) == 2
    assert copy.copy(NO_PULSES).pulses == ()
