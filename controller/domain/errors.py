"""Errors by what the reader can do about them.

A limit violation is a verdict, never an exception (`controller.domain.verdict`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches


class ReactivationError(Exception):
    """Base of every error this project raises on purpose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong in what the user gave.

    Attributes
    ----------
    where : str
        File (or "command line") in which the value stands.
    key : str
        Dotted key, column or row, e.g. ``limits.voltage_max_V.trip``.
    problem : str
        What is wrong, with the value.
    remedy : str
        The nearest valid choice or what to do; empty where there is none.
    """

    where: str
    key: str
    problem: str
    remedy: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: {self.key}" if self.key else self.where
        return f"{place}: {self.problem}" + (f" ({self.remedy})" if self.remedy else "")


class FaultsIn(list[Fault]):
    """Faults of one file, found one after the other."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def add(self, key: str, problem: str, remedy: str = "") -> None:
        """Note one fault, as in `Fault`."""
        self.append(Fault(where=self.where, key=key, problem=problem, remedy=remedy))


class ConfigurationError(ReactivationError, ValueError):
    """Input refused before anything was energised; lists every fault found."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults: tuple[Fault, ...] = tuple(faults)
        super().__init__("\n".join(str(fault) for fault in self.faults))


def refuse(where: str, key: str, problem: str, remedy: str = "") -> ConfigurationError:
    """Return a `ConfigurationError` with a single fault."""
    return ConfigurationError([Fault(where=where, key=key, problem=problem, remedy=remedy)])


def nearest(word: str, choices: Sequence[str]) -> str:
    """Return ``did you mean X?`` or the list of choices, for an error's remedy."""
    close = get_close_matches(word, choices, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return "choose one of " + ", ".join(sorted(choices))


class CyclerError(ReactivationError):
    """The instrument did not do what was asked."""


class CyclerConnectionError(CyclerError):
    """No connection to the instrument, or it was lost."""


class CyclerTimeoutError(CyclerError):
    """No complete reply before the deadline."""


class CyclerProtocolError(CyclerError):
    """A reply that cannot be what was asked for; `reply` holds its bytes."""

    def __init__(self, message: str, reply: bytes = b"") -> None:
        self.reply = reply
        super().__init__(f"{message}: {reply!r}" if reply else message)


class CyclerRejectedError(CyclerError):
    """The instrument refused a command or read back something else than was written."""


class RunDirectoryError(ReactivationError):
    """A run directory that cannot be used: in use, damaged, synchronised, or another run's."""


class InvariantError(ReactivationError):
    """A state that must not exist: a bug. The channel is rested and latched."""
