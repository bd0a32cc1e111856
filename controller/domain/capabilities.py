"""What a cycler can do, so that protocols and policy can ask before anything runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class ControlTier(StrEnum):
    """How an instrument takes set-points."""

    LIVE_SET_POINT = "A"  # SMU, EA, ITECH SCPI; Maccor direct mode
    SCHEDULE_WITH_VARIABLES = "B"  # Arbin MV_UD, Maccor VAR
    COMPILED_SCHEDULE = "C"  # Neware XML, BioLogic .mps
    ON_DEVICE_SCRIPT = "D"  # Keithley TSP, MethodSCRIPT, EA function generator


class Watchdog(StrEnum):
    """What stops the current when the host dies."""

    COMMUNICATION = "communication"  # the device's own
    FINITE_SEQUENCE = "finite-sequence"  # a sequence on the device that ends in output off
    NONE = "none"  # the instrument keeps driving the cell


@dataclass(frozen=True, slots=True, kw_only=True)
class CyclerCapabilities:
    """Facts about one instrument model.

    Attributes
    ----------
    model : str
    tier : ControlTier
    update_period_s : float
        Shortest time between two host-made set-points.
    min_pulse_s : float
        Shortest pulse the host can time.
    min_device_timed_pulse_s : float
        Shortest pulse the device itself can time and end with output off; NaN if it cannot.
    max_current_A, min_voltage_V, max_voltage_V : float
        What the output can source and sink.
    current_ranges_A : tuple of float
        Full scales, ascending.
    device_enforced_lower_voltage : bool
        The device itself keeps the cell from falling below the bound while discharging.
    watchdog : Watchdog
    limits_read_back : bool
        What was programmed can be asked back. Without it nothing is energised.
    off_mode_high_impedance : bool
        Output off leaves the cell alone. Without it nothing is energised.
    four_wire : bool
        The voltage is sensed at the cell, apart from the leads that carry the current.
    temperature : bool
        It has a thermometer of its own.
    eis : bool
        It makes sines and measures the impedance itself.
    verified_on_instrument : bool
        False until the driver has run on a physical instrument.
    """

    model: str
    tier: ControlTier
    update_period_s: float
    min_pulse_s: float
    min_device_timed_pulse_s: float
    max_current_A: float
    min_voltage_V: float
    max_voltage_V: float
    current_ranges_A: tuple[float, ...]
    device_enforced_lower_voltage: bool
    watchdog: Watchdog
    limits_read_back: bool
    off_mode_high_impedance: bool
    four_wire: bool
    temperature: bool
    eis: bool
    verified_on_instrument: bool
