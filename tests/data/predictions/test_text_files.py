import zipfile
from pathlib import Path

import numpy as np
import pytest

from sodkit.data.predictions.dota_zip import write_task1
from sodkit.data.predictions.storage import read_predicted, read_predictions
from sodkit.data.records import Annotations, Category, Detections, ImageRecord, as_boxes
from sodkit.errors import DataError
from sodkit.geometry.rotated import obb_to_xywh


def annotations(*classes: str, oriented: bool = False) -> Annotations:
    none = np.zeros(0, np.int64)
    own = Annotations(
        (ImageRecord(7, "a.png", 100, 50), ImageRecord(8, "b.png", 100, 50)),
        tuple(Category(k, name) for k, name in enumerate(classes, start=3)),
        none, none, none, np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.bool_),
    )  # fmt: skip
    return as_boxes(own, "oriented") if oriented else own


def folder(path: Path, **files: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / f"{name}.txt").write_text(text)
    return path


def zipped(path: Path, **files: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(f"results/{name}.txt", text)
    return path


TASK1 = "a 0.9 20 20 30 20 30 25 20 25\n\nb 0.8 1 1 9 1 9 5 1 5\n"


# mmrotate writes a folder or a zip of Task1_*.txt
def test_task_1_as_folder_zip_and_file(tmp_path: Path) -> None:
    known = annotations("car", "large-vehicle", oriented=True)
    files = {"Task1_large-vehicle": TASK1, "Task1_car": ""}
    folder(tmp_path / "t", **files)
    places = [tmp_path / "t", zipped(tmp_path / "t.zip", **files)]
    for path in [*places, tmp_path / "t" / "Task1_large-vehicle.txt"]:
        found = read_predictions(path, known)
        assert found.image_ids.tolist() == [7, 8]
        assert found.labels.tolist() == [1, 1]
        assert found.obb is not None
        np.testing.assert_allclose(found.obb[0], [25, 22.5, 10, 5, 0], atol=1e-9)


def test_our_own_zip(tmp_path: Path) -> None:
    known, path = annotations("car", "bus", oriented=True), tmp_path / "p.zip"
    obb = np.array([[40.0, 30, 9, 4, 0.5], [20, 20, 8, 3, -1.2]])
    detections = Detections(
        np.array([8, 7]), np.array([0, 1]), np.array([0.5, 0.25]), obb_to_xywh(obb), obb
    )
    write_task1(path, [detections], known.categories, known.images)
    found = read_predictions(path, known)
    assert found.image_ids.tolist() == [7, 8]  # class by class in the files' order
    assert found.labels.tolist() == [1, 0]
    assert found.obb is not None
    np.testing.assert_allclose(found.obb, obb[::-1], atol=0.02)


def test_task_2_has_upright_boxes(tmp_path: Path) -> None:
    path = folder(tmp_path / "t", Task2_car="a.png 0.9 20 21 30 25\n")
    found = read_predictions(path, annotations("car"))
    assert found.obb is None
    assert found.xywh.tolist() == [[20, 21, 10, 4]]


# ultralytics#17387, yolov5#7530: save_txt with save_conf
def test_yolo_with_scores(tmp_path: Path) -> None:
    folder(tmp_path / "run" / "labels", a="1 0.5 0.5 0.1 0.2 0.75\n", b="")
    said: list[str] = []
    found = read_predicted(tmp_path / "run", annotations("car", "bus"), say=said.append)
    assert found.detections.labels.tolist() == [1]
    assert found.detections.image_ids.tolist() == [7]
    np.testing.assert_allclose(found.detections.xywh, [[45, 20, 10, 10]])
    assert found.images.tolist() == [0, 1]  # an empty file: nothing was found
    assert "car, bus" in said[0]


# the model's order of classes is another than the annotations'
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("classes.txt", "bus\ncar\n"),
        ("labels/obj.names", "bus\ncar\n"),
        ("data.yaml", "train: x\nnames: [bus, car]\n"),
    ],
)
def test_yolo_classes_are_those_listed_beside(tmp_path: Path, name: str, text: str) -> None:
    labels = folder(tmp_path / "run" / "labels", a="1 0.5 0.5 0.1 0.2 0.75\n")
    (tmp_path / "run" / name).write_text(text)
    said: list[str] = []
    for path in (labels, labels.parent, labels / "a.txt"):
        found = read_predicted(path, annotations("car", "bus"), say=said.append)
        assert found.detections.labels.tolist() == [0]
    assert "bus, car" in said[0]


def test_yolo_classes_in_a_zip(tmp_path: Path) -> None:
    path = zipped(tmp_path / "p.zip", a="1 0.5 0.5 0.1 0.2 0.75\n", classes="tram\ncar\n")
    assert read_predictions(path, annotations("car", "bus")).labels.tolist() == [0]


@pytest.mark.parametrize("drop", [False, True])
def test_yolo_numbers_that_fit_no_list(tmp_path: Path, drop: bool) -> None:
    path = folder(tmp_path / "t", a="2 0.5 0.5 0.1 0.2 0.75\n")
    for text, count in (("", 2), ("car\n", 1)):
        if text:
            (path / "classes.txt").write_text(text)
        with pytest.raises(DataError, match=f"class 2, but .* has {count} classes") as caught:
            read_predicted(path, annotations("car", "bus"), drop_other_classes=drop)
        assert "classes.txt" in (caught.value.hint or "")


def test_yolo_with_corners(tmp_path: Path) -> None:
    path = folder(tmp_path / "t", a="0 .1 .1 .3 .1 .3 .5 .1 .5 0.75\n")
    found = read_predictions(path, annotations("car"))
    np.testing.assert_allclose(found.xywh, [[10, 5, 20, 20]])
    turned = read_predictions(path, annotations("car", oriented=True))
    assert turned.obb is not None
    np.testing.assert_allclose(turned.obb[0, :4], [20, 15, 20, 20])


# the toolkit of VisDrone: left, top, width, height, score, class, -1, -1
def test_visdrone_results(tmp_path: Path) -> None:
    path = folder(tmp_path / "t", a="10,20,5,6,0.9,4,-1,-1\n", b="1,2,3,4,.5,1,-1,-1,\n")
    found = read_predictions(path, annotations("Car", "pedestrian"))
    assert found.labels.tolist() == [0, 1]
    assert found.xywh.tolist() == [[10, 20, 5, 6], [1, 2, 3, 4]]


# the results of KITTI's object task: a label, and the score behind it
def test_kitti_results(tmp_path: Path) -> None:
    line = "Car -1 -1 -1.6 10 20 15 26 1.5 1.6 3.9 1 2 30 -1.6 0.75\n"
    path = folder(tmp_path / "t", a=line, b="")
    found = read_predicted(path, annotations("pedestrian", "car"))
    assert found.detections.labels.tolist() == [1]
    assert found.detections.xywh.tolist() == [[10, 20, 5, 6]]
    assert found.detections.scores.tolist() == [0.75]
    assert found.images.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("files", "where"),
    [
        ({"a": "0 .5 .5 .1 .1\n"}, "a.txt:1"),  # labels, no predictions
        ({"a": "\n0 50 50 10 10 .5\n"}, "a.txt:2"),  # in px
        ({"a": "0 .5 .5 x .1 .5\n"}, "a.txt:1"),
        ({"a": "0.5 .5 .5 .1 .1 .5\n"}, "a.txt:1"),
        ({"a": "9 .5 .5 .1 .1 .5\n"}, "a.txt:1"),
        ({"c": "0 .5 .5 .1 .1 .5\n"}, "c.txt:1"),
        ({"a": "0 .5 .5 .1 .1 1.5\n"}, "a.txt:1"),
        ({"a": "1,2,3,4,.5,17,-1,-1\n"}, "a.txt:1"),
        ({"a": "1,2,3,4\n"}, "a.txt:1"),
        ({"a": "car 0.9 10 20 30 40\n"}, "a.txt:1"),  # corners, or width and height?
        ({"a": "Car -1 -1 -1.6 10 20 15 26 1.5 1.6 3.9 1 2 30 -1.6 x\n"}, "a.txt:1"),
        ({"Task1_car": "a 0.5 1 2 3\n"}, "Task1_car.txt:1"),
        ({"Task1_car": TASK1, "Task2_car": "a .5 1 2 3 4"}, ""),
        ({"Task1_car": TASK1, "notes2": "x"}, "notes2.txt"),
        ({"Task1_tram": TASK1}, "Task1_tram.txt:1"),
        ({}, ""),
    ],
)
def test_what_is_refused_names_file_and_line(
    tmp_path: Path, files: dict[str, str], where: str
) -> None:
    with pytest.raises(DataError) as caught:
        read_predictions(folder(tmp_path / "t", **files), annotations("car"))
    assert where in (caught.value.where or "")
    assert str(tmp_path / "t") in (caught.value.where or "")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 cut off", b"{}"])
def test_what_is_no_zip(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "p.zip"
    path.write_bytes(data)
    with pytest.raises(DataError):
        read_predictions(path, annotations("car"))
