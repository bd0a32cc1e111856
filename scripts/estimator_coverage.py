"""Coverage, width and interval score of the estimates over simulated lives, once per life.

    python scripts/estimator_coverage.py --lives 1000 --markdown out.md --json out.json

Each life is another cell on another instrument, its seed from the commit's hash (or ``--seed``),
its group and its number. It is scored at cycles fixed beforehand (formation: 2, base: 40), beside
plain baselines and an oracle that knows the hidden side currents, what is left on the anode and how
the current went between readings, but not the instrument's realised gain and offset. What the
groups and columns mean stands in docs/estimation.md.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the plants of the tests

from controller.domain.cell import CellFormat
from controller.domain.figures import Label
from controller.estimation import inventory
from controller.estimation.diagnosis import diagnose, shown_in_run
from controller.estimation.inventory import Quantity
from hil.cell.library import load_cell
from hil.cell.parameters import CellParameters
from hil.draws import draw_cell, drawn_values
from hil.lives import Life
from hil.logger import Sampling
from hil.port_lives import PortLife, Told
from hil.programmes import BASE_C, largest_A, programme, programme_of_a_run
from hil.readings import GAIN_V_U, Reading, keithley_reading, specified_reading
from hil.scoring import Scored, estimator_config, interval_score, score_life
from scripts.seeds import commit_hash, seed_of
from tests.plants import equivalent_circuit, two_foils

CYCLES = 40
FORMATION_CYCLE, BASE_CYCLE = 2, 40
GAIN_U, OFFSET_U_OF_RANGE = 5e-4, 1e-5
NORMAL_95 = 1.959964
# The steps of other plants do not foresee where the voltage falls: read often all the way.
OTHER_SAMPLING = Sampling(period_s=5.0)


Labels = dict[str, dict[int, dict[str, int]]]


@dataclass(frozen=True)
class Group:
    """Lives of one kind.

    `plant` is ``own`` or a plant of the tests; `family` takes the place of the cell's own; `run`:
    with the reference test, treatments and controls of a run, else base cycles only;
    `in_class`: inside what the estimator assumes, so that 93-97 % is asked of it.
    """

    name: str
    cell: str
    in_class: bool = True
    family: str = ""
    plant: str = "own"
    instrument: str = "specified"
    split: str = "drawn"
    side: str = "prior"
    run: bool = False
    share: float = 1.0  # of the lives asked for
    cycle: int = BASE_CYCLE  # at which it is scored; earlier where cells do not live that long


GROUPS = (
    Group("anode-free NMC811", "anode-free"),
    Group("anode-free LFP", "anode-free-lfp"),
    Group("Li||Cu", "li-cu"),
    Group("anode-free NMC811, no side current", "anode-free", side="none", share=0.5),
    Group("anode-free LFP, split by the prior", "anode-free-lfp", split="prior"),
    Group("Li||NMC811, lithium in excess", "excess-lithium", split="loss prior", share=0.3),
    Group("anode-free NMC811, as in a run", "anode-free", run=True, share=0.5),
    Group("anode-free LFP, as in a run", "anode-free-lfp", run=True, share=0.5),
    Group("Li||Cu, as in a run", "li-cu", run=True, share=0.5),
    Group("anode-free NMC811, emulated Keithley", "anode-free", in_class=False, instrument="keithley", share=0.3),
    Group("anode-free NMC811, ranges of the files", "anode-free", in_class=False, side="file", share=0.3),
    Group("anode-free NMC811, HCE", "anode-free", in_class=False, family="hce", share=0.3),
    Group("anode-free NMC811, dilute ether", "anode-free", in_class=False, family="dilute-ether", share=0.3, cycle=20),
    Group("anode-free NMC811, carbonate", "anode-free", in_class=False, family="carbonate", share=0.3, cycle=8),
    Group("Li||Cu, carbonate", "li-cu", in_class=False, family="carbonate", share=0.3),
    Group("counted islands (another structure)", "anode-free", in_class=False, plant="islands", share=0.1, cycle=20),
    Group("columns side by side, Li||Cu (another structure)", "li-cu", in_class=False, plant="columns", share=0.1, cycle=20),
)  # fmt: skip


@dataclass(frozen=True)
class Score:
    """One quantity of one life at its fixed cycle."""

    group: str
    in_class: bool
    quantity: str
    label: str
    unit: float  # nominal capacity where the quantity is a charge, else 1
    value: float
    low: float
    high: float
    truth: float
    plain: float  # the plain baseline's value
    last: float  # the value of the cycle before
    oracle_low: float
    oracle_high: float


# -- cells --------------------------------------------------------------------------------------


def side_density(generator: np.random.Generator, p: CellParameters) -> float:
    """Draw a side current by the prior that the estimator states (mA/cm2)."""
    low, high = inventory.SIDE_RATES_PER_H[0], inventory.SIDE_RATES_PER_H[-1]
    if generator.uniform() >= inventory.SIDE_PROBABILITY:
        return 0.0
    rate = math.exp(generator.uniform(math.log(low), math.log(high)))
    return rate * p.nominal_capacity_mAh / p.area_cm2


def cell_of(group: Group, seed: int) -> CellParameters:
    """Return the drawn cell of a life. Shorts are another estimator's; here there are none."""
    generator = np.random.default_rng([seed, 31])
    p = draw_cell(load_cell(group.cell), seed)
    if group.family:
        file = load_cell(group.cell)
        p = replace(p, **drawn_values(group.family, file.cathode, seed))
    p = replace(p, short_hazard_per_mAh_per_cm2=0.0)
    if group.side == "none":
        p = replace(p, shuttle_mA_per_cm2=0.0, oxidation_mA_per_cm2=0.0)
    elif group.side == "prior":
        p = replace(
            p,
            shuttle_mA_per_cm2=side_density(generator, p),
            oxidation_mA_per_cm2=side_density(generator, p),
        )
    if group.split == "prior":
        p = with_split(p, group.cell, seed, generator)
    elif group.split == "loss prior":
        p = with_loss(p, group.cell, seed, generator)
    return p


def _pilot(p: CellParameters, cell: str, seed: int) -> tuple[float, float, float]:
    """Return isolated metal, SEI and charge of ten cycles of a cell (mAh)."""
    cycles = Life(p, seed=seed).live(programme(cell, p, 10), read=False)
    truth = cycles[-1].truth
    charge = sum(one.truth.charge_mAh for one in cycles)
    return truth.inactive_mAh, truth.sei_mAh + max(truth.dissolved_mAh, 0.0), charge


def with_split(
    p: CellParameters, cell: str, seed: int, generator: np.random.Generator
) -> CellParameters:
    """Return a cell whose lithium lost splits as drawn from the estimator's prior."""
    share = -1.0
    while not 0.02 <= share <= 0.98:
        share = 0.6 + 0.2 * float(generator.standard_normal())
    inactive, sei, _ = _pilot(p, cell, seed)
    total = inactive + sei
    return replace(
        p,
        inactive_per_stripped=min(p.inactive_per_stripped * share * total / inactive, 0.3),
        sei_per_plated=min(p.sei_per_plated * (1.0 - share) * total / sei, 0.5),
    )


def with_loss(
    p: CellParameters, cell: str, seed: int, generator: np.random.Generator
) -> CellParameters:
    """Return a cell that loses lithium per charge as drawn from the estimator's prior."""
    wanted = inventory.LOSS_MEDIAN * inventory.LOSS_FACTOR ** float(generator.standard_normal())
    inactive, sei, charge = _pilot(p, cell, seed)
    factor = wanted * charge / (inactive + sei)
    return replace(
        p,
        inactive_per_stripped=min(p.inactive_per_stripped * factor, 0.3),
        sei_per_plated=min(p.sei_per_plated * factor, 0.5),
    )


def reading_of(group: Group, seed: int, current_A: float) -> Reading:
    """Return the instrument of a life."""
    if group.instrument == "keithley":
        return keithley_reading(seed, current_A)
    return specified_reading(seed, current_A, gain_u=GAIN_U, offset_u_of_range=OFFSET_U_OF_RANGE)


def own_life(p: CellParameters, reading: Reading, seed: int) -> Life:
    """Return a cell of the project's plant on its instrument, in a room of 20-30 degC."""
    ambient_K = 298.15 + float(np.random.default_rng([seed, 32]).uniform(-5.0, 5.0))
    return Life(p, seed=seed, reading=reading, ambient_K=ambient_K)


def lived(group: Group, seed: int) -> tuple[list[Scored], Reading, CellParameters]:
    """Live one life of a group."""
    own = group.plant == "own"
    p = cell_of(group, seed) if own else load_cell(group.cell).parameters(0)
    planned = programme_of_a_run if group.run else programme
    plans = planned(group.cell, p, min(CYCLES, group.cycle))
    reading = reading_of(group, seed, largest_A(plans))
    config = estimator_config(group.cell, p, gain_u=GAIN_U, offset_u_of_range=OFFSET_U_OF_RANGE)
    if own:
        return score_life(own_life(p, reading, seed), config, plans), reading, p
    factory = equivalent_circuit.make if group.plant == "islands" else two_foils.li_cu
    plant = factory(seed=seed, temperature_K=298.15)
    other = PortLife(
        plant,
        _told,
        nominal_mAh=p.nominal_capacity_mAh,
        seed=seed,
        reading=reading,
        sampling=OTHER_SAMPLING,
    )
    return score_life(other, config, plans), reading, p


def _told(truth: dict[str, float]) -> Told:
    return Told(lost_mAh=truth["lithium_lost_mAh"], active_mAh=truth["active_lithium_mAh"])


# -- scores of one life -------------------------------------------------------------------------


def scores(group: Group, seed: int) -> tuple[list[Score], list[tuple[int, str]], str]:
    """Return a life's scores, the label of lithium lost of each cycle, and the diagnosis."""
    rows, reading, p = lived(group, seed)
    labels = [(n, row.inventory.lost.label.value) for n, row in enumerate(rows, 1)]
    found = []
    for name, cycle in (("CE, formation", FORMATION_CYCLE), ("CE, base", group.cycle)):
        found.append(_efficiency(group, name, rows[cycle - 1], rows[cycle - 2], reading))
    found.append(_resistance(group, rows[group.cycle - 1], rows[group.cycle - 2]))
    found += _lithium(group, rows[: group.cycle], reading, p)
    shown = shown_in_run([row.figures for row in rows[: group.cycle]])
    nominal_Ah = p.nominal_capacity_mAh * 1e-3
    diagnosis = diagnose(shown, CellFormat(load_cell(group.cell).format), nominal_Ah)
    return [one for one in found if one is not None], labels, diagnosis.mode.value


def _range_errors(reading: Reading, current_A: float) -> tuple[float, float, float]:
    index = reading.range_of(current_A)
    return reading.gains[index] - 1.0, reading.offsets_A[index], reading.ranges_A[index]


def _efficiency(
    group: Group, name: str, row: Scored, before: Scored, reading: Reading
) -> Score | None:
    figures, truth = row.figures, row.truth
    if figures.coulombic_efficiency is None or figures.u_coulombic_efficiency is None:
        return None
    ce = truth.discharge_mAh / truth.charge_mAh
    value, half = figures.coulombic_efficiency, NORMAL_95 * figures.u_coulombic_efficiency
    current_A = max(abs(step.current_A) for step in row.plan.steps)
    _, offset_A, full_A = _range_errors(reading, current_A)
    charge_As, charge_s, discharge_s = 3.6 * truth.charge_mAh, *row.flowing_s
    sensitivity = (ce * charge_s + discharge_s) / charge_As
    middle = ce - offset_A * sensitivity
    oracle_half = NORMAL_95 * OFFSET_U_OF_RANGE * full_A * sensitivity
    return Score(
        group.name, group.in_class, name, "measured", 1.0, value, value - half, value + half, ce,
        1.0, before.figures.coulombic_efficiency or math.nan,
        middle - oracle_half, middle + oracle_half,
    )  # fmt: skip


def _resistance(group: Group, row: Scored, before: Scored) -> Score | None:
    value, u = row.figures.resistance_Ohm, row.figures.u_resistance_Ohm
    if not (math.isfinite(value) and math.isfinite(row.step_Ohm)):
        return None
    half = NORMAL_95 * u
    known = row.known_step_Ohm
    gain_Ohm = math.hypot(GAIN_U, GAIN_V_U) * row.step_Ohm
    oracle_half = NORMAL_95 * math.hypot(row.known_step_u_Ohm, gain_Ohm)
    return Score(
        group.name, group.in_class, "R, 10 s step", "measured", row.step_Ohm, value, value - half,
        value + half, row.step_Ohm, before.figures.resistance_Ohm, before.figures.resistance_Ohm,
        known - oracle_half, known + oracle_half,
    )  # fmt: skip


def _lithium(
    group: Group, rows: Sequence[Scored], reading: Reading, p: CellParameters
) -> list[Score]:
    """Return the scores of the inventory (mAh)."""
    row, truth = rows[-1], rows[-1].truth
    nominal = p.nominal_capacity_mAh
    foil = group.cell == "excess-lithium"
    plain = sum(
        (1.0 - one.figures.coulombic_efficiency) * nominal
        for one in rows
        if one.figures.coulombic_efficiency is not None
    )
    passed = -sum(one.truth.net_mAh for one in rows)
    gain, offset_A, full_A = _range_errors(reading, BASE_C * nominal * 1e-3)
    hours = sum(one.hours for one in rows)
    middle = truth.lost_mAh + gain * passed + offset_A * hours * 1e3
    half = NORMAL_95 * math.hypot(GAIN_U * passed, OFFSET_U_OF_RANGE * full_A * 1e3 * hours)
    before = rows[-2].inventory
    out = []

    def take(name: str, one: Quantity, was: Quantity, true: float, plain_mAh: float) -> None:
        if one.label is Label.UNKNOWN or not math.isfinite(one.value_Ah):
            return
        oracle = (middle - half, middle + half) if name == "lithium lost" else (math.nan, math.nan)
        out.append(
            Score(
                group.name,
                group.in_class,
                name,
                one.label.value,
                nominal,
                1e3 * one.value_Ah,
                1e3 * one.low_Ah,
                1e3 * one.high_Ah,
                true,
                plain_mAh,
                1e3 * was.value_Ah,
                *oracle,
            )
        )

    now = row.inventory
    lost = truth.lost_mAh
    take("lithium lost", now.lost, before.lost, lost, math.nan if foil else plain)
    if group.plant == "own":
        half_lost = 0.5 * (math.nan if foil else plain)
        side = truth.shuttled_mAh + truth.oxidised_mAh
        sei = truth.sei_mAh + truth.dissolved_mAh
        take("side currents", now.side, before.side, side, 0.0)
        take("inactive", now.inactive, before.inactive, truth.inactive_mAh, half_lost)
        take("SEI", now.sei, before.sei, sei, half_lost)
        take("fresh inactive", now.fresh, before.fresh, truth.fresh_mAh, 0.5 * half_lost)
        take("old inactive", now.old, before.old, truth.old_mAh, 0.5 * half_lost)
    return out


# -- all lives ----------------------------------------------------------------------------------


def _one(task: tuple[Group, int]) -> tuple[list[Score], list[tuple[int, str]], str]:
    return scores(*task)


def all_scores(
    lives: int, base: str, processes: int, groups: Sequence[Group] = GROUPS
) -> tuple[list[Score], Labels, dict[str, Counter[str]], int]:
    """Return scores, counts of labels by group and cycle, of modes by group, and of lives."""
    tasks = [
        (group, seed_of(base, group.name, number))
        for group in groups
        for number in range(math.ceil(lives * group.share))
    ]
    found: list[Score] = []
    labels: Labels = defaultdict(lambda: defaultdict(lambda: defaultdict(int)))
    modes: dict[str, Counter[str]] = defaultdict(Counter)
    if processes > 1:
        with get_context("spawn").Pool(processes) as pool:
            results = list(pool.imap(_one, tasks, chunksize=8))
    else:
        results = [_one(task) for task in tasks]
    for (group, _), (some, of_cycles, mode) in zip(tasks, results, strict=True):
        found += some
        modes[group.name][mode] += 1
        for cycle, label in of_cycles:
            labels[group.name][cycle][label] += 1
    return found, labels, modes, len(tasks)


def summary(rows: Sequence[Score]) -> dict[str, float]:
    """Return the figures of one line of the table; charges as a share of nominal capacity."""
    scale = [1.0 / one.unit for one in rows]
    inside = [one.low <= one.truth <= one.high for one in rows]
    errors = [abs(one.value - one.truth) * s for one, s in zip(rows, scale, strict=True)]
    widths = [(one.high - one.low) * s for one, s in zip(rows, scale, strict=True)]
    ours = [
        interval_score(one.low, one.high, one.truth) * s for one, s in zip(rows, scale, strict=True)
    ]
    oracle = [
        interval_score(one.oracle_low, one.oracle_high, one.truth) * s
        for one, s in zip(rows, scale, strict=True)
    ]
    plain = [abs(one.plain - one.truth) * s for one, s in zip(rows, scale, strict=True)]
    last = [abs(one.last - one.truth) * s for one, s in zip(rows, scale, strict=True)]
    of_value = [
        abs(one.value - one.truth) / abs(one.truth) for one in rows if abs(one.truth) > 1e-12
    ]
    return {
        "n": len(rows),
        "covered": sum(inside) / len(rows),
        "bias": statistics.fmean(
            (one.value - one.truth) * s for one, s in zip(rows, scale, strict=True)
        ),
        "error_median": statistics.median(errors),
        "error_of_value_median": statistics.median(of_value) if of_value else math.nan,
        "width_median": statistics.median(widths),
        "score_mean": statistics.fmean(ours),
        "score_median": statistics.median(ours),
        "oracle_mean": statistics.fmean(oracle),
        "oracle_median": statistics.median(oracle),
        "plain_median": statistics.median(plain),
        "last_median": statistics.median(last),
    }


def tables(found: Sequence[Score], labels: Labels, modes: dict[str, Counter[str]]) -> list[str]:
    """Return the tables of docs/estimation/scores.md."""
    out = []
    names = list(dict.fromkeys(one.quantity for one in found))
    for quantity in names:
        ppm = 1e6 if quantity.startswith("CE") else 1e3
        unit = "ppm" if quantity.startswith("CE") else "‰"
        out += [
            f"**{quantity}** ({unit}{'' if quantity.startswith('CE') else ' of nominal capacity' if not quantity.startswith('R') else ' of the value'})",
            "",
            "| lives | label | n | covered | bias | median error | median width | score / oracle's, median | mean | plain: median error | last value: median error |",
            "|---|---|---|---|---|---|---|---|---|---|---|",
        ]
        for group in dict.fromkeys(one.group for one in found):
            mine = [one for one in found if one.quantity == quantity and one.group == group]
            for label in dict.fromkeys(one.label for one in mine):
                s = summary([one for one in mine if one.label == label])
                cells = [
                    group.replace("|", "\\|"),
                    label,
                    str(s["n"]),
                    f"{100 * s['covered']:.0f} %",
                    *(f"{ppm * s[key]:+.2f}" for key in ("bias",)),
                    *(f"{ppm * s[key]:.2f}" for key in ("error_median", "width_median")),
                    f"{ppm * s['score_median']:.2f} / {_or_none(ppm * s['oracle_median'])}",
                    f"{ppm * s['score_mean']:.2f} / {_or_none(ppm * s['oracle_mean'])}",
                    _or_none(ppm * s["plain_median"]),
                    _or_none(ppm * s["last_median"]),
                ]
                out.append("| " + " | ".join(cells) + " |")
        out.append("")
    out += ["**Cycles whose lithium lost is called measured**", "", "| lives | all cycles | cycle 5 | 10 | 20 | 40 |", "|---|---|---|---|---|---|"]  # fmt: skip
    for group, by_cycle in labels.items():
        total = sum(one.get("measured", 0) for one in by_cycle.values())
        count = sum(sum(one.values()) for one in by_cycle.values())
        cells = [
            group.replace("|", "\\|"),
            f"{100 * total / count:.0f} %",
            *(_measured(by_cycle.get(cycle, {})) for cycle in (5, 10, 20, 40)),
        ]
        out.append("| " + " | ".join(cells) + " |")
    out += ["", "**Diagnosis at the scored cycle**", "", "| lives | named |", "|---|---|"]
    for group, counts in modes.items():
        words = ", ".join(f"{mode}: {count}" for mode, count in counts.most_common())
        name = group.replace("|", "\\|")
        out.append(f"| {name} | {words} |")
    return out


def _or_none(value: float) -> str:
    return f"{value:.2f}" if math.isfinite(value) else "-"


def _measured(counts: dict[str, int]) -> str:
    total = sum(counts.values())
    return f"{100 * counts.get('measured', 0) / total:.0f} %" if total else "-"


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--lives", type=int, default=1000, help="of each full group")
    parser.add_argument("--seed", default="", help="in place of the commit's hash")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument(
        "--group", action="append", default=[], help="only groups with this in their name"
    )
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    base = given.seed or commit_hash()
    groups = [
        one for one in GROUPS if not given.group or any(word in one.name for word in given.group)
    ]
    start = time.perf_counter()
    found, labels, modes, count = all_scores(given.lives, base, given.processes, groups)
    lines = [
        f"{count} lives of {CYCLES} cycles, seeds from {base[:12]}, {time.perf_counter() - start:.0f} s in {given.processes} processes.",
        "",
        *tables(found, labels, modes),
    ]
    print("\n".join(lines))
    if given.markdown:
        given.markdown.write_text("\n".join(lines) + "\n", encoding="utf-8")
    if given.json:
        text = json.dumps(
            {
                "seed": base,
                "scores": [asdict(one) for one in found],
                "labels": labels,
                "modes": modes,
            }
        )
        given.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
