"""What a fit to an impedance spectrum costs, beside impedance.py in the same run."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import peers
from benchmarks.plant import beside
from benchmarks.timing import Measure, Result, seconds
from controller.estimation.impedance.circuits import impedance, parse
from controller.estimation.impedance.fit import fit, without_inductive_top
from controller.estimation.impedance.points import Spectrum, spectrum_of
from controller.io.readers import read_spectra

MILLI = 1e3
CIRCUIT = "R0-p(R1,CPE1)-p(R2,CPE2)-W1"
# Rough guesses, from near to not so near; farther ones cost impedance.py seconds.
STARTS = (
    [0.01, 0.01, 1.0, 1.0, 0.01, 1.0, 1.0, 0.01],
    [0.01, 0.005, 0.1, 0.9, 0.005, 1.0, 0.9, 0.01],
    [0.02, 0.01, 1.0, 0.8, 0.01, 10.0, 0.8, 0.01],
    [0.01, 0.01, 0.1, 0.8, 0.01, 1.0, 0.8, 0.01],
    [0.015, 0.005, 0.1, 0.8, 0.01, 1.0, 0.8, 0.003],
)
# Fits of ours for one of theirs: a single one is too short for a clock on a busy machine.
TIMES = 10
# impedance.py's own example, where it lies beside the checkout.
MEASURED = Path(__file__).parents[2] / "shared" / "data" / "eis_reference" / "exampleData.csv"
_VALUES = np.array([0.016, 0.0049, 0.40, 0.893, 0.01026, 4.44, 0.848, 0.002756])
_NOISE = 0.01


def example() -> Spectrum:
    """Return impedance.py's example without its inductive points; without the file one like it."""
    file = read_spectra(MEASURED) if MEASURED.exists() else None
    if file is not None:
        return without_inductive_top(file.spectra[0].spectrum)[0]
    f_Hz = np.geomspace(1000.0, 3e-3, 57)
    noise = np.random.default_rng(1).normal(size=(2, f_Hz.size))
    z = impedance(parse(CIRCUIT), _VALUES, f_Hz)
    return spectrum_of("synthetic", f_Hz, z * (1.0 + _NOISE * (noise[0] + 1j * noise[1])))


def eis_fit() -> list[Result]:
    """Fit two arcs and diffusion to 57 points, from given and from 20 own starts, against peers."""
    spectrum = example()
    expected = fit(CIRCUIT, spectrum).values

    def theirs(starts: Sequence[list[float]]) -> Measure | str:
        f_Hz, z_Ohm = spectrum.frequency_Hz, spectrum.impedance_Ohm
        return peers.impedance_fit(CIRCUIT, starts, f_Hz, z_Ohm, expected)

    def ours(starts: Sequence[list[float]]) -> float:
        for start in starts:
            if not np.allclose(fit(CIRCUIT, spectrum, start=start, count=0).values, expected, 1e-3):
                raise RuntimeError(f"{start} leads elsewhere than the best of many")
        work = [partial(fit, CIRCUIT, spectrum, start=start, count=0) for start in starts] * TIMES
        return sum(map(seconds, work)) / len(work)

    def many_starts() -> float:
        return seconds(lambda: fit(CIRCUIT, spectrum))

    same, unit, five = (
        "impedance.py, the guess with the least gain",
        "ms, same guesses",
        theirs(STARTS),
    )
    mean = "impedance.py, mean of five guesses to the same minimum"
    each = [
        beside(
            "eis-fit", f"ms, guess {k}", MILLI, partial(ours, [start]), [(same, theirs([start]))]
        )
        for k, start in enumerate(STARTS, start=1)
    ]
    return [
        *beside("eis-fit", unit, MILLI, partial(ours, STARTS), [(mean, five)]),
        *max(each, key=lambda one: one[0].ratio or 0.0),
        *beside("eis-fit", "ms, 20 starts", MILLI, many_starts, [(mean, five)]),
    ]
