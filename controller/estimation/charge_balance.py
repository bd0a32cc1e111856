"""Charge balance of a cycle against the cell's own: what does not add up has another way.

In a full cell a charge brings the cathode back to where the charge before it ended. It therefore
takes what the discharge before it gave, and what went through the cell without the circuit since:
self-discharge, and a short. The cell's own cycles tell how much is usual, each by how long it
charged, rested and discharged::

    slippage = base + charge h x a + charged rest h x b + discharge h x c + discharged rest h x d
               + ln(charging rate over that before) x e + (T - usual T) x hours x f

A leak is missing from its cycle's discharge as well. What a charge takes and the discharge after it
gives back is none: the charge before ended early, or this one late. Charges that do not end at the
upper cut-off say nothing.

In Li||Cu a leak takes charge from the plating and gives it to the strip, which ends when the
lithium has gone, or, past that, not at all: then strip over plate rises beyond what the cell does
by itself.

What cannot be known: a leak that has been there from the first cycle on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Final, NamedTuple

import numpy as np

from controller.domain.sample import NAN
from controller.estimation.foretelling import MAD_PER_SIGMA, UNKNOWN, Beyond, Prior, beyond
from controller.estimation.short_watch import ShortFigures

LEAST_PAIRS: Final = 3
# Prior of the slopes, in shares of nominal capacity: base; an hour of self-discharge (all four have
# one in common, and each its own); a rate e times as high; 10 K in 10 h. Assumed, within a factor
# of two, on which detection hardly depends.
BASE_SD: Final = 0.004
HOUR_MEAN: Final = 0.004
HOUR_SD: Final = 0.006
HOUR_OWN_SD: Final = 0.004
RATE_SD: Final = 0.05
WARMTH_SD: Final = 0.02
# Scatter of a pair (share of nominal capacity) before the cell has shown its own. Assumed, 3e-4 to
# 1e-3.
SCATTER: Final = 6e-4


def _prior() -> Prior:
    own = np.diag([BASE_SD, *[HOUR_OWN_SD] * 4, RATE_SD, WARMTH_SD]) ** 2
    own[1:5, 1:5] += HOUR_SD**2
    return Prior(np.array([0.0, *[HOUR_MEAN] * 4, 0.0, 0.0]), own, SCATTER)


PRIOR: Final = _prior()
# What a line does not tell, as standard deviations: a change of the charging rate (each e times)
# and of the discharging one, each K beyond so many between two cycles up to a most, each hour of
# charge beyond twice the usual, and of rest beyond it. Assumed, within a factor of two; set on
# sound cycles of drawn cells.
RATE_SCATTER: Final = 0.028
DISCHARGE_RATE_SCATTER: Final = 0.002
KELVIN_SCATTER: Final = 0.004
FREE_K: Final = 0.5
MOST_WARMTH_SCATTER: Final = 0.012
CHARGE_SCATTER: Final = 0.008
CHARGED_REST_SCATTER: Final = 0.002
DISCHARGED_REST_SCATTER: Final = 0.004
FREE_H: Final = 0.1
# A self-discharge (a shuttle) is steady to this share of what it usually takes. Assumed, 0.1-0.3.
OWN_SHARE: Final = 0.2
LONGER: Final = 2.0  # times the usual length of a charge
# On Cu, as shares of what is plated: after a longer rest in the discharged state than usual,
# inactive lithium comes back in one cycle or two, the more the longer; after one in the charged
# state some of what it took; a cycle at e times the usual rate, or at e times that before it,
# leaves more or less. Assumed, within a factor of two.
REVIVED_SCATTER: Final = 0.03
REVIVED_PER_H: Final = 0.007
RETURNED_PER_H: Final = 6e-4
STRIP_RATE_SCATTER: Final = 0.01
# Of what a cell loses, as much goes with time as with charge: at e times the rate this share of it
# may be missing or come on top. Assumed, 0.2-0.6; carbonates at C/10 and C/3 differ by 0.4.
LOSS_RATE_SCATTER: Final = 0.4


class _Pair(NamedTuple):
    """Two cycles one after the other, and the cycle before them where there is one."""

    earlier: ShortFigures
    before: ShortFigures
    after: ShortFigures


class _Usual(NamedTuple):
    """What most cycles of the cell were like."""

    temperature_K: float
    charge_h: float
    charged_rest_h: float
    rest_before_h: float


def slippage(
    history: Sequence[ShortFigures],
    recent: Sequence[ShortFigures],
    figures: ShortFigures,
    nominal_capacity_Ah: float,
) -> Beyond:
    """Return how much more than foretold a full cell's charge exceeded the discharge before it.

    As a share of nominal capacity.

    Parameters
    ----------
    history : sequence of ShortFigures
        Sound cycles before, oldest first; only those that follow each other at once are compared.
    recent : sequence of ShortFigures
        The last two cycles, sound or not, oldest first.
    figures : ShortFigures
    nominal_capacity_Ah : float
    """
    pairs = [pair for pair in _pairs(history) if _both_full(pair)]
    newest = _newest(recent, figures)
    if newest is None or not _both_full(newest) or len(pairs) < LEAST_PAIRS:
        return UNKNOWN
    pairs.append(newest)
    usual = _usual(history)
    taken = [(p.after.charge_Ah - p.before.discharge_Ah) / nominal_capacity_Ah for p in pairs]
    found = beyond(
        np.array([_row(pair, usual) for pair in pairs]),
        np.array(taken),
        np.array([_variance(pair, usual) for pair in pairs]),
        PRIOR,
    )
    u = math.hypot(found.u, OWN_SHARE * median(taken[:-1]))
    return Beyond(min(found.more, _not_returned(history, newest, nominal_capacity_Ah) + u), u)


def _both_full(pair: _Pair) -> bool:
    """Return whether both charges came to the same end, so that the second tells of a leak."""
    return pair.before.to_cut_off and pair.after.to_cut_off


def _not_returned(history: Sequence[ShortFigures], newest: _Pair, nominal_Ah: float) -> float:
    """Return what a pair's cycles did not give back, beyond what most cycles do not (share)."""
    usual_Ah = sorted(one.charge_Ah - one.discharge_Ah for one in history)
    kept_Ah = max(one.charge_Ah - one.discharge_Ah for one in (newest.before, newest.after))
    return max(kept_Ah - usual_Ah[len(usual_Ah) // 4], 0.0) / nominal_Ah


def strip_over_plate(
    history: Sequence[ShortFigures], recent: Sequence[ShortFigures], figures: ShortFigures
) -> Beyond:
    """Return how much more than foretold the strip of a cycle on Cu is of what was plated.

    As a share of what was plated; parameters as in `slippage`.
    """
    newest = _newest(recent, figures)
    shares = [one.discharge_Ah / one.charge_Ah for one in history if one.charge_Ah > 0.0]
    if newest is None or len(shares) < LEAST_PAIRS:
        return UNKNOWN
    # a cell that gets better from cycle to cycle, as it settles, is compared with its last ones
    middle = max(median(shares), min(shares[-2:]))
    own = min(_spread(shares), _spread([later - one for one, later in pairwise(shares)]))
    of_rate = math.hypot(STRIP_RATE_SCATTER, LOSS_RATE_SCATTER * max(1.0 - middle, 0.0))
    usual = _usual(history)
    rested_h = max(newest.before.rest_before_h, figures.rest_before_h)
    longer_h = max(rested_h - usual.rest_before_h - FREE_H, 0.0)
    rates = (
        (median(one.charge_A for one in history), figures.charge_A),
        (median(one.discharge_A for one in history), figures.discharge_A),
        (newest.before.charge_A, figures.charge_A),
        (newest.before.discharge_A, figures.discharge_A),
    )
    parts = [
        own,
        shares[-1] - shares[-2],
        RETURNED_PER_H * max(newest.before.charged_rest_h - usual.charged_rest_h - FREE_H, 0.0),
        math.hypot(REVIVED_SCATTER, REVIVED_PER_H * longer_h) if longer_h > 0.0 else 0.0,
        *(of_rate * _logarithm(a, b) for a, b in rates),
        *_warmth_scatter(newest),
    ]
    return Beyond(figures.discharge_Ah / figures.charge_Ah - middle, math.hypot(*parts))


def _spread(values: Sequence[float]) -> float:
    """Return the standard deviation as the median distance from the median tells it."""
    middle = median(values)
    return median(abs(one - middle) for one in values) / MAD_PER_SIGMA


def _newest(recent: Sequence[ShortFigures], figures: ShortFigures) -> _Pair | None:
    """Return the pair that a cycle makes with the one before; None where it does not follow it."""
    if not recent or figures.number != recent[-1].number + 1 or not figures.charge_Ah > 0.0:
        return None
    return _Pair(recent[0], recent[-1], figures)


def _usual(history: Sequence[ShortFigures]) -> _Usual:
    measured_K = [one.temperature_K for one in history if one.temperature_K == one.temperature_K]
    return _Usual(
        median(measured_K) if measured_K else NAN,
        median(one.charge_h for one in history),
        median(one.charged_rest_h for one in history),
        median(one.rest_before_h for one in history),
    )


def _pairs(cycles: Sequence[ShortFigures]) -> list[_Pair]:
    """Return the cycles that follow one another and have a charge."""
    out = []
    earlier: ShortFigures | None = None
    for before, after in pairwise(cycles):
        if after.number == before.number + 1 and after.charge_Ah > 0.0:
            out.append(_Pair(before if earlier is None else earlier, before, after))
            earlier = before
        else:
            earlier = None
    return out


def _logarithm(a: float, b: float) -> float:
    """Return ln(b / a); 0 where there is no such rate."""
    return math.log(b / a) if a > 0.0 and b > 0.0 else 0.0


def _warmer_K(before_K: float, after_K: float) -> float:
    """Return a difference of temperatures; 0 where one is not measured."""
    change_K = after_K - before_K
    return change_K if change_K == change_K else 0.0


def _row(pair: _Pair, usual: _Usual) -> list[float]:
    before, after = pair.before, pair.after
    hours = (
        after.charge_h,
        before.charged_rest_h,
        before.discharge_h,
        after.rest_before_h,
    )
    warmer_K = _warmer_K(usual.temperature_K, after.temperature_K)
    return [
        1.0,
        *hours,
        _logarithm(before.charge_A, after.charge_A),
        0.01 * warmer_K * sum(hours),
    ]


def _variance(pair: _Pair, usual: _Usual) -> float:
    """Return what a pair scatters by beyond the cell's own scatter, squared."""
    _, before, after = pair
    parts = [
        RATE_SCATTER * _logarithm(before.charge_A, after.charge_A),
        DISCHARGE_RATE_SCATTER * _logarithm(before.discharge_A, after.discharge_A),
        CHARGE_SCATTER * max(after.charge_h - LONGER * usual.charge_h, 0.0),
        CHARGED_REST_SCATTER * max(before.charged_rest_h - usual.charged_rest_h - FREE_H, 0.0),
        DISCHARGED_REST_SCATTER * max(after.rest_before_h - usual.rest_before_h - FREE_H, 0.0),
    ]
    return math.fsum(part * part for part in (*parts, *_warmth_scatter(pair)))


def _warmth_scatter(pair: _Pair) -> list[float]:
    """Return what changes of temperature between a pair's cycles scatter by."""
    out = []
    for one, other in ((pair.earlier, pair.before), (pair.before, pair.after)):
        beyond_K = abs(_warmer_K(one.temperature_K, other.temperature_K)) - FREE_K
        out.append(min(KELVIN_SCATTER * max(beyond_K, 0.0), MOST_WARMTH_SCATTER))
    return out
