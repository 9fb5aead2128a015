from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import sodkit
from sodkit.data.images.decoding import read_image, write_image
from sodkit.viz.palette import class_colour

FOUND = sodkit.Detections(
    np.array([4, 4]), np.array([0, 1]), np.array([0.9, 0.1]), np.array([[20.0, 30, 9, 8]] * 2)
)


def test_boxes_are_drawn_on_an_array_and_on_a_file(tmp_path: Path) -> None:
    """The picture is the image with a box around the detection and a legend below."""
    image = np.full((80, 240, 3), 60, np.uint8)
    write_image(tmp_path / "a.png", image)
    shown = sodkit.show(image, FOUND)
    height = shown.pixels.shape[0]
    assert height > 80
    changed = (shown.pixels[:80] != image).any(axis=2)
    rows, columns = np.nonzero(changed)
    assert (columns.min(), rows.min()) > (14, 24)
    assert (columns.max(), rows.max()) < (35, 45)
    assert not changed[30:38, 20:29].any()
    line = shown.pixels[25:29, 22:27].reshape(-1, 3)
    assert (np.abs(line.astype(int) - class_colour(0)).sum(axis=1) < 60).any()
    drawn = cv2.imdecode(np.frombuffer(shown._repr_png_(), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.array_equal(drawn, shown.pixels)
    shown.save(tmp_path / "out.png")
    assert np.array_equal(read_image(tmp_path / "out.png"), shown.pixels)
    again = sodkit.show(str(tmp_path / "a.png"), FOUND, categories=[sodkit.Category(1, "<b>")] * 2)
    assert np.array_equal(again.pixels[:80], shown.pixels[:80])
    assert repr(shown) == f"<Shown: 240 x {height} px>"


def test_ground_truth_and_an_image_alone(tmp_path: Path) -> None:
    file = sodkit.make_dataset(tmp_path, images=1, seed=0, width=256, height=200)
    truth = sodkit.read_annotations(file)
    path = tmp_path / truth.images[0].file_name
    alone = sodkit.show(path).pixels[:200]
    assert np.array_equal(alone, read_image(path))
    assert (sodkit.show(path, truth=truth).pixels[:200] != alone).any()


def test_boxes_of_other_images_and_unknown_classes() -> None:
    image = np.zeros((50, 60), np.uint8)
    two = sodkit.Detections(np.array([1, 2]), FOUND.labels, FOUND.scores, FOUND.xywh)
    with pytest.raises(sodkit.UsageError, match="boxes of 2 images"):
        sodkit.show(image, two)
    with pytest.raises(sodkit.UsageError, match="label 1 is none of 1 classes"):
        sodkit.show(image, FOUND, categories=[sodkit.Category(1, "a")])
    with pytest.raises(sodkit.DataError, match="no image"):
        sodkit.show(np.zeros(3))
