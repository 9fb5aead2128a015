"""Grounds of the synthetic scenes: land cut into zones, with roads, roofs, crops and waves.

A terrain starts as flat colours of zones, gets roads and buildings drawn on, and is then broken by
noise on scales from 1 to 300 px whose strength depends on the zone. Nothing of it is labelled.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sodkit.synthetic.shapes import Rng

FloatImage = npt.NDArray[np.float32]
CELL = 8
"""Side in px of a cell of the zone map."""


@dataclass(frozen=True, slots=True)
class Ground:
    """A kind of ground: RGB colour, and the strength of coarse, middle, fine noise and stripes."""

    name: str
    colour: tuple[float, float, float]
    coarse: float
    middle: float
    fine: float
    stripes: float


GROUNDS = (
    Ground("asphalt", (112, 112, 114), 0.10, 0.04, 0.06, 0.0),
    Ground("grass", (104, 122, 72), 0.22, 0.14, 0.10, 0.0),
    Ground("field", (164, 146, 98), 0.12, 0.05, 0.06, 0.10),
    Ground("water", (58, 92, 112), 0.16, 0.03, 0.02, 0.16),
    Ground("town", (148, 142, 134), 0.10, 0.05, 0.05, 0.0),
    Ground("sand", (206, 190, 154), 0.10, 0.05, 0.05, 0.03),
)
ASPHALT, GRASS, FIELD, WATER, TOWN, SAND = range(len(GROUNDS))
ROOFS = ((150, 84, 66), (122, 72, 62), (128, 128, 130), (172, 160, 146), (92, 98, 108))


@dataclass(frozen=True, slots=True, eq=False)
class Terrain:
    """A ground to put objects on.

    Attributes:
        image: (H, W, 3) float32 RGB 0..255.
        zones: (ceil(H / CELL), ceil(W / CELL)) indices into ``GROUNDS``; roads are asphalt.
    """

    image: FloatImage
    zones: npt.NDArray[np.uint8]


def make_terrain(rng: Rng, width: int, height: int) -> Terrain:
    """Make a terrain of ``width`` x ``height`` px with two to four kinds of ground."""
    zones = _zones(rng, width, height)
    flat = _flat_colours(rng, zones, width, height)
    drawing = np.clip(flat, 0, 255).astype(np.uint8)
    _draw_plots(rng, drawing, zones)
    _draw_roads(rng, drawing, zones)
    _draw_buildings(rng, drawing, zones)
    texture = _texture(rng, zones, width, height)
    return Terrain(drawing.astype(np.float32) * texture[..., None], zones)


def smooth_noise(
    rng: Rng, width: int, height: int, scale: float, stretch: float = 1.0
) -> FloatImage:
    """Return (H, W) noise of mean 0 and deviation about 1, smooth over ``scale`` px.

    ``stretch`` > 1 draws it out along x.
    """
    rows = int(height / scale) + 3
    columns = int(width / (scale * stretch)) + 3
    small = rng.standard_normal((rows, columns), dtype=np.float32)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC))


def _octaves(rng: Rng, width: int, height: int, *octaves: tuple[float, float]) -> FloatImage:
    """Return the sum of smooth noises given as (scale, strength), made at half resolution."""
    half = (-(-width // 2), -(-height // 2))
    total = np.zeros(half[::-1], dtype=np.float32)
    for scale, strength in octaves:
        total += np.float32(strength) * smooth_noise(rng, *half, scale / 2)
    return np.asarray(cv2.resize(total, (width, height)), dtype=np.float32)


def _zones(rng: Rng, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Cut the land into warped Voronoi cells of a few kinds of ground."""
    columns, rows = -(-width // CELL), -(-height // CELL)
    count = max(2, round(width * height / 450_000))
    kinds = rng.permutation(len(GROUNDS))[: int(rng.integers(2, 5))]
    seeds = rng.uniform(0, 1, (count, 2)) * [columns, rows]
    seed_kinds = kinds[np.arange(count) % len(kinds)]
    warp = 400 / CELL
    x = np.arange(columns)[None, :] + 8 * smooth_noise(rng, columns, rows, warp / 2)
    y = np.arange(rows)[:, None] + 8 * smooth_noise(rng, columns, rows, warp / 2)
    distance = (x[..., None] - seeds[:, 0]) ** 2 + (y[..., None] - seeds[:, 1]) ** 2
    return np.asarray(seed_kinds[distance.argmin(axis=-1)], dtype=np.uint8)


def _spread(cells: FloatImage, width: int, height: int) -> FloatImage:
    """Enlarge a map of cells (rows, columns[, C]) to pixels with soft borders."""
    rows, columns = cells.shape[:2]
    soft = cv2.GaussianBlur(cells, (0, 0), 0.8)
    large = cv2.resize(soft, (columns * CELL, rows * CELL), interpolation=cv2.INTER_LINEAR)
    return np.asarray(large[:height, :width])


def _flat_colours(rng: Rng, zones: npt.NDArray[np.uint8], width: int, height: int) -> FloatImage:
    colours = np.array([ground.colour for ground in GROUNDS], dtype=np.float32)
    colours *= rng.uniform(0.85, 1.12, (len(GROUNDS), 1)).astype(np.float32)
    colours += rng.uniform(-7, 7, colours.shape).astype(np.float32)
    return _spread(colours[zones], width, height)


def _texture(rng: Rng, zones: npt.NDArray[np.uint8], width: int, height: int) -> FloatImage:
    """Return the brightness factor (H, W) of the ground's noise."""
    strengths = np.array([[g.coarse, g.middle, g.fine, g.stripes] for g in GROUNDS], np.float32)
    strength = _spread(strengths[zones], width, height)
    coarse = _octaves(rng, width, height, (220, 0.6), (60, 0.4))
    middle = _octaves(rng, width, height, (17, 0.6), (6, 0.5))
    fine = rng.standard_normal((height, width), dtype=np.float32)
    stripes = _stripes(rng, zones, width, height)
    texture = np.float32(1) + strength[..., 0] * coarse
    texture += strength[..., 1] * middle
    texture += strength[..., 2] * fine
    texture += strength[..., 3] * stripes
    return np.asarray(np.clip(texture, 0.35, 1.8))


def _stripes(rng: Rng, zones: npt.NDArray[np.uint8], width: int, height: int) -> FloatImage:
    """Return waves on water, rows of crop elsewhere, (H, W) in about [-1, 1]."""
    waves = smooth_noise(rng, width, height, 5, stretch=4.0)
    angle, period = rng.uniform(0, np.pi), rng.uniform(9, 16)
    x = np.arange(width, dtype=np.float32) * np.float32(2 * np.pi * np.cos(angle) / period)
    y = np.arange(height, dtype=np.float32) * np.float32(2 * np.pi * np.sin(angle) / period)
    # sin(x + y) by the addition theorem: two outer products instead of a sine a pixel
    crops = np.outer(np.sin(y), np.cos(x)) + np.outer(np.cos(y), np.sin(x))
    wet = _spread((zones == WATER).astype(np.float32), width, height)
    return np.asarray(0.6 * wet * waves + (1 - wet) * crops, dtype=np.float32)


def _quad(cx: float, cy: float, length: float, width: float, angle: float) -> npt.NDArray[np.int32]:
    """Return a rotated rectangle as OpenCV wants it, with 4 fractional bits."""
    cos, sin = np.cos(angle), np.sin(angle)
    unit = 0.5 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [length, width]
    points = unit @ np.array([[cos, sin], [-sin, cos]]) + [cx, cy]
    return np.asarray(np.round(points * 16), dtype=np.int32)


def _fill(
    drawing: npt.NDArray[np.uint8], quad: npt.NDArray[np.int32], colour: npt.ArrayLike
) -> None:
    red, green, blue = np.clip(np.asarray(colour, dtype=np.float64), 0, 255).tolist()
    cv2.fillPoly(drawing, [quad], (red, green, blue), lineType=cv2.LINE_AA, shift=4)


def _kind_at(zones: npt.NDArray[np.uint8], x: float, y: float) -> int:
    rows, columns = zones.shape
    row = min(max(int(y / CELL), 0), rows - 1)
    return int(zones[row, min(max(int(x / CELL), 0), columns - 1)])


def _within(zones: npt.NDArray[np.uint8], quad: npt.NDArray[np.int32], kind: int) -> bool:
    """Return whether a rectangle ``_quad`` has one kind of ground: probed at 7 x 7 places."""
    start, right, down = quad[0] / 16, (quad[1] - quad[0]) / 16, (quad[3] - quad[0]) / 16
    steps = np.linspace(0, 1, 7)
    places = (start + u * right + v * down for u in steps for v in steps)
    return all(_kind_at(zones, x, y) == kind for x, y in places)


def _draw_plots(rng: Rng, drawing: npt.NDArray[np.uint8], zones: npt.NDArray[np.uint8]) -> None:
    """Vary fields and grass by large rectangles of slightly other colour; bays on asphalt."""
    height, width = drawing.shape[:2]
    for _ in range(round(width * height / 90_000)):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        kind = _kind_at(zones, x, y)
        length, breadth = rng.uniform(90, 260, 2)
        angle = rng.uniform(-0.3, 0.3)
        factor = rng.uniform(0.86, 1.14)
        plot = _quad(x, y, length, breadth, angle)
        if kind in (FIELD, GRASS) and _within(zones, plot, kind):
            _fill(drawing, plot, drawing[int(y), int(x)] * factor)
        elif kind == ASPHALT:
            _draw_bays(rng, drawing, x, y, angle)


def _draw_bays(rng: Rng, drawing: npt.NDArray[np.uint8], x: float, y: float, angle: float) -> None:
    """Draw a row of parking bays: thin white lines."""
    pitch, depth, count = rng.uniform(12, 34), rng.uniform(22, 60), int(rng.integers(4, 12))
    along = np.array([np.cos(angle), np.sin(angle)]) * pitch
    for step in range(count):
        cx, cy = np.array([x, y]) + along * (step - count / 2)
        _fill(drawing, _quad(cx, cy, 1.4, depth, angle), (205, 205, 200))


def _draw_buildings(rng: Rng, drawing: npt.NDArray[np.uint8], zones: npt.NDArray[np.uint8]) -> None:
    """Draw gable roofs with shadows on a jittered grid, where the zone is a town."""
    height, width = drawing.shape[:2]
    pitch, tilt = rng.uniform(150, 230), rng.uniform(-0.25, 0.25)
    for y in np.arange(pitch / 2, height, pitch):
        for x in np.arange(pitch / 2, width, pitch):
            cx, cy = x + rng.uniform(-20, 20), y + rng.uniform(-20, 20)
            long, wide = pitch * rng.uniform(0.5, 0.8), pitch * rng.uniform(0.32, 0.5)
            angle = tilt + np.pi / 2 * int(rng.integers(2))
            roof = np.array(ROOFS[int(rng.integers(len(ROOFS)))]) * rng.uniform(0.85, 1.15)
            if _within(zones, _quad(cx, cy, long + 30, wide + 30, angle), TOWN):
                _draw_roof(drawing, (cx, cy), (long, wide, angle), roof)


def _draw_roof(
    drawing: npt.NDArray[np.uint8],
    centre: tuple[float, float],
    form: tuple[float, float, float],
    colour: npt.NDArray[np.float64],
) -> None:
    (cx, cy), (long, wide, angle) = centre, form
    across = np.array([-np.sin(angle), np.cos(angle)]) * wide / 4
    _fill(drawing, _quad(cx + 9, cy + 7, long, wide, angle), (62, 60, 62))
    for side, light in ((-1, 1.12), (1, 0.82)):
        x, y = np.array([cx, cy]) + side * across
        _fill(drawing, _quad(x, y, long, wide / 2, angle), colour * light)
    _fill(drawing, _quad(cx, cy, long, 2.0, angle), colour * 1.3)


def _draw_roads(rng: Rng, drawing: npt.NDArray[np.uint8], zones: npt.NDArray[np.uint8]) -> None:
    """Draw one or two straight roads with dashed middle lines through the whole image."""
    height, width = drawing.shape[:2]
    for _ in range(int(rng.integers(1, 3))):
        angle = np.pi / 2 * int(rng.integers(2)) + rng.uniform(-0.2, 0.2)
        cx, cy = rng.uniform(0.2, 0.8) * width, rng.uniform(0.2, 0.8) * height
        breadth, reach = rng.uniform(46, 84), 1.5 * (width + height)
        tone = rng.uniform(88, 112)
        _fill(drawing, _quad(cx, cy, reach, breadth + 8, angle), (150, 146, 138))
        _fill(drawing, _quad(cx, cy, reach, breadth, angle), (tone, tone, tone + 3))
        along = np.array([np.cos(angle), np.sin(angle)])
        for step in np.arange(-reach / 2, reach / 2, 34):
            x, y = np.array([cx, cy]) + along * step
            _fill(drawing, _quad(x, y, 15, 1.8, angle), (222, 220, 208))
        road = _quad(cx, cy, reach, breadth, angle) // CELL
        marked = cv2.fillPoly(zones.copy(), [road], 255, shift=4)
        zones[marked == 255] = ASPHALT
