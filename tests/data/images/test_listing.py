from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sodkit.data.images.decoding import write_image
from sodkit.data.images.listing import list_images
from sodkit.errors import DataError


def test_files_and_folders_in_order(tmp_path: Path) -> None:
    for number, name in enumerate(("b/2.png", "b/1.JPG", "a.png")):
        write_image(tmp_path / name, np.zeros((10, 20 + number, 3), np.uint8))
    (tmp_path / "b" / "notes.txt").touch()
    records, folder, _ = list_images([tmp_path / "b", tmp_path / "a.png"])
    assert folder == tmp_path
    assert [(r.id, r.file_name, r.width) for r in records] == [
        (1, "b/1.JPG", 21), (2, "b/2.png", 20), (3, "a.png", 22),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", "absent.png", "notes.txt"])
def test_what_is_no_image(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(DataError):
        list_images([tmp_path / name])


def test_subfolders_are_named_or_taken(tmp_path: Path) -> None:
    for name in ("x.png", "a/y.png", "a/b/z.png", ".hidden/h.png", "split/images/p.png"):
        write_image(tmp_path / name, np.zeros((10, 20, 3), np.uint8))
    (tmp_path / "split" / "split.json").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    said: list[str] = []
    records, _, _ = list_images([tmp_path], say=said.append)
    assert [r.file_name for r in records] == ["x.png"]
    assert len(said) == 1
    assert f"in {tmp_path / 'a'} and 1 more: --recursive takes them" in said[0]
    said.clear()
    records, folder, _ = list_images([tmp_path], recursive=True, say=said.append)
    assert [r.file_name for r in records] == ["a/b/z.png", "a/y.png", "x.png"]
    assert folder == tmp_path
    assert said == [f"{tmp_path / 'split'} is left out: a command of sodkit wrote it"]


def test_images_only_in_subfolders(tmp_path: Path) -> None:
    write_image(tmp_path / "a" / "x.png", np.zeros((10, 20, 3), np.uint8))
    with pytest.raises(DataError, match="--recursive takes them"):
        list_images([tmp_path])


def test_no_path_at_all() -> None:
    with pytest.raises(DataError, match="no image is named"):
        list_images([])
