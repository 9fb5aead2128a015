from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from sodkit.data.predictions.dota_zip import write_task1
from sodkit.data.records import Category, Detections, ImageRecord
from sodkit.errors import UsageError
from sodkit.geometry.rotated import corners_to_obb, obb_to_xywh

CLASSES = (Category(3, "ship"), Category(5, "storage-tank"))
IMAGES = (ImageRecord(1, "images/P0001.png", 90, 80), ImageRecord(7, "P0002.jpg", 90, 80))
OBB = np.array([[30.0, 40, 20, 8, 0.5], [50, 20, 10, 6, -1.5], [9, 9, 5, 4, 0.0]])
FOUND = Detections(
    np.array([7, 1, 7]), np.array([0, 0, 0]), np.array([0.9, 0.5, 0.25]), obb_to_xywh(OBB), OBB
)


def test_a_file_a_class_with_corners(tmp_path: Path) -> None:
    out = tmp_path / "task1.zip"
    write_task1(out, [FOUND], CLASSES, IMAGES)
    with zipfile.ZipFile(out) as archive:
        assert archive.namelist() == ["Task1_ship.txt", "Task1_storage-tank.txt"]
        lines = archive.read("Task1_ship.txt").decode().splitlines()
        assert archive.read("Task1_storage-tank.txt") == b""
    parts = [line.split() for line in lines]
    assert [(p[0], float(p[1])) for p in parts] == [("P0002", 0.9), ("P0001", 0.5), ("P0002", 0.25)]
    corners = np.array([p[2:] for p in parts], np.float64).reshape(-1, 4, 2)
    np.testing.assert_allclose(corners_to_obb(corners), OBB, atol=0.02)
    before = out.read_bytes()
    write_task1(out, [FOUND], CLASSES, IMAGES)
    assert out.read_bytes() == before


def test_what_the_format_cannot_hold(tmp_path: Path) -> None:
    out = tmp_path / "task1.zip"
    with pytest.raises(UsageError, match="wants oriented boxes"):
        write_task1(out, [Detections.empty()], CLASSES, IMAGES)
    twice = (*IMAGES, ImageRecord(8, "other/P0001.jpg", 9, 9))
    with pytest.raises(UsageError, match="2 images are named 'P0001'"):
        write_task1(out, [FOUND], CLASSES, twice)
    with pytest.raises(UsageError, match="has a space"):
        write_task1(out, [FOUND], CLASSES, (ImageRecord(1, "a b.png", 9, 9),))
    with pytest.raises(UsageError, match="cannot be a file name"):
        write_task1(out, [FOUND], (Category(0, "a/b"),), IMAGES)
    with pytest.raises(UsageError, match="Windows allows no"):
        write_task1(out, [FOUND], (Category(0, "a:b"),), IMAGES)
    assert not out.exists()
