"""Clocks run forward at their speed, and a wait ends."""

from __future__ import annotations

import math
import time

import pytest

from controller.domain.errors import ConfigurationError
from controller.hal.ports import Clock
from controller.io import clock as module
from controller.io.clock import RealClock, ScaledClock


@pytest.mark.parametrize("clock", [RealClock(), ScaledClock(1.0), ScaledClock(50.0)])
def test_a_wait_is_as_long_as_asked(clock: Clock) -> None:
    speed = getattr(clock, "speed", 1.0)
    wall_s = time.perf_counter()
    start_s = clock.now_s()
    clock.sleep_until(start_s + 0.05 * speed)
    assert clock.now_s() >= start_s + 0.05 * speed
    assert 0.045 <= time.perf_counter() - wall_s < 1.0


@pytest.mark.parametrize("clock", [RealClock(), ScaledClock(3.0)])
@pytest.mark.parametrize("offset_s", [0.0, -1e9, -math.inf, math.nan])
def test_what_is_past_is_not_waited_for(clock: Clock, offset_s: float) -> None:
    wall_s = time.perf_counter()
    clock.sleep_until(clock.now_s() + offset_s)
    assert time.perf_counter() - wall_s < 0.05


def test_long_waits_are_made_of_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 0.0
    waits: list[float] = []

    def sleep(t_s: float) -> None:
        nonlocal now_s
        waits.append(t_s)
        now_s += t_s

    monkeypatch.setattr(module.time, "sleep", sleep)
    monkeypatch.setattr(module.time, "perf_counter", lambda: now_s)
    RealClock().sleep_until(1.1)
    assert sum(waits) == pytest.approx(1.1)
    assert max(waits) <= 0.2
    assert now_s >= 1.1


def test_real_clock_tells_unix_time() -> None:
    assert abs(RealClock().utc_s() - time.time()) < 1.0


def test_a_scaled_clock_scales_both_times(monkeypatch: pytest.MonkeyPatch) -> None:
    wall_s = 100.0
    monkeypatch.setattr(module.time, "perf_counter", lambda: wall_s)
    monkeypatch.setattr(module.time, "time", lambda: 1.7e9)
    clock = ScaledClock(60.0)
    start_s, start_utc_s = clock.now_s(), clock.utc_s()
    assert start_utc_s == 1.7e9
    wall_s = 101.5
    assert clock.now_s() - start_s == pytest.approx(90.0)
    assert clock.utc_s() - start_utc_s == pytest.approx(90.0)


@pytest.mark.parametrize("speed", [0.0, -1.0, math.nan, math.inf])
def test_what_is_no_speed_is_refused(speed: float) -> None:
    with pytest.raises(ConfigurationError, match="is not a speed"):
        ScaledClock(speed)
