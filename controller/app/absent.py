"""A value that is not there: None in TOML and JSON, NaN among figures."""

from __future__ import annotations

import math


def or_null(value: float) -> float | None:
    """Return a figure as JSON has it: null where it is NaN or infinite."""
    return value if math.isfinite(value) else None


def or_nan(value: float | None) -> float:
    """Return a figure: NaN where the key was left out."""
    return math.nan if value is None else value
