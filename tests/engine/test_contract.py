"""What every detector must do, whatever its kind: a new one joins by a line in ``KINDS``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

from sodkit.config import load_recipe
from sodkit.data.batches import Batch, PatchDetections, Target
from sodkit.data.records import Category
from sodkit.data.samples.loader import Batches
from sodkit.data.samples.normalise import normalised
from sodkit.data.samples.patch_dataset import TrainingSet
from sodkit.engine.checkpoint import load_checkpoint, save_checkpoint
from sodkit.geometry.rotated import xyxy_to_obb
from sodkit.models import zoo
from sodkit.models.detector import Detector, DetectorModule
from sodkit.models.parts import rotated_coders
from sodkit.models.parts.box_iou import every_iou
from sodkit.models.parts.sampling import random_order
from sodkit.settings import Keep, Recipe

CPU = torch.device("cpu")
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
    steps: int = 36
    rate: float = 2e-3
    by_prediction: bool = False

    def load(self, *more: str) -> Recipe:
        return load_recipe(self.recipe, [*self.settings, *more])


def few(rpn: str, matching: str = "matching") -> tuple[str, ...]:
    """Return settings of few samples, so that two objects an image weigh something among them."""
    samples = (f"model.{part}.samples=32" for part in ("roi.matching", f"{rpn}.{matching}"))
    return (*samples, f"model.{rpn}.limit={{train: 64, test: 32}}")


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
    "cfinet": Kind("cfinet-r50-soda-d", IMITATING, CRPN),
    "cfinet-release": Kind("cfinet-r50-soda-d-release", IMITATING, CRPN),
    "cfinet-oriented": Kind("cfinet-r50-soda-a", IMITATING, CRPN),
    "faster-rcnn": Kind("faster-rcnn-r50-soda-d", TWO_STAGE, RPN),
    "imitation-alone": Kind(
        "faster-rcnn-r50-soda-d", (*TWO_STAGE, "model.imitation={queue: 8}"), RPN
    ),
    "cascade-rpn": Kind("cascade-rpn-r50-soda-d", TWO_STAGE, CASCADE),
    "rfla": Kind("rfla-r50-soda-d", TWO_STAGE, RPN),
    "ga-rpn": Kind("ga-rpn-r50-soda-d", TWO_STAGE, GUIDED, steps=54),
    "rotated-faster-rcnn": Kind("rotated-faster-rcnn-r50-soda-a", TWO_STAGE, RPN),
    "gliding-vertex": Kind("gliding-vertex-r50-soda-a", TWO_STAGE, RPN),
    "oriented-rcnn": Kind("oriented-rcnn-r50-soda-a", TWO_STAGE, few("rpn")),
    "roi-transformer": Kind(
        "roi-transformer-r50-soda-a",
        (*TWO_STAGE, "model.learner.hidden=64"),
        (*RPN, "model.learner.matching.samples=32", "model.learner.loss=l1", "model.roi.loss=l1"),
        steps=72,
    ),
    # its box branch ends in a mean over places, and has batch norms: it learns more slowly
    "dodet": Kind(
        "dodet-r50-soda-a", TWO_STAGE, (*few("rpn"), "model.roi.loss=l1"), steps=120, rate=1e-3
    ),
    "retinanet": Kind("retinanet-r50-soda-d", DENSE, ("model.focal.prior=0.1",)),
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
        steps=240,
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
    "fcos": Kind("fcos-r50-soda-d", NORMED, ("model.focal.prior=0.1",), steps=54),
    "atss": Kind("atss-r50-soda-d", NORMED, ("model.focal.prior=0.1",)),
    "dyhead": Kind(
        "dyhead-r50-soda-d",
        (*SMALL, "model.channels=32", "model.blocks=2", "model.norm_groups=8"),
        ("model.focal.prior=0.1",),
        steps=108,
        rate=1e-3,
    ),
    "reppoints": Kind("reppoints-r50-soda-d", DENSE, ("model.focal.prior=0.1",), steps=72),
    "rotated-retinanet": Kind("rotated-retinanet-r50-soda-a", DENSE, ROTATED, steps=54),
    "rotated-reppoints": Kind("rotated-reppoints-r50-soda-a", NORMED, POINTS, steps=96),
    "oriented-reppoints": Kind("oriented-reppoints-r50-soda-a", NORMED, POINTS, steps=72),
    "dhrec": Kind("dhrec-r50-soda-a", DENSE, ("model.focal.prior=0.1",)),
    # two heads, the second of which begins where the first has not arrived yet
    "s2anet": Kind("s2anet-r50-soda-a", DENSE, LARGER, steps=80),
}
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
LOW = Keep(score=0.001)


def build(kind: Kind, *more: str) -> DetectorModule:
    torch.manual_seed(0)
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


@every_kind
def test_it_is_a_detector(kind):
    detector = build(kind)
    assert isinstance(detector, Detector)
    assert detector.boxes == kind.load().boxes


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


@every_kind
@pytest.mark.parametrize("given", GIVEN.values(), ids=GIVEN)
def test_losses_are_finite_scalars_and_reach_every_parameter(kind, given):
    detector = build(kind)
    losses = detector(given(kind), shuffle())
    assert losses
    for name, value in losses.items():
        assert value.shape == (), name
        assert torch.isfinite(value), name
    sum(losses.values()).backward()
    for name, parameter in detector.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


@every_kind
def test_the_shuffle_decides(kind):
    def run(number):
        losses = build(kind)(batch(some(kind), none(kind)), shuffle(number))
        return [value.item() for value in losses.values()]

    assert run(0) == run(0)


@every_kind
def test_detections_are_sorted_and_in_pixels_of_the_patch(kind):
    detector = build(kind).eval()
    sizes = ((96, 128), (50, 64))
    found = detector.detect(batch(none(kind), none(kind), sizes=sizes), LOW)
    for (height, width), image in zip(sizes, found, strict=True):
        assert len(image.boxes) == len(image.scores) == len(image.labels) <= LOW.max_per_patch
        assert (image.scores.diff() <= 0).all()
        assert (image.scores > LOW.score).all()
        assert set(image.labels.tolist()) <= {0, 1}
        assert not image.boxes.requires_grad
        assert image.boxes.dtype == image.scores.dtype == torch.float32
        centre = (image.boxes[:, :2] + image.boxes[:, 2:]) / 2
        assert (centre >= -1e-3).all()
        assert (centre <= torch.tensor([width, height]) / 1.5 + 1e-3).all()
        assert (image.obb is not None) == (detector.boxes == "oriented")


@every_kind
def test_keep_is_heeded(kind):
    detector = build(kind).eval()
    images = batch(none(kind))
    (few,) = detector.detect(images, replace_keep(max_per_patch=3))
    (many,) = detector.detect(images, replace_keep(nms=1.0, max_per_patch=10**6))
    (fewer,) = detector.detect(images, replace_keep(nms=0.0, max_per_patch=10**6))
    (sure,) = detector.detect(images, replace_keep(score=0.999))
    assert len(few.scores) <= 3
    assert len(fewer.scores) <= len(many.scores)
    assert detector.suppresses or torch.equal(fewer.boxes, many.boxes)
    assert len(sure.scores) == 0
    assert sure.boxes.shape == (0, 4)


def replace_keep(**values: float) -> Keep:
    return LOW.model_copy(update=values)


@every_kind
def test_each_image_gives_what_it_gives_alone(kind):
    detector = build(kind).eval()
    sizes = ((96, 128), (64, 96))
    both = batch(none(kind), none(kind), sizes=sizes)
    together = detector.detect(both, LOW)
    for number, size in enumerate(sizes):
        alone = replace(
            both,
            images=both.images[number : number + 1],
            sizes=(size,),
            scales=((1.5, 1.5),),
            targets=(),
        )
        (found,) = detector.detect(alone, LOW)
        torch.testing.assert_close(found.scores, together[number].scores, atol=1e-4, rtol=1e-3)


@every_kind
def test_bfloat16(kind):
    detector = build(kind)
    images = batch(some(kind), none(kind))
    exact = detector(images, shuffle())
    with torch.autocast("cpu", torch.bfloat16):
        rough = detector(images, shuffle())
    assert all(value.dtype == torch.float32 for value in rough.values())
    if kind.by_prediction:  # of two queries that cost nearly the same, rounding may choose another
        exact, rough = ({"all": sum(losses.values())} for losses in (exact, rough))
    for name, value in rough.items():
        assert value.item() == pytest.approx(exact[name].item(), rel=0.1, abs=0.05), name
    detector.eval()
    with torch.autocast("cpu", torch.bfloat16):
        (found,) = detector.detect(batch(none(kind)), LOW)
    assert found.boxes.dtype == found.scores.dtype == torch.float32


@every_kind
def test_saved_and_loaded_it_detects_the_same_to_the_bit(kind, tmp_path):
    detector, path = build(kind).eval(), tmp_path / "a.safetensors"
    save_checkpoint(path, detector, kind.load(), CLASSES)
    loaded = load_checkpoint(path, CPU)
    assert loaded.recipe.model.kind == kind.load().model.kind
    assert loaded.categories == CLASSES
    images = batch(none(kind))
    (before,), (after,) = detector.detect(images, LOW), loaded.detector.detect(images, LOW)
    assert torch.equal(before.boxes, after.boxes)
    assert torch.equal(before.scores, after.scores)


@every_kind
def test_losses_are_the_same_at_any_number_of_workers(kind, data):
    annotations, folder = data
    if kind.load().boxes == "oriented":
        annotations = replace(annotations, obb=xyxy_to_obb(annotations.xyxy))
    recipe, detector = kind.load("input.scale=1.0"), build(kind)
    before = {name: value.clone() for name, value in detector.state_dict().items()}

    def losses(workers: int) -> list[list[float]]:
        detector.load_state_dict(before)
        samples = TrainingSet(annotations, folder, recipe.input, seed=0)
        loader = Batches(samples, batch=3, seed=0, workers=workers)
        batches = (normalised(b, recipe.input) for b in loader.epoch(0))
        return [[v.item() for v in detector(b, shuffle()).values()] for b in batches]

    alone = losses(0)
    assert len(alone) == 2
    assert losses(1) == losses(2) == alone


def learn(
    detector: DetectorModule, images: list[Batch], kind: Kind, only: str = ""
) -> DetectorModule:
    """Train on images and their mirror images in turn; on losses with ``only`` in their names."""
    given = [joined(images), joined([mirrored(one) for one in images])]
    optimizer = torch.optim.AdamW(detector.parameters(), lr=kind.rate, fused=True)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, kind.steps)
    for step in range(kind.steps):
        losses = detector(given[step % 2], shuffle(step))
        optimizer.zero_grad()
        sum(value for name, value in losses.items() if only in name).backward()
        optimizer.step()
        decay.step()
    return detector.eval()


def recalled(detector: DetectorModule, images: list[Batch]) -> float:
    """Return the IoU with a detection of its class that all objects but one reach.

    Of sixteen, mirrored ones included. The last one after so few steps depends on how a processor
    rounds: with initial weights that differ by a millionth it is another one, or none.
    """
    keep, ious = Keep(score=0.2, nms=0.3), []
    for given in (*images, *map(mirrored, images)):
        (found,), (target,) = detector.detect(given, keep), given.targets
        for box, label in zip(target.boxes, target.labels, strict=True):
            ious.append(best_iou(found, box, label))
    return sorted(ious)[1]


@every_kind
def test_four_patches_are_learnt_by_heart_and_their_mirror_images(kind):
    images = [rectangles(kind, number) for number in range(4)]
    assert recalled(learn(build(kind, *kind.learning), images, kind), images) > 0.5


@pytest.mark.parametrize("wrong", ["labels of other objects", "no regression"])
def test_nothing_else_passes_for_learnt(wrong):
    kind = KINDS["retinanet"]
    images = [rectangles(kind, number) for number in range(4)]
    if wrong == "no regression":
        learnt = learn(build(kind, *kind.learning), images, kind, only="cls")
    else:
        swapped = [
            replace(one, targets=(replace(t, labels=t.labels.flip(0)),))
            for number, one in enumerate(images)
            for t in (one.targets[0],)
            if number % 2
        ]
        learnt = learn(build(kind, *kind.learning), [*images[::2], *swapped], kind)
    assert recalled(learnt, images) < 0.5


SIDE = 64


def rectangles(kind: Kind, number: int) -> Batch:
    """Return an image of two rectangles, each class a colour of its own."""
    rng = np.random.default_rng(number)
    corners = [
        (rng.integers(2, 11), rng.integers(2, 49)),
        (rng.integers(33, 43), rng.integers(2, 49)),
    ]
    rows = [(x, y, x + 20, y + 14, label) for label, (x, y) in enumerate(corners)]
    images = 0.1 * torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(number))
    for x1, y1, x2, y2, label in rows:
        images[0, label, y1:y2, x1:x2] += 3
    return Batch(images, ((SIDE, SIDE),), ((1.0, 1.0),), (target(kind, *rows),))


def joined(parts: list[Batch]) -> Batch:
    return Batch(
        torch.cat([p.images for p in parts]),
        sum((p.sizes for p in parts), ()),
        sum((p.scales for p in parts), ()),
        sum((p.targets for p in parts), ()),
    )


def mirrored(one: Batch) -> Batch:
    """Return an image turned left to right."""
    (t,) = one.targets
    boxes = t.boxes[:, [2, 1, 0, 3]] * torch.tensor([-1, 1, -1, 1]) + torch.tensor([SIDE, 0] * 2)
    obb = None if t.obb is None else rotated_coders.upright(boxes)
    turned = replace(t, boxes=boxes, obb=obb)
    return replace(one, images=one.images.flip(3), targets=(turned,))


def best_iou(found: PatchDetections, box: Tensor, label: Tensor) -> float:
    ious = every_iou(box[None], found.boxes[found.labels == label])
    return float(ious.max()) if ious.numel() else 0.0
