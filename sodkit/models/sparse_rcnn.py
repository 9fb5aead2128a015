"""Sparse R-CNN (Sun et al., CVPR 2021): a few learnt proposals, refined stage by stage.

What is new in it: no anchors, no RPN, no NMS. The boxes that the first stage looks at are
parameters, the same for all images; each object is matched with one of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from sodkit.data.batches import Batch, PatchDetections
from sodkit.models.detector import DetectorModule
from sodkit.models.kernels import roi_pool
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.models.parts import hungarian, postprocess
from sodkit.models.parts.backbone import STRIDES, Backbone
from sodkit.models.parts.dynamic_head import DynamicStage, Refined
from sodkit.models.parts.pyramid import Fpn
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import Keep
from sodkit.settings.queries import SparseRcnn as Settings


class SparseRcnn(DetectorModule):
    """Learnt proposals on P2..P5, and stages that refine them.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.

    Attributes:
        proposal_boxes: (Q, 4) centre x, centre y, width, height in parts of the image's sides.
        proposal_features: (Q, C) what the filters of the first stage are made of.
    """

    suppresses = False

    def __init__(self, config: Settings, classes: int) -> None:
        super().__init__()
        self.boxes = config.boxes
        self.config = config
        self.backbone = Backbone(config.backbone)
        self.fpn = Fpn(self.backbone.channels, config.channels)
        whole_image = torch.tensor([0.5, 0.5, 1.0, 1.0])
        self.proposal_boxes = nn.Parameter(whole_image.repeat(config.proposals, 1))
        self.proposal_features = nn.Parameter(torch.randn(config.proposals, config.channels))
        self.stages = nn.ModuleList(DynamicStage(config, classes) for _ in range(config.stages))

    def refine(self, batch: Batch) -> list[Refined]:
        """Return what each stage makes of the proposals."""
        pyramid = self.fpn(self.backbone(batch.images))
        boxes, features = self.start(batch)
        refined = []
        for stage in self.stages:
            refined.append(stage(features, self.pool(pyramid, boxes), boxes))
            # A stage learns to refine boxes, not to make good ones for those after it.
            boxes, features = refined[-1].boxes.detach(), refined[-1].features
        return refined

    def start(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the boxes (B, Q, 4) xyxy, px, and features (B, Q, C) before the first stage."""
        centre, half = self.proposal_boxes[:, :2], self.proposal_boxes[:, 2:] / 2
        corners = torch.cat([centre - half, centre + half], 1)
        boxes = corners * hungarian.image_sides(batch.sizes, corners)[:, None]
        return boxes, self.proposal_features.expand(len(boxes), -1, -1)

    def pool(self, pyramid: Sequence[Tensor], boxes: Tensor) -> Tensor:
        """Return the RoI features (B * Q, C, pool, pool) of boxes (B, Q, 4)."""
        image = torch.arange(len(boxes), device=boxes.device).repeat_interleave(
            boxes.shape[1], output_size=boxes.shape[:2].numel()
        )
        rois = boxes.detach().flatten(0, 1)
        return roi_pool.pool(pyramid, rois, image, STRIDES, self.config.pool, self.config.samples)

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return ``loss_cls_1``, ``loss_l1_1``, ``loss_giou_1`` and so on of every stage.

        Nothing is drawn. All are divided by the number of matched objects.
        """
        return hungarian.every_loss(self.refine(batch), batch, self.config.loss)

    @torch.no_grad()
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing.

        There is no NMS: ``keep.nms`` is not used.
        """
        return postprocess.all_usable(self.candidates(batch, keep), batch)

    def candidates(self, batch: Batch, keep: Keep) -> list[Candidates]:
        """Return the boxes of each image; see ``Exportable``."""
        return hungarian.candidates(self.refine(batch)[-1], batch, keep)
