"""A cell's small-signal impedance taken directly: one sine in many fine steps, without a meter."""

from __future__ import annotations

import math

import numpy as np

AMBIENT_K = 298.15
FINE_STEPS = 60
SHARES = np.diff([0.0, *np.geomspace(1e-3, 1.0, 16)]).tolist()


def true_impedance(plant, frequency_Hz, amplitude_A, periods=3):
    """Return Z at one frequency from the last two periods; the cell is put back afterwards.

    Of 3 periods it is 0.3 % off at 0.01 Hz on our cell, which still settles; of 8, 0.01 %.
    """
    before = plant.snapshot()
    step_s = 1.0 / (frequency_Hz * FINE_STEPS)
    current_A, voltage_V = [], []
    for k in range(periods * FINE_STEPS):
        set_A = amplitude_A * math.cos(2.0 * math.pi * (k + 0.5) / FINE_STEPS)
        # Mean over the step by trapezoids that are short at first: double layers, then root of time.
        last_V, mean_V = plant.terminal_voltage(set_A), 0.0
        for share in SHARES:
            next_V, _ = plant.step(set_A, share * step_s, AMBIENT_K)
            mean_V += 0.5 * share * (last_V + next_V)
            last_V = next_V
        current_A.append(set_A)
        voltage_V.append(mean_V)
    plant.restore(before)
    turns = np.arange(len(current_A)) / FINE_STEPS
    keep = turns >= periods - 2
    columns = np.column_stack(
        [np.cos(2 * np.pi * turns), np.sin(2 * np.pi * turns), np.ones(turns.size), turns]
    )[keep]
    both = np.column_stack([current_A, voltage_V])[keep]
    a, b = np.linalg.lstsq(columns, both, rcond=None)[0][:2]
    return complex(a[1], -b[1]) / complex(a[0], -b[0])
