"""The ordinary RPN (Faster R-CNN): the baseline's, where CRPN is off."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sodkit import settings
from sodkit.data.batches import Batch
from sodkit.models import anchors, coders, losses, matchers, proposals
from sodkit.models.matchers import Order
from sodkit.models.proposals import Proposals, Scored, Selection


class Rpn(nn.Module):
    """One convolution, objectness and deltas of several anchors a location.

    Args:
        config: anchors, matching, numbers kept.
        channels: of the pyramid.
        strides: of its levels.
    """

    def __init__(self, config: settings.Rpn, channels: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        self.strides = tuple(strides)
        count = len(config.ratios)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.cls = nn.Conv2d(channels, count, 1)
        self.reg = nn.Conv2d(channels, 4 * count, 1)
        for conv in (self.conv, self.cls, self.reg):
            nn.init.normal_(conv.weight, std=0.01)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def forward(
        self, features: Sequence[Tensor], size: tuple[int, int], sizes: Sequence[tuple[int, int]]
    ) -> Scored:
        """Score all anchors; arguments as for ``Crpn.forward``."""
        c, device, count = self.config, features[0].device, len(sizes)
        grid = anchors.grid(*size, self.strides, c.anchor_scale, c.ratios, device)
        logits, deltas = [], []
        for feature in features:
            hidden = F.relu(self.conv(feature))
            logits.append(self.cls(hidden).permute(0, 2, 3, 1).reshape(count, -1))
            deltas.append(self.reg(hidden).permute(0, 2, 3, 1).reshape(count, -1, 4))
        return Scored([a.expand(count, -1, -1) for a in grid], logits, deltas)

    def proposals(
        self, output: Scored, sizes: Sequence[tuple[int, int]], limit: int | None = None
    ) -> list[Proposals]:
        """Return the proposals of each image, ``limit`` of them instead of the recipe's number."""
        c, train = self.config, self.training
        how = Selection(
            pre=c.nms_pre.train if train else c.nms_pre.test,
            nms=c.nms_train if train else c.nms_test,
            limit=limit or (c.proposals.train if train else c.proposals.test),
        )
        return proposals.select(output, sizes, c.stds, how)

    def losses(self, output: Scored, batch: Batch, order: Order) -> dict[str, Tensor]:
        """Return ``loss_rpn_cls`` (cross-entropy) and ``loss_rpn_reg`` (L1), weighted."""
        grid = torch.cat([a[0] for a in output.anchors])
        logits, deltas = torch.cat(output.logits, 1).float(), torch.cat(output.deltas, 1).float()
        cls = reg = logits.new_zeros(())
        count, rule = 0, self.config.matching
        for image, target in enumerate(batch.targets):
            match = matchers.match_iou(grid, target.boxes, target.ignore_boxes, rule)
            positives, negatives = matchers.sample(match.gt, rule, order)
            wanted = coders.encode(
                grid[positives], target.boxes[match.gt[positives]], self.config.stds
            )
            reg = reg + F.l1_loss(deltas[image, positives], wanted, reduction="sum")
            cls = cls + losses.objectness(logits[image], positives, negatives)
            count += max(1, len(positives)) + max(1, len(negatives))
        return {
            "loss_rpn_cls": cls * self.config.classification_weight / count,
            "loss_rpn_reg": reg * self.config.regression_weight / count,
        }
