"""The report's charts. Each returns an SVG drawing, its legend and one sentence of what is seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np

from controller.app.absent import or_nan
from controller.app.reporting.facts import (
    RunFacts,
    SpectrumFacts,
    Window,
    capacity_Ah,
    opportunity_cycles,
)
from controller.app.reporting.svg import (
    BOTTOM,
    LEFT,
    RIGHT,
    Plot,
    decimate,
    drawing,
    padded,
    robust_range,
    shape_at,
)
from controller.app.reporting.words import (
    K_95,
    MINUS,
    cycle_span,
    known,
    number,
    plural,
    safe,
    with_u,
)
from controller.domain.cell import CellFormat
from controller.domain.decision import Decision
from controller.domain.figures import CycleFigures, CycleKind, DischargeEnd, Label
from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.impedance.circuits import impedance, parse

WIDTH: Final = 1040.0
SMALL_BUCKETS: Final = 220
SHAPES: Final[dict[CycleKind, str]] = {
    CycleKind.BASE: "circle",
    CycleKind.FORMATION: "square",
    CycleKind.REFERENCE: "diamond",
}
BACKGROUND: Final[dict[CycleKind, str]] = {
    CycleKind.FORMATION: "bg-formation",
    CycleKind.REFERENCE: "bg-reference",
}
END_CSS: Final[dict[DischargeEnd, str]] = {
    DischargeEnd.ANODE: "end-anode",
    DischargeEnd.CATHODE: "end-cathode",
    DischargeEnd.POLARISATION: "end-polarisation",
    DischargeEnd.UNKNOWN: "end-unknown",
}
# Efficiencies closer than this are shown as one.
SAME_CE: Final = 2e-4
# The complex plane is drawn narrower than what runs over the cycles (SVG units).
NYQUIST_WIDTH: Final = 620.0
NYQUIST_HEIGHT: Final = 340.0
NYQUIST_TOP: Final = 18.0
# Strip under each chart per cycle in which treated and withheld opportunities stand (SVG units).
STRIP: Final = 16.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A drawing with its legend (swatch, words) and caption."""

    svg: str
    legend: tuple[tuple[str, str], ...]
    caption: str


@dataclass(frozen=True, slots=True)
class Series:
    """One figure per cycle, with its standard uncertainty and unit."""

    name: str
    axis: str
    unit: str
    value: Callable[[CycleFigures], float]
    u: Callable[[CycleFigures], float]
    digits: int


CAPACITY: Final = Series(
    "discharge capacity",
    "Discharge capacity",
    "mAh",
    lambda c: capacity_Ah(c) * 1e3,
    lambda c: c.u_discharge_Ah * 1e3,
    4,
)
EFFICIENCY: Final = Series(
    "Coulombic efficiency",
    "Coulombic efficiency",
    "%",
    lambda c: or_nan(c.coulombic_efficiency) * 100.0,
    lambda c: or_nan(c.u_coulombic_efficiency) * 100.0,
    3,
)
NET_CHARGE: Final = Series(
    "net charge (discharge minus charge)",
    "Net charge",
    "mAh",
    lambda c: c.net_charge_Ah * 1e3,
    lambda c: c.u_net_charge_Ah * 1e3,
    4,
)
RESISTANCE: Final = Series(
    "step resistance",
    "Step resistance",
    "Ω",
    lambda c: c.resistance_Ohm,
    lambda c: c.u_resistance_Ohm,
    3,
)


def _x_range(facts: RunFacts) -> tuple[float, float]:
    numbers = [one.cycle for one in facts.cycles]
    return min(numbers) - 0.7, max(numbers) + 0.7


def _swatch(css: str) -> str:
    return f'<rect class="{css}" x="2" y="2" width="14" height="12"/>'


def _simulated_note(plot: Plot, facts: RunFacts) -> None:
    if facts.simulated:
        plot.add(
            f'<text class="note end" x="{plot.x.end:.1f}" y="{plot.y.end - 3:.1f}">'
            "simulated cell, figures assumed</text>"
        )


def _backgrounds(plot: Plot, facts: RunFacts) -> None:
    """Shade formation and reference cycles."""
    for kind, stretch in groupby(facts.cycles, key=lambda one: one.kind):
        numbers = [one.cycle for one in stretch]
        if kind is not CycleKind.BASE:
            plot.rectangle(numbers[0] - 0.5, numbers[-1] + 0.5, BACKGROUND[kind])


def _opportunities(plot: Plot, facts: RunFacts) -> None:
    """Mark treated and withheld opportunities along the lower edge."""
    for cycle, decision in opportunity_cycles(facts).items():
        if not plot.x.inside(cycle):
            continue
        css = "withheld" if decision.withheld else "treated"
        said = "withheld at random" if decision.withheld else "treated"
        plot.add(
            shape_at(
                "up",
                plot.x(cycle),
                plot.y.start - 7.0,
                css,
                f"cycle {cycle}: {decision.candidate} {said}",
            )
        )


def _point_title(one: CycleFigures, series: Series) -> str:
    u = series.u(one)
    value = series.value(one)
    said = (
        with_u(value, u, series.unit)
        if known(u)
        else f"{number(value, series.digits)} {series.unit}"
    )
    return (
        f"cycle {one.cycle} ({one.kind.value}): {series.name} {said}; "
        f"{one.discharge_end.value}" + (f"; {', '.join(one.flags)}" if one.flags else "")
    )


def per_cycle(
    facts: RunFacts,
    series: Series,
    *,
    zero: bool = False,
    all_kinds: bool = False,
    height: float = 290.0,
) -> tuple[Plot, int]:
    """Return a chart of one figure per cycle and how many points lie beyond its axis.

    The band and the line join base cycles without treatment or control; others stand apart.
    Dark band: one standard uncertainty; light band: 95 %. The axis is made for the base cycles, or
    with `all_kinds` for all; `zero` keeps zero on it.
    """
    scaled = list(facts.cycles) if all_kinds else facts.base or list(facts.cycles)
    y_range = robust_range(
        (series.value(one) for one in scaled), (K_95 * series.u(one) for one in scaled)
    )
    if zero:
        y_range = min(y_range[0], 0.0), max(y_range[1], 0.0)
    low, high = y_range
    # room for the strip of opportunities
    y_range = low - (high - low) * STRIP / (height - 60.0), high
    plot = Plot(
        _x_range(facts),
        y_range,
        "cycle",
        f"{series.axis} / {series.unit}",
        width=WIDTH,
        height=height,
        whole_x=True,
        top=18.0,
    )
    _backgrounds(plot, facts)
    base = [one for one in facts.cycles if one.kind is CycleKind.BASE]
    touched = opportunity_cycles(facts)
    joined = [one for one in base if one.cycle not in touched] or base
    xs = [float(one.cycle) for one in joined]
    # what lies beyond the axis has an arrow; no line leads there
    ys = [y if plot.y.inside(y) else math.nan for y in map(series.value, joined)]
    us = [series.u(one) for one in joined]
    for factor, css in ((K_95, "band-95"), (1.0, "band-u")):
        plot.band(
            xs,
            [y - factor * u for y, u in zip(ys, us, strict=True)],
            [y + factor * u for y, u in zip(ys, us, strict=True)],
            css,
        )
    if zero:
        plot.level(0.0)
    plot.line(xs, ys, "joined")
    beyond = 0
    for one in facts.cycles:
        y, u = series.value(one), series.u(one)
        if plot.y.inside(y):
            plot.whisker(one.cycle, y - K_95 * u, y + K_95 * u, "whisker")
        css = f"dot {END_CSS[one.discharge_end]}"
        beyond += not plot.mark(one.cycle, y, SHAPES[one.kind], css, _point_title(one, series))
    _opportunities(plot, facts)
    _simulated_note(plot, facts)
    return plot, beyond


def _finish(
    plot: Plot,
    beyond: int,
    sentence: str,
    legend: tuple[tuple[str, str], ...] = (),
) -> Chart:
    if beyond:
        sentence += (
            f" {plural(beyond, 'cycle')} beyond the axis"
            + (" is an arrow" if beyond == 1 else " are arrows")
            + " at its edge; see the table."
        )
    return Chart(
        svg=drawing(plot.render(), plot.width, plot.height, sentence),
        legend=legend,
        caption=sentence,
    )


def cycle_legend(facts: RunFacts) -> tuple[tuple[str, str], ...]:
    """Return the swatches that the charts per cycle of this run need."""
    kinds = {one.kind for one in facts.cycles}
    ends = {one.discharge_end for one in facts.cycles}
    found = [
        (
            (_swatch(BACKGROUND[kind]) if kind in BACKGROUND else "")
            + shape_at(SHAPES[kind], 9, 8, "dot end-unknown"),
            f"{kind.value} cycle",
        )
        for kind in CycleKind
        if kind in kinds
    ]
    found += [
        (
            shape_at("circle", 9, 8, f"dot {END_CSS[end]}", r=5),
            f"discharge {end.value}"
            if end is not DischargeEnd.UNKNOWN
            else "discharge end unknown",
        )
        for end in DischargeEnd
        if end in ends
    ]
    outcomes = {one.withheld for one in opportunity_cycles(facts).values()}
    if False in outcomes:
        found.append((shape_at("up", 9, 8, "treated"), "treated"))
    if True in outcomes:
        found.append((shape_at("up", 9, 8, "withheld"), "withheld at random (control)"))
    found.append(
        (
            _swatch("band-95") + '<rect class="band-u" x="2" y="5" width="14" height="6"/>',
            "base cycles without either; dark: ± 1 standard uncertainty, light and bars: 95 %",
        )
    )
    return tuple(found)


# --- one chart each -------------------------------------------------------------------------------


def capacity_chart(facts: RunFacts) -> Chart:
    """Return discharge capacity per cycle."""
    plot, beyond = per_cycle(facts, CAPACITY, all_kinds=True)
    return _finish(plot, beyond, capacity_sentence(facts))


def capacity_sentence(facts: RunFacts) -> str:
    """Return what the capacity did, and what ended the discharges."""
    cycles = facts.base or list(facts.cycles)
    first_Ah, last_Ah = capacity_Ah(cycles[0]), capacity_Ah(cycles[-1])
    counts = {end: sum(one.discharge_end is end for one in cycles) for end in DischargeEnd}
    most = max(counts, key=lambda end: counts[end])
    what = plural(len(cycles), "base cycle") if facts.base else plural(len(cycles), "cycle")
    if facts.cell_format is CellFormat.LI_LI:
        return (
            f"Half cycles end at a given charge: {number(last_Ah * 1e3)} mAh in the last of {what},"
            " no capacity."
        )
    if len(cycles) == 1:
        text = f"The only cycle so far gave {number(first_Ah * 1e3)} mAh on discharge"
    else:
        change = (last_Ah / first_Ah - 1.0) * 100.0 if first_Ah else math.nan
        text = (
            f"Discharge capacity went from {number(first_Ah * 1e3)} to"
            f" {number(last_Ah * 1e3)} mAh ({number(change, 1)} %) over {what}"
        )
    if most is DischargeEnd.UNKNOWN:
        return text + "; what ended the discharges could not be told for most of them."
    return text + f"; {counts[most]} of {len(cycles)} discharges were {most.value}."


def efficiency_chart(facts: RunFacts) -> Chart | None:
    """Return CE per cycle, None where no cycle gives one."""
    if not any(known(one.coulombic_efficiency) for one in facts.cycles):
        return None
    plot, beyond = per_cycle(facts, EFFICIENCY)
    hollow = False
    for one in facts.cycles:
        gross, base = or_nan(one.coulombic_efficiency), or_nan(one.coulombic_efficiency_base)
        if abs(base - gross) > SAME_CE and plot.y.inside(base * 100.0):
            hollow = True
            plot.mark(
                one.cycle,
                base * 100.0,
                "circle",
                "hollow",
                f"cycle {one.cycle}: from base charge alone {number(base * 100.0, 3)} %",
            )
    touched = opportunity_cycles(facts)
    values = [
        one.coulombic_efficiency
        for one in facts.base
        if known(one.coulombic_efficiency) and one.cycle not in touched
    ]
    if values:
        middle = float(np.median(np.array(values, dtype=np.float64))) * 100.0
        sentence = (
            f"Median CE of the base cycles without treatment or control is {number(middle, 3)} %,"
            f" between {number(min(map(or_nan, values)) * 100.0, 3)} and"
            f" {number(max(map(or_nan, values)) * 100.0, 3)} %."
        )
    else:
        sentence = "Only formation or reference cycles give a CE so far."
    cathode = sum(one.discharge_end is DischargeEnd.CATHODE for one in facts.base)
    if cathode:
        sentence += (
            f" In the {plural(cathode, 'cathode-limited cycle')} a CE near 100 % does not show that"
            " no lithium is lost."
        )
    legend = ((shape_at("circle", 9, 8, "hollow"), "from base charge alone"),) if hollow else ()
    return _finish(plot, beyond, sentence, legend)


def net_charge_chart(facts: RunFacts) -> Chart:
    """Return net charge per cycle."""
    plot, beyond = per_cycle(facts, NET_CHARGE, zero=True)
    total = math.fsum(one.net_charge_Ah for one in facts.base) * 1e3
    # gain errors are common to the cycles of one range, so uncertainties add
    u = math.fsum(one.u_net_charge_Ah for one in facts.base) * 1e3
    widened = [one.cycle for one in facts.cycles if one.unobserved_charge_Ah > 0.0]
    sentence = (
        f"Summed over the base cycles, discharge minus charge is {with_u(total, u, 'mAh')}"
        f" (standard uncertainty); {_net_words(facts)}"
        if facts.base
        else "No base cycle has been closed yet."
    )
    if widened:
        sentence += (
            f" Charge that flowed unobserved widens cycle {', '.join(map(str, widened[:8]))}."
        )
    return _finish(plot, beyond, sentence)


def _net_words(facts: RunFacts) -> str:
    if facts.cell_format in (CellFormat.EXCESS_LITHIUM, CellFormat.LI_LI):
        return "in this format it shows no lithium lost, and nothing is decided on it."
    return "a decision sums it from the last opportunity on, without changes of rate."


def _short_words(facts: RunFacts) -> str:
    """Return which cycles showed a soft short."""
    shorts = [str(one.cycle) for one in facts.cycles if "soft-short" in one.flags]
    if not shorts:
        return "No cycle showed a soft short."
    return f"A soft short showed in cycle {', '.join(shorts)}."


def resistance_chart(facts: RunFacts) -> Chart | None:
    """Return resistance per cycle, None where there is none."""
    # reference tests may read another kind of step
    among = [one for one in facts.base if known(one.resistance_Ohm)] or facts.cycles
    values = [(one.cycle, one.resistance_Ohm) for one in among if known(one.resistance_Ohm)]
    if not values:
        return None
    plot, beyond = per_cycle(facts, RESISTANCE, height=250.0, all_kinds=True)
    (first_cycle, first), (last_cycle, last) = values[0], values[-1]
    sentence = (
        "What the step from rest into the base discharge answered after 10 s (1 s where readings"
        f" end before): {number(first, 2)} Ω (cycle {first_cycle}) to {number(last, 2)} Ω (cycle"
        f" {last_cycle}). A strip or a change of rate leaves another state behind it, and another"
        f" resistance. {_short_words(facts)}"
    )
    return _finish(plot, beyond, sentence)


# --- impedance spectra ----------------------------------------------------------------------------


def spectrum_chart(facts: RunFacts) -> Chart | None:
    """Return the spectra in the complex plane, one scale on both axes; None without any.

    Points are measured, with 95 % bars both ways; lines are the fitted circuits.
    """
    spectra = [one for one in facts.spectra if not one.missing]
    if not spectra:
        return None
    x_range, y_range = _alike(spectra)
    plot = Plot(
        x_range,
        y_range,
        "Re Z / Ω",
        f"{MINUS}Im Z / Ω",
        width=NYQUIST_WIDTH,
        height=NYQUIST_HEIGHT,
        top=NYQUIST_TOP,
    )
    coloured = list(zip(spectra, _in_turn(len(spectra)), strict=True))
    # those in between below the first and the last
    for one, css in [*coloured[1:-1], *coloured[:1], *coloured[1:][-1:]]:
        if one.circuit:
            plot.line(*_fitted(one), "joined")
        for f_Hz, real, imaginary, u in zip(
            one.frequency_Hz, one.real_Ohm, one.imaginary_Ohm, one.u_Ohm, strict=True
        ):
            plot.whisker(real, -imaginary - K_95 * u, -imaginary + K_95 * u, "whisker")
            plot.line((real - K_95 * u, real + K_95 * u), (-imaginary, -imaginary), "whisker")
            title = (
                f"cycle {one.cycle}, {f_Hz:.3g} Hz: {with_u(real, u)} {_with_sign(imaginary)}j Ω"
            )
            plot.mark(real, -imaginary, "circle", f"dot {css}", title)
    _simulated_note(plot, facts)
    first, last = spectra[0], spectra[-1]
    sentence = (
        f"Impedance at rest; from right to left {first.frequency_Hz[-1]:.3g} to"
        f" {first.frequency_Hz[0]:.3g} Hz;"
        " bars are 95 % intervals, lines the fitted circuits."
    )
    if last is not first:
        sentence += (
            f" At {last.frequency_Hz[-1]:.3g} Hz |Z| went from {number(_size(first), 2)} Ω (cycle"
            f" {first.cycle}) to {number(_size(last), 2)} Ω (cycle {last.cycle})."
        )
    words = {"end-anode": "first", "end-unknown": "in between", "end-cathode": "last"}
    legend = tuple(
        (shape_at("circle", 9, 8, f"dot {css}", r=5), words[css])
        for css in dict.fromkeys(_in_turn(len(spectra)))
    )
    return Chart(
        svg=drawing(plot.render(), plot.width, plot.height, sentence, css="chart narrow"),
        legend=legend if len(spectra) > 1 else (),
        caption=sentence,
    )


def _in_turn(count: int) -> list[str]:
    """Return a colour for each spectrum: the first, those between, the last."""
    return ["end-anode", *["end-unknown"] * (count - 2), *["end-cathode"] * (count > 1)]


def _size(one: SpectrumFacts) -> float:
    return math.hypot(one.real_Ohm[-1], one.imaginary_Ohm[-1])


def _with_sign(value: float) -> str:
    return f"{MINUS if value < 0.0 else '+'} {number(abs(value), 2)}"


def _fitted(one: SpectrumFacts) -> tuple[list[float], list[float]]:
    values = np.array([value for _, _, value, _, _ in one.parameters], dtype=np.float64)
    f_Hz = np.geomspace(one.frequency_Hz[-1], one.frequency_Hz[0], 100)
    z_Ohm = impedance(parse(one.circuit), values, f_Hz)
    return z_Ohm.real.tolist(), (-z_Ohm.imag).tolist()


def _alike(spectra: Sequence[SpectrumFacts]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return ranges of x and y that hold every point and give an ohm one length on both."""
    xs = [x for one in spectra for x in one.real_Ohm]
    ys = [-y for one in spectra for y in one.imaginary_Ohm]
    left, right = padded(min(xs), max(xs), 0.1)
    low, high = padded(min(*ys, 0.0), max(ys), 0.1)
    wide = NYQUIST_WIDTH - LEFT - RIGHT
    tall = NYQUIST_HEIGHT - BOTTOM - NYQUIST_TOP
    Ohm_per_unit = max((right - left) / wide, (high - low) / tall)
    middle = 0.5 * (left + right)
    half = 0.5 * wide * Ohm_per_unit
    return (middle - half, middle + half), (low, low + tall * Ohm_per_unit)


# --- inventory ------------------------------------------------------------------------------------


def inventory_chart(facts: RunFacts) -> Chart | None:
    """Return what came back, what is inactive and what is SEI, measured and prior told apart."""
    lost = [or_nan(one.lithium_lost_Ah) * 1e3 for one in facts.cycles]
    if not any(map(math.isfinite, lost)):
        return None
    height, gap = 330.0, 0.42
    share = WIDTH * (1.0 - gap)
    top = max(
        capacity_Ah(one) * 1e3 + (max(one_lost, 0.0) if math.isfinite(one_lost) else 0.0)
        for one, one_lost in zip(facts.cycles, lost, strict=True)
    )
    stack = Plot(
        _x_range(facts),
        (0.0, top * 1.08 or 1.0),
        "cycle",
        "Lithium / mAh",
        width=share,
        height=height,
        whole_x=True,
        top=34.0,
    )
    _backgrounds(stack, facts)
    for one, one_lost in zip(facts.cycles, lost, strict=True):
        _stack_bar(stack, facts, one, one_lost)
    stack.text(stack.x.start, stack.y.end - 20.0, "Where the lithium is", "panel-title")
    plot = _lost_plot(facts, share, height)
    _simulated_note(plot, facts)
    sentence = _inventory_sentence(facts)
    legend = (
        (_swatch("li-active"), "returned on discharge (measured)"),
        (_swatch("li-inactive") + _swatch("hatch"), "inactive lithium (prior-dominated)"),
        (_swatch("li-sei") + _swatch("hatch"), "lithium in SEI (prior-dominated)"),
        (_swatch("li-lost") + _swatch("hatch"), "not returned, only a bound of what is lost"),
        ('<path class="lost-measured" d="M1 8H17"/>', "lost, measured"),
        ('<path class="lost-bound" d="M1 8H17"/>', "lost, a bound only"),
    )
    return Chart(
        svg=drawing(stack.render() + plot.render(), WIDTH, height, sentence),
        legend=legend,
        caption=sentence,
    )


def _stack_bar(stack: Plot, facts: RunFacts, one: CycleFigures, lost_mAh: float) -> None:
    """Draw one cycle's stack; hatching says that the split is the prior's."""
    active = capacity_Ah(one) * 1e3
    stack.bar(
        one.cycle,
        0.0,
        active,
        "li-active",
        f"cycle {one.cycle}: {number(active)} mAh came back on discharge (measured)",
    )
    if not lost_mAh > 0.0:
        return
    if one.lithium_lost_label is not Label.MEASURED:
        said = f"cycle {one.cycle}: {number(lost_mAh)} mAh, only a bound of the loss"
        stack.bar(one.cycle, active, active + lost_mAh, "li-lost", said)
        stack.bar(one.cycle, active, active + lost_mAh, "hatch", said)
        return
    split = facts.splits.get(one.cycle, {})
    inactive, sei = or_nan(split.get("inactive_Ah")) * 1e3, or_nan(split.get("sei_Ah")) * 1e3
    label = str(split.get("split_label", Label.PRIOR_DOMINATED.value))
    if not (math.isfinite(inactive) and math.isfinite(sei) and inactive >= 0.0 and sei >= 0.0):
        stack.bar(
            one.cycle,
            active,
            active + lost_mAh,
            "li-lost",
            f"cycle {one.cycle}: {number(lost_mAh)} mAh lost, split unknown",
        )
        return
    level = active
    for value, css, word in ((inactive, "li-inactive", "inactive"), (sei, "li-sei", "in SEI")):
        u_mAh = or_nan(split.get("u_inactive_Ah" if word == "inactive" else "u_sei_Ah")) * 1e3
        said = f"cycle {one.cycle}: {with_u(value, u_mAh, 'mAh')} {word}, {label}"
        stack.bar(one.cycle, level, level + value, css, said)
        if label != Label.MEASURED.value:
            stack.bar(one.cycle, level, level + value, "hatch", said)
        level += value


def _lost_plot(facts: RunFacts, x0: float, height: float) -> Plot:
    """Return lithium lost: solid and filled where measured, dashed and hollow where a bound.

    The two are never joined: counting may begin anew at the first anode-limited discharge.
    """
    cycles = [one for one in facts.base or facts.cycles if known(one.lithium_lost_Ah)]
    ys = [one.lithium_lost_Ah * 1e3 for one in cycles]
    us = [or_nan(one.u_lithium_lost_Ah) * 1e3 for one in cycles]
    bars = [K_95 * u if math.isfinite(u) else 0.0 for u in us]
    plot = Plot(
        _x_range(facts),
        padded(
            min([0.0, *(y - bar for y, bar in zip(ys, bars, strict=True))]),
            max([0.0, *(y + bar for y, bar in zip(ys, bars, strict=True))]),
        ),
        "cycle",
        "Lithium lost / mAh",
        width=WIDTH - x0,
        height=height,
        x0=x0,
        whole_x=True,
        top=34.0,
    )
    _backgrounds(plot, facts)
    plot.level(0.0)
    for label, stretch in groupby(
        zip(cycles, ys, us, strict=True), key=lambda row: row[0].lithium_lost_label
    ):
        _lost_stretch(plot, list(stretch), measured=label is Label.MEASURED)
    plot.text(plot.x.start, plot.y.end - 20.0, "Lithium lost", "panel-title")
    return plot


def _lost_stretch(
    plot: Plot, rows: Sequence[tuple[CycleFigures, float, float]], *, measured: bool
) -> None:
    xs = [float(one.cycle) for one, _, _ in rows]
    ys = [y for _, y, _ in rows]
    for factor, css in ((K_95, "band-95"), (1.0, "band-u")):
        low, high = ([y + sign * factor * u for _, y, u in rows] for sign in (-1.0, 1.0))
        plot.band(xs, low, high, css)
    plot.line(xs, ys, "lost-measured" if measured else "lost-bound")
    for one, y, u in rows:
        said = f"cycle {one.cycle}: {with_u(y, u, 'mAh')} lost, {one.lithium_lost_label.value}"
        css = "end-anode" if measured else "hollow"
        plot.add(shape_at("circle", plot.x(one.cycle), plot.y(y), css, said, r=2.2))


def _inventory_sentence(facts: RunFacts) -> str:
    # a slow reference discharge may end elsewhere than the cycles the figure is counted on
    last = next(
        one
        for one in (*reversed(facts.base), *reversed(facts.cycles))
        if known(one.lithium_lost_Ah)
    )
    lost = with_u(last.lithium_lost_Ah * 1e3, or_nan(last.u_lithium_lost_Ah) * 1e3, "mAh")
    if last.lithium_lost_label is Label.MEASURED:
        text = (
            f"Up to cycle {last.cycle}, {lost} of lithium was lost (standard uncertainty):"
            " measured, because its discharge ended at the anode"
        )
        if any(one.lithium_lost_label is Label.BOUND for one in facts.base):
            text += "; hollow points and dashed stretches are only bounds"
    else:
        text = (
            f"Up to cycle {last.cycle}, {lost} is only a bound of the lithium lost: the discharges"
            " did not end at the anode"
        )
    mean, sd = (
        facts.table("estimator").get(key) for key in ("inactive_share_mean", "inactive_share_sd")
    )
    prior = (
        f" ({mean:g} ± {sd:g} inactive)"
        if isinstance(mean, int | float) and isinstance(sd, int | float)
        else ""
    )
    return text + (
        f".{_decay_sentence(facts)} The split into inactive lithium and SEI is"
        f" prior-dominated{prior}: voltage, current and time do not show it, and it is not"
        " measured."
    )


def _decay_sentence(facts: RunFacts) -> str:
    """Return what the last charged rest long enough to tell said of a shuttle."""
    told = [one for one in facts.cycles if known(one.self_discharge_A)]
    if not told:
        return ""
    last = told[-1]
    current = with_u(last.self_discharge_A * 1e6, last.u_self_discharge_A * 1e6, "\N{MICRO SIGN}A")
    return (
        f" In the charged rest of cycle {last.cycle} the voltage fell as with {current} of"
        " self-discharge (standard uncertainty)."
    )


# --- treatments -----------------------------------------------------------------------------------

PANEL_WIDTH: Final = 346.0
PANEL_HEIGHT: Final = 236.0
COLUMNS: Final = 3


def treatment_chart(windows: Sequence[Window], total: int, facts: RunFacts) -> Chart | None:
    """Return voltage and current around treatments and controls, as small multiples."""
    if not windows:
        return None
    rows = math.ceil(len(windows) / COLUMNS)
    parts = [
        _window_panel(window, (index % COLUMNS) * PANEL_WIDTH, (index // COLUMNS) * PANEL_HEIGHT)
        for index, window in enumerate(windows)
    ]
    treated = sum(one.treated for one in windows)
    sentence = (
        f"Voltage and current around {plural(treated, 'treatment')} and"
        f" {plural(len(windows) - treated, 'control')}, shaded while their steps ran"
        + (
            f" ({len(windows)} of {total} shown, spread over the run)."
            if total > len(windows)
            else "."
        )
    )
    if facts.simulated:
        sentence += " Simulated cell, figures assumed."
    legend = (
        ('<path class="trace-v" d="M1 8H17"/>', "voltage / V"),
        ('<path class="trace-i" d="M1 8H17"/>', "current / mA (charge positive)"),
        (_swatch("bg-treated"), "treatment"),
        (_swatch("bg-control"), "its control (withheld)"),
    )
    return Chart(
        svg=drawing("".join(parts), WIDTH, rows * PANEL_HEIGHT, sentence),
        legend=legend,
        caption=sentence,
    )


def _window_panel(window: Window, x0: float, y0: float) -> str:
    hours = window.duration_s > 2.0 * SECONDS_PER_HOUR
    scale, unit = (3600.0, "h") if hours else (60.0, "min")
    t = window.t_s / scale
    x_range = padded(float(t.min()), float(t.max()), 0.01)
    title = f"cycle {window.cycle}: {window.protocol}" + ("" if window.treated else ", control")
    panels = (
        (window.voltage_V, "V", "trace-v", 24.0, 112.0, False),
        (window.current_A * 1e3, "mA", "trace-i", 118.0, 112.0, True),
    )
    parts = [f'<text class="panel-title" x="{x0 + 44:.1f}" y="{y0 + 15:.1f}">{safe(title)}</text>']
    for values, label, css, top, height, last in panels:
        finite = values[np.isfinite(values)]
        low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
        plot = Plot(
            x_range,
            padded(low, high, 0.1),
            f"time from its first step / {unit}" if last else "",
            label,
            width=PANEL_WIDTH,
            height=height if last else height - 18.0,
            x0=x0,
            y0=y0 + top,
            left=58.0,
            bottom=38.0 if last else 18.0,
            top=4.0,
            tick_count=3,
        )
        shade = "bg-treated" if window.treated else "bg-control"
        plot.rectangle(0.0, window.duration_s / scale, shade)
        if low < 0.0 < high:
            plot.level(0.0)
        xs, ys = decimate(t, values, SMALL_BUCKETS)
        plot.line(xs.tolist(), ys.tolist(), css)
        parts.append(plot.render())
    return "".join(parts)


# --- decisions ------------------------------------------------------------------------------------


def decision_chart(facts: RunFacts) -> Chart | None:
    """Return which protocol was chosen, withheld or refused, by cycle."""
    if not facts.decisions:
        return None
    names = [one.protocol for one in facts.treatments]
    rows = [*names, "no treatment"]
    row_height = 26.0
    first = min(one.cycle for one in facts.decisions)
    last = max(one.cycle for one in facts.decisions)
    plot = Plot(
        (first - 0.7, last + 0.7),
        (-0.5, len(rows) - 0.5),
        "cycle in which it was decided",
        "",
        width=WIDTH,
        height=row_height * len(rows) + 60.0,
        whole_x=True,
        left=170.0,
        top=18.0,
        y_ticks=False,
    )
    for index, name in enumerate(rows):
        level = len(rows) - 1 - index
        plot.level(level, "grid")
        plot.add(
            f'<text class="tick end" x="{plot.x.start - 8:.1f}" y="{plot.y(level) + 4:.1f}">'
            f"{safe(name)}</text>"
        )
    for decision in facts.decisions:
        _decision_marks(plot, decision, rows)
    treated = sum(one.protocol is not None for one in facts.decisions)
    withheld = sum(one.withheld for one in facts.decisions)
    sentence = (
        f"Of {plural(len(facts.decisions), 'decision')}, {treated} treated,"
        f" {withheld} withheld at random and {len(facts.decisions) - treated - withheld} saw no"
        " reason or no way to treat."
    )
    legend = (
        (shape_at("up", 9, 8, "treated"), "treated"),
        (shape_at("up", 9, 8, "withheld"), "withheld at random"),
        (shape_at("circle", 9, 8, "quiet", r=3), "no treatment"),
        (shape_at("cross", 9, 8, "refused"), "refused"),
    )
    return Chart(
        svg=drawing(plot.render(), plot.width, plot.height, sentence),
        legend=legend,
        caption=sentence,
    )


def _decision_marks(plot: Plot, decision: Decision, rows: Sequence[str]) -> None:
    def at(name: str) -> float:
        return plot.y(len(rows) - 1 - rows.index(name))

    px = plot.x(decision.cycle)
    said = f"cycle {decision.cycle}: {decision.reason}"
    for name, why in decision.refused.items():
        if name in rows:
            plot.add(
                shape_at("cross", px, at(name), "refused", f"cycle {decision.cycle}: {why}", r=2.6)
            )
    if decision.candidate in rows[:-1] and decision.opportunity:
        css = "withheld" if decision.withheld else "treated"
        plot.add(shape_at("up", px, at(str(decision.candidate)), css, said, r=4.4))
    else:
        plot.add(shape_at("circle", px, at("no treatment"), "quiet", said, r=2.6))


def grouped_decisions(decisions: Sequence[Decision]) -> list[tuple[str, Decision]]:
    """Return decisions with like ones in a row joined, each with its span of cycles in words."""
    found: list[tuple[int, Decision]] = []
    for one in decisions:
        if found and not one.opportunity and _kind(found[-1][1]) == _kind(one):
            found[-1] = (found[-1][0], one)
        else:
            found.append((one.cycle, one))
    return [(cycle_span(first, one.cycle), one) for first, one in found]


def _kind(one: Decision) -> tuple[bool, str]:
    """Return what makes two decisions alike: their reason without its numbers."""
    words = "".join("#" if char.isdigit() else char for char in one.reason)
    while "##" in words:
        words = words.replace("##", "#")
    return one.opportunity, words
