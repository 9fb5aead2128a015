"""Object detectors of Hugging Face ``transformers`` (extra ``hf``): DETR and its successors."""

from __future__ import annotations

from inspect import signature
from typing import Any

import torch
from torch import Tensor, nn

from sodkit.data.batches import Batch, PatchDetections
from sodkit.models.adapters.seeding import seeded
from sodkit.models.detector import DetectorModule
from sodkit.models.parts import postprocess
from sodkit.models.parts.coders import centre_and_size
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Keep


class TransformersDetector(DetectorModule):
    """An object detection model of ``transformers``, trained on our batches.

    These models have no ignore regions: objects in them may be learnt as background.

    Args:
        model: ``AutoModelForObjectDetection`` or one of its classes, made with as many labels as
            there are classes.
        processor: the model's image processor, which makes scores of its outputs. Its resizing and
            normalisation are not used: our batches come resized and normalised.
    """

    def __init__(self, model: nn.Module, processor: Any) -> None:
        super().__init__()
        self.boxes = "horizontal"
        self.model = model
        self.processor = processor
        self._takes_mask = "pixel_mask" in signature(model.forward).parameters

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return the model's weighted loss as ``loss_model``."""
        height, width = batch.padded
        size = batch.images.new_tensor([width, height, width, height])
        labels = [
            {"class_labels": t.labels, "boxes": torch.cat(centre_and_size(t.boxes), 1) / size}
            for t in batch.targets
        ]
        with seeded(shuffle, batch.images.device):
            output = self.model(batch.images, labels=labels, **self._mask(batch))
        return {"loss_model": output.loss}

    def _mask(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mask of the images, if the model takes one."""
        return {"pixel_mask": _inside(batch)} if self._takes_mask else {}

    @torch.no_grad()
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing."""
        output = self.model(batch.images, **self._mask(batch))
        found = self.processor.post_process_object_detection(
            output, threshold=keep.score, target_sizes=[batch.padded] * len(batch.sizes)
        )
        return [
            postprocess.in_patch(
                *postprocess.thin(one["boxes"], one["scores"], one["labels"], size, keep), scale
            )
            for one, size, scale in zip(found, batch.sizes, batch.scales, strict=True)
        ]


def _inside(batch: Batch) -> Tensor:
    """Return (B, H, W) int64: 1 where the image is, 0 in its padding."""
    mask = torch.zeros(len(batch.sizes), *batch.padded, dtype=torch.int64)
    for row, (height, width) in zip(mask, batch.sizes, strict=True):
        row[:height, :width] = 1
    return mask.to(batch.images.device)
