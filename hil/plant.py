"""The port for a cell: what the emulated instruments need of it, and how a stranger's is found.

One required method, `step`; everything else is optional and makes the instruments better. A plant
is named ``MODULE:FACTORY``; the factory is called as ``factory(seed=..., temperature_K=...)``.
How to write one: `docs/plant-port.md`. Whether it keeps its word: ``python -m hil.plant_contract``.
"""

from __future__ import annotations

import importlib
import inspect
import json
import math
import pkgutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import reduce
from pathlib import Path
from typing import Any, Final, Protocol

from controller.domain.errors import ConfigurationError, InvariantError, nearest, refuse

VOLTAGE_RANGE_V: Final = (-1e4, 1e4)  # beyond: a plant that has left physics
TEMPERATURE_RANGE_K: Final = (0.0, 1e4)
TRIAL_STEP_S: Final = 1.0
SPELLING: Final = "MODULE:FACTORY, e.g. my_cells.coin:make"
OPTIONAL_METHODS: Final = ("terminal_voltage", "snapshot", "restore", "truth")
# What a stranger's code may raise when it is imported or called; shown as its own words.
FOREIGN_ERRORS: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    ImportError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)

Factory = Callable[..., Any]


class Plant(Protocol):
    """A cell as seen from its terminals. Charging current is positive.

    For a cell whose negative electrode is plated (all formats here) a positive current plates
    there. The voltage is that of the positive minus that of the negative terminal; it may be
    negative (Li||Cu, Li||Li). The same factory, seed and calls give the same numbers, bit for bit.

    Optional, found by name:

    ``terminal_voltage(current_A) -> float``
        Voltage (V) at once if this current flowed now; the state does not move. Right after `step`
        at the same current it returns what `step` returned.
    ``snapshot() -> object``, ``restore(snapshot) -> None``
        Both or neither. Everything that changes; the continuation after `restore` is bit-identical.
        A run can be resumed if the snapshot is plain data (numbers, text, lists, dicts); what was a
        list may come back as a tuple and the other way round.
    ``truth() -> dict[str, float | str | bool]``
        Hidden truth for tests and reports, plain data; units in the names.
    ``temperature_K``
        Attribute or property: temperature (K) now. Without it the ambient's is shown until the
        first step.
    """

    def step(self, current_A: float, dt_s: float, ambient_K: float) -> tuple[float, float]:
        """Pass a constant current (A) for a time (s) at an ambient temperature (K).

        Returns
        -------
        voltage_V, temperature_K : float
            At the end of the step, the current still flowing.
        """
        ...


class Regulation(StrEnum):
    """How well a constant voltage can be held on a plant."""

    IMPLICIT = "implicit"  # snapshot and restore: the end of each step is at the set voltage
    EXPLICIT = "explicit"  # terminal_voltage only: each step's end is foreseen, within 1 mV
    FROM_SLOPE = "from-slope"  # neither: current from the last slope, error reported


@dataclass(frozen=True, slots=True)
class PlantPort:
    """A plant and what it can do.

    Attributes
    ----------
    name : str
        As the user knows it: a preset, or ``MODULE:FACTORY``.
    plant : Plant
    terminal_voltage, snapshot, restore : callable or None
        The plant's own, where it has them.
    """

    name: str
    plant: Plant
    terminal_voltage: Callable[[float], float] | None
    snapshot: Callable[[], Any] | None
    restore: Callable[[Any], None] | None

    @property
    def regulation(self) -> Regulation:
        """How a constant voltage is held on it."""
        if self.snapshot is not None:
            return Regulation.IMPLICIT
        if self.terminal_voltage is not None:
            return Regulation.EXPLICIT
        return Regulation.FROM_SLOPE

    def temperature_K(self, otherwise_K: float) -> float:
        """Return the plant's temperature (K) where it tells, else the value given."""
        value = getattr(self.plant, "temperature_K", None)
        return otherwise_K if value is None or callable(value) else float(value)

    def truth(self) -> dict[str, float | str | bool]:
        """Return the plant's hidden truth; empty where it keeps none."""
        tell = getattr(self.plant, "truth", None)
        return {} if tell is None else dict(tell())

    def stored(self) -> Any:
        """Return the state as plain data, for a file.

        Raises
        ------
        ConfigurationError
            The plant has no snapshot, or one that is not plain data; with the reason.
        """
        if self.snapshot is None:
            raise refuse(
                f"plant {self.name}",
                "snapshot",
                "the plant has no snapshot and restore: its state cannot be kept",
                "start a new run; see docs/plant-port.md",
            )
        state = self.snapshot()
        try:
            json.dumps(state, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise refuse(
                f"plant {self.name}",
                "snapshot",
                f"is not plain data ({error}): its state cannot be kept in a file",
                "return numbers, text, lists and dicts, e.g. array.tolist()",
            ) from None
        return state

    def why_not_stored(self) -> str:
        """Return why a run on this plant cannot be resumed; empty where it can."""
        try:
            self.stored()
        except ConfigurationError as error:
            return error.faults[0].problem
        return ""

    def take_up(self, stored: Any, where: str) -> None:
        """Restore a state read from a file.

        Parameters
        ----------
        stored : object
            What `stored` gave, after a way through JSON.
        where : str
            The file, for the message.

        Raises
        ------
        ConfigurationError
            This plant cannot restore, or will not take what is in the file.
        """
        if self.restore is None:
            raise refuse(
                where,
                "cell",
                f"plant {self.name} has no snapshot and restore: it cannot be taken up again",
                "start a new run",
            )
        try:
            self.restore(tuple(stored) if isinstance(stored, list) else stored)
        except ConfigurationError:
            raise
        except FOREIGN_ERRORS as error:
            raise refuse(
                where, "cell", f"plant {self.name} does not take it: {_words(error)}"
            ) from error


def port_of(plant: Any, name: str = "") -> PlantPort:
    """Look at an object and say what it can do as a plant.

    Parameters
    ----------
    plant : object
    name : str
        For messages; the type's own where empty.

    Raises
    ------
    ConfigurationError
        No `step`, or only one of `snapshot` and `restore`.
    """
    label = name or type(plant).__name__
    methods = [one for one in dir(plant) if not one.startswith("_")]
    if not callable(getattr(plant, "step", None)):
        raise refuse(
            f"plant {label}",
            "step",
            f"{type(plant).__name__!r} object has no step(current_A, dt_s, ambient_K)",
            nearest("step", methods) if methods else "see docs/plant-port.md",
        )
    found = {one: _method(plant, one, label) for one in OPTIONAL_METHODS}
    if (found["snapshot"] is None) != (found["restore"] is None):
        has, lacks = (
            ("restore", "snapshot") if found["snapshot"] is None else ("snapshot", "restore")
        )
        raise refuse(f"plant {label}", lacks, f"is missing beside {has}", "both or neither")
    return PlantPort(
        name=label,
        plant=plant,
        terminal_voltage=found["terminal_voltage"],
        snapshot=found["snapshot"],
        restore=found["restore"],
    )


def load_plant(
    spelling: str,
    *,
    seed: int,
    temperature_K: float,
    where: str = "command line",
    key: str = "--plant",
) -> PlantPort:
    """Make the plant that ``MODULE:FACTORY`` names and try it, before anything is energised.

    Modules are looked for as Python does, and in the current folder.

    Parameters
    ----------
    spelling : str
    seed : int
        Makes one cell of many; the same seed gives the same cell.
    temperature_K : float
        Of cell and ambient at the start.
    where, key : str
        Where the spelling stands, for the message.

    Raises
    ------
    ConfigurationError
        No such module or factory, a factory that fails, no plant, or one that does not return two
        finite numbers.
    """
    factory = find_factory(spelling, where=where, key=key)
    port = _made(factory, spelling, seed, temperature_K, where, key)
    # Tried without moving it: back to the start, or on one that is thrown away.
    if port.snapshot is not None and port.restore is not None:
        start = port.snapshot()
        _try(port, temperature_K, where, key)
        port.restore(start)
    else:
        _try(_made(factory, spelling, seed, temperature_K, where, key), temperature_K, where, key)
    return port


def find_factory(spelling: str, *, where: str = "command line", key: str = "--plant") -> Factory:
    """Return the factory that ``MODULE:FACTORY`` names.

    Raises
    ------
    ConfigurationError
        Not so spelled, no such module, a module that cannot be imported, no such factory, or one
        that cannot be called with `seed` and `temperature_K`.
    """
    module_name, colon, attribute = spelling.partition(":")
    if not colon or not all(
        part.isidentifier() for name in (module_name, attribute) for part in name.split(".")
    ):
        raise refuse(where, key, f"{spelling!r} is not spelled MODULE:FACTORY", SPELLING)
    module = _module(module_name, spelling, where, key)
    try:
        factory = reduce(getattr, attribute.split("."), module)
    except AttributeError:
        names = [one for one, value in vars(module).items() if _offered(one, value)]
        raise refuse(
            where,
            key,
            f"{spelling!r}: module {module_name} has no {attribute!r}",
            nearest(attribute, names) if names else f"{module_name} defines nothing to call",
        ) from None
    if not callable(factory):
        raise refuse(where, key, f"{spelling!r} is {factory!r} and cannot be called", SPELLING)
    _check_signature(factory, spelling, where, key)
    found: Factory = factory
    return found


def checked(voltage_V: float, temperature_K: float, name: str, call: str) -> None:
    """Refuse what no cell can show.

    Raises
    ------
    InvariantError
        NaN, infinite or absurd; with the plant's name and the value.
    """
    if not VOLTAGE_RANGE_V[0] < voltage_V < VOLTAGE_RANGE_V[1]:
        raise InvariantError(f"plant {name}: voltage {voltage_V!r} V from {call}")
    if not TEMPERATURE_RANGE_K[0] < temperature_K < TEMPERATURE_RANGE_K[1]:
        raise InvariantError(f"plant {name}: temperature {temperature_K!r} K from {call}")


# -- finding -------------------------------------------------------------------------------------


def _method(plant: Any, name: str, label: str) -> Callable[..., Any] | None:
    found = getattr(plant, name, None)
    if found is None:
        return None
    if not callable(found):
        raise refuse(f"plant {label}", name, f"is {found!r} and cannot be called", "leave it out")
    method: Callable[..., Any] = found
    return method


def _module(name: str, spelling: str, where: str, key: str) -> Any:
    here = str(Path.cwd())
    if here not in sys.path:  # stays: the module may import its neighbours later
        sys.path.append(here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name + ".").startswith(error.name + "."):
            raise refuse(
                where, key, f"{spelling!r}: {name} needs the module {error.name!r}, not installed"
            ) from error
        raise refuse(
            where, key, f"{spelling!r}: no module {error.name!r}", _nearest_module(error.name)
        ) from None
    except FOREIGN_ERRORS as error:
        raise refuse(
            where, key, f"{spelling!r}: {name} cannot be imported: {_words(error)}"
        ) from error


def _nearest_module(name: str) -> str:
    """Return the nearest module beside the one that is missing."""
    parent, _, last = name.rpartition(".")
    path = getattr(sys.modules.get(parent), "__path__", None) if parent else [*sys.path, "."]
    words = [one.name for one in pkgutil.iter_modules(path)]
    close = nearest(last, words) if words else ""
    return close if close.startswith("did you mean") else SPELLING


def _offered(name: str, value: object) -> bool:
    return callable(value) and not name.startswith("_")


def _check_signature(factory: Factory, spelling: str, where: str, key: str) -> None:
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):  # a builtin tells nothing; calling it will
        return
    try:
        signature.bind(seed=0, temperature_K=298.15)
    except TypeError as error:
        raise refuse(
            where,
            key,
            f"{spelling!r} takes {signature}: {error}",
            "a factory is called as factory(seed=..., temperature_K=...)",
        ) from None


def _made(
    factory: Factory, spelling: str, seed: int, temperature_K: float, where: str, key: str
) -> PlantPort:
    try:
        plant = factory(seed=seed, temperature_K=temperature_K)
        return port_of(plant, spelling)
    except ConfigurationError as error:
        raise refuse(where, key, f"{spelling!r}: {error}") from error
    except FOREIGN_ERRORS as error:
        raise refuse(where, key, f"{spelling!r} failed: {_words(error)}") from error


def _try(port: PlantPort, temperature_K: float, where: str, key: str) -> None:
    """Take one step at rest and look at what comes back."""
    call = f"step(0.0, {TRIAL_STEP_S}, {temperature_K})"
    try:
        answer: object = port.plant.step(0.0, TRIAL_STEP_S, temperature_K)
        pair = _pair(answer)
        if pair is None:
            raise refuse(
                where,
                key,
                f"{port.name!r}: {call} returned {answer!r}",
                "a tuple of voltage_V and temperature_K",
            )
        checked(*pair, port.name, call)
        if port.terminal_voltage is not None:
            voltage_V = port.terminal_voltage(0.0)
            checked(voltage_V, temperature_K, port.name, "terminal_voltage(0.0)")
    except ConfigurationError:
        raise
    except InvariantError as error:
        raise refuse(
            where, key, str(error), "finite volts and kelvins at rest, from the start"
        ) from None
    except FOREIGN_ERRORS as error:
        raise refuse(where, key, f"{port.name!r}: {call} failed: {_words(error)}") from error


def _pair(answer: object) -> tuple[float, float] | None:
    if isinstance(answer, tuple) and len(answer) == 2:
        first, second = answer
        if isinstance(first, (int, float)) and isinstance(second, (int, float)):
            return first, second
    return None


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def plain_data(values: Mapping[Any, Any]) -> bool:
    """Return whether a truth is plain data: text keys; finite numbers, text, true or false."""
    return all(
        isinstance(key, str)
        and (
            isinstance(value, (bool, str))
            or (isinstance(value, (int, float)) and math.isfinite(value))
        )
        for key, value in values.items()
    )
