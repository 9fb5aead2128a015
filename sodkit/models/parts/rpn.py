"""The ordinary RPN (Faster R-CNN, Ren et al., NeurIPS 2015), and what its relatives share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from sodkit.data.batches import Batch, Target
from sodkit.models.kernels.kept import Kept
from sodkit.models.parts import anchors, coders, selection
from sodkit.models.parts.regression import upright_truth
from sodkit.models.parts.rpn_losses import match_by_iou, sampled_losses
from sodkit.models.parts.sampling import Shuffle
from sodkit.models.parts.selection import Proposals, Scored, Selection, by_location
from sodkit.settings.proposers import AnchorRpn, RpnParts


class Rpn(nn.Module):
    """One convolution, objectness and deltas of several anchors a location.

    Args:
        config: anchors, weights, numbers kept.
        channels: of the pyramid.
        strides: of its levels.
    """

    columns = 4
    """Numbers regressed for each anchor."""

    _truth = staticmethod(upright_truth)

    def __init__(self, config: RpnParts, channels: int, strides: tuple[int, ...]) -> None:
        super().__init__()
        self.config = config
        self.levels = config.anchor_levels(strides)
        self.grid = Kept(anchors.grid)
        count = len(config.ratios)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.cls = nn.Conv2d(channels, count, 1)
        self.reg = nn.Conv2d(channels, self.columns * count, 1)
        selection.init_heads(self.conv, self.cls, self.reg)

    def forward(self, pyramid: Sequence[Tensor], batch: Batch) -> Scored:
        """Score all anchors of P2.. (B, C, H_l, W_l); deltas are (B, A_l, columns)."""
        grid = self.grid(batch.padded, self.levels, pyramid[0].device)
        logits, deltas = [], []
        for feature in pyramid:
            hidden = self.conv(feature).relu_()
            logits.append(by_location(self.cls(hidden), 1)[..., 0])
            deltas.append(by_location(self.reg(hidden), self.columns))
        return Scored([a.expand(len(batch.sizes), -1, -1) for a in grid], logits, deltas)

    def propose(
        self, pyramid: Sequence[Tensor], batch: Batch, limit: int | None = None
    ) -> list[Proposals]:
        """Run the network, then ``select``."""
        return self.select(self(pyramid, batch), batch, limit)

    def select(self, output: Scored, batch: Batch, limit: int | None = None) -> list[Proposals]:
        """Return the proposals of each image, ``limit`` of them instead of the recipe's number."""
        how = Selection.of(self.config, training=self.training, limit=limit)
        keep_empty = self.config.outside == "keep"
        return selection.select(output, batch.sizes, self.config.stds, how, keep_empty=keep_empty)

    def losses(self, output: Scored, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return ``loss_rpn_cls`` (cross-entropy) and ``loss_rpn_reg`` (SmoothL1), weighted."""
        c = self.config
        cls, reg = sampled_losses(
            output, batch, self.match, c.matching, shuffle, self._regression, self._truth
        )
        return {
            "loss_rpn_cls": cls * c.classification_weight,
            "loss_rpn_reg": reg * c.regression_weight,
        }

    @abstractmethod
    def match(self, grid: Tensor, target: Target, size: tuple[int, int]) -> Tensor:
        """Return the match (A,) of every anchor (A, 4) of an image of ``size`` (height, width)."""

    def _regression(self, anchor: Tensor, deltas: Tensor, truth: Tensor) -> Tensor:
        wanted, beta = self._encode(anchor, truth), self.config.regression_beta
        return F.smooth_l1_loss(deltas.float(), wanted, beta=beta, reduction="sum")

    def _encode(self, anchor: Tensor, truth: Tensor) -> Tensor:
        """Return the targets (P, columns) of anchors (P, 4)."""
        return coders.encode(anchor, truth, self.config.stds)


class IouRpn(Rpn):
    """The ordinary RPN: anchors are matched by their IoU with the objects."""

    config: AnchorRpn

    def match(self, grid: Tensor, target: Target, size: tuple[int, int]) -> Tensor:
        """Return the match (A,) of every anchor by the rule of the settings."""
        within = size if self.config.whole_anchors else None
        return match_by_iou(self.config.matching, grid, target, within=within)
