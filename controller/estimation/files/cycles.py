"""Cycles of a logged series: charge, efficiency, what ended the discharge, flags, findings."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from itertools import dropwhile
from typing import Final, NamedTuple

import numpy as np

from controller.domain.cell import TWO_FOILS, ZERO_CELSIUS_K, CellFormat
from controller.domain.figures import DischargeEnd, Resistance
from controller.domain.sample import NAN
from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.charge import (
    GAIN_U,
    OFFSET_U_OF_RANGE,
    RangeCharge,
    cut_off_u,
    gain_drift,
    propagate,
    uniform_u,
)
from controller.estimation.ending import (
    LOW_V,
    NO_CURRENT_SHARE,
    Ending,
    begin_ending,
    new_ending,
    observe_ending,
)
from controller.estimation.ends import (
    EndMemory,
    classify_end,
    end_probabilities,
    possible_ends,
    remember,
    shape_of,
)
from controller.estimation.files.course import Course, course_of
from controller.estimation.files.cuts import Cut, find_cut, hiding_gaps
from controller.estimation.files.defects import (
    Series,
    counter_findings,
    cycle_numbers,
    orient_li_cu,
    prepare,
    several_cycles,
)
from controller.estimation.files.intervals import (
    BoolArray,
    IntArray,
    Intervals,
    integrate,
    resolution_u_As,
    rounding,
    sampling_u_As,
)
from controller.estimation.files.lost import Lost, lost_currents
from controller.estimation.files.pulses import step_resistances
from controller.estimation.files.saturation import saturated_readings
from controller.estimation.files.signs import Signs, sign_findings
from controller.estimation.files.stale import stale_readings
from controller.estimation.files.units import implausible_units
from controller.estimation.reservoir import find_reservoirs, half_cycles, reservoir_efficiency
from controller.estimation.table import FloatArray, Table

# Discharge above charge by more than this in the first cycle: the cell came charged. Assumed.
STARTS_CHARGED_ABOVE: Final = 1.05
# Sampling uncertainty of a cycle's charge above this share is said. Assumed, 0.2-1 %.
COARSE_ABOVE: Final = 0.005
# Counter and integral further apart than this share and 3 u are said. Assumed, 0.5-3 %.
MISMATCH_ABOVE: Final = 0.02
# An interval is sampled closely where its charge can be off by no more than this share of it.
# Assumed, 0.5-2 %.
CLOSE_WITHIN: Final = 0.01
# A cycle's charge is the counter's where the integral fills in no more than this share of it.
# Assumed, 0.1-0.5.
FILLED_AT_MOST: Final = 0.5
# Mean currents of charge and discharge further apart than this factor: two ranges. Assumed.
OTHER_RANGE_FACTOR: Final = 10.0
# Discharge current lower than the cycle's before by this factor: another rate. Assumed.
OTHER_RATE_FACTOR: Final = 1.5
# A discharge that ends further than this above the usual end did not reach its cut-off (V).
CUT_OFF_WITHIN_V: Final = 0.02
# Without current for longer than this, a discharge is two (s). Assumed, 2-30 s.
PAUSE_S: Final = 10.0

# Beyond these a thermometer does not read a cell (K). Assumed, 150-200 and 400-700.
COLDEST_K: Final = 173.15
HOTTEST_K: Final = 473.15

# Flags of first cycles that give back what the cell came with.
CAME_FULLER: Final = frozenset({"starts-charged", "ce-above-one"})
# Flags that keep a cycle out of averages.
EXCLUDING: Final = frozenset(
    {
        "gap",
        "starts-charged",
        "incomplete",
        "several-cycles",
        "stale-readings",
        "saturated",
        "current-implausible",
        "reservoir",
        "time-reset",
        "units-implausible",
        "sign-implausible",
        "counter-mismatch",
    }
)
# ... but show how the cell fares: a half alone tells of a foil, and no discharge at all of a short.
SHOWING: Final = frozenset({"incomplete", "reservoir"})


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleResult:
    """One cycle of a file; charge in Ah, magnitudes; standard uncertainties.

    Attributes
    ----------
    cycle : int
    charge_Ah, u_charge_Ah, discharge_Ah, u_discharge_Ah : float
    net_charge_Ah, u_net_charge_Ah : float
        Discharge minus charge.
    coulombic_efficiency, u_coulombic_efficiency : float or None
        By cell format; None where the format gives none or the cycle is not whole.
    coulombic_efficiency_reason : str
        Why it is None; empty otherwise.
    source : str
        ``integrated`` or ``counter``.
    discharge_end : DischargeEnd
    discharge_end_probability : float
    resistance_Ohm, u_resistance_Ohm : float
        NaN where no step of the current gives one.
    resistance_kind : str
    flags : tuple of str
    """

    cycle: int
    charge_Ah: float
    u_charge_Ah: float
    discharge_Ah: float
    u_discharge_Ah: float
    net_charge_Ah: float
    u_net_charge_Ah: float
    coulombic_efficiency: float | None
    u_coulombic_efficiency: float | None
    coulombic_efficiency_reason: str
    source: str
    discharge_end: DischargeEnd = DischargeEnd.UNKNOWN
    discharge_end_probability: float = 0.0
    resistance_Ohm: float = NAN
    u_resistance_Ohm: float = NAN
    resistance_kind: str = ""
    flags: tuple[str, ...] = ()


class MeanEfficiency(NamedTuple):
    """Mean Coulombic efficiency, its standard uncertainty, and the number of cycles."""

    value: float
    u: float
    cycles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Analysis:
    """What a file says.

    Attributes
    ----------
    source, layout : str
    cell_format : CellFormat or None
    cycles : tuple of CycleResult
    resistances : tuple of Resistance
    findings : tuple of str
        In plain words: defects of the file, and what was assumed.
    resistance_notes : tuple of str
        What the readings around the changes of current could not give.
    course : Course
        Signs of shorts, features and the diagnosis.
    """

    source: str
    layout: str
    cell_format: CellFormat | None
    cycles: tuple[CycleResult, ...]
    resistances: tuple[Resistance, ...]
    findings: tuple[str, ...]
    resistance_notes: tuple[str, ...] = ()
    course: Course = field(default_factory=Course)

    @property
    def averaged(self) -> tuple[CycleResult, ...]:
        """Cycles with an efficiency and without a flag that keeps them out of averages.

        The first ones, as long as they give more than they took, show how full the cell came;
        later such cycles stay: an average that leaves out what is above one lies below the truth.
        """
        since = dropwhile(lambda c: CAME_FULLER.intersection(c.flags), self.cycles)
        return tuple(
            c
            for c in since
            if c.coulombic_efficiency is not None and not EXCLUDING.intersection(c.flags)
        )

    @property
    def mean_efficiency(self) -> MeanEfficiency | None:
        """Mean over the cycles that may be averaged; None where there are none.

        What is uncertain comes back in every cycle with the same sign (gain, offset, rounding of a
        constant current, a decay logged too coarsely): u of the mean is the mean of u.
        """
        pairs = [
            (c.coulombic_efficiency, c.u_coulombic_efficiency)
            for c in self.averaged
            if c.coulombic_efficiency is not None and c.u_coulombic_efficiency is not None
        ]
        if not pairs:
            return None
        return MeanEfficiency(
            sum(value for value, _ in pairs) / len(pairs),
            sum(u for _, u in pairs) / len(pairs),
            len(pairs),
        )


def analyse(
    table: Table, *, cell_format: CellFormat | None, ignore_counters: bool = False
) -> Analysis:
    """Segment a series and give each cycle its figures.

    Parameters
    ----------
    table : Table
    cell_format : CellFormat or None
        Decides what Coulombic efficiency is; without it efficiency is None.
    ignore_counters : bool
        Integrate the current even where the cycler's own charge counters are in the file.
    """
    series = prepare(table)
    findings = list(series.findings)
    if series.t_s.size < 2:
        return Analysis(
            source=table.source,
            layout=table.layout,
            cell_format=cell_format,
            cycles=(),
            resistances=(),
            findings=(*findings, "fewer than two usable rows: nothing can be integrated"),
        )
    intervals = _integrated(series)
    told = True
    if cell_format is CellFormat.LI_CU:
        series, words, told = orient_li_cu(series, intervals)
        findings.append(words)
        intervals = _integrated(series)
    numbers, words_of_cycles = cycle_numbers(series, intervals)
    findings += words_of_cycles
    several, words_of_several = several_cycles(series, intervals, numbers)
    findings += words_of_several
    signs = sign_findings(series, intervals, numbers, cell_format)
    implausible = [*implausible_units(series, intervals), *signs.of_file]
    findings += [*implausible, *signs.of_cycles]
    findings += counter_findings(series, intervals)
    resistances, words_of_steps, missing = step_resistances(series, numbers)
    findings += words_of_steps

    counted = series.has_counters and not ignore_counters
    if ignore_counters and series.has_counters:
        findings.append("the cycler's own charge counters are in the file and were ignored")
    temperature_K, words_of_temperature = _temperatures_K(table, series)
    findings += words_of_temperature
    cycles = [
        _cycle(series, intervals, numbers, int(number), cell_format, temperature_K, counted=counted)
        for number in np.unique(numbers)
    ]
    cycles = [c for c in cycles if c.charge_Ah > 0.0 or c.discharge_Ah > 0.0]
    if not told:
        cycles = [_without_efficiency(c, "which current plates could not be told") for c in cycles]
    cycles = [_with_flag(c, "several-cycles") if c.cycle in several else c for c in cycles]
    cycles = [_with_flag(c, "sign-implausible") if c.cycle in signs.cycles else c for c in cycles]
    for flag, found in (
        ("stale-readings", stale_readings(series, intervals)),
        ("saturated", saturated_readings(series, intervals)),
        ("current-implausible", _lost(series, intervals, signs, cell_format)),
        ("reservoir", _reservoirs(series, intervals, cell_format)),
    ):
        findings += found.findings
        named = {int(number) for number in np.unique(numbers[found.intervals])}
        cycles = [_with_flag(c, flag) if c.cycle in named else c for c in cycles]
    hiding = hiding_gaps(series, intervals)
    findings += hiding.findings
    hidden = {int(number) for number in np.unique(numbers[hiding.gaps])}
    cycles = [
        _with_flag(_without_efficiency(c, "a gap in the log may hide a half cycle"), "gap")
        if c.cycle in hidden
        else c
        for c in cycles
    ]
    cut = find_cut(series, intervals)
    findings += cut.findings
    cycles = _with_cuts(cut, numbers, cycles)
    cycles = _with_ends(series, intervals, numbers, cycles, cell_format)
    cycles = _with_resistances(cycles, resistances)
    cycles = _with_flags_between(cycles, [words.split(":")[0] for words in implausible])
    findings += _cycle_findings(intervals, numbers, cycles)
    if cell_format is None:
        findings.append("no cell format was given: Coulombic efficiency is not stated")
    return Analysis(
        source=table.source,
        layout=table.layout,
        cell_format=cell_format,
        cycles=tuple(cycles),
        resistances=tuple(resistances),
        resistance_notes=tuple(missing),
        findings=tuple(findings),
        course=course_of(
            series,
            intervals,
            numbers,
            cell_format,
            left_out={
                *_cut_off(cut, numbers),
                *(c.cycle for c in cycles if (EXCLUDING - SHOWING).intersection(c.flags)),
            },
        ),
    )


class _Reservoirs(NamedTuple):
    """Intervals within reservoir series, array of bool, shape (n - 1,), and findings."""

    intervals: BoolArray
    findings: tuple[str, ...]


def _reservoirs(
    series: Series, intervals: Intervals, cell_format: CellFormat | None
) -> _Reservoirs:
    """Return each reservoir series (Aurbach / Adams) that stands in the file, and its efficiency.

    Charge that one of its cycles left behind another one strips.
    """
    if cell_format is not CellFormat.LI_CU:
        return _Reservoirs(np.zeros(intervals.dt_s.size, dtype=np.bool_), ())
    halves = half_cycles(intervals.charge_As, intervals.half_width_As, intervals.dt_s)
    full_scale_A = float(np.max(np.abs(series.current_A)))
    within = np.zeros(intervals.dt_s.size, dtype=np.bool_)
    findings = []
    for start, count in find_reservoirs(halves):
        within[halves[start].first : halves[start + 2 * count + 1].last + 1] = True
        found = reservoir_efficiency(halves, start, count, full_scale_A=full_scale_A)
        findings.append(found.words())
    return _Reservoirs(within, tuple(findings))


def _lost(
    series: Series, intervals: Intervals, signs: Signs, cell_format: CellFormat | None
) -> Lost:
    """Return currents that the voltage contradicts; not where all do, or the format lets them."""
    if signs.of_file or cell_format in TWO_FOILS:
        return Lost(np.zeros(intervals.dt_s.size, dtype=np.bool_), ())
    return lost_currents(series, intervals)


def _integrated(series: Series) -> Intervals:
    """Return the charge of each interval; one with a mended clock is open by half a tick more.

    A clock that runs slow by a little is seen to slip by a whole tick where its rounding steps
    over; so what was mended is itself uncertain by half the resolution. In a gap of the log
    anything from nothing to the larger current may have flowed.
    """
    intervals = integrate(series.t_s, series.current_A, series.same_step)
    current_A = np.maximum(np.abs(series.current_A[1:]), np.abs(series.current_A[:-1]))
    half_As = 0.5 * series.time_resolution_s * current_A
    half_As = intervals.half_width_As + np.where(series.slipped, half_As, 0.0)
    ends_As = np.stack([series.current_A[1:], series.current_A[:-1], np.zeros(len(half_As))])
    low_As, high_As = intervals.dt_s * ends_As.min(axis=0), intervals.dt_s * ends_As.max(axis=0)
    charge_As = intervals.charge_As
    open_As = np.maximum(charge_As - low_As, high_As - charge_As)
    return intervals._replace(half_width_As=np.where(series.gap, open_As, half_As))


def _temperatures_K(table: Table, series: Series) -> tuple[FloatArray, list[str]]:
    """Return the temperature at the end of each interval, NaN without a thermometer, and words."""
    if table.temperature_K is None:
        return np.full(series.t_s.size - 1, NAN), []
    read_K = table.temperature_K[series.element]
    absurd = np.isfinite(read_K) & ~((read_K > COLDEST_K) & (read_K < HOTTEST_K))
    absurd |= np.isinf(read_K)
    words = []
    if absurd.any():
        first = int(np.flatnonzero(absurd)[0])
        words.append(
            f"temperature: {int(absurd.sum())} readings are none of a cell (first: row "
            f"{int(series.row[first])}, {read_K[first] - ZERO_CELSIUS_K:.6g} degC) and were "
            "not used"
        )
        if bool(absurd.all()):
            words[-1] += "; K written as degC?"
    return np.where(absurd, NAN, read_K)[1:], words


def _mean(values: FloatArray) -> float:
    """Return the mean of what is a number; NaN of nothing."""
    known = values[np.isfinite(values)]
    return float(np.mean(known)) if known.size else NAN


def _cut_off_u_As(series: Series, intervals: Intervals, discharging: BoolArray) -> float:
    """Return the charge that the voltage at the end of a discharge is not known better than."""
    rows = np.flatnonzero(discharging & ~series.held)
    rows = rows[np.isfinite(series.voltage_V[rows + 1])]
    if not rows.size:
        return 0.0
    # the current may have gone off within the last interval: its voltage is then the rest's
    last = int(np.argmin(series.voltage_V[rows + 1]))
    end_V = series.voltage_V[rows[last] + 1]
    before = np.flatnonzero(series.voltage_V[rows[: last + 1]] > end_V + LOW_V)
    if not before.size:
        return 0.0
    since = rows[before[-1] : last + 1]
    fell_V = float(series.voltage_V[since[0]] - end_V)
    return cut_off_u(abs(float(np.sum(intervals.charge_As[since]))), fell_V)


def _cycle(
    series: Series,
    intervals: Intervals,
    numbers: FloatArray,
    number: int,
    cell_format: CellFormat | None,
    temperature_K: FloatArray,
    *,
    counted: bool,
) -> CycleResult:
    """Return the figures of one cycle."""
    inside = numbers == number
    charging = inside & (intervals.charge_As > 0.0)
    discharging = inside & (intervals.charge_As < 0.0)
    charge_As = float(np.sum(intervals.charge_As[charging]))
    discharge_As = abs(float(np.sum(intervals.charge_As[discharging])))
    rounded = rounding(intervals, charging, discharging, series.time_resolution_s)
    u_charge_As = _own_u_As(series, intervals, charging, rounded.charge)
    u_discharge_As = _own_u_As(series, intervals, discharging, rounded.discharge)
    cut_off_As = _cut_off_u_As(series, intervals, discharging)
    flags = []
    if series.counted_charge_As is not None and series.counted_discharge_As is not None:
        into = _counter(series, intervals, inside, charging, series.counted_charge_As)
        out = _counter(series, intervals, inside, discharging, series.counted_discharge_As)
        if into.mismatch or out.mismatch:
            flags.append("counter-mismatch")
        counted = counted and into.tells and out.tells
        if counted:
            charge_As, u_charge_As = into.charge_As, into.u_As
            discharge_As, u_discharge_As = out.charge_As, out.u_As
    if not counted:
        coarse = max(
            _share(sampling_u_As(intervals, charging), charge_As),
            _share(sampling_u_As(intervals, discharging), discharge_As),
        )
        if coarse > COARSE_ABOVE:
            flags.append(_coarse_word(series, intervals, inside))
        if bool(np.any(series.gap[inside])):
            flags.append("gap")
    # A counter that goes on over a reset of the clock knows what flowed.
    untold = inside & ~series.counter_goes_on if counted else inside
    if bool(np.any(series.broken[untold])):
        flags.append("time-reset")
    u_discharge_As = math.hypot(u_discharge_As, cut_off_As)
    unobserved_As = float(np.sum(series.unobserved_As[untold]))
    u = propagate(
        _ranges(series, intervals, charging, discharging, charge_As, discharge_As),
        u_charge_As,
        u_discharge_As,
        uniform_u(unobserved_As),
        GAIN_U,
        0.0 if counted else rounded.covariance,
        gain_drift(_mean(temperature_K[discharging]) - _mean(temperature_K[charging])),
    )
    efficiency, u_efficiency, reason = _efficiency(
        charge_As, discharge_As, u.efficiency, cell_format
    )
    if charge_As <= 0.0 or discharge_As <= 0.0:
        flags.append("incomplete")
    if cell_format is CellFormat.EXCESS_LITHIUM:
        flags.append("not_lithium_ce")
    h = SECONDS_PER_HOUR
    both_As = 0.0 if counted else _cancelled_As(series, intervals, inside)
    return CycleResult(
        cycle=number,
        charge_Ah=charge_As / h,
        u_charge_Ah=math.hypot(u.charge, both_As) / h,
        discharge_Ah=discharge_As / h,
        u_discharge_Ah=math.hypot(u.discharge, both_As) / h,
        net_charge_Ah=(discharge_As - charge_As) / h,
        u_net_charge_Ah=u.net / h,
        coulombic_efficiency=efficiency,
        u_coulombic_efficiency=u_efficiency,
        coulombic_efficiency_reason=reason,
        source="counter" if counted else "integrated",
        flags=tuple(flags),
    )


def _own_u_As(
    series: Series, intervals: Intervals, chosen: BoolArray, rounded_A2s2: float
) -> float:
    """Return the standard uncertainty of a charge from sampling and rounding (A s)."""
    return float(
        np.sqrt(
            sampling_u_As(intervals, chosen) ** 2
            + rounded_A2s2
            + resolution_u_As(intervals, chosen, series.current_resolution_A) ** 2
        )
    )


def _cancelled_As(series: Series, intervals: Intervals, inside: BoolArray) -> float:
    """Return the charge that may have flowed both ways where the current turned unseen (A s).

    Between two readings of either sign the chord takes one direction off the other. If the current
    jumped, as much is missing of charge as of discharge, in each such interval; so the net charge
    does not change, and a drive cycle's gross charges are too small by the sum.
    """
    before_A, after_A = series.current_A[:-1], series.current_A[1:]
    turned = inside & (before_A * after_A < 0.0)
    smaller_A = np.minimum(np.abs(before_A), np.abs(after_A))
    return 0.5 * float(np.sum((smaller_A * intervals.dt_s)[turned]))


def _coarse_word(series: Series, intervals: Intervals, inside: BoolArray) -> str:
    """Return which flag tells what was sampled too rarely: a voltage hold or another change."""
    half_As = intervals.half_width_As
    held = float(np.sum(half_As[inside & series.held]))
    return (
        "cv-logged-too-coarsely"
        if held > 0.5 * float(np.sum(half_As[inside]))
        else "current-changes-logged-too-coarsely"
    )


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0.0 else 0.0


class _Counter(NamedTuple):
    """Charge of one direction by the cycler's counter (A s), and whether that is to be used."""

    charge_As: float
    u_As: float
    tells: bool
    mismatch: bool


def _counter(
    series: Series,
    intervals: Intervals,
    inside: BoolArray,
    chosen: BoolArray,
    counted_As: FloatArray,
) -> _Counter:
    """Return what the counter says of a cycle's `chosen` intervals, held against the integral.

    Where the counter tells nothing the integral stands in for it. Where the two lie further apart
    than the integral can be off, u is what they are apart. Both the whole is compared and what was
    sampled closely: a gap in the log leaves the integral open, but not that of the rest.
    """
    known = np.isfinite(counted_As)
    flowed_As = np.where(chosen, np.abs(intervals.charge_As), 0.0)
    integral_As = float(np.sum(flowed_As))
    filled = chosen & ~known
    filled_As = float(np.sum(flowed_As[filled]))
    charge_As = float(np.sum(counted_As[inside & known])) + filled_As
    # Across a reset of the clock the integral knows nothing that could contradict.
    timed = inside & ~series.broken
    close = timed & known & (intervals.half_width_As <= CLOSE_WITHIN * np.abs(intervals.charge_As))
    # A counter may be a reading late: of a part it tells only to what one interval brings.
    late_As = float(np.max(flowed_As[close], initial=0.0))
    apart_As = 0.0
    for compared, open_As in ((timed, 0.0), (close, late_As)):
        counter_As = float(np.sum(np.where(known, counted_As, flowed_As)[compared]))
        off_As = abs(counter_As - float(np.sum(flowed_As[compared])))
        if off_As > 3.0 * _integral_u_As(series, intervals, chosen & compared) + open_As:
            apart_As = max(apart_As, off_As)
    # A counter is read at two records per half cycle.
    read_u_As = uniform_u(0.5 * series.counter_resolution_Ah * SECONDS_PER_HOUR) * math.sqrt(2.0)
    return _Counter(
        charge_As=charge_As,
        u_As=math.hypot(read_u_As, _integral_u_As(series, intervals, filled), apart_As),
        tells=filled_As <= FILLED_AT_MOST * integral_As,
        mismatch=apart_As > MISMATCH_ABOVE * max(integral_As, charge_As),
    )


def _integral_u_As(series: Series, intervals: Intervals, chosen: BoolArray) -> float:
    """Return the standard uncertainty of the integral over `chosen` intervals alone (A s)."""
    if not chosen.any():
        return 0.0
    rounded = rounding(intervals, chosen, np.zeros_like(chosen), series.time_resolution_s)
    return _own_u_As(series, intervals, chosen, rounded.charge)


def _ranges(
    series: Series,
    intervals: Intervals,
    charging: BoolArray,
    discharging: BoolArray,
    charge_As: float,
    discharge_As: float,
) -> dict[float, RangeCharge]:
    """Return the charges by current range, as far as the currents tell.

    A file does not name the ranges: one is assumed where the mean currents of charge and discharge
    lie within `OTHER_RANGE_FACTOR`, two where they do not.
    """
    full_scale_A = float(np.max(np.abs(series.current_A)))
    charge_s = float(np.sum(intervals.dt_s[charging]))
    discharge_s = float(np.sum(intervals.dt_s[discharging]))
    offset_A = OFFSET_U_OF_RANGE * full_scale_A
    if charge_s > 0.0 and discharge_s > 0.0 and charge_As > 0.0 and discharge_As > 0.0:
        ratio = (charge_As / charge_s) / (discharge_As / discharge_s)
        if not 1.0 / OTHER_RANGE_FACTOR <= ratio <= OTHER_RANGE_FACTOR:
            return {
                1.0: RangeCharge(charge_As, 0.0, offset_A * charge_s),
                2.0: RangeCharge(0.0, discharge_As, offset_A * discharge_s),
            }
    return {1.0: RangeCharge(charge_As, discharge_As, offset_A * (charge_s + discharge_s))}


def _efficiency(
    charge_As: float, discharge_As: float, u: float, cell_format: CellFormat | None
) -> tuple[float | None, float | None, str]:
    """Return Coulombic efficiency by cell format, its uncertainty, and why there is none."""
    if cell_format is None:
        return None, None, "no cell format given"
    if cell_format is CellFormat.LI_LI:
        return None, None, "Li||Li: both electrodes have lithium in excess"
    if charge_As <= 0.0 or discharge_As <= 0.0:
        return None, None, "no charge" if charge_As <= 0.0 else "no discharge"
    return discharge_As / charge_As, u, ""


def _without_efficiency(cycle: CycleResult, reason: str) -> CycleResult:
    """Return a cycle whose efficiency is not stated, and why; one that had none keeps its why."""
    if cycle.coulombic_efficiency is None:
        return cycle
    return replace(
        cycle,
        coulombic_efficiency=None,
        u_coulombic_efficiency=None,
        coulombic_efficiency_reason=reason,
    )


def _with_flag(cycle: CycleResult, flag: str) -> CycleResult:
    """Return a cycle with a flag, once."""
    return replace(cycle, flags=tuple(dict.fromkeys((*cycle.flags, flag))))


def _cut_off(cut: Cut, numbers: FloatArray) -> set[int]:
    """Return the cycles in which the file begins or ends with a part of a half cycle missing."""
    ends = ((cut.first, numbers[0]), (cut.last, numbers[-1]))
    return {int(number) for missing, number in ends if missing}


def _with_cuts(cut: Cut, numbers: FloatArray, cycles: list[CycleResult]) -> list[CycleResult]:
    """Flag the cycles in which the file begins or ends with a part of a half cycle missing."""
    out = []
    for cycle in cycles:
        begins = cut.first and cycle.cycle == int(numbers[0])
        ends = cut.last and cycle.cycle == int(numbers[-1])
        if begins or ends:
            words = "begins" if begins else "ends"
            cut_off = _without_efficiency(cycle, f"the file {words} within a half cycle")
            out.append(_with_flag(cut_off, "incomplete"))
        else:
            out.append(cycle)
    return out


def _with_ends(
    series: Series,
    intervals: Intervals,
    numbers: FloatArray,
    cycles: list[CycleResult],
    cell_format: CellFormat | None,
) -> list[CycleResult]:
    """Classify what ended each discharge; only where the negative electrode plates lithium."""
    plating = {CellFormat.ANODE_FREE, CellFormat.EXCESS_LITHIUM, CellFormat.LI_CU}
    if cell_format is None or cell_format not in plating or not cycles:
        return cycles
    nominal_As = max(c.discharge_Ah for c in cycles) * SECONDS_PER_HOUR
    # An interval that ends in a reading at rest, higher than where it began, leads into the rest.
    resting = np.abs(series.current_A[1:]) <= NO_CURRENT_SHARE * nominal_As / SECONDS_PER_HOUR
    relaxing = resting & (np.diff(series.voltage_V) > 0.0)
    given = (intervals.charge_As < 0.0) & ~relaxing
    discharges = [np.flatnonzero((numbers == c.cycle) & given) for c in cycles]
    ends_V = [float(series.voltage_V[rows[-1] + 1]) if rows.size else NAN for rows in discharges]
    if not np.any(np.isfinite(ends_V)) or nominal_As <= 0.0:
        return cycles
    cut_off_V = float(np.nanmedian(ends_V))
    memory = EndMemory()
    ending = new_ending(cut_off_V, nominal_As / SECONDS_PER_HOUR)
    out = []
    for cycle, given_rows in zip(cycles, discharges, strict=True):
        rows = _to_cut_off(series, intervals, given_rows, cut_off_V + CUT_OFF_WITHIN_V)
        if not rows.size:
            out.append(cycle)
            continue
        c_rate = _follow_end(series, intervals, rows, ending)
        shape = shape_of(ending, memory, c_rate)
        end, probability = classify_end(shape, possible_ends(cell_format), memory)
        out.append(replace(cycle, discharge_end=end, discharge_end_probability=probability))
        probabilities = end_probabilities(shape, memory)
        if probabilities is not None:
            share = ending.charge_Ah / ending.nominal_Ah
            memory = remember(memory, probabilities, c_rate, share)
    return out


def _to_cut_off(series: Series, intervals: Intervals, rows: IntArray, below_V: float) -> IntArray:
    """Return the largest of a cycle's discharges without a pause that came to the cut-off.

    A test stops on its way; what an anchor takes after a rest says nothing of the discharge.
    """
    if not rows.size:
        return rows
    paused_s = series.t_s[rows[1:]] - series.t_s[rows[:-1] + 1]
    parts = np.split(rows, np.flatnonzero(paused_s > PAUSE_S) + 1)
    ended = [part for part in parts if series.voltage_V[part[-1] + 1] <= below_V]
    return min(ended, key=lambda part: float(np.sum(intervals.charge_As[part])), default=rows[:0])


def _follow_end(series: Series, intervals: Intervals, rows: IntArray, ending: Ending) -> float:
    """Pass a discharge through the record of its end; return the C-rate of its constant current."""
    begin_ending(ending)
    held = series.held[rows]
    readings = zip(
        intervals.dt_s[rows].tolist(),
        (-intervals.charge_As[rows] / SECONDS_PER_HOUR).tolist(),
        series.current_A[rows + 1].tolist(),
        series.voltage_V[rows + 1].tolist(),
        held.tolist(),
        strict=True,
    )
    for dt_s, charge_Ah, current_A, voltage_V, is_held in readings:
        observe_ending(ending, dt_s, charge_Ah, current_A, voltage_V, int(is_held))
    constant_A = np.abs(series.current_A[rows + 1][~held])
    return float(np.median(constant_A)) / ending.nominal_Ah if constant_A.size else NAN


def _with_resistances(
    cycles: list[CycleResult], resistances: list[Resistance]
) -> list[CycleResult]:
    """Give each cycle the last resistance of the kind that most cycles have: one trend."""
    covered: dict[str, set[int]] = {}
    for r in resistances:
        covered.setdefault(r.kind.split(", median")[0], set()).add(r.cycle)
    if not covered:
        return cycles
    common = max(covered, key=lambda kind: len(covered[kind]))
    by_cycle = {r.cycle: r for r in resistances if r.kind.startswith(common)}
    return [
        replace(
            c,
            resistance_Ohm=by_cycle[c.cycle].value_Ohm,
            u_resistance_Ohm=by_cycle[c.cycle].u_Ohm,
            resistance_kind=by_cycle[c.cycle].kind,
        )
        if c.cycle in by_cycle
        else c
        for c in cycles
    ]


def _with_flags_between(cycles: list[CycleResult], of_the_file: list[str]) -> list[CycleResult]:
    """Add the flags that need the order of the cycles, and those of the whole file."""
    out = []
    for k, cycle in enumerate(cycles):
        flags = [*cycle.flags, *of_the_file]
        excess = cycle.discharge_Ah - cycle.charge_Ah
        if k == 0 and cycle.discharge_Ah > STARTS_CHARGED_ABOVE * cycle.charge_Ah:
            flags.append("starts-charged")
        elif cycle.charge_Ah > 0.0 and excess > 2.0 * cycle.u_net_charge_Ah:
            flags.append("ce-above-one")
        out.append(replace(cycle, flags=tuple(flags)))
    return out


def _cycle_findings(
    intervals: Intervals, numbers: FloatArray, cycles: list[CycleResult]
) -> list[str]:
    """Say what several cycles together show."""
    findings = []
    for word in ("cv-logged-too-coarsely", "current-changes-logged-too-coarsely"):
        coarse = [c.cycle for c in cycles if word in c.flags]
        if coarse:
            findings.append(
                f"{word}: in {len(coarse)} of {len(cycles)} cycles (first: {coarse[0]}) the "
                "current changed too fast for the logging interval; the charge is stated with the "
                "uncertainty that follows"
            )
    if cycles and "starts-charged" in cycles[0].flags:
        findings.append(
            f"starts-charged: cycle {cycles[0].cycle} gives back charge that was in the cell "
            "before the file begins; it is left out of averages"
        )
    slow = _returns_at_low_rate(intervals, numbers, cycles)
    if slow:
        findings.append(
            "capacity that comes back at a lower current (cycles "
            + ", ".join(str(c) for c in slow[:8])
            + (" ..." if len(slow) > 8 else "")
            + ") is polarisation, not recovered lithium"
        )
    return findings


def _returns_at_low_rate(
    intervals: Intervals, numbers: FloatArray, cycles: list[CycleResult]
) -> list[int]:
    """Return the cycles whose discharge is larger than the one before at a lower current."""
    rates_A = []
    for cycle in cycles:
        chosen = (numbers == cycle.cycle) & (intervals.charge_As < 0.0) & (intervals.dt_s > 0.0)
        mean_A = -intervals.charge_As[chosen] / intervals.dt_s[chosen]
        rates_A.append(float(np.max(mean_A)) if mean_A.size else NAN)
    return [
        cycles[k].cycle
        for k in range(1, len(cycles))
        if rates_A[k] * OTHER_RATE_FACTOR < rates_A[k - 1]
        and cycles[k].discharge_Ah > cycles[k - 1].discharge_Ah
    ]
