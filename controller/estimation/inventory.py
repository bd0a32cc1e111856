"""Lithium inventory across cycles: what is lost, what came back, what cannot be told apart.

Two balances hold whatever ended a discharge. With `A` the charge that has not come back since
assembly (charge less discharge, summed), `L` lithium lost to the anode, `a` lithium left on it,
`S` lithium carried to the cathode without external current (shuttle, short), `O` charge that took
no lithium from the cathode (oxidation)::

    anode:    A = L + S + a
    cathode:  x0 - x = A - S - O = Q(first charge) - Q(charge now) - p

`x` is the cathode's filling at the end of discharge; a charge to the same end empties it to the
same filling but for `p`, the drift of polarisation. So an anode-limited end (`a` = 0) gives `L + S`
and the fade of charge between two cycles gives what is `S + O`: the lithium share of the charge
that did not come back is measured where both are small, else it is an interval.

Bare copper gives charge of its own at such an end, from its double layer, and what of that leaks
into the electrolyte before the next charge never comes back: of Li||Cu it is counted
(`copper`).

`S` and `O` grow at rates that hardly change: a shuttle while there is lithium on the anode,
oxidation the nearer the upper cut-off the more (exponentially, by one of two slopes), and what a
shuttle takes during a charge the charge gives. These clocks run differently from cycle to cycle,
which tells the two apart. Charges are compared from the first of formation on, so that what both
took there is measured as well. The prior of each is a mixture: none, or anything over three
decades. Each component carries a Gaussian over instrument, rates, what they took and `p`, updated
once per cycle; the state is some 2,900 numbers whatever the age of the cell.

How lithium lost divides into isolated metal and SEI, into fresh and old, and what an
excess-lithium cell has lost before it runs out, nothing here informs but what a treatment or a
rest brings back: those figures are the prior's, and their labels, computed by the rule, say so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from controller.domain.cell import ON_COPPER, CellFormat
from controller.domain.figures import (
    MISREAD,
    NOT_HELD,
    CycleFigures,
    CycleKind,
    DischargeEnd,
    Label,
)
from controller.domain.sample import NAN
from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation import charge_scatter
from controller.estimation.copper import NO_COPPER, CopperCharge
from controller.estimation.decay import SelfDischarge
from controller.estimation.packed import pack, unpack
from controller.estimation.running import OXIDATION_SLOPES_V

Numbers = NDArray[np.float64]

NORMAL_95: Final = 1.959964
# An anode-limited end counts from this probability on. Assumed, 0.7-0.9.
ANODE_CERTAIN: Final = 0.8
# Lithium that such an end leaves on the anode, as a share of nominal capacity. Assumed, 0-0.2 %.
LEFT_AT_ANODE_END: Final = 2e-4
# Drift of the charge between two cycles that is polarisation, share of nominal capacity over the
# root of a cycle, until the cell's own charges say how far theirs go. Assumed, 1e-4 to 2e-3.
POLARISATION: Final = 1.2e-4
# The same where no voltage is held at the end of a charge: all of the overpotential counts.
# Assumed, 2e-4 to 4e-3. It was held where the last current is below this share of the mean.
POLARISATION_UNHELD: Final = 4e-4
UNHELD_SHARE: Final = 0.8
# A charge that ends so far below the upper cut-off, and not in a hold, was ended by something else
# than the voltage (charge, time): it is compared with no other. Assumed, 5-50 mV.
SHORT_OF_CUT_OFF_V: Final = 0.02
# The same from one formation charge to the next, and from formation to base cycling: another rate,
# without a hold another end. Assumed, 1e-4 to 5e-3 and 5e-3 to 0.1.
POLARISATION_FORMING: Final = 1e-3
POLARISATION_CHANGED: Final = 0.05
# Noise of one charge (resolution, temperature, where a hold ends), share of nominal capacity: the
# least that is believed, whatever the cell's own charges say. Assumed, 5e-5 to 2e-4.
LEAST_CHARGE_NOISE: Final = 1e-4
# Charges that scatter by so much more (variance) than was believed when they were compared, or
# drift, have told less than was taken from them: what side currents are is asked anew. Assumed,
# 9-25; 4-16.
NOISE_MISJUDGED: Final = 16.0
DRIFT_MISJUDGED: Final = 9.0
# Prior of a side current, for shuttle and oxidation each: the probability that there is one, and
# its size evenly over the logarithm (share of nominal capacity an hour). Assumed; a charged cell
# that loses half its charge in two days, and one that loses 1 % in a month.
SIDE_PROBABILITY: Final = 0.3
SIDE_RATES_PER_H: Final = tuple(1e-5 * 4.0**k for k in range(6))
# Prior of the slope by which oxidation falls below the upper cut-off, by `OXIDATION_SLOPES_V`: even
# in the logarithm from 0.03 to 0.2 V, each standing for what is nearer to it. Assumed.
OXIDATION_SHARES: Final = (0.75, 0.25)
_NO_SIDE_PER_H: Final = 5e-7
# How far from constant a side current is, as a share of it: by chance in each cycle, as a walk over
# the root of a cycle, and between formation and base cycling. Assumed, 2-10 %, 0.1-1 %, 5-30 %.
SIDE_SCATTER: Final = 0.02
SIDE_WALK: Final = 0.002
FORMATION_VARIATION: Final = 0.1
# The same in a reference test: at C/20 the clocks of oxidation are far from their usual. Assumed,
# 10-30 %.
REFERENCE_SCATTER: Final = 0.2
# Without lithium on the anode no shuttle runs. Where an end may or may not have left some, a rest
# beyond so many hours counts for half, give or take half: a wrong guess would pass for a change of
# the shuttle. Assumed, 0.5-2.
LONG_REST_H: Final = 1.0
# Lithium lost that comes out above all that is missing by so many standard uncertainties: the side
# currents are none that is believed in, and no figure stands on them. Assumed, 2-5.
IMPOSSIBLE_AT_U: Final = 3.0
_SIDE_WIDTH: Final = 0.45  # of each component; neighbours stand a factor of four apart
# Prior of lithium lost per charge plated. Assumed: log-normal, CE 98 to 99.9 %.
LOSS_MEDIAN: Final = 0.004
LOSS_FACTOR: Final = 2.5
# Prior of the time over which fresh inactive lithium becomes old (h). Assumed: 10-300 h.
AGEING_H: Final = (10.0, 25.0, 60.0, 150.0, 300.0)
_AGEING_WEIGHTS: Final = (0.1, 0.25, 0.3, 0.25, 0.1)
_SHARES: Final = 41  # grid of the inactive share
# A charge this many standard uncertainties from all that is believed is not comparable; this many
# in a row and the cell is another: what its side currents are is asked anew. Assumed, 4-6 and 2-3.
ODD_AT_U: Final = 5.0
ODD_IN_ROW: Final = 2
# A charge of formation, or the first after it, this many from the likeliest came to another end (no
# hold, another cut-off): what is compared begins anew. Assumed, 2-4.
FORMING_ODD_AT_U: Final = 2.5
# A charge below this share of what the cathode holds at least was cut short by polarisation (no
# salt, no contact): it says nothing of lithium. Assumed, 0.3-0.7.
COLLAPSED: Final = 0.5
_BELIEVED_LOG: Final = -14.0  # of a component's weight, beside the largest
# A net charge above zero by this many standard uncertainties is lithium that came back.
REVIVED_AT_U: Final = 2.0
# That the voltage at rest falls for another reason than those counted. Assumed, 0.5-5 %.
REST_MISLEADS: Final = 0.01
# What a rest says of oxidation supposes that it falls to a third over 0.1 V: this e-fold (V).
OXIDATION_FALLS_V: Final = 0.1 / math.log(3.0)
# The rule of prior domination.
_SD_RATIO: Final = 0.7
_SHIFT_SD: Final = 0.5

_NEGLIGIBLE: Final = 1e-5  # weight of a component
_ROOT_12: Final = math.sqrt(12.0)
# Of a component: the instrument, both rates (A), drift of polarisation (Ah), and what both have
# taken since the reference charge (Ah).
_Z, _S, _O, _P, _TAKEN_S, _TAKEN_O = range(6)
_STATES: Final = 6
_UPPER: Final = np.triu_indices(_STATES)
_SPOILING: Final = frozenset(
    {"gap", "unobserved-charge", "incomplete", "time-reset", "saturated", NOT_HELD}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InventoryConfig:
    """What is told of the cell.

    Attributes
    ----------
    cell_format : CellFormat
    nominal_capacity_Ah : float
    inactive_share_mean, inactive_share_sd : float
        Prior of isolated metal's share of lithium lost; assumed.
    upper_cut_off_V : float
        Of the cell; NaN where not told: then every charge counts as one that came to it.
    side_probability : float
        See `SIDE_PROBABILITY`; none in Li||Cu, where nothing drives a shuttle.
    """

    cell_format: CellFormat
    nominal_capacity_Ah: float
    inactive_share_mean: float = 0.6
    inactive_share_sd: float = 0.2
    upper_cut_off_V: float = NAN
    side_probability: float = SIDE_PROBABILITY


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """An estimate: mean, standard uncertainty, 95 % interval, and how it came about.

    The interval of a prior-dominated quantity is all that the readings allow, wider than the
    prior's own: no prior is asked to exclude what was not seen.
    """

    value_Ah: float
    u_Ah: float
    low_Ah: float
    high_Ah: float
    label: Label


NOTHING: Final = Quantity(value_Ah=NAN, u_Ah=NAN, low_Ah=NAN, high_Ah=NAN, label=Label.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """Where the lithium is after a cycle; cumulative since assembly.

    Attributes
    ----------
    cycle : int
    missing : Quantity
        Charge that has not come back, whatever took it.
    lost : Quantity
        Lithium lost to the anode.
    side : Quantity
        Charge that took no lithium for good: shuttle, short and oxidation together.
    inactive, sei, fresh, old : Quantity
    revived : Quantity
        Lithium that came back in this cycle; 0 with its uncertainty where none did. A lower bound:
        what the cycle lost meanwhile is not seen.
    """

    cycle: int
    missing: Quantity
    lost: Quantity
    side: Quantity
    inactive: Quantity
    sei: Quantity
    fresh: Quantity
    old: Quantity
    revived: Quantity


@dataclass(slots=True, eq=False)
class InventoryState:
    """Means, covariances and weights: constant in size, made by `new_inventory`."""

    mean: Numbers
    cov: Numbers
    log_weight: Numbers
    fresh_Ah: Numbers  # by ageing time, were all lithium lost isolated metal
    oxidation_h: Numbers  # as at the upper cut-off, by slope
    reference_oxidation_h: Numbers
    scatter: Numbers  # of `charge_scatter`
    clocks_h: Numbers  # of shuttle and oxidation at the last base charge
    first_h: Numbers  # what they ran from the first to the second of these
    cycles: int = 0
    shuttle_h: float = 0.0  # in which lithium was on the anode
    missing_Ah: float = 0.0
    u_missing_Ah: float = 0.0  # of the instrument, the same sign always: it adds up
    throughput_Ah: float = 0.0
    lost_Ah: float = 0.0  # at the last anode-limited end
    lost_u_Ah: float = 0.0
    lost_missing_Ah: float = 0.0
    copper_Ah: float = 0.0  # from bare copper and leaked, and its uncertainty, each the same way
    copper_u_Ah: float = 0.0
    revived_Ah: float = 0.0
    revived_u_Ah: float = 0.0
    gross_Ah: float = 0.0  # lost, and what of it came back
    share_floor: float = 0.0  # of isolated metal in it: as much came back
    share_floor_u: float = 0.0
    starts_empty: int = 1  # the anode held no lithium at assembly
    anode_ends: int = 0
    bare: float = 1.0  # chance that the anode held nothing when the last cycle ended
    # The charge that others are compared with, and the sums when it began.
    has_reference: int = 0
    odd_in_row: int = 0
    rests: int = 0  # charged rests that told of the side currents
    odd_Ah: float = 0.0  # by what charges that were not comparable differed
    reference_charge_Ah: float = 0.0
    reference_missing_Ah: float = 0.0
    reference_u_Ah: float = 0.0
    reference_shuttle_h: float = 0.0
    reference_charging_h: float = 0.0
    forming: int = 0  # the charge compared last was one of formation
    odd_surprise_Ah: float = 0.0  # by how much the last such charge was away
    # How far charges scatter, now, at least so far, and as the reference charge was given; what of
    # drift was assumed since then, and what was given for it.
    noise_Ah2: float = 0.0
    least_noise_Ah2: float = 0.0
    reference_noise_Ah2: float = 0.0
    drift_assumed_Ah2: float = 0.0
    drift_given_Ah2: float = 0.0
    grown_from: int = 0  # 0: no base charge to go on from; 1: one; 2: more, and how they grow


_ARRAYS: Final = (
    "mean",
    "cov",
    "log_weight",
    "fresh_Ah",
    "oxidation_h",
    "reference_oxidation_h",
    "scatter",
    "clocks_h",
    "first_h",
)


# Of each component: its shuttle (0: none) and oxidation (0: none), and the slope of the latter's
# clock. Shuttles change slowest.
_RATES: Final = len(SIDE_RATES_PER_H)
_CLOCKS: Final = len(OXIDATION_SLOPES_V)
_OXIDATIONS: Final = 1 + _CLOCKS * _RATES
_CLOCK_OF: Final[NDArray[np.int64]] = np.tile(
    np.append(0, np.repeat(np.arange(_CLOCKS), _RATES)), 1 + _RATES
)  # none has no clock: any will do


@lru_cache(maxsize=8)
def _components(config: InventoryConfig) -> tuple[Numbers, Numbers, Numbers]:
    """Return means, covariances and log weights of the prior mixture; not to be written to."""
    nominal_Ah = config.nominal_capacity_Ah
    probability = _side_probability(config)
    means, widths, weights = [], [], []
    for shares in ((1.0,), OXIDATION_SHARES):
        rates = np.append(0.0, np.tile(SIDE_RATES_PER_H, len(shares))) * nominal_Ah
        width = _SIDE_WIDTH * rates
        width[0] = _NO_SIDE_PER_H * nominal_Ah
        each = np.repeat(shares, _RATES) * probability / _RATES
        weight = np.append(1.0 - probability, each)
        means.append(rates)
        widths.append(width)
        weights.append(weight)
    shuttle, oxidation = (index.ravel() for index in np.indices((1 + _RATES, _OXIDATIONS)))
    if probability == 0.0:  # the first has neither
        shuttle, oxidation = shuttle[:1], oxidation[:1]
    count = len(shuttle)
    mean = np.zeros((count, _STATES))
    cov = np.zeros((count, _STATES, _STATES))
    mean[:, _S] = means[0][shuttle]
    mean[:, _O] = means[1][oxidation]
    cov[:, _Z, _Z] = 1.0
    cov[:, _S, _S] = widths[0][shuttle] ** 2
    cov[:, _O, _O] = widths[1][oxidation] ** 2
    log_weight = np.log(np.maximum(weights[0][shuttle] * weights[1][oxidation], 1e-300))
    return mean, cov, log_weight


def _side_probability(config: InventoryConfig) -> float:
    """Return the probability of a shuttle, and of oxidation; two foils have no cathode for them."""
    foils = config.cell_format in {CellFormat.LI_CU, CellFormat.LI_LI}
    return 0.0 if foils else config.side_probability


def _clocks(state: InventoryState) -> NDArray[np.int64]:
    """Return of each component the clock of its oxidation."""
    return _CLOCK_OF[: len(state.mean)]


def _weights(state: InventoryState) -> Numbers:
    """Return of each component how likely it is."""
    weight = np.exp(state.log_weight - np.max(state.log_weight))
    shares: Numbers = weight / weight.sum()
    return shares


def new_inventory(config: InventoryConfig) -> InventoryState:
    """Return the state of a cell as assembled."""
    mean, cov, log_weight = _components(config)
    state = InventoryState(
        mean=mean.copy(),
        cov=cov.copy(),
        log_weight=log_weight.copy(),
        fresh_Ah=np.zeros(len(AGEING_H)),
        oxidation_h=np.zeros(_CLOCKS),
        reference_oxidation_h=np.zeros(_CLOCKS),
        scatter=charge_scatter.new_scatter(),
        clocks_h=np.zeros(1 + _CLOCKS),
        first_h=np.zeros(1 + _CLOCKS),
        bare=0.0 if config.cell_format is CellFormat.EXCESS_LITHIUM else 1.0,
    )
    _learn_noise(state, config)
    state.least_noise_Ah2 = state.noise_Ah2
    return state


def to_dict(state: InventoryState) -> dict[str, Any]:
    """Return the state for JSON."""
    plain = {item.name: getattr(state, item.name) for item in fields(InventoryState)}
    plain["cov"] = state.cov[:, *_UPPER]  # symmetric
    return {
        name: pack(value) if isinstance(value, np.ndarray) else value
        for name, value in plain.items()
    }


def from_dict(data: Mapping[str, Any]) -> InventoryState:
    """Return the state that `to_dict` gave.

    Raises
    ------
    KeyError
        A field is missing.
    """
    values: dict[str, Any] = {
        item.name: unpack(data[item.name]) if item.name in _ARRAYS else data[item.name]
        for item in fields(InventoryState)
    }
    upper = values["cov"]
    cov = np.empty((len(upper), _STATES, _STATES))
    cov[:, *_UPPER] = upper
    cov[:, *_UPPER[::-1]] = upper
    values["cov"] = cov
    return InventoryState(**values)


def inventory_from(data: Mapping[str, Any]) -> Inventory:
    """Return the inventory that `dataclasses.asdict` gave, also after JSON."""
    quantities = {
        name: Quantity(**{**one, "label": Label(one["label"])})
        for name, one in data.items()
        if name != "cycle"
    }
    return Inventory(cycle=data["cycle"], **quantities)


# -- one cycle ----------------------------------------------------------------------------------


def close_cycle(
    state: InventoryState,
    config: InventoryConfig,
    figures: CycleFigures,
    rest: SelfDischarge | None = None,
    copper: CopperCharge = NO_COPPER,
    oxidation_s: Sequence[float] = (),
) -> Inventory:
    """Take in a cycle's figures and what a charged rest in it says; return the inventory after it.

    A cycle whose charge is not finite, or whose currents are not the cell's, is passed over: its
    sums stay unknown, and nothing after it is called measured.

    Parameters
    ----------
    state : InventoryState
    config : InventoryConfig
    figures : CycleFigures
    rest : SelfDischarge, optional
    copper : CopperCharge, optional
        What bare copper gave at the end: see `copper`.
    oxidation_s : sequence of float, optional
        Time as at the upper cut-off, by `OXIDATION_SLOPES_V`; empty: that near it, all of it, or
        all there is.
    """
    known = (
        math.isfinite(figures.net_charge_Ah)
        and math.isfinite(figures.u_net_charge_Ah)
        and not MISREAD.intersection(figures.flags)
    )
    collapsed = known and _comparable(config, figures) and _has_collapsed(state, figures)
    if not known:
        state.starts_empty = 0
    else:
        if _comparable(config, figures) and not collapsed:
            _take_charge(state, config, figures)
        if rest is not None:
            _take_rest(state, config, rest)
        state.missing_Ah -= figures.net_charge_Ah
        state.u_missing_Ah += figures.u_net_charge_Ah
        state.throughput_Ah += figures.charge_Ah
    state.cycles += 1
    anode = (
        known
        and not collapsed
        and figures.discharge_end is DischargeEnd.ANODE
        and figures.discharge_end_probability >= ANODE_CERTAIN
    )
    # A charge that collapsed put nothing on the anode: it is as bare as it was.
    bare = anode or (collapsed and state.anode_ends > 0)
    chance = 1.0 if bare else _chance_of_bare(config, figures)
    _count_time(state, config, figures, oxidation_s, bare=chance, charged=not (collapsed and bare))
    state.bare = chance
    if bare:
        state.anode_ends += 1
    else:
        state.anode_ends = 0
    if anode:
        state.copper_Ah += copper.value_Ah
        state.copper_u_Ah += copper.u_Ah
    between = anode and _was_bare(state)
    revived = _revived(state, config, figures, between=between, copper=copper)
    missing = Quantity(
        value_Ah=state.missing_Ah,
        u_Ah=state.u_missing_Ah,
        low_Ah=state.missing_Ah - NORMAL_95 * state.u_missing_Ah,
        high_Ah=state.missing_Ah + NORMAL_95 * state.u_missing_Ah,
        label=Label.MEASURED if known else Label.UNKNOWN,
    )
    lost = _lost(state, config, anode=anode)
    _follow(state, lost, revived, _hours(figures.duration_s))
    inactive, sei, fresh, old = _split(state, config, lost)
    return Inventory(
        cycle=figures.cycle,
        missing=missing,
        lost=lost,
        side=_side(state, config),
        inactive=inactive,
        sei=sei,
        fresh=fresh,
        old=old,
        revived=revived,
    )


def _hours(time_s: float) -> float:
    return time_s / SECONDS_PER_HOUR if math.isfinite(time_s) else 0.0


def _count_time(
    state: InventoryState,
    config: InventoryConfig,
    figures: CycleFigures,
    oxidation_s: Sequence[float],
    *,
    bare: float,
    charged: bool,
) -> None:
    """Count the hours in which a shuttle and oxidation ran; all of them where nothing is told.

    `bare` is the chance that the anode holds nothing now, `charged` whether it held anything.
    """
    duration_h = _hours(figures.duration_s)
    before_h = _hours(figures.spent_before_s)
    bare_h, bare_h2 = 0.0, 0.0
    for chance, rest_h in ((state.bare, before_h), (bare, _hours(figures.spent_s) - before_h)):
        mean_h, variance_h2 = _bare_hours(chance, rest_h)
        bare_h += mean_h
        bare_h2 += variance_h2
    shuttle_h = duration_h - bare_h if charged else 0.0
    if len(oxidation_s) == _CLOCKS:
        oxidation_h = np.array([_hours(one_s) for one_s in oxidation_s])
    else:
        high_h = _hours(figures.high_s) if math.isfinite(figures.high_s) else duration_h
        oxidation_h = np.full(_CLOCKS, high_h)
    state.shuttle_h += shuttle_h
    state.oxidation_h += oxidation_h
    hours = np.full((len(state.mean), 2), shuttle_h)
    hours[:, 1] = oxidation_h[_clocks(state)]
    # The same unsteadiness whichever of them it is: the steadier would else look the likelier.
    least_A = _NO_SIDE_PER_H * config.nominal_capacity_Ah
    took_Ah = (np.abs(state.mean[:, [_S, _O]]) + least_A) * np.maximum(hours, 1e-3)
    both_Ah = float(_weights(state) @ took_Ah.sum(axis=1))
    parts = took_Ah / took_Ah.sum(axis=1)[:, None]
    if figures.kind is CycleKind.FORMATION:  # what both take is not known yet: each its own
        variance = (SIDE_SCATTER * took_Ah.sum(axis=1)[:, None]) ** 2 * parts
    else:
        scatter = REFERENCE_SCATTER if figures.kind is CycleKind.REFERENCE else SIDE_SCATTER
        variance = (scatter * both_Ah) ** 2 * parts
    for k, (rate, taken) in enumerate(((_S, _TAKEN_S), (_O, _TAKEN_O))):
        ran_h = hours[:, k]
        state.mean[:, taken] += ran_h * state.mean[:, rate]
        state.cov[:, taken, :] += ran_h[:, None] * state.cov[:, rate, :]
        state.cov[:, :, taken] += ran_h[:, None] * state.cov[:, :, rate]
        state.cov[:, taken, taken] += variance[:, k]
        if rate == _S:
            state.cov[:, taken, taken] += bare_h2 * state.mean[:, rate] ** 2
        walks = ran_h > 0.0
        state.cov[walks, rate, rate] += (SIDE_WALK * both_Ah / ran_h[walks]) ** 2 * parts[walks, k]


def _bare_hours(chance: float, rest_h: float) -> tuple[float, float]:
    """Return mean and variance of the hours of a rest in which the anode held nothing."""
    if chance == 1.0:
        return rest_h, 0.0
    long_h = max(rest_h - LONG_REST_H, 0.0)
    short_h = rest_h - long_h
    return (
        chance * short_h + 0.5 * long_h,
        chance * (1.0 - chance) * short_h**2 + 0.25 * long_h**2,
    )


def _chance_of_bare(config: InventoryConfig, figures: CycleFigures) -> float:
    """Return the chance that a discharge left nothing on the anode."""
    probability = figures.discharge_end_probability
    if config.cell_format is CellFormat.EXCESS_LITHIUM:
        return 0.0
    if figures.discharge_end is DischargeEnd.ANODE:
        return probability
    if figures.discharge_end is DischargeEnd.UNKNOWN or not math.isfinite(probability):
        return 0.5
    return 0.0 if probability >= ANODE_CERTAIN else 1.0 - probability


def _comparable(config: InventoryConfig, figures: CycleFigures) -> bool:
    """Return whether this cycle's charge is one to compare others with."""
    return (
        config.cell_format in {CellFormat.ANODE_FREE, CellFormat.EXCESS_LITHIUM}
        and figures.kind in {CycleKind.FORMATION, CycleKind.BASE}
        and figures.treatment_net_charge_Ah == 0.0
        and figures.base_charge_Ah > 0.0
        and not _SPOILING.intersection(figures.flags)
        and not ended_before_cut_off(config, figures)
    )


def ended_before_cut_off(config: InventoryConfig, figures: CycleFigures) -> bool:
    """Return whether the charge is known to have ended below the cut-off, without a hold."""
    return figures.charge_top_V < config.upper_cut_off_V - SHORT_OF_CUT_OFF_V and _unheld(figures)


def _has_collapsed(state: InventoryState, figures: CycleFigures) -> bool:
    """Return whether the charge is far below what the cathode holds.

    It holds at least what it gave in the reference charge less all that is missing since; side
    currents only add to that. So no loss of lithium and no side current explains less.
    """
    if not state.has_reference:
        return False
    held_Ah = state.reference_charge_Ah - (state.missing_Ah - state.reference_missing_Ah)
    return figures.base_charge_Ah < COLLAPSED * held_Ah


def _take_charge(state: InventoryState, config: InventoryConfig, figures: CycleFigures) -> None:
    """Compare this cycle's charge with the reference charge; update the side currents."""
    forming, was_forming = int(figures.kind is CycleKind.FORMATION), state.forming
    state.forming = forming
    if not state.has_reference:
        _refer_to(state, figures)
        return
    fade_Ah = state.reference_charge_Ah - figures.base_charge_Ah
    excess_Ah = state.missing_Ah - state.reference_missing_Ah - fade_Ah
    longer_h = _hours(figures.charging_s) - state.reference_charging_h
    instrument_Ah = state.u_missing_Ah - state.reference_u_Ah
    design = np.array([instrument_Ah, longer_h, 0.0, -1.0, 1.0, 1.0])
    assumed_Ah = _move_polarisation(state, config, figures, was_forming=was_forming)
    gain = state.cov @ design  # (components, states)
    variance = gain @ design + state.noise_Ah2
    surprise = excess_Ah - state.mean @ design
    believed = state.log_weight > np.max(state.log_weight) + _BELIEVED_LOG
    log_weight = state.log_weight - 0.5 * (surprise * surprise / variance + np.log(variance))
    best = int(np.argmax(log_weight))
    away_u = abs(float(surprise[best])) / math.sqrt(float(variance[best]))
    if (forming or was_forming) and away_u > FORMING_ODD_AT_U:
        _refer_to(state, figures)  # formation came to another end
        return
    if not np.any(np.abs(surprise[believed]) <= ODD_AT_U * np.sqrt(variance[believed])):
        # Nothing believed so far explains it: this charge ended elsewhere, or the cell changed.
        _take_odd(state, config, figures, float(_weights(state) @ surprise))
        return
    state.odd_in_row = 0
    if not forming:
        _follow_charge(state, config, figures, assumed_Ah)
        _learn_noise(state, config)
    if _misjudged(state):
        _ask_anew(state, config, figures)
        return
    state.least_noise_Ah2 = min(state.least_noise_Ah2, state.noise_Ah2)
    variance = gain @ design + state.noise_Ah2
    log_weight = state.log_weight - 0.5 * (surprise * surprise / variance + np.log(variance))
    # A component that is out by more than this stays ready to come back.
    state.log_weight = np.maximum(log_weight - np.max(log_weight), -700.0)
    share = gain / variance[:, None]
    state.mean += share * surprise[:, None]
    cov = state.cov - share[:, :, None] * gain[:, None, :]
    state.cov = 0.5 * (cov + cov.transpose(0, 2, 1))


def _move_polarisation(
    state: InventoryState, config: InventoryConfig, figures: CycleFigures, *, was_forming: int
) -> float:
    """Let polarisation, and the charge compared with, be off by what is believed.

    Returns the drift that is assumed of base charges (Ah).
    """
    nominal_Ah = config.nominal_capacity_Ah
    unheld = _unheld(figures)
    assumed_Ah = (POLARISATION_UNHELD if unheld else POLARISATION) * nominal_Ah
    if state.forming != was_forming:
        state.cov[:, _P, _P] += (POLARISATION_CHANGED * nominal_Ah) ** 2
        for rate in (_S, _O):
            state.cov[:, rate, rate] += (FORMATION_VARIATION * state.mean[:, rate]) ** 2
    elif state.forming:
        state.cov[:, _P, _P] += (POLARISATION_FORMING * nominal_Ah) ** 2
    else:
        _let_drift(state, assumed_Ah, least=1.0 if unheld else 0.0)
    if state.noise_Ah2 > state.reference_noise_Ah2:  # the charge compared with scattered as much
        state.cov[:, _P, _P] += state.noise_Ah2 - state.reference_noise_Ah2
        state.reference_noise_Ah2 = state.noise_Ah2
    return assumed_Ah


def _unheld(figures: CycleFigures) -> bool:
    """Return whether the charge is known to have ended without a held voltage."""
    hours = _hours(figures.charging_s)
    return hours > 0.0 and figures.charge_end_A > UNHELD_SHARE * figures.base_charge_Ah / hours


def _take_odd(
    state: InventoryState, config: InventoryConfig, figures: CycleFigures, surprise_Ah: float
) -> None:
    """Take in a charge that nothing explains; after some in a row, ask anew."""
    state.odd_in_row += 1
    state.odd_Ah += abs(surprise_Ah)
    if state.odd_in_row >= ODD_IN_ROW:
        # Away by as much as the last, the cell changed; by another distance, its charges scatter.
        apart_Ah = surprise_Ah - state.odd_surprise_Ah
        charge_scatter.take_apart(state.scatter, apart_Ah, config.nominal_capacity_Ah)
        _learn_noise(state, config)
        state.grown_from = 0
        _ask_anew(state, config, figures)
    state.odd_surprise_Ah = surprise_Ah


def _ask_anew(state: InventoryState, config: InventoryConfig, figures: CycleFigures) -> None:
    """Forget what the side currents seemed to be, and compare with this charge from now on."""
    mean, cov, log_weight = _components(config)
    state.mean, state.cov, state.log_weight = mean.copy(), cov.copy(), log_weight.copy()
    state.rests = 0
    state.least_noise_Ah2 = state.noise_Ah2
    _refer_to(state, figures)


def _let_drift(state: InventoryState, assumed_Ah: float, *, least: float) -> None:
    """Let polarisation drift as far as charges do, those before this one included.

    No less than `least` times what is assumed: where no voltage is held all of the overpotential
    counts, and may grow as evenly as a side current.
    """
    state.drift_assumed_Ah2 += assumed_Ah * assumed_Ah
    _, drift2 = charge_scatter.scatter_and_drift(state.scatter)
    drift2 = max(drift2, least * least)
    needed_Ah2 = drift2 * state.drift_assumed_Ah2
    more_Ah2 = max(needed_Ah2 - state.drift_given_Ah2, drift2 * assumed_Ah * assumed_Ah)
    state.cov[:, _P, _P] += more_Ah2
    state.drift_given_Ah2 += more_Ah2


def _learn_noise(state: InventoryState, config: InventoryConfig) -> None:
    """Take how far charges scatter from what they told so far."""
    scatter2, _ = charge_scatter.scatter_and_drift(state.scatter)
    state.noise_Ah2 = max(scatter2, LEAST_CHARGE_NOISE**2) * config.nominal_capacity_Ah**2


def _misjudged(state: InventoryState) -> bool:
    """Return whether charges scatter or drift far more than they were taken to."""
    _, drift2 = charge_scatter.scatter_and_drift(state.scatter)
    needed_Ah2 = drift2 * state.drift_assumed_Ah2
    return (
        state.noise_Ah2 > NOISE_MISJUDGED * state.least_noise_Ah2
        or needed_Ah2 > DRIFT_MISJUDGED * state.drift_given_Ah2
    )


def _follow_charge(
    state: InventoryState, config: InventoryConfig, figures: CycleFigures, drift_Ah: float
) -> None:
    """Learn from a base charge how far charges scatter and drift.

    Charge and what was missing before it sum up to what the cathode held and side currents took,
    which grows as evenly as their clocks run; what a shuttle takes during a charge, it gives.
    """
    nominal_Ah = config.nominal_capacity_Ah
    sum_Ah = state.missing_Ah + figures.base_charge_Ah
    shuttle_h = state.shuttle_h + _hours(figures.charging_s)
    clocks_h = np.append(shuttle_h, state.oxidation_h)
    ran_h = clocks_h - state.clocks_h
    state.clocks_h = clocks_h
    if state.grown_from == 0:
        charge_scatter.begin(state.scatter, sum_Ah, nominal_Ah)
        state.grown_from = 1
        return
    if state.grown_from == 1:
        state.first_h = ran_h
        state.grown_from = 2
    rates_A = _rates_A(state, _NO_SIDE_PER_H * nominal_Ah)
    first_Ah = float(rates_A @ state.first_h)
    charge_scatter.take(
        state.scatter,
        sum_Ah,
        grown=float(rates_A @ ran_h) / first_Ah if first_Ah > 0.0 else 1.0,
        drift_Ah=drift_Ah,
        scatters=SIDE_SCATTER,
        walks=SIDE_WALK,
        nominal_Ah=nominal_Ah,
    )


def _rates_A(state: InventoryState, least_A: float) -> Numbers:
    """Return what is believed of the shuttle, and of oxidation by each clock."""
    rates = _weights(state)[:, None] * np.maximum(state.mean[:, [_S, _O]], least_A)
    by_clock = np.bincount(_clocks(state), rates[:, 1], minlength=_CLOCKS)
    return np.append(rates[:, 0].sum(), by_clock)


def _take_rest(state: InventoryState, config: InventoryConfig, rest: SelfDischarge) -> None:
    """Update the side currents by what fills the cathode at rest: a shuttle, oxidation in part.

    What is wrong with a rest (the slope, a drift) is so in the next as well: the n-th counts
    1/n^2, all of them together less than two.
    """
    if config.cell_format not in {CellFormat.ANODE_FREE, CellFormat.EXCESS_LITHIUM}:
        return
    # What it says oxidation is at most there holds for one slope; for another it is another power.
    powers = OXIDATION_FALLS_V / np.array(OXIDATION_SLOPES_V)
    most = (rest.oxidation_most**powers)[_clocks(state)]
    design = np.zeros((len(state.mean), _STATES))
    design[:, _S] = 1.0
    design[:, _O] = 0.5 * most
    gain = np.einsum("nij,nj->ni", state.cov, design)
    expected_A = np.einsum("ni,ni->n", state.mean, design)
    own_A2 = rest.u_A**2 + (rest.slope_u * expected_A) ** 2 + (most * state.mean[:, _O]) ** 2 / 12.0
    variance = np.einsum("ni,ni->n", gain, design) + own_A2 * (state.rests + 1) ** 2
    surprise = rest.current_A - expected_A
    believed = state.log_weight > np.max(state.log_weight) + _BELIEVED_LOG
    if not np.any(np.abs(surprise[believed]) <= ODD_AT_U * np.sqrt(variance[believed])):
        return
    state.rests += 1
    log = -0.5 * (surprise * surprise / variance + np.log(variance))
    best = float(np.max(log[believed]))
    log = np.minimum(log, best)
    state.log_weight += np.logaddexp(
        math.log1p(-REST_MISLEADS) + log, math.log(REST_MISLEADS) + best
    )
    state.log_weight -= np.max(state.log_weight)
    share = gain / variance[:, None]
    state.mean += share * surprise[:, None]
    cov = state.cov - share[:, :, None] * gain[:, None, :]
    state.cov = 0.5 * (cov + cov.transpose(0, 2, 1))


def _refer_to(state: InventoryState, figures: CycleFigures) -> None:
    """Compare later charges with this one."""
    state.has_reference = 1
    state.odd_in_row = 0
    state.reference_noise_Ah2 = 0.0
    state.drift_assumed_Ah2 = state.drift_given_Ah2 = 0.0
    state.reference_charge_Ah = figures.base_charge_Ah
    state.reference_missing_Ah = state.missing_Ah
    state.reference_u_Ah = state.u_missing_Ah
    state.reference_shuttle_h = state.shuttle_h
    state.reference_oxidation_h = state.oxidation_h.copy()
    state.reference_charging_h = _hours(figures.charging_s)
    # What the side currents had taken before is told by their rates alone from here on.
    for since in (_P, _TAKEN_S, _TAKEN_O):
        state.mean[:, since] = 0.0
        state.cov[:, since, :] = 0.0
        state.cov[:, :, since] = 0.0


def _was_bare(state: InventoryState) -> bool:
    """Return whether the anode held nothing when the cycle that just ended bare began."""
    return state.anode_ends > 1 or bool(state.starts_empty and state.cycles == 1)


def _revived(
    state: InventoryState,
    config: InventoryConfig,
    figures: CycleFigures,
    *,
    between: bool,
    copper: CopperCharge,
) -> Quantity:
    """Return what came back in this cycle: net charge above zero between two anode-limited ends."""
    if config.cell_format not in ON_COPPER:
        return NOTHING
    net_Ah = figures.net_charge_Ah - copper.value_Ah
    u_Ah = math.hypot(figures.u_net_charge_Ah, copper.u_Ah)
    if not between or not net_Ah > REVIVED_AT_U * u_Ah:
        return Quantity(value_Ah=0.0, u_Ah=u_Ah, low_Ah=0.0, high_Ah=NAN, label=Label.BOUND)
    state.revived_Ah += net_Ah
    state.revived_u_Ah += u_Ah
    return Quantity(
        value_Ah=net_Ah,
        u_Ah=u_Ah,
        low_Ah=net_Ah - NORMAL_95 * u_Ah,
        high_Ah=NAN,
        label=Label.BOUND,  # what the cycle lost meanwhile is not seen
    )


def _loss_prior_Ah(state: InventoryState) -> tuple[float, float, float, float]:
    """Return mean, standard deviation and 95 % bounds of lithium lost by the prior alone."""
    sigma = math.log(LOSS_FACTOR)
    median_Ah = LOSS_MEDIAN * state.throughput_Ah
    mean_Ah = median_Ah * math.exp(0.5 * sigma * sigma)
    sd_Ah = mean_Ah * math.sqrt(math.expm1(sigma * sigma))
    spread = math.exp(NORMAL_95 * sigma)
    return mean_Ah, sd_Ah, median_Ah / spread, median_Ah * spread


@dataclass(frozen=True, slots=True)
class _Mixture:
    """Components of lithium lost at an anode-limited end (Ah), with their weights."""

    mean: Numbers
    sd: Numbers
    weight: Numbers

    def moments(self, tilt: Numbers | float = 1.0) -> tuple[float, float]:
        """Return mean and standard deviation, the weights multiplied by `tilt`."""
        weight = self.weight * tilt
        weight = weight / weight.sum()
        mean = float(weight @ self.mean)
        return mean, math.sqrt(max(float(weight @ (self.sd**2 + (self.mean - mean) ** 2)), 0.0))

    def quantile(self, probability: float) -> float:
        """Return a quantile, by bisection, of the components that count."""
        counts = self.weight > _NEGLIGIBLE
        mean, sd = self.mean[counts], self.sd[counts]
        weight = self.weight[counts] / self.weight[counts].sum()
        low = float(np.min(mean - 6.0 * sd))
        high = float(np.max(mean + 6.0 * sd))
        for _ in range(40):
            middle = 0.5 * (low + high)
            below = float(weight @ _normal_cdf((middle - mean) / sd))
            if below < probability:
                low = middle
            else:
                high = middle
        return 0.5 * (low + high)


def _normal_cdf(z: Numbers) -> Numbers:
    """Return the normal distribution to 8e-8 (Abramowitz & Stegun 1964, 26.2.17)."""
    away = np.abs(z)
    t = 1.0 / (1.0 + 0.2316419 * away)
    tail = t * (
        0.319381530 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429)))
    )
    tail = tail * np.exp(-0.5 * away * away) * 0.3989422804014327
    upper: Numbers = np.where(z > 0.0, 1.0 - tail, tail)
    return upper


def _lost_mixture(state: InventoryState, config: InventoryConfig) -> _Mixture:
    """Return lithium lost plus what is left on the anode: A - S - instrument."""
    before_h = state.reference_shuttle_h if state.has_reference else 0.0
    design = np.array([state.u_missing_Ah, before_h, 0.0, 0.0, 1.0, 0.0])
    # What copper gave and leaked was no lithium: as much more of that is lost.
    mean = state.missing_Ah + state.copper_Ah - state.mean @ design
    variance = state.cov @ design @ design + state.copper_u_Ah**2
    left_Ah = LEFT_AT_ANODE_END * config.nominal_capacity_Ah
    varied_Ah = FORMATION_VARIATION * state.mean[:, _S] * before_h
    sd = np.sqrt(np.maximum(variance, 0.0) + left_Ah**2 + varied_Ah**2)
    weight = np.exp(state.log_weight - np.max(state.log_weight))
    # Lithium lost is not negative, and a side current that would have it so is none.
    weight = weight * np.maximum(_normal_cdf(mean / sd), 1e-12)
    return _Mixture(mean, sd, weight / weight.sum())


@lru_cache(maxsize=8)
def _tilts(config: InventoryConfig) -> tuple[Numbers, ...]:
    """Return the factors on the components' weights where a prior is moved by one SD.

    First the shuttle's, then oxidation's, the other one staying: it is likelier by one standard
    deviation on the probit scale, and larger by one on the logarithm.
    """
    before = _side_probability(config)
    if not 0.0 < before < 1.0:
        return ()
    after = 0.5 * math.erfc(-(_probit(before) + 1.0) / math.sqrt(2.0))
    place = np.arange(_RATES) - 0.5 * (_RATES - 1)
    larger = np.exp(place / np.std(place))  # its size, likewise, on the logarithm
    odds = after / before * larger * _RATES / larger.sum()
    none = (1.0 - after) / (1.0 - before)
    shuttle = np.repeat(np.append(none, odds), _OXIDATIONS)
    oxidation = np.tile(np.append(none, np.tile(odds, _CLOCKS)), 1 + _RATES)
    return shuttle, oxidation


def _moved_by(mixture: _Mixture, config: InventoryConfig) -> float:
    """Return by how much the mean moves where a prior is moved by one SD: the more of both."""
    mean, _ = mixture.moments()
    moved = [abs(mixture.moments(tilt)[0] - mean) for tilt in _tilts(config)]
    return max(moved, default=0.0)


def _probit(probability: float) -> float:
    low, high = -8.0, 8.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        if 0.5 * math.erfc(-middle / math.sqrt(2.0)) < probability:
            low = middle
        else:
            high = middle
    return 0.5 * (low + high)


def _lost(state: InventoryState, config: InventoryConfig, *, anode: bool) -> Quantity:
    """Return lithium lost."""
    if config.cell_format is CellFormat.EXCESS_LITHIUM:
        mean_Ah, sd_Ah, low_Ah, high_Ah = _loss_prior_Ah(state)
        return Quantity(
            value_Ah=mean_Ah,
            u_Ah=sd_Ah,
            low_Ah=low_Ah,
            high_Ah=high_Ah,
            label=Label.PRIOR_DOMINATED,
        )
    if not (config.cell_format in ON_COPPER and state.starts_empty):
        return NOTHING
    if not anode:
        return _bound(state)
    mixture = _lost_mixture(state, config)
    mean_Ah, sd_Ah = mixture.moments()
    missing_Ah = state.missing_Ah + state.copper_Ah
    own_u_Ah = math.hypot(sd_Ah, state.u_missing_Ah)  # what is missing is not known better
    if mean_Ah > missing_Ah + IMPOSSIBLE_AT_U * own_u_Ah:
        return _bound(state)
    low_Ah = mixture.quantile(0.025)
    if mean_Ah > missing_Ah + IMPOSSIBLE_AT_U * sd_Ah:  # so the charges say, by the instrument
        low_Ah = min(low_Ah, missing_Ah - sd_Ah)
    _, prior_sd_Ah, _, _ = _loss_prior_Ah(state)
    dominated = prior_dominated(
        posterior_sd=sd_Ah, prior_sd=prior_sd_Ah, moved_by=_moved_by(mixture, config)
    )
    state.lost_Ah, state.lost_u_Ah = mean_Ah, sd_Ah
    state.lost_missing_Ah = state.missing_Ah
    return Quantity(
        value_Ah=mean_Ah,
        u_Ah=sd_Ah,
        low_Ah=max(low_Ah, 0.0),
        high_Ah=mixture.quantile(0.975),
        label=Label.PRIOR_DOMINATED if dominated else Label.MEASURED,
    )


def _side(state: InventoryState, config: InventoryConfig) -> Quantity:
    """Return the charge of side currents since assembly, shuttle and oxidation together."""
    if _side_probability(config) == 0.0:
        return NOTHING
    before_h = np.zeros((len(state.mean), _STATES))
    if state.has_reference:
        before_h[:, _S] = state.reference_shuttle_h
        before_h[:, _O] = state.reference_oxidation_h[_clocks(state)]
    taken = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0])
    varied_h = FORMATION_VARIATION * before_h
    now = _mixture(state.mean, state.cov, state.log_weight, before_h + taken, varied_h)
    whole_h = np.zeros_like(before_h)
    whole_h[:, _S] = state.shuttle_h
    whole_h[:, _O] = state.oxidation_h[_clocks(state)]
    mean_Ah, sd_Ah = now.moments()
    dominated = prior_dominated(
        posterior_sd=sd_Ah,
        prior_sd=_mixture(*_components(config), whole_h).moments()[1],
        moved_by=_moved_by(now, config),
    )
    return Quantity(
        value_Ah=max(mean_Ah, 0.0),
        u_Ah=math.hypot(sd_Ah, state.odd_Ah / math.sqrt(3.0)),
        low_Ah=max(now.quantile(0.025), 0.0),
        high_Ah=max(now.quantile(0.975), 0.0) + state.odd_Ah,
        label=Label.PRIOR_DOMINATED if dominated else Label.MEASURED,
    )


def _mixture(
    mean: Numbers,
    cov: Numbers,
    log_weight: Numbers,
    design: Numbers,
    varied_h: Numbers | None = None,
) -> _Mixture:
    """Return what a combination of the components' numbers is, `design` a row for each.

    `varied_h`: hours of the side currents by which they may have been longer or shorter.
    """
    variance = np.einsum("nij,ni,nj->n", cov, design, design)
    if varied_h is not None:
        variance = variance + np.einsum("ni,ni->n", mean, varied_h) ** 2
    weight = np.exp(log_weight - np.max(log_weight))
    return _Mixture(
        np.einsum("ni,ni->n", mean, design),
        np.sqrt(np.maximum(variance, 1e-30)),
        weight / weight.sum(),
    )


def _bound(state: InventoryState) -> Quantity:
    """Return lithium lost where some may be left on the anode.

    From the last figure to all that is missing: what a shuttle took of that is not subtracted, as
    that would rest on its prior.
    """
    # Less is missing than then: so much came back, and may have come from what was lost.
    returned_Ah = max(state.lost_missing_Ah - state.missing_Ah, 0.0)
    low_Ah = max(state.lost_Ah - NORMAL_95 * state.lost_u_Ah - returned_Ah, 0.0)
    missing_Ah = state.missing_Ah + state.copper_Ah
    u_Ah = math.hypot(state.u_missing_Ah, state.copper_u_Ah)
    high_Ah = max(missing_Ah + NORMAL_95 * u_Ah, low_Ah)
    return Quantity(
        value_Ah=0.5 * (low_Ah + high_Ah),
        u_Ah=(high_Ah - low_Ah) / _ROOT_12,
        low_Ah=low_Ah,
        high_Ah=high_Ah,
        label=Label.BOUND,
    )


def prior_dominated(*, posterior_sd: float, prior_sd: float, moved_by: float) -> bool:
    """Return whether an estimate is the prior's.

    Parameters
    ----------
    posterior_sd, prior_sd : float
    moved_by : float
        By how much the estimate moves when the prior is moved by one of its standard deviations.
    """
    if not posterior_sd > 0.0:
        return False
    return not posterior_sd <= _SD_RATIO * prior_sd or abs(moved_by) > _SHIFT_SD * posterior_sd


# -- split --------------------------------------------------------------------------------------


def _follow(state: InventoryState, lost: Quantity, revived: Quantity, hours: float) -> None:
    """Let fresh inactive lithium age, add what was lost since, take away what came back."""
    state.fresh_Ah = state.fresh_Ah * np.exp(-hours / np.array(AGEING_H))
    if not math.isfinite(lost.value_Ah):
        return
    came_Ah = max(0.0, revived.value_Ah)
    gross_Ah = lost.value_Ah + state.revived_Ah
    added_Ah = max(gross_Ah - state.gross_Ah, 0.0)
    state.gross_Ah = max(gross_Ah, state.gross_Ah)
    state.fresh_Ah = np.maximum(state.fresh_Ah + added_Ah - came_Ah, 0.0)
    if came_Ah > 0.0 and state.gross_Ah > 0.0:
        # What came back was isolated metal: at least that share of all that had been lost.
        floor = state.revived_Ah / state.gross_Ah
        if floor > state.share_floor:
            state.share_floor = floor
            state.share_floor_u = math.hypot(
                state.revived_u_Ah / state.gross_Ah, floor * lost.u_Ah / state.gross_Ah
            )


def _share_moments(
    state: InventoryState, mean: float, sd: float, *, informed: bool
) -> tuple[float, float]:
    """Return mean and standard deviation of the inactive share over its grid."""
    share = np.linspace(0.0, 1.0, _SHARES)
    weight = np.exp(-0.5 * ((share - mean) / sd) ** 2)
    if informed and state.share_floor > 0.0:
        weight = weight * _normal_cdf(
            (share - state.share_floor) / max(state.share_floor_u, 0.5 / _SHARES)
        )
    weight = weight / weight.sum()
    middle = float(weight @ share)
    return middle, math.sqrt(float(weight @ (share - middle) ** 2))


def _split(
    state: InventoryState, config: InventoryConfig, lost: Quantity
) -> tuple[Quantity, Quantity, Quantity, Quantity]:
    """Return isolated metal, SEI, fresh and old metal: the prior's unless something came back."""
    if not math.isfinite(lost.value_Ah):
        return NOTHING, NOTHING, NOTHING, NOTHING
    mean, sd = config.inactive_share_mean, config.inactive_share_sd
    share, share_sd = _share_moments(state, mean, sd, informed=True)
    _, prior_sd = _share_moments(state, mean, sd, informed=False)
    moved, _ = _share_moments(state, mean + sd, sd, informed=True)
    dominated = prior_dominated(posterior_sd=share_sd, prior_sd=prior_sd, moved_by=moved - share)
    label = Label.PRIOR_DOMINATED if dominated else Label.BOUND
    gross_Ah = lost.value_Ah + state.revived_Ah
    inactive_Ah = max(share * gross_Ah - state.revived_Ah, 0.0)
    sei_Ah = max(lost.value_Ah - inactive_Ah, 0.0)
    spread_Ah = share_sd * gross_Ah
    certain = max(state.share_floor - NORMAL_95 * state.share_floor_u, 0.0)
    low_Ah = max(certain * gross_Ah - state.revived_Ah, 0.0)
    inactive = Quantity(
        value_Ah=inactive_Ah,
        u_Ah=math.hypot(spread_Ah, share * lost.u_Ah),
        low_Ah=low_Ah,
        high_Ah=max(lost.high_Ah, 0.0),
        label=label,
    )
    sei = Quantity(
        value_Ah=sei_Ah,
        u_Ah=math.hypot(spread_Ah, (1.0 - share) * lost.u_Ah),
        low_Ah=0.0,
        high_Ah=max(lost.high_Ah - low_Ah, 0.0),
        label=label,
    )
    weights = np.array(_AGEING_WEIGHTS)
    fresh_Ah = share * state.fresh_Ah
    fresh_mean_Ah = min(float(weights @ fresh_Ah), inactive_Ah)
    fresh_sd_Ah = math.sqrt(float(weights @ (fresh_Ah - fresh_mean_Ah) ** 2))
    fresh_u_Ah = math.hypot(fresh_sd_Ah, fresh_mean_Ah * share_sd / max(share, share_sd))
    fresh, old = (
        Quantity(
            value_Ah=value_Ah,
            u_Ah=fresh_u_Ah,
            low_Ah=0.0,
            high_Ah=inactive.high_Ah,
            label=Label.PRIOR_DOMINATED,  # no observation here informs the time of ageing
        )
        for value_Ah in (fresh_mean_Ah, inactive_Ah - fresh_mean_Ah)
    )
    return inactive, sei, fresh, old
