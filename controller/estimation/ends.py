"""What ended a discharge: the anode (no lithium left), the cathode (full), or polarisation.

Told from the shape before and at the cut-off. When the last lithium leaves Cu the voltage falls
within seconds and the current collapses as soon as the voltage is held. A cathode that fills up
does it over per cents of capacity and still takes charge during a hold. A polarised cell stops
early and takes much of its capacity back at a lower current.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple, assert_never

from controller.domain.cell import CellFormat
from controller.domain.figures import DischargeEnd

# The knee is looked at from this far above the cut-off (V). Assumed, 0.1-0.3 V.
KNEE_WINDOW_V: Final = 0.2
# A hold shorter than this says nothing of what the cell would still have given (s). Assumed,
# 30-300 s: a step that ends at its cut-off shows one reading of a hold by chance.
SHORTEST_HOLD_S: Final = 60.0
# Below this the most probable class is not named. Assumed, 0.5-0.7.
MIN_PROBABILITY: Final = 0.6


class EndShape(NamedTuple):
    """Features of the end of a discharge; NaN where not observed.

    Attributes
    ----------
    knee_share : float
        Charge from `KNEE_WINDOW_V` above the cut-off to the cut-off, at constant current, as a
        share of the nominal capacity.
    hold_share : float
        Charge while the voltage was held at the cut-off, as a share of the nominal capacity.
    polarisation_share : float
        Current times resistance as a share of the voltage between the start of the discharge and
        the cut-off.
    """

    knee_share: float
    hold_share: float
    polarisation_share: float


class _Expected(NamedTuple):
    """Log-normal expectation: median and the factor of one standard deviation."""

    median: float
    factor: float


# Rows: feature; columns: anode, cathode, polarisation. All assumed, from the slope of NMC811 and
# LFP near their end (0.2-2 % of capacity within 0.2 V) and from stripped Cu (volts within
# milliseconds, so as little as the readings can show); wide, because no openly licensed raw
# series of an anode-free cell exists.
_EXPECTED: Final[tuple[tuple[_Expected, _Expected, _Expected], ...]] = (
    (_Expected(0.0003, 2.5), _Expected(0.006, 3.0), _Expected(0.03, 3.0)),
    (_Expected(0.001, 4.0), _Expected(0.02, 3.0), _Expected(0.2, 2.5)),
    (_Expected(0.05, 2.5), _Expected(0.05, 2.5), _Expected(0.5, 2.0)),
)
_CLASSES: Final = (DischargeEnd.ANODE, DischargeEnd.CATHODE, DischargeEnd.POLARISATION)
# Smallest share that can be told from none: a few seconds at C/3.
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


def classify_end(
    shape: EndShape, possible: tuple[DischargeEnd, ...] = _CLASSES
) -> tuple[DischargeEnd, float]:
    """Return what ended the discharge and how probable that is.

    Parameters
    ----------
    shape : EndShape
    possible : tuple of DischargeEnd
        As `possible_ends` says of the format; all by default. A shape that speaks for another end
        is not understood, and not given to the next best.

    Returns
    -------
    DischargeEnd
        `UNKNOWN` when neither knee nor hold was seen, no class reaches `MIN_PROBABILITY`, or the
        one that does is not possible.
    float
        Probability of the class; for `UNKNOWN` that of the best class, 0 without data.
    """
    if not (shape.knee_share >= 0.0 or shape.hold_share >= 0.0):
        return DischargeEnd.UNKNOWN, 0.0
    log_likelihood = [0.0, 0.0, 0.0]
    for share, expected in zip(shape, _EXPECTED, strict=True):
        if not share >= 0.0:
            continue
        log_share = math.log(max(share, _SMALLEST_SHARE))
        for k, (median, factor) in enumerate(expected):
            width = math.log(factor)
            z = (log_share - math.log(median)) / width
            log_likelihood[k] -= 0.5 * z * z + math.log(width)
    highest = max(log_likelihood)
    weights = [math.exp(value - highest) for value in log_likelihood]
    best = max(range(3), key=weights.__getitem__)
    probability = weights[best] / sum(weights)
    if probability < MIN_PROBABILITY or _CLASSES[best] not in possible:
        return DischargeEnd.UNKNOWN, probability
    return _CLASSES[best], probability
