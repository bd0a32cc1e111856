"""Reservoir Coulombic efficiency of Li||Cu: plate a reservoir, cycle a part of it, strip it all.

``CE = (n Qc + Qs) / (n Qc + Qt)`` (Aurbach; Adams et al. 2018, 10.1002/aenm.201702097, the number
from memory), an average over the n cycles and the reservoir's own strip. With charges as measured,
``n Qc`` of the numerator is what was stripped in the cycles, of the denominator what was plated.
Lithium that comes back in the last strip hides in Qs: no single cycle can be told to have given it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.charge import GAIN_U, OFFSET_U_OF_RANGE, RangeCharge, propagate
from controller.estimation.table import FloatArray

# Half cycles smaller than this share of the largest are drift at rest. Assumed, 0.2-2 %.
SMALLEST_SHARE: Final = 0.01
# Cycled charges are the same within this share of themselves. Assumed, 1-3 %.
SAME_CHARGE: Final = 0.02
# Fewer cycles than this are no series; a cycle takes at most this share of the reservoir. Assumed:
# Adams takes 10 cycles of a fifth.
FEWEST_CYCLES: Final = 3
LARGEST_CYCLE: Final = 0.8


class HalfCycle(NamedTuple):
    """One direction without a break: plating positive.

    Attributes
    ----------
    charge_Ah : float
    u_Ah : float
        Standard uncertainty of its own (sampling, rounding), without gain and offset.
    time_s : float
        That the current flowed.
    first, last : int
        Its first and last interval.
    """

    charge_Ah: float
    u_Ah: float
    time_s: float
    first: int = 0
    last: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReservoirEfficiency:
    """The result; charge in Ah, magnitudes.

    Attributes
    ----------
    cycles : int
        n.
    reservoir_Ah, cycled_Ah, stripped_Ah : float
        Qt, the mean of the cycled charges Qc, Qs.
    coulombic_efficiency, u_coulombic_efficiency : float
    """

    cycles: int
    reservoir_Ah: float
    cycled_Ah: float
    stripped_Ah: float
    coulombic_efficiency: float
    u_coulombic_efficiency: float

    def words(self) -> str:
        """Return the result as a finding."""
        return (
            f"reservoir (Aurbach / Adams): {1e3 * self.reservoir_Ah:.4g} mAh plated, {self.cycles} "
            f"cycles of {1e3 * self.cycled_Ah:.4g} mAh, {1e3 * self.stripped_Ah:.4g} mAh stripped "
            f"to the cut-off: CE = {100.0 * self.coulombic_efficiency:.3f} "
            f"± {100.0 * self.u_coulombic_efficiency:.3f} % on average; the efficiency of a single "
            "one of these cycles says nothing, its strip ends by charge; they are left out of "
            "averages"
        )


def half_cycles(
    charge_As: FloatArray, half_width_As: FloatArray, dt_s: FloatArray
) -> list[HalfCycle]:
    """Return the half cycles of a series of intervals; rests and drift between them are left out.

    Parameters
    ----------
    charge_As, half_width_As, dt_s : array, shape (n,)
        Charge of each interval (plating positive), what it can be off, and its length.
    """
    signs = np.sign(charge_As)
    flowing = np.flatnonzero(signs)
    if not flowing.size:
        return []
    edges = np.flatnonzero(np.diff(signs[flowing])) + 1
    runs = [
        HalfCycle(
            float(np.sum(charge_As[rows])) / SECONDS_PER_HOUR,
            float(np.sum(half_width_As[rows])) / math.sqrt(3.0) / SECONDS_PER_HOUR,
            float(np.sum(dt_s[rows])),
            int(rows[0]),
            int(rows[-1]),
        )
        for rows in np.split(flowing, edges)
    ]
    largest_Ah = max(abs(one.charge_Ah) for one in runs)
    out: list[HalfCycle] = []
    for one in runs:
        if abs(one.charge_Ah) < SMALLEST_SHARE * largest_Ah:
            continue
        if out and (out[-1].charge_Ah > 0.0) == (one.charge_Ah > 0.0):
            last = out.pop()
            one = HalfCycle(  # noqa: PLW2901 -- what lay between was no half cycle
                last.charge_Ah + one.charge_Ah,
                last.u_Ah + one.u_Ah,
                last.time_s + one.time_s,
                last.first,
                one.last,
            )
        out.append(one)
    return out


def find_reservoirs(halves: Sequence[HalfCycle]) -> list[tuple[int, int]]:
    """Return where the pattern stands: index of the reservoir's plating, and the cycles n.

    Plate Qt; n times strip and plate the same Qc, a part of Qt; strip more than Qc.
    """
    found = []
    start = 0
    while start < len(halves):
        count = _cycles_from(halves, start)
        if count >= FEWEST_CYCLES:
            found.append((start, count))
            start += 2 * count + 2
        else:
            start += 1
    return found


def reservoir_efficiency(
    halves: Sequence[HalfCycle],
    start: int,
    cycles: int,
    *,
    full_scale_A: float,
    gain_u: float = GAIN_U,
    offset_u_of_range: float = OFFSET_U_OF_RANGE,
) -> ReservoirEfficiency:
    """Return the efficiency of a reservoir series, found or given by the protocol.

    Parameters
    ----------
    halves : sequence of HalfCycle
    start : int
        Of the plating of the reservoir.
    cycles : int
        n; the last half cycle is ``start + 2 n + 1``.
    full_scale_A : float
        Of the current range, one for all.
    gain_u, offset_u_of_range : float
        Standard uncertainties: relative, and as a share of full scale.

    Raises
    ------
    IndexError
        The series is shorter than that.
    """
    series = [halves[start + k] for k in range(2 * cycles + 2)]
    plated, stripped = series[0::2], series[1::2]
    plated_Ah = math.fsum(one.charge_Ah for one in plated)
    stripped_Ah = -math.fsum(one.charge_Ah for one in stripped)
    time_s = math.fsum(one.time_s for one in series)
    u = propagate(
        {
            full_scale_A: RangeCharge(
                plated_Ah,
                stripped_Ah,
                offset_u_of_range * full_scale_A * time_s / SECONDS_PER_HOUR,
            )
        },
        math.sqrt(math.fsum(one.u_Ah**2 for one in plated)),
        math.sqrt(math.fsum(one.u_Ah**2 for one in stripped)),
        0.0,
        gain_u,
    )
    cycled_Ah = math.fsum(abs(one.charge_Ah) for one in series[1:-1]) / (2 * cycles)
    return ReservoirEfficiency(
        cycles=cycles,
        reservoir_Ah=series[0].charge_Ah,
        cycled_Ah=cycled_Ah,
        stripped_Ah=-series[-1].charge_Ah,
        coulombic_efficiency=stripped_Ah / plated_Ah,
        u_coulombic_efficiency=u.efficiency,
    )


def _cycles_from(halves: Sequence[HalfCycle], start: int) -> int:
    """Return the cycles of a series whose reservoir is plated in `start`; 0 if there is none."""
    reservoir_Ah = halves[start].charge_Ah
    if not reservoir_Ah > 0.0 or start + 1 >= len(halves):
        return 0
    cycled_Ah = -halves[start + 1].charge_Ah
    if not 0.0 < cycled_Ah <= LARGEST_CYCLE * reservoir_Ah:
        return 0
    count = 0
    at = start + 1
    while at + 1 < len(halves) and all(
        abs(abs(one.charge_Ah) - cycled_Ah) <= SAME_CHARGE * cycled_Ah
        for one in halves[at : at + 2]
    ):
        count += 1
        at += 2
    ends = at < len(halves) and -halves[at].charge_Ah > (1.0 + SAME_CHARGE) * cycled_Ah
    return count if ends else 0
