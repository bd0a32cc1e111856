"""The whole program, with real driver and emulated bytes, while something goes wrong.

In process and in virtual time, with its journal. A short recipe: 216 s of charge at 1 mA, a pulse
beyond the continuous limits, and short rests; a run that does not end by itself is stopped with
Ctrl-C after 1500 s of plant time.
"""

from __future__ import annotations

import math
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import hil.bench
from controller.app import run as program
from controller.app import runtime
from controller.app.config import example_text, parse_run
from controller.app.hardware import Hardware
from controller.app.prepare import prepare
from controller.core.plan import CycleKey
from controller.domain.cell import CellFormat
from controller.domain.errors import RunDirectoryError
from controller.domain.events import Event, EventKind
from controller.domain.figures import CycleKind
from controller.domain.sample import OUTPUT_OFF
from controller.io import mailbox
from controller.io.clock import RealClock
from controller.io.journal import JournalReader
from hil.bench import Bench
from hil.clock import VirtualClock
from hil.instruments.faults import FaultKind, InstrumentFault
from hil.rig import build_rig
from tests.system.kills import RECIPE

CHARGE_A = 1e-3
MID_S = 100.0  # in the first charge
NEXT_SET_POINT_S = 220.0  # the charge ends about here
STOP_S = 1500.0
# Two reading periods of 5 s, one lost reply of 1 s each, and the dead-man behind them.
STOPPED_WITHIN_S = 30.0
LEAK_A = 1e-5  # about 0 A


def run_file(folder: Path, cycles: int = 1) -> Path:
    """Write the built-in example with the short recipe and no treatments."""
    applicability = "\n".join(
        f'[applicability.{one.value}]\nallowed = "prior-only"\nreason = "test"'
        for one in CellFormat
    )
    (folder / "kill-cycle.toml").write_text(RECIPE.replace("{applicability}", applicability))
    path = folder / "RUN.toml"
    path.write_text(
        example(
            {
                "cycles = 50 ": f"cycles = {cycles} ",
                "formation_cycles = 2": "formation_cycles = 0",
                "reference_every = 25": "reference_every = 0",
                'base = "base-cycling"': 'base = "kill-cycle.toml"',
                "min_off_s = 3600.0": "min_off_s = 30.0",
            }
        )
    )
    return path


def example(changes: dict[str, str]) -> str:
    """Return the built-in example without treatments, and with these changes."""
    text = example_text()
    for old, new in {
        'protocols = ["short-strip", "discharged-rest"]': "protocols = []",
        **changes,
    }.items():
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


class ImpatientClock(VirtualClock):
    """Presses Ctrl-C once, `STOP_S` after it was made or set."""

    __slots__ = ("_until_s",)

    def __init__(self, utc_epoch_s: float, start_s: float = 0.0) -> None:
        super().__init__(utc_epoch_s, start_s)
        self._until_s = start_s + STOP_S

    def set(self, now_s: float, utc_s: float) -> None:
        super().set(now_s, utc_s)
        self._until_s = now_s + STOP_S

    def sleep_until(self, t_s: float) -> None:
        super().sleep_until(t_s)
        if self.now_s() > self._until_s:
            self._until_s = math.inf
            signal.raise_signal(signal.SIGINT)


class ImpatientWall(RealClock):
    """Presses Ctrl-C as soon as the run waits in a pause (virtual time stands still then)."""

    def sleep_until(self, t_s: float) -> None:
        del t_s
        signal.raise_signal(signal.SIGINT)


@dataclass(frozen=True)
class Ran:
    """What was left of a session of the program."""

    code: int
    stopped_because: str
    closed: bool
    readings: int
    events: list[Event]
    bench: Bench

    def said(self, *kinds: EventKind) -> str:
        return "\n".join(one.message for one in self.events if one.kind in kinds)

    @property
    def truth(self) -> dict:
        self.bench.smu.tick()
        return self.bench.smu.truth()


class Lab:
    """Runs the program in one run directory, each time with the faults of the day."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.run_dir = folder / "run"
        self._monkeypatch = monkeypatch
        monkeypatch.setattr(hil.bench, "VirtualClock", ImpatientClock)
        monkeypatch.setattr(runtime, "RealClock", ImpatientWall)
        # figures and files are tested elsewhere
        monkeypatch.setattr(program, "write_report", lambda _: None)
        monkeypatch.setattr(program, "write_bdf", lambda _run_dir, _path: None)
        self._path = run_file(folder)

    def run(self, *faults: InstrumentFault) -> Ran:
        benches: list[Bench] = []

        def build_bench(**options: object) -> Bench:
            benches.append(_BUILD_BENCH(**options, faults=faults))  # type: ignore[arg-type]
            return benches[-1]

        self._monkeypatch.setattr(hil.bench, "build_bench", build_bench)
        code = program.start(
            program.RunOptions(
                run_file=self._path, cycles=None, seed=1, out=self.run_dir, as_json=True
            )
        )
        with JournalReader(self.run_dir) as reader:
            session = reader.sessions()[-1]
            return Ran(
                code=code,
                stopped_because=session.stopped_because,
                closed=bool(session.stopped_because),
                readings=reader.sample_count(),
                events=reader.events(),
                bench=benches[-1],
            )


_BUILD_BENCH = hil.bench.build_bench


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return Lab(tmp_path, monkeypatch)


def fault(kind: FaultKind, start_s: float = 0.0, **options: float) -> InstrumentFault:
    return InstrumentFault(kind=kind, start_s=start_s, **options)


def assert_at_rest(ran: Ran) -> None:
    truth = ran.truth
    assert not truth["output_on"]
    assert abs(truth["terminal_current_A"]) <= LEAK_A
    assert not truth["instrument_damaged"]
    assert not truth["copper_dissolution"]
    assert ran.closed


def test_a_healthy_run_says_nothing_of_verdicts(lab: Lab) -> None:
    ran = lab.run()
    assert (ran.code, ran.stopped_because) == (0, "completed")
    assert ran.said(EventKind.VERDICT, EventKind.BAD_SAMPLE, EventKind.EXPOSURE) == ""
    assert ran.said(EventKind.INSTRUMENT).startswith("start checks passed")
    assert_at_rest(ran)


AT_START = {
    FaultKind.NO_REPLY: "no reply",
    FaultKind.LATE_REPLY: "no reply",
    FaultKind.GARBAGE_REPLY: "expected ASCII text",
    FaultKind.NAN_READING: "expected an open-circuit voltage",
    FaultKind.OVERFLOW_READING: "is a cell connected?",
    FaultKind.LIMIT_NOT_ACCEPTED: "should read back",
    FaultKind.OUTPUT_ON_AT_CONNECT: "found it on",
    FaultKind.OFF_MODE_NORMAL: "should read back HIMP, found NORM",
    FaultKind.WRONG_IDENTITY: "MODEL 2000",
    FaultKind.REVERSED_POLARITY: "the wrong way round",
    FaultKind.ERROR_QUEUE_ENTRY: "-200",
    FaultKind.OUTPUT_WILL_NOT_TURN_ON: "output should be on, found off",
    FaultKind.OVER_TEMPERATURE: "too warm",
    FaultKind.TRIGGER_MODEL_DOES_NOT_START: "the dead-man should be running",
}
# Those at which the output had to come on (as a 0 A source) for the check to fail.
NEEDS_OUTPUT = {
    FaultKind.NAN_READING,
    FaultKind.OVERFLOW_READING,
    FaultKind.REVERSED_POLARITY,
    FaultKind.TRIGGER_MODEL_DOES_NOT_START,
    FaultKind.OVER_TEMPERATURE,
}
# Found in that state: somebody else's output, and an off mode that is itself a 0 V source.
FOUND_SO = {FaultKind.OUTPUT_ON_AT_CONNECT, FaultKind.OFF_MODE_NORMAL}


@pytest.mark.parametrize("kind", AT_START, ids=str)
def test_a_failed_start_check_names_itself_and_energises_nothing(lab: Lab, kind: FaultKind) -> None:
    ran = lab.run(fault(kind))
    assert AT_START[kind] in ran.stopped_because
    assert AT_START[kind] in ran.said(EventKind.RUN)
    assert ran.closed
    assert ran.readings == 0
    switched_on = any(change.on for change in ran.bench.smu.output_history)
    assert switched_on == (kind in NEEDS_OUTPUT)
    truth = ran.truth
    assert truth["charge_in_mAh"] < 1e-6
    if kind not in FOUND_SO:
        assert truth["charge_out_mAh"] < 1e-6
        assert_at_rest(ran)
    if kind is FaultKind.OUTPUT_ON_AT_CONNECT:
        # nothing of the start order was written: the settings are the ones that were found
        assert ran.bench.smu.settings.current_limit_A == 1e-4


def test_a_failed_start_check_is_no_success(lab: Lab) -> None:
    assert lab.run(fault(FaultKind.WRONG_IDENTITY)).code != 0


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (FaultKind.STUCK_READING, "measuring range"),
        (FaultKind.OCV_OUT_OF_WINDOW, "cell voltage below trip"),
        (FaultKind.THERMOMETER_OVER_TEMPERATURE, "temperature above trip"),
    ],
    ids=str,
)
def test_what_only_the_first_readings_show_trips_before_charge_flows(
    lab: Lab, kind: FaultKind, words: str
) -> None:
    ran = lab.run(fault(kind))
    assert ran.code == 3
    assert ran.stopped_because.startswith("fault: ")
    assert words in ran.stopped_because
    assert ran.truth["charge_in_mAh"] + ran.truth["charge_out_mAh"] < 1e-6
    assert_at_rest(ran)


@dataclass(frozen=True)
class Trip:
    kind: FaultKind
    cause: str  # in the reason why the run stopped
    detail: str = ""  # in what the instrument's events say
    acts_s: float = MID_S


TRIPS = [
    Trip(FaultKind.STUCK_READING, "the instrument repeated an old reading", "not confirmed"),
    Trip(FaultKind.OTHER_CLIENT, "changed by another client"),
    Trip(FaultKind.OCV_OUT_OF_WINDOW, "cell voltage below trip"),
    Trip(FaultKind.THERMOMETER_OVER_TEMPERATURE, "temperature above trip"),
    Trip(FaultKind.OVER_TEMPERATURE, "the instrument says that it is too warm"),
    Trip(
        FaultKind.LIMIT_NOT_ACCEPTED, "changed by another client", "", NEXT_SET_POINT_S
    ),  # seen on the read-back
    Trip(FaultKind.REVERSED_POLARITY, "cell voltage below trip", "", NEXT_SET_POINT_S),
    Trip(FaultKind.ERROR_QUEUE_ENTRY, "the output is off", "-200", NEXT_SET_POINT_S),
    Trip(
        FaultKind.TRIGGER_MODEL_DOES_NOT_START,
        "the output is off",
        "the dead-man should be running",
        NEXT_SET_POINT_S,
    ),
]


@pytest.mark.parametrize("trip", TRIPS, ids=lambda one: one.kind.value)
def test_a_fault_in_mid_run_trips_and_latches(lab: Lab, trip: Trip) -> None:
    ran = lab.run(fault(trip.kind, MID_S))
    assert ran.code == 3
    assert ran.stopped_because.startswith("fault: ")
    assert trip.cause in ran.stopped_because
    assert trip.cause in ran.said(EventKind.VERDICT)
    assert trip.detail in ran.said(EventKind.INSTRUMENT)
    assert trip.detail in ran.stopped_because
    assert "-> fault" in ran.said(EventKind.STATE)
    assert_at_rest(ran)
    assert_stopped_in_time(ran, trip.acts_s)


def assert_stopped_in_time(ran: Ran, acts_s: float) -> None:
    """The charge that flowed says when the current stopped, whatever the readings showed."""
    charged_for_s = ran.truth["charge_in_mAh"] * 3.6 / CHARGE_A
    assert acts_s - 10.0 < charged_for_s < acts_s + STOPPED_WITHIN_S
    assert ran.truth["charge_out_mAh"] < 1e-6


HELD = {
    FaultKind.NO_REPLY: "the instrument did not answer",
    FaultKind.GARBAGE_REPLY: "the instrument did not answer",
    FaultKind.THERMOMETER_NO_REPLY: "the declared thermometer gives nothing usable",
    FaultKind.THERMOMETER_NAN: "the declared thermometer gives nothing usable",
}


@pytest.mark.parametrize("kind", HELD, ids=str)
def test_blindness_stops_the_current_and_waits(lab: Lab, kind: FaultKind) -> None:
    ran = lab.run(fault(kind, MID_S))
    assert (ran.code, ran.stopped_because) == (0, "stopped by Ctrl-C")
    assert HELD[kind] in ran.said(EventKind.VERDICT)
    if not kind.value.startswith("thermometer"):  # such a reading is still used for charge
        assert "not used" in ran.said(EventKind.BAD_SAMPLE)
    assert_at_rest(ran)
    assert_stopped_in_time(ran, MID_S)


BLIND_FOR_GOOD = {
    FaultKind.NAN_READING: "no valid cell voltage",
    FaultKind.OVERFLOW_READING: "measuring range",
}


@pytest.mark.parametrize("kind", BLIND_FOR_GOOD, ids=str)
def test_an_output_that_comes_up_blind_again_trips(lab: Lab, kind: FaultKind) -> None:
    ran = lab.run(fault(kind, MID_S))
    assert ran.code == 3
    assert ran.stopped_because.startswith("fault: ")
    assert BLIND_FOR_GOOD[kind] in ran.said(EventKind.VERDICT)
    assert "not used" in ran.said(EventKind.BAD_SAMPLE)
    assert_at_rest(ran)
    assert_stopped_in_time(ran, MID_S)


def test_late_replies_never_let_the_current_back_in(lab: Lab) -> None:
    ran = lab.run(fault(FaultKind.LATE_REPLY, MID_S))
    assert ran.code == 3
    assert "the output is off though it should be on" in ran.stopped_because
    assert "the instrument did not answer" in ran.said(EventKind.VERDICT)
    assert_at_rest(ran)
    assert_stopped_in_time(ran, MID_S)


@pytest.mark.parametrize(
    "kind", [FaultKind.NO_REPLY, FaultKind.GARBAGE_REPLY, FaultKind.NAN_READING], ids=str
)
def test_one_lost_reading_is_a_pause_and_no_more(lab: Lab, kind: FaultKind) -> None:
    ran = lab.run(fault(kind, MID_S, count=1))
    assert (ran.code, ran.stopped_because) == (0, "completed")
    assert (HELD | BLIND_FOR_GOOD)[kind] in ran.said(EventKind.VERDICT)
    assert "all clear" in ran.said(EventKind.VERDICT)
    assert_at_rest(ran)


def test_a_run_that_nobody_watches_any_more_stops_with_the_output_open(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = program.build

    def build_unwatched(*arguments: Any, **options: Any) -> Hardware:
        hardware = build(*arguments, **options)
        hardware.watched = lambda: hardware.clock.now_s() < MID_S
        return hardware

    monkeypatch.setattr(program, "build", build_unwatched)
    ran = lab.run()
    assert ran.code == 3
    assert "the thread that watches the permission has ended" in ran.stopped_because
    assert_at_rest(ran)
    assert_stopped_in_time(ran, MID_S)


def test_the_run_goes_on_after_twenty_seconds_of_silence(lab: Lab) -> None:
    ran = lab.run(fault(FaultKind.NO_REPLY, MID_S, end_s=MID_S + 20.0))
    assert ran.stopped_because == "completed"


@pytest.mark.parametrize(
    "kind",
    [
        FaultKind.OUTPUT_ON_AT_CONNECT,  # these four are looked at at the start only
        FaultKind.OFF_MODE_NORMAL,
        FaultKind.WRONG_IDENTITY,
        FaultKind.OUTPUT_WILL_NOT_TURN_ON,
        FaultKind.THERMOMETER_STUCK,  # a cell at rest in a room shows the same
    ],
    ids=str,
)
def test_what_does_not_show_in_mid_run_changes_nothing(lab: Lab, kind: FaultKind) -> None:
    ran = lab.run(fault(kind, MID_S))
    assert (ran.code, ran.stopped_because) == (0, "completed")
    assert ran.said(EventKind.VERDICT) == ""


# --- latch --------------------------------------------------------------------------------------

HOT = InstrumentFault(kind=FaultKind.THERMOMETER_OVER_TEMPERATURE, start_s=MID_S)


def test_after_a_trip_nothing_goes_on_without_an_acknowledgement_or_while_it_is_hot(
    lab: Lab,
) -> None:
    assert lab.run(HOT).code == 3
    with pytest.raises(RunDirectoryError, match=r"latched.*temperature above trip"):
        lab.run()
    # somebody says so, but it is as hot as before
    mailbox.send(lab.run_dir, "acknowledge", cause="looked", name="A. Nobody")
    before = lab_readings(lab)
    again = lab.run(HOT)
    assert again.code == 3
    assert "temperature above trip" in again.stopped_because
    assert "the condition still holds" in again.said(EventKind.OPERATOR)
    assert again.readings == before + 1
    assert_at_rest(again)
    with pytest.raises(RunDirectoryError, match="latched"):
        lab.run()


def test_an_acknowledgement_with_the_cause_gone_goes_on(lab: Lab) -> None:
    assert lab.run(HOT).code == 3
    mailbox.send(lab.run_dir, "acknowledge", cause="heater was on", name="A. Nobody")
    done = lab.run()
    assert (done.code, done.stopped_because) == (0, "completed")
    assert "acknowledged by A. Nobody (heater was on): cleared" in done.said(EventKind.OPERATOR)
    assert_at_rest(done)


def lab_readings(lab: Lab) -> int:
    with JournalReader(lab.run_dir) as reader:
        return reader.sample_count()


# --- every recipe, healthy ----------------------------------------------------------------------

EXCESS = {
    'format = "anode-free"': 'format = "excess-lithium"\nlithium_thickness_um = 50.0',
    'preset = "anode-free"': 'preset = "excess-lithium"',
}
SELF_HEATING = """
[[limits.pulse]]
name = "self-heating"
max_current_mA = 20.0
min_voltage_V = 3.0
max_voltage_V = 4.35
max_on_s = 600.0
min_off_s = 0.0
max_charge_mAh = 2.0
max_count = 10000
max_temperature_degC = 45.0

[cycler]"""


def recipe_run(preset: str, recipes: Sequence[str]) -> str:
    names = ", ".join(f'"{name}"' for name in recipes)
    changes = {
        "cycles = 50 ": "cycles = 1 ",
        "formation_cycles = 2": "formation_cycles = 0",
        "reference_every = 25": "reference_every = 0",
        "\n[cycler]": SELF_HEATING,
    }
    text = example(changes | (EXCESS if preset == "excess-lithium" else {}))
    return text.replace("protocols = []", f"protocols = [{names}]", 1)


@pytest.mark.parametrize(
    ("preset", "recipe", "treated"),
    [
        (preset, recipe, treated)
        for preset in ("anode-free", "excess-lithium")
        for recipe in ("short-strip", "discharged-rest", "self-heating")
        for treated in (True, False)
        if (preset, recipe) != ("anode-free", "self-heating")  # refused there
    ],
)
def test_treatment_and_control_run_without_a_verdict(
    preset: str, recipe: str, treated: bool
) -> None:
    prepared = prepare(parse_run(recipe_run(preset, [recipe]), "test"), seed=1)
    rig = build_rig(prepared.core, prepared.limits, preset=preset)
    rig.state.key = CycleKey(kind=CycleKind.BASE, recipe=recipe, treated=treated)
    # a fast treatment is checked against the cell's own rests; three have been seen
    rig.state.short_check.rests = [(0.005, 2e-5), (0.006, 2e-5), (0.007, 2e-5)]
    rig.start()
    report = rig.run(lambda one: bool(one.figures))
    assert report is not None
    assert rig.state.stopped_because == "completed"
    assert rig.verdicts == []
    assert rig.guard.reports == []
    assert report.figures[0].anchored
    moved_Ah = abs(report.figures[0].treatment_net_charge_Ah)  # the control's is tagged too
    assert (moved_Ah > 1e-5) == (recipe != "discharged-rest")
    assert rig.close() == []


@pytest.mark.parametrize("preset", ["anode-free", "excess-lithium"])
def test_formation_base_anchor_and_reference_test_run_without_a_verdict(preset: str) -> None:
    text = recipe_run(preset, []).replace("formation_cycles = 0", "formation_cycles = 1", 1)
    prepared = prepare(parse_run(text, "test"), seed=1)
    rig = build_rig(prepared.core, prepared.limits, preset=preset)
    rig.start()
    kinds = []
    while rig.running:
        report = rig.step()
        kinds += [one.kind for one in report.figures] if report else []
    assert rig.state.stopped_because == "completed"
    assert kinds == [CycleKind.FORMATION, CycleKind.REFERENCE, CycleKind.BASE]
    assert rig.verdicts == []
    assert rig.guard.reports == []
    assert rig.close() == []
    assert rig.bench.smu.output_on is False


# --- twins --------------------------------------------------------------------------------------


def test_a_twin_lives_the_same_life_and_shares_nothing() -> None:
    prepared = prepare(parse_run(recipe_run("anode-free", []), "test"), seed=2)
    rig = build_rig(prepared.core, prepared.limits, preset="anode-free")
    rig.start()
    for _ in range(500):
        rig.step()
    twin, kept = rig.fork(), rig.bench.cell.snapshot()
    for _ in range(300):
        twin.step()
    assert rig.bench.cell.snapshot() == kept
    assert twin.bench.clock.now_s() > rig.bench.clock.now_s()
    for _ in range(300):
        rig.step()
    # NaN device times aside, every digit of every reading, noise included
    assert rig.sample == twin.sample
    assert rig.bench.cell.snapshot() == twin.bench.cell.snapshot()
    rig.close()
    assert not rig.bench.smu.output_on
    assert twin.bench.smu.output_on
    twin.close()
    assert twin.sample is not None
    assert twin.sample.output != OUTPUT_OFF
