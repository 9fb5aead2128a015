"""Settings of Sparse R-CNN and Deformable DETR, and of matching queries with objects."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from sodkit.settings.base import Backbone, BoxKind, Count, Four, Positive, Settings
from sodkit.settings.dense import FocalLoss, whole_groups

Weight = Annotated[float, Field(ge=0)]


class SetLoss(Settings):
    """Weights of the parts of a pair's cost, and of the losses once it is matched.

    Carion et al., ECCV 2020, 3.1.
    """

    classification: Weight = Field(2.0, description="of the focal loss")
    l1: Weight = Field(5.0, description="of the distance in parts of the image's sides")
    l1_of: Literal["corners", "centre"] = Field(
        "corners", description="the distance is of corners, or of centre and sides (DETR)"
    )
    giou: Weight = 2.0
    focal: FocalLoss = FocalLoss()


def whole_heads(heads: int, info: ValidationInfo) -> int:
    """Return the heads of an attention over ``channels`` if they divide them.

    Raises:
        ValueError: they do not.
    """
    channels = info.data.get("channels", heads)
    if channels % heads:
        raise ValueError(f"{channels} channels cannot be divided by {heads} heads")
    return heads


class SparseRcnn(Settings):
    """Sparse R-CNN (Sun et al., CVPR 2021) as the SODA-D benchmark sets it."""

    kind: Literal["sparse-rcnn"] = "sparse-rcnn"
    backbone: Backbone = Backbone()
    channels: Count = Field(256, description="of the pyramid and of a proposal's features")
    proposals: Count = Field(100, description="learnt boxes: an image's objects at most")
    stages: Count = Field(6, description="heads that refine the boxes one after the other")
    attention_heads: Count = Field(8, description="they divide `channels`")
    dynamic: Count = Field(64, description="channels between a proposal's two filters")
    hidden: Count = Field(2048, description="of the feed-forward network")
    cls_layers: Count = Field(1, description="linear layers before the classes")
    reg_layers: Count = Field(3, description="linear layers before the deltas")
    pool: Count = Field(7, description="rows and columns of RoI features")
    samples: Count = Field(2, description="samples of RoIAlign a bin along each axis")
    stds: Four = (0.5, 0.5, 1.0, 1.0)
    loss: SetLoss = SetLoss()

    _heads = field_validator("attention_heads")(whole_heads)

    @property
    def boxes(self) -> BoxKind:
        """The kind of box it learns."""
        return "horizontal"


class DeformableDetr(Settings):
    """Deformable DETR (Zhu et al., ICLR 2021) as the SODA-D benchmark sets it, on C2..C5."""

    kind: Literal["deformable-detr"] = "deformable-detr"
    backbone: Backbone = Backbone(norm="fixed")
    channels: Annotated[int, Field(ge=4, le=1_000_000, multiple_of=4)] = Field(
        256, description="of all levels and queries, a multiple of 4"
    )
    norm_groups: Count = Field(
        32, description="of the group norm of each level; they divide `channels`"
    )
    queries: Count = Field(300, description="an image's objects at most")
    encoder: Count = Field(6, description="layers in which cells look at cells")
    decoder: Count = Field(6, description="layers in which queries look at cells; all are trained")
    attention_heads: Count = Field(8, description="they divide `channels`")
    points: Count = Field(4, description="samples that a head takes of each level")
    hidden: Count = Field(1024, description="of the feed-forward networks")
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    slow_rate: Positive = Field(
        0.1, description="factor on the lr of the backbone and of where samples are taken"
    )
    loss: SetLoss = SetLoss(l1_of="centre")

    _groups = field_validator("norm_groups")(whole_groups)
    _heads = field_validator("attention_heads")(whole_heads)

    @property
    def boxes(self) -> BoxKind:
        """The kind of box it learns."""
        return "horizontal"
