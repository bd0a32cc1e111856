"""What one spectrum says: its Kramers-Kronig test and the circuit that describes it best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from controller.domain.errors import ConfigurationError
from controller.estimation.impedance.fit import Fit, compare, without_inductive_top
from controller.estimation.impedance.kramers_kronig import KramersKronig, kramers_kronig
from controller.estimation.impedance.points import Spectrum

# Circuits of cells with a lithium electrode: ohmic part, one or two arcs (film, charge transfer),
# diffusion without or with an end. Assumed.
CIRCUITS: Final = (
    "R0-p(R1,C1)",
    "R0-p(R1,CPE1)",
    "R0-p(R1,CPE1)-W1",
    "R0-p(R1,CPE1)-Wo1",
    "R0-p(R1,CPE1)-CPE2",
    "R0-p(R1,CPE1)-p(R2,CPE2)",
    "R0-p(R1,CPE1)-p(R2,CPE2)-W1",
    "R0-p(R1,CPE1)-p(R2,CPE2)-Wo1",
)
# Circuits whose AICc lies this close to the best are not told apart; the smallest is taken.
ALIKE_WITHIN: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SpectrumAnalysis:
    """What one spectrum says.

    Attributes
    ----------
    spectrum : Spectrum
        All of its points.
    test : KramersKronig or None
        Of all points; None where they are too few.
    test_reason : str
        Why there is no test; empty where there is one.
    inductive : int
        Points at the high end with a positive imaginary part, left out of the fits.
    best : Fit or None
        None where the points are too few for every circuit.
    others : tuple of Fit
        The other circuits, smallest AICc first.
    """

    spectrum: Spectrum
    test: KramersKronig | None
    test_reason: str
    inductive: int
    best: Fit | None
    others: tuple[Fit, ...]


def analyse_spectrum(
    spectrum: Spectrum, circuits: Sequence[str] = CIRCUITS, *, identified: bool = False
) -> SpectrumAnalysis:
    """Test a spectrum and fit the circuits to it, modulus weights.

    `identified` chooses among circuits of which the data tell every parameter, where there is one:
    over a narrow band the others follow the last digit and say nothing of the cell.
    """
    test, reason = None, ""
    try:
        test = kramers_kronig(spectrum)
    except ConfigurationError as error:
        reason = error.faults[0].problem
    capacitive, inductive = without_inductive_top(spectrum)
    fits = compare(circuits, capacitive)
    told = [one for one in fits if all(each.identified for each in one.estimates)]
    among = told if identified and told else fits
    alike = [one for one in among if one.aicc <= among[0].aicc + ALIKE_WITHIN]
    best = min(alike, key=lambda one: len(one.estimates), default=None)
    return SpectrumAnalysis(
        spectrum=spectrum,
        test=test,
        test_reason=reason,
        inductive=inductive,
        best=best,
        others=tuple(one for one in fits if one is not best),
    )
