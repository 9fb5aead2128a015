"""Arrays and paths as images: found where they are, as if read from a file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sodkit.data.images.decoding import write_image
from sodkit.data.records import ImageRecord
from sodkit.engine.predict import predict_images
from sodkit.errors import DataError, ImageError, UsageError
from sodkit.settings import Recipe
from tests.engine.test_predict import OPTIONS, FindsBlobs

CPU = torch.device("cpu")


def square(at: tuple[int, int], kind: str = "uint8", highest: float = 255) -> Any:
    """Return (100, 120) black with a white square of 8 px."""
    image = np.zeros((100, 120), kind)
    image[at[1] : at[1] + 8, at[0] : at[0] + 8] = highest
    return image


def test_arrays_and_paths_mixed(recipe: Recipe, tmp_path: Path) -> None:
    """Ids are positions; a generator of more images than a batch gives the same as a list."""
    write_image(tmp_path / "a.png", np.repeat(square((9, 8))[..., None], 3, axis=2))
    grey = square((70, 40))
    given = [
        np.repeat(square((40, 30))[..., None], 3, axis=2),
        "a.png",
        tmp_path / "a.png",
        grey,
        grey[..., None].astype(np.uint16) * 257,
        (grey / 255)[..., None].repeat(4, axis=2),
    ]
    counted: list[tuple[int, int]] = []
    found = predict_images(
        FindsBlobs(), recipe, given, tmp_path, device=CPU, options=OPTIONS,
        progress=lambda done, total: counted.append((done, total)),
    )  # fmt: skip
    assert found.image_ids.tolist() == [0, 1, 2, 3, 4, 5]
    corners = [[40, 30], [9, 8], [9, 8], [70, 40], [70, 40], [70, 40]]
    assert found.xywh.tolist() == [[*corner, 8, 8] for corner in corners]
    assert counted == [(k, 6) for k in range(1, 7)]
    stream = (one for one in given)
    again = predict_images(FindsBlobs(), recipe, stream, tmp_path, device=CPU, options=OPTIONS)
    assert again.xywh.tolist() == found.xywh.tolist()
    assert again.image_ids.tolist() == found.image_ids.tolist()


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((0, 4, 3), np.uint8), "no image"),
        (np.zeros(9, np.uint8), "no image"),
        (np.zeros((3, 40, 50), np.uint8), "moveaxis"),
        (np.zeros((40, 50, 7), np.uint8), "bands=..."),
        (np.full((40, 50, 3), -1.5), "subtracting mean"),
        (np.full((40, 50, 3), 300.0), "values of 300 to 300"),
        (np.full((40, 50, 3), np.nan), "values of nan"),
        (np.full((40, 50), 1 << 20), "0 to 65535"),
        (np.full((40, 50), "a"), "holds no pixels"),
        ("missing.png", "missing.png"),
    ],
)
def test_what_is_no_image_is_refused_or_left_out(recipe: Recipe, image: Any, message: str) -> None:
    good = square((40, 30))
    with pytest.raises(DataError) as caught:
        predict_images(FindsBlobs(), recipe, [good, image], device=CPU, options=OPTIONS)
    assert message in str(caught.value)
    bad: list[tuple[ImageRecord, DataError]] = []
    found = predict_images(
        FindsBlobs(), recipe, [image, good], device=CPU, options=OPTIONS,
        on_bad=lambda record, error: bad.append((record, error)),
    )  # fmt: skip
    assert found.image_ids.tolist() == [1]
    assert [record.id for record, _ in bad] == [0]


@pytest.mark.parametrize("images", [np.zeros((9, 9, 3), np.uint8), "a.png", Path("a.png"), [3]])
def test_a_single_image_or_something_else(recipe: Recipe, images: Any) -> None:
    with pytest.raises(UsageError, match=r"single image|neither an array nor a path"):
        predict_images(FindsBlobs(), recipe, images, device=CPU, options=OPTIONS)


def test_a_value_beyond_the_stated_depth(recipe: Recipe) -> None:
    options = replace(OPTIONS, bit_depth=12)
    with pytest.raises(ImageError, match="--bit-depth 12 holds 0 to 4095"):
        predict_images(
            FindsBlobs(), recipe, [square((9, 9), "uint16", 5000)], device=CPU, options=options
        )
