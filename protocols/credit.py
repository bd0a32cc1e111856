"""What an application of a recipe may be credited with, from net charge alone."""

from __future__ import annotations

from controller.domain.cell import CellFormat
from protocols.spec import Benefit, Placement, Recipe


def why_not_credited(recipe: Recipe, cell_format: CellFormat) -> str:
    """Return why net charge from anchor to anchor is no measure of a recipe's effect.

    Returns
    -------
    str
        Empty where it is one.
    """
    if recipe.placement is Placement.BEFORE_FIRST_CYCLE:
        return "given once in a life: it is withheld at random between cells, not within a run"
    if recipe.benefit is not Benefit.RECOVERED:
        return "its benefit is lower later loss; that is never counted as lithium given back"
    if cell_format is CellFormat.LI_LI:
        return "half cycles of a symmetric cell end at the same charge: net charge is no measure"
    if cell_format is CellFormat.EXCESS_LITHIUM:
        return (
            "net charge is the cathode's while lithium is in excess: what comes back does not show"
        )
    return ""
