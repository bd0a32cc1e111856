"""How surely a soft short is found, how often a sound cycle is called one.

Lives of drawn cells of the plant (`hil.shorted`), read at 1 Hz with noise: 400 shorts that meet the
definition (leakage of 2 % of nominal capacity in a cycle, or 1 % with telegraph noise, for 10 min
or more), judged by the end of the cycle after the one in which they begin, and 10,000 sound cycles
of which half are treated, rested, stepped in temperature or rate. From the first cycle in which an
electrode is out of salt on a cell is not sound: it fails in another way, and is counted apart.
Seeds are the commit's. Parts run apart (`--part 1`, `--part 2`, each with seeds of its own) are put
together with `--merge`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.stats import beta

from controller.estimation.shorts import ShortEvidence, ShortMemory, follow
from hil.shorted import FORMATS, Short, WatchedCycle, drawn_cell, watched_life
from scripts.seeds import commit_hash, seed_of

SOUND_CYCLES: Final = 25
SHORTED_CYCLES: Final = 14
LEAST_LEAK, LEAST_TELEGRAPH_LEAK = 0.02, 0.01
SHORTEST_S, LONGEST_S = 600.0, 1e5
STAYS: Final = 0.4  # of shorts that do not go away
SHORTED_TREATED_SHARE: Final = 0.25
EDGES: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3)
MOST_LEAK: Final = 0.1


def judged(
    cycles: Sequence[WatchedCycle], name: str, nominal_Ah: float
) -> list[tuple[WatchedCycle, ShortEvidence]]:
    """Run the detector over a life."""
    memory = ShortMemory()
    return [(one, follow(memory, one.figures, FORMATS[name], nominal_Ah)) for one in cycles]


def lower_bound(hits: int, tried: int) -> float:
    """Return the lower end of the one-sided 95 % interval of Clopper and Pearson."""
    return float(beta.ppf(0.05, hits, tried - hits + 1)) if hits else 0.0


def sound(cycles: int, seed: int) -> dict[str, Any]:
    """Count false alarms among sound cycles that had something to be compared with."""
    tried: Counter[str] = Counter()
    false: list[dict[str, Any]] = []
    depleted, flagged_depleted = 0, 0
    names = list(FORMATS)
    life = 0
    while tried.total() < cycles:
        name = names[life % len(names)]
        nominal_Ah = 1e-3 * drawn_cell(name, seed + life).nominal_capacity_mAh
        out_of_salt = False
        for cycle, evidence in judged(
            watched_life(name, seed + life, SOUND_CYCLES), name, nominal_Ah
        ):
            out_of_salt = out_of_salt or cycle.depleted_s > 0.0
            if np.isnan(evidence.probability):
                continue
            if out_of_salt:
                depleted += 1
                flagged_depleted += evidence.flagged
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
        "depleted": depleted,
        "flagged_depleted": flagged_depleted,
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


def shorts(
    count: int, seed: int, *, telegraph: bool, faint: bool = False, grows_s: float = 0.0
) -> list[dict[str, Any]]:
    """Return lives with a short, until `count` of them meet the definition.

    `faint`: `count` lives with leaks of 0.1 % up to where the definition begins. `grows_s`: over
    which a leak grows.
    """
    random = np.random.default_rng([seed, int(telegraph), int(faint)])
    least = LEAST_TELEGRAPH_LEAK if telegraph else LEAST_LEAK
    low, high = (EDGES[0], least) if faint else (least, MOST_LEAK)
    out: list[dict[str, Any]] = []
    names = list(FORMATS)
    life = 0
    tried = 0
    while tried < count:
        name = names[life % len(names)]
        short = drawn_short(random, telegraph=telegraph, least=low, most=high)
        short = replace(short, grows_s=grows_s)
        scored = one_short(name, seed + life, short)
        life += 1
        if scored is not None:
            tried += faint or scored[0] >= least
            out.append({"cell": name, "leak": scored[0], "found": scored[1]})
    return out


def meeting(lives: Sequence[dict[str, Any]], *, telegraph: bool) -> list[dict[str, Any]]:
    """Return the shorts that meet the definition."""
    least = LEAST_TELEGRAPH_LEAK if telegraph else LEAST_LEAK
    return [one for one in lives if one["leak"] >= least]


def summary(met: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Score shorts that meet the definition."""
    found = sum(one["found"] for one in met)
    return {
        "shorts": len(met),
        "found": found,
        "share": found / len(met) if met else None,
        "lower_95": lower_bound(found, len(met)) if met else None,
        "by_cell": {
            name: [
                sum(one["found"] for one in met if one["cell"] == name),
                sum(one["cell"] == name for one in met),
            ]
            for name in FORMATS
        },
    }


def by_severity(lives: Sequence[dict[str, Any]]) -> list[dict[str, float]]:
    """Return the share found over the leak, 0.1 to 10 % of nominal capacity in a cycle."""
    rows = []
    for low, high in pairwise(EDGES):
        hits = [one["found"] for one in lives if low <= one["leak"] < high]
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


def merged(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Put parts that were run apart together."""
    out: dict[str, Any] = {"sound": [], "telegraph": [], "steady": []}
    for part in parts:
        for key, values in part.items():
            out[key] += values
    cycles = sum(one["cycles"] for one in out["sound"])
    telegraph = meeting(out["telegraph"], telegraph=True)
    steady = meeting(out["steady"], telegraph=False)
    by_kind: Counter[str] = Counter()
    for one in out["sound"]:
        by_kind.update(one["by_kind"])
    return {
        "sound": {
            "cycles": cycles,
            "by_kind": dict(by_kind),
            "false_alarms": sum(one["false_alarms"] for one in out["sound"]),
            "which": [which for one in out["sound"] for which in one["which"]],
            "depleted": sum(one["depleted"] for one in out["sound"]),
            "flagged_depleted": sum(one["flagged_depleted"] for one in out["sound"]),
        },
        "telegraph": summary(telegraph),
        "steady": summary(steady),
        "together": summary([*telegraph, *steady]),
        "by_severity": {key: by_severity(out[key]) for key in ("telegraph", "steady")},
    }


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
    axes.set_xticks([0.1, 0.3, 1, 3, 10, 30], labels=["0.1", "0.3", "1", "3", "10", "30"])
    axes.set_xlabel("leak in a cycle / % of nominal capacity")
    axes.set_ylabel("found by the end of the next cycle")
    axes.legend(loc="lower right")
    figure.savefig(path, metadata={"Date": None})


def main(arguments: Sequence[str] | None = None) -> int:
    """Score and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shorts", type=int, default=400, help="with telegraph noise")
    parser.add_argument("--steady", type=int, default=100)
    parser.add_argument("--faint", type=int, default=100, help="below the definition, of each kind")
    parser.add_argument("--grows-min", type=float, default=0.0, help="over which a leak grows")
    parser.add_argument("--sound-cycles", type=int, default=10_000)
    parser.add_argument("--seed", default="", help="in place of the commit's hash")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--part", type=int, default=0, help="its number; print what --merge takes")
    parser.add_argument("--merge", type=Path, nargs="*", default=())
    parser.add_argument("--plot", type=Path)
    given = parser.parse_args(arguments)
    if given.grows_min < 0.0:
        parser.error(f"--grows-min {given.grows_min:g}: a time, 0 or longer")
    parts = [json.loads(path.read_text(encoding="utf-8")) for path in given.merge]
    if not parts:
        seed = seed_of(given.seed or commit_hash(), "shorts", given.part)
        part: dict[str, Any] = {"sound": [], "telegraph": [], "steady": []}
        if given.sound_cycles:
            part["sound"].append(sound(given.sound_cycles, seed))
        for key, count, start in (
            ("telegraph", given.shorts, 10_000),
            ("steady", given.steady, 20_000),
        ):
            telegraph = key == "telegraph"
            grows_s = 60.0 * given.grows_min
            part[key] += shorts(count, seed + start, telegraph=telegraph, grows_s=grows_s)
            part[key] += shorts(
                given.faint, seed + start + 5000, telegraph=telegraph, faint=True, grows_s=grows_s
            )
        parts = [part]
        if given.part:
            sys.stdout.write(json.dumps(part) + "\n")
            return 0
    result = merged(parts)
    if given.plot:
        draw(result, given.plot)
    if given.json:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
        return 0
    one = result["sound"]
    sys.stdout.write(
        f"sound cycles {one['cycles']}: {one['false_alarms']} false alarms; of cells out of salt "
        f"{one['depleted']}: {one['flagged_depleted']} flagged\n"
    )
    for key in ("telegraph", "steady", "together"):
        one = result[key]
        if not one["shorts"]:
            continue
        sys.stdout.write(
            f"{key}: {one['found']} of {one['shorts']} found, {one['share']:.1%}, lower 95 % bound "
            f"{one['lower_95']:.1%}; {one['by_cell']}\n"
        )
        for row in result["by_severity"].get(key, ()):
            sys.stdout.write(
                f"  {row['from']:.1%} to {row['to']:.1%}: {row['share']:.0%} of {row['shorts']}\n"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
