"""The live display shows the run, costs next to nothing and is plain where there is no terminal."""

from __future__ import annotations

import io
import math
import timeit
from types import SimpleNamespace

import numpy as np
import pytest
from rich.console import Console

from controller.app.display import (
    LiveDisplay,
    cycle_line,
    decision_line,
    figures_words,
    sample_words,
)
from controller.core.step import Core
from controller.domain.cell import CellFormat
from controller.domain.command import HOLD_0A, Command
from controller.domain.decision import Decision
from controller.domain.figures import CycleFigures, CycleKind, DischargeEnd, Label
from controller.domain.sample import NAN, Sample
from controller.estimation import online
from controller.policy.machine import State
from tests.synthetic_run import figures

COMMAND = Command(kind=HOLD_0A)
SAMPLE = Sample(
    sequence=0,
    channel=0,
    t_host_s=0.0,
    t_device_s=0.0,
    utc_s=1.7e9,
    voltage_V=3.71234,
    current_A=-1.0004e-3,
    temperature_K=298.15,
    output=1,
    limit_status=1,
    current_range_A=1e-3,
    averaging_s=0.02,
    quality=0,
)
DECISION = Decision(
    cycle=7,
    protocol=None,
    candidate="short-strip",
    opportunity=True,
    withheld=True,
    probability=0.5,
    reason="0.02 mAh lost [bold]since[/bold] the last opportunity",
)
LIVE = SimpleNamespace(
    coulombic_efficiency_so_far=0.5,
    coulombic_efficiency_forecast=math.nan,
    coulombic_efficiency_low=math.nan,
    coulombic_efficiency_high=math.nan,
    resistance_Ohm=21.4,
    lithium_lost_Ah=2.0e-4,
    inactive_Ah=1.2e-4,
    sei_Ah=0.8e-4,
    split_label=Label.PRIOR_DOMINATED,
)


CONFIG = online.EstimatorConfig(
    cell_format=CellFormat.ANODE_FREE,
    nominal_capacity_Ah=3e-3,
    area_cm2=1.54,
    inactive_share_mean=0.5,
    inactive_share_sd=0.2,
    lower_cut_off_V=3.0,
    upper_cut_off_V=4.3,
)
ESTIMATOR = online.new_state(CONFIG)


def a_cycle(cycle: int = 20, **changes: object):
    one = figures(cycle, CycleKind.BASE, np.random.default_rng(1), 0.2, 0.0)
    return type(one)(**{**{name: getattr(one, name) for name in type(one).__slots__}, **changes})


def core() -> Core:
    """Return all that the display asks of a core."""
    return SimpleNamespace(config=SimpleNamespace(estimator=CONFIG))  # type: ignore[return-value]


def a_state(**changes: object) -> SimpleNamespace:
    return SimpleNamespace(
        **{
            "base_done": 3,
            "cycle": 8,
            "run_state": State.EXECUTE,
            "estimator": ESTIMATOR,
            "key": SimpleNamespace(kind=CycleKind.BASE),
            **changes,
        }
    )


def a_report(cycles=(), decisions=()) -> SimpleNamespace:
    return SimpleNamespace(figures=list(cycles), decisions=list(decisions), events=[])


class Clock:
    """Wall time set by the test."""

    def __init__(self) -> None:
        self.now = 100.0
        self.looks = 0

    def __call__(self) -> float:
        self.looks += 1
        return self.now


def terminal() -> Console:
    return Console(file=io.StringIO(), force_terminal=True, width=200, height=20, color_system=None)


def plain() -> Console:
    return Console(file=io.StringIO(), force_terminal=False, width=60)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_terminal_shows_phase_figures_split_and_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(online, "live", lambda *_: LIVE)
    console, clock = terminal(), Clock()
    with LiveDisplay(console, core(), total_cycles=50, clock=clock) as display:
        display.report(a_state(), a_report([a_cycle()], [DECISION]))
        display.sample(a_state(), SAMPLE, COMMAND)
    text = written(console)
    for words in (
        "3/50 cycles, now 8",
        "reactivating execute",
        "3.7123 V",
        "-1.000 mA",
        "T 25.0 °C",
        "so far 50.00 %",
        "R 21.40 Ω",
        "Li lost 0.2000 ± 0.0160 mAh: inactive 0.1200 + SEI 0.0800 (prior-dominated)",
        "withheld: 0.02 mAh lost [bold]since[/bold] the last opportunity",
    ):
        assert words in text


def test_it_is_redrawn_at_most_ten_times_a_second() -> None:
    clock = Clock()
    with LiveDisplay(terminal(), core(), total_cycles=50, clock=clock) as display:
        drawn: list[float] = []
        display._draw = lambda *_: drawn.append(clock.now)  # type: ignore[method-assign]
        for _ in range(20_000):
            clock.now += 1e-4  # 2 s in all
            display.sample(a_state(), SAMPLE, COMMAND)
        assert 10 <= len(drawn) <= 21
        assert min(np.diff(drawn)) >= 0.1 - 1e-9


def test_a_slow_instrument_is_shown_at_every_reading() -> None:
    clock = Clock()
    with LiveDisplay(terminal(), core(), total_cycles=50, clock=clock) as display:
        drawn: list[float] = []
        display._draw = lambda *_: drawn.append(clock.now)  # type: ignore[method-assign]
        for _ in range(50):
            clock.now += 1e-4  # a burst first, in which most readings are skipped
            display.sample(a_state(), SAMPLE, COMMAND)
        for _ in range(300):
            clock.now += 5.0
            display.sample(a_state(), SAMPLE, COMMAND)
        assert list(np.diff(drawn[-100:])) == pytest.approx([5.0] * 99)


def test_the_clock_is_left_alone_between_looks() -> None:
    clock = Clock()
    with LiveDisplay(terminal(), core(), total_cycles=50, clock=clock) as display:
        display._draw = lambda *_: None  # type: ignore[method-assign]
        before = clock.looks
        for _ in range(100_000):
            clock.now += 5e-5
            display.sample(a_state(), SAMPLE, COMMAND)
        # 5 s at one look every 20 ms
        assert clock.looks - before < 400


@pytest.mark.parametrize("console", [terminal, plain])
def test_a_reading_costs_next_to_nothing(console) -> None:
    with LiveDisplay(console(), core(), total_cycles=50) as display:
        display._draw = lambda *_: None  # type: ignore[method-assign]
        state = a_state()
        best_s = min(
            timeit.repeat(
                lambda: display.sample(state, SAMPLE, COMMAND),  # type: ignore[arg-type]
                number=20_000,
                repeat=5,
            )
        )
    # 0.5 us is wanted and 0.1 us measured; the margin is for a busy machine
    assert best_s / 20_000 < 2e-6


def test_without_a_terminal_each_cycle_and_decision_is_one_plain_line() -> None:
    console = plain()
    with LiveDisplay(console, core(), total_cycles=50) as display:
        for _ in range(5000):
            display.sample(a_state(), SAMPLE, COMMAND)
        display.report(a_state(), a_report([a_cycle(20), a_cycle(21)], [DECISION]))
        display.report(a_state(), a_report())
    lines = written(console).splitlines()
    assert lines == [
        cycle_line(a_cycle(20), 3, 50),
        cycle_line(a_cycle(21), 3, 50),
        decision_line(DECISION),
    ]
    assert "\x1b" not in written(console)


def test_how_the_cell_fares_is_said_once_it_is_another_thing() -> None:
    """Earlier sessions count, and what was known then is not said again."""

    def cycles(first: int, last: int, lost: float) -> list[CycleFigures]:
        return [
            a_cycle(
                k,
                charge_Ah=2.9e-3 - lost * (k - first),
                discharge_Ah=2.85e-3 - lost * (k - first),
                base_discharge_Ah=2.85e-3 - lost * (k - first),
                discharge_A=1e-3,
                flags=(),
            )
            for k in range(first, last)
        ]

    console = plain()
    with LiveDisplay(console, core(), total_cycles=50, before=cycles(1, 12, 0.0)) as display:
        display.report(a_state(), a_report(cycles(12, 16, 0.0)))
        assert "diagnosis" not in written(console)
        display.report(a_state(), a_report(cycles(16, 40, 3.6e-5)))
    said = [line for line in written(console).splitlines() if line.startswith("diagnosis")]
    assert len(said) == 1
    assert "gradual decay (probability 0." in said[0]
    assert "of nominal capacity a cycle" in said[0]


def test_what_was_not_measured_is_a_dash() -> None:
    assert sample_words(SAMPLE._replace(temperature_K=NAN)).endswith("T -")
    nothing = sample_words(SAMPLE._replace(voltage_V=NAN, current_A=NAN))
    assert nothing.startswith("- V  - mA")
    assert figures_words(None, None) == "CE last - %, so far - % | R - Ω | Li lost - mAh"
    line = cycle_line(
        a_cycle(coulombic_efficiency=None, u_coulombic_efficiency=None, resistance_Ohm=math.nan),
        1,
        2,
    )
    assert "no CE" in line
    assert "no R at base rate, " in line


def test_a_closed_cycle_has_its_uncertainties_and_base_charge_apart() -> None:
    line = cycle_line(a_cycle(coulombic_efficiency=0.99, coulombic_efficiency_base=0.975), 1, 2)
    assert "(97.500 % of base charge alone)" in line
    assert "net -0.0116 ± 0.0012 mAh" in line
    assert "R 23.47 ± 0.10 Ω" in line


def test_an_end_that_is_not_known_says_what_is_not() -> None:
    line = cycle_line(a_cycle(discharge_end=DischargeEnd.UNKNOWN), 1, 2)
    assert line.endswith(" Ω, end unknown")


def test_a_bound_is_called_a_bound_and_a_split_prior_dominated() -> None:
    words = figures_words(LIVE, a_cycle(lithium_lost_label=Label.BOUND))  # type: ignore[arg-type]
    assert "(bound): inactive 0.1200 + SEI 0.0800 (prior-dominated)" in words
    measured = figures_words(LIVE, a_cycle(lithium_lost_label=Label.MEASURED))  # type: ignore[arg-type]
    assert "bound" not in measured
    assert "prior-dominated" in measured


def test_nothing_is_split_where_nothing_was_lost() -> None:
    gained = SimpleNamespace(**{**vars(LIVE), "lithium_lost_Ah": -1e-6})
    assert "inactive" not in figures_words(gained, a_cycle())  # type: ignore[arg-type]


def test_charge_that_a_control_moves_is_no_capacity() -> None:
    line = cycle_line(a_cycle(discharge_Ah=4.2e-3, charge_Ah=4.2e-3, base_charge_Ah=2.7e-3), 1, 2)
    assert "capacity 2.7000 mAh" in line


def test_flags_and_choice_are_said() -> None:
    assert cycle_line(a_cycle(flags=("interrupted",)), 1, 2).endswith("anode-limited, interrupted")
    chosen = Decision(
        cycle=1,
        protocol="short-strip",
        candidate="short-strip",
        opportunity=True,
        withheld=False,
        probability=0.5,
        reason="because",
    )
    assert decision_line(chosen) == "decision in cycle 1: short-strip: because"


def test_the_expected_efficiency_is_shown_as_an_interval() -> None:
    ahead = SimpleNamespace(
        **{
            **vars(LIVE),
            "coulombic_efficiency_forecast": 0.991,
            "coulombic_efficiency_low": 0.98912,
            "coulombic_efficiency_high": 0.99267,
        }
    )
    assert "expected 98.91-99.27 %" in figures_words(ahead, a_cycle())
    assert "so far 50.00 %" in figures_words(LIVE, a_cycle())


def test_a_fresh_estimator_is_shown_without_an_estimate() -> None:
    console = terminal()
    with LiveDisplay(console, core(), total_cycles=50, clock=Clock()) as display:
        display.sample(a_state(), SAMPLE, COMMAND)
    assert "so far - %" in written(console)
    assert "nan" not in written(console)
