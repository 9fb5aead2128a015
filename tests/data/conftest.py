"""A small data set, upright and oriented."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sodkit.data.images.decoding import write_image
from sodkit.data.records import REGION, Annotations, Category, ImageRecord
from sodkit.geometry import rotated


@pytest.fixture
def data(tmp_path: Path) -> tuple[Annotations, Path]:
    """Five images of different size; the fourth has no objects, the last only an ignored one."""
    rng = np.random.default_rng(0)
    records = []
    for number in range(5):
        width, height = 40 + 4 * number, 30
        write_image(
            tmp_path / f"{number}.png", rng.integers(0, 255, (height, width, 3)).astype(np.uint8)
        )
        records.append(ImageRecord(number + 1, f"{number}.png", width, height))
    annotations = Annotations(
        images=tuple(records),
        categories=(Category(1, "a"), Category(2, "b")),
        ids=np.arange(6),
        image_index=np.array([0, 0, 0, 1, 2, 4]),
        labels=np.array([0, 1, REGION, 1, 0, 0]),
        xywh=np.array(
            [[2, 3, 8, 6], [9, 9, 7, 7], [0, 0, 20, 20], [4, 4, 0.5, 9], [5, 5, 6, 6], [1, 1, 5, 5]]
        ),
        area=np.ones(6),
        ignore=np.array([False, False, True, False, False, True]),
    )
    return annotations, tmp_path


@pytest.fixture
def oriented(data: tuple[Annotations, Path]) -> tuple[Annotations, Path]:
    """The same images with oriented boxes; the fourth annotation is half a pixel thin."""
    annotations, folder = data
    obb = np.array(
        [
            [8.0, 9, 10, 4, 0.6], [20, 12, 9, 8, -1.2], [10, 10, 20, 20, 0], [9, 9, 9, 0.5, 1.0],
            [12, 12, 8, 6, -1.57], [5, 5, 6, 5, 0.1],
        ]
    )  # fmt: skip
    return replace(annotations, obb=obb, xywh=rotated.obb_to_xywh(obb)), folder
