"""Scores, and a small version of scripts/estimator_coverage.py and effects_against_twins.py."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest

from controller.domain.figures import Label
from hil.cell.library import load_cell
from hil.cell.parameters import CellParameters
from hil.compiled import available
from hil.lives import Life
from hil.logger import Sampling
from hil.port_lives import PortLife, Told
from hil.programmes import CHARGED_REST, DISCHARGED_REST, SHORT_STRIP, programme
from hil.readings import ideal_reading, specified_reading
from hil.scoring import estimator_config, interval_score, score_life
from scripts import effects_against_twins, rest_evidence
from scripts.estimator_coverage import GROUPS, Group, Score, scores, summary, tables
from scripts.seeds import seed_of
from tests.plants import two_foils

needs_numba = pytest.mark.skipif(not available(), reason="no numba: extra [fast]")
LIVES = 100
IN_CLASS = ("anode-free LFP", "anode-free NMC811", "Li||Cu", "anode-free LFP, as in a run")
CYCLES = 12
ERRORS = {"gain_u": 5e-4, "offset_u_of_range": 1e-5}


def read(p: CellParameters) -> Life:
    return Life(p, reading=specified_reading(1, 5e-3, **ERRORS))


def _binomial(n: int, k: int, share: float) -> float:
    ways = math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
    return math.exp(ways + k * math.log(share) + (n - k) * math.log1p(-share))


def binomial_band(n: int, share: float, level: float = 0.99) -> tuple[int, int]:
    """Return the counts that a share gives with at least this probability, tails alike."""
    tail = 0.5 * (1.0 - level)
    probabilities = [_binomial(n, k, share) for k in range(n + 1)]
    return _first_beyond(probabilities, tail), n - _first_beyond(probabilities[::-1], tail)


def _first_beyond(probabilities: list[float], tail: float) -> int:
    """Return the first count whose sum up to it exceeds the tail."""
    total = 0.0
    for count, probability in enumerate(probabilities):
        total += probability
        if total > tail:
            return count
    return len(probabilities) - 1


def test_the_interval_score_of_an_interval() -> None:
    assert interval_score(1.0, 3.0, 2.0) == 2.0
    assert interval_score(1.0, 3.0, 3.5) == pytest.approx(2.0 + 40.0 * 0.5)
    assert interval_score(1.0, 3.0, 0.0) == pytest.approx(2.0 + 40.0)


def test_the_binomial_band() -> None:
    low, high = binomial_band(100, 0.95)
    assert (low, high) == (89, 100)
    assert binomial_band(1000, 0.5) == (459, 541)


@pytest.fixture(scope="module")
def found() -> list[Score]:
    groups = [replace(one, cycle=CYCLES) for one in GROUPS if one.name in IN_CLASS]
    return [
        score
        for group in groups
        for number in range(LIVES // len(IN_CLASS))
        for score in scores(group, seed_of("a test", group.name, number))[0]
    ]


@needs_numba
@pytest.mark.parametrize("quantity", ["CE, formation", "CE, base", "lithium lost"])
def test_intervals_cover_as_they_say(found: list[Score], quantity: str) -> None:
    mine = [one for one in found if one.quantity == quantity]
    assert len(mine) == LIVES
    inside = sum(one.low <= one.truth <= one.high for one in mine)
    low, high = binomial_band(LIVES, 0.95)
    assert low <= inside <= high


@needs_numba
def test_lithium_lost_is_nearer_than_the_plain_sum_and_not_far_from_the_oracle(
    found: list[Score],
) -> None:
    mine = [
        one
        for one in found
        if one.quantity == "lithium lost" and one.label == "measured" and one.group != "Li||Cu"
    ]  # where no shuttle runs the plain sum is as good
    assert len(mine) >= 0.4 * LIVES
    line = summary(mine)
    assert line["error_median"] < 0.005  # of nominal capacity
    assert line["error_median"] < 0.2 * line["plain_median"]
    assert line["score_median"] <= 2.0 * line["oracle_median"]


@needs_numba
def test_what_the_prior_dominates_says_so_and_covers(found: list[Score]) -> None:
    mine = [one for one in found if one.quantity in {"inactive", "SEI", "fresh inactive"}]
    assert len(mine) == 3 * LIVES
    assert {one.label for one in mine} <= {"prior-dominated", "bound"}
    assert sum(one.low <= one.truth <= one.high for one in mine) >= 0.9 * len(mine)


@needs_numba
def test_a_life_of_another_structure_is_scored_alike() -> None:
    group = Group("islands", "anode-free", in_class=False, plant="islands", cycle=5)
    rows, labels, mode = scores(group, 7)
    lost = next(one for one in rows if one.quantity == "lithium lost")
    assert abs(lost.value - lost.truth) <= 0.01 * lost.unit
    assert len(labels) == 5
    assert mode == "cannot tell"  # five cycles
    text = "\n".join(tables(rows, {}, {"islands": Counter([mode])}))
    assert "| islands | cannot tell: 1 |" in text


@needs_numba
def test_oxidation_alone_is_not_called_lithium_lost() -> None:
    """Nothing is isolated, nothing becomes SEI: all that is missing went into the electrolyte."""
    p = replace(
        load_cell("anode-free").parameters(0),
        oxidation_mA_per_cm2=3e-3,
        inactive_per_stripped=0.0,
        sei_per_plated=0.0,
        corrosion_per_h=0.0,
    )
    config = estimator_config("anode-free", p, **ERRORS)
    rows = score_life(read(p), config, programme("anode-free", p, 25))
    truth, last = rows[-1].truth, rows[-1].inventory
    assert truth.lost_mAh == pytest.approx(0.0, abs=1e-5)
    assert truth.oxidised_mAh > 0.05
    assert all(row.inventory.lost.label is not Label.MEASURED for row in rows)
    assert last.lost.low_Ah == 0.0
    assert abs(1e3 * last.side.value_Ah - truth.oxidised_mAh) <= 3e3 * last.side.u_Ah
    # what has been missing since the side currents are known is theirs, within a tenth
    grown = last.missing.value_Ah - rows[10].inventory.missing.value_Ah
    of_side = truth.oxidised_mAh - rows[10].truth.oxidised_mAh
    assert 1e3 * grown == pytest.approx(of_side, rel=0.1)


@needs_numba
def test_hours_on_a_bare_anode_are_told() -> None:
    p = load_cell("anode-free-lfp").parameters(0)
    config = estimator_config("anode-free-lfp", p, **ERRORS)
    rows = score_life(read(p), config, programme("anode-free-lfp", p, 5, {4: DISCHARGED_REST}))
    assert rows[3].figures.spent_before_s == pytest.approx(4 * 3600.0, rel=0.01)
    assert rows[3].figures.spent_s == pytest.approx(4 * 3600.0 + 600.0, rel=0.02)
    assert rows[4].figures.spent_before_s == 0.0


@needs_numba
def test_a_shuttle_that_discharged_rests_interrupt_is_not_lithium_lost() -> None:
    """This cell's lithium comes back in them, so that the next discharge ends at the cathode."""
    group = next(one for one in GROUPS if one.name == "anode-free NMC811, as in a run")
    lost = next(one for one in scores(group, 399324689)[0] if one.quantity == "lithium lost")
    assert lost.label == Label.MEASURED.value
    assert lost.low < lost.truth < lost.high
    assert lost.value == pytest.approx(lost.truth, rel=0.05)


@needs_numba
@pytest.mark.parametrize("kept", ["inactive_per_stripped", "sei_per_plated"])
def test_all_sei_and_all_inactive_lie_inside_the_split(kept: str) -> None:
    p = load_cell("anode-free-lfp").parameters(0)
    other = {"inactive_per_stripped": "sei_per_plated", "sei_per_plated": "inactive_per_stripped"}
    p = replace(p, corrosion_per_h=0.0, dissolvable_share=0.0, **{other[kept]: 0.0})
    config = estimator_config("anode-free-lfp", p, **ERRORS)
    row = score_life(read(p), config, programme("anode-free-lfp", p, 15))[-1]
    for one, true in (
        (row.inventory.inactive, row.truth.inactive_mAh),
        (row.inventory.sei, row.truth.sei_mAh + row.truth.dissolved_mAh),
    ):
        assert one.label is Label.PRIOR_DOMINATED
        assert 1e3 * one.low_Ah - 1e-3 <= true <= 1e3 * one.high_Ah


@needs_numba
def test_a_treatment_that_returns_more_than_a_cycle_loses_is_revival() -> None:
    p = replace(load_cell("anode-free-lfp").parameters(0), fast_strip_gain=0.9)
    config = estimator_config("anode-free-lfp", p, **ERRORS)
    plans = programme("anode-free-lfp", p, 12, {12: SHORT_STRIP})
    rows = score_life(read(p), config, plans)
    before, after = rows[-2].inventory, rows[-1].inventory
    assert rows[-1].truth.net_mAh > 0.0
    assert after.revived.value_Ah == pytest.approx(1e-3 * rows[-1].truth.net_mAh, abs=3e-7)
    assert after.inactive.value_Ah < before.inactive.value_Ah
    assert all(row.inventory.revived.value_Ah == 0.0 for row in rows[:-1])


@needs_numba
def test_effects_agree_with_their_twins() -> None:
    group = effects_against_twins.GROUPS[0]
    rows = effects_against_twins.lived(group, effects_against_twins.SHORT_STRIP, 3)
    contrasts = [one for one in rows if one.source == "randomised contrasts"]
    assert [one.horizon for one in contrasts] == [1, 5, 20]
    for one in contrasts:
        assert one.said is not None
        assert one.u is not None
        assert abs(one.said - one.true) <= 2.6 * one.u
        assert abs(one.oracle - one.true) <= 2.6 * one.u_oracle
        assert one.horizon == 1 or abs(one.said - one.true) < 0.1 * abs(one.plain - one.true)
    assert contrasts[0].true > 3.0 * contrasts[0].u
    assert len(effects_against_twins.table(rows)) == 2 + 6 + 1 + 2 + 3


@needs_numba
@pytest.mark.parametrize("rate_per_h", [0.0, 1e-3, 5e-3])
def test_a_charged_rest_tells_a_shuttle_from_oxidation(rate_per_h: float) -> None:
    """On the plant, with a side current of that share of nominal capacity: either of the two."""
    p = replace(load_cell("anode-free").parameters(0), short_hazard_per_mAh_per_cm2=0.0)
    density = rate_per_h * p.nominal_capacity_mAh / p.area_cm2
    plans = programme("anode-free", p, 5, {4: CHARGED_REST, 5: DISCHARGED_REST})
    config = estimator_config("anode-free", p, **ERRORS)
    for shuttle, oxidation in ((density, 0.0), (0.0, density)):
        cell = replace(p, shuttle_mA_per_cm2=shuttle, oxidation_mA_per_cm2=oxidation)
        figures = [row.figures for row in score_life(read(cell), config, plans)]
        told, u = figures[3].self_discharge_A, figures[3].u_self_discharge_A
        true_A = 1e-3 * shuttle * p.area_cm2
        assert abs(told - true_A) < 2.5 * u
        assert u < 0.4 * true_A or u < 5e-4 * config.nominal_capacity_Ah
        others = [one.self_discharge_A for one in (*figures[:3], figures[4])]
        assert all(math.isnan(one) for one in others)


def test_bare_copper_that_leaks_is_no_lithium() -> None:
    """A large double layer, 325 uF/cm2, on an instrument without errors."""
    p = load_cell("li-cu").parameters(0)
    config = estimator_config("li-cu", p, gain_u=1e-7, offset_u_of_range=1e-9)
    life = PortLife(
        two_foils.li_cu(seed=4, temperature_K=298.15),
        lambda truth: Told(
            lost_mAh=truth["lithium_lost_mAh"], active_mAh=truth["active_lithium_mAh"]
        ),
        nominal_mAh=p.nominal_capacity_mAh,
        reading=ideal_reading(),
        sampling=Sampling(period_s=5.0),
    )
    for row in score_life(life, config, programme("li-cu", p, 14)):
        lost = row.inventory.lost
        assert lost.label is Label.MEASURED
        assert 1e3 * lost.low_Ah < row.truth.lost_mAh < 1e3 * lost.high_Ah
    assert 1e3 * lost.u_Ah < 5e-4 * p.nominal_capacity_mAh


@needs_numba
def test_a_charged_rest_in_formation_makes_lithium_lost_measured_a_cycle_sooner() -> None:
    found = [
        one
        for number in range(12)
        for one in rest_evidence.scores(
            "anode-free", seed_of("rest", "a test", number), rest_in=2, cycles=2
        )
        if one.cycle == 2
    ]
    known, blind = ([one for one in found if one.known is told] for told in (True, False))
    assert len(known) == len(blind) == 12
    assert not any(one.label is Label.MEASURED for one in blind)
    assert sum(one.label is Label.MEASURED for one in known) >= 1
    assert sum(one.side_width for one in known) < 0.5 * sum(one.side_width for one in blind)
    assert sum(one.covered for one in known) >= 10
