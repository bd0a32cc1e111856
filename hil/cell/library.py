"""Cells from files: an electrolyte family, a cathode and an assembly make the parameters.

The files under `data/` state for each value its range, its basis and its source. A user's own cell
is one more file of kind ``cell``; it may override any value of its family or cathode.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeGuard

import numpy as np

from controller.domain.cell import ON_COPPER, CellFormat
from controller.domain.errors import ConfigurationError, Fault, FaultsIn, nearest, refuse
from hil.cell.parameters import PARAMETER_NAMES, CellParameters

SCHEMA: Final = 1
BASES: Final = ("P", "Pr", "C", "R", "D", "M", "assumed")
_KINDS: Final = {"family": "families", "cathode": "cathodes", "cell": "cells"}
# What a cell with a lithium positive electrode has for a cathode: nothing, in numbers that pass.
_NO_CATHODE: Final = "nmc811"


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """One number of a parameter file.

    `basis` is ``P`` primary paper, ``Pr`` press, ``C`` public code, ``R`` review only, ``D``
    derived, ``M`` remembered and not checked, or ``assumed``; `low` to `high` is what is accepted
    as sensible and what populations are drawn from.
    """

    value: float
    low: float
    high: float
    basis: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CellFile:
    """A cell as its file describes it, with everything it takes from family and cathode."""

    where: str
    name: str
    title: str
    format: CellFormat
    family: str
    cathode: str
    values: Mapping[str, Value]
    scatter: Mapping[str, tuple[float, float]]

    def parameters(self, seed: int = 0) -> CellParameters:
        """Return the parameters of one cell of this kind.

        Parameters
        ----------
        seed : int
            Cell-to-cell scatter; the same seed is the same cell, 0 the nominal one.
        """
        numbers = {name: one.value for name, one in self.values.items()}
        if seed:
            generator = np.random.default_rng([seed, 811])
            for name, (low, high) in self.scatter.items():
                numbers[name] = float(generator.uniform(low, high))
        try:
            return CellParameters(**numbers)
        except ConfigurationError as error:
            raise ConfigurationError(
                [
                    Fault(
                        where=self.where, key=one.key, problem=one.problem, remedy=self._remedy(one)
                    )
                    for one in error.faults
                ]
            ) from None

    def _remedy(self, fault: Fault) -> str:
        value = self.values.get(fault.key)
        if fault.remedy or value is None:
            return fault.remedy
        return f"sensible: {value.low:g} to {value.high:g}"


def cell_names() -> list[str]:
    """Return the names of the built-in cells."""
    return sorted(_names("cell"))


@cache
def load_cell(name: str) -> CellFile:
    """Return a built-in cell by name, or one from a TOML file by path.

    Raises
    ------
    ConfigurationError
        No such cell; a file that cannot be read; every wrong key or value in it.
    """
    if name.endswith(".toml"):
        path = Path(name)
        try:
            text = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise refuse(name, "", f"cannot be read: {error}") from None
        return parse_cell(text, name)
    text = _built_in("cell", name, "cell", "preset")
    return parse_cell(text, f"{name}.toml")


def parse_cell(text: str, where: str) -> CellFile:
    """Read the text of a cell file. Raises as `load_cell`."""
    raw = _document(text, where, "cell")
    faults = FaultsIn(where)
    cell_format = _format(raw, where)
    family = str(raw.get("family", ""))
    values = dict(load_values("family", family, where))
    cathode = str(raw.get("cathode", ""))
    lithium = cell_format in (CellFormat.LI_CU, CellFormat.LI_LI)
    if lithium and cathode:
        faults.add("cathode", f"{cell_format.value} has none", "leave it out")
    values |= load_values("cathode", _NO_CATHODE if lithium else cathode, where)
    own = _values(raw.get("values", {}), faults)
    values |= own
    values["positive_is_lithium"] = _derived(1.0 if lithium else 0.0)
    if lithium:
        values["cathode_host_mAh"] = _derived(0.0)
    else:
        values.setdefault("positive_foil_mAh", _derived(0.0))
    values.setdefault("short_at_start", _derived(0.0))
    missing = [name for name in PARAMETER_NAMES if name not in values]
    for name in missing:
        faults.add(f"values.{name}", "missing", "give it")
    scatter = _scatter(raw.get("scatter", {}), faults)
    if faults:
        raise ConfigurationError(faults)
    _agree(cell_format, values, where)
    return CellFile(
        where=where,
        name=str(raw.get("name", where)),
        title=str(raw.get("title", "")),
        format=cell_format,
        family=family,
        cathode=cathode,
        values=values,
        scatter=scatter,
    )


@cache
def load_values(kind: str, name: str, where: str) -> Mapping[str, Value]:
    """Return the values of a family or cathode file."""
    text = _built_in(kind, name, where, kind)
    file = f"{name}.toml"
    faults = FaultsIn(file)
    values = _values(_document(text, file, kind).get("values", {}), faults)
    if faults:
        raise ConfigurationError(faults)
    return values


def _derived(number: float) -> Value:
    return Value(value=number, low=number, high=number, basis="D", source="the cell's format")


def _names(kind: str) -> list[str]:
    folder = resources.files("hil.cell").joinpath("data", _KINDS[kind])
    return [one.name[: -len(".toml")] for one in folder.iterdir() if one.name.endswith(".toml")]


def _built_in(kind: str, name: str, where: str, key: str) -> str:
    if name not in _names(kind):
        problem = f"unknown {name!r}" if name else "missing"
        raise refuse(where, key, problem, nearest(name, sorted(_names(kind))))
    folder = resources.files("hil.cell").joinpath("data", _KINDS[kind])
    return folder.joinpath(f"{name}.toml").read_text("utf-8")


def _document(text: str, where: str, kind: str) -> dict[str, Any]:
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise refuse(where, "", f"not TOML: {error}") from None
    if raw.get("schema") != SCHEMA:
        raise refuse(where, "schema", f"is {raw.get('schema')!r}", f"schema = {SCHEMA}")
    if raw.get("kind") != kind:
        raise refuse(where, "kind", f"is {raw.get('kind')!r}", f'kind = "{kind}"')
    return raw


def _format(raw: Mapping[str, Any], where: str) -> CellFormat:
    word = str(raw.get("format", ""))
    choices = [one.value for one in CellFormat if one is not CellFormat.FULL_CELL]
    if word not in choices:
        raise refuse(where, "format", f"{word!r} cannot be simulated", nearest(word, choices))
    return CellFormat(word)


def _values(raw: object, faults: FaultsIn) -> dict[str, Value]:
    """Read values: a bare number, or a table of value, range, basis and source."""
    if not isinstance(raw, dict):
        faults.add("values", "is no table")
        return {}
    found = {}
    for name, given in raw.items():
        if name not in PARAMETER_NAMES:
            faults.add(f"values.{name}", "no such value", nearest(name, PARAMETER_NAMES))
            continue
        value = _value(given)
        if value is None:
            faults.add(
                f"values.{name}",
                f"{given!r} is neither a number nor value, range, basis and source",
                f"basis one of {', '.join(BASES)}",
            )
            continue
        found[name] = value
    return found


def _value(given: object) -> Value | None:
    if _is_number(given):
        number = float(given)
        return Value(value=number, low=number, high=number, basis="assumed", source="given bare")
    if not isinstance(given, dict) or set(given) != {"value", "range", "basis", "source"}:
        return None
    ends = given["range"]
    if not (isinstance(ends, list) and len(ends) == 2 and all(map(_is_number, ends))):
        return None
    value = given["value"]
    if not _is_number(value) or not ends[0] <= value <= ends[1] or given["basis"] not in BASES:
        return None
    return Value(
        value=float(value),
        low=float(ends[0]),
        high=float(ends[1]),
        basis=str(given["basis"]),
        source=str(given["source"]),
    )


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _scatter(raw: object, faults: FaultsIn) -> dict[str, tuple[float, float]]:
    found = {}
    for name, ends in raw.items() if isinstance(raw, dict) else ():
        if name not in PARAMETER_NAMES:
            faults.add(f"scatter.{name}", "no such value", nearest(name, PARAMETER_NAMES))
        elif not (isinstance(ends, list) and len(ends) == 2 and ends[0] <= ends[1]):
            faults.add(f"scatter.{name}", f"{ends!r} is no [low, high]")
        else:
            found[name] = (float(ends[0]), float(ends[1]))
    return found


def _agree(cell_format: CellFormat, values: Mapping[str, Value], where: str) -> None:
    """Refuse an assembly that is not what its format says."""
    foil_mAh = values["negative_foil_mAh"].value
    without = cell_format in ON_COPPER
    if without and foil_mAh > 0.0:
        raise refuse(
            where,
            "values.negative_foil_mAh",
            f"{foil_mAh:g}: {cell_format.value} begins on Cu",
            "0",
        )
    if not without and not foil_mAh > 0.0:
        raise refuse(
            where,
            "values.negative_foil_mAh",
            f"{foil_mAh:g}: {cell_format.value} begins with lithium",
            "4.85 um are 1 mAh/cm2",
        )


def _parameters(name: str, seed: int = 0) -> CellParameters:
    return load_cell(name).parameters(seed)


PRESETS: Final[Mapping[str, Callable[[int], CellParameters]]] = {
    name: partial(_parameters, name) for name in cell_names()
}


def anode_free_nmc811(seed: int = 0) -> CellParameters:
    """Return the default cell, Cu||NMC811 without lithium at the anode, scattered by seed."""
    return _parameters("anode-free", seed)


def excess_lithium_nmc811(seed: int = 0) -> CellParameters:
    """Return Li||NMC811 with 50 um of lithium foil on the negative side."""
    return _parameters("excess-lithium", seed)
