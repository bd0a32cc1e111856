"""The fault table in the documentation is the one in the code."""

from __future__ import annotations

from pathlib import Path

from controller.domain.verdict import ACTION_WORDS
from controller.safety.faults import FAULTS

DOCUMENT = Path(__file__).parents[2] / "docs" / "safety.md"


def fault_table() -> str:
    """Return the table as it stands in the document."""
    lines = ["| bit | fault | cause | count | action | clears with |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {bit} | `{row.name}` | {row.cause} | {row.samples} "
        f"| {ACTION_WORDS[row.action]} | {row.clear} |"
        for bit, row in enumerate(FAULTS)
    ]
    return "\n".join(lines)


def test_the_documented_fault_table_is_current() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    written = text.split("<!-- faults:begin -->")[1].split("<!-- faults:end -->")[0].strip()
    assert written == fault_table()


def test_no_row_waits_for_a_time_that_the_table_does_not_show() -> None:
    assert all(row.delay_s == 0.0 for row in FAULTS)
