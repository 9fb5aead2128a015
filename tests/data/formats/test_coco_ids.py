"""Texts for ids in COCO files: numbered, with a note; an id that is not there is still an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sodkit.data.formats import read_annotations
from sodkit.errors import DataError


def coco(path: Path, images: list[Any], categories: list[Any], rows: list[tuple[Any, Any]]) -> Path:
    sizes = {"width": 90, "height": 60}
    content = {
        "images": [{"id": key, "file_name": f"{i}.jpg", **sizes} for i, key in enumerate(images)],
        "categories": [{"id": key, "name": f"c{key}"} for key in categories],
        "annotations": [
            {"id": i, "image_id": image, "category_id": category, "bbox": [1 + i, 2, 9, 8]}
            for i, (image, category) in enumerate(rows, start=1)
        ],
    }
    path.write_text(json.dumps(content))
    return path


def test_images_and_categories_are_numbered(tmp_path: Path) -> None:
    rows = [("b", "van"), ("a7", "car")]
    own = read_annotations(coco(tmp_path / "a.json", ["a7", "b"], ["car", "van"], rows))
    assert [(image.id, image.file_name) for image in own.images] == [(1, "0.jpg"), (2, "1.jpg")]
    assert own.image_index.tolist() == [1, 0]
    assert [own.categories[label].name for label in own.labels] == ["cvan", "ccar"]
    assert [note.kind for note in own.notes] == ["text-ids", "text-ids"]
    only = read_annotations(coco(tmp_path / "a.json", ["a7", "b"], [5, 6], [("b", 6)]))
    assert (only.image_index.tolist(), len(only.notes)) == ([1], 1)


def test_numbers_as_texts_stay_numbers(tmp_path: Path) -> None:
    own = read_annotations(coco(tmp_path / "a.json", ["07", "8"], ["3"], [("07", "3")]))
    assert [image.id for image in own.images] == [7, 8]
    assert own.notes == ()


def test_an_unknown_text_is_an_error(tmp_path: Path) -> None:
    path = coco(tmp_path / "a.json", ["a", "b"], [1], [("a", 1), ("c", 1)])
    with pytest.raises(DataError, match="expected a whole number, found the text 'c'") as caught:
        read_annotations(path)
    assert "annotations[1].image_id (id 2)" in str(caught.value)
    with pytest.raises(DataError, match="image id 1 occurs twice"):
        read_annotations(coco(path, ["a", "a"], [1], [("a", 1)]))
    with pytest.raises(DataError, match=r"images\[1\]\.id .*: expected a whole number"):
        read_annotations(coco(path, [4, "a"], [1], [(4, 1)]))
