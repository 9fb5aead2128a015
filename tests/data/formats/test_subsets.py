"""The subsets of a data set: found, chosen, read alone, with one list of classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from sodkit.data.checking.dataset_check import check_dataset
from sodkit.data.formats import choose_subset, find_images, find_subsets, read_annotations
from sodkit.data.formats.subset_names import by_subset, kind_of
from sodkit.data.formats.subsets import EVALUATED, TRAINED, VALIDATED, pick
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
    (warning,) = check_dataset(yolo).findings
    assert (warning.severity, warning.kind) == ("warning", "same-images")
    assert "these are the images of train" in warning.what


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


YOLO = "0 .5 .5 .2 .2\n1 .2 .2 .1 .1\n"
DOTA = "1 1 21 1 21 11 1 11 plane 0\n"


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("valid", "val"), ("train2017", "train"), ("testing", "test"), ("test-dev", "test"),
        ("VisDrone2019-DET-train", "train"), ("VisDrone2019-DET-test-challenge", "test"),
        ("my_val_set", "val"), ("xview_train_images", None), ("contest", None),
    ],
)  # fmt: skip
def test_kinds(name: str, kind: str | None) -> None:
    assert kind_of(name) == kind


def voc_file(name: str, label: str) -> str:
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    item = f"<object><name>{label}</name>{box}</object>"
    size = "<size><width>96</width><height>64</height></size>"
    return f"<annotation><filename>{name}.jpg</filename>{size}{item}</annotation>"


@pytest.mark.parametrize("lists", ["ImageSets/Main", "ImageSets", "Main"])
@pytest.mark.parametrize("base", [".", "FullDataSet"])
def test_lists_of_pascal_voc(
    tmp_path: Path, lists: str, base: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name, label in (("a", "car"), ("b", "bus"), ("c", "van")):
        text(tmp_path / base / "Annotations" / f"{name}.xml", voc_file(name, label))
        picture(tmp_path / base / "JPEGImages" / f"{name}.jpg")
    for subset, listed in (("train", "a\nb\n"), ("val", "c\n"), ("trainval", "a\nb\nc\n")):
        text(tmp_path / lists / f"{subset}.txt", listed)
    text(tmp_path / lists / "car_train.txt", "a 1\nb -1\n")
    assert [item.name for item in find_subsets(tmp_path)] == ["train", "val"]
    own = read_annotations(tmp_path, subset="val")
    assert [image.file_name for image in own.images] == ["c.jpg"]
    assert names(tmp_path, "train") == names(tmp_path, "val") == ["bus", "car", "van"]
    assert find_images(tmp_path, own, subset="val") == tmp_path / base / "JPEGImages"
    assert choose_subset(tmp_path, None, TRAINED).name == "train"
    assert len(read_annotations(tmp_path, subset="train")) == 2
    assert caplog.text == ""
    assert choose_subset(tmp_path, None, EVALUATED).name == "val"
    with pytest.raises(DataError, match="holds several subsets: train, val"):
        read_annotations(tmp_path, format="voc")
    own = read_annotations(tmp_path, format="voc", subset="val")
    assert [image.file_name for image in own.images] == ["c.jpg"]
    assert len(read_annotations(tmp_path / base / "Annotations")) == 3
    assert "all subsets are read together: train, val" in " ".join(caplog.text.split())


def test_a_stated_format_mixes_no_subsets(tmp_path: Path) -> None:
    for subset in ("train", "val"):
        picture(tmp_path / subset / "images" / f"{subset}.jpg")
        text(tmp_path / subset / "labels" / f"{subset}.txt", YOLO)
    with pytest.raises(DataError, match="holds several subsets: train, val"):
        read_annotations(tmp_path, format="yolo")
    own = read_annotations(tmp_path, format="yolo", subset="val")
    assert [Path(image.file_name).name for image in own.images] == ["val.jpg"]


def test_a_folder_in_a_folder_as_archives_are_unpacked(tmp_path: Path) -> None:
    inner = tmp_path / "my data v2"
    for subset in ("train", "val"):
        picture(inner / subset / "images" / "1.jpg")
        text(inner / subset / "labels" / "1.txt", YOLO)
    text(inner / "data.yaml", "train: train/images\nval: val/images\nnames: [car, person]\n")
    text(tmp_path / "__MACOSX" / "data.yaml", "names: [x]\n")
    text(tmp_path / "README.md", "")
    assert [item.name for item in find_subsets(tmp_path)] == ["train", "val"]
    assert names(tmp_path, "train") == ["car", "person"]
    (inner / "data.yaml").unlink()
    assert [item.name for item in find_subsets(tmp_path)] == ["train", "val"]


def test_roboflow_oriented_yolo_has_labels_as_dota(tmp_path: Path) -> None:
    for subset in ("train", "valid"):
        picture(tmp_path / subset / "images" / "1.jpg")
        text(tmp_path / subset / "labelTxt" / "1.txt", DOTA)
    text(tmp_path / "data.yaml", "train: ../train/images\nval: ../valid/images\nnames: [plane]\n")
    own = read_annotations(tmp_path, subset="val")
    assert (own.kind, len(own)) == ("oriented", 1)


@pytest.mark.parametrize(
    ("labels", "is_error"), [("labels/{}", True), ("{}/labels", True), ("{}/images", False)]
)
def test_a_subset_without_annotations(tmp_path: Path, labels: str, is_error: bool) -> None:
    layout = "images/{}" if labels == "labels/{}" else "{}/images"
    for subset in ("train", "val"):
        picture(tmp_path / layout.format(subset) / "1.jpg", value=len(subset))
        (tmp_path / labels.format(subset)).mkdir(parents=True, exist_ok=True)
    text(tmp_path / labels.replace("{}/images", "{}/labels").format("train") / "1.txt", YOLO)
    assert [item.name for item in find_subsets(tmp_path)] == ["train"]
    empty = tmp_path / (labels.format("val") if is_error else "val")
    for ask in (
        lambda: read_annotations(tmp_path, subset="val"),
        lambda: choose_subset(tmp_path, None, VALIDATED),
    ):
        with pytest.raises(DataError, match="the subset 'val' has no annotations") as caught:
            ask()
        assert caught.value.where == str(empty)
    assert choose_subset(tmp_path, None, TRAINED).name == "train"
    assert len(read_annotations(tmp_path, subset="train")) == 2
    found = [item for item in check_dataset(tmp_path).findings if item.kind == "no-annotations"]
    assert [(item.severity, item.where) for item in found] == [
        ("error" if is_error else "warning", str(empty))
    ]


def test_several_coco_files_are_not_guessed(tmp_path: Path) -> None:
    for name in ("a", "b"):
        coco(tmp_path / f"{name}.json", "1.jpg", ["car"], 0)
    with pytest.raises(DataError, match=r"holds 2 COCO files: a\.json, b\.json"):
        read_annotations(tmp_path)


def test_a_list_of_images_without_annotations_is_no_subset(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    text(tmp_path / "Annotations" / "a.xml", voc_file("a", "car"))
    for subset, listed in (("train", "a\n"), ("test", "b\nc\n")):
        text(tmp_path / "ImageSets" / "Main" / f"{subset}.txt", listed)
    assert [item.name for item in find_subsets(tmp_path)] == ["train"]
    assert len(read_annotations(tmp_path, subset="train")) == 1
    assert "none of the images of the subset 'test' has annotations" in caplog.text


def test_coco_files_that_differ_in_the_subset_only(tmp_path: Path) -> None:
    for subset in ("train", "test"):
        coco(tmp_path / f"annotations/aitod_{subset}_v1.json", f"{subset}.png", ["ship"], 0)
        picture(tmp_path / "images" / subset / f"{subset}.png", 9)
    assert [item.name for item in find_subsets(tmp_path)] == ["train", "test"]
    own = read_annotations(tmp_path, subset="test")
    assert [image.file_name for image in own.images] == ["test.png"]
    assert find_images(tmp_path, own, subset="test") == tmp_path / "images/test"


@pytest.mark.parametrize(
    ("stems", "found"),
    [
        (["set-train", "set-val"], {"train": 0, "val": 1}),
        (["coco_train", "annotations.val", "other"], {"train": 0, "val": 1}),
        (["set_train", "other_val"], {}),
        (["set_train"], {}),
        (["a_train_test", "a_val"], {}),
        (["a_train", "a_val", "b_train", "b_val"], {}),
        (["a_train", "a_val", "results"], {"train": 0, "val": 1}),
    ],
)
def test_files_by_subset(stems: list[str], found: dict[str, int]) -> None:
    files = [Path(f"{stem}.json") for stem in stems]
    assert by_subset(files) == {name: files[k] for name, k in found.items()}
