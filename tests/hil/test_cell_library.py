"""Cells from files: what is built in, what a user may write, what is refused and how."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from controller.domain.errors import ConfigurationError
from hil.cell import PRESETS, LithiumMetalCell, cell_names, load_cell, parse_cell
from hil.cell.library import BASES
from hil.cell.parameters import PARAMETER_NAMES

OWN = """
schema = 1
kind = "cell"
name = "mine"
format = "excess-lithium"
family = "carbonate"
cathode = "nmc811"

[values]
area_cm2 = 1.0
nominal_capacity_mAh = 2.0
cathode_host_mAh = { value = 3.1, range = [2.0, 4.0], basis = "D", source = "weighed" }
negative_foil_mAh = 5.0
copper_initial_V = 0.0
electrolyte_mAh = 2.0
separator_um = 20.0
separator_porosity = 0.45
contact_Ohm_cm2 = 4.0
heat_capacity_J_per_K = 2.0
heat_loss_W_per_K = 0.008
stack_pressure_kPa = 50.0
gap_kPa_per_um = 1.0
resistance_growth_Ohm_cm2_per_mAh = 0.0
film_Ohm_cm2 = 20.0
"""


def refused(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse_cell(text, "own.toml").parameters()
    return str(caught.value)


def test_every_format_is_there_and_every_cell_begins():
    formats = {load_cell(name).format.value for name in cell_names()}
    assert formats == {"anode-free", "excess-lithium", "li-cu", "li-li"}
    for name in cell_names():
        voltage_V, _ = LithiumMetalCell(PRESETS[name](0)).step(0.0, 1.0, 298.15)
        assert -0.5 < voltage_V < 4.3


def test_every_value_has_a_source_a_basis_and_lies_in_its_range():
    for name in cell_names():
        values = load_cell(name).values
        assert set(values) == set(PARAMETER_NAMES)
        for key, one in values.items():
            assert one.low <= one.value <= one.high, (name, key)
            assert one.basis in BASES, (name, key)
            assert one.source, (name, key)


def test_seed_nought_is_the_nominal_cell_and_others_scatter_about_it():
    nominal = PRESETS["anode-free"](0)
    assert nominal == PRESETS["anode-free"](0)
    assert PRESETS["anode-free"](3) == PRESETS["anode-free"](3) != PRESETS["anode-free"](4)
    differ = {
        name
        for name in PARAMETER_NAMES
        if getattr(PRESETS["anode-free"](3), name) != getattr(nominal, name)
    }
    assert differ == set(load_cell("anode-free").scatter)


def test_a_users_own_cell_overrides_its_family(tmp_path: Path):
    path = tmp_path / "mine.toml"
    path.write_text(OWN, "utf-8")
    own = load_cell(str(path))
    assert own.parameters().film_Ohm_cm2 == 20.0
    assert own.values["film_Ohm_cm2"].basis == "assumed"
    assert own.values["cathode_host_mAh"].source == "weighed"
    assert own.parameters().sei_per_plated == load_cell("li-nmc532").parameters().sei_per_plated


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"carbonate"', '"carbonat"', ["family", "carbonat", "did you mean 'carbonate'?"]),
        ('"nmc811"', '"nmc"', ["cathode", "'nmc'"]),
        ('"excess-lithium"', '"anode-free"', ["negative_foil_mAh", "begins on Cu"]),
        ("negative_foil_mAh = 5.0", "negative_foil_mAh = 0.0", ["begins with lithium"]),
        ("area_cm2 = 1.0", "area_cm = 1.0", ["values.area_cm", "did you mean 'area_cm2'?"]),
        ("area_cm2 = 1.0", "", ["values.area_cm2", "missing"]),
        ("area_cm2 = 1.0", "area_cm2 = -1.0", ["area_cm2", "-1.0 is outside 0.001..100000"]),
        ("area_cm2 = 1.0", 'area_cm2 = "1"', ["values.area_cm2", "'1' is neither"]),
        ("area_cm2 = 1.0", "area_cm2 = nan", ["area_cm2", "nan"]),
        ('basis = "D"', 'basis = "X"', ["values.cathode_host_mAh", "basis one of P, Pr, C"]),
        ("value = 3.1", "value = 9.1", ["values.cathode_host_mAh"]),
        ("nominal_capacity_mAh = 2.0", "nominal_capacity_mAh = 20.0", ["nominal_capacity_mAh"]),
        ("schema = 1", "schema = 2", ["schema", "is 2"]),
        ('kind = "cell"', 'kind = "family"', ["kind"]),
        ("schema = 1", "schema = = 1", ["not TOML"]),
        ('"excess-lithium"', '"full-cell"', ["format", "'full-cell' cannot be simulated"]),
        ('"excess-lithium"', '"li-cu"', ["cathode", "li-cu has none"]),
    ],
)
def test_what_is_wrong_is_named_with_a_way_out(old, new, words):
    assert old in OWN
    message = refused(OWN.replace(old, new, 1))
    assert "own.toml" in message
    for word in words:
        assert word in message


def test_an_unknown_cell_is_refused_with_the_nearest():
    with pytest.raises(ConfigurationError, match="did you mean 'anode-free'"):
        load_cell("anode-fre")
    with pytest.raises(ConfigurationError, match="nowhere"):
        load_cell("nowhere.toml")


def test_parameters_cannot_be_changed_afterwards():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PRESETS["anode-free"](0).area_cm2 = 2.0
