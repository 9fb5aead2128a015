"""Faster R-CNN (Ren et al., NeurIPS 2015) on a pyramid: the baseline of the paper's tables.

Proposals come from the ordinary RPN, or from CRPN (the paper's Cascade RPN). With an oriented box
in the head it is Rotated Faster R-CNN or Gliding Vertex; with imitation, the row "FI" of Table 5.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from sodkit.data.batches import Batch, PatchDetections
from sodkit.models.detector import DetectorModule
from sodkit.models.parts.backbone import STRIDES, Backbone
from sodkit.models.parts.crpn import Crpn
from sodkit.models.parts.graph import ProposalGraph
from sodkit.models.parts.imitation import Imitation, Rows, Truth
from sodkit.models.parts.proposals import in_patches
from sodkit.models.parts.pyramid import Fpn
from sodkit.models.parts.roi_head import RoiHead
from sodkit.models.parts.rpn import Rpn
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Keep, two_stage


class FasterRcnn(DetectorModule):
    """Proposals and an R-CNN head.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    def __init__(self, config: two_stage.FasterRcnn, classes: int) -> None:
        super().__init__()
        self.boxes = config.boxes
        channels, fpn = config.fpn.channels, config.fpn
        self.backbone = Backbone(config.backbone)
        self.fpn = Fpn(self.backbone.channels, channels, extra=fpn.levels - 4)
        self.rpn: Rpn | Crpn
        if isinstance(config.proposals, two_stage.Crpn):
            self.rpn = Crpn(config.proposals, channels, fpn.strides)
        else:
            self.rpn = Rpn(config.proposals, channels, fpn.strides)
        self.roi = RoiHead(config.roi, classes, channels, STRIDES)
        self.imitation = None
        if config.imitation is not None:
            self.imitation = Imitation(config.imitation, classes, channels, config.roi.pool)
        self.roi.reset()

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return the weighted losses of the RPN, the head and, where there is one, imitation."""
        pyramid = self.fpn(self.backbone(batch.images))
        scored = self.rpn(pyramid, batch)
        losses: dict[str, Tensor] = self.rpn.losses(scored, batch, shuffle)
        proposals = self.rpn.select(scored, batch)
        rois = self.roi.sample(proposals, batch.targets, shuffle)
        features = self.roi.pool(pyramid, rois.boxes, rois.image)
        prepared, compressed = self._prepare(features)
        output = self.roi(prepared)
        losses |= self.roi.losses(output, rois, batch.targets)
        if self.imitation is not None:
            iou = self.roi.quality_iou(output, rois, batch.targets, self.imitation.config.iq_iou)
            seen = Rows.of(rois, features, compressed, output.logits, iou)
            pool = partial(self.roi.pool, pyramid)
            losses["loss_imitation"] = self.imitation.loss(
                seen, Truth.of(batch.targets), pool, shuffle
            )
        return losses

    def _prepare(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return RoI features as the head gets them (``Imitation.prepare``)."""
        return (features, None) if self.imitation is None else self.imitation.prepare(features)

    @torch.no_grad()
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing."""
        pyramid = self.fpn(self.backbone(batch.images))
        proposals = self.rpn.select(self.rpn(pyramid, batch), batch)
        return self.roi.detect(
            pyramid, proposals, batch, keep, lambda features: self._prepare(features)[0]
        )

    @torch.no_grad()
    def propose(self, batch: Batch, limit: int) -> list[PatchDetections]:
        """Return the best ``limit`` proposals of each image, scored by objectness."""
        pyramid = self.fpn(self.backbone(batch.images))
        found = self.rpn.select(self.rpn(pyramid, batch), batch, limit)
        return in_patches(found, batch, self.boxes)

    def rates(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Return the parameters that have a factor on their learning rate."""
        return [] if self.imitation is None else self.imitation.rates()

    def graph(self) -> nn.Module:
        """Return everything before the first NMS, for export."""
        return ProposalGraph(self.backbone, self.fpn, self.rpn)
