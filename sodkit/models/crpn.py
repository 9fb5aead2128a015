"""The coarse-to-fine RPN (paper 3.1): anchors -> refined anchors -> proposals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sodkit import settings
from sodkit.data.batches import Batch, Target
from sodkit.models import anchors, coders, losses, matchers, proposals
from sodkit.models.adaptive_conv import AdaptiveConv
from sodkit.models.matchers import Order
from sodkit.models.proposals import Proposals, Scored, Selection, by_location
from sodkit.models.rpn_losses import sampled_losses


@dataclass(frozen=True, slots=True, eq=False)
class Coarse:
    """Output of the coarse stage; lists hold one tensor a level.

    Attributes:
        anchors: (A_l, 4) the anchors of the grid.
        deltas: (B, A_l, 4) from the anchors.
        refined: (B, A_l, 4) decoded, clipped to each image, without gradient.
        features: (B, C, H_l, W_l) what the adaptive convolution samples.
    """

    anchors: list[Tensor]
    deltas: list[Tensor]
    refined: list[Tensor]
    features: list[Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class CrpnOutput:
    """Both stages."""

    coarse: Coarse
    fine: Scored


class Crpn(nn.Module):
    """Coarse regression of one anchor a location, then an RPN on aligned features.

    Args:
        config: thresholds, weights, numbers kept.
        channels: of the pyramid.
        strides: of its levels.
    """

    def __init__(self, config: settings.Crpn, channels: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        self.strides = tuple(strides)
        self.coarse_conv = nn.Conv2d(channels, channels, 3, padding=3, dilation=3)
        self.coarse_reg = nn.Conv2d(channels, 4, 1)
        self.fine_conv = AdaptiveConv(channels)
        self.fine_cls = nn.Conv2d(channels, 1, 1)
        self.fine_reg = nn.Conv2d(channels, 4, 1)
        proposals.init_heads(self.coarse_conv, self.coarse_reg, self.fine_cls, self.fine_reg)

    def forward(
        self, features: Sequence[Tensor], size: tuple[int, int], sizes: Sequence[tuple[int, int]]
    ) -> CrpnOutput:
        """Run both stages.

        Args:
            features: P2.. of the pyramid, (B, C, H_l, W_l).
            size: (height, width) of the padded batch.
            sizes: (height, width) of each image.
        """
        coarse = self.coarse(features, size, sizes)
        logits, deltas = [], []
        for feature, boxes, stride in zip(
            coarse.features, coarse.refined, self.strides, strict=True
        ):
            aligned = self.fine_conv(feature, boxes, stride).relu_()
            logits.append(by_location(self.fine_cls(aligned), 1)[..., 0])
            deltas.append(by_location(self.fine_reg(aligned), 4))
        return CrpnOutput(coarse, Scored(coarse.refined, logits, deltas))

    def coarse(
        self, features: Sequence[Tensor], size: tuple[int, int], sizes: Sequence[tuple[int, int]]
    ) -> Coarse:
        """Run the coarse stage alone; arguments as for ``forward``."""
        device = features[0].device
        grid = anchors.grid(*size, self.strides, self.config.anchor_scale, device=device)
        hidden = [self.coarse_conv(feature).relu_() for feature in features]
        deltas = [by_location(self.coarse_reg(feature), 4) for feature in hidden]
        refined = [self._refine(a, d, sizes) for a, d in zip(grid, deltas, strict=True)]
        return Coarse(grid, deltas, refined, hidden)

    @torch.no_grad()
    def _refine(self, grid: Tensor, deltas: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        boxes = coders.decode(grid, deltas, self.config.coarse_stds)
        return torch.stack([coders.clip(b, s) for b, s in zip(boxes, sizes, strict=True)])

    def proposals(
        self, output: CrpnOutput, sizes: Sequence[tuple[int, int]], limit: int | None = None
    ) -> list[Proposals]:
        """Return the proposals of each image, ``limit`` of them instead of the recipe's number."""
        how = Selection.of(self.config, training=self.training, limit=limit)
        return proposals.select(output.fine, sizes, self.config.fine_stds, how)

    def losses(self, output: CrpnOutput, batch: Batch, order: Order) -> dict[str, Tensor]:
        """Return ``loss_coarse_reg, loss_fine_cls, loss_fine_reg``, weighted (paper Eq. 2)."""
        c = self.config
        coarse = self._coarse_loss(output.coarse, batch)
        cls, reg = sampled_losses(output.fine, batch.targets, c.fine, order, self._fine_regression)
        return {
            "loss_coarse_reg": coarse,
            "loss_fine_cls": cls * c.classification_weight,
            "loss_fine_reg": reg * c.regression_weight,
        }

    def _fine_regression(self, anchor: Tensor, deltas: Tensor, truth: Tensor) -> Tensor:
        return losses.iou_loss(coders.decode(anchor, deltas, self.config.fine_stds), truth)

    def match_coarse(
        self, grid: Tensor, target: Target, scale: tuple[float, float]
    ) -> matchers.Matches:
        """Match all anchors (A, 4) of an image that was resized by ``scale`` (x, y)."""
        c = self.config
        if c.assignment == "region":
            return matchers.match_region(
                grid, target.boxes, target.ignore_boxes, c.region, c.anchor_scale, self.strides
            )
        sides = (target.boxes[:, 2:] - target.boxes[:, :2]) / target.boxes.new_tensor(scale)
        size = sides.prod(1).sqrt()
        return matchers.match_dynamic(
            grid,
            target.boxes,
            target.ignore_boxes,
            matchers.dynamic_threshold(c.threshold, size),
            match_best=c.match_best,
        )

    def _coarse_loss(self, coarse: Coarse, batch: Batch) -> Tensor:
        """IoU loss of all positive anchors; the sum is over anchors / ``coarse_normalizer``."""
        grid, deltas = torch.cat(coarse.anchors), torch.cat(coarse.deltas, 1)
        total = deltas.new_zeros((), dtype=torch.float32)
        for image, target in enumerate(batch.targets):
            gt = self.match_coarse(grid, target, batch.scales[image]).gt
            rows = torch.nonzero(gt >= 0)[:, 0]
            boxes = coders.decode(grid[rows], deltas[image, rows], self.config.coarse_stds)
            total = total + losses.iou_loss(boxes, target.boxes[gt[rows]])
        count = deltas.shape[0] * deltas.shape[1]
        return total * self.config.regression_weight * self.config.coarse_normalizer / count
