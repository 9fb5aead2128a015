"""A one-stage network without its NMS, as a graph to compile or export."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from sodkit.models.parts import coders
from sodkit.models.parts.dense_detect import Decode
from sodkit.models.parts.dense_head import DenseOutput


class Dense(Protocol):
    """A detector whose head gives class logits and deltas of every anchor or point."""

    def see(self, images: Tensor) -> DenseOutput:
        """Return the head's output for images (B, 3, H, W)."""

    def decoder(self, size: tuple[int, int], device: torch.device) -> Decode:
        """Return how deltas become boxes, in inputs of ``size`` (height, width)."""


class DenseGraph(nn.Module):
    """From images to all anchors or points as boxes with class scores: all but the NMS.

    Args:
        detector: a module, in evaluation mode.
    """

    def __init__(self, detector: Dense) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the boxes and scores of all anchors or points, level by level, row by row.

        Args:
            images: (B, 3, H, W) float32, normalised RGB, H and W multiples of 32.

        Returns:
            (B, A, 4) xyxy in px of the input, clipped to it, and (B, A, classes) in [0, 1]: class
            scores, times the centerness if the head has one.
        """
        size = (images.shape[-2], images.shape[-1])
        output = self.detector.see(images)
        decode = self.detector.decoder(size, images.device)
        boxes = []
        for level, deltas in enumerate(output.deltas):
            rows = torch.arange(deltas.shape[1], device=images.device)
            boxes.append(decode(level, rows, deltas))
        scores = torch.cat(output.logits, 1).sigmoid()
        if output.centerness is not None:
            scores = scores * torch.cat(output.centerness, 1).sigmoid()[..., None]
        return coders.clip(torch.cat(boxes, 1), size), scores
