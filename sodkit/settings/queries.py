"""Settings of Sparse R-CNN, and of matching queries with objects."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from sodkit.settings.base import Backbone, BoxKind, Count, Four, Settings
from sodkit.settings.dense import FocalLoss

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
