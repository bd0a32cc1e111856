"""An impedance spectrum within a run: a staircase of small currents, and what is read under it.

Each set-point is a command like any other: a current within the limits, bounded by the cut-offs,
with a permission that ends, reviewed by the supervisor. One period settles, four are used; nothing
of the charge is left over. Whatever does not go as designed ends the measurement, not the run.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final, NamedTuple

import numpy as np

from controller.domain.capabilities import CyclerCapabilities
from controller.domain.cell import CellLimits, CellSpec
from controller.domain.command import (
    CHARGE,
    COMMAND_WORDS,
    DISCHARGE,
    HOLD_0A,
    TAG_DIAGNOSTIC,
    Command,
)
from controller.domain.errors import ConfigurationError, refuse
from controller.domain.events import JsonValue
from controller.domain.sample import LIMIT_VOLTAGE, NAN, Sample
from controller.domain.step import Stage, Step
from controller.domain.units import SECONDS_PER_HOUR
from controller.estimation.impedance.analysis import SpectrumAnalysis, analyse_spectrum
from controller.estimation.impedance.excitation import (
    SETTLING_PERIODS,
    STEPS_PER_PERIOD,
    Excitation,
    Method,
    Wanted,
    multisine,
    stepped_frequencies_Hz,
    stepped_sine,
)
from controller.estimation.impedance.spectrum import Measured, Readings, measure, together

# Tones a decade: eight of them in 0.01-0.2 Hz, for a Kramers-Kronig test of at least seven.
PER_DECADE: Final = 8
PERIODS: Final = 4
# Seconds that a set-point and its readings take, over the wire and with a thermometer read each
# time. Assumed, 0.3-1.
LEAST_HOLD_S: Final = 0.5
# Longer ones would need a longer permission than `VALID_FOR_S`, which spans four readings.
LONGEST_HOLD_S: Final = 3.0
# When a set-point is read, as shares of its hold. They spread so that their mean is its middle, as
# the last comes at its end, right before the next set-point: what of the staircase is not a sine
# then largely cancels. The first is early because what has passed before it counts as ohmic.
READ_AT: Final = (0.1, 0.3, 0.6, 1.0)
_SHORTEST_PERIOD_S: Final = 0.01
# As long as a permission lasts in the minute after any change of current.
VALID_FOR_S: Final = 5.0
# A set-point reaches the cell this long after the reading that it follows: thermometer and line.
# Assumed, 0-50 ms, and anywhere in it.
EDGE_AFTER_S: Final = 0.025
U_EDGE_S: Final = 0.05 / math.sqrt(12.0)
# A step resistance of 10 s is about |Z| here; below it grows with the root of time at most.
_STEP_10_S_Hz: Final = 1.0 / (2.0 * math.pi * 10.0)
# Of nominal capacity, between any two moments: the state of charge stays. Assumed, 0.001-0.01.
LARGEST_SWING: Final = 0.005
# More set-points than this are no check in passing (2.8 h at 0.5 s). Assumed, 5,000-50,000.
MOST_SET_POINTS: Final = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SpectrumPlan:
    """What the run file asks for.

    Attributes
    ----------
    lowest_Hz, highest_Hz : float
    response_V : float
        Peak of the voltage's answer.
    method : Method
        All tones at once, or one after the other.
    """

    lowest_Hz: float
    highest_Hz: float
    response_V: float
    method: Method = Method.MULTISINE


class Finding(NamedTuple):
    """What came of a measurement: one line, and the figures."""

    message: str
    data: dict[str, JsonValue]


class Staircase:
    """A measurement that runs: its excitations in turn, where it stands, and what was read.

    All excitations hold their set-points for the same time.
    `edges_s` are the host's times of the set-points; the last one, 0 A for one hold, carries no
    readings: figures are worked out under it.
    """

    __slots__ = (
        "before_As",
        "charge_Ah",
        "current_A",
        "edges_s",
        "excitations",
        "last_s",
        "t_s",
        "voltage_V",
    )

    def __init__(
        self, excitations: Sequence[Excitation], t_s: float, before_As: list[float]
    ) -> None:
        self.excitations = tuple(excitations)
        self.before_As = before_As  # the cycle's sums as it begins (`online.gross_As`)
        self.edges_s: list[float] = [t_s]
        self.t_s: list[float] = []
        self.current_A: list[float] = []
        self.voltage_V: list[float] = []
        self.charge_Ah = 0.0
        self.last_s = t_s

    @property
    def level_A(self) -> float:
        """The set-point that is to stand now (A)."""
        index = len(self.edges_s) - 1
        for one in self.excitations:
            if index < one.set_points:
                return float(one.levels_A[index % one.levels_A.size])
            index -= one.set_points
        return 0.0

    @property
    def over(self) -> bool:
        """Whether every set-point has been held."""
        return len(self.edges_s) > sum(one.set_points for one in self.excitations)

    @property
    def hold_s(self) -> float:
        """How long a set-point is held (s)."""
        return self.excitations[0].hold_s

    @property
    def peak_A(self) -> float:
        """Largest current of all (A)."""
        return max(one.peak_A for one in self.excitations)

    @property
    def ends_s(self) -> float:
        """When the set-point that stands is due to end (s); late ones do not add up."""
        return self.edges_s[0] + len(self.edges_s) * self.hold_s

    def take(self, sample: Sample, in_force_kind: int) -> str:
        """Take a reading; go on to the next set-point when it is due; say why that cannot be."""
        dt_s = sample.t_host_s - self.last_s
        self.last_s = sample.t_host_s
        if in_force_kind != _kind(self.level_A):
            return f"{COMMAND_WORDS.get(in_force_kind, 'nothing')} came in between"
        if sample.quality:
            late = sample.t_host_s > self.ends_s + VALID_FOR_S
            return "readings stayed away" if late else ""
        self.charge_Ah += sample.current_A * dt_s / SECONDS_PER_HOUR
        if self.over:
            return ""
        if sample.limit_status == LIMIT_VOLTAGE and in_force_kind != HOLD_0A:
            return f"the voltage bound was reached ({sample.voltage_V:.4f} V)"
        self.t_s.append(sample.t_host_s)
        self.current_A.append(sample.current_A)
        self.voltage_V.append(sample.voltage_V)
        if sample.t_host_s >= self.ends_s - 0.5 * (1.0 - READ_AT[-2]) * self.hold_s:
            self.edges_s.append(sample.t_host_s)
        return ""

    def next_period_s(self, t_s: float) -> float:
        """Return how long after `t_s` the next reading is due (s)."""
        hold_s = self.hold_s
        begins_s = self.ends_s - hold_s
        # half the shortest distance: a reading a little early is still the one that was due
        slack_s = 0.5 * READ_AT[0] * hold_s
        dues_s = (begins_s + share * hold_s for share in READ_AT)
        due_s = next((one for one in dues_s if one > t_s + slack_s), self.ends_s)
        return max(due_s - t_s, _SHORTEST_PERIOD_S)

    def command(self, cell: CellSpec, t_s: float) -> Command:
        """Return the set-point that is to stand, with its next reading."""
        level_A = self.level_A
        kind = _kind(level_A)
        bound_V = {CHARGE: cell.upper_cut_off_V, DISCHARGE: cell.lower_cut_off_V}.get(kind, NAN)
        return Command(
            kind=kind,
            current_A=level_A,
            voltage_bound_V=bound_V,
            period_s=self.next_period_s(t_s),
            valid_for_s=VALID_FOR_S,
            tag=TAG_DIAGNOSTIC,
        )

    def readings(self) -> Iterator[tuple[Excitation, Readings]]:
        """Yield what was read under each excitation; a set-point's last reading ends it."""
        t_s = np.array(self.t_s)
        current_A, voltage_V = np.array(self.current_A), np.array(self.voltage_V)
        first = 0
        for one in self.excitations:
            last = first + one.set_points
            within = (t_s > self.edges_s[first]) & (t_s <= self.edges_s[last])
            edges_s = np.array(self.edges_s[first:last]) + EDGE_AFTER_S
            yield (
                one,
                Readings(
                    t_s=t_s[within],
                    current_A=current_A[within],
                    voltage_V=voltage_V[within],
                    started_s=float(edges_s[0]),
                    u_time_s=U_EDGE_S,
                    edges_s=edges_s,
                ),
            )
            first = last


def _kind(level_A: float) -> int:
    return HOLD_0A if level_A == 0.0 else CHARGE if level_A > 0.0 else DISCHARGE


def spectrum_step(plan: SpectrumPlan) -> Step:
    """Return the place of a spectrum among the steps of a cycle; it brings its own set-points."""
    periods_s = (SETTLING_PERIODS + PERIODS) / plan.lowest_Hz
    name = f"impedance spectrum, {plan.lowest_Hz:g} to {plan.highest_Hz:g} Hz"
    if plan.method is Method.STEPPED_SINE:
        tones = stepped_frequencies_Hz(plan.lowest_Hz, plan.highest_Hz, PER_DECADE)
        periods_s = sum((SETTLING_PERIODS + PERIODS) / f_Hz for f_Hz in tones)
        name += ", one tone after the other"
    return Step(
        name=name,
        stage=Stage.DIAGNOSING,
        kind=HOLD_0A,
        current_A=0.0,
        voltage_bound_V=NAN,
        max_duration_s=1.2 * periods_s,
        tag=TAG_DIAGNOSTIC,
        spectrum=True,
    )


def design(
    plan: SpectrumPlan,
    capabilities: CyclerCapabilities,
    cell: CellSpec,
    limits: CellLimits,
    resistance_Ohm: float,
    base_current_A: float,
) -> tuple[Excitation, ...]:
    """Return the excitations for a cell of this step resistance, in turn; of a multisine one.

    No current is above the base rate: what plates faster would owe an open-circuit check.
    Set-points hold as long as the highest frequency allows: fewer of them, and more readings each.

    Raises
    ------
    ConfigurationError
        What the cycler or a limit does not allow; says why and what would be possible.
    """
    wished_s = min(1.0 / (STEPS_PER_PERIOD * plan.highest_Hz), LONGEST_HOLD_S)
    able = replace(
        capabilities,
        model=f"a run on {capabilities.model}",
        eis=False,  # it makes its own staircase
        update_period_s=max(capabilities.update_period_s, LEAST_HOLD_S, wished_s),
    )
    grows = math.sqrt(max(_STEP_10_S_Hz / plan.lowest_Hz, 1.0))
    continuous = limits.continuous
    wanted = Wanted(
        lowest_Hz=plan.lowest_Hz,
        highest_Hz=plan.highest_Hz,
        resistance_Ohm=resistance_Ohm * grows,
        response_V=plan.response_V,
        max_current_A=min(
            continuous.charge_current_max_A.operate,
            continuous.discharge_current_max_A.operate,
            base_current_A,
        ),
        max_charge_Ah=LARGEST_SWING * cell.nominal_capacity_Ah,
        periods=PERIODS,
    )
    if plan.method is Method.STEPPED_SINE:
        return stepped_sine(able, wanted, PER_DECADE)
    return (multisine(able, wanted, PER_DECADE),)


def found(staircase: Staircase, cycle: int, gain_u: float) -> Finding:
    """Return spectrum, test and best circuit of a measurement that went through.

    `gain_u` is the relative standard uncertainty of the meter's current; that of its voltage is
    taken to be alike. It is common to all tones.

    Raises
    ------
    ConfigurationError
        Nothing stands above the noise, or the readings do not suffice.
    """
    measured = _measured(staircase, f"spectrum of cycle {cycle}")
    analysis = analyse_spectrum(measured.spectrum, identified=True)
    f_Hz, z_Ohm = measured.spectrum.frequency_Hz, measured.spectrum.impedance_Ohm
    u_Ohm = measured.spectrum.u_Ohm
    gain_Ohm = math.sqrt(2.0) * gain_u * np.abs(z_Ohm)
    data: dict[str, JsonValue] = {
        "cycle": cycle,
        "frequency_Hz": f_Hz.tolist(),
        "real_Ohm": z_Ohm.real.tolist(),
        "imaginary_Ohm": z_Ohm.imag.tolist(),
        "u_Ohm": [] if u_Ohm is None else np.hypot(u_Ohm, gain_Ohm).tolist(),
        "peak_A": staircase.peak_A,
        "charge_Ah": staircase.charge_Ah,
        "distorted": measured.distorted,
        "even_distortion": measured.even_distortion,
        "odd_distortion": measured.odd_distortion,
        "drifted": measured.drifted,
        "halves_differ": measured.halves_differ,
        "drift_V": measured.drift_V,
        "left_out": list(measured.left_out),
        "remarks": measured.remarks(),
        **_analysis_data(analysis),
    }
    return Finding(_words(cycle, measured, analysis), data)


def _measured(staircase: Staircase, source: str) -> Measured:
    """Return the one measurement, or all of them as one; of several some may fail."""
    parts: list[Measured] = []
    failed: list[str] = []
    for excitation, readings in staircase.readings():
        try:
            parts.append(measure(readings, excitation, source))
        except ConfigurationError as error:
            if len(staircase.excitations) == 1:
                raise
            failed += [f"{excitation.fundamental_Hz:.3g} Hz: {one.problem}" for one in error.faults]
    if not parts:
        raise refuse(source, "", "no tone could be measured: " + "; ".join(failed[:3]))
    whole = parts[0] if len(staircase.excitations) == 1 else together(parts, source)
    return replace(whole, left_out=(*whole.left_out, *failed))


def _analysis_data(analysis: SpectrumAnalysis) -> dict[str, JsonValue]:
    test, best = analysis.test, analysis.best
    estimates = () if best is None else best.estimates
    return {
        "kramers_kronig": None if test is None else test.verdict.value,
        "kramers_kronig_reason": analysis.test_reason if test is None else test.reason,
        "circuit": None if best is None else best.circuit.text,
        "parameters": [one.name for one in estimates],
        "units": [one.unit for one in estimates],
        "values": [one.value for one in estimates],
        "u_values": [one.u for one in estimates],
        "not_identified": [one.name for one in estimates if not one.identified],
    }


def _words(cycle: int, measured: Measured, analysis: SpectrumAnalysis) -> str:
    spectrum, test, best = measured.spectrum, analysis.test, analysis.best
    sizes = np.abs(spectrum.impedance_Ohm)
    words = (
        f"cycle {cycle}: impedance {sizes[0]:.3g} Ohm at {spectrum.frequency_Hz[0]:.3g} Hz to "
        f"{sizes[-1]:.3g} Ohm at {spectrum.frequency_Hz[-1]:.3g} Hz"
    )
    words += f"; Kramers-Kronig {'not tested' if test is None else test.verdict.value}"
    if best is not None:
        words += f"; {best.circuit.text}"
    return "; ".join([words, *measured.remarks()])


# --- checkpoints ----------------------------------------------------------------------------------


def to_dict(staircase: Staircase | None) -> dict[str, Any] | None:
    """Return a running measurement as plain data."""
    if staircase is None:
        return None
    plain = {name: getattr(staircase, name) for name in Staircase.__slots__}
    plain["excitations"] = [
        {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in ((item.name, getattr(one, item.name)) for item in fields(Excitation))
        }
        for one in staircase.excitations
    ]
    return plain


def from_dict(plain: dict[str, Any] | None) -> Staircase | None:
    """Return the measurement that `to_dict` gave."""
    if plain is None:
        return None
    excitations = [_excitation_from(one) for one in plain.pop("excitations")]
    staircase = Staircase(excitations, math.nan, [])
    for name, value in plain.items():
        setattr(staircase, name, value)
    return staircase


def _excitation_from(plain: dict[str, Any]) -> Excitation:
    values = dict(plain)
    values["harmonics"] = tuple(values["harmonics"])
    for name in ("phases", "levels_A"):
        values[name] = np.array(values[name], dtype=np.float64)
    return Excitation(**values)
