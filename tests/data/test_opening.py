"""A source is read the same way by every command: subset, notes, what is left out, classes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sodkit.data.formats.subsets import TRAINED
from sodkit.data.left_out import LeftOut
from sodkit.data.opening import Source, of_one_subset, open_source
from sodkit.data.records import REGION
from sodkit.errors import DataError, UsageError

NAMES = ("car", "Van", "ignored")


@pytest.fixture
def ann(tmp_path: Path) -> Path:
    content = {
        "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 64}],
        "categories": [{"id": 5 + k, "name": name} for k, name in enumerate(NAMES)],
        "annotations": [
            {"id": k, "image_id": 1, "category_id": 5 + k, "bbox": [4 * k, 0, 3, 3], "area": 9}
            for k in range(3)
        ],
    }
    path = tmp_path / "ann.json"
    path.write_text(json.dumps(content))
    return path


def _open(source: Source, *, all_classes: bool = False) -> tuple[list[str], list[int], list[str]]:
    said: list[str] = []
    own = open_source(source, LeftOut(bad=False), said.append, all_classes=all_classes)
    return [item.name for item in own.categories], own.labels.tolist(), said


def test_an_ignoring_name_is_a_region_and_it_is_said(ann: Path) -> None:
    names, labels, said = _open(Source(ann))
    assert (names, labels) == (["car", "Van"], [0, 1, REGION])
    assert "'ignored' are ignore regions" in said[0]
    assert "--classes" in said[0]


@pytest.mark.parametrize("wanted", ["car,ignored", " IGNORED , car"])
def test_classes_take_an_ignoring_name_as_a_class(ann: Path, wanted: str) -> None:
    names, labels, said = _open(Source(ann, classes=wanted))
    assert (names, labels) == (["car", "ignored"], [0, 1])
    assert not any("ignore regions" in sentence for sentence in said)


def test_classes_restrict_and_regions_stay(ann: Path) -> None:
    names, labels, said = _open(Source(ann, classes="van"))
    assert (names, labels) == (["Van"], [0, REGION])
    assert said[-1].endswith("class 'Van' is taken as 'van'")


def test_all_classes_are_kept_where_predictions_name_them(ann: Path) -> None:
    names, labels, _ = _open(Source(ann, classes="ignored"), all_classes=True)
    assert (names, labels) == (list(NAMES), [0, 1, 2])


@pytest.mark.parametrize(
    ("wanted", "message"), [("bus", "'bus', which is no class"), (" ,", "names no class")]
)
def test_classes_that_are_not_there(ann: Path, wanted: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        _open(Source(ann, classes=wanted))


def test_the_likeliest_subset_is_read_and_said(ann: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "annotations").mkdir(parents=True)
    for subset in ("train", "val"):
        (root / subset).mkdir()
        (root / "annotations" / f"instances_{subset}.json").write_text(ann.read_text())
    said: list[str] = []
    assert of_one_subset(Source(root), said.append).subset == "val"
    assert said.pop().endswith("the subset val is read (--subset takes another)")
    assert of_one_subset(Source(root), said.append, TRAINED, option="").subset == "train"
    assert said.pop().endswith("the subset train is read")
    assert of_one_subset(Source(root, subset="train"), said.append).subset == "train"
    with pytest.raises(UsageError, match="no subset 'test'"):
        of_one_subset(Source(root, subset="test"), said.append)
    with pytest.raises(DataError, match="has no subset 'test'"):
        of_one_subset(Source(root), said.append, ("test",))
