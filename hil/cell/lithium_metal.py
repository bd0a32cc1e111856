"""One simulated cell: the kernel with its checks around it, in plain Python."""

from __future__ import annotations

from typing import Final

from controller.domain.errors import InvariantError, refuse
from hil.cell import kernel
from hil.cell.lithium import inactive_mAh
from hil.cell.parameters import CellParameters
from hil.cell.state import STATE_FIELDS, ElectrodeState, Snapshot, blank_state, put, take

REFERENCE_K: Final = kernel.REFERENCE_K
MAX_CURRENT_A: Final = 1e3
MAX_STEP_S: Final = 86_400.0
AMBIENT_RANGE_K: Final = (200.0, 450.0)
HIGHEST_V: Final = 20.0  # beyond the ohmic drop, anywhere: the state has left physics
ROUNDING_MAH: Final = 1e-9
_ENDS: Final = ("none", "anode-limited", "cathode-limited", "polarisation-limited")
_SHORTS: Final = ("none", "soft", "hard")


def check_step(current_A: float, dt_s: float, ambient_K: float) -> None:
    """Refuse what no cell is asked to do."""
    if not -MAX_CURRENT_A <= current_A <= MAX_CURRENT_A:
        raise refuse("cell", "current_A", f"{current_A!r} is outside +-{MAX_CURRENT_A:g}")
    if not 0.0 < dt_s <= MAX_STEP_S:
        raise refuse("cell", "dt_s", f"{dt_s!r} is outside 0..{MAX_STEP_S:g}")
    if not AMBIENT_RANGE_K[0] <= ambient_K <= AMBIENT_RANGE_K[1]:
        raise refuse("cell", "ambient_K", f"{ambient_K!r} is outside {AMBIENT_RANGE_K}")


def check_snapshot(snapshot: Snapshot) -> None:
    """Refuse what is no snapshot of a state."""
    # A sum is finite only if every number is; this is asked at each rejected sub-step.
    if len(snapshot) != len(STATE_FIELDS) or not abs(sum(snapshot)) < float("inf"):
        raise refuse("cell snapshot", "", f"needs {len(STATE_FIELDS)} finite numbers")


class LithiumMetalCell:
    """One cell. `step` moves it, `terminal_voltage` asks without moving.

    Parameters
    ----------
    parameters : CellParameters
    temperature_K : float
        Temperature at the start.
    seed : int
        Of its shorts, the only thing that happens at random.
    """

    def __init__(
        self, parameters: CellParameters, *, temperature_K: float = REFERENCE_K, seed: int = 0
    ) -> None:
        low_K, high_K = AMBIENT_RANGE_K
        if not low_K <= temperature_K <= high_K:
            raise refuse("cell", "temperature_K", f"{temperature_K!r} is outside {low_K}..{high_K}")
        self.parameters = parameters
        s = blank_state()
        kernel.begin(s, parameters, float(temperature_K), float(abs(seed)))
        self._s = s

    def step(self, current_A: float, dt_s: float, ambient_K: float) -> tuple[float, float]:
        """Pass a constant current for a time.

        Parameters
        ----------
        current_A : float
            Positive charges: it plates lithium on the negative electrode.
        dt_s : float
            Length of the step (s).
        ambient_K : float

        Returns
        -------
        voltage_V, temperature_K : float
            At the end of the step, the current still flowing.

        Raises
        ------
        ConfigurationError
            An argument outside its range.
        InvariantError
            The state left physics: a bug of the model.
        """
        check_step(current_A, dt_s, ambient_K)
        s = self._s
        voltage_V = kernel.step(s, self.parameters, current_A, dt_s, ambient_K)
        if not (-HIGHEST_V < s.open_V < HIGHEST_V and s.lowest_mAh >= -ROUNDING_MAH):
            raise InvariantError(f"the cell's state left physics: {self._strangest()}")
        return voltage_V, s.temperature_K

    def terminal_voltage(self, current_A: float) -> float:
        """Return the voltage (V) at the instant a current begins, without moving the state.

        The double layers keep what they hold: only the ohmic drop follows at once.
        """
        return kernel.terminal_voltage(self._s, self.parameters, current_A)

    @property
    def temperature_K(self) -> float:
        """Temperature of the cell (K)."""
        return self._s.temperature_K

    def snapshot(self) -> Snapshot:
        """Return the whole state as numbers, in the order of `STATE_FIELDS`."""
        return take(self._s)

    def restore(self, snapshot: Snapshot) -> None:
        """Take the state back to a snapshot of the same parameters.

        Raises
        ------
        ConfigurationError
            The snapshot has another length or holds something that is not finite.
        """
        check_snapshot(snapshot)
        put(self._s, snapshot)

    def lithium_mAh(self) -> float:
        """Return the sum of all lithium inventories (mAh); constant over the cell's life."""
        s = self._s
        return _lithium_mAh(s.neg) + _lithium_mAh(s.pos) + s.cathode_mAh + s.electrolyte_mAh

    def balances(self) -> dict[str, float]:
        """Return what should be 0: lithium in mAh, charge at each electrode in mAh, energy in J.

        Charge that came in has either moved lithium at an electrode, or reduced, oxidised or
        dissolved something there, or charged its double layer, or leaked past it.
        """
        s, p = self._s, self.parameters
        external_mAh = s.charge_in_mAh - s.charge_out_mAh
        passed_mAh = external_mAh - s.leakage_mAh
        per_V = p.area_cm2 / 3.6 * 1e-6
        start_mAh = p.cathode_initial_x * p.cathode_host_mAh
        start_V = p.copper_initial_V if not p.negative_foil_mAh > 0.0 else 0.0
        books = {
            "lithium_mAh": self.lithium_mAh()
            - (start_mAh + p.negative_foil_mAh + p.positive_foil_mAh + p.electrolyte_mAh),
            "negative_mAh": passed_mAh
            - (
                _electrons_mAh(s.neg)
                - p.negative_foil_mAh
                - per_V * p.double_layer_uF_per_cm2 * (s.neg.potential_V - start_V)
            ),
            "energy_J": s.work_J
            - (
                s.chemical_J
                + s.ohmic_J
                + s.kinetic_J
                + s.diffusion_J
                + s.concentration_J
                + s.parasitic_J
                + s.leak_J
            ),
        }
        if p.positive_is_lithium:
            books["positive_mAh"] = passed_mAh + (
                _electrons_mAh(s.pos)
                - p.positive_foil_mAh
                - per_V * p.double_layer_uF_per_cm2 * s.pos.potential_V
            )
        else:
            books["positive_mAh"] = passed_mAh - (
                start_mAh
                - s.cathode_mAh
                + s.oxidised_mAh
                - s.cathode_reduced_mAh
                + per_V * p.cathode_double_layer_uF_per_cm2 * s.cathode_overpotential_V
            )
        return books

    def truth(self) -> dict[str, float | str | bool]:
        """Return what no controller may see: inventories (mAh), passed charge, what limited."""
        s = self._s
        p = self.parameters
        host_mAh = p.cathode_host_mAh
        return {
            "active_lithium_mAh": s.neg.deposit_mAh + s.neg.foil_mAh,
            "deposit_mAh": s.neg.deposit_mAh,
            "foil_mAh": s.neg.foil_mAh,
            "fresh_inactive_mAh": s.neg.fresh_mAh,
            "old_inactive_mAh": s.neg.old_mAh,
            "reversible_inactive_mAh": s.neg.reversible_mAh,
            "sei_lithium_mAh": s.neg.sei_mAh,
            "residual_sei_mAh": s.neg.residual_sei_mAh,
            "positive_active_lithium_mAh": s.pos.deposit_mAh + s.pos.foil_mAh,
            "positive_inactive_mAh": inactive_mAh(s.pos),
            "positive_sei_lithium_mAh": s.pos.sei_mAh + s.pos.residual_sei_mAh,
            "cathode_lithium_mAh": s.cathode_mAh,
            "electrolyte_lithium_mAh": s.electrolyte_mAh,
            "salt_fraction": s.salt_mAh / p.electrolyte_mAh,
            "total_lithium_mAh": self.lithium_mAh(),
            "cathode_x": s.cathode_mAh / host_mAh if host_mAh else 0.0,
            "charge_in_mAh": s.charge_in_mAh,
            "charge_out_mAh": s.charge_out_mAh,
            "leakage_mAh": s.leakage_mAh,
            "mediated_mAh": s.mediated_mAh,
            "reconnected_mAh": s.neg.reconnected_mAh + s.pos.reconnected_mAh,
            "last_discharge_end": _ENDS[int(s.last_end)],
            "copper_V": s.neg.potential_V,
            "copper_highest_V": s.neg.copper_highest_V,
            "copper_dissolved_mAh": s.neg.copper_dissolved_mAh,
            "copper_dissolution": s.neg.copper_highest_V >= p.copper_dissolution_V,
            "electrolyte_oxidised_mAh": s.oxidised_mAh,
            "electrolyte_reduced_mAh": s.cathode_reduced_mAh
            + s.neg.reduced_mAh
            + s.pos.reduced_mAh,
            "salt_depleted_s": s.depleted_s,
            "roughness": s.neg.roughness,
            "positive_roughness": s.pos.roughness,
            "pit_uniformity": s.neg.pit_uniformity,
            "positive_pit_uniformity": s.pos.pit_uniformity,
            "short": _SHORTS[int(s.short_level)],
            "short_Ohm": s.short_Ohm if s.short_level else 0.0,
            "shorts": s.shorts,
            "resistance_Ohm": s.resistance_Ohm + s.film_Ohm,
            "heat_J": s.heat_J,
            "temperature_K": s.temperature_K,
            "time_s": s.time_s,
        }

    def _strangest(self) -> str:
        """Name the number of the state that is not finite, or the inventory most below zero."""
        named = dict(zip(STATE_FIELDS, take(self._s), strict=True))
        for name, value in named.items():
            if not abs(value) < float("inf"):
                return f"{name} = {value!r}"
        flows = (
            "cathode_charge_mAh",
            "lithium_taken_mAh",
            "leaked_mAh",
            "leakage_mAh",
            "transport_mAh",
        )
        lithium = {
            name: value
            for name, value in named.items()
            if name.endswith("_mAh") and not name.endswith(flows)
        }
        name = min(lithium, key=lithium.__getitem__)
        if lithium[name] < -ROUNDING_MAH:
            return f"{name} = {lithium[name]!r}"
        return f"open_V = {self._s.open_V!r}"


def _lithium_mAh(e: ElectrodeState) -> float:
    return e.foil_mAh + e.deposit_mAh + inactive_mAh(e) + e.sei_mAh + e.residual_sei_mAh


def _electrons_mAh(e: ElectrodeState) -> float:
    """Return where the charge of an electrode has gone: metal, SEI, side reactions, Cu."""
    metal_mAh = e.foil_mAh + e.deposit_mAh + inactive_mAh(e)
    return metal_mAh + e.sei_electrons_mAh + e.reduced_mAh - e.copper_dissolved_mAh - e.leaked_mAh
