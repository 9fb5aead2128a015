"""Mirrored and turned images give mirrored and turned detections, of tilted objects.

Exactly so only in the frame of a proposal; of a whole detector, whose weights have no symmetry,
once it has learnt all of these images.
"""

import math

import numpy as np
import pytest
import torch

from sodkit.config import load_recipe
from sodkit.data.batches import Batch, Target
from sodkit.geometry.overlap import rotated_iou_pairs
from sodkit.models import zoo
from sodkit.models.parts import rotated_coders
from sodkit.models.parts.sampling import random_order
from sodkit.settings import Keep

SIDE = 64
OBJECTS = torch.tensor([[16.0, 28.0, 26.0, 12.0, 0.5], [46.0, 33.0, 26.0, 12.0, -0.4]])
MOVES = ("as it is", "mirrored", "turned", "mirrored and turned")
SMALL = (
    "model.backbone.name=resnet18",
    "model.backbone.weights=null",
    "model.backbone.norm=batch",
    "model.backbone.frozen_stages=0",
)
LEARNING = {
    "dodet": (
        90, "model.fpn.channels=32", "model.roi.hidden=64", "model.roi.loss=l1",
        "model.roi.matching.samples=32", "model.rpn.matching.samples=32",
        "model.rpn.limit={train: 64, test: 32}",
    ),
    "roi-transformer": (
        90, "model.fpn.channels=32", "model.learner.hidden=64", "model.roi.hidden=64",
        "model.learner.matching.samples=32", "model.roi.matching.samples=32",
        "model.proposals.matching.samples=32", "model.proposals.limit={train: 64, test: 32}",
    ),
    "s2anet": (
        90, "model.channels=32", "model.convs=1", "model.focal.prior=0.1", "model.first_level=3",
        "model.levels=4", "model.anchor_scale=2.0",
    ),
    "oriented-reppoints": (
        90, "model.channels=32", "model.convs=1", "model.groups=8", "model.focal.prior=0.1",
        "model.first_level=3", "model.levels=4",
    ),
    "dhrec": (60, "model.channels=32", "model.convs=1", "model.focal.prior=0.1"),
}  # fmt: skip


def moved(boxes, move):
    """Return boxes (N, 5) of an image that is mirrored left to right, then turned clockwise."""
    x, y, w, h, angle = boxes.unbind(1)
    if "mirrored" in move:
        x, angle = SIDE - x, -angle
    if "turned" in move:
        x, y, angle = SIDE - y, x, angle + math.pi / 2
    return rotated_coders.canonical(torch.stack([x, y, w, h, angle], 1))


def image(move):
    """Return an image of two tilted rectangles, each class a colour of its own."""
    pixels = 0.1 * torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    y, x = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    for label, (cx, cy, w, h, angle) in enumerate(OBJECTS.tolist()):
        along = (x - cx) * math.cos(angle) + (y - cy) * math.sin(angle)
        across = (y - cy) * math.cos(angle) - (x - cx) * math.sin(angle)
        pixels[0, label, (along.abs() < w / 2) & (across.abs() < h / 2)] += 3
    pixels = pixels.flip(3) if "mirrored" in move else pixels
    pixels = pixels.rot90(-1, (2, 3)) if "turned" in move else pixels
    obb = moved(OBJECTS, move)
    target = Target(rotated_coders.enclosing(obb), torch.arange(2), torch.zeros(0, 5), obb)
    return Batch(pixels, ((SIDE, SIDE),), ((1.0, 1.0),), (target,))


def learnt(name):
    steps, *settings = LEARNING[name]
    torch.manual_seed(0)
    model = load_recipe(f"{name}-r50-soda-a", [*SMALL, *settings]).model
    detector, images = zoo.build(model, 2), [image(move) for move in MOVES]
    together = Batch(
        torch.cat([one.images for one in images]),
        ((SIDE, SIDE),) * 4, ((1.0, 1.0),) * 4, sum((one.targets for one in images), ()),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(detector.parameters(), lr=2e-3, fused=True)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        losses = detector(together, random_order(torch.Generator().manual_seed(step)))
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        decay.step()
    return detector.eval()


def best(found, label):
    """Return the best detection (1, 5) of a class."""
    rows = found.obb[found.labels == label][:1]
    assert len(rows) == 1
    return rows


def iou(a, b):
    return float(rotated_iou_pairs(*(np.asarray(one, np.float64) for one in (a, b)))[0])


@pytest.mark.parametrize("name", LEARNING)
def test_moved_images_give_moved_detections(name):
    detector, keep = learnt(name), Keep(score=0.2, nms=0.1)
    found = {move: detector.detect(image(move), keep)[0] for move in MOVES}
    for move in MOVES:
        for label in range(2):
            box, own = best(found[move], label), OBJECTS[label : label + 1]
            assert iou(box, moved(own, move)) > 0.5
            assert iou(box, moved(best(found["as it is"], label), move)) > 0.5
            assert all(iou(box, moved(own, other)) < 0.3 for other in MOVES if other != move)
