"""A spectrum that a run measures through the driver's bytes, against the cell's own impedance.

Truth: small sines on the cell as it stood when the measurement began, without instrument. The cells
are simulated: this shows that what the run says is that of the cell's linear answer, not that cells
behave so.
"""

from __future__ import annotations

import cmath
import copy
import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from controller.app.config import example_text, parse_run
from controller.app.prepare import Prepared, prepare
from controller.core.plan import CycleKey
from controller.core.spectrum import VALID_FOR_S
from controller.core.step import Report
from controller.domain.command import HOLD_0A
from controller.domain.events import Event, EventKind
from controller.domain.figures import CycleFigures, CycleKind
from hil.bench import build_bench
from hil.instruments.faults import FaultKind, InstrumentFault
from hil.plant import port_of
from hil.rig import Rig, build_rig
from tests.plants.equivalent_circuit import EquivalentCircuit
from tests.plants.small_sine import AMBIENT_K, true_impedance

SINE_A, TRUE_PERIODS = 2e-5, 8


def prepared(preset: str, seed: int, *, table: str = "\n[spectrum]\n") -> Prepared:
    """The example with nothing but its reference tests, and the spectrum in them."""
    text = re.sub(
        r"^(# ?)?\[spectrum\].*\n((# ?)?\w+ = .*\n)+",
        "",
        example_text(preset),
        flags=re.MULTILINE,
    )
    assert "spectrum" not in text
    for key, value in {"formation_cycles": "0", "reference_every": "1", "protocols": "[]"}.items():
        text, count = re.subn(rf"^{key} = [^#\n]*", f"{key} = {value} ", text, flags=re.MULTILINE)
        assert count == 1
    return prepare(parse_run(text + table, "test"), seed)


def in_its_reference_test(rig: Rig) -> Rig:
    rig.state.key = CycleKey(kind=CycleKind.REFERENCE)
    rig.start()
    return rig


def started(
    preset: str, seed: int, faults: tuple[InstrumentFault, ...] = (), more: str = ""
) -> Rig:
    given = prepared(preset, seed, table="\n[spectrum]\n" + more)
    return in_its_reference_test(build_rig(given.core, given.limits, preset=preset, faults=faults))


def started_on_a_circuit(seed: int) -> Rig:
    given = prepared("anode-free", seed)
    plant = EquivalentCircuit(seed=seed, temperature_K=AMBIENT_K)
    bench = build_bench(
        plant=port_of(plant, "circuit"), seed=seed, utc_epoch_s=0.0, ambient_K=AMBIENT_K
    )
    return in_its_reference_test(Rig(given.core, given.limits, bench))


def of_kind(report: Report | None, kind: EventKind) -> list[Event]:
    return [] if report is None else [one for one in report.events if one.kind is kind]


def to_the_spectrum(rig: Rig) -> None:
    rig.run(lambda _: rig.state.staircase is not None)
    assert rig.state.staircase is not None


@dataclass(frozen=True)
class Measurement:
    found: Event
    cell: object  # as it stood when the measurement began
    moved_mAh: float  # hidden net charge of the measurement


def measured(rig: Rig) -> Measurement:
    to_the_spectrum(rig)
    cell, before_mAh = copy.deepcopy(rig.bench.cell), rig.net_charge_mAh()
    report = rig.run(lambda one: bool(of_kind(one, EventKind.SPECTRUM)))
    (found,) = of_kind(report, EventKind.SPECTRUM)
    assert "reason" not in found.data, found.message
    return Measurement(found, cell, rig.net_charge_mAh() - before_mAh)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "tones"),
    [
        (lambda seed: started("excess-lithium", seed), 8),
        (lambda seed: started("li-li", seed), 8),
        (started_on_a_circuit, 8),
        (lambda seed: started("excess-lithium", seed, more='method = "stepped-sine"\n'), 11),
    ],
    ids=["lithium in excess", "Li||Li", "equivalent circuit", "lithium in excess, stepped sine"],
)
def test_what_the_run_says_is_the_cells_small_signal_impedance(
    start: Callable[[int], Rig], tones: int
) -> None:
    hits, relative, angles = [], [], []
    for seed in (1, 2, 3):
        rig = start(seed)
        measurement = measured(rig)
        data = measurement.found.data
        z = np.array(data["real_Ohm"]) + 1j * np.array(data["imaginary_Ohm"])
        u = np.array(data["u_Ohm"])
        truth = np.array(
            [
                true_impedance(measurement.cell, f_Hz, SINE_A, TRUE_PERIODS)
                for f_Hz in data["frequency_Hz"]
            ]
        )
        off = np.abs(z) - np.abs(truth)
        turned = np.array([cmath.phase(one) for one in (z / truth).tolist()])
        hits += [*(np.abs(off) <= 1.96 * u), *(np.abs(turned) * np.abs(truth) <= 1.96 * u)]
        relative.append(np.abs(off) / np.abs(truth))
        angles.append(np.abs(turned))
        assert z.size == tones
        assert np.max(u / np.abs(truth)) < 0.02  # not right by being vague
        assert data["kramers_kronig"] == "valid"
        assert not data["distorted"]
        assert not data["drifted"]
        assert data["not_identified"] == []
        assert rig.verdicts == []
        assert rig.guard.reports == []
        # nothing is left over: 0.04 uAh of 3 mAh, from the two currents' offsets
        assert abs(measurement.moved_mAh) < 2e-5
        assert abs(data["charge_Ah"] * 1e3 + measurement.moved_mAh) < 2e-5
    print(  # noqa: T201 - shown by -rP, for docs/estimation/spectra.md
        f"{np.mean(hits):.0%} within 95 %; |Z| off by at most {np.max(relative):.2%}, the phase by "
        f"{np.max(angles):.4f} rad"
    )
    assert np.mean(hits) >= 0.9
    assert np.max(relative) < 2e-3
    assert np.max(angles) < 0.01


def whole_test(rig: Rig) -> tuple[CycleFigures, float]:
    report = rig.run(lambda one: bool(one.figures))
    assert report is not None
    assert rig.verdicts == []
    return report.figures[0], rig.net_charge_mAh()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_the_cycles_charge_is_the_true_one_with_a_spectrum_as_without(seed: int) -> None:
    with_it, true_mAh = whole_test(started("excess-lithium", seed))
    plain = prepared("excess-lithium", seed, table="")
    without, _ = whole_test(
        in_its_reference_test(build_rig(plain.core, plain.limits, preset="excess-lithium"))
    )
    assert abs(with_it.net_charge_Ah * 1e3 - true_mAh) <= 2.0 * with_it.u_net_charge_Ah * 1e3
    assert with_it.u_net_charge_Ah < 1.5 * without.u_net_charge_Ah
    assert abs(with_it.net_charge_Ah - without.net_charge_Ah) < without.u_net_charge_Ah
    # what went to and fro is neither capacity nor efficiency
    assert with_it.discharge_Ah == pytest.approx(without.discharge_Ah, abs=1e-7)
    assert with_it.coulombic_efficiency == pytest.approx(without.coulombic_efficiency, abs=2e-5)
    assert with_it.discharge_end is without.discharge_end


TRIPS = {
    FaultKind.OCV_OUT_OF_WINDOW: "cell voltage below trip",
    FaultKind.THERMOMETER_OVER_TEMPERATURE: "temperature above trip",
    FaultKind.OTHER_CLIENT: "changed by another client",
}


@pytest.fixture(scope="module")
def mid_spectrum_s() -> float:
    healthy = started("excess-lithium", 1)
    to_the_spectrum(healthy)
    return healthy.bench.clock.now_s() + 200.0


def started_with(kind: FaultKind, at_s: float, count: int | None = None) -> Rig:
    """A rig in the spectrum whose instrument fails at `at_s`, in the middle of it."""
    fault = InstrumentFault(kind=kind, start_s=at_s, count=count)
    rig = started("excess-lithium", 1, (fault,))
    to_the_spectrum(rig)
    return rig


@pytest.mark.parametrize("kind", list(TRIPS), ids=lambda one: one.value)
def test_a_limit_in_mid_spectrum_trips_as_anywhere(kind: FaultKind, mid_spectrum_s: float) -> None:
    rig = started_with(kind, mid_spectrum_s)
    rig.run()
    assert rig.state.stopped_because.startswith("fault: ")
    assert TRIPS[kind] in rig.state.stopped_because
    assert rig.guard.tripped
    assert not rig.bench.smu.output_on
    assert 0.0 < rig.bench.smu.output_history[-1].t_s - mid_spectrum_s < 1.0  # a few readings
    rig.close()


def test_a_lost_reply_costs_the_spectrum_and_not_the_run(mid_spectrum_s: float) -> None:
    rig = started_with(FaultKind.NO_REPLY, mid_spectrum_s, count=1)
    report = rig.run(lambda one: bool(of_kind(one, EventKind.SPECTRUM)))
    (event,) = of_kind(report, EventKind.SPECTRUM)
    assert rig.state.staircase is None
    assert "no impedance spectrum: hold_0A came in between" in event.message
    report = rig.run(lambda one: bool(one.figures))
    assert report is not None
    figures, net_mAh = report.figures[0], rig.net_charge_mAh()
    assert abs(figures.net_charge_Ah * 1e3 - net_mAh) <= 2.0 * figures.u_net_charge_Ah * 1e3
    assert rig.running
    rig.close()


def test_the_output_goes_off_by_itself_when_nobody_renews_it(mid_spectrum_s: float) -> None:
    """The dead-man guards a set-point of the staircase like any other."""
    rig = started("excess-lithium", 1)
    to_the_spectrum(rig)
    while rig.bench.clock.now_s() < mid_spectrum_s or rig.guard.in_force.kind == HOLD_0A:
        rig.step()
    assert rig.state.staircase is not None
    assert rig.bench.smu.output_on
    rig.bench.clock.sleep_until(rig.bench.clock.now_s() + VALID_FOR_S + 0.1)
    rig.bench.smu.tick()
    assert not rig.bench.smu.output_on
