"""Figures on real cycler files, against the cycler's own counters and published values."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pyarrow.csv as pa_csv
import pytest

from controller.domain.cell import CellFormat
from controller.estimation.files.cycles import Analysis, analyse
from controller.io.readers import read_table

IFE = "neware_ife_ce20/nw_regular_export_ife_example.csv"
IFE_PARQUET = "neware_ife_ce20/neware_ife_ce20.parquet"
IFE_REFERENCE = "neware_ife_ce20/reference_cycles.csv"
EMPA = "neware_empa_lowCE160/neware_empa_lowCE160.parquet"
EMPA_RAW = "neware_empa_lowCE160/nw4-120-1-6-53.ndax"
EMPA_REFERENCE = "neware_empa_lowCE160/reference_cycles.csv"
BDF = "bdf_reference"


def analysed(
    path: Path,
    cell_format: CellFormat | None = CellFormat.FULL_CELL,
    *,
    ignore_counters: bool = False,
) -> Analysis:
    return analyse(read_table(path), cell_format=cell_format, ignore_counters=ignore_counters)


def reference(path: Path) -> dict[str, np.ndarray]:
    table = pa_csv.read_csv(path)
    return {name: table[name].to_numpy() for name in table.column_names}


def errors_pp(analysis: Analysis, by_cycle: dict[int, float]) -> tuple[np.ndarray, np.ndarray]:
    """Return error and standard uncertainty of Coulombic efficiency, percentage points."""
    error, u = [], []
    for cycle in analysis.cycles:
        if cycle.cycle in by_cycle:
            assert cycle.coulombic_efficiency is not None
            assert cycle.u_coulombic_efficiency is not None
            error.append(100.0 * (cycle.coulombic_efficiency - by_cycle[cycle.cycle]))
            u.append(100.0 * cycle.u_coulombic_efficiency)
    assert len(error) == len(by_cycle)
    error_pp, u_pp = np.array(error), np.array(u)
    # The figures of docs/estimation.md: pytest -rP shows them.
    sys.stdout.write(
        f"{Path(analysis.source).name}: |error of CE| median {np.median(np.abs(error_pp)):.3f} pp, "
        f"p95 {np.percentile(np.abs(error_pp), 95):.3f} pp; u median {np.median(u_pp):.3f} pp, "
        f"p95 {np.percentile(u_pp, 95):.3f} pp; 95 % interval covers "
        f"{np.mean(np.abs(error_pp) <= 1.96 * u_pp):.1%} of {error_pp.size}\n"
    )
    return error_pp, u_pp


def ife_efficiencies(measured) -> dict[int, float]:
    ref = reference(measured(IFE_REFERENCE))
    own = ref["Q_discharge_mAh"] / ref["Q_charge_mAh"]
    return {int(c): float(e) for c, e in zip(ref["cycle"], own, strict=True) if c >= 3}


@pytest.mark.parametrize("name", [IFE, IFE_PARQUET])
def test_ife_integrated_agrees_with_the_cycler_and_says_how_well(measured, name):
    """Times of the CSV are rounded within the step, those of the Parquet file by the date."""
    analysis = analysed(measured(name), ignore_counters=True)
    error_pp, u_pp = errors_pp(analysis, ife_efficiencies(measured))
    assert np.median(np.abs(error_pp)) <= 0.03
    assert np.percentile(np.abs(error_pp), 95) <= 0.07
    assert np.mean(np.abs(error_pp) <= 1.96 * u_pp) >= 0.9
    # Times rounded to 1 s in half cycles of 41 minutes are worth 0.02-0.03 pp.
    assert 0.015 <= np.median(u_pp) <= 0.04
    assert {c.source for c in analysis.cycles} == {"integrated"}


def test_ife_slips_of_the_date_are_found_where_the_cyclers_own_time_shows_them(measured):
    """The CSV export has both clocks: date against total time moves at these readings."""
    findings = analysed(measured(IFE_PARQUET)).findings
    (words,) = [w for w in findings if w.startswith("clock-slip")]
    assert "moved 4 times" in words
    assert "-5 s in all" in words
    assert not [w for w in analysed(measured(IFE)).findings if w.startswith("clock-slip")]


def test_ife_counters_are_the_cyclers_own(measured):
    analysis = analysed(measured(IFE))
    error_pp, _ = errors_pp(analysis, ife_efficiencies(measured))
    assert np.max(np.abs(error_pp)) < 0.005  # the reference is given to 0.01 mAh
    assert {c.source for c in analysis.cycles} == {"counter"}
    assert not any("counter-mismatch" in c.flags for c in analysis.cycles[1:])


def test_ife_first_cycles_are_flagged_and_left_out_of_the_average(measured):
    analysis = analysed(measured(IFE), ignore_counters=True)
    assert "starts-charged" in analysis.cycles[0].flags
    assert "ce-above-one" in analysis.cycles[1].flags
    assert [c.cycle for c in analysis.averaged] == list(range(3, 21))
    assert any(words.startswith("starts-charged: cycle 1 ") for words in analysis.findings)
    efficiencies = [c.coulombic_efficiency for c in analysis.averaged]
    assert 0.98 < np.mean(np.array(efficiencies, dtype=float)) < 0.99


def empa_efficiencies(measured) -> dict[int, float]:
    ref = reference(measured(EMPA_REFERENCE))
    return {int(c): float(e) for c, e in zip(ref["cycle"], ref["CE"], strict=True)}


def test_empa_integrated_is_covered_and_not_absurdly_wide(measured):
    analysis = analysed(measured(EMPA), ignore_counters=True)
    error_pp, u_pp = errors_pp(analysis, empa_efficiencies(measured))
    assert np.mean(np.abs(error_pp) <= 1.96 * u_pp) >= 0.9
    assert np.median(u_pp) <= 6.0
    assert np.percentile(u_pp, 95) <= 12.0
    flagged = [c for c in analysis.cycles if "cv-logged-too-coarsely" in c.flags]
    assert len(flagged) > 80
    assert any(words.startswith("cv-logged-too-coarsely") for words in analysis.findings)


def test_empa_capacity_back_at_low_rate_is_not_called_recovery(measured):
    findings = analysed(measured(EMPA), CellFormat.EXCESS_LITHIUM).findings
    words = [w for w in findings if "lower current" in w]
    assert len(words) == 1
    assert "cycles 16, 32, 48" in words[0]
    assert "polarisation, not recovered lithium" in words[0]


def test_empa_raw_file_gives_the_cyclers_own_figures(measured):
    pytest.importorskip("fastnda", reason="opens the raw file")
    analysis = analysed(measured(EMPA_RAW))
    assert analysis.layout == "Neware .ndax"
    error_pp, _ = errors_pp(analysis, empa_efficiencies(measured))
    assert {c.source for c in analysis.cycles} == {"counter"}
    assert np.max(np.abs(error_pp)) <= 0.01


def bdf(measured, part: str) -> Path:
    return next(measured(BDF).glob(f"*{part}*.csv"))


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("DLR", ["units-implausible", "too large, probably by 3600", "one every 10 s"]),
        ("G20M7", ["cycle-count-not-integer", "6.28319", "1 x 2 pi"]),
        ("Time_Bug", ["time-reset: time goes backwards 19 times"]),
        ("LiGr", ["counter-mismatch", "discharge", "+13.5%", "logged in steps of 0.0001 A"]),
        ("sample.bdf", ["sign-implausible"]),
    ],
)
def test_every_defect_of_the_published_files_is_named(measured, part, words):
    findings = "\n".join(analysed(bdf(measured, part), None).findings)
    for word in words:
        assert word in findings


def test_time_resets_do_not_cost_charge(measured):
    """The published rate test: 7.2 Ah each way in all four whole cycles, once time is mended."""
    cycles = analysed(bdf(measured, "Time_Bug")).cycles
    assert len(cycles) == 5
    for cycle in cycles[1:]:
        assert 7.1 < cycle.charge_Ah < 7.4
        assert 0.99 < (cycle.coulombic_efficiency or 0.0) < 1.0


def test_a_sound_file_has_no_finding_of_its_own(measured):
    analysis = analysed(measured(IFE))
    assert [w for w in analysis.findings if not w.startswith("starts-charged")] == []


def test_gsm_pulses(measured):
    values = analysed(measured("neware_pulses/gsm_pulse_1p7A.parquet")).resistances
    assert values
    assert values[0].kind.startswith("first reading, 4 ms")
    for resistance in values:
        assert resistance.value_Ohm == pytest.approx(36.17e-3, rel=0.01)
        assert resistance.u_Ohm < 0.5e-3


def test_out_of_step_logging_is_refused_and_summed(measured):
    analysis = analysed(measured("neware_pulses/sim_lfp_200A_100Hz.parquet"))
    (only,) = analysis.resistances
    assert only.kind == "sum R0+R1, 120 ms"
    assert only.value_Ohm == pytest.approx(0.34e-3, rel=0.1)
    assert only.u_Ohm > 0.05e-3
    assert any("logged out of step" in words for words in analysis.findings)


def test_lgm50_ohmic_and_fast_polarisation_only_as_a_sum(measured):
    resistances = analysed(measured("lgm50_pulse_wmg/lgm50_pulses_25C.parquet")).resistances
    sums = [r for r in resistances if r.kind.startswith("sum R0+R1")]
    assert all("split not identifiable" in r.kind for r in sums)
    assert not [r for r in resistances if r.kind.startswith(("R0", "R1"))]
    values = np.array([r.value_Ohm for r in sums])
    assert values.size >= 6
    assert np.median(values) == pytest.approx(31.9e-3, rel=0.05)


def test_lgm50_single_readings_are_those_of_the_reference(measured):
    ref = reference(measured("lgm50_pulse_wmg/reference_pulse_R.csv"))
    warm = ref["T_C"] == 25
    resistances = analysed(measured("lgm50_pulse_wmg/lgm50_pulses_25C.parquet")).resistances
    for kind, column in (("step 1 s", "R_1s_ohm"), ("step 10 s", "R_10s_ohm")):
        ours = [r.value_Ohm for r in resistances if r.kind.startswith(f"{kind}, start")]
        assert np.median(ours) == pytest.approx(np.nanmedian(ref[column][warm]), rel=0.03)


def test_symmetric_cell_has_no_efficiency_and_says_why(measured):
    analysis = analysed(
        measured("lili_tegdme_softshort/lili_tegdme_gcpl.parquet"), CellFormat.LI_LI
    )
    assert analysis.cycles
    assert all(c.coulombic_efficiency is None for c in analysis.cycles)
    assert all("Li||Li" in c.coulombic_efficiency_reason for c in analysis.cycles)


def test_without_a_format_no_efficiency_is_stated(measured):
    analysis = analysed(measured(IFE), None)
    assert all(c.coulombic_efficiency is None for c in analysis.cycles)
    assert "no cell format was given: Coulombic efficiency is not stated" in analysis.findings
