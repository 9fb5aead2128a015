"""batches.jpg: what it shows of a batch, and when it is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sodkit.data.batches import Batch, Target
from sodkit.data.images.decoding import read_image
from sodkit.viz import batch_picture
from sodkit.viz.batch_picture import BatchPicture, draw_batches
from sodkit.viz.palette import class_colour
from sodkit.viz.text import line_height

TOP = line_height(batch_picture.TEXT)


def batch(count: int = 2, *, oriented: bool = False, side: int = 160) -> Batch:
    """Grey images with an object of class 1 and an ignored part each."""
    images = torch.full((count, 3, side, side), 120, dtype=torch.uint8)
    box = torch.tensor([[20.0, 30.0, 60.0, 50.0]])
    ignored = torch.tensor([[80.0, 80.0, 120.0, 140.0]])
    obb = None
    if oriented:
        obb = torch.tensor([[40.0, 40.0, 40.0, 20.0, 0.0]])
        ignored = torch.tensor([[100.0, 110.0, 60.0, 40.0, -np.pi / 2]])
    one = Target(box, torch.tensor([1]), ignored, obb)
    return Batch(images, ((side, side),) * count, ((1.5, 1.5),) * count, (one,) * count,
                 tuple(range(count)))  # fmt: skip


@pytest.mark.parametrize("oriented", [False, True])
def test_boxes_are_around_their_objects_and_ignored_parts_dark(oriented: bool) -> None:
    picture = draw_batches([batch(1, oriented=oriented)], ["a", "b"])[TOP:].astype(int)
    colour = np.array(class_colour(1))
    close = np.abs(picture[:160, :160] - colour).max(2) < 60
    rows, columns = np.nonzero(close)
    assert abs(rows.min() - 28) <= 3
    assert abs(rows.max() - 52) <= 3
    assert abs(columns.min() - 18) <= 3
    assert abs(columns.max() - 62) <= 3
    assert (picture[31:49, 21:59] == 120).all()  # no line is over the object
    inside = picture[82:138, 82:118]
    assert inside.mean() < 80
    assert abs(picture[150, 150] - 120).max() == 0


def test_large_images_are_made_smaller_with_their_boxes() -> None:
    small = draw_batches([batch(1, side=2 * batch_picture.TILE)], ["a", "b"])
    assert small.shape[1] < 2 * batch_picture.TILE
    close = np.abs(small[TOP:].astype(int) - np.array(class_colour(1))).max(2) < 60
    _, columns = np.nonzero(close[:100, :100])
    assert abs(columns.min() - 9) <= 4


def test_it_is_written_until_it_has_enough_images(tmp_path: Path) -> None:
    path = tmp_path / "batches.jpg"
    write = BatchPicture(path, ["a", "b"])
    sizes = []
    for _ in range(8):
        write(batch(2))
        sizes.append(read_image(path).shape[0])
    assert sizes == sorted(sizes)
    assert sizes[4:] == sizes[4:5] * 4
    before = path.read_bytes()
    BatchPicture(path, ["a", "b"])(batch(1))
    assert path.read_bytes() == before


def test_an_image_without_objects() -> None:
    none = Target(torch.zeros(0, 4), torch.zeros(0).long(), torch.zeros(0, 4))
    empty = Batch(torch.zeros(1, 3, 64, 96, dtype=torch.uint8), ((60, 90),), ((1.0, 1.0),),
                  (none,), (5,))  # fmt: skip
    picture = draw_batches([empty], ["a"])
    assert picture.shape[1] == 96 + batch_picture.GAP
    assert (picture[TOP : TOP + 64, :96] == 0).all()
