"""What the estimator costs per reading: in a compiled loop, as plain Python, and beside peers."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.timing import Result, compared, interleaved, seconds
from controller.domain.command import DISCHARGE, TAG_BASE
from controller.domain.sample import LIMIT_CURRENT, OUTPUT_ON, Sample
from controller.estimation import running
from hil import compiled, records
from hil.compiled import Array, Entry, record_of

NANO = 1e9
READINGS = 200_000
CELL = running.CellNumbers(3e-3, 3.0, 4.3)


def watched(
    s: running.Running, cell: running.CellNumbers, t_s: Any, current_A: Any, voltage_V: Any
) -> int:
    """Take in a series of readings of one segment; return how many were used."""
    used = 0
    for k in range(len(t_s)):
        sample = Sample(
            k,
            0,
            t_s[k],
            t_s[k],
            0.0,
            voltage_V[k],
            current_A[k],
            298.15,
            OUTPUT_ON,
            LIMIT_CURRENT,
            1e-2,
            0.02,
            0,
        )
        if running.observe(s, cell, sample, DISCHARGE, TAG_BASE) == running.USED:
            used += 1
    return used


def series(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return times, currents and voltages of a steady discharge, a reading a second, noisy."""
    random = np.random.default_rng(1)
    t_s = np.arange(count, dtype=np.float64)
    current_A = -1e-3 * (1.0 + 1e-5 * random.standard_normal(count))
    voltage_V = np.linspace(4.1, 3.4, count) + 5e-5 * random.standard_normal(count)
    return t_s, current_A, voltage_V


def estimator() -> Result:
    """All that one reading makes the live estimator do, compiled, against the same in Python."""
    numbers = Array(of=float)
    entry = Entry(
        function=watched,
        arguments=(
            record_of(running.Running(CELL)),
            running.CellNumbers,
            numbers,
            numbers,
            numbers,
        ),
    )
    fast = compiled.build([entry])[0] if compiled.available() else None
    many, few = series(READINGS), series(READINGS // 20)

    def ours() -> float:
        if fast is None:
            return float("nan")
        row = records.records(running.Running(CELL))[0]
        return seconds(lambda: fast(row, CELL, *many)) / READINGS

    def plain() -> float:
        s = running.Running(CELL)
        rows = [one.tolist() for one in few]
        return seconds(lambda: watched(s, CELL, *rows)) / len(rows[0])

    mine, python = interleaved(ours, plain)
    return compared("estimator", "ns", "the same source in Python", mine * NANO, python * NANO)
