"""Deformable DETR (Zhu et al., ICLR 2021): queries ask a few places of the image for objects.

What is new in it: no anchors, no proposals, no NMS. An encoder lets every cell of four levels look
at a few places of all of them; a decoder lets queries do the same about a point of their own.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from sodkit.data.batches import Batch, PatchDetections
from sodkit.models.detector import DetectorModule, ParameterGroup
from sodkit.models.kernels.grouped_nms import Candidates
from sodkit.models.kernels.tap_conv import at_least_float32
from sodkit.models.parts import hungarian, postprocess, tokens
from sodkit.models.parts.backbone import Backbone
from sodkit.models.parts.deformable_transformer import (
    LEVELS,
    DecoderLayer,
    DeformableAttention,
    EncoderLayer,
)
from sodkit.models.parts.dropout import Drop, dropping, nothing
from sodkit.models.parts.hungarian import Predicted
from sodkit.models.parts.sampling import Shuffle
from sodkit.models.parts.tokens import Tokens
from sodkit.settings import Keep
from sodkit.settings.queries import DeformableDetr as Settings

_EDGE = 1e-5
"""Reference points are this far from the image's border at least, in parts of its sides."""


class DeformableDetr(DetectorModule):
    """C2..C5 as one sequence of tokens; an encoder of tokens, a decoder of queries.

    Args:
        config: settings of all parts.
        classes: number of classes; labels are 0..classes - 1.

    Attributes:
        level_code: (levels, C) what is added to the code of a token's place.
        queries: (Q, 2 C) code of each query's place, then what its features begin with.
    """

    suppresses = False

    def __init__(self, config: Settings, classes: int) -> None:
        super().__init__()
        self.boxes = config.boxes
        self.config = config
        width = config.channels
        self.backbone = Backbone(config.backbone)
        self.levels = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inputs, width, 1, bias=False), nn.GroupNorm(config.norm_groups, width)
            )
            for inputs in self.backbone.channels
        )
        self.level_code = nn.Parameter(torch.randn(LEVELS, width))
        self.encoder = nn.ModuleList(EncoderLayer(config) for _ in range(config.encoder))
        self.queries = nn.Parameter(torch.randn(config.queries, 2 * width))
        self.points = nn.Linear(width, 2)
        self.decoder = nn.ModuleList(DecoderLayer(config) for _ in range(config.decoder))
        self.cls = nn.Linear(width, classes)
        self.reg = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, 4),
        )  # fmt: skip
        self._reset(config.loss.focal.prior)

    def _reset(self, prior: float) -> None:
        """Draw the initial weights (4.1 and A.4); ``prior`` is every class's score at the start."""
        for part in (self.encoder, self.decoder, self.points, self.levels):
            for parameter in part.parameters():
                if parameter.dim() > 1:
                    nn.init.xavier_uniform_(parameter)
        for module in self.modules():
            if isinstance(module, DeformableAttention):
                module.reset()
        nn.init.zeros_(self.points.bias)
        nn.init.constant_(self.cls.bias, -math.log((1 - prior) / prior))
        last = self.reg[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        with torch.no_grad():  # boxes of an eighth of the image's sides
            last.bias.copy_(torch.tensor([0.0, 0.0, -2.0, -2.0]))

    def groups(self) -> list[ParameterGroup]:
        """Return the backbone and what says where samples are taken: they learn slowly."""
        slow = [self.backbone, self.points]
        slow += [m.offsets for m in self.modules() if isinstance(m, DeformableAttention)]
        parameters = [parameter for module in slow for parameter in module.parameters()]
        return [ParameterGroup(parameters, self.config.slow_rate)]

    def see(self, batch: Batch, drop: Drop) -> list[Predicted]:
        """Return what each layer of the decoder predicts."""
        maps = [
            level(stage)
            for level, stage in zip(self.levels, self.backbone(batch.images), strict=True)
        ]
        seen, where = self.encode(maps, batch, drop)
        return self.decode(seen, where, batch, drop)

    def encode(self, maps: list[Tensor], batch: Batch, drop: Drop) -> tuple[Tensor, Tokens]:
        """Return the tokens (B, N, C) of levels (B, C, H, W), and where they are."""
        like = torch.empty(0, dtype=at_least_float32(maps[0]), device=maps[0].device)
        shapes = tuple((level.shape[2], level.shape[3]) for level in maps)
        where = tokens.arrange(shapes, batch.sizes, batch.padded, self.config.channels, like)
        x = torch.cat([level.flatten(2).transpose(1, 2) for level in maps], 1)
        counts = [rows * columns for rows, columns in shapes]
        code = zip(torch.split(where.code, counts, 1), self.level_code, strict=True)
        place = torch.cat([part + level for part, level in code], 1)
        for layer in self.encoder:
            x = layer(x, place, where, drop)
        return x, where

    def decode(self, seen: Tensor, where: Tokens, batch: Batch, drop: Drop) -> list[Predicted]:
        """Return what each layer predicts of the queries."""
        place, x = self.queries.expand(len(seen), -1, -1).chunk(2, -1)
        points = self.points(place).to(at_least_float32(seen)).sigmoid()
        predicted = []
        for layer in self.decoder:
            x = layer(x, place, seen, where, points, drop)
            predicted.append(self.predict(x, points, batch))
        return predicted

    def predict(self, x: Tensor, points: Tensor, batch: Batch) -> Predicted:
        """Return classes and boxes of queries (B, Q, C): boxes about their points (B, Q, 2)."""
        exact = x.to(at_least_float32(x))
        with torch.autocast(x.device.type, enabled=False):
            logits, deltas = self.cls(exact), self.reg(exact)
        centre = (deltas[..., :2] + points.logit(_EDGE)).sigmoid()
        half = deltas[..., 2:].sigmoid() / 2
        boxes = torch.cat([centre - half, centre + half], -1)
        return Predicted(logits, boxes * hungarian.image_sides(batch.sizes, boxes)[:, None])

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, Tensor]:
        """Return ``loss_cls_1``, ``loss_l1_1``, ``loss_giou_1`` and so on of every decoder layer.

        Dropout is drawn. All are divided by the number of matched objects.
        """
        share = self.config.dropout if self.training else 0.0
        drop = dropping(share, shuffle, len(batch.images), batch.images.device)
        return hungarian.every_loss(self.see(batch, drop), batch, self.config.loss)

    @torch.no_grad()
    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        """Return the detections of each image, in pixels of its patch before resizing.

        A query may be found as several classes. There is no NMS: ``keep.nms`` is not used.
        """
        return postprocess.all_usable(self.candidates(batch, keep), batch)

    def candidates(self, batch: Batch, keep: Keep) -> list[Candidates]:
        """Return the boxes of each image; see ``Exportable``."""
        return hungarian.candidates(self.see(batch, nothing)[-1], batch, keep)
