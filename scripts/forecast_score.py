"""Score the forecast of efficiency and discharge against "last cycle's efficiency".

    python scripts/forecast_score.py --lives 300

Lives of our plant in four formats (cells, electrolytes, instruments and plans drawn by seed), of the
plants of other structure in tests/plants, and measured cells where their files lie beside the
checkout. Each life counts once, at a cycle that its seed fixes before it is run. At the start of
that cycle's discharge, at 25, 50, 75 and 95 % of what it is then expected to give, and at the first
reading past its knee: does the 95 % interval hold what came, the CRPS, the width. The baseline is
the last base cycle's efficiency with the standard deviation of the differences of base cycles.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from controller.domain.cell import CellFormat
from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.charge import GAIN_U, OFFSET_U_OF_RANGE, RangeCharge, propagate
from controller.estimation.curve import Curve, begin_curve, new_curve, observe_curve
from controller.estimation.forecast import (
    BASE,
    Forecast,
    ForecastState,
    at_start,
    close_forecast,
    in_discharge,
)
from controller.estimation.mixture import Mixture, normal
from hil.lives import ENDS
from hil.logger import fixed_sampling
from hil.port_lives import PortLife, Told
from hil.programmes import FORMATS, drawn_programme, largest_A
from hil.readings import keithley_reading
from hil.traces import WORN_OUT, TracedCycle, TracedLife, draw_life, traced
from scripts.seeds import commit_hash, seed_of
from tests.plants.equivalent_circuit import EquivalentCircuit
from tests.plants.two_foils import TwoFoils

DATA = Path(__file__).resolve().parents[1].parent / "shared" / "data"
FRACTIONS = (0.25, 0.5, 0.75, 0.95)
POINTS = ("start", "25 %", "50 %", "75 %", "95 %", "knee")
CELL_FORMATS = {
    "anode-free": CellFormat.ANODE_FREE,
    "anode-free-lfp": CellFormat.ANODE_FREE,
    "excess-lithium": CellFormat.EXCESS_LITHIUM,
    "li-cu": CellFormat.LI_CU,
    "equivalent circuit": CellFormat.ANODE_FREE,
    "columns on foils": CellFormat.LI_CU,
    "neware_ife_ce20": CellFormat.FULL_CELL,
    "neware_empa_lowCE160": CellFormat.EXCESS_LITHIUM,
    "anode_free_cu_lfp_cycles": CellFormat.ANODE_FREE,
}
CYCLES = 26
OTHER_INTERVAL_S = 30.0
FIRST_SCORED, SCORED = 6, 19  # cycles 6 to 24, by seed
NORMAL_95 = 1.96


@dataclass(frozen=True)
class Score:
    """One forecast against what came; widths and CRPS in units of efficiency."""

    cell: str
    kind: str
    point: str
    inside: bool
    true_inside: bool
    crps: float
    width: float
    base_inside: bool
    base_crps: float
    base_width: float


def score_life(life: TracedLife, scored: Iterable[int]) -> list[Score]:
    """Forecast a logged life; score the cycles whose numbers (from 0) are in `scored`."""
    cell_format = CELL_FORMATS[life.cell]
    wanted = set(scored)
    state = ForecastState()
    curve = new_curve(life.lower_V, life.upper_V, life.nominal_Ah)
    past: list[float] = []
    out: list[Score] = []
    for n, cycle in enumerate(life.cycles):
        kind = cycle.kind if n else "formation"
        score: Callable[[str, Forecast | None], None] | None = None
        baseline = _baseline(past)
        if n in wanted and baseline is not None:
            score = partial(_append, out, life.cell, kind, cycle, baseline)
        begin_curve(curve)
        _discharge(cycle, curve, state, cell_format, kind, score)
        whole = kind == BASE and not cycle.held.any()
        state = close_forecast(
            state, cycle.charge_Ah, cycle.discharge_Ah, curve if whole else None, kind
        )
        if kind == BASE:
            past.append(cycle.discharge_Ah / cycle.charge_Ah)
    return out


def _discharge(
    cycle: TracedCycle,
    curve: Curve,
    state: ForecastState,
    cell_format: CellFormat,
    kind: str,
    score: Callable[[str, Forecast | None], None] | None,
) -> None:
    """Pass the readings of a discharge through the curve, scoring on the way."""
    charge_Ah = np.diff(cycle.t_s, prepend=0.0) * np.abs(cycle.current_A) / SECONDS_PER_HOUR
    readings = list(zip(charge_Ah.tolist(), cycle.voltage_V.tolist(), strict=True))
    if score is None:
        for step_Ah, voltage_V in readings:
            observe_curve(curve, step_Ah, voltage_V)
        return
    first = at_start(state, cell_format, cycle.charge_Ah, kind)
    score("start", first)
    if first is None:
        return
    expected_Ah = first.discharge_Ah.quantile(0.5)
    due = [
        (share * expected_Ah, point) for share, point in zip(FRACTIONS, POINTS[1:5], strict=True)
    ]
    seen_now = partial(
        in_discharge,
        state,
        cell_format,
        cycle.charge_Ah,
        curve,
        kind,
        same_rate=kind != "reference",
    )
    knee = False
    for index, (step_Ah, voltage_V) in enumerate(readings):
        observe_curve(curve, step_Ah, voltage_V)
        if index == len(readings) - 1:
            break
        while due and curve.charge_Ah >= due[0][0]:
            score(due.pop(0)[1], seen_now())
        if not knee and curve.knee_Ah >= 0.0:
            knee = True
            score("knee", seen_now())


def _baseline(past: Sequence[float]) -> Mixture | None:
    if len(past) < 3:
        return None
    return normal(past[-1], max(float(np.std(np.diff(past), ddof=1)), 1e-6))


def _append(
    out: list[Score],
    cell: str,
    kind: str,
    cycle: TracedCycle,
    baseline: Mixture,
    point: str,
    forecast: Forecast | None,
) -> None:
    if forecast is None or forecast.efficiency is None:
        raise SystemExit(f"{cell}: no forecast")
    came = cycle.discharge_Ah / cycle.charge_Ah
    true = cycle.true_discharge_Ah / cycle.true_charge_Ah
    low, high = forecast.efficiency.interval()
    true_low, true_high = forecast.efficiency.moved(0.0, _u_efficiency(cycle)).interval()
    base_low, base_high = baseline.interval()
    out.append(
        Score(
            cell=cell,
            kind=kind,
            point=point,
            inside=low <= came <= high,
            true_inside=true_low <= true <= true_high,
            crps=forecast.efficiency.crps(came),
            width=high - low,
            base_inside=base_low <= came <= base_high,
            base_crps=baseline.crps(came),
            base_width=base_high - base_low,
        )
    )


def _u_efficiency(cycle: TracedCycle) -> float:
    """Return the standard uncertainty that one range's gain and offset leave in the efficiency."""
    if not cycle.current_A.size:
        return 0.0  # a file's counters are all that is known
    current_A = float(np.max(np.abs(cycle.current_A)))
    range_A = 10.0 ** math.ceil(math.log10(current_A / 1.05))
    hours = (cycle.charge_Ah + cycle.discharge_Ah) / current_A
    offset_Ah = OFFSET_U_OF_RANGE * range_A * hours
    charges = {range_A: RangeCharge(cycle.charge_Ah, cycle.discharge_Ah, offset_Ah)}
    return propagate(charges, 0.0, 0.0, 0.0, GAIN_U).efficiency


# -- lives ----------------------------------------------------------------------------------------


def other_life(name: str, seed: int, cycles: int) -> TracedLife:
    """Trace a life of a plant of another structure."""
    random = np.random.default_rng([seed, 815])
    plant: EquivalentCircuit | TwoFoils
    if name == "equivalent circuit":
        nominal_Ah, how = 3e-3, FORMATS["anode-free"]
        # a reserve, so that some lives begin with the cathode ending the discharge
        reserve_mAh = float(random.uniform(0.0, 0.1))
        plant = EquivalentCircuit(seed=seed, temperature_K=298.15, reserve_mAh=reserve_mAh)
        told = told_of_circuit
    else:
        nominal_Ah, how = 1.54e-3, FORMATS["li-cu"]
        plant = TwoFoils(seed=seed, temperature_K=298.15, negative_mAh=0.0)
        told = told_of_columns
    plans = drawn_programme(random, how, nominal_Ah, cycles)
    life = PortLife(
        plant,
        told,
        nominal_mAh=1e3 * nominal_Ah,
        seed=seed,
        reading=keithley_reading(seed, largest_A(plans), ranging=True),
        sampling=fixed_sampling(OTHER_INTERVAL_S),
    )
    return TracedLife(
        cell=name,
        nominal_Ah=nominal_Ah,
        lower_V=how.lower_V,
        upper_V=how.upper_V,
        cycles=traced(life, plans, OTHER_INTERVAL_S, least_Ah=WORN_OUT * nominal_Ah),
    )


def told_of_circuit(truth: dict[str, float]) -> Told:
    """Return what the circuit says: nothing connected is left, or the table's steep end."""
    active_mAh = truth["active_lithium_mAh"]
    end = ENDS[1] if active_mAh < 1e-3 else ENDS[2]
    return Told(lost_mAh=truth["lithium_lost_mAh"], active_mAh=active_mAh, end=end)


def told_of_columns(truth: dict[str, float]) -> Told:
    """Return what the foils say: lithium is all that can run out."""
    return Told(
        lost_mAh=truth["lithium_lost_mAh"], active_mAh=truth["active_lithium_mAh"], end=ENDS[1]
    )


def _job(job: tuple[str, int]) -> list[Score]:
    name, seed = job
    make = draw_life if name in FORMATS else other_life
    life = make(name, seed, CYCLES)
    return score_life(life, [FIRST_SCORED + seed % SCORED])


# -- measured -------------------------------------------------------------------------------------


def measured_cycles(name: str) -> list[TracedLife]:
    """Return a measured set as lives without voltage: charge and discharge of each cycle."""
    if name == "anode_free_cu_lfp_cycles":
        return _capacity_only()
    file = DATA / name / "reference_cycles.csv"
    if not file.exists():
        return []
    cycles = []
    with file.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            charge_Ah, discharge_Ah = (
                1e-3 * float(row[f"Q_{word}_mAh"]) for word in ("charge", "discharge")
            )
            if charge_Ah > 0.2 * discharge_Ah > 0.0:
                low_rate = name.startswith("neware_empa") and int(row["cycle"]) % 16 == 0
                kind = "reference" if low_rate else BASE
                cycles.append(_counted(charge_Ah, discharge_Ah, kind))
    nominal_Ah = max(one.discharge_Ah for one in cycles)
    return [_life(name, nominal_Ah, cycles)]


def _capacity_only() -> list[TracedLife]:
    """Return Cu||LFP: no charge is given, so the discharge before stands for it (CE by capacity)."""
    import pyarrow.parquet as pq  # noqa: PLC0415 -- only where the file is

    file = DATA / "anode_free_cu_lfp_cycles" / "anode_free_cycles_long.parquet"
    if not file.exists():
        return []
    table = pq.read_table(file, columns=["cell", "cycle", "norm_discharge_capacity"])
    by_cell: dict[int, list[tuple[int, float]]] = {}
    for cell, cycle, capacity in zip(
        *(table[name].to_pylist() for name in table.column_names), strict=True
    ):
        by_cell.setdefault(cell, []).append((cycle, capacity))
    lives = []
    for rows in by_cell.values():
        capacities = []
        for _, capacity in sorted(rows):
            if capacity is None or not capacity > 0.05:
                break
            capacities.append(capacity)
        cycles = [_counted(before, after, BASE) for before, after in pairwise(capacities)]
        if len(cycles) > 5:
            lives.append(_life("anode_free_cu_lfp_cycles", 1.0, cycles))
    return lives


def _counted(charge_Ah: float, discharge_Ah: float, kind: str) -> TracedCycle:
    empty = np.zeros(0)
    return TracedCycle(
        kind=kind,
        interval_s=math.nan,
        charge_Ah=charge_Ah,
        discharge_Ah=discharge_Ah,
        true_charge_Ah=charge_Ah,
        true_discharge_Ah=discharge_Ah,
        t_s=empty,
        current_A=empty,
        voltage_V=empty,
        held=np.zeros(0, dtype=bool),
        true_end="none",
    )


def _life(name: str, nominal_Ah: float, cycles: list[TracedCycle]) -> TracedLife:
    return TracedLife(cell=name, nominal_Ah=nominal_Ah, lower_V=0.0, upper_V=1.0, cycles=cycles)


# -- tables ---------------------------------------------------------------------------------------


def table(title: str, scores: Sequence[Score]) -> list[str]:
    """Return a Markdown table of one group."""
    out = [
        f"\n### {title}\n",
        (
            "| at | n | 95 % holds it | holds the truth | baseline | CRPS mean / median, ppm |"
            " baseline | width median, ppm | baseline |"
        ),
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for point in POINTS:
        mine = [one for one in scores if one.point == point]
        if not mine:
            continue
        share = [
            100.0 * np.mean([getattr(one, name) for one in mine])
            for name in ("inside", "true_inside", "base_inside")
        ]
        crps, base_crps = ([getattr(o, n) for o in mine] for n in ("crps", "base_crps"))
        width, base_width = ([getattr(o, n) for o in mine] for n in ("width", "base_width"))
        out.append(
            f"| {point} | {len(mine)} | {share[0]:.1f} % | {share[1]:.1f} % | {share[2]:.1f} % | "
            f"{1e6 * np.mean(crps):.0f} / {1e6 * np.median(crps):.0f} | "
            f"{1e6 * np.mean(base_crps):.0f} / {1e6 * np.median(base_crps):.0f} | "
            f"{1e6 * np.median(width):.0f} | {1e6 * np.median(base_width):.0f} |"
        )
    return out


def main() -> None:
    """Run the lives and print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lives", type=int, default=250, help="of each format of our plant")
    parser.add_argument("--others", type=int, default=100, help="of each other plant")
    parser.add_argument("--seed", default="", help="in place of the commit's hash")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write every score here")
    options = parser.parse_args()
    began_s = time.perf_counter()
    base = options.seed or commit_hash()
    ours = [(name, seed_of(base, name, k)) for name in FORMATS for k in range(options.lives)]
    others = [
        (name, seed_of(base, name, k))
        for name in ("equivalent circuit", "columns on foils")
        for k in range(options.others)
    ]
    with get_context("spawn").Pool(options.processes) as pool:
        scored = pool.map(_job, ours + others, chunksize=8)
    scores = [one for life in scored for one in life]
    in_class = [one for one in scores if one.cell in FORMATS]
    print("\n".join(table(f"Our plant, {len(ours)} lives, once each", in_class)))
    base_only = [one for one in in_class if one.kind == BASE]
    print("\n".join(table("Our plant, where that cycle is a base cycle", base_only)))
    for name in (*FORMATS, "equivalent circuit", "columns on foils"):
        mine = [one for one in scores if one.cell == name]
        print("\n".join(table(name, mine)))
        print("\n".join(table(f"{name}, base cycles", [o for o in mine if o.kind == BASE])))
    for name in ("neware_ife_ce20", "neware_empa_lowCE160", "anode_free_cu_lfp_cycles"):
        lives = measured_cycles(name)
        many = [
            one
            for life in lives
            for one in score_life(life, range(FIRST_SCORED - 1, len(life.cycles)))
        ]
        scores += many
        if many:
            print("\n".join(table(f"{name}, {len(lives)} cells, every cycle from the sixth", many)))
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for one in scores]), encoding="utf-8")
    print(f"\n{len(scored)} lives, seeds from {base[:12]}, {time.perf_counter() - began_s:.0f} s.")


if __name__ == "__main__":
    main()
