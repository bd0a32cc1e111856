"""Judge the estimates against the simulated cell's hidden truth, over seeds.

    python scripts/estimates_against_truth.py --seeds 10 --cycles 60

Every seed is another cell and another instrument. Each is run in three arms: without treatments,
and with each scheduled treatment alone. A treated opportunity is forked: its twin lives the same
hours with the control instead, and the difference of net charge is the treatment's true effect.
What each column means stands in docs/estimation-truth.md.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from multiprocessing import get_context

from controller.app.config import example_text, parse_run
from controller.app.prepare import prepare
from controller.core.step import Report
from controller.domain.events import EventKind
from controller.domain.figures import CycleFigures, CycleKind, Label
from controller.domain.sample import OUTPUT_OFF
from controller.policy import scheduler
from hil.cell import CellParameters
from hil.rig import Rig, build_rig

ARMS = ("none", "discharged-rest", "short-strip")
PRESET = "anode-free"
NORMAL_95 = 1.96
NOMINAL_MAH = 3.0  # of the built-in example
INACTIVE = ("fresh_inactive_mAh", "old_inactive_mAh", "reversible_inactive_mAh")
SEI = ("sei_lithium_mAh", "residual_sei_mAh")


@dataclass(frozen=True)
class Row:
    """One cycle: the program's figures beside the truth and a plain baseline."""

    figures: CycleFigures
    true_efficiency: float
    plain_efficiency: float
    true_end: str
    true_lost_mAh: float
    plain_lost_mAh: float


@dataclass(frozen=True)
class Recovered:
    """What treatments gave back per application (mAh); None where the program claims nothing."""

    recipe: str
    treated: int
    withheld: int
    estimate_mAh: float | None
    u_mAh: float | None
    true_mAh: float
    true_sd_mAh: float
    before_after_mAh: float


@dataclass
class Life:
    """One cell in one arm."""

    seed: int
    arm: str
    rows: list[Row] = field(default_factory=list)
    recovered: Recovered | None = None
    effects_mAh: list[float] = field(default_factory=list)
    verdicts: int = 0
    reports: list[str] = field(default_factory=list)
    stopped_because: str = ""


def run_file(arm: str) -> str:
    """Return the built-in example with the treatment of one arm alone."""
    text = example_text()
    wanted = "[]" if arm == "none" else f'["{arm}"]'
    old = 'protocols = ["short-strip", "discharged-rest"]'
    if old not in text:
        raise SystemExit("the built-in example no longer schedules the two treatments")
    return text.replace(old, f"protocols = {wanted}")


def new_rig(arm: str, seed: int, cycles: int, parameters: CellParameters | None = None) -> Rig:
    """Return the rig of one life, not started; `parameters` take the place of the preset's."""
    prepared = prepare(parse_run(run_file(arm), "estimates against truth", cycles=cycles), seed)
    return build_rig(prepared.core, prepared.limits, preset=PRESET, parameters=parameters)


class PlainCounter:
    """Charge as a spreadsheet counts it: each reading's current until the next reading."""

    def __init__(self) -> None:
        self._t_s = math.nan
        self._current_A = 0.0
        self.charge_As = self.discharge_As = 0.0

    def take(self, t_s: float, current_A: float) -> None:
        """Take a reading."""
        passed_As = self._current_A * (t_s - self._t_s)
        if passed_As > 0.0:
            self.charge_As += passed_As
        elif passed_As < 0.0:
            self.discharge_As -= passed_As
        self._t_s, self._current_A = t_s, current_A

    def efficiency(self) -> float:
        """Return discharge over charge since the last call."""
        charge_As, discharge_As = self.charge_As, self.discharge_As
        self.charge_As = self.discharge_As = 0.0
        return discharge_As / charge_As if charge_As > 0.0 else math.nan


def live(arm: str, seed: int, cycles: int, parameters: CellParameters | None = None) -> Life:
    """Run one cell to its end beside its hidden truth."""
    rig = new_rig(arm, seed, cycles, parameters)
    life = Life(seed=seed, arm=arm)
    rig.start()
    plain = PlainCounter()
    in_before, out_before = _counters(rig)
    electrolyte_mAh = float(rig.bench.cell.truth()["electrolyte_lithium_mAh"])
    plain_lost_mAh = 0.0
    true_end, end_due = "none", False
    twins = Twins()
    while rig.running:
        closes = rig.current_step.closes_half_cycle
        report = rig.step()
        sample = rig.sample
        if sample is not None and not sample.quality:
            plain.take(sample.t_host_s, 0.0 if sample.output == OUTPUT_OFF else sample.current_A)
        if end_due:
            true_end, end_due = str(rig.bench.cell.truth()["last_discharge_end"]), False
        if report is None:
            continue
        end_due = closes and any(one.kind is EventKind.STEP_ENDED for one in report.events)
        twins.take(rig, report)
        for figures in report.figures:
            in_now, out_now = _counters(rig)
            if figures.kind is CycleKind.BASE and figures.coulombic_efficiency is not None:
                plain_lost_mAh += (1.0 - figures.coulombic_efficiency) * NOMINAL_MAH
            life.rows.append(
                Row(
                    figures=figures,
                    true_efficiency=(out_now - out_before) / (in_now - in_before),
                    plain_efficiency=plain.efficiency(),
                    true_end=true_end,
                    true_lost_mAh=true_lost_mAh(rig, electrolyte_mAh),
                    plain_lost_mAh=plain_lost_mAh,
                )
            )
            in_before, out_before = in_now, out_now
    by_cycle = {row.figures.cycle: row.figures for row in life.rows}
    done = [one for one in rig.state.scheduler.opportunities if one.net_charge_Ah is not None]
    counted = {one.cycle for one in done if one.treated and not one.excluded}
    before_after = [
        1e3 * (by_cycle[one.cycle + 1].net_charge_Ah - by_cycle[one.cycle].net_charge_Ah)
        for one in done
        if one.treated and not one.excluded
    ]
    life.effects_mAh = [value for cycle, value in twins.effects_mAh.items() if cycle in counted]
    if arm != "none":
        life.recovered = _recovered(rig, arm, life.effects_mAh, before_after)
    life.verdicts = len(rig.verdicts)
    life.reports = list(rig.guard.reports)
    life.stopped_because = rig.state.stopped_because
    rig.close()
    return life


def _counters(rig: Rig) -> tuple[float, float]:
    rig.bench.smu.tick()
    truth = rig.bench.cell.truth()
    return float(truth["charge_in_mAh"]), float(truth["charge_out_mAh"])


def true_lost_mAh(rig: Rig, electrolyte_at_assembly_mAh: float) -> float:
    """Return lithium lost from cycling since assembly: isolated metal, SEI, and dissolved SEI.

    SEI that dissolves in a discharged rest leaves its lithium in the electrolyte: not inactive any
    more, yet no charge comes back for it. Oxidation at the cathode takes lithium from the electrolyte
    (it is plated, and comes back), reduction leaves some there: neither is lost at the anode.
    """
    truth = rig.bench.cell.truth()
    dissolved_mAh = float(truth["electrolyte_lithium_mAh"]) - electrolyte_at_assembly_mAh
    dissolved_mAh += float(truth["electrolyte_oxidised_mAh"])
    dissolved_mAh -= float(truth["electrolyte_reduced_mAh"])
    return sum(float(truth[name]) for name in (*INACTIVE, *SEI)) + dissolved_mAh


class Twins:
    """Controls of treated opportunities, forked before the anchor that precedes the treatment.

    A control lives the same hours, with the same noise to come, up to the anchor at the end of the
    treated cycle; the difference of net charge to the treated cell is the treatment's true effect.
    """

    def __init__(self) -> None:
        self._control_mAh: dict[int, float] = {}  # net charge of the control, by cycle it ends
        self.effects_mAh: dict[int, float] = {}  # by the cycle that it was decided in

    def take(self, rig: Rig, report: Report) -> None:
        """Live the control of a treatment just decided; compare when the treated cycle ends."""
        for decision in report.decisions:
            if decision.opportunity and not decision.withheld:
                self._control_mAh[decision.cycle + 1] = _control_mAh(rig, decision.cycle + 1)
        for figures in report.figures:
            control_mAh = self._control_mAh.pop(figures.cycle, None)
            if control_mAh is not None:
                self.effects_mAh[figures.cycle - 1] = rig.net_charge_mAh() - control_mAh


def _control_mAh(rig: Rig, closing: int) -> float:
    """Return the net charge (mAh) that the untreated twin has at the end of cycle `closing`."""
    control = rig.fork()
    key = control.state.next_key
    if key is None:
        raise RuntimeError("the treated cycle has begun already; the twins would not be alike")
    control.state.next_key = replace(key, treated=False)
    if control.run(lambda report: any(one.cycle == closing for one in report.figures)) is None:
        raise RuntimeError(f"the twin stopped: {control.state.stopped_because}")
    return control.net_charge_mAh()


def _recovered(
    rig: Rig, recipe: str, effects: Sequence[float], before_after: Sequence[float]
) -> Recovered:
    """Compare what the program says a treatment gave back with the twins' difference."""
    effect = scheduler.effect_of(recipe, rig.state.scheduler.opportunities)
    estimate, u = effect.recovered_Ah, effect.u_recovered_Ah
    return Recovered(
        recipe=recipe,
        treated=effect.treated,
        withheld=effect.withheld,
        estimate_mAh=None if estimate is None else 1e3 * estimate,
        u_mAh=None if u is None else 1e3 * u,
        true_mAh=statistics.fmean(effects) if effects else math.nan,
        true_sd_mAh=statistics.stdev(effects) if len(effects) > 1 else math.nan,
        before_after_mAh=statistics.fmean(before_after) if before_after else math.nan,
    )


# --- tables -------------------------------------------------------------------------------------


def _share(hits: Sequence[bool]) -> str:
    return f"{sum(hits)}/{len(hits)}" if hits else "-"


def efficiency_table(lives: Sequence[Life]) -> list[str]:
    """Return CE errors by kind of cycle: ppm, coverage of 95 %, the plain baseline's error."""
    out = [
        (
            "| cycles | n | median error, ppm | p95 of its magnitude | median stated u | "
            "inside 95 % | plain sum: median / p95 |"
        ),
        "|---|---|---|---|---|---|---|",
    ]
    groups = {
        "base": lambda row: row.figures.kind is CycleKind.BASE,
        "formation": lambda row: row.figures.kind is CycleKind.FORMATION,
        "reference test": lambda row: row.figures.kind is CycleKind.REFERENCE,
        "with treatment": lambda row: row.figures.treatment_net_charge_Ah != 0.0,
    }
    for name, wanted in groups.items():
        rows = [row for life in lives for row in life.rows if wanted(row)]
        errors, hits, us, plain = [], [], [], []
        for row in rows:
            ce, u = row.figures.coulombic_efficiency, row.figures.u_coulombic_efficiency
            if ce is None or u is None:
                continue
            errors.append(1e6 * (ce - row.true_efficiency))
            plain.append(1e6 * (row.plain_efficiency - row.true_efficiency))
            us.append(1e6 * u)
            hits.append(abs(ce - row.true_efficiency) <= NORMAL_95 * u)
        if errors:
            out.append(
                f"| {name} | {len(errors)} | {statistics.median(errors):+.1f} | "
                f"{_p95(errors):.1f} | {statistics.median(us):.1f} | {_share(hits)} | "
                f"{statistics.median(plain):+.1f} / {_p95(plain):.1f} |"
            )
    return out


def _p95(values: Sequence[float]) -> float:
    magnitudes = sorted(abs(one) for one in values)
    return magnitudes[min(len(magnitudes) - 1, math.ceil(0.95 * len(magnitudes)) - 1)]


def lost_table(lives: Sequence[Life]) -> list[str]:
    """Return lithium lost against truth, at measured cycles and once per life at the last."""
    out = [
        (
            "| arm | lives | measured cycles | median error, uAh | p95 of its magnitude | median stated u"
            " | inside 95 %, cycles | inside 95 %, last of each life | 1 - CE summed: median / p95 |"
            " last value: median / p95 |"
        ),
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for arm in ARMS:
        errors, us, hits, last_hits, plain, stale = [], [], [], [], [], []
        mine = [life for life in lives if life.arm == arm]
        for life in mine:
            hit: bool | None = None
            before: float | None = None
            for row in life.rows:
                if row.figures.lithium_lost_label is not Label.MEASURED:
                    continue
                lost = 1e3 * row.figures.lithium_lost_Ah
                u = 1e3 * row.figures.u_lithium_lost_Ah
                error = lost - row.true_lost_mAh
                hit = abs(error) <= NORMAL_95 * u
                errors.append(1e3 * error)
                us.append(1e3 * u)
                hits.append(hit)
                plain.append(1e3 * (row.plain_lost_mAh - row.true_lost_mAh))
                if before is not None:
                    stale.append(1e3 * (before - row.true_lost_mAh))
                before = lost
            if hit is not None:
                last_hits.append(hit)
        if errors:
            out.append(
                f"| {arm} | {len(mine)} | {len(errors)} | {statistics.median(errors):+.2f} | "
                f"{_p95(errors):.2f} | {statistics.median(us):.2f} | {_share(hits)} | "
                f"{_share(last_hits)} | {statistics.median(plain):+.1f} / {_p95(plain):.1f} | "
                f"{_middle_and_p95(stale)} |"
            )
    return out


def _middle_and_p95(errors: Sequence[float]) -> str:
    return f"{statistics.median(errors):+.1f} / {_p95(errors):.1f}" if errors else "-"


def end_table(lives: Sequence[Life]) -> list[str]:
    """Return the confusion of discharge ends (rows: truth), and how often the last one held."""
    pairs = [(row.true_end, row.figures.discharge_end.value) for life in lives for row in life.rows]
    counts = Counter(pairs)
    columns = ("anode-limited", "cathode-limited", "polarisation-limited", "unknown")
    out = [
        "| truth \\ said | " + " | ".join(columns) + " |",
        "|---" * (len(columns) + 1) + "|",
        *(
            f"| {truth} | " + " | ".join(str(counts[truth, said]) for said in columns) + " |"
            for truth in sorted({truth for truth, _ in pairs})
        ),
    ]
    stale = [
        before.true_end == after.true_end
        for life in lives
        for before, after in zip(life.rows, life.rows[1:], strict=False)
    ]
    right = [truth == said for truth, said in pairs]
    out += [
        "",
        f"Right: {_share(right)}. The truth of the cycle before, taken again: {_share(stale)}.",
    ]
    return out


def recovered_table(lives: Sequence[Life]) -> list[str]:
    """Return recovered_mAh by life and, per recipe, its bias and coverage."""
    out = [
        (
            "| recipe | seed | treated / withheld | said, uAh | u | twins: mean (sd) | error | "
            "inside 95 % | before-after |"
        ),
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for recipe in ARMS[1:]:
        mine = [life for life in lives if life.recovered and life.recovered.recipe == recipe]
        errors, hits, plain, z = [], [], [], []
        for life in mine:
            one = life.recovered
            if one is None:
                continue
            head = f"| {recipe} | {life.seed} | {one.treated} / {one.withheld} |"
            true = f"{1e3 * one.true_mAh:+.2f} ({1e3 * one.true_sd_mAh:.2f})"
            tail = f"{1e3 * one.before_after_mAh:+.2f} |"
            if one.estimate_mAh is None or one.u_mAh is None:
                out.append(f"{head} - | - | {true} | - | - | {tail}")
                continue
            error = one.estimate_mAh - one.true_mAh
            errors.append(1e3 * error)
            plain.append(1e3 * (one.before_after_mAh - one.true_mAh))
            hits.append(abs(error) <= NORMAL_95 * one.u_mAh)
            z.append(error / one.u_mAh)
            out.append(
                f"{head} {1e3 * one.estimate_mAh:+.2f} | {1e3 * one.u_mAh:.2f} | {true} | "
                f"{1e3 * error:+.2f} | {'yes' if hits[-1] else 'no'} | {tail}"
            )
        if len(errors) > 1:
            se = statistics.stdev(errors) / math.sqrt(len(errors))
            se_plain = statistics.stdev(plain) / math.sqrt(len(plain))
            out.append(
                f"| **{recipe}** | **{len(errors)} of {len(mine)}** | | | | | "
                f"**{statistics.fmean(errors):+.2f} +- {se:.2f}** (rms z "
                f"{math.sqrt(statistics.fmean(x * x for x in z)):.2f}) | **{_share(hits)}** | "
                f"**{statistics.fmean(plain):+.2f} +- {se_plain:.2f}** |"
            )
    return out


def _job(job: tuple[str, int, int]) -> Life:
    return live(*job)


def main() -> None:
    """Run every life in two processes and print the tables as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="cells, seeds 1 to N")
    parser.add_argument("--cycles", type=int, default=60, help="base cycles of a treated life")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    began_s = time.perf_counter()
    untreated_cycles = max(options.cycles // 2, 1)
    jobs = [
        (arm, seed, untreated_cycles if arm == "none" else options.cycles)
        for seed in range(1, options.seeds + 1)
        for arm in ARMS
    ]
    with get_context("spawn").Pool(options.processes) as pool:
        lives = pool.map(_job, jobs, chunksize=1)
    odd = [
        f"{life.arm}, seed {life.seed}: {life.stopped_because}; {life.verdicts} verdicts; "
        f"{life.reports}"
        for life in lives
        if life.stopped_because != "completed" or life.verdicts or life.reports
    ]
    for title, table in (
        ("Coulombic efficiency", efficiency_table(lives)),
        ("Lithium lost", lost_table(lives)),
        ("What ended the discharge", end_table(lives)),
        ("recovered_mAh", recovered_table(lives)),
    ):
        print(f"\n### {title}\n")
        print("\n".join(table))
    print(f"\n{len(lives)} lives, {time.perf_counter() - began_s:.0f} s.", *odd, sep="\n")


if __name__ == "__main__":
    main()
