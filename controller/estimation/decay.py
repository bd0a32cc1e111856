"""How a charged cell's voltage falls at rest, and the charge that lithium takes back by itself.

A shuttle or a short fills the cathode at rest as a discharge would: the voltage falls by the cell's
own slope, dV/dQ, times the current that nothing measures. Three things stand in the way.
Polarisation relaxes, in the first ten minutes by a hundred times as much: only rests of an hour and
more are looked at, their last third beside the third before it. The slope is that of the charge
which led to the rest. And voltages drift for many reasons, an instrument's warmth among them.

The kernel keeps a rest as means over at most `BLOCKS` blocks of time, which double in length when
they are full, and of a cycle's rests the longest.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from controller.domain.sample import NAN
from controller.domain.total_math import safe_divide
from controller.domain.units import SECONDS_PER_HOUR

BLOCKS: Final = 24  # even
# The first blocks' length (h): all of them together are an hour.
BLOCK_H: Final = 1.0 / BLOCKS
# A rest counts from this length on (h), an hour but for a reading: by then relaxation is slow.
# Assumed, 1-2 h.
LEAST_H: Final = 0.95
LEAST_BLOCKS: Final = 4  # with readings, in a third: a slope and what it leaves
# The slope is taken over this share of nominal capacity to twice as much. Assumed, 1-5 %.
SLOPE_SHARE: Final = 0.025
# A current that changes by more than this share, between two readings, moves polarisation. Assumed.
STEADY_WITHIN: Final = 0.1
# A plateau's voltage tells nothing: the least slope (V per nominal capacity). Assumed, 0.1-0.5.
LEAST_SLOPE_V: Final = 0.2
# ... and the most: a rise as steep as LFP's last is over before the rest has begun. Assumed, 2-5.
MOST_SLOPE_V: Final = 3.0
# Standard uncertainty of the slope, as a share: polarisation changes with charge; and where a held
# voltage lies between the slope and the rest. Assumed, 0.15-0.4 and 0.3-0.7.
SLOPE_U: Final = 0.25
SLOPE_U_HELD: Final = 0.5
# What relaxation leaves in the last third, as a multiple of how much slower the voltage moves there
# than in the third before: 0 where it has ended, 1.5 where it goes with the logarithm of time.
RESIDUAL_MOST: Final = 1.5
# Drift of cell and instrument with temperature and time (V/h). Assumed, 0.05-0.5 mV/h.
DRIFT_V_PER_H: Final = 2e-4
# Oxidation falls to a third or less over this (V). Assumed, 0.05-0.2.
OXIDATION_THIRD_V: Final = 0.1


class Rests:
    """The running rest, the cycle's longest, and the charge before; a record of fixed size.

    Attributes
    ----------
    n, h, v : list of float, length `BLOCKS`
        Of the running rest, by block: readings, sums of their time in it (h) and of their voltage
        above `first_V`.
    block : int
        The last one begun.
    block_h, elapsed_h, first_V : float
    resting : int
    anchor_Ah, anchor_V, middle_Ah, middle_V : float
        Where the slope is taken from, and the next such place; charge counts from the start of the
        half cycle, up and down. NaN without one.
    charge_Ah, voltage_V, current_A : float
        Of the last reading with current.
    nominal_Ah : float
    slope_V_per_Ah : float
        That led to the running rest; NaN where it was not seen.
    held : int
        The voltage was held since.
    kept_n, kept_h, kept_v, kept_first_V, kept_elapsed_h, kept_slope_V_per_Ah, kept_held
        The same of the cycle's longest rest; `kept_elapsed_h` is 0 without one.
    """

    __slots__ = (
        "anchor_Ah",
        "anchor_V",
        "block",
        "block_h",
        "charge_Ah",
        "current_A",
        "elapsed_h",
        "first_V",
        "h",
        "held",
        "kept_elapsed_h",
        "kept_first_V",
        "kept_h",
        "kept_held",
        "kept_n",
        "kept_slope_V_per_Ah",
        "kept_v",
        "middle_Ah",
        "middle_V",
        "n",
        "nominal_Ah",
        "resting",
        "slope_V_per_Ah",
        "v",
        "voltage_V",
    )
    anchor_Ah: float
    anchor_V: float
    block: int
    block_h: float
    charge_Ah: float
    current_A: float
    elapsed_h: float
    first_V: float
    h: list[float]
    held: int
    kept_elapsed_h: float
    kept_first_V: float
    kept_h: list[float]
    kept_held: int
    kept_n: list[float]
    kept_slope_V_per_Ah: float
    kept_v: list[float]
    middle_Ah: float
    middle_V: float
    n: list[float]
    nominal_Ah: float
    resting: int
    slope_V_per_Ah: float
    v: list[float]
    voltage_V: float


def new_rests(nominal_Ah: float) -> Rests:
    """Return the record before the first reading."""
    s = Rests()
    s.n, s.h, s.v = [0.0] * BLOCKS, [0.0] * BLOCKS, [0.0] * BLOCKS
    s.kept_n, s.kept_h, s.kept_v = [0.0] * BLOCKS, [0.0] * BLOCKS, [0.0] * BLOCKS
    s.kept_first_V = s.kept_slope_V_per_Ah = NAN
    s.kept_held = 0
    s.block, s.block_h, s.first_V = 0, BLOCK_H, NAN
    s.nominal_Ah = nominal_Ah
    forget_rest(s)
    drop_kept(s)
    return s


def forget_rest(s: Rests) -> None:
    """Forget the running rest and the charge before it. Kernel."""
    s.resting = 0
    s.elapsed_h = 0.0
    s.slope_V_per_Ah = NAN
    forget_slope(s)


def forget_slope(s: Rests) -> None:
    """Forget where the slope is taken from. Kernel."""
    s.anchor_Ah = NAN
    s.anchor_V = NAN
    s.middle_Ah = NAN
    s.middle_V = NAN
    s.charge_Ah = 0.0
    s.voltage_V = NAN
    s.current_A = 0.0
    s.held = 0


def drop_kept(s: Rests) -> None:
    """Start the next cycle. Kernel."""
    s.kept_elapsed_h = 0.0


def observe_rests(
    s: Rests, dt_s: float, charge_Ah: float, voltage_V: float, resting: int, held: int
) -> None:
    """Take in one reading. Kernel.

    Parameters
    ----------
    s : Rests
    dt_s, charge_Ah : float
        Since the reading before; charge is positive where it flowed in.
    voltage_V : float
        NaN or infinite: the time counts, the reading does not.
    resting, held : int
        1 where no current was ordered, and where the voltage was held.
    """
    if resting == 0:
        if s.resting == 1:
            end_rest(s)
        follow_slope(s, charge_Ah, charge_Ah * safe_divide(SECONDS_PER_HOUR, dt_s), voltage_V, held)
        return
    if s.resting == 0:
        begin_rest(s)
    s.elapsed_h += dt_s / SECONDS_PER_HOUR
    if not -1e3 < voltage_V < 1e3:
        return
    if s.first_V != s.first_V:
        s.first_V = voltage_V
    if s.elapsed_h > s.block_h * BLOCKS:
        merge_blocks(s)
    block = s.block
    for _ in range(BLOCKS):
        if block + 1 >= BLOCKS or s.elapsed_h <= s.block_h * (block + 1):
            break
        block += 1
    s.block = block
    s.n[block] += 1.0
    s.h[block] += s.elapsed_h
    s.v[block] += voltage_V - s.first_V


def begin_rest(s: Rests) -> None:
    """Begin a rest with the slope that led to it. Kernel."""
    s.resting = 1
    s.elapsed_h = 0.0
    s.block = 0
    s.block_h = BLOCK_H
    s.first_V = NAN
    s.slope_V_per_Ah = safe_divide(s.voltage_V - s.anchor_V, s.charge_Ah - s.anchor_Ah)
    for k in range(BLOCKS):
        s.n[k] = 0.0
        s.h[k] = 0.0
        s.v[k] = 0.0


def merge_blocks(s: Rests) -> None:
    """Double the blocks' length until the time since the rest began has room. Kernel."""
    for _ in range(BLOCKS):
        if s.elapsed_h <= s.block_h * BLOCKS:
            break
        half = BLOCKS // 2
        for k in range(half):
            s.n[k] = s.n[2 * k] + s.n[2 * k + 1]
            s.h[k] = s.h[2 * k] + s.h[2 * k + 1]
            s.v[k] = s.v[2 * k] + s.v[2 * k + 1]
        for k in range(half):
            s.n[half + k] = 0.0
            s.h[half + k] = 0.0
            s.v[half + k] = 0.0
        s.block = s.block // 2
        s.block_h = 2.0 * s.block_h


def end_rest(s: Rests) -> None:
    """Keep the rest if it is the cycle's longest; the slope begins anew. Kernel."""
    if s.elapsed_h >= LEAST_H and s.elapsed_h > s.kept_elapsed_h:
        for k in range(BLOCKS):
            s.kept_n[k] = s.n[k]
            s.kept_h[k] = s.h[k]
            s.kept_v[k] = s.v[k]
        s.kept_first_V = s.first_V
        s.kept_held = s.held
        s.kept_elapsed_h = s.elapsed_h
        s.kept_slope_V_per_Ah = s.slope_V_per_Ah
    forget_rest(s)


def follow_slope(s: Rests, charge_Ah: float, current_A: float, voltage_V: float, held: int) -> None:
    """Follow voltage against charge at one current. Kernel.

    While a voltage is held the slope stays what it was at the hold's begin.
    """
    if held == 1:
        s.held = 1
        return
    if s.held == 1 or not abs(current_A - s.current_A) <= STEADY_WITHIN * abs(current_A):
        forget_slope(s)
    s.current_A = current_A
    s.charge_Ah += charge_Ah
    if not -1e3 < voltage_V < 1e3:
        return
    s.voltage_V = voltage_V
    if s.middle_Ah != s.middle_Ah:
        s.middle_Ah = s.charge_Ah
        s.middle_V = voltage_V
    elif abs(s.charge_Ah - s.middle_Ah) >= SLOPE_SHARE * s.nominal_Ah:
        s.anchor_Ah = s.middle_Ah
        s.anchor_V = s.middle_V
        s.middle_Ah = s.charge_Ah
        s.middle_V = voltage_V


# -- once per cycle -----------------------------------------------------------------------------


class SelfDischarge(NamedTuple):
    """What the longest charged rest of a cycle says.

    Attributes
    ----------
    current_A : float
        That fills the cathode at rest: a shuttle's or a short's, and what part of oxidation runs.
    u_A : float
        Its standard uncertainty from noise, relaxation and drift.
    slope_u : float
        That of the cell's slope, as a share of the current, the same each time.
    oxidation_most : float
        Share of oxidation's rate near the upper cut-off that may run at the rest's voltage.
    """

    current_A: float
    u_A: float
    slope_u: float
    oxidation_most: float


class _Line(NamedTuple):
    slope_V_per_h: float
    spread_h2: float  # readings times their squared distance from the middle
    left_V2: float
    blocks: int


def self_discharge(s: Rests, upper_cut_off_V: float) -> SelfDischarge | None:
    """Return what the longest charged rest of the cycle says; None where it says nothing."""
    slope = s.kept_slope_V_per_Ah
    tells = LEAST_SLOPE_V <= slope * s.nominal_Ah <= MOST_SLOPE_V
    if not (s.kept_elapsed_h >= LEAST_H and tells):
        return None
    third_h = s.kept_elapsed_h / 3.0
    before, late = _line(s, third_h, 2.0 * third_h), _line(s, 2.0 * third_h, 3.0 * third_h)
    if before.blocks < LEAST_BLOCKS or late.blocks < LEAST_BLOCKS:
        return None
    noise_V2 = (before.left_V2 + late.left_V2) / (before.blocks + late.blocks - 4)
    u_before, u_late = (math.sqrt(noise_V2 / line.spread_h2) for line in (before, late))
    slower = before.slope_V_per_h - late.slope_V_per_h  # relaxation after a charge: below 0
    # Evenly anything between none and most of it.
    rises = late.slope_V_per_h - 0.5 * RESIDUAL_MOST * slower
    u_V_per_h = math.hypot(
        RESIDUAL_MOST / math.sqrt(12.0) * slower,
        (1.0 + 0.5 * RESIDUAL_MOST) * u_late,
        0.5 * RESIDUAL_MOST * u_before,
        DRIFT_V_PER_H,
    )
    below_V = upper_cut_off_V - _mean_V(s)
    return SelfDischarge(
        current_A=-rises / slope,
        u_A=u_V_per_h / slope,
        slope_u=SLOPE_U_HELD if s.kept_held == 1 else SLOPE_U,
        oxidation_most=min(3.0 ** (-below_V / OXIDATION_THIRD_V), 1.0),
    )


def _mean_V(s: Rests) -> float:
    return s.kept_first_V + sum(s.kept_v) / sum(s.kept_n)


def _line(s: Rests, from_h: float, to_h: float) -> _Line:
    """Return the least-squares line through the blocks in a stretch, weighed by their readings."""
    at = [
        (n, h / n, v / n)
        for n, h, v in zip(s.kept_n, s.kept_h, s.kept_v, strict=True)
        if n > 0.0 and from_h < h / n <= to_h
    ]
    if len(at) < LEAST_BLOCKS:
        return _Line(NAN, NAN, NAN, 0)
    total = sum(n for n, _, _ in at)
    middle_h = sum(n * h for n, h, _ in at) / total
    middle_V = sum(n * v for n, _, v in at) / total
    spread = sum(n * (h - middle_h) ** 2 for n, h, _ in at)
    slope = sum(n * (h - middle_h) * (v - middle_V) for n, h, v in at) / spread
    left = sum(n * (v - middle_V - slope * (h - middle_h)) ** 2 for n, h, v in at)
    return _Line(slope, spread, left, len(at))
