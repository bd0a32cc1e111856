"""Lives of cells behind the plant port (`hil.plant`), logged and read as `hil.lives` does its own.

For plants of another structure: whatever offers `step`. Regulation is the emulated instrument's
output stage. Unlike our plant's, a step of such a plant does not foresee a cliff in the voltage:
what falls between two readings is seen at the bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hil.cycling import AMBIENT_K
from hil.instruments.source import OPEN_CIRCUIT, VOLTAGE_SOURCE, OutputStage
from hil.lives import ENDS, Logged, LoggedLife, Truth
from hil.logger import LoggedState, Sampling, begin_control, begin_leg, end_leg, table, take_note
from hil.plant import port_of
from hil.programmes import CyclePlan, Step
from hil.readings import Reader, Reading, ideal_reading

DONE_S: Final = 1e-9
SHORTEST_S: Final = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a plant's truth says of lithium (mAh), and what ended the last discharge (`ENDS`)."""

    lost_mAh: float
    active_mAh: float
    end: str = ENDS[0]


class PortLife(LoggedLife):
    """One cell of any kind on one instrument.

    Parameters
    ----------
    plant : object
        With ``step`` and ``truth`` (`hil.plant.Plant`).
    told : function
        From the plant's truth to `Told`.
    seed : int
        Of the readings' noise.
    reading : Reading, optional
    sampling : Sampling, optional
    nominal_mAh : float
        Of which `Sampling.move_share` is a share.
    ambient_K : float
    """

    def __init__(
        self,
        plant: Any,
        told: Callable[[Any], Told],
        *,
        nominal_mAh: float,
        seed: int = 0,
        reading: Reading | None = None,
        sampling: Sampling | None = None,
        ambient_K: float = AMBIENT_K,
    ) -> None:
        super().__init__(Reader(reading or ideal_reading(), seed))
        self._stage = OutputStage(port_of(plant), ambient_K)
        self._plant = plant
        self._told = told
        self._sampling = sampling or Sampling()
        self._seen = LoggedState()  # of the state, what the logger looks at
        self._seen.log = self._sampling.new_log(nominal_mAh)
        self._seen.time_s = 0.0
        self._seen.substep_s = 0.0

    def _run(self, plan: CyclePlan) -> Logged:
        """Take the cell through the steps of a cycle."""
        stage, seen = self._stage, self._seen
        seen.log.count = 0
        before_in, before_out = stage.charge_in_mAh, stage.charge_out_mAh
        took_s, passed_mAh = [], []
        for index, step in enumerate(plan.steps):
            begin_s, net_mAh = seen.time_s, stage.charge_in_mAh - stage.charge_out_mAh
            begin_leg(seen, index, self._sampling.period_of(step))
            self._run_step(step)
            end_leg(seen)
            took_s.append(seen.time_s - begin_s)
            passed_mAh.append(stage.charge_in_mAh - stage.charge_out_mAh - net_mAh)
        told = self._told(self._plant.truth())
        return Logged(
            rows=table(seen.log.rows, seen.log.count, seen.log.lost),
            took_s=np.array(took_s),
            passed_mAh=np.array(passed_mAh),
            truth=Truth(
                charge_mAh=stage.charge_in_mAh - before_in,
                discharge_mAh=stage.charge_out_mAh - before_out,
                active_mAh=told.active_mAh,
                fresh_mAh=told.lost_mAh,
                old_mAh=0.0,
                sei_mAh=0.0,
                dissolved_mAh=0.0,
                oxidised_mAh=0.0,
                shuttled_mAh=0.0,
                end=ENDS.index(told.end),
                resistance_Ohm=float("nan"),
            ),
        )

    def _run_step(self, step: Step) -> None:
        """Run one step under the logger."""
        stage, seen = self._stage, self._seen
        if step.current_A == 0.0:
            stage.set(OPEN_CIRCUIT, 0.0, 0.0)
        else:
            stage.set(VOLTAGE_SOURCE, step.stop_V, abs(step.current_A))
        stage.settle()
        begin_s = seen.time_s
        left_mAh, slope_V_per_s = step.max_mAh, 0.0
        while True:
            passed_s = seen.time_s - begin_s
            held = step.current_A != 0.0 and not stage.limited
            if held and passed_s > 0.0 and self._is_over(step):
                break
            longest_s = step.max_s - passed_s
            if step.current_A != 0.0 and not held:
                longest_s = min(longest_s, 3.6 * left_mAh / abs(step.current_A))
            if not longest_s > DONE_S:
                break
            before_V = stage.voltage_V
            took_s = stage.evolve_once(min(longest_s, self._look_in_s(slope_V_per_s)))
            # a bound that is met changes the current at once: what is read is the one before
            seen.last_current_A = stage.current_A if held else step.current_A
            seen.cell_V, seen.temperature_K = stage.voltage_V, stage.temperature_K
            seen.time_s += took_s
            left_mAh -= abs(step.current_A) * took_s / 3.6
            slope_V_per_s = abs(stage.voltage_V - before_V) / took_s
            take_note(seen)

    def _is_over(self, step: Step) -> bool:
        """Return whether a step whose bound is met ends there, or else hold the voltage."""
        seen = self._seen
        if not step.hold_A > 0.0:
            return True
        if seen.log.held == 0:
            end_leg(seen)
            begin_control(seen, 1)
        held_s = seen.time_s - seen.log.edge_s
        return abs(self._stage.current_A) <= step.hold_A or held_s >= step.hold_s

    def _look_in_s(self, slope_V_per_s: float) -> float:
        """Return the time to the next reading: when it is due, or the voltage has moved."""
        seen = self._seen
        due_s = max(seen.log.due_s - seen.time_s, SHORTEST_S)
        if not slope_V_per_s > 0.0:
            return due_s
        return min(due_s, max(seen.log.move_V / slope_V_per_s, seen.log.shortest_s))
