"""GA-RPN (Wang et al., CVPR 2019): where anchors stand and how they are shaped is learnt.

    P_l -> conv -> x --+-> location: is the centre of an object here?         loss_location
                       +-> shape: sides of the one anchor here                loss_shape
                       |     | without gradient: offsets
                       '-> deformable convolution -> y -+-> objectness        loss_rpn_cls
                                                        '-> deltas            loss_rpn_reg

Proposals are decoded from the guided anchors, at locations that are likely enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sodkit.data.batches import Batch, Target
from sodkit.models.kernels.deformable_conv import DeformableConv
from sodkit.models.kernels.kept import Kept
from sodkit.models.parts import anchors, coders, losses, matchers, sampling, selection
from sodkit.models.parts.best_left import NEGATIVE
from sodkit.models.parts.dense_head import init_dense
from sodkit.models.parts.rpn_losses import match_by_iou, sampled_losses
from sodkit.models.parts.sampling import Shuffle
from sodkit.models.parts.selection import Proposals, Scored, Selection, by_location
from sodkit.settings import proposers

_TAPS = 9
_GROUPS = 4
"""Of channels that share offsets (release)."""

_NEGATIVE_WEIGHT = 0.1
"""Of a location that is no centre, in the location loss (release)."""


@dataclass(frozen=True, slots=True, eq=False)
class GuidedOutput:
    """Output of the network; lists hold one tensor a level.

    Attributes:
        squares: (A_l, 4) xyxy, the squares that the anchors are shaped from, one a location.
        location: (B, A_l) logits.
        shapes: (B, A_l, 2) logarithms of the anchors' sides over the squares', over their std.
        scored: the guided anchors, without gradient, with objectness and deltas.
    """

    squares: list[Tensor]
    location: list[Tensor]
    shapes: list[Tensor]
    scored: Scored


class GuidedRpn(nn.Module):
    """An RPN that makes its own anchors, one a location at most.

    Args:
        config: squares, matching, weights, numbers kept.
        channels: of the pyramid, a multiple of 4.
        strides: of its levels.
    """

    def __init__(self, config: proposers.Guided, channels: int, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.config = config
        self.levels = config.anchor_levels(strides)
        self.shape_levels = config.shape_levels(strides)
        self.grid = Kept(anchors.grid)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.location = nn.Conv2d(channels, 1, 1)
        self.shape = nn.Conv2d(channels, 2, 1)
        self.offset = nn.Conv2d(2, _GROUPS * _TAPS * 2, 1, bias=False)
        self.adapt = DeformableConv(channels, channels)
        self.cls = nn.Conv2d(channels, 1, 1)
        self.reg = nn.Conv2d(channels, 4, 1)
        init_dense(self, self.location, config.focal.prior)
        nn.init.normal_(self.offset.weight, std=0.1)
        nn.init.normal_(self.adapt.weight, std=0.01)

    def forward(self, pyramid: Sequence[Tensor], batch: Batch) -> GuidedOutput:
        """Make an anchor at every location of P2.. (B, C, H_l, W_l), score and regress it."""
        squares = self.grid(batch.padded, self.levels, pyramid[0].device)
        location, shapes, guided, logits, deltas = [], [], [], [], []
        for feature, square in zip(pyramid, squares, strict=True):
            x = self.conv(feature).relu_()
            location.append(by_location(self.location(x), 1)[..., 0])
            shape = self.shape(x)
            shapes.append(by_location(shape, 2))
            # objectness and deltas are learnt on the anchors as they are: they do not shape them
            offsets = self.offset(shape.detach())
            guided.append(self.anchors(square, shapes[-1].detach()))
            y = self.adapt(x, offsets).relu_()
            logits.append(by_location(self.cls(y), 1)[..., 0])
            deltas.append(by_location(self.reg(y), 4))
        return GuidedOutput(squares, location, shapes, Scored(guided, logits, deltas))

    def anchors(self, squares: Tensor, shapes: Tensor) -> Tensor:
        """Return the guided anchors (..., 4) of squares (..., 4) by shapes (..., 2)."""
        return coders.resize(squares, shapes.float() * self.config.shape_std)

    def propose(
        self, pyramid: Sequence[Tensor], batch: Batch, limit: int | None = None
    ) -> list[Proposals]:
        """Run the network, then ``select``."""
        return self.select(self(pyramid, batch), batch, limit)

    def select(
        self, output: GuidedOutput, batch: Batch, limit: int | None = None
    ) -> list[Proposals]:
        """Return the proposals of each image, ``limit`` of them instead of the recipe's number."""
        how = Selection.of(self.config, training=self.training, limit=limit)
        likely = None if self.training else self.likely(output)
        return selection.select(output.scored, batch.sizes, self.config.stds, how, likely=likely)

    def likely(self, output: GuidedOutput) -> list[Tensor]:
        """Return for each level (B, A_l) bool: the location may have an anchor at test time."""
        sign = -1 if self.config.location == "inverted" else 1
        threshold = self.config.location_threshold
        return [(sign * each.float()).sigmoid() >= threshold for each in output.location]

    def losses(self, output: GuidedOutput, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return ``loss_location, loss_shape, loss_rpn_cls, loss_rpn_reg``, weighted."""
        c = self.config
        cls, reg = sampled_losses(
            output.scored, batch, self.match, c.matching, shuffle, self._regression
        )
        return {
            "loss_location": self.location_loss(output, batch) * c.location_weight,
            "loss_shape": self.shape_loss(output, batch, shuffle) * c.shape_weight,
            "loss_rpn_cls": cls * c.classification_weight,
            "loss_rpn_reg": reg * c.regression_weight,
        }

    def match(self, grid: Tensor, target: Target, size: tuple[int, int]) -> Tensor:
        """Return the match (A,) of every guided anchor of an image."""
        return match_by_iou(self.config.matching, grid, target)

    def _regression(self, anchor: Tensor, deltas: Tensor, truth: Tensor) -> Tensor:
        wanted = coders.encode(anchor, truth, self.config.stds)
        return F.smooth_l1_loss(deltas.float(), wanted, reduction="sum")

    def match_location(self, squares: Tensor, target: Target) -> Tensor:
        """Return the match (A,) of every location: the object whose centre region it is in."""
        return matchers.match_region(
            squares, target.boxes, target.ignore_boxes, self.config.region, self.config.scale,
            [level.stride for level in self.levels], beside="negatives",
        ).gt  # fmt: skip

    def location_loss(self, output: GuidedOutput, batch: Batch) -> Tensor:
        """Focal loss of all locations but the ignored; negatives count a tenth.

        mmdetection from 2.0 on takes the labels the wrong way round: 0, the label of what is no
        centre, has become the label of its one class. ``location: released`` repeats that.
        """
        squares = torch.cat(output.squares)
        logits = torch.cat(output.location, 1).float()
        gts = torch.stack([self.match_location(squares, target) for target in batch.targets])
        weight = (gts >= 0) + _NEGATIVE_WEIGHT * (gts == NEGATIVE)
        wanted = (gts >= 0) == (self.config.location == "centres")
        each = losses.focal_each(logits, wanted.float(), self.config.focal)
        count = batch.step.total(logits.numel())
        return (each * weight).sum() * self.config.location_normalizer / count

    def match_shape(self, squares: Tensor, shapes: Tensor, target: Target) -> Tensor:
        """Return the match (A,) of every location by its best IoU with boxes of many shapes."""
        return match_by_iou(self.config.shape_matching, squares, target, shapes=shapes)

    def shape_loss(self, output: GuidedOutput, batch: Batch, shuffle: Shuffle) -> Tensor:
        """Bounded IoU loss of the anchors' sides at sampled positives, over all samples."""
        squares, shapes = torch.cat(output.squares), torch.cat(output.shapes, 1)
        many = self.grid(batch.padded, self.shape_levels, squares.device)
        boxes = torch.cat(many).reshape(len(squares), -1, 4)
        gts = [self.match_shape(squares, boxes, target) for target in batch.targets]
        chosen = sampling.sample(gts, self.config.shape_matching, shuffle)
        total, count = shapes.new_zeros((), dtype=torch.float32), 0
        for image, (target, gt) in enumerate(zip(batch.targets, gts, strict=True)):
            rows, negatives = chosen[image]
            anchor = self.anchors(squares[rows], shapes[image, rows])
            total = total + losses.bounded_iou(anchor, target.boxes[gt[rows]])
            count += max(1, len(rows)) + max(1, len(negatives))
        return total / batch.step.total(count)
