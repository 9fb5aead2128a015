"""``sodkit eval``: measures predictions on whole images against annotations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    from sodkit.cli.eval_files import Methods
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
    Path | None, typer.Option(help="Where file_name starts: the report shows the worst images.")
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
    if viewer:
        _check_viewer(out, images, several=len(files) > 1 or named or proposals)
    with output_folder(out, "eval", _output_names(proposals, viewer), overwrite=overwrite):
        list_left_out(left, out)
        part = _Part(source, boxes, proposals, only_predicted, stated)
        annotations, found = _read(annotations, files, chosen, part)
        if proposals:
            _evaluate_proposals(annotations, found.items(), chosen, out, as_json)
            return
        runs = [_run(name, annotations, own, chosen, ignore_regions) for name, own in found.items()]
        about = _about(source, boxes, only_predicted=only_predicted)
        title = page_title(list(files.values()), ann)
        options = _Options(
            ignore_regions, resamples, seed, images, out, as_json, title, about, viewer
        )
        if named:
            _finish_methods(annotations, methods, runs, options)
        elif len(runs) > 1:
            _finish_several(annotations, runs, options)
        else:
            _finish_one(annotations, runs, options)


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


@dataclass(frozen=True, slots=True)
class _Options:
    """What is the same for all predictions."""

    ignore_regions: IgnoreRegions
    resamples: int
    seed: int
    images: Path | None
    out: Path | None
    as_json: bool
    title: str
    about: str
    viewer: bool


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


def _finish_one(annotations: Annotations, runs: Sequence[Run], options: _Options) -> None:
    """Print the metrics of a run; with ``--out`` look closer and write the report."""
    from sodkit.cli.common import note, print_json, progress
    from sodkit.cli.eval_output import print_evaluation

    (run,) = runs
    data = run.evaluation.as_dict()
    if options.out is not None:
        from sodkit.evaluation.study import study
        from sodkit.viz.report import write_report

        with progress("writing the report") as report:
            closer = study(
                run.evaluation, annotations, run.detections,
                ignore_regions=options.ignore_regions, resamples=options.resamples,
                seed=options.seed, name=run.name, progress=report,
            )  # fmt: skip
        data |= closer.as_dict()
        write_report(
            options.out, run.evaluation, annotations, run.detections, images=options.images,
            ignore_regions=options.ignore_regions, study=closer,
            title=options.title, about=options.about, viewer=options.viewer,
        )  # fmt: skip
        if options.viewer and not closer.worst:
            note(f"no image has an error at score {closer.score:.3g}: there is no viewer.html")
    if options.as_json:
        print_json(data)
    else:
        print_evaluation(run.evaluation)


def _finish_several(annotations: Annotations, runs: Sequence[Run], options: _Options) -> None:
    """Print runs side by side with intervals; with ``--out`` write the comparison."""
    from sodkit.cli.common import note, print_json, progress
    from sodkit.cli.eval_output import print_comparison
    from sodkit.evaluation.compare import compare
    from sodkit.evaluation.metric_files import comparison_data

    with progress("comparing") as report:
        comparison = compare(
            annotations, runs, ignore_regions=options.ignore_regions,
            resamples=options.resamples, seed=options.seed, progress=report,
        )  # fmt: skip
    if options.out is not None:
        from sodkit.viz.comparison_report import write_comparison

        write_comparison(
            options.out, annotations, runs,
            ignore_regions=options.ignore_regions, comparison=comparison,
            title=options.title, about=options.about,
        )  # fmt: skip
    if options.as_json:
        print_json(comparison_data(runs, comparison))
    else:
        print_comparison(comparison)
        note("these are files, not methods: intervals are over images alone, NAME=FILE,FILE gives"
             " several seeds")  # fmt: skip


def _finish_methods(
    annotations: Annotations, methods: Methods, runs: Sequence[Run], options: _Options
) -> None:
    """Print methods side by side, over images and seeds; with ``--out`` write the numbers."""
    from sodkit.cli.common import print_json, progress
    from sodkit.cli.eval_output import print_methods
    from sodkit.evaluation.methods import Method, compare_methods
    from sodkit.evaluation.metric_files import comparison_data, write_metrics

    by_name = {run.name: run for run in runs}
    given = [Method(name, tuple(by_name[one] for one in own)) for name, own in methods.items()]
    with progress("comparing") as report:
        comparison = compare_methods(
            annotations, given, ignore_regions=options.ignore_regions,
            resamples=options.resamples, seed=options.seed, progress=report,
        )  # fmt: skip
    data = comparison_data(runs, comparison)
    if options.out is not None:
        write_metrics(options.out, data, {run.name: run.evaluation for run in runs})
    if options.as_json:
        print_json(data)
    else:
        print_methods(comparison)


def _evaluate_proposals(
    annotations: Annotations,
    files: Iterable[tuple[str, Detections]],
    protocol: Protocol,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure class-agnostic proposals: recall by size class."""
    from sodkit.cli import eval_output as output
    from sodkit.cli.common import print_json, progress
    from sodkit.evaluation.metric_files import write_metrics
    from sodkit.evaluation.proposal_recall import evaluate_proposals

    results = {}
    for name, found in files:
        with progress(f"evaluating {name}") as report:
            results[name] = evaluate_proposals(annotations, found, protocol, progress=report)
        output.note_left_out(results[name])
    runs = {name: result.as_dict() for name, result in results.items()}
    several = len(runs) > 1
    (first,) = list(results.values())[:1]
    data = {"protocol": protocol.name, "runs": runs} if several else first.as_dict()
    if out is not None:
        write_metrics(out, data)
    if as_json:
        print_json(data)
    elif several:
        output.print_several_proposals(results)
    else:
        output.print_proposals(first)
