"""What a fit to an impedance spectrum costs, beside impedance.py in the same run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks import peers
from benchmarks.plant import beside
from benchmarks.timing import Result, seconds
from controller.estimation.impedance.circuits import impedance, parse
from controller.estimation.impedance.fit import fit, without_inductive_top
from controller.estimation.impedance.points import Spectrum, spectrum_of
from controller.io.readers import read_spectra

MILLI = 1e3
CIRCUIT = "R0-p(R1,CPE1)-p(R2,CPE2)-W1"
START = [0.01, 0.01, 1.0, 0.9, 0.01, 5.0, 0.9, 0.003]
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
    """Fit two arcs and diffusion to 57 points, from one start and from twenty, against peers."""
    spectrum = example()
    expected = fit(CIRCUIT, spectrum).values
    theirs = peers.impedance_fit(
        CIRCUIT, START, spectrum.frequency_Hz, spectrum.impedance_Ohm, expected
    )

    def one_start() -> float:
        took_s = seconds(lambda: fit(CIRCUIT, spectrum, start=START, count=0))
        if not np.allclose(fit(CIRCUIT, spectrum, start=START, count=0).values, expected):
            raise RuntimeError("the start leads elsewhere than the best of many")
        return took_s

    def many_starts() -> float:
        return seconds(lambda: fit(CIRCUIT, spectrum))

    peer = "impedance.py from the same start to the same minimum"
    return [
        *beside("eis-fit", "ms", MILLI, one_start, [(peer, theirs)]),
        *beside("eis-fit", "ms, 20 starts", MILLI, many_starts, [(peer, theirs)]),
    ]
