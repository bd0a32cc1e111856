"""Designed excitation on simulated cells, against their small-signal impedance taken directly.

Truth: a single small sine in many fine steps, current and voltage averaged alike over each step, no
meter. It shares with the estimator neither the excitation, nor the hold, nor the sampling. The
simulated cells are ours: this shows that the estimate is that of the cell's own linear answer, not
that cells behave so.
"""

from __future__ import annotations

import cmath
from dataclasses import replace

import numpy as np
import pytest

from controller.domain.capabilities import CyclerCapabilities
from controller.estimation.impedance.excitation import Wanted, multisine
from controller.estimation.impedance.kramers_kronig import Consistency, kramers_kronig
from controller.estimation.impedance.spectrum import Readings, measure
from hil.cell import LithiumMetalCell, anode_free_nmc811
from tests.plants.equivalent_circuit import EquivalentCircuit
from tests.plants.small_sine import AMBIENT_K, true_impedance
from tests.unit.fake_cycler import CAPABILITIES

CHARGE_A, CHARGE_S, REST_S = 1e-3, 3600.0, 7200.0
CYCLER: CyclerCapabilities = replace(CAPABILITIES, update_period_s=0.5)
WANTED = Wanted(
    lowest_Hz=0.01, highest_Hz=0.2, resistance_Ohm=60.0, max_current_A=1e-3, response_V=6e-3
)
EXCITATION = multisine(CYCLER, WANTED, per_decade=3)
PER_STEP = 4


def charged(plant):
    """Bring a cell to where it has lithium on both sides, and let it rest."""
    for current_A, seconds in ((CHARGE_A, CHARGE_S), (0.0, REST_S)):
        for _ in range(int(seconds / 60.0)):
            plant.step(current_A, 60.0, AMBIENT_K)
    return plant


def record(plant):
    """Run the excitation on the cell; return rows (t, I, V) without a meter's errors."""
    rows, t_s = [], 0.0
    count = (EXCITATION.settling + EXCITATION.periods) * EXCITATION.levels_A.size
    for k in range(count):
        set_A = float(EXCITATION.levels_A[k % EXCITATION.levels_A.size])
        for _ in range(PER_STEP):
            voltage_V, _ = plant.step(set_A, EXCITATION.hold_s / PER_STEP, AMBIENT_K)
            t_s += EXCITATION.hold_s / PER_STEP
            rows.append((t_s, set_A, voltage_V))
    return np.array(rows).T


def metered(rows, seed):
    """Add what a source-measure unit adds: offset, gain, noise and digits. Assumed sizes."""
    chance = np.random.default_rng(seed)
    t_s, current_A, voltage_V = rows
    voltage_V = voltage_V * (1.0 + 1e-4 * chance.normal()) + 1e-4 * chance.normal()
    voltage_V = voltage_V + 2e-5 * chance.normal(size=t_s.size)
    current_A = current_A + 2e-7 * chance.normal() + 2e-8 * chance.normal(size=t_s.size)
    return Readings(
        t_s=t_s,
        current_A=np.round(current_A / 1e-9) * 1e-9,
        voltage_V=np.round(voltage_V / 1e-6) * 1e-6,
        started_s=0.0,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "make",
    [
        lambda seed: LithiumMetalCell(anode_free_nmc811(seed), temperature_K=AMBIENT_K, seed=seed),
        lambda seed: EquivalentCircuit(seed=seed, temperature_K=AMBIENT_K),
    ],
    ids=["lithium metal", "equivalent circuit"],
)
def test_the_spectrum_of_a_cell_is_its_small_signal_impedance(make):
    """Two cells, eight meters each: modulus and phase at every tone within their intervals."""
    hits, relative, angles = [], [], []
    for seed in (1, 2):
        plant = charged(make(seed))
        truth = np.array(
            [true_impedance(plant, f_Hz, 2e-5) for f_Hz in EXCITATION.frequency_Hz[::-1].tolist()]
        )
        rows = record(plant)
        for meter in range(8):
            found = measure(metered(rows, 10 * seed + meter), EXCITATION)
            z, u = found.spectrum.impedance_Ohm, found.spectrum.u_Ohm
            assert found.left_out == ()
            assert not found.distorted
            off = np.abs(z) - np.abs(truth)
            turned = np.array([cmath.phase(one) for one in (z / truth).tolist()])
            hits.append(np.abs(off) <= 1.96 * u)
            hits.append(np.abs(turned) * np.abs(truth) <= 1.96 * u)
            relative.append(np.abs(off) / np.abs(truth))
            angles.append(np.abs(turned))
            assert kramers_kronig_or_few(found.spectrum)
    assert np.median(relative) < 5e-3
    assert np.max(relative) < 0.02
    assert np.max(angles) < 0.02
    assert np.mean(hits) >= 0.85, np.mean(hits)


def kramers_kronig_or_few(spectrum) -> bool:
    """Return whether nothing speaks against the spectrum."""
    if spectrum.frequency_Hz.size < 7:
        return True
    return kramers_kronig(spectrum).verdict is not Consistency.INVALID
