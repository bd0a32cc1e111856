"""How far constant voltage is off on our cells when they may not go back, over many strips.

    python scripts/hold_errors.py [POLL_S]...

Each cell is charged a little, stripped down to a bound and held there for two minutes, at C/10 to
6C, while `step` and `terminal_voltage` are all that is shown of it. Prints the distribution over
the strips for each polling interval (0.2, 1, 5 and 60 s): the largest error of a strip at begin or
end of any step, and how far its bound was passed. Some minutes; quicker where numba is.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence

from hil.cell import PRESETS, LithiumMetalCell
from hil.cell.compiled_cell import CompiledCell
from hil.compiled import available
from hil.instruments.source import VOLTAGE_SOURCE, OutputStage

AMBIENT_K = 298.15
POLLS_S = (0.2, 1.0, 5.0, 60.0)
PLATED_MAH_PER_CM2 = (0.05, 0.5, 1.5)
C_RATES = (0.1, 1.0 / 3.0, 1.0, 3.0, 6.0)
LEVELS_V = {
    "anode-free": (3.4, 3.2, 3.0, 2.5),
    "anode-free-lfp": (3.2, 3.0, 2.5, 2.0),
    "anode-free-pouch": (3.4, 3.2, 3.0, 2.5),
    "li-cu": (-0.1, -0.5, -1.0),
    "excess-lithium": (3.4, 3.2, 3.0, 2.5),
    "li-nmc532": (3.4, 3.2, 3.0, 2.5),
}


class CannotGoBack:
    """A cell of which only `step` and `terminal_voltage` are shown."""

    def __init__(self, cell: LithiumMetalCell) -> None:
        self.step = cell.step
        self.terminal_voltage = cell.terminal_voltage


def plated(preset: str, mAh_per_cm2: float) -> LithiumMetalCell:
    """Return a cell after a charge at C/3 and a rest."""
    p = PRESETS[preset](1)
    cell = CompiledCell(p) if available() else LithiumMetalCell(p)
    rate_A = p.nominal_capacity_mAh * 1e-3 / 3.0
    for _ in range(math.ceil(mAh_per_cm2 * p.area_cm2 / (rate_A * 10.0 / 3.6))):
        cell.step(rate_A, 10.0, AMBIENT_K)
    cell.step(0.0, 600.0, AMBIENT_K)
    return cell


def strips(poll_s: float) -> Iterator[tuple[float, float, str]]:
    """Yield each strip's largest error, by how much it passed its bound (V), and which it was."""
    for preset, levels_V in LEVELS_V.items():
        for mAh_per_cm2 in PLATED_MAH_PER_CM2:
            for c_rate in C_RATES:
                for level_V in levels_V:
                    cell = plated(preset, mAh_per_cm2)
                    p = cell.parameters
                    limit_A = c_rate * p.nominal_capacity_mAh * 1e-3
                    if cell.terminal_voltage(-limit_A) < level_V + 0.01:
                        continue
                    stage = OutputStage(CannotGoBack(cell), AMBIENT_K)
                    stage.set(VOLTAGE_SOURCE, level_V, limit_A)
                    duration_s = mAh_per_cm2 * p.area_cm2 * 3.6 / limit_A + 120.0
                    for _ in range(math.ceil(duration_s / poll_s)):
                        stage.evolve(poll_s)
                    name = f"{preset}, {mAh_per_cm2:g} mAh/cm2, {c_rate:.2g}C to {level_V:g} V"
                    yield stage.largest_held_error_V, stage.largest_overshoot_V, name


def distribution(values_V: Sequence[float]) -> str:
    """Return median, 90th and 99th percentile, largest, and how many are 1 mV or more."""
    ordered = sorted(1e3 * one for one in values_V)
    median, tenth, hundredth = (ordered[int(part * len(ordered))] for part in (0.5, 0.9, 0.99))
    beyond = sum(one >= 1.0 for one in ordered)
    return (
        f"{median:.3f} {tenth:.3f} {hundredth:.3f} {ordered[-1]:.3f} mV, {beyond} of 1 mV or more"
    )


def main() -> None:
    """Print the distributions, and the strips that were off by 1 mV or more."""
    for poll_s in [float(one) for one in sys.argv[1:]] or POLLS_S:
        found = list(strips(poll_s))
        print(f"polled every {poll_s:g} s, {len(found)} strips: median, 90 %, 99 %, largest")
        print("  held  ", distribution([error_V for error_V, _, _ in found]))
        print("  passed", distribution([past_V for _, past_V, _ in found]))
        for error_V, past_V, name in found:
            if max(error_V, past_V) >= 1e-3:
                print(f"    {name}: held {1e3 * error_V:.2f} mV, passed {1e3 * past_V:.2f} mV")


if __name__ == "__main__":
    main()
