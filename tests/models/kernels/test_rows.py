"""Layers on RoIs meet few shapes, and their results are those of the plain layers."""

import pytest
import torch
from torch import nn

from sodkit.models.kernels.rows import TOGETHER, by_rows
from sodkit.models.parts.feat2embed import Feat2Embed
from tests.engine.kinds import KINDS, batch, build, none, shuffle, some

LAYERS = {
    "linear": (lambda: nn.Linear(6, 5), (6,)),
    "convolution": (lambda: nn.Conv2d(3, 4, 3), (3, 7, 7)),
}


@pytest.mark.parametrize("count", [0, 1, TOGETHER - 1, TOGETHER, TOGETHER + 1])
@pytest.mark.parametrize("name", LAYERS)
def test_results_and_gradients_are_those_of_the_layer(name, count):
    make, shape = LAYERS[name]
    torch.manual_seed(0)
    layer, rows = make(), torch.randn(count, *shape, requires_grad=True)
    found, want = by_rows(layer, rows), layer(rows)
    torch.testing.assert_close(found, want)
    inputs = (rows, *layer.parameters())
    grads = [torch.autograd.grad(out.square().sum(), inputs) for out in (found, want)]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_embeddings_of_any_shape():
    embed = Feat2Embed(8, hidden=16, embedding=4)
    rows = torch.randn(2, 3, 8)
    found = embed.embed(rows)
    assert found.shape == (2, 3, 4)
    torch.testing.assert_close(found[1, 2], embed.embed(rows[1, 2:3])[0])


@pytest.mark.parametrize("name", ["cfinet", "dodet", "rotated-faster-rcnn"])
def test_layers_of_a_head_meet_multiples(name):
    """oneDNN makes a routine for each shape that it meets and keeps it."""
    kind = KINDS[name]
    detector, met = build(kind), []
    parts = [detector.roi, detector.imitation] if name == "cfinet" else [detector.roi]
    layers = {
        layer_name: layer
        for part in parts
        for layer_name, layer in part.named_modules()
        # these two compute in float32, by another library
        if isinstance(layer, nn.Linear | nn.Conv2d) and layer_name not in ("cls", "reg")
    }
    for layer in layers.values():
        layer.register_forward_hook(lambda _, given, out: met.append(len(given[0])))
    for objects in (some(kind), none(kind)):
        detector(batch(objects, objects), shuffle())
    assert len(met) > len(layers)
    assert {count % TOGETHER for count in met} == {0}
