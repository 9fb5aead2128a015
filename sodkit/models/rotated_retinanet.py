"""Rotated RetinaNet, the one-stage baseline of the SODA-A benchmark (RetinaNet: Lin et al., 2017).

RetinaNet with upright anchors that learn oriented boxes: anchors are matched by rotated IoU, and
regress the angle to the nearer description of the object, beside centre and sides. Its pyramid
begins at P2, where the smallest anchor has 4 px.
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
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Keep, rotated_dense


class RotatedRetinaNet(DetectorModule):
    """P2.. with coarser levels by strided convolutions, and a dense head of five deltas an anchor.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    def __init__(self, config: rotated_dense.RotatedRetinaNet, classes: int) -> None:
        super().__init__()
        self.boxes = config.boxes
        self.config = config
        self.levels = config.anchor_levels()
        self.grid = Kept(rotated_anchor_match.grid)
        self.backbone = Backbone(config.backbone)
        self.first = config.first_level - 2
        inputs = self.backbone.channels[self.first :]
        self.fpn = StridedFpn(inputs, config.channels, config.levels - len(inputs), "input")
        self.head = DenseHead(
            config.channels, config.convs, len(self.levels[0].sizes), classes,
            config.focal.prior, columns=5,
        )  # fmt: skip

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Return P2.. of images (B, 3, H, W): P6 is made from C5."""
        levels: list[Tensor] = self.fpn(self.backbone(images)[self.first :])
        return levels

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return ``loss_cls`` and ``loss_reg``; nothing is drawn, all anchors count.

        Both are divided by the number of positives, counted as at least one an image.
        """
        output: DenseOutput = self.head(self.pyramid(batch.images))
        grid = torch.cat(self.grid(batch.padded, self.levels, batch.images.device))
        gts = self.match(grid, batch)

        def regression(own: Tensor, deltas: Tensor, target: Target, objects: Tensor) -> Tensor:
            truth = oriented_truth(target)[objects]
            wanted = rotated_coders.encode_rotated(own, truth, self.config.stds)
            return F.l1_loss(deltas, wanted, reduction="sum")

        cls, reg = anchor_losses.every_anchor(
            output, [grid] * len(gts), gts, batch, self.config.focal, regression
        )
        return {"loss_cls": cls, "loss_reg": reg * self.config.regression_weight}

    def match(self, grid: Tensor, batch: Batch) -> list[Tensor]:
        """Return the match (A,) of every anchor (A, 5) of each image."""
        if len(batch.targets) != len(batch.sizes):
            raise ValueError(f"{len(batch.targets)} targets for {len(batch.sizes)} images")
        same = [grid] * len(batch.targets)
        found = rotated_anchor_match.match_anchors(same, batch.targets, self.config.matching)
        return [
            one.gt.masked_fill(ignored.in_padding(grid[:, :2], size), matchers.IGNORED)
            for one, size in zip(found, batch.sizes, strict=True)
        ]

    @torch.no_grad()
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing."""
        return postprocess.detections(self.candidates(batch, keep), batch, keep)

    def candidates(self, batch: Batch, keep: Keep) -> list[Candidates]:
        """Return the boxes of each image before NMS; see ``Exportable``."""
        output: DenseOutput = self.head(self.pyramid(batch.images))
        grid = self.grid(batch.padded, self.levels, batch.images.device)

        def decode(level: int, rows: Tensor, deltas: Tensor) -> Tensor:
            return rotated_coders.decode_rotated(grid[level][rows], deltas, self.config.stds)

        return dense_detect.candidates_each(
            output, batch, keep.score, self.config.pre, decode,
            dense_detect.of_best_anchors, self.config.outside,
        )  # fmt: skip
