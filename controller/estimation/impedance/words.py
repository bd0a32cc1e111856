"""Step resistances as figures with words, the same in a run and of a file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from controller.domain.figures import Resistance
from controller.estimation.impedance import steps
from controller.estimation.impedance.steps import Steps

# What the kernel's values are called; the first reading by its time.
_KINDS: Final[dict[int, str]] = {
    steps.I_10MS: "step 10 ms",
    steps.I_100MS: "step 100 ms",
    steps.I_1S: "step 1 s",
    steps.I_10S: "step 10 s",
}


def completed(
    s: Steps, done: int, cycle: int, time_resolution_s: float = 0.0
) -> Iterator[Resistance]:
    """Yield the values whose bits are set in `done`.

    Parameters
    ----------
    s : Steps
    done : int
        As `steps.observe` returned it.
    cycle : int
    time_resolution_s : float
        To which the times were rounded (s); 0 where none shows.
    """
    for index in range(steps.VALUES):
        if done & (1 << index):
            since_s = s.at_s[index]
            yield Resistance(
                t_s=s.of_t_s + (since_s if index != steps.I_WINDOW else 0.0),
                cycle=cycle,
                kind=_kind(s, index, since_s, time_resolution_s),
                value_Ohm=s.value_Ohm[index],
                u_Ohm=s.u_Ohm[index],
            )


def _kind(s: Steps, index: int, since_s: float, time_resolution_s: float) -> str:
    if index == steps.I_WINDOW:
        return f"sum R0+R1, {1e3 * since_s:.0f} ms"
    if index == steps.I_SUM:
        return "sum R0+R1 without drift, split not identifiable"
    where = _where(s.of_before_A, s.of_after_A)
    if index == steps.I_FIRST:
        return f"first reading, {_duration_words(since_s, time_resolution_s)}, {where}"
    return f"{_KINDS[index]}, {where}"


def _where(before_A: float, after_A: float) -> str:
    """Say which change of current it is."""
    least_A = steps.STEADY_WITHIN * abs(after_A - before_A)
    if abs(before_A) <= least_A:
        return "start of charge" if after_A > 0.0 else "start of discharge"
    if abs(after_A) <= least_A:
        return "end of charge" if before_A > 0.0 else "end of discharge"
    return "change of current"


def _duration_words(duration_s: float, time_resolution_s: float) -> str:
    if duration_s <= 0.0:
        return f"< {time_resolution_s:g} s" if time_resolution_s > 0.0 else "same time"
    if duration_s < 1.0:
        return f"{float(f'{duration_s * 1e3:.1g}'):g} ms"
    return f"{duration_s:.1f} s"
