"""Cells drawn at random over the ranges that their files state, by seed.

A draw is for tests, effects and reports: which class a cell belongs to is part of the hidden truth.
Each value has its own stream, so that a new value in a file leaves the others' draws as they are.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from controller.domain.errors import nearest, refuse
from hil.cell.library import CellFile, Value, load_values
from hil.cell.parameters import CellParameters

WIDE: Final = 5.0  # a range that spans more than this is drawn evenly in the logarithm
# Not drawn: which equation holds, and what is in the cell or not at all.
SWITCHES: Final = frozenset(
    {
        "additive_factor",
        "cathode_kind",
        "marcus_eV",
        "mediator_per_h",
        "mediator_potential_V",
        "mediator_shuttle_mA_per_cm2",
        "pressure_mode",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellClass:
    """A region of parameters.

    Attributes
    ----------
    meaning : str
    region : mapping of str to (float, float)
        Ranges that take the place of the files'.
    """

    meaning: str
    region: Mapping[str, tuple[float, float]]


CLASSES: Final[Mapping[str, CellClass]] = MappingProxyType(
    {
        "any": CellClass(meaning="all ranges as the files state them", region={}),
        "responsive": CellClass(
            meaning="a rest and a fast strip both return a good part of fresh inactive lithium",
            region={
                "dissolvable_share": (0.2, 0.6),
                "reachable_share": (0.25, 0.6),
                "dissolution_h": (0.5, 6.0),
                "fast_strip_gain": (0.3, 0.75),
            },
        ),
        "weakly responsive": CellClass(
            meaning="both return something, near what can be resolved",
            region={
                "dissolvable_share": (0.05, 0.2),
                "reachable_share": (0.02, 0.1),
                "fast_strip_gain": (0.02, 0.1),
            },
        ),
        "null": CellClass(
            meaning="inactive lithium stays inactive, whatever is done",
            region={"reachable_share": (0.0, 0.0), "fast_strip_gain": (0.0, 0.0)},
        ),
        "hostile": CellClass(
            meaning="a fast strip isolates more lithium, fast plating soon shorts the cell, and "
            "nothing comes back",
            region={
                "reachable_share": (0.0, 0.0),
                "fast_strip_gain": (0.0, 0.0),
                "inactive_optimum_mA_per_cm2": (0.5, 0.8),
                "inactive_curvature": (1.0, 2.0),
                "short_hazard_per_mAh_per_cm2": (1e-3, 1e-2),
                "short_mA_per_cm2": (1.0, 2.0),
                "short_power": (3.0, 4.0),
            },
        ),
    }
)


def class_of(name: str) -> CellClass:
    """Return a class by name.

    Raises
    ------
    ConfigurationError
        No such class.
    """
    if name not in CLASSES:
        raise refuse("draw", "class", f"unknown {name!r}", nearest(name, list(CLASSES)))
    return CLASSES[name]


@functools.lru_cache(maxsize=4096)
def drawn_values(
    family: str, cathode: str, seed: int, cell_class: str = "any"
) -> Mapping[str, float]:
    """Return the drawn values of an electrolyte family and a cathode.

    Parameters
    ----------
    family, cathode : str
        Of built-in files; an empty cathode for a cell that has none.
    seed : int
        The same seed is the same cell, in every family where the ranges are the same.
    cell_class : str
        One of `CLASSES`.

    Raises
    ------
    ConfigurationError
        No such class, family or cathode.
    """
    region = class_of(cell_class).region
    stated: dict[str, Value] = dict(load_values("family", family, "draw"))
    if cathode:
        stated |= load_values("cathode", cathode, "draw")
    found = {}
    for name, value in stated.items():
        if name in region:
            found[name] = draw_between(name, *region[name], seed)
        elif name not in SWITCHES and value.high > value.low:
            found[name] = draw_between(name, value.low, value.high, seed)
    return MappingProxyType(found)


def draw_between(name: str, low: float, high: float, seed: int) -> float:
    """Return one draw: evenly, in the logarithm where the range is positive and wide."""
    share = float(np.random.default_rng([seed, zlib.crc32(name.encode())]).random())
    if low > 0.0 and high > WIDE * low:
        return float(low * math.exp(share * math.log(high / low)))
    return low + share * (high - low)


def draw_cell(cell: CellFile, seed: int, cell_class: str = "any") -> CellParameters:
    """Return the parameters of a cell with family and cathode drawn; its assembly is as stated.

    Raises
    ------
    ConfigurationError
        No such class.
    """
    numbers = {name: one.value for name, one in cell.values.items()}
    drawn = drawn_values(cell.family, cell.cathode, seed, cell_class)
    return CellParameters(**{**numbers, **drawn})
