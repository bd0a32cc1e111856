"""Holding a voltage on a plant that tells its voltage at once and cannot go back.

No step can be tried, so the end of each is foreseen: a filter learns from every step what the next
one will do. A step is as long as that is known to ten microvolts; where a cell did something else
they begin anew at 10 ns. Bare Cu moves by 1 mV in 2 us at 9 mA. The thresholds are chosen by
measurement on our cells and those of the tests (`tests/hil/test_foreseen_hold.py`).
"""

from __future__ import annotations

import math
from typing import Final

from hil.instruments.hold import SOLVED_V, HeldStep, Search, Span
from hil.instruments.terminals import Terminals

SHORTEST_STEP_S: Final = 1e-8  # an inrush moves the capacitance of a film by 1e4 V/s
LONGEST_STEP_S: Final = 5.0
LONGEST_RISE_S: Final = 1.0  # on an electrode like a capacitor, where the last lithium may end
GROWTH: Final = 1.5
SHRINKING: Final = 0.3
SURPRISE_V: Final = 5e-4  # further off than this: another state, of which nothing is known
BEGIN_V: Final = 1.5e-4  # off at the begin of a step, for the sake of its end
UNFORESEEN_V: Final = 1e-5  # of what a step did: five times as much in a short one (there current
SHORT_UNFORESEEN_V: Final = 5e-5  # and voltage are sure),
SHORT_UNFORESEEN_VS: Final = 1e-7  # that is, this over its length,
LONG_UNFORESEEN_VS: Final = 2.5e-6  # and less in a long one: this over its length
CALM_V: Final = 5e-5  # a step that moved by less is short enough; a shorter one would see noise
NEAR_V: Final = 2e-5  # as the slope said what a current does at once
PROBE_A: Final = 1e-5  # for that slope
LEAST_SLOPE_V: Final = 1e-3  # over the span: a plant may have no resistance
KEPT: Final = 0.2  # of a current that would turn
TURNING_V: Final = 2e-4  # off, rather than that
FIRST_DRIFT_V: Final = 1e-3  # standard deviations: of what is not known of a first step,
DOUBT: Final = 0.1  # of drift and slopes, more at each step,
UNSEEN_V: Final = 1e-5  # of the drift, whatever it is,
NOISE_V: Final = 3e-6  # and of the voltage
ROUGH_WEIGHT: Final = 0.3


class Foresight:
    """What a step does to the voltage beyond what its current does at once, learnt from steps.

    In a step the voltage drifts by `drift_V` at the present current. A change of the current adds
    `lag_Ohm` times the change once (fast processes, over within a step) and `rise_Ohm` times the
    change in this and every further step (slow ones, e.g. a double layer). The three are the state
    of a Kalman filter, so that what a step did otherwise is put down to the one that explains it:
    with the slow taken for the fast, or the other way round, a regulator swings.
    """

    __slots__ = (
        "_dd",
        "_dl",
        "_dr",
        "_ll",
        "_lr",
        "_rough_V",
        "_rr",
        "drift_V",
        "lag_Ohm",
        "rise_Ohm",
    )

    def __init__(self) -> None:
        self.forget(1.0)

    def forget(self, at_once_Ohm: float) -> None:
        """Begin anew with the shortest step, in which little happens beside the drift."""
        self.drift_V = self.lag_Ohm = self.rise_Ohm = 0.0
        self._dd = FIRST_DRIFT_V * FIRST_DRIFT_V
        self._ll = self._rr = DOUBT * at_once_Ohm * DOUBT * at_once_Ohm
        self._dl = self._dr = self._lr = 0.0
        self._rough_V = 0.0

    def stretch(self, factor: float) -> None:
        """Foresee steps that are so many times as long."""
        self.drift_V *= factor
        self.rise_Ohm *= factor
        self._dl *= factor
        self._lr *= factor
        self._dd *= factor * factor
        self._dr *= factor * factor
        self._rr *= factor * factor

    def pass_over(self, change_A: float) -> None:
        """Take a step that is too short to tell anything."""
        self.drift_V += self.rise_Ohm * change_A

    def learn(self, change_A: float, moved_V: float, at_once_Ohm: float) -> float:
        """Take what a step did (V) after its begin; return what of it was not foreseen (V)."""
        x = change_A
        self.drift_V += self.rise_Ohm * x
        doubt_Ohm = DOUBT * (at_once_Ohm + self.lag_Ohm + self.rise_Ohm)
        doubt_V, rough_V = DOUBT * self.drift_V, self._rough_V
        dd = self._dd + 2.0 * x * self._dr + x * x * self._rr
        dd += doubt_V * doubt_V + rough_V * rough_V + UNSEEN_V * UNSEEN_V
        dl = self._dl + x * self._lr
        dr = self._dr + x * self._rr
        ll = self._ll + doubt_Ohm * doubt_Ohm
        rr = self._rr + doubt_Ohm * doubt_Ohm
        lr = self._lr
        # what is seen is the drift at the new current, and the lag of the change
        unforeseen_V = moved_V - self.drift_V - x * self.lag_Ohm
        seen_d, seen_l, seen_r = dd + x * dl, dl + x * ll, dr + x * lr
        total = seen_d + x * seen_l + NOISE_V * NOISE_V
        gain_d, gain_l, gain_r = seen_d / total, seen_l / total, seen_r / total
        self.drift_V += gain_d * unforeseen_V
        # slopes are positive, and no single step makes one vanish
        self.lag_Ohm = max(0.5 * self.lag_Ohm, self.lag_Ohm + gain_l * unforeseen_V)
        self.rise_Ohm = max(0.5 * self.rise_Ohm, self.rise_Ohm + gain_r * unforeseen_V)
        self._rough_V += ROUGH_WEIGHT * (abs(unforeseen_V) - rough_V)
        self._dd = dd - gain_d * seen_d
        self._dl = dl - gain_d * seen_l
        self._dr = dr - gain_d * seen_r
        self._ll = ll - gain_l * seen_l
        self._lr = lr - gain_l * seen_r
        self._rr = rr - gain_r * seen_r
        return unforeseen_V


class ForeseenHold:
    """The current is the one with which the step is foreseen to end at the set voltage."""

    __slots__ = ("_at_once_Ohm", "_foresight", "_step_s", "_terminals")

    def __init__(self, terminals: Terminals) -> None:
        self._terminals = terminals
        self._at_once_Ohm = 0.0
        self._foresight = Foresight()
        self.begin()

    def begin(self) -> None:
        """Forget the past; what the current does at once stays."""
        self._step_s = SHORTEST_STEP_S
        self._foresight.forget(self._at_once_Ohm)

    def step(
        self, target_V: float, current_A: float, voltage_V: float, span: Span, left_s: float
    ) -> HeldStep:
        """Move the plant by one step."""
        missing_V = target_V - voltage_V
        if not self._at_once_Ohm > 0.0:
            self._probe(current_A, span)
        if not -SURPRISE_V < missing_V < SURPRISE_V:
            self.begin()
        step_s = self._cut(left_s)
        next_A = self._next(missing_V, current_A, span)
        if next_A * current_A < 0.0:
            # What plates may behave otherwise than what strips: nothing is known of that side.
            if self._near(missing_V, current_A, KEPT * current_A):
                next_A = KEPT * current_A
            else:
                self.begin()
                step_s = self._cut(left_s)
                next_A = self._next(missing_V, current_A, span)
        next_A, begin_V = self._at_once(next_A, current_A, voltage_V, span)
        end_V = self._terminals.pass_current(next_A, step_s)
        off_V, error_V = begin_V - target_V, end_V - target_V
        self._take(next_A - current_A, off_V, end_V - begin_V, step_s)
        if abs(off_V) > abs(error_V):
            error_V = off_V
        return HeldStep(step_s, next_A * step_s, next_A, end_V, error_V)

    def _cut(self, left_s: float) -> float:
        """Return the length of the step: an even part of the time left, so that no sliver is."""
        step_s = left_s / math.ceil(left_s / self._step_s)
        self._foresight.stretch(step_s / self._step_s)
        return step_s

    def _next(self, missing_V: float, current_A: float, span: Span) -> float:
        """Return the current with which a step should end at the set voltage."""
        change_V = missing_V - self._foresight.drift_V
        return span.clip(current_A + change_V / self._slope_Ohm())

    def _near(self, missing_V: float, current_A: float, next_A: float) -> bool:
        """Return whether a step at another current should end near the set voltage."""
        change_V = missing_V - self._foresight.drift_V
        return abs(change_V - self._slope_Ohm() * (next_A - current_A)) < TURNING_V

    def _slope_Ohm(self) -> float:
        return self._at_once_Ohm + self._foresight.lag_Ohm + self._foresight.rise_Ohm

    def _probe(self, current_A: float, span: Span) -> None:
        """Ask what the current does at once; at least a little over the span."""
        at_once = self._terminals.at_once
        slope_Ohm = (at_once(current_A + PROBE_A) - at_once(current_A)) / PROBE_A
        self._at_once_Ohm = max(slope_Ohm, LEAST_SLOPE_V / (span.high_A - span.low_A))
        self._foresight.forget(self._at_once_Ohm)

    def _at_once(
        self, next_A: float, current_A: float, voltage_V: float, span: Span
    ) -> tuple[float, float]:
        """Return current and voltage at the begin of a step, the slope being right or put right."""
        terminals, slope_Ohm = self._terminals, self._at_once_Ohm
        wanted_V = voltage_V + slope_Ohm * (next_A - current_A)
        begin_V = terminals.at_once(next_A)
        if -NEAR_V < begin_V - wanted_V < NEAR_V:
            return next_A, begin_V
        search = Search(span, wanted_V, next_A, SOLVED_V, slope_Ohm)
        while not search.found(begin_V):
            begin_V = terminals.at_once(search.trial_A)
        self._at_once_Ohm = search.slope_Ohm
        return search.trial_A, begin_V

    def _take(self, change_A: float, off_V: float, moved_V: float, step_s: float) -> None:
        """Learn from a step, and choose the next one's length."""
        if step_s < 0.5 * self._step_s:
            self._foresight.pass_over(change_A)
            next_s = 0.5 * self._step_s
        else:
            unforeseen_V = self._foresight.learn(change_A, moved_V, self._at_once_Ohm)
            next_s = self._chosen(abs(off_V), abs(moved_V), abs(unforeseen_V), step_s)
        self._foresight.stretch(next_s / step_s)
        self._step_s = next_s

    def _chosen(self, off_V: float, moved_V: float, unforeseen_V: float, step_s: float) -> float:
        """Return the next step's length: begin and end are to stay near the set voltage."""
        short_V = min(SHORT_UNFORESEEN_V, SHORT_UNFORESEEN_VS / step_s)
        allowed_V = min(max(UNFORESEEN_V, short_V), LONG_UNFORESEEN_VS / step_s)
        share = min(BEGIN_V / (off_V + 1e-12), math.sqrt(allowed_V / (unforeseen_V + 1e-12)))
        wanted_s = step_s * max(share, SHRINKING)
        if moved_V < CALM_V and off_V < CALM_V:
            wanted_s = max(wanted_s, self._step_s)
        seen = self._foresight
        longest_s = LONGEST_STEP_S if seen.lag_Ohm > seen.rise_Ohm else LONGEST_RISE_S
        return max(SHORTEST_STEP_S, min(wanted_s, GROWTH * self._step_s, longest_s))
