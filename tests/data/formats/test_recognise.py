"""What ``predict`` writes beside images is not taken for their annotations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sodkit.data.formats import find_subsets, is_annotations, read_annotations, recognise
from sodkit.data.images.decoding import write_image
from sodkit.errors import DataError

FOUND = '\n [{"image_id": 1, "category_id": 0, "score": 0.5, "bbox": [1, 2, 3, 4]}]'


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_image(tmp_path / "a.png", np.zeros((80, 100, 3), np.uint8))
    (tmp_path / "found.images.json").write_text('{"images": [], "annotations": []}')
    return tmp_path


@pytest.mark.parametrize("name", ["found.json", "annotations.json", "train.json", "b.JSON"])
def test_a_folder_of_images_with_predictions(photos: Path, name: str) -> None:
    (photos / name).write_text(FOUND)
    assert not is_annotations(photos)
    assert find_subsets(photos) == []
    with pytest.raises(DataError, match="no annotations of a known format"):
        recognise(photos)


def test_annotations_beside_predictions_are_read_alone(photos: Path) -> None:
    (photos / "found.json").write_text(FOUND)
    item = {"poly": [1, 1, 9, 1, 9, 9, 1, 9], "category_id": 4}
    (photos / "a.json").write_text(json.dumps({"annotations": [item]}))
    assert recognise(photos) == "soda-a"
    own = read_annotations(photos)
    assert [image.file_name for image in own.images] == ["a.png"]
    assert len(own) == 1
