"""Linear Kramers-Kronig test: whether a causal, linear, steady system may have a spectrum.

A sum of M R-C elements with fixed time constants, a resistance, an inductance and a capacitance is
fitted; all are Kramers-Kronig consistent and all enter linearly, so there is nothing to converge.
M is chosen as in Schoenleber, Klotz and Ivers-Tiffee (doi:10.1016/j.electacta.2014.01.034): it
grows until the share of negative resistances, 1 - mu, says that noise is being fitted. What remains
is noise if it changes sign at random along the frequencies, and a violation if it does not.

Resonances (an inductance against a capacitance) are outside the model; cells have none.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from controller.domain.errors import refuse
from controller.estimation.impedance.points import ComplexArray, Spectrum
from controller.estimation.table import FloatArray

LEAST_POINTS: Final = 7
# mu at which M stops growing (Schoenleber et al.: 0.85).
MU_STOP: Final = 0.85
# Residuals (root mean square of |dZ|/|Z|) up to here are as good as instruments are. Assumed,
# 0.3-1 %.
GOOD: Final = 0.005
# Noisier than this nothing can be said. Assumed, 5-20 %.
NOISY: Final = 0.10
# Residuals in a row correlate by chance beyond this many standard deviations in 1 of 1,000 spectra.
_RUN_SIGMAS: Final = 3.1
# With fewer points even a residual of one sign could have come by chance.
_LEAST_FOR_RUNS: Final = 16
# Resistances below this share of |Z| are none.
_NOTHING: Final = 1e-6
_RANK: Final = 1e-11


class Consistency(StrEnum):
    """What the test says."""

    VALID = "valid"
    INVALID = "invalid"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KramersKronig:
    """Result of the test.

    Attributes
    ----------
    verdict : Consistency
    reason : str
        Why, in words.
    elements : int
        M, the number of R-C elements.
    mu : float
        1 less the sum of negative over the sum of positive resistances.
    relative_rms : float
        Root mean square of |residual| / |Z|.
    real, imaginary : array, shape (n,)
        Residuals over |Z|, highest frequency first.
    run_sigmas : float
        Correlation of residuals at neighbouring frequencies, in its standard deviations under
        noise; the larger of real and imaginary part.
    """

    verdict: Consistency
    reason: str
    elements: int
    mu: float
    relative_rms: float
    real: FloatArray
    imaginary: FloatArray
    run_sigmas: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Try:
    elements: int
    mu: float
    residual: ComplexArray  # over |Z|

    @property
    def rms(self) -> float:
        return float(np.sqrt(np.mean(np.abs(self.residual) ** 2)))

    @property
    def run_sigmas(self) -> float:
        return max(_run_sigmas(self.residual.real), _run_sigmas(self.residual.imag))


def kramers_kronig(spectrum: Spectrum) -> KramersKronig:
    """Return whether a spectrum may be one of a causal, linear, steady system.

    Raises
    ------
    ConfigurationError
        Fewer than 7 points.
    """
    count = spectrum.frequency_Hz.size
    if count < LEAST_POINTS:
        raise refuse(
            spectrum.source,
            f"{count} points",
            f"too few for a Kramers-Kronig test: {LEAST_POINTS} are needed",
        )
    chosen = _chosen(spectrum)
    verdict, reason = _verdict(spectrum, chosen)
    return KramersKronig(
        verdict=verdict,
        reason=reason,
        elements=chosen.elements,
        mu=chosen.mu,
        relative_rms=chosen.rms,
        real=chosen.residual.real,
        imaginary=chosen.residual.imag,
        run_sigmas=chosen.run_sigmas,
    )


def _chosen(spectrum: Spectrum) -> _Try:
    """Return the fit with M by mu; with more elements where that leaves residuals in runs.

    Negative resistances are also what an inductive loop needs, and mu then stops too early. Going
    on to M = n/2 leaves three quarters of the data redundant, so that real and imaginary parts
    still check each other.
    """
    most = spectrum.frequency_Hz.size // 2
    found = _fit(spectrum, 1)
    by_mu = True
    for elements in range(2, most + 1):
        if found.mu <= MU_STOP:
            by_mu = False
        if not by_mu and (found.rms <= GOOD or found.run_sigmas <= _RUN_SIGMAS):
            break
        found = _fit(spectrum, elements)
    return found


def _fit(spectrum: Spectrum, elements: int) -> _Try:
    omega = 2.0 * np.pi * spectrum.frequency_Hz
    size = np.abs(spectrum.impedance_Ohm)
    ends = np.log(1.0 / omega[0]), np.log(1.0 / omega[-1])
    tau = np.exp(np.linspace(*ends, elements)) if elements > 1 else np.exp([np.mean(ends)])
    columns = (
        np.column_stack(
            [
                np.ones_like(omega),
                1.0 / (1.0 + 1j * omega[:, np.newaxis] * tau),
                1j * omega / omega[0],
                omega[-1] / (1j * omega),
            ]
        )
        / size[:, np.newaxis]
    )
    stacked = np.vstack([columns.real, columns.imag])
    wanted = spectrum.impedance_Ohm / size
    solution = np.linalg.lstsq(stacked, np.concatenate([wanted.real, wanted.imag]), rcond=_RANK)[0]
    resistances = solution[1 : elements + 1]
    resistances = np.where(np.abs(resistances) < _NOTHING * np.median(size), 0.0, resistances)
    positive = float(np.sum(resistances[resistances > 0.0]))
    negative = -float(np.sum(resistances[resistances < 0.0]))
    mu = 1.0 if negative == 0.0 else 1.0 - negative / positive if positive > 0.0 else -math.inf
    return _Try(elements=elements, mu=mu, residual=wanted - columns @ solution)


def _run_sigmas(values: FloatArray) -> float:
    """Return the correlation of neighbours over its standard deviation under noise."""
    spread = float(values @ values)
    if spread == 0.0:
        return 0.0
    return float(values[1:] @ values[:-1]) / spread * math.sqrt(values.size)


def _verdict(spectrum: Spectrum, chosen: _Try) -> tuple[Consistency, str]:
    rms = f"{100.0 * chosen.rms:.2g} %"
    if chosen.rms <= GOOD:
        return Consistency.VALID, f"residuals of {rms}, as good as instruments are"
    if chosen.run_sigmas > _RUN_SIGMAS:
        worst = int(np.argmax(np.abs(chosen.residual)))
        return Consistency.INVALID, (
            f"residuals of {rms} run in one direction over neighbouring frequencies "
            f"(largest {100.0 * abs(chosen.residual[worst]):.2g} % at "
            f"{spectrum.frequency_Hz[worst]:.3g} Hz): the cell drifted, was not linear, or V and I "
            "are not of the same time"
        )
    if spectrum.frequency_Hz.size < _LEAST_FOR_RUNS:
        return Consistency.UNDECIDED, (
            f"residuals of {rms} over {spectrum.frequency_Hz.size} points, too few to tell noise "
            f"from a violation ({_LEAST_FOR_RUNS} are needed)"
        )
    if chosen.rms > NOISY:
        return Consistency.UNDECIDED, f"noise of {rms} hides any violation"
    return Consistency.VALID, f"residuals of {rms} without direction: noise"
