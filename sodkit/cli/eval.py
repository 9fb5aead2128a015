"""``sodkit eval``: measures predictions on whole images against annotations."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

if TYPE_CHECKING:
    from sodkit.data.records import Annotations, Detections
    from sodkit.evaluation.evaluate import Counts, Evaluation, Metrics
    from sodkit.evaluation.proposals import ProposalEvaluation
    from sodkit.evaluation.protocol import Protocol

Rows = TypeVar("Rows", "Annotations", "Detections")


class ProtocolName(StrEnum):
    """What to measure."""

    SODA_D = "soda-d"
    SODA_A = "soda-a"
    COCO = "coco"


class RegionRule(StrEnum):
    """What becomes of ignore regions."""

    DROP = "drop"
    ABSORB = "absorb"


class Boxes(StrEnum):
    """Kinds of box."""

    HORIZONTAL = "horizontal"
    ORIENTED = "oriented"


def evaluate(
    ann: Annotated[Path, typer.Argument(help="Annotations of the whole images.")],
    predictions: Annotated[list[Path], typer.Argument(help="Predictions, .json or .npz.")],
    protocol: Annotated[
        ProtocolName | None,
        typer.Option(help="Default: soda-a if the data are oriented, else soda-d."),
    ] = None,
    proposals: Annotated[
        bool, typer.Option("--proposals", help="They are class-agnostic: average recall by size.")
    ] = False,
    ignore_regions: Annotated[
        RegionRule,
        typer.Option(
            help="drop: as if not there; absorb: detections inside do not count as wrong."
        ),
    ] = RegionRule.DROP,
    format_: Annotated[
        str | None, typer.Option("--format", help="Format of ANN, if not recognised.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Where file_name starts, for formats without image sizes.")
    ] = None,
    boxes: Annotated[
        Boxes | None, typer.Option(help="Compare as this kind of box (default: as the data are).")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for metrics.json and per_class.csv.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Measure predictions: AP, AP50, AP75, AP and AR by size, per class.

    Example: sodkit eval test.json pred.json --out report
    """
    from sodkit.cli.common import print_json
    from sodkit.data.formats import read_annotations
    from sodkit.evaluation.protocol import protocol_for, protocol_named

    annotations = as_boxes(read_annotations(ann, format=format_, images=images), boxes)
    chosen = protocol_named(protocol) if protocol else protocol_for(annotations.kind)
    results = {
        str(path): _evaluate_one(annotations, path, chosen, proposals, ignore_regions, boxes)
        for path in predictions
    }
    first = next(iter(results.values()))
    data = _dict(first) if len(results) == 1 else _side_by_side(results)
    if out is not None:
        _write(out, data, results)
    if as_json:
        print_json(data)
    elif len(results) > 1:
        _print_side_by_side(results)
    else:
        _print_one(first)


def as_boxes(rows: Rows, kind: Boxes | None) -> Rows:
    """Return annotations or detections as boxes of one kind; None: as they are.

    Oriented ones become their enclosing boxes, upright ones get an angle of 0. Areas stay.
    """
    from dataclasses import replace

    from sodkit.geometry.rotated import xyxy_to_obb

    if kind == Boxes.HORIZONTAL:
        return replace(rows, obb=None)
    if kind == Boxes.ORIENTED and rows.obb is None:
        return replace(rows, obb=xyxy_to_obb(rows.xyxy))
    return rows


def _evaluate_one(
    annotations: Annotations,
    path: Path,
    protocol: Protocol,
    proposals: bool,
    ignore_regions: RegionRule,
    boxes: Boxes | None,
) -> Evaluation | ProposalEvaluation:
    from sodkit.cli.common import progress
    from sodkit.data.predictions import read_predictions
    from sodkit.evaluation.evaluate import evaluate as measure
    from sodkit.evaluation.proposals import evaluate_proposals

    detections = as_boxes(read_predictions(path, annotations, proposals=proposals), boxes)
    with progress(f"evaluating {path.name}") as report:
        if proposals:
            result = evaluate_proposals(annotations, detections, protocol, progress=report)
        else:
            return measure(
                annotations,
                detections,
                protocol,
                ignore_regions=ignore_regions.value,
                progress=report,
            )
    return result


def evaluation_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as plain data, as ``eval --json`` prints it; undefined is None."""
    return {
        "protocol": evaluation.protocol.name,
        "metrics": evaluation.metrics,
        "per_class": evaluation.per_class,
        "counts": _counts(evaluation.counts),
    }


def print_evaluation(evaluation: Evaluation) -> None:
    """Print the metrics and the classes' on stdout, what was left out on stderr."""
    _print_one(evaluation)


def _counts(counts: Counts) -> dict[str, int]:
    from dataclasses import asdict

    return asdict(counts)


def _dict(result: Evaluation | ProposalEvaluation) -> dict[str, Any]:
    from sodkit.evaluation.evaluate import Evaluation

    if isinstance(result, Evaluation):
        return evaluation_dict(result)
    return {
        "protocol": result.protocol.name,
        "metrics": result.metrics,
        "objects": result.objects,
        "counts": _counts(result.counts),
    }


def _side_by_side(results: dict[str, Evaluation | ProposalEvaluation]) -> dict[str, Any]:
    runs = {path: _dict(result) for path, result in results.items()}
    return {"protocol": next(iter(results.values())).protocol.name, "runs": runs}


def _print_one(result: Evaluation | ProposalEvaluation) -> None:
    from sodkit.cli.common import print_table
    from sodkit.evaluation.evaluate import Evaluation

    _note_left_out(result)
    if not isinstance(result, Evaluation):
        _print_proposals(result)
        return
    counts = result.counts
    title = (
        f"{result.protocol.name}: {counts.images} images, {counts.objects} objects,"
        f" {counts.detections} detections"
    )
    names = [metric.name for metric in result.protocol.metrics]
    rows = [("all", *_cells(result.metrics, names))]
    rows += [(name, *_cells(metrics, names)) for name, metrics in result.per_class.items()]
    print_table(title, ("class", *names), rows)


def _print_proposals(result: ProposalEvaluation) -> None:
    """Print a row for each size class: objects, recall and good proposals at each limit."""
    from sodkit.cli.common import print_table

    limits = result.protocol.max_dets
    columns = ("size", "objects", *(f"AR@{n}" for n in limits), *(f"IoU>.5 @{n}" for n in limits))
    rows = [
        (
            area.name,
            result.objects[area.name],
            *(_cell(result.recall[area.name][n], "{:.3f}") for n in limits),
            *(_cell(result.good[area.name][n], "{:.2f}") for n in limits),
        )
        for area in result.protocol.areas
    ]
    print_table(f"proposals, {result.protocol.name}", columns, rows)


def _print_side_by_side(results: dict[str, Evaluation | ProposalEvaluation]) -> None:
    from sodkit.cli.common import print_table

    for result in results.values():
        _note_left_out(result)
    first = next(iter(results.values()))
    rows = [
        (name, *(_cell(result.metrics[name], "{:.4f}") for result in results.values()))
        for name in first.metrics
    ]
    print_table(first.protocol.name, ("metric", *results), rows)


def _cells(metrics: Metrics, names: list[str]) -> list[str | None]:
    return [_cell(metrics[name], "{:.3f}") for name in names]


def _cell(value: float | None, pattern: str) -> str | None:
    return None if value is None else pattern.format(value)


def _note_left_out(result: Evaluation | ProposalEvaluation) -> None:
    """Say on stderr what does not show in the metrics: nothing is dropped silently."""
    from sodkit.cli.common import note

    counts, protocol = result.counts, result.protocol
    if counts.ignored or counts.regions:
        note(f"{counts.ignored} ignored objects and {counts.regions} ignore regions do not count")
    if counts.absorbed:
        note(f"{counts.absorbed} detections lie in ignore regions: not wrong if unmatched")
    if counts.beyond:
        group = "image" if not hasattr(result, "per_class") else "class and image"
        note(
            f"{counts.beyond} detections left out: more than {protocol.max_dets[-1]} of one {group}"
        )
    if all(value is None for value in result.metrics.values()):
        note(f"no object lies in the area ranges of {protocol.name}: nothing to measure")


def _write(
    folder: Path, data: dict[str, Any], results: dict[str, Evaluation | ProposalEvaluation]
) -> None:
    """Write metrics.json and, of evaluations with classes, per_class.csv."""
    import json

    from sodkit.cli.common import SCHEMA_VERSION
    from sodkit.evaluation.evaluate import Evaluation
    from sodkit.files import write_text

    text = json.dumps({"schema_version": SCHEMA_VERSION, **data}, indent=2, allow_nan=False)
    write_text(folder / "metrics.json", text + "\n")
    classed = {path: one for path, one in results.items() if isinstance(one, Evaluation)}
    if classed:
        write_text(folder / "per_class.csv", _csv(classed))


def _csv(results: dict[str, Evaluation]) -> str:
    """Return a line for each predictions file and class; undefined is empty."""
    import csv
    import io

    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names = list(next(iter(results.values())).metrics)
    writer.writerow(["predictions", "class", *names])
    for path, result in results.items():
        for name, metrics in result.per_class.items():
            cells = ["" if metrics[key] is None else repr(metrics[key]) for key in names]
            writer.writerow([path, name, *cells])
    return stream.getvalue()
