"""Soft shorts: telegraph noise, leakage, sudden falls of the voltage and falling resistance.

A soft short is a filament that conducts now and then. It shows in ways none of which is enough
alone: the voltage jumps between two levels while the current stands still (telegraph noise); it
falls at once and for good when a leak begins; charge goes through the cell without moving lithium
the way it should (leakage: the charge that a full cell takes exceeds what it gave before, it falls
faster at rest); between two foils the resistance of one half of a cycle falls below that of the
half before, or below the cell's own, while the trace turns rectangular. Each is held against the
same cell's cycles before.

Usage, once per reading and once per cycle::

    from controller.domain.cell import CellFormat
    from controller.estimation.short_watch import ShortWatch, close_cycle, observe
    from controller.estimation.shorts import ShortMemory, follow

    watch, memory = ShortWatch(), ShortMemory()
    for cycle in range(5):
        for second in range(7200):
            t_s, current_A = 7200.0 * cycle + second, 3e-3 if second < 3600 else -3e-3
            observe(watch, t_s, current_A, 3.7 + 20.0 * current_A)  # plain floats, any rate
        figures = close_cycle(watch, charge_Ah=3e-3, discharge_Ah=3e-3)
        evidence = follow(memory, figures, CellFormat.EXCESS_LITHIUM, 3e-3)
    print(evidence.probability)  # NaN before there is something to compare with

After a resume call `interrupt(watch)`: what happened in between is
not known.

What cannot be known: a leak that was there from the first cycle on is the cell's own way; one that
grows slowly looks like a shuttle, and in Li||Li like a better contact.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from controller.domain.cell import CellFormat
from controller.domain.sample import NAN
from controller.domain.total_math import safe_divide
from controller.estimation.charge_balance import LONGER, slippage, strip_over_plate
from controller.estimation.half_course import fall_within_half, same_within
from controller.estimation.half_cycles import both_halves, later_half
from controller.estimation.short_watch import (
    CHARGED,
    CHARGED_REST,
    DISCHARGED,
    FALL_S,
    FALLS,
    QUARTILE_SIGMAS,
    SINGLES,
    ShortFigures,
    figures_from,
)

# Cycles to compare with, and how many are remembered. Assumed, 3 to 5 and 8 to 20.
LEAST_CYCLES: Final = 3
MOST_CYCLES: Final = 12
RECENT_CYCLES: Final = 2
KEPT_COURSES: Final = 7  # of their halves, which are long
LAST_CYCLES: Final = 5  # of them, for a resistance
# Currents within this (logarithm) are the same rate; so are shares of rest within it.
SAME_RATE: Final = 0.15
# Cycles of about the same charge (logarithm). Assumed, 0.1-0.3.
SAME_CHARGE: Final = 0.2
# Resistances are compared at the same temperature (K): 1 K is worth about 7 %. Assumed, 1-3 K.
SAME_TEMPERATURE_K: Final = 1.5
# Jumps count where so much of a cycle was read densely. Assumed, 0.8-0.99.
LEAST_DENSE_SHARE: Final = 0.9
# Lengths of means (powers of 2 s) whose jumps tell of noise, and by how much (logarithm) they may
# grow in a sound cell: the short ones with the instrument, the long ones with the course of the
# voltage, the more so where the rate is not the same. Assumed: about twice what 6,000 cycles of
# drawn cells scatter by.
NOISE_SCALES: Final = (0.035, 0.028, 0.028, 0.035, 0.05, 0.07, 0.12)
LONGEST_LEVEL: Final = 6
LONGEST_LEVEL_UNLIKE: Final = 4
UNLIKE_NOISE: Final = 0.6  # of what it grew by. Assumed, 0.5-0.8
SIGMA_PER_MAD: Final = 1.4826
# A quiet cell's scatter of the decay at rest is not taken for less (V/h), nor for less than a share
# of the usual decay. Assumed, 0.5-2 mV/h and 2-10 %.
DECAY_FLOOR_V_PER_H: Final = 1e-3
DECAY_SHARE: Final = 0.04
# A sudden fall counts from so many standard deviations of the readings' noise on, and so many more
# at a rate that the cell has not had; and from so many times the largest one before on. Largest in
# 7,000 sound cycles where the plant has none of its own: 6. Assumed, 5-7, 1-3 and 1.2-2.
FALL_SIGMAS: Final = 6.0
FALL_UNLIKE: Final = 2.5
FALL_RATIO: Final = 1.4
# A fall of which no more than this share is left after four times as long is no leak's. Asked of
# the discharge of a cell with a foil, whose voltage falls by itself when what was plated is used
# up. Assumed, 0.2-0.5.
FALL_LASTS: Final = 0.3
# A step shows over a quarter of the length with half as many standard deviations; so many times
# those must be there. Assumed, 2-5.
FALL_TWICE: Final = 4.0
# Over a minute or more a change of temperature bends the voltage: so many standard deviations more
# for each K beyond so many K between two cycles. Assumed, 4-10 and 0.2-0.5 K.
FALL_PER_K: Final = 6.0
FALL_FREE_K: Final = 0.3
# The cut-off of a strip of Li||Cu (V), unless the cell's own ended above.
STRIP_END_V: Final = -1.0
# Below this (V) the lithium on Cu has gone: a strip goes on to its cut-off unless the current has
# another way. Assumed, 0.05-0.3 V.
STRIPPED_V: Final = -0.1
# From so many standard uncertainties on a figure lies beyond what is foretold of it. Those of the
# slippage are wide for the plant's own sound cells (a fifth of them is used). Assumed, 1-4.
SLIPPAGE_SIGMAS: Final = 1.0
BALANCE_SIGMAS: Final = 3.0
HALF_SIGMAS: Final = 3.0
BOTH_SIGMAS: Final = 2.0
# A charge that takes more than this of nominal capacity beyond what is foretold, and at less than
# this share of its current, is held at its voltage by something that takes as much as it is given,
# e.g. a shuttle: another sign must agree; so must it where it takes more than a soft short does.
# Assumed, 0.05-0.15, 0.3-0.7 and 0.2-0.4.
HELD_SLIPPAGE: Final = 0.12
HELD_SHARE: Final = 0.5
MOST_SLIPPAGE: Final = 0.25
NOT_ALONE: Final = 6.5  # log-odds
NOT_TWICE: Final = 4.5  # the same, and two cycles in a row are not enough either
TWO_FOILS: Final = (CellFormat.LI_CU, CellFormat.LI_LI)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What a cycle shows beside the cell's own history; NaN where there is nothing to compare.

    Attributes
    ----------
    noise : float
        How much larger the jumps between means of 1 to 64 s have become, at the lengths where they
        grew most: logarithm, in units of what a sound cell's may grow.
    quick_returns, slow_returns : float
        How many more jumps were undone by the next than in any cycle before, between means of 4 s
        and of 16 s.
    slippage : float
        Charge taken beyond what was given before, more than the cell's own cycles foretell by some
        standard uncertainties, as a share of nominal capacity (`slippage`).
    depth : float
        By what share the lowest voltage fell short of any before, at the end of a strip (Li||Cu).
    imbalance : float
        How far strip over plate lies beyond the usual and some standard uncertainties of it, where
        the reservoir is on one side only (Li||Cu).
    decay_charged : float
        How much faster than usual the voltage falls at rest after charge, in units of its usual
        scatter.
    fall : float
        How far the largest sudden and lasting fall of the voltage stands beyond those of the cycles
        before, in units of what the readings' noise makes of it.
    half : float
        How much more than foretold, and some standard uncertainties of it, the resistance of one
        half cycle lies below that of the half before (logarithm; `half_cycles`).
    course : float
        What the resistance fell by within a half beyond the course of others, and beyond what those
        fall by (logarithm; `half_course`).
    both : float
        How much both halves' resistances lie below what the cell's own cycles foretell, and some
        standard uncertainties of it (logarithm).
    resistance : float
        Logarithm of the usual resistance over this cycle's: positive when it fell.
    compared : int
        Sound cycles that there were to compare with.
    """

    noise: float
    quick_returns: float
    slow_returns: float
    slippage: float
    depth: float
    imbalance: float
    decay_charged: float
    fall: float
    half: float
    course: float
    both: float
    resistance: float
    compared: int


def signs(
    memory: ShortMemory,
    figures: ShortFigures,
    cell_format: CellFormat,
    nominal_capacity_Ah: float,
) -> Signs:
    """Compare a cycle with those before it: run alike, or allowed for where they were not."""
    history = memory.sound
    alike = [one for one in history if _alike(one, figures)]
    two_foils = cell_format in TWO_FOILS
    noise = quick_returns = slow_returns = slipped = imbalance = depth = half = NAN
    course = both = NAN
    enough = len(alike) >= LEAST_CYCLES
    as_large = [one for one in alike if _dense(one) and _as_large(one, figures)]
    compared = [one for one in (alike if enough else history) if _dense(one)]
    if len(compared) >= LEAST_CYCLES and _dense(figures):
        if len(as_large) >= LEAST_CYCLES:
            noise = _noise(as_large, figures, LONGEST_LEVEL)
        else:
            noise = UNLIKE_NOISE * _noise(compared, figures, LONGEST_LEVEL_UNLIKE)
        quick_returns, slow_returns = (
            float(figures.returns[i] - max(one.returns[i] for one in compared))
            for i in range(SINGLES)
        )
    if not two_foils:
        taken = slippage(history, memory.recent, figures, nominal_capacity_Ah)
        slipped = taken.more - SLIPPAGE_SIGMAS * taken.u
    else:
        later = later_half(history, memory.recent, figures)
        half = later.more - HALF_SIGMAS * later.u
        both_plate = cell_format is CellFormat.LI_LI
        course = fall_within_half(history, memory.recent, figures, two_sided=both_plate).more
        level = both_halves(history, figures)
        both = level.more - BOTH_SIGMAS * level.u
    if cell_format is CellFormat.LI_CU:
        strip = strip_over_plate(history, memory.recent, figures)
        imbalance = strip.more - BALANCE_SIGMAS * strip.u
        depth = _depth(history, figures)
    return Signs(
        noise=noise,
        quick_returns=quick_returns,
        slow_returns=slow_returns,
        slippage=slipped,
        depth=depth,
        imbalance=imbalance,
        decay_charged=NAN
        if two_foils
        else _above([one.decay_charged_V_per_h for one in alike], figures.decay_charged_V_per_h),
        fall=_sudden_fall(history, figures, cell_format),
        half=half,
        course=course,
        both=both,
        resistance=_fallen(alike, figures) if two_foils else NAN,
        compared=len(history),
    )


def _as_large(one: ShortFigures, other: ShortFigures) -> bool:
    """Return whether two cycles passed about the same charge and rested for the same share.

    A worn cell's voltage is steeper, a resting one's flatter.
    """
    return (
        one.hours > 0.0
        and other.hours > 0.0
        and abs(one.rest_h / one.hours - other.rest_h / other.hours) < SAME_RATE
        and one.charge_Ah > 0.0
        and other.charge_Ah > 0.0
        and abs(math.log(one.charge_Ah / other.charge_Ah)) < SAME_CHARGE
    )


def _held(history: Sequence[ShortFigures], figures: ShortFigures) -> bool:
    """Return whether a charge took what it took more than usual at a small current."""
    alike = [one for one in history if same_within(one.charge_A, figures.charge_A, SAME_RATE)]
    if not alike:
        return False
    longer_h = figures.charge_h - median(one.charge_h for one in alike)
    more_Ah = figures.charge_Ah - median(one.charge_Ah for one in alike)
    return more_Ah < HELD_SHARE * figures.charge_A * longer_h


def _dense(figures: ShortFigures) -> bool:
    return figures.dense_share >= LEAST_DENSE_SHARE


def _alike(one: ShortFigures, other: ShortFigures) -> bool:
    """Return whether two cycles ran at the same currents; a current that neither has is alike."""
    for a, b in ((one.charge_A, other.charge_A), (one.discharge_A, other.discharge_A)):
        if a == 0.0 == b:
            continue
        if not same_within(a, b, SAME_RATE):
            return False
    return True


def _noise(history: Sequence[ShortFigures], figures: ShortFigures, longest: int) -> float:
    grown = []
    for k in range(longest + 1):
        before = [one.size_V[k] for one in history if math.isfinite(one.size_V[k])]
        if len(before) >= LEAST_CYCLES and math.isfinite(figures.size_V[k]):
            grown.append(math.log(figures.size_V[k] / median(before)) / NOISE_SCALES[k])
    return max((sum(grown[k : k + 3]) / 3.0 for k in range(len(grown) - 2)), default=NAN)


def _depth(history: Sequence[ShortFigures], figures: ShortFigures) -> float:
    """Return by what share a strip that had taken the lithium fell short of its cut-off.

    Less by what those before differ among themselves: where the last reading lies is chance.
    """
    if len(history) < LEAST_CYCLES or not figures.lowest_V < STRIPPED_V:
        return NAN
    ends_V = [max(one.lowest_V, STRIP_END_V) for one in history]
    return 1.0 - safe_divide(figures.lowest_V + min(ends_V) - max(ends_V), max(ends_V))


def _above(before: Sequence[float], now: float) -> float:
    """Return how far a decay lies above all before it, in units of their scatter."""
    known = [one for one in before if math.isfinite(one)]
    if len(known) < LEAST_CYCLES or not math.isfinite(now):
        return NAN
    usual = median(known)
    scatter = SIGMA_PER_MAD * median(abs(one - usual) for one in known)
    return (now - max(known)) / (scatter + DECAY_FLOOR_V_PER_H + DECAY_SHARE * abs(usual))


class _Beside(NamedTuple):
    """What a fall is held against: the readings' noise, and how the temperature moved.

    Attributes
    ----------
    sigma_V : float
        Of a jump between means of a second.
    bent : float
        How much more a fall must be, in standard deviations, where it is taken over a minute or
        more: a change of temperature bends the voltage.
    """

    sigma_V: float
    bent: float

    def beyond(
        self,
        alike: Sequence[ShortFigures],
        figures: ShortFigures,
        mode: int,
        start: float,
        *,
        alone: bool,
        lasting: bool = False,
    ) -> float:
        """Return how far a fall stands beyond those of other cycles, in standard deviations.

        Unless one length tells `alone`, the next shorter one must tell as well; where it has to be
        `lasting`, the next longer one must not tell the contrary.
        """
        if len(alike) < LEAST_CYCLES:
            return -math.inf
        out, shorter = -math.inf, math.inf if alone else -math.inf
        for k, length_s in enumerate(FALL_S):
            at = FALLS * mode + k
            per_V = math.sqrt(length_s) / self.sigma_V
            before_V = max((one.fall_V[at] for one in alike if one.fall_V[at] > 0.0), default=0.0)
            least = max(start + (self.bent if k else 0.0), FALL_RATIO * per_V * before_V)
            now = per_V * figures.fall_V[at]
            gone = lasting and k + 1 < FALLS and _gone(figures.fall_V[at], figures.fall_V[at + 1])
            if now == now and not gone:
                out = max(out, min(now - least, shorter - start))
            if not alone:
                shorter = FALL_TWICE * now if now == now else -math.inf
        return out


def _gone(fell_V: float, later_V: float) -> bool:
    """Return whether most of a fall is not there over four times the length; not if unknown."""
    return later_V < FALL_LASTS * fell_V


def _sudden_fall(
    history: Sequence[ShortFigures], figures: ShortFigures, cell_format: CellFormat
) -> float:
    """Return how far a sudden fall stands beyond those before, in standard deviations of noise.

    Two foils have no voltage to fall at rest. At a rate far from the usual a full cell's charge has
    falls of its own, and near its end the discharge of any; on Cu the charge has short ones.
    """
    dense = [one for one in history if _dense(one) and math.isfinite(one.size_V[0])]
    if len(dense) < LEAST_CYCLES or not _dense(figures):
        return NAN
    warmer_K = abs(figures.temperature_K - dense[-1].temperature_K)
    beside = _Beside(
        sigma_V=median(one.size_V[0] for one in dense) / QUARTILE_SIGMAS,
        bent=FALL_PER_K * (warmer_K - FALL_FREE_K) if warmer_K > FALL_FREE_K else 0.0,
    )
    charged = _at_rate(dense, figures, CHARGED, SAME_RATE)
    discharged = _at_rate(dense, figures, DISCHARGED, SAME_RATE)
    start = FALL_SIGMAS
    if cell_format in TWO_FOILS:
        alone = cell_format is CellFormat.LI_LI
        return max(
            beside.beyond(alike, figures, mode, start, alone=alone)
            if len(alike) >= LEAST_CYCLES
            else beside.beyond(dense, figures, mode, start + FALL_UNLIKE, alone=alone)
            for mode, alike in ((CHARGED, charged), (DISCHARGED, discharged))
        )
    return max(
        beside.beyond(charged, figures, CHARGED, start, alone=True)
        if len(charged) >= LEAST_CYCLES
        else beside.beyond(dense, figures, CHARGED, start + FALL_UNLIKE, alone=True),
        beside.beyond(dense, figures, CHARGED_REST, start, alone=True),
        beside.beyond(
            discharged,
            figures,
            DISCHARGED,
            start,
            alone=False,
            lasting=cell_format is CellFormat.EXCESS_LITHIUM,
        ),
    )


def _at_rate(
    history: Sequence[ShortFigures], figures: ShortFigures, mode: int, within: float
) -> list[ShortFigures]:
    """Return the cycles whose current was the same, within a logarithm."""
    if mode == CHARGED:
        return [one for one in history if same_within(one.charge_A, figures.charge_A, within)]
    return [one for one in history if same_within(one.discharge_A, figures.discharge_A, within)]


def _fallen(alike: Sequence[ShortFigures], figures: ShortFigures) -> float:
    known = [
        one.polarised_Ohm
        for one in alike
        # not measured: taken for the same
        if one.polarised_Ohm > 0.0
        and not abs(one.temperature_K - figures.temperature_K) > SAME_TEMPERATURE_K
    ]
    if len(known) < LEAST_CYCLES or not figures.polarised_Ohm > 0.0:
        return NAN
    return math.log(median(known[-LAST_CYCLES:]) / figures.polarised_Ohm)


class Weight(NamedTuple):
    """How a sign counts: `slope` times what it is beyond `start`, at most `most` (log-odds)."""

    start: float
    slope: float
    most: float

    def of(self, value: float) -> float:
        """Return the log-odds that a sign adds; 0 where it is NaN."""
        return (
            min(max(self.slope * (value - self.start), 0.0), self.most) if value == value else 0.0
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShortEvidence:
    """Whether a cycle shows a soft short.

    Attributes
    ----------
    probability : float
        NaN when there was nothing to compare with.
    log_odds : float
        Natural logarithm; `new` is the part that this cycle's own signs gave.
    new : float
    signs : Signs
    words : tuple of str
        What decided, with figures.
    """

    probability: float
    log_odds: float
    new: float
    signs: Signs
    words: tuple[str, ...]

    @property
    def flagged(self) -> bool:
        """Whether a soft short is more likely than not."""
        return self.probability > 0.5


@dataclass(slots=True)
class ShortMemory:
    """What a cell's cycles showed; changed by `follow`.

    Attributes
    ----------
    sound : list of ShortFigures
        Cycles that showed no short, oldest first, at most `MOST_CYCLES`: others are held against
        them.
    recent : list of ShortFigures
        The last two cycles, suspect or not, oldest first.
    last_new : float
        The last cycle's evidence's `new`: a leak that goes on shows twice.
    """

    sound: list[ShortFigures] = field(default_factory=list)
    recent: list[ShortFigures] = field(default_factory=list)
    last_new: float = 0.0


def memory_from(data: Mapping[str, Any]) -> ShortMemory:
    """Return the memory that `dataclasses.asdict` gave, also after JSON."""
    return ShortMemory(
        [figures_from(one) for one in data["sound"]],
        [figures_from(one) for one in data["recent"]],
        data["last_new"],
    )


def follow(
    memory: ShortMemory,
    figures: ShortFigures,
    cell_format: CellFormat,
    nominal_capacity_Ah: float,
) -> ShortEvidence:
    """Judge a cycle and remember it; a suspect one is not learnt from."""
    evidence = judge(memory, figures, cell_format, nominal_capacity_Ah)
    if not evidence.log_odds > SUSPECT_LOG_ODDS:
        memory.sound.append(figures)
        del memory.sound[:-MOST_CYCLES]
        for k, one in enumerate(memory.sound[:-KEPT_COURSES]):
            memory.sound[k] = replace(one, courses=())
    memory.recent.append(figures)
    del memory.recent[:-RECENT_CYCLES]
    memory.last_new = evidence.new
    return evidence


def judge(
    memory: ShortMemory,
    figures: ShortFigures,
    cell_format: CellFormat,
    nominal_capacity_Ah: float,
) -> ShortEvidence:
    """Weigh a cycle's signs of a soft short.

    Parameters
    ----------
    memory : ShortMemory
        Of the cycles before.
    figures : ShortFigures
    cell_format : CellFormat
    nominal_capacity_Ah : float
    """
    found = signs(memory, figures, cell_format, nominal_capacity_Ah)
    known = (found.noise, found.resistance, found.slippage, found.imbalance, found.half)
    if all(math.isnan(one) for one in known):
        words = (
            f"{found.compared} sound cycles to compare with; at least {LEAST_CYCLES} comparable "
            "ones are needed"
        )
        return ShortEvidence(probability=NAN, log_odds=NAN, new=0.0, signs=found, words=(words,))
    parts = {name: weight.of(getattr(found, name)) for name, weight in WEIGHTS.items()}
    if cell_format in TWO_FOILS:
        parts["noise"] = NOISE_OF_FOILS.of(found.noise)
    for name, most in _not_alone(memory, figures, cell_format, found).items():
        parts[name] = min(parts[name], most)
    telegraph = max(parts["noise"], parts["quick_returns"], parts["slow_returns"])
    new = telegraph + sum(part for name, part in parts.items() if name not in TELEGRAPH)
    log_odds = PRIOR_LOG_ODDS + new + min(CARRIED * memory.last_new, MOST_CARRIED)
    return ShortEvidence(
        probability=1.0 / (1.0 + math.exp(-log_odds)),
        log_odds=log_odds,
        new=new,
        signs=found,
        words=_words(found, figures, parts),
    )


def _not_alone(
    memory: ShortMemory, figures: ShortFigures, cell_format: CellFormat, found: Signs
) -> dict[str, float]:
    """Return the signs with which another one must agree, and the log-odds they have at most."""
    held = found.slippage > HELD_SLIPPAGE and _held(memory.sound, figures)
    longer = figures.charge_h > LONGER * median(one.charge_h for one in memory.sound or [figures])
    out = {}
    if held or longer or found.slippage > MOST_SLIPPAGE:
        out["slippage"] = NOT_ALONE
    if cell_format is CellFormat.LI_CU:
        out["half"] = NOT_TWICE
    return out


def _words(found: Signs, figures: ShortFigures, parts: Mapping[str, float]) -> tuple[str, ...]:
    """Say each sign that counted, heaviest first."""
    quick, slow = figures.returns
    texts = {
        "noise": f"voltage noise beyond the cell's own ({found.noise:.1f} times its scatter)",
        "quick_returns": f"{quick} times {1e3 * figures.jump_V[0]:.2g} mV and back between means "
        "of 4 s",
        "slow_returns": f"{slow} times {1e3 * figures.jump_V[1]:.2g} mV and back between means "
        "of 16 s",
        "slippage": f"charge exceeds the discharge before by {100 * found.slippage:.2g} % of "
        "nominal capacity more than the cell's own cycles can explain",
        "depth": f"the strip ended at {figures.lowest_V:.2g} V, {100 * found.depth:.0f} % short of "
        "any before",
        "imbalance": f"strip over plate is {100 * found.imbalance:.2g} pp more than the cell's own "
        "cycles can explain",
        "decay_charged": f"falls {1e3 * figures.decay_charged_V_per_h:.3g} mV/h at charged rest, "
        f"{found.decay_charged:.1f} times its scatter beyond any before",
        "fall": f"the voltage fell at once and for good, {found.fall:.1f} sigma beyond any before",
        "half": "a half cycle's resistance fell below that of the half before by "
        f"{100 * found.half:.2g} % more than the cell's own cycles can explain",
        "course": "the resistance fell within a half cycle by "
        f"{100 * found.course:.2g} % more than the cell's own courses do",
        "both": f"both halves' resistance lies {100 * found.both:.2g} % further below the cell's "
        "own than its cycles can explain",
        "resistance": f"resistance {100 * (1 - math.exp(-found.resistance)):.0f} % below the "
        "cell's own",
    }
    order = sorted(parts, key=lambda name: -parts[name])
    return tuple(texts[name] for name in order if parts[name] > 0.0) or ("no sign of a short",)


# Weights of the signs, in log-odds. Assumed, within a factor of two; set by hand on about 47,000
# sound cycles and 2,000 shorts of drawn cells, scored on others (scripts/short_detection.py).
WEIGHTS: Final[Mapping[str, Weight]] = MappingProxyType(
    {
        "fall": Weight(0.0, 4.0, 14.0),
        "noise": Weight(2.5, 3.0, 14.0),
        "quick_returns": Weight(1.2, 4.0, 14.0),
        "slow_returns": Weight(2.0, 2.5, 12.0),
        "slippage": Weight(0.0055, 2800.0, 9.0),
        "depth": Weight(0.003, 1000.0, 9.0),
        "imbalance": Weight(0.003, 1750.0, 8.0),
        "decay_charged": Weight(1.0, 2.5, 4.5),
        "half": Weight(0.0022, 3200.0, 9.0),
        "course": Weight(0.006, 1200.0, 9.0),
        "both": Weight(0.005, 2000.0, 9.0),
        "resistance": Weight(0.1, 30.0, 9.0),
    }
)
# Between two foils the voltage has no course of an open circuit: in 3,500 sound cycles (seeds 5000
# to 8299) their noise grew by 1.9 of its scale at most, in full cells by 3.9.
NOISE_OF_FOILS: Final = Weight(1.2, 6.0, 14.0)
TELEGRAPH: Final = ("noise", "quick_returns", "slow_returns")  # the same thing seen thrice
PRIOR_LOG_ODDS: Final = -7.0  # about one cycle in a thousand. Assumed, 1e-4 to 1e-2
CARRIED: Final = 0.5  # of the cycle before
MOST_CARRIED: Final = 4.5  # so that one odd cycle is not two
SUSPECT_LOG_ODDS: Final = -1.0  # a cycle this likely is not learnt from
