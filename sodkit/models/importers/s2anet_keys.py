"""Checkpoints of mmrotate's S2A-Net."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sodkit.models.importers import dense_tables
from sodkit.models.importers.mmdet import Recognised

_FAM, _ODM = "fam_head", "odm_head"


def recognise(state: Mapping[str, Tensor]) -> Recognised | None:
    """Return what a state dict is, None if it is no S2A-Net.

    On P3..P7 it is taken to be that of mmrotate's recipe for DOTA: larger anchors, and angles of
    le135 (``angles.heeded`` reads the recipe in the file, if there is one).

    Args:
        state: their names and tensors.

    Raises:
        ModelError: if its backbone is no ResNet that is known, or its pyramid has other levels.
    """
    cls = state.get(f"{_FAM}.retina_cls.bias")
    if cls is None or f"{_ODM}.odm_cls.bias" not in state:
        return None
    dota = dense_tables.inputs(state) == 3
    shown = (
        *dense_tables.sizes(state, "retina_cls", "S2A-Net", _FAM),
        f"model.first_level={3 if dota else 2}",
        f"model.anchor_scale={4.0 if dota else 1.0}",
        "model.outside=clamp",
        f"model.angles={'le135' if dota else 'le90'}",
    )
    levels = range(dense_tables.levels(state))
    table = (
        *dense_tables.pyramid(state),
        *dense_tables.towers(state, _FAM, "fam", {"retina_cls": "cls", "retina_reg": "reg"}),
        *((f"align_conv.ac.{n}.deform_conv.", f"align.{n}.conv.") for n in levels),
        (f"{_ODM}.or_conv.", "odm.rotating."),
        *dense_tables.towers(state, _ODM, "odm", {"odm_cls": "cls", "odm_reg": "reg"}),
    )
    # how filters turn is a constant here
    unused = (f"{_ODM}.or_conv.indices",)
    return Recognised("s2anet-r50-soda-a", "s2anet", shown, len(cls), table, unused=unused)
