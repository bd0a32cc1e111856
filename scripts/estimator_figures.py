"""Draw the figures of docs/estimation.md: inventory beside truth in one life, scores over lives.

    python scripts/estimator_coverage.py --json scores.json
    python scripts/estimator_figures.py scores.json

Needs matplotlib (the extra ``[dev]``). Writes SVG into docs/figures.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("svg")
from matplotlib import pyplot as plt

from controller.estimation.inventory import Quantity
from hil.cell.library import load_cell
from hil.cell.parameters import CellParameters
from hil.lives import Life
from hil.programmes import DISCHARGED_REST, SHORT_STRIP, largest_A, programme
from hil.readings import specified_reading
from hil.scoring import Scored, estimator_config, score_life
from scripts.plant_figures import save

ERRORS = {"gain_u": 5e-4, "offset_u_of_range": 1e-5}
CYCLES = 40


def life(cell: str, p: CellParameters) -> list[Scored]:
    """Return a life with four treatments."""
    treatments = {18: DISCHARGED_REST, 24: SHORT_STRIP, 30: DISCHARGED_REST, 36: SHORT_STRIP}
    plans = programme(cell, p, CYCLES, treatments)
    reading = specified_reading(5, largest_A(plans), **ERRORS)
    config = estimator_config(cell, p, **ERRORS)
    return score_life(Life(p, seed=5, reading=reading), config, plans)


def band(axes: plt.Axes, rows: list[Scored], name: str, colour: str, label: str) -> None:
    """Draw an estimate with its interval; hollow where it is no measurement."""
    quantities: list[Quantity] = [getattr(row.inventory, name) for row in rows]
    x = np.arange(1, len(rows) + 1)
    low = [1e6 * one.low_Ah for one in quantities]
    high = [1e6 * one.high_Ah for one in quantities]
    axes.fill_between(x, low, high, color=colour, alpha=0.2, lw=0)
    axes.plot(x, [1e6 * one.value_Ah for one in quantities], color=colour, lw=1, label=label)


def inventories(folder: Path) -> None:
    """Lithium lost, its split and side currents of three cells beside what they hide."""
    lfp = load_cell("anode-free-lfp").parameters(5)
    nmc = load_cell("anode-free").parameters(5)
    cells = (
        ("Cu||LFP: anode-limited at once", "anode-free-lfp", lfp),
        ("Cu||NMC811: a bound until the cathode's reservoir is spent", "anode-free", nmc),
        (
            "Cu||LFP with a shuttle of 1 uA/cm2: an interval",
            "anode-free-lfp",
            replace(lfp, shuttle_mA_per_cm2=1e-3),
        ),
    )
    figure, all_axes = plt.subplots(1, 3, figsize=(12.0, 3.8), sharey=True)
    x = np.arange(1, CYCLES + 1)
    for axes, (title, cell, p) in zip(all_axes, cells, strict=True):
        rows = life(cell, p)
        band(axes, rows, "lost", "tab:blue", "lithium lost")
        band(axes, rows, "side", "tab:green", "side currents")
        axes.plot(x, [1e6 * row.inventory.inactive.value_Ah for row in rows], color="tab:orange", lw=1, label="inactive, the prior's")  # fmt: skip
        axes.plot(x, [1e3 * row.truth.lost_mAh for row in rows], "k:", label="truth")
        axes.plot(x, [1e3 * row.truth.inactive_mAh for row in rows], "k:", lw=0.7)
        side = [1e3 * (row.truth.shuttled_mAh + row.truth.oxidised_mAh) for row in rows]
        axes.plot(x, side, "k:", lw=0.7)
        axes.set_title(title, fontsize=8)
        axes.set_xlabel("cycle; treatments in 18, 24, 30, 36")
    all_axes[0].set_ylim(0.0, 1000.0)
    all_axes[0].set_ylabel("charge / uAh")
    all_axes[0].legend(fontsize=7)
    figure.tight_layout()
    save(figure, folder, "estimation-inventory")


def scores(source: Path, folder: Path) -> None:
    """Error over half width of each life: inside +-1 is covered."""
    rows = json.loads(source.read_text(encoding="utf-8"))["scores"]
    names = ("CE, formation", "CE, base", "lithium lost")
    groups = list(dict.fromkeys(one["group"] for one in rows))
    figure, all_axes = plt.subplots(1, 3, figsize=(12.0, 4.2), sharey=True)
    for axes, name in zip(all_axes, names, strict=True):
        for place, group in enumerate(groups):
            mine = [one for one in rows if one["group"] == group and one["quantity"] == name]
            for one in mine:
                half = 0.5 * (one["high"] - one["low"])
                middle = 0.5 * (one["high"] + one["low"])
                off = (one["truth"] - middle) / half if half > 0.0 else 0.0
                colour = "tab:blue" if one["label"] == "measured" else "tab:orange"
                axes.plot(np.clip(off, -3.0, 3.0), place, "|", color=colour, alpha=0.5, ms=8)
        axes.axvspan(-1.0, 1.0, color="0.9", zorder=0)
        axes.set_title(f"{name}: truth in its 95 % interval (grey)", fontsize=9)
        axes.set_xlabel("(truth - middle) / half width")
    all_axes[0].set_yticks(range(len(groups)), groups, fontsize=7)
    figure.tight_layout()
    save(figure, folder, "estimation-coverage")


def main() -> None:
    """Draw all figures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("scores", type=Path, nargs="?")
    parser.add_argument("--folder", type=Path, default=Path("docs/figures"))
    given = parser.parse_args()
    inventories(given.folder)
    if given.scores:
        scores(given.scores, given.folder)


if __name__ == "__main__":
    main()
