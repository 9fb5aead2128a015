"""The synthetic data set on disk."""

import hashlib
import json
import subprocess
import sys

import cv2
import pytest

from sodkit.errors import UsageError
from sodkit.synthetic import make_dataset

SMALL = {"images": 2, "seed": 4, "width": 400, "height": 300}


def _digest(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [path.name.encode() + path.read_bytes() for path in files]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def test_files_and_schema(tmp_path):
    path = make_dataset(tmp_path, boxes="oriented", **SMALL)
    content = json.loads(path.read_text())
    assert path == tmp_path / "train.json"
    assert [image["file_name"] for image in content["images"]] == [
        "images/train_0001.jpg",
        "images/train_0002.jpg",
    ]
    for image in content["images"]:
        pixels = cv2.imread(str(tmp_path / image["file_name"]))
        assert pixels.shape == (image["height"], image["width"], 3)
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert names[max(names)] == "ignore"
    ids = [row["id"] for row in content["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    for row in content["annotations"]:
        assert row["ignore"] in (0, 1)
        assert names[row["category_id"]] != "ignore" or row["ignore"] == 1
        assert len(row["obb"]) == 5
        assert len(row["poly"]) >= 8


def test_horizontal_rows_have_upright_boxes_only(tmp_path):
    content = json.loads(make_dataset(tmp_path, **SMALL).read_text())
    for row in content["annotations"]:
        assert {"poly", "obb"}.isdisjoint(row)
        assert row["area"] == pytest.approx(row["bbox"][2] * row["bbox"][3], abs=0.01)


def test_bytes_are_the_same_in_another_process(tmp_path):
    make_dataset(tmp_path / "here", **SMALL)
    code = (
        "import sys; from pathlib import Path; from sodkit.synthetic import make_dataset;"
        f"make_dataset(Path(sys.argv[1]), **{SMALL!r}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "there")], check=True)
    assert _digest(tmp_path / "here") == _digest(tmp_path / "there")


def test_subsets_share_a_folder_but_no_scene(tmp_path):
    calls = []
    make_dataset(tmp_path, subset="train", progress=lambda *a: calls.append(a), **SMALL)
    make_dataset(tmp_path, subset="test", **SMALL)
    assert calls == [(1, 2), (2, 2)]
    train = (tmp_path / "images" / "train_0001.jpg").read_bytes()
    assert train != (tmp_path / "images" / "test_0001.jpg").read_bytes()


def test_a_few_images_have_no_objects(tmp_path):
    path = make_dataset(tmp_path, images=12, seed=0, width=160, height=128)
    content = json.loads(path.read_text())
    used = {row["image_id"] for row in content["annotations"]}
    assert used == set(range(1, 12))


@pytest.mark.parametrize("change", [{"images": 0}, {"seed": -1}, {"width": 50}])
def test_impossible_numbers_are_refused(tmp_path, change):
    with pytest.raises(UsageError, match="cannot make"):
        make_dataset(tmp_path, **(SMALL | change))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_subset_is_not_overwritten(tmp_path):
    (tmp_path / "train.json").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        make_dataset(tmp_path, **SMALL)
    assert (tmp_path / "train.json").read_text() == "mine"
