"""Boxes in another form than the format's are refused or noted, not read as they stand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sodkit.data.formats import read_annotations
from sodkit.data.formats.doubtful import as_corners, in_fractions
from sodkit.errors import DataError

LIMIT = (100.0, 80.0)


def coco(path: Path, *boxes: list[float]) -> Path:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 100, "height": 80}],
        "categories": [{"id": 1, "name": "car"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": box} for box in boxes],
    }
    path.write_text(json.dumps(content))
    return path


def test_fractions_are_refused(tmp_path: Path) -> None:
    path = coco(tmp_path / "a.json", [0.1, 0.2, 0.3, 0.1], [0.5, 0.5, 0.5, 0.5])
    with pytest.raises(DataError, match="all 2 boxes lie within one pixel") as caught:
        read_annotations(path)
    assert "multiply them by the width and height" in str(caught.value)
    assert len(read_annotations(coco(path, [0.1, 0.2, 0.3, 0.1], [0.5, 0.5, 2, 0.5]))) == 2


def test_fractions_as_corners_are_refused(tmp_path: Path) -> None:
    points = [0.1, 0.1, 0.2, 0.1, 0.2, 0.2, 0.1, 0.2]
    content = json.loads(coco(tmp_path / "b.json", [1, 1, 1, 1]).read_text())
    content["annotations"][0]["poly"] = points
    (tmp_path / "b.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="fractions of the image's size"):
        read_annotations(tmp_path / "b.json")


def test_corners_are_noted(tmp_path: Path) -> None:
    path = coco(tmp_path / "a.json", [10, 10, 30, 25], [60, 40, 90, 60], [70, 5, 80, 9])
    (note,) = read_annotations(path).notes
    assert note.what.startswith("2 of 3 boxes reach out of their image, and all would fit as corne")


@pytest.mark.parametrize(
    ("boxes", "doubtful"),
    [
        ([[10, 10, 30, 25], [60, 40, 90, 60]], True),
        ([[10, 10, 30, 25], [60, 40, 90, 30]], False),  # no corners: 30 is above 40
        ([[10, 10, 30, 25], [20, 20, 40, 30]], False),  # all within their image
        ([[60, 40, 90, 60]], False),  # one box alone says little
        ([], False),
    ],
)
def test_as_corners(boxes: list[list[float]], doubtful: bool) -> None:
    xywh = np.array(boxes, np.float64).reshape(-1, 4)
    assert (as_corners(xywh, np.tile(LIMIT, (len(xywh), 1))) is not None) == doubtful


def test_tiny_images_have_tiny_boxes() -> None:
    assert in_fractions(np.array([[0.0, 0, 1, 1]]), np.array([[4.0, 4]])) is None
    assert in_fractions(np.zeros((0, 4)), np.zeros((0, 2))) is None
