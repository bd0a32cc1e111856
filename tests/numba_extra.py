"""Marks what needs the extra ``[fast]``, and keeps what tests compile out of the user's cache."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

NUMBA = importlib.util.find_spec("numba") is not None
needs_numba = pytest.mark.skipif(not NUMBA, reason="numba is not installed (extra [fast])")
CACHE = Path(__file__).resolve().parents[1] / ".pytest_cache" / "kernels"
