"""``python -m benchmarks [NAME...] [--json]``: measure and print, one line for each result."""

from __future__ import annotations

import argparse
import difflib
import json
import sys

from benchmarks.cases import CASES
from benchmarks.timing import Result


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks named, or all; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CASES))
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    given = parser.parse_args(arguments)
    for name in given.names:
        if name not in CASES:
            close = difflib.get_close_matches(name, CASES, n=1)
            hint = f"did you mean {close[0]}?" if close else "choose from " + ", ".join(CASES)
            print(f"no benchmark {name!r}: {hint}", file=sys.stderr)
            return 2
    for name in given.names or CASES:
        _say(CASES[name](), (CASES[name].__doc__ or "").strip(), as_json=given.json)
    return 0


def _say(result: Result, what: str, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result.plain()), flush=True)
        return
    peer = "" if result.peer is None else f"  {result.ratio:.3g} x {result.peer}"
    print(
        f"{result.name:12} {result.value:12.4g} {result.unit:11}{peer}\n{'':12} {what}", flush=True
    )


if __name__ == "__main__":
    raise SystemExit(main())
