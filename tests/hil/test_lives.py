"""Fast lives: readings hold what flowed, twins are the same, books balance, compiled is plain."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from controller.domain.command import HOLD_0A, TAG_TREATMENT
from controller.domain.figures import CycleKind
from controller.domain.sample import LIMIT_VOLTAGE
from hil.cell.library import load_cell
from hil.cell.parameters import CellParameters
from hil.compiled import available
from hil.draws import draw_cell
from hil.lives import Life, LivedCycle
from hil.logger import CURRENT, HELD
from hil.programmes import (
    CHARGED_REST,
    DISCHARGED_REST,
    FORMATS,
    SHORT_STRIP,
    cycle_plan,
    largest_A,
    programme,
)
from hil.readings import ideal_reading, keithley_reading, specified_reading

needs_numba = pytest.mark.skipif(not available(), reason="no numba: extra [fast]")


def lithium_limited() -> CellParameters:
    return replace(load_cell("anode-free").parameters(2), cathode_initial_x=0.80)


def integral_mAh(cycle: LivedCycle) -> tuple[float, float]:
    """Return charge and discharge by chords, a step of the set-point at the reading before it."""
    charge = discharge = 0.0
    rows = list(zip(cycle.samples, cycle.commands, strict=True))
    for (before, was), (now, is_) in pairwise(rows):
        dt_s = now.t_device_s - before.t_device_s
        mean_A = now.current_A if was != is_ else 0.5 * (before.current_A + now.current_A)
        if mean_A > 0.0:
            charge += mean_A * dt_s / 3.6
        else:
            discharge -= mean_A * dt_s / 3.6
    first, step = cycle.samples[0], cycle.plan.steps[0]
    return charge + step.current_A * (first.t_device_s - START_S) / 3.6, discharge


START_S = 0.0


@needs_numba
@pytest.mark.parametrize("cell", sorted(FORMATS))
def test_ideal_readings_hold_the_charge_that_flowed(cell: str) -> None:
    p = load_cell(cell).parameters(1)
    one = Life(p).cycle(cycle_plan(cell, p))
    charge, discharge = integral_mAh(one)
    assert charge == pytest.approx(one.truth.charge_mAh, rel=2e-4)
    assert discharge == pytest.approx(one.truth.discharge_mAh, rel=2e-4)
    assert 200 < len(one.samples) < 900
    times = [sample.t_device_s for sample in one.samples]
    assert times == sorted(times)
    last = one.samples[one.end_at]
    if FORMATS[cell].charge_share == 0.0:
        assert last.limit_status == LIMIT_VOLTAGE  # the anchor's hold
    assert last.voltage_V == pytest.approx(FORMATS[cell].lower_V, abs=0.1)
    assert one.commands[one.end_at + 1][0] == HOLD_0A


@needs_numba
def test_early_readings_follow_a_change_of_current() -> None:
    p = lithium_limited()
    one = Life(p).cycle(cycle_plan("anode-free", p))
    times = np.array([sample.t_device_s for sample in one.samples])
    for wanted_s in (1.0, 2.0, 5.0, 10.0):
        assert float(np.min(np.abs(times - wanted_s))) < 0.01


@needs_numba
def test_the_current_of_a_held_voltage_only_falls() -> None:
    """It used to swing by 0.06 C in a few drawn LFP cells, so that the hold ended early or late."""
    drawn = draw_cell(load_cell("anode-free-lfp"), 1144245637)
    life = Life(replace(drawn, short_hazard_per_mAh_per_cm2=0.0))
    for plan in programme("anode-free-lfp", drawn, 4):
        rows = life.run(plan).rows
        held_A = rows[(rows[:, HELD] > 0) & (rows[:, CURRENT] > 0), CURRENT]
        assert np.all(np.diff(held_A[1:]) <= 0.0)  # the first is the constant current's


def test_the_books_of_lithium_balance() -> None:
    p = replace(lithium_limited(), oxidation_mA_per_cm2=1e-3, shuttle_mA_per_cm2=2e-3)
    plans = programme("anode-free", p, 5, {4: DISCHARGED_REST})
    life = Life(p)
    cycles = life.live(plans, read=False)
    truth = cycles[-1].truth
    passed = -sum(one.truth.net_mAh for one in cycles)
    held = truth.lost_mAh + truth.active_mAh + truth.shuttled_mAh
    assert truth.oxidised_mAh > 0.001
    assert truth.shuttled_mAh > 0.05
    assert passed == pytest.approx(held, abs=1e-8)
    assert not cycles[0].samples


@needs_numba
def test_a_twin_is_the_same_until_it_is_treated() -> None:
    p = lithium_limited()
    reading = specified_reading(5, 1e-2, gain_u=5e-4, offset_u_of_range=1e-5)
    life = Life(p, seed=5, reading=reading)
    plain = cycle_plan("anode-free", p)
    life.live([plain] * 3, read=False)
    start = life.snapshot()
    first = life.cycle(plain)
    life.restore(start)
    again = life.cycle(plain)
    assert [s._replace(sequence=0) for s in again.samples] == [
        s._replace(sequence=0) for s in first.samples
    ]
    assert again.truth == first.truth
    effects = {}
    for treatment in (DISCHARGED_REST, SHORT_STRIP, CHARGED_REST):
        life.restore(start)
        treated = life.cycle(cycle_plan("anode-free", p, treatment=treatment))
        assert any(tag == TAG_TREATMENT for _, tag in treated.commands)
        effects[treatment] = treated.truth.net_mAh - first.truth.net_mAh
    # both treatments return lithium on this plant, waiting at half charge does not
    assert effects[DISCHARGED_REST] > 0.003
    assert effects[SHORT_STRIP] > 0.001
    assert effects[CHARGED_REST] < 0.001


@needs_numba
def test_an_instrument_errs_as_it_was_drawn() -> None:
    p = lithium_limited()
    wrong = replace(ideal_reading(), gains=(1.01,), offsets_A=(1e-5,), resolutions_A=(1e-6,))
    plan = cycle_plan("anode-free", p)
    true, read = (Life(p, reading=one).cycle(plan) for one in (ideal_reading(), wrong))
    for a, b in zip(true.samples, read.samples, strict=True):
        assert b.current_A == pytest.approx(1.01 * a.current_A + 1e-5, abs=0.51e-6)
        assert abs(b.current_A / 1e-6 - round(b.current_A / 1e-6)) < 1e-6
    assert read.truth == true.truth


@needs_numba
def test_a_strip_is_read_in_another_range_and_the_rest_keeps_it() -> None:
    p = lithium_limited()
    plan = cycle_plan("anode-free", p, treatment=SHORT_STRIP)
    reading = specified_reading(1, largest_A([plan]), gain_u=1e-3, offset_u_of_range=1e-5)
    one = Life(p, reading=reading).cycle(plan)
    ranges = {
        (kind, tag): {round(s.current_range_A, 9) for s, c in zip(one.samples, one.commands, strict=True) if c == (kind, tag)}
        for kind, tag in set(one.commands)
    }  # fmt: skip
    by_tag = {tag: full for (kind, tag), full in ranges.items() if kind != HOLD_0A}
    assert by_tag[TAG_TREATMENT] == {1e-2}
    assert by_tag[0] == {1e-3}
    at_rest = ranges[(HOLD_0A, 0)]
    assert len(at_rest) == 2


def test_instruments_are_drawn_within_what_they_state() -> None:
    gains = [specified_reading(seed, 1e-3, gain_u=1e-3, offset_u_of_range=0.0).gains[-1] - 1.0 for seed in range(400)]  # fmt: skip
    assert math.sqrt(np.mean(np.square(gains))) == pytest.approx(1e-3, rel=0.15)
    bounded = [keithley_reading(seed, 1e-3).gains[0] - 1.0 for seed in range(400)]
    assert 0.9 * 6e-5 < max(map(abs, bounded)) <= 6e-5
    assert keithley_reading(1, 4.6e-3).ranges_A == (10e-3,)


def test_a_programme_anchors_around_treatments_and_tests() -> None:
    p = lithium_limited()
    plans = programme("anode-free", p, 12, {6: SHORT_STRIP}, reference_every=3, anchor_every=5)
    kinds = [plan.kind for plan in plans]
    assert kinds[:2] == [CycleKind.FORMATION] * 2
    assert [n for n, kind in enumerate(kinds, 1) if kind is CycleKind.REFERENCE] == [7, 11]
    anchored = [n for n, plan in enumerate(plans, 1) if plan.anchored]
    assert anchored == [2, 5, 6, 7, 10, 11]


@needs_numba
def test_compiled_and_plain_live_alike() -> None:
    p = lithium_limited()
    plan = cycle_plan("anode-free", p)
    fast, plain = (Life(p, compiled=compiled).cycle(plan) for compiled in (True, False))
    assert len(fast.samples) == len(plain.samples)
    assert fast.truth.net_mAh == pytest.approx(plain.truth.net_mAh, abs=1e-9)
    for a, b in zip(fast.samples, plain.samples, strict=True):
        assert a.voltage_V == pytest.approx(b.voltage_V, abs=1e-9)
