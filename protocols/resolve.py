"""From a recipe to steps in absolute units for one cell."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple, assert_never

from controller.domain.cell import TWO_FOILS, CellFormat, CellSpec
from controller.domain.command import (
    CHARGE,
    DISCHARGE,
    HOLD_0A,
    TAG_BASE,
    TAG_DIAGNOSTIC,
    TAG_TREATMENT,
)
from controller.domain.errors import InvariantError, refuse
from controller.domain.sample import NAN
from controller.domain.step import Stage, Step
from controller.domain.units import SECONDS_PER_HOUR
from protocols.spec import (
    BASE,
    CUT_OFF,
    ChargeStep,
    DischargeStep,
    HoldStep,
    Kind,
    Phase,
    Placement,
    PlainStep,
    PulseStep,
    Recipe,
    RepeatStep,
    RestStep,
    duration_s,
    number,
    plain_steps,
)

# The rate of base cycling where the run names no other (1/h); assumed, 0.1-1.
BASE_C_RATE: Final = 1.0 / 3.0

# Longest time given to a step that ends at a voltage, as a multiple of nominal capacity over
# current. Assumed, 1.2-3: a fresh cell holds some more than nominal.
TIME_MARGIN_TO_VOLTAGE: Final = 1.5
# Longest time given to a step that ends at a charge: factor and constant. Assumed; the current
# may fall below its set-point only where the voltage bound is met, which ends the step too.
TIME_MARGIN_TO_CHARGE: Final = 1.1
TIME_MARGIN_TO_CHARGE_S: Final = 10.0

_TAG_OF_KIND: Final = {
    Kind.FORMATION: TAG_BASE,
    Kind.BASE: TAG_BASE,
    # An anchor takes out what base cycling left behind: it is there to measure.
    Kind.ANCHOR: TAG_DIAGNOSTIC,
    Kind.REFERENCE_TEST: TAG_DIAGNOSTIC,
    Kind.TREATMENT: TAG_TREATMENT,
}
_STAGE_OF_PHASE: Final = {
    Phase.ARM: Stage.ARM,
    Phase.EXECUTE: Stage.EXECUTE,
    Phase.RECOVER: Stage.RECOVER,
    Phase.EVALUATE: Stage.EVALUATE,
}


def resolve(
    recipe: Recipe, cell: CellSpec, *, sham: bool = False, base_c_rate: float = BASE_C_RATE
) -> tuple[Step, ...]:
    """Return the steps of a recipe for one cell, loops written out.

    Parameters
    ----------
    recipe : Recipe
    cell : CellSpec
        Gives area (cm2), nominal capacity (Ah) and cut-offs (V).
    sham : bool
        The recipe's control steps instead.
    base_c_rate : float
        What ``"base"`` means where the recipe has no ``base_c_rate`` of its own (1/h).

    Returns
    -------
    tuple of Step
        Empty for a recipe whose control is doing nothing.

    Raises
    ------
    ConfigurationError
        A voltage of the recipe stands outside the order lower < upper for this cell.
    """
    own = recipe.parameters.get("base_c_rate")
    resolver = _Resolver(recipe, cell, own.value if own is not None else base_c_rate)
    return tuple(resolver.steps(recipe.sham_steps if sham else recipe.steps))


class _Resolver:
    __slots__ = ("_base_c_rate", "_cell", "_charge_Ah", "_recipe")

    def __init__(self, recipe: Recipe, cell: CellSpec, base_c_rate: float) -> None:
        self._recipe = recipe
        self._cell = cell
        self._base_c_rate = base_c_rate
        self._charge_Ah = start_charge_Ah(recipe, cell)

    def steps(self, written: Iterable[PlainStep | RepeatStep]) -> Iterator[Step]:
        for step in written:
            if isinstance(step, RepeatStep):
                for _ in range(round(number(step.times, self._recipe))):
                    yield from self.steps(step.steps)
            elif (resolved := self._step(step)) is not None:
                self._charge_Ah += expect_step(resolved, self._cell, self._charge_Ah).charge_Ah
                yield resolved

    def _step(self, step: PlainStep) -> Step | None:
        match step:
            case RestStep():
                return self._rest(step)
            case ChargeStep() | DischargeStep():
                return self._flow(step)
            case HoldStep():
                return self._hold(step)
            case PulseStep():
                return self._pulse(step)
            case _:
                assert_never(step)

    def _rest(self, step: RestStep) -> Step | None:
        threshold = step.only_if_faster_than_mA_per_cm2
        if threshold is not None and not self._fastest_mA_per_cm2() > threshold:
            return None
        time_s = duration_s(step, self._recipe, "duration")
        assert time_s is not None  # noqa: S101 - the step's own validator saw to it
        return Step(
            name=step.say or f"rest {time_words(time_s)}",
            stage=self._stage(step),
            kind=HOLD_0A,
            current_A=0.0,
            voltage_bound_V=NAN,
            max_duration_s=time_s,
            tag=_TAG_OF_KIND[self._recipe.kind],
            period_s=NAN if step.period_s is None else step.period_s,
            anchor=step.anchor,
            ocv_check=step.ocv_check,
        )

    def _flow(self, step: ChargeStep | DischargeStep) -> Step:
        charging = isinstance(step, ChargeStep)
        current_A = self._current_A(step)
        bound_V = self._bound_V(
            step.up_to_voltage_V if isinstance(step, ChargeStep) else step.down_to_voltage_V,
            charging=charging,
        )
        charge_Ah = self._end_charge_Ah(step, charging=charging)
        until_A = (
            NAN
            if step.until_current_c_rate is None
            else self._cell.c_rate_current_A(self._rate(step.until_current_c_rate))
        )
        time_s = duration_s(step, self._recipe, "max_duration")
        if time_s is None:
            time_s = self._derived_s(current_A, charge_Ah)
        return Step(
            name=step.say or self._flow_words(current_A, bound_V, charge_Ah, charging=charging),
            stage=self._stage(step),
            kind=CHARGE if charging else DISCHARGE,
            current_A=current_A if charging else -current_A,
            voltage_bound_V=bound_V,
            max_duration_s=time_s,
            end_voltage_V=bound_V if step.until_current_c_rate is None else NAN,
            end_current_A=until_A,
            end_charge_Ah=charge_Ah,
            tag=_TAG_OF_KIND[self._recipe.kind],
            envelope=self._recipe.pulse_envelope if step.in_envelope else "",
            period_s=NAN if step.period_s is None else step.period_s,
            closes_half_cycle=isinstance(step, DischargeStep) and step.closes_half_cycle,
        )

    def _hold(self, step: HoldStep) -> Step | None:
        charging = step.at == "upper-cut-off"
        if self._cell.format is CellFormat.LI_LI or (charging and self._cell.format in TWO_FOILS):
            return None  # there is no voltage at which such a half cycle ends: nothing to hold
        current_A = self._current_A(step)
        bound_V = self._bound_V(CUT_OFF, charging=charging)
        time_s = duration_s(step, self._recipe, "max_duration")
        assert time_s is not None  # noqa: S101 - the step's own validator saw to it
        rate = self._rate(step.until_current_c_rate)
        return Step(
            name=step.say or f"hold {bound_V:g} V to {rate_words(rate)}",
            stage=self._stage(step),
            kind=CHARGE if charging else DISCHARGE,
            current_A=current_A if charging else -current_A,
            voltage_bound_V=bound_V,
            max_duration_s=time_s,
            end_current_A=self._cell.c_rate_current_A(rate),
            tag=_TAG_OF_KIND[self._recipe.kind],
            envelope=self._recipe.pulse_envelope if step.in_envelope else "",
            period_s=NAN if step.period_s is None else step.period_s,
            anchor=step.anchor,
        )

    def _pulse(self, step: PulseStep) -> Step:
        charging = step.direction == "charge"
        current_A = self._current_A(step)
        bound_V = self._bound_V(step.voltage_bound_V, charging=charging)
        time_s = number(step.duration_s, self._recipe)
        density = self._cell.current_density_mA_per_cm2(current_A)
        return Step(
            name=step.say or f"{step.direction} pulse {density:g} mA/cm2, {time_words(time_s)}",
            stage=self._stage(step),
            kind=CHARGE if charging else DISCHARGE,
            current_A=current_A if charging else -current_A,
            voltage_bound_V=bound_V,
            max_duration_s=time_s,
            tag=_TAG_OF_KIND[self._recipe.kind],
            envelope=self._recipe.pulse_envelope if step.in_envelope else "",
            device_timed=step.device_timed,
            polarity_probe=step.polarity_probe,
            period_s=NAN if step.period_s is None else step.period_s,
        )

    def _rate(self, value: float | str) -> float:
        return self._base_c_rate if value == BASE else number(value, self._recipe)

    def _current_A(self, step: ChargeStep | DischargeStep | HoldStep | PulseStep) -> float:
        """Return the magnitude of the step's current (A)."""
        if step.c_rate is not None:
            return self._cell.c_rate_current_A(self._rate(step.c_rate))
        assert step.current_density_mA_per_cm2 is not None  # noqa: S101 - validated: one of two
        return self._cell.current_A(number(step.current_density_mA_per_cm2, self._recipe))

    def _bound_V(self, value: float | str, *, charging: bool) -> float:
        cell = self._cell
        if value == CUT_OFF:
            return cell.upper_cut_off_V if charging else cell.lower_cut_off_V
        bound_V = number(value, self._recipe)
        if charging and not bound_V > cell.lower_cut_off_V:
            raise refuse(
                f"recipe {self._recipe.name}",
                "up_to_voltage_V",
                f"{bound_V:g} V is not above this cell's lower cut-off",
                f"above {cell.lower_cut_off_V:g} V",
            )
        if not charging and not bound_V < cell.upper_cut_off_V:
            raise refuse(
                f"recipe {self._recipe.name}",
                "down_to_voltage_V",
                f"{bound_V:g} V is not below this cell's upper cut-off",
                f"below {cell.upper_cut_off_V:g} V",
            )
        return bound_V

    def _end_charge_Ah(self, step: ChargeStep | DischargeStep, *, charging: bool) -> float:
        cell = self._cell
        if step.charge_fraction_of_nominal is not None:
            return number(step.charge_fraction_of_nominal, self._recipe) * cell.nominal_capacity_Ah
        if step.charge_mAh_per_cm2 is not None:
            return number(step.charge_mAh_per_cm2, self._recipe) * cell.area_cm2 * 1e-3
        if step.charge_as_in_step is not None:
            return self._charge_of_Ah(step.charge_as_in_step)
        if charging and cell.format in TWO_FOILS:
            # no voltage ends plating against a lithium foil: nominal capacity does
            return max(cell.nominal_capacity_Ah - self._charge_Ah, 0.0) or cell.nominal_capacity_Ah
        if cell.format is CellFormat.LI_LI:
            return max(self._charge_Ah, 0.0) or cell.nominal_capacity_Ah
        return NAN

    def _charge_of_Ah(self, said: str) -> float:
        """Return the charge of the treatment step of that name, for its sham."""
        for _, step in plain_steps(self._recipe.steps):
            if step.say == said and isinstance(step, ChargeStep | DischargeStep | PulseStep):
                if isinstance(step, PulseStep):
                    return (
                        self._current_A(step)
                        * number(step.duration_s, self._recipe)
                        / SECONDS_PER_HOUR
                    )
                return self._end_charge_Ah(step, charging=isinstance(step, ChargeStep))
        raise InvariantError(f"recipe {self._recipe.name}: no step is called {said!r}")

    def _derived_s(self, current_A: float, charge_Ah: float) -> float:
        if charge_Ah > 0.0:
            seconds = charge_Ah / current_A * SECONDS_PER_HOUR
            return TIME_MARGIN_TO_CHARGE * seconds + TIME_MARGIN_TO_CHARGE_S
        return (
            TIME_MARGIN_TO_VOLTAGE * self._cell.nominal_capacity_Ah / current_A * SECONDS_PER_HOUR
        )

    def _fastest_mA_per_cm2(self) -> float:
        return max(
            (
                self._cell.current_density_mA_per_cm2(self._current_A(step))
                for _, step in plain_steps(self._recipe.steps)
                if not isinstance(step, RestStep)
            ),
            default=0.0,
        )

    def _stage(self, step: PlainStep) -> Stage:
        match self._recipe.kind:
            case Kind.FORMATION:
                return Stage.FORMATION
            case Kind.ANCHOR | Kind.REFERENCE_TEST:
                return Stage.DIAGNOSING
            case Kind.TREATMENT:
                return _STAGE_OF_PHASE[step.phase or Phase.EXECUTE]
            case Kind.BASE:
                return _base_stage(step)
            case _:
                assert_never(self._recipe.kind)

    def _flow_words(
        self, current_A: float, bound_V: float, charge_Ah: float, *, charging: bool
    ) -> str:
        verb = "charge" if charging else "discharge"
        words = f"{verb} at {rate_words(self._cell.c_rate(current_A))} to {bound_V:g} V"
        return f"{words} or {charge_Ah * 1e3:.3g} mAh" if charge_Ah > 0.0 else words


def _base_stage(step: PlainStep) -> Stage:
    match step:
        case RestStep():
            return Stage.REST
        case ChargeStep():
            return Stage.CHARGE
        case DischargeStep():
            return Stage.DISCHARGE
        case HoldStep():
            return Stage.CHARGE if step.at == "upper-cut-off" else Stage.DISCHARGE
        case PulseStep():
            return Stage.CHARGE if step.direction == "charge" else Stage.DISCHARGE
        case _:
            assert_never(step)


def rate_words(c_rate: float) -> str:
    """Return a C-rate (1/h) as people say it: ``"C/3"``, ``"1.54C"``."""
    if c_rate < 1.0:
        return f"C/{1.0 / c_rate:.3g}"
    return f"{c_rate:.3g}C"


def time_words(time_s: float) -> str:
    """Return a time (s) in the unit people use for its size."""
    if time_s >= 7200.0:
        return f"{time_s / SECONDS_PER_HOUR:.4g} h"
    if time_s >= 120.0:
        return f"{time_s / 60.0:.4g} min"
    return f"{time_s:.4g} s"


class Expected(NamedTuple):
    """What a step is expected to do: time (s) and signed charge (Ah, charging positive)."""

    duration_s: float
    charge_Ah: float


def start_charge_Ah(recipe: Recipe, cell: CellSpec) -> float:
    """Return the charge in the cell where the recipe begins (Ah): nominal or none."""
    return cell.nominal_capacity_Ah if recipe.placement is Placement.AFTER_CHARGE else 0.0


def expect_step(step: Step, cell: CellSpec, charge_Ah: float) -> Expected:
    """Return what a step is expected to do in a cell that holds `charge_Ah` (Ah).

    A step that ends at a voltage is taken to fill the nominal capacity or to empty the cell; a
    hold takes its longest time and moves nothing that could be planned.
    """
    if step.current_A == 0.0 or step.end_current_A > 0.0:
        return Expected(step.max_duration_s, 0.0)
    sign = 1.0 if step.current_A > 0.0 else -1.0
    magnitude_A = abs(step.current_A)
    if step.end_charge_Ah > 0.0:
        moved_Ah = step.end_charge_Ah
    elif math.isfinite(step.end_voltage_V):
        room_Ah = cell.nominal_capacity_Ah - charge_Ah if sign > 0.0 else charge_Ah
        moved_Ah = max(room_Ah, 0.0)
    else:
        moved_Ah = magnitude_A * step.max_duration_s / SECONDS_PER_HOUR
    moved_Ah = min(moved_Ah, magnitude_A * step.max_duration_s / SECONDS_PER_HOUR)
    return Expected(moved_Ah / magnitude_A * SECONDS_PER_HOUR, sign * moved_Ah)


def expect(steps: Sequence[Step], cell: CellSpec, charge_Ah: float = 0.0) -> list[Expected]:
    """Return what each of the steps is expected to do, beginning at `charge_Ah` (Ah)."""
    expected = []
    for step in steps:
        one = expect_step(step, cell, charge_Ah)
        charge_Ah += one.charge_Ah
        expected.append(one)
    return expected


def expected_hours(
    recipe: Recipe, cell: CellSpec, *, sham: bool = False, base_c_rate: float = BASE_C_RATE
) -> float:
    """Return the laboratory time of a recipe on a cell (h), for the scheduler's price."""
    steps = resolve(recipe, cell, sham=sham, base_c_rate=base_c_rate)
    timeline = expect(steps, cell, start_charge_Ah(recipe, cell))
    return sum(one.duration_s for one in timeline) / SECONDS_PER_HOUR
