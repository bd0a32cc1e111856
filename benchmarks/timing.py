"""Medians of interleaved repeats: a busy machine slows both sides alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

REPEATS = 7
Measure = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One benchmark's figure.

    Attributes
    ----------
    name : str
    value : float
        In `unit`.
    unit : str
    peer : str or None
        What it is compared with, measured in turns with it.
    ratio : float or None
        `value` over the peer's value in the same unit; None without a peer.
    """

    name: str
    value: float
    unit: str
    peer: str | None = None
    ratio: float | None = None

    def plain(self) -> dict[str, str | float | None]:
        """Return the result as it goes to JSON."""
        return asdict(self)


def seconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes once (s)."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def interleaved(*works: Callable[[], float], repeats: int = REPEATS) -> list[float]:
    """Call the measurements in turns and return the median of each.

    Parameters
    ----------
    works : callables
        Each does its work once and returns its own figure (time per reading, rows per second).
    repeats : int
        After one round that does not count (imports, caches).
    """
    found: list[list[float]] = [[] for _ in works]
    for turn in range(repeats + 1):
        for figures, work in zip(found, works, strict=True):
            figure = work()
            if turn:
                figures.append(figure)
    return [statistics.median(figures) for figures in found]


def compared(name: str, unit: str, peer: str, ours: float, theirs: float) -> Result:
    """Return a result with its ratio."""
    return Result(name=name, value=ours, unit=unit, peer=peer, ratio=ours / theirs)


def without_peer(name: str, unit: str, why: str, ours: float) -> Result:
    """Return a result beside a peer that is not there, with the reason in its place."""
    return Result(name=name, value=ours, unit=unit, peer=why)
