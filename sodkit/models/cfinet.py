"""CFINet (Yuan et al., ICCV 2023): read ``forward``, it is the paper's Figure 2 from left to right.

What is new in it: anchors are chosen by a threshold that grows with the object (coarse stage), so
that the smallest objects get positives; and the head's features of poorly seen objects are pulled
towards those of well seen ones of their class (imitation). Both act in training; at test time it
is Faster R-CNN on better proposals.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from sodkit.data.batches import Batch, PatchDetections
from sodkit.models.detector import DetectorModule
from sodkit.models.parts.backbone import STRIDES, Backbone
from sodkit.models.parts.crpn import Crpn, CrpnOutput
from sodkit.models.parts.graph import ProposalGraph
from sodkit.models.parts.imitation import Imitation, Rows, Truth
from sodkit.models.parts.proposals import in_patches
from sodkit.models.parts.pyramid import Fpn
from sodkit.models.parts.roi_head import RoiHead
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Keep, two_stage


class Cfinet(DetectorModule):
    """Coarse-to-fine RPN, R-CNN head, feature imitation.

    Images may have any sizes; memory is laid out channels last. Under autocast, decoding, IoUs,
    softmax, norms and losses stay float32.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    def __init__(self, config: two_stage.Cfinet, classes: int) -> None:
        super().__init__()
        self.boxes = config.boxes
        channels, fpn = config.fpn.channels, config.fpn
        self.backbone = Backbone(config.backbone)
        self.fpn = Fpn(self.backbone.channels, channels, extra=fpn.levels - 4)
        self.crpn = Crpn(config.crpn, channels, fpn.strides)
        self.roi = RoiHead(config.roi, classes, channels, STRIDES)
        self.imitation = None
        if config.imitation is not None:
            self.imitation = Imitation(config.imitation, classes, channels, config.roi.pool)
        self.roi.reset()

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return the six losses of paper Eq. 2 and 5, weighted; collects exemplars on the way."""
        pyramid = self.fpn(self.backbone(batch.images))

        # CRPN, coarse stage: one anchor a location is regressed, without a look at its class.
        coarse = self.crpn.coarse(pyramid, batch)
        # CRPN, fine stage: features are sampled at the refined anchors, scored, regressed again.
        stages = CrpnOutput(coarse, self.crpn.fine(coarse))
        losses = self.crpn.losses(stages, batch, shuffle)  # coarse_reg, fine_cls, fine_reg

        # R-CNN head, on proposals drawn for training.
        proposals = self.crpn.select(stages, batch)
        rois = self.roi.sample(proposals, batch.targets, shuffle)
        features = self.roi.pool(pyramid, rois.boxes, rois.image)
        prepared, compressed = self._prepare(features)
        output = self.roi(prepared)
        losses |= self.roi.losses(output, rois, batch.targets)  # cls, reg

        # Feature imitation: objects that the head sees poorly learn from exemplars.
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
        proposals = self.crpn.select(self.crpn(pyramid, batch), batch)
        return self.roi.detect(
            pyramid, proposals, batch, keep, lambda features: self._prepare(features)[0]
        )

    @torch.no_grad()
    def propose(self, batch: Batch, limit: int) -> list[PatchDetections]:
        """Return the best ``limit`` proposals of each image, scored by objectness."""
        pyramid = self.fpn(self.backbone(batch.images))
        found = self.crpn.select(self.crpn(pyramid, batch), batch, limit)
        return in_patches(found, batch, self.boxes)

    def rates(self) -> list[tuple[float, list[nn.Parameter]]]:
        """Return Feat2Embed's FCs with the factor on their learning rate."""
        return [] if self.imitation is None else self.imitation.rates()

    def graph(self) -> nn.Module:
        """Return everything before the first NMS, for export."""
        return ProposalGraph(self.backbone, self.fpn, self.crpn)
