import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sodkit.data.predictions.columns import CategoryIds, Stated
from sodkit.data.predictions.storage import read_predicted, read_predictions
from sodkit.data.records import Annotations, Category, ImageRecord
from sodkit.errors import DataError, UsageError

BOX: dict[str, Any] = {"category_id": 1, "score": 0.5, "bbox": [1, 2, 3, 4]}


def annotations(*names: str, classes: tuple[str, ...] = ("car", "bus")) -> Annotations:
    images = [ImageRecord(number, name, 99, 99) for number, name in enumerate(names, start=1)]
    none = np.zeros(0, np.int64)
    return Annotations(
        tuple(images), tuple(Category(k, name) for k, name in enumerate(classes, start=1)),
        none, none, none, np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.bool_),
    )  # fmt: skip


def written(folder: Path, *records: dict[str, Any]) -> Path:
    path = folder / "p.json"
    path.write_text(json.dumps([{**BOX, **record} for record in records]))
    return path


def beside(folder: Path, names: list[str], classes: list[str]) -> None:
    content = {
        "images": [{"id": k, "file_name": name} for k, name in enumerate(names, start=1)],
        "annotations": [],
        "categories": [{"id": k, "name": name} for k, name in enumerate(classes, start=1)],
    }
    (folder / "p.images.json").write_text(json.dumps(content))


# ultralytics#21557, #5780: the stem as image_id; vcoco#4: ids as floats
@pytest.mark.parametrize(
    "image_id", [2, 2.0, "2", "b", "b.jpg", "x/b.jpg", "x\\b.jpg", "/data/x/b.jpg", "x/b.png"]
)
def test_an_image_by_id_or_name(tmp_path: Path, image_id: object) -> None:
    path = written(tmp_path, {"image_id": image_id})
    assert read_predictions(path, annotations("x/a.jpg", "x/b.jpg")).image_ids.tolist() == [2]


@pytest.mark.parametrize("name", ["c", "y/b.jpg", "b.v2", "3", ""])
def test_an_image_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="not in the annotations"):
        read_predictions(written(tmp_path, {"image_id": name}), annotations("x/a.jpg", "x/b.jpg"))


def test_a_file_name_counts_more_than_the_id(tmp_path: Path) -> None:
    path = written(tmp_path, {"image_id": 1, "file_name": "b.jpg"})
    assert read_predictions(path, annotations("a.jpg", "b.jpg")).image_ids.tolist() == [2]


def test_a_name_that_fits_several_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="fits several"):
        read_predictions(written(tmp_path, {"image_id": "a"}), annotations("x/a.jpg", "y/a.jpg"))


def test_two_names_of_one_image(tmp_path: Path) -> None:
    path = written(tmp_path, {"image_id": "a.jpg"}, {"image_id": "a.png"})
    with pytest.raises(DataError, match=r"would all be the image a\.jpg"):
        read_predictions(path, annotations("a.jpg"))


def test_text_that_is_the_id_of_one_image_and_the_name_of_another(tmp_path: Path) -> None:
    path = written(tmp_path, {"image_id": "2"})
    with pytest.raises(DataError, match="id of one image and the name of another"):
        read_predictions(path, annotations("2.jpg", "1.jpg"))
    path = written(tmp_path, {"image_id": "02"})
    with pytest.raises(DataError, match="id of one image"):
        read_predictions(path, annotations("02.jpg", "1.jpg"))


def test_numbers_that_are_names_where_they_are_no_ids(tmp_path: Path) -> None:
    path, said = written(tmp_path, {"image_id": 139}), list[str]()
    known = annotations("000000139.jpg", "000000285.jpg")
    assert read_predicted(path, known, say=said.append).detections.image_ids.tolist() == [1]
    assert len(said) == 1


# sahi#298, cocoapi#230: ids of a folder's images and of the annotations are different
def test_the_list_beside_predictions_says_which_image_is_meant(tmp_path: Path) -> None:
    path = written(tmp_path, {"image_id": 1}, {"image_id": 3})
    beside(tmp_path, ["P1.png", "P2.png", "P3.png"], ["car"])
    found = read_predicted(path, annotations("P3.png", "P1.png", "P2.png", "P4.png"))
    assert found.detections.image_ids.tolist() == [2, 1]
    assert found.images.tolist() == [0, 1, 2]  # nothing found in P2.png, P4.png not looked at


def test_the_list_beside_predictions_is_of_others(tmp_path: Path) -> None:
    path = written(tmp_path, {"image_id": 5})
    beside(tmp_path, ["a.png"], ["car"])
    with pytest.raises(DataError, match=r"image_id 5 is not in p\.images\.json"):
        read_predictions(path, annotations("a.png"))
    beside(tmp_path, ["c.png"], ["car"])
    with pytest.raises(DataError, match=r"image c\.png is not in the annotations"):
        read_predictions(written(tmp_path, {"image_id": 1}), annotations("a.png"))
    (tmp_path / "p.images.json").write_text("[]")
    with pytest.raises(DataError, match="cannot be read") as caught:
        read_predictions(path, annotations("a.png"))
    assert caught.value.where == str(tmp_path / "p.images.json")


def test_classes_by_name(tmp_path: Path) -> None:
    records = [{"category_id": name} for name in ("bus", "Car", "2", 1)]
    path, said = written(tmp_path, *({"image_id": 1, **one} for one in records)), list[str]()
    found = read_predicted(path, annotations("a.png"), say=said.append)
    assert found.detections.labels.tolist() == [1, 0, 1, 0]
    assert len(said) == 1
    assert "'Car' is taken as 'car'" in said[0]
    path = written(tmp_path, {"image_id": 1, "category_id": 0, "category_name": "bus"})
    assert read_predictions(path, annotations("a.png")).labels.tolist() == [1]


def test_the_list_beside_predictions_names_the_classes(tmp_path: Path) -> None:
    path = written(tmp_path, {"image_id": 1}, {"image_id": 1, "category_id": 2})
    beside(tmp_path, ["a.png"], ["bus", "car"])
    assert read_predictions(path, annotations("a.png")).labels.tolist() == [1, 0]


def test_other_classes_are_refused_or_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, {"image_id": 1}, {"image_id": 1, "category_id": 2})
    beside(tmp_path, ["a.png"], ["car", "tram"])
    with pytest.raises(DataError, match="class 'tram'") as caught:
        read_predictions(path, annotations("a.png"))
    assert "--classes car" in (caught.value.hint or "")
    found = read_predicted(path, annotations("a.png"), drop_other_classes=True)
    assert found.detections.labels.tolist() == [0]
    assert found.other_classes == 1


# ultralytics counts classes from 1 in predictions.json and from 0 in labels
def test_class_ids_that_may_be_shifted_are_said(tmp_path: Path) -> None:
    known = annotations("a.png")
    known = replace(known, categories=(Category(0, "car"), Category(1, "bus")))
    said: list[str] = []
    path = written(tmp_path, {"image_id": "a", "file_name": "a.png"})
    assert read_predicted(path, known, say=said.append).detections.labels.tolist() == [1]
    assert "start at 1" in said[0]
    read_predicted(written(tmp_path, {"image_id": 1}), known, say=said.append)
    assert len(said) == 1


# ultralytics#21557: from 1 since file_name is written; YOLOv5 and YOLOv7: from 0
@pytest.mark.parametrize(("first", "wanted"), [(0, "from-0"), (1, "from-1")])
def test_class_numbers_as_positions(tmp_path: Path, first: int, wanted: CategoryIds) -> None:
    known = annotations("a.png", classes=("car", "bus", "ship"))
    known = replace(known, categories=tuple(replace(c, id=c.id + 40) for c in known.categories))
    path = written(tmp_path, *({"image_id": 1, "category_id": first + k} for k in range(3)))
    with pytest.raises(DataError) as caught:
        read_predicted(path, known)
    assert f"--category-ids {wanted} takes it" in (caught.value.hint or "")
    found = read_predicted(path, known, stated=Stated(category_ids=wanted))
    assert found.detections.labels.tolist() == [0, 1, 2]
    path = written(tmp_path, {"image_id": 1, "category_id": 9})
    with pytest.raises(DataError):
        read_predicted(path, known, stated=Stated(category_ids=wanted))


def test_stated_class_numbers_are_not_doubted(tmp_path: Path) -> None:
    known = annotations("a.png", classes=("car", "bus"))
    known = replace(known, categories=(Category(0, "car"), Category(1, "bus")))
    path = written(tmp_path, {"image_id": "a", "file_name": "a.png", "category_id": 1})
    said: list[str] = []
    labels: dict[CategoryIds, int] = {"data": 1, "from-0": 1, "from-1": 0}
    for numbers, label in labels.items():
        stated = Stated(category_ids=numbers)
        found = read_predicted(path, known, stated=stated, say=said.append)
        assert found.detections.labels.tolist() == [label]
    assert not said


# ultralytics writes COCO's own ids for a model of COCO; its labels count the 80 classes from 0
def test_class_numbers_of_coco(tmp_path: Path) -> None:
    known = annotations("a.png", classes=tuple(f"c{k}" for k in range(80)))
    known = replace(known, categories=tuple(replace(c, id=c.id - 1) for c in known.categories))
    path = written(tmp_path, *({"image_id": 1, "category_id": k} for k in (1, 11, 13, 90)))
    with pytest.raises(DataError) as caught:
        read_predicted(path, known)
    assert "--category-ids coco-91 takes it" in (caught.value.hint or "")
    found = read_predicted(path, known, stated=Stated(category_ids="coco-91"))
    assert found.detections.labels.tolist() == [0, 10, 11, 79]
    few = annotations("a.png")
    with pytest.raises(UsageError, match="80 classes"):
        read_predicted(path, few, stated=Stated(category_ids="coco-91"))
