"""The notation of circuits, and their impedance against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from controller.domain.errors import ConfigurationError
from controller.estimation.impedance.circuits import impedance, parse

F_HZ = np.array([1e3, 1.0, 1e-2])
JW = 2j * np.pi * F_HZ


def test_names_units_and_order_of_parameters():
    circuit = parse("R_0 - p(R_1,CPE_1) - p(R2-Wo1, C2)")
    assert circuit.text == "R0-p(R1,CPE1)-p(R2-Wo1,C2)"
    assert [p.name for p in circuit.parameters] == [
        "R0", "R1", "CPE1.Q", "CPE1.alpha", "R2", "Wo1.Z", "Wo1.tau", "C2",
    ]  # fmt: skip
    assert [p.unit for p in circuit.parameters] == [
        "Ohm", "Ohm", "S s^alpha", "", "Ohm", "Ohm", "s", "F",
    ]  # fmt: skip
    assert circuit.parameters[3].highest == 1.0


@pytest.mark.parametrize(
    ("text", "values", "closed"),
    [
        ("R1", [2.0], 2.0 + 0.0 * JW),
        ("C1", [0.5], 2.0 / JW),
        ("L1", [1e-3], 1e-3 * JW),
        ("CPE1", [0.5, 0.8], 2.0 / JW**0.8),
        ("W1", [3.0], 3.0 * (1.0 - 1.0j) / np.sqrt(2.0 * np.pi * F_HZ)),
        ("Wo1", [2.0, 0.3], 2.0 / (np.sqrt(0.3 * JW) * np.tanh(np.sqrt(0.3 * JW)))),
        ("Ws1", [2.0, 0.3], 2.0 * np.tanh(np.sqrt(0.3 * JW)) / np.sqrt(0.3 * JW)),
        ("R0-p(R1,C1)", [1.0, 2.0, 0.1], 1.0 + 2.0 / (1.0 + 0.2 * JW)),
        ("p(R0-p(R1,C1),L1)", [1.0, 2.0, 0.1, 0.4],
         1.0 / (1.0 / (1.0 + 2.0 / (1.0 + 0.2 * JW)) + 1.0 / (0.4 * JW))),
        ("p(p(R1,C1),W1,CPE1)", [2.0, 0.1, 3.0, 0.5, 0.8],
         1.0 / (0.5 + 0.1 * JW + np.sqrt(0.5 * JW) / 3.0 + 0.5 * JW**0.8)),
        ("p(R1-Wo1,Ws1)", [1.0, 2.0, 0.3, 4.0, 0.5],
         1.0 / (1.0 / (1.0 + 2.0 / (np.sqrt(0.3 * JW) * np.tanh(np.sqrt(0.3 * JW))))
                + np.sqrt(0.5 * JW) / (4.0 * np.tanh(np.sqrt(0.5 * JW))))),
    ],
)  # fmt: skip
def test_impedance_is_the_closed_form(text, values, closed):
    assert impedance(parse(text), np.array(values), F_HZ) == pytest.approx(closed, rel=1e-12)


def test_diffusion_has_its_limits():
    """Slow: both ends as semi-infinite; fast: a capacitor of tau/Z, a resistor."""
    slow = impedance(parse("W1"), np.array([1.0]), F_HZ)
    z0 = np.sqrt(2e9)  # A = Z / sqrt(2 tau)
    for text in ("Wo1", "Ws1"):
        assert impedance(parse(text), np.array([z0, 1e9]), F_HZ) == pytest.approx(slow, rel=1e-9)
    tau_s = 1e-9
    z = impedance(parse("Wo1"), np.array([2.0, tau_s]), F_HZ)
    assert z == pytest.approx(2.0 / (JW * tau_s) + 2.0 / 3.0, rel=1e-6)
    assert impedance(parse("Ws1"), np.array([2.0, tau_s]), F_HZ) == pytest.approx(2.0, rel=1e-5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("R0-Q1", "character 4: unknown element 'Q'"),
        ("R0-CP1", "did you mean 'CPE'"),
        ("R0-R0", "R0 stands twice"),
        ("R0-p(R1,C1", "',' or '[)]' expected"),
        ("R0-p(R1)", "two branches"),
        ("R0)", "'[)]' is left over"),
        ("", "an element or p[(] expected"),
        ("R0--C1", "an element or p[(] expected"),
    ],
)
def test_what_cannot_be_read_is_refused_with_its_place(text, said):
    with pytest.raises(ConfigurationError, match=said):
        parse(text)
