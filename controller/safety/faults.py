"""Every fault the supervisor knows, one row each, and the bit that stands for it.

The bit of row `n` is ``1 << n``; a verdict's causes are the sum of the bits of the active rows. The
order of the rows is part of what is journalled: new rows are added at the end.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from controller.domain.verdict import HOLD, REST, TRIP, WARN


class FaultRow(NamedTuple):
    """One fault.

    Attributes
    ----------
    name : str
        Identifier in journals and checkpoints.
    cause : str
        What is wrong, in words for an operator.
    samples : int
        Consecutive samples on which the condition must stand before the fault is active.
    delay_s : float
        Time for which it must have stood, besides (s); 0 for none.
    action : int
        `WARN`, `HOLD`, `REST` or `TRIP`.
    clear : str
        When the fault is no longer active. A `TRIP` stays latched beyond that, until acknowledged.
    """

    name: str
    cause: str
    samples: int
    delay_s: float
    action: int
    clear: str


_GOOD = "the next sample without it"
_COMMAND = "the next command without it"
_ACK = "acknowledged with the condition gone"

# What the sample is.
NO_REPLY: Final = 1 << 0
VOLTAGE_INVALID: Final = 1 << 1
CURRENT_INVALID: Final = 1 << 2
TEMPERATURE_INVALID: Final = 1 << 3
STALE: Final = 1 << 4
DUPLICATE: Final = 1 << 5
OUT_OF_ORDER: Final = 1 << 6
TIME_STOPPED: Final = 1 << 7
CLOCKS_DISAGREE: Final = 1 << 8
NO_FRESH_SAMPLE: Final = 1 << 9
READBACK_MISMATCH: Final = 1 << 10
SATURATED: Final = 1 << 11
OUTPUT_UNEXPECTEDLY_OFF: Final = 1 << 12
OUTPUT_UNKNOWN_STATE: Final = 1 << 13
OUTPUT_ON_THOUGH_OPEN: Final = 1 << 14
# What the sample says of the cell.
VOLTAGE_HIGH_WARN: Final = 1 << 15
VOLTAGE_LOW_WARN: Final = 1 << 16
VOLTAGE_HIGH_TRIP: Final = 1 << 17
VOLTAGE_LOW_TRIP: Final = 1 << 18
CHARGE_ABOVE_WARN: Final = 1 << 19
DISCHARGE_BELOW_WARN: Final = 1 << 20
CHARGE_CURRENT_WARN: Final = 1 << 21
CHARGE_CURRENT_TRIP: Final = 1 << 22
DISCHARGE_CURRENT_WARN: Final = 1 << 23
DISCHARGE_CURRENT_TRIP: Final = 1 << 24
TEMPERATURE_HIGH_WARN: Final = 1 << 25
TEMPERATURE_LOW_WARN: Final = 1 << 26
TEMPERATURE_HIGH_TRIP: Final = 1 << 27
TEMPERATURE_LOW_TRIP: Final = 1 << 28
TEMPERATURE_OUTSIDE_OPERATE: Final = 1 << 29
PLATING_TOO_COLD: Final = 1 << 30
TREATMENT_TOO_WARM: Final = 1 << 31
# What the command is.
COMMAND_INVALID: Final = 1 << 32
PERMISSION_TOO_LONG: Final = 1 << 33
COMMAND_CURRENT: Final = 1 << 34
COMMAND_VOLTAGE: Final = 1 << 35
COMMAND_COPPER: Final = 1 << 36
COMMAND_BLIND: Final = 1 << 37
# Does what we do have the effect it must have?
CURRENT_ABOVE_COMMAND: Final = 1 << 38
CURRENT_WRONG_SIGN: Final = 1 << 39
CURRENT_WITHOUT_COMMAND: Final = 1 << 40
VOLTAGE_JUMP: Final = 1 << 41
VOLTAGE_AGAINST_CURRENT: Final = 1 << 42
VOLTAGE_FROZEN: Final = 1 << 43
HALF_CYCLE_CHARGE: Final = 1 << 44
HALF_CYCLE_TIME: Final = 1 << 45
# Copper.
COPPER_WARN: Final = 1 << 46
COPPER_TRIP: Final = 1 << 47
# Pulse envelopes.
ENVELOPE_UNKNOWN: Final = 1 << 48
ENVELOPE_COMMAND: Final = 1 << 49
ENVELOPE_TIME: Final = 1 << 50
ENVELOPE_CHARGE: Final = 1 << 51
ENVELOPE_COUNT: Final = 1 << 52
ENVELOPE_OFF_TIME: Final = 1 << 53
ENVELOPE_TEMPERATURE: Final = 1 << 54
ENVELOPE_VOLTAGE: Final = 1 << 55
ENVELOPE_CURRENT: Final = 1 << 56
ENVELOPE_OVERRUN: Final = 1 << 57
# What the instrument says of itself.
INSTRUMENT_TOO_WARM: Final = 1 << 58

FAULTS: Final[tuple[FaultRow, ...]] = (
    FaultRow("no_reply", "the instrument did not answer", 1, 0.0, HOLD, _GOOD),
    FaultRow(
        "voltage_invalid",
        "no valid cell voltage though the output should be on",
        1,
        0.0,
        HOLD,
        _GOOD,
    ),
    FaultRow("current_invalid", "no valid current", 1, 0.0, HOLD, _GOOD),
    FaultRow(
        "temperature_invalid",
        "the declared thermometer gives nothing usable",
        1,
        0.0,
        HOLD,
        _GOOD,
    ),
    FaultRow("stale", "the instrument repeated an old reading", 2, 0.0, HOLD, _GOOD),
    FaultRow("duplicate", "same device time or number as the sample before", 2, 0.0, HOLD, _GOOD),
    FaultRow("out_of_order", "device time or number ran backwards", 1, 0.0, HOLD, _GOOD),
    FaultRow("time_stopped", "host time missing or not advancing", 2, 0.0, HOLD, _GOOD),
    FaultRow(
        "clocks_disagree",
        "device and host time differ over an interval by more than 1 s and 5 %",
        3,
        0.0,
        HOLD,
        _GOOD,
    ),
    FaultRow("no_fresh_sample", "no fresh valid sample for max_unchanged_s", 1, 0.0, REST, _GOOD),
    FaultRow(
        "readback_mismatch",
        "device settings changed by another client",
        1,
        0.0,
        TRIP,
        _ACK,
    ),
    FaultRow(
        "saturated", "a reading stands at the end of its measuring range", 1, 0.0, HOLD, _GOOD
    ),
    FaultRow(
        "output_unexpectedly_off", "the output is off though it should be on", 1, 0.0, TRIP, _ACK
    ),
    FaultRow(
        "output_unknown_state",
        "the instrument does not say whether its output is on",
        2,
        0.0,
        HOLD,
        _GOOD,
    ),
    FaultRow("output_on_though_open", "the output is on though it was opened", 1, 0.0, TRIP, _ACK),
    FaultRow("voltage_high_warn", "cell voltage above warn", 1, 0.0, WARN, "5 mV below warn"),
    FaultRow("voltage_low_warn", "cell voltage below warn", 1, 0.0, WARN, "5 mV above warn"),
    FaultRow("voltage_high_trip", "cell voltage above trip", 1, 0.0, TRIP, _ACK),
    FaultRow("voltage_low_trip", "cell voltage below trip", 1, 0.0, TRIP, _ACK),
    FaultRow(
        "charge_above_warn",
        "charging asked for while the voltage is above warn",
        1,
        0.0,
        HOLD,
        "voltage 5 mV below warn, or another command",
    ),
    FaultRow(
        "discharge_below_warn",
        "discharging asked for while the voltage is below warn or the Cu potential high",
        1,
        0.0,
        HOLD,
        "voltage 5 mV above warn, or another command",
    ),
    FaultRow("charge_current_warn", "charging current above warn", 1, 0.0, WARN, _GOOD),
    FaultRow("charge_current_trip", "charging current above trip", 1, 0.0, TRIP, _ACK),
    FaultRow("discharge_current_warn", "discharging current above warn", 1, 0.0, WARN, _GOOD),
    FaultRow("discharge_current_trip", "discharging current above trip", 1, 0.0, TRIP, _ACK),
    FaultRow("temperature_high_warn", "temperature above warn", 1, 0.0, WARN, "1 K below warn"),
    FaultRow("temperature_low_warn", "temperature below warn", 1, 0.0, WARN, "1 K above warn"),
    FaultRow("temperature_high_trip", "temperature above trip", 2, 0.0, TRIP, _ACK),
    FaultRow("temperature_low_trip", "temperature below trip", 2, 0.0, TRIP, _ACK),
    FaultRow(
        "temperature_outside_operate",
        "current asked for while the temperature is outside operate",
        1,
        0.0,
        HOLD,
        "1 K inside operate, or a command without current",
    ),
    FaultRow(
        "plating_too_cold",
        "plating current above what the temperature allows (0 at 0 degC, full at 15 degC)",
        1,
        0.0,
        HOLD,
        _COMMAND,
    ),
    FaultRow(
        "treatment_too_warm",
        "treatment or pulse envelope asked for above 45 degC",
        1,
        0.0,
        HOLD,
        "1 K below 45 degC, or a command that is no treatment",
    ),
    FaultRow("command_invalid", "unknown or contradictory command", 1, 0.0, HOLD, _COMMAND),
    FaultRow(
        "permission_too_long",
        "next reading due after max_unchanged_s, or permission longer than twice that",
        1,
        0.0,
        HOLD,
        _COMMAND,
    ),
    FaultRow("command_current", "commanded current above operate", 1, 0.0, HOLD, _COMMAND),
    FaultRow("command_voltage", "commanded voltage bound outside operate", 1, 0.0, HOLD, _COMMAND),
    FaultRow(
        "command_copper",
        "commanded voltage bound would take the Cu potential above operate",
        1,
        0.0,
        HOLD,
        _COMMAND,
    ),
    FaultRow(
        "command_blind",
        "current asked for while the cell's voltage or current is not seen",
        1,
        0.0,
        HOLD,
        "hold_0A has shown a valid voltage and current",
    ),
    FaultRow("current_above_command", "more current flows than was commanded", 2, 0.0, REST, _GOOD),
    FaultRow(
        "current_wrong_sign", "current flows against the commanded direction", 2, 0.0, REST, _GOOD
    ),
    FaultRow(
        "current_without_command",
        "current flows though hold_0A or open is in force",
        2,
        0.0,
        TRIP,
        _ACK,
    ),
    FaultRow(
        "voltage_jump",
        "voltage changed between two samples by more than a cell can",
        1,
        0.0,
        HOLD,
        _GOOD,
    ),
    FaultRow(
        "voltage_against_current",
        "voltage stepped against the current that was switched on (wiring, polarity)",
        1,
        0.0,
        REST,
        _GOOD,
    ),
    FaultRow(
        "voltage_frozen",
        "voltage reads the same to the last digit while charge flows",
        1,
        0.0,
        HOLD,
        "a voltage reading that differs",
    ),
    FaultRow(
        "half_cycle_charge",
        "more charge in one direction than max_half_cycle_charge_Ah",
        1,
        0.0,
        TRIP,
        _ACK,
    ),
    FaultRow(
        "half_cycle_time",
        "current in one direction for longer than max_half_cycle_s",
        1,
        0.0,
        TRIP,
        _ACK,
    ),
    FaultRow(
        "copper_warn",
        "upper bound of the Cu potential above operate",
        1,
        0.0,
        WARN,
        "5 mV back inside operate",
    ),
    FaultRow("copper_trip", "upper bound of the Cu potential at or above trip", 1, 0.0, TRIP, _ACK),
    FaultRow(
        "envelope_unknown", "pulse envelope that the limits do not name", 1, 0.0, HOLD, _COMMAND
    ),
    FaultRow(
        "envelope_command",
        "current or voltage bound outside the requested envelope",
        1,
        0.0,
        HOLD,
        _COMMAND,
    ),
    FaultRow(
        "envelope_time",
        "pulse would last longer than the envelope's max_on_s",
        1,
        0.0,
        HOLD,
        _COMMAND,
    ),
    FaultRow(
        "envelope_charge",
        "pulse would move more charge than the envelope's max_charge_Ah",
        1,
        0.0,
        HOLD,
        _COMMAND,
    ),
    FaultRow("envelope_count", "all openings of the envelope are used up", 1, 0.0, HOLD, _COMMAND),
    FaultRow(
        "envelope_off_time",
        "min_off_s has not passed since the envelope closed",
        1,
        0.0,
        HOLD,
        _COMMAND,
    ),
    FaultRow(
        "envelope_temperature",
        "temperature above the envelope's max_temperature_K",
        1,
        0.0,
        HOLD,
        _COMMAND,
    ),
    FaultRow("envelope_voltage", "measured voltage outside the open envelope", 1, 0.0, TRIP, _ACK),
    FaultRow("envelope_current", "measured current above the open envelope", 1, 0.0, TRIP, _ACK),
    FaultRow(
        "envelope_overrun",
        "the open envelope's time or charge was exceeded as measured",
        1,
        0.0,
        REST,
        _GOOD,
    ),
    FaultRow("instrument_too_warm", "the instrument says that it is too warm", 1, 0.0, TRIP, _ACK),
)

ROWS: Final = len(FAULTS)
FAULT_COUNTS: Final[tuple[int, ...]] = tuple(row.samples for row in FAULTS)
FAULT_DELAYS_S: Final[tuple[float, ...]] = tuple(row.delay_s for row in FAULTS)


def _mask(action: int) -> int:
    """Return the sum of the bits of the rows with `action`."""
    return sum(1 << index for index, row in enumerate(FAULTS) if row.action == action)


HOLD_ROWS: Final = _mask(HOLD)
REST_ROWS: Final = _mask(REST)
TRIP_ROWS: Final = _mask(TRIP)
# Rows that must stand for more than one sample, or for a time, before they are active.
DEBOUNCED_ROWS: Final = sum(
    1 << index for index, row in enumerate(FAULTS) if row.samples > 1 or row.delay_s > 0.0
)


def causes_words(causes: int) -> list[str]:
    """Return the words for the rows in `causes`, in the table's order."""
    return [row.cause for index, row in enumerate(FAULTS) if causes >> index & 1]


def causes_names(causes: int) -> list[str]:
    """Return the names of the rows in `causes`, in the table's order."""
    return [row.name for index, row in enumerate(FAULTS) if causes >> index & 1]
