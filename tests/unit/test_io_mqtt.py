"""Telemetry without a broker: settings refused, nothing waits, nothing is left behind."""

from __future__ import annotations

import gc
import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from controller.domain.errors import ConfigurationError
from controller.domain.events import Event, EventKind
from controller.domain.sample import NAN, Sample
from controller.io import mqtt
from controller.io.mqtt import QUEUE_LENGTH, Telemetry, TelemetryConfig

SAMPLE = Sample(0, 0, 1.0, NAN, 1.7e9, 3.7, 1e-3, NAN, 1, 1, 1e-3, 0.02, 0)
VARIABLE = "BROKER_PASSWORD"  # its name, not a password
EVENT = Event(kind=EventKind.RUN, t_s=1.0, sequence=0, message="started")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("host", ""),
        ("host", "h" * 254),
        ("port", 0),
        ("port", 65_536),
        ("prefix", ""),
        ("prefix", "a//b"),
        ("prefix", "/a"),
        ("prefix", "a/+"),
        ("prefix", "#"),
        ("prefix", "$SYS"),
        ("prefix", "a\0"),
        ("qos", 2),
        ("qos", -1),
        ("sample_period_s", 0.0),
        ("sample_period_s", math.nan),
        ("sample_period_s", math.inf),
        ("password_env", "SECRET"),
    ],
)
def test_an_impossible_setting_is_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigurationError, match=rf"run file: mqtt\.{key}: "):
        TelemetryConfig(**{"host": "localhost", key: value})


def test_every_fault_is_listed() -> None:
    with pytest.raises(ConfigurationError) as caught:
        TelemetryConfig(host="", port=0, qos=3)
    assert [fault.key for fault in caught.value.faults] == ["mqtt.host", "mqtt.port", "mqtt.qos"]


@pytest.mark.parametrize(("port", "qos"), [(1, 0), (65_535, 1)])
def test_settings_at_their_ends_stand(port: int, qos: int) -> None:
    config = TelemetryConfig(host="h" * 253, port=port, qos=qos, prefix="lab 1/reactivate")
    assert (config.port, config.qos) == (port, qos)


@pytest.mark.parametrize("channel", ["", "a/b", "+", "#", "$a"])
def test_a_channel_that_is_no_word_is_refused(channel: str) -> None:
    with pytest.raises(ConfigurationError, match="cannot stand in a topic"):
        Telemetry(TelemetryConfig(host="localhost"), channel)


@pytest.mark.parametrize("value", [None, ""])
def test_a_password_that_is_not_set_is_refused(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("BROKER_PASSWORD", raising=False)
    if value is not None:
        monkeypatch.setenv("BROKER_PASSWORD", value)
    config = TelemetryConfig(host="localhost", username="lab", password_env=VARIABLE)
    with pytest.raises(ConfigurationError, match=r"'BROKER_PASSWORD' is not set"):
        Telemetry(config, "A-1")


def test_the_password_stands_nowhere_in_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROKER_PASSWORD", "hunter2")
    config = TelemetryConfig(host="localhost", username="lab", password_env=VARIABLE)
    assert "hunter2" not in repr(config)


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as held:  # bound, never listening: connections are refused
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def publish_everything(telemetry: Telemetry, times: int) -> float:
    """Return the longest time that one call took (s)."""
    longest_s = 0.0
    for number in range(times):
        for publish, arguments in (
            (telemetry.publish_state, ({"state": "charge", "cycle": number},)),
            (telemetry.publish_sample, (SAMPLE, number)),
            (telemetry.publish_event, (EVENT,)),
        ):
            start_s = time.perf_counter()
            publish(*arguments)
            longest_s = max(longest_s, time.perf_counter() - start_s)
    return longest_s


def test_an_absent_broker_changes_nothing(
    closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mqtt, "_BACKOFF_FIRST_S", 0.01)
    telemetry = Telemetry(TelemetryConfig(host="127.0.0.1", port=closed_port), "A-1")
    longest_s = publish_everything(telemetry, QUEUE_LENGTH + 7)
    assert longest_s < 0.1  # the scheduler's pauses, not the broker's
    deadline_s = time.perf_counter() + 5.0
    while not telemetry.problem and time.perf_counter() < deadline_s:
        time.sleep(0.01)
    assert "refused" in telemetry.problem.lower()
    assert not telemetry.connected
    assert telemetry.dropped == 7
    start_s = time.perf_counter()
    assert telemetry.close(timeout_s=2.0)
    assert time.perf_counter() - start_s < 1.0


def test_a_host_that_does_not_exist_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    telemetry = Telemetry(TelemetryConfig(host="broker.invalid"), "A-1")
    publish_everything(telemetry, 3)
    deadline_s = time.perf_counter() + 5.0
    while not telemetry.problem and time.perf_counter() < deadline_s:
        time.sleep(0.01)
    assert "not known" in telemetry.problem
    assert telemetry.close()


def test_a_listener_that_never_answers_changes_nothing_and_leaves_nothing_open(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mqtt, "_TIMEOUT_S", 0.1)
    monkeypatch.setattr(mqtt, "_BACKOFF_FIRST_S", 0.02)
    monkeypatch.setattr(mqtt, "_BACKOFF_LONGEST_S", 0.02)
    accepted: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        with suppress(OSError):
            while True:
                accepted.append(listener.accept()[0])

    thread = threading.Thread(target=accept)
    thread.start()
    telemetry = Telemetry(TelemetryConfig(host="127.0.0.1", port=listener.getsockname()[1]), "A-1")
    try:
        assert publish_everything(telemetry, 1000) < 0.1
        deadline_s = time.perf_counter() + 10.0
        while len(accepted) < 4 and time.perf_counter() < deadline_s:
            time.sleep(0.01)
        assert len(accepted) >= 4  # it tried again and again
        assert "timed out" in telemetry.problem.lower()
        # Each attempt's socket was closed: the other end reads the end of the stream.
        for other in accepted[:3]:
            other.settimeout(2.0)
            while other.recv(4096):
                pass
    finally:
        ended = telemetry.close(timeout_s=5.0)
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5.0)
        for other in accepted:
            other.close()
    assert ended
    gc.collect()  # an unclosed socket or a late callback would be an error here


def test_close_does_not_wait_for_a_dead_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "_TIMEOUT_S", 1.0)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        telemetry = Telemetry(
            TelemetryConfig(host="127.0.0.1", port=listener.getsockname()[1]), "A-1"
        )
        other, _ = listener.accept()
        start_s = time.perf_counter()
        assert not telemetry.close(timeout_s=0.05)
        assert time.perf_counter() - start_s < 0.5
        assert telemetry.close(timeout_s=5.0)  # it ended by itself
        other.close()
    gc.collect()
