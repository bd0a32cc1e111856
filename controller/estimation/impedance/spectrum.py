"""From logged readings under an excitation to a spectrum with its uncertainty.

Sines at the designed frequencies and a polynomial drift are fitted to the readings by least
squares, so that they may come at any times. What then remains is looked at on lines between the
tones' harmonics, where neither the excitation nor a distortion of it can be: that is the noise, and
it gives the uncertainty. Harmonics without a tone show distortions, the two halves of the record
show whether the cell changed meanwhile (Pintelon and Schoukens, System Identification, 2nd ed.,
doi:10.1002/9781118287422, chapters 2-4).

**Staircases.** Under set-points that hold, the current has images around multiples of the rate of
set-points. Readings that come once a step fold them onto the tones. An ohmic part R answers every
image alike and at once; what is left answers the tone alone, as the rest of the impedance falls
towards the images' frequencies:

    Z(f) = R + (V(f) - R I(f)) / (I_held(f) A(f))

with V and I from the readings, I_held the staircase's own Fourier integral and A the average that
a reading is. R is the real part at the highest tone. What of the images is not ohmic is taken as
twice the imaginary part there and stands in the uncertainty. So does what no reading can show: an
arc that is over before the first reading after an edge counts as ohmic, and its share of the phase
is lost; half of R is taken to be such an arc, with a time constant up to a fifth of that delay.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from controller.domain.errors import refuse
from controller.estimation.impedance.excitation import LEAST_PERIODS, Excitation
from controller.estimation.impedance.points import ComplexArray, Spectrum, spectrum_of
from controller.estimation.table import FloatArray

# Lines of noise nearest to a tone that are taken. Assumed, 8-24.
_NOISE_LINES: Final = 16
# Student's over the normal 95 % interval, squared, for a scatter from so many lines of two parts.
_FEW_LINES: Final = (2.037 / 1.96) ** 2
# Impedance over its standard uncertainty from noise, below which a tone is not told. Assumed, 3-10.
LEAST_SNR: Final = 5.0
# Order of the drift polynomial, and time constants (periods) with which the cell settles into the
# excitation. They take what happens once in the record with them, so that noise is looked at from
# the second line on. Assumed.
_DRIFT_ORDER: Final = 3
_SETTLES_IN: Final = (0.2, 0.6, 2.0)
_FIRST_NOISE_LINE: Final = 2
# Readings that a period of the highest tone needs, on average over the record. Assumed, 2.5-4.
_LEAST_READINGS: Final = 2.5
# Harmonics without a tone that are looked at for distortions, lowest first.
_MOST_HARMONICS: Final = 60
# Periods from which the record's halves are compared.
_HALVED_FROM: Final = 4
# The halves differ by more than noise explains by this factor: the cell changed. A change makes
# the noise look larger as well, so that the figure hardly exceeds 3. Assumed, 1.7-2.5.
DRIFTED_BEYOND: Final = 2.0
# Distortions above this share of the answer, and standing out of the noise. Assumed, 1-3 %.
DISTORTED_BEYOND: Final = 0.02
_STANDS_OUT: Final = 3.0
_ROUNDS: Final = 4
# How far the impedance at the images is from ohmic, in imaginary parts at the highest tone. Set by
# drawn circuits (seeds 2000-3099 of scripts/score_impedance.py), scored on others; 1-3.
_IMAGES: Final = 2.0
# Imaginary part of a hidden arc: w * (R/2) * (delay/5), uniform from 0. Assumed, half to twice it.
_HIDDEN: Final = 0.5 * 0.2 / math.sqrt(3.0)
# A reading is taken to be of the time this share of a step before its own.
_AT_EDGE: Final = 1e-3
# Deviations of a current from its set-point, in their median, that only an edge explains.
_ACROSS: Final = 8.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Readings:
    """Logged readings of one measurement.

    Attributes
    ----------
    t_s, current_A, voltage_V : array, shape (n,)
        On one clock; a row with NaN is left out.
    started_s : float
        When the excitation's first set-point (or the sines' phase 0) was in force, same clock.
    averaging_s : float
        A reading is the mean over so long before its time.
    u_time_s : float
        Standard uncertainty of `started_s` against the readings' times.
    edges_s : array or None
        When each set-point was in force, from the first one on, if the host timed them; None:
        every `hold_s` from `started_s`.
    """

    t_s: FloatArray
    current_A: FloatArray
    voltage_V: FloatArray
    started_s: float
    averaging_s: float = 0.0
    u_time_s: float = 0.0
    edges_s: FloatArray | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """A measured spectrum and how far it may be trusted.

    Attributes
    ----------
    spectrum : Spectrum
        With standard uncertainties; tones that drown in noise are left out.
    left_out : tuple of str
        Why tones are missing.
    even_distortion, odd_distortion : float
        Answer at even and odd harmonics without a tone, noise taken off, over that at the tones.
    distorted : bool
        The cell did not answer linearly, or another source was at work.
    halves_differ : float
        Difference of the two halves of the record over its standard uncertainty, root mean square;
        1 is chance. NaN where there are too few periods.
    drifted : bool
    drift_V : float
        Change of the voltage without the tones, over the record.
    """

    spectrum: Spectrum
    left_out: tuple[str, ...]
    even_distortion: float
    odd_distortion: float
    distorted: bool
    halves_differ: float
    drifted: bool
    drift_V: float

    def remarks(self) -> list[str]:
        """Return in words, with the figures, why the spectrum is not to be trusted as it stands."""
        found = []
        if self.distorted:
            found.append(
                "the cell did not answer linearly "
                f"({self.even_distortion:.1%} of the answer at even harmonics, "
                f"{self.odd_distortion:.1%} at odd ones)"
            )
        if self.drifted:
            found.append(
                "the cell changed meanwhile (the record's halves differ by "
                f"{self.halves_differ:.2g} times what noise explains, the voltage drifted by "
                f"{1e3 * self.drift_V:+.2g} mV)"
            )
        return found


def measure(
    readings: Readings,
    excitation: Excitation,
    source: str = "measurement",
    ohmic_Ohm: float | None = None,
) -> Measured:
    """Return the impedance at the excitation's frequencies.

    Parameters
    ----------
    readings : Readings
    excitation : Excitation
    source : str
        For messages.
    ohmic_Ohm : float, optional
        What answers at once, e.g. from the first reading after a step; under a staircase it lets
        the images be taken off better than the real part at the highest tone does.

    Raises
    ------
    ConfigurationError
        Fewer than three whole periods, too few readings, no current at the tones, or no tone above
        the noise; says which.
    """
    record = _record(readings, excitation, source)
    f_Hz = excitation.frequency_Hz
    fitted = _fitted(record, f_Hz)
    carrier = _carrier(record, f_Hz)
    if ohmic_Ohm is None:
        ohmic_Ohm = _ohmic_Ohm(fitted, carrier)
    z = _impedance(fitted, carrier, ohmic_Ohm)
    noise = _noise_Ohm(record, fitted, f_Hz, z, carrier, ohmic_Ohm)
    u = np.sqrt(noise**2 + _systematic_Ohm(record, fitted, f_Hz, z, carrier, ohmic_Ohm) ** 2)
    snr = np.abs(z) / noise
    heard = snr >= LEAST_SNR
    left_out = tuple(
        f"{one:.3g} Hz: {ratio:.2g} times its noise, {LEAST_SNR:g} are needed"
        for one, ratio in zip(f_Hz[~heard].tolist(), snr[~heard].tolist(), strict=True)
    )
    if not heard.any():
        raise refuse(source, "", "no tone stands above the noise: " + "; ".join(left_out[:3]))
    even, even_stands = _distortion(record, fitted, excitation, even=True)
    odd, odd_stands = _distortion(record, fitted, excitation, even=False)
    differ = _halves_differ(record, fitted, excitation, noise, ohmic_Ohm)
    return Measured(
        spectrum=spectrum_of(source, f_Hz[heard], z[heard], u[heard]),
        left_out=left_out,
        even_distortion=even,
        odd_distortion=odd,
        distorted=even_stands or odd_stands,
        halves_differ=differ,
        drifted=differ > DRIFTED_BEYOND,
        drift_V=float(fitted.drift[1, -1] - fitted.drift[1, 0]),
    )


def joined(parts: Sequence[Measured], source: str = "stepped sine") -> Spectrum:
    """Return one spectrum of several measurements; of a frequency in two of them the first."""
    kept: dict[float, tuple[complex, float]] = {}
    for part in parts:
        u_Ohm = part.spectrum.u_Ohm
        if u_Ohm is None:
            raise refuse(source, "", "a part without uncertainty")
        points = zip(
            part.spectrum.frequency_Hz.tolist(),
            part.spectrum.impedance_Ohm.tolist(),
            u_Ohm.tolist(),
            strict=True,
        )
        for f_Hz, z_Ohm, u_one in points:
            kept.setdefault(f_Hz, (z_Ohm, u_one))
    return spectrum_of(
        source,
        np.array(list(kept)),
        np.array([z for z, _ in kept.values()]),
        np.array([u for _, u in kept.values()]),
    )


def together(parts: Sequence[Measured], source: str = "stepped sine") -> Measured:
    """Return several measurements as one: what stands out in one of them, stands out."""
    differ = [one.halves_differ for one in parts if math.isfinite(one.halves_differ)]
    return Measured(
        spectrum=joined(parts, source),
        left_out=tuple(words for one in parts for words in one.left_out),
        even_distortion=max(one.even_distortion for one in parts),
        odd_distortion=max(one.odd_distortion for one in parts),
        distorted=any(one.distorted for one in parts),
        halves_differ=max(differ, default=math.nan),
        drifted=any(one.drifted for one in parts),
        drift_V=math.fsum(one.drift_V for one in parts),
    )


# -- the record -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Record:
    """Readings of whole periods, time from their begin; the staircase's edges and levels, if any.

    `edges_s` has one more entry than `levels_A`: from its begin to its end.
    """

    t_s: FloatArray
    values: FloatArray  # (2, n): current, voltage
    periods: int
    length_s: float
    averaging_s: float
    u_time_s: float
    edges_s: FloatArray
    levels_A: FloatArray

    @property
    def held(self) -> bool:
        """Whether the current is a staircase."""
        return self.levels_A.size > 0

    def part(self, first: int, periods: int) -> _Record:
        """Return some of the periods."""
        period_s = self.length_s / self.periods
        begin_s, length_s = first * period_s, periods * period_s
        keep = (self.t_s >= begin_s) & (self.t_s < begin_s + length_s)
        return replace(
            self,
            t_s=self.t_s[keep] - begin_s,
            values=self.values[:, keep],
            periods=periods,
            length_s=length_s,
            edges_s=self.edges_s - begin_s,
        )


def _record(readings: Readings, excitation: Excitation, source: str) -> _Record:
    """Return the whole periods after settling; refuse what is too little."""
    values = np.vstack([readings.current_A, readings.voltage_V])
    good = np.isfinite(readings.t_s) & np.all(np.isfinite(values), axis=0)
    begin_s = readings.started_s + excitation.settling * excitation.period_s
    order = np.flatnonzero(good)[np.argsort(readings.t_s[good], kind="stable")]
    t_s = readings.t_s[order] - begin_s
    values = values[:, order]
    # The last reading stands for the time to the next one, which was not taken.
    spacing_s = float(np.median(np.diff(t_s))) if t_s.size > 1 else 0.0
    end_s = float(t_s[-1]) + spacing_s if t_s.size else 0.0
    periods = math.floor(end_s / excitation.period_s + 1e-6)
    if periods < LEAST_PERIODS:
        raise refuse(
            source,
            f"{max(periods, 0)} whole periods",
            f"after the {excitation.settling} in which the cell settles; at least {LEAST_PERIODS} "
            f"of {excitation.period_s:.4g} s are needed",
        )
    length_s = periods * excitation.period_s
    keep = (t_s >= 0.0) & (t_s < length_s)
    count = int(np.sum(keep))
    needed = math.ceil(_LEAST_READINGS * excitation.harmonics[-1] * periods)
    if count < max(needed, 2 * len(excitation.harmonics) + _DRIFT_ORDER + _NOISE_LINES):
        raise refuse(
            source,
            f"{count} readings",
            f"too few for {excitation.frequency_Hz[-1]:.3g} Hz over {length_s:.4g} s: {needed} are "
            "needed",
        )
    edges_s, levels_A = _staircase(readings, excitation, begin_s, begin_s + length_s)
    return _Record(
        t_s=t_s[keep],
        values=values[:, keep],
        periods=periods,
        length_s=length_s,
        averaging_s=readings.averaging_s,
        u_time_s=readings.u_time_s,
        edges_s=edges_s,
        levels_A=levels_A,
    )


def _staircase(
    readings: Readings, excitation: Excitation, begin_s: float, end_s: float
) -> tuple[FloatArray, FloatArray]:
    """Return edges and levels of the set-points, nothing where the device makes sines."""
    if excitation.hold_s == 0.0:
        return np.zeros(1), np.zeros(0)
    if readings.edges_s is None:
        count = math.ceil((end_s - readings.started_s) / excitation.hold_s) + 1
        edges_s = readings.started_s + excitation.hold_s * np.arange(count + 1)
    else:
        edges_s = np.append(readings.edges_s, readings.edges_s[-1] + excitation.hold_s)
    index = np.arange(edges_s.size - 1) % excitation.levels_A.size
    return np.asarray(edges_s - begin_s, dtype=np.float64), excitation.levels_A[index]


# -- tones, drift, noise --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fitted:
    """Complex amplitudes of current and voltage at the tones, and what they leave.

    A tone is Re(amplitude * exp(j w t)). `inflation` is the variance of its amplitude over what
    it would be if no other column resembled it; drift and the lowest tone do.
    """

    current_A: ComplexArray
    voltage_V: ComplexArray
    rest: FloatArray  # (2, n)
    drift: FloatArray  # (2, n)
    inflation: FloatArray  # (tones,)


def _fitted(record: _Record, frequency_Hz: FloatArray, *, settled: bool = False) -> _Fitted:
    """Fit sines and drift to current and voltage at once; `settled`: the drift is off already."""
    angles = 2.0 * np.pi * np.outer(record.t_s, frequency_Hz)
    span = 2.0 * record.t_s / record.length_s - 1.0
    drift = np.polynomial.legendre.legvander(span, 1 if settled else _DRIFT_ORDER)
    if not settled:
        periods = record.t_s * record.periods / record.length_s
        drift = np.column_stack([drift, *(np.exp(-periods / tau) for tau in _SETTLES_IN)])
    columns = np.hstack([np.cos(angles), np.sin(angles), drift])
    # Normal equations: many rows and few columns, well apart once the mean is off.
    mean = np.mean(record.values, axis=1, keepdims=True)
    moving = record.values - mean
    inverse = np.linalg.inv(columns.T @ columns)
    solution = inverse @ (columns.T @ moving.T)
    count = frequency_Hz.size
    amplitudes = (solution[:count] - 1j * solution[count : 2 * count]).T
    variances = np.diagonal(inverse)[: 2 * count].reshape(2, count)
    return _Fitted(
        current_A=amplitudes[0],
        voltage_V=amplitudes[1],
        rest=moving - (columns @ solution).T,
        drift=mean + (drift @ solution[2 * count :]).T,
        inflation=0.25 * record.t_s.size * np.sum(variances, axis=0),
    )


def _lines(record: _Record, rest: FloatArray, frequency_Hz: FloatArray) -> ComplexArray:
    """Return complex amplitudes of what the fit left, at any frequencies."""
    turns = np.exp(-2j * np.pi * np.outer(frequency_Hz, record.t_s))
    amplitudes: ComplexArray = (2.0 / record.t_s.size) * (turns @ rest)
    return amplitudes


def _noise_lines(record: _Record, frequency_Hz: float) -> FloatArray:
    """Return the frequencies nearest to a tone that are no harmonic of the fundamental."""
    at = round(frequency_Hz * record.length_s)
    near = np.arange(max(_FIRST_NOISE_LINE, at - 4 * _NOISE_LINES), at + 4 * _NOISE_LINES)
    near = near[near % record.periods != 0]
    nearest = near[np.argsort(np.abs(near - at), kind="stable")[:_NOISE_LINES]]
    return np.asarray(nearest / record.length_s, dtype=np.float64)


def _carrier(record: _Record, frequency_Hz: FloatArray) -> ComplexArray | None:
    """Return the staircase's own amplitudes as a reading averages them; None without one.

    Levels are the set-points times one gain, taken from the readings of the current.
    """
    if not record.held:
        return None
    turns = np.exp(-2j * np.pi * np.outer(frequency_Hz, record.edges_s.clip(0.0, record.length_s)))
    pieces = turns[:, :-1] - turns[:, 1:]
    held = (pieces @ record.levels_A) / (1j * np.pi * frequency_Hz * record.length_s)
    gain = _gain(record)
    if not 0.2 < gain < 5.0:
        raise refuse(
            "impedance measurement",
            "current",
            f"what was read is {gain:.2g} times what was set: the excitation was not running, or "
            "the sign is turned",
        )
    delay = frequency_Hz * record.averaging_s
    average = np.sinc(delay) * np.exp(-1j * np.pi * delay)
    carrier: ComplexArray = gain * held * average
    return carrier


def _gain(record: _Record) -> float:
    """Return how many times the set-point flows, by readings that no edge is near.

    A reading at the very time of an edge shows what was before it; one that shows neither level was
    taken across the edge and is left out.
    """
    t_s = record.t_s
    if record.averaging_s == 0.0:
        step_s = float(np.median(np.diff(record.edges_s)))
        t_s = t_s - max(_AT_EDGE * step_s, record.u_time_s)
        index = np.searchsorted(record.edges_s, t_s, side="left") - 1
        set_A = record.levels_A[np.clip(index, 0, record.levels_A.size - 1)]
    else:
        charge_As = np.concatenate([[0.0], np.cumsum(record.levels_A * np.diff(record.edges_s))])
        last, first = (
            np.interp(t_s - ago_s, record.edges_s, charge_As) for ago_s in (0.0, record.averaging_s)
        )
        set_A = (last - first) / record.averaging_s
    read_A = record.values[0]
    good = np.ones(set_A.size, dtype=np.bool_)
    gain = 1.0
    for _ in range(_ROUNDS):
        moving = set_A[good] - np.mean(set_A[good])
        gain = float(moving @ read_A[good]) / max(float(moving @ moving), 1e-300)
        off_A = read_A - gain * set_A
        off_A = np.abs(off_A - np.median(off_A))
        good = off_A <= _ACROSS * max(float(np.median(off_A)), 1e-3 * float(np.std(set_A)))
    return gain


def _ohmic_Ohm(fitted: _Fitted, carrier: ComplexArray | None) -> float:
    """Return the real part at the highest tone, found in turns with the impedance there."""
    if carrier is None:
        return 0.0
    ohmic_Ohm = float((fitted.voltage_V[-1] / fitted.current_A[-1]).real)
    for _ in range(_ROUNDS):
        ohmic_Ohm = float(_impedance(fitted, carrier, ohmic_Ohm)[-1].real)
    return ohmic_Ohm


def _impedance(fitted: _Fitted, carrier: ComplexArray | None, ohmic_Ohm: float) -> ComplexArray:
    if carrier is None:
        found: ComplexArray = fitted.voltage_V / fitted.current_A
    else:
        found = ohmic_Ohm + (fitted.voltage_V - ohmic_Ohm * fitted.current_A) / carrier
    return found


def _noise_Ohm(
    record: _Record,
    fitted: _Fitted,
    frequency_Hz: FloatArray,
    z: ComplexArray,
    carrier: ComplexArray | None,
    ohmic_Ohm: float,
) -> FloatArray:
    """Return the standard uncertainty from noise of each part of Z, from the lines around a tone.

    Noise of current and voltage enter together, so that what they share cancels as it does in Z.
    """
    found = []
    for k, f_Hz in enumerate(frequency_Hz.tolist()):
        lines = _lines(record, fitted.rest.T, _noise_lines(record, f_Hz))
        share = z[k] if carrier is None else complex(ohmic_Ohm)
        through = fitted.current_A[k] if carrier is None else carrier[k]
        power = float(np.mean(np.abs(lines[:, 1] - share * lines[:, 0]) ** 2))
        power *= max(float(fitted.inflation[k]), 1.0) * _FEW_LINES
        found.append(math.sqrt(0.5 * power) / max(abs(through), 1e-300))
    least = 1e-12 * np.abs(z)
    return np.asarray(np.maximum(np.array(found), least), dtype=np.float64)


def _systematic_Ohm(
    record: _Record,
    fitted: _Fitted,
    frequency_Hz: FloatArray,
    z: ComplexArray,
    carrier: ComplexArray | None,
    ohmic_Ohm: float,
) -> FloatArray:
    """Return what images, hidden arcs and the clock leave uncertain."""
    clock = 2.0 * np.pi * frequency_Hz * record.u_time_s * np.abs(z - ohmic_Ohm)
    if carrier is None:
        return np.asarray(clock, dtype=np.float64)
    images = np.abs(fitted.current_A - carrier) / np.abs(carrier)
    beyond_Ohm = _IMAGES * max(abs(complex(z[-1]).imag), abs(complex(z[-1]).real - ohmic_Ohm))
    images_Ohm = images * beyond_Ohm
    hidden_Ohm = 2.0 * np.pi * frequency_Hz * _HIDDEN * abs(ohmic_Ohm) * _delay_s(record)
    return np.asarray(np.sqrt(clock**2 + images_Ohm**2 + hidden_Ohm**2), dtype=np.float64)


def _delay_s(record: _Record) -> float:
    """Return how long after an edge the first reading begins, in the middle of the steps (s)."""
    begin_s = record.t_s - record.averaging_s
    # At the very time of an edge a mean begins, but a single value is still of before.
    slack_s = _AT_EDGE * float(np.median(np.diff(record.edges_s)))
    moved_s = begin_s + (slack_s if record.averaging_s > 0.0 else -slack_s)
    step = np.searchsorted(record.edges_s, moved_s, side="right") - 1
    step = np.clip(step, 0, record.edges_s.size - 1)
    first_s = np.full(record.edges_s.size, np.inf)
    np.minimum.at(first_s, step, np.maximum(begin_s - record.edges_s[step], 0.0))
    return float(np.median(first_s[np.isfinite(first_s)]))


def _distortion(
    record: _Record, fitted: _Fitted, excitation: Excitation, *, even: bool
) -> tuple[float, bool]:
    """Return the answer at harmonics without a tone over that at the tones, and whether it is one.

    Under a staircase with one reading a step, images fold onto the tones alone, as the number of
    steps is even.
    """
    silent = sorted(set(range(2, excitation.harmonics[-1] + 2)) - set(excitation.harmonics))
    chosen = [h for h in silent if (h % 2 == 0) == even][:_MOST_HARMONICS]
    if not chosen:
        return 0.0, False
    f_Hz = excitation.fundamental_Hz * np.array(chosen)
    noise_Hz = f_Hz + 1.0 / record.length_s
    power = np.abs(_lines(record, fitted.rest[1], f_Hz)) ** 2
    noise = float(np.mean(np.abs(_lines(record, fitted.rest[1], noise_Hz)) ** 2))
    excess = float(np.sum(power)) - noise * len(chosen)
    # A line's power is exponential under noise: its standard deviation is its mean.
    stands_out = excess > _STANDS_OUT * noise * math.sqrt(len(chosen))
    share = math.sqrt(max(excess, 0.0) / float(np.sum(np.abs(fitted.voltage_V) ** 2)))
    return share, stands_out and share > DISTORTED_BEYOND


def _halves_differ(
    record: _Record,
    whole: _Fitted,
    excitation: Excitation,
    noise: FloatArray,
    ohmic_Ohm: float,
) -> float:
    """Return how far the impedances of the two halves lie apart, over what noise explains."""
    if record.periods < _HALVED_FROM:
        return math.nan
    half = record.periods // 2
    still = replace(record, values=record.values - whole.drift)
    found = []
    for part in (still.part(0, half), still.part(record.periods - half, half)):
        fitted = _fitted(part, excitation.frequency_Hz, settled=True)
        carrier = _carrier(part, excitation.frequency_Hz)
        found.append(_impedance(fitted, carrier, ohmic_Ohm))
    expected = 4.0 * noise**2 * record.periods / half
    return float(np.sqrt(np.mean(np.abs(found[1] - found[0]) ** 2 / expected)))
