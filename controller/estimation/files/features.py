"""What the voltage of one cycle shows: dips, plateaus, knees, peaks, relaxations, each with its u.

Each figure is a value with a standard uncertainty, or none with the reason. They are taken from
logged series (plain arrays); what is cheap enough to be had reading by reading is in `shorts`.

Noise of a reading is estimated from the series itself (second differences), so that a dip smaller
than the noise is not called one. Definitions, with what is assumed, stand with each function.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from controller.domain.cell import TWO_FOILS, CellFormat
from controller.domain.sample import NAN
from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.table import FloatArray

# A feature has to stand this many standard uncertainties above nothing. Assumed, 2-5.
SIGMAS: Final = 3.0
LEAST_READINGS: Final = 12
# Nucleation is looked for in this first share of a half cycle's charge. Assumed, 5-20 %.
DIP_SHARE: Final = 0.1
# A knee is where the slope exceeds this many times the median slope of the half cycle. Assumed.
KNEE_STEEPER: Final = 8.0
# Bins of voltage of dQ/dV; a bin is wider where the noise is larger. Assumed.
BINS: Final = 60
# Relaxation: the fast part ends here, the slow part is fitted from here on (s). Assumed.
FAST_UNTIL_S: Final = 10.0
SLOW_FROM_S: Final = 60.0
# A second plateau is this much higher than the first (share of the first) and this long. Assumed.
SECOND_HIGHER: Final = 0.15
SECOND_LEAST_SHARE: Final = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """A figure, its standard uncertainty and unit; or NaN and why there is none."""

    value: float
    u: float
    unit: str
    reason: str = ""

    @property
    def known(self) -> bool:
        """Whether there is a figure."""
        return math.isfinite(self.value)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HalfCycle:
    """Readings of one direction of current, or of one rest; charge counts up from 0.

    Attributes
    ----------
    t_s, voltage_V, charge_Ah : array, shape (n,)
        Time from the start of the half cycle, cell voltage, magnitude of charge passed.
    current_A : array, shape (n,)
        Signed; charge positive.
    """

    t_s: FloatArray
    current_A: FloatArray
    voltage_V: FloatArray
    charge_Ah: FloatArray


def none(unit: str, reason: str) -> Feature:
    """Return the absence of a figure."""
    return Feature(value=NAN, u=NAN, unit=unit, reason=reason)


def noise_V(voltage_V: FloatArray) -> float:
    """Return the standard deviation of one reading, from second differences (robust; V)."""
    if voltage_V.size < LEAST_READINGS:
        return NAN
    second = voltage_V[2:] - 2.0 * voltage_V[1:-1] + voltage_V[:-2]
    return float(1.4826 * np.median(np.abs(second - np.median(second))) / math.sqrt(6.0))


def nucleation_dip(half: HalfCycle) -> tuple[Feature, Feature]:
    """Return how far the first plating went beyond the voltage that follows (V), and where (Ah).

    On bare Cu the first nuclei need an overpotential: the voltage goes through an extreme within
    the first charge and comes back to a plateau. The depth is from the extreme of that first tenth
    to the median of the readings after it up to a quarter of the charge, in the direction of the
    current. A full cell's voltage rises by itself: what rises no further than its later slope is
    no dip.
    """
    total_Ah = float(half.charge_Ah[-1]) if half.charge_Ah.size else 0.0
    early = half.charge_Ah <= DIP_SHARE * total_Ah
    after = (half.charge_Ah > DIP_SHARE * total_Ah) & (half.charge_Ah <= 0.25 * total_Ah)
    if int(early.sum()) < 4 or int(after.sum()) < 4:
        reason = "fewer than four readings where a dip would be"
        return none("V", reason), none("Ah", reason)
    sign = 1.0 if float(np.median(half.current_A)) > 0.0 else -1.0
    voltage_V = sign * half.voltage_V
    slope = np.polyfit(half.charge_Ah[after], voltage_V[after], 1)
    beyond_V = voltage_V[early] - np.polyval(slope, half.charge_Ah[early])
    k = int(np.argmax(beyond_V))
    depth_V = float(beyond_V[k])
    own_V = noise_V(half.voltage_V)
    u_V = math.hypot(own_V, own_V / math.sqrt(float(after.sum()))) if own_V == own_V else NAN
    # the largest of n readings of pure noise lies sqrt(2 ln n) above none
    least_V = (1.0 + math.sqrt(2.0 * math.log(float(early.sum())))) * u_V
    if not depth_V > least_V:
        reason = f"no dip beyond {1e3 * least_V:.2g} mV"
        return none("V", reason), none("Ah", reason)
    place_Ah = half.charge_Ah[early]
    u_Ah = float(np.max(np.diff(place_Ah[max(k - 1, 0) : k + 2]), initial=0.0)) / math.sqrt(3.0)
    return (
        Feature(value=depth_V, u=u_V, unit="V"),
        Feature(value=float(place_Ah[k]), u=u_Ah, unit="Ah"),
    )


def plateau_length(half: HalfCycle, within_V: float = 0.02) -> Feature:
    """Return the charge passed within `within_V` of the voltage where most charge passed (Ah)."""
    if half.charge_Ah.size < LEAST_READINGS:
        return none("Ah", f"fewer than {LEAST_READINGS} readings")
    weight_Ah = np.diff(half.charge_Ah, prepend=0.0)
    low_V, high_V = float(half.voltage_V.min()), float(half.voltage_V.max())
    if high_V - low_V <= within_V:
        return Feature(
            value=float(half.charge_Ah[-1]), u=float(weight_Ah.max()) / math.sqrt(3.0), unit="Ah"
        )
    counts, edges_V = np.histogram(
        half.voltage_V,
        bins=max(int((high_V - low_V) / within_V), 1),
        weights=weight_Ah,
    )
    k = int(np.argmax(counts))
    middle_V = 0.5 * (edges_V[k] + edges_V[k + 1])
    inside = np.abs(half.voltage_V - middle_V) <= within_V
    step_Ah = float(np.median(weight_Ah[inside]))
    own_V = noise_V(half.voltage_V)
    # the edges move by the noise over the slope there
    slope = (high_V - low_V) / max(float(half.charge_Ah[-1]), 1e-12)
    u_Ah = math.hypot(step_Ah / math.sqrt(3.0), own_V / slope if slope > 0.0 else 0.0)
    return Feature(value=float(weight_Ah[inside].sum()), u=u_Ah, unit="Ah")


def end_of_strip_knee(half: HalfCycle) -> tuple[Feature, Feature]:
    """Return charge at the knee of a discharge (Ah) and its sharpness (V/Ah at the end).

    The knee is the first reading from which on, to the end, the voltage falls by more than
    `KNEE_STEEPER` times the median slope per charge.
    """
    if half.charge_Ah.size < LEAST_READINGS:
        reason = f"fewer than {LEAST_READINGS} readings"
        return none("Ah", reason), none("V/Ah", reason)
    charge_Ah, voltage_V = _thinned(half)
    if charge_Ah.size < LEAST_READINGS:
        reason = "charge hardly moves"
        return none("Ah", reason), none("V/Ah", reason)
    slope = -np.diff(voltage_V) / np.diff(charge_Ah)
    usual = float(np.median(np.abs(slope)))
    step_Ah = float(np.median(np.diff(charge_Ah)))
    floor = max(usual, SIGMAS * noise_V(half.voltage_V) / step_Ah / KNEE_STEEPER)
    steep = slope > KNEE_STEEPER * floor
    if not steep[-1]:
        reason = f"the end is no more than {KNEE_STEEPER:g} times as steep as the middle"
        return none("Ah", reason), none("V/Ah", reason)
    calm = np.flatnonzero(~steep)
    first = int(calm[-1]) + 1 if calm.size else 0
    sharp = float(np.max(slope[first:]))
    u_V = math.sqrt(2.0) * noise_V(half.voltage_V)
    return (
        Feature(value=float(charge_Ah[first]), u=step_Ah / math.sqrt(3.0), unit="Ah"),
        Feature(value=sharp, u=u_V / step_Ah, unit="V/Ah"),
    )


def _thinned(half: HalfCycle, points: int = 200) -> tuple[FloatArray, FloatArray]:
    """Return charge and voltage at most `points` times, so that a step of charge exceeds noise.

    Readings where the charge does not rise are left out; the last ones are kept, they hold a knee.
    """
    least_Ah = float(half.charge_Ah[-1]) / points
    kept = []
    last_Ah = -math.inf
    tail = half.charge_Ah.size - 8
    for k, charge_Ah in enumerate(half.charge_Ah.tolist()):
        if charge_Ah > last_Ah and (charge_Ah - last_Ah >= least_Ah or k >= tail):
            kept.append(k)
            last_Ah = charge_Ah
    return half.charge_Ah[kept], half.voltage_V[kept]


def capacity_peaks(half: HalfCycle, most: int = 3) -> list[tuple[Feature, Feature]]:
    """Return the highest peaks of dQ/dV: voltage (V) and height (Ah/V), highest first.

    Charge is counted in bins of voltage: no difference of noisy readings is taken. A bin is at
    least six times the noise wide; a peak exceeds both valleys beside it by three of its u.
    """
    own_V = noise_V(half.voltage_V)
    if math.isnan(own_V):
        return []
    low_V, high_V = (float(v) for v in np.percentile(half.voltage_V, (1.0, 99.0)))
    width_V = max((high_V - low_V) / BINS, 6.0 * own_V)
    if not high_V - low_V > 5.0 * width_V:
        return []
    bins = int((high_V - low_V) / width_V)
    weight_Ah = np.diff(half.charge_Ah, prepend=0.0)
    counts, edges_V = np.histogram(
        half.voltage_V, bins=bins, range=(low_V, high_V), weights=weight_Ah
    )
    height = counts / width_V
    # readings cross an edge by their noise, either way; and a reading's charge is not divided
    rate = np.convolve(np.pad(height, 1, mode="edge"), (0.5, 0.0, 0.5), mode="valid")
    crossing_Ah = rate * own_V
    readings = np.histogram(half.voltage_V, bins=bins, range=(low_V, high_V))[0]
    grain_Ah = np.where(readings > 0, counts / np.maximum(readings, 1), 0.0)
    u = np.hypot(crossing_Ah, grain_Ah / math.sqrt(6.0)) / width_V
    found = []
    for k in range(1, bins - 1):
        if height[k] < height[k - 1] or height[k] < height[k + 1]:
            continue
        valley = max(float(height[:k].min()), float(height[k + 1 :].min()))
        if height[k] - valley > SIGMAS * math.hypot(float(u[k]), float(u.mean())):
            found.append(k)
    found.sort(key=lambda k: -height[k])
    return [
        (
            Feature(value=float(edges_V[k] + 0.5 * width_V), u=width_V / math.sqrt(12.0), unit="V"),
            Feature(value=float(height[k]), u=float(u[k]), unit="Ah/V"),
        )
        for k in found[:most]
    ]


def relaxation(rest: HalfCycle, before_V: float) -> tuple[Feature, Feature, str]:
    """Return the fast drop (V, until 10 s) and the slow slope of a rest, and which law fits better.

    The slow part is fitted with a + b sqrt(t) (diffusion) and with a + b ln(t); the better is
    named. Its slope is b times sqrt(1 h) or per factor e, positive where the voltage falls.
    """
    fast = rest.t_s <= FAST_UNTIL_S
    if not fast.any():
        drop = none("V", f"no reading within {FAST_UNTIL_S:g} s of the end of the current")
    else:
        own_V = noise_V(rest.voltage_V)
        value = before_V - float(rest.voltage_V[fast][-1])
        drop = Feature(value=value, u=math.sqrt(2.0) * own_V, unit="V")
    slow = rest.t_s >= SLOW_FROM_S
    if int(slow.sum()) < LEAST_READINGS or float(rest.t_s[-1]) < 3.0 * SLOW_FROM_S:
        return drop, none("V", "rest too short for its slow part"), ""
    t_s, voltage_V = rest.t_s[slow], rest.voltage_V[slow]
    fits = {}
    for name, axis in (("sqrt(t)", np.sqrt(t_s / SECONDS_PER_HOUR)), ("log(t)", np.log(t_s))):
        slope, u, left_V = _line(axis, voltage_V)
        fits[name] = (left_V, slope, u)
    law = min(fits, key=lambda name: fits[name][0])
    _, slope, u = fits[law]
    return drop, Feature(value=-slope, u=u, unit="V"), law


def self_discharge(rest: HalfCycle) -> Feature:
    """Return how fast the open-circuit voltage falls in the last third of a rest (V/h)."""
    if rest.t_s.size < LEAST_READINGS or float(rest.t_s[-1]) < 600.0:
        return none("V/h", "no rest of ten minutes")
    late = rest.t_s >= 2.0 / 3.0 * float(rest.t_s[-1])
    if int(late.sum()) < LEAST_READINGS:
        return none("V/h", f"fewer than {LEAST_READINGS} readings in the last third")
    slope, u, _ = _line(rest.t_s[late] / SECONDS_PER_HOUR, rest.voltage_V[late])
    return Feature(value=-slope, u=u, unit="V/h")


def _line(x: FloatArray, y: FloatArray) -> tuple[float, float, float]:
    """Return slope, its standard uncertainty, and the root mean square of what is left."""
    slope, offset = (float(v) for v in np.polyfit(x, y, 1))
    left = y - offset - slope * x
    rms = float(np.sqrt(np.mean(left * left)))
    spread = float(np.sum((x - x.mean()) ** 2))
    u = rms * math.sqrt(x.size / max(x.size - 2, 1)) / math.sqrt(spread) if spread > 0.0 else NAN
    return slope, u, rms


def second_plateau(half: HalfCycle, cell_format: CellFormat | None) -> tuple[Feature, Feature]:
    """Return the charge at which moss was exhausted and how much the voltage rose then (V).

    On two foils stripping begins with the deposit (moss) and goes on, at a higher overpotential,
    with the foil below it: the magnitude of the voltage goes from one plateau to a second. The step
    is placed where two constants fit the half cycle best.
    """
    if cell_format not in TWO_FOILS:
        reason = "only where the voltage is polarisation alone (Li||Li, Li||Cu)"
        return none("Ah", reason), none("V", reason)
    total_Ah = float(half.charge_Ah[-1]) if half.charge_Ah.size else 0.0
    inside = (half.charge_Ah >= DIP_SHARE * total_Ah) & (half.charge_Ah <= 0.97 * total_Ah)
    if int(inside.sum()) < 3 * LEAST_READINGS or not total_Ah > 0.0:
        reason = f"fewer than {3 * LEAST_READINGS} readings with charge"
        return none("Ah", reason), none("V", reason)
    charge_Ah = half.charge_Ah[inside]
    level_V = np.abs(half.voltage_V[inside])
    n = level_V.size
    count = np.arange(1, n)
    total, squares = np.cumsum(level_V), float(np.sum(level_V**2))
    left = total[:-1] / count
    right = (total[-1] - total[:-1]) / (n - count)
    unexplained = squares - count * left**2 - (n - count) * right**2
    edge = max(LEAST_READINGS, int(SECOND_LEAST_SHARE * n))
    k = edge + int(np.argmin(unexplained[edge : n - edge]))
    rise_V = float(right[k] - left[k])
    scatter_V = math.sqrt(max(float(unexplained[k]), 0.0) / n)
    u_V = math.hypot(noise_V(half.voltage_V), scatter_V * math.sqrt(1.0 / (k + 1) + 1.0 / (n - k)))
    # a straight ramp leaves a third of its own rise on either side of the best step
    ramp = np.polyval(np.polyfit(charge_Ah, level_V, 1), charge_Ah)
    straight = float(np.sum((level_V - ramp) ** 2))
    if (
        rise_V < SECOND_HIGHER * float(left[k])
        or rise_V < SIGMAS * u_V
        or straight < unexplained[k]
    ):
        reason = "one plateau, or a slope without a step"
        return none("Ah", reason), none("V", reason)
    u_Ah = float(charge_Ah[min(k + 1, n - 1)] - charge_Ah[k - 1]) / math.sqrt(3.0)
    return (
        Feature(value=float(charge_Ah[k]), u=u_Ah, unit="Ah"),
        Feature(value=rise_V, u=u_V, unit="V"),
    )


def cycle_features(
    charge: HalfCycle | None,
    discharge: HalfCycle | None,
    rest_charged: HalfCycle | None,
    rest_discharged: HalfCycle | None,
    cell_format: CellFormat | None,
) -> Mapping[str, Feature]:
    """Return what one cycle shows, by name; what its parts do not hold says so."""
    out: dict[str, Feature] = {}
    missing = "the cycle has no such part"
    plates = cell_format in {CellFormat.ANODE_FREE, CellFormat.LI_CU, CellFormat.LI_LI}
    if charge is not None and plates:
        out["nucleation_dip_V"], out["nucleation_at_Ah"] = nucleation_dip(charge)
    else:
        reason = missing if plates else "no bare electrode is plated in this format"
        out["nucleation_dip_V"] = none("V", reason)
        out["nucleation_at_Ah"] = none("Ah", reason)
    for name, half in (("charge", charge), ("discharge", discharge)):
        out[f"{name}_plateau_Ah"] = none("Ah", missing) if half is None else plateau_length(half)
        peaks = [] if half is None else capacity_peaks(half)
        key = f"{name}_peak"
        reason = missing if half is None else "no peak above its noise"
        out[f"{key}_V"] = peaks[0][0] if peaks else none("V", reason)
        out[f"{key}_Ah_per_V"] = peaks[0][1] if peaks else none("Ah/V", reason)
    if discharge is None:
        out["knee_at_Ah"], out["knee_V_per_Ah"] = none("Ah", missing), none("V/Ah", missing)
        out["second_plateau_at_Ah"] = none("Ah", missing)
        out["second_plateau_rise_V"] = none("V", missing)
    else:
        out["knee_at_Ah"], out["knee_V_per_Ah"] = end_of_strip_knee(discharge)
        out["second_plateau_at_Ah"], out["second_plateau_rise_V"] = second_plateau(
            discharge, cell_format
        )
    for name, rest, half in (
        ("charged", rest_charged, charge),
        ("discharged", rest_discharged, discharge),
    ):
        if rest is None or half is None:
            out[f"{name}_fast_drop_V"] = none("V", missing)
            out[f"{name}_slow_V"] = none("V", missing)
            out[f"{name}_decay_V_per_h"] = none("V/h", missing)
            continue
        drop, slow, law = relaxation(rest, float(half.voltage_V[-1]))
        out[f"{name}_fast_drop_V"] = drop
        out[f"{name}_slow_V"] = (
            Feature(value=slow.value, u=slow.u, unit=f"V per {law}", reason=slow.reason)
            if law
            else slow
        )
        out[f"{name}_decay_V_per_h"] = self_discharge(rest)
    return out
