"""Golden values of detectors other than CFINet; weights and inputs as in ``model_golden``."""

from __future__ import annotations

import json
import re
import zlib
from dataclasses import replace
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
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.settings import Keep

FOLDER = Path(__file__).parents[1] / "golden" / "systems"


def load(system: str, name: str) -> dict[str, np.ndarray]:
    with np.load(FOLDER / system / f"{name}.npz") as arrays:
        return dict(arrays)


def shapes_of(system: str, keys: str = "keys_small") -> dict[str, list[int]]:
    """Return the names and shapes of the original's tensors."""
    return dict(json.loads((FOLDER / system / f"{keys}.json").read_text()))


@cache
def weights(system: str, keys: str = "keys_small", use: str = "eval") -> dict[str, Tensor]:
    """Return a state dict of the original: each tensor drawn from its name's checksum.

    ``use``: eval or train, where their exceptions differ.
    """
    folder, shapes = FOLDER / system, shapes_of(system, keys)
    extra = json.loads((folder / "fill_extra.json").read_text())
    if "eval" in extra:
        return {k: torch.as_tensor(_rescaled(k, shapes, extra[use])) for k in shapes}
    return {key: torch.as_tensor(_tensor(key, shapes, extra)) for key in shapes}


def one_head(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state dict of Deformable DETR whose layers all have the head of the first."""
    first = re.compile(r"(bbox_head\.(?:cls|reg)_branches)\.\d+\.")
    return {key: state[first.sub(r"\1.0.", key)] for key in state}


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
    converted = mmdet.convert(
        state, detector, found.table, found.joins, unused=found.unused, bgr=found.bgr
    )
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


def check_features(detector: DetectorModule, golden: dict[str, np.ndarray]) -> None:
    """Compare C2..C5 and P3..P6 of ``batch_a``."""
    images = model_golden.batch_a().images
    with torch.no_grad():
        stages, pyramid = detector.backbone(images), detector.pyramid(images)
    for number, stage in enumerate(stages, 2):
        check_map(f"C{number}", stage, golden, 500)
    assert len(pyramid) == 4
    for number, level in enumerate(pyramid, 3):
        check_map(f"P{number}", level, golden, 500)


def check_candidates(found: Candidates, golden: dict[str, np.ndarray]) -> None:
    """Compare what is left before NMS, boxes clipped: their number, sums, and the best of them."""
    assert found.usable.all()
    boxes, scores, labels = found.boxes, found.scores, found.groups
    assert len(scores) == golden["pre_n"]
    sums = [scores.double().sum(), boxes.double().sum(), labels.sum()]
    np.testing.assert_allclose(sums, golden["pre_sums"], rtol=1e-4)
    best = scores.argsort(descending=True, stable=True)[: len(golden["pre_scores"])]
    np.testing.assert_allclose(scores[best], golden["pre_scores"], atol=1e-4)
    np.testing.assert_allclose(boxes[best], golden["pre_boxes"], atol=1e-2)
    np.testing.assert_array_equal(labels[best], golden["pre_labels"])


def check_detections(detector: DetectorModule, golden: dict[str, np.ndarray], nms: float) -> None:
    """Compare the detections of ``batch_a``: the best 100, and all that the NMS leaves."""
    (found,) = detector.detect(model_golden.batch_a(), Keep(nms=nms))
    # the golden values of the patch's pixels divide before the NMS, ours after it
    for prefix, scale in (("det", model_golden.SCALE), ("detr", 1.0)):
        np.testing.assert_allclose(found.boxes * scale, golden[f"{prefix}_boxes"], atol=1e-2)
        np.testing.assert_allclose(found.scores, golden[f"{prefix}_scores"], atol=1e-4)
        np.testing.assert_array_equal(found.labels, golden[f"{prefix}_labels"])
    (found,) = detector.detect(model_golden.batch_a(), Keep(nms=nms, max_per_patch=100000))
    assert len(found.scores) == golden["detall_n"]
    counts = np.bincount(found.labels, minlength=9)
    np.testing.assert_array_equal(counts, golden["detall_per_class"])
    boxes = found.boxes * model_golden.SCALE
    sums = [found.scores.double().sum(), boxes.double().sum()]
    np.testing.assert_allclose(sums, golden["detall_sums"], rtol=1e-4)
    have = torch.cat([boxes, found.scores[:, None], found.labels[:, None]], 1)[:300]
    np.testing.assert_allclose(have, golden["detall_top"], atol=1e-2)


def check_losses(system: str, prefix: str, names: dict[str, str]) -> None:
    """Compare the losses of ``batch_b``, and their gradients with the network in float64.

    In float32 a ReLU near 0 falls on either side, which moves single norms by more than 1e-3.

    Args:
        system: the detector.
        prefix: "", or which of the images are without objects.
        names: of our losses, and of theirs.
    """
    golden = load(system, "train")
    first, second = targets(golden)
    given = {"": (first, second), "nogt1_": (first, NONE), "nogt2_": (NONE, NONE)}[prefix]
    batch = model_golden.batch_b(given)
    detector, found = build(weights(system))
    for kind in (torch.float32, torch.float64):
        images = replace(batch, images=batch.images.to(kind))
        losses = detector.to(kind).train()(images, model_golden.in_order)
        assert list(losses) == list(names)
        for ours, theirs in [*names.items(), ("sum", "loss_total")]:
            have = sum(losses.values()) if ours == "sum" else losses[ours]
            want = golden[f"{prefix}{theirs}"].sum()
            np.testing.assert_allclose(have.item(), want, rtol=1e-5, atol=1e-7, err_msg=ours)
    sum(losses.values()).backward()
    if f"{prefix}grad_names" in golden:
        check_gradients(detector, golden, found, prefix, rtol=1e-5)
    for name, parameter in detector.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


def check_keys(system: str, *overrides: str) -> None:
    """Put the large checkpoint's keys through the importer: all are used, sizes recognised."""
    state = weights(system, "keys")
    detector, found = build(state)
    assert found.kind == system
    assert set(overrides) <= set(found.overrides)
    assert found.classes == 9
    assert len(detector.state_dict()) == len(state)


def check_gradients(
    detector: DetectorModule, golden: dict[str, np.ndarray], found: mmdet.Recognised, prefix: str,
    norms: str = "grad_norms", rtol: float = 1e-3,
) -> None:  # fmt: skip
    """Compare the gradient norm of every trained parameter; both sets must be equal."""
    parameters = {n: p for n, p in detector.named_parameters() if p.requires_grad}
    names = [mmdet.rename(str(key), found.table) for key in golden[f"{prefix}grad_names"]]
    assert set(names) == set(parameters)
    for key, norm in zip(names, golden[f"{prefix}{norms}"], strict=True):
        have = parameters[key].grad.double().norm().item()
        np.testing.assert_allclose(have, norm, rtol=rtol, atol=1e-7, err_msg=key)
    if f"{prefix}grad_sum" in golden:
        sums = golden[f"{prefix}grad_sum"]
        have = [parameters[key].grad.double().sum().item() for key in names]
        np.testing.assert_allclose(have, sums, atol=1e-3 * np.abs(sums).max())
