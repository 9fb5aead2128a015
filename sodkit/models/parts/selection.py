"""From scored, regressed anchors to proposals: what the RPN and CRPN share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.ops import nms

from sodkit.models.kernels.first import first
from sodkit.models.kernels.grouped_nms import Candidates, nms_each
from sodkit.models.parts import coders
from sodkit.settings.proposers import Crpn, Guided, RpnParts


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """Proposals of one image, best first, in px of the network's input.

    Attributes:
        boxes: (N, 4) float32 xyxy, inside the image; of the oriented RPN (N, 5) oriented boxes.
        scores: (N,) float32 objectness in [0, 1]; in a graph of fixed shapes -1 of what is none.
    """

    boxes: Tensor
    scores: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """An RPN's output for every anchor; lists hold one tensor a level.

    Attributes:
        anchors: (B, A_l, 4) float32 xyxy, what the deltas refer to.
        logits: (B, A_l) objectness.
        deltas: (B, A_l, 4).
    """

    anchors: list[Tensor]
    logits: list[Tensor]
    deltas: list[Tensor]

    def only(self, likely: Sequence[Tensor]) -> Scored:
        """Return the same with a score of 0 where ``likely`` (B, A_l) is false."""
        pairs = zip(self.logits, likely, strict=True)
        logits = [each.float().masked_fill(~mask, -torch.inf) for each, mask in pairs]
        return Scored(self.anchors, logits, self.deltas)


@dataclass(frozen=True, slots=True)
class Selection:
    """How many are kept: ``pre`` a level before NMS at IoU ``nms``, ``limit`` in all after it."""

    pre: int
    nms: float
    limit: int

    @classmethod
    def of(
        cls, config: Crpn | Guided | RpnParts, *, training: bool, limit: int | None
    ) -> Selection:
        """Return the recipe's numbers, with ``limit`` proposals unless it is None."""
        if training:
            number = config.limit.train
            return cls(config.nms_pre.train, config.nms_train, limit or number)
        return cls(config.nms_pre.test, config.nms_test, limit or config.limit.test)


def by_location(x: Tensor, columns: int) -> Tensor:
    """Turn a head's output (B, A * columns, H, W) into (B, H * W * A, columns)."""
    return x.permute(0, 2, 3, 1).reshape(x.shape[0], -1, columns)


def init_heads(*convs: nn.Conv2d) -> None:
    """Initialise an RPN's convolutions: Normal(0.01), biases 0 (release)."""
    for conv in convs:
        nn.init.normal_(conv.weight, std=0.01)
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)


@torch.no_grad()
def select(
    scored: Scored,
    sizes: Sequence[tuple[int, int]],
    stds: Sequence[float],
    how: Selection,
    *,
    keep_empty: bool = False,
    likely: Sequence[Tensor] | None = None,
) -> list[Proposals]:
    """Decode, clip and thin out the proposals of each image.

    Args:
        scored: the network's output.
        sizes: (height, width) of each image without its padding.
        stds: of the deltas.
        how: the numbers kept.
        keep_empty: keep boxes of which clipping leaves nothing.
        likely: for each level (B, A_l) bool, the anchors that may become proposals; None: all.
    """
    found = []
    if likely is not None:
        scored = scored.only(likely)
    for image, size in enumerate(sizes):
        anchors, deltas, score, levels = best_of_levels(scored, image, how.pre)
        box = coders.clip(coders.decode(anchors, deltas, stds), size)
        usable = ((box[:, 2:] - box[:, :2]) > 0).all(1) | keep_empty
        if likely is not None:
            usable = usable & (score > 0)
        found.append(Candidates(box, score, levels, usable))
    if torch.compiler.is_compiling():
        counts = best_counts(scored, how)
        return [kept_of_levels(one.boxes, one, counts, how) for one in found]
    kept = nms_each(found, how.nms, how.limit)
    return [
        Proposals(one.boxes[rows], one.scores[rows]) for one, rows in zip(found, kept, strict=True)
    ]


def best_counts(scored: Scored, how: Selection) -> list[int]:
    """Return how many anchors ``best_of_levels`` returns of each level."""
    return [min(how.pre, each.shape[1]) for each in scored.logits]


def kept_of_levels(
    boxes: Tensor, one: Candidates, counts: Sequence[int], how: Selection
) -> Proposals:
    """Return the proposals of an image in a graph of fixed shapes: what is none has a score of -1.

    Args:
        boxes: (N, 4 or 5) the proposals, level by level, best first in each.
        one: what is compared of them: upright boxes.
        counts: boxes of each level.
        how: NMS and limit.
    """
    compared = one.boxes.masked_fill(~one.usable[:, None], 0.0)  # overlaps nothing
    rows, start = [], 0
    for count in counts:
        level = slice(start, start + count)
        kept = nms(compared[level], one.scores[level], how.nms) + start
        # as many rows as there can be, whatever NMS leaves
        none = kept.new_full((min(count, how.limit),), -1)
        rows.append(torch.cat([kept, none])[: len(none)])
        start += count
    every = torch.cat(rows)
    usable = (every >= 0) & one.usable[every]
    scores, place = first(torch.where(usable, one.scores[every], -1.0), how.limit)
    return Proposals(boxes[every[place]].masked_fill((scores < 0)[:, None], 0.0), scores)


def best_of_levels(scored: Scored, image: int, count: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the ``count`` best anchors of each level of an image, best first within a level.

    Returns:
        anchors (N, 4), their deltas (N, K), objectness (N,) in [0, 1] and level (N,).
    """
    parts = []
    for level, logits in enumerate(scored.logits):
        score, rows = first(logits[image].float().sigmoid(), count)
        anchors, deltas = scored.anchors[level][image], scored.deltas[level][image]
        parts.append((anchors[rows], deltas[rows], score, torch.full_like(rows, level)))
    anchors, deltas, score, levels = (torch.cat(part) for part in zip(*parts, strict=True))
    return anchors, deltas, score, levels
