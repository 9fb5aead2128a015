"""YOLOX (Ge et al., 2021): every cell of three levels predicts one box, without anchors.

What is new in it, among the YOLO detectors: no anchors, towers of their own for classes and boxes,
and labels that follow the predictions (SimOTA): a cell learns an object if it is cheap for it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sodkit.data.batches import Batch, PatchDetections
from sodkit.models.detector import DetectorModule
from sodkit.models.kernels.grouped_nms import Candidates, nms_each
from sodkit.models.kernels.kept import Kept
from sodkit.models.parts import coders, dense_matches, ignored, losses, points, postprocess, simota
from sodkit.models.parts.box_iou import paired_iou
from sodkit.models.parts.csp import STRIDES, CspDarknet, PanFpn
from sodkit.models.parts.decoupled_head import CellOutput, DecoupledHead
from sodkit.models.parts.sampling import Shuffle
from sodkit.models.parts.simota import Cells, Predicted
from sodkit.settings import Keep
from sodkit.settings.yolox import Yolox as Settings

_STAGES = (3, 9, 9, 3)
"""Blocks of the stages at depth 1."""

_NECK_BLOCKS = 3
_TINY = 1e-8


class Yolox(DetectorModule):
    """CSPDarknet, a pyramid with two ways, and a head a level.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    def __init__(self, config: Settings, classes: int) -> None:
        super().__init__()
        self.boxes = config.boxes
        self.config = config
        self.grid = Kept(cells)
        channels = 4 * config.stem
        self.backbone = CspDarknet(config.stem, [config.blocks(count) for count in _STAGES])
        self.neck = PanFpn(self.backbone.channels, channels, config.blocks(_NECK_BLOCKS))
        self.head = DecoupledHead(channels, config.convs, classes, len(STRIDES), config.prior)

    def see(self, images: Tensor) -> CellOutput:
        """Return the outputs for images (B, 3, H, W)."""
        output: CellOutput = self.head(self.neck(self.backbone(images)))
        return output

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return ``loss_cls``, ``loss_objectness``, ``loss_reg`` and ``loss_l1``; nothing is drawn.

        All are divided by the number of positives. A class is learnt as far as the box is right: up
        to its IoU. L1 is 0 but in the last epochs (``Batch.plain``).
        """
        output = self.see(batch.images)
        grid = self.grid(batch.padded, batch.images.device)
        boxes = decode(grid, output.deltas)
        matched = dense_matches.of_batch(batch, self.match(batch, grid, output, boxes.detach()))
        total = batch.step.total(len(matched.rows))
        found = boxes.flatten(0, 1)[matched.rows]
        iou = paired_iou(found, matched.boxes.to(found))
        logits = output.logits.flatten(0, 1)[matched.rows]
        share = iou.detach()[:, None]
        classes = torch.zeros_like(logits).scatter(1, matched.labels[:, None], share)
        objectness = output.objectness.flatten()[matched.used]
        present = torch.zeros_like(objectness).index_fill(0, matched.place, 1)
        deltas = output.deltas.flatten(0, 1)[matched.rows]
        wanted = encode(grid, matched.anchors, matched.boxes).to(deltas)
        l1 = (deltas - wanted).abs().sum() * (self.config.l1_weight * batch.plain)
        return {
            "loss_cls": losses.cross_entropy(logits, classes) / total,
            "loss_objectness": losses.cross_entropy(objectness, present) / total,
            "loss_reg": (1 - iou**2).sum() * self.config.box_weight / total,
            "loss_l1": l1 / total,
        }

    def match(self, batch: Batch, grid: Cells, output: CellOutput, boxes: Tensor) -> list[Tensor]:
        """Return the match (N,) of every cell of each image.

        Args:
            batch: with targets.
            grid: the cells.
            output: of the head.
            boxes: (B, N, 4) that are predicted, detached.
        """
        if len(batch.targets) != len(batch.sizes):
            raise ValueError(f"{len(batch.targets)} targets for {len(batch.sizes)} images")
        predicted = [
            Predicted(*one)
            for one in zip(boxes, output.logits.detach(), output.objectness.detach(), strict=True)
        ]
        left_out = [
            ignored.points_inside(grid.middle, target.ignore_boxes)
            | ignored.in_padding(grid.middle, size)
            for target, size in zip(batch.targets, batch.sizes, strict=True)
        ]
        return simota.match_each(grid, predicted, batch.targets, left_out, self.config.matching)

    @torch.no_grad()
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing.

        Boxes that reach out of the image suppress as they are, and are clipped then.
        """
        found = self.candidates(batch, keep)
        kept = nms_each(found, keep.nms, keep.max_per_patch)
        each = zip(found, kept, batch.sizes, batch.scales, strict=True)
        return [
            postprocess.in_patch(
                coders.clip(one.boxes[rows], size), one.scores[rows], one.groups[rows], scale
            )
            for one, rows, size, scale in each
        ]

    def candidates(self, batch: Batch, keep: Keep) -> list[Candidates]:
        """Return the boxes of each image before NMS, one a cell, with their classes as groups.

        Those are usable that score more than ``keep.score`` and lie in the image, if only in part.
        """
        output = self.see(batch.images)
        boxes = decode(self.grid(batch.padded, batch.images.device), output.deltas)
        best, labels = output.logits.max(2)
        scores = best.sigmoid() * output.objectness.sigmoid()
        found = []
        for image, size in enumerate(batch.sizes):
            inside = coders.clip(boxes[image], size)
            usable = (scores[image] > keep.score) & (inside[:, 2:] > inside[:, :2]).all(1)
            found.append(Candidates(boxes[image], scores[image], labels[image], usable))
        return found


def cells(size: tuple[int, int], device: torch.device | None = None) -> Cells:
    """Return the cells of all levels of an input of ``size`` (height, width)."""
    grid = points.grid(size, STRIDES, device)
    return Cells(torch.cat(grid), points.spread(STRIDES, grid))


def decode(grid: Cells, deltas: Tensor) -> Tensor:
    """Return the boxes (..., N, 4) xyxy that the deltas (..., N, 4) of all cells stand for."""
    stride = grid.stride[:, None]
    centre = grid.middle + (deltas[..., :2] - 0.5) * stride
    half = deltas[..., 2:].exp() * stride / 2
    return torch.cat([centre - half, centre + half], -1)


def encode(grid: Cells, rows: Tensor, boxes: Tensor) -> Tensor:
    """Return the deltas (P, 4) by which cells ``rows`` (P,) would give boxes (P, 4) xyxy."""
    centre, size = coders.centre_and_size(boxes)
    stride = grid.stride[rows, None]
    shift = (centre - grid.middle[rows]) / stride + 0.5
    return torch.cat([shift, (size / stride + _TINY).log()], 1)
