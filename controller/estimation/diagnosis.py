"""Why a cell fails: modes with probabilities, and the figures that decided.

A table of log-odds (naive Bayes): each symptom has, under each mode, an expected value and a
spread; the probability of a mode is the product. Symptoms are taken from what the cycles showed
(`Shown`: of a run by `shown_in_run`, of a watched series by `shown_by`), each against the cell's
own first cycles. All numbers of the table are assumed, within a factor of two in spread; they were
set on drawn cells of the plant (seeds below 10,000) whose failure was put in, and are scored on
other seeds (`scripts/diagnosis_score.py`).

Symptoms are not independent, as the table takes them to be; so the sum of the log-odds is divided
by `TEMPER`, which is calibrated too. What lies far from every mode, and what has too few cycles, is
`CANNOT_TELL`, a mode of its own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from statistics import median
from types import MappingProxyType
from typing import Final, NamedTuple

from controller.domain.cell import CellFormat
from controller.domain.figures import MISREAD, CycleFigures, CycleKind
from controller.domain.sample import NAN
from controller.estimation.short_watch import ShortFigures
from controller.estimation.shorts import ShortMemory, follow


class Mode(StrEnum):
    """How a cell fails, or does not."""

    HEALTHY = "healthy"
    SOFT_SHORT = "soft short"
    HARD_SHORT = "hard short"
    SUDDEN_DEATH = "sudden death"
    GRADUAL_DECAY = "gradual decay"
    SALT_DEPLETION = "salt depletion"
    CONTACT = "contact"
    CANNOT_TELL = "cannot tell"


# Fewer cycles than this say nothing of a trend. Assumed, 6 to 10.
LEAST_CYCLES: Final = 6
FIRST_CYCLES: Final = slice(1, 5)  # what the cell was like; the very first is formation
# Fewer cycles before those over which a fade is taken say nothing of how fast it was. Assumed, 3-8.
LEAST_BEFORE: Final = 3
RECENT: Final = 5  # cycles over which a present fade is taken
# At another current than the last cycles' a cell gives and answers otherwise: such cycles are not
# compared. Assumed, 10-30 %.
SAME_RATE: Final = 0.2
# Flags of a run's cycles that say nothing of how the cell fares.
CUT_SHORT: Final = MISREAD | {"treatment-abandoned", "gap", "time-reset"}
SURE_LOG_ODDS: Final = 10.0  # of a short; more says no more
# A symptom further than this from what a mode expects counts no more (in spreads). Assumed, 3-5.
FARTHEST: Final = 4.0
TEMPER: Final = 2.0  # symptoms tell partly the same. Assumed, 1.5 to 3
# Below this the most probable mode is not named. Assumed, 0.5-0.8.
LEAST_PROBABILITY: Final = 0.7
# Mean squared distance beyond which no mode explains the symptoms. Assumed, 4-9.
UNEXPLAINED: Final = 6.0
LEAST_SYMPTOMS: Final = 3


# What a mode is known by: where it is not seen, the mode may be so, but is not named.
OWN_SIGN: Final = MappingProxyType(
    {
        Mode.SOFT_SHORT: "short",
        Mode.SALT_DEPLETION: "ohmic_growth",
        Mode.CONTACT: "ohmic_step",
    }
)


class Shown(NamedTuple):
    """What one cycle showed; NaN where it showed nothing.

    Attributes
    ----------
    charge_Ah, discharge_Ah : float
        Magnitudes.
    capacity_Ah : float
        Discharged in the way of every cycle, without what is taken below it on top.
    discharge_A : float
        Largest mean of a second; 0 where nothing was discharged.
    first_second_Ohm, slow_Ohm : float
        Of the first step from rest into discharge: in its first second, and what 5 min add.
    short_log_odds : float
        That the cycle shows a soft short (`shorts.judge`).
    """

    charge_Ah: float
    discharge_Ah: float
    capacity_Ah: float
    discharge_A: float
    first_second_Ohm: float
    slow_Ohm: float
    short_log_odds: float


class Symptoms(NamedTuple):
    """What a course of cycles shows; NaN where it does not.

    Attributes
    ----------
    fade : float
        Capacity lost a cycle over the last `RECENT` cycles, as a share of nominal; logarithm to
        base 10 of 1e-4 plus it.
    quickened : float
        The same less what was lost a cycle before; NaN with too few cycles before.
    left : float
        Capacity of the last cycle over that of the first ones.
    short : float
        Log-odds of a soft short, the largest of the last three cycles (`shorts.judge`).
    efficiency : float
        Discharge over charge, median of the last three.
    ohmic_step : float
        Largest change from one cycle to the next of the logarithm of the first second's resistance.
    ohmic_growth : float
        Logarithm of that resistance over the first cycles', without the step.
    slow_growth : float
        The same for what 5 min of discharge add beyond the first second.
    """

    fade: float
    quickened: float
    left: float
    short: float
    efficiency: float
    ohmic_step: float
    ohmic_growth: float
    slow_growth: float


class Expected(NamedTuple):
    """A symptom under a mode: middle and spread."""

    middle: float
    spread: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """A mode, the probability of each, and why.

    Attributes
    ----------
    mode : Mode
        The most probable one, or `CANNOT_TELL`.
    probabilities : mapping of Mode to float
        They sum to 1; `CANNOT_TELL` has all of it where nothing can be said.
    evidence : tuple of str
        With figures, what decided first.
    symptoms : Symptoms or None
    """

    mode: Mode
    probabilities: Mapping[Mode, float]
    evidence: tuple[str, ...]
    symptoms: Symptoms | None


def shown_by(
    figures: Sequence[ShortFigures], cell_format: CellFormat, nominal_capacity_Ah: float
) -> list[Shown]:
    """Return what the cycles of a watched series showed, oldest first."""
    memory = ShortMemory()
    return [
        Shown(
            charge_Ah=one.charge_Ah,
            discharge_Ah=one.discharge_Ah,
            capacity_Ah=one.discharge_Ah,
            discharge_A=one.discharge_A,
            first_second_Ohm=one.first_Ohm,
            slow_Ohm=one.late_Ohm - one.first_Ohm,
            short_log_odds=follow(memory, one, cell_format, nominal_capacity_Ah).log_odds,
        )
        for one in figures
    ]


def shown_in_run(cycles: Sequence[CycleFigures]) -> list[Shown]:
    """Return what the base cycles of a run showed, without those cut short or misread.

    An anchor's hold is left out of the capacity; a strip or a control is part of it, but its
    current and its step into discharge are not every cycle's.
    """
    out = []
    for one in cycles:
        if one.kind is not CycleKind.BASE or CUT_SHORT & set(one.flags):
            continue
        moved = one.treatment_net_charge_Ah != 0.0
        out.append(
            Shown(
                charge_Ah=one.charge_Ah,
                discharge_Ah=one.discharge_Ah,
                capacity_Ah=one.base_discharge_Ah + one.treatment_net_charge_Ah,
                discharge_A=one.discharge_A,
                first_second_Ohm=NAN if moved else one.first_second_Ohm,
                slow_Ohm=NAN if moved else one.slow_Ohm,
                short_log_odds=_log_odds(one.soft_short_probability),
            )
        )
    return out


def _log_odds(probability: float) -> float:
    least = math.exp(-SURE_LOG_ODDS)
    inside = min(max(probability, least), 1.0 - least)  # NaN stays
    return math.log(inside / (1.0 - inside))


def _at_the_last_rate(cycles: Sequence[Shown]) -> list[Shown]:
    """Return the cycles that discharged as the last ones did, or not at all."""
    last_A = [one.discharge_A for one in cycles if one.discharge_A > 0.0][-RECENT:]
    if not last_A:
        return list(cycles)
    rate_A = median(last_A)
    return [
        one
        for one in cycles
        if one.discharge_A <= 0.0 or abs(one.discharge_A - rate_A) <= SAME_RATE * rate_A
    ]


def symptoms(cycles: Sequence[Shown], nominal_capacity_Ah: float) -> Symptoms:
    """Return what a course of cycles at one rate shows, oldest first."""
    capacity = [one.capacity_Ah / nominal_capacity_Ah for one in cycles]
    first = median(capacity[FIRST_CYCLES])
    recent = _fade(capacity[-1 - RECENT :])
    earlier = _fade_before(capacity[1:-RECENT])
    last = [one.discharge_Ah / one.charge_Ah for one in cycles[-3:] if one.charge_Ah > 0.0]
    ohmic = [one.first_second_Ohm for one in cycles]
    step = _largest_step(ohmic)
    growth = _growth(ohmic)
    short = [one.short_log_odds for one in cycles[-3:] if one.short_log_odds == one.short_log_odds]
    return Symptoms(
        fade=math.log10(1e-4 + recent),
        quickened=math.log10(1e-4 + recent) - math.log10(1e-4 + earlier),
        left=capacity[-1] / first if first > 0.0 else NAN,
        short=min(max(short), SURE_LOG_ODDS) if short else NAN,
        efficiency=median(last) if last else NAN,
        ohmic_step=step,
        ohmic_growth=growth - step,
        slow_growth=_growth([one.slow_Ohm for one in cycles]),
    )


def _fade(capacity: Sequence[float]) -> float:
    """Return what is lost a cycle, at least 0, from the first two cycles to the last two.

    In pairs, because a treatment may give back in every other cycle what the one before had lost.
    """
    lost = sum(capacity[:2]) - sum(capacity[-2:])
    return max(0.5 * lost, 0.0) / (len(capacity) - 2)


def _fade_before(capacity: Sequence[float]) -> float:
    """Return what was usually lost a cycle, at least 0; NaN of a course too short to tell.

    In the median: a slow check in between gives some of it back, treatments in every other cycle.
    """
    if len(capacity) < LEAST_BEFORE:
        return NAN
    return max(median(first - then for first, then in pairwise(capacity)), 0.0)


def _growth(values: Sequence[float]) -> float:
    """Return the logarithm of the last values over the first; NaN where there are none."""
    first = [one for one in values[FIRST_CYCLES] if one > 0.0]
    last = [one for one in values[-3:] if one > 0.0]
    return math.log(median(last) / median(first)) if first and last else NAN


def _largest_step(values: Sequence[float]) -> float:
    """Return the largest lasting change of the logarithm between two pairs of cycles, signed."""
    logs = [math.log(one) if one > 0.0 else NAN for one in values[1:]]
    steps = [
        min(logs[k], logs[k + 1]) - max(logs[k - 1], logs[k - 2])
        for k in range(2, len(logs) - 1)
        if all(map(math.isfinite, logs[k - 2 : k + 2]))  # a pair of which one is missing is none
    ]
    return max(*steps, 0.0) if steps else NAN


def diagnose(
    cycles: Sequence[Shown], cell_format: CellFormat, nominal_capacity_Ah: float
) -> Diagnosis:
    """Say how a cell fails.

    Parameters
    ----------
    cycles : sequence of Shown
        All of the cell's, oldest first (`shown_in_run`, `shown_by`). Those at another current than
        the last ones' are left out.
    cell_format : CellFormat
    nominal_capacity_Ah : float
    """
    alike = _at_the_last_rate(cycles)
    if len(alike) < LEAST_CYCLES:
        at = " at the last current" if len(alike) < len(cycles) else ""
        cycles_word = "1 cycle" if len(alike) == 1 else f"{len(alike)} cycles"
        return _cannot_tell(f"{cycles_word}{at}; a trend needs {LEAST_CYCLES}", None)
    found = symptoms(alike, nominal_capacity_Ah)
    known = [name for name in Symptoms._fields if _counts(name, getattr(found, name), cell_format)]
    if len(known) < LEAST_SYMPTOMS:
        return _from_the_short_alone(found)
    weights = {
        mode: _log_likelihood(found, table, known)
        for mode, table in TABLE.items()
        # nothing is sudden that had no time to be otherwise
        if mode is not Mode.SUDDEN_DEATH or "quickened" in known
    }
    best = max(weights.values())
    odds = {mode: math.exp((weight - best) / TEMPER) for mode, weight in weights.items()}
    total = sum(odds.values())
    probabilities = {mode: odds.get(mode, 0.0) / total for mode in TABLE}
    mode = max(probabilities, key=lambda one: probabilities[one])
    distance = sum(_distance(found, TABLE[mode], name) ** 2 for name in known) / len(known)
    words = _evidence(found, mode, known)
    if distance > UNEXPLAINED:
        return _cannot_tell(
            f"no mode explains what is seen; {mode.value} is nearest", found, *words
        )
    sure = probabilities[mode] >= LEAST_PROBABILITY and OWN_SIGN.get(mode, "left") in known
    named = mode if sure else Mode.CANNOT_TELL
    return Diagnosis(
        mode=named,
        probabilities=MappingProxyType({**probabilities, Mode.CANNOT_TELL: 0.0}),
        evidence=words if sure else (_undecided(probabilities), *words),
        symptoms=found,
    )


def _undecided(probabilities: Mapping[Mode, float]) -> str:
    """Say which modes are nearest where none is named."""
    first, second = sorted(probabilities, key=lambda one: -probabilities[one])[:2]
    if probabilities[first] >= LEAST_PROBABILITY:
        return "what is nearest cannot be named, because what it is known by could not be seen"
    return (
        f"none is probable enough: {first.value} {probabilities[first]:.2f}, "
        f"{second.value} {probabilities[second]:.2f}"
    )


def _from_the_short_alone(found: Symptoms) -> Diagnosis:
    """Say whether there is a soft short where nothing else can be seen."""
    if not found.short > 0.0:
        return _cannot_tell("too few symptoms to be seen in this format and record", found)
    probability = 1.0 / (1.0 + math.exp(-found.short))
    none: dict[Mode, float] = dict.fromkeys(Mode, 0.0)
    return Diagnosis(
        mode=Mode.SOFT_SHORT,
        probabilities=MappingProxyType(
            {**none, Mode.SOFT_SHORT: probability, Mode.CANNOT_TELL: 1.0 - probability}
        ),
        evidence=(f"a soft short is likely (log-odds {found.short:+.1f}); nothing else is seen",),
        symptoms=found,
    )


def _counts(name: str, value: float, cell_format: CellFormat) -> bool:
    """Return whether a symptom says anything in a format: capacity is set where charge ends it."""
    by_charge = cell_format is CellFormat.LI_LI
    return math.isfinite(value) and not (
        by_charge and name in {"fade", "quickened", "left", "efficiency"}
    )


def _distance(found: Symptoms, table: Mapping[str, Expected], name: str) -> float:
    expected = table[name]
    value: float = getattr(found, name)
    return (value - expected.middle) / expected.spread


def _log_likelihood(found: Symptoms, table: Mapping[str, Expected], known: Sequence[str]) -> float:
    total = 0.0
    for name in known:
        away = min(abs(_distance(found, table, name)), FARTHEST)
        total -= 0.5 * away * away + math.log(table[name].spread)
    return total


def _cannot_tell(words: str, found: Symptoms | None, *more: str) -> Diagnosis:
    return Diagnosis(
        mode=Mode.CANNOT_TELL,
        probabilities=MappingProxyType(
            {mode: 1.0 if mode is Mode.CANNOT_TELL else 0.0 for mode in Mode}
        ),
        evidence=(words, *more),
        symptoms=found,
    )


def _evidence(found: Symptoms, mode: Mode, known: Sequence[str]) -> tuple[str, ...]:
    """Say the symptoms, first those that speak for the mode most against all others."""
    first_second = "resistance of the first second"
    texts = {
        "fade": f"loses {100 * max(10**found.fade - 1e-4, 0.0):.2g} % of nominal capacity a cycle",
        "quickened": f"fades {10**found.quickened:.2g} times as fast as before",
        "left": f"{100 * found.left:.3g} % of its first capacity left",
        "short": f"a soft short is {'likely' if found.short > 0.0 else 'unlikely'} "
        f"(log-odds {found.short:+.1f})",
        "efficiency": f"discharge over charge {100 * found.efficiency:.4g} %",
        "ohmic_step": f"{first_second}, largest step up: {_percent(found.ohmic_step)}",
        "ohmic_growth": f"{first_second}, without that step: {_percent(found.ohmic_growth)}",
        "slow_growth": f"slow polarisation: {_percent(found.slow_growth)}",
    }

    def speaks(name: str) -> float:
        own = _one(found, TABLE[mode], name)
        return own - max(_one(found, TABLE[other], name) for other in TABLE if other is not mode)

    def spread(name: str) -> float:
        own = _one(found, TABLE[mode], name)
        others = [_one(found, TABLE[other], name) for other in TABLE if other is not mode]
        return own - sum(others) / len(others)

    return tuple(texts[name] for name in sorted(known, key=lambda n: (-spread(n), -speaks(n))))


def _one(found: Symptoms, table: Mapping[str, Expected], name: str) -> float:
    return _log_likelihood(found, table, (name,))


def _percent(logarithm: float) -> str:
    return f"{100 * math.expm1(logarithm):+.0f} %"


# Rows: mode; columns: symptom, as middle and spread. Set as the module says (20 lives a mode).
_MIDDLES_AND_SPREADS: Final[Mapping[Mode, tuple[tuple[float, float], ...]]] = {
    Mode.HEALTHY: (
        (-4.0, 0.3),
        (0.0, 0.4),
        (1.0, 0.06),
        (-7.0, 2.5),
        (0.98, 0.021),
        (0.0062, 0.04),
        (0.013, 0.1),
        (0.0, 0.1),
    ),
    Mode.SOFT_SHORT: (
        (-3.6, 0.72),
        (0.38, 0.63),
        (0.97, 0.06),
        (10.0, 2.5),
        (0.91, 0.036),
        (0.0071, 0.04),
        (0.0, 0.1),
        (-0.049, 0.1),
    ),
    Mode.HARD_SHORT: (
        (-0.92, 0.3),
        (3.1, 0.4),
        (0.0, 0.06),
        (10.0, 6.4),
        (0.98, 0.021),
        (0.0, 0.04),
        (0.0, 0.1),
        (0.0, 0.1),
    ),
    Mode.SUDDEN_DEATH: (
        (-1.3, 0.41),
        (2.6, 0.4),
        (0.71, 0.13),
        (-7.0, 2.5),
        (0.91, 0.045),
        (0.019, 0.04),
        (0.11, 0.11),
        (0.024, 0.1),
    ),
    Mode.GRADUAL_DECAY: (
        (-1.7, 0.3),
        (-0.12, 1.1),
        (0.68, 0.23),
        (-7.0, 2.5),
        (0.93, 0.033),
        (0.016, 0.04),
        (0.044, 0.1),
        (0.0082, 0.1),
    ),
    Mode.SALT_DEPLETION: (
        (-0.96, 1.7),
        (2.5, 1.8),
        (0.11, 0.54),
        (-2.2, 7.4),
        (0.97, 0.11),
        (0.31, 0.21),
        (0.66, 0.26),
        (0.013, 0.27),
    ),
    Mode.CONTACT: (
        (-4.0, 0.33),
        (0.0, 0.4),
        (1.0, 0.06),
        (-7.0, 2.5),
        (0.98, 0.021),
        (0.67, 0.31),
        (0.015, 0.1),
        (-0.018, 0.1),
    ),
}
TABLE: Final[Mapping[Mode, Mapping[str, Expected]]] = MappingProxyType(
    {
        mode: MappingProxyType(
            {
                name: Expected(middle, spread)
                for name, (middle, spread) in zip(Symptoms._fields, row, strict=True)
            }
        )
        for mode, row in _MIDDLES_AND_SPREADS.items()
    }
)
