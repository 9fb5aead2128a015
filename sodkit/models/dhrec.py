"""DHRec (Nie and Huang, "Double Horizontal Rectangles", TPAMI 2022).

What is new in it: no angle. An oriented object is two upright rectangles, which its corners' sorted
coordinates make, and three factors that say which corner is where. All of these change continuously
when the object turns, so nothing that is learnt jumps. A second score, the confidence, says how
well the decoded box overlaps its object.
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
    anchors,
    coders,
    dense_detect,
    dense_matches,
    double_rectangles,
    ignored,
    losses,
    postprocess,
    rotated_coders,
)
from sodkit.models.parts.adaptive_matcher import match_adaptive
from sodkit.models.parts.backbone import Backbone
from sodkit.models.parts.box_iou import paired_iou
from sodkit.models.parts.dense_head import DenseHead, DenseOutput
from sodkit.models.parts.pyramid import StridedFpn
from sodkit.models.parts.regression import oriented_truth
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Keep, dhrec

COLUMNS = 11
"""Numbers regressed for each anchor: four deltas of A, four of B, obliquity, top, left."""


class Dhrec(DetectorModule):
    """P2.. with a coarser level from P5, and a dense head with confidence on all of them.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    def __init__(self, config: dhrec.Dhrec, classes: int) -> None:
        super().__init__()
        self.boxes = config.boxes
        self.config = config
        self.levels = config.anchor_levels()
        self.grid = Kept(anchors.grid)
        self.backbone = Backbone(config.backbone)
        self.fpn = StridedFpn(self.backbone.channels, config.channels, config.levels - 4, "output")
        self.head = DenseHead(
            config.channels, config.convs, 1, classes, config.focal.prior,
            centerness=True, columns=COLUMNS,
        )  # fmt: skip

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Return P2.. of images (B, 3, H, W): P6 is made from P5."""
        levels: list[Tensor] = self.fpn(self.backbone(images))
        return levels

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return the losses of classes, rectangles, factors and confidence; nothing is drawn.

        All but the confidence, which is a mean over the positives, are divided by the number of
        positives and images; the rectangles are A, B and the box around both.
        """
        output: DenseOutput = self.head(self.pyramid(batch.images))
        grid = self.grid(batch.padded, self.levels, batch.images.device)
        matched = dense_matches.of_batch(batch, [
            self.match(grid, *one) for one in zip(batch.targets, batch.sizes, strict=True)
        ], oriented_truth)  # fmt: skip
        rows, own = matched.rows, torch.cat(grid)[matched.anchors]
        logits = torch.cat(output.logits, 1).flatten(0, 1)[matched.used].float()
        deltas = torch.cat(output.deltas, 1).flatten(0, 1)[rows].float()
        assert output.centerness is not None
        confidence = torch.cat(output.centerness, 1).flatten()[rows].float()
        corners = rotated_coders.corners(matched.boxes)
        overlap = paired_iou(self.decode(own, deltas.detach()), matched.boxes)
        count = batch.step.total(len(rows) + len(batch.sizes))
        all_three = batch.step.total(3 * len(rows) + len(batch.sizes))
        positives = batch.step.total(len(rows))
        c = self.config
        return {
            "loss_cls": losses.focal(logits, matched.place, matched.labels, c.focal) / count,
            "loss_reg": self.giou(own, deltas, corners) / all_three * c.regression_weight,
            "loss_factor": F.smooth_l1_loss(
                deltas[:, 8:], double_rectangles.factors(corners), beta=c.factor_beta,
                reduction="sum",
            ) / count * c.factor_weight,
            "loss_confidence": F.binary_cross_entropy_with_logits(
                confidence, overlap.clamp(0, 1), reduction="sum"
            ) / positives * c.confidence_weight,
        }  # fmt: skip

    def rectangles(self, own: Tensor, deltas: Tensor) -> tuple[Tensor, Tensor]:
        """Return A and B (N, 4) of anchors (N, 4) and deltas (N, 11)."""
        stds = self.config.stds
        return coders.decode(own, deltas[:, :4], stds), coders.decode(own, deltas[:, 4:8], stds)

    def giou(self, own: Tensor, deltas: Tensor, corners: Tensor) -> Tensor:
        """Return the summed loss of A, B and the box around both, of objects (N, 4, 2)."""
        found, wanted = self.rectangles(own, deltas), double_rectangles.rectangles(corners)
        three = (torch.cat([*pair, double_rectangles.around(*pair)]) for pair in (found, wanted))
        return losses.giou_loss(*three).sum()

    def decode(self, own: Tensor, deltas: Tensor) -> Tensor:
        """Return the oriented boxes (N, 5) of anchors (N, 4) and deltas (N, 11); no gradient."""
        pair = self.rectangles(own, deltas)
        quads = double_rectangles.quadrilaterals(*pair, deltas[:, 8:].float())
        return rotated_coders.least_around(quads)

    def match(self, grid: list[Tensor], target: Target, size: tuple[int, int]) -> Tensor:
        """Return the match (N,) of every anchor of an image of ``size`` (height, width)."""
        every = torch.cat(grid)
        beyond = ignored.in_padding(coders.centre_and_size(every)[0], size)
        return match_adaptive(
            every, [len(level) for level in grid], target.boxes, target.ignore_boxes,
            self.config.candidates, beyond, oriented_truth(target),
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
            return self.decode(grid[level][rows], deltas)

        return dense_detect.candidates_each(output, batch, keep.score, self.config.pre, decode)
