"""What an instrument makes of a true value: gain and offset by range, resolution, noise, clock.

For lives by the thousand; the emulated instruments of `hil.instruments` have a firmware as well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.domain.sample import LIMIT_CURRENT, LIMIT_VOLTAGE, OUTPUT_ON, Sample
from controller.domain.units import SECONDS_PER_HOUR
from hil.instruments.measurement import CURRENT_ROWS, ERROR_SHARE, VOLTAGE_ROWS, range_index
from hil.logger import CURRENT, HELD, LEG, TEMPERATURE, TIME, VOLTAGE, Numbers
from hil.programmes import CyclePlan

GAIN_V_U = 2e-4  # standard deviation of a specified instrument's voltage gain


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
        gain_V=1.0 + GAIN_V_U * float(generator.standard_normal()),
        offset_V=5e-4 * float(generator.standard_normal()),
        noise_V=1e-4,
        resolution_V=1e-4,
        delay_s=float(generator.uniform(0.0, 0.01)),
    )


def keithley_reading(seed: int, largest_A: float, *, ranging: bool = False) -> Reading:
    """Return an instrument with the emulated Keithley's bounds, drawn as `hil.instruments` does.

    It stays in the one range that takes the largest current, as the driver does; `ranging`: each
    leg is read in the smallest that takes its own.
    """
    generator = np.random.default_rng([seed, 2451])
    last = range_index(CURRENT_ROWS, largest_A) or 0
    rows = CURRENT_ROWS[0 if ranging else last : last + 1]
    volts = VOLTAGE_ROWS[3]

    def draw(bound: float) -> float:
        return float(generator.uniform(-1.0, 1.0)) * bound * ERROR_SHARE

    return Reading(
        ranges_A=tuple(row[0] for row in rows),
        gains=tuple(1.0 + draw(row[2]) for row in rows),
        offsets_A=tuple(draw(row[3]) for row in rows),
        noises_A=tuple(row[4] for row in rows),
        resolutions_A=tuple(1.0 / row[1] for row in rows),
        gain_V=1.0 + draw(volts[2]),
        offset_V=draw(volts[3]),
        noise_V=volts[4],
        resolution_V=1.0 / volts[1],
        delay_s=0.005,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What an instrument made of one cycle; arrays of shape (n,).

    Attributes
    ----------
    leg : ndarray of int
        Position of the step in the plan.
    held : ndarray of bool
        The voltage was held.
    t_s, current_A, voltage_V, temperature_K : ndarray
    range_A : ndarray
        Full scale of the range in use.
    """

    leg: NDArray[np.int_]
    held: NDArray[np.bool_]
    t_s: Numbers
    current_A: Numbers
    voltage_V: Numbers
    temperature_K: Numbers
    range_A: Numbers


class Reader:
    """Turns logged rows into readings of one instrument.

    Parameters
    ----------
    reading : Reading
    seed : int
        Of the noise; each cycle has its own stream, so that twins hear the same.
    """

    def __init__(self, reading: Reading, seed: int) -> None:
        self.reading = reading
        self._seed = seed
        self._range = 0
        self._sequence = 0

    def read(self, plan: CyclePlan, rows: Numbers, number: int) -> Readings:
        """Return what is read of a cycle, `number` of its life."""
        reading = self.reading
        generator = np.random.default_rng([self._seed, number, 17])
        leg = rows[:, LEG].astype(int)
        count = len(rows)
        by_step: list[int] = []
        for step in plan.steps:
            if step.current_A != 0.0:
                self._range = reading.range_of(step.current_A)
            by_step.append(self._range)  # at rest the range before stays on
        chosen = np.array(by_step)[leg]
        normal = generator.standard_normal((3, count))
        current_A = (
            rows[:, CURRENT] * np.array(reading.gains)[chosen]
            + np.array(reading.offsets_A)[chosen]
            + np.array(reading.noises_A)[chosen] * normal[0]
        )
        counts_A = np.array(reading.resolutions_A)[chosen]
        voltage_V = rows[:, VOLTAGE] * reading.gain_V + reading.offset_V
        voltage_V = np.round((voltage_V + reading.noise_V * normal[1]) / reading.resolution_V)
        t_s = rows[:, TIME] + reading.jitter_s * generator.uniform(-1.0, 1.0, count)
        return Readings(
            leg=leg,
            held=rows[:, HELD] > 0.5,
            t_s=np.round(t_s / reading.resolution_s) * reading.resolution_s,
            current_A=np.round(current_A / counts_A) * counts_A,
            voltage_V=voltage_V * reading.resolution_V,
            temperature_K=rows[:, TEMPERATURE] + reading.noise_K * normal[2],
            range_A=np.array(reading.ranges_A)[chosen],
        )

    def samples(self, readings: Readings) -> tuple[Sample, ...]:
        """Return readings as the samples that a driver would give, numbered through the life."""
        first = self._sequence
        self._sequence += len(readings.t_s)
        status = np.where(readings.held, LIMIT_VOLTAGE, LIMIT_CURRENT)
        return tuple(
            Sample(n, 0, t, t, 0.0, v, a, k, OUTPUT_ON, lim, full, 0.02, 0)
            for n, t, v, a, k, lim, full in zip(
                range(first, self._sequence),
                readings.t_s.tolist(),
                readings.voltage_V.tolist(),
                readings.current_A.tolist(),
                readings.temperature_K.tolist(),
                status.tolist(),
                readings.range_A.tolist(),
                strict=True,
            )
        )

    def counted_Ah(
        self, plan: CyclePlan, took_s: Numbers, passed_mAh: Numbers
    ) -> tuple[float, float]:
        """Return charge and discharge (Ah) as the instrument's own counter has them.

        It integrates finely: it has gain and offset of its range, neither noise nor interval.

        Parameters
        ----------
        plan : CyclePlan
        took_s, passed_mAh : ndarray, shape (steps,)
            Time and true net charge of each step.
        """
        charge_Ah = discharge_Ah = 0.0
        for step, time_s, true_mAh in zip(
            plan.steps, took_s.tolist(), passed_mAh.tolist(), strict=True
        ):
            index = self.reading.range_of(step.current_A)
            offset_Ah = self.reading.offsets_A[index] * time_s / SECONDS_PER_HOUR
            read_Ah = 1e-3 * true_mAh * self.reading.gains[index] + offset_Ah
            if step.current_A > 0.0:
                charge_Ah += read_Ah
            elif step.current_A < 0.0:
                discharge_Ah -= read_Ah
        return charge_Ah, discharge_Ah
