"""``sodkit predict``: detects objects in whole images."""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sodkit.cli.options import (
    BitDepth,
    CheckpointPath,
    Classes,
    Device,
    Format,
    Json,
    Overwrite,
    Scores,
    SkipBad,
    Subset,
)
from sodkit.cli.predict_arguments import (
    Bands,
    BatchSize,
    Crs,
    Every,
    GeoJson,
    ImageFolder,
    Inputs,
    MaxPerPatch,
    Merge,
    MergeNms,
    Nms,
    NoSplit,
    Out,
    Proposals,
    Recursive,
    Score,
    Size,
    Stride,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import torch

    from sodkit.data.left_out import LeftOut
    from sodkit.data.predictions.geo_features import GeoPlan
    from sodkit.data.records import Category, Detections
    from sodkit.engine.checkpoint import Checkpoint
    from sodkit.engine.journal import Journal
    from sodkit.engine.predict_options import PredictOptions
    from sodkit.engine.targets import Targets
    from sodkit.engine.world import World
    from sodkit.models.detector import DetectorModule


def predict(
    checkpoint: CheckpointPath,
    images: Inputs,
    out: Out,
    image_folder: ImageFolder = None,
    format_: Format = None,
    subset: Subset = None,
    size: Size = None,
    stride: Stride = None,
    no_split: NoSplit = False,
    score: Score = None,
    scores: Scores = None,
    nms: Nms = None,
    merge_nms: MergeNms = None,
    merge: Merge = None,
    max_per_patch: MaxPerPatch = None,
    proposals: Proposals = None,
    recursive: Recursive = False,
    every: Every = 1,
    batch: BatchSize = None,
    bands: Bands = None,
    bit_depth: BitDepth = None,
    geojson: GeoJson = None,
    crs: Crs = "wgs84",
    classes: Classes = None,
    skip_bad: SkipBad = False,
    device: Device = "auto",
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Cut images into windows, detect, and merge to predictions on whole images.

    Example: sodkit predict runs/cfinet test.json --out pred.json
    """
    from sodkit.cli.common import chosen_checkpoint, note, silent
    from sodkit.data.images.path_list import expanded
    from sodkit.data.left_out import LeftOut
    from sodkit.data.predictions.geo_features import check_geo_path
    from sodkit.data.predictions.output_path import check_predictions_path
    from sodkit.engine.connection import joined
    from sodkit.engine.device import pick_device
    from sodkit.engine.predict_options import PredictOptions, parse_bands
    from sodkit.engine.predict_run import help_first
    from sodkit.engine.targets import check_holds, find_targets, geo_plan
    from sodkit.outputs import fill_file

    chosen = None if bands is None else parse_bands(bands)
    with joined() as world, ExitStack() as first_only:
        images = world.from_first(partial(expanded, images, sys.stdin.buffer))
        if world.first:
            check = partial(check_predictions_path, out, overwrite=overwrite, read=images)
            first_only.enter_context(fill_file(out, check))
            if geojson is not None:
                check_geo_path(geojson, overwrite=overwrite)
        target, left = pick_device(device, world), LeftOut(bad=skip_bad)
        file = chosen_checkpoint(checkpoint, note if world.first else silent)
        loaded = _loaded(file, target)
        _note_unheeded(nms if world.first else None, loaded.detector)
        targets = world.from_first(lambda: find_targets(
            images, loaded.categories, folder=image_folder, format_name=format_, subset=subset,
            recursive=recursive, classes=classes, left=left, bands=chosen, every=every, say=note,
        ))  # fmt: skip
        check_holds(out, loaded.recipe.boxes, targets, proposals=proposals is not None)
        geo = None if geojson is None else geo_plan(geojson, crs, targets)
        default = PredictOptions.of(loaded.recipe)
        options = chosen_options(
            default if proposals is None else default.for_proposals(proposals),
            {"size": size, "stride": stride, "merge_nms": merge_nms, "batch": batch,
             "bit_depth": bit_depth, "bands": chosen, "merge": merge},
            {"score": score, "nms": nms, "max_per_patch": max_per_patch}, no_split=no_split,
        )  # fmt: skip
        options = _with_scores(options, scores, loaded.categories, world)
        if not world.first:
            help_first(loaded, targets, target, options, world=world)
            return
        counts, targets = _predict_and_write(
            out, file, loaded, targets, target, options, left, geo, world, overwrite=overwrite
        )
    _print(out, counts, targets, as_json)


def _loaded(file: Path, device: torch.device) -> Checkpoint:
    """Read a checkpoint, without what only training needs."""
    from sodkit.engine.checkpoint import load_checkpoint
    from sodkit.models.detector import DropsUnused

    loaded = load_checkpoint(file, device)
    if isinstance(loaded.detector, DropsUnused):
        loaded.detector.drop_unused()
    return loaded


def _with_scores(
    options: PredictOptions, path: Path | None, categories: Sequence[Category], world: World
) -> PredictOptions:
    """Return options with the least score of each class that a file states; None: as they are."""
    from dataclasses import replace

    from sodkit.cli.common import note
    from sodkit.data.class_scores import read_class_scores
    from sodkit.errors import UsageError

    if path is None:
        return options
    if options.proposals is not None:
        raise UsageError("--scores is by class, and --proposals have none")
    names, least = [category.name for category in categories], options.keep.score
    scores = world.from_first(lambda: read_class_scores(path, names, least, note))
    if world.first and (scores < least).any():
        note(f"{path}: what scores below {least:g} is not there, --score says how low it goes")
    return replace(options, class_scores=tuple(scores.tolist()))


def _note_unheeded(nms: float | None, detector: DetectorModule) -> None:
    """Say which option is given and does nothing."""
    from sodkit.cli.common import note

    if nms is not None and not detector.suppresses:
        note("--nms does nothing with this detector: it has no NMS, or a soft one")


def _predict_and_write(
    out: Path,
    file: Path,
    loaded: Checkpoint,
    targets: Targets,
    device: torch.device,
    options: PredictOptions,
    left: LeftOut,
    geo: GeoPlan | None,
    world: World,
    *,
    overwrite: bool,
) -> tuple[list[int], Targets]:
    """Predict, or go on with it; return the detections of each class and what could be read."""
    from sodkit.cli.common import note
    from sodkit.data.left_out import LEFT_OUT
    from sodkit.data.predictions.geo_features import write_geo
    from sodkit.engine.device import describe
    from sodkit.engine.journal import journal_file, open_journal
    from sodkit.engine.predict_run import run_identity
    from sodkit.engine.targets import write_found

    proposals = options.proposals is not None
    if world.size > 1:
        note(f"device: {describe(device)}; {world.size} processes")
    with open_journal(
        journal_file(out), run_identity(file, targets, options, device), targets.images,
        loaded.recipe.boxes, overwrite=overwrite, say=note,
    ) as journal:  # fmt: skip
        targets = _detect(journal, loaded, targets, device, options, left, world)
        ids = write_found(out, journal, targets, proposals=proposals)
        if geo is not None:
            write_geo(geo, journal, targets.images, None if proposals else targets.categories)
        left.write(path := out.with_suffix(f".{LEFT_OUT}"))
        counts = _counts(journal, targets)
    for sentence in left.sentences(path):
        note(sentence)
    if ids is not None:
        look = ["sodkit", "visualize", str(ids), "--images", str(targets.folder)]
        look += ["--predictions", str(out), "--out", "pictures"]
        note(f"image ids: {ids}; to look: {shlex.join(look)}")
    for video in dict.fromkeys(frame.path for frame in targets.frames.values()):
        note(f"visualize needs the frames as images: {frames_command(video)}")
    return counts, targets


def frames_command(video: Path) -> str:
    """Return the shell commands that write a video's frames where ``visualize`` looks for them."""
    folder = video.with_suffix("")
    frames = shlex.join(["ffmpeg", "-i", str(video), f"{folder}/frame_%06d.png"])
    return f"{shlex.join(['mkdir', '-p', str(folder)])} && {frames}"


def chosen_options(
    default: PredictOptions, changes: dict[str, Any], keep: dict[str, Any], *, no_split: bool
) -> PredictOptions:
    """Return a recipe's options with changes; None leaves one as it is.

    Args:
        default: the recipe's.
        changes: fields of ``PredictOptions``; windows smaller than the stride get no gaps.
        keep: fields of ``Keep``.
        no_split: whole images at once.
    """
    from dataclasses import replace

    changes = {name: value for name, value in changes.items() if value is not None}
    keep = {name: value for name, value in keep.items() if value is not None}
    changes.setdefault("stride", min(default.stride, changes.get("size", default.stride)))
    if no_split:
        changes["size"] = None
    return replace(default, **changes, keep=default.keep.model_copy(update=keep))


def _detect(
    journal: Journal,
    loaded: Checkpoint,
    targets: Targets,
    device: torch.device,
    options: PredictOptions,
    left: LeftOut,
    world: World,
) -> Targets:
    """Predict on the images that are not done, with a bar; return those that could be read."""
    from sodkit.cli.common import progress
    from sodkit.engine.failures import explained
    from sodkit.engine.predict_run import predict_into

    with explained("give a smaller --batch or --size"), progress("predicting") as report:
        return predict_into(
            journal, loaded, targets, device=device, options=options, left=left, progress=report,
            world=world,
        )  # fmt: skip


def _counts(parts: Iterable[Detections], targets: Targets) -> list[int]:
    """Return how many detections there are of each class."""
    import numpy as np

    classes = len(targets.categories)
    counts = np.zeros(classes, np.int64)
    for part in parts:
        counts += np.bincount(part.labels, minlength=classes)
    return [int(count) for count in counts]


def _print(out: Path, counts: list[int], targets: Targets, as_json: bool) -> None:
    """Print how many detections there are of each class."""
    from sodkit.cli.common import print_json
    from sodkit.cli.tables import print_table

    images = len(targets.images)
    if as_json:
        print_json({"out": str(out), "images": images, "detections": sum(counts)})
        return
    names = [category.name for category in targets.categories]
    rows = [*zip(names, counts, strict=True), ("all", sum(counts))]
    print_table(f"{out}: {images} images", ("class", "detections"), rows)
