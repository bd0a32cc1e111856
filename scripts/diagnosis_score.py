"""How often the diagnosis names the failure that was put in, and whether its probabilities hold.

Lives of drawn cells (`hil.failing`), each with one failure. `--fit` prints the table of
`controller/estimation/diagnosis.py` from seeds of its own; without it the table is scored on others.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from controller.estimation.diagnosis import (
    LEAST_CYCLES,
    Mode,
    Symptoms,
    diagnose,
    shown_by,
    symptoms,
)
from hil.failing import failing_life
from scripts.seeds import commit_hash, seed_of

MODES: Final = tuple(mode for mode in Mode if mode is not Mode.CANNOT_TELL)
FIT_SEED = 1_000
# No spread is taken for less than this: cells outside the plant scatter more.
LEAST_SPREAD: Final = Symptoms(
    fade=0.3,
    quickened=0.4,
    left=0.06,
    short=2.5,
    efficiency=0.01,
    ohmic_step=0.04,
    ohmic_growth=0.1,
    slow_growth=0.1,
)


def fit(lives: int, seed: int) -> dict[str, dict[str, tuple[float, float]]]:
    """Return middle and spread of each symptom under each mode."""
    table = {}
    for mode in MODES:
        rows = []
        for life in range(lives):
            cell_format, nominal_Ah, cycles = failing_life(mode, seed + life)
            if len(cycles) >= LEAST_CYCLES:
                shown = shown_by(cycles, cell_format, nominal_Ah)
                rows.append(symptoms(shown, nominal_Ah))
        columns = {}
        for name in Symptoms._fields:
            values = [v for row in rows if math.isfinite(v := getattr(row, name))]
            middle = median(values)
            spread = 1.4826 * median(abs(v - middle) for v in values)
            far = sorted(abs(v - middle) for v in values)[int(0.9 * len(values))] / 1.645
            columns[name] = (middle, max(spread, far, getattr(LEAST_SPREAD, name)))
        table[mode.name] = columns
    return table


def score(lives: int, base: str) -> dict[str, Any]:
    """Return the confusion of modes and the reliability of the probabilities."""
    confusion: dict[str, Counter[str]] = {}
    said: list[tuple[float, bool]] = []
    brier = 0.0
    for mode in MODES:
        counts: Counter[str] = Counter()
        for life in range(lives):
            cell_format, nominal_Ah, cycles = failing_life(mode, seed_of(base, mode.value, life))
            shown = shown_by(cycles, cell_format, nominal_Ah)
            found = diagnose(shown, cell_format, nominal_Ah)
            counts[found.mode.value] += 1
            if found.mode is not Mode.CANNOT_TELL:
                said.append((found.probabilities[found.mode], found.mode is mode))
            brier += sum((found.probabilities[one] - (one is mode)) ** 2 for one in MODES)
        confusion[mode.value] = counts
    bins = []
    for low, high in ((0.5, 0.7), (0.7, 0.9), (0.9, 0.99), (0.99, 1.01)):
        inside = [(p, right) for p, right in said if low <= p < high]
        if inside:
            bins.append(
                {
                    "from": low,
                    "to": min(high, 1.0),
                    "said": len(inside),
                    "mean_probability": sum(p for p, _ in inside) / len(inside),
                    "right": sum(right for _, right in inside) / len(inside),
                }
            )
    tried = lives * len(MODES)
    return {
        "lives": tried,
        "right": sum(right for _, right in said) / tried,
        "cannot_tell": 1.0 - len(said) / tried,
        "wrong": sum(not right for _, right in said) / tried,
        "brier": brier / tried,
        "confusion": {mode: dict(counts) for mode, counts in confusion.items()},
        "reliability": bins,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit or score, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lives", type=int, default=60, help="for each mode")
    parser.add_argument("--seed", default="", help="in place of the commit's hash")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    if given.fit:
        table = fit(given.lives, FIT_SEED)
        sys.stdout.write(json.dumps(table, indent=1) + "\n")
        return 0
    base = given.seed or commit_hash()
    result = score(given.lives, base)
    if given.json:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")
        return 0
    sys.stdout.write(
        f"{result['lives']} lives, seeds from {base[:12]}: right {result['right']:.0%}, wrong {result['wrong']:.0%}, cannot "
        f"tell {result['cannot_tell']:.0%}; Brier score {result['brier']:.3f}\n"
    )
    for mode, counts in result["confusion"].items():
        sys.stdout.write(f"  {mode}: {counts}\n")
    for row in result["reliability"]:
        sys.stdout.write(
            f"  said {row['mean_probability']:.2f}: right {row['right']:.2f} of {row['said']}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
