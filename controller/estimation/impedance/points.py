"""An impedance spectrum as arrays, checked once: what comes after may rely on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from controller.domain.errors import ConfigurationError, Fault, refuse
from controller.estimation.table import FloatArray

ComplexArray = NDArray[np.complex128]

# No laboratory instrument measures an impedance outside these (Ohm, Hz): a unit slipped.
_SMALLEST, _LARGEST = 1e-9, 1e12
_LOWEST_HZ, _HIGHEST_HZ = 1e-7, 1e9
# At most so many faults are told of one spectrum.
_TOLD = 10


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spectrum:
    """Impedance over frequency, highest frequency first.

    Attributes
    ----------
    source : str
        Where it comes from, for messages.
    frequency_Hz : array, shape (n,)
        Descending, positive, no two alike.
    impedance_Ohm : complex array, shape (n,)
        Imaginary part negative where the cell is capacitive.
    u_Ohm : array, shape (n,), or None
        Standard uncertainty of the real and of the imaginary part; None where it is not known.
    """

    source: str
    frequency_Hz: FloatArray
    impedance_Ohm: ComplexArray
    u_Ohm: FloatArray | None = None

    def part(self, keep: NDArray[np.bool_]) -> Spectrum:
        """Return the points where `keep` is true."""
        return Spectrum(
            source=self.source,
            frequency_Hz=self.frequency_Hz[keep],
            impedance_Ohm=self.impedance_Ohm[keep],
            u_Ohm=None if self.u_Ohm is None else self.u_Ohm[keep],
        )


def spectrum_of(
    source: str,
    frequency_Hz: FloatArray,
    impedance_Ohm: ComplexArray,
    u_Ohm: FloatArray | None = None,
    rows: Sequence[int] = (),
) -> Spectrum:
    """Return the points in order of frequency, highest first.

    Parameters
    ----------
    source : str
        File or name, for messages.
    frequency_Hz, impedance_Ohm, u_Ohm : arrays, shape (n,)
        In any order.
    rows : sequence of int
        Row of each point in `source`, for messages; from 1 on if not given.

    Raises
    ------
    ConfigurationError
        No points, arrays of unlike length, a value that is no number, a frequency that is not
        positive or stands twice, a value no instrument can have measured; every fault (ten at
        most) with row and value.
    """
    sizes = {frequency_Hz.size, impedance_Ohm.size} | ({u_Ohm.size} if u_Ohm is not None else set())
    if len(sizes) > 1:
        raise refuse(source, "", f"columns of unlike length: {sorted(sizes)}")
    if frequency_Hz.size == 0:
        raise refuse(source, "", "no points: the spectrum is empty")
    rows = rows or range(1, frequency_Hz.size + 1)
    faults = _faults(source, frequency_Hz, impedance_Ohm, u_Ohm, rows)
    if faults:
        raise ConfigurationError(faults[:_TOLD])
    order = np.argsort(-frequency_Hz, kind="stable")
    return Spectrum(
        source=source,
        frequency_Hz=np.ascontiguousarray(frequency_Hz[order]),
        impedance_Ohm=np.ascontiguousarray(impedance_Ohm[order]),
        u_Ohm=None if u_Ohm is None else np.ascontiguousarray(u_Ohm[order]),
    )


def _faults(
    source: str,
    frequency_Hz: FloatArray,
    impedance_Ohm: ComplexArray,
    u_Ohm: FloatArray | None,
    rows: Sequence[int],
) -> list[Fault]:
    faults: list[Fault] = []
    row_of: dict[float, int] = {}
    u = np.full(frequency_Hz.size, 1.0) if u_Ohm is None else u_Ohm
    points = zip(rows, frequency_Hz.tolist(), impedance_Ohm.tolist(), u.tolist(), strict=True)
    for row, f_Hz, z_Ohm, u_one in points:
        problem = _problem(f_Hz, z_Ohm, u_one)
        if not problem and f_Hz in row_of:
            problem = f"the frequency {f_Hz:g} Hz stands in row {row_of[f_Hz]} already"
        row_of.setdefault(f_Hz, row)
        if problem:
            faults.append(Fault(where=source, key=f"row {row}", problem=problem))
    return faults


def _problem(f_Hz: float, z_Ohm: complex, u_Ohm: float) -> str:
    """Say what is wrong with one point; empty where nothing is."""
    if not math.isfinite(f_Hz):
        return f"the frequency is {f_Hz}"
    if not _LOWEST_HZ <= f_Hz <= _HIGHEST_HZ:
        return f"the frequency {f_Hz:g} Hz is not between {_LOWEST_HZ:g} and {_HIGHEST_HZ:g} Hz"
    if not (math.isfinite(z_Ohm.real) and math.isfinite(z_Ohm.imag)):
        return f"the impedance is {z_Ohm.real} + {z_Ohm.imag}j Ohm"
    if not _SMALLEST <= abs(z_Ohm) <= _LARGEST:
        return f"|Z| = {abs(z_Ohm):g} Ohm is not between {_SMALLEST:g} and {_LARGEST:g} Ohm"
    if not (math.isfinite(u_Ohm) and u_Ohm > 0.0):
        return f"the standard uncertainty is {u_Ohm:g} Ohm"
    return ""
