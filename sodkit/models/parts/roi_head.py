"""The R-CNN head: RoI features -> classes and boxes.

Boxes are upright (N, 4) xyxy or oriented (N, 5) as in ``regression.py``; the head is the same.
``ProposalHead`` is what every head on proposals has: which proposals are trained on, the losses,
and what becomes a detection. ``RoiHead`` adds the layers of Faster R-CNN.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sodkit.data.batches import Batch, Target
from sodkit.models.kernels import roi_pool, rotated_pool
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.models.kernels.nonzero import nonzero_each
from sodkit.models.kernels.rows import by_rows
from sodkit.models.parts import matchers, postprocess, sampling
from sodkit.models.parts.box_iou import paired_iou
from sodkit.models.parts.ignored import settled
from sodkit.models.parts.regression import Regression, regression
from sodkit.models.parts.rotated_match import match_rotated
from sodkit.models.parts.sampling import Shuffle
from sodkit.models.parts.selection import Proposals
from sodkit.settings.base import Beyond
from sodkit.settings.dodet import GuidedHead
from sodkit.settings.recipe import Keep
from sodkit.settings.roi_transformer import Learner
from sodkit.settings.two_stage import OrientedBox, OrientedRoiHead
from sodkit.settings.two_stage import RoiHead as Settings

Layers = Settings | OrientedRoiHead | Learner
Config = Layers | GuidedHead


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """Proposals chosen for training, as columns over the batch.

    Attributes:
        boxes: (N, 4) xyxy, or (N, 5) where the proposals are oriented.
        image: (N,) index of the image.
        gt: (N,) matched object, numbered over the batch; negative: background.
        labels: (N,) its class, background last.
        added: (N,) bool: the object's own box, added to the proposals.
        positives: (P,) the rows with an object, ascending.
        host_image: (N,) ``image`` on the host.
    """

    boxes: Tensor
    image: Tensor
    gt: Tensor
    labels: Tensor
    added: Tensor
    positives: Tensor
    host_image: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class HeadOutput:
    """The head's output for N RoIs, float32.

    Attributes:
        logits: (N, classes + 1), background last.
        deltas: (N, classes, columns), or (N, 1, columns) if class-agnostic.
    """

    logits: Tensor
    deltas: Tensor


See = Callable[[Tensor, Tensor], HeadOutput]
"""From boxes (N, 4 or 5) and their images (N,) to what the head makes of them."""


class ProposalHead(nn.Module):
    """What heads on proposals share; a head adds layers from RoI features to ``HeadOutput``.

    Args:
        config: pooling, matching, kind of box.
        classes: number of classes.
        strides: of the levels that are pooled from.
        regression: what the boxes are to the deltas.
        class_agnostic: one box an RoI, not one a class.
    """

    def __init__(
        self, config: Config, classes: int, strides: Sequence[int], regression: Regression, *,
        class_agnostic: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        self.config = config
        self.classes = classes
        self.strides = tuple(strides)
        self.regression = regression
        self.class_agnostic = class_agnostic
        box = config.box
        self.outside: Beyond = box.outside if isinstance(box, OrientedBox) else "drop"

    def pool(self, pyramid: Sequence[Tensor], boxes: Tensor, image: Tensor) -> Tensor:
        """Return RoI features (N, C, pool, pool) float32 of boxes (N, 4 or 5) in images (N,)."""
        levels = pyramid[: len(self.strides)]
        align = roi_pool.pool if boxes.shape[1] == 4 else rotated_pool.pool
        return align(levels, boxes, image, self.strides, self.config.pool)

    def losses(self, output: HeadOutput, rois: Sampled, batch: Batch) -> dict[str, Tensor]:
        """Return ``loss_cls`` and ``loss_reg``, weighted."""
        count = batch.step.total(len(output.logits))
        rows, deltas, objects = self._positives(output, rois, batch.targets)
        weight = self.config.classification_weight / count
        return {
            "loss_cls": F.cross_entropy(output.logits, rois.labels, reduction="sum") * weight,
            "loss_reg": self.regression.loss(deltas, rois.boxes[rows], objects) / count,
        }

    def _positives(
        self, output: HeadOutput, rois: Sampled, targets: Sequence[Target]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rows (P,) of the positives, their class's deltas, and their objects."""
        rows = rois.positives
        deltas = output.deltas[rows, 0 if self.class_agnostic else rois.labels[rows]]
        objects = torch.cat([self.regression.truth(t) for t in targets])[rois.gt[rows]]
        return rows, deltas, objects

    @torch.no_grad()
    def quality_iou(
        self,
        output: HeadOutput,
        rois: Sampled,
        targets: Sequence[Target],
        of: Literal["prediction", "proposal"],
    ) -> Tensor:
        """Return the IoU (N,) with the matched object that counts in Instance Quality (Eq. 3)."""
        iou = output.logits.new_zeros(len(output.logits))
        rows, deltas, objects = self._positives(output, rois, targets)
        boxes = rois.boxes[rows]
        if of == "prediction":
            iou[rows] = paired_iou(self.regression.decode(boxes, deltas), objects)
        else:
            iou[rows] = paired_iou(boxes, torch.cat([t.boxes for t in targets])[rois.gt[rows]])
        return iou

    def sample(
        self, proposals: Sequence[Proposals], targets: Sequence[Target], shuffle: Shuffle
    ) -> Sampled:
        """Match the proposals of each image and choose those to train on, positives first."""
        pairs = list(zip(proposals, targets, strict=True))
        own = [proposal.boxes for proposal in proposals]
        gts = [self._match(*one) for one in zip(own, settled(own, targets), strict=True)]
        chosen = sampling.sample(gts, self.config.matching, shuffle)
        parts: list[Sampled] = []
        first = done = 0
        for image, ((proposal, target), gt) in enumerate(zip(pairs, gts, strict=True)):
            objects = self.regression.own(target)
            boxes = torch.cat([objects, proposal.boxes])
            positives, negatives = chosen[image]
            rows = torch.cat([positives, negatives])
            background = torch.full_like(negatives, self.classes)
            parts.append(
                Sampled(
                    boxes=boxes[rows],
                    image=torch.full_like(rows, image),
                    gt=torch.where(gt[rows] >= 0, gt[rows] + first, gt[rows]),
                    labels=torch.cat([target.labels[gt[positives]], background]),
                    added=rows < len(objects),
                    positives=torch.arange(done, done + len(positives), device=rows.device),
                    host_image=torch.full((len(rows),), image),
                )
            )
            first += len(target.boxes)
            done += len(rows)
        return Sampled(
            boxes=torch.cat([p.boxes for p in parts]),
            image=torch.cat([p.image for p in parts]),
            gt=torch.cat([p.gt for p in parts]),
            labels=torch.cat([p.labels for p in parts]),
            added=torch.cat([p.added for p in parts]),
            positives=torch.cat([p.positives for p in parts]),
            host_image=torch.cat([p.host_image for p in parts]),
        )

    def _match(self, boxes: Tensor, target: Target) -> Tensor:
        """Return the matches of an image's objects' own boxes, and of proposals after them.

        The own boxes join as at the start no proposal is a positive.
        """
        objects, rule = self.regression.own(target), self.config.matching
        match = matchers.match_iou if boxes.shape[1] == 4 else match_rotated
        gt = match(
            boxes, objects, target.ignore_boxes, positive=rule.positive, negative=rule.negative
        ).gt
        return torch.cat([torch.arange(len(objects), device=gt.device), gt])

    def candidates(
        self, proposals: Sequence[Proposals], batch: Batch, keep: Keep, see: See
    ) -> list[Candidates]:
        """Return the boxes of each image before NMS, with their classes as groups.

        ``see`` classifies and regresses the proposals of all images.
        """
        counts = [len(p.boxes) for p in proposals]
        boxes, image = together(proposals)
        output = see(boxes, image)
        scores = torch.split(output.logits.softmax(1)[:, :-1], counts)
        likely = [
            (score > keep.score) & (one.scores >= 0)[:, None]
            for score, one in zip(scores, proposals, strict=True)
        ]
        fixed = torch.compiler.is_compiling()
        parts = zip(
            torch.split(boxes, counts), torch.split(output.deltas, counts), scores, likely,
            [every_pair(one) for one in likely] if fixed else nonzero_each(likely),
            batch.sizes, strict=True,
        )  # fmt: skip
        found = [self._candidates(*part) for part in parts]
        return postprocess.placed(found, batch.sizes, self.outside)

    def _candidates(
        self, rois: Tensor, deltas: Tensor, scores: Tensor, likely: Tensor, pairs: Tensor,
        size: tuple[int, int],
    ) -> Candidates:  # fmt: skip
        """Return the boxes that RoIs (N, 4 or 5) of an image become.

        Args:
            rois: of an image of ``size``.
            deltas: (N, classes or 1, columns).
            scores: (N, classes).
            likely: (N, classes) bool, what may be a detection.
            pairs: (P, 2) the RoI and the class of each box.
            size: (height, width) of the image.
        """
        boxes = self.regression.decode(rois[:, None], deltas, size)
        row, label = pairs.unbind(1)
        box = boxes[row, 0 if self.class_agnostic else label]
        return Candidates(box, scores[row, label], label, likely[row, label])


def every_pair(table: Tensor) -> Tensor:
    """Return row and column (N * M, 2) int64 of all entries of a table (N, M), row by row."""
    rows, columns = table.shape
    number = torch.arange(rows * columns, device=table.device)
    return torch.stack([number.div(columns, rounding_mode="floor"), number % columns], 1)


def together(proposals: Sequence[Proposals]) -> tuple[Tensor, Tensor]:
    """Return the boxes (N, 4 or 5) of all images and the image (N,) of each."""
    boxes = torch.cat([one.boxes for one in proposals])
    each = [
        torch.full((len(one.boxes),), number, device=boxes.device)
        for number, one in enumerate(proposals)
    ]
    return boxes, torch.cat(each)


class RoiHead(ProposalHead):
    """Two FCs, class scores (background last) and class-specific deltas (Faster R-CNN).

    Call ``reset`` once everything of the detector is made: it draws the initial weights.

    Args:
        config: pooling, matching, kind of box.
        classes: number of classes.
        channels: of the pyramid.
        strides: of the levels that are pooled from.
    """

    def __init__(
        self,
        config: Layers,
        classes: int,
        channels: int,
        strides: Sequence[int],
    ) -> None:
        super().__init__(
            config, classes, strides, regression(config), class_agnostic=config.class_agnostic
        )
        self.boxes_each = 1 if config.class_agnostic else classes
        self.fc1 = nn.Linear(channels * config.pool**2, config.hidden)
        self.fc2 = nn.Linear(config.hidden, config.hidden)
        self.cls = nn.Linear(config.hidden, classes + 1)
        self.reg = nn.Linear(config.hidden, self.regression.columns * self.boxes_each)

    def reset(self) -> None:
        """Draw the initial weights (release)."""
        for fc in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(fc.weight)
            nn.init.zeros_(fc.bias)
        for fc, std in ((self.cls, 0.01), (self.reg, 0.001)):
            nn.init.normal_(fc.weight, std=std)
            nn.init.zeros_(fc.bias)

    def forward(self, features: Tensor) -> HeadOutput:
        """Classify and regress RoI features (N, C, pool, pool)."""
        x = F.relu(by_rows(self.fc1, features.flatten(1)))
        x = F.relu(by_rows(self.fc2, x)).float()
        with torch.autocast(x.device.type, enabled=False):
            logits, deltas = self.cls(x), self.reg(x)
        return HeadOutput(logits, deltas.reshape(len(x), self.boxes_each, self.regression.columns))
