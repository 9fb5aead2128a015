"""CenterNet (Zhou et al., Objects as Points, 2019): an object is the middle of its box.

What is new in it: no anchors, no matching by overlap, no NMS. A heat map for each class has a peak
at every object, and the box's size is read there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sodkit.data.batches import Batch, PatchDetections
from sodkit.models.detector import DetectorModule
from sodkit.models.kernels.constants import constant
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.models.kernels.kept import Kept
from sodkit.models.parts import coders, heatmap, points, postprocess
from sodkit.models.parts.backbone import Backbone
from sodkit.models.parts.center_head import CenterHead, CenterOutput, DeconvNeck
from sodkit.models.parts.dense_detect import best_pairs
from sodkit.models.parts.matchers import IGNORED
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Keep
from sodkit.settings.keypoints import CenterNet as Settings

STRIDE = 4
"""Of the heat map, in px of the network's input."""


@dataclass(frozen=True, slots=True, eq=False)
class Centres:
    """The middles of the G objects of a batch that lie in their images, and what is learnt there.

    Attributes:
        image: (G,) int64.
        label: (G,) int64.
        cell: (G, 2) int64 (column, row) that the middle lies in.
        offset: (G, 2) from the cell's top left corner to the middle, in cells: [0, 1).
        size: (G, 2) width and height in cells.
        place: (G,) int64 of the cell among the B * H * W of the batch.
        match: (B, H * W) int64 the object in a cell, numbered by image: of several the last;
            ``NEGATIVE``, or ``IGNORED`` in ignore regions.
        learnt: (G,) bool: the object is its cell's match.
    """

    image: Tensor
    label: Tensor
    cell: Tensor
    offset: Tensor
    size: Tensor
    place: Tensor
    match: Tensor
    learnt: Tensor


class CenterNet(DetectorModule):
    """C5, enlarged to stride 4; heat maps, sizes and offsets on it.

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
        self.backbone = Backbone(config.backbone)
        self.neck = DeconvNeck(self.backbone.channels[-1], config.channels)
        self.head = CenterHead(config.channels, config.hidden, classes, config.prior)

    def see(self, images: Tensor) -> CenterOutput:
        """Return the maps of images (B, 3, H, W)."""
        output: CenterOutput = self.head(self.neck(self.backbone(images)[-1]))
        return output

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return ``loss_heatmap``, ``loss_size`` and ``loss_offset``; nothing is drawn.

        All are divided by the number of peaks that are wanted: two objects of a class in one cell
        have one.
        """
        output = self.see(batch.images)
        centres = self.centres(batch, output.logits.shape)
        for match in centres.match:
            batch.on_match(match)
        heat = self.heat(centres, output.logits.shape)
        left_out = (centres.match == IGNORED).reshape(len(heat), *heat.shape[2:])
        count = ((heat == 1) & ~left_out[:, None]).sum()
        total = batch.step.total(count)
        size, offset = (
            ((heatmap.at(map_, centres.place) - wanted).abs() * centres.learnt[:, None]).sum() / 2
            for map_, wanted in ((output.size, centres.size), (output.offset, centres.offset))
        )
        return {
            "loss_heatmap": heatmap.focal(output.logits, heat, left_out) / total,
            "loss_size": size / total * self.config.size_weight,
            "loss_offset": offset / total * self.config.offset_weight,
        }

    def centres(self, batch: Batch, shape: torch.Size) -> Centres:
        """Return the middles of the objects on maps of ``shape`` (B, classes, H, W).

        Of an object that reaches out of its image it is the middle of the part inside.
        """
        _, _, rows, columns = shape
        seen = heatmap.seen(batch)
        middle, size = (each / STRIDE for each in coders.centre_and_size(seen.boxes))
        cell = middle.long()
        place = (seen.image * rows + cell[:, 1]) * columns + cell[:, 0]
        (grid,) = self.grid(batch.padded, (STRIDE,), batch.images.device)
        match = heatmap.last_in_cell(place, seen.number, heatmap.left_out(grid, batch))
        return Centres(
            image=seen.image,
            label=seen.label,
            cell=cell,
            offset=middle - cell,
            size=size,
            place=place,
            match=match,
            learnt=match.flatten()[place] == seen.number,
        )

    def heat(self, centres: Centres, shape: torch.Size) -> Tensor:
        """Return the heat map (B, classes, H, W) that is wanted."""
        images, classes, rows, columns = shape
        channel = centres.image * classes + centres.label
        reach = heatmap.radius(centres.size, self.config.overlap)
        heat = heatmap.draw((images * classes, rows, columns), channel, centres.cell, reach)
        return heat.reshape(shape)

    @torch.no_grad()
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing.

        There is no NMS: ``keep.nms`` is not used.
        """
        return postprocess.all_usable(self.candidates(batch, keep), batch)

    def candidates(self, batch: Batch, keep: Keep) -> list[Candidates]:
        """Return the boxes of each image; see ``Exportable``."""
        output = self.see(batch.images)
        (grid,) = self.grid(batch.padded, (STRIDE,), batch.images.device, offset=0)
        logits = heatmap.peaks(output.logits).flatten(2).transpose(1, 2)
        found = []
        for image, size in enumerate(batch.sizes):
            beyond = (grid >= constant(size[::-1], grid)).any(1)
            inside = logits[image].masked_fill(beyond[:, None], -torch.inf)
            scores, rows, labels = best_pairs(inside, keep.score, keep.max_per_patch)
            place = rows + image * len(grid)
            middle = grid[rows] + heatmap.at(output.offset, place) * STRIDE
            half = heatmap.at(output.size, place).clamp(min=0) * STRIDE / 2
            boxes = torch.cat([middle - half, middle + half], 1)
            found.append(Candidates(boxes, scores, labels, scores > keep.score))
        return postprocess.placed(found, batch.sizes)
