"""What bare copper gives at the end of a strip in Li||Cu, and what of it leaks: no lithium.

With no lithium left the current lifts the copper from lithium's potential to the cut-off and loads
its double layer; at rest that leaks into the electrolyte, and never comes back.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.ending import KNEE_V, Ending

# Double layer of bare copper (F/cm2), even in the logarithm. Assumed: smooth metal has 20 uF/cm2
# (0.2 F/m2 in PyBaMM's Xu2019), more with roughness and what lithium leaves on it.
COPPER_F_PER_CM2: Final = (5e-6, 5e-4)
# Readings that the last 0.2 V must hold to tell it instead. Assumed, 2-5.
COPPER_READINGS: Final = 2

_ROOT_12: Final = math.sqrt(12.0)


class CopperCharge(NamedTuple):
    """Charge (Ah) that bare copper gave at the end of a strip and leaked since; no lithium."""

    value_Ah: float
    u_Ah: float


NO_COPPER: Final = CopperCharge(0.0, 0.0)


def copper_charge(ending: Ending, *, area_cm2: float, lower_cut_off_V: float) -> CopperCharge:
    """Return what the double layer of bare copper gave at the end of a strip, and then leaked.

    With no lithium left the current lifts the copper from lithium's potential to the cut-off. What
    flowed over the last 0.2 V tells how much that takes in all at most: lithium may still have
    come, and the chord between readings far apart overstates it. Where readings do not follow it,
    and so say less than the prior, the prior stands. How much of it leaks until the next charge is
    not known: anything from none to all, evenly.

    Parameters
    ----------
    ending : Ending
    area_cm2, lower_cut_off_V : float
        The cut-off is as far from lithium as copper comes.
    """
    span_V = abs(lower_cut_off_V)
    last_Ah = max(ending.charge_Ah - ending.at_knee_Ah, 0.0)
    of_one_F_Ah = span_V * area_cm2 / SECONDS_PER_HOUR
    mean_F, square_F2 = _log_uniform(*COPPER_F_PER_CM2)
    u_Ah = math.sqrt(square_F2 / 3.0 - 0.25 * mean_F * mean_F) * of_one_F_Ah
    most_Ah = min(last_Ah * max(span_V / KNEE_V, 1.0), COPPER_F_PER_CM2[1] * of_one_F_Ah)
    followed = last_Ah >= COPPER_READINGS * ending.interval_Ah
    if most_Ah > 0.0 and (followed or most_Ah < _ROOT_12 * u_Ah):
        return CopperCharge(0.5 * most_Ah, most_Ah / _ROOT_12)
    return CopperCharge(0.5 * mean_F * of_one_F_Ah, u_Ah)


def _log_uniform(low: float, high: float) -> tuple[float, float]:
    """Return mean and mean square of what is even in the logarithm between two values."""
    width = math.log(high / low)
    return (high - low) / width, 0.5 * (high * high - low * low) / width
