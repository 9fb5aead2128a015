"""Oriented R-CNN (Xie et al., ICCV 2021): oriented proposals, RoIAlign that turns with them."""

from __future__ import annotations

from torch import Tensor

from sodkit.data.batches import Batch
from sodkit.models.parts.oriented_rpn import OrientedRpn
from sodkit.models.parts.sampling import Shuffle
from sodkit.models.rcnn import Rcnn
from sodkit.settings import two_stage


class OrientedRcnn(Rcnn):
    """Midpoint offsets make oriented proposals; the head regresses in the frame of each.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    def __init__(self, config: two_stage.OrientedRcnn, classes: int) -> None:
        super().__init__(config)
        self.rpn = OrientedRpn(config.rpn, config.fpn.channels, config.fpn.strides)
        self.add_head(config.roi, classes, config.fpn.channels)

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return the weighted losses of the RPN and the head."""
        pyramid = self.fpn(self.backbone(batch.images))
        scored = self.rpn(pyramid, batch)
        losses: dict[str, Tensor] = self.rpn.losses(scored, batch, shuffle)
        rois = self.roi.sample(self.rpn.select(scored, batch), batch.targets, shuffle)
        return losses | self.roi.losses(self.see(pyramid, rois).output, rois, batch)

    @property
    def proposer(self) -> OrientedRpn:
        """The oriented RPN."""
        return self.rpn
