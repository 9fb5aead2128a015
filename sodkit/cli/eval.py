"""``sodkit eval``: measures predictions on whole images against annotations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sodkit.cli.options import (
    Angle,
    Area,
    CategoryIds,
    Changes,
    Classes,
    Difficult,
    Format,
    Json,
    Oriented,
    Overwrite,
    PredictionsAngle,
    SkipBad,
    Subset,
)

if TYPE_CHECKING:
    from sodkit.data.left_out import LeftOut
    from sodkit.data.opening import Source
    from sodkit.data.predictions.columns import Stated
    from sodkit.data.records import Annotations, BoxKind, Detections
    from sodkit.evaluation.compare import Run
    from sodkit.evaluation.evaluate import IgnoreRegions
    from sodkit.evaluation.protocol import Protocol

REPORT_FILES = ("left_out.csv", "metrics.json", "report.html", "per_class.csv", "scores.json")
"""What is written to --out, of proposals the first two."""

Predictions = Annotated[
    list[Path],
    typer.Argument(
        help="Predictions: .json, .npz, or text (DOTA, YOLO, VisDrone): folder, .zip or .txt;"
        " NAME=FILE,FILE: those of a method's seeds."
    ),
]
ProtocolName = Annotated[
    Literal["soda-d", "soda-a", "coco"] | None,
    typer.Option(help="Default: soda-a if the data are oriented, else soda-d."),
]
Boxes = Annotated[
    Literal["horizontal", "oriented"] | None,
    typer.Option(help="Compare as this kind of box (default: as the data are)."),
]
Resamples = Annotated[
    int, typer.Option(min=0, help="Bootstrap draws of images for intervals (report, comparison).")
]
Images = Annotated[
    Path | None, typer.Option(help="Where file_name starts, for the worst images (default: found).")
]
Out = Annotated[
    Path | None,
    typer.Option(help="Folder for report.html, metrics.json, per_class.csv, scores.json."),
]
Viewer = Annotated[
    bool,
    typer.Option("--viewer", help="OUT/viewer.html: the worst images, linked from the report."),
]
OnlyPredicted = Annotated[
    bool, typer.Option("--only-predicted", help="Only the images that were predicted on.")
]


def evaluate(
    ann: Annotated[Path, typer.Argument(help="Annotations of the whole images.")],
    predictions: Predictions,
    protocol: ProtocolName = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Recipe whose section evaluation gives area ranges and limits."),
    ] = None,
    overrides: Changes = None,
    proposals: Annotated[
        bool, typer.Option("--proposals", help="They are class-agnostic: average recall by size.")
    ] = False,
    ignore_regions: Annotated[
        Literal["drop", "absorb"],
        typer.Option(help="drop: as if not there; absorb: detections inside are not wrong."),
    ] = "drop",
    format_: Format = None,
    difficult: Difficult = None,
    area: Area = None,
    angle: Angle = None,
    predictions_angle: PredictionsAngle = None,
    category_ids: CategoryIds = None,
    oriented: Oriented = False,
    subset: Subset = None,
    images: Images = None,
    boxes: Boxes = None,
    out: Out = None,
    viewer: Viewer = False,
    resamples: Resamples = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of these draws.")] = 0,
    classes: Classes = None,
    only_predicted: OnlyPredicted = False,
    skip_bad: SkipBad = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Measure predictions: AP, AP50, AP75, AP and AR by size, per class.

    Several PREDICTIONS are put side by side, with intervals of their differences to the first.
    Methods are compared by several seeds each: a=a0.json,a1.json b=b0.json,b1.json

    Example: sodkit eval test.json pred.json --images photos --out report
    """
    from sodkit.cli.common import list_left_out, output_folder
    from sodkit.cli.eval_files import chosen_files
    from sodkit.cli.eval_results import Options, evaluate_proposals, finish
    from sodkit.data.formats import Reading
    from sodkit.data.opening import Source
    from sodkit.data.predictions.columns import Stated
    from sodkit.errors import UsageError

    how = Reading(difficult, area, angle, oriented)
    source = Source(ann, format_, images, subset, how, classes)
    source, annotations, left = _truth(source, boxes, skip_bad=skip_bad)
    stated = Stated(predictions_angle, category_ids)
    chosen = choose_protocol(protocol, recipe, overrides or [], annotations.kind)
    methods, named = chosen_files(predictions)
    files = {name: path for own in methods.values() for name, path in own.items()}
    if named and proposals:
        raise UsageError("methods are compared by detections, not by proposals")
    several, folder = len(files) > 1 or named or proposals, images
    if images is None and out is not None and not several:
        folder = source.whole_folder(annotations)
    if viewer:
        _check_viewer(out, folder, several=several)
    with output_folder(out, "eval", _output_names(proposals, viewer), overwrite=overwrite):
        list_left_out(left, out)
        part = _Part(source, boxes, proposals, only_predicted, stated)
        annotations, found = _read(annotations, files, chosen, part)
        if proposals:
            evaluate_proposals(annotations, found.items(), chosen, out, as_json)
            return
        runs = [_run(name, annotations, own, chosen, ignore_regions) for name, own in found.items()]
        options = Options(
            ignore_regions, resamples, seed, folder, images is not None or viewer, out, as_json,
            page_title(list(files.values()), ann),
            _about(source, boxes, only_predicted=only_predicted), viewer,
        )  # fmt: skip
        finish(annotations, methods if named else {}, runs, options)


def _check_viewer(out: Path | None, images: Path | None, *, several: bool) -> None:
    """Raise UsageError unless there is one report that shows images."""
    from sodkit.errors import UsageError

    if out is None or images is None:
        raise UsageError("--viewer is of the report's worst images", hint="add --images and --out")
    if several:
        raise UsageError(
            "--viewer shows the detections of one file",
            hint="give one file, and no --proposals; sodkit visualize --html shows any",
        )


def _output_names(proposals: bool, viewer: bool) -> tuple[str, ...]:
    """Return the files that are written to --out."""
    if proposals:
        return REPORT_FILES[:2]
    return (*REPORT_FILES, "viewer.html") if viewer else REPORT_FILES


def _truth(
    source: Source, boxes: BoxKind | None, *, skip_bad: bool
) -> tuple[Source, Annotations, LeftOut]:
    """Read the annotations to evaluate on; return also their subset and what was left out."""
    from sodkit.cli.common import note
    from sodkit.data.left_out import LeftOut
    from sodkit.data.opening import of_one_subset, open_source
    from sodkit.data.records import as_boxes

    left = LeftOut(bad=skip_bad)
    source = of_one_subset(source, note)
    own = open_source(source, left, note, all_classes=True)
    return source, as_boxes(own, boxes), left


def page_title(predictions: Sequence[Path], annotations: Path) -> str:
    """Return the report's title: which files were evaluated on which."""
    truth = annotations.resolve().name
    if len(predictions) > 1:
        return f"{len(predictions)} predictions on {truth}"
    return f"{predictions[0].resolve().name} on {truth}"


def _about(source: Source, boxes: BoxKind | None, *, only_predicted: bool) -> str:
    """Return what of the files was evaluated, in words."""
    words = [
        f"the subset {source.subset}" if source.subset else "",
        f"only the classes {source.classes}" if source.classes else "",
        "only images with a prediction" if only_predicted else "",
        f"boxes as {boxes}" if boxes else "",
    ]
    return "; ".join(word for word in words if word)


@dataclass(frozen=True, slots=True)
class _Part:
    """What of the annotations and predictions is evaluated, see the options."""

    source: Source
    boxes: BoxKind | None
    proposals: bool
    only_predicted: bool
    stated: Stated


def _read(
    annotations: Annotations, files: Mapping[str, Path], protocol: Protocol, part: _Part
) -> tuple[Annotations, dict[str, Detections]]:
    """Read predictions, say what is odd about them, and select what is evaluated."""
    from functools import reduce

    import numpy as np

    from sodkit.cli.common import note
    from sodkit.data.predictions.storage import read_predicted
    from sodkit.data.records import as_boxes
    from sodkit.data.restriction import chosen_labels, only_images, only_labels
    from sodkit.evaluation.doubts import doubts

    labels = None
    if part.source.classes is not None:
        where = str(part.source.path)
        labels = chosen_labels(part.source.classes, annotations.categories, where, note)
    found, images = {}, []
    for name, path in files.items():
        own = read_predicted(
            path, annotations, proposals=part.proposals, drop_other_classes=labels is not None,
            stated=part.stated, say=note,
        )  # fmt: skip
        found[name] = as_boxes(own.detections, part.boxes)
        images.append(own.images)
        if own.other_classes:
            note(f"{path}: {own.other_classes} predictions of other classes are left out")
        covered = len(annotations.images) if part.only_predicted else len(own.images)
        for sentence in doubts(annotations, found[name], protocol, covered):
            note(f"{path}: {sentence}")
    if part.only_predicted:
        common = reduce(np.intersect1d, images)
        missing = len(annotations.images) - len(common)
        note(f"{missing} of {len(annotations.images)} images are left out: without a prediction")
        annotations = only_images(annotations, common)
        ids = np.array([image.id for image in annotations.images], np.int64)
        found = {name: own.take(np.isin(own.image_ids, ids)) for name, own in found.items()}
    if labels is None:
        return annotations, found
    count = len(annotations.categories)
    if not part.proposals:
        found = {name: only_labels(own, labels, count) for name, own in found.items()}
    return only_labels(annotations, labels, count), found


def choose_protocol(
    name: str | None, recipe: str | None, overrides: list[str], kind: BoxKind
) -> Protocol:
    """Return the protocol that the options name.

    Args:
        name: goes before the recipe's.
        recipe: built-in name or YAML file; its section ``evaluation`` counts.
        overrides: ``evaluation.key=value``.
        kind: of the boxes; decides where no protocol is named.

    Raises:
        UsageError: unknown recipe or key, or a value that makes no protocol.
    """
    from sodkit.evaluation.protocol import protocol_for, protocol_named, protocol_of

    if recipe is None and not overrides:  # loading a recipe takes a tenth of a second
        return protocol_named(name) if name else protocol_for(kind)
    from sodkit.config import DEFAULT_RECIPES, load_recipe

    own = [f"evaluation.protocol={name}"] if name else []
    settings = load_recipe(recipe or DEFAULT_RECIPES[kind], [*overrides, *own])
    return protocol_of(settings.evaluation, kind)


def _run(
    name: str,
    annotations: Annotations,
    detections: Detections,
    protocol: Protocol,
    ignore_regions: IgnoreRegions,
) -> Run:
    """Measure the detections of one file."""
    from sodkit.cli.common import progress
    from sodkit.cli.eval_output import note_left_out
    from sodkit.evaluation.compare import Run
    from sodkit.evaluation.evaluate import evaluate as measure

    with progress(f"evaluating {name}") as report:
        result = measure(
            annotations, detections, protocol, ignore_regions=ignore_regions, progress=report
        )
    note_left_out(result)
    return Run(name, detections, result)
