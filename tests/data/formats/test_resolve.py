"""Image names with another suffix, or of another machine, are the one file that they can mean."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest

from sodkit.data.formats import find_images, read_annotations
from sodkit.data.images.decoding import write_image
from sodkit.errors import DataError


def save(folder: Path, *names: str) -> Path:
    images = [
        {"id": i, "file_name": name, "width": 96, "height": 64} for i, name in enumerate(names)
    ]
    content = {"images": images, "annotations": [], "categories": [{"id": 1, "name": "car"}]}
    (folder / "ann.json").write_text(json.dumps(content))
    return folder / "ann.json"


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_image(path, np.zeros((64, 96, 3), np.uint8))


@pytest.mark.parametrize(
    "name", ["00001.PNG", "/home/me/images/00001.jpg", "D:\\data\\images\\00001.jpg"]
)
def test_the_one_file_is_taken(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    picture(tmp_path / "images" / "00001.jpg")
    path = save(tmp_path, name)
    with caplog.at_level(logging.WARNING):
        own = read_annotations(path)
    assert [image.file_name for image in own.images] == ["00001.jpg"]
    assert find_images(path, own) == tmp_path / "images"
    assert "00001.jpg" in caplog.text
    assert read_annotations(path, images=tmp_path / "images").images == own.images


def test_the_longest_end_decides(tmp_path: Path) -> None:
    for part in ("a", "b"):
        picture(tmp_path / "images" / part / "1.jpg")
    own = read_annotations(save(tmp_path, "/mnt/d/x/a/1.jpg"))
    assert [image.file_name for image in own.images] == ["a/1.jpg"]


def test_nothing_is_guessed(tmp_path: Path) -> None:
    for part in ("a", "b"):
        picture(tmp_path / "images" / part / "1.jpg")
    with pytest.raises(DataError, match="of another machine"):
        read_annotations(save(tmp_path, "/mnt/d/x/1.jpg"))
    own = read_annotations(save(tmp_path, "c/1.png"))
    assert [image.file_name for image in own.images] == ["c/1.png"]
    picture(tmp_path / "images" / "2.jpg")
    picture(tmp_path / "images" / "2.bmp")
    own = read_annotations(save(tmp_path, "2.png"))
    assert [image.file_name for image in own.images] == ["2.png"]


def test_files_of_other_data_sets_are_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is searched above the annotations' folder, also where the path is relative."""
    (tmp_path / "own").mkdir()
    save(tmp_path / "own", "00001.jpg")
    picture(tmp_path / "other" / "images" / "00001.jpg")
    monkeypatch.chdir(tmp_path / "own")
    assert read_annotations(Path("ann.json")).images[0].file_name == "00001.jpg"


def test_a_line_of_very_many_folders_is_no_path(tmp_path: Path) -> None:
    """It is looked up by its last parts only: each of them lists a folder."""
    picture(tmp_path / "images" / "a.jpg")
    (tmp_path / "train.txt").write_text("nowhere/" * 50_000 + "images/a.jpg\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [car]\n")
    with pytest.raises(DataError, match="none of the 1 images has a label file"):
        read_annotations(tmp_path / "data.yaml")
