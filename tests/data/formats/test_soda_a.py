import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sodkit.data.formats import find_images, read_annotations
from sodkit.data.records import REGION
from sodkit.errors import DataError

POLY = [10, 10, 30, 10, 30, 20, 10, 20]


def save(folder: Path, name: str, **changes: Any) -> Path:
    content = {
        "images": {"file_name": f"{name}.jpg", "width": 100, "height": 80},
        "annotations": [{"poly": POLY, "category_id": 4, "area": 1.0}],
        "categories": [{"id": 4, "name": "ship"}, {"id": 9, "name": "ignore"}],
    } | changes
    folder.mkdir(exist_ok=True, parents=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps({key: item for key, item in content.items() if item is not None}))
    return path


def test_reads_a_folder(tmp_path: Path) -> None:
    save(tmp_path, "00012")
    save(
        tmp_path,
        "00003",
        images=[{"file_name": "00003.png", "width": 50, "height": 60}],
        annotations=[
            {"poly": POLY, "category_id": 9},
            {"poly": [1, 1, 9, 1, 9, 9, 5, 12, 1, 9], "category_id": 4},
            {"poly": [5, 5, 15, 15, 10, 20, 0, 10], "category_id": 4},
        ],
    )
    own = read_annotations(tmp_path)
    assert own.kind == "oriented"
    assert [(image.id, image.file_name) for image in own.images] == [
        (3, "00003.png"),
        (12, "00012.jpg"),
    ]
    assert [(item.id, item.name) for item in own.categories] == [(4, "ship")]
    assert own.labels.tolist() == [REGION, REGION, 0, 0]
    assert own.ignore.tolist() == [True, True, False, False]
    assert own.image_index.tolist() == [0, 0, 0, 1]
    assert own.obb is not None
    assert own.polygons is not None
    assert len(own.polygons[1]) == 5
    assert own.obb[2] == pytest.approx([7.5, 12.5, 200**0.5, 50**0.5, np.pi / 4])
    assert own.area[2] == pytest.approx(100)


def test_ids_count_where_names_are_no_numbers(tmp_path: Path) -> None:
    for name in ("P2", "P1", "007"):
        save(tmp_path, name)
    assert [image.id for image in read_annotations(tmp_path).images] == [1, 2, 3]


def test_name_and_size_come_from_the_image_if_not_stated(tmp_path: Path) -> None:
    path = save(tmp_path / "Annotations" / "train", "5", images=None)
    with pytest.raises(DataError, match="there is none of its name"):
        read_annotations(path.parent)
    folder = tmp_path / "Images" / "train"
    folder.mkdir(parents=True)
    cv2.imwrite(str(folder / "5.png"), np.zeros((40, 90, 3), np.uint8))
    own = read_annotations(path.parent)
    image = own.images[0]
    assert (image.file_name, image.width, image.height) == ("5.png", 90, 40)
    assert find_images(path.parent, own) == folder
    assert read_annotations(path.parent, images=folder).images == (image,)


def test_classes_default_to_soda_a(tmp_path: Path) -> None:
    save(tmp_path, "1", categories=None)
    own = read_annotations(tmp_path)
    assert [item.name for item in own.categories][::4] == ["airplane", "ship", "windmill"]
    assert own.labels.tolist() == [4]


def test_patches_of_the_release(tmp_path: Path) -> None:
    for name, x in (("00007__800__0___0", 0), ("00007__800__650___0", 650)):
        save(
            tmp_path, name, images=None, filename=f"{name}.jpg", width=800, height=800,
            ori_id="00007", x_start=x, y_start=0, id=name,
            annotations=[{"poly": POLY, "cat_id": 4, "trunc": 1}],
        )  # fmt: skip
    own = read_annotations(tmp_path)
    assert [(i.ori_id, i.ori_file_name, i.start) for i in own.images] == [
        (7, "00007.jpg", (0, 0)),
        (7, "00007.jpg", (650, 0)),
    ]
    assert own.labels.tolist() == [0, 0]


BAD = [
    ("text", {"annotations": [{"poly": "1 2", "category_id": 4}]}, r"annotations\[0\]\.poly"),
    ("odd", {"annotations": [{"poly": POLY[:7], "category_id": 4}]}, r"annotations\[0\]"),
    ("two corners", {"annotations": [{"poly": POLY[:4], "category_id": 4}]}, "three corners"),
    ("nan", {"annotations": [{"poly": [*POLY[:7], float("nan")], "category_id": 4}]}, "NaN"),
    ("a point", {"annotations": [{"poly": [3] * 8, "category_id": 4}]}, "no size"),
    ("a line", {"annotations": [{"poly": [1, 1, 2, 2, 3, 3, 4, 4], "category_id": 4}]}, "no area"),
    ("outside", {"annotations": [{"poly": [v + 99 for v in POLY], "category_id": 4}]}, "outside"),
    ("class", {"annotations": [{"poly": POLY, "category_id": 44}]}, "unknown category id 44"),
    ("no class", {"annotations": [{"poly": POLY}]}, "the field 'category_id' is missing"),
    ("two images", {"images": [{"file_name": "a.jpg"}, {"file_name": "b.jpg"}]}, "2 images"),
    ("escape", {"images": {"file_name": "../a.jpg", "width": 5, "height": 5}}, "leads out"),
    ("half a patch", {"ori_id": "7", "x_start": 0}, "y_start"),
    ("other names", {"categories": [{"id": 4, "name": "boat"}]}, "'boat' here, elsewhere 'ship'"),
]


@pytest.mark.parametrize(("changes", "message"), [c[1:] for c in BAD], ids=[c[0] for c in BAD])
def test_bad_files_are_named(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    save(tmp_path, "1")
    path = save(tmp_path, "2", **changes)
    with pytest.raises(DataError, match=message) as caught:
        read_annotations(tmp_path)
    assert str(path) in str(caught.value)


def test_broken_json(tmp_path: Path) -> None:
    (tmp_path / "1.json").write_text('{"annotations": [\n{"poly": [1, 2')
    with pytest.raises(DataError, match=r"1\.json:2: broken JSON"):
        read_annotations(tmp_path)
