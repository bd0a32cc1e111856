"""The functions that touch every sample, by name.

They keep to a subset of Python (no exceptions, strings, allocation or globals other than numeric
constants) so that the same source can be compiled; `tests/unit/test_kernels.py` checks the syntax
tree of each. The live path runs them as plain Python.
"""

from __future__ import annotations

from typing import Final

KERNELS: Final[tuple[str, ...]] = ()
