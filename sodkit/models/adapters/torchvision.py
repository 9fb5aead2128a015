"""Detectors of torchvision: Faster R-CNN, RetinaNet, FCOS and what is made like them.

Labels are ours plus one: torchvision keeps 0 for the background. So make the model with
``num_classes`` of one more than there are classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from sodkit.data.batches import Batch, PatchDetections
from sodkit.models.adapters.seeding import seeded
from sodkit.models.detector import DetectorModule
from sodkit.models.parts.postprocess import in_patch
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Keep


class TorchvisionDetector(DetectorModule):
    """A detection model of torchvision, trained on our batches.

    torchvision has no ignore regions: they are painted over with the mean colour in training, as
    the SODA release does when it cuts patches.

    Args:
        model: made with ``num_classes`` = classes + 1. Its own resizing and normalisation are
            switched off: our batches come resized and normalised.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.boxes = "horizontal"
        model.transform = _AsItIs()
        self.model = model

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return torchvision's losses by its names."""
        images = [_painted(batch, i) for i in range(len(batch.sizes))]
        targets = [{"boxes": t.boxes, "labels": t.labels + 1} for t in batch.targets]
        with seeded(shuffle, batch.images.device):
            losses: dict[str, Tensor] = self.model(images, targets)
        return losses

    @torch.no_grad()
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing."""
        for part in (self.model, getattr(self.model, "roi_heads", None)):
            if hasattr(part, "score_thresh"):
                part.score_thresh, part.nms_thresh = keep.score, keep.nms  # type: ignore[union-attr]
                part.detections_per_img = keep.max_per_patch  # type: ignore[union-attr]
        found = self.model([_cropped(batch, i) for i in range(len(batch.sizes))])
        return [
            in_patch(*_foreground(one), scale)
            for one, scale in zip(found, batch.scales, strict=True)
        ]


class _AsItIs(GeneralizedRCNNTransform):  # type: ignore[misc]
    """torchvision's way from a list of images to a batch, without resizing and normalising."""

    def __init__(self) -> None:
        super().__init__(min_size=1, max_size=1, image_mean=[0.0] * 3, image_std=[1.0] * 3)

    def normalize(self, image: Tensor) -> Tensor:
        """Return the image as it is."""
        return image

    def resize(self, image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
        """Return image and target as they are."""
        return image, target


def _cropped(batch: Batch, number: int) -> Tensor:
    """Return an image (3, h, w) without its padding."""
    height, width = batch.sizes[number]
    return batch.images[number, :, :height, :width]


def _painted(batch: Batch, number: int) -> Tensor:
    """Return an image (3, h, w) with its ignore regions in the mean colour: 0, as normalised."""
    image, regions = _cropped(batch, number), batch.targets[number].ignore_boxes
    if len(regions) == 0:
        return image
    image = image.clone()
    for left, top, right, bottom in regions.round().int().clamp(min=0).tolist():
        image[:, top:bottom, left:right] = 0
    return image


def _foreground(found: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return boxes, scores and our labels; torchvision's one-stage models also detect class 0."""
    rows = torch.nonzero(found["labels"] > 0)[:, 0]
    return found["boxes"][rows], found["scores"][rows], found["labels"][rows] - 1
