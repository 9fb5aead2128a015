"""The ordinary RPN (Faster R-CNN): the baseline's, where CRPN is off."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from sodkit import settings
from sodkit.data.batches import Batch
from sodkit.models import anchors, coders, proposals
from sodkit.models.matchers import Order
from sodkit.models.proposals import Proposals, Scored, Selection, by_location
from sodkit.models.regression import upright_truth
from sodkit.models.rpn_losses import sampled_losses


class Rpn(nn.Module):
    """One convolution, objectness and deltas of several anchors a location.

    Args:
        config: anchors, matching, numbers kept.
        channels: of the pyramid.
        strides: of its levels.
    """

    columns = 4
    """Numbers regressed for each anchor."""

    _truth = staticmethod(upright_truth)

    def __init__(self, config: settings.Rpn, channels: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        self.strides = tuple(strides)
        count = len(config.ratios)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.cls = nn.Conv2d(channels, count, 1)
        self.reg = nn.Conv2d(channels, self.columns * count, 1)
        proposals.init_heads(self.conv, self.cls, self.reg)

    def forward(
        self, features: Sequence[Tensor], size: tuple[int, int], sizes: Sequence[tuple[int, int]]
    ) -> Scored:
        """Score all anchors; arguments as for ``Crpn.forward``; deltas are (B, A_l, columns)."""
        c, device, count = self.config, features[0].device, len(sizes)
        grid = anchors.grid(*size, self.strides, c.anchor_scale, c.ratios, device)
        logits, deltas = [], []
        for feature in features:
            hidden = self.conv(feature).relu_()
            logits.append(by_location(self.cls(hidden), 1)[..., 0])
            deltas.append(by_location(self.reg(hidden), self.columns))
        return Scored([a.expand(count, -1, -1) for a in grid], logits, deltas)

    def proposals(
        self, output: Scored, sizes: Sequence[tuple[int, int]], limit: int | None = None
    ) -> list[Proposals]:
        """Return the proposals of each image, ``limit`` of them instead of the recipe's number."""
        how = Selection.of(self.config, training=self.training, limit=limit)
        return proposals.select(output, sizes, self.config.stds, how)

    def losses(self, output: Scored, batch: Batch, order: Order) -> dict[str, Tensor]:
        """Return ``loss_rpn_cls`` (cross-entropy) and ``loss_rpn_reg`` (L1), weighted."""
        c = self.config
        cls, reg = sampled_losses(
            output, batch.targets, c.matching, order, self._regression, self._truth
        )
        return {
            "loss_rpn_cls": cls * c.classification_weight,
            "loss_rpn_reg": reg * c.regression_weight,
        }

    def _regression(self, anchor: Tensor, deltas: Tensor, truth: Tensor) -> Tensor:
        wanted = coders.encode(anchor, truth, self.config.stds)
        return F.l1_loss(deltas.float(), wanted, reduction="sum")
