"""The live estimator: charge, efficiency, resistance and lithium lost, reading by reading.

`observe` runs for every reading and costs a few microseconds; all else runs once per half cycle or
cycle. The state holds numbers, lists and dicts of numbers only, and goes to JSON and back exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import isfinite, isnan
from typing import Any, Final, NamedTuple

from controller.domain.cell import CellFormat
from controller.domain.command import DISCHARGE, HOLD_0A, TAG_BASE, TAG_DIAGNOSTIC, TAG_TREATMENT
from controller.domain.figures import CycleFigures, CycleKind, DischargeEnd, Label, Resistance
from controller.domain.sample import (
    LIMIT_CURRENT,
    LIMIT_VOLTAGE,
    NAN,
    OUTPUT_OFF,
    QUALITY_CURRENT_INVALID,
    QUALITY_DUPLICATE,
    QUALITY_NO_CELL_VOLTAGE,
    QUALITY_NO_REPLY,
    QUALITY_OUT_OF_ORDER,
    QUALITY_SATURATED,
    QUALITY_STALE,
    QUALITY_VOLTAGE_INVALID,
    Sample,
)
from controller.estimation.charge import (
    GAIN_U,
    OFFSET_U_OF_RANGE,
    RAMP,
    STEADY,
    STEP_AT_START,
    UNKNOWN_SHAPE,
    RangeCharge,
    Uncertainty,
    interval_charge,
    propagate,
    uniform_u,
)
from controller.estimation.ends import (
    KNEE_WINDOW_V,
    SHORTEST_HOLD_S,
    EndShape,
    classify_end,
    possible_ends,
)

# What `observe` did with a reading.
USED: Final = 0
SKIPPED_NO_CURRENT: Final = 1
SKIPPED_STALE: Final = 2
SKIPPED_DUPLICATE: Final = 3
SKIPPED_OUT_OF_ORDER: Final = 4
SKIPPED_NO_TIME: Final = 5
USED_AFTER_TIME_RESET: Final = 6

OBSERVED_WORDS: Final[dict[int, str]] = {
    USED: "used",
    SKIPPED_NO_CURRENT: "skipped: no current",
    SKIPPED_STALE: "skipped: stale",
    SKIPPED_DUPLICATE: "skipped: duplicate",
    SKIPPED_OUT_OF_ORDER: "skipped: out of order",
    SKIPPED_NO_TIME: "skipped: no time",
    USED_AFTER_TIME_RESET: "used: the device's time began again",
}

_NO_CURRENT: Final = QUALITY_CURRENT_INVALID | QUALITY_NO_REPLY
_NO_VOLTAGE: Final = QUALITY_VOLTAGE_INVALID | QUALITY_NO_CELL_VOLTAGE
_UNUSABLE: Final = _NO_CURRENT | QUALITY_STALE | QUALITY_DUPLICATE | QUALITY_OUT_OF_ORDER
_SECONDS_PER_HOUR: Final = 3600.0

# A longer interval counts as not observed: its charge may be anything between none and what the
# larger of its two currents gives (s). Assumed: four slow reading periods, 60-600 s.
GAP_S: Final = 120.0
# This many readings in a row with time behind the last used one: the device's clock began again.
RESET_AFTER: Final = 3
# A current-regulated change of less than this share is noise, not a new set-point. Assumed.
SET_POINT_CHANGE: Final = 0.01
# Time between the reading before a change of command and the change of current. Assumed, 1-50 ms.
EDGE_DELAY_U_S: Final = 0.005
# A saturated reading may be off by this share of itself. Assumed, 2-10 %.
SATURATED_SHARE: Final = 0.05
# Smallest change of current that a resistance is taken from, as a C-rate. Assumed, C/50-C/10.
MIN_EDGE_C_RATE: Final = 0.05
# A current before the edge below this C-rate counts as rest. Assumed, C/500-C/100.
REST_C_RATE: Final = 0.005
# Standard uncertainty of a difference of two voltages (V): resolution, noise. Assumed, 0.05-1 mV.
VOLTAGE_DIFFERENCE_U_V: Final = 2e-4
# Share of a 10 s resistance that relaxation before the edge may account for. Assumed, 1-5 %.
RESISTANCE_DRIFT_SHARE: Final = 0.02
# Within this of the cut-off a reading without limit status counts as held (V). Assumed, 2-10 mV.
HELD_WITHIN_V: Final = 0.005
# A discharge counts as anode-limited for lithium lost from this probability on. Assumed, 0.7-0.9.
ANODE_CERTAIN: Final = 0.8
# Active lithium that an anode-limited end leaves, standard uncertainty as a share of nominal
# capacity. Assumed, 0.1-1 %.
LEFT_AT_ANODE_END: Final = 0.002

# Steps of the resistance after an edge: earliest time (s), latest time (s), words.
_RESISTANCE_STEPS: Final[tuple[tuple[float, float, str], ...]] = (
    (0.0, 0.5, "first reading"),
    (0.9, 1.9, "step 1 s"),
    (9.5, 15.0, "step 10 s"),
)
_ALL_STEPS_DONE: Final = 7
_EDGE_ENDS_S: Final = 15.0
_ENDS: Final = tuple(DischargeEnd)

# Positions in a bucket: what flowed (A s) and for how long (s), per current range and tag.
_CHARGE, _DISCHARGE, _REST, _TIME = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatorConfig:
    """What the estimator is told of the cell and the instrument.

    Attributes
    ----------
    cell_format : CellFormat
    nominal_capacity_Ah, area_cm2, lower_cut_off_V : float
    gain_u : float
        Relative standard uncertainty of a range's gain, independent between ranges; assumed.
    offset_u_A_of_range : float
        Standard uncertainty of the offset as a fraction of full scale; assumed.
    inactive_share_mean, inactive_share_sd : float
        Prior of metallic (inactive) lithium's share of lithium lost; the rest is SEI. Assumed:
        reports disagree from 0.2 to 0.9 with electrolyte and rate (10.1038/s41586-019-1481-z).
    starts_without_anode_lithium : bool
        As built, anode-free and Li||Cu: the first reading finds no lithium on Cu.
    """

    cell_format: CellFormat
    nominal_capacity_Ah: float
    area_cm2: float
    lower_cut_off_V: float
    gain_u: float = GAIN_U
    offset_u_A_of_range: float = OFFSET_U_OF_RANGE
    inactive_share_mean: float = 0.6
    inactive_share_sd: float = 0.2
    starts_without_anode_lithium: bool = True


class LiveEstimate(NamedTuple):
    """The estimate as it stands; charge in Ah, magnitudes; NaN where nothing can be said."""

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


@dataclass(slots=True, eq=False)
class EstimatorState:
    """Numbers, and lists and dicts of numbers. Made by `new_state`, changed by `observe`."""

    # The last reading used.
    has_last: int = 0
    t_s: float = NAN
    t_host_s: float = NAN
    current_A: float = NAN
    voltage_V: float = NAN
    limit_status: int = -1
    kind: int = HOLD_0A
    tag: int = TAG_BASE
    slope_A_per_s: float = NAN
    dt_before_s: float = NAN
    # Readings skipped since, and whether the command changed among them.
    skipped_in_row: int = 0
    skipped_t_s: float = NAN
    missed_change: int = 0
    # This cycle's sums (A s, A s, A s, s) by current range and tag; `bucket` is the one in use.
    buckets: dict[tuple[float, int], list[float]] = field(default_factory=dict)
    bucket: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0, 0.0])
    bucket_range_A: float = NAN
    bucket_tag: int = -1
    half_charge_As: float = 0.0
    half_discharge_As: float = 0.0
    timing_As2: float = 0.0
    unobserved_Ah: float = 0.0
    duration_s: float = 0.0
    temperature_K_s: float = 0.0
    temperature_s: float = 0.0
    gaps: int = 0
    saturated: int = 0
    time_resets: int = 0
    cycle_number: int = 1
    # The change of current that a resistance is being taken from.
    edge_t_s: float = NAN
    edge_voltage_V: float = NAN
    edge_current_A: float = NAN
    edge_done: int = _ALL_STEPS_DONE
    resistances: list[list[float]] = field(default_factory=list)
    resistance_Ohm: float = NAN
    resistance_u_Ohm: float = NAN
    resistance_cycle: int = 0
    # Shape of the running base discharge.
    shape_new: int = 1
    shape_As: float = 0.0
    shape_top_V: float = NAN
    shape_bottom_V: float = NAN
    shape_current_A: float = NAN
    shape_hold_As: float = 0.0
    shape_hold_s: float = 0.0
    knee_from_As: float = NAN
    knee_to_As: float = NAN
    end_class: int = _ENDS.index(DischargeEnd.UNKNOWN)
    end_probability: float = 0.0
    # Since the first cycle: per range, charge less discharge (A s) and time (s); lithium lost.
    cumulative: dict[float, list[float]] = field(default_factory=dict)
    cumulative_half_As: float = 0.0
    cumulative_timing_As2: float = 0.0
    cumulative_unobserved_Ah: float = 0.0
    lost_measured_Ah: float = 0.0
    lost_pending_Ah: float = 0.0
    last_end_is_anode: int = 0
    lost_label: int = 0


_CONTAINERS: Final = frozenset({"bucket", "buckets", "cumulative", "resistances"})
_NUMBERS: Final = tuple(f.name for f in fields(EstimatorState) if f.name not in _CONTAINERS)
_LABELS: Final = (Label.UNKNOWN, Label.BOUND, Label.MEASURED)


def new_state(config: EstimatorConfig) -> EstimatorState:
    """Return the state before the first reading."""
    state = EstimatorState()
    state.last_end_is_anode = 1 if config.starts_without_anode_lithium else 0
    return state


def to_dict(state: EstimatorState) -> dict[str, Any]:
    """Return the state as numbers, lists and dicts for JSON; NaN stays NaN."""
    out: dict[str, Any] = {name: getattr(state, name) for name in _NUMBERS}
    out["buckets"] = [[range_A, tag, *sums] for (range_A, tag), sums in state.buckets.items()]
    out["cumulative"] = [[range_A, *sums] for range_A, sums in state.cumulative.items()]
    out["resistances"] = [list(entry) for entry in state.resistances]
    return out


def from_dict(data: Mapping[str, Any]) -> EstimatorState:
    """Return the state that `to_dict` gave.

    Raises
    ------
    KeyError
        A field is missing: the checkpoint is of another version.
    """
    state = EstimatorState()
    for name in _NUMBERS:
        setattr(state, name, data[name])
    state.buckets = {(row[0], row[1]): list(row[2:]) for row in data["buckets"]}
    state.cumulative = {row[0]: list(row[1:]) for row in data["cumulative"]}
    state.resistances = [list(entry) for entry in data["resistances"]]
    in_use = (0.0 if isnan(state.bucket_range_A) else state.bucket_range_A, state.bucket_tag)
    state.bucket = state.buckets.get(in_use, state.bucket)
    return state


def begin_segment(state: EstimatorState) -> None:
    """Start a new series of readings, e.g. after a resume: nothing is integrated up to its first.

    What flowed in between is the caller's to state, with `add_unobserved`.
    """
    state.has_last = 0
    state.skipped_in_row = 0
    state.missed_change = 0
    state.edge_done = _ALL_STEPS_DONE


def observe(
    state: EstimatorState, config: EstimatorConfig, sample: Sample, kind: int, tag: int
) -> int:
    """Take in one reading.

    Parameters
    ----------
    state : EstimatorState
        Changed in place.
    config : EstimatorConfig
    sample : Sample
    kind, tag : int
        Of the command in force during the interval that ends at this reading. A change of command
        is a step of the current right after the reading before, not a ramp between the two.

    Returns
    -------
    int
        `USED`, `USED_AFTER_TIME_RESET` or a ``SKIPPED_*``. A skipped reading leaves all sums as
        they are; the next good one closes the interval from the last good one.
    """
    if sample.quality or sample.output == OUTPUT_OFF:
        sample = _cleaned(sample)
    t_s = sample.t_device_s
    if isnan(t_s):
        t_s = sample.t_host_s
    current_A = sample.current_A
    if sample.quality & _UNUSABLE or not (isfinite(current_A) and isfinite(t_s)):
        return _skip(state, kind, tag, _reason(sample))
    if not state.has_last:
        _anchor(state, sample, t_s, kind, tag)
        return USED
    dt_s = t_s - state.t_s
    outcome = USED
    if not dt_s > 0.0:
        outcome = _time_stands_or_falls(state, t_s, kind, tag)
        if outcome != USED_AFTER_TIME_RESET:
            return outcome
        dt_s = sample.t_host_s - state.t_host_s
        if not dt_s > 0.0:
            _anchor(state, sample, t_s, kind, tag)
            return outcome

    limit_status = sample.limit_status
    shape = _shape(state, current_A, limit_status, sample.output, kind, tag)
    _integrate(state, config, sample, dt_s, shape, kind, tag)
    if shape == STEP_AT_START:
        state.edge_t_s = state.t_s
        state.edge_voltage_V = state.voltage_V
        state.edge_current_A = state.current_A
        state.edge_done = 0
    if state.edge_done != _ALL_STEPS_DONE:
        _take_resistance(state, config, t_s, sample, kind == DISCHARGE and tag == TAG_BASE)
    state.t_s = t_s
    state.t_host_s = sample.t_host_s
    state.current_A = current_A
    state.voltage_V = sample.voltage_V
    state.limit_status = limit_status
    state.kind = kind
    state.tag = tag
    state.skipped_in_row = 0
    state.missed_change = 0
    return outcome


def _cleaned(sample: Sample) -> Sample:
    """Return the sample without a voltage that is not the cell's, and with 0 A when it is off."""
    if sample.output == OUTPUT_OFF:
        # High impedance: no current, whatever was or was not read.
        quality = sample.quality & ~_NO_CURRENT
        return sample._replace(current_A=0.0, voltage_V=NAN, quality=quality)
    if sample.quality & _NO_VOLTAGE:
        return sample._replace(voltage_V=NAN)
    return sample


def _time_stands_or_falls(state: EstimatorState, t_s: float, kind: int, tag: int) -> int:
    """Judge a reading that is not later than the last one used.

    A single one is skipped. Several in a row, each later than the one before, are a device's clock
    that began again: the interval is then taken from the host's time.
    """
    if t_s == state.t_s:
        return _skip(state, kind, tag, SKIPPED_DUPLICATE)
    if not t_s > state.skipped_t_s:
        state.skipped_in_row = 0
    state.skipped_t_s = t_s
    if state.skipped_in_row + 1 < RESET_AFTER:
        return _skip(state, kind, tag, SKIPPED_OUT_OF_ORDER)
    state.time_resets += 1
    state.missed_change = 1
    return USED_AFTER_TIME_RESET


def _shape(
    state: EstimatorState, current_A: float, limit_status: int, output: int, kind: int, tag: int
) -> int:
    """Return how the current went from the last reading used to this one."""
    if state.missed_change:
        return UNKNOWN_SHAPE
    if kind != state.kind or tag != state.tag:
        return STEP_AT_START
    if kind <= HOLD_0A:
        return STEADY
    if limit_status != state.limit_status or output == OUTPUT_OFF:
        return UNKNOWN_SHAPE
    before_A = state.current_A
    change_A = abs(current_A - before_A)
    if limit_status != LIMIT_CURRENT:
        shape = RAMP
    elif change_A > SET_POINT_CHANGE * max(abs(current_A), abs(before_A)):
        shape = STEP_AT_START  # regulated current does not change by itself
    else:
        shape = STEADY
    return shape


def _integrate(
    state: EstimatorState,
    config: EstimatorConfig,
    sample: Sample,
    dt_s: float,
    shape: int,
    kind: int,
    tag: int,
) -> None:
    """Add the interval's charge to the sums of its range, tag and direction."""
    before_A = state.current_A
    current_A = sample.current_A
    charge_As, half_As = interval_charge(
        before_A, current_A, dt_s, shape, state.slope_A_per_s, state.dt_before_s
    )
    if shape == STEP_AT_START:
        state.slope_A_per_s = NAN
        state.dt_before_s = NAN
        jitter_As = (current_A - before_A) * EDGE_DELAY_U_S
        state.timing_As2 += jitter_As * jitter_As
        if sample.limit_status == LIMIT_VOLTAGE and kind > HOLD_0A:
            half_As = 0.5 * abs(charge_As)  # already decaying: it began higher than was read
    else:
        state.slope_A_per_s = (current_A - before_A) / dt_s
        state.dt_before_s = dt_s
    if dt_s > GAP_S or sample.quality & QUALITY_SATURATED:
        half_As = _widened(state, half_As, charge_As, current_A, dt_s, sample.quality)

    range_A = sample.current_range_A
    if range_A != state.bucket_range_A or tag != state.bucket_tag:
        _take_bucket(state, range_A, tag)
    bucket = state.bucket
    bucket[_TIME] += dt_s
    if kind <= HOLD_0A:
        bucket[_REST] += charge_As
        state.half_discharge_As += half_As
    elif charge_As > 0.0:
        bucket[_CHARGE] += charge_As
        state.half_charge_As += half_As
        if tag != TAG_TREATMENT:
            state.shape_new = 1
    else:
        bucket[_DISCHARGE] -= charge_As
        state.half_discharge_As += half_As
        if tag != TAG_TREATMENT and kind == DISCHARGE:
            _follow_discharge(state, config, sample, -charge_As, dt_s)
    state.duration_s += dt_s
    temperature_K = sample.temperature_K
    if not isnan(temperature_K):
        state.temperature_K_s += temperature_K * dt_s
        state.temperature_s += dt_s


def _reason(sample: Sample) -> int:
    if sample.quality & QUALITY_DUPLICATE:
        return SKIPPED_DUPLICATE
    if sample.quality & QUALITY_OUT_OF_ORDER:
        return SKIPPED_OUT_OF_ORDER
    if sample.quality & QUALITY_STALE:
        return SKIPPED_STALE
    if sample.quality & _NO_CURRENT or not isfinite(sample.current_A):
        return SKIPPED_NO_CURRENT
    return SKIPPED_NO_TIME


def _skip(state: EstimatorState, kind: int, tag: int, reason: int) -> int:
    """Leave everything as it is, but remember a change of command whose time is now unknown."""
    if state.has_last and (kind != state.kind or tag != state.tag):
        state.missed_change = 1
    state.skipped_in_row += 1
    return reason


def _anchor(state: EstimatorState, sample: Sample, t_s: float, kind: int, tag: int) -> None:
    """Begin the series at this reading."""
    state.has_last = 1
    state.t_s = t_s
    state.t_host_s = sample.t_host_s
    state.current_A = sample.current_A
    state.voltage_V = sample.voltage_V
    state.limit_status = sample.limit_status
    state.kind = kind
    state.tag = tag
    state.slope_A_per_s = NAN
    state.dt_before_s = NAN
    state.skipped_in_row = 0
    state.missed_change = 0


def _take_bucket(state: EstimatorState, range_A: float, tag: int) -> None:
    """Point the sums at those of this range and tag; an unknown range is one range, 0."""
    key = (0.0 if isnan(range_A) else range_A, tag)
    sums = state.buckets.get(key)
    if sums is None:
        sums = [0.0, 0.0, 0.0, 0.0]
        state.buckets[key] = sums
    state.bucket = sums
    state.bucket_range_A = range_A
    state.bucket_tag = tag


def _widened(
    state: EstimatorState,
    half_As: float,
    charge_As: float,
    current_A: float,
    dt_s: float,
    quality: int,
) -> float:
    """Return the half width of an interval that was too long or read out of range."""
    if dt_s > GAP_S:
        state.gaps += 1
        half_As = max(half_As, 0.5 * max(abs(state.current_A), abs(current_A)) * dt_s)
    if quality & QUALITY_SATURATED:
        state.saturated += 1
        half_As += SATURATED_SHARE * abs(charge_As)
    return half_As


def _follow_discharge(
    state: EstimatorState,
    config: EstimatorConfig,
    sample: Sample,
    charge_As: float,
    dt_s: float,
) -> None:
    """Follow the shape of a base discharge towards its end."""
    if state.shape_new:
        begin_half_cycle(state)
    state.shape_As += charge_As
    voltage_V = sample.voltage_V
    if isnan(voltage_V):
        return
    if not state.shape_top_V >= voltage_V:
        state.shape_top_V = voltage_V
    if not state.shape_bottom_V <= voltage_V:
        state.shape_bottom_V = voltage_V
    limit_status = sample.limit_status
    above_V = voltage_V - config.lower_cut_off_V
    if limit_status == LIMIT_VOLTAGE or (
        limit_status != LIMIT_CURRENT and above_V <= HELD_WITHIN_V
    ):
        state.shape_hold_As += charge_As
        state.shape_hold_s += dt_s
    else:
        state.knee_to_As = state.shape_As
        state.shape_current_A = -sample.current_A
        if above_V > KNEE_WINDOW_V:
            state.knee_from_As = state.shape_As


def _take_resistance(
    state: EstimatorState,
    config: EstimatorConfig,
    t_s: float,
    sample: Sample,
    comparable: bool,  # noqa: FBT001  one call, a kernel's flag
) -> None:
    """Take the resistance of the running edge, when this reading is one of those wanted.

    Only the step from rest into the base discharge is `comparable` from cycle to cycle: another
    current or another state of charge has another resistance, and would look like a short.
    """
    since_s = t_s - state.edge_t_s
    voltage_V = sample.voltage_V
    current_A = sample.current_A
    step_A = current_A - state.edge_current_A
    if (
        since_s > _EDGE_ENDS_S
        or (
            sample.limit_status == LIMIT_VOLTAGE
            and sample.output != OUTPUT_OFF
            and abs(current_A) > abs(state.edge_current_A)
        )
        or not abs(step_A) >= MIN_EDGE_C_RATE * config.nominal_capacity_Ah
        or isnan(state.edge_voltage_V)
    ):
        state.edge_done = _ALL_STEPS_DONE
        return
    if isnan(voltage_V):
        return
    for k, (earliest_s, latest_s, _) in enumerate(_RESISTANCE_STEPS):
        if not state.edge_done & (1 << k) and earliest_s <= since_s <= latest_s:
            value_Ohm = (voltage_V - state.edge_voltage_V) / step_A
            u_Ohm = math.hypot(
                VOLTAGE_DIFFERENCE_U_V / step_A, value_Ohm * RESISTANCE_DRIFT_SHARE * since_s / 10.0
            )
            state.edge_done |= 1 << k
            state.resistances.append([t_s, float(state.cycle_number), float(k), value_Ohm, u_Ohm])
            at_rest = abs(state.edge_current_A) <= REST_C_RATE * config.nominal_capacity_Ah
            if k > 0 and comparable and at_rest:
                state.resistance_cycle = state.cycle_number
                state.resistance_Ohm = value_Ohm
                state.resistance_u_Ohm = u_Ohm


def take_resistances(state: EstimatorState) -> list[Resistance]:
    """Return the resistances found since the last call, and forget them."""
    found = [
        Resistance(
            t_s=t_s,
            cycle=int(cycle),
            kind=_RESISTANCE_STEPS[int(k)][2],
            value_Ohm=value_Ohm,
            u_Ohm=u_Ohm,
        )
        for t_s, cycle, k, value_Ohm, u_Ohm in state.resistances
    ]
    state.resistances.clear()
    return found


def begin_half_cycle(state: EstimatorState) -> None:
    """Forget the shape of the discharge before; called by itself at the first after a charge."""
    state.shape_new = 0
    state.shape_As = 0.0
    state.shape_top_V = NAN
    state.shape_bottom_V = NAN
    state.shape_current_A = NAN
    state.shape_hold_As = 0.0
    state.shape_hold_s = 0.0
    state.knee_from_As = NAN
    state.knee_to_As = NAN


def end_of_discharge(state: EstimatorState, config: EstimatorConfig) -> tuple[DischargeEnd, float]:
    """Classify what ended the running base discharge and remember it for the cycle.

    Returns
    -------
    DischargeEnd
        `UNKNOWN` without a discharge or when its shape does not tell.
    float
        Probability.
    """
    nominal_As = config.nominal_capacity_Ah * _SECONDS_PER_HOUR
    reached = state.shape_hold_As > 0.0 or (
        state.shape_bottom_V <= config.lower_cut_off_V + HELD_WITHIN_V
    )
    knee_share = hold_share = polarisation_share = NAN
    if not state.shape_new and state.shape_As > 0.0 and reached:
        knee_from_As = 0.0 if isnan(state.knee_from_As) else state.knee_from_As
        if state.knee_to_As >= 0.0:
            knee_share = (state.knee_to_As - knee_from_As) / nominal_As
        if state.shape_hold_s >= SHORTEST_HOLD_S:
            hold_share = state.shape_hold_As / nominal_As
        window_V = state.shape_top_V - config.lower_cut_off_V
        if window_V > 0.0 and state.resistance_Ohm > 0.0 and state.shape_current_A > 0.0:
            polarisation_share = state.resistance_Ohm * state.shape_current_A / window_V
    end, probability = classify_end(
        EndShape(knee_share, hold_share, polarisation_share), possible_ends(config.cell_format)
    )
    state.end_class = _ENDS.index(end)
    state.end_probability = probability
    return end, probability


def add_unobserved(state: EstimatorState, half_width_Ah: float) -> None:
    """State that charge flowed unobserved, anywhere within +- `half_width_Ah` (>= 0)."""
    if half_width_Ah > 0.0:
        state.unobserved_Ah += half_width_Ah


class _Sums(NamedTuple):
    """Charge and discharge of a set of buckets (A s, magnitudes)."""

    charge_As: float
    discharge_As: float


def _sums(state: EstimatorState, tag: int | None, range_A: float | None = None) -> _Sums:
    """Add buckets up; what crept at rest goes, as a net, to the direction it went."""
    charge_As = discharge_As = 0.0
    for (bucket_range_A, bucket_tag), sums in state.buckets.items():
        if (tag is None or bucket_tag == tag) and (range_A is None or bucket_range_A == range_A):
            charge_As += sums[_CHARGE] + max(sums[_REST], 0.0)
            discharge_As += sums[_DISCHARGE] + max(-sums[_REST], 0.0)
    return _Sums(charge_As, discharge_As)


def _ranges_A(state: EstimatorState) -> list[float]:
    return sorted({range_A for range_A, _ in state.buckets})


def _full_scale_A(config: EstimatorConfig, range_A: float) -> float:
    """Full scale for the offset; an unknown range is taken as 1C. Assumed."""
    return range_A if range_A > 0.0 else config.nominal_capacity_Ah


def _cycle_uncertainty(state: EstimatorState, config: EstimatorConfig) -> Uncertainty:
    ranges: dict[float, RangeCharge] = {}
    for range_A in _ranges_A(state):
        sums = _sums(state, None, range_A)
        time_s = sum(s[_TIME] for (r, _), s in state.buckets.items() if r == range_A)
        offset_As = config.offset_u_A_of_range * _full_scale_A(config, range_A) * time_s
        ranges[range_A] = RangeCharge(sums.charge_As, sums.discharge_As, offset_As)
    timing_As2 = 0.5 * state.timing_As2
    return propagate(
        ranges,
        math.sqrt(uniform_u(state.half_charge_As) ** 2 + timing_As2),
        math.sqrt(uniform_u(state.half_discharge_As) ** 2 + timing_As2),
        uniform_u(state.unobserved_Ah * _SECONDS_PER_HOUR),
        config.gain_u,
    )


def _gives_efficiency(config: EstimatorConfig) -> bool:
    """Return whether discharge over charge means anything in this format."""
    return config.cell_format is not CellFormat.LI_LI


def _counts_lithium(config: EstimatorConfig) -> bool:
    """Return whether the anode's lithium all comes from what was charged."""
    return config.cell_format in {CellFormat.ANODE_FREE, CellFormat.LI_CU}


def close_cycle(
    state: EstimatorState,
    config: EstimatorConfig,
    *,
    cycle: int,
    kind: CycleKind,
    anchored: bool,
) -> CycleFigures:
    """Return this cycle's figures, start the next, carry lithium lost on.

    Net charge becomes lithium lost only between two anode-limited ends of discharge (or from the
    cell as built to one): `MEASURED`. After any other end it is an upper bound: `BOUND`.
    """
    gross = _sums(state, None)
    base = _sums(state, TAG_BASE)
    treatment = _sums(state, TAG_TREATMENT)
    diagnostic = _sums(state, TAG_DIAGNOSTIC)
    u = _cycle_uncertainty(state, config)
    efficiency = u_efficiency = base_efficiency = None
    if _gives_efficiency(config) and gross.charge_As > 0.0 and gross.discharge_As > 0.0:
        efficiency = gross.discharge_As / gross.charge_As
        u_efficiency = u.efficiency
        if base.charge_As > 0.0:
            base_efficiency = base.discharge_As / base.charge_As
    flags = _flags(state, config, efficiency)
    end = _ENDS[state.end_class]
    probability = state.end_probability
    _carry_on(state, config, end, probability)
    lost_Ah, u_lost_Ah, label = _lithium_lost(state, config)
    resistance_is_new = state.resistance_cycle == state.cycle_number
    h = _SECONDS_PER_HOUR
    figures = CycleFigures(
        cycle=cycle,
        kind=kind,
        charge_Ah=gross.charge_As / h,
        u_charge_Ah=u.charge / h,
        discharge_Ah=gross.discharge_As / h,
        u_discharge_Ah=u.discharge / h,
        net_charge_Ah=(gross.discharge_As - gross.charge_As) / h,
        u_net_charge_Ah=u.net / h,
        base_charge_Ah=base.charge_As / h,
        base_discharge_Ah=base.discharge_As / h,
        treatment_net_charge_Ah=(treatment.discharge_As - treatment.charge_As) / h,
        diagnostic_net_charge_Ah=(diagnostic.discharge_As - diagnostic.charge_As) / h,
        coulombic_efficiency=efficiency,
        u_coulombic_efficiency=u_efficiency,
        coulombic_efficiency_base=base_efficiency,
        discharge_end=end,
        discharge_end_probability=probability,
        resistance_Ohm=state.resistance_Ohm if resistance_is_new else NAN,
        u_resistance_Ohm=state.resistance_u_Ohm if resistance_is_new else NAN,
        lithium_lost_Ah=lost_Ah,
        u_lithium_lost_Ah=u_lost_Ah,
        lithium_lost_label=label,
        duration_s=state.duration_s,
        mean_temperature_K=(
            state.temperature_K_s / state.temperature_s if state.temperature_s > 0.0 else NAN
        ),
        unobserved_charge_Ah=state.unobserved_Ah,
        anchored=anchored,
        flags=flags,
    )
    _reset_cycle(state, cycle + 1)
    return figures


def _flags(
    state: EstimatorState, config: EstimatorConfig, efficiency: float | None
) -> tuple[str, ...]:
    flags = {
        "not_lithium_ce": config.cell_format is CellFormat.EXCESS_LITHIUM,
        "no_ce_in_symmetric_cell": config.cell_format is CellFormat.LI_LI,
        "ce-above-one": efficiency is not None and efficiency > 1.0,
        "incomplete": efficiency is None and _gives_efficiency(config),
        "unobserved-charge": state.unobserved_Ah > 0.0,
        "gap": state.gaps > 0,
        "saturated": state.saturated > 0,
        "time-reset": state.time_resets > 0,
    }
    return tuple(flag for flag, raised in flags.items() if raised)


def _carry_on(
    state: EstimatorState, config: EstimatorConfig, end: DischargeEnd, probability: float
) -> None:
    """Add this cycle to what has been lost since the first."""
    lost_As = 0.0
    for range_A in _ranges_A(state):
        sums = _sums(state, None, range_A)
        time_s = sum(s[_TIME] for (r, _), s in state.buckets.items() if r == range_A)
        total = state.cumulative.setdefault(range_A, [0.0, 0.0])
        total[0] += sums.charge_As - sums.discharge_As
        total[1] += time_s
        lost_As += sums.charge_As - sums.discharge_As
    state.cumulative_half_As += state.half_charge_As + state.half_discharge_As
    state.cumulative_timing_As2 += state.timing_As2
    state.cumulative_unobserved_Ah += state.unobserved_Ah
    state.lost_pending_Ah += lost_As / _SECONDS_PER_HOUR
    if not _counts_lithium(config):
        return
    anode = end is DischargeEnd.ANODE and probability >= ANODE_CERTAIN
    if anode and state.last_end_is_anode:
        state.lost_measured_Ah += state.lost_pending_Ah
        state.lost_pending_Ah = 0.0
    elif anode:
        # First end at which all lithium was off: what went before has no beginning to count from.
        state.lost_pending_Ah = 0.0
        state.last_end_is_anode = 1
    state.lost_label = _LABELS.index(Label.MEASURED if anode else Label.BOUND)


def _lithium_lost(state: EstimatorState, config: EstimatorConfig) -> tuple[float, float, Label]:
    """Return lithium lost since the first cycle, its standard uncertainty and its label (Ah).

    NaN where no figure can be given: of a foil in excess it would be the prior's.
    """
    label = _LABELS[state.lost_label]
    if config.cell_format is CellFormat.EXCESS_LITHIUM:
        # nothing informs the inventory of the foil before it runs out: no figure, only the prior
        return NAN, NAN, Label.PRIOR_DOMINATED
    if label is Label.UNKNOWN:
        return NAN, NAN, label
    variance_As2 = (
        uniform_u(state.cumulative_half_As) ** 2
        + state.cumulative_timing_As2
        + uniform_u(state.cumulative_unobserved_Ah * _SECONDS_PER_HOUR) ** 2
    )
    for range_A, (net_As, time_s) in state.cumulative.items():
        # A gain or an offset is the same in every cycle: it adds up, it does not average out.
        offset_As = config.offset_u_A_of_range * _full_scale_A(config, range_A) * time_s
        variance_As2 += (config.gain_u * net_As) ** 2 + offset_As**2
    u_Ah = math.hypot(
        math.sqrt(variance_As2) / _SECONDS_PER_HOUR,
        LEFT_AT_ANODE_END * config.nominal_capacity_Ah,
    )
    return state.lost_measured_Ah + state.lost_pending_Ah, u_Ah, label


def _reset_cycle(state: EstimatorState, cycle_number: int) -> None:
    state.buckets = {}
    state.bucket_range_A = NAN
    state.bucket_tag = -1
    state.half_charge_As = 0.0
    state.half_discharge_As = 0.0
    state.timing_As2 = 0.0
    state.unobserved_Ah = 0.0
    state.duration_s = 0.0
    state.temperature_K_s = 0.0
    state.temperature_s = 0.0
    state.gaps = 0
    state.saturated = 0
    state.time_resets = 0
    state.resistance_Ohm = NAN
    state.resistance_u_Ohm = NAN
    state.end_class = _ENDS.index(DischargeEnd.UNKNOWN)
    state.end_probability = 0.0
    state.cycle_number = cycle_number
    state.shape_new = 1


def live(state: EstimatorState, config: EstimatorConfig) -> LiveEstimate:
    """Return the estimate as it stands within the running cycle.

    The split of lithium lost into inactive and SEI is the prior's: voltage, current, temperature
    and time do not inform it, and its label says so.
    """
    gross = _sums(state, None)
    efficiency = NAN
    if _gives_efficiency(config) and gross.charge_As > 0.0:
        efficiency = gross.discharge_As / gross.charge_As
    lost_Ah, u_lost_Ah, label = _lithium_lost(state, config)
    share, sd = config.inactive_share_mean, config.inactive_share_sd
    spread_Ah = abs(lost_Ah) * sd
    return LiveEstimate(
        charge_Ah=gross.charge_As / _SECONDS_PER_HOUR,
        discharge_Ah=gross.discharge_As / _SECONDS_PER_HOUR,
        coulombic_efficiency_so_far=efficiency,
        resistance_Ohm=state.resistance_Ohm,
        lithium_lost_Ah=lost_Ah,
        u_lithium_lost_Ah=u_lost_Ah,
        inactive_Ah=share * lost_Ah,
        u_inactive_Ah=math.hypot(share * u_lost_Ah, spread_Ah),
        sei_Ah=(1.0 - share) * lost_Ah,
        u_sei_Ah=math.hypot((1.0 - share) * u_lost_Ah, spread_Ah),
        split_label=Label.UNKNOWN if label is Label.UNKNOWN else Label.PRIOR_DOMINATED,
    )
