"""Splitting and merging are inverse: what patches show whole comes back as it was."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sodkit.data.records import Annotations, Category, Detections, ImageRecord, Polygons
from sodkit.geometry.nms import nms, nms_rotated
from sodkit.geometry.rotated import corners_to_obb, obb_to_corners
from sodkit.tiling.conservation import OUTCOMES, best_outcomes
from sodkit.tiling.merge import merge_patches, shift
from sodkit.tiling.settings import SODA_A, SODA_D, SplitSettings
from sodkit.tiling.split import ImageSplit, join_splits, split_image

IOU = 0.5
RULES = st.sampled_from(
    [
        SplitSettings(size=100, stride=70),
        replace(SODA_D, size=100, stride=70),
        replace(SODA_A, size=100, stride=70),
        SplitSettings(size=100, stride=70, also=((60, 30), (200, 100))),
    ]
)


@st.composite
def scenes(draw: st.DrawFn) -> Annotations:
    """Objects that fit the overlap of 30 px, none of one class on another above the threshold."""
    width, height = draw(st.integers(40, 400)), draw(st.integers(40, 400))
    oriented = draw(st.booleans())
    count = draw(st.integers(0, 25))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sides = rng.uniform(3, 20, (count, 2))
    angle = rng.uniform(-1.5, 1.5, count) if oriented else np.zeros(count)
    centre = rng.uniform(16, [width - 16, height - 16], (count, 2))
    obb = np.column_stack([centre, sides, angle]).reshape(-1, 5)
    labels = rng.integers(0, 2, count)
    corners = obb_to_corners(obb)
    low, high = corners.min(axis=1), corners.max(axis=1)
    xywh = np.concatenate([low, high - low], axis=1)
    scores = np.ones(count)
    if oriented:
        kept = nms_rotated(obb, scores, IOU * 0.99, labels)
    else:
        kept = nms(np.concatenate([low, high], axis=1), scores, IOU * 0.99, labels)
    every = Annotations(
        images=(ImageRecord(4, "a.jpg", width, height),),
        categories=(Category(1, "one"), Category(2, "two")),
        ids=np.arange(1, count + 1),
        image_index=np.zeros(count, np.int64),
        labels=labels,
        xywh=xywh,
        area=sides.prod(axis=1),
        ignore=np.zeros(count, np.bool_),
        obb=corners_to_obb(corners) if oriented else None,
        polygons=Polygons(corners.reshape(-1, 2), np.arange(count + 1) * 4) if oriented else None,
    )
    return every.take(np.sort(kept))


def split(own: Annotations, rules: SplitSettings) -> ImageSplit:
    rows = np.arange(len(own))
    return join_splits([split_image(own, 0, rows, scale, "a") for scale in rules.scales])


def detections(part: ImageSplit, *, whole_only: bool) -> Detections:
    """What a perfect detector finds in the patches, in the pixels of the image."""
    own = part.annotations
    found = []
    for number, image in enumerate(own.images):
        mask = own.image_index == number
        if whole_only:
            mask &= ~part.truncated
        chosen = own.take(mask)
        assert image.start is not None
        at_patch = Detections(
            image_ids=np.full(len(chosen), number),
            labels=chosen.labels,
            scores=np.where(part.truncated[mask], 0.5, 0.9),
            xywh=chosen.xywh,
            obb=chosen.obb,
        )
        found.append(shift(at_patch, image.start, image_id=image.ori_id))
    return Detections.concatenate(found, own.kind)


def in_order(labels: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    table = np.column_stack([labels, boxes])
    return table[np.lexsort(np.round(table, 6).T)]


@settings(deadline=None, max_examples=150)
@given(scenes(), RULES)
def test_merging_whole_objects_gives_exactly_the_objects(
    own: Annotations, rules: SplitSettings
) -> None:
    merged = merge_patches(detections(split(own, rules), whole_only=True), IOU)
    assert len(merged) == len(own)
    np.testing.assert_allclose(
        in_order(merged.labels, merged.xywh), in_order(own.labels, own.xywh), atol=1e-6
    )
    if own.obb is not None and merged.obb is not None and len(own):
        back, before = obb_to_corners(merged.obb), obb_to_corners(own.obb)
        order_back = np.lexsort(np.round(merged.obb[:, :2], 4).T)
        order_before = np.lexsort(np.round(own.obb[:, :2], 4).T)
        np.testing.assert_allclose(
            np.sort(back[order_back], axis=1), np.sort(before[order_before], axis=1), atol=1e-5
        )


@settings(deadline=None, max_examples=50)
@given(scenes(), RULES)
def test_truncated_ones_add_no_more_than_the_report_counts(
    own: Annotations, rules: SplitSettings
) -> None:
    part = split(own, rules)
    added = len(merge_patches(detections(part, whole_only=False), IOU)) - len(own)
    assert 0 <= added <= int(part.truncated.sum())


@settings(deadline=None, max_examples=50)
@given(scenes(), RULES)
def test_nothing_is_lost_where_the_overlap_is_larger_than_the_objects(
    own: Annotations, rules: SplitSettings
) -> None:
    best = best_outcomes(own, np.arange(len(own)), split(own, rules).cuts)
    assert (best == OUTCOMES.index("whole")).all()
