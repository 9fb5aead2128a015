"""The coarse-to-fine RPN (paper 3.1): anchors -> refined anchors -> proposals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sodkit.data.batches import Batch, Target
from sodkit.models.kernels.adaptive_conv import AdaptiveConv
from sodkit.models.kernels.constants import constant
from sodkit.models.kernels.kept import Kept
from sodkit.models.parts import anchors, coders, losses, matchers, selection
from sodkit.models.parts.ignored import settled
from sodkit.models.parts.pyramid import coarsest_first
from sodkit.models.parts.rpn_losses import match_by_iou, sampled_losses
from sodkit.models.parts.sampling import Shuffle
from sodkit.models.parts.selection import Proposals, Scored, Selection, by_location
from sodkit.settings import proposers


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

    def __init__(self, config: proposers.Crpn, channels: int, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.config = config
        self.levels = config.anchor_levels(strides)
        self.grid = Kept(anchors.grid)
        self.coarse_conv = nn.Conv2d(channels, channels, 3, padding=3, dilation=3)
        self.coarse_reg = nn.Conv2d(channels, 4, 1)
        self.fine_conv = AdaptiveConv(channels)
        self.fine_cls = nn.Conv2d(channels, 1, 1)
        self.fine_reg = nn.Conv2d(channels, 4, 1)
        selection.init_heads(self.coarse_conv, self.coarse_reg, self.fine_cls, self.fine_reg)

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the levels in px."""
        return tuple(level.stride for level in self.levels)

    def forward(self, pyramid: Sequence[Tensor], batch: Batch) -> CrpnOutput:
        """Run both stages on P2.. of the pyramid, (B, C, H_l, W_l)."""
        coarse = self.coarse(pyramid, batch)
        mine = replace(coarse, features=[*coarse.features])  # the fine stage may empty the list
        return CrpnOutput(coarse, self.fine(mine))

    def propose(
        self, pyramid: Sequence[Tensor], batch: Batch, limit: int | None = None
    ) -> list[Proposals]:
        """Run both stages, then ``select``; without gradients with less memory than ``forward``."""
        coarse = self.coarse(pyramid, batch)
        return self.select(CrpnOutput(coarse, self.fine(coarse)), batch, limit)

    def coarse(self, pyramid: Sequence[Tensor], batch: Batch) -> Coarse:
        """Regress the anchors: one a location, whatever their IoU with an object."""
        grid = self.grid(batch.padded, self.levels, pyramid[0].device)
        hidden = [self.coarse_conv(feature).relu_() for feature in pyramid]
        deltas = [by_location(self.coarse_reg(feature), 4) for feature in hidden]
        refined = [self._refine(a, d, batch.sizes) for a, d in zip(grid, deltas, strict=True)]
        return Coarse(grid, deltas, refined, hidden)

    def fine(self, coarse: Coarse) -> Scored:
        """Score and regress the refined anchors on features that are sampled at them.

        Without gradients ``coarse.features`` is empty afterwards.
        """
        refined, strides = coarse.refined, self.strides
        if torch.is_grad_enabled():  # the order in which the gradients of shared weights are summed
            levels = zip(coarse.features, refined, strides, strict=True)
            found = [self._fine_level(*level) for level in levels]
        else:
            features = coarsest_first(coarse.features)
            levels = zip(features, reversed(refined), reversed(strides), strict=True)
            # unpacked: a tuple of zip's would hold on to its map
            found = [self._fine_level(x, boxes, stride) for x, boxes, stride in levels][::-1]
        logits, deltas = zip(*found, strict=True)
        return Scored(refined, list(logits), list(deltas))

    def _fine_level(self, feature: Tensor, boxes: Tensor, stride: int) -> tuple[Tensor, Tensor]:
        """Return the logits (B, A_l) and the deltas (B, A_l, 4) of a level."""
        aligned = self.fine_conv(feature, boxes, stride).relu_()
        logits = by_location(self.fine_cls(aligned), 1)[..., 0]
        return logits, by_location(self.fine_reg(aligned), 4)

    @torch.no_grad()
    def _refine(self, grid: Tensor, deltas: Tensor, sizes: Sequence[tuple[int, int]]) -> Tensor:
        boxes = coders.decode(grid, deltas, self.config.coarse_stds)
        return torch.stack([coders.clip(b, s) for b, s in zip(boxes, sizes, strict=True)])

    def select(self, output: CrpnOutput, batch: Batch, limit: int | None = None) -> list[Proposals]:
        """Return the proposals of each image, ``limit`` of them instead of the recipe's number."""
        how = Selection.of(self.config, training=self.training, limit=limit)
        return selection.select(output.fine, batch.sizes, self.config.fine_stds, how)

    def losses(self, output: CrpnOutput, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return ``loss_coarse_reg, loss_fine_cls, loss_fine_reg``, weighted (paper Eq. 2)."""
        c = self.config
        first, second = self._settled(output, batch)
        coarse = self.coarse_loss(output.coarse, first)
        cls, reg = sampled_losses(
            output.fine, second, self.match_fine, c.fine, shuffle, self._fine_regression
        )
        return {
            "loss_coarse_reg": coarse,
            "loss_fine_cls": cls * c.classification_weight,
            "loss_fine_reg": reg * c.regression_weight,
        }

    def _settled(self, output: CrpnOutput, batch: Batch) -> tuple[Batch, Batch]:
        """Return the batch as the coarse and as the fine stage match it, see ``settled``.

        Found out for both at once, so that a device is waited for once.
        """
        count = len(batch.targets)
        grid, refined = torch.cat(output.coarse.anchors), torch.cat(output.coarse.refined, 1)
        found = settled([*[grid] * count, *refined[:count]], batch.targets * 2)
        first, second = tuple(found[:count]), tuple(found[count:])
        return replace(batch, targets=first), replace(batch, targets=second)

    def _fine_regression(self, anchor: Tensor, deltas: Tensor, truth: Tensor) -> Tensor:
        return losses.iou_loss(coders.decode(anchor, deltas, self.config.fine_stds), truth)

    def match_fine(self, refined: Tensor, target: Target, size: tuple[int, int]) -> Tensor:
        """Return the match (A,) of every refined anchor of an image."""
        return match_by_iou(self.config.fine, refined, target)

    def match_coarse(self, grid: Tensor, batch: Batch) -> list[tuple[matchers.Matches, Tensor]]:
        """Return the matches of all anchors (A, 4) and the rows of positives, image by image."""
        rule = self.config.assignment
        targets = settled([grid] * len(batch.targets), batch.targets)
        if isinstance(rule, proposers.Region):
            by_region = [
                matchers.match_region(
                    grid, one.boxes, one.ignore_boxes, rule, self.config.anchor_scale, self.strides
                )
                for one in targets
            ]
            return matchers.with_positives(by_region)
        return matchers.positives_by_threshold(
            grid,
            [one.boxes for one in targets],
            [one.ignore_boxes for one in targets],
            [_thresholds(one.boxes, batch.scales[i], rule) for i, one in enumerate(targets)],
            match_best=rule.match_best,
        )

    def coarse_loss(self, coarse: Coarse, batch: Batch) -> Tensor:
        """IoU loss of all positive anchors, weighted.

        The release divides the sum by its number of anchors, whatever the objects: the loss grows
        with their density. Divided by positives it is a mean, as the losses of the fine stage are.
        """
        grid, deltas = torch.cat(coarse.anchors), torch.cat(coarse.deltas, 1)
        total = deltas.new_zeros((), dtype=torch.float32)
        positives = 0
        matches = self.match_coarse(grid, batch)
        for image, target in enumerate(batch.targets):
            match, rows = matches[image]
            batch.on_match(match.gt)
            boxes = coders.decode(grid[rows], deltas[image, rows], self.config.coarse_stds)
            total = total + losses.iou_loss(boxes, target.boxes[match.gt[rows]])
            positives += len(rows)
        total = total * self.config.regression_weight
        if self.config.coarse_normalizer == "positives":
            return total / batch.step.total(positives)
        count = batch.step.total(deltas.shape[0] * deltas.shape[1])
        return total * self.config.coarse_normalizer / count


def _thresholds(boxes: Tensor, scale: tuple[float, float], rule: proposers.Threshold) -> Tensor:
    """Return the threshold (G,) of each box (G, 4) of an image that was resized by ``scale``."""
    sides = (boxes[:, 2:] - boxes[:, :2]) / constant(scale, boxes)
    return matchers.dynamic_threshold(rule, sides.prod(1).sqrt())
