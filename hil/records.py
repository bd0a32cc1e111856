"""Records: the same fields as an object for plain Python and as a row of a structured array.

A kernel reads and writes ``s.voltage_V`` or ``s.pos.x``; it does not see which of the two it has.
An object is quicker from Python, a row is what compiled code and populations of cells work on.

A record's class is a class with ``__slots__``, a dataclass or a named tuple, with an annotation for
each field:

| annotation | in the row |
|---|---|
| ``float`` | ``f8`` |
| ``int``, an ``IntEnum`` | ``i8`` |
| ``bool`` | ``b1`` |
| another record | nested |
| ``list[T]``, ``tuple[T, ...]`` | array of T, its length given by `lengths` or an example |
| ``tuple[T, T, T]`` | array of three T |
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar, Final, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from controller.domain.errors import InvariantError

T = TypeVar("T")

_NUMBERS: Final = ((bool, "b1"), (int, "i8"), (float, "f8"))
_SEQUENCES: Final = (list, tuple)


def fields_of(kind: type) -> Mapping[str, Any]:
    """Return the fields of a record's class, name to type, in the order of its annotations.

    Raises
    ------
    InvariantError
        No annotation, or a slot without one.
    """
    return _fields_of(kind)


@lru_cache(maxsize=256)
def _fields_of(kind: type) -> Mapping[str, Any]:
    hints = {
        name: hint
        for name, hint in get_type_hints(kind).items()
        if get_origin(hint) is not ClassVar and hint is not Final and get_origin(hint) is not Final
    }
    slots = {name for base in kind.__mro__ for name in _slots_of(base)}
    if not hints or (slots and slots != set(hints)):
        missing = ", ".join(sorted(slots ^ set(hints))) or "every field"
        raise InvariantError(f"{kind.__qualname__} is no record: slot and annotation of {missing}")
    return types.MappingProxyType(hints)


def _slots_of(base: type) -> tuple[str, ...]:
    slots = base.__dict__.get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def record_dtype(kind: type, lengths: Mapping[str, int] | None = None) -> np.dtype[np.void]:
    """Return the structured type of a record's class.

    Parameters
    ----------
    kind : type
        See the module.
    lengths : mapping of str to int, optional
        Of each field that is a list or a tuple of any length; nested ones as ``neg.layers``.

    Raises
    ------
    InvariantError
        A field of another type, or a length that is not given.
    """
    return _shared_dtype(kind, tuple(sorted((lengths or {}).items())))


@lru_cache(maxsize=256)
def _shared_dtype(kind: type, lengths: tuple[tuple[str, int], ...]) -> np.dtype[np.void]:
    """Return one and the same object for one layout: compiled calls compare it by identity first.

    Comparing two equal layouts of 150 fields takes 7 us, ten times as long as the call.
    """
    return _dtype(kind, dict(lengths), "")


def _dtype(kind: type, lengths: Mapping[str, int], prefix: str) -> np.dtype[np.void]:
    layout: list[Any] = []
    for name, hint in fields_of(kind).items():
        where = prefix + name
        element, length = _element(hint, lengths, where)
        base = _scalar(element, lengths, where)
        layout.append((name, base) if length is None else (name, base, (length,)))
    return np.dtype(layout, align=True)


def _element(hint: Any, lengths: Mapping[str, int], where: str) -> tuple[Any, int | None]:
    """Return the type of one element and how many there are; None for a plain field."""
    if get_origin(hint) not in _SEQUENCES:
        return hint, None
    of = get_args(hint)
    if get_origin(hint) is tuple and Ellipsis not in of:
        if len(set(of)) != 1:
            raise InvariantError(f"{where}: elements of more than one type")
        return of[0], len(of)
    if where not in lengths:
        raise InvariantError(f"{where}: its length is not given")
    return of[0], lengths[where]


def _scalar(hint: Any, lengths: Mapping[str, int], where: str) -> Any:
    if isinstance(hint, type):
        for number, code in _NUMBERS:
            if issubclass(hint, number):
                return np.dtype(code)
        if hint.__module__ != "builtins":
            return _dtype(hint, lengths, where + ".")
    raise InvariantError(f"{where}: {hint!r} is neither a number nor a record")


def lengths_of(record: object) -> dict[str, int]:
    """Return the lengths of an object's lists and tuples, as `record_dtype` takes them."""
    found: dict[str, int] = {}
    for name, hint in fields_of(type(record)).items():
        value = getattr(record, name)
        if get_origin(hint) in _SEQUENCES:
            found[name] = len(value)
            inner = value[0] if value else None
        else:
            inner = value
        if _is_record(inner):
            found.update({f"{name}.{key}": length for key, length in lengths_of(inner).items()})
    return found


def dtype_of(record: object) -> np.dtype[np.void]:
    """Return the structured type that holds this object."""
    return record_dtype(type(record), lengths_of(record))


def _is_record(value: object) -> bool:
    return value is not None and type(value).__module__ != "builtins" and not _is_number(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (bool, int, float, np.generic))


def to_record(record: object, row: np.void) -> None:
    """Write an object's fields into a row of a structured array (``array[index]``)."""
    for name, value in zip(fields_of(type(record)), _values(record), strict=True):
        row[name] = value


def _values(record: object) -> tuple[Any, ...]:
    """Return the fields' values as NumPy takes them: tuples for records, lists for arrays."""
    found: list[Any] = []
    for name in fields_of(type(record)):
        value = getattr(record, name)
        if _is_record(value):
            value = _values(value)
        elif isinstance(value, _SEQUENCES):
            value = [_values(one) if _is_record(one) else one for one in value]
        found.append(value)
    return tuple(found)


def records(*objects: object) -> np.ndarray[Any, np.dtype[np.void]]:
    """Return a structured array with one row for each object; all of one class and layout."""
    rows = np.zeros(len(objects), dtype_of(objects[0]))
    for index, record in enumerate(objects):
        rows[index] = _values(record)
    return rows


def from_record(kind: type[T], row: np.void) -> T:
    """Return a new object of `kind` from a row, in Python's own numbers.

    A dataclass or named tuple is made by its constructor, with its checks; a plain class with slots
    without calling its ``__init__``.
    """
    values = {name: _value(hint, row[name]) for name, hint in fields_of(kind).items()}
    if hasattr(kind, "__dataclass_fields__") or issubclass(kind, tuple):
        return kind(**values)
    made = kind.__new__(kind)
    for name, value in values.items():
        setattr(made, name, value)
    return made


def _value(hint: Any, value: Any) -> Any:
    origin = get_origin(hint)
    if origin in _SEQUENCES:
        inner = get_args(hint)[0]
        return origin(_value(inner, element) for element in value)
    if isinstance(hint, type) and not issubclass(hint, (bool, int, float)):
        return from_record(hint, value)
    return hint(value.item())


def update(record: object, row: np.void) -> None:
    """Take a row's values into an existing object, nested records and lists in place."""
    for name, hint in fields_of(type(record)).items():
        current = getattr(record, name)
        if get_origin(hint) is list:
            current[:] = _value(hint, row[name])
        elif get_origin(hint) is not tuple and _is_record(current):
            update(current, row[name])
        else:
            setattr(record, name, _value(hint, row[name]))
