"""What the decay of a charged rest adds to the lithium inventory, on simulated lives.

    python scripts/rest_evidence.py --lives 200 --seed fresh
    python scripts/rest_evidence.py --told 12 [--after-charge-h 4]

Each life is a cell drawn as in ``estimator_coverage.py`` (side currents by the prior), with one
charged rest of 4 h at half charge, the control of the discharged rest. It is lived once and
estimated twice: from all readings, and from the same without the voltages of that rest. `--told`
instead: the self-discharge that the rest tells, at half charge or so long after the charge, beside
the shuttle and the oxidation that so many drawn cells were given (share of nominal capacity an
hour).
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
from hil.cell.library import load_cell
from hil.draws import draw_cell
from hil.lives import Life, LivedCycle
from hil.programmes import CHARGED_REST, largest_A, programme
from hil.scoring import estimated, estimator_config
from scripts.estimator_coverage import (
    GAIN_U,
    OFFSET_U_OF_RANGE,
    Group,
    cell_of,
    reading_of,
)
from scripts.seeds import commit_hash, seed_of

# Shuttle and oxidation of `told`.
TOLD_PER_H = ((0.0, 0.0), (1e-4, 0.0), (1e-3, 0.0), (1e-2, 0.0), (0.0, 1e-3), (0.0, 1e-2))
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


def told(cell: str, cells: int, after_charge_h: float) -> list[str]:
    """Return the table of what rests tell of given side currents."""
    out = ["| shuttle | oxidation | told | u | largest distance from the shuttle / u |", "|---|---|---|---|---|"]  # fmt: skip
    for shuttle, oxidation in TOLD_PER_H:
        values, us = [], []
        for seed in range(cells):
            p = draw_cell(load_cell(cell), seed)
            density = p.nominal_capacity_mAh / p.area_cm2
            p = replace(
                p,
                short_hazard_per_mAh_per_cm2=0.0,
                shuttle_mA_per_cm2=density * shuttle,
                oxidation_mA_per_cm2=density * oxidation,
            )
            plans = programme(cell, p, 4, {} if after_charge_h else {4: CHARGED_REST})
            if after_charge_h:
                charge, pause, *after = plans[3].steps
                longer = replace(pause, max_s=3600.0 * after_charge_h)
                plans[3] = replace(plans[3], steps=(charge, longer, *after))
            reading = reading_of(Group(cell, cell), seed, largest_A(plans))
            config = estimator_config(cell, p, gain_u=GAIN_U, offset_u_of_range=OFFSET_U_OF_RANGE)
            *_, (figures, _) = estimated(config, Life(p, seed=seed, reading=reading).live(plans))
            values.append(figures.self_discharge_A / config.nominal_capacity_Ah)
            us.append(figures.u_self_discharge_A / config.nominal_capacity_Ah)
        away = max(abs(value - shuttle) / u for value, u in zip(values, us, strict=True))
        out.append(
            f"| {shuttle:g} | {oxidation:g} | {min(values):.1e} to {max(values):.1e} "
            f"| {min(us):.1e} to {max(us):.1e} | {away:.1f} |"
        )
    return out


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--cell", default="anode-free")
    parser.add_argument("--lives", type=int, default=60)
    parser.add_argument("--rest-in", type=int, default=4, help="the cycle with the charged rest")
    parser.add_argument("--cycles", type=int, default=12)
    parser.add_argument("--seed", default="", help="in place of the commit's hash")
    parser.add_argument("--told", type=int, default=0, help="cells of given side currents")
    parser.add_argument("--after-charge-h", type=float, default=0.0, help="0: at half charge")
    given = parser.parse_args()
    if given.told:
        print("\n".join(told(given.cell, given.told, given.after_charge_h)))
        return
    base = given.seed or commit_hash()
    found: list[Scored] = []
    for number in range(given.lives):
        seed = seed_of(base, f"rest {given.cell}", number)
        found += scores(given.cell, seed, given.rest_in, given.cycles)
    at = sorted({*range(given.rest_in, min(given.rest_in + 5, given.cycles + 1)), given.cycles})
    print("\n".join(table(found, at)))


if __name__ == "__main__":
    main()
