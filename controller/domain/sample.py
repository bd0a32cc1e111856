"""One reading of one cell, as the instrument gave it.

Named tuples of numbers only, so that the same functions run as plain Python and compiled. Closed
sets are small ints; the names below are the only place their values stand.
"""

from __future__ import annotations

from typing import Final, NamedTuple

NAN: Final = float("nan")

# Output of the instrument.
OUTPUT_UNKNOWN: Final = -1
OUTPUT_OFF: Final = 0
OUTPUT_ON: Final = 1

# What regulates: the current limit (constant current) or the voltage (constant voltage).
LIMIT_UNKNOWN: Final = -1
LIMIT_VOLTAGE: Final = 0
LIMIT_CURRENT: Final = 1

# Quality bits; 0 is a good sample.
QUALITY_VOLTAGE_INVALID: Final = 1  # NaN, overflow or unparsable
QUALITY_CURRENT_INVALID: Final = 2
QUALITY_TEMPERATURE_INVALID: Final = 4  # declared sensor gave nothing usable
QUALITY_STALE: Final = 8  # the instrument repeated an old reading
QUALITY_DUPLICATE: Final = 16  # same device time as the sample before
QUALITY_OUT_OF_ORDER: Final = 32  # device time ran backwards
QUALITY_SATURATED: Final = 64  # at the end of the measuring range
QUALITY_NO_CELL_VOLTAGE: Final = 128  # output off: the voltage is not the cell's
QUALITY_READBACK_MISMATCH: Final = 256  # device settings differ from what was programmed
QUALITY_NO_REPLY: Final = 512  # the poll failed; values are NaN
QUALITY_OVER_TEMPERATURE: Final = 1024  # the instrument itself, not the cell, is too warm

QUALITY_WORDS: Final[dict[int, str]] = {
    QUALITY_VOLTAGE_INVALID: "voltage invalid",
    QUALITY_CURRENT_INVALID: "current invalid",
    QUALITY_TEMPERATURE_INVALID: "temperature invalid",
    QUALITY_STALE: "stale",
    QUALITY_DUPLICATE: "duplicate",
    QUALITY_OUT_OF_ORDER: "out of order",
    QUALITY_SATURATED: "saturated",
    QUALITY_NO_CELL_VOLTAGE: "output off, no cell voltage",
    QUALITY_READBACK_MISMATCH: "device settings changed by someone else",
    QUALITY_NO_REPLY: "no reply",
    QUALITY_OVER_TEMPERATURE: "instrument too warm",
}


class Sample(NamedTuple):
    """One reading.

    Attributes
    ----------
    sequence : int
        Counts readings of a run from 0, without gaps, also over a resume.
    channel : int
        Channel of the instrument, 0 where it has one.
    t_host_s : float
        Monotonic host time at the end of the exchange (s).
    t_device_s : float
        The instrument's own time of the reading (s since its sequence of readings began plus
        what the driver carries over re-arming, so that it never jumps); NaN if it gives none.
        Charge is integrated on it.
    utc_s : float
        Unix time (s).
    voltage_V, current_A : float
        At the cell, charging current positive; NaN where not measured.
    temperature_K : float
        Cell temperature; NaN without a sensor (declared ``none``) or when the reading failed.
    output : int
        ``OUTPUT_ON``, ``OUTPUT_OFF`` or ``OUTPUT_UNKNOWN``.
    limit_status : int
        ``LIMIT_CURRENT``, ``LIMIT_VOLTAGE`` or ``LIMIT_UNKNOWN``.
    current_range_A : float
        Full scale of the current measurement (A); gain is common within one range.
    averaging_s : float
        Aperture of the reading (s).
    quality : int
        Sum of ``QUALITY_*`` bits; 0 is good.
    """

    sequence: int
    channel: int
    t_host_s: float
    t_device_s: float
    utc_s: float
    voltage_V: float
    current_A: float
    temperature_K: float
    output: int
    limit_status: int
    current_range_A: float
    averaging_s: float
    quality: int


def quality_words(quality: int) -> list[str]:
    """Return the words for the bits set in `quality`."""
    return [word for bit, word in QUALITY_WORDS.items() if quality & bit]
