"""The run file: text in, checked values out. Nothing is energised before this has passed."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from controller.app.absent import or_nan
from controller.app.faults import faults_of
from controller.domain.cell import (
    ON_COPPER,
    ZERO_CELSIUS_K,
    CellFormat,
    CellLimits,
    CellSpec,
    ContinuousEnvelope,
    ElectrolyteFamily,
    Levels,
    PulseEnvelope,
)
from controller.domain.errors import ConfigurationError, Fault, FaultsIn, nearest, refuse
from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.impedance.excitation import Method
from controller.estimation.online import EstimatorConfig
from controller.io.mqtt import TelemetryConfig
from controller.policy.scheduler import ScheduleConfig

SIMULATED = "simulated"
# A capacity further than this from loading times area is in another unit. Assumed, 3-10.
SLIP_FACTOR = 5.0
SCHEMA = 1
BUILT_IN = "built-in example"
# One run file a format that the program can simulate; the first is the default.
EXAMPLES = ("anode-free", "excess-lithium", "li-cu", "li-li")

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Word = Annotated[str, Field(min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Levels(_Table):
    operate: Finite
    warn: Finite
    trip: Finite

    def levels(self, scale: float = 1.0, shift: float = 0.0) -> Levels:
        return Levels(
            operate=self.operate * scale + shift,
            warn=self.warn * scale + shift,
            trip=self.trip * scale + shift,
        )


class _Cell(_Table):
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    format: CellFormat
    area_cm2: Positive
    nominal_capacity_mAh: Positive
    lower_cut_off_V: Finite
    upper_cut_off_V: Finite
    cathode: Literal["nmc811", "nmc532", "lfp", "li", "none"]
    electrolyte_family: ElectrolyteFamily
    electrolyte: str
    negative_to_positive_ratio: Positive | None = None
    lithium_thickness_um: Positive | None = None
    cathode_loading_mAh_per_cm2: Positive | None = None
    stack_mode: Literal["constant-gap", "constant-pressure", "unknown"] = "unknown"
    stack_pressure_kPa: NotNegative | None = None
    formation: str = "formation"
    mediator: str | None = None
    oxidised_electrode: str | None = None


class _Pulse(_Table):
    name: Word
    max_current_mA: Positive
    min_voltage_V: Finite
    max_voltage_V: Finite
    max_on_s: Positive
    min_off_s: NotNegative
    max_charge_mAh: Positive
    max_count: Annotated[int, Field(ge=1)]
    max_temperature_degC: Finite


class _Limits(_Table):
    voltage_min_V: _Levels
    voltage_max_V: _Levels
    charge_current_max_mA: _Levels
    discharge_current_max_mA: _Levels
    temperature_min_degC: _Levels
    temperature_max_degC: _Levels
    max_half_cycle_charge_mAh: Positive
    max_half_cycle_h: Positive
    max_unchanged_s: Positive
    copper_potential_operate_V: Finite | None = None
    copper_potential_trip_V: Finite | None = None
    cathode_ocv_upper_V: Finite | None = None
    pulse: tuple[_Pulse, ...] = ()


class _Cycler(_Table):
    driver: Literal["keithley2450"]
    address: Word
    speed: Positive = 1.0
    accept_unverified_driver: bool = False
    accept_no_watchdog: bool = False


class _Temperature(_Table):
    source: Literal["none", "auxiliary", "cycler"]
    address: str = ""


class _Cycling(_Table):
    cycles: Annotated[int, Field(ge=1, le=100_000)]
    formation: Word = "formation"
    formation_cycles: Annotated[int, Field(ge=0, le=20)] = 2
    base: Word = "base-cycling"
    anchor: Word = "anchor"
    reference_test: Word = "reference-test"
    reference_every: Annotated[int, Field(ge=0)] = 25


class _Schedule(_Table):
    protocols: tuple[str, ...] = ()
    spacing_cycles: Annotated[int, Field(ge=1)] = 2
    budget_h: NotNegative
    treat_probability: Annotated[float, Field(ge=0.05, le=0.9)] = 0.5
    value_per_mAh: NotNegative = 1.0
    price_per_h: NotNegative = 0.0002
    loss_threshold_fraction: NotNegative = 0.003
    exploration_sd: Annotated[float, Field(ge=0, le=3)] = 0.0


class _Spectrum(_Table):
    lowest_Hz: Positive = 0.01
    highest_Hz: Positive = 0.2
    response_V: Positive = 0.01
    method: Method = Method.MULTISINE


class _Estimator(_Table):
    gain_u: Positive = 5e-4
    offset_u_of_range: NotNegative = 1e-5
    inactive_share_mean: Annotated[float, Field(ge=0, le=1)] = 0.6
    inactive_share_sd: Annotated[float, Field(gt=0, le=0.5)] = 0.2


class _Simulation(_Table):
    preset: str = "anode-free"
    plant: Word | None = None
    ambient_degC: Annotated[float, Field(ge=-20, le=80)] = 25.0


class _Mqtt(_Table):
    host: Word
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    username: str | None = None
    password_env: str | None = None
    prefix: Word = "reactivate"
    qos: Literal[0, 1] = 0


class RunFile(_Table):
    """The run file as text gives it (schema 1)."""

    schema_: Annotated[int, Field(alias="schema")]
    cell: _Cell
    limits: _Limits
    cycler: _Cycler
    temperature: _Temperature
    cycling: _Cycling
    schedule: _Schedule
    spectrum: _Spectrum | None = None
    estimator: _Estimator = _Estimator()
    simulation: _Simulation = _Simulation()
    mqtt: _Mqtt | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """A run, checked: what the composition root builds from.

    `text` is the file as read; it and its hash are the first record of the journal.
    `plant` is the cell that the command line gave (``MODULE:FACTORY``), beside the text.
    """

    where: str
    text: str
    cell: CellSpec
    limits: CellLimits
    schedule: ScheduleConfig
    estimator: EstimatorConfig
    mqtt: TelemetryConfig | None
    file: RunFile
    plant: str | None = None

    @property
    def simulated(self) -> bool:
        """Whether cycler (and thermometer) are the emulated ones in this process."""
        return self.file.cycler.address == SIMULATED


def example_text(name: str = EXAMPLES[0]) -> str:
    """Return a built-in example as commented TOML.

    Raises
    ------
    ConfigurationError
        There is no such example; the nearest is named.
    """
    if name not in EXAMPLES:
        raise refuse("command line", "--example", f"no example {name!r}", nearest(name, EXAMPLES))
    folder = resources.files("controller.app").joinpath("examples")
    return folder.joinpath(f"{name}.toml").read_text("utf-8")


def load_run(
    path: Path | None,
    *,
    cycles: int | None = None,
    plant: str | None = None,
    example: str | None = None,
) -> RunConfig:
    """Read and check a run file, or a built-in example.

    Parameters
    ----------
    path : Path or None
    cycles, plant : int, str or None
        Of the command line; they take the place of ``cycling.cycles`` and of the simulated cell
        (``MODULE:FACTORY``).
    example : str or None
        Name of a built-in example, instead of a file. Neither takes the first example.

    Raises
    ------
    ConfigurationError
        Every fault found, with file, key, value and the nearest valid choice.
    """
    if path is not None and example is not None:
        raise refuse(
            "command line", "--example", f"beside the run file {path}", "give one of the two"
        )
    if path is None:
        name = EXAMPLES[0] if example is None else example
        return parse_run(example_text(name), f"{BUILT_IN} {name}", cycles=cycles, plant=plant)
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        raise refuse(
            str(path), "", "no such file", "`reactivate config > RUN.toml` writes one to start from"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise refuse(str(path), "", f"cannot be read: {error}") from None
    return parse_run(text, str(path), cycles=cycles, plant=plant)


def parse_run(
    text: str, where: str, *, cycles: int | None = None, plant: str | None = None
) -> RunConfig:
    """Check the text of a run file; `cycles` and `plant` as in `load_run`."""
    if not text.strip():
        raise refuse(where, "", "the file is empty", "`reactivate config` prints one to start from")
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise refuse(where, "", f"not TOML: {error}") from None
    if raw.get("schema") != SCHEMA:
        found = f"is {raw['schema']!r}" if "schema" in raw else "missing"
        raise refuse(where, "schema", found, f"this program reads schema = {SCHEMA}")
    if cycles is not None:
        raw.setdefault("cycling", {})["cycles"] = cycles
    try:
        file = RunFile.model_validate(raw)
    except ValidationError as error:
        raise ConfigurationError(faults_of(error, where, RunFile)) from None
    faults = [*_inconsistencies(file, where), *_simulation_faults(file, where, plant)]
    if faults:
        raise ConfigurationError(faults)
    return RunConfig(
        where=where,
        text=text,
        cell=_cell(file.cell),
        limits=_limits(file.limits),
        schedule=_schedule(file),
        estimator=_estimator(file),
        mqtt=None if file.mqtt is None else TelemetryConfig(**file.mqtt.model_dump()),
        file=file,
        plant=plant,
    )


def _simulation_faults(file: RunFile, where: str, plant: str | None) -> list[Fault]:
    """Return what is wrong with the choice of the simulated cell."""
    table = file.simulation
    simulated = file.cycler.address == SIMULATED
    found = []
    if table.plant is not None and "preset" in table.model_fields_set:
        found.append(
            Fault(
                where=where,
                key="simulation.plant",
                problem=f"{table.plant!r} beside simulation.preset = {table.preset!r}",
                remedy="one of them: a run has one cell",
            )
        )
    if table.plant is not None and not simulated:
        found.append(
            Fault(
                where=where,
                key="simulation.plant",
                problem=f"{table.plant!r} beside cycler.address = {file.cycler.address!r}",
                remedy="leave it out, or cycler.address = 'simulated'",
            )
        )
    if plant is not None and not simulated:
        found.append(
            Fault(
                where="command line",
                key="--plant",
                problem=f"{plant!r} beside cycler.address = {file.cycler.address!r} in {where}",
                remedy="a plant goes behind the emulated instruments: cycler.address = 'simulated'",
            )
        )
    if plant is not None and table.plant not in (None, plant):
        found.append(
            Fault(
                where="command line",
                key="--plant",
                problem=f"{plant!r} beside simulation.plant = {table.plant!r} in {where}",
                remedy="leave out the one or the other",
            )
        )
    return found


def _inconsistencies(file: RunFile, where: str) -> list[Fault]:
    """Return what no single key can tell."""
    found = FaultsIn(where)
    cell, cycler, thermometer = file.cell, file.cycler, file.temperature
    if not cell.lower_cut_off_V < cell.upper_cut_off_V:
        found.add(
            "cell.lower_cut_off_V",
            f"{cell.lower_cut_off_V} V is not below upper_cut_off_V = {cell.upper_cut_off_V} V",
            "swap them?",
        )
    if cell.cathode_loading_mAh_per_cm2 is not None:
        loaded_mAh = cell.cathode_loading_mAh_per_cm2 * cell.area_cm2
        if not 1.0 / SLIP_FACTOR <= cell.nominal_capacity_mAh / loaded_mAh <= SLIP_FACTOR:
            found.add(
                "cell.nominal_capacity_mAh",
                f"{cell.nominal_capacity_mAh:g} mAh, but the cathode holds {loaded_mAh:.3g} mAh "
                "(cathode_loading_mAh_per_cm2 times area_cm2)",
                "see whether one of the three is in another unit",
            )
    found += _level_faults(file.limits, where)
    copper = cell.format in ON_COPPER
    if copper and file.limits.copper_potential_trip_V is None:
        highest_V = 2.0 if cell.format is CellFormat.LI_CU else 2.5
        found.add("limits.copper_potential_trip_V", "is missing", f"{highest_V} for this format")
    if copper and file.limits.cathode_ocv_upper_V is None:
        remedy = "0.0, a lithium foil" if cell.format is CellFormat.LI_CU else "e.g. 4.4"
        found.add("limits.cathode_ocv_upper_V", "is missing: it bounds the potential of Cu", remedy)
    simulated = cycler.address == SIMULATED
    if thermometer.source == "auxiliary" and not thermometer.address:
        remedy = "the thermometer's own line, or source = 'none'"
        found.add("temperature.address", "is missing", remedy)
    if thermometer.source == "cycler":
        found.add(
            "temperature.source",
            f"'cycler': the {cycler.driver} has no thermometer",
            "'auxiliary' or 'none'",
        )
    if thermometer.source == "auxiliary" and simulated != (thermometer.address == SIMULATED):
        found.add(
            "temperature.address",
            f"{thermometer.address!r} beside cycler.address = {cycler.address!r}",
            "both simulated or both real: one cell has one temperature",
        )
    if not simulated and "://" not in cycler.address and not _looks_like_port(cycler.address):
        found.add(
            "cycler.address",
            f"{cycler.address!r} is neither a URL nor a serial port",
            "socket://HOST:5025, COM3, /dev/ttyUSB0, or 'simulated'",
        )
    if simulated and cycler.speed != 1.0:
        found.add("cycler.speed", f"is {cycler.speed}", "1: the simulated clock is virtual already")
    return found


def _level_faults(limits: _Limits, where: str) -> list[Fault]:
    """Return levels out of order where the file has other units than the supervisor (mA, degC).

    The supervisor's own check (`controller.safety.limits.flatten`) follows, and speaks of A and K.
    """
    found: list[Fault] = []
    for key, levels, sign in (
        ("charge_current_max_mA", limits.charge_current_max_mA, 1.0),
        ("discharge_current_max_mA", limits.discharge_current_max_mA, 1.0),
        ("temperature_min_degC", limits.temperature_min_degC, -1.0),
        ("temperature_max_degC", limits.temperature_max_degC, 1.0),
    ):
        for level, value, before, at_least in (
            ("warn", levels.warn, "operate", levels.operate),
            ("trip", levels.trip, "warn", levels.warn),
        ):
            if sign * (value - at_least) < 0.0:
                problem = f"{value:g} is not beyond {before} {at_least:g}"
                way = "or more" if sign > 0.0 else "or less"
                found.append(
                    Fault(
                        where=where,
                        key=f"limits.{key}.{level}",
                        problem=problem,
                        remedy=f"{at_least:g} {way}",
                    )
                )
    low, high = limits.temperature_min_degC.operate, limits.temperature_max_degC.operate
    if low >= high:
        found.append(
            Fault(
                where=where,
                key="limits.temperature_max_degC.operate",
                problem=f"{high:g} is not above the lower limit {low:g}",
                remedy="exchange the two or widen the window",
            )
        )
    return found


def _looks_like_port(address: str) -> bool:
    return address.startswith(("/dev/", "COM", "\\\\.\\COM"))


def _cell(table: _Cell) -> CellSpec:
    values = table.model_dump()
    values["nominal_capacity_Ah"] = values.pop("nominal_capacity_mAh") * 1e-3
    return CellSpec(**values)


def _limits(table: _Limits) -> CellLimits:
    return CellLimits(
        continuous=ContinuousEnvelope(
            voltage_min_V=table.voltage_min_V.levels(),
            voltage_max_V=table.voltage_max_V.levels(),
            charge_current_max_A=table.charge_current_max_mA.levels(1e-3),
            discharge_current_max_A=table.discharge_current_max_mA.levels(1e-3),
            temperature_min_K=table.temperature_min_degC.levels(shift=ZERO_CELSIUS_K),
            temperature_max_K=table.temperature_max_degC.levels(shift=ZERO_CELSIUS_K),
        ),
        pulse_envelopes=tuple(
            PulseEnvelope(
                name=pulse.name,
                max_current_A=pulse.max_current_mA * 1e-3,
                min_voltage_V=pulse.min_voltage_V,
                max_voltage_V=pulse.max_voltage_V,
                max_on_s=pulse.max_on_s,
                min_off_s=pulse.min_off_s,
                max_charge_Ah=pulse.max_charge_mAh * 1e-3,
                max_count=pulse.max_count,
                max_temperature_K=pulse.max_temperature_degC + ZERO_CELSIUS_K,
            )
            for pulse in table.pulse
        ),
        max_half_cycle_charge_Ah=table.max_half_cycle_charge_mAh * 1e-3,
        max_half_cycle_s=table.max_half_cycle_h * SECONDS_PER_HOUR,
        max_unchanged_s=table.max_unchanged_s,
        copper_potential_operate_V=or_nan(table.copper_potential_operate_V),
        copper_potential_trip_V=or_nan(table.copper_potential_trip_V),
        cathode_ocv_upper_V=or_nan(table.cathode_ocv_upper_V),
    )


def _schedule(file: RunFile) -> ScheduleConfig:
    table = file.schedule
    return ScheduleConfig(
        protocols=table.protocols,
        spacing_cycles=table.spacing_cycles,
        budget_h=table.budget_h,
        treat_probability=table.treat_probability,
        value_per_mAh=table.value_per_mAh,
        price_per_h=table.price_per_h,
        loss_threshold_Ah=table.loss_threshold_fraction * file.cell.nominal_capacity_mAh * 1e-3,
        loss_shows=file.cell.format not in (CellFormat.EXCESS_LITHIUM, CellFormat.LI_LI),
        exploration_sd=table.exploration_sd,
    )


def _estimator(file: RunFile) -> EstimatorConfig:
    return EstimatorConfig(
        cell_format=file.cell.format,
        nominal_capacity_Ah=file.cell.nominal_capacity_mAh * 1e-3,
        area_cm2=file.cell.area_cm2,
        lower_cut_off_V=file.cell.lower_cut_off_V,
        upper_cut_off_V=file.cell.upper_cut_off_V,
        gain_u=file.estimator.gain_u,
        offset_u_A_of_range=file.estimator.offset_u_of_range,
        inactive_share_mean=file.estimator.inactive_share_mean,
        inactive_share_sd=file.estimator.inactive_share_sd,
    )
