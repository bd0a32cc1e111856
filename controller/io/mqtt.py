"""Telemetry over MQTT: one way out, and nothing in the run ever waits for it.

The loop hands objects over by plain assignment or by a bounded queue and goes on (well under a
microsecond). A thread of its own turns them into JSON and publishes them with aiomqtt. A broker
that is absent, slow or lost costs messages, which are counted, and nothing else.

Topics, below ``<prefix>/<channel>/``: ``availability`` (``online`` or ``offline``, retained, the
latter also as last will), ``state`` (retained), ``sample``, ``cycle``, ``event``. See
``docs/formats.md``.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import socket
import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import aiomqtt

from controller.domain.errors import ConfigurationError, Fault
from controller.domain.events import Event, JsonScalar
from controller.domain.figures import CycleFigures
from controller.domain.sample import Sample

SCHEMA: Final = 1
# Cycles and events that wait for a broker before the oldest are dropped.
QUEUE_LENGTH: Final = 1000
# How often the thread looks for something to send (s): the longest delay of an event.
_LOOK_PERIOD_S: Final = 0.1
# Longest wait for the broker's answer to one message, and for a connection (s).
_TIMEOUT_S: Final = 5.0
# Without traffic for this long the client asks whether the broker is there (s).
_KEEPALIVE_S: Final = 15
# Waits between attempts to connect double from the first to the longest (s).
_BACKOFF_FIRST_S: Final = 1.0
_BACKOFF_LONGEST_S: Final = 30.0
# Without it, acknowledged messages take 44 ms instead of 1 ms on loopback (Nagle's algorithm
# against delayed acknowledgement); the broker needs ``set_tcp_nodelay true`` likewise.
_NO_DELAY: Final = (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TelemetryConfig:
    """Where telemetry goes.

    Attributes
    ----------
    host : str
    port : int
    username : str or None
    password_env : str or None
        Name of the environment variable that holds the password; it stands nowhere else. The
        connection is not encrypted: use it within the laboratory's network.
    prefix : str
        First level or levels of every topic.
    qos : int
        0 (send and forget) or 1 (acknowledged by the broker).
    sample_period_s : float
        Samples are published at most this often (s, wall time); the newest wins.

    Raises
    ------
    ConfigurationError
        Lists every value that cannot be.
    """

    host: str
    port: int = 1883
    username: str | None = None
    password_env: str | None = None
    prefix: str = "reactivate"
    qos: int = 1
    sample_period_s: float = 0.5

    def __post_init__(self) -> None:
        checks = (
            ("host", self.host, 0 < len(self.host) < 254, "a host name or address"),
            ("port", self.port, 0 < self.port < 65_536, "1 to 65535"),
            ("prefix", self.prefix, _is_topic(self.prefix), "words joined by /, without + # $"),
            ("qos", self.qos, self.qos in {0, 1}, "0 or 1"),
            (
                "sample_period_s",
                self.sample_period_s,
                0.0 < self.sample_period_s < math.inf,
                "a time above 0 s",
            ),
            (
                "password_env",
                self.password_env,
                self.password_env is None or self.username is not None,
                "give username too",
            ),
        )
        faults = [
            Fault(
                where="run file",
                key=f"mqtt.{key}",
                problem=f"{value!r} is not possible",
                remedy=remedy,
            )
            for key, value, right, remedy in checks
            if not right
        ]
        if faults:
            raise ConfigurationError(faults)


def _is_topic(text: str) -> bool:
    """Return whether `text` can stand at the head of a topic that is published to."""
    clean = not any(mark in text for mark in "+#\0") and text.isprintable()
    return clean and not text.startswith("$") and all(text.split("/")) and len(text) < 1000


def _password(config: TelemetryConfig) -> str | None:
    if config.password_env is None:
        return None
    password = os.environ.get(config.password_env)
    if not password:
        raise ConfigurationError(
            [
                Fault(
                    where="run file",
                    key="mqtt.password_env",
                    problem=f"the environment variable {config.password_env!r} is not set",
                    remedy="set it to the broker's password before the start",
                )
            ]
        )
    return password


def _finite(value: object) -> object:
    """Return `value` with NaN and infinities as None, which JSON can say."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def _payload(document: Mapping[str, object]) -> str:
    return json.dumps({"schema": SCHEMA, **document}, default=str, allow_nan=False)


class Telemetry:
    """Publishes one channel's telemetry from a thread of its own.

    No ``publish_*`` method waits or raises. They are called from one thread.

    Parameters
    ----------
    config : TelemetryConfig
    channel : str
        One level of the topic: names the channel or the cell.

    Raises
    ------
    ConfigurationError
        A channel that cannot stand in a topic, or a password variable that is not set.
    """

    __slots__ = (
        "_channel",
        "_config",
        "_connected",
        "_dropped",
        "_password",
        "_problem",
        "_queue",
        "_sample",
        "_state",
        "_stop",
        "_thread",
        "_unsent",
    )

    def __init__(self, config: TelemetryConfig, channel: str) -> None:
        if not _is_topic(channel) or "/" in channel:
            raise ConfigurationError(
                [
                    Fault(
                        where="run file",
                        key="mqtt.channel",
                        problem=f"{channel!r} cannot stand in a topic",
                        remedy="one word without / + # $",
                    )
                ]
            )
        self._config = config
        self._channel = channel
        self._password = _password(config)
        self._queue: deque[tuple[str, CycleFigures | Event]] = deque(maxlen=QUEUE_LENGTH)
        self._unsent: tuple[str, CycleFigures | Event] | None = None
        self._sample: tuple[Sample, int] | None = None
        self._state: dict[str, JsonScalar] | None = None
        self._connected = False
        self._problem = ""
        self._dropped = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"mqtt {channel}", daemon=True)
        self._thread.start()

    # --- the run's side ---

    @property
    def connected(self) -> bool:
        """Whether a broker takes messages now."""
        return self._connected

    @property
    def dropped(self) -> int:
        """How many cycles and events were given up because no broker took them in time."""
        return self._dropped

    @property
    def waiting(self) -> int:
        """How many cycles and events have not been sent yet."""
        return len(self._queue) + (self._unsent is not None)

    @property
    def problem(self) -> str:
        """Why the last connection failed or ended; empty if none did."""
        return self._problem

    def publish_state(self, state: Mapping[str, JsonScalar]) -> None:
        """Publish the state (retained); only the newest counts. Keys carry units."""
        self._state = dict(state)

    def publish_sample(self, sample: Sample, cycle: int) -> None:
        """Publish a reading; one that is followed by another before it is sent is not sent."""
        self._sample = (sample, cycle)

    def publish_cycle(self, figures: CycleFigures) -> None:
        """Publish a closed cycle's figures."""
        self._put("cycle", figures)

    def publish_event(self, event: Event) -> None:
        """Publish an event."""
        self._put("event", event)

    def close(self, timeout_s: float = 2.0) -> bool:
        """Send what waits, say ``offline``, end the thread.

        Parameters
        ----------
        timeout_s : float
            Longest wait (s). A thread that is still waiting for a dead broker then ends by
            itself later, and never keeps the process from ending for more than its own timeouts.

        Returns
        -------
        bool
            Whether the thread has ended.
        """
        self._stop.set()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _put(self, topic: str, item: CycleFigures | Event) -> None:
        if len(self._queue) == QUEUE_LENGTH:
            self._dropped += 1  # the queue gives up its oldest
        self._queue.append((topic, item))

    # --- the thread's side ---

    def _run(self) -> None:
        backoff_s = _BACKOFF_FIRST_S
        while True:
            reached = self._connect_once()
            backoff_s = _BACKOFF_FIRST_S if reached else min(2 * backoff_s, _BACKOFF_LONGEST_S)
            if self._stop.wait(backoff_s):
                return

    def _connect_once(self) -> bool:
        """Connect and publish until the connection ends or `close`; return whether it was made.

        Each attempt has an event loop of its own, so that nothing of a failed one stays behind.
        The loop is a selector loop: aiomqtt cannot use the one that Windows makes by default.
        """
        sockets: list[socket.socket] = []
        reached = False
        try:
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                try:
                    runner.run(self._session(sockets))
                finally:
                    reached = self._connected
                    self._connected = False
        except (aiomqtt.MqttError, OSError, UnicodeError) as error:
            self._problem = str(error) or type(error).__name__
        finally:
            for opened in sockets:
                opened.close()
        return reached

    def _topic(self, name: str) -> str:
        return f"{self._config.prefix}/{self._channel}/{name}"

    async def _session(self, sockets: list[socket.socket]) -> None:
        """Publish over one connection until it breaks (raises `MqttError`) or `close` is called."""
        config = self._config
        availability = self._topic("availability")
        client = aiomqtt.Client(
            config.host,
            config.port,
            username=config.username,
            password=self._password,
            will=aiomqtt.Will(availability, "offline", qos=1, retain=True),
            timeout=_TIMEOUT_S,
            keepalive=_KEEPALIVE_S,
            socket_options=[_NO_DELAY],
        )
        try:
            async with client:
                self._connected = True
                await client.publish(availability, "online", qos=1, retain=True)
                watcher = asyncio.create_task(self._watch(client))
                sender = asyncio.create_task(self._send(client))
                try:
                    await asyncio.wait({watcher, sender}, return_when=asyncio.FIRST_COMPLETED)
                    if sender.done():
                        sender.result()
                        await client.publish(availability, "offline", qos=1, retain=True)
                    else:
                        watcher.result()
                finally:
                    watcher.cancel()
                    sender.cancel()
                    await asyncio.gather(watcher, sender, return_exceptions=True)
        finally:
            # aiomqtt 2.5 leaves the socket open when the broker accepts and never answers.
            left = client._client.socket()  # noqa: SLF001 - there is no public way to it
            if isinstance(left, socket.socket):
                sockets.append(left)

    @staticmethod
    async def _watch(client: aiomqtt.Client) -> None:
        """Raise `MqttError` as soon as the connection is lost, also when nothing is sent."""
        async for _ in client.messages:
            pass

    async def _send(self, client: aiomqtt.Client) -> None:
        """Publish what is there, look again, until `close`."""
        config = self._config
        loop = asyncio.get_running_loop()
        sent_state: dict[str, JsonScalar] | None = None  # a new broker is told the state again
        sent_sample: tuple[Sample, int] | None = None
        sample_due_s = loop.time()
        while True:
            last_round = self._stop.is_set()
            state = self._state
            if state is not None and state is not sent_state:
                await self._publish(client, "state", state, retain=True)
                sent_state = state
            sample = self._sample
            now_s = loop.time()
            if sample is not None and sample is not sent_sample and now_s >= sample_due_s:
                fields: dict[str, Any] = sample[0]._asdict()
                await self._publish(client, "sample", {**fields, "cycle": sample[1]})
                sent_sample = sample
                sample_due_s = now_s + config.sample_period_s
            while (item := self._unsent or self._next()) is not None:
                self._unsent = item  # kept for the next connection if this one breaks
                await self._publish(client, item[0], asdict(item[1]))
                self._unsent = None
            if last_round:
                return
            await asyncio.sleep(_LOOK_PERIOD_S)

    def _next(self) -> tuple[str, CycleFigures | Event] | None:
        try:
            return self._queue.popleft()
        except IndexError:
            return None

    async def _publish(
        self,
        client: aiomqtt.Client,
        name: str,
        document: Mapping[str, object],
        *,
        retain: bool = False,
    ) -> None:
        payload = _payload({key: _finite(value) for key, value in document.items()})
        await client.publish(self._topic(name), payload, qos=self._config.qos, retain=retain)
