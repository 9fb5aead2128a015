"""A detector without its last NMS, as a graph of fixed shapes to compile or export."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sodkit.data.batches import Batch
from sodkit.models.detector import Exportable
from sodkit.models.parts import rotated_coders
from sodkit.settings import Keep


class DetectionGraph(nn.Module):
    """From images to boxes with scores and labels: all but the NMS of a class's detections.

    Args:
        detector: a module, in evaluation mode.
        size: (height, width) in px of the images without their padding, right and bottom.
        limit: boxes of an image at most, of detectors without NMS.
    """

    def __init__(self, detector: Exportable, size: tuple[int, int], limit: int) -> None:
        super().__init__()
        self.detector = detector
        self.size, self.keep = size, Keep(score=0.0, max_per_patch=limit)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return boxes, scores and labels; one box may be there several times, for several classes.

        Args:
            images: (B, 3, H, W) float32, normalised RGB, 0 in the padding.

        Returns:
            (B, N, 4) xyxy or (B, N, 5) oriented, in px of the input; (B, N) in [0, 1], or -1: no
            detection; and (B, N) int64.
        """
        count = len(images)
        batch = Batch(images, (self.size,) * count, ((1.0, 1.0),) * count)
        found = self.detector.candidates(batch, self.keep)
        scores = [torch.where(one.usable, one.scores, -1.0) for one in found]
        return (
            torch.stack([_canonical(one.boxes) for one in found]),
            torch.stack(scores),
            torch.stack([one.groups for one in found]),
        )


def _canonical(boxes: Tensor) -> Tensor:
    """Return boxes (N, 4), or oriented ones (N, 5) with w >= h."""
    return boxes if boxes.shape[1] == 4 else rotated_coders.canonical(boxes)
