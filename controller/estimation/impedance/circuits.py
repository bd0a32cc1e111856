"""Equivalent circuits: the common notation, impedance and its derivatives.

``R0-p(R1,C1)-p(R2-Wo1,CPE2)``: ``-`` in series, ``p(,)`` in parallel. Elements and parameters as in
impedance.py (doi:10.21105/joss.02349), with s = sqrt(j w tau):

=====  =========================  ======================
R      R
C      1 / (j w C)
L      j w L
CPE    1 / (Q (j w)^alpha)        0 < alpha <= 1
W      A (1 - j) / sqrt(w)        semi-infinite diffusion
Wo     Z coth(s) / s              finite, reflecting end
Ws     Z tanh(s) / s              finite, open end
=====  =========================  ======================

Everything is computed for many sets of parameters at once; derivatives are with respect to the
logarithms of the parameters, which keeps them positive and of one size.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

import numpy as np

from controller.domain.errors import ConfigurationError, nearest, refuse
from controller.estimation.impedance.points import ComplexArray
from controller.estimation.table import FloatArray

_WHERE: Final = "circuit"
# Parameters outside these mean nothing for a cell; a fit stops there and says so. Assumed.
_LOWEST, _HIGHEST = 1e-12, 1e12
_LOWEST_ALPHA: Final = 0.1


class Kind(StrEnum):
    """What an element is."""

    RESISTOR = "R"
    CAPACITOR = "C"
    INDUCTOR = "L"
    CONSTANT_PHASE = "CPE"
    WARBURG = "W"
    WARBURG_OPEN = "Wo"
    WARBURG_SHORT = "Ws"


# Names and units of an element's parameters; a single one carries the element's own name.
_PARAMETERS: Final[dict[Kind, tuple[tuple[str, str], ...]]] = {
    Kind.RESISTOR: (("", "Ohm"),),
    Kind.CAPACITOR: (("", "F"),),
    Kind.INDUCTOR: (("", "H"),),
    Kind.CONSTANT_PHASE: ((".Q", "S s^alpha"), (".alpha", "")),
    Kind.WARBURG: (("", "Ohm s^-1/2"),),
    Kind.WARBURG_OPEN: ((".Z", "Ohm"), (".tau", "s")),
    Kind.WARBURG_SHORT: ((".Z", "Ohm"), (".tau", "s")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """A leaf; its parameters stand from index `first` on."""

    kind: Kind
    name: str
    first: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Impedances that add."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """Admittances that add."""

    parts: tuple[Node, ...]


Node = Element | Series | Parallel


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter's name, unit, and the values it may have."""

    name: str
    unit: str
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """A parsed circuit.

    Attributes
    ----------
    text : str
        In the common notation, without underscores and blanks.
    root : Node
    parameters : tuple of Parameter
        In the order in which they stand in `text`.
    """

    text: str
    root: Node
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """Powers of the frequency that the elements need, computed once; each of shape (n,)."""

    jw: ComplexArray
    log_jw: ComplexArray
    sqrt_jw: ComplexArray


def grid_of(frequency_Hz: FloatArray) -> Grid:
    """Return the grid of positive frequencies."""
    omega = 2.0 * np.pi * frequency_Hz
    return Grid(
        jw=(1j * omega).astype(np.complex128),
        log_jw=np.log(omega) + 0.5j * np.pi,
        sqrt_jw=np.sqrt(0.5 * omega) * (1.0 + 1.0j),
    )


def impedance(circuit: Circuit, values: FloatArray, frequency_Hz: FloatArray) -> ComplexArray:
    """Return the impedance (Ohm, shape (n,)) of one set of parameters, shape (p,)."""
    log_values = np.log(values)[np.newaxis, :]
    found: ComplexArray = impedance_and_slopes(circuit, log_values, grid_of(frequency_Hz))[0][0]
    return found


def impedance_and_slopes(
    circuit: Circuit, log_values: FloatArray, grid: Grid
) -> tuple[ComplexArray, ComplexArray]:
    """Return impedances and their derivatives by the logarithm of each parameter.

    Parameters
    ----------
    log_values : array, shape (s, p)
        Natural logarithms; `s` sets of parameters.
    grid : Grid
        Of `n` frequencies.

    Returns
    -------
    complex array, shape (s, n)
        Ohm.
    complex array, shape (s, p, n)
        Ohm.
    """
    slopes = np.empty((*log_values.shape, grid.jw.size), dtype=np.complex128)
    z = _of_node(circuit.root, log_values, np.exp(log_values), grid, slopes)
    if z.shape[1] != grid.jw.size:  # of resistances alone
        z = np.repeat(z, grid.jw.size, axis=1)
    return z, slopes


def _of_node(
    node: Node, logs: FloatArray, values: FloatArray, grid: Grid, slopes: ComplexArray
) -> ComplexArray:
    match node:
        case Element():
            return _of_element(node, logs, values, grid, slopes)
        case Series():
            total = _of_node(node.parts[0], logs, values, grid, slopes)
            for part in node.parts[1:]:
                total = total + _of_node(part, logs, values, grid, slopes)
            return total
        case Parallel():
            return _of_parallel(node, logs, values, grid, slopes)
    assert_never(node)


def _of_parallel(
    node: Parallel, logs: FloatArray, values: FloatArray, grid: Grid, slopes: ComplexArray
) -> ComplexArray:
    """Z = 1 / sum(1/Zi), dZ = sum (Z/Zi)^2 dZi."""
    each = [1.0 / _of_node(part, logs, values, grid, slopes) for part in node.parts]
    total: ComplexArray = 1.0 / functools.reduce(np.add, each)
    for part, admittance in zip(node.parts, each, strict=True):
        first, stop = _span(part)
        share = total * admittance
        slopes[:, first:stop] *= (share * share)[:, np.newaxis]
    return total


def _span(node: Node) -> tuple[int, int]:
    """Return from where to where a node's parameters stand."""
    if isinstance(node, Element):
        return node.first, node.first + len(_PARAMETERS[node.kind])
    return _span(node.parts[0])[0], _span(node.parts[-1])[1]


def _of_element(
    node: Element, logs: FloatArray, values: FloatArray, grid: Grid, slopes: ComplexArray
) -> ComplexArray:
    first = values[:, node.first, np.newaxis]
    match node.kind:
        case Kind.RESISTOR:
            z: ComplexArray = first.astype(np.complex128)  # alike at all frequencies
            slopes[:, node.first] = z
        case Kind.CAPACITOR:
            z = 1.0 / (first * grid.jw)
            slopes[:, node.first] = -z
        case Kind.INDUCTOR:
            z = first * grid.jw
            slopes[:, node.first] = z
        case Kind.WARBURG:
            # (1 - j) / sqrt(w) = sqrt(2) / sqrt(j w)
            z = (math.sqrt(2.0) * first) / grid.sqrt_jw
            slopes[:, node.first] = z
        case Kind.CONSTANT_PHASE:
            exponent = values[:, node.first + 1, np.newaxis] * grid.log_jw
            z = np.exp(-logs[:, node.first, np.newaxis] - exponent)
            slopes[:, node.first] = -z
            slopes[:, node.first + 1] = -z * exponent
        case Kind.WARBURG_OPEN | Kind.WARBURG_SHORT:
            return _of_finite_warburg(node, values, grid, slopes)
        case _:
            assert_never(node.kind)
    return z


def _of_finite_warburg(
    node: Element, values: FloatArray, grid: Grid, slopes: ComplexArray
) -> ComplexArray:
    """Z g(s)/s with g = coth or tanh; dZ/d(log tau) = Z/2 (g' - g/s), g' = 1 - g^2.

    tanh(s) = (1 - e)/(1 + e) with e = exp(-2 s): Re(s) > 0, so nothing overflows where the
    hyperbolic functions would, and expm1 keeps the digits where s is small.
    """
    z0 = values[:, node.first, np.newaxis]
    s = np.sqrt(values[:, node.first + 1, np.newaxis]) * grid.sqrt_jw
    away = np.expm1(-2.0 * s)
    g = -away / (2.0 + away)
    if node.kind is Kind.WARBURG_OPEN:
        g = 1.0 / g
    z: ComplexArray = z0 * g / s
    slopes[:, node.first] = z
    slopes[:, node.first + 1] = 0.5 * (z0 * (1.0 - g * g) - z)
    return z


# -- the notation ---------------------------------------------------------------------------------

_NAME: Final = re.compile(r"([A-Za-z]+)_?(\d*)")


@functools.lru_cache(maxsize=64)
def parse(text: str) -> Circuit:
    """Return the circuit that `text` describes.

    Parameters
    ----------
    text : str
        E.g. ``R0-p(R1,CPE1)-Wo1`` or, the same, ``R_0-p(R_1,CPE_1)-Wo_1``.

    Raises
    ------
    ConfigurationError
        An unknown element, a name that stands twice, a bracket or comma out of place; says where.
    """
    reader = _Reader(text.replace(" ", ""))
    root = reader.series()
    reader.expect_end()
    return Circuit(text=reader.canonical(root), root=root, parameters=tuple(reader.parameters))


class _Reader:
    """Recursive descent over the tokens of one circuit."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._names: set[str] = set()
        self.parameters: list[Parameter] = []

    def series(self) -> Node:
        parts = [self._part()]
        while self._take("-"):
            parts.append(self._part())
        return parts[0] if len(parts) == 1 else Series(parts=tuple(parts))

    def expect_end(self) -> None:
        if self._at < len(self._text):
            raise self._wrong(f"{self._text[self._at :]!r} is left over")

    def canonical(self, node: Node) -> str:
        match node:
            case Element():
                return node.name
            case Series():
                return "-".join(self.canonical(part) for part in node.parts)
            case Parallel():
                return "p(" + ",".join(self.canonical(part) for part in node.parts) + ")"
        assert_never(node)

    def _part(self) -> Node:
        if not self._take("p("):
            return self._element()
        parts = [self.series()]
        while self._take(","):
            parts.append(self.series())
        if not self._take(")"):
            raise self._wrong("',' or ')' expected")
        if len(parts) < 2:
            raise self._wrong("p() needs two branches or more")
        return Parallel(parts=tuple(parts))

    def _element(self) -> Element:
        found = _NAME.match(self._text, self._at)
        if found is None:
            raise self._wrong("an element or p( expected")
        word, number = found.groups()
        name = word + number
        try:
            kind = Kind(word)
        except ValueError:
            choices = [one.value for one in Kind]
            raise self._wrong(f"unknown element {word!r}", nearest(word, choices)) from None
        if name in self._names:
            raise self._wrong(f"{name} stands twice", "number every element of a kind")
        self._names.add(name)
        self._at = found.end()
        element = Element(kind=kind, name=name, first=len(self.parameters))
        for ending, unit in _PARAMETERS[kind]:
            share = ending == ".alpha"
            self.parameters.append(
                Parameter(
                    name=name + ending,
                    unit=unit,
                    lowest=_LOWEST_ALPHA if share else _LOWEST,
                    highest=1.0 if share else _HIGHEST,
                )
            )
        return element

    def _take(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def _wrong(self, problem: str, remedy: str = "") -> ConfigurationError:
        return refuse(_WHERE, f"{self._text!r}, character {self._at + 1}", problem, remedy)
