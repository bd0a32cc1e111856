"""The detector of soft shorts on made-up voltages whose answer is known."""

from __future__ import annotations

import json
import math
from dataclasses import asdict

import numpy as np
import pytest

from controller.domain.cell import CellFormat
from controller.estimation.charge_balance import slippage
from controller.estimation.half_cycles import both_halves, later_half
from controller.estimation.short_watch import (
    BINS,
    LEVELS,
    ShortFigures,
    ShortWatch,
    close_cycle,
    interrupt,
    observe,
)
from controller.estimation.shorts import ShortMemory, follow, judge, memory_from
from hil import records

NOMINAL_AH = 1e-3


def half_cycle(watch, t_s, current_A, *, telegraph_V=0.0, seed=0, ohm=100.0, dt_s=1.0, hours=1.0):
    """Feed a constant current with noise and, if wanted, two levels of the voltage."""
    random = np.random.default_rng(seed)
    level = 0.0
    for _ in range(int(hours * 3600.0 / dt_s)):
        t_s += dt_s
        if telegraph_V and random.random() < dt_s / 40.0:
            level = telegraph_V - level
        observe(watch, t_s, current_A, ohm * current_A + level + 1e-4 * random.standard_normal())
    return t_s


def cycle(watch, t_s, seed, **kwargs):
    t_s = half_cycle(watch, t_s, 1e-3, seed=2 * seed, **kwargs)
    t_s = half_cycle(watch, t_s, -1e-3, seed=2 * seed + 1, **kwargs)
    return t_s, close_cycle(watch, charge_Ah=1e-3, discharge_Ah=1e-3)


def life(*cycles, cell_format=CellFormat.LI_LI):
    """Judge cycles given by their keywords."""
    watch, memory, t_s, out = ShortWatch(), ShortMemory(), 0.0, []
    for seed, kwargs in enumerate(cycles):
        t_s, figures = cycle(watch, t_s, seed, **kwargs)
        out.append(follow(memory, figures, cell_format, NOMINAL_AH))
    return out


def test_telegraph_noise_is_found_and_said():
    *sound, last = life(*[{}] * 5, {"telegraph_V": 5e-4})
    assert all(not one.flagged for one in sound)
    assert last.flagged
    assert "noise" in " ".join(last.words) or "and back" in " ".join(last.words)


def test_nothing_is_said_without_cycles_to_compare_with():
    first = life({"telegraph_V": 5e-4})[0]
    assert math.isnan(first.probability)
    assert not first.flagged
    assert "are needed" in first.words[0]


def test_resistance_that_falls_by_a_third_is_a_short_in_a_symmetric_cell():
    last = life(*[{}] * 5, {"ohm": 62.0}, {"ohm": 60.0})[-2:]
    assert all(one.flagged for one in last)
    assert any("resistance" in words for words in last[0].words)
    assert not life(*[{}] * 5, {"ohm": 92.0})[-1].flagged


def test_noise_of_another_rate_of_sampling_is_no_short():
    """Twice as dense, ten times as dense: the means are of the same length."""
    found = life(*[{}] * 4, {"dt_s": 0.5}, {"dt_s": 0.25})
    assert not any(one.flagged for one in found)


def test_spikes_of_a_fraction_of_a_millisecond_weigh_nothing():
    quiet, spiked = ShortWatch(), ShortWatch()
    random = np.random.default_rng(3)
    for k in range(1200):
        voltage_V = 0.1 + 1e-4 * float(random.standard_normal())
        observe(quiet, float(k), 1e-3, voltage_V)
        observe(spiked, float(k), 1e-3, voltage_V)
        for j in range(20):
            observe(spiked, k + 0.3 + j * 2e-5, 1e-3, 0.66)
        observe(spiked, k + 0.3 + 4e-4, 1e-3, voltage_V)
    a = close_cycle(quiet, charge_Ah=0.0, discharge_Ah=0.0)
    b = close_cycle(spiked, charge_Ah=0.0, discharge_Ah=0.0)
    assert b.polarised_Ohm == pytest.approx(a.polarised_Ohm, rel=5e-3)
    assert np.log(np.array(b.size_V[:6]) / np.array(a.size_V[:6])) == pytest.approx(0.0, abs=0.5)


def test_a_duplicate_and_what_is_no_number_change_nothing():
    plain, dirty = ShortWatch(), ShortWatch()
    for k in range(500):
        reading = (float(k), 1e-3, 0.1 + 1e-4 * (k % 3))
        observe(plain, *reading)
        observe(dirty, *reading)
        observe(dirty, *reading)
        observe(dirty, k + 0.5, math.nan, 0.1)
        observe(dirty, k + 0.5, 1e-3, math.inf)
        observe(dirty, k - 0.5, 1e-3, 9.0)
    for name in records.fields_of(ShortWatch):
        assert getattr(dirty, name) == pytest.approx(getattr(plain, name), nan_ok=True)


def test_a_shift_of_time_changes_nothing():
    shifted = []
    for start_s in (0.0, 4096.0):
        watch = ShortWatch()
        half_cycle(watch, start_s, 1e-3, telegraph_V=3e-4, seed=5)
        shifted.append(close_cycle(watch, charge_Ah=1e-3, discharge_Ah=0.0))
    assert shifted[0].size_V == pytest.approx(shifted[1].size_V, rel=1e-9, nan_ok=True)


def test_a_gap_and_an_interruption_begin_anew():
    watch = ShortWatch()
    t_s = half_cycle(watch, 0.0, 1e-3)
    seen = sum(watch.bins)
    observe(watch, t_s + 1000.0, 1e-3, 9.0)
    assert sum(watch.bins) == seen
    assert watch.pyramid_holds == 0
    half_cycle(watch, t_s + 1000.0, 1e-3)
    interrupt(watch)
    assert watch.has_last == 0


def test_memory_does_not_grow():
    watch = ShortWatch()
    before = records.record_dtype(ShortWatch, records.lengths_of(watch)).itemsize
    half_cycle(watch, 0.0, 1e-3, hours=2.0)
    after = records.record_dtype(ShortWatch, records.lengths_of(watch)).itemsize
    assert before == after < 16384
    assert len(watch.bins) == LEVELS * BINS


def test_decay_at_rest_is_the_slope_that_was_put_in():
    watch = ShortWatch()
    t_s = half_cycle(watch, 0.0, 1e-3)
    for k in range(900):
        observe(watch, t_s + 1.0 + k, 0.0, 3.9 - 0.02 * k / 3600.0)
    half_cycle(watch, t_s + 901.0, -1e-3)
    figures = close_cycle(watch, charge_Ah=1e-3, discharge_Ah=1e-3)
    assert figures.decay_charged_V_per_h == pytest.approx(0.02, rel=1e-3)


def figures_like(one: ShortFigures, **changes):
    values = {name: getattr(one, name) for name in ShortFigures.__dataclass_fields__}
    return ShortFigures(**{**values, **changes})


def after(history):
    """Return the memory of sound cycles."""
    return ShortMemory(list(history), list(history[-2:]))


def test_charge_beyond_the_discharge_before_counts_as_leakage():
    watch = ShortWatch()
    _, plain = cycle(watch, 0.0, 1)
    plain = figures_like(plain, charge_Ah=1e-3, discharge_Ah=0.99e-3)
    history = [figures_like(plain, number=k) for k in range(5)]
    plain = figures_like(plain, number=5)
    leaky = figures_like(plain, charge_Ah=1.02e-3)
    evidence = judge(after(history), leaky, CellFormat.ANODE_FREE, NOMINAL_AH)
    assert evidence.flagged
    assert "charge exceeds" in evidence.words[0]
    assert not judge(after(history), plain, CellFormat.ANODE_FREE, NOMINAL_AH).flagged
    # a cycle at another rate moves the ends of charge by itself
    slower = figures_like(leaky, charge_A=plain.charge_A / 3.0)
    assert not judge(after(history), slower, CellFormat.ANODE_FREE, NOMINAL_AH).flagged
    # nor is one that does not follow at once compared with a discharge of long ago
    later = figures_like(leaky, number=7)
    assert not judge(after(history), later, CellFormat.ANODE_FREE, NOMINAL_AH).flagged


def sound_cycles(random, plain, count, first=0, **hours):
    """Return cycles of a full cell that discharges itself by 0.2 % of nominal capacity an hour."""
    out, given_Ah, before = [], 0.98e-3, None
    for k in range(first, first + count):
        one = figures_like(
            plain,
            number=k,
            charge_h=3.0,
            discharge_h=3.0,
            charged_rest_h=float(random.choice(hours.get("rests_h", [0.5, 4.0]))),
            temperature_K=298.15 + 0.3 * float(random.standard_normal()),
        )
        one = figures_like(one, rest_before_h=0.2, rest_h=one.charged_rest_h + 0.2)
        lost_h = one.charge_h + (
            6.0 if before is None else 0.2 + before.discharge_h + before.charged_rest_h
        )
        charge_Ah = given_Ah + 2e-6 * lost_h + 1e-7 * float(random.standard_normal())
        given_Ah = 0.98e-3 - 2e-6 * one.charged_rest_h
        out.append(figures_like(one, charge_Ah=charge_Ah, discharge_Ah=given_Ah))
        before = one
    return out


def test_slippage_is_foretold_from_the_hours_that_a_cell_discharged_itself():
    _, plain = cycle(ShortWatch(), 0.0, 1)
    within = []
    for seed in range(60):
        cycles = sound_cycles(np.random.default_rng(seed), plain, 12)
        found = slippage(cycles[:-1], cycles[-3:-1], cycles[-1], NOMINAL_AH)
        within.append(abs(found.more) <= 2.0 * found.u)
        assert abs(found.more) < 0.004
        leaky = figures_like(cycles[-1], charge_Ah=cycles[-1].charge_Ah + 2e-5)
        more = slippage(cycles[:-1], cycles[-3:-1], leaky, NOMINAL_AH).more
        assert found.more + 0.016 < more <= found.more + 0.02 + 1e-9
    assert np.mean(within) > 0.9


def test_charge_that_comes_back_in_the_same_cycle_is_no_leak():
    """The charge before ended early, or this one late."""
    _, plain = cycle(ShortWatch(), 0.0, 1)
    cycles = sound_cycles(np.random.default_rng(4), plain, 12)
    sound = slippage(cycles[:-1], cycles[-3:-1], cycles[-1], NOMINAL_AH)
    later = figures_like(
        cycles[-1],
        charge_Ah=cycles[-1].charge_Ah + 2e-5,
        discharge_Ah=cycles[-1].discharge_Ah + 2e-5,
    )
    found = slippage(cycles[:-1], cycles[-3:-1], later, NOMINAL_AH)
    assert found.more - 2.0 * found.u < sound.more + 0.002


def test_charges_that_ended_before_the_cut_off_tell_no_slippage():
    _, plain = cycle(ShortWatch(), 0.0, 1)
    cycles = sound_cycles(np.random.default_rng(4), plain, 12)
    for k in (-1, -2):
        changed = list(cycles)
        changed[k] = figures_like(changed[k], to_cut_off=False)
        assert math.isnan(slippage(changed[:-1], changed[-3:-1], changed[-1], NOMINAL_AH).more)


def test_a_rest_that_the_cell_has_not_shown_is_foretold_with_more_doubt():
    _, plain = cycle(ShortWatch(), 0.0, 1)
    cycles = sound_cycles(np.random.default_rng(1), plain, 10, rests_h=[0.5])
    shown = slippage(cycles[:-1], cycles[-3:-1], cycles[-1], NOMINAL_AH)
    rested = figures_like(cycles[-2], charged_rest_h=10.0, rest_h=10.2)
    unlike = slippage([*cycles[:-2], rested], [cycles[-3], rested], cycles[-1], NOMINAL_AH)
    assert unlike.u > 5.0 * shown.u


def test_slippage_says_nothing_of_a_cycle_that_does_not_follow_and_of_too_few():
    _, plain = cycle(ShortWatch(), 0.0, 1)
    cycles = sound_cycles(np.random.default_rng(2), plain, 9)
    late = figures_like(cycles[-1], number=12)
    assert math.isnan(slippage(cycles[:-1], cycles[-3:-1], late, NOMINAL_AH).more)
    assert math.isnan(slippage(cycles[:3], cycles[1:3], cycles[3], NOMINAL_AH).more)
    assert math.isnan(slippage([], [], cycles[3], NOMINAL_AH).more)


def test_a_thermometer_that_is_missing_changes_little():
    _, plain = cycle(ShortWatch(), 0.0, 1)
    cycles = sound_cycles(np.random.default_rng(3), plain, 12)
    unmeasured = [figures_like(one, temperature_K=math.nan) for one in cycles]
    a = slippage(cycles[:-1], cycles[-3:-1], cycles[-1], NOMINAL_AH)
    b = slippage(unmeasured[:-1], unmeasured[-3:-1], unmeasured[-1], NOMINAL_AH)
    assert b.more == pytest.approx(a.more, abs=2e-3)


@pytest.mark.parametrize("lost", [0, 4, 8])
def test_a_thermometer_that_dropped_out_in_one_cycle_hardly_matters_whichever_it_was(lost: int):
    _, plain = cycle(ShortWatch(), 0.0, 1)
    cycles = []
    for k, one in enumerate(sound_cycles(np.random.default_rng(2), plain, 10)):
        warmer_K = 0.4 * k
        charge_Ah = one.charge_Ah + 1e-6 * warmer_K  # the warmer, the more self-discharge
        cycles.append(figures_like(one, charge_Ah=charge_Ah, temperature_K=300.0 + warmer_K))
    whole = slippage(cycles[:-1], cycles[-3:-1], cycles[-1], NOMINAL_AH)
    cycles[lost] = figures_like(cycles[lost], temperature_K=math.nan)
    gap = slippage(cycles[:-1], cycles[-3:-1], cycles[-1], NOMINAL_AH)
    assert gap.more == pytest.approx(whole.more, abs=3e-4)
    assert gap.u == pytest.approx(whole.u, rel=0.3)


def test_a_strip_that_gives_more_than_was_plated_counts_unless_a_rest_came_before():
    _, plain = cycle(ShortWatch(), 0.0, 1)
    history = [
        figures_like(plain, number=k, charge_Ah=1e-3, discharge_Ah=(0.98 + 1e-3 * (k % 2)) * 1e-3)
        for k in range(6)
    ]
    leaky = figures_like(plain, number=6, charge_Ah=1e-3, discharge_Ah=1.04e-3)
    evidence = judge(after(history), leaky, CellFormat.LI_CU, NOMINAL_AH)
    assert evidence.flagged
    assert "strip over plate" in evidence.words[0]
    rested = figures_like(leaky, rest_before_h=4.0)
    assert not judge(after(history), rested, CellFormat.LI_CU, NOMINAL_AH).flagged


def test_a_cell_that_settles_on_copper_is_not_called_a_short():
    """A carbonate loses 22 % at C/10 and 13 % at C/3, and gets better by 0.3 % a cycle later on."""
    _, plain = cycle(ShortWatch(), 0.0, 1)
    shares = [0.776, 0.777, 0.866, 0.865, 0.864, 0.864, 0.864]
    shares += [0.864 + 3e-3 * k for k in range(1, 9)]
    memory = ShortMemory()
    for k, share in enumerate(shares):
        rate_A = 3e-4 if k < 2 else 1e-3
        one = figures_like(
            plain,
            number=k,
            charge_Ah=1e-3,
            discharge_Ah=share * 1e-3,
            charge_A=rate_A,
            discharge_A=rate_A,
            half_A=(rate_A, rate_A),
        )
        assert not follow(memory, one, CellFormat.LI_CU, NOMINAL_AH).flagged
    leaky = figures_like(one, number=len(shares), discharge_Ah=(shares[-1] + 0.04) * 1e-3)
    assert judge(memory, leaky, CellFormat.LI_CU, NOMINAL_AH).flagged


def foil_cycle(watch, t_s, number, *, ohm, leak_from=2.0, warmer_K=0.0, thermometer=True):
    """Feed a cycle of an hour each way between two foils; a leak of 2 % begins in a half."""
    random = np.random.default_rng(number)
    for half, sign in enumerate((1.0, -1.0)):
        kelvin = 298.15 + warmer_K * half
        watch.temperature_K = kelvin if thermometer else math.nan
        for _ in range(3600):
            t_s += 1.0
            falls = 0.98 if half + 1 > leak_from else 1.0
            voltage_V = 1e-3 * ohm * falls * (1.0 - 0.03 * (kelvin - 298.15))
            noise_V = 1e-4 * float(random.standard_normal())
            observe(watch, t_s, sign * 1e-3, sign * voltage_V + noise_V)
    return t_s, close_cycle(watch, charge_Ah=1e-3, discharge_Ah=1e-3, temperature_K=298.15)


@pytest.mark.parametrize(
    ("last", "found"),
    [
        ({}, False),
        ({"leak_from": 1.0}, True),  # in the rest between the halves
        ({"leak_from": 0.0}, True),  # between two cycles
        ({"warmer_K": 0.7}, False),  # the room
        ({"warmer_K": 0.3, "leak_from": 1.0}, True),
    ],
)
def test_a_leak_that_begins_where_nothing_shows_is_found_against_the_half_before(last, found):
    watch, memory, t_s, evidence = ShortWatch(), ShortMemory(), 0.0, None
    random = np.random.default_rng(5)
    for number in range(9):
        # the room moves, and the resistance with it
        changes = {"warmer_K": 0.5 * float(random.standard_normal())} if number < 8 else last
        ohm = 20.0 + 0.1 * number
        t_s, figures = foil_cycle(watch, t_s, number, ohm=ohm, **changes)
        evidence = follow(memory, figures, CellFormat.LI_LI, NOMINAL_AH)
        assert not evidence.flagged or number == 8
    assert (evidence.signs.half > 0.001) is found
    assert evidence.flagged is found
    if found:
        assert "half cycle" in evidence.words[0]


def sound(_t_s, _half):
    return 0.0


def bent_cycle(watch, t_s, number, leak=sound, **kwargs):
    """Feed a cycle of two hours each way between two foils with a course of its own.

    `leak` is what the resistance is lowered by so long after a half began. A step at `step_s` in
    each half; a wave of the readings that is `turned` by so much.
    """
    room_K, ohm = kwargs.get("room_K", 298.15), kwargs.get("ohm", 20.0)
    step_s, turned = kwargs.get("step_s", 6200.0), kwargs.get("turned", 0.0)
    wave = kwargs.get("wave", 0.0)
    watch.temperature_K = room_K if kwargs.get("thermometer", True) else math.nan
    random = np.random.default_rng(number)
    for half, sign in enumerate((1.0, -1.0)):
        after_s = np.arange(7200.0)
        course = ohm * (1.0 + 0.02 * np.exp(-after_s / 900.0) + 0.3 * (after_s > step_s))
        course *= 1.0 - 0.04 * (room_K - 298.15)
        course *= 1.0 + wave * np.sin(2.0 * np.pi * (after_s / 3000.0 + turned))
        course *= [1.0 - leak(one_s, half) for one_s in after_s]
        noise_V = 1e-5 * random.standard_normal(after_s.size)
        for voltage_V in 1e-3 * course + noise_V:
            t_s += 1.0
            observe(watch, t_s, sign * 1e-3, sign * float(voltage_V))
    return t_s, close_cycle(watch, charge_Ah=2e-3, discharge_Ah=2e-3, temperature_K=room_K)


def grows(share, from_s, to_s):
    """Return a leak in the charge that grows over ten minutes."""
    return lambda t_s, half: (
        share * min((t_s - from_s) / 600.0, 1.0) if half == 0 and from_s <= t_s < to_s else 0.0
    )


@pytest.mark.parametrize(
    ("last", "found"),
    [
        ({}, False),
        ({"leak": grows(0.03, 2000.0, 4500.0)}, True),
        ({"leak": grows(0.003, 2000.0, 4500.0)}, False),  # no more than the course's own scatter
        ({"leak": grows(0.03, 6500.0, 1e9)}, False),  # next to where the course steps by itself
        ({"step_s": 6120.0}, False),  # what was deposited runs out a little earlier
        ({"turned": 0.5}, False),
        ({"leak": grows(0.03, 2000.0, 4500.0), "thermometer": False}, False),
    ],
)
def test_a_leak_that_grows_is_found_in_the_course_of_a_half(last, found):
    watch, memory, t_s = ShortWatch(), ShortMemory(), 0.0
    for number in range(6):
        changes = {"thermometer": last.get("thermometer", True), "wave": 2e-3}
        t_s, figures = bent_cycle(watch, t_s, number, **changes)
        assert not follow(memory, figures, CellFormat.LI_LI, 2e-3).flagged
    _, figures = bent_cycle(watch, t_s, 6, **{"wave": 2e-3, **last})
    evidence = follow(memory, figures, CellFormat.LI_LI, 2e-3)
    assert (evidence.signs.course > 0.01) is found
    assert evidence.flagged is found
    if found:
        assert evidence.words[0].startswith("the resistance fell within a half cycle by 2")


def test_courses_are_compared_only_with_cells_that_spent_their_lithium_alike():
    watch, memory, t_s = ShortWatch(), ShortMemory(), 0.0
    for number in range(6):
        t_s, figures = bent_cycle(watch, t_s, number)
        follow(memory, figures, CellFormat.LI_LI, 2e-3)
    _, figures = bent_cycle(watch, t_s, 6, grows(0.03, 2000.0, 4500.0))
    for change, known in (
        ({}, True),
        ({"net_before_Ah": 1e-4}, False),
        ({"charge_Ah": 2.1e-3}, False),
    ):
        signs = judge(memory, figures_like(figures, **change), CellFormat.LI_LI, 2e-3).signs
        assert (signs.course == signs.course) is known
    before = memory.recent[-1]
    memory.recent[-1] = figures_like(before, discharge_Ah=2.2e-3)  # a strip
    assert math.isnan(judge(memory, figures, CellFormat.LI_LI, 2e-3).signs.course)


@pytest.mark.parametrize(
    ("last_Ohm", "last_K", "found"),
    [
        (25.0, 298.15, False),  # as those before
        (24.2, 298.15, True),  # 3 % below
        (24.2, 298.95, False),  # in a warmer room
        (24.6, 297.35, True),  # in a colder one
    ],
)
def test_a_leak_that_is_there_all_the_time_lowers_both_halves(last_Ohm, last_K, found):
    watch, memory, t_s = ShortWatch(), ShortMemory(), 0.0
    for number in range(6):
        t_s, figures = bent_cycle(watch, t_s, number, ohm=25.0)
        follow(memory, figures, CellFormat.LI_LI, 2e-3)
    ohm = last_Ohm / (1.0 - 0.04 * (last_K - 298.15))
    _, figures = bent_cycle(watch, t_s, 6, ohm=ohm, room_K=last_K)
    evidence = follow(memory, figures, CellFormat.LI_LI, 2e-3)
    assert (evidence.signs.both > 0.0) is found
    assert evidence.flagged is found


def test_what_fell_at_the_same_place_before_is_no_new_fall():
    watch, memory, t_s, falls = ShortWatch(), ShortMemory(), 0.0, []
    for number in range(9):
        leak = grows(0.05, 2000.0, 4500.0) if number > 5 else sound
        t_s, figures = bent_cycle(watch, t_s, number, leak)
        evidence = follow(memory, figures, CellFormat.LI_LI, 2e-3)
        falls.append(evidence.signs.course)
        assert evidence.flagged is (number == 6 or (number == 7 and evidence.log_odds > 0.0))
    assert falls[6] > 0.03
    assert max(falls[7:]) < 0.0


def test_a_difference_of_halves_that_stays_is_no_new_leak():
    watch, memory, t_s, found = ShortWatch(), ShortMemory(), 0.0, []
    for number in range(9):
        t_s, figures = foil_cycle(watch, t_s, number, ohm=20.0)
        if number > 5:
            figures = figures_like(figures, half_Ohm=(20.0, 19.5))
        found.append(follow(memory, figures, CellFormat.LI_LI, NOMINAL_AH).signs.half)
    assert found[6] > 0.01
    assert max(found[7:]) < 0.0


def test_a_rise_that_comes_to_its_end_is_no_fall():
    watch, history, t_s = ShortWatch(), [], 0.0
    for number, ohm in enumerate((25.0, 25.5, 26.0, 26.5, 27.0, 27.05)):
        t_s, figures = bent_cycle(watch, t_s, number, ohm=ohm)
        history.append(figures)
    assert both_halves(history[:-1], history[-1]).more == pytest.approx(0.0, abs=3e-3)
    _, figures = bent_cycle(watch, t_s, 6, ohm=26.5)
    assert both_halves(history, figures).more == pytest.approx(math.log(27.05 / 26.5), rel=0.1)


@pytest.mark.parametrize("half", [0, 1])
def test_a_half_whose_current_is_not_known_is_not_compared(half):
    watch, history, t_s = ShortWatch(), [], 0.0
    for number in range(7):
        t_s, figures = foil_cycle(watch, t_s, number, ohm=20.0)
        history.append(figures)
    currents_A = tuple(math.nan if k == half else history[2].half_A[k] for k in range(2))
    unknown = [figures_like(one, half_A=currents_A) if k == 2 else one
               for k, one in enumerate(history)]  # fmt: skip
    found = later_half(unknown[:-1], unknown[-3:-1], unknown[-1])
    assert found.more == pytest.approx(0.0, abs=1e-3)
    assert 0.0 < found.u < 0.01
    last = figures_like(history[-1], half_A=currents_A)
    assert math.isnan(both_halves(history[:-1], last).more)


def test_without_a_thermometer_halves_say_less():
    us = []
    for thermometer in (True, False):
        watch, t_s, history = ShortWatch(), 0.0, []
        for number in range(6):
            t_s, figures = foil_cycle(watch, t_s, number, ohm=20.0, thermometer=thermometer)
            history.append(figures)
        found = later_half(history[:-1], history[-3:-1], history[-1])
        assert abs(found.more) < 3.0 * found.u
        us.append(found.u)
    assert us[1] > 5.0 * us[0]


def test_medians_of_a_half_are_not_moved_by_its_ends_or_a_strip():
    watch = ShortWatch()
    t_s = 0.0
    for k in range(7200):
        t_s += 1.0
        high = 3.0 if k >= 6600 else 1.0  # the deposit is used up
        observe(watch, t_s, 1e-3, 20e-3 * high)
    for k in range(7200):
        t_s += 1.0
        current_A = -3e-3 if k < 900 else -1e-3
        observe(watch, t_s, current_A, (15.0 if k < 900 else 20.0) * current_A)
    figures = close_cycle(watch, charge_Ah=2e-3, discharge_Ah=2.5e-3)
    assert figures.half_Ohm == pytest.approx((20.0, 20.0), rel=1e-9)
    assert figures.half_A == pytest.approx((1e-3, 1e-3), rel=1e-9)
    assert all(math.isnan(one) for one in figures.half_K)


def test_a_rest_in_the_discharged_state_counts_for_the_charge_after_it():
    """Whether the cycle ends before it, in it or after it."""
    found = []
    for closed_after in (0, 1000, 2000):
        watch, t_s = ShortWatch(), 0.0
        t_s = half_cycle(watch, t_s, -1e-3, hours=0.5)
        for k in range(2000):
            if k == closed_after:
                close_cycle(watch, charge_Ah=0.0, discharge_Ah=1e-3)
            t_s += 1.0
            observe(watch, t_s, 0.0, 0.0)
        if closed_after == 2000:
            close_cycle(watch, charge_Ah=0.0, discharge_Ah=1e-3)
        t_s = half_cycle(watch, t_s, 1e-3, hours=0.5)
        for _ in range(1000):
            t_s += 1.0
            observe(watch, t_s, 0.0, 0.1)
        t_s = half_cycle(watch, t_s, -1e-3, hours=0.5)
        found.append(close_cycle(watch, charge_Ah=1e-3, discharge_Ah=1e-3))
    assert [one.rest_before_h for one in found] == pytest.approx([2000.0 / 3600.0] * 3, abs=2e-3)
    assert [one.charged_rest_h for one in found] == pytest.approx([1000.0 / 3600.0] * 3, abs=2e-3)


def test_the_first_step_from_rest_into_discharge_gives_the_resistance():
    """An anchor's hold begins from a rest as well, at another state of charge."""
    watch, t_s = ShortWatch(), 0.0
    t_s = half_cycle(watch, t_s, 1e-3, hours=0.5)
    for ohm, hours in ((100.0, 0.5), (300.0, 0.2)):
        for _ in range(600):
            t_s += 1.0
            observe(watch, t_s, 0.0, 0.0)
        t_s = half_cycle(watch, t_s, -1e-3, ohm=ohm, hours=hours)
    t_s += 1.0
    observe(watch, t_s, 0.0, 0.0)
    figures = close_cycle(watch, charge_Ah=1e-3, discharge_Ah=1e-3)
    assert figures.first_Ohm == pytest.approx(100.0, abs=0.3)
    assert figures.late_Ohm == pytest.approx(100.0, abs=0.3)
    assert figures.step_Ohm == pytest.approx(300.0, abs=0.3)


def test_a_memory_comes_back_from_text():
    _, plain = cycle(ShortWatch(), 0.0, 1)
    memory = ShortMemory()
    for k in range(3):
        follow(memory, figures_like(plain, number=k), CellFormat.LI_LI, NOMINAL_AH)
    back = memory_from(json.loads(json.dumps(asdict(memory))))
    assert repr(back) == repr(memory)


def test_a_hold_on_bare_copper_is_no_resistance():
    """At the strip's cut-off of 1 V microamperes are left: 1 V over them is nobody's resistance."""
    with_hold, without = ShortWatch(), ShortWatch()
    for watch in (with_hold, without):
        t_s = half_cycle(watch, 0.0, -1e-3, ohm=100.0)
    for k in range(1800):
        observe(with_hold, t_s + k, -1e-6, -1.0)
    resistances = [
        close_cycle(watch, charge_Ah=1e-3, discharge_Ah=1e-3).polarised_Ohm
        for watch in (with_hold, without)
    ]
    assert resistances[0] == pytest.approx(resistances[1], rel=1e-3)


def test_pulses_to_and_fro_are_no_resistance():
    """A reading between two pulses may have the voltage of one and the current of the other."""
    with_pulses, without = ShortWatch(), ShortWatch()
    t_s = 0.0
    for k in range(60):
        sign = 1.0 if k // 10 % 2 else -1.0
        observe(with_pulses, t_s + k, sign * (2e-3 if k % 10 == 0 else 18e-3), 1.8 * sign)
    figures = [cycle(watch, 60.0, 1)[1] for watch in (with_pulses, without)]
    assert figures[1].polarised_Ohm == pytest.approx(100.0, rel=1e-3)
    assert not figures[0].polarised_Ohm > 101.0


def peak(after_s):
    """Rise to one for five minutes, fall by a twentieth within seconds, and go on falling slowly."""
    if after_s < 0.0:
        return max(after_s / 300.0 + 1.0, 0.0)
    return 1.0 - 0.05 * (1.0 - math.exp(-after_s / 6.0)) - after_s / 2e4


def falling_cycle(watch, t_s, seed, *, step_V=0.0, bend_V=0.0, peak_V=0.0):
    """Feed a cycle between two foils whose voltage in charge steps down, bends, or has a peak."""
    random = np.random.default_rng(seed)
    for sign in (1.0, -1.0):
        for k in range(7200):
            t_s += 1.0
            voltage_V = 0.1
            if sign > 0.0:
                voltage_V -= step_V * (k >= 3600) + bend_V * math.sin(math.pi * k / 7200.0)
                voltage_V += peak_V * peak(k - 3600.0)
            observe(watch, t_s, sign * 1e-3, sign * voltage_V + 1e-4 * random.standard_normal())
    return t_s, close_cycle(watch, charge_Ah=2e-3, discharge_Ah=2e-3, temperature_K=298.15)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"step_V": 3e-4}, True),
        ({"bend_V": 0.02}, False),
        ({"peak_V": 0.2}, False),  # a cathode that is empty at the end of a charge
        ({}, False),
    ],
)
def test_a_fall_that_is_sudden_and_lasts_is_found_and_a_bend_is_not(changes, found):
    watch, t_s, history = ShortWatch(), 0.0, []
    for seed in range(4):
        t_s, figures = falling_cycle(watch, t_s, seed)
        history.append(figures)
    t_s, figures = falling_cycle(watch, t_s, 9, **changes)
    last = history[-1]  # signs of their own
    figures = figures_like(figures, half_Ohm=last.half_Ohm, courses=last.courses)
    evidence = judge(after(history), figures, CellFormat.LI_LI, NOMINAL_AH)
    assert (evidence.signs.fall > 0.0) is found
    assert evidence.flagged is found
    if found:
        assert figures.fall_V[2] == pytest.approx(changes["step_V"], abs=1e-4)


def test_a_strip_that_ends_short_of_its_cut_off_has_another_way():
    watch = ShortWatch()
    _, plain = cycle(watch, 0.0, 1)
    history = [figures_like(plain, number=k, lowest_V=-1.0 - 0.1 * k) for k in range(5)]
    for lowest_V, flagged in ((-0.95, True), (-1.05, False), (-0.02, False)):
        now = figures_like(plain, number=5, lowest_V=lowest_V)
        assert judge(after(history), now, CellFormat.LI_CU, NOMINAL_AH).flagged is flagged
    # where the last reading lies anywhere, nothing is said
    scattered = [figures_like(one, lowest_V=-0.5 - 0.2 * one.number) for one in history]
    now = figures_like(plain, number=5, lowest_V=-0.45)
    assert not judge(after(scattered), now, CellFormat.LI_CU, NOMINAL_AH).flagged


@pytest.mark.parametrize(
    ("cell_format", "lasting_V", "found"),
    [
        (CellFormat.EXCESS_LITHIUM, 0.0, False),  # what was plated is used up; the foil takes over
        (CellFormat.EXCESS_LITHIUM, 9e-3, True),
        (CellFormat.EXCESS_LITHIUM, math.nan, True),  # too near an end to know
        (CellFormat.ANODE_FREE, 0.0, True),
    ],
)
def test_a_fall_in_the_discharge_of_a_cell_with_a_foil_has_to_last(cell_format, lasting_V, found):
    _, plain = cycle(ShortWatch(), 0.0, 1)
    plain = figures_like(plain, fall_V=[1e-4] * 9, dense_share=1.0)
    history = [figures_like(plain, number=k) for k in range(5)]
    fell = figures_like(plain, number=5, fall_V=[1e-4] * 6 + [0.01, 0.01, lasting_V])
    assert judge(after(history), fell, cell_format, NOMINAL_AH).flagged is found


def test_on_copper_a_half_that_fell_short_is_not_enough_not_even_twice():
    watch, t_s, history = ShortWatch(), 0.0, []
    for number in range(6):
        t_s, figures = foil_cycle(watch, t_s, number, ohm=100.0)
        history.append(figures)
    for cell_format, flagged in ((CellFormat.LI_CU, False), (CellFormat.LI_LI, True)):
        memory, evidence = after(history), []
        for number in (6, 7):
            one = figures_like(
                history[-1], number=number, half_Ohm=[100.0, 96.0], polarised_Ohm=100.0
            )
            evidence.append(follow(memory, one, cell_format, NOMINAL_AH))
        assert evidence[0].signs.half > 0.02
        assert [one.flagged for one in evidence] == [flagged, False]  # the second is not new


def test_two_foils_have_no_decay_at_rest():
    _, plain = cycle(ShortWatch(), 0.0, 1)
    plain = figures_like(plain, decay_charged_V_per_h=1e-3)
    history = [figures_like(plain, number=k) for k in range(5)]
    faster = figures_like(plain, number=5, decay_charged_V_per_h=0.05)
    assert (
        judge(after(history), faster, CellFormat.ANODE_FREE, NOMINAL_AH).signs.decay_charged > 5.0
    )
    for cell_format in (CellFormat.LI_CU, CellFormat.LI_LI):
        signs = judge(after(history), faster, cell_format, NOMINAL_AH).signs
        assert math.isnan(signs.decay_charged)


def test_a_heavy_shuttle_is_less_steady_in_charge_than_a_light_one():
    _, plain = cycle(ShortWatch(), 0.0, 1)
    doubts = []
    for taken in (0.0, 0.05):
        history = [
            figures_like(plain, number=k, charge_Ah=1e-3, discharge_Ah=(1.0 - taken) * 1e-3)
            for k in range(10)
        ]
        doubts.append(slippage(history[:-1], history[-3:-1], history[-1], NOMINAL_AH).u)
    assert math.sqrt(doubts[1] ** 2 - doubts[0] ** 2) == pytest.approx(0.2 * 0.05, rel=0.05)
