"""What an instrument makes of a true value: gain and offset by range, resolution, noise, clock.

For lives by the thousand; the emulated instruments of `hil.instruments` have a firmware as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hil.instruments.measurement import CURRENT_ROWS, ERROR_SHARE, VOLTAGE_ROWS, range_index


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What an instrument does to a true value; one instrument, one life.

    Attributes
    ----------
    ranges_A : tuple of float
        Full scales, ascending. A leg uses the smallest that takes its current.
    gains, offsets_A, noises_A, resolutions_A : tuple of float
        By range; a gain is near 1.
    gain_V, offset_V, noise_V, resolution_V : float
    noise_K : float
    jitter_s, resolution_s : float
        Of the readings' time: half width, and tick.
    delay_s : float
        From the reading that ends a step to the next step's current.
    """

    ranges_A: tuple[float, ...]
    gains: tuple[float, ...]
    offsets_A: tuple[float, ...]
    noises_A: tuple[float, ...]
    resolutions_A: tuple[float, ...]
    gain_V: float = 1.0
    offset_V: float = 0.0
    noise_V: float = 0.0
    resolution_V: float = 1e-5
    noise_K: float = 0.05
    jitter_s: float = 1e-3
    resolution_s: float = 1e-3
    delay_s: float = 0.005

    def range_of(self, current_A: float) -> int:
        """Return the index of the range for a current."""
        for index, full_A in enumerate(self.ranges_A):
            if abs(current_A) <= 1.05 * full_A:
                return index
        return len(self.ranges_A) - 1


def ideal_reading() -> Reading:
    """Return an instrument without errors but a fine resolution."""
    return Reading(
        ranges_A=(1.0,),
        gains=(1.0,),
        offsets_A=(0.0,),
        noises_A=(0.0,),
        resolutions_A=(1e-12,),
        noise_K=0.0,
        jitter_s=0.0,
        resolution_s=1e-6,
        delay_s=0.0,
    )


def specified_reading(
    seed: int, largest_A: float, *, gain_u: float, offset_u_of_range: float
) -> Reading:
    """Return an instrument whose gain and offset are normal with the stated uncertainties.

    Decades of range from 10 uA on, up to the one that takes `largest_A`; 16 bits, noise of one bit.
    """
    generator = np.random.default_rng([seed, 4711])
    count = 1
    while 1e-5 * 10.0 ** (count - 1) * 1.05 < largest_A:
        count += 1
    full_A = tuple(1e-5 * 10.0**index for index in range(count))
    return Reading(
        ranges_A=full_A,
        gains=tuple(1.0 + gain_u * float(generator.standard_normal()) for _ in full_A),
        offsets_A=tuple(
            offset_u_of_range * one * float(generator.standard_normal()) for one in full_A
        ),
        noises_A=tuple(1.5e-5 * one for one in full_A),
        resolutions_A=tuple(1.5e-5 * one for one in full_A),
        gain_V=1.0 + 2e-4 * float(generator.standard_normal()),
        offset_V=5e-4 * float(generator.standard_normal()),
        noise_V=1e-4,
        resolution_V=1e-4,
        delay_s=float(generator.uniform(0.0, 0.01)),
    )


def keithley_reading(seed: int, largest_A: float) -> Reading:
    """Return an instrument with the emulated Keithley's bounds, drawn as `hil.instruments` does.

    It stays in the one range that takes the largest current, as the driver does.
    """
    generator = np.random.default_rng([seed, 2451])
    row = CURRENT_ROWS[range_index(CURRENT_ROWS, largest_A) or 0]
    volts = VOLTAGE_ROWS[3]

    def draw(bound: float) -> float:
        return float(generator.uniform(-1.0, 1.0)) * bound * ERROR_SHARE

    return Reading(
        ranges_A=(row[0],),
        gains=(1.0 + draw(row[2]),),
        offsets_A=(draw(row[3]),),
        noises_A=(row[4],),
        resolutions_A=(1.0 / row[1],),
        gain_V=1.0 + draw(volts[2]),
        offset_V=draw(volts[3]),
        noise_V=volts[4],
        resolution_V=1.0 / volts[1],
        delay_s=0.005,
    )
