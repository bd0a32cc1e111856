"""Become a mosquitto broker on loopback, for tests.

Writes a configuration into DIRECTORY, prints the port on one line and then *is* the broker (the
process is replaced), so whoever started it stops it by its own handle. A broker that the system
runs is not touched. With ``--install`` Debian's packages are installed first where they are missing
and may be (root, apt-get). Exit code 77: mosquitto cannot be had here.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

UNAVAILABLE = 77
# Nothing is kept over a restart; acknowledgements leave at once.
CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous {anonymous}
{passwords}
{user}
persistence false
set_tcp_nodelay true
log_dest stderr
"""


def find_mosquitto() -> str | None:
    """Return the broker's path; Debian keeps it where a user's PATH does not look."""
    return shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def install() -> None:
    """Install Debian's broker and command-line clients, quietly, if that is possible."""
    apt_get = shutil.which("apt-get")
    if apt_get is None or not hasattr(os, "geteuid") or os.geteuid() != 0:
        return
    for arguments in (
        ["update", "-qq"],
        ["install", "-y", "-qq", "mosquitto", "mosquitto-clients"],
    ):
        subprocess.run(
            [apt_get, *arguments], check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


def free_port() -> int:
    """Return a TCP port of loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> int:
    """Run; comes back only if there is no broker."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--port", type=int, default=0, help="0: a free one")
    parser.add_argument("--password-file", type=Path, help="made by mosquitto_passwd")
    parser.add_argument("--install", action="store_true")
    given = parser.parse_args()
    if given.install and (find_mosquitto() is None or shutil.which("mosquitto_sub") is None):
        install()
    broker = find_mosquitto()
    if broker is None:
        sys.stderr.write("mosquitto is not installed\n")
        return UNAVAILABLE
    port = given.port or free_port()
    passwords = f"password_file {given.password_file}" if given.password_file else ""
    # Started by root the broker would become another user, who may not enter DIRECTORY.
    user = "user root" if os.geteuid() == 0 else ""
    configuration = given.directory / "mosquitto.conf"
    configuration.write_text(
        CONFIGURATION.format(
            port=port,
            anonymous="false" if passwords else "true",
            passwords=passwords,
            user=user,
        ),
        encoding="utf-8",
    )
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    # No shell is wanted between the caller's handle and the broker.
    return os.execv(broker, [broker, "-c", str(configuration)])  # noqa: S606 -- our own configuration, no shell


if __name__ == "__main__":
    sys.exit(main())
