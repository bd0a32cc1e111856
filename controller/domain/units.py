"""Numbers that turn one unit into another."""

from __future__ import annotations

from typing import Final

SECONDS_PER_HOUR: Final = 3600.0  # and joules per watt-hour, coulombs per ampere-hour
