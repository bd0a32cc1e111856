"""The live estimator: charge, efficiency, resistance and lithium lost, reading by reading.

`observe` runs for every reading and costs a few microseconds; all else runs once per half cycle or
cycle. The state holds numbers, lists and dicts of numbers only, and goes to JSON and back exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Final, NamedTuple

from controller.domain.cell import CellFormat
from controller.domain.command import TAG_BASE, TAG_DIAGNOSTIC, TAG_TREATMENT
from controller.domain.figures import (
    NOT_HELD,
    SIGN_IMPLAUSIBLE,
    UNITS_IMPLAUSIBLE,
    CycleFigures,
    CycleKind,
    DischargeEnd,
    Label,
    RangeErrors,
    Resistance,
)
from controller.domain.records import record_from_dict, record_to_dict
from controller.domain.sample import NAN, Sample
from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation import forecast, inventory, running, short_watch, shorts
from controller.estimation.charge import (
    GAIN_U,
    OFFSET_U_OF_RANGE,
    RangeCharge,
    Uncertainty,
    cut_off_u,
    gain_drift,
    propagate,
    uniform_u,
)
from controller.estimation.copper import NO_COPPER, copper_charge
from controller.estimation.decay import self_discharge
from controller.estimation.ending import LOW_V
from controller.estimation.ends import (
    EndMemory,
    EndProbabilities,
    classify_end,
    end_probabilities,
    possible_ends,
    remember,
    shape_of,
)
from controller.estimation.forecast import ForecastState
from controller.estimation.impedance.filter import R0, R1, SUM, circuit
from controller.estimation.impedance.steps import I_1S, I_10S, finish_edge
from controller.estimation.impedance.words import completed
from controller.estimation.inventory import (
    ANODE_CERTAIN,
    NOTHING,
    Inventory,
    InventoryConfig,
    InventoryState,
    inventory_from,
    new_inventory,
)
from controller.estimation.running import (
    AGAINST_IN_ROW,
    HELD_WITHIN_V,
    RANGES,
    TAGS,
    CellNumbers,
    Running,
)
from controller.estimation.shorts import ShortMemory

# A cycle that charges more than this many nominal capacities was read in other units, and so was
# one that charged for an hour and more at less than this C-rate. Assumed, 2-20; C/1000-C/200.
IMPLAUSIBLE_CAPACITIES: Final = 3.0
IMPLAUSIBLY_SLOW: Final = 1.0 / 400.0
# A cycle that charged less than this share of nominal capacity has no efficiency worth the name: a
# cell without salt or contact comes to both cut-offs within a reading or two. Assumed, 0.02-0.2 %.
LEAST_CHARGE: Final = 5e-4
# So many readings beyond what a cell takes are no single glitch. Assumed, 2-10.
LEAST_IMPLAUSIBLE: Final = 3
# So many edges, and more than half of all, must go the wrong way before a sign is doubted. Assumed.
LEAST_WRONG_WAY: Final = 2

_ENDS: Final = tuple(DischargeEnd)


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatorConfig:
    """What the estimator is told of the cell and the instrument.

    Attributes
    ----------
    cell_format : CellFormat
    nominal_capacity_Ah, area_cm2, lower_cut_off_V, upper_cut_off_V : float
    gain_u : float
        Relative standard uncertainty of a range's gain, independent between ranges; assumed.
        That of the voltage is taken to be alike.
    offset_u_A_of_range : float
        Standard uncertainty of the offset as a fraction of full scale; assumed.
    inactive_share_mean, inactive_share_sd : float
        Prior of metallic (inactive) lithium's share of lithium lost; the rest is SEI. Assumed,
        0.2-0.9.
    starts_without_anode_lithium : bool
        As built, anode-free and Li||Cu: the first reading finds no lithium on Cu.
    """

    cell_format: CellFormat
    nominal_capacity_Ah: float
    area_cm2: float
    lower_cut_off_V: float
    upper_cut_off_V: float
    gain_u: float = GAIN_U
    offset_u_A_of_range: float = OFFSET_U_OF_RANGE
    inactive_share_mean: float = 0.6
    inactive_share_sd: float = 0.2
    starts_without_anode_lithium: bool = True
    numbers: CellNumbers = field(init=False, repr=False, compare=False)
    of_inventory: InventoryConfig = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        numbers = CellNumbers(self.nominal_capacity_Ah, self.lower_cut_off_V, self.upper_cut_off_V)
        object.__setattr__(self, "numbers", numbers)  # frozen: made once, read at every reading
        told = InventoryConfig(
            cell_format=self.cell_format,
            nominal_capacity_Ah=self.nominal_capacity_Ah,
            inactive_share_mean=self.inactive_share_mean,
            inactive_share_sd=self.inactive_share_sd,
            upper_cut_off_V=self.upper_cut_off_V,
        )
        object.__setattr__(self, "of_inventory", told)


class LiveEstimate(NamedTuple):
    """The estimate as it stands; charge in Ah, magnitudes; NaN where nothing can be said.

    `r0_Ohm` and `r1_Ohm` are the filter's (`controller.estimation.impedance.filter`), and stand
    only where the readings tell them apart; `r0_and_r1_Ohm` where they tell the sum. The forecast
    is the median of what the running cycle's efficiency will be, low and high its 95 % interval,
    the status how much can be said (`controller.estimation.forecast`).
    """

    charge_Ah: float
    discharge_Ah: float
    coulombic_efficiency_so_far: float
    resistance_Ohm: float
    lithium_lost_Ah: float
    u_lithium_lost_Ah: float
    inactive_Ah: float
    u_inactive_Ah: float
    sei_Ah: float
    u_sei_Ah: float
    split_label: Label
    r0_Ohm: float
    u_r0_Ohm: float
    r1_Ohm: float
    u_r1_Ohm: float
    r0_and_r1_Ohm: float
    u_r0_and_r1_Ohm: float
    coulombic_efficiency_forecast: float
    coulombic_efficiency_low: float
    coulombic_efficiency_high: float
    forecast_status: str


@dataclass(slots=True, eq=False)
class EstimatorState:
    """The running cycle, and what is carried from cycle to cycle.

    Made by `new_state`, changed by `observe` and by what happens once per half cycle or cycle. Its
    size does not grow.
    """

    running: Running
    cycle_number: int = 1
    unobserved_Ah: float = 0.0
    end_class: int = _ENDS.index(DischargeEnd.UNKNOWN)
    end_probability: float = 0.0
    end_asked: int = 0  # the running cycle's was classified, or could not be
    end_probabilities: list[float] = field(default_factory=list)  # anode, cathode, polarisation
    end_c_rate: float = NAN  # of the discharge that was classified, and its share of nominal
    end_share: float = NAN
    ends: EndMemory = field(default_factory=EndMemory)
    forecast: ForecastState = field(default_factory=ForecastState)
    shorts: ShortMemory = field(default_factory=ShortMemory)
    counts_lithium: int = 1  # since assembly, or since the first end with no lithium left
    inventory: InventoryState = field(kw_only=True)
    lithium: Inventory | None = None  # after the last cycle


_CONTAINERS: Final = frozenset({"ends", "forecast", "inventory", "lithium", "running", "shorts"})
_NUMBERS: Final = tuple(f.name for f in fields(EstimatorState) if f.name not in _CONTAINERS)


def new_state(config: EstimatorConfig) -> EstimatorState:
    """Return the state before the first reading."""
    state = EstimatorState(
        running=Running(config.numbers, ratio_u=math.sqrt(2.0) * config.gain_u),
        inventory=new_inventory(config.of_inventory),
    )
    if not config.starts_without_anode_lithium:
        state.inventory.starts_empty = state.counts_lithium = 0
    return state


def to_dict(state: EstimatorState) -> dict[str, Any]:
    """Return the state as numbers, lists and dicts for JSON; NaN stays NaN."""
    out: dict[str, Any] = {name: getattr(state, name) for name in _NUMBERS}
    out["running"] = record_to_dict(state.running)
    out["ends"] = asdict(state.ends)
    out["shorts"] = asdict(state.shorts)
    out["forecast"] = forecast.to_dict(state.forecast)
    out["inventory"] = inventory.to_dict(state.inventory)
    out["lithium"] = None if state.lithium is None else asdict(state.lithium)
    return out


def from_dict(data: Mapping[str, Any]) -> EstimatorState:
    """Return the state that `to_dict` gave.

    Raises
    ------
    KeyError
        A field is missing: the checkpoint is of another version.
    """
    state = EstimatorState(
        running=Running(CellNumbers(1.0, 0.0, 1.0)),  # all of it is written over
        inventory=inventory.from_dict(data["inventory"]),
    )
    for name in _NUMBERS:
        setattr(state, name, data[name])
    record_from_dict(state.running, data["running"])
    ends = data["ends"]
    state.ends = EndMemory(anode=ends["anode"], best=tuple((r, q) for r, q in ends["best"]))
    state.forecast = forecast.from_dict(data["forecast"])
    state.shorts = shorts.memory_from(data["shorts"])
    lithium = data["lithium"]
    state.lithium = None if lithium is None else inventory_from(lithium)
    return state


def observe(
    state: EstimatorState, config: EstimatorConfig, sample: Sample, kind: int, tag: int
) -> int:
    """Take in one reading: see `controller.estimation.running.observe`."""
    return running.observe(state.running, config.numbers, sample, kind, tag)


def begin_segment(state: EstimatorState) -> None:
    """Start a new series of readings, e.g. after a resume: nothing is integrated up to its first.

    What flowed in between is the caller's to state, with `add_unobserved`.
    """
    running.forget_reading(state.running)


def take_resistances(state: EstimatorState) -> list[Resistance]:
    """Return the resistances found since the last call, and forget them."""
    s = state.running
    if not s.steps_found:
        return []
    found = list(completed(s.steps, s.steps_found, state.cycle_number))
    s.steps_found = 0
    return found


def gross_As(state: EstimatorState) -> list[float]:
    """Return what was charged and discharged so far, by range and tag (A s), for `keep_net`."""
    return [*state.running.bucket_charge_As, *state.running.bucket_discharge_As]


def keep_net(state: EstimatorState, before_As: list[float]) -> None:
    """Count only the net of what flowed since `gross_As` gave `before_As`.

    An alternating current within one range adds as much to charge as to discharge: left there it
    would pass for capacity.
    """
    charge_As, discharge_As = state.running.bucket_charge_As, state.running.bucket_discharge_As
    count = len(charge_As)
    for k in range(count):
        both_As = min(charge_As[k] - before_As[k], discharge_As[k] - before_As[count + k])
        charge_As[k] -= both_As
        discharge_As[k] -= both_As


def drop_resistances(state: EstimatorState) -> None:
    """Forget the resistances found and the edge that is followed: no step from a steady current."""
    finish_edge(state.running.steps)
    state.running.steps_found = 0


def step_resistance_Ohm(state: EstimatorState) -> float:
    """Return what the last step of the current gave at its longest time up to 10 s; NaN if none."""
    values_Ohm = state.running.steps.value_Ohm
    told = (values_Ohm[index] for index in (I_10S, I_1S) if values_Ohm[index] > 0.0)
    return next(told, state.running.resistance_Ohm)


def end_of_discharge(state: EstimatorState, config: EstimatorConfig) -> tuple[DischargeEnd, float]:
    """Classify what ended the running base discharge and remember it for the cycle.

    To be called where the discharge's step ends; `close_cycle` does where nobody has.

    Returns
    -------
    DischargeEnd
        `UNKNOWN` without a discharge or when its shape does not tell.
    float
        Probability.
    """
    s = state.running
    reached = s.ending.held > 0 or (
        s.ending.readings > 0 and s.curve.lowest_V <= config.lower_cut_off_V + HELD_WITHIN_V
    )
    end, probability = DischargeEnd.UNKNOWN, 0.0
    state.end_asked = 1
    state.end_probabilities = []
    if reached and not s.discharge_new:
        state.end_c_rate = s.discharge_A / config.nominal_capacity_Ah
        state.end_share = s.ending.charge_Ah / config.nominal_capacity_Ah
        shape = shape_of(s.ending, state.ends, state.end_c_rate, _polarisation_share(s, config))
        end, probability = classify_end(shape, possible_ends(config.cell_format), state.ends)
        state.end_probabilities = list(end_probabilities(shape, state.ends) or ())
    state.end_class = _ENDS.index(end)
    state.end_probability = probability
    return end, probability


def _polarisation_share(s: Running, config: EstimatorConfig) -> float:
    """Return current times resistance as a share of the voltage that a discharge has; or NaN."""
    window_V = s.discharge_top_V - config.lower_cut_off_V
    if window_V > 0.0 and s.resistance_Ohm > 0.0 and s.discharge_A > 0.0:
        return s.resistance_Ohm * s.discharge_A / window_V
    return NAN


def add_unobserved(state: EstimatorState, half_width_Ah: float) -> None:
    """State that charge flowed unobserved, anywhere within +- `half_width_Ah` (>= 0)."""
    if half_width_Ah > 0.0:
        state.unobserved_Ah += half_width_Ah


class _Sums(NamedTuple):
    """Charge and discharge of a set of buckets (A s, magnitudes)."""

    charge_As: float
    discharge_As: float


def _sums(state: EstimatorState, tag: int | None, group: int | None = None) -> _Sums:
    """Add sums up; what crept at rest goes, as a net, to the direction it went.

    `tag` and `group` (of a current range, in `Running.ranges_A`) restrict them; None takes all.
    """
    s = state.running
    charge_As = discharge_As = 0.0
    for of_range in range(RANGES) if group is None else (group,):
        for of_tag in range(TAGS) if tag is None else (tag,):
            k = of_range * TAGS + of_tag
            rest_As = s.bucket_rest_As[k]
            charge_As += s.bucket_charge_As[k] + max(rest_As, 0.0)
            discharge_As += s.bucket_discharge_As[k] + max(-rest_As, 0.0)
    return _Sums(charge_As, discharge_As)


class _RangeSums(NamedTuple):
    """What flowed in one current range, whatever its tag, and for how long."""

    range_A: float
    charge_As: float
    discharge_As: float
    time_s: float


def _ranges(state: EstimatorState) -> list[_RangeSums]:
    """Return the ranges in use, smallest first; 0 stands for readings that name none."""
    s = state.running
    found = []
    for group in range(RANGES):
        time_s = sum(s.bucket_s[group * TAGS : (group + 1) * TAGS])
        if time_s > 0.0:
            found.append(_RangeSums(s.ranges_A[group], *_sums(state, None, group), time_s))
    return sorted(found)


def _full_scale_A(config: EstimatorConfig, range_A: float) -> float:
    """Full scale for the offset; an unknown range is taken as 1C. Assumed."""
    return range_A if range_A > 0.0 else config.nominal_capacity_Ah


def _charge_by_range(state: EstimatorState, config: EstimatorConfig) -> dict[float, RangeCharge]:
    ranges: dict[float, RangeCharge] = {}
    for one in _ranges(state):
        offset_As = config.offset_u_A_of_range * _full_scale_A(config, one.range_A) * one.time_s
        ranges[one.range_A] = RangeCharge(one.charge_As, one.discharge_As, offset_As)
    return ranges


def _net_errors(ranges: Mapping[float, RangeCharge], gain_u: float) -> tuple[RangeErrors, ...]:
    h = SECONDS_PER_HOUR
    return tuple(
        RangeErrors(range_A, gain_u * (one.discharge - one.charge) / h, -one.offset / h)
        for range_A, one in ranges.items()
    )


def _cycle_uncertainty(
    state: EstimatorState, config: EstimatorConfig, ranges: Mapping[float, RangeCharge]
) -> Uncertainty:
    s = state.running
    timing_As2 = 0.5 * s.timing_As2
    cut_off_As = cut_off_u(s.ending.charge_Ah - s.ending.at_low_Ah, LOW_V) * SECONDS_PER_HOUR
    return propagate(
        ranges,
        math.sqrt(uniform_u(s.half_charge_As) ** 2 + timing_As2),
        math.sqrt(uniform_u(s.half_discharge_As) ** 2 + timing_As2 + cut_off_As**2),
        uniform_u(state.unobserved_Ah * SECONDS_PER_HOUR),
        config.gain_u,
        drift=gain_drift(_warmer_K(s)),
    )


def _warmer_K(s: Running) -> float:
    """Return by how much discharge and rests were warmer than the charge; NaN if not known."""
    rest_s = s.temperature_s - s.charging_measured_s
    if not (rest_s > 0.0 and s.charging_measured_s > 0.0):
        return NAN
    rest_K = (s.temperature_K_s - s.charging_K_s) / rest_s
    return rest_K - s.charging_K_s / s.charging_measured_s


def _gives_efficiency(config: EstimatorConfig) -> bool:
    """Return whether discharge over charge means anything in this format."""
    return config.cell_format is not CellFormat.LI_LI


def close_cycle(
    state: EstimatorState,
    config: EstimatorConfig,
    *,
    cycle: int,
    kind: CycleKind,
    anchored: bool,
) -> CycleFigures:
    """Return this cycle's figures, start the next, carry lithium lost on.

    What is lithium lost, and how that is labelled, `controller.estimation.inventory` says.

    Parameters
    ----------
    state : EstimatorState
    config : EstimatorConfig
    cycle : int
        Its number.
    kind : CycleKind
        Formation, base or reference test: only base cycles enter trends.
    anchored : bool
        It ended in an anchor state: at the lower cut-off, held there (rules, section 3).

    Returns
    -------
    CycleFigures
        Charges in Ah, magnitudes; standard uncertainties.
    """
    if not state.end_asked:
        end_of_discharge(state, config)
    gross = _sums(state, None)
    base = _sums(state, TAG_BASE)
    treatment = _sums(state, TAG_TREATMENT)
    diagnostic = _sums(state, TAG_DIAGNOSTIC)
    ranges = _charge_by_range(state, config)
    u = _cycle_uncertainty(state, config, ranges)
    efficiency = u_efficiency = base_efficiency = None
    whole = _gives_efficiency(config) and gross.charge_As > 0.0 and gross.discharge_As > 0.0
    least_As = LEAST_CHARGE * config.nominal_capacity_Ah * SECONDS_PER_HOUR
    misread = _misread(state, config)
    if whole and gross.charge_As >= least_As and not misread:
        efficiency = gross.discharge_As / gross.charge_As
        u_efficiency = u.efficiency
        if base.charge_As > 0.0:
            base_efficiency = base.discharge_As / base.charge_As
    flags = _flags(state, efficiency, misread, whole=whole)
    flags = (*_format_flags(config, whole=whole), *flags)
    end = _ENDS[state.end_class]
    probability = state.end_probability
    _remember(state, kind, anchored=anchored)
    s = state.running
    h = SECONDS_PER_HOUR
    figures = CycleFigures(
        cycle=cycle,
        kind=kind,
        charge_Ah=gross.charge_As / h,
        u_charge_Ah=u.charge / h,
        discharge_Ah=gross.discharge_As / h,
        u_discharge_Ah=u.discharge / h,
        net_charge_Ah=(gross.discharge_As - gross.charge_As) / h,
        u_net_charge_Ah=u.net / h,
        net_errors=_net_errors(ranges, config.gain_u),
        base_charge_Ah=base.charge_As / h,
        base_discharge_Ah=base.discharge_As / h,
        treatment_net_charge_Ah=(treatment.discharge_As - treatment.charge_As) / h,
        diagnostic_net_charge_Ah=(diagnostic.discharge_As - diagnostic.charge_As) / h,
        coulombic_efficiency=efficiency,
        u_coulombic_efficiency=u_efficiency,
        coulombic_efficiency_base=base_efficiency,
        discharge_end=end,
        discharge_end_probability=probability,
        resistance_Ohm=s.resistance_Ohm,
        u_resistance_Ohm=s.resistance_u_Ohm,
        duration_s=s.duration_s,
        charging_s=s.charging_s,
        charge_end_A=s.charge_end_A,
        charge_top_V=s.charge_top_V,
        spent_before_s=s.spent_before_s,
        spent_s=s.spent_s,
        high_s=s.high_s,
        mean_temperature_K=(s.temperature_K_s / s.temperature_s if s.temperature_s > 0.0 else NAN),
        unobserved_charge_Ah=state.unobserved_Ah,
        anchored=anchored,
        flags=flags,
    )
    figures = _with_shorts(state, config, figures)
    rest = self_discharge(s.rests, config.upper_cut_off_V)
    if rest is not None:
        figures = replace(
            figures,
            self_discharge_A=rest.current_A,
            u_self_discharge_A=math.hypot(rest.u_A, rest.slope_u * rest.current_A),
        )
    copper = NO_COPPER
    if config.cell_format is CellFormat.LI_CU:
        copper = copper_charge(
            s.ending, area_cm2=config.area_cm2, lower_cut_off_V=config.lower_cut_off_V
        )
    state.lithium = inventory.close_cycle(
        state.inventory, config.of_inventory, figures, rest, copper, s.oxidation_s
    )
    if not state.counts_lithium and end is DischargeEnd.ANODE and probability >= ANODE_CERTAIN:
        # All lithium is off: what went before had no beginning to count from.
        state.inventory = new_inventory(config.of_inventory)
        state.counts_lithium = 1
    _reset_cycle(state, cycle + 1)
    return _with_lithium(figures, config, state.lithium)


def _with_shorts(
    state: EstimatorState, config: EstimatorConfig, figures: CycleFigures
) -> CycleFigures:
    """Return the cycle's figures with the step into discharge and what speaks for a short."""
    seen = short_watch.close_cycle(
        state.running.shorts,
        charge_Ah=figures.charge_Ah,
        discharge_Ah=figures.discharge_Ah,
        temperature_K=figures.mean_temperature_K,
        to_cut_off=not inventory.ended_before_cut_off(config.of_inventory, figures),
    )
    evidence = shorts.follow(state.shorts, seen, config.cell_format, config.nominal_capacity_Ah)
    return replace(
        figures,
        discharge_A=seen.discharge_A,
        first_second_Ohm=_or_nan(seen.first_Ohm),
        slow_Ohm=_or_nan(seen.late_Ohm - seen.first_Ohm),
        soft_short_probability=evidence.probability,
        soft_short_evidence="; ".join(evidence.words) if evidence.flagged else "",
        flags=(*figures.flags, "soft-short") if evidence.flagged else figures.flags,
    )


def _or_nan(value: float) -> float:
    """Return `value`, or the one `NAN`: figures with nothing in them compare as equal."""
    return value if math.isfinite(value) else NAN


def _with_lithium(
    figures: CycleFigures, config: EstimatorConfig, lithium: Inventory
) -> CycleFigures:
    """Return the cycle's figures with lithium lost and returned.

    Of a foil in excess no figure is given: before it runs out it would be the prior's alone.
    """
    lost, side, revived = lithium.lost, lithium.side, lithium.revived
    if config.cell_format is CellFormat.EXCESS_LITHIUM:
        return replace(figures, lithium_lost_label=lost.label)
    return replace(
        figures,
        lithium_lost_Ah=lost.value_Ah,
        u_lithium_lost_Ah=lost.u_Ah,
        lithium_lost_low_Ah=lost.low_Ah,
        lithium_lost_high_Ah=lost.high_Ah,
        lithium_lost_label=lost.label,
        lithium_returned_Ah=revived.value_Ah,
        u_lithium_returned_Ah=revived.u_Ah,
        side_charge_low_Ah=side.low_Ah,
        side_charge_high_Ah=side.high_Ah,
    )


def _misread(state: EstimatorState, config: EstimatorConfig) -> tuple[str, ...]:
    """Return flags of a cycle whose currents are not the cell's: other units, the wrong sign."""
    s = state.running
    charged_Ah = sum(s.bucket_charge_As) / SECONDS_PER_HOUR
    charging_h = s.charging_s / SECONDS_PER_HOUR
    least_Ah = IMPLAUSIBLY_SLOW * config.nominal_capacity_Ah * charging_h
    flags = {
        UNITS_IMPLAUSIBLE: s.implausible >= LEAST_IMPLAUSIBLE
        or charged_Ah > IMPLAUSIBLE_CAPACITIES * config.nominal_capacity_Ah
        or (charging_h >= 1.0 and charged_Ah < least_Ah),
        SIGN_IMPLAUSIBLE: s.wrong_way >= max(LEAST_WRONG_WAY, s.right_way + 1)
        or s.against_in_row >= AGAINST_IN_ROW,
    }
    return tuple(flag for flag, raised in flags.items() if raised)


def _format_flags(config: EstimatorConfig, *, whole: bool) -> tuple[str, ...]:
    """Return what a cycle of this format has no efficiency for, or not lithium's."""
    flags = {
        "not_lithium_ce": config.cell_format is CellFormat.EXCESS_LITHIUM,
        "no_ce_in_symmetric_cell": config.cell_format is CellFormat.LI_LI,
        "incomplete": not whole and _gives_efficiency(config),
    }
    return tuple(flag for flag, raised in flags.items() if raised)


def _flags(
    state: EstimatorState, efficiency: float | None, misread: tuple[str, ...], *, whole: bool
) -> tuple[str, ...]:
    s = state.running
    flags = {
        "ce-above-one": efficiency is not None and efficiency > 1.0,
        "next-to-no-charge": whole and efficiency is None and not misread,
        "unobserved-charge": state.unobserved_Ah > 0.0,
        "gap": s.gaps > 0,
        "saturated": s.saturated > 0,
        NOT_HELD: s.not_held > 0,
        "time-reset": s.time_resets > 0,
        "current-against-command": s.against > 0,
    }
    return (*(flag for flag, raised in flags.items() if raised), *misread)


def _kind_word(state: EstimatorState, kind: CycleKind, *, anchored: bool) -> str:
    """Return what the forecast calls this cycle."""
    if kind is not CycleKind.BASE:
        return kind.value
    if any(state.running.bucket_s[TAG_TREATMENT::TAGS]):
        return "treatment"
    return "anchor" if anchored else forecast.BASE


def _remember(state: EstimatorState, kind: CycleKind, *, anchored: bool) -> None:
    """Teach forecast and ends what this cycle was."""
    s = state.running
    if state.end_probabilities:
        probabilities = EndProbabilities(*state.end_probabilities)
        state.ends = remember(state.ends, probabilities, state.end_c_rate, state.end_share)
    word = _kind_word(state, kind, anchored=anchored)
    gross = _sums(state, None)
    whole = word == forecast.BASE and s.ending.held == 0
    state.forecast = forecast.close_forecast(
        state.forecast,
        gross.charge_As / SECONDS_PER_HOUR,
        gross.discharge_As / SECONDS_PER_HOUR,
        s.curve if whole else None,
        word,
    )


def _reset_cycle(state: EstimatorState, cycle_number: int) -> None:
    running.new_cycle(state.running)
    state.unobserved_Ah = 0.0
    state.end_class = _ENDS.index(DischargeEnd.UNKNOWN)
    state.end_probability = 0.0
    state.end_asked = 0
    state.end_probabilities = []
    state.cycle_number = cycle_number


def foretell(
    state: EstimatorState, config: EstimatorConfig, kind: CycleKind = CycleKind.BASE
) -> forecast.Forecast | None:
    """Return what the running cycle's efficiency and discharge will be; None before its charge."""
    if not _gives_efficiency(config):
        return None
    s = state.running
    charge_Ah = _sums(state, None).charge_As / SECONDS_PER_HOUR
    word = _kind_word(state, kind, anchored=False)
    if s.discharge_new:
        return forecast.at_start(state.forecast, config.cell_format, charge_Ah, word)
    same_rate = kind is CycleKind.BASE
    return forecast.in_discharge(
        state.forecast, config.cell_format, charge_Ah, s.curve, word, same_rate=same_rate
    )


def live(
    state: EstimatorState, config: EstimatorConfig, kind: CycleKind = CycleKind.BASE
) -> LiveEstimate:
    """Return the estimate as it stands within the running cycle, which is of `kind`.

    Lithium is as after the last cycle; its split into inactive and SEI is the prior's unless
    something came back, and its label says so.
    """
    gross = _sums(state, None)
    efficiency = NAN
    if _gives_efficiency(config) and gross.charge_As > 0.0:
        efficiency = gross.discharge_As / gross.charge_As
    lithium = state.lithium
    if lithium is None or config.cell_format is CellFormat.EXCESS_LITHIUM:
        lost = inactive = sei = NOTHING
    else:
        lost, inactive, sei = lithium.lost, lithium.inactive, lithium.sei
    found = circuit(state.running.circuit)
    ahead = foretell(state, config, kind)
    low, middle, high = _interval(ahead)
    has_r0, has_r1, has_sum = (bool(found.identifiable & bit) for bit in (R0, R1, SUM))
    return LiveEstimate(
        charge_Ah=gross.charge_As / SECONDS_PER_HOUR,
        discharge_Ah=gross.discharge_As / SECONDS_PER_HOUR,
        coulombic_efficiency_so_far=efficiency,
        resistance_Ohm=state.running.resistance_Ohm,
        lithium_lost_Ah=lost.value_Ah,
        u_lithium_lost_Ah=lost.u_Ah,
        inactive_Ah=inactive.value_Ah,
        u_inactive_Ah=inactive.u_Ah,
        sei_Ah=sei.value_Ah,
        u_sei_Ah=sei.u_Ah,
        split_label=_split_label(lithium),
        r0_Ohm=found.r0_Ohm if has_r0 else NAN,
        u_r0_Ohm=found.u_r0_Ohm if has_r0 else NAN,
        r1_Ohm=found.r1_Ohm if has_r1 else NAN,
        u_r1_Ohm=found.u_r1_Ohm if has_r1 else NAN,
        r0_and_r1_Ohm=found.sum_Ohm if has_sum else NAN,
        u_r0_and_r1_Ohm=found.u_sum_Ohm if has_sum else NAN,
        coulombic_efficiency_forecast=middle,
        coulombic_efficiency_low=low,
        coulombic_efficiency_high=high,
        forecast_status="" if ahead is None else ahead.status.value,
    )


def _split_label(lithium: Inventory | None) -> Label:
    """Return how the split is known: the prior's, unless lithium that came back informs it."""
    return Label.UNKNOWN if lithium is None else lithium.inactive.label


def _interval(ahead: forecast.Forecast | None) -> tuple[float, float, float]:
    """Return the 95 % interval of the efficiency foretold and its median; NaN without one."""
    if ahead is None or ahead.efficiency is None:
        return NAN, NAN, NAN
    of = ahead.efficiency.quantile
    return of(0.025), of(0.5), of(0.975)
