"""Effects of treatments at 1, 5 and 20 cycles against the forked twin, over drawn lives.

    python scripts/effects_against_twins.py --lives 40 --markdown out.md

A life meets an opportunity every third cycle and treats at half of them, drawn; withheld ones get
the recipe's control. Each treated opportunity is forked: its twin gets the control there, and the
same as the life ever after, so that the difference of cumulative net charge is what this one
application does. What `controller.policy.horizons` says is compared with the mean of a life's twins.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from controller.domain.figures import CycleFigures
from controller.policy.horizons import HORIZONS, effects_of, forecast_effects_of
from controller.policy.learning import Opportunity
from hil.cell.library import load_cell
from hil.lives import Life
from hil.programmes import (
    CHARGED_REST,
    DISCHARGED_REST,
    SHORT_STRIP,
    CyclePlan,
    cycle_plan,
    largest_A,
    programme,
)
from hil.readings import specified_reading
from hil.scoring import estimator_config, score_life
from scripts.estimator_coverage import GAIN_U, OFFSET_U_OF_RANGE, commit_hash, seed_of

CONTROLS = {DISCHARGED_REST: CHARGED_REST, SHORT_STRIP: ""}
CELL = "anode-free-lfp"
CYCLES, FIRST = 75, 8
EVERY = 3  # cycles from one opportunity to the next


@dataclass(frozen=True)
class Row:
    """One life, recipe, source and horizon (uAh)."""

    recipe: str
    source: str
    horizon: int
    said: float | None
    u: float | None
    true: float


def plan_of(recipe: str, seed: int) -> tuple[list[CyclePlan], dict[int, bool], float]:
    """Return the plans, whether each opportunity (by the cycle before) is treated, and a current."""
    p = load_cell(CELL).parameters(seed)
    generator = np.random.default_rng([seed, 8])
    treated = {n: bool(generator.random() < 0.5) for n in range(FIRST, CYCLES, EVERY)}
    plans = programme(CELL, p, CYCLES)
    for number, given in treated.items():
        what = recipe if given else CONTROLS[recipe]
        plans[number] = cycle_plan(CELL, p, treatment=what)
    return plans, treated, largest_A([*plans, cycle_plan(CELL, p, treatment=recipe)])


class Forking:
    """A life that keeps a snapshot before each treated cycle."""

    def __init__(self, life: Life, treated: set[int]) -> None:
        self.life = life
        self._treated = treated
        self.snapshots: dict[int, tuple[bytes, int]] = {}

    def cycle(self, plan: CyclePlan):  # noqa: ANN201 -- as Life.cycle
        """Live one cycle."""
        number = self.life.number + 1
        if number in self._treated:
            self.snapshots[number] = self.life.snapshot()
        return self.life.cycle(plan)


def lived(recipe: str, seed: int) -> list[Row]:
    """Return what is said and what is true of one life."""
    p = load_cell(CELL).parameters(seed)
    plans, treated, current_A = plan_of(recipe, seed)
    reading = specified_reading(seed, current_A, gain_u=GAIN_U, offset_u_of_range=OFFSET_U_OF_RANGE)
    forking = Forking(
        Life(p, seed=seed, reading=reading), {n + 1 for n, given in treated.items() if given}
    )
    config = estimator_config(CELL, p, gain_u=GAIN_U, offset_u_of_range=OFFSET_U_OF_RANGE)
    scored = score_life(forking, config, plans)
    figures = [one.figures for one in scored]
    net = np.cumsum([one.truth.net_mAh for one in scored])
    twins: dict[int, list[float]] = {h: [] for h in HORIZONS}
    control = cycle_plan(CELL, p, treatment=CONTROLS[recipe])
    for number, snapshot in forking.snapshots.items():
        forking.life.restore(snapshot)
        until = min(number + max(HORIZONS) - 1, CYCLES)
        others = [control, *plans[number:until]]
        twin = np.cumsum([one.truth.net_mAh for one in forking.life.live(others, read=False)])
        before = float(net[number - 2])
        for h in HORIZONS:
            if number + h - 1 <= CYCLES:
                twins[h].append(1e3 * (float(net[number + h - 2]) - before - float(twin[h - 1])))
    made = opportunities(recipe, treated, figures)
    return [
        Row(
            recipe,
            one.source.value,
            one.horizon,
            None if one.recovered_Ah is None else 1e6 * one.recovered_Ah,
            None if one.u_recovered_Ah is None else 1e6 * one.u_recovered_Ah,
            statistics.fmean(twins[one.horizon]),
        )
        for one in (
            *effects_of(recipe, made, figures),
            *forecast_effects_of(recipe, made, figures),
        )
        if twins[one.horizon]
    ]


def opportunities(
    recipe: str, treated: dict[int, bool], figures: Sequence[CycleFigures]
) -> list[Opportunity]:
    """Return the opportunities as the scheduler would have recorded them."""
    made = []
    for number, given in treated.items():
        before, after = figures[number - 1], figures[number]
        made.append(
            Opportunity(
                cycle=number,
                recipe=recipe,
                treated=given,
                probability=0.5,
                net_before_Ah=before.net_charge_Ah,
                net_charge_Ah=after.net_charge_Ah,
                u_net_charge_Ah=after.u_net_charge_Ah,
            )
        )
    return made


def _one(task: tuple[str, int]) -> list[Row]:
    return lived(*task)


def table(rows: Sequence[Row]) -> list[str]:
    """Return bias, coverage and width by recipe, source and horizon."""
    out = [
        "| recipe | source | horizon | lives with a claim | twins, uAh | said: mean error ± its standard error | median u | inside 95 % |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for recipe in dict.fromkeys(one.recipe for one in rows):
        for source in dict.fromkeys(one.source for one in rows):
            for horizon in HORIZONS:
                mine = [
                    one
                    for one in rows
                    if (one.recipe, one.source, one.horizon) == (recipe, source, horizon)
                ]
                claims = [one for one in mine if one.said is not None and one.u is not None]
                true = statistics.fmean(one.true for one in mine)
                head = f"| {recipe} | {source} | {horizon} | {len(claims)} of {len(mine)} | {true:+.2f} | "
                if len(claims) < 2:
                    out.append(head + "- | - | - |")
                    continue
                errors = [(one.said or 0.0) - one.true for one in claims]
                inside = sum(
                    abs(e) <= 1.96 * (one.u or 0.0) for e, one in zip(errors, claims, strict=True)
                )
                spread = statistics.stdev(errors) / len(errors) ** 0.5
                out.append(
                    head
                    + f"{statistics.fmean(errors):+.2f} ± {spread:.2f} | "
                    + f"{statistics.median(one.u or 0.0 for one in claims):.2f} | {inside}/{len(claims)} |"
                )
    return out


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--lives", type=int, default=40, help="of each recipe")
    parser.add_argument("--seed", default="", help="in place of the commit's hash")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    base = given.seed or commit_hash()
    start = time.perf_counter()
    tasks = [(r, seed_of(base, r, n)) for r in CONTROLS for n in range(given.lives)]
    with get_context("spawn").Pool(given.processes) as pool:
        rows = [row for some in pool.imap(_one, tasks, chunksize=2) for row in some]
    lines = [
        f"{len(tasks)} lives of {CYCLES} cycles, seeds from {base[:12]}, {time.perf_counter() - start:.0f} s in {given.processes} processes.",
        "",
        *table(rows),
    ]
    print("\n".join(lines))
    if given.markdown:
        given.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
