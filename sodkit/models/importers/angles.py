"""What mmrotate's recipe in a checkpoint says of angles: weights alone do not show it.

mmrotate has three conventions (docs/conventions.md). A box is the same rectangle in each, so what a
detector finds does not depend on them where anchors and RoIs are upright: Rotated Faster R-CNN,
Gliding Vertex, Rotated RetinaNet. Oriented R-CNN and RoI Transformer pool features that turn with
their proposals: by another convention they would come in turned by 90 or 180 degrees. S2A-Net
samples features that turn with its anchors: le90 and le135 are settings of it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace

from sodkit.errors import ModelError
from sodkit.models.importers.mmdet import Recognised

_POOLED = {"oriented-rcnn": "Oriented R-CNN", "roi-transformer": "RoI Transformer"}
"""Detectors whose RoI features turn, by their kind."""

_STD = 0.1
"""The angle's deviation in all of mmrotate's recipes for Rotated Faster R-CNN."""


def heeded(found: Recognised, meta: object) -> Recognised:
    """Return what was recognised with the settings that the stored recipe's angles need.

    Args:
        found: from names and shapes.
        meta: of the checkpoint; its recipe is read as text, and nothing in it is run.

    Raises:
        ModelError: Oriented R-CNN or RoI Transformer of another convention than le90, S2A-Net of
            another than le90 and le135.
    """
    text = _recipe_text(meta)
    named = set(re.findall(r"angle_(?:range|version)\s*=\s*['\"](\w+)['\"]", text))
    if found.kind == "s2anet":
        return _aligned(found, named, text)
    other = named - {"le90"}
    if found.kind in _POOLED and other:
        raise ModelError(
            f"{_POOLED[found.kind]} was trained with angles of {', '.join(sorted(other))}: its RoI "
            "features turn with them, and here with those of le90",
            hint="weights of le90 can be imported: mmrotate's own recipe has that convention",
        )
    factor = re.search(r"norm_factor\s*=\s*(None|[0-9.]+)", text)
    if found.recipe != "rotated-faster-rcnn-r50-soda-a" or factor is None:
        return found
    # theirs is in radians / (factor * pi), ours in turns
    setting = f"model.roi.box.angle_std={_STD * _unit(factor[1]) / (2 * math.pi)}"
    return replace(found, overrides=(*found.overrides, setting))


def _aligned(found: Recognised, named: set[str], text: str) -> Recognised:
    """Return S2A-Net with the convention and the unit of the angles that the recipe names."""
    if not named <= {"le90"} and not named <= {"le135"}:
        raise ModelError(
            f"S2A-Net was trained with angles of {', '.join(sorted(named))}: its features turn "
            "with them, and here with those of le90 or of le135",
            hint="weights of le135, as of mmrotate's own recipe, and of le90 can be imported",
        )
    settings = [f"model.angles={name}" for name in named]
    factor = re.search(r"norm_factor\s*=\s*(None|[0-9.]+)", text)
    if factor is not None:
        settings.append(f"model.stds=[1.0, 1.0, 1.0, 1.0, {_unit(factor[1])}]")
    return replace(found, overrides=(*found.overrides, *settings))


def _unit(factor: str) -> float:
    """Return the unit of mmrotate's angles in radians, of its ``norm_factor``."""
    return 1.0 if factor == "None" else float(factor) * math.pi


def _recipe_text(meta: object) -> str:
    """Return the recipe in the ``meta`` of mmcv (``config``) or mmengine (``cfg``), or nothing."""
    if not isinstance(meta, Mapping):
        return ""
    texts = (meta.get(key) for key in ("config", "cfg"))
    return next((text for text in texts if isinstance(text, str)), "")
