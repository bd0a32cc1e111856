"""The compiled cell is the plain one: the same numbers, refusals and snapshots."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from controller.app import hardware
from controller.app.config import load_run
from controller.domain.errors import ConfigurationError, InvariantError
from hil import bench, compiled
from hil.bench import preset_port
from hil.cell import LithiumMetalCell, load_cell
from hil.cell.compiled_cell import CompiledCell
from hil.cell.parameters import CellParameters
from hil.cell.state import STATE_FIELDS
from tests.numba_extra import CACHE, needs_numba

pytestmark = needs_numba
CELL = load_cell("anode-free").parameters(1)
SHORTED = dataclasses.replace(load_cell("li-li").parameters(1), short_at_start=1.0, short_on_s=2.0)


@pytest.mark.parametrize("parameters", [CELL, SHORTED], ids=["anode-free", "shorted"])
def test_the_same_numbers_to_the_last_bit(parameters: CellParameters) -> None:
    plain = LithiumMetalCell(parameters, seed=3)
    fast = CompiledCell(parameters, seed=3, cache=CACHE)
    assert fast.snapshot() == plain.snapshot()
    noise = np.random.default_rng(1)
    for index in range(400):
        current_A = float(noise.choice([0.0, 1e-3, 1e-3, -1e-3, 3e-3]))
        dt_s = float(noise.uniform(0.1, 60.0))
        assert fast.step(current_A, dt_s, 300.0) == plain.step(current_A, dt_s, 300.0), index
        assert fast.terminal_voltage(1e-3) == plain.terminal_voltage(1e-3)
        assert fast.temperature_K == plain.temperature_K
    assert fast.snapshot() == plain.snapshot()
    assert fast.truth() == plain.truth()
    assert fast.balances() == plain.balances()


def test_it_goes_on_from_a_snapshot_of_either() -> None:
    plain, fast = LithiumMetalCell(CELL), CompiledCell(CELL, cache=CACHE)
    plain.step(1e-3, 100.0, 298.15)
    stored = json.loads(json.dumps(plain.snapshot()))
    fast.restore(stored)
    assert fast.terminal_voltage(1e-3) == plain.terminal_voltage(1e-3)
    assert fast.step(1e-3, 7.0, 298.15) == plain.step(1e-3, 7.0, 298.15)
    plain.restore(fast.snapshot())
    assert all(type(one) is float for one in fast.snapshot())
    assert plain.step(-1e-3, 7.0, 298.15) == fast.step(-1e-3, 7.0, 298.15)


def test_what_it_is_asked_is_checked() -> None:
    fast = CompiledCell(CELL, cache=CACHE)
    for asked in ((1e4, 1.0, 298.15), (0.0, 0.0, 298.15), (0.0, 1.0, float("nan"))):
        with pytest.raises(ConfigurationError):
            fast.step(*asked)
    with pytest.raises(ConfigurationError):
        fast.restore(fast.snapshot()[1:])
    with pytest.raises(ConfigurationError):
        CompiledCell(CELL, temperature_K=10.0, cache=CACHE)


def test_a_state_outside_physics_is_named() -> None:
    fast = CompiledCell(CELL, cache=CACHE)
    broken = list(fast.snapshot())
    broken[STATE_FIELDS.index("neg.sei_mAh")] = -1.0
    fast.restore(tuple(broken))
    with pytest.raises(InvariantError, match="sei_mAh"):
        fast.step(0.0, 1.0, 298.15)


def test_a_bench_takes_it_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "cache_directory", lambda: CACHE)
    assert type(preset_port("anode-free", 1, 298.15, compiled=True).plant) is CompiledCell
    assert type(preset_port("anode-free", 1, 298.15).plant) is LithiumMetalCell


@pytest.mark.parametrize(("cycles", "kind"), [(2, LithiumMetalCell), (50, CompiledCell)])
def test_a_long_run_takes_it_by_itself(
    cycles: int, kind: type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "cache_directory", lambda: CACHE)
    made: list[object] = []
    monkeypatch.setattr(
        bench, "build_bench", lambda *, plant, **_: made.append(plant.plant) or 1 / 0
    )
    with pytest.raises(ZeroDivisionError):
        hardware.build(
            load_run(None, cycles=cycles),
            1,
            tmp_path,
            hardware.Past(),
            utc_s=0.0,
            on_exchange=lambda *_: None,
            on_report=lambda _: None,
        )
    assert [type(one) for one in made] == [kind]
