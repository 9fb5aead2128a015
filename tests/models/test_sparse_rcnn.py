import model_golden as golden
import pytest
import torch

from sodkit.config import load_recipe
from sodkit.errors import UsageError
from sodkit.models import zoo

SMALL = (
    "model.backbone.name=resnet18", "model.backbone.weights=null", "model.channels=32",
    "model.stages=2", "model.proposals=6", "model.dynamic=8", "model.hidden=32",
)  # fmt: skip


def build():
    torch.manual_seed(0)
    return zoo.build(load_recipe("sparse-rcnn-r50-soda-d", SMALL).model, 3)


def test_proposals_begin_as_the_whole_image():
    boxes, features = build().start(golden.batch_b())
    assert boxes.tolist() == [[[0, 0, 256, 256]] * 6, [[0, 0, 248, 240]] * 6]
    assert features.shape == (2, 6, 32)


def test_a_stage_learns_without_those_after_it():
    # boxes are handed on without a gradient: what the last stage loses moves no earlier deltas
    detector = build()
    target = golden.target([[20, 20, 60, 50], [100, 90, 140, 120]], [0, 2])
    losses = detector(golden.batch_b((target, target)), golden.in_order)
    last = sum(value for name, value in losses.items() if name.endswith("_2"))
    last.backward()
    assert detector.stages[0].reg.weight.grad is None
    assert detector.stages[0].ffn[0].weight.grad.abs().max() > 0
    assert detector.proposal_boxes.grad is None


def test_every_class_begins_with_the_prior():
    stage = build().stages[0]
    torch.testing.assert_close(stage.cls.bias.sigmoid(), torch.full((3,), 0.01))


def test_heads_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(UsageError, match="32 channels cannot be divided by 5 heads"):
        load_recipe("sparse-rcnn-r50-soda-d", [*SMALL, "model.attention_heads=5"])
