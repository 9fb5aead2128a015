"""The subsets of a data set: found, chosen, read alone, with one list of classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sodkit.data.checking.dataset_check import check_dataset
from sodkit.data.formats import choose_subset, find_images, find_subsets, read_annotations
from sodkit.data.formats.subsets import EVALUATED, TRAINED, VALIDATED, kind_of, pick
from sodkit.data.images.decoding import write_image
from sodkit.errors import DataError, UsageError


def picture(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.full((64, 96, 3), value, np.uint8))


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def coco(path: Path, image: str, classes: list[str], label: int) -> None:
    content = {
        "images": [{"id": 1, "file_name": image, "width": 96, "height": 64}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(classes)],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": label, "bbox": [1, 2, 9, 8], "iscrowd": 0}
        ],
    }
    text(path, json.dumps(content))


def names(root: Path, subset: str) -> list[str]:
    return [item.name for item in read_annotations(root, subset=subset).categories]


def test_roboflow_coco(tmp_path: Path) -> None:
    for subset, classes in (("train", ["car", "bus"]), ("valid", ["bus", "van"])):
        coco(tmp_path / subset / "_annotations.coco.json", f"{subset}.jpg", classes, 1)
        picture(tmp_path / subset / f"{subset}.jpg")
    assert [item.name for item in find_subsets(tmp_path)] == ["train", "valid"]
    assert names(tmp_path, "train") == names(tmp_path, "val") == ["car", "bus", "van"]
    own = read_annotations(tmp_path, subset="valid")
    assert own.categories[own.labels[0]].name == "van"
    assert find_images(tmp_path, own, subset="valid") == tmp_path / "valid"
    assert len(read_annotations(tmp_path / "train").images) == 1


def test_coco_as_released(tmp_path: Path) -> None:
    for year in ("train2017", "val2017"):
        coco(tmp_path / "annotations" / f"instances_{year}.json", "1.jpg", ["car"], 0)
        text(tmp_path / "annotations" / f"captions_{year}.json", "{}")
        picture(tmp_path / year / "1.jpg")
    assert [item.name for item in find_subsets(tmp_path)] == ["train2017", "val2017"]
    own = read_annotations(tmp_path, subset="val")
    assert find_images(tmp_path, own, subset="val") == tmp_path / "val2017"


def test_voc_subsets_share_their_classes(tmp_path: Path) -> None:
    for subset, found in (("train", ["car", "person", "truck"]), ("val", ["car", "person"])):
        rows = "".join(
            f"<object><name>{name}</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax>"
            "<ymax>9</ymax></bndbox></object>"
            for name in found
        )
        size = "<size><width>96</width><height>64</height></size>"
        head = f"<annotation><filename>{subset}.jpg</filename>{size}"
        text(tmp_path / subset / "Annotations" / f"{subset}.xml", f"{head}{rows}</annotation>")
        picture(tmp_path / subset / "JPEGImages" / f"{subset}.jpg")
    assert names(tmp_path, "train") == names(tmp_path, "val") == ["car", "person", "truck"]


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    for subset, value in (("train", 10), ("valid", 200)):
        picture(tmp_path / subset / "images" / f"{subset}.jpg", value)
        text(tmp_path / subset / "labels" / f"{subset}.txt", "0 .5 .5 .2 .2\n")
    lines = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnames: [car]\n"
    text(tmp_path / "data.yaml", lines)
    return tmp_path


def test_a_subset_that_is_absent_is_an_error_only_if_asked_for(yolo: Path) -> None:
    assert [item.name for item in find_subsets(yolo / "data.yaml")] == ["train", "val"]
    own = read_annotations(yolo, subset="val")
    assert [image.file_name for image in own.images] == ["valid/images/valid.jpg"]
    with pytest.raises(UsageError, match="no subset 'test'"):
        read_annotations(yolo, subset="test")


def test_which_subset_a_command_takes(yolo: Path) -> None:
    assert choose_subset(yolo, None, TRAINED).name == "train"
    assert choose_subset(yolo / "data.yaml", None, VALIDATED).name == "val"
    assert choose_subset(yolo, None, EVALUATED).name == "val"
    assert choose_subset(yolo, "train", EVALUATED).name == "train"
    assert choose_subset(yolo / "valid" / "labels", None, TRAINED).name == ""
    (yolo / "data.yaml").write_text("train: train/images\nnames: [car]\n")
    with pytest.raises(DataError, match="has no subset 'val'"):
        choose_subset(yolo / "data.yaml", None, VALIDATED)


def test_the_same_image_in_two_subsets_is_an_error(yolo: Path) -> None:
    report = check_dataset(yolo)
    assert list(report.subsets) == ["train", "val"]
    assert report.count("error") == 0
    picture(yolo / "valid" / "images" / "valid.jpg", 10)
    assert [item.kind for item in check_dataset(yolo).findings] == ["absent", "in-two-subsets"]
    assert check_dataset(yolo, subset="val").count("error") == 0


def test_train_and_val_of_the_same_images_are_one_subset(yolo: Path) -> None:
    (yolo / "data.yaml").write_text("train: train/images\nval: train/images\nnames: [car]\n")
    assert [item.name for item in find_subsets(yolo)] == ["train"]
    assert len(read_annotations(yolo).images) == 1
    assert choose_subset(yolo, None, VALIDATED).name == "train"


@pytest.mark.parametrize(
    ("name", "kind"),
    [("valid", "val"), ("validation", "val"), ("train2017", "train"), ("testing", "test"),
     ("trainer", None), ("cars", None)],
)  # fmt: skip
def test_names_of_subsets(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


def test_two_subsets_of_a_kind_are_not_guessed(tmp_path: Path) -> None:
    for year in ("train2014", "train2017"):
        coco(tmp_path / "annotations" / f"instances_{year}.json", "1.jpg", ["car"], 0)
    found = find_subsets(tmp_path)
    assert pick(found, "train2014").name == "train2014"
    with pytest.raises(UsageError, match="several subsets 'train'"):
        pick(found, "train")
