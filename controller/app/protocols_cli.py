"""What ``reactivate protocols list | show | check`` print, and their exit codes."""

from __future__ import annotations

from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from controller.domain.capabilities import CyclerCapabilities
from controller.domain.cell import CellFormat, CellLimits, CellSpec
from controller.domain.errors import ConfigurationError
from protocols.check import CheckState, check
from protocols.registry import library, load
from protocols.resolve import BASE_C_RATE, expected_hours, resolve
from protocols.spec import Allowed, Control, Recipe
from protocols.words import parameter_words, recipe_words, resolved_words

EXIT_ACCEPTED: Final = 0
EXIT_REFUSED: Final = 1
EXIT_BAD_INPUT: Final = 2

_MARK: Final = {
    Allowed.EVIDENCE: "yes",
    Allowed.PRIOR_ONLY: "prior",
    Allowed.REFUSED: "-",
}


def _plain(console: Console, text: str = "") -> None:
    """Print without markup or automatic colouring of figures."""
    console.print(escape(text), highlight=False, soft_wrap=True)


def list_protocols(*, console: Console | None = None) -> int:
    """Print the library as a table; return the exit code."""
    console = console or Console()
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("name", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    for cell_format in CellFormat:
        table.add_column(cell_format, no_wrap=True)
    for recipe in library().values():
        table.add_row(
            recipe.name,
            recipe.kind,
            *(_MARK[recipe.applicability[cell_format].allowed] for cell_format in CellFormat),
        )
    console.print(table)
    _plain(
        console,
        "yes = evidence on this format; prior = none on it; - = refused. "
        "`reactivate protocols show NAME` gives reasons, sources and steps.",
    )
    return EXIT_ACCEPTED


def show(
    name: str,
    *,
    cell: CellSpec | None = None,
    base_c_rate: float = BASE_C_RATE,
    console: Console | None = None,
) -> int:
    """Print one recipe as text, with figures for `cell` where one is given; return the exit code.

    Exit code 2 for a recipe that does not exist or cannot be read, with the nearest name.
    """
    console = console or Console()
    try:
        recipe = load(name)
        lines = [*_about(recipe), "", *_steps(recipe, cell, base_c_rate)]
    except ConfigurationError as error:
        _plain(console, str(error))
        return EXIT_BAD_INPUT
    for line in lines:
        _plain(console, line)
    return EXIT_ACCEPTED


def _about(recipe: Recipe) -> list[str]:
    placed = f", {recipe.placement}" if recipe.placement is not None else ""
    lines = [
        f"{recipe.name}: {recipe.title}",
        f"  {recipe.summary}",
        f"  kind: {recipe.kind}{placed}; credited with: {recipe.benefit}",
    ]
    if recipe.pulse_envelope:
        lines.append(f"  requests pulse envelope: {recipe.pulse_envelope}")
    if recipe.controls:
        words = {Control.NONE: "nothing", Control.SHAM: "sham"}
        controls = " or ".join(words[control] for control in recipe.controls)
        lines.append(f"  control: {controls}. {recipe.sham_reason}")
    if recipe.prior_gain is not None:
        gain = recipe.prior_gain
        lines.append(
            f"  prior gain: {gain.mean_mAh_per_cm2:g} +- {gain.sd_mAh_per_cm2:g} mAh/cm2 "
            f"({gain.basis}: {gain.source})"
        )
    if recipe.dose is not None:
        dose = recipe.dose
        lines.append(
            f"  one dose at most ({dose.basis}): {dose.max_gross_charge_mAh_per_cm2:g} mAh/cm2 "
            f"gross, {dose.max_net_fraction_of_gross:.1%} of it net, {dose.max_pulse_count} "
            f"pulses, {dose.max_energy_J_per_cm2:g} J/cm2"
        )
    if recipe.needs_anchor:
        lines.append("  both arms end at an anchor")
    if recipe.may_act_as_treatment:
        lines.append("  may itself act as a treatment")
    price = recipe.price
    lines.append(
        f"  risk: {price.risk_mAh_per_cm2:g} mAh/cm2 each time ({price.basis}). {price.note}"
    )
    lines += ["", "Where it may be used"]
    for cell_format in CellFormat:
        use = recipe.applicability[cell_format]
        lines.append(f"  {cell_format}: {use.allowed}. {use.reason}")
    lines += ["", "Evidence"]
    for evidence in recipe.evidence:
        doi = ""
        if evidence.doi:
            checked = "" if evidence.doi_confirmed else " (DOI not confirmed)"
            doi = f", doi {evidence.doi}{checked}"
        lines.append(
            f"  [{evidence.basis}, {evidence.provenance}] {evidence.statement} "
            f"({evidence.source}{doi})"
        )
    lines += ["", "Parameters"]
    lines += [
        f"  {name} = {parameter_words(name, parameter)}"
        for name, parameter in recipe.parameters.items()
    ] or ["  none"]
    return lines


def _steps(recipe: Recipe, cell: CellSpec | None, base_c_rate: float) -> list[str]:
    lines: list[str] = []
    for title, sham in (("Steps", False), ("Sham", True)):
        if not (recipe.sham_steps if sham else recipe.steps):
            continue
        if cell is None:
            lines += [title, *(f"  {line}" for line in recipe_words(recipe, sham=sham))]
            continue
        use = recipe.applicability[cell.format]
        if use.allowed is Allowed.REFUSED:
            return [f"Refused on {cell.name} ({cell.format}): {use.reason}"]
        steps = resolve(recipe, cell, sham=sham, base_c_rate=base_c_rate)
        hours = expected_hours(recipe, cell, sham=sham, base_c_rate=base_c_rate)
        lines.append(f"{title} on {cell.name}, about {hours:.3g} h")
        lines += [f"  {line}" for line in resolved_words(steps, cell)]
    return lines


def check_protocol(
    name: str,
    cell: CellSpec,
    limits: CellLimits,
    capabilities: CyclerCapabilities,
    temperature_source: str,
    *,
    state: CheckState | None = None,
    console: Console | None = None,
) -> int:
    """Check a recipe and its sham before anything is energised; print the reasons.

    Returns
    -------
    int
        0 accepted, 1 refused, 2 no such recipe or faults in its file.
    """
    console = console or Console()
    try:
        recipe = load(name)
    except ConfigurationError as error:
        _plain(console, str(error))
        return EXIT_BAD_INPUT
    refusals = [
        str(refusal)
        for sham in (False, True)
        for refusal in check(
            recipe,
            cell,
            limits,
            capabilities,
            temperature_source=temperature_source,
            state=state,
            sham=sham,
        )
    ]
    if not refusals:
        _plain(console, f"{recipe.name}: accepted on {cell.name} with {capabilities.model}")
        use = recipe.applicability[cell.format]
        if use.allowed is Allowed.PRIOR_ONLY:
            _plain(console, f"  prior only: {use.reason}")
        if temperature_source == "none":
            _plain(console, "  temperature is not measured: its limits are not enforced")
        return EXIT_ACCEPTED
    _plain(console, f"{recipe.name}: refused on {cell.name} with {capabilities.model}")
    for refusal in dict.fromkeys(refusals):
        _plain(console, f"  {refusal}")
    return EXIT_REFUSED
