"""What the two stages hold in memory; their numbers are in the tests of the detectors."""

import weakref

import torch

from sodkit.config import load_recipe
from sodkit.data.batches import Batch
from sodkit.models.parts.crpn import Crpn

SIDE = 64


def crpn_and_pyramid():
    torch.manual_seed(0)
    crpn = Crpn(load_recipe("cfinet-r50-soda-d").model.crpn, 16, (4, 8, 16, 32))
    return crpn, [torch.randn(1, 16, SIDE // s, SIDE // s) for s in crpn.strides]


def batch():
    return Batch(torch.zeros(1, 3, SIDE, SIDE), ((SIDE, SIDE),), ((1.0, 1.0),))


def test_without_gradients_a_level_is_given_back_before_the_next_one_is_sampled():
    crpn, pyramid = crpn_and_pyramid()
    features, aligned, left = [], [], []

    def watch(module, inputs):
        left.append(tuple(sum(one() is not None for one in maps) for maps in (features, aligned)))

    crpn.coarse_conv.register_forward_hook(lambda *seen: features.append(weakref.ref(seen[2])))
    crpn.fine_conv.register_forward_pre_hook(watch)
    crpn.fine_conv.register_forward_hook(lambda *seen: aligned.append(weakref.ref(seen[2])))
    with torch.no_grad():
        crpn.propose(pyramid, batch())
    assert left == [(4, 0), (3, 0), (2, 0), (1, 0)]


def test_with_and_without_gradients_both_stages_give_the_same():
    crpn, pyramid = crpn_and_pyramid()
    trained = crpn(pyramid, batch()).fine
    with torch.no_grad():
        found = crpn(pyramid, batch()).fine
    for name in ("anchors", "logits", "deltas"):
        pairs = list(zip(getattr(found, name), getattr(trained, name), strict=True))
        assert len(pairs) == 4
        assert all(torch.equal(one, other) for one, other in pairs)
