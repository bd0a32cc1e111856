"""What treated opportunities gave beyond what the withheld ones say of them."""

from __future__ import annotations

import numpy as np
import pytest

from controller.policy.untreated import Outcome, beyond_untreated

UAH = 1e-6


def outcomes(
    seed: int,
    *,
    count: int = 24,
    noise: float = 0.0,
    drift: float = 0.0,
    growing: float = 0.0,
    probability: float = 0.5,
    anchors: bool = False,
) -> tuple[list[Outcome], float]:
    """Return opportunities and what the treated ones gave on average (uAh)."""
    rng = np.random.default_rng(seed)
    made, gains = [], []
    for index in range(count):
        treated = bool(rng.random() < probability)
        before = float(rng.uniform(-40.0, -20.0)) + drift * index
        anchor = int(rng.integers(-1, 2)) if anchors else 0
        gain = 10.0 + growing * index
        net = 3.0 + 0.8 * before + noise * float(rng.standard_normal()) + 100.0 * anchor
        gains += [gain] if treated else []
        made.append(
            Outcome(3 * index, treated, probability, before * UAH, (net + gain * treated) * UAH, anchor)
        )  # fmt: skip
    return made, sum(gains) / len(gains)


@pytest.mark.parametrize("growing", [0.0, 2.0])
@pytest.mark.parametrize("anchors", [False, True])
def test_what_hangs_on_the_cycle_before_is_known_however_the_effect_varies(
    growing: float, anchors: bool
) -> None:
    made, true = outcomes(1, growing=growing, anchors=anchors)
    found = beyond_untreated(made)
    assert found is not None
    assert found.value_Ah == pytest.approx(true * UAH, abs=1e-3 * UAH)
    assert found.u_Ah < 0.6 * UAH  # the line need not be straight


@pytest.mark.parametrize("probability", [0.3, 0.5, 0.8])
@pytest.mark.parametrize("noise", [0.5, 5.0])
def test_the_interval_covers_what_the_treated_gave(noise: float, probability: float) -> None:
    inside = total = 0
    for seed in range(300):
        made, true = outcomes(
            seed, count=40, noise=noise, drift=0.2, growing=0.3, probability=probability
        )
        found = beyond_untreated(made)
        if found is None:
            assert sum(not one.treated for one in made) <= 4
            continue
        total += 1
        inside += abs(found.value_Ah - true * UAH) <= 1.96 * found.u_Ah
    assert total >= 280
    assert inside >= 0.92 * total


def test_nothing_is_said_of_too_few_or_of_one_arm() -> None:
    made, _ = outcomes(2)
    withheld = [one for one in made if not one.treated]
    assert beyond_untreated(withheld) is None
    assert beyond_untreated([one for one in made if one.treated]) is None
    assert beyond_untreated([*withheld[:2], *(one for one in made if one.treated)]) is None


def test_without_a_spread_before_there_is_no_line() -> None:
    made, _ = outcomes(3)
    level = [one._replace(before_Ah=-1.2e-5, net_Ah=1e-5 * one.treated) for one in made]
    found = beyond_untreated(level)
    assert found is not None
    assert found.value_Ah == pytest.approx(1e-5)
    assert found.u_Ah == pytest.approx(0.0, abs=1e-12)
