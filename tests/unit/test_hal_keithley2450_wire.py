"""Lines of the 2450 as pure functions, and any bytes as a reply."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.sample import QUALITY_NO_REPLY
from controller.hal.wire import keithley2450 as wire
from tests.contract.golden2450 import poll_reply
from tests.contract.test_keithley2450_bytes import Rig


def test_a_poll_reply() -> None:
    parsed = wire.parse_poll(poll_reply())
    assert parsed == (
        3.712345,
        9.9998e-4,
        1.0,
        232,
        b"1;4.300000E+00;1.000000E-03;RUNNING;RUNNING",
    )
    assert wire.split_settings(parsed.settings) == (
        b"1",
        b"4.300000E+00",
        b"1.000000E-03",
        b"RUNNING",
    )


@pytest.mark.parametrize("end", range(1, len(poll_reply()) - 1))
def test_a_truncated_poll_reply_is_never_taken_for_a_whole_one(end: int) -> None:
    def parse(reply: bytes) -> None:
        wire.split_settings(wire.parse_poll(reply).settings)

    parse(poll_reply())
    with pytest.raises((ValueError, OverflowError)):
        parse(poll_reply()[:end])


LINES = st.one_of(
    st.binary(max_size=80).map(lambda data: data.replace(b"\n", b"") + b"\n"),
    st.tuples(
        st.sampled_from([b"3.7", b"", b"NAN", b"9.9E37", b"-1", b"x", b"1_0"]),
        st.sampled_from([b"1e-3", b"", b"inf", b"9.91E37", b"\xff"]),
        st.sampled_from([b"1.0", b"-1", b"nan", b"1e99", b""]),
        st.sampled_from([b"28", b"-3", b"1e400", b"nan", b"2.8E1"]),
        st.sampled_from(
            [
                b"1;4.3;1e-3;RUNNING;RUNNING;2",
                b"0;4.3;1e-3;IDLE;IDLE;3",
                b"2;4.3;1e-3;IDLE;IDLE;3",
                b"1;;;;;",
                b"1;nan;nan;RUNNING;RUNNING;2",
            ]
        ),
    ).map(lambda parts: b",".join(parts[:4]) + b";" + parts[4] + b"\n"),
)


@settings(max_examples=400)
@given(st.lists(LINES, min_size=1, max_size=4))
def test_no_reply_whatever_makes_a_poll_raise_or_a_bad_number_look_good(
    replies: list[bytes],
) -> None:
    rig = Rig().charging()
    for sequence, reply in enumerate(replies):
        rig.line.script.clear()
        rig.line._arrived.clear()
        rig.driver._in_doubt = False
        rig.driver._mode = 3
        rig.line.expect((wire.POLL, reply))
        sample = rig.driver.poll(sequence)
        if sample.quality == 0:
            assert math.isfinite(sample.voltage_V)
            assert math.isfinite(sample.current_A)
            assert math.isfinite(sample.t_device_s)
        if sample.quality & QUALITY_NO_REPLY:
            assert math.isnan(sample.voltage_V)
            assert math.isnan(sample.current_A)


@pytest.mark.parametrize(
    ("value", "full_scale"),
    [(0.0, 1e-8), (-1.05e-3, 1e-3), (1.0501e-3, 1e-2), (1.05, 1.0)],
)
def test_the_range_that_holds_a_value(value: float, full_scale: float) -> None:
    assert wire.range_holding(value, wire.CURRENT_RANGES_A) == full_scale


@pytest.mark.parametrize("value", [1.0501, math.inf, math.nan])
def test_no_range_holds_it(value: float) -> None:
    assert math.isnan(wire.range_holding(value, wire.CURRENT_RANGES_A))
