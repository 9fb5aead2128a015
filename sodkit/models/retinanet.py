"""RetinaNet (Lin et al., ICCV 2017): all anchors are classified at once, by focal loss.

What is new in it: no proposals. Every anchor is trained on, nearly all as negatives, and the focal
loss gives the easy ones among them little weight.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sodkit.data.batches import Batch, PatchDetections, Target
from sodkit.models.detector import DetectorModule
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.models.kernels.kept import Kept
from sodkit.models.parts import (
    anchor_losses,
    anchors,
    coders,
    dense_detect,
    ignored,
    matchers,
    postprocess,
)
from sodkit.models.parts.backbone import Backbone
from sodkit.models.parts.dense_head import DenseHead, DenseOutput
from sodkit.models.parts.pyramid import StridedFpn
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Keep, dense


class RetinaNet(DetectorModule):
    """P3.. with coarser levels by strided convolutions, and a dense head on all of them.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    def __init__(self, config: dense.RetinaNet, classes: int) -> None:
        super().__init__()
        self.boxes = config.boxes
        self.config = config
        self.levels = config.anchor_levels()
        self.grid = Kept(anchors.grid)
        channels = config.channels
        self.backbone = Backbone(config.backbone)
        self.fpn = StridedFpn(self.backbone.channels[1:], channels, config.levels - 3, "input")
        self.head = DenseHead(
            channels, config.convs, len(self.levels[0].sizes), classes, config.focal.prior
        )

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Return P3.. of images (B, 3, H, W): P6 is made from C5, P7 from P6."""
        levels: list[Tensor] = self.fpn(self.backbone(images)[1:])
        return levels

    def see(self, images: Tensor) -> DenseOutput:
        """Return the head's output for images (B, 3, H, W)."""
        output: DenseOutput = self.head(self.pyramid(images))
        return output

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return ``loss_cls`` and ``loss_reg``; nothing is drawn, all anchors count.

        Both are divided by the number of positives, counted as at least one an image.
        """
        output = self.see(batch.images)
        grid = torch.cat(self.grid(batch.padded, self.levels, batch.images.device))
        if len(batch.targets) != len(batch.sizes):
            raise ValueError(f"{len(batch.targets)} targets for {len(batch.sizes)} images")
        gts = [self.match(grid, *one) for one in zip(batch.targets, batch.sizes, strict=True)]

        def regression(own: Tensor, deltas: Tensor, target: Target, objects: Tensor) -> Tensor:
            wanted = coders.encode(own, target.boxes[objects], self.config.stds)
            return F.l1_loss(deltas, wanted, reduction="sum")

        cls, reg = anchor_losses.every_anchor(
            output, [grid] * len(gts), gts, batch, self.config.focal, regression
        )
        return {"loss_cls": cls, "loss_reg": reg * self.config.regression_weight}

    def match(self, grid: Tensor, target: Target, size: tuple[int, int]) -> Tensor:
        """Return the match (A,) of every anchor of an image of ``size`` (height, width)."""
        rule = self.config.matching
        gt = matchers.match_iou(
            grid, target.boxes, target.ignore_boxes, positive=rule.positive,
            negative=rule.negative, low_quality=rule.low_quality,
        ).gt  # fmt: skip
        beyond = ignored.in_padding(coders.centre_and_size(grid)[0], size)
        return gt.masked_fill(beyond, matchers.IGNORED)

    @torch.no_grad()
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing."""
        return postprocess.detections(self.candidates(batch, keep), batch, keep)

    def candidates(self, batch: Batch, keep: Keep) -> list[Candidates]:
        """Return the boxes of each image before NMS; see ``Exportable``."""
        decode = self.decoder(batch.padded, batch.images.device)
        output = self.see(batch.images)
        return dense_detect.candidates_each(output, batch, keep.score, self.config.pre, decode)

    def decoder(self, size: tuple[int, int], device: torch.device) -> dense_detect.Decode:
        """Return how deltas become boxes, in inputs of ``size`` (height, width)."""
        grid = self.grid(size, self.levels, device)

        def decode(level: int, rows: Tensor, deltas: Tensor) -> Tensor:
            return coders.decode(grid[level][rows], deltas, self.config.stds)

        return decode
