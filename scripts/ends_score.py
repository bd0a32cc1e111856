"""Score what is said to have ended each discharge against hidden truth, over drawn lives.

    python scripts/ends_score.py --lives 150

Cells, electrolytes, instruments, logging intervals and plans are drawn by seed; the weights in
controller/estimation/ends.py were fitted to seeds 1 to 60, which are not to be scored. Beside our
plant an equivalent circuit with counted islands (tests/plants). The baseline, which no program has:
the truth of the discharge before, again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context

import numpy as np

from controller.domain.figures import DischargeEnd
from controller.estimation.ending import begin_ending, new_ending, observe_ending
from controller.estimation.ends import (
    EndMemory,
    classify_end,
    end_probabilities,
    possible_ends,
    remember,
    shape_of,
)
from hil.programmes import FORMATS
from hil.traces import TracedLife, draw_life
from scripts.forecast_score import CELL_FORMATS, CYCLES, other_life
from scripts.seeds import commit_hash, seed_of

BINS = (0.0, 0.02, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 0.985, 1.0)
CERTAIN = 0.8
ANODE, CATHODE = DischargeEnd.ANODE, DischargeEnd.CATHODE


@dataclass(frozen=True)
class Judged:
    """One discharge: what was said, and what it was."""

    cell: str
    interval_s: float
    held: bool
    said: str
    probability: float
    anode: float
    truth: str
    before: str


def judge_life(life: TracedLife) -> list[Judged]:
    """Judge every discharge of a logged life."""
    memory = EndMemory()
    ending = new_ending(life.lower_V, life.nominal_Ah)
    possible = possible_ends(CELL_FORMATS[life.cell])
    out = []
    before = ""
    for cycle in life.cycles:
        begin_ending(ending)
        dt_s = np.diff(cycle.t_s, prepend=0.0)
        charge_Ah = dt_s * np.abs(cycle.current_A) / 3600.0
        rows = zip(
            dt_s.tolist(),
            charge_Ah.tolist(),
            cycle.current_A.tolist(),
            cycle.voltage_V.tolist(),
            cycle.held.tolist(),
            strict=True,
        )
        for reading in rows:
            observe_ending(ending, *reading[:4], int(reading[4]))
        c_rate = float(np.median(np.abs(cycle.current_A[~cycle.held]))) / life.nominal_Ah
        shape = shape_of(ending, memory, c_rate)
        probabilities = end_probabilities(shape, memory)
        if probabilities is None:
            continue
        said, probability = classify_end(shape, possible, memory)
        out.append(
            Judged(
                cell=life.cell,
                interval_s=cycle.interval_s,
                held=shape.hold_share >= 0.0,
                said=said.value,
                probability=probability,
                anode=probabilities.anode,
                truth=cycle.true_end,
                before=before,
            )
        )
        memory = remember(memory, probabilities, c_rate, ending.charge_Ah / life.nominal_Ah)
        before = cycle.true_end
    return out


def _job(job: tuple[str, int]) -> list[Judged]:
    name, seed = job
    make = draw_life if name in FORMATS else other_life
    return judge_life(make(name, seed, CYCLES))


def confusion(judged: Sequence[Judged]) -> list[str]:
    """Return what was said by what was true, the share that was right, and the baseline's."""
    columns = [end.value for end in DischargeEnd]
    out = ["| truth \\ said | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    for truth in sorted({one.truth for one in judged}):
        mine = [one.said for one in judged if one.truth == truth]
        out.append(f"| {truth} | " + " | ".join(str(mine.count(c)) for c in columns) + " |")
    after = [one for one in judged if one.before]
    right = sum(one.said == one.truth for one in after)
    stale = sum(one.before == one.truth for one in after)
    wrong = [one for one in judged if one.said == ANODE.value and one.truth != ANODE.value]
    sure = sum(one.probability >= CERTAIN for one in wrong)
    others = sum(one.truth != ANODE.value for one in judged)
    found = [one for one in judged if one.truth == ANODE.value]
    kept = sum(one.said == ANODE.value and one.probability >= CERTAIN for one in found)
    return [
        *out,
        "",
        (
            f"From the second discharge on right: {right} of {len(after)}; the truth before, again: "
            f"{stale}. Not by the anode, yet called so at p >= {CERTAIN}: {sure} of {others}. By the "
            f"anode and called so at p >= {CERTAIN}: {kept} of {len(found)}."
        ),
    ]


def reliability(judged: Sequence[Judged]) -> list[str]:
    """Return, by what was said of the anode, how often it was the anode."""
    out = ["| p(anode) said | n | mean | was the anode |", "|---|---|---|---|"]
    for low, high in pairwise(BINS):
        mine = [one for one in judged if low <= one.anode < high]
        if mine:
            share = np.mean([one.truth == ANODE.value for one in mine])
            mean = np.mean([one.anode for one in mine])
            out.append(f"| {low}-{high} | {len(mine)} | {mean:.3f} | {share:.3f} |")
    return out


def main() -> None:
    """Run the lives and print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lives", type=int, default=150, help="of each format of our plant")
    parser.add_argument("--others", type=int, default=100, help="of the equivalent circuit")
    parser.add_argument("--seed", default="", help="in place of the commit's hash")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    began_s = time.perf_counter()
    base = options.seed or commit_hash()
    lives = {**dict.fromkeys(FORMATS, options.lives), "equivalent circuit": options.others}
    jobs = [(name, seed_of(base, name, k)) for name, count in lives.items() for k in range(count)]
    with get_context("spawn").Pool(options.processes) as pool:
        judged = [one for life in pool.map(_job, jobs, chunksize=8) for one in life]
    both = [one for one in judged if one.cell in {"anode-free", "anode-free-lfp"}]
    groups = {
        "Our plant, formats that both electrodes can end": both,
        "of these at the end of a hold": [one for one in both if one.held],
        **{name: [one for one in judged if one.cell == name] for name in FORMATS},
        "equivalent circuit": [one for one in judged if one.cell == "equivalent circuit"],
    }
    for name, mine in groups.items():
        print(f"\n### {name}\n")
        print("\n".join([*confusion(mine), "", *reliability(mine)]))
    print(f"\n{len(jobs)} lives, seeds from {base[:12]}, {time.perf_counter() - began_s:.0f} s.")


if __name__ == "__main__":
    main()
