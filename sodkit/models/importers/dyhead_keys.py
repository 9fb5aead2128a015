"""Checkpoints of mmdetection's DyHead on ATSS."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sodkit.models.importers import dense_tables
from sodkit.models.importers.mmdet import Recognised, Table, count

_OUTPUTS = {"atss_cls": "cls", "atss_reg": "reg", "atss_centerness": "centerness"}
_BLOCK = {
    "spatial_conv_offset": "offset",
    "spatial_conv_high": "high",
    "spatial_conv_mid": "mid",
    "spatial_conv_low": "low",
    "scale_attn_module.1": "scale",
    "task_attn_module.conv1.conv": "task.squeeze",
    "task_attn_module.conv2.conv": "task.excite",
}


def recognise(state: Mapping[str, Tensor]) -> Recognised | None:
    """Return what a state dict is, None if it is no ATSS with a dynamic head.

    Args:
        state: their names and tensors.

    Raises:
        ModelError: if its backbone is no ResNet that is known, or its pyramid has other levels.
    """
    cls = state.get("bbox_head.atss_cls.bias")
    blocks = count(state, r"neck\.1\.dyhead_blocks\.(\d+)\.")
    if cls is None or not blocks:
        return None
    # two necks: the pyramid is called neck.0, where other detectors have neck alone
    alone = {key.replace("neck.0.", "neck.", 1): value for key, value in state.items()}
    sizes = dense_tables.sizes(alone, "atss_cls", "DyHead")
    kept = (setting for setting in sizes if not setting.startswith("model.convs="))
    overrides = (*kept, f"model.blocks={blocks}")
    table = _table(dense_tables.table(alone, _OUTPUTS), blocks)
    return Recognised("dyhead-r50-soda-d", "dyhead", overrides, len(cls), table)


def _table(alone: Table, blocks: int) -> Table:
    return (
        *((theirs.replace("neck.", "neck.0.", 1), ours) for theirs, ours in alone),
        *(
            (f"neck.1.dyhead_blocks.{number}.{theirs}.", f"blocks.{number}.{ours}.")
            for number in range(blocks)
            for theirs, ours in _BLOCK.items()
        ),
    )
