"""Who imitates whom (paper 3.2, Algorithm 1): quality groups, samples of an object, its copies.

Works on labels and boxes only; features are computed afterwards, for the samples chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from sodkit.models.kernels.blocks import blocks
from sodkit.models.kernels.constants import constant
from sodkit.models.parts.coders import centre_and_size
from sodkit.models.parts.sampling import Shuffle, of_image
from sodkit.settings.two_stage import Imitation

LOW, MIDDLE, HIGH = 0, 1, 2
EXEMPLAR = -1
"""The image of an exemplar: of none in the batch, so all may compare with it."""


@dataclass(frozen=True, slots=True, eq=False)
class Objects:
    """The objects of a batch: ``labels``, ``image`` and ``group`` (quality), each (G,) int64."""

    labels: Tensor
    image: Tensor
    group: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Samples:
    """Candidates for contrast, as columns over the batch.

    Attributes:
        labels: (P,) int64 class, background last.
        image: (P,) int64, ``EXEMPLAR`` for exemplars.
        source: (P,) int64 the object a sample is an augmented copy of, -1 for others.
    """

    labels: Tensor
    image: Tensor
    source: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """What each object is compared with: S = ``config.samples`` places an object.

    Attributes:
        columns: (G, S) int64 the sample in each place; 0 where there is none.
        members: (G, S) bool: there is a sample in this place.
        positives: (G, S) bool: it is a positive.
    """

    columns: Tensor
    members: Tensor
    positives: Tensor


def groups(iq: Tensor, count: Tensor, config: Imitation) -> Tensor:
    """Return LOW, MIDDLE or HIGH (G,) from Instance Quality and number of good predictions.

    High: IQ >= T_hq from enough predictions; with too few of them middle
    (docs/release.md).
    """
    group = torch.full_like(count, MIDDLE)
    group = group.masked_fill(iq < config.low_quality, LOW)
    high = (iq >= config.high_quality) & (count >= config.min_predictions)
    return group.masked_fill(high, HIGH)


def copies(boxes: Tensor, config: Imitation) -> Tensor:
    """Return the augmented copies (H, K, 4) of boxes (H, 4): Algorithm 1's Gamma.

    Shifted right, left, down and up by parts of the box's own width (x) and height (y), then
    scaled about the centre.
    """
    steps = [s * sign for s in config.shifts for sign in (1.0, -1.0)]
    still = [0.0] * len(config.scales)
    dx = constant([*steps, *([0.0] * len(steps)), *still], boxes)
    dy = constant([*([0.0] * len(steps)), *steps, *still], boxes)
    scale = constant([*([1.0] * 2 * len(steps)), *config.scales], boxes)
    centre, size = centre_and_size(boxes[:, None])
    centre = centre + torch.stack([dx, dy], 1) * size
    half = size * scale[:, None] / 2
    return torch.cat([centre - half, centre + half], 2)


def choose(objects: Objects, samples: Samples, config: Imitation, turn: Tensor) -> Chosen:
    """Choose what each object is compared with.

    Positives are exemplars of its class, or its own copies if its quality is high; negatives are
    samples of other labels from its image, and exemplars, up to ``config.samples`` in all. All
    objects of an image draw by one permutation (``order``): each draw is uniform.

    Args:
        objects: G of them.
        samples: P candidates.
        config: sample numbers.
        turn: (P,) the permutation, from ``order``.
    """
    turn = turn.to(samples.labels.device, non_blocking=True)
    turned = Samples(samples.labels[turn], samples.image[turn], samples.source[turn])
    shape = len(objects.labels), config.samples
    columns = turn.new_zeros(shape[0] * shape[1] + 1)
    found = torch.zeros_like(columns, dtype=torch.bool)
    positive = found.clone()
    for rows in blocks(len(objects.labels), len(turn)):
        members, positives = _masks(objects, turned, config, rows)
        # members (G', P) has at most S true entries a row: the n-th of them goes to place n - 1.
        # So a list of known length holds all; its rest is -1 and goes to the last place.
        most = len(members) * config.samples
        row, column = torch.nonzero_static(members, size=most, fill_value=-1).unbind(1)
        place = (row + rows.start) * config.samples + members.cumsum(1)[row, column] - 1
        here = torch.where(row < 0, len(columns) - 1, place)
        columns[here], found[here] = turn[column], True
        positive[here] = positives[row, column]
    return Chosen(*(table[:-1].reshape(shape) for table in (columns, found, positive)))


def order(image: Tensor, shuffle: Shuffle) -> Tensor:
    """Return a permutation (P,), on the host, in which the samples are offered to objects.

    To an object its image's samples and the exemplars are offered. Their order is uniform, and
    follows from the image's own draw, whichever images are in the batch with it. The exemplars
    follow each other alike for all images: so those that are chosen are few.

    Args:
        image: (P,) int64 the image of each sample, ``EXEMPLAR`` for exemplars; on the host.
        shuffle: draws the permutations.
    """
    exemplars = torch.nonzero(image == EXEMPLAR)[:, 0]
    exemplars = exemplars[shuffle(len(exemplars))]
    # an image's sample that comes after k exemplars is at 2k, the exemplar number k at 2k + 1
    who, place = [exemplars], [2 * torch.arange(len(exemplars)) + 1]
    for number in range(int(image.max()) + 1 if len(image) else 0):
        own = torch.nonzero(image == number)[:, 0]
        drawn = of_image(shuffle, number)(len(own) + len(exemplars))
        mine = drawn < len(own)
        who.append(own[drawn[mine]])
        place.append(2 * (~mine).cumsum(0)[mine])
    return torch.cat(who)[torch.cat(place).argsort(stable=True)]


def _masks(
    objects: Objects, samples: Samples, config: Imitation, rows: slice
) -> tuple[Tensor, Tensor]:
    """Return members and positives (G', P) bool of some objects, the first samples before later."""
    labels, group = objects.labels[rows], objects.group[rows]
    exemplar = samples.image == EXEMPLAR
    same = labels[:, None] == samples.labels
    number = torch.arange(rows.start, rows.stop, device=labels.device)[:, None]
    high = (group == HIGH)[:, None]
    wanted = torch.where(high, samples.source == number, same & exemplar)
    share = torch.where(group == LOW, config.low_positive_share, config.middle_positive_share)
    cap = torch.where(group == HIGH, config.samples, (share * config.samples).long())
    positives = _first(wanted, cap)
    others = ~same & (exemplar | (objects.image[rows, None] == samples.image))
    return positives | _first(others, config.samples - positives.sum(1)), positives


def _first(mask: Tensor, count: Tensor) -> Tensor:
    """Keep the first ``count`` (G,) true entries of each row of ``mask`` (G, P)."""
    return mask & (mask.cumsum(1) <= count[:, None])
