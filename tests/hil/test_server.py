"""The same instruments over loopback: a process, a state file, a dead-man without a host."""

from __future__ import annotations

import asyncio
import json
import logging
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from controller.domain.errors import ConfigurationError
from hil.server import EmulatorServer

SPEED = 1000.0
Body = Callable[[EmulatorServer], Awaitable[None]]


def with_server(body: Body, state_file: Path | None = None, speed: float = SPEED) -> EmulatorServer:
    """Serve on free loopback ports while `body` runs."""
    server = EmulatorServer("127.0.0.1", 0, speed=speed, state_file=state_file, seed=2)

    async def main() -> None:
        ready = asyncio.Event()
        running = asyncio.create_task(server.run(ready.set))
        await ready.wait()
        try:
            await asyncio.wait_for(body(server), 20.0)
        finally:
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running

    asyncio.run(main())
    return server


class Client:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def ask(self, text: str) -> str:
        self._writer.write(text.encode() + b"\n")
        return (await asyncio.wait_for(self._reader.readline(), 5.0)).decode().strip()

    def send(self, *lines: str) -> None:
        for line in lines:
            self._writer.write(line.encode() + b"\n")

    async def close(self) -> None:
        self._writer.close()
        await self._writer.wait_closed()


def charge_lines(dead_man_s: float) -> tuple[str, ...]:
    return (
        ":SOUR:FUNC VOLT;:SOUR:VOLT:RANG 20;:SOUR:VOLT 4.3;:SOUR:VOLT:ILIM 1e-3",
        ':SENS:FUNC "CURR";:SENS:CURR:RANG 0.01;:SENS:CURR:RSEN ON',
        ":OUTP ON",
        ':TRIG:LOAD "Empty";:TRIG:BLOC:MEAS 1,"defbuffer1",INF',
        f":TRIG:BLOC:DEL:CONS 2,{dead_man_s};:TRIG:BLOC:BRAN:EVEN 3,COMM,2",
        ":TRIG:BLOC:SOUR:STAT 4,OFF;:INIT",
    )


def stored(path: Path) -> dict[str, object]:
    return json.loads(path.read_text(encoding="utf-8"))


async def until(condition: Callable[[], bool]) -> None:
    """Wait in small steps, at most 5 s."""
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("never came true")


def test_identity_tells_that_it_is_emulated_and_how_fast():
    async def body(server: EmulatorServer) -> None:
        smu_port, thermometer_port = server.ports
        assert thermometer_port == smu_port + 1
        smu = await Client.connect(smu_port)
        maker, model, serial, firmware = (await smu.ask("*IDN?")).split(",")
        assert (maker, model) == ("KEITHLEY INSTRUMENTS", "MODEL 2450")
        assert serial.startswith("EMULATED")
        assert firmware == "emulated speed=1000"
        thermometer = await Client.connect(thermometer_port)
        assert "MODEL DAQ6510,EMULATED" in await thermometer.ask("*IDN?")
        thermometer.send(
            ':SENS:FUNC "TEMP";:SENS:TEMP:TRAN THER;:SENS:TEMP:THER 10000;:UNIT:TEMP CEL'
        )
        assert float(await thermometer.ask(":READ?")) == pytest.approx(25.0, abs=0.2)
        await smu.close()
        await thermometer.close()

    with_server(body)


def test_dead_man_acts_without_bytes_and_the_state_file_shows_it(tmp_path):
    path = tmp_path / "cell.json"

    async def body(server: EmulatorServer) -> None:
        client = await Client.connect(server.ports[0])
        client.send(*charge_lines(100.0))
        assert await client.ask(":OUTP?;:SYST:ERR?") == '1;0,"No error"'
        # Written before that reply left.
        assert stored(path)["output_on"] is True
        armed_s = server.smu.time_s
        await client.close()
        await until(lambda: not stored(path)["output_on"])
        t_s, on, cause = stored(path)["output"][-1]
        assert (on, cause) == (False, "trigger block")
        assert 95.0 <= t_s - armed_s <= 201.0
        truth = stored(path)["truth"]
        assert truth["charge_in_mAh"] == pytest.approx(1e-3 / 3.6 * 100.0, rel=0.2)
        assert truth["terminal_current_A"] == 0.0

    with_server(body, path)


def test_a_state_change_is_in_the_file_before_the_reply_leaves(tmp_path):
    path = tmp_path / "cell.json"

    async def body(server: EmulatorServer) -> None:
        client = await Client.connect(server.ports[0])
        for limit_A in (1e-3, 2e-3, 3e-3):
            assert float(await client.ask(f":SOUR:VOLT:ILIM {limit_A};:SOUR:VOLT:ILIM?")) == limit_A
            assert stored(path)["settings"]["current_limit_A"] == limit_A
        await client.close()

    with_server(body, path)


def test_the_file_moves_on_by_itself(tmp_path):
    path = tmp_path / "cell.json"

    async def body(server: EmulatorServer) -> None:
        first_s = stored(path)["sim_time_s"]
        await until(lambda: stored(path)["sim_time_s"] > first_s + 100.0)

    with_server(body, path)


def test_a_restart_goes_on_where_it_was_with_the_output_off(tmp_path):
    path = tmp_path / "cell.json"

    async def charge(server: EmulatorServer) -> None:
        client = await Client.connect(server.ports[0])
        client.send(*charge_lines(5000.0))
        assert await client.ask(":OUTP?") == "1"
        await until(lambda: server.smu.truth()["charge_in_mAh"] > 0.02)
        await client.close()

    before = with_server(charge, path)
    kept = stored(path)
    assert kept["output_on"] is True

    async def look(server: EmulatorServer) -> None:
        client = await Client.connect(server.ports[0])
        assert await client.ask(":OUTP?;:TRIG:STAT?;:SOUR:VOLT:ILIM?") == (
            "0;EMPTY;EMPTY;0;1.000000E-03"
        )
        assert await client.ask(":OUTP:VOLT:SMOD?") == "HIMP"
        await client.close()

    after = with_server(look, path)
    assert after.smu.truth()["charge_in_mAh"] == before.smu.truth()["charge_in_mAh"]
    assert after.smu.time_s >= kept["sim_time_s"]
    assert after.cell.lithium_mAh() == pytest.approx(before.cell.lithium_mAh(), abs=1e-9)
    assert stored(path)["output"][-1][1:] == [False, "power"]


def test_a_second_client_is_served_and_noted(caplog):
    async def body(server: EmulatorServer) -> None:
        first = await Client.connect(server.ports[0])
        assert await first.ask("*LANG?") == "SCPI"
        second = await Client.connect(server.ports[0])
        second.send(":SOUR:VOLT:ILIM 7e-3")
        assert await second.ask("*LANG?") == "SCPI"
        assert float(await first.ask(":SOUR:VOLT:ILIM?")) == 7e-3
        await first.close()
        await second.close()

    with caplog.at_level(logging.WARNING, logger="hil.server"):
        with_server(body)
    assert "another client on keithley2450" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"host": "192.0.2.1"}, "loopback"),
        ({"host": "example.org"}, "loopback"),
        ({"speed": 0.0}, "speed"),
        ({"speed": float("nan")}, "speed"),
        ({"port": -1}, "port"),
        ({"port": 65535}, "port"),
        ({"preset": "anode-fre"}, "did you mean 'anode-free'"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(arguments, word):
    options = {"host": "127.0.0.1", "port": 0, **arguments}
    with pytest.raises(ConfigurationError, match=word):
        EmulatorServer(options.pop("host"), options.pop("port"), **options)


def test_a_port_in_use_is_refused():
    server = EmulatorServer("127.0.0.1", 0)
    try:
        with pytest.raises(ConfigurationError, match="cannot be used"):
            EmulatorServer("127.0.0.1", server.ports[0])
    finally:
        server.close()


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "no state"),
        ("[]", "no state"),
        ('{"schema": 99}', "schema"),
        ('{"schema": 1, "preset": "anode-free", "seed": 0}', "missing"),
        (
            json.dumps(
                {
                    "schema": 1,
                    "preset": "anode-free",
                    "seed": 5,
                    "sim_time_s": 0,
                    "cell": [],
                    "settings": {},
                    "output": [],
                    "output_on": False,
                }
            ),
            "seed 5",
        ),
    ],
)
def test_a_state_file_that_is_not_ours_is_refused_and_left_alone(tmp_path, text, word):
    path = tmp_path / "cell.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=word):
        EmulatorServer("127.0.0.1", 0, state_file=path)
    assert path.read_text(encoding="utf-8") == text


def test_a_state_file_in_no_folder_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="folder"):
        EmulatorServer("127.0.0.1", 0, state_file=tmp_path / "nowhere" / "cell.json")


def test_as_a_process_it_says_where_it_listens():
    code = "from hil.server import serve; serve('127.0.0.1', 0, speed=50)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
    finally:
        process.kill()
        process.communicate()
    words = line.split()
    assert words[:2] == ["listening", "on"]
    smu_port, thermometer_port = (int(words[i].rpartition(":")[2]) for i in (2, 5))
    assert thermometer_port == smu_port + 1
    assert line.endswith("speed 50\n")
