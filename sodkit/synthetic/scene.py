"""One synthetic scene: an image from above with small objects, and its annotations."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sodkit.arrays import FloatArray
from sodkit.data.records import REGION, Annotations, BoxKind, Category, ImageRecord, Polygons
from sodkit.geometry.rotated import canonical
from sodkit.synthetic.layout import (
    CLUTTER_SHARE,
    OBJECTS_PER_PIXEL,
    Claims,
    Item,
    corners,
    enclosing,
    fit_pose,
    moved,
    plan_clutter,
    plan_objects,
    plan_regions,
    random_angle,
    suitable_label,
)
from sodkit.synthetic.painting import Pose, RgbImage, Sun, outline, paint
from sodkit.synthetic.shapes import OBJECTS, Rng, bush
from sodkit.synthetic.terrain import make_terrain, smooth_noise

CATEGORIES = tuple(Category(index + 1, name) for index, name in enumerate(OBJECTS))
IGNORED_SHARE = 0.04
OCCLUDED_SHARE = 0.12
MIN_SIDE = 128


@dataclass(frozen=True, slots=True, eq=False)
class _Labelled:
    """One annotation to be: its class or ``REGION``, pose or polygon, ignore flag."""

    label: int
    pose: Pose
    polygon: FloatArray
    xyxy: FloatArray
    ignore: bool


def make_scene(
    seed: int | tuple[int, ...],
    width: int,
    height: int,
    kind: BoxKind = "horizontal",
    *,
    empty: bool = False,
) -> tuple[RgbImage, Annotations]:
    """Make one scene; the same arguments give the same bytes.

    Args:
        seed: a number or a tuple of numbers, all >= 0.
        width: of the image in px, at least 128.
        height: likewise.
        kind: upright objects and boxes, or rotated ones with ``obb`` and polygons.
        empty: no objects and regions, only ground and clutter.

    Returns:
        the image (H, W, 3) uint8 RGB, and the annotations of this one image (id 1, no file name).

    Raises:
        ValueError: if a side is too short.
    """
    if min(width, height) < MIN_SIDE:
        raise ValueError(f"a scene of {width} x {height} px, at least {MIN_SIDE} px a side needed")
    rng = np.random.default_rng(seed)
    terrain = make_terrain(rng, width, height)
    claims = Claims(width, height)
    count = (
        0 if empty else max(4, round(OBJECTS_PER_PIXEL * width * height * rng.uniform(0.8, 1.2)))
    )
    regions = plan_regions(rng, claims, kind, round(count / 50 + rng.uniform(-0.5, 0.5)))
    hard = _plan_large(rng, terrain.zones, claims, kind, round(IGNORED_SHARE / 2 * count))
    items = plan_objects(rng, terrain.zones, claims, kind, count)
    things = round(CLUTTER_SHARE * max(count, OBJECTS_PER_PIXEL / 2 * width * height))
    clutter = plan_clutter(rng, terrain.zones, claims, kind, things)
    image = np.clip(terrain.image, 0, 255).astype(np.uint8)
    sun = _sun(rng)
    for item in clutter + items + hard:
        paint(image, item.shape, item.pose, sun, _opacity(rng))
    covered = _occlude(rng, image, items, sun)
    for region in regions:
        _fill_region(rng, image, region, sun, kind)
    rows = [_labelled(item, kind, ignore=covered[k]) for k, item in enumerate(items)]
    rows += [_labelled(item, kind, ignore=True) for item in hard]
    rows += [_region(polygon) for polygon in regions]
    return _expose(rng, image), _annotations(rows, width, height, kind)


def _sun(rng: Rng) -> Sun:
    angle = rng.uniform(0, 2 * np.pi)
    return Sun(float(np.cos(angle)), float(np.sin(angle)), float(rng.uniform(0.25, 0.6)))


def _opacity(rng: Rng) -> float:
    """Full for most, lower for some: haze, dirt, bad light."""
    return float(rng.uniform(0.55, 0.9)) if rng.random() < 0.2 else 1.0


def _plan_large(
    rng: Rng, zones: npt.NDArray[np.uint8], claims: Claims, kind: BoxKind, count: int
) -> list[Item]:
    """Plan objects beyond the size classes (area > 2000 px^2): annotated as ignored."""
    height, width = claims.taken.shape
    draws = list(OBJECTS.values())
    items = []
    for _ in range(count):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        label = suitable_label(rng, zones, x, y)
        shape = draws[label](rng)
        pose = fit_pose(shape, rng.uniform(50, 80), random_angle(rng, kind), kind)
        pose = moved(pose, x, y)
        if claims.claim(corners(pose), gap=3.0):
            items.append(Item(shape, pose, label))
    return items


def _occlude(rng: Rng, image: RgbImage, items: list[Item], sun: Sun) -> list[bool]:
    """Hang tree crowns over some objects, in place; return which are too hidden to be told."""
    hidden = []
    for item in items:
        status = rng.random()
        heavy = bool(status < IGNORED_SHARE / 2)
        if status < IGNORED_SHARE / 2 + OCCLUDED_SHARE:
            _hang_crown(rng, image, item.pose, sun, reach=0.12 if heavy else 0.62)
        hidden.append(heavy)
    return hidden


def _hang_crown(rng: Rng, image: RgbImage, pose: Pose, sun: Sun, reach: float) -> None:
    """Paint a crown whose centre lies ``reach`` of the object's length from the object's centre.

    As large as the object: at .62 it hides a fifth to a third of it, at .12 nearly all.
    """
    side = float(np.sqrt(pose.length * pose.width)) * rng.uniform(1.0, 1.15)
    if reach < 0.5:
        side = max(side, 0.8 * pose.length)
    turn = pose.angle + np.pi * int(rng.integers(2))
    x = pose.cx + reach * pose.length * np.cos(turn)
    y = pose.cy + reach * pose.length * np.sin(turn)
    paint(image, bush(rng), Pose(x, y, side, side, rng.uniform(0, np.pi)), sun)


def _fill_region(rng: Rng, image: RgbImage, polygon: FloatArray, sun: Sun, kind: BoxKind) -> None:
    """Crowd the region with unlabelled objects, or smear it, in place."""
    smear = rng.random() < 0.4
    x0, y0, x1, y1 = enclosing(polygon)
    draws = list(OBJECTS.values())
    draw = draws[int(rng.integers(len(draws)))]
    size = rng.uniform(10, 18) if smear else rng.uniform(5, 8)
    pitch = size * rng.uniform(1.25, 1.6)
    hull = polygon.astype(np.float32)
    for y in np.arange(y0 + pitch / 2, y1, pitch):
        for x in np.arange(x0 + pitch / 2, x1, pitch):
            cx, cy = x + rng.normal(0, pitch / 8), y + rng.normal(0, pitch / 8)
            shape = draw(rng)
            pose = moved(fit_pose(shape, size, random_angle(rng, kind), kind), cx, cy)
            inside = cv2.pointPolygonTest(hull, (float(cx), float(cy)), True) > size / 2
            if inside and rng.random() < (0.5 if smear else 0.85):
                paint(image, shape, pose, sun, float(rng.uniform(0.6, 1.0)))
    if smear:
        _smear(rng, image, polygon)


def _smear(rng: Rng, image: RgbImage, polygon: FloatArray) -> None:
    """Blur and bleach the inside of a polygon, fading out at its border, in place."""
    low = np.maximum(np.floor(polygon.min(axis=0)).astype(int), 0)
    high = np.ceil(polygon.max(axis=0)).astype(int)
    window = image[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(window.shape[:2], dtype=np.uint8)
    cv2.fillPoly(mask, [np.round(polygon - low).astype(np.int32)], 255)
    fade = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 3)[1:-1, 1:-1] / 12
    alpha = np.minimum(fade, 1)[..., None]
    blurred = cv2.GaussianBlur(window, (0, 0), rng.uniform(3.5, 6)).astype(np.float32)
    veiled = blurred * 0.75 + 60
    window[...] = (window * (1 - alpha) + veiled * alpha).astype(np.uint8)


def _expose(rng: Rng, image: RgbImage) -> RgbImage:
    """Take the photograph: light and cloud, tint, lens blur, sensor noise."""
    height, width = image.shape[:2]
    cloud = 1 + 0.07 * smooth_noise(rng, width, height, max(width, height) / 3)
    tint = rng.uniform(0.94, 1.06, 3) * rng.uniform(0.82, 1.1)
    blurred = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.45, 0.75)).astype(np.float32)
    blurred *= cloud[..., None]
    blurred *= tint.astype(np.float32)
    contrast, haze = rng.uniform(0.85, 1.05), rng.uniform(0, 14)
    noise = rng.standard_normal((height, width), dtype=np.float32) * np.float32(rng.uniform(1.5, 4))
    blurred *= np.float32(contrast)
    blurred += (noise + np.float32(haze))[..., None]
    return np.clip(blurred, 0, 255).astype(np.uint8)


def _labelled(item: Item, kind: BoxKind, *, ignore: bool) -> _Labelled:
    assert item.label is not None
    polygon = corners(item.pose)
    around = polygon if kind == "oriented" else outline(item.shape, item.pose)
    return _Labelled(item.label, item.pose, polygon, enclosing(around), ignore)


def _region(polygon: FloatArray) -> _Labelled:
    (cx, cy), (length, breadth), degrees = cv2.minAreaRect(polygon.astype(np.float32))
    pose = Pose(cx, cy, length, breadth, np.deg2rad(degrees))
    return _Labelled(REGION, pose, polygon, enclosing(polygon), True)


def _annotations(rows: list[_Labelled], width: int, height: int, kind: BoxKind) -> Annotations:
    """Gather the columns; coordinates are rounded to 1/100 px as a file would have them."""
    boxes = np.array([row.xyxy for row in rows]).reshape(-1, 4).round(2)
    xywh = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1).round(2)
    area, obb, polygons = xywh[:, 2] * xywh[:, 3], None, None
    if kind == "oriented":
        poses = [(p.cx, p.cy, p.length, p.width, p.angle) for p in (row.pose for row in rows)]
        # rounded toward zero: rounding up could reach pi / 2, which is outside the range
        obb = np.trunc(canonical(np.array(poses).reshape(-1, 5)) * 1e4) / 1e4
        area = obb[:, 2] * obb[:, 3]
        points = [row.polygon.round(2) for row in rows]
        offsets = np.cumsum([0] + [len(part) for part in points]).astype(np.int64)
        polygons = Polygons(np.concatenate([*points, np.zeros((0, 2))]), offsets)
    return Annotations(
        images=(ImageRecord(1, "", width, height),),
        categories=CATEGORIES,
        ids=np.arange(1, len(rows) + 1, dtype=np.int64),
        image_index=np.zeros(len(rows), dtype=np.int64),
        labels=np.array([row.label for row in rows], dtype=np.int64),
        xywh=xywh,
        area=area.round(2),
        ignore=np.array([row.ignore for row in rows], dtype=np.bool_),
        obb=obb,
        polygons=polygons,
    )
