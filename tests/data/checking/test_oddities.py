"""What is odd about annotations is said, with a number and the first place."""

import json
from pathlib import Path

from sodkit.data.checking.oddities import oddities
from sodkit.data.formats import read_annotations
from sodkit.data.opening import Source

SQUARE = [10, 10, 40, 10, 40, 40, 10, 40]
BOW_TIE = [10, 10, 40, 40, 40, 10, 10, 40]
HOUSE = [10, 20, 25, 5, 40, 20, 40, 40, 10, 40]
SLIVER = [10, 10, 40, 10, 40, 10.5, 10, 10.5]


def _read(folder: Path, *polygons: list[float]) -> list[str]:
    rows = [
        {"id": 7 + i, "image_id": 1, "category_id": 1, "poly": polygon}
        for i, polygon in enumerate(polygons)
    ]
    data = {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 80}],
        "categories": [{"id": 1, "name": "ship"}],
        "annotations": rows,
    }
    file = folder / "ann.json"
    file.write_text(json.dumps(data))
    return oddities(read_annotations(file))


def test_sound_annotations_are_not_mentioned(tmp_path: Path) -> None:
    assert _read(tmp_path, SQUARE) == []


def test_each_kind_is_counted_and_the_first_is_named(tmp_path: Path) -> None:
    crossing, cornered, thin = _read(tmp_path, SQUARE, BOW_TIE, HOUSE, SLIVER, BOW_TIE)
    assert crossing.startswith("2 objects with crossing sides")
    assert "annotation 8 of a.png" in crossing
    assert cornered.startswith("1 region of other than 4 corners")
    assert "annotation 9 of a.png" in cornered
    assert thin.startswith("1 object with a side below 1 px")
    assert "annotation 10 of a.png" in thin


def test_upright_slivers(tmp_path: Path) -> None:
    data = {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 80}],
        "categories": [{"id": 1, "name": "ship"}],
        "annotations": [{"id": 3, "image_id": 1, "category_id": 1, "bbox": [5, 5, 0.4, 9]}],
    }
    file = tmp_path / "ann.json"
    file.write_text(json.dumps(data))
    (sentence,) = oddities(read_annotations(file))
    assert sentence.startswith("1 object with a side below 1 px")


def test_splitting_says_it(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    from sodkit.tiling.root import SplitPlan, split_source
    from sodkit.tiling.settings import DEFAULT

    _read(tmp_path, BOW_TIE)
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((80, 100, 3), np.uint8))
    said: list[str] = []
    plan = SplitPlan(lambda name: DEFAULT, say=said.append)
    split_source(Source(tmp_path / "ann.json"), tmp_path / "out", plan)
    assert len(said) == 1
    assert "1 object with crossing sides" in said[0]


# RectLabel#241: masks exported as RLE, all with iscrowd 1
def test_most_objects_iscrowd(tmp_path: Path) -> None:
    box = {"image_id": 1, "category_id": 1, "bbox": [5, 5, 9, 9]}
    data = {
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 80}],
        "categories": [{"id": 1, "name": "ship"}],
        "annotations": [{**box, "iscrowd": 1}, {**box, "iscrowd": 1}, box],
    }
    file = tmp_path / "ann.json"
    file.write_text(json.dumps(data))
    (sentence,) = oddities(read_annotations(file))
    assert sentence.startswith("2 of 3 objects are iscrowd")
    data["annotations"] = [{**box, "iscrowd": 1}, box]
    file.write_text(json.dumps(data))
    assert oddities(read_annotations(file)) == []
