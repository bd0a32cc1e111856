"""Telemetry through Debian's mosquitto, as another program sees it (mosquitto_sub)."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from controller.domain.events import Event, EventKind
from controller.domain.figures import CycleFigures, CycleKind, DischargeEnd
from controller.domain.sample import NAN, Sample
from controller.io import mqtt
from controller.io.mqtt import QUEUE_LENGTH, Telemetry, TelemetryConfig

ROOT = Path(__file__).parents[2]
START = ROOT / "scripts" / "start_mosquitto.py"
UNAVAILABLE = 77
PATIENCE_S = 20.0

pytestmark = pytest.mark.broker

FIGURES = CycleFigures(
    cycle=3,
    kind=CycleKind.BASE,
    charge_Ah=0.003,
    u_charge_Ah=1e-7,
    discharge_Ah=0.00299,
    u_discharge_Ah=1e-7,
    net_charge_Ah=-1e-5,
    u_net_charge_Ah=2e-7,
    base_charge_Ah=0.003,
    base_discharge_Ah=0.00299,
    treatment_net_charge_Ah=0.0,
    diagnostic_net_charge_Ah=0.0,
    coulombic_efficiency=0.9967,
    u_coulombic_efficiency=None,
    coulombic_efficiency_base=None,
    discharge_end=DischargeEnd.ANODE,
    discharge_end_probability=0.9,
    flags=("incomplete",),
)


def sample(sequence: int) -> Sample:
    return Sample(sequence, 0, 1.0, NAN, 1.7e9, 3.7, 1e-3, NAN, 1, 1, 1e-3, 0.02, 0)


def event(sequence: int) -> Event:
    data = {"net_charge_Ah": math.nan, "n": sequence}
    return Event(kind=EventKind.DECISION, t_s=1.0, sequence=sequence, message="Δ", data=data)


def until(condition: Callable[[], Any], what: str) -> Any:
    deadline_s = time.perf_counter() + PATIENCE_S
    while time.perf_counter() < deadline_s:
        result = condition()
        if result:
            return result
        time.sleep(0.02)
    pytest.fail(f"not within {PATIENCE_S} s: {what}")


class Broker:
    """A mosquitto of our own; the process handle is the broker itself."""

    def __init__(self, directory: Path, *options: str) -> None:
        self._directory = directory
        self._options = options
        self.port = 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, str(START), str(self._directory), "--port", str(self.port)]
        self.process = subprocess.Popen(
            [*command, *self._options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.process.stdout.close()
        if not line:
            assert self.process.wait() == UNAVAILABLE
            pytest.skip("mosquitto is not installed and cannot be here")
        self.port = int(line)
        try:
            until(self._listens, "the broker listens")
        except BaseException:
            self.kill()
            raise

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1.0):
            return True
        return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> None:
    if sys.platform == "win32":
        pytest.skip("mosquitto is started the POSIX way here")
    Broker(tmp_path_factory.mktemp("probe"), "--install").kill()
    if shutil.which("mosquitto_sub") is None:
        pytest.skip("mosquitto_sub is not installed")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    (tmp_path / "broker").mkdir()
    own = Broker(tmp_path / "broker")
    yield own
    own.kill()


class Subscriber:
    """mosquitto_sub, with what it printed."""

    def __init__(self, port: int, topic: str = "reactivate/#", *options: str) -> None:
        # %r: the message was retained; %t: topic; %p: payload
        command = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(port), "-t", topic]
        self._process = subprocess.Popen(
            [*command, "-t", "ready", "-q", "1", "-F", "%r %t %p", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read)
        self._thread.start()
        # Nothing is lost between the start and the subscription: a word of our own came back.
        word = ["mosquitto_pub", "-h", "127.0.0.1", "-p", str(port), "-t", "ready", "-m", "yes"]
        try:
            until(lambda: self._heard(word), "subscribed")
        except BaseException:
            self.__exit__()
            raise

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.decode().rstrip("\n"))

    def _heard(self, word: list[str]) -> bool:
        subprocess.run(word, check=True)
        return any(" ready " in line for line in self.lines)

    @property
    def telemetry(self) -> list[str]:
        return [line for line in self.lines if " ready " not in line]

    def messages(self, name: str) -> list[str]:
        """Return the payloads of a topic's last level, in order."""
        marker = f"/{name} "
        return [line.split(marker, 1)[1] for line in self.lines if marker in line]

    def documents(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.messages(name)]

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._thread.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


@pytest.fixture
def telemetry(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Telemetry]:
    monkeypatch.setattr(mqtt, "_BACKOFF_FIRST_S", 0.05)
    monkeypatch.setattr(mqtt, "_BACKOFF_LONGEST_S", 0.2)
    monkeypatch.setattr(mqtt, "_TIMEOUT_S", 1.0)
    config = TelemetryConfig(host="127.0.0.1", port=broker.port, sample_period_s=0.05)
    own = Telemetry(config, "A-1")
    yield own
    own.close(timeout_s=10.0)


def test_everything_arrives_in_its_topic(broker: Broker, telemetry: Telemetry) -> None:
    with Subscriber(broker.port) as subscriber:
        until(lambda: subscriber.messages("availability") == ["online"], "availability")
        telemetry.publish_state({"state": "charge", "cycle": 3})
        telemetry.publish_sample(sample(7), 3)
        telemetry.publish_cycle(FIGURES)
        telemetry.publish_event(event(9))
        (state,) = until(lambda: subscriber.documents("state"), "state")
        (reading,) = until(lambda: subscriber.documents("sample"), "sample")
        (figures,) = until(lambda: subscriber.documents("cycle"), "cycle")
        (happened,) = until(lambda: subscriber.documents("event"), "event")
        assert all(" reactivate/A-1/" in line for line in subscriber.telemetry)
    assert state == {"schema": 1, "state": "charge", "cycle": 3}
    assert (reading["sequence"], reading["cycle"], reading["voltage_V"]) == (7, 3, 3.7)
    assert reading["temperature_K"] is None  # NaN is not JSON
    assert set(reading) == {*Sample._fields, "cycle", "schema"}
    assert figures["coulombic_efficiency"] == 0.9967
    assert figures["resistance_Ohm"] is None
    assert (figures["kind"], figures["flags"]) == ("base", ["incomplete"])
    assert happened["data"] == {"net_charge_Ah": None, "n": 9}
    assert (happened["kind"], happened["message"]) == ("decision", "Δ")


def test_state_and_availability_are_retained_the_rest_is_not(
    broker: Broker, telemetry: Telemetry
) -> None:
    with Subscriber(broker.port) as early:
        telemetry.publish_state({"state": "rest"})
        telemetry.publish_sample(sample(1), 1)
        telemetry.publish_event(event(1))
        until(lambda: early.messages("state") and early.messages("sample"), "first subscriber")
        until(lambda: early.messages("event"), "event")
        with Subscriber(broker.port) as late:
            until(lambda: late.messages("state") and late.messages("availability"), "retained")
            telemetry.publish_event(event(2))  # a fence: what came before it is all there is
            until(lambda: late.messages("event"), "fence")
            retained = sorted(line.split(" ")[1] for line in late.lines if line.startswith("1 "))
            assert retained == ["reactivate/A-1/availability", "reactivate/A-1/state"]
            assert [document["sequence"] for document in late.documents("event")] == [2]


def test_the_newest_sample_wins_and_no_event_is_lost(broker: Broker, telemetry: Telemetry) -> None:
    with Subscriber(broker.port) as subscriber:
        until(lambda: subscriber.messages("availability"), "availability")
        for number in range(300):
            telemetry.publish_sample(sample(number), 1)
            telemetry.publish_event(event(number))
        until(lambda: len(subscriber.messages("event")) == 300, "events")
        until(lambda: subscriber.documents("sample")[-1]["sequence"] == 299, "newest sample")
        assert [document["sequence"] for document in subscriber.documents("event")] == list(
            range(300)
        )
        assert len(subscriber.messages("sample")) < 300
    assert telemetry.dropped == 0


def test_a_clean_close_sends_what_waits_and_says_offline(
    broker: Broker, telemetry: Telemetry
) -> None:
    with Subscriber(broker.port) as subscriber:
        until(lambda: telemetry.connected and subscriber.messages("availability"), "online")
        telemetry.publish_event(event(5))
        telemetry.publish_state({"state": "completed"})
        assert telemetry.close(timeout_s=5.0)
        until(lambda: subscriber.messages("availability")[-1] == "offline", "offline")
        assert [document["sequence"] for document in subscriber.documents("event")] == [5]
        assert subscriber.documents("state")[-1]["state"] == "completed"
        assert not telemetry.connected


def test_a_killed_broker_that_comes_back_is_found_again(
    broker: Broker, telemetry: Telemetry
) -> None:
    with Subscriber(broker.port) as before:
        telemetry.publish_state({"state": "charge"})
        until(lambda: before.messages("state"), "state")
    broker.kill()
    until(lambda: not telemetry.connected, "the loss is noticed without sending")
    slowest_s = 0.0
    for number in range(50):  # nobody waits meanwhile
        start_s = time.perf_counter()
        telemetry.publish_sample(sample(number), 2)
        telemetry.publish_event(event(number))
        slowest_s = max(slowest_s, time.perf_counter() - start_s)
    assert slowest_s < 0.1
    broker.start()
    until(lambda: telemetry.connected, "connected again")
    with Subscriber(broker.port) as after:
        # The new broker kept nothing; it was told availability and state again.
        until(lambda: after.messages("state"), "state told again")
        assert after.documents("state")[-1]["state"] == "charge"
        assert after.messages("availability")[-1] == "online"
        telemetry.publish_event(event(99))
        until(lambda: 99 in [d["sequence"] for d in after.documents("event")], "events go on")
    assert telemetry.dropped == 0


def test_events_of_an_outage_arrive_after_it(
    broker: Broker, telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    until(lambda: telemetry.connected, "connected")
    monkeypatch.setattr(mqtt, "_BACKOFF_FIRST_S", 2.0)  # time for the subscriber to be first
    broker.kill()
    until(lambda: not telemetry.connected, "lost")
    for number in range(20):
        telemetry.publish_event(event(number))
    broker.start()
    with Subscriber(broker.port) as subscriber:
        assert subscriber.telemetry == []
        until(lambda: len(subscriber.messages("event")) == 20, "the outage's events")
        assert [d["sequence"] for d in subscriber.documents("event")] == list(range(20))
    assert telemetry.dropped == 0


def test_a_broker_that_stands_still_changes_nothing(broker: Broker, telemetry: Telemetry) -> None:
    until(lambda: telemetry.connected, "connected")
    os.kill(broker.process.pid, signal.SIGSTOP)
    try:
        slowest_s = 0.0
        for number in range(QUEUE_LENGTH + 50):
            start_s = time.perf_counter()
            telemetry.publish_sample(sample(number), 1)
            telemetry.publish_event(event(number))
            slowest_s = max(slowest_s, time.perf_counter() - start_s)
        assert slowest_s < 0.1
        until(lambda: not telemetry.connected, "the silence is noticed")
        assert telemetry.dropped >= 49  # one may have been on its way
    finally:
        os.kill(broker.process.pid, signal.SIGCONT)
    with Subscriber(broker.port) as subscriber:
        until(lambda: telemetry.connected, "connected again")
        telemetry.publish_event(event(5000))
        until(
            lambda: 5000 in [d["sequence"] for d in subscriber.documents("event")], "events go on"
        )


VICTIM = """
    import sys, time
    from controller.io.mqtt import Telemetry, TelemetryConfig

    telemetry = Telemetry(TelemetryConfig(host="127.0.0.1", port=int(sys.argv[1])), "B-2")
    telemetry.publish_state({"state": "charge"})
    while True:
        time.sleep(0.05)
"""


def test_the_last_will_speaks_for_a_killed_controller(broker: Broker) -> None:
    victim = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(VICTIM), str(broker.port)], cwd=ROOT
    )
    try:
        with Subscriber(broker.port) as subscriber:
            until(lambda: subscriber.messages("availability") == ["online"], "online")
            victim.kill()
            until(lambda: subscriber.messages("availability") == ["online", "offline"], "the will")
        with Subscriber(broker.port) as late:
            until(lambda: late.messages("availability") == ["offline"], "the will is retained")
    finally:
        victim.kill()
        victim.wait()


def test_the_password_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("mosquitto_passwd") is None:
        pytest.skip("mosquitto_passwd is not installed")
    monkeypatch.setattr(mqtt, "_BACKOFF_FIRST_S", 0.05)
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "lab", "right"], check=True)
    broker = Broker(tmp_path, "--password-file", str(passwords))
    try:
        variable = "REACTIVATE_TEST_BROKER"
        config = TelemetryConfig(
            host="127.0.0.1", port=broker.port, username="lab", password_env=variable
        )
        monkeypatch.setenv(variable, "wrong")
        refused = Telemetry(config, "A-1")
        until(lambda: refused.problem, "the refusal is told")
        assert not refused.connected
        assert "wrong" not in refused.problem
        refused.close(timeout_s=10.0)
        monkeypatch.setenv(variable, "right")
        accepted = Telemetry(config, "A-1")
        until(lambda: accepted.connected, "connected")
        accepted.close(timeout_s=10.0)
    finally:
        broker.kill()
