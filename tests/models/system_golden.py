"""Golden values of detectors other than CFINet; weights and inputs as in ``model_golden``."""

from __future__ import annotations

import json
import re
import zlib
from functools import cache
from pathlib import Path

import model_golden
import numpy as np
import torch
from torch import Tensor

from sodkit.config import load_recipe
from sodkit.data.batches import Target
from sodkit.models import zoo
from sodkit.models.detector import DetectorModule
from sodkit.models.importers import families, mmdet

FOLDER = Path(__file__).parents[1] / "golden" / "systems"


def load(system: str, name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / system / f"{name}.npz") as arrays:
        return dict(arrays)


@cache
def weights(system: str, keys: str = "keys_small") -> dict[str, Tensor]:
    """Return a state dict of the original: each tensor drawn from its name's checksum."""
    folder = FOLDER / system
    shapes = json.loads((folder / f"{keys}.json").read_text())
    extra = json.loads((folder / "fill_extra.json").read_text())
    return {key: torch.as_tensor(_tensor(key, shapes, extra)) for key in shapes}


def _tensor(key: str, shapes: dict[str, list[int]], extra: list[dict] | dict) -> np.ndarray:
    shape = shapes[key]
    if isinstance(extra, dict):
        return _changed(model_golden.tensor(key, shape, shapes, extra["scale"]), key, extra["bias"])
    rule = next((e for e in extra if re.search(e["re"], key)), None)
    if rule is None:
        return model_golden.tensor(key, shape, shapes)
    if "set" in rule:
        return np.asarray(rule["set"], np.float32).reshape(shape)
    z = np.random.RandomState(zlib.crc32(key.encode())).standard_normal(shape)
    if "affine" in rule:
        return np.asarray(rule["affine"][0] + rule["affine"][1] * z, np.float32)
    return np.asarray(z * np.sqrt(2.0 / np.prod(shape[1:])) * rule["gain"], np.float32)


def _changed(tensor: np.ndarray, key: str, biases: list) -> np.ndarray:
    """Add to a bias what ``biases`` [[part of a name, numbers]] say, repeated to its length."""
    if key.endswith("bias"):
        for part, numbers in biases:
            if part in key:
                tensor = np.asarray(tensor + np.resize(np.asarray(numbers), tensor.shape))
    return tensor.astype(tensor.dtype if key.endswith("tracked") else np.float32)


def build(state: dict[str, Tensor]) -> tuple[DetectorModule, mmdet.Recognised]:
    """Return the detector with these weights, put through the importer."""
    found = families.recognise(state)
    detector = zoo.build(load_recipe(found.recipe, found.overrides).model, found.classes)
    detector.load_state_dict(mmdet.convert(state, detector, found.table, found.joins))
    return detector, found


def targets(golden: dict[str, np.ndarray]) -> tuple[Target, ...]:
    pairs = zip(golden["gt_boxes"], golden["gt_labels"], strict=True)
    return tuple(model_golden.target(b.tolist(), k.tolist()) for b, k in pairs)


NONE = model_golden.target([])


def check_map(name: str, tensor: Tensor, golden: dict[str, np.ndarray], count: int) -> None:
    """Compare a (B, C, H, W) map with its golden sample and its mean."""
    assert list(tensor.shape) == golden[f"{name}_shape"].tolist(), name
    model_golden.close(model_golden.sampled(tensor, count), golden[name])
    mean, std = golden[f"{name}_stats"][:2]
    np.testing.assert_allclose(tensor.double().mean(), mean, atol=1e-4 * std, err_msg=name)


def as_map(rows: Tensor, shape: np.ndarray) -> Tensor:
    """Turn (1, H * W * A, columns) into (1, A * columns, H, W)."""
    height, width = shape[-2:]
    return rows.reshape(1, height, width, -1).permute(0, 3, 1, 2)


def check_gradients(
    detector: DetectorModule, golden: dict[str, np.ndarray], found: mmdet.Recognised, prefix: str
) -> None:
    """Compare the gradient norm of every trained parameter; both sets must be equal."""
    parameters = {n: p for n, p in detector.named_parameters() if p.requires_grad}
    names = [mmdet.rename(str(key), found.table) for key in golden[f"{prefix}grad_names"]]
    assert set(names) == set(parameters)
    for key, norm in zip(names, golden[f"{prefix}grad_norms"], strict=True):
        have = parameters[key].grad.double().norm().item()
        np.testing.assert_allclose(have, norm, rtol=1e-3, atol=1e-7, err_msg=key)
