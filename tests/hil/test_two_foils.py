"""Two foils behind the real driver: 0 V at rest, negative bounds, one pulse in another range."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

import hil.bench
from controller.app import run as program
from controller.app.config import example_text, parse_run
from controller.app.orders import give
from controller.app.prepare import prepare
from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, OPEN, Command
from controller.domain.errors import CyclerRejectedError, RunDirectoryError
from controller.domain.events import EventKind
from controller.domain.sample import LIMIT_VOLTAGE, OUTPUT_ON
from controller.domain.verdict import ALLOW, Verdict
from controller.hal.drivers.keithley2450 import Keithley2450
from controller.hal.guard import Guard
from controller.hal.ports import DeviceLimits
from controller.io.journal import JournalReader
from controller.policy.machine import State
from hil.bench import Bench, build_bench
from hil.instruments.faults import FaultKind, InstrumentFault
from hil.rig import build_rig

CONTINUOUS = DeviceLimits(max_current_A=8e-4, min_voltage_V=-1.0, max_voltage_V=1.0)
ENVELOPE = DeviceLimits(max_current_A=0.08, min_voltage_V=-1.0, max_voltage_V=4.0)
ALLOWED = Verdict(ALLOW, 0)
REST = Command(HOLD_0A, period_s=1.0, valid_for_s=5.0)
PULSE = Command(
    CHARGE, 0.077, 4.0, period_s=0.4, valid_for_s=2.0, device_timed_s=1.0, envelope=1, tag=1
)


class Bed:
    """Cell, driver and guard; `sent` holds what changed a state."""

    def __init__(self, preset: str = "li-li", faults: Iterable[InstrumentFault] = ()) -> None:
        self.bench: Bench = build_bench(preset=preset, seed=3, utc_epoch_s=1.7e9, faults=faults)
        self.sent: list[tuple[str, bytes, bytes]] = []
        self.driver = Keithley2450(
            self.bench.smu_transport,
            self.bench.clock,
            on_exchange=lambda kind, sent, reply: self.sent.append((kind, sent, reply)),
        )
        self.guard = Guard(
            self.driver,
            self.bench.clock,
            device_limits=CONTINUOUS,
            envelope_limits=(ENVELOPE,),
            ocv_window_V=(-1.3, 1.3),
            accept_unverified_driver=True,
        )
        self.sequence = 0

    def period(self, command: Command) -> Command:
        clock = self.bench.clock
        clock.sleep_until(clock.now_s() + command.period_s)
        self.sample = self.guard.poll(self.sequence)
        self.sequence += 1
        return self.guard.apply(command, ALLOWED, self.sample)

    def passed_mAh(self) -> float:
        self.bench.smu.tick()
        truth = self.bench.cell.truth()
        return float(truth["charge_in_mAh"]) - float(truth["charge_out_mAh"])


@pytest.mark.parametrize(("preset", "ocv_V"), [("li-li", 0.0), ("li-cu", -0.1)])
def test_a_cell_near_0_V_is_energised_and_held(preset: str, ocv_V: float) -> None:
    bed = Bed(preset)
    assert bed.guard.start() == pytest.approx(ocv_V, abs=0.01)
    for _ in range(20):
        assert bed.period(REST).kind == HOLD_0A
    assert bed.sample.output == OUTPUT_ON
    assert bed.passed_mAh() == pytest.approx(0.0, abs=1e-6)


def test_the_device_holds_a_negative_bound_by_itself() -> None:
    bed = Bed("li-cu")
    bed.guard.start()
    strip = Command(DISCHARGE, -5e-4, -1.0, period_s=5.0, valid_for_s=25.0)
    for _ in range(4):
        bed.period(strip)
    assert bed.sample.limit_status == LIMIT_VOLTAGE
    assert bed.sample.voltage_V == pytest.approx(-1.0, abs=3e-3)
    assert abs(bed.sample.current_A) < 1e-5
    # Cu never went beyond what its owner allows
    assert float(bed.bench.cell.truth()["copper_highest_V"]) < 1.01


def test_the_pulse_changes_the_range_with_the_output_off_and_back() -> None:
    bed = Bed()
    bed.guard.start()
    bed.period(REST)
    bed.sent.clear()
    before = bed.passed_mAh()
    assert bed.period(PULSE) == PULSE
    lines = [sent for kind, sent, _ in bed.sent if kind in ("range", "limits", "set-point")]
    off = next(k for k, line in enumerate(lines) if b":OUTP OFF" in line)
    ranged = next(k for k, line in enumerate(lines) if b":SOUR:VOLT:RANG 20;" in line)
    on = next(k for k, line in enumerate(lines) if line == b":OUTP ON;:INIT\n")
    pulse = next(k for k, line in enumerate(lines) if b":SOUR:VOLT 4;" in line)
    assert off < ranged < on < pulse
    while bed.guard.in_force.kind != OPEN:
        bed.period(PULSE)
    assert bed.passed_mAh() - before == pytest.approx(77.0 / 3600.0, rel=0.01)
    bed.sent.clear()
    assert bed.period(REST).kind == HOLD_0A
    told = b"".join(sent for _, sent, _ in bed.sent)
    assert b":SOUR:VOLT:PROT PROT2\n" in told
    assert b":SOUR:VOLT:RANG 2;" in told
    assert abs(bed.guard.last_voltage_V) < 0.1


def test_after_a_pulse_the_dead_man_waits_as_long_as_the_rest_is_permitted() -> None:
    """Read every second before it and every five after it: the output stays on."""
    bed = Bed()
    bed.guard.start()
    for _ in range(3):
        bed.period(REST)
    while bed.period(PULSE).kind != OPEN:
        pass
    slow = Command(HOLD_0A, period_s=5.0, valid_for_s=25.0)
    for _ in range(10):
        assert bed.period(slow).kind == HOLD_0A
    assert bed.guard.reports == []


def test_the_host_dies_in_the_change_of_range_and_the_output_goes_off() -> None:
    bed = Bed()
    bed.guard.start()
    bed.period(REST)
    bed.driver.limit_to(ENVELOPE)  # and nothing after it
    bed.bench.smu.tick()
    assert bed.bench.smu.output_on
    bed.bench.clock.sleep_until(bed.bench.clock.now_s() + 5.1)
    bed.bench.smu.tick()
    assert not bed.bench.smu.output_on
    assert bed.bench.smu.output_history[-1].cause == "trigger block"


def test_an_envelope_in_the_same_range_opens_nothing() -> None:
    bed = Bed()
    bed.guard.start()
    bed.period(REST)
    bed.sent.clear()
    bed.driver.limit_to(DeviceLimits(max_current_A=0.02, min_voltage_V=-1.0, max_voltage_V=1.2))
    assert b":OUTP OFF" not in b"".join(sent for _, sent, _ in bed.sent)
    assert bed.bench.smu.output_on


def test_a_range_that_is_not_taken_leaves_the_output_off() -> None:
    bed = Bed(faults=[InstrumentFault(kind=FaultKind.OUTPUT_WILL_NOT_TURN_ON, start_s=2.0)])
    bed.guard.start()
    bed.period(REST)
    bed.bench.clock.sleep_until(3.0)
    assert bed.period(PULSE).kind == OPEN
    assert not bed.bench.smu.output_on
    assert bed.passed_mAh() == pytest.approx(0.0, abs=1e-6)


def test_a_voltage_that_is_not_known_changes_no_range() -> None:
    bed = Bed()
    bed.guard.start()
    bed.period(REST)
    bed.driver._cell_V = float("nan")
    with pytest.raises(CyclerRejectedError, match="needs the cell's voltage"):
        bed.driver.limit_to(ENVELOPE)


# --- the closed loop ------------------------------------------------------------------------------


def test_li_cu_the_wrong_way_round_trips_before_it_is_cycled() -> None:
    prepared = prepare(parse_run(example_text("li-cu"), "RUN.toml"), 1)
    fault = InstrumentFault(kind=FaultKind.REVERSED_POLARITY)
    rig = build_rig(prepared.core, prepared.limits, preset="li-cu", faults=[fault])
    rig.start()
    rig.run()
    assert rig.state.run_state is State.FAULT
    assert "polarity not proven" in rig.state.stopped_because
    assert rig.state.cycle == 1
    truth = rig.bench.cell.truth()
    assert float(truth["charge_in_mAh"]) + float(truth["charge_out_mAh"]) < 1e-3
    rig.close()


@pytest.mark.parametrize("preset", ["li-cu", "li-li"])
def test_the_pulse_and_the_first_cycle_pass_without_a_verdict(preset: str) -> None:
    prepared = prepare(parse_run(example_text(preset), "RUN.toml"), 1)
    rig = build_rig(prepared.core, prepared.limits, preset=preset)
    rig.start()
    said: list[str] = []

    def closed(report: object) -> bool:
        said.extend(one.message for one in report.events if one.kind is EventKind.TREATMENT)
        return bool(report.figures)

    report = rig.run(closed)
    assert rig.verdicts == []
    assert report is not None
    (figures,) = report.figures
    assert figures.treatment_net_charge_Ah == pytest.approx(-0.0217e-3, rel=0.15)
    hidden_mAh = rig.net_charge_mAh()
    assert figures.net_charge_Ah * 1e3 == pytest.approx(
        hidden_mAh, abs=3e3 * figures.u_net_charge_Ah
    )
    assert any("open-circuit check after pre-strip-4v passed" in one for one in said)
    rig.close()


def test_after_unproven_polarity_the_run_goes_on_once_somebody_has_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "write_report", lambda _: None)
    monkeypatch.setattr(program, "write_bdf", lambda _run_dir, _path: None)
    run_dir = tmp_path / "run"
    options = program.RunOptions(
        run_file=None, example="li-cu", cycles=1, seed=1, out=run_dir, as_json=True
    )
    original = hil.bench.build_bench
    reversed_leads = InstrumentFault(kind=FaultKind.REVERSED_POLARITY)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            hil.bench,
            "build_bench",
            lambda **given: original(**given, faults=[reversed_leads]),
        )
        assert program.start(options) == program.EXIT_FAULT
    with JournalReader(run_dir) as reader:
        assert "polarity not proven" in str(reader.sessions()[-1].stopped_because)
    with pytest.raises(RunDirectoryError, match="latched"):
        program.start(options)
    give(run_dir, "acknowledge", cause="leads exchanged", name="N. Ohm")
    assert program.start(options) == program.EXIT_DONE
    with JournalReader(run_dir) as reader:
        assert reader.sessions()[-1].stopped_because == "completed"
        begun = [one.message for one in reader.events(EventKind.STEP_STARTED)]
    assert sum("4 V pulse" in one for one in begun) == 1
