"""COCO files as other tools write them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sodkit.data.checking.dataset_check import check_dataset
from sodkit.data.formats import Reading, read_annotations
from sodkit.data.records import REGION
from sodkit.errors import DataError

TURNED = [20, 20, 34, 28, 30, 35, 16, 27]


def save(folder: Path, *items: dict[str, Any], **more: Any) -> Path:
    rows = [{"id": i, "image_id": 1, "category_id": 1, **item} for i, item in enumerate(items, 1)]
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 96, "height": 64}],
        "annotations": rows,
        "categories": [{"id": 1, "name": "car"}],
        **more,
    }
    path = folder / "ann.json"
    path.write_text(json.dumps(content))
    return path


def kinds(path: Path, reading: Reading | None = None) -> list[str]:
    report = check_dataset(path, look_at_images=False, reading=reading or Reading())
    return [item.kind for item in report.findings]


def test_ignore_regions_by_another_name(tmp_path: Path) -> None:
    """facebookresearch/detectron2#2639."""
    categories = [{"id": 1, "name": "car"}, {"id": 3, "name": "ignored regions"}]
    items = ({"bbox": [1, 2, 3, 4]}, {"bbox": [9, 9, 9, 9], "category_id": 3})
    path = save(tmp_path, *items, categories=categories)
    assert read_annotations(path).labels.tolist() == [0, REGION]
    assert kinds(path) == ["ignore-name"]
    own = read_annotations(path, reading=Reading(classes=["ignored regions"]))
    assert own.labels.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("segmentation", "box"),
    [
        ([[10, 12, 22, 12, 22, 21, 10, 21]], [10, 12, 12, 9]),
        ([[10, 12, 22, 12, 16, 30], [1, 2, 5, 2, 5, 6]], [1, 2, 21, 28]),
        ({"size": [64, 96], "counts": [64 * 2 + 3, 4, 60, 4, 5945]}, [2, 3, 2, 4]),
        ({"size": [5, 5], "counts": [3, 4, 18]}, [0, 0, 2, 5]),
    ],
)
def test_the_box_around_a_segmentation(tmp_path: Path, segmentation: Any, box: list[int]) -> None:
    """facebookresearch/maskrcnn-benchmark#480."""
    path = save(tmp_path, {"segmentation": segmentation}, {"bbox": [1, 1, 2, 2]})
    own = read_annotations(path)
    assert own.kind == "horizontal"
    assert own.xywh.tolist() == [box, [1, 1, 2, 2]]


def test_compressed_run_lengths(tmp_path: Path) -> None:
    mask = pytest.importorskip("pycocotools.mask")
    pixels = np.zeros((64, 96), np.uint8, order="F")
    pixels[5:25, 40:43] = 1
    pixels[7:9, 41] = 0
    pixels[30, 80] = 1
    runs = mask.encode(pixels)
    shape = {"size": runs["size"], "counts": runs["counts"].decode()}
    own = read_annotations(save(tmp_path, {"segmentation": shape}))
    assert own.xywh.tolist() == [mask.toBbox(runs).tolist()]


def test_neither_box_nor_segmentation(tmp_path: Path) -> None:
    for shape in ([], "x", {"size": [5, 5], "counts": "~~"}, [[1, 2, 3]]):
        with pytest.raises(DataError, match="nor a segmentation"):
            read_annotations(save(tmp_path, {"segmentation": shape}))


def test_rotation_of_cvat(tmp_path: Path) -> None:
    """cvat-ai/cvat#4745: degrees, about the centre of the box."""
    box = {"bbox": [20, 20, 40, 10]}
    path = save(
        tmp_path,
        {**box, "attributes": {"occluded": False, "rotation": 45.0}},
        {"bbox": [60, 40, 10, 10], "attributes": {"rotation": 0.0}},
    )
    own = read_annotations(path)
    assert own.obb is not None
    np.testing.assert_allclose(own.obb[0], [40, 25, 40, 10, np.pi / 4])
    assert kinds(path) == ["rotation"]
    path = save(tmp_path, {**box, "attributes": {"rotation": 0.0}})
    assert read_annotations(path).kind == "horizontal"


def test_turned_rectangles_are_oriented(tmp_path: Path) -> None:
    item = {"bbox": [16, 20, 18, 15], "segmentation": [TURNED]}
    path = save(tmp_path, item, item)
    assert read_annotations(path).kind == "oriented"
    assert "four-corners" in kinds(path)
    many = {"bbox": [16, 20, 18, 15], "segmentation": [[*TURNED, 15, 21]]}
    assert read_annotations(save(tmp_path, item, many)).kind == "horizontal"


def test_quadrilaterals_are_a_question(tmp_path: Path) -> None:
    item = {"bbox": [10, 10, 60, 40], "segmentation": [[10, 10, 70, 30, 50, 50, 15, 20]]}
    path = save(tmp_path, item)
    own = read_annotations(path)
    assert own.kind == "horizontal"
    assert "--oriented" in own.notes[0].what
    assert read_annotations(path, reading=Reading(oriented=True)).kind == "oriented"


def test_boxes_of_five_numbers_need_the_unit(tmp_path: Path) -> None:
    """facebookresearch/detectron2#21."""
    path = save(tmp_path, {"bbox": [48, 32, 20, 10, 30]})
    with pytest.raises(DataError, match="five numbers"):
        read_annotations(path)
    own = read_annotations(path, reading=Reading(angle="degrees-ccw"))
    assert own.obb is not None
    np.testing.assert_allclose(own.obb, [[48, 32, 20, 10, -np.pi / 6]])


def test_rbox_is_read_by_its_unit(tmp_path: Path) -> None:
    path = save(tmp_path, {"bbox": [40, 26, 16, 12], "rbox": [48, 32, 20, 10, 0.5]})
    assert kinds(path) == ["rbox"]
    own = read_annotations(path, reading=Reading(angle="radians"))
    assert own.obb is not None
    np.testing.assert_allclose(own.obb, [[48, 32, 20, 10, 0.5]])


def test_whole_numbers_as_floats_or_text(tmp_path: Path) -> None:
    """fredzzhang/vcoco#4, facebookresearch/detectron2#2023."""
    images = [{"id": 1.0, "file_name": "a.jpg", "width": 96.0, "height": "64"}]
    path = save(
        tmp_path, {"bbox": [1, 2, 3, 4], "category_id": 1.0, "image_id": "1"}, images=images
    )
    own = read_annotations(path)
    assert (own.images[0].width, own.images[0].height) == (96, 64)
    assert own.labels.tolist() == [0]
    with pytest.raises(DataError, match="category_id"):
        read_annotations(save(tmp_path, {"bbox": [1, 2, 3, 4], "category_id": 1.5}))


def test_a_wrong_image_is_one_error(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.jpg", "width": "wide", "height": 64}]
    box = {"bbox": [1, 2, 3, 4]}
    assert kinds(save(tmp_path, box, {"bbox": [5, 5, 5, 5]}, images=images)) == ["form"]


def test_the_root_of_the_categories_is_no_class(tmp_path: Path) -> None:
    """roboflow/rf-detr#1303; also where a class has the root's name."""
    for root in ("vehicles", "car"):
        categories = [
            {"id": 0, "name": root, "supercategory": "none"},
            {"id": 1, "name": "car", "supercategory": root},
            {"id": 2, "name": "van", "supercategory": root},
        ]
        path = save(tmp_path, {"bbox": [1, 2, 3, 4]}, categories=categories)
        assert [item.name for item in read_annotations(path).categories] == ["car", "van"]
        assert kinds(path) == ["root-category"]


def test_broken_boxes_of_a_release_are_left_out(tmp_path: Path) -> None:
    items = ({"bbox": [1, 2, 3, 4]}, {"bbox": [5, 5, 0, 4]})
    categories = [{"id": 1, "name": "sea_person"}, {"id": 2, "name": "earth_person"}]
    path = save(tmp_path, *items, categories=categories)
    assert read_annotations(path).ids.tolist() == [1]
    assert kinds(path) == ["broken-boxes"]
    assert kinds(save(tmp_path, *items)) == ["no-size"]
