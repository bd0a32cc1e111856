"""The running discharge against voltage levels: where each was passed, and the end-of-strip knee.

Kernel, once per reading. The levels are fixed between the two cut-offs, so that a discharge is a
record of fixed size: the charge at which the voltage first fell through each. Ends are defined by
the voltage, so two discharges compare at equal voltage: what was left at a level last time is what
to expect from it now.
"""

from __future__ import annotations

from typing import Final

from controller.domain.total_math import safe_divide

LEVELS: Final = 48
# The slope a knee is compared with is the mean over about this share of nominal capacity. Assumed,
# 2-10 %.
SLOPE_SHARE: Final = 0.05
# Slope of the last stretch is taken over this share of nominal capacity. Assumed, 0.2-1 %.
STRETCH_SHARE: Final = 0.005
# A knee falls by this much (V) and this many times as fast as before. Assumed: 10-50 mV, 4-10.
KNEE_FALL_V: Final = 0.02
KNEE_RATIO: Final = 6.0
# At the start the voltage falls by polarisation: no knee within this share. Assumed, 2-10 %.
KNEE_AFTER_SHARE: Final = 0.05


class Curve:
    """One discharge; numbers only.

    Attributes
    ----------
    at_level_Ah : list of float, length `LEVELS`
        Charge passed where the voltage first fell through level k, counted from the lower cut-off;
        negative where it has not yet.
    anchor_Ah, anchor_V : float
        Where the last stretch begins.
    charge_Ah : float
        Passed since the discharge began.
    knee_Ah : float
        Charge at the knee; negative before one is seen.
    lower_V, step_V : float
        The lower cut-off, and the distance of two levels.
    lowest : int
        Of the levels passed, the lowest; `LEVELS` before the first.
    lowest_V, lowest_Ah : float
        Lowest voltage so far, and where.
    nominal_Ah : float
    readings : int
        With a voltage.
    slope_V_per_Ah : float
        How fast the voltage fell on the way.
    """

    __slots__ = (
        "anchor_Ah",
        "anchor_V",
        "at_level_Ah",
        "charge_Ah",
        "knee_Ah",
        "lower_V",
        "lowest",
        "lowest_Ah",
        "lowest_V",
        "nominal_Ah",
        "readings",
        "slope_V_per_Ah",
        "step_V",
    )
    anchor_Ah: float
    anchor_V: float
    at_level_Ah: list[float]
    charge_Ah: float
    knee_Ah: float
    lower_V: float
    lowest: int
    lowest_Ah: float
    lowest_V: float
    nominal_Ah: float
    readings: int
    slope_V_per_Ah: float
    step_V: float


def new_curve(lower_V: float, upper_V: float, nominal_Ah: float) -> Curve:
    """Return the record before the first discharge of a cell with these cut-offs."""
    s = Curve()
    s.at_level_Ah = [-1.0] * LEVELS
    s.lower_V = lower_V
    s.step_V = (upper_V - lower_V) / LEVELS
    s.nominal_Ah = nominal_Ah
    begin_curve(s)
    return s


def begin_curve(s: Curve) -> None:
    """Forget the discharge before. Kernel."""
    for k in range(LEVELS):
        s.at_level_Ah[k] = -1.0
    s.anchor_Ah = 0.0
    s.anchor_V = 0.0
    s.charge_Ah = 0.0
    s.knee_Ah = -1.0
    s.lowest = LEVELS
    s.lowest_Ah = 0.0
    s.lowest_V = 0.0
    s.readings = 0
    s.slope_V_per_Ah = -1.0


def observe_curve(s: Curve, charge_Ah: float, voltage_V: float) -> None:
    """Take in one reading of a discharge. Kernel.

    Parameters
    ----------
    s : Curve
    charge_Ah : float
        That passed since the reading before (positive); anything else counts as none.
    voltage_V : float
        NaN or infinite: the charge counts, the curve waits.
    """
    if 0.0 < charge_Ah < s.nominal_Ah:
        s.charge_Ah += charge_Ah
    if not -1e3 < voltage_V < 1e3:
        return
    if s.readings == 0:
        s.lowest_V = voltage_V
        s.lowest_Ah = s.charge_Ah
        s.anchor_V = voltage_V
        s.anchor_Ah = s.charge_Ah
    s.readings += 1
    if voltage_V < s.lowest_V or s.readings == 1:
        pass_levels(s, voltage_V)
        s.lowest_V = voltage_V
        s.lowest_Ah = s.charge_Ah
    watch_knee(s, voltage_V)


def pass_levels(s: Curve, voltage_V: float) -> None:
    """Note the charge at each level between the lowest voltage so far and this one. Kernel."""
    for _ in range(LEVELS):
        if s.lowest == 0:
            break
        level_V = s.lower_V + s.step_V * (s.lowest - 1)
        if voltage_V > level_V:
            break
        share = 1.0
        if s.lowest_V > level_V and s.lowest_V > voltage_V:
            share = (s.lowest_V - level_V) / (s.lowest_V - voltage_V)
        s.lowest -= 1
        s.at_level_Ah[s.lowest] = s.lowest_Ah + share * (s.charge_Ah - s.lowest_Ah)


def watch_knee(s: Curve, voltage_V: float) -> None:
    """Compare the slope of the last stretch with the one on the way. Kernel."""
    stretch_Ah = s.charge_Ah - s.anchor_Ah
    fall_V = s.anchor_V - voltage_V
    if (
        s.knee_Ah < 0.0
        and s.slope_V_per_Ah >= 0.0
        and s.charge_Ah > KNEE_AFTER_SHARE * s.nominal_Ah
        and fall_V >= KNEE_FALL_V
        and fall_V > KNEE_RATIO * s.slope_V_per_Ah * stretch_Ah
    ):
        s.knee_Ah = s.charge_Ah
    if stretch_Ah > 0.0 and stretch_Ah >= STRETCH_SHARE * s.nominal_Ah:
        slope_V_per_Ah = fall_V / stretch_Ah if fall_V > 0.0 else 0.0
        if s.slope_V_per_Ah < 0.0:
            s.slope_V_per_Ah = slope_V_per_Ah
        elif s.knee_Ah < 0.0:
            weight = min(safe_divide(stretch_Ah, SLOPE_SHARE * s.nominal_Ah), 1.0)
            s.slope_V_per_Ah += weight * (slope_V_per_Ah - s.slope_V_per_Ah)
        s.anchor_V = voltage_V
        s.anchor_Ah = s.charge_Ah
