"""A small cell in the kernels' form: two RC pairs, charge transfer, temperature.

What a peer's equivalent circuit computes, to compare like with like; `two_rc.c` is the same in C.
"""

from __future__ import annotations

import math

from controller.domain.total_math import safe_divide, safe_exp

FARADAY_PER_GAS_K = 96485.33212 / 8.31446261815324
ROOM_K = 298.15
SECONDS_PER_HOUR = 3600.0


class Pair:
    """Voltage over one RC pair (V)."""

    __slots__ = ("V",)
    V: float

    def __init__(self) -> None:
        self.V = 0.0


class State:
    """All that changes."""

    __slots__ = ("fast", "slow", "soc", "temperature_K")
    soc: float
    temperature_K: float
    fast: Pair
    slow: Pair

    def __init__(self, soc: float = 0.5) -> None:
        self.soc = soc
        self.temperature_K = ROOM_K
        self.fast = Pair()
        self.slow = Pair()


class PairParameters:
    """Resistance (Ohm) and time constant (s) of one RC pair."""

    __slots__ = ("r_Ohm", "tau_s")
    r_Ohm: float
    tau_s: float

    def __init__(self, r_Ohm: float, tau_s: float) -> None:
        self.r_Ohm = r_Ohm
        self.tau_s = tau_s


class Parameters:
    """A cell of 3 mAh by default."""

    __slots__ = (
        "activation_K",
        "capacity_Ah",
        "exchange_A",
        "fast",
        "heat_J_per_K",
        "loss_W_per_K",
        "r0_Ohm",
        "slow",
    )
    capacity_Ah: float
    r0_Ohm: float
    exchange_A: float
    activation_K: float
    heat_J_per_K: float
    loss_W_per_K: float
    fast: PairParameters
    slow: PairParameters

    def __init__(self, capacity_Ah: float = 3e-3) -> None:
        self.capacity_Ah = capacity_Ah
        self.r0_Ohm = 10.0
        self.exchange_A = 5e-3
        self.activation_K = 2500.0
        self.heat_J_per_K = 2.7
        self.loss_W_per_K = 0.0083
        self.fast = PairParameters(5.0, 12.0)
        self.slow = PairParameters(4.0, 300.0)


def ocv_V(soc: float) -> float:
    """Return an open-circuit voltage (V)."""
    return 3.45 + 0.85 * soc - 0.12 * math.tanh(30.0 * (0.03 - soc))


def relax(pair: Pair, p: PairParameters, current_A: float, dt_s: float, factor: float) -> None:
    """Move one RC pair, exact for a constant current."""
    steady_V = current_A * p.r_Ohm * factor
    pair.V = steady_V + (pair.V - steady_V) * safe_exp(-dt_s / p.tau_s)


def terminal_voltage(s: State, p: Parameters, current_A: float) -> float:
    """Return the voltage at a current (V)."""
    factor = safe_exp(p.activation_K * (safe_divide(1.0, s.temperature_K) - 1.0 / ROOM_K))
    transfer_V = (
        2.0
        * s.temperature_K
        / FARADAY_PER_GAS_K
        * math.asinh(0.5 * current_A * factor / p.exchange_A)
    )
    return ocv_V(s.soc) + current_A * p.r0_Ohm * factor + s.fast.V + s.slow.V + transfer_V


def step(s: State, p: Parameters, current_A: float, dt_s: float, ambient_K: float) -> float:
    """Pass a constant current (A, charging positive) for a time (s); return the voltage (V)."""
    factor = safe_exp(p.activation_K * (safe_divide(1.0, s.temperature_K) - 1.0 / ROOM_K))
    s.soc += current_A * dt_s / (SECONDS_PER_HOUR * p.capacity_Ah)
    relax(s.fast, p.fast, current_A, dt_s, factor)
    relax(s.slow, p.slow, current_A, dt_s, factor)
    heat_W = current_A * (current_A * p.r0_Ohm * factor + s.fast.V + s.slow.V)
    steady_K = ambient_K + heat_W / p.loss_W_per_K
    keep = safe_exp(-dt_s * p.loss_W_per_K / p.heat_J_per_K)
    s.temperature_K = steady_K + (s.temperature_K - steady_K) * keep
    return terminal_voltage(s, p, current_A)
