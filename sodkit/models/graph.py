"""The network without its data-dependent parts, as a graph to compile or export."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sodkit.models import coders
from sodkit.models.crpn import Crpn
from sodkit.models.detector import Detector


class ProposalGraph(nn.Module):
    """From images to all anchors as boxes with scores: everything before the first NMS.

    Backbone, pyramid and both stages of CRPN (or the ordinary RPN). What follows (the best of each
    level, NMS, pooling at boxes whose number the image decides) has shapes that depend on the data
    and stays outside.

    Args:
        detector: in evaluation mode.
    """

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes and scores of all anchors.

        Args:
            images: (B, 3, H, W) float32, normalised RGB, H and W multiples of 32.

        Returns:
            (B, A, 4) xyxy in px of the input, clipped to it, and (B, A) objectness in [0, 1]; level
            by level from P2 on, row by row.
        """
        rpn, size = self.detector.rpn, (images.shape[-2], images.shape[-1])
        pyramid = self.detector.pyramid(images)
        output = rpn(pyramid, size, (size,) * images.shape[0])
        scored, stds = (
            (output.fine, rpn.config.fine_stds)
            if isinstance(rpn, Crpn)
            else (output, rpn.config.stds)
        )
        anchors, deltas = torch.cat(scored.anchors, 1), torch.cat(scored.deltas, 1)
        boxes = coders.clip(coders.decode(anchors, deltas, stds), size)
        return boxes, torch.cat(scored.logits, 1).float().sigmoid()
