"""A check of the linter that is silenced says why, on its line."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("benchmarks", "controller", "hil", "protocols", "scripts", "tests")
SILENCED = "# " + "noqa"  # in two, so that this line is none
# The rules, then at least a word after them.
WITH_REASON = re.compile(SILENCED + r": [A-Z]+\d+(?:, [A-Z]+\d+)* .*[a-z_]{2}")


def test_every_silenced_check_has_a_reason() -> None:
    lines = [
        (f"{path.relative_to(ROOT)}:{number}", line)
        for room in ROOMS
        for path in sorted((ROOT / room).rglob("*.py"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if SILENCED in line
    ]
    assert len(lines) > 30
    assert [place for place, line in lines if not WITH_REASON.search(line)] == []
