"""Text on images, in the font that comes with matplotlib (OpenCV's own has no accents)."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from sodkit.data.images.decoding import RgbImage
from sodkit.viz.palette import INK, PAPER, Colour


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), size)


def text_width(text: str, size: int) -> int:
    """Return the width of one line of text in px, for letters of ``size`` px."""
    return int(np.ceil(_font(size).getlength(text)))


def line_height(size: int) -> int:
    """Return the height in px that a line of text of ``size`` px takes."""
    ascent, descent = _font(size).getmetrics()
    return int(ascent + descent)


def text_image(text: str, size: int, colour: Colour = INK, ground: Colour = PAPER) -> RgbImage:
    """Return one line of text as (H, W, 3) uint8 RGB, as large as it needs."""
    shape = (max(1, text_width(text, size)), line_height(size))
    picture = Image.new("RGB", shape, ground)
    ImageDraw.Draw(picture).text((0, 0), text, fill=colour, font=_font(size))
    return np.array(picture)
