"""Cells, limits and an instrument for the recipe tests; holds no test itself."""

from __future__ import annotations

import math
from dataclasses import replace
from importlib import resources

from controller.domain.capabilities import ControlTier, CyclerCapabilities, Watchdog
from controller.domain.cell import (
    CellFormat,
    CellLimits,
    CellSpec,
    ContinuousEnvelope,
    ElectrolyteFamily,
    Levels,
    PulseEnvelope,
)
from protocols.spec import Recipe

CUT_OFFS = {
    CellFormat.ANODE_FREE: (3.0, 4.3),
    CellFormat.EXCESS_LITHIUM: (3.0, 4.3),
    CellFormat.FULL_CELL: (3.0, 4.2),
    CellFormat.LI_CU: (-1.0, 1.0),
    CellFormat.LI_LI: (-1.0, 1.0),
}


def cell(cell_format: CellFormat) -> CellSpec:
    lower, upper = CUT_OFFS[cell_format]
    return CellSpec(
        name="c1",
        format=cell_format,
        area_cm2=1.54,
        nominal_capacity_Ah=3.0e-3,
        lower_cut_off_V=lower,
        upper_cut_off_V=upper,
        cathode="nmc811" if lower > 0.0 else "li",
        electrolyte_family=ElectrolyteFamily.LHCE,
        electrolyte="LiFSI in DME/TTE",
        oxidised_electrode="li" if lower < 0.0 else None,
    )


def limits(cell_format: CellFormat) -> CellLimits:
    lower, upper = CUT_OFFS[cell_format]
    copper = cell_format in {CellFormat.ANODE_FREE, CellFormat.LI_CU}

    def envelope(name: str, **changes: float) -> PulseEnvelope:
        plain = PulseEnvelope(
            name=name,
            max_current_A=5.0e-3,
            min_voltage_V=lower,
            max_voltage_V=upper,
            max_on_s=120.0,
            min_off_s=600.0,
            max_charge_Ah=1.5e-4,
            max_count=50,
            max_temperature_K=318.15,
        )
        return replace(plain, **changes)

    return CellLimits(
        continuous=ContinuousEnvelope(
            voltage_min_V=Levels(operate=lower, warn=lower - 0.05, trip=lower - 0.2),
            voltage_max_V=Levels(operate=upper, warn=upper + 0.02, trip=upper + 0.05),
            charge_current_max_A=Levels(operate=1.6e-3, warn=1.7e-3, trip=2.0e-3),
            discharge_current_max_A=Levels(operate=1.6e-3, warn=1.7e-3, trip=2.0e-3),
            temperature_min_K=Levels(operate=273.15, warn=273.15, trip=263.15),
            temperature_max_K=Levels(operate=318.15, warn=318.15, trip=333.15),
        ),
        pulse_envelopes=(
            envelope("fast-strip"),
            envelope("self-heating", max_current_A=0.02, max_charge_Ah=7.0e-4),
            envelope(
                "pre-strip-4v",
                max_current_A=0.08,
                max_voltage_V=4.0,
                max_on_s=1.0,
                max_charge_Ah=3.0e-5,
                max_count=1,
            ),
        ),
        max_half_cycle_charge_Ah=4.0e-3,
        max_half_cycle_s=22 * 3600.0,
        max_unchanged_s=120.0,
        copper_potential_operate_V=1.5 if copper else math.nan,
        copper_potential_trip_V=2.5 if copper else math.nan,
        cathode_ocv_upper_V=4.4 if lower > 0.0 else 0.0,
    )


CAPABILITIES = CyclerCapabilities(
    model="2450",
    tier=ControlTier.LIVE_SET_POINT,
    update_period_s=0.2,
    min_pulse_s=1.0,
    min_device_timed_pulse_s=0.01,
    max_current_A=1.0,
    min_voltage_V=-20.0,
    max_voltage_V=20.0,
    current_ranges_A=(1e-3, 1e-2, 1e-1, 1.0),
    device_enforced_lower_voltage=True,
    watchdog=Watchdog.FINITE_SEQUENCE,
    limits_read_back=True,
    off_mode_high_impedance=True,
    four_wire=True,
    temperature=False,
    eis=False,
    verified_on_instrument=False,
)


def library_text(name: str) -> str:
    return (resources.files("protocols") / "library" / f"{name}.toml").read_text(encoding="utf-8")


def changed(name: str, old: str, new: str) -> str:
    """The text of a library recipe with one passage changed, which must be there."""
    text = library_text(name)
    assert old in text
    return text.replace(old, new)


def with_parameters(recipe: Recipe, values: dict[str, float]) -> Recipe:
    """Return the recipe as a copy of its file with other values would read."""
    changed = {
        name: recipe.parameters[name].model_copy(update={"value": value})
        for name, value in values.items()
    }
    return recipe.model_copy(update={"parameters": {**recipe.parameters, **changed}})
