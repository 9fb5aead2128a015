"""The RPN of Oriented R-CNN: six numbers an anchor make oriented proposals."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sodkit import settings
from sodkit.data.batches import Batch
from sodkit.models import anchors, losses, matchers, rotated_coders
from sodkit.models.matchers import Order
from sodkit.models.nms import grouped_nms
from sodkit.models.proposals import Proposals, Scored
from sodkit.models.regression import oriented_truth


class OrientedRpn(nn.Module):
    """One convolution, objectness and midpoint offsets of several upright anchors a location.

    Anchors are matched by the enclosing boxes of the objects.

    Args:
        config: anchors, matching, numbers kept.
        channels: of the pyramid.
        strides: of its levels.
    """

    def __init__(self, config: settings.Rpn, channels: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        self.strides = tuple(strides)
        self.stds = (*config.stds, *config.midpoint_stds)
        count = len(config.ratios)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.cls = nn.Conv2d(channels, count, 1)
        self.reg = nn.Conv2d(channels, 6 * count, 1)
        for conv in (self.conv, self.cls, self.reg):
            nn.init.normal_(conv.weight, std=0.01)
            nn.init.zeros_(conv.bias)  # type: ignore[arg-type]

    def forward(
        self, features: Sequence[Tensor], size: tuple[int, int], sizes: Sequence[tuple[int, int]]
    ) -> Scored:
        """Score all anchors; arguments as for ``Crpn.forward``; deltas are (B, A_l, 6)."""
        c, count = self.config, len(sizes)
        grid = anchors.grid(*size, self.strides, c.anchor_scale, c.ratios, features[0].device)
        logits, deltas = [], []
        for feature in features:
            hidden = F.relu(self.conv(feature))
            logits.append(self.cls(hidden).permute(0, 2, 3, 1).reshape(count, -1))
            deltas.append(self.reg(hidden).permute(0, 2, 3, 1).reshape(count, -1, 6))
        return Scored([a.expand(count, -1, -1) for a in grid], logits, deltas)

    @torch.no_grad()
    def proposals(
        self, output: Scored, sizes: Sequence[tuple[int, int]], limit: int | None = None
    ) -> list[Proposals]:
        """Return oriented proposals (N, 5) of each image, best first.

        NMS within each level is on the enclosing boxes; proposals whose centre lies outside the
        image are left out.
        """
        return [self._select(output, image, size, limit) for image, size in enumerate(sizes)]

    def _select(
        self, scored: Scored, image: int, size: tuple[int, int], limit: int | None
    ) -> Proposals:
        c, train = self.config, self.training
        pre = c.nms_pre.train if train else c.nms_pre.test
        boxes, scores, levels = [], [], []
        for level, logits in enumerate(scored.logits):
            score, rows = logits[image].float().sigmoid().sort(descending=True, stable=True)
            score, rows = score[:pre], rows[:pre]
            reference = scored.anchors[level][image][rows]
            deltas = scored.deltas[level][image][rows]
            boxes.append(rotated_coders.decode_midpoint(reference, deltas, self.stds))
            scores.append(score)
            levels.append(torch.full_like(rows, level))
        box, score, group = torch.cat(boxes), torch.cat(scores), torch.cat(levels)
        kept = rotated_coders.centred_inside(box, size) & (box[:, 2:4] > 0).all(1)
        box, score, group = box[kept], score[kept], group[kept]
        threshold = c.nms_train if train else c.nms_test
        keep = grouped_nms(rotated_coders.enclosing(box), score, group, threshold)
        keep = keep[: limit or (c.proposals.train if train else c.proposals.test)]
        return Proposals(box[keep], score[keep])

    def losses(self, output: Scored, batch: Batch, order: Order) -> dict[str, Tensor]:
        """Return ``loss_rpn_cls`` (cross-entropy) and ``loss_rpn_reg`` (L1), weighted."""
        grid = torch.cat([a[0] for a in output.anchors])
        logits, deltas = torch.cat(output.logits, 1).float(), torch.cat(output.deltas, 1).float()
        cls = reg = logits.new_zeros(())
        count, rule = 0, self.config.matching
        for image, target in enumerate(batch.targets):
            match = matchers.match_iou(grid, target.boxes, target.ignore_boxes, rule)
            positives, negatives = matchers.sample(match.gt, rule, order)
            truth = oriented_truth(target)[match.gt[positives]]
            wanted = rotated_coders.encode_midpoint(grid[positives], truth, self.stds)
            reg = reg + F.l1_loss(deltas[image, positives], wanted, reduction="sum")
            cls = cls + losses.objectness(logits[image], positives, negatives)
            count += max(1, len(positives)) + max(1, len(negatives))
        return {
            "loss_rpn_cls": cls * self.config.classification_weight / count,
            "loss_rpn_reg": reg * self.config.regression_weight / count,
        }
