"""Score measured impedance against circuits whose impedance is known in closed form.

    python scripts/score_impedance.py --seeds 200

Every seed is another circuit and another meter. One tone, fixed before, counts once a seed: modulus
and phase within the 95 % interval, its width, its interval score (doi:10.1198/016214506000001437),
beside a plain baseline: the ratio of the Fourier sums of V and I over whole periods, with the
scatter of the single periods as uncertainty. What it shows stands in docs/estimation.md.
"""

from __future__ import annotations

import argparse
import math

import numpy as np

from controller.domain.capabilities import ControlTier, CyclerCapabilities, Watchdog
from controller.estimation.impedance.excitation import Excitation, Wanted, multisine
from controller.estimation.impedance.spectrum import Readings, measure
from tests.plants.linear_circuit import LinearCircuit

CYCLER = CyclerCapabilities(
    model="scored",
    tier=ControlTier.LIVE_SET_POINT,
    update_period_s=0.2,
    min_pulse_s=1.0,
    min_device_timed_pulse_s=math.nan,
    max_current_A=1.0,
    min_voltage_V=0.0,
    max_voltage_V=5.0,
    current_ranges_A=(1e-3, 1e-2),
    device_enforced_lower_voltage=True,
    watchdog=Watchdog.NONE,
    limits_read_back=True,
    off_mode_high_impedance=True,
    four_wire=True,
    temperature=False,
    eis=False,
    verified_on_instrument=False,
)
WANTED = Wanted(lowest_Hz=0.02, highest_Hz=0.5, resistance_Ohm=60.0, max_current_A=1e-3)
# Readings a step, and what a reading averages over (s).
MODES = {
    "4 readings a step": (4, 0.05),
    "1 reading, mean of the step": (1, 0.2),
    "1 reading at the step's end": (1, 0.0),
}
STUDENT_3 = 3.182  # 95 % of the mean of four periods


def circuit(seed: int) -> LinearCircuit:
    """Return a cell: film in milliseconds, charge transfer, diffusion; all drawn."""
    chance = np.random.default_rng([seed, 1])
    pairs = [(chance.uniform(2.0, 15.0), 10.0 ** chance.uniform(-2.5, -1.0))]
    pairs += [(chance.uniform(5.0, 25.0), 10.0 ** chance.uniform(-0.5, 1.0))]
    slow_s = np.geomspace(10.0, 900.0, 5)
    pairs += [(r, tau) for r, tau in zip(chance.uniform(1.0, 6.0, 5), slow_s, strict=True)]
    return LinearCircuit(chance.uniform(8.0, 20.0), tuple(pairs), chance.uniform(20.0, 200.0))


def readings(cell: LinearCircuit, e: Excitation, seed: int, mode: str) -> Readings:
    """Run the staircase behind a meter with offsets and noise."""
    per_step, averaging_s = MODES[mode]
    chance = np.random.default_rng([seed, 2])
    rows = []
    for k in range((e.settling + e.periods) * e.levels_A.size):
        set_A = e.levels_A[k % e.levels_A.size]
        for _ in range(per_step):
            voltage_V = cell.hold(set_A, e.hold_s / per_step, averaging_s)
            rows.append((cell.t_s, set_A, voltage_V))
    t_s, current_A, voltage_V = np.array(rows).T
    return Readings(
        t_s=t_s,
        current_A=current_A + 1e-7 * chance.normal() + 2e-8 * chance.normal(size=t_s.size),
        voltage_V=voltage_V + 1e-4 * chance.normal() + 2e-5 * chance.normal(size=t_s.size),
        started_s=0.0,
        averaging_s=averaging_s,
    )


def plain(taken: Readings, e: Excitation, f_Hz: float) -> tuple[complex, float]:
    """Return V over I by Fourier sums, and the standard uncertainty from the periods' scatter."""
    each = []
    for k in range(e.periods):
        begin_s = (e.settling + k) * e.period_s
        keep = (taken.t_s >= begin_s - 1e-6) & (taken.t_s < begin_s + e.period_s - 1e-6)
        turn = np.exp(-2j * np.pi * f_Hz * taken.t_s[keep])
        each.append((turn @ taken.voltage_V[keep]) / (turn @ taken.current_A[keep]))
    scatter = math.sqrt(0.5 * float(np.var(each, ddof=1)) / e.periods)
    return complex(np.mean(each)), scatter


def scored(z: complex, u: float, factor: float, truth: complex) -> list[float]:
    """Return hits of modulus and phase, width, interval score and error, over |Z|."""
    size = abs(truth)
    errors = (abs(abs(z) - size), abs(np.angle(z / truth)) * size)
    half = factor * u
    score = [2.0 * half + 40.0 * max(0.0, error - half) for error in errors]
    return [
        float(errors[0] <= half),
        float(errors[1] <= half),
        2.0 * half / size,
        float(np.mean(score)) / size,
        abs(z - truth) / size,
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--first", type=int, default=1000)
    given = parser.parse_args()
    e = multisine(CYCLER, WANTED)
    print("| readings | tone | method | \\|Z\\| covered | phase covered | width | score | error |")
    print("|---|---|---|---|---|---|---|---|")
    tones = {"lowest": -1, "middle": len(e.harmonics) // 2, "highest": 0}
    for mode in MODES:
        rows: dict[tuple[str, str], list[list[float]]] = {}
        for seed in range(given.first, given.first + given.seeds):
            cell = circuit(seed)
            taken = readings(cell, e, seed, mode)
            found = measure(taken, e).spectrum
            if found.u_Ohm is None or found.frequency_Hz.size < len(e.harmonics):
                raise RuntimeError(f"seed {seed}: a tone is missing")
            for name, at in tones.items():
                f_Hz = float(found.frequency_Hz[at])
                truth = complex(cell.impedance(np.array([f_Hz]))[0])
                z, u = complex(found.impedance_Ohm[at]), float(found.u_Ohm[at])
                tone = f"{name}, {f_Hz:.2g} Hz"
                rows.setdefault((tone, "ours"), []).append(scored(z, u, 1.96, truth))
                other = scored(*plain(taken, e, f_Hz), STUDENT_3, truth)
                rows.setdefault((tone, "plain ratio"), []).append(other)
        for (tone, method), each in rows.items():
            modulus, phase = np.mean(each, axis=0)[:2]
            width, score, error = np.median(np.array(each)[:, 2:], axis=0)
            print(
                f"| {mode} | {tone} | {method} | {modulus:.1%} | {phase:.1%} "
                f"| {width:.2%} | {score:.2%} | {error:.2%} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
