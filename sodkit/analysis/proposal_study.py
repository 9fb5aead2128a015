"""What a detector's proposals are worth, and where it loses objects: Table 4, Figure 4 and beyond.

Proposals and detections are those of ``predict``, recall and good proposals those of ``eval
--proposals``. Where objects are lost is read off three runs over the windows: what is given out,
every box before the score threshold and NMS, and the proposals that the detector's head gets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sodkit.analysis.anchor_study import resized_extents
from sodkit.analysis.object_states import (
    Meetings,
    ObjectStates,
    Steps,
    found_objects,
    object_states,
    states_as_dict,
)
from sodkit.analysis.system_positives import Objects, positives_of
from sodkit.arrays import BoolArray
from sodkit.data.naming import listed
from sodkit.data.records import Annotations, Category, Detections, ImageRecord
from sodkit.engine.checkpoint import Checkpoint
from sodkit.engine.predict import files_in, predict_each, predict_images
from sodkit.engine.predict_options import PredictOptions
from sodkit.engine.train import check_kind
from sodkit.engine.window_detection import detect, detect_batches
from sodkit.engine.window_memory import check_memory
from sodkit.engine.window_plan import window_batches
from sodkit.errors import DataError
from sodkit.evaluation.proposal_recall import ProposalEvaluation, evaluate_proposals
from sodkit.evaluation.protocol import protocol_for
from sodkit.files import StrPath
from sodkit.models.detector import Proposes
from sodkit.settings import Keep, Recipe
from sodkit.settings.detectors import Model
from sodkit.settings.dodet import Dodet
from sodkit.settings.roi_transformer import RoiTransformer
from sodkit.settings.two_stage import Cfinet, FasterRcnn, OrientedRcnn

EVERY_BOX = Keep(score=0.0, nms=1.0, max_per_patch=1_000_000)
"""Gives all boxes of a window: none is too low, none suppresses another."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, eq=False)
class ProposalStudy:
    """What is known of one checkpoint.

    Attributes:
        limit: proposals a patch, and the best of an image that count.
        recall: average recall and good proposals by size range; None: it makes no proposals.
        states: what becomes of the objects that are not ignored.
        ignored: how many are.
    """

    limit: int
    recall: ProposalEvaluation | None
    states: ObjectStates
    ignored: int

    def __repr__(self) -> str:
        proposals = "no proposals" if self.recall is None else f"{self.limit} proposals an image"
        return f"<ProposalStudy: {self.states!r}, {proposals}>"

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; undefined numbers are None."""
        return {
            "proposals": None if self.recall is None else self.recall.as_dict(),
            "objects": states_as_dict(self.states),
        }


def analyze_proposals(
    loaded: Checkpoint,
    annotations: Annotations,
    images: StrPath,
    *,
    device: torch.device,
    limit: int = 300,
    options: PredictOptions | None = None,
    progress: Progress = lambda done, total: None,
) -> ProposalStudy:
    """Measure a detector's proposals, and find out where it loses objects.

    Args:
        loaded: the checkpoint, on ``device``.
        annotations: of whole images, or of patches; the classes are the checkpoint's, in its order.
        images: the folder where ``file_name`` starts.
        device: where to compute.
        limit: proposals a patch, and the best of an image that count.
        options: windows, merging, and what is a detection; None: the recipe's.
        progress: called with (done, total) images; all are gone through several times.

    Raises:
        DataError: no objects that count, other boxes than the checkpoint's, an image that cannot be
            read, or other classes.
        ModelError: the detector returns what cannot be.
    """
    check_fits(loaded.recipe, loaded.categories, annotations)
    options = options or PredictOptions.of(loaded.recipe)
    run = _Run(loaded, annotations, Path(images), device, options)
    proposes = isinstance(loaded.detector, Proposes)
    count = 4 if proposes else 2
    passes = iter([partial(_of_passes, progress, k, count) for k in range(count)])
    recall = None
    if proposes:
        found = best_proposals(
            loaded, annotations.images, images, limit, device=device, options=options,
            progress=next(passes),
        )  # fmt: skip
        recall = evaluate_proposals(annotations, found, protocol_for(annotations.kind), (limit,))
    meetings = Meetings(annotations, options.keep.score)
    run.every_window(replace(options, keep=EVERY_BOX), meetings.add_boxes, next(passes))
    if proposes:
        number = proposals_of_head(loaded.recipe.model) or limit
        run.every_window(options.for_proposals(number), meetings.add_proposals, next(passes))
    steps = Steps(
        anchor=with_positives(annotations, loaded.recipe),
        proposal=meetings.proposal if proposes else None,
        box=meetings.box,
        score=meetings.score,
        own=meetings.own,
        found=run.found(next(passes)),
    )
    states = object_states(steps, annotations.area, ~annotations.ignore)
    return ProposalStudy(limit, recall, states, int(annotations.ignore.sum()))


def best_proposals(
    loaded: Checkpoint,
    images: Sequence[ImageRecord],
    folder: StrPath,
    limit: int,
    *,
    device: torch.device,
    options: PredictOptions | None = None,
    progress: Progress = lambda done, total: None,
) -> Detections:
    """Return the best proposals of each image, of ``limit`` a patch.

    Those are all that ``evaluate_proposals`` looks at with this limit, whatever was left out.

    Args:
        loaded: the checkpoint, of a detector that ``Proposes``.
        images: what to look at.
        folder: where ``file_name`` starts.
        limit: proposals a patch, and an image.
        device: where to compute.
        options: windows; None: the recipe's.
        progress: called with (images done, images in all).

    Raises:
        DataError: an image that cannot be read.
    """
    options = (options or PredictOptions.of(loaded.recipe)).for_proposals(limit)
    best = []
    stream = predict_each(
        loaded.detector, loaded.recipe, images, folder, device=device, options=options
    )
    for done, (_, found) in enumerate(stream, 1):
        if isinstance(found, DataError):
            raise found
        best.append(found.take(np.argsort(-found.scores, kind="stable")[:limit]))
        progress(done, len(images))
    return Detections.concatenate(best, loaded.recipe.boxes)


def proposals_of_head(model: Model) -> int | None:
    """Return how many proposals of a patch the detector's head gets; None: it gets none."""
    match model:
        case Cfinet():
            return model.crpn.limit.test
        case FasterRcnn() | RoiTransformer():
            return model.proposals.limit.test
        case OrientedRcnn() | Dodet():
            return model.rpn.limit.test
        case _:
            return None


def with_positives(annotations: Annotations, recipe: Recipe) -> BoolArray | None:
    """Return which annotations (N,) get a positive by the recipe's rule of training, each alone.

    They are taken as ``analyze_anchors`` takes them. None: the detector's rule is not known there.
    """
    boxes = annotations.xyxy * recipe.input.scale
    known = (boxes[:, 2:] > boxes[:, :2]).all(1)
    extents = resized_extents(annotations, recipe.input)[known]
    counts = positives_of(recipe.model, Objects(boxes[known], extents, recipe.input.scale))
    if counts is None:
        return None
    result = np.zeros(len(annotations), np.bool_)
    result[known] = counts > 0
    return result


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """A checkpoint on the images of a data set."""

    loaded: Checkpoint
    annotations: Annotations
    folder: Path
    device: torch.device
    options: PredictOptions

    def found(self, progress: Progress) -> BoolArray:
        """Return which annotations (N,) are found by the detections that are given out."""
        loaded = self.loaded
        detections = predict_images(
            loaded.detector, loaded.recipe, self.annotations.images, self.folder,
            device=self.device, options=self.options, classes=len(loaded.categories),
            progress=progress,
        )  # fmt: skip
        return found_objects(self.annotations, detections)

    def every_window(
        self, options: PredictOptions, add: Callable[[int, Detections], None], progress: Progress
    ) -> None:
        """Give the index of its image and what is found to ``add``, window by window."""
        images, recipe = self.annotations.images, self.loaded.recipe
        check_memory(images, options, recipe)
        run = partial(
            detect, self.loaded.detector, recipe, options, self.device, len(self.loaded.categories)
        )
        plan = window_batches(images, options.size, options.stride, options.batch)
        opened = files_in(self.folder, options)
        for window, found in detect_batches(run, images, plan, options, recipe, opened):
            if isinstance(found, DataError):
                raise found
            add(window.image, found)
            if window.last:
                progress(window.image + 1, len(images))


def check_fits(recipe: Recipe, categories: Sequence[Category], annotations: Annotations) -> None:
    """Raise DataError unless there are objects that a checkpoint's detector could find.

    Args:
        recipe: the checkpoint's.
        categories: the checkpoint's.
        annotations: what it is to be studied on.
    """
    check_kind(recipe, annotations)
    names = [[one.name for one in own] for own in (categories, annotations.categories)]
    if names[0] != names[1]:
        raise DataError(
            f"the annotations' classes are {listed(names[1])}, the checkpoint's {listed(names[0])}"
        )
    if annotations.ignore.all():
        raise DataError("no objects to analyse: there are none, or all are ignored")


def _of_passes(progress: Progress, number: int, passes: int, done: int, total: int) -> None:
    """Report the images of one of several passes over all of them."""
    progress(number * total + done, passes * total)
