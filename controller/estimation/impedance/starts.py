"""Where a fit begins: parameters read off the spectrum, then varied with a fixed seed."""

from __future__ import annotations

import cmath
import math
from dataclasses import dataclass
from typing import Final, assert_never

import numpy as np

from controller.estimation.impedance.circuits import Circuit, Element, Kind, Node, Parallel
from controller.estimation.impedance.points import Spectrum
from controller.estimation.table import FloatArray

_SEED: Final = 20230601
# Exponent of a constant phase element: first start, and the least of the others.
_ALPHA: Final = 0.85
_LEAST_ALPHA: Final = 0.55
# Least resistance that an arc is given, as a share of |Z|.
_LEAST_SHARE: Final = 1e-3
# Finite diffusion's time constant, as a multiple of 1/w at the lowest frequency.
_LEAST_SLOWER, _MOST_SLOWER = 0.3, 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Size:
    """What an element is to be as large as: a resistance at an angular frequency."""

    resistance_Ohm: float
    omega: float
    alpha: float
    slower: float


def starts(circuit: Circuit, spectrum: Spectrum, count: int) -> FloatArray:
    """Return logarithms of starting values, shape (count, parameters).

    The ohmic part is the real part at the highest frequency, the arcs share the rest of the real
    part's span at frequencies spread over the measured ones, fast ones first, and what diverges
    towards low frequencies takes the imaginary part there. The first start spreads evenly, the
    others at random with a fixed seed: the same spectrum always gives the same starts.
    """
    chance = np.random.default_rng(_SEED)
    arcs = _arcs(circuit.root)
    rows = np.ones((count, len(circuit.parameters)))
    for turn in range(count):
        if turn == 0:
            spots = (np.arange(arcs) + 0.5) / max(arcs, 1)
            shares = np.full(arcs, 1.0 / max(arcs, 1))
            alphas, slower = np.full(arcs + 1, _ALPHA), 1.0
        else:
            spots = np.sort(chance.uniform(size=arcs))
            shares = chance.dirichlet(np.ones(arcs)) if arcs else np.empty(0)
            alphas = chance.uniform(_LEAST_ALPHA, 1.0, size=arcs + 1)
            slower = float(np.exp(chance.uniform(math.log(_LEAST_SLOWER), math.log(_MOST_SLOWER))))
        sizes = _sizes(spectrum, spots, shares, alphas, slower)
        top, low, *arc_sizes = sizes
        _fill(circuit.root, rows[turn], top, low, arc_sizes)
    lowest = np.array([p.lowest for p in circuit.parameters])
    highest = np.array([p.highest for p in circuit.parameters])
    return np.log(np.clip(rows, lowest, highest))


def _arcs(node: Node) -> int:
    """Count the parallel groups."""
    if isinstance(node, Element):
        return 0
    inside = sum(_arcs(part) for part in node.parts)
    return inside + (1 if isinstance(node, Parallel) else 0)


def _sizes(
    spectrum: Spectrum, spots: FloatArray, shares: FloatArray, alphas: FloatArray, slower: float
) -> list[_Size]:
    """Return the sizes of the high end, of the low end, and of each arc."""
    z = spectrum.impedance_Ohm
    omega = 2.0 * np.pi * spectrum.frequency_Hz
    floor = _LEAST_SHARE * float(np.max(np.abs(z)))
    span = max(float(np.max(z.real) - np.min(z.real)), floor)
    logs = np.log(omega[0]) + (np.log(omega[-1]) - np.log(omega[0])) * spots
    wanted = [
        (abs(float(z[0].real)), float(omega[0])),
        (-float(z[-1].imag), float(omega[-1])),
        *zip((span * shares).tolist(), np.exp(logs).tolist(), strict=True),
    ]
    every_alpha = [_ALPHA, *alphas.tolist()]
    return [
        _Size(resistance_Ohm=max(r, floor), omega=w, alpha=alpha, slower=slower)
        for (r, w), alpha in zip(wanted, every_alpha, strict=True)
    ]


def _fill(node: Node, values: FloatArray, top: _Size, low: _Size, arcs: list[_Size]) -> None:
    """Write starting values of what stands in series; `arcs` are taken in turn."""
    if isinstance(node, Element):
        at_top = node.kind in (Kind.RESISTOR, Kind.INDUCTOR)
        _fill_element(node, values, top if at_top else low)
    elif isinstance(node, Parallel):
        arc = arcs.pop(0)
        for part in node.parts:
            if isinstance(part, Element):
                _fill_element(part, values, arc)
            else:
                # In series within a branch: the arc's resistance, but the low end's diffusion.
                _fill(part, values, arc, low, arcs)
    else:
        for part in node.parts:
            _fill(part, values, top, low, arcs)


def _fill_element(node: Element, values: FloatArray, size: _Size) -> None:
    r, omega = size.resistance_Ohm, size.omega
    match node.kind:
        case Kind.RESISTOR:
            values[node.first] = r
        case Kind.CAPACITOR:
            values[node.first] = 1.0 / (omega * r)
        case Kind.INDUCTOR:
            values[node.first] = r / omega
        case Kind.CONSTANT_PHASE:
            values[node.first] = 1.0 / (r * omega**size.alpha)
            values[node.first + 1] = size.alpha
        case Kind.WARBURG:
            values[node.first] = r * math.sqrt(omega)
        case Kind.WARBURG_OPEN | Kind.WARBURG_SHORT:
            # As large an imaginary part at `omega` as asked for.
            s = cmath.sqrt(1j * size.slower)
            tanh = cmath.tanh(s)
            unit = (1.0 / tanh if node.kind is Kind.WARBURG_OPEN else tanh) / s
            values[node.first] = r / -unit.imag
            values[node.first + 1] = size.slower / omega
        case _:
            assert_never(node.kind)
