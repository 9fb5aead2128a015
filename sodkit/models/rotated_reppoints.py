"""Rotated RepPoints: RepPoints (Yang et al., ICCV 2019) whose points span an oriented box.

What is new in it: no moments. The convex hull of the nine points is compared with the object, by
IoU in matching and by GIoU in the loss; a detection is the rectangle of least area around them. Its
pyramid begins at P2, and has group norms as the towers have::

    level -+- tower --------------------> deformable conv -> classes
           |                                   ^
           |                                   | offsets
           '- tower -+-> conv -> initial points -------- + ----> refined points -> rectangles
                     |                         | offsets ^
                     '-----------------> deformable conv -> moves
"""

from __future__ import annotations

import torch
from torch import Tensor

from sodkit.data.batches import Batch, PatchDetections
from sodkit.models.detector import DetectorModule
from sodkit.models.kernels.convex import convex_giou
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.models.kernels.kept import Kept
from sodkit.models.kernels.least_rectangle import least_around_points
from sodkit.models.parts import dense_detect, dense_matches, ignored, losses, postprocess
from sodkit.models.parts.backbone import Backbone
from sodkit.models.parts.convex_match import match_hulls
from sodkit.models.parts.dense_head import DenseOutput
from sodkit.models.parts.dense_matches import DenseMatches
from sodkit.models.parts.locations import Locations, grid, match_locations
from sodkit.models.parts.matchers import Matches
from sodkit.models.parts.pyramid import StridedFpn
from sodkit.models.parts.regression import oriented_truth
from sodkit.models.parts.reppoints_head import POINTS, PointSets, PointsHead
from sodkit.models.parts.rotated_coders import canonical
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Keep, rotated_points


class RotatedRepPoints(DetectorModule):
    """P2.. with coarser levels from C5, and a head of points on all of them.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    def __init__(
        self, config: rotated_points.RotatedRepPoints | rotated_points.OrientedRepPoints,
        classes: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.boxes = config.boxes
        self.config = config
        self.grid = Kept(grid)
        self.backbone = Backbone(config.backbone)
        self.first = config.first_level - 2
        inputs = self.backbone.channels[self.first :]
        self.fpn = StridedFpn(
            inputs, config.channels, config.levels - len(inputs), "input", groups=config.groups
        )
        self.head = PointsHead(
            config.channels, config.convs, classes, config.focal.prior,
            config.offset_gradient, config.groups,
        )  # fmt: skip

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Return P2.. of images (B, 3, H, W): P6 is made from C5."""
        levels: list[Tensor] = self.fpn(self.backbone(images)[self.first :])
        return levels

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return ``loss_cls``, ``loss_init`` and ``loss_refine``; nothing is drawn.

        The initial points are trained on the locations nearest to objects, the refined ones and the
        classes where the hulls of the initial points overlap objects. The class loss is divided by
        the number of these, counted as at least one an image; the others are means over the
        positives of each level.
        """
        output: PointSets = self.head(self.pyramid(batch.images))
        locations = self.locations(batch)
        initial, refined = (torch.cat(one, 1) for one in (output.initial, output.refined))
        nearest = self.nearest(batch, locations)
        matches = self.match_sets(initial, locations, batch)
        overlapping = dense_matches.of_batch(batch, [one.gt for one in matches], oriented_truth)
        logits = torch.cat(output.logits, 1).flatten(0, 1)[overlapping.used].float()
        cls = losses.focal(logits, overlapping.place, overlapping.labels, self.config.focal)
        first, second = (
            self.level_means(self.hull_loss(sets, matched, locations), matched, locations, batch)
            for sets, matched in ((initial, nearest), (refined, overlapping))
        )
        return {
            "loss_cls": cls / batch.step.total(sum(max(1, n) for n in overlapping.counts)),
            "loss_init": first * self.config.init_weight,
            "loss_refine": second * self.config.refine_weight,
        }

    def nearest(self, batch: Batch, locations: Locations) -> DenseMatches:
        """Return what the initial points of a batch are trained on."""
        config = self.config
        return dense_matches.of_batch(batch, [
            match_locations(locations, target, size, config.strides, config.level_scale)
            for target, size in zip(batch.targets, batch.sizes, strict=True)
        ], oriented_truth)  # fmt: skip

    @torch.no_grad()
    def match_sets(self, sets: Tensor, locations: Locations, batch: Batch) -> list[Matches]:
        """Match the initial points (B, N, 9, 2) of every location to the objects of their image."""
        if self.config.matching.transposed:
            sets = sets.flip(-1)
        placed = in_pixels(sets, locations.at, locations.stride)
        beyond = [ignored.in_padding(locations.at, size) for size in batch.sizes]
        return match_hulls(list(placed), batch.targets, beyond, self.config.matching)

    def hull_loss(self, sets: Tensor, matched: DenseMatches, locations: Locations) -> Tensor:
        """Return 1 - GIoU (P,) of the hulls of the positives among points (B, N, 9, 2)."""
        own, boxes = about_location(sets, matched, locations)
        return 1 - convex_giou(own, boxes).float()

    def level_means(
        self, each: Tensor, matched: DenseMatches, locations: Locations, batch: Batch
    ) -> Tensor:
        """Return the sum over the levels of the mean of ``each`` (P,) of a level's positives."""
        level = locations.level[matched.anchors]
        share = 1 / level_counts(level, locations, batch)
        return (each * share[level]).sum()

    @torch.no_grad()
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing."""
        return postprocess.detections(self.candidates(batch, keep), batch, keep)

    def candidates(self, batch: Batch, keep: Keep) -> list[Candidates]:
        """Return the boxes of each image before NMS; see ``Exportable``."""
        output: PointSets = self.head(self.pyramid(batch.images))
        locations = self.locations(batch)
        at = torch.split(locations.at, [len(one[0]) for one in output.logits])

        def decode(level: int, rows: Tensor, deltas: Tensor) -> Tensor:
            stride = self.config.strides[level]
            return rectangles(deltas.reshape(-1, POINTS, 2), at[level][rows], stride)

        found = DenseOutput(output.logits, [sets.flatten(2) for sets in output.refined])
        return dense_detect.candidates_each(
            found, batch, keep.score, self.config.pre, decode,
            dense_detect.of_best_anchors, self.config.outside,
        )  # fmt: skip

    def locations(self, batch: Batch) -> Locations:
        """Return the locations of all levels."""
        return self.grid(batch.padded, self.config.strides, batch.images.device)


def in_pixels(sets: Tensor, at: Tensor, stride: Tensor) -> Tensor:
    """Return points (..., N, 9, 2), (x, y) in px, of ``sets``, (y, x) in strides from locations.

    Args:
        sets: (..., N, 9, 2).
        at: (N, 2) the locations, (x, y) in px.
        stride: (N, 1) px.
    """
    return at[:, None] + sets.flip(-1) * stride[:, None]


def rectangles(sets: Tensor, at: Tensor, stride: int) -> Tensor:
    """Return the canonical rectangles (N, 5) of least area, in px; args as of ``in_pixels``."""
    boxes = least_around_points(sets.flip(-1)).float()
    return canonical(
        torch.cat([at + boxes[:, :2] * stride, boxes[:, 2:4] * stride, boxes[:, 4:]], 1)
    )


def about_location(
    sets: Tensor, matched: DenseMatches, locations: Locations
) -> tuple[Tensor, Tensor]:
    """Return the positives' points (P, 9, 2) and objects (P, 5), (x, y) in strides of theirs.

    Seen from the location numbers are small, so that no digits are lost far from the origin.
    """
    at, stride = locations.at[matched.anchors], locations.stride[matched.anchors]
    boxes = matched.boxes
    placed = [(boxes[:, :2] - at) / stride, boxes[:, 2:4] / stride, boxes[:, 4:]]
    return sets.flatten(0, 1)[matched.rows].flip(-1), torch.cat(placed, 1)


def level_counts(
    level: Tensor, locations: Locations, batch: Batch, each: Tensor | None = None
) -> Tensor:
    """Return how many rows are of each level (L,) in the whole step, one at least.

    Args:
        level: (P,) of the rows.
        locations: of all levels.
        batch: the images of this part of the step.
        each: (P,) int64, as how many a row counts; None: one.
    """
    each = torch.ones_like(level) if each is None else each
    counts = torch.zeros(len(locations.shapes), dtype=torch.int64, device=level.device)
    total = batch.step.total(counts.index_add(0, level, each))
    return counts.float() + total  # a total that is not known yet is a number
