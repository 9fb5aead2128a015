"""A small detector of every kind, and what it is given: shared by the tests of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, ResNet

from sodkit.config import load_recipe
from sodkit.data.batches import Batch, Target
from sodkit.data.records import Category
from sodkit.models import zoo
from sodkit.models.detector import DetectorModule
from sodkit.models.parts import rotated_coders
from sodkit.models.parts.sampling import random_order
from sodkit.settings import Keep, Recipe

SMALL = (
    "model.backbone.name=resnet18",
    "model.backbone.weights=null",
    "model.backbone.norm=batch",
    "model.backbone.frozen_stages=0",
)
TWO_STAGE = (*SMALL, "model.fpn.channels=32", "model.roi.hidden=64")
DENSE = (*SMALL, "model.channels=32", "model.convs=1")
QUERIES = (
    *SMALL,
    "model.channels=64",
    "model.stages=2",
    "model.proposals=10",
    "model.dynamic=16",
    "model.hidden=64",
)
NORMED = (*DENSE, "model.groups=8")
CLASSES = (Category(1, "car"), Category(2, "person"))


@dataclass(frozen=True)
class Kind:
    """A detector, small: its recipe and settings; what makes it learn fast by heart.

    ``steps`` and ``rate``: how long it takes to, and AdamW's learning rate. They were tried with
    initial weights that differ by a millionth, too, as another processor's rounding would have it.
    ``by_prediction``: what it predicts decides what learns which object.
    """

    recipe: str
    settings: tuple[str, ...]
    learning: tuple[str, ...]
    steps: int = 54
    rate: float = 2e-3
    by_prediction: bool = False

    def load(self, *more: str) -> Recipe:
        return load_recipe(self.recipe, [*self.settings, *more])


def few(rpn: str, matching: str = "matching") -> tuple[str, ...]:
    """Return settings of few samples, so that two objects an image weigh something among them."""
    samples = (f"model.{part}.samples=32" for part in ("roi.matching", f"{rpn}.{matching}"))
    return (*samples, f"model.{rpn}.limit={{train: 64, test: 32}}")


def at_most(rpn: str, count: int) -> tuple[str, ...]:
    """Return the setting of fewer proposals than the 1000 or 2000 of the recipes."""
    return (f"model.{rpn}.limit={{train: {count}, test: {count}}}",)


FEW = (*TWO_STAGE, *at_most("proposals", 300))
IMITATING = (*TWO_STAGE, "model.imitation.queue=8")
CRPN = (*few("crpn", "fine"), "model.crpn.coarse_normalizer=20")
CASCADE = (*few("proposals", "fine"), "model.proposals.coarse_normalizer=20")
RPN = few("proposals")
LARGER = (  # the objects are larger than the anchors of the recipe
    "model.focal.prior=0.1", "model.first_level=3", "model.levels=4", "model.anchor_scale=2.0",
)  # fmt: skip
ROTATED = (*LARGER, "model.octave=3")
POINTS = (
    "model.focal.prior=0.1", "model.first_level=3", "model.levels=4", "model.init_weight=1.0",
    "model.refine_weight=2.0",
)  # fmt: skip
GUIDED = (  # many positives from the start, and deltas that one step changes by much
    *RPN, "model.proposals.focal.prior=0.1", "model.proposals.shape_matching.samples=32",
    "model.proposals.shape_weight=10", "model.proposals.shape_std=0.5",
    "model.proposals.regression_weight=3", "model.proposals.stds=[0.2, 0.2, 0.3, 0.3]",
    "model.proposals.matching.positive=0.5", "model.proposals.matching.negative=0.5",
    "model.roi.box.stds=[0.1, 0.1, 0.2, 0.2]", "model.roi.matching.positive=0.5",
    "model.roi.matching.negative=0.5",
)  # fmt: skip
KINDS = {
    "cfinet": Kind("cfinet-r50-soda-d", IMITATING, CRPN, steps=72, rate=1.5e-3),
    "cfinet-release": Kind("cfinet-r50-soda-d-release", IMITATING, CRPN, steps=72, rate=1.5e-3),
    "cfinet-oriented": Kind(
        "cfinet-r50-soda-a", (*IMITATING, *at_most("crpn", 300)), CRPN, steps=72, rate=1.5e-3
    ),
    "faster-rcnn": Kind("faster-rcnn-r50-soda-d", FEW, RPN),
    "imitation-alone": Kind("faster-rcnn-r50-soda-d", (*FEW, "model.imitation={queue: 8}"), RPN),
    "cascade-rpn": Kind("cascade-rpn-r50-soda-d", TWO_STAGE, CASCADE),
    "rfla": Kind("rfla-r50-soda-d", FEW, RPN, steps=36),
    "ga-rpn": Kind("ga-rpn-r50-soda-d", TWO_STAGE, GUIDED),
    "rotated-faster-rcnn": Kind("rotated-faster-rcnn-r50-soda-a", FEW, RPN),
    "gliding-vertex": Kind("gliding-vertex-r50-soda-a", FEW, RPN),
    "oriented-rcnn": Kind(
        "oriented-rcnn-r50-soda-a", (*TWO_STAGE, *at_most("rpn", 300)), few("rpn"), steps=72
    ),
    "roi-transformer": Kind(
        "roi-transformer-r50-soda-a",
        (*FEW, "model.learner.hidden=64"),
        (*RPN, "model.learner.matching.samples=32", "model.learner.loss=l1", "model.roi.loss=l1"),
        steps=72,
    ),
    # its box branch ends in a mean over places, and has batch norms: it learns more slowly
    "dodet": Kind(
        "dodet-r50-soda-a",
        (*TWO_STAGE, *at_most("rpn", 600)),
        (*few("rpn"), "model.roi.loss=l1"),
        steps=72,
        rate=1e-3,
    ),
    "retinanet": Kind("retinanet-r50-soda-d", DENSE, ("model.focal.prior=0.1",), steps=36),
    "centernet": Kind(
        "centernet-r50-soda-d",
        (*SMALL, "model.channels=32", "model.hidden=32", "input.crop.side=64"),
        ("model.size_weight=0.5",),
        steps=96,
    ),
    # boxes that begin as the whole image take their time to find objects
    "sparse-rcnn": Kind(
        "sparse-rcnn-r50-soda-d",
        QUERIES,
        ("model.loss.focal.prior=0.1",),
        steps=180,
        rate=1e-3,
        by_prediction=True,
    ),
    # without dropout, which draws on the device
    "deformable-detr": Kind(
        "deformable-detr-r50-soda-d",
        (
            *SMALL,
            "model.channels=64",
            "model.encoder=1",
            "model.decoder=2",
            "model.queries=10",
            "model.attention_heads=4",
            "model.hidden=64",
            "model.dropout=0",
        ),
        ("model.loss.focal.prior=0.1", "model.slow_rate=1.0"),
        steps=72,
        rate=4e-3,
        by_prediction=True,
    ),
    "cornernet": Kind(
        "cornernet-hourglass-soda-d",
        (
            "model.widths=[32, 32, 48]",
            "model.blocks=[1, 1, 1]",
            "model.channels=32",
            "model.pooled=16",
            "model.hidden=32",
            "input.crop.side=64",
        ),
        (),
        steps=60,
    ),
    # cells learn what they predict best, which takes a while to settle; a score is a product of two
    "yolox": Kind(
        "yolox-s-soda-d",
        ("model.width=0.125", "input.patch=64", "model.prior=0.1"),
        (),
        steps=144,
        rate=5e-3,
        by_prediction=True,
    ),
    "fcos": Kind("fcos-r50-soda-d", NORMED, ("model.focal.prior=0.1",)),
    "atss": Kind("atss-r50-soda-d", NORMED, ("model.focal.prior=0.1",), steps=36),
    "dyhead": Kind(
        "dyhead-r50-soda-d",
        (*SMALL, "model.channels=32", "model.blocks=2", "model.norm_groups=8"),
        ("model.focal.prior=0.1",),
        steps=72,
        rate=1e-3,
    ),
    "reppoints": Kind("reppoints-r50-soda-d", DENSE, ("model.focal.prior=0.1",), steps=72),
    "rotated-retinanet": Kind("rotated-retinanet-r50-soda-a", DENSE, ROTATED),
    "rotated-reppoints": Kind("rotated-reppoints-r50-soda-a", NORMED, POINTS, steps=96),
    "oriented-reppoints": Kind("oriented-reppoints-r50-soda-a", NORMED, POINTS, steps=96),
    "dhrec": Kind("dhrec-r50-soda-a", DENSE, ("model.focal.prior=0.1",), steps=36),
    # two heads, the second of which begins where the first has not arrived yet
    "s2anet": Kind("s2anet-r50-soda-a", DENSE, LARGER, steps=80),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
LOW = Keep(score=0.001)


class ThinResNet(ResNet):
    """ResNet-18 with a quarter of the channels after the stem, a sixteenth of the weights."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2])
        self.fc = nn.Linear(512 // 4, 2)

    def _make_layer(self, block, planes, *args, **kwargs):
        return super()._make_layer(block, planes // 4, *args, **kwargs)


@contextmanager
def thin() -> Iterator[None]:
    """Build every ResNet-18 thin: these tests ask nothing of its width, and take half the time."""
    with mock.patch("sodkit.models.parts.backbone.get_model", side_effect=ThinResNet):
        yield


def build(kind: Kind, *more: str) -> DetectorModule:
    torch.manual_seed(0)
    with thin():
        return zoo.build(kind.load(*more).model, len(CLASSES))


def shuffle(number: int = 0) -> partial[Tensor]:
    return random_order(torch.Generator().manual_seed(number))


def target(
    kind: Kind, *rows: tuple[float, ...], ignore: tuple[tuple[float, ...], ...] = ()
) -> Target:
    """Return objects (x1, y1, x2, y2, label) and ignore regions, of the detector's kind."""
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 5)
    boxes, labels = table[:, :4], table[:, 4].long()
    regions = torch.tensor(ignore, dtype=torch.float32).reshape(-1, 4)
    if kind.load().boxes == "horizontal":
        return Target(boxes, labels, regions)
    obb = rotated_coders.upright(boxes)
    return Target(boxes, labels, rotated_coders.upright(regions), obb)


def batch(*targets: Target, size: tuple[int, int] = (96, 128), sizes=None) -> Batch:
    count = len(targets)
    images = torch.randn(count, 3, *size, generator=torch.Generator().manual_seed(1))
    sizes = sizes or (size,) * count
    for image, (height, width) in zip(images, sizes, strict=True):
        image[:, height:], image[:, :, width:] = 0, 0
    return Batch(images, sizes, ((1.5, 1.5),) * count, targets)


def some(kind: Kind) -> Target:
    return target(kind, (10, 12, 30, 25, 0), (50, 60, 58, 66, 1), (70, 5, 76, 13, 0))


def none(kind: Kind) -> Target:
    return target(kind)


GIVEN = {
    "objects": lambda kind: batch(some(kind), some(kind)),
    "one image without objects": lambda kind: batch(some(kind), none(kind)),
    "no objects at all": lambda kind: batch(none(kind), none(kind)),
    "ignore regions only": lambda kind: batch(
        target(kind, ignore=((0, 0, 64, 64),)), target(kind, ignore=((0, 0, 128, 96),))
    ),
    "smaller than a patch": lambda kind: batch(
        target(kind, (3, 3, 12, 10, 1)), none(kind), size=(32, 32), sizes=((20, 24), (32, 9))
    ),
    "objects that reach out of the image": lambda kind: batch(
        target(kind, (-30, -30, 6, 6, 0), (120, 90, 160, 130, 1), (-500, -500, 700, 700, 0)),
        target(kind, (200, 200, 220, 220, 0), (120, 88, 136, 104, 1)),
    ),
    "unequal sizes": lambda kind: batch(
        some(kind), target(kind, (5, 5, 15, 20, 1)), sizes=((96, 128), (50, 64))
    ),
    "one object": lambda kind: batch(target(kind, (40, 40, 44, 43, 0))),
}
