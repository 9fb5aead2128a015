"""What losses are divided by is counted over the step: parts of it add up to the whole."""

from dataclasses import replace

import model_golden as golden
import pytest
import torch
from torch import Tensor

from sodkit.config import load_recipe
from sodkit.data.batches import Batch
from sodkit.models import zoo
from sodkit.models.parts import rotated_coders

SMALL = ("model.backbone.name=resnet18", "model.backbone.weights=null", "model.channels=32")
KINDS = {
    "sparse-rcnn-r50-soda-d": (
        *SMALL, "model.stages=2", "model.proposals=8", "model.dynamic=8", "model.hidden=32",
    ),
    # no stem below 16 channels: oneDNN's 1x1 convolution of stride 2 writes beyond its memory there
    "cornernet-hourglass-soda-d": (
        "model.widths=[32, 32]", "model.blocks=[1, 1]", "model.channels=16",
    ),
    "deformable-detr-r50-soda-d": (
        *SMALL, "model.norm_groups=8", "model.encoder=1", "model.decoder=2", "model.queries=8",
        "model.hidden=32",
    ),
    "centernet-r50-soda-d": (*SMALL, "model.hidden=16"),
    "yolox-s-soda-d": ("model.width=0.125",),
    "rotated-reppoints-r50-soda-a": (*SMALL, "model.convs=1", "model.groups=8"),
    "oriented-reppoints-r50-soda-a": (*SMALL, "model.convs=1", "model.groups=8"),
}  # fmt: skip


class Counted:
    """Notes the counts of a whole step, then gives them to each of its parts."""

    def __init__(self) -> None:
        self.counts: list[int | Tensor] = []
        self.asked: int | None = None

    def total(self, count: int | Tensor, least: float = 1) -> int | Tensor:
        if self.asked is None:
            self.counts.append(count)
        else:
            count = self.counts[self.asked]
            self.asked += 1
        return count.clamp(min=least) if isinstance(count, Tensor) else max(count, least)


@pytest.mark.parametrize("name", KINDS)
def test_parts_of_a_step_add_up_to_it(name):
    torch.manual_seed(0)
    # stored statistics: batch norm by the images of a part would give each part its own
    detector = zoo.build(load_recipe(name, KINDS[name]).model, 2).eval()
    targets = (
        golden.target([[10, 12, 30, 25], [50, 60, 58, 66], [70, 5, 76, 13]], [0, 1, 0]),
        golden.target([]),
        golden.target([[5, 5, 15, 20]], [1], [[40, 40, 80, 80]]),
    )
    if detector.boxes == "oriented":
        turn = rotated_coders.upright
        targets = tuple(
            replace(one, obb=turn(one.boxes), ignore_boxes=turn(one.ignore_boxes))
            for one in targets
        )
    images = torch.randn(3, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    step = Counted()
    batch = Batch(images, ((96, 96),) * 3, ((1.0, 1.0),) * 3, targets, step=step)
    wanted = detector(batch, golden.in_order)
    sum(wanted.values()).backward()
    gradients = {key: p.grad for key, p in detector.named_parameters() if p.requires_grad}
    detector.zero_grad()
    found = dict.fromkeys(wanted, 0.0)
    for part in (range(2), range(2, 3)):
        step.asked = 0
        losses = detector(batch.part(part), golden.in_order)
        sum(losses.values()).backward()
        found = {key: found[key] + value.item() for key, value in losses.items()}
        assert step.asked == len(step.counts)
    for key, value in wanted.items():
        assert found[key] == pytest.approx(value.item(), rel=1e-5), key
    for key, parameter in detector.named_parameters():
        if parameter.requires_grad:
            apart = (parameter.grad - gradients[key]).norm()
            assert apart <= 1e-4 * gradients[key].norm() + 1e-7, key


def test_a_part_alone_is_divided_by_its_own_count():
    """So the test above would fail if nothing were asked of the step."""
    torch.manual_seed(0)
    name = "centernet-r50-soda-d"
    detector = zoo.build(load_recipe(name, KINDS[name]).model, 2).eval()
    target = golden.target([[10, 12, 30, 25], [50, 60, 58, 66]], [0, 1])
    images = torch.randn(2, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    batch = Batch(images, ((96, 96),) * 2, ((1.0, 1.0),) * 2, (target, target))
    whole = sum(detector(batch, golden.in_order).values())
    halves = [sum(detector(batch.part(range(i, i + 1)), golden.in_order).values()) for i in (0, 1)]
    assert sum(halves).item() == pytest.approx(2 * whole.item(), rel=1e-5)
