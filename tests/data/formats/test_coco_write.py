import json
from pathlib import Path

import numpy as np
import pytest

from sodkit.data.formats import read_annotations
from sodkit.data.formats.coco_write import coco_writer, write
from sodkit.data.records import REGION, Annotations, Category, ImageRecord
from sodkit.errors import DataError

CONTENT = {
    "images": [
        {"id": 4, "file_name": "a.jpg", "width": 99, "height": 80},
        {
            "id": 9, "file_name": "p.jpg", "width": 50, "height": 50,
            "ori_id": 4, "ori_file_name": "a.jpg", "start_coord": [49, 30],
        },
    ],
    "annotations": [
        {"id": 3, "image_id": 9, "category_id": 7, "bbox": [1.25, 2, 3, 4.5]},
        {"id": 5, "image_id": 4, "category_id": 2, "bbox": [0.1, 0.2, 0.3, 0.7], "ignore": 1},
        {"id": 8, "image_id": 4, "category_id": 9, "bbox": [5, 5, 30, 30]},
    ],
    "categories": [
        {"id": 2, "name": "b"}, {"id": 7, "name": "a"}, {"id": 9, "name": "ignore"},
    ],
}  # fmt: skip


def read(tmp_path: Path, content: object) -> Annotations:
    path = tmp_path / "in.json"
    path.write_text(json.dumps(content))
    return read_annotations(path)


def assert_same(one: Annotations, two: Annotations) -> None:
    assert one.images == two.images
    assert one.categories == two.categories
    for name in ("ids", "image_index", "labels", "xywh", "area", "ignore"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)
    assert one.kind == two.kind
    if one.obb is not None:
        np.testing.assert_array_equal(one.obb, two.obb)
    if one.polygons is not None:
        assert two.polygons is not None
        np.testing.assert_array_equal(one.polygons.points, two.polygons.points)
        np.testing.assert_array_equal(one.polygons.offsets, two.polygons.offsets)


def test_horizontal_round_trip(tmp_path: Path) -> None:
    first = read(tmp_path, CONTENT)
    write(tmp_path / "out.json", first)
    assert_same(first, read_annotations(tmp_path / "out.json"))


def test_oriented_round_trip(tmp_path: Path) -> None:
    rows = [
        {"image_id": 4, "category_id": 2, "poly": [10.1, 10, 30, 12, 29, 22, 9, 20.3]},
        {"image_id": 4, "category_id": 9, "poly": [1, 1, 9, 1, 9, 9, 5, 12, 1, 9]},
        {"image_id": 9, "category_id": 7, "poly": [-3, 5, 9, 5, 9, 9, -3, 9], "ignore": 1},
    ]
    first = read(tmp_path, CONTENT | {"annotations": rows})
    write(tmp_path / "out.json", first)
    assert_same(first, read_annotations(tmp_path / "out.json"))
    saved = json.loads((tmp_path / "out.json").read_text())["annotations"]
    assert saved[0]["poly"] == rows[0]["poly"]
    assert len(saved[0]["obb"]) == 5
    assert [item["ignore"] for item in saved] == [0, 1, 1]


def test_regions_get_a_category_only_if_there_are_some(tmp_path: Path) -> None:
    first = read(tmp_path, CONTENT)
    write(tmp_path / "with.json", first)
    write(tmp_path / "without.json", first.take(first.labels != REGION))
    names = [
        [item["name"] for item in json.loads((tmp_path / name).read_text())["categories"]]
        for name in ("with.json", "without.json")
    ]
    assert names == [["b", "a", "ignore"], ["b", "a"]]


def test_adding_in_parts_is_writing_at_once(tmp_path: Path) -> None:
    first = read(tmp_path, CONTENT)
    write(tmp_path / "once.json", first)
    with coco_writer(tmp_path / "parts.json", first.categories) as writer:
        for index in (0, 1):
            own = first.take(first.image_index == index)
            part = Annotations(
                images=(first.images[index],),
                categories=first.categories,
                ids=own.ids,
                image_index=np.zeros(len(own), np.int64),
                labels=own.labels,
                xywh=own.xywh,
                area=own.area,
                ignore=own.ignore,
            )
            writer.add(part, np.array([True] * len(own)))
    parts = json.loads((tmp_path / "parts.json").read_text())
    once = json.loads((tmp_path / "once.json").read_text())
    assert parts["images"] == once["images"]
    by_id = {item["id"]: item for item in once["annotations"]}
    assert parts["annotations"] == [by_id[number] | {"trunc": 1} for number in (5, 8, 3)]


def test_nothing_stands_under_the_name_if_writing_fails(tmp_path: Path) -> None:
    first = read(tmp_path, CONTENT)
    out = tmp_path / "new" / "out.json"

    def fail() -> None:
        with coco_writer(out, first.categories) as writer:
            writer.add(first)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(out.parent.iterdir()) == []


def test_without_anything(tmp_path: Path) -> None:
    none = np.zeros(0, np.int64)
    empty = Annotations(
        (ImageRecord(1, "a.jpg", 5, 5),), (Category(1, "x"),),
        none, none, none, np.zeros((0, 4)), np.zeros(0), none.astype(np.bool_),
    )  # fmt: skip
    write(tmp_path / "a.json", empty)
    assert_same(empty, read_annotations(tmp_path / "a.json"))


def test_sizes_are_read_from_the_images_if_not_stated(tmp_path: Path) -> None:
    import cv2

    content = json.loads(json.dumps(CONTENT))
    del content["images"][0]["width"]
    path = tmp_path / "in.json"
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="width or height is missing"):
        read_annotations(path)
    with pytest.raises(DataError, match="no such image"):
        read_annotations(path, images=tmp_path)
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((33, 44, 3), np.uint8))
    for images in (tmp_path, None):  # None: beside the file
        image = read_annotations(path, images=images).images[0]
        assert (image.width, image.height) == (44, 33)
