"""Lives of cells behind the plant port (`hil.plant`), read as `hil.lives` reads its own.

For plants of another structure: whatever offers `step`. Regulation is the emulated instrument's
output stage; the logger looks as often as the voltage's approach to its bound asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hil.cycling import AMBIENT_K
from hil.instruments.source import OPEN_CIRCUIT, VOLTAGE_SOURCE, OutputStage
from hil.lives import EARLY_S, LivedCycle, Reader, Truth, step_resistance_Ohm
from hil.plant import port_of
from hil.programmes import CyclePlan, Step
from hil.readings import Reading, ideal_reading

MAX_READINGS: Final = 20_000
SHORTEST_S: Final = 0.5
# Near the end that the step had last time, the readings are this dense.
END_SHARE: Final = 0.02
END_PERIOD_S: Final = 5.0
_ENDS: Final = {"anode-limited": 1, "cathode-limited": 2, "polarisation-limited": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a plant's truth says of lithium (mAh)."""

    lost_mAh: float
    active_mAh: float


class PortLife:
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
    period_s : float
        Longest time between two readings.
    ambient_K : float
    """

    def __init__(
        self,
        plant: Any,
        told: Callable[[Any], Told],
        *,
        seed: int = 0,
        reading: Reading | None = None,
        period_s: float = 60.0,
        ambient_K: float = AMBIENT_K,
    ) -> None:
        self._stage = OutputStage(port_of(plant), ambient_K)
        self._plant = plant
        self._told = told
        self._period_s = period_s
        self._t_s = 0.0
        self._last_mAh: dict[float, float] = {}  # charge of the last step at a current
        self.reader = Reader(reading or ideal_reading(), seed)
        self.number = 0

    def cycle(self, plan: CyclePlan) -> LivedCycle:
        """Live one cycle."""
        self.number += 1
        stage = self._stage
        before_in, before_out, start_s = stage.charge_in_mAh, stage.charge_out_mAh, self._t_s
        rows: list[tuple[float, ...]] = []
        for index, step in enumerate(plan.steps):
            self._run(step, index, rows)
        told = self._told(self._plant.truth())
        logged = np.array(rows)
        samples, commands, end_at = self.reader.read(plan, logged, self.number)
        return LivedCycle(
            plan=plan,
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
                end=_ENDS.get(str(self._plant.truth().get("last_discharge_end", "")), 0),
                resistance_Ohm=float("nan"),
            ),
            samples=samples,
            commands=commands,
            end_at=end_at,
            hours=(self._t_s - start_s) / 3600.0,
            step_Ohm=step_resistance_Ohm(plan, logged),
        )

    def _run(self, step: Step, index: int, rows: list[tuple[float, ...]]) -> None:
        """Run one step and log it."""
        stage = self._stage
        if step.current_A == 0.0:
            stage.set(OPEN_CIRCUIT, 0.0, 0.0)
        else:
            stage.set(VOLTAGE_SOURCE, step.stop_V, abs(step.current_A))
        stage.settle()
        left_mAh = step.max_mAh
        passed_s, held_s, slope_V_per_s = 0.0, 0.0, 0.0
        for _ in range(MAX_READINGS):
            held = step.current_A != 0.0 and not stage.limited
            if passed_s > 0.0 and held:
                over = abs(stage.current_A) <= step.hold_A or held_s >= step.hold_s
                if step.hold_A == 0.0 or over:
                    break
            ends_s = step.max_s - passed_s
            if step.current_A != 0.0:
                ends_s = min(ends_s, 3.6 * left_mAh / abs(step.current_A))
            if not ends_s > 1e-9:
                break
            dt_s = min(self._early_s(passed_s), ends_s)
            if held:
                dt_s = min(dt_s, max(0.1 * held_s, 1.0))
            elif step.current_A != 0.0:
                dt_s = min(dt_s, self._near_the_end_s(step, left_mAh, slope_V_per_s))
            before_V = stage.voltage_V
            before_mAh = stage.charge_in_mAh + stage.charge_out_mAh
            stage.evolve(dt_s)
            self._t_s += dt_s
            passed_s += dt_s
            held_s += dt_s if held else 0.0
            left_mAh -= stage.charge_in_mAh + stage.charge_out_mAh - before_mAh
            slope_V_per_s = abs(stage.voltage_V - before_V) / dt_s
            if not held:
                self._last_mAh[step.current_A] = step.max_mAh - left_mAh
            rows.append(
                (
                    self._t_s,
                    stage.current_A,
                    stage.voltage_V,
                    stage.temperature_K,
                    float(index),
                    1.0 if step.current_A != 0.0 and not stage.limited else 0.0,
                )
            )

    def _early_s(self, passed_s: float) -> float:
        """Return the time to the next reading that the plan asks for."""
        for early_s in EARLY_S:
            if passed_s < early_s - 1e-9:
                return min(early_s - passed_s, self._period_s)
        return self._period_s

    def _near_the_end_s(self, step: Step, left_mAh: float, slope_V_per_s: float) -> float:
        """Return the longest time between readings as a constant current nears its bound.

        A logger would see the fall begin; this one waits for it where it was the last time.
        """
        last_mAh = self._last_mAh.get(step.current_A, 0.0)
        longest_s = self._period_s
        if step.max_mAh - left_mAh > (1.0 - END_SHARE) * last_mAh > 0.0:
            longest_s = END_PERIOD_S
        if slope_V_per_s > 0.0:
            gap_V = abs(step.stop_V - self._stage.voltage_V)
            longest_s = min(longest_s, max(0.5 * gap_V / slope_V_per_s, SHORTEST_S))
        return longest_s
