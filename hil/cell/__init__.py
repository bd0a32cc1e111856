"""The simulated lithium-metal cell: physics, hidden truth, conserved lithium."""

from hil.cell.lithium_metal import LithiumMetalCell, Snapshot, cathode_ocv_V
from hil.cell.parameters import PRESETS, CellParameters, anode_free_nmc811, excess_lithium_nmc811

__all__ = [
    "PRESETS",
    "CellParameters",
    "LithiumMetalCell",
    "Snapshot",
    "anode_free_nmc811",
    "cathode_ocv_V",
    "excess_lithium_nmc811",
]
