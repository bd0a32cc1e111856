"""Lithium lost and false shorts where charges do not end alike: a restless room, holds that end early.

    python scripts/disturbed_charges.py --lives 60 --seed fresh

Lives of ``estimator_coverage.py`` in base cycles, each lived as it is there and again under each
disturbance: the room's temperature another in each cycle, or wandering; the end of the hold
another in each cycle, or drifting; no hold; charges that end by their charge. Nothing tells the estimator of it.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from controller.domain.figures import Label
from hil.lives import Life, LivedCycle
from hil.programmes import CyclePlan, largest_A, programme
from hil.scoring import estimated, estimator_config, interval_score
from scripts.estimator_coverage import (
    GAIN_U,
    GROUPS,
    OFFSET_U_OF_RANGE,
    Group,
    cell_of,
    own_life,
    reading_of,
)
from scripts.seeds import commit_hash, seed_of

CYCLES = 40
WANDERS_BACK = 0.9  # of where the room is, from one cycle to the next


@dataclass(frozen=True)
class Disturbance:
    """What differs from cycle to cycle: standard deviations.

    `room_K` of the room's temperature, anew in each cycle or, `wanders`, mostly kept; `hold_share`
    of the current that ends the hold, as a share of it; `hold_walk` of how its logarithm walks over
    the root of a cycle. Without `holds` charges end at the upper cut-off; with a `charge_share` they
    end by their charge, that of nominal capacity.
    """

    name: str
    room_K: float = 0.0
    wanders: bool = False
    hold_share: float = 0.0
    hold_walk: float = 0.0
    holds: bool = True
    charge_share: float = 0.0


DISTURBANCES = (
    Disturbance("none"),
    Disturbance("room ± 0.3 K, each cycle", room_K=0.3),
    Disturbance("room ± 1 K, each cycle", room_K=1.0),
    Disturbance("room ± 1 K, wandering", room_K=1.0, wanders=True),
    Disturbance("hold's end ± 10 %, each cycle", hold_share=0.1),
    Disturbance("hold's end ± 30 %, each cycle", hold_share=0.3),
    Disturbance("hold's end drifts by 2 % a cycle", hold_walk=0.02),
    Disturbance("hold's end drifts by 5 % a cycle", hold_walk=0.05),
    Disturbance("no hold", holds=False),
    Disturbance("charges end at 70 % of nominal", holds=False, charge_share=0.7),
)
CELLS = ("anode-free NMC811", "anode-free LFP")


@dataclass(frozen=True)
class Found:
    """Lithium lost of one life under one disturbance; shares of nominal capacity."""

    scatter: float  # of its charges: the middle one of three away from the others' mean
    flagged: int  # cycles called a soft short, of `CYCLES`
    label: Label
    value: float
    low: float
    high: float
    truth: float


def disturbed(
    life: Life, plans: Sequence[CyclePlan], how: Disturbance, seed: int
) -> Iterator[LivedCycle]:
    """Live a programme under a disturbance."""
    random = np.random.default_rng([seed, 41])
    middle_K, away, walked = life.ambient_K, 0.0, 0.0
    share = how.charge_share or math.inf
    most_mAh = share * life.parameters.nominal_capacity_mAh
    for plan in plans:
        drawn = float(random.standard_normal())
        kept = WANDERS_BACK if how.wanders else 0.0
        away = kept * away + (1.0 - kept**2) ** 0.5 * drawn
        life.ambient_K = middle_K + how.room_K * away
        factor = max(1.0 + how.hold_share * float(random.standard_normal()), 0.1) * how.holds
        walked += how.hold_walk * float(random.standard_normal())
        factor *= math.exp(walked)
        steps = tuple(
            replace(step, hold_A=factor * step.hold_A, max_mAh=min(step.max_mAh, most_mAh))
            if step.current_A > 0.0
            else step
            for step in plan.steps
        )
        yield life.cycle(replace(plan, steps=steps))


def found(task: tuple[Group, int, Disturbance]) -> Found:
    """Live one life and return what is said of it at its end."""
    group, seed, how = task
    p = cell_of(group, seed)
    plans = programme(group.cell, p, CYCLES)
    config = estimator_config(group.cell, p, gain_u=GAIN_U, offset_u_of_range=OFFSET_U_OF_RANGE)
    life = own_life(p, reading_of(group, seed, largest_A(plans)), seed)
    kept: list[LivedCycle] = []

    def lived() -> Iterator[LivedCycle]:
        for one in disturbed(life, plans, how, seed):
            kept.append(one)
            yield one

    said = list(estimated(config, lived()))
    lost = said[-1][1].lost
    charges = np.array([one.truth.charge_mAh for one in kept[2:]])
    nominal_mAh = 1e3 * config.nominal_capacity_Ah
    away = np.abs(charges[1:-1] - 0.5 * (charges[:-2] + charges[2:])) / nominal_mAh
    return Found(
        scatter=1.4826 * float(np.median(away)) / 1.5**0.5,
        flagged=sum("soft-short" in figures.flags for figures, _ in said),
        label=lost.label,
        value=lost.value_Ah / config.nominal_capacity_Ah,
        low=lost.low_Ah / config.nominal_capacity_Ah,
        high=lost.high_Ah / config.nominal_capacity_Ah,
        truth=kept[-1].truth.lost_mAh / nominal_mAh,
    )


def line(how: Disturbance, rows: Sequence[Found]) -> str:
    """Return a line of the table."""
    measured = [one for one in rows if one.label is Label.MEASURED]
    others = [one for one in rows if one.label is not Label.MEASURED]
    covered = [sum(one.low <= one.truth <= one.high for one in some) for some in (measured, others)]
    error = statistics.median(abs(one.value - one.truth) for one in measured)
    width = statistics.median(one.high - one.low for one in measured)
    score = statistics.fmean(interval_score(one.low, one.high, one.truth) for one in measured)
    scatter = statistics.median(one.scatter for one in rows)
    return (
        f"| {how.name} | {1e3 * scatter:.2f} | {covered[0]} of {len(measured)} "
        f"| {1e3 * error:.2f} | {1e3 * width:.1f} | {1e3 * score:.1f} "
        f"| {covered[1]} of {len(others)} "
        f"| {sum(one.flagged for one in rows)} of {CYCLES * len(rows)} |"
    )


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lives", type=int, default=60, help="of each cell")
    parser.add_argument("--seed", default="", help="base of the seeds (default: the commit's hash)")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", default="", help="disturbances with this in their name")
    given = parser.parse_args()
    base = given.seed or commit_hash()
    groups = [group for group in GROUPS if group.name in CELLS]
    cases = [how for how in DISTURBANCES if given.only in how.name]
    tasks = [
        (group, seed_of(base, f"disturbed {group.name}", number), how)
        for how in cases
        for group in groups
        for number in range(given.lives)
    ]
    with get_context("spawn").Pool(given.processes) as pool:
        results = pool.map(found, tasks, chunksize=8)
    print(
        "| from cycle to cycle | charges scatter by, median (‰ of nominal) | measured: covered "
        "| median error (‰) | median width (‰) | mean score (‰) | other labels: covered "
        "| cycles called a soft short |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for how in cases:
        print(line(how, [one for one, task in zip(results, tasks, strict=True) if task[2] is how]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
