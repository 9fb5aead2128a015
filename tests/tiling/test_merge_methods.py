"""Each way to merge against a slow, plain version of it on shapely's polygons."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from shapely.affinity import rotate

from sodkit.data.records import BoxKind, Detections
from sodkit.geometry.rotated import canonical, obb_to_corners, obb_to_xywh
from sodkit.settings import MergeMethod
from sodkit.tiling.merge import cut_by_border, merge_patches

KINDS: tuple[BoxKind, ...] = ("horizontal", "oriented")
Row = tuple[float, np.ndarray]
"""A score and a box, as ``boxes_of`` gives it."""


def scene(seed: int, kind: BoxKind, count: int = 40) -> tuple[Detections, np.ndarray]:
    """Objects in two images and classes, each found several times; and which boxes are cut."""
    rng = np.random.default_rng(seed)
    objects = count // 3 + 1
    base = np.c_[rng.uniform(0, 90, (objects, 2)), rng.uniform(8, 24, (objects, 2)),
                 rng.uniform(-1.5, 1.5, objects)]  # fmt: skip
    which = rng.integers(0, objects, count)
    obb = base[which] + rng.normal(0, 1, (count, 5)) * [1.5, 1.5, 1.5, 1.5, 0.1]
    cut = rng.random(count) < 0.4
    obb[cut, 2] *= rng.uniform(0.3, 0.9, cut.sum())
    obb = canonical(np.c_[obb[:, :2], np.abs(obb[:, 2:4]) + 1, obb[:, 4]])
    if kind == "horizontal":
        obb[:, 4] = 0
    xywh = np.c_[obb[:, :2] - obb[:, 2:4] / 2, obb[:, 2:4]]
    found = Detections(
        rng.integers(1, 3, objects)[which], rng.integers(0, 2, objects)[which],
        rng.permutation(count) / count + 0.01,
        xywh if kind == "horizontal" else obb_to_xywh(obb),
        None if kind == "horizontal" else obb,
    )  # fmt: skip
    return found, cut


def boxes_of(found: Detections) -> np.ndarray:
    return found.xyxy if found.obb is None else found.obb


def polygon(box: np.ndarray) -> shapely.Polygon:
    return shapely.box(*box) if len(box) == 4 else shapely.Polygon(obb_to_corners(box[None])[0])


def share(one: np.ndarray, other: np.ndarray, of: str) -> float:
    a, b = polygon(one), polygon(other)
    inter = a.intersection(b).area
    whole = {"union": a.area + b.area - inter, "smaller": min(a.area, b.area), "first": a.area}
    return float(inter / whole[of])


def slow_nms(rows: list[Row], cut: list[bool], limit: float) -> list[Row]:
    kept: list[Row] = []
    for row in rows:
        if all(share(row[1], other[1], "union") <= limit for other in kept):
            kept.append(row)
    return kept


def slow_border(rows: list[Row], cut: list[bool], limit: float) -> list[Row]:
    whole = slow_nms([row for row, is_cut in zip(rows, cut, strict=True) if not is_cut], [], limit)
    rest = [
        row
        for row, is_cut in zip(rows, cut, strict=True)
        if is_cut and all(share(row[1], other[1], "first") <= limit for other in whole)
    ]
    return sorted(whole + slow_nms(rest, [], limit), key=lambda row: -row[0])


def slow_nmm(rows: list[Row], cut: list[bool], limit: float) -> list[Row]:
    merged: list[Row] = []
    left = list(rows)
    while left:
        score, best = left[0]
        members = [box for _, box in left[1:] if share(best, box, "smaller") > limit]
        left = [row for row in left[1:] if not any(row[1] is box for box in members)]
        union = shapely.MultiPoint(
            [point for box in (best, *members) for point in polygon(box).exterior.coords]
        )
        if len(best) == 4:
            merged.append((score, np.array(union.bounds)))
            continue
        angle = math.degrees(best[4])
        x0, y0, x1, y1 = rotate(union, -angle, origin=(0, 0)).bounds
        centre = rotate(shapely.Point((x0 + x1) / 2, (y0 + y1) / 2), angle, origin=(0, 0))
        box = canonical(np.array([[centre.x, centre.y, x1 - x0, y1 - y0, best[4]]]))[0]
        merged.append((score, best if not members else box))
    return merged


def slow_wbf(rows: list[Row], cut: list[bool], limit: float) -> list[Row]:
    clusters: list[list[Row]] = []

    def fused(members: list[Row]) -> np.ndarray:
        weights = np.array([score for score, _ in members])
        mean = (weights[:, None] * np.array(forms(members))).sum(axis=0) / weights.sum()
        return canonical(mean[None])[0] if len(mean) == 5 else mean

    def forms(members: list[Row]) -> list[np.ndarray]:
        """Oriented boxes as they were when they came: turned towards the mean of those before."""
        if len(members[0][1]) == 4:
            return [box for _, box in members]
        out = [members[0][1]]
        for count in range(1, len(members)):
            weights = np.array([score for score, _ in members[:count]])
            mean = (weights[:, None] * np.array(out)).sum(axis=0) / weights.sum()
            out.append(like(members[count][1], mean))
        return out

    def like(box: np.ndarray, other: np.ndarray) -> np.ndarray:
        cx, cy, w, h, angle = box
        turned = [
            (cx, cy, *((h, w) if k % 2 else (w, h)), angle + k * math.pi / 2) for k in range(-6, 7)
        ]
        return np.array(min(turned, key=lambda one: abs(one[4] - other[4])))

    for row in rows:
        shares = [share(fused(cluster), row[1], "union") for cluster in clusters]
        if shares and max(shares) > limit:
            clusters[int(np.argmax(shares))].append(row)
        else:
            clusters.append([row])
    return [(cluster[0][0], fused(cluster)) for cluster in clusters]


SLOW: dict[MergeMethod, Callable[[list[Row], list[bool], float], list[Row]]] = {
    "nms": slow_nms, "wbf": slow_wbf, "nmm": slow_nmm, "border": slow_border,
}  # fmt: skip


@pytest.mark.parametrize("method", SLOW)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12)
@given(seed=st.integers(0, 10_000), limit=st.sampled_from([0.1, 0.3, 0.5, 0.7]))
def test_as_the_slow_version(method: MergeMethod, kind: BoxKind, seed: int, limit: float) -> None:
    found, cut = scene(seed, kind)
    merged = merge_patches(found, limit, method, cut)
    assert merged.kind == kind
    count = 0
    for image in (1, 2):
        for label in (0, 1):
            rows = np.flatnonzero((found.image_ids == image) & (found.labels == label))
            rows = rows[np.argsort(-found.scores[rows])]
            boxes = boxes_of(found)[rows]
            table = [(float(s), b) for s, b in zip(found.scores[rows], boxes, strict=True)]
            wanted = SLOW[method](table, cut[rows].tolist(), limit)
            mine = (merged.image_ids == image) & (merged.labels == label)
            assert merged.scores[mine].tolist() == [score for score, _ in wanted]
            for box, (_, other) in zip(boxes_of(merged)[mine], wanted, strict=True):
                assert polygon(box).symmetric_difference(polygon(other)).area < 1e-6
            count += len(wanted)
    assert count == len(merged)
    order = np.lexsort((-merged.scores, merged.image_ids))
    assert order.tolist() == list(range(len(merged)))
    if merged.obb is not None:
        np.testing.assert_array_equal(merged.obb, canonical(merged.obb))
        np.testing.assert_array_equal(merged.xywh, obb_to_xywh(merged.obb))


@pytest.mark.parametrize("method", SLOW)
@pytest.mark.parametrize("kind", KINDS)
def test_of_nothing_and_of_one(method: MergeMethod, kind: BoxKind) -> None:
    assert len(merge_patches(Detections.empty(kind), 0.5, method)) == 0
    found, _ = scene(1, kind, 1)
    merged = merge_patches(found, 0.5, method, np.array([True]))
    np.testing.assert_array_equal(merged.xywh, found.xywh)


@pytest.mark.parametrize("method", ["wbf", "nmm", "border"])
def test_boxes_that_meet_no_other_keep_their_bits(method: MergeMethod) -> None:
    xywh = np.array([[0.1, 0.2, 3.3, 4.7], [100.1, 7.3, 5.1, 6.1]])
    found = Detections(np.ones(2, np.int64), np.zeros(2, np.int64), np.array([0.3, 0.7]), xywh)
    merged = merge_patches(found, 0.5, method, np.zeros(2, np.bool_))
    np.testing.assert_array_equal(merged.xywh, xywh[::-1])


def test_boxes_at_the_border_of_a_patch() -> None:
    """Patch from 100 to 200; the image ends at 200 in x, not in y."""
    boxes = [
        (101, 150, 9, 9),
        (120, 103, 9, 9),
        (190, 150, 10, 9),
        (120, 189, 9, 9),
        (104, 104, 5, 5),
    ]
    found = Detections(
        np.ones(5, np.int64), np.zeros(5, np.int64), np.ones(5), np.array(boxes, np.float64)
    )
    flags = cut_by_border(found, (100, 100), 100, (200, 300), 4)
    assert flags.tolist() == [True, True, False, True, False]
    assert not cut_by_border(found, (0, 0), 300, (300, 300), 4).any()
    assert not cut_by_border(found, (100, 100), 100, (200, 300), 0).any()


def test_a_cut_box_yields_whatever_its_score() -> None:
    """The whole box covers it, with an IoU far below the threshold."""
    found = Detections(
        np.ones(2, np.int64), np.zeros(2, np.int64), np.array([0.9, 0.4]),
        np.array([[0.0, 0, 4, 10], [0, 0, 20, 10]]),
    )  # fmt: skip
    cut = np.array([True, False])
    assert merge_patches(found, 0.5, "border", cut).scores.tolist() == [0.4]
    assert merge_patches(found, 0.5, "nms", cut).scores.tolist() == [0.9, 0.4]
