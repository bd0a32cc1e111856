"""The running cycle, reading by reading: charge by range and tag, shape of discharge, resistance.

A kernel over one record of fixed size, so that a channel takes the same memory after weeks as after
a second, and so that the same source runs compiled. What happens once per half cycle or cycle, and
everything in words, stands in `controller.estimation.online`.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A, TAG_BASE, TAG_TREATMENT
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
from controller.domain.total_math import safe_exp
from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.charge import (
    RAMP,
    STEADY,
    STEP_AT_START,
    UNKNOWN_SHAPE,
    IntervalCharge,
    interval_charge,
)
from controller.estimation.curve import Curve, begin_curve, new_curve, observe_curve
from controller.estimation.decay import (
    Rests,
    drop_kept,
    follow_slope,
    forget_rest,
    new_rests,
    observe_rests,
)
from controller.estimation.ending import Ending, begin_ending, new_ending, observe_ending
from controller.estimation.impedance.filter import TwoPairs, observe_two
from controller.estimation.impedance.steps import (
    I_1S,
    I_10S,
    NEW_SET_POINT,
    STEP_1S,
    STEP_10S,
    UNKNOWN_BETWEEN,
    VOLTAGE_HELD,
    Steps,
)
from controller.estimation.impedance.steps import observe as observe_steps
from controller.estimation.short_watch import ShortWatch, interrupt
from controller.estimation.short_watch import observe as observe_short

# What `observe` did with a reading.
USED: Final = 0
SKIPPED_NO_CURRENT: Final = 1
SKIPPED_STALE: Final = 2
SKIPPED_DUPLICATE: Final = 3
SKIPPED_OUT_OF_ORDER: Final = 4
SKIPPED_NO_TIME: Final = 5
USED_AFTER_TIME_RESET: Final = 6
SKIPPED_IMPLAUSIBLE: Final = 7
SKIPPED_AGAINST: Final = 8

_NO_CURRENT: Final = QUALITY_CURRENT_INVALID | QUALITY_NO_REPLY
_NO_VOLTAGE: Final = QUALITY_VOLTAGE_INVALID | QUALITY_NO_CELL_VOLTAGE
_SKIPPED: Final = QUALITY_STALE | QUALITY_DUPLICATE | QUALITY_OUT_OF_ORDER

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
# A current above this C-rate is a slip of units (mA read as A), a voltage above this one too; the
# largest pulse of any recipe, 4 V on two foils, is about 100C. Assumed, 150-300C and 10-1000 V.
IMPLAUSIBLE_C_RATE: Final = 200.0
IMPLAUSIBLE_V: Final = 100.0
# Smallest change of current that a resistance is taken from, as a C-rate. Assumed, C/50-C/10.
MIN_EDGE_C_RATE: Final = 0.05
# A current before the edge below this C-rate counts as rest. Assumed, C/500-C/100.
REST_C_RATE: Final = 0.005
# So many readings in a row with a current against the command are no single glitch. Assumed, 2-10.
AGAINST_IN_ROW: Final = 3
# Noise of a voltage reading that steps and filter begin with (V). Assumed, 0.02-0.5 mV.
NOISE_V: Final = 1e-4
# What a difference of two voltages is off by and no reading shows (V). Assumed, 0-0.1 mV.
FLOOR_U_V: Final = 1e-5
# Relative standard uncertainty of V / I where no gain is stated. Assumed, 0.05-0.5 %.
RATIO_U: Final = 2e-3
# A voltage that steps against the current by more than this speaks of a wrong sign (V). Assumed.
WRONG_WAY_V: Final = 3e-3
# Within this of the cut-off a reading without limit status counts as held (V). Assumed, 2-10 mV.
HELD_WITHIN_V: Final = 0.005
# A voltage that is regulated and moves by more than this between two readings is not held: what
# current flowed in between is not known (V). Assumed, 20-100 mV.
NOT_HELD_V: Final = 0.05
# Within this of the upper cut-off electrolyte oxidises: over 0.1 V it falls to a third or less.
# Assumed, 0.05-0.2 V.
HIGH_WITHIN_V: Final = 0.1
# Over how many volts below the upper cut-off oxidation falls to 1/e: as it is not known, time is
# counted for each. Assumed, 0.03-0.2 V.
OXIDATION_SLOPES_V: Final = (0.08, 0.2)
OXIDATION_CLOCKS: Final = 2
_ROOT_PER_V: Final = -1.0 / 0.4  # of a share whose fifth and second power are those of the slopes

# Sums are kept for so many current ranges at once; the first holds those without a range and those
# that found no place. Three tags each: base, treatment, diagnostic.
RANGES: Final = 8
TAGS: Final = 3
BUCKETS: Final = RANGES * TAGS


class CellNumbers(NamedTuple):
    """What the kernel must know of the cell.

    Attributes
    ----------
    nominal_capacity_Ah, lower_cut_off_V, upper_cut_off_V : float
    """

    nominal_capacity_Ah: float
    lower_cut_off_V: float
    upper_cut_off_V: float


class Reading(NamedTuple):
    """A sample as it can be used: 0 A and no voltage while the output is off.

    Attributes
    ----------
    t_s : float
        The device's time, the host's where there is none.
    current_A, voltage_V : float
        NaN where not known.
    """

    t_s: float
    current_A: float
    voltage_V: float


class Running:
    """Sums and memory of the running cycle; a record of numbers, of fixed size.

    Charges in A s, magnitudes; times in s. `has_last` to `dt_before_s` are of the last reading
    used. `curve` and `ending` are of the running base discharge; `steps` and `circuit` are the
    records of `controller.estimation.impedance`.
    """

    __slots__ = (
        "against",
        "against_in_row",
        "against_t_s",
        "bucket",
        "bucket_charge_As",
        "bucket_discharge_As",
        "bucket_rest_As",
        "bucket_s",
        "bucket_tag",
        "charge_end_A",
        "charge_top_V",
        "charging_K_s",
        "charging_measured_s",
        "charging_s",
        "circuit",
        "comparable",
        "current_A",
        "curve",
        "discharge_A",
        "discharge_new",
        "discharge_top_V",
        "dt_before_s",
        "duration_s",
        "ending",
        "gaps",
        "half_charge_As",
        "half_discharge_As",
        "has_last",
        "high_s",
        "implausible",
        "kind",
        "limit_status",
        "missed_change",
        "not_held",
        "oxidation_s",
        "range_A",
        "ranges_A",
        "resistance_Ohm",
        "resistance_u_Ohm",
        "rests",
        "right_way",
        "saturated",
        "shorts",
        "skipped_in_row",
        "skipped_t_s",
        "slope_A_per_s",
        "spent",
        "spent_before_s",
        "spent_s",
        "steps",
        "steps_found",
        "t_host_s",
        "t_s",
        "tag",
        "temperature_K_s",
        "temperature_s",
        "time_resets",
        "timing_As2",
        "voltage_V",
        "wrong_way",
    )

    has_last: int
    t_s: float
    t_host_s: float
    current_A: float
    voltage_V: float
    limit_status: int
    kind: int
    tag: int
    slope_A_per_s: float
    dt_before_s: float
    skipped_in_row: int
    skipped_t_s: float
    missed_change: int  # the command changed among readings that were skipped
    ranges_A: list[float]
    bucket_charge_As: list[float]
    bucket_discharge_As: list[float]
    bucket_rest_As: list[float]
    bucket_s: list[float]
    bucket: int  # in use; -1: to be found
    bucket_tag: int
    range_A: float
    half_charge_As: float
    half_discharge_As: float
    timing_As2: float
    duration_s: float
    charging_K_s: float  # of the temperature, and for how long it was known
    charging_measured_s: float
    charging_s: float
    charge_end_A: float  # the last that flowed in
    charge_top_V: float  # the highest voltage meanwhile; 0 without
    spent: int  # the discharge is at its cut-off, or was and no charge has followed
    spent_before_s: float  # how long, before this cycle's first charge; all in all
    spent_s: float
    high_s: float  # near the upper cut-off
    oxidation_s: list[float]  # as at the upper cut-off, by slope
    temperature_K_s: float
    temperature_s: float
    gaps: int
    saturated: int
    not_held: int  # intervals in which a regulated voltage moved
    implausible: int
    against: int  # readings whose current runs against the command; in a row, up to those that tell
    against_in_row: int
    against_t_s: float  # time of the last of them
    time_resets: int
    right_way: int  # edges at which the voltage went with the current, and against it
    wrong_way: int
    steps: Steps
    steps_found: int  # bits of the step resistances that wait to be taken
    comparable: int  # the running edge leads from rest into the base discharge
    circuit: TwoPairs
    shorts: ShortWatch
    rests: Rests
    resistance_Ohm: float  # the cycle's, from rest into the base discharge
    resistance_u_Ohm: float
    discharge_new: int  # the next base discharge is another one
    discharge_A: float  # its constant current
    discharge_top_V: float
    curve: Curve
    ending: Ending

    def __init__(self, cell: CellNumbers, *, ratio_u: float = RATIO_U) -> None:
        self.has_last = 0
        self.t_s = NAN
        self.t_host_s = NAN
        self.current_A = NAN
        self.voltage_V = NAN
        self.limit_status = -1
        self.kind = HOLD_0A
        self.tag = TAG_BASE
        self.slope_A_per_s = NAN
        self.dt_before_s = NAN
        self.skipped_in_row = 0
        self.skipped_t_s = NAN
        self.missed_change = 0
        least_A = MIN_EDGE_C_RATE * cell.nominal_capacity_Ah
        self.steps = Steps(
            min_step_A=least_A, ratio_u=ratio_u, noise_V=NOISE_V, floor_u_V=FLOOR_U_V
        )
        self.steps_found = 0
        self.comparable = 0
        self.circuit = TwoPairs(
            noise_V=NOISE_V, min_step_A=least_A, nominal_capacity_Ah=cell.nominal_capacity_Ah
        )
        self.ranges_A = [0.0] * RANGES
        self.bucket_charge_As = [0.0] * BUCKETS
        self.bucket_discharge_As = [0.0] * BUCKETS
        self.bucket_rest_As = [0.0] * BUCKETS
        self.bucket_s = [0.0] * BUCKETS
        self.oxidation_s = [0.0] * OXIDATION_CLOCKS
        self.shorts = ShortWatch()
        self.rests = new_rests(cell.nominal_capacity_Ah)
        self.curve = new_curve(cell.lower_cut_off_V, cell.upper_cut_off_V, cell.nominal_capacity_Ah)
        self.ending = new_ending(cell.lower_cut_off_V, cell.nominal_capacity_Ah)
        self.spent = 1
        new_cycle(self)
        new_discharge(self)
        self.discharge_new = 1


def observe(s: Running, cell: CellNumbers, sample: Sample, kind: int, tag: int) -> int:
    """Take in one reading. Kernel.

    Parameters
    ----------
    s : Running
    cell : CellNumbers
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
    reading = cleaned(sample)
    refused = refusal(s, cell, sample, reading, kind)
    if refused != USED:
        return skip(s, kind, tag, refused)
    outcome = USED
    dt_s = reading.t_s - s.t_s
    if s.has_last == 1 and not dt_s > 0.0:
        outcome = time_stands_or_falls(s, reading.t_s)
        if outcome != USED_AFTER_TIME_RESET:
            return skip(s, kind, tag, outcome)
        dt_s = sample.t_host_s - s.t_host_s
    if s.has_last == 1 and dt_s > 0.0 and dt_s - dt_s == 0.0:
        take_interval(s, cell, sample, reading, dt_s, kind, tag)
    else:
        s.slope_A_per_s = NAN  # the series begins at this reading
        s.dt_before_s = NAN
        s.comparable = 0
        follow_answer(s, cell, reading, 1.0, UNKNOWN_BETWEEN)
        forget_rest(s.rests)
        interrupt(s.shorts)
    if outcome == USED_AFTER_TIME_RESET:
        interrupt(s.shorts)
    if sample.temperature_K == sample.temperature_K:
        s.shorts.temperature_K = sample.temperature_K
    observe_short(s.shorts, reading.t_s, reading.current_A, reading.voltage_V)
    s.has_last = 1
    s.t_s = reading.t_s
    s.t_host_s = sample.t_host_s
    s.current_A = reading.current_A
    s.voltage_V = reading.voltage_V
    s.limit_status = sample.limit_status
    s.kind = kind
    s.tag = tag
    s.skipped_in_row = 0
    s.missed_change = 0
    return outcome


def cleaned(sample: Sample) -> Reading:
    """Return what a sample says of the cell. Kernel."""
    current_A = sample.current_A
    voltage_V = sample.voltage_V
    if sample.output == OUTPUT_OFF:
        # High impedance: no current and no cell voltage, whatever was or was not read.
        current_A = 0.0
        voltage_V = NAN
    if sample.quality & _NO_VOLTAGE or not -IMPLAUSIBLE_V <= voltage_V <= IMPLAUSIBLE_V:
        voltage_V = NAN
    t_s = sample.t_device_s
    if t_s != t_s:
        t_s = sample.t_host_s
    return Reading(t_s, current_A, voltage_V)


def take_interval(
    s: Running,
    cell: CellNumbers,
    sample: Sample,
    reading: Reading,
    dt_s: float,
    kind: int,
    tag: int,
) -> None:
    """Take in what happened since the last reading used. Kernel."""
    status = sample.limit_status
    shape = shape_of(s, reading.current_A, status, sample.output, kind, tag)
    charge = charge_of(s, sample, reading, dt_s, shape, kind)
    add_charge(s, sample.current_range_A, charge, dt_s, kind, tag)
    count_time(s, cell, status, reading.voltage_V, charge.charge_As, dt_s, kind)
    follow_rest(s, status, reading.voltage_V, charge.charge_As, dt_s, kind)
    if kind == DISCHARGE and tag != TAG_TREATMENT and not charge.charge_As > 0.0:
        follow_discharge(s, cell, status, reading.voltage_V, charge.charge_As, dt_s)
    temperature_K = sample.temperature_K
    if temperature_K - temperature_K == 0.0:
        s.temperature_K_s += temperature_K * dt_s
        s.temperature_s += dt_s
        if charge.charge_As > 0.0:
            s.charging_K_s += temperature_K * dt_s
            s.charging_measured_s += dt_s
    flags = 0
    if shape == STEP_AT_START:
        flags = NEW_SET_POINT
    if status == LIMIT_VOLTAGE and sample.output != OUTPUT_OFF:
        flags = flags | VOLTAGE_HELD
    if shape == UNKNOWN_SHAPE or dt_s > GAP_S:
        flags = flags | UNKNOWN_BETWEEN
    follow_answer(s, cell, reading, dt_s, flags)
    if shape == STEP_AT_START:
        at_rest = abs(s.current_A) <= REST_C_RATE * cell.nominal_capacity_Ah
        s.comparable = 1 if kind == DISCHARGE and tag == TAG_BASE and at_rest else 0


def refusal(s: Running, cell: CellNumbers, sample: Sample, reading: Reading, kind: int) -> int:
    """Return why a reading cannot be used, `USED` where it can. Kernel."""
    quality = sample.quality
    current_A = reading.current_A
    if quality & QUALITY_DUPLICATE:
        return SKIPPED_DUPLICATE
    if quality & QUALITY_OUT_OF_ORDER:
        return SKIPPED_OUT_OF_ORDER
    if quality & QUALITY_STALE:
        return SKIPPED_STALE
    if sample.output != OUTPUT_OFF and quality & _NO_CURRENT:
        return SKIPPED_NO_CURRENT
    if current_A - current_A != 0.0:
        return SKIPPED_NO_CURRENT
    if reading.t_s - reading.t_s != 0.0:
        return SKIPPED_NO_TIME
    limit_A = IMPLAUSIBLE_C_RATE * cell.nominal_capacity_Ah
    if not -limit_A <= current_A <= limit_A:
        s.implausible += 1
        return SKIPPED_IMPLAUSIBLE
    way_A = current_A if kind == CHARGE else -current_A if kind == DISCHARGE else 0.0
    if way_A < -REST_C_RATE * cell.nominal_capacity_Ah:
        if reading.t_s == s.against_t_s:
            return SKIPPED_DUPLICATE
        s.against_t_s = reading.t_s
        s.against += 1
        if s.against_in_row < AGAINST_IN_ROW:
            s.against_in_row += 1
        return SKIPPED_AGAINST
    if s.against_in_row < AGAINST_IN_ROW:
        s.against_in_row = 0
    return USED


def skip(s: Running, kind: int, tag: int, reason: int) -> int:
    """Leave the sums, but remember a change of command whose time is now unknown. Kernel."""
    if s.has_last == 1 and (kind != s.kind or tag != s.tag):
        s.missed_change = 1
    s.skipped_in_row += 1
    return reason


def time_stands_or_falls(s: Running, t_s: float) -> int:
    """Judge a reading that is not later than the last one used. Kernel.

    A single one is skipped. Several in a row, each later than the one before, are a device's clock
    that began again: the interval is then taken from the host's time.
    """
    if t_s == s.t_s:
        return SKIPPED_DUPLICATE
    if not t_s > s.skipped_t_s:
        s.skipped_in_row = 0
    s.skipped_t_s = t_s
    if s.skipped_in_row + 1 < RESET_AFTER:
        return SKIPPED_OUT_OF_ORDER
    s.time_resets += 1
    s.missed_change = 1
    return USED_AFTER_TIME_RESET


def shape_of(
    s: Running, current_A: float, limit_status: int, output: int, kind: int, tag: int
) -> int:
    """Return how the current went from the last reading used to this one. Kernel."""
    if s.missed_change == 1:
        return UNKNOWN_SHAPE
    if kind != s.kind or tag != s.tag:
        return STEP_AT_START
    if kind <= HOLD_0A:
        return STEADY
    if limit_status != s.limit_status or output == OUTPUT_OFF:
        return UNKNOWN_SHAPE
    if limit_status != LIMIT_CURRENT:
        return RAMP
    change_A = abs(current_A - s.current_A)
    if change_A > SET_POINT_CHANGE * max(abs(current_A), abs(s.current_A)):
        return STEP_AT_START  # regulated current does not change by itself
    return STEADY


def charge_of(
    s: Running, sample: Sample, reading: Reading, dt_s: float, shape: int, kind: int
) -> IntervalCharge:
    """Return the interval's charge and how far it can be off. Kernel."""
    current_A = reading.current_A
    before_A = s.current_A
    found = interval_charge(before_A, current_A, dt_s, shape, s.slope_A_per_s, s.dt_before_s)
    if shape == STEADY and dt_s <= GAP_S and not sample.quality & QUALITY_SATURATED:
        s.slope_A_per_s = (current_A - before_A) / dt_s
        s.dt_before_s = dt_s
        return found
    charge_As = found.charge_As
    half_As = found.half_width_As
    if shape == STEP_AT_START:
        s.slope_A_per_s = NAN
        s.dt_before_s = NAN
        jitter_As = (current_A - before_A) * EDGE_DELAY_U_S
        s.timing_As2 += jitter_As * jitter_As
        if sample.limit_status == LIMIT_VOLTAGE and kind > HOLD_0A:
            half_As = 0.5 * abs(charge_As)  # already decaying: it began higher than was read
    else:
        s.slope_A_per_s = (current_A - before_A) / dt_s
        s.dt_before_s = dt_s
    held = shape == RAMP and sample.limit_status == LIMIT_VOLTAGE
    if held and abs(reading.voltage_V - s.voltage_V) > NOT_HELD_V:
        s.not_held += 1
        half_As = max(half_As, 0.5 * abs(charge_As))
    if dt_s > GAP_S:
        s.gaps += 1  # anything from nothing to the larger current may have flowed
        low_As = min(before_A, current_A, 0.0) * dt_s
        high_As = max(before_A, current_A, 0.0) * dt_s
        half_As = max(half_As, charge_As - low_As, high_As - charge_As)
    if sample.quality & QUALITY_SATURATED:
        s.saturated += 1
        half_As += SATURATED_SHARE * abs(charge_As)
    return IntervalCharge(charge_As, half_As)


def add_charge(
    s: Running, range_A: float, charge: IntervalCharge, dt_s: float, kind: int, tag: int
) -> None:
    """Add an interval's charge to the sums of its range, tag and direction. Kernel."""
    if s.bucket < 0 or range_A != s.range_A or tag != s.bucket_tag:
        take_bucket(s, range_A, tag)
    bucket = s.bucket
    charge_As = charge.charge_As
    s.bucket_s[bucket] += dt_s
    s.duration_s += dt_s
    if kind <= HOLD_0A:
        s.bucket_rest_As[bucket] += charge_As
        s.half_discharge_As += charge.half_width_As
    elif charge_As > 0.0:
        s.bucket_charge_As[bucket] += charge_As
        s.half_charge_As += charge.half_width_As
        if tag != TAG_TREATMENT:
            s.discharge_new = 1
    else:
        s.bucket_discharge_As[bucket] -= charge_As
        s.half_discharge_As += charge.half_width_As


def count_time(
    s: Running,
    cell: CellNumbers,
    limit_status: int,
    voltage_V: float,
    charge_As: float,
    dt_s: float,
    kind: int,
) -> None:
    """Count the time of charging, after a discharge's end, and near the upper cut-off. Kernel."""
    if kind > HOLD_0A and charge_As > 0.0:
        if s.spent == 1:
            s.spent = 0
            if s.charging_s == 0.0:
                s.spent_before_s = s.spent_s
        s.charging_s += dt_s
        s.charge_end_A = charge_As / dt_s
        if voltage_V == voltage_V and voltage_V > s.charge_top_V:
            s.charge_top_V = voltage_V
    if s.spent == 1:
        s.spent_s += dt_s
    elif kind == DISCHARGE and (
        limit_status == LIMIT_VOLTAGE or voltage_V - cell.lower_cut_off_V <= HELD_WITHIN_V
    ):
        s.spent = 1
    below_V = cell.upper_cut_off_V - voltage_V
    if below_V <= HIGH_WITHIN_V:
        s.high_s += dt_s
    before_V = s.voltage_V
    if before_V == before_V:
        below_V += 0.5 * (voltage_V - before_V)
    if below_V > 0.0:
        share = safe_exp(_ROOT_PER_V * below_V)
        square = share * share
        s.oxidation_s[0] += dt_s * square * square * share
        s.oxidation_s[1] += dt_s * square
    elif below_V == below_V:
        s.oxidation_s[0] += dt_s
        s.oxidation_s[1] += dt_s


def follow_rest(
    s: Running, limit_status: int, voltage_V: float, charge_As: float, dt_s: float, kind: int
) -> None:
    """Follow how the voltage falls while lithium is on the anode and no current flows. Kernel."""
    resting = 1 if kind <= HOLD_0A else 0
    if dt_s > GAP_S or s.missed_change == 1 or (resting == 1 and s.spent == 1):
        forget_rest(s.rests)
        return
    held = 1 if limit_status == LIMIT_VOLTAGE and resting == 0 else 0
    charge_Ah = charge_As / SECONDS_PER_HOUR
    if resting == 0 and s.rests.resting == 0:
        follow_slope(s.rests, charge_Ah, charge_Ah * (SECONDS_PER_HOUR / dt_s), voltage_V, held)
        return
    observe_rests(s.rests, dt_s, charge_Ah, voltage_V, resting, held)


def take_bucket(s: Running, range_A: float, tag: int) -> None:
    """Find the sums of this range and tag; an unknown range is one range, 0. Kernel."""
    found = 0
    if range_A > 0.0:
        for k in range(RANGES - 1):
            if s.ranges_A[k + 1] == range_A or s.ranges_A[k + 1] == 0.0:
                found = k + 1
                s.ranges_A[found] = range_A
                break
    s.bucket = found * TAGS + (tag if 0 <= tag < TAGS else TAG_BASE)
    s.range_A = range_A
    s.bucket_tag = tag


def follow_discharge(
    s: Running,
    cell: CellNumbers,
    limit_status: int,
    voltage_V: float,
    charge_As: float,
    dt_s: float,
) -> None:
    """Follow a base discharge towards its end; `charge_As` is not above 0. Kernel."""
    if s.discharge_new == 1:
        new_discharge(s)
    if voltage_V == voltage_V and not s.discharge_top_V >= voltage_V:
        s.discharge_top_V = voltage_V
    current_A = charge_As / dt_s
    charge_Ah = -charge_As / SECONDS_PER_HOUR
    near = voltage_V - cell.lower_cut_off_V <= HELD_WITHIN_V
    held = 1 if limit_status == LIMIT_VOLTAGE or (limit_status != LIMIT_CURRENT and near) else 0
    crossed_V = s.ending.voltage_V - cell.lower_cut_off_V
    if held == 0:
        s.discharge_A = -current_A
    elif s.ending.held == 0 and s.ending.readings > 0 and crossed_V > HELD_WITHIN_V:
        held = 0  # the first reading at the cut-off ends the fall to it; the hold begins after it
    if held == 0:
        observe_curve(s.curve, charge_Ah, voltage_V)
    observe_ending(s.ending, dt_s, charge_Ah, current_A, voltage_V, held)


def follow_answer(s: Running, cell: CellNumbers, reading: Reading, dt_s: float, flags: int) -> None:
    """Follow how the voltage answers the current: step resistances and the circuit. Kernel.

    Only the step from rest into the base discharge is comparable from cycle to cycle: another
    current or another state of charge has another resistance, and would look like a short.
    """
    current_A = reading.current_A
    voltage_V = reading.voltage_V
    step_A = current_A - s.current_A
    moved_V = voltage_V - s.voltage_V
    least_A = MIN_EDGE_C_RATE * cell.nominal_capacity_Ah
    if (
        (step_A >= least_A or -step_A >= least_A)
        and abs(moved_V) > WRONG_WAY_V
        and not flags & (VOLTAGE_HELD | UNKNOWN_BETWEEN)
    ):
        if (moved_V > 0.0) == (step_A > 0.0):
            s.right_way += 1
        else:
            s.wrong_way += 1
    done = observe_steps(s.steps, reading.t_s, dt_s, current_A, voltage_V, flags)
    if done > 0:
        s.steps_found = s.steps_found | done
        if s.comparable == 1:
            if done & STEP_10S:
                s.resistance_Ohm = s.steps.value_Ohm[I_10S]
                s.resistance_u_Ohm = s.steps.u_Ohm[I_10S]
            elif done & STEP_1S:
                s.resistance_Ohm = s.steps.value_Ohm[I_1S]
                s.resistance_u_Ohm = s.steps.u_Ohm[I_1S]
    if s.steps.out_of_step == 0:
        observe_two(s.circuit, dt_s, current_A, voltage_V, flags)


def new_discharge(s: Running) -> None:
    """Forget the discharge before. Kernel."""
    s.discharge_new = 0
    s.discharge_top_V = NAN
    s.discharge_A = NAN
    begin_curve(s.curve)
    begin_ending(s.ending)


def new_cycle(s: Running) -> None:
    """Start the sums of the next cycle; what is known of the last reading stays. Kernel."""
    for k in range(RANGES):
        s.ranges_A[k] = 0.0
    for k in range(BUCKETS):
        s.bucket_charge_As[k] = 0.0
        s.bucket_discharge_As[k] = 0.0
        s.bucket_rest_As[k] = 0.0
        s.bucket_s[k] = 0.0
    s.bucket = -1
    s.bucket_tag = -1
    s.range_A = NAN
    s.half_charge_As = 0.0
    s.half_discharge_As = 0.0
    s.timing_As2 = 0.0
    s.duration_s = 0.0
    s.charging_K_s = 0.0
    s.charging_measured_s = 0.0
    s.charging_s = 0.0
    s.charge_end_A = 0.0
    s.charge_top_V = 0.0
    s.spent_before_s = 0.0
    s.spent_s = 0.0
    s.high_s = 0.0
    for k in range(OXIDATION_CLOCKS):
        s.oxidation_s[k] = 0.0
    drop_kept(s.rests)
    s.temperature_K_s = 0.0
    s.temperature_s = 0.0
    s.gaps = 0
    s.saturated = 0
    s.not_held = 0
    s.implausible = 0
    s.against = 0
    s.against_in_row = 0
    s.against_t_s = NAN
    s.time_resets = 0
    s.right_way = 0
    s.wrong_way = 0
    s.resistance_Ohm = NAN
    s.resistance_u_Ohm = NAN
    s.discharge_new = 1


def forget_reading(s: Running) -> None:
    """Begin a new series: nothing is integrated up to its first reading. Kernel."""
    s.has_last = 0
    s.skipped_in_row = 0
    s.missed_change = 0
