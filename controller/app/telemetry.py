"""MQTT telemetry as a listener of the loop: off unless the run file has an [mqtt] table."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self

from controller.core.state import CoreState
from controller.core.step import Report
from controller.domain.command import Command
from controller.domain.sample import Sample
from controller.io.mqtt import Telemetry, TelemetryConfig

CLOSE_TIMEOUT_S = 2.0


class TelemetryListener:
    """Publishes state, last sample, cycle figures and events; never blocks the loop.

    Parameters
    ----------
    config : TelemetryConfig
    channel : str
    say : callable(text)
        Gets what the user has to know: that messages are being lost, and in the end how many were.
    """

    def __init__(self, config: TelemetryConfig, channel: str, say: Callable[[str], None]) -> None:
        self._telemetry = Telemetry(config, channel)
        self._broker = f"{config.host}:{config.port}"
        self._say = say
        self._told_loss = False
        self._state: tuple[str, int, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._telemetry.close(CLOSE_TIMEOUT_S)
        lost = self._telemetry.dropped + self._telemetry.waiting
        if lost:
            self._say(
                f"MQTT: {lost} cycles and events never reached {self._broker}{self._why()}; "
                "they are in the journal"
            )

    def _why(self) -> str:
        problem = self._telemetry.problem
        return f" ({problem})" if problem else ""

    def sample(self, state: CoreState, sample: Sample, in_force: Command) -> None:
        """Publish a reading, and the state when it has changed."""
        del in_force
        now = (state.run_state.value, state.cycle, state.step_index)
        if now != self._state:
            self._state = now
            self._telemetry.publish_state(
                {"state": now[0], "cycle": now[1], "step_index": now[2], "utc_s": sample.utc_s}
            )
        self._telemetry.publish_sample(sample, state.cycle)
        if self._telemetry.dropped and not self._told_loss:
            self._told_loss = True
            self._say(f"MQTT: {self._broker} takes nothing{self._why()}; the oldest are given up")

    def report(self, state: CoreState, report: Report) -> None:
        """Publish figures and events."""
        del state
        for figures in report.figures:
            self._telemetry.publish_cycle(figures)
        for event in report.events:
            self._telemetry.publish_event(event)
