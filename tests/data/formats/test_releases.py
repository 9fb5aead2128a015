"""Official releases as they are unpacked: recognised, read, split in the same way as all others."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from sodkit.data.checking.dataset_check import check_dataset
from sodkit.data.formats import read_annotations, recognise
from sodkit.data.formats.reading import Reading
from sodkit.data.records import CROWD, REGION
from sodkit.errors import DataError

VOC = "<annotation><filename>a.png</filename><size><width>96</width><height>64</height></size>"


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((64, 96, 3), 90, np.uint8))


def test_visdrone(tmp_path: Path) -> None:
    """VisDrone/VisDrone-Dataset#2: categories 0 and 11 are ignore regions."""
    picture(tmp_path / "images" / "a.png")
    lines = "10,12,12,9,1,4,0,0\n40,20,8,14,1,1,0,1\n50,40,40,20,0,0,0,0,\n70,10,8,9,1,11,0,0\n"
    text(tmp_path / "annotations" / "a.txt", lines + "5,5,0,4,1,4,0,0\n")
    for path in (tmp_path, tmp_path / "annotations"):
        assert recognise(path) == "visdrone"
        own = read_annotations(path)
        assert [item.name for item in own.categories][3] == "car"
        assert own.labels.tolist() == [3, 0, REGION, REGION]
        assert own.xywh[0].tolist() == [10, 12, 12, 9]
        assert own.ignore.tolist() == [False, False, True, True]
        assert "broken-boxes" in [note.kind for note in own.notes]
    text(tmp_path / "annotations" / "a.txt", "10,12,12,9,1,4,0,0\n1,2,3\n")
    with pytest.raises(DataError, match=r"a\.txt:2: the line has 3 values, VisDrone has 8"):
        read_annotations(tmp_path)


def test_kitti(tmp_path: Path) -> None:
    picture(tmp_path / "image_2" / "000000.png")
    lines = "Car 0 0 -1.58 10 12 22 21 1.65 1.67 3.64 -0.65 1.71 46.7 -1.59\n"
    lines += "DontCare -1 -1 -10 50 30 90 60 -1 -1 -1 -1000 -1000 -1000 -10\n"
    text(tmp_path / "label_2" / "000000.txt", lines)
    assert recognise(tmp_path) == recognise(tmp_path / "label_2") == "kitti"
    own = read_annotations(tmp_path)
    assert own.labels.tolist() == [0, REGION]
    assert own.xywh.tolist() == [[10, 12, 12, 9], [50, 30, 40, 30]]


def test_bdd100k(tmp_path: Path) -> None:
    box = '"box2d": {"x1": 10, "y1": 12, "x2": 22, "y2": 21}'
    labels = f'{{"category": "car", {box}, "attributes": {{"crowd": true}}}}, {{"category": "way"}}'
    frames = f'[{{"name": "a.jpg", "labels": [{labels}]}}, {{"name": "b.jpg", "labels": null}}]'
    for content in (frames, f'{{"frames": {frames}}}'):
        path = text(tmp_path / "det_train.json", content)
        assert recognise(path) == "bdd100k"
        own = read_annotations(path)
        assert [(image.width, image.height) for image in own.images] == [(1280, 720)] * 2
        assert own.categories[own.labels[0]].name == "car"
        assert own.xywh.tolist() == [[10, 12, 12, 9]]
        assert own.flagged(CROWD).tolist() == [True]
        assert [note.kind for note in own.notes] == ["no-box"]


def test_xview(tmp_path: Path) -> None:
    picture(tmp_path / "train_images" / "7.png")
    picture(tmp_path / "train_images" / "8.png")
    feature = '{{"properties": {{"image_id": "7.png", "bounds_imcoords": "{}", "type_id": {}}}}}'
    rows = [feature.format("10,12,22,21", 18), feature.format("1,1,5,5", 75)]
    rows.append(feature.format("200,1,210,5", 73))
    path = text(tmp_path / "xView_train.geojson", f'{{"features": [{", ".join(rows)}]}}')
    assert recognise(path) == "xview"
    own = read_annotations(path)
    assert [(image.id, image.file_name) for image in own.images] == [(7, "7.png"), (8, "8.png")]
    assert len(own.categories) == 60
    assert own.categories[own.labels[0]].name == "Small Car"
    assert own.xywh.tolist() == [[10, 12, 12, 9]]
    assert [note.kind for note in own.notes] == ["no-class", "broken-boxes"]


POINTS = "".join(f"<point>{xy}</point>" for xy in ("20,20", "34,28", "30,35", "16,27", "20,20"))
FAIR1M = (
    "<annotation><source><filename>a.png</filename></source><objects><object><possibleresult>"
    f"<name>Small Car</name></possibleresult><points>{POINTS}</points></object></objects>"
    "</annotation>"
)


def test_fair1m(tmp_path: Path) -> None:
    """zcablii/LSKNet#88: objects below ``objects``, the first corner repeated at the end."""
    picture(tmp_path / "images" / "a.png")
    text(tmp_path / "labelXml" / "a.xml", FAIR1M)
    for path in (tmp_path, tmp_path / "labelXml"):
        own = read_annotations(path)
        assert [item.name for item in own.categories] == ["Small Car"]
        assert own.labels.tolist() == [0]
        assert own.polygons is not None
        assert own.polygons[0].tolist() == [[20, 20], [34, 28], [30, 35], [16, 27]]


def dior(folder: Path, kind: str) -> Path:
    places = ("left_top", "right_top", "right_bottom", "left_bottom")
    corners = zip(places, ((20, 20), (34, 28), (30, 35), (16, 27)), strict=True)
    shape = "".join(f"<x_{p}>{x}</x_{p}><y_{p}>{y}</y_{p}>" for p, (x, y) in corners)
    row = f"<object><name>ship</name><difficult>1</difficult><robndbox>{shape}</robndbox></object>"
    return text(folder / "Annotations" / kind / "a.xml", f"{VOC}{row}</annotation>")


def test_dior_r_and_mar20(tmp_path: Path) -> None:
    """open-mmlab/mmrotate PR#320: corners by name."""
    picture(tmp_path / "JPEGImages" / "a.png")
    file = dior(tmp_path, "Oriented Bounding Boxes")
    for path in (tmp_path, file.parent):
        own = read_annotations(path)
        assert own.kind == "oriented"
        assert own.xywh.tolist() == [[16, 20, 18, 15]]
        assert own.ignore.tolist() == [True]
        kept = read_annotations(path, reading=Reading(difficult="keep"))
        assert kept.ignore.tolist() == [False]
        assert not [item for item in check_dataset(path).findings if item.severity == "error"]
    dior(tmp_path, "Horizontal Bounding Boxes")
    with pytest.raises(DataError, match="twice") as error:
        read_annotations(tmp_path)
    assert "Oriented" in (error.value.hint or "")


def test_hrsc2016(tmp_path: Path) -> None:
    """yangxue0827/RotationDetection#105: radians, clockwise."""
    box = zip(("cx", "cy", "w", "h", "ang"), (24.5, 16.2, 30.1, 7.3, -0.5), strict=True)
    shape = "".join(f"<mbox_{key}>{value}</mbox_{key}>" for key, value in box)
    sides = "<Img_SizeWidth>48</Img_SizeWidth><Img_SizeHeight>32</Img_SizeHeight>"
    text(
        tmp_path / "Annotations" / "100000001.xml",
        f"<HRSC_Image><Img_FileName>100000001</Img_FileName><Img_FileFmt>bmp</Img_FileFmt>{sides}"
        f"<HRSC_Objects><HRSC_Object><Class_ID>100000013</Class_ID>{shape}</HRSC_Object>"
        "</HRSC_Objects></HRSC_Image>",
    )
    own = read_annotations(tmp_path)
    assert own.images[0].file_name == "100000001.bmp"
    assert own.categories[own.labels[0]].name == "Kuznetsov"
    assert own.obb is not None
    np.testing.assert_allclose(own.obb, [[24.5, 16.2, 30.1, 7.3, -0.5]])


def test_angles_in_degrees_are_refused_unless_said_so(tmp_path: Path) -> None:
    """hukaixuan19970627/yolov5_obb#253."""
    row = "<cx>48</cx><cy>32</cy><w>24</w><h>6</h><angle>{}</angle>"
    rows = "".join(
        f"<object><name>ship</name><robndbox>{row.format(angle)}</robndbox></object>"
        for angle in (30.0, 90.0)
    )
    text(tmp_path / "a.xml", f"{VOC}{rows}</annotation>")
    with pytest.raises(DataError, match="2 of 2 angles lie beyond two pi") as error:
        read_annotations(tmp_path)
    assert "--angle degrees" in (error.value.hint or "")
    report = check_dataset(tmp_path, look_at_images=False)
    assert [item.kind for item in report.findings] == ["angle"]
    for unit, sign in (("degrees", 1), ("degrees-ccw", -1)):
        own = read_annotations(tmp_path, reading=Reading(angle=unit))  # type: ignore[arg-type]
        assert own.obb is not None
        np.testing.assert_allclose(own.obb[0], [48, 32, 24, 6, sign * np.pi / 6])


def test_difficult_objects_count_from_dota_15_on(tmp_path: Path) -> None:
    """CAPTAIN-WHU/DOTA_devkit#19."""
    picture(tmp_path / "images" / "P1.png")
    line = "20 20 34 28 30 35 16 27 {} 1\n"
    for name, ignored in (("plane", True), ("container-crane", False)):
        text(tmp_path / "labelTxt" / "P1.txt", line.format(name))
        own = read_annotations(tmp_path)
        assert own.ignore.tolist() == [ignored]
        assert len(own.notes) == (not ignored)
        for difficult in ("ignore", "keep"):
            own = read_annotations(tmp_path, reading=Reading(difficult=difficult))  # type: ignore[arg-type]
            assert own.ignore.tolist() == [difficult == "ignore"]
