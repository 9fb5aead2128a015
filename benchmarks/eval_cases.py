"""Seeded evaluation data sets of any size, alike SODA-D (upright) and SODA-A (oriented).

Their statistics are what matters to an evaluator: objects and detections an image, how they crowd,
equal scores, areas on range borders, ignored objects. Files are COCO JSON and lists of predictions.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt

from sodkit.arrays import FloatArray, IntArray
from sodkit.geometry.rotated import canonical, obb_to_xywh

UPRIGHT_SHARES = np.array([16, 3, 2, 4, 38, 18, 13, 5, 1]) / 100
ORIENTED_SHARES = np.array([4, 1, 53, 2, 7, 20, 4, 3, 6]) / 100
HIDDEN = 1e12
"""Area of ignored objects: peers know no ignore flag, only areas outside every range."""


@dataclass(frozen=True)
class Boxes:
    """Columns of objects or detections; boxes are (N, 4) xywh or (N, 5) obb."""

    image: IntArray
    label: IntArray
    box: FloatArray
    score: FloatArray
    ignored: npt.NDArray[np.bool_]

    def take(self, rows: IntArray) -> Boxes:
        """Select rows."""
        return Boxes(
            self.image[rows], self.label[rows], self.box[rows], self.score[rows], self.ignored[rows]
        )


def upright(images: int, seed: int) -> tuple[Boxes, Boxes]:
    """About 11 objects and 112 detections an image of 3500 x 2500 px, half the objects crowded."""
    rng = np.random.default_rng(seed)
    counts = rng.negative_binomial(2, 2 / 13.3, images)
    image = np.repeat(np.arange(images), counts)
    n = len(image)
    side, ratio = np.clip(rng.lognormal(2.95, 0.5, n), 5, 60), rng.lognormal(0, 0.35, n)
    size = np.round(np.stack([side * np.sqrt(ratio), side / np.sqrt(ratio)], 1), 1)
    border = rng.random(n) < 0.06
    size[border] = np.array([(12, 12), (20, 20), (32, 32), (40, 50)])[
        rng.integers(0, 4, int(border.sum()))
    ]
    centre = rng.uniform((40, 40), (3460, 2460), (n, 2))
    _crowd(rng, image, centre, share=0.5, spread=16.0)
    objects = Boxes(
        image,
        rng.choice(9, n, p=UPRIGHT_SHARES),
        np.round(np.concatenate([centre - size / 2, size], 1), 1),
        np.zeros(n),
        rng.random(n) < 0.06,
    )
    hits = _repeat(rng, objects)
    noise = np.abs(rng.normal(0, 0.09, (len(hits.box), 1)))
    shift = rng.normal(0, 1, (len(hits.box), 4)) * noise
    box = hits.box.copy()
    box[:, :2] += shift[:, :2] * box[:, 2:]
    box[:, 2:] *= np.exp(shift[:, 2:])
    f = rng.poisson(100 * images)
    false_side, false_ratio = np.clip(rng.lognormal(2.95, 0.55, f), 3, 80), rng.lognormal(0, 0.4, f)
    false_size = np.stack([false_side * np.sqrt(false_ratio), false_side / np.sqrt(false_ratio)], 1)
    false = np.concatenate([rng.uniform((0, 0), (3420, 2420), (f, 2)), false_size], 1)
    box = np.round(np.concatenate([box, false]), 2)
    return objects, _mix(rng, hits, noise[:, 0], box, images, UPRIGHT_SHARES)


def oriented(images: int, seed: int) -> tuple[Boxes, Boxes]:
    """About 360 objects (thousands in some) and 730 detections an image, most parked in rows."""
    rng = np.random.default_rng(seed)
    counts = np.minimum(rng.lognormal(5.5, 0.9, images).astype(int), 6000)
    image = np.repeat(np.arange(images), counts)
    n = len(image)
    main = rng.choice(9, images, p=ORIENTED_SHARES)[image]
    label = np.where(rng.random(n) < 0.8, main, rng.choice(9, n, p=ORIENTED_SHARES))
    side, ratio = np.clip(rng.lognormal(2.9, 0.4, n), 3.5, 55), rng.lognormal(0.8, 0.3, n)
    size = np.stack([side * np.sqrt(ratio), side / np.sqrt(ratio)], 1)
    centre = rng.uniform((40, 40), (4660, 2760), (n, 2))
    angle = rng.uniform(-np.pi / 2, np.pi / 2, n)
    _park(rng, image, centre, angle, size)
    obb = canonical(np.column_stack([centre, size, angle]))
    objects = Boxes(image, label, np.round(obb, 4), np.zeros(n), rng.random(n) < 0.02)
    hits = _repeat(rng, objects)
    noise = np.abs(rng.normal(0, 0.1, (len(hits.box), 1)))
    shift = rng.normal(0, 1, (len(hits.box), 5)) * noise
    box = hits.box.copy()
    box[:, :2] += shift[:, :2] * box[:, 3:4]
    box[:, 2:4] *= np.exp(shift[:, 2:4])
    box[:, 4] += 0.6 * shift[:, 4]
    f = n + 20 * images - len(box) + n
    false_side = np.clip(rng.lognormal(2.9, 0.5, f), 3, 90)
    false_size = np.stack([false_side, false_side * rng.uniform(0.3, 1, f)], 1)
    place, turn = rng.uniform((0, 0), (4700, 2800), (f, 2)), rng.uniform(-1.57, 1.57, f)
    box = np.concatenate([box, np.column_stack([place, false_size, turn])])
    box = np.round(canonical(box), 4)
    return objects, _mix(rng, hits, noise[:, 0], box, images, ORIENTED_SHARES, main=objects)


def _crowd(
    rng: np.random.Generator, image: IntArray, centre: FloatArray, share: float, spread: float
) -> None:
    """Move objects beside the one before them in the same image."""
    rows = np.flatnonzero((rng.random(len(image)) < share) & (image == np.roll(image, 1)))
    centre[rows] = centre[rows - 1] + rng.normal(0, spread, (len(rows), 2))


def _park(
    rng: np.random.Generator,
    image: IntArray,
    centre: FloatArray,
    angle: FloatArray,
    size: FloatArray,
) -> None:
    """Put seven of ten objects side by side in rows of about 20 with a common angle."""
    start = (rng.random(len(image)) < 0.05) | (image != np.roll(image, 1))
    start[:1] = True
    row = np.cumsum(start) - 1
    first = np.flatnonzero(start)
    width = np.cumsum(size[:, 1] * 1.12)
    along = width - width[first][row]
    parked = rng.random(len(image)) < 0.7
    turn = angle[first][row]
    line = np.stack([-np.sin(turn), np.cos(turn)], 1) * along[:, None]
    placed = centre[first][row] + line + rng.normal(0, 0.6, (len(image), 2))
    centre[parked], angle[parked] = placed[parked], (turn + rng.normal(0, 0.03, len(turn)))[parked]
    np.clip(centre, (5, 5), (4695, 2795), out=centre)


def _repeat(rng: np.random.Generator, objects: Boxes) -> Boxes:
    """Return every object none to three times, a few exactly where they are."""
    times = rng.choice(4, len(objects.box), p=[0.21, 0.5, 0.21, 0.08])
    return objects.take(np.repeat(np.arange(len(times)), times))


def _mix(
    rng: np.random.Generator,
    hits: Boxes,
    noise: FloatArray,
    box: FloatArray,
    images: int,
    shares: FloatArray,
    main: Boxes | None = None,
) -> Boxes:
    """Join hits and false positives, score them (a third tied), order by image, shuffle inside."""
    f = len(box) - len(hits.box)
    label = np.where(
        rng.random(len(hits.label)) < 0.93, hits.label, rng.integers(0, 9, len(hits.label))
    )
    if main is None:
        image, other = rng.integers(0, images, f), rng.choice(9, f, p=shares)
    else:  # false positives where and of the classes that the objects are
        like = rng.integers(0, len(main.image), f)
        image, other = main.image[like], main.label[like]
    score = np.concatenate(
        [np.clip(rng.beta(4, 2, len(noise)) - noise, 0.01, 1), rng.beta(1.2, 7, f)]
    )
    tied = rng.random(len(score)) < 0.3
    score = np.where(tied, np.round(score * 20) / 20, np.round(score, 4))
    image = np.concatenate([hits.image, image])
    order = np.lexsort([rng.random(len(image)), image])
    none = np.zeros(len(image), np.bool_)
    return Boxes(image, np.concatenate([label, other]), box, score, none).take(order)


def make(folder: Path, kind: str, images: int, seed: int, times: int = 1) -> tuple[Path, Path]:
    """Generate and write a case ("upright" or "oriented"), ``times`` over with new images."""
    case = upright(images, seed) if kind == "upright" else oriented(images, seed)
    objects, found = (_tile(one, images, times) for one in case)
    return write(folder, f"{kind}_{images}x{times}", objects, found)


def _tile(one: Boxes, images: int, times: int) -> Boxes:
    return Boxes(
        np.concatenate([one.image + images * i for i in range(times)]),
        np.tile(one.label, times),
        np.tile(one.box, (times, 1)),
        np.tile(one.score, times),
        np.tile(one.ignored, times),
    )


def write(folder: Path, name: str, objects: Boxes, found: Boxes) -> tuple[Path, Path]:
    """Write ``NAME_truth.json`` and ``NAME_found.json``; return their paths."""
    turned = objects.box.shape[1] == 5
    xywh = np.round(obb_to_xywh(objects.box), 3) if turned else objects.box
    area = np.where(objects.ignored, HIDDEN, _area(objects.box))
    truth = {
        "images": [
            {"id": i + 1, "file_name": f"{i}.jpg", "width": 4700, "height": 2800}
            for i in range(int(found.image.max()) + 1)
        ],
        "categories": [{"id": k + 1, "name": f"class {k}"} for k in range(9)],
        "annotations": [
            {
                "id": row + 1,
                "image_id": image + 1,
                "category_id": label + 1,
                "bbox": box,
                "area": size,
                "ignore": int(ignored),
                "iscrowd": 0,
                **({"obb": obb} if turned else {}),
            }
            for row, (image, label, box, size, ignored, obb) in enumerate(
                zip(
                    objects.image.tolist(),
                    objects.label.tolist(),
                    xywh.tolist(),
                    area.tolist(),
                    objects.ignored.tolist(),
                    objects.box.tolist(),
                    strict=True,
                )
            )
        ],
    }
    key = "obb" if turned else "bbox"
    rows = zip(
        (found.image + 1).tolist(),
        (found.label + 1).tolist(),
        found.score.tolist(),
        found.box.tolist(),
        strict=True,
    )
    results = [{"image_id": i, "category_id": k, "score": s, key: b} for i, k, s, b in rows]
    paths = folder / f"{name}_truth.json", folder / f"{name}_found.json"
    paths[0].write_bytes(msgspec.json.encode(truth))
    paths[1].write_bytes(msgspec.json.encode(results))
    return paths


def _area(box: FloatArray) -> FloatArray:
    return box[:, 2] * box[:, 3]
