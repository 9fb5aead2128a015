"""Small charts as inline SVG: no script, no fonts of their own; colours are the page's.

Lines have the classes ``s0``, ``s1``, ... which the style sheet colours, so a chart follows the
page into dark mode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from sodkit.arrays import FloatArray

WIDTH, HEIGHT = 360.0, 300.0
FIFTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
COLOURS = 8
"""How many line colours the style sheet has."""
LEFT, RIGHT, TOP, BOTTOM = 58.0, 8.0, 10.0, 42.0
DIGIT = 7.0
"""Width of a character of a tick's text, about: no fonts are measured."""
BESIDE = 26.0
"""What the axis and its name take beside the ticks' texts."""


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """One line: ``x`` and ``y`` (N,), and the number of its colour."""

    name: str
    x: FloatArray
    y: FloatArray
    colour: int


def line_chart(
    series: Sequence[Series],
    *,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float] = (0.0, 1.0),
    x_ticks: Sequence[float] = FIFTHS,
    y_range: tuple[float, float] = (0.0, 1.0),
    y_ticks: Sequence[float] = FIFTHS,
    label: str,
) -> Markup:
    """Return a line chart.

    Args:
        series: drawn in reverse, the first on top.
        x_label: of the axis.
        y_label: of the axis.
        x_range: what the axis spans.
        x_ticks: where it is marked.
        y_range: what the axis spans.
        y_ticks: where it is marked.
        label: what the chart shows, for those who cannot see it.
    """
    (low, high), (bottom, top) = x_range, y_range
    left = max(LEFT, BESIDE + DIGIT * max((len(f"{tick:g}") for tick in y_ticks), default=0))
    across, down = WIDTH - left - RIGHT, HEIGHT - TOP - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return left + (x - low) / (high - low) * across, TOP + (top - y) / (top - bottom) * down

    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img"'
        f' aria-label="{escape(label)}">'
    ]
    for tick in y_ticks:
        x, y = place(low, tick)
        parts.append(f'<path class="grid" d="M{x:g} {y:.1f}H{WIDTH - RIGHT:g}"/>')
        parts.append(f'<text class="tick end" x="{x - 6:g}" y="{y + 4:.1f}">{tick:g}</text>')
    for tick in x_ticks:
        x, y = place(tick, bottom)
        parts.append(f'<path class="grid" d="M{x:.1f} {TOP:g}V{y:g}"/>')
        text = f"{tick:g}"
        x = min(x, WIDTH - DIGIT * len(text) / 2)  # the last one would leave the picture
        parts.append(f'<text class="tick mid" x="{x:.1f}" y="{y + 16:g}">{text}</text>')
    middle = left + across / 2
    parts.append(
        f'<text class="axis mid" x="{middle:g}" y="{HEIGHT - 6:g}">{escape(x_label)}</text>'
    )
    parts.append(
        f'<text class="axis mid" transform="translate(12 {TOP + down / 2:g}) rotate(-90)">'
        f"{escape(y_label)}</text>"
    )
    for line in reversed(series):
        points = [place(x, y) for x, y in zip(line.x.tolist(), line.y.tolist(), strict=True)]
        colour, name = line.colour % COLOURS, f"<title>{escape(line.name)}</title>"
        if len(points) == 1:  # a path of one point would not be seen
            (x, y) = points[0]
            parts.append(
                f'<circle class="line s{colour}" cx="{x:.1f}" cy="{y:.1f}" r="2.5">{name}</circle>'
            )
        else:
            parts.append(f'<path class="line s{colour}" d="{path_data(points)}">{name}</path>')
    return Markup("".join([*parts, "</svg>"]))


def round_ticks(low: float, high: float) -> tuple[tuple[float, float], tuple[float, ...]]:
    """Return a range around numbers whose ends are round, and round numbers to mark in it.

    Args:
        low: the lowest number.
        high: the highest one.
    """
    if not high > low:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = tuple(float(f"{k * step:.12g}") for k in range(first, last + 1))
    return (ticks[0], ticks[-1]), ticks


def sparkline(y: FloatArray, label: str) -> Markup:
    """Return a line of values (N,) in [0, 1], without axes, as high as a line of text."""
    count = max(len(y) - 1, 1)
    points = [(60 * i / count, 1 + 18 * (1 - value)) for i, value in enumerate(y.tolist())]
    outline = path_data(points)
    area = f"{outline}L60 19L0 19Z" if points else ""
    return Markup(
        f'<svg class="spark" viewBox="0 0 60 20" role="img" aria-label="{escape(label)}">'
        f'<path class="fill" d="{area}"/><path class="line" d="{outline}"/></svg>'
    )


def small_chart(series: Sequence[Series], mark: float | None, label: str) -> Markup:
    """Return lines with x and y in [0, 1], without axes, three lines of text high.

    Args:
        series: drawn in reverse, the first on top.
        mark: x of an upright line; None: there is none.
        label: what the chart shows, for those who cannot see it.
    """
    parts = [
        f'<svg class="small-chart" viewBox="0 0 120 48" role="img" aria-label="{escape(label)}">',
        '<path class="grid" d="M1 1V47H119"/>',
    ]
    if mark is not None:
        parts.append(f'<path class="mark-line" d="M{1 + 118 * mark:.1f} 1V47"/>')
    for line in reversed(series):
        points = [
            (1 + 118 * x, 1 + 46 * (1 - y))
            for x, y in zip(line.x.tolist(), line.y.tolist(), strict=True)
        ]
        parts.append(f'<path class="line s{line.colour % COLOURS}" d="{path_data(points)}"/>')
    return Markup("".join([*parts, "</svg>"]))


def path_data(points: Sequence[tuple[float, float]]) -> str:
    """Return a path through points; points on a level line between two others are left out."""
    kept = [
        point
        for i, point in enumerate(points)
        if not 0 < i < len(points) - 1 or not points[i - 1][1] == point[1] == points[i + 1][1]
    ]
    return "".join(f"{'L' if i else 'M'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(kept))
