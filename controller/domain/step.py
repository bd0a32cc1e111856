"""A protocol step in absolute units, ready to execute. Recipes (`protocols`) resolve to these."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, OPEN, TAG_BASE
from controller.domain.sample import NAN

# After a change of current readings come this fast for this long.
EDGE_PERIOD_S: Final = 1.0
EDGE_DURATION_S: Final = 60.0
# At C/10 and above, and in the first ten minutes of rests and holds.
FAST_PERIOD_S: Final = 5.0
# Below C/10, and in rests and holds after ten minutes.
SLOW_PERIOD_S: Final = 30.0
SLOW_AFTER_S: Final = 600.0
SLOW_BELOW_C_RATE: Final = 0.1


class Stage(StrEnum):
    """Where in the life of a cell or of a treatment a step stands (state-machine phase)."""

    FORMATION = "formation"
    CHARGE = "charge"
    REST = "rest"
    DISCHARGE = "discharge"
    DIAGNOSING = "diagnosing"
    ARM = "reactivating_arm"
    EXECUTE = "reactivating_execute"
    RECOVER = "reactivating_recover"
    EVALUATE = "reactivating_evaluate"


class StepEnd(StrEnum):
    """Why a step ended."""

    VOLTAGE = "voltage"
    CURRENT = "current"
    CHARGE = "charge"
    DURATION = "duration"
    DEVICE_TIMED = "device-timed"
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step. NaN means "this end condition is not used"; `max_duration_s` is always finite.

    Attributes
    ----------
    name : str
        Said to the operator, e.g. ``"charge at C/3 to 4.3 V"``.
    stage : Stage
    kind : int
        ``HOLD_0A``, ``CHARGE``, ``DISCHARGE`` or ``OPEN`` (`controller.domain.command`).
    current_A : float
        Signed, charge positive; 0 for a rest.
    voltage_bound_V : float
        Device-enforced bound; NaN for a rest.
    max_duration_s : float
        Always finite: no step without an end can be written.
    end_voltage_V : float
        Ends at or above it while charging, at or below it while discharging.
    end_current_A : float
        Ends when the device holds the voltage and the current's magnitude has fallen to it.
    end_charge_Ah : float
        Ends when the step's own charge magnitude has reached it.
    tag : int
        ``TAG_BASE``, ``TAG_TREATMENT``, ``TAG_DIAGNOSTIC``.
    envelope : str
        Name of the pulse envelope requested; empty for none.
    device_timed : bool
        The instrument ends the pulse after `max_duration_s`, with output off.
    period_s : float
        Reading period within the step; NaN takes the standard plan.
    anchor : bool
        The end of this step is an anchor state (effects are counted from anchor to anchor).
    closes_half_cycle : bool
        This discharge ends the cycle's base discharge: its end is classified.
    ocv_check : bool
        A rest whose decay and noise must lie within the cell's own baseline before it is charged
        again.
    polarity_probe : bool
        The voltage must move with this step's current, or the treatment ends here.
    spectrum : bool
        An impedance spectrum stands here, with set-points of its own (`controller.core.spectrum`).
    """

    name: str
    stage: Stage
    kind: int
    current_A: float
    voltage_bound_V: float
    max_duration_s: float
    end_voltage_V: float = NAN
    end_current_A: float = NAN
    end_charge_Ah: float = NAN
    tag: int = TAG_BASE
    envelope: str = ""
    device_timed: bool = False
    period_s: float = NAN
    anchor: bool = False
    closes_half_cycle: bool = False
    ocv_check: bool = False
    polarity_probe: bool = False
    spectrum: bool = False


__all__ = [
    "CHARGE",
    "DISCHARGE",
    "EDGE_DURATION_S",
    "EDGE_PERIOD_S",
    "FAST_PERIOD_S",
    "HOLD_0A",
    "OPEN",
    "SLOW_AFTER_S",
    "SLOW_BELOW_C_RATE",
    "SLOW_PERIOD_S",
    "Stage",
    "Step",
    "StepEnd",
]
