"""The RPN of Oriented R-CNN: six numbers an anchor make oriented proposals."""

from __future__ import annotations

import torch
from torch import Tensor

from sodkit.data.batches import Batch
from sodkit.models.kernels.grouped_nms import Candidates, nms_each
from sodkit.models.parts import rotated_coders
from sodkit.models.parts.regression import oriented_truth
from sodkit.models.parts.rpn import IouRpn
from sodkit.models.parts.selection import Proposals, Scored, Selection, best_of_levels
from sodkit.settings import proposers


class OrientedRpn(IouRpn):
    """An RPN that regresses midpoint offsets of its upright anchors.

    Anchors are matched by the enclosing boxes of the objects.
    """

    columns = 6
    _truth = staticmethod(oriented_truth)

    def __init__(
        self, config: proposers.OrientedRpn, channels: int, strides: tuple[int, ...]
    ) -> None:
        super().__init__(config, channels, strides)
        self.stds = (*config.stds, *config.midpoint_stds)
        self.vertices = config.vertices

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
            box = rotated_coders.decode_midpoint(anchors, deltas, self.stds)
            sound = (box[:, 2:4] > 0).all(1) & box.isfinite().all(1)
            if self.config.outside == "drop":
                sound = sound & rotated_coders.centred_inside(box, size)
            boxes.append(box)
            around.append(Candidates(rotated_coders.enclosing(box), score, levels, sound))
        kept = nms_each(around, how.nms, how.limit)
        return [
            Proposals(box[rows], one.scores[rows])
            for box, one, rows in zip(boxes, around, kept, strict=True)
        ]

    def _encode(self, anchor: Tensor, truth: Tensor) -> Tensor:
        return rotated_coders.encode_midpoint(
            anchor, truth, self.stds, separately=self.vertices == "release"
        )
