"""What a person sees while the run goes on: one line of progress, one of figures.

On a terminal a live display, redrawn at most ten times a second of wall time; elsewhere one plain
line for each closed cycle and each decision.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Final, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from controller.app.reporting.charts import SAME_CE
from controller.app.reporting.facts import capacity_Ah, diagnosis_words
from controller.core.state import CoreState
from controller.core.step import Core, Report
from controller.domain.cell import ZERO_CELSIUS_K
from controller.domain.command import Command
from controller.domain.decision import Decision
from controller.domain.events import EventKind
from controller.domain.figures import CycleFigures, DischargeEnd, Label
from controller.domain.sample import Sample
from controller.estimation import online
from controller.estimation.diagnosis import Diagnosis, Mode, diagnose, shown_in_run
from controller.estimation.online import LiveEstimate
from controller.policy.machine import State

REDRAW_PERIOD_S: Final = 0.1
# The clock is looked at about this often, whatever the pace of readings (wall time).
LOOK_PERIOD_S: Final = 0.02
LONGEST_SKIP: Final = 2000
BAR_WIDTH: Final = 28
# The longest name of a phase, so that nothing jumps when it changes.
PHASE_WIDTH: Final = max(len(state.value) for state in State)
MISSING: Final = "-"


# What is said at once, above the live lines.
TOLD: Final = frozenset(
    {
        EventKind.VERDICT,
        EventKind.EXPOSURE,
        EventKind.UNOBSERVED,
        EventKind.OPERATOR,
        EventKind.INSTRUMENT,
        EventKind.TREATMENT,
        EventKind.SPECTRUM,
    }
)


class LiveDisplay:
    """A `Listener` that shows the run.

    Parameters
    ----------
    console : rich.console.Console
        Where to.
    core : Core
        Knows how the estimator is configured.
    total_cycles : int
        Base cycles the run is to make.
    before : sequence of CycleFigures
        Closed in earlier sessions of this run.
    clock : callable
        Wall time (s), monotonic.
    """

    def __init__(
        self,
        console: Console,
        core: Core,
        *,
        total_cycles: int,
        before: Sequence[CycleFigures] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._total = max(total_cycles, 1)
        self._core = core
        self._console = console
        self._clock = clock
        self._live: Live | None = None
        self._skip = 1
        self._wait = 1
        self._looked_s = clock()
        self._drawn_s = -math.inf
        self._cycles = list(before)
        self._last_cycle: CycleFigures | None = None
        self._told_mode = self._diagnosis().mode
        self._last_decision: Decision | None = None
        self._shown: tuple[CoreState, Sample] | None = None
        if not self._console.is_terminal:
            # nothing is drawn: let the loop pay no more than a look at this flag
            self._wait = self._skip = LONGEST_SKIP

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            if self._shown is not None:
                self._draw(*self._shown)
            self._live.stop()
            self._live = None

    # --- Listener ---

    def sample(self, state: CoreState, sample: Sample, in_force: Command) -> None:  # noqa: ARG002 - the Listener's signature
        """Take a reading; nearly all of them only count down to the next look at the clock."""
        self._wait -= 1
        if self._wait:
            return
        self._look(state, sample)

    def report(self, state: CoreState, report: Report) -> None:
        """Take closed cycles, decisions, and what an operator should know."""
        for event in report.events:
            if event.kind in TOLD:
                self._print(f"{event.kind.value}: {event.message}")
        for figures in report.figures:
            self._last_cycle = figures
            self._cycles.append(figures)
            if self._live is None:
                self._print(cycle_line(figures, state.base_done, self._total))
            self._tell_mode(figures.cycle)
        for decision in report.decisions:
            self._last_decision = decision
            if self._live is None:
                self._print(decision_line(decision))

    def _diagnosis(self) -> Diagnosis:
        of = self._core.config.estimator
        return diagnose(shown_in_run(self._cycles), of.cell_format, of.nominal_capacity_Ah)

    def _tell_mode(self, cycle: int) -> None:
        """Say how the cell fares when that has become another thing than was said last."""
        found = self._diagnosis()
        if found.mode in {self._told_mode, Mode.CANNOT_TELL}:
            return
        self._told_mode = found.mode
        self._print(diagnosis_line(found, cycle))

    # --- drawing ---

    def _look(self, state: CoreState, sample: Sample) -> None:
        if self._live is None:
            self._wait = self._skip
            return
        now_s = self._clock()
        passed_s = max(now_s - self._looked_s, 1e-6)
        self._looked_s = now_s
        # at 20,000 readings a second look at every 400th, on a real instrument at each
        self._skip = min(max(int(self._skip * LOOK_PERIOD_S / passed_s), 1), LONGEST_SKIP)
        self._wait = self._skip
        self._shown = (state, sample)
        if now_s - self._drawn_s >= REDRAW_PERIOD_S:
            self._drawn_s = now_s
            self._draw(state, sample)

    def _draw(self, state: CoreState, sample: Sample) -> None:
        if self._live is not None:
            self._live.update(self._picture(state, sample), refresh=True)

    def _picture(self, state: CoreState, sample: Sample) -> Group:
        progress = Table.grid(padding=(0, 1))
        progress.add_row(
            ProgressBar(total=self._total, completed=state.base_done, width=BAR_WIDTH),
            Text(f"{state.base_done}/{self._total} cycles, now {state.cycle}", style="bold"),
            Text(f"{state.run_state.value.replace('_', ' '):<{PHASE_WIDTH}}", style="cyan"),
            Text(sample_words(sample)),
        )
        live = online.live(state.estimator, self._core.config.estimator, state.key.kind)
        figures = Text(figures_words(live, self._last_cycle), overflow="ellipsis", no_wrap=True)
        lines: list[Table | Text] = [progress, figures]
        if self._last_decision is not None:
            lines.append(
                Text(
                    decision_line(self._last_decision),
                    style="dim",
                    overflow="ellipsis",
                    no_wrap=True,
                )
            )
        return Group(*lines)

    def _print(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


# --- words ----------------------------------------------------------------------------------------


def _number(value: float | None, form: str) -> str:
    return MISSING if value is None or not math.isfinite(value) else format(value, form)


def sample_words(sample: Sample) -> str:
    """Return voltage, current and temperature; a dash for each that was not measured."""
    return (
        f"{_number(sample.voltage_V, '.4f')} V  {_number(sample.current_A * 1e3, '+.3f')} mA  "
        f"T {_number(sample.temperature_K - ZERO_CELSIUS_K, '.1f')}"
        + (" °C" if math.isfinite(sample.temperature_K) else "")
    )


def figures_words(live: LiveEstimate | None, last: CycleFigures | None) -> str:
    """Return CE, resistance and lithium lost with its split, told by label, in one line.

    What the running cycle's CE is expected to be is the 95 % interval of the forecast.
    """
    parts: list[str] = []
    now = f"so far {MISSING} %"
    if live is not None and math.isfinite(live.coulombic_efficiency_forecast):
        low, high = live.coulombic_efficiency_low, live.coulombic_efficiency_high
        now = f"expected {low * 100.0:.2f}-{high * 100.0:.2f} %"
    elif live is not None:
        now = f"so far {_number(live.coulombic_efficiency_so_far * 100.0, '.2f')} %"
    before = MISSING
    if last is not None and last.coulombic_efficiency is not None:
        u = (last.u_coulombic_efficiency or math.nan) * 100.0
        before = f"{_number(last.coulombic_efficiency * 100.0, '.3f')} ± {_number(u, '.3f')}"
    symmetric = last is not None and "no_ce_in_symmetric_cell" in last.flags
    parts.append("no CE (Li||Li)" if symmetric else f"CE last {before} %, {now}")
    resistance = live.resistance_Ohm if live is not None else math.nan
    if not math.isfinite(resistance) and last is not None:
        resistance = last.resistance_Ohm
    parts.append(f"R {_number(resistance, '.2f')} Ω")
    parts.append(_lost_words(live, last))
    return " | ".join(parts)


def _lost_words(live: LiveEstimate | None, last: CycleFigures | None) -> str:
    lost_Ah = live.lithium_lost_Ah if live is not None else math.nan
    if not math.isfinite(lost_Ah) and last is not None:
        lost_Ah = last.lithium_lost_Ah
    label = last.lithium_lost_label if last is not None else Label.UNKNOWN
    words = f"Li lost {_number(lost_Ah * 1e3, '.4f')}"
    u_Ah = math.nan if last is None else last.u_lithium_lost_Ah
    if math.isfinite(u_Ah):
        words += f" ± {_number(u_Ah * 1e3, '.4f')}"
    words += " mAh"
    if label in (Label.BOUND, Label.PRIOR_DOMINATED):
        words += f" ({label.value})"
    if live is None or not (math.isfinite(live.inactive_Ah) and live.lithium_lost_Ah > 0.0):
        return words
    return (
        f"{words}: inactive {_number(live.inactive_Ah * 1e3, '.4f')}"
        f" + SEI {_number(live.sei_Ah * 1e3, '.4f')} ({live.split_label.value})"
    )


def cycle_line(figures: CycleFigures, done: int, total: int) -> str:
    """Return a closed cycle in one plain line."""
    ce, u = figures.coulombic_efficiency, figures.u_coulombic_efficiency
    efficiency = "no CE"
    if ce is not None:
        efficiency = f"CE {ce * 100.0:.3f} ± {_number(None if u is None else u * 100.0, '.3f')} %"
        base = figures.coulombic_efficiency_base
        if base is not None and abs(base - ce) > SAME_CE:
            efficiency += f" ({base * 100.0:.3f} % of base charge alone)"
    resistance = "no R at base rate"  # a reference test's pulses are not in the trend
    if math.isfinite(figures.resistance_Ohm):
        resistance = (
            f"R {figures.resistance_Ohm:.2f} ± {_number(figures.u_resistance_Ohm, '.2f')} Ω"
        )
    end = figures.discharge_end
    return (
        f"cycle {figures.cycle} ({figures.kind.value}, {done}/{total}): "
        f"capacity {_number(capacity_Ah(figures) * 1e3, '.4f')} mAh, {efficiency}, "
        f"net {_number(figures.net_charge_Ah * 1e3, '+.4f')}"
        f" ± {_number(figures.u_net_charge_Ah * 1e3, '.4f')} mAh, "
        f"{resistance}, {'end unknown' if end is DischargeEnd.UNKNOWN else end.value}"
        + (f", {', '.join(figures.flags)}" if figures.flags else "")
    )


def diagnosis_line(found: Diagnosis, cycle: int) -> str:
    """Return how the cell fares, and what decided first, in one plain line."""
    return f"diagnosis in cycle {cycle}: {diagnosis_words(found)}: {'; '.join(found.evidence[:3])}"


def decision_line(decision: Decision) -> str:
    """Return a decision with its reason in one plain line."""
    chosen = decision.protocol or ("withheld" if decision.withheld else "no treatment")
    return f"decision in cycle {decision.cycle}: {chosen}: {decision.reason}"
