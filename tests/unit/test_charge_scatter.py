"""How far charges scatter and drift: told from series whose scatter and drift are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from controller.estimation import charge_scatter as cs

NOMINAL_AH = 3e-3
ASSUMED_AH = 1.2e-4 * NOMINAL_AH


def told(scatter: float, drift: float, *, seed: int, growth_Ah: float = 0.0) -> tuple[float, float]:
    """What 40 charges with this scatter (of nominal) and drift (of assumed) tell: both again."""
    random = np.random.default_rng(seed)
    state = cs.new_scatter()
    level_Ah = NOMINAL_AH
    for number in range(40):
        sum_Ah = level_Ah + scatter * NOMINAL_AH * float(random.standard_normal())
        if number == 0:
            cs.begin(state, sum_Ah, NOMINAL_AH)
        else:
            cs.take(
                state,
                sum_Ah,
                grown=1.0,
                drift_Ah=ASSUMED_AH,
                scatters=0.02,
                walks=0.002,
                nominal_Ah=NOMINAL_AH,
            )
        level_Ah += growth_Ah + drift * ASSUMED_AH * float(random.standard_normal())
    scatter2, drift2 = cs.scatter_and_drift(state)
    return math.sqrt(scatter2), math.sqrt(drift2)


@pytest.mark.parametrize("drift", [0.0, 1.0, 4.0, 8.0])
@pytest.mark.parametrize("scatter", [0.5e-4, 2e-4, 1e-3])
def test_scatter_and_drift_are_parted(scatter: float, drift: float) -> None:
    """In the median of 20 series, each within a factor of two, or below what the other hides."""
    found = [told(scatter, drift, seed=seed) for seed in range(20)]
    middle_scatter, middle_drift = np.median(found, axis=0)
    least = max(scatter, 0.25 * drift * 1.2e-4)  # of much drift, a little passes for scatter
    assert 0.5 * scatter < middle_scatter < 2.0 * least
    if drift * 1.2e-4 >= scatter:
        assert 0.5 * drift < middle_drift < 2.0 * drift
    else:
        assert middle_drift < 2.0 * max(drift, 1.0) + 0.2 * scatter / 1.2e-4


def test_even_growth_is_neither() -> None:
    """A side current of 3 % of nominal a cycle, as steady as side currents are believed to be."""
    still = [told(1e-4, 0.5, seed=seed) for seed in range(10)]
    grows = [told(1e-4, 0.5, seed=seed, growth_Ah=0.03 * NOMINAL_AH) for seed in range(10)]
    for index, most in ((0, 2.0), (1, 2.0)):
        middle = [float(np.median([one[index] for one in some])) for some in (still, grows)]
        assert middle[1] < most * middle[0]


def test_before_any_charge_the_prior_holds() -> None:
    scatter2, drift2 = cs.scatter_and_drift(cs.new_scatter())
    assert 2e-4 < math.sqrt(scatter2) < 8e-4
    assert 0.7 < math.sqrt(drift2) < 2.0


def test_beginning_anew_keeps_what_is_known() -> None:
    state = cs.new_scatter()
    cs.take_apart(state, 5e-3 * NOMINAL_AH, NOMINAL_AH)
    before = cs.scatter_and_drift(state)
    cs.begin(state, NOMINAL_AH, NOMINAL_AH)
    assert cs.scatter_and_drift(state) == before
    assert math.sqrt(before[0]) > 1.5e-3  # two charges half a per cent apart that nothing explains
