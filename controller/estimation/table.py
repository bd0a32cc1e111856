"""A measured series as arrays, whatever file it came from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from controller.domain.sample import NAN

FloatArray = NDArray[np.float64]
TextArray = NDArray[np.object_]

# Fewer values than this say nothing about how they were rounded.
_VARIOUS = 20
# Fewer values may have a common divisor by chance.
_VARIOUS_STEPS = 10
# Beyond this a logged number is no measurement.
_LARGEST = 1e12
# Times are rounded where more than this share of the readings have the time of the one before,
# though they differ from it. Assumed, 0.1-0.5.
_SHARE_A_TIME: Final = 0.2
# Decimal quanta tried when the resolution of a logged column is inferred.
_QUANTA = tuple(10.0**-k for k in range(10))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """One cell's series, charging current positive.

    Attributes
    ----------
    source : str
        File it was read from.
    layout : str
        The file format found by looking at the content, in words.
    t_s, current_A, voltage_V : array, shape (n,)
        Time from the start of the test (s), current (A), voltage (V); NaN where not logged.
    temperature_K : array or None
    cycle : array or None
        The file's own cycle numbers, as written; not checked to be whole.
    step : array or None
        A number that changes when the step changes.
    step_type : array of str or None
    charging_Ah, discharging_Ah : array or None
        The cycler's own counters, magnitudes; they may start again at a step, cycle or test.
    step_capacity_Ah : array or None
        The cycler's own counter within a step, magnitude, direction from the current's sign.
    unix_s : array or None
        Date beside the time (Unix, s).
    first_row : int
        Line (CSV) or row (Parquet) in the file of the first element, for messages.
    line : array or None
        Line in the file of each element, where lines that are none lie between them.
    written_current_resolution_A : float
        Last decimal written in a text file (A); NaN where the file does not show it.
    findings : tuple of str
        What the reader itself had to say about the file.
    """

    source: str
    layout: str
    t_s: FloatArray
    current_A: FloatArray
    voltage_V: FloatArray
    temperature_K: FloatArray | None = None
    cycle: FloatArray | None = None
    step: FloatArray | None = None
    step_type: TextArray | None = None
    charging_Ah: FloatArray | None = None
    discharging_Ah: FloatArray | None = None
    step_capacity_Ah: FloatArray | None = None
    unix_s: FloatArray | None = None
    first_row: int = 2
    line: FloatArray | None = None
    findings: tuple[str, ...] = ()
    written_current_resolution_A: float = NAN

    def row(self, index: int) -> int:
        """Return where in the file an element stands, for messages."""
        return index + self.first_row if self.line is None else int(self.line[index])

    def rows(self) -> FloatArray:
        """Return where in the file each element stands, for messages."""
        if self.line is not None:
            return self.line
        return np.arange(self.t_s.size, dtype=np.float64) + self.first_row

    @property
    def time_resolution_s(self) -> float:
        """Step to which the times were rounded (s); 0 where none shows.

        Decimal, unless the times show a coarser one: that of float32, or one in which readings of
        one step that differ share a time.
        """
        return max(resolution(self.t_s), self.time_quantum_s)

    @property
    def time_quantum_s(self) -> float:
        """Step of the times that need be no decimal one (s); 0 where none shows."""
        t_s = self.t_s[np.abs(self.t_s) < _LARGEST]
        if t_s.size < _VARIOUS:
            return 0.0
        quantum_s = float(np.spacing(np.float32(np.max(np.abs(t_s)))))
        # Times that are all whole tens besides (ms taken for s) were not rounded to a power of two.
        tens = bool(np.all(np.fmod(t_s, 10.0) == 0.0))
        if not tens and bool(np.all(t_s == np.round(t_s / quantum_s) * quantum_s)):
            return max(quantum_s, self._shared_time_s())
        return self._shared_time_s()

    def _shared_time_s(self) -> float:
        """Return the smallest step of time if many differing readings of one step share one (s)."""
        dt_s = np.diff(np.where(np.abs(self.t_s) < _LARGEST, self.t_s, np.nan))
        moves_s = dt_s[dt_s > 0.0]
        if not moves_s.size:
            return 0.0
        differ = self.current_A[1:] != self.current_A[:-1]
        differ |= self.voltage_V[1:] != self.voltage_V[:-1]
        within = np.ones_like(differ) if self.step is None else self.step[1:] == self.step[:-1]
        shared = int(np.sum((dt_s == 0.0) & differ & within))
        quantum_s = float(np.min(moves_s))
        whole = np.abs(moves_s - np.round(moves_s / quantum_s) * quantum_s) <= 1e-6 * quantum_s
        many = shared > _SHARE_A_TIME * dt_s.size
        return quantum_s if many and quantum_s > 1.0 and bool(np.all(whole)) else 0.0

    @property
    def current_resolution_A(self) -> float:
        """Decimal step to which the currents were rounded (A); 0 where none shows.

        The digits written in the file tell; without them the values do, if they are various: a
        constant current may be round by intention.
        """
        if not math.isnan(self.written_current_resolution_A):
            return self.written_current_resolution_A
        if np.unique(self.current_A).size < _VARIOUS:
            return 0.0
        return resolution(self.current_A)


def quantum(values: FloatArray) -> float:
    """Return the step of which all `values` are multiples, not only a decimal one: 5 mV, 20 mA.

    A tenth of it is what `resolution` shows where the step is written with a digit more.
    """
    decimal = resolution(values)
    finite = values[np.abs(values) < _LARGEST]
    if decimal == 0.0:
        return 0.0
    units = np.unique(np.round(finite / decimal).astype(np.int64))
    if units.size < _VARIOUS_STEPS:
        return decimal
    return decimal * float(np.gcd.reduce(np.diff(units)))


def resolution(values: FloatArray) -> float:
    """Return the decimal quantum that all `values` are multiples of, 0 where there is none.

    Parameters
    ----------
    values : array
        As logged. NaN and absurdly large values are ignored.

    Returns
    -------
    float
        1, 0.1, ... 1e-9, or 0 (no rounding to be seen, or nothing to see it by).
    """
    finite = values[np.abs(values) < _LARGEST]
    if finite.size == 0 or not np.any(finite):
        return 0.0
    # Doubles near x are spaced by about 2e-16 |x|; anything closer than this is a multiple.
    slack = 1e-12 * float(np.max(np.abs(finite))) + 1e-13
    for quantum in _QUANTA:
        off = np.abs(finite - np.round(finite / quantum) * quantum)
        if slack < 0.05 * quantum and bool(np.all(off <= slack)):
            return quantum
    return 0.0
