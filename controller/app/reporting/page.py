"""The page: headline, charts, tables and where every figure comes from, in one file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib import resources
from typing import Final

from controller.app.absent import or_nan
from controller.app.reporting import charts
from controller.app.reporting.charts import Chart
from controller.app.reporting.facts import (
    RunFacts,
    SpectrumFacts,
    TreatmentFacts,
    Window,
    capacity_Ah,
    diagnosis_words,
    efficiency_trend,
    opportunity_cycles,
    trend_words,
)
from controller.app.reporting.words import K_95, decimals_for, known, number, plural, safe, with_u
from controller.domain.cell import ZERO_CELSIUS_K, CellFormat
from controller.domain.events import Event, EventKind
from controller.domain.figures import CycleFigures, CycleKind
from controller.domain.units import SECONDS_PER_HOUR
from controller.policy.horizons import HorizonEffect, Source
from controller.policy.learning import Effect

ASSUMED_FIGURES: Final = "Figures of the simulated cell are assumed."
# Rows shown of the table of events; more stay in the journal.
EVENT_ROWS: Final = 400
# A mode less probable than this is not listed.
LEAST_SHOWN: Final = 0.01
SHOWN_EVENTS: Final = frozenset(
    {
        EventKind.VERDICT,
        EventKind.UNOBSERVED,
        EventKind.EXPOSURE,
        EventKind.OPERATOR,
        EventKind.INSTRUMENT,
        EventKind.RUN,
        EventKind.TREATMENT,
        EventKind.INVALID_TRANSITION,
        EventKind.BAD_SAMPLE,
        EventKind.SPECTRUM,
    }
)
NO_CE: Final[dict[CellFormat, str]] = {
    CellFormat.LI_LI: "A symmetric Li||Li cell has no Coulombic efficiency.",
}
# What the figures of a format mean, beside its figures.
FORMAT_WORDS: Final[dict[CellFormat, str]] = {
    CellFormat.EXCESS_LITHIUM: (
        "Lithium in excess: Coulombic efficiency and net charge are the cathode's and show no"
        " lithium lost before the foil runs out."
    ),
    CellFormat.LI_CU: (
        "Charge is lithium plated on Cu, discharge lithium stripped from it; Coulombic efficiency"
        " is strip / plate. The lithium foil is the positive terminal, so the voltage is that of"
        " lithium less that of Cu: stripping reads negative, Cu at 1 V vs Li as \N{MINUS SIGN}1 V."
    ),
    CellFormat.LI_LI: (
        "Charge plates on the negative foil and oxidises the positive one, discharge the other way"
        " round. Half cycles end at a given charge: what was moved is no capacity."
    ),
}


def page(facts: RunFacts, windows: Sequence[Window], window_total: int) -> str:
    """Return the whole report as HTML."""
    style = resources.files("controller.app.reporting").joinpath("style.css").read_text("utf-8")
    name = safe(facts.cell_name)
    sections = (
        ("figures", "Headline figures", _headline(facts)),
        ("cycles", "Capacity, efficiency and net charge", _cycle_charts(facts)),
        (
            "resistance",
            "Resistance",
            _chart(
                charts.resistance_chart(facts) if facts.cycles else None,
                "No resistance has been measured yet.",
            ),
        ),
        ("diagnosis", "How the cell fares", _diagnosis(facts)),
        *_spectra(facts),
        (
            "inventory",
            "Lithium inventory",
            _chart(charts.inventory_chart(facts) if facts.cycles else None, _no_inventory(facts)),
        ),
        (
            "treatments",
            "Voltage and current around each treatment",
            _chart(
                charts.treatment_chart(windows, window_total, facts),
                "No treatment or control has run.",
            ),
        ),
        ("decisions", "Decisions and their reasons", _decisions(facts)),
        ("table", "Cycles", _cycle_table(facts)),
        ("events", "Events", _event_table(facts)),
        ("provenance", "Where the figures come from", _provenance(facts)),
    )
    links = "".join(f'<a href="#{key}">{safe(title)}</a>' for key, title, _ in sections)
    body = "".join(
        f'<section id="{key}" aria-labelledby="h-{key}"><h2 id="h-{key}">{safe(title)}</h2>'
        f"{content}</section>"
        for key, title, content in sections
    )
    notice = (
        f'<p class="notice" role="note"><strong>Simulated cell.</strong> {ASSUMED_FIGURES}'
        " Nothing here was measured on a physical cell.</p>"
        if facts.simulated
        else ""
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<link rel="icon" href="data:,"><title>{name}: report of the run</title>'
        f"<style>{style}</style></head><body>"
        '<svg class="hidden" aria-hidden="true"><defs><pattern id="hatch" width="6" height="6"'
        ' patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<path class="hatch-line" d="M0 0V6"/></pattern></defs></svg>'
        f'<header><h1>{name}</h1><p class="sub">{_subtitle(facts)}</p>{_meaning(facts)}{notice}'
        f'<nav aria-label="Sections">{links}</nav></header><main>{body}</main>'
        f"<footer>{_footer(facts)}</footer></body></html>\n"
    )


def _subtitle(facts: RunFacts) -> str:
    cell = facts.table("cell")
    parts = [facts.cell_format.value if facts.cell_format else "cell format not stated"]
    if cell.get("cathode") not in {None, "", "none", "li"}:  # a foil is in the format's name
        parts.append(f"cathode {cell['cathode']}")
    if known(facts.area_cm2):
        parts.append(f"{facts.area_cm2:g} cm²")
    if cell.get("nominal_capacity_mAh"):
        parts.append(f"{cell['nominal_capacity_mAh']:g} mAh nominal")
    if cell.get("electrolyte"):
        parts.append(str(cell["electrolyte"]))
    return safe(" · ".join(parts))


def _meaning(facts: RunFacts) -> str:
    words = FORMAT_WORDS.get(facts.cell_format) if facts.cell_format else None
    return f'<p class="sub">{safe(words)}</p>' if words else ""


# --- headline -------------------------------------------------------------------------------------


def _headline(facts: RunFacts) -> str:
    cards = [
        ("Base cycles", *_count_words(facts)),
        (
            "Charge moved" if facts.cell_format is CellFormat.LI_LI else "Discharge capacity",
            *_capacity_words(facts),
        ),
        ("Coulombic efficiency", *_efficiency_words(facts)),
        (
            "Laboratory time",
            f"{facts.hours:.1f} h",
            f"{facts.sample_count:,} readings, {plural(len(facts.sessions), 'session')}",
        ),
        (
            "Stopped because",
            facts.stopped_because or "not stopped",
            "" if facts.stopped_because else "it still runs, or its process ended without a word",
        ),
    ]
    items = "".join(
        f'<li><span class="name">{safe(name)}</span><span class="value">{safe(value)}</span>'
        f'<span class="more">{safe(more)}</span></li>'
        for name, value, more in cards
    )
    return f'<ul class="cards">{items}</ul>{_treatment_table(facts.treatments)}'


def _count_words(facts: RunFacts) -> tuple[str, str]:
    counts = {kind: sum(one.kind is kind for one in facts.cycles) for kind in CycleKind}
    planned = facts.header.get("cycles") or facts.table("cycling").get("cycles")
    value = str(counts[CycleKind.BASE])
    more = f"and {counts[CycleKind.FORMATION]} formation, {counts[CycleKind.REFERENCE]} reference"
    return value, more + (f"; {planned} planned" if isinstance(planned, int) else "")


def _capacity_words(facts: RunFacts) -> tuple[str, str]:
    cycles = facts.base or list(facts.cycles)
    if not cycles:
        return "-", "no cycle closed yet"
    first, last = (capacity_Ah(one) * 1e3 for one in (cycles[0], cycles[-1]))
    more = f"first and last base cycle, {cycles[0].cycle} and {cycles[-1].cycle}"
    if known(facts.area_cm2):
        more += (
            f"; {number(first / facts.area_cm2, 3)} → {number(last / facts.area_cm2, 3)} mAh/cm²"
        )
    return f"{number(first, 3)} → {number(last, 3)} mAh", more


def _efficiency_words(facts: RunFacts) -> tuple[str, str]:
    if facts.cell_format in NO_CE:
        return "none", NO_CE[facts.cell_format]
    trend = efficiency_trend(facts)
    if trend is None:
        return "-", trend_words(None)
    more = (
        f"mean of the last {trend.count} base cycles without treatment or control, standard"
        f" uncertainty; {trend_words(trend)}"
    )
    if facts.cell_format is CellFormat.EXCESS_LITHIUM:
        more += "; it is the cathode's, not lithium's"
    return with_u(trend.mean * 100.0, trend.u_mean * 100.0, "%"), more


def _treatment_table(treatments: Sequence[TreatmentFacts]) -> str:
    if not treatments:
        return '<p class="empty">No treatment protocols were scheduled.</p>'
    rows = [
        (
            safe(one.protocol),
            str(one.count) + (f" ({one.abandoned} abandoned)" if one.abandoned else ""),
            _span_words(one.cycles),
            f"{one.effect.treated} / {one.effect.withheld}",
            _recovered_words(one.effect),
        )
        for one in treatments
    ]
    return (
        "<h3>What each protocol was used for and what it gave back</h3>"
        + _table(
            (
                "Protocol",
                "Times run",
                "In cycles",
                "Treated / withheld that count",
                "Given back per application",
            ),
            rows,
            numeric=(1, 3),
            label="Treatments",
        )
        + f"<p>{GIVEN_BACK_WORDS}</p>"
        + _further_table(treatments)
    )


def _further_table(treatments: Sequence[TreatmentFacts]) -> str:
    """Return what is said at longer horizons, and apart from it by forecast."""
    return _effects_table(
        treatments, Source.CONTRAST, "Further on", "Given back per application"
    ) + _effects_table(
        treatments,
        Source.FORECAST,
        "Against the cell's own trend: not randomised, and nothing is decided on it",
        "More than its trend foretold",
    )


def _effects_table(
    treatments: Sequence[TreatmentFacts], source: Source, heading: str, column: str
) -> str:
    rows = [
        (
            safe(one.protocol),
            str(effect.horizon),
            f"{effect.treated} / {effect.withheld}",
            _recovered_words(effect),
        )
        for one in treatments
        for effect in one.further
        if effect.source is source
    ]
    if not rows:
        return ""
    words = ""
    if source is Source.FORECAST:
        words = f"<p>{FORECAST_WORDS}</p>"
    return (
        f"<h3>{safe(heading)}</h3>"
        + _table(
            ("Protocol", "Cycles on", "Treated / withheld that count", column),
            rows,
            numeric=(1, 2),
            label=heading,
        )
        + words
    )


def _recovered_words(effect: Effect | HorizonEffect) -> str:
    if effect.recovered_Ah is None or effect.u_recovered_Ah is None:
        return f"not known: {safe(effect.reason)}"
    value, u = effect.recovered_Ah * 1e3, effect.u_recovered_Ah * 1e3
    low, high = value - K_95 * u, value + K_95 * u
    digits = decimals_for(u)
    words = with_u(value, u, "mAh")
    randomised = not (isinstance(effect, HorizonEffect) and effect.source is Source.FORECAST)
    if randomised:
        words = f"<strong>{words}</strong>"
    words += f" (95 %: {number(low, digits)} to {number(high, digits)})"
    if not randomised:
        return words
    return words + (
        "" if low > 0.0 or high < 0.0 else "; zero is within it, so no recovery is claimed"
    )


def _span_words(cycles: Sequence[int]) -> str:
    if not cycles:
        return "-"
    shown = ", ".join(map(str, cycles[:12]))
    return shown + (f" … {cycles[-1]}" if len(cycles) > 12 else "")


# --- charts ---------------------------------------------------------------------------------------


def _chart(chart: Chart | None, otherwise: str) -> str:
    if chart is None:
        return f'<p class="empty">{safe(otherwise)}</p>'
    return (
        f"<figure>{_legend(chart.legend)}"
        f'<div class="scroll-x">{chart.svg}</div>'
        f"<figcaption>{safe(chart.caption)}</figcaption></figure>"
    )


def _legend(swatches: Sequence[tuple[str, str]]) -> str:
    if not swatches:
        return ""
    items = "".join(
        f'<li><svg viewBox="0 0 18 16" aria-hidden="true">{swatch}</svg>{safe(words)}</li>'
        for swatch, words in swatches
    )
    return f'<ul class="legend" aria-label="Legend">{items}</ul>'


def _cycle_charts(facts: RunFacts) -> str:
    if not facts.cycles:
        return '<p class="empty">No cycle has been closed yet.</p>'
    without = NO_CE.get(facts.cell_format) if facts.cell_format else None
    return (
        _legend(charts.cycle_legend(facts))
        + "<h3>Discharge capacity</h3>"
        + _chart(charts.capacity_chart(facts), "")
        + "<h3>Coulombic efficiency</h3>"
        + _chart(
            charts.efficiency_chart(facts), without or "No cycle gives a Coulombic efficiency."
        )
        + "<h3>Net charge</h3>"
        + _chart(charts.net_charge_chart(facts), "")
    )


def _diagnosis(facts: RunFacts) -> str:
    """Return the modes of failure with their probabilities and what decided."""
    found = facts.diagnosis
    if found is None:
        return '<p class="empty">The journal names no cell format or nominal capacity.</p>'
    modes = sorted(found.probabilities.items(), key=lambda one: -one[1])
    rows = [(safe(mode.value), number(one, 2)) for mode, one in modes if one >= LEAST_SHOWN]
    return (
        f"<p><strong>{safe(diagnosis_words(found))}</strong>: "
        f"{safe('; '.join(found.evidence))}.</p>"
        + _table(("Mode", "Probability"), rows, numeric=(1,), label="Modes of failure")
        + f"<p>{DIAGNOSIS_WORDS}</p>"
    )


def _spectra(facts: RunFacts) -> tuple[tuple[str, str, str], ...]:
    """Return the section of the impedance spectra, if the run measures any."""
    if not (facts.spectra or facts.table("spectrum")):
        return ()
    content = _chart(charts.spectrum_chart(facts), "No spectrum has been measured yet.")
    if facts.spectra:
        rows = [_spectrum_row(one) for one in facts.spectra]
        head = ("Cycle", "Hz", "|Z| / Ω", "Kramers-Kronig", "Circuit", "Its parameters", "Remarks")
        content += f"<p>{SPECTRUM_WORDS}</p>" + _table(head, rows, label="Impedance spectra")
    return (("spectra", "Impedance spectra", content),)


def _spectrum_row(one: SpectrumFacts) -> tuple[str, ...]:
    if one.missing:
        return str(one.cycle), "-", "-", "-", "-", "-", safe(f"none: {one.missing}")
    sizes = [math.hypot(*parts) for parts in zip(one.real_Ohm, one.imaginary_Ohm, strict=True)]
    parameters = [
        f"{name} {with_u(value, u, unit.replace('Ohm', 'Ω'))}" if told else f"{name} not identified"
        for name, unit, value, u, told in one.parameters
    ]
    return (
        str(one.cycle),
        f"{one.frequency_Hz[0]:.3g}<br>{one.frequency_Hz[-1]:.3g}",
        _whole(with_u(sizes[0], one.u_Ohm[0])) + "<br>" + _whole(with_u(sizes[-1], one.u_Ohm[-1])),
        safe(f"{one.verdict}: {one.verdict_reason}"),
        _whole(one.circuit or "-"),
        "; ".join(map(_whole, parameters)) or "-",
        safe("; ".join(one.remarks)) or "-",
    )


def _whole(words: str) -> str:
    """Return words that stay on one line."""
    return f'<span class="whole">{safe(words)}</span>'


def _no_inventory(facts: RunFacts) -> str:
    if facts.cell_format in (CellFormat.EXCESS_LITHIUM, CellFormat.LI_LI):
        return (
            "With lithium in excess, the inventory cannot be told before it is exhausted: any"
            " figure would be the prior's."
        )
    return "No estimate of the lithium lost yet."


def _decisions(facts: RunFacts) -> str:
    grouped = charts.grouped_decisions(facts.decisions)
    rows = [
        (
            safe(span),
            safe(one.protocol or (f"{one.candidate}, withheld" if one.withheld else "none")),
            number(one.probability, 2),
            safe(one.reason),
            safe("; ".join(f"{name}: {why}" for name, why in one.refused.items())) or "-",
        )
        for span, one in grouped
    ]
    chart = _chart(charts.decision_chart(facts), "Nothing has been decided yet.")
    if not rows:
        return chart
    return chart + _table(
        (
            "Decided in",
            "Treatment of the next cycle",
            "Probability of treating",
            "Reason",
            "Refused",
        ),
        rows,
        numeric=(2,),
        label="Decisions; like ones in a row are joined",
        scroll=True,
    )


# --- tables ---------------------------------------------------------------------------------------


def _table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numeric: Sequence[int] = (),
    label: str,
    scroll: bool = False,
) -> str:
    """Return a table; cells are HTML already."""

    def cells(row: Sequence[str]) -> str:
        return "".join(
            f'<td class="n">{cell}</td>' if index in numeric else f"<td>{cell}</td>"
            for index, cell in enumerate(row)
        )

    top = "".join(
        f'<th scope="col"{" class=n" if index in numeric else ""}>{safe(word)}</th>'
        for index, word in enumerate(head)
    )
    body = "".join(f"<tr>{cells(row)}</tr>" for row in rows)
    table = (
        f'<table aria-label="{safe(label)}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
    )
    if not scroll:
        return f'<div class="scroll-x">{table}</div>'
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{safe(label)}">{table}</div>'
    )


def _cycle_table(facts: RunFacts) -> str:
    if not facts.cycles:
        return '<p class="empty">No cycle has been closed yet.</p>'
    touched = opportunity_cycles(facts)

    def treatment(one: CycleFigures) -> str:
        decision = touched.get(one.cycle)
        if decision is None:
            return "-"
        return safe(f"{decision.candidate}{', withheld' if decision.withheld else ''}")

    rows = [
        (
            str(one.cycle),
            one.kind.value,
            number(one.charge_Ah * 1e3),
            number(one.discharge_Ah * 1e3),
            with_u(one.net_charge_Ah * 1e3, one.u_net_charge_Ah * 1e3),
            with_u(
                or_nan(one.coulombic_efficiency) * 100, or_nan(one.u_coulombic_efficiency) * 100
            ),
            number(or_nan(one.coulombic_efficiency_base) * 100, 3),
            one.discharge_end.value
            + (
                f" ({number(one.discharge_end_probability, 2)})"
                if one.discharge_end_probability > 0
                else ""
            ),
            with_u(one.resistance_Ohm, one.u_resistance_Ohm),
            with_u(one.lithium_lost_Ah * 1e3, one.u_lithium_lost_Ah * 1e3),
            one.lithium_lost_label.value,
            number(one.mean_temperature_K - ZERO_CELSIUS_K, 1),
            number(one.duration_s / SECONDS_PER_HOUR, 2),
            treatment(one),
            safe(", ".join(one.flags)) or "-",
        )
        for one in facts.cycles
    ]
    head = (
        "Cycle", "Kind", "Charge / mAh", "Discharge / mAh", "Net / mAh", "CE / %",
        "of base charge / %", "Discharge end", "R / Ω", "Li lost / mAh", "which is", "T / °C", "h",
        "Treatment", "Flags",
    )  # fmt: skip
    return (
        "<p>± is one standard uncertainty; CE is of all charge, beside it that of base charge,"
        " without treatments and tests; the number after a discharge end is its probability.</p>"
        '<div class="tight">'
        + _table(head, rows, numeric=(0, 2, 3, 4, 5, 6, 8, 9, 11, 12), label="Cycles", scroll=True)
        + "</div>"
    )


def _event_rows(events: Sequence[Event]) -> list[tuple[str, ...]]:
    """Return rows; bad samples in a row with one cause are one row with their count."""
    rows: list[tuple[str, ...]] = []
    run: list[Event] = []

    def close() -> None:
        if run:
            first = run[0]
            more = (
                f" (and {len(run) - 1} more up to reading {run[-1].sequence})"
                if len(run) > 1
                else ""
            )
            rows.append(_event_row(first, more))
            run.clear()

    for event in events:
        if event.kind not in SHOWN_EVENTS:
            continue
        alike = run and event.data.get("quality") == run[0].data.get("quality")
        if event.kind is EventKind.BAD_SAMPLE:
            if not alike:
                close()
            run.append(event)
            continue
        close()
        rows.append(_event_row(event, ""))
    close()
    return rows


def _event_row(event: Event, more: str) -> tuple[str, ...]:
    hours = number(event.t_s / SECONDS_PER_HOUR, 3)
    sequence = str(event.sequence) if event.sequence >= 0 else "-"
    return hours, sequence, safe(event.kind.value), safe(event.message + more)


def _event_table(facts: RunFacts) -> str:
    rows = _event_rows(facts.events)
    if not rows:
        return '<p class="empty">No faults, verdicts, interruptions or unobserved charge.</p>'
    left = len(rows) - EVENT_ROWS
    half = EVENT_ROWS // 2
    shown = rows if left <= 0 else [*rows[:half], *rows[-half:]]
    note = (
        f"<p>The first and last {half} of {len(rows)}; all are in the journal.</p>"
        if left > 0
        else ""
    )
    return note + _table(
        ("Host time / h", "Reading", "Kind", "What happened"),
        shown,
        numeric=(0, 1),
        label="Events",
        scroll=True,
    )


# --- provenance -----------------------------------------------------------------------------------


GIVEN_BACK_WORDS: Final = (
    "Given back: net charge of treated opportunities beyond what randomly withheld ones say they"
    " would have given untreated, anchor to anchor, one cycle ahead, ± one standard uncertainty."
    " Withheld opportunities run the protocol's control, whose own loss is part of the difference."
    " It may be negative. Opportunities after a discharge that ended at the cathode, or otherwise"
    " than the one before, do not count."
)
SPECTRUM_WORDS: Final = (
    "Measured with small currents in each reference test, in the rest before its last discharge."
    " Two lines in a row: highest and lowest frequency. ± is one standard uncertainty; a circuit's"
    " holds if the circuit does. What answers faster is not known."
)
DIAGNOSIS_WORDS: Final = (
    "From base cycles at the last ones' current, by a table that was set on modelled cells with"
    " one failure each (assumed; docs/estimation/shorts-and-diagnosis.md): never checked on a"
    " measured anode-free cell. A treatment that gives capacity back hides fading."
)
MEASURED_WORDS: Final = (
    "Charge, discharge, net charge, Coulombic efficiency, resistance and, after anode-limited"
    " discharges, lithium lost; each with its standard uncertainty from gain, offset, range and"
    " sampling (class of the data sheet, assumed)."
)
PRIOR_WORDS: Final = (
    "The split of lost lithium into inactive lithium and SEI. It repeats what was assumed before"
    " the run and is never called measured."
)
BOUND_WORDS: Final = (
    "Lithium lost as long as discharges do not end at the anode: lithium kept on the negative"
    " electrode hides the loss."
)
FORECAST_WORDS: Final = (
    "Net charge after a treatment less a line through the cell's own untreated cycles before it. A"
    " cell that looked bad when it was treated looks better after it whatever is done: this is no"
    " claim of recovery."
)
CONTRAST_WORDS: Final = (
    "From randomised contrasts only: below 5 treated and 5 withheld opportunities it is not known."
)


def _provenance(facts: RunFacts) -> str:
    header = facts.header
    started = f"started {_utc(header.get('utc_s'))}, seed {header.get('seed')}"
    cell = (
        f"{ASSUMED_FIGURES} The cell is a model; nothing of it was measured."
        if facts.simulated
        else "Readings came from the instrument named in the run file."
    )
    rows = (
        ("Cell", cell),
        ("Instrument", _instrument_words(facts)),
        ("Temperature", _temperature_words(facts)),
        ("Measured", MEASURED_WORDS),
        ("Prior-dominated", PRIOR_WORDS),
        ("A bound", BOUND_WORDS),
        ("What was given back", CONTRAST_WORDS),
        ("Run", f"{started}, program {header.get('program_version')}"),
        ("Configuration", f"SHA-256 {header.get('configuration_sha256')}"),
        ("Sessions", _session_words(facts)),
    )
    items = "".join(f"<dt>{safe(term)}</dt><dd>{safe(text)}</dd>" for term, text in rows)
    return f"<dl>{items}</dl>"


def _instrument_words(facts: RunFacts) -> str:
    driver = str(facts.table("cycler").get("driver") or "not stated")
    if facts.simulated:
        return (
            f"Emulated, byte for byte, behind the driver {driver}. That driver has never been run"
            " on a physical instrument."
        )
    if facts.table("cycler").get("accept_unverified_driver") is True:
        return (
            f"Driver {driver}, accepted by the run file although it was never verified on a"
            " physical instrument."
        )
    return f"Driver {driver}."


def _temperature_words(facts: RunFacts) -> str:
    source = facts.table("temperature").get("source")
    if source == "none":
        return "No sensor, as declared: its limits were not enforced, temperatures read -."
    if source is None:
        return "Not stated."
    return f"Sensor: {source}."


def _session_words(facts: RunFacts) -> str:
    words = [
        f"{_utc(one.started_utc_s)} from reading {one.first_sequence}:"
        f" {one.stopped_because or 'no end noted'}"
        for one in facts.sessions
    ]
    if len(words) > 8:
        words = [*words[:4], f"… {len(words) - 8} more …", *words[-4:]]
    return "; ".join(words) or "none"


def _utc(value: object) -> str:
    if not isinstance(value, int | float) or not known(float(value)):
        return "at an unknown time"
    try:
        return datetime.fromtimestamp(float(value), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return f"Unix time {value}"


def _footer(facts: RunFacts) -> str:
    return safe(
        f"Made from {facts.run_dir.name}/run.sqlite. Charging current is positive; C-rate means the"
        " nominal capacity; the light and dark appearance follows the system."
    )
