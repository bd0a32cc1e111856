"""A spectrum asked for in the run file: what is refused, and what the core does with its steps."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from controller.app.config import example_text, parse_run
from controller.app.prepare import prepare
from controller.core import spectrum
from controller.core.plan import CycleKey
from controller.core.short_check import teaches
from controller.core.spectrum import READ_AT, Staircase, design
from controller.core.state import from_text, to_text
from controller.core.step import Core
from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, OPEN, TAG_DIAGNOSTIC, Command
from controller.domain.errors import ConfigurationError
from controller.domain.events import EventKind
from controller.domain.figures import CycleKind
from controller.domain.sample import LIMIT_VOLTAGE
from controller.domain.step import StepEnd
from controller.domain.verdict import HOLD, TRIP, Verdict
from controller.policy.machine import State
from tests.unit.core_rig import Rig
from tests.unit.test_impedance_excitation import swing_Ah

TABLE = "\n[spectrum]\n"
STEPPED = TABLE + 'method = "stepped-sine"\n'


def text_with(table: str = TABLE, **changes: str) -> str:
    text = example_text()
    for old, new in {"\n[estimator]": f"{table}\n[estimator]", **changes}.items():
        assert old in text
        text = text.replace(old, new)
    return text


def prepared(text: str):
    return prepare(parse_run(text, "RUN.toml"), 1).core


# --- the run file ---------------------------------------------------------------------------------


def test_without_the_table_nothing_changes() -> None:
    config = prepared(example_text())
    assert config.spectrum is None
    assert not any(step.spectrum for cycle in config.book.reference for step in cycle)


def test_it_stands_in_the_rest_before_the_discharge_that_ends_the_reference_test() -> None:
    config = prepared(text_with())
    steps = [step for cycle in config.book.reference for step in cycle]
    (place,) = [index for index, step in enumerate(steps) if step.spectrum]
    assert steps[place - 1].kind == steps[place + 1].kind == HOLD_0A
    assert steps[place + 2].closes_half_cycle
    plain = [step for cycle in prepared(example_text()).book.reference for step in cycle]
    assert [*steps[:place], *steps[place + 2 :]] == plain
    assert config.book.base == prepared(example_text()).book.base


@pytest.mark.parametrize(
    ("table", "key", "problem"),
    [
        ("highest_Hz = 0.3", "spectrum.highest_Hz", "nothing above 0.2 Hz"),
        ("response_V = 0.02", "spectrum.response_V", "not linear"),
        ("lowest_Hz = 0.2", "spectrum.lowest_Hz", "not below 0.2"),
        ("lowest_Hz = 0.0002", "spectrum.lowest_Hz", "more than 20000"),
        ("lowest_Hz = 0", "spectrum.lowest_Hz", "0 is not valid"),
        ('method = "steped-sine"', "spectrum.method", "'steped-sine' is not valid"),
        ("response_mV = 5", "spectrum.response_mV", "unknown key"),
    ],
)
def test_what_cannot_be_is_refused_with_key_and_reason(table: str, key: str, problem: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        prepared(text_with(TABLE + table))
    (fault,) = caught.value.faults
    assert fault.key == key
    assert problem in fault.problem
    assert fault.where == "RUN.toml"
    assert fault.remedy or problem == "not below 0.2"


def test_every_fault_is_told_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        prepared(text_with(TABLE + "highest_Hz = 0.3\nresponse_V = 0.02"))
    assert [one.key for one in caught.value.faults] == [
        "spectrum.highest_Hz",
        "spectrum.response_V",
    ]


def test_a_run_without_reference_tests_has_no_place_for_it() -> None:
    changes = {"formation_cycles = 2": "formation_cycles = 0"}
    with pytest.raises(ConfigurationError, match="this run has none"):
        prepared(text_with(**changes, **{"reference_every = 25": "reference_every = 0"}))
    assert prepared(text_with(**changes)).spectrum is not None  # a test every 25 cycles suffices


def test_a_reference_test_without_that_rest_is_refused() -> None:
    changes = {'reference_test = "reference-test"': 'reference_test = "anchor"'}
    with pytest.raises(ConfigurationError, match="right before the discharge that ends it"):
        prepared(text_with(**changes))


def test_its_place_teaches_no_open_circuit_check() -> None:
    config = prepared(text_with(TABLE + "lowest_Hz = 0.002"))
    steps = [config.book.planned(one) for cycle in config.book.reference for one in cycle]
    (place,) = [index for index, one in enumerate(steps) if one.step.spectrum]
    assert steps[place].step.max_duration_s > 1800.0
    assert not teaches(steps, place)


# --- the staircase --------------------------------------------------------------------------------


@pytest.mark.parametrize("table", [TABLE, STEPPED])
def test_no_current_is_above_base_rate_nor_any_charge_beyond_the_swing(table: str) -> None:
    config = prepared(text_with(table))
    plan, cell = config.spectrum, config.cell
    largest_Ah = spectrum.LARGEST_SWING * cell.nominal_capacity_Ah
    for resistance_Ohm, base_A in ((20.0, 1e-3), (2.0, 1e-3), (20.0, 1e-4)):
        parts = design(plan, config.capabilities, cell, config.limits, resistance_Ohm, base_A)
        for found in parts:
            assert found.peak_A <= base_A * (1.0 + 1e-12)
            assert found.response_V <= plan.response_V * (1.0 + 1e-12)
            assert swing_Ah(found) <= largest_Ah * (1.0 + 1e-12)
            assert abs(float(np.sum(found.levels_A))) < 1e-12 * found.peak_A * found.levels_A.size
        assert len({one.hold_s for one in parts}) == 1
        # enough for a Kramers-Kronig test
        assert sum(len(one.harmonics) for one in parts) >= 7


def test_readings_of_a_hold_have_its_middle_as_their_mean() -> None:
    assert math.isclose(sum(READ_AT) / len(READ_AT), 0.5)
    assert READ_AT[-1] == 1.0


@pytest.mark.parametrize("highest_Hz", [0.2, 0.05, 0.011])
def test_a_permission_spans_four_readings_whatever_the_band(highest_Hz: float) -> None:
    config = prepared(text_with(TABLE + f"highest_Hz = {highest_Hz}\nlowest_Hz = 0.01"))
    (excitation,) = design(
        config.spectrum, config.capabilities, config.cell, config.limits, 20.0, 1e-3
    )
    assert excitation.hold_s == pytest.approx(min(0.1 / highest_Hz, 3.0))
    staircase, t_s = Staircase([excitation], 0.0, []), 0.0
    rig = Rig(config)
    for _ in range(100):
        command = staircase.command(config.cell, t_s)
        assert 4.0 * command.period_s <= command.valid_for_s
        rig.t_s = t_s = t_s + command.period_s
        assert staircase.take(rig.reading(3.5, command.current_A, 1, off=False), command.kind) == ""


@pytest.mark.parametrize("table", [TABLE, STEPPED])
def test_late_readings_do_not_add_up(table: str) -> None:
    config = prepared(text_with(table))
    excitations = design(
        config.spectrum, config.capabilities, config.cell, config.limits, 20.0, 1e-3
    )
    staircase = Staircase(excitations, 100.0, [])
    rig = Rig(config)
    t_s = 100.0
    rows = 0
    while not staircase.over:
        command = staircase.command(config.cell, t_s)
        late_s = 0.03 if rows % 7 == 0 else 0.004
        t_s += command.period_s + late_s
        rig.t_s = t_s
        reading = rig.reading(3.5, command.current_A, 1, off=False)
        assert staircase.take(reading, command.kind) == ""
        rows += 1
    count = sum(5 * one.levels_A.size for one in excitations)
    assert 3 * count < rows <= 4 * count  # where one would come at once it is left out
    assert abs(staircase.edges_s[-1] - 100.0 - 0.5 * count) < 0.06
    assert staircase.level_A == 0.0
    longest_s = max(one.period_s for one in excitations)
    assert abs(staircase.charge_Ah) < 0.01 * staircase.peak_A * longest_s / 3600.0


# --- the core -------------------------------------------------------------------------------------


def in_reference_test(response: float = 1.0, table: str = TABLE) -> Rig:
    changes = {
        "formation_cycles = 2": "formation_cycles = 0",
        "reference_every = 25": "reference_every = 1",
        'protocols = ["short-strip", "discharged-rest"]': "protocols = []",
    }
    rig = Rig(prepared(text_with(table, **changes)), response=response)
    rig.state.key = CycleKey(kind=CycleKind.REFERENCE)
    rig.charge_Ah = 1.5e-3
    rig.start()
    return rig


def in_the_spectrum(rig: Rig, readings: int = 500) -> Rig:
    rig.until(lambda one: one.state.staircase is not None)
    for _ in range(readings):
        rig.once()
    assert rig.state.staircase is not None
    return rig


def past_the_spectrum(rig: Rig) -> list[str]:
    rig.until(lambda one: one.running().startswith("discharge the rest"))
    assert rig.state.staircase is None
    return rig.said(EventKind.SPECTRUM)


def test_every_set_point_is_a_bounded_command_with_an_end() -> None:
    rig = in_reference_test()
    rig.until(lambda one: one.state.staircase is not None)
    cell, kinds = rig.config.cell, set()
    while rig.state.staircase is not None:
        command = rig.in_force
        kinds.add(command.kind)
        if command.kind != HOLD_0A:
            wanted_V = cell.upper_cut_off_V if command.kind == CHARGE else cell.lower_cut_off_V
            assert command.voltage_bound_V == wanted_V
            assert (command.current_A > 0.0) == (command.kind == CHARGE)
            assert abs(command.current_A) <= 1e-3
            assert command.tag == TAG_DIAGNOSTIC
            assert command.envelope == 0
            assert command.valid_for_s == 5.0
        rig.once()
    assert kinds >= {CHARGE, DISCHARGE}


@pytest.mark.parametrize(("table", "tones"), [(TABLE, 8), (STEPPED, 11)])
def test_a_resistor_of_20_ohm_is_measured_as_one(table: str, tones: int) -> None:
    rig = in_reference_test(table=table)
    (said,) = past_the_spectrum(rig)
    assert "Kramers-Kronig valid" in said
    (event,) = [one for one in rig.events if one.kind is EventKind.SPECTRUM]
    z_Ohm = np.array(event.data["real_Ohm"]) + 1j * np.array(event.data["imaginary_Ohm"])
    u_Ohm = np.array(event.data["u_Ohm"])
    assert z_Ohm.size == tones
    # the open-circuit voltage of the rig falls by 417 V/Ah: a capacitor of 8.6 F in series
    capacitor = 1.25 / 3e-3 / 3600.0 / (2j * np.pi * np.array(event.data["frequency_Hz"]))
    assert np.all(np.abs(z_Ohm - 20.0 - capacitor) < 2.5 * u_Ohm)
    assert np.all(u_Ohm < 0.4)
    assert not any("step" in one for one in said)


def test_edges_of_the_staircase_are_no_step_resistances() -> None:
    """Not the last one either, whose answer would come in the rest after it."""
    rig = in_the_spectrum(in_reference_test(), 0)
    readings = 0
    while not rig.running().startswith("discharge the rest"):
        sample = rig.sample()
        command, report = rig.core.step(
            rig.state, sample, rig.in_force, Verdict(action=0, causes=0)
        )
        assert report is None or report.resistances == []
        rig.in_force = command
        rig.wait(command.period_s, command.current_A)
        readings += 1
    assert readings > 4000


def ended(rig: Rig) -> str:
    (event,) = [
        one for one in rig.events if one.kind is EventKind.STEP_ENDED and "impedance" in one.message
    ]
    return str(event.data["end"])


def test_a_hold_of_the_supervisor_ends_the_spectrum_and_not_the_run() -> None:
    rig = in_the_spectrum(in_reference_test())
    rig.in_force = Command(HOLD_0A)
    rig.once(Verdict(HOLD, 1))
    (said,) = past_the_spectrum(rig)
    assert "no impedance spectrum: hold_0A came in between" in said
    assert ended(rig) == StepEnd.ABORTED.value


def test_an_output_gone_off_ends_it_and_comes_back_at_rest() -> None:
    rig = in_the_spectrum(in_reference_test())
    rig.in_force = Command(OPEN)
    rig.once()
    assert rig.in_force.kind == HOLD_0A
    assert "open came in between" in past_the_spectrum(rig)[0]


def test_a_bound_that_is_reached_ends_it() -> None:
    rig = in_the_spectrum(in_reference_test())
    while rig.in_force.kind == HOLD_0A:
        rig.once()
    sample = rig.sample()._replace(limit_status=LIMIT_VOLTAGE)
    command, report = rig.core.step(rig.state, sample, rig.in_force, Verdict(action=0, causes=0))
    assert command.kind == HOLD_0A
    assert any("the voltage bound was reached" in one.message for one in report.events)


def test_a_bad_reading_is_left_out_and_silence_ends_it() -> None:
    rig = in_the_spectrum(in_reference_test())
    staircase, known = rig.state.staircase, len(rig.state.staircase.t_s)
    bad = rig.sample()._replace(quality=1)
    rig.core.step(rig.state, bad, rig.in_force, Verdict(action=0, causes=0))
    assert rig.state.staircase is staircase
    assert len(staircase.t_s) == known
    rig.wait(10.0, 0.0)
    bad = rig.sample()._replace(quality=1)
    _, report = rig.core.step(rig.state, bad, rig.in_force, Verdict(action=0, causes=0))
    assert any("readings stayed away" in one.message for one in report.events)


def test_a_pause_abandons_it_and_says_so() -> None:
    rig = in_the_spectrum(in_reference_test())
    rig.pause()
    rig.once()
    rig.resume()
    assert "no impedance spectrum: interrupted" in past_the_spectrum(rig)[0]


def test_a_trip_latches_as_ever() -> None:
    rig = in_the_spectrum(in_reference_test())
    rig.once(Verdict(TRIP, 1))
    assert rig.state.run_state is State.FAULT
    assert rig.in_force.kind == OPEN


def test_a_crash_abandons_it_and_says_so() -> None:
    rig = in_the_spectrum(in_reference_test())
    rig.crash_and_resume()
    assert "no impedance spectrum: interrupted" in past_the_spectrum(rig)[0]


@pytest.mark.parametrize("table", [TABLE, STEPPED])
def test_a_checkpoint_in_mid_spectrum_commands_the_same(table: str) -> None:
    """A resume steps through what the journal has after its last checkpoint."""
    rig = in_the_spectrum(in_reference_test(table=table), 700)
    state, core = from_text(to_text(rig.state), "test"), Core(rig.config)
    for _ in range(1500):
        sample, in_force = rig.sample(), rig.in_force
        verdict = Verdict(action=0, causes=0)
        command, _ = rig.core.step(rig.state, sample, in_force, verdict)
        # a journal's row has kind and tag of what was in force, and no more
        told = Command(kind=in_force.kind, tag=in_force.tag)
        assert core.step(state, sample, told, verdict).command == command
        rig.in_force = command
        rig.wait(command.period_s, command.current_A)
    assert to_text(state) == to_text(rig.state)


def test_without_a_resistance_there_is_no_spectrum_and_the_run_goes_on() -> None:
    rig = in_reference_test(response=-0.1)  # no answer that a cell gives
    assert "no step resistance is known" in past_the_spectrum(rig)[0]


def test_a_cell_too_good_for_the_band_is_told() -> None:
    rig = in_reference_test(response=1e-3)  # 20 mOhm: 0.02 mV at base rate
    (said,) = past_the_spectrum(rig)
    assert "drowns in noise" in said
    assert ended(rig) == StepEnd.ABORTED.value


def test_the_plan_names_what_it_measures() -> None:
    config = prepared(text_with(TABLE + "lowest_Hz = 0.02"))
    assert config.spectrum == replace(config.spectrum, lowest_Hz=0.02, highest_Hz=0.2)
    (step,) = [one for cycle in config.book.reference for one in cycle if one.spectrum]
    assert step.name == "impedance spectrum, 0.02 to 0.2 Hz"
