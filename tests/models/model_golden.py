"""Weights, inputs and arrays of the golden values: generated from names and seeds, not stored."""

from __future__ import annotations

import json
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sodkit.config import load_recipe
from sodkit.data.batches import Batch, Target
from sodkit.models import zoo
from sodkit.models.detector import DetectorModule
from sodkit.models.importers import families, mmdet
from sodkit.settings.anchor_levels import levels, strides

FOLDER = Path(__file__).parents[1] / "golden" / "model"
SCALE = 1.5
_HEAD_SCALE = {
    "neck.lateral_convs": 0.5,
    "neck.fpn_convs.0": 0.15,
    "neck.fpn_convs.1": 0.3,
    "neck.fpn_convs.2": 0.5,
    "rpn_reg": 0.4,
    "fc_reg": 0.3,
}


def load(name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return dict(arrays)


@cache
def weights(name: str) -> dict[str, Tensor]:
    """Return the release's state dict ``keys_*``: each tensor drawn from its name's checksum."""
    shapes = json.loads((FOLDER / f"{name}.json").read_text())
    return {key: torch.as_tensor(tensor(key, shape, shapes)) for key, shape in shapes.items()}


def tensor(
    key: str,
    shape: list[int],
    keys: dict[str, list[int]],
    more: list = [],  # noqa: B006
) -> np.ndarray:
    if key.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    z = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    if key.endswith("running_mean"):
        z = 0.1 * z
    elif key.endswith("running_var"):
        z = 1 + 0.1 * np.abs(z)
    elif key.endswith("bias"):
        z = 0.01 * z
    elif len(shape) == 1:
        last = key.endswith(".bn3.weight") or (
            key.endswith(".bn2.weight") and key.replace(".bn2.", ".bn3.") not in keys
        )
        z = (1 + 0.1 * z) * (0.25 if last else 1.0)
    else:
        scales = [*_HEAD_SCALE.items(), *more]
        scale = [value for part, value in scales if part in key]
        z = z * np.sqrt(2.0 / np.prod(shape[1:])) * (scale[-1] if scale else 1.0)
    return np.asarray(z, np.float32)


def detector(*overrides: str, name: str = "keys_r18") -> DetectorModule:
    """Return the release's recipe with the golden weights, put through ``release``."""
    state = weights(name)
    found = families.recognise(state)
    recipe = load_recipe(found.recipe, [*found.overrides, *overrides])
    model = zoo.build(recipe.model, found.classes)
    model.load_state_dict(mmdet.convert(state, model, found.table))
    return model


def _noise(count: int, seed: int) -> np.ndarray:
    """Return (count, 3, 256, 256): bilinear noise on cells of 8 px, and some white noise."""
    rng = np.random.RandomState(seed)
    coarse = rng.standard_normal((count, 3, 33, 33))
    white = rng.standard_normal((count, 3, 256, 256))
    at = np.arange(256) / 8.0
    low = at.astype(int)
    part = at - low
    rows = coarse[:, :, low] * (1 - part)[:, None] + coarse[:, :, low + 1] * part[:, None]
    image = rows[..., low] * (1 - part) + rows[..., low + 1] * part
    return (image + 0.2 * white).astype(np.float32)


def batch_a(targets: tuple[Target, ...] = ()) -> Batch:
    """Return one image of 256 x 256."""
    return Batch(torch.as_tensor(_noise(1, 0)), ((256, 256),), ((SCALE, SCALE),), targets)


def batch_b(targets: tuple[Target, ...] = ()) -> Batch:
    """Return two images, the second 240 high and 248 wide, padded with zeros."""
    images = _noise(2, 1)
    images[1, :, 240:] = 0
    images[1, :, :, 248:] = 0
    return Batch(torch.as_tensor(images), ((256, 256), (240, 248)), ((SCALE, SCALE),) * 2, targets)


def targets(golden: dict[str, np.ndarray]) -> tuple[Target, ...]:
    """Return the objects that the golden values were computed with."""
    count = sum(key.startswith("gt_img") for key in golden)
    return tuple(
        target(golden[f"gt_img{i}"].tolist(), golden[f"labels_img{i}"].tolist())
        for i in range(count)
    )


def target(
    boxes: list[list[float]],
    labels: list[int] | None = None,
    ignore: list[list[float]] = [],  # noqa: B006
) -> Target:
    """Return a target from lists; labels are 0 unless given."""
    return Target(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels if labels is not None else [0] * len(boxes), dtype=torch.int64),
        torch.tensor(ignore, dtype=torch.float32).reshape(-1, 4),
    )


def levels_of(count: int, scale: float, ratios: tuple[float, ...] = (1.0,), first: int = 4):
    """Return the anchors of ``count`` levels from stride ``first`` on."""
    return levels(strides(first, count), (scale,), ratios)


def pyramid(model: DetectorModule, images: Tensor) -> list[Tensor]:
    return model.fpn(model.backbone(images))


def rpn(model: DetectorModule):
    return getattr(model, "crpn", None) or model.rpn


def in_order(count: int) -> Tensor:
    """Sample the first k in index order, as the golden values were."""
    return torch.arange(count)


def sampled(tensor: Tensor, count: int = 1000) -> np.ndarray:
    """Return the elements of a tensor that the golden files hold."""
    flat = tensor.detach().reshape(-1).numpy()
    return flat[np.linspace(0, len(flat) - 1, min(count, len(flat))).astype(np.int64)]


def close(actual: Tensor | np.ndarray, golden: np.ndarray, share: float = 1e-4) -> None:
    """Assert that values agree to ``share`` of the golden array's maximum."""
    actual = np.asarray(actual)
    assert actual.shape == golden.shape
    assert np.abs(actual - golden).max() <= share * np.abs(golden).max()
