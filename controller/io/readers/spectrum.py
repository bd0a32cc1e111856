"""Impedance spectra from text files, recognised by what stands in them.

Three columns without a header (frequency in Hz, Re Z and Im Z in Ohm), the same with a header, a
table of many spectra (a column that numbers them), and BioLogic's ``.mpt`` text export.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from controller.domain.errors import ConfigurationError, Fault, refuse
from controller.domain.sample import NAN
from controller.estimation.impedance.points import Spectrum, spectrum_of
from controller.io.readers.read import decoded

_BIOLOGIC: Final = "EC-Lab ASCII FILE"
_HEADER_LINES: Final = re.compile(r"Nb header lines\s*:\s*(\d+)")
# A file in which nothing like this is found within so many lines is no spectrum.
_LINES_LOOKED_AT: Final = 200
_EMPTY: Final = ("", "nan", "na", "null")
_SEPARATORS: Final = (",", ";", "\t", None)  # None: blanks
_TOLD: Final = 10
_HEADERLESS: Final = "three columns without a header: frequency, Re Z, Im Z"
# A first column is time from this many steps on where more than this share of them are as long as
# another one; frequencies are spaced by a factor. Assumed, 4-20 and 0.4-0.8.
_STEPS_OF_TIME: Final = 4
_EVEN_SHARE: Final = 0.5
# Names of columns, as `_plain` gives them.
_FREQUENCY: Final = ("freq", "frequency", "f")
_REAL: Final = ("zre", "rez", "zreal", "z'", "re")
_IMAGINARY: Final = ("zim", "imz", "zimag", "z''", 'z"', "im")
_NEGATIVE: Final = tuple(f"-{name}" for name in _IMAGINARY)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class NamedSpectrum:
    """A spectrum, what the file calls it, and when it was taken (s; NaN where not said)."""

    label: str
    t_s: float
    spectrum: Spectrum


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpectrumFile:
    """The spectra of one file.

    Attributes
    ----------
    source : str
    layout : str
        What the file was found to be, in words.
    spectra : tuple of NamedSpectrum
        In the order of the file; `label` is empty where there is only one.
    findings : tuple of str
    """

    source: str
    layout: str
    spectra: tuple[NamedSpectrum, ...]
    findings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """Where the columns stand, and the sign of the imaginary part as written."""

    words: str
    separator: str | None
    first_line: int  # of the data, from 0
    frequency: int
    real: int
    imaginary: int
    sign: float
    group: int = -1
    time: int = -1

    @property
    def widest(self) -> int:
        return max(self.frequency, self.real, self.imaginary, self.group, self.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    line: int  # from 1
    group: str
    t_s: float
    frequency_Hz: float
    impedance_Ohm: complex


def read_spectra(path: Path) -> SpectrumFile | None:
    """Read the spectra of a file; None where it holds none.

    Raises
    ------
    ConfigurationError
        It is a spectrum, but a row is cut off, a cell is no number, or a value cannot be (NaN,
        frequency 0 or twice); names rows and values. Or it is a series in time without a header, or
        cannot be read.
    """
    source = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise refuse(source, "", f"cannot be read: {error.strerror or error}") from None
    if b"\0" in data[:4096]:
        return None
    lines = decoded(source, data).splitlines()
    columns = _columns(lines)
    if columns is None:
        missing = _missing(lines)
        if missing:
            raise refuse(source, f"column {missing}", "missing: an impedance has both parts")
        return None
    if columns.words == _HEADERLESS and _rises_evenly(lines, columns):
        raise refuse(
            source,
            "row 1",
            "three columns without a header whose first rises by the same amount again and again: "
            "time, current and voltage? A header is missing",
            "put time_s,current_A,voltage_V above them, or freq_Hz,Zre_ohm,Zim_ohm",
        )
    rows = _rows(source, lines, columns)
    if not rows:
        row = f"row {columns.first_line + 1}"
        raise refuse(source, row, "no points: the file is empty or truncated")
    groups: dict[str, list[_Row]] = {}
    for row_ in rows:
        groups.setdefault(row_.group, []).append(row_)
    spectra = tuple(_spectrum(source, group, points) for group, points in groups.items())
    positive = sum(row_.impedance_Ohm.imag > 0.0 for row_ in rows)
    remark = (
        f"Im Z is positive at {positive} of {len(rows)} points: if the file writes -Im Z, name the "
        "column -Zim"
    )
    findings = (remark,) if 2 * positive > len(rows) else ()
    return SpectrumFile(source=source, layout=columns.words, spectra=spectra, findings=findings)


def _columns(lines: list[str]) -> _Columns | None:
    """Return where the columns stand, None where the lines are no spectrum."""
    if lines and lines[0].startswith(_BIOLOGIC):
        declared = _HEADER_LINES.search("\n".join(lines[:_LINES_LOOKED_AT]))
        at = int(declared.group(1)) - 1 if declared else 0
        header = lines[at].rstrip("\t").split("\t") if 0 < at < len(lines) else []
        return _named(header, "\t", at + 1, "BioLogic .mpt impedance")
    first = next((k for k, line in enumerate(lines) if line.strip()), None)
    if first is None:
        return None
    for separator in _SEPARATORS:
        cells = [cell.strip().strip('"') for cell in lines[first].strip().split(separator)]
        found = _named(cells, separator, first + 1, "columns with a header")
        if found is not None:
            return found
        if len(cells) == 3 and all(_is_number(cell) for cell in cells):
            return _Columns(
                words=_HEADERLESS,
                separator=separator,
                first_line=first,
                frequency=0,
                real=1,
                imaginary=2,
                sign=1.0,
            )
    return None


def _rises_evenly(lines: list[str], columns: _Columns) -> bool:
    """Return whether the first column never falls and rises by the same steps: time, no sweep."""
    first = [line.split(columns.separator)[0].strip() for line in lines if line.strip()]
    values = np.array([float(cell) for cell in first if _is_number(cell)])
    steps = np.diff(values)
    if np.any(steps < 0.0) or np.count_nonzero(steps) < _STEPS_OF_TIME:
        return False
    _, counts = np.unique(np.round(steps[steps > 0.0], 9), return_counts=True)
    return bool(np.sum(counts[counts > 1]) > _EVEN_SHARE * np.sum(counts))


def _missing(lines: list[str]) -> str:
    """Return the part that a header with frequency and one part of an impedance lacks; or empty."""
    first = next((line for line in lines if line.strip()), "")
    for separator in _SEPARATORS:
        names = first.strip().split(separator)
        at = {_plain(name.strip().strip('"')): k for k, name in enumerate(names)}
        real, imaginary = _first(at, _REAL) >= 0, _first(at, _IMAGINARY + _NEGATIVE) >= 0
        if _first(at, _FREQUENCY) >= 0 and real is not imaginary:
            return "Im Z" if real else "Re Z"
    return ""


def _named(
    header: list[str], separator: str | None, first_line: int, words: str
) -> _Columns | None:
    """Return the columns by their names; None where frequency or impedance is not among them."""
    at = {_plain(name): k for k, name in reversed(list(enumerate(header)))}
    frequency = _first(at, _FREQUENCY)
    real = _first(at, _REAL)
    imaginary = _first(at, _IMAGINARY)
    negative = _first(at, _NEGATIVE)
    if frequency < 0 or real < 0 or (imaginary < 0 and negative < 0):
        return None
    return _Columns(
        words=words,
        separator=separator,
        first_line=first_line,
        frequency=frequency,
        real=real,
        imaginary=imaginary if imaginary >= 0 else negative,
        sign=1.0 if imaginary >= 0 else -1.0,
        group=_first(at, ("cycle", "cyclenumber", "spectrum")),
        time=_first(at, ("time", "t", "testtime")),
    )


def _plain(name: str) -> str:
    """Return a column's name without unit, brackets, blanks and case: "Re(Z)/Ohm" is "rez"."""
    name = re.sub(r"[/(\[]\s*(hz|ohm|s|ω|1)\s*[)\]]?\s*$", "", name.strip().lower())
    name = re.sub(r"_(hz|ohm|s)$", "", name)
    return re.sub(r"[\s()_]", "", name)


def _first(at: dict[str, int], names: tuple[str, ...]) -> int:
    return next((at[name] for name in names if name in at), -1)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _rows(source: str, lines: list[str], columns: _Columns) -> list[_Row]:
    rows: list[_Row] = []
    faults: list[Fault] = []
    for number, line in enumerate(lines[columns.first_line :], start=columns.first_line + 1):
        if not line.strip():
            continue
        try:
            rows.append(_row(number, line, columns))
        except ValueError as error:
            faults.append(Fault(where=source, key=f"row {number}", problem=str(error)))
    if faults:
        raise ConfigurationError(faults[:_TOLD])
    return rows


def _row(number: int, line: str, columns: _Columns) -> _Row:
    """Return one line's point; ValueError says what is wrong with it."""
    cells = [cell.strip() for cell in line.strip().split(columns.separator)]
    if len(cells) <= columns.widest:
        raise ValueError(f"{len(cells)} fields where {columns.widest + 1} belong: truncated")
    imaginary = columns.sign * _number(cells[columns.imaginary])
    return _Row(
        line=number,
        group=cells[columns.group] if columns.group >= 0 else "",
        t_s=_number(cells[columns.time]) if columns.time >= 0 else NAN,
        frequency_Hz=_number(cells[columns.frequency]),
        impedance_Ohm=complex(_number(cells[columns.real]), imaginary),
    )


def _number(cell: str) -> float:
    if cell.lower() in _EMPTY:
        return NAN
    try:
        return float(cell)
    except ValueError:
        raise ValueError(f"{cell!r} is not a number") from None


def _spectrum(source: str, group: str, points: list[_Row]) -> NamedSpectrum:
    spectrum = spectrum_of(
        source,
        np.array([one.frequency_Hz for one in points]),
        np.array([one.impedance_Ohm for one in points]),
        rows=[one.line for one in points],
    )
    return NamedSpectrum(label=_label(group), t_s=points[0].t_s, spectrum=spectrum)


def _label(group: str) -> str:
    """Write 1.000000000000000E+000 as 1."""
    return f"{float(group):g}" if _is_number(group) else group
