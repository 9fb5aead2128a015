"""The detector: backbone, pyramid, proposals, head. CFINet, or with parts off, Faster R-CNN."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sodkit import settings
from sodkit.data.batches import Batch, PatchDetections
from sodkit.data.records import BoxKind
from sodkit.models import matchers, rotated_coders
from sodkit.models.backbone import STRIDES, Backbone
from sodkit.models.crpn import Crpn
from sodkit.models.fpn import Fpn
from sodkit.models.matchers import Order
from sodkit.models.oriented_rpn import OrientedRpn
from sodkit.models.regression import regression
from sodkit.models.roi import RoiHead
from sodkit.models.rpn import Rpn


class Detector(nn.Module):
    """A two-stage detector with randomly initialised weights (``zoo.build`` loads pretrained ones).

    Args:
        config: the model part of a recipe.
        classes: number of classes; labels are 0..classes - 1.
        boxes: the kind of box it learns. Only targets, the head's regression and the NMS differ.

    Images may have any sizes; memory is laid out channels last. Under autocast, decoding, IoUs,
    softmax, norms and losses stay float32.
    """

    def __init__(self, config: settings.Model, classes: int, boxes: BoxKind = "horizontal") -> None:
        super().__init__()
        self.config = config
        self.boxes = boxes
        self.backbone = Backbone(config.backbone)
        self.fpn = Fpn(config.fpn, self.backbone.channels)
        strides = [STRIDES[0] * 2**level for level in range(config.fpn.levels)]
        channels = config.fpn.channels
        self.rpn: Crpn | Rpn
        if config.proposals == "crpn":
            self.rpn = Crpn(config.crpn, channels, strides)
        elif config.proposals == "rpn":
            self.rpn = Rpn(config.rpn, channels, strides)
        else:
            self.rpn = OrientedRpn(config.rpn, channels, strides)
        kind = regression(config.roi, boxes, config.proposals)
        self.roi = RoiHead(config.roi, config.imitation, classes, channels, STRIDES, kind)
        self.to(memory_format=torch.channels_last)

    def forward(self, batch: Batch, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Return the weighted losses of a batch with targets; their sum is what is minimised.

        ``loss_coarse_reg, loss_fine_cls, loss_fine_reg`` (with the ordinary RPN ``loss_rpn_cls,
        loss_rpn_reg`` instead), ``loss_cls, loss_reg``, and ``loss_imitation`` where enabled.
        Exemplars of high-quality objects are collected on the way.

        Args:
            batch: images and targets.
            generator: of all random sampling; None: torch's default one.
        """
        return self.losses(batch, matchers.random_order(generator))

    def losses(self, batch: Batch, order: Order) -> dict[str, Tensor]:
        """Return the losses with samples drawn by ``order``; see ``forward``."""
        if len(batch.targets) != len(batch.sizes):
            raise ValueError(f"{len(batch.targets)} targets for {len(batch.sizes)} images")
        pyramid = self.pyramid(batch.images)
        output = self.rpn(pyramid, _padded_size(batch), batch.sizes)
        result = self.rpn.losses(output, batch, order)
        proposals = self.rpn.proposals(output, batch.sizes)
        return result | self.roi.losses(pyramid, proposals, batch.targets, order)

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Return P2.. of images (B, 3, H, W)."""
        result: list[Tensor] = self.fpn(
            self.backbone(images.contiguous(memory_format=torch.channels_last))
        )
        return result

    @torch.no_grad()
    def detect(self, batch: Batch) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing."""
        pyramid = self.pyramid(batch.images)
        output = self.rpn(pyramid, _padded_size(batch), batch.sizes)
        proposals = self.rpn.proposals(output, batch.sizes)
        found = self.roi.detect(pyramid, proposals, batch.sizes)
        return [
            _in_patch(d.boxes, d.scores, d.labels, scale)
            for d, scale in zip(found, batch.scales, strict=True)
        ]

    @torch.no_grad()
    def propose(self, batch: Batch, limit: int) -> list[PatchDetections]:
        """Return the best ``limit`` class-agnostic proposals of each image, scored by objectness.

        In pixels of the patch before resizing; all labels are 0. Of an oriented detector they are
        oriented; upright ones have the angle 0 (or -pi/2, where they are taller than wide).
        """
        output = self.rpn(self.pyramid(batch.images), _padded_size(batch), batch.sizes)
        result = []
        for p, s in zip(self.rpn.proposals(output, batch.sizes, limit), batch.scales, strict=True):
            boxes = p.boxes
            if self.boxes == "oriented" and boxes.shape[1] == 4:
                boxes = rotated_coders.upright(boxes)
            label = torch.zeros_like(p.scores, dtype=torch.int64)
            result.append(_in_patch(boxes, p.scores, label, s))
        return result

    def embedding_parameters(self) -> list[nn.Parameter]:
        """Return the parameters of fc_enc and fc_proj, which have a learning rate of their own."""
        if self.roi.imitation is None:
            return []
        embed = self.roi.imitation.feat2embed
        return [*embed.fc_enc.parameters(), *embed.fc_proj.parameters()]


def _in_patch(
    boxes: Tensor, scores: Tensor, labels: Tensor, scale: tuple[float, float]
) -> PatchDetections:
    """Bring boxes (N, 4 or 5) back to the size before resizing by ``scale`` (x, y)."""
    if boxes.shape[1] == 4:
        return PatchDetections(boxes / boxes.new_tensor([*scale, *scale]), scores, labels)
    obb = rotated_coders.scale(boxes, (1 / scale[0], 1 / scale[1]))
    return PatchDetections(rotated_coders.enclosing(obb), scores, labels, obb)


def _padded_size(batch: Batch) -> tuple[int, int]:
    """Return (height, width) of the padded images."""
    return batch.images.shape[-2], batch.images.shape[-1]
