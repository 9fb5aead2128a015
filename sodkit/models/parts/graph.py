"""A two-stage network without its data-dependent parts, as a graph to compile or export."""

from __future__ import annotations

from torch import Tensor, nn

from sodkit.data.batches import Batch
from sodkit.models.parts.proposer import Proposer


class ProposalGraph(nn.Module):
    """From images to all anchors as boxes with scores: everything before the first NMS.

    What follows (the best of each level, NMS, pooling at boxes whose number the image decides) has
    shapes that depend on the data and stays outside.

    Args:
        backbone, fpn, rpn: of a detector in evaluation mode.
    """

    def __init__(self, backbone: nn.Module, fpn: nn.Module, rpn: Proposer) -> None:
        super().__init__()
        self.backbone, self.fpn, self.rpn = backbone, fpn, rpn

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes and scores of all anchors.

        Args:
            images: (B, 3, H, W) float32, normalised RGB, H and W multiples of 32.

        Returns:
            (B, A, 4) xyxy in px of the input, clipped to it, and (B, A) objectness in [0, 1]; level
            by level from P2 on, row by row.
        """
        size, count = (images.shape[-2], images.shape[-1]), images.shape[0]
        batch = Batch(images, (size,) * count, ((1.0, 1.0),) * count)
        return self.rpn.every_box(self.rpn(self.fpn(self.backbone(images)), batch), size)
