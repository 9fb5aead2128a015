"""CFINet (Yuan et al., ICCV 2023): read ``forward``, it is the paper's Figure 2 from left to right.

What is new in it: anchors are chosen by a threshold that grows with the object (coarse stage), so
that the smallest objects get positives; and the head's features of poorly seen objects are pulled
towards those of well seen ones of their class (imitation). Both act in training; at test time it
is Faster R-CNN on better proposals.
"""

from __future__ import annotations

from torch import Tensor

from sodkit.data.batches import Batch
from sodkit.models.parts.crpn import Crpn, CrpnOutput
from sodkit.models.parts.sampling import Shuffle
from sodkit.models.rcnn import Rcnn
from sodkit.settings import two_stage


class Cfinet(Rcnn):
    """Coarse-to-fine RPN, R-CNN head, feature imitation.

    Images may have any sizes; memory is laid out channels last. Under autocast, decoding, IoUs,
    softmax, norms and losses stay float32.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    def __init__(self, config: two_stage.Cfinet, classes: int) -> None:
        super().__init__(config)
        channels = config.fpn.channels
        self.crpn = Crpn(config.crpn, channels, config.fpn.strides)
        self.add_head(config.roi, classes, channels, config.imitation)

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return the six losses of paper Eq. 2 and 5, weighted; collects exemplars on the way."""
        pyramid = self.fpn(self.backbone(batch.images))  # P2..P5

        # CRPN, coarse stage: one anchor a location is regressed, without a look at its class.
        coarse = self.crpn.coarse(pyramid, batch)
        # CRPN, fine stage: features are sampled at the refined anchors, scored, regressed again.
        stages = CrpnOutput(coarse, self.crpn.fine(coarse))
        losses = self.crpn.losses(stages, batch, shuffle)  # coarse_reg, fine_cls, fine_reg

        # R-CNN head, on proposals drawn for training: RoIAlign on the pyramid, classes, boxes.
        proposals = self.crpn.select(stages, batch)
        seen = self.see(pyramid, self.roi.sample(proposals, batch.targets, shuffle))
        losses |= self.roi.losses(seen.output, seen.rois, batch)  # cls, reg

        # Feature imitation: objects that the head sees poorly learn from exemplars.
        return losses | self.imitate(seen, pyramid, batch, shuffle)  # imitation

    @property
    def proposer(self) -> Crpn:
        """CRPN."""
        return self.crpn
