"""The report in a real browser: it renders, complains of nothing, and fetches nothing."""

from __future__ import annotations

import importlib.util
import re
import struct
import zlib
from pathlib import Path
from types import ModuleType

import pytest

from controller.app.report import write_report
from tests.synthetic_run import make_run

SCRIPT = Path(__file__).parents[2] / "scripts" / "screenshot.py"
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("screenshot", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = load_script()
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        script.find_chromium() is None,
        reason="no Chromium: apt-get update && apt-get install -y chromium",
    ),
]


def console_lines(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if ":CONSOLE" in line]


def png_size_and_shades(path: Path) -> tuple[int, int, int]:
    """Return width, height and how many different bytes the picture holds (one if it is blank)."""
    data = path.read_bytes()
    assert data.startswith(PNG_SIGNATURE)
    width, height = struct.unpack(">II", data[16:24])
    packed, at = b"", len(PNG_SIGNATURE)
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        if data[at + 4 : at + 8] == b"IDAT":
            packed += data[at + 8 : at + 8 + length]
        at += 12 + length
    return width, height, len(set(zlib.decompress(packed)))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(make_run(tmp_path_factory.mktemp("browser"), base_cycles=30))


def test_every_section_renders_without_a_word_on_the_console(report: Path) -> None:
    done = script.run_chromium(str(report), "--dump-dom")
    assert done.returncode == 0, done.stderr[-2000:]
    assert console_lines(done.stderr) == []
    assert len(re.findall(r"<section ", done.stdout)) == 10
    assert len(re.findall(r"<figure>", done.stdout)) == 7
    assert done.stdout.rstrip().endswith("</html>")


def test_the_console_is_really_watched(tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<!doctype html><script>console.error('seen')</script>", encoding="utf-8")
    done = script.run_chromium(str(page), "--dump-dom")
    assert any("seen" in line for line in console_lines(done.stderr))


@pytest.mark.parametrize("dark", [False, True])
def test_it_makes_a_picture(report: Path, tmp_path: Path, *, dark: bool) -> None:
    target = tmp_path / "report.png"
    said = script.screenshot(str(report), target, width=1280, height=900, dark=dark)
    assert console_lines(said) == []
    width, height, shades = png_size_and_shades(target)
    assert (width, height) == (1280, 900)
    assert shades > 50
