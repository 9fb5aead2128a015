"""CornerNet's head: corner pooling, then heat map, embedding and offset of each kind of corner.

Law and Deng, ECCV 2018, 3.1, 3.4 and Figure 7.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor, nn

from sodkit.models.kernels.closeness_sums import closeness_sums
from sodkit.models.parts.hourglass import conv_norm
from sodkit.settings.keypoints import CornerNet


@dataclass(frozen=True, slots=True, eq=False)
class CornerMaps:
    """Maps of one kind of corner, float32.

    Attributes:
        logits: (B, classes, H, W) of the heat map.
        embedding: (B, 1, H, W): that of an object's two corners is alike.
        offset: (B, 2, H, W) (x, y) from a cell's top left corner to the object's, in cells.
    """

    logits: Tensor
    embedding: Tensor
    offset: Tensor


def running_max(x: Tensor, axis: int, *, backwards: bool) -> Tensor:
    """Return for each cell of a map the greatest value up to it along an axis.

    Args:
        x: (B, C, H, W).
        axis: 2 of rows, 3 of columns.
        backwards: from the last cell to the first.
    """
    if not backwards:
        return x.cummax(axis).values
    return x.flip(axis).cummax(axis).values.flip(axis)


class CornerPool(nn.Module):
    """Each cell sees the greatest values of its row and its column on the object's side of it.

    So a corner, where there is nothing of the object to see, knows of the object's sides.

    Args:
        channels: of the map.
        pooled: channels of what is pooled.
        top_left: corners have their object right of and below them, else left and above.
    """

    def __init__(self, channels: int, pooled: int, *, top_left: bool) -> None:
        super().__init__()
        self.top_left = top_left
        self.down = conv_norm(channels, pooled, 3)
        self.across = conv_norm(channels, pooled, 3)
        self.after = conv_norm(pooled, channels, 3, relu=False)
        self.direct = conv_norm(channels, channels, 1, relu=False)
        self.output = conv_norm(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return a map of the shape of ``x`` (B, C, H, W)."""
        down = running_max(self.down(x), 2, backwards=self.top_left)
        across = running_max(self.across(x), 3, backwards=self.top_left)
        result: Tensor = self.output((self.after(down + across) + self.direct(x)).relu())
        return result


class CornerBranch(nn.Module):
    """Pooling and maps of one kind of corner.

    Args:
        config: channels and prior.
        classes: number of classes.
        top_left: which corner.
    """

    def __init__(self, config: CornerNet, classes: int, *, top_left: bool) -> None:
        super().__init__()
        width, hidden = config.channels, config.hidden
        self.pool = CornerPool(width, config.pooled, top_left=top_left)
        self.heat = _branch(width, hidden, classes)
        self.embedding = _branch(width, hidden, 1)
        self.offset = _branch(width, hidden, 2)
        self._reset(config.prior)

    def _reset(self, prior: float) -> None:
        """Draw the initial weights (mmdetection); ``prior`` is every class's score at the start."""
        lasts = [branch[2] for branch in (self.heat, self.embedding, self.offset)]
        for module in self.modules():
            if isinstance(module, nn.Conv2d) and module not in lasts:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        last = self.heat[2]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.constant_(last.bias, -math.log((1 - prior) / prior))

    def forward(self, x: Tensor) -> CornerMaps:
        """Return the maps of features (B, C, H, W)."""
        pooled = self.pool(x)
        return CornerMaps(
            *(branch(pooled).float() for branch in (self.heat, self.embedding, self.offset))
        )


def _branch(channels: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(hidden, outputs, 1),
    )


def embedding_losses(
    first: Tensor, second: Tensor, image: Tensor, used: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what pulls the corners of an object together, and what pushes objects apart.

    CornerNet, Eqs. 4 and 5: of each image the mean over its objects and over ordered pairs of
    them; summed over images.

    Args:
        first: (G,) embedding of each object's one corner.
        second: (G,) of its other corner.
        image: (G,) int64 image of each.
        used: (G,) bool: others play no part.
    """
    middle = (first + second) / 2
    near, others = closeness_sums(middle, image, used)
    count = (others + 1) * used
    apart = (first - middle) ** 2 + (second - middle) ** 2
    pull = (apart * used / count.clamp(min=1)).sum()
    return pull, (near / (count * others).clamp(min=1)).sum()
