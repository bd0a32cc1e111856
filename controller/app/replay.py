"""`reactivate replay`: a user's own cycler file, analysed and told in plain words."""

from __future__ import annotations

import io
import json
import math
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from controller.app.absent import or_null
from controller.app.capacity_table import capacities_json, capacities_shown
from controller.app.replay_table import show
from controller.domain.cell import CellFormat
from controller.domain.errors import ConfigurationError, nearest, refuse
from controller.domain.figures import Resistance
from controller.estimation.files.capacities import CapacityTable
from controller.estimation.files.course import Course, CycleCourse
from controller.estimation.files.cycles import Analysis, CycleResult, MeanEfficiency, analyse
from controller.io.readers import SpectrumFile, read_spectra, read_table
from controller.io.readers.capacities import read_capacities

SCHEMA: Final = 1
EXIT_OK: Final = 0
EXIT_BAD_INPUT: Final = 2


def replay(
    files: list[Path], cell_format: str | None, *, ignore_counters: bool, as_json: bool
) -> int:
    """Analyse files and print what they say.

    Parameters
    ----------
    files : list of Path
        One cell each. None: a synthetic example, which is written to a new temporary folder and
        said to be one.
    cell_format : str or None
        `CellFormat` value; without it Coulombic efficiency is not stated.
    ignore_counters : bool
        Integrate the current even where the cycler's own counters are in the file.
    as_json : bool
        One JSON object per file and line instead of tables.

    Returns
    -------
    int
        0, or 2 when a file or the format was refused; the reason goes to standard error.
    """
    try:
        parsed = _parse_format(cell_format)
    except ConfigurationError as error:
        return _refused(error)
    if not files:
        files = [_example()]
        parsed = parsed or CellFormat.ANODE_FREE
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal or pipe in another encoding shows "?" for "±"; it never stops the analysis.
            stream.reconfigure(errors="replace")
    console = Console(highlight=False)
    code = EXIT_OK
    for path in files:
        try:
            capacities = read_capacities(path)
            spectra = read_spectra(path) if capacities is None else None
            table = read_table(path) if capacities is None and spectra is None else None
        except ConfigurationError as error:
            code = _refused(error)
            continue
        if capacities is not None:
            _tell_capacities(console, capacities, as_json=as_json)
        if spectra is not None:
            _tell_spectra(console, spectra, as_json=as_json)
        if table is None:
            continue
        analysis = analyse(table, cell_format=parsed, ignore_counters=ignore_counters)
        if as_json:
            sys.stdout.write(json.dumps(to_json(analysis), allow_nan=False) + "\n")
        else:
            show(console, analysis)
    return code


def _tell_spectra(console: Console, spectra: SpectrumFile, *, as_json: bool) -> None:
    from controller.app.spectrum_table import spectra_json, spectra_shown

    if as_json:
        sys.stdout.write(json.dumps(spectra_json(spectra), allow_nan=False) + "\n")
    else:
        spectra_shown(console, spectra)


def _tell_capacities(console: Console, capacities: CapacityTable, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(capacities_json(capacities), allow_nan=False) + "\n")
    else:
        capacities_shown(console, capacities)


def _example() -> Path:
    """Write the example to a folder of its own and say so, apart from the figures."""
    path = Path(tempfile.mkdtemp(prefix="reactivate-")) / "synthetic-example.csv"
    write_example(path)
    sys.stderr.write(
        "No file given, so here is a synthetic example (made by arithmetic, nothing measured; an "
        f"anode-free cell), written to\n{path}\n\n"
    )
    return path


def _refused(error: ConfigurationError) -> int:
    sys.stderr.write(f"{error}\n")
    return EXIT_BAD_INPUT


def _parse_format(word: str | None) -> CellFormat | None:
    if word is None:
        return None
    try:
        return CellFormat(word)
    except ValueError:
        choices = [f.value for f in CellFormat]
        raise refuse(
            "command line", "--format", f"unknown cell format {word!r}", nearest(word, choices)
        ) from None


def to_json(analysis: Analysis) -> dict[str, Any]:
    """Return the analysis of one file as the object that `--json` prints.

    Charge in Ah, resistance in Ohm, standard uncertainties; null where there is no value.
    """
    return {
        "schema": SCHEMA,
        "file": analysis.source,
        "layout": analysis.layout,
        "format": None if analysis.cell_format is None else analysis.cell_format.value,
        "cycles": [_cycle_json(cycle) for cycle in analysis.cycles],
        "mean_coulombic_efficiency": _mean_json(analysis.mean_efficiency),
        "resistances": [_resistance_json(resistance) for resistance in analysis.resistances],
        "resistance_notes": list(analysis.resistance_notes),
        "findings": list(analysis.findings),
        "diagnosis": _course_json(analysis.course),
    }


def _mean_json(mean: MeanEfficiency | None) -> dict[str, Any] | None:
    return None if mean is None else {"value": mean.value, "u": mean.u, "cycles": mean.cycles}


def _course_json(course: Course) -> dict[str, Any]:
    found = course.diagnosis
    return {
        "mode": None if found is None else found.mode.value,
        "reason": course.reason or None,
        "probabilities": None
        if found is None
        else {mode.value: one for mode, one in found.probabilities.items()},
        "evidence": [] if found is None else list(found.evidence),
        "soft_short_cycles": list(course.flagged),
        "cycles": [_cycle_course_json(cycle) for cycle in course.cycles],
    }


def _cycle_course_json(cycle: CycleCourse) -> dict[str, Any]:
    evidence, figures = cycle.evidence, cycle.figures
    return {
        "cycle": cycle.cycle,
        "soft_short_probability": None if evidence is None else or_null(evidence.probability),
        "soft_short_evidence": [] if evidence is None else list(evidence.words),
        "polarisation_Ohm": or_null(figures.polarised_Ohm),
        "start_polarisation_Ohm": or_null(figures.start_Ohm),
        "noise_uV": [or_null(1e6 * size_V) for size_V in figures.size_V],
        "features": {
            name: {
                "value": or_null(one.value),
                "u": or_null(one.u),
                "unit": one.unit,
                "reason": one.reason or None,
            }
            for name, one in cycle.features.items()
        },
    }


def _cycle_json(cycle: CycleResult) -> dict[str, Any]:
    return {
        "cycle": cycle.cycle,
        "charge_Ah": cycle.charge_Ah,
        "u_charge_Ah": cycle.u_charge_Ah,
        "discharge_Ah": cycle.discharge_Ah,
        "u_discharge_Ah": cycle.u_discharge_Ah,
        "net_charge_Ah": cycle.net_charge_Ah,
        "u_net_charge_Ah": cycle.u_net_charge_Ah,
        "coulombic_efficiency": cycle.coulombic_efficiency,
        "u_coulombic_efficiency": cycle.u_coulombic_efficiency,
        "coulombic_efficiency_reason": cycle.coulombic_efficiency_reason or None,
        "source": cycle.source,
        "discharge_end": cycle.discharge_end.value,
        "discharge_end_probability": cycle.discharge_end_probability,
        "resistance_Ohm": or_null(cycle.resistance_Ohm),
        "u_resistance_Ohm": or_null(cycle.u_resistance_Ohm),
        "resistance_kind": cycle.resistance_kind or None,
        "flags": list(cycle.flags),
    }


def _resistance_json(resistance: Resistance) -> dict[str, Any]:
    return {
        "t_s": resistance.t_s,
        "cycle": resistance.cycle,
        "kind": resistance.kind,
        "value_Ohm": resistance.value_Ohm,
        "u_Ohm": resistance.u_Ohm,
    }


# A synthetic cell for the example: arithmetic, no measurement. All assumed.
_EXAMPLE_CYCLES: Final = 5
_EXAMPLE_CURRENT_A: Final = 1e-3
_EXAMPLE_CAPACITY_AS: Final = 10.8  # 3 mAh
_EXAMPLE_EFFICIENCY: Final = 0.994
_EXAMPLE_PERIOD_S: Final = 20.0
# Readings come every second for this long before a step ends: what a cycler's voltage trigger does.
_EXAMPLE_FINE_S: Final = 20.0
# Lithium left on Cu at which the voltage collapses, as a share of the capacity.
_EXAMPLE_KNEE_SHARE: Final = 3e-4
_EXAMPLE_RESISTANCE_OHM: Final = 40.0
_EXAMPLE_REST_S: Final = 600.0


def write_example(path: Path) -> None:
    """Write a small plain CSV to try `replay` on: a synthetic anode-free cell, no measurement.

    Parameters
    ----------
    path : Path
        Overwritten. The column ``step_type`` says ``synthetic`` in every row.
    """
    rows = ["time_s,current_A,voltage_V,cycle,step,step_type"]
    t_s = 0.0
    step = 0
    charge_As = _EXAMPLE_CAPACITY_AS
    for cycle in range(1, _EXAMPLE_CYCLES + 1):
        discharge_As = charge_As * _EXAMPLE_EFFICIENCY
        # Current, charge moved, and what can still be stripped from Cu when the step begins.
        for current_A, amount_As, start_As in (
            (_EXAMPLE_CURRENT_A, charge_As, 0.0),
            (0.0, 0.0, charge_As),
            (-_EXAMPLE_CURRENT_A, discharge_As, discharge_As),
            (0.0, 0.0, 0.0),
        ):
            step += 1
            lasts_s = amount_As / _EXAMPLE_CURRENT_A if current_A else _EXAMPLE_REST_S
            for since_s in _times_s(lasts_s):
                on_copper_As = start_As + current_A * since_s
                voltage_V = _example_voltage_V(on_copper_As, current_A)
                rows.append(
                    f"{t_s + since_s:.2f},{current_A:.6f},{voltage_V:.4f},{cycle},{step},synthetic"
                )
            t_s += lasts_s
        # What was not stripped is lost: the next charge finds less lithium in the cathode.
        charge_As = discharge_As
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")


def _times_s(lasts_s: float) -> list[float]:
    """Return reading times within a step, its end included."""
    fine_from_s = max(0.0, lasts_s - _EXAMPLE_FINE_S)
    count = int(fine_from_s // _EXAMPLE_PERIOD_S)
    coarse_s = [k * _EXAMPLE_PERIOD_S for k in range(count + 1)]
    fine_s = [lasts_s - k for k in range(int(lasts_s - coarse_s[-1]), -1, -1)]
    return [*coarse_s, *(t_s for t_s in fine_s if t_s > coarse_s[-1])]


def _example_voltage_V(on_copper_As: float, current_A: float) -> float:
    """Return a made-up cell voltage: a slope, an ohmic drop, a knee when lithium runs out (V)."""
    share = on_copper_As / _EXAMPLE_CAPACITY_AS
    knee_V = 0.6 * math.exp(-max(share, 0.0) / _EXAMPLE_KNEE_SHARE)
    return 3.5 + 0.7 * share - knee_V + current_A * _EXAMPLE_RESISTANCE_OHM


__all__ = ["EXIT_BAD_INPUT", "EXIT_OK", "replay", "to_json", "write_example"]
