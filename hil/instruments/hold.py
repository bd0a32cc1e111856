"""Holding a voltage: which current keeps the terminals at the set value, three ways.

What a plant offers decides (`hil.plant.Regulation`): where it can go back, the current is found
for which the *end* of a step is at the set voltage; where it only tells its voltage at once, that
end is foreseen (`hil.instruments.foreseen`); where it does neither, the last slope of voltage over
current is followed and the error reported. Charging current is positive, and the voltage of any
plant grows with it.
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple, Protocol

from hil.instruments.terminals import Terminals

MAX_HELD_STEP_S: Final = 5.0  # when the current changes less than TARGET_CHANGE per step
MIN_HELD_STEP_S: Final = 1e-3
FIRST_HELD_STEP_S: Final = 0.05
TARGET_CHANGE: Final = 0.01  # of the current per step
REJECTED_CHANGE: Final = 0.10
LEAD_SHARE: Final = 1.0 / 3.0  # of a step, at the current of its past; see `ImplicitHold`
LEAD_V: Final = 5e-4  # what the voltage may be off at its end
HELD_V: Final = 1e-6  # the end of an implicit step is solved to this,
HELD_CHANGE: Final = 1e-3  # and to this of the current,
SOLVABLE_V: Final = 1e-9  # but not finer than rounding allows
SOLVED_V: Final = 1e-8
HELD_ITERATIONS: Final = 80
SECANT_ITERATIONS: Final = 8  # after these, every second one halves the bracket
DRIFT_V: Final = 1e-4  # of error wanted in a step where only the slope is known
CALM_STEPS: Final = 50
REACHED_V: Final = 1e-3
SLOPE_STEP_S: Final = 0.02  # the shortest of these: slower than double layers
SLEWING_SHARE: Final = 0.05  # of the range of the current, per step
SWINGING: Final = 1.5
FIRST_SLOPE_V: Final = 1.0  # over the range of the current: far more than cells have
SLOPE_SIGNAL_V: Final = 3e-4  # a change of current that should move the voltage less says nothing
_FLOOR_A: Final = 1e-6


class HeldStep(NamedTuple):
    """One step at constant voltage, as it was made.

    Attributes
    ----------
    taken_s, charge_C : float
    current_A, voltage_V : float
        At its end.
    error_V : float
        Voltage minus target while the last of its current flowed: at its end, or at its begin where
        that is known and further off.
    """

    taken_s: float
    charge_C: float
    current_A: float
    voltage_V: float
    error_V: float


class Span(NamedTuple):
    """What the current may be (A)."""

    low_A: float
    high_A: float

    def clip(self, current_A: float) -> float:
        """Return the nearest current in the span."""
        return min(max(current_A, self.low_A), self.high_A)


class Hold(Protocol):
    """Finds the current."""

    def begin(self) -> None:
        """Forget the past: another set value, or another state."""
        ...

    def step(
        self, target_V: float, current_A: float, voltage_V: float, span: Span, left_s: float
    ) -> HeldStep:
        """Move the plant by at most `left_s` from the present current and voltage."""
        ...


class ImplicitHold:
    """The current of a step is the one with which the step *ends* at the set voltage.

    A current that is constant over the whole step would lag by half a step (first order:
    0.3 % of the charge of a hold). So the first third of a step flows at the current of half a
    step ago, taken from the last rate of change, and the solved current flows for the rest: for a
    plant that only integrates this is the backward differentiation formula of second order, which
    damps the fast electrode processes as backward Euler does. Where the current or the voltage
    moves fast the whole step is solved for (backward Euler), down to steps of 1 ms.
    """

    __slots__ = ("_rate_A_per_s", "_slope_Ohm", "_step_s", "_terminals")

    def __init__(self, terminals: Terminals) -> None:
        self._terminals = terminals
        self._slope_Ohm = 0.0
        self._step_s = FIRST_HELD_STEP_S
        self._rate_A_per_s = 0.0

    def begin(self) -> None:
        """Forget the past."""
        self._slope_Ohm = 0.0
        self._step_s = FIRST_HELD_STEP_S
        self._rate_A_per_s = 0.0

    def step(
        self,
        target_V: float,
        current_A: float,
        voltage_V: float,  # noqa: ARG002 - the end is what counts
        span: Span,
        left_s: float,
    ) -> HeldStep:
        """Move the plant by one step, shortened until the current changes little."""
        step_s = _without_sliver(self._step_s, left_s)
        terminals = self._terminals
        before = terminals.snapshot()
        while True:
            charge_C, next_A, end_V = self._try(before, target_V, current_A, span, step_s)
            change = self._change(current_A, next_A)
            if change <= REJECTED_CHANGE or step_s <= MIN_HELD_STEP_S:
                break
            terminals.restore(before)
            step_s = max(MIN_HELD_STEP_S, 0.25 * step_s)
            self._rate_A_per_s = 0.0
        self._learn(current_A, next_A, step_s, change)
        return HeldStep(step_s, charge_C, next_A, end_V, end_V - target_V)

    def _change(self, current_A: float, next_A: float) -> float:
        """Return by what share the current has changed, beyond what the solver leaves open."""
        open_A = 2.0 * SOLVABLE_V / self._slope_Ohm if self._slope_Ohm > 0.0 else 0.0
        scale_A = max(abs(current_A), abs(next_A), _FLOOR_A)
        return max(0.0, abs(next_A - current_A) - open_A) / scale_A

    def _learn(self, current_A: float, next_A: float, step_s: float, change: float) -> None:
        """Take the next step's length and the rate of change from the step just made."""
        rate = (next_A - current_A) / step_s
        # A sliver before an edge says little about the rate: what is solved to 1 uV is noise there.
        weight = min(1.0, step_s / self._step_s)
        if change > REJECTED_CHANGE:
            rate, weight = 0.0, 1.0
        self._rate_A_per_s += weight * (rate - self._rate_A_per_s)
        wanted = min(2.0, max(0.3, TARGET_CHANGE / (change + 1e-9)))
        if step_s >= self._step_s or wanted < 1.0:
            self._step_s = min(MAX_HELD_STEP_S, max(MIN_HELD_STEP_S, step_s * wanted))

    def _try(
        self, before: Any, target_V: float, current_A: float, span: Span, step_s: float
    ) -> tuple[float, float, float]:
        """Move the plant by `step_s` from `before`; return charge (C), current and voltage then."""
        terminals = self._terminals
        rate = self._rate_A_per_s
        lead_s = lead_C = 0.0
        start = before
        if rate != 0.0:
            lead_A = span.clip(current_A - 0.5 * step_s * rate)
            lead_s = LEAD_SHARE * step_s
            if -LEAD_V < terminals.pass_current(lead_A, lead_s) - target_V < LEAD_V:
                lead_C = lead_A * lead_s
                start = terminals.snapshot()
            else:
                terminals.restore(before)
                lead_s = 0.0
        rest_s = step_s - lead_s
        guess_A = span.clip(current_A + step_s * rate)
        next_A, end_V = self._end_at(target_V, start, guess_A, span, rest_s)
        return lead_C + next_A * rest_s, next_A, end_V

    def _end_at(
        self, target_V: float, start: Any, guess_A: float, span: Span, step_s: float
    ) -> tuple[float, float]:
        """Find the current with which a step from `start` ends at the target, and make that step.

        Secant with the slope kept from step to step, inside a bracket: a cell that runs out of
        lithium is as steep as a wall, and the bracket is halved where the secant does not help.
        """
        terminals = self._terminals
        slope_Ohm = self._slope_Ohm
        tolerance_V = min(HELD_V, max(SOLVABLE_V, HELD_CHANGE * slope_Ohm * abs(guess_A)))
        end_V = terminals.pass_current(guess_A, step_s)
        if -tolerance_V < end_V - target_V < tolerance_V:  # as a rule
            return guess_A, end_V
        search = Search(span, target_V, guess_A, tolerance_V, slope_Ohm)
        while not search.found(end_V):
            terminals.restore(start)
            end_V = terminals.pass_current(search.trial_A, step_s)
        self._slope_Ohm = search.slope_Ohm
        return search.trial_A, end_V


class SlopeHold:
    """The current follows the error by the last slope of voltage over current.

    All that is known is what each step returned. The first slope is taken far too steep, so that
    the current comes near from one side; no step changes it by more than a share of its span.
    """

    __slots__ = (
        "_calm_steps",
        "_drift_V_per_s",
        "_reached",
        "_slope_Ohm",
        "_step_s",
        "_terminals",
    )

    def __init__(self, terminals: Terminals) -> None:
        self._terminals = terminals
        self._slope_Ohm = 0.0
        self.begin()

    def begin(self) -> None:
        """Forget the past; the slope is the plant's and stays."""
        self._step_s = SLOPE_STEP_S
        self._drift_V_per_s = 0.0
        self._calm_steps = 0
        self._reached = False

    def step(
        self, target_V: float, current_A: float, voltage_V: float, span: Span, left_s: float
    ) -> HeldStep:
        """Move the plant by one step."""
        step_s = _without_sliver(self._step_s, left_s)
        missing_V = target_V - voltage_V - self._drift_V_per_s * step_s
        next_A, expected_V = self._next(missing_V, current_A, span)
        end_V = self._terminals.pass_current(next_A, step_s)
        self._learn(expected_V, end_V - voltage_V, step_s)
        error_V, before_V = end_V - target_V, voltage_V - target_V
        self._judge(error_V, before_V)
        if abs(error_V) < REACHED_V or error_V * before_V < 0.0:
            self._reached = True
        if self._reached:
            wanted = min(1.5, max(0.3, DRIFT_V / (abs(error_V) + 1e-12)))
            if step_s >= self._step_s or wanted < 1.0:
                self._step_s = min(MAX_HELD_STEP_S, max(SLOPE_STEP_S, step_s * wanted))
        return HeldStep(step_s, next_A * step_s, next_A, end_V, error_V)

    def _next(self, missing_V: float, current_A: float, span: Span) -> tuple[float, float]:
        """Return the current that should move the voltage, and by how much it should."""
        span_A = span.high_A - span.low_A
        if not self._slope_Ohm > 0.0:
            self._slope_Ohm = FIRST_SLOPE_V / span_A
        most_A = SLEWING_SHARE * span_A
        change_A = min(max(missing_V / self._slope_Ohm, -most_A), most_A)
        next_A = span.clip(current_A + change_A)
        return next_A, (next_A - current_A) * self._slope_Ohm

    def _learn(self, expected_V: float, change_V: float, step_s: float) -> None:
        """Split what the voltage did into what the current did to it and drift."""
        rest_V = change_V - self._drift_V_per_s * step_s
        if abs(expected_V) > SLOPE_SIGNAL_V:
            self._slope_Ohm *= min(max(rest_V / expected_V, 0.5), 2.0)
        else:  # a sliver before an edge says little of the drift in a whole step
            weight = 0.5 * min(1.0, step_s / self._step_s)
            self._drift_V_per_s += weight * (rest_V - expected_V) / step_s

    def _judge(self, error_V: float, before_V: float) -> None:
        """Take a steeper slope where the voltage swings, a flatter one where it comes slowly."""
        self._calm_steps += 1
        if abs(error_V) < DRIFT_V:
            return
        if error_V * before_V < -0.25 * before_V * before_V:
            self._slope_Ohm *= SWINGING
            self._calm_steps = 0
        elif error_V * before_V > 0.5 * before_V * before_V and self._calm_steps > CALM_STEPS:
            self._slope_Ohm /= SWINGING


class Search:
    """Secant inside a bracket for the current at which a rising voltage is at its target.

    Parameters
    ----------
    span : Span
        Its ends are tried when the secant points beyond them, and taken where even they do not
        reach the target.
    target_V, guess_A, tolerance_V : float
    slope_Ohm : float
        A first guess of the slope; 0 where nothing is known.
    """

    __slots__ = (
        "_above_A",
        "_below_A",
        "_count",
        "_last_A",
        "_last_V",
        "_span",
        "_target_V",
        "_tolerance_V",
        "slope_Ohm",
        "trial_A",
    )

    def __init__(
        self, span: Span, target_V: float, guess_A: float, tolerance_V: float, slope_Ohm: float
    ) -> None:
        self.trial_A = span.clip(guess_A)
        self.slope_Ohm = slope_Ohm
        self._span = span
        self._target_V = target_V
        self._tolerance_V = tolerance_V
        self._below_A, self._above_A = -math.inf, math.inf
        self._last_A = self._last_V = math.nan
        self._count = 0

    def found(self, voltage_V: float) -> bool:
        """Take the voltage at `trial_A`; return whether that is it, else choose another."""
        x = self.trial_A
        error_V = voltage_V - self._target_V
        if -self._tolerance_V < error_V < self._tolerance_V:
            if self._count:
                self._learn(x, error_V)
            return True
        if error_V > 0.0:
            if x <= self._span.low_A:
                return True
            self._above_A = x
        else:
            if x >= self._span.high_A:
                return True
            self._below_A = x
        if self._count:
            self._learn(x, error_V)
        self._last_A, self._last_V = x, error_V
        self._count += 1
        self.trial_A = self._next(x, error_V)
        return self.trial_A == x or self._count >= HELD_ITERATIONS

    def _learn(self, x: float, error_V: float) -> None:
        if x != self._last_A:
            slope_Ohm = (error_V - self._last_V) / (x - self._last_A)
            if slope_Ohm > 0.0:
                self.slope_Ohm = slope_Ohm

    def _next(self, x: float, error_V: float) -> float:
        below_A, above_A = self._below_A, self._above_A
        if self.slope_Ohm > 0.0:
            trial_A = x - error_V / self.slope_Ohm
        else:  # nothing known: a small step in the direction the error asks for
            step_A = max(0.01 * abs(x), 1e-3 * abs(error_V))
            trial_A = x - step_A if error_V > 0.0 else x + step_A
        stuck = self._count > SECANT_ITERATIONS and self._count % 2
        if stuck or not below_A < trial_A < above_A:
            trial_A = 0.5 * (self._span.clip(below_A) + self._span.clip(above_A))
        return self._span.clip(trial_A)


def solve_at_once(terminals: Terminals, target_V: float, guess_A: float, span: Span) -> float:
    """Return the current in the span at which the terminals are at `target_V` at once.

    An end of the span where even that does not reach it.
    """
    search = Search(span, target_V, guess_A, SOLVED_V, 0.0)
    while not search.found(terminals.at_once(search.trial_A)):
        pass
    return search.trial_A


def _without_sliver(step_s: float, left_s: float) -> float:
    """Return a step that leaves no sliver of the time left."""
    return left_s if step_s > 0.8 * left_s else step_s
