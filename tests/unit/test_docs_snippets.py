"""The programs that the documentation and the modules show run as they stand."""

from __future__ import annotations

import re
import runpy
import textwrap
from importlib import import_module
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_estimator_alone_runs_as_shown(capsys, tmp_path: Path) -> None:
    text = (DOCS / "estimation.md").read_text(encoding="utf-8")
    [program] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    file = tmp_path / "alone.py"
    file.write_text(program, encoding="utf-8")
    live = runpy.run_path(str(file))["now"]
    efficiency, u, end = capsys.readouterr().out.split()
    assert 0.99 < float(efficiency) < 1.01
    assert 0.0 < float(u) < 0.01
    assert end.endswith("limited") or end == "unknown"
    assert live.charge_Ah > 2.9e-3


def shown_by(module: str) -> str:
    """Return the program in the module's own documentation: what is indented after ``::``."""
    told = import_module(module).__doc__ or ""
    [program] = re.findall(r"::\n\n((?:    .*\n|\n)+)", told)
    return textwrap.dedent(program)


@pytest.mark.parametrize(
    ("module", "numbers"),
    [
        ("controller.estimation.shorts", 1),
        ("controller.estimation.impedance.filter", 2),
        ("controller.estimation.impedance.steps", 2),
    ],
)
def test_what_a_module_shows_runs_as_it_stands(module: str, numbers: int, capsys, tmp_path) -> None:
    file = tmp_path / "shown.py"
    file.write_text(shown_by(module), encoding="utf-8")
    runpy.run_path(str(file))
    printed = [float(one) for one in capsys.readouterr().out.split()]
    assert len(printed) == numbers
    if numbers == 2:
        assert printed[0] == pytest.approx(20.0, abs=max(3.0 * printed[1], 0.1))
    else:
        assert 0.0 <= printed[0] < 0.5


def test_an_excitation_is_designed_as_shown(capsys, tmp_path: Path) -> None:
    text = (DOCS / "estimation" / "spectra.md").read_text(encoding="utf-8")
    [program] = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    file = tmp_path / "design.py"
    file.write_text(program, encoding="utf-8")
    runpy.run_path(str(file))
    at_once, one_by_one = (
        [float(one) for one in re.findall(r"\d+", line)]
        for line in capsys.readouterr().out.splitlines()
    )
    assert at_once[1] == 500.0
    assert one_by_one[1] > at_once[1]  # slower
    assert one_by_one[2] > at_once[2]  # with more current in each tone
