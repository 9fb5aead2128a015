"""Data sets as labelling tools and releases lay them out are read from their root."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from sodkit.data.formats import find_images, read_annotations, recognise
from sodkit.data.images.decoding import write_image
from sodkit.data.images.listing import list_images
from sodkit.errors import DataError

LINES = "0 .5 .5 .2 .2\n1 .2 .2 .1 .1\n"
DOTA = "1 1 21 1 21 11 1 11 plane 0\n"


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.zeros((64, 96, 3), np.uint8))


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def classes(root: Path) -> list[str]:
    return [item.name for item in read_annotations(root).categories]


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/a.JPG", "labels/a.TXT"),  # ultralytics/yolov5#6872
        ("Images/a.jpg", "Labels/a.txt"),  # roboflow/roboflow-python#421
        ("images/a.jpg", "labels/a.jpg.txt"),
        ("images/a.jpg", "images/a.txt"),
    ],
)
def test_yolo_labels_in_other_cases(tmp_path: Path, image: str, label: str) -> None:
    picture(tmp_path / image)
    text(tmp_path / label, LINES)
    text(tmp_path / "data.yaml", f"train: {image.split('/')[0]}\nnames: [car, person]\n")
    own = read_annotations(tmp_path)
    assert len(own) == 2
    assert find_images(tmp_path, own) == tmp_path


def test_images_without_labels(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in "ab":
        picture(tmp_path / "images" / f"{name}.jpg")
    text(tmp_path / "data.yaml", "train: images\nnames: [car, person]\n")
    with pytest.raises(DataError, match="none of the 2 images has a label file") as caught:
        read_annotations(tmp_path)
    assert str(tmp_path / "labels") in str(caught.value)
    text(tmp_path / "labels" / "a.txt", LINES)
    with caplog.at_level(logging.WARNING):
        assert len(read_annotations(tmp_path)) == 2
    assert "1 of 2 images (50%)" in caplog.text


def test_hidden_files_and_folders_are_no_data(tmp_path: Path) -> None:
    for name in ("a.jpg", "._a.jpg", ".ipynb_checkpoints/b.jpg"):
        picture(tmp_path / "images" / name)
        text(tmp_path / "labels" / f"{name[:-4]}.txt", LINES)
    assert [image.file_name for image in read_annotations(tmp_path).images] == ["a.jpg"]
    assert len(list_images([tmp_path / "images"], recursive=True)[0]) == 1


def test_cvat_yolo(tmp_path: Path) -> None:  # cvat-ai/cvat#891
    picture(tmp_path / "obj_train_data" / "1.jpg")
    text(tmp_path / "obj_train_data" / "1.txt", LINES)
    text(tmp_path / "obj.names", "car\nperson\n")
    text(tmp_path / "train.txt", "data/obj_train_data/1.jpg\n")
    text(tmp_path / "obj.data", "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\n")
    assert len(read_annotations(tmp_path)) == 2
    assert classes(tmp_path) == classes(tmp_path / "obj_train_data") == ["car", "person"]
    (tmp_path / "obj.data").unlink()
    assert classes(tmp_path) == ["car", "person"]


def test_label_studio_yolo(tmp_path: Path) -> None:  # HumanSignal/label-studio#8966
    picture(tmp_path / "images" / "1.jpg")
    text(tmp_path / "labels" / "1.txt", LINES)
    names = [{"id": 1, "name": "person"}, {"id": 0, "name": "car"}]
    text(tmp_path / "notes.json", json.dumps({"categories": names, "info": {}}))
    assert recognise(tmp_path) == "yolo"
    assert classes(tmp_path) == ["car", "person"]


@pytest.mark.parametrize("name", ["classes.txt", "predefined_classes.txt", "labels.txt", "x.names"])
def test_lists_of_names(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "1.jpg")
    text(tmp_path / "1.txt", LINES)
    text(tmp_path / name, "car\nperson\n")
    assert classes(tmp_path) == ["car", "person"]


def test_rolabelimg(tmp_path: Path) -> None:  # cgvict/roLabelImg
    picture(tmp_path / "images" / "low-1.bmp")
    box = "<robndbox><cx>20</cx><cy>20</cy><w>9</w><h>5</h><angle>0.1</angle></robndbox>"
    item = f"<object><name>Ti</name>{box}</object>"
    size = "<size><width>96</width><height>64</height></size>"
    text(
        tmp_path / "annotations" / "low-1.xml",
        f"<annotation><filename>low-1</filename>{size}{item}</annotation>",
    )
    own = read_annotations(tmp_path)
    assert [image.file_name for image in own.images] == ["low-1.bmp"]
    assert find_images(tmp_path, own) == tmp_path / "images"


@pytest.mark.parametrize("labels", ["labelTxt-v1.0/labelTxt", "labelTxt-v1.5/DOTA-v1.5_train"])
def test_dota_as_unpacked(tmp_path: Path, labels: str) -> None:  # csuhan/s2anet#153
    for subset in ("train", "val"):
        picture(tmp_path / subset / "images" / "P1.png")
        text(tmp_path / subset / labels / "P1.txt", DOTA)
        upright = Path(labels).parent / ("trainset_reclabelTxt" if "1.0" in labels else "x_hbb")
        text(tmp_path / subset / upright / "P1.txt", DOTA)
    assert len(read_annotations(tmp_path / "train")) == 1
    own = read_annotations(tmp_path, subset="val")
    assert find_images(tmp_path, own, subset="val") == tmp_path / "val" / "images"
    text(tmp_path / "train" / "labelTxt-v2.0" / "a" / "P1.txt", DOTA)
    with pytest.raises(DataError, match="several folders of labels"):
        read_annotations(tmp_path / "train")


def test_mmrotate(tmp_path: Path) -> None:
    picture(tmp_path / "images" / "P1.png")
    text(tmp_path / "annfiles" / "P1.txt", DOTA)
    assert recognise(tmp_path) == "dota"
    assert len(read_annotations(tmp_path)) == 1


@pytest.mark.parametrize(
    ("content", "name"),
    [
        ({"shapes": [], "imagePath": "a.jpg"}, "labelme"),
        ([{"id": 1, "data": {"image": "a.jpg"}, "annotations": []}], "Label Studio"),
        ({"_via_settings": {}, "_via_img_metadata": {}}, "VIA"),
        ({"a.jpg123": {"filename": "a.jpg", "regions": []}}, "VIA"),
        ([{"image": "a.jpg", "annotations": [{"label": "car"}]}], "CreateML"),
        ({"types": ["p1"], "imgs": {}}, "TT100K"),
    ],
)
def test_json_of_other_tools_is_named(tmp_path: Path, content: object, name: str) -> None:
    picture(tmp_path / "a.jpg")
    text(tmp_path / "a.json", json.dumps(content))
    for path in (tmp_path, tmp_path / "a.json"):
        with pytest.raises(DataError, match=f"looks like .*{name}"):
            read_annotations(path)


def test_xml_of_other_tools_is_no_empty_image(tmp_path: Path) -> None:
    item = "<targets><target><box>1,2,3,4</box></target></targets>"
    text(tmp_path / "a.xml", f"<annotation>{item}</annotation>")
    with pytest.raises(DataError, match="no 'object' where Pascal VOC has its objects"):
        read_annotations(tmp_path)
    text(tmp_path / "a.xml", "<annotations><image/></annotations>")
    with pytest.raises(DataError, match="CVAT"):
        read_annotations(tmp_path)


@pytest.mark.parametrize("place", ["/mnt/d/me/foo/images/train", "D:\\foo\\images\\train", "l.txt"])
def test_yolo_paths_of_another_machine(tmp_path: Path, place: str) -> None:  # ultralytics#6351
    for name in "ab":
        picture(tmp_path / "images" / "train" / f"{name}.jpg")
        text(tmp_path / "labels" / "train" / f"{name}.txt", LINES)
    text(tmp_path / "l.txt", "/home/me/foo/images/train/a.jpg\nC:\\foo\\images\\train\\b.jpg\n")
    text(tmp_path / "data.yaml", f"train: {place}\nnames: [car, person]\n")
    own = read_annotations(tmp_path / "data.yaml")
    names = ["images/train/a.jpg", "images/train/b.jpg"]
    assert [image.file_name for image in own.images] == names
    assert len(own) == 4
    text(tmp_path / "data.yaml", "train: /mnt/d/elsewhere\nnames: [car, person]\n")
    with pytest.raises(DataError, match="of another machine"):
        read_annotations(tmp_path / "data.yaml")
