"""A few chart primitives as inline SVG text: small, sharp in print, coloured by the page's CSS."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from controller.app.reporting.words import MINUS, safe

TICKS: Final = 6
# Room around the plotting area, in SVG units (about CSS pixels at full width).
LEFT: Final = 66.0
RIGHT: Final = 14.0
TOP: Final = 14.0
BOTTOM: Final = 40.0


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from data to SVG units."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return where `value` stands."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def inside(self, value: float) -> bool:
        """Return whether `value` is on the axis; NaN is not."""
        return self.low <= value <= self.high


def ticks(low: float, high: float, count: int = TICKS, *, whole: bool = False) -> list[float]:
    """Return about `count` round values from `low` to `high`; `whole` allows integers only."""
    raw = (high - low) / max(count, 1)
    if not raw > 0.0 or not math.isfinite(raw):
        return [low]
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1.0, 2.0, 2.5, 5.0, 10.0) if m * power >= raw * 0.999)
    if whole:
        step = max(1.0, round(step))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def tick_words(values: Sequence[float]) -> list[str]:
    """Return the ticks' labels, all with the same decimals."""
    if len(values) < 2:
        return [f"{value:g}" for value in values]
    step = abs(values[1] - values[0])
    digits = next((d for d in range(9) if abs(round(step, d) - step) < 1e-6 * step), 9)
    texts = [f"{value:.{digits}f}" for value in values]
    zero = f"{0.0:.{digits}f}"
    return [zero if float(text) == 0.0 else text.replace("-", MINUS) for text in texts]


def padded(low: float, high: float, share: float = 0.06) -> tuple[float, float]:
    """Return the range widened a little, and never empty."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 1.0
    span = high - low
    if not span > 0.0:
        span = max(abs(low) * 0.02, 1e-6)
    return low - share * span, high + share * span


def robust_range(values: Iterable[float], errors: Iterable[float] = ()) -> tuple[float, float]:
    """Return a range that shows the bulk of `values` with their error bars.

    A formation cycle ten standard deviations away must not flatten all the others: what lies
    outside 2.5 times the 10-90 % span is left to be drawn at the edge.

    Parameters
    ----------
    values : iterable of float
        NaN allowed.
    errors : iterable of float
        Half lengths of the bars, one for each value; empty for none.
    """
    y = np.array(list(values), dtype=np.float64)
    e = np.array(list(errors), dtype=np.float64)
    if e.size != y.size:
        e = np.zeros_like(y)
    good = np.isfinite(y)
    y, e = y[good], np.where(np.isfinite(e[good]), e[good], 0.0)
    if not y.size:
        return 0.0, 1.0
    q10, q90 = np.quantile(y, (0.1, 0.9))
    reach = 2.5 * max(q90 - q10, 2.0 * float(np.median(e)), 1e-12 * max(abs(q10), 1.0))
    bulk = (y >= q10 - reach) & (y <= q90 + reach)
    y, e = y[bulk], np.minimum(e[bulk], 2.0 * reach)
    return padded(float((y - e).min()), float((y + e).max()))


def decimate(t: NDArray[Any], y: NDArray[Any], buckets: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return (t, y) with the lowest and highest value of each bucket of readings kept, in order.

    Parameters
    ----------
    t, y : ndarray, shape (n,)
        NaN in `y` is left out.
    buckets : int
        At most two points are kept in each.
    """
    good = np.isfinite(y) & np.isfinite(t)
    t, y = t[good], y[good]
    if y.size <= 2 * buckets:
        return t, y
    edges = np.linspace(0, y.size, buckets + 1).astype(np.int64)
    keep = {0, int(y.size) - 1}
    for start, stop in pairwise(edges.tolist()):
        part = y[start:stop]
        keep.add(int(start + part.argmin()))
        keep.add(int(start + part.argmax()))
    index = np.array(sorted(keep))
    return t[index], y[index]


@dataclass(slots=True)
class Plot:
    """One plotting area with axes; pieces are added in drawing order.

    Parameters
    ----------
    x_range, y_range : tuple of float
    x_label, y_label : str
        With the unit.
    width, height : float
        Of the whole, in SVG units.
    x0, y0 : float
        Where it stands in its drawing.
    """

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x_label: str
    y_label: str
    width: float = 1040.0
    height: float = 300.0
    x0: float = 0.0
    y0: float = 0.0
    whole_x: bool = False
    left: float = LEFT
    bottom: float = BOTTOM
    top: float = TOP
    tick_count: int = TICKS
    y_ticks: bool = True
    pieces: list[str] = field(default_factory=list)
    x: Scale = field(init=False)
    y: Scale = field(init=False)

    def __post_init__(self) -> None:
        self.x = Scale(*self.x_range, self.x0 + self.left, self.x0 + self.width - RIGHT)
        self.y = Scale(*self.y_range, self.y0 + self.height - self.bottom, self.y0 + self.top)

    # --- marks ---

    def add(self, piece: str) -> None:
        """Add SVG text."""
        self.pieces.append(piece)

    def rectangle(self, x_from: float, x_to: float, css: str, title: str = "") -> None:
        """Shade from `x_from` to `x_to` over the whole height."""
        low, high = max(x_from, self.x.low), min(x_to, self.x.high)
        if not high > low:
            return
        left, right = self.x(low), self.x(high)
        self.add(
            f'<rect class="{css}" x="{left:.1f}" y="{self.y.end:.1f}" width="{right - left:.1f}"'
            f' height="{self.y.start - self.y.end:.1f}">{_title(title)}</rect>'
        )

    def bar(self, x: float, low: float, high: float, css: str, title: str = "") -> None:
        """Draw a bar one unit of x wide (with a hair of space) from `low` to `high`."""
        if not (math.isfinite(low) and math.isfinite(high)):
            return
        unit = abs(self.x(1.0) - self.x(0.0))
        width = min(max(unit - min(2.0, 0.25 * unit), 0.6), 40.0)
        top, bottom = self._clip_y(max(low, high)), self._clip_y(min(low, high))
        self.add(
            f'<rect class="{css}" x="{self.x(x) - width / 2:.1f}" y="{top:.1f}"'
            f' width="{width:.1f}" height="{max(bottom - top, 0.0):.1f}">{_title(title)}</rect>'
        )

    def line(self, xs: Sequence[float], ys: Sequence[float], css: str) -> None:
        """Join the points; a NaN breaks the line."""
        path: list[str] = []
        pen = "M"
        for x, y in zip(xs, ys, strict=True):
            if not (math.isfinite(x) and math.isfinite(y)):
                pen = "M"
                continue
            path.append(f"{pen}{self.x(x):.1f} {self._clip_y(y):.1f}")
            pen = "L"
        if path:
            self.add(f'<path class="{css}" d="{"".join(path)}"/>')

    def band(
        self, xs: Sequence[float], low: Sequence[float], high: Sequence[float], css: str
    ) -> None:
        """Fill between `low` and `high`; a NaN breaks the band."""
        run: list[tuple[float, float, float]] = []
        for x, a, b in [*zip(xs, low, high, strict=True), (math.nan, math.nan, math.nan)]:
            if math.isfinite(x) and math.isfinite(a) and math.isfinite(b):
                run.append((self.x(x), self._clip_y(a), self._clip_y(b)))
                continue
            if len(run) > 1:
                there = "L".join(f"{x:.1f} {b:.1f}" for x, _, b in run)
                back = "L".join(f"{x:.1f} {a:.1f}" for x, a, _ in reversed(run))
                self.add(f'<path class="{css}" d="M{there}L{back}Z"/>')
            run = []

    def whisker(self, x: float, low: float, high: float, css: str) -> None:
        """Draw an error bar, cut at the axis."""
        if math.isfinite(low) and math.isfinite(high):
            self.add(
                f'<path class="{css}" d="M{self.x(x):.1f} {self._clip_y(low):.1f}'
                f'V{self._clip_y(high):.1f}"/>'
            )

    def mark(self, x: float, y: float, shape: str, css: str, title: str = "") -> bool:
        """Draw a marker; beyond the axis an arrow at its edge. Return whether it was inside."""
        if not (math.isfinite(x) and math.isfinite(y)):
            return True
        px = self.x(x)
        if self.y.inside(y):
            self.add(shape_at(shape, px, self.y(y), css, title))
            return True
        above = y > self.y.high
        edge = self.y.end + 5.0 if above else self.y.start - 5.0
        self.add(shape_at("up" if above else "down", px, edge, css, title))
        return False

    def level(self, y: float, css: str = "zero") -> None:
        """Draw a horizontal line."""
        if self.y.inside(y):
            self.add(
                f'<path class="{css}" d="M{self.x.start:.1f} {self.y(y):.1f}H{self.x.end:.1f}"/>'
            )

    def text(self, px: float, py: float, words: str, css: str = "note") -> None:
        """Write at SVG units."""
        self.add(f'<text class="{css}" x="{px:.1f}" y="{py:.1f}">{safe(words)}</text>')

    def _clip_y(self, value: float) -> float:
        return self.y(min(max(value, self.y.low), self.y.high))

    # --- drawing ---

    def render(self) -> str:
        """Return axes, grid and pieces."""
        return self._axes() + "".join(self.pieces)

    def _axes(self) -> str:
        parts: list[str] = []
        y_ticks = ticks(*self.y_range, self.tick_count) if self.y_ticks else []
        for value, words in zip(y_ticks, tick_words(y_ticks), strict=True):
            py = self.y(value)
            parts.append(
                f'<path class="grid" d="M{self.x.start:.1f} {py:.1f}H{self.x.end:.1f}"/>'
                f'<text class="tick end" x="{self.x.start - 6:.1f}" y="{py + 4:.1f}">{words}</text>'
            )
        x_count = max(3, int((self.x.end - self.x.start) / 70.0))
        x_ticks = ticks(*self.x_range, x_count, whole=self.whole_x)
        base = self.y.start
        for value, words in zip(x_ticks, tick_words(x_ticks), strict=True):
            px = self.x(value)
            parts.append(
                f'<path class="axis" d="M{px:.1f} {base:.1f}v4"/>'
                f'<text class="tick mid" x="{px:.1f}" y="{base + 16:.1f}">{words}</text>'
            )
        parts.append(f'<path class="axis" d="M{self.x.start:.1f} {base:.1f}H{self.x.end:.1f}"/>')
        middle_x = 0.5 * (self.x.start + self.x.end)
        middle_y = 0.5 * (self.y.start + self.y.end)
        parts.append(
            f'<text class="label mid" x="{middle_x:.1f}" y="{base + 33:.1f}">'
            f"{safe(self.x_label)}</text>"
        )
        parts.append(
            f'<text class="label mid" transform="translate({self.x0 + 13:.1f} {middle_y:.1f})'
            f' rotate(-90)">{safe(self.y_label)}</text>'
        )
        return "".join(parts)


def shape_at(shape: str, px: float, py: float, css: str, title: str = "", r: float = 3.6) -> str:
    """Return a marker: circle, square, diamond, up, down or cross."""
    inner = _title(title)
    if shape == "circle":
        return f'<circle class="{css}" cx="{px:.1f}" cy="{py:.1f}" r="{r:g}">{inner}</circle>'
    paths = {
        "square": f"m-{r:g} -{r:g}h{2 * r:g}v{2 * r:g}h-{2 * r:g}z",
        "diamond": f"m0 -{1.5 * r:g}l{1.2 * r:g} {1.5 * r:g}l-{1.2 * r:g} {1.5 * r:g}"
        f"l-{1.2 * r:g} -{1.5 * r:g}z",
        "up": f"m0 -{1.2 * r:g}l{1.2 * r:g} {2.2 * r:g}h-{2.4 * r:g}z",
        "down": f"m0 {1.2 * r:g}l{1.2 * r:g} -{2.2 * r:g}h-{2.4 * r:g}z",
        "cross": f"m-{r:g} -{r:g}l{2 * r:g} {2 * r:g}m0 -{2 * r:g}l-{2 * r:g} {2 * r:g}",
    }
    return f'<path class="{css}" d="M{px:.1f} {py:.1f}{paths[shape]}">{inner}</path>'


def _title(words: str) -> str:
    return f"<title>{safe(words)}</title>" if words else ""


def drawing(content: str, width: float, height: float, described: str, css: str = "chart") -> str:
    """Return an SVG element with its description for screen readers."""
    return (
        f'<svg class="{css}" viewBox="0 0 {width:g} {height:g}" role="img"'
        f' aria-label="{safe(described)}" preserveAspectRatio="xMidYMid meet">{content}</svg>'
    )
