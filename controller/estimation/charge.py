"""Charge of one sampling interval, Coulombic efficiency, and what neither is known better than.

Charge is the integral of a current that was sampled. Between two readings the current is bracketed
by its two values (it is monotone between them, or changed once); the estimate stands inside the
bracket, and the half width says how far off it can be.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, NamedTuple

# How the current went from one reading to the next.
RAMP: Final = 0  # changed by itself, smoothly: chord, corrected for curvature
STEP_AT_START: Final = 1  # the set-point changed right after the first reading
UNKNOWN_SHAPE: Final = 2  # changed somewhere between the readings
STEADY: Final = 3  # regulated to a constant current

# Relative standard uncertainty of the gain of a current range, common to both directions within
# the range and independent between ranges. Assumed, range 2e-4 (a source-measure unit within its
# year) to 1e-3 (a cycler's data sheet); 5e-4 keeps a difference of 0.1 % between two ranges inside
# two standard uncertainties of that difference.
GAIN_U: Final = 5e-4
# Standard uncertainty of the current's offset as a fraction of full scale. Assumed, 1e-6 to 1e-4.
OFFSET_U_OF_RANGE: Final = 1e-5
# A gain moves with the temperature of the room, of which the cell's thermometer tells: relative,
# for each K between charge and discharge. Assumed, 2e-6 to 5e-5.
GAIN_PER_K: Final = 1e-5
# What the room moves by between them where no thermometer tells (K). Assumed, 0.3-3.
ROOM_MOVES_K: Final = 1.0
# Where a discharge ends differs from cycle to cycle by what a reading of its voltage does: standard
# uncertainty (V). Assumed, 2e-5 to 5e-4.
CUT_OFF_U_V: Final = 5e-5

_ROOT_3: Final = math.sqrt(3.0)


class IntervalCharge(NamedTuple):
    """Charge of an interval (A s, signed) and the half width of what it can be off (A s)."""

    charge_As: float
    half_width_As: float


def interval_charge(
    current_before_A: float,
    current_A: float,
    dt_s: float,
    shape: int,
    slope_before_A_per_s: float,
    dt_before_s: float,
) -> IntervalCharge:
    """Return the charge that flowed between two readings.

    Parameters
    ----------
    current_before_A, current_A : float
        At the start and the end of the interval (A).
    dt_s : float
        Length of the interval (s), > 0.
    shape : int
        `RAMP`, `STEP_AT_START`, `UNKNOWN_SHAPE` or `STEADY`.
    slope_before_A_per_s, dt_before_s : float
        Slope of the chord before this interval and its length; NaN where there is none.

    Notes
    -----
    The chord's error is c dt^3 / 12 with the second derivative c, taken from the two chords. It is
    never more than the distance from the chord to holding either value.
    """
    if shape == STEP_AT_START:
        return IntervalCharge(current_A * dt_s, 0.0)
    chord_As = 0.5 * (current_before_A + current_A) * dt_s
    if shape == STEADY:
        return IntervalCharge(chord_As, 0.0)
    bracket_As = 0.5 * abs(current_A - current_before_A) * dt_s
    if shape == RAMP and dt_before_s > 0.0:
        change_A_per_s = (current_A - current_before_A) / dt_s - slope_before_A_per_s
        correction_As = change_A_per_s * dt_s * dt_s * dt_s / (6.0 * (dt_s + dt_before_s))
        if correction_As > bracket_As:
            correction_As = bracket_As
        elif correction_As < -bracket_As:
            correction_As = -bracket_As
        return IntervalCharge(chord_As - correction_As, abs(correction_As))
    return IntervalCharge(chord_As, bracket_As)


def uniform_u(half_width: float) -> float:
    """Return the standard uncertainty of a quantity anywhere within +- `half_width`."""
    return half_width / _ROOT_3


def gain_drift(warmer_K: float) -> float:
    """Return what the gain may have moved by between charge and discharge, relative.

    Parameters
    ----------
    warmer_K : float
        By how much the discharge was warmer; NaN where that is not known.
    """
    return GAIN_PER_K * (abs(warmer_K) if math.isfinite(warmer_K) else ROOM_MOVES_K)


def cut_off_u(charge: float, fell_V: float) -> float:
    """Return the charge that the voltage of a cut-off is not known better than.

    Parameters
    ----------
    charge : float
        That passed while the voltage fell by `fell_V` to the cut-off; any unit.
    fell_V : float
        Positive.
    """
    return CUT_OFF_U_V * charge / fell_V


class RangeCharge(NamedTuple):
    """What flowed within one current range.

    `charge` and `discharge` are magnitudes, any charge unit (one throughout); `offset` is the
    standard uncertainty that the range's offset gives the net charge, in the same unit.
    """

    charge: float
    discharge: float
    offset: float


class Uncertainty(NamedTuple):
    """Standard uncertainties of charge, discharge, net charge (same unit) and of their ratio."""

    charge: float
    discharge: float
    net: float
    efficiency: float


def propagate(
    ranges: Mapping[float, RangeCharge],
    u_charge: float,
    u_discharge: float,
    u_common: float,
    gain_u: float,
    covariance: float = 0.0,
    drift: float = 0.0,
) -> Uncertainty:
    """Combine gain, offset and what else is uncertain.

    Parameters
    ----------
    ranges : mapping of float to RangeCharge
        By full scale.
    u_charge, u_discharge : float
        Standard uncertainties from sampling, time and resolution.
    u_common : float
        From charge that flowed unobserved, in either direction.
    gain_u : float
        Relative, common within a range, independent between ranges. So in one range it cancels
        from discharge / charge.
    covariance : float
        Of what `u_charge` and `u_discharge` stand for, unit squared: negative where the time that
        divides the two half cycles was rounded. A positive one, which would narrow, is not used.
    drift : float
        What the gain moved by between charge and discharge, relative (`gain_drift`).

    Returns
    -------
    Uncertainty
        `efficiency` is NaN where charge or discharge is not positive.
    """
    charge = sum(r.charge for r in ranges.values())
    discharge = sum(r.discharge for r in ranges.values())
    gain_charge = sum((gain_u * r.charge) ** 2 for r in ranges.values())
    gain_discharge = sum((gain_u * r.discharge) ** 2 for r in ranges.values())
    gain_net = sum((gain_u * (r.discharge - r.charge)) ** 2 for r in ranges.values())
    offset = sum(r.offset**2 for r in ranges.values())
    common = u_common**2
    efficiency = math.nan
    if charge > 0.0 and discharge > 0.0:
        gain = sum(
            (gain_u * (r.discharge / discharge - r.charge / charge)) ** 2 for r in ranges.values()
        )
        relative = math.hypot(
            math.sqrt(gain),
            math.hypot(u_charge, u_common) / charge,
            math.hypot(u_discharge, u_common) / discharge,
            math.sqrt(offset) / min(charge, discharge),
            drift,
            # root by root: the product of two tiny charges is zero
            math.sqrt(max(-2.0 * covariance, 0.0)) / math.sqrt(charge) / math.sqrt(discharge),
        )
        efficiency = discharge / charge * relative
    return Uncertainty(
        charge=math.sqrt(gain_charge + offset + u_charge**2 + common),
        discharge=math.sqrt(gain_discharge + offset + u_discharge**2 + common),
        net=math.sqrt(
            gain_net
            + offset
            + u_charge**2
            + u_discharge**2
            + max(-2.0 * covariance, 0.0)
            + common
            + (drift * max(charge, discharge)) ** 2
        ),
        efficiency=efficiency,
    )
