"""``sodkit eval``: measures predictions on whole images against annotations."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer

if TYPE_CHECKING:
    from sodkit.data.records import Annotations, BoxKind, Detections
    from sodkit.evaluation.compare import Run
    from sodkit.evaluation.evaluate import IgnoreRegions
    from sodkit.evaluation.protocol import Protocol

Rows = TypeVar("Rows", "Annotations", "Detections")

REPORT_FILES = ("report.html", "metrics.json", "per_class.csv")
"""What is written to --out."""


def evaluate(
    ann: Annotated[Path, typer.Argument(help="Annotations of the whole images.")],
    predictions: Annotated[list[Path], typer.Argument(help="Predictions, .json or .npz.")],
    protocol: Annotated[
        Literal["soda-d", "soda-a", "coco"] | None,
        typer.Option(help="Default: soda-a if the data are oriented, else soda-d."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(help="Recipe whose section evaluation gives area ranges and limits."),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Set a value, e.g. evaluation.max_dets=[50]"
        ),
    ] = None,
    proposals: Annotated[
        bool, typer.Option("--proposals", help="They are class-agnostic: average recall by size.")
    ] = False,
    ignore_regions: Annotated[
        Literal["drop", "absorb"],
        typer.Option(
            help="drop: as if not there; absorb: detections inside do not count as wrong."
        ),
    ] = "drop",
    format_: Annotated[
        str | None, typer.Option("--format", help="Format of ANN, if not recognised.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Where file_name starts: the report shows the worst images.")
    ] = None,
    boxes: Annotated[
        Literal["horizontal", "oriented"] | None,
        typer.Option(help="Compare as this kind of box (default: as the data are)."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for report.html, metrics.json and per_class.csv."),
    ] = None,
    resamples: Annotated[
        int,
        typer.Option(min=0, help="Bootstrap draws of images for intervals (report, comparison)."),
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of these draws.")] = 0,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier report in OUT.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Measure predictions: AP, AP50, AP75, AP and AR by size, per class.

    Several PREDICTIONS are put side by side, with intervals of their differences to the first.

    Example: sodkit eval test.json pred.json --images photos --out report
    """
    from sodkit.cli.common import output_folder
    from sodkit.data.formats import read_annotations

    annotations = as_boxes(read_annotations(ann, format=format_, images=images), boxes)
    chosen = choose_protocol(protocol, recipe, overrides or [], annotations.kind)
    names = run_names(predictions)
    files = dict(zip(names, predictions, strict=True))
    options = _Options(ignore_regions, resamples, seed, images, out, as_json)
    written = ("metrics.json",) if proposals else REPORT_FILES
    with output_folder(out, "eval", written, overwrite=overwrite):
        if proposals:
            _evaluate_proposals(annotations, files, chosen, boxes, out=out, as_json=as_json)
            return
        runs = [
            _run(name, annotations, path, chosen, boxes, options) for name, path in files.items()
        ]
        if len(runs) == 1:
            _finish_one(annotations, runs[0], options)
        else:
            _finish_several(annotations, runs, options)


@dataclass(frozen=True, slots=True)
class _Options:
    """What is the same for all predictions."""

    ignore_regions: IgnoreRegions
    resamples: int
    seed: int
    images: Path | None
    out: Path | None
    as_json: bool


def choose_protocol(
    name: str | None, recipe: str | None, overrides: list[str], kind: BoxKind
) -> Protocol:
    """Return the protocol that the command line asks for.

    Args:
        name: goes before the recipe's.
        recipe: built-in name or YAML file; its section ``evaluation`` is looked at.
        overrides: ``evaluation.key=value``.
        kind: of the boxes; decides where nobody names a protocol.

    Raises:
        UsageError: unknown recipe or key, or a value that makes no protocol.
    """
    from sodkit.evaluation.protocol import protocol_for, protocol_named, protocol_of

    if recipe is None and not overrides:
        return protocol_named(name) if name else protocol_for(kind)
    from sodkit.config import load_recipe

    # Without a recipe any built-in one does: they leave all of this section to the data.
    settings = load_recipe(recipe or "cfinet-r50-soda-d", overrides).evaluation
    if name is not None:
        settings = settings.model_copy(update={"protocol": name})
    return protocol_of(settings, kind)


def run_names(paths: list[Path]) -> list[str]:
    """Return a short name for each predictions file: its stem, or as much as tells them apart.

    Raises:
        UsageError: if one file is given twice.
    """
    from sodkit.errors import UsageError

    if len(set(paths)) < len(paths):
        raise UsageError("the same predictions are given twice")
    for shorten in (lambda p: p.stem, lambda p: f"{p.parent.name}/{p.stem}", str):
        names = [shorten(path) for path in paths]
        if len(set(names)) == len(names):
            break
    return names


def as_boxes(rows: Rows, kind: BoxKind | None) -> Rows:
    """Return annotations or detections as boxes of one kind; None: as they are.

    Oriented ones become their enclosing boxes, upright ones get an angle of 0. Areas stay.
    """
    from sodkit.geometry.rotated import xyxy_to_obb

    if kind == "horizontal":
        return replace(rows, obb=None)
    if kind == "oriented" and rows.obb is None:
        return replace(rows, obb=xyxy_to_obb(rows.xyxy))
    return rows


def _run(
    name: str,
    annotations: Annotations,
    path: Path,
    protocol: Protocol,
    boxes: BoxKind | None,
    options: _Options,
) -> Run:
    """Read one file of predictions and measure it."""
    from sodkit.cli.common import progress
    from sodkit.cli.eval_output import note_left_out
    from sodkit.data.predictions.storage import read_predictions
    from sodkit.evaluation.compare import Run
    from sodkit.evaluation.evaluate import evaluate as measure

    detections = as_boxes(read_predictions(path, annotations), boxes)
    with progress(f"evaluating {name}") as report:
        result = measure(
            annotations, detections, protocol,
            ignore_regions=options.ignore_regions, progress=report,
        )  # fmt: skip
    note_left_out(result)
    return Run(name, detections, result)


def _finish_one(annotations: Annotations, run: Run, options: _Options) -> None:
    """Print the metrics of a run; with ``--out`` look closer and write the report."""
    from sodkit.cli.common import print_json, progress
    from sodkit.cli.eval_output import evaluation_dict, metrics_csv, print_evaluation

    data = evaluation_dict(run.evaluation)
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
            ignore_regions=options.ignore_regions, study=closer, title=run.name,
        )  # fmt: skip
        _write(options.out, data, metrics_csv({run.name: run.evaluation}))
    if options.as_json:
        print_json(data)
    else:
        print_evaluation(run.evaluation)


def _finish_several(annotations: Annotations, runs: list[Run], options: _Options) -> None:
    """Print runs side by side with intervals; with ``--out`` write the comparison."""
    from sodkit.cli.common import print_json, progress
    from sodkit.cli.eval_output import evaluation_dict, metrics_csv, print_comparison
    from sodkit.evaluation.compare import compare

    with progress("comparing") as report:
        comparison = compare(
            annotations, runs, ignore_regions=options.ignore_regions,
            resamples=options.resamples, seed=options.seed, progress=report,
        )  # fmt: skip
    data = {
        "protocol": runs[0].evaluation.protocol.name,
        "runs": {run.name: evaluation_dict(run.evaluation) for run in runs},
        "comparison": comparison.as_dict(),
    }
    if options.out is not None:
        from sodkit.viz.report import write_comparison

        write_comparison(
            options.out, annotations, runs,
            ignore_regions=options.ignore_regions, comparison=comparison,
        )  # fmt: skip
        _write(options.out, data, metrics_csv({run.name: run.evaluation for run in runs}))
    if options.as_json:
        print_json(data)
    else:
        print_comparison(runs, comparison)


def _evaluate_proposals(
    annotations: Annotations,
    files: dict[str, Path],
    protocol: Protocol,
    boxes: BoxKind | None,
    *,
    out: Path | None,
    as_json: bool,
) -> None:
    """Measure class-agnostic proposals: recall by size class."""
    from sodkit.cli import eval_output as output
    from sodkit.cli.common import print_json, progress
    from sodkit.data.predictions.storage import read_predictions
    from sodkit.evaluation.proposal_recall import evaluate_proposals

    results = {}
    for name, path in files.items():
        found = as_boxes(read_predictions(path, annotations, proposals=True), boxes)
        with progress(f"evaluating {name}") as report:
            results[name] = evaluate_proposals(annotations, found, protocol, progress=report)
        output.note_left_out(results[name])
    first = next(iter(results.values()))
    data = output.proposals_dict(first)
    if len(results) > 1:
        runs = {name: output.proposals_dict(result) for name, result in results.items()}
        data = {"protocol": protocol.name, "runs": runs}
    if out is not None:
        _write(out, data, None)
    if as_json:
        print_json(data)
    elif len(results) > 1:
        output.print_several_proposals(results)
    else:
        output.print_proposals(first)


def _write(folder: Path, data: dict[str, Any], csv: str | None) -> None:
    """Write metrics.json and, if there is one, per_class.csv."""
    import json

    from sodkit.cli.common import SCHEMA_VERSION
    from sodkit.files import write_text

    text = json.dumps({"schema_version": SCHEMA_VERSION, **data}, indent=2, allow_nan=False)
    write_text(folder / "metrics.json", text + "\n")
    if csv is not None:
        write_text(folder / "per_class.csv", csv)
