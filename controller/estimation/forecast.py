"""What this cycle's Coulombic efficiency and discharge will be, before and while it discharges.

Across cycles: twenty small models of ``ln Qd`` (dynamic linear models with unknown variance, West
and Harrison), each following either ``ln(Qd / Qc)`` or ``ln Qd`` by its level or its level and
slope, slowly or fast; they are averaged by how well they foretold the cycles before. Where the
anode ends the discharge the first kind holds, where the cathode does the second; the charge put in
is known when the discharge begins. Within a discharge (`controller.estimation.curve`): what was
left last time at the same voltage, as well as that has foretold the end so far; no more than that
can be seen before the knee.

Per event, plain Python; the state is frozen, of constant size, and made of numbers and words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from itertools import product
from typing import Any, Final, assert_never

from controller.domain.cell import CellFormat
from controller.estimation.curve import LEVELS, Curve
from controller.estimation.mixture import Mixture, blend, normal, student

# Usable cycles before anything but the prior is said.
USABLE_CYCLES: Final = 3
# What counts as the same rate: mean currents of two discharges within this share. Assumed.
SAME_RATE: Final = 0.05
# Smallest scale (of ln Qd) believed in: counters repeat no better. Assumed, 1e-6 to 1e-5.
SMALLEST: Final = 3e-6
# Chance that a cycle starts something new (another electrode ends the discharge, a defect), and
# how far that goes (of ln Qd). Assumed, 0.01-0.05 and 0.003-0.03.
BREAK_CHANCE: Final = 0.03
BREAK_SD: Final = 0.01
# Beyond this tail probability a cycle was a surprise: the models from before it are kept beside.
SURPRISE: Final = 1e-3
# What a cycle missed by counts for the scatter up to so many of its variances: a model forgets a
# large scatter far slower than it learns one. Assumed, 10-30.
MOST_MISSED: Final = 20.0
# Up to this many usable cycles a model begins anew from a step that is small beside its scatter,
# which is then so many times the step's square: the smallest of a few is no fair sample. Assumed,
# 3-5 and 2-4.
UNSTEADY_CYCLES: Final = 3
SMALLEST_STEP: Final = 2.5
# How fast the averaging forgets which model was right.
WEIGHT_MEMORY: Final = 0.9
ODDS_MEMORY: Final = 0.8
MOST_ODDS: Final = 3.0
# Unseen effect of a cycle of another kind, and of one such on the base cycle after it, of ln Qd:
# weights and standard deviations, from none to large. Assumed.
KIND_EFFECT: Final = ((0.6, 0.003), (0.3, 0.03), (0.1, 0.15))
AFTER_EFFECT: Final = ((0.6, 0.001), (0.3, 0.01), (0.1, 0.03))
# Spread of an effect that was seen once. Assumed, 0.0003-0.003.
EFFECT_SD: Final = 0.001
# What an effect like those seen, but not as sure, counts, and what none counts, in cycles. Assumed,
# 0.1-0.3.
UNLIKE: Final = 0.15
# What is left at a voltage is first taken to be as much as last time within this share of it.
LEFT_SHARE: Final = 0.3
# Two levels that lay further apart than this share of the last discharge are on a plateau, where
# the voltage says nothing of the charge. Assumed, 0.05-0.2.
PLATEAU_SHARE: Final = 0.1
# A plateau that took less than this share of what it took last time was not come through: the whole
# curve lies lower, by a larger polarisation. Assumed, 0.1-0.5.
LEAST_OF_PLATEAU: Final = 0.25
# How fast the errors of the levels are forgotten, and what the first guess counts, in cycles.
LEVEL_MEMORY: Final = 0.8
LEVEL_GUESS: Final = 1.0
# A curve that falls as fast as last time (within this factor, as a logarithm) ends as last time,
# with a few times its usual error now and then; one that falls faster or slower has as much less or
# more left, within this share. Rarely it says nothing. Assumed.
ALIKE: Final = 0.3
ODD_SHARE, ODD_FACTOR = 0.1, 5.0
SCALED_SHARE: Final = 0.5
NOTHING_SHARE, NOTHING_SD = 0.04, 0.2
# The next value after a jump may be off by this share of it: the cycle in which another electrode
# takes over shows a part of the jump only. Assumed, 0.3-2.
JUMP_SPREAD: Final = 1.0
# Two kinds of model that differ by less than this (of ln Qd) are not told apart. Assumed.
SAME_WITHIN: Final = 3e-4


BASE: Final = "base"
AFTER: Final = "after "
# Kinds that leave nothing to the next cycle but the charge put in: a base discharge that is held at
# the cut-off, and formation.
PASSING: Final = frozenset({BASE, "anchor", "formation"})


class ForecastStatus(StrEnum):
    """How much a forecast can say."""

    CANNOT_TELL = "cannot tell yet"
    NO_KNEE = "no knee yet"
    KNEE = "knee"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What to expect of the running cycle.

    Attributes
    ----------
    status : ForecastStatus
        `CANNOT_TELL`: the prior of the format, before `USABLE_CYCLES`. `NO_KNEE`: the last cycles
        and the curve; it need not tighten. `KNEE`: the end has been seen to come.
    efficiency : Mixture or None
        None where the format gives none or nothing was charged.
    discharge_Ah : Mixture
    """

    status: ForecastStatus
    efficiency: Mixture | None
    discharge_Ah: Mixture


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How one model follows the cycles.

    `on_charge`: it follows ln(Qd / Qc), else ln Qd. `slope`: level and slope, else the level.
    `discount`: of what is known of them, each cycle. `scale_discount`: of what is known of the
    scatter.
    """

    on_charge: bool
    slope: bool
    discount: float
    scale_discount: float


WAYS: Final[tuple[Way, ...]] = tuple(
    Way(on_charge=on, slope=slope, discount=discount, scale_discount=scale)
    for on, (slope, discount), scale in product(
        (True, False),
        ((False, 0.3), (False, 0.7), (False, 0.97), (True, 0.4), (True, 0.85)),
        (0.7, 0.95),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One dynamic linear model: level, slope, their covariance over the scatter's variance.

    `freedom` and `variance` are the scatter's; `log_weight` says how well it has foretold.
    """

    level: float
    slope: float
    c_level: float
    c_cross: float
    c_slope: float
    freedom: float
    variance: float
    log_weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class KindEffect:
    """What cycles of a kind were above or below what base cycles led to expect (of ln Qd)."""

    count: int
    mean: float
    m2: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LastCurve:
    """The last comparable discharge by voltage level, and how well each level foretold the end.

    `left_Ah` is what was left at a level, negative where it was not passed; `square` the mean
    square error (of ln Qd) of the end foretold there, `weight` how many cycles that stands for.
    """

    discharge_Ah: float
    left_Ah: tuple[float, ...]
    at_level_Ah: tuple[float, ...]
    square: tuple[float, ...]
    weight: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastState:
    """What is carried from cycle to cycle.

    Attributes
    ----------
    usable : int
        Base cycles taken in.
    last_discharge, last_ratio : float
        ln Qd and ln(Qd / Qc) of the last of them; NaN before the first.
    last_kind : str
        Of the cycle before, whatever it was.
    models, rivals : tuple of Model
        `rivals` are the models as they were before a surprise, for one cycle; else empty.
    log_odds : float
        Of models that follow the charge put in against those that do not.
    kinds : tuple of (str, KindEffect)
    curve : LastCurve or None
    """

    usable: int = 0
    last_discharge: float = math.nan
    last_ratio: float = math.nan
    last_kind: str = BASE
    models: tuple[Model, ...] = ()
    rivals: tuple[Model, ...] = ()
    log_odds: float = 0.0
    kinds: tuple[tuple[str, KindEffect], ...] = ()
    curve: LastCurve | None = None


def prior(cell_format: CellFormat) -> Mixture:
    """Return what is expected of ln(Qd / Qc) of an unknown cell: wide. Assumed throughout.

    Half good (CE about 0.985-0.999), half anything, by format.
    """
    match cell_format:
        case CellFormat.ANODE_FREE | CellFormat.LI_CU:
            return blend([(0.5, normal(-0.02, 0.02)), (0.5, normal(-0.08, 0.12))])
        case CellFormat.EXCESS_LITHIUM | CellFormat.FULL_CELL:
            return blend([(0.5, normal(-0.01, 0.02)), (0.5, normal(-0.04, 0.12))])
        case CellFormat.LI_LI:
            return normal(0.0, 0.3)
        case _:
            assert_never(cell_format)


def at_start(
    state: ForecastState, cell_format: CellFormat, charge_Ah: float, kind: str = BASE
) -> Forecast | None:
    """Return the forecast as the discharge begins.

    Parameters
    ----------
    state : ForecastState
    cell_format : CellFormat
    charge_Ah : float
        Put in since the last discharge; a base charge, as read.
    kind : str
        ``base``, or any word for cycles that something else is done in (treatment, reference,
        anchor): each has an effect of its own, learned from the last of its kind.

    Returns
    -------
    Forecast or None
        None where neither charge nor an earlier discharge says anything.
    """
    expected = _expected(state, cell_format, charge_Ah, kind)
    if expected is None:
        return None
    told = state.usable >= USABLE_CYCLES
    status = ForecastStatus.NO_KNEE if told else ForecastStatus.CANNOT_TELL
    return _forecast(status, expected, cell_format, charge_Ah)


def in_discharge(
    state: ForecastState,
    cell_format: CellFormat,
    charge_Ah: float,
    curve: Curve,
    kind: str = BASE,
    *,
    same_rate: bool = True,
) -> Forecast | None:
    """Return the forecast with what the running discharge has shown; see `at_start`.

    `same_rate` says whether this discharge is at the rate of base cycles; at another one its curve
    lies elsewhere and is not compared.
    """
    base = _expected_of_base(state, cell_format, charge_Ah, kind)
    if base is None:
        return None
    told = state.usable >= USABLE_CYCLES
    if same_rate and curve.charge_Ah > 0.0:
        seen = _by_level(state, curve)
        if seen:
            base = base.given(seen)
    expected = _with_kind(state, base, kind)
    if curve.charge_Ah > 0.0:
        expected = expected.above(math.log(curve.charge_Ah))
    if curve.knee_Ah >= 0.0:
        status = ForecastStatus.KNEE
    else:
        status = ForecastStatus.NO_KNEE if told else ForecastStatus.CANNOT_TELL
    return _forecast(status, expected, cell_format, charge_Ah)


def close_forecast(
    state: ForecastState,
    charge_Ah: float,
    discharge_Ah: float,
    curve: Curve | None = None,
    kind: str = BASE,
) -> ForecastState:
    """Return the state after a cycle; one without charge or discharge changes nothing.

    Parameters
    ----------
    state : ForecastState
    charge_Ah, discharge_Ah : float
        As read, magnitudes.
    curve : Curve, optional
        Of its discharge, where it ended at the usual cut-off and rate.
    kind : str
        Only ``base`` cycles move the models; the others teach the effect of their kind.
    """
    if not (0.0 < charge_Ah < math.inf and 0.0 < discharge_Ah < math.inf):
        return state
    log_charge, came = math.log(charge_Ah), math.log(discharge_Ah)
    now = _kind_now(state, kind)
    taught = replace(state, last_kind=kind)
    if now != BASE:
        return _learned_kind(taught, log_charge, came, now)
    after = taught
    if state.models:
        after = _updated(taught, log_charge, came)
        if state.usable <= UNSTEADY_CYCLES:
            begun = (_begun(w, state, log_charge, came, SMALLEST_STEP) for w in WAYS)
            after = replace(after, models=tuple(map(_calmer, after.models, begun)))
    elif state.usable:
        after = replace(taught, models=tuple(_begun(w, state, log_charge, came) for w in WAYS))
    after = replace(
        after,
        usable=state.usable + 1,
        last_discharge=came,
        last_ratio=came - log_charge,
    )
    return after if curve is None else replace(after, curve=_closed_curve(state, curve))


def to_dict(state: ForecastState) -> dict[str, Any]:
    """Return the state as what JSON can hold; NaN stays NaN."""
    return asdict(state)


def from_dict(data: Mapping[str, Any]) -> ForecastState:
    """Return the state that `to_dict` gave, also after JSON.

    Raises
    ------
    KeyError, TypeError
        Another version's.
    """
    curve = data["curve"]
    return ForecastState(
        usable=data["usable"],
        last_discharge=data["last_discharge"],
        last_ratio=data["last_ratio"],
        last_kind=data["last_kind"],
        models=tuple(Model(**one) for one in data["models"]),
        rivals=tuple(Model(**one) for one in data["rivals"]),
        log_odds=data["log_odds"],
        kinds=tuple((name, KindEffect(**one)) for name, one in data["kinds"]),
        curve=None if curve is None else _curve_from(curve),
    )


def _curve_from(data: Mapping[str, Any]) -> LastCurve:
    return LastCurve(
        discharge_Ah=data["discharge_Ah"],
        left_Ah=tuple(data["left_Ah"]),
        at_level_Ah=tuple(data["at_level_Ah"]),
        square=tuple(data["square"]),
        weight=tuple(data["weight"]),
    )


# -- across cycles -----------------------------------------------------------------------------


def _forecast(
    status: ForecastStatus, expected: Mixture, cell_format: CellFormat, charge_Ah: float
) -> Forecast:
    has_efficiency = cell_format is not CellFormat.LI_LI and charge_Ah > 0.0
    return Forecast(
        status=status,
        efficiency=expected.exponential(charge_Ah) if has_efficiency else None,
        discharge_Ah=expected.exponential(1.0),
    )


def _expected(
    state: ForecastState, cell_format: CellFormat, charge_Ah: float, kind: str
) -> Mixture | None:
    """Return the distribution of ln Qd before the discharge."""
    base = _expected_of_base(state, cell_format, charge_Ah, kind)
    return None if base is None else _with_kind(state, base, kind)


def _expected_of_base(
    state: ForecastState, cell_format: CellFormat, charge_Ah: float, kind: str
) -> Mixture | None:
    """Return the same for a base discharge in this cycle's place."""
    log_charge = math.log(charge_Ah) if 0.0 < charge_Ah < math.inf else math.nan
    if state.usable < USABLE_CYCLES:
        return None if log_charge != log_charge else prior(cell_format).moved(log_charge)
    base = _from_models(state, log_charge)
    now = _kind_now(state, kind)
    return base.plus(_effect(state, now)) if now.startswith(AFTER) else base


def _with_kind(state: ForecastState, base: Mixture, kind: str) -> Mixture:
    """Return the distribution with the effect of a kind of cycle; before the models, none."""
    if kind == BASE or state.usable < USABLE_CYCLES:
        return base
    return base.plus(_effect(state, kind))


def _from_models(state: ForecastState, log_charge: float) -> Mixture:
    """Return what the models together expect of ln Qd, a break included."""
    expected = _together(state.models, state.log_odds, log_charge)
    if state.rivals:
        rival = _together(state.rivals, state.log_odds, log_charge)
        expected = blend([(0.5, expected), (0.5, rival)])
    broken = normal(expected.quantile(0.5), BREAK_SD)
    return blend([(1.0 - BREAK_CHANCE, expected), (BREAK_CHANCE, broken)])


def _together(models: tuple[Model, ...], log_odds: float, log_charge: float) -> Mixture:
    """Return what both kinds of model expect of ln Qd; without a charge only the second can."""
    on_capacity = _of_one_kind(models, log_charge, on_charge=False)
    if log_charge != log_charge:
        return on_capacity
    share = 1.0 / (1.0 + math.exp(-log_odds))
    return blend(
        [(share, _of_one_kind(models, log_charge, on_charge=True)), (1.0 - share, on_capacity)]
    )


def _of_one_kind(models: tuple[Model, ...], log_charge: float, *, on_charge: bool) -> Mixture:
    mine = [pair for pair in zip(WAYS, models, strict=True) if pair[0].on_charge is on_charge]
    highest = max(model.log_weight for _, model in mine)
    weights = [math.exp(model.log_weight - highest) for _, model in mine]
    total = sum(weights)
    parts = []
    for (way, model), weight in zip(mine, weights, strict=True):
        if weight > 1e-4 * total:
            mean, scale = _ahead(way, model)
            parts.append((weight, student(mean, scale, model.freedom)))
    return blend(parts).moved(log_charge if on_charge else 0.0)


def _grown(way: Way, model: Model) -> tuple[float, float, float]:
    """Return the covariance one cycle on: level, cross, slope."""
    if not way.slope:
        return model.c_level / way.discount, 0.0, 0.0
    cross = model.c_cross + model.c_slope
    level = model.c_level + model.c_cross + cross
    return level / way.discount, cross / way.discount, model.c_slope / way.discount


def _ahead(way: Way, model: Model) -> tuple[float, float]:
    """Return location and scale of what the model expects next."""
    r_level, _, _ = _grown(way, model)
    return model.level + model.slope, math.sqrt(model.variance * (1.0 + r_level))


def _begun(
    way: Way, state: ForecastState, log_charge: float, came: float, of_step: float = 1.0
) -> Model:
    """Return a model that begins with this cycle: its variance is `of_step` times the step's."""
    value = came - log_charge if way.on_charge else came
    before = state.last_ratio if way.on_charge else state.last_discharge
    step = value - before
    return Model(
        level=value,
        slope=step if way.slope else 0.0,
        c_level=1.0,
        c_cross=1.0 if way.slope else 0.0,
        c_slope=2.0 if way.slope else 0.0,
        freedom=1.0,
        variance=max(of_step * step * step, SMALLEST * SMALLEST),
        log_weight=0.0,
    )


def _calmer(model: Model, begun: Model) -> Model:
    """Return whichever scatters less: a cell's first steps are its unsteadiest."""
    return begun if begun.variance < model.variance else model


def _updated(state: ForecastState, log_charge: float, came: float) -> ForecastState:
    """Return the state with the models after a base cycle, and those of before a surprise."""
    models = state.models
    if state.rivals:
        # one of the two has foretold this cycle better; it goes on
        ours = _together(state.models, state.log_odds, log_charge).density(came)
        theirs = _together(state.rivals, state.log_odds, log_charge).density(came)
        models = state.rivals if theirs > ours else state.models
    share = _together(models, state.log_odds, log_charge).cdf(came)
    surprised = not SURPRISE < share < 1.0 - SURPRISE
    after = tuple(
        _step(way, model, came - log_charge if way.on_charge else came, jumped=surprised)
        for way, model in zip(WAYS, models, strict=True)
    )
    if surprised:
        # which kind of model is right may have changed with it
        return replace(state, models=after, rivals=models, log_odds=0.0)
    densities = [
        _of_one_kind(models, log_charge, on_charge=on).moved(0.0, SAME_WITHIN).density(came)
        for on in (True, False)
    ]
    gained = math.log((densities[0] + 1e-12) / (densities[1] + 1e-12))
    gained = min(max(gained, -MOST_ODDS), MOST_ODDS)
    return replace(state, models=after, rivals=(), log_odds=ODDS_MEMORY * state.log_odds + gained)


def _step(way: Way, model: Model, value: float, *, jumped: bool) -> Model:
    """Return a model after one more value.

    After a jump the level may have moved by what was missed, and the scatter, which it says
    nothing of, stays.
    """
    r_level, r_cross, r_slope = _grown(way, model)
    foretold, scale = _ahead(way, model)
    missed = value - foretold
    z2 = (missed / scale) ** 2
    freedom = way.scale_discount * model.freedom + 1.0
    half = 0.5 * (model.freedom + 1.0)
    log_density = (
        math.lgamma(half)
        - math.lgamma(0.5 * model.freedom)
        - 0.5 * math.log(model.freedom * math.pi)
        - math.log(scale)
        - half * math.log1p(z2 / model.freedom)
    )
    variance = model.variance
    spread = 0.0
    if jumped:
        r_level += missed * missed / variance
        spread = (JUMP_SPREAD * missed) ** 2 / variance
        freedom = model.freedom
    else:
        variance += variance / freedom * (min(z2, MOST_MISSED) - 1.0)
    q = 1.0 + r_level
    gain_level, gain_slope = r_level / q, r_cross / q
    return Model(
        level=foretold + gain_level * missed,
        slope=model.slope + (gain_slope * missed if not jumped else 0.0),
        c_level=r_level - gain_level * gain_level * q + spread,
        c_cross=r_cross - gain_level * gain_slope * q,
        c_slope=r_slope - gain_slope * gain_slope * q,
        freedom=freedom,
        variance=max(variance, SMALLEST * SMALLEST),
        log_weight=WEIGHT_MEMORY * model.log_weight + log_density,
    )


# -- cycles of another kind ----------------------------------------------------------------------


def _kind_now(state: ForecastState, kind: str) -> str:
    """Return the kind whose effect is in this cycle: also the one before leaves something."""
    if kind == BASE and state.last_kind not in PASSING:
        return AFTER + state.last_kind
    return kind


def _effect(state: ForecastState, kind: str) -> Mixture:
    """Return what a kind of cycle adds to ln Qd: unseen a prior, which one cycle half replaces."""
    stated = AFTER_EFFECT if kind.startswith(AFTER) else KIND_EFFECT
    unseen = blend((weight, normal(0.0, sd)) for weight, sd in stated)
    effect = dict(state.kinds).get(kind)
    if effect is None:
        return unseen
    variance = (EFFECT_SD * EFFECT_SD + effect.m2) / effect.count
    seen = student(
        effect.mean, math.sqrt(variance * (1.0 + 1.0 / effect.count)), float(effect.count)
    )
    # another electrode may end the discharge by now, and then there may be no effect any more
    return blend(
        [
            (float(effect.count), seen),
            (UNLIKE, unseen.moved(effect.mean)),
            (UNLIKE, unseen),
        ]
    )


def _learned_kind(state: ForecastState, log_charge: float, came: float, kind: str) -> ForecastState:
    if not state.models:
        return state
    away = came - _from_models(state, log_charge).quantile(0.5)
    kinds = dict(state.kinds)
    old = kinds.get(kind, KindEffect(count=0, mean=0.0, m2=0.0))
    count = old.count + 1
    mean = old.mean + (away - old.mean) / count
    kinds[kind] = KindEffect(count=count, mean=mean, m2=old.m2 + (away - old.mean) * (away - mean))
    rivals = state.rivals
    if kind.startswith(AFTER):
        # what is seen now may be here to stay
        rivals = tuple(
            _step(way, model, came - log_charge if way.on_charge else came, jumped=True)
            for way, model in zip(WAYS, state.models, strict=True)
        )
    return replace(state, kinds=tuple(kinds.items()), rivals=rivals)


# -- within a discharge -------------------------------------------------------------------------


def _by_level(state: ForecastState, curve: Curve) -> list[tuple[float, float, float]]:
    """Return what the lowest level passed says of ln Qd, as (weight, value, standard deviation)."""
    last = state.curve
    k = curve.lowest
    if last is None or k >= LEVELS or not last.left_Ah[k] >= 0.0:
        return []
    at_Ah, left_Ah = curve.at_level_Ah[k], last.left_Ah[k]
    end_Ah = at_Ah + left_Ah
    if not end_Ah > 0.0:
        return []
    level_Ah = _stretch(last, k)
    if level_Ah > PLATEAU_SHARE * last.discharge_Ah or _lies_lower(last, curve, k):
        return []
    first = (math.hypot(LEFT_SHARE * left_Ah, level_Ah) / end_Ah) ** 2 + SMALLEST * SMALLEST
    square = (LEVEL_GUESS * first + last.weight[k] * last.square[k]) / (
        LEVEL_GUESS + last.weight[k]
    )
    sd = math.sqrt(square)
    seen = math.log(end_Ah)
    ratio = _steepness(last, curve, k)
    alike = math.exp(-0.5 * (math.log(ratio) / ALIKE) ** 2)
    scaled_Ah = at_Ah + ratio * left_Ah
    scaled_sd = math.hypot(SCALED_SHARE * ratio * left_Ah / scaled_Ah, sd)
    rest = 1.0 - ODD_SHARE - NOTHING_SHARE
    return [
        (rest * (0.02 + 0.96 * alike), seen, sd),
        (ODD_SHARE, seen, math.hypot(ODD_FACTOR * sd, LEFT_SHARE * left_Ah / end_Ah)),
        (rest * (0.98 - 0.96 * alike), math.log(scaled_Ah), scaled_sd),
        (NOTHING_SHARE, seen, math.hypot(sd, NOTHING_SD)),
    ]


def _stretch(last: LastCurve, k: int) -> float:
    """Return the charge that lay between this level and the one above it, or the beginning."""
    above_Ah = last.left_Ah[k + 1] if k + 1 < LEVELS else -1.0
    return (above_Ah if above_Ah >= 0.0 else last.discharge_Ah) - last.left_Ah[k]


def _lies_lower(last: LastCurve, curve: Curve, lowest: int) -> bool:
    """Return whether this discharge fell through the levels of what was a plateau last time.

    What was left at a level then says nothing of now: another resistance moves a flat curve by
    more than it falls on the way.
    """
    for k in range(lowest + 1, LEVELS):
        then_Ah = _stretch(last, k) if last.left_Ah[k] >= 0.0 else 0.0
        if then_Ah > PLATEAU_SHARE * last.discharge_Ah:
            above_Ah = curve.at_level_Ah[k + 1] if k + 1 < LEVELS else 0.0
            now_Ah = curve.at_level_Ah[k] - max(above_Ah, 0.0)
            if now_Ah < LEAST_OF_PLATEAU * then_Ah:
                return True
    return False


def _steepness(last: LastCurve, curve: Curve, k: int) -> float:
    """Return the charge between this level and two above it over that of last time; 1 unknown."""
    upper = min(k + 2, LEVELS - 1)
    if upper == k or not (curve.at_level_Ah[upper] >= 0.0 and last.left_Ah[upper] >= 0.0):
        return 1.0
    now_Ah = curve.at_level_Ah[k] - curve.at_level_Ah[upper]
    then_Ah = last.left_Ah[upper] - last.left_Ah[k]
    if not (now_Ah > 0.0 and then_Ah > 0.0):
        return 1.0
    return min(max(now_Ah / then_Ah, 0.02), 5.0)


def _closed_curve(state: ForecastState, curve: Curve) -> LastCurve:
    """Return this discharge as the last one, with what each level would have foretold of it."""
    total_Ah = curve.charge_Ah
    left_Ah = tuple(total_Ah - at if at >= 0.0 else -1.0 for at in curve.at_level_Ah)
    last = state.curve
    square = [0.0] * LEVELS
    weight = [0.0] * LEVELS
    if last is not None and total_Ah > 0.0:
        for k in range(LEVELS):
            square[k], weight[k] = last.square[k], last.weight[k]
            if last.left_Ah[k] >= 0.0 and curve.at_level_Ah[k] >= 0.0:
                end_Ah = curve.at_level_Ah[k] + last.left_Ah[k]
                if end_Ah > 0.0:
                    missed = math.log(total_Ah / end_Ah)
                    weight[k] = LEVEL_MEMORY * last.weight[k] + 1.0
                    square[k] += (missed * missed - square[k]) / weight[k]
    return LastCurve(
        discharge_Ah=total_Ah,
        left_Ah=left_Ah,
        at_level_Ah=tuple(curve.at_level_Ah),
        square=tuple(square),
        weight=tuple(weight),
    )
