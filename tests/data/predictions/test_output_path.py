from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from sodkit.data.predictions.dota_zip import write_task1
from sodkit.data.predictions.output_path import check_predictions_path, is_image_ids, is_predictions
from sodkit.data.predictions.storage import write_predictions
from sodkit.data.records import Category, Detections, ImageRecord
from sodkit.errors import UsageError


def detections(count: int) -> Detections:
    box = np.tile([1.0, 2.0, 3.0, 4.0, 0.1], (count, 1))
    zeros = np.zeros(count, np.int64)
    return Detections(zeros + 1, zeros, np.full(count, 0.5), box[:, :4], box)


@pytest.mark.parametrize("count", [0, 3])
@pytest.mark.parametrize("ending", [".json", ".npz", ".zip"])
def test_own_predictions_may_be_replaced(tmp_path: Path, ending: str, count: int) -> None:
    path, categories = tmp_path / f"a{ending}", (Category(1, "ship"),)
    if ending == ".zip":
        write_task1(path, [detections(count)], categories, [ImageRecord(1, "a.png", 9, 9)])
    else:
        write_predictions(path, detections(count), categories)
    assert is_predictions(path)
    check_predictions_path(path, overwrite=True)
    with pytest.raises(UsageError, match="exists already"):
        check_predictions_path(path, overwrite=False)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"images": []}', "[1, 2]", '[{"name": "a"}]', "image_id score", "\0\1"]
)
@pytest.mark.parametrize("ending", [".json", ".npz", ".zip"])
def test_other_files_are_not_replaced(tmp_path: Path, ending: str, text: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_text(text)
    with pytest.raises(UsageError, match="no file of predictions"):
        check_predictions_path(path, overwrite=True)
    assert not is_image_ids(path)


def test_another_zip_is_not_replaced(tmp_path: Path) -> None:
    for name in ("a.zip", "a.npz"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("photo.jpg", "mine")
        assert not is_predictions(tmp_path / name)


def test_annotations_under_the_name_of_image_ids_are_not_replaced(tmp_path: Path) -> None:
    ids = tmp_path / "a.images.json"
    content = {"images": [], "annotations": [{"id": 1}], "categories": []}
    ids.write_text(json.dumps(content))
    with pytest.raises(UsageError, match="image ids"):
        check_predictions_path(tmp_path / "a.json", overwrite=True)
    check_predictions_path(tmp_path / "a.json", overwrite=True, read=[ids])
    ids.write_text(json.dumps(content | {"annotations": []}))
    assert is_image_ids(ids)
    check_predictions_path(tmp_path / "a.json", overwrite=True)
