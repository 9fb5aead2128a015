"""What other tools write is refused with its name and the file to give instead."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sodkit.data.predictions.storage import read_predictions
from sodkit.data.records import Annotations, Category, ImageRecord
from sodkit.errors import DataError

BOX = {"x1": 1, "y1": 2, "x2": 3, "y2": 4}
RECORD = {"image_id": 1, "category_id": 1, "score": 0.5, "bbox": [1, 2, 3, 4]}


@pytest.fixture
def known() -> Annotations:
    none = np.zeros(0, np.int64)
    return Annotations(
        (ImageRecord(1, "a.png", 9, 9),), (Category(1, "car"),), none, none, none,
        np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.bool_),
    )  # fmt: skip


def refused(path: Path, known: Annotations) -> DataError:
    with pytest.raises(DataError) as caught:
        read_predictions(path, known)
    return caught.value


class Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("name", ["results.pkl", "results.json"])
def test_a_pickle_is_not_read(tmp_path: Path, known: Annotations, protocol: int, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(pickle.dumps([Trap(tmp_path / "sprung")], protocol))
    error = refused(path, known)
    assert not (tmp_path / "sprung").exists()
    if name == "results.pkl" or protocol > 1:
        assert "pickle" in error.what
        assert "test_evaluator.outfile_prefix" in (error.hint or "")


@pytest.mark.parametrize(
    ("name", "text", "advice"),
    [
        ("instances_predictions.pth", "PK", "coco_instances_results.json"),
        ("p.csv", "image_id,score\n1,.5\n", "to_json"),
        ("p.jsonl", json.dumps(RECORD) + "\n", "jq -s"),
        ("p.json", (json.dumps(RECORD) + "\n") * 2, "jq -s"),
        ("p.xml", "<annotation/>", "score"),
        ("p.json", "\x00\x01", "a JSON list"),
    ],
)
def test_files_that_are_no_json(
    tmp_path: Path, known: Annotations, name: str, text: str, advice: str
) -> None:
    (tmp_path / name).write_text(text)
    error = refused(tmp_path / name, known)
    assert str(tmp_path / name) in (error.where or "")
    assert advice in (error.hint or "")


@pytest.mark.parametrize(
    ("content", "tool", "advice"),
    [
        ([{"name": "car", "class": 0, "confidence": 0.9, "box": BOX}], "Ultralytics", "save_json"),
        (
            [{"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4, "confidence": 0.9, "class": 0}],
            "YOLOv5", "--save-json",
        ),
        ([{"frame_id": 1, "filename": "a.png", "objects": []}], "Darknet", "eval=coco"),
        ({"labels": [0], "scores": [0.9], "bboxes": [[1, 2, 3, 4]]}, "DetInferencer", "bbox.json"),
        ([{"score": 0.9, "label": "car", "box": BOX}], "transformers", "image_id"),
        ({"predictions": [{"x": 1, "confidence": 1}], "image": {}}, "Roboflow", "centre"),
        ({"samples": [{"filepath": "a.png"}]}, "FiftyOne", "COCODetectionDataset"),
        ({"results": [RECORD]}, "an object", "jq .results"),
        ({"a.png": [[1, 2, 3, 4, 0.9]]}, "not a list", "image_id"),
        ([{"image_id": 1, "score": 0.5, "segmentation": {}}], "none of bbox", ".bbox.json"),
    ],
)  # fmt: skip
def test_json_of_other_tools(
    tmp_path: Path, known: Annotations, content: object, tool: str, advice: str
) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps(content))
    error = refused(path, known)
    assert tool in error.what
    assert advice in (error.hint or "")
