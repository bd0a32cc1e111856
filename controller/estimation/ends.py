"""What ended a discharge: the anode (no lithium left), the cathode (full), or polarisation.

When the last lithium leaves Cu the voltage falls within seconds and a held current collapses. A
cathode that fills up does it over per mille to per cents of capacity and still takes charge during
a hold. A cathode also takes back the same charge each time, while what an emptied anode can give
falls by each cycle's loss. And what ended the last discharge mostly ends the next. A polarised cell
stops early and takes much of its capacity back at a lower current.

The weights were fitted to draws of our plant (logistic regression; docs/estimation.md says which
draws, and how the probabilities hold on others and on a plant of another structure). Relaxation
after the end was tried as well and added nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, assert_never

from controller.domain.cell import CellFormat
from controller.domain.figures import DischargeEnd
from controller.domain.sample import NAN
from controller.estimation.ending import Ending

# A hold shorter than this says nothing of what the cell would still have given (s). Assumed,
# 30-300 s: a step that ends at its cut-off shows one reading of a hold by chance.
SHORTEST_HOLD_S: Final = 60.0
# A hold that gave less than this share of nominal capacity shows no more than that nothing was
# left: what the fall to it looked like tells. Assumed, 1e-4 to 5e-4.
NOTHING_HELD: Final = 3e-4
# Below this the most probable class is not named. Assumed, 0.5-0.7.
MIN_PROBABILITY: Final = 0.6
# A discharge smaller than this share of nominal capacity has no shape: the cell does not answer any
# more, or there was nothing to take. Assumed, 0.1-1 %.
LEAST_DISCHARGE: Final = 2e-3
# Chance that the next discharge ends as this one did. Assumed, 0.9-0.98.
STAY: Final = 0.95
# Share of ends that no feature is right about: probabilities keep this far from 0 and 1. Assumed.
BLIND: Final = 0.02
# The most that the collapse of a held current alone can say for the anode: a regulator's own
# jumps look like it. Assumed, 0.7-0.8; below what makes lithium lost measured.
HOLD_CERTAIN: Final = 0.75
# Chance of polarisation against a full cathode before its features are seen. Assumed, 0.02-0.2.
POLARISED: Final = 0.05
# What a cathode of its own loses a cycle (share of the best discharge). Assumed, 1e-4 to 1e-3.
FADE: Final = 3e-4
# Discharge currents within this factor are one rate; of this many rates the best discharge is kept.
SAME_RATE: Final = 1.1
RATES: Final = 6

# Log-odds of the anode: constant, logarithm of the last fall's charge over `_LOW`, of the drop over
# `_DROP`; where only the knee's charge is known, of that over `_KNEE`; in a hold constant and
# logarithm of the collapse over `_COLLAPSE`.
_ODDS: Final = (0.86, -4.0, 2.15)
_KNEE_ODDS: Final = (0.7, -2.95, 2.2)
_HOLD_ODDS: Final = (2.4, 1.4)
_LOW, _LOW_RANGE = 3e-4, (-3.0, 2.0)
_KNEE, _KNEE_RANGE = 1.4e-3, (-4.0, 2.0)
_DROP, _SMALLEST_DROP, _DROP_RANGE = 2e-3, 3e-4, (-2.0, 3.0)
_COLLAPSE, _SMALLEST_COLLAPSE, _MOST_COLLAPSE = 0.15, 3e-3, 2.0
# Of the charge between two readings, what a chord between them can tell.
_BETWEEN_READINGS: Final = 0.1
_SMALLEST_FALL: Final = 1e-5


class EndShape(NamedTuple):
    """Features of the end of a discharge; NaN where not observed.

    Attributes
    ----------
    knee_share : float
        Charge from `ending.KNEE_V` above the cut-off to the cut-off, at constant current, as a
        share of the nominal capacity.
    hold_share : float
        Charge while the voltage was held at the cut-off, as a share of the nominal capacity.
    polarisation_share : float
        Current times resistance as a share of the voltage between the start of the discharge and
        the cut-off.
    collapse : float
        Sudden fall of the held current (of its logarithm).
    interval_share : float
        Charge between two readings at the end.
    drop_share : float
        By how much the discharge, at constant current, fell short of the best at its rate.
    low_share : float
        As `knee_share`, from `LOW_V` above the cut-off: where both electrodes give out at about the
        same time the last fall tells which came first.
    """

    knee_share: float
    hold_share: float
    polarisation_share: float
    collapse: float = NAN
    interval_share: float = NAN
    drop_share: float = NAN
    low_share: float = NAN


class EndProbabilities(NamedTuple):
    """Probability of each end; they sum to 1."""

    anode: float
    cathode: float
    polarisation: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EndMemory:
    """What earlier discharges say of the next one's end. Numbers only.

    Attributes
    ----------
    anode : float
        Probability that the anode ended the last one; 0.5 before the first.
    best : tuple of (float, float)
        C-rate, and the largest discharge at it as a share of nominal capacity.
    """

    anode: float = 0.5
    best: tuple[tuple[float, float], ...] = ()


class _Expected(NamedTuple):
    """Log-normal expectation: median and the factor of one standard deviation."""

    median: float
    factor: float


# Rows: feature; columns: cathode, polarisation. All assumed: NMC811 and LFP take 0.2-2 % of
# capacity within 0.2 V of their end.
_EXPECTED: Final[tuple[tuple[_Expected, _Expected], ...]] = (
    (_Expected(0.006, 3.0), _Expected(0.03, 3.0)),
    (_Expected(0.03, 3.0), _Expected(0.2, 2.5)),
    (_Expected(0.05, 2.5), _Expected(0.5, 2.0)),
)
_CLASSES: Final = (DischargeEnd.ANODE, DischargeEnd.CATHODE, DischargeEnd.POLARISATION)
_SMALLEST_SHARE: Final = 2e-4


def possible_ends(cell_format: CellFormat) -> tuple[DischargeEnd, ...]:
    """Return what can end a discharge in a format.

    A foil in excess is never emptied, two foils have no cathode to fill, and between two foils in
    excess only polarisation is left.
    """
    match cell_format:
        case CellFormat.EXCESS_LITHIUM:
            return (DischargeEnd.CATHODE, DischargeEnd.POLARISATION)
        case CellFormat.LI_CU:
            return (DischargeEnd.ANODE, DischargeEnd.POLARISATION)
        case CellFormat.LI_LI:
            return (DischargeEnd.POLARISATION,)
        case CellFormat.ANODE_FREE | CellFormat.FULL_CELL:
            return _CLASSES
        case _:
            assert_never(cell_format)


def shape_of(
    ending: Ending, memory: EndMemory, c_rate: float, polarisation_share: float = NAN
) -> EndShape:
    """Return the features of a discharge that has ended at its cut-off.

    Parameters
    ----------
    ending : Ending
        As its readings left it.
    memory : EndMemory
    c_rate : float
        Of its constant current.
    polarisation_share : float
        See `EndShape`.
    """
    given_Ah = ending.charge_Ah + ending.hold_Ah
    if ending.readings == 0 or not given_Ah > LEAST_DISCHARGE * ending.nominal_Ah > 0.0:
        return EndShape(NAN, NAN, polarisation_share)
    held = ending.hold_s >= SHORTEST_HOLD_S
    discharge_share = ending.charge_Ah / ending.nominal_Ah
    best = [share for rate, share in memory.best if _one_rate(rate, c_rate)]
    return EndShape(
        knee_share=(ending.charge_Ah - ending.at_knee_Ah) / ending.nominal_Ah,
        hold_share=ending.hold_Ah / ending.nominal_Ah if held else NAN,
        polarisation_share=polarisation_share,
        collapse=ending.collapse if held else NAN,
        interval_share=ending.interval_Ah / ending.nominal_Ah,
        drop_share=best[0] - discharge_share if best else NAN,
        low_share=(ending.charge_Ah - ending.at_low_Ah) / ending.nominal_Ah,
    )


def remember(
    memory: EndMemory, probabilities: EndProbabilities, c_rate: float, discharge_share: float
) -> EndMemory:
    """Return the memory with one more discharge: its end, and its size at constant current."""
    before = [share for rate, share in memory.best if _one_rate(rate, c_rate)]
    best = max([discharge_share, *((1.0 - FADE) * share for share in before)])
    others = tuple(pair for pair in memory.best if not _one_rate(pair[0], c_rate))
    return replace(memory, anode=probabilities.anode, best=(*others[1 - RATES :], (c_rate, best)))


def end_probabilities(shape: EndShape, memory: EndMemory | None = None) -> EndProbabilities | None:
    """Return the probability of each end, or None where neither knee nor hold was seen."""
    if not (shape.knee_share >= 0.0 or shape.hold_share >= 0.0):
        return None
    last = 0.5 if memory is None else memory.anode
    prior = STAY * last + (1.0 - STAY) * (1.0 - last)
    log_odds = math.log(prior / (1.0 - prior))
    in_hold = shape.hold_share >= 0.0 and shape.collapse >= 0.0
    if shape.knee_share >= 0.0 and shape.hold_share < NOTHING_HELD:
        in_hold = False
    if in_hold:
        fall = math.log(max(shape.collapse, _SMALLEST_COLLAPSE) / _COLLAPSE)
        log_odds += _HOLD_ODDS[0] + _HOLD_ODDS[1] * min(fall, _MOST_COLLAPSE)
    else:
        log_odds += _fall_odds(shape)
    anode = BLIND + (1.0 - 2.0 * BLIND) / (1.0 + math.exp(-max(min(log_odds, 50.0), -50.0)))
    if in_hold:
        anode = min(anode, HOLD_CERTAIN)
    polarised = _polarised(shape)
    return EndProbabilities(anode, (1.0 - anode) * (1.0 - polarised), (1.0 - anode) * polarised)


def classify_end(
    shape: EndShape,
    possible: tuple[DischargeEnd, ...] = _CLASSES,
    memory: EndMemory | None = None,
) -> tuple[DischargeEnd, float]:
    """Return what ended the discharge and how probable that is.

    Parameters
    ----------
    shape : EndShape
    possible : tuple of DischargeEnd
        As `possible_ends` says of the format; all by default. A shape that speaks for another end
        is not understood, and not given to the next best.
    memory : EndMemory, optional
        Of the discharges before.

    Returns
    -------
    DischargeEnd
        `UNKNOWN` when neither knee nor hold was seen, no class reaches `MIN_PROBABILITY`, or the
        one that does is not possible.
    float
        Probability of the class; for `UNKNOWN` that of the best class, 0 without data.
    """
    probabilities = end_probabilities(shape, memory)
    if probabilities is None:
        return DischargeEnd.UNKNOWN, 0.0
    best = max(range(3), key=probabilities.__getitem__)
    probability = probabilities[best]
    if probability < MIN_PROBABILITY or _CLASSES[best] not in possible:
        return DischargeEnd.UNKNOWN, probability
    return _CLASSES[best], probability


def _one_rate(a: float, b: float) -> bool:
    return a < SAME_RATE * b and b < SAME_RATE * a


def _clipped(x: float, between: tuple[float, float]) -> float:
    return min(max(x, between[0]), between[1])


def _fall_odds(shape: EndShape) -> float:
    """Return the log-odds of the anode from the fall to the cut-off and the drop."""
    drop = _drop(shape)
    told = _BETWEEN_READINGS * shape.interval_share if shape.interval_share > 0.0 else 0.0
    least = max(told, _SMALLEST_FALL)
    if shape.low_share >= 0.0:
        fall = _clipped(math.log(max(shape.low_share, least) / _LOW), _LOW_RANGE)
        return _ODDS[0] + _ODDS[1] * fall + _ODDS[2] * drop
    if shape.knee_share >= 0.0:
        fall = _clipped(math.log(max(shape.knee_share, least) / _KNEE), _KNEE_RANGE)
        return _KNEE_ODDS[0] + _KNEE_ODDS[1] * fall + _KNEE_ODDS[2] * drop
    return 0.0


def _drop(shape: EndShape) -> float:
    if shape.drop_share != shape.drop_share:
        return 0.0
    return _clipped(math.log((max(shape.drop_share, 0.0) + _SMALLEST_DROP) / _DROP), _DROP_RANGE)


def _polarised(shape: EndShape) -> float:
    """Return the chance of polarisation where it is not the anode."""
    log_odds = math.log(POLARISED / (1.0 - POLARISED))
    for share, (cathode, polarised) in zip(shape, _EXPECTED, strict=False):
        if share >= 0.0:
            log_share = math.log(max(share, _SMALLEST_SHARE))
            log_odds += _fit(log_share, polarised) - _fit(log_share, cathode)
    return 1.0 / (1.0 + math.exp(-_clipped(log_odds, (-50.0, 50.0))))


def _fit(log_share: float, expected: _Expected) -> float:
    width = math.log(expected.factor)
    z = (log_share - math.log(expected.median)) / width
    return -0.5 * z * z - math.log(width)
