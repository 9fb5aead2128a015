"""The head of DODet: first the box, then the class, from features of the box that was found.

Localisation and classification want other features. So they have branches of their own, and the
second one looks where the first one says::

    proposal --enlarge--> RoI features --convolutions--> deltas --decode--> refined box
                                                                                 |
                       classes <--FCs-- RoI features <--deformed pooling-- enlarge
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sodkit.models.kernels.constants import constant
from sodkit.models.kernels.roi_pool import by_level
from sodkit.models.kernels.rotated_pool import in_cells, level_of_turned
from sodkit.models.kernels.rows import by_rows
from sodkit.models.parts.deformed_pool import DeformedPool
from sodkit.models.parts.regression import area_regression
from sodkit.models.parts.roi_head import HeadOutput, ProposalHead
from sodkit.models.parts.rotated_coders import within_reach
from sodkit.settings import dodet

TOGETHER = 512
"""RoIs seen at once in detection: their maps of 14 x 14 bins have 100 MB."""


class GuidedHead(ProposalHead):
    """The localisation-guided detection head (Cheng et al., TGRS 2022).

    Args:
        config: pooling, matching, box.
        classes: number of classes.
        channels: of the pyramid.
        strides: of the levels that are pooled from.
    """

    def __init__(
        self, config: dodet.GuidedHead, classes: int, channels: int, strides: Sequence[int]
    ) -> None:
        super().__init__(config, classes, strides, area_regression(config), class_agnostic=True)
        self.enlarged = config.enlarged
        hidden = config.hidden
        self.conv1 = nn.Conv2d(channels, hidden, 3, bias=False)
        self.norm1 = RoiNorm(hidden)
        self.conv2 = nn.Conv2d(hidden, hidden, 3, bias=False)
        self.norm2 = RoiNorm(hidden)
        self.reg = nn.Linear(hidden, self.regression.columns)
        self.deformed = nn.ModuleList(DeformedPool(channels, config.pool, hidden) for _ in strides)
        self.fc1 = nn.Linear(channels * config.pool**2, hidden)
        self.fc2 = nn.Linear(hidden, hidden)
        self.cls = nn.Linear(hidden, classes + 1)

    def forward(self, pyramid: Sequence[Tensor], boxes: Tensor, image: Tensor) -> HeadOutput:
        """Regress boxes (N, 5) in images (N,), and classify what they become."""
        deltas = self.locate(self.pool(pyramid, self.enlarge(boxes), image))
        refined = self.regression.decode(boxes, deltas.detach())
        refined = self.enlarge(within_reach(refined))
        logits = self.classify(self.pool_deformed(pyramid, refined, image))
        return HeadOutput(logits, deltas[:, None])

    def see(self, pyramid: Sequence[Tensor], boxes: Tensor, image: Tensor) -> HeadOutput:
        """Do what ``forward`` does for a few RoIs at a time: memory does not grow with them."""
        pairs = zip(torch.split(boxes, TOGETHER), torch.split(image, TOGETHER), strict=True)
        parts = [self(pyramid, *pair) for pair in pairs]
        return HeadOutput(
            torch.cat([part.logits for part in parts]), torch.cat([part.deltas for part in parts])
        )

    def enlarge(self, boxes: Tensor) -> Tensor:
        """Return boxes (N, 5) with more of what is around them."""
        return boxes * constant([1.0, 1.0, *self.enlarged, 1.0], boxes)

    def locate(self, features: Tensor) -> Tensor:
        """Return the deltas (N, 5) float32 of RoI features (N, C, pool, pool)."""
        x = F.relu(self.norm1(by_rows(self.conv1, features)))
        x = F.relu(self.norm2(by_rows(self.conv2, x))).mean((2, 3)).float()
        with torch.autocast(x.device.type, enabled=False):
            deltas: Tensor = self.reg(x)
        return deltas

    def pool_deformed(self, pyramid: Sequence[Tensor], boxes: Tensor, image: Tensor) -> Tensor:
        """Return RoI features (N, C, pool, pool) float32; every level has weights of its own."""

        def pooled(feature: Tensor, rows: Tensor, stride: int) -> Tensor:
            level = self.deformed[self.strides.index(stride)]
            result: Tensor = level(feature, in_cells(boxes[rows], stride), image[rows])
            return result

        levels = pyramid[: len(self.strides)]
        return by_level(levels, level_of_turned(boxes, len(levels)), self.strides, pooled)

    def classify(self, features: Tensor) -> Tensor:
        """Return the logits (N, classes + 1) float32 of RoI features (N, C, pool, pool)."""
        x = F.relu(by_rows(self.fc1, features.flatten(1)))
        x = F.relu(by_rows(self.fc2, x)).float()
        with torch.autocast(x.device.type, enabled=False):
            logits: Tensor = self.cls(x)
        return logits


class RoiNorm(nn.BatchNorm2d):
    """Batch norm over the RoIs of a step, which may be none: then by its running statistics."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise (N, C, H, W)."""
        if len(x):
            result: Tensor = super().forward(x)
            return result
        return F.batch_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
        )
