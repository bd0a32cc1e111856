"""The 4 V pulse: no pulse before both probes have shown the polarity."""

from __future__ import annotations

import math

import pytest

from controller.core.step import CoreConfig
from controller.domain.command import CHARGE
from controller.policy.machine import State
from protocols.registry import library
from protocols.resolve import resolve
from protocols.spec import PulseStep
from tests.unit.core_rig import QUIET_RESTS, Rig, library_steps, with_recipe

BARE = with_recipe("nothing", ())


def configured() -> CoreConfig:
    return with_recipe("pre-strip-4v", library_steps("pre-strip-4v", BARE))


def started(**cell: float) -> Rig:
    rig = Rig(configured(), **cell)
    rig.charge_Ah = 1e-3
    rig.state.short_check.rests = list(QUIET_RESTS)
    rig.start("pre-strip-4v")
    return rig


def pulsed(rig: Rig) -> bool:
    return rig.running() == "4 V pulse"


def cycling(rig: Rig) -> bool:
    return rig.state.run_state is State.CHARGE


def test_both_probes_are_flagged_in_the_recipe() -> None:
    steps = resolve(library()["pre-strip-4v"], BARE.cell)
    flagged = [step for step in steps if step.polarity_probe]
    assert [math.copysign(1.0, step.current_A) for step in flagged] == [1.0, -1.0]
    (pulse,) = [step for step in steps if step.device_timed]
    assert max(abs(step.current_A) for step in flagged) == pytest.approx(0.01 * pulse.current_A)
    assert steps.index(flagged[-1]) < steps.index(pulse)


def test_a_proven_polarity_lets_the_pulse_come() -> None:
    rig = started()
    rig.until(pulsed)
    assert len(rig.said()) == 2
    assert all(text.startswith("polarity proven: the voltage moved +") for text in rig.said())
    rig.until(cycling)
    assert "passed" in rig.said()[-1]
    assert rig.charged_too_early == []


@pytest.mark.parametrize("response", [-1.0, 0.0])
def test_without_polarity_the_pulse_never_comes_and_cycling_goes_on(response: float) -> None:
    rig = started(response=response)
    seen = []
    rig.until(lambda one: seen.append(one.running()) or cycling(one))
    assert "4 V pulse" not in seen
    assert rig.fast_commands == 0
    (said,) = [text for text in rig.said() if "abandoned" in text]
    assert said.startswith("pre-strip-4v abandoned: polarity not proven: the voltage moved ")
    assert "mV is proof" in said
    assert rig.state.treatments_abandoned == {"pre-strip-4v": 1}
    assert rig.in_force.kind == CHARGE


def test_a_polarity_that_turns_between_the_probes_is_found() -> None:
    rig = started()
    rig.until(lambda one: len(one.said()) == 1)
    rig.response = -1.0
    rig.until(cycling)
    assert "polarity not proven" in rig.said()[1]
    assert rig.fast_commands == 0


@pytest.mark.parametrize("how", ["pause", "crash"])
def test_after_an_interruption_the_polarity_is_proven_anew(how: str) -> None:
    rig = started()
    rig.until(lambda one: len(one.said()) == 2)
    rig.once()
    if how == "crash":
        rig.crash_and_resume()
    else:
        rig.pause()
        rig.once()
        rig.resume()
    assert rig.running() == "polarity probe, positive"
    rig.response = -1.0  # somebody changed the leads meanwhile
    rig.until(cycling)
    assert rig.fast_commands == 0


def test_a_device_timed_probe_cannot_be_written() -> None:
    plain = {
        "do": "pulse",
        "direction": "charge",
        "current_density_mA_per_cm2": 0.5,
        "duration_s": 5,
        "polarity_probe": True,
    }
    assert PulseStep.model_validate(plain).polarity_probe
    with pytest.raises(ValueError, match="cannot be device_timed"):
        PulseStep.model_validate({**plain, "device_timed": True})
