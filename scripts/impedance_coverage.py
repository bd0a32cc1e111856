"""Score step resistances and the recursive filter against the truth, over seeds.

    python scripts/impedance_coverage.py --seeds 1000 [--json] [SCENARIO...]

A cell, an instrument with its own errors, a current that changes at random; scored once per seed
(from the commit's hash, or ``--seed``, or counted from ``--first``), at the last change of current. Truth is the cell's own: parameters where the cell is a linear
circuit; else the difference of two forked twins, one with the step and one without, over the step.
*Last step*: the reading nearest in time, less the one before the edge (`steps`), as the baseline.
*Oracle* (R0 in class): knows the whole circuit, but not how R0 and the open-circuit voltage walk.
What each scenario is for stands in docs/estimation.md.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np

from controller.estimation.impedance import filter as circuit_filter
from controller.estimation.impedance import steps
from controller.estimation.impedance.filter import OnePair, TwoPairs, answer_after, circuit
from controller.estimation.impedance.steps import NEW_SET_POINT, Steps
from hil.cell import LithiumMetalCell, load_cell
from hil.draws import draw_cell
from hil.instruments.measurement import InstrumentErrors
from hil.scoring import interval_score
from scripts.seeds import commit_hash, seed_of
from tests.plants.equivalent_circuit import EquivalentCircuit

NORMAL_95 = 1.96
CAPACITY_AH = 3e-3
ROOM_K = 298.15
MIN_STEP_A = 0.05 * CAPACITY_AH
NOISE_V = 1e-4  # what the filter is told, and what the linear circuits have
RATIO_U = 5e-4  # likewise, of the gain ratio
FAST_S, FAST_FOR_S, SLOW_S = 1.0, 60.0, 5.0  # as a run reads: 1 s for a minute after an edge
HOURS = 3.0
AFTER_LAST_S = 40.0
TWIN_STEP_S = 0.1


@dataclass(frozen=True)
class Claim:
    """One figure of one seed: value, standard uncertainty, truth; `ln` where they are logarithms.

    `oracle` is the value and its u by one who knows what is hidden.
    """

    name: str
    value: float
    u: float
    truth: float
    told: bool = True
    ln: bool = False
    oracle: tuple[float, float] | None = None


@dataclass(frozen=True)
class Row:
    """What one figure of one scenario came to."""

    scenario: str
    figure: str
    told: int
    seeds: int
    error_percent: float
    covered_percent: float
    half_width_percent: float
    score_percent: float
    score_median_percent: float
    oracle_percent: float = math.nan
    oracle_median_percent: float = math.nan


class Profile:
    """When the current changes, to what, and when it is read."""

    def __init__(self, seed: int, *, scale_s: float = 1.0) -> None:
        self._random = np.random.default_rng([seed, 11])
        self._scale_s = scale_s
        self.charge_As = 0.0

    def intervals(self) -> Iterator[tuple[float, float, int]]:
        """Yield interval (s), current (A) during it and at its end, flags."""
        c_A = CAPACITY_AH / 3.0
        current_A, since_s, t_s = 0.0, 0.0, 0.0
        left_s = float(self._random.uniform(60.0, 600.0)) * self._scale_s
        until_s = HOURS * 3600.0 * self._scale_s
        while t_s < until_s:
            flag = 0
            if left_s <= 0.0:
                choice = [x for x in (0.0, c_A, -c_A, 2.0 * c_A, -2.0 * c_A) if x != current_A]
                if abs(self.charge_As) > 1.0:  # a tenth of capacity from where it began
                    choice = [x for x in choice if x * self.charge_As <= 0.0]
                current_A = float(self._random.choice(choice))
                hold_s = min(20.0 + float(self._random.exponential(500.0)), 900.0)
                left_s = hold_s * self._scale_s
                since_s, flag = 0.0, NEW_SET_POINT
            every_s = FAST_S if since_s < FAST_FOR_S * self._scale_s else SLOW_S
            dt_s = every_s * self._scale_s * float(self._random.uniform(0.9, 1.1))
            t_s += dt_s
            left_s -= dt_s
            since_s += dt_s
            self.charge_As += current_A * dt_s
            yield dt_s, current_A, flag

    def whole(self) -> list[tuple[float, float, int]]:
        """Return the profile up to 40 s (40 fast readings) after its last change of current."""
        rows = list(self.intervals())
        last = max(index for index, row in enumerate(rows) if row[2])
        end, passed_s = last, 0.0
        current_A = rows[last][1]
        while passed_s < AFTER_LAST_S * self._scale_s:
            if end == len(rows):
                rows.append((FAST_S * self._scale_s, current_A, 0))
            passed_s += rows[end][0]
            end += 1
        return rows[:end]


class KnownCircuit:
    """R0 by one who knows pairs, slope, noise and walks: a Kalman filter of what walks unseen.

    Its two states are the open-circuit voltage less what its slope gave, and R0.
    """

    def __init__(self) -> None:
        self._mean = np.zeros(2)
        self._covariance = np.diag([1e2, 1e4])  # nothing known of either

    def take(self, current_A: float, rest_V: float, walk_V: float, walk_Ohm: float) -> None:
        """Take a reading less what is known of it, after walks of these standard deviations."""
        self._covariance = self._covariance + np.diag([walk_V**2, walk_Ohm**2])
        seen = np.array([1.0, current_A])
        gain = self._covariance @ seen / (seen @ self._covariance @ seen + NOISE_V**2)
        self._mean = self._mean + gain * (rest_V - seen @ self._mean)
        self._covariance = self._covariance - np.outer(gain, seen @ self._covariance)

    def r0(self) -> tuple[float, float]:
        """Return R0 and its standard uncertainty (Ohm), with that of the gains."""
        value_Ohm = float(self._mean[1])
        return value_Ohm, math.hypot(math.sqrt(self._covariance[1, 1]), RATIO_U * value_Ohm)


class Linear:
    """A circuit of the filter's own class, drawn from its priors; all wanders as it says."""

    def __init__(self, seed: int, taus_s: Sequence[float]) -> None:
        self._random = random = np.random.default_rng([seed, 12])
        wander = circuit_filter.WANDER
        self.r0_Ohm = 10.0 * math.exp(0.3 * random.standard_normal())
        self.r_Ohm = [self.r0_Ohm * math.exp(0.7 * random.standard_normal()) for _ in taus_s]
        self.tau_s = [tau * math.exp(wander.ln_tau_sd * random.standard_normal()) for tau in taus_s]
        self._slope = abs(random.standard_normal()) * wander.slope / (3600.0 * CAPACITY_AH)
        self._u_V = 3.7
        self._pair_V = [0.0] * len(self.r_Ohm)
        self._gain = 1.0 + RATIO_U * random.standard_normal()
        self._offset_V = 1e-3 * random.standard_normal()
        self._sloped_V = 0.0
        self.known = KnownCircuit()

    def reading(self, current_A: float, dt_s: float) -> tuple[float, float]:
        """Pass the current; return current and voltage as read."""
        random, wander = self._random, circuit_filter.WANDER
        root_h = math.sqrt(dt_s / 3600.0)
        r_walk, tau_walk = wander.r_share_per_root_h * root_h, wander.ln_tau_per_root_h * root_h
        self.r0_Ohm *= math.exp(r_walk * random.standard_normal())
        for k in range(len(self.r_Ohm)):
            self.r_Ohm[k] *= math.exp(r_walk * random.standard_normal())
            self.tau_s[k] *= math.exp(tau_walk * random.standard_normal())
            gone = -math.expm1(-dt_s / self.tau_s[k])
            self._pair_V[k] += gone * (self.r_Ohm[k] * current_A - self._pair_V[k])
        slope_walk = wander.slope / (3600.0 * CAPACITY_AH) * root_h
        self._slope += slope_walk * random.standard_normal()
        walk_V = wander.u_V_per_root_s * math.sqrt(dt_s) * random.standard_normal()
        sloped_V = self._slope * current_A * dt_s
        self._u_V += sloped_V + walk_V
        self._sloped_V += sloped_V
        true_V = self._u_V + sum(self._pair_V) + self.r0_Ohm * current_A
        read_V = true_V * self._gain + self._offset_V + NOISE_V * random.standard_normal()
        self.known.take(
            current_A,
            read_V - sum(self._pair_V) - self._sloped_V,
            wander.u_V_per_root_s * math.sqrt(dt_s),
            r_walk * self.r0_Ohm,
        )
        return current_A, read_V

    def answer_Ohm(self, since_s: float) -> float:
        """Return the true answer some time after a step."""
        pairs = zip(self.r_Ohm, self.tau_s, strict=True)
        fast_Ohm = sum(r * -math.expm1(-since_s / tau) for r, tau in pairs)
        return self.r0_Ohm + fast_Ohm + self._slope * since_s


class Physical:
    """A cell of another structure behind the emulated instrument's errors."""

    def __init__(self, cell: Any, seed: int) -> None:
        self.cell = cell
        errors = InstrumentErrors(seed)
        self._errors = errors
        self._current = errors.current[6]  # 10 mA
        self._voltage = errors.voltage[3]  # 20 V

    def reading(self, current_A: float, dt_s: float) -> tuple[float, float]:
        """Pass the current; return current and voltage as read."""
        voltage_V, _ = self.cell.step(current_A, dt_s, ROOM_K)
        read_A = self._current.reading(current_A, self._errors.normal())
        return read_A, self._voltage.reading(voltage_V, self._errors.normal())

    def twins_Ohm(self, before_A: float, after_A: float, times_s: Sequence[float]) -> list[float]:
        """Return the true answers from here: with the step less without it, over the step."""
        here = self.cell.snapshot()
        found = []
        for current_A in (after_A, before_A):
            self.cell.restore(here)
            voltages_V, t_s = [self.cell.terminal_voltage(current_A)], 0.0
            for time_s in times_s[1:]:
                # In steps far finer than the readings': with one of 9 s the cell itself is 0.4 % off.
                count = math.ceil((time_s - t_s) / TWIN_STEP_S)
                for _ in range(count):
                    voltage_V, _ = self.cell.step(current_A, (time_s - t_s) / count, ROOM_K)
                voltages_V.append(voltage_V)
                t_s = time_s
            found.append(voltages_V)
        self.cell.restore(here)
        step_A = after_A - before_A
        return [(a - b) / step_A for a, b in zip(*found, strict=True)]


def new_filter(pairs: int, scale_s: float = 1.0) -> OnePair | TwoPairs:
    """Return the filter as it is scored."""
    if pairs == 1:
        return OnePair(
            noise_V=NOISE_V,
            min_step_A=MIN_STEP_A,
            nominal_capacity_Ah=CAPACITY_AH,
            tau1_s=5.0 * scale_s,
        )
    return TwoPairs(
        noise_V=NOISE_V,
        min_step_A=MIN_STEP_A,
        nominal_capacity_Ah=CAPACITY_AH,
        tau1_s=3.0 * scale_s,
        tau2_s=100.0 * scale_s,
    )


def feed(
    cell: Linear | Physical,
    s: OnePair | TwoPairs,
    rows: Sequence[tuple[float, float, int]],
    before_last: Callable[[float, float], None],
    after_last: Callable[[float], None] = lambda _: None,
) -> Steps:
    """Run a profile up to and past its last change of current.

    `before_last` is called right before that, `after_last` with the time since it at each reading.
    """
    single = Steps(min_step_A=MIN_STEP_A, ratio_u=RATIO_U, floor_u_V=1e-5)
    last = max(index for index, row in enumerate(rows) if row[2])
    current_A, since_s = 0.0, 0.0
    for index, (dt_s, next_A, flag) in enumerate(rows):
        if index == last:
            before_last(current_A, next_A)
        current_A = next_A
        read_A, read_V = cell.reading(current_A, dt_s)
        steps.observe(single, 0.0, dt_s, read_A, read_V, flag)
        if isinstance(s, TwoPairs):
            circuit_filter.observe_two(s, dt_s, read_A, read_V, flag)
        else:
            circuit_filter.observe_one(s, dt_s, read_A, read_V, flag)
        if index >= last:
            since_s += dt_s
            after_last(since_s)
    return single


def answers(
    s: OnePair | TwoPairs,
    single: Steps,
    truth_Ohm: Callable[[float], float],
    then_Ohm: Callable[[float], float],
) -> list[Claim]:
    """Return the answers after 1 and 10 s, by the filter and by the last step alone.

    The filter says what the cell would answer now (`truth_Ohm`), the step what it answered then.
    """
    found = []
    for index, since_s in ((steps.I_1S, 1.0), (steps.I_10S, 10.0)):
        true_Ohm = truth_Ohm(since_s)
        filtered = answer_after(s, since_s)
        name = f"R({since_s:g} s)"
        found.append(Claim(name, filtered.value_Ohm, filtered.u_Ohm, true_Ohm))
        value_Ohm, u_Ohm = single.value_Ohm[index], single.u_Ohm[index]
        found.append(Claim(f"{name}, last step", value_Ohm, u_Ohm, then_Ohm(since_s)))
    return found


def in_class(pairs: int, seed: int) -> list[Claim]:
    """Score the filter on a circuit drawn from its own priors."""
    cell = Linear(seed, (5.0,) if pairs == 1 else (3.0, 100.0))
    s = new_filter(pairs)
    then_Ohm: dict[float, float] = {}

    def note(since_s: float) -> None:
        """Keep what the cell, which wanders, answers when the step's value is read."""
        for wanted_s in (1.0, 10.0):
            if since_s >= wanted_s - 0.5:
                then_Ohm.setdefault(wanted_s, cell.answer_Ohm(wanted_s))

    r0_Ohm: list[float] = []
    single = feed(cell, s, Profile(seed).whole(), lambda *_: r0_Ohm.append(cell.r0_Ohm), note)
    found, f = circuit(s), circuit_filter
    (tau1_s, r1_Ohm), *slower = sorted(zip(cell.tau_s, cell.r_Ohm, strict=True))

    def claim(name: str, value: float, u: float, truth: float, bit: int, **others: Any) -> Claim:
        return Claim(name, value, u, truth, told=bool(found.identifiable & bit), **others)

    def of_tau(name: str, value_s: float, u_ln: float, true_s: float, bit: int) -> Claim:
        return claim(name, math.log(value_s), u_ln, math.log(true_s), bit, ln=True)

    sum_Ohm = cell.r0_Ohm + r1_Ohm
    known = cell.known.r0()
    claims = [
        claim("R0", found.r0_Ohm, found.u_r0_Ohm, cell.r0_Ohm, f.R0, oracle=known),
        claim("R0, last step", single.value_Ohm[0], single.u_Ohm[0], r0_Ohm[-1], f.R0),
        claim("R1", found.r1_Ohm, found.u_r1_Ohm, r1_Ohm, f.R1),
        claim("R0 + R1", found.sum_Ohm, found.u_sum_Ohm, sum_Ohm, f.SUM),
        of_tau("tau1", found.tau1_s, found.u_ln_tau1, tau1_s, f.TAU1),
    ]
    for tau2_s, r2_Ohm in slower:
        claims += [
            claim("R2", found.r2_Ohm, found.u_r2_Ohm, r2_Ohm, f.R2),
            of_tau("tau2", found.tau2_s, found.u_ln_tau2, tau2_s, f.TAU2),
        ]
    return claims + answers(s, single, cell.answer_Ohm, then_Ohm.__getitem__)


def out_of_class(cell: Physical, pairs: int, seed: int) -> list[Claim]:
    """Score the filter on a cell of another structure, read as a run reads."""
    for _ in range(360):
        cell.cell.step(CAPACITY_AH / 3.0, 15.0, ROOM_K)  # to half of its charge
    cell.cell.step(0.0, 600.0, ROOM_K)
    times_s = (0.0, 1.0, 10.0)
    true_Ohm: list[float] = []
    s = new_filter(pairs)
    single = feed(
        cell,
        s,
        Profile(seed).whole(),
        lambda before_A, after_A: true_Ohm.extend(cell.twins_Ohm(before_A, after_A, times_s)),
    )

    def truth(since_s: float) -> float:
        return true_Ohm[times_s.index(since_s)]

    return answers(s, single, truth, truth)


FAST_SCALE_S = 2e-6


def fast(seed: int) -> list[Claim]:
    """Score R0 on the simulated cell read every 2 us: against its jump at once, and what it is.

    R0 is what answers within one reading; `R(2 us)` is that answer, which the readings do show.
    """
    cell = simulated(seed)
    for _ in range(360):
        cell.cell.step(CAPACITY_AH / 3.0, 15.0, ROOM_K)
    cell.cell.step(0.0, 600.0, ROOM_K)
    true_Ohm: list[float] = []
    s = new_filter(2, FAST_SCALE_S)
    rows = Profile(seed, scale_s=FAST_SCALE_S).whole()
    single = feed(
        cell,
        s,
        rows,
        lambda before_A, after_A: true_Ohm.extend(
            cell.twins_Ohm(before_A, after_A, (0.0, FAST_SCALE_S))
        ),
    )
    found = circuit(s)
    told = bool(found.identifiable & circuit_filter.R0)
    within = answer_after(s, FAST_SCALE_S)
    return [
        Claim("R0", found.r0_Ohm, found.u_r0_Ohm, true_Ohm[0], told=told),
        Claim("R0, last step", single.value_Ohm[0], single.u_Ohm[0], true_Ohm[0], told=told),
        Claim("R(2 us)", within.value_Ohm, within.u_Ohm, true_Ohm[1]),
    ]


def simulated(seed: int) -> Physical:
    """Return a drawn cell of the project's own plant."""
    return Physical(LithiumMetalCell(draw_cell(load_cell("anode-free"), seed)), seed)


def counted(seed: int) -> Physical:
    """Return the equivalent circuit with counted islands."""
    return Physical(EquivalentCircuit(seed=seed, temperature_K=ROOM_K), seed)


SCENARIOS: dict[str, Callable[[int], list[Claim]]] = {
    "one-pair": lambda seed: in_class(1, seed),
    "two-pairs": lambda seed: in_class(2, seed),
    "equivalent-circuit": lambda seed: out_of_class(counted(seed), 2, seed),
    "simulated-cell": lambda seed: out_of_class(simulated(seed), 2, seed),
    "simulated-cell-one-pair": lambda seed: out_of_class(simulated(seed), 1, seed),
    "simulated-cell-fast": fast,
}


def summed_up(scenario: str, claims: Sequence[Claim]) -> Row:
    """Return one row: medians, coverage, mean interval score (alpha 5 %), all of the truth."""
    told = [one for one in claims if one.told and math.isfinite(one.value) and one.u > 0.0]
    errors, halves, scores, known = [], [], [], []
    for one in told:
        scale = 1.0 if one.ln else abs(one.truth)
        error, half = abs(one.value - one.truth) / scale, NORMAL_95 * one.u / scale
        errors.append(error)
        halves.append(half)
        scores.append(interval_score(-half, half, error))
        if one.oracle is not None:
            value, half = one.oracle[0], NORMAL_95 * one.oracle[1]
            known.append(interval_score(value - half, value + half, one.truth) / scale)
    inside = [error <= half for error, half in zip(errors, halves, strict=True)]
    nan = [math.nan]
    return Row(
        scenario=scenario,
        figure=claims[0].name,
        told=len(told),
        seeds=len(claims),
        error_percent=100.0 * statistics.median(errors or nan),
        covered_percent=100.0 * statistics.fmean(inside or nan),
        half_width_percent=100.0 * statistics.median(halves or nan),
        score_percent=100.0 * statistics.fmean(scores or nan),
        score_median_percent=100.0 * statistics.median(scores or nan),
        oracle_percent=100.0 * statistics.fmean(known or nan),
        oracle_median_percent=100.0 * statistics.median(known or nan),
    )


def claims_of(task: tuple[str, int]) -> list[Claim]:
    """Score one seed of a scenario."""
    scenario, seed = task
    return SCENARIOS[scenario](seed)


def table(scenario: str, seeds: Sequence[int], *, processes: int = 1) -> list[Row]:
    """Run a scenario over seeds; one row for each of its figures."""
    tasks = [(scenario, seed) for seed in seeds]
    if processes == 1:
        scored = list(map(claims_of, tasks))
    else:
        with get_context("spawn").Pool(processes) as pool:
            scored = pool.map(claims_of, tasks, chunksize=10)
    by_name: dict[str, list[Claim]] = {}
    for claims in scored:
        for claim in claims:
            by_name.setdefault(claim.name, []).append(claim)
    return [summed_up(scenario, claims) for claims in by_name.values()]


HEAD = """\
| scenario | figure | told | \\|error\\| median | 95 % interval covers | half width median | interval score, mean | median |
|---|---|---|---|---|---|---|---|"""


def _beside(ours: float, oracle: float) -> str:
    """Return a score and, where there is one, the oracle's."""
    return f"{ours:.2f} %" + ("" if math.isnan(oracle) else f" / {oracle:.2f} %")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--seed", default="", help="what they are from, in place of the commit")
    parser.add_argument("--first", type=int, help="first of seeds counted on from there")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    given = parser.parse_args()
    base, start = given.seed or commit_hash(), time.perf_counter()
    if not given.json:
        print(HEAD)
    for scenario in given.scenarios or SCENARIOS:
        seeds = [seed_of(base, scenario, number) for number in range(given.seeds)]
        if given.first is not None:
            seeds = list(range(given.first, given.first + given.seeds))
        for row in table(scenario, seeds, processes=given.processes):
            if given.json:
                print(json.dumps(asdict(row)), flush=True)
            else:
                print(
                    f"| `{row.scenario}` | {row.figure} | {row.told}/{row.seeds} | {row.error_percent:.2f} % | {row.covered_percent:.1f} % | {row.half_width_percent:.2f} % | {_beside(row.score_percent, row.oracle_percent)} | {_beside(row.score_median_percent, row.oracle_median_percent)} |",
                    flush=True,
                )
    if not given.json:
        of = base[:12] if given.first is None else given.first
        print(f"\nSeeds from {of}, {time.perf_counter() - start:.0f} s.")


if __name__ == "__main__":
    main()
