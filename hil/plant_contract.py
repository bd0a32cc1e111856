"""What a plant must keep to stand behind the emulated instruments: checks to run on your own.

From a shell: ``python -m hil.plant_contract my_cells.coin:make``. Under pytest::

    import pytest
    from hil.plant_contract import CHECKS, Result
    from my_cells.coin import make

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
    def test_my_cell(check):
        outcome = check.of(make)
        assert outcome.result is not Result.FAIL, outcome.reason

A check makes its own plants, so that none stands in another's traces. What is optional and missing
is skipped, with what the plant goes without.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import pairwise
from typing import Any, Final

from controller.domain.errors import ReactivationError, refuse
from controller.domain.units import SECONDS_PER_HOUR
from hil.plant import FOREIGN_ERRORS, Factory, PlantPort, find_factory, plain_data, port_of

AMBIENT_K: Final = 298.15
SEED: Final = 1
SIGNAL_V: Final = 5e-3  # by which the check current should move the voltage
SMALLEST_A: Final = 1e-7
LARGEST_A: Final = 1e3
AGREES_V: Final = 1e-6  # terminal_voltage beside what step returned
SPLIT_V: Final = 1e-2  # beyond this a step in ten parts is another cell
SETTLED_K: Final = 1.0
SETTLE_S: Final = 24 * SECONDS_PER_HOUR
WARMER_K: Final = 5.0


class Result(StrEnum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105 - no password
    FAIL = "FAIL"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a check ended, and why or with which figures."""

    result: Result
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One named check.

    Attributes
    ----------
    name : str
    body : callable
        Of a `Trial`; returns the outcome.
    """

    name: str
    body: Callable[[Trial], Outcome]

    def of(
        self, factory: Factory, *, current_A: float | None = None, ambient_K: float = AMBIENT_K
    ) -> Outcome:
        """Run the check on the plants a factory makes; whatever they raise is a failure.

        Parameters
        ----------
        factory : callable
            Called as ``factory(seed=..., temperature_K=...)``.
        current_A : float, optional
            A current small enough for the cell to bear an hour of; none: one is searched for that
            moves the voltage by 5 mV.
        ambient_K : float
        """
        return self.run(Trial(factory, current_A, ambient_K))

    def run(self, trial: Trial) -> Outcome:
        """Run the check on what a trial makes."""
        try:
            return self.body(trial)
        except (ReactivationError, *FOREIGN_ERRORS) as error:
            return Outcome(Result.FAIL, f"{type(error).__name__}: {error}")


class Trial:
    """Makes plants for checks, a new one each time, and knows a current that suits them."""

    def __init__(self, factory: Factory, current_A: float | None, ambient_K: float) -> None:
        self._factory = factory
        self._current_A = current_A
        self.ambient_K = ambient_K

    def plant(self, seed: int = SEED) -> PlantPort:
        """Return a new plant."""
        return port_of(self._factory(seed=seed, temperature_K=self.ambient_K))

    @property
    def current_A(self) -> float:
        """The check current (A); found by doubling on plants that are thrown away."""
        if self._current_A is None:
            self._current_A = self._search()
        return self._current_A

    def _search(self) -> float:
        port = self.plant()
        start = None if port.snapshot is None else port.snapshot()
        rest_V, _ = port.plant.step(0.0, 1.0, self.ambient_K)
        current_A = SMALLEST_A
        while current_A <= LARGEST_A:
            if port.restore is None:
                port = self.plant()
            else:
                port.restore(start)
            voltage_V, _ = port.plant.step(current_A, 1.0, self.ambient_K)
            if abs(voltage_V - rest_V) >= SIGNAL_V:
                return current_A
            current_A *= 4.0
        raise refuse(
            "plant contract",
            "current_A",
            f"no current up to {LARGEST_A:g} A moves the voltage by {SIGNAL_V * 1e3:g} mV in 1 s",
            "give one (--current)",
        )

    def walk(self, port: PlantPort, steps: int = 20) -> list[tuple[float, float]]:
        """Charge, rest and discharge in uneven steps; return all that came back."""
        i_A = self.current_A
        currents = (i_A, 0.5 * i_A, 0.0, -0.5 * i_A, i_A)
        lengths = (0.013, 1.0, 7.5, 60.0)
        return [
            port.plant.step(
                currents[one % len(currents)], lengths[one % len(lengths)], self.ambient_K
            )
            for one in range(steps)
        ]


def _two_finite_floats(trial: Trial) -> Outcome:
    port = trial.plant()
    for current_A in (0.0, trial.current_A, -trial.current_A):
        for dt_s in (1e-3, 1.0, 60.0):
            answer: Any = port.plant.step(current_A, dt_s, trial.ambient_K)
            call = f"step({current_A:g}, {dt_s:g}, {trial.ambient_K:g})"
            if not (isinstance(answer, tuple) and len(answer) == 2):
                return Outcome(Result.FAIL, f"{call} returned {answer!r}, not a pair")
            if not all(isinstance(one, (int, float)) and math.isfinite(one) for one in answer):
                return Outcome(Result.FAIL, f"{call} returned {answer!r}")
    return Outcome(Result.PASS, f"check current {trial.current_A:g} A")


def _same_seed_same_numbers(trial: Trial) -> Outcome:
    first, second = trial.walk(trial.plant()), trial.walk(trial.plant())
    for number, (one, other) in enumerate(zip(first, second, strict=True), start=1):
        if one != other:
            return Outcome(Result.FAIL, f"step {number}: {one!r} and then {other!r}")
    another = trial.walk(trial.plant(SEED + 1))
    return Outcome(
        Result.PASS, "another seed gives another cell" if another != first else "one cell only"
    )


def _goes_back(trial: Trial) -> Outcome:
    port = trial.plant()
    if port.snapshot is None or port.restore is None:
        return Outcome(
            Result.SKIPPED,
            "no snapshot: constant voltage with an error, bounds overshot, no resume",
        )
    trial.walk(port, 3)
    start = port.snapshot()
    first = trial.walk(port)
    for attempt in ("first", "second"):
        port.restore(start)
        if trial.walk(port) != first:
            return Outcome(Result.FAIL, f"after the {attempt} restore the numbers differ")
    return Outcome(Result.PASS)


def _goes_through_a_file(trial: Trial) -> Outcome:
    port = trial.plant()
    if port.snapshot is None:
        return Outcome(Result.SKIPPED, "no snapshot: a run cannot be resumed")
    trial.walk(port, 3)
    reason = port.why_not_stored()
    if reason:
        return Outcome(Result.SKIPPED, f"a run cannot be resumed: the snapshot {reason}")
    kept = json.loads(json.dumps(port.stored()))
    first = trial.walk(port)
    other = trial.plant()
    other.take_up(kept, "contract")
    if trial.walk(other) != first:
        return Outcome(Result.FAIL, "a new plant that takes up the state goes on differently")
    return Outcome(Result.PASS)


def _tells_at_once(trial: Trial) -> Outcome:
    port, untouched = trial.plant(), trial.plant()
    ask = port.terminal_voltage
    if ask is None:
        return Outcome(Result.SKIPPED, "no terminal_voltage: settling takes a step")
    largest_V = 0.0
    for current_A in (trial.current_A, 0.0, -trial.current_A):
        voltage_V, _ = port.plant.step(current_A, 1.0, trial.ambient_K)
        untouched.plant.step(current_A, 1.0, trial.ambient_K)
        largest_V = max(largest_V, abs(ask(current_A) - voltage_V))
        for other_A in (2.0 * trial.current_A, -trial.current_A, 0.0):
            ask(other_A)
    if port.plant.step(trial.current_A, 1.0, trial.ambient_K) != untouched.plant.step(
        trial.current_A, 1.0, trial.ambient_K
    ):
        return Outcome(Result.FAIL, "asking for terminal_voltage moved the state")
    if largest_V > AGREES_V:
        return Outcome(
            Result.FAIL,
            f"right after step it differs from what step returned by {largest_V:.3g} V",
        )
    return Outcome(Result.PASS, f"within {largest_V:.1g} V of step")


def _rises_with_current(trial: Trial) -> Outcome:
    i_A = trial.current_A
    for dt_s in (1e-3, 1.0):
        seen = [
            trial.plant().plant.step(share * i_A, dt_s, trial.ambient_K)[0]
            for share in (-1.0, -0.5, 0.0, 0.5, 1.0)
        ]
        if any(not low_V < high_V for low_V, high_V in pairwise(seen)):
            words = ", ".join(f"{one:.6f}" for one in seen)
            return Outcome(
                Result.FAIL,
                f"after {dt_s:g} s at -1, -0.5, 0, 0.5, 1 x {i_A:g} A: {words} V "
                "(a charging current is positive and raises the voltage)",
            )
    return Outcome(Result.PASS)


def _split_steps_agree(trial: Trial) -> Outcome:
    worst_V = 0.0
    for current_A in (trial.current_A, -trial.current_A, 0.0):
        whole, parts = trial.plant(), trial.plant()
        whole_V, _ = whole.plant.step(current_A, 60.0, trial.ambient_K)
        part_V = math.nan
        for _ in range(10):
            part_V, _ = parts.plant.step(current_A, 6.0, trial.ambient_K)
        worst_V = max(worst_V, abs(whole_V - part_V))
    words = f"60 s in one step and in ten differ by {worst_V:.2g} V"
    return Outcome(Result.PASS if worst_V <= SPLIT_V else Result.FAIL, words)


def _cools_to_ambient(trial: Trial) -> Outcome:
    port = trial.plant()
    trial.walk(port)
    ambient_K = trial.ambient_K + WARMER_K
    try:
        _, temperature_K = port.plant.step(0.0, SETTLE_S, ambient_K)
    except (ReactivationError, *FOREIGN_ERRORS) as error:
        _, temperature_K = port.plant.step(0.0, SETTLE_S, trial.ambient_K)
        if abs(temperature_K - trial.ambient_K) <= SETTLED_K:
            return Outcome(Result.PASS, f"one ambient temperature only: {error}")
        ambient_K = trial.ambient_K
    words = f"{temperature_K:.2f} K after {SETTLE_S / SECONDS_PER_HOUR:g} h at {ambient_K:.2f} K"
    settled = abs(temperature_K - ambient_K) <= SETTLED_K
    return Outcome(Result.PASS if settled else Result.FAIL, words)


def _refuses_no_time(trial: Trial) -> Outcome:
    taken = []
    for dt_s in (0.0, -1.0, math.nan):
        try:
            trial.plant().plant.step(0.0, dt_s, trial.ambient_K)
        except (ReactivationError, *FOREIGN_ERRORS):
            continue
        taken.append(repr(dt_s))
    if taken:
        return Outcome(Result.FAIL, f"step takes dt_s = {', '.join(taken)} without an error")
    return Outcome(Result.PASS)


def _refuses_no_current(trial: Trial) -> Outcome:
    try:
        trial.plant().plant.step(math.nan, 1.0, trial.ambient_K)
    except (ReactivationError, *FOREIGN_ERRORS):
        return Outcome(Result.PASS)
    return Outcome(Result.FAIL, "step takes current_A = nan without an error")


def _truth_is_plain(trial: Trial) -> Outcome:
    port = trial.plant()
    trial.walk(port, 5)
    truth: Any = port.truth()
    if not truth:
        return Outcome(Result.SKIPPED, "no truth: estimates cannot be judged on this plant")
    if not plain_data(truth):
        return Outcome(Result.FAIL, f"{truth!r}: text keys; finite numbers, text, true or false")
    return Outcome(Result.PASS, ", ".join(sorted(truth)))


def _counts_what_passes(trial: Trial) -> Outcome:
    port = trial.plant()
    truth = port.truth()
    if "charge_in_mAh" not in truth or "charge_out_mAh" not in truth:
        return Outcome(Result.SKIPPED, "truth has no charge_in_mAh and charge_out_mAh")
    i_A = trial.current_A
    for current_A in (i_A, -i_A, 0.0, 0.5 * i_A):
        port.plant.step(current_A, 30.0, trial.ambient_K)
    after = port.truth()
    wanted_mAh = i_A * 30.0 / 3.6
    for key, share in (("charge_in_mAh", 1.5), ("charge_out_mAh", 1.0)):
        passed_mAh = float(after[key]) - float(truth[key])
        if not math.isclose(passed_mAh, share * wanted_mAh, rel_tol=1e-9):
            return Outcome(Result.FAIL, f"{key}: {passed_mAh!r}, passed {share * wanted_mAh!r}")
    return Outcome(Result.PASS)


CHECKS: Final[tuple[Check, ...]] = (
    Check("step returns two finite numbers", _two_finite_floats),
    Check("the same seed gives the same numbers", _same_seed_same_numbers),
    Check("restore continues bit-identically", _goes_back),
    Check("the snapshot goes through a file", _goes_through_a_file),
    Check("terminal_voltage agrees and moves nothing", _tells_at_once),
    Check("the voltage rises with the current", _rises_with_current),
    Check("a step in parts is the same step", _split_steps_agree),
    Check("at rest it comes to the ambient's temperature", _cools_to_ambient),
    Check("a time of 0, below or NaN is refused", _refuses_no_time),
    Check("a current of NaN is refused", _refuses_no_current),
    Check("truth is plain data", _truth_is_plain),
    Check("truth counts what passes", _counts_what_passes),
)


def checks(
    factory: Factory, *, current_A: float | None = None
) -> Iterator[tuple[str, Callable[[], Outcome]]]:
    """Yield each check's name and the call that runs it on a factory's plants."""
    trial = Trial(factory, current_A, AMBIENT_K)
    for check in CHECKS:
        yield check.name, partial(check.run, trial)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every check on ``MODULE:FACTORY`` and say how each ended; 0 if none failed, else 1.

    A factory that cannot be found is said so, with exit code 2.
    """
    parser = argparse.ArgumentParser(prog="python -m hil.plant_contract", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("plant", metavar="MODULE:FACTORY")
    parser.add_argument("--current", type=float, help="a current (A) the cell bears; searched for")
    given = parser.parse_args(arguments)
    try:
        factory = find_factory(given.plant, key="MODULE:FACTORY")
    except ReactivationError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    failed = 0
    for name, run in checks(factory, current_A=given.current):
        outcome = run()
        failed += outcome.result is Result.FAIL
        reason = f"  ({outcome.reason})" if outcome.reason else ""
        sys.stdout.write(f"{outcome.result.value:8}{name}{reason}\n")
    sys.stdout.write(f"{failed} of {len(CHECKS)} checks failed\n")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
