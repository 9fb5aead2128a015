"""Names that all dense detectors of mmdetection share: pyramid and towers."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sodkit.errors import ModelError
from sodkit.models.importers.mmdet import Table, count, resnet

HEAD = "bbox_head"
"""Their name of the head, where there is one."""


def sizes(state: Mapping[str, Tensor], cls: str, name: str, head: str = HEAD) -> tuple[str, ...]:
    """Return the settings that shapes show.

    Args:
        state: their names and tensors.
        cls: their name of the class convolution.
        name: of the detector, for messages.
        head: their name of the head.

    Raises:
        ModelError: if its backbone is no ResNet that is known, or its pyramid has other levels.
    """
    if not 4 <= levels(state) <= 5:
        raise ModelError(
            f"the pyramid has {levels(state)} levels, neck.fpn_convs.0 to {levels(state) - 1}",
            hint=f"{name} here has P3..P6 or, with model.levels=5, up to P7",
        )
    weight = state.get(f"{head}.{cls}.weight")
    channels = () if weight is None else (f"model.channels={weight.shape[1]}",)
    return (
        f"model.backbone.name={resnet(state)}",
        "model.backbone.weights=null",
        f"model.levels={levels(state)}",
        f"model.convs={convs(state, head)}",
        *channels,
    )


def levels(state: Mapping[str, Tensor]) -> int:
    """Return the number of levels of the pyramid."""
    return count(state, r"neck\.fpn_convs\.(\d+)\.")


def inputs(state: Mapping[str, Tensor]) -> int:
    """Return how many maps of the backbone the pyramid takes: C3..C5, of mmrotate's C2..C5."""
    return max(3, count(state, r"neck\.lateral_convs\.(\d+)\."))


def convs(state: Mapping[str, Tensor], head: str = HEAD) -> int:
    """Return the number of convolutions of a tower."""
    return count(state, rf"{head}\.cls_convs\.(\d+)\.")


def table(
    state: Mapping[str, Tensor], outputs: Mapping[str, str], *, norm: bool = False,
    pyramid_norm: bool = False,
) -> Table:  # fmt: skip
    """Return the names of a detector with one head.

    Args:
        state: their names and tensors.
        outputs: of the head's convolutions after the towers: their name, and ours.
        norm: the towers have a group norm after each convolution, the deltas a factor a level.
        pyramid_norm: the pyramid has a group norm after each convolution.
    """
    scales = ((f"{HEAD}.scales.{n}.scale", f"head.scales.{n}") for n in range(levels(state)))
    names = pyramid(state, norm=pyramid_norm)
    return (*names, *towers(state, HEAD, "head", outputs, norm=norm), *scales)


def pyramid(state: Mapping[str, Tensor], *, norm: bool = False) -> Table:
    """Return the names of backbone and pyramid, with ``norm`` a group norm in each layer."""
    first = inputs(state)
    layers = [
        *((f"neck.lateral_convs.{n}", f"fpn.lateral.{n}.") for n in range(first)),
        *((f"neck.fpn_convs.{n}", f"fpn.output.{n}.") for n in range(first)),
        *(
            (f"neck.fpn_convs.{n}", f"fpn.coarser.{n - first}.")
            for n in range(first, levels(state))
        ),
    ]
    if norm:
        each = [
            (f"{theirs}.{part}.", f"{ours}{place}.")
            for theirs, ours in layers
            for place, part in enumerate(("conv", "gn"))
        ]
    else:
        each = [(f"{theirs}.conv.", ours) for theirs, ours in layers]
    return (("backbone.", "backbone."), *each)


def towers(
    state: Mapping[str, Tensor], head: str, own: str, outputs: Mapping[str, str], *,
    norm: bool = False,
) -> Table:  # fmt: skip
    """Return the names of a head's towers and of what comes after them.

    Args:
        state: their names and tensors.
        head: their name of the head.
        own: ours.
        outputs: of the convolutions after the towers: their name, and ours.
        norm: see ``table``.
    """
    step = 3 if norm else 2
    each = [(tower, n) for tower in ("cls", "reg") for n in range(convs(state, head))]
    places = [(f"{head}.{t}_convs.{n}", f"{own}.{t}_tower.", step * n) for t, n in each]
    return (
        *((f"{theirs}.conv.", f"{ours}{place}.") for theirs, ours, place in places),
        *((f"{theirs}.gn.", f"{ours}{place + 1}.") for theirs, ours, place in places if norm),
        *((f"{head}.{theirs}.", f"{own}.{ours}.") for theirs, ours in outputs.items()),
    )
