"""Small data laid out as each page of the documentation says, for ``test_docs.py``."""

from __future__ import annotations

import importlib
import json
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from sodkit.config import load_recipe
from sodkit.data.images.decoding import write_image
from sodkit.data.records import Category
from sodkit.engine.checkpoint import save_checkpoint
from sodkit.models.zoo import build

sys.path.append(str(Path(__file__).parent / "models"))

TINY = (
    "model.backbone={name: resnet18, weights: null, frozen_stages: 0, norm: batch}",
    "schedule.batch=4", "schedule.precision=float32", "schedule.warmup=2", "input.patch=112",
    "input.stride=96", "input.scale=1.0",
)  # fmt: skip
NARROW = {"retinanet-r50-soda-d": ("model.channels=32",)}
"""What makes a detector without an RoI head small."""


def small(recipe: str) -> tuple[str, ...]:
    """Return the settings that make a training end in a second or two."""
    return (*TINY, *NARROW.get(recipe, ("model.fpn.channels=32", "model.roi.hidden=32")))


def draw(path: Path, seed: int) -> list[list[int]]:
    """Write a picture of 104 x 84 px with bright squares; return their boxes."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 80, (84, 104, 3)).astype(np.uint8)
    boxes = [[12 + 30 * k, 10 + 25 * k, 14, 12] for k in range(3)]
    for x, y, w, h in boxes:
        pixels[y : y + h, x : x + w] = 220
    write_image(path, pixels)
    return boxes


def coco(path: Path, images: Path) -> None:
    """Write SODA-D's form of some images in a folder: two to train on, or one."""
    images_list, rows = [], []
    for number in (1, 2) if path.stem in ("train", "annotations") else (1,):
        name = f"{path.stem}_{number}.jpg"
        for box in draw(images / name, zlib.crc32(name.encode())):
            rows.append({"id": len(rows) + 1, "image_id": number, "category_id": 1 + number,
                         "bbox": box, "area": box[2] * box[3], "ignore": 0})  # fmt: skip
        images_list.append({"id": number, "file_name": name, "width": 104, "height": 84})
    names = ("people", "rider", "bicycle", "motor", "vehicle", "traffic-sign", "traffic-light",
             "traffic-camera", "warning-cone", "ignore")  # fmt: skip
    categories = [{"id": k, "name": name} for k, name in enumerate(names, 1)]
    content = {"images": images_list, "annotations": rows, "categories": categories}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def soda_a(path: Path, images: Path) -> None:
    """Write SODA-A's form of one image."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = f"{path.stem}.png"
    rows = [
        {"poly": [x, y, x + w, y + 3, x + w - 2, y + h, x - 2, y + h - 3], "category_id": 4}
        for x, y, w, h in draw(images / name, zlib.crc32(name.encode()))
    ]
    stated = {"file_name": name, "width": 104, "height": 84}
    path.write_text(json.dumps({"images": stated, "annotations": rows}))


def released(folder: Path) -> None:
    golden = importlib.import_module("model_golden")
    torch.save({"state_dict": golden.weights("keys_r18"), "meta": {}}, folder / "released.pth")
    soda_d(folder)
    coco(folder / "patches" / "annotations.json", folder / "patches" / "images")


def plain(folder: Path) -> None:
    """Three files of SODA-D's form beside a folder of photos."""
    for subset in ("train", "val", "test"):
        coco(folder / f"{subset}.json", folder / "photos")


def soda_d(folder: Path) -> None:
    raw = folder / "SODA-D" / "rawData"
    for subset in ("train", "val", "test"):
        coco(raw / "Annotations" / f"{subset}.json", raw / "Images")


def downloaded_soda_a(folder: Path) -> None:
    """The layout that the page names second; ``oriented.md`` has the first."""
    root = folder / "SODA-A"
    for number, subset in enumerate(("train", "val", "test")):
        soda_a(root / "Annotations" / subset / f"0000{number}.json", root / "Images" / subset)


def oriented(folder: Path) -> None:
    for subset in ("train", "val", "test"):
        raw = folder / "SODA-A" / "rawData" / subset
        soda_a(raw / "Annotations" / "00001.json", raw / "Images")
    soda_a(folder / "harbour" / "P0706.json", folder / "images")
    golden = importlib.import_module("system_golden")
    state = golden.weights("oriented-rcnn")
    torch.save({"state_dict": state, "meta": {}}, folder / "epoch_12.pth")
    (folder / "classes.txt").write_text("\n".join(f"class {k}" for k in range(9)))


def images_and_patches(folder: Path) -> None:
    coco(folder / "train.json", folder / "images")
    coco(folder / "patches" / "annotations.json", folder / "patches" / "images")


def images_alone(folder: Path) -> None:
    coco(folder / "train.json", folder / "images")


def scenes(folder: Path) -> None:
    """What the demo leaves of its data."""
    for subset in ("train", "test"):
        coco(folder / "demo" / "data" / f"{subset}.json", folder / "demo" / "data")


def yolo(folder: Path) -> None:
    for subset in ("train", "val"):
        labels = folder / "cars" / "labels" / subset
        labels.mkdir(parents=True)
        boxes = draw(folder / "cars" / "images" / subset / f"{subset}.jpg", len(subset))
        lines = [
            f"{k % 2} {(x + w / 2) / 104} {(y + h / 2) / 84} {w / 104} {h / 84}"
            for k, (x, y, w, h) in enumerate(boxes)
        ]
        (labels / f"{subset}.txt").write_text("\n".join(lines))
    names = "train: images/train\nval: images/val\nnames: [car, truck]\n"
    (folder / "cars" / "data.yaml").write_text(names)


def raster(folder: Path) -> None:
    """A raster in Munich, and the checkpoint of a detector that has learnt nothing."""
    rasterio = pytest.importorskip("rasterio")
    pytest.importorskip("pyogrio")
    place = rasterio.Affine(0.3, 0.0, 690000.0, 0.0, -0.3, 5335000.0)
    form = {"driver": "GTiff", "width": 104, "height": 84, "count": 3, "dtype": "uint8"}
    with rasterio.open(folder / "scene.tif", "w", crs="EPSG:32632", transform=place, **form) as out:
        out.write(np.random.default_rng(0).integers(0, 255, (3, 84, 104)).astype(np.uint8))
    recipe = load_recipe("cfinet-r50-soda-d", (*small("cfinet-r50-soda-d"), "keep.score=0.0"))
    path = folder / "run" / "checkpoints" / "last.safetensors"
    path.parent.mkdir(parents=True)
    save_checkpoint(path, build(recipe.model, 2), recipe, (Category(1, "car"), Category(2, "bus")))


LAYOUTS: dict[str, Callable[[Path], None]] = {
    "README.md": plain,
    "ablations.md": soda_d,
    "anchors.md": images_alone,
    "geotiff.md": raster,
    "new-detector.md": images_and_patches,
    "oriented.md": oriented,
    "own-images.md": yolo,
    "real-data.md": images_alone,
    "recipe-keys.md": plain,
    "released-weights.md": released,
    "soda-a.md": downloaded_soda_a,
    "soda-d.md": soda_d,
    "start.md": scenes,
    "systems.md": images_and_patches,
}
"""What each page takes for granted."""
