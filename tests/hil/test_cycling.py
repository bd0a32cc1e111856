"""The ideal cycler: bounds are met, charge is the cell's own, compiled is plain."""

from __future__ import annotations

import dataclasses

import pytest

from hil.cell import anode_free_nmc811, load_cell
from hil.cell.parameters import CellParameters
from hil.compiled import available
from hil.cycling import CHARGE, HOURS, VOLTAGE, CycledCell, Leg
from hil.effects.lab import life_cycles

needs_numba = pytest.mark.skipif(not available(), reason="no numba: extra [fast]")
C_3_A = 1e-3


def limited_by_lithium() -> CellParameters:
    return dataclasses.replace(anode_free_nmc811(0), cathode_initial_x=0.80)


def anchored() -> list[Leg]:
    return [
        Leg(C_3_A, 4.3, hold_A=C_3_A / 3.0),
        Leg(max_s=600.0),
        Leg(-C_3_A, 3.0, hold_A=6e-5),
        Leg(max_s=600.0),
    ]


def test_constant_current_ends_within_half_a_millivolt_of_its_bound():
    cell = CycledCell(anode_free_nmc811(0), compiled=False)
    course = cell.run([Leg(C_3_A, 4.3), Leg(-C_3_A, 3.0)])
    assert course.legs[0, 0, VOLTAGE] == pytest.approx(4.3, abs=5e-4)
    assert course.legs[0, 1, VOLTAGE] == pytest.approx(3.0, abs=5e-4)
    for leg in course.legs[0]:
        assert abs(leg[CHARGE]) == pytest.approx(leg[HOURS], rel=1e-9)  # 1 mA


def test_a_strip_ends_within_half_a_millivolt_of_its_bound_on_bare_copper():
    cell = CycledCell(limited_by_lithium(), compiled=False)
    course = cell.run([Leg(C_3_A, 4.3), Leg(-C_3_A, 3.0)])
    assert course.legs[0, 1, VOLTAGE] == pytest.approx(3.0, abs=5e-4)
    assert cell.state().neg.deposit_mAh < 1e-5


def test_a_hold_keeps_its_voltage_and_lets_the_slow_part_come():
    cell = CycledCell(anode_free_nmc811(0), compiled=False)
    course = cell.run([*anchored()[:3]])
    assert course.legs[0, 0, VOLTAGE] == pytest.approx(4.3, abs=2e-3)
    assert course.legs[0, 2, VOLTAGE] == pytest.approx(3.0, abs=2e-3)
    assert course.legs[0, 2, HOURS] > -course.legs[0, 2, CHARGE] + 0.3


def test_charge_and_time_end_a_leg():
    cell = CycledCell(anode_free_nmc811(0), compiled=False)
    course = cell.run([Leg(C_3_A, 4.3, max_mAh=0.5), Leg(-C_3_A, 3.0, max_s=360.0)])
    assert course.charge_mAh[0] == pytest.approx(0.5, rel=1e-9)
    assert course.discharge_mAh[0] == pytest.approx(0.1, rel=1e-9)


def test_a_leg_is_run_in_its_cycles_only():
    cell = CycledCell(anode_free_nmc811(0), compiled=False)
    legs = [
        Leg(C_3_A, 4.3, max_mAh=0.2),
        Leg(-C_3_A, 3.0, max_mAh=0.1, every=3, offset=1),
    ]
    assert (cell.run(legs, 7).legs[:, 1, CHARGE] < 0.0).tolist() == [i % 3 == 1 for i in range(7)]


def test_after_a_larger_current_the_voltage_may_come_back():
    cell = CycledCell(load_cell("li-nmc532").parameters(), compiled=False)
    cell.run([Leg(1.2e-3, 4.2)])
    course = cell.run([Leg(-40e-3, 3.6), Leg(-1.2e-3, 3.6)])
    assert -course.legs[0, 1, CHARGE] > 0.5


def test_a_course_stops_where_capacity_is_gone():
    fading = dataclasses.replace(limited_by_lithium(), inactive_per_stripped=0.05)
    cell = CycledCell(fading, compiled=False)
    course = cell.run([Leg(3e-3, 4.3), Leg(-3e-3, 3.0)], 30, stop_share=0.8)
    assert course.cycles < 30
    assert course.discharge_mAh[-1] < 0.8 * course.discharge_mAh[0] <= course.discharge_mAh[-2]
    assert course.cycles - 1 < life_cycles(course.discharge_mAh) <= course.cycles  # from cycle 1


def test_twins_from_a_snapshot_are_the_same():
    cell = CycledCell(anode_free_nmc811(0), compiled=False)
    cell.run([Leg(C_3_A, 4.0)])
    start = cell.snapshot()
    first = cell.run(anchored())
    cell.restore(start)
    assert cell.run(anchored()).legs.tolist() == first.legs.tolist()


@needs_numba
@pytest.mark.parametrize("name", ["anode-free", "li-cu", "li-nmc532"])
def test_compiled_and_plain_cycle_alike(name: str):
    parameters = load_cell(name).parameters()
    legs = anchored()
    if name == "li-cu":
        legs = [Leg(C_3_A, 5.0, max_mAh=1.0), Leg(-C_3_A, -1.0), Leg(max_s=3600.0)]
    plain, fast = (
        CycledCell(parameters, compiled=compiled).run(legs, 2).legs for compiled in (False, True)
    )
    assert fast == pytest.approx(plain, rel=1e-9, abs=1e-12)
