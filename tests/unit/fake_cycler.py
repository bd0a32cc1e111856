"""A cycler that records what it is told and fails when a test says so."""

from __future__ import annotations

from dataclasses import replace

from controller.domain.capabilities import ControlTier, CyclerCapabilities, Watchdog
from controller.domain.command import DISCHARGE, HOLD_0A, OPEN, Command
from controller.domain.errors import CyclerConnectionError, CyclerRejectedError
from controller.domain.sample import (
    LIMIT_CURRENT,
    NAN,
    OUTPUT_OFF,
    OUTPUT_ON,
    OUTPUT_UNKNOWN,
    QUALITY_NO_CELL_VOLTAGE,
    QUALITY_NO_REPLY,
    Sample,
)
from controller.hal.ports import DeviceLimits, Identity

CAPABILITIES = CyclerCapabilities(
    model="fake",
    tier=ControlTier.LIVE_SET_POINT,
    update_period_s=0.2,
    min_pulse_s=1.0,
    min_device_timed_pulse_s=0.01,
    max_current_A=1.0,
    min_voltage_V=-20.0,
    max_voltage_V=20.0,
    current_ranges_A=(1e-3,),
    device_enforced_lower_voltage=True,
    watchdog=Watchdog.FINITE_SEQUENCE,
    limits_read_back=True,
    off_mode_high_impedance=True,
    four_wire=True,
    temperature=False,
    eis=False,
    verified_on_instrument=False,
)

IDENTITY = Identity(
    manufacturer="M",
    model="fake",
    serial_number="123",
    firmware="1",
    language="SCPI",
    output_on=False,
    off_modes={},
    pending_errors=(),
)


class ManualClock:
    """Moves when told."""

    def __init__(self) -> None:
        self.t_s = 0.0

    def now_s(self) -> float:
        return self.t_s

    def utc_s(self) -> float:
        return self.t_s

    def sleep_until(self, t_s: float) -> None:
        self.t_s = max(self.t_s, t_s)


class FakeCycler:
    """Implements `Cycler`; `failing` names the methods that raise now."""

    def __init__(self) -> None:
        self.capabilities = CAPABILITIES
        self.identity = IDENTITY
        self.connected = True
        self.ocv_V = 3.3
        self.failing: set[str] = set()
        self.deaf = False
        self.leak_A = 0.0
        self.calls: list[str] = []
        self.programmed: list[Command] = []
        self.limits: DeviceLimits | None = None
        self.set_point = Command(OPEN)
        self.output_on = False

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.failing:
            raise CyclerRejectedError(f"{name} failed")
        if not self.connected:
            raise CyclerConnectionError("the line is gone")

    def identify(self) -> Identity:
        self._call("identify")
        return replace(self.identity, output_on=self.identity.output_on or self.output_on)

    def open(self) -> None:
        self._call("open")
        self.output_on = False

    def prepare(self, limits: DeviceLimits, valid_for_s: float) -> None:
        self._call("prepare")
        self.limits = limits

    def limit_to(self, limits: DeviceLimits) -> None:
        self._call("limit_to")
        self.limits = limits

    def energise_at_0A(self) -> float:
        self._call("energise_at_0A")
        self.output_on = True
        self.set_point = Command(HOLD_0A)
        return self.ocv_V

    def recheck(self) -> None:
        self._call("recheck")

    def take_over_from_ocv(self, ocv_voltage_V: float) -> None:
        self._call("take_over_from_ocv")

    def program(self, command: Command, last_voltage_V: float) -> None:
        self._call("program")
        self.programmed.append(command)
        self.set_point = command

    def poll(self, sequence: int) -> Sample:
        self.calls.append("poll")
        if self.deaf or not self.connected:
            return self._sample(sequence, NAN, NAN, OUTPUT_UNKNOWN, QUALITY_NO_REPLY)
        if not self.output_on:
            return self._sample(sequence, NAN, 0.0, OUTPUT_OFF, QUALITY_NO_CELL_VOLTAGE)
        sign = -1.0 if self.set_point.kind == DISCHARGE else 1.0
        current_A = sign * abs(self.set_point.current_A) + self.leak_A
        return self._sample(sequence, self.ocv_V, current_A, OUTPUT_ON, 0)

    def _sample(
        self, sequence: int, voltage_V: float, current_A: float, output: int, quality: int
    ) -> Sample:
        return Sample(
            sequence,
            0,
            0.0,
            0.0,
            0.0,
            voltage_V,
            current_A,
            NAN,
            output,
            LIMIT_CURRENT,
            1e-3,
            0.02,
            quality,
        )

    def emergency_open(self) -> None:
        self._call("emergency_open")
        self.output_on = False

    def close(self) -> None:
        self.calls.append("close")
