"""Splitting joined replies and reading numbers strictly."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.errors import CyclerProtocolError
from controller.hal.wire import scpi


def test_commands_are_joined_into_one_line() -> None:
    assert scpi.join(":ABOR", ":OUTP OFF") == b":ABOR;:OUTP OFF\n"


def test_a_semicolon_in_quotes_does_not_split() -> None:
    assert scpi.split_fields(b'0,"No error;;1970";RUNNING;RUNNING;1\n') == [
        b'0,"No error;;1970"',
        b"RUNNING",
        b"RUNNING",
        b"1",
    ]


@pytest.mark.parametrize(("reply", "count"), [(b"1;2\n", 3), (b"1;2;3;4\n", 3), (b"\n", 2)])
def test_a_wrong_number_of_fields_names_the_bytes(reply: bytes, count: int) -> None:
    with pytest.raises(CyclerProtocolError) as caught:
        scpi.expect_fields(reply, count)
    assert caught.value.reply == reply


@pytest.mark.parametrize("field", [b"", b"1_0", b"abc", b"1.0V", b"--1", b"\xff"])
def test_what_is_no_number_is_refused(field: bytes) -> None:
    with pytest.raises(CyclerProtocolError):
        scpi.number(field)


@given(st.floats(allow_nan=False))
def test_an_amount_reads_back_to_nine_digits(value: float) -> None:
    back = scpi.number(scpi.amount(value).encode())
    assert back == value or abs(back - value) <= 1e-8 * abs(value) or math.isinf(back)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(9.9e37, True), (-9.9e37, True), (math.inf, True), (9.91e37, False), (9.8e37, False)],
)
def test_overflow_and_not_a_number_are_told_apart(value: float, expected: bool) -> None:
    assert scpi.overflowed(value) is expected
    assert scpi.overflowed(math.nan) is False


@pytest.mark.parametrize(
    ("field", "entry"),
    [
        (b'0,"No error"', (0, "No error")),
        (b'-113,"Undefined header"\n', (-113, "Undefined header")),
    ],
)
def test_error_entries(field: bytes, entry: tuple[int, str]) -> None:
    assert scpi.error_entry(field) == entry


@pytest.mark.parametrize("field", [b"No error", b'x,"No error"', b""])
def test_what_is_no_error_entry_is_refused(field: bytes) -> None:
    with pytest.raises(CyclerProtocolError):
        scpi.error_entry(field)


@pytest.mark.parametrize("field", [b"2", b"ON", b"", b"1.0"])
def test_only_0_and_1_are_switches(field: bytes) -> None:
    with pytest.raises(CyclerProtocolError):
        scpi.boolean(field)
    assert scpi.boolean(b"1\n") is True
    assert scpi.boolean(b" 0 ") is False


@given(st.binary(max_size=60))
def test_any_bytes_split_without_an_error(reply: bytes) -> None:
    assert b";".join(scpi.split_fields(reply)) == reply.strip()
