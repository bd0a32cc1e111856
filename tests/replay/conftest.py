"""Measured data of others, beside the checkout; absent in a user's."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture(scope="session")
def measured():
    """Return the path of a measured file, or skip the test by its name."""

    def path(name: str) -> Path:
        found = DATA / name
        if not found.exists():
            pytest.skip(f"measured data not here: {name}")
        return found

    return path
