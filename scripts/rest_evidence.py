"""What the decay of a charged rest adds to the lithium inventory, on simulated lives.

    python scripts/rest_evidence.py --lives 60

Each life is a cell drawn as in ``estimator_coverage.py`` (side currents by the prior), with one
charged rest of 4 h at half charge, the control of the discharged rest. It is lived once and
estimated twice: from all readings, and from the same without the voltages of that rest.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from controller.domain.command import HOLD_0A, TAG_TREATMENT
from controller.domain.figures import Label
from controller.domain.sample import NAN
from controller.estimation.inventory import Quantity
from hil.lives import Life, LivedCycle
from hil.programmes import CHARGED_REST, largest_A, programme
from hil.scoring import estimated, estimator_config
from scripts.estimator_coverage import (
    GAIN_U,
    OFFSET_U_OF_RANGE,
    Group,
    cell_of,
    commit_hash,
    reading_of,
    seed_of,
)

KINDS = ("none", "shuttle", "oxidation", "both")


@dataclass(frozen=True)
class Scored:
    """Lithium lost after one cycle of one life, by the evidence used; shares of nominal."""

    kind: str
    cycle: int
    known: bool  # the rest's voltages
    label: Label
    width: float
    side_width: float
    covered: bool
    side_covered: bool


def blinded(cycles: Sequence[LivedCycle]) -> Iterator[LivedCycle]:
    """Return the cycles without the voltages of their treatments' rests."""
    for lived in cycles:
        yield replace(
            lived,
            samples=tuple(
                sample._replace(voltage_V=NAN) if command == (HOLD_0A, TAG_TREATMENT) else sample
                for sample, command in zip(lived.samples, lived.commands, strict=True)
            ),
        )


def _inside(one: Quantity, truth_mAh: float) -> bool:
    return one.low_Ah <= 1e-3 * truth_mAh <= one.high_Ah


def scores(cell: str, seed: int, rest_in: int, cycles: int) -> list[Scored]:
    """Live one life and estimate it twice."""
    group = Group(cell, cell)
    p = cell_of(group, seed)
    plans = programme(cell, p, cycles, {rest_in: CHARGED_REST})
    reading = reading_of(group, seed, largest_A(plans))
    config = estimator_config(cell, p, gain_u=GAIN_U, offset_u_of_range=OFFSET_U_OF_RANGE)
    lives = Life(p, seed=seed, reading=reading).live(plans)
    kind = KINDS[(p.shuttle_mA_per_cm2 > 0.0) + 2 * (p.oxidation_mA_per_cm2 > 0.0)]
    out = []
    for known, read in ((True, lives), (False, blinded(lives))):
        for lived, (figures, now) in zip(lives, estimated(config, read), strict=True):
            truth, nominal_Ah = lived.truth, config.nominal_capacity_Ah
            out.append(
                Scored(
                    kind=kind,
                    cycle=figures.cycle,
                    known=known,
                    label=now.lost.label,
                    width=(now.lost.high_Ah - now.lost.low_Ah) / nominal_Ah,
                    side_width=(now.side.high_Ah - now.side.low_Ah) / nominal_Ah,
                    covered=_inside(now.lost, truth.lost_mAh),
                    side_covered=_inside(now.side, truth.shuttled_mAh + truth.oxidised_mAh),
                )
            )
    return out


def table(found: Sequence[Scored], cycles: Sequence[int]) -> list[str]:
    """Return the table: without and with the rest's voltages."""
    out = [
        "| side currents | cycle | lives | measured | covered | width, mean (%) | 90th percentile (%) | side charge: covered | width, mean (%) |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind in (*KINDS, "all"):
        for cycle in cycles:
            of_kind = [o for o in found if o.cycle == cycle and kind in {o.kind, "all"}]
            pairs = [[o for o in of_kind if o.known is known] for known in (False, True)]
            if not pairs[0]:
                continue
            n = len(pairs[0])
            widths = [sorted(100.0 * one.width for one in rows) for rows in pairs]
            sides = [100.0 * sum(one.side_width for one in rows) / n for rows in pairs]
            cells = [
                kind,
                str(cycle),
                str(n),
                " -> ".join(str(sum(o.label is Label.MEASURED for o in rows)) for rows in pairs),
                " -> ".join(str(sum(o.covered for o in rows)) for rows in pairs),
                " -> ".join(f"{sum(w) / n:.2f}" for w in widths),
                " -> ".join(f"{w[int(0.9 * (n - 1))]:.2f}" for w in widths),
                " -> ".join(str(sum(o.side_covered for o in rows)) for rows in pairs),
                " -> ".join(f"{side:.2f}" for side in sides),
            ]
            out.append("| " + " | ".join(cells) + " |")
    return out


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--cell", default="anode-free")
    parser.add_argument("--lives", type=int, default=60)
    parser.add_argument("--rest-in", type=int, default=4, help="the cycle with the charged rest")
    parser.add_argument("--cycles", type=int, default=12)
    parser.add_argument("--seed", default="", help="in place of the commit's hash")
    given = parser.parse_args()
    base = given.seed or commit_hash()
    found: list[Scored] = []
    for number in range(given.lives):
        seed = seed_of(base, f"rest {given.cell}", number)
        found += scores(given.cell, seed, given.rest_in, given.cycles)
    at = sorted({*range(given.rest_in, min(given.rest_in + 5, given.cycles + 1)), given.cycles})
    print("\n".join(table(found, at)))


if __name__ == "__main__":
    main()
