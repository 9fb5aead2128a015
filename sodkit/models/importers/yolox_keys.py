"""Checkpoints of mmdetection's YOLOX without depthwise convolutions (s, m, l, x, tiny)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from sodkit.models.importers.mmdet import Recognised, Table, count
from sodkit.settings.yolox import STEM

_STAGES = range(1, 5)
_LEVELS = range(3)
_STEM = "backbone.stem.conv."
_CSP = (("main_conv.", "main."), ("short_conv.", "short."), ("final_conv.", "out."),
        ("blocks.", "blocks."))  # fmt: skip
_DEPTHS = {1: "0.33", 2: "0.67", 3: "1.0", 4: "1.33"}
"""By the number of blocks in the first stage."""


def recognise(state: Mapping[str, Tensor]) -> Recognised | None:
    """Return what a state dict is, None if it is no YOLOX.

    mmdetection feeds BGR, so the stem's inputs are reversed.

    Args:
        state: their names and tensors.
    """
    cls = state.get("bbox_head.multi_level_conv_cls.0.bias")
    stem = state.get(f"{_STEM}bn.bias")
    if cls is None or stem is None or "bbox_head.multi_level_conv_obj.0.bias" not in state:
        return None
    blocks = count(state, r"backbone\.stage1\.1\.blocks\.(\d+)\.")
    convs = count(state, r"bbox_head\.multi_level_cls_convs\.0\.(\d+)\.")
    sizes = (
        f"model.depth={_DEPTHS.get(blocks, str(round(blocks / 3, 2)))}",
        f"model.width={len(stem) / STEM}",
        f"model.convs={convs}",
    )
    return Recognised(
        "yolox-s-soda-d", "yolox", sizes, len(cls), _TABLE, bgr=(f"{_STEM}conv.weight",)
    )


def _table() -> Iterator[tuple[str, str]]:
    yield _STEM, "backbone.stem."
    for number in _STAGES:
        theirs, ours = f"backbone.stage{number}.", f"backbone.stages.{number - 1}."
        yield from _csp(f"{theirs}{number // 4 + 1}.", f"{ours}{number // 4 + 1}.")
        yield theirs, ours
    for number in range(2):
        yield f"neck.reduce_layers.{number}.", f"neck.reduce.{number}."
        yield from _csp(f"neck.top_down_blocks.{number}.", f"neck.top_down.{number}.")
        yield f"neck.downsamples.{number}.", f"neck.down.{number}."
        yield from _csp(f"neck.bottom_up_blocks.{number}.", f"neck.bottom_up.{number}.")
    for level in _LEVELS:
        yield f"neck.out_convs.{level}.", f"neck.out.{level}."
        for theirs, ours in (
            ("cls_convs", "cls_towers"), ("reg_convs", "box_towers"),
            ("conv_cls", "cls"), ("conv_reg", "box"), ("conv_obj", "objectness"),
        ):  # fmt: skip
            yield f"bbox_head.multi_level_{theirs}.{level}.", f"head.{ours}.{level}."


def _csp(theirs: str, ours: str) -> Iterator[tuple[str, str]]:
    for their_part, our_part in _CSP:
        yield theirs + their_part, ours + our_part


_TABLE: Table = tuple(_table())
