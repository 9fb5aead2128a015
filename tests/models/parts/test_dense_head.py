import math

import pytest
import torch
from torch import nn

from sodkit.models.parts.dense_head import DenseHead, tower


def pyramid():
    rng = torch.Generator().manual_seed(0)
    return [torch.randn(2, 8, side, side + 1, generator=rng) for side in (4, 2)]


def test_a_location_is_followed_by_the_next_in_its_row():
    head = DenseHead(8, 1, anchors=3, classes=2, prior=0.01)
    output = head(pyramid())
    assert [tuple(x.shape) for x in output.logits] == [(2, 60, 2), (2, 18, 2)]
    assert [tuple(x.shape) for x in output.deltas] == [(2, 60, 4), (2, 18, 4)]
    assert output.centerness is None
    maps = head.cls(head.cls_tower(pyramid()[0]))
    # row 1, column 2, anchor 1, class 1
    assert output.logits[0][0, (1 * 5 + 2) * 3 + 1, 1] == maps[0, 1 * 2 + 1, 1, 2]


def test_centerness_is_on_the_tower_of_the_deltas_and_a_level_has_its_factor():
    head = DenseHead(8, 2, 1, 2, 0.01, groups=2, bias=False, centerness=True, scales=2)
    with torch.no_grad():
        plain = head(pyramid())
        head.scales[1].fill_(3.0)
        output = head(pyramid())
        want = head.centerness(head.reg_tower(pyramid()[1]))
    assert torch.equal(output.centerness[1], want.flatten(1))
    assert torch.equal(output.deltas[0], plain.deltas[0])
    torch.testing.assert_close(output.deltas[1], 3 * plain.deltas[1])


def test_every_class_begins_with_the_prior():
    head = DenseHead(8, 0, 1, 2, 0.05, groups=2, centerness=True, scales=2)
    assert head.cls.bias.tolist() == pytest.approx([math.log(0.05 / 0.95)] * 2)
    for conv in (head.cls, head.reg, head.centerness):
        assert 0.005 < conv.weight.std() < 0.015
    assert not head.reg.bias.any()


def test_towers():
    kinds = [type(layer) for layer in tower(8, 2, groups=4)]
    assert kinds == [nn.Conv2d, nn.GroupNorm, nn.ReLU] * 2
    assert tower(8, 1, groups=4, bias=False)[0].bias is None
    assert [type(layer) for layer in tower(8, 1)] == [nn.Conv2d, nn.ReLU]
    assert len(tower(8, 0)) == 0
