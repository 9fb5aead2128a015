"""Whether the windows of a batch fit into the machine's memory: before one is read."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sodkit.data.records import ImageRecord
from sodkit.engine.predict_options import PredictOptions
from sodkit.errors import SodkitError
from sodkit.settings import Recipe

_READ, _INPUT = 3, 3 + 12
"""Bytes a pixel: as read; resized as bytes and as normalised float32."""


def check_memory(images: Sequence[ImageRecord], options: PredictOptions, recipe: Recipe) -> None:
    """Raise SodkitError if one window of the largest kind takes more memory than there is.

    What the detector computes comes on top, so windows that pass may still be too large.

    Args:
        images: what is predicted on.
        options: size of the windows.
        recipe: resizing.
    """
    have = memory()
    if have is None or not images:
        return
    if options.size is None:
        width, height = max(((i.width, i.height) for i in images), key=lambda s: s[0] * s[1])
    else:
        width = height = options.size
    need = width * height * (_READ + _INPUT * recipe.input.scale**2)
    if need > have:
        raise SodkitError(
            f"a window of {width} x {height} px takes {need / 1e9:,.1f} GB before the detector "
            f"begins, this machine has {have / 1e9:,.1f} GB of memory",
            hint="give a smaller --size, and leave --no-split away",
        )


def memory() -> int | None:
    """Return the machine's memory in bytes; None: not known."""
    if not hasattr(os, "sysconf"):
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
