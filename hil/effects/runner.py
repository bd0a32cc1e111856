"""Runs effects: as stated, with the mechanism off, over draws, over a sweep of the gain."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from controller.domain.errors import ReactivationError
from hil.effects.lab import Figures, Lab
from hil.effects.table import EFFECTS, Bound, Effect

SCHEMA: Final = 1
SHARE_OF_DRAWS: Final = 0.90
SWEEP: Final = (0.5, 0.7, 0.85, 1.0, 1.2, 1.5, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """How an effect's sign held over draws.

    Attributes
    ----------
    held, tried : int
    failed : tuple of int
        Seeds of those that did not.
    needed : int
        With `share` of all draws as the truth, so many hold with 99 % probability; for 200 draws
        and more simply that share of them.
    """

    held: int
    tried: int
    failed: tuple[int, ...]
    needed: int

    @property
    def passed(self) -> bool:
        """Whether enough held."""
        return self.held >= self.needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What came of one effect."""

    effect: Effect
    simulated: Figures
    passed: bool
    ablated: Figures
    ablation_fails: bool
    draws: Draws | None
    sweep: tuple[tuple[float, float], ...]

    def document(self) -> dict[str, Any]:
        """Return the effect's entry of the JSON."""
        one = self.effect
        entry: dict[str, Any] = {
            "schema": SCHEMA,
            "effect": one.id,
            "title": one.title,
            "kind": one.kind,
            "expected": one.expected,
            "simulated": _rounded(self.simulated),
            "passed": self.passed,
            "changed": dict(one.changed),
            "basis": list(one.tags),
            "provenance": f"calibrated on {one.source}; not validated",
            "family": one.family,
            "cell": one.cell,
            "fixed": dict(one.fixed),
            "assumed": list(one.assumed),
            "ablation": {
                "changed": dict(one.ablation),
                "simulated": _rounded(self.ablated),
                "fails": self.ablation_fails,
            },
            "draws": None,
        }
        if self.draws is not None:
            entry["draws"] = {
                "criterion": " and ".join(map(str, one.sign)),
                "held": self.draws.held,
                "tried": self.draws.tried,
                "needed": self.draws.needed,
                "passed": self.draws.passed,
                "failed_seeds": list(self.draws.failed),
            }
        if self.sweep:
            entry["sweep"] = {
                "value": one.gain,
                "figure": one.swept,
                "factors_and_figures": [list(point) for point in self.sweep],
            }
        return entry


def _rounded(figures: Figures) -> dict[str, float | None]:
    return {
        name: float(f"{value:.6g}") if math.isfinite(value) else None
        for name, value in figures.items()
    }


def run_effects(
    effects: Iterable[Effect] = EFFECTS,
    *,
    draws: int = 0,
    sweep: bool = False,
    compiled: bool | None = None,
) -> Iterator[Result]:
    """Run effects one after the other."""
    for effect in effects:
        yield run_effect(effect, draws=draws, sweep=sweep, compiled=compiled)


def run_effect(
    effect: Effect, *, draws: int = 0, sweep: bool = False, compiled: bool | None = None
) -> Result:
    """Run one effect as stated and with its mechanism off.

    Parameters
    ----------
    effect : Effect
    draws : int
        How many cells are drawn over the ranges; 0 none.
    sweep : bool
        Also over 0.5 to 2 times the gain.
    compiled : bool, optional
        Default: where numba is there.
    """
    simulated = effect.run(effect.lab(compiled=compiled))
    ablated = effect.run(effect.lab(ablated=True, compiled=compiled))
    return Result(
        effect=effect,
        simulated=simulated,
        passed=reproduced(effect.accept, simulated),
        ablated=ablated,
        ablation_fails=not reproduced(effect.accept, ablated),
        draws=run_draws(effect, draws, compiled=compiled) if draws else None,
        sweep=tuple(swept(effect, compiled=compiled)) if sweep else (),
    )


def reproduced(bounds: Sequence[Bound], figures: Figures) -> bool:
    """Return whether all bounds hold."""
    return all(one.holds(figures) for one in bounds)


def run_draws(effect: Effect, count: int, *, compiled: bool | None = None) -> Draws:
    """Run an effect on cells drawn over the ranges, seeds 1 to `count`."""
    failed = [
        seed
        for seed in range(1, count + 1)
        if not holds_at(effect, effect.lab(draw=seed, compiled=compiled))
    ]
    return Draws(
        held=count - len(failed), tried=count, failed=tuple(failed), needed=needed_of(count)
    )


def holds_at(effect: Effect, lab: Lab) -> bool:
    """Return whether an effect's sign holds for one draw; a cell that cannot be run is none."""
    try:
        return reproduced(effect.sign, effect.run(lab))
    except (ReactivationError, ZeroDivisionError):
        return False


def needed_of(count: int, share: float = SHARE_OF_DRAWS) -> int:
    """Return how many of `count` draws must hold.

    From 200 on it is `share` of them. Fewer draws are a sample: needed is what a true share of
    exactly `share` reaches with 99 % probability (binomial).
    """
    if count >= 200:
        return math.ceil(share * count - 1e-9)
    below = 0.0
    for held in range(count + 1):
        below += math.comb(count, held) * share**held * (1.0 - share) ** (count - held)
        if below > 0.01:
            return held
    return count


def swept(effect: Effect, *, compiled: bool | None = None) -> Iterator[tuple[float, float]]:
    """Return the swept figure for each factor on the gain."""
    for factor in SWEEP:
        lab = effect.lab(factors={effect.gain: factor}, compiled=compiled)
        try:
            yield factor, effect.run(lab)[effect.swept]
        except ReactivationError:  # beyond what the equations mean, e.g. a share above 1
            continue


def documents(results: Sequence[Result]) -> list[Mapping[str, Any]]:
    """Return the JSON: a list with one entry an effect."""
    return [one.document() for one in results]
