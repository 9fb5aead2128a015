"""The RPN of RFLA (Xu et al., ECCV 2022): receptive fields in place of anchors.

Network, losses and selection are the ordinary RPN's. New is where a prior's size comes from, the
theoretical receptive field of its level, and by which rule it is matched (``receptive_match.py``).
"""

from __future__ import annotations

from torch import Tensor

from sodkit.data.batches import Target
from sodkit.models.parts.receptive_match import match_receptive, shrink
from sodkit.models.parts.rpn import Rpn
from sodkit.settings.proposers import Rfla


class RflaRpn(Rpn):
    """An RPN whose priors are receptive fields, matched hierarchically."""

    config: Rfla

    def match(self, grid: Tensor, target: Target, size: tuple[int, int]) -> Tensor:
        """Return the match (A,) of every prior."""
        return match_receptive(grid, target.boxes, target.ignore_boxes, self.config.matching)

    def _encode(self, anchor: Tensor, truth: Tensor) -> Tensor:
        # The release shrinks the priors for its second round in place: it learns deltas from the
        # shrunk ones, but decodes them from the whole, so that proposals are 1 / .9 too large.
        if self.config.shrunk_targets:
            anchor = shrink(anchor, self.config.matching.shrink)
        return super()._encode(anchor, truth)
