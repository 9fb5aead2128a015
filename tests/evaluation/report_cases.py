"""Small annotations and detections for the tests of what a report shows."""

from dataclasses import replace

import numpy as np

from sodkit.data.records import REGION, Annotations, Category, Detections, ImageRecord
from sodkit.geometry.rotated import canonical, obb_to_xywh


def scene(objects, detections, *, classes=3, images=1, ignore=(), area=None):
    """Build a case by hand.

    Args:
        objects: (image id, label, x, y, w, h) each.
        detections: (image id, label, score, x, y, w, h) each.
        classes: number of classes.
        images: number of images, ids from 1.
        ignore: rows of ignored objects.
        area: of the objects as annotated, None: w * h.
    """
    gt = np.array(objects, float).reshape(-1, 6)
    dt = np.array(detections, float).reshape(-1, 7)
    flags = np.zeros(len(gt), bool)
    flags[list(ignore)] = True
    annotations = Annotations(
        images=tuple(ImageRecord(i + 1, f"{i + 1}.jpg", 400, 300) for i in range(images)),
        categories=tuple(Category(k + 1, f"class {k}") for k in range(classes)),
        ids=np.arange(1, len(gt) + 1),
        image_index=gt[:, 0].astype(np.int64) - 1,
        labels=gt[:, 1].astype(np.int64),
        xywh=gt[:, 2:],
        area=gt[:, 4] * gt[:, 5] if area is None else np.array(area, float),
        ignore=flags,
    )
    return annotations, Detections(
        dt[:, 0].astype(np.int64), dt[:, 1].astype(np.int64), dt[:, 2], dt[:, 3:]
    )


def random_case(seed, *, images=4, classes=3, objects=12, decimals=1, oriented=False):
    """Return a crowded case with ties, ignored objects, regions, empty images, all sizes.

    Image ids are neither ordered nor dense; detections stand in random order.
    """
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.arange(5, 5 + 3 * images))[:images]
    count = images * objects
    side = rng.choice([6.0, 11, 12, 18, 20, 28, 32, 42, 60], (count, 2))
    image = rng.integers(max(images - 1, 1), size=count)  # the last one stays empty
    truth = np.concatenate([rng.uniform(0, 90, (count, 2)), side], axis=1).round(1)
    labels = rng.integers(classes, size=count)
    ignore = rng.random(count) < 0.15
    region = rng.random(count) < 0.08
    source = rng.integers(count, size=3 * count)
    noise = rng.normal(0, rng.choice([0.02, 0.1, 0.3], (3 * count, 1)), (3 * count, 4))
    boxes = truth[source] + noise * np.tile(truth[source, 2:], 2)
    boxes[:, 2:] = np.maximum(boxes[:, 2:], 0.5)
    found = np.where(rng.random(len(source)) < 0.7, labels[source], rng.integers(classes))
    where = np.where(
        rng.random(len(source)) < 0.85, image[source], rng.integers(images, size=len(source))
    )
    annotations = Annotations(
        images=tuple(ImageRecord(int(i), f"{i}.jpg", 200, 200) for i in ids),
        categories=tuple(Category(k + 1, f"class {k}") for k in range(classes)),
        ids=np.arange(1, count + 1),
        image_index=image.astype(np.int64),
        labels=np.where(region, REGION, labels).astype(np.int64),
        xywh=truth,
        area=truth[:, 2] * truth[:, 3],
        ignore=ignore | region,
    )
    detections = Detections(
        ids[where].astype(np.int64),
        found.astype(np.int64),
        rng.random(len(source)).round(decimals),
        boxes,
    )
    return _turned(annotations, detections, rng) if oriented else (annotations, detections)


def _turned(annotations, detections, rng):
    """Give every box an angle, alike for boxes of one image."""
    angles = rng.uniform(-1.5, 1.5, len(annotations.images))
    by_id = dict(zip([i.id for i in annotations.images], angles, strict=True))

    def turn(boxes, angle):
        centre = boxes[:, :2] + boxes[:, 2:] / 2
        return canonical(np.concatenate([centre, boxes[:, 2:], angle[:, None]], axis=1))

    obb = turn(annotations.xywh, angles[annotations.image_index])
    found = turn(detections.xywh, np.array([by_id[i] for i in detections.image_ids]))
    return (
        replace(annotations, obb=obb, xywh=obb_to_xywh(obb)),
        replace(detections, obb=found, xywh=obb_to_xywh(found)),
    )
