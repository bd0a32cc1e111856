"""Limits that contradict themselves, the cell or the electrolyte are refused, all at once."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import replace
from typing import Any

import pytest

from controller.domain.cell import CellFormat, CellLimits, CellSpec, ElectrolyteFamily, Levels
from controller.domain.errors import ConfigurationError, Fault
from controller.safety.limits import PulseRecord, flatten
from tests.safety.build import CELL, CONTINUOUS, LIMITS, PULSE, RECORD

NAN, INF = math.nan, math.inf
LI_CU = dataclasses.replace(
    CELL, format=CellFormat.LI_CU, lower_cut_off_V=-1.0, upper_cut_off_V=0.5
)
LI_CU_LIMITS = dataclasses.replace(
    LIMITS,
    continuous=dataclasses.replace(
        CONTINUOUS,
        voltage_min_V=Levels(operate=-1.0, warn=-1.05, trip=-2.0),
        voltage_max_V=Levels(operate=0.5, warn=0.6, trip=1.0),
    ),
    pulse_envelopes=(),
    copper_potential_operate_V=1.0,
    copper_potential_trip_V=2.0,
    cathode_ocv_upper_V=0.0,
)
NO_COPPER = dataclasses.replace(
    LIMITS,
    copper_potential_operate_V=NAN,
    copper_potential_trip_V=NAN,
    cathode_ocv_upper_V=NAN,
)


def limits_with(**values: Any) -> CellLimits:
    """Return the coin cell's limits with fields of either level replaced."""
    continuous = {
        key: values.pop(key) for key in list(values) if key in CONTINUOUS.__dataclass_fields__
    }
    return dataclasses.replace(
        LIMITS, continuous=dataclasses.replace(CONTINUOUS, **continuous), **values
    )


def pulse_with(**values: Any) -> CellLimits:
    return limits_with(pulse_envelopes=(dataclasses.replace(PULSE, **values),))


def keys(limits: CellLimits, cell: CellSpec = CELL, **kwargs: Any) -> list[str]:
    """Return the keys refused, [] where the limits are accepted."""
    where = kwargs.get("where", "limits")
    faults: tuple[Fault, ...] = ()
    try:
        flatten(limits, cell, temperature_declared=True, **kwargs)
    except ConfigurationError as error:
        faults = error.faults
    assert all(fault.where == where and fault.problem for fault in faults)
    return [fault.key for fault in faults]


def test_every_number_arrives_in_its_field() -> None:
    flat = {
        "bound_min_V": 3.0,
        "bound_max_V": 4.3,
        "voltage_min_warn_V": 2.95,
        "voltage_max_warn_V": 4.32,
        "voltage_min_trip_V": 2.5,
        "voltage_max_trip_V": 4.4,
        "charge_operate_A": 2e-3,
        "charge_warn_A": 2.5e-3,
        "charge_trip_A": 4e-3,
        "discharge_operate_A": 3e-3,
        "discharge_warn_A": 3.5e-3,
        "discharge_trip_A": 5e-3,
        "temperature_min_operate_K": 273.15,
        "temperature_min_warn_K": 268.15,
        "temperature_min_trip_K": 263.15,
        "temperature_max_operate_K": 321.15,
        "temperature_max_warn_K": 323.15,
        "temperature_max_trip_K": 333.15,
        "treatment_max_K": 318.15,
        "temperature_declared": True,
        "copper_floor_operate_V": 2.85,
        "copper_floor_trip_V": 1.85,
        "lower_cut_off_V": 3.0,
        "upper_cut_off_V": 4.3,
        "max_half_cycle_charge_Ah": 4e-3,
        "max_half_cycle_s": 36000.0,
        "max_unchanged_s": 60.0,
        "zero_current_A": 3e-5,
        "step_jump_V": 2.0,
        "frozen_charge_Ah": 6e-5,
        "pulses": (
            PulseRecord(10e-3, 2.9, 4.4, 100.0, 60.0, 2e-4, 3, 313.15),
            PulseRecord(6e-3, 2.9, 4.4, 10.0, 60.0, 2e-4, 100, 313.15),
        ),
    }
    assert dataclasses.asdict(RECORD) == flat
    plain = flatten(LIMITS, CELL, temperature_declared=False, step_jump_V=1.7)
    assert plain == replace(RECORD, temperature_declared=False, step_jump_V=1.7)


@pytest.mark.parametrize(
    ("family", "highest_K"),
    [
        (ElectrolyteFamily.DILUTE_ETHER, 318.15),
        (ElectrolyteFamily.UNKNOWN, 318.15),
        (ElectrolyteFamily.CARBONATE, 333.15),
        (ElectrolyteFamily.HCE, 333.15),
        (ElectrolyteFamily.LHCE, 333.15),
    ],
)
def test_the_electrolyte_lowers_the_temperature_limits(
    family: ElectrolyteFamily, highest_K: float
) -> None:
    cell = dataclasses.replace(CELL, electrolyte_family=family, upper_cut_off_V=3.9)
    hot = Levels(operate=340.0, warn=341.0, trip=342.0)
    record = flatten(
        limits_with(
            voltage_max_V=Levels(operate=3.9, warn=4.32, trip=4.4),
            temperature_max_K=hot,
            pulse_envelopes=(),
        ),
        cell,
        temperature_declared=True,
    )
    assert record.temperature_max_operate_K == highest_K
    assert record.temperature_max_warn_K == highest_K
    assert record.temperature_max_trip_K == highest_K


@pytest.mark.parametrize(
    ("family", "highest_V"),
    [
        (ElectrolyteFamily.DILUTE_ETHER, 3.9),
        (ElectrolyteFamily.UNKNOWN, 3.9),
        (ElectrolyteFamily.CARBONATE, 4.3),
        (ElectrolyteFamily.HCE, 4.4),
        (ElectrolyteFamily.LHCE, 4.4),
    ],
)
def test_upper_voltage_by_electrolyte_family(family: ElectrolyteFamily, highest_V: float) -> None:
    cell = dataclasses.replace(CELL, electrolyte_family=family, upper_cut_off_V=3.8)

    def levels(operate_V: float) -> Levels:
        return Levels(operate=operate_V, warn=4.5, trip=4.6)

    pulse = dataclasses.replace(PULSE, max_voltage_V=highest_V)
    fits = limits_with(voltage_max_V=levels(highest_V), pulse_envelopes=(pulse,))
    assert keys(fits, cell) == []
    high = limits_with(
        voltage_max_V=levels(math.nextafter(highest_V, 9.0)),
        pulse_envelopes=(dataclasses.replace(PULSE, max_voltage_V=math.nextafter(highest_V, 9.0)),),
    )
    assert keys(high, cell) == ["voltage_max_V.operate", "pulse_envelopes.strip.max_voltage_V"]


def test_a_pulse_without_a_cathode_may_go_beyond_the_family_voltage() -> None:
    cell = dataclasses.replace(CELL, format=CellFormat.LI_LI, lower_cut_off_V=-1.0)
    cell = dataclasses.replace(cell, upper_cut_off_V=1.0)
    limits = dataclasses.replace(
        NO_COPPER,
        continuous=dataclasses.replace(
            CONTINUOUS,
            voltage_min_V=Levels(operate=-1.0, warn=-1.5, trip=-2.0),
            voltage_max_V=Levels(operate=1.0, warn=1.5, trip=2.0),
        ),
        pulse_envelopes=(dataclasses.replace(PULSE, min_voltage_V=-4.6, max_voltage_V=4.6),),
    )
    record = flatten(limits, cell, temperature_declared=True)
    assert record.frozen_charge_Ah == INF
    assert (record.copper_floor_operate_V, record.copper_floor_trip_V) == (-INF, -INF)


@pytest.mark.parametrize(
    "key",
    [
        "voltage_min_V",
        "voltage_max_V",
        "charge_current_max_A",
        "discharge_current_max_A",
        "temperature_min_K",
        "temperature_max_K",
    ],
)
@pytest.mark.parametrize("level", ["operate", "warn", "trip"])
@pytest.mark.parametrize("value", [NAN, INF])
def test_no_level_may_be_missing_or_endless(key: str, level: str, value: float) -> None:
    levels = dataclasses.replace(getattr(CONTINUOUS, key), **{level: value})
    assert f"{key}.{level}" in keys(limits_with(**{key: levels}))


@pytest.mark.parametrize(
    "key",
    ["charge_current_max_A", "discharge_current_max_A", "temperature_min_K", "temperature_max_K"],
)
@pytest.mark.parametrize("level", ["operate", "warn", "trip"])
def test_magnitudes_are_above_nothing(key: str, level: str) -> None:
    for value in (0.0, -1e-3):
        levels = dataclasses.replace(getattr(CONTINUOUS, key), **{level: value})
        assert f"{key}.{level}" in keys(limits_with(**{key: levels}))


@pytest.mark.parametrize("key", ["max_half_cycle_charge_Ah", "max_half_cycle_s", "max_unchanged_s"])
@pytest.mark.parametrize("value", [NAN, INF, 0.0, -1.0])
def test_bounds_on_a_half_cycle_are_finite_magnitudes(key: str, value: float) -> None:
    assert keys(limits_with(**{key: value})) == [key]


@pytest.mark.parametrize("value", [NAN, INF, 0.0, -1.0])
def test_the_jump_and_the_capacity_are_finite_magnitudes(value: float) -> None:
    assert keys(LIMITS, step_jump_V=value) == ["step_jump_V"]
    cell = dataclasses.replace(CELL, nominal_capacity_Ah=value)
    assert keys(LIMITS, cell, where="run.toml") == ["nominal_capacity_Ah"]


@pytest.mark.parametrize(
    ("key", "levels", "refused"),
    [
        ("voltage_max_V", Levels(operate=4.3, warn=4.302, trip=4.302), []),
        ("voltage_max_V", Levels(operate=4.3, warn=4.3019, trip=4.4), ["voltage_max_V.warn"]),
        ("voltage_max_V", Levels(operate=4.3, warn=4.35, trip=4.34), ["voltage_max_V.trip"]),
        ("voltage_min_V", Levels(operate=3.0, warn=2.998, trip=2.998), []),
        ("voltage_min_V", Levels(operate=3.0, warn=2.9981, trip=2.5), ["voltage_min_V.warn"]),
        ("voltage_min_V", Levels(operate=3.0, warn=2.9, trip=2.91), ["voltage_min_V.trip"]),
        ("charge_current_max_A", Levels(operate=2e-3, warn=2e-3, trip=2e-3), []),
        (
            "charge_current_max_A",
            Levels(operate=2e-3, warn=1.9e-3, trip=2e-3),
            ["charge_current_max_A.warn"],
        ),
        (
            "discharge_current_max_A",
            Levels(operate=2e-3, warn=2e-3, trip=1e-3),
            ["discharge_current_max_A.trip"],
        ),
        ("temperature_min_K", Levels(operate=273.0, warn=273.0, trip=273.0), []),
        (
            "temperature_min_K",
            Levels(operate=273.0, warn=274.0, trip=270.0),
            ["temperature_min_K.warn"],
        ),
        (
            "temperature_max_K",
            Levels(operate=273.15, warn=300.0, trip=300.0),
            ["temperature_max_K.operate"],
        ),
        ("temperature_max_K", Levels(operate=273.16, warn=300.0, trip=300.0), []),
    ],
)
def test_levels_go_outwards(key: str, levels: Levels, refused: list[str]) -> None:
    assert keys(limits_with(**{key: levels})) == refused


def test_a_crossed_voltage_window_is_refused() -> None:
    crossed = limits_with(voltage_min_V=Levels(operate=4.3, warn=4.2, trip=4.1))
    assert "voltage_max_V.operate" in keys(crossed)


def test_cut_offs_inside_operate() -> None:
    narrow = limits_with(voltage_max_V=Levels(operate=4.29, warn=4.32, trip=4.4))
    assert keys(narrow) == ["upper_cut_off_V"]
    narrow = limits_with(voltage_min_V=Levels(operate=3.01, warn=2.9, trip=2.5))
    assert keys(narrow) == ["lower_cut_off_V"]
    assert keys(LIMITS, dataclasses.replace(CELL, upper_cut_off_V=3.0)) == ["upper_cut_off_V"]
    nothing = keys(LIMITS, dataclasses.replace(CELL, upper_cut_off_V=NAN))
    assert nothing == ["upper_cut_off_V", "upper_cut_off_V"]


@pytest.mark.parametrize("key", ["copper_potential_operate_V", "copper_potential_trip_V"])
@pytest.mark.parametrize("value", [NAN, INF])
def test_copper_needs_its_limits(key: str, value: float) -> None:
    assert keys(limits_with(**{key: value})) == [key]


def test_copper_needs_the_cathode_bound() -> None:
    assert keys(limits_with(cathode_ocv_upper_V=NAN)) == ["cathode_ocv_upper_V"]


def test_anode_free_copper_potentials() -> None:
    assert keys(limits_with(copper_potential_operate_V=1.51)) == ["copper_potential_operate_V"]
    assert keys(limits_with(copper_potential_trip_V=2.51)) == ["copper_potential_trip_V"]
    equal = limits_with(copper_potential_operate_V=1.5, copper_potential_trip_V=1.5)
    assert keys(equal) == ["copper_potential_trip_V"]


def test_a_cut_off_below_the_copper_floor_is_refused() -> None:
    assert keys(limits_with(copper_potential_operate_V=1.45)) == []
    tight = limits_with(copper_potential_operate_V=1.34)
    assert keys(tight) == [
        "lower_cut_off_V",
        "pulse_envelopes.strip.min_voltage_V",
        "pulse_envelopes.short.min_voltage_V",
    ]
    # 4.35 - 1.35 in binary is not 3; the cut-off still fits.
    exact = limits_with(copper_potential_operate_V=1.35, pulse_envelopes=())
    assert keys(exact) == []


def test_li_cu_takes_1_V_and_2_V() -> None:
    record = flatten(LI_CU_LIMITS, LI_CU, temperature_declared=True)
    assert (record.copper_floor_operate_V, record.copper_floor_trip_V) == (-1.0, -2.0)
    for key, value in (("copper_potential_operate_V", 1.1), ("copper_potential_trip_V", 2.1)):
        assert keys(dataclasses.replace(LI_CU_LIMITS, **{key: value}), LI_CU) == [key]


def test_the_foil_of_li_cu_is_at_0_V_and_no_lower_figure_hides_cu() -> None:
    """A bound of -1 V would call Cu at 2 V vs Li one at 1 V."""

    def foil(potential_V: float) -> CellLimits:
        return dataclasses.replace(LI_CU_LIMITS, cathode_ocv_upper_V=potential_V)

    assert keys(foil(0.0), LI_CU) == []
    assert keys(foil(math.nextafter(0.0, -1.0)), LI_CU) == ["cathode_ocv_upper_V"]
    assert keys(foil(-1.0), LI_CU) == ["cathode_ocv_upper_V"]
    # a higher one is only stricter: the strip cut-off no longer fits
    assert keys(foil(0.1), LI_CU) == ["lower_cut_off_V"]
    # elsewhere the potential is the cathode's, whatever its owner says of it
    low = limits_with(cathode_ocv_upper_V=-0.1, pulse_envelopes=())
    assert keys(low) == []


def test_formats_without_copper_need_no_copper_limits() -> None:
    cell = dataclasses.replace(CELL, format=CellFormat.EXCESS_LITHIUM)
    assert keys(NO_COPPER, cell) == []
    # Given all the same, they are enforced, and half given is refused.
    half = dataclasses.replace(NO_COPPER, copper_potential_trip_V=3.0)
    assert keys(half, cell) == ["copper_potential_operate_V", "cathode_ocv_upper_V"]
    half = dataclasses.replace(NO_COPPER, copper_potential_operate_V=1.5)
    assert keys(half, cell) == ["copper_potential_trip_V", "cathode_ocv_upper_V"]
    wide = dataclasses.replace(LIMITS, copper_potential_trip_V=3.0)
    assert keys(wide, cell) == []


@pytest.mark.parametrize(
    "key",
    ["max_current_A", "max_on_s", "max_charge_Ah", "max_count", "max_temperature_K"],
)
@pytest.mark.parametrize("value", [NAN, INF, 0.0, -1.0])
def test_envelopes_hold_finite_magnitudes(key: str, value: float) -> None:
    assert keys(pulse_with(**{key: value})) == [f"pulse_envelopes.strip.{key}"]


def test_an_envelope_may_have_no_waiting_time_but_not_a_negative_one() -> None:
    assert keys(pulse_with(min_off_s=0.0)) == []
    assert keys(pulse_with(min_off_s=-1.0)) == ["pulse_envelopes.strip.min_off_s"]


def test_envelope_voltages() -> None:
    assert keys(pulse_with(min_voltage_V=NAN)) == ["pulse_envelopes.strip.min_voltage_V"]
    assert keys(pulse_with(max_voltage_V=NAN)) == ["pulse_envelopes.strip.max_voltage_V"]
    assert keys(pulse_with(max_voltage_V=2.9)) == ["pulse_envelopes.strip.max_voltage_V"]
    assert keys(pulse_with(min_voltage_V=2.85)) == []
    assert keys(pulse_with(min_voltage_V=2.849)) == ["pulse_envelopes.strip.min_voltage_V"]


def test_envelope_names() -> None:
    assert keys(limits_with(pulse_envelopes=(PULSE, PULSE))) == ["pulse_envelopes"]
    assert keys(pulse_with(name="")) == ["pulse_envelopes"]


def test_all_faults_come_in_one_message_with_remedies() -> None:
    with pytest.raises(ConfigurationError) as caught:
        flatten(
            limits_with(
                voltage_max_V=Levels(operate=4.5, warn=4.5, trip=4.4), max_half_cycle_s=-1.0
            ),
            CELL,
            temperature_declared=True,
            where="run.toml",
        )
    text = str(caught.value)
    assert len(caught.value.faults) == 4
    assert "run.toml: max_half_cycle_s: -1.0 is no magnitude (give a magnitude above 0)" in text
    assert "voltage_max_V.warn: 4.5 is not beyond operate 4.5 by 2 mV" in text
    assert "(4.502 or beyond)" in text
    assert "voltage_max_V.trip: 4.4 is not beyond warn 4.5 (4.5 or beyond)" in text
    assert "'lhce' allows (4.4 V or less, or declare the family)" in text


CROSSED = limits_with(
    voltage_min_V=Levels(operate=4.3, warn=2.95, trip=2.5),
    temperature_max_K=Levels(operate=273.15, warn=323.15, trip=333.15),
    pulse_envelopes=(),
)


@pytest.mark.parametrize(
    ("limits", "cell", "lines"),
    [
        (
            limits_with(max_unchanged_s=NAN),
            CELL,
            ["max_unchanged_s: nan is not a finite number"],
        ),
        (
            pulse_with(min_off_s=-1.0),
            CELL,
            [
                (
                    "pulse_envelopes.strip.min_off_s: -1.0 is no magnitude "
                    "(give a magnitude of 0 or more)"
                )
            ],
        ),
        (
            pulse_with(max_on_s=0.0),
            CELL,
            ["pulse_envelopes.strip.max_on_s: 0.0 is no magnitude (give a magnitude above 0)"],
        ),
        (
            limits_with(charge_current_max_A=Levels(operate=2e-3, warn=1e-3, trip=4e-3)),
            CELL,
            ["charge_current_max_A.warn: 0.001 is not beyond operate 0.002 (0.002 or beyond)"],
        ),
        (
            limits_with(voltage_min_V=Levels(operate=3.0, warn=3.0, trip=3.1)),
            CELL,
            [
                (
                    "voltage_min_V.warn: 3.0 is not beyond operate 3.0 by 2 mV, "
                    "as the noise on the device's bound needs (2.998 or beyond)"
                ),
                "voltage_min_V.trip: 3.1 is not beyond warn 3.0 (3 or beyond)",
            ],
        ),
        (
            CROSSED,
            CELL,
            [
                (
                    "voltage_max_V.operate: 4.3 is not above the lower limit 4.3 "
                    "(exchange the two or widen the window)"
                ),
                (
                    "temperature_max_K.operate: 273.15 is not above the lower limit 273.15 "
                    "(exchange the two or widen the window)"
                ),
                (
                    "lower_cut_off_V: cut-off 3.0 V is outside operate, 4.3 to 4.3 V "
                    "(4.3 V, or widen operate)"
                ),
            ],
        ),
        (
            LIMITS,
            dataclasses.replace(CELL, upper_cut_off_V=4.5),
            [
                (
                    "upper_cut_off_V: cut-off 4.5 V is outside operate, 3.0 to 4.3 V "
                    "(4.3 V, or widen operate)"
                )
            ],
        ),
        (
            LIMITS,
            dataclasses.replace(CELL, upper_cut_off_V=3.0),
            ["upper_cut_off_V: 3.0 V is not above lower_cut_off_V 3.0 V"],
        ),
        (
            dataclasses.replace(NO_COPPER, pulse_envelopes=()),
            CELL,
            [
                (
                    "copper_potential_operate_V: nan: format 'anode-free' needs a finite value "
                    "(at most 1.5 V)"
                ),
                (
                    "copper_potential_trip_V: nan: format 'anode-free' needs a finite value "
                    "(at most 2.5 V)"
                ),
                "cathode_ocv_upper_V: nan: format 'anode-free' needs a finite value",
            ],
        ),
        (
            limits_with(copper_potential_trip_V=2.6),
            CELL,
            ["copper_potential_trip_V: 2.6 V is too high for format 'anode-free' (2.5 V or less)"],
        ),
        (
            limits_with(copper_potential_operate_V=1.5, copper_potential_trip_V=1.4),
            CELL,
            ["copper_potential_trip_V: 1.4 V is not above operate 1.5 V"],
        ),
        (
            dataclasses.replace(LI_CU_LIMITS, cathode_ocv_upper_V=-0.5),
            LI_CU,
            ["cathode_ocv_upper_V: -0.5 V is below that of a lithium foil (0)"],
        ),
        (
            limits_with(copper_potential_operate_V=1.34, pulse_envelopes=(PULSE,)),
            CELL,
            [
                "lower_cut_off_V: 3.0 V lets the Cu potential rise above 1.34 V (3.01 V or more)",
                (
                    "pulse_envelopes.strip.min_voltage_V: 2.9 V lets the Cu potential rise above "
                    "operate (3.01 V or more)"
                ),
            ],
        ),
        (
            pulse_with(max_voltage_V=2.9),
            CELL,
            ["pulse_envelopes.strip.max_voltage_V: 2.9 is not above min_voltage_V 2.9"],
        ),
        (
            pulse_with(max_voltage_V=4.5),
            CELL,
            [
                (
                    "pulse_envelopes.strip.max_voltage_V: 4.5 V is above what electrolyte family "
                    "'lhce' allows (4.4 V or less)"
                )
            ],
        ),
        (
            limits_with(pulse_envelopes=(PULSE, PULSE)),
            CELL,
            [
                (
                    "pulse_envelopes: the name 'strip' is empty or used twice "
                    "(give each envelope a name of its own)"
                )
            ],
        ),
    ],
)
def test_a_refusal_says_what_is_wrong_and_what_would_do(
    limits: CellLimits, cell: CellSpec, lines: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        flatten(limits, cell, temperature_declared=True)
    assert str(caught.value).splitlines() == [f"limits: {line}" for line in lines]


def test_the_copper_floor_is_rounded_to_1_nV() -> None:
    fine = limits_with(copper_potential_operate_V=1.4999999996)
    assert flatten(fine, CELL, temperature_declared=True).copper_floor_operate_V == 2.85
    fine = limits_with(copper_potential_operate_V=1.499999999)
    assert flatten(fine, CELL, temperature_declared=True).copper_floor_operate_V == 2.850000001


def test_the_rounding_that_an_order_forgives_is_1e_9_inclusive() -> None:
    # 2e-9 - 1e-9 is 1e-9 to the bit.
    for warn_A, refused in ((1e-9, []), (0.9e-9, ["charge_current_max_A.warn"])):
        levels = Levels(operate=2e-9, warn=warn_A, trip=1.0)
        assert keys(limits_with(charge_current_max_A=levels)) == refused
