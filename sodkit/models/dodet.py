"""DODet (Cheng et al., "Dual-Aligned Oriented Detector", TGRS 2022).

What is new in it: proposals are described by aspect ratio and area, so that neither depends on the
other; and what is classified is the box that was regressed, not the proposal, from features that
fit it. The first aligns proposals with objects, the second the scores with the boxes.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from sodkit.data.batches import Batch, PatchDetections
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.models.parts import postprocess
from sodkit.models.parts.backbone import STRIDES
from sodkit.models.parts.guided_head import GuidedHead
from sodkit.models.parts.oriented_rpn import AreaRpn
from sodkit.models.parts.sampling import Shuffle
from sodkit.models.rcnn import TwoStage
from sodkit.settings import Keep, dodet


class Dodet(TwoStage):
    """Oriented proposals by ratio and area, and a head that localises before it classifies.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    def __init__(self, config: dodet.Dodet, classes: int) -> None:
        super().__init__(config)
        self.rpn = AreaRpn(config.rpn, config.fpn.channels, config.fpn.strides)
        self.roi = GuidedHead(config.roi, classes, config.fpn.channels, STRIDES)

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return the weighted losses of the RPN and the head."""
        pyramid = self.fpn(self.backbone(batch.images))
        scored = self.rpn(pyramid, batch)
        losses: dict[str, Tensor] = self.rpn.losses(scored, batch, shuffle)
        rois = self.roi.sample(self.rpn.select(scored, batch), batch.targets, shuffle)
        return losses | self.roi.losses(self.roi(pyramid, rois.boxes, rois.image), rois, batch)

    @torch.no_grad()
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing."""
        return postprocess.detections(self.candidates(batch, keep), batch, keep)

    def candidates(self, batch: Batch, keep: Keep) -> list[Candidates]:
        """Return the boxes of each image before NMS; see ``Exportable``."""
        pyramid = self.fpn(self.backbone(batch.images))
        proposals = self.rpn.select(self.rpn(pyramid, batch), batch)
        return self.roi.candidates(proposals, batch, keep, partial(self.roi.see, pyramid))

    @property
    def proposer(self) -> AreaRpn:
        """The oriented proposal network."""
        return self.rpn
