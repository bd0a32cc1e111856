"""How surely a soft short is found, how often a sound cycle is called one.

Lives of drawn cells of the plant (`hil.shorted`), read at 1 Hz with noise: 400 shorts that meet the
definition (leakage of 2 % of nominal capacity in a cycle, or 1 % with telegraph noise, for 10 min
or more), judged by the end of the cycle after the one in which they begin, and 10,000 sound cycles
of which half are treated, rested, stepped in temperature or rate. The weights of the detector were
set on seeds below 20,000; these begin above. `--other` adds shorts on plants of other structure.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.stats import beta

from controller.estimation.shorts import ShortEvidence, ShortFigures, judge, learn
from hil.shorted import FORMATS, Short, WatchedCycle, drawn_cell, watched_life

SEED: Final = 50_000
SOUND_CYCLES: Final = 25
SHORTED_CYCLES: Final = 14
LEAST_LEAK, LEAST_TELEGRAPH_LEAK = 0.02, 0.01
SHORTEST_S, LONGEST_S = 600.0, 1e5
STAYS: Final = 0.4  # of shorts that do not go away
SHORTED_TREATED_SHARE: Final = 0.25
EDGES: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)


def judged(
    cycles: Sequence[WatchedCycle], name: str, nominal_Ah: float
) -> list[tuple[WatchedCycle, ShortEvidence]]:
    """Run the detector over a life."""
    history: list[ShortFigures] = []
    last_new = 0.0
    out = []
    for cycle in cycles:
        evidence = judge(history, cycle.figures, FORMATS[name], nominal_Ah, last_new)
        learn(history, cycle.figures, evidence)
        last_new = evidence.new
        out.append((cycle, evidence))
    return out


def lower_bound(hits: int, tried: int) -> float:
    """Return the lower end of the one-sided 95 % interval of Clopper and Pearson."""
    return float(beta.ppf(0.05, hits, tried - hits + 1)) if hits else 0.0


def sound(cycles: int, seed: int) -> dict[str, Any]:
    """Count false alarms among sound cycles that had something to be compared with."""
    tried: Counter[str] = Counter()
    false: list[dict[str, Any]] = []
    names = list(FORMATS)
    life = 0
    while tried.total() < cycles:
        name = names[life % len(names)]
        nominal_Ah = 1e-3 * drawn_cell(name, seed + life).nominal_capacity_mAh
        for cycle, evidence in judged(
            watched_life(name, seed + life, SOUND_CYCLES), name, nominal_Ah
        ):
            if np.isnan(evidence.probability):
                continue
            tried[cycle.kind] += 1
            if evidence.flagged:
                false.append(
                    {"cell": name, "seed": seed + life, "kind": cycle.kind, "why": evidence.words}
                )
        life += 1
    return {
        "cycles": tried.total(),
        "by_kind": dict(tried),
        "false_alarms": len(false),
        "which": false,
    }


def drawn_short(
    random: np.random.Generator, *, telegraph: bool, least: float, most: float
) -> Short:
    """Draw a short: leak and duration evenly in the logarithm, or one that stays."""
    lasts_s = float(np.exp(random.uniform(np.log(SHORTEST_S), np.log(LONGEST_S))))
    return Short(
        leak=float(np.exp(random.uniform(np.log(least), np.log(most)))),
        telegraph=telegraph,
        lasts_s=1e9 if random.random() < STAYS else lasts_s,
    )


def one_short(name: str, seed: int, short: Short) -> tuple[float, bool] | None:
    """Return the leak that there was and whether it was found; None where the cell died before."""
    nominal_Ah = 1e-3 * drawn_cell(name, seed).nominal_capacity_mAh
    life = watched_life(name, seed, SHORTED_CYCLES, short, SHORTED_TREATED_SHARE)
    shorted = [(c, e) for c, e in judged(life, name, nominal_Ah) if c.shorted]
    if not shorted:
        return None
    return max(c.leak for c, _ in shorted), any(e.flagged for _, e in shorted)


def shorts(count: int, seed: int, *, telegraph: bool) -> dict[str, Any]:
    """Score shorts that meet the definition, in all formats alike."""
    random = np.random.default_rng([seed, int(telegraph)])
    least = LEAST_TELEGRAPH_LEAK if telegraph else LEAST_LEAK
    found: Counter[str] = Counter()
    tried: Counter[str] = Counter()
    names = list(FORMATS)
    life = 0
    while tried.total() < count:
        name = names[life % len(names)]
        short = drawn_short(random, telegraph=telegraph, least=least, most=0.1)
        scored = one_short(name, seed + life, short)
        life += 1
        if scored is None or scored[0] < least:
            continue
        tried[name] += 1
        found[name] += scored[1]
    return {
        "shorts": tried.total(),
        "found": found.total(),
        "share": found.total() / tried.total(),
        "lower_95": lower_bound(found.total(), tried.total()),
        "by_cell": {name: [found[name], tried[name]] for name in names},
    }


def by_severity(count: int, seed: int, *, telegraph: bool) -> list[dict[str, float]]:
    """Return the share found over the leak, 0.1 to 10 % of nominal capacity in a cycle."""
    random = np.random.default_rng([seed, 7, int(telegraph)])
    names = list(FORMATS)
    scored = []
    for life in range(count):
        short = drawn_short(random, telegraph=telegraph, least=EDGES[0], most=EDGES[-1])
        one = one_short(names[life % len(names)], seed + life, short)
        if one is not None:
            scored.append(one)
    rows = []
    for low, high in pairwise(EDGES):
        hits = [hit for leak, hit in scored if low <= leak < high]
        if hits:
            rows.append(
                {
                    "from": low,
                    "to": high,
                    "shorts": len(hits),
                    "share": sum(hits) / len(hits),
                    "lower_95": lower_bound(sum(hits), len(hits)),
                    "upper_95": 1.0 - lower_bound(len(hits) - sum(hits), len(hits)),
                }
            )
    return rows


def draw(result: dict[str, Any], path: Path) -> None:
    """Plot detection over severity."""
    from matplotlib import pyplot as plt  # noqa: PLC0415  only where a figure is asked for

    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for key, words in (("telegraph", "with telegraph noise"), ("steady", "steady")):
        rows = result["by_severity"][key]
        middle = [100.0 * float(np.sqrt(row["from"] * row["to"])) for row in rows]
        share = [row["share"] for row in rows]
        below = [row["share"] - row["lower_95"] for row in rows]
        above = [row["upper_95"] - row["share"] for row in rows]
        axes.errorbar(middle, share, [below, above], marker="o", capsize=3, label=words)
    axes.set(xscale="log", ylim=(0, 1.02))
    axes.set_xlabel("leak in a cycle / % of nominal capacity")
    axes.set_ylabel("found by the end of the next cycle")
    axes.legend(loc="lower right")
    figure.savefig(path, metadata={"Date": None})


def main(arguments: Sequence[str] | None = None) -> int:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shorts", type=int, default=400)
    parser.add_argument("--sound-cycles", type=int, default=10_000)
    parser.add_argument("--per-severity", type=int, default=400)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args(arguments)
    result = {
        "sound": sound(given.sound_cycles, given.seed),
        "telegraph": shorts(given.shorts, given.seed + 10_000, telegraph=True),
        "steady": shorts(given.shorts // 4, given.seed + 20_000, telegraph=False),
        "by_severity": {
            "telegraph": by_severity(given.per_severity, given.seed + 30_000, telegraph=True),
            "steady": by_severity(given.per_severity // 2, given.seed + 40_000, telegraph=False),
        },
    }
    if given.plot:
        draw(result, given.plot)
    if given.json:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
        return 0
    one = result["sound"]
    sys.stdout.write(f"sound cycles {one['cycles']}: {one['false_alarms']} false alarms\n")
    for key in ("telegraph", "steady"):
        one = result[key]
        sys.stdout.write(
            f"{key}: {one['found']} of {one['shorts']} found, {one['share']:.1%}, lower 95 % bound "
            f"{one['lower_95']:.1%}; {one['by_cell']}\n"
        )
        for row in result["by_severity"][key]:
            sys.stdout.write(
                f"  {row['from']:.1%} to {row['to']:.1%}: {row['share']:.0%} of {row['shorts']}\n"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
