"""What a detector eats: images and their targets as tensors.

Coordinates are pixels of the *resized* image; ``scales`` lead back: resized = patch * scale.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from sodkit.data.step import WHOLE, Step

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """Ground truth of one image.

    Attributes:
        boxes: (G, 4) float32 xyxy, w and h > 0; of oriented objects the enclosing boxes.
        labels: (G,) int64 class indices 0..C-1.
        ignore_boxes: float32 ignored objects and ignore regions: (I, 4) xyxy, of oriented data
            (I, 5).
        obb: (G, 5) float32 oriented boxes, None if horizontal.
    """

    boxes: Tensor
    labels: Tensor
    ignore_boxes: Tensor
    obb: Tensor | None = None

    def __repr__(self) -> str:
        kind = "horizontal" if self.obb is None else "oriented"
        return f"<Target: {len(self.labels)} objects, {len(self.ignore_boxes)} ignored, {kind}>"

    def tensors(self) -> Iterator[Tensor]:
        """Yield all tensors."""
        yield from (self.boxes, self.labels, self.ignore_boxes)
        if self.obb is not None:
            yield self.obb

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Return the target with every tensor changed."""
        return replace(
            self,
            boxes=change(self.boxes),
            labels=change(self.labels),
            ignore_boxes=change(self.ignore_boxes),
            obb=None if self.obb is None else change(self.obb),
        )

    def __reduce__(self) -> tuple[object, ...]:
        """Travel to another process by value: torch would send a file for each of the tensors."""
        tensors = (self.boxes, self.labels, self.ignore_boxes, self.obb)
        return _from_arrays, tuple(None if one is None else one.cpu().numpy() for one in tensors)

    def to(self, device: torch.device) -> Self:
        """Move to ``device``."""
        return self.each(lambda tensor: tensor.to(device, non_blocking=True))


def _from_arrays(boxes: Array, labels: Array, ignore_boxes: Array, obb: Array | None) -> Target:
    turned = None if obb is None else torch.from_numpy(obb)
    return Target(
        torch.from_numpy(boxes), torch.from_numpy(labels), torch.from_numpy(ignore_boxes), turned
    )


def _unseen(match: Tensor) -> None:
    """Note nothing."""


def _whole() -> Step:
    """Return ``WHOLE``: torch.compile follows a function, but takes no object as a default."""
    return WHOLE


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Images padded to one size, right and bottom.

    Attributes:
        images: (B, 3, H, W) RGB, zero in the padding: uint8 as loaded, float32 normalised as
            detectors take them (``data/samples/normalise.py``).
        sizes: (height, width) of each image before padding.
        scales: resize factors (x, y) of each image, resized = patch * scale.
        targets: ground truth of each image; empty at prediction.
        image_ids: ids of the images, to name them in messages.
        step: the training step that the images belong to.
        plain: the images are of the last epochs of a run, which are trained on images as they are.
        on_match: called by a detector that trains on anchors with each image's match (A,) int64:
            the object of each anchor, negative: none; of several stages the first comes first.
    """

    images: Tensor
    sizes: tuple[tuple[int, int], ...]
    scales: tuple[tuple[float, float], ...]
    targets: tuple[Target, ...] = ()
    image_ids: tuple[int, ...] = ()
    step: Step = field(default_factory=_whole)
    plain: bool = False
    on_match: Callable[[Tensor], None] = _unseen

    def __repr__(self) -> str:
        (height, width), objects = self.padded, sum(len(one.labels) for one in self.targets)
        return f"<Batch: {len(self.images)} images of {width} x {height} px, {objects} objects>"

    @property
    def padded(self) -> tuple[int, int]:
        """(height, width) of all images with their padding."""
        return self.images.shape[-2], self.images.shape[-1]

    def tensors(self) -> Iterator[Tensor]:
        """Yield all tensors, those of the targets too."""
        yield self.images
        for target in self.targets:
            yield from target.tensors()

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Return the batch with every tensor changed, those of the targets too."""
        targets = tuple(target.each(change) for target in self.targets)
        return replace(self, images=change(self.images), targets=targets)

    def to(self, device: torch.device) -> Self:
        """Move to ``device``; from pinned memory the host does not wait for it."""
        return self.each(lambda tensor: tensor.to(device, non_blocking=True))

    def part(self, images: range) -> Self:
        """Return some of the images, with as much padding as before."""
        rows = slice(images.start, images.stop)
        return replace(
            self, images=self.images[rows], sizes=self.sizes[rows], scales=self.scales[rows],
            targets=self.targets[rows], image_ids=self.image_ids[rows],
        )  # fmt: skip

    def padded_to(self, height: int, width: int) -> Self:
        """Return the batch with more padding, right and bottom."""
        if self.padded == (height, width):
            return self
        more = (0, width - self.padded[1], 0, height - self.padded[0])
        return replace(self, images=F.pad(self.images, more))

    def pin_memory(self) -> Self:
        """Copy to pinned memory: torch's loader calls it where there is a GPU."""
        return self.each(Tensor.pin_memory)


@dataclass(frozen=True, slots=True, eq=False)
class PatchDetections:
    """Detections of one patch, best first, in pixels of the patch *before* resizing.

    Attributes:
        boxes: (N, 4) float32 xyxy (oriented: the enclosing boxes).
        scores: (N,) float32.
        labels: (N,) int64 class indices; 0 for proposals.
        obb: (N, 5) or None.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    obb: Tensor | None = None

    def __repr__(self) -> str:
        kind = "horizontal" if self.obb is None else "oriented"
        return f"<PatchDetections: {len(self.scores)}, {kind}>"
