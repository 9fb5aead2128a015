"""Generated evaluation cases and the peers that judge them.

One case is one class of a small data set: classes do not see each other, so one run of a peer
judges dozens of cases, table by table.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np

from sodkit.data.records import CROWD, IGNORED, Annotations, Category, Detections, ImageRecord
from sodkit.evaluation.protocol import Protocol
from sodkit.geometry.rotated import canonical, obb_to_xywh

BORDER_SIZES = [(12, 12), (20, 20), (32, 32), (40, 50), (16, 9), (25, 16), (64, 16)]
"""Sides whose areas lie exactly on the borders of SODA's ranges."""


def horizontal_case(
    seed: int, classes: int, images: int = 3, limit: int = 12
) -> tuple[Annotations, Detections]:
    """Small boxes on a grid of half pixels: equal IoUs, IoUs on thresholds, equal scores.

    Some classes have no objects, no detections, or more detections in an image than ``limit``.
    """
    rng = np.random.default_rng(seed)
    gts: list[tuple[int, int, list[float], bool]] = []
    dts: list[tuple[int, int, list[float], float]] = []
    for k in range(classes):
        for image in range(images):
            count = int(rng.choice([0, 1, 2, 3, 6], p=[0.25, 0.25, 0.25, 0.15, 0.1]))
            boxes = [_box(rng) for _ in range(count)]
            if count > 1 and rng.random() < 0.4:
                boxes[-1] = list(boxes[0])  # the same object twice: equal IoUs
            gts += [(image, k, box, bool(rng.random() < 0.2)) for box in boxes]
            many = limit + 5 if rng.random() < 0.1 else 4
            for _ in range(int(rng.integers(0, many + 1))):
                box = _near(rng, boxes) if boxes and rng.random() < 0.75 else _box(rng)
                dts.append((image, k, box, float(rng.integers(0, 6)) / 5))
    rng.shuffle(dts)
    return _annotations(gts, classes, images), _detections(dts)


def oriented_case(seed: int, classes: int, images: int = 3) -> tuple[Annotations, Detections]:
    """Rotated boxes; detections are perturbed so that no IoU lies on a threshold."""
    annotations, detections = horizontal_case(seed, classes, images)
    rng = np.random.default_rng(seed + 1_000_000)

    def turn(xywh: Any, jitter: float) -> Any:
        centre = xywh[:, :2] + xywh[:, 2:] / 2
        angle = rng.integers(-8, 8, len(xywh)) * (np.pi / 16)
        boxes = np.column_stack([centre, xywh[:, 2:], angle])
        return canonical(boxes + rng.normal(0, jitter, boxes.shape) * [1, 1, 1, 1, 0.05])

    obb, found = turn(annotations.xywh, 0.0), turn(detections.xywh, 0.01)
    # Half of the detections follow an object's angle, or hardly any would match.
    for row in range(len(found)):
        same = np.flatnonzero(
            (annotations.labels == detections.labels[row])
            & (np.hypot(*(obb[:, :2] - found[row, :2]).T) < 6)
        )
        if len(same) and rng.random() < 0.8:
            found[row, 4] = obb[same[0], 4] + rng.normal(0, 0.05)
            found[row, 2:4] = np.sort(found[row, 2:4])[::-1]
    found = canonical(found)
    turned = Annotations(
        annotations.images, annotations.categories, annotations.ids, annotations.image_index,
        annotations.labels, obb_to_xywh(obb), obb[:, 2] * obb[:, 3], annotations.ignore, obb,
        flags=annotations.flags,
    )  # fmt: skip
    ids, labels, scores = detections.image_ids, detections.labels, detections.scores
    return turned, Detections(ids, labels, scores, obb_to_xywh(found), found)


def _box(rng: np.random.Generator) -> list[float]:
    if rng.random() < 0.4:
        width, height = BORDER_SIZES[rng.integers(len(BORDER_SIZES))]
    else:
        width, height = rng.integers(2, 100, 2) / 2
    x, y = rng.integers(0, 120, 2) / 2
    return [float(x), float(y), float(width), float(height)]


def _near(rng: np.random.Generator, boxes: list[list[float]]) -> list[float]:
    box = np.array(boxes[rng.integers(len(boxes))])
    if rng.random() < 0.3:
        return [float(v) for v in box]
    box = box + rng.integers(-3, 4, 4) / 2
    return [*map(float, box[:2]), max(float(box[2]), 0.5), max(float(box[3]), 0.5)]


def _annotations(
    gts: list[tuple[int, int, list[float], bool]], classes: int, images: int
) -> Annotations:
    xywh = np.array([box for _, _, box, _ in gts], np.float64).reshape(-1, 4)
    ignore = np.array([ignore for *_, ignore in gts], np.bool_)
    return Annotations(
        # Ids fall while the order in the file rises, and one of them is 0.
        images=tuple(ImageRecord(images - 1 - i, f"{i}.jpg", 200, 200) for i in range(images)),
        categories=tuple(Category(10 + k, f"class {k}") for k in range(classes)),
        ids=np.arange(len(gts), dtype=np.int64),
        image_index=np.array([images - 1 - image for image, *_ in gts], np.int64),
        labels=np.array([k for _, k, _, _ in gts], np.int64),
        xywh=xywh,
        area=xywh[:, 2] * xywh[:, 3],
        ignore=ignore,
        # By one flag, by the other, by both.
        flags=np.where(ignore, np.arange(len(gts)) % 3 + 1, 0).astype(np.uint8),
    )


def _detections(dts: list[tuple[int, int, list[float], float]]) -> Detections:
    return Detections(
        image_ids=np.array([image for image, *_ in dts], np.int64),
        labels=np.array([k for _, k, _, _ in dts], np.int64),
        scores=np.array([score for *_, score in dts], np.float64),
        xywh=np.array([box for _, _, box, _ in dts], np.float64).reshape(-1, 4),
    )


def as_coco(annotations: Annotations, *, crowd: bool) -> dict[str, Any]:
    """Return the ground truth for a peer.

    The peers overwrite ``ignore`` by ``iscrowd``: it is what counts where crowds do. Elsewhere
    ignored objects get an area that no range contains, and there are no crowds. Ids start at 1: 0
    means "no match" there.
    """
    rows = []
    for i in range(len(annotations)):
        hidden = bool(annotations.flagged(IGNORED)[i]) and not crowd
        row: dict[str, Any] = {
            "id": i + 1,
            "image_id": annotations.images[annotations.image_index[i]].id,
            "category_id": annotations.categories[annotations.labels[i]].id,
            "bbox": annotations.xywh[i].tolist(),
            "area": 1e12 if hidden else float(annotations.area[i]),
            "ignore": int(annotations.flagged(IGNORED)[i]),
            "iscrowd": int(annotations.flagged(CROWD)[i]) if crowd else 0,
        }
        if annotations.obb is not None:
            row["obb"] = annotations.obb[i].tolist()
        rows.append(row)
    images = [
        {"id": one.id, "file_name": one.file_name, "width": one.width, "height": one.height}
        for one in annotations.images
    ]
    categories = [{"id": one.id, "name": one.name} for one in annotations.categories]
    return {"images": images, "annotations": rows, "categories": categories}


def as_results(annotations: Annotations, detections: Detections) -> list[dict[str, Any]]:
    """Return the detections for a peer."""
    ids = [category.id for category in annotations.categories]
    rows = []
    for i in range(len(detections)):
        row: dict[str, Any] = {
            "image_id": int(detections.image_ids[i]),
            "category_id": ids[detections.labels[i]],
            "score": float(detections.scores[i]),
        }
        if detections.obb is None:
            row["bbox"] = detections.xywh[i].tolist()
        else:
            row["obb"] = detections.obb[i].tolist()
        rows.append(row)
    return rows


def pycocotools_tables(
    annotations: Annotations, detections: Detections, protocol: Protocol, *, agnostic: bool = False
) -> tuple[Any, Any]:
    """Return pycocotools' precision (T, R, K, A, M) and recall (T, K, A, M), NaN undefined."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = as_coco(annotations, crowd=protocol.crowd)
        truth.createIndex()
        found = truth.loadRes(as_results(annotations, detections))
        peer = COCOeval(truth, found, "bbox")
        peer.params.useCats = int(not agnostic)
        peer.params.areaRng = [[one.low, one.high] for one in protocol.areas]
        peer.params.areaRngLbl = [one.name for one in protocol.areas]
        peer.params.maxDets = list(protocol.max_dets)
        peer.evaluate()
        peer.accumulate()
    return _undefined(peer.eval["precision"]), _undefined(peer.eval["recall"])


def hotcoco_tables(
    annotations: Annotations, detections: Detections, protocol: Protocol
) -> tuple[Any, Any]:
    """Return the tables of hotcoco's ``obb`` evaluation, NaN undefined."""
    import hotcoco

    with contextlib.redirect_stdout(io.StringIO()):
        truth = hotcoco.COCO(as_coco(annotations, crowd=False))
        found = truth.load_res(as_results(annotations, detections))
        peer = hotcoco.COCOeval(truth, found, "obb")
        peer.params.area_rng = [[one.low, one.high] for one in protocol.areas]
        peer.params.area_rng_lbl = [one.name for one in protocol.areas]
        peer.params.max_dets = list(protocol.max_dets)
        peer.evaluate()
        peer.accumulate()
    return _undefined(np.array(peer.eval["precision"])), _undefined(np.array(peer.eval["recall"]))


def _undefined(table: Any) -> Any:
    return np.where(table < 0, np.nan, table)
