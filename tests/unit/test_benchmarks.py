"""The benchmarks' own arithmetic and command line; their figures are no test."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from benchmarks import peers, plant, two_rc
from benchmarks.__main__ import main, times
from benchmarks.cases import CASES
from benchmarks.timing import Result, compared, interleaved, without_peer


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
        assert case.__name__.replace("_", "-") == name
        assert "against" in (case.__doc__ or "")


@pytest.mark.parametrize(
    ("ratio", "said"),
    [(None, ""), (2.0, "2"), (0.5, "0.5"), (0.05, "1/20"), (4.0e-4, "1/2,500"), (1234.0, "1,230")],
)
def test_a_ratio_is_said_in_three_digits(ratio: float | None, said: str) -> None:
    assert times(ratio) == said


def test_the_table_is_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["transitions", "--markdown"]) == 0
    machine, _, head, rule, row = capsys.readouterr().out.splitlines()
    assert "cores" in machine
    assert "numpy" in machine
    assert rule == "|---|---|---|---|"
    assert row.startswith("| `transitions` |")
    assert row.count("|") == head.count("|")


def test_a_peer_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "is_there", lambda _: False)
    monkeypatch.setattr(peers.shutil, "which", lambda _: None)
    fitted = peers.impedance_fit("R0", [[1.0]], [1.0], [1.0], [1.0])
    missing = [peers.thevenin(), peers.pybamm(), peers.c_two_rc(), fitted]
    assert missing == [
        "thevenin is not installed",
        "pybamm is not installed",
        "no C compiler is installed",
        "impedance is not installed",
    ]
    others: list[tuple[str, peers.Measure | str]] = [("theirs", "gone"), ("half", lambda: 4.0)]
    assert plant.beside("x", "us", 1.0, lambda: 2.0, others) == [
        Result(name="x", value=2.0, unit="us", peer="half", ratio=0.5),
        without_peer("x", "us", "theirs: gone", 2.0),
    ]


@pytest.mark.skipif(isinstance(peers.c_two_rc(1), str), reason="no C compiler is installed")
def test_the_cell_in_c_is_the_cell_in_python(tmp_path: Path) -> None:
    library = peers.c_library(tmp_path)
    s, p = two_rc.State(), two_rc.Parameters()
    state, fixed = peers.c_numbers(s, p)
    for current_A in (1e-3, -2e-3, 0.0, 5e-3):
        given = (current_A, 3.0, 300.0)
        theirs_V = library.two_rc_step(state.ctypes.data, fixed.ctypes.data, *given)
        assert theirs_V == pytest.approx(two_rc.step(s, p, *given), rel=1e-12)
    assert list(state) == pytest.approx([s.soc, s.temperature_K, s.fast.V, s.slow.V], rel=1e-12)
