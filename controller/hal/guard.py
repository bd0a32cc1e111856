"""The only holder of a driver: a fixed start order, verdicts applied, permissions that end.

What the guard may do without being told is one thing: open.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Final

from controller.domain.capabilities import CyclerCapabilities, Watchdog
from controller.domain.command import COMMAND_WORDS, HOLD_0A, OPEN, Command
from controller.domain.errors import CyclerError, CyclerRejectedError
from controller.domain.sample import (
    NAN,
    OUTPUT_OFF,
    OUTPUT_ON,
    QUALITY_NO_REPLY,
    QUALITY_VOLTAGE_INVALID,
    Sample,
)
from controller.domain.verdict import ALLOW, TRIP, WARN, Verdict
from controller.hal.ports import Clock, Cycler, DeviceLimits, Identity

# Permission of `hold_0A` after the start, in reading periods (assumed, 4 to 10).
_PERIODS_VALID: Final = 5.0
# "About 0 A": this part of the measuring range (offset and noise, assumed 1e-4 to 1e-2), and never
# less than the offset of the smallest limit.
_ZERO_CURRENT_OF_RANGE: Final = 2e-3
_ZERO_CURRENT_A: Final = 5e-9
# Periods within which `hold_0A` is confirmed and a lost reply comes back.
_PERIODS_TO_CONFIRM: Final = 2
# Failures to energise or program in a row before the guard stops trying (assumed, 1 to 5).
_MAX_FAILURES: Final = 3
# How far the OCV at a start may lie from the journal's last voltage: the cell has relaxed from
# load since (assumed, 0.1 to 0.5 V).
OCV_TOLERANCE_V: Final = 0.3

_OPEN_COMMAND: Final = Command(OPEN)


def _ignore_report(message: str) -> None:
    """Take a report that nobody reads at once; it stays in `Guard.reports`."""


def _same_number(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))


def same_set_point(a: Command, b: Command) -> bool:
    """Return whether the device would be programmed alike for both; tag and period do not count."""
    return (
        a.kind == b.kind
        and a.envelope == b.envelope
        and _same_number(a.valid_for_s, b.valid_for_s)
        and _same_number(a.device_timed_s, b.device_timed_s)
        and (
            a.kind in (OPEN, HOLD_0A)
            or (
                _same_number(a.current_A, b.current_A)
                and _same_number(a.voltage_bound_V, b.voltage_bound_V)
            )
        )
    )


class Guard:
    """Stands between decisions and one driver.

    Parameters
    ----------
    cycler : Cycler
    clock : Clock
    device_limits : DeviceLimits
        Programmed into the device at the start; every set-point without an envelope keeps them.
    ocv_window_V : tuple of float
        Lowest and highest open-circuit voltage with which cycling may start (V).
    expected_ocv_V : float or None
        The cell's last voltage in the journal (V); None for a new run.
    allow_output_on : bool
        The journal shows our own interrupted run: an output found on is opened. Otherwise it is
        somebody else's and nothing is written.
    period_s : float
        Reading period at the start (s).
    accept_unverified_driver, accept_no_watchdog : bool
        The run's owner accepts a driver that never ran on a physical instrument, or an instrument
        that keeps driving the cell when this computer dies.
    expected_serial_number : str or None
        The instrument in the journal; another one is refused.
    envelope_limits : sequence of DeviceLimits
        One per pulse envelope of the cell's limits, in their order.
    ocv_tolerance_V : float
        Allowed distance from `expected_ocv_V` (V).
    on_report : callable(message) or None
        Gets each report from the loop's own thread.

    Attributes
    ----------
    in_force : Command
        What the instrument does now, as far as is known.
    tripped : bool
        Latched open for the rest of the process: what comes after is a new start (decision 9).
    reports : list of str
        What went wrong, in words.
    identity : Identity or None
        What the instrument said it is.
    last_voltage_V : float
        Last valid voltage of the cell (V).
    """

    def __init__(  # noqa: PLR0913 - facts of the run, all by keyword
        self,
        cycler: Cycler,
        clock: Clock,
        *,
        device_limits: DeviceLimits,
        ocv_window_V: tuple[float, float],
        expected_ocv_V: float | None = None,
        allow_output_on: bool = False,
        period_s: float = 1.0,
        accept_unverified_driver: bool = False,
        accept_no_watchdog: bool = False,
        expected_serial_number: str | None = None,
        envelope_limits: Sequence[DeviceLimits] = (),
        ocv_tolerance_V: float = OCV_TOLERANCE_V,
        on_report: Callable[[str], None] | None = None,
    ) -> None:
        self._cycler = cycler
        self._clock = clock
        self._device_limits = device_limits
        self._envelope_limits = tuple(envelope_limits)
        self._ocv_window_V = ocv_window_V
        self._expected_ocv_V = expected_ocv_V
        self._ocv_tolerance_V = ocv_tolerance_V
        self._allow_output_on = allow_output_on
        self._expected_serial_number = expected_serial_number
        self._accept_unverified_driver = accept_unverified_driver
        self._accept_no_watchdog = accept_no_watchdog
        self._on_report = on_report or _ignore_report
        self._hold = Command(HOLD_0A, period_s=period_s, valid_for_s=_PERIODS_VALID * period_s)

        self.in_force: Command = _OPEN_COMMAND
        self.tripped = False
        self.reports: list[str] = []
        self.identity: Identity | None = None
        self.last_voltage_V = NAN

        self._told = 0
        self._given_s = NAN
        self._started = False
        self._open_confirmed = False
        self._limits_in_force = device_limits
        self._spent: Command | None = None
        self._open_problem = ""
        self._unconfirmed_periods = 0
        self._silent_periods = 0
        self._failures = 0
        self._emergencies = 0

    @property
    def capabilities(self) -> CyclerCapabilities:
        """Facts about the instrument."""
        return self._cycler.capabilities

    @property
    def connected(self) -> bool:
        """False once the line to the instrument has been lost."""
        return self._cycler.connected

    # Start -------------------------------------------------------------------------------------

    def start(self) -> float:
        """Bring the cell from nothing to `hold_0A`, one check at a time; return its OCV (V).

        Raises
        ------
        CyclerRejectedError
            A check failed; the message says what was expected and what was found.
        CyclerError
            The instrument did not answer.

        Notes
        -----
        On an error nothing more is energised and the output is left open. Where the instrument
        is not ours to touch (wrong identity, output on by another hand), nothing is written.
        """
        self._check_acceptance()
        self._look()
        try:
            ocv_V = self._bring_up(check_journal=True)
        finally:
            if not self._started:
                self._open("the start was broken off")
        return ocv_V

    def _check_acceptance(self) -> None:
        facts = self._cycler.capabilities
        if not facts.off_mode_high_impedance:
            raise CyclerRejectedError(
                f"{facts.model}: its output off is no high impedance: nothing it can do leaves "
                "the cell alone"
            )
        if not facts.limits_read_back:
            raise CyclerRejectedError(
                f"{facts.model}: its limits cannot be read back: whether it took them stays unknown"
            )
        if not facts.verified_on_instrument and not self._accept_unverified_driver:
            raise CyclerRejectedError(
                f"the driver for {facts.model} was never verified on a physical instrument; "
                "set accept_unverified_driver = true to run it all the same"
            )
        if facts.watchdog is Watchdog.NONE and not self._accept_no_watchdog:
            raise CyclerRejectedError(
                f"{facts.model}: this instrument keeps driving the cell if this PC dies; "
                "set accept_no_watchdog = true to run it all the same"
            )

    def _look(self) -> None:
        """Look at the instrument, without a write; open it only if it is our own leftover."""
        identity = self._cycler.identify()
        self.identity = identity
        expected = self._expected_serial_number
        if expected is not None and identity.serial_number != expected:
            raise CyclerRejectedError(
                f"expected the instrument with serial number {expected} as in the journal, "
                f"found {identity.serial_number}"
            )
        if identity.output_on:
            if not self._allow_output_on:
                raise CyclerRejectedError(
                    "expected the output off, found it on, and no interrupted run of ours is "
                    "known: nothing was written; switch it off at the instrument if it may be"
                )
            self._cycler.open()
        if identity.pending_errors:
            found = "; ".join(identity.pending_errors)
            if not self._allow_output_on:
                raise CyclerRejectedError(
                    f"expected an empty error queue, found: {found} (reading it has cleared it; "
                    "start again once the cause is known)"
                )
            # A run that was killed may have left half a line; every setting is written anew.
            self._report(f"errors left by the interrupted run: {found}")

    def _bring_up(self, *, check_journal: bool) -> float:
        if not self._started:
            self._cycler.prepare(self._device_limits, self._hold.valid_for_s)
            self._limits_in_force = self._device_limits
        else:
            self._limit_for(self._hold)
        emergencies = self._emergencies
        self._open_confirmed = False
        ocv_V = self._cycler.energise_at_0A()
        self._check_ocv(ocv_V, check_journal=check_journal)
        self._cycler.recheck()
        self._cycler.take_over_from_ocv(ocv_V)
        if emergencies != self._emergencies:
            raise CyclerRejectedError("the permission ran out while the cell was being energised")
        self.last_voltage_V = ocv_V
        self._started = True
        self._put_in_force(self._hold)
        return ocv_V

    def _check_ocv(self, ocv_V: float, *, check_journal: bool) -> None:
        low_V, high_V = self._ocv_window_V
        if low_V <= ocv_V <= high_V:
            expected_V = self._expected_ocv_V
            if check_journal and expected_V is not None:
                tolerance_V = self._ocv_tolerance_V
                if not abs(ocv_V - expected_V) <= tolerance_V:
                    raise CyclerRejectedError(
                        f"expected an open-circuit voltage of {expected_V:.4f} V +- "
                        f"{tolerance_V:g} V as in the journal, found {ocv_V:.4f} V: another cell?"
                    )
            return
        if low_V <= -ocv_V <= high_V:
            raise CyclerRejectedError(
                f"expected an open-circuit voltage between {low_V:g} and {high_V:g} V, found "
                f"{ocv_V:.4f} V: the cell is connected the wrong way round"
            )
        raise CyclerRejectedError(
            f"expected an open-circuit voltage between {low_V:g} and {high_V:g} V, "
            f"found {ocv_V:.4f} V"
        )

    # Every period ------------------------------------------------------------------------------

    def poll(self, sequence: int) -> Sample:
        """Read the cell and renew the device's own dead-man.

        Parameters
        ----------
        sequence : int
            Written into the sample.
        """
        self._tell()
        sample = self._cycler.poll(sequence)
        if sample.quality & QUALITY_NO_REPLY:
            self._silent_periods += 1
            if self.in_force.kind != OPEN:
                if not self._cycler.connected:
                    self._open("the connection to the instrument is lost")
                elif self._silent_periods >= _PERIODS_TO_CONFIRM:
                    self._open(f"no reply in {self._silent_periods} periods")
        else:
            self._silent_periods = 0
            self._learn(sample)
        if self.in_force.kind == HOLD_0A:
            self._confirm_hold(sample)
        return sample

    def _learn(self, sample: Sample) -> None:
        """Take voltage and output state from a sample that arrived."""
        if sample.output == OUTPUT_ON:
            if self.in_force.kind == OPEN:
                self._open_confirmed = False
                return
            if not sample.quality & QUALITY_VOLTAGE_INVALID:
                self.last_voltage_V = sample.voltage_V
            if not sample.quality and self.in_force.kind != HOLD_0A:
                self._failures = 0
        elif sample.output == OUTPUT_OFF and self.in_force.kind != OPEN:
            ended_by_itself = not math.isnan(self.in_force.device_timed_s)
            if not ended_by_itself:
                self._report("the output went off without being told to")
            self.in_force = _OPEN_COMMAND
            # Whatever switched it off may have left a sequence running: open it ourselves.
            self._open_confirmed = ended_by_itself
            if not ended_by_itself:
                self._count_failure()

    def _confirm_hold(self, sample: Sample) -> None:
        if self._is_resting(sample):
            self._unconfirmed_periods = 0
            self._failures = 0
            return
        self._unconfirmed_periods += 1
        if self._unconfirmed_periods >= _PERIODS_TO_CONFIRM:
            self._fail(
                f"hold_0A was not confirmed within {_PERIODS_TO_CONFIRM} periods "
                f"({sample.current_A:g} A)"
            )

    def _is_resting(self, sample: Sample) -> bool:
        """Return whether a sample shows the output on and about 0 A; NaN shows nothing."""
        bound_A = max(_ZERO_CURRENT_A, _ZERO_CURRENT_OF_RANGE * sample.current_range_A)
        return sample.output == OUTPUT_ON and abs(sample.current_A) <= bound_A

    def apply(self, command: Command, verdict: Verdict, sample: Sample) -> Command:
        """Put into force what the verdict leaves of the command.

        Parameters
        ----------
        command : Command
            What was decided after `sample`.
        verdict : Verdict
            The supervisor's answer; an action that is not known counts as `TRIP`.
        sample : Sample
            The sample both are about.

        Returns
        -------
        Command
            What is in force now: `command`, `hold_0A`, or `OPEN`.
        """
        self._tell()
        action = verdict.action
        if action in (ALLOW, WARN):
            wanted = command
        elif ALLOW < action < TRIP:
            wanted = self._rest_instead_of(command)
        else:
            if not self.tripped:
                self.tripped = True
                self._open(f"trip at reading {sample.sequence}")
            wanted = _OPEN_COMMAND
        if self.tripped:
            wanted = _OPEN_COMMAND
        if self.in_force.kind == OPEN:
            self._apply_while_open(wanted, allowed=action in (ALLOW, WARN))
        else:
            self._apply_while_on(wanted)
        if action in (ALLOW, WARN) and self._spent is not None:
            self._forget_spent(command)
        return self.in_force

    def _apply_while_open(self, wanted: Command, *, allowed: bool) -> None:
        """Stay open, or energise from the start order again; never straight."""
        if not self._open_confirmed:
            self._confirm_open()
        if wanted.kind == OPEN or not allowed or not self._open_confirmed or not self._started:
            return
        if self._is_spent(wanted):
            return
        try:
            self._bring_up(check_journal=False)
        except CyclerError as error:
            self._fail(f"could not energise again: {error}")
            return
        self._apply_while_on(wanted)

    def _apply_while_on(self, wanted: Command) -> None:
        if wanted is self.in_force:
            self._given_s = self._clock.now_s()
            return
        if wanted.kind == OPEN:
            self._open("")
        elif same_set_point(wanted, self.in_force):
            self.in_force = wanted
            self._given_s = self._clock.now_s()
        elif self._is_spent(wanted):
            self._program(self._rest_instead_of(wanted))
        else:
            self._program(wanted)

    def _rest_instead_of(self, command: Command) -> Command:
        """Return `hold_0A` at the command's reading period."""
        hold = self._hold
        if command.valid_for_s >= hold.valid_for_s:
            return hold._replace(period_s=command.period_s, valid_for_s=command.valid_for_s)
        return hold

    def _program(self, wanted: Command) -> None:
        if same_set_point(wanted, self.in_force):
            self._given_s = self._clock.now_s()
            return
        emergencies = self._emergencies
        restoring = wanted.envelope == 0 and self._limits_in_force is not self._device_limits
        if not math.isnan(wanted.device_timed_s):
            self._spent = wanted
        try:
            self._limit_for(wanted)
            self._cycler.program(wanted, self.last_voltage_V)
        except CyclerError as error:
            if restoring:
                self.tripped = True
                self._report(f"the device limits were not restored after an envelope: {error}")
            word = COMMAND_WORDS.get(wanted.kind, str(wanted.kind))
            self._fail(f"{word} was not taken: {error}")
            return
        self._put_in_force(wanted)
        if emergencies != self._emergencies:
            self._open("the permission ran out while the set-point was being changed")

    def _limit_for(self, wanted: Command) -> None:
        """Raise the device limits to a requested envelope, or bring them back."""
        limits = self._device_limits
        if wanted.envelope:
            if not 1 <= wanted.envelope <= len(self._envelope_limits):
                raise CyclerRejectedError(
                    f"pulse envelope {wanted.envelope} is not known; there are "
                    f"{len(self._envelope_limits)}"
                )
            limits = self._envelope_limits[wanted.envelope - 1]
        if limits is not self._limits_in_force:
            self._cycler.limit_to(limits)
            self._limits_in_force = limits

    def _put_in_force(self, command: Command) -> None:
        self.in_force = command
        self._given_s = self._clock.now_s()
        self._open_confirmed = False
        self._unconfirmed_periods = 0

    def _is_spent(self, wanted: Command) -> bool:
        """Return whether this device-timed pulse has been sent already: it is never sent twice."""
        return (
            self._spent is not None
            and not math.isnan(wanted.device_timed_s)
            and same_set_point(wanted, self._spent)
        )

    def _forget_spent(self, command: Command) -> None:
        """Let the same pulse be a new one once a different decision has been taken."""
        if not self._is_spent(command):
            self._spent = None

    # Open --------------------------------------------------------------------------------------

    def _open(self, why: str) -> None:
        self.in_force = _OPEN_COMMAND
        self._open_confirmed = False
        if why:
            self._report(why)
        self._confirm_open()

    def _confirm_open(self) -> None:
        """Ask the driver to open until it has confirmed it; fall back on the bare write."""
        try:
            self._cycler.open()
            self._open_confirmed = True
            self._open_problem = ""
        except CyclerError as error:
            problem = f"output off was not confirmed: {error}"
            if problem != self._open_problem:  # said once, not every period
                self._open_problem = problem
                self._report(problem)
            self._write_emergency_open()

    def _write_emergency_open(self) -> None:
        try:
            self._cycler.emergency_open()
        except CyclerError as error:
            problem = f"output off could not be written: {error}"
            if problem not in self.reports[-3:]:
                self.reports.append(problem)

    def _fail(self, why: str) -> None:
        """Open after a failure; after several in a row stay open."""
        self._open(why)
        self._count_failure()

    def _count_failure(self) -> None:
        self._failures += 1
        if self._failures >= _MAX_FAILURES and not self.tripped:
            self.tripped = True
            self._report(f"{self._failures} failures in a row: staying open")

    # Expiry ------------------------------------------------------------------------------------

    def expired(self, now_s: float) -> bool:
        """Return whether the permission in force has run out at `now_s`; NaN counts as out."""
        command = self.in_force
        return command.kind != OPEN and not now_s - self._given_s <= command.valid_for_s

    def enforce_expiry(self) -> bool:
        """Open if the permission has run out; return whether it had."""
        if not self.expired(self._clock.now_s()):
            return False
        self.emergency_open("the permission ran out")
        return True

    def emergency_open(self, why: str = "emergency") -> None:
        """Write output off from any thread, without a lock and without waiting for a reply.

        The loop confirms it at its next `apply`.
        """
        # Counted before the write: a set-point that goes out meanwhile is noticed afterwards.
        self._emergencies += 1
        self.reports.append(f"{why}: output off")
        self._write_emergency_open()
        self.in_force = _OPEN_COMMAND
        self._open_confirmed = False

    # End ---------------------------------------------------------------------------------------

    def shutdown(self) -> list[str]:
        """Rest, confirm about 0 A, open, confirm, close; no step is skipped by another's failure.

        Returns
        -------
        list of str
            What went wrong; empty when every step was confirmed.
        """
        problems: list[str] = []
        with ExitStack() as steps:
            # Last in, first out.
            steps.callback(self._cycler.close)
            steps.callback(self._shut_open, problems)
            steps.callback(self._shut_rest, problems)
        return problems

    def _shut_rest(self, problems: list[str]) -> None:
        if self.in_force.kind == OPEN:
            return
        current_A = NAN
        try:
            if self.in_force.kind != HOLD_0A:
                self._limit_for(self._hold)
                self._cycler.program(self._hold, self.last_voltage_V)
                self._put_in_force(self._hold)
            for _ in range(_PERIODS_TO_CONFIRM):
                self._clock.sleep_until(
                    self._clock.now_s() + self._cycler.capabilities.update_period_s
                )
                sample = self._cycler.poll(-1)
                current_A = sample.current_A
                if self._is_resting(sample):
                    return
            problems.append(f"about 0 A was not confirmed at the end ({current_A:g} A)")
        except CyclerError as error:
            problems.append(f"the cell could not be rested at the end: {error}")

    def _shut_open(self, problems: list[str]) -> None:
        self.in_force = _OPEN_COMMAND
        try:
            self._cycler.open()
            self._open_confirmed = True
        except CyclerError as error:
            problems.append(f"output off was not confirmed at the end: {error}")
            self._write_emergency_open()

    # Reports -----------------------------------------------------------------------------------

    def _report(self, message: str) -> None:
        self.reports.append(message)
        self._tell()

    def _tell(self) -> None:
        """Hand new reports on, from the loop's own thread."""
        while self._told < len(self.reports):
            message = self.reports[self._told]
            self._told += 1
            self._on_report(message)
