"""How a discharge comes to its end, reading by reading: the charge of its last 0.2 V, its hold.

Kernel. What the shape means is for `controller.estimation.ends` to say.
"""

from __future__ import annotations

from typing import Final

from controller.domain.total_math import safe_log

# Levels above the cut-off (V) whose charge is kept. Assumed.
KNEE_V: Final = 0.2
LOW_V: Final = 0.05
# A held current below this share of 1C is no current.
NO_CURRENT_SHARE: Final = 1e-4
# Readings of a hold before a sudden fall of its current counts: the first ones fall fast anyway.
SETTLED: Final = 2


class Ending:
    """The end of one discharge; numbers only.

    Attributes
    ----------
    at_knee_Ah, at_low_Ah : float
        Charge where the voltage last fell through each level, between two readings by their chord;
        0 where it was below from the start.
    charge_Ah : float
        At constant current.
    collapse : float
        Largest fall of the logarithm of the held current beyond what its last fall leads to expect.
    hold_Ah, hold_s : float
    hold_log : float
        Logarithm of the held current at the last reading.
    hold_rate_per_s : float
        How fast that fell before it.
    held : int
        Readings of the hold.
    interval_Ah : float
        Charge between readings at constant current: the last one, at least half of the one before.
    lower_V, nominal_Ah : float
    readings : int
        At constant current, with a voltage.
    voltage_V, voltage_Ah : float
        Of the last of these.
    """

    __slots__ = (
        "at_knee_Ah",
        "at_low_Ah",
        "charge_Ah",
        "collapse",
        "held",
        "hold_Ah",
        "hold_log",
        "hold_rate_per_s",
        "hold_s",
        "interval_Ah",
        "lower_V",
        "nominal_Ah",
        "readings",
        "voltage_Ah",
        "voltage_V",
    )
    at_knee_Ah: float
    at_low_Ah: float
    charge_Ah: float
    collapse: float
    held: int
    hold_Ah: float
    hold_log: float
    hold_rate_per_s: float
    hold_s: float
    interval_Ah: float
    lower_V: float
    nominal_Ah: float
    readings: int
    voltage_Ah: float
    voltage_V: float


def new_ending(lower_V: float, nominal_Ah: float) -> Ending:
    """Return the record before the first discharge."""
    s = Ending()
    s.lower_V = lower_V
    s.nominal_Ah = nominal_Ah
    begin_ending(s)
    return s


def begin_ending(s: Ending) -> None:
    """Forget the discharge before. Kernel."""
    s.at_knee_Ah = 0.0
    s.at_low_Ah = 0.0
    s.charge_Ah = 0.0
    s.collapse = 0.0
    s.held = 0
    s.hold_Ah = 0.0
    s.hold_log = 0.0
    s.hold_rate_per_s = 0.0
    s.hold_s = 0.0
    s.interval_Ah = 0.0
    s.readings = 0
    s.voltage_Ah = 0.0
    s.voltage_V = 0.0


def observe_ending(
    s: Ending, dt_s: float, charge_Ah: float, current_A: float, voltage_V: float, held: int
) -> None:
    """Take in one reading of a discharge. Kernel.

    Parameters
    ----------
    s : Ending
    dt_s, charge_Ah : float
        Time and charge (positive) since the reading before; a charge that is not positive, not
        finite or above nominal counts as none.
    current_A : float
        Negative while discharging.
    voltage_V : float
        NaN or infinite: the charge counts, the shape waits.
    held : int
        1 where the voltage was held at the cut-off, else 0.
    """
    if not 0.0 < charge_Ah < s.nominal_Ah:
        charge_Ah = 0.0
    if held:
        follow_hold(s, dt_s, charge_Ah, current_A)
        return
    s.charge_Ah += charge_Ah
    if not -1e3 < voltage_V < 1e3:
        return
    if charge_Ah > 0.0:
        s.interval_Ah = max(s.charge_Ah - s.voltage_Ah, 0.5 * s.interval_Ah)
    s.at_knee_Ah = passed_Ah(s, s.at_knee_Ah, voltage_V, s.lower_V + KNEE_V)
    s.at_low_Ah = passed_Ah(s, s.at_low_Ah, voltage_V, s.lower_V + LOW_V)
    s.readings += 1
    s.voltage_V = voltage_V
    s.voltage_Ah = s.charge_Ah


def passed_Ah(s: Ending, before_Ah: float, voltage_V: float, level_V: float) -> float:
    """Return the charge at which the voltage last fell through a level. Kernel."""
    if voltage_V > level_V:
        return s.charge_Ah
    if s.readings > 0 and s.voltage_V > level_V:
        share = (s.voltage_V - level_V) / (s.voltage_V - voltage_V)
        return s.voltage_Ah + share * (s.charge_Ah - s.voltage_Ah)
    return before_Ah


def follow_hold(s: Ending, dt_s: float, charge_Ah: float, current_A: float) -> None:
    """Take in a reading of the hold. Kernel."""
    if not (1e-9 < dt_s < 1e9 and -1e6 < current_A < 1e6):
        return
    s.hold_Ah += charge_Ah
    s.hold_s += dt_s
    log_A = safe_log(max(-current_A, NO_CURRENT_SHARE * s.nominal_Ah))
    if s.held > 0:
        fell = s.hold_log - log_A
        sudden = fell - s.hold_rate_per_s * dt_s
        if s.held > SETTLED and sudden > s.collapse:
            s.collapse = sudden
        s.hold_rate_per_s = fell / dt_s if fell > 0.0 else 0.0
    s.hold_log = log_A
    s.held += 1
