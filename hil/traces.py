"""Discharges of simulated lives as an instrument reads them, for scoring forecasts and ends.

On `hil.lives`: a life's readings of each discharge at a fixed interval, the charges of the
instrument's own counter, and what ended the discharge. Cell, instrument, interval and programme of
a life are drawn by its seed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hil.cell import load_cell
from hil.draws import draw_cell
from hil.lives import ENDS, Life, LoggedLife
from hil.logger import Numbers, fixed_sampling
from hil.programmes import FORMATS, CyclePlan, drawn_programme, largest_A
from hil.readings import keithley_reading

FAMILIES: Final = ("lhce", "hce", "dilute-ether", "carbonate")
INTERVALS_S: Final = (5.0, 10.0, 30.0)
WORN_OUT: Final = 0.1  # of nominal capacity: a life ends with a discharge below this


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedCycle:
    """The discharge of one cycle as read and as it was; charge in Ah, magnitudes.

    Attributes
    ----------
    kind : str
        What the forecast calls it: ``base``, ``anchor``, ``reference``, ``treatment``.
    interval_s : float
        Between readings.
    charge_Ah, discharge_Ah : float
        As the instrument counts them: all of the half cycle.
    true_charge_Ah, true_discharge_Ah : float
    t_s, current_A, voltage_V : ndarray, shape (n,)
        Readings of the discharge (negative current), its hold included; time since it began.
    held : ndarray of bool, shape (n,)
        Readings taken while the voltage was held.
    true_end : str
        One of `hil.lives.ENDS`.
    """

    kind: str
    interval_s: float
    charge_Ah: float
    discharge_Ah: float
    true_charge_Ah: float
    true_discharge_Ah: float
    t_s: Numbers
    current_A: Numbers
    voltage_V: Numbers
    held: NDArray[np.bool_]
    true_end: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedLife:
    """The discharges of a life.

    Attributes
    ----------
    cell : str
        Name of the cell's file or of the plant.
    nominal_Ah, lower_V, upper_V : float
    cycles : list of TracedCycle
    """

    cell: str
    nominal_Ah: float
    lower_V: float
    upper_V: float
    cycles: list[TracedCycle]


def kind_of(plan: CyclePlan) -> str:
    """Return what the forecast calls a cycle, as the program does."""
    if plan.treatment:
        return "treatment"
    return "anchor" if plan.anchored and plan.kind == "base" else plan.kind.value


def trace(life: LoggedLife, plan: CyclePlan, interval_s: float) -> TracedCycle:
    """Live one cycle and return its discharge, which has to follow another step.

    The life's sampling has to be `hil.logger.fixed_sampling` of the same interval.
    """
    logged = life.run(plan)
    read = life.reader.read(plan, logged.rows, life.number)
    discharging = [index for index, step in enumerate(plan.steps) if step.ends_discharge]
    chosen = np.isin(read.leg, discharging)
    start_s = read.t_s[np.flatnonzero(read.leg < discharging[0])[-1]]
    charge_Ah, discharge_Ah = life.reader.counted_Ah(plan, logged.took_s, logged.passed_mAh)
    return TracedCycle(
        kind=kind_of(plan),
        interval_s=interval_s,
        charge_Ah=charge_Ah,
        discharge_Ah=discharge_Ah,
        true_charge_Ah=1e-3 * logged.truth.charge_mAh,
        true_discharge_Ah=1e-3 * logged.truth.discharge_mAh,
        t_s=read.t_s[chosen] - start_s,
        current_A=read.current_A[chosen],
        voltage_V=read.voltage_V[chosen],
        held=read.held[chosen],
        true_end=ENDS[logged.truth.end],
    )


def traced(
    life: LoggedLife, plans: Iterable[CyclePlan], interval_s: float, *, least_Ah: float = 0.0
) -> list[TracedCycle]:
    """Take a life through a programme, or to the first discharge that is not above `least_Ah`."""
    cycles = []
    for plan in plans:
        cycles.append(trace(life, plan, interval_s))
        if not cycles[-1].true_discharge_Ah > least_Ah:
            break
    return cycles


def draw_life(cell_name: str, seed: int, cycles: int) -> TracedLife:
    """Trace a life whose cell, instrument, interval and programme are drawn by its seed."""
    random = np.random.default_rng([seed, 4711])
    family = FAMILIES[int(random.integers(len(FAMILIES)))]
    parameters = draw_cell(replace(load_cell(cell_name), family=family), seed)
    nominal_Ah = 1e-3 * parameters.nominal_capacity_mAh
    how = FORMATS[cell_name]
    plans = drawn_programme(random, how, nominal_Ah, cycles)
    interval_s = INTERVALS_S[int(random.integers(len(INTERVALS_S)))]
    life = Life(
        parameters,
        seed=seed,
        reading=keithley_reading(seed, largest_A(plans), ranging=True),
        sampling=fixed_sampling(interval_s),
    )
    return TracedLife(
        cell=cell_name,
        nominal_Ah=nominal_Ah,
        lower_V=how.lower_V,
        upper_V=how.upper_V,
        cycles=traced(life, plans, interval_s, least_Ah=WORN_OUT * nominal_Ah),
    )
