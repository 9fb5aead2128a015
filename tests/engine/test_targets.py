"""What is predicted on, and the files of what was found."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sodkit.data.formats import read_annotations
from sodkit.data.images.decoding import write_image
from sodkit.data.left_out import LeftOut
from sodkit.data.records import Category, Detections
from sodkit.engine.targets import check_holds, find_targets, write_found
from sodkit.errors import DataError, ModelError, UsageError

TRAINED = (Category(1, "car"), Category(2, "ship"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.png", "b.png"):
        write_image(tmp_path / "images" / name, np.zeros((8, 10, 3), np.uint8))
    content = {
        "images": [{"id": 7, "file_name": "b.png", "width": 10, "height": 8}],
        "annotations": [],
        "categories": [{"id": 5, "name": "ship"}, {"id": 4, "name": "car"}],
    }
    (tmp_path / "test.json").write_text(json.dumps(content))
    return tmp_path


def test_images_count_from_one_and_their_ids_are_written(folder: Path) -> None:
    targets = find_targets([folder / "images"], TRAINED)
    assert [(i.id, i.file_name) for i in targets.images] == [(1, "a.png"), (2, "b.png")]
    ids = write_found(folder / "found.json", Detections.empty(), targets)
    assert ids == folder / "found.images.json"
    assert read_annotations(ids, images=folder / "images").images == targets.images


def test_annotations_give_ids_and_the_order_of_the_checkpoint_counts(folder: Path) -> None:
    targets = find_targets([folder / "test.json"], TRAINED)
    assert [image.id for image in targets.images] == [7]
    assert [category.id for category in targets.categories] == [4, 5]
    assert targets.folder == folder / "images"
    (folder / "found.images.json").write_text("of earlier predictions")
    assert write_found(folder / "found.json", Detections.empty(), targets) is None
    names = json.loads((folder / "found.images.json").read_text())
    assert [(one["id"], one["file_name"]) for one in names["images"]] == [(7, "b.png")]
    assert {one["name"]: one["id"] for one in names["categories"]} == {"car": 4, "ship": 5}


def test_other_classes_are_named_with_the_likely_typo(folder: Path) -> None:
    with pytest.raises(ModelError) as error:
        find_targets([folder / "test.json"], (Category(1, "car"), Category(2, "shp")))
    assert "'shp' is not in it; the checkpoint does not know 'ship'" in error.value.what
    assert (error.value.hint or "").startswith("is 'ship' meant to be 'shp'?")


def test_some_classes_and_case(folder: Path) -> None:
    """Classes in common are predicted by --classes; a difference in case only is matched."""
    trained = (Category(1, "bus"), Category(2, "Car"), Category(3, "ship"))
    with pytest.raises(ModelError) as caught:
        find_targets([folder / "test.json"], trained)
    assert "--classes Car,ship" in (caught.value.hint or "")
    said: list[str] = []
    targets = find_targets([folder / "test.json"], trained, classes="Car,ship", say=said.append)
    assert [category.id for category in targets.categories] == [4, 5]
    assert targets.labels == (1, 2)
    assert len(said) == 1
    labels = np.array([0, 1, 2])
    found = Detections(labels, labels, labels / 4, np.ones((3, 4)))
    assert targets.chosen(found, 3).labels.tolist() == [0, 1]


def test_images_that_cannot_be_read(folder: Path) -> None:
    (folder / "images" / "0.png").write_bytes(b"no image")
    with pytest.raises(DataError) as caught:
        find_targets([folder / "images"], TRAINED)
    assert "--skip-bad" in (caught.value.hint or "")
    left = LeftOut(bad=True)
    targets = find_targets([folder / "images"], TRAINED, left=left)
    assert [(i.id, i.file_name) for i in targets.images] == [(1, "a.png"), (2, "b.png")]
    assert len(left.errors) == 1
    assert [image.id for image in targets.without([1]).images] == [2]


def test_task_1_holds_no_proposals(folder: Path) -> None:
    targets = find_targets([folder / "images"], TRAINED)
    check_holds(folder / "x.json", "horizontal", targets, proposals=True)
    check_holds(folder / "x.zip", "oriented", targets, proposals=False)
    for boxes, proposals in (("oriented", True), ("horizontal", False)):
        with pytest.raises(UsageError):
            check_holds(folder / "x.zip", boxes, targets, proposals=proposals)
