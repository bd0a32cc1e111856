"""What an output stage does to a cell over time: source, limit, and the crossing between them.

The emulator's physics of regulation. Voltages and currents are those at the instrument's
terminals, charging current positive as long as the cell stands the right way round.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hil.cell import LithiumMetalCell

OPEN_CIRCUIT: Final = 0
VOLTAGE_SOURCE: Final = 1
CURRENT_SOURCE: Final = 2

_FREE, _FIXED, _HELD = 0, 1, 2

MAX_STEP_S: Final = 60.0
MAX_HELD_STEP_S: Final = 5.0  # at constant voltage, when the current changes < 1 % per step
MIN_HELD_STEP_S: Final = 1e-3
FIRST_HELD_STEP_S: Final = 0.05
TARGET_CHANGE: Final = 0.01  # of the current per constant-voltage step
REJECTED_CHANGE: Final = 0.10
CROSSING_V: Final = 1e-4
CROSSING_S: Final = 1e-6
SOLVED_V: Final = 1e-8
HELD_V: Final = 2e-6
HELD_ITERATIONS: Final = 6
SMALL_CHARGE_C: Final = 1e-6  # a crossing within less charge than this is not searched for
_FLOOR_A: Final = 1e-6


class OutputStage:
    """Moves the cell under the present source settings.

    Parameters
    ----------
    cell : LithiumMetalCell
    ambient_K : float

    Attributes
    ----------
    voltage_V, current_A : float
        At the terminals, now.
    limited : bool
        The limit regulates, not the source.
    damaged : bool
        As a current source it met an external voltage above its voltage limit.
    """

    __slots__ = (
        "_held_rate_A_per_s",
        "_held_slope_Ohm",
        "_held_step_s",
        "_high_V",
        "_lead_Ohm",
        "_level",
        "_limit",
        "_low_V",
        "_mode",
        "_polarity",
        "_regime",
        "_stale",
        "_target_V",
        "_terminal",
        "ambient_K",
        "cell",
        "current_A",
        "damaged",
        "limited",
        "voltage_V",
    )

    def __init__(self, cell: LithiumMetalCell, ambient_K: float) -> None:
        self.cell = cell
        self.ambient_K = ambient_K
        self.voltage_V = 0.0
        self.current_A = 0.0
        self.limited = False
        self.damaged = False
        self._mode = OPEN_CIRCUIT
        self._level = 0.0
        self._limit = 0.0
        self._lead_Ohm = 0.0
        self._polarity = 1.0
        self._terminal: Callable[[float], float] = cell.terminal_voltage
        self._regime = _FREE
        self._low_V = self._high_V = self._target_V = 0.0
        self._held_step_s = FIRST_HELD_STEP_S
        self._held_rate_A_per_s = 0.0
        self._held_slope_Ohm = 0.0
        self._stale = True

    def wire(self, *, lead_Ohm: float, polarity: float) -> None:
        """Set the resistance of the leads the sense does not remove, and which way the cell is."""
        if lead_Ohm != self._lead_Ohm or polarity != self._polarity:
            self._lead_Ohm = lead_Ohm
            self._polarity = polarity
            plain = lead_Ohm == 0.0 and polarity == 1.0
            self._terminal = self.cell.terminal_voltage if plain else self._wired_voltage
            self._stale = True

    def set(self, mode: int, level: float, limit: float) -> None:
        """Set what is sourced (V or A) and its limit (A or V); acts at once."""
        if mode != self._mode or level != self._level or limit != self._limit:
            self._mode = mode
            self._level = level
            self._limit = limit
            self._held_step_s = FIRST_HELD_STEP_S
            self._held_rate_A_per_s = 0.0
            self._stale = True

    def settle(self) -> None:
        """Find the operating point for the present settings and state, without time passing."""
        self._stale = False
        if self._mode == OPEN_CIRCUIT:
            self._regime = _FREE
            self.current_A = 0.0
            self.voltage_V = self._terminal(0.0)
            self.limited = False
        elif self._mode == VOLTAGE_SOURCE:
            self._settle_voltage(self._level, self._limit)
        else:
            self._settle_current()

    def evolve(self, dt_s: float) -> None:
        """Let time pass under the present settings."""
        if self._stale:
            self.settle()
        while dt_s > 0.0:
            if self._regime == _HELD:
                dt_s -= self._held_step(dt_s)
            else:
                dt_s -= self._fixed_step(dt_s)

    def _wired_voltage(self, current_A: float) -> float:
        polarity = self._polarity
        cell_V = self.cell.terminal_voltage(polarity * current_A)
        return polarity * cell_V + current_A * self._lead_Ohm

    def _settle_voltage(self, target_V: float, limit_A: float) -> None:
        current_A = self._solve(target_V, limit_A)
        self.current_A = current_A
        self.voltage_V = self._terminal(current_A)
        self._target_V = target_V
        if current_A >= limit_A:
            self._regime = _FIXED
            self._low_V, self._high_V = -1e9, target_V
        elif current_A <= -limit_A:
            self._regime = _FIXED
            self._low_V, self._high_V = target_V, 1e9
        else:
            self._regime = _HELD
        self.limited = self._regime == _FIXED

    def _settle_current(self) -> None:
        bound_V = self._limit
        free_V = self._terminal(0.0)
        if not -bound_V <= free_V <= bound_V:
            self.damaged = True
        wanted_V = self._terminal(self._level)
        if -bound_V <= wanted_V <= bound_V:
            self._regime = _FIXED
            self.current_A = self._level
            self.voltage_V = wanted_V
            self._low_V, self._high_V = -bound_V, bound_V
            self.limited = False
            return
        # The clamp sinks or sources what it takes, up to the full scale of the instrument.
        self._settle_voltage(bound_V if wanted_V > bound_V else -bound_V, 1.05)
        self.limited = True

    def _solve(self, target_V: float, limit_A: float) -> float:
        """Return the current in +-limit at which the terminals are at `target_V` (secant)."""
        terminal = self._terminal
        low_A, high_A = -limit_A, limit_A
        x0 = min(max(self.current_A, low_A), high_A)
        f0 = terminal(x0) - target_V
        # First neighbour: towards the root, a step in the direction the error asks for.
        x1 = first_A = x0 - f0 * 0.02
        for _ in range(100):
            if f0 > 0.0:
                high_A = x0
            else:
                low_A = x0
            if -SOLVED_V < f0 < SOLVED_V:
                return x1 if low_A < x1 < high_A and x1 != first_A else x0
            if not low_A < x1 < high_A:
                # Outside: the limit itself, if not yet looked at, else the middle.
                edge_A = -limit_A if x1 <= low_A else limit_A
                x1 = (
                    edge_A if edge_A in (low_A, high_A) and x0 != edge_A else 0.5 * (low_A + high_A)
                )
            f1 = terminal(x1) - target_V
            if (x1 == limit_A and f1 <= 0.0) or (x1 == -limit_A and f1 >= 0.0):
                return x1
            slope = f1 - f0
            step_A = f1 * (x1 - x0) / slope if slope != 0.0 else 0.0
            x0, f0 = x1, f1
            x1 = x1 - step_A
            if high_A - low_A < 1e-15:
                break
        return x0

    def _step_cell(self, current_A: float, dt_s: float) -> float:
        """Move the cell; return the voltage at the terminals at the end."""
        voltage_V, _ = self.cell.step(self._polarity * current_A, dt_s, self.ambient_K)
        return self._polarity * voltage_V + current_A * self._lead_Ohm

    def _fixed_step(self, dt_s: float) -> float:
        """Constant current, until the end of the step or the voltage bound."""
        step_s = min(dt_s, MAX_STEP_S)
        current_A = self.current_A
        cell = self.cell
        if self._regime == _FREE:
            self.voltage_V = self._step_cell(0.0, step_s)
            return step_s
        before = cell.snapshot()
        voltage_V = self._step_cell(current_A, step_s)
        if self._low_V <= voltage_V <= self._high_V:
            self.voltage_V = voltage_V
            return step_s
        if abs(current_A) * step_s > SMALL_CHARGE_C:
            cell.restore(before)
            step_s = self._find_crossing(before, step_s)
        self.settle()
        return step_s

    def _find_crossing(self, before: tuple[float, ...], step_s: float) -> float:
        """Move the cell to just past the bound; return the time it took."""
        inside_s, outside_s = 0.0, step_s
        bound_V = self._high_V if self.current_A > 0.0 else self._low_V
        while outside_s - inside_s > CROSSING_S:
            middle_s = 0.5 * (inside_s + outside_s)
            voltage_V = self._step_cell(self.current_A, middle_s)
            self.cell.restore(before)
            if self._low_V <= voltage_V <= self._high_V:
                inside_s = middle_s
            else:
                outside_s = middle_s
                if abs(voltage_V - bound_V) < CROSSING_V:
                    break
        self._step_cell(self.current_A, outside_s)
        return outside_s

    def _held_step(self, dt_s: float) -> float:
        """Constant voltage for one step, shortened where the current moves fast.

        Trapezoidal rule: the mean current is the one for which the voltage at the end, at the
        current that then flows, is the target. A steep electrode makes the step stiff (time
        constant ~ 1 s), so that an explicit rule would ring.
        """
        current_A = self.current_A
        step_s = min(self._held_step_s, self.cell.longest_step_s(self._polarity * current_A))
        if step_s > 0.8 * dt_s:  # no sliver is left over, nor a rate taken from one
            step_s = dt_s
        limit_A = self._limit if self._mode == VOLTAGE_SOURCE else 1.05
        before = self.cell.snapshot()
        while True:
            self._pass_mean_current(before, current_A, step_s, limit_A)
            next_A = self._solve(self._target_V, limit_A)
            scale_A = max(abs(current_A), abs(next_A), _FLOOR_A)
            change = abs(next_A - current_A) / scale_A
            if change <= REJECTED_CHANGE or step_s <= MIN_HELD_STEP_S:
                break
            self.cell.restore(before)
            step_s = max(MIN_HELD_STEP_S, 0.25 * step_s)
            self._held_rate_A_per_s = 0.0
            self._held_slope_Ohm = 0.0
        self._held_rate_A_per_s = (next_A - current_A) / step_s
        wanted = min(2.0, max(0.3, TARGET_CHANGE / (change + 1e-9)))
        if step_s >= self._held_step_s or wanted < 1.0:
            self._held_step_s = min(MAX_HELD_STEP_S, max(MIN_HELD_STEP_S, step_s * wanted))
        self.current_A = next_A
        if next_A >= limit_A or next_A <= -limit_A or self._mode == CURRENT_SOURCE:
            self.settle()
        else:
            self.voltage_V = self._terminal(next_A)
        return step_s

    def _pass_mean_current(
        self, before: tuple[float, ...], current_A: float, step_s: float, limit_A: float
    ) -> None:
        """Move the cell by the mean current of a trapezoidal step (secant, slope kept)."""
        target_V = self._target_V
        slope_Ohm = self._held_slope_Ohm
        mean_A = current_A + 0.5 * step_s * self._held_rate_A_per_s
        last_A = last_V = 0.0
        for attempt in range(HELD_ITERATIONS):
            mean_A = min(max(mean_A, -limit_A), limit_A)
            if attempt:
                self.cell.restore(before)
            self._step_cell(mean_A, step_s)
            end_A = 2.0 * mean_A - current_A
            error_V = self._terminal(end_A) - target_V
            if -HELD_V < error_V < HELD_V:
                break
            if attempt and mean_A != last_A:
                slope_Ohm = (error_V - last_V) / (mean_A - last_A)
            if not slope_Ohm > 0.0:
                probe_A = 0.01 * abs(end_A) + 1e-9
                slope_Ohm = 2.0 * (self._terminal(end_A + probe_A) - target_V - error_V) / probe_A
            last_A, last_V = mean_A, error_V
            mean_A -= error_V / slope_Ohm
        self._held_slope_Ohm = slope_Ohm
