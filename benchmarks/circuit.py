"""The recursive circuit filter, plain and compiled, beside filterpy's EKF of the same model."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from benchmarks.peers import is_there
from benchmarks.plant import MICRO, NANO, beside
from benchmarks.timing import Measure, Result, seconds, without_peer
from controller.estimation.impedance.filter import (
    BENDS,
    OnePair,
    TwoPairs,
    observe_one,
    observe_two,
)
from controller.estimation.impedance.steps import NEW_SET_POINT
from hil import compiled, records

Readings = tuple[list[float], list[float], list[float], list[int]]
Filter = OnePair | TwoPairs
HOLD = 20  # readings at one current
WARM_UP = 400  # readings before the peer takes over: both then follow, and neither opens up
NOT_THERE = "filterpy is not installed"


def new(pairs: int) -> Filter:
    """Return a filter before its first reading."""
    kind = OnePair if pairs == 1 else TwoPairs
    return kind(noise_V=1e-4, min_step_A=1e-4, nominal_capacity_Ah=3e-3)


def readings(count: int, pairs: int = 2) -> Readings:
    """Return intervals, currents, voltages and flags of RC pairs, the current often changed."""
    normal = np.random.default_rng(5).standard_normal(count).tolist()
    levels_A = (1e-3, 0.0, -1e-3, -2e-3, 0.0)
    dts_s: list[float] = []
    currents_A: list[float] = []
    voltages_V: list[float] = []
    flags: list[int] = []
    fast_V = slow_V = 0.0
    for index, noise in enumerate(normal):
        dt_s = 1.0 + 0.1 * math.sin(index)
        current_A = levels_A[(index // HOLD) % len(levels_A)]
        fast_V += (5.0 * current_A - fast_V) * -math.expm1(-dt_s / 4.0)
        slow_V += (6.0 * (pairs - 1) * current_A - slow_V) * -math.expm1(-dt_s / 90.0)
        dts_s.append(dt_s)
        currents_A.append(current_A)
        voltages_V.append(3.7 + 10.0 * current_A + fast_V + slow_V + 1e-4 * noise)
        flags.append(NEW_SET_POINT if index % HOLD == 0 else 0)
    return dts_s, currents_A, voltages_V, flags


def run_one(s: OnePair, dt_s: Any, current_A: Any, voltage_V: Any, flags: Any) -> int:
    """Take in all readings; return how many were not simply used."""
    odd = 0
    for i in range(len(dt_s)):
        if observe_one(s, dt_s[i], current_A[i], voltage_V[i], flags[i]) != 0:
            odd += 1
    return odd


def run_two(s: TwoPairs, dt_s: Any, current_A: Any, voltage_V: Any, flags: Any) -> int:
    """Take in all readings; return how many were not simply used."""
    odd = 0
    for i in range(len(dt_s)):
        if observe_two(s, dt_s[i], current_A[i], voltage_V[i], flags[i]) != 0:
            odd += 1
    return odd


RUN: dict[int, Callable[..., int]] = {1: run_one, 2: run_two}


class Peer:
    """filterpy's ``ExtendedKalmanFilter`` with our model, continued from one of our filters."""

    def __init__(self, s: Filter) -> None:
        from filterpy.kalman import ExtendedKalmanFilter

        two = isinstance(s, TwoPairs)
        self.first = 2 if not two else 3
        size = 9 if two else 6
        self.ekf = ExtendedKalmanFilter(dim_x=size, dim_z=1)
        states = [s.u_V, s.v1_V] + ([s.v2_V] if isinstance(s, TwoPairs) else [])
        states += [s.slope, s.r0_Ohm, s.r1_Ohm, s.ln_tau1]
        states += [s.r2_Ohm, s.ln_tau2] if isinstance(s, TwoPairs) else []
        self.ekf.x = np.array(states).reshape(-1, 1)
        upper = np.zeros((size, size))
        upper[np.triu_indices(size)] = s.p
        self.ekf.P = upper + np.triu(upper, 1).T
        self.ekf.R = np.array([[s.r_V2]])
        self.s = s
        self.before_A = s.current_A
        self.pairs = 2 if two else 1
        self.current_A = 0.0
        self.F = np.eye(size)
        self.H = np.zeros((1, size))
        self.H[0, : self.first] = 1.0
        self.Q = np.zeros((size, size))

    def step(self, dt_s: float, current_A: float, voltage_V: float, flag: int) -> None:
        """Take in one reading."""
        s, ekf, first = self.s, self.ekf, self.first
        x = ekf.x[:, 0].tolist()  # Python's own numbers are quicker one by one
        variance = ekf.P.diagonal().tolist()
        through_A, loose_A = current_A, 0.0
        if not flag & NEW_SET_POINT:
            through_A = 0.5 * (current_A + self.before_A)
            loose_A = 0.28867513459481287 * (current_A - self.before_A)
        self.before_A = current_A
        F, Q = self.F, self.Q
        F[0, first] = through_A * dt_s
        Q[0, 0] = s.q_u_V2 * dt_s
        Q[first, first] = s.q_g * dt_s
        most = s.most_Ohm2
        wanders = variance[first + 1] < most
        Q[first + 1, first + 1] = s.q_r * x[first + 1] ** 2 * dt_s * wanders
        moved = list(x)
        moved[0] += through_A * dt_s * x[first]
        for k in range(self.pairs):
            v, r = 1 + k, first + 2 + 2 * k
            times = dt_s / math.exp(x[r + 1])
            keep = math.exp(-times)
            way_V = x[v] - x[r] * through_A
            by_r = (1.0 - keep) * through_A
            F[v, v] = keep
            F[v, r] = by_r
            F[v, r + 1] = way_V * keep * times
            bent_V2 = (1.0 - keep * keep) * way_V * way_V * variance[r + 1]
            loose_V = (1.0 - keep) * x[r] * loose_A
            Q[v, v] = bent_V2 * BENDS * variance[r + 1] + loose_V * loose_V
            Q[r, r] = s.q_r * x[r] ** 2 * dt_s * (variance[r] < most)
            Q[r + 1, r + 1] = s.q_t * dt_s * (variance[r + 1] < s.most_t)
            moved[v] = keep * x[v] + by_r * x[r]
        ekf.F, ekf.Q = F, Q
        after = np.array(moved).reshape(-1, 1)
        ekf.predict_x = lambda _u=0: setattr(ekf, "x", after)
        ekf.predict()
        self.current_A = current_A
        ekf.update(np.array([[voltage_V]]), self._jacobian, self._model)

    def _jacobian(self, _x: Any) -> Any:
        self.H[0, self.first + 1] = self.current_A
        return self.H

    def _model(self, x: Any) -> Any:
        states_V = x[: self.first].sum()
        return np.array([[states_V + x[self.first + 1, 0] * self.current_A]])


def warm(pairs: int) -> tuple[Filter, Readings]:
    """Return a filter that has seen the warm-up, and the readings after it."""
    dts_s, currents_A, voltages_V, flags = readings(WARM_UP + 2000, pairs)
    s = new(pairs)
    first, later = slice(WARM_UP), slice(WARM_UP, None)
    RUN[pairs](s, dts_s[first], currents_A[first], voltages_V[first], flags[first])
    return s, (dts_s[later], currents_A[later], voltages_V[later], flags[later])


def peer(pairs: int) -> Measure | str:
    """Return a measurement of filterpy's EKF, a reading (s)."""
    if not is_there("filterpy"):
        return NOT_THERE
    s, rest = warm(pairs)
    rows = list(zip(*(column[:500] for column in rest), strict=True))

    def measure() -> float:
        other = Peer(s)

        def work() -> None:
            for row in rows:
                other.step(*row)

        return seconds(work) / len(rows)

    return measure


def plainly(pairs: int) -> float:
    """Return the time of one reading in plain Python (s)."""
    s, rest = warm(pairs)
    return seconds(lambda: RUN[pairs](s, *rest)) / len(rest[0])


def compiled_run(pairs: int) -> Measure:
    """Return a measurement of one reading, the loop compiled as well (s)."""
    example = new(pairs)
    array_of = compiled.Array
    arguments = (
        compiled.record_of(example),
        array_of(of=float),
        array_of(of=float),
        array_of(of=float),
        array_of(of=int),
    )
    (run,) = compiled.build([compiled.Entry(function=RUN[pairs], arguments=arguments)])
    columns = [np.array(column) for column in readings(100_000, pairs)]
    row = records.records(example)[0]
    return lambda: seconds(lambda: run(row, *columns)) / len(columns[0])


def _beside_filterpy(pairs: int) -> list[Result]:
    name = "filter-one" if pairs == 1 else "filter-two"
    what = f"filterpy's EKF, the same {'one pair' if pairs == 1 else 'two pairs'}"
    theirs = peer(pairs)
    found = beside(f"{name}-plain", "us", MICRO, partial(plainly, pairs), [(what, theirs)])
    if not compiled.available():
        return [*found, without_peer(name, "ns", compiled.why_not(), float("nan"))]
    return [*found, *beside(name, "ns", NANO, compiled_run(pairs), [(what, theirs)])]


def filter_one() -> list[Result]:
    """One reading into the filter of one RC pair, plain and compiled, against filterpy's EKF."""
    return _beside_filterpy(1)


def filter_two() -> list[Result]:
    """One reading into the filter of two RC pairs, plain and compiled, against filterpy's EKF."""
    return _beside_filterpy(2)
