"""The tokenizer reads what SCPI allows and never raises."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hil.bench import build_bench
from hil.instruments.keithley2450 import PATTERNS
from hil.instruments.scpi import (
    SUFFIX_OUT_OF_RANGE,
    SYNTAX_ERROR,
    UNDEFINED_HEADER,
    Vocabulary,
    split_outside_quotes,
    unquote,
)

VOCABULARY = Vocabulary(PATTERNS)


@pytest.mark.parametrize(
    "spelling",
    [
        ":SOUR:VOLT:ILIM 1e-3",
        "SOUR:VOLT:ILIM 1e-3",
        ":source:voltage:ilimit 1e-3",
        ":SOURce:VOLTage:ILIMit:LEVel 1e-3",
        ":SOUR1:VOLT:ILIM\t1e-3",
        "  :sOuR:vOlTaGe:ilim   1e-3  ",
    ],
)
def test_long_short_and_mixed_spellings_are_one_command(spelling):
    (command,) = VOCABULARY.parse(spelling)
    assert command == ("SOUR:VOLT:ILIM", False, ("1e-3",), 0)


@pytest.mark.parametrize(
    ("spelling", "error"),
    [
        (":SOURC:VOLT 1", UNDEFINED_HEADER),  # neither short nor long
        (":SOUR:BANANA 1", UNDEFINED_HEADER),
        (":SOUR", UNDEFINED_HEADER),
        (":SOUR2:VOLT 1", SUFFIX_OUT_OF_RANGE),
        ("*XYZ?", UNDEFINED_HEADER),
        (':SENS:FUNC "VOLT', SYNTAX_ERROR),
        ("::OUTP ON", UNDEFINED_HEADER),
        ("?", UNDEFINED_HEADER),
    ],
)
def test_what_is_not_known_carries_its_error(spelling, error):
    (command,) = VOCABULARY.parse(spelling)
    assert command.error == error


def test_chains_with_and_without_a_leading_colon():
    commands = VOCABULARY.parse(":OUTP:CURR:SMOD HIMP;:OUTP:VOLT:SMOD HIMP;SMOD?;*WAI;SMOD NORM")
    assert [c.header for c in commands] == [
        "OUTP:CURR:SMOD",
        "OUTP:VOLT:SMOD",
        "OUTP:VOLT:SMOD",  # goes on in the path before it
        "*WAI",
        "OUTP:VOLT:SMOD",  # a common command does not change the path
    ]
    assert [c.query for c in commands] == [False, False, True, False, False]
    relative = VOCABULARY.parse(":SOUR:VOLT 1;OUTP ON")
    assert relative[1].error == UNDEFINED_HEADER  # SOUR:OUTP does not exist


def test_separators_inside_quotes_belong_to_the_string():
    (command,) = VOCABULARY.parse(':TRIG:BLOC:MEAS 1,"a;b,c",INF')
    assert command.arguments == ("1", '"a;b,c"', "INF")
    assert split_outside_quotes("a'b", ";") is None
    assert unquote("'volt'") == unquote('"VOLT"') == unquote("volt") == "VOLT"


@settings(max_examples=300)
@given(st.text())
@example('"')
@example(";;;")
@example(":")
@example("*")
@example("?;?")
def test_any_text_is_read_without_an_exception(text):
    for command in VOCABULARY.parse(text):
        assert command.error < 0 or command.header


_WORDS = st.sampled_from(
    [p.replace("[", "").replace("]", "") for p in PATTERNS]
    + ["1", "-1", "1e999", "nan", "ON", "OFF", "HIMP", '"VOLT"', '"defbuffer1"', "INF", "MIN"]
    + ["?", ";", ";:", ",", " ", ":", '"', "COMM", "ABOV", "PROT5", "\n", "\x00", "\xff"]
)


@settings(max_examples=300)
@given(st.lists(st.one_of(_WORDS, st.text(max_size=3)), max_size=12))
def test_any_bytes_leave_the_instrument_answering(words):
    bench = build_bench(seed=1, utc_epoch_s=0.0)
    before_mAh = bench.cell.lithium_mAh()
    bench.smu.receive("".join(words).encode("utf-8", errors="replace"))
    bench.clock.advance(30.0)
    bench.smu.receive(b"\n*CLS\n")
    bench.smu.replies.clear()
    bench.smu.receive(b"*IDN?\n")
    assert bench.smu.replies.pop()[1].startswith(b"KEITHLEY INSTRUMENTS,MODEL 2450,")
    assert bench.cell.lithium_mAh() == pytest.approx(before_mAh, abs=1e-9)


def test_a_line_in_pieces_is_one_line():
    bench = build_bench(seed=1, utc_epoch_s=0.0)
    for piece in (b"*I", b"DN", b"?\n*LANG?", b"\n"):
        bench.smu.receive(piece)
    replies = [data for _, data in bench.smu.replies]
    assert len(replies) == 2
    assert replies[1] == b"SCPI\n"


def test_a_line_without_an_end_is_dropped_with_an_error():
    bench = build_bench(seed=1, utc_epoch_s=0.0)
    bench.smu.receive(b"A" * 70_000)
    bench.smu.receive(b":SYST:ERR?\n")
    assert bench.smu.replies.pop()[1] == b'-102,"Syntax error"\n'
