"""The programs that the documentation shows run as they stand."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

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
