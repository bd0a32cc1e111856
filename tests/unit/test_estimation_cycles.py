"""Segmentation, defects and flags on series made by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from controller.domain.cell import CellFormat
from controller.domain.figures import DischargeEnd
from controller.estimation import charge
from controller.estimation.charge import CUT_OFF_U_V, GAIN_PER_K
from controller.estimation.diagnosis import Mode
from controller.estimation.files.cycles import analyse
from controller.estimation.table import Table

H = 3600.0


def table(blocks, *, dt_s=10.0, cycles=None, **changes) -> Table:
    """Blocks of (current A, duration s, start V, end V), read every `dt_s`, ends included."""
    t_s, current_A, voltage_V, step, cycle = [], [], [], [], []
    start_s = 0.0
    for k, (block_A, lasts_s, first_V, last_V) in enumerate(blocks):
        since_s = np.append(np.arange(0.0, lasts_s, dt_s), lasts_s)
        t_s += (start_s + since_s).tolist()
        current_A += [block_A] * since_s.size
        voltage_V += (first_V + (last_V - first_V) * since_s / lasts_s).tolist()
        step += [float(k)] * since_s.size
        cycle += [float(cycles[k]) if cycles else 0.0] * since_s.size
        start_s += lasts_s
    values = {
        "source": "made",
        "layout": "made",
        "t_s": np.array(t_s),
        "current_A": np.array(current_A),
        "voltage_V": np.array(voltage_V),
        "step": np.array(step),
        "cycle": np.array(cycle) if cycles else None,
        "written_current_resolution_A": 1e-6,
    }
    return Table(**{**values, **changes})


CYCLE = [(1e-3, 1000.0, 3.5, 4.0), (0.0, 100.0, 3.9, 3.9), (-1e-3, 990.0, 3.9, 3.0)]


def full(series: Table, cell_format=CellFormat.FULL_CELL, **options):
    return analyse(series, cell_format=cell_format, **options)


def test_a_files_temperature_and_cut_off_widen_its_efficiency():
    series = table(CYCLE)
    back = series.current_A < 0.0
    us = {}
    for warmer_K in (0.0, 20.0):
        warm = replace(series, temperature_K=298.15 + warmer_K * back)
        us[warmer_K] = full(warm).cycles[0].u_coulombic_efficiency
    seen = math.sqrt(us[20.0] ** 2 - us[0.0] ** 2)
    # the first interval of the discharge still has the rest's temperature at its begin
    assert seen == pytest.approx(0.99 * 20.0 * GAIN_PER_K, rel=0.05)
    # 0.9 V take 0.99 A s: so much for each volt is not known better than the voltage
    flat = table([*CYCLE[:2], (-1e-3, 990.0, 3.9, 3.84)])
    more = full(flat).cycles[0].u_discharge_Ah
    less = full(series).cycles[0].u_discharge_Ah
    wide, narrow = (CUT_OFF_U_V * 0.99 / fall_V / H for fall_V in (0.06, 0.9))
    assert more**2 - less**2 == pytest.approx(wide**2 - narrow**2, rel=0.02)


def test_a_cut_off_within_the_last_interval_is_not_taken_from_the_rest_after_it(monkeypatch):
    blocks = [*CYCLE[:2], (-1e-3, 990.0, 3.9, 3.84), (0.0, 100.0, 3.88, 3.88)]
    whole = table(blocks)
    kept = np.ones(whole.t_s.size, bool)
    kept[-11] = False  # the rest's first reading: the current went off somewhere before the next
    logged = replace(
        whole,
        t_s=whole.t_s[kept],
        current_A=whole.current_A[kept],
        voltage_V=whole.voltage_V[kept],
        step=None,
    )
    us = []
    for u_V in (0.0, 0.1):
        monkeypatch.setattr(charge, "CUT_OFF_U_V", u_V)
        us.append(full(logged).cycles[0].u_discharge_Ah)
    assert math.sqrt(us[1] ** 2 - us[0] ** 2) == pytest.approx(0.1 * 0.99 / 0.06 / H, rel=0.05)


def test_cycles_from_reversals_when_the_file_has_none():
    analysis = full(table(CYCLE * 3))
    assert [c.cycle for c in analysis.cycles] == [1, 2, 3]
    for cycle in analysis.cycles:
        assert cycle.charge_Ah * H == pytest.approx(1.0)
        assert cycle.discharge_Ah * H == pytest.approx(0.99)
        assert cycle.coulombic_efficiency == pytest.approx(0.99)
        assert cycle.u_coulombic_efficiency is not None
        assert 0.0 < cycle.u_coulombic_efficiency < 0.01
        assert cycle.net_charge_Ah * H == pytest.approx(-0.01)
        assert cycle.flags == ()


def test_pulses_make_no_cycles():
    pulses = [(-1e-3, 300.0, 3.9, 3.8), (1e-3, 10.0, 3.85, 3.86)] * 5
    analysis = full(table([(1e-3, 1600.0, 3.5, 4.0), *pulses, (1e-3, 1000.0, 3.5, 4.0)]))
    assert len(analysis.cycles) == 2
    assert analysis.cycles[0].discharge_Ah * H == pytest.approx(1.5)
    assert analysis.cycles[1].coulombic_efficiency is None
    assert "incomplete" in analysis.cycles[1].flags


def test_pulses_make_no_cycles_where_they_are_large_beside_the_steps_between_them():
    """A pulse test's first steps are small, and so is each step beside the whole discharge."""
    steps = [(-1e-3, 70.0, 3.9, 3.8), (1e-3, 12.0, 3.85, 3.86)] * 14
    test = [(1e-3, 1000.0, 3.5, 4.0), *steps, (-1e-3, 178.0, 3.5, 3.0)]
    analysis = full(table(test * 2, dt_s=1.0))
    assert [c.cycle for c in analysis.cycles] == [1, 2]
    assert [c.coulombic_efficiency for c in analysis.averaged] == pytest.approx([1.158 / 1.168] * 2)


def test_discharges_that_give_little_back_are_no_pulses():
    cycle = [(1e-3, 1000.0, 3.5, 4.0), (-1e-3, 60.0, 3.9, 3.0)]
    analysis = full(table(cycle * 4), CellFormat.ANODE_FREE)
    assert [c.coulombic_efficiency for c in analysis.cycles] == pytest.approx([0.06] * 4)


def test_what_a_drive_cycle_turns_unseen_is_in_the_uncertainty_of_its_charges():
    """One reading a second of a current that changes each second: the chord cancels part of it."""
    rng = np.random.default_rng(4)
    steps_A = rng.normal(-2e-4, 1e-3, 3000)
    current_A = np.concatenate((np.full(1000, 1e-3), [0.0], steps_A, [0.0]))
    series = table([(0.0, current_A.size - 1.0, 3.5, 3.6)], dt_s=1.0)
    one = np.append(np.ones(current_A.size - 1), 2.0)
    cycle = full(replace(series, current_A=current_A, cycle=one)).cycles[0]
    true_Ah = float(np.sum(current_A[current_A > 0.0])) / 3600.0
    assert 5.0 * cycle.u_net_charge_Ah < true_Ah - cycle.charge_Ah < 2.0 * cycle.u_charge_Ah


def test_the_files_own_numbers_are_kept():
    analysis = full(table(CYCLE * 2, cycles=[7] * 3 + [9] * 3))
    assert [c.cycle for c in analysis.cycles] == [7, 9]


def test_numbers_that_count_in_the_midst_of_charges_are_named_and_not_used():
    series = table(CYCLE * 4, cycles=[k // 3 for k in range(12)])
    late = np.append(np.zeros(20), series.cycle[:-20])
    for step in (series.step, None):
        analysis = full(replace(series, cycle=late, step=step))
        words = "the cycle column counts in the midst of half cycles (first: row 234)"
        assert any(one.startswith(words) for one in analysis.findings)
        assert [c.coulombic_efficiency for c in analysis.averaged] == pytest.approx([0.99] * 4)


def test_a_number_logged_a_row_late_is_kept():
    series = table(CYCLE * 3, cycles=[k // 3 + 7 for k in range(9)])
    analysis = full(replace(series, cycle=np.append([7.0], series.cycle[:-1])))
    assert [c.cycle for c in analysis.cycles] == [7, 8, 9]
    assert not any("cycle column" in one for one in analysis.findings)


def test_numbers_that_are_not_whole_are_named_and_not_used():
    series = table(CYCLE * 2)
    analysis = full(table(CYCLE * 2, cycle=np.full(series.t_s.size, 2.5)))
    assert [c.cycle for c in analysis.cycles] == [1, 2]
    assert any(
        w.startswith("cycle-count-not-integer: the cycle column holds 2.5;")
        for w in analysis.findings
    )


def test_a_column_that_never_counts_is_named():
    analysis = full(table(CYCLE * 3, cycles=[1] * 9))
    assert len(analysis.cycles) == 3
    assert any("holds 1 throughout" in words for words in analysis.findings)


def test_nan_rows_are_left_out_and_counted():
    series = table(CYCLE)
    current_A, voltage_V = series.current_A.copy(), series.voltage_V.copy()
    current_A[[5, 6]] = math.nan
    voltage_V[20] = math.nan
    analysis = full(table(CYCLE, current_A=current_A, voltage_V=voltage_V))
    assert analysis.cycles[0].charge_Ah * H == pytest.approx(1.0)
    assert any(
        "usable number for time, current or voltage: 3 (first" in words
        for words in analysis.findings
    )
    assert any("row 7);" in words for words in analysis.findings)


def test_absurd_numbers_are_left_out_like_missing_ones():
    series = table(CYCLE)
    current_A, t_s = series.current_A.copy(), series.t_s.copy()
    current_A[5] = 1e300
    t_s[7] = 1e300
    analysis = full(table(CYCLE, current_A=current_A, t_s=t_s))
    assert analysis.cycles[0].charge_Ah * H == pytest.approx(1.0)
    assert any("voltage: 2 (first: row 7)" in words for words in analysis.findings)


def test_a_single_row_out_of_time_is_mended():
    series = table(CYCLE)
    t_s = series.t_s.copy()
    t_s[10] = 0.0
    analysis = full(table(CYCLE, t_s=t_s))
    assert analysis.cycles[0].charge_Ah * H == pytest.approx(1.0)
    assert any("time goes backwards 1 time (first: row 12)" in w for w in analysis.findings)


def test_time_that_begins_again_is_flagged_and_widens():
    series = table(CYCLE)
    t_s = series.t_s.copy()
    t_s[50:] -= 400.0
    whole, broken = full(series), full(table(CYCLE, t_s=t_s))
    assert "time-reset" in broken.cycles[0].flags
    assert broken.averaged == ()
    missing_Ah = whole.cycles[0].charge_Ah - broken.cycles[0].charge_Ah
    assert 0.0 < missing_Ah <= 10e-3 / H + 1e-12
    assert broken.cycles[0].u_charge_Ah >= 10e-3 / H / math.sqrt(3.0)


def test_a_single_row_ahead_of_time_is_mended():
    series = table(CYCLE)
    t_s = series.t_s.copy()
    t_s[50] += 7200.0
    analysis = full(replace(series, t_s=t_s))
    assert analysis.cycles[0].charge_Ah * H == pytest.approx(1.0)
    assert analysis.cycles[0].flags == ()
    assert any("1 single rows" in w and "(first: row 52)" in w for w in analysis.findings)


@pytest.mark.parametrize("by_s", [40.0, 4000.0, -35.0, -900.0])
@pytest.mark.parametrize(("first", "rows"), [(130, 2), (140, 20), (95, 12), (208, 8)])
def test_a_block_of_rows_ahead_of_time_or_behind_is_moved_back(by_s, first, rows):
    """Within a step, over its end and over the end of a cycle."""
    series = table(CYCLE * 3, cycles=[1] * 3 + [2] * 3 + [3] * 3)
    t_s = series.t_s.copy()
    t_s[first : first + rows] += by_s
    analysis, sound = full(replace(series, t_s=t_s)), full(series)
    (words,) = [one for one in analysis.findings if one.startswith("time-reset: ")]
    assert (
        f"1 blocks of rows that ran ahead or back for a while (first: rows {first + 2} to" in words
    )
    assert [c.cycle for c in analysis.averaged] == [1, 2, 3]
    for cycle, before in zip(analysis.cycles, sound.cycles, strict=True):
        assert abs(cycle.charge_Ah - before.charge_Ah) <= 2.0 * cycle.u_charge_Ah
        assert abs(cycle.discharge_Ah - before.discharge_Ah) <= 2.0 * cycle.u_discharge_Ah
        assert cycle.u_charge_Ah < 0.02 * cycle.charge_Ah


def test_a_block_of_rows_with_one_time_is_spread_between_its_neighbours():
    series = table(CYCLE)
    t_s = series.t_s.copy()
    t_s[50:56] = 9e5
    cycle = full(table(CYCLE, t_s=t_s)).cycles[0]
    assert cycle.charge_Ah * H == pytest.approx(1.0)
    assert "time-reset" not in cycle.flags


def test_a_row_out_of_time_behind_a_reset_is_set_where_time_is_by_then():
    series = table(CYCLE * 2)
    t_s = series.t_s.copy()
    t_s[100:] -= 700.0
    t_s[260] -= 300.0
    sound, analysis = full(series), full(table(CYCLE * 2, t_s=t_s))
    assert analysis.cycles[1].charge_Ah == pytest.approx(sound.cycles[1].charge_Ah)
    assert ["time-reset" in c.flags for c in analysis.cycles] == [True, False]


def second_file(since_s: float, *, until_s: float, dt_s: float, count: int = 3) -> Table:
    """What one log has up to `until_s`, and behind it a log at other moments from `since_s` on."""
    blocks, numbers = CYCLE * count, sorted([*range(1, count + 1)] * 3)
    first, second = table(blocks, cycles=numbers), table(blocks, dt_s=dt_s, cycles=numbers)
    ends, begins = first.t_s <= until_s, second.t_s >= since_s
    names = ("t_s", "current_A", "voltage_V", "step", "cycle")
    joined = {
        name: np.concatenate((getattr(first, name)[ends], getattr(second, name)[begins]))
        for name in names
    }
    noise_V = 2e-4 * np.random.default_rng(7).standard_normal(joined["t_s"].size)
    return replace(first, **{**joined, "voltage_V": joined["voltage_V"] + noise_V})


@pytest.mark.parametrize(
    ("since_s", "until_s", "dt_s"),
    [(2500.0, 3403.0, 7.0), (700.0, 5200.0, 4.0), (3000.0, 3100.0, 13.0), (0.0, 4000.0, 9.0)],
)
def test_a_second_log_of_one_course_is_counted_once(since_s, until_s, dt_s):
    """The last begins where the first began: cycle numbers tell that it is no clock begun again."""
    analysis = full(second_file(since_s, until_s=until_s, dt_s=dt_s))
    assert sum(one.startswith("overlapping-rows: ") for one in analysis.findings) == 1
    assert not any(one.startswith("time-reset") for one in analysis.findings)
    assert [c.cycle for c in analysis.averaged] == [1, 2, 3]
    for cycle in analysis.cycles:
        assert cycle.charge_Ah * H == pytest.approx(1.0, rel=5e-3)
        assert abs(cycle.coulombic_efficiency - 0.99) < 2.0 * cycle.u_coulombic_efficiency


def test_cycles_alike_under_a_clock_that_begins_again_are_no_second_log():
    series = second_file(1e9, until_s=1e9, dt_s=10.0)
    t_s = series.t_s.copy()
    for number in (2.0, 3.0):
        t_s[series.cycle == number] -= t_s[series.cycle == number][0]
    for cycle in (series.cycle, None):
        analysis = full(replace(series, t_s=t_s, cycle=cycle, step=None))
        assert not any(one.startswith("overlapping-rows") for one in analysis.findings)
        assert len(analysis.cycles) == 3


def test_a_clock_set_back_while_the_cell_goes_on_is_no_second_log():
    series = second_file(1e9, until_s=1e9, dt_s=10.0)
    t_s = series.t_s.copy()
    t_s[150:] -= 400.0
    analysis = full(replace(series, t_s=t_s))
    assert not any(one.startswith("overlapping-rows") for one in analysis.findings)
    assert "time-reset" in analysis.cycles[0].flags


def test_what_a_reset_leaves_open_is_told_by_the_intervals_around_it():
    slow = table([(1e-3, 3000.0, 3.5, 4.0)], dt_s=30.0)
    fast = table([(0.0, 2000.0, 3.9, 3.9), (-1e-3, 2990.0, 3.9, 3.0)], dt_s=2.0)
    t_s = np.concatenate((slow.t_s, slow.t_s[-1] + fast.t_s))
    t_s[50:] -= t_s[50]
    both = {
        name: np.concatenate((getattr(slow, name), getattr(fast, name)))
        for name in ("current_A", "voltage_V")
    }
    cycle = full(Table(source="made", layout="made", t_s=t_s, **both)).cycles[0]
    assert cycle.u_charge_Ah >= 30e-3 / H / math.sqrt(3.0)


def gapped(rows: slice, blocks=None) -> Table:
    """Return three cycles without the readings of `rows`."""
    series = table(blocks or CYCLE * 3)
    kept = np.ones(series.t_s.size, bool)
    kept[rows] = False
    return replace(rows_of(series, kept), step=None)


def test_a_cycle_with_a_gap_is_left_out_of_averages():
    analysis = full(gapped(slice(230, 280)))
    assert "gap" in analysis.cycles[1].flags
    assert analysis.cycles[1].coulombic_efficiency is not None
    assert [c.cycle for c in analysis.averaged] == [1, 3]


def test_a_gap_that_may_hide_a_discharge_gives_no_efficiency():
    analysis = full(gapped(slice(290, 450)))
    (cycle,) = [c for c in analysis.cycles if "gap" in c.flags]
    assert cycle.coulombic_efficiency is None
    assert cycle.coulombic_efficiency_reason == "a gap in the log may hide a half cycle"
    assert any("may hide a whole half cycle" in w for w in analysis.findings)


def test_a_discharge_missing_between_two_rests_gives_no_efficiency():
    series = table(RESTED * 4)
    rows = np.flatnonzero(series.step != 6.0)
    analysis = full(rows_of(series, rows))
    (words,) = [w for w in analysis.findings if w.startswith("gap")]
    assert "1 of the log in a rest (first: after row 396)" in words
    assert [c.coulombic_efficiency for c in analysis.averaged] == pytest.approx([0.99] * 2)


def test_a_rest_logged_rarely_hides_nothing():
    series = table(RESTED * 4)
    edge = np.diff(series.step) != 0.0
    kept = (series.current_A != 0.0) | np.append(edge, True) | np.append(True, edge)
    analysis = full(rows_of(series, np.flatnonzero(kept)))
    assert not any(w.startswith("gap") for w in analysis.findings)
    assert len(analysis.averaged) == 4


def test_counters_are_used_unless_ignored_and_compared():
    series = table(CYCLE)
    dt_s = np.diff(series.t_s, prepend=0.0)
    charge_Ah = np.cumsum(np.maximum(series.current_A, 0.0) * dt_s) / H
    discharge_Ah = np.cumsum(np.maximum(-series.current_A, 0.0) * dt_s) / H
    counted = {"charging_Ah": charge_Ah * 1.1, "discharging_Ah": discharge_Ah * 1.0}
    analysis = full(table(CYCLE, **counted))
    assert analysis.cycles[0].source == "counter"
    assert analysis.cycles[0].charge_Ah * H == pytest.approx(1.1)
    assert "counter-mismatch" in analysis.cycles[0].flags
    assert sum(words.startswith("counter-mismatch") for words in analysis.findings) == 1
    ignored = full(table(CYCLE, **counted), ignore_counters=True)
    assert ignored.cycles[0].source == "integrated"
    assert ignored.cycles[0].charge_Ah * H == pytest.approx(1.0)


def test_a_step_counter_takes_its_direction_from_the_current():
    series = table(CYCLE)
    counter_Ah = np.zeros(series.t_s.size)
    for step in np.unique(series.step):
        rows = np.flatnonzero(series.step == step)
        counter_Ah[rows] = (
            np.abs(series.current_A[rows]) * (series.t_s[rows] - series.t_s[rows[0]]) / H
        )
    analysis = full(table(CYCLE, step_capacity_Ah=counter_Ah))
    assert analysis.cycles[0].source == "counter"
    assert analysis.cycles[0].charge_Ah * H == pytest.approx(1.0)
    assert analysis.cycles[0].discharge_Ah * H == pytest.approx(0.99)


@pytest.mark.parametrize(
    ("discharge_s", "flags"),
    [(1040.0, ("ce-above-one",)), (1060.0, ("starts-charged",)), (1000.0, ())],
)
def test_first_cycle_that_gives_more_than_it_got(discharge_s, flags):
    blocks = [CYCLE[0], CYCLE[1], (-1e-3, discharge_s, 3.9, 3.0)]
    cycle = full(table(blocks)).cycles[0]
    if flags == ("ce-above-one",):
        assert set(flags) <= set(cycle.flags)
    else:
        assert cycle.flags == flags


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda s: {"voltage_V": s.voltage_V * 1e3}, "units-implausible: the voltage"),
        (lambda s: {"t_s": s.t_s * 36000.0}, "units-implausible: one half cycle"),
        (lambda s: {"t_s": s.t_s * 3000.0}, "units-implausible: one half cycle"),
        (lambda s: {"t_s": s.t_s / 60.0}, "units-implausible: charges and discharges of"),
        (lambda s: {"t_s": s.t_s / 3600.0}, "units-implausible: charges and discharges of"),
        (lambda s: {"current_A": -s.current_A}, "sign-implausible"),
    ],
)
def test_implausible_units_and_signs(change, word):
    sound = full(table(CYCLE))
    assert not any("implausible" in words for words in sound.findings)
    analysis = full(table(CYCLE, **change(table(CYCLE))))
    assert any(words.startswith(word) for words in analysis.findings)
    assert any(word.split(":")[0] in c.flags for c in analysis.cycles)
    assert analysis.averaged == ()


def rows_of(series: Table, rows) -> Table:
    return replace(
        series,
        t_s=series.t_s[rows],
        current_A=series.current_A[rows],
        voltage_V=series.voltage_V[rows],
        step=series.step[rows],
        cycle=None if series.cycle is None else series.cycle[rows],
    )


@pytest.mark.parametrize("overlap", ["the whole file", "some rows", "each row"])
def test_rows_that_stand_in_the_file_twice_are_counted_once(overlap):
    series = table(CYCLE * 3, cycles=[1] * 3 + [2] * 3 + [3] * 3)
    n = series.t_s.size
    rows = {
        "the whole file": [*range(n), *range(n)],
        "some rows": [*range(300), *range(250, n)],
        "each row": np.repeat(np.arange(n), 2).tolist(),
    }[overlap]
    analysis = full(rows_of(series, np.array(rows)))
    assert [c.charge_Ah for c in analysis.cycles] == pytest.approx([1.0 / H] * 3, rel=1e-9)
    assert [c.flags for c in analysis.cycles] == [()] * 3
    assert any(w.startswith("repeated-rows: ") for w in analysis.findings)
    assert not any(w.startswith("repeated-rows: ") for w in full(series).findings)


def test_times_that_are_no_number_do_not_disturb_the_search_for_repeated_rows():
    series = table(CYCLE * 2)
    t_s = series.t_s.copy()
    t_s[10:13] = math.inf
    assert len(full(replace(series, t_s=t_s)).cycles) == 2


def test_a_rest_alike_after_a_clock_began_again_is_no_repeated_block():
    rest = [(0.0, 100.0, 3.5, 3.5)]
    series = table([*rest, *CYCLE, *rest, *CYCLE])
    t_s = np.where(np.arange(series.t_s.size) < series.t_s.size // 2, 0.0, series.t_s[-1] / 2.0)
    analysis = full(replace(series, t_s=series.t_s - t_s, voltage_V=series.voltage_V + 1e-5 * t_s))
    assert not any("repeated-rows" in w for w in analysis.findings)
    assert len(analysis.cycles) == 2


def test_numbers_that_begin_again_with_the_time_are_counted_on():
    series = table(CYCLE * 2, cycles=[1] * 3 + [2] * 3)
    blocks = [(2e-3, 1000.0, 3.4, 4.1), (0.0, 100.0, 4.0, 4.0), (-2e-3, 990.0, 3.9, 3.1)]
    other = table(blocks * 2, cycles=[1] * 3 + [2] * 3)
    both = Table(
        source="made",
        layout="made",
        **{
            name: np.concatenate((getattr(series, name), getattr(other, name)))
            for name in ("t_s", "current_A", "voltage_V", "step", "cycle")
        },
    )
    analysis = full(both)
    assert [c.cycle for c in analysis.cycles] == [1, 2, 3, 4]
    charges_Ah = [c.charge_Ah * H for c in analysis.cycles]
    assert charges_Ah == pytest.approx([1.0, 1.0, 2.0, 2.0], rel=2e-2)
    assert "time-reset" in analysis.cycles[2].flags
    assert any("begins again at 1 after 2" in w for w in analysis.findings)


def test_two_cycles_under_one_number_are_named_and_left_out():
    analysis = full(table(CYCLE * 4, cycles=[1] * 3 + [2] * 6 + [4] * 3))
    assert [c.cycle for c in analysis.cycles] == [1, 2, 4]
    assert analysis.cycles[1].flags == ("several-cycles",)
    assert [c.cycle for c in analysis.averaged] == [1, 4]
    assert any(w.startswith("several-cycles: ") and "(2)" in w for w in analysis.findings)


def first_rows(series: Table, rows: slice) -> Table:
    return replace(
        series,
        t_s=series.t_s[rows],
        current_A=series.current_A[rows],
        voltage_V=series.voltage_V[rows],
        step=None,
        cycle=None,
    )


@pytest.mark.parametrize(
    ("rows_missing", "incomplete"), [(0, False), (2, True), (50, True), (97, True)]
)
def test_a_file_that_ends_within_a_discharge_has_an_incomplete_cycle(rows_missing, incomplete):
    series = table(CYCLE * 3)
    analysis = full(first_rows(series, slice(series.t_s.size - rows_missing)))
    last = analysis.cycles[-1]
    assert [c.cycle for c in analysis.cycles] == [1, 2, 3]
    assert ("incomplete" in last.flags) is incomplete
    assert (last.coulombic_efficiency is None) is incomplete
    assert len(analysis.averaged) == (2 if incomplete else 3)
    if incomplete:
        assert last.coulombic_efficiency_reason == "the file ends within a half cycle"
        assert any(
            w.startswith("incomplete: the file ends within a dis") for w in analysis.findings
        )


def test_a_file_that_begins_within_a_charge_has_an_incomplete_cycle():
    analysis = full(first_rows(table(CYCLE * 3), slice(6, None)))
    assert "incomplete" in analysis.cycles[0].flags
    assert analysis.cycles[0].coulombic_efficiency is None
    assert [c.cycle for c in analysis.averaged] == [2, 3]
    assert any(w.startswith("incomplete: the file begins within a ch") for w in analysis.findings)


def fading(leap_V: float) -> Table:
    """Charges lose 2 % from cycle to cycle; where a current begins the voltage leaps and slows."""
    blocks = []
    for lasts_s in (1000.0, 980.0, 960.0, 941.0):
        blocks += [(1e-3, lasts_s, 3.5, 4.0), (-1e-3, 0.99 * lasts_s, 3.9, 3.0)]
    series = table(blocks, dt_s=5.0)
    begins_s = np.array([series.t_s[series.step == step][0] for step in range(len(blocks))])
    since_s = series.t_s - begins_s[series.step.astype(int)]
    moved_V = leap_V * np.sign(series.current_A) * (1.0 - np.exp(-since_s / 3.0))
    return replace(series, voltage_V=series.voltage_V + moved_V)


@pytest.mark.parametrize("missing", [0, 1])
def test_a_missing_begin_of_less_charge_than_a_cycle_loses_is_told_by_the_leap(missing):
    series = fading(0.05)
    analysis = full(first_rows(series, slice(missing, None)))
    assert ("incomplete" in analysis.cycles[0].flags) is (missing > 0)
    assert any("leap and slow down" in words for words in analysis.findings) is (missing > 0)
    assert len(analysis.averaged) == 3 + (missing == 0)


def test_without_a_leap_a_begin_tells_nothing_and_a_new_cells_differs_freely():
    assert full(first_rows(fading(0.0), slice(1, None))).cycles[0].flags == ()
    series = fading(0.03)
    new = series.step == 0.0
    raised = replace(series, voltage_V=series.voltage_V + 0.3 * new)
    assert full(raised).cycles[0].flags == ()


def test_a_strip_whose_limit_carries_nothing_is_held_against_that_limit():
    """Its last reading with current lies near 0 V, scattered; the one after at the limit."""
    strips = [(-1e-3, 980.0, -0.01, last_V) for last_V in (-0.02, -0.09, -0.04)]
    blocks = []
    for strip in strips:
        blocks += [(1e-3, 1000.0, 0.01, 0.01), strip, (0.0, 60.0, -1.0, -1.0)]
    series = table([*blocks, (1e-3, 1000.0, 0.01, 0.01), (-1e-3, 200.0, -0.01, -0.01)])
    series = replace(series, step=None, cycle=None)
    cycles = full(series, CellFormat.LI_CU).cycles
    assert ["incomplete" in c.flags for c in cycles] == [False, False, False, True]


def test_a_new_cells_first_charge_may_begin_elsewhere():
    new = [(1e-3, 1100.0, 3.6, 4.0), *CYCLE[1:]]
    series = table([*new, *CYCLE * 2])
    assert "incomplete" not in full(series).cycles[0].flags


def test_a_pulse_far_above_does_not_make_a_cut_discharge_rest():
    blocks = [(-0.9, 1.0, 3.5, 3.4), *CYCLE * 3]
    series = table(blocks)
    analysis = full(first_rows(series, slice(series.t_s.size - 50)))
    assert "incomplete" in analysis.cycles[-1].flags


def test_of_an_only_discharge_it_is_said_what_cannot_be_told():
    words = [w for w in full(table(CYCLE)).findings if "cannot be told" in w]
    assert len(words) == 1
    assert words[0].startswith("the file ends while its only discharge still carries current")
    assert not any("cannot be told" in w for w in full(table(CYCLE * 2)).findings)


def test_discharges_of_one_charge_end_by_it():
    limited = [(1e-3, 1000.0, 3.5, 4.0), (-1e-3, 900.0, 3.9, 3.5)]
    blocks = [*limited, *limited, limited[0], (-1e-3, 900.0, 3.9, 3.6)]
    assert all("incomplete" not in c.flags for c in full(table(blocks)).cycles)


def test_one_row_at_0_V_does_not_hide_a_turned_sign():
    series = table(CYCLE * 3)
    voltage_V = series.voltage_V.copy()
    voltage_V[-1] = 0.0
    analysis = full(replace(series, current_A=-series.current_A, voltage_V=voltage_V))
    assert any(w.startswith("sign-implausible") for w in analysis.findings)
    assert analysis.averaged == ()


@pytest.mark.parametrize(("current", "said"), [(-1.0, True), (1.0, False)])
@pytest.mark.parametrize("cell_format", [CellFormat.FULL_CELL, CellFormat.ANODE_FREE, None])
def test_a_voltage_with_its_sign_turned_is_named_with_or_without_the_current(
    current, said, cell_format
):
    series = table(CYCLE * 3)
    turned = replace(series, current_A=current * series.current_A, voltage_V=-series.voltage_V)
    analysis = full(turned, cell_format)
    (words,) = [w for w in analysis.findings if w.startswith("sign-implausible")]
    assert ("and the current's with it" in words) is said
    assert all("sign-implausible" in c.flags for c in analysis.cycles)
    assert analysis.averaged == ()


@pytest.mark.parametrize("rows", [slice(50, 56), slice(212, 424), slice(420, 520)])
def test_readings_with_both_signs_turned_keep_their_cycles_out(rows):
    series = table(CYCLE * 3, cycles=[1] * 3 + [2] * 3 + [3] * 3)
    current_A, voltage_V = series.current_A.copy(), series.voltage_V.copy()
    current_A[rows] *= -1.0
    voltage_V[rows] *= -1.0
    analysis = full(replace(series, current_A=current_A, voltage_V=voltage_V))
    (words,) = [w for w in analysis.findings if w.startswith("sign-implausible")]
    assert f"first: row {rows.start + 2})" in words
    touched = {int(number) for number in np.unique(series.cycle[rows])}
    assert not touched & {c.cycle for c in analysis.averaged}
    for cycle in analysis.averaged:
        assert cycle.coulombic_efficiency == pytest.approx(0.99)


def test_a_cell_driven_below_0_V_has_no_turned_sign():
    driven = [(-1e-3, 300.0, 3.0, -1.5), (0.0, 100.0, -0.8, -0.6)]
    analysis = full(table([*CYCLE, *driven, *CYCLE]))
    assert not any(w.startswith("sign-implausible") for w in analysis.findings)


@pytest.mark.parametrize("rows", [slice(50, 56), slice(212, 424)])
def test_a_cycle_or_some_rows_with_their_sign_turned_are_flagged(rows):
    series = table(CYCLE * 3, cycles=[1] * 3 + [2] * 3 + [3] * 3)
    current_A = series.current_A.copy()
    current_A[rows] *= -1.0
    analysis = full(replace(series, current_A=current_A))
    turned = int(series.cycle[rows.start])
    for cycle in analysis.cycles:
        assert ("sign-implausible" in cycle.flags) is (cycle.cycle == turned)
    assert turned not in [c.cycle for c in analysis.averaged]
    assert any(w.startswith("sign-implausible") for w in analysis.findings)


def test_rows_of_a_turned_sign_do_not_let_half_a_charge_into_the_average():
    series = table(CYCLE * 3)
    current_A = series.current_A.copy()
    current_A[262:270] *= -1.0
    analysis = full(replace(series, current_A=current_A))
    assert [c.coulombic_efficiency for c in analysis.averaged] == pytest.approx([0.99, 0.99])


def test_a_pulse_that_the_voltage_answers_is_no_turned_sign():
    pulse = [(1e-3, 500.0, 3.5, 3.75), (-1e-3, 40.0, 3.6, 3.59), (1e-3, 540.0, 3.75, 4.0)]
    analysis = full(table([*pulse, *CYCLE[1:]] * 3))
    assert not any(w.startswith("sign-implausible") for w in analysis.findings)


@pytest.mark.parametrize("rows", [slice(300, 330), slice(420, 450)])
def test_a_current_that_reads_0_in_a_half_cycle_is_named(rows):
    series = table(RESTED * 3)
    current_A = series.current_A.copy()
    assert abs(np.sum(current_A[rows])) == pytest.approx(1e-3 * (rows.stop - rows.start))
    current_A[rows] = 0.0
    analysis = full(replace(series, current_A=current_A, step=None))
    (words,) = [w for w in analysis.findings if w.startswith("current-implausible")]
    assert f"(first: from row {rows.start + 2} on) the current reads 0" in words
    assert [c.coulombic_efficiency for c in analysis.averaged] == pytest.approx([0.99] * 2)


def test_a_discharge_that_lost_its_sign_is_named_without_cycle_numbers():
    series = table(RESTED * 4)
    current_A = series.current_A.copy()
    current_A[series.step == 6.0] *= -1.0
    analysis = full(replace(series, current_A=current_A))
    (words,) = [w for w in analysis.findings if w.startswith("current-implausible")]
    assert "the voltage goes against from its first reading on" in words
    assert [c.coulombic_efficiency for c in analysis.averaged] == pytest.approx([0.99] * 2)


def test_a_cell_that_recovers_behind_a_probe_rests_rightly():
    """A probe of a hundredth moves nothing beside what a discharge left to relax."""
    probe = [(0.0, 30.0, 3.1, 3.11), (1e-5, 10.0, 3.1102, 3.112), (0.0, 300.0, 3.112, 3.15)]
    analysis = full(table([*CYCLE, *probe] * 3))
    assert not any(w.startswith("current-implausible") for w in analysis.findings)
    assert len(analysis.averaged) == 3


def test_a_rest_within_a_discharge_that_drains_the_cell_reads_0_rightly():
    """The voltage lets go, then falls further than it stood: self-discharge, no lost current."""
    drained = [(0.0, 30.0, 3.58, 3.6), (0.0, 3000.0, 3.6, 3.45)]
    halves = [(-1e-3, 400.0, 3.9, 3.55), *drained, (-1e-3, 590.0, 3.4, 3.0)]
    analysis = full(table([*RESTED[:2], *halves, RESTED[3]] * 3))
    assert not any(w.startswith("current-implausible") for w in analysis.findings)
    assert len(analysis.averaged) == 3


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_a_current_without_sign_is_named(sign):
    series = table(CYCLE * 3, cycles=[1] * 3 + [2] * 3 + [3] * 3)
    analysis = full(replace(series, current_A=sign * np.abs(series.current_A)))
    assert any("written without its sign?" in w for w in analysis.findings)
    assert all("sign-implausible" in c.flags for c in analysis.cycles)
    foils = table(LI_CU * 3)
    analysis = full(replace(foils, current_A=sign * np.abs(foils.current_A)), CellFormat.LI_CU)
    assert any("written without its sign?" in w for w in analysis.findings)


@pytest.mark.parametrize(
    "blocks", [CYCLE[:1], CYCLE[2:], [CYCLE[2], *[(-1e-3, 10.0, 3.5, 3.4)] * 9]]
)
def test_one_direction_alone_is_no_current_without_sign(blocks):
    assert not any("sign-implausible" in w for w in full(table(blocks)).findings)


def test_a_factor_of_time_is_told_by_whole_seconds():
    series = table([(1e-3, 4000.0, 3.5, 4.0), (-1e-3, 3990.0, 3.9, 3.0)])
    for factor in (3600.0, 1000.0):
        words = full(replace(series, t_s=series.t_s * factor)).findings
        assert any(f"probably by {factor:g} (a reading every" in w for w in words)


def test_li_cu_in_mV_is_named():
    blocks = [(-1e-3, 1000.0, -5.0, -5.0), (1e-3, 980.0, 5.0, 60.0), (1e-5, 60.0, 1e3, 1e3)]
    analysis = full(table(blocks * 3), CellFormat.LI_CU)
    assert any("readings lie beyond 100 V; mV taken for V?" in w for w in analysis.findings)
    assert analysis.averaged == ()


def test_a_single_reading_beyond_100_V_is_taken_as_missing():
    series = table(CYCLE * 3)
    voltage_V = series.voltage_V.copy()
    voltage_V[50] = 999.0
    analysis = full(replace(series, voltage_V=voltage_V))
    assert any(w.startswith("voltage-implausible: 1 readings beyond") for w in analysis.findings)
    assert len(analysis.averaged) == 3


@pytest.mark.parametrize("stale", [True, False])
def test_readings_that_a_logger_repeats_are_named(stale):
    series = table(CYCLE * 3)
    current_A, voltage_V = series.current_A.copy(), series.voltage_V.copy()
    # From the second charge's last 20 readings into its discharge.
    rows = slice(293, 345)
    if stale:
        current_A[rows], voltage_V[rows] = current_A[292], voltage_V[292]
    analysis = full(replace(series, current_A=current_A, voltage_V=voltage_V, step=None))
    assert any(w.startswith("stale-readings: 1 times") for w in analysis.findings) is stale
    assert ("stale-readings" in analysis.cycles[1].flags) is stale
    assert len(analysis.averaged) == (2 if stale else 3)


def test_a_voltage_that_stands_still_before_a_step_ends_is_not_stale():
    """Plating comes to a plateau; its end jumps as the other ends do."""
    plating = [(1e-3, 1000.0, 0.01, 0.01), (0.0, 100.0, 0.0, 0.0), (-1e-3, 990.0, -0.01, -0.02)]
    series = table(plating * 4)
    voltage_V = series.voltage_V.copy()
    last = np.flatnonzero(series.step == 6.0)
    voltage_V[last[:60]] += 5e-5 * np.arange(60)
    voltage_V[last[60:]] = voltage_V[last[59]]
    analysis = full(replace(series, voltage_V=voltage_V), CellFormat.LI_LI)
    assert not any(w.startswith("stale-readings") for w in analysis.findings)


RESTED = [*CYCLE[:1], (0.0, 300.0, 3.92, 3.92), (-1e-3, 990.0, 3.9, 3.0), (0.0, 300.0, 3.1, 3.1)]


@pytest.mark.parametrize(
    ("last", "until", "stale"),
    [
        (None, 0, False),
        (380, 430, True),  # the rest of a charged cell, then far into its discharge
        (510, 590, True),  # the rest after the discharge, then far into the charge
        (380, 505, True),  # over the whole discharge into the rest behind it
    ],
)
def test_a_log_that_froze_in_a_rest_is_named(last, until, stale):
    series = table(RESTED * 4)
    current_A, voltage_V = series.current_A.copy(), series.voltage_V.copy()
    if last is not None:
        assert current_A[last] == 0.0
        current_A[last:until], voltage_V[last:until] = 0.0, voltage_V[last]
    analysis = full(replace(series, current_A=current_A, voltage_V=voltage_V, step=None))
    assert any(w.startswith("stale-readings: 1 times") for w in analysis.findings) is stale
    if not stale:
        assert [c.flags for c in analysis.cycles] == [()] * 4
    for cycle in analysis.averaged:
        assert cycle.coulombic_efficiency == pytest.approx(0.99, rel=5e-3)


def test_rests_that_stand_still_before_a_first_charge_and_a_large_pulse_are_sound():
    """A new cell's voltage leaps with its first current; a pulse of another rate answers alike."""
    new = [(0.0, 600.0, 0.3, 0.3), *RESTED]
    pulse = [(1e-2, 20.0, 3.3, 3.32), (0.0, 300.0, 3.1, 3.1)]
    analysis = full(table([*new, *RESTED, *pulse, *RESTED]))
    assert not any(w.startswith("stale-readings") for w in analysis.findings)


def test_a_voltage_logged_in_steps_leaves_a_median_resistance_as_open_as_one():
    edges = [(1e-3, 2.0, 3.637, 3.6372), (0.0, 2.0, 3.6, 3.6)] * 10
    blocks = [(0.0, 60.0, 3.6, 3.6), *edges, (1e-3, 60.0, 3.637, 3.75), (0.0, 60.0, 3.7, 3.7)]
    series = table(blocks, dt_s=0.5)
    rounded = replace(series, voltage_V=np.round(series.voltage_V / 5e-3) * 5e-3)
    (found,) = [r for r in full(rounded).resistances if "start of charge, median of" in r.kind][:1]
    assert found.u_Ohm == pytest.approx(5e-3 / math.sqrt(6.0) / 1e-3, rel=0.05)
    assert abs(found.value_Ohm - 37.0) < 3.0 * found.u_Ohm


def test_negative_resistances_are_named():
    blocks = [(0.0, 60.0, 3.6, 3.6), (1e-3, 60.0, 3.55, 3.56), (0.0, 60.0, 3.61, 3.61)]
    findings = full(table(blocks, dt_s=0.5)).findings
    assert any(w.startswith("resistance-implausible: ") for w in findings)
    assert not any(w.startswith("resistance-impl") for w in full(table(CYCLE)).findings)


# Li||Cu as usually logged: Cu against Li, so plating is negative and near 0 V.
LI_CU = [(-1e-3, 1000.0, -0.05, -0.05), (1e-3, 980.0, 0.05, 0.06), (1e-3, 5.0, 0.1, 1.0)]


@pytest.mark.parametrize("turned", [1.0, -1.0])
@pytest.mark.parametrize("swapped", [1.0, -1.0])
def test_plating_on_copper_is_charge_whatever_the_file_calls_it(turned, swapped):
    series = table(LI_CU * 2)
    changed = {"current_A": turned * series.current_A, "voltage_V": swapped * series.voltage_V}
    analysis = full(table(LI_CU * 2, **changed), CellFormat.LI_CU)
    assert len(analysis.cycles) == 2
    for cycle in analysis.cycles:
        assert cycle.charge_Ah * H == pytest.approx(1.0)
        assert cycle.coulombic_efficiency == pytest.approx(0.985)
    direction = "negative" if turned > 0 else "positive"
    assert any(f"plating is the {direction} current" in words for words in analysis.findings)


def test_without_a_cut_off_the_convention_is_said():
    blocks = [(-1e-3, 1000.0, -0.05, -0.05), (1e-3, 900.0, 0.05, 0.06)]
    analysis = full(table(blocks), CellFormat.LI_CU)
    assert analysis.cycles[0].charge_Ah * H == pytest.approx(1.0)
    assert any("no cut-off to be seen" in words for words in analysis.findings)


def test_no_pulse_nor_row_turns_li_cu_and_a_held_limit_counts():
    """A bench's strips end at their limit with next to no current left, a test's pulse does not."""
    blocks = [
        (1e-3, 1000.0, 0.004, 0.004),
        (-1e-3, 980.0, -0.004, -0.02),
        (-1e-7, 600.0, -1.0, -1.0),
        (0.0, 60.0, -0.01, 0.0),
    ] * 3
    series = table([(0.08, 1.0, 4.0, 4.0), *blocks], dt_s=10.0)
    series.voltage_V[50] = 4.0
    analysis = full(series, CellFormat.LI_CU)
    assert len(analysis.cycles) == 3
    for cycle in analysis.cycles[1:]:
        assert cycle.coulombic_efficiency == pytest.approx(0.98, abs=1e-3)
    assert any("plating is the positive current" in words for words in analysis.findings)


def test_li_cu_ends_that_contradict_each_other_give_no_efficiency():
    strips_up = [(-1e-3, 1000.0, -0.05, -0.05), (1e-3, 980.0, 0.05, 1.0)]
    strips_down = [(-1e-3, 1000.0, -0.05, -1.0), (1e-3, 980.0, 0.05, 0.06)]
    analysis = full(table([*strips_up * 2, *strips_down * 2]), CellFormat.LI_CU)
    assert analysis.cycles
    for cycle in analysis.cycles:
        assert cycle.coulombic_efficiency is None
        assert "could not be told" in cycle.coulombic_efficiency_reason
    assert any("which current plates could not be told" in words for words in analysis.findings)


@pytest.mark.parametrize(
    ("cell_format", "efficiency", "reason", "flag"),
    [
        (CellFormat.ANODE_FREE, 0.99, "", None),
        (CellFormat.EXCESS_LITHIUM, 0.99, "", "not_lithium_ce"),
        (CellFormat.LI_LI, None, "Li||Li: both electrodes have lithium in excess", None),
        (None, None, "no cell format given", None),
    ],
)
def test_efficiency_by_format(cell_format, efficiency, reason, flag):
    cycle = analyse(table(CYCLE), cell_format=cell_format).cycles[0]
    assert cycle.coulombic_efficiency == (efficiency and pytest.approx(efficiency))
    assert cycle.coulombic_efficiency_reason == reason
    assert flag is None or flag in cycle.flags


def sharp_or_slow(last_V_s: float):
    return [
        (1e-3, 10000.0, 3.6, 3.9),
        (-1e-3, 9900.0 - last_V_s, 3.8, 3.6),
        (-1e-3, last_V_s, 3.6, 3.0),
    ]


def test_sharp_end_is_the_anodes_in_an_anode_free_cell_only():
    series = table(sharp_or_slow(3.0), dt_s=1.0)
    assert full(series, CellFormat.ANODE_FREE).cycles[0].discharge_end is DischargeEnd.ANODE
    assert full(series, CellFormat.EXCESS_LITHIUM).cycles[0].discharge_end is DischargeEnd.UNKNOWN
    assert full(series, CellFormat.FULL_CELL).cycles[0].discharge_end is DischargeEnd.UNKNOWN


def test_a_slow_end_is_not_the_anodes():
    series = table(sharp_or_slow(900.0), dt_s=10.0)
    assert full(series, CellFormat.ANODE_FREE).cycles[0].discharge_end is not DischargeEnd.ANODE


def test_one_current_range_cancels_two_do_not():
    even = [(1e-4, 99000.0, 3.5, 4.0), (-1e-4, 99000.0, 3.9, 3.0)]
    slow = [(1e-5, 990000.0, 3.5, 4.0), (-1e-3, 9900.0, 3.9, 3.0)]
    same, other = (
        full(table(blocks, dt_s=100.0, written_current_resolution_A=1e-10)).cycles[0]
        for blocks in (even, slow)
    )
    assert same.u_coulombic_efficiency is not None
    assert other.u_coulombic_efficiency is not None
    assert other.u_coulombic_efficiency >= 5e-4 * math.sqrt(2.0) * 0.99
    assert same.u_coulombic_efficiency < 1e-4


def test_resistance_from_the_start_of_a_step():
    blocks = [(0.0, 60.0, 3.6, 3.6), (1e-3, 60.0, 3.65, 3.66), (0.0, 60.0, 3.61, 3.61)]
    found = full(table(blocks, dt_s=0.5)).resistances
    kinds = {r.kind: r.value_Ohm for r in found}
    assert kinds["step 1 s, start of charge"] == pytest.approx(50.0, rel=0.01)
    assert kinds["step 10 s, start of charge"] == pytest.approx(51.7, rel=0.01)
    assert kinds["step 1 s, end of charge"] == pytest.approx(50.0, rel=0.01)


@pytest.mark.parametrize("rows", [1, 2])
def test_next_to_nothing_is_no_crash(rows):
    series = Table(
        source="made",
        layout="made",
        t_s=np.arange(float(rows)),
        current_A=np.zeros(rows),
        voltage_V=np.full(rows, 3.6),
    )
    assert full(series).cycles == ()


@pytest.mark.parametrize("absurd_C", [1.7e308, 1e200, -8000.0, math.inf])
def test_an_absurd_temperature_is_named_and_not_used(absurd_C):
    series = table(CYCLE)
    temperature_K = np.full(series.t_s.size, 298.15)
    sound = full(table(CYCLE, temperature_K=temperature_K.copy()))
    temperature_K[5] = absurd_C + 273.15
    analysis = full(table(CYCLE, temperature_K=temperature_K))
    assert analysis.cycles == sound.cycles
    (words,) = [words for words in analysis.findings if words.startswith("temperature:")]
    assert "1 readings" in words
    assert "row 7," in words


def test_kelvin_written_as_celsius_is_asked_about():
    kelvin = np.full(table(CYCLE).t_s.size, 298.15 + 273.15)
    (words,) = [w for w in full(table(CYCLE, temperature_K=kelvin)).findings if "temperature" in w]
    assert "K written as degC?" in words


def test_a_current_far_below_any_instrument_gives_no_resistance():
    series = table(CYCLE)
    analysis = full(table(CYCLE, current_A=1e-297 * series.current_A))
    assert analysis.resistances == ()
    assert any("never exceeds 1e-300 A" in words for words in analysis.findings)


def test_rows_that_never_hold_time_and_current_together():
    series = Table(
        source="made",
        layout="made",
        t_s=np.array([0.0, math.nan, math.nan]),
        current_A=np.array([math.nan, 1.0, 1.0]),
        voltage_V=np.full(3, 3.6),
    )
    for cell_format in (CellFormat.LI_CU, CellFormat.ANODE_FREE):
        analysis = full(series, cell_format)
        assert analysis.cycles == ()
        assert any("fewer than two usable rows" in words for words in analysis.findings)


@pytest.mark.parametrize("how", ["float32 Unix time", "whole minutes"])
def test_times_that_move_in_long_steps_give_the_uncertainty_of_that(how):
    slow = [(1e-3, 10000.0, 3.5, 4.0), (0.0, 1000.0, 3.9, 3.9), (-1e-3, 9900.0, 3.9, 3.0)]
    exact = table(slow)
    if how == "whole minutes":
        t_s, step_s = 60.0 * np.floor(exact.t_s / 60.0), 60.0
    else:
        t_s, step_s = (exact.t_s + 1.7e9).astype(np.float32).astype(float), 128.0
    coarse = replace(exact, t_s=t_s)
    assert coarse.time_resolution_s == step_s
    analysis = full(coarse)
    assert any(words.startswith("time-quantum: time moves in") for words in analysis.findings)
    (cycle,) = analysis.cycles
    assert abs(cycle.charge_Ah * H - 10.0) < 2.0 * cycle.u_charge_Ah * H < 0.3
    assert abs(cycle.coulombic_efficiency - 0.99) < 2.0 * cycle.u_coulombic_efficiency


@pytest.mark.parametrize("dt_s", [10.0, 60.0])
def test_readings_at_a_long_period_are_no_rounded_times(dt_s):
    series = table([(1e-3, 12000.0, 3.5, 4.0), (-1e-3, 12000.0, 3.9, 3.0)], dt_s=dt_s)
    assert series.time_resolution_s == 1.0


def test_infinities_are_left_out_without_a_warning():
    series = table(CYCLE)
    columns = {name: getattr(series, name).copy() for name in ("t_s", "current_A", "voltage_V")}
    columns["step_capacity_Ah"] = np.zeros(series.t_s.size)
    for values in columns.values():
        values[[4, 5, 30]] = math.inf
    assert full(table(CYCLE, **columns)).cycles[0].charge_Ah * H == pytest.approx(1.0)


def test_milliseconds_taken_for_seconds_are_no_rounded_times():
    slow = table([(1e-3, 12000.0, 3.5, 4.0), (-1e-3, 12000.0, 3.9, 3.0)])
    assert replace(slow, t_s=1000.0 * slow.t_s).time_resolution_s == 1.0


def test_time_that_never_advances_is_said():
    series = Table(
        source="made",
        layout="made",
        t_s=np.zeros(5),
        current_A=np.ones(5),
        voltage_V=np.full(5, 3.6),
    )
    analysis = full(series)
    assert analysis.cycles == ()
    assert any("time never advances" in words for words in analysis.findings)


def test_capacity_back_at_a_lower_rate_is_called_polarisation():
    fast = [(1e-3, 1000.0, 3.5, 4.0), (-1e-3, 500.0, 3.9, 3.0)]
    slow = [(1e-3, 500.0, 3.5, 4.0), (-1e-4, 9000.0, 3.9, 3.0)]
    findings = full(table([*fast, *slow])).findings
    assert any("(cycles 2) is polarisation, not recovered lithium" in w for w in findings)
    assert not any("polarisation" in w for w in full(table([*fast, *fast])).findings)


def test_a_half_cycle_that_the_log_cuts_off_is_no_failing_cell():
    """Twelve alike, then a log that stops when a third is out."""
    cut = [(1e-3, 1000.0, 3.5, 4.0), (0.0, 100.0, 3.9, 3.9), (-1e-3, 330.0, 3.9, 3.6)]
    found = full(table([*(CYCLE * 12), *cut]))
    assert "incomplete" in found.cycles[-1].flags
    told = found.course.diagnosis
    assert told is not None
    assert told.symptoms is not None
    assert told.symptoms.left == 1.0
    assert max(told.probabilities, key=lambda mode: told.probabilities[mode]) is Mode.HEALTHY
