"""The expiry thread in real time, with a loop that is stuck."""

from __future__ import annotations

import threading
from time import monotonic

from controller.domain.command import CHARGE, OPEN, Command
from controller.domain.verdict import ALLOW, Verdict
from controller.hal.guard import Guard
from controller.hal.ports import DeviceLimits
from controller.hal.watchdog import ExpiryThread
from tests.unit.fake_cycler import FakeCycler


class RealClock:
    def now_s(self) -> float:
        return monotonic()

    def utc_s(self) -> float:
        return monotonic()

    def sleep_until(self, t_s: float) -> None:
        threading.Event().wait(max(0.0, t_s - monotonic()))


class BlockedCycler(FakeCycler):
    """Its poll waits for a reply that never comes, as a loop stuck in I/O does."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = threading.Event()
        self.opened_by: list[str] = []

    def emergency_open(self) -> None:
        super().emergency_open()
        self.opened_by.append(threading.current_thread().name)
        self.opened.set()


def _charging(valid_for_s: float) -> tuple[Guard, BlockedCycler]:
    cycler = BlockedCycler()
    guard = Guard(
        cycler,
        RealClock(),
        device_limits=DeviceLimits(max_current_A=0.02, min_voltage_V=2.5, max_voltage_V=4.3),
        ocv_window_V=(2.0, 4.35),
        accept_unverified_driver=True,
    )
    guard.start()
    command = Command(CHARGE, 1e-3, 4.3, valid_for_s / 5.0, valid_for_s)
    guard.apply(command, Verdict(ALLOW, 0), guard.poll(0))
    return guard, cycler


def test_a_stuck_loop_is_opened_after_its_permission_and_not_before() -> None:
    guard, cycler = _charging(valid_for_s=0.05)
    began_s = monotonic()
    with ExpiryThread(guard, RealClock(), interval_s=0.005):
        # The loop does nothing at all.
        assert cycler.opened.wait(2.0)
    assert monotonic() - began_s >= 0.045
    assert cycler.opened_by == ["expiry"]
    assert guard.in_force.kind == OPEN
    assert not cycler.output_on


def test_a_loop_that_renews_is_left_alone() -> None:
    guard, cycler = _charging(valid_for_s=30.0)
    with ExpiryThread(guard, RealClock(), interval_s=0.002) as thread:
        assert not cycler.opened.wait(0.05)
        assert thread.alive
    assert not thread.alive
    assert cycler.output_on


def test_the_thread_stays_when_the_line_is_gone_and_tells_nothing_from_its_own_thread() -> None:
    guard, cycler = _charging(valid_for_s=0.02)
    cycler.connected = False
    with ExpiryThread(guard, RealClock(), interval_s=0.005) as thread:
        deadline_s = monotonic() + 2.0
        while not any("could not be written" in report for report in guard.reports):
            assert monotonic() < deadline_s
            threading.Event().wait(0.005)
        assert thread.alive
    assert guard.in_force.kind == OPEN


def test_stopping_a_thread_that_never_started_is_no_error() -> None:
    guard, _ = _charging(valid_for_s=5.0)
    ExpiryThread(guard, RealClock()).stop()
