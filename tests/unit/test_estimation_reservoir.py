"""Reservoir efficiency of Li||Cu: the pattern is found, the figure is right, its uncertainty too."""

from __future__ import annotations

import numpy as np
import pytest

from controller.domain.cell import CellFormat
from controller.estimation.files.cycles import analyse
from controller.estimation.reservoir import (
    HalfCycle,
    find_reservoirs,
    half_cycles,
    reservoir_efficiency,
)
from tests.unit.test_estimation_cycles import table

QT, QC, N = 5e-3, 1e-3, 10


def series(efficiency: float, cycles: int = N, cycled: float = QC) -> list[HalfCycle]:
    """A cell that loses the same share of each plated charge, by the protocol of Adams."""
    left = 0.0
    out = []

    def plate(charge: float) -> None:
        nonlocal left
        left += efficiency * charge
        out.append(HalfCycle(charge, 0.0, 3.6e6 * charge))

    def strip(charge: float) -> None:
        nonlocal left
        left -= charge
        out.append(HalfCycle(-charge, 0.0, 3.6e6 * charge))

    plate(QT)
    for _ in range(cycles):
        strip(cycled)
        plate(cycled)
    strip(left)
    return out


@pytest.mark.parametrize("efficiency", [0.9, 0.98, 0.995])
def test_the_share_lost_comes_back_as_the_efficiency(efficiency):
    halves = series(efficiency)
    assert find_reservoirs(halves) == [(0, N)]
    found = reservoir_efficiency(halves, 0, N, full_scale_A=1e-3)
    assert found.coulombic_efficiency == pytest.approx(efficiency, abs=1e-12)
    assert found.coulombic_efficiency == pytest.approx((N * QC + found.stripped_Ah) / (N * QC + QT))
    assert (found.reservoir_Ah, found.cycled_Ah) == (pytest.approx(QT), pytest.approx(QC))


def test_a_conditioning_cycle_before_and_a_second_series_after_are_told_apart():
    conditioning = [HalfCycle(QT, 0.0, 1.0), HalfCycle(-0.9 * QT, 0.0, 1.0)]
    halves = [*conditioning, *series(0.98), *series(0.97, cycles=4)]
    assert find_reservoirs(halves) == [(2, N), (2 + 2 * N + 2, 4)]
    second = reservoir_efficiency(halves, 2 + 2 * N + 2, 4, full_scale_A=1e-3)
    assert second.coulombic_efficiency == pytest.approx(0.97)


@pytest.mark.parametrize(
    "halves",
    [
        [],
        series(0.98)[:-1],  # never stripped to the end
        series(0.98, cycles=2),  # too few
        series(0.98, cycled=0.9 * QT),  # whole cycles, no part of a reservoir
        [HalfCycle((-1.0) ** k * 1e-3, 0.0, 1.0) for k in range(30)],  # plain cycling
    ],
)
def test_what_is_no_reservoir_series_is_not_taken_for_one(halves):
    assert find_reservoirs(halves) == []


def test_common_gain_cancels_and_the_offset_does_not():
    def u(gain_u: float, offset: float) -> float:
        return reservoir_efficiency(
            series(0.98), 0, N, full_scale_A=1e-3, gain_u=gain_u, offset_u_of_range=offset
        ).u_coulombic_efficiency

    assert u(1e-3, 0.0) == pytest.approx(0.0, abs=1e-9)
    hours = sum(one.time_s for one in series(0.98)) / 3600.0
    relative = 1e-5 * 1e-3 * hours / (0.98 * (N * QC + QT))
    assert u(0.0, 1e-5) == pytest.approx(0.98 * relative)


def test_own_uncertainties_add_in_squares():
    halves = [one._replace(u_Ah=1e-6) for one in series(0.98)]
    found = reservoir_efficiency(halves, 0, N, full_scale_A=1e-3, gain_u=0.0, offset_u_of_range=0.0)
    plated, stripped = N * QC + QT, 0.98 * (N * QC + QT)
    expected = 0.98 * np.sqrt(N + 1.0) * 1e-6 * np.hypot(1.0 / plated, 1.0 / stripped)
    assert found.u_coulombic_efficiency == pytest.approx(expected)


def test_drift_at_rest_divides_no_half_cycle():
    charge_As = np.array([1.0, -1e-4, 1.0, 0.0, -2.0, 1e-4, -0.5])
    halves = half_cycles(charge_As, np.full(7, 1e-3), np.ones(7))
    assert [round(one.charge_Ah * 3600.0, 3) for one in halves] == [2.0, -2.5]
    assert half_cycles(np.zeros(3), np.zeros(3), np.ones(3)) == []


def test_replay_says_it_for_li_cu_only():
    def blocks(lost: float):
        out = [(1e-3, 5000.0, -0.05, -0.05), (0.0, 100.0, 0.0, 0.0)]
        for _ in range(5):
            out += [(-1e-3, 1000.0, 0.04, 0.05), (1e-3, 1000.0, -0.05, -0.05)]
        left_s = 5000.0 - lost * 10_000.0
        return [*out, (-1e-3, left_s, 0.05, 0.08), (-1e-3, 5.0, 0.1, 1.0)]

    made = table(blocks(0.02))
    (words,) = [
        one
        for one in analyse(made, cell_format=CellFormat.LI_CU).findings
        if one.startswith("reservoir")
    ]
    assert "5 cycles of 0.2778 mAh" in words
    assert "CE = 98." in words
    analysis = analyse(made, cell_format=CellFormat.LI_CU)
    assert all("reservoir" in cycle.flags for cycle in analysis.cycles)
    assert analysis.mean_efficiency is None
    others = analyse(made, cell_format=CellFormat.ANODE_FREE).findings
    assert not [one for one in others if one.startswith("reservoir")]
