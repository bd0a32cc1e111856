"""Draw the figures of docs/plant.md: the cell beside PyBaMM, its impedance, its strip, its cycles.

    python scripts/plant_figures.py [FOLDER]

Needs matplotlib and PyBaMM (the extra ``[dev]``). Writes SVG into docs/figures, or into FOLDER.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("svg")
from matplotlib import pyplot as plt

from hil.cell import PRESETS, LithiumMetalCell, anode_free_nmc811
from hil.instruments.source import OPEN_CIRCUIT, VOLTAGE_SOURCE, OutputStage
from hil.plant import port_of
from tests.hil.test_cell_electrochemistry import half_charged, impedance_Ohm
from tests.hil.test_cell_peers import TEMPERATURE_K, pybamm_discharge, xu2019

C_3_A = 1e-3


def beside_pybamm(folder: Path) -> None:
    """Voltage and difference against the half cell of PyBaMM at C/10, C/3 and 1C."""
    figure, (above, below) = plt.subplots(2, 1, sharex=True, figsize=(6.4, 4.8))
    for c_rate, name in ((0.1, "C/10"), (1.0 / 3.0, "C/3"), (1.0, "1C")):
        times_s, theirs_V = pybamm_discharge(c_rate)
        cell = LithiumMetalCell(xu2019())
        current_A = -2.4e-3 * c_rate
        mine_V = [cell.step(current_A, float(dt), TEMPERATURE_K)[0] for dt in np.diff(times_s)]
        charge_mAh = times_s[1:] * 2.4 * c_rate / 3600.0
        (line,) = above.plot(charge_mAh, theirs_V[1:], lw=3, alpha=0.35)
        above.plot(charge_mAh, mine_V, color=line.get_color(), lw=1, label=name)
        error_mV = 1e3 * (np.array(mine_V) - theirs_V[1:])
        rms = float(np.sqrt(np.mean(error_mV**2)))
        below.plot(charge_mAh, error_mV, color=line.get_color(), label=f"rms {rms:.3f} mV")
    above.set_ylabel("voltage / V")
    above.set_title("Li||NMC532, Xu2019: ours (thin) on PyBaMM's SPMe (wide)")
    below.set_ylabel("difference / mV")
    below.set_xlabel("discharged / mAh")
    above.legend()
    below.legend()
    save(figure, folder, "plant-pybamm")


def spectrum(folder: Path) -> None:
    """Galvanostatic impedance of the half-charged default cell, 1 mHz to 100 kHz."""
    cell = half_charged(anode_free_nmc811(0))
    frequencies = np.logspace(5, -3, 41)
    z = np.array([impedance_Ohm(cell, float(f), 256) for f in frequencies])
    figure, axes = plt.subplots(figsize=(6.4, 3.6))
    axes.plot(z.real, -z.imag, "-o", ms=3)
    for f in (1e5, 1e3, 10.0, 1e-1, 1e-2, 1e-3):
        i = int(np.argmin(abs(np.log(frequencies / f))))
        axes.annotate(f"{f:g} Hz", (z[i].real, -z[i].imag), fontsize=8)
    axes.set_xlabel("Re Z / Ω")
    axes.set_ylabel("-Im Z / Ω")
    axes.set_title("Cu||NMC811 half charged: film, charge transfers, diffusion")
    save(figure, folder, "plant-impedance")


def lithium_signatures(folder: Path) -> None:
    """Nucleation dip, second plateau, end of strip on bare Cu."""
    figure, (dip, plateau, end) = plt.subplots(1, 3, figsize=(9.0, 3.2))
    cell = LithiumMetalCell(PRESETS["li-cu"](0))
    dip.plot([1e3 * -cell.step(1.54e-3, 1.0, TEMPERATURE_K)[0] for _ in range(300)])
    dip.set_title("first plating on Cu, 1 mA/cm²", fontsize=9)
    dip.set_xlabel("time / s")
    dip.set_ylabel("Cu vs Li / mV")
    cell = LithiumMetalCell(PRESETS["li-li"](0))
    for _ in range(180):
        cell.step(1.54e-3, 10.0, TEMPERATURE_K)
    volts = [1e3 * cell.step(-1.54e-3, 10.0, TEMPERATURE_K)[0] for _ in range(300)]
    plateau.plot(np.arange(300) / 6.0, volts)
    plateau.set_title("strip of Li||Li: mossy, then foil", fontsize=9)
    plateau.set_xlabel("time / min")
    plateau.set_ylabel("voltage / mV")
    cell = LithiumMetalCell(PRESETS["li-cu"](0))
    for _ in range(60):
        cell.step(1.54e-3, 10.0, TEMPERATURE_K)
    while float(cell.truth()["active_lithium_mAh"]) > 2e-4:
        cell.step(-6e-3, 2e-3, TEMPERATURE_K)
    volts = [-cell.step(-6e-3, 2e-4, TEMPERATURE_K)[0] for _ in range(700)]
    end.plot(np.arange(700) * 0.2, volts)
    end.set_title("end of strip, 4 mA/cm²", fontsize=9)
    end.set_xlabel("time / ms")
    end.set_ylabel("Cu vs Li / V")
    figure.tight_layout()
    save(figure, folder, "plant-signatures")


def reservoir(folder: Path) -> None:
    """Efficiency is blind to lithium loss until the cathode-limited reservoir is spent."""
    cell = LithiumMetalCell(anode_free_nmc811(1))
    stage = OutputStage(port_of(cell, "anode-free"), TEMPERATURE_K)

    def until(level_V: float, end_A: float) -> float:
        start = cell.truth()
        stage.set(VOLTAGE_SOURCE, level_V, C_3_A)
        for _ in range(2000):
            stage.evolve(30.0)
            if abs(stage.current_A) <= end_A:
                break
        now = cell.truth()
        ins, outs = (
            float(now[name]) - float(start[name]) for name in ("charge_in_mAh", "charge_out_mAh")
        )
        return abs(ins - outs)

    rows = []
    for _ in range(40):
        charge_mAh = until(4.3, C_3_A / 3.0)
        discharge_mAh = until(3.0, 60e-6)
        stage.set(OPEN_CIRCUIT, 0.0, 0.0)
        stage.evolve(600.0)
        truth = cell.truth()
        left = float(truth["active_lithium_mAh"]) + float(truth["cathode_lithium_mAh"])
        rows.append((discharge_mAh, discharge_mAh / charge_mAh, left, truth["last_discharge_end"]))
    figure, (efficiency, capacity) = plt.subplots(2, 1, sharex=True, figsize=(6.4, 4.4))
    cycles = np.arange(1, len(rows) + 1)
    lithium = np.array([row[2] for row in rows])
    efficiency.plot(cycles[1:], [100.0 * row[1] for row in rows][1:], "o-", ms=3, label="CE")
    loss = 100.0 * (1.0 + np.diff(lithium) / np.array([row[0] for row in rows])[1:])
    efficiency.plot(cycles[1:], loss, "k--", lw=1, label="1 - lithium lost / capacity (truth)")
    capacity.plot(cycles, [row[0] for row in rows], "o-", ms=3)
    spent = next((i for i, row in enumerate(rows) if row[3] == "anode-limited"), len(rows))
    for axes in (efficiency, capacity):
        axes.axvline(spent + 0.5, color="grey", lw=1)
    efficiency.set_ylabel("CE / %")
    efficiency.legend(fontsize=8)
    efficiency.set_title("left of the line the cathode ends the discharge, right of it the anode")
    capacity.set_ylabel("capacity / mAh")
    capacity.set_xlabel("cycle")
    save(figure, folder, "plant-reservoir")


def save(figure: plt.Figure, folder: Path, name: str) -> None:
    """Write one figure without a date, so that the same figure is the same file."""
    folder.mkdir(parents=True, exist_ok=True)
    mpl.rcParams["svg.hashsalt"] = name
    figure.savefig(folder / f"{name}.svg", metadata={"Date": None}, bbox_inches="tight")
    plt.close(figure)
    print(folder / f"{name}.svg")


def main() -> None:
    """Draw all figures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs/figures")
    for draw in (beside_pybamm, spectrum, lithium_signatures, reservoir):
        draw(folder)


if __name__ == "__main__":
    main()
