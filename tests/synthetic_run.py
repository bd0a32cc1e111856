"""A run directory made through the real journal: arithmetic, not a cell model.

Charge comes in at a constant efficiency; the first discharges leave lithium behind and end at the
cathode, later ones at the anode. Every third base cycle offers a treatment, drawn at random.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, TAG_BASE, TAG_TREATMENT
from controller.domain.decision import Decision
from controller.domain.events import Event, EventKind
from controller.domain.figures import CycleFigures, CycleKind, DischargeEnd, Label, Resistance
from controller.domain.sample import NAN, Sample
from controller.io.journal import Journal, JournalReader
from controller.policy.learning import Opportunity

CONFIGURATION = """
schema = 1
[cell]
name = "synthetic-cu-nmc811"
format = "{cell_format}"
area_cm2 = 1.54
nominal_capacity_mAh = 3.0
cathode = "nmc811"
electrolyte = "LHCE"
[cycler]
driver = "keithley2450"
address = "simulated"
accept_unverified_driver = true
[temperature]
source = "{temperature}"
[cycling]
cycles = 50
[schedule]
protocols = ["short-strip", "discharged-rest"]
[estimator]
inactive_share_mean = 0.6
inactive_share_sd = 0.2
"""
EPOCH_S = 1.7e9
PROTOCOLS = ("short-strip", "discharged-rest")
# What a treatment of the synthetic run gives back (mAh), known to the tests.
GAIN_MAH = 0.02


@dataclass
class Writer:
    """Writes readings and events with one running clock."""

    journal: Journal
    temperature: bool
    rng: np.random.Generator
    t_s: float = 0.0
    sequence: int = 0
    epoch_s: float = EPOCH_S
    blocks: list[float] = field(default_factory=list)

    def noise(self) -> float:
        if not self.blocks:
            self.blocks = self.rng.normal(0.0, 1e-4, 4096).tolist()
        return self.blocks.pop()

    def readings(self, cycle: int, step: int, kind: int, count: int, *, shape: str) -> None:
        """Write `count` readings of a step; `shape` gives voltage (V) and current (A)."""
        tag = TAG_TREATMENT if shape in ("strip", "treatment-rest") else TAG_BASE
        for index in range(count):
            share = index / max(count - 1, 1)
            voltage_V, current_A, period_s = _shape(shape, share)
            self.journal.sample(
                Sample(
                    sequence=self.sequence,
                    channel=0,
                    t_host_s=self.t_s,
                    t_device_s=self.t_s,
                    utc_s=self.epoch_s + self.t_s,
                    voltage_V=voltage_V + self.noise(),
                    current_A=current_A,
                    temperature_K=298.15 if self.temperature else NAN,
                    output=1,
                    limit_status=1,
                    current_range_A=1e-3,
                    averaging_s=0.02,
                    quality=0,
                ),
                cycle,
                step,
                kind,
                tag,
            )
            self.sequence += 1
            self.t_s += period_s

    def event(self, kind: EventKind, message: str, **data: str | int | float | bool | None) -> None:
        self.journal.event(
            Event(kind=kind, t_s=self.t_s, sequence=self.sequence, message=message, data=data)
        )


def _shape(shape: str, share: float) -> tuple[float, float, float]:
    if shape == "charge":
        return 3.45 + 0.85 * share**0.7, 1e-3, 5.0
    if shape == "discharge":
        knee = 0.5 * max(0.0, share - 0.93) / 0.07
        return 4.25 - 0.75 * share**0.8 - knee, -1e-3, 5.0
    if shape == "strip":
        return 4.22 - 0.05 * share, -4.6e-3, 1.0
    if shape == "treatment-rest":
        return 3.05 + 0.35 * (1.0 - math.exp(-5.0 * share)), 0.0, 30.0
    return 4.25 - 0.02 * (1.0 - math.exp(-4.0 * share)), 0.0, 5.0


@dataclass
class Scheduler:
    """The randomised opportunities of the synthetic run."""

    opportunities: list[Opportunity] = field(default_factory=list)
    run: dict[str, int] = field(default_factory=dict)


def figures(
    cycle: int, kind: CycleKind, rng: np.random.Generator, lost_mAh: float, extra_mAh: float
) -> CycleFigures:
    """Return a cycle's figures: efficiency 0.9955, capacity falling from the 12th cycle on."""
    anode = cycle > 12 and kind is CycleKind.BASE
    charge_mAh = 2.62 - (0.011 * (cycle - 12) if cycle > 12 else 0.0)
    efficiency = 0.89 if cycle == 1 else 0.9955 - 0.00001 * cycle + rng.normal(0.0, 0.0004)
    discharge_mAh = charge_mAh * efficiency + extra_mAh
    u_mAh = 0.0006
    label = Label.MEASURED if anode else Label.BOUND
    resistance = 21.0 + 0.12 * cycle + rng.normal(0.0, 0.08)
    return CycleFigures(
        cycle=cycle,
        kind=kind,
        charge_Ah=charge_mAh * 1e-3,
        u_charge_Ah=u_mAh * 1e-3,
        discharge_Ah=discharge_mAh * 1e-3,
        u_discharge_Ah=u_mAh * 1e-3,
        net_charge_Ah=(discharge_mAh - charge_mAh) * 1e-3,
        u_net_charge_Ah=1.2e-6,
        base_charge_Ah=charge_mAh * 1e-3,
        base_discharge_Ah=(discharge_mAh - (0.09 if extra_mAh else 0.0)) * 1e-3,
        treatment_net_charge_Ah=9e-5 if extra_mAh else 0.0,
        diagnostic_net_charge_Ah=0.0,
        coulombic_efficiency=discharge_mAh / charge_mAh,
        u_coulombic_efficiency=0.00025,
        coulombic_efficiency_base=(discharge_mAh - (0.003 if extra_mAh else 0.0)) / charge_mAh,
        discharge_end=DischargeEnd.ANODE if anode else DischargeEnd.CATHODE,
        discharge_end_probability=0.96 if anode else 0.88,
        resistance_Ohm=resistance,
        u_resistance_Ohm=0.1,
        lithium_lost_Ah=lost_mAh * 1e-3,
        u_lithium_lost_Ah=(0.004 + 0.0006 * cycle) * 1e-3,
        lithium_lost_label=label,
        duration_s=6.2 * 3600.0,
        mean_temperature_K=298.2,
    )


def make_run(
    run_dir: Path,
    *,
    base_cycles: int = 50,
    readings_per_step: int = 60,
    simulated: bool = True,
    temperature: bool = True,
    cell_format: str = "anode-free",
    close: str | None = "completed",
    seed: int = 1,
) -> Path:
    """Write a run; `close` None leaves it as a killed process would."""
    run_dir.mkdir(parents=True, exist_ok=True)
    source = "auxiliary" if temperature else "none"
    journal = Journal.create(
        run_dir,
        {
            "configuration": CONFIGURATION.format(cell_format=cell_format, temperature=source),
            "program_version": "0.1.0",
            "seed": seed,
            "utc_s": EPOCH_S,
            "simulated": simulated,
        },
        batch=200,
    )
    rng = np.random.default_rng(seed)
    writer = Writer(journal, temperature, rng)
    scheduler = Scheduler()
    writer.event(EventKind.INSTRUMENT, "start checks passed; open-circuit voltage 3.1042 V")
    _cycles(writer, scheduler, base_cycles, readings_per_step)
    checkpoint(journal, scheduler, writer, close or "")
    if close is None:
        journal.commit()
    else:
        journal.close(close, utc_s=EPOCH_S + writer.t_s)
    return run_dir


def resume_run(run_dir: Path, *, at_cycle: int) -> None:
    """Add a second session: host time begins again at 0, Unix time goes on; one treatment runs."""
    with JournalReader(run_dir) as reader:
        utc_s = float(reader.samples(("utc_s",))["utc_s"][-1]) + 3600.0
    journal = Journal.open(run_dir, utc_s=utc_s, batch=200)
    writer = Writer(journal, temperature=True, rng=np.random.default_rng(5), epoch_s=utc_s)
    writer.sequence = journal.next_sequence
    writer.readings(at_cycle, 0, CHARGE, 3, shape="charge")
    writer.event(
        EventKind.STEP_STARTED, "strip", cycle=at_cycle, step_index=1, stage="reactivating_execute"
    )
    writer.readings(at_cycle, 1, DISCHARGE, 70, shape="strip")
    writer.event(EventKind.STEP_ENDED, "strip ended", cycle=at_cycle)
    writer.readings(at_cycle, 2, DISCHARGE, 60, shape="discharge")
    journal.close("stopped by Ctrl-C", utc_s=utc_s + writer.t_s)


def _kinds(base_cycles: int) -> list[CycleKind]:
    if not base_cycles:
        return []
    kinds = [CycleKind.FORMATION, CycleKind.FORMATION, CycleKind.REFERENCE]
    for index in range(1, base_cycles + 1):
        kinds.append(CycleKind.BASE)
        if index % 25 == 0:
            kinds.append(CycleKind.REFERENCE)
    return kinds


def _cycles(writer: Writer, scheduler: Scheduler, base_cycles: int, readings: int) -> None:
    lost_mAh = 0.02
    pending: Opportunity | None = None
    for cycle, kind in enumerate(_kinds(base_cycles), start=1):
        treated = pending is not None and pending.treated
        _readings(writer, cycle, readings, pending)
        extra = GAIN_MAH if treated else 0.0
        one = figures(cycle, kind, writer.rng, lost_mAh, extra)
        lost_mAh -= one.net_charge_Ah * 1e3
        if cycle == 20:
            one = _replace(one, flags=("interrupted",), unobserved_charge_Ah=3e-6)
            writer.event(EventKind.UNOBSERVED, "0.003 mAh may have flowed while the link was lost")
            writer.event(
                EventKind.VERDICT, "rest: no reply from the instrument", action=3, causes=4
            )
        for offset in range(3):
            writer.event(EventKind.BAD_SAMPLE, f"reading {cycle + offset} not used", quality=512)
        if pending is not None:
            pending.net_charge_Ah = one.net_charge_Ah
            pending.u_net_charge_Ah = one.u_net_charge_Ah
            pending = None
        writer.journal.cycle(one)
        writer.journal.estimate(writer.sequence, cycle, _split(one))
        writer.journal.resistance(
            Resistance(t_s=writer.t_s, cycle=cycle, kind="step 1 s", value_Ohm=21.0, u_Ohm=0.1)
        )
        if kind is CycleKind.BASE:
            pending = _decide(writer, scheduler, one)
    writer.journal.commit()


def _replace(one: CycleFigures, **changes: object) -> CycleFigures:
    return CycleFigures(**{**{n: getattr(one, n) for n in CycleFigures.__slots__}, **changes})


def _split(one: CycleFigures) -> dict[str, object]:
    lost = one.lithium_lost_Ah
    return {
        "lithium_lost_Ah": lost,
        "inactive_Ah": 0.5 * lost,
        "u_inactive_Ah": 0.2 * lost,
        "sei_Ah": 0.5 * lost,
        "u_sei_Ah": 0.2 * lost,
        "split_label": Label.PRIOR_DOMINATED.value,
    }


def _readings(writer: Writer, cycle: int, readings: int, pending: Opportunity | None) -> None:
    writer.event(
        EventKind.STEP_STARTED, f"cycle {cycle}: charge", cycle=cycle, step_index=0, stage="charge"
    )
    if pending is not None and pending.recipe == "discharged-rest":
        _treatment(writer, cycle, pending)
    writer.readings(cycle, 0, CHARGE, readings, shape="charge")
    if pending is not None and pending.recipe == "short-strip":
        _treatment(writer, cycle, pending)
    writer.event(
        EventKind.STEP_STARTED, f"cycle {cycle}: discharge", cycle=cycle, stage="discharge"
    )
    writer.readings(cycle, 2, DISCHARGE, readings, shape="discharge")


def _treatment(writer: Writer, cycle: int, pending: Opportunity) -> None:
    short = pending.recipe == "short-strip"
    shape = ("strip" if short else "treatment-rest") if pending.treated else "rest"
    writer.event(
        EventKind.STEP_STARTED,
        f"cycle {cycle}: {pending.recipe}",
        cycle=cycle,
        step_index=1,
        stage="reactivating_execute",
    )
    kind = DISCHARGE if shape == "strip" else HOLD_0A
    writer.readings(cycle, 1, kind, 70 if short else 480, shape=shape)
    writer.event(EventKind.STEP_ENDED, f"cycle {cycle}: {pending.recipe} ended", cycle=cycle)


def _decide(writer: Writer, scheduler: Scheduler, one: CycleFigures) -> Opportunity | None:
    cycle = one.cycle
    decision = Decision(
        cycle=cycle,
        protocol=None,
        candidate=None,
        opportunity=False,
        withheld=False,
        probability=NAN,
        reason="efficiency still drifts after formation"
        if cycle < 9
        else f"net charge lost {-one.net_charge_Ah * 1e3:.4f} mAh is below the threshold",
        refused={"discharged-rest": "the discharge did not end at the anode"} if cycle < 13 else {},
    )
    opportunity = None
    if cycle >= 9 and cycle % 2 == 1:
        recipe = PROTOCOLS[0] if cycle % 10 != 5 else PROTOCOLS[1]
        treated = bool(writer.rng.random() < 0.5)
        opportunity = Opportunity(
            cycle=cycle,
            recipe=recipe,
            treated=treated,
            probability=0.5,
            net_before_Ah=one.net_charge_Ah,
        )
        scheduler.opportunities.append(opportunity)
        if treated:
            scheduler.run[recipe] = scheduler.run.get(recipe, 0) + 1
        decision = Decision(
            cycle=cycle,
            protocol=recipe if treated else None,
            candidate=recipe,
            opportunity=True,
            withheld=not treated,
            probability=0.5,
            reason=f"0.0241 mAh lost since the last opportunity: {recipe}"
            + ("" if treated else ", withheld at random as its control"),
            refused=decision.refused,
        )
    writer.journal.decision(decision)
    return opportunity


def checkpoint(journal: Journal, scheduler: Scheduler, writer: Writer, stopped: str) -> None:
    """Write a checkpoint as the loop writes it."""
    core = {
        "scheduler": {"opportunities": [asdict(one) for one in scheduler.opportunities]},
        "treatments_run": scheduler.run,
        "treatments_abandoned": {},
        "hours": writer.t_s / 3600.0,
        "last_t_s": NAN,
        "stopped_because": stopped,
    }
    journal.checkpoint(writer.sequence, json.dumps({"core": json.dumps(core), "supervisor": {}}))
