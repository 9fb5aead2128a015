"""Constants are made once, are the same as made anew, and do not pile up."""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import torch
from torch import nn

from sodkit.models.kernels.adaptive_conv import AdaptiveConv, adaptive_conv_deform, plain_taps
from sodkit.models.kernels.kept import MOST, Kept
from sodkit.models.parts import anchors, points
from sodkit.settings.anchor_levels import Anchored, levels
from tests.engine.kinds import LOW, batch, build, every_kind, none, shuffle, some

SIZES = [(64, 96), (96, 64), (64, 96), (32, 32)]
CPU = torch.device("cpu")


def test_what_is_kept_is_what_is_made() -> None:
    found = levels((4, 8), (2.0,), (0.5, 2.0))
    for make, more in ((anchors.grid, found), (points.grid, (4, 8))):
        kept = Kept(make)
        for size in SIZES:
            for one, other in zip(kept(size, more, CPU), make(size, more, CPU), strict=True):
                assert torch.equal(one, other)
                assert one.dtype == torch.float32
        assert len(kept) == 3


def test_arguments_tell_what_is_kept_apart() -> None:
    kept = Kept(points.grid)
    middle, corner = (kept((8, 8), (4,), CPU, offset=offset) for offset in (0.5, 0.0))
    assert middle[0][0].tolist() == [2, 2]
    assert corner[0][0].tolist() == [0, 0]
    assert kept((8, 8), (4,), CPU, offset=0.5) is middle
    assert kept((8, 8), (8,), CPU, offset=0.5) is not middle


def test_the_one_not_used_for_longest_goes() -> None:
    made: list[int] = []

    def make(number: int) -> torch.Tensor:
        made.append(number)
        return torch.full((1,), number)

    kept = Kept(make)
    for number in range(100):
        assert kept(number).item() == number
        assert kept(0).item() == 0
        assert len(kept) <= MOST
    assert made == list(range(100))


def test_made_while_detecting_it_is_good_for_training() -> None:
    kept = Kept(plain_taps)
    with torch.inference_mode():
        first = kept(3, 4, CPU)
    assert not first.xs.is_inference()
    weight = torch.ones(4, requires_grad=True)
    (kept(3, 4, CPU).xs * weight).sum().backward()
    assert weight.grad is not None
    assert weight.grad.tolist() == [0, 1, 2, 3]


class Holder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.grid = Kept(points.grid)


def test_it_is_in_no_checkpoint_and_no_copy() -> None:
    module = Holder()
    module.grid((8, 8), (4,), CPU)
    assert not module.state_dict()
    assert not list(module.buffers())
    other = copy.deepcopy(module)
    assert len(other.grid) == 0
    assert torch.equal(other.grid((8, 8), (4,), CPU)[0], module.grid((8, 8), (4,), CPU)[0])
    assert len(pickle.loads(pickle.dumps(module.grid))) == 0
    stream = io.BytesIO()
    torch.save(module, stream)
    assert len(stream.getvalue()) < 5000


def test_a_convolution_with_kept_places_is_that_with_new_ones() -> None:
    """On the CPU as on a GPU: there the deformable convolution needs them."""
    conv = AdaptiveConv(4)
    corner = torch.rand(1, 12, 2) * 10
    boxes, features = torch.cat([corner, corner + 6], -1), torch.rand(1, 4, 3, 4)
    wanted = adaptive_conv_deform(features, boxes, 4, conv.weight)
    for _ in range(2):
        places = conv.places(3, 4, CPU)
        assert torch.equal(adaptive_conv_deform(features, boxes, 4, conv.weight, places), wanted)
    assert len(conv.places) == 1


def kept_in(detector: nn.Module) -> list[Kept[..., object]]:
    return [
        v for module in detector.modules() for v in vars(module).values() if isinstance(v, Kept)
    ]


def tensors_in(value: object) -> Iterator[torch.Tensor]:
    """Yield the tensors of a result, however its lists and dataclasses are nested."""
    if isinstance(value, torch.Tensor):
        yield value
    elif is_dataclass(value):
        for field in fields(value):
            yield from tensors_in(getattr(value, field.name))
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from tensors_in(one)


@every_kind
def test_a_detector_makes_its_constants_once_and_leaves_them(kind) -> None:
    """A step and detecting, twice: the second time nothing new, and all as it was made."""
    detector = build(kind)
    given = batch(some(kind), none(kind))

    def both() -> dict[str, torch.Tensor]:
        losses = {name: value.clone() for name, value in detector.train()(given, shuffle()).items()}
        with torch.inference_mode():
            detector.eval().detect(given, LOW)
        return losses

    before = both()
    held = kept_in(detector)
    sizes = [len(one) for one in held]
    assert any(sizes) or not isinstance(kind.load().model, Anchored)
    again = both()
    assert [len(one) for one in held] == sizes
    found = [tensor for one in held for tensor in tensors_in([*one._results.values()])]
    assert bool(found) == any(sizes)
    assert all(tensor._version == 0 for tensor in found)
    assert again.keys() == before.keys()
