"""What an output stage does to a cell over time: source, limit, and the crossing between them.

The emulator's physics of regulation. Voltages and currents are those at the instrument's
terminals, charging current positive as long as the cell stands the right way round. Nothing here
assumes the sign of a cell's voltage, nor that a cell can do more than `step`.
"""

from __future__ import annotations

import math
from typing import Any, Final, assert_never

from controller.domain.errors import InvariantError
from hil.instruments.foreseen import ForeseenHold
from hil.instruments.hold import (
    REACHED_V,
    Hold,
    ImplicitHold,
    SlopeHold,
    Span,
    solve_at_once,
)
from hil.instruments.terminals import PROBE_S, Terminals
from hil.plant import Plant, PlantPort, Regulation, port_of

OPEN_CIRCUIT: Final = 0
VOLTAGE_SOURCE: Final = 1
CURRENT_SOURCE: Final = 2

_FREE, _FIXED, _HELD = 0, 1, 2

MAX_STEP_S: Final = 60.0
MAX_BLIND_STEP_S: Final = 5.0  # towards a bound, on a plant that cannot go back
MIN_BLIND_STEP_S: Final = 1e-7  # bare Cu moves 0.03 mV; PROBE_S where nothing is known at once
BLIND_V: Final = 2e-3  # the voltage should move in one of them
FADING: Final = 0.8  # per step, of the steepest seen: where lithium ends, steps are uneven
FULL_SCALE_A: Final = 1.05
CROSSING_V: Final = 1e-4
CROSSING_S: Final = 1e-7  # bare Cu moves up to 1 V in 1 ms
_MAH: Final = 1.0 / 3.6  # per coulomb


def hold_for(terminals: Terminals) -> Hold:
    """Return the best way to hold a voltage that the plant allows."""
    match terminals.port.regulation:
        case Regulation.IMPLICIT:
            return ImplicitHold(terminals)
        case Regulation.EXPLICIT:
            return ForeseenHold(terminals)
        case Regulation.FROM_SLOPE:
            return SlopeHold(terminals)
        case never:
            assert_never(never)


class OutputStage:
    """Moves the cell under the present source settings.

    Parameters
    ----------
    plant : Plant or PlantPort
    ambient_K : float

    Attributes
    ----------
    voltage_V, current_A : float
        At the terminals, now.
    limited : bool
        The limit regulates, not the source.
    damaged : bool
        As a current source it met an external voltage above its voltage limit.
    failure : str
        What the plant did that no cell does; from then on it is left alone, at no current.
    held_error_V, largest_held_error_V : float
        Terminal voltage minus set value at constant voltage: at the last step, and the largest
        size since the set value was first reached.
    largest_overshoot_V : float
        How far a voltage bound was passed at constant current before that was noticed.
    charge_in_mAh, charge_out_mAh : float
        What passed the terminals.
    """

    __slots__ = (
        "_bound_V",
        "_high_V",
        "_hold",
        "_level",
        "_limit",
        "_low_V",
        "_mode",
        "_reached",
        "_regime",
        "_shortest_s",
        "_span",
        "_stale",
        "_steepest_V_per_s",
        "_target_V",
        "_terminals",
        "_watch_s",
        "charge_in_mAh",
        "charge_out_mAh",
        "current_A",
        "damaged",
        "failure",
        "held_error_V",
        "largest_held_error_V",
        "largest_overshoot_V",
        "limited",
        "port",
        "voltage_V",
    )

    def __init__(self, plant: Plant | PlantPort, ambient_K: float) -> None:
        self.port = plant if isinstance(plant, PlantPort) else port_of(plant)
        self._terminals = Terminals(self.port, ambient_K)
        self._hold = hold_for(self._terminals)
        self.voltage_V = math.nan  # until it is first asked for
        self.current_A = 0.0
        self.limited = False
        self.damaged = False
        self.failure = ""
        self.held_error_V = self.largest_held_error_V = self.largest_overshoot_V = 0.0
        self.charge_in_mAh = self.charge_out_mAh = 0.0
        self._mode = OPEN_CIRCUIT
        self._level = 0.0
        self._limit = 0.0
        self._regime = _FREE
        self._low_V = self._high_V = self._target_V = 0.0
        self._span = Span(0.0, 0.0)
        self._reached = False
        self._shortest_s = MIN_BLIND_STEP_S if self._terminals.knows_at_once else PROBE_S
        self._watch_s = self._shortest_s
        self._steepest_V_per_s = 0.0
        self._stale = True

    @property
    def temperature_K(self) -> float:
        """Temperature of the cell (K): its own word where it has one, else as `step` returned."""
        if self.failure:
            return self._terminals.temperature_K
        return self.port.temperature_K(self._terminals.temperature_K)

    def know_temperature(self, temperature_K: float) -> None:
        """Take up a kept temperature (K), for plants that tell it only after a step."""
        self._terminals.temperature_K = temperature_K

    def wire(self, *, lead_Ohm: float, polarity: float) -> None:
        """Set the resistance of the leads the sense does not remove, and which way the cell is."""
        terminals = self._terminals
        if lead_Ohm != terminals.lead_Ohm or polarity != terminals.polarity:
            terminals.lead_Ohm = lead_Ohm
            terminals.polarity = polarity
            self._stale = True

    def set(self, mode: int, level: float, limit: float) -> None:
        """Set what is sourced (V or A) and its limit (A or V); acts at once."""
        if mode != self._mode or level != self._level or limit != self._limit:
            self._mode = mode
            self._level = level
            self._limit = limit
            self._stale = True

    def open_voltage_V(self) -> float:
        """Return the cell's voltage (V) at zero current, as well as can be told without moving it.

        A plant that tells nothing without being moved is moved, by 1 ms at rest.
        """
        if self._terminals.knows_at_once:
            return self._terminals.at_once(0.0)
        return self._terminals.pass_current(0.0, PROBE_S)

    def settle(self) -> None:
        """Find the operating point for the present settings and state, without time passing."""
        if self.failure:
            return
        self._stale = False
        if math.isnan(self.voltage_V):
            self.voltage_V = self.open_voltage_V()
        if self._mode == OPEN_CIRCUIT:
            self._regime = _FREE
            self.limited = False
            self._flow(0.0)
        elif self._mode == VOLTAGE_SOURCE:
            self._hold_at(self._level, Span(-self._limit, self._limit), look=True)
        else:
            self._settle_current()

    def evolve(self, dt_s: float) -> None:
        """Let time pass under the present settings.

        Raises
        ------
        InvariantError
            The plant did what no cell does. Said once; after that it is left alone.
        """
        dt_s -= self.evolve_once(dt_s)
        while dt_s > 0.0:
            dt_s -= self.evolve_once(dt_s)

    def evolve_once(self, longest_s: float) -> float:
        """Let time pass until a step of the plant is done or a bound is met; return the time (s).

        Without time (0 s) only new settings act.

        Raises
        ------
        InvariantError
            As `evolve`.
        """
        if self.failure:
            return longest_s
        try:
            if self._stale:
                self.settle()
            if not longest_s > 0.0:
                return 0.0
            if self._regime == _HELD:
                return self._held_step(longest_s)
            if self._regime == _FIXED:
                return self._fixed_step(longest_s)
            step_s = min(longest_s, MAX_STEP_S)
            self.voltage_V = self._terminals.pass_current(0.0, step_s)
        except InvariantError as error:
            self.failure = str(error)
            self.current_A, self.voltage_V = 0.0, math.inf  # reads as overflow
            raise
        return step_s

    def notes(self) -> list[str]:
        """Return what a reader of this run has to know of how the plant was regulated."""
        found = []
        regulation = self.port.regulation
        if regulation is not Regulation.IMPLICIT:
            found.append(
                f"plant {self.port.name}: constant voltage is {regulation.value}, "
                f"largest error {1e3 * self.largest_held_error_V:.3g} mV, "
                f"voltage bounds passed by up to {1e3 * self.largest_overshoot_V:.3g} mV"
            )
        elif self.largest_held_error_V >= REACHED_V:
            found.append(
                f"plant {self.port.name}: constant voltage was off by up to "
                f"{1e3 * self.largest_held_error_V:.3g} mV"
            )
        return found

    # -- operating point ----------------------------------------------------------------------

    def _flow(self, current_A: float) -> None:
        """Let another current flow; its voltage is known at once, or after the next step."""
        if self._terminals.knows_at_once:
            self.voltage_V = self._terminals.at_once(current_A)
        self.current_A = current_A

    def _settle_current(self) -> None:
        terminals, bound_V, level_A = self._terminals, self._limit, self._level
        free_V = wanted_V = self.voltage_V
        if terminals.knows_at_once:
            free_V, wanted_V = terminals.at_once(0.0), terminals.at_once(level_A)
        if not -bound_V <= free_V <= bound_V:
            self.damaged = True
        if wanted_V > bound_V:
            # The clamp sinks or sources what it takes, up to the full scale of the instrument.
            self._hold_at(bound_V, Span(-FULL_SCALE_A, level_A), look=True)
        elif wanted_V < -bound_V:
            self._hold_at(-bound_V, Span(level_A, FULL_SCALE_A), look=True)
        else:
            self._fix(level_A, -bound_V, bound_V)

    def _fix(self, current_A: float, low_V: float, high_V: float) -> None:
        """Let a current flow until the voltage leaves its bounds."""
        self._regime = _FIXED
        self._low_V, self._high_V = low_V, high_V
        self._watch_s = self._shortest_s
        self._steepest_V_per_s = 0.0
        self.limited = self._mode == VOLTAGE_SOURCE or current_A != self._level
        self._flow(current_A)

    def _hold_at(self, target_V: float, span: Span, *, look: bool) -> None:
        """Hold a voltage with a current in the span.

        `look`: where even an end of the span does not reach the voltage, that end flows. Not after
        a bound was just met, or the two would take turns for ever.
        """
        self._target_V, self._span = target_V, span
        if self._terminals.knows_at_once:
            current_A = solve_at_once(self._terminals, target_V, self.current_A, span)
            if look and current_A in span:
                self._fix_at_end(current_A)
                return
            self._flow(current_A)
        else:
            self.current_A = span.clip(self.current_A)
        self._regime = _HELD
        self._reached = False
        self._hold.begin()
        self.limited = self._mode == CURRENT_SOURCE

    def _fix_at_end(self, current_A: float) -> None:
        """Let the end of the span flow that does not reach the held voltage."""
        if self._mode == CURRENT_SOURCE and current_A == self._level:
            self._fix(current_A, -self._limit, self._limit)
        elif current_A == self._span.high_A:
            self._fix(current_A, -math.inf, self._target_V)
        else:
            self._fix(current_A, self._target_V, math.inf)

    def _met(self, *, above: bool) -> None:
        """Hold the bound that a constant current has just met."""
        span = self._span
        if self._mode == CURRENT_SOURCE and self.current_A == self._level:
            level_A = self._level
            span = Span(-FULL_SCALE_A, level_A) if above else Span(level_A, FULL_SCALE_A)
        self._hold_at(self._high_V if above else self._low_V, span, look=False)

    # -- time ---------------------------------------------------------------------------------

    def _held_step(self, dt_s: float) -> float:
        """Constant voltage for one step; leave it where an end of the span is not enough."""
        target_V, span = self._target_V, self._span
        taken_s, charge_C, current_A, voltage_V, error_V = self._hold.step(
            target_V, self.current_A, self.voltage_V, span, dt_s
        )
        self._count(charge_C)
        before_V = self.voltage_V
        self.current_A, self.voltage_V = current_A, voltage_V
        off_V = voltage_V - target_V
        if (current_A >= span.high_A and off_V < 0.0) or (current_A <= span.low_A and off_V > 0.0):
            self._fix_at_end(current_A)
        else:
            self._note_error(error_V, before_V - target_V)
        return taken_s

    def _note_error(self, error_V: float, before_V: float) -> None:
        self.held_error_V = error_V
        if not self._reached:
            self._reached = abs(error_V) < REACHED_V or error_V * before_V < 0.0
        if self._reached:
            self.largest_held_error_V = max(self.largest_held_error_V, abs(error_V))

    def _fixed_step(self, dt_s: float) -> float:
        """Constant current, until the end of the step or a voltage bound."""
        terminals, current_A = self._terminals, self.current_A
        if self.port.snapshot is None:
            return self._blind_step(dt_s)
        step_s = min(dt_s, MAX_STEP_S)
        before = terminals.snapshot()
        voltage_V = terminals.pass_current(current_A, step_s)
        if self._low_V <= voltage_V <= self._high_V:
            self._count(current_A * step_s)
            self.voltage_V = voltage_V
            return step_s
        above = voltage_V > self._high_V
        bound_V = self._high_V if above else self._low_V
        if abs(voltage_V - bound_V) > CROSSING_V:
            terminals.restore(before)
            step_s, voltage_V = self._find_crossing(before, step_s, voltage_V, bound_V)
        self._count(current_A * step_s)
        self.largest_overshoot_V = max(self.largest_overshoot_V, abs(voltage_V - bound_V))
        self.voltage_V = voltage_V
        self._met(above=above)
        return step_s

    def _find_crossing(
        self, before: Any, step_s: float, end_V: float, bound_V: float
    ) -> tuple[float, float]:
        """Move the plant to just past the bound; return the time it took and the voltage then.

        Secant and halving take turns: the one is quick on a slope, the other finds a cliff.
        """
        terminals, current_A = self._terminals, self.current_A
        sign = 1.0 if end_V > bound_V else -1.0
        aim_V = bound_V + sign * 0.5 * CROSSING_V
        inside_s, inside_V, outside_s, outside_V = 0.0, self.voltage_V, step_s, end_V
        by_secant = True
        while outside_s - inside_s > CROSSING_S and abs(outside_V - bound_V) > CROSSING_V:
            share = 0.5
            if by_secant and outside_V != inside_V:
                share = min(max((aim_V - inside_V) / (outside_V - inside_V), 0.01), 0.99)
            by_secant = not by_secant
            middle_s = inside_s + share * (outside_s - inside_s)
            voltage_V = terminals.pass_current(current_A, middle_s)
            terminals.restore(before)
            if (voltage_V - bound_V) * sign <= 0.0:
                inside_s, inside_V = middle_s, voltage_V
            else:
                outside_s, outside_V = middle_s, voltage_V
        return outside_s, terminals.pass_current(current_A, outside_s)

    def _blind_step(self, dt_s: float) -> float:
        """Constant current on a plant that cannot go back: half of the way to the bound at most.

        And no further than the voltage moves a little, so that the knee before a cliff is seen;
        the last 0.1 mV and half as much beyond in one step.
        """
        current_A, before_V = self.current_A, self.voltage_V
        step_s = min(dt_s, self._watch_s)
        voltage_V = self._terminals.pass_current(current_A, step_s)
        self._count(current_A * step_s)
        self.voltage_V = voltage_V
        above, below = voltage_V > self._high_V, voltage_V < self._low_V
        if above or below:
            past_V = voltage_V - self._high_V if above else self._low_V - voltage_V
            self.largest_overshoot_V = max(self.largest_overshoot_V, past_V)
            self._met(above=above)
            return step_s
        moved_V = voltage_V - before_V
        room_V = self._high_V - voltage_V if moved_V > 0.0 else voltage_V - self._low_V
        aim_V = min(0.5 * room_V, BLIND_V) if room_V > CROSSING_V else room_V + 0.5 * CROSSING_V
        self._steepest_V_per_s = max(abs(moved_V) / step_s, FADING * self._steepest_V_per_s)
        wanted_s = aim_V / (self._steepest_V_per_s + 1e-12)
        longest_s = min(MAX_BLIND_STEP_S, 2.0 * max(step_s, self._watch_s))
        self._watch_s = max(self._shortest_s, min(wanted_s, longest_s))
        return step_s

    def _count(self, charge_C: float) -> None:
        if charge_C > 0.0:
            self.charge_in_mAh += charge_C * _MAH
        else:
            self.charge_out_mAh -= charge_C * _MAH
