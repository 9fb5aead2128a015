"""RepPoints (Yang et al., ICCV 2019): an object is a set of nine points, not a box.

What is new in it: each location places nine points, a deformable convolution samples the features
there, and from these the points are moved once more and classified. Boxes are what the points
span; only they are compared with the ground truth.

::

    level -+- tower --------------------> deformable conv -> classes
           |                                   ^
           |                                   | offsets
           '- tower -+-> conv -> initial points -------- + ----> refined points -> boxes
                     |                         | offsets ^
                     '-----------------> deformable conv -> moves
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sodkit.data.batches import Batch, PatchDetections, Target
from sodkit.models.detector import DetectorModule
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.models.kernels.kept import Kept
from sodkit.models.parts import dense_detect, dense_matches, ignored, losses, matchers, postprocess
from sodkit.models.parts.backbone import Backbone
from sodkit.models.parts.dense_head import DenseOutput
from sodkit.models.parts.dense_matches import DenseMatches
from sodkit.models.parts.locations import Locations, grid, match_locations
from sodkit.models.parts.matchers import IGNORED
from sodkit.models.parts.pyramid import StridedFpn
from sodkit.models.parts.reppoints_head import PointSets, RepPointsHead
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Keep, reppoints


class RepPoints(DetectorModule):
    """P3.. with coarser levels from C5, and a head of points on all of them.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    def __init__(self, config: reppoints.RepPoints, classes: int) -> None:
        super().__init__()
        self.boxes = config.boxes
        self.config = config
        self.grid = Kept(grid)
        self.backbone = Backbone(config.backbone)
        self.fpn = StridedFpn(
            self.backbone.channels[1:], config.channels, config.levels - 3, "input"
        )
        self.head = RepPointsHead(
            config.channels, config.convs, classes, config.focal.prior,
            config.offset_gradient, config.moment_gradient,
        )  # fmt: skip

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Return P3.. of images (B, 3, H, W): P6 is made from C5, P7 from P6."""
        levels: list[Tensor] = self.fpn(self.backbone(images)[1:])
        return levels

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return ``loss_cls``, ``loss_init`` and ``loss_refine``; nothing is drawn.

        The initial points are trained on the locations nearest to objects, the refined ones and the
        classes where the boxes of the initial points overlap objects. Each is divided by the
        number of positives of its stage, counted as at least one an image.
        """
        output: PointSets = self.head(self.pyramid(batch.images))
        locations = self.locations(batch)
        initial, refined = (torch.cat(one, 1) for one in (output.initial, output.refined))
        with torch.no_grad():
            boxes = self.in_pixels(initial, locations.at, locations.stride)
        images = list(zip(boxes, batch.targets, batch.sizes, strict=True))
        nearest = dense_matches.of_batch(batch, [
            self.match_locations(locations, target, size) for _, target, size in images
        ])  # fmt: skip
        overlapping = dense_matches.of_batch(batch, [
            self.match_boxes(own, locations, target, size) for own, target, size in images
        ])  # fmt: skip
        logits = torch.cat(output.logits, 1).flatten(0, 1)[overlapping.used].float()
        cls = losses.focal(logits, overlapping.place, overlapping.labels, self.config.focal)
        first = self.box_loss(initial, nearest, locations) * self.config.init_weight
        second = self.box_loss(refined, overlapping, locations) * self.config.refine_weight
        count, count_refined = (
            batch.step.total(sum(max(1, number) for number in matched.counts))
            for matched in (nearest, overlapping)
        )
        return {
            "loss_cls": cls / count_refined,
            "loss_init": first / count,
            "loss_refine": second / count_refined,
        }

    def match_locations(
        self, locations: Locations, target: Target, size: tuple[int, int]
    ) -> Tensor:
        """Return the match (N,) of every location of an image of ``size`` (height, width)."""
        config = self.config
        return match_locations(locations, target, size, config.strides, config.level_scale)

    def match_boxes(
        self, boxes: Tensor, locations: Locations, target: Target, size: tuple[int, int]
    ) -> Tensor:
        """Return the match (N,) of every location by the box (N, 4) of its initial points."""
        rule = self.config.matching
        beyond = ignored.in_padding(locations.at, size)
        # nothing overlaps an empty box: no object takes one of the padding as its best
        gt = matchers.match_iou(
            boxes.masked_fill(beyond[:, None], 0), target.boxes, target.ignore_boxes,
            positive=rule.positive, negative=rule.negative, low_quality=rule.low_quality,
            claim_apart=rule.claim_apart,
        ).gt  # fmt: skip
        return gt.masked_fill(beyond, IGNORED)

    def box_loss(self, sets: Tensor, matched: DenseMatches, locations: Locations) -> Tensor:
        """Return the summed smooth L1 loss of the boxes that points (B, N, 9, 2) span."""
        stride = locations.stride[matched.anchors]
        own = sets.flatten(0, 1)[matched.rows]
        boxes = self.in_pixels(own, locations.at[matched.anchors], stride)
        unit = stride * self.config.loss_scale
        return F.smooth_l1_loss(
            boxes / unit, matched.boxes / unit, beta=self.config.beta, reduction="sum"
        )

    def in_pixels(self, sets: Tensor, at: Tensor, stride: Tensor | int) -> Tensor:
        """Return the boxes (..., 4) xyxy in px that points (..., 9, 2) span.

        Args:
            sets: (y, x) in strides from their location.
            at: (..., 2) the locations, (x, y) in px.
            stride: (..., 1) or a number, px.
        """
        return torch.cat([at, at], -1) + self.head.boxes(sets) * stride

    @torch.no_grad()
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing."""
        return postprocess.detections(self.candidates(batch, keep), batch, keep)

    def candidates(self, batch: Batch, keep: Keep) -> list[Candidates]:
        """Return the boxes of each image before NMS; see ``Exportable``."""
        output: PointSets = self.head(self.pyramid(batch.images))
        at = torch.split(self.locations(batch).at, [len(one[0]) for one in output.logits])
        boxes = [self.head.boxes(sets) for sets in output.refined]

        def decode(level: int, rows: Tensor, deltas: Tensor) -> Tensor:
            centre = at[level][rows]
            return torch.cat([centre, centre], -1) + deltas * self.config.strides[level]

        found = DenseOutput(output.logits, boxes)
        return dense_detect.candidates_each(found, batch, keep.score, self.config.pre, decode)

    def locations(self, batch: Batch) -> Locations:
        """Return the locations of all levels."""
        return self.grid(batch.padded, self.config.strides, batch.images.device)
