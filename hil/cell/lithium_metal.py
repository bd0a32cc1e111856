"""The simulated cell: Cu (or Li) against NMC811, reduced order, lithium conserved.

Equations in `docs/plant.md`. Positive current charges (plates lithium). Hidden truth is read only
by tests and reports, never by a controller.
"""

from __future__ import annotations

import math
from typing import Final

from controller.domain.cell import FARADAY_C_PER_MOL, GAS_CONSTANT_J_PER_MOL_K
from controller.domain.errors import InvariantError, refuse
from hil.cell.parameters import CellParameters

COULOMB_PER_MAH: Final = 3.6
REFERENCE_K: Final = 298.15
REST_MA_PER_CM2: Final = 0.01  # below this the cell rests, chemically speaking
MAX_CURRENT_A: Final = 1e3
MAX_STEP_S: Final = 86_400.0
AMBIENT_RANGE_K: Final = (200.0, 450.0)
_REFRESH_K: Final = 0.05  # rate constants follow the temperature in steps this fine
_CATHODE_EMPTY_X: Final = 0.02  # below: charge goes into oxidising the electrolyte
_CATHODE_FULL_X: Final = 0.9995  # above: charge goes into reducing the electrolyte
_DISSOLVING_V: Final = 0.05  # above the flag, Cu dissolution takes all the charge
_MAX_INACTIVE_SHARE: Final = 0.2
_READY_CHARGE_MAH: Final = 0.05  # plated charge that readies the fast strip again, assumed
_KNEE_OVERPOTENTIAL_V: Final = 0.15  # at the anode when a strip ends: anode-limited
_GONE_COVERAGE: Final = 0.1  # of the coverage scale: hardly any lithium is left to strip
_KNEE_CATHODE_V: Final = 0.10  # of the cathode's steep end when a strip ends: cathode-limited

Snapshot = tuple[float, ...]

STATE_FIELDS: Final[tuple[str, ...]] = (
    "active_mAh",
    "fresh_mAh",
    "old_mAh",
    "reversible_mAh",
    "sei_mAh",
    "residual_sei_mAh",
    "cathode_mAh",
    "electrolyte_mAh",
    "copper_V",
    "copper_dissolved_mAh",
    "copper_highest_V",
    "electrolyte_oxidised_mAh",
    "electrolyte_reduced_mAh",
    "surface_x",
    "slow_V",
    "temperature_K",
    "rest_h",
    "readiness",
    "charge_in_mAh",
    "charge_out_mAh",
    "reconnected_mAh",
    "time_s",
    "last_current_A",
    "last_end",
    "open_V",
)
_ENDS: Final = ("none", "anode-limited", "cathode-limited", "polarisation-limited")


class CellState:
    """All that changes in a cell; plain floats. Inventories in mAh of lithium."""

    __slots__ = STATE_FIELDS

    active_mAh: float  # metal in contact with the current collector
    fresh_mAh: float  # isolated metal, recent
    old_mAh: float  # isolated metal that nothing here brings back
    reversible_mAh: float  # isolated metal that the next plating reconnects
    sei_mAh: float  # bound for good
    residual_sei_mAh: float  # around isolated metal, soluble in a discharged rest
    cathode_mAh: float
    electrolyte_mAh: float
    copper_V: float  # bare Cu vs Li
    copper_dissolved_mAh: float
    copper_highest_V: float
    electrolyte_oxidised_mAh: float  # charge without lithium, at the cathode
    electrolyte_reduced_mAh: float  # charge without lithium, either electrode
    surface_x: float  # surface minus mean filling of the cathode
    slow_V: float
    temperature_K: float
    rest_h: float
    readiness: float  # 0..1, of the fast strip after a charge
    charge_in_mAh: float
    charge_out_mAh: float
    reconnected_mAh: float
    time_s: float
    last_current_A: float
    last_end: float  # index into the ends of a discharge
    open_V: float  # voltage at zero current, now


def cathode_ocv_V(x: float, parameters: CellParameters) -> float:
    """Return the cathode's open-circuit voltage vs Li (V) at lithium fraction `x`.

    Chen et al. 2020 (doi 10.1149/1945-7111/ab9050) for 0.26 < x < 0.9; the steep ends are assumed.
    """
    voltage_V = (
        4.4875
        - 0.8090 * x
        - 0.0428 * math.tanh(18.5138 * (x - 0.5542))
        - 17.7326 * math.tanh(15.789 * (x - 0.3117))
        + 17.5842 * math.tanh(15.9308 * (x - 0.312))
    )
    if x > 0.85:
        power = (x - parameters.ocv_end_x) / parameters.ocv_end_width
        return voltage_V - parameters.ocv_end_V * math.exp(min(power, 4.0))
    if x < 0.2:
        return voltage_V + 0.05 * math.exp(min((0.1 - x) / 0.02, 4.0))
    return voltage_V


class LithiumMetalCell:
    """One cell. `step` moves it, `terminal_voltage` asks without moving.

    Parameters
    ----------
    parameters : CellParameters
    temperature_K : float
        Temperature at the start.
    """

    def __init__(self, parameters: CellParameters, *, temperature_K: float = REFERENCE_K) -> None:
        low_K, high_K = AMBIENT_RANGE_K
        if not low_K <= temperature_K <= high_K:
            raise refuse("cell", "temperature_K", f"{temperature_K!r} is outside {low_K}..{high_K}")
        self.parameters = parameters
        p = parameters
        s = CellState()
        for name in STATE_FIELDS:
            setattr(s, name, 0.0)
        s.active_mAh = float(p.active_lithium_initial_mAh)
        s.cathode_mAh = p.cathode_initial_x * p.cathode_host_mAh
        s.electrolyte_mAh = float(p.electrolyte_lithium_mAh)
        s.copper_V = s.copper_highest_V = float(p.copper_initial_V)
        s.temperature_K = float(temperature_K)
        self._s = s
        self._copper_mAh_per_V = p.copper_capacitance_F_per_cm2 * p.area_cm2 / COULOMB_PER_MAH
        self._rest_A = REST_MA_PER_CM2 * p.area_cm2 * 1e-3
        self._fast_charge_mAh = p.fast_strip_charge_mAh_per_cm2 * p.area_cm2
        # Cached, derived from the state or from the last current.
        self._rates_at_K = math.nan
        self._strip_current_A = math.nan
        self._inactive_share = 0.0
        self._fast_gain = 0.0
        self._slow_dt_s = math.nan
        self._slow_keep = self._heat_keep = self._window_keep = 1.0
        self._thermal_V = self._i0_cathode_A = self._i0_anode_A = 0.0
        self._ohm_factor = 1.0
        self._resistance_Ohm = self._anode_per_A = self._cathode_per_A = 0.0
        self._ocv_V = 0.0
        self._refresh()

    # -- the port -----------------------------------------------------------------------------

    def step(self, current_A: float, dt_s: float, ambient_K: float) -> tuple[float, float]:
        """Pass a constant current for a time.

        Parameters
        ----------
        current_A : float
            Positive charges.
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
        if not -MAX_CURRENT_A <= current_A <= MAX_CURRENT_A:
            raise refuse("cell", "current_A", f"{current_A!r} is outside +-{MAX_CURRENT_A:g}")
        if not 0.0 < dt_s <= MAX_STEP_S:
            raise refuse("cell", "dt_s", f"{dt_s!r} is outside 0..{MAX_STEP_S:g}")
        if not AMBIENT_RANGE_K[0] <= ambient_K <= AMBIENT_RANGE_K[1]:
            raise refuse("cell", "ambient_K", f"{ambient_K!r} is outside {AMBIENT_RANGE_K}")
        s = self._s
        if s.last_current_A < -self._rest_A and (
            current_A > 0.5 * s.last_current_A or current_A >= -self._rest_A
        ):
            self._classify_end()
        if dt_s != self._slow_dt_s:
            self._new_step_length(dt_s)
        charge_mAh = current_A * dt_s / COULOMB_PER_MAH
        # The electrode that gives lithium to the electrolyte goes first.
        if charge_mAh > 0.0:
            self._empty_cathode(charge_mAh)
            self._plate(charge_mAh)
        elif charge_mAh < 0.0:
            if current_A != self._strip_current_A:
                self._new_strip_current(current_A)
            self._strip(-charge_mAh)
            self._fill_cathode(-charge_mAh)
        if -self._rest_A <= current_A <= self._rest_A:
            self._rest(dt_s)
        if charge_mAh <= 0.0:
            s.readiness *= self._window_keep
        self._age(dt_s)
        self._polarise(current_A, dt_s, ambient_K)
        s.time_s += dt_s
        s.last_current_A = current_A
        self._refresh()
        voltage_V = self.terminal_voltage(current_A)
        if not (-20.0 < voltage_V - current_A * self._resistance_Ohm < 20.0):
            raise InvariantError(f"cell voltage {voltage_V!r} V at {current_A!r} A")
        return voltage_V, s.temperature_K

    def terminal_voltage(self, current_A: float) -> float:
        """Return the voltage (V) that a current would give at once, without moving the state."""
        return (
            self._s.open_V
            + current_A * self._resistance_Ohm
            + self._thermal_V
            * (
                math.asinh(current_A * self._cathode_per_A)
                + math.asinh(current_A * self._anode_per_A)
            )
        )

    def longest_step_s(self, current_A: float) -> float:
        """Return how long a discharge current may be held before the knee must be looked at.

        A fifth of the time in which the remaining active lithium is gone, or the time in which
        bare Cu moves 20 mV; never below 1 ms. Infinite on charge and rest.
        """
        if current_A >= -self._rest_A * 1e-3:
            return math.inf
        s = self._s
        per_s_mAh = -current_A / COULOMB_PER_MAH
        if s.active_mAh > 0.0:
            return max(1e-3, 0.2 * s.active_mAh / per_s_mAh)
        if s.copper_V >= self.parameters.copper_dissolution_V + _DISSOLVING_V:
            return math.inf  # Cu dissolves, its potential stands still
        return max(1e-3, 0.02 * self._copper_mAh_per_V / per_s_mAh)

    @property
    def temperature_K(self) -> float:
        """Temperature of the cell (K)."""
        return self._s.temperature_K

    def snapshot(self) -> Snapshot:
        """Return the whole state as numbers, in the order of `STATE_FIELDS`."""
        s = self._s
        return (
            s.active_mAh,
            s.fresh_mAh,
            s.old_mAh,
            s.reversible_mAh,
            s.sei_mAh,
            s.residual_sei_mAh,
            s.cathode_mAh,
            s.electrolyte_mAh,
            s.copper_V,
            s.copper_dissolved_mAh,
            s.copper_highest_V,
            s.electrolyte_oxidised_mAh,
            s.electrolyte_reduced_mAh,
            s.surface_x,
            s.slow_V,
            s.temperature_K,
            s.rest_h,
            s.readiness,
            s.charge_in_mAh,
            s.charge_out_mAh,
            s.reconnected_mAh,
            s.time_s,
            s.last_current_A,
            s.last_end,
            s.open_V,
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Take the state back to a snapshot of the same parameters.

        Raises
        ------
        ConfigurationError
            The snapshot has another length or holds something that is not finite.
        """
        # A sum is finite only if every number is; this is asked at each rejected sub-step.
        if len(snapshot) != len(STATE_FIELDS) or not math.isfinite(sum(snapshot)):
            raise refuse("cell snapshot", "", f"needs {len(STATE_FIELDS)} finite numbers")
        s = self._s
        (
            s.active_mAh,
            s.fresh_mAh,
            s.old_mAh,
            s.reversible_mAh,
            s.sei_mAh,
            s.residual_sei_mAh,
            s.cathode_mAh,
            s.electrolyte_mAh,
            s.copper_V,
            s.copper_dissolved_mAh,
            s.copper_highest_V,
            s.electrolyte_oxidised_mAh,
            s.electrolyte_reduced_mAh,
            s.surface_x,
            s.slow_V,
            s.temperature_K,
            s.rest_h,
            s.readiness,
            s.charge_in_mAh,
            s.charge_out_mAh,
            s.reconnected_mAh,
            s.time_s,
            s.last_current_A,
            s.last_end,
            s.open_V,
        ) = snapshot
        self._refresh()

    def lithium_mAh(self) -> float:
        """Return the sum of all lithium inventories (mAh); constant over the cell's life."""
        s = self._s
        return math.fsum(
            (
                s.active_mAh,
                s.fresh_mAh,
                s.old_mAh,
                s.reversible_mAh,
                s.sei_mAh,
                s.residual_sei_mAh,
                s.cathode_mAh,
                s.electrolyte_mAh,
            )
        )

    def truth(self) -> dict[str, float | str | bool]:
        """Return what no controller may see: inventories (mAh), passed charge, what limited."""
        s = self._s
        p = self.parameters
        return {
            "active_lithium_mAh": s.active_mAh,
            "fresh_inactive_mAh": s.fresh_mAh,
            "old_inactive_mAh": s.old_mAh,
            "reversible_inactive_mAh": s.reversible_mAh,
            "sei_lithium_mAh": s.sei_mAh,
            "residual_sei_mAh": s.residual_sei_mAh,
            "cathode_lithium_mAh": s.cathode_mAh,
            "electrolyte_lithium_mAh": s.electrolyte_mAh,
            "total_lithium_mAh": self.lithium_mAh(),
            "cathode_x": s.cathode_mAh / p.cathode_host_mAh,
            "charge_in_mAh": s.charge_in_mAh,
            "charge_out_mAh": s.charge_out_mAh,
            "reconnected_mAh": s.reconnected_mAh,
            "last_discharge_end": _ENDS[int(s.last_end)],
            "copper_V": s.copper_V,
            "copper_highest_V": s.copper_highest_V,
            "copper_dissolved_mAh": s.copper_dissolved_mAh,
            "copper_dissolution": s.copper_highest_V >= p.copper_dissolution_V,
            "electrolyte_oxidised_mAh": s.electrolyte_oxidised_mAh,
            "electrolyte_reduced_mAh": s.electrolyte_reduced_mAh,
            "resistance_Ohm": self._resistance_Ohm,
            "temperature_K": s.temperature_K,
            "time_s": s.time_s,
        }

    # -- electrodes ---------------------------------------------------------------------------

    def _empty_cathode(self, charge_mAh: float) -> None:
        s = self._s
        s.charge_in_mAh += charge_mAh
        room_mAh = s.cathode_mAh - _CATHODE_EMPTY_X * self.parameters.cathode_host_mAh
        if charge_mAh > room_mAh:
            released_mAh = max(0.0, room_mAh)
            s.electrolyte_oxidised_mAh += charge_mAh - released_mAh
        else:
            released_mAh = charge_mAh
        s.cathode_mAh -= released_mAh
        s.electrolyte_mAh += released_mAh

    def _fill_cathode(self, charge_mAh: float) -> None:
        s = self._s
        s.charge_out_mAh += charge_mAh
        room_mAh = _CATHODE_FULL_X * self.parameters.cathode_host_mAh - s.cathode_mAh
        room_mAh = max(0.0, min(room_mAh, s.electrolyte_mAh))
        if charge_mAh > room_mAh:
            s.electrolyte_reduced_mAh += charge_mAh - room_mAh
            charge_mAh = room_mAh
        s.cathode_mAh += charge_mAh
        s.electrolyte_mAh -= charge_mAh

    def _plate(self, charge_mAh: float) -> None:
        s = self._s
        p = self.parameters
        if s.copper_V > 0.0:
            stored_mAh = s.copper_V * self._copper_mAh_per_V
            if charge_mAh <= stored_mAh:
                s.copper_V -= charge_mAh / self._copper_mAh_per_V
                return
            s.copper_V = 0.0
            charge_mAh -= stored_mAh
        if charge_mAh > s.electrolyte_mAh:
            s.electrolyte_reduced_mAh += charge_mAh - s.electrolyte_mAh
            charge_mAh = s.electrolyte_mAh
        sei_mAh = p.sei_per_plated * charge_mAh
        residual_mAh = p.dissolvable_share * sei_mAh
        s.electrolyte_mAh -= charge_mAh
        s.active_mAh += charge_mAh - sei_mAh
        s.sei_mAh += sei_mAh - residual_mAh
        s.residual_sei_mAh += residual_mAh
        if s.reversible_mAh > 0.0:
            back_mAh = s.reversible_mAh * -math.expm1(-charge_mAh / p.reconnection_mAh)
            s.reversible_mAh -= back_mAh
            s.active_mAh += back_mAh
            s.reconnected_mAh += back_mAh
        keep = math.exp(-charge_mAh / _READY_CHARGE_MAH)
        s.readiness = 1.0 - (1.0 - s.readiness) * keep
        s.rest_h *= keep

    def _strip(self, charge_mAh: float) -> None:
        s = self._s
        if s.active_mAh > 0.0:
            share = self._inactive_share
            stripped_mAh = charge_mAh
            if charge_mAh * (1.0 + share) >= s.active_mAh:
                stripped_mAh = s.active_mAh / (1.0 + share)
                s.fresh_mAh += s.active_mAh - stripped_mAh
                s.active_mAh = 0.0
            else:
                s.active_mAh -= charge_mAh * (1.0 + share)
                s.fresh_mAh += charge_mAh * share
            s.electrolyte_mAh += stripped_mAh
            if s.readiness > 1e-6:
                used = s.readiness * -math.expm1(-stripped_mAh / self._fast_charge_mAh)
                s.readiness -= used
                if self._fast_gain > 0.0:
                    back_mAh = self._fast_gain * used * s.fresh_mAh
                    s.fresh_mAh -= back_mAh
                    s.active_mAh += back_mAh
                    s.reconnected_mAh += back_mAh
            charge_mAh -= stripped_mAh
        if charge_mAh > 0.0:
            self._polarise_copper(charge_mAh)

    def _polarise_copper(self, charge_mAh: float) -> None:
        s = self._s
        limit_V = self.parameters.copper_dissolution_V + _DISSOLVING_V
        copper_V = s.copper_V + charge_mAh / self._copper_mAh_per_V
        if copper_V > limit_V:
            s.copper_dissolved_mAh += (copper_V - limit_V) * self._copper_mAh_per_V
            copper_V = limit_V
        s.copper_V = copper_V
        s.copper_highest_V = max(s.copper_highest_V, copper_V)

    # -- slow changes -------------------------------------------------------------------------

    def _rest(self, dt_s: float) -> None:
        s = self._s
        p = self.parameters
        hours = dt_s / 3600.0
        if s.copper_V > 0.0:
            s.copper_V *= math.exp(-dt_s / p.copper_leak_s)
        if s.active_mAh > 0.0 and p.corrosion_per_h > 0.0:
            # Integral of 1/sqrt(1 + t/slowing): independent of the step length.
            slowing_h = p.corrosion_slowing_h
            start = math.sqrt(1.0 + s.rest_h / slowing_h)
            end = math.sqrt(1.0 + (s.rest_h + hours) / slowing_h)
            loss = p.corrosion_per_h * 2.0 * slowing_h * (end - start)
            lost_mAh = s.active_mAh * -math.expm1(-loss)
            reversible_mAh = p.corrosion_reversible_share * lost_mAh
            s.active_mAh -= lost_mAh
            s.reversible_mAh += reversible_mAh
            s.sei_mAh += lost_mAh - reversible_mAh
        s.rest_h += hours
        if s.residual_sei_mAh > 0.0:
            gate = p.discharged_gate_mAh / (p.discharged_gate_mAh + s.active_mAh)
            share = -math.expm1(-gate * hours / p.dissolution_h)
            dissolved_mAh = share * s.residual_sei_mAh
            freed_mAh = p.reachable_share * share * s.fresh_mAh
            s.residual_sei_mAh -= dissolved_mAh
            s.electrolyte_mAh += dissolved_mAh
            s.fresh_mAh -= freed_mAh
            s.reversible_mAh += freed_mAh

    def _age(self, dt_s: float) -> None:
        s = self._s
        if s.fresh_mAh > 0.0:
            aged_mAh = s.fresh_mAh * -math.expm1(-dt_s / (3600.0 * self.parameters.ageing_h))
            s.fresh_mAh -= aged_mAh
            s.old_mAh += aged_mAh

    def _polarise(self, current_A: float, dt_s: float, ambient_K: float) -> None:
        """Surface filling, slow polarisation, temperature: exact for a constant current."""
        s = self._s
        p = self.parameters
        x = s.cathode_mAh / p.cathode_host_mAh
        tau_s = p.diffusion_time_s
        if x > 0.8:
            tau_s += p.diffusion_slow_s * math.exp(
                (x - p.diffusion_slow_x) / p.diffusion_slow_width
            )
        rate_per_s = -current_A * p.diffusion_gain / (COULOMB_PER_MAH * p.cathode_host_mAh)
        steady_x = rate_per_s * tau_s
        s.surface_x = steady_x + (s.surface_x - steady_x) * math.exp(-dt_s / tau_s)
        steady_V = current_A * p.slow_Ohm_cm2 * self._ohm_factor / p.area_cm2
        s.slow_V = steady_V + (s.slow_V - steady_V) * self._slow_keep
        heat_W = current_A * current_A * self._resistance_Ohm + current_A * s.slow_V
        steady_K = ambient_K + heat_W / p.heat_loss_W_per_K
        s.temperature_K = steady_K + (s.temperature_K - steady_K) * self._heat_keep

    # -- cached rates -------------------------------------------------------------------------

    def _new_step_length(self, dt_s: float) -> None:
        p = self.parameters
        self._slow_dt_s = dt_s
        self._slow_keep = math.exp(-dt_s / p.slow_time_s)
        self._heat_keep = math.exp(-dt_s * p.heat_loss_W_per_K / p.heat_capacity_J_per_K)
        self._window_keep = math.exp(-dt_s / p.fast_strip_window_s)

    def _new_strip_current(self, current_A: float) -> None:
        p = self.parameters
        self._strip_current_A = current_A
        density = -current_A * 1e3 / p.area_cm2
        ratio = math.log(density / p.inactive_optimum_mA_per_cm2)
        share = p.inactive_per_stripped * (1.0 + p.inactive_curvature * ratio * ratio)
        self._inactive_share = min(share, _MAX_INACTIVE_SHARE)
        above = density - p.fast_strip_threshold_mA_per_cm2
        self._fast_gain = 0.0
        if above > 0.0:
            self._fast_gain = p.fast_strip_gain * above / (above + p.fast_strip_half_mA_per_cm2)

    def _new_temperature(self) -> None:
        s = self._s
        p = self.parameters
        temperature_K = s.temperature_K
        self._rates_at_K = temperature_K
        inverse = (1.0 / REFERENCE_K - 1.0 / temperature_K) / GAS_CONSTANT_J_PER_MOL_K
        self._thermal_V = 2.0 * GAS_CONSTANT_J_PER_MOL_K * temperature_K / FARADAY_C_PER_MOL
        per_area_A = p.area_cm2 * 1e-3
        self._i0_cathode_A = (
            p.cathode_exchange_mA_per_cm2
            * per_area_A
            * math.exp(p.cathode_activation_J_per_mol * inverse)
        )
        self._i0_anode_A = (
            p.anode_exchange_mA_per_cm2
            * per_area_A
            * math.exp(p.anode_activation_J_per_mol * inverse)
        )
        self._ohm_factor = math.exp(-p.ohmic_activation_J_per_mol * inverse)

    def _refresh(self) -> None:
        """Bring everything that `terminal_voltage` uses up to the present state."""
        s = self._s
        p = self.parameters
        moved_K = s.temperature_K - self._rates_at_K
        if not -_REFRESH_K < moved_K < _REFRESH_K:
            self._new_temperature()
        coverage = s.active_mAh / (s.active_mAh + p.coverage_mAh) + p.bare_coverage
        self._anode_per_A = 0.5 / (self._i0_anode_A * coverage)
        self._cathode_per_A = 0.5 / self._i0_cathode_A
        area_cm2 = p.area_cm2
        inactive_mAh = s.fresh_mAh + s.old_mAh + s.reversible_mAh
        self._resistance_Ohm = (
            self._ohm_factor
            / area_cm2
            * (
                p.ohmic_Ohm_cm2
                + p.film_Ohm_cm2
                + (
                    p.film_growth_Ohm_cm4_per_mAh * (s.sei_mAh + s.residual_sei_mAh)
                    + p.layer_Ohm_cm4_per_mAh * inactive_mAh
                )
                / area_cm2
            )
        )
        self._ocv_V = cathode_ocv_V(s.cathode_mAh / p.cathode_host_mAh + s.surface_x, p)
        s.open_V = self._ocv_V + s.slow_V - s.copper_V

    def _classify_end(self) -> None:
        """Note what limited the discharge that ends now."""
        s = self._s
        p = self.parameters
        anode_V = s.copper_V + self._thermal_V * math.asinh(-s.last_current_A * self._anode_per_A)
        x = s.cathode_mAh / p.cathode_host_mAh + s.surface_x
        power = (x - p.ocv_end_x) / p.ocv_end_width
        end_V = p.ocv_end_V * math.exp(min(power, 4.0))
        # Lithium gone: the anode's, whatever the cathode adds to the polarisation by then.
        if s.active_mAh < _GONE_COVERAGE * p.coverage_mAh or (
            anode_V > _KNEE_OVERPOTENTIAL_V and anode_V > end_V
        ):
            s.last_end = 1.0
        elif end_V > _KNEE_CATHODE_V:
            s.last_end = 2.0
        else:
            s.last_end = 3.0
