"""The same driver over a TCP socket, to an emulated instrument in a process of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from time import monotonic

from controller.domain.command import CHARGE, HOLD_0A, OPEN, Command
from controller.domain.sample import OUTPUT_OFF, QUALITY_NO_REPLY
from controller.domain.verdict import ALLOW, Verdict
from controller.hal.drivers.keithley2450 import Keithley2450
from controller.hal.drivers.thermometer import DaqThermometer
from controller.hal.guard import Guard
from controller.hal.ports import DeviceLimits
from controller.hal.serial_transport import SerialTransport
from controller.hal.watchdog import ExpiryThread

SPEED = 100.0
ALLOWED = Verdict(ALLOW, 0)
# A reading every 10 s of plant time is one every 0.1 s here.
CHARGE_1MA = Command(CHARGE, 1e-3, 4.3, 10.0, 100.0)


class ScaledClock:
    """Plant time: wall time, faster."""

    def now_s(self) -> float:
        return monotonic() * SPEED

    def utc_s(self) -> float:
        return 1.7e9 + self.now_s()

    def sleep_until(self, t_s: float) -> None:
        Event().wait(max(0.0, (t_s - self.now_s()) / SPEED))


@contextmanager
def _emulator(state_file: Path) -> Iterator[tuple[str, str]]:
    """Yield the addresses of the instrument and its thermometer."""
    code = (
        "from pathlib import Path\n"
        "from hil.server import serve\n"
        f"serve('127.0.0.1', 0, speed={SPEED}, seed=7, state_file=Path({str(state_file)!r}))\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            ports = re.findall(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            yield f"socket://127.0.0.1:{ports[0]}", f"socket://127.0.0.1:{ports[1]}"
        finally:
            process.kill()


def _start(addresses: tuple[str, str]) -> tuple[Guard, Keithley2450, ScaledClock]:
    clock = ScaledClock()
    driver = Keithley2450(
        SerialTransport(addresses[0]),
        clock,
        thermometer=DaqThermometer(SerialTransport(addresses[1])),
    )
    guard = Guard(
        driver,
        clock,
        device_limits=DeviceLimits(max_current_A=0.02, min_voltage_V=2.5, max_voltage_V=4.3),
        ocv_window_V=(2.0, 4.35),
        period_s=20.0,
        accept_unverified_driver=True,
    )
    guard.start()
    return guard, driver, clock


def _charge(guard: Guard, clock: ScaledClock, periods: int) -> list[int]:
    qualities: list[int] = []
    for sequence in range(periods):
        clock.sleep_until(clock.now_s() + CHARGE_1MA.period_s)
        sample = guard.poll(sequence)
        qualities.append(sample.quality)
        guard.apply(CHARGE_1MA, ALLOWED, sample)
    return qualities


def _output_on(state_file: Path) -> bool:
    return bool(json.loads(state_file.read_text())["output_on"])


def test_a_charge_over_tcp_and_a_host_that_disappears(tmp_path: Path) -> None:
    state_file = tmp_path / "state.json"
    with _emulator(state_file) as addresses:
        guard, driver, clock = _start(addresses)
        assert _charge(guard, clock, 4) == [0, 0, 0, 0]
        assert guard.in_force == CHARGE_1MA
        # The host is gone: no more bytes, no goodbye.
        driver.close()
        gone_s = clock.now_s()
        while _output_on(state_file):
            assert clock.now_s() - gone_s < 10.0 * CHARGE_1MA.valid_for_s
            clock.sleep_until(clock.now_s() + 5.0)
        # The state file itself is up to a second old.
        assert clock.now_s() - gone_s < CHARGE_1MA.valid_for_s + 1.5 * SPEED


def test_a_stuck_loop_is_opened_by_the_thread_and_confirmed_afterwards(tmp_path: Path) -> None:
    with _emulator(tmp_path / "state.json") as addresses:
        guard, _, clock = _start(addresses)
        # Long on the device, short for the host: what opens here is the thread.
        command = CHARGE_1MA._replace(valid_for_s=5000.0)
        guard.apply(command, ALLOWED, guard.poll(0))
        guard.in_force = command._replace(valid_for_s=10.0)
        opened = Event()
        with ExpiryThread(guard, clock, interval_s=0.01):
            while guard.in_force.kind != OPEN:
                assert not opened.wait(0.01)
        sample = guard.poll(1)
        assert sample.output == OUTPUT_OFF
        assert guard.apply(Command(HOLD_0A, 0.0, period_s=10.0, valid_for_s=100.0), ALLOWED, sample)
        assert guard.in_force.kind == HOLD_0A
        assert guard.shutdown() == []


def test_an_emulator_that_dies_is_a_lost_connection(tmp_path: Path) -> None:
    with _emulator(tmp_path / "state.json") as addresses:
        guard, driver, clock = _start(addresses)
        assert _charge(guard, clock, 1) == [0]
    sample = guard.poll(9)
    assert sample.quality & QUALITY_NO_REPLY
    assert guard.in_force.kind == OPEN
    assert not driver.connected
    assert any("connection" in report for report in guard.reports)
    # It cannot be confirmed, and that is said; the lines are closed all the same.
    assert any("not confirmed" in problem for problem in guard.shutdown())
