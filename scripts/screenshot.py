"""Take a PNG of a page: ``python scripts/screenshot.py URL-or-file OUT.png``.

Uses headless Chromium, found on the PATH or through the environment variable ``CHROMIUM``.
Options: ``--width PX`` (1280), ``--height PX`` (1000), ``--dark``. What the page writes to its
console goes to standard error.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--enable-logging=stderr",
)
TIMEOUT_S = 60.0


def find_chromium() -> str | None:
    """Return the path of a Chromium, None if there is none."""
    named = os.environ.get("CHROMIUM")
    if named:
        return named
    return next((path for path in map(shutil.which, NAMES) if path), None)


def address_of(page: str) -> str:
    """Return a URL; a path becomes a file URL."""
    return page if "://" in page else Path(page).resolve().as_uri()


def run_chromium(page: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Open `page` with a profile of its own, which is deleted afterwards.

    Raises
    ------
    FileNotFoundError
        No Chromium.
    subprocess.TimeoutExpired
        It did not end within a minute.
    """
    chromium = find_chromium()
    if chromium is None:
        raise FileNotFoundError("no Chromium on the PATH; install it or set CHROMIUM")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        return subprocess.run(
            [chromium, *FLAGS, f"--user-data-dir={profile}", *options, address_of(page)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )


def screenshot(page: str, target: Path, *, width: int, height: int, dark: bool = False) -> str:
    """Write a PNG of `page` to `target` and return what Chromium wrote to standard error."""
    options = [f"--window-size={width},{height}", f"--screenshot={target.resolve()}"]
    if dark:
        options.append("--blink-settings=preferredColorScheme=0")
    done = run_chromium(page, *options)
    if done.returncode != 0 or not target.is_file():
        raise RuntimeError(f"no screenshot (exit code {done.returncode}): {done.stderr[-2000:]}")
    return done.stderr


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("page", help="URL or file")
    parser.add_argument("target", type=Path, help="PNG to write")
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=1000)
    parser.add_argument("--dark", action="store_true")
    given = parser.parse_args()
    try:
        sys.stderr.write(
            screenshot(
                given.page, given.target, width=given.width, height=given.height, dark=given.dark
            )
        )
    except (FileNotFoundError, RuntimeError, subprocess.TimeoutExpired) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
