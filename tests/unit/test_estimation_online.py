"""The live estimator: edges, bad readings, ranges, resistances, ends, lithium lost, checkpoints."""

from __future__ import annotations

import json
import math
import random
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pytest

from controller.domain.cell import CellFormat
from controller.domain.command import (
    CHARGE,
    DISCHARGE,
    HOLD_0A,
    OPEN,
    TAG_BASE,
    TAG_DIAGNOSTIC,
    TAG_TREATMENT,
)
from controller.domain.figures import CycleKind, DischargeEnd, Label
from controller.domain.sample import (
    LIMIT_CURRENT,
    LIMIT_UNKNOWN,
    LIMIT_VOLTAGE,
    NAN,
    OUTPUT_OFF,
    OUTPUT_ON,
    QUALITY_CURRENT_INVALID,
    QUALITY_DUPLICATE,
    QUALITY_NO_CELL_VOLTAGE,
    QUALITY_NO_REPLY,
    QUALITY_OUT_OF_ORDER,
    QUALITY_SATURATED,
    QUALITY_STALE,
    QUALITY_VOLTAGE_INVALID,
    Sample,
)
from controller.estimation import charge, online, running
from controller.estimation.charge import GAIN_PER_K, ROOM_MOVES_K
from controller.estimation.online import EstimatorConfig, EstimatorState
from controller.estimation.short_watch import HALF_MEANS, HALVES, NO_COURSE, ShortWatch
from controller.estimation.short_watch import close_cycle as close_watch
from controller.estimation.shorts import follow

NOMINAL_AH = 3e-3
CUT_OFF_V = 3.0
RANGE_A = 1e-2


def config(**changes) -> EstimatorConfig:
    values = {
        "cell_format": CellFormat.ANODE_FREE,
        "nominal_capacity_Ah": NOMINAL_AH,
        "area_cm2": 1.54,
        "lower_cut_off_V": CUT_OFF_V,
        "upper_cut_off_V": 4.3,
    }
    return EstimatorConfig(**{**values, **changes})


def reading(t_s: float, current_A: float, voltage_V: float = 3.8, **changes) -> Sample:
    values = {
        "sequence": 0,
        "channel": 0,
        "t_host_s": t_s + 100.0,
        "t_device_s": t_s,
        "utc_s": 0.0,
        "voltage_V": voltage_V,
        "current_A": current_A,
        "temperature_K": 298.15,
        "output": OUTPUT_ON,
        "limit_status": LIMIT_CURRENT,
        "current_range_A": RANGE_A,
        "averaging_s": 0.02,
        "quality": 0,
    }
    return Sample(**{**values, **changes})


def feed(state, conf, rows, tag=TAG_BASE, **changes):
    """Rows of (t, I, V, kind of the interval that ends here)."""
    return [
        online.observe(state, conf, reading(t, i, v, **changes), kind, tag)
        for t, i, v, kind in rows
    ]


def close(state, conf, cycle=1, *, anchored=False):
    return online.close_cycle(state, conf, cycle=cycle, kind=CycleKind.BASE, anchored=anchored)


def test_a_change_of_command_is_a_step_not_a_ramp():
    state, conf = online.new_state(config()), config()
    feed(
        state,
        conf,
        [
            (0.0, 0.0, 3.5, HOLD_0A),
            (5.0, 1e-3, 3.6, CHARGE),  # 1 mA from 0 s on, not from 2.5 s
            (10.0, 1e-3, 3.6, CHARGE),
            (15.0, 0.0, 3.5, HOLD_0A),  # 0 A from 10 s on
            (20.0, -1e-3, 3.4, DISCHARGE),
            (25.0, -1e-3, 3.4, DISCHARGE),
        ],
    )
    figures = close(state, conf)
    assert figures.charge_Ah * 3600.0 == pytest.approx(10e-3)
    assert figures.discharge_Ah * 3600.0 == pytest.approx(10e-3)
    assert figures.coulombic_efficiency == pytest.approx(1.0)


def test_a_new_set_point_under_the_same_command_is_a_step_too():
    state, conf = online.new_state(config()), config()
    feed(
        state, conf, [(0.0, 1e-3, 3.6, CHARGE), (5.0, 1e-3, 3.6, CHARGE), (10.0, 3e-4, 3.6, CHARGE)]
    )
    assert close(state, conf).charge_Ah * 3600.0 == pytest.approx(5e-3 + 1.5e-3)


def test_noise_of_a_regulated_current_is_not_a_set_point():
    state, conf = online.new_state(config()), config()
    feed(state, conf, [(0.0, 1e-3, 3.6, CHARGE), (10.0, 1.004e-3, 3.6, CHARGE)])
    assert close(state, conf).charge_Ah * 3600.0 == pytest.approx(10.02e-3)


def test_decay_at_a_held_voltage_is_within_its_uncertainty():
    state, conf = online.new_state(config()), config(gain_u=0.0, offset_u_A_of_range=0.0)
    tau_s = 60.0
    for k in range(121):
        t_s = 5.0 * k
        sample = reading(t_s, 1e-3 * math.exp(-t_s / tau_s), 4.3, limit_status=LIMIT_VOLTAGE)
        online.observe(state, conf, sample, CHARGE, TAG_BASE)
    figures = close(state, conf)
    exact_Ah = 1e-3 * tau_s * (1.0 - math.exp(-600.0 / tau_s)) / 3600.0
    assert abs(figures.charge_Ah - exact_Ah) < 2.0 * figures.u_charge_Ah
    assert figures.u_charge_Ah < 3e-3 * exact_Ah


def test_current_that_falls_into_the_voltage_limit_is_bracketed():
    state, conf = online.new_state(config()), config(gain_u=0.0, offset_u_A_of_range=0.0)
    feed(state, conf, [(0.0, 1e-3, 4.29, CHARGE)])
    feed(state, conf, [(5.0, 6e-4, 4.3, CHARGE)], limit_status=LIMIT_VOLTAGE)
    figures = close(state, conf)
    half_Ah = figures.u_charge_Ah * math.sqrt(3.0)
    assert figures.charge_Ah - half_Ah == pytest.approx(3e-3 / 3600.0)
    assert figures.charge_Ah + half_Ah == pytest.approx(5e-3 / 3600.0)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"current_A": NAN, "quality": QUALITY_CURRENT_INVALID}, running.SKIPPED_NO_CURRENT),
        ({"current_A": NAN}, running.SKIPPED_NO_CURRENT),
        ({"current_A": math.inf}, running.SKIPPED_NO_CURRENT),
        ({"current_A": 9.9e37, "quality": QUALITY_CURRENT_INVALID}, running.SKIPPED_NO_CURRENT),
        ({"current_A": 1.0, "quality": QUALITY_NO_REPLY}, running.SKIPPED_NO_CURRENT),
        ({"current_A": 1.0, "quality": QUALITY_STALE}, running.SKIPPED_STALE),
        ({"current_A": 1.0, "quality": QUALITY_DUPLICATE}, running.SKIPPED_DUPLICATE),
        ({"current_A": 1.0, "quality": QUALITY_OUT_OF_ORDER}, running.SKIPPED_OUT_OF_ORDER),
        ({"current_A": 0.1, "t_device_s": 5.0}, running.SKIPPED_DUPLICATE),
        ({"current_A": 0.1, "t_device_s": 4.0}, running.SKIPPED_OUT_OF_ORDER),
        ({"t_device_s": NAN, "t_host_s": NAN}, running.SKIPPED_NO_TIME),
        ({"t_device_s": math.inf}, running.SKIPPED_NO_TIME),
        ({"current_A": 1.0}, running.SKIPPED_IMPLAUSIBLE),  # 333C: mA taken for A
    ],
)
def test_a_bad_reading_leaves_the_sums_as_they_would_be_without_it(changes, outcome):
    conf = config()
    states = [online.new_state(conf), online.new_state(conf)]
    for state in states:
        feed(state, conf, [(0.0, 1e-3, 3.6, CHARGE), (5.0, 1e-3, 3.6, CHARGE)])
    bad = reading(7.0, 1e-3)._replace(**changes)
    assert online.observe(states[0], conf, bad, CHARGE, TAG_BASE) == outcome
    for state in states:
        feed(state, conf, [(10.0, 1e-3, 3.6, CHARGE), (15.0, -1e-3, 3.6, DISCHARGE)])
    assert close(states[0], conf) == close(states[1], conf)


def test_missing_voltage_does_not_cost_the_charge():
    state, conf = online.new_state(config()), config()
    feed(state, conf, [(0.0, 1e-3, 3.6, CHARGE)])
    bad = reading(5.0, 1e-3, NAN, quality=QUALITY_VOLTAGE_INVALID)
    assert online.observe(state, conf, bad, CHARGE, TAG_BASE) == running.USED
    assert close(state, conf).charge_Ah * 3600.0 == pytest.approx(5e-3)


def test_device_time_missing_falls_back_to_the_host():
    state, conf = online.new_state(config()), config()
    for t_s in (0.0, 7.0):
        online.observe(state, conf, reading(t_s, 1e-3, t_device_s=NAN), CHARGE, TAG_BASE)
    assert close(state, conf).charge_Ah * 3600.0 == pytest.approx(7e-3)


def test_output_that_went_off_by_itself_is_bracketed():
    """A device-timed pulse ends somewhere between the last reading and the first one off."""
    state, conf = online.new_state(config()), config(gain_u=0.0, offset_u_A_of_range=0.0)
    feed(state, conf, [(0.0, -1e-2, 3.5, DISCHARGE), (1.0, -1e-2, 3.5, DISCHARGE)], TAG_TREATMENT)
    off = reading(
        2.0, NAN, NAN, output=OUTPUT_OFF, quality=QUALITY_NO_CELL_VOLTAGE | QUALITY_CURRENT_INVALID
    )
    assert online.observe(state, conf, off, DISCHARGE, TAG_TREATMENT) == running.USED
    figures = close(state, conf)
    half_Ah = figures.u_discharge_Ah * math.sqrt(3.0)
    assert figures.discharge_Ah - half_Ah == pytest.approx(1e-2 / 3600.0)
    assert figures.discharge_Ah + half_Ah == pytest.approx(2e-2 / 3600.0)
    assert figures.treatment_net_charge_Ah == pytest.approx(figures.discharge_Ah)
    assert figures.base_discharge_Ah == 0.0


def test_a_commanded_open_stops_the_charge_at_once():
    state, conf = online.new_state(config()), config()
    feed(state, conf, [(0.0, 1e-3, 3.6, CHARGE), (5.0, 1e-3, 3.6, CHARGE)])
    feed(state, conf, [(10.0, 1e-3, NAN, OPEN), (99.0, 1e-3, NAN, OPEN)], output=OUTPUT_OFF)
    assert close(state, conf).charge_Ah * 3600.0 == pytest.approx(5e-3)


def test_a_command_that_changed_among_bad_readings_is_bracketed():
    state, conf = online.new_state(config()), config(gain_u=0.0, offset_u_A_of_range=0.0)
    feed(state, conf, [(0.0, 1e-3, 3.6, CHARGE)])
    feed(state, conf, [(5.0, NAN, NAN, HOLD_0A)])
    feed(state, conf, [(10.0, 0.0, 3.6, HOLD_0A)])
    figures = close(state, conf)
    assert figures.charge_Ah * 3600.0 == pytest.approx(5e-3)
    assert figures.u_net_charge_Ah * 3600.0 == pytest.approx(5e-3 / math.sqrt(3.0))


def test_a_long_gap_is_flagged_and_widens():
    conf = config(gain_u=0.0, offset_u_A_of_range=0.0)
    widths = []
    for last_s in (running.GAP_S, running.GAP_S + 1.0):
        state = online.new_state(conf)
        feed(state, conf, [(0.0, 1e-3, 3.6, CHARGE), (last_s, 1e-3, 3.6, CHARGE)])
        figures = close(state, conf)
        widths.append((figures.u_charge_Ah, "gap" in figures.flags))
    assert widths[0] == (0.0, False)
    assert widths[1][1]
    # 95 % of it reach down to nothing
    assert widths[1][0] * 3600.0 == pytest.approx(1e-3 * (running.GAP_S + 1.0) / math.sqrt(3.0))


@pytest.mark.parametrize(("low_V", "held"), [(4.299, True), (3.7, False)])
def test_a_held_voltage_that_swings_says_that_its_charge_is_not_known(low_V, held):
    """A cell out of salt has two voltages at one current; between readings it took less."""
    state, conf = online.new_state(config()), config()
    up = [(60.0 * k, 1e-3, 3.5 + 0.8 * k / 30.0, CHARGE) for k in range(1, 31)]
    feed(state, conf, [(0.0, 0.0, 3.5, HOLD_0A), *up])
    swings = [(1800.0 + 30.0 * k, 1e-3, (low_V, 4.3)[k % 2], CHARGE) for k in range(1, 61)]
    feed(state, conf, swings, limit_status=LIMIT_VOLTAGE)
    down = [(3600.0 + 10.0 * k, -1e-3, 4.2 - 0.003 * k, DISCHARGE) for k in range(1, 361)]
    feed(state, conf, down)
    figures = close(state, conf)
    assert ("voltage-not-held" in figures.flags) is not held
    # half an hour at 1 mA, of which half may be wrong
    expected_Ah = 0.0 if held else 0.25e-3 / math.sqrt(3.0)
    assert figures.u_charge_Ah == pytest.approx(expected_Ah, rel=0.05, abs=1e-5)


def test_a_saturated_reading_is_used_flagged_and_widens():
    state, conf = online.new_state(config()), config(gain_u=0.0, offset_u_A_of_range=0.0)
    feed(
        state, conf, [(0.0, 1e-3, 3.6, CHARGE), (5.0, 1e-3, 3.6, CHARGE)], quality=QUALITY_SATURATED
    )
    figures = close(state, conf)
    assert "saturated" in figures.flags
    assert figures.u_charge_Ah > 0.02 * figures.charge_Ah


def test_a_device_clock_that_began_again_is_taken_up_after_three_readings():
    state, conf = online.new_state(config()), config()
    feed(state, conf, [(0.0, 1e-3, 3.6, CHARGE), (1000.0, 1e-3, 3.6, CHARGE)])
    outcomes = [
        online.observe(state, conf, reading(t, 1e-3, t_host_s=1100.0 + t), CHARGE, TAG_BASE)
        for t in (1.0, 2.0, 3.0, 4.0)
    ]
    assert outcomes == [
        running.SKIPPED_OUT_OF_ORDER,
        running.SKIPPED_OUT_OF_ORDER,
        running.USED_AFTER_TIME_RESET,
        running.USED,
    ]
    figures = close(state, conf)
    assert figures.charge_Ah * 3600.0 == pytest.approx(1e-3 * 1004.0)
    assert "time-reset" in figures.flags


def test_scattered_old_readings_do_not_make_a_new_clock():
    state, conf = online.new_state(config()), config()
    feed(state, conf, [(0.0, 1e-3, 3.6, CHARGE), (100.0, 1e-3, 3.6, CHARGE)])
    outcomes = feed(state, conf, [(t, 1e-3, 3.6, CHARGE) for t in (50.0, 40.0, 30.0, 20.0, 10.0)])
    assert set(outcomes) == {running.SKIPPED_OUT_OF_ORDER}


def test_what_creeps_at_rest_counts_as_a_net_not_twice():
    state, conf = online.new_state(config()), config()
    rows = [(float(k), 1e-7 if k % 2 else -1e-7, 3.6, HOLD_0A) for k in range(1001)]
    feed(state, conf, rows)
    figures = close(state, conf)
    assert figures.charge_Ah + figures.discharge_Ah < 1e-7 / 3600.0 * 2.0


def test_tags_keep_base_treatment_and_diagnostic_apart():
    state, conf = online.new_state(config()), config()
    feed(state, conf, [(0.0, 0.0, 3.5, HOLD_0A), (10.0, 1e-3, 3.6, CHARGE)])
    feed(state, conf, [(20.0, -2e-3, 3.5, DISCHARGE)], TAG_TREATMENT)
    feed(state, conf, [(30.0, -3e-4, 3.5, DISCHARGE)], TAG_DIAGNOSTIC)
    feed(state, conf, [(40.0, -1e-3, 3.5, DISCHARGE)])
    figures = close(state, conf)
    as_ = 3600.0
    assert figures.base_charge_Ah * as_ == pytest.approx(10e-3)
    assert figures.base_discharge_Ah * as_ == pytest.approx(10e-3)
    assert figures.treatment_net_charge_Ah * as_ == pytest.approx(20e-3)
    assert figures.diagnostic_net_charge_Ah * as_ == pytest.approx(3e-3)
    assert figures.net_charge_Ah == pytest.approx(figures.discharge_Ah - figures.charge_Ah)
    assert figures.discharge_Ah * as_ == pytest.approx(33e-3)


def test_a_gain_difference_between_ranges_is_not_claimed_over_100_treatments():
    """Null cell: what goes out in a treatment comes back, read 0.1 % too large in its own range."""
    conf = config()
    state = online.new_state(conf)
    net_Ah = 0.0
    t_s = 0.0
    for cycle in range(1, 101):
        feed(state, conf, [(t_s, 0.0, 3.6, HOLD_0A)])
        for current_A, kind, tag, range_A in (
            (1e-3, CHARGE, TAG_BASE, 1e-2),
            (-2e-2 * 1.001, DISCHARGE, TAG_TREATMENT, 1e-1),
        ):
            for _ in range(20):
                t_s += 100.0 * 1e-3 / abs(current_A / (1.001 if tag else 1.0))
                sample = reading(t_s, current_A, current_range_A=range_A)
                online.observe(state, conf, sample, kind, tag)
        t_s += 1.0
        figures = close(state, conf, cycle)
        net_Ah += figures.net_charge_Ah
        assert abs(figures.net_charge_Ah) <= 2.0 * figures.u_net_charge_Ah
        assert not figures.lithium_returned_Ah > 0.0
    assert net_Ah > 0.0005 * 100 * 2.0 / 3600.0  # the difference is really there
    missing = state.lithium.missing
    assert abs(net_Ah) <= 2.0 * missing.u_Ah
    # ... and not thanks to a limit that swallows everything.
    assert missing.u_Ah < 0.05 * NOMINAL_AH


def test_resistances_at_first_reading_1_s_and_10_s():
    state, conf = online.new_state(config()), config()
    rows = [(0.0, 0.0, 3.8, HOLD_0A)]
    rows += [(0.1, -1e-3, 3.76, DISCHARGE), (1.0, -1e-3, 3.75, DISCHARGE)]
    rows += [(5.0, -1e-3, 3.74, DISCHARGE), (10.0, -1e-3, 3.72, DISCHARGE)]
    feed(state, conf, rows)
    found = online.take_resistances(state)
    assert [r.kind for r in found] == [
        "first reading, 100 ms, start of discharge",
        "step 100 ms, start of discharge",
        "step 1 s, start of discharge",
        "step 10 s, start of discharge",
    ]
    assert [r.value_Ohm for r in found] == pytest.approx([40.0, 40.0, 50.0, 80.0])
    assert all(0.0 < r.u_Ohm < 0.1 * r.value_Ohm for r in found)
    assert online.take_resistances(state) == []
    assert close(state, conf).resistance_Ohm == pytest.approx(80.0)
    assert math.isnan(close(state, conf, 2).resistance_Ohm)


@pytest.mark.parametrize(
    ("current_A", "changes"),
    [
        (-1e-5, {}),  # too small a step
        (-1e-3, {"voltage_V": NAN}),
        (-1e-3, {"limit_status": LIMIT_VOLTAGE}),  # not a step of the current
    ],
)
def test_no_resistance_from_what_is_no_step(current_A, changes):
    state, conf = online.new_state(config()), config()
    feed(state, conf, [(0.0, 0.0, 3.8, HOLD_0A)])
    sample = reading(1.0, current_A, 3.7)._replace(**changes)
    online.observe(state, conf, sample, DISCHARGE, TAG_BASE)
    assert online.take_resistances(state) == []


def discharge(state, conf, t_s, knee_Ah, hold_Ah=0.0, charge_Ah=2.7e-3, lost_Ah=0.0):
    """One cycle: charge, then a discharge whose last 0.4 V take 2 x `knee_Ah`, then a hold."""
    current_A = 1e-3
    feed(state, conf, [(t_s, 0.0, 3.5, HOLD_0A)])
    steps = 100
    dt_s = charge_Ah * 3600.0 / current_A / steps
    for k in range(steps):
        t_s += dt_s
        feed(state, conf, [(t_s, current_A, 3.7 + 0.6 * (k + 1) / steps, CHARGE)])
    total_As = (charge_Ah - lost_Ah - hold_Ah) * 3600.0
    knee_As = 2.0 * knee_Ah * 3600.0
    out_As = 0.0
    plan = [(total_As - knee_As) / 90] * 90 + [knee_As / 40] * 40
    for piece_As in plan:
        t_s += piece_As / current_A
        out_As += piece_As
        left_As = total_As - out_As
        voltage_V = 3.6 if left_As > knee_As else CUT_OFF_V + 0.4 * left_As / knee_As
        feed(state, conf, [(t_s, -current_A, voltage_V, DISCHARGE)])
    if hold_Ah:
        for _ in range(40):
            t_s += hold_Ah * 3600.0 / 40 / (0.5 * current_A)
            feed(
                state,
                conf,
                [(t_s, -0.5 * current_A, CUT_OFF_V, DISCHARGE)],
                limit_status=LIMIT_VOLTAGE,
            )
    return t_s + 1.0


@pytest.mark.parametrize("knee_Ah", [1e-5, 1e-3])
def test_what_a_cut_off_is_not_known_better_than_follows_from_how_the_voltage_fell(
    knee_Ah, monkeypatch
):
    conf = config(gain_u=0.0, offset_u_A_of_range=0.0)
    us = []
    for u_V in (0.0, 1e-2):
        monkeypatch.setattr(charge, "CUT_OFF_U_V", u_V)
        state = online.new_state(conf)
        discharge(state, conf, 0.0, knee_Ah)  # the last 0.4 V take twice as much, evenly
        us.append(close(state, conf).u_discharge_Ah)
    seen_Ah = math.sqrt(us[1] ** 2 - us[0] ** 2)
    assert seen_Ah == pytest.approx(1e-2 * 2.0 * knee_Ah / 0.4, rel=0.05)


@pytest.mark.parametrize(("warmer_K", "more"), [(0.0, 0.0), (3.0, 3.0), (math.nan, ROOM_MOVES_K)])
def test_a_room_that_moves_between_charge_and_discharge_widens_the_efficiency(warmer_K, more):
    conf = config(gain_u=0.0, offset_u_A_of_range=0.0)
    us = []
    for apart_K in (0.0, warmer_K):
        state = online.new_state(conf)
        hours = 2.7 * 3600.0
        forth = [(60.0 * k, 1e-3, 3.7, CHARGE) for k in range(int(hours / 60.0))]
        known_K = 298.15 if math.isfinite(apart_K) else math.nan
        feed(state, conf, forth, temperature_K=known_K)
        start_s = forth[-1][0]
        back = [(start_s + 60.0 * k, -1e-3, 3.6, DISCHARGE) for k in range(1, len(forth))]
        feed(state, conf, back, temperature_K=known_K + apart_K)
        us.append(close(state, conf).u_coulombic_efficiency)
    assert math.sqrt(us[1] ** 2 - us[0] ** 2) == pytest.approx(
        GAIN_PER_K * more, rel=0.05, abs=1e-8
    )


@pytest.mark.parametrize(
    ("knee_share", "hold_share", "end"),
    [
        (0.0004, 0.0, DischargeEnd.ANODE),
        (0.02, 0.03, DischargeEnd.CATHODE),
        (0.03, 0.35, DischargeEnd.POLARISATION),
    ],
)
def test_end_of_discharge_from_the_shape(knee_share, hold_share, end):
    conf = config()
    state = online.new_state(conf)
    discharge(state, conf, 0.0, knee_share * NOMINAL_AH, hold_share * NOMINAL_AH)
    found, probability = online.end_of_discharge(state, conf)
    assert found is end
    assert close(state, conf).discharge_end is end
    assert probability > 0.6
    assert close(state, conf, 2).discharge_end is DischargeEnd.UNKNOWN


def test_end_is_told_also_after_the_voltage_has_come_back_at_rest():
    conf = config()
    state = online.new_state(conf)
    t_s = discharge(state, conf, 0.0, 0.001 * NOMINAL_AH)
    feed(state, conf, [(t_s + k, 0.0, 3.3 + 0.01 * k, HOLD_0A) for k in range(1, 20)])
    assert online.end_of_discharge(state, conf)[0] is DischargeEnd.ANODE


def test_bare_copper_is_seen_even_when_the_knee_fell_between_two_readings():
    conf = config()
    state = online.new_state(conf)
    rows = [(0.0, 0.0, 3.5, HOLD_0A)]
    rows += [(5.0 * k, 1e-3, 3.9, CHARGE) for k in range(1, 2000)]
    rows += [(5.0 * k, -1e-3, 3.6, DISCHARGE) for k in range(2000, 3980)]
    feed(state, conf, rows)
    held = [(5.0 * k, -1e-6, CUT_OFF_V, DISCHARGE) for k in range(3980, 3990)]
    feed(state, conf, held, limit_status=LIMIT_VOLTAGE)
    end, probability = online.end_of_discharge(state, conf)
    assert end is DischargeEnd.ANODE
    assert probability > 0.6  # a hold alone does not make it certain


def test_end_is_unknown_without_data_or_without_reaching_the_cut_off():
    conf = config()
    state = online.new_state(conf)
    assert online.end_of_discharge(state, conf) == (DischargeEnd.UNKNOWN, 0.0)
    feed(state, conf, [(0.0, 0.0, 3.8, HOLD_0A), (9.0, -1e-3, 3.7, DISCHARGE)])
    assert online.end_of_discharge(state, conf) == (DischargeEnd.UNKNOWN, 0.0)


def run_cycles(conf, ends_sharp, lost_Ah=2e-5, *, fades=True):
    """Cycles of 10 h that lose `lost_Ah` each; the next charge puts in what came out, or as ever."""
    state, t_s, figures, charge_Ah = online.new_state(conf), 0.0, [], 2.7e-3
    for k, sharp in enumerate(ends_sharp, start=1):
        knee_Ah = 0.0003 * NOMINAL_AH if sharp else 0.03 * NOMINAL_AH
        hold_Ah = 0.0 if sharp else 0.03 * NOMINAL_AH
        t_s = discharge(state, conf, t_s, knee_Ah, hold_Ah, charge_Ah=charge_Ah, lost_Ah=lost_Ah)
        online.end_of_discharge(state, conf)
        figures.append(close(state, conf, k))
        charge_Ah -= lost_Ah if fades else 0.0
    return state, figures


def test_lithium_lost_is_measured_between_anode_limited_ends_and_a_bound_elsewhere():
    conf = config()
    state, figures = run_cycles(conf, [True] * 30 + [False, True])
    assert figures[0].lithium_lost_label is Label.PRIOR_DOMINATED  # may have been a shuttle
    assert figures[29].lithium_lost_label is Label.MEASURED
    assert figures[30].lithium_lost_label is Label.BOUND
    assert figures[31].lithium_lost_label is Label.MEASURED
    for k in (29, 31):
        one = figures[k]
        assert one.lithium_lost_Ah == pytest.approx(2e-5 * (k + 1), abs=3.0 * one.u_lithium_lost_Ah)
        assert one.lithium_lost_low_Ah < 2e-5 * (k + 1) < one.lithium_lost_high_Ah
        assert one.u_lithium_lost_Ah < 0.1 * one.lithium_lost_Ah
    bound = figures[30]
    assert bound.lithium_lost_low_Ah < 2e-5 * 31 < bound.lithium_lost_high_Ah
    estimate = online.live(state, conf)
    assert estimate.split_label is Label.PRIOR_DOMINATED
    assert estimate.inactive_Ah + estimate.sei_Ah == pytest.approx(estimate.lithium_lost_Ah)
    assert estimate.u_inactive_Ah >= 0.9 * conf.inactive_share_sd * estimate.lithium_lost_Ah


def test_charge_that_goes_missing_while_the_charge_does_not_fade_is_not_all_lithium():
    """A shuttle or oxidation takes charge, and the next charge puts in as much as ever."""
    _, faded = run_cycles(config(), [True] * 30)
    _, steady = run_cycles(config(), [True] * 30, fades=False)
    assert steady[-1].lithium_lost_low_Ah < 0.5 * faded[-1].lithium_lost_Ah
    assert steady[-1].side_charge_high_Ah > 2e-5 * 20
    assert faded[-1].side_charge_high_Ah < 2e-5 * 5


def test_a_cell_of_unknown_history_counts_from_its_first_anode_limited_end():
    _, figures = run_cycles(config(starts_without_anode_lithium=False), [True] * 31)
    assert math.isnan(figures[0].lithium_lost_Ah)
    assert figures[-1].lithium_lost_Ah == pytest.approx(
        2e-5 * 30, abs=3.0 * figures[-1].u_lithium_lost_Ah
    )


@pytest.mark.parametrize(
    ("cell_format", "flag", "has_efficiency", "label"),
    [
        (CellFormat.EXCESS_LITHIUM, "not_lithium_ce", True, Label.PRIOR_DOMINATED),
        (CellFormat.LI_LI, "no_ce_in_symmetric_cell", False, Label.UNKNOWN),
        (CellFormat.FULL_CELL, None, True, Label.UNKNOWN),
    ],
)
def test_formats_that_tell_nothing_of_lithium_lost(cell_format, flag, has_efficiency, label):
    conf = config(cell_format=cell_format)
    state, figures = run_cycles(conf, [True, True])
    assert figures[-1].lithium_lost_label is label
    assert math.isnan(figures[-1].lithium_lost_Ah)
    assert math.isnan(figures[-1].u_lithium_lost_Ah)
    assert online.live(state, conf).split_label is label
    assert (figures[-1].coulombic_efficiency is not None) is has_efficiency
    assert flag is None or flag in figures[-1].flags


def test_efficiency_above_one_is_kept_and_flagged():
    conf = config()
    _, figures = run_cycles(conf, [True], lost_Ah=-1e-5)
    assert figures[0].coulombic_efficiency is not None
    assert figures[0].coulombic_efficiency > 1.0
    assert "ce-above-one" in figures[0].flags


def test_unobserved_charge_is_an_interval_of_the_cycle_it_fell_in():
    conf = config(gain_u=0.0, offset_u_A_of_range=0.0)
    state = online.new_state(conf)
    feed(state, conf, [(0.0, 0.0, 3.5, HOLD_0A), (100.0, 1e-3, 3.6, CHARGE)])
    online.begin_segment(state)
    online.add_unobserved(state, 3e-5)
    online.add_unobserved(state, -1.0)
    feed(state, conf, [(5000.0, 1e-3, 3.6, CHARGE), (5010.0, 1e-3, 3.6, CHARGE)])
    figures = close(state, conf)
    assert figures.charge_Ah * 3600.0 == pytest.approx(0.11)  # nothing integrated over the gap
    assert figures.unobserved_charge_Ah == 3e-5
    assert figures.u_net_charge_Ah >= 3e-5 / math.sqrt(3.0)
    assert "unobserved-charge" in figures.flags
    after = close(state, conf, 2)
    assert after.unobserved_charge_Ah == 0.0
    assert "unobserved-charge" not in after.flags


def test_the_figures_of_an_empty_cycle_are_null_not_an_error():
    conf = config()
    figures = close(online.new_state(conf), conf)
    assert figures.coulombic_efficiency is None
    assert "incomplete" in figures.flags
    assert math.isnan(figures.mean_temperature_K)


def test_a_checkpoint_continues_exactly():
    conf = config()
    state = online.new_state(conf)
    t_s = discharge(state, conf, 0.0, 3e-6)
    feed(state, conf, [(t_s + 1.0, NAN, NAN, CHARGE)])
    copy = online.from_dict(json.loads(json.dumps(online.to_dict(state))))
    assert json.dumps(online.to_dict(copy)) == json.dumps(online.to_dict(state))
    for either in (state, copy):
        discharge(either, conf, t_s + 2.0, 3e-6)
        online.end_of_discharge(either, conf)
    first, second = close(state, conf), close(copy, conf)
    assert repr(first) == repr(second)  # NaN included
    assert repr(online.live(state, conf)) == repr(online.live(copy, conf))
    assert isinstance(copy, EstimatorState)


def test_a_checkpoint_of_another_version_is_refused():
    with pytest.raises(KeyError):
        online.from_dict({"t_s": 0.0})


def test_an_instrument_without_range_or_limit_status_is_counted_too():
    state, conf = online.new_state(config()), config()
    for t_s in (0.0, 5.0, 10.0):
        sample = reading(t_s, 1e-3, current_range_A=NAN, limit_status=LIMIT_UNKNOWN)
        online.observe(state, conf, sample, CHARGE, TAG_BASE)
    figures = close(state, conf)
    assert figures.charge_Ah * 3600.0 == pytest.approx(10e-3)
    assert figures.u_charge_Ah > 0.0
    assert figures.mean_temperature_K == pytest.approx(298.15)
    assert figures.duration_s == 10.0


def test_currents_of_another_unit_are_left_out_and_flagged():
    """1 mA read as 1 A, from the third reading on: nothing of it is integrated."""
    state, conf = online.new_state(config()), config()
    feed(state, conf, [(0.0, 1e-3, 3.6, CHARGE), (5.0, 1e-3, 3.6, CHARGE)])
    outcomes = feed(state, conf, [(10.0 + k, 1.0, 3.6, CHARGE) for k in range(3)])
    assert set(outcomes) == {running.SKIPPED_IMPLAUSIBLE}
    figures = close(state, conf)
    assert figures.charge_Ah * 3600.0 == pytest.approx(5e-3)
    assert "units-implausible" in figures.flags


def test_a_charge_that_no_cell_holds_is_flagged():
    state, conf = online.new_state(config()), config()
    rows = [(100.0 * k, 0.1, 3.6, CHARGE) for k in range(23)]  # 33C for 37 minutes
    feed(state, conf, rows)
    assert "units-implausible" in close(state, conf).flags


def test_a_current_so_small_that_no_cycling_takes_so_long_is_flagged():
    """mA taken for A: a charge of three hours at C/3000."""
    state, conf = online.new_state(config()), config()
    feed(state, conf, [(60.0 * k, 1e-6, 3.6, CHARGE) for k in range(180)])
    feed(state, conf, [(60.0 * k, -1e-6, 3.6, DISCHARGE) for k in range(180, 360)])
    figures = close(state, conf)
    assert "units-implausible" in figures.flags
    assert figures.coulombic_efficiency is None


def charged_and_discharged(conf, *, wrong=()):
    """A cycle read once a minute, the sign of some readings of its discharge turned round."""
    state = online.new_state(conf)
    rows = [(60.0 * k, 1e-3, 3.8, CHARGE) for k in range(120)]
    rows += [(60.0 * k, 1e-3 if k in wrong else -1e-3, 3.6, DISCHARGE) for k in range(120, 240)]
    return rows, state


def test_a_single_current_against_the_command_is_left_out_and_named():
    conf = config()
    sums = []
    for wrong in ((), (150, 180, 181)):
        rows, state = charged_and_discharged(conf, wrong=wrong)
        feed(state, conf, rows)
        figures = close(state, conf)
        sums.append((figures.discharge_Ah, figures.coulombic_efficiency))
        assert ("current-against-command" in figures.flags) is bool(wrong)
        assert "sign-implausible" not in figures.flags
    assert sums[1] == pytest.approx(sums[0])


def test_currents_against_the_command_in_a_row_leave_no_efficiency_and_no_lithium():
    conf = config()
    rows, state = charged_and_discharged(conf, wrong=range(200, 240))
    feed(state, conf, rows)
    figures = close(state, conf)
    assert "sign-implausible" in figures.flags
    assert figures.coulombic_efficiency is None
    assert figures.lithium_lost_label is Label.UNKNOWN


@pytest.mark.parametrize(("sign", "flagged"), [(1.0, False), (-1.0, True)])
def test_a_voltage_that_steps_against_the_current_is_flagged(sign, flagged):
    state, conf = online.new_state(config()), config()
    for k in range(4):
        t_s = 100.0 * k
        feed(state, conf, [(t_s, 0.0, 3.7, HOLD_0A), (t_s + 0.2, 1e-3, 3.7 + sign * 0.04, CHARGE)])
    assert ("sign-implausible" in close(state, conf).flags) is flagged


def test_volts_of_another_unit_are_no_voltage():
    state, conf = online.new_state(config()), config()
    feed(state, conf, [(0.0, 0.0, 3800.0, HOLD_0A), (0.2, -1e-3, 3760.0, DISCHARGE)])
    assert online.take_resistances(state) == []


def test_more_ranges_than_there_is_place_for_are_still_counted():
    state, conf = online.new_state(config()), config()
    for k in range(20):
        sample = reading(10.0 * k, 1e-3, current_range_A=1e-3 * (k + 1))
        online.observe(state, conf, sample, CHARGE, TAG_BASE)
    assert close(state, conf).charge_Ah * 3600.0 == pytest.approx(0.19)


def test_time_is_counted_for_oxidation_by_how_far_below_the_upper_cut_off_it_was():
    state, conf = online.new_state(config()), config()
    slopes_V = running.OXIDATION_SLOPES_V
    rows = [(0.0, 0.0, 4.3, HOLD_0A), (10.0, 0.0, 4.3, HOLD_0A)]  # at it: 10 s for each
    rows += [(20.0, 0.0, math.nan, HOLD_0A)]  # not known: none
    rows += [(30.0, 0.0, 4.2, HOLD_0A), (60.0, 0.0, 4.0, HOLD_0A)]  # 10 s at 4.2 V, 30 s at 4.1 V
    rows += [(65.0, 0.0, 5.0, HOLD_0A), (70.0, 0.0, 5.0, HOLD_0A)]  # beyond it as at it
    feed(state, conf, rows)
    for counted_s, slope_V in zip(state.running.oxidation_s, slopes_V, strict=True):
        below_s = 10.0 * math.exp(-0.1 / slope_V) + 30.0 * math.exp(-0.2 / slope_V)
        assert counted_s == pytest.approx(10.0 + below_s + 10.0)
    close(state, conf)
    assert state.running.oxidation_s == [0.0, 0.0]
    assert state.inventory.oxidation_h[1] > state.inventory.oxidation_h[0] > 20.0 / 3600.0


def test_a_strip_to_bare_copper_reaches_the_inventory_of_li_cu_alone():
    for cell_format, told in ((CellFormat.LI_CU, True), (CellFormat.ANODE_FREE, False)):
        conf = config(cell_format=cell_format)
        state = online.new_state(conf)
        discharge(state, conf, 0.0, 3e-6)
        assert online.end_of_discharge(state, conf)[0] is DischargeEnd.ANODE
        close(state, conf)
        assert (state.inventory.copper_Ah > 0.0) is told


def numbers(one) -> int:
    """Count the numbers that a state consists of."""
    if isinstance(one, np.ndarray):
        return one.size
    if isinstance(one, dict):
        return sum(map(numbers, one.values()))
    if isinstance(one, list | tuple):
        return sum(map(numbers, one))
    if is_dataclass(one):
        return sum(numbers(getattr(one, item.name)) for item in fields(one))
    if hasattr(type(one), "__slots__") and not isinstance(one, str):
        return sum(numbers(getattr(one, name)) for name in type(one).__slots__)
    return int(isinstance(one, int | float))


def test_the_estimator_between_foils_with_the_longest_courses_stays_small():
    conf = config(cell_format=CellFormat.LI_LI)
    state, course = online.new_state(conf), replace(NO_COURSE, ln_Ohm=(0.1,) * HALF_MEANS)
    figures = close_watch(ShortWatch(), charge_Ah=1e-3, discharge_Ah=1e-3)
    for k in range(20):
        follow(
            state.shorts,
            replace(figures, number=k, courses=(course,) * HALVES),
            conf.cell_format,
            1e-3,
        )
    assert len(state.shorts.sound) == 12
    assert numbers(state.shorts) > 7 * HALVES * HALF_MEANS
    assert 8 * numbers(state) < 64 * 1024


def test_the_estimator_does_not_grow():
    state, conf = online.new_state(config()), config()
    sizes = []
    for cycle in range(1, 31):
        discharge(state, conf, 1e5 * cycle, 3e-6)
        online.end_of_discharge(state, conf)
        close(state, conf, cycle)
        online.take_resistances(state)
        sizes.append(len(json.dumps(online.to_dict(state))))
    assert max(sizes) < 72 * 1024  # digits: more than the numbers take
    assert 8 * numbers(state) < 64 * 1024
    assert max(sizes[15:]) < sizes[14] + 1000  # digits only, once twelve cycles are remembered


def test_the_circuit_is_told_from_steps_and_never_where_none_was():
    """30 Ohm, 20 Ohm over 3 s, 10 Ohm over 60 s; read twice a second with 50 uV of noise."""
    conf = config()
    state = online.new_state(conf)
    assert math.isnan(online.live(state, conf).r0_and_r1_Ohm)
    noise = random.Random(1)  # noqa: S311 -- noise
    t_s, quick_V, slow_V = 0.0, 0.0, 0.0
    for k in range(400):
        current_A = -1e-3 if (k // 40) % 2 else 0.0
        for _ in range(5):
            t_s += 0.5
            quick_V += (current_A * 20.0 - quick_V) * (1.0 - math.exp(-0.5 / 3.0))
            slow_V += (current_A * 10.0 - slow_V) * (1.0 - math.exp(-0.5 / 60.0))
            voltage_V = 3.8 + current_A * 30.0 + quick_V + slow_V + noise.gauss(0.0, 5e-5)
            kind = DISCHARGE if current_A else HOLD_0A
            online.observe(state, conf, reading(t_s, current_A, voltage_V), kind, TAG_BASE)
    found = online.live(state, conf)
    assert found.r0_and_r1_Ohm == pytest.approx(50.0, abs=2.0 * found.u_r0_and_r1_Ohm)
    assert found.u_r0_and_r1_Ohm < 5.0
    for value_Ohm, u_Ohm, true_Ohm in (
        (found.r0_Ohm, found.u_r0_Ohm, 30.0),
        (found.r1_Ohm, found.u_r1_Ohm, 20.0),
    ):
        assert math.isnan(value_Ohm) or abs(value_Ohm - true_Ohm) < 3.0 * u_Ohm


@pytest.mark.parametrize(("share", "given"), [(0.9, False), (1.1, True)])
def test_next_to_no_charge_has_no_efficiency(share, given):
    state, conf = online.new_state(config()), config()
    time_s = share * online.LEAST_CHARGE * NOMINAL_AH * 3600.0 / 1e-3
    feed(
        state,
        conf,
        [
            (0.0, 0.0, 3.5, HOLD_0A),
            (time_s, 1e-3, 4.2, CHARGE),
            (time_s + 5.0, 0.0, 3.5, HOLD_0A),
            (time_s + 6.0, -1e-3, 3.0, DISCHARGE),
        ],
    )
    figures = close(state, conf)
    assert (figures.coulombic_efficiency is not None) is given
    assert (figures.u_coulombic_efficiency is not None) is given
    assert ("next-to-no-charge" in figures.flags) is not given
    assert "incomplete" not in figures.flags
    assert math.isfinite(figures.net_charge_Ah)


def test_the_stated_gain_is_that_of_a_step() -> None:
    """Of current and voltage alike; a checkpoint carries it."""
    state = online.new_state(config(gain_u=3e-4))
    again = online.from_dict(online.to_dict(state))
    assert again.running.steps.ratio_u == pytest.approx(3e-4 * math.sqrt(2.0))
