"""Print the table of docs/effects.md from what `reactivate hil effects --json` said.

reactivate hil effects --draws 200 --json > EFFECTS.json
python scripts/effects_table.py EFFECTS.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

KINDS = {"Q": "figure", "S": "sign", "N": "control"}


def row(one: dict[str, Any]) -> str:
    """Return one effect as a row."""
    wanted = one["expected"].rpartition("accepted: ")[2]
    names = [word for word in wanted.replace(" and ", " ").split() if word in one["simulated"]]
    figures = ", ".join(f"{name} {one['simulated'][name]:.3g}" for name in dict.fromkeys(names))
    off = ", ".join(f"{name} = {value:g}" for name, value in one["ablation"]["changed"].items())
    draws = one["draws"]
    held = f"{draws['held']}/{draws['tried']}" if draws else "-"
    return (
        f"| {one['effect']} | {one['title'].replace('|', chr(92) + '|')} | {KINDS[one['kind']]} | {one['family']} | {wanted} "
        f"| {figures} | {'yes' if one['passed'] else '**no**'} "
        f"| {off}: {'fails' if one['ablation']['fails'] else '**still passes**'} "
        f"| {held} | {', '.join(one['basis'])} |"
    )


def main() -> None:
    """Print the table."""
    listed = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    print(
        "| | effect | kind | family | accepted | simulated | there | mechanism off | draws | from |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    for one in listed:
        print(row(one))


if __name__ == "__main__":
    main()
