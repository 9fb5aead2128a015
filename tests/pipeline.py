"""A tiny data set and run for tests of the commands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from sodkit.cli.main import make_app
from sodkit.data.images.decoding import write_image

SMALL = (
    "model.fpn.channels=32",
    "model.roi.hidden=32",
    "input.patch=64",
    "input.stride=48",
    "schedule.batch=2",
    "schedule.precision=float32",
    "schedule.warmup=2",
)


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(make_app(), [str(a) for a in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def train(data: Path, out: Path, *more: object) -> tuple[int, str, str]:
    sets = [part for value in SMALL for part in ("--set", value)]
    return run(
        "train", "cfinet-r18-demo", "--data", data, "--out", out, "--workers", 0,
        *sets, "--epochs", 1, *more,
    )  # fmt: skip


def coco(folder: Path, **changes: Any) -> Path:
    """Write three images of 80 x 70 px with bright squares, and their COCO file."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(1, 4):
        pixels = rng.integers(0, 80, (70, 80, 3)).astype(np.uint8)
        for x, y in ((8, 10), (40, 30)):
            pixels[y : y + 12, x : x + 12] = 220
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": 4,
                    "bbox": [x, y, 12, 12],
                    "area": 144,
                }
            )
        write_image(folder / f"{number}.png", pixels)
        images.append({"id": number, "file_name": f"{number}.png", "width": 80, "height": 70})
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 4, "name": "square"}, {"id": 5, "name": "ignore"}],
    }
    path = folder / "data.json"
    path.write_text(json.dumps(content | changes))
    return path
