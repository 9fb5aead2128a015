"""Small valid data that the readers' inputs are made of, written by the project's own writers."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from sodkit.data.images.decoding import write_image
from sodkit.data.records import REGION, Annotations, Category, ImageRecord, Polygons
from sodkit.geometry import rotated
from sodkit.outputs import MARK

WIDTH, HEIGHT = 16, 12
CLASSES = ("ship", "large vehicle")

# Threads of a library would not outlive the fork.
cv2.setNumThreads(1)


def horizontal(first: int = 1) -> Annotations:
    """Return two images, two objects and a region."""
    return Annotations(
        images=tuple(ImageRecord(first + k, f"{name}.png", WIDTH, HEIGHT)
                     for k, name in enumerate("ab")),
        categories=(Category(1, CLASSES[0]), Category(3, CLASSES[1])),
        ids=np.arange(3) + first,
        image_index=np.array([0, 0, 1]),
        labels=np.array([0, REGION, 1]),
        xywh=np.array([[2, 3, 4, 6], [0, 0, 9.5, 8], [4, 4, 2.25, 7]]),
        area=np.array([24, 76, 15.75]),
        ignore=np.array([False, True, True]),
    )  # fmt: skip


def oriented() -> Annotations:
    """Return the same images with oriented boxes and their corners."""
    obb = np.array([[6, 6, 5, 3, 0.6], [8, 6, 9, 4, 0], [7, 5, 6, 2, -1.2]])
    corners = rotated.obb_to_corners(obb)
    return replace(
        horizontal(),
        obb=obb,
        xywh=rotated.obb_to_xywh(obb),
        area=obb[:, 2] * obb[:, 3],
        polygons=Polygons(corners.reshape(-1, 2), np.arange(4) * 4),
    )


def patches() -> Annotations:
    """Return the images as patches of a larger one."""
    own = horizontal()
    images = tuple(
        replace(image, ori_id=7, ori_file_name="whole.png", start=(10 * k, 0))
        for k, image in enumerate(own.images)
    )
    return replace(own, images=images)


def pixels(seed: int = 0) -> np.ndarray:
    """Return (HEIGHT, WIDTH, 3) uint8 with some structure."""
    random = np.random.default_rng(seed)
    small = random.integers(0, 255, (HEIGHT // 4, WIDTH // 4, 3)).astype(np.uint8)
    return np.ascontiguousarray(small.repeat(4, axis=0).repeat(4, axis=1))


def written(write: Callable[[Path], object]) -> dict[str, bytes]:
    """Return the files that ``write`` makes in a folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder)
        found = (path for path in folder.rglob("*") if path.is_file())
        files = sorted(path for path in found if not path.name.startswith(MARK))
        # YOLO's data.yaml names its folder, which is another one in each process
        own = [f"{folder}/x".encode(), name.encode()]
        return _in_order(
            {str(path.relative_to(folder)): _without(path.read_bytes(), own) for path in files}
        )


def _without(data: bytes, folders: list[bytes]) -> bytes:
    for folder in folders:
        data = data.replace(folder, b".")
    return data


def write_pictures(folder: Path) -> None:
    """Write the two images as PNG."""
    for name in "ab":
        write_image(folder / f"{name}.png", pixels())


def pictures(folder: str = "images") -> dict[str, bytes]:
    """Return the two images as PNG."""
    return written(lambda root: write_pictures(root / folder))


def _in_order(files: dict[str, bytes]) -> dict[str, bytes]:
    """Return files with the headers of safetensors in order: they are written in any."""
    return {
        name: _ordered(data) if name.endswith(".safetensors") else data
        for name, data in files.items()
    }


def _ordered(data: bytes) -> bytes:
    length = int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8 : 8 + length]), sort_keys=True).encode()
    return len(header).to_bytes(8, "little") + header + data[8 + length :]
