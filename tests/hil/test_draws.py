"""Drawn cells: within their ranges, the same for a seed, in the class that was asked for."""

from __future__ import annotations

import pytest

from controller.domain.errors import ConfigurationError
from hil.cell import LithiumMetalCell, load_cell
from hil.cell.library import load_values
from hil.cycling import CycledCell, Leg
from hil.draws import CLASSES, SWITCHES, draw_between, draw_cell, drawn_values

SEEDS = range(1, 6)


@pytest.mark.parametrize("family", ["carbonate", "dilute-ether", "hce", "lhce"])
def test_draws_stay_in_the_ranges_of_the_files(family: str):
    stated = load_values("family", family, "test")
    for seed in SEEDS:
        for name, value in drawn_values(family, "", seed).items():
            assert stated[name].low <= value <= stated[name].high
            assert name not in SWITCHES


@pytest.mark.parametrize("cell_class", CLASSES)
def test_a_class_is_its_region_and_makes_a_cell(cell_class: str):
    file = load_cell("anode-free")
    for seed in SEEDS:
        parameters = draw_cell(file, seed, cell_class)
        for name, (low, high) in CLASSES[cell_class].region.items():
            assert low <= getattr(parameters, name) <= high
        cell = LithiumMetalCell(parameters, seed=seed)
        cell.step(1e-3, 60.0, 298.15)
        assert max(map(abs, cell.balances().values())) < 1e-9


def test_values_have_streams_of_their_own():
    one = drawn_values("lhce", "nmc811", 5)
    other = drawn_values("lhce", "", 5)
    assert all(one[name] == value for name, value in other.items())


def test_a_wide_range_is_drawn_in_the_logarithm():
    draws = sorted(draw_between("any", 1.0, 1e4, seed) for seed in range(400))
    assert 30.0 < draws[200] < 300.0
    even = sorted(draw_between("any", 0.0, 4.0, seed) for seed in range(400))
    assert 1.6 < even[200] < 2.4


def test_an_unknown_class_is_refused_by_name():
    with pytest.raises(ConfigurationError, match=r"unknown 'hostil'.*did you mean 'hostile'"):
        drawn_values("lhce", "nmc811", 1, "hostil")


def lost_by_fast_strips_mAh(cell_class: str, seed: int) -> float:
    """Return what five fast strips return, in net charge, against slow ones of the same charge."""
    file = load_cell("anode-free")
    net = []
    for current_A in (15e-3, 1e-3):
        cell = CycledCell(draw_cell(file, seed, cell_class), compiled=False)
        legs = [Leg(2e-3, 4.3, max_s=7200.0), Leg(-current_A, 2.5, max_mAh=0.15), Leg(-2e-3, 3.0)]
        cell.run(legs, 4)
        s = cell.state().neg
        net.append(s.fresh_mAh + s.old_mAh + s.reversible_mAh)
    return net[0] - net[1]


def test_a_hostile_cell_is_harmed_and_a_responsive_one_helped_by_fast_strips():
    for seed in (1, 2, 3):
        assert lost_by_fast_strips_mAh("hostile", seed) > 0.0
        assert lost_by_fast_strips_mAh("responsive", seed) < 0.0
