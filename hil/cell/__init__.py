"""The simulated lithium-metal cell: physics, hidden truth, conserved lithium."""

from hil.cell.cathode import cathode_ocv_V
from hil.cell.library import (
    PRESETS,
    CellFile,
    anode_free_nmc811,
    cell_names,
    excess_lithium_nmc811,
    load_cell,
    parse_cell,
)
from hil.cell.lithium_metal import LithiumMetalCell
from hil.cell.parameters import CellParameters
from hil.cell.state import Snapshot

__all__ = [
    "PRESETS",
    "CellFile",
    "CellParameters",
    "LithiumMetalCell",
    "Snapshot",
    "anode_free_nmc811",
    "cathode_ocv_V",
    "cell_names",
    "excess_lithium_nmc811",
    "load_cell",
    "parse_cell",
]
