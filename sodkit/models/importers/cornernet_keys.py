"""Checkpoints of mmdetection's CornerNet with stacked hourglasses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from sodkit.models.importers.mmdet import Recognised, Table, count

_HOURGLASS = "backbone.hourglass_modules.0."
_POOL = (
    ("direction1_conv.", "down."),
    ("direction2_conv.", "across."),
    ("aftpool_conv.", "after."),
    ("conv1.", "direct."),
    ("conv2.", "output."),
)
_BRANCHES = (("heat", "heat"), ("emb", "embedding"), ("off", "offset"))


def recognise(state: Mapping[str, Tensor]) -> Recognised | None:
    """Return what a state dict is, None if it is no CornerNet.

    Args:
        state: their names and tensors.
    """
    cls = state.get("bbox_head.tl_heat.0.1.conv.bias")
    stem = state.get("backbone.stem.1.0.bn1.bias")
    if cls is None or stem is None or "bbox_head.tl_emb.0.1.conv.bias" not in state:
        return None
    depth, stacks = _depth(state), count(state, r"backbone\.hourglass_modules\.(\d+)\.")
    widths = [len(stem)]
    for level in range(depth):
        norm = state.get(f"{_HOURGLASS}{'low2.' * level}low1.0.bn1.bias")
        widths.append(widths[-1] if norm is None else len(norm))
    blocks = [_blocks(state, "low2." * level + "up1.") for level in range(depth)]
    blocks.append(_blocks(state, "low2." * depth))
    sizes = (
        f"model.widths={widths}",
        f"model.blocks={blocks}",
        f"model.stacks={stacks}",
        *_sizes(state),
    )
    table = tuple(_table(depth, stacks))
    return Recognised("cornernet-hourglass-soda-d", "cornernet", sizes, len(cls), table)


def _depth(state: Mapping[str, Tensor]) -> int:
    """Return how many times the first hourglass halves its map."""
    depth = 0
    while any(key.startswith(f"{_HOURGLASS}{'low2.' * depth}low1.") for key in state):
        depth += 1
    return depth


def _blocks(state: Mapping[str, Tensor], part: str) -> int:
    """Return the number of residual blocks in a part of the first hourglass."""
    return count(state, _HOURGLASS.replace(".", r"\.") + part.replace(".", r"\.") + r"(\d+)\.")


def _sizes(state: Mapping[str, Tensor]) -> list[str]:
    """Return the settings that shapes of the first head show."""
    shown = []
    for key, name in (
        ("channels", "backbone.out_convs.0.bn.bias"),
        ("pooled", "bbox_head.tl_pool.0.direction1_conv.bn.bias"),
        ("hidden", "bbox_head.tl_heat.0.0.conv.bias"),
    ):
        if (tensor := state.get(name)) is not None:
            shown.append(f"model.{key}={len(tensor)}")
    return shown


def _table(depth: int, stacks: int) -> Iterator[tuple[str, str]]:
    yield from _layer("backbone.stem.0.", "backbone.stem.0.")
    yield "backbone.stem.1.0.", "backbone.stem.1."
    for n in range(stacks):
        theirs, ours = f"backbone.hourglass_modules.{n}.", f"backbone.hourglasses.{n}."
        for level in range(depth):
            for their_part, our_part in (("up1.", "same."), ("low1.", "down."), ("low3.", "up.")):
                yield theirs + "low2." * level + their_part, ours + "inner." * level + our_part
        yield theirs + "low2." * depth, ours + "inner." * depth
        yield from _layer(f"backbone.out_convs.{n}.", f"backbone.outputs.{n}.")
        yield from _layer(f"backbone.conv1x1s.{n}.", f"backbone.kept.{n}.")
        yield from _layer(f"backbone.remap_convs.{n}.", f"backbone.found.{n}.")
        yield f"backbone.inters.{n}.", f"backbone.joined.{n}."
        for corner, our_corner in (("tl", f"top_left.{n}."), ("br", f"bottom_right.{n}.")):
            yield from _corner(corner, n, our_corner)


def _corner(theirs: str, number: int, ours: str) -> Iterator[tuple[str, str]]:
    """Yield the names of the head of one kind of corner after one hourglass."""
    for their_part, our_part in _POOL:
        yield from _layer(
            f"bbox_head.{theirs}_pool.{number}.{their_part}", f"{ours}pool.{our_part}"
        )
    for their_map, our_map in _BRANCHES:
        for their_layer, our_layer in ((0, 0), (1, 2)):
            yield (
                f"bbox_head.{theirs}_{their_map}.{number}.{their_layer}.conv.",
                f"{ours}{our_map}.{our_layer}.",
            )


def _layer(theirs: str, ours: str) -> Table:
    """Return the names of a convolution with batch norm."""
    return ((f"{theirs}conv.", f"{ours}0."), (f"{theirs}bn.", f"{ours}1."))
