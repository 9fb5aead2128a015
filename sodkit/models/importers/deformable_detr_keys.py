"""Checkpoints of mmdetection's Deformable DETR without box refinement."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from sodkit.errors import ModelError
from sodkit.models.importers.mmdet import Recognised, Table, count, resnet

_TRANSFORMER = "bbox_head.transformer"
_QUERIES = "bbox_head.query_embedding.weight"
_LEVELS = 4
_DEFORMABLE = (
    ("sampling_offsets.", "offsets."),
    ("attention_weights.", "weights."),
    ("value_proj.", "values."),
    ("output_proj.", "output."),
)
_FFN = (("ffns.0.layers.0.0.", "ffn.first."), ("ffns.0.layers.1.", "ffn.second."))
_ENCODER = (
    *((f"attentions.0.{theirs}", f"attention.{ours}") for theirs, ours in _DEFORMABLE),
    ("norms.0.", "attention_norm."),
    *_FFN,
    ("norms.1.", "ffn.norm."),
)
_DECODER = (
    ("attentions.0.attn.in_proj_", "attention.inputs."),
    ("attentions.0.attn.out_proj.", "attention.output."),
    ("norms.0.", "attention_norm."),
    *((f"attentions.1.{theirs}", f"cross.{ours}") for theirs, ours in _DEFORMABLE),
    ("norms.1.", "cross_norm."),
    *_FFN,
    ("norms.2.", "ffn.norm."),
)


def recognise(state: Mapping[str, Tensor]) -> Recognised | None:
    """Return what a state dict is, None if it is no Deformable DETR of one stage.

    All layers of the decoder share one head, which is listed for each of them.

    Args:
        state: their names and tensors.

    Raises:
        ModelError: if its backbone is no ResNet that is known, or each layer has a head of its own.
    """
    cls, queries = state.get("bbox_head.cls_branches.0.bias"), state.get(_QUERIES)
    if cls is None or queries is None or f"{_TRANSFORMER}.level_embeds" not in state:
        return None
    encoder, decoder = (
        count(state, rf"bbox_head\.transformer\.{part}\.layers\.(\d+)\.")
        for part in ("encoder", "decoder")
    )
    copies = tuple(
        f"bbox_head.{kind}_branches.{n}." for kind in ("cls", "reg") for n in range(1, decoder)
    )
    _check_shared(state, copies)
    sizes = (
        f"model.backbone.name={resnet(state)}",
        "model.backbone.weights=null",
        f"model.queries={len(queries)}",
        f"model.encoder={encoder}",
        f"model.decoder={decoder}",
        *_sizes(state, queries),
    )
    return Recognised(
        "deformable-detr-r50-soda-d",
        "deformable-detr",
        sizes,
        len(cls),
        _table(encoder, decoder),
        unused=copies,
    )


def _check_shared(state: Mapping[str, Tensor], copies: tuple[str, ...]) -> None:
    """Refuse heads that differ: those of box refinement, which has one for each layer."""
    for key, tensor in state.items():
        if key.startswith(copies):
            branch, _, rest = key.removeprefix("bbox_head.").split(".", 2)
            first = state.get(f"bbox_head.{branch}.0.{rest}")
            if first is None or not torch.equal(first, tensor):
                raise ModelError(
                    f"{key} is not that of the first layer: it was trained with box refinement",
                    hint="only Deformable DETR without it is known (with_box_refine=False)",
                )


def _sizes(state: Mapping[str, Tensor], queries: Tensor) -> list[str]:
    """Return the settings that shapes of the queries and of the first layer show."""
    shown = []
    if queries.ndim == 2:
        shown.append(f"model.channels={queries.shape[1] // 2}")
    hidden = state.get(f"{_TRANSFORMER}.encoder.layers.0.ffns.0.layers.0.0.bias")
    if hidden is not None:
        shown.append(f"model.hidden={len(hidden)}")
    return shown


def _table(encoder: int, decoder: int) -> Table:
    return (
        ("backbone.", "backbone."),
        *((f"neck.convs.{n}.conv.", f"levels.{n}.0.") for n in range(_LEVELS)),
        *((f"neck.convs.{n}.gn.", f"levels.{n}.1.") for n in range(_LEVELS)),
        (f"{_TRANSFORMER}.level_embeds", "level_code"),
        (_QUERIES, "queries"),
        (f"{_TRANSFORMER}.reference_points.", "points."),
        ("bbox_head.cls_branches.0.", "cls."),
        ("bbox_head.reg_branches.0.", "reg."),
        *(
            (f"{_TRANSFORMER}.{part}.layers.{n}.{theirs}", f"{part}.{n}.{ours}")
            for part, layers, names in (
                ("encoder", encoder, _ENCODER),
                ("decoder", decoder, _DECODER),
            )
            for n in range(layers)
            for theirs, ours in names
        ),
    )
