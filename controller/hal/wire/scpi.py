"""SCPI lines: joining commands, splitting joined replies, strict numbers. Bytes only, no I/O."""

from __future__ import annotations

from typing import Final, NamedTuple

from controller.domain.errors import CyclerProtocolError

TERMINATOR: Final = b"\n"

# SCPI-99 vol. 1, 7.2.1.5: 9.9E37 stands for infinity (overflow), 9.91E37 for "not a number".
OVERFLOW: Final = 9.9e37
NOT_A_NUMBER: Final = 9.91e37


class ErrorEntry(NamedTuple):
    """One entry of an instrument's error queue; code 0 means the queue is empty."""

    code: int
    message: str


def join(*commands: str) -> bytes:
    """Return the commands as one line, so that the host's death cannot split them."""
    return ";".join(commands).encode("ascii") + TERMINATOR


def amount(value: float) -> str:
    """Return a number as an SCPI argument, to nine digits."""
    return f"{value:.9g}"


def split_fields(reply: bytes) -> list[bytes]:
    """Return the replies joined by ``;`` on one line; a ``;`` in quotes does not split."""
    line = reply.strip()
    if b'"' not in line:
        return line.split(b";")
    fields: list[bytes] = []
    start = 0
    quoted = False
    for position, byte in enumerate(line):
        if byte == 0x22:  # "
            quoted = not quoted
        elif byte == 0x3B and not quoted:  # ;
            fields.append(line[start:position])
            start = position + 1
    fields.append(line[start:])
    return fields


def expect_fields(reply: bytes, count: int) -> list[bytes]:
    """Return exactly `count` fields of `reply`.

    Raises
    ------
    CyclerProtocolError
        The line holds another number of fields.
    """
    fields = split_fields(reply)
    if len(fields) != count:
        raise CyclerProtocolError(f"expected {count} replies on one line, got {len(fields)}", reply)
    return fields


def number(field: bytes) -> float:
    """Return a reply field as a float; SCPI's infinity and not-a-number are returned as they are.

    Raises
    ------
    CyclerProtocolError
        The field is not a number. Python's digit grouping (``1_0``) is none.
    """
    if b"_" not in field:
        try:
            return float(field)
        except ValueError:
            pass
    raise CyclerProtocolError("expected a number", field)


def integer(field: bytes) -> int:
    """Return a reply field as an integer; it may be written as ``24`` or ``2.4E+01``.

    Raises
    ------
    CyclerProtocolError
        Not a whole number.
    """
    value = number(field)
    if not value.is_integer():
        raise CyclerProtocolError("expected a whole number", field)
    return int(value)


def overflowed(value: float) -> bool:
    """Return whether a value stands for "beyond the range"; false for "not a number"."""
    return abs(value) >= OVERFLOW and abs(value) != NOT_A_NUMBER


def text(field: bytes) -> str:
    """Return a reply field as text, without white space and quotes around it.

    Raises
    ------
    CyclerProtocolError
        The field is not ASCII.
    """
    try:
        return field.strip().strip(b'"').decode("ascii")
    except UnicodeDecodeError:
        raise CyclerProtocolError("expected ASCII text", field) from None


def boolean(field: bytes) -> bool:
    """Return a reply field ``0`` or ``1``.

    Raises
    ------
    CyclerProtocolError
        Anything else.
    """
    match field.strip():
        case b"0":
            return False
        case b"1":
            return True
    raise CyclerProtocolError("expected 0 or 1", field)


def error_entry(field: bytes) -> ErrorEntry:
    """Return an error-queue reply such as ``-113,"Undefined header"``.

    Raises
    ------
    CyclerProtocolError
        No code before the comma.
    """
    code, separator, message = field.partition(b",")
    if separator:
        try:
            return ErrorEntry(int(code), text(message))
        except ValueError:
            pass
    raise CyclerProtocolError("expected an error-queue entry", field)
