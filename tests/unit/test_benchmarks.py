"""The benchmarks' own arithmetic and command line; their figures are no test."""

from __future__ import annotations

import json
import statistics

import pytest

from benchmarks.__main__ import main
from benchmarks.cases import CASES
from benchmarks.timing import compared, interleaved


def test_repeats_take_turns_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    figures = iter([100.0, 1.0, 5.0, 3.0])

    def ours() -> float:
        calls.append("ours")
        return next(figures)

    def theirs() -> float:
        calls.append("theirs")
        return 2.0

    assert interleaved(ours, theirs, repeats=3) == [statistics.median([1.0, 5.0, 3.0]), 2.0]
    assert calls == ["ours", "theirs"] * 4


def test_the_ratio_is_ours_over_the_peers() -> None:
    result = compared("x", "us", "peer", 6.0, 2.0)
    assert result.plain() == {"name": "x", "value": 6.0, "unit": "us", "peer": "peer", "ratio": 3.0}


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transitions", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    assert list(found) == ["name", "value", "unit", "peer", "ratio"]
    assert found["name"] == "transitions"
    assert found["value"] > 0.0


def test_an_unknown_name_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["jurnal"]) == 2
    assert "did you mean journal?" in capsys.readouterr().err


def test_every_benchmark_says_what_it_compares() -> None:
    for name, case in CASES.items():
        assert case.__name__ == name
        assert "against" in (case.__doc__ or "")
