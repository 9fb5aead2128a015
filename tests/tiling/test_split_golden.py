"""The two profiles against what the releases' splitters made of generated annotations.

Their defects are left out of the comparison where they show: SODA-A's splitter loses an image's
only polygon and polygons of five corners, and clamps corners at the left and top edge.
"""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sodkit.data.formats import read_annotations
from sodkit.data.records import Annotations
from sodkit.tiling.paint import paint_regions
from sodkit.tiling.settings import SODA_A, SODA_D, SplitSettings
from sodkit.tiling.split import ImageSplit, painted_rows, split_image

GOLDEN = Path(__file__).parents[1] / "golden" / "split"
Patches = dict[tuple[str, int, int], tuple[Annotations, npt.NDArray[np.bool_]]]


def load(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((GOLDEN / f"{name}.json").read_text())
    return content


def cut_all(annotations: Annotations, settings: SplitSettings) -> Patches:
    """Return, by image name and start, each patch's annotations and filled pixels of the image."""
    patches: Patches = {}
    for index, (image, rows) in enumerate(
        zip(annotations.images, annotations.rows_by_image(), strict=True)
    ):
        split = split_image(annotations, index, rows, settings, "x")
        filled = fill(annotations, index, rows, settings)
        for number, (x, y) in enumerate(split.cuts.starts.tolist()):
            key = (Path(image.file_name).stem, x, y)
            patches[key] = (of_patch(split, number), filled[y : y + 800, x : x + 800])
    return patches


def of_patch(split: ImageSplit, number: int) -> Annotations:
    return split.annotations.take(split.annotations.image_index == number)


def fill(
    annotations: Annotations, index: int, rows: Any, settings: SplitSettings
) -> npt.NDArray[np.bool_]:
    image = annotations.images[index]
    pixels = np.full((image.height, image.width, 3), 255, np.uint8)
    painted = painted_rows(annotations, rows, settings)
    spared = annotations.take(np.setdiff1d(rows, painted))
    paint_regions(pixels, annotations.take(painted), spared, settings.fill)
    return np.asarray(pixels[..., 0] == 0)


def golden_mask(name: str, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    path = GOLDEN / f"{name}.png"
    if not path.exists():
        return np.zeros(shape, np.bool_)
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert mask is not None
    return np.asarray(mask[: shape[0], : shape[1]] > 0)


@pytest.fixture(scope="module")
def soda_d(tmp_path_factory: pytest.TempPathFactory) -> Annotations:
    golden = load("sodad")
    names = {number: f"c{number}" for number in range(1, 10)} | {10: "ignore"}
    images = [
        {"id": i, "file_name": f"{i}.jpg", "width": w, "height": h}
        for i, _, w, h in golden["images"]
    ]
    rows = [
        {"image_id": image, "category_id": category, "bbox": bbox, "ignore": ignore}
        for image, category, bbox, ignore in golden["annotations"]
    ]
    categories = [{"id": number, "name": name} for number, name in names.items()]
    path = tmp_path_factory.mktemp("sodad") / "input.json"
    path.write_text(json.dumps({"images": images, "annotations": rows, "categories": categories}))
    return read_annotations(path)


def test_soda_d_is_the_releases(soda_d: Annotations) -> None:
    patches = cut_all(soda_d, SODA_D)
    golden = load("sodad")["patches"]
    assert len(golden) == 24
    for image, (x, y), expected in golden:
        own, filled = patches[str(image), x, y]
        assert [soda_d.categories[label].id for label in own.labels] == [e[0] for e in expected]
        np.testing.assert_array_equal(own.xywh, np.reshape([e[1] for e in expected], (-1, 4)))
        assert own.ignore.tolist() == [bool(e[2]) for e in expected]
        np.testing.assert_array_equal(own.area, own.xywh[:, 2] * own.xywh[:, 3])
        mask = golden_mask(f"sodad_{image}_{x}_{y}", filled.shape)
        np.testing.assert_array_equal(filled, mask, err_msg=f"{image} {x} {y}")


def test_soda_d_has_the_releases_windows(soda_d: Annotations) -> None:
    """All of them, and those of image 5, which has no annotations: the release never splits it."""
    golden = {(str(image), x, y) for image, (x, y), _ in load("sodad")["patches"]}
    own = set(cut_all(soda_d, SODA_D))
    assert own - golden == {("5", x, y) for x in (0, 100) for y in (0, 100)}
    assert golden <= own


@pytest.fixture(scope="module")
def soda_a(tmp_path_factory: pytest.TempPathFactory) -> Annotations:
    golden = load("sodaa")
    folder = tmp_path_factory.mktemp("sodaa")
    for name, width, height in golden["images"]:
        content = {
            "images": {"file_name": f"{name}.png", "width": width, "height": height},
            "annotations": [
                {"poly": poly, "category_id": category}
                for image, category, poly in golden["annotations"]
                if image == name
            ],
        }
        (folder / f"{name}.json").write_text(json.dumps(content))
    return read_annotations(folder)


def test_soda_a_is_the_releases(soda_a: Annotations) -> None:
    patches = cut_all(soda_a, SODA_A)
    golden = load("sodaa")["patches"]
    assert set(patches) == {(image, x, y) for image, (x, y), _, _ in golden}
    for image, (x, y), padded, expected in golden:
        own, filled = patches[image, x, y]
        assert 800 * 800 - filled.size == padded
        mask = golden_mask(f"sodaa_{image}_{x}_{y}", filled.shape)
        assert (filled != mask).sum() <= 300
        if image == "single":
            continue
        assert own.polygons is not None
        assert [soda_a.categories[label].id for label in own.labels] == [e[0] for e in expected]
        for row, (_, poly) in enumerate(expected):
            clamped = np.maximum(own.polygons[row], 0)
            np.testing.assert_allclose(clamped, np.reshape(poly, (-1, 2)), atol=0.01)


def test_soda_a_keeps_what_the_release_loses(soda_a: Annotations) -> None:
    """An image's only polygon is kept; five corners become a region, painted over."""
    patches = cut_all(soda_a, SODA_A)
    assert [len(patches["single", x, y][0]) for x in (0, 100) for y in (0, 100)] == [1, 1, 1, 1]
    own, filled = patches["big", 0, 0]
    more = filled & ~golden_mask("sodaa_big_0_0", filled.shape)
    rows, columns = np.nonzero(more)
    assert 100 < more.sum() < 300
    assert (columns.min() >= 790, columns.max() <= 804) == (True, True)
    assert (rows.min() >= 243, rows.max() <= 264) == (True, True)
    assert own.polygons is not None
    assert (np.diff(own.polygons.offsets) == 4).all()
