"""Anyone's cell behind the instruments: found or refused by name, held, counted, kept."""

from __future__ import annotations

import copy
import json
import math
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from controller.domain.errors import ConfigurationError, InvariantError
from hil.bench import Bench, build_bench, load_bench, save_bench
from hil.cell import LithiumMetalCell, anode_free_nmc811
from hil.instruments.source import (
    CURRENT_SOURCE,
    OPEN_CIRCUIT,
    VOLTAGE_SOURCE,
    OutputStage,
)
from hil.plant import PlantPort, Regulation, find_factory, load_plant, port_of
from tests.plants import equivalent_circuit, two_foils

AMBIENT_K = 298.15
EQUIVALENT = "tests.plants.equivalent_circuit"


class Linear:
    """A battery of 3.7 V behind 10 Ohm that tells whatever a test wants."""

    def __init__(self, answer=None):
        self.answer = answer
        self.steps = 0

    def step(self, current_A, dt_s, ambient_K):
        self.steps += 1
        if self.answer is not None:
            return self.answer
        return 3.7 + 10.0 * current_A, ambient_K


@pytest.fixture
def module(monkeypatch):
    """A module whose contents a test chooses."""

    def put(**contents):
        monkeypatch.setitem(sys.modules, "plants_of_a_test", SimpleNamespace(**contents))
        return "plants_of_a_test:make"

    return put


def load(spelling):
    return load_plant(spelling, seed=1, temperature_K=AMBIENT_K)


# -- found, or refused by name -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("spelling", "words"),
    [
        ("", "MODULE:FACTORY"),
        ("tests.plants.equivalent_circuit", "not spelled MODULE:FACTORY"),
        ("tests.plants.equivalent_circuit:", "not spelled MODULE:FACTORY"),
        ("../plants:make", "not spelled MODULE:FACTORY"),
        ("tests.plants.equivalent_circut:make", "did you mean 'equivalent_circuit'"),
        ("no_such_package.at_all:make", "no module 'no_such_package'"),
        (f"{EQUIVALENT}:mak", "did you mean 'make'"),
        (f"{EQUIVALENT}:SERIES_OHM", "cannot be called"),
        (f"{EQUIVALENT}:math.sqrt", "factory is called as factory(seed=..., temperature_K=...)"),
    ],
)
def test_a_factory_that_cannot_be_found_is_refused_with_its_name(spelling, words):
    with pytest.raises(ConfigurationError, match=re.escape(words)) as refused:
        load(spelling)
    assert repr(spelling) in str(refused.value)


def test_what_a_module_needs_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("needy_plant.py").write_text("import no_such_library\n")
    with pytest.raises(ConfigurationError, match="needs the module 'no_such_library'"):
        load("needy_plant:make")
    Path("broken_plant.py").write_text("1 / 0\n")
    with pytest.raises(ConfigurationError, match="cannot be imported: ZeroDivisionError"):
        load("broken_plant:make")


@pytest.mark.parametrize(
    ("plant", "words"),
    [
        (object(), "no step"),
        (SimpleNamespace(steps=3), "did you mean 'steps'"),
        (SimpleNamespace(step=3), "no step"),
        (Linear((math.nan, 298.15)), "voltage nan V"),
        (Linear((3.7, math.inf)), "temperature inf K"),
        (Linear((3.7, -3.0)), "temperature -3.0 K"),
        (Linear(3.7), "returned 3.7"),
        (Linear((3.7,)), "returned (3.7,)"),
        (Linear(("3.7", 298.15)), "returned ('3.7', 298.15)"),
        (SimpleNamespace(step=Linear().step, snapshot=list), "restore: is missing"),
        (SimpleNamespace(step=Linear().step, restore=list), "snapshot: is missing"),
        (SimpleNamespace(step=Linear().step, truth=3), "cannot be called"),
        (
            SimpleNamespace(step=Linear().step, terminal_voltage=lambda _: math.nan),
            "voltage nan V from terminal_voltage",
        ),
    ],
)
def test_what_is_no_plant_is_refused_before_anything_is_energised(module, plant, words):
    def make(*, seed, temperature_K):
        return plant

    with pytest.raises(ConfigurationError, match=re.escape(words)):
        load(module(make=make))


def test_a_factory_that_fails_is_refused_in_its_own_words(module):
    def make(*, seed, temperature_K):
        raise KeyError("capacity")

    with pytest.raises(ConfigurationError, match="failed: KeyError: 'capacity'"):
        load(module(make=make))


def test_trying_a_plant_leaves_it_where_it_was():
    for factory in ("make", "make_explicit", "make_blind"):
        assert load(f"{EQUIVALENT}:{factory}").truth()["time_s"] == 0.0


def test_a_plant_in_the_current_folder_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    source = Path(equivalent_circuit.__file__).read_text("utf-8")
    Path("cell_in_this_folder.py").write_text(source, encoding="utf-8")
    assert load("cell_in_this_folder:make").regulation is Regulation.IMPLICIT


def test_what_a_plant_can_do_decides_how_it_is_held():
    assert load(f"{EQUIVALENT}:make").regulation is Regulation.IMPLICIT
    assert load(f"{EQUIVALENT}:make_explicit").regulation is Regulation.EXPLICIT
    assert load(f"{EQUIVALENT}:make_blind").regulation is Regulation.FROM_SLOPE


# -- held --------------------------------------------------------------------------------------


def own_cell(*, seed, temperature_K):
    return LithiumMetalCell(anode_free_nmc811(seed), temperature_K=temperature_K)


class Without:
    """A cell of which only some methods are shown."""

    def __init__(self, cell, *names):
        for name in names:
            setattr(self, name, getattr(cell, name))


class Watched:
    """Counts the steps that a plant makes, tried ones included."""

    def __init__(self, plant):
        self.plant = plant
        self.steps = 0
        for name in ("terminal_voltage", "snapshot", "restore", "truth"):
            if hasattr(plant, name):
                setattr(self, name, getattr(plant, name))

    def step(self, *arguments):
        self.steps += 1
        return self.plant.step(*arguments)


def charge_and_discharge(stage, *, poll_s=5.0):
    """Two anchored cycles of a 3 mAh cell; yield at every look while a voltage is held."""
    for _ in range(2):
        for level_V, end_A in ((4.3, 3e-4), (3.0, 6e-5)):
            stage.set(VOLTAGE_SOURCE, level_V, 1e-3)
            for _ in range(8000):
                stage.evolve(poll_s)
                if not stage.limited:
                    yield level_V
                    if abs(stage.current_A) <= end_A:
                        break
            stage.set(OPEN_CIRCUIT, 0.0, 0.0)
            stage.evolve(600.0)


@pytest.mark.parametrize(
    "factory", [own_cell, equivalent_circuit.make, equivalent_circuit.make_explicit]
)
def test_a_held_voltage_is_off_by_less_than_a_millivolt_where_it_can_be_told(factory):
    stage = OutputStage(factory(seed=1, temperature_K=AMBIENT_K), AMBIENT_K)
    looks = 0
    for level_V in charge_and_discharge(stage):
        assert stage.voltage_V == pytest.approx(level_V, abs=1e-3)
        looks += 1
    assert looks > 100
    assert stage.largest_held_error_V < 1e-3


def test_a_plant_that_only_steps_is_held_and_its_error_reported():
    plant = equivalent_circuit.make_blind(seed=1, temperature_K=AMBIENT_K)
    stage = OutputStage(plant, AMBIENT_K)
    off_V = [abs(stage.voltage_V - level_V) for level_V in charge_and_discharge(stage)]
    assert sorted(off_V)[len(off_V) // 2] < 1e-3
    # Bare copper is met at a step of 20 ms: that shows, and is told.
    assert max(off_V) <= stage.largest_held_error_V < 0.5
    assert 0.0 < stage.largest_overshoot_V < 0.1
    (note,) = stage.notes()
    assert "from-slope" in note
    assert "mV" in note


@pytest.mark.parametrize("factory", [equivalent_circuit.make, two_foils.li_cu, own_cell])
def test_a_step_at_constant_voltage_costs_three_calls_of_the_plant(factory):
    watched = Watched(factory(seed=1, temperature_K=AMBIENT_K))
    stage = OutputStage(watched, AMBIENT_K)
    level_V = 0.02 if factory is two_foils.li_cu else 4.3
    stage.set(VOLTAGE_SOURCE, level_V, 1e-3)
    while True:
        stage.evolve(1.0)
        if not stage.limited:
            break
    steps, hold = 0, stage._hold
    plain = hold.step

    def counted(*arguments):
        nonlocal steps
        steps += 1
        return plain(*arguments)

    stage._hold = SimpleNamespace(step=counted, begin=hold.begin)
    watched.steps = 0
    stage.evolve(1800.0)
    assert steps > 300
    assert watched.steps <= 3.0 * steps


def test_polls_of_any_length_pass_the_same_charge():
    passed = []
    for poll_s in (0.7, 30.0):
        cell = equivalent_circuit.make(seed=2, temperature_K=AMBIENT_K)
        stage = OutputStage(cell, AMBIENT_K)
        stage.set(VOLTAGE_SOURCE, 4.3, 1e-3)
        for _ in range(round(12_600.0 / poll_s)):
            stage.evolve(poll_s)
        passed.append(cell.truth()["charge_in_mAh"])
    assert passed[1] == pytest.approx(passed[0], rel=1e-6)


def test_the_current_read_between_steps_integrates_to_the_charge_that_passed():
    cell = equivalent_circuit.make(seed=2, temperature_K=AMBIENT_K)
    stage = OutputStage(cell, AMBIENT_K)
    stage.set(VOLTAGE_SOURCE, 4.3, 1e-3)
    while True:
        stage.evolve(1.0)
        if not stage.limited:
            break
    start_mAh, last_A, seen_C = cell.truth()["charge_in_mAh"], stage.current_A, 0.0
    for _ in range(600):
        stage.evolve(5.0)
        seen_C += 2.5 * (last_A + stage.current_A)
        last_A = stage.current_A
    assert cell.truth()["charge_in_mAh"] - start_mAh == pytest.approx(seen_C / 3.6, rel=1e-4)


def test_an_inrush_is_limited_and_its_fast_part_is_seen():
    cell = equivalent_circuit.make(seed=1, temperature_K=AMBIENT_K)
    stage = OutputStage(cell, AMBIENT_K)
    stage.set(CURRENT_SOURCE, 1e-3, 5.0)
    stage.evolve(3600.0)
    rest_V = cell.terminal_voltage(1e-3)
    stage.set(VOLTAGE_SOURCE, rest_V + 0.02, 10e-3)
    stage.evolve(0.0)
    at_once_A = stage.current_A
    stage.evolve(0.1)
    # At once only the series resistance answers, some ms later the fast element as well.
    assert at_once_A == pytest.approx(1e-3 + 0.02 / cell._series_Ohm, rel=1e-6)
    assert stage.current_A < 0.75 * at_once_A
    assert stage.voltage_V == pytest.approx(rest_V + 0.02, abs=1e-5)
    stage.set(VOLTAGE_SOURCE, 4.3, 1.2e-3)
    stage.evolve(0.0)
    assert stage.current_A == 1.2e-3
    assert stage.limited


@pytest.mark.parametrize("names", [("step", "snapshot", "restore", "truth")])
def test_a_plant_with_snapshot_needs_no_terminal_voltage(names):
    cell = equivalent_circuit.make(seed=1, temperature_K=AMBIENT_K)
    stage = OutputStage(Without(cell, *names), AMBIENT_K)
    for level_V in charge_and_discharge(stage):
        assert stage.voltage_V == pytest.approx(level_V, abs=1e-3)
    truth = cell.truth()
    assert stage.charge_in_mAh == pytest.approx(truth["charge_in_mAh"], abs=1e-9)


# -- bounds and signs --------------------------------------------------------------------------


def test_negative_cell_voltages_are_held_and_bounded():
    cell = two_foils.li_cu(seed=3, temperature_K=AMBIENT_K)
    stage = OutputStage(cell, AMBIENT_K)
    stage.set(CURRENT_SOURCE, 1e-3, 1.0)
    stage.evolve(3600.0)
    assert stage.voltage_V > 0.0
    stage.set(VOLTAGE_SOURCE, -1.0, 1e-3)
    lowest_V = 0.0
    for _ in range(5000):
        stage.evolve(1.0)
        lowest_V = min(lowest_V, stage.voltage_V)
        if not stage.limited and abs(stage.current_A) < 1e-5:
            break
    assert lowest_V == pytest.approx(-1.0, abs=2e-4)
    assert cell.truth()["standing_columns"] == 0
    truth = cell.truth()
    # what was plated is stripped, in film, or in roots that lost contact; little is in the copper
    assert truth["charge_out_mAh"] + truth["lithium_lost_mAh"] == pytest.approx(1.0, abs=1e-3)


def test_symmetric_cells_swing_about_zero():
    stage = OutputStage(two_foils.li_li(seed=3, temperature_K=AMBIENT_K), AMBIENT_K)
    for level_V in (0.02, -0.02, 0.02):
        stage.set(VOLTAGE_SOURCE, level_V, 5e-3)
        stage.evolve(600.0)
        assert stage.voltage_V == pytest.approx(level_V, abs=1e-6)
        assert stage.current_A * level_V > 0.0


@pytest.mark.parametrize("reversed_cell", [False, True])
def test_a_cliff_is_found_within_a_tenth_of_a_millivolt(reversed_cell):
    cell = two_foils.li_cu(seed=1, temperature_K=AMBIENT_K)
    cell.step(1e-3, 600.0, AMBIENT_K)
    stage = OutputStage(cell, AMBIENT_K)
    sign = -1.0 if reversed_cell else 1.0
    stage.wire(lead_Ohm=0.0, polarity=sign)
    stage.set(CURRENT_SOURCE, -1e-3 * sign, 0.8)
    stage.evolve(3600.0)  # steps of 60 s; bare copper moves 2 V in one
    assert stage.limited
    assert stage.voltage_V == pytest.approx(-0.8 * sign, abs=1e-6)
    assert stage.largest_overshoot_V < 2e-4
    assert cell.truth()["negative_bare_V"] < 0.81


def test_a_current_source_gets_its_current_back_when_the_clamp_is_not_needed():
    cell = equivalent_circuit.make(seed=1, temperature_K=AMBIENT_K)
    stage = OutputStage(cell, AMBIENT_K)
    stage.set(CURRENT_SOURCE, 1e-3, 3.3)
    stage.evolve(60.0)
    assert stage.limited
    assert 0.0 < stage.current_A < 1e-3
    stage.set(CURRENT_SOURCE, 1e-3, 5.0)
    stage.evolve(60.0)
    assert not stage.limited
    assert stage.current_A == 1e-3


@pytest.mark.parametrize("factory", ["make", "make_explicit", "make_blind"])
def test_what_passes_the_terminals_is_what_the_plant_counts(factory):
    plant = getattr(equivalent_circuit, factory)(seed=4, temperature_K=AMBIENT_K)
    stage = OutputStage(plant, AMBIENT_K)
    for _ in charge_and_discharge(stage, poll_s=17.0):
        pass
    truth = plant.truth()
    assert stage.charge_in_mAh == pytest.approx(truth["charge_in_mAh"], abs=1e-9)
    assert stage.charge_out_mAh == pytest.approx(truth["charge_out_mAh"], abs=1e-9)
    assert truth["lithium_lost_mAh"] > 0.02


# -- temperature -------------------------------------------------------------------------------


def test_the_thermometer_shows_what_step_returned_and_the_ambient_before():
    class Warm(Linear):
        def step(self, current_A, dt_s, ambient_K):
            return 3.7 + 10.0 * current_A, ambient_K + 7.0

    stage = OutputStage(Warm(), 291.0)
    assert stage.temperature_K == 291.0
    stage.evolve(1.0)
    assert stage.temperature_K == 298.0
    known = OutputStage(two_foils.li_li(seed=0, temperature_K=305.0), 291.0)
    assert known.temperature_K == 305.0


# -- a plant that breaks -----------------------------------------------------------------------


@pytest.mark.parametrize("answer", [(math.nan, 298.15), (3.7, math.nan), (-math.inf, 298.15)])
def test_nan_during_a_run_is_an_error_with_name_and_value_and_the_output_can_be_opened(answer):
    plant = Linear()
    bench = build_bench(plant=port_of(plant, "my_cells:make"), seed=1, utc_epoch_s=0.0, ideal=True)
    send(bench, ":SOUR:FUNC CURR;:SOUR:CURR 1e-3;:SOUR:CURR:VLIM 5;:OUTP ON")
    plant.answer = answer
    bench.clock.advance(1.0)
    word = "nan" if math.isnan(answer[0] + answer[1]) else "-inf"
    with pytest.raises(InvariantError, match=f"plant my_cells:make: .* {word} .*step"):
        bench.smu.tick()
    assert bench.smu.plant_failure
    steps = plant.steps
    bench.clock.advance(1.0)
    send(bench, ":OUTP OFF")  # the instrument still obeys; the plant is left alone
    assert not bench.smu.output_on
    assert plant.steps == steps
    truth = bench.smu.truth()
    assert "my_cells:make" in truth["plant_failure"]
    json.dumps(truth, allow_nan=False)


def test_a_reading_of_a_broken_plant_is_an_overflow_never_zero():
    plant = Linear()
    bench = build_bench(plant=port_of(plant), seed=1, utc_epoch_s=0.0, ideal=True)
    send(bench, ":SOUR:VOLT 3.8;:SOUR:VOLT:ILIM 1e-3;:OUTP ON")
    plant.answer = (math.nan, 298.15)
    bench.clock.advance(1.0)
    with pytest.raises(InvariantError):
        bench.smu.tick()
    bench.smu_transport.write(b':READ? "defbuffer1",SOUR\n')
    assert float(bench.smu_transport.read_until(b"\n", 1.0)) == 9.9e37


def send(bench, text):
    bench.smu_transport.write(text.encode() + b"\n")


# -- kept --------------------------------------------------------------------------------------


def bench_of(factory: str, seed: int = 1) -> Bench:
    return build_bench(
        plant=load_plant(f"{EQUIVALENT}:{factory}", seed=seed, temperature_K=AMBIENT_K),
        seed=seed,
        utc_epoch_s=0.0,
    )


def live(bench: Bench, seconds: float) -> list[bytes]:
    replies = []
    for line in (":SOUR:VOLT:ILIM 1e-3;:SOUR:VOLT 4.3;:SENS:CURR:RSEN ON;:OUTP ON",):
        send(bench, line)
    for _ in range(round(seconds / 60.0)):
        bench.clock.advance(60.0)
        bench.smu_transport.write(b':READ? "defbuffer1",SOUR,READ\n')
        replies.append(bench.smu_transport.read_until(b"\n", 1.0))
    return replies


def test_the_same_seed_gives_the_same_bytes():
    assert live(bench_of("make"), 1800.0) == live(bench_of("make"), 1800.0)
    assert live(bench_of("make"), 1800.0) != live(bench_of("make", seed=2), 1800.0)


def test_a_bench_with_a_stranger_is_forked_like_our_own():
    bench = bench_of("make")
    live(bench, 1800.0)
    twin = copy.deepcopy(bench)
    assert live(bench, 1800.0) == live(twin, 1800.0)
    assert bench.cell is not twin.cell


def test_a_stranger_with_a_plain_snapshot_is_kept_and_taken_up(tmp_path):
    path = tmp_path / "bench.json"
    bench = bench_of("make")
    live(bench, 7200.0)
    save_bench(bench, path)
    again = bench_of("make")
    load_bench(again, path)
    assert again.cell.truth() == bench.cell.truth()
    assert again.smu.temperature_K == bench.smu.temperature_K
    with pytest.raises(ConfigurationError, match=r"holds .*make'.*, not 'anode-free'"):
        load_bench(build_bench(seed=1, utc_epoch_s=0.0), path)


@pytest.mark.parametrize("factory", ["make_explicit", "make_blind"])
def test_a_plant_that_cannot_be_kept_runs_and_is_refused_on_resume_with_the_reason(
    tmp_path, factory
):
    path = tmp_path / "bench.json"
    bench = bench_of(factory)
    live(bench, 600.0)
    save_bench(bench, path)
    with pytest.raises(ConfigurationError, match="no snapshot and restore"):
        load_bench(bench_of(factory), path)


def test_a_snapshot_that_is_not_plain_data_is_told(tmp_path):
    class Opaque(Linear):
        def snapshot(self):
            return object()

        def restore(self, snapshot):
            pass

    port: PlantPort = port_of(Opaque())
    assert "not plain data" in port.why_not_stored()
    bench = build_bench(plant=port, seed=1, utc_epoch_s=0.0)
    save_bench(bench, tmp_path / "bench.json")
    with pytest.raises(ConfigurationError, match="not plain data"):
        load_bench(bench, tmp_path / "bench.json")


def test_a_bench_kept_by_the_first_version_still_opens(tmp_path):
    path = tmp_path / "bench.json"
    bench = build_bench(seed=1, utc_epoch_s=0.0)
    save_bench(bench, path)
    document = json.loads(path.read_text("utf-8"))
    for key in ("plant", "temperature_K"):
        del document[key]
    path.write_text(json.dumps(document), "utf-8")
    load_bench(build_bench(seed=1, utc_epoch_s=0.0), path)


def test_the_test_plants_import_nothing_of_ours():
    for module in (equivalent_circuit, two_foils):
        text = Path(module.__file__).read_text("utf-8")
        assert not re.search(
            r"^\s*(?:from|import)\s+(?:hil|controller|protocols)\b", text, re.MULTILINE
        )


def test_a_factory_of_ours_is_found_by_the_same_words():
    assert find_factory(f"{EQUIVALENT}:make") is equivalent_circuit.make
