"""Fits of known circuits: values, coverage, what is not identified, refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from controller.domain.errors import ConfigurationError
from controller.estimation.impedance.analysis import analyse_spectrum
from controller.estimation.impedance.circuits import impedance, parse
from controller.estimation.impedance.fit import (
    Weights,
    compare,
    fit,
    without_inductive_top,
)
from controller.estimation.impedance.kramers_kronig import Consistency, kramers_kronig
from controller.estimation.impedance.points import Spectrum, spectrum_of

F_HZ = np.logspace(4.0, -2.0, 43)
TWO_ARCS = "R0-p(R1,CPE1)-p(R2,CPE2)-W1"
TWO_ARCS_VALUES = np.array([10.0, 20.0, 2e-5, 0.85, 40.0, 5e-3, 0.9, 8.0])


def noisy(circuit: str, values: np.ndarray, seed: int, share: float = 2e-3) -> Spectrum:
    z = impedance(parse(circuit), values, F_HZ)
    noise = np.random.default_rng(seed).normal(size=(2, F_HZ.size))
    u_Ohm = share * np.abs(z)
    return spectrum_of("synthetic", F_HZ, z + u_Ohm * (noise[0] + 1j * noise[1]), u_Ohm)


@pytest.mark.parametrize("weights", [Weights.MODULUS, Weights.STATED])
def test_intervals_cover_over_seeds(weights):
    """95 % intervals of 8 parameters; 60 spectra: exact binomial 99 % band of one parameter."""
    hits = np.zeros(TWO_ARCS_VALUES.size)
    for seed in range(60):
        found = fit(TWO_ARCS, noisy(TWO_ARCS, TWO_ARCS_VALUES, seed), weights)
        assert found.identified
        hits += [
            one.low <= truth <= one.high
            for one, truth in zip(found.estimates, TWO_ARCS_VALUES, strict=True)
        ]
    assert np.all(hits >= 51), hits  # P(X < 51) = 0.005 at n = 60, p = 0.95
    assert np.mean(hits) / 60.0 >= 0.92


def test_a_finite_end_beyond_the_lowest_frequency_is_not_identified():
    """Diffusion whose end the spectrum never sees: only Z/sqrt(tau) is known."""
    truth = np.array([1.0, 2.0, 1e-3, 50.0, 1e5])
    found = fit("R0-p(R1,C1)-Wo1", noisy("R0-p(R1,C1)-Wo1", truth, 1))
    assert [one.name for one in found.estimates if not one.identified] == ["Wo1.Z", "Wo1.tau"]
    assert all("factor" in one.why_not for one in found.estimates if not one.identified)
    assert [pair[:2] for pair in found.correlated] == [("Wo1.Z", "Wo1.tau")]
    slope = found.values[3] / math.sqrt(found.values[4])
    assert slope == pytest.approx(50.0 / math.sqrt(1e5), rel=0.01)


def test_an_element_that_is_not_there_is_held_or_not_identified():
    found = fit("R0-p(R1,CPE1)-p(R2,CPE2)", noisy("R0-p(R1,C1)", np.array([1.0, 2.0, 1e-3]), 2))
    assert not found.identified
    assert found.values[0] + found.values[1] + found.values[4] == pytest.approx(3.0, rel=0.01)


def test_like_groups_stand_fast_first():
    swapped = TWO_ARCS_VALUES[[0, 4, 5, 6, 1, 2, 3, 7]]
    spectrum = noisy(TWO_ARCS, swapped, 3)
    given = fit(TWO_ARCS, spectrum, start=list(swapped), count=0)
    assert given.values == pytest.approx(fit(TWO_ARCS, spectrum).values, rel=1e-4)
    assert given.values[1] == pytest.approx(20.0, rel=0.2)
    pairs = "R0-p(R1,C1)-p(R2,C2)"
    slow_first = np.array([1.0, 5.0, 1.0, 3.0, 1e-3])
    found = fit(pairs, noisy(pairs, slow_first, 4), start=list(slow_first), count=0)
    assert found.values == pytest.approx([1.0, 3.0, 1e-3, 5.0, 1.0], rel=0.02)


def test_the_criterion_finds_the_circuit_that_made_the_spectrum():
    """Within 2 of AICc the smaller one is taken: a parameter too many comes by chance in 4 %."""
    circuits = ("R0-p(R1,C1)", "R0-p(R1,CPE1)", TWO_ARCS)
    for text, values in (
        ("R0-p(R1,C1)", np.array([1.0, 2.0, 1e-3])),
        ("R0-p(R1,CPE1)", np.array([1.0, 2.0, 1e-3, 0.8])),
        (TWO_ARCS, TWO_ARCS_VALUES),
    ):
        told = [analyse_spectrum(noisy(text, values, seed), circuits) for seed in range(20)]
        right = sum(one.best is not None and one.best.circuit.text == text for one in told)
        assert right >= 16  # P(X < 16) = 0.002 at n = 20, p = 0.95
        assert all(len(one.others) == 2 for one in told)
    made = noisy(TWO_ARCS, TWO_ARCS_VALUES, 5)
    criteria = [one.aicc for one in compare(circuits, made)]
    assert criteria == sorted(criteria)


def test_the_same_spectrum_gives_the_same_numbers():
    made = noisy(TWO_ARCS, TWO_ARCS_VALUES, 6)
    assert np.array_equal(fit(TWO_ARCS, made).values, fit(TWO_ARCS, made).values)


def test_our_minimum_is_scipys():
    """SciPy's MINPACK from the same start, derivatives by differences."""
    optimize = pytest.importorskip("scipy.optimize")
    made = noisy(TWO_ARCS, TWO_ARCS_VALUES, 7)
    circuit = parse(TWO_ARCS)
    size = np.abs(made.impedance_Ohm)

    def residuals(logs):
        off = (impedance(circuit, np.exp(logs), made.frequency_Hz) - made.impedance_Ohm) / size
        return np.concatenate([off.real, off.imag])

    start = 1.3 * TWO_ARCS_VALUES
    start[[3, 6]] = 0.8
    theirs = optimize.least_squares(residuals, np.log(start), method="lm", xtol=1e-12)
    ours = fit(TWO_ARCS, made, start=list(start), count=0)
    assert ours.cost == pytest.approx(2.0 * theirs.cost, rel=1e-9)
    assert ours.values == pytest.approx(np.exp(theirs.x), rel=1e-4)
    inverse = np.linalg.inv(theirs.jac.T @ theirs.jac) * 2.0 * theirs.cost / ours.freedom
    u = ours.values * np.sqrt(np.diagonal(inverse))
    assert [one.u for one in ours.estimates] == pytest.approx(u, rel=1e-3)


def test_inductive_points_are_dropped_at_the_top_only():
    z = np.array([1.0 + 0.2j, 1.1 + 0.1j, 1.2 - 0.1j, 1.3 + 0.01j, 1.4 - 0.1j])
    made = spectrum_of("made", np.array([1e4, 1e3, 1e2, 10.0, 1.0]), z)
    kept, dropped = without_inductive_top(made)
    assert dropped == 2
    assert kept.frequency_Hz.tolist() == [1e2, 10.0, 1.0]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"start": [1.0, 2.0]}, "2 values for the 3"),
        ({"start": [1.0, -2.0, 3.0]}, "R1: -2.0 is not a positive number"),
        ({"weights": Weights.STATED}, "states no uncertainty"),
    ],
)
def test_refusals(arguments, said):
    z = impedance(parse("R0-p(R1,C1)"), np.array([1.0, 2.0, 1e-3]), F_HZ)
    with pytest.raises(ConfigurationError, match=said):
        fit("R0-p(R1,C1)", spectrum_of("made", F_HZ, z), **arguments)


def test_too_few_points_are_refused_with_their_number():
    z = impedance(parse("R0-p(R1,C1)"), np.array([1.0, 2.0, 1e-3]), F_HZ)
    few = spectrum_of("made", F_HZ[:6], z[:6])
    with pytest.raises(ConfigurationError, match="6 points: too few for a Kramers-Kronig test: 7"):
        kramers_kronig(few)
    with pytest.raises(ConfigurationError, match="3 points: too few for the 8 parameters"):
        fit(TWO_ARCS, spectrum_of("made", F_HZ[:3], z[:3]))
    told = analyse_spectrum(spectrum_of("made", F_HZ[:2], z[:2]))
    assert told.test is None
    assert told.best is None


def test_bad_points_are_all_told():
    f_Hz = np.array([1.0, 0.0, 10.0, 10.0, 1e3])
    z = np.array([1.0, 1.0, math.nan, 1.0, 0.0], dtype=np.complex128)
    with pytest.raises(ConfigurationError) as refused:
        spectrum_of("made.csv", f_Hz, z, rows=[2, 3, 4, 5, 7])
    assert [str(fault) for fault in refused.value.faults] == [
        "made.csv: row 3: the frequency 0 Hz is not between 1e-07 and 1e+09 Hz",
        "made.csv: row 4: the impedance is nan + 0.0j Ohm",
        "made.csv: row 5: the frequency 10 Hz stands in row 4 already",
        "made.csv: row 7: |Z| = 0 Ohm is not between 1e-09 and 1e+12 Ohm",
    ]


# -- Kramers-Kronig -------------------------------------------------------------------------------


def two_arcs(slow_Ohm: np.ndarray | float = 40.0) -> np.ndarray:
    """Z at each frequency with the slow arc's resistance of that moment."""
    each = np.broadcast_to(slow_Ohm, F_HZ.shape)
    values = [np.where(TWO_ARCS_VALUES == 40.0, r_Ohm, TWO_ARCS_VALUES) for r_Ohm in each]
    return np.array(
        [impedance(parse(TWO_ARCS), v, F_HZ[k : k + 1])[0] for k, v in enumerate(values)]
    )


@pytest.mark.parametrize("share", [0.0, 1e-3, 1e-2, 4e-2])
def test_noise_alone_is_valid(share):
    for seed in range(20):
        noise = np.random.default_rng(seed).normal(size=(2, F_HZ.size))
        z = two_arcs() * (1.0 + share * (noise[0] + 1j * noise[1]))
        told = kramers_kronig(spectrum_of("made", F_HZ, z))
        assert told.verdict is Consistency.VALID, (seed, told.reason)


@pytest.mark.parametrize("share", [0.0, 2e-3])
def test_violations_are_invalid(share):
    """Drift of the charge transfer during the sweep; a wrong phase; gain of one channel's filter."""
    growing = 40.0 * (1.0 + 0.3 * np.maximum(0.0, -np.log10(F_HZ)))
    whole = 1.0 + 0.2 * np.linspace(0.0, 1.0, F_HZ.size)
    z = two_arcs()
    noise = np.random.default_rng(8).normal(size=(2, F_HZ.size))
    for name, bad in (
        ("growing arc", two_arcs(growing)),
        ("growing cell", z * whole),
        ("imaginary part 10 % too large", z.real + 1.1j * z.imag),
        ("mirrored", np.conj(z)),
    ):
        made = spectrum_of(name, F_HZ, bad * (1.0 + share * (noise[0] + 1j * noise[1])))
        told = kramers_kronig(made)
        assert told.verdict is Consistency.INVALID, (name, told.reason)
        assert "Hz" in told.reason


def test_what_noise_hides_is_undecided():
    noise = np.random.default_rng(9).normal(size=(2, F_HZ.size))
    z = two_arcs() * (1.0 + 0.15 * (noise[0] + 1j * noise[1]))
    told = kramers_kronig(spectrum_of("made", F_HZ, z))
    assert told.verdict is Consistency.UNDECIDED
    few = kramers_kronig(spectrum_of("made", F_HZ[::5], z[::5]))
    assert few.verdict is Consistency.UNDECIDED
    assert "too few to tell noise" in few.reason
