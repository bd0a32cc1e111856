"""The example in docs/plant-port.md is what it says: a plant that keeps the contract and runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from hil.instruments.source import VOLTAGE_SOURCE, OutputStage
from hil.plant import OPTIONAL_METHODS, Regulation, load_plant
from hil.plant_contract import CHECKS, Result, checks

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "plant-port.md").read_text("utf-8")


def test_the_example_keeps_the_contract_and_is_held(tmp_path, monkeypatch):
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    Path("my_cell.py").write_text(example, encoding="utf-8")
    port = load_plant("my_cell:make", seed=1, temperature_K=298.15)
    monkeypatch.delitem(sys.modules, "my_cell")
    assert port.regulation is Regulation.IMPLICIT
    outcomes = [run() for _, run in checks(type(port.plant).step.__globals__["make"])]
    assert [one for one in outcomes if one.result is not Result.PASS] == []
    stage = OutputStage(port, 298.15)
    stage.set(VOLTAGE_SOURCE, 4.3, 1e-3)
    stage.evolve(20_000.0)
    assert stage.voltage_V == 4.3 or abs(stage.voltage_V - 4.3) < 1e-6
    truth = port.truth()
    assert abs(truth["charge_in_mAh"] - stage.charge_in_mAh) < 1e-9


def test_every_method_of_the_port_is_described():
    for name in ("step", "temperature_K", *OPTIONAL_METHODS):
        assert f"`{name}" in TEXT
    for factory in re.findall(r"`(hil\.adapters\.\w+):make`", TEXT):
        assert Path(*factory.split(".")).with_suffix(".py").name in {"thevenin.py", "pybamm.py"}
    assert len(CHECKS) == 12
