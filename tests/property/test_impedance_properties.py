"""What holds for every circuit and every spectrum: derivatives, causality, order of points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.errors import ConfigurationError
from controller.estimation.impedance.circuits import (
    Circuit,
    grid_of,
    impedance,
    parse,
    slopes_and_impedance,
)
from controller.estimation.impedance.fit import Weights, fit
from controller.estimation.impedance.kramers_kronig import Consistency, kramers_kronig
from controller.estimation.impedance.points import spectrum_of

FREQUENCY_HZ = np.logspace(4.0, -2.0, 49)

# An element's parameters, near what makes about 1 Ohm somewhere in the grid.
DRAWN = {
    "R": (st.floats(0.2, 5.0),),
    "C": (st.floats(1e-4, 5.0),),
    "L": (st.floats(1e-6, 1e-3),),
    "CPE": (st.floats(1e-3, 2.0), st.floats(0.4, 1.0)),
    "W": (st.floats(0.05, 5.0),),
    "Wo": (st.floats(0.05, 5.0), st.floats(1e-3, 1e3)),
    "Ws": (st.floats(0.05, 5.0), st.floats(1e-3, 1e3)),
}


@st.composite
def circuits(draw, kinds=("R", "C", "L", "CPE", "W", "Wo", "Ws"), depth=2):
    """A circuit and values for it."""
    values: list[float] = []
    count = 0

    def element(allowed) -> str:
        nonlocal count
        kind = draw(st.sampled_from(allowed))
        count += 1
        values.extend(draw(one) for one in DRAWN[kind])
        return f"{kind}{count}"

    def series(level: int, allowed) -> str:
        parts = []
        for _ in range(draw(st.integers(1, 3))):
            if level and draw(st.booleans()):
                # No inductance against a capacitance: that is a resonance.
                inside = [k for k in allowed if k != "L"]
                branches = [series(level - 1, inside) for _ in range(draw(st.integers(2, 3)))]
                parts.append(f"p({','.join(branches)})")
            else:
                parts.append(element(allowed))
        return "-".join(parts)

    return series(depth, list(kinds)), np.array(values)


def with_differences(circuit: Circuit, values: np.ndarray) -> tuple[np.ndarray, ...]:
    """Impedance, its derivatives by the logarithms, and the central differences."""
    grid = grid_of(circuit, FREQUENCY_HZ)
    logs = np.log(values)
    *slopes, z = slopes_and_impedance(circuit, logs[np.newaxis, :], grid)[0]
    step = 1e-5
    shifted = logs + step * np.vstack([np.eye(logs.size), -np.eye(logs.size)])
    ends = slopes_and_impedance(circuit, shifted, grid)[:, -1]
    return z, np.array(slopes), (ends[: logs.size] - ends[logs.size :]) / (2.0 * step)


@settings(max_examples=150)
@given(circuits())
def test_derivatives_are_the_central_differences(drawn):
    text, values = drawn
    circuit = parse(text)
    z, slopes, numeric = with_differences(circuit, values)
    assert np.max(np.abs(slopes - numeric) / np.abs(z)) < 1e-6


@pytest.mark.parametrize("text", ["R1", "C1", "L1", "CPE1", "W1", "Wo1", "Ws1"])
@pytest.mark.parametrize("size", [1e-9, 1e-3, 1.0, 1e3, 1e9])
def test_derivatives_of_each_element_over_twenty_orders(text, size):
    """Nothing overflows, and small and large arguments keep their digits."""
    circuit = parse(text)
    values = np.array([0.7 if p.name.endswith("alpha") else size for p in circuit.parameters])
    z, slopes, numeric = with_differences(circuit, values)
    assert np.all(np.isfinite(z))
    assert np.max(np.abs(slopes - numeric) / np.abs(z)) < 1e-6


@settings(max_examples=100)
@given(circuits())
def test_any_passive_circuit_without_resonance_is_valid(drawn):
    text, values = drawn
    z = impedance(parse(text), values, FREQUENCY_HZ)
    assert kramers_kronig(spectrum_of(text, FREQUENCY_HZ, z)).verdict is Consistency.VALID


@settings(max_examples=50)
@given(st.floats(0.1, 10.0), st.floats(3e-4, 3.0), st.floats(0.2, 5.0))
def test_a_pole_in_the_right_half_plane_is_invalid(r_Ohm, tau_s, ohmic_Ohm):
    """R/(1 - j w tau) grows without bound after a step: no steady system has it."""
    w = 2.0 * np.pi * FREQUENCY_HZ
    z = ohmic_Ohm + r_Ohm / (1.0 - 1j * w * tau_s)
    if np.max(np.abs(np.diff(z))) < 0.05 * np.max(np.abs(z)):
        return  # the arc is hardly there
    assert kramers_kronig(spectrum_of("drawn", FREQUENCY_HZ, z)).verdict is not Consistency.VALID


@settings(max_examples=15)
@given(st.permutations(range(FREQUENCY_HZ.size)), st.integers(0, 2**31))
def test_the_order_of_points_does_not_matter(order, seed):
    circuit = "R0-p(R1,CPE1)-p(R2,CPE2)-W1"
    truth = np.array([1.0, 2.0, 2e-4, 0.85, 4.0, 0.05, 0.9, 0.8])
    noise = np.random.default_rng(seed).normal(size=(2, FREQUENCY_HZ.size))
    z = impedance(parse(circuit), truth, FREQUENCY_HZ) * (1.0 + 2e-3 * (noise[0] + 1j * noise[1]))
    chosen = list(order)
    straight = fit(circuit, spectrum_of("straight", FREQUENCY_HZ, z))
    mixed = fit(circuit, spectrum_of("mixed", FREQUENCY_HZ[chosen], z[chosen]))
    assert np.array_equal(straight.values, mixed.values)
    assert straight.aicc == mixed.aicc


@settings(max_examples=60)
@given(
    st.integers(0, 9),
    st.sampled_from([float("nan"), float("inf"), 0.0, -1.0, 1e300]),
    st.sampled_from(["frequency", "real", "imaginary"]),
)
def test_a_bad_value_is_refused_with_its_row(row, bad, where):
    f_Hz = np.logspace(3.0, 0.0, 10)
    z = np.full(10, 1.0 - 0.5j)
    if where == "frequency":
        f_Hz[row] = bad
    elif bad in (0.0, -1.0):
        z[row] = 0.0
    elif where == "real":
        z[row] = complex(bad, z[row].imag)
    else:
        z[row] = complex(z[row].real, bad)
    with pytest.raises(ConfigurationError, match=f"row {row + 3}:"):
        spectrum_of("drawn", f_Hz, z, rows=range(3, 13))


@pytest.mark.parametrize("weights", list(Weights))
def test_every_weighting_finds_an_exact_spectrum(weights):
    circuit = "R0-p(R1,C1)-p(R2-Wo1,C2)"
    truth = np.array([0.02, 0.01, 0.05, 0.02, 0.1, 40.0, 3.0])
    z = impedance(parse(circuit), truth, FREQUENCY_HZ)
    spectrum = spectrum_of("exact", FREQUENCY_HZ, z, np.full(z.size, 1e-5))
    assert fit(circuit, spectrum, weights).values == pytest.approx(truth, rel=1e-6)
