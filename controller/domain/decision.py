"""A decision of the scheduler, with its inputs and its reason: enough to make it again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controller.domain.events import JsonScalar


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided after a cycle.

    Attributes
    ----------
    cycle : int
        The cycle it was made in; it acts on the next.
    protocol : str or None
        Recipe to run, or None.
    candidate : str or None
        Recipe the rule would have run; equals `protocol` unless it was withheld.
    opportunity : bool
        The rule would treat. At every opportunity treatment is withheld at random.
    withheld : bool
    probability : float
        Probability with which this opportunity was treated; NaN when there was none.
    reason : str
        One line.
    inputs : mapping
        The figures that decided; keys carry units.
    refused : mapping of str to str
        Recipe -> why it was not to be had.
    """

    cycle: int
    protocol: str | None
    candidate: str | None
    opportunity: bool
    withheld: bool
    probability: float
    reason: str
    inputs: Mapping[str, JsonScalar] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
