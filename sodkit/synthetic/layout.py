"""Where things of a synthetic scene go: groups of objects, clutter and ignore regions.

Size classes are met as quotas: an image with 120 objects gets 30, 42, 30 and 18 of eS, rS, gS, N.
Nothing labelled overlaps: every thing claims its outline, slightly enlarged, on a map of the image.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sodkit.arrays import FloatArray
from sodkit.data.records import BoxKind
from sodkit.synthetic.painting import Pose, outline, place
from sodkit.synthetic.shapes import CLUTTER, FLOATING, OBJECTS, Rng, Shape
from sodkit.synthetic.terrain import CELL, GROUNDS, WATER

OBJECTS_PER_PIXEL = 240 / (2048 * 1536)
CLUTTER_SHARE = 0.6
SIZES: tuple[tuple[float, float, float], ...] = (
    (0.25, 6.0, 11.9),
    (0.35, 12.1, 19.9),
    (0.25, 20.1, 31.9),
    (0.15, 32.1, 44.6),
)
"""Share, smallest and largest square root of the box area in px, of eS, rS, gS, N. The shares are
estimated after SODA-D's: nearly all objects between 10 and 30 px (CFINet, Figure 3)."""

PREFERENCE: dict[str, tuple[float, ...]] = {
    # car, lorry, boat, plane, silo, parasol
    "asphalt": (5, 3, 0.3, 1.5, 0.7, 0.5),
    "grass": (1, 1, 0.4, 2.5, 1.5, 1.5),
    "field": (0.7, 1.5, 0.3, 1.5, 3, 0.5),
    "water": (0.05, 0.05, 8, 0.4, 0.2, 0.2),
    "town": (3, 2, 0.4, 0.3, 1.5, 2),
    "sand": (1, 0.5, 1.5, 0.6, 0.4, 5),
}
"""How likely a kind of object is on a ground, relative to the others."""


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """A shape at its place; ``label`` is its class, None for clutter."""

    shape: Shape
    pose: Pose
    label: int | None


class Claims:
    """The map of what is taken; ``border`` px along the image's edge never are free."""

    def __init__(self, width: int, height: int, border: int = 3) -> None:
        self.taken = np.ones((height, width), dtype=np.uint8)
        self.taken[border:-border, border:-border] = 0

    def claim(self, polygon: FloatArray, gap: float) -> bool:
        """Take a convex polygon (K, 2), enlarged by ``gap`` px; False and no change if not free."""
        centre = polygon.mean(axis=0)
        away = polygon - centre
        lengths = np.maximum(np.hypot(away[:, 0], away[:, 1]), 1e-6)
        grown = centre + away * ((lengths + 1.4 * gap) / lengths)[:, None]
        height, width = self.taken.shape
        low = np.floor(grown.min(axis=0)).astype(int) - 1
        high = np.ceil(grown.max(axis=0)).astype(int) + 2
        if (low < 0).any() or high[0] > width or high[1] > height:
            return False
        window = self.taken[low[1] : high[1], low[0] : high[0]]
        raster = np.zeros(window.shape, dtype=np.uint8)
        cv2.fillPoly(raster, [np.round((grown - low) * 16).astype(np.int32)], 1, shift=4)
        if (window & raster).any():
            return False
        window |= raster
        return True


def corners(pose: Pose) -> FloatArray:
    """Return the four corners (4, 2) of a pose's oriented box."""
    return place(np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]]), pose)


def enclosing(points: FloatArray) -> FloatArray:
    """Return the xyxy box (4,) around points (K, 2)."""
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


def fit_pose(shape: Shape, size: float, angle: float, kind: BoxKind) -> Pose:
    """Return a pose at the origin whose box has an area of ``size`` squared.

    The box is the oriented one, or the upright one that encloses the silhouette.
    """
    pose = Pose(0.0, 0.0, np.sqrt(shape.aspect), 1 / np.sqrt(shape.aspect), angle)
    if kind == "horizontal":
        x0, y0, x1, y1 = enclosing(outline(shape, pose))
        size = size / float(np.sqrt((x1 - x0) * (y1 - y0)))
    return Pose(0.0, 0.0, pose.length * size, pose.width * size, angle)


def moved(pose: Pose, x: float, y: float) -> Pose:
    """Return ``pose`` centred at (x, y)."""
    return Pose(x, y, pose.length, pose.width, pose.angle)


def random_angle(rng: Rng, kind: BoxKind) -> float:
    """Any angle for oriented scenes, near a multiple of 90 degrees for horizontal ones."""
    if kind == "oriented":
        return float(rng.uniform(-np.pi, np.pi))
    return float(np.pi / 2 * int(rng.integers(4)) + rng.normal(0, 0.05))


def plan_objects(
    rng: Rng, zones: npt.NDArray[np.uint8], claims: Claims, kind: BoxKind, count: int
) -> list[Item]:
    """Plan about ``count`` objects in groups of one to six, alike in class, size and angle."""
    left = [round(share * count) for share, _, _ in SIZES]
    items: list[Item] = []
    for _ in range(20 * count):
        if not any(left):
            break
        size_class = int(rng.choice(len(left), p=np.array(left) / sum(left)))
        many = min(left[size_class], 1 + int(rng.integers(6)) * int(rng.random() < 0.6))
        start = _emptiest(rng, claims, items)
        group = list(_group(rng, zones, claims, kind, size_class, many, start))
        left[size_class] -= len(group)
        items += group
    return items


def _emptiest(rng: Rng, claims: Claims, items: list[Item]) -> tuple[float, float]:
    """Return of a few random places the one farthest from all items: no large bare stretches."""
    height, width = claims.taken.shape
    places = rng.uniform(0, 1, (6, 2)) * [width, height]
    if not items:
        return float(places[0, 0]), float(places[0, 1])
    centres = np.array([[item.pose.cx, item.pose.cy] for item in items])
    gaps = ((places[:, None] - centres[None]) ** 2).sum(axis=-1).min(axis=1)
    x, y = places[gaps.argmax()]
    return float(x), float(y)


def _group(
    rng: Rng,
    zones: npt.NDArray[np.uint8],
    claims: Claims,
    kind: BoxKind,
    size_class: int,
    many: int,
    start: tuple[float, float],
) -> Iterator[Item]:
    """Yield up to ``many`` objects in a row, those that find their place free."""
    x, y = start
    label = suitable_label(rng, zones, x, y)
    draw = list(OBJECTS.values())[label]
    _, low, high = SIZES[size_class]
    size, angle = rng.uniform(low, high), random_angle(rng, kind)
    step = rng.uniform(1.2, 1.9)
    for _ in range(many):
        shape = draw(rng)
        own = float(np.clip(size * rng.normal(1, 0.06), low, high))
        turn = angle + np.pi * int(rng.integers(2)) + rng.normal(0, 0.03)
        pose = moved(fit_pose(shape, own, turn, kind), x, y)
        if claims.claim(_footprint(shape, pose, kind), gap=2.0):
            yield Item(shape, pose, label)
        reach = step * (pose.width + 3)
        x, y = x - reach * np.sin(angle), y + reach * np.cos(angle)


def suitable_label(rng: Rng, zones: npt.NDArray[np.uint8], x: float, y: float) -> int:
    """Draw a class that the ground at (x, y) likes."""
    weights = PREFERENCE[GROUNDS[int(zones[int(y) // CELL, int(x) // CELL])].name]
    return int(rng.choice(len(OBJECTS), p=np.array(weights) / sum(weights)))


def _footprint(shape: Shape, pose: Pose, kind: BoxKind) -> FloatArray:
    """Return the corners of the box that will be annotated."""
    if kind == "oriented":
        return corners(pose)
    x0, y0, x1, y1 = enclosing(outline(shape, pose))
    return np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]])


def plan_clutter(
    rng: Rng, zones: npt.NDArray[np.uint8], claims: Claims, kind: BoxKind, count: int
) -> list[Item]:
    """Plan ``count`` unlabelled things of the objects' sizes; fewer where there is no room."""
    height, width = claims.taken.shape
    items = []
    for _ in range(count):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        kinds = FLOATING if zones[int(y) // CELL, int(x) // CELL] == WATER else CLUTTER
        shape = kinds[int(rng.integers(len(kinds)))](rng)
        pose = moved(fit_pose(shape, rng.uniform(7, 40), random_angle(rng, kind), kind), x, y)
        if claims.claim(corners(pose), gap=2.0):
            items.append(Item(shape, pose, None))
    return items


def plan_regions(rng: Rng, claims: Claims, kind: BoxKind, count: int) -> list[FloatArray]:
    """Plan ``count`` ignore regions of 60 to 220 px: boxes, or polygons of four or six corners."""
    height, width = claims.taken.shape
    regions: list[FloatArray] = []
    for _ in range(10 * count):
        if len(regions) == count:
            break
        length, breadth = rng.uniform(80, 220), rng.uniform(60, 140)
        angle = rng.uniform(-np.pi, np.pi) if kind == "oriented" else 0.0
        pose = Pose(rng.uniform(0, width), rng.uniform(0, height), length, breadth, angle)
        polygon = corners(pose)
        if kind == "oriented" and rng.random() < 0.3:
            turns = np.arange(6) / 6 * 2 * np.pi
            polygon = place(0.5 * np.stack([np.cos(turns), np.sin(turns)], axis=1), pose)
        if claims.claim(polygon, gap=4.0):
            regions.append(polygon)
    return regions
