"""Kernels of an ideal cycler on a cell: constant current to a bound, constant voltage, rest.

No instrument stands between: current is exact, voltage is the cell's own, and a bound is met from
inside by steps that shrink as it comes near. Charge is what the cell's own counters say.
"""

from __future__ import annotations

import math

from controller.domain.total_math import safe_exp, safe_expm1
from hil.cell.cathode import (
    ROOT_1,
    ROOT_2,
    ROOT_3,
    ROOT_TAIL,
    WEIGHT,
    WEIGHT_TAIL,
    cathode_exchange,
    cathode_ocv_V,
    filling_time_s,
    surface_x,
)
from hil.cell.kernel import advance, note_end_of_discharge, substep_s, terminal_voltage
from hil.cell.parameters import CellParameters
from hil.cell.state import CellState

MAX_STEPS = 400_000
LONGEST_STEP_S = 1e9
FIRST_STEP_S = 0.02  # after a change of current; the next may be `GROWTH` times as long
FIRST_HOLD_STEP_S = 1e-3  # a pulse of a second is followed in steps this fine at first
SHORTEST_STEP_S = 1e-3
GROWTH = 3.0
HOLD_GROWTH = 1.4
SLOWEST_HOLD_STEP_S = 60.0
FINEST_SHARE = 1e-4  # of the time held so far: no step is shorter
BLIND_S = 1.0  # after a larger current, while the voltage comes back
APPROACH = 0.6  # of the way to the bound, by the slope that the last two steps lead to expect
LARGEST_MOVE_V = 0.03  # of the voltage in one step
STEEPENING = 4.0  # at most expected from one step to the next
NEAR_V = 2e-4  # this close to the bound it is met
LARGEST_FALL = 0.7  # of the current in one step: one step too long does not end a hold
CALM_V = 1e-3  # a hold this far from its voltage takes shorter steps
SMALL_STEP = 1e-4  # of 1C, for a slope
NEWTON_STEPS = 2
GONE_MAH_PER_CM2 = 1e-9


def longest_s(s: CellState) -> float:  # noqa: ARG001 -- as what takes its place
    """Return how long a step may be; who keeps a log puts its own in place (`hil.logger`)."""
    return LONGEST_STEP_S


def note(s: CellState) -> None:
    """Take note of a step that is done; who keeps a log puts its own in place (`hil.logger`)."""


def constant_current(
    s: CellState,
    p: CellParameters,
    current_A: float,
    stop_V: float,
    max_mAh: float,
    max_s: float,
    ambient_K: float,
) -> float:
    """Pass a current until the voltage is at `stop_V`, a charge or a time is passed.

    Returns
    -------
    float
        Time (s). Whether the bound was met is what ``s.cell_V`` says.
    """
    note_end_of_discharge(s, p, current_A)
    # After a larger current the voltage comes back: a cycler does not look within its first second.
    back = math.fabs(s.last_current_A) > math.fabs(current_A)
    s.last_current_A = current_A
    left_s = min(max_s, 3.6 * max_mAh / math.fabs(current_A))
    sign = 1.0 if current_A > 0.0 else -1.0
    gap_V = sign * (stop_V - terminal_voltage(s, p, current_A))
    passed_s = 0.0
    pace_s = FIRST_STEP_S
    slope = 0.0
    for _ in range(MAX_STEPS):
        if not left_s > 0.0:
            break
        if not (gap_V > NEAR_V or (back and passed_s < BLIND_S)):
            break
        part_s = min(substep_s(s, p, current_A, left_s), max(pace_s, SHORTEST_STEP_S), longest_s(s))
        advance(s, p, current_A, part_s, ambient_K)
        note(s)
        passed_s += part_s
        left_s -= part_s
        next_V = sign * (stop_V - s.cell_V)
        last_slope = slope
        slope = (gap_V - next_V) / part_s
        pace_s = GROWTH * part_s
        if slope > 0.0:
            expected = slope
            if slope > last_slope > 0.0:
                expected *= min(slope / last_slope, STEEPENING)
            pace_s = min(pace_s, min(APPROACH * math.fabs(next_V), LARGEST_MOVE_V) / expected)
        back = back and next_V > gap_V
        gap_V = next_V
    return passed_s


def hold_voltage(
    s: CellState,
    p: CellParameters,
    current_A: float,
    hold_V: float,
    end_A: float,
    max_s: float,
    ambient_K: float,
) -> float:
    """Hold a voltage from `current_A` on until the current is down to `end_A`; return the time (s).

    The current keeps its sign and never exceeds where it began. A strip also ends where there is no
    lithium left.
    """
    sign = 1.0 if current_A > 0.0 else -1.0
    largest_A = math.fabs(current_A)
    s.cell_V = terminal_voltage(s, p, current_A)
    magnitude_A = largest_A
    passed_s = 0.0
    pace_s = FIRST_HOLD_STEP_S
    drift_V_per_s = 0.0
    for _ in range(MAX_STEPS):
        pace_s = min(pace_s, longest_s(s))
        before_A = sign * magnitude_A
        wanted_A = before_A
        slope_Ohm = 1.0
        for _ in range(NEWTON_STEPS):
            aim_V = ahead_V(s, p, before_A, wanted_A, pace_s) + drift_V_per_s * pace_s
            slope_Ohm = ahead_Ohm(s, p, wanted_A, pace_s)
            wanted_A -= (aim_V - hold_V) / slope_Ohm
        magnitude_A = min(max(sign * wanted_A, LARGEST_FALL * magnitude_A), largest_A)
        if not (magnitude_A > end_A and passed_s < max_s):
            break
        if sign < 0.0 and not has_lithium(s, p):
            break
        part_s = min(substep_s(s, p, sign * magnitude_A, max_s - passed_s), pace_s)
        foreseen_V = ahead_V(s, p, before_A, sign * magnitude_A, part_s)
        stiff_V = (sign * magnitude_A - before_A) * stiffness_Ohm(s, p)
        advance(s, p, sign * magnitude_A, part_s, ambient_K)
        s.last_current_A = sign * magnitude_A
        note(s)
        passed_s += part_s
        # What a stiffness taken too large explains is no drift: as one it would swing the current.
        beyond_V = s.cell_V - foreseen_V
        beyond_V -= min(max(beyond_V, min(-stiff_V, 0.0)), max(-stiff_V, 0.0))
        drift_V_per_s += 0.5 * (beyond_V / part_s - drift_V_per_s)
        away_V = math.fabs(s.cell_V - hold_V)
        if away_V > CALM_V:
            pace_s = max(0.6 * part_s, FIRST_HOLD_STEP_S, FINEST_SHARE * passed_s)
        elif away_V < 0.3 * CALM_V:
            pace_s = min(HOLD_GROWTH * part_s, SLOWEST_HOLD_STEP_S)
    return passed_s


def has_lithium(s: CellState, p: CellParameters) -> bool:
    """Return whether the negative electrode has metal to strip."""
    return s.neg.deposit_mAh + s.neg.foil_mAh > GONE_MAH_PER_CM2 * p.area_cm2


def stiffness_Ohm(s: CellState, p: CellParameters) -> float:
    """Return by how much the voltage moves with the current, at most: what a hold divides by.

    Ohmic drop, films, and charge transfer where it is stiffest, at small currents.
    """
    per_A = 1e3 * s.thermal_V / p.area_cm2
    transfer = 0.5 / (p.anode_exchange_mA_per_cm2 * s.anode_factor)
    if p.positive_is_lithium > 0.5:
        transfer *= 2.0
    else:
        transfer += 0.5 / cathode_exchange(s, p, surface_x(s, p))
    return s.resistance_Ohm + s.film_Ohm + per_A * transfer


def ahead_V(
    s: CellState, p: CellParameters, before_A: float, current_A: float, dt_s: float
) -> float:
    """Return the voltage to expect when a current has replaced another for a time."""
    voltage_V = s.cell_V + (current_A - before_A) * stiffness_Ohm(s, p)
    if p.positive_is_lithium > 0.5:
        return voltage_V
    past = dt_s / filling_time_s(s, p)
    free_x = (
        s.cathode_mAh / p.cathode_host_mAh
        + s.diffusion_1 * safe_exp(-past * ROOT_1)
        + s.diffusion_2 * safe_exp(-past * ROOT_2)
        + s.diffusion_3 * safe_exp(-past * ROOT_3)
        + s.diffusion_4 * safe_exp(-past * ROOT_TAIL)
    )
    return voltage_V + cathode_ocv_V(free_x - current_A * filling_per_A(s, p, dt_s), p) - s.ocv_V


def ahead_Ohm(s: CellState, p: CellParameters, current_A: float, dt_s: float) -> float:
    """Return by how much the expected voltage changes with the current."""
    step_A = SMALL_STEP * p.nominal_capacity_mAh * 1e-3
    above_V = ahead_V(s, p, current_A, current_A + step_A, dt_s)
    return (above_V - ahead_V(s, p, current_A, current_A, dt_s)) / step_A


def filling_per_A(s: CellState, p: CellParameters, dt_s: float) -> float:
    """Return by how much the surface of the particles empties under a current held for a time."""
    time_s = filling_time_s(s, p)
    past = dt_s / time_s
    moved_s = dt_s + time_s * (
        WEIGHT / ROOT_1 * risen(past * ROOT_1)
        + WEIGHT / ROOT_2 * risen(past * ROOT_2)
        + WEIGHT / ROOT_3 * risen(past * ROOT_3)
        + WEIGHT_TAIL * risen(past * ROOT_TAIL)
    )
    return moved_s / (3.6 * p.cathode_host_mAh)


def risen(time_constants: float) -> float:
    """Return the share of a first-order step that is done."""
    return -safe_expm1(-time_constants)


def rest(s: CellState, p: CellParameters, max_s: float, ambient_K: float) -> float:
    """Leave the cell alone; return the time (s)."""
    note_end_of_discharge(s, p, 0.0)
    s.last_current_A = 0.0
    left_s = max_s
    pace_s = 1.0
    for _ in range(MAX_STEPS):
        if not left_s > 0.0:
            break
        part_s = min(substep_s(s, p, 0.0, left_s), pace_s, longest_s(s))
        advance(s, p, 0.0, part_s, ambient_K)
        note(s)
        left_s -= part_s
        pace_s = GROWTH * part_s
    return max_s
