"""Mosaic, affine map and mix-up: mmdetection's, draw for draw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scenes import Logged, scene

from sodkit.arrays import FloatArray
from sodkit.data.samples import affine, mixup, mosaic
from sodkit.data.samples.augmentation import Placed
from sodkit.data.samples.contents import Contents, joined
from sodkit.settings.augment import Affine, MixUp, Mosaic

FILE = Path(__file__).parents[2] / "golden" / "systems" / "yolox" / "pipeline.json"
GOLDEN = json.loads(FILE.read_text())
SIDE, WHOLE = (192, 224), (384, 448)
Picture = tuple[Any, Contents]


def contents(size: tuple[int, int], boxes: FloatArray) -> Contents:
    """All objects are learnt; as rows they have their labels."""
    return Contents(Placed(size, boxes, None), np.arange(8) * 4 % 9, np.ones(8, bool))


def make_mosaic(number: int) -> Picture:
    draws = Logged(GOLDEN["mosaic"][number]["draws"])
    draws.uniform(0.0, 1.0)
    centre = mosaic.meeting(SIDE, Mosaic(), draws)
    assert draws.left == []
    picture, parts = np.full((*WHOLE, 3), 114, np.uint8), []
    sizes = [(height, width) for height, width in GOLDEN["sizes"]]
    for seed, (tile, size) in enumerate(
        zip(mosaic.tiles(sizes, SIDE, centre), sizes, strict=True), 30
    ):
        image, boxes = scene(seed, *size)
        tile.paint(image, picture)
        own = contents(size, boxes)
        parts.append(own.at(tile.place(own.placed, WHOLE)))
    return picture, joined(parts).seen()


def make_affine(number: int) -> Picture:
    picture, found = make_mosaic(number)
    draws = Logged(GOLDEN["affine"][number]["draws"])
    warp = affine.draw(SIDE, Affine(), draws)
    assert draws.left == []
    return warp.render(picture, 114), found.at(warp.place(found.placed)).seen()


def make_mixup(number: int) -> Picture:
    picture, found = make_affine(number)
    draws = Logged(GOLDEN["mixup"][number]["draws"])
    partner = mixup.draw(picture.shape[:2], SIDE, MixUp(), draws)
    assert draws.left == []
    image, boxes = scene(35, 180, 250)
    other = partner.place(contents((180, 250), boxes))
    return partner.render(image, picture, 114), joined([found, other])


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("make", [make_mosaic, make_affine, make_mixup])
def test_pictures_are_mmdetection_s(make: Any, number: int) -> None:
    want = GOLDEN[make.__name__.removeprefix("make_")][number]
    picture, found = make(number)
    assert list(picture.shape) == want["shape"]
    sample = np.linspace(0, picture.size - 1, 40).astype(np.int64)
    np.testing.assert_allclose(picture.flatten()[sample], want["pixels"], atol=2)
    # the original rounds the second image of a mix-up only after mixing, and down
    bias = 0.25 if make is make_mixup else 0.05
    assert picture.mean() == pytest.approx(want["mean"], abs=bias)
    np.testing.assert_allclose(found.placed.xyxy, want["boxes"], atol=1e-3)
    assert found.rows.tolist() == want["labels"]
    assert found.placed.size == picture.shape[:2]
