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
def weights(system: str, keys: str = "keys_small", use: str = "eval") -> dict[str, Tensor]:
    """Return a state dict of the original: each tensor drawn from its name's checksum.

    ``use``: eval or train, where their exceptions differ.
    """
    folder = FOLDER / system
    shapes = json.loads((folder / f"{keys}.json").read_text())
    extra = json.loads((folder / "fill_extra.json").read_text())
    if "eval" in extra:
        return {k: torch.as_tensor(_rescaled(k, shapes, extra[use])) for k in shapes}
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


def _rescaled(key: str, shapes: dict[str, list[int]], rules: list[dict]) -> np.ndarray:
    """Apply every rule that matches, one after the other; lists run over the last axis."""
    tensor = model_golden.tensor(key, shapes[key], shapes)
    for rule in rules:
        if re.search(rule["match"], key):
            wide = tensor.astype(np.float64)
            wide = wide * np.asarray(rule.get("mul", 1)) + np.asarray(rule.get("add", 0))
            tensor = wide.astype(np.float32)
    return tensor


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
    converted = mmdet.convert(state, detector, found.table, found.joins, unused=found.unused)
    detector.load_state_dict(converted)
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


def check_sample(
    name: str, tensor: Tensor, golden: dict[str, np.ndarray], count: int = 1000
) -> None:
    """Compare a tensor with its golden sample, its mean and its sum of absolute values."""
    model_golden.close(model_golden.sampled(tensor, count), golden[f"{name}_sample"])
    mean, std, _, total = golden[f"{name}_stats"]
    np.testing.assert_allclose(tensor.double().mean(), mean, atol=1e-4 * std, err_msg=name)
    np.testing.assert_allclose(tensor.double().abs().sum(), total, rtol=1e-4, err_msg=name)


def as_map(rows: Tensor, shape: np.ndarray) -> Tensor:
    """Turn (1, H * W * A, columns) into (1, A * columns, H, W)."""
    height, width = shape[-2:]
    return rows.reshape(1, height, width, -1).permute(0, 3, 1, 2)


def check_gradients(
    detector: DetectorModule, golden: dict[str, np.ndarray], found: mmdet.Recognised, prefix: str,
    norms: str = "grad_norms",
) -> None:  # fmt: skip
    """Compare the gradient norm of every trained parameter; both sets must be equal."""
    parameters = {n: p for n, p in detector.named_parameters() if p.requires_grad}
    names = [mmdet.rename(str(key), found.table) for key in golden[f"{prefix}grad_names"]]
    assert set(names) == set(parameters)
    for key, norm in zip(names, golden[f"{prefix}{norms}"], strict=True):
        have = parameters[key].grad.double().norm().item()
        np.testing.assert_allclose(have, norm, rtol=1e-3, atol=1e-7, err_msg=key)
    if f"{prefix}grad_sum" in golden:
        sums = golden[f"{prefix}grad_sum"]
        have = [parameters[key].grad.double().sum().item() for key in names]
        np.testing.assert_allclose(have, sums, atol=1e-3 * np.abs(sums).max())
