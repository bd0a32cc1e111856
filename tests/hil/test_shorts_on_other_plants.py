"""The detector of soft shorts on cells of another structure: equivalent circuit, columns."""

from __future__ import annotations

import itertools

import pytest

from controller.domain.cell import CellFormat
from controller.estimation.shorts import ShortMemory, follow
from hil.shunt import Shunted, cycled
from tests.plants import equivalent_circuit, two_foils

# name: plant, format, nominal capacity (Ah), current (A), upper and lower voltage, most charge (mAh),
# mean voltage that drives the leak (V)
CELLS = {
    "equivalent circuit": (equivalent_circuit.make, CellFormat.ANODE_FREE, 3e-3, 3e-3, 4.3, 3.0, 1e9, 3.8),
    "columns, Li||Li": (two_foils.li_li, CellFormat.LI_LI, 1.5e-3, 1.5e-3, 5.0, -5.0, 1.5, 0.04),
}  # fmt: skip


def life(name: str, seed: int, leak: float, cycles: int = 7):
    """Return for each cycle its leak (share of nominal) and the evidence; a short in the last two."""
    make, cell_format, nominal_Ah, current_A, upper_V, lower_V, most_mAh, mean_V = CELLS[name]
    plant = Shunted(make(seed=seed, temperature_K=298.15), seed=seed)
    leaks = []

    def before(number: int) -> None:
        leaks.append(plant.leaked_mAh)
        if leak and number == cycles - 2:
            # on half of the time, a cycle of about 2.3 h
            plant.resistance_Ohm = 0.5 * mean_V * 2.3 / (leak * nominal_Ah)

    figures = cycled(
        plant,
        current_A=current_A,
        upper_V=upper_V,
        lower_V=lower_V,
        most_mAh=most_mAh,
        cycles=cycles,
        noise_V=1e-4,
        seed=seed,
        before=before,
    )
    leaks.append(plant.leaked_mAh)
    shares = [(b - a) / (1e3 * nominal_Ah) for a, b in itertools.pairwise(leaks)]
    memory = ShortMemory()
    return [
        (share, follow(memory, one, cell_format, nominal_Ah))
        for share, one in zip(shares, figures, strict=True)
    ]


@pytest.mark.parametrize("name", CELLS)
def test_a_leak_of_some_per_cent_with_telegraph_noise_is_found_and_no_sound_cycle(name):
    *sound, first, second = life(name, 5, leak=0.04)
    assert max(first[0], second[0]) > 0.01
    assert all(share == 0.0 for share, _ in sound)
    assert not any(evidence.flagged for _, evidence in sound)
    assert first[1].flagged or second[1].flagged
    assert "no sign" not in first[1].words[0] + second[1].words[0]
