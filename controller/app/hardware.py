"""The instruments of a run: real ones behind a port, or the emulated ones in this process.

Simulation stands behind the real drivers, at the byte stream; nothing past this module asks.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from controller.app.config import RunConfig
from controller.domain.cell import ZERO_CELSIUS_K, CellFormat
from controller.domain.errors import CyclerRejectedError, nearest, refuse
from controller.hal.drivers.keithley2450 import Keithley2450
from controller.hal.drivers.thermometer import DaqThermometer
from controller.hal.guard import Guard
from controller.hal.ports import Clock, DeviceLimits, Transport
from controller.hal.serial_transport import SerialTransport
from controller.hal.watchdog import ExpiryThread
from controller.io.clock import RealClock, ScaledClock

if TYPE_CHECKING:  # a run on a real cycler needs nothing of hil
    from hil.plant import PlantPort

OnExchange = Callable[[str, bytes, bytes], None]
OnReport = Callable[[str], None]
SIMULATED_BENCH = "simulated-bench.json"
# From here on compiling the simulated cell (some four seconds, once) is won back within the run.
LONG_RUN_CYCLES = 20
# What an emulated instrument says of itself in the firmware field of its identity.
EMULATED_MARK = "emulated speed="
START_PERIOD_S = 5.0
WATCHDOG_PERIOD_S = 0.1
# A run may have been killed at any polarisation; the open cell has relaxed since (assumed,
# 0.3-1 V).
OCV_TOLERANCE_V = 0.5
# A fresh cell below this is taken for a missing or shorted one (assumed, -0.1 to 1 V).
FRESH_CELL_LOWEST_V = 0.05


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
    watched : callable
        Whether somebody still opens the output when the loop does not renew its permission.
    notes : callable
        What a reader has to know of how a simulated cell was regulated, up to now.
    """

    guard: Guard
    clock: Clock
    virtual: bool
    speed: float
    save: Callable[[], None]
    close: Callable[[], None]
    watched: Callable[[], bool]
    notes: Callable[[], list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What the journal of an interrupted run says of cell and instrument; nothing for a new run.

    `allow_output_on`: the journal shows our own interrupted run, so an output found on is ours.
    """

    expected_ocv_V: float | None = None
    allow_output_on: bool = False
    serial_number: str | None = None


def build(
    config: RunConfig,
    seed: int,
    run_dir: Path,
    past: Past,
    *,
    utc_s: float,
    on_exchange: OnExchange,
    on_report: OnReport,
) -> Hardware:
    """Open the transports and put a guard over the driver; no setting is written yet."""
    if config.simulated:
        return _simulated(
            config, seed, run_dir, past, utc_s=utc_s, on_exchange=on_exchange, on_report=on_report
        )
    return _real(config, past, on_exchange=on_exchange, on_report=on_report)


def simulated_plant(config: RunConfig, seed: int, *, for_long: bool = False) -> PlantPort:
    """Make the simulated cell of a run and try it.

    Parameters
    ----------
    config : RunConfig
    seed : int
    for_long : bool
        Worth compiling, where that can be done; it is the same cell.

    Raises
    ------
    ConfigurationError
        No such preset; a plant that cannot be found or does not do what a plant must.
    """
    from hil.bench import preset_port
    from hil.compiled import available
    from hil.plant import load_plant

    simulation = config.file.simulation
    ambient_K = simulation.ambient_degC + ZERO_CELSIUS_K
    if config.plant is not None:
        return load_plant(config.plant, seed=seed, temperature_K=ambient_K)
    if simulation.plant is not None:
        return load_plant(
            simulation.plant,
            seed=seed,
            temperature_K=ambient_K,
            where=config.where,
            key="simulation.plant",
        )
    compiled = for_long and available()
    return preset_port(own_cell(config), seed, ambient_K, compiled=compiled)


def own_cell(config: RunConfig) -> str:
    """Return the name of the run's built-in cell, or the path of its cell file.

    Raises
    ------
    ConfigurationError
        No such cell; a cell file that lies elsewhere or is wrong; a cell of another format.
    """
    from hil.cell import PRESETS, load_cell

    name = config.file.simulation.preset
    key = "simulation.preset"
    if name.endswith(".toml"):
        if Path(name).name != name:
            raise refuse(
                config.where,
                key,
                f"{name!r} is in another folder",
                "put the cell file beside the run file and give its file name",
            )
        name = str(Path(config.where).parent / name)
    elif name not in PRESETS:
        raise refuse(
            config.where, key, f"no simulated cell {name!r}", nearest(name, sorted(PRESETS))
        )
    simulated = load_cell(name).format
    if simulated is not config.cell.format:
        raise refuse(
            config.where,
            key,
            f"{config.file.simulation.preset!r} is {simulated.value}, "
            f"cell.format is {config.cell.format.value!r}",
            f"cell.format = {simulated.value!r}, or another cell",
        )
    return name


def plant_notes(config: RunConfig, seed: int) -> list[str]:
    """Return what the simulated cell of a run does not allow, said before it starts.

    Raises
    ------
    ConfigurationError
        As `simulated_plant`.
    """
    port = simulated_plant(config, seed)
    reason = port.why_not_stored()
    return [f"this run cannot be resumed once interrupted: {reason}"] if reason else []


def _simulated(
    config: RunConfig,
    seed: int,
    run_dir: Path,
    past: Past,
    *,
    utc_s: float,
    on_exchange: OnExchange,
    on_report: OnReport,
) -> Hardware:
    from hil.bench import build_bench, load_bench, save_bench

    bench = build_bench(
        plant=simulated_plant(config, seed, for_long=config.file.cycling.cycles >= LONG_RUN_CYCLES),
        seed=seed,
        utc_epoch_s=utc_s,
        ambient_K=config.file.simulation.ambient_degC + ZERO_CELSIUS_K,
    )
    file = run_dir / SIMULATED_BENCH
    if file.exists():
        load_bench(bench, file)
    with_thermometer = config.file.temperature.source == "auxiliary"
    thermometer_transport = bench.thermometer_transport if with_thermometer else None
    driver = _driver(bench.smu_transport, thermometer_transport, bench.clock, on_exchange)
    return Hardware(
        guard=_guard(config, driver, bench.clock, past, on_report),
        clock=bench.clock,
        virtual=True,
        speed=1.0,
        save=lambda: save_bench(bench, file),
        close=lambda: None,
        watched=lambda: True,  # in virtual time the loop itself does
        notes=bench.smu.notes,
    )


def _real(
    config: RunConfig, past: Past, *, on_exchange: OnExchange, on_report: OnReport
) -> Hardware:
    speed = config.file.cycler.speed
    clock: Clock = RealClock() if speed == 1.0 else ScaledClock(speed)
    with ExitStack() as opened:
        transport = SerialTransport(config.file.cycler.address)
        opened.callback(transport.close)
        thermometer_transport = None
        if config.file.temperature.source == "auxiliary":
            thermometer_transport = SerialTransport(config.file.temperature.address)
            opened.callback(thermometer_transport.close)
        driver = _driver(transport, thermometer_transport, clock, on_exchange)
        check_speed(driver.identify().firmware, speed, config.where)
        guard = _guard(config, driver, clock, past, on_report)
        watchdog = ExpiryThread(guard, clock, interval_s=WATCHDOG_PERIOD_S)
        opened.enter_context(watchdog)
        close = opened.pop_all().close
    return Hardware(
        guard=guard,
        clock=clock,
        virtual=False,
        speed=speed,
        save=lambda: None,
        close=close,
        watched=lambda: watchdog.alive,
        notes=list,
    )


def _guard(
    config: RunConfig, driver: Keithley2450, clock: Clock, past: Past, on_report: OnReport
) -> Guard:
    limits = config.limits.continuous
    return Guard(
        driver,
        clock,
        device_limits=DeviceLimits(
            max_current_A=max(
                limits.charge_current_max_A.operate, limits.discharge_current_max_A.operate
            ),
            min_voltage_V=limits.voltage_min_V.operate,
            max_voltage_V=limits.voltage_max_V.operate,
        ),
        envelope_limits=[
            DeviceLimits(
                max_current_A=pulse.max_current_A,
                min_voltage_V=pulse.min_voltage_V,
                max_voltage_V=pulse.max_voltage_V,
            )
            for pulse in config.limits.pulse_envelopes
        ],
        ocv_window_V=_ocv_window_V(config, past),
        expected_ocv_V=past.expected_ocv_V,
        allow_output_on=past.allow_output_on,
        period_s=START_PERIOD_S,
        accept_unverified_driver=config.file.cycler.accept_unverified_driver,
        accept_no_watchdog=config.file.cycler.accept_no_watchdog,
        expected_serial_number=past.serial_number,
        ocv_tolerance_V=_ocv_tolerance_V(config),
        on_report=on_report,
    )


def _ocv_window_V(config: RunConfig, past: Past) -> tuple[float, float]:
    """Return the open-circuit voltages with which the run may start.

    A cell as built has not been charged yet: an anode-free one stands anywhere between 0 and its
    upper cut-off. Reversed polarity shows by its sign; between two foils it does not, there a small
    current each way opens the session (`controller.core.short_check.opening_steps`).
    """
    limits = config.limits.continuous
    lower_V = limits.voltage_min_V.trip
    if past.expected_ocv_V is None:
        lower_V = min(lower_V, FRESH_CELL_LOWEST_V)
    return lower_V, limits.voltage_max_V.trip


def _ocv_tolerance_V(config: RunConfig) -> float:
    """Return how far the open-circuit voltage may lie from the journal's last voltage.

    Cu that has just been stripped goes back over its whole window by itself: on Li||Cu the voltage
    tells one cell from another only by that window.
    """
    cell = config.cell
    if cell.format is CellFormat.LI_CU:
        return cell.upper_cut_off_V - cell.lower_cut_off_V
    return OCV_TOLERANCE_V


def _driver(
    transport: Transport,
    thermometer_transport: Transport | None,
    clock: Clock,
    on_exchange: OnExchange,
) -> Keithley2450:
    thermometer = None
    if thermometer_transport is not None:
        thermometer = DaqThermometer(thermometer_transport)
    return Keithley2450(transport, clock, thermometer=thermometer, on_exchange=on_exchange)


def check_speed(firmware: str, speed: float, where: str) -> None:
    """Refuse an accelerated clock on a physical instrument, and two clocks that differ."""
    emulated = firmware.partition(EMULATED_MARK)[2]
    if not emulated:
        if speed != 1.0:
            raise refuse(where, "cycler.speed", f"{speed:g} on a physical instrument", "1")
        return
    if float(emulated) != speed:
        raise CyclerRejectedError(
            f"the emulator runs at speed {emulated}, the run file says cycler.speed = {speed:g}"
        )
