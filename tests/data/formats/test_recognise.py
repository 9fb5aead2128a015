"""What ``predict`` writes beside images is not taken for their annotations."""

from __future__ import annotations

import json
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from sodkit.data.formats import (
    find_images,
    find_subsets,
    is_annotations,
    read_annotations,
    recognise,
)
from sodkit.data.images.decoding import write_image
from sodkit.errors import DataError

FOUND = '\n [{"image_id": 1, "category_id": 0, "score": 0.5, "bbox": [1, 2, 3, 4]}]'


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    write_image(tmp_path / "a.png", np.zeros((80, 100, 3), np.uint8))
    (tmp_path / "found.images.json").write_text('{"images": [], "annotations": []}')
    return tmp_path


@pytest.mark.parametrize("name", ["found.json", "annotations.json", "train.json", "b.JSON"])
def test_a_folder_of_images_with_predictions(photos: Path, name: str) -> None:
    (photos / name).write_text(FOUND)
    assert not is_annotations(photos)
    assert find_subsets(photos) == []
    with pytest.raises(DataError, match="no annotations of a known format"):
        recognise(photos)


def test_annotations_beside_predictions_are_read_alone(photos: Path) -> None:
    (photos / "found.json").write_text(FOUND)
    item = {"poly": [1, 1, 9, 1, 9, 9, 1, 9], "category_id": 4}
    (photos / "a.json").write_text(json.dumps({"annotations": [item]}))
    assert recognise(photos) == "soda-a"
    own = read_annotations(photos)
    assert [image.file_name for image in own.images] == ["a.png"]
    assert len(own) == 1


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("names", [("train",), ("test", "train"), ("a_train_1", "a_test_1", "7")])
def test_soda_a_of_images_that_are_named_like_subsets(
    tmp_path: Path, names: tuple[str, ...], stated: bool
) -> None:
    """A photo of a train may be train.jpg: its file describes one image, so it is no subset."""
    for name in names:
        write_image(tmp_path / "Images" / f"{name}.png", np.zeros((80, 100, 3), np.uint8))
        item = {"poly": [1, 1, 9, 1, 9, 9, 1, 9], "category_id": 4, "image_id": 1}
        image = {"file_name": f"{name}.png", "width": 100, "height": 80, "id": 1}
        content = {"images": image, "annotations": []} if stated else {"annotations": [item]}
        file = tmp_path / "Annotations" / "valid" / f"{name}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content))
        assert recognise(file) == "soda-a"
        alone = read_annotations(file, images=tmp_path / "Images")
        assert [image.file_name for image in alone.images] == [f"{name}.png"]
    for place in (tmp_path / "Annotations" / "valid", tmp_path):
        found = read_annotations(place)
        assert [image.file_name for image in found.images] == [f"{n}.png" for n in sorted(names)]
        assert len(found) == (0 if stated else len(names))
    assert [item.name for item in find_subsets(tmp_path)] == ["valid"]


def test_a_list_of_one_image_is_soda_as_unless_annotations_name_their_image(
    photos: Path,
) -> None:
    image = {"file_name": "a.png", "width": 100, "height": 80}
    item = {"poly": [1, 1, 9, 1, 9, 9, 1, 9], "category_id": 4}
    file = photos / "a.json"
    file.write_text(json.dumps({"images": [image], "annotations": [item]}))
    assert recognise(file) == recognise(photos) == "soda-a"
    assert len(read_annotations(file, images=photos)) == 1
    coco = {"images": [{"id": 7} | image], "annotations": [{"id": 1, "image_id": 7} | item]}
    file.write_text(json.dumps(coco | {"categories": [{"id": 4, "name": "ship"}]}))
    assert recognise(file) == "coco"
    assert read_annotations(file, images=photos).images[0].id == 7


def test_one_file_of_soda_a_does_not_hide_subsets_in_coco(tmp_path: Path) -> None:
    coco = {"images": [], "annotations": [], "categories": []}
    for name in ("train", "val"):
        (tmp_path / f"{name}.json").write_text(json.dumps(coco))
    (tmp_path / "test.json").write_text(json.dumps({"images": {"id": 1}, "annotations": []}))
    assert [item.name for item in find_subsets(tmp_path)] == ["train", "val"]


def test_a_file_that_cannot_be_read_is_left_to_its_reader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "a.json"
    file.write_text("{}")
    monkeypatch.setattr(Path, "open", Mock(side_effect=PermissionError(13, "Permission denied")))
    assert recognise(file) == "coco"


def coco_below(root: Path, *images: str) -> Path:
    """Write a COCO file two folders below a root, and its images."""
    path = root / "annotations_of_2020" / "all.json"
    path.parent.mkdir(parents=True)
    records = [{"id": 1, "file_name": "shots/a.png", "width": 100, "height": 80}]
    path.write_text(json.dumps({
        "images": records,
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 8, 9]}],
        "categories": [{"id": 1, "name": "person"}],
    }))  # fmt: skip
    for name in images:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_image(root / name, np.zeros((80, 100, 3), np.uint8))
    return path


@pytest.mark.parametrize("form", [None, "coco"])
def test_the_only_coco_file_below_a_root_is_read(tmp_path: Path, form: str | None) -> None:
    path = coco_below(tmp_path, "shots/a.png")
    (tmp_path / "notes").mkdir()
    assert recognise(tmp_path) == "coco"
    own = read_annotations(tmp_path, format=form)
    assert len(own) == 1
    assert find_images(tmp_path, own) / own.images[0].file_name == tmp_path / "shots/a.png"
    path.with_name("more.json").write_bytes(path.read_bytes())
    with pytest.raises(DataError, match=r"2 COCO files: annotations_of_2020/all\.json, ") as caught:
        read_annotations(tmp_path, format=form)
    assert str(path) in (caught.value.hint or "")


def test_images_are_looked_for_below_the_root_that_was_asked_for(tmp_path: Path) -> None:
    path = coco_below(tmp_path / "set", "train/shots/a.png")
    own = read_annotations(tmp_path / "set")
    found = find_images(tmp_path / "set", own) / own.images[0].file_name
    assert found == tmp_path / "set/train/shots/a.png"
    # of the file alone it is not known where the data set ends
    assert read_annotations(path).images[0].file_name == "shots/a.png"


def test_a_name_that_two_images_below_the_root_have_is_left(tmp_path: Path) -> None:
    coco_below(tmp_path, "train/shots/a.png", "eroded/shots/a.png")
    assert read_annotations(tmp_path).images[0].file_name == "shots/a.png"


def test_a_folder_without_coco_is_refused_as_coco(photos: Path) -> None:
    with pytest.raises(DataError, match="holds no COCO JSON"):
        read_annotations(photos, format="coco")
