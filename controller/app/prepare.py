"""From a checked run file to everything the run is decided from. Nothing is energised here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from controller.app.config import RunConfig
from controller.core.plan import PlanBook, split_cycles
from controller.core.short_check import opening_steps
from controller.core.spectrum import (
    MOST_SET_POINTS,
    SpectrumPlan,
    design,
    spectrum_step,
)
from controller.core.step import CoreConfig
from controller.domain.capabilities import CyclerCapabilities
from controller.domain.command import CHARGE, DISCHARGE, HOLD_0A
from controller.domain.errors import ConfigurationError, Fault, FaultsIn, nearest
from controller.domain.step import Step
from controller.domain.units import SECONDS_PER_HOUR
from controller.hal.drivers.keithley2450 import capabilities_of
from controller.safety.supervisor import LimitsRecord, flatten
from protocols.check import check
from protocols.registry import library, load
from protocols.resolve import expected_hours, resolve
from protocols.spec import Placement, Recipe

# A spectrum begins after a rest of this long at least; what still relaxes then is fitted as drift.
_REST_S = 60.0

CAPABILITIES: Mapping[str, CyclerCapabilities] = {"keithley2450": capabilities_of()}


class Prepared(NamedTuple):
    """A run ready to start."""

    core: CoreConfig
    limits: LimitsRecord


def prepare(config: RunConfig, seed: int) -> Prepared:
    """Resolve and check every protocol of the run against cell, limits and cycler.

    Raises
    ------
    ConfigurationError
        Every refusal, with its reason; limits that contradict each other.
    """
    capabilities = CAPABILITIES[config.file.cycler.driver]
    limits = flatten(
        config.limits,
        config.cell,
        temperature_declared=config.file.temperature.source != "none",
        where=f"{config.where}: limits",
    )
    faults: list[Fault] = []
    recipes: dict[str, Recipe] = {}
    for key, name in wanted_recipes(config).items():
        recipe = find_recipe(name, config.where, key, faults)
        if recipe is None:
            continue
        recipes[name] = recipe
        faults += [
            Fault(
                where=config.where, key=f"{key} = {name!r}", problem=one.reason, remedy=one.remedy
            )
            for one in check(
                recipe,
                config.cell,
                config.limits,
                capabilities,
                temperature_source=config.file.temperature.source,
            )
        ]
    first = [name for name in config.schedule.protocols if _comes_first(recipes.get(name))]
    if len(first) > 1:
        problem = f"{' and '.join(first)} all come before the first cycle"
        faults.append(
            Fault(where=config.where, key="schedule.protocols", problem=problem, remedy="name one")
        )
    # a recipe that is refused may not even resolve
    faults += _spectrum_faults(config, capabilities, {} if faults else recipes)
    if faults:
        raise ConfigurationError(faults)
    again = tuple(name for name in config.schedule.protocols if name not in first)
    core = CoreConfig(
        cell=config.cell,
        limits=config.limits,
        capabilities=capabilities,
        temperature_source=config.file.temperature.source,
        estimator=config.estimator,
        schedule=replace(config.schedule, protocols=again),
        recipes=recipes,
        book=_book(config, recipes),
        cycles=config.file.cycling.cycles,
        formation_cycles=config.file.cycling.formation_cycles,
        reference_every=config.file.cycling.reference_every,
        seed=seed,
        before_first="".join(first),
        spectrum=_spectrum_plan(config),
    )
    return Prepared(core=core, limits=limits)


def wanted_recipes(config: RunConfig) -> dict[str, str]:
    """Return the recipe that each key of the run file names."""
    cycling = config.file.cycling
    return {
        "cycling.formation": cycling.formation,
        "cycling.base": cycling.base,
        "cycling.anchor": cycling.anchor,
        "cycling.reference_test": cycling.reference_test,
        **{
            f"schedule.protocols[{index}]": name
            for index, name in enumerate(config.schedule.protocols)
        },
    }


def named_files(config: RunConfig) -> list[Path]:
    """Return the recipe and cell files beside the run file that it names, in a fixed order."""
    given = [*wanted_recipes(config).values()]
    if config.simulated and config.file.simulation.plant is None and config.plant is None:
        given.append(config.file.simulation.preset)
    names = [name for name in given if name.endswith(".toml")]
    return [Path(config.where).parent / name for name in dict.fromkeys(names)]


def find_recipe(name: str, where: str, key: str, faults: list[Fault]) -> Recipe | None:
    """Return a recipe of the library, or of a TOML file beside the run file."""
    known = library()
    if name in known:
        return known[name]
    if name.endswith(".toml"):
        if Path(name).name != name:
            faults.append(
                Fault(
                    where=where,
                    key=key,
                    problem=f"{name!r} is in another folder",
                    remedy="put the recipe beside the run file and give its file name",
                )
            )
            return None
        beside = Path(where).parent / name
        try:
            return load(beside)
        except ConfigurationError as error:
            faults += error.faults
            return None
    faults.append(
        Fault(
            where=where,
            key=key,
            problem=f"no recipe {name!r}",
            remedy=nearest(name, sorted(known)),
        )
    )
    return None


def _book(config: RunConfig, recipes: Mapping[str, Recipe]) -> PlanBook:
    cycling, cell = config.file.cycling, config.cell
    treatments = config.schedule.protocols
    return PlanBook(
        formation=split_cycles(resolve(recipes[cycling.formation], cell)),
        base=resolve(recipes[cycling.base], cell),
        anchor=resolve(recipes[cycling.anchor], cell),
        anchor_within_K=recipes[cycling.anchor].conditions.temperature_within_K or math.inf,
        reference=_reference(config, recipes),
        treatments={name: resolve(recipes[name], cell) for name in treatments},
        shams={name: resolve(recipes[name], cell, sham=True) for name in treatments},
        placements={name: _placement(recipes[name]) for name in treatments},
        sham_placements={
            name: recipes[name].sham_placement or _placement(recipes[name]) for name in treatments
        },
        hours={name: expected_hours(recipes[name], cell) for name in treatments},
        envelopes=tuple(pulse.name for pulse in config.limits.pulse_envelopes),
        nominal_capacity_Ah=cell.nominal_capacity_Ah,
        opening=opening_steps(cell),
    )


def _spectrum_plan(config: RunConfig) -> SpectrumPlan | None:
    table = config.file.spectrum
    return None if table is None else SpectrumPlan(**table.model_dump())


def _reference(config: RunConfig, recipes: Mapping[str, Recipe]) -> tuple[tuple[Step, ...], ...]:
    """Return the cycles of the reference test, with the spectrum in them if one is asked for."""
    steps = resolve(recipes[config.file.cycling.reference_test], config.cell)
    plan, place = _spectrum_plan(config), _rest_before_last_discharge(steps)
    if plan is not None and place is not None:
        steps = (*steps[: place + 1], spectrum_step(plan), *steps[place:])
    return split_cycles(steps)


def _rest_before_last_discharge(steps: Sequence[Step]) -> int | None:
    """Return where a test rests right before the discharge that ends it: the spectrum's place.

    There the cell is at rest in the same state each time, and what the spectrum moves lies within
    one half cycle. None where the test has no such rest.
    """
    last = [index for index, step in enumerate(steps) if step.closes_half_cycle]
    if not last or not last[-1]:
        return None
    before = steps[last[-1] - 1]
    return last[-1] - 1 if before.kind == HOLD_0A and before.max_duration_s >= _REST_S else None


def _spectrum_faults(
    config: RunConfig, capabilities: CyclerCapabilities, recipes: Mapping[str, Recipe]
) -> list[Fault]:
    """Return why the spectrum asked for cannot be measured in this run."""
    plan, cycling = _spectrum_plan(config), config.file.cycling
    if plan is None:
        return []
    found = FaultsIn(config.where)
    # a cell that answers so at a tenth of C: what holds for any resistance is found before the run
    tenth_A = config.cell.c_rate_current_A(0.1)
    try:
        excitations = design(
            plan, capabilities, config.cell, config.limits, plan.response_V / tenth_A, tenth_A
        )
    except ConfigurationError as error:
        for one in error.faults:
            found.add(f"spectrum.{one.key}", one.problem, one.remedy)
    else:
        count = sum(one.set_points for one in excitations)
        if count > MOST_SET_POINTS:
            least_Hz = plan.lowest_Hz * count / MOST_SET_POINTS
            found.add(
                "spectrum.lowest_Hz",
                f"{plan.lowest_Hz:g} Hz takes {count} set-points, more than {MOST_SET_POINTS}",
                f"at least {least_Hz:.2g}, or a lower highest_Hz: set-points then hold longer",
            )
    if not cycling.formation_cycles and not cycling.reference_every:
        problem = "spectra are measured in reference tests, and this run has none"
        found.add("spectrum", problem, "cycling.reference_every = 25")
    recipe = recipes.get(cycling.reference_test)
    if recipe is not None and _rest_before_last_discharge(resolve(recipe, config.cell)) is None:
        found.add(
            "spectrum",
            f"{cycling.reference_test} does not rest for {duration_words(_REST_S)} right before "
            "the discharge that ends it",
            "cycling.reference_test = 'reference-test'",
        )
    return found


def _comes_first(recipe: Recipe | None) -> bool:
    return recipe is not None and recipe.placement is Placement.BEFORE_FIRST_CYCLE


def _placement(recipe: Recipe) -> Placement:
    return recipe.placement or Placement.BETWEEN_CYCLES


def describe_step(step: Step, config: RunConfig) -> dict[str, str]:
    """Return a step in words for the dry run: what, current, bound, end, longest time."""
    ends = []
    if step.end_voltage_V == step.end_voltage_V:
        ends.append(f"{step.end_voltage_V:g} V")
    if step.end_current_A == step.end_current_A:
        ends.append(f"{step.end_current_A * 1e3:.4g} mA")
    if step.end_charge_Ah == step.end_charge_Ah:
        ends.append(f"{step.end_charge_Ah * 1e3:.4g} mAh")
    flows = step.kind in (CHARGE, DISCHARGE)
    density = config.cell.current_density_mA_per_cm2(step.current_A)
    if step.spectrum:
        ends = ["its set-points"]
    return {
        "step": step.name,
        "mA": "+- as sized" if step.spectrum else f"{step.current_A * 1e3:+.4g}" if flows else "0",
        "mA/cm2": f"{density:+.3g}" if flows else "0",
        "held at": f"{step.voltage_bound_V:g} V" if flows else "",
        "ends at": " or ".join(ends) or "its time",
        "longest": duration_words(step.max_duration_s),
        "envelope": step.envelope,
    }


def duration_words(seconds: float) -> str:
    """Return a duration as a person says it."""
    if seconds < 120.0:
        return f"{seconds:.3g} s"
    if seconds < 7200.0:
        return f"{seconds / 60.0:.3g} min"
    return f"{seconds / SECONDS_PER_HOUR:.3g} h"
