"""Virtual time moves only when somebody waits."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.errors import ConfigurationError
from hil.clock import VirtualClock


def test_starts_at_zero_and_at_the_epoch_given():
    clock = VirtualClock(1.75e9)
    assert clock.now_s() == 0.0
    assert clock.utc_s() == 1.75e9


def test_monotonic_start_does_not_shift_utc():
    clock = VirtualClock(1000.0, start_s=50.0)
    assert clock.utc_s() == 1000.0
    clock.advance(2.0)
    assert (clock.now_s(), clock.utc_s()) == (52.0, 1002.0)


def test_sleep_until_moves_forward_only():
    clock = VirtualClock(0.0)
    clock.sleep_until(3.0)
    clock.sleep_until(1.0)
    clock.sleep_until(math.nan)
    assert clock.now_s() == 3.0


@pytest.mark.parametrize("dt_s", [-1e-9, math.nan, -math.inf])
def test_time_cannot_run_backwards(dt_s):
    clock = VirtualClock(0.0)
    with pytest.raises(ConfigurationError, match="backwards"):
        clock.advance(dt_s)
    assert clock.now_s() == 0.0


@given(st.lists(st.floats(0.0, 1e6)))
def test_now_never_decreases(waits):
    clock = VirtualClock(0.0)
    last_s = 0.0
    for i, wait_s in enumerate(waits):
        if i % 2:
            clock.advance(wait_s)
        else:
            clock.sleep_until(wait_s)
        assert clock.now_s() >= last_s
        last_s = clock.now_s()
