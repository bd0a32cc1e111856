"""What `reactivate replay` shows of impedance spectra, in a terminal and as JSON."""

from __future__ import annotations

import math
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from controller.app.absent import or_null
from controller.estimation.impedance.analysis import (
    ALIKE_WITHIN,
    SpectrumAnalysis,
    analyse_spectrum,
)
from controller.estimation.impedance.fit import Estimate, Fit
from controller.io.readers.spectrum import NamedSpectrum, SpectrumFile

SCHEMA: Final = 1
_NO_VALUE: Final = "-"
_OTHERS_SAID: Final = 2


def spectra_shown(console: Console, file: SpectrumFile) -> None:
    """Print what the spectra of a file say: one in full, several in one line each."""
    console.print(f"[bold]{escape(file.source)}[/bold]", soft_wrap=True)
    analyses = [(one, analyse_spectrum(one.spectrum)) for one in file.spectra]
    if len(analyses) == 1:
        console.print(f"{file.layout}; {_range_words(analyses[0][1])}", markup=False)
        _show_one(console, analyses[0][1])
    else:
        console.print(f"{file.layout}; {len(analyses)} spectra", markup=False)
        _show_many(console, analyses)
    for finding in file.findings:
        console.print(f"Finding: {finding}", markup=False)
    console.print()


def _range_words(analysis: SpectrumAnalysis) -> str:
    f_Hz = analysis.spectrum.frequency_Hz
    return f"{f_Hz.size} points, {_hertz(float(f_Hz[-1]))} to {_hertz(float(f_Hz[0]))}"


def _hertz(f_Hz: float) -> str:
    for unit, size in (("MHz", 1e6), ("kHz", 1e3), ("Hz", 1.0), ("mHz", 1e-3)):
        if f_Hz >= size:
            return f"{f_Hz / size:.3g} {unit}"
    return f"{f_Hz * 1e6:.3g} uHz"


def _show_one(console: Console, analysis: SpectrumAnalysis) -> None:
    if analysis.test is None:
        console.print(f"Kramers-Kronig: not tested, {analysis.test_reason}", markup=False)
    else:
        test = analysis.test
        console.print(f"Kramers-Kronig: {test.verdict.value}, {test.reason}", markup=False)
    if analysis.inductive:
        console.print(
            f"Fitted without the {analysis.inductive} inductive points at the high end",
            markup=False,
        )
    best = analysis.best
    if best is None:
        console.print("Too few points for any circuit", markup=False)
        return
    console.print(
        f"Best of {1 + len(analysis.others)} circuits (AICc, modulus weights): "
        f"{best.circuit.text}, residual {100.0 * best.relative_rms:.2g} %; "
        f"{best.starts_agreeing} of {best.starts} starts ended there"
        + ("" if best.converged else "; NOT CONVERGED"),
        markup=False,
    )
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("parameter", "value ± u", "95 %", "unit"):
        table.add_column(heading, justify="right" if heading == "value ± u" else "left")
    for one in best.estimates:
        table.add_row(one.name, _value_words(one), _interval_words(one), one.unit)
    console.print(table)
    for one in best.estimates:
        if not one.identified:
            console.print(f"Not identified: {one.name}, {one.why_not}", markup=False)
    for first, second, share in best.correlated:
        console.print(f"Known only together: {first} and {second} ({share:.3f})", markup=False)
    for other in analysis.others[:_OTHERS_SAID]:
        console.print(_other_words(other, best), markup=False)
    console.print(
        "u is one standard uncertainty from the scatter of the residuals; it holds if the circuit "
        "does.",
        markup=False,
    )


def _other_words(other: Fit, best: Fit) -> str:
    worse = other.aicc - best.aicc
    told = "not told apart by these data" if worse <= ALIKE_WITHIN else "worse"
    return f"{other.circuit.text}: AICc {worse:+.1f}, {told}"


def _value_words(one: Estimate) -> str:
    if not one.identified or not one.u > 0.0:
        return f"{one.value:.3g}"
    digits = max(1, 2 + math.floor(math.log10(one.value)) - math.floor(math.log10(one.u)))
    return f"{f'{one.value:#.{digits}g}'.rstrip('.')} ± {one.u:.2g}"


def _interval_words(one: Estimate) -> str:
    return f"{one.low:.3g} to {one.high:.3g}" if one.identified else _NO_VALUE


def _show_many(console: Console, analyses: list[tuple[NamedSpectrum, SpectrumAnalysis]]) -> None:
    table = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True)
    headings = ("", "t s", "points", "|Z| low\nOhm", "Re Z high\nOhm", "KK", "circuit", "R ± u Ohm")
    for heading in headings:
        left = heading in ("KK", "circuit", "R ± u Ohm")
        table.add_column(heading, justify="left" if left else "right", overflow="fold")
    for named, analysis in analyses:
        spectrum, test, best = analysis.spectrum, analysis.test, analysis.best
        table.add_row(
            named.label,
            f"{named.t_s:.0f}" if math.isfinite(named.t_s) else _NO_VALUE,
            str(spectrum.frequency_Hz.size),
            f"{abs(spectrum.impedance_Ohm[-1]):.4g}",
            f"{spectrum.impedance_Ohm[0].real:.4g}",
            _NO_VALUE if test is None else test.verdict.value,
            _NO_VALUE if best is None else best.circuit.text,
            _NO_VALUE if best is None else _resistances_words(best),
        )
    console.print(table)


def _resistances_words(best: Fit) -> str:
    found = [one for one in best.estimates if one.unit == "Ohm"]
    return "; ".join(
        f"{one.name} {_value_words(one)}" if one.identified else f"{one.name} ?" for one in found
    )


# -- JSON -----------------------------------------------------------------------------------------


def spectra_json(file: SpectrumFile) -> dict[str, Any]:
    """Return what `--json` prints of a file of spectra; Hz, Ohm, standard uncertainties."""
    return {
        "schema": SCHEMA,
        "file": file.source,
        "layout": file.layout,
        "spectra": [_spectrum_json(one) for one in file.spectra],
        "findings": list(file.findings),
    }


def _spectrum_json(named: NamedSpectrum) -> dict[str, Any]:
    analysis = analyse_spectrum(named.spectrum)
    f_Hz, test, best = named.spectrum.frequency_Hz, analysis.test, analysis.best
    return {
        "label": named.label or None,
        "t_s": or_null(named.t_s),
        "points": int(f_Hz.size),
        "lowest_Hz": float(f_Hz[-1]),
        "highest_Hz": float(f_Hz[0]),
        "kramers_kronig": {"verdict": None, "reason": analysis.test_reason}
        if test is None
        else {
            "verdict": test.verdict.value,
            "reason": test.reason,
            "relative_rms": test.relative_rms,
            "elements": test.elements,
            "mu": or_null(test.mu),
        },
        "inductive_points_left_out": analysis.inductive,
        "fit": None if best is None else _fit_json(best),
        "others": [
            {"circuit": o.circuit.text, "aicc": o.aicc, "relative_rms": o.relative_rms}
            for o in analysis.others
        ],
    }


def _fit_json(best: Fit) -> dict[str, Any]:
    return {
        "circuit": best.circuit.text,
        "weights": best.weights.value,
        "relative_rms": best.relative_rms,
        "aicc": best.aicc,
        "converged": best.converged,
        "starts": best.starts,
        "starts_agreeing": best.starts_agreeing,
        "parameters": [
            {
                "name": one.name,
                "unit": one.unit,
                "value": one.value,
                "u": or_null(one.u),
                "low_95": one.low,
                "high_95": one.high,
                "identified": one.identified,
                "why_not": one.why_not or None,
            }
            for one in best.estimates
        ],
        "correlated": [
            {"first": first, "second": second, "correlation": share}
            for first, second, share in best.correlated
        ],
    }
