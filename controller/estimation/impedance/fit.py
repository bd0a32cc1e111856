"""Fit equivalent circuits to a spectrum: several starts, uncertainty, what is not identified."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

import numpy as np

from controller.domain.errors import refuse
from controller.estimation.impedance.circuits import (
    Circuit,
    Element,
    Kind,
    Node,
    Parallel,
    Series,
    grid_of,
    parse,
    slopes_and_impedance,
)
from controller.estimation.impedance.least_squares import Minima, Model, minima
from controller.estimation.impedance.points import Spectrum
from controller.estimation.impedance.starts import starts
from controller.estimation.table import FloatArray

STARTS: Final = 20
# A parameter whose 95 % interval spans more than this factor to either side says nothing but its
# order of magnitude. Assumed, 2-10.
IDENTIFIED_WITHIN: Final = 3.0
# Starts within this relative distance of the best cost reached the same minimum.
_SAME_COST: Final = 1e-6
# Two parameters correlated beyond this are told as one.
_CORRELATED: Final = 0.98
# A parameter this near a bound (of its logarithm) is held by it.
_AT_BOUND: Final = 1e-9
# Singular values below this share of the largest are none.
_RANK: Final = 1e-12
_TINY: Final = 1e-300
# Parallel groups with a time constant of their own.
_ARCS: Final = ([Kind.RESISTOR, Kind.CAPACITOR], [Kind.RESISTOR, Kind.CONSTANT_PHASE])


class Weights(StrEnum):
    """What a residual is divided by."""

    MODULUS = "modulus"  # |Z|
    UNIT = "unit"  # 1 Ohm
    PROPORTIONAL = "proportional"  # Re Z and Im Z, each by its own size
    STATED = "stated"  # the spectrum's own standard uncertainty


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A fitted parameter.

    Attributes
    ----------
    name, unit : str
    value : float
    u : float
        Standard uncertainty; infinite where the spectrum does not hold the parameter.
    low, high : float
        95 % interval, symmetric in the logarithm.
    identified : bool
    why_not : str
        Why it is not identified; empty where it is.
    """

    name: str
    unit: str
    value: float
    u: float
    low: float
    high: float
    identified: bool
    why_not: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """A circuit fitted to a spectrum.

    Attributes
    ----------
    circuit : Circuit
    weights : Weights
    estimates : tuple of Estimate
        In the order of the circuit's parameters. Like groups in series stand fast first.
    points, freedom : int
        Frequencies; degrees of freedom (two residuals a frequency less the parameters).
    cost : float
        Weighted sum of squares.
    relative_rms : float
        Root mean square of |residual| / |Z| over the frequencies, whatever the weights.
    aicc : float
        Akaike's criterion, corrected for few points; to compare circuits on the same points with
        the same weights only.
    correlated : tuple of (str, str, float)
        Pairs of parameters with |correlation| > 0.98.
    starts, starts_agreeing : int
        Starts tried, and how many ended in the best minimum.
    converged : bool
    """

    circuit: Circuit
    weights: Weights
    estimates: tuple[Estimate, ...]
    points: int
    freedom: int
    cost: float
    relative_rms: float
    aicc: float
    correlated: tuple[tuple[str, str, float], ...]
    starts: int
    starts_agreeing: int
    converged: bool

    @property
    def values(self) -> FloatArray:
        """Values in the order of the circuit's parameters."""
        return np.array([one.value for one in self.estimates])

    @property
    def identified(self) -> bool:
        """Whether every parameter is."""
        return self.converged and all(one.identified for one in self.estimates)


def fit(
    circuit: str | Circuit,
    spectrum: Spectrum,
    weights: Weights = Weights.MODULUS,
    *,
    start: Sequence[float] = (),
    count: int = STARTS,
) -> Fit:
    """Fit one circuit by least squares on real and imaginary parts.

    Parameters
    ----------
    circuit : str or Circuit
    spectrum : Spectrum
    weights : Weights
    start : sequence of float
        Values to begin from, beside the `count` starts that are read off the spectrum.
    count : int
        0 with `start`: from there only.

    Raises
    ------
    ConfigurationError
        Fewer residuals than parameters and one more, a start of another length or not positive,
        stated weights without stated uncertainties.
    """
    parsed = parse(circuit) if isinstance(circuit, str) else circuit
    size = len(parsed.parameters)
    freedom = 2 * spectrum.frequency_Hz.size - size
    if freedom < 1:
        raise refuse(
            spectrum.source,
            f"{spectrum.frequency_Hz.size} points",
            f"too few for the {size} parameters of {parsed.text}",
            "measure more frequencies or take a smaller circuit",
        )
    scale = _scale(spectrum, weights)
    model = _model(parsed, spectrum, scale)
    begin = starts(parsed, spectrum, count) if count else np.empty((0, size))
    if start:
        begin = np.vstack([_checked_start(parsed, start), begin])
    lowest, highest = (np.log([getattr(p, end) for p in parsed.parameters]) for end in _ENDS)
    found = minima(model, begin, lowest, highest)
    rested = _polished(model, found, lowest, highest)
    return _told(parsed, spectrum, weights, model, scale, rested)


_ENDS: Final = ("lowest", "highest")


def compare(
    circuits: Sequence[str], spectrum: Spectrum, weights: Weights = Weights.MODULUS
) -> tuple[Fit, ...]:
    """Fit each circuit that the spectrum has points for, smallest AICc first.

    Circuits that fit alike within two units of AICc are not told apart by the data.
    """
    parsed = [parse(text) for text in circuits]
    enough = [c for c in parsed if 2 * spectrum.frequency_Hz.size > len(c.parameters) + 2]
    fits = [fit(circuit, spectrum, weights) for circuit in enough]
    return tuple(sorted(fits, key=lambda one: one.aicc))


def without_inductive_top(spectrum: Spectrum) -> tuple[Spectrum, int]:
    """Return the spectrum from the first capacitive point on, and how many points that drops.

    Above it leads and holder act as an inductance that no circuit of the cell describes.
    """
    capacitive = np.flatnonzero(spectrum.impedance_Ohm.imag < 0.0)
    first = int(capacitive[0]) if capacitive.size else 0
    keep = np.arange(spectrum.frequency_Hz.size) >= first
    return spectrum.part(keep), first


def _polished(model: Model, found: Minima, lowest: FloatArray, highest: FloatArray) -> Minima:
    """Let the best start go on where it was cut off because others had come to rest before it."""
    best = int(np.argmin(found.costs))
    if found.converged[best]:
        return found
    on = minima(model, found.points[best : best + 1], lowest, highest)
    points, costs, converged = found.points.copy(), found.costs.copy(), found.converged.copy()
    points[best], costs[best], converged[best] = on.points[0], on.costs[0], on.converged[0]
    return Minima(points=points, costs=costs, converged=converged, steps=found.steps + on.steps)


def _checked_start(circuit: Circuit, start: Sequence[float]) -> FloatArray:
    names = [p.name for p in circuit.parameters]
    if len(start) != len(names):
        raise refuse("start", "", f"{len(start)} values for the {len(names)} of {names}")
    for name, value in zip(names, start, strict=True):
        if not (math.isfinite(value) and value > 0.0):
            raise refuse("start", name, f"{value!r} is not a positive number")
    return np.log(np.array(start, dtype=np.float64))


def _scale(spectrum: Spectrum, weights: Weights) -> FloatArray:
    """Return what residuals are multiplied by; real and imaginary parts in turns, shape (2 n,)."""
    z = spectrum.impedance_Ohm
    match weights:
        case Weights.MODULUS:
            size = np.repeat(np.abs(z), 2)
        case Weights.UNIT:
            size = np.ones(2 * z.size)
        case Weights.PROPORTIONAL:
            # A part near 0 would be all that counts: not below a thousandth of |Z|. Assumed.
            parts = np.abs(np.ascontiguousarray(z).view(np.float64))
            size = np.maximum(parts, 1e-3 * np.repeat(np.abs(z), 2))
        case Weights.STATED:
            if spectrum.u_Ohm is None:
                raise refuse(spectrum.source, "weights", "the spectrum states no uncertainty")
            size = np.repeat(spectrum.u_Ohm, 2)
        case _:
            assert_never(weights)
    return np.asarray(1.0 / size, dtype=np.float64)


def _model(circuit: Circuit, spectrum: Spectrum, scale: FloatArray) -> Model:
    grid = grid_of(circuit, spectrum.frequency_Hz)
    measured = spectrum.impedance_Ohm

    def model(logs: FloatArray) -> FloatArray:
        found = slopes_and_impedance(circuit, logs, grid)
        residuals = found[:, -1]
        residuals -= measured
        weighted = found.view(np.float64)
        weighted *= scale
        return weighted

    return model


# -- what is told of the minimum ------------------------------------------------------------------


def _told(
    circuit: Circuit,
    spectrum: Spectrum,
    weights: Weights,
    model: Model,
    scale: FloatArray,
    found: Minima,
) -> Fit:
    best = int(np.argmin(found.costs))
    logs = _fast_first(circuit, found.points[best])
    rows = model(logs[np.newaxis, :])[0]
    slopes, residuals = rows[:-1], rows[-1]
    count, size = residuals.size, logs.size
    cost = float(residuals @ residuals)
    freedom = count - size
    held = _held(circuit, logs)
    covariance = _covariance(slopes, held, cost, freedom, stated=weights is Weights.STATED)
    off_Ohm = (residuals / scale).view(np.complex128)
    relative = off_Ohm / np.abs(spectrum.impedance_Ohm)
    parameters = size + 1  # and the scatter
    penalty = 2.0 * parameters * count / max(count - parameters - 1, 1)
    return Fit(
        circuit=circuit,
        weights=weights,
        estimates=_estimates(circuit, logs, covariance, held, freedom),
        points=spectrum.frequency_Hz.size,
        freedom=freedom,
        cost=cost,
        relative_rms=math.sqrt(np.vecdot(relative, relative).real / relative.size),
        aicc=count * math.log(max(cost, 1e-300) / count) + penalty,
        correlated=_correlated(circuit, covariance),
        starts=found.costs.size,
        starts_agreeing=int(
            np.count_nonzero(found.costs <= found.costs[best] * (1.0 + _SAME_COST))
        ),
        converged=bool(found.converged[best]),
    )


def _held(circuit: Circuit, logs: FloatArray) -> list[bool]:
    """Return which parameters a bound holds."""
    return [
        log <= math.log(p.lowest) + _AT_BOUND or log >= math.log(p.highest) - _AT_BOUND
        for log, p in zip(logs.tolist(), circuit.parameters, strict=True)
    ]


def _covariance(
    slopes: FloatArray, held: list[bool], cost: float, freedom: int, *, stated: bool
) -> FloatArray:
    """Return the covariance of the logarithms; infinite where the Jacobian is blind.

    The scatter is taken from the residuals, except under stated uncertainties that it does not
    exceed. What a bound holds has none.
    """
    free = np.flatnonzero(~np.array(held))
    scatter = cost / freedom
    if stated:
        scatter = max(scatter, 1.0)
    seen = slopes[free]
    norms = np.sqrt(np.vecdot(seen, seen) + _TINY)
    _, singular, rows = np.linalg.svd((seen / norms[:, np.newaxis]).T, full_matrices=False)
    told = singular > _RANK * singular[:1]
    half = rows[told].T / (norms[:, np.newaxis] * singular[told])
    part = scatter * (half @ half.T)
    unseen = np.any(np.abs(rows[~told]) > 1e-3, axis=0)
    part[unseen, unseen] = np.inf
    covariance = np.zeros((len(held), len(held)))
    covariance[free[:, np.newaxis], free] = part
    return covariance


def _estimates(
    circuit: Circuit, logs: FloatArray, covariance: FloatArray, held: list[bool], freedom: int
) -> tuple[Estimate, ...]:
    found = []
    student = _student(freedom)
    variances = np.diagonal(covariance).tolist()
    for k, parameter in enumerate(circuit.parameters):
        value = math.exp(logs[k])
        u_log = math.sqrt(variances[k])
        reach = math.exp(min(student * u_log, 700.0))
        why = ""
        if held[k]:
            why = f"held at its bound {value:g}"
        elif reach > IDENTIFIED_WITHIN:
            why = f"95 % interval spans a factor of {reach:.3g} to either side"
        found.append(
            Estimate(
                name=parameter.name,
                unit=parameter.unit,
                value=value,
                u=value * u_log,
                low=max(parameter.lowest, value / reach),
                high=min(parameter.highest, value * reach),
                identified=not why,
                why_not=why,
            )
        )
    return tuple(found)


def _correlated(circuit: Circuit, covariance: FloatArray) -> tuple[tuple[str, str, float], ...]:
    u = np.sqrt(np.diagonal(covariance))
    known = (u > 0.0) & np.isfinite(u)
    size = np.where(known, u, np.inf)
    shares = np.where(np.isfinite(covariance), covariance, 0.0) / np.outer(size, size)
    return tuple(
        (circuit.parameters[j].name, circuit.parameters[i].name, float(shares[i, j]))
        for i, j in np.argwhere(np.abs(shares) > _CORRELATED).tolist()
        if j < i
    )


def _student(freedom: int) -> float:
    """Return Student's 97.5 % quantile (Abramowitz and Stegun 26.7.5; good to 1 % from 3 on)."""
    if freedom < 3:
        return (12.706, 4.303)[freedom - 1]
    z = 1.959964
    terms = (
        (z**3 + z) / 4.0,
        (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / 96.0,
        (3.0 * z**7 + 19.0 * z**5 + 17.0 * z**3 - 15.0 * z) / 384.0,
    )
    return z + math.fsum(term / float(freedom) ** (k + 1) for k, term in enumerate(terms))


def _fast_first(circuit: Circuit, logs: FloatArray) -> FloatArray:
    """Put like R-C and R-CPE groups that stand in series in order of their time constants.

    Which of two like groups is which means nothing; without an order the same spectrum would give
    the same parameters under changing names.
    """
    if not isinstance(circuit.root, Series):
        return logs
    ordered = logs.copy()
    for alike in _ARCS:
        groups = [part for part in circuit.root.parts if _kinds(part) == alike]
        blocks = sorted((logs[part.first : part.stop].tolist() for part in groups), key=_log_tau)
        for part, block in zip(groups, blocks, strict=True):
            ordered[part.first : part.stop] = block
    return ordered


def _kinds(node: Node) -> list[Kind]:
    """Return what a parallel group is made of; empty for what is not one of elements alone."""
    if not isinstance(node, Parallel):
        return []
    elements = [part for part in node.parts if isinstance(part, Element)]
    return [one.kind for one in elements] if len(elements) == len(node.parts) else []


def _log_tau(block: list[float]) -> float:
    """Return the logarithm of (R Q)^(1/alpha), of R C with a capacitor."""
    log_r, log_q, *log_alpha = block
    return (log_r + log_q) / math.exp(log_alpha[0]) if log_alpha else log_r + log_q
