import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sodkit.data.formats import read_annotations
from sodkit.data.records import REGION
from sodkit.errors import DataError, UsageError

Content = dict[str, Any]


def content() -> Content:
    return {
        "images": [
            {"id": 7, "file_name": "a.jpg", "width": 100, "height": 80},
            {"id": 3, "file_name": "sub/b.jpg", "width": 50, "height": 60},
        ],
        "annotations": [
            {"id": 11, "image_id": 3, "category_id": 2, "bbox": [1, 2, 3, 4], "area": 12},
            {"id": 12, "image_id": 7, "category_id": 1, "bbox": [5.5, 6, 7, 8], "ignore": 1},
            {"id": 13, "image_id": 7, "category_id": 4, "bbox": [-5, 0, 50, 40]},
            {"id": 14, "image_id": 7, "category_id": 2, "bbox": [9, 9, 2, 2], "iscrowd": 1},
        ],
        "categories": [
            {"id": 4, "name": "ignore"},
            {"id": 2, "name": "rider"},
            {"id": 1, "name": "people"},
        ],
    }


def save(folder: Path, data: Content | str | bytes) -> Path:
    path = folder / "ann.json"
    if isinstance(data, dict):
        data = json.dumps(data)
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def test_reads_columns(tmp_path: Path) -> None:
    annotations = read_annotations(save(tmp_path, content()))
    assert annotations.kind == "horizontal"
    assert [image.id for image in annotations.images] == [7, 3]
    assert [(item.id, item.name) for item in annotations.categories] == [
        (1, "people"),
        (2, "rider"),
    ]
    assert annotations.ids.tolist() == [11, 12, 13, 14]
    assert annotations.image_index.tolist() == [1, 0, 0, 0]
    assert annotations.labels.tolist() == [1, 0, REGION, 1]
    assert annotations.ignore.tolist() == [False, True, True, True]
    assert annotations.xywh[1].tolist() == [5.5, 6, 7, 8]
    assert annotations.area.tolist() == [12, 56, 2000, 4]


def test_many_annotations_cross_chunks(tmp_path: Path) -> None:
    data = content()
    data["annotations"] = [
        {"image_id": 7, "category_id": 1, "bbox": [i % 90, 1, 2, 3]} for i in range(25_000)
    ]
    annotations = read_annotations(save(tmp_path, data))
    assert annotations.ids.tolist() == list(range(1, 25_001))
    assert annotations.xywh[:, 0].tolist() == [i % 90 for i in range(25_000)]
    data["annotations"][21_234]["bbox"] = [1, 2, 3]
    with pytest.raises(DataError, match=r"annotations\[21234\]\.bbox"):
        read_annotations(save(tmp_path, data))


def test_byte_order_mark_and_unknown_keys(tmp_path: Path) -> None:
    data = content() | {"info": {"year": 2024}, "type": "instance"}
    path = save(tmp_path, b"\xef\xbb\xbf" + json.dumps(data).encode())
    assert len(read_annotations(path)) == 4


def test_oriented_from_poly_and_obb(tmp_path: Path) -> None:
    data = content()
    data["annotations"] = [
        {"image_id": 7, "category_id": 1, "poly": [10, 10, 30, 10, 30, 20, 10, 20]},
        {"image_id": 7, "category_id": 2, "obb": [40, 40, 20, 10, np.pi / 4]},
        {"image_id": 7, "category_id": 1, "poly": [0, 0, 9, 0, 9, 9, 4, 12, 0, 9]},
        {"image_id": 7, "category_id": 4, "bbox": [50, 50, 10, 20]},
    ]
    annotations = read_annotations(save(tmp_path, data))
    assert annotations.kind == "oriented"
    assert annotations.obb is not None
    assert annotations.polygons is not None
    assert annotations.labels.tolist() == [0, 1, REGION, REGION]
    assert annotations.ignore.tolist() == [False, False, True, True]
    assert annotations.obb[0] == pytest.approx([20, 15, 20, 10, 0])
    assert annotations.obb[1] == pytest.approx([40, 40, 20, 10, np.pi / 4])
    assert annotations.obb[3] == pytest.approx([55, 60, 20, 10, -np.pi / 2])
    assert len(annotations.polygons[2]) == 5
    assert annotations.xywh[2].tolist() == [0, 0, 9, 12]
    assert annotations.area == pytest.approx([200, 200, 108, 200])


def test_patches_keep_their_origin(tmp_path: Path) -> None:
    data = content()
    data["images"][0] |= {"ori_id": 5, "ori_file_name": "whole.jpg", "start_coord": [650, 0]}
    data["images"][1] |= {"ori_id": 5, "start_coord": [0, 0]}
    first, second = read_annotations(save(tmp_path, data)).images
    assert (first.ori_id, first.ori_file_name, first.start) == (5, "whole.jpg", (650, 0))
    assert (second.ori_id, second.ori_file_name, second.start) == (5, None, (0, 0))


def test_no_annotations(tmp_path: Path) -> None:
    annotations = read_annotations(save(tmp_path, content() | {"annotations": []}))
    assert len(annotations) == 0
    assert len(annotations.images) == 2


def test_folder_of_patches(tmp_path: Path) -> None:
    save(tmp_path, content()).rename(tmp_path / "annotations.json")
    assert len(read_annotations(tmp_path)) == 4


def broken(change: Any) -> Content:
    data = content()
    change(data)
    return data


BAD = [
    (
        "bbox with three numbers",
        lambda d: d["annotations"][1].update(bbox=[1, 2, 3]),
        "of 4 values",
    ),
    (
        "bbox of text",
        lambda d: d["annotations"][1].update(bbox=["1", 2, 3, 4]),
        "expected a number, found the text '1'",
    ),
    ("zero width", lambda d: d["annotations"][1].update(bbox=[1, 2, 0, 4]), "no size"),
    ("negative height", lambda d: d["annotations"][1].update(bbox=[1, 2, 3, -4]), "no size"),
    ("nan", lambda d: d["annotations"][1].update(bbox=[1, 2, float("nan"), 4]), "NaN"),
    ("infinite", lambda d: d["annotations"][1].update(bbox=[1, 2, float("inf"), 4]), "Infinity"),
    ("huge", lambda d: d["annotations"][1].update(bbox=[1, 2, 1e200, 1e200]), "not finite"),
    ("no box", lambda d: d["annotations"][1].pop("bbox"), "neither bbox"),
    ("category", lambda d: d["annotations"][1].update(category_id=99), "unknown category id 99"),
    ("no category", lambda d: d["annotations"][1].pop("category_id"), "category_id"),
    ("image", lambda d: d["annotations"][1].update(image_id=99), "no image has the id 99"),
    ("outside", lambda d: d["annotations"][1].update(bbox=[100, 2, 3, 4]), "outside its image"),
    ("above", lambda d: d["annotations"][1].update(bbox=[1, -5, 3, 4]), "outside its image"),
    (
        "null id",
        lambda d: d["annotations"][1].update(image_id=None),
        "image_id .*: expected a whole number, found null",
    ),
    ("list", lambda d: d["annotations"].__setitem__(1, [1, 2]), "expected an object"),
    ("odd poly", lambda d: d["annotations"][1].update(poly=[1, 2, 3, 4, 5]), "three corners"),
    ("flat poly", lambda d: d["annotations"][1].update(poly=[1, 1, 5, 5, 9, 9, 3, 3]), "no area"),
    ("huge id", lambda d: d["annotations"][1].update(image_id=10**30), "or less, found 10000"),
]


@pytest.mark.parametrize(("name", "change", "message"), BAD, ids=[case[0] for case in BAD])
def test_bad_annotation_names_row_and_id(
    tmp_path: Path, name: str, change: Any, message: str
) -> None:
    path = save(tmp_path, broken(change))
    with pytest.raises(DataError, match=message) as caught:
        read_annotations(path)
    assert str(path) in str(caught.value)
    assert "annotations[1]" in str(caught.value)
    if name != "list":
        assert "(id 12)" in str(caught.value)


BAD_FILES = [
    ("image twice", lambda d: d["images"][1].update(id=7), "image id 7 occurs twice"),
    ("class twice", lambda d: d["categories"][1].update(id=1), "category id 1 occurs twice"),
    ("name twice", lambda d: d["categories"][1].update(name="people"), "people occurs twice"),
    ("no images", lambda d: d.pop("images"), "images"),
    ("images object", lambda d: d.update(images={}), "expected a list, found an object"),
    ("no size", lambda d: d["images"][0].pop("width"), r"images\[0\] \(id 7\).*width"),
    ("zero size", lambda d: d["images"][0].update(width=0), r"images\[0\]\.width"),
    ("text size", lambda d: d["images"][0].update(width="wide"), r"images\[0\]\.width"),
    ("escape", lambda d: d["images"][0].update(file_name="../a.jpg"), "leads out"),
    ("absolute", lambda d: d["images"][0].update(file_name="/etc/a.jpg"), "another machine"),
    ("drive", lambda d: d["images"][0].update(file_name="C:\\a.jpg"), "another machine"),
    ("empty name", lambda d: d["images"][0].update(file_name=""), "not a file name"),
    ("half a patch", lambda d: d["images"][0].update(ori_id=1), "without start_coord"),
]


@pytest.mark.parametrize(
    ("change", "message"), [case[1:] for case in BAD_FILES], ids=[case[0] for case in BAD_FILES]
)
def test_bad_file(tmp_path: Path, change: Any, message: str) -> None:
    path = save(tmp_path, broken(change))
    with pytest.raises(DataError, match=message) as caught:
        read_annotations(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "empty"),
        (b'{\n"images": [\n', ":3: broken JSON: the file ends too early"),
        (b'{\n"images": [],,\n', ":2: broken JSON"),
        (b'{"images": [], "annotations": [], "categories": [{"id": 1, "name": "\xff"}]}', "UTF-8"),
        (b"\xff\xfe{\x00}\x00", "UTF-8"),
        (b"[1, 2]", "expected an object"),
        (b"[" * 100_000, "nested too deeply|ends too early|expected"),
    ],
)
def test_broken_json_names_the_line(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_annotations(save(tmp_path, text))


def test_missing_file_and_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_annotations(tmp_path / "none.json")
    with pytest.raises(DataError, match="no annotations of a known format"):
        read_annotations(tmp_path)
    with pytest.raises(UsageError, match="unknown format"):
        read_annotations(save(tmp_path, content()), format="xml")


def test_counts_errors_of_a_kind(tmp_path: Path) -> None:
    data = content()
    for item in data["annotations"]:
        item["bbox"] = [1, 1, 0, 0]
    with pytest.raises(DataError, match="and 3 more"):
        read_annotations(save(tmp_path, data))
