"""Currents that measure impedance with a cycler: multisine and stepped sine.

A cycler that only changes set-points makes a staircase, and a sine of few steps is none: the
highest frequency follows from how often the set-point may change. The tones of a multisine are odd
multiples of one fundamental, about evenly spread in the logarithm, so that a cell's even
distortions fall on lines without a tone. Phases keep the peak low: from Schroeder's
(doi:10.1109/TIT.1970.1054411) and from random ones, clipped and restored in turns (van der Ouderaa,
Schoukens and Renneboog, doi:10.1109/19.6087). Nothing is left over after a period: no net charge.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

import numpy as np

from controller.domain.capabilities import ControlTier, CyclerCapabilities
from controller.domain.errors import ConfigurationError, FaultsIn, refuse
from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.table import FloatArray

_WHERE: Final = "impedance measurement"
# Set-points in a period of the highest tone; 10 lose 1.6 % of its amplitude. Assumed, 8-20.
STEPS_PER_PERIOD: Final = 10
# Periods before the first that is used, for the cell to settle, and periods used. Assumed, 1-3, 3+.
SETTLING_PERIODS: Final = 1
LEAST_PERIODS: Final = 3
# Tones a decade of a multisine. Assumed, 3-8.
PER_DECADE: Final = 5
# Largest voltage answer for which a cell counts as linear (V). Assumed, 5-15 mV (kT/e is 26 mV).
LARGEST_RESPONSE_V: Final = 0.015
# Smallest answer worth measuring (V). Assumed, 0.2-1 mV.
SMALLEST_RESPONSE_V: Final = 5e-4
# A set-point below this share of the smallest range is mostly the output's own error. Assumed.
_LEAST_OF_RANGE: Final = 1e-3
_RESTARTS: Final = 24
_SWAPS: Final = 60
_FIRST_CLIP, _LAST_CLIP = 0.6, 0.98
_SEED: Final = 1970
_MOST_STEPS: Final = 1_000_000
# Of a period, for a device that makes sines itself: only to find the peak.
_FINE_STEPS: Final = 16


class Method(StrEnum):
    """How the tones are given."""

    MULTISINE = "multisine"  # all at once: quick, each with a part of the current
    STEPPED_SINE = "stepped-sine"  # one after the other: slow, each with the whole current


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be measured, and within which limits.

    Attributes
    ----------
    lowest_Hz, highest_Hz : float
    resistance_Ohm : float
        About the largest |Z| in the band, e.g. from steps of the current.
    response_V : float
        Peak of the voltage's answer.
    max_current_A : float
        Strictest limit of cell, site and protocol for the peak.
    max_charge_Ah : float
        Largest charge between any two moments of a period.
    periods : int
        Used, after those in which the cell settles.
    """

    lowest_Hz: float
    highest_Hz: float
    resistance_Ohm: float
    max_current_A: float
    response_V: float = 0.01
    max_charge_Ah: float = math.inf
    periods: int = 4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Excitation:
    """A periodic current.

    Attributes
    ----------
    fundamental_Hz : float
    harmonics : tuple of int
        Multiples of the fundamental that carry a tone.
    amplitude_A : float
        Of each tone.
    phases : array, shape (tones,)
        i(t) = sum of amplitude * cos(2 pi h f t + phase).
    hold_s : float
        Time between set-points; 0 where the device makes the sines itself.
    levels_A : array, shape (n,)
        Set-points of one period, `hold_s` apart; without a hold a fine grid of the current.
    settling, periods : int
        Periods before the first one used, and periods used.
    current_range_A : float
        Range to be fixed during the measurement.
    response_V : float
        Peak of the voltage's expected answer.
    """

    fundamental_Hz: float
    harmonics: tuple[int, ...]
    amplitude_A: float
    phases: FloatArray
    hold_s: float
    levels_A: FloatArray
    settling: int
    periods: int
    current_range_A: float
    response_V: float

    @property
    def frequency_Hz(self) -> FloatArray:
        """Frequencies of the tones, ascending."""
        return self.fundamental_Hz * np.array(self.harmonics, dtype=np.float64)

    @property
    def period_s(self) -> float:
        """Length of a period (s)."""
        return 1.0 / self.fundamental_Hz

    @property
    def duration_s(self) -> float:
        """Length of all periods (s)."""
        return (self.settling + self.periods) * self.period_s

    @property
    def set_points(self) -> int:
        """Set-points of all periods, those in which the cell settles included."""
        return (self.settling + self.periods) * int(self.levels_A.size)

    @property
    def peak_A(self) -> float:
        """Largest magnitude of the current (A)."""
        return float(np.max(np.abs(self.levels_A)))


def multisine(
    capabilities: CyclerCapabilities, wanted: Wanted, per_decade: int = PER_DECADE
) -> Excitation:
    """Return all tones at once, on one fundamental.

    Raises
    ------
    ConfigurationError
        What the cycler, or a limit, does not allow; says why and what would be possible.
    """
    hold_s = _checked(capabilities, wanted)
    fundamental_Hz, steps = _fundamental(wanted.lowest_Hz, hold_s, wanted.highest_Hz)
    harmonics = _odd_grid(wanted.highest_Hz / fundamental_Hz, per_decade)
    return _scaled(capabilities, wanted, fundamental_Hz, harmonics, steps, hold_s)


def stepped_sine(
    capabilities: CyclerCapabilities, wanted: Wanted, per_decade: int = PER_DECADE
) -> tuple[Excitation, ...]:
    """Return one tone after the other, highest first: slower, with the whole current in each.

    Raises
    ------
    ConfigurationError
        As `multisine`.
    """
    hold_s = _checked(capabilities, wanted)
    tones: dict[int, Excitation] = {}
    for f_Hz in stepped_frequencies_Hz(wanted.lowest_Hz, wanted.highest_Hz, per_decade):
        fundamental_Hz, steps = _fundamental(f_Hz, hold_s, f_Hz)
        key = steps if hold_s else len(tones)
        if key not in tones:
            tones[key] = _scaled(capabilities, wanted, fundamental_Hz, (1,), steps, hold_s)
    return tuple(tones.values())


def stepped_frequencies_Hz(
    lowest_Hz: float, highest_Hz: float, per_decade: int = PER_DECADE
) -> list[float]:
    """Return the tones of a stepped sine before the hold rounds them, highest first (Hz)."""
    count = 1 + max(1, round(math.log10(highest_Hz / lowest_Hz) * per_decade))
    tones: list[float] = np.geomspace(highest_Hz, lowest_Hz, count).tolist()
    return tones


def shortest_hold_s(capabilities: CyclerCapabilities) -> float:
    """Return the shortest time between two set-points (s); 0 where the device makes sines."""
    if capabilities.eis:
        return 0.0
    match capabilities.tier:
        case ControlTier.LIVE_SET_POINT | ControlTier.SCHEDULE_WITH_VARIABLES:
            return capabilities.update_period_s
        case ControlTier.COMPILED_SCHEDULE | ControlTier.ON_DEVICE_SCRIPT:
            timed_s = capabilities.min_device_timed_pulse_s
            return timed_s if timed_s > 0.0 else capabilities.min_pulse_s
    assert_never(capabilities.tier)


def highest_frequency_Hz(capabilities: CyclerCapabilities) -> float:
    """Return the highest frequency a staircase of this cycler can have (Hz)."""
    hold_s = shortest_hold_s(capabilities)
    return math.inf if hold_s == 0.0 else 1.0 / (STEPS_PER_PERIOD * hold_s)


def _checked(capabilities: CyclerCapabilities, wanted: Wanted) -> float:
    """Return the hold; refuse what cannot be, all at once."""
    hold_s = shortest_hold_s(capabilities)
    numbers = {
        "lowest_Hz": wanted.lowest_Hz,
        "highest_Hz": wanted.highest_Hz,
        "resistance_Ohm": wanted.resistance_Ohm,
        "response_V": wanted.response_V,
        "max_current_A": wanted.max_current_A,
    }
    problems = FaultsIn(_WHERE)
    for key, value in numbers.items():
        if not 0.0 < value < math.inf:
            problems.add(key, f"{value!r} is not a positive number")
    if not problems:
        problems = _limits(capabilities, wanted, hold_s)
    if problems:
        raise ConfigurationError(problems)
    return hold_s


def _limits(capabilities: CyclerCapabilities, wanted: Wanted, hold_s: float) -> FaultsIn:
    problems = FaultsIn(_WHERE)
    if wanted.lowest_Hz >= wanted.highest_Hz:
        problems.add("lowest_Hz", f"{wanted.lowest_Hz:g} is not below {wanted.highest_Hz:g}", "")
    reachable_Hz = highest_frequency_Hz(capabilities)
    # A fundamental is a whole number of set-points: a hair above is no other frequency.
    if wanted.highest_Hz > reachable_Hz * (1.0 + 1e-9):
        problems.add(
            "highest_Hz",
            f"{capabilities.model} changes its set-point every {hold_s:g} s at best, and a "
            f"sine needs {STEPS_PER_PERIOD} of them: nothing above {reachable_Hz:.3g} Hz",
            f"at most {reachable_Hz:.3g}",
        )
    if wanted.periods < LEAST_PERIODS:
        problems.add(
            "periods",
            f"{wanted.periods} leave no lines without a tone to tell noise by",
            f"at least {LEAST_PERIODS}",
        )
    if wanted.response_V > LARGEST_RESPONSE_V:
        problems.add(
            "response_V",
            f"{wanted.response_V:g} V: a cell is not linear over more than a part of kT/e",
            f"at most {LARGEST_RESPONSE_V:g}",
        )
    peak_A = min(wanted.max_current_A, capabilities.max_current_A)
    if peak_A * wanted.resistance_Ohm < SMALLEST_RESPONSE_V:
        problems.add(
            "max_current_A",
            f"{peak_A:g} A at most gives {1e3 * peak_A * wanted.resistance_Ohm:.2g} mV, which "
            "drowns in noise",
            f"at least {SMALLEST_RESPONSE_V / wanted.resistance_Ohm:.2g} A are needed",
        )
    return problems


def _fundamental(lowest_Hz: float, hold_s: float, highest_Hz: float) -> tuple[float, int]:
    """Return the fundamental nearest to `lowest_Hz` that the hold allows, and steps a period."""
    if hold_s == 0.0:
        steps = _FINE_STEPS * math.ceil(highest_Hz / lowest_Hz)
        fundamental_Hz = lowest_Hz
    else:
        # An even number: otherwise images of the tones would fall on even harmonics.
        steps = max(STEPS_PER_PERIOD, 2 * round(0.5 / (lowest_Hz * hold_s)))
        fundamental_Hz = 1.0 / (steps * hold_s)
    if steps > _MOST_STEPS:
        problem = f"{steps} set-points a period are more than {_MOST_STEPS}"
        raise refuse(_WHERE, "lowest_Hz", problem, "measure the band in two parts")
    return fundamental_Hz, steps


def _odd_grid(ratio: float, per_decade: int) -> tuple[int, ...]:
    """Return odd harmonics up to `ratio`, about `per_decade` a decade."""
    highest = ratio * (1.0 + 1e-9)
    exponents = np.arange(0.0, math.log10(max(highest, 1.0)) + 1e-9, 1.0 / per_decade)
    odd = 2 * np.round((10.0**exponents - 1.0) / 2.0).astype(int) + 1
    top = int(highest) - (1 - int(highest) % 2)
    return tuple(sorted({int(h) for h in odd if h <= highest} | {max(top, 1)}))


def _scaled(
    capabilities: CyclerCapabilities,
    wanted: Wanted,
    fundamental_Hz: float,
    harmonics: tuple[int, ...],
    steps: int,
    hold_s: float,
) -> Excitation:
    """Give the tones phases and the amplitude that the strictest limit allows."""
    phases, unit = _flattest(harmonics, steps)
    peak = float(np.max(np.abs(unit)))
    peak_A = min(
        wanted.response_V / wanted.resistance_Ohm, wanted.max_current_A, capabilities.max_current_A
    )
    amplitude_A = peak_A / peak
    charge_As = np.concatenate([[0.0], np.cumsum(unit)]) / (steps * fundamental_Hz)
    swing_Ah = amplitude_A * float(np.max(charge_As) - np.min(charge_As)) / SECONDS_PER_HOUR
    amplitude_A *= min(1.0, wanted.max_charge_Ah / swing_Ah)
    levels_A = amplitude_A * unit
    peak_A = amplitude_A * peak
    response_V = peak_A * wanted.resistance_Ohm
    problems = FaultsIn(_WHERE)
    if response_V < SMALLEST_RESPONSE_V:
        problems.add(
            "max_charge_Ah",
            f"at {fundamental_Hz:.3g} Hz it leaves {1e3 * response_V:.2g} mV, which drowns in "
            "noise",
            "raise lowest_Hz",
        )
    if peak_A < _LEAST_OF_RANGE * capabilities.current_ranges_A[0]:
        problems.add(
            "response_V",
            f"{peak_A:.2g} A is below {_LEAST_OF_RANGE:g} of the smallest range, "
            f"{capabilities.current_ranges_A[0]:g} A",
            "",
        )
    if problems:
        raise ConfigurationError(problems)
    ranges_A = [r for r in capabilities.current_ranges_A if r >= peak_A]
    return Excitation(
        fundamental_Hz=fundamental_Hz,
        harmonics=harmonics,
        amplitude_A=amplitude_A,
        phases=phases,
        hold_s=hold_s,
        levels_A=levels_A,
        settling=SETTLING_PERIODS,
        periods=wanted.periods,
        current_range_A=ranges_A[0] if ranges_A else capabilities.current_ranges_A[-1],
        response_V=response_V,
    )


def _flattest(harmonics: tuple[int, ...], steps: int) -> tuple[FloatArray, FloatArray]:
    """Return phases of unit tones and their sum over one period, with the lowest peak found."""
    h = np.array(harmonics, dtype=np.float64)
    count = len(harmonics)
    coarse = min(steps, STEPS_PER_PERIOD * max(harmonics[-1], 2))
    tones = np.exp(2j * np.pi * np.outer(h, np.arange(coarse)) / coarse)
    chance = np.random.default_rng(_SEED)
    k = np.arange(count)
    phases = np.vstack(
        [-np.pi * k * (k - 1) / count, chance.uniform(0.0, 2.0 * np.pi, (_RESTARTS, count))]
    )
    best, least = phases[0], math.inf
    for clip in np.linspace(_FIRST_CLIP, _LAST_CLIP, _SWAPS if count > 1 else 1).tolist():
        sums = (np.exp(1j * phases) @ tones).real
        peaks = np.max(np.abs(sums), axis=1)
        at = int(np.argmin(peaks))
        if peaks[at] < least:
            least, best = float(peaks[at]), phases[at].copy()
        # Clip, and keep only the phases of what is left.
        limit = clip * peaks[:, np.newaxis]
        phases = np.angle(np.clip(sums, -limit, limit) @ tones.conj().T)
    whole = 2.0 * np.pi * np.outer(h, np.arange(steps)) / steps + best[:, np.newaxis]
    return best, np.asarray(np.sum(np.cos(whole), axis=0), dtype=np.float64)
