"""Images and draws that golden windows and mosaics were made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class Logged:
    """Gives what was drawn once, and checks what it is asked for."""

    def __init__(self, draws: list[list[Any]]) -> None:
        self.left = list(draws)

    def choice(self, values: Sequence[float], /) -> float:
        kind, given, value = self.left.pop(0)
        assert (kind, given) == ("choice", list(values))
        return float(value)

    def integers(self, low: int, high: int, /) -> int:
        assert self.left[0][:3] == ["randint", low, high]
        return int(self.left.pop(0)[3])

    def uniform(self, low: float, high: float, /) -> float:
        assert self.left[0][:3] == ["uniform", low, high]
        return float(self.left.pop(0)[3])


def scene(seed: int, height: int, width: int) -> tuple[Any, Any]:
    """Return the image (H, W, 3) that the golden values are of, and its boxes (8, 4)."""
    rng = np.random.RandomState(seed)
    coarse, white = rng.standard_normal((1, 3, 33, 33)), rng.standard_normal((1, 3, 256, 256))
    at = np.arange(256) / 8.0
    low, part = at.astype(int), at % 1
    rows = coarse[:, :, low] * (1 - part)[:, None] + coarse[:, :, low + 1] * part[:, None]
    noise = rows[..., low] * (1 - part) + rows[..., low + 1] * part
    noise = (noise + 0.2 * white).astype(np.float32)[0].transpose(1, 2, 0)
    image = np.clip(noise * 40 + 120, 0, 255).astype(np.uint8)[:height, :width]
    rng = np.random.RandomState(seed)
    boxes = []
    for _ in range(8):
        side = np.exp(rng.uniform(np.log(8), np.log(60)))
        ratio = np.exp(rng.uniform(-np.log(1.6), np.log(1.6)) / 2)
        w, h = np.clip(side * ratio, 8, 60), np.clip(side / ratio, 8, 60)
        x, y = rng.uniform(w / 2, width - w / 2), rng.uniform(h / 2, height - h / 2)
        boxes.append([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
    return image, np.round(np.array(boxes) * 4) / 4
