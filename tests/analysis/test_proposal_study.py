"""A detector whose boxes are scripted loses each object where the script says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sodkit.analysis.object_states import STATES
from sodkit.analysis.proposal_study import (
    analyze_proposals,
    best_proposals,
    proposals_of_head,
    with_positives,
)
from sodkit.config import builtin_names, load_recipe
from sodkit.data.batches import Batch, PatchDetections
from sodkit.data.images.decoding import write_image
from sodkit.data.records import Annotations, Category, ImageRecord
from sodkit.engine.checkpoint import Checkpoint
from sodkit.engine.predict import predict_images
from sodkit.engine.predict_options import PredictOptions
from sodkit.errors import DataError
from sodkit.evaluation.proposal_recall import evaluate_proposals
from sodkit.evaluation.protocol import SODA_D
from sodkit.models.detector import DetectorModule
from sodkit.models.parts.sampling import Shuffle
from sodkit.models.zoo import build
from sodkit.settings import Keep
from sodkit.settings.base import BoxKind

CPU = torch.device("cpu")
CATEGORIES = (Category(3, "ship"), Category(4, "<b>车</b>"))
LEAST = 0.1
RECIPE = load_recipe(
    "cfinet-r50-soda-d",
    ["input.scale=1.0", f"keep.score={LEAST}", "model.crpn.assignment.match_best=false"],
)
OPTIONS = PredictOptions(size=64, stride=64, merge_nms=0.5, batch=2, keep=RECIPE.keep)
SIDE = 14.0
SCRIPT: dict[str, tuple[float, list[tuple[float, int]], bool]] = {
    # what the object is there for: its side, (score, class) of boxes on it, is there a proposal
    "no anchor": (2.0, [], False),
    "no proposal": (SIDE, [], False),
    "no box": (SIDE, [], True),
    "low score": (SIDE, [(0.05, 0), (0.09, 1)], True),
    "wrong class": (SIDE, [(0.05, 0), (0.5, 1)], True),
    "suppressed": (SIDE, [(0.3, 0)], False),
    "found": (SIDE, [(0.9, 0)], False),
}
PLACES = {name: (20.0 * (k % 3) + 2, 20.0 * (k // 3) + 2) for k, name in enumerate(SCRIPT)}


class Scripted(DetectorModule):
    """Gives the boxes of ``SCRIPT`` in each white window, whose NMS takes one of them away."""

    boxes: BoxKind = "horizontal"

    def forward(self, batch: Batch, shuffle: Shuffle) -> dict[str, torch.Tensor]:
        return {}

    def detect(self, batch: Batch, keep: Keep) -> list[PatchDetections]:
        rows = [
            (*PLACES[name], side, score, label)
            for name, (side, own, _) in SCRIPT.items()
            for score, label in own
            if score > keep.score and (keep.nms == 1 or name != "suppressed")
        ]
        return self._in_white(batch, rows)

    def _in_white(self, batch: Batch, rows: list[tuple[float, ...]]) -> list[PatchDetections]:
        x, y, side, scores, labels = torch.tensor(rows).unbind(1)
        found = torch.stack([x, y, x + side, y + side], 1), scores, labels.long()
        return [
            PatchDetections(*(column[: len(rows) * int(image.mean() > 0)] for column in found))
            for image in batch.images
        ]


class Proposing(Scripted):
    """The same, with proposals beside the last object, which has none."""

    def propose(self, batch: Batch, limit: int) -> list[PatchDetections]:
        beside = [(50.0, 50, 6, 0.9 - k / 100, 0) for k in range(40)]
        own = [(*PLACES[n], side, 0.01, 0) for n, (side, _, has) in SCRIPT.items() if has]
        return self._in_white(batch, [*beside, *own][:limit])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[Annotations, Path]:
    """An image of two windows, the second white, and one without objects."""
    folder = tmp_path_factory.mktemp("scripted")
    pixels = np.zeros((64, 128, 3), np.uint8)
    write_image(folder / "b.png", pixels)
    pixels[:, 64:] = 255
    write_image(folder / "a.png", pixels)
    xywh = np.array([(PLACES[n][0] + 64, PLACES[n][1], s, s) for n, (s, *_) in SCRIPT.items()])
    xywh = np.concatenate([xywh, xywh[-1:]])
    count = len(xywh)
    annotations = Annotations(
        images=(ImageRecord(9, "a.png", 128, 64), ImageRecord(2, "b.png", 128, 64)),
        categories=CATEGORIES,
        ids=np.arange(count),
        image_index=np.zeros(count, np.int64),
        labels=np.zeros(count, np.int64),
        xywh=xywh,
        area=xywh[:, 2] * xywh[:, 3],
        ignore=np.arange(count) == count - 1,
    )
    return annotations, folder


def test_each_object_is_lost_where_the_script_says(data: tuple[Annotations, Path]) -> None:
    seen: list[tuple[int, int]] = []
    study = analyze_proposals(
        Checkpoint(Proposing(), RECIPE, CATEGORIES), *data, device=CPU, limit=50,
        options=OPTIONS, progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    assert study.states.names == STATES
    assert [STATES[k] for k in study.states.state] == list(SCRIPT)
    assert study.ignored == 1
    assert seen == [(k + 1, 8) for k in range(8)]
    assert study.recall is not None
    with_proposal = [has for _, _, has in SCRIPT.values()]
    # objects of 14 px are rS; the last one is there twice, once ignored
    assert study.recall.good["rS"][50] == sum(with_proposal) / (len(SCRIPT) - 1)
    assert study.as_dict()["objects"]["rS"]["states"]["found"] == 1 / 6


def test_without_proposals_these_states_are_left_out(data: tuple[Annotations, Path]) -> None:
    study = analyze_proposals(
        Checkpoint(Scripted(), RECIPE, CATEGORIES), *data, device=CPU, options=OPTIONS
    )
    assert study.recall is None
    assert study.as_dict()["proposals"] is None
    names = [study.states.names[k] for k in study.states.state]
    assert names == [n.replace("no proposal", "no box") for n in SCRIPT]


def test_the_best_proposals_are_those_that_the_evaluation_takes(
    data: tuple[Annotations, Path],
) -> None:
    """Of 42 in one window; the same figures as of ``predict --proposals`` and ``eval``."""
    annotations, folder = data
    loaded = Checkpoint(Proposing(), RECIPE, CATEGORIES)
    for limit in (7, 41, 100):
        best = best_proposals(
            loaded, annotations.images, folder, limit, device=CPU, options=OPTIONS
        )
        every = predict_images(
            loaded.detector, RECIPE, annotations.images, folder, device=CPU,
            options=OPTIONS.for_proposals(100),
        )  # fmt: skip
        assert len(best) == min(limit, len(every))
        one, other = (
            evaluate_proposals(annotations, found, SODA_D, (limit,)) for found in (best, every)
        )
        assert one.metrics == other.metrics


def test_what_does_not_fit_is_refused(data: tuple[Annotations, Path]) -> None:
    annotations, folder = data

    def study(own: Annotations, categories: tuple[Category, ...] = CATEGORIES) -> None:
        loaded = Checkpoint(Scripted(), RECIPE, categories)
        analyze_proposals(loaded, own, folder, device=CPU, options=OPTIONS)

    with pytest.raises(DataError, match="no objects to analyse"):
        study(replace(annotations, ignore=np.ones(len(annotations), np.bool_)))
    with pytest.raises(DataError, match="classes are ship, <b>车</b>, the checkpoint's <b>"):
        study(annotations, CATEGORIES[::-1])
    with pytest.raises(DataError, match="oriented boxes"):
        study(replace(annotations, obb=np.zeros((len(annotations), 5))))
    gone = replace(annotations, images=(replace(annotations.images[0], file_name="no.png"),))
    with pytest.raises(DataError, match=r"no\.png"):
        study(gone.take(np.arange(3)))


def test_every_detector_that_proposes_has_a_number_for_its_head() -> None:
    proposing = {"cfinet", "faster-rcnn", "oriented-rcnn", "roi-transformer", "dodet"}
    for name in builtin_names():
        model = load_recipe(name).model
        assert (proposals_of_head(model) is not None) == (model.kind in proposing), name
    assert proposals_of_head(load_recipe("rfla-r50-soda-d").model) == 1000


def test_positives_follow_the_rule_of_training(data: tuple[Annotations, Path]) -> None:
    annotations, _ = data
    given = with_positives(annotations, RECIPE)
    assert given is not None
    assert given.tolist() == [False, *[True] * 7]
    best = load_recipe("cfinet-r50-soda-d", ["model.crpn.assignment.match_best=true"])
    given = with_positives(annotations, best)
    assert given is not None
    assert given.all()
    assert with_positives(annotations, load_recipe("centernet-r50-soda-d")) is None


def test_every_box_is_given_before_score_and_nms() -> None:
    """Of a real head: each RoI has a box for each class, whatever its score."""
    small = load_recipe("cfinet-r18-demo", ["model.fpn.channels=32", "model.roi.hidden=32"])
    torch.manual_seed(0)
    detector = build(small.model, 3).eval()
    batch = Batch(images=torch.randn(1, 3, 64, 64), sizes=((64, 64),), scales=((1.0, 1.0),))
    with torch.inference_mode():
        head = detector.propose(batch, proposals_of_head(small.model) or 0)
        every = detector.detect(batch, Keep(score=0.0, nms=1.0, max_per_patch=1_000_000))
    assert len(every[0].scores) == 3 * len(head[0].scores) > 0
