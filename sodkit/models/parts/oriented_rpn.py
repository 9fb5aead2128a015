"""RPNs whose upright anchors make oriented proposals.

``OrientedRpn``  by midpoint offsets, six numbers an anchor (Oriented R-CNN)
``AreaRpn``      by centre, aspect ratio, area and angle, five numbers an anchor (DODet)
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from sodkit.data.batches import Batch
from sodkit.models.kernels.grouped_nms import Candidates, nms_each
from sodkit.models.parts import area_coders, rotated_coders
from sodkit.models.parts.regression import oriented_truth
from sodkit.models.parts.rpn import IouRpn
from sodkit.models.parts.selection import (
    Proposals,
    Scored,
    Selection,
    best_counts,
    best_of_levels,
    kept_of_levels,
)
from sodkit.settings import dodet, proposers


class TurnedRpn(IouRpn):
    """An RPN that regresses oriented boxes from its upright anchors.

    Anchors are matched by the enclosing boxes of the objects. A kind of it says how deltas and
    boxes belong together.
    """

    _truth = staticmethod(oriented_truth)

    @torch.no_grad()
    def select(self, output: Scored, batch: Batch, limit: int | None = None) -> list[Proposals]:
        """Return oriented proposals (N, 5) of each image, best first.

        NMS within each level is on the enclosing boxes. Proposals whose centre lies outside the
        image are left out, unless the settings keep them.
        """
        how = Selection.of(self.config, training=self.training, limit=limit)
        boxes, around = [], []
        for image, size in enumerate(batch.sizes):
            anchors, deltas, score, levels = best_of_levels(output, image, how.pre)
            box = self._decode(anchors, deltas)
            sound = (box[:, 2:4] > 0).all(1) & box.isfinite().all(1)
            if self.config.outside == "drop":
                sound = sound & rotated_coders.centred_inside(box, size)
            boxes.append(box)
            around.append(Candidates(rotated_coders.enclosing(box), score, levels, sound))
        if torch.compiler.is_compiling():
            counts, pairs = best_counts(output, how), zip(boxes, around, strict=True)
            return [kept_of_levels(*pair, counts, how) for pair in pairs]
        kept = nms_each(around, how.nms, how.limit)
        return [
            Proposals(box[rows], one.scores[rows])
            for box, one, rows in zip(boxes, around, kept, strict=True)
        ]

    @abstractmethod
    def _encode(self, anchor: Tensor, truth: Tensor) -> Tensor:
        """Return the targets (P, columns) of anchors (P, 4) with oriented objects (P, 5)."""

    @abstractmethod
    def _decode(self, anchor: Tensor, deltas: Tensor) -> Tensor:
        """Return the oriented boxes (N, 5) of anchors (N, 4) and deltas (N, columns)."""


class OrientedRpn(TurnedRpn):
    """An RPN that regresses midpoint offsets of its upright anchors (Oriented R-CNN)."""

    columns = 6

    def __init__(
        self, config: proposers.OrientedRpn, channels: int, strides: tuple[int, ...]
    ) -> None:
        super().__init__(config, channels, strides)
        self.stds = (*config.stds, *config.midpoint_stds)
        self.vertices = config.vertices

    def _encode(self, anchor: Tensor, truth: Tensor) -> Tensor:
        return rotated_coders.encode_midpoint(
            anchor, truth, self.stds, separately=self.vertices == "release"
        )

    def _decode(self, anchor: Tensor, deltas: Tensor) -> Tensor:
        return rotated_coders.decode_midpoint(anchor, deltas, self.stds)


class AreaRpn(TurnedRpn):
    """The oriented proposal network of DODet: aspect ratio and area instead of the sides."""

    columns = 5

    def __init__(self, config: dodet.AreaRpn, channels: int, strides: tuple[int, ...]) -> None:
        super().__init__(config, channels, strides)
        self.stds = (*config.stds, config.angle_std)

    def _encode(self, anchor: Tensor, truth: Tensor) -> Tensor:
        return area_coders.encode_upright(anchor, truth, self.stds)

    def _decode(self, anchor: Tensor, deltas: Tensor) -> Tensor:
        return area_coders.decode_upright(anchor, deltas, self.stds)
