"""DyHead (Dai et al., CVPR 2021): ATSS, with blocks of attention in place of the towers.

What is new in it: levels look at the levels beside them, at places that the features choose.
Matching, losses and detecting are ATSS'.
"""

from __future__ import annotations

from torch import Tensor, nn

from sodkit.models.atss import Atss
from sodkit.models.parts.dyhead_block import DyHeadBlock
from sodkit.settings import dyhead


class DyHead(Atss):
    """Dynamic head blocks on P3.., and one convolution each for classes, deltas and centerness.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    def __init__(self, config: dyhead.DyHead, classes: int) -> None:
        super().__init__(config, classes)
        self.blocks = nn.Sequential(
            *(DyHeadBlock(config.channels, config.norm_groups) for _ in range(config.blocks))
        )

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Return P3.. of images (B, 3, H, W) as the last block leaves them."""
        levels: list[Tensor] = self.blocks(super().pyramid(images))
        return levels
