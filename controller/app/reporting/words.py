"""Numbers as a person reads them: an uncertainty has two digits and decides the value's."""

from __future__ import annotations

import math
from html import escape
from typing import Final

MISSING: Final = "-"
MINUS: Final = "\N{MINUS SIGN}"
# Two-sided 95 % of a normal distribution, in standard uncertainties.
K_95: Final = 1.96


def known(value: float | None) -> bool:
    """Return whether there is a finite number."""
    return value is not None and math.isfinite(value)


def number(value: float | None, digits: int = 4) -> str:
    """Return `value` with this many decimals, a dash where there is none."""
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{value:.{digits}f}"
    if text.startswith("-"):
        # a rounded zero has no sign
        return text[1:] if float(text) == 0.0 else MINUS + text[1:]
    return text


def decimals_for(u: float) -> int:
    """Return the decimals that show two significant digits of an uncertainty (0 to 7)."""
    if not u > 0.0 or not math.isfinite(u):
        return 4
    return min(max(1 - math.floor(math.log10(u)), 0), 7)


def with_u(value: float | None, u: float | None, unit: str = "") -> str:
    """Return ``value ± u unit`` with the digits that `u` (standard uncertainty) allows."""
    tail = f" {unit}" if unit else ""
    if value is None or not math.isfinite(value):
        return MISSING
    if u is None or not u > 0.0 or not math.isfinite(u):
        return number(value, 4) + tail
    digits = decimals_for(u)
    return f"{number(value, digits)} ± {number(u, digits)}{tail}"


def plural(count: int, word: str, many: str = "") -> str:
    """Return ``1 cycle``, ``2 cycles``."""
    return f"{count} {word if count == 1 else many or word + 's'}"


def cycle_span(first: int, last: int) -> str:
    """Return ``cycle 3`` or ``cycles 3-7``."""
    return f"cycle {first}" if first == last else f"cycles {first}-{last}"


def safe(text: object) -> str:
    """Return text escaped for HTML and SVG, attributes included."""
    return escape(str(text), quote=True)
