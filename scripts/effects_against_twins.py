"""Effects of treatments at 1, 5 and 20 cycles against the forked twin, over drawn lives.

    python scripts/effects_against_twins.py --lives 150 --markdown out.md

Each life is another drawn cell on another drawn instrument, as in `estimator_coverage.py`. From
cycle 8 on it meets an opportunity every third cycle where the discharge before ended at the anode,
and treats at half of them, drawn; withheld ones get the recipe's control. Each treated opportunity
is forked: its twin gets the control there, and the same as the life ever after, so that the
difference of cumulative net charge is what this one application does. What
`controller.policy.horizons` says at the end of a life is compared with the mean of its twins.

Plain: the difference of the arms' mean net charge, over the same window. Oracle: knows what each
cell would have done untreated, and reads what it did on the same instrument, whose errors it does
not know.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from controller.domain.figures import CycleFigures
from controller.policy.horizons import HORIZONS, effects_of, forecast_effects_of
from controller.policy.learning import Opportunity, common_u_Ah
from controller.policy.scheduler import hidden_by_ends
from hil.lives import ENDS, Life, LivedCycle, Truth
from hil.logger import Numbers
from hil.programmes import (
    CHARGED_REST,
    DISCHARGED_REST,
    SHORT_STRIP,
    CyclePlan,
    cycle_plan,
    largest_A,
    programme,
)
from hil.scoring import estimator_config, interval_score, score_life
from scripts.estimator_coverage import (
    GAIN_U,
    OFFSET_U_OF_RANGE,
    Group,
    cell_of,
    own_life,
    reading_of,
)
from scripts.seeds import commit_hash, seed_of

CONTROLS = {DISCHARGED_REST: CHARGED_REST, SHORT_STRIP: ""}
GROUPS = (
    Group("Cu||LFP", "anode-free-lfp"),
    Group("Cu||NMC811", "anode-free"),
    Group("Li||Cu", "li-cu"),
    Group("Cu||LFP, dilute ether", "anode-free-lfp", in_class=False, family="dilute-ether", share=0.3),
    Group("Cu||NMC811, HCE", "anode-free", in_class=False, family="hce", share=0.3),
    Group("Cu||LFP, emulated Keithley", "anode-free-lfp", in_class=False, instrument="keithley", share=0.3),
)  # fmt: skip
CYCLES, FIRST = 75, 8
EVERY = 3  # cycles from one opportunity to the next
WORN = 0.3  # of nominal capacity: a cell that gives less is cycled no further
ANODE_LIMITED = ENDS.index("anode-limited")
NORMAL_95 = 1.959964


@dataclass(frozen=True)
class Row:
    """One life, recipe, source and horizon (uAh); None where nothing is said."""

    group: str
    in_class: bool
    recipe: str
    source: str
    horizon: int
    true: float
    said: float | None
    u: float | None
    plain: float
    oracle: float
    u_oracle: float


class Forking:
    """A life that decides from cycle to cycle, and keeps a snapshot before each treated one.

    Attributes
    ----------
    treated : dict of int to bool
        Whether an opportunity was treated, by the cycle that it was decided in.
    plans : list of CyclePlan
        What was lived.
    snapshots : dict of int to snapshot
        By the treated cycle.
    """

    def __init__(self, life: Life, cell: str, recipe: str, seed: int) -> None:
        self.life = life
        self.treated: dict[int, bool] = {}
        self.plans: list[CyclePlan] = []
        self.snapshots: dict[int, tuple[bytes, int]] = {}
        self._cell, self._recipe = cell, recipe
        self._last: Truth | None = None
        self._draws = np.random.default_rng([seed, 8])

    def programme(self) -> Iterator[CyclePlan]:
        """Decide cycle by cycle."""
        p, next_at = self.life.parameters, FIRST
        for base in programme(self._cell, p, CYCLES):
            number, plan, last = self.life.number, base, self._last
            if last is not None and last.discharge_mAh < WORN * p.nominal_capacity_mAh:
                return
            if number >= next_at and last is not None and last.end == ANODE_LIMITED:
                given = bool(self._draws.random() < 0.5)
                what = self._recipe if given else CONTROLS[self._recipe]
                plan = cycle_plan(self._cell, p, treatment=what)
                self.treated[number], next_at = given, number + EVERY
                if given:
                    self.snapshots[number + 1] = self.life.snapshot()
            self.plans.append(plan)
            yield plan

    def cycle(self, plan: CyclePlan) -> LivedCycle:
        """Live one cycle."""
        lived = self.life.cycle(plan)
        self._last = lived.truth
        return lived


def lived(group: Group, recipe: str, seed: int) -> list[Row]:
    """Return what is said and what is true of one life."""
    cell, p = group.cell, cell_of(group, seed)
    strongest = [*programme(cell, p, 3), cycle_plan(cell, p, treatment=recipe)]
    reading = reading_of(group, seed, largest_A(strongest))
    forking = Forking(own_life(p, reading, seed), cell, recipe, seed)
    config = estimator_config(cell, p, gain_u=GAIN_U, offset_u_of_range=OFFSET_U_OF_RANGE)
    scored = score_life(forking, config, forking.programme())
    net_uAh = np.cumsum([0.0, *(1e3 * one.truth.net_mAh for one in scored)])
    twins = twins_of(forking, net_uAh, cycle_plan(cell, p, treatment=CONTROLS[recipe]))
    figures = [one.figures for one in scored]
    made = opportunities(recipe, forking.treated, figures)
    counted = [one for one in made if not one.excluded]
    off_uAh = np.cumsum(
        [0.0, *(1e6 * f.net_charge_Ah - 1e3 * one.truth.net_mAh
                for f, one in zip(figures, scored, strict=True))]
    )  # fmt: skip
    rows = []
    said = (*effects_of(recipe, made, figures), *forecast_effects_of(recipe, made, figures))
    for one in said:
        h = one.horizon
        whole = [o for o in counted if o.cycle + h < len(net_uAh)]
        true = [twins[o.cycle + 1][h] for o in whole if o.treated]
        if not true or all(o.treated for o in whole):
            continue
        rows.append(
            Row(
                group.name,
                group.in_class,
                recipe,
                one.source.value,
                h,
                statistics.fmean(true),
                None if one.recovered_Ah is None else 1e6 * one.recovered_Ah,
                None if one.u_recovered_Ah is None else 1e6 * one.u_recovered_Ah,
                plain=between_arms(net_uAh + off_uAh, whole, h),
                oracle=statistics.fmean(true) + between_arms(off_uAh, whole, h),
                u_oracle=1e6 * common_u_Ah(whole),
            )
        )
    return rows


def between_arms(total: Numbers, whole: Sequence[Opportunity], horizon: int) -> float:
    """Return how much more of a running total the treated windows hold than the withheld ones."""
    means = [
        statistics.fmean(
            float(total[one.cycle + horizon] - total[one.cycle])
            for one in whole
            if one.treated is treated
        )
        for treated in (True, False)
    ]
    return means[0] - means[1]


def twins_of(forking: Forking, net_uAh: Numbers, control: CyclePlan) -> dict[int, dict[int, float]]:
    """Return what each treatment did (uAh), by its cycle and horizon.

    `net_uAh` is what was passed by the end of each cycle, from 0 on.
    """
    twins: dict[int, dict[int, float]] = {}
    for number, snapshot in forking.snapshots.items():
        forking.life.restore(snapshot)
        until = min(number + max(HORIZONS) - 1, len(net_uAh) - 1)
        others = [control, *forking.plans[number:until]]
        twin = np.cumsum([1e3 * one.truth.net_mAh for one in forking.life.live(others, read=False)])
        twins[number] = {
            h: float(net_uAh[number + h - 1] - net_uAh[number - 1] - twin[h - 1])
            for h in HORIZONS
            if number + h <= len(net_uAh)
        }
    return twins


def opportunities(
    recipe: str, treated: dict[int, bool], figures: Sequence[CycleFigures]
) -> list[Opportunity]:
    """Return the opportunities as the scheduler would have recorded them."""
    return [
        Opportunity(
            cycle=number,
            recipe=recipe,
            treated=given,
            probability=0.5,
            net_before_Ah=figures[number - 1].net_charge_Ah,
            net_charge_Ah=figures[number].net_charge_Ah,
            u_net_charge_Ah=figures[number].u_net_charge_Ah,
            net_errors=figures[number].net_errors,
            excluded=hidden_by_ends(figures[:number]),
        )
        for number, given in treated.items()
        if number < len(figures)
    ]


def _one(task: tuple[Group, str, int]) -> list[Row]:
    return lived(*task)


def _score(value: float, u: float, true: float) -> float:
    return interval_score(value - NORMAL_95 * u, value + NORMAL_95 * u, true)


def line(head: str, rows: Sequence[Row]) -> str:
    """Return bias, coverage, width and scores of some lives as a row of the table."""
    claims = [(one.said, one.u, one) for one in rows if one.said is not None and one.u is not None]
    head += f" {len(claims)} of {len(rows)} | {statistics.median(one.true for one in rows):+.2f} |"
    if len(claims) < 2:
        return head + " - |" * 7
    errors = [said - one.true for said, _, one in claims]
    inside = sum(abs(said - one.true) <= NORMAL_95 * u for said, u, one in claims)
    ours = [_score(said, u, one.true) for said, u, one in claims]
    oracle = [_score(one.oracle, one.u_oracle, one.true) for _, _, one in claims]
    spread = statistics.stdev(errors) / len(errors) ** 0.5
    return head + (
        f" {100 * inside / len(claims):.1f} % | {statistics.fmean(errors):+.2f} ± {spread:.2f} | "
        f"{statistics.median(abs(one) for one in errors):.3f} | "
        f"{statistics.median(abs(one.plain - one.true) for _, _, one in claims):.3f} | "
        f"{2 * NORMAL_95 * statistics.median(u for _, u, _ in claims):.3f} | "
        f"{statistics.median(ours):.2f} / {statistics.median(oracle):.2f} | "
        f"{statistics.fmean(ours):.2f} / {statistics.fmean(oracle):.2f} |"
    )


def table(rows: Sequence[Row]) -> list[str]:
    """Return the tables: pooled in class and out of it, and by group and recipe."""
    columns = (
        " lives with a claim | twins, median | covered | bias | median error | plain: median error |"
        " median width | score / oracle's, median | mean |"
    )
    out = ["| lives | source | horizon |" + columns, "|---|---|---|" + 9 * "---|"]
    sources = list(dict.fromkeys(one.source for one in rows))
    for in_class in (True, False):
        for source in sources:
            for horizon in HORIZONS:
                mine = [
                    one
                    for one in rows
                    if (one.in_class, one.source, one.horizon) == (in_class, source, horizon)
                ]
                if mine:
                    where = "in class" if in_class else "out of class"
                    out.append(line(f"| {where} | {source} | {horizon} |", mine))
    out += ["", "| lives | recipe | horizon |" + columns, "|---|---|---|" + 9 * "---|"]
    for group in dict.fromkeys(one.group for one in rows):
        for recipe in CONTROLS:
            for horizon in HORIZONS:
                mine = [
                    one
                    for one in rows
                    if (one.group, one.recipe, one.horizon, one.source)
                    == (group, recipe, horizon, sources[0])
                ]
                if mine:
                    name = group.replace("|", "\\|")
                    out.append(line(f"| {name} | {recipe} | {horizon} |", mine))
    return out


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--lives", type=int, default=40, help="of each recipe in a full group")
    parser.add_argument("--seed", default="", help="in place of the commit's hash")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--markdown", type=Path)
    given = parser.parse_args()
    base = given.seed or commit_hash()
    start = time.perf_counter()
    tasks = [
        (group, recipe, seed_of(base, f"{group.name} {recipe}", number))
        for group in GROUPS
        for recipe in CONTROLS
        for number in range(math.ceil(given.lives * group.share))
    ]
    with get_context("spawn").Pool(given.processes) as pool:
        rows = [row for some in pool.imap(_one, tasks, chunksize=2) for row in some]
    lines = [
        f"{len(tasks)} lives of {CYCLES} cycles at most, seeds from {base[:12]}, {time.perf_counter() - start:.0f} s in {given.processes} processes.",
        "",
        *table(rows),
    ]
    print("\n".join(lines))
    if given.markdown:
        given.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
