"""Cells whose lives are known to be sound or shorted, read second by second as a cycler reads them.

For the detector of soft shorts (`controller.estimation.shorts`) alone: the plant is cycled in
compiled code, a short is put in and taken out at stated times, readings carry noise, and each goes
to the detector's kernel. What the plant knows of its leak is the truth.
"""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from controller.domain.cell import CellFormat
from controller.domain.total_math import safe_floor, safe_log
from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.short_watch import ShortFigures, ShortWatch, close_cycle, observe
from hil import records
from hil.cell.electrolyte import refresh_transport
from hil.cell.kernel import begin, step, uniform
from hil.cell.library import load_cell
from hil.cell.parameters import LFP, CellParameters
from hil.cell.state import CellState, blank_state
from hil.compiled import Array, Entry, Record, available, build, record_of
from hil.draws import draw_cell

NOISES: Final = 1 << 16
# Phases of a cycle.
CHARGE, HOLD, REST_CHARGED, STRIP, DISCHARGE, REST_DISCHARGED, DONE = range(7)
COULOMB_PER_MAH: Final = 3.6
LONGEST_HOLD_S: Final = 7200.0
WANDER_S: Final = 3000.0
AMBIENT_K: Final = 298.15
WORN_OUT: Final = 0.3  # of the nominal capacity
LONGEST_S: Final = 400_000
LONGEST_CHARGE: Final = 2.0  # of the nominal capacity: a shorted cell never comes to its cut-off
NEVER_S: Final = 1e9


class Plan:
    """One cycle, the instrument's noise in it, and the short that is put in.

    Attributes
    ----------
    charge_A, discharge_A, upper_V, lower_V, taper_A : float
        Magnitudes; a charge that ends by `most_charge_mAh` has no hold (`taper_A` 0).
    most_charge_mAh, most_discharge_mAh : float
        Of the constant currents.
    rest_charged_s, rest_discharged_s : float
    strip_A, strip_mAh : float
        A discharge of another current before the base one; 0: none.
    ambient_K, ambient_to_K, ambient_at_s : float
        The ambient goes from one to the other at a time of the cycle.
    short_from_s, short_to_s : float
        Of the cycle; the short is there between them.
    short_Ohm, on_s, off_s, grows_s : float
        Its resistance; mean times on and off; over which its conductance grows, evenly.
    noise_V, noise_A, wander_V : float
        Standard deviation of a reading; amplitude of a slow wave of the instrument.
    """

    __slots__ = (
        "ambient_K",
        "ambient_at_s",
        "ambient_to_K",
        "charge_A",
        "discharge_A",
        "grows_s",
        "lower_V",
        "most_charge_mAh",
        "most_discharge_mAh",
        "noise_A",
        "noise_V",
        "off_s",
        "on_s",
        "rest_charged_s",
        "rest_discharged_s",
        "short_Ohm",
        "short_from_s",
        "short_to_s",
        "strip_A",
        "strip_mAh",
        "taper_A",
        "upper_V",
        "wander_V",
    )
    ambient_K: float
    ambient_at_s: float
    ambient_to_K: float
    charge_A: float
    discharge_A: float
    grows_s: float
    lower_V: float
    most_charge_mAh: float
    most_discharge_mAh: float
    noise_A: float
    noise_V: float
    off_s: float
    on_s: float
    rest_charged_s: float
    rest_discharged_s: float
    short_Ohm: float
    short_from_s: float
    short_to_s: float
    strip_A: float
    strip_mAh: float
    taper_A: float
    upper_V: float
    wander_V: float

    def __init__(self) -> None:
        self.ambient_K = self.ambient_to_K = 298.15
        self.ambient_at_s = NEVER_S
        self.charge_A = self.discharge_A = 1e-3
        self.upper_V, self.lower_V, self.taper_A = 4.3, 3.0, 1.5e-4
        self.most_charge_mAh = self.most_discharge_mAh = 1e9
        self.rest_charged_s = self.rest_discharged_s = 600.0
        self.strip_A = self.strip_mAh = 0.0
        self.grows_s = 0.0
        self.short_from_s = self.short_to_s = NEVER_S
        self.short_Ohm, self.on_s, self.off_s = 1e6, 60.0, 60.0
        self.noise_V, self.noise_A, self.wander_V = 1e-4, 1e-8, 1e-4


def place_short(s: CellState, plan: Plan, t_s: float) -> None:
    """Put the short in or take it out, as the plan says for this time of the cycle. Kernel."""
    if plan.short_from_s <= t_s < plan.short_to_s:
        if s.short_level < 0.5:
            s.short_level = 1.0
            s.short_on = 1.0
            s.shorts += 1.0
            s.short_recovery_mAh = 1e9
            s.short_switch_s = -plan.on_s * safe_log(uniform(s))
        grown = 1.0
        if t_s - plan.short_from_s < plan.grows_s:
            grown = (t_s - plan.short_from_s + 1.0) / (plan.grows_s + 1.0)
        s.short_Ohm = plan.short_Ohm / grown
    else:
        s.short_level = 0.0


def wave(turns: float) -> float:
    """Return a triangle wave between -1 and 1. Kernel."""
    return 4.0 * math.fabs(turns - safe_floor(turns) - 0.5) - 1.0


def next_phase(plan: Plan, phase: int, phase_s: float, phase_mAh: float, voltage_V: float) -> int:
    """Return the phase after a second of this one. Kernel."""
    if phase == CHARGE:
        if phase_mAh >= plan.most_charge_mAh:
            return REST_CHARGED
        return HOLD if voltage_V >= plan.upper_V else CHARGE
    if phase == REST_CHARGED:
        if phase_s < plan.rest_charged_s:
            return REST_CHARGED
        return STRIP if plan.strip_mAh > 0.0 else DISCHARGE
    if phase == STRIP:
        ended = phase_mAh >= plan.strip_mAh or voltage_V <= plan.lower_V
        return DISCHARGE if ended else STRIP
    if phase == DISCHARGE:
        # after a larger current the voltage comes back within seconds
        ended = voltage_V <= plan.lower_V and phase_s > 5.0
        return REST_DISCHARGED if ended or phase_mAh >= plan.most_discharge_mAh else DISCHARGE
    if phase == REST_DISCHARGED:
        return DONE if phase_s >= plan.rest_discharged_s else REST_DISCHARGED
    return phase


def phase_current_A(plan: Plan, phase: int) -> float:
    """Return the current (A) of a phase at constant current. Kernel."""
    if phase == CHARGE:
        return plan.charge_A
    if phase == STRIP:
        return -plan.strip_A
    return -plan.discharge_A if phase == DISCHARGE else 0.0


def run_cycle(  # noqa: PLR0913, PLR0917 -- a loop's whole world
    s: Any, p: Any, plan: Any, w: Any, noises: Any, at: int, start_s: float, out: Any
) -> float:
    """Take a cell through one cycle; return the time it took (s).

    `out` gets charge and discharge (mAh), the leak (mAh), the phase it ended in (`DONE`, unless
    the cell never came to an end) and the mean temperature (K).
    """
    phase = CHARGE
    current_A = plan.charge_A
    phase_s = 0.0
    phase_mAh = 0.0
    charge_mAh = 0.0
    discharge_mAh = 0.0
    leaked_mAh = 0.0
    sum_K = 0.0
    t_s = 0.0
    count = len(noises)
    for index in range(LONGEST_S):
        place_short(s, plan, t_s)
        ambient_K = plan.ambient_K if t_s < plan.ambient_at_s else plan.ambient_to_K
        voltage_V = step(s, p, current_A, 1.0, ambient_K)
        t_s += 1.0
        sum_K += s.temperature_K
        phase_s += 1.0
        leaked_mAh += math.fabs(s.leak_A) / COULOMB_PER_MAH
        passed_mAh = math.fabs(current_A) / COULOMB_PER_MAH
        phase_mAh += passed_mAh
        if current_A > 0.0:
            charge_mAh += passed_mAh
        else:
            discharge_mAh += passed_mAh
        place = (at + 2 * index) % (count - 1)
        read_V = voltage_V + plan.noise_V * noises[place + 1]
        read_V += plan.wander_V * wave((start_s + t_s) / WANDER_S)
        w.temperature_K = s.temperature_K
        observe(w, start_s + t_s, current_A + plan.noise_A * noises[place], read_V)
        if phase == HOLD:
            slope_Ohm = 2.0 * (s.resistance_Ohm + s.film_Ohm)
            current_A = min(current_A - (voltage_V - plan.upper_V) / slope_Ohm, plan.charge_A)
            after = REST_CHARGED if current_A <= plan.taper_A or phase_s > LONGEST_HOLD_S else HOLD
        else:
            after = next_phase(plan, phase, phase_s, phase_mAh, voltage_V)
        if after == DONE:
            phase = after
            break
        if after != phase:
            phase = after
            phase_s = 0.0
            phase_mAh = 0.0
            if phase != HOLD:
                current_A = phase_current_A(plan, phase)
    out[0] = charge_mAh
    out[1] = discharge_mAh
    out[2] = leaked_mAh
    out[3] = float(phase)
    out[4] = sum_K / t_s
    return t_s


@functools.lru_cache(maxsize=2)
def runner(*, compiled: bool | None = None) -> Callable[..., float]:
    """Return `run_cycle`, compiled where numba is."""
    entry = Entry(
        function=run_cycle,
        arguments=(
            record_of(blank_state()),
            Record(kind=CellParameters),
            record_of(Plan()),
            record_of(ShortWatch()),
            Array(of=float),
            int,
            float,
            Array(of=float),
        ),
    )
    return build([entry], compiled=available() if compiled is None else compiled)[0]


class WatchedCell:
    """A cell of the plant with its readings and the detector's memory.

    Parameters
    ----------
    parameters : CellParameters
    seed : int
        Of the readings' noise and of when shorts switch.
    """

    def __init__(self, parameters: CellParameters, *, seed: int) -> None:
        self._parameters = parameters
        self._fixed = records.records(parameters)
        s = blank_state()
        begin(s, parameters, AMBIENT_K, float(seed))
        self._state = records.records(s)
        self._watch = records.records(ShortWatch())
        random = np.random.default_rng([seed, 5])
        self._noises = random.standard_normal(NOISES)
        self._random = random
        self.time_s = 0.0
        self.temperature_K = AMBIENT_K
        self.charge_mAh = self.discharge_mAh = self.leaked_mAh = 0.0

    def run(self, plan: Plan) -> bool:
        """Run one cycle; return whether it came to an end."""
        out = np.zeros(5)
        self._fixed[0]["short_on_s"], self._fixed[0]["short_off_s"] = plan.on_s, plan.off_s
        self.time_s += runner()(
            self._state[0],
            self._fixed[0],
            records.records(plan)[0],
            self._watch[0],
            self._noises,
            int(self._random.integers(NOISES)),
            self.time_s,
            out,
        )
        self.charge_mAh, self.discharge_mAh, self.leaked_mAh = map(float, out[:3])
        self.temperature_K = float(out[4])
        return bool(out[3] == DONE)

    def change(self, **values: float) -> None:
        """Change parameters of the cell in mid-life."""
        for name, value in values.items():
            self._fixed[0][name] = value
        s = self.state()
        refresh_transport(s, records.from_record(CellParameters, self._fixed[0]))
        records.to_record(s, self._state[0])

    def watch(self) -> ShortWatch:
        """Return the detector's memory."""
        return records.from_record(ShortWatch, self._watch[0])

    def put(self, watch: ShortWatch) -> None:
        """Give the detector's memory back."""
        records.to_record(watch, self._watch[0])

    def state(self) -> CellState:
        """Return the cell's own state."""
        return records.from_record(CellState, self._state[0])


# -- lives ----------------------------------------------------------------------------------------

FORMATS: Final = {
    "anode-free": CellFormat.ANODE_FREE,
    "anode-free-lfp": CellFormat.ANODE_FREE,
    "excess-lithium": CellFormat.EXCESS_LITHIUM,
    "li-cu": CellFormat.LI_CU,
    "li-li": CellFormat.LI_LI,
}
# What a cycle may be besides plain, and how often of those.
TREATMENTS: Final = {
    "charged rest": 0.16,
    "discharged rest": 0.16,
    "fast strip": 0.2,
    "temperature step": 0.2,
    "rate step": 0.2,
    "reference test": 0.08,
}
PLAIN_AT_FIRST: Final = 4
STEADY_ON_S: Final = 1e9
FULL_CELL_V: Final = 3.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Short:
    """A short to be put in.

    Attributes
    ----------
    leak : float
        Wanted, as a share of the nominal capacity in its first cycle.
    telegraph : bool
        It switches; otherwise it conducts all the time.
    lasts_s : float
    grows_s : float
        Over which it grows to all of it; 0: it is there at once.
    """

    leak: float
    telegraph: bool
    lasts_s: float
    grows_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedCycle:
    """What one cycle was and what the detector saw.

    Attributes
    ----------
    kind : str
        ``plain`` or one of `TREATMENTS`.
    figures : ShortFigures
    leak : float
        Through the short, as a share of nominal capacity: the truth.
    shorted : bool
        A short was there, or had been in the cycle before.
    depleted_s : float
        How long an electrode was out of salt in it: another failure than a short.
    """

    kind: str
    figures: ShortFigures
    leak: float
    shorted: bool
    depleted_s: float


def drawn_cell(name: str, seed: int) -> CellParameters:
    """Return a drawn cell that makes no shorts of its own."""
    return replace(draw_cell(load_cell(name), seed), short_hazard_per_mAh_per_cm2=0.0)


def base_plan(p: CellParameters, cell_format: CellFormat, random: np.random.Generator) -> Plan:
    """Draw how a cell is cycled and how its voltage is read."""
    plan = Plan()
    nominal_A = p.nominal_capacity_mAh * 1e-3
    plan.most_charge_mAh = LONGEST_CHARGE * p.nominal_capacity_mAh
    plan.charge_A = float(random.choice([1 / 3, 0.5, 0.7])) * nominal_A
    plan.discharge_A = float(random.choice([1 / 3, 0.5, 0.7])) * nominal_A
    plan.taper_A = nominal_A / 20.0
    plan.rest_charged_s = plan.rest_discharged_s = float(random.choice([600.0, 1200.0]))
    if cell_format is CellFormat.LI_CU:
        plan.most_charge_mAh = p.nominal_capacity_mAh
        plan.most_discharge_mAh = 1.1 * p.nominal_capacity_mAh
        plan.upper_V, plan.lower_V = 5.0, -1.0
    elif cell_format is CellFormat.LI_LI:
        plan.most_charge_mAh = plan.most_discharge_mAh = p.nominal_capacity_mAh
        plan.upper_V, plan.lower_V = 5.0, -5.0
    elif p.cathode_kind == LFP:
        plan.upper_V, plan.lower_V = 3.8, 2.5
    plan.noise_V = float(np.exp(random.uniform(np.log(5e-5), np.log(2e-4))))
    plan.noise_A = 1e-5 * nominal_A
    plan.wander_V = float(random.uniform(0.0, 1e-4))
    return plan


def treated(plan: Plan, p: CellParameters, random: np.random.Generator, share: float) -> str:
    """Change a cycle's plan into that of a treatment, or leave it plain; return which."""
    names = ["plain", *TREATMENTS]
    odds = [1.0 - share, *(share * part for part in TREATMENTS.values())]
    kind = str(random.choice(names, p=odds))
    nominal_A = p.nominal_capacity_mAh * 1e-3
    if kind == "charged rest":
        plan.rest_charged_s = float(random.uniform(1.0, 12.0)) * SECONDS_PER_HOUR
    elif kind == "discharged rest":
        plan.rest_discharged_s = float(random.uniform(1.0, 12.0)) * SECONDS_PER_HOUR
    elif kind == "fast strip":
        plan.strip_A = float(random.uniform(1.0, 3.0)) * nominal_A
        plan.strip_mAh = float(random.uniform(0.1, 0.4)) * p.nominal_capacity_mAh
    elif kind == "temperature step":
        plan.ambient_to_K = AMBIENT_K + float(random.uniform(-8.0, 12.0))
        plan.ambient_at_s = float(random.uniform(0.0, 5.0)) * SECONDS_PER_HOUR
    elif kind == "rate step":
        plan.charge_A *= float(random.choice([0.5, 0.7, 1.4, 2.0]))
        plan.discharge_A *= float(random.choice([0.5, 0.7, 1.4, 2.0]))
    elif kind == "reference test":
        plan.charge_A = plan.discharge_A = nominal_A / 20.0
        plan.rest_charged_s = 3600.0
    return kind


def watched_life(
    name: str, seed: int, cycles: int, short: Short | None = None, treated_share: float = 0.5
) -> list[WatchedCycle]:
    """Cycle a drawn cell; a short begins somewhere in the last cycle but one.

    Parameters
    ----------
    name : str
        One of `FORMATS`.
    seed : int
    cycles : int
        At most: a cell that gives less than 0.3 of its nominal capacity is not cycled on.
    short : Short, optional
    treated_share : float
        Of the cycles after the first four.
    """
    random = np.random.default_rng([seed, 11])
    p = drawn_cell(name, seed)
    base = base_plan(p, FORMATS[name], random)
    cell = WatchedCell(p, seed=seed)
    ambient_K = AMBIENT_K
    done: list[WatchedCycle] = []
    left_s = 0.0
    for number in range(cycles):
        plan = copy.copy(base)
        plan.ambient_K = plan.ambient_to_K = ambient_K + float(random.normal(0.0, 0.3))
        kind = "plain"
        if number >= PLAIN_AT_FIRST:
            kind = treated(plan, p, random, treated_share)
        ambient_K = plan.ambient_to_K if kind == "temperature step" else ambient_K
        if kind == "rate step" and random.random() < 0.3:
            base.charge_A, base.discharge_A = plan.charge_A, plan.discharge_A
        if short is not None and number == cycles - 2:
            _put_in(base, short, done[-1].figures, p, FORMATS[name], random)
            plan.short_from_s = (
                float(random.uniform(0.05, 0.7)) * done[-1].figures.hours * SECONDS_PER_HOUR
            )
            plan.grows_s = short.grows_s
            left_s = short.lasts_s
        elif left_s > 0.0:
            plan.short_from_s = 0.0
        if left_s > 0.0:
            plan.short_to_s = plan.short_from_s + left_s
            plan.short_Ohm, plan.on_s, plan.off_s = base.short_Ohm, base.on_s, base.off_s
        before_s, depleted_s = cell.time_s, cell.state().depleted_s
        ended = cell.run(plan)
        if left_s > 0.0:
            left_s -= cell.time_s - before_s - plan.short_from_s
        watch = cell.watch()
        figures = close_cycle(
            watch,
            charge_Ah=1e-3 * cell.charge_mAh,
            discharge_Ah=1e-3 * cell.discharge_mAh,
            temperature_K=cell.temperature_K,
        )
        cell.put(watch)
        done.append(
            WatchedCycle(
                kind=kind,
                figures=figures,
                leak=cell.leaked_mAh / p.nominal_capacity_mAh,
                depleted_s=cell.state().depleted_s - depleted_s,
                shorted=short is not None and number >= cycles - 2,
            )
        )
        if not ended or cell.discharge_mAh < WORN_OUT * p.nominal_capacity_mAh:
            break
    return done


def _put_in(
    plan: Plan,
    short: Short,
    last: ShortFigures,
    p: CellParameters,
    cell_format: CellFormat,
    random: np.random.Generator,
) -> None:
    """Choose resistance and switching so that about the wanted charge leaks in a cycle."""
    on_s, off_s = (float(np.exp(random.uniform(np.log(2.0), np.log(300.0)))) for _ in range(2))
    if not short.telegraph:
        on_s, off_s = STEADY_ON_S, 1.0
    mean_V = FULL_CELL_V
    if cell_format in {CellFormat.LI_CU, CellFormat.LI_LI}:
        mean_V = last.polarised_Ohm * 0.5 * (last.charge_A + last.discharge_A)
    time_s = min(short.lasts_s, last.hours * SECONDS_PER_HOUR)
    charge_C = short.leak * p.nominal_capacity_mAh * COULOMB_PER_MAH
    plan.short_Ohm = mean_V * on_s / (on_s + off_s) * time_s / charge_C
    plan.on_s, plan.off_s = on_s, off_s
