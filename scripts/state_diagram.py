"""Write docs/state-machine.md from the table of transitions: `python scripts/state_diagram.py`."""

from __future__ import annotations

from pathlib import Path

from controller.policy.machine import diagram

PAGE = Path(__file__).resolve().parent.parent / "docs" / "state-machine.md"

TEXT = """# The state machine

Generated from `controller/policy/machine.py` by `python scripts/state_diagram.py`; a test checks
that it is current. `fault` is latched: only an acknowledgement, with the condition gone, leaves it.
The way from a verdict to output off never passes through this machine; it is told afterwards.

```mermaid
{diagram}```
"""


def page() -> str:
    """Return the page as it should stand."""
    return TEXT.format(diagram=diagram())


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
