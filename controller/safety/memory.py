"""What the supervisor remembers: numbers only, one slots record, and its form in a checkpoint."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, TypeGuard

from controller.domain.command import HOLD_0A
from controller.domain.errors import ConfigurationError, Fault, nearest
from controller.safety.faults import FAULTS, ROWS, causes_names
from controller.safety.limits import LimitsRecord

SCHEMA: Final = 2

# Output state that the command in force calls for.
EXPECT_EITHER: Final = -1
EXPECT_OFF: Final = 0
EXPECT_ON: Final = 1


class Memory:
    """The supervisor's own state.

    Attributes
    ----------
    started : int
        0 until a sample has set the time references.
    sequence : int
    t_host_s, t_device_s : float
        Of the last sample.
    long_s : float
        The last interval by whichever clock says more (s).
    clock_s : float
        Sum of the intervals by whichever clock says less: waiting is counted on it (s).
    unseen_s : float
        Time since the last fresh valid sample (s).
    force_kind : int
    force_current_A, force_bound_V, force_device_timed_s : float
        The command in force while the next sample is taken, as the supervisor let it pass.
    force_changed : int
        1 if it differs from the command before it.
    force_s : float
        How long it has been in force (s).
    output_expected : int
        `EXPECT_EITHER`, `EXPECT_OFF` or `EXPECT_ON`.
    reference_valid, reference_at_rest : int
    reference_V : float
        Last cell voltage seen outside a pulse envelope.
    unchanged_charge_Ah : float
        Charge since the voltage last read differently.
    last_current_A : float
    climb_Ah, climb_peak_Ah, climb_s : float
        Net charge since the cell was last discharged, its highest value, time charging in it.
    fall_Ah, fall_peak_Ah, fall_s : float
        The same for discharging.
    open_envelope : int
        0, or the number of the open envelope counted from 1.
    open_s, open_charge_Ah : float
        Time and gross charge since it was opened.
    envelope_counts : list of int
        Openings of each envelope.
    envelope_closed_s : list of float
        `clock_s` at which each was last closed.
    active : int
        Causes active after the last review.
    latched : int
        Causes that tripped and wait for acknowledgement.
    pending : int
        Debounced conditions present at the last review, active or not yet.
    fault_counts, fault_s : list
        Consecutive samples and time for which each row's condition has stood.
    """

    __slots__ = (
        "active",
        "climb_Ah",
        "climb_peak_Ah",
        "climb_s",
        "clock_s",
        "envelope_closed_s",
        "envelope_counts",
        "fall_Ah",
        "fall_peak_Ah",
        "fall_s",
        "fault_counts",
        "fault_s",
        "force_bound_V",
        "force_changed",
        "force_current_A",
        "force_device_timed_s",
        "force_kind",
        "force_s",
        "last_current_A",
        "latched",
        "long_s",
        "open_charge_Ah",
        "open_envelope",
        "open_s",
        "output_expected",
        "pending",
        "reference_V",
        "reference_at_rest",
        "reference_valid",
        "sequence",
        "started",
        "t_device_s",
        "t_host_s",
        "unchanged_charge_Ah",
        "unseen_s",
    )

    active: int
    climb_Ah: float
    climb_peak_Ah: float
    climb_s: float
    clock_s: float
    envelope_closed_s: list[float]
    envelope_counts: list[int]
    fall_Ah: float
    fall_peak_Ah: float
    fall_s: float
    fault_counts: list[int]
    fault_s: list[float]
    force_bound_V: float
    force_changed: int
    force_current_A: float
    force_device_timed_s: float
    force_kind: int
    force_s: float
    last_current_A: float
    latched: int
    long_s: float
    open_charge_Ah: float
    open_envelope: int
    open_s: float
    output_expected: int
    pending: int
    reference_V: float
    reference_at_rest: int
    reference_valid: int
    sequence: int
    started: int
    t_device_s: float
    t_host_s: float
    unchanged_charge_Ah: float
    unseen_s: float

    def __init__(self, envelopes: int) -> None:
        self.started = 0
        self.sequence = -1
        self.t_host_s = math.nan
        self.t_device_s = math.nan
        self.long_s = 0.0
        self.clock_s = 0.0
        self.unseen_s = 0.0
        self.force_kind = HOLD_0A
        self.force_current_A = 0.0
        self.force_bound_V = math.nan
        self.force_device_timed_s = math.nan
        self.force_changed = 1
        self.force_s = 0.0
        self.output_expected = EXPECT_EITHER
        self.reference_valid = 0
        self.reference_at_rest = 0
        self.reference_V = 0.0
        self.unchanged_charge_Ah = 0.0
        self.last_current_A = 0.0
        self.climb_Ah = 0.0
        self.climb_peak_Ah = 0.0
        self.climb_s = 0.0
        self.fall_Ah = 0.0
        self.fall_peak_Ah = 0.0
        self.fall_s = 0.0
        self.open_envelope = 0
        self.open_s = 0.0
        self.open_charge_Ah = 0.0
        self.envelope_counts = [0] * envelopes
        self.envelope_closed_s = [0.0] * envelopes
        self.active = 0
        self.latched = 0
        self.pending = 0
        self.fault_counts = [0] * ROWS
        self.fault_s = [0.0] * ROWS


def new_memory(limits: LimitsRecord) -> Memory:
    """Return the memory of a supervisor that has seen nothing yet."""
    return Memory(len(limits.pulses))


def start_again(m: Memory) -> None:
    """Forget what was in force and when; keep latches, charge, times and envelope counts.

    Called on resuming a run and when the output is brought up again by the start order: the next
    sample sets the time references, and each envelope that was ever opened waits its whole
    `min_off_s` from then.
    """
    m.started = 0
    m.long_s = 0.0
    m.unseen_s = 0.0
    m.force_kind = HOLD_0A
    m.force_current_A = 0.0
    m.force_bound_V = math.nan
    m.force_device_timed_s = math.nan
    m.force_changed = 1
    m.force_s = 0.0
    m.output_expected = EXPECT_EITHER
    m.reference_valid = 0
    m.reference_at_rest = 0
    m.unchanged_charge_Ah = 0.0
    m.last_current_A = 0.0
    m.open_envelope = 0
    m.open_s = 0.0
    m.open_charge_Ah = 0.0
    for index in range(len(m.envelope_closed_s)):
        m.envelope_closed_s[index] = m.clock_s
    m.pending = 0
    for row in range(ROWS):
        m.fault_counts[row] = 0
        m.fault_s[row] = 0.0


MemoryValue = int | float | None | list[int] | list[float] | list[str]
_CAUSES: Final = ("active", "latched", "pending")
_LENGTHS_OF_ROWS: Final = ("fault_counts", "fault_s")


def memory_to_dict(m: Memory) -> dict[str, MemoryValue]:
    """Return the memory as plain data for JSON; NaN and infinity are null, causes stand by name."""
    data: dict[str, MemoryValue] = {"schema": SCHEMA}
    for name in Memory.__slots__:
        value = getattr(m, name)
        if name in _CAUSES:
            data[name] = causes_names(value)
        elif isinstance(value, list):
            data[name] = list(value)
        elif isinstance(value, float) and not math.isfinite(value):
            data[name] = None
        else:
            data[name] = value
    return data


def memory_from_dict(
    data: Mapping[str, object], limits: LimitsRecord, *, where: str = "checkpoint"
) -> Memory:
    """Return the memory that `memory_to_dict` wrote.

    Raises
    ------
    ConfigurationError
        Unknown schema, missing or unknown keys, wrong types or lengths, unknown causes; lists
        every fault found.
    """
    if data.get("schema") != SCHEMA:
        raise ConfigurationError(
            [
                Fault(
                    where=where,
                    key="schema",
                    problem=f"{data.get('schema')!r} is not known",
                    remedy=f"this version reads {SCHEMA}",
                )
            ]
        )
    m = new_memory(limits)
    faults: list[Fault] = [
        Fault(where=where, key=key, problem="unknown key", remedy=nearest(key, Memory.__slots__))
        for key in data
        if key != "schema" and key not in Memory.__slots__
    ]
    for name in Memory.__slots__:
        if name not in data:
            faults.append(Fault(where=where, key=name, problem="missing"))
            continue
        value, problem = _restored(name, data[name], getattr(m, name))
        if problem:
            faults.append(Fault(where=where, key=name, problem=problem))
        else:
            setattr(m, name, value)
    if not faults and not 0 <= m.open_envelope <= len(limits.pulses):
        faults.append(
            Fault(where=where, key="open_envelope", problem=f"{m.open_envelope} does not exist")
        )
    if faults:
        raise ConfigurationError(faults)
    return m


def _restored(name: str, value: object, template: object) -> tuple[object, str]:
    """Return (value, "") with the type of `template`, or (None, problem)."""
    if name in _CAUSES:
        return _causes_mask(value)
    if isinstance(template, list):
        return _restored_list(value, template, whole=name.endswith("counts"))
    if isinstance(template, float):
        if value is None:
            return math.nan, ""
        return (float(value), "") if _is_number(value) else (None, f"{value!r} is not a number")
    if isinstance(value, int) and not isinstance(value, bool):
        return value, ""
    return None, f"{value!r} is not a whole number"


def _is_number(value: object) -> TypeGuard[int | float]:
    """Return whether `value` is a finite int or float, and no bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _restored_list(value: object, template: list[object], *, whole: bool) -> tuple[object, str]:
    """Return (list, "") as long as `template`, or (None, problem)."""
    if not isinstance(value, list) or len(value) != len(template):
        return None, f"must be a list of {len(template)} numbers"
    if not all(_is_number(item) and (not whole or isinstance(item, int)) for item in value):
        return None, "holds something that is not a number"
    return [item if whole else float(item) for item in value], ""


def _causes_mask(value: object) -> tuple[object, str]:
    """Return (mask, "") of a list of row names, or (None, problem)."""
    if not isinstance(value, list):
        return None, "must be a list of fault names"
    bits = {row.name: 1 << index for index, row in enumerate(FAULTS)}
    mask = 0
    for name in value:
        if name not in bits:
            return None, f"unknown fault {name!r} ({nearest(str(name), list(bits))})"
        mask |= bits[name]
    return mask, ""
