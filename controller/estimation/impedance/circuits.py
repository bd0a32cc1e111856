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
from collections.abc import Iterator
from dataclasses import dataclass, field
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
_QUARTER_TURN: Final = 0.5j * math.pi  # ln j


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


# The elements that are c theta^k (j w)^e: k, e (a constant phase element's is -alpha), ln c.
# Warburg's (1 - j) / sqrt(w) is sqrt(2) / sqrt(j w).
_POWERS: Final[dict[Kind, tuple[float, float, float]]] = {
    Kind.RESISTOR: (1.0, 0.0, 0.0),
    Kind.CAPACITOR: (-1.0, -1.0, 0.0),
    Kind.INDUCTOR: (1.0, 1.0, 0.0),
    Kind.CONSTANT_PHASE: (-1.0, 0.0, 0.0),
    Kind.WARBURG: (1.0, -0.5, 0.5 * math.log(2.0)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Element:
    """A leaf; its parameters stand from index `first` to before `stop`."""

    kind: Kind
    name: str
    first: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Impedances that add; their parameters stand from index `first` to before `stop`."""

    parts: tuple[Node, ...]
    first: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel:
    """Admittances that add; their parameters stand from index `first` to before `stop`."""

    parts: tuple[Node, ...]
    first: int
    stop: int


Node = Element | Series | Parallel


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A parameter's name, unit, and the values it may have."""

    name: str
    unit: str
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """What is added up to the row `first`, and whether the sum's inverse is what is to be added.

    Its parameters stand from index `first` to before `stop`.
    """

    first: int
    others: tuple[int, ...]
    stop: int
    inverted: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Powers:
    """The elements as powers of j w, one row per parameter.

    An element's first row is its impedance, in a parallel group its admittance, with every sign
    turned but `signs`; a constant phase element's second is the same times alpha.

    Attributes
    ----------
    by_log, by_alpha : array, shape (p, p)
        How the row's logarithm grows with the parameters' logarithms (k), its exponent with their
        values.
    constant, fixed : array, shape (p,)
        ln c and what of the exponent does not depend on parameters.
    signs : array, shape (p, 1)
        k, whether impedance or admittance.
    alphas : tuple of int
        Rows of the exponents of constant phase elements.
    finite : tuple of (Element, bool)
        Warburg elements with an end, which are no powers, and whether as an admittance.
    groups : tuple of Group
        Inner ones first; the last is the whole circuit.
    """

    by_log: FloatArray
    by_alpha: FloatArray
    constant: FloatArray
    fixed: FloatArray
    signs: FloatArray
    alphas: tuple[int, ...]
    finite: tuple[tuple[Element, bool], ...]
    groups: tuple[Group, ...]


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
    powers : Powers
        `root` as arrays.
    """

    text: str
    root: Node
    parameters: tuple[Parameter, ...]
    powers: Powers = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grid:
    """What a circuit needs of the frequencies, computed once.

    Attributes
    ----------
    log_w, sqrt_jw : array, shape (n,)
    slopes : complex array, shape (p, n)
        What a row of the powers is multiplied by for the slope of its parameter: k, for a constant
        phase element's exponent -ln(j w).
    """

    log_w: FloatArray
    sqrt_jw: ComplexArray
    slopes: ComplexArray


def grid_of(circuit: Circuit, frequency_Hz: FloatArray) -> Grid:
    """Return the grid of positive frequencies."""
    omega = 2.0 * np.pi * frequency_Hz
    log_w = np.log(omega)
    slopes = np.repeat(circuit.powers.signs.astype(np.complex128), omega.size, axis=1)
    slopes[circuit.powers.alphas, :] *= log_w + _QUARTER_TURN
    return Grid(log_w=log_w, sqrt_jw=np.sqrt(0.5 * omega) * (1.0 + 1.0j), slopes=slopes)


def impedance(circuit: Circuit, values: FloatArray, frequency_Hz: FloatArray) -> ComplexArray:
    """Return the impedance (Ohm, shape (n,)) of one set of parameters, shape (p,)."""
    grid = grid_of(circuit, frequency_Hz)
    found: ComplexArray = slopes_and_impedance(circuit, np.log(values)[np.newaxis, :], grid)[0, -1]
    return found


def slopes_and_impedance(circuit: Circuit, log_values: FloatArray, grid: Grid) -> ComplexArray:
    """Return derivatives by the logarithm of each parameter and, in the last row, impedances.

    Every element but the finite Warburgs is c theta^k (j w)^e. So all of them come from one
    exponential of real numbers, those in a parallel group as admittances, which are to be added
    there. Slopes are k times the element's own value (times alpha ln(j w) for an exponent): an
    inversion on the way to the whole circuit turns their sign, as the admittance had turned it.

    Parameters
    ----------
    log_values : array, shape (s, p)
        Natural logarithms; `s` sets of parameters.
    grid : Grid
        Of this circuit and `n` frequencies.

    Returns
    -------
    complex array, shape (s, p + 1, n)
        Ohm.
    """
    powers = circuit.powers
    values = np.exp(log_values)
    exponents = np.dot(values, powers.by_alpha)
    exponents += powers.fixed
    factors = np.dot(log_values, powers.by_log)
    factors += powers.constant
    logs = exponents[:, :, np.newaxis] * grid.log_w
    logs += factors[:, :, np.newaxis]
    turns = np.exp(_QUARTER_TURN * exponents)
    immittances = np.exp(logs, out=logs) * turns[:, :, np.newaxis]
    found = np.empty((len(values), values.shape[1] + 1, grid.log_w.size), dtype=np.complex128)
    slopes = np.multiply(immittances, grid.slopes, out=found[:, :-1])
    for element, inverted in powers.finite:
        _finite_warburg(element, values, grid, immittances, slopes, inverted=inverted)
    found[:, -1] = _added_up(powers, immittances, slopes)
    return found


def _added_up(powers: Powers, immittances: ComplexArray, slopes: ComplexArray) -> ComplexArray:
    """Return the whole circuit's impedance and lead the slopes up to it; `immittances` are used up.

    Y = 1 / Z has dY = -Z^-2 dZ; the sign is in the slopes already.
    """
    for group in powers.groups:
        total = immittances[:, group.first]
        for other in group.others:
            total += immittances[:, other]
        if group.inverted:
            np.reciprocal(total, out=total)
            led = slopes[:, group.first : group.stop]
            led *= (total * total)[:, np.newaxis]
    return immittances[:, 0]


def _finite_warburg(
    node: Element,
    values: FloatArray,
    grid: Grid,
    immittances: ComplexArray,
    slopes: ComplexArray,
    *,
    inverted: bool,
) -> None:
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
    if inverted:
        z = 1.0 / z
        slopes[:, node.first : node.first + 2] *= (z * z)[:, np.newaxis]
    immittances[:, node.first] = z


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
    parameters = tuple(reader.parameters)
    return Circuit(
        text=reader.canonical(root),
        root=root,
        parameters=parameters,
        powers=_powers_of(root, len(parameters)),
    )


def _powers_of(root: Node, size: int) -> Powers:
    by_log, by_alpha = np.zeros((size, size)), np.zeros((size, size))
    constant, fixed, signs = np.zeros(size), np.zeros(size), np.zeros((size, 1))
    alphas, finite = [], []
    for element, inverted in _elements(root):
        if element.kind not in _POWERS:
            finite.append((element, inverted))
            continue
        k, exponent, log_c = _POWERS[element.kind]
        turned = -1.0 if inverted else 1.0
        rows = slice(element.first, element.stop)
        by_log[element.first, rows] = turned * k
        constant[rows] = turned * log_c
        fixed[rows] = turned * exponent
        signs[rows] = k
        if element.kind is Kind.CONSTANT_PHASE:
            alphas.append(element.first + 1)
            by_alpha[element.first + 1, rows] = -turned
            by_log[element.first + 1, element.first + 1] = 1.0
    return Powers(
        by_log=by_log,
        by_alpha=by_alpha,
        constant=constant,
        fixed=fixed,
        signs=signs,
        alphas=tuple(alphas),
        finite=tuple(finite),
        groups=tuple(_groups(root)),
    )


def _elements(node: Node, *, inverted: bool = False) -> Iterator[tuple[Element, bool]]:
    """Give each element and whether its admittance is what is to be added."""
    if isinstance(node, Element):
        yield node, inverted
        return
    for part in node.parts:
        yield from _elements(part, inverted=isinstance(node, Parallel))


def _groups(node: Node, *, inverted: bool = False) -> Iterator[Group]:
    """Give each group, inner ones first; `inverted`: an admittance is what is to be added."""
    if isinstance(node, Element):
        return
    inside = isinstance(node, Parallel)
    for part in node.parts:
        yield from _groups(part, inverted=inside)
    others = tuple(part.first for part in node.parts[1:])
    yield Group(first=node.first, others=others, stop=node.stop, inverted=inside is not inverted)


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
        if len(parts) == 1:
            return parts[0]
        return Series(parts=tuple(parts), first=parts[0].first, stop=parts[-1].stop)

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
        return Parallel(parts=tuple(parts), first=parts[0].first, stop=parts[-1].stop)

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
        first = len(self.parameters)
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
        return Element(kind=kind, name=name, first=first, stop=len(self.parameters))

    def _take(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def _wrong(self, problem: str, remedy: str = "") -> ConfigurationError:
        return refuse(_WHERE, f"{self._text!r}, character {self._at + 1}", problem, remedy)
