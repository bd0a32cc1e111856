"""Other people's models behind the instruments; each test is skipped where its library is not."""

from __future__ import annotations

import importlib.util
import re
import sys

import pytest

from controller.domain.errors import ConfigurationError
from hil.instruments.source import VOLTAGE_SOURCE, OutputStage
from hil.plant import load_plant
from hil.plant_contract import Result, checks

AMBIENT_K = 298.15
ADAPTERS = ("thevenin", "pybamm")


@pytest.fixture(params=ADAPTERS)
def library(request):
    pytest.importorskip(request.param, reason=f"the extra [{request.param}] is not installed")
    return request.param


def test_the_adapter_keeps_the_contract(library):
    module = importlib.import_module(f"hil.adapters.{library}")
    for name, run in checks(module.make):
        outcome = run()
        assert outcome.result is Result.PASS, (name, outcome)


def test_the_adapter_is_charged_and_held(library):
    port = load_plant(f"hil.adapters.{library}:make", seed=1, temperature_K=AMBIENT_K)
    stage = OutputStage(port, AMBIENT_K)
    for level_V, limit_A in ((4.2, 1e-3), (3.5, 1e-3)):
        stage.set(VOLTAGE_SOURCE, level_V, limit_A)
        for _ in range(400):
            stage.evolve(60.0)
            if abs(stage.current_A) < 3e-4:
                break
        assert stage.voltage_V == pytest.approx(level_V, abs=1e-3)
    assert stage.largest_held_error_V < 1e-3
    truth = port.truth()
    for way in ("charge_in_mAh", "charge_out_mAh"):
        assert getattr(stage, way) > 0.5
    assert stage.charge_out_mAh == pytest.approx(truth["charge_out_mAh"], abs=1e-9)


@pytest.mark.parametrize("name", ADAPTERS)
def test_without_its_library_the_extra_is_named(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    words = re.escape(f"pip install 'lithium-reactivation[{name}]'")
    with pytest.raises(ConfigurationError, match=words):
        load_plant(f"hil.adapters.{name}:make", seed=1, temperature_K=AMBIENT_K)


@pytest.mark.parametrize("name", ADAPTERS)
def test_nothing_is_imported_before_it_is_needed(name):
    assert importlib.util.find_spec(f"hil.adapters.{name}") is not None
    module = importlib.import_module(f"hil.adapters.{name}")
    assert not hasattr(module, name)
