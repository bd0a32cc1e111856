"""The report says what the journal holds, whatever the journal holds."""

from __future__ import annotations

import io
import json
import math
import re
import shutil
import sqlite3
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from controller.app.report import REPORT_NAME, print_summary, summary, write_report
from controller.app.reporting.charts import grouped_decisions, spectrum_chart
from controller.app.reporting.facts import (
    WINDOWS,
    SpectrumFacts,
    capacity_Ah,
    efficiency_trend,
    read_facts,
    summary_of,
    treatment_windows,
)
from controller.app.reporting.page import page
from controller.app.reporting.svg import decimate, robust_range, tick_words, ticks
from controller.app.reporting.words import number, with_u
from controller.domain.decision import Decision
from controller.domain.errors import RunDirectoryError
from controller.domain.figures import CycleKind, Label
from controller.io.journal import Journal, JournalReader
from tests.synthetic_run import EPOCH_S, GAIN_MAH, figures, make_run, resume_run

VOID = {"meta", "link", "br", "hr", "img"}


class Outline(HTMLParser):
    """Checks that every element is closed in order, and collects what a reader needs."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.undescribed_drawings = 0
        self.sources: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("h1", "h2", "h3"):
            self.headings.append(tag)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if tag == "a":
            self.links.append(str(given["href"]))
        if tag == "svg" and not (given.get("aria-label") or given.get("aria-hidden")):
            self.undescribed_drawings += 1
        self.sources += [str(given[key]) for key in ("src", "href") if given.get(key)]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def outline(path: Path) -> Outline:
    parsed = Outline()
    parsed.feed(path.read_text("utf-8"))
    assert parsed.open == []
    return parsed


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"))


def test_the_report_is_one_well_formed_file_without_network(run_dir: Path) -> None:
    path = write_report(run_dir)
    assert path == run_dir / REPORT_NAME
    parsed = outline(path)
    assert parsed.headings[0] == "h1"
    assert parsed.headings.count("h2") == 10
    assert parsed.undescribed_drawings == 0
    assert len(set(parsed.ids)) == len(parsed.ids)
    for link in parsed.links:
        assert link[1:] in parsed.ids
    assert all(source.startswith(("#", "data:")) for source in parsed.sources)
    text = path.read_text("utf-8")
    assert "http" not in text.replace("http://www.w3.org", "")
    assert re.search(r"\b(nan|inf|None)\b", text) is None


def test_only_a_simulated_cell_is_called_simulated(run_dir: Path, tmp_path: Path) -> None:
    words = "Figures of the simulated cell are assumed."
    assert words in write_report(run_dir).read_text("utf-8")
    real = make_run(tmp_path / "run", base_cycles=2, simulated=False)
    text = write_report(real).read_text("utf-8")
    assert words not in text
    assert "simulated" not in text.lower()
    assert "never verified on a physical instrument" in text


def test_prior_dominated_parts_are_hatched_and_named(run_dir: Path) -> None:
    text = write_report(run_dir).read_text("utf-8")
    section = text[text.index('id="inventory"') : text.index('id="treatments"')]
    cycles = read_facts(run_dir).cycles
    measured = sum(one.lithium_lost_label is Label.MEASURED for one in cycles)
    # one more of each in the legend; every one of them carries a hatch of its own
    inactive, sei, bound = (
        section.count(f'class="li-{word}"') for word in ("inactive", "sei", "lost")
    )
    assert inactive == sei == measured + 1
    assert bound == len(cycles) - measured + 1
    assert section.count('class="hatch"') == inactive + sei + bound
    assert "prior-dominated" in section
    assert 'class="lost-bound" d="M1 8H17"' in section


def test_the_summary_has_the_agreed_keys_and_figures(run_dir: Path) -> None:
    found = summary(run_dir)
    assert list(found) == [
        "schema",
        "run_dir",
        "cycles",
        "decisions",
        "treatments",
        "spectra",
        "diagnosis",
        "lab_hours",
        "final_capacity_mAh",
        "stopped_because",
    ]
    facts = read_facts(run_dir)
    assert found["schema"] == 1
    assert found["cycles"] == 50
    assert found["stopped_because"] == "completed"
    assert found["final_capacity_mAh"] == pytest.approx(facts.base[-1].discharge_Ah * 1e3)
    assert [d["cycle"] for d in found["decisions"]] == [d.cycle for d in facts.decisions]
    assert set(found["decisions"][0]) == {"cycle", "protocol", "reason"}
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_the_report_and_the_summary_say_how_the_cell_fares(run_dir: Path, tmp_path: Path) -> None:
    found = summary(run_dir)["diagnosis"]
    facts = read_facts(run_dir)
    assert facts.diagnosis is not None
    assert found["mode"] == facts.diagnosis.mode.value
    assert sum(found["probabilities"].values()) == pytest.approx(1.0, abs=1e-3)
    assert found["evidence"] == list(facts.diagnosis.evidence)
    text = write_report(run_dir).read_text("utf-8")
    section = text[text.index('id="diagnosis"') : text.index('id="inventory"')]
    assert f"<strong>{found['mode']}" in section
    assert "never checked on a measured anode-free cell" in section
    early = make_run(tmp_path / "run", base_cycles=2)
    assert summary(early)["diagnosis"]["mode"] == "cannot tell"
    assert "a trend needs 6" in summary(early)["diagnosis"]["evidence"][0]


def test_what_a_treatment_gave_back_is_null_with_a_reason_until_contrasts_suffice(
    run_dir: Path,
) -> None:
    strip, rest = summary(run_dir)["treatments"]
    assert strip["protocol"] == "short-strip"
    assert strip["recovered_mAh"] == pytest.approx(GAIN_MAH, abs=4 * strip["u_mAh"])
    assert 0.0 < strip["u_mAh"] < 0.2 * GAIN_MAH
    assert "reason" not in strip
    assert rest["recovered_mAh"] is None
    assert rest["u_mAh"] is None
    assert "5 of each are needed" in rest["reason"]
    assert rest["count"] == sum(
        d.protocol == "discharged-rest" for d in read_facts(run_dir).decisions
    )


def test_the_summary_is_printed_for_a_person(run_dir: Path) -> None:
    console = Console(record=True, width=160, force_terminal=False, file=io.StringIO())
    print_summary(summary(run_dir), run_dir, console)
    text = console.export_text()
    for words in (
        "50 base",
        "pp per 100 cycles",
        "short-strip",
        "not known: ",
        "run.sqlite",
        "assumed",
    ):
        assert words in text


def test_effects_further_on_and_by_forecast_are_told_with_their_source(run_dir: Path) -> None:
    for one in read_facts(run_dir).treatments:
        told = [(effect.source.value, effect.horizon) for effect in one.further]
        contrasts, forecasts = "randomised contrasts", "untreated forecast"
        assert told == [
            (contrasts, 5),
            (contrasts, 20),
            (forecasts, 1),
            (forecasts, 5),
            (forecasts, 20),
        ]
        assert all(effect.reason for effect in one.further)
    page = write_report(run_dir).read_text(encoding="utf-8")
    given_back, trend = page.index("Further on"), page.index("Against the cell")
    assert given_back < trend
    assert "not randomised" in page[trend:]
    assert "this is no claim of recovery" in page[trend:]
    assert "Given back per application" not in page[trend:]


@pytest.mark.parametrize("close", ["stopped by Ctrl-C", None])
def test_runs_without_a_closed_cycle_are_reported(tmp_path: Path, close: str | None) -> None:
    run = make_run(tmp_path, base_cycles=0, close=close)
    parsed = outline(write_report(run))
    assert parsed.headings.count("h2") == 10
    found = summary(run)
    assert found["cycles"] == 0
    assert found["final_capacity_mAh"] is None
    assert found["stopped_because"] == close
    print_summary(found, run, Console(quiet=True))


def test_a_run_killed_before_its_first_checkpoint_is_reported(tmp_path: Path) -> None:
    header = {
        "configuration": "not = [toml",
        "program_version": "0",
        "seed": None,
        "utc_s": EPOCH_S,
    }
    journal = Journal.create(tmp_path, header)
    journal.commit()
    outline(write_report(tmp_path))
    found = summary(tmp_path)
    assert found["lab_hours"] == 0.0
    assert found["treatments"] == []
    assert found["stopped_because"] is None


def test_one_cycle_with_nothing_known_is_reported(tmp_path: Path) -> None:
    header = {"configuration": "", "program_version": "0", "seed": 1, "utc_s": EPOCH_S}
    journal = Journal.create(tmp_path, header)
    one = figures(1, CycleKind.BASE, np.random.default_rng(0), math.nan, 0.0)
    blank = dict.fromkeys(
        ("u_net_charge_Ah", "resistance_Ohm", "u_lithium_lost_Ah", "mean_temperature_K"), math.nan
    )
    values = {name: getattr(one, name) for name in type(one).__slots__}
    journal.cycle(
        type(one)(
            **{
                **values,
                **blank,
                "coulombic_efficiency": None,
                "u_coulombic_efficiency": None,
                "lithium_lost_label": Label.UNKNOWN,
            }
        )
    )
    journal.close("fault", utc_s=EPOCH_S)
    text = write_report(tmp_path).read_text("utf-8")
    outline(tmp_path / REPORT_NAME)
    assert "No resistance has been measured yet." in text
    assert "No estimate of the lithium lost yet." in text
    assert re.search(r"\bnan\b", text) is None


@pytest.mark.parametrize("told", [True, False])
def test_the_decay_of_a_charged_rest_stands_beside_the_inventory(
    tmp_path: Path, told: bool
) -> None:
    journal = Journal.create(
        tmp_path, {"configuration": "", "program_version": "0", "seed": 1, "utc_s": EPOCH_S}
    )
    for cycle in (1, 2, 3):
        one = figures(cycle, CycleKind.BASE, np.random.default_rng(0), 5e-5, 0.0)
        if told and cycle == 2:
            one = replace(one, self_discharge_A=2.4e-6, u_self_discharge_A=6e-7)
        journal.cycle(one)
    journal.close("done", utc_s=EPOCH_S)
    text = write_report(tmp_path).read_text("utf-8")
    words = "In the charged rest of cycle 2 the voltage fell as with 2.40 ± 0.60 µA"
    assert (words in text) is told
    assert ("charged rest" in text) is told


def test_a_symmetric_cell_has_no_efficiency_and_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path, base_cycles=3, cell_format="li-li")
    assert "has no Coulombic efficiency" in write_report(run).read_text("utf-8")


def test_a_missing_sensor_is_a_dash(tmp_path: Path) -> None:
    run = make_run(tmp_path, base_cycles=1, temperature=False)
    assert "its limits were not enforced" in write_report(run).read_text("utf-8")


def test_names_from_the_run_file_cannot_write_html(tmp_path: Path) -> None:
    text = "[cell]\nname = '<script>alert(1)</script>'\n[schedule]\nprotocols = ['<b>']\n"
    journal = Journal.create(
        tmp_path, {"configuration": text, "program_version": "0", "seed": 1, "utc_s": EPOCH_S}
    )
    decision = Decision(
        cycle=1,
        protocol=None,
        candidate=None,
        opportunity=False,
        withheld=False,
        probability=math.nan,
        reason="<i>x</i>",
    )
    journal.decision(decision)
    journal.close("completed", utc_s=EPOCH_S)
    html = write_report(tmp_path).read_text("utf-8")
    assert "<script" not in html
    assert "<b>" not in html
    assert "<i>" not in html


def test_a_directory_without_a_journal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"run\.sqlite"):
        write_report(tmp_path)
    with pytest.raises(RunDirectoryError, match=r"run\.sqlite"):
        summary(tmp_path)


def test_at_most_twelve_treatments_are_drawn_and_controls_are_among_them(run_dir: Path) -> None:
    facts = read_facts(run_dir)
    with JournalReader(run_dir) as reader:
        windows, total = treatment_windows(reader, facts)
    assert total > WINDOWS
    assert len(windows) == WINDOWS
    assert {one.treated for one in windows} == {True, False}
    assert [one.cycle for one in windows] == sorted(one.cycle for one in windows)
    strip = next(one for one in windows if one.protocol == "short-strip" and one.treated)
    inside = (strip.t_s > 0.0) & (strip.t_s < strip.duration_s)
    assert strip.duration_s == pytest.approx(70.0)
    np.testing.assert_allclose(strip.current_A[inside], -4.6e-3)
    assert strip.t_s[0] < 0.0 < strip.duration_s < strip.t_s[-1]


def test_a_treatment_just_after_a_resume_is_drawn_in_its_own_time(tmp_path: Path) -> None:
    run = make_run(tmp_path, base_cycles=3, close=None)
    resume_run(run, at_cycle=7)
    facts = read_facts(run)
    with JournalReader(run) as reader:
        (window,), _ = treatment_windows(reader, facts)
    assert np.all(np.diff(window.t_s) >= 0.0)
    assert window.duration_s == pytest.approx(70.0)
    # the hour between the sessions is longer than what is shown around a treatment
    assert window.t_s[0] == pytest.approx(-15.0)
    text = write_report(run).read_text("utf-8")
    assert "no end noted" in text
    assert "stopped by Ctrl-C" in text
    assert summary(run)["stopped_because"] == "stopped by Ctrl-C"


def test_a_report_is_made_while_the_run_is_being_written(tmp_path: Path) -> None:
    run = make_run(tmp_path, base_cycles=2, close=None)
    journal = Journal.open(run, utc_s=EPOCH_S, batch=200)
    try:
        outline(write_report(run))
        assert summary(run)["stopped_because"] is None
    finally:
        journal.close("completed", utc_s=EPOCH_S)


def test_charge_that_a_control_moves_is_no_capacity() -> None:
    one = figures(20, CycleKind.BASE, np.random.default_rng(0), 0.1, 0.0)
    values = {name: getattr(one, name) for name in type(one).__slots__}
    moved = {"discharge_Ah": one.discharge_Ah + 1.5e-3, "charge_Ah": one.charge_Ah + 1.5e-3}
    control = type(one)(**{**values, **moved})
    assert capacity_Ah(control) == pytest.approx(one.discharge_Ah, rel=1e-12)
    # a fast strip takes its part of the discharge, which is still the cell's capacity
    strip = type(one)(**{**values, "base_discharge_Ah": one.discharge_Ah - 9e-5})
    assert capacity_Ah(strip) == one.discharge_Ah
    # a reference test is diagnostic charge altogether
    test = {"kind": CycleKind.REFERENCE, "base_charge_Ah": 0.0, "base_discharge_Ah": 0.0}
    assert capacity_Ah(type(one)(**{**values, **test})) == one.discharge_Ah


def test_the_trend_leaves_out_treated_and_disturbed_cycles(run_dir: Path) -> None:
    facts = read_facts(run_dir)
    trend = efficiency_trend(facts)
    assert trend is not None
    assert trend.count == 10
    # the run's efficiency without treatment: 0.9955 less 1e-5 a cycle
    middle = 0.9955 - 1e-5 * 45
    assert trend.mean == pytest.approx(middle, abs=4 * trend.u_mean)
    assert trend.slope == pytest.approx(-1e-5, abs=4 * trend.u_slope)
    assert trend.u_mean >= 0.00025


def test_a_cycle_after_a_reference_test_is_no_part_of_the_trend(tmp_path: Path) -> None:
    header = {"configuration": "", "program_version": "0", "seed": 1, "utc_s": EPOCH_S}
    journal = Journal.create(tmp_path, header)
    rng = np.random.default_rng(0)
    kinds = [CycleKind.REFERENCE, *[CycleKind.BASE] * 8, CycleKind.REFERENCE, CycleKind.BASE]
    for cycle, kind in enumerate(kinds, start=1):
        one = figures(cycle, kind, rng, 0.1, 0.0)
        if kind is CycleKind.BASE and kinds[cycle - 2] is CycleKind.REFERENCE:
            values = {name: getattr(one, name) for name in type(one).__slots__}
            one = type(one)(**{**values, "coulombic_efficiency": 0.957})
        journal.cycle(one)
    journal.close("completed", utc_s=EPOCH_S)
    trend = efficiency_trend(read_facts(tmp_path))
    assert trend is not None
    assert trend.count == 7
    assert trend.mean == pytest.approx(0.9955, abs=0.001)


def test_while_efficiency_drifts_there_is_no_trend(tmp_path: Path) -> None:
    run = make_run(tmp_path, base_cycles=4)
    assert efficiency_trend(read_facts(run)) is None


def test_like_decisions_in_a_row_are_joined_and_opportunities_are_not(run_dir: Path) -> None:
    decisions = read_facts(run_dir).decisions
    grouped = grouped_decisions(decisions)
    assert grouped[0][0] == "cycles 4-8"
    assert sum(one.opportunity for _, one in grouped) == sum(one.opportunity for one in decisions)
    assert len(grouped) < len(decisions)


def test_the_lowest_and_highest_reading_survive_reduction() -> None:
    t = np.arange(100_000, dtype=np.float64)
    y = np.sin(t / 9000.0)
    y[54_321] = 5.0
    y[1_234] = -5.0
    y[77] = math.nan
    xs, ys = decimate(t, y, 200)
    assert xs.size <= 402
    assert ys.max() == 5.0
    assert ys.min() == -5.0
    assert np.all(np.diff(xs) > 0)
    assert xs[-1] == t[-1]


def test_few_points_are_kept_as_they_are() -> None:
    t = np.arange(10.0)
    xs, ys = decimate(t, t * t, 200)
    np.testing.assert_array_equal(xs, t)
    np.testing.assert_array_equal(ys, t * t)


def test_an_outlier_does_not_flatten_the_axis() -> None:
    values = [0.996 + 0.0001 * (index % 5) for index in range(40)]
    low, high = robust_range([0.88, *values], [0.0001] * 41)
    assert 0.99 < low < 0.996
    assert 0.9964 < high < 1.0


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf, math.nan]])
def test_an_axis_without_values_is_still_an_axis(values: list[float]) -> None:
    low, high = robust_range(values)
    assert high > low


@pytest.mark.parametrize(
    ("low", "high"), [(0.0, 1.0), (2.1, 2.7), (-1e-6, 3e-6), (0.0, 55.0), (1e5, 2e5)]
)
def test_ticks_are_round_inside_and_told_apart(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 3 <= len(found) <= 8
    assert all(low - 1e-9 * high <= tick <= high * (1 + 1e-9) for tick in found)
    words = tick_words(found)
    assert len(set(words)) == len(words)


@pytest.mark.parametrize(
    ("value", "u", "words"),
    [
        (0.99532, 0.00012, "0.99532 ± 0.00012"),
        (-12.34, 1.5, "\N{MINUS SIGN}12.3 ± 1.5"),
        (123.4, 15.0, "123 ± 15"),
        (math.nan, 0.1, "-"),
        (None, 0.1, "-"),
        (1.0, math.nan, "1.0000"),
        (-0.00001, 0.5, "0.00 ± 0.50"),
    ],
)
def test_an_uncertainty_decides_the_digits(value: float | None, u: float, words: str) -> None:
    assert with_u(value, u) == words


def test_a_missing_number_is_a_dash() -> None:
    assert number(None) == "-"
    assert number(math.inf) == "-"


def test_a_long_run_is_reported_quickly_and_small(tmp_path: Path) -> None:
    run = make_run(tmp_path, readings_per_step=600)
    begin = time.perf_counter()
    path = write_report(run)
    took_s = time.perf_counter() - begin
    assert read_facts(run).sample_count > 60_000
    assert path.stat().st_size < 2_000_000
    assert took_s < 4.0


# --- impedance spectra ----------------------------------------------------------------------------


def spectrum_facts(cycle: int, scale: float) -> SpectrumFacts:
    return SpectrumFacts(
        cycle=cycle,
        frequency_Hz=(0.2, 0.05, 0.01),
        real_Ohm=(20.0 * scale, 21.0 * scale, 26.0 * scale),
        imaginary_Ohm=(-1.0, -3.0, -9.0),
        u_Ohm=(0.1, 0.05, 0.02),
        verdict="valid",
        verdict_reason="residuals of 0.04 %",
        circuit="R0-p(R1,C1)",
        parameters=(
            ("R0", "Ohm", 19.0, 0.1, True),
            ("R1", "Ohm", 20.0, 5.0, True),
            ("C1", "F", 1.0, math.nan, False),
        ),
        remarks=("the cell changed <meanwhile>",),
    )


def test_spectra_are_drawn_with_one_ohm_as_long_on_both_axes(run_dir: Path) -> None:
    spectra = (*(spectrum_facts(c, 1.0 + 0.01 * c) for c in (3, 9, 15)), missing(21))
    facts = replace(read_facts(run_dir), spectra=spectra)
    chart = spectrum_chart(facts)
    assert chart is not None
    marks = [
        (float(x), float(y))
        for x, y in re.findall(
            r'<circle class="dot end-anode" cx="([\d.]+)" cy="([\d.]+)"', chart.svg
        )
    ]
    first = spectra[0]
    across = (marks[2][0] - marks[0][0]) / (first.real_Ohm[2] - first.real_Ohm[0])
    along = (marks[2][1] - marks[0][1]) / (first.imaginary_Ohm[2] - first.imaginary_Ohm[0])
    assert across == pytest.approx(along, rel=0.01)
    assert chart.svg.count("<circle") == 9
    assert chart.svg.count('class="joined"') == 3
    assert [words for _, words in chart.legend] == ["first", "in between", "last"]
    assert "(cycle 3)" in chart.caption
    assert "(cycle 15)" in chart.caption


def missing(cycle: int) -> SpectrumFacts:
    return SpectrumFacts(cycle=cycle, missing="interrupted")


def test_the_table_of_spectra_tells_what_is_missing_and_what_is_not_identified(
    run_dir: Path,
) -> None:
    facts = replace(read_facts(run_dir), spectra=(spectrum_facts(3, 1.0), missing(9)))
    said = page(facts, (), 0)
    section = said[said.index('<section id="spectra"') :]
    section = section[: section.index("</section>")]
    assert "none: interrupted" in section
    assert "C1 not identified" in section
    assert "R0 19.00 ± 0.10 Ω" in section
    assert "changed &lt;meanwhile&gt;" in section
    first, second = summary_of(facts)["spectra"]
    assert second == {"cycle": 9, "reason": "interrupted"}
    assert first["parameters"][2] == {
        "name": "C1", "unit": "F", "value": 1.0, "u": None, "identified": False,
    }  # fmt: skip
    assert json.loads(json.dumps(first, allow_nan=False)) == first


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"remarks": ["the cell did not answer linearly (3.0% of the answer)"]}, "(3.0% of the"),
        ({}, "the cell did not answer linearly"),  # as journals had it before
    ],
)
def test_a_spectrum_that_was_not_linear_says_so(
    run_dir: Path, tmp_path: Path, more: dict[str, list[str]], said: str
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run_dir, copy)
    data = {
        "cycle": 3,
        "frequency_Hz": [0.1],
        "real_Ohm": [20.0],
        "imaginary_Ohm": [-1.0],
        "u_Ohm": [0.1],
        "distorted": True,
        "drifted": False,
        "left_out": ["0.01 Hz: 2 times its noise, 5 are needed"],
        "kramers_kronig": None,
        "kramers_kronig_reason": "too few",
        "circuit": None,
        "parameters": [],
        "units": [],
        "values": [],
        "u_values": [],
        "not_identified": [],
        **more,
    }
    with sqlite3.connect(copy / "run.sqlite") as connection:
        connection.execute(
            "INSERT INTO events (t_s, sequence, kind, message, data) VALUES (1, 1, 'spectrum', '', ?)",
            (json.dumps(data),),
        )
    connection.close()
    facts = read_facts(copy)
    [told] = summary_of(facts)["spectra"]
    assert said in told["remarks"][-1]
    assert told["remarks"][0].startswith("left out 0.01 Hz")
    assert said in page(facts, (), 0)


def test_a_run_that_asks_for_no_spectrum_has_no_section(run_dir: Path) -> None:
    facts = read_facts(run_dir)
    assert 'id="spectra"' not in page(facts, (), 0)
    asked = replace(facts, configuration={**facts.configuration, "spectrum": {"lowest_Hz": 0.01}})
    assert "No spectrum has been measured yet." in page(asked, (), 0)
