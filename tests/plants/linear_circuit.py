"""A cell of resistances and capacitors whose impedance is known in closed form, behind a meter.

A series resistance, R-C pairs in series (many of them make diffusion), a capacity. The answer to a
constant current over any time is exact, so that nothing of a numerical step is in it. A meter reads
the mean over an aperture, with offset, gain and noise. Imports nothing of the project.
"""

from __future__ import annotations

import numpy as np

# Ohmic part, film, charge transfer, five pairs of a diffusion (Ohm, s). Invented.
PAIRS = (
    (14.0, 0.4),
    (20.0, 3.0),
    (4.0, 15.0),
    (5.0, 60.0),
    (6.0, 240.0),
    (7.0, 900.0),
)
SERIES_OHM = 12.0
CAPACITY_F = 40.0


class LinearCircuit:
    """The cell; current in A, charging positive."""

    def __init__(self, series_Ohm=SERIES_OHM, pairs=PAIRS, capacity_F=CAPACITY_F, open_V=3.8):
        self.series_Ohm = series_Ohm
        self.r_Ohm = np.array([r for r, _ in pairs])
        self.tau_s = np.array([tau for _, tau in pairs])
        self.capacity_F = capacity_F
        self.open_V = open_V
        self.pairs_V = np.zeros(len(pairs))
        self.charge_As = 0.0
        self.t_s = 0.0

    def impedance(self, frequency_Hz):
        """Return Z (Ohm)."""
        jw = 2j * np.pi * np.asarray(frequency_Hz)[:, np.newaxis]
        pairs = np.sum(self.r_Ohm / (1.0 + jw * self.tau_s), axis=1)
        return self.series_Ohm + pairs + 1.0 / (jw[:, 0] * self.capacity_F)

    def hold(self, current_A, dt_s, averaging_s=0.0):
        """Hold a current; return the mean voltage over the last `averaging_s` of it (0: its end)."""
        begin_V = self.pairs_V.copy()
        target_V = current_A * self.r_Ohm
        decay = np.exp(-dt_s / self.tau_s)
        self.pairs_V = target_V + (begin_V - target_V) * decay
        self.charge_As += current_A * dt_s
        self.t_s += dt_s
        if averaging_s == 0.0:
            mean_V, since_s = self.pairs_V, 0.0
        else:
            grown = np.exp((averaging_s - dt_s) / self.tau_s)  # at the aperture's begin
            mean = self.tau_s / averaging_s * (grown - decay)
            mean_V, since_s = target_V + (begin_V - target_V) * mean, 0.5 * averaging_s
        charge_As = self.charge_As - current_A * since_s
        return (
            self.open_V
            + float(np.sum(mean_V))
            + current_A * self.series_Ohm
            + charge_As / self.capacity_F
        )
