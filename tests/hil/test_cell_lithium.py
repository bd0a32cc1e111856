"""The plant: lithium is conserved, charge is what was passed, effects are where they belong."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.errors import ConfigurationError, InvariantError
from hil.cell import (
    PRESETS,
    CellParameters,
    LithiumMetalCell,
    anode_free_nmc811,
    cathode_ocv_V,
    excess_lithium_nmc811,
)
from hil.instruments.source import OPEN_CIRCUIT, VOLTAGE_SOURCE, OutputStage

AMBIENT_K = 298.15
C_3_A = 1e-3
C_50_A = 60e-6


class Bench:
    """Cycles a cell with an ideal cycler and counts what passes."""

    def __init__(self, parameters: CellParameters) -> None:
        self.cell = LithiumMetalCell(parameters)
        self.stage = OutputStage(self.cell, AMBIENT_K)

    def _passed_mAh(self) -> float:
        truth = self.cell.truth()
        return float(truth["charge_in_mAh"]) - float(truth["charge_out_mAh"])

    def until(self, level_V: float, limit_A: float, end_A: float, max_s: float) -> float:
        """Run to `level_V` and hold until the current is `end_A`; return the net charge (mAh)."""
        start_mAh = self._passed_mAh()
        self.stage.set(VOLTAGE_SOURCE, level_V, limit_A)
        passed_s = 0.0
        while passed_s < max_s:
            self.stage.evolve(30.0)
            passed_s += 30.0
            if abs(self.stage.current_A) <= end_A:
                break
        return self._passed_mAh() - start_mAh

    def charge(self) -> float:
        return self.until(4.3, C_3_A, C_3_A / 3.0, 40_000.0)

    def discharge(self) -> float:
        """Base discharge to 3.0 V and hold to C/50: an anchor."""
        return -self.until(3.0, C_3_A, C_50_A, 50_000.0)

    def rest(self, seconds: float) -> None:
        self.stage.set(OPEN_CIRCUIT, 0.0, 0.0)
        self.stage.evolve(seconds)

    def cycle(self, rest_s: float = 600.0) -> tuple[float, float]:
        charge_mAh = self.charge()
        self.rest(rest_s)
        discharge_mAh = self.discharge()
        self.rest(rest_s)
        return charge_mAh, discharge_mAh


def faster_fading(**changes: float) -> CellParameters:
    """Lose lithium twice as fast as the default, so that the reservoir is soon spent."""
    values = {"sei_per_plated": 0.003, "inactive_per_stripped": 0.0045, **changes}
    return dataclasses.replace(anode_free_nmc811(0), **values)


def test_open_circuit_voltage_matches_the_published_points():
    parameters = anode_free_nmc811(0)
    for x, expected_V in ((0.3, 4.205), (0.5, 3.972), (0.7, 3.730)):
        assert cathode_ocv_V(x, parameters) == pytest.approx(expected_V, abs=2e-3)
    assert cathode_ocv_V(0.26, parameters) == pytest.approx(4.29, abs=0.02)
    grid = [0.02 + i * 0.001 for i in range(980)]
    voltages = [cathode_ocv_V(x, parameters) for x in grid]
    assert all(a > b for a, b in pairwise(voltages))


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.floats(-0.02, 0.02),
            st.sampled_from([0.001, 0.5, 5.0, 60.0, 900.0]),
            st.floats(273.15, 333.15),
        ),
        min_size=1,
        max_size=80,
    ),
    st.integers(0, 5),
    st.booleans(),
)
def test_lithium_is_conserved_and_never_negative(protocol, seed, excess):
    factory = excess_lithium_nmc811 if excess else anode_free_nmc811
    cell = LithiumMetalCell(factory(seed))
    before_mAh = cell.lithium_mAh()
    net_mAh = 0.0
    for current_A, dt_s, ambient_K in protocol:
        voltage_V, _ = cell.step(current_A, dt_s, ambient_K)
        net_mAh += current_A * dt_s / 3.6
        assert math.isfinite(voltage_V)
        truth = cell.truth()
        lithium = [value for key, value in truth.items() if key.endswith("_mAh")]
        assert min(lithium) >= -1e-12
    assert cell.lithium_mAh() == pytest.approx(before_mAh, abs=1e-9)
    truth = cell.truth()
    assert truth["charge_in_mAh"] - truth["charge_out_mAh"] == pytest.approx(net_mAh, abs=1e-9)


def test_conservation_over_a_life_of_cycles():
    bench = Bench(faster_fading())
    before_mAh = bench.cell.lithium_mAh()
    for _ in range(10):
        bench.cycle()
    assert bench.cell.lithium_mAh() == pytest.approx(before_mAh, abs=1e-9)


def test_first_cycle_loss_is_kinetic():
    bench = Bench(anode_free_nmc811(0))
    charge_mAh = bench.charge()
    fast_mAh = -bench.until(3.0, C_3_A, C_3_A * 0.999, 50_000.0)
    slow_mAh = -bench.until(3.0, C_3_A, C_3_A / 50.0, 50_000.0)
    assert 0.08 <= 1.0 - fast_mAh / charge_mAh <= 0.13
    assert slow_mAh > 0.02 * charge_mAh  # part of it comes back at a low rate
    assert 2.8 < fast_mAh < 3.1


def test_efficiency_is_blind_to_lithium_loss_until_the_reservoir_is_spent():
    bench = Bench(faster_fading())
    bench.cycle()
    efficiencies, losses, ends, discharges = [], [], [], []
    for _ in range(24):
        before_mAh = cyclable_mAh(bench.cell)
        charge_mAh, discharge_mAh = bench.cycle()
        efficiencies.append(discharge_mAh / charge_mAh)
        discharges.append(discharge_mAh)
        losses.append((before_mAh - cyclable_mAh(bench.cell)) / charge_mAh)
        ends.append(bench.cell.truth()["last_discharge_end"])
    spent = ends.index("anode-limited")
    assert 4 <= spent <= 20
    assert ends[0] == "cathode-limited"
    # Before: lithium is lost, CE does not show it. After: CE = 1 - loss, capacity falls with it.
    assert min(losses) > 0.006
    assert min(efficiencies[: spent - 2]) > 0.9985
    for i in range(spent + 2, 24):
        assert efficiencies[i] == pytest.approx(1.0 - losses[i], abs=3e-4)
        assert discharges[i] / discharges[i - 1] == pytest.approx(efficiencies[i], abs=1e-3)


def cyclable_mAh(cell: LithiumMetalCell) -> float:
    truth = cell.truth()
    return float(truth["active_lithium_mAh"]) + float(truth["cathode_lithium_mAh"])


@pytest.mark.parametrize(
    ("initial_x", "end"), [(0.985, "cathode-limited"), (0.88, "anode-limited")]
)
@pytest.mark.parametrize("last_A", [C_3_A * 0.999, C_50_A, 2e-6])
def test_what_ended_a_discharge_is_known_however_long_it_was_held(initial_x, end, last_A):
    bench = Bench(dataclasses.replace(anode_free_nmc811(0), cathode_initial_x=initial_x))
    bench.charge()
    bench.until(3.0, C_3_A, last_A, 100_000.0)
    bench.rest(60.0)
    assert bench.cell.truth()["last_discharge_end"] == end


def test_an_early_stop_is_neither_electrode():
    bench = Bench(anode_free_nmc811(0))
    bench.charge()
    bench.stage.set(VOLTAGE_SOURCE, 3.0, C_3_A)
    bench.stage.evolve(3600.0)
    bench.rest(60.0)
    assert bench.cell.truth()["last_discharge_end"] == "polarisation-limited"


def test_native_efficiency_of_the_default_cells():
    for seed in range(6):
        bench = Bench(
            dataclasses.replace(
                anode_free_nmc811(seed), cathode_initial_x=0.90, cathode_host_mAh=4.2
            )
        )
        bench.cycle()
        bench.cycle()
        charge_mAh, discharge_mAh = bench.cycle()
        assert bench.cell.truth()["last_discharge_end"] == "anode-limited"
        assert 0.9935 <= discharge_mAh / charge_mAh <= 0.9975


def anode_limited_bench(**changes: float) -> Bench:
    bench = Bench(dataclasses.replace(anode_free_nmc811(0), cathode_initial_x=0.90, **changes))
    for _ in range(6):
        bench.cycle()
    assert bench.cell.truth()["last_discharge_end"] == "anode-limited"
    return bench


def net_of_next_cycle_mAh(bench: Bench) -> float:
    charge_mAh, discharge_mAh = bench.cycle()
    return discharge_mAh - charge_mAh


@pytest.mark.parametrize("hours", [1.0, 6.0])
def test_a_discharged_rest_gives_something_back(hours):
    treated = anode_limited_bench()
    start = treated.cell.snapshot()
    plain_mAh = net_of_next_cycle_mAh(treated)
    treated.cell.restore(start)
    treated.rest(hours * 3600.0)
    assert net_of_next_cycle_mAh(treated) > plain_mAh + 1e-3


def test_a_longer_discharged_rest_gives_more_and_saturates():
    bench = anode_limited_bench()
    start = bench.cell.snapshot()
    gains = []
    for hours in (0.0, 1.0, 4.0, 24.0, 48.0):
        bench.cell.restore(start)
        bench.rest(hours * 3600.0 + 1.0)
        gains.append(net_of_next_cycle_mAh(bench))
    assert gains[0] < gains[1] < gains[2] < gains[3]
    # All residual SEI is gone, while fresh inactive lithium goes on ageing.
    assert gains[4] - gains[3] < gains[1] - gains[0]


def test_a_rest_at_full_charge_costs_and_part_of_it_comes_back():
    bench = Bench(anode_free_nmc811(0))
    bench.charge()
    before = bench.cell.truth()
    bench.rest(24 * 3600.0)
    after = bench.cell.truth()
    loss = 1.0 - float(after["active_lithium_mAh"]) / float(before["active_lithium_mAh"])
    assert 0.018 <= loss <= 0.03
    assert after["reversible_inactive_mAh"] > 0.5 * loss * float(before["active_lithium_mAh"])
    bench.discharge()
    bench.charge()
    assert bench.cell.truth()["reversible_inactive_mAh"] < 1e-3


def fast_strip(bench: Bench, current_A: float, charge_mAh: float) -> None:
    bench.stage.set(VOLTAGE_SOURCE, 2.5, current_A)
    bench.stage.evolve(charge_mAh * 3.6 / current_A)


def test_a_fast_strip_after_charge_gives_back_and_a_slow_one_does_not():
    bench = anode_limited_bench()
    bench.charge()
    start = bench.cell.snapshot()
    gained = {}
    for current_A in (C_3_A, 3e-3, 9e-3, 15e-3):
        bench.cell.restore(start)
        before_mAh = float(bench.cell.truth()["reconnected_mAh"])
        fast_strip(bench, current_A, 0.15)
        gained[current_A] = float(bench.cell.truth()["reconnected_mAh"]) - before_mAh
    assert gained[C_3_A] == 0.0
    assert gained[3e-3] == 0.0  # 1.95 mA/cm2: below the threshold
    assert 0.0 < gained[9e-3] < gained[15e-3]


def test_a_fast_strip_long_after_the_charge_does_nothing():
    bench = anode_limited_bench()
    bench.charge()
    bench.rest(6 * 3600.0)
    before_mAh = float(bench.cell.truth()["reconnected_mAh"])
    fast_strip(bench, 9e-3, 0.15)
    assert bench.cell.truth()["reconnected_mAh"] == pytest.approx(before_mAh, abs=1e-9)


def test_without_inactive_lithium_no_treatment_gives_anything():
    bench = anode_limited_bench(inactive_per_stripped=0.0, corrosion_per_h=0.0)
    start = bench.cell.snapshot()
    plain_mAh = net_of_next_cycle_mAh(bench)
    bench.cell.restore(start)
    bench.rest(6 * 3600.0)
    bench.charge()
    fast_strip(bench, 9e-3, 0.15)
    assert bench.cell.truth()["reconnected_mAh"] == 0.0
    bench.cell.restore(start)
    bench.rest(6 * 3600.0)
    assert net_of_next_cycle_mAh(bench) == pytest.approx(plain_mAh, abs=1e-3)


def test_insoluble_sei_makes_a_discharged_rest_useless():
    bench = anode_limited_bench(dissolvable_share=0.0, corrosion_per_h=0.0)
    before = bench.cell.truth()["reconnected_mAh"]
    bench.rest(12 * 3600.0)
    bench.charge()
    assert bench.cell.truth()["reconnected_mAh"] == before


def anode_limited_cell() -> LithiumMetalCell:
    return LithiumMetalCell(dataclasses.replace(anode_free_nmc811(0), cathode_initial_x=0.80))


def test_bare_copper_moves_two_volts_within_milliseconds_at_3c():
    cell = anode_limited_cell()
    for _ in range(360):
        cell.step(C_3_A, 5.0, AMBIENT_K)
    while float(cell.truth()["active_lithium_mAh"]) > 1.5e-3:
        cell.step(-9e-3, 0.02, AMBIENT_K)
    voltages = [cell.step(-9e-3, 2e-4, AMBIENT_K)[0] for _ in range(4000)]
    falling = [voltage_V for voltage_V in voltages if 0.5 < voltage_V < 2.5]
    assert 2 < len(falling) < 50  # 2 V within 10 ms
    assert min(voltages) < 0.5
    assert cell.truth()["active_lithium_mAh"] == 0.0


def test_copper_dissolution_is_flagged_above_3_2_V_and_not_below():
    cell = anode_limited_cell()
    for _ in range(10):
        cell.step(C_3_A, 5.0, AMBIENT_K)
    while float(cell.truth()["active_lithium_mAh"]) > 1e-3:
        cell.step(-C_3_A, 0.1, AMBIENT_K)
    while float(cell.truth()["copper_V"]) < 3.1:
        cell.step(-C_3_A, 1e-3, AMBIENT_K)
    assert not cell.truth()["copper_dissolution"]
    cell.step(-C_3_A, 1e-3, AMBIENT_K)
    assert not cell.truth()["copper_dissolved_mAh"]
    cell.step(-C_3_A, 1.0, AMBIENT_K)
    truth = cell.truth()
    assert truth["copper_dissolution"]
    assert truth["copper_dissolved_mAh"] > 0.0


def test_asking_for_a_voltage_changes_nothing():
    cell = LithiumMetalCell(anode_free_nmc811(0))
    cell.step(C_3_A, 100.0, AMBIENT_K)
    before = cell.snapshot()
    voltages = [cell.terminal_voltage(current_A) for current_A in (-0.01, -1e-3, 0.0, 1e-3, 0.01)]
    assert voltages == sorted(voltages)
    assert cell.snapshot() == before


def test_snapshot_and_restore_take_up_the_same_path():
    cell = LithiumMetalCell(anode_free_nmc811(2))
    for _ in range(50):
        cell.step(C_3_A, 30.0, AMBIENT_K)
    start = cell.snapshot()
    first = [cell.step(-C_3_A, 7.0, AMBIENT_K) for _ in range(20)]
    cell.restore(start)
    assert [cell.step(-C_3_A, 7.0, AMBIENT_K) for _ in range(20)] == first
    other = LithiumMetalCell(anode_free_nmc811(2))
    other.restore(start)
    assert [other.step(-C_3_A, 7.0, AMBIENT_K) for _ in range(20)] == first


def test_the_step_length_hardly_matters_at_constant_current():
    results = []
    for dt_s in (1.0, 10.0, 60.0):
        cell = LithiumMetalCell(anode_free_nmc811(0))
        for _ in range(round(7200.0 / dt_s)):
            voltage_V, _ = cell.step(C_3_A, dt_s, AMBIENT_K)
        results.append((voltage_V, float(cell.truth()["active_lithium_mAh"])))
    for voltage_V, active_mAh in results[1:]:
        assert voltage_V == pytest.approx(results[0][0], abs=5e-4)
        assert active_mAh == pytest.approx(results[0][1], rel=1e-6)


def test_the_can_warms_by_its_own_losses_and_cools_to_ambient():
    cell = LithiumMetalCell(anode_free_nmc811(0))
    for _ in range(60):
        cell.step(C_3_A, 60.0, AMBIENT_K)
    for _ in range(10):
        _, hot_K = cell.step(15e-3, 1.0, AMBIENT_K)
    assert 0.0 < hot_K - AMBIENT_K < 0.1
    for _ in range(60):
        _, cold_K = cell.step(0.0, 60.0, 288.15)
    assert cold_K == pytest.approx(288.15, abs=0.05)


def test_cold_raises_the_resistance():
    warm = LithiumMetalCell(anode_free_nmc811(0))
    cold = LithiumMetalCell(anode_free_nmc811(0), temperature_K=278.15)
    assert cold.truth()["resistance_Ohm"] > 1.3 * float(warm.truth()["resistance_Ohm"])


def test_the_same_seed_is_the_same_cell_and_another_is_not():
    assert anode_free_nmc811(7) == anode_free_nmc811(7)
    assert anode_free_nmc811(7) != anode_free_nmc811(8)


def test_excess_lithium_never_shows_the_knee():
    bench = Bench(excess_lithium_nmc811(0))
    bench.cycle()
    bench.cycle()
    truth = bench.cell.truth()
    assert truth["last_discharge_end"] == "cathode-limited"
    assert truth["active_lithium_mAh"] > 15.0
    assert truth["copper_highest_V"] == 0.0


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((math.nan, 1.0, 298.15), "current_A"),
        ((math.inf, 1.0, 298.15), "current_A"),
        ((0.0, 0.0, 298.15), "dt_s"),
        ((0.0, -1.0, 298.15), "dt_s"),
        ((0.0, math.nan, 298.15), "dt_s"),
        ((0.0, 86_401.0, 298.15), "dt_s"),
        ((0.0, 1.0, 25.0), "ambient_K"),
        ((0.0, 1.0, math.nan), "ambient_K"),
    ],
)
def test_a_step_that_cannot_be_is_refused_by_name(arguments, word):
    cell = LithiumMetalCell(anode_free_nmc811(0))
    before = cell.snapshot()
    with pytest.raises(ConfigurationError, match=word):
        cell.step(*arguments)
    assert cell.snapshot() == before


def test_bad_parameters_are_all_named_with_their_range():
    with pytest.raises(ConfigurationError) as caught:
        dataclasses.replace(
            anode_free_nmc811(0), area_cm2=-1.0, sei_per_plated=math.nan, cathode_initial_x=1.2
        )
    assert [fault.key for fault in caught.value.faults] == [
        "area_cm2",
        "cathode_initial_x",
        "sei_per_plated",
    ]
    assert "0.02..0.9995" in str(caught.value)


def test_capacities_that_contradict_each_other_are_refused():
    with pytest.raises(ConfigurationError, match="nominal_capacity_mAh"):
        dataclasses.replace(anode_free_nmc811(0), nominal_capacity_mAh=30.0)
    with pytest.raises(ConfigurationError, match="positive_foil_mAh"):
        dataclasses.replace(PRESETS["li-cu"](0), positive_foil_mAh=0.0)


def test_a_state_outside_physics_is_a_bug_and_says_so():
    cell = LithiumMetalCell(anode_free_nmc811(0))
    cell._s.neg.fresh_mAh = -0.5
    with pytest.raises(InvariantError, match=r"neg\.fresh_mAh = -0\.5"):
        cell.step(C_3_A, 1.0, AMBIENT_K)
    cell = LithiumMetalCell(anode_free_nmc811(0))
    cell._s.film_V = math.nan
    with pytest.raises(InvariantError, match="film_V = nan"):
        cell.step(C_3_A, 1e-9, AMBIENT_K)


def test_a_foreign_snapshot_is_refused():
    cell = LithiumMetalCell(anode_free_nmc811(0))
    good = cell.snapshot()
    with pytest.raises(ConfigurationError):
        cell.restore(good[:-1])
    with pytest.raises(ConfigurationError):
        cell.restore((math.nan, *good[1:]))
    assert cell.snapshot() == good
