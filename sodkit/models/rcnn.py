"""What the two-stage detectors share: backbone and pyramid, head, imitation; not ``forward``."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from sodkit.data.batches import Batch, PatchDetections
from sodkit.models.detector import DetectorModule, ParameterGroup
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.models.parts import postprocess
from sodkit.models.parts.backbone import STRIDES, Backbone
from sodkit.models.parts.imitation import Imitation, Rows, Truth
from sodkit.models.parts.proposer import Proposer
from sodkit.models.parts.pyramid import Fpn
from sodkit.models.parts.roi_head import HeadOutput, RoiHead, Sampled
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Keep, dodet, roi_transformer, two_stage

Config = (
    two_stage.Cfinet
    | two_stage.FasterRcnn
    | two_stage.OrientedRcnn
    | dodet.Dodet
    | roi_transformer.RoiTransformer
)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What the head makes of N proposals that are trained on.

    Attributes:
        rois: the proposals.
        features: (N, C, S, S) their RoI features as pooled.
        compressed: (N, C) Feat2Embed's convolutions of them, None: not needed so far.
        output: classes and boxes.
    """

    rois: Sampled
    features: Tensor
    compressed: Tensor | None
    output: HeadOutput


class TwoStage(DetectorModule):
    """Backbone and pyramid, and a network that makes proposals of them.

    Args:
        config: settings of all parts.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.boxes = config.boxes
        self.backbone = Backbone(config.backbone)
        self.fpn = Fpn(self.backbone.channels, config.fpn.channels, extra=config.fpn.levels - 4)

    @property
    @abstractmethod
    def proposer(self) -> Proposer:
        """The network that makes the proposals."""

    @torch.no_grad()
    def propose(self, batch: Batch, limit: int) -> list[PatchDetections]:
        """Return the best ``limit`` proposals of each image, scored by objectness."""
        pyramid = self.fpn(self.backbone(batch.images))
        proposals = self.proposer.propose(pyramid, batch, limit)
        return [
            postprocess.unlabelled(p.boxes, p.scores, scale, oriented=self.boxes == "oriented")
            for p, scale in zip(proposals, batch.scales, strict=True)
        ]


class Rcnn(TwoStage):
    """Proposals, and an R-CNN head that classifies them.

    A detector adds its proposal network between ``__init__`` and ``add_head``: the initial weights
    are drawn in the order of the parts.
    """

    def add_head(
        self,
        config: two_stage.RoiHead | two_stage.OrientedRoiHead,
        classes: int,
        channels: int,
        imitation: two_stage.Imitation | None = None,
    ) -> None:
        """Add the R-CNN head on P2..P5 of ``channels`` and, where there are settings, imitation."""
        self.roi = RoiHead(config, classes, channels, STRIDES)
        self.imitation = None
        if imitation is not None:
            self.imitation = Imitation(imitation, classes, channels, config.pool)
        self.roi.reset()

    def see(self, pyramid: Sequence[Tensor], rois: Sampled) -> Seen:
        """Pool the features of proposals, classify and regress them."""
        features = self.roi.pool(pyramid, rois.boxes, rois.image)
        prepared, compressed = self._prepare(features)
        return Seen(rois, features, compressed, self.roi(prepared))

    def imitate(
        self, seen: Seen, pyramid: Sequence[Tensor], batch: Batch, shuffle: Shuffle
    ) -> dict[str, Tensor]:
        """Return ``loss_imitation``, weighted, and collect exemplars; nothing if it is off."""
        if self.imitation is None:
            return {}
        iou = self.roi.quality_iou(
            seen.output, seen.rois, batch.targets, self.imitation.config.iq_iou
        )
        rows = Rows.of(seen.rois, seen.features, seen.compressed, seen.output.logits, iou)
        pool = partial(self.roi.pool, pyramid)
        loss = self.imitation.loss(rows, Truth.of(batch.targets), pool, shuffle, batch.step)
        return {"loss_imitation": loss}

    def drop_unused(self) -> None:
        """Give back the exemplars; see ``DropsUnused``."""
        if self.imitation is not None:
            self.imitation.exemplars.drop()

    def _prepare(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return RoI features as the head gets them (``Imitation.prepare``)."""
        return (features, None) if self.imitation is None else self.imitation.prepare(features)

    @torch.no_grad()
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing."""
        return postprocess.detections(self.candidates(batch, keep), batch, keep)

    def candidates(self, batch: Batch, keep: Keep) -> list[Candidates]:
        """Return the boxes of each image before NMS; see ``Exportable``."""
        pyramid = self.fpn(self.backbone(batch.images))
        proposals = self.proposer.propose(pyramid, batch)

        def see(boxes: Tensor, image: Tensor) -> HeadOutput:
            output: HeadOutput = self.roi(self._prepare(self.roi.pool(pyramid, boxes, image))[0])
            return output

        return self.roi.candidates(proposals, batch, keep, see)

    def groups(self) -> list[ParameterGroup]:
        """Return Feat2Embed's FCs with the factor on their learning rate."""
        if self.imitation is None:
            return []
        return [ParameterGroup(self.imitation.fully_connected(), self.imitation.config.rate)]
