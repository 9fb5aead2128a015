import weakref

import pytest
import torch
from torch.nn import functional as F

from sodkit.models.parts.pyramid import Fpn, StridedFpn


def features(*sides):
    generator = torch.Generator().manual_seed(0)
    made = [torch.randn(2, 3 + n, *side, generator=generator) for n, side in enumerate(sides)]
    return [m.contiguous(memory_format=torch.channels_last) for m in made]


@pytest.mark.parametrize(
    "sides", [((16, 24), (8, 12), (4, 6), (2, 3)), ((13, 24), (7, 12), (4, 6), (2, 3))]
)
def test_levels_are_summed_from_the_top(sides):
    """With and without gradients the sums take different ways; odd sides are no multiples."""
    inputs = features(*sides)
    fpn = Fpn([x.shape[1] for x in inputs], 5, extra=1)
    merged = [conv(x) for conv, x in zip(fpn.lateral, inputs, strict=True)]
    for level in (2, 1, 0):
        size = merged[level].shape[-2:]
        merged[level] = merged[level] + F.interpolate(merged[level + 1], size=size)
    want = [conv(x) for conv, x in zip(fpn.output, merged, strict=True)]
    want.append(want[-1][:, :, ::2, ::2])
    given = list(inputs)
    with torch.no_grad():
        without = fpn(given)
    assert not given  # the maps are given back before the outputs are made
    for found in (without, fpn(inputs)):
        assert len(found) == 5
        for a, b in zip(found, want, strict=True):
            torch.testing.assert_close(a, b)


def test_without_gradients_the_finest_map_is_the_last_one_in_memory():
    given = features((16, 24), (8, 12), (4, 6))
    fpn = Fpn([x.shape[1] for x in given], 5)
    maps, beside = [weakref.ref(x) for x in given], []

    def watch(module, inputs):
        beside.append(sum(one() is not None for one in maps))

    for layer in [*fpn.lateral, *fpn.output]:
        layer.register_forward_pre_hook(watch)
    for layer in fpn.lateral:
        layer.register_forward_hook(lambda _module, _inputs, out: maps.append(weakref.ref(out)))
    with torch.no_grad():
        fpn(given)
    laterals = [3, 2 + 1, 1 + 2]  # maps that are left, and what was made of the others
    assert beside == [*laterals, 3, 2, 1]


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("source", ["input", "output"])
def test_coarser_levels_by_strided_convolutions(source, relu):
    inputs = features((16, 24), (8, 12), (4, 6))
    fpn = StridedFpn([x.shape[1] for x in inputs], 5, 2, source, relu=relu)
    levels = fpn(inputs)
    plain = Fpn([x.shape[1] for x in inputs], 5)
    plain.load_state_dict({k: v for k, v in fpn.state_dict().items() if "coarser" not in k})
    want = plain(inputs)
    p6 = fpn.coarser[0](inputs[-1] if source == "input" else want[-1])
    assert p6.min() < 0
    want += [p6, fpn.coarser[1](p6.clamp(min=0) if relu else p6)]
    assert [tuple(x.shape[-2:]) for x in levels[3:]] == [(2, 3), (1, 2)]
    with torch.no_grad():
        without = fpn(list(inputs))
    for found, again, wanted in zip(levels, without, want, strict=True):
        torch.testing.assert_close(found, wanted)
        torch.testing.assert_close(again, wanted)


def test_without_coarser_levels_it_is_an_fpn():
    inputs = features((16, 24), (8, 12), (4, 6))
    assert len(StridedFpn([x.shape[1] for x in inputs], 5, 0, "input")(inputs)) == 3


def test_group_norms_follow_every_convolution():
    inputs = features((16, 24), (8, 12), (4, 6))
    fpn = StridedFpn([x.shape[1] for x in inputs], 6, 1, "input", groups=3)
    layers = [*fpn.lateral, *fpn.output, *fpn.coarser]
    assert [[type(part).__name__ for part in layer] for layer in layers] == [
        ["Conv2d", "GroupNorm"]
    ] * 7
    assert all(layer[0].bias is None and layer[1].num_groups == 3 for layer in layers)
    levels = fpn(inputs)
    assert [x.shape[-2:] for x in levels] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    torch.testing.assert_close(levels[3], fpn.coarser[0](inputs[2]))
    for level in levels:
        grouped = level.reshape(2, 3, -1)
        torch.testing.assert_close(grouped.mean(-1), torch.zeros(2, 3), atol=1e-5, rtol=0)
