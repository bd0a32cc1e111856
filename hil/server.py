"""The emulated instruments behind TCP, in a process of their own.

Wall time times `speed` is plant time. A background tick moves the plant when no bytes come, so
that the trigger model (the dead-man) acts on time whether or not anybody is connected. The state
file is for tests and reports; no controller reads it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import math
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from controller.domain.errors import ConfigurationError, InvariantError, refuse
from hil.bench import kept_cell, preset_port, take_up_cell
from hil.instruments.keithley2450 import EmulatedKeithley2450, OutputChange
from hil.instruments.thermometer import EmulatedThermometer
from hil.plant import load_plant

STATE_SCHEMA: Final = 1
TICK_S: Final = 0.02  # wall
STATE_PERIOD_S: Final = 0.5  # wall; at least once a second
REPLY_RESOLUTION_S: Final = 0.001  # wall; shorter waits are not waited
PORT_ATTEMPTS: Final = 100
REPLACE_ATTEMPTS: Final = 20
SPEED_RANGE: Final = (1e-3, 1e6)
AMBIENT_K: Final = 298.15

_log = logging.getLogger(__name__)


class ScaledClock:
    """Plant time: wall time since the start times `speed`.

    Parameters
    ----------
    speed : float
    start_s : float
        Plant time at the start.
    """

    def __init__(self, speed: float, start_s: float) -> None:
        self._speed = speed
        self._start_s = start_s
        self._wall_s = perf_counter()

    def now_s(self) -> float:
        """Return plant seconds."""
        return self._start_s + (perf_counter() - self._wall_s) * self._speed


class EmulatorServer:
    """Source-measure unit on one port, thermometer on the next, one cell between them.

    Parameters
    ----------
    host : str
        A loopback address, unless `allow_remote`.
    port : int
        Of the source-measure unit; the thermometer has the next one. 0 takes a free pair.
    speed : float
    state_file : Path or None
        Continued when it exists: the cell as it was, settings as stored, output off.
    seed, preset
        Which cell and which instrument errors; must agree with the state file.
    plant : str or None
        ``MODULE:FACTORY`` instead of the preset (`hil.plant`); must agree with the state file.
    allow_remote : bool

    Raises
    ------
    ConfigurationError
        Host, port, speed, preset, plant or state file cannot be used.
    """

    def __init__(  # noqa: PLR0913 - where it listens and what it emulates, by keyword
        self,
        host: str,
        port: int,
        *,
        speed: float = 1.0,
        state_file: Path | None = None,
        seed: int = 0,
        preset: str = "anode-free",
        plant: str | None = None,
        allow_remote: bool = False,
    ) -> None:
        if not SPEED_RANGE[0] <= speed <= SPEED_RANGE[1]:
            raise refuse("emulator", "speed", f"{speed!r} is outside {SPEED_RANGE}")
        if not allow_remote and not _is_loopback(host):
            raise refuse("emulator", "host", f"{host!r} is not a loopback address", "127.0.0.1")
        stored = _read_state(state_file, preset=preset, plant=plant, seed=seed)
        self.preset = preset
        self.plant = plant
        self.seed = seed
        self.speed = speed
        self._state_file = state_file
        self._clock = ScaledClock(speed, float(stored["sim_time_s"]) if stored else 0.0)
        if plant is None:
            self.port = preset_port(preset, seed, AMBIENT_K)
        else:
            self.port = load_plant(plant, seed=seed, temperature_K=AMBIENT_K)
        self.cell = self.port.plant
        if stored:
            take_up_cell(self.port, stored, str(state_file))
        firmware = f"emulated speed={speed:g}"
        self.smu = EmulatedKeithley2450(
            self.port,
            self._clock,
            ambient_K=AMBIENT_K,
            seed=seed,
            off_mode="HIMP",
            firmware=firmware,
        )
        if stored:
            self.smu.know_temperature(float(stored.get("temperature_K", AMBIENT_K)))
            self.smu.power_cycle(stored["settings"])
            history = [OutputChange(float(t), bool(on), str(c)) for t, on, c in stored["output"]]
            if stored["output_on"]:
                history.append(OutputChange(float(stored["sim_time_s"]), on=False, cause="power"))
            self.smu.output_history.extend(history)
        self.thermometer = EmulatedThermometer(
            self.smu, self._clock, seed=seed, catch_up=self.smu.tick, firmware=firmware
        )
        self._sockets = _bind_pair(host, port)
        self._written_s = -math.inf
        self._written_changes = (-1, -1)
        self._clients = {"keithley2450": 0, "thermometer": 0}
        self.write_state()

    @property
    def ports(self) -> tuple[int, int]:
        """Ports of the source-measure unit and of the thermometer."""
        return self._sockets[0].getsockname()[1], self._sockets[1].getsockname()[1]

    def state(self) -> dict[str, Any]:
        """Return everything that is written to the state file."""
        smu = self.smu
        return {
            "schema": STATE_SCHEMA,
            "preset": self.preset,
            "seed": self.seed,
            "speed": self.speed,
            "sim_time_s": smu.time_s,
            **kept_cell(self.port),
            "temperature_K": smu.temperature_K,
            "settings": smu.saved_settings(),
            "output_on": smu.output_on,
            "output": [list(change) for change in smu.output_history],
            "truth": smu.truth(),
        }

    def write_state(self) -> None:
        """Replace the state file in one move; nobody ever reads half of one."""
        self._written_s = perf_counter()
        self._written_changes = (self.smu.change_count, len(self.smu.output_history))
        if self._state_file is None:
            return
        path = self._state_file
        temporary = path.with_name(path.name + ".new")
        temporary.write_text(json.dumps(self.state(), allow_nan=False), encoding="utf-8")
        for attempt in range(REPLACE_ATTEMPTS):
            try:
                temporary.replace(path)
            except PermissionError:  # Windows, while somebody reads it
                if attempt == REPLACE_ATTEMPTS - 1:
                    raise
                threading.Event().wait(0.005)
            else:
                return

    def close(self) -> None:
        """Give the ports back; for a server that is not run."""
        for listener in self._sockets:
            listener.close()

    async def run(self, ready: Callable[[], None] | None = None) -> None:
        """Serve until cancelled.

        Parameters
        ----------
        ready : callable, optional
            Called once both ports answer.
        """
        smu = await asyncio.start_server(
            lambda r, w: self._serve_client(self.smu, "keithley2450", r, w), sock=self._sockets[0]
        )
        thermometer = await asyncio.start_server(
            lambda r, w: self._serve_client(self.thermometer, "thermometer", r, w),
            sock=self._sockets[1],
        )
        try:
            if ready is not None:
                ready()
            await self._tick_for_ever()
        finally:
            smu.close()
            thermometer.close()
            self.smu.tick()
            self.write_state()

    async def _tick_for_ever(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.smu.tick()
            if self.smu.plant_failure:  # may have shown in a client's exchange
                raise InvariantError(self.smu.plant_failure)
            switched = len(self.smu.output_history) != self._written_changes[1]
            if switched or perf_counter() - self._written_s >= STATE_PERIOD_S:
                self.write_state()

    async def _serve_client(
        self,
        instrument: EmulatedKeithley2450 | EmulatedThermometer,
        name: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._clients[name] += 1
        if self._clients[name] > 1:
            _log.warning("another client on %s: %d connected", name, self._clients[name])
        try:
            while data := await reader.read(65536):
                await self._exchange(instrument, data, writer)
        except ConnectionError as error:
            _log.info("client of %s went away: %s", name, error)
        finally:
            self._clients[name] -= 1
            writer.close()

    async def _exchange(
        self,
        instrument: EmulatedKeithley2450 | EmulatedThermometer,
        data: bytes,
        writer: asyncio.StreamWriter,
    ) -> None:
        instrument.receive(data)
        # The replies are this client's; take them before anybody else gets a turn.
        replies = list(instrument.replies)
        instrument.replies.clear()
        changes = (self.smu.change_count, len(self.smu.output_history))
        if changes != self._written_changes:
            self.write_state()
        for ready_s, reply in replies:
            wait_s = (ready_s - self._clock.now_s()) / self.speed
            if wait_s > REPLY_RESOLUTION_S:
                await asyncio.sleep(wait_s)
            writer.write(reply)
            await writer.drain()


def serve(  # noqa: PLR0913 - see EmulatorServer
    host: str,
    port: int,
    *,
    speed: float = 1.0,
    state_file: Path | None = None,
    seed: int = 0,
    preset: str = "anode-free",
    plant: str | None = None,
    allow_remote: bool = False,
) -> None:
    """Serve until interrupted; say on standard output where, and what the plant cannot do.

    Parameters and errors as of `EmulatorServer`.
    """
    server = EmulatorServer(
        host,
        port,
        speed=speed,
        state_file=state_file,
        seed=seed,
        preset=preset,
        plant=plant,
        allow_remote=allow_remote,
    )
    smu_port, thermometer_port = server.ports

    def announce() -> None:
        sys.stdout.write(
            f"listening on {host}:{smu_port} (keithley2450) and "
            f"{host}:{thermometer_port} (thermometer), speed {speed:g}\n"
        )
        for line in _shortcomings(server):
            sys.stdout.write(f"note: {line}\n")
        sys.stdout.flush()

    try:
        asyncio.run(server.run(announce))
    except KeyboardInterrupt:
        sys.stdout.write("stopped; output off\n")
    finally:
        for line in server.smu.notes():
            sys.stdout.write(f"note: {line}\n")


def _shortcomings(server: EmulatorServer) -> list[str]:
    """Return what the plant does not allow, said at the start."""
    reason = server.port.why_not_stored()
    found = server.smu.notes()
    return [*found, f"a restart cannot go on from the state file: {reason}"] if reason else found


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        if os.name == "posix":  # elsewhere the option lets a second process take a port in use
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except OSError:
        listener.close()
        raise
    return listener


def _bind_pair(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Return listening sockets on two neighbouring ports."""
    if not 0 <= port <= 65534:
        raise refuse("emulator", "port", f"{port!r} is outside 0..65534", "0 takes a free pair")
    reason: OSError | None = None
    for _ in range(PORT_ATTEMPTS if port == 0 else 1):
        try:
            first = _listen(host, port)
        except OSError as error:
            reason = error
            continue
        number = first.getsockname()[1]
        try:
            return first, _listen(host, number + 1)
        except (OSError, OverflowError) as error:
            first.close()
            reason = error if isinstance(error, OSError) else None
    raise refuse("emulator", "port", f"{port} or {port + 1} cannot be used: {reason}", "0")


def _read_state(
    path: Path | None, *, preset: str, plant: str | None, seed: int
) -> dict[str, Any] | None:
    """Return a stored state, checked; None where there is none yet."""
    if path is None:
        return None
    if not path.parent.is_dir():
        raise refuse(str(path), "", "its folder does not exist")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    try:
        stored = json.loads(text)
        if stored["schema"] != STATE_SCHEMA:
            raise refuse(str(path), "schema", f"{stored['schema']!r} is unknown", "1")
        missing = {"sim_time_s", "cell", "settings", "output", "output_on"} - set(stored)
        if missing:
            raise refuse(str(path), ", ".join(sorted(missing)), "missing")
        held = (stored.get("plant", stored["preset"]), stored["seed"])
        wanted = (plant or preset, seed)
        if held != wanted:
            raise refuse(
                str(path),
                "plant" if plant else "preset",
                f"holds cell {held[0]!r} with seed {held[1]!r}, "
                f"not {wanted[0]!r} with seed {wanted[1]!r}",
                "give the same, or another state file",
            )
    except ConfigurationError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        raise refuse(str(path), "", f"is no state of this emulator: {error}") from error
    checked: dict[str, Any] = stored
    return checked
