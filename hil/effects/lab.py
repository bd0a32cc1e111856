"""Where the experiments are done: cells with an effect's values, and what is read off a course."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from controller.domain.units import SECONDS_PER_HOUR
from hil.cell.library import load_cell, load_values
from hil.cell.parameters import CellParameters
from hil.cycling import CycledCell, Leg, Numbers
from hil.draws import draw_between, drawn_values

Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lab:
    """Makes the cells of one effect.

    Attributes
    ----------
    cell, family : str
        Built-in files; the family takes the place of the cell's own.
    fixed : mapping of str to float
        What the experiment's assembly is, in all arms.
    ablation : mapping of str to float
        The mechanism switched off; it overrides everything.
    factors : mapping of str to float
        Multiply values of the files, for sweeps.
    draw : int, optional
        Seed of a draw over the ranges of family and cathode; 0 the values as stated.
    ranges : mapping of str to (float, float)
        Values of `fixed` that are drawn as well.
    compiled : bool, optional
    """

    cell: str
    family: str
    fixed: Mapping[str, float] = field(default_factory=dict)
    ablation: Mapping[str, float] = field(default_factory=dict)
    factors: Mapping[str, float] = field(default_factory=dict)
    draw: int = 0
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    compiled: bool | None = None

    def parameters(
        self, *, cell: str = "", family: str = "", without: Sequence[str] = (), **changed: float
    ) -> CellParameters:
        """Return parameters with `changed` over what all arms have.

        Parameters
        ----------
        cell, family : str
            Others than the effect's own.
        without : sequence of str
            Names of `fixed` that do not hold for this cell.
        """
        file = load_cell(cell or self.cell)
        family = family or self.family
        stated = {**file.values, **load_values("family", family, "effects")}
        numbers = {name: one.value for name, one in stated.items()}
        if self.draw:
            numbers |= drawn_values(family, file.cathode, self.draw)
        numbers |= {name: one for name, one in self.fixed.items() if name not in without}
        if self.draw:
            numbers |= {
                name: draw_between(name, low, high, self.draw)
                for name, (low, high) in self.ranges.items()
            }
        numbers |= changed
        for name, factor in self.factors.items():
            numbers[name] *= factor
        return CellParameters(**{**numbers, **self.ablation})

    def start(self, parameters: CellParameters) -> CycledCell:
        """Return a fresh cell."""
        return CycledCell(parameters, compiled=self.compiled)


def half_cycle(  # noqa: PLR0913 - a leg, by keyword
    parameters: CellParameters,
    density: float,
    stop_V: float,
    *,
    mAh_per_cm2: float = 0.0,
    hold_share: float = 0.0,
    hours: float = 100.0,
    every: int = 1,
    offset: int = 0,
) -> Leg:
    """Return a leg by area.

    Parameters
    ----------
    parameters : CellParameters
        Its area counts.
    density : float
        Current density (mA/cm2); positive charges.
    stop_V : float
    mAh_per_cm2 : float
        Ends it, if above 0.
    hold_share : float
        A hold at `stop_V` follows, down to this share of the current.
    hours : float
        Ends it at the latest.
    """
    area_cm2 = parameters.area_cm2
    current_A = density * area_cm2 * 1e-3
    charge = {"max_mAh": mAh_per_cm2 * area_cm2} if mAh_per_cm2 > 0.0 else {}
    return Leg(
        current_A,
        stop_V,
        hold_A=hold_share * abs(current_A),
        max_s=hours * SECONDS_PER_HOUR,
        every=every,
        offset=offset,
        **charge,
    )


def pause(hours: float, *, every: int = 1, offset: int = 0) -> Leg:
    """Return a rest."""
    return Leg(max_s=hours * SECONDS_PER_HOUR, every=every, offset=offset)


def life_cycles(charges_mAh: Numbers, share: float = 0.8, *, of_mAh: float = 0.0) -> float:
    """Return the interpolated cycle at which a charge falls below a share of the first one.

    Parameters
    ----------
    charges_mAh : ndarray
        One a cycle.
    share : float
    of_mAh : float
        What it is a share of, instead of the first.

    Returns
    -------
    float
        The number of cycles where it never does.
    """
    level = share * (of_mAh or charges_mAh[0])
    for index in range(1, len(charges_mAh)):
        if charges_mAh[index] < level:
            fall = charges_mAh[index - 1] - charges_mAh[index]
            return index + float((charges_mAh[index - 1] - level) / fall)
    return float(len(charges_mAh))
