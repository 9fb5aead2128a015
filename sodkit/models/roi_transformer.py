"""RoI Transformer (Ding et al., CVPR 2019): proposals are turned before they are classified.

What is new in it: oriented proposals without oriented anchors. A first head, the learner, turns the
upright proposals; a second one pools along the axes of what they became, classifies and regresses.

::

    pyramid -> RPN -> upright proposals -> learner -> oriented proposals -> head -> classes, boxes
                                           | RoIAlign                       | rotated RoIAlign
                               loss_learner_cls, _reg                loss_cls, loss_reg
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sodkit.data.batches import Batch, PatchDetections
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.models.kernels.nonzero import rows_each
from sodkit.models.parts import postprocess, rotated_coders
from sodkit.models.parts.backbone import STRIDES
from sodkit.models.parts.proposer import Proposer, proposer
from sodkit.models.parts.roi_head import HeadOutput, RoiHead, Sampled, together
from sodkit.models.parts.sampling import Shuffle
from sodkit.models.parts.selection import Proposals
from sodkit.models.rcnn import TwoStage
from sodkit.settings import Keep, roi_transformer


class RoiTransformer(TwoStage):
    """Upright proposals, and two heads one after the other.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    def __init__(self, config: roi_transformer.RoiTransformer, classes: int) -> None:
        super().__init__(config)
        channels = config.fpn.channels
        self.rpn = proposer(config.proposals, channels, config.fpn.strides)
        self.learner = RoiHead(config.learner, classes, channels, STRIDES)
        self.roi = RoiHead(config.roi, classes, channels, STRIDES)
        self.learner.reset()
        self.roi.reset()

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return the weighted losses of the RPN, the learner and the head."""
        pyramid = self.fpn(self.backbone(batch.images))
        scored = self.rpn(pyramid, batch)
        losses: dict[str, Tensor] = self.rpn.losses(scored, batch, shuffle)
        rois = self.learner.sample(self.rpn.select(scored, batch), batch.targets, shuffle)
        first = see(self.learner, pyramid, rois.boxes, rois.image)
        proposals = self.turned_again(rois, first, len(batch.sizes))
        turned = self.roi.sample(proposals, batch.targets, shuffle)
        second = see(self.roi, pyramid, turned.boxes, turned.image)
        for name, value in self.learner.losses(first, rois, batch).items():
            losses[name.replace("loss_", "loss_learner_")] = value
        return losses | self.roi.losses(second, turned, batch)

    def turned_again(self, rois: Sampled, output: HeadOutput, images: int) -> list[Proposals]:
        """Return what the learner made of the RoIs it is trained on, for the head to train on.

        Without the objects' own boxes: they join the oriented proposals as they are.
        """
        boxes = self.turn(rois.boxes, output)
        rows = rows_each([(rois.image == image) & ~rois.added for image in range(images)])
        return [Proposals(boxes[row], boxes.new_zeros(len(row))) for row in rows]

    @torch.no_grad()
    def turn(self, rois: Tensor, output: HeadOutput) -> Tensor:
        """Return the oriented boxes (N, 5) that upright RoIs (N, 4) become, without gradient."""
        boxes = self.learner.regression.decode(rois, output.deltas[:, 0])
        return rotated_coders.within_reach(boxes)

    @torch.no_grad()
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing."""
        return postprocess.detections(self.candidates(batch, keep), batch, keep)

    def candidates(self, batch: Batch, keep: Keep) -> list[Candidates]:
        """Return the boxes of each image before NMS; see ``Exportable``.

        Classes are scored by the mean of both heads' logits.
        """
        pyramid = self.fpn(self.backbone(batch.images))
        proposals = self.rpn.select(self.rpn(pyramid, batch), batch)
        boxes, image = together(proposals)
        first = see(self.learner, pyramid, boxes, image)
        parts = torch.split(self.turn(boxes, first), [len(one.boxes) for one in proposals])
        turned = [Proposals(*one) for one in zip(parts, (p.scores for p in proposals), strict=True)]

        def see_again(boxes: Tensor, image: Tensor) -> HeadOutput:
            second = see(self.roi, pyramid, boxes, image)
            return HeadOutput((first.logits + second.logits) / 2, second.deltas)

        return self.roi.candidates(turned, batch, keep, see_again)

    @property
    def proposer(self) -> Proposer:
        """The network that makes the upright proposals."""
        return self.rpn


def see(head: RoiHead, pyramid: Sequence[Tensor], boxes: Tensor, image: Tensor) -> HeadOutput:
    """Return what a head makes of boxes (N, 4 or 5) in images (N,)."""
    output: HeadOutput = head(head.pool(pyramid, boxes, image))
    return output
