"""FCOS (Tian et al., ICCV 2019): every location of the pyramid regresses a box, without anchors.

What is new in it: a point in an object learns the distances to its four sides; how far these may
be decides the level. Points away from an object's middle make poor boxes, so a third output, the
centerness, lowers their scores.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sodkit.data.batches import Batch, PatchDetections, Target
from sodkit.models.detector import DetectorModule, ParameterGroup
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.models.kernels.kept import Kept
from sodkit.models.parts import dense_detect, dense_matches, ignored, losses, points, postprocess
from sodkit.models.parts.backbone import Backbone
from sodkit.models.parts.dense_head import DenseHead, DenseOutput
from sodkit.models.parts.matchers import IGNORED
from sodkit.models.parts.points_matcher import RangedPoints, match_points, ranged_points
from sodkit.models.parts.pyramid import StridedFpn
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Keep, fcos


class Fcos(DetectorModule):
    """P3.. with coarser levels from P5, and a dense head with centerness on all of them.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.
    """

    def __init__(self, config: fcos.Fcos, classes: int) -> None:
        super().__init__()
        self.boxes = config.boxes
        self.config = config
        self.grid = Kept(ranged_points)
        self.by_level = Kept(points.grid)
        self.backbone = Backbone(config.backbone)
        self.fpn = StridedFpn(
            self.backbone.channels[1:], config.channels, config.levels - 3, "output", relu=True
        )
        self.head = DenseHead(
            config.channels, config.convs, 1, classes, config.focal.prior,
            groups=config.groups, centerness=True, scales=config.levels,
        )  # fmt: skip

    def pyramid(self, images: Tensor) -> list[Tensor]:
        """Return P3.. of images (B, 3, H, W): P6 is made from P5, P7 from P6."""
        levels: list[Tensor] = self.fpn(self.backbone(images)[1:])
        return levels

    def see(self, images: Tensor) -> DenseOutput:
        """Return the head's output for images (B, 3, H, W)."""
        output: DenseOutput = self.head(self.pyramid(images))
        return output

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return ``loss_cls``, ``loss_reg`` and ``loss_centerness``; nothing is drawn.

        Classes and centerness are divided by the number of positives; boxes are weighted by their
        centerness, and divided by its sum.
        """
        output = self.see(batch.images)
        grid = self.points(batch)
        matched = dense_matches.of_batch(batch, [
            self.match(grid, *one) for one in zip(batch.targets, batch.sizes, strict=True)
        ])  # fmt: skip
        own = dense_matches.outputs(output, matched)
        at, stride = grid.at[matched.anchors], grid.stride[matched.anchors, None]
        wanted = points.distances(at, matched.boxes) / stride
        share = points.centerness(wanted)
        middle = torch.zeros_like(at)  # GIoU does not depend on where the point is
        found = points.boxes_around(middle, _distances(own.deltas))
        giou = losses.giou_loss(found, points.boxes_around(middle, wanted))
        cls = losses.focal(own.logits, matched.place, matched.labels, self.config.focal)
        count = batch.step.total(len(share))
        return {
            "loss_cls": cls / count,
            "loss_reg": (giou * share).sum() / batch.step.total(share.sum(), least=1e-6),
            "loss_centerness": losses.cross_entropy(own.centerness, share) / count,
        }

    def points(self, batch: Batch) -> RangedPoints:
        """Return the points of all levels, with the distances that each may learn."""
        config = self.config
        return self.grid(batch.padded, config.strides, config.ranges(), batch.images.device)

    def match(self, grid: RangedPoints, target: Target, size: tuple[int, int]) -> Tensor:
        """Return the match (N,) of every point of an image of ``size`` (height, width)."""
        gt = match_points(grid, target.boxes, target.ignore_boxes, self.config.radius)
        return gt.masked_fill(ignored.in_padding(grid.at, size), IGNORED)

    @torch.no_grad()
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing."""
        return postprocess.detections(self.candidates(batch, keep), batch, keep)

    def candidates(self, batch: Batch, keep: Keep) -> list[Candidates]:
        """Return the boxes of each image before NMS; see ``Exportable``."""
        decode = self.decoder(batch.padded, batch.images.device)
        output = self.see(batch.images)
        return dense_detect.candidates_each(output, batch, keep.score, self.config.pre, decode)

    def decoder(self, size: tuple[int, int], device: torch.device) -> dense_detect.Decode:
        """Return how deltas become boxes, in inputs of ``size`` (height, width)."""
        strides = self.config.strides
        levels = self.by_level(size, strides, device)

        def decode(level: int, rows: Tensor, deltas: Tensor) -> Tensor:
            return points.boxes_around(levels[level][rows], _distances(deltas) * strides[level])

        return decode

    def groups(self) -> list[ParameterGroup]:
        """Return the biases of the convolutions: they learn faster, and do not decay."""
        convs = (module for module in self.modules() if isinstance(module, nn.Conv2d))
        named = (pair for conv in convs for pair in conv.named_parameters())
        biases = [parameter for name, parameter in named if name == "bias"]
        return [ParameterGroup(biases, self.config.bias_rate, self.config.bias_decay)]


def _distances(deltas: Tensor) -> Tensor:
    """Return the distances to the sides (..., 4) in strides that the head's output stands for."""
    return deltas.float().relu()
