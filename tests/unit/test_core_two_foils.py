"""Two foils in the core: the session's opening, the treatment before any cycling, balance."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from controller.app.config import example_text, parse_run
from controller.app.prepare import prepare
from controller.core.plan import CycleKey
from controller.core.state import from_text, to_text
from controller.core.step import BALANCED_FRACTION, CoreConfig
from controller.domain.command import (
    CHARGE,
    DISCHARGE,
    HOLD_0A,
    OPEN,
    TAG_DIAGNOSTIC,
    TAG_TREATMENT,
)
from controller.domain.errors import ConfigurationError
from controller.domain.events import EventKind
from controller.domain.figures import CycleKind
from controller.domain.sample import LIMIT_CURRENT, LIMIT_VOLTAGE, Sample
from controller.policy.machine import State
from tests.unit.core_rig import ALLOWED, QUIET_RESTS, Rig

RESISTANCE_OHM = 20.0
PULSE = "4 V pulse"
OPENING = [
    "settle before the probe",
    "polarity probe, positive",
    "between the probes",
    "polarity probe, negative",
    "settle after the probe",
]


def configured(example: str = "li-li", **replaced: str) -> CoreConfig:
    text = example_text(example)
    for old, new in replaced.items():
        assert old in text, old
        text = text.replace(old, new)
    return prepare(parse_run(text, "RUN.toml"), 1).core


def plain(example: str = "li-li") -> CoreConfig:
    """Without the treatment before the first cycle, formation and reference tests."""
    changes = {"formation_cycles = 2": "formation_cycles = 0", '"pre-strip-4v", ': ""}
    return configured(example, **changes)


class FoilRig(Rig):
    """0 V at rest and a resistance; on Li||Cu nothing flows out of bare Cu."""

    def sample(self) -> Sample:
        command, current_A, status = self.in_force, 0.0, LIMIT_CURRENT
        voltage_V = self.random.gauss(0.0, self.jumps_V)
        if command.kind in (CHARGE, DISCHARGE):
            current_A = command.current_A
            bare = self.config.cell.format.value == "li-cu" and self.charge_Ah <= 0.0
            if command.kind == DISCHARGE and bare:
                current_A, status = 0.0, LIMIT_VOLTAGE
                voltage_V += command.voltage_bound_V
            else:
                voltage_V += self.response * RESISTANCE_OHM * current_A
        off = command.kind == OPEN or command.device_timed_s > 0.0
        self.flowing_A = current_A
        return self.reading(voltage_V, current_A, status, off=off)

    def wait(self, seconds: float, current_A: float) -> None:
        bare = self.config.cell.format.value == "li-cu" and self.charge_Ah <= 0.0
        super().wait(seconds, 0.0 if bare and current_A < 0.0 else current_A)

    def begun(self) -> list[str]:
        return [
            event.message.partition(": ")[2]
            for event in self.events
            if event.kind is EventKind.STEP_STARTED
        ]


def cycling(rig: Rig) -> bool:
    return rig.state.run_state in (State.FORMATION, State.CHARGE)


# --- the opening ----------------------------------------------------------------------------------


@pytest.mark.parametrize("example", ["li-li", "li-cu"])
def test_a_session_opens_with_a_small_current_each_way(example: str) -> None:
    rig = FoilRig(plain(example))
    rig.start()
    rig.until(cycling)
    assert rig.begun()[:-1] == OPENING
    said = rig.said(EventKind.INSTRUMENT)
    assert len(said) == 2
    assert all(text.startswith("polarity proven: the voltage moved +") for text in said)
    assert {one.tag for one in rig.config.book.opening} == {TAG_DIAGNOSTIC}


@pytest.mark.parametrize("example", ["anode-free", "excess-lithium"])
def test_where_the_open_circuit_voltage_shows_polarity_there_is_no_opening(example: str) -> None:
    assert configured(example).book.opening == ()


@pytest.mark.parametrize("response", [-1.0, 0.0, 0.02])
def test_without_proof_of_polarity_nothing_is_cycled(response: float) -> None:
    rig = FoilRig(plain(), response=response)
    rig.start()
    rig.until(lambda one: bool(one.state.stopped_because))
    assert rig.state.run_state is State.FAULT
    assert "polarity not proven" in rig.state.stopped_because
    # reversed leads show at the first probe, which is all that was ever driven
    assert rig.begun() == OPENING[:2]
    command, _ = rig.core.step(rig.state, rig.sample(), rig.in_force, ALLOWED)
    assert command.kind == OPEN


def test_li_cu_the_wrong_way_round_takes_no_current_and_is_refused() -> None:
    """Charging would strip Cu that carries no lithium: the current asked for does not flow."""

    class Reversed(FoilRig):
        def sample(self) -> Sample:
            taken = super().sample()
            if self.in_force.kind == CHARGE:
                return taken._replace(
                    current_A=1e-9,
                    voltage_V=self.in_force.voltage_bound_V,
                    limit_status=LIMIT_VOLTAGE,
                )
            return taken

    rig = Reversed(plain("li-cu"))
    rig.start()
    rig.until(lambda one: bool(one.state.stopped_because))
    assert rig.state.run_state is State.FAULT


def test_the_running_step_waits_while_a_resumed_session_opens() -> None:
    rig = FoilRig(plain())
    rig.start()
    rig.until(cycling)
    rig.until(lambda one: one.state.progress.charge_Ah > 2e-4)
    before = rig.state.progress.charge_Ah
    rig.events.clear()
    rig.crash_and_resume()
    assert rig.running() == OPENING[0]
    assert rig.state.progress.charge_Ah == before
    # the checkpoint knows where the opening stands
    rig.until(lambda one: one.running() == OPENING[3])
    again = from_text(to_text(rig.state), "test")
    assert (again.opening, again.opening_progress.elapsed_s) == (
        rig.state.opening,
        rig.state.opening_progress.elapsed_s,
    )
    rig.until(cycling)
    assert rig.begun()[:5] == OPENING
    assert rig.state.progress.charge_Ah == before
    assert rig.state.step_index == 0


def test_a_paused_opening_begins_again() -> None:
    rig = FoilRig(plain())
    rig.start()
    rig.until(lambda one: one.running() == OPENING[2])
    rig.pause()
    rig.resume()
    assert rig.running() == OPENING[0]
    rig.until(cycling)


# --- the treatment before the first cycle ---------------------------------------------------------


def pulsed(example: str = "li-li") -> FoilRig:
    rig = FoilRig(configured(example))
    rig.start()
    return rig


@pytest.mark.parametrize("example", ["li-li", "li-cu"])
def test_the_pulse_comes_once_before_formation_and_claims_nothing(example: str) -> None:
    rig = pulsed(example)
    rig.until(cycling)
    begun = rig.begun()
    assert begun[:5] == OPENING
    assert begun[5:8] == ["open circuit before anything is done"] * 3
    assert begun.count(PULSE) == 1
    assert begun.index(PULSE) < begun.index("open-circuit check")
    assert rig.charged_too_early == []
    assert rig.state.treatments_run == {"pre-strip-4v": 1}
    assert rig.state.scheduler.opportunities == []
    assert rig.state.key == CycleKey(kind=CycleKind.FORMATION, recipe="pre-strip-4v", treated=True)
    rig.until(lambda one: one.state.cycle == 3)
    assert PULSE not in rig.begun()[len(begun) :]
    assert [one.kind for one in rig.state.history] == [CycleKind.FORMATION] * 2


def test_the_decision_is_journalled_with_its_reason() -> None:
    rig = FoilRig(configured())
    report = rig.core.begin(rig.state, rig.sample())
    (decision,) = report.decisions
    assert (decision.cycle, decision.protocol, decision.opportunity) == (0, "pre-strip-4v", False)
    assert "between cells" in decision.reason
    assert "foil at the positive terminal" in decision.reason
    assert math.isnan(decision.probability)


def test_it_never_comes_among_the_protocols_that_come_again() -> None:
    config = configured()
    assert config.before_first == "pre-strip-4v"
    assert config.schedule.protocols == ("self-heating",)
    assert "pre-strip-4v" not in FoilRig(config).core.needs_check


def test_refused_at_this_moment_it_stops_the_run_before_anything_flows() -> None:
    rig = FoilRig(configured())
    rig.temperature_K = 320.0
    rig.start()
    rig.once()
    assert rig.state.run_state is State.INTERRUPTED
    assert "refused now" in rig.state.stopped_because
    assert rig.begun() == []
    assert rig.in_force.kind == OPEN
    # cooled down, the same run tries again
    rig.temperature_K = 298.15
    rig.state.stopped_because = ""
    rig.crash_and_resume()
    assert rig.state.first_decided
    rig.until(lambda one: one.running() == PULSE)


def test_killed_before_the_pulse_it_goes_on_with_the_probes_killed_after_it_is_over() -> None:
    rig = pulsed()
    rig.until(lambda one: one.running() == "rest 60 s")
    rig.crash_and_resume()
    rig.until(lambda one: one.state.opening < 0)
    assert rig.running() == "polarity probe, positive"
    rig.until(lambda one: one.running() == PULSE)
    rig.crash_and_resume()
    # owed: no probe may charge now, the check comes first and the pulse never again
    assert rig.running() == "open-circuit check before charging"
    rig.until(cycling)
    assert rig.begun().count(PULSE) == 1
    assert rig.charged_too_early == []
    assert rig.state.treatments_abandoned == {"pre-strip-4v": 1}


def test_rests_before_the_first_current_teach_the_check_its_baseline() -> None:
    rig = pulsed()
    rig.until(lambda one: one.running() == PULSE)
    assert len(rig.state.short_check.rests) == 3


def test_rests_after_a_treatments_current_teach_nothing() -> None:
    rig = pulsed()
    rig.until(cycling)
    rig.until(lambda one: one.state.cycle == 2)
    assert len(rig.state.short_check.rests) == 3


def test_two_treatments_before_the_first_cycle_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="all come before the first cycle"):
        configured(**{'"pre-strip-4v", "self-heating"': '"pre-strip-4v", "pre-strip-4v"'})


# --- balance, halves ------------------------------------------------------------------------------


def test_self_heating_ends_balanced_and_anchored() -> None:
    rig = FoilRig(plain())
    rig.state.short_check.rests = list(QUIET_RESTS)
    rig.start("self-heating")
    rig.until(lambda one: bool(one.state.history))
    (cycle,) = rig.state.history
    assert rig.fast_commands > 60
    assert cycle.anchored
    assert "unbalanced" not in cycle.flags
    assert cycle.coulombic_efficiency is None
    assert abs(cycle.net_charge_Ah) < BALANCED_FRACTION * rig.config.cell.nominal_capacity_Ah
    assert any("passed" in text for text in rig.said())


@pytest.mark.parametrize(("fraction", "anchored"), [(0.004, True), (0.02, False)])
def test_a_cycle_that_does_not_come_back_is_no_anchor(fraction: float, anchored: bool) -> None:
    config = plain()
    lost_Ah = fraction * config.cell.nominal_capacity_Ah
    base = tuple(
        replace(step, end_charge_Ah=step.end_charge_Ah - lost_Ah)
        if step.kind == DISCHARGE
        else step
        for step in config.book.base
    )
    config = replace(config, book=replace(config.book, base=base))
    rig = FoilRig(config)
    rig.start("self-heating", treated=False)
    rig.until(lambda one: bool(one.state.history))
    (cycle,) = rig.state.history
    assert cycle.anchored is anchored
    assert ("unbalanced" in cycle.flags) is not anchored


def test_the_control_at_half_charge_plates_no_more_than_a_cycle_on_li_cu() -> None:
    config = plain("li-cu")
    key = CycleKey(kind=CycleKind.BASE, recipe="discharged-rest", treated=False)
    steps = [planned.step for planned in config.book.steps(key)]
    plated = [step.end_charge_Ah for step in steps if step.kind == CHARGE]
    assert sum(plated) == pytest.approx(config.cell.nominal_capacity_Ah)
    assert len(plated) == 2
    inside = [step for step in steps if step.tag == TAG_TREATMENT]
    assert all(step.kind == HOLD_0A for step in inside)
    # where a voltage ends the charge it still does
    free = prepare(parse_run(example_text(), "RUN.toml"), 1).core
    halves = [one.step for one in free.book.steps(key) if one.step.kind == CHARGE]
    assert math.isnan(halves[1].end_charge_Ah)
    assert halves[1].end_voltage_V == 4.3
