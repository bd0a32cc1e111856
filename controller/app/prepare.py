"""From a checked run file to everything the run is decided from. Nothing is energised here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from controller.app.config import RunConfig
from controller.core.plan import PlanBook, split_cycles
from controller.core.short_check import opening_steps
from controller.core.step import CoreConfig
from controller.domain.capabilities import CyclerCapabilities
from controller.domain.command import CHARGE, DISCHARGE
from controller.domain.errors import ConfigurationError, Fault, nearest
from controller.domain.step import Step
from controller.hal.drivers.keithley2450 import capabilities_of
from controller.safety.supervisor import LimitsRecord, flatten
from protocols.check import check
from protocols.registry import library, load
from protocols.resolve import expected_hours, resolve
from protocols.spec import Placement, Recipe

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
        reference=split_cycles(resolve(recipes[cycling.reference_test], cell)),
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
    return {
        "step": step.name,
        "mA": f"{step.current_A * 1e3:+.4g}" if flows else "0",
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
    return f"{seconds / 3600.0:.3g} h"
