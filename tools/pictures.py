"""The pictures of docs/conventions.md as SVG, made of what the code computes.

``pages.py`` writes them into ``docs/images``; a test compares them with this.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from sodkit.arrays import FloatArray
from sodkit.data.sizes import SIZE_BOUNDS, SIZE_NAMES
from sodkit.geometry.rotated import canonical, obb_to_corners, obb_to_xyxy
from sodkit.tiling.grid import starts, windows

INK, SOFT, RULE, BLUE, ORANGE, GREEN = (
    "#1c2530", "#5b6875", "#dde2e7", "#2f6fb4", "#d55e00", "#00875f",
)  # fmt: skip
Point = tuple[float, float]

DESCRIPTIONS = ("le90", "le135", "oc")
"""Ways to describe one rectangle: by the long side, from -90 or -45 degrees on; OpenCV's."""
LOWEST = {"le90": -90.0, "le135": -45.0}
VERDICTS = {
    "on an object": ("right", "right"),
    "on an ignored one": ("neither", "neither"),
    "on nothing": ("wrong", "wrong"),
    "in an ignore region": ("wrong", "neither"),
}
"""What a detection counts as where regions are dropped, and where they absorb."""


def pictures() -> dict[str, str]:
    """Return the text of every picture, by its path below ``docs``."""
    made = {
        "boxes": boxes(), "angles": angles(), "size-classes": size_classes(), "ignore": ignore(),
        "windows": image_windows(),
    }  # fmt: skip
    return {f"images/{name}.svg": text for name, text in made.items()}


def described(way: str, degrees: float, sides: Point) -> tuple[float, float, float]:
    """Return w, h and the angle in degrees by which a convention describes a rectangle.

    Args:
        way: one of ``DESCRIPTIONS``.
        degrees: of the long side against the x axis, clockwise.
        sides: the long and the short one.
    """
    long, short = sides
    if way != "oc":
        low = LOWEST[way]
        return long, short, (degrees - low) % 180 + low
    first = degrees % 180
    if 0 < first <= 90:
        return long, short, first
    return short, long, (first - 90) if first > 90 else 90.0


# ---- The pictures ----


def boxes() -> str:
    """Draw an upright box and an oriented one on pixels."""
    cell = 20.0
    parts = [_path([(40, 40 + cell * k), (40 + cell * 26, 40 + cell * k)], RULE) for k in range(11)]
    parts += [
        _path([(40 + cell * k, 40), (40 + cell * k, 40 + cell * 10)], RULE) for k in range(27)
    ]
    parts += _axes(40, 40)

    def at(points: FloatArray) -> list[Point]:
        return [(40 + cell * x, 40 + cell * y) for x, y in points.tolist()]

    left, top, right, bottom = 2.0, 3.0, 9.0, 7.0
    upright = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    parts.append(_path(at(upright), BLUE, width=2.5, closed=True))
    parts += [
        _text(at(upright)[0], "(2, 3)", BLUE, shift=(-4, -6), anchor="middle"),
        _text(at(upright)[2], "(9, 7)", BLUE, shift=(4, 16), anchor="middle"),
        _text((40 + cell * 5.5, 40 + cell * 3), "w = 7", BLUE, shift=(0, -6), anchor="middle"),
        _text((40 + cell * 2, 40 + cell * 5), "h = 4", BLUE, shift=(4, 5)),
        _text((40, 270), "xywh: 2, 3, 7, 4", BLUE), _text((40, 290), "xyxy: 2, 3, 9, 7", BLUE),
    ]  # fmt: skip
    obb = np.array([[18.0, 5.0, 9.0, 3.0, math.pi / 6]])
    corners, around = at(obb_to_corners(obb)[0]), obb_to_xyxy(obb)[0]
    enclosing = around[[[0, 1], [2, 1], [2, 3], [0, 3]]]
    centre = at(obb[:, :2])[0]
    parts += [
        _path(at(enclosing), SOFT, dash="5 4", closed=True),
        _path(corners, ORANGE, width=2.5, closed=True),
        _path([centre, (centre[0] + 92, centre[1])], SOFT, dash="2 3"),
        _arc(centre, 44, 0, 30, ORANGE), _dot(centre, ORANGE),
        _text(centre, "30°", ORANGE, shift=(50, 17)),
        _text(centre, "C", ORANGE, shift=(-6, 18)),
        _text(_middle(corners[0], corners[1]), "w = 9", ORANGE, shift=(8, -6)),
        _text(_middle(corners[1], corners[2]), "h = 3", ORANGE, shift=(10, 6)),
        *(_text(corner, str(k + 1), ORANGE, shift=_away(corner, centre)) for k, corner in
          enumerate(corners)),
        _text((300, 270), "obb: 18, 5, 9, 3, 0.524 (pi/6)", ORANGE),
        _text((300, 290), "dashed: enclosing xyxy: "
              + ", ".join(f"{value:.1f}" for value in around.tolist()), SOFT),
    ]  # fmt: skip
    return _svg(600, 306, parts, "An upright and an oriented box on pixels, with their numbers")


def angles() -> str:
    """Draw a rectangle in three positions, as three conventions describe it."""
    parts, sides = [], (96.0, 40.0)
    for column, way in enumerate(DESCRIPTIONS):
        parts.append(_text((110 + 190 * column, 28), way, INK, anchor="middle", bold=True))
        for row, degrees in enumerate((30.0, 120.0, 150.0)):
            w, h, angle = described(way, degrees, sides)
            obb = np.array([[110 + 190 * column, 100 + 150 * row, w, h, math.radians(angle)]])
            again = canonical(obb)[0]
            corners = [(x, y) for x, y in obb_to_corners(obb)[0].tolist()]
            centre = (float(obb[0, 0]), float(obb[0, 1]))
            side = [corners[3], corners[2]] if angle < 0 else [corners[0], corners[1]]
            words = f"{w:g} x {h:g}, {angle:g}°"
            own = f"{again[2]:g} x {again[3]:g}, {math.degrees(again[4]):.0f}°"
            parts += [
                _path(corners, SOFT, closed=True), _path(side, BLUE, width=3.5),
                _path([centre, (centre[0] + 44, centre[1])], SOFT, dash="2 3"),
                _arc(centre, 30, 0, angle, ORANGE), _dot(centre, INK),
                _text((centre[0], centre[1] + 72), words, INK, anchor="middle"),
            ]  # fmt: skip
            if words != own:
                here = f"here {own}"
                parts.append(_text((centre[0], centre[1] + 88), here, GREEN, anchor="middle"))
    words = "thick: the side w; the arc: from the x axis to it, clockwise positive"
    parts.append(_text((300, 514), words, SOFT, anchor="middle"))
    return _svg(600, 528, parts, "One rectangle in three positions, described by le90, le135, oc")


def size_classes() -> str:
    """Draw the largest square of each size class, four times as large as it is."""
    zoom, left, parts = 4.0, 24.0, []
    colours = (ORANGE, "#c08a00", GREEN, BLUE)
    low = 0.0
    for name, bound, colour in zip(SIZE_NAMES, SIZE_BOUNDS, colours, strict=False):
        side = math.sqrt(bound)
        corner = (left, 210 - zoom * side)
        parts += [
            _box(corner, (zoom * side, zoom * side), colour, fill=colour),
            _text((left, 230), name, colour, bold=True),
            _text((left, 248), f"({low:g}, {bound:g}] px²", INK),
            _text((left, 265), f"up to {side:.3g} x {side:.3g} px", SOFT),
        ]
        left += max(zoom * side, 128) + 14
        low = bound
    words = "squares of the largest area of each class, four times as large as they are"
    parts.append(_text((24, 290), words, SOFT))
    return _svg(650, 304, parts, "Squares of 144, 400, 1024 and 2000 px²: eS, rS, gS, N")


def ignore() -> str:
    """Draw what detections count as that lie on objects, ignored objects and regions."""
    parts = [
        '<defs><pattern id="lines" width="8" height="8" patternTransform="rotate(45)"'
        f' patternUnits="userSpaceOnUse"><path d="M0 0V8" stroke="{RULE}" stroke-width="5"/>'
        "</pattern></defs>"
    ]
    colours = {"right": GREEN, "neither": SOFT, "wrong": ORANGE}
    for k, (what, (verdict, absorbed)) in enumerate(VERDICTS.items()):
        colour, words = colours[verdict], f"drop: {verdict}" if k == 3 else verdict
        x = 24.0 + 150 * k
        if k == 3:
            parts.append(_box((x - 4, 36), (130, 96), SOFT, fill="url(#lines)", dash="5 4"))
        if k in (0, 1):
            parts.append(_box((x + 24, 56), (56, 44), INK, dash="5 4" if k else "", width=2))
        parts += [
            _box((x + 30, 62), (56, 44), colour, width=2.5),
            _text((x, 24), what, INK),
            _text((x, 156), words, colour, bold=True),
        ]
        if absorbed != verdict:
            parts.append(_text((x, 174), f"absorb: {absorbed}", colours[absorbed], bold=True))
    words = "black: annotated, dashed: ignored; coloured: a detection, right, wrong or neither"
    parts.append(_text((24, 200), words, SOFT))
    return _svg(620, 214, parts, "A detection on an object, an ignored one, nothing, in a region")


def image_windows(size: int = 800, stride: int = 650) -> str:
    """Draw the windows of an image, and what they share."""
    width, height, scale = 2350, 1450, 0.22
    left, top = 70.0, 60.0
    parts = [_box((left, top), (width * scale, height * scale), INK, width=2)]
    corners = windows(width, height, size, stride)
    parts += [
        _box((left + x * scale, top + y * scale), (size * scale, size * scale), BLUE, fill=BLUE)
        for x, y in corners
    ]
    for x in starts(width, size, stride):
        parts.append(_text((left + x * scale, top - 8), f"x {x}", BLUE))
    for y in starts(height, size, stride):
        parts.append(_text((left - 8, top + y * scale + 12), f"y {y}", BLUE, anchor="end"))
    bottom = top + height * scale
    words = (
        f"an image of {width} x {height} px: {len(corners)} windows of {size} px, stride {stride}",
        "darker: in several of them; the last column moves back to the image's border",
    )
    parts += [_text((left, bottom + 24 + 20 * k), line, SOFT) for k, line in enumerate(words)]
    return _svg(left + width * scale + 24, bottom + 58, parts, "Windows that overlap on an image")


# ---- Shapes ----


def _svg(width: float, height: float, parts: Sequence[str], label: str) -> str:
    """Return a picture on white, so that it can be read on a dark page, too."""
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}"'
        f' width="{width:g}" height="{height:g}" role="img" aria-label="{escape(label)}"'
        ' font-family="system-ui, Helvetica, Arial, sans-serif" font-size="13">',
        f'<rect width="{width:g}" height="{height:g}" rx="8" fill="#ffffff"/>',
        *parts,
        "</svg>\n",
    ])  # fmt: skip


def _n(value: float) -> str:
    """Return a coordinate with one decimal at most, and never -0."""
    return f"{round(value, 1) + 0.0:g}"


def _path(
    points: Sequence[Point], colour: str, *, width: float = 1, dash: str = "", closed: bool = False
) -> str:
    line = "L".join(f"{_n(x)} {_n(y)}" for x, y in points)
    return (
        f'<path d="M{line}{"Z" if closed else ""}" fill="none" stroke="{colour}"'
        f' stroke-width="{width:g}"{_dashed(dash)}/>'
    )


def _box(
    corner: Point, sides: Point, colour: str, *, fill: str = "none", dash: str = "",
    width: float = 1.5,
) -> str:  # fmt: skip
    opacity = ' fill-opacity="0.16"' if fill.startswith("#") else ""
    return (
        f'<rect x="{_n(corner[0])}" y="{_n(corner[1])}" width="{_n(sides[0])}"'
        f' height="{_n(sides[1])}" fill="{fill}"{opacity} stroke="{colour}"'
        f' stroke-width="{width:g}"{_dashed(dash)}/>'
    )


def _dashed(dash: str) -> str:
    return f' stroke-dasharray="{dash}"' if dash else ""


def _dot(at: Point, colour: str) -> str:
    return f'<circle cx="{_n(at[0])}" cy="{_n(at[1])}" r="2.5" fill="{colour}"/>'


def _text(
    at: Point, words: str, colour: str, *, shift: Point = (0, 0), anchor: str = "start",
    bold: bool = False,
) -> str:  # fmt: skip
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{_n(at[0] + shift[0])}" y="{_n(at[1] + shift[1])}" fill="{colour}"'
        f' text-anchor="{anchor}"{weight}>{escape(words)}</text>'
    )


def _arc(centre: Point, radius: float, start: float, end: float, colour: str) -> str:
    """Return an arc between two angles in degrees, clockwise from the x axis, with a head."""
    (x, y), turn = centre, 1 if end >= start else -1
    ends = [
        (x + radius * math.cos(math.radians(a)), y + radius * math.sin(math.radians(a)))
        for a in (start, end)
    ]
    ahead = math.radians(end - turn * 14)
    barbs = [
        (x + (radius + gap) * math.cos(ahead), y + (radius + gap) * math.sin(ahead))
        for gap in (-4.5, 4.5)
    ]
    (x0, y0), (x1, y1) = ends
    return (
        f'<path d="M{_n(x0)} {_n(y0)}A{radius:g} {radius:g} 0 0 {int(turn > 0)} {_n(x1)} {_n(y1)}"'
        f' fill="none" stroke="{colour}" stroke-width="1.8"/>'
        + _path([barbs[0], ends[1], barbs[1]], colour, width=1.8)
    )


def _axes(x: float, y: float) -> list[str]:
    """Return the axes from an origin on, with their names."""
    return [
        _path([(x, y), (x + 70, y)], INK, width=2), _path([(x, y), (x, y + 70)], INK, width=2),
        _text((x + 58, y - 8), "x", INK), _text((x - 16, y + 66), "y", INK),
        _text((x - 8, y - 8), "0", INK, anchor="middle"),
    ]  # fmt: skip


def _middle(a: Point, b: Point) -> Point:
    return ((a[0] + b[0]) / 2, (a[1] + b[1]) / 2)


def _away(corner: Point, centre: Point) -> Point:
    """Return the shift of a corner's number: outwards."""
    dx, dy = corner[0] - centre[0], corner[1] - centre[1]
    length = math.hypot(dx, dy)
    return (12 * dx / length - 4, 12 * dy / length + 5)
