"""A small data set on disk: photos of noise with objects, regions, and awkward images."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return the annotation file of six images: one grey, one small, one without objects."""
    rng = np.random.default_rng(5)
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    sizes = {"a.jpg": (310, 200), "b.png": (150, 260), "sub/c.jpg": (60, 70), "d.jpg": (200, 210)}
    sizes |= {"e.jpg": (333, 150), "a.png": (120, 120)}
    images, rows = [], []
    for number, (name, (width, height)) in enumerate(sizes.items(), start=1):
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        shape = (height, width) if name == "d.jpg" else (height, width, 3)
        cv2.imwrite(str(folder / name), rng.integers(0, 255, shape, dtype=np.uint8))
        for _ in range(0 if name == "e.jpg" else 12):
            w, h = rng.integers(5, 30, 2)
            x, y = rng.integers(0, width - w), rng.integers(0, height - h)
            category = int(rng.integers(1, 4))
            rows.append({"image_id": number, "category_id": category, "bbox": [x, y, w, h]})
    for row in rows:
        row["bbox"] = [int(value) for value in row["bbox"]]
    names = [{"id": 1, "name": "one"}, {"id": 2, "name": "two"}, {"id": 3, "name": "ignore"}]
    path = tmp_path / "ann.json"
    path.write_text(json.dumps({"images": images, "annotations": rows, "categories": names}))
    return path
