"""Records of numbers to and from plain data: what a checkpoint holds of a kernel's state.

A record is an object with ``__slots__`` whose fields are numbers, lists of numbers or records.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def record_to_dict(record: object) -> dict[str, Any]:
    """Return the fields by name; NaN stays NaN."""
    return {name: _plain(getattr(record, name)) for name in _names(record)}


def record_from_dict(record: object, data: Mapping[str, Any]) -> None:
    """Write what `record_to_dict` gave into a record of the same class.

    Raises
    ------
    KeyError
        A field is missing: the data are of another version.
    """
    for name in _names(record):
        value = data[name]
        if isinstance(value, dict):
            record_from_dict(getattr(record, name), value)
        else:
            setattr(record, name, list(value) if isinstance(value, list) else value)


def _names(record: object) -> tuple[str, ...]:
    return tuple(type(record).__dict__["__slots__"])


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return list(value)
    if hasattr(type(value), "__slots__"):
        return record_to_dict(value)
    return value
