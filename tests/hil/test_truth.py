"""Estimates beside the hidden truth: a small version of scripts/estimates_against_truth.py.

The cells begin with a cathode that is filled to 0.90 only, so that the anode limits from the first
cycles on and lithium lost can be measured at once.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.domain.figures import CycleKind, Label
from controller.estimation.inventory import ANODE_CERTAIN
from hil.cell import anode_free_nmc811
from scripts.estimates_against_truth import (
    NORMAL_95,
    Life,
    PlainCounter,
    efficiency_table,
    end_table,
    live,
    lost_table,
    recovered_table,
)

CYCLES = 9


@pytest.fixture(scope="module", params=[1, 2])
def life(request: pytest.FixtureRequest) -> Life:
    seed = request.param
    cell = replace(anode_free_nmc811(seed), cathode_initial_x=0.90)
    return live("discharged-rest", seed, CYCLES, cell)


def test_the_run_was_healthy(life: Life) -> None:
    assert life.stopped_because == "completed"
    assert life.verdicts == 0
    assert life.reports == []
    assert len(life.rows) == 2 + 1 + CYCLES  # formation, one reference test, base


def test_efficiency_is_within_its_stated_uncertainty(life: Life) -> None:
    inside = [
        abs((row.figures.coulombic_efficiency or 0.0) - row.true_efficiency)
        <= NORMAL_95 * (row.figures.u_coulombic_efficiency or 0.0)
        for row in life.rows
    ]
    assert sum(inside) >= len(inside) - 2  # one instrument: its errors are the same in each cycle
    # and it says something: 0.1 % at most, where a cycle loses 0.5 %
    assert max(row.figures.u_coulombic_efficiency or 1.0 for row in life.rows) < 1e-3


def test_lithium_lost_is_measured_and_covered(life: Life) -> None:
    measured = [row for row in life.rows if row.figures.lithium_lost_label is Label.MEASURED]
    assert len(measured) >= 6
    for row in measured:
        error_mAh = 1e3 * row.figures.lithium_lost_Ah - row.true_lost_mAh
        u_mAh = 1e3 * row.figures.u_lithium_lost_Ah
        assert abs(error_mAh) <= NORMAL_95 * u_mAh
        # 1 - CE summed over base cycles misses what formation took
        assert abs(error_mAh) < abs(row.plain_lost_mAh - row.true_lost_mAh)
    last = measured[-1]
    assert 1e3 * last.figures.u_lithium_lost_Ah < 0.1 * last.true_lost_mAh


def test_no_end_is_called_anode_limited_that_was_not(life: Life) -> None:
    for row in life.rows:
        if row.figures.discharge_end.value == "anode-limited":
            assert row.true_end == "anode-limited"
    assert any(row.figures.discharge_end.value == "anode-limited" for row in life.rows)


def test_a_cell_whose_cathode_limits_first_is_not_called_anode_limited() -> None:
    """As assembled: the reserve left by the first charge hides the lithium that is lost."""
    cathode_first = live("none", 1, CYCLES, anode_free_nmc811(1))
    base = [row for row in cathode_first.rows if row.figures.kind is CycleKind.BASE]
    assert all(row.true_end == "cathode-limited" for row in base)
    for row in cathode_first.rows:
        certain = row.figures.discharge_end_probability >= ANODE_CERTAIN
        assert not (row.figures.discharge_end.value == "anode-limited" and certain)
        assert row.figures.lithium_lost_label is not Label.MEASURED
        low_Ah, high_Ah = row.figures.lithium_lost_low_Ah, row.figures.lithium_lost_high_Ah
        assert low_Ah <= 1e-3 * row.true_lost_mAh <= high_Ah
    assert sum(row.figures.discharge_end.value == "cathode-limited" for row in base) >= CYCLES - 2


def test_a_few_opportunities_give_no_claim_though_the_twins_differ(life: Life) -> None:
    one = life.recovered
    assert one is not None
    assert one.estimate_mAh is None
    assert one.u_mAh is None
    assert one.treated + one.withheld >= 1
    assert len(life.effects_mAh) == one.treated
    # a discharged rest gives back more than the same rest at mid charge, on this plant
    assert all(0.001 < effect_mAh < 0.1 for effect_mAh in life.effects_mAh)


def test_the_tables_hold_every_row(life: Life) -> None:
    assert any(line.startswith(f"| base | {CYCLES} |") for line in efficiency_table([life]))
    assert lost_table([life])[-1].startswith("| discharged-rest | 1 |")
    counted = sum(
        int(cell)
        for line in end_table([life])[2:]
        if line.startswith("|")
        for cell in line.split("|")[2:-1]
    )
    assert counted == len(life.rows)
    assert "| - | - |" in recovered_table([life])[-1]


def test_the_plain_counter_holds_each_current_until_the_next_reading() -> None:
    plain = PlainCounter()
    for t_s, current_A in ((0.0, 1.0), (10.0, -2.0), (12.0, 0.0), (20.0, 0.0)):
        plain.take(t_s, current_A)
    assert (plain.charge_As, plain.discharge_As) == (10.0, 4.0)
    assert plain.efficiency() == pytest.approx(0.4)
    assert plain.charge_As == 0.0
