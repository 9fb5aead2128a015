"""DOTA, YOLO and Pascal VOC as other tools write them."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from sodkit.data.checking.dataset_check import check_dataset
from sodkit.data.formats import (
    find_images,
    find_subsets,
    is_annotations,
    read_annotations,
    recognise,
)
from sodkit.data.left_out import LeftOut
from sodkit.data.records import REGION
from sodkit.errors import DataError


def picture(path: Path, width: int = 100, height: int = 80) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode())
    return path


def test_dota_headers_line_ends_and_difficulty(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "P1.png")
    picture(tmp_path / "images" / "P0.png")
    text(
        tmp_path / "labelTxt" / "P1.txt",
        "\ufeffimagesource:GoogleEarth\r\ngsd:0.1\r\n"
        "1 1 21 1 21 11 1 11 ship 0\r\n5.5 5 15 5 15 15 5 15 plane 1\r\n"
        "5 5 15 5 15 15 5 15 ignore 0\r\n\r\n0 0 9 0 9 9 0 9 ship",
    )
    text(tmp_path / "labelTxt" / "P0.txt", "")
    for path in (tmp_path, tmp_path / "labelTxt"):
        assert recognise(path) == "dota"
        own = read_annotations(path)
        assert [(i.id, i.file_name, i.width) for i in own.images] == [
            (1, "P0.png", 100), (2, "P1.png", 100),
        ]  # fmt: skip
        assert len(own.categories) == 15
        assert own.labels.tolist() == [1, 0, REGION, 1]
        assert own.ignore.tolist() == [False, True, True, False]
        assert own.image_index.tolist() == [1, 1, 1, 1]
        assert own.xywh[0].tolist() == [1, 1, 20, 10]
        assert find_images(path, own) == tmp_path / "images"


def test_classes_file_fixes_the_order_and_names_the_closest(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    text(tmp_path / "classes.txt", "van\nlarge vehicle\ncar\n")
    file = text(tmp_path / "labelTxt" / "a.txt", "1 1 21 1 21 11 1 11 large vehicle 0\n")
    own = read_annotations(tmp_path)
    assert [item.name for item in own.categories] == ["van", "large vehicle", "car"]
    assert own.labels.tolist() == [1]
    text(file, "1 1 21 1 21 11 1 11 large-vehicel 0\n")
    with pytest.raises(DataError, match=r"a\.txt:1: unknown class 'large-vehicel'") as caught:
        read_annotations(tmp_path)
    assert "did you mean 'large vehicle'?" in str(caught.value)


def test_names_that_are_no_preset_are_sorted(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    text(tmp_path / "a.txt", "1 1 21 1 21 11 1 11 van 0\n1 1 21 1 21 11 1 11 auto 0\n")
    assert [item.name for item in read_annotations(tmp_path).categories] == ["auto", "van"]


def test_labels_without_an_image(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    for name in "ab":
        text(tmp_path / "labelTxt" / f"{name}.txt", "1 1 21 1 21 11 1 11 ship 0\n")
    with pytest.raises(DataError, match=r"b\.txt: there is no image of this name"):
        read_annotations(tmp_path)
    missing = LeftOut(bad=False, missing=True)
    own = read_annotations(tmp_path, report=missing.report)
    assert [image.file_name for image in own.images] == ["a.png", "b"]
    kept = missing.without_missing(own)
    assert [image.file_name for image in kept.images] == ["a.png"]
    assert len(kept) == 1


@pytest.fixture
def yolo(tmp_path: Path) -> Path:
    for subset, name in (("train", "a"), ("train", "deep/b"), ("val", "c")):
        picture(tmp_path / "images" / subset / f"{name}.jpg")
    text(tmp_path / "labels/train/a.txt", "1 0.5 0.5 0.2 0.25\n0 1.0 0.5 0.1 0.1\n")
    text(tmp_path / "labels/val/c.txt", "2 .1 .1 .1 .1\n")
    text(
        tmp_path / "data.yaml",
        "path: /somewhere/else\ntrain: images/train\nval: ../images/val\ntest:\n"
        "names:\n  0: car\n  1: large vehicle\n  2: ignore\n",
    )
    return tmp_path


def test_yolo_yaml_with_backgrounds_and_stale_paths(yolo: Path) -> None:
    for path in (yolo, yolo / "data.yaml"):
        val = read_annotations(path, subset="val")
        assert [image.file_name for image in val.images] == ["images/val/c.jpg"]
        assert val.labels.tolist() == [REGION]
        own = read_annotations(path, subset="train")
        names = ["images/train/a.jpg", "images/train/deep/b.jpg"]
        assert [image.file_name for image in own.images] == names
        assert [item.name for item in own.categories] == ["car", "large vehicle"]
        assert own.labels.tolist() == [1, 0]
        with pytest.raises(DataError, match="holds several subsets"):
            read_annotations(path)
        np.testing.assert_allclose(own.xywh[0], [40, 30, 20, 20])
        np.testing.assert_allclose(own.xywh[1], [95, 36, 10, 8])
        assert find_images(path, own) == yolo


def test_yolo_subsets(yolo: Path) -> None:
    assert [(item.name, item.path) for item in find_subsets(yolo)] == [
        ("train", yolo / "data.yaml"), ("val", yolo / "data.yaml"),
    ]  # fmt: skip
    own = read_annotations(yolo / "labels" / "train")
    assert [image.file_name for image in own.images] == ["a.jpg", "deep/b.jpg"]
    assert own.categories[1].name == "large vehicle"
    assert find_images(yolo / "labels" / "train", own) == yolo / "images" / "train"


def test_yolo_lists_of_images_and_of_names(yolo: Path) -> None:
    text(yolo / "val.txt", "./images/val/c.jpg\n")
    text(yolo / "data.yaml", "train: [images/train, val.txt]\nnames: [car, van, bus]\nnc: 3\n")
    own = read_annotations(yolo / "data.yaml")
    assert len(own.images) == 3
    assert own.labels.tolist() == [1, 0, 2]


def test_yolo_oriented_a_little_outside(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png", 1000, 1000)
    text(
        tmp_path / "labels" / "a.txt",
        "0 0.9 0.5 1.05 0.5 1.05 0.6 0.9 0.6\n3 .45 .45 .55 .45 .55 .55 .45 .55",
    )
    own = read_annotations(tmp_path)
    assert recognise(tmp_path) == "yolo"
    assert own.kind == "oriented"
    np.testing.assert_allclose(own.xywh, [[900, 500, 150, 100], [450, 450, 100, 100]])
    assert [item.name for item in own.categories] == ["0", "1", "2", "3"]


CORNERS = "0 .1 .1 .5 .1 .5 .5 .1 .5"


@pytest.mark.parametrize(
    "lines",
    [
        "0 .1 .1 .5 .1 .5 .5 .3 .7 .1 .5\n0 .1 .1 .2 .2 .1 .2",  # ultralytics#1008
        f"{CORNERS}\n0 .1 .1 .2 .2 .1 .2",
        f"{CORNERS}\n0 .15 .15 .1 .1",
    ],
)
def test_yolo_segments_become_the_boxes_around_them(tmp_path: Path, lines: str) -> None:
    picture(tmp_path / "a.png", 100, 100)
    text(tmp_path / "a.txt", lines)
    text(tmp_path / "classes.txt", "car\n")
    own = read_annotations(tmp_path, format="yolo")
    assert own.kind == "horizontal"
    assert own.labels.tolist() == [0, 0]
    np.testing.assert_allclose(own.xywh[0, :3], [10, 10, 40])
    np.testing.assert_allclose(own.xywh[1], [10, 10, 10, 10])
    assert [note.kind for note in own.notes] == ["polygons"]


VOC = """<annotation><filename>a.png</filename>
<size><width>100</width><height>80</height><depth>3</depth></size>
<object><name>Tree</name><difficult>1</difficult>
<bndbox><xmin>5.5</xmin><ymin>6</ymin><xmax>20</xmax><ymax>16</ymax></bndbox></object>
<object><name>{name}</name>{box}</object></annotation>"""
BOX = "<bndbox><ymin>1</ymin><xmin>2</xmin><ymax>10</ymax><xmax>9</xmax></bndbox>"
TURNED = "<robndbox><cx>50</cx><cy>40</cy><w>20</w><h>10</h><angle>0.5</angle></robndbox>"


def test_voc(tmp_path: Path) -> None:
    text(tmp_path / "Annotations" / "a.xml", VOC.format(name="ignore", box=BOX))
    own = read_annotations(tmp_path)
    assert own.kind == "horizontal"
    assert own.xywh.tolist() == [[5.5, 6, 14.5, 10], [2, 1, 7, 9]]
    assert own.labels.tolist() == [0, REGION]
    assert own.ignore.tolist() == [True, True]
    assert (own.images[0].file_name, own.images[0].height) == ("a.png", 80)


def test_voc_oriented_and_its_classes(tmp_path: Path) -> None:
    text(tmp_path / "a.xml", VOC.format(name="car", box=BOX + TURNED).replace("Tree", "dog"))
    own = read_annotations(tmp_path)
    assert [item.name for item in own.categories] == ["car", "dog"]
    assert own.obb is not None
    np.testing.assert_allclose(own.obb[1], [50, 40, 20, 10, 0.5])
    assert own.xywh[0].tolist() == [5.5, 6, 14.5, 10]


def test_voc_size_and_name_from_the_image(tmp_path: Path) -> None:
    picture(tmp_path / "JPEGImages" / "a.png", 60, 50)
    label = tmp_path / "Annotations" / "a.xml"
    text(label, f"<annotation><object><name>x</name>{BOX}</object></annotation>")
    own = read_annotations(label)
    assert (own.images[0].file_name, own.images[0].width) == ("a.png", 60)
    assert find_images(label, own) == tmp_path / "JPEGImages"


def test_soda_roots(tmp_path: Path) -> None:
    """Both raw layouts of both data sets, and patches beside them, are found from the root."""
    for subset in ("train", "val"):
        text(tmp_path / "d/rawData/Annotations" / f"{subset}.json", "{}")
        text(tmp_path / "d/divData/Annotations" / f"{subset}.json", "{}")
        text(tmp_path / "a/rawData" / subset / "Annotations" / "1.json", "{}")
        text(tmp_path / "b/Annotations" / subset / "1.json", "{}")
        text(tmp_path / "p/divData" / subset / "Annotations" / "1.json", "{}")
    found = {name: [str(i.path.relative_to(tmp_path)) for i in find_subsets(tmp_path / name)]
             for name in ("d", "d/rawData", "a", "b", "p", "d/divData")}  # fmt: skip
    raw = ["d/rawData/Annotations/train.json", "d/rawData/Annotations/val.json"]
    assert found["d"] == found["d/rawData"] == raw
    assert found["d/divData"] == [path.replace("raw", "div") for path in raw]
    assert found["a"] == ["a/rawData/train/Annotations", "a/rawData/val/Annotations"]
    assert found["b"] == ["b/Annotations/train", "b/Annotations/val"]
    assert found["p"] == ["p/divData/train/Annotations", "p/divData/val/Annotations"]
    with pytest.raises(DataError, match="holds several subsets"):
        read_annotations(tmp_path / "d")


@pytest.mark.parametrize("name", ["a" * 300, "a" * 300 + ".json", "x/" * 3000, "a\0b"])
def test_a_name_that_no_system_takes_is_no_annotations(name: str) -> None:
    assert not is_annotations(Path(name))
    with pytest.raises(DataError, match="no such file or folder"):
        read_annotations(Path(name))


def test_links_in_a_circle_do_not_trap(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "a.png")
    text(tmp_path / "labels" / "a.txt", "0 .5 .5 .1 .1")
    os.symlink(tmp_path / "images", tmp_path / "images" / "loop")
    os.symlink(tmp_path, tmp_path / "labels" / "loop")
    assert len(read_annotations(tmp_path).images) == 1
    circle = tmp_path / "circle.json"
    os.symlink(circle, circle)
    with pytest.raises(DataError, match="no such file"):
        read_annotations(circle)


@pytest.mark.parametrize("listed", [True, False])
def test_a_first_class_of_ignore_regions_moves_no_other(tmp_path: Path, listed: bool) -> None:
    """VisDrone as YOLO, by some converters: 0 is ``ignored regions``."""
    picture(tmp_path / "images" / "a.png")
    text(tmp_path / "labels" / "a.txt", "0 .5 .5 .2 .2\n1 .2 .2 .1 .1\n2 .7 .7 .1 .1\n")
    if listed:
        text(tmp_path / "classes.txt", "ignored regions\npedestrian\ncar\n")
    else:
        text(tmp_path / "data.yaml", "train: images\nnames: [ignored regions, pedestrian, car]\n")
    own = read_annotations(tmp_path)
    assert [(item.id, item.name) for item in own.categories] == [(1, "pedestrian"), (2, "car")]
    assert own.labels.tolist() == [REGION, 0, 1]


@pytest.mark.parametrize(("first", "more"), [(0, ""), (1, "class '0' has no object")])
def test_yolo_without_names_is_said(tmp_path: Path, first: int, more: str) -> None:
    picture(tmp_path / "a.png", 100, 100)
    text(tmp_path / "a.txt", f"{first} .5 .5 .1 .1\n{first + 1} .5 .5 .1 .1\n")
    (note,) = read_annotations(tmp_path).notes
    assert note.kind == "no-names"
    assert note.what.endswith(more or "they are numbers")
    text(tmp_path / "classes.txt", "car\nperson\n")
    if not first:
        assert read_annotations(tmp_path).notes == ()
        return
    with pytest.raises(DataError, match="unknown class 2") as caught:
        read_annotations(tmp_path)
    assert "do the numbers begin at 1?" in str(caught.value)


def test_boxes_of_a_missing_image_have_no_place(tmp_path: Path) -> None:
    """Without its size, they would be less than a pixel: faults that follow from one."""
    for name in "ab":
        text(tmp_path / "labels" / f"{name}.txt", "0 .5 .5 .1 .1\n")
    picture(tmp_path / "images" / "a.png", 100, 100)
    text(tmp_path / "classes.txt", "car\n")
    kinds = [item.kind for item in check_dataset(tmp_path).findings]
    assert kinds == ["missing"]


@pytest.mark.parametrize(
    ("value", "ignored"), [("1", True), ("true", True), ("Unspecified", False), ("False", False)]
)
def test_voc_difficult_in_other_words(tmp_path: Path, value: str, ignored: bool) -> None:
    box = "<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox>"
    item = f"<object><name>car</name><difficult>{value}</difficult>{box}</object>"
    size = "<size><width>96</width><height>64</height></size>"
    text(tmp_path / "a.xml", f"<annotation><filename>a.jpg</filename>{size}{item}</annotation>")
    assert read_annotations(tmp_path).ignore.tolist() == [ignored]


@pytest.mark.parametrize("yaml", [False, True])
def test_images_that_differ_by_suffix_only_are_said(
    tmp_path: Path, yaml: bool, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a.jpg", "a.png"):
        picture(tmp_path / "images" / name, 100, 100)
    text(tmp_path / "labels" / "a.txt", "0 .5 .5 .1 .1\n")
    text(tmp_path / "data.yaml" if yaml else tmp_path / "classes.txt",
         "train: images\nnames: [car]\n" if yaml else "car\n")  # fmt: skip
    own = read_annotations(tmp_path)
    assert [Path(image.file_name).name for image in own.images] == ["a.jpg"]
    assert "images left out" in caplog.text


@pytest.mark.parametrize("shape", ["[2, 3]", "[4, 3]", "[4, 2]"])
def test_the_boxes_of_yolo_pose_are_read(tmp_path: Path, shape: str) -> None:
    points, each = map(int, shape.strip("[]").split(","))
    picture(tmp_path / "images" / "a.jpg", 100, 80)
    rest = " .45 .5 2"[: 9 if each == 3 else 7] * points
    text(tmp_path / "labels" / "a.txt", f"0 .5 .5 .2 .25{rest}\n0 .2 .2 .1 .1\n")
    text(tmp_path / "data.yaml", f"train: images\nkpt_shape: {shape}\nnames: [person]\n")
    own = read_annotations(tmp_path)
    np.testing.assert_allclose(own.xywh, [[40, 30, 20, 20], [15, 12, 10, 8]])
    assert [note.kind for note in own.notes] == ["keypoints"]
    text(tmp_path / "data.yaml", "train: images\nkpt_shape: 17\nnames: [person]\n")
    with pytest.raises(DataError, match=r"kpt_shape: must be \[points, numbers each\]"):
        read_annotations(tmp_path)
