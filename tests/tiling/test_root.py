import json
import shutil
from pathlib import Path

import pytest

from sodkit.data.formats import find_subsets, read_annotations
from sodkit.data.opening import Source
from sodkit.errors import UsageError
from sodkit.tiling.root import (
    SplitPlan,
    choose,
    settings_by_subset,
    split_source,
    split_subsets,
)
from sodkit.tiling.settings import SplitSettings

RULES = SplitSettings(size=100, stride=70)
PLAN = SplitPlan(lambda name: RULES)


@pytest.fixture
def soda_d(source: Path, tmp_path: Path) -> Path:
    """SODA-D's raw layout: the images of all subsets together."""
    raw = tmp_path / "soda" / "rawData"
    shutil.copytree(source.parent / "photos", raw / "Images")
    content = json.loads(source.read_text())
    (raw / "Annotations").mkdir()
    for name, numbers in (("train", (1, 2, 3)), ("val", (4, 5)), ("test", (6,))):
        images = [image for image in content["images"] if image["id"] in numbers]
        rows = [row for row in content["annotations"] if row["image_id"] in numbers]
        part = {**content, "images": images, "annotations": rows}
        (raw / "Annotations" / f"{name}.json").write_text(json.dumps(part))
    return raw.parent


def test_all_subsets_of_soda_d(soda_d: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = list(split_subsets(Source(soda_d), find_subsets(soda_d), out, PLAN))
    assert [(item.name, report.images) for item, report in done] == [
        ("train", 3), ("val", 2), ("test", 1),
    ]  # fmt: skip
    for item, report in done:
        own = read_annotations(out / item.name)
        assert len(own.images) == report.patches
        assert all((out / item.name / image.file_name).is_file() for image in own.images)


@pytest.mark.parametrize("layout", ["rawData/{}/Annotations", "Annotations/{}"])
def test_all_subsets_of_soda_a(source: Path, tmp_path: Path, layout: str) -> None:
    root = tmp_path / "soda"
    poly = [5, 5, 25, 5, 25, 15, 5, 15]
    for subset, name in (("train", "00001"), ("test", "00002")):
        labels = root / layout.format(subset)
        labels.mkdir(parents=True)
        image = {"file_name": f"{name}.jpg", "width": 310, "height": 200}
        item = {"poly": poly, "category_id": 4}
        (labels / f"{name}.json").write_text(json.dumps({"images": image, "annotations": [item]}))
        photos = root / layout.format(subset).replace("Annotations", "Images")
        photos.mkdir(parents=True)
        shutil.copy(source.parent / "photos" / "a.jpg", photos / f"{name}.jpg")
    done = list(split_subsets(Source(root), find_subsets(root), tmp_path / "out", PLAN))
    assert [(item.name, report.total("whole")) for item, report in done] == [
        ("train", 1), ("test", 1),
    ]  # fmt: skip


def test_rules_may_differ_by_subset(soda_d: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    plan = SplitPlan(lambda name: replace(RULES, empty="skip") if name == "val" else RULES)
    found = find_subsets(soda_d)
    done = {i.name: r for i, r in split_subsets(Source(soda_d), found, tmp_path / "out", plan)}
    assert done["val"].skipped > 0
    assert done["train"].skipped == 0


def test_choosing_subsets(soda_d: Path) -> None:
    found = find_subsets(soda_d)
    assert choose(found, ()) == found
    assert [item.name for item in choose(found, ["val"])] == ["val"]
    with pytest.raises(UsageError, match="no subset 'dev'"):
        choose(found, ["dev"])


def test_labels_without_image_are_left_out_and_counted(source: Path, tmp_path: Path) -> None:
    labels = tmp_path / "photos" / "labelTxt"
    labels.mkdir()
    for name in ("a", "gone"):
        (labels / f"{name}.txt").write_text("1 1 9 1 9 9 1 9 ship 0\n1 1 9 1 9 9 1 9 ignore 0\n")
    plan = SplitPlan(lambda name: RULES, skip_bad=True)
    report = split_source(Source(labels), tmp_path / "out", plan)
    assert [(bad.file_name, bad.reason, bad.objects) for bad in report.bad_images] == [
        ("gone", "no such image", 1)
    ]
    assert report.images == 1


def test_only_the_release_drops_empty_patches_and_only_of_train() -> None:
    release = settings_by_subset("soda-d", sizes=[64])
    assert [release(name).empty for name in ("train", "val", "")] == ["skip", "keep", "keep"]
    assert release("train").size == 64
    assert settings_by_subset("soda-d", empty="keep")("train").empty == "keep"
    assert settings_by_subset("soda-a")("train").empty == "keep"
