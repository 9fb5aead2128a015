from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sodkit.config import load_recipe
from sodkit.data.images.decoding import write_image
from sodkit.data.records import Annotations, Category, ImageRecord
from sodkit.settings import Recipe

SMALL = (
    "model.backbone.name=resnet18",
    "model.backbone.weights=null",
    "model.backbone.frozen_stages=0",
    "model.backbone.norm=batch",
    "model.roi.hidden=32",
    "model.fpn.channels=32",
    "input.patch=96",
    "input.stride=64",
    "input.scale=1.0",
    "schedule.batch=2",
    "schedule.epochs=2",
    "schedule.steps=[1]",
    "schedule.warmup=3",
    "schedule.lr=0.002",
    "schedule.clip=10.0",
)


@pytest.fixture
def recipe() -> Recipe:
    """A detector small enough for a test to train."""
    return load_recipe("cfinet-r50-soda-d", SMALL)


def squares(count: int, seed: int = 0) -> tuple[list[np.ndarray], Annotations]:
    """Images of 96 px with bright squares; the last image is empty."""
    rng = np.random.default_rng(seed)
    images, boxes, index = [], [], []
    for number in range(count):
        image = rng.integers(0, 90, (96, 96, 3)).astype(np.uint8)
        for _ in range(0 if number == count - 1 else 4):
            x, y = rng.integers(0, 80, 2)
            side = int(rng.integers(8, 16))
            image[y : y + side, x : x + side] = 230
            boxes.append([x, y, side, side])
            index.append(number)
        images.append(image)
    total = len(boxes)
    annotations = Annotations(
        images=tuple(ImageRecord(k + 1, f"{k}.png", 96, 96) for k in range(count)),
        categories=(Category(3, "square"), Category(5, "other")),
        ids=np.arange(total),
        image_index=np.array(index),
        labels=np.arange(total) % 2,
        xywh=np.array(boxes, np.float64),
        area=np.prod(np.array(boxes, np.float64)[:, 2:], axis=1),
        ignore=np.arange(total) == 1,
    )
    return images, annotations


@pytest.fixture
def data(tmp_path: Path) -> tuple[Annotations, Path]:
    folder = tmp_path / "data"
    folder.mkdir()
    images, annotations = squares(5)
    for number, image in enumerate(images):
        write_image(folder / f"{number}.png", image)
    return annotations, folder
