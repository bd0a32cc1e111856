"""What a report says, read from the journal: no drawing, no page."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from controller.app.absent import or_null
from controller.app.reporting.words import K_95, MINUS
from controller.domain.cell import CellFormat
from controller.domain.decision import Decision
from controller.domain.errors import ConfigurationError
from controller.domain.events import Event, EventKind, JsonScalar
from controller.domain.figures import CycleFigures, CycleKind
from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.diagnosis import Diagnosis, Mode, diagnose, shown_in_run
from controller.io.journal import JournalReader, SessionRecord
from controller.policy.horizons import HorizonEffect, effects_of, forecast_effects_of
from controller.policy.learning import Effect, Opportunity, effect_of, opportunity_from
from controller.policy.scheduler import DRIFT_CYCLES, drift_over
from protocols.credit import why_not_credited
from protocols.registry import load

SUMMARY_SCHEMA: Final = 1
# Cycles with one of these flags stay out of trends.
SPOILING_FLAGS: Final = frozenset(
    {"interrupted", "unobserved-charge", "treatment-abandoned", "gap", "incomplete", "time-reset"}
)
# The trend of CE is that of this many cycles.
TREND_CYCLES: Final = 10
TREATMENT_STAGES: Final = "reactivating_"
# At most this many treatments are drawn.
WINDOWS: Final = 12
# Readings looked at before and after a treatment, and how much of them is shown.
WINDOW_READINGS: Final = 400
WINDOW_MARGIN_S: Final = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TreatmentFacts:
    """One protocol's use and what it gave back; `further` at longer horizons and by forecast."""

    protocol: str
    count: int
    abandoned: int
    effect: Effect
    cycles: tuple[int, ...]
    further: tuple[HorizonEffect, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Readings around one treatment or its control; time from its first step (s)."""

    cycle: int
    protocol: str
    treated: bool
    duration_s: float
    t_s: NDArray[Any]
    voltage_V: NDArray[Any]
    current_A: NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumFacts:
    """One impedance spectrum of the run, or why it is missing.

    Attributes
    ----------
    missing : str
        Why there is none; empty where there is one, and only then the others say something.
    frequency_Hz, real_Ohm, imaginary_Ohm, u_Ohm : tuple of float
        Highest frequency first; `u_Ohm` is one standard uncertainty of either part.
    verdict, verdict_reason : str
        Of the Kramers-Kronig test; "not tested" with fewer than seven tones.
    circuit : str
        Empty where none could be fitted.
    parameters : tuple of (name, unit, value, standard uncertainty, identified)
    remarks : tuple of str
    """

    cycle: int
    missing: str = ""
    frequency_Hz: tuple[float, ...] = ()
    real_Ohm: tuple[float, ...] = ()
    imaginary_Ohm: tuple[float, ...] = ()
    u_Ohm: tuple[float, ...] = ()
    verdict: str = ""
    verdict_reason: str = ""
    circuit: str = ""
    parameters: tuple[tuple[str, str, float, float, bool], ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """Coulombic efficiency over undisturbed base cycles (`efficiency_trend` says which).

    Attributes
    ----------
    mean, u_mean : float
        The uncertainty joins the scatter between cycles and the readings' own, which gain errors
        make common to all cycles.
    slope, u_slope : float
        Per cycle; NaN below three cycles.
    count : int
    """

    mean: float
    u_mean: float
    slope: float
    u_slope: float
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A run as its journal tells it.

    Attributes
    ----------
    header, configuration : mapping
        The journal's first record, and the run file in it (empty if it is not TOML).
    splits : mapping of int to mapping
        Cycle to the estimate at its close.
    hours : float
        Laboratory hours over all sessions.
    stopped_because : str or None
        None: it still runs, or was killed.
    diagnosis : Diagnosis or None
        How the cell fares, from its base cycles; None if the journal names no format or capacity.
    """

    run_dir: Path
    header: Mapping[str, JsonScalar]
    configuration: Mapping[str, Any]
    cycles: tuple[CycleFigures, ...]
    decisions: tuple[Decision, ...]
    events: tuple[Event, ...]
    sessions: tuple[SessionRecord, ...]
    splits: Mapping[int, Mapping[str, Any]]
    treatments: tuple[TreatmentFacts, ...]
    opportunities: tuple[Opportunity, ...]
    hours: float
    stopped_because: str | None
    sample_count: int
    spectra: tuple[SpectrumFacts, ...] = ()
    diagnosis: Diagnosis | None = None

    @property
    def simulated(self) -> bool:
        """Whether the journal says that the cell was simulated."""
        return self.header.get("simulated") is True

    @property
    def base(self) -> list[CycleFigures]:
        """Base cycles, in order."""
        return [one for one in self.cycles if one.kind is CycleKind.BASE]

    def table(self, name: str) -> Mapping[str, Any]:
        """Return a table of the run file, empty if there is none."""
        found = self.configuration.get(name)
        return found if isinstance(found, dict) else {}

    @property
    def cell_name(self) -> str:
        """The cell's name, or the directory's."""
        return str(self.table("cell").get("name") or self.header.get("cell") or self.run_dir.name)

    @property
    def cell_format(self) -> CellFormat | None:
        """The cell's format, None if the journal does not say."""
        word = self.table("cell").get("format")
        return CellFormat(word) if word in {one.value for one in CellFormat} else None

    @property
    def area_cm2(self) -> float:
        """Electrode area; NaN if the journal does not say."""
        value = self.table("cell").get("area_cm2")
        return float(value) if isinstance(value, int | float) and value > 0 else math.nan


def read_facts(run_dir: Path) -> RunFacts:
    """Read everything but the readings themselves.

    Raises
    ------
    RunDirectoryError
        No journal there, damaged, or of an unknown schema.
    """
    with JournalReader(run_dir) as reader:
        return facts_of(reader, run_dir)


def facts_of(reader: JournalReader, run_dir: Path) -> RunFacts:
    """Return the facts of an open journal."""
    header = reader.header()
    checkpoint = reader.last_checkpoint()
    core = _core_of(checkpoint[1] if checkpoint else "")
    configuration = _configuration(str(header.get("configuration", "")))
    decisions = reader.decisions()
    sessions = reader.sessions()
    opportunities = _opportunities(core)
    cycles = tuple(reader.cycles())
    events = tuple(reader.events())
    return RunFacts(
        run_dir=run_dir,
        header=header,
        configuration=configuration,
        cycles=cycles,
        decisions=tuple(decisions),
        events=events,
        sessions=tuple(sessions),
        splits={cycle: figures for _, cycle, figures in reader.estimates()},
        treatments=tuple(
            _treatments(core, configuration, decisions, opportunities, cycles, run_dir)
        ),
        opportunities=tuple(opportunities),
        hours=_hours(core, reader),
        stopped_because=_stopped_because(core, sessions),
        sample_count=reader.sample_count(),
        spectra=tuple(_spectrum(one.data) for one in events if one.kind is EventKind.SPECTRUM),
        diagnosis=_diagnosis(configuration, cycles),
    )


def _diagnosis(
    configuration: Mapping[str, Any], cycles: Sequence[CycleFigures]
) -> Diagnosis | None:
    cell = configuration.get("cell")
    told = cell if isinstance(cell, dict) else {}
    word, nominal_mAh = told.get("format"), told.get("nominal_capacity_mAh")
    if word not in {one.value for one in CellFormat} or not isinstance(nominal_mAh, int | float):
        return None
    return diagnose(shown_in_run(cycles), CellFormat(word), 1e-3 * nominal_mAh)


def _spectrum(data: Mapping[str, Any]) -> SpectrumFacts:
    cycle = int(data["cycle"])
    if "reason" in data:
        return SpectrumFacts(cycle=cycle, missing=str(data["reason"]))
    remarks = [f"left out {one}" for one in data["left_out"]]
    if "remarks" in data:
        remarks += data["remarks"]
    else:  # journals of before they had figures
        remarks += ["the cell did not answer linearly"] if data["distorted"] else []
        remarks += ["the cell changed meanwhile"] if data["drifted"] else []
    parameters = zip(
        data["parameters"], data["units"], data["values"], data["u_values"], strict=True
    )
    return SpectrumFacts(
        cycle=cycle,
        frequency_Hz=tuple(data["frequency_Hz"]),
        real_Ohm=tuple(data["real_Ohm"]),
        imaginary_Ohm=tuple(data["imaginary_Ohm"]),
        u_Ohm=tuple(data["u_Ohm"]),
        verdict=data["kramers_kronig"] or "not tested",
        verdict_reason=data["kramers_kronig_reason"],
        circuit=data["circuit"] or "",
        parameters=tuple(
            (name, unit, value, u, name not in data["not_identified"])
            for name, unit, value, u in parameters
        ),
        remarks=tuple(remarks),
    )


def _configuration(text: str) -> Mapping[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return {}


def _core_of(checkpoint: str) -> Mapping[str, Any]:
    """Return the core's part of a checkpoint, empty before the first."""
    if not checkpoint:
        return {}
    try:
        whole = json.loads(checkpoint)
        core = whole.get("core", {}) if isinstance(whole, dict) else {}
        plain = json.loads(core) if isinstance(core, str) else core
    except json.JSONDecodeError:
        return {}
    return plain if isinstance(plain, dict) else {}


def _opportunities(core: Mapping[str, Any]) -> list[Opportunity]:
    scheduler = core.get("scheduler") or {}
    return [opportunity_from(one) for one in scheduler.get("opportunities", [])]


def _treatments(
    core: Mapping[str, Any],
    configuration: Mapping[str, Any],
    decisions: Sequence[Decision],
    opportunities: Sequence[Opportunity],
    cycles: Sequence[CycleFigures],
    run_dir: Path,
) -> list[TreatmentFacts]:
    """Return every protocol that was scheduled or had an opportunity, in the owner's order."""
    schedule = configuration.get("schedule")
    scheduled = schedule.get("protocols", []) if isinstance(schedule, dict) else []
    names = dict.fromkeys(str(name) for name in scheduled)
    names.update(dict.fromkeys(one.candidate for one in decisions if one.candidate))
    names.update(dict.fromkeys(one.recipe for one in opportunities))
    run = core.get("treatments_run") or {}
    abandoned = core.get("treatments_abandoned") or {}
    # A decision acts on the next cycle.
    chosen = {
        name: tuple(one.cycle + 1 for one in decisions if one.protocol == name) for name in names
    }
    found = []
    for name in names:
        reason = _not_credited(name, configuration, run_dir)
        contrasts = effects_of(name, opportunities, cycles, not_credited=reason)
        forecasts = forecast_effects_of(name, opportunities, cycles, not_credited=reason)
        found.append(
            TreatmentFacts(
                protocol=name,
                count=int(run.get(name, 0)) if core else len(chosen[name]),
                abandoned=int(abandoned.get(name, 0)),
                effect=effect_of(name, list(opportunities), not_credited=reason),
                cycles=chosen[name],
                further=(*contrasts[1:], *forecasts),
            )
        )
    return found


def _not_credited(name: str, configuration: Mapping[str, Any], run_dir: Path) -> str:
    """Return why net charge does not measure this recipe's effect; empty where it does."""
    cell = configuration.get("cell")
    word = cell.get("format") if isinstance(cell, dict) else None
    if word not in {one.value for one in CellFormat}:
        return ""
    try:
        # a recipe of the owner's own was copied into the run directory
        recipe = load(run_dir / name) if name.endswith(".toml") else load(name)
    except ConfigurationError:
        return ""
    return why_not_credited(recipe, CellFormat(word))


def _hours(core: Mapping[str, Any], reader: JournalReader) -> float:
    value = core.get("hours")
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    count = reader.sample_count()
    if not count:
        return 0.0
    # before the first checkpoint: the readings' own span
    span = reader.samples(("utc_s",), stride=max(1, count // 1000))["utc_s"]
    return (
        float(np.nanmax(span) - np.nanmin(span)) / SECONDS_PER_HOUR
        if np.isfinite(span).any()
        else 0.0
    )


def _stopped_because(core: Mapping[str, Any], sessions: Sequence[SessionRecord]) -> str | None:
    session = sessions[-1].stopped_because if sessions else None
    return str(core.get("stopped_because") or "") or session


def summary_of(facts: RunFacts) -> dict[str, Any]:
    """Return the object that ``reactivate run --json`` prints."""
    base = facts.base
    last = base[-1] if base else facts.cycles[-1] if facts.cycles else None
    return {
        "schema": SUMMARY_SCHEMA,
        "run_dir": str(facts.run_dir),
        "cycles": len(base),
        "decisions": [
            {"cycle": one.cycle, "protocol": one.protocol, "reason": one.reason}
            for one in facts.decisions
        ],
        "treatments": [_treatment_json(one) for one in facts.treatments],
        "spectra": [_spectrum_json(one) for one in facts.spectra],
        "diagnosis": _diagnosis_json(facts.diagnosis),
        "lab_hours": round(facts.hours, 4),
        "final_capacity_mAh": _milli(capacity_Ah(last) if last else None),
        "stopped_because": facts.stopped_because,
    }


def _diagnosis_json(found: Diagnosis | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "mode": found.mode.value,
        "probabilities": {
            mode.value: round(one, 4) for mode, one in found.probabilities.items() if one > 0.0
        },
        "evidence": list(found.evidence),
    }


def diagnosis_words(found: Diagnosis) -> str:
    """Return the mode with its probability, or that it cannot be told."""
    if found.mode is Mode.CANNOT_TELL:
        return found.mode.value
    return f"{found.mode.value} (probability {found.probabilities[found.mode]:.2f})"


def _spectrum_json(one: SpectrumFacts) -> dict[str, Any]:
    if one.missing:
        return {"cycle": one.cycle, "reason": one.missing}
    return {
        "cycle": one.cycle,
        "frequency_Hz": list(one.frequency_Hz),
        "real_Ohm": list(one.real_Ohm),
        "imaginary_Ohm": list(one.imaginary_Ohm),
        "u_Ohm": list(one.u_Ohm),
        "kramers_kronig": {"verdict": one.verdict, "reason": one.verdict_reason},
        "circuit": one.circuit or None,
        "parameters": [
            {"name": name, "unit": unit, "value": value, "u": or_null(u), "identified": identified}
            for name, unit, value, u, identified in one.parameters
        ],
        "remarks": list(one.remarks),
    }


def _milli(value: float | None) -> float | None:
    return round(value * 1e3, 6) if value is not None and math.isfinite(value) else None


def _treatment_json(one: TreatmentFacts) -> dict[str, Any]:
    effect = one.effect
    plain: dict[str, Any] = {
        "protocol": one.protocol,
        "count": one.count,
        "recovered_mAh": _milli(effect.recovered_Ah),
        "u_mAh": _milli(effect.u_recovered_Ah),
    }
    if plain["recovered_mAh"] is None:
        plain["reason"] = effect.reason
    return plain


# --- figures --------------------------------------------------------------------------------------


def capacity_Ah(one: CycleFigures) -> float:
    """Return what a cycle gave back on discharge after its own charge.

    A control at half charge charges the cell half full once more: charge put in by other than the
    base steps is taken off. A fast strip right after the charge is part of the discharge. Reference
    tests are diagnostic charge altogether.
    """
    if one.kind is CycleKind.REFERENCE:
        return one.discharge_Ah
    return one.discharge_Ah - (one.charge_Ah - one.base_charge_Ah)


def opportunity_cycles(facts: RunFacts) -> dict[int, Decision]:
    """Return the cycles that were a treatment's opportunity, with the decision made before.

    The first cycle is among them where a treatment came before it, though that was no opportunity.
    """
    return {one.cycle + 1: one for one in facts.decisions if one.candidate is not None}


def efficiency_trend(facts: RunFacts) -> Trend | None:
    """Return the trend of CE, None where fewer than two cycles give it.

    It is that of the last ten base cycles without treatment or control; the drift after formation,
    cycles just after a reference test and interrupted ones are left out. Earlier cycles tell of
    another state of the cell: while the cathode ends the discharges CE is near 1 whatever is lost.
    """
    touched = opportunity_cycles(facts)
    after_other = {
        then.cycle
        for one, then in pairwise(facts.cycles)
        if one.kind is not CycleKind.BASE or one.anchored != then.anchored
    }
    settled = _settled(facts.base)
    clean = [
        one
        for one in settled
        if one.coulombic_efficiency is not None
        and math.isfinite(one.coulombic_efficiency)
        and one.cycle not in touched
        and one.cycle not in after_other
        and not SPOILING_FLAGS.intersection(one.flags)
    ][-TREND_CYCLES:]
    if len(clean) < 2:
        return None
    x = np.array([one.cycle for one in clean], dtype=np.float64)
    y = np.array([one.coulombic_efficiency for one in clean], dtype=np.float64)
    own = np.array([one.u_coulombic_efficiency or 0.0 for one in clean], dtype=np.float64)
    own = np.where(np.isfinite(own), own, 0.0)
    own_mean = float(np.median(own))
    scatter = float(y.std(ddof=1)) / math.sqrt(len(clean))
    slope = u_slope = math.nan
    if len(clean) > 2:
        dx = x - x.mean()
        sxx = float((dx * dx).sum())
        slope = float((dx * y).sum()) / sxx
        residual = y - y.mean() - slope * dx
        variance = float((residual**2).sum()) / (len(clean) - 2)
        u_slope = math.sqrt(max(variance, 0.0) / sxx)
    return Trend(
        mean=float(y.mean()),
        u_mean=math.hypot(scatter, own_mean),
        slope=slope,
        u_slope=u_slope,
        count=len(clean),
    )


def _settled(base: list[CycleFigures]) -> list[CycleFigures]:
    """Return the base cycles from where the drift after formation is over."""
    for count in range(DRIFT_CYCLES, len(base) + 1):
        if drift_over(base[:count]):
            return base[count - DRIFT_CYCLES :]
    return []


def trend_words(trend: Trend | None) -> str:
    """Return the slope per 100 cycles, in percentage points, in words."""
    if trend is None or not math.isfinite(trend.slope):
        return "too few settled, undisturbed cycles for a trend"
    slope, u = trend.slope * 1e4, trend.u_slope * 1e4
    words = f"{slope:+.3f} ± {u:.3f} pp per 100 cycles".replace("-", MINUS)
    seen = abs(slope) > K_95 * u
    return words if seen else words + " (no trend beyond its 95 % uncertainty)"


# --- readings around treatments -------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    cycle: int
    first_sequence: int
    last_sequence: int


def _spans(events: Sequence[Event]) -> list[_Span]:
    """Return the readings of each cycle's treatment steps (or of its control's)."""
    found: dict[int, list[int]] = {}
    open_cycle: int | None = None
    for event in events:
        if event.kind is EventKind.STEP_STARTED:
            stage = str(event.data.get("stage", ""))
            cycle = event.data.get("cycle")
            if stage.startswith(TREATMENT_STAGES) and isinstance(cycle, int):
                found.setdefault(cycle, [event.sequence, event.sequence])
                open_cycle = cycle
            else:
                open_cycle = None
        elif event.kind is EventKind.STEP_ENDED and open_cycle is not None:
            found[open_cycle][1] = event.sequence
    return [
        _Span(cycle=cycle, first_sequence=first, last_sequence=max(last, first))
        for cycle, (first, last) in found.items()
        if first >= 0
    ]


def _chosen(spans: list[_Span], touched: Mapping[int, Decision]) -> list[_Span]:
    """Return at most `WINDOWS` spans, spread evenly over the run, treatments before controls."""
    treated = [one for one in spans if not _withheld(one.cycle, touched)]
    controls = [one for one in spans if _withheld(one.cycle, touched)]
    # some controls are always shown: they are half of what the effect rests on
    most = max(WINDOWS - min(len(controls), WINDOWS // 4), 0)
    kept = _spread(treated, most)
    kept += _spread(controls, WINDOWS - len(kept))
    return sorted(kept, key=lambda one: one.cycle)


def _withheld(cycle: int, touched: Mapping[int, Decision]) -> bool:
    decision = touched.get(cycle)
    return decision is not None and decision.withheld


def _spread(spans: list[_Span], count: int) -> list[_Span]:
    if len(spans) <= count:
        return list(spans)
    picks = np.linspace(0, len(spans) - 1, count).round().astype(int)
    return [spans[index] for index in dict.fromkeys(picks.tolist())]


def treatment_windows(reader: JournalReader, facts: RunFacts) -> tuple[list[Window], int]:
    """Return the readings around treatments and controls, and how many there were in all."""
    touched = opportunity_cycles(facts)
    spans = _spans(facts.events)
    windows = [_window(reader, span, touched) for span in _chosen(spans, touched)]
    return [one for one in windows if one is not None], len(spans)


def _window(reader: JournalReader, span: _Span, touched: Mapping[int, Decision]) -> Window | None:
    columns = reader.samples(
        ("sequence", "t_host_s", "utc_s", "voltage_V", "current_A"),
        first_sequence=max(span.first_sequence - WINDOW_READINGS, 0),
        last_sequence=span.last_sequence + WINDOW_READINGS,
    )
    sequence = columns["sequence"]
    if not sequence.size:
        return None
    t_s = columns["t_host_s"]
    if not np.all(np.diff(t_s) >= 0.0):
        t_s = columns["utc_s"]  # host time begins again with every session
    first = int(np.searchsorted(sequence, span.first_sequence))
    last = min(int(np.searchsorted(sequence, span.last_sequence)), sequence.size - 1)
    first = min(first, last)
    start_s, end_s = float(t_s[first]), float(t_s[last])
    margin_s = min(WINDOW_MARGIN_S, max(0.5 * (end_s - start_s), 120.0))
    shown = (t_s >= start_s - margin_s) & (t_s <= end_s + margin_s)
    decision = touched.get(span.cycle)
    return Window(
        cycle=span.cycle,
        protocol=(decision.candidate or "treatment") if decision else "treatment",
        treated=not _withheld(span.cycle, touched),
        duration_s=end_s - start_s,
        t_s=t_s[shown] - start_s,
        voltage_V=columns["voltage_V"][shown],
        current_A=columns["current_A"][shown],
    )
