"""Oriented R-CNN (Xie et al., ICCV 2021): oriented proposals, RoIAlign that turns with them."""

from __future__ import annotations

import torch
from torch import Tensor

from sodkit.data.batches import Batch, PatchDetections
from sodkit.models.detector import DetectorModule
from sodkit.models.parts.backbone import STRIDES, Backbone
from sodkit.models.parts.oriented_rpn import OrientedRpn
from sodkit.models.parts.proposals import in_patches
from sodkit.models.parts.pyramid import Fpn
from sodkit.models.parts.roi_head import RoiHead
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Keep, two_stage


class OrientedRcnn(DetectorModule):
    """Midpoint offsets make oriented proposals; the head regresses in the frame of each.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    def __init__(self, config: two_stage.OrientedRcnn, classes: int) -> None:
        super().__init__()
        self.boxes = config.boxes
        channels, fpn = config.fpn.channels, config.fpn
        self.backbone = Backbone(config.backbone)
        self.fpn = Fpn(self.backbone.channels, channels, extra=fpn.levels - 4)
        self.rpn = OrientedRpn(config.rpn, channels, fpn.strides)
        self.roi = RoiHead(config.roi, classes, channels, STRIDES)
        self.roi.reset()

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return the weighted losses of the RPN and the head."""
        pyramid = self.fpn(self.backbone(batch.images))
        scored = self.rpn(pyramid, batch)
        losses: dict[str, Tensor] = self.rpn.losses(scored, batch, shuffle)
        proposals = self.rpn.select(scored, batch)
        rois = self.roi.sample(proposals, batch.targets, shuffle)
        output = self.roi(self.roi.pool(pyramid, rois.boxes, rois.image))
        return losses | self.roi.losses(output, rois, batch.targets)

    @torch.no_grad()
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing."""
        pyramid = self.fpn(self.backbone(batch.images))
        proposals = self.rpn.select(self.rpn(pyramid, batch), batch)
        return self.roi.detect(pyramid, proposals, batch, keep)

    @torch.no_grad()
    def propose(self, batch: Batch, limit: int) -> list[PatchDetections]:
        """Return the best ``limit`` proposals of each image, scored by objectness."""
        pyramid = self.fpn(self.backbone(batch.images))
        return in_patches(
            self.rpn.select(self.rpn(pyramid, batch), batch, limit), batch, self.boxes
        )
