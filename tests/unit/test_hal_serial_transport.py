"""Bytes over pyserial: in loop:// and over a loopback socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from time import monotonic

import pytest

from controller.domain.errors import CyclerConnectionError, CyclerTimeoutError
from controller.hal.serial_transport import SerialTransport


@contextmanager
def _server() -> Iterator[tuple[str, list[socket.socket]]]:
    """Yield the URL of a listening socket and the connections made to it."""
    connections: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            connection, _ = listener.accept()
            connections.append(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"socket://127.0.0.1:{listener.getsockname()[1]}", connections
        thread.join(5.0)
        for connection in connections:
            connection.close()


def _connected(connections: list[socket.socket]) -> socket.socket:
    deadline_s = monotonic() + 5.0
    while not connections:
        assert monotonic() < deadline_s
    return connections[0]


def test_what_is_written_comes_back_line_by_line() -> None:
    with closing(SerialTransport("loop://")) as transport:
        transport.write(b"one\ntwo\nthr")
        assert transport.read_until(b"\n", 1.0) == b"one\n"
        assert transport.read_until(b"\n", 1.0) == b"two\n"
        with pytest.raises(CyclerTimeoutError, match=r"no reply from loop:// within 0\.05 s"):
            transport.read_until(b"\n", 0.05)
        # The unfinished line is kept.
        transport.write(b"ee\n")
        assert transport.read_until(b"\n", 1.0) == b"three\n"


def test_a_terminator_of_two_bytes_may_arrive_in_two_parts() -> None:
    with closing(SerialTransport("loop://")) as transport:
        transport.write(b"abc\r")
        with pytest.raises(CyclerTimeoutError):
            transport.read_until(b"\r\n", 0.02)
        transport.write(b"\nrest\r\n")
        assert transport.read_until(b"\r\n", 1.0) == b"abc\r\n"
        assert transport.read_until(b"\r\n", 1.0) == b"rest\r\n"


def test_a_timeout_is_wall_time() -> None:
    with closing(SerialTransport("loop://")) as transport:
        began_s = monotonic()
        with pytest.raises(CyclerTimeoutError):
            transport.read_until(b"\n", 0.1)
        assert 0.09 <= monotonic() - began_s < 1.0


def test_a_socket_carries_lines_both_ways_without_delay() -> None:
    with _server() as (url, connections), closing(SerialTransport(url)) as transport:
        peer = _connected(connections)
        assert transport.address == url
        transport.write(b"*IDN?\n")
        assert peer.recv(100) == b"*IDN?\n"
        peer.sendall(b"first\nsecond\n")
        assert transport.read_until(b"\n", 1.0) == b"first\n"
        assert transport.read_until(b"\n", 1.0) == b"second\n"
        borrowed = socket.socket(fileno=transport._port.fileno())
        try:
            assert borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        finally:
            borrowed.detach()


def test_a_peer_that_leaves_is_a_lost_connection_with_the_address() -> None:
    with _server() as (url, connections), closing(SerialTransport(url)) as transport:
        peer = _connected(connections)
        peer.sendall(b"par")
        peer.shutdown(socket.SHUT_RDWR)
        with pytest.raises(CyclerConnectionError, match="lost the connection to socket://127"):
            transport.read_until(b"\n", 1.0)


def test_nobody_listening_is_said_with_a_hint() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(CyclerConnectionError, match=rf"cannot open socket://127.0.0.1:{port}") as e:
        SerialTransport(f"socket://127.0.0.1:{port}")
    assert "is the emulator running?" in str(e.value)


@pytest.mark.parametrize("url", ["/dev/no-such-port", "nonsense://x", "socket://", ""])
def test_an_impossible_address_is_a_connection_error(url: str) -> None:
    with pytest.raises(CyclerConnectionError, match="cannot open"):
        SerialTransport(url)


def test_a_closed_transport_says_so_and_closing_twice_is_no_error() -> None:
    transport = SerialTransport("loop://")
    transport.close()
    transport.close()
    with pytest.raises(CyclerConnectionError):
        transport.write(b"x\n")
    with pytest.raises(CyclerConnectionError):
        transport.read_until(b"\n", 0.05)


def test_bytes_without_an_end_of_line_do_not_grow_for_ever() -> None:
    with _server() as (url, connections), closing(SerialTransport(url)) as transport:
        peer = _connected(connections)
        flood = threading.Thread(target=peer.sendall, args=(b"x" * 200_000,))
        flood.start()
        with pytest.raises(CyclerTimeoutError, match="without an end of line"):
            transport.read_until(b"\n", 5.0)
        for _ in range(20):
            try:
                transport.read_until(b"\n", 0.01)
            except CyclerTimeoutError:
                continue
        flood.join(5.0)
        assert not flood.is_alive()
        assert len(transport._buffer) <= 70_000


def test_a_write_from_another_thread_does_not_wait_for_a_reader() -> None:
    with _server() as (url, connections), closing(SerialTransport(url)) as transport:
        peer = _connected(connections)
        replies: list[bytes] = []
        reader = threading.Thread(
            target=lambda: replies.append(transport.read_until(b"\n", 5.0)), daemon=True
        )
        reader.start()
        transport.write(b"\n:ABOR;:OUTP OFF\n")
        assert peer.recv(100) == b"\n:ABOR;:OUTP OFF\n"
        assert reader.is_alive()
        peer.sendall(b"late\n")
        reader.join(5.0)
        assert replies == [b"late\n"]
