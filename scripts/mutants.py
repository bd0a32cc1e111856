"""Mutate the safety code and say, function by function, what no test notices.

Runs mutmut (settings in ``pyproject.toml``) on one file of `controller.safety` after the other and
prints a table in Markdown. Exits 1 if a mutant survives that is not listed in `EQUIVALENT` with
its reason, if one was not run, or if a function has no mutants at all.

    python scripts/mutants.py [FILE...] [--children N]
"""

from __future__ import annotations

import argparse
import ast
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[1]
PACKAGE: Final = "controller.safety"
FILES: Final = ("faults", "limits", "memory", "supervisor")
# Mutants that change nothing, as (file.function, the line as mutated): the reason.
EQUIVALENT: Final[dict[tuple[str, str], str]] = {}

_RESULT: Final = re.compile(
    re.escape(PACKAGE) + r"\.(?P<file>\w+)\.x(?:_|ǁ(?P<owner>\w+)ǁ)(?P<function>\w+)__mutmut_\d+$"
)


class Count(NamedTuple):
    """Mutants of one function: how many, and which were not noticed."""

    mutants: int
    survivors: list[str]


def functions(file: str) -> list[str]:
    """Return the functions and methods of a file, as ``name`` or ``Class.name``."""
    tree = ast.parse((ROOT / PACKAGE.replace(".", "/") / f"{file}.py").read_text(encoding="utf-8"))
    found = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            found.append(node.name)
        elif isinstance(node, ast.ClassDef):
            found += [f"{node.name}.{n.name}" for n in node.body if isinstance(n, ast.FunctionDef)]
    return found


def mutmut(*arguments: str) -> str:
    """Run mutmut in the project's folder; return what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "mutmut", *arguments],
        cwd=ROOT,
        check=False,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    if done.returncode != 0:
        sys.exit(
            f"mutmut {' '.join(arguments)} failed:\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        )
    return done.stdout


def mutated_line(mutant: str) -> str:
    """Return the line of a mutant that differs, as mutated; empty where it only leaves one out."""
    lines = [line[1:].strip() for line in mutmut("show", mutant).splitlines() if line[:1] == "+"]
    return " ".join(line for line in lines if not line.startswith("++"))


def counts(files: list[str]) -> dict[str, Count]:
    """Return the mutants of each function of `files`, by ``file.function``."""
    mutants: dict[str, int] = defaultdict(int)
    survivors: dict[str, list[str]] = defaultdict(list)
    for line in mutmut("results", "--all", "true").splitlines():
        name, _, status = line.strip().partition(": ")
        match = _RESULT.match(name)
        if match is None or match["file"] not in files:
            continue
        owner = f"{match['owner']}." if match["owner"] else ""
        key = f"{match['file']}.{owner}{match['function']}"
        mutants[key] += 1
        if status != "killed":
            survivors[key].append(f"{name} ({status}): {mutated_line(name)}")
    return {
        f"{file}.{function}": Count(mutants[f"{file}.{function}"], survivors[f"{file}.{function}"])
        for file in files
        for function in functions(file)
    }


def main() -> int:
    """Run, print the table, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("files", nargs="*", help="of controller/safety, without .py; default all")
    parser.add_argument("--children", default="2", help="processes at a time")
    given = parser.parse_args()
    files = list(given.files or FILES)
    unknown = [file for file in files if file not in FILES]
    if unknown:
        parser.error(f"{unknown[0]!r} is none of {', '.join(FILES)}")
    # Results of an earlier state of the tests would be kept.
    shutil.rmtree(ROOT / "mutants", ignore_errors=True)
    for file in files:
        mutmut("run", "--max-children", given.children, f"{PACKAGE}.{file}.*")
    bad = False
    print("| function | mutants | killed | survivors |\n|---|---|---|---|")
    total = killed = 0
    table = counts(files)
    for key, count in table.items():
        total += count.mutants
        killed += count.mutants - len(count.survivors)
        print(
            f"| `{key}` | {count.mutants} | {count.mutants - len(count.survivors)} "
            f"| {len(count.survivors)} |"
        )
    print(f"| all | {total} | {killed} | {total - killed} |")
    for key, count in table.items():
        if count.mutants == 0:
            print(f"no mutants: {key}")
            bad = True
        for survivor in count.survivors:
            reason = EQUIVALENT.get((key, survivor.partition("): ")[2]))
            print(f"survives: {survivor}" + (f" -- equivalent: {reason}" if reason else ""))
            bad |= reason is None
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
