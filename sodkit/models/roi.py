"""The R-CNN head: RoI features -> classes and boxes, with feature imitation beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sodkit import settings
from sodkit.data.batches import Target
from sodkit.models import coders, losses, matchers, roi_pool
from sodkit.models.imitation import Imitation, Rows, Truth
from sodkit.models.matchers import Order
from sodkit.models.nms import grouped_nms
from sodkit.models.proposals import Proposals


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """Proposals chosen for training, as columns over the batch.

    Attributes:
        boxes: (N, 4) xyxy.
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
    """Detections of one image in px of the network's input: boxes (N, 4), scores, labels (N,)."""

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
    """

    def __init__(
        self,
        config: settings.RoiHead,
        imitation: settings.Imitation,
        classes: int,
        channels: int,
        strides: Sequence[int],
    ) -> None:
        super().__init__()
        self.config = config
        self.classes = classes
        self.strides = tuple(strides)
        self.fc1 = nn.Linear(channels * config.pool**2, config.hidden)
        self.fc2 = nn.Linear(config.hidden, config.hidden)
        self.cls = nn.Linear(config.hidden, classes + 1)
        self.reg = nn.Linear(config.hidden, 4 * classes)
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
        """Return RoI features (N, C, pool, pool) float32 of boxes (N, 4) in images (N,)."""
        levels = pyramid[: len(self.strides)]
        return roi_pool.pool(levels, boxes, image, self.strides, self.config.pool)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Classify and regress RoI features as pooled (N, C, pool, pool).

        Returns:
            logits (N, classes + 1), background last; deltas (N, classes, 4); Feat2Embed's
            convolutions (N, C) if they re-weight the features, else None. All float32.
        """
        compressed = None
        if self.imitation is not None and self.imitation.config.reweight:
            compressed = self.imitation.feat2embed.compress(features)
            features = self.imitation.reweight(features, compressed)
        x = F.relu(self.fc1(features.flatten(1)))
        x = F.relu(self.fc2(x)).float()
        with torch.autocast(x.device.type, enabled=False):
            logits, deltas = self.cls(x), self.reg(x)
        return logits, deltas.reshape(len(x), self.classes, 4), compressed

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
        own = deltas[rows, sampled.labels[rows]]
        boxes = sampled.boxes[rows]
        wanted = coders.encode(boxes, truth.boxes[sampled.gt[rows]], self.config.stds)
        weight = self.config.classification_weight / count
        result = {
            "loss_cls": F.cross_entropy(logits, sampled.labels, reduction="sum") * weight,
            "loss_reg": F.l1_loss(own, wanted, reduction="sum") / count,
        }
        if self.imitation is not None:
            rated = boxes
            if self.imitation.config.iq_iou == "prediction":
                rated = coders.decode(boxes, own.detach(), self.config.stds)
            iou = logits.new_zeros(len(logits))
            iou[rows] = losses.paired_iou(rated, truth.boxes[sampled.gt[rows]])
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
            boxes = proposal.boxes
            gt = matchers.match_iou(boxes, target.boxes, target.ignore_boxes, rule).gt
            own = len(target.boxes) if rule.add_gt else 0
            if own:
                boxes = torch.cat([target.boxes, boxes])
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
        decoded = coders.decode(boxes[:, None], deltas, self.config.stds)
        scores = logits.softmax(1)[:, :-1]
        return [
            self._thin(coders.clip(decoded[image == number], size), scores[image == number])
            for number, size in enumerate(sizes)
        ]

    def _thin(self, boxes: Tensor, scores: Tensor) -> Detected:
        """Keep the best of boxes (N, classes, 4) with scores (N, classes) of one image."""
        row, label = torch.nonzero(scores > self.config.score, as_tuple=True)
        box, score = boxes[row, label], scores[row, label]
        keep = grouped_nms(box, score, label, self.config.nms)[: self.config.max_per_patch]
        return Detected(box[keep], score[keep], label[keep])


def _truth(targets: Sequence[Target]) -> Truth:
    """Join the objects of all images."""
    return Truth(
        torch.cat([t.boxes for t in targets]),
        torch.cat([t.labels for t in targets]),
        torch.cat([torch.full_like(t.labels, i) for i, t in enumerate(targets)]),
    )
