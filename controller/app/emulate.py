"""`reactivate emulate`: the emulated instruments in a process of their own."""

from __future__ import annotations

from pathlib import Path

from controller.domain.errors import nearest, refuse

INSTRUMENTS = ("keithley2450",)
DEFAULT_PRESET = "anode-free"


def serve_instrument(
    instrument: str,
    *,
    tcp: str,
    speed: float,
    state: Path | None,
    seed: int,
    preset: str | None,
    plant: str | None,
) -> None:
    """Serve until Ctrl-C one of our cells or the plant that ``MODULE:FACTORY`` names.

    Raises
    ------
    ConfigurationError
        Unknown instrument or preset, an address that is not HOST:PORT, or a plant that cannot be
        used.
    """
    from hil.cell import cell_names
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
    if plant is not None and preset is not None:
        raise refuse(
            "command line", "--plant", f"{plant!r} beside --preset {preset!r}", "one of them"
        )
    if preset is not None and not preset.endswith(".toml") and preset not in cell_names():
        raise refuse(
            "command line",
            "--preset",
            f"no simulated cell {preset!r}",
            nearest(preset, cell_names()),
        )
    serve(
        host,
        int(port),
        speed=speed,
        state_file=state,
        seed=seed,
        preset=preset or DEFAULT_PRESET,
        plant=plant,
    )
