"""The instruments of a run: real ones behind a port, or the emulated ones in this process.

Simulation stands behind the real drivers, at the byte stream; nothing past this module asks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controller.app.config import RunConfig
from controller.domain.cell import ZERO_CELSIUS_K
from controller.domain.errors import CyclerRejectedError, refuse
from controller.hal.drivers.keithley2450 import Keithley2450
from controller.hal.drivers.thermometer import DaqThermometer
from controller.hal.guard import Guard
from controller.hal.ports import Clock, DeviceLimits, Transport
from controller.hal.serial_transport import SerialTransport
from controller.hal.watchdog import ExpiryThread
from controller.io.clock import RealClock, ScaledClock

OnExchange = Callable[[str, bytes, bytes], None]
SIMULATED_BENCH = "simulated-bench.json"
# What an emulated instrument says of itself in the firmware field of its identity.
EMULATED_MARK = "emulated speed="
START_PERIOD_S = 5.0


@dataclass(slots=True, kw_only=True)
class Hardware:
    """What the loop needs of the instruments.

    Attributes
    ----------
    guard : Guard
    clock : Clock
    virtual : bool
        Time is virtual: waiting costs nothing.
    speed : float
        Seconds of the clock in one second of wall time, for real and scaled clocks.
    save : callable
        Keeps the state of a simulated bench, so that a resumed run finds its cell again.
    close : callable
        Stops the watchdog and closes the transports.
    """

    guard: Guard
    clock: Clock
    virtual: bool
    speed: float
    save: Callable[[], None]
    close: Callable[[], None]


def build(
    config: RunConfig,
    seed: int,
    run_dir: Path,
    *,
    utc_s: float,
    expected_ocv_V: float | None,
    allow_output_on: bool,
    on_exchange: OnExchange,
) -> Hardware:
    """Open the transports and put a guard over the driver; nothing is written to an instrument."""
    if config.simulated:
        return _simulated(
            config,
            seed,
            run_dir,
            utc_s=utc_s,
            expected_ocv_V=expected_ocv_V,
            allow_output_on=allow_output_on,
            on_exchange=on_exchange,
        )
    return _real(
        config,
        expected_ocv_V=expected_ocv_V,
        allow_output_on=allow_output_on,
        on_exchange=on_exchange,
    )


def _simulated(
    config: RunConfig,
    seed: int,
    run_dir: Path,
    *,
    utc_s: float,
    expected_ocv_V: float | None,
    allow_output_on: bool,
    on_exchange: OnExchange,
) -> Hardware:
    from hil.bench import PRESETS, build_bench, load_bench, save_bench

    simulation = config.file.simulation
    if simulation.preset not in PRESETS:
        raise refuse(
            config.where,
            "simulation.preset",
            f"no simulated cell {simulation.preset!r}",
            "choose one of " + ", ".join(sorted(PRESETS)),
        )
    bench = build_bench(
        preset=simulation.preset,
        seed=seed,
        utc_epoch_s=utc_s,
        ambient_K=simulation.ambient_degC + ZERO_CELSIUS_K,
    )
    file = run_dir / SIMULATED_BENCH
    if file.exists():
        load_bench(bench, file)
    guard = _guard(
        config,
        bench.smu_transport,
        bench.thermometer_transport,
        bench.clock,
        expected_ocv_V=expected_ocv_V,
        allow_output_on=allow_output_on,
        on_exchange=on_exchange,
    )
    return Hardware(
        guard=guard,
        clock=bench.clock,
        virtual=True,
        speed=1.0,
        save=lambda: save_bench(bench, file),
        close=lambda: None,
    )


def _real(
    config: RunConfig,
    *,
    expected_ocv_V: float | None,
    allow_output_on: bool,
    on_exchange: OnExchange,
) -> Hardware:
    speed = config.file.cycler.speed
    clock: Clock = RealClock() if speed == 1.0 else ScaledClock(speed)
    transport = SerialTransport(config.file.cycler.address)
    thermometer_transport = None
    try:
        if config.file.temperature.source == "auxiliary":
            thermometer_transport = SerialTransport(config.file.temperature.address)
        guard = _guard(
            config,
            transport,
            thermometer_transport,
            clock,
            expected_ocv_V=expected_ocv_V,
            allow_output_on=allow_output_on,
            on_exchange=on_exchange,
        )
        _check_speed(guard, speed, config.where)
    except BaseException:
        transport.close()
        if thermometer_transport is not None:
            thermometer_transport.close()
        raise
    watchdog = ExpiryThread(guard, clock, interval_s=0.25)
    watchdog.start()

    def close() -> None:
        watchdog.stop()
        transport.close()
        if thermometer_transport is not None:
            thermometer_transport.close()

    return Hardware(
        guard=guard, clock=clock, virtual=False, speed=speed, save=lambda: None, close=close
    )


def _guard(
    config: RunConfig,
    transport: Transport,
    thermometer_transport: Transport | None,
    clock: Clock,
    *,
    expected_ocv_V: float | None,
    allow_output_on: bool,
    on_exchange: OnExchange,
) -> Guard:
    limits = config.limits.continuous
    driver = Keithley2450(
        transport,
        clock,
        thermometer=None
        if thermometer_transport is None
        else DaqThermometer(thermometer_transport),
        on_exchange=on_exchange,
    )
    pulses = config.limits.pulse_envelopes
    return Guard(
        driver,
        clock,
        device_limits=DeviceLimits(
            max_current_A=max(
                limits.charge_current_max_A.operate,
                limits.discharge_current_max_A.operate,
                *(pulse.max_current_A for pulse in pulses),
            ),
            min_voltage_V=min(
                limits.voltage_min_V.operate, *(pulse.min_voltage_V for pulse in pulses), 99.0
            ),
            max_voltage_V=max(
                limits.voltage_max_V.operate, *(pulse.max_voltage_V for pulse in pulses), -99.0
            ),
        ),
        ocv_window_V=_ocv_window_V(config),
        expected_ocv_V=expected_ocv_V,
        allow_output_on=allow_output_on,
        period_s=START_PERIOD_S,
        accept_unverified_driver=config.file.cycler.accept_unverified_driver,
        accept_no_watchdog=config.file.cycler.accept_no_watchdog,
    )


def _ocv_window_V(config: RunConfig) -> tuple[float, float]:
    """Return the window of a connected cell: a fresh anode-free cell stands below its cut-off."""
    limits = config.limits.continuous
    return limits.voltage_min_V.trip, limits.voltage_max_V.trip


def _check_speed(guard: Guard, speed: float, where: str) -> None:
    """Refuse an accelerated clock on a physical instrument, and two clocks that differ."""
    firmware = guard.identify().firmware
    emulated = firmware.partition(EMULATED_MARK)[2] if EMULATED_MARK in firmware else ""
    if not emulated:
        if speed != 1.0:
            raise refuse(where, "cycler.speed", f"{speed:g} on a physical instrument", "1")
        return
    if float(emulated) != speed:
        raise CyclerRejectedError(
            f"the emulator runs at speed {emulated}, the run file says cycler.speed = {speed:g}"
        )
