"""The open-circuit check that stands between a fast treatment and the next charge.

Plain data and questions about steps; `controller.core.step` asks them at its only door, where a
step is entered. What is owed (`ShortCheck.due`) is part of the checkpoint, so that no pause, crash
or abandonment makes it forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from controller.core.execute import numbers_of
from controller.core.plan import PlannedStep
from controller.domain.cell import TWO_FOILS, CellSpec
from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, TAG_DIAGNOSTIC, TAG_TREATMENT
from controller.domain.sample import NAN
from controller.domain.step import Stage, Step
from controller.domain.total_math import safe_divide, safe_sqrt
from controller.estimation.relaxation import Relaxation
from protocols.check import is_fast
from protocols.spec import OCV_CHECK_S

# A response smaller than this is no proof of polarity (offset of a source-measure unit and drift
# of a resting cell within seconds). Assumed, 0.2 to 2 mV.
POLARITY_FLOOR_V: Final = 5e-4
# ... nor is one of fewer than this many times the noise of its mean. Assumed, 3 to 6.
POLARITY_SIGMAS: Final = 5.0
# Readings within a probe that make its mean one (assumed, 2 to 5).
POLARITY_LEAST_READINGS: Final = 3
# The current that flowed must be the one asked for, to this part of it (assumed, 0.3 to 0.9).
POLARITY_CURRENT_FRACTION: Final = 0.5
# The probe that opens a session: a current that formation uses anyway (assumed, C/50 to C/5), and
# the way back shorter, so that bare Cu is not run into though the first plating comes back in part.
OPENING_C_RATE: Final = 0.1
OPENING_REST_S: Final = 10.0
OPENING_PLATE_S: Final = 5.0
OPENING_STRIP_S: Final = 3.0


class Probe:
    """Sums over the readings of one polarity probe; a record of numbers."""

    __slots__ = ("before_V", "last_V", "readings", "sum_A", "sum_V", "sum_dV2")

    def __init__(self, before_V: float = NAN) -> None:
        self.before_V = before_V  # of the resting cell, just before the current
        self.readings = 0
        self.sum_V = 0.0
        self.sum_A = 0.0
        self.last_V = NAN
        self.sum_dV2 = 0.0


def probe_reading(p: Probe, voltage_V: float, current_A: float) -> None:
    """Take one reading of the probe's current into account. Kernel."""
    if p.readings > 0:
        d_V = voltage_V - p.last_V
        p.sum_dV2 += d_V * d_V
    p.readings += 1
    p.sum_V += voltage_V
    p.sum_A += current_A
    p.last_V = voltage_V


def polarity(p: Probe, asked_A: float) -> tuple[bool, float, float]:
    """Return whether the voltage moved with the current, by how much and what was needed (V).

    Kernel. A reading that is NaN makes the answer no.
    """
    n = float(p.readings)
    moved_V = safe_divide(p.sum_V, n) - p.before_V
    if asked_A < 0.0:
        moved_V = -moved_V
    flowed = safe_divide(p.sum_A, n * asked_A)
    noise_V = safe_sqrt(safe_divide(p.sum_dV2, 2.0 * (n - 1.0)))
    needed_V = POLARITY_SIGMAS * safe_divide(noise_V, safe_sqrt(n))
    if not needed_V >= POLARITY_FLOOR_V:
        needed_V = POLARITY_FLOOR_V
    proven = (
        p.readings >= POLARITY_LEAST_READINGS
        and flowed >= POLARITY_CURRENT_FRACTION
        and moved_V > needed_V
    )
    return proven, moved_V, needed_V


@dataclass(slots=True, kw_only=True)
class ShortCheck:
    """What is known and owed about shorts; part of the checkpoint.

    Attributes
    ----------
    due : str
        Recipe whose fast current has not been checked yet; empty for none.
    inserted : bool
        The running step is the inserted check, in front of the plan's step.
    short_sign : bool
        A check has failed in this run: no fast treatment any more.
    rests : list of (float, float)
        Baseline: decay (V/h) and noise (V) of this cell's last untreated rests.
    watching : bool
        The running step is a rest whose readings are summed.
    relaxation : Relaxation
    probe : Probe
    """

    due: str = ""
    inserted: bool = False
    short_sign: bool = False
    rests: list[tuple[float, float]] = field(default_factory=list)
    watching: bool = False
    relaxation: Relaxation = field(default_factory=Relaxation)
    probe: Probe = field(default_factory=Probe)


def to_dict(check: ShortCheck) -> dict[str, Any]:
    """Return the plain form."""
    return {
        "due": check.due,
        "inserted": check.inserted,
        "short_sign": check.short_sign,
        "rests": [list(one) for one in check.rests],
        "watching": check.watching,
        "relaxation": {name: getattr(check.relaxation, name) for name in Relaxation.__slots__},
        "probe": {name: getattr(check.probe, name) for name in Probe.__slots__},
    }


def from_dict(plain: dict[str, Any]) -> ShortCheck:
    """Return what `to_dict` wrote."""
    relaxation, probe = Relaxation(), Probe()
    for name, value in plain["relaxation"].items():
        setattr(relaxation, name, value)
    for name, value in plain["probe"].items():
        setattr(probe, name, value)
    rests = [(float(decay), float(noise)) for decay, noise in plain["rests"]]
    return ShortCheck(**{**plain, "rests": rests, "relaxation": relaxation, "probe": probe})


# --- questions about steps ----------------------------------------------------------------------


def is_check(step: Step) -> bool:
    """Return whether a step is a whole open-circuit check; a shorter one settles nothing."""
    return step.ocv_check and step.kind == HOLD_0A and step.max_duration_s >= OCV_CHECK_S


def owes_check(step: Step, cell: CellSpec, base_current_A: float) -> bool:
    """Return whether nothing may be charged after this step until a check has passed."""
    return step.tag == TAG_TREATMENT and is_fast(step, cell, base_current_A)


def base_current_A(base: Sequence[Step]) -> float:
    """Return the charging current of base cycling (A)."""
    return max((step.current_A for step in base if step.kind == CHARGE), default=0.0)


def comes_too_early(due: str, before: PlannedStep | None, planned: PlannedStep) -> bool:
    """Return whether a check has to be passed before this step.

    The treatment's own steps may follow, as long as they do not charge; of those that do, only
    the next pulse of the same opening of an envelope.
    """
    step = planned.step
    if not due or is_check(step):
        return False
    if step.tag != TAG_TREATMENT:
        return True
    same_opening = (
        step.envelope != "" and before is not None and before.step.envelope == step.envelope
    )
    return step.kind == CHARGE and not same_opening


def before_current(steps: Sequence[PlannedStep], index: int) -> bool:
    """Return whether no step of a treatment before this one has passed current."""
    return all(one.step.tag != TAG_TREATMENT or one.step.kind == HOLD_0A for one in steps[:index])


def opening_steps(cell: CellSpec) -> tuple[Step, ...]:
    """Return the probe of polarity that opens each session on two foils; nothing elsewhere.

    An open-circuit voltage near 0 V says neither which way round the sense leads are nor whether
    there is a cell between them: a small current each way does.
    """
    if cell.format not in TWO_FOILS:
        return ()
    current_A = cell.c_rate_current_A(OPENING_C_RATE)

    def rest(name: str) -> Step:
        return _opening(name, HOLD_0A, 0.0, NAN, OPENING_REST_S)

    return (
        rest("settle before the probe"),
        _opening(
            "polarity probe, positive", CHARGE, current_A, cell.upper_cut_off_V, OPENING_PLATE_S
        ),
        rest("between the probes"),
        _opening(
            "polarity probe, negative", DISCHARGE, -current_A, cell.lower_cut_off_V, OPENING_STRIP_S
        ),
        rest("settle after the probe"),
    )


def _opening(name: str, kind: int, current_A: float, bound_V: float, duration_s: float) -> Step:
    return Step(
        name=name,
        stage=Stage.DIAGNOSING,
        kind=kind,
        current_A=current_A,
        voltage_bound_V=bound_V,
        max_duration_s=duration_s,
        tag=TAG_DIAGNOSTIC,
        polarity_probe=kind != HOLD_0A,
    )


def teaches(steps: Sequence[PlannedStep], index: int) -> bool:
    """Return whether an untreated rest can be compared with a check.

    It has to last as long, and to come before the discharge has ended: a cell that has just been
    emptied recovers so fast that a short would hide in it.
    """
    step = steps[index].step
    return (
        step.kind == HOLD_0A
        and not step.spectrum
        and step.max_duration_s >= OCV_CHECK_S
        and not any(one.step.closes_half_cycle for one in steps[:index])
    )


def inserted_check(nominal_capacity_Ah: float) -> PlannedStep:
    """Return the check that is put in front of whatever would come next."""
    step = Step(
        name="open-circuit check before charging",
        stage=Stage.REST,
        kind=HOLD_0A,
        current_A=0.0,
        voltage_bound_V=NAN,
        max_duration_s=OCV_CHECK_S,
        tag=TAG_DIAGNOSTIC,
        ocv_check=True,
    )
    return PlannedStep(step=step, numbers=numbers_of(step, nominal_capacity_Ah), envelope=0)
