"""Measured and published spectra: fits of others reproduced, verdicts, known parameters found."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from controller.app.replay import replay
from controller.estimation.impedance.analysis import analyse_spectrum
from controller.estimation.impedance.circuits import impedance
from controller.estimation.impedance.fit import Weights, fit, without_inductive_top
from controller.estimation.impedance.kramers_kronig import Consistency, kramers_kronig
from controller.estimation.impedance.points import spectrum_of
from controller.io.readers import read_spectra

# impedance.py 1.7.1 (doi:10.21105/joss.02349) on its exampleData.csv
PUBLISHED = [0.0165, 0.00531, 0.232, 0.00877, 3.28, 0.0637, 237.0]


def say(*words: object) -> None:
    """Figures for `pytest -rP`."""
    sys.stdout.write(" ".join(str(word) for word in words) + "\n")


@pytest.fixture
def spectrum(measured):
    """Return the only spectrum of a file of eis_reference."""

    def one(name: str):
        file = read_spectra(measured(f"eis_reference/{name}"))
        (named,) = file.spectra
        return named.spectrum

    return one


def test_the_published_fit_is_reproduced(spectrum):
    """Unit weights, points with Im Z > 0 dropped, two R-C and Wo in series, near its start."""
    capacitive, dropped = without_inductive_top(spectrum("exampleData.csv"))
    assert dropped == 9
    start = [0.01, 0.005, 0.1, 0.005, 0.1, 0.001, 200.0]
    found = fit("R0-p(R1,C1)-p(R2,C2)-Wo1", capacitive, Weights.UNIT, start=start, count=0)
    say("published", PUBLISHED, "ours", [f"{v:.4g}" for v in found.values])
    assert [float(f"{v:.3g}") for v in found.values[:6]] == PUBLISHED[:6]
    # 237.7: the published search stopped on the way, at 237.45; with ftol = 1e-14 it has 237.71.
    assert found.values[6] == pytest.approx(237.71, abs=0.02)
    # It is not the best minimum of that circuit and weighting: ours from many starts is lower.
    best = fit("R0-p(R1,C1)-p(R2,C2)-Wo1", capacitive, Weights.UNIT)
    assert best.cost < 0.76 * found.cost
    assert not next(e for e in best.estimates if e.name == "Wo1.tau").identified


def test_the_second_published_fit_is_reproduced_in_all_digits(spectrum):
    """The same notebook fits 1.5 (Z + 5 mOhm) from where the first fit stopped.

    That is the same problem with other figures, but Wo1.tau, which such a change leaves alone: the
    publishers have 238 s here for the 237 s above.
    """
    capacitive, _ = without_inductive_top(spectrum("exampleData.csv"))
    shifted = spectrum_of("", capacitive.frequency_Hz, 1.5 * (capacitive.impedance_Ohm + 0.005))
    # their arcs in the order of ours: the faster first
    published = [0.0322, 0.00796, 0.155, 0.0131, 2.19, 0.0956, 238.0]
    published_u = [2.31e-4, 3.10e-4, 0.0126, 2.84e-4, 0.124, 0.00305, 17.3]
    start = [0.0165, 0.00531, 0.232, 0.00877, 3.28, 0.0637, 237.0]
    found = fit("R0-p(R1,C1)-p(R2,C2)-Wo1", shifted, Weights.UNIT, start=start, count=0)
    assert [float(f"{v:.3g}") for v in found.values] == published
    assert [e.u for e in found.estimates] == pytest.approx(published_u, rel=0.01)


def test_the_documented_circuit_gives_other_figures(spectrum):
    """R0-p(R1,C1)-p(R2-Wo1,C2), the documentation's, from the documentation's start."""
    capacitive, _ = without_inductive_top(spectrum("exampleData.csv"))
    start = [0.01, 0.01, 100.0, 0.01, 0.05, 100.0, 1.0]
    found = fit("R0-p(R1,C1)-p(R2-Wo1,C2)", capacitive, Weights.UNIT, start=start, count=0)
    documented = [0.0165, 0.00868, 3.32, 0.00539, 0.0631, 233.0, 0.220]
    say("documented", documented, "ours", [f"{v:.4g}" for v in found.values])
    assert [float(f"{v:.3g}") for v in found.values[:4]] == documented[:4]
    # Wo's two parameters lie in a flat valley; the documented search stopped within 2 % of ours.
    assert found.values[4:6] == pytest.approx(documented[4:6], rel=0.025)
    assert float(f"{found.values[6]:.3g}") == documented[6]


def test_the_modulus_weighted_optimum_is_impedance_pys(spectrum):
    """Value and standard deviation as printed by impedance.py and SciPy on the same data."""
    capacitive, _ = without_inductive_top(spectrum("exampleData.csv"))
    found = fit("R0-p(R1,CPE1)-p(R2,CPE2)-W1", capacitive)
    known = {
        "R0": (0.01600, 0.00012),
        "R1": (0.004893, 0.00047),
        "CPE1.Q": (0.4006, 0.12),
        "CPE1.alpha": (0.8935, 0.046),
        "R2": (0.01026, 0.00044),
        "CPE2.Q": (4.439, 0.25),
        "CPE2.alpha": (0.8479, 0.024),
        "W1": (0.002756, 2.5e-5),
    }
    for one in found.estimates:
        value, u = known[one.name]
        assert float(f"{one.value:.4g}") == value
        assert float(f"{one.u:.2g}") == u
        assert one.identified
    assert found.relative_rms == pytest.approx(0.01306, abs=5e-6)
    assert found.converged
    assert analyse_spectrum(spectrum("exampleData.csv")).best.circuit.text == found.circuit.text


def test_the_synthetic_arc_is_recovered(spectrum):
    """data_ZARC: 10 + 50/(1 + (j w 0.01 s)^0.7) Ohm with noise (Wan, Saccoccio et al. 2015)."""
    z = spectrum("data_ZARC.csv")
    told = kramers_kronig(z)
    assert told.verdict is Consistency.VALID
    assert "noise" in told.reason
    found = fit("R0-p(R1,CPE1)", z, Weights.UNIT)  # its noise is alike at all frequencies
    r_Ohm, q, alpha = found.values[1:]
    say([f"{e.name} {e.value:.4g} ± {e.u:.2g}" for e in found.estimates])
    truth = np.array([10.0, 50.0, 0.01**0.7 / 50.0, 0.7])
    off = impedance(found.circuit, truth, z.frequency_Hz) - z.impedance_Ohm
    excess = (float(np.sum(np.abs(off) ** 2)) - found.cost) / 4.0 / (found.cost / found.freedom)
    assert excess < 3.44  # F(4, 158), 99 %: the four parameters together
    assert found.values == pytest.approx(truth, rel=0.03)
    assert (r_Ohm * q) ** (1.0 / alpha) == pytest.approx(0.01, rel=0.03)
    assert analyse_spectrum(z).best.circuit.text == "R0-p(R1,CPE1)"


def test_verdicts_of_measured_cells(spectrum):
    for name, rms in (("data_LIB.csv", 0.001), ("exampleData.csv", 0.0025)):
        told = kramers_kronig(spectrum(name))
        say(name, told.reason)
        assert told.verdict is Consistency.VALID
        assert told.relative_rms < rms
    told = kramers_kronig(spectrum("exampleDataBioLogic.mpt"))
    assert told.verdict is Consistency.VALID
    assert "noise" in told.reason
    z = spectrum("data_LIB.csv")
    best = analyse_spectrum(z).best
    say(best.circuit.text, [f"{e.name} {e.value:.4g} ± {e.u:.2g}" for e in best.estimates])
    assert best.relative_rms < 0.005
    capacitive, _ = without_inductive_top(z)
    assert impedance(best.circuit, best.values, capacitive.frequency_Hz) == pytest.approx(
        capacitive.impedance_Ohm, rel=0.02
    )


def test_a_table_of_spectra_has_one_line_each(measured, capsys):
    path = measured("lili_tegdme_softshort/lili_tegdme_geis.csv")
    assert replay([path], None, ignore_counters=False, as_json=True) == 0
    spectra = json.loads(capsys.readouterr().out)["spectra"]
    assert len(spectra) == 45
    hourly = np.array([one["t_s"] for one in spectra])
    assert np.all(np.diff(hourly) == pytest.approx(3607.5, abs=5.0))
    for one in spectra:
        # 9 points cannot tell noise from a violation, and it is said so.
        verdict = one["kramers_kronig"]
        assert verdict["verdict"] == "undecided" or verdict["relative_rms"] <= 0.005
        names = [p["name"] for p in one["fit"]["parameters"] if not p["identified"]]
        assert one["fit"]["converged"] or names  # a valley without end, and said so
