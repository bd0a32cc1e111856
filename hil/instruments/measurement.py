"""Ranges, resolution, gain and offset errors, noise of the emulated source-measure unit.

The bounds are datasheet-like, written down from memory of the class of instrument: *assumed*
(gain 0.01-0.1 %, offset per range as below). One instrument's errors are drawn inside
`ERROR_SHARE` of the bounds by its seed and stay for its life. Readings are integer counts over a
power of ten, so that the text on the wire is exactly the double that was measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

OVERFLOW: Final = 9.9e37
OVER_RANGE: Final = 1.05
ERROR_SHARE: Final = 0.3  # of the bounds; a calibrated instrument, assumed 0.1..1
NOISE_BLOCK: Final = 4096

# Full scale, counts per unit (a power of ten), gain bound, offset bound, noise (rms at NPLC 1).
_Row = tuple[float, float, float, float, float]
CURRENT_ROWS: Final[tuple[_Row, ...]] = (
    (10e-9, 1e14, 1.0e-3, 50e-12, 5e-14),
    (100e-9, 1e13, 6.0e-4, 100e-12, 2e-13),
    (1e-6, 1e12, 2.5e-4, 300e-12, 2e-12),
    (10e-6, 1e11, 2.5e-4, 700e-12, 2e-11),
    (100e-6, 1e10, 2.0e-4, 6e-9, 2e-10),
    (1e-3, 1e9, 2.0e-4, 60e-9, 2e-9),
    (10e-3, 1e8, 2.0e-4, 600e-9, 2e-8),
    (100e-3, 1e7, 2.5e-4, 6e-6, 2e-7),
    (1.0, 1e6, 3.0e-4, 500e-6, 3e-6),
)
VOLTAGE_ROWS: Final[tuple[_Row, ...]] = (
    (0.02, 1e8, 1.0e-3, 150e-6, 1e-7),
    (0.2, 1e7, 1.2e-4, 200e-6, 2e-7),
    (2.0, 1e6, 1.2e-4, 300e-6, 1e-6),
    (20.0, 1e5, 1.5e-4, 1e-3, 1e-5),
    (200.0, 1e4, 1.5e-4, 10e-3, 1e-4),
)
SOURCE_VOLTAGE_GAIN: Final = 2e-4
SOURCE_VOLTAGE_OFFSET_V: Final = 2.4e-3
SOURCE_CURRENT_GAIN: Final = 5e-4


@dataclass(slots=True)
class Channel:
    """Errors of one measuring range."""

    full_scale: float
    counts_per_unit: float
    gain: float
    offset: float
    noise: float

    def reading(self, value: float, normal: float) -> float:
        """Return what is read for a true value; `normal` is a standard normal number."""
        if not -OVER_RANGE * self.full_scale <= value <= OVER_RANGE * self.full_scale:
            return OVERFLOW
        raw = value * self.gain + self.offset + self.noise * normal
        return round(raw * self.counts_per_unit) / self.counts_per_unit


class InstrumentErrors:
    """Gain and offset of every range of one instrument, and its noise.

    Parameters
    ----------
    seed : int
    ideal : bool
        No gain, offset or noise; resolution stays.
    """

    __slots__ = (
        "_generator",
        "_index",
        "_noise",
        "current",
        "source_current_gain",
        "source_voltage_gain",
        "source_voltage_offset_V",
        "voltage",
    )

    def __init__(self, seed: int, *, ideal: bool = False) -> None:
        self._generator = np.random.default_rng([seed, 2450])
        share = 0.0 if ideal else ERROR_SHARE
        noise = 0.0 if ideal else 1.0
        self.current = [self._channel(row, share, noise) for row in CURRENT_ROWS]
        self.voltage = [self._channel(row, share, noise) for row in VOLTAGE_ROWS]
        self.source_voltage_gain = 1.0 + self._draw(SOURCE_VOLTAGE_GAIN, share)
        self.source_voltage_offset_V = self._draw(SOURCE_VOLTAGE_OFFSET_V, share)
        self.source_current_gain = 1.0 + self._draw(SOURCE_CURRENT_GAIN, share)
        self._noise: list[float] = []
        self._index = 0

    def normal(self) -> float:
        """Return the next standard normal number."""
        index = self._index
        if index >= len(self._noise):
            self._noise = self._generator.standard_normal(NOISE_BLOCK).tolist()
            index = 0
        self._index = index + 1
        return self._noise[index]

    def _draw(self, bound: float, share: float) -> float:
        return float(self._generator.uniform(-1.0, 1.0)) * bound * share

    def _channel(self, row: _Row, share: float, noise: float) -> Channel:
        full_scale, counts, gain, offset, noise_rms = row
        return Channel(
            full_scale=full_scale,
            counts_per_unit=counts,
            gain=1.0 + self._draw(gain, share),
            offset=self._draw(offset, share),
            noise=noise_rms * noise,
        )


def range_index(rows: tuple[_Row, ...], value: float) -> int | None:
    """Return the lowest range that takes `value` (to 105 %); None if none does."""
    for index, row in enumerate(rows):
        if abs(value) <= row[0] * OVER_RANGE * (1.0 + 1e-12):
            return index
    return None
