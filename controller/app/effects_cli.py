"""`reactivate hil effects`: published effects on the simulated cell, their mechanism on and off."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from controller.domain.errors import refuse

if TYPE_CHECKING:
    from hil.effects.runner import Result

EXIT_FAILED = 1
SWEPT_PER_ROW = 4


def effects(only: Sequence[str], *, draws: int, as_json: bool, plot: Path | None) -> int:
    """Run the effects named, or all; print a table or JSON; return 1 if any is not as it must be.

    Raises
    ------
    ConfigurationError
        No such effect; a folder for figures that cannot be made, or no matplotlib for them.
    """
    from hil.compiled import available
    from hil.effects.runner import documents, run_effects
    from hil.effects.table import EFFECTS, effect_of

    chosen = [effect_of(name) for name in only] if only else list(EFFECTS)
    if plot is not None:
        _prepare(plot)
    console = Console(stderr=as_json, highlight=False)
    if not available():
        console.print("note: without numba (the extra \\[fast]) this takes two minutes")
    results = []
    for result in run_effects(chosen, draws=draws, sweep=plot is not None):
        results.append(result)
        if not as_json:
            _say(result, console)
    if plot is not None:
        console.print(f"gain swept: {_draw(results, plot)}")
    if as_json:
        print(json.dumps(documents(results)))
    else:
        _close(results, console)
    return 0 if all(map(_as_it_must, results)) else EXIT_FAILED


def _as_it_must(result: Result) -> bool:
    enough = result.draws is None or result.draws.passed
    return result.passed and result.ablation_fails and enough


def _say(result: Result, console: Console) -> None:
    one = result.effect
    table = Table(
        title=f"{one.id}  {one.title}", title_justify="left", box=SIMPLE_HEAD, show_header=False
    )
    table.add_column(no_wrap=True)
    table.add_column()
    table.add_row("expected", one.expected)
    table.add_row("simulated", _figures(result.simulated))
    table.add_row("passed", "yes" if result.passed else "NO")
    table.add_row("changed", "; ".join(f"{name}: {what}" for name, what in one.changed.items()))
    off = ", ".join(f"{name} = {value:g}" for name, value in one.ablation.items())
    fails = "fails, as it must" if result.ablation_fails else "STILL PASSES"
    table.add_row("mechanism off", f"{off}: {fails}")
    if result.draws is not None:
        held = f"{result.draws.held} of {result.draws.tried} hold, {result.draws.needed} needed"
        table.add_row("drawn cells", held)
    table.add_row("basis", f"calibrated on {one.source} [{', '.join(one.tags)}]; {one.family}")
    console.print(table)


def _figures(figures: object) -> str:
    if not isinstance(figures, dict):
        return str(figures)
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())


def _close(results: Sequence[Result], console: Console) -> None:
    good = sum(map(_as_it_must, results))
    console.print(
        f"{good} of {len(results)} as they must be. Calibrated on these figures, never validated: "
        "they say what the simulated cell does, nothing of a real one.",
        soft_wrap=True,
    )


def _prepare(folder: Path) -> None:
    """Refuse before anything is run what could not be drawn after it."""
    try:
        import matplotlib as mpl
    except ImportError:
        raise refuse(
            "command line", "--plot", "needs matplotlib", "pip install matplotlib"
        ) from None
    mpl.use("svg")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except FileExistsError:
        raise refuse("command line", "--plot", f"{folder} is a file", "name a folder") from None
    except OSError as error:
        problem = f"{folder} cannot be written to: {error.strerror or error}"
        raise refuse("command line", "--plot", problem, "name a folder of your own") from None


def _draw(results: Sequence[Result], folder: Path) -> Path:
    """Write each effect's figure against its gain, 0.5 to 2 times the value of its file."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt

    mpl.rcParams["svg.fonttype"] = "none"  # words as words: a quarter of the size
    rows = -(-len(results) // SWEPT_PER_ROW)
    figure, axes = plt.subplots(
        rows, SWEPT_PER_ROW, figsize=(3.2 * SWEPT_PER_ROW, 2.5 * rows), squeeze=False
    )
    for place, result in zip(axes.flat, results, strict=False):
        one = result.effect
        place.plot(*zip(*result.sweep, strict=True), "o-", ms=3)
        for bound in one.accept:
            if bound.figure == one.swept:
                place.axhspan(*_band(bound.low, bound.high, place.get_ylim()), alpha=0.12)
        place.set_title(one.id, fontsize=9)
        place.set_xlabel(f"{one.gain} / its value", fontsize=7)
        place.set_ylabel(one.swept, fontsize=7)
        place.tick_params(labelsize=7)
    for place in axes.flat[len(results) :]:
        place.set_visible(False)
    figure.tight_layout()
    mpl.rcParams["svg.hashsalt"] = "effects"
    path = folder / "effects-gain.svg"
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path


def _band(low: float, high: float, shown: tuple[float, float]) -> tuple[float, float]:
    return max(low, shown[0]), min(high, shown[1])
