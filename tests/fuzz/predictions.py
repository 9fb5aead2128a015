"""The readers of predictions: JSON, also by the compiled scanner, and npz."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from sodkit import json_columns
from sodkit.data.predictions import storage
from sodkit.data.records import Detections
from sodkit.errors import SodkitError

from . import made, spoil_archive
from .reader import Files, Reader


def _detections(*, oriented: bool) -> Detections:
    own = made.oriented() if oriented else made.horizontal()
    labels = np.array([0, 1, 1])
    scores = np.array([0.9, 0.5, 0.123456789])
    return Detections(own.image_index + 1, labels, scores, own.xywh, own.obb)


def _written(name: str) -> tuple[Files, ...]:
    """Return predictions and proposals, upright and oriented, in the format of the suffix."""
    classes = made.horizontal().categories
    valid = []
    for oriented in (False, True):
        for own in (classes, None):
            found = _detections(oriented=oriented)

            def write(folder: Path, found: Detections = found, own: Any = own) -> None:
                storage.write_predictions(folder / name, found, own)

            valid.append(made.written(write))
    return tuple(valid)


def _json() -> tuple[Files, ...]:
    turned = made.oriented()
    assert turned.polygons is not None
    polygons = turned.polygons.points.reshape(-1, 8).tolist()
    corners = [{"image_id": 1, "category_id": 1, "score": 0.5, "poly": own} for own in polygons]
    own = made.horizontal()
    with_scores = {
        "images": [{"id": image.id, "file_name": image.file_name} for image in own.images],
        "categories": [{"id": one.id, "name": one.name} for one in own.categories],
        "annotations": [
            {"image_id": 1, "category_id": one.id, "score": 0.5, "bbox": [1, 2, 3, 4]}
            for one in own.categories
        ],
    }
    more = (corners, with_scores)
    return (*_written("p.json"), *({"p.json": json.dumps(item).encode()} for item in more))


def _npz() -> tuple[Files, ...]:
    """Return archives that are the same bytes at any time."""
    return tuple(
        {"p.npz": spoil_archive.pack(spoil_archive.unpack(files["p.npz"]))}
        for files in _written("p.npz")
    )


def _read(name: str) -> Callable[[Path], None]:
    def call(folder: Path) -> None:
        known = made.horizontal()
        storage.read_predictions(folder / name, known, proposals=True)
        if b"category_id" in (folder / name).read_bytes():
            storage.read_predictions(folder / name, known)

    return call


def _read_text(folder: Path) -> None:
    storage.read_predicted(folder / "t", made.horizontal(), drop_other_classes=True)


def _both(folder: Path) -> None:
    """Read JSON by the compiled scanner and with care: both must say the same."""
    results: list[Detections | str] = []
    for large in (0, 1 << 40):
        with patch.object(json_columns, "LARGE", large):
            try:
                found = storage.read_predictions(
                    folder / "p.json", made.horizontal(), proposals=True
                )
                results.append(found)
            except SodkitError as error:
                results.append(str(error))
    fast, careful = results
    if isinstance(fast, str) or isinstance(careful, str):
        assert fast == careful, f"{fast} != {careful}"
        raise SodkitError(str(fast))
    for key in ("image_ids", "labels", "scores", "xywh", "obb"):
        a, b = getattr(fast, key), getattr(careful, key)
        assert (a is None) == (b is None), key
        assert a is None or np.array_equal(a, b), key


def _text() -> tuple[Files, ...]:
    """Return DOTA's Task 1, YOLO's labels with scores and VisDrone's results."""
    stems = [Path(image.file_name).stem for image in made.horizontal().images]
    name = made.horizontal().categories[0].name
    task = f"{stems[0]} 0.9 1 2 8 2 8 6 1 6\n".encode()
    yolo, visdrone = b"0 0.5 0.5 0.1 0.2 0.75\n", b"1,2,3,4,0.5,4,-1,-1\n"
    return (
        {f"t/Task1_{name}.txt": task, "t/Task1_x.txt": b""},
        {f"t/{stems[0]}.txt": yolo * 2, f"t/{stems[-1]}.txt": b""},
        {f"t/{stems[0]}.txt": visdrone, f"t/{stems[-1]}.txt": visdrone},
        {f"t/{stems[0]}.txt": f"{name} -1 -1 0 1 2 3 4 1 1 1 1 1 1 0 0.5\n".encode()},
    )


READERS = (
    Reader("predictions-text", _text, _read_text),
    Reader("predictions", _json, _read("p.json")),
    Reader("predictions-compiled", _json, _both),
    Reader("npz", _npz, _read("p.npz")),
)
