"""The R-CNN head: RoI features -> classes and boxes, with feature imitation beside it.

Boxes are upright (N, 4) xyxy or oriented (N, 5) as in ``regression.py``; the head is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sodkit import settings
from sodkit.data.batches import Target
from sodkit.models import coders, matchers, roi_pool, rotated_coders, rotated_pool
from sodkit.models.imitation import Imitation, Rows, Truth
from sodkit.models.matchers import Order
from sodkit.models.nms import grouped_nms, grouped_nms_rotated
from sodkit.models.proposals import Proposals
from sodkit.models.regression import Regression, paired_iou
from sodkit.models.rotated_match import match_rotated


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """Proposals chosen for training, as columns over the batch.

    Attributes:
        boxes: (N, 4) xyxy, or (N, 5) where the proposals are oriented.
        image: (N,) index of the image.
        gt: (N,) matched object, numbered over the batch; negative: background.
        labels: (N,) its class, background last.
        added: (N,) bool: the object's own box, added to the proposals.
    """

    boxes: Tensor
    image: Tensor
    gt: Tensor
    labels: Tensor
    added: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Detected:
    """Detections of one image in px of the network's input.

    ``boxes`` (N, 4) xyxy or (N, 5) oriented, ``scores`` and ``labels`` (N,).
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class RoiHead(nn.Module):
    """Two FCs, class scores (background last) and class-specific deltas.

    Args:
        config: pooling, matching, NMS.
        imitation: its settings; the head has no imitation branch unless enabled.
        classes: number of classes.
        channels: of the pyramid.
        strides: of the levels that are pooled from.
        regression: the kind of box.
    """

    def __init__(
        self,
        config: settings.RoiHead,
        imitation: settings.Imitation,
        classes: int,
        channels: int,
        strides: Sequence[int],
        regression: Regression,
    ) -> None:
        super().__init__()
        self.config = config
        self.classes = classes
        self.strides = tuple(strides)
        self.regression = regression
        self.boxes_each = 1 if config.class_agnostic else classes
        self.fc1 = nn.Linear(channels * config.pool**2, config.hidden)
        self.fc2 = nn.Linear(config.hidden, config.hidden)
        self.cls = nn.Linear(config.hidden, classes + 1)
        self.reg = nn.Linear(config.hidden, regression.columns * self.boxes_each)
        self.imitation = (
            Imitation(imitation, classes, channels, config.pool) if imitation.enabled else None
        )
        for fc in (self.fc1, self.fc2):
            nn.init.xavier_uniform_(fc.weight)
            nn.init.zeros_(fc.bias)
        for fc, std in ((self.cls, 0.01), (self.reg, 0.001)):
            nn.init.normal_(fc.weight, std=std)
            nn.init.zeros_(fc.bias)

    def pool(self, pyramid: Sequence[Tensor], boxes: Tensor, image: Tensor) -> Tensor:
        """Return RoI features (N, C, pool, pool) float32 of boxes (N, 4 or 5) in images (N,)."""
        levels = pyramid[: len(self.strides)]
        align = roi_pool.pool if boxes.shape[1] == 4 else rotated_pool.pool
        return align(levels, boxes, image, self.strides, self.config.pool)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Classify and regress RoI features as pooled (N, C, pool, pool).

        Returns:
            logits (N, classes + 1), background last; deltas (N, classes, columns), or (N, 1,
            columns) if class-agnostic; Feat2Embed's convolutions (N, C) if they re-weight the
            features, else None. All float32.
        """
        compressed = None
        if self.imitation is not None and self.imitation.config.reweight:
            compressed = self.imitation.feat2embed.compress(features)
            features = self.imitation.reweight(features, compressed)
        x = F.relu(self.fc1(features.flatten(1)))
        x = F.relu(self.fc2(x)).float()
        with torch.autocast(x.device.type, enabled=False):
            logits, deltas = self.cls(x), self.reg(x)
        columns = self.regression.columns
        return logits, deltas.reshape(len(x), self.boxes_each, columns), compressed

    def losses(
        self,
        pyramid: Sequence[Tensor],
        proposals: Sequence[Proposals],
        targets: Sequence[Target],
        order: Order,
    ) -> dict[str, Tensor]:
        """Return ``loss_cls``, ``loss_reg`` and, with imitation, ``loss_imitation``, weighted."""
        sampled = self.sample(proposals, targets, order)
        truth = _truth(targets)
        features = self.pool(pyramid, sampled.boxes, sampled.image)
        logits, deltas, compressed = self(features)
        count = max(1, len(logits))
        rows = torch.nonzero(sampled.gt >= 0)[:, 0]
        own = deltas[rows, 0 if self.config.class_agnostic else sampled.labels[rows]]
        boxes = sampled.boxes[rows]
        objects = torch.cat([self.regression.truth(t) for t in targets])[sampled.gt[rows]]
        weight = self.config.classification_weight / count
        result = {
            "loss_cls": F.cross_entropy(logits, sampled.labels, reduction="sum") * weight,
            "loss_reg": self.regression.loss(own, boxes, objects) / count,
        }
        if self.imitation is not None:
            iou = logits.new_zeros(len(logits))
            if self.imitation.config.iq_iou == "prediction":
                iou[rows] = paired_iou(self.regression.decode(boxes, own.detach()), objects)
            else:
                iou[rows] = paired_iou(boxes, truth.boxes[sampled.gt[rows]])
            table = Rows(
                image=sampled.image,
                labels=sampled.labels,
                gt=sampled.gt,
                added=sampled.added,
                features=features,
                compressed=compressed,
                probabilities=logits.detach().softmax(1),
                iou=iou,
            )
            result["loss_imitation"] = self.imitation.loss(
                table, truth, lambda b, i: self.pool(pyramid, b, i), order
            )
        return result

    def sample(
        self, proposals: Sequence[Proposals], targets: Sequence[Target], order: Order
    ) -> Sampled:
        """Match the proposals of each image and choose those to train on, positives first."""
        parts: list[Sampled] = []
        first, rule = 0, self.config.matching
        for image, (proposal, target) in enumerate(zip(proposals, targets, strict=True)):
            boxes, objects = proposal.boxes, self.regression.own(target)
            match = matchers.match_iou if boxes.shape[1] == 4 else match_rotated
            gt = match(boxes, objects, target.ignore_boxes, rule).gt
            own = len(objects) if rule.add_gt else 0
            if own:
                boxes = torch.cat([objects, boxes])
                gt = torch.cat([torch.arange(own, device=gt.device), gt])
            positives, negatives = matchers.sample(gt, rule, order)
            rows = torch.cat([positives, negatives])
            background = torch.full_like(negatives, self.classes)
            parts.append(
                Sampled(
                    boxes=boxes[rows],
                    image=torch.full_like(rows, image),
                    gt=torch.where(gt[rows] >= 0, gt[rows] + first, gt[rows]),
                    labels=torch.cat([target.labels[gt[positives]], background]),
                    added=rows < own,
                )
            )
            first += len(target.boxes)
        return Sampled(
            boxes=torch.cat([p.boxes for p in parts]),
            image=torch.cat([p.image for p in parts]),
            gt=torch.cat([p.gt for p in parts]),
            labels=torch.cat([p.labels for p in parts]),
            added=torch.cat([p.added for p in parts]),
        )

    def detect(
        self,
        pyramid: Sequence[Tensor],
        proposals: Sequence[Proposals],
        sizes: Sequence[tuple[int, int]],
    ) -> list[Detected]:
        """Return the detections of each image: score, NMS per class, the best of the patch."""
        counts = [len(p.boxes) for p in proposals]
        boxes = torch.cat([p.boxes for p in proposals])
        image = torch.repeat_interleave(
            torch.arange(len(counts), device=boxes.device),
            torch.tensor(counts, device=boxes.device),
        )
        logits, deltas, _ = self(self.pool(pyramid, boxes, image))
        decoded = self.regression.decode(boxes[:, None], deltas)
        scores = logits.softmax(1)[:, :-1]
        return [
            self._thin(decoded[image == number], scores[image == number], size)
            for number, size in enumerate(sizes)
        ]

    def _thin(self, boxes: Tensor, scores: Tensor, size: tuple[int, int]) -> Detected:
        """Keep the best of boxes (N, classes or 1, 4 or 5) with scores (N, classes) of an image.

        Upright boxes are clipped to its ``size`` (height, width), oriented ones stay whole.
        """
        row, label = torch.nonzero(scores > self.config.score, as_tuple=True)
        box, score = boxes[row, 0 if self.config.class_agnostic else label], scores[row, label]
        if self.regression.oriented:
            inside = rotated_coders.centred_inside(box, size)
            box, score, label = box[inside], score[inside], label[inside]
            keep = grouped_nms_rotated(box, score, label, self.config.nms)
        else:
            box = coders.clip(box, size)
            keep = grouped_nms(box, score, label, self.config.nms)
        keep = keep[: self.config.max_per_patch]
        return Detected(box[keep], score[keep], label[keep])


def _truth(targets: Sequence[Target]) -> Truth:
    """Join the objects of all images."""
    return Truth(
        torch.cat([t.boxes for t in targets]),
        torch.cat([t.labels for t in targets]),
        torch.cat([torch.full_like(t.labels, i) for i, t in enumerate(targets)]),
    )
