"""S2A-Net (Han et al., "Align Deep Features for Oriented Object Detection", TGRS 2022).

What is new in it: one-stage, yet what is classified fits the object. A first head turns upright
anchors into oriented ones; a convolution samples the features inside these, along their axes; from
what it finds a second head, with filters that turn, classifies and regresses.

::

    level -+-> FAM: dense head --> refined anchors ---------------.        loss_fam_cls, _reg
           |                            |                         |
           '-------------------> AlignedConv --> ODM: rotating head --> classes, boxes
                                                                           loss_odm_cls, _reg

FAM (feature alignment module) and ODM (oriented detection module) are the paper's names. The scores
of the FAM are trained, but not used.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sodkit.data.batches import Batch, PatchDetections, Target
from sodkit.models.detector import DetectorModule
from sodkit.models.kernels.aligned_conv import AlignedConv
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.models.kernels.kept import Kept
from sodkit.models.parts import (
    anchor_losses,
    dense_detect,
    ignored,
    matchers,
    postprocess,
    rotated_anchor_match,
    rotated_coders,
)
from sodkit.models.parts.backbone import Backbone
from sodkit.models.parts.dense_head import DenseHead, DenseOutput
from sodkit.models.parts.pyramid import StridedFpn
from sodkit.models.parts.regression import oriented_truth
from sodkit.models.parts.rotating_head import RotatingHead
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Keep, rotated_dense


class S2ANet(DetectorModule):
    """P2.. with coarser levels by strided convolutions, and two heads, one after the other.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    def __init__(self, config: rotated_dense.S2ANet, classes: int) -> None:
        super().__init__()
        self.boxes = config.boxes
        self.config = config
        self.levels = config.anchor_levels()
        self.grid = Kept(rotated_anchor_match.grid)
        self.backbone = Backbone(config.backbone)
        self.first = config.first_level - 2
        inputs, width = self.backbone.channels[self.first :], config.channels
        self.fpn = StridedFpn(inputs, width, config.levels - len(inputs), "input")
        self.fam = DenseHead(width, config.convs, 1, classes, config.focal.prior, columns=5)
        self.align = nn.ModuleList(AlignedConv(width) for _ in range(config.levels))
        self.odm = RotatingHead(width, config.convs, classes, config.focal.prior)

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Return P2.. of images (B, 3, H, W): P6 is made from C5."""
        levels: list[Tensor] = self.fpn(self.backbone(images)[self.first :])
        return levels

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return the losses of both heads; nothing is drawn, all anchors count.

        Each is divided by the number of its head's positives, counted as at least one an image.
        """
        pyramid = self.pyramid(batch.images)
        first: DenseOutput = self.fam(pyramid)
        grid = self.grid(batch.padded, self.levels, batch.images.device)
        refined = self.decode(grid, first.deltas)
        second: DenseOutput = self.odm(self.aligned(pyramid, refined))
        same = [torch.cat(grid)] * len(batch.images)
        stages = (
            ("fam", first, same, self.config.fam),
            ("odm", second, list(torch.cat(refined, 1)), self.config.odm),
        )
        losses = {}
        for name, output, anchors, stage in stages:
            gts = self.match(anchors, same[0], batch, stage)
            cls, reg = self.stage_losses(output, anchors, gts, batch)
            losses[f"loss_{name}_cls"] = cls * stage.classification_weight
            losses[f"loss_{name}_reg"] = reg * stage.regression_weight
        return losses

    @torch.no_grad()
    def decode(self, anchors: Sequence[Tensor], deltas: Sequence[Tensor]) -> list[Tensor]:
        """Return the boxes (B, A_l, 5) of each level: w is the side that the deltas say.

        Args:
            anchors: (A_l, 5) or (B, A_l, 5).
            deltas: (B, A_l, 5).
        """
        stds, lowest = self.config.stds, self.config.lowest
        return [
            rotated_coders.move_rotated(own, delta, stds, lowest)
            for own, delta in zip(anchors, deltas, strict=True)
        ]

    def aligned(self, pyramid: Sequence[Tensor], refined: Sequence[Tensor]) -> list[Tensor]:
        """Return the features (B, C, H_l, W_l) inside the refined anchors."""
        levels = zip(self.align, pyramid, refined, self.config.strides, strict=True)
        return [F.relu(align(feature, boxes, stride)) for align, feature, boxes, stride in levels]

    def match(
        self, anchors: Sequence[Tensor], grid: Tensor, batch: Batch, stage: rotated_dense.Stage
    ) -> list[Tensor]:
        """Return the match (A,) of every anchor of each image.

        Args:
            anchors: (A, 5) of each image.
            grid: (A, 5) the anchors before they were refined: they say what is padding.
            batch: the images.
            stage: which head they are for.
        """
        if len(batch.targets) != len(batch.sizes):
            raise ValueError(f"{len(batch.targets)} targets for {len(batch.sizes)} images")
        beyond = [ignored.in_padding(grid[:, :2], size) for size in batch.sizes]
        # nothing overlaps an empty box: no object takes one of the padding as its best
        pairs = zip(anchors, beyond, strict=True)
        usable = [one.masked_fill(out[:, None], 0) for one, out in pairs]
        found = rotated_anchor_match.match_anchors(usable, batch.targets, stage.matching)
        return [
            one.gt.masked_fill(out, matchers.IGNORED)
            for one, out in zip(found, beyond, strict=True)
        ]

    def stage_losses(
        self, output: DenseOutput, anchors: Sequence[Tensor], gts: Sequence[Tensor], batch: Batch
    ) -> tuple[Tensor, Tensor]:
        """Return the focal loss of all anchors and the smooth L1 loss of the positives."""

        def regression(own: Tensor, deltas: Tensor, target: Target, objects: Tensor) -> Tensor:
            wanted = rotated_coders.encode_rotated(
                own, oriented_truth(target)[objects], self.config.stds, self.config.lowest
            )
            return F.smooth_l1_loss(deltas, wanted, beta=self.config.beta, reduction="sum")

        return anchor_losses.every_anchor(
            output, anchors, gts, batch, self.config.focal, regression
        )

    @torch.no_grad()
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing."""
        return postprocess.detections(self.candidates(batch, keep), batch, keep)

    def candidates(self, batch: Batch, keep: Keep) -> list[Candidates]:
        """Return the boxes of each image before NMS; see ``Exportable``."""
        pyramid = self.pyramid(batch.images)
        grid = self.grid(batch.padded, self.levels, batch.images.device)
        refined = self.decode(grid, self.fam.regress(pyramid))
        output: DenseOutput = self.odm(self.aligned(pyramid, refined))
        found = DenseOutput(output.logits, self.decode(refined, output.deltas))
        return dense_detect.candidates_each(
            found, batch, keep.score, self.config.pre, _as_they_are,
            dense_detect.of_best_anchors, self.config.outside,
        )  # fmt: skip


def _as_they_are(level: int, rows: Tensor, boxes: Tensor) -> Tensor:
    """Return boxes that are decoded already: each image has anchors of its own."""
    return boxes
