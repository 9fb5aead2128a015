"""Faster R-CNN (Ren et al., NeurIPS 2015) on a pyramid: the baseline of the paper's tables.

Proposals come from the ordinary RPN, from CRPN (the paper's Cascade RPN), from an RPN on receptive
fields (RFLA) or on learnt anchors (GA-RPN). With an oriented box in the head it is Rotated Faster
R-CNN or Gliding Vertex; with imitation, the row "FI" of Table 5.
"""

from __future__ import annotations

from torch import Tensor

from sodkit.data.batches import Batch
from sodkit.models.parts.proposer import Proposer, proposer
from sodkit.models.parts.sampling import Shuffle
from sodkit.models.rcnn import Rcnn
from sodkit.settings import two_stage


class FasterRcnn(Rcnn):
    """Proposals and an R-CNN head.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    def __init__(self, config: two_stage.FasterRcnn, classes: int) -> None:
        super().__init__(config)
        channels, strides = config.fpn.channels, config.fpn.strides
        self.rpn = proposer(config.proposals, channels, strides)
        self.add_head(config.roi, classes, channels, config.imitation)

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return the weighted losses of the RPN, the head and, where there is one, imitation."""
        pyramid = self.fpn(self.backbone(batch.images))
        scored = self.rpn(pyramid, batch)
        losses: dict[str, Tensor] = self.rpn.losses(scored, batch, shuffle)
        proposals = self.rpn.select(scored, batch)
        seen = self.see(pyramid, self.roi.sample(proposals, batch.targets, shuffle))
        losses |= self.roi.losses(seen.output, seen.rois, batch)
        return losses | self.imitate(seen, pyramid, batch, shuffle)

    @property
    def proposer(self) -> Proposer:
        """The network that makes the proposals."""
        return self.rpn
