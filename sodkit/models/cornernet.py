"""CornerNet (Law and Deng, ECCV 2018): an object is its top left and its bottom right corner.

What is new in it: no anchors, no box is regressed. Two heat maps have peaks at the corners of
objects; an embedding, alike for the two of an object, says which make a box.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sodkit.data.batches import Batch, PatchDetections
from sodkit.models.detector import DetectorModule
from sodkit.models.kernels.constants import constant
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.models.kernels.kept import Kept
from sodkit.models.parts import coders, corner_pairs, heatmap, ignored, points, postprocess
from sodkit.models.parts.corner_head import CornerBranch, CornerMaps, embedding_losses
from sodkit.models.parts.corner_pairs import Boxes
from sodkit.models.parts.heatmap import Seen
from sodkit.models.parts.hourglass import StackedHourglass
from sodkit.models.parts.matchers import IGNORED
from sodkit.models.parts.sampling import Shuffle
from sodkit.models.parts.soft_nms import soft_nms
from sodkit.settings import Keep
from sodkit.settings.keypoints import CornerNet as Settings

STRIDE = 4
"""Of the heat maps, in px of the network's input."""


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What is learnt of one kind of corner of the G objects of a batch.

    Attributes:
        heat: (B, classes, H, W) wanted heat map.
        place: (G,) int64 the corner's cell among the B * H * W of the batch.
        offset: (G, 2) from the cell's top left corner to the object's, in cells.
        match: (B, H * W) int64 the object in a cell, numbered by image; or ``NEGATIVE``,
            ``IGNORED``.
        learnt: (G,) bool: the object is its cell's match.
        usable: (G,) bool: the cell lies in no ignore region.
    """

    heat: Tensor
    place: Tensor
    offset: Tensor
    match: Tensor
    learnt: Tensor
    usable: Tensor

    @property
    def left_out(self) -> Tensor:
        """Cells (B, H, W) that are not trained on."""
        rows, columns = self.heat.shape[2:]
        return (self.match == IGNORED).reshape(-1, rows, columns)


class CornerNet(DetectorModule):
    """Hourglasses; on the features of each, a branch for either kind of corner.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    suppresses = False

    def __init__(self, config: Settings, classes: int) -> None:
        super().__init__()
        self.boxes = config.boxes
        self.config = config
        self.grid = Kept(points.grid)
        self.backbone = StackedHourglass(config)
        self.top_left, self.bottom_right = (
            nn.ModuleList(
                CornerBranch(config, classes, top_left=top_left) for _ in range(config.stacks)
            )
            for top_left in (True, False)
        )

    def see(self, images: Tensor) -> list[tuple[CornerMaps, CornerMaps]]:
        """Return the maps of both kinds of corner, after each hourglass."""
        features = self.backbone(images)
        return [
            (first(x), second(x))
            for x, first, second in zip(features, self.top_left, self.bottom_right, strict=True)
        ]

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return ``loss_heatmap_1``, ``_offset_1``, ``_pull_1``, ``_push_1``, and so on.

        One of each hourglass; nothing is drawn. Heat maps are divided by the number of peaks that
        are wanted, offsets by that of cells with a corner, the others by that of images.
        """
        stacks = self.see(batch.images)
        seen = heatmap.seen(batch)
        wanted = self.wanted(seen, batch, stacks[0][0].logits.shape)
        for match in torch.cat([one.match for one in wanted], 1):
            batch.on_match(match)
        losses: dict[str, Tensor] = {}
        totals = [self._totals(one, batch) for one in wanted]
        images = batch.step.total(len(batch.sizes))
        for number, stack in enumerate(stacks, 1):
            heat, offset = self._map_losses(stack, wanted, totals)
            pull, push = self._pair_losses(stack, wanted, seen)
            losses[f"loss_heatmap_{number}"] = heat
            losses[f"loss_offset_{number}"] = offset * self.config.offset_weight
            losses[f"loss_pull_{number}"] = pull / images * self.config.pair_weight
            losses[f"loss_push_{number}"] = push / images * self.config.pair_weight
        return losses

    def _totals(self, one: Wanted, batch: Batch) -> tuple[float | Tensor, float | Tensor]:
        """Return the number of peaks, and of cells with a corner, over the step."""
        peaks = ((one.heat == 1) & ~one.left_out[:, None]).sum()
        return batch.step.total(peaks), batch.step.total(one.learnt.sum())

    def _map_losses(
        self,
        stack: tuple[CornerMaps, CornerMaps],
        wanted: tuple[Wanted, Wanted],
        totals: list[tuple[float | Tensor, float | Tensor]],
    ) -> tuple[Tensor, Tensor]:
        """Return the losses of heat maps and offsets, means over the two kinds of corner."""
        heat, offset = [], []
        for maps, one, (peaks, cells) in zip(stack, wanted, totals, strict=True):
            heat.append(heatmap.focal(maps.logits, one.heat, one.left_out) / peaks / 2)
            found = heatmap.at(maps.offset, one.place)
            apart = F.smooth_l1_loss(found, one.offset.to(found), reduction="none")
            offset.append((apart * one.learnt[:, None]).sum() / cells / 2)
        return heat[0] + heat[1], offset[0] + offset[1]

    def _pair_losses(
        self, stack: tuple[CornerMaps, CornerMaps], wanted: tuple[Wanted, Wanted], seen: Seen
    ) -> tuple[Tensor, Tensor]:
        """Return pull and push, of objects with both corners outside of ignore regions."""
        first, second = (
            heatmap.at(maps.embedding, one.place)[:, 0]
            for maps, one in zip(stack, wanted, strict=True)
        )
        usable = wanted[0].usable & wanted[1].usable
        return embedding_losses(first, second, seen.image, usable)

    def wanted(self, seen: Seen, batch: Batch, shape: torch.Size) -> tuple[Wanted, Wanted]:
        """Return what is learnt of top left and bottom right corners on maps of ``shape``."""
        images, classes, rows, columns = shape
        (grid,) = self.grid(batch.padded, (STRIDE,), batch.images.device)
        left_out = heatmap.left_out(grid, batch)
        cells = seen.boxes / self._cell(batch, shape).repeat(2)
        reach = heatmap.radius((cells[:, 2:] - cells[:, :2]).ceil(), self.config.overlap)
        channel = seen.image * classes + seen.label
        last = self._last(batch, shape, cells)[seen.image]

        def one(corner: Tensor) -> Wanted:
            cell = torch.minimum(corner, last).long()
            place = (seen.image * rows + cell[:, 1]) * columns + cell[:, 0]
            match = heatmap.last_in_cell(place, seen.number, left_out)
            heat = heatmap.draw((images * classes, rows, columns), channel, cell, reach)
            return Wanted(
                heat=heat.reshape(shape),
                place=place,
                offset=corner - cell,
                match=match,
                learnt=match.flatten()[place] == seen.number,
                usable=~left_out.flatten()[place],
            )

        return one(cells[:, :2]), one(cells[:, 2:])

    def _last(self, batch: Batch, shape: torch.Size, like: Tensor) -> Tensor:
        """Return column and row (B, 2) of the last cell of each image, padded alone.

        So a corner on the image's border is learnt in the same cell in every batch.
        """
        last = []
        for size in batch.sizes:
            for axis in (1, 0):
                whole, count = batch.padded[axis], shape[2 + axis]
                own = min(whole, ignored.padded_alone(size)[axis])
                last.append(-(-own * count // whole) - 1)
        return constant(last, like).reshape(-1, 2)

    def _cell(self, batch: Batch, shape: torch.Size) -> Tensor:
        """Return width and height of a cell, px: a little less than the stride at odd sizes."""
        (height, width), (rows, columns) = batch.padded, shape[2:]
        like = torch.empty(0, device=batch.images.device)
        return constant([width / columns, height / rows], like)

    @torch.no_grad()
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing.

        NMS is soft: ``keep.nms`` is not used.
        """
        found = [self.pairs(batch)]
        if self.config.mirror:
            found.append(self.pairs(batch, mirrored=True))
        boxes = torch.cat([one.boxes for one in found], 1)
        scores = torch.cat([one.scores for one in found], 1)
        labels = torch.cat([one.labels for one in found], 1)
        rows, kept = soft_nms(boxes, scores, labels, self.config.sigma, keep.max_per_patch)
        images = []
        for image, row in enumerate(rows):
            usable = kept[image] > keep.score
            images.append(Candidates(boxes[image, row], kept[image], labels[image, row], usable))
        return postprocess.all_usable(postprocess.placed(images, batch.sizes), batch)

    def pairs(self, batch: Batch, *, mirrored: bool = False) -> Boxes:
        """Return the boxes that pairs of corners make, before NMS; also of the mirror image.

        Boxes are in px of the image that is not mirrored; those beyond it are no pairs.
        """
        images = batch.images.flip(3) if mirrored else batch.images
        first, second = self.see(images)[-1]
        cell = self._cell(batch, first.logits.shape)
        top_left, bottom_right = (
            corner_pairs.best_corners(maps, usable, cell, self.config.corners)
            for maps, usable in zip((first, second), self._usable(batch, mirrored), strict=True)
        )
        config = self.config
        found = corner_pairs.paired(top_left, bottom_right, config.apart, config.pairs)
        boxes = found.boxes
        if mirrored:
            left, top, right, bottom = boxes.unbind(-1)
            width = batch.padded[1]
            boxes = torch.stack([width - right, top, width - left, bottom], -1)
        clipped = torch.stack(
            [coders.clip(one, size) for one, size in zip(boxes, batch.sizes, strict=True)]
        )
        beyond = (clipped[..., 2:] <= clipped[..., :2]).any(-1)
        return Boxes(boxes, found.scores.masked_fill(beyond, corner_pairs.NONE), found.labels)

    def _usable(self, batch: Batch, mirrored: bool) -> list[Tensor]:
        """Return the cells (B, H * W) that hold top left, and bottom right corners of images.

        Those of the images, padding left out; the image's right and lower border belongs to the
        cell beyond it, where a bottom right corner may lie.
        """
        (grid,) = self.grid(batch.padded, (STRIDE,), batch.images.device, offset=0)
        width = batch.padded[1]
        usable = []
        for border in (0, 1):
            rows = []
            for height, wide in batch.sizes:
                x, y = grid.unbind(1)
                inside = x + STRIDE > width - wide if mirrored else x < wide + border
                rows.append(inside & (y < height + border))
            usable.append(torch.stack(rows))
        return usable
