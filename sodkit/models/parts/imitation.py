"""Feature imitation (paper 3.2): instance quality, Feat2Embed, contrast with exemplars.

Everything here works on a whole batch: objects, sampled proposals and exemplars are columns over
it, and each object has a few of them that it is compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor, nn

from sodkit.data.batches import Target
from sodkit.data.step import WHOLE, Step
from sodkit.models.kernels.blocks import blocks
from sodkit.models.kernels.constants import constant
from sodkit.models.kernels.nonzero import nonzero_each, rows_each
from sodkit.models.parts import contrast, losses
from sodkit.models.parts.contrast import EXEMPLAR, HIGH, Objects, Samples
from sodkit.models.parts.exemplars import Exemplars
from sodkit.models.parts.feat2embed import Feat2Embed
from sodkit.models.parts.roi_head import Sampled
from sodkit.models.parts.sampling import Shuffle
from sodkit.settings import two_stage

Pool = Callable[[Tensor, Tensor], Tensor]
"""Pools boxes (N, 4) of images (N,) to RoI features (N, C, S, S)."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """The head's sampled proposals as columns over the batch.

    Attributes:
        image: (N,) int64 index of the image.
        labels: (N,) int64 class, background last.
        gt: (N,) int64 the matched object, numbered over the batch, negative for background.
        positives: (P,) the rows with an object, ascending.
        added: (N,) bool: not a proposal but the object's own box.
        features: (N, C, S, S) RoI features as pooled.
        compressed: (N, C) Feat2Embed's convolutions of them, None: not needed so far.
        probabilities: (N, classes + 1) the head's softmax, without gradient.
        iou: (N,) the IoU with the matched object that counts in Eq. 3, without gradient.
        host_image: (N,) ``image`` on the host.
    """

    image: Tensor
    labels: Tensor
    gt: Tensor
    positives: Tensor
    added: Tensor
    features: Tensor
    compressed: Tensor | None
    probabilities: Tensor
    iou: Tensor
    host_image: Tensor

    @classmethod
    def of(
        cls, rois: Sampled, features: Tensor, compressed: Tensor | None, logits: Tensor, iou: Tensor
    ) -> Rows:
        """Return the sampled proposals with what was computed for them."""
        probabilities = logits.detach().softmax(1)
        return cls(
            rois.image, rois.labels, rois.gt, rois.positives, rois.added, features, compressed,
            probabilities, iou, rois.host_image,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """The objects of a batch: ``boxes`` (G, 4), ``labels`` (G,), ``image`` (G,) ascending.

    ``counts`` are the objects of each image.
    """

    boxes: Tensor
    labels: Tensor
    image: Tensor
    counts: tuple[int, ...]

    @classmethod
    def of(cls, targets: Sequence[Target]) -> Truth:
        """Join the objects of all images."""
        return cls(
            torch.cat([t.boxes for t in targets]),
            torch.cat([t.labels for t in targets]),
            torch.cat([torch.full_like(t.labels, i) for i, t in enumerate(targets)]),
            tuple(len(t.boxes) for t in targets),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Samples of the batch that can be compared: the head's rows, then extra ones.

    Attributes:
        samples: who they are.
        own: (G,) the sample that is the object's own box.
        extra: RoI features of the samples that are no rows: objects' own boxes that were not
            sampled (crowds), and augmented copies.
        high: (H,) the objects of high quality.
        exemplars: (E, 2) class and slot of every exemplar held, class by class.
        host_image: (P + E,) int64 the image of the samples and, after them, of the exemplars, on
            the host.
    """

    samples: Samples
    own: Tensor
    extra: Tensor
    high: Tensor
    exemplars: Tensor
    host_image: Tensor


class Imitation(nn.Module):
    """Feat2Embed, the exemplars, and the loss that pulls objects towards them.

    Args:
        config: thresholds, sample numbers, weights.
        classes: number of classes.
        channels: of the RoI features.
        size: rows and columns of the RoI features.
    """

    def __init__(self, config: two_stage.Imitation, classes: int, channels: int, size: int) -> None:
        super().__init__()
        self.config = config
        self.classes = classes
        self.feat2embed = Feat2Embed(channels)
        self.exemplars = Exemplars(classes, config.queue, (channels, size, size))

    def fully_connected(self) -> list[nn.Parameter]:
        """Return the embedding's FCs, which have a learning rate of their own (release)."""
        fcs = (self.feat2embed.fc_enc, self.feat2embed.fc_proj)
        return [parameter for fc in fcs for parameter in fc.parameters()]

    def prepare(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return RoI features (N, C, S, S) as the head gets them, and Feat2Embed's convolutions.

        The release weights the channels by those convolutions (``reweight``); the paper does not,
        and the second result is None.
        """
        if not self.config.reweight:
            return features, None
        compressed = self.feat2embed.compress(features)
        return self.reweight(features, compressed), compressed

    def reweight(self, features: Tensor, compressed: Tensor) -> Tensor:
        """Return features * (1 + softmax over channels of compressed) (release)."""
        return features * (1 + compressed.softmax(1)[:, :, None, None])

    def quality(self, rows: Rows, objects: int) -> tuple[Tensor, Tensor]:
        """Return the Instance Quality (G,) of each object and the size (G,) of its S' (Eq. 3)."""
        labels, gt = rows.labels[rows.positives], rows.gt[rows.positives]
        probabilities = rows.probabilities[rows.positives]
        score = probabilities.gather(1, labels[:, None])[:, 0]
        if self.config.iq_members == "argmax":
            member = probabilities.argmax(1) == labels
        else:
            member = score >= self.config.iq_score
        member = member & ~rows.added[rows.positives]
        product = torch.where(member, score * rows.iou[rows.positives], 0.0)
        count = gt.new_zeros(objects).index_add(0, gt, member.long())
        total = product.new_zeros(objects).index_add(0, gt, product)
        return total / count.clamp(min=1), count

    def loss(
        self, rows: Rows, truth: Truth, pool: Pool, shuffle: Shuffle, step: Step = WHOLE
    ) -> Tensor:
        """Return ``loss_imitation``, weighted, and collect new exemplars.

        Args:
            rows: the sampled proposals.
            truth: the objects of the batch.
            pool: gives RoI features of further boxes.
            shuffle: draws the samples.
            step: that the batch belongs to.
        """
        if len(truth.boxes) == 0:
            self._push(rows.features[:0], truth.labels, step)
            step.total(0)
            # nothing to imitate; every parameter gets a gradient all the same (of 0)
            return torch.stack([p.sum() for p in self.parameters()]).sum() * 0.0
        group = contrast.groups(*self.quality(rows, len(truth.boxes)), self.config)
        objects = Objects(truth.labels, truth.image, group)
        table = self.table(rows, truth, group, pool)
        label, slot = table.exemplars.unbind(1)
        samples = Samples(
            torch.cat([table.samples.labels, label]),
            torch.cat([table.samples.image, torch.full_like(label, EXEMPLAR)]),
            torch.cat([table.samples.source, torch.full_like(label, -1)]),
        )
        turn = contrast.order(table.host_image, shuffle)
        chosen = contrast.choose(objects, samples, self.config, turn)
        # Of the P samples only those that some object compares with are embedded, each once:
        # `place` (P,) is a sample's row among them.
        count = len(samples.labels)
        used = torch.zeros(count + 1, dtype=torch.bool, device=label.device)
        used[chosen.columns.masked_fill(~chosen.members, count)] = True  # the last one: no sample
        used[table.own] = True
        used = used[:-1]
        sampled, extra, teachers = rows_each(
            torch.split(used, [len(rows.gt), len(table.extra), len(label)])
        )
        compressed = self._compressed(rows, table, sampled, extra)
        values = torch.cat(
            [self.feat2embed.embed(compressed), self._teach(label[teachers], slot[teachers])]
        )
        place = used.cumsum(0) - 1
        query = place[table.own]
        logits = _similarities(values, query, place[chosen.columns]) / self.config.temperature
        each, counted = losses.contrastive(logits, chosen.members, chosen.positives)
        self._collect(rows, table, truth, compressed[query], step)
        weights = self.config.group_weights
        weight = constant([weights.low, weights.middle, weights.high], each)[group]
        return self.average(each * weight, counted, truth.image, step) * self.config.weight

    def average(self, each: Tensor, counted: Tensor, image: Tensor, step: Step = WHOLE) -> Tensor:
        """Return the mean over images of the mean over their objects, of those ``counted`` only.

        Args:
            each: (G,) weighted losses.
            counted: (G,) bool: the object had positives.
            image: (G,) int64, ascending.
            step: whose images count.
        """
        # images with objects, numbered: they are no more than objects, so there is room for sums
        image = torch.diff(image, prepend=image[:1]).ne(0).cumsum(0)
        sizes = torch.zeros_like(each).index_add(0, image, counted.to(each.dtype))
        share = counted / sizes[image].clamp(min=1)
        return (each * share).sum() / step.total((sizes > 0).sum())

    def table(self, rows: Rows, truth: Truth, group: Tensor, pool: Pool) -> Table:
        """Lay the batch's samples out: the rows, objects that were not sampled, copies."""
        # own (G,): the row of the object's own box, or a place after all N rows if it has none
        count = len(truth.labels)
        own = torch.full((count + 1,), -1, device=truth.labels.device)
        added = rows.added[rows.positives]
        own[torch.where(added, rows.gt[rows.positives], count)] = rows.positives
        own = own[:-1]  # the last place took what is no own box
        wanted = torch.split(own < 0, [*truth.counts]), torch.split(group == HIGH, [*truth.counts])
        *found, exemplars = nonzero_each([*wanted[0], *wanted[1], self.exemplars.held()])
        missings, highs = found[: len(truth.counts)], found[len(truth.counts) :]
        missing, high = _joined(missings, truth.counts), _joined(highs, truth.counts)
        own[missing] = len(rows.gt) + torch.arange(len(missing), device=own.device)
        copies = contrast.copies(truth.boxes[high], self.config)
        source = high.repeat_interleave(copies.shape[1])
        both = torch.cat([missing, source])
        samples = Samples(
            torch.cat([rows.labels, truth.labels[both]]),
            torch.cat([rows.image, truth.image[both]]),
            torch.cat([torch.full_like(rows.gt, -1), torch.full_like(missing, -1), source]),
        )
        boxes = torch.cat([truth.boxes[missing], copies.flatten(0, 1)])
        extra = pool(boxes, truth.image[both]) if len(boxes) else rows.features[:0]
        each = copies.shape[1]
        further = _images([len(one) for one in missings], [each * len(one) for one in highs])
        none = torch.full((len(exemplars),), EXEMPLAR)
        image = torch.cat([rows.host_image, further, none])
        return Table(samples, own, extra, high, exemplars, image)

    def _compressed(self, rows: Rows, table: Table, sampled: Tensor, extra: Tensor) -> Tensor:
        """Return Feat2Embed's convolutions of those rows and of those extra samples."""
        more = table.extra[extra]
        if rows.compressed is None:
            return self.feat2embed.compress(torch.cat([rows.features[sampled], more]))
        return torch.cat([rows.compressed[sampled], self.feat2embed.compress(more)])

    def _teach(self, label: Tensor, slot: Tensor) -> Tensor:
        """Embed exemplars; what they train is ``config.exemplar_gradient`` (docs/release.md)."""
        features = self.exemplars.get(label, slot)
        with torch.no_grad():
            compressed = self.feat2embed.compress(features)
        with torch.set_grad_enabled(
            torch.is_grad_enabled() and self.config.exemplar_gradient == "projection"
        ):
            return self.feat2embed.embed(compressed)

    @torch.no_grad()
    def _collect(
        self, rows: Rows, table: Table, truth: Truth, compressed: Tensor, step: Step
    ) -> None:
        """Push the RoI features of high-quality objects; ``compressed`` (G, C) are theirs."""
        high = table.high
        at, count = table.own[high], len(rows.gt)
        features = rows.features[at.clamp(max=count - 1)]
        if len(table.extra):  # torch.where, as masks would make the host wait for the device
            extra = table.extra[(at - count).clamp(min=0)]
            features = torch.where((at < count)[:, None, None, None], features, extra)
        if self.config.reweight:
            features = self.reweight(features, compressed[high])
        self._push(features, truth.labels[high], step)

    def _push(self, features: Tensor, labels: Tensor, step: Step) -> None:
        """Push exemplars of all processes, which all call it."""
        self.exemplars.push(*step.rows(features.detach().float(), labels))


def _joined(rows: Sequence[Tensor], counts: Sequence[int]) -> Tensor:
    """Return rows (n, 1) of each image, numbered within it, as rows (N,) of the batch."""
    starts = [0, *accumulate(counts)]
    return torch.cat([row[:, 0] + start for row, start in zip(rows, starts, strict=False)])


def _images(*counts: Sequence[int]) -> Tensor:
    """Return the image of so many rows of each image; each of ``counts`` begins anew."""
    return torch.cat([torch.full((n,), i) for part in counts for i, n in enumerate(part)])


def _similarities(values: Tensor, query: Tensor, columns: Tensor) -> Tensor:
    """Return the products (G, S) of the rows ``query`` (G,) of ``values`` with rows (G, S) of it.

    In blocks: all objects with all samples would be a table that grows with their square. In
    float32: for bfloat16 oneDNN makes and keeps a routine for every number of objects and samples.
    """
    with torch.autocast(values.device.type, enabled=False):
        parts = [
            (values[query[rows]] @ values.T).gather(1, columns[rows].clamp(min=0))
            for rows in blocks(len(query), len(values))
        ]
    return torch.cat(parts)
