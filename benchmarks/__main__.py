"""``python -m benchmarks [NAME...] [--json | --markdown]``: measure and print each result."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version

from benchmarks.cases import CASES
from benchmarks.peers import is_there
from benchmarks.timing import Result

PACKAGES = ("numpy", "numba", "pybamm", "thevenin")


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks named, or all; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CASES))
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--json", action="store_true", help="one JSON object a line")
    how.add_argument("--markdown", action="store_true", help="the table of docs/benchmarks.md")
    given = parser.parse_args(arguments)
    for name in given.names:
        if name not in CASES:
            close = difflib.get_close_matches(name, CASES, n=1)
            hint = f"did you mean {close[0]}?" if close else "choose from " + ", ".join(CASES)
            print(f"no benchmark {name!r}: {hint}", file=sys.stderr)
            return 2
    if given.markdown:
        print(f"{machine()}\n\n{HEAD}", flush=True)
    for name in given.names or CASES:
        found = CASES[name]()
        what = (CASES[name].__doc__ or "").strip()
        for result in found if isinstance(found, list) else [found]:
            if given.json:
                print(json.dumps(result.plain()), flush=True)
            else:
                print(row(result) if given.markdown else line(result), flush=True)
        if not given.json and not given.markdown:
            print(f"{'':16} {what}", flush=True)
    return 0


HEAD = """\
| benchmark | figure | beside | ours / theirs |
|---|---|---|---|"""


def row(result: Result) -> str:
    """Return a result as a row of the table."""
    peer = result.peer or ""
    figure = f"{digits(result.value)} {result.unit}"
    return f"| `{result.name}` | {figure} | {peer} | {times(result.ratio)} |"


def line(result: Result) -> str:
    """Return a result for the terminal."""
    head = f"{result.name:16} {result.value:10.4g} {result.unit:11}"
    if result.peer is None:
        return head
    return f"{head} {times(result.ratio)} x {result.peer}" if result.ratio else head + result.peer


def times(ratio: float | None) -> str:
    """Return a ratio in three digits; a small one as a fraction of one."""
    if ratio is None:
        return ""
    return digits(ratio) if ratio >= 0.1 else f"1/{digits(1.0 / ratio)}"


def digits(value: float) -> str:
    """Return three digits of a number, without a power of ten."""
    return f"{float(f'{value:.3g}'):,.0f}" if value >= 100.0 else f"{value:.3g}"


def machine() -> str:
    """Return what the figures were measured on."""
    python = platform.python_implementation(), platform.python_version()
    packages = [f"{name} {version(name)}" for name in PACKAGES if is_there(name)]
    where = f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}"
    return f"{where}; {' '.join(python)}, {', '.join(packages)}; {datetime.now(UTC).date()}."


if __name__ == "__main__":
    raise SystemExit(main())
