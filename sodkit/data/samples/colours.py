"""Random hue, saturation and value of a training picture (Ge et al., YOLOX, 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sodkit.data.images.decoding import RgbImage
from sodkit.data.samples.draws import Draws
from sodkit.settings.augment import Colours

_HUES = 180


@dataclass(frozen=True, slots=True)
class Shift:
    """What is added to hue (of 180), saturation and value (of 255), in whole numbers."""

    hue: int
    saturation: int
    value: int

    def apply(self, image: RgbImage) -> None:
        """Change (H, W, 3) RGB where it is."""
        if not (self.hue or self.saturation or self.value):
            return
        hsv = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2HSV)
        level = np.arange(256)
        tables = (
            (level + self.hue) % _HUES,
            (level + self.saturation).clip(0, 255),
            (level + self.value).clip(0, 255),
        )
        changed = cv2.LUT(hsv, np.stack(tables, axis=1)[None].astype(np.uint8))
        image[:] = cv2.cvtColor(changed, cv2.COLOR_HSV2RGB)


def draw(settings: Colours, rng: Draws) -> Shift:
    """Draw what is added; each of the three is added with a probability of one half."""
    most = (settings.hue, settings.saturation, settings.value)
    changes = [rng.uniform(-1, 1) * one for one in most]
    hue, saturation, value = (int(one * int(rng.integers(0, 2))) for one in changes)
    return Shift(hue, saturation, value)
