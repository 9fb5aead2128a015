"""ATSS (Zhang et al., CVPR 2020): each object sets the threshold that its anchors have to reach.

What is new in it: the paper finds that RetinaNet and FCOS differ by how positives are chosen, and
chooses them by the statistics of an object's nearest anchors. With that, one anchor a location is
enough; the head is FCOS'.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sodkit.data.batches import Batch, PatchDetections, Target
from sodkit.models.detector import DetectorModule
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.models.kernels.kept import Kept
from sodkit.models.parts import (
    anchors,
    coders,
    dense_detect,
    dense_matches,
    ignored,
    losses,
    points,
    postprocess,
)
from sodkit.models.parts.adaptive_matcher import match_adaptive
from sodkit.models.parts.backbone import Backbone
from sodkit.models.parts.dense_head import DenseHead, DenseOutput
from sodkit.models.parts.pyramid import StridedFpn
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Keep, atss, dyhead


class Atss(DetectorModule):
    """P3.. with coarser levels from P5, and a dense head with centerness on all of them.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    def __init__(self, config: atss.Atss | dyhead.DyHead, classes: int) -> None:
        super().__init__()
        self.boxes = config.boxes
        self.config = config
        self.levels = config.anchor_levels()
        self.grid = Kept(anchors.grid)
        self.backbone = Backbone(config.backbone)
        self.fpn = StridedFpn(
            self.backbone.channels[1:], config.channels, config.levels - 3, "output"
        )
        self.head = DenseHead(
            config.channels, config.convs, 1, classes, config.focal.prior,
            groups=config.groups, bias=False, centerness=True, scales=config.levels,
        )  # fmt: skip

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Return P3.. of images (B, 3, H, W): P6 is made from P5, P7 from P6."""
        levels: list[Tensor] = self.fpn(self.backbone(images)[1:])
        return levels

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return ``loss_cls``, ``loss_reg`` and ``loss_centerness``; nothing is drawn.

        Classes and centerness are divided by the number of positives, counted as at least one an
        image; boxes are weighted by their centerness, and divided by its sum.
        """
        output: DenseOutput = self.head(self.pyramid(batch.images))
        grid = self.grid(batch.padded, self.levels, batch.images.device)
        matched = dense_matches.of_batch(batch, [
            self.match(grid, *one) for one in zip(batch.targets, batch.sizes, strict=True)
        ])  # fmt: skip
        own = dense_matches.outputs(output, matched)
        anchor = torch.cat(grid)[matched.anchors]
        centre, _ = coders.centre_and_size(anchor)
        share = points.centerness(points.distances(centre, matched.boxes))
        giou = losses.giou_loss(coders.decode(anchor, own.deltas, self.config.stds), matched.boxes)
        cls = losses.focal(own.logits, matched.place, matched.labels, self.config.focal)
        reg = (giou * share).sum() * self.config.regression_weight
        count = batch.step.total(sum(max(1, number) for number in matched.counts))
        return {
            "loss_cls": cls / count,
            "loss_reg": reg / batch.step.total(share.sum()),
            "loss_centerness": losses.cross_entropy(own.centerness, share) / count,
        }

    def match(self, grid: list[Tensor], target: Target, size: tuple[int, int]) -> Tensor:
        """Return the match (N,) of every anchor of an image of ``size`` (height, width)."""
        every = torch.cat(grid)
        beyond = ignored.in_padding(coders.centre_and_size(every)[0], size)
        return match_adaptive(
            every, [len(level) for level in grid], target.boxes, target.ignore_boxes,
            self.config.candidates, beyond,
        )  # fmt: skip

    @torch.no_grad()
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing."""
        return postprocess.detections(self.candidates(batch, keep), batch, keep)

    def candidates(self, batch: Batch, keep: Keep) -> list[Candidates]:
        """Return the boxes of each image before NMS; see ``Exportable``."""
        output: DenseOutput = self.head(self.pyramid(batch.images))
        grid = self.grid(batch.padded, self.levels, batch.images.device)

        def decode(level: int, rows: Tensor, deltas: Tensor) -> Tensor:
            return coders.decode(grid[level][rows], deltas, self.config.stds)

        return dense_detect.candidates_each(output, batch, keep.score, self.config.pre, decode)
