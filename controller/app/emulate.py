"""`reactivate emulate`: the emulated instruments in a process of their own."""

from __future__ import annotations

from pathlib import Path

from controller.domain.errors import nearest, refuse

INSTRUMENTS = ("keithley2450",)


def serve_instrument(
    instrument: str, *, tcp: str, speed: float, state: Path | None, seed: int, preset: str
) -> None:
    """Serve until Ctrl-C.

    Raises
    ------
    ConfigurationError
        Unknown instrument or an address that is not HOST:PORT.
    """
    from hil.server import serve

    if instrument not in INSTRUMENTS:
        raise refuse(
            "command line",
            "INSTRUMENT",
            f"no emulator for {instrument!r}",
            nearest(instrument, INSTRUMENTS),
        )
    host, colon, port = tcp.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65534:
        raise refuse("command line", "--tcp", f"{tcp!r} is not HOST:PORT", "127.0.0.1:5025")
    if not speed > 0.0:
        raise refuse("command line", "--speed", f"is {speed:g}", "above 0; 1 is real time")
    serve(host, int(port), speed=speed, state_file=state, seed=seed, preset=preset)
